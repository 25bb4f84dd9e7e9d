-- Made by `npm run migration` for the master. Do not edit it once it has landed.
-- Tables:
--   alters table platform.realm
--   alters table platform.tenants
-- Definitions:
--   creates policy reader on platform.realm
--   creates policy reader on platform.tenants
--   creates policy reader on platform.signing_keys
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
-- The part of a tenant's row whose change makes a new version. `is_active` is generated, and not yet computed where a
-- trigger runs before the row is written.
create or replace function platform.published_fields(t platform.tenants) returns jsonb
language sql stable
return to_jsonb(t) - '{v,published_v,updated_at,users_counted,is_active,owner_url_encrypted,
  next_refresh_key_encrypted,rotating_since}'::text[];
--> statement-breakpoint
create policy reader on platform.realm for select to freehold_reader
  using (true);
--> statement-breakpoint
create policy reader on platform.tenants for select to freehold_reader
  using (true);
--> statement-breakpoint
create policy reader on platform.signing_keys for select to freehold_reader
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
grant select (id, refresh_key_from, former_refresh_key_encrypted, refresh_key_encrypted)
  on platform.realm
  to freehold_reader;
--> statement-breakpoint
grant select (kid, realm_id, public_jwk, private_jwk_encrypted, use_from)
  on platform.signing_keys
  to freehold_reader;
--> statement-breakpoint
grant select (id, subdomain, legal_name, status, config, app_url_encrypted, refresh_key_from, former_refresh_key_encrypted, refresh_key_encrypted, v, deleted_at)
  on platform.tenants
  to freehold_reader;
--> statement-breakpoint
grant select (refresh_key_from, rotating_since), update (rotating_since)
  on platform.tenants
  to freehold_app;
