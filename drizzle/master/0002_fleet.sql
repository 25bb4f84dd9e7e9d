-- Made by `npm run migration` for the master. Do not edit it once it has landed.
-- Tables:
--   creates table platform.erasure_certificates
--   creates table platform.kv_pass
--   creates table platform.tenant_moves
--   creates table platform.kept_branches
--   creates table platform.migration_undos
--   alters table platform.hosts
--   alters table platform.tenant_migrations
--   alters table platform.tenants
-- Definitions:
--   creates 16 objects
--   replaces function platform.published_fields
--   drops and creates trigger audit_delete on platform.tenants
--   drops and creates trigger audit_update on platform.tenants
--   drops and creates trigger audit_insert on platform.tenants

set local check_function_bodies = off;
--> statement-breakpoint
drop trigger audit_delete on platform.tenants;
--> statement-breakpoint
drop trigger audit_update on platform.tenants;
--> statement-breakpoint
drop trigger audit_insert on platform.tenants;
--> statement-breakpoint
CREATE TABLE "platform"."erasure_certificates" (
  "tenant_id" uuid PRIMARY KEY NOT NULL,
  "subdomain" text NOT NULL,
  "certificate" text NOT NULL,
  "issued_at" timestamp with time zone DEFAULT now() NOT NULL
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
ALTER TABLE "platform"."hosts" ADD COLUMN "address" text;
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD COLUMN "found" jsonb;
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD COLUMN "removing" text;
--> statement-breakpoint
ALTER TABLE "platform"."hosts" ADD COLUMN "removing_until" timestamp with time zone;
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
ALTER TABLE "platform"."tenant_moves" ADD CONSTRAINT "tenant_moves_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."tenant_moves" ADD CONSTRAINT "tenant_moves_other_host_id_hosts_id_fk" FOREIGN KEY ("other_host_id") REFERENCES "platform"."hosts"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."kept_branches" ADD CONSTRAINT "kept_branches_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."migration_undos" ADD CONSTRAINT "migration_undos_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
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
CREATE UNIQUE INDEX "migration_undos_one_running" ON "platform"."migration_undos" USING btree ("tenant_id") WHERE "platform"."migration_undos"."state" = 'running';
--> statement-breakpoint
CREATE INDEX "migration_undos_tenant" ON "platform"."migration_undos" USING btree ("tenant_id","created_at");
--> statement-breakpoint
CREATE INDEX "migration_undos_lease" ON "platform"."migration_undos" USING btree ("lease_until") WHERE "platform"."migration_undos"."state" = 'running';
--> statement-breakpoint
CREATE INDEX "migration_undos_compute" ON "platform"."migration_undos" USING btree ("compute_until") WHERE "platform"."migration_undos"."compute_until" is not null;
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
ALTER TABLE "platform"."hosts" ADD CONSTRAINT "hosts_open" CHECK ("platform"."hosts"."state" <> 'open' or num_nulls("platform"."hosts"."project_id", "platform"."hosts"."branch_id", "platform"."hosts"."owner_role", "platform"."hosts"."owner_url_encrypted") = 0
        or "platform"."hosts"."kind" = 'external' and num_nulls("platform"."hosts"."address", "platform"."hosts"."found", "platform"."hosts"."owner_url_encrypted") = 0);
--> statement-breakpoint
alter table platform.erasure_certificates enable row level security;
--> statement-breakpoint
alter table platform.kv_pass enable row level security;
--> statement-breakpoint
alter table platform.tenant_moves enable row level security;
--> statement-breakpoint
alter table platform.kept_branches enable row level security;
--> statement-breakpoint
alter table platform.migration_undos enable row level security;
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
-- The part of a tenant's row whose change makes a new version. `is_active` is generated, and not yet computed where a
-- trigger runs before the row is written.
create or replace function platform.published_fields(t platform.tenants) returns jsonb
language sql stable
return to_jsonb(t) - '{v,published_v,updated_at,users_counted,is_active,presets_version,owner_url_encrypted,
  next_refresh_key_encrypted,rotating_since,connected_at,move_id}'::text[];
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.tenant_moves REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant_move', '{app_url_encrypted,owner_url_encrypted}', '{step,copied,operations,lease_until,attempts,left_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.tenant_moves REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant_move', '{app_url_encrypted,owner_url_encrypted}', '{step,copied,operations,lease_until,attempts,left_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.tenant_moves REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant_move', '{app_url_encrypted,owner_url_encrypted}', '{step,copied,operations,lease_until,attempts,left_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.erasure_certificates REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('erasure_certificate', '{}', '{updated_at}', '{tenant_id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.erasure_certificates REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('erasure_certificate', '{}', '{updated_at}', '{tenant_id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.erasure_certificates REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('erasure_certificate', '{}', '{updated_at}', '{tenant_id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.migration_undos REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('migration_undo', '{}', '{lease_until,attempts,compute_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.migration_undos REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('migration_undo', '{}', '{lease_until,attempts,compute_until}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.migration_undos REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('migration_undo', '{}', '{lease_until,attempts,compute_until}', '{id}');
--> statement-breakpoint
create policy operators on platform.erasure_certificates for select
  using ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.tenant_moves
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
create policy operators on platform.kept_branches for select
  using ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.migration_undos
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.tenants REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,former_refresh_key_encrypted,next_refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted,presets_version,next_refresh_key_encrypted,move_id}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.tenants REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,former_refresh_key_encrypted,next_refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted,presets_version,next_refresh_key_encrypted,move_id}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.tenants REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,former_refresh_key_encrypted,next_refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted,presets_version,next_refresh_key_encrypted,move_id}', '{id}');
--> statement-breakpoint
revoke execute
  on function platform.record_fix(text,text)
  from public;
--> statement-breakpoint
grant select
  on platform.erasure_certificates,
    platform.kept_branches
  to freehold_app;
--> statement-breakpoint
grant insert, select
  on platform.migration_undos
  to freehold_app;
--> statement-breakpoint
grant insert (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, trace_id), select (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, error, copied, other_host_id, trace_id, created_at, closed_at, exchanged_at, finished_at, left_until)
  on platform.tenant_moves
  to freehold_app;
--> statement-breakpoint
grant insert (id, name, kind, state, region, owner_url_encrypted, address, found, capacity, taken, lease_until), select (address), update (owner_url_encrypted, refused)
  on platform.hosts
  to freehold_app;
--> statement-breakpoint
grant update (from_version, ms, step, drift, finished_at)
  on platform.tenant_migrations
  to freehold_app;
--> statement-breakpoint
grant select (presets_version, connected_at, move_id), update (legal_name, admin_email, contact_name, plan, environment, connected_at, move_id)
  on platform.tenants
  to freehold_app;
--> statement-breakpoint
grant select (role_preset, presets_version)
  on platform.tenants
  to freehold_reader;
--> statement-breakpoint
grant execute
  on function platform.record_fix(text,text)
  to freehold_app;
