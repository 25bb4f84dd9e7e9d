-- Made by `npm run migration` for the master. Do not edit it once it has landed.
-- Tables:
--   creates table platform.days
--   creates table platform.tenant_days
--   creates table platform.erasure_certificates
--   creates table platform.licenses
--   creates table platform.kv_pass
--   creates table platform.tenant_moves
--   creates table platform.plans
--   creates table platform.subdomains
--   creates table platform.audit_cuts
--   creates table platform.restore_points
--   creates table platform.credential_rotations
--   creates table platform.kept_branches
--   creates table platform.migration_undos
--   alters table platform.hosts
--   alters table platform.tenants
--   alters table platform.maintenance
--   alters table platform.signing_keys
--   alters table platform.tenant_migrations
-- Definitions:
--   creates 62 objects
--   replaces function platform.published_fields
--   drops and creates trigger audit_insert on platform.tenants
--   drops and creates trigger audit_update on platform.tenants
--   drops and creates trigger audit_delete on platform.tenants

set local check_function_bodies = off;
--> statement-breakpoint
drop trigger audit_insert on platform.tenants;
--> statement-breakpoint
drop trigger audit_update on platform.tenants;
--> statement-breakpoint
drop trigger audit_delete on platform.tenants;
--> statement-breakpoint
-- Of hosts that tenants share, in their names: none is given twice, also when a host is removed.
create sequence platform.host_number;
--> statement-breakpoint
CREATE TABLE "platform"."days" (
  "day" date PRIMARY KEY NOT NULL,
  "tenants" integer NOT NULL,
  "people" bigint NOT NULL,
  "logins" bigint NOT NULL,
  "failures" bigint NOT NULL,
  "mails" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "platform"."tenant_days" (
  "tenant_id" uuid NOT NULL,
  "day" date NOT NULL,
  "people" integer,
  "logins" integer NOT NULL,
  "failures" integer NOT NULL,
  "mails" integer NOT NULL,
  "reported_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "tenant_days_tenant_id_day_pk" PRIMARY KEY("tenant_id","day")
);
--> statement-breakpoint
CREATE TABLE "platform"."erasure_certificates" (
  "tenant_id" uuid PRIMARY KEY NOT NULL,
  "subdomain" text NOT NULL,
  "certificate" text NOT NULL,
  "issued_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "platform"."licenses" (
  "id" uuid PRIMARY KEY NOT NULL,
  "tenant_id" uuid NOT NULL,
  "key" text NOT NULL,
  "valid_from" timestamp with time zone NOT NULL,
  "valid_until" timestamp with time zone NOT NULL,
  "grace_days" integer NOT NULL,
  "limits" jsonb DEFAULT '{}'::jsonb NOT NULL,
  "has_begun" boolean NOT NULL,
  "has_ended" boolean DEFAULT false NOT NULL,
  "warned_at" timestamp with time zone,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "licenses_order" CHECK ("platform"."licenses"."valid_from" <= "platform"."licenses"."valid_until"),
  CONSTRAINT "licenses_grace" CHECK ("platform"."licenses"."grace_days" between 0 and 365)
);
--> statement-breakpoint
CREATE TABLE "platform"."kv_pass" (
  "one" boolean PRIMARY KEY DEFAULT true NOT NULL,
  "started_at" timestamp with time zone DEFAULT now() NOT NULL,
  "part" text DEFAULT 'tenants' NOT NULL,
  "place" text DEFAULT '' NOT NULL,
  "size" integer NOT NULL,
  "lease_until" timestamp with time zone NOT NULL,
  CONSTRAINT "kv_pass_is_one" CHECK ("platform"."kv_pass"."one")
);
--> statement-breakpoint
CREATE TABLE "platform"."tenant_moves" (
  "id" uuid PRIMARY KEY NOT NULL,
  "tenant_id" uuid NOT NULL,
  "from_isolation" text NOT NULL,
  "isolation" text NOT NULL,
  "region" text NOT NULL,
  "state" text NOT NULL,
  "step" text NOT NULL,
  "attempts" integer NOT NULL,
  "lease_until" timestamp with time zone NOT NULL,
  "error" text,
  "operations" jsonb,
  "copied" jsonb,
  "other_host_id" uuid,
  "app_url_encrypted" text,
  "owner_url_encrypted" text,
  "trace_id" text NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "closed_at" timestamp with time zone,
  "exchanged_at" timestamp with time zone,
  "finished_at" timestamp with time zone,
  "left_until" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "platform"."plans" (
  "key" text PRIMARY KEY NOT NULL,
  "name" text NOT NULL,
  "description" text,
  "isolation" text,
  "limits" jsonb DEFAULT '{}'::jsonb NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "plans_key_form" CHECK ("platform"."plans"."key" ~ '^[a-z0-9_-]{1,50}$'),
  CONSTRAINT "plans_isolation" CHECK ("platform"."plans"."isolation" in ('database', 'branch', 'project'))
);
--> statement-breakpoint
CREATE TABLE "platform"."subdomains" (
  "name" text PRIMARY KEY NOT NULL,
  "tenant_id" uuid NOT NULL,
  "until" timestamp with time zone,
  "v" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "platform"."audit_cuts" (
  "realm_id" uuid NOT NULL,
  "to_no" integer NOT NULL,
  "from_no" integer NOT NULL,
  "left_no" integer NOT NULL,
  "left_hash" text,
  "hash" text NOT NULL,
  "restore_id" uuid NOT NULL,
  "restored_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "audit_cuts_realm_id_to_no_pk" PRIMARY KEY("realm_id","to_no")
);
--> statement-breakpoint
CREATE TABLE "platform"."restore_points" (
  "id" uuid PRIMARY KEY NOT NULL,
  "tenant_id" uuid NOT NULL,
  "at" timestamp with time zone NOT NULL,
  "state" text NOT NULL,
  "project_id" text NOT NULL,
  "parent_id" text NOT NULL,
  "branch_id" text,
  "difference" jsonb,
  "attempts" integer NOT NULL,
  "lease_until" timestamp with time zone NOT NULL,
  "error" text,
  "trace_id" text NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "ready_at" timestamp with time zone,
  "exchanged_at" timestamp with time zone,
  "finished_at" timestamp with time zone,
  "kept_until" timestamp with time zone NOT NULL,
  "compute_until" timestamp with time zone,
  "removed_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "platform"."credential_rotations" (
  "id" uuid PRIMARY KEY NOT NULL,
  "tenant_id" uuid NOT NULL,
  "state" text NOT NULL,
  "step" text NOT NULL,
  "attempts" integer DEFAULT 0 NOT NULL,
  "lease_until" timestamp with time zone NOT NULL,
  "error" text,
  "app_url_encrypted" text,
  "owner_url_encrypted" text,
  "trace_id" text NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "exchanged_at" timestamp with time zone,
  "left_until" timestamp with time zone,
  "finished_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "platform"."kept_branches" (
  "tenant_id" uuid PRIMARY KEY NOT NULL,
  "target" text NOT NULL,
  "attempt" integer NOT NULL,
  "parent_id" text NOT NULL,
  "branch_id" text,
  "refused" text,
  "from_version" text,
  "before" jsonb NOT NULL,
  "trace_id" text NOT NULL,
  "kept_until" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "platform"."migration_undos" (
  "id" uuid PRIMARY KEY NOT NULL,
  "tenant_id" uuid NOT NULL,
  "target" text NOT NULL,
  "branch_id" text NOT NULL,
  "parent_id" text NOT NULL,
  "state" text NOT NULL,
  "is_automatic" boolean NOT NULL,
  "discard_writes" boolean NOT NULL,
  "was" text NOT NULL,
  "writes" jsonb,
  "documents" bigint,
  "attempts" integer DEFAULT 1 NOT NULL,
  "lease_until" timestamp with time zone NOT NULL,
  "error" text,
  "trace_id" text NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "finished_at" timestamp with time zone,
  "compute_until" timestamp with time zone
);
--> statement-breakpoint
ALTER TABLE "platform"."hosts" DROP CONSTRAINT "hosts_open";
--> statement-breakpoint
DROP INDEX "platform"."hosts_one_opening";
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ALTER COLUMN "tax_id" DROP NOT NULL;
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ALTER COLUMN "country" DROP NOT NULL;
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD COLUMN "account" text DEFAULT 'default' NOT NULL;
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD COLUMN "organization" text;
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD COLUMN "address" text;
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD COLUMN "found" jsonb;
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD COLUMN "removing" text;
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD COLUMN "removing_until" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "platform"."maintenance" ADD COLUMN "users_counted_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "platform"."signing_keys" ADD COLUMN "follows" text;
--> statement-breakpoint
ALTER TABLE "platform"."signing_keys" ADD COLUMN "published_until" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "platform"."tenant_migrations" ADD COLUMN "step" text;
--> statement-breakpoint
ALTER TABLE "platform"."tenant_migrations" ADD COLUMN "drift" jsonb;
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD COLUMN "presets_version" text;
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD COLUMN "connected_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD COLUMN "move_id" uuid;
--> statement-breakpoint
ALTER TABLE "platform"."tenant_days" ADD CONSTRAINT "tenant_days_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."licenses" ADD CONSTRAINT "licenses_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."tenant_moves" ADD CONSTRAINT "tenant_moves_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."tenant_moves" ADD CONSTRAINT "tenant_moves_other_host_id_hosts_id_fk" FOREIGN KEY ("other_host_id") REFERENCES "platform"."hosts"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."audit_cuts" ADD CONSTRAINT "audit_cuts_realm_id_tenants_id_fk" FOREIGN KEY ("realm_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."restore_points" ADD CONSTRAINT "restore_points_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."credential_rotations" ADD CONSTRAINT "credential_rotations_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."kept_branches" ADD CONSTRAINT "kept_branches_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."migration_undos" ADD CONSTRAINT "migration_undos_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
CREATE INDEX "tenant_days_day" ON "platform"."tenant_days" USING btree ("day");
--> statement-breakpoint
CREATE UNIQUE INDEX "licenses_key" ON "platform"."licenses" USING btree ("key");
--> statement-breakpoint
CREATE INDEX "licenses_tenant" ON "platform"."licenses" USING btree ("tenant_id","valid_from","id");
--> statement-breakpoint
CREATE INDEX "licenses_to_begin" ON "platform"."licenses" USING btree ("valid_from") WHERE not "platform"."licenses"."has_begun";
--> statement-breakpoint
CREATE INDEX "licenses_to_end" ON "platform"."licenses" USING btree ("valid_until") WHERE not "platform"."licenses"."has_ended";
--> statement-breakpoint
CREATE INDEX "licenses_to_warn" ON "platform"."licenses" USING btree ("valid_until") WHERE "platform"."licenses"."warned_at" is null;
--> statement-breakpoint
CREATE UNIQUE INDEX "tenant_moves_one" ON "platform"."tenant_moves" USING btree ("tenant_id") WHERE "platform"."tenant_moves"."state" = 'running' or "platform"."tenant_moves"."left_until" is not null;
--> statement-breakpoint
CREATE INDEX "tenant_moves_tenant" ON "platform"."tenant_moves" USING btree ("tenant_id","created_at");
--> statement-breakpoint
CREATE INDEX "tenant_moves_lease" ON "platform"."tenant_moves" USING btree ("lease_until") WHERE "platform"."tenant_moves"."state" = 'running';
--> statement-breakpoint
CREATE INDEX "tenant_moves_left" ON "platform"."tenant_moves" USING btree ("left_until") WHERE "platform"."tenant_moves"."left_until" is not null;
--> statement-breakpoint
CREATE INDEX "tenant_moves_host" ON "platform"."tenant_moves" USING btree ("other_host_id") WHERE "platform"."tenant_moves"."other_host_id" is not null;
--> statement-breakpoint
CREATE INDEX "subdomains_tenant" ON "platform"."subdomains" USING btree ("tenant_id");
--> statement-breakpoint
CREATE INDEX "subdomains_until" ON "platform"."subdomains" USING btree ("until") WHERE "platform"."subdomains"."until" is not null;
--> statement-breakpoint
CREATE UNIQUE INDEX "restore_points_one" ON "platform"."restore_points" USING btree ("tenant_id") WHERE "platform"."restore_points"."state" in ('making', 'ready', 'restoring', 'returning');
--> statement-breakpoint
CREATE INDEX "restore_points_tenant" ON "platform"."restore_points" USING btree ("tenant_id","created_at");
--> statement-breakpoint
CREATE INDEX "restore_points_lease" ON "platform"."restore_points" USING btree ("lease_until") WHERE "platform"."restore_points"."state" in ('making', 'restoring', 'returning');
--> statement-breakpoint
CREATE INDEX "restore_points_kept" ON "platform"."restore_points" USING btree ("kept_until") WHERE "platform"."restore_points"."removed_at" is null;
--> statement-breakpoint
CREATE INDEX "restore_points_compute" ON "platform"."restore_points" USING btree ("compute_until") WHERE "platform"."restore_points"."compute_until" is not null;
--> statement-breakpoint
CREATE UNIQUE INDEX "credential_rotations_one" ON "platform"."credential_rotations" USING btree ("tenant_id") WHERE "platform"."credential_rotations"."state" in ('running', 'leaving', 'failing');
--> statement-breakpoint
CREATE INDEX "credential_rotations_tenant" ON "platform"."credential_rotations" USING btree ("tenant_id","created_at");
--> statement-breakpoint
CREATE INDEX "credential_rotations_open" ON "platform"."credential_rotations" USING btree ("lease_until") WHERE "platform"."credential_rotations"."state" in ('running', 'leaving', 'failing');
--> statement-breakpoint
CREATE UNIQUE INDEX "migration_undos_one_running" ON "platform"."migration_undos" USING btree ("tenant_id") WHERE "platform"."migration_undos"."state" = 'running';
--> statement-breakpoint
CREATE INDEX "migration_undos_tenant" ON "platform"."migration_undos" USING btree ("tenant_id","created_at");
--> statement-breakpoint
CREATE INDEX "migration_undos_lease" ON "platform"."migration_undos" USING btree ("lease_until") WHERE "platform"."migration_undos"."state" = 'running';
--> statement-breakpoint
CREATE INDEX "migration_undos_compute" ON "platform"."migration_undos" USING btree ("compute_until") WHERE "platform"."migration_undos"."compute_until" is not null;
--> statement-breakpoint
CREATE INDEX "signing_keys_published" ON "platform"."signing_keys" USING btree ("published_until") WHERE "platform"."signing_keys"."published_until" is not null;
--> statement-breakpoint
CREATE INDEX "tenant_migrations_pending" ON "platform"."tenant_migrations" USING btree ("run_id","wave","tenant_id") WHERE "platform"."tenant_migrations"."state" = 'pending';
--> statement-breakpoint
CREATE INDEX "tenant_migrations_failed" ON "platform"."tenant_migrations" USING btree ("run_id","wave") WHERE "platform"."tenant_migrations"."state" = 'failed';
--> statement-breakpoint
CREATE INDEX "tenants_unpublished" ON "platform"."tenants" USING btree ("id") WHERE "platform"."tenants"."published_v" < "platform"."tenants"."v";
--> statement-breakpoint
CREATE UNIQUE INDEX "hosts_one_opening" ON "platform"."hosts" USING btree ("kind") WHERE "platform"."hosts"."state" = 'opening' and "platform"."hosts"."kind" <> 'project';
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD CONSTRAINT "hosts_address_unique" UNIQUE("address");
--> statement-breakpoint
ALTER TABLE "platform"."signing_keys" ADD CONSTRAINT "signing_keys_follows_unique" UNIQUE("follows");
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD CONSTRAINT "hosts_open" CHECK ("platform"."hosts"."state" <> 'open' or num_nulls("platform"."hosts"."project_id", "platform"."hosts"."branch_id", "platform"."hosts"."owner_role", "platform"."hosts"."owner_url_encrypted") = 0
        or "platform"."hosts"."kind" = 'external' and num_nulls("platform"."hosts"."address", "platform"."hosts"."found", "platform"."hosts"."owner_url_encrypted") = 0);
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD CONSTRAINT "tenants_config" CHECK (octet_length("platform"."tenants"."config"::text) <= 16384 and jsonb_array_length(jsonb_path_query_array("platform"."tenants"."config", '$.keyvalue()')) <= 50);
--> statement-breakpoint
alter table platform.days enable row level security;
--> statement-breakpoint
alter table platform.tenant_days enable row level security;
--> statement-breakpoint
alter table platform.erasure_certificates enable row level security;
--> statement-breakpoint
alter table platform.licenses enable row level security;
--> statement-breakpoint
alter table platform.kv_pass enable row level security;
--> statement-breakpoint
alter table platform.tenant_moves enable row level security;
--> statement-breakpoint
alter table platform.plans enable row level security;
--> statement-breakpoint
alter table platform.subdomains enable row level security;
--> statement-breakpoint
alter table platform.audit_cuts enable row level security;
--> statement-breakpoint
alter table platform.restore_points enable row level security;
--> statement-breakpoint
alter table platform.credential_rotations enable row level security;
--> statement-breakpoint
alter table platform.kept_branches enable row level security;
--> statement-breakpoint
alter table platform.migration_undos enable row level security;
--> statement-breakpoint
-- Moves the sums by what a statement changed of tenant_days. The rows of days are locked in one order, and whoever holds
-- them waits for nobody else who wants them, so that two runs of maintenance wait for each other at most.
create or replace function platform.sum_days() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into platform.days as s (day, tenants, people, logins, failures, mails)
    select n.day, count(*), coalesce(sum(n.people), 0), sum(n.logins), sum(n.failures), sum(n.mails)
    from added n
    group by n.day
    order by n.day
    on conflict (day) do update
    set tenants = s.tenants + excluded.tenants,
      people = s.people + excluded.people,
      logins = s.logins + excluded.logins,
      failures = s.failures + excluded.failures,
      mails = s.mails + excluded.mails;
    return null;
  end if;
  perform from platform.days s where s.day in (select n.day from added n) order by s.day for no key update;
  update platform.days s
  set people = s.people + x.people,
    logins = s.logins + x.logins,
    failures = s.failures + x.failures,
    mails = s.mails + x.mails
  from (
    select y.day, sum(y.people) as people, sum(y.logins) as logins, sum(y.failures) as failures, sum(y.mails) as mails
    from (
      select n.day, coalesce(n.people, 0) as people, n.logins, n.failures, n.mails
      from added n
      union all
      select o.day, -coalesce(o.people, 0), -o.logins, -o.failures, -o.mails
      from removed o
    ) y
    group by y.day
  ) x
  where s.day = x.day;
  return null;
end $$;
--> statement-breakpoint
-- What the doctor fixes, in the audit of the platform.
--
-- Threat: something is deleted at Neon, and nobody knows who asked for it. So a request writes what it will do before
-- it does it, as whoever asked.
create or replace function platform.record_fix(code text, subject text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.scope() is distinct from 'all' or coalesce(access.permission(), '') not in ('tenant:update', 'tenant:delete') then
    perform access.refuse('forbidden', 'Fixing needs a permission for tenants.');
  end if;
  perform access.record('DOCTOR_FIXED', 'fix', 'doctor', null, null,
    jsonb_build_object('code', record_fix.code, 'subject', record_fix.subject));
end $$;
--> statement-breakpoint
-- {licensed_until, read_only_from} of the license that is in force, with those that follow it without a gap, else of the
-- last one that was; null: there was none yet.
create or replace function platform.license_of(tenant uuid) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'licensed_until', to_char(u.until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'read_only_from', to_char((u.until + make_interval(days => u.grace)) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
  from (
    select upper(r.time) as until, (
        select max(l.grace_days)
        from platform.licenses l
        where l.tenant_id = tenant and l.valid_until = upper(r.time)) as grace
    from unnest((
      select range_agg(tstzrange(l.valid_from, l.valid_until))
      from platform.licenses l
      where l.tenant_id = tenant and l.valid_from < l.valid_until)) r (time)
    where lower(r.time) <= now()
    order by upper(r.time) desc
    limit 1
  ) u
$$;
--> statement-breakpoint
-- Mails the administrators of tenants whose license ends within thirty days, with none that follows, once for each end;
-- returns how many. Called by the scheduled job, as the owner: the mails are of the platform's own outbox, and no tenant's
-- database is asked. One mail an hour to one address, whoever administers many, and as many as the platform's day has
-- room for; who is left comes with a later run. The tenant's language is not known here: it is that of its country.
create or replace function platform.warn_licenses(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  warned integer;
begin
  with ending as (
    select distinct on (t.admin_email)
      t.id, t.legal_name, t.admin_email, t.country, l.valid_until, platform.license_of(t.id) as license
    from platform.licenses l
      join platform.tenants t on t.id = l.tenant_id
    where l.warned_at is null
      and l.valid_until > now()
      and l.valid_until <= now() + interval '30 days'
      and t.status = 'active'
      and not exists (
        select
        from freehold.mails m
        where m.kind = 'license_ends'
          and m.recipient = t.admin_email
          and m.created_at > now() - interval '1 hour')
      -- The one in force, and the last of those that follow it without a gap.
      and (platform.license_of(t.id) ->> 'licensed_until')::timestamptz = l.valid_until
    order by t.admin_email, l.valid_until, t.id
  ), taken as (
    update platform.licenses l set warned_at = now()
    from (select * from ending e order by e.valid_until, e.id limit least(at_most, access.warnings_left())) e
    where l.tenant_id = e.id
      and l.valid_until = e.valid_until
      and l.warned_at is null
    returning e.*
  )
  select count(
    access.enqueue_mail(
      'license_ends', null, x.admin_email,
      jsonb_build_object(
        'organization', x.legal_name,
        'expires_at', x.license ->> 'licensed_until',
        'read_only_from', x.license ->> 'read_only_from'),
      null,
      case
        when x.country = any ('{AR,BO,CL,CO,CR,CU,DO,EC,ES,GQ,GT,HN,MX,NI,PA,PE,PR,PY,SV,UY,VE}') then 'es'
        else 'en'
      end))
  into warned
  from (select distinct on (y.id) y.* from taken y) x;
  return warned;
end $$;
--> statement-breakpoint
-- A license that is made, changed, or taken back is a new version of its tenant. That its end was told by mail is not: it
-- would wake the tenant's database.
create or replace function platform.license_version() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update platform.tenants t
  set v = nextval('platform.registry_v')
  where t.id = coalesce(new.tenant_id, old.tenant_id);
  return null;
end $$;
--> statement-breakpoint
-- What limits a tenant: its own limits, else those of its license, else those of its plan. Of licenses that are in force
-- the one counts that began last; where none is, the one of all that did.
create or replace function platform.effective_limits(tenant uuid, plan_key text, own jsonb) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_strip_nulls(
    coalesce((select p.limits from platform.plans p where p.key = plan_key), '{}')
    || coalesce((
      select l.limits
      from platform.licenses l
      where l.tenant_id = tenant and l.valid_from <= now()
      order by l.valid_until > now() desc, l.valid_from desc, l.id desc
      limit 1), '{}')
    || coalesce(own, '{}'))
$$;
--> statement-breakpoint
-- A plan that is given to a tenant exists, and is not deleted meanwhile. One that a tenant has stays as it is: tenants
-- had names of plans before there were plans.
create or replace function platform.known_plan() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.plan is not null and (tg_op = 'INSERT' or new.plan is distinct from old.plan) then
    perform from platform.plans p where p.key = new.plan for key share;
    if not found then
      perform access.refuse('invalid_request', format('%s is not a plan: make it first, or name another', new.plan), 'plan');
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
-- A plan that a tenant has is not deleted. The row is locked by then, so that whoever is giving it to a tenant has
-- done so.
create or replace function platform.unused_plan() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  tenants bigint;
begin
  select count(*) into tenants from platform.tenants t where t.plan = old.key;
  if tenants > 0 then
    perform access.refuse('in_use', format('Tenants that have the plan %s: %s. Give them another one first.', old.key, tenants));
  end if;
  return old;
end $$;
--> statement-breakpoint
-- Changed limits of a plan are a new version of each of its tenants.
create or replace function platform.plan_version() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update platform.tenants t
  set v = nextval('platform.registry_v')
  where t.id in (select x.id from platform.tenants x where x.plan = new.key order by x.id for no key update);
  return null;
end $$;
--> statement-breakpoint
-- The part of a tenant's row whose change makes a new version. `is_active` is generated, and not yet computed where a
-- trigger runs before the row is written.
create or replace function platform.published_fields(t platform.tenants) returns jsonb
language sql stable
return to_jsonb(t) - '{v,published_v,updated_at,users_counted,is_active,presets_version,owner_url_encrypted,
  next_refresh_key_encrypted,rotating_since,connected_at,move_id}'::text[];
--> statement-breakpoint
-- A tenant takes its name, if nobody else has it or keeps it. The name that it leaves stays its own for 30 days, as
-- long as sessions, cookies and known devices live by default; all its former names say from now on where it is.
create or replace function platform.take_subdomain() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  kept_until timestamptz;
begin
  if tg_op = 'UPDATE' and new.subdomain = old.subdomain then
    return new;
  end if;
  insert into platform.subdomains as s (name, tenant_id, v)
  values (new.subdomain, new.id, new.v)
  on conflict (name) do update
  set tenant_id = excluded.tenant_id, until = null, v = excluded.v
  where s.tenant_id = excluded.tenant_id or s.until <= now();
  if not found then
    select s.until
    into kept_until
    from platform.subdomains s
    where s.name = new.subdomain;
    if kept_until is null then
      perform access.refuse('subdomain_taken', format('The subdomain %s is taken.', new.subdomain));
    end if;
    perform access.refuse('subdomain_taken',
      format('The subdomain %s is the former name of another tenant and kept for it until %s.', new.subdomain,
        to_char(kept_until at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
  end if;
  if tg_op = 'UPDATE' then
    -- Not an update alone: a tenant of an earlier release has no row of its name yet.
    insert into platform.subdomains as s (name, tenant_id, until, v)
    values (old.subdomain, old.id, now() + interval '30 days', new.v)
    on conflict (name) do update
    set until = excluded.until
    where s.tenant_id = excluded.tenant_id;
    update platform.subdomains s
    set v = new.v
    where s.tenant_id = new.id and s.until is not null;
    -- Each is written to KV, and is in every entry of the tenant.
    if (select count(*) > 20 from platform.subdomains s where s.tenant_id = new.id and s.until > now()) then
      perform access.refuse('limit_reached',
        'The tenant had 20 other names in the last 30 days. Wait until one of them is free.');
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
-- What is erased keeps no name.
create or replace function platform.leave_subdomains() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from platform.subdomains s
  where s.tenant_id = old.id;
  return null;
end $$;
--> statement-breakpoint
-- How the attempts of a tenant are numbered that close its database: they only grow, whatever they are for, and giving
-- one up takes a number, too (tenants/fence/fence.ts).
create or replace function platform.next_fence_attempt(tenant uuid) returns integer
language sql stable
return 2 + greatest(
  (select max(x.attempts) from platform.restore_points x where x.tenant_id = tenant),
  (select max(x.attempts) from platform.tenant_moves x where x.tenant_id = tenant),
  (select max(x.attempts) from platform.migration_undos x where x.tenant_id = tenant),
  0
);
--> statement-breakpoint
-- Adds a signing key to a tenant, published and not yet used, unless one is on its way, or its newest came with a rotation
-- of the last half hour, or eight are published. Returns {status, kid, use_from, is_coming, published} of the newest key
-- then; null: there is no such tenant.
create or replace function platform.add_signing_key(tenant uuid, kid text, public_jwk jsonb, private_encrypted text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.scope() is distinct from 'all' or access.permission() is distinct from 'tenant:update' then
    perform access.refuse('forbidden', 'Rotating a key needs a permission for tenants.');
  end if;
  insert into platform.signing_keys (kid, realm_id, public_jwk, private_jwk_encrypted, use_from, follows)
  select add_signing_key.kid, t.id, add_signing_key.public_jwk, private_encrypted, '9999-01-01 00:00+00', k.kid
  from platform.tenants t
    join lateral (
      select x.kid, x.use_from, x.follows, count(*) over () as published
      from platform.signing_keys x
      where x.realm_id = t.id
      order by x.use_from desc
      limit 1
    ) k on true
  where t.id = tenant
    and t.status in ('active', 'inactive')
    and (k.follows is null or k.use_from < now() - interval '30 minutes')
    and k.published < 8
  on conflict (follows) do nothing;
  if found then
    perform access.record('TENANT_UPDATED', 'rotate_signing_key', 'tenant', tenant::text, null,
      jsonb_build_object('signing_key', kid));
  end if;
  return (
    select jsonb_build_object('status', t.status, 'kid', k.kid, 'use_from', k.use_from,
      'is_coming', k.use_from > now(), 'published', k.published)
    from platform.tenants t
      left join lateral (
        select x.kid, x.use_from, count(*) over () as published
        from platform.signing_keys x
        where x.realm_id = t.id
        order by x.use_from desc
        limit 1
      ) k on true
    where t.id = tenant
  );
end $$;
--> statement-breakpoint
-- Records that the caller resets the password of a user in a tenant, before it is done. `whose` is how they named the
-- user; null: the one of the tenant's `admin_email`. Returns {id, subdomain, legal_name, admin_email, status, operator};
-- null: there is no such tenant.
create or replace function platform.enter_to_reset(tenant uuid, whose text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t platform.tenants;
begin
  if access.scope() is distinct from 'all' or access.permission() is distinct from 'tenant:recover' then
    perform access.refuse('forbidden', 'Resetting a password in a tenant needs the permission for it.');
  end if;
  select * into t from platform.tenants x where x.id = tenant;
  if t.status in ('active', 'inactive') then
    perform access.record('PASSWORD_RESET', 'reset_password', 'tenant', t.id::text, null,
      jsonb_build_object('user', coalesce(whose, t.admin_email)), 30);
  end if;
  return (
    select jsonb_build_object('id', t.id, 'subdomain', t.subdomain, 'legal_name', t.legal_name,
      'admin_email', t.admin_email, 'status', t.status, 'operator', u.username)
    from freehold.users u
    where u.id = access.principal() and t.id is not null
  );
end $$;
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.erasure_certificates REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('erasure_certificate', '{}', '{updated_at}', '{tenant_id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.erasure_certificates REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('erasure_certificate', '{}', '{updated_at}', '{tenant_id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.erasure_certificates REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('erasure_certificate', '{}', '{updated_at}', '{tenant_id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.licenses REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('license', '{}', '{updated_at,has_begun,has_ended,warned_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.licenses REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('license', '{}', '{updated_at,has_begun,has_ended,warned_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.licenses REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('license', '{}', '{updated_at,has_begun,has_ended,warned_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.tenant_moves REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant_move', '{app_url_encrypted,owner_url_encrypted}', '{step,copied,operations,lease_until,attempts,left_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.tenant_moves REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant_move', '{app_url_encrypted,owner_url_encrypted}', '{step,copied,operations,lease_until,attempts,left_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.tenant_moves REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant_move', '{app_url_encrypted,owner_url_encrypted}', '{step,copied,operations,lease_until,attempts,left_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.plans REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('plan', '{}', '{updated_at}', '{key}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.plans REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('plan', '{}', '{updated_at}', '{key}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.plans REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('plan', '{}', '{updated_at}', '{key}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.restore_points REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('restore_point', '{}', '{lease_until,attempts,compute_until,difference,removed_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.restore_points REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('restore_point', '{}', '{lease_until,attempts,compute_until,difference,removed_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.restore_points REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('restore_point', '{}', '{lease_until,attempts,compute_until,difference,removed_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.audit_cuts REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('audit_cut', '{}', '{updated_at}', '{realm_id,to_no}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.audit_cuts REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('audit_cut', '{}', '{updated_at}', '{realm_id,to_no}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.audit_cuts REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('audit_cut', '{}', '{updated_at}', '{realm_id,to_no}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.credential_rotations REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('credential_rotation', '{app_url_encrypted,owner_url_encrypted}', '{app_url_encrypted,owner_url_encrypted,lease_until,attempts,step,left_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.credential_rotations REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('credential_rotation', '{app_url_encrypted,owner_url_encrypted}', '{app_url_encrypted,owner_url_encrypted,lease_until,attempts,step,left_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.credential_rotations REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('credential_rotation', '{app_url_encrypted,owner_url_encrypted}', '{app_url_encrypted,owner_url_encrypted,lease_until,attempts,step,left_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.migration_undos REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('migration_undo', '{}', '{lease_until,attempts,compute_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.migration_undos REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('migration_undo', '{}', '{lease_until,attempts,compute_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.migration_undos REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('migration_undo', '{}', '{lease_until,attempts,compute_until}', '{id}');
--> statement-breakpoint
create trigger sum_reported after insert on platform.tenant_days
  referencing new table as added
  for each statement execute function platform.sum_days();
--> statement-breakpoint
create trigger sum_changed after update on platform.tenant_days
  referencing old table as removed new table as added
  for each statement execute function platform.sum_days();
--> statement-breakpoint
create trigger license_version
  after insert or delete or update of valid_from, valid_until, grace_days, limits, has_begun, has_ended on platform.licenses
  for each row execute function platform.license_version();
--> statement-breakpoint
create trigger known_plan before insert or update of plan on platform.tenants
  for each row execute function platform.known_plan();
--> statement-breakpoint
create trigger unused_plan before delete on platform.plans
  for each row execute function platform.unused_plan();
--> statement-breakpoint
create trigger plan_version after update of limits on platform.plans
  for each row when (old.limits <> new.limits) execute function platform.plan_version();
--> statement-breakpoint
-- After next_version, in the order of their names: it gives the version.
create trigger take_subdomain before insert or update of subdomain on platform.tenants
  for each row execute function platform.take_subdomain();
--> statement-breakpoint
create trigger leave_subdomains after delete on platform.tenants
  for each row execute function platform.leave_subdomains();
--> statement-breakpoint
create policy operators on platform.tenant_days for select
  using ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.days for select
  using ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.erasure_certificates for select
  using ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.licenses
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
create policy reader on platform.licenses for select to freehold_reader
  using (true);
--> statement-breakpoint
create policy operators on platform.tenant_moves
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.plans
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
-- Somebody else's database, which an operator names; all other hosts are opened by provisioning.
create policy adopting on platform.hosts for insert
  with check ((select access.scope()) = 'all' and kind = 'external');
--> statement-breakpoint
create policy reconnecting on platform.hosts for update
  using ((select access.scope()) = 'all' and kind = 'external')
  with check ((select access.scope()) = 'all' and kind = 'external');
--> statement-breakpoint
create policy operators on platform.subdomains for select
  using ((select access.scope()) = 'all');
--> statement-breakpoint
create policy reader on platform.subdomains for select to freehold_reader
  using (true);
--> statement-breakpoint
create policy operators on platform.restore_points
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.credential_rotations
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.kept_branches for select
  using ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.migration_undos
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.tenants REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,former_refresh_key_encrypted,next_refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted,presets_version,next_refresh_key_encrypted,move_id}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.tenants REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,former_refresh_key_encrypted,next_refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted,presets_version,next_refresh_key_encrypted,move_id}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.tenants REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,former_refresh_key_encrypted,next_refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted,presets_version,next_refresh_key_encrypted,move_id}', '{id}');
--> statement-breakpoint
revoke execute
  on function platform.add_signing_key(uuid,text,jsonb,text),
    platform.effective_limits(uuid,text,jsonb),
    platform.enter_to_reset(uuid,text),
    platform.known_plan(),
    platform.leave_subdomains(),
    platform.license_of(uuid),
    platform.license_version(),
    platform.next_fence_attempt(uuid),
    platform.plan_version(),
    platform.record_fix(text,text),
    platform.sum_days(),
    platform.take_subdomain(),
    platform.unused_plan(),
    platform.warn_licenses(integer)
  from public;
--> statement-breakpoint
grant select
  on platform.days,
    platform.erasure_certificates,
    platform.kept_branches,
    platform.tenant_days
  to freehold_app;
--> statement-breakpoint
grant delete, insert, select, update (valid_until, updated_at)
  on platform.licenses
  to freehold_app;
--> statement-breakpoint
grant delete, insert, select, update (name, description, isolation, limits, updated_at)
  on platform.plans
  to freehold_app;
--> statement-breakpoint
grant insert, select, update (state, attempts, lease_until, error, trace_id, exchanged_at, finished_at, kept_until)
  on platform.restore_points
  to freehold_app;
--> statement-breakpoint
grant insert, select
  on platform.migration_undos
  to freehold_app;
--> statement-breakpoint
grant select (name, tenant_id, until)
  on platform.subdomains
  to freehold_app;
--> statement-breakpoint
grant select (name, tenant_id, until, v)
  on platform.subdomains
  to freehold_reader;
--> statement-breakpoint
grant insert (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, trace_id), select (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, error, copied, other_host_id, trace_id, created_at, closed_at, exchanged_at, finished_at, left_until)
  on platform.tenant_moves
  to freehold_app;
--> statement-breakpoint
grant insert (id, name, kind, state, region, owner_url_encrypted, address, found, capacity, taken, lease_until), select (account, organization, project_id, branch_id, address), update (owner_url_encrypted, refused)
  on platform.hosts
  to freehold_app;
--> statement-breakpoint
grant insert (id, tenant_id, state, step, lease_until, trace_id), select (id, tenant_id, state, step, attempts, error, created_at, exchanged_at, left_until, finished_at)
  on platform.credential_rotations
  to freehold_app;
--> statement-breakpoint
grant select (users_counted_at)
  on platform.maintenance
  to freehold_app;
--> statement-breakpoint
grant select (tenant_id, valid_from, valid_until, grace_days)
  on platform.licenses
  to freehold_reader;
--> statement-breakpoint
grant update (from_version, ms, step, drift, finished_at)
  on platform.tenant_migrations
  to freehold_app;
--> statement-breakpoint
grant select (presets_version, connected_at, move_id), update (subdomain, legal_name, tax_id, country, admin_email, contact_name, plan, environment, limits, connected_at, move_id)
  on platform.tenants
  to freehold_app;
--> statement-breakpoint
grant select (environment, role_preset, presets_version)
  on platform.tenants
  to freehold_reader;
--> statement-breakpoint
grant execute
  on function platform.add_signing_key(uuid,text,jsonb,text),
    platform.effective_limits(uuid,text,jsonb),
    platform.enter_to_reset(uuid,text),
    platform.license_of(uuid),
    platform.next_fence_attempt(uuid),
    platform.record_fix(text,text)
  to freehold_app;
--> statement-breakpoint
grant execute
  on function platform.license_of(uuid)
  to freehold_reader;
