-- Made by `npm run migration` for the master. Do not edit it once it has landed.
-- Tables:
--   creates table platform.audit_heads
--   creates table platform.hosts
--   creates table platform.maintenance
--   creates table platform.provisioning_runs
--   creates table platform.provisioning_steps
--   creates table platform.realm
--   creates table platform.signing_keys
--   creates table platform.tenants
-- Definitions:
--   creates 15 objects

set local check_function_bodies = off;
--> statement-breakpoint
CREATE SCHEMA "platform";
--> statement-breakpoint
-- The registry's versions: one sequence, which only grows. A change of a tenant takes the next version after it holds
-- the row's lock, so that of two versions of one tenant the later is the greater. A statement that sets a version
-- itself took it from the sequence.
create sequence platform.registry_v;
--> statement-breakpoint
CREATE TABLE "platform"."audit_heads" (
  "realm_id" uuid PRIMARY KEY NOT NULL,
  "no" integer NOT NULL,
  "hash" text NOT NULL,
  "entries" bigint NOT NULL,
  "checkpointed_at" timestamp with time zone NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "platform"."hosts" (
  "id" uuid PRIMARY KEY NOT NULL,
  "name" text NOT NULL,
  "kind" text NOT NULL,
  "state" text NOT NULL,
  "region" text NOT NULL,
  "project_id" text,
  "branch_id" text,
  "owner_role" text,
  "owner_url_encrypted" text,
  "capacity" integer NOT NULL,
  "taken" integer DEFAULT 0 NOT NULL,
  "refused" text,
  "lease_until" timestamp with time zone NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "hosts_name_unique" UNIQUE("name"),
  CONSTRAINT "hosts_room" CHECK ("platform"."hosts"."taken" between 0 and "platform"."hosts"."capacity"),
  CONSTRAINT "hosts_open" CHECK ("platform"."hosts"."state" <> 'open' or num_nulls("platform"."hosts"."project_id", "platform"."hosts"."branch_id", "platform"."hosts"."owner_role", "platform"."hosts"."owner_url_encrypted") = 0)
);
--> statement-breakpoint
CREATE TABLE "platform"."maintenance" (
  "realm_id" uuid PRIMARY KEY NOT NULL,
  "due_at" timestamp with time zone DEFAULT now() NOT NULL,
  "maintained_at" timestamp with time zone DEFAULT '-infinity' NOT NULL,
  "active_until" timestamp with time zone DEFAULT '-infinity' NOT NULL
);
--> statement-breakpoint
CREATE TABLE "platform"."provisioning_runs" (
  "id" uuid PRIMARY KEY NOT NULL,
  "tenant_id" uuid NOT NULL,
  "attempt" integer NOT NULL,
  "state" text NOT NULL,
  "lease_until" timestamp with time zone NOT NULL,
  "trace_id" text,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "finished_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "platform"."provisioning_steps" (
  "tenant_id" uuid NOT NULL,
  "position" integer NOT NULL,
  "name" text NOT NULL,
  "state" text DEFAULT 'pending' NOT NULL,
  "attempts" integer DEFAULT 0 NOT NULL,
  "started_at" timestamp with time zone,
  "finished_at" timestamp with time zone,
  "error" text,
  "trace_id" text,
  "result" jsonb,
  CONSTRAINT "provisioning_steps_tenant_id_name_pk" PRIMARY KEY("tenant_id","name")
);
--> statement-breakpoint
CREATE TABLE "platform"."realm" (
  "one" boolean PRIMARY KEY DEFAULT true NOT NULL,
  "id" uuid NOT NULL,
  "refresh_key_encrypted" text NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "realm_is_one" CHECK ("platform"."realm"."one")
);
--> statement-breakpoint
CREATE TABLE "platform"."signing_keys" (
  "kid" text PRIMARY KEY NOT NULL,
  "realm_id" uuid NOT NULL,
  "public_jwk" jsonb NOT NULL,
  "private_jwk_encrypted" text NOT NULL,
  "use_from" timestamp with time zone NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "platform"."tenants" (
  "id" uuid PRIMARY KEY NOT NULL,
  "subdomain" text NOT NULL,
  "legal_name" text NOT NULL,
  "tax_id" text NOT NULL,
  "country" text NOT NULL,
  "admin_email" text NOT NULL,
  "contact_name" text,
  "region" text NOT NULL,
  "plan" text,
  "environment" text NOT NULL,
  "status" text NOT NULL,
  "is_active" boolean GENERATED ALWAYS AS (status = 'active') STORED NOT NULL,
  "isolation" text NOT NULL,
  "role_preset" text NOT NULL,
  "limits" jsonb DEFAULT '{}'::jsonb NOT NULL,
  "config" jsonb DEFAULT '{}'::jsonb NOT NULL,
  "schema_version" text,
  "users_counted" integer DEFAULT 0 NOT NULL,
  "database_name" text NOT NULL,
  "host_id" uuid,
  "branch_id" text,
  "app_url_encrypted" text,
  "owner_url_encrypted" text,
  "refresh_key_encrypted" text,
  "initial_admin_encrypted" text,
  "v" bigint DEFAULT 0 NOT NULL,
  "published_v" bigint DEFAULT 0 NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  "deleted_at" timestamp with time zone,
  "erasing_until" timestamp with time zone,
  CONSTRAINT "tenants_subdomain_form" CHECK ("platform"."tenants"."subdomain" ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  CONSTRAINT "tenants_status" CHECK ("platform"."tenants"."status" in ('provisioning', 'active', 'inactive', 'failed', 'deleted', 'erasing'))
);
--> statement-breakpoint
ALTER TABLE "platform"."maintenance" ADD CONSTRAINT "maintenance_realm_id_tenants_id_fk" FOREIGN KEY ("realm_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."provisioning_runs" ADD CONSTRAINT "provisioning_runs_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."provisioning_steps" ADD CONSTRAINT "provisioning_steps_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD CONSTRAINT "tenants_host_id_hosts_id_fk" FOREIGN KEY ("host_id") REFERENCES "platform"."hosts"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE UNIQUE INDEX "hosts_one_opening" ON "platform"."hosts" USING btree ("kind") WHERE "platform"."hosts"."state" = 'opening';
--> statement-breakpoint
CREATE UNIQUE INDEX "provisioning_runs_attempt" ON "platform"."provisioning_runs" USING btree ("tenant_id","attempt");
--> statement-breakpoint
CREATE UNIQUE INDEX "provisioning_runs_one_running" ON "platform"."provisioning_runs" USING btree ("tenant_id") WHERE "platform"."provisioning_runs"."state" = 'running';
--> statement-breakpoint
CREATE INDEX "provisioning_runs_lease" ON "platform"."provisioning_runs" USING btree ("lease_until") WHERE "platform"."provisioning_runs"."state" = 'running';
--> statement-breakpoint
CREATE INDEX "signing_keys_realm" ON "platform"."signing_keys" USING btree ("realm_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "tenants_subdomain" ON "platform"."tenants" USING btree ("subdomain");
--> statement-breakpoint
CREATE UNIQUE INDEX "tenants_tax_id" ON "platform"."tenants" USING btree ("country","tax_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "tenants_database" ON "platform"."tenants" USING btree ("host_id","database_name");
--> statement-breakpoint
CREATE INDEX "tenants_created" ON "platform"."tenants" USING btree ("created_at","id");
--> statement-breakpoint
alter table platform.audit_heads enable row level security;
--> statement-breakpoint
alter table platform.hosts enable row level security;
--> statement-breakpoint
alter table platform.maintenance enable row level security;
--> statement-breakpoint
alter table platform.provisioning_runs enable row level security;
--> statement-breakpoint
alter table platform.provisioning_steps enable row level security;
--> statement-breakpoint
alter table platform.realm enable row level security;
--> statement-breakpoint
alter table platform.signing_keys enable row level security;
--> statement-breakpoint
alter table platform.tenants enable row level security;
--> statement-breakpoint
create or replace function platform.next_version() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT'
    or new.v = old.v and platform.published_fields(new) <> platform.published_fields(old) then
    new.v := nextval('platform.registry_v');
    new.updated_at := now();
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The part of a tenant's row whose change makes a new version. `is_active` is generated, and not yet computed where a
-- trigger runs before the row is written.
create or replace function platform.published_fields(t platform.tenants) returns jsonb
language sql stable
return to_jsonb(t) - '{v,published_v,updated_at,users_counted,is_active}'::text[];
--> statement-breakpoint
-- A new key of a tenant is a new version of the tenant.
create or replace function platform.key_version() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  update platform.tenants
  set v = nextval('platform.registry_v')
  where id = new.realm_id;
  return null;
end $$;
--> statement-breakpoint
-- Puts a tenant into the maintenance queue, because a change by an operator may have written to its own database.
create or replace function platform.queue_maintenance() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into platform.maintenance as v (realm_id)
  values (new.id)
  on conflict (realm_id) do update
  set active_until = greatest(v.active_until, clock_timestamp() + interval '1 minute');
  return null;
end $$;
--> statement-breakpoint
create trigger key_version after insert or update on platform.signing_keys
  for each row execute function platform.key_version();
--> statement-breakpoint
create trigger queue_maintenance after insert or update on platform.tenants
  for each row execute function platform.queue_maintenance();
--> statement-breakpoint
create trigger next_version before insert or update on platform.tenants
  for each row execute function platform.next_version();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.tenants REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.tenants REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.tenants REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted}', '{id}');
--> statement-breakpoint
-- Not access.protect: a request with a permission for tenants also writes the runs and steps that it starts, so that
-- only the scope is checked here.
create policy operators on platform.tenants
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.hosts for select
  using ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.provisioning_runs
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.provisioning_steps
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
revoke execute
  on function platform.key_version(),
    platform.next_version(),
    platform.published_fields(platform.tenants),
    platform.queue_maintenance()
  from public;
--> statement-breakpoint
grant usage
  on schema platform
  to freehold_app;
--> statement-breakpoint
grant usage
  on sequence platform.registry_v
  to freehold_app;
--> statement-breakpoint
grant insert, select (id, subdomain, legal_name, tax_id, country, admin_email, contact_name, region, plan, environment, status, is_active, isolation, role_preset, limits, config, schema_version, users_counted, database_name, host_id, v, published_v, created_at, updated_at, deleted_at), update (status, config, deleted_at, erasing_until)
  on platform.tenants
  to freehold_app;
--> statement-breakpoint
grant insert, select, update
  on platform.provisioning_runs,
    platform.provisioning_steps
  to freehold_app;
--> statement-breakpoint
grant select (id, name, kind, state, capacity, taken, refused, lease_until)
  on platform.hosts
  to freehold_app;
--> statement-breakpoint
grant execute
  on function platform.published_fields(platform.tenants)
  to freehold_app;
