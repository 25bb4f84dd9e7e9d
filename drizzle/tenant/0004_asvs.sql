-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   alters table freehold.tenant
-- Definitions:
--   drops function access.check_asked_names
--   drops function access.check_asked_users
--   drops function access.holds_more
--   drops function access.import_users
--   drops function access.record_import
--   drops function access.register
--   drops function access.too_many_requests
--   drops function access.verify_email

drop function access.check_asked_names(jsonb);
--> statement-breakpoint
drop function access.check_asked_users(uuid,jsonb);
--> statement-breakpoint
drop function access.holds_more(uuid,uuid);
--> statement-breakpoint
drop function access.import_users(jsonb,boolean);
--> statement-breakpoint
drop function access.record_import(jsonb);
--> statement-breakpoint
drop function access.register(uuid,text,bytea,jsonb,text,text,jsonb);
--> statement-breakpoint
drop function access.too_many_requests(uuid,text);
--> statement-breakpoint
drop function access.verify_email(uuid,text,bytea,bytea,text,jsonb);
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" DROP CONSTRAINT "tenant_settings";
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "idle_minutes" integer;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_breached" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "first_password_hours" integer DEFAULT 72 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "reset_link_minutes" integer DEFAULT 60 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "api_key_days" integer DEFAULT 365 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_grant" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_settings" CHECK ("freehold"."tenant"."max_failures" between 1 and 100 and "freehold"."tenant"."lock_minutes" between 1 and 1440 and "freehold"."tenant"."idle_days" between 1 and 365
        and "freehold"."tenant"."session_days" between 1 and 365 and "freehold"."tenant"."max_sessions" between 1 and 1000 and "freehold"."tenant"."access_minutes" between 5 and 10080
        and "freehold"."tenant"."password_days" between 0 and 3650 and "freehold"."tenant"."password_warning_days" between 0 and 365 and "freehold"."tenant"."password_min_length" between 8 and 64
        and "freehold"."tenant"."password_max_length" between 64 and 1024 and "freehold"."tenant"."password_unique" between 1 and 32 and "freehold"."tenant"."password_history" between 0 and 24
        and "freehold"."tenant"."idle_minutes" between 15 and 525600 and "freehold"."tenant"."first_password_hours" between 1 and 720
        and "freehold"."tenant"."reset_link_minutes" between 15 and 1440 and "freehold"."tenant"."api_key_days" between 0 and 3650
        and "freehold"."tenant"."max_delegations" between 1 and 200 and "freehold"."tenant"."mail_per_recipient_hour" between 1 and 20 and "freehold"."tenant"."mail_per_day" between 1 and 50000);
--> statement-breakpoint
grant update (idle_minutes, password_breached, first_password_hours, reset_link_minutes, api_key_days, password_grant)
  on freehold.tenant
  to freehold_app;
