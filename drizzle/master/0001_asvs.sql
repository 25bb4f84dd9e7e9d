-- Made by `npm run migration` for the master. Do not edit it once it has landed.
-- Tables:
--   creates table platform.migration_runs
--   creates table platform.tenant_migrations
--   alters table platform.realm
--   alters table platform.tenants
-- Definitions:
--   creates trigger audit_delete on platform.migration_runs
--   creates trigger audit_update on platform.migration_runs
--   creates trigger audit_insert on platform.migration_runs
--   creates policy operators on platform.migration_runs
--   creates policy operators on platform.tenant_migrations
--   creates policy operators on platform.maintenance
--   creates policy reader on platform.tenants
--   creates policy reader on platform.signing_keys
--   creates policy reader on platform.realm
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
CREATE TABLE "platform"."migration_runs" (
  "id" uuid PRIMARY KEY NOT NULL,
  "target" text NOT NULL,
  "state" text NOT NULL,
  "reason" text,
  "wave" integer DEFAULT 0 NOT NULL,
  "concurrency" integer NOT NULL,
  "stop_percent" integer NOT NULL,
  "rest_from" timestamp with time zone NOT NULL,
  "trace_id" text,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "finished_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "platform"."tenant_migrations" (
  "tenant_id" uuid NOT NULL,
  "target" text NOT NULL,
  "run_id" uuid,
  "wave" integer NOT NULL,
  "state" text NOT NULL,
  "from_version" text,
  "attempts" integer DEFAULT 0 NOT NULL,
  "lease_until" timestamp with time zone,
  "ms" integer,
  "error" text,
  "started_at" timestamp with time zone,
  "finished_at" timestamp with time zone,
  CONSTRAINT "tenant_migrations_tenant_id_target_pk" PRIMARY KEY("tenant_id","target")
);
--> statement-breakpoint
ALTER TABLE "platform"."realm" ADD COLUMN "refresh_key_from" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "platform"."realm" ADD COLUMN "former_refresh_key_encrypted" text;
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD COLUMN "refresh_key_from" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD COLUMN "former_refresh_key_encrypted" text;
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD COLUMN "rotating_since" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD COLUMN "next_refresh_key_encrypted" text;
--> statement-breakpoint
ALTER TABLE "platform"."tenant_migrations" ADD CONSTRAINT "tenant_migrations_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "platform"."tenant_migrations" ADD CONSTRAINT "tenant_migrations_run_id_migration_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "platform"."migration_runs"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE UNIQUE INDEX "migration_runs_one_running" ON "platform"."migration_runs" USING btree (("state" = 'running')) WHERE "platform"."migration_runs"."state" = 'running';
--> statement-breakpoint
CREATE INDEX "tenant_migrations_run" ON "platform"."tenant_migrations" USING btree ("run_id","wave","state");
--> statement-breakpoint
CREATE INDEX "tenant_migrations_lease" ON "platform"."tenant_migrations" USING btree ("lease_until") WHERE "platform"."tenant_migrations"."state" = 'running';
--> statement-breakpoint
alter table platform.migration_runs enable row level security;
--> statement-breakpoint
alter table platform.tenant_migrations enable row level security;
--> statement-breakpoint
-- The part of a tenant's row whose change makes a new version. `is_active` is generated, and not yet computed where a
-- trigger runs before the row is written.
create or replace function platform.published_fields(t platform.tenants) returns jsonb
language sql stable
return to_jsonb(t) - '{v,published_v,updated_at,users_counted,is_active,owner_url_encrypted,
  next_refresh_key_encrypted,rotating_since}'::text[];
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.migration_runs REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('migration', '{}', '{wave}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.migration_runs REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('migration', '{}', '{wave}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.migration_runs REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('migration', '{}', '{wave}', '{id}');
--> statement-breakpoint
create policy operators on platform.migration_runs
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
create policy operators on platform.tenant_migrations
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');
--> statement-breakpoint
-- Who is awake decides who is migrated first.
create policy operators on platform.maintenance for select
  using ((select access.scope()) = 'all');
--> statement-breakpoint
create policy reader on platform.tenants for select to freehold_reader
  using (true);
--> statement-breakpoint
create policy reader on platform.signing_keys for select to freehold_reader
  using (true);
--> statement-breakpoint
create policy reader on platform.realm for select to freehold_reader
  using (true);
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON platform.tenants REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,former_refresh_key_encrypted,next_refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted,next_refresh_key_encrypted}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON platform.tenants REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,former_refresh_key_encrypted,next_refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted,next_refresh_key_encrypted}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON platform.tenants REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,former_refresh_key_encrypted,next_refresh_key_encrypted,initial_admin_encrypted}', '{v,published_v,updated_at,users_counted,next_refresh_key_encrypted}', '{id}');
--> statement-breakpoint
grant usage
  on schema platform
  to freehold_reader;
--> statement-breakpoint
grant insert, select, update (state, reason, finished_at)
  on platform.migration_runs
  to freehold_app;
--> statement-breakpoint
grant insert, select, update (run_id, wave, state, error)
  on platform.tenant_migrations
  to freehold_app;
--> statement-breakpoint
grant select (id, refresh_key_from, former_refresh_key_encrypted, refresh_key_encrypted)
  on platform.realm
  to freehold_reader;
--> statement-breakpoint
grant select (realm_id, active_until)
  on platform.maintenance
  to freehold_app;
--> statement-breakpoint
grant select (kid, realm_id, public_jwk, private_jwk_encrypted, use_from)
  on platform.signing_keys
  to freehold_reader;
--> statement-breakpoint
grant select (id, subdomain, legal_name, status, config, schema_version, app_url_encrypted, refresh_key_from, former_refresh_key_encrypted, refresh_key_encrypted, v, deleted_at)
  on platform.tenants
  to freehold_reader;
--> statement-breakpoint
grant select (refresh_key_from, rotating_since), update (rotating_since)
  on platform.tenants
  to freehold_app;
