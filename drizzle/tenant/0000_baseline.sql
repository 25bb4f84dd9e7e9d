-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table access.secrets
--   creates table freehold.api_keys
--   creates table access.key_counters
--   creates table freehold.audit_checkpoints
--   creates table freehold.audit_detail
--   creates table freehold.audit_log
--   creates table freehold.lockouts
--   creates table freehold.login_attempts
--   creates table freehold.delegation_permissions
--   creates table freehold.delegations
--   creates table freehold.mail_attempts
--   creates table freehold.mails
--   creates table access.purges
--   creates table freehold.one_time_tokens
--   creates table freehold.registrations
--   creates table freehold.overrides
--   creates table freehold.permissions
--   creates table freehold.role_periods
--   creates table freehold.role_permissions
--   creates table freehold.roles
--   creates table freehold.user_roles
--   creates table freehold.refresh_tokens
--   creates table freehold.sessions
--   creates table freehold.tenant
--   creates table freehold.units
--   creates table freehold.passwords
--   creates table freehold.user_periods
--   creates table freehold.users
-- Definitions:
--   creates 286 objects

set local check_function_bodies = off;
--> statement-breakpoint
-- How far a permission reaches, from the narrowest to the widest, so that `<`, max() and least() compare scopes.
-- `organization` is reserved: a value cannot be added to a type and used in one transaction. For variables,
-- parameters and results only: no operator of an enum is leakproof, so that a list could not use an index on such a
-- column under row level security. Columns are text with a check.
create type access.scope as enum ('own', 'team', 'department', 'organization', 'all');
--> statement-breakpoint
CREATE TABLE "access"."secrets" (
  "one" boolean PRIMARY KEY DEFAULT true NOT NULL,
  "inner_key" "bytea" NOT NULL,
  "outer_key" "bytea" NOT NULL,
  "system_hash" "bytea",
  CONSTRAINT "secrets_one_check" CHECK ("access"."secrets"."one")
);
--> statement-breakpoint
CREATE TABLE "freehold"."api_keys" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "name" text NOT NULL,
  "prefix" text NOT NULL,
  "key_hash" "bytea" NOT NULL,
  "permissions" text[] NOT NULL,
  "addresses" text[] DEFAULT '{}' NOT NULL,
  "rotated_from" uuid,
  "last_used_at" timestamp with time zone,
  "use_count" bigint DEFAULT 0 NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "expires_at" timestamp with time zone,
  "revoked_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "access"."key_counters" (
  "writer" uuid PRIMARY KEY NOT NULL,
  "batch" integer NOT NULL,
  "counted_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "freehold"."audit_checkpoints" (
  "no" integer PRIMARY KEY NOT NULL,
  "entries" integer NOT NULL,
  "hash" "bytea" NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "freehold"."audit_detail" (
  "log_id" uuid PRIMARY KEY NOT NULL,
  "salt" "bytea" NOT NULL,
  "user_name" text,
  "address" text,
  "agent" text,
  "method" text,
  "path" text,
  "before" jsonb,
  "after" jsonb,
  "api_key_id" uuid
);
--> statement-breakpoint
CREATE TABLE "freehold"."audit_log" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid,
  "activity_type" text NOT NULL,
  "action" text NOT NULL,
  "resource_type" text NOT NULL,
  "resource_id" text,
  "risk_score" integer DEFAULT 0 NOT NULL,
  "trace_id" text,
  "at" timestamp with time zone DEFAULT now() NOT NULL,
  "detail_hash" "bytea" NOT NULL,
  "xid" bigint DEFAULT pg_current_xact_id()::text::bigint NOT NULL,
  "checkpoint" integer
);
--> statement-breakpoint
CREATE TABLE "freehold"."lockouts" (
  "key" text PRIMARY KEY NOT NULL,
  "failures" integer DEFAULT 0 NOT NULL,
  "failed_at" timestamp with time zone,
  "locked_until" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "freehold"."login_attempts" (
  "id" uuid PRIMARY KEY NOT NULL,
  "key" text NOT NULL,
  "user_id" uuid,
  "identifier" text NOT NULL,
  "hash_parameters" text NOT NULL,
  "state" text NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "login_attempts_state" CHECK ("freehold"."login_attempts"."state" in ('pending', 'refused', 'succeeded', 'failed'))
);
--> statement-breakpoint
CREATE TABLE "freehold"."delegation_permissions" (
  "delegation_id" uuid NOT NULL,
  "permission" text NOT NULL,
  CONSTRAINT "delegation_permissions_delegation_id_permission_pk" PRIMARY KEY("delegation_id","permission")
);
--> statement-breakpoint
CREATE TABLE "freehold"."delegations" (
  "id" uuid PRIMARY KEY NOT NULL,
  "delegator_id" uuid NOT NULL,
  "delegate_id" uuid NOT NULL,
  "role_id" uuid,
  "starts_at" timestamp with time zone NOT NULL,
  "ends_at" timestamp with time zone NOT NULL,
  "reason" text,
  "decision" text,
  "decided_at" timestamp with time zone,
  "decided_by" uuid,
  "revoked_at" timestamp with time zone,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "delegations_order" CHECK ("freehold"."delegations"."ends_at" > "freehold"."delegations"."starts_at"),
  CONSTRAINT "delegations_not_to_oneself" CHECK ("freehold"."delegations"."delegate_id" <> "freehold"."delegations"."delegator_id"),
  CONSTRAINT "delegations_decision" CHECK ("freehold"."delegations"."decision" in ('approved', 'rejected') and ("freehold"."delegations"."decision" is null) = ("freehold"."delegations"."decided_at" is null)),
  CONSTRAINT "delegations_reason_form" CHECK (length("freehold"."delegations"."reason") <= 500)
);
--> statement-breakpoint
CREATE TABLE "freehold"."mail_attempts" (
  "id" uuid PRIMARY KEY NOT NULL,
  "mail_id" uuid NOT NULL,
  "started_at" timestamp with time zone DEFAULT now() NOT NULL,
  "finished_at" timestamp with time zone,
  "outcome" text,
  "detail" text
);
--> statement-breakpoint
CREATE TABLE "freehold"."mails" (
  "id" uuid PRIMARY KEY NOT NULL,
  "kind" text NOT NULL,
  "channel" text DEFAULT 'email' NOT NULL,
  "user_id" uuid,
  "recipient" text NOT NULL,
  "locale" text NOT NULL,
  "data" jsonb DEFAULT '{}'::jsonb NOT NULL,
  "secrets_encrypted" text,
  "trace_id" text,
  "state" text DEFAULT 'queued' NOT NULL,
  "attempts" integer DEFAULT 0 NOT NULL,
  "next_at" timestamp with time zone DEFAULT now() NOT NULL,
  "lease_until" timestamp with time zone,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "finished_at" timestamp with time zone,
  CONSTRAINT "mails_state" CHECK ("freehold"."mails"."state" in ('queued', 'sent', 'dead') and ("freehold"."mails"."state" = 'queued') = ("freehold"."mails"."finished_at" is null)),
  CONSTRAINT "mails_channel" CHECK ("freehold"."mails"."channel" in ('email', 'sms'))
);
--> statement-breakpoint
CREATE TABLE "access"."purges" (
  "one" boolean PRIMARY KEY DEFAULT true NOT NULL,
  "last_at" timestamp with time zone NOT NULL,
  CONSTRAINT "purges_is_one" CHECK ("access"."purges"."one")
);
--> statement-breakpoint
CREATE TABLE "freehold"."one_time_tokens" (
  "token_hash" "bytea" PRIMARY KEY NOT NULL,
  "kind" text NOT NULL,
  "user_id" uuid NOT NULL,
  "target" text NOT NULL,
  "tries" integer DEFAULT 0 NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  "used_at" timestamp with time zone,
  CONSTRAINT "one_time_tokens_kind" CHECK ("freehold"."one_time_tokens"."kind" in ('reset', 'email', 'phone'))
);
--> statement-breakpoint
CREATE TABLE "freehold"."registrations" (
  "token_hash" "bytea" PRIMARY KEY NOT NULL,
  "email" text NOT NULL,
  "username" text,
  "password_hash" text NOT NULL,
  "given_name" text,
  "family_name" text,
  "locale" text DEFAULT 'en' NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  "used_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "freehold"."overrides" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "permission" text NOT NULL,
  "effect" text NOT NULL,
  "scope" text NOT NULL,
  "starts_at" timestamp with time zone DEFAULT now() NOT NULL,
  "ends_at" timestamp with time zone,
  CONSTRAINT "overrides_effect" CHECK ("freehold"."overrides"."effect" in ('grant', 'deny')),
  CONSTRAINT "overrides_scope" CHECK ("freehold"."overrides"."scope" in ('all', 'department', 'team', 'own')),
  CONSTRAINT "overrides_order" CHECK ("freehold"."overrides"."ends_at" >= "freehold"."overrides"."starts_at")
);
--> statement-breakpoint
CREATE TABLE "freehold"."permissions" (
  "id" uuid PRIMARY KEY NOT NULL,
  "name" text NOT NULL,
  "description" text,
  "is_system" boolean DEFAULT false NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "deleted_at" timestamp with time zone,
  CONSTRAINT "permissions_name_unique" UNIQUE("name"),
  CONSTRAINT "permissions_name_form" CHECK ("freehold"."permissions"."name" ~ '^[a-z][a-z0-9_-]{0,62}:[a-z][a-z0-9_-]{0,31}$')
);
--> statement-breakpoint
CREATE TABLE "freehold"."role_periods" (
  "id" uuid PRIMARY KEY NOT NULL,
  "role_id" uuid NOT NULL,
  "parent_id" uuid,
  "starts_at" timestamp with time zone NOT NULL,
  "ends_at" timestamp with time zone,
  CONSTRAINT "role_periods_order" CHECK ("freehold"."role_periods"."ends_at" >= "freehold"."role_periods"."starts_at")
);
--> statement-breakpoint
CREATE TABLE "freehold"."role_permissions" (
  "id" uuid PRIMARY KEY NOT NULL,
  "role_id" uuid NOT NULL,
  "permission" text NOT NULL,
  "scope" text NOT NULL,
  "starts_at" timestamp with time zone DEFAULT now() NOT NULL,
  "ends_at" timestamp with time zone,
  CONSTRAINT "role_permissions_scope" CHECK ("freehold"."role_permissions"."scope" in ('all', 'department', 'team', 'own')),
  CONSTRAINT "role_permissions_order" CHECK ("freehold"."role_permissions"."ends_at" >= "freehold"."role_permissions"."starts_at")
);
--> statement-breakpoint
CREATE TABLE "freehold"."roles" (
  "id" uuid PRIMARY KEY NOT NULL,
  "name" text NOT NULL,
  "description" text,
  "is_active" boolean DEFAULT true NOT NULL,
  "is_system" boolean DEFAULT false NOT NULL,
  "is_admin" boolean DEFAULT false NOT NULL,
  "is_manageable" boolean DEFAULT false NOT NULL,
  "is_fallback" boolean DEFAULT false NOT NULL,
  "max_users" integer,
  "parent_id" uuid,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  "deleted_at" timestamp with time zone,
  CONSTRAINT "roles_name_form" CHECK (length("freehold"."roles"."name") between 1 and 64),
  CONSTRAINT "roles_not_own_parent" CHECK ("freehold"."roles"."parent_id" <> "freehold"."roles"."id"),
  CONSTRAINT "roles_max_users" CHECK ("freehold"."roles"."max_users" > 0)
);
--> statement-breakpoint
CREATE TABLE "freehold"."user_roles" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "role_id" uuid NOT NULL,
  "starts_at" timestamp with time zone DEFAULT now() NOT NULL,
  "ends_at" timestamp with time zone,
  CONSTRAINT "user_roles_order" CHECK ("freehold"."user_roles"."ends_at" >= "freehold"."user_roles"."starts_at")
);
--> statement-breakpoint
CREATE TABLE "freehold"."refresh_tokens" (
  "token_hash" "bytea" PRIMARY KEY NOT NULL,
  "session_id" uuid NOT NULL,
  "device" text,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  "used_at" timestamp with time zone,
  "successor_hash" "bytea",
  CONSTRAINT "refresh_tokens_use" CHECK (("freehold"."refresh_tokens"."used_at" is null) = ("freehold"."refresh_tokens"."successor_hash" is null))
);
--> statement-breakpoint
CREATE TABLE "freehold"."sessions" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "device" text,
  "address" text,
  "city" text,
  "country" text,
  "amr" text DEFAULT 'pwd' NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "last_active_at" timestamp with time zone DEFAULT now() NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  "ended_at" timestamp with time zone,
  "ended_because" text,
  CONSTRAINT "sessions_end" CHECK (("freehold"."sessions"."ended_at" is null) = ("freehold"."sessions"."ended_because" is null))
);
--> statement-breakpoint
CREATE TABLE "freehold"."tenant" (
  "one" boolean PRIMARY KEY DEFAULT true NOT NULL,
  "id" uuid NOT NULL,
  "subdomain" text NOT NULL,
  "is_active" boolean DEFAULT true NOT NULL,
  "v" bigint DEFAULT 0 NOT NULL,
  "max_failures" integer DEFAULT 5 NOT NULL,
  "lock_minutes" integer DEFAULT 30 NOT NULL,
  "idle_days" integer DEFAULT 7 NOT NULL,
  "session_days" integer DEFAULT 30 NOT NULL,
  "max_sessions" integer DEFAULT 5 NOT NULL,
  "access_minutes" integer DEFAULT 15 NOT NULL,
  "password_days" integer DEFAULT 90 NOT NULL,
  "password_warning_days" integer DEFAULT 14 NOT NULL,
  "password_min_length" integer DEFAULT 8 NOT NULL,
  "password_max_length" integer DEFAULT 128 NOT NULL,
  "password_upper" boolean DEFAULT true NOT NULL,
  "password_lower" boolean DEFAULT true NOT NULL,
  "password_digit" boolean DEFAULT true NOT NULL,
  "password_special" boolean DEFAULT true NOT NULL,
  "password_unique" integer DEFAULT 5 NOT NULL,
  "password_history" integer DEFAULT 5 NOT NULL,
  "password_personal" boolean DEFAULT true NOT NULL,
  "password_common" boolean DEFAULT true NOT NULL,
  "registration" boolean DEFAULT false NOT NULL,
  "registration_domains" text[] DEFAULT '{}' NOT NULL,
  "registration_role" text,
  "delegation_approval" boolean DEFAULT false NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "tenant_is_one" CHECK ("freehold"."tenant"."one"),
  CONSTRAINT "tenant_settings" CHECK ("freehold"."tenant"."max_failures" between 1 and 100 and "freehold"."tenant"."lock_minutes" between 1 and 1440 and "freehold"."tenant"."idle_days" between 1 and 365
        and "freehold"."tenant"."session_days" between 1 and 365 and "freehold"."tenant"."max_sessions" between 1 and 1000 and "freehold"."tenant"."access_minutes" between 5 and 10080
        and "freehold"."tenant"."password_days" between 0 and 3650 and "freehold"."tenant"."password_warning_days" between 0 and 365 and "freehold"."tenant"."password_min_length" between 8 and 64
        and "freehold"."tenant"."password_max_length" between 64 and 1024 and "freehold"."tenant"."password_unique" between 1 and 32 and "freehold"."tenant"."password_history" between 0 and 24)
);
--> statement-breakpoint
CREATE TABLE "freehold"."units" (
  "id" uuid PRIMARY KEY NOT NULL,
  "kind" text NOT NULL,
  "name" text NOT NULL,
  "parent_id" uuid,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "units_kind" CHECK ("freehold"."units"."kind" in ('department', 'team')),
  CONSTRAINT "units_name_form" CHECK (length("freehold"."units"."name") between 1 and 120),
  CONSTRAINT "units_not_own_parent" CHECK ("freehold"."units"."parent_id" <> "freehold"."units"."id")
);
--> statement-breakpoint
CREATE TABLE "freehold"."passwords" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "password_hash" text NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "replaced_at" timestamp with time zone,
  "warned_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "freehold"."user_periods" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "starts_at" timestamp with time zone NOT NULL,
  "ends_at" timestamp with time zone,
  CONSTRAINT "user_periods_order" CHECK ("freehold"."user_periods"."ends_at" >= "freehold"."user_periods"."starts_at")
);
--> statement-breakpoint
CREATE TABLE "freehold"."users" (
  "id" uuid PRIMARY KEY NOT NULL,
  "username" text NOT NULL,
  "email" text NOT NULL,
  "email_verified" boolean DEFAULT false NOT NULL,
  "password_changed_at" timestamp with time zone DEFAULT now() NOT NULL,
  "must_change_password" boolean DEFAULT false NOT NULL,
  "given_name" text,
  "family_name" text,
  "name" text GENERATED ALWAYS AS (lower(trim(coalesce(family_name, '') || ' ' || coalesce(given_name, '')))) STORED NOT NULL,
  "phone" text,
  "phone_verified" boolean DEFAULT false NOT NULL,
  "role" text,
  "unit_id" uuid,
  "manager_id" uuid,
  "designation" text,
  "description" text,
  "is_active" boolean DEFAULT true NOT NULL,
  "locale" text DEFAULT 'en' NOT NULL,
  "timezone" text DEFAULT 'UTC' NOT NULL,
  "max_sessions" integer,
  "preferences" jsonb DEFAULT '{}'::jsonb NOT NULL,
  "joined_at" timestamp with time zone,
  "terminated_at" timestamp with time zone,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "users_username_form" CHECK (length("freehold"."users"."username") between 1 and 64 and strpos("freehold"."users"."username", '@') = 0),
  CONSTRAINT "users_email_form" CHECK (length("freehold"."users"."email") between 3 and 255 and strpos("freehold"."users"."email", '@') > 1),
  CONSTRAINT "users_names_form" CHECK (length("freehold"."users"."given_name") <= 255 and length("freehold"."users"."family_name") <= 255),
  CONSTRAINT "users_texts_form" CHECK (length("freehold"."users"."phone") <= 32 and length("freehold"."users"."designation") <= 120 and length("freehold"."users"."description") <= 140),
  CONSTRAINT "users_max_sessions" CHECK ("freehold"."users"."max_sessions" between 1 and 1000),
  CONSTRAINT "users_not_own_manager" CHECK ("freehold"."users"."manager_id" <> "freehold"."users"."id")
);
--> statement-breakpoint
ALTER TABLE "freehold"."api_keys" ADD CONSTRAINT "api_keys_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."login_attempts" ADD CONSTRAINT "login_attempts_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."delegation_permissions" ADD CONSTRAINT "delegation_permissions_delegation_id_delegations_id_fk" FOREIGN KEY ("delegation_id") REFERENCES "freehold"."delegations"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."delegation_permissions" ADD CONSTRAINT "delegation_permissions_permission_permissions_name_fk" FOREIGN KEY ("permission") REFERENCES "freehold"."permissions"("name") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."delegations" ADD CONSTRAINT "delegations_delegator_id_users_id_fk" FOREIGN KEY ("delegator_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."delegations" ADD CONSTRAINT "delegations_delegate_id_users_id_fk" FOREIGN KEY ("delegate_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."delegations" ADD CONSTRAINT "delegations_role_id_roles_id_fk" FOREIGN KEY ("role_id") REFERENCES "freehold"."roles"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."delegations" ADD CONSTRAINT "delegations_decided_by_users_id_fk" FOREIGN KEY ("decided_by") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."mail_attempts" ADD CONSTRAINT "mail_attempts_mail_id_mails_id_fk" FOREIGN KEY ("mail_id") REFERENCES "freehold"."mails"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."mails" ADD CONSTRAINT "mails_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."one_time_tokens" ADD CONSTRAINT "one_time_tokens_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."overrides" ADD CONSTRAINT "overrides_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."overrides" ADD CONSTRAINT "overrides_permission_permissions_name_fk" FOREIGN KEY ("permission") REFERENCES "freehold"."permissions"("name") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."role_periods" ADD CONSTRAINT "role_periods_role_id_roles_id_fk" FOREIGN KEY ("role_id") REFERENCES "freehold"."roles"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."role_permissions" ADD CONSTRAINT "role_permissions_role_id_roles_id_fk" FOREIGN KEY ("role_id") REFERENCES "freehold"."roles"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."role_permissions" ADD CONSTRAINT "role_permissions_permission_permissions_name_fk" FOREIGN KEY ("permission") REFERENCES "freehold"."permissions"("name") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."roles" ADD CONSTRAINT "roles_parent_id_roles_id_fk" FOREIGN KEY ("parent_id") REFERENCES "freehold"."roles"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."user_roles" ADD CONSTRAINT "user_roles_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."user_roles" ADD CONSTRAINT "user_roles_role_id_roles_id_fk" FOREIGN KEY ("role_id") REFERENCES "freehold"."roles"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."refresh_tokens" ADD CONSTRAINT "refresh_tokens_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "freehold"."sessions"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD CONSTRAINT "sessions_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."units" ADD CONSTRAINT "units_parent_id_units_id_fk" FOREIGN KEY ("parent_id") REFERENCES "freehold"."units"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."passwords" ADD CONSTRAINT "passwords_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."user_periods" ADD CONSTRAINT "user_periods_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD CONSTRAINT "users_unit_id_units_id_fk" FOREIGN KEY ("unit_id") REFERENCES "freehold"."units"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD CONSTRAINT "users_manager_id_users_id_fk" FOREIGN KEY ("manager_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE UNIQUE INDEX "api_keys_hash" ON "freehold"."api_keys" USING btree ("key_hash");
--> statement-breakpoint
CREATE UNIQUE INDEX "api_keys_prefix" ON "freehold"."api_keys" USING btree ("prefix");
--> statement-breakpoint
CREATE INDEX "api_keys_user" ON "freehold"."api_keys" USING btree ("user_id","created_at");
--> statement-breakpoint
CREATE UNIQUE INDEX "api_keys_successor" ON "freehold"."api_keys" USING btree ("rotated_from");
--> statement-breakpoint
CREATE INDEX "audit_detail_address" ON "freehold"."audit_detail" USING btree ("address");
--> statement-breakpoint
CREATE INDEX "audit_detail_api_key" ON "freehold"."audit_detail" USING btree ("api_key_id") WHERE "freehold"."audit_detail"."api_key_id" is not null;
--> statement-breakpoint
CREATE INDEX "audit_log_at" ON "freehold"."audit_log" USING btree ("at","id");
--> statement-breakpoint
CREATE INDEX "audit_log_user" ON "freehold"."audit_log" USING btree ("user_id","at","id") WHERE "freehold"."audit_log"."checkpoint" is not null;
--> statement-breakpoint
CREATE INDEX "audit_log_type" ON "freehold"."audit_log" USING btree ("activity_type","at","id") WHERE "freehold"."audit_log"."checkpoint" is not null;
--> statement-breakpoint
CREATE INDEX "audit_log_resource" ON "freehold"."audit_log" USING btree ("resource_type","resource_id","at","id") WHERE "freehold"."audit_log"."checkpoint" is not null;
--> statement-breakpoint
CREATE INDEX "audit_log_pending" ON "freehold"."audit_log" USING btree ("xid","id") WHERE "freehold"."audit_log"."checkpoint" is null;
--> statement-breakpoint
CREATE INDEX "audit_log_checkpoint" ON "freehold"."audit_log" USING btree ("checkpoint","xid","id") WHERE "freehold"."audit_log"."checkpoint" is not null;
--> statement-breakpoint
CREATE INDEX "lockouts_failed" ON "freehold"."lockouts" USING btree ("failed_at");
--> statement-breakpoint
CREATE INDEX "login_attempts_key" ON "freehold"."login_attempts" USING btree ("key","state","created_at");
--> statement-breakpoint
CREATE INDEX "delegation_permissions_permission" ON "freehold"."delegation_permissions" USING btree ("permission");
--> statement-breakpoint
CREATE INDEX "delegations_delegate" ON "freehold"."delegations" USING btree ("delegate_id","ends_at");
--> statement-breakpoint
CREATE INDEX "delegations_delegator" ON "freehold"."delegations" USING btree ("delegator_id","ends_at");
--> statement-breakpoint
CREATE INDEX "delegations_created" ON "freehold"."delegations" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "mail_attempts_mail" ON "freehold"."mail_attempts" USING btree ("mail_id","started_at");
--> statement-breakpoint
CREATE INDEX "mails_due" ON "freehold"."mails" USING btree ("next_at") WHERE "freehold"."mails"."state" = 'queued';
--> statement-breakpoint
CREATE INDEX "mails_user" ON "freehold"."mails" USING btree ("user_id","created_at");
--> statement-breakpoint
CREATE INDEX "one_time_tokens_user" ON "freehold"."one_time_tokens" USING btree ("user_id","kind","created_at");
--> statement-breakpoint
CREATE INDEX "registrations_email" ON "freehold"."registrations" USING btree ("email","created_at");
--> statement-breakpoint
CREATE INDEX "registrations_expired" ON "freehold"."registrations" USING btree ("expires_at");
--> statement-breakpoint
CREATE INDEX "overrides_decision" ON "freehold"."overrides" USING btree ("user_id","permission");
--> statement-breakpoint
CREATE INDEX "overrides_permission" ON "freehold"."overrides" USING btree ("permission");
--> statement-breakpoint
CREATE UNIQUE INDEX "overrides_open" ON "freehold"."overrides" USING btree ("user_id","permission","effect") WHERE "freehold"."overrides"."ends_at" is null;
--> statement-breakpoint
CREATE INDEX "role_periods_role" ON "freehold"."role_periods" USING btree ("role_id","starts_at");
--> statement-breakpoint
CREATE INDEX "role_periods_parent" ON "freehold"."role_periods" USING btree ("parent_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "role_periods_open" ON "freehold"."role_periods" USING btree ("role_id") WHERE "freehold"."role_periods"."ends_at" is null;
--> statement-breakpoint
CREATE INDEX "role_permissions_decision" ON "freehold"."role_permissions" USING btree ("role_id","permission");
--> statement-breakpoint
CREATE INDEX "role_permissions_permission" ON "freehold"."role_permissions" USING btree ("permission");
--> statement-breakpoint
CREATE UNIQUE INDEX "role_permissions_open" ON "freehold"."role_permissions" USING btree ("role_id","permission") WHERE "freehold"."role_permissions"."ends_at" is null;
--> statement-breakpoint
CREATE UNIQUE INDEX "roles_name" ON "freehold"."roles" USING btree ("name") WHERE "freehold"."roles"."deleted_at" is null;
--> statement-breakpoint
CREATE INDEX "roles_parent" ON "freehold"."roles" USING btree ("parent_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "roles_one_admin" ON "freehold"."roles" USING btree ("is_admin") WHERE "freehold"."roles"."is_admin";
--> statement-breakpoint
CREATE UNIQUE INDEX "roles_one_fallback" ON "freehold"."roles" USING btree ("is_fallback") WHERE "freehold"."roles"."is_fallback";
--> statement-breakpoint
CREATE INDEX "user_roles_user" ON "freehold"."user_roles" USING btree ("user_id");
--> statement-breakpoint
CREATE INDEX "user_roles_role" ON "freehold"."user_roles" USING btree ("role_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "user_roles_open" ON "freehold"."user_roles" USING btree ("user_id","role_id") WHERE "freehold"."user_roles"."ends_at" is null;
--> statement-breakpoint
CREATE INDEX "refresh_tokens_session" ON "freehold"."refresh_tokens" USING btree ("session_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "refresh_tokens_successor" ON "freehold"."refresh_tokens" USING btree ("successor_hash");
--> statement-breakpoint
CREATE INDEX "sessions_user" ON "freehold"."sessions" USING btree ("user_id","created_at");
--> statement-breakpoint
CREATE UNIQUE INDEX "units_name" ON "freehold"."units" USING btree ("parent_id","name");
--> statement-breakpoint
CREATE UNIQUE INDEX "units_root_name" ON "freehold"."units" USING btree ("name") WHERE "freehold"."units"."parent_id" is null;
--> statement-breakpoint
CREATE INDEX "units_sorted" ON "freehold"."units" USING btree ("name","id");
--> statement-breakpoint
CREATE INDEX "passwords_unwarned" ON "freehold"."passwords" USING btree ("created_at") WHERE "freehold"."passwords"."replaced_at" is null and "freehold"."passwords"."warned_at" is null;
--> statement-breakpoint
CREATE UNIQUE INDEX "passwords_current" ON "freehold"."passwords" USING btree ("user_id") WHERE "freehold"."passwords"."replaced_at" is null;
--> statement-breakpoint
CREATE INDEX "passwords_user" ON "freehold"."passwords" USING btree ("user_id","created_at");
--> statement-breakpoint
CREATE INDEX "user_periods_user" ON "freehold"."user_periods" USING btree ("user_id","starts_at");
--> statement-breakpoint
CREATE UNIQUE INDEX "user_periods_open" ON "freehold"."user_periods" USING btree ("user_id") WHERE "freehold"."user_periods"."ends_at" is null;
--> statement-breakpoint
CREATE UNIQUE INDEX "users_username" ON "freehold"."users" USING btree ("username");
--> statement-breakpoint
CREATE UNIQUE INDEX "users_email" ON "freehold"."users" USING btree ("email");
--> statement-breakpoint
CREATE INDEX "users_role" ON "freehold"."users" USING btree ("role");
--> statement-breakpoint
CREATE INDEX "users_manager" ON "freehold"."users" USING btree ("manager_id");
--> statement-breakpoint
CREATE INDEX "users_by_username" ON "freehold"."users" USING btree (username collate "C","id");
--> statement-breakpoint
CREATE INDEX "users_by_email" ON "freehold"."users" USING btree (email collate "C","id");
--> statement-breakpoint
CREATE INDEX "users_by_name" ON "freehold"."users" USING btree (name collate "C","id");
--> statement-breakpoint
CREATE INDEX "users_by_created" ON "freehold"."users" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "users_unit_username" ON "freehold"."users" USING btree ("unit_id",username collate "C","id");
--> statement-breakpoint
CREATE INDEX "users_unit_email" ON "freehold"."users" USING btree ("unit_id",email collate "C","id");
--> statement-breakpoint
CREATE INDEX "users_unit_name" ON "freehold"."users" USING btree ("unit_id",name collate "C","id");
--> statement-breakpoint
CREATE INDEX "users_unit_created" ON "freehold"."users" USING btree ("unit_id","created_at","id");
--> statement-breakpoint
CREATE INDEX "users_role_username" ON "freehold"."users" USING btree ("role",username collate "C","id");
--> statement-breakpoint
CREATE INDEX "users_inactive_username" ON "freehold"."users" USING btree (username collate "C","id") WHERE not "freehold"."users"."is_active";
--> statement-breakpoint
alter table access.secrets enable row level security;
--> statement-breakpoint
alter table freehold.api_keys enable row level security;
--> statement-breakpoint
alter table access.key_counters enable row level security;
--> statement-breakpoint
alter table freehold.audit_checkpoints enable row level security;
--> statement-breakpoint
alter table freehold.audit_detail enable row level security;
--> statement-breakpoint
alter table freehold.audit_log enable row level security;
--> statement-breakpoint
alter table freehold.lockouts enable row level security;
--> statement-breakpoint
alter table freehold.login_attempts enable row level security;
--> statement-breakpoint
alter table freehold.delegation_permissions enable row level security;
--> statement-breakpoint
alter table freehold.delegations enable row level security;
--> statement-breakpoint
alter table freehold.mail_attempts enable row level security;
--> statement-breakpoint
alter table freehold.mails enable row level security;
--> statement-breakpoint
alter table access.purges enable row level security;
--> statement-breakpoint
alter table freehold.one_time_tokens enable row level security;
--> statement-breakpoint
alter table freehold.registrations enable row level security;
--> statement-breakpoint
alter table freehold.overrides enable row level security;
--> statement-breakpoint
alter table freehold.permissions enable row level security;
--> statement-breakpoint
alter table freehold.role_periods enable row level security;
--> statement-breakpoint
alter table freehold.role_permissions enable row level security;
--> statement-breakpoint
alter table freehold.roles enable row level security;
--> statement-breakpoint
alter table freehold.user_roles enable row level security;
--> statement-breakpoint
alter table freehold.refresh_tokens enable row level security;
--> statement-breakpoint
alter table freehold.sessions enable row level security;
--> statement-breakpoint
alter table freehold.tenant enable row level security;
--> statement-breakpoint
alter table freehold.units enable row level security;
--> statement-breakpoint
alter table freehold.passwords enable row level security;
--> statement-breakpoint
alter table freehold.user_periods enable row level security;
--> statement-breakpoint
alter table freehold.users enable row level security;
--> statement-breakpoint
-- The tenant's row. Refuses a request that reached another tenant's database, or a tenant that is switched off.
create or replace function access.check_tenant(tenant_id uuid) returns freehold.tenant
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
begin
  select * into t from freehold.tenant;
  if t.id is distinct from tenant_id then
    raise exception using errcode = 'FH503', message = 'wrong_tenant';
  elsif not t.is_active then
    raise exception using errcode = 'FH503', message = 'tenant_inactive';
  end if;
  return t;
end $$;
--> statement-breakpoint
-- The same for the system (cron, and work after an answer), which shows a key from the registry. Only the hash of
-- that key is here.
create or replace function access.check_system(tenant_id uuid, system_key text) returns freehold.tenant
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  if not exists (select from access.secrets s where s.system_hash = sha256(convert_to(system_key, 'UTF8'))) then
    raise exception using errcode = 'FH403', message = 'forbidden';
  end if;
  return t;
end $$;
--> statement-breakpoint
-- Admits a request: proves the credential, {session_id, user_id, proof} or {key}, decides the permission (null: any
-- admitted user, scope own), and signs the claims. Raises FH401 session_ended | token_invalid, FH403 user_inactive |
-- password_change_required | forbidden, FH503.
create or replace function access.admit(
  tenant_id uuid,
  credential jsonb,
  permission text,
  request jsonb,
  any_password boolean default false
) returns table (user_id uuid, session_id uuid, scope access.scope)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  s freehold.sessions;
  k freehold.api_keys;
  u freehold.users;
  r record;
begin
  t := access.check_tenant(tenant_id);
  if credential ? 'key' then
    k := access.authenticate_key(credential ->> 'key', request);
    select * into u from freehold.users x where x.id = k.user_id;
  else
    select * into s from freehold.sessions x where x.id = (credential ->> 'session_id')::uuid;
    if s.id is null
      or s.user_id is distinct from (credential ->> 'user_id')::uuid
      or credential ->> 'proof' is distinct from access.session_proof(s.id)
    then
      raise exception using errcode = 'FH401', message = 'session_ended';
    end if;
    select * into u from freehold.users x where x.id = s.user_id;
  end if;
  -- Before the session, which ended with it: a user who was deactivated is told so.
  if not u.is_active then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  elsif s.ended_at is not null
    or s.expires_at <= now()
    or s.last_active_at <= now() - make_interval(days => t.idle_days)
  then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif not access.has_role(u.id) then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  end if;
  -- A service does not stop because its owner's password has expired.
  if k.id is null and not any_password and access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  end if;
  if permission is null then
    select 'own'::access.scope as scope, '{}'::uuid[] as units, array[u.id] as owners into r;
  else
    if permission <> all (k.permissions) then
      raise exception using
        errcode = 'FH403',
        message = 'forbidden',
        detail = format('This API key does not include %s.', permission);
    end if;
    -- Whether the key names it was asked above.
    select x.scope, x.units, x.owners into r from access.user_effective_scope(u.id, permission) x;
    if r.scope is null then
      raise exception using errcode = 'FH403', message = 'forbidden';
    end if;
  end if;
  perform access.sign_claims(
    access.request_of(request)
    || jsonb_build_object(
      'user_id', u.id,
      'user_name', u.username,
      'session_id', s.id,
      'scope', r.scope,
      'permission', permission,
      'units', r.units,
      'owners', r.owners)
    || case when k.id is null then '{}' else jsonb_build_object('key_id', k.id, 'key_permissions', k.permissions) end
  );
  -- A request that writes touches its session last (src/kernel/context.ts): two that locked it first would wait for
  -- each other's rows.
  if request ->> 'method' = 'GET' and s.last_active_at < now() - interval '1 minute' then
    perform access.touch();
  end if;
  return query select u.id, s.id, r.scope;
end $$;
--> statement-breakpoint
-- What a token carries beside the id of its session. Lists and the audit show the id; it lets nobody in by itself,
-- not even with the app login.
create or replace function access.session_proof(session uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select encode(access.mac('session:' || session), 'hex')
$$;
--> statement-breakpoint
-- The API key of a hash (hex), if it works now and from the address of the request. Raises FH401 token_invalid, FH403
-- forbidden.
create or replace function access.authenticate_key(hash text, request jsonb) returns freehold.api_keys
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  k freehold.api_keys;
  -- One address, and no network.
  here inet := case when request ->> 'address' !~ '/' then access.network_of(request ->> 'address') end;
begin
  select * into k from freehold.api_keys x where x.key_hash = decode(hash, 'hex');
  if k.id is null or k.revoked_at is not null then
    raise exception using
      errcode = 'FH401',
      message = 'token_invalid',
      detail = 'There is no such key here, or it was revoked.';
  elsif k.expires_at <= now() then
    raise exception using errcode = 'FH401', message = 'token_invalid', detail = 'This key has expired.';
  elsif k.addresses <> '{}'
    and not exists (select from unnest(k.addresses) a (network) where here <<= a.network::inet)
  then
    perform access.refuse(
      'forbidden',
      format('This key does not work from %s.', coalesce(left(request ->> 'address', 64), 'an unknown address')));
  end if;
  return k;
end $$;
--> statement-breakpoint
-- Notes that the session was active, at most once a minute, and waits for nobody.
create or replace function access.touch() returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update freehold.sessions s
  set last_active_at = now()
  where s.id = (
    select x.id
    from freehold.sessions x
    where x.id = access.session() and x.last_active_at < now() - interval '1 minute'
    for no key update skip locked)
$$;
--> statement-breakpoint
-- Records a refusal, after the answer. It believes nothing but the request: the user is the one of the session or of
-- the key, if these are real.
create or replace function access.record_refusal(tenant_id uuid, credential jsonb, code text, permission text, request jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  subject freehold.users;
  k freehold.api_keys;
begin
  perform access.check_tenant(tenant_id);
  if credential ? 'key' then
    select x.* into k
    from freehold.api_keys x
    where x.key_hash = decode(credential ->> 'key', 'hex')
      and x.revoked_at is null
      and (x.expires_at is null or x.expires_at > now());
    select u.* into subject from freehold.users u where u.id = k.user_id;
  else
    select u.* into subject
    from freehold.sessions s
      join freehold.users u on u.id = s.user_id
    where s.id = (credential ->> 'session_id')::uuid
      and u.id = (credential ->> 'user_id')::uuid
      and s.ended_at is null
      and credential ->> 'proof' = access.session_proof(s.id);
  end if;
  perform access.set_audit_actor(subject.id, subject.username, request);
  perform access.record(
    case code when 'token_wrong_tenant' then 'SUSPICIOUS_ACTIVITY' else 'ACCESS_REFUSED' end,
    'refuse',
    'request',
    null,
    null,
    jsonb_build_object('code', code, 'permission', permission)
      || case when k.id is null then '{}' else jsonb_build_object('api_key_id', k.id) end,
    case code when 'token_wrong_tenant' then 50 else 10 end
  );
end $$;
--> statement-breakpoint
-- Gives a database its own key, once, when it belongs to a tenant: no migration does, so that a database that is
-- copied before holds none. HMAC-SHA-256 (RFC 2104) needs sha256 alone when the two padded keys are kept, so that no
-- extension is needed.
create or replace procedure access.make_secrets()
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
    || decode(repeat('00', 32), 'hex');
  i bytea := k;
  o bytea := k;
begin
  for n in 0..63 loop
    i := set_byte(i, n, get_byte(k, n) # 54);
    o := set_byte(o, n, get_byte(k, n) # 92);
  end loop;
  insert into access.secrets (inner_key, outer_key) values (i, o) on conflict do nothing;
end $$;
--> statement-breakpoint
-- HMAC-SHA-256 of a message under the database's key.
create or replace function access.mac(message text) returns bytea
language sql stable set search_path = pg_catalog, pg_temp as $$
  select sha256(s.outer_key || sha256(s.inner_key || convert_to(message, 'UTF8')))
  from access.secrets s
$$;
--> statement-breakpoint
-- The signature of claims. It covers this backend and this transaction, so that a copied one is worth nothing
-- elsewhere.
create or replace function access.signature_of(claims text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select encode(
    access.mac('claims:' || claims || '|' || pg_backend_pid() || '|' || extract(epoch from transaction_timestamp())),
    'hex')
$$;
--> statement-breakpoint
-- Signs the claims of this transaction. Only access.admit calls it: every policy believes what is signed here.
create or replace function access.sign_claims(claims jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform
    set_config('access.claims', claims::text, true),
    set_config('access.signature', access.signature_of(claims::text), true);
end $$;
--> statement-breakpoint
-- The claims of this transaction; null when nobody was admitted, or when the signature is not ours. A setting that
-- was used before and is no more is '' and not null.
create or replace function access.claims() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  said text := nullif(current_setting('access.claims', true), '');
begin
  if said is null or access.signature_of(said) is distinct from current_setting('access.signature', true) then
    return null;
  end if;
  return said::jsonb;
end $$;
--> statement-breakpoint
-- The admitted user.
create or replace function access.principal() returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.claims() ->> 'user_id')::uuid
$$;
--> statement-breakpoint
-- The session of the admitted user; null: an API key.
create or replace function access.session() returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.claims() ->> 'session_id')::uuid
$$;
--> statement-breakpoint
-- The API key that this transaction was admitted with; null: a session.
create or replace function access.key() returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.claims() ->> 'key_id')::uuid
$$;
--> statement-breakpoint
-- The permission that this transaction was admitted with. Policies that let something be written compare it.
create or replace function access.permission() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.claims() ->> 'permission'
$$;
--> statement-breakpoint
-- How far the admitted user reaches with that permission.
create or replace function access.scope() returns access.scope
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.claims() ->> 'scope')::access.scope
$$;
--> statement-breakpoint
-- The units that the admitted user reaches with that permission, unless it reaches everything.
create or replace function access.scope_unit_ids() returns uuid[]
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select array(select x::uuid from jsonb_array_elements_text(access.claims() -> 'units') x)
$$;
--> statement-breakpoint
-- The users whose rows the admitted user reaches: themselves, and those who delegated the permission to them.
create or replace function access.scope_owner_ids() returns uuid[]
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select array(select x::uuid from jsonb_array_elements_text(access.claims() -> 'owners') x)
$$;
--> statement-breakpoint
-- Whether a list is read faster in its sort order, skipping rows out of scope, than unit by unit. Reading by unit
-- costs a page of rows for each unit in scope; skipping costs a row for each row out of scope. With n of N units in
-- scope they cost the same where n * n = N.
create or replace function access.walks() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.scope() = 'all' or cardinality(access.scope_unit_ids()) ^ 2 > (select count(*) from freehold.units)
$$;
--> statement-breakpoint
-- The permissions of the API key with which this user was admitted; null: nothing narrows what they hold.
create or replace function access.key_permissions(subject uuid) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb;
begin
  -- During the admission, which asks most often, nothing is signed yet.
  if coalesce(current_setting('access.claims', true), '') = '' then
    return null;
  end if;
  f := access.claims();
  if f ? 'key_permissions' and f ->> 'user_id' = subject::text then
    return array(select jsonb_array_elements_text(f -> 'key_permissions'));
  end if;
  return null;
end $$;
--> statement-breakpoint
-- What a caller may say of a request, and nothing else: never who they are or how far they reach.
create or replace function access.request_of(request jsonb) returns jsonb
language sql immutable
return jsonb_build_object(
  'address', left(request ->> 'address', 64),
  'agent', left(request ->> 'agent', 255),
  'method', left(request ->> 'method', 16),
  'path', left(request ->> 'path', 1024),
  'trace_id', left(request ->> 'trace_id', 64)
);
--> statement-breakpoint
-- Names the actor for the audit while a public endpoint is at work. It admits nobody: no policy reads it.
create or replace function access.set_audit_actor(subject uuid, user_name text, request jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  claims text := (access.request_of(request) || jsonb_build_object('user_id', subject, 'user_name', left(user_name, 255)))::text;
begin
  perform
    set_config('access.actor', claims, true),
    set_config('access.actor_signature', access.signature_of('actor:' || claims), true);
end $$;
--> statement-breakpoint
-- The actor for the audit: the admitted user, else the one that a public endpoint named, else nobody, which is the
-- system.
create or replace function access.actor() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  said text := nullif(current_setting('access.actor', true), '');
begin
  return coalesce(
    access.claims(),
    case when access.signature_of('actor:' || said) = current_setting('access.actor_signature', true) then said::jsonb end,
    '{}'
  );
end $$;
--> statement-breakpoint
-- Whether a user was active at a moment.
create or replace function access.was_active(subject uuid, moment timestamptz) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from freehold.user_periods p
    where p.user_id = subject and access.in_force(p.starts_at, p.ends_at, moment))
$$;
--> statement-breakpoint
-- Whether a user holds any role now. The same as asking whether `roles_of` finds one, for less work.
create or replace function access.has_role(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = subject
      and access.in_force(ur.starts_at, ur.ends_at, now())
      and access.in_force(p.starts_at, p.ends_at, now()))
$$;
--> statement-breakpoint
-- The roles that a user held at a moment: assigned, active, and everything that these inherited from then.
create or replace function access.roles_of(subject uuid, moment timestamptz) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive held (role_id, parent_id) as (
    select p.role_id, p.parent_id
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = subject
      and access.in_force(ur.starts_at, ur.ends_at, moment)
      and access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id
    from held h
      join freehold.role_periods p on p.role_id = h.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select role_id from held
$$;
--> statement-breakpoint
-- Roles with everything that they inherited from, as far as these were active at a moment.
create or replace function access.role_ancestry(roles uuid[], moment timestamptz) returns uuid[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  line uuid[];
  upper uuid[];
begin
  select array_agg(p.role_id), array_agg(p.parent_id) filter (where p.parent_id is not null) into line, upper
  from freehold.role_periods p
  where p.role_id = any (roles) and access.in_force(p.starts_at, p.ends_at, moment);
  while upper is not null loop
    select line || array_agg(p.role_id), array_agg(p.parent_id) filter (where p.parent_id is not null) into line, upper
    from freehold.role_periods p
    where p.role_id = any (upper)
      and p.role_id <> all (line)
      and access.in_force(p.starts_at, p.ends_at, moment);
  end loop;
  return line;
end $$;
--> statement-breakpoint
-- The widest scope at which roles carried a permission at a moment, or null. The administrator's role carries
-- everything there is.
create or replace function access.role_scope(line uuid[], permission text, moment timestamptz) returns access.scope
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  widest access.scope;
begin
  select max(rp.scope::access.scope) into widest
  from freehold.role_permissions rp
  where rp.role_id = any (line)
    and rp.permission = role_scope.permission
    and access.in_force(rp.starts_at, rp.ends_at, moment);
  if widest is distinct from 'all'
    and exists (select from freehold.roles r where r.id = any (line) and r.is_admin)
    and exists (
      select from freehold.permissions x
      where x.name = role_scope.permission and access.in_force(x.created_at, x.deleted_at, moment))
  then
    return 'all';
  end if;
  return widest;
end $$;
--> statement-breakpoint
-- The permissions that a user was denied at a moment.
create or replace function access.denied_permissions(subject uuid, moment timestamptz) returns setof text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select o.permission
  from freehold.overrides o
  where o.user_id = subject
    and o.effect = 'deny'
    and access.in_force(o.starts_at, o.ends_at, moment)
$$;
--> statement-breakpoint
-- The widest scope at which a user held a permission themselves at a moment (by roles and overrides, without
-- delegations), or null.
create or replace function access.own_scope(subject uuid, permission text, moment timestamptz) returns access.scope
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  is_denied boolean;
  granted access.scope;
begin
  select bool_or(o.effect = 'deny'), max(o.scope::access.scope) into is_denied, granted
  from freehold.overrides o
  where o.user_id = subject
    and o.permission = own_scope.permission
    and access.in_force(o.starts_at, o.ends_at, moment);
  if is_denied then
    return null;
  end if;
  return greatest(
    granted,
    access.role_scope(
      access.role_ancestry(
        array(
          select ur.role_id
          from freehold.user_roles ur
          where ur.user_id = subject and access.in_force(ur.starts_at, ur.ends_at, moment)),
        moment),
      permission,
      moment)
  );
end $$;
--> statement-breakpoint
-- The narrower of two scopes; null when the second one is.
create or replace function access.narrower_scope(a access.scope, b access.scope) returns access.scope
language sql immutable
return case when a < b then a else b end;
--> statement-breakpoint
-- Who holds a permission for a user at a moment, and how far: the user, and whoever delegated it to them and still
-- holds it. A denial of the user wins over what is delegated to them, too. What is delegated cannot be delegated on:
-- only the delegator's `own_scope` counts.
create or replace function access.grant_sources(subject uuid, permission text, moment timestamptz)
returns table (holder uuid, scope access.scope)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  d record;
begin
  if exists (
    select from freehold.overrides o
    where o.user_id = subject
      and o.permission = grant_sources.permission
      and o.effect = 'deny'
      and access.in_force(o.starts_at, o.ends_at, moment))
  then
    return;
  end if;
  holder := subject;
  scope := access.own_scope(subject, permission, moment);
  if scope is not null then
    return next;
  end if;
  for d in
    select x.id, x.delegator_id, x.role_id
    from freehold.delegations x
    where x.delegate_id = subject
      and access.in_force(x.starts_at, x.ends_at, moment)
      and x.decision = 'approved'
      and access.in_force(x.decided_at, x.revoked_at, moment)
  loop
    holder := d.delegator_id;
    if d.role_id is null then
      select 'all' into scope
      from freehold.delegation_permissions p
      where p.delegation_id = d.id and p.permission = grant_sources.permission;
    else
      scope := access.role_scope(access.role_ancestry(array[d.role_id], moment), permission, moment);
    end if;
    -- Most delegations are of something else; what follows costs more.
    continue when scope is null
      or not access.was_active(d.delegator_id, moment)
      or d.role_id not in (select access.roles_of(d.delegator_id, moment));
    -- null: the delegator no longer holds it.
    scope := access.narrower_scope(scope, access.own_scope(d.delegator_id, permission, moment));
    if scope is not null then
      return next;
    end if;
  end loop;
end $$;
--> statement-breakpoint
-- The widest scope at which a user holds a permission at a moment, or null.
create or replace function access.decide(subject uuid, permission text, moment timestamptz) returns access.scope
language sql stable set search_path = pg_catalog, pg_temp as $$
  select max(s.scope) from access.grant_sources(subject, permission, moment) s
$$;
--> statement-breakpoint
-- A unit and everything under it.
create or replace function access.units_under(unit uuid) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive tree (id) as (
    select unit
    union
    select u.id from tree t join freehold.units u on u.parent_id = t.id
  )
  select id from tree
$$;
--> statement-breakpoint
-- The units that a scope reaches from where a user is. team: their unit; department: the nearest department above,
-- and everything under it.
create or replace function access.units_in_scope(subject uuid, scope access.scope) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, kind, parent_id, step) as (
    select u.id, u.kind, u.parent_id, 0
    from freehold.users p
      join freehold.units u on u.id = p.unit_id
    where p.id = subject
    union all
    select u.id, u.kind, u.parent_id, up.step + 1
    from up
      join freehold.units u on u.id = up.parent_id
    where up.kind <> 'department' and units_in_scope.scope = 'department'
  )
  select access.units_under(x.id)
  from (select id from up where kind = 'department' order by step limit 1) x
  where units_in_scope.scope = 'department'
  union
  select p.unit_id
  from freehold.users p
  where p.id = subject and p.unit_id is not null and units_in_scope.scope in ('team', 'department')
$$;
--> statement-breakpoint
-- The effective scope of a permission now: the widest scope and, unless that is `all`, the owners and units in it. A
-- delegated permission reaches the delegator's rows and units, not the delegate's.
create or replace function access.user_effective_scope(
  subject uuid,
  permission text,
  out scope access.scope,
  out units uuid[],
  out owners uuid[]
)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  s record;
begin
  units := '{}';
  owners := '{}';
  for s in select x.holder, x.scope as reaches from access.grant_sources(subject, permission, now()) x loop
    scope := greatest(scope, s.reaches);
    owners := owners || s.holder;
    exit when scope = 'all';
    if s.reaches <> 'own' then
      units := array(select unnest(units) union select access.units_in_scope(s.holder, s.reaches));
    end if;
  end loop;
end $$;
--> statement-breakpoint
-- The same, with what the API key of this transaction leaves of it.
create or replace function access.effective_scope(
  subject uuid,
  permission text,
  out scope access.scope,
  out units uuid[],
  out owners uuid[]
)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  r record;
begin
  if permission <> all (access.key_permissions(subject)) then
    units := '{}';
    owners := '{}';
    return;
  end if;
  r := access.user_effective_scope(subject, permission);
  scope := r.scope;
  units := r.units;
  owners := r.owners;
end $$;
--> statement-breakpoint
-- Whether the admitted user reaches another one with the permission of this transaction.
create or replace function access.can_access_user(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from freehold.users u
    where u.id = subject
      and (access.scope() = 'all' or u.id = any (access.scope_owner_ids()) or u.unit_id = any (access.scope_unit_ids())))
$$;
--> statement-breakpoint
-- A moment that is asked about: not in the future; null is now.
create or replace function access.past_or_now(moment timestamptz) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if moment > clock_timestamp() then
    perform access.refuse('invalid_request', 'lies in the future', 'query/at');
  end if;
  return coalesce(moment, now());
end $$;
--> statement-breakpoint
-- What a user could do at a moment, with the reasons: {user_id, at, roles, permissions}. null: the caller reaches no
-- such user. That somebody looked at another user's permissions is recorded.
create or replace function access.explain(subject uuid, asked timestamptz) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := access.past_or_now(asked);
begin
  if access.permission() is distinct from 'user:read' or access.can_access_user(subject) is not true then
    return null;
  end if;
  if subject is distinct from access.principal() then
    perform access.record('PERMISSIONS_READ', 'read', 'user', subject::text, null, jsonb_build_object('at', moment));
  end if;
  return jsonb_build_object(
    'user_id', subject,
    'at', to_char(moment at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'roles', case when access.was_active(subject, moment) then to_jsonb(access.role_names(subject, moment)) else '[]' end,
    'permissions', coalesce(
      (
        select jsonb_agg(
          jsonb_build_object('permission', x.permission, 'scope', x.scope, 'because', x.because) order by x.permission)
        from (
          select
            g.permission,
            max(g.scope) as scope,
            jsonb_agg(
              distinct jsonb_build_object('kind', g.kind, 'id', g.id, 'name', g.name, 'via', g.via, 'scope', g.scope)
            ) as because
          from access.grants(subject, moment) g
          group by g.permission
        ) x
      ),
      '[]')
  );
end $$;
--> statement-breakpoint
-- Who could do something at a moment, among those whom the caller reaches; ordered by id, after one of them.
create or replace function access.holders(permission text, asked timestamptz, after uuid, at_most integer)
returns table (user_id uuid, username text, scope access.scope)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := access.past_or_now(asked);
begin
  if access.permission() is distinct from 'permission:read'
    or not exists (select from freehold.permissions p where p.name = holders.permission)
  then
    perform access.refuse('not_found', 'There is no such permission.');
  end if;
  return query
    with recursive carrying (role_id) as (
      select rp.role_id
      from freehold.role_permissions rp
      where rp.permission = holders.permission and access.in_force(rp.starts_at, rp.ends_at, moment)
      union
      select r.id from freehold.roles r where r.is_admin
      union
      select p.role_id
      from carrying c
        join freehold.role_periods p on p.parent_id = c.role_id and access.in_force(p.starts_at, p.ends_at, moment)
    ),
    candidates (id) as (
      select ur.user_id
      from carrying c
        join freehold.user_roles ur on ur.role_id = c.role_id
      where access.in_force(ur.starts_at, ur.ends_at, moment)
      union
      select o.user_id
      from freehold.overrides o
      where o.permission = holders.permission
        and o.effect = 'grant'
        and access.in_force(o.starts_at, o.ends_at, moment)
      union
      select d.delegate_id
      from freehold.delegations d
      where access.in_force(d.starts_at, d.ends_at, moment)
    )
    select u.id, u.username, d.scope
    from (select x.id from candidates x where after is null or x.id > after order by x.id) c
      join freehold.users u on u.id = c.id
      cross join lateral (select access.decide(u.id, holders.permission, moment) as scope) d
    where d.scope is not null
      and access.was_active(u.id, moment)
      and (
        (select access.scope()) = 'all'
        or u.id = any ((select access.scope_owner_ids())::uuid[])
        or u.unit_id = any ((select access.scope_unit_ids())::uuid[]))
    order by u.id
    limit at_most;
end $$;
--> statement-breakpoint
-- Answers up to a hundred checks, {user_id?, permission | any_of | role, resource?: {owner_id?, unit_id?}}, in order
-- with {allowed, scope, because}. Any user may ask about themselves, and about others whom they reach with user:read.
create or replace function access.ask(checks jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  far record;
  wrong record;
  answer jsonb;
  -- What the API key names with which a user asks about themselves. Looked up once, because a function for each grant
  -- would cost more.
  names text[] := access.key_permissions(me);
begin
  if me is null then
    return null;
  end if;
  select format('checks/%s/%s', c.n - 1, p.field) as field, p.name into wrong
  from jsonb_array_elements(checks) with ordinality as c (x, n)
    cross join lateral (
      select 'permission' as field, c.x ->> 'permission' as name
      union all
      select 'any_of', jsonb_array_elements_text(c.x -> 'any_of')
      union all
      select 'role', c.x ->> 'role'
    ) p
  where p.name is not null
    and case p.field
      when 'role' then not exists (select from freehold.roles r where r.name = p.name and r.deleted_at is null)
      else not exists (select from freehold.permissions x where x.name = p.name and x.deleted_at is null)
    end
  order by c.n
  limit 1;
  if found then
    perform access.refuse('invalid_request', format('there is no %s here', wrong.name), wrong.field);
  end if;
  if exists (select from jsonb_array_elements(checks) c (x) where (c.x ->> 'user_id')::uuid <> me) then
    select r.scope, r.units, r.owners into far from access.effective_scope(me, 'user:read') r;
    if exists (
      select from jsonb_array_elements(checks) c (x)
      where (c.x ->> 'user_id')::uuid <> me
        and not exists (
          select from freehold.users u
          where u.id = (c.x ->> 'user_id')::uuid
            and (
              far.scope = 'all'
              or (far.scope is not null and (u.id = any (far.owners) or u.unit_id = any (far.units))))))
    then
      perform access.refuse('not_found', 'There is no such user.');
    end if;
  end if;
  -- What is asked is matched by equality; and what a user holds and reaches is found out once for all that is asked
  -- about them.
  with c as materialized (
    select
      t.n,
      coalesce((t.x ->> 'user_id')::uuid, me) as subject,
      t.x ->> 'permission' as permission,
      t.x -> 'any_of' as any_of,
      t.x ->> 'role' as role,
      nullif(t.x -> 'resource', 'null') is null as anywhere,
      (t.x -> 'resource' ->> 'owner_id')::uuid as owner_id,
      (t.x -> 'resource' ->> 'unit_id')::uuid as unit_id
    from jsonb_array_elements(checks) with ordinality as t (x, n)
  ),
  wanted as materialized (
    select c.n, c.subject, c.permission from c where c.permission is not null
    union
    select c.n, c.subject, jsonb_array_elements_text(c.any_of) from c
  ),
  -- What each user holds of what is asked.
  g as materialized (
    select p.subject, y.*
    from (select w.subject, array_agg(w.permission) as permissions from wanted w group by w.subject) p
      cross join lateral access.user_grants(p.subject, now(), p.permissions) y
    where names is null or p.subject <> me or y.permission = any (names)
  ),
  m as materialized (
    select c.n, c.anywhere, c.owner_id, c.unit_id, g.*
    from wanted w
      join g on g.subject = w.subject and g.permission = w.permission
      join c on c.n = w.n
  ),
  -- The units that a scope reaches, where a unit is asked about.
  f as materialized (
    select x.holder, x.scope, array(select access.units_in_scope(x.holder, x.scope)) as units
    from (
      select distinct m.holder, m.scope
      from m
      where m.unit_id is not null and m.scope in ('team', 'department')
    ) x
  ),
  -- The roles that each user holds, where a role is asked about.
  h as materialized (
    select p.subject, y.*
    from (select distinct c.subject from c where c.role is not null) p
      cross join lateral access.user_held_roles(p.subject, now()) y
    where names is null
      or p.subject <> me
      or not exists (select from access.role_grants(y.id, now()) x where x.permission <> all (names))
  ),
  hit as (
    select m.n, m.scope, jsonb_build_object('kind', m.kind, 'id', m.id, 'name', m.name, 'via', m.via) as why
    from m
      left join f on f.holder = m.holder and f.scope = m.scope
    where m.anywhere or m.scope = 'all' or m.owner_id = m.holder or m.unit_id = any (f.units)
    union all
    select c.n, null, jsonb_build_object('kind', h.kind, 'id', h.id, 'name', h.name, 'via', h.via)
    from c
      join h on h.subject = c.subject and h.name = c.role
  ),
  answered as (
    select hit.n, max(hit.scope) as scope, jsonb_agg(distinct hit.why) as because
    from hit
    group by hit.n
  )
  select jsonb_agg(
    jsonb_build_object('allowed', t.n is not null, 'scope', t.scope, 'because', coalesce(t.because, '[]')) order by c.n)
  into answer
  from c
    left join answered t on t.n = c.n;
  return answer;
end $$;
--> statement-breakpoint
-- The permissions that a role carried at a moment, with what it inherited; of the `wanted` ones, or of all (null).
-- The administrator's carries everything there is. `offset 0` goes from a few roles to what they carry by the index,
-- however many a recursion is thought to find.
create or replace function access.role_grants(role uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (role_id, parent_id) as (
    select p.role_id, p.parent_id
    from freehold.role_periods p
    where p.role_id = role and access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select rp.permission, rp.scope::access.scope
  from line l
    cross join lateral (
      select x.permission, x.scope
      from freehold.role_permissions x
      where x.role_id = l.role_id and access.in_force(x.starts_at, x.ends_at, moment)
      offset 0) rp
  where wanted is null or rp.permission in (select unnest(wanted))
  union all
  select x.name, 'all'
  from line l
    join freehold.roles r on r.id = l.role_id and r.is_admin
    cross join freehold.permissions x
  where access.in_force(x.created_at, x.deleted_at, moment)
    and (wanted is null or x.name in (select unnest(wanted)))
$$;
--> statement-breakpoint
-- What a user holds themselves, by roles and overrides.
create or replace function access.own_grants(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, kind text, id uuid, name text, via text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive held (role_id, parent_id, top) as (
    select p.role_id, p.parent_id, p.role_id
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = subject
      and access.in_force(ur.starts_at, ur.ends_at, moment)
      and access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id, h.top
    from held h
      join freehold.role_periods p on p.role_id = h.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  ),
  carried (permission, scope, role_id, top) as (
    select rp.permission, rp.scope::access.scope, h.role_id, h.top
    from held h
      cross join lateral (
        select x.permission, x.scope
        from freehold.role_permissions x
        where x.role_id = h.role_id and access.in_force(x.starts_at, x.ends_at, moment)
        offset 0) rp
    where wanted is null or rp.permission in (select unnest(wanted))
    union all
    select x.name, 'all', h.role_id, h.top
    from held h
      join freehold.roles r on r.id = h.role_id and r.is_admin
      cross join freehold.permissions x
    where access.in_force(x.created_at, x.deleted_at, moment)
      and (wanted is null or x.name in (select unnest(wanted)))
  )
  select
    c.permission,
    c.scope,
    case when c.role_id = c.top then 'role' else 'inherited' end,
    c.role_id,
    r.name,
    case when c.role_id <> c.top then t.name end
  from carried c
    join freehold.roles r on r.id = c.role_id
    join freehold.roles t on t.id = c.top
  where c.permission not in (select access.denied_permissions(subject, moment))
  union all
  select o.permission, o.scope::access.scope, 'override', o.id, o.permission, null
  from freehold.overrides o
  where o.user_id = subject
    and o.effect = 'grant'
    and access.in_force(o.starts_at, o.ends_at, moment)
    and (wanted is null or o.permission in (select unnest(wanted)))
    and o.permission not in (select access.denied_permissions(subject, moment))
$$;
--> statement-breakpoint
-- What a user holds, with what others delegated to them and hold themselves. `holder`: around whom it reaches.
create or replace function access.user_grants(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, kind text, id uuid, name text, via text, holder uuid)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select g.permission, g.scope, g.kind, g.id, g.name, g.via, subject
  from access.own_grants(subject, moment, wanted) g
  where access.was_active(subject, moment)
  union all
  select c.permission, least(c.scope, o.scope), 'delegation', d.id, u.username, r.name, d.delegator_id
  from freehold.delegations d
    join freehold.users u on u.id = d.delegator_id
    left join freehold.roles r on r.id = d.role_id
    cross join lateral (
      select g.permission, g.scope
      from access.role_grants(d.role_id, moment, wanted) g
      where d.role_id in (select access.roles_of(d.delegator_id, moment))
      union all
      select p.permission, 'all'
      from freehold.delegation_permissions p
      where p.delegation_id = d.id and (wanted is null or p.permission in (select unnest(wanted)))
    ) c
    join lateral (
      select g.permission, max(g.scope) as scope
      from access.own_grants(d.delegator_id, moment, wanted) g
      group by g.permission
    ) o on o.permission = c.permission
  where d.delegate_id = subject
    and access.in_force(d.starts_at, d.ends_at, moment)
    and d.decision = 'approved'
    and access.in_force(d.decided_at, d.revoked_at, moment)
    and access.was_active(d.delegator_id, moment)
    and access.was_active(subject, moment)
    and c.permission not in (select access.denied_permissions(subject, moment))
$$;
--> statement-breakpoint
-- The same, with what the API key of this transaction leaves of it.
create or replace function access.grants(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, kind text, id uuid, name text, via text, holder uuid)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select g.*
  from (select access.key_permissions(subject) as names) n
    cross join lateral access.user_grants(subject, moment, wanted) g
  where n.names is null or g.permission = any (n.names)
$$;
--> statement-breakpoint
-- The names of the permissions that a user holds at a moment.
create or replace function access.permissions_of(subject uuid, moment timestamptz) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(distinct g.permission), array[]::text[])
  from access.grants(subject, moment) g
$$;
--> statement-breakpoint
-- The permissions that a token carries: at most a hundred, Freehold's own first. Services ask authz/check for the
-- rest.
create or replace function access.token_permissions(subject uuid) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(x.name order by x.name), array[]::text[])
  from (
    select p as name
    from unnest(access.permissions_of(subject, now())) p
    order by
      split_part(p, ':', 1) not in (
        'user', 'role', 'permission', 'session', 'api_key', 'unit', 'delegation', 'setting', 'organization', 'invitation',
        'activity', 'tenant'),
      p
    limit 100) x
$$;
--> statement-breakpoint
-- What the admitted user holds now: {role, roles, permissions}.
create or replace function access.held() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.my_roles() || jsonb_build_object('permissions', access.permissions_of(access.principal(), now()))
$$;
--> statement-breakpoint
-- What a role carries with all its ancestors, active or not: a user who is given a role that is inactive has it as
-- soon as it is active.
create or replace function access.role_content(role uuid) returns table (permission text, scope access.scope)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (id, parent_id, is_admin) as (
    select r.id, r.parent_id, r.is_admin from freehold.roles r where r.id = role
    union
    select r.id, r.parent_id, r.is_admin
    from line l
      join freehold.roles r on r.id = l.parent_id
  )
  select rp.permission, rp.scope::access.scope
  from line l
    join freehold.role_permissions rp on rp.role_id = l.id
  where rp.ends_at is null or rp.ends_at > now()
  union
  select x.name, 'all'
  from line l
    cross join freehold.permissions x
  where l.is_admin and x.deleted_at is null
$$;
--> statement-breakpoint
-- Refuses when an API key does not name a permission that is about to be handed out with it.
create or replace function access.require_key_permission(permissions text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  lacking text := (
    select min(p.name)
    from unnest(permissions) p (name)
    where p.name <> all (access.key_permissions(access.principal())));
begin
  if lacking is not null then
    perform access.refuse(
      'forbidden',
      format('This API key does not include %s, so it cannot grant it.', lacking));
  end if;
end $$;
--> statement-breakpoint
-- Refuses when the admitted user does not hold each permission as far as it is handed out. What counts is what they
-- held before this transaction, which may itself give or take what it is about.
create or replace function access.user_must_hold(permissions text[], scopes access.scope[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  lacking record;
begin
  if me is null then
    return;
  end if;
  select n.permission, n.scope into lacking
  from unnest(permissions, scopes) as n (permission, scope)
    left join (
      select g.permission, max(g.scope) as scope
      from access.own_grants(me, now() - interval '1 microsecond', permissions) g
      group by g.permission
    ) o on o.permission = n.permission
  where o.scope is null or o.scope < n.scope
  order by n.permission
  limit 1;
  if found then
    perform access.refuse(
      'forbidden',
      format('You do not hold %s at scope %s, so you cannot grant it.', lacking.permission, lacking.scope));
  end if;
end $$;
--> statement-breakpoint
-- The same, also for what the API key of this transaction names.
create or replace function access.must_hold(permissions text[], scopes access.scope[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_key_permission(permissions), access.user_must_hold(permissions, scopes);
end $$;
--> statement-breakpoint
-- Refuses to hand out a role that carries more than the admitted user holds.
create or replace function access.must_hold_role(role uuid) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  needed record;
begin
  if access.principal() is null then
    return;
  end if;
  select array_agg(g.permission) as permissions, array_agg(g.scope) as scopes into needed
  from access.role_content(role) g;
  perform access.must_hold(needed.permissions, needed.scopes);
end $$;
--> statement-breakpoint
-- Whether a user holds a permission at scope `team` or `department`, so that moving them changes what they can
-- access.
create or replace function access.depends_on_unit(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from access.own_grants(subject, now()) g
    group by g.permission
    having max(g.scope) between 'team' and 'department')
$$;
--> statement-breakpoint
-- Whether a user (`subject`) holds a permission that another user does not hold, or holds at a narrower scope. The
-- subject's permissions include delegated, future, inactive and denied ones; the other's are limited to what their
-- API key names, if they were admitted with one.
create or replace function access.holds_more(subject uuid, other uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from (
      select g.permission, max(g.scope) as scope
      from (
        select x.permission, x.scope
        from access.own_grants(subject, now()) x
        union all
        select c.permission, c.scope
        from freehold.user_roles ur
          cross join lateral access.role_content(ur.role_id) c
        where ur.user_id = subject and (ur.ends_at is null or ur.ends_at > now())
        union all
        select o.permission, o.scope::access.scope
        from freehold.overrides o
        where o.user_id = subject and o.effect = 'grant' and (o.ends_at is null or o.ends_at > now())
        union all
        select c.permission, access.narrower_scope(c.scope, access.own_scope(d.delegator_id, c.permission, now()))
        from freehold.delegations d
          cross join lateral (
            select x.permission, x.scope from access.role_content(d.role_id) x
            union all
            select p.permission, 'all' from freehold.delegation_permissions p where p.delegation_id = d.id
          ) c
        where d.delegate_id = subject
          and d.ends_at > now()
          and d.revoked_at is null
          and d.decision is distinct from 'rejected'
      ) g
      where g.scope is not null
      group by g.permission
    ) theirs
      left join (
        select g.permission, max(g.scope) as scope
        from (select access.key_permissions(other) as names) n
          cross join lateral access.own_grants(other, now()) g
        where n.names is null or g.permission = any (n.names)
        group by g.permission
      ) mine on mine.permission = theirs.permission
    where mine.scope is null or mine.scope < theirs.scope)
$$;
--> statement-breakpoint
-- The start of a new grant. It must not be in the past, because history must not change; up to a minute ago counts as
-- now, because clocks differ. It must be before the end. The system may use any time.
create or replace function access.begins(starts timestamptz, ends timestamptz) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return starts;
  elsif starts < now() - interval '1 minute' then
    perform access.refuse('invalid_request', 'lies in the past', 'starts_at');
  elsif ends <= greatest(starts, now()) then
    perform access.refuse('invalid_request', 'must be after the start, and in the future', 'ends_at');
  end if;
  return greatest(starts, now());
end $$;
--> statement-breakpoint
-- The end of a grant: not before now, and not before its start. A grant that has ended stays ended.
create or replace function access.ends(starts timestamptz, was timestamptz, becomes timestamptz) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return becomes;
  elsif was <= now() then
    perform access.refuse('illegal_state', 'This has ended.');
  end if;
  if becomes is null then
    perform access.refuse('invalid_request', 'must be a timestamp', 'ends_at');
  end if;
  return greatest(becomes, now(), starts);
end $$;
--> statement-breakpoint
-- Before a permission is granted to a role or delegated: an API key must name it.
create or replace function access.before_key_grants() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.key() is not null then
    perform access.require_key_permission(array[new.permission]);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Before a role is delegated: an API key must name everything that it carries.
create or replace function access.before_key_delegates_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.key() is not null and new.role_id is not null then
    perform access.require_key_permission(array(select c.permission from access.role_content(new.role_id) c));
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Protects a table. A transaction that was admitted for one permission writes nothing that needs another one. Without
-- `owner`, `unit` and `member` its rows are reached at scope `all` alone.
--   resource       of its permissions: `note` for note:create, note:read, note:update and note:delete
--   owner          the column with the user whom a row belongs to
--   unit           the column with the unit that a row is in
--   member         the column with a user whose unit a row is in
--   is_public      every admitted user reads every row
--   reads          the permissions with which rows are read; null: any
--   inserts        the columns that the Worker may set in a new row; null: all; '{}': it makes none
--   updates        the columns that it may change; null: all; '{}': it changes none
--   deletes        whether it deletes rows; otherwise they end, or are marked
--   inserted_with, updated_with   the actions that make and change rows
--   of_others      what a user is the owner of is not theirs to write
create or replace procedure access.protect(
  relation regclass,
  resource text,
  owner text default null,
  unit text default null,
  member text default null,
  is_public boolean default false,
  reads text[] default null,
  inserts text[] default null,
  updates text[] default null,
  deletes boolean default true,
  inserted_with text[] default '{create}',
  updated_with text[] default '{update}',
  of_others boolean default false
)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  -- Each `(select ...)` is evaluated once for a statement and not for each row. `= 'all'` is inside, so that the
  -- planner takes it for as likely as not: taken for rare, it would sort whole units to show one page of them.
  everything text := $sql$(select access.scope() = 'all')$sql$;
  units text := '((select access.scope_unit_ids())::uuid[])';
  owned text := case
    when owner is not null then format('%I = any ((select access.scope_owner_ids())::uuid[])', owner)
  end;
  in_unit text := case
    when unit is not null then format('%I = any %s', unit, units)
  end;
  beside text := case
    when member is not null then
      format('exists (select from freehold.users u where u.id = %I and u.unit_id = any %s)', member, units)
  end;
  reached text := format('(%s)', concat_ws(' or ', everything, owned, in_unit, beside));
  written text := case
    when of_others then format('(%s)', concat_ws(' or ', everything, in_unit, beside))
    else reached
  end;
begin
  execute format('alter table %s enable row level security', relation);
  execute format('grant select on %s to freehold_app', relation);
  execute format('create policy read on %s for select using (%s)', relation, case
    when is_public then '(select access.principal()) is not null'
    when reads is null then reached
    else format('(select access.permission() = any (%L::text[])) and %s', reads, reached)
  end);
  if inserts is distinct from '{}' then
    execute format('grant insert%s on %s to freehold_app', access.column_list(inserts), relation);
    execute format(
      'create policy make on %s for insert with check ((select access.permission() = any (%L::text[])) and %s)',
      relation,
      array(select resource || ':' || action from unnest(inserted_with) action),
      written);
  end if;
  if updates is distinct from '{}' then
    execute format('grant update%s on %s to freehold_app', access.column_list(updates), relation);
    execute format(
      'create policy change on %s for update
        using ((select access.permission() = any (%L::text[])) and %s)
        with check %s',
      relation,
      array(select resource || ':' || action from unnest(updated_with) action),
      written,
      written);
  end if;
  if deletes then
    execute format('grant delete on %s to freehold_app', relation);
    execute format('create policy remove on %s for delete using ((select access.permission() = %L) and %s)',
      relation, resource || ':delete', written);
  end if;
end $$;
--> statement-breakpoint
-- The columns of a grant: ` (a, b)`, or nothing for all of them.
create or replace function access.column_list(columns text[]) returns text
language sql immutable
return (select ' (' || string_agg(quote_ident(name), ', ' order by name) || ')' from unnest(columns) name);
--> statement-breakpoint
-- The roles that a user holds at a moment, with the reason for each: assigned, inherited, or delegated by somebody
-- who holds it.
create or replace function access.user_held_roles(subject uuid, moment timestamptz) returns table (kind text, id uuid, name text, via text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive tops (role_id, kind, source) as (
    select ur.role_id, 'role', null
    from freehold.user_roles ur
    where ur.user_id = subject and access.in_force(ur.starts_at, ur.ends_at, moment)
    union all
    select d.role_id, 'delegation', u.username
    from freehold.delegations d
      join freehold.users u on u.id = d.delegator_id
    where d.delegate_id = subject
      and d.role_id is not null
      and access.in_force(d.starts_at, d.ends_at, moment)
      and d.decision = 'approved'
      and access.in_force(d.decided_at, d.revoked_at, moment)
      and access.was_active(d.delegator_id, moment)
      and d.role_id in (select access.roles_of(d.delegator_id, moment))
  ),
  line (role_id, parent_id, kind, source, top) as (
    select p.role_id, p.parent_id, t.kind, t.source, p.role_id
    from tops t
      join freehold.role_periods p on p.role_id = t.role_id
    where access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id, l.kind, l.source, l.top
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select
    case
      when l.kind = 'delegation' then 'delegation'
      when l.role_id <> l.top then 'inherited'
      else 'role'
    end,
    l.role_id,
    r.name,
    coalesce(l.source, case when l.role_id <> l.top then t.name end)
  from line l
    join freehold.roles r on r.id = l.role_id
    join freehold.roles t on t.id = l.top
  where access.was_active(subject, moment)
$$;
--> statement-breakpoint
-- The same for the admitted user: an API key holds a role when it names everything that the role carries.
create or replace function access.held_roles(subject uuid, moment timestamptz) returns table (kind text, id uuid, name text, via text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select h.*
  from (select access.key_permissions(subject) as names) n
    cross join lateral access.user_held_roles(subject, moment) h
  where n.names is null
    or not exists (select from access.role_grants(h.id, moment) g where g.permission <> all (n.names))
$$;
--> statement-breakpoint
-- The names of the roles that a user is assigned at a moment, without what these inherit from.
create or replace function access.role_names(subject uuid, moment timestamptz) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(distinct r.name), array[]::text[])
  from freehold.user_roles ur
    join freehold.roles r on r.id = ur.role_id
  where ur.user_id = subject
    and access.in_force(ur.starts_at, ur.ends_at, moment)
    and exists (
      select from freehold.role_periods p
      where p.role_id = r.id and access.in_force(p.starts_at, p.ends_at, moment))
$$;
--> statement-breakpoint
-- The primary role of a user, if it is still held and active; else the first of those that are.
create or replace function access.active_primary_role(u freehold.users) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.name
  from freehold.user_roles ur
    join freehold.roles r on r.id = ur.role_id
  where ur.user_id = u.id
    and r.is_active
    and access.in_force(ur.starts_at, ur.ends_at, now())
  order by r.name = u.role desc nulls last, ur.starts_at, r.name
  limit 1
$$;
--> statement-breakpoint
-- The roles of the admitted user now: {role, roles}. Without what they carry, which takes longer to find out.
create or replace function access.my_roles() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'role', (select access.active_primary_role(u) from freehold.users u where u.id = access.principal()),
    'roles', access.role_names(access.principal(), now()))
$$;
--> statement-breakpoint
-- A key is made and changed by its owner, and revoked also by a user who looks after keys. One that is revoked stays
-- revoked.
create or replace function access.before_api_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  live integer;
begin
  if me is null then
    return new;
  end if;
  if tg_op = 'UPDATE' then
    if old.revoked_at is not null then
      perform access.refuse('not_found', 'There is no such key.');
    elsif new.revoked_at is not null then
      -- Nothing else changes with it.
      new := old;
      new.revoked_at := now();
      return new;
    elsif me <> new.user_id then
      perform access.refuse('forbidden', 'Another user''s key can be revoked, but not changed.');
    elsif old.expires_at <= now() then
      perform access.refuse('illegal_state', 'This key has expired.');
    elsif coalesce(new.expires_at, 'infinity') > old.expires_at
      and exists (select from freehold.api_keys s where s.rotated_from = old.id) then
      perform access.refuse('illegal_state', 'This key was rotated: its expiry cannot be extended.');
    elsif new.expires_at is distinct from old.expires_at and new.expires_at < now() then
      perform access.refuse('invalid_request', 'must lie in the future', 'expires_at');
    end if;
  else
    if new.expires_at <= now() then
      perform access.refuse('invalid_request', 'must lie in the future', 'expires_at');
    elsif new.rotated_from is not null
      and not exists (
        select
        from freehold.api_keys k
        where k.id = new.rotated_from
          and k.user_id = new.user_id
          and k.revoked_at is null
          and (new.name, new.permissions, new.addresses) = (k.name, k.permissions, k.addresses)
      ) then
      perform access.refuse('not_found', 'There is no such key.');
    end if;
    -- One at a time of one user, so that one transaction gets the last place. A rotated key and its successor live
    -- side by side for a while, hence twice the room for a successor.
    perform from freehold.users u where u.id = new.user_id for no key update;
    select count(*)
    into live
    from freehold.api_keys k
    where k.user_id = new.user_id
      and k.revoked_at is null
      and (k.expires_at is null or k.expires_at > now());
    if live >= (case when new.rotated_from is null then 50 else 100 end) then
      perform access.refuse('limit_reached', 'A user can have at most 50 API keys: revoke one first.');
    end if;
  end if;
  -- A successor names what its predecessor named, also a permission that the owner has lost since: a key never acts
  -- for more than they hold.
  if (case when tg_op = 'UPDATE' then new.permissions <> old.permissions else new.rotated_from is null end) then
    perform access.check_key(new);
    new.permissions := array(select distinct p from unnest(new.permissions) p order by 1);
  end if;
  if tg_op = 'INSERT' or new.addresses <> old.addresses then
    new.addresses := access.check_networks(new.addresses);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- A key names permissions that exist and that its owner holds. Checked in the order in which they were given, so that
-- the caller is told which.
create or replace function access.check_key(k freehold.api_keys) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  wrong record;
begin
  select p.n - 1 as place, p.name
  into wrong
  from unnest(k.permissions) with ordinality p (name, n)
  where not exists (select from freehold.permissions x where x.name = p.name and x.deleted_at is null)
  order by p.n
  limit 1;
  if found then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', wrong.name),
      format('permissions/%s', wrong.place));
  end if;
  select p.name
  into wrong
  from unnest(k.permissions) with ordinality p (name, n)
  where access.decide(k.user_id, p.name, now()) is null
  order by p.n
  limit 1;
  if found then
    perform access.refuse('forbidden',
      format('You do not hold %s, so your API key cannot include it.', wrong.name));
  end if;
end $$;
--> statement-breakpoint
-- The networks from which a key works: sorted, each once, in the shortest form. Refuses the first that is not one.
create or replace function access.check_networks(addresses text[]) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  wrong record;
begin
  select a.n - 1 as place, x.network
  into wrong
  from unnest(addresses) with ordinality a (said, n)
    cross join lateral (select access.network_of(a.said) as network) x
  where x.network is null
    or x.network <> network(x.network)
  order by a.n
  limit 1;
  if found and wrong.network is null then
    perform access.refuse('invalid_request',
      'must be an address or a network, such as 192.0.2.0/24 or 2001:db8::/32',
      format('addresses/%s', wrong.place));
  elsif found then
    perform access.refuse('invalid_request',
      format('has bits beyond its mask: the network is %s', network(wrong.network)),
      format('addresses/%s', wrong.place));
  end if;
  return array(select distinct abbrev(access.network_of(a.said)) from unnest(addresses) a (said) order by 1);
end $$;
--> statement-breakpoint
-- The revocation of a key has a name of its own in the audit.
create or replace function access.after_api_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.record('API_KEY_REVOKED', 'update', 'api_key', new.id::text,
    jsonb_build_object('revoked_at', null), jsonb_build_object('revoked_at', new.revoked_at));
  return null;
end $$;
--> statement-breakpoint
-- Adds up how often keys were used: [{prefix, uses, last_used_at}]. The caller shows the system's key. The batches of
-- a writer (an isolate) come in order; one that is sent twice counts once, and is answered with false.
create or replace function access.count_key_uses(
  tenant_id uuid,
  system_key text,
  writer uuid,
  batch integer,
  counts jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  -- A writer that wrote nothing for a day is gone.
  delete from access.key_counters c
  where c.counted_at < now() - interval '1 day'
    and c.writer <> count_key_uses.writer;
  insert into access.key_counters as c (writer, batch)
  values (count_key_uses.writer, count_key_uses.batch)
  on conflict on constraint key_counters_pkey do update
  set batch = excluded.batch, counted_at = now()
  where c.batch < excluded.batch;
  if not found then
    return false;
  end if;
  -- Keys are locked in one order, so that two isolates do not wait for each other's.
  with used as (
    select x.prefix, x.uses, x.last_used_at
    from jsonb_to_recordset(counts) as x (prefix text, uses integer, last_used_at timestamptz)
  ), taken as materialized (
    select k.id, u.uses, u.last_used_at
    from freehold.api_keys k
      join used u on u.prefix = k.prefix
    order by k.id
    for no key update of k
  )
  update freehold.api_keys k
  set use_count = k.use_count + t.uses,
    last_used_at = greatest(k.last_used_at, least(t.last_used_at, clock_timestamp()))
  from taken t
  where t.id = k.id;
  return true;
end $$;
--> statement-breakpoint
-- Writes an entry about what a service did. Its user and its origin are those that the transaction was admitted with.
-- Raises FH403, FH400.
create or replace function access.record_custom_activity(
  activity text,
  action text,
  resource text,
  resource_id text,
  risk integer,
  before jsonb,
  after jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  written uuid[];
begin
  if access.permission() is distinct from 'activity:create' then
    perform access.refuse('forbidden', 'Recording an activity needs activity:create.');
  elsif activity !~ '^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$' or length(activity) > 64 then
    perform access.refuse(
      'invalid_request',
      'must be words in capitals with _ between them, at most 64 characters',
      'activity_type'
    );
  elsif access.is_built_in_activity(activity) then
    perform access.refuse('invalid_request', format('%s is recorded by Freehold itself', activity), 'activity_type');
  elsif action is null
    or resource is null
    or risk is null
    or risk not between 0 and 100
    or greatest(length(action), length(resource)) > 64
    or length(resource_id) > 255
    or coalesce(length(before::text), 0) + coalesce(length(after::text), 0) > 32768
  then
    perform access.refuse('invalid_request', 'is larger than an activity may be', 'after');
  end if;
  written := access.write_audit(
    access.claims(),
    activity,
    record_custom_activity.action,
    resource,
    risk,
    array[record_custom_activity.resource_id],
    array[before],
    array[after]
  );
  return access.audit_entry(written[1]);
end $$;
--> statement-breakpoint
-- Whether a type of activity is one that only Freehold itself writes: the given list, and the changes of every table
-- with audit triggers.
create or replace function access.is_built_in_activity(activity text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select
    activity in (
      'LOGIN', 'LOGOUT', 'LOGIN_FAILED', 'PASSWORD_CHANGE', 'PASSWORD_RESET', 'PASSWORD_CHANGE_FAILED',
      'MFA_ENABLED', 'MFA_DISABLED', 'PROFILE_UPDATE', 'PERMISSION_CHANGE', 'PERMISSIONS_READ',
      'ROLE_ASSIGNED', 'ROLE_REMOVED', 'API_KEY_CREATED', 'API_KEY_REVOKED', 'SUSPICIOUS_ACTIVITY', 'ACCESS_REFUSED',
      'EXPORT', 'AUDIT_ERASED', 'USERS_IMPORTED', 'USER_UNLOCKED', 'USER_REGISTERED', 'REGISTRATION_REQUESTED',
      'PASSWORD_RESET_REQUESTED', 'EMAIL_CHANGE_REQUESTED'
    )
    or exists (
      select
      from pg_trigger t
      cross join unnest(array['CREATED', 'UPDATED', 'DELETED']) as done (word)
      where t.tgfoid = 'access.audit()'::regprocedure
        and activity = upper(split_part(encode(t.tgargs, 'escape'), '\000', 1)) || '_' || done.word
    )
$$;
--> statement-breakpoint
-- An entry in the form that the API shows.
create or replace function access.audit_entry(entry uuid) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', l.id,
    'at', to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'user_id', l.user_id,
    'user_name', d.user_name,
    'activity_type', l.activity_type,
    'action', l.action,
    'resource_type', l.resource_type,
    'resource_id', l.resource_id,
    'risk_score', l.risk_score,
    'trace_id', l.trace_id,
    'address', d.address,
    'agent', d.agent,
    'method', d.method,
    'path', d.path,
    'before', d.before,
    'after', d.after,
    'api_key_id', d.api_key_id
  )
  from freehold.audit_log l
  left join freehold.audit_detail d on d.log_id = l.id
  where l.id = entry
$$;
--> statement-breakpoint
-- Writes that the admitted user exports entries of the audit, and by which filters.
create or replace function access.record_export(filters jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'activity:export' then
    perform access.refuse('forbidden', 'Exporting activities needs activity:export.');
  end if;
  perform access.record('EXPORT', 'export', 'activity', null, null, filters);
end $$;
--> statement-breakpoint
-- Whether this transaction was admitted to read the audit; access.may_read_all_audit: all of it. The planner takes a
-- boolean for likely, and then walks the index that a list is sorted by.
create or replace function access.may_read_audit() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(access.permission() in ('activity:read', 'activity:export'), false)
$$;
--> statement-breakpoint
create or replace function access.may_read_all_audit() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.may_read_audit() and access.scope() = 'all'
$$;
--> statement-breakpoint
-- Erases details for good, and returns how many. That somebody acted stays, and an entry for each says that its
-- detail was erased and by whom. Ids without a detail are passed over.
create or replace function access.erase_detail(log_ids uuid[]) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  there uuid[] := array(select d.log_id from freehold.audit_detail d where d.log_id = any (log_ids) for update);
begin
  if cardinality(there) > 0 then
    perform access.write_audit(access.actor(), 'AUDIT_ERASED', 'erase', 'audit_detail', 0, there::text[], null, null);
    delete from freehold.audit_detail d where d.log_id = any (there);
  end if;
  return cardinality(there);
end $$;
--> statement-breakpoint
-- Refuses every change of what was written.
create or replace function access.refuse_change() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using errcode = 'FH403', message = 'forbidden',
    detail = format('%s of freehold.%s: the audit is append-only.', tg_op, tg_table_name);
end $$;
--> statement-breakpoint
-- Refuses to delete a detail without an entry of the same transaction that says so.
create or replace function access.refuse_detail_change() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if exists (
    select
    from gone g
    where not exists (
      select
      from freehold.audit_log l
      where l.resource_type = 'audit_detail'
        and l.resource_id = g.log_id::text
        and l.activity_type = 'AUDIT_ERASED'
        and l.checkpoint is null
        and l.xid = pg_current_xact_id()::text::bigint
    )
  ) then
    raise exception using errcode = 'FH403', message = 'forbidden',
      detail = 'DELETE of freehold.audit_detail: a detail is erased by access.erase_detail alone.';
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Puts the three audit triggers on a table. The arguments are those of access.audit; `keys` are the columns of the
-- primary key.
create or replace procedure access.audited(
  target regclass,
  resource text,
  secret text[] default '{}',
  noise text[] default '{updated_at}',
  keys text[] default '{id}'
)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  said text := format(
    'for each statement execute function access.audit(%L, %L, %L, %L)', resource, secret, noise, keys
  );
begin
  execute format(
    'create trigger audit_insert after insert on %s referencing new table as after_rows %s',
    target, said
  );
  execute format(
    'create trigger audit_update after update on %s referencing old table as before_rows new table as after_rows %s',
    target, said
  );
  execute format(
    'create trigger audit_delete after delete on %s referencing old table as before_rows %s',
    target, said
  );
end $$;
--> statement-breakpoint
-- The audit trigger, for each statement: an entry for each changed row, of an update with the changed columns alone.
-- Arguments: the resource; secret columns, recorded as changed but without their value; columns that are noise, whose
-- change alone makes no entry; the columns of the key.
create or replace function access.audit() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  resource text := tg_argv[0];
  secret text[] := tg_argv[1]::text[];
  noise text[] := tg_argv[2]::text[];
  keys text[] := coalesce(tg_argv[3], '{id}')::text[];
  act text := case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end;
  f jsonb := access.actor();
  e record;
begin
  if tg_op = 'INSERT' then
    select
      array_agg(case when keys = '{id}' then r.doc ->> 'id' else access.row_key(r.doc, keys) end) as ids,
      null::jsonb[] as befores,
      array_agg(case when secret = '{}' then r.doc else access.masked(r.doc, secret) end) as afters,
      null::text[] as activities
    into e
    from (select to_jsonb(n) as doc from after_rows n) r;
  elsif tg_op = 'DELETE' then
    select
      array_agg(case when keys = '{id}' then r.doc ->> 'id' else access.row_key(r.doc, keys) end) as ids,
      array_agg(case when secret = '{}' then r.doc else access.masked(r.doc, secret) end) as befores,
      null::jsonb[] as afters,
      null::text[] as activities
    into e
    from (select to_jsonb(o) as doc from before_rows o) r;
  else
    -- A row whose key changed has no partner: its old and its new version are two entries, each with all columns.
    select
      array_agg(c.id) as ids,
      array_agg(case when secret = '{}' then c.was else access.masked(c.was, secret) end) as befores,
      array_agg(case when secret = '{}' then c.is_now else access.masked(c.is_now, secret) end) as afters,
      array_agg(case
        when resource = 'session' and c.is_now ->> 'ended_because' = 'logout' then 'LOGOUT'
        when resource = 'user' and c.is_now ? 'password_changed_at' then 'PASSWORD_CHANGE'
        when resource = 'user' and c.id = f ->> 'user_id' then 'PROFILE_UPDATE'
      end) as activities
    into e
    from (
      select
        coalesce(n.id, o.id) as id,
        case when o.id is null or n.id is null then o.doc else d.was end as was,
        case when o.id is null or n.id is null then n.doc else d.is_now end as is_now
      from (
        select x.doc, case when keys = '{id}' then x.doc ->> 'id' else access.row_key(x.doc, keys) end as id
        from (select to_jsonb(b) as doc from before_rows b) x
      ) o
      full join (
        select x.doc, case when keys = '{id}' then x.doc ->> 'id' else access.row_key(x.doc, keys) end as id
        from (select to_jsonb(a) as doc from after_rows a) x
      ) n on n.id = o.id
      cross join lateral (
        select jsonb_object_agg(b.key, b.value) as was, jsonb_object_agg(b.key, a.value) as is_now
        from jsonb_each(o.doc) b
        join jsonb_each(n.doc) a on a.key = b.key
        where a.value is distinct from b.value and not b.key = any (noise)
      ) d
      where d.was is not null or o.id is null or n.id is null
    ) c;
  end if;
  if e.ids is not null then
    perform access.write_audit(
      f, access.activity_of(resource, act), act, resource, 0, e.ids, e.befores, e.afters, e.activities
    );
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Writes one entry. Actor and request are those that the transaction was admitted with; without any, the system acts.
create or replace function access.record(
  activity text,
  action text,
  resource text,
  resource_id text,
  before jsonb,
  after jsonb,
  risk integer default 0
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.write_audit(
    access.actor(), activity, record.action, resource, risk, array[record.resource_id], array[before], array[after]
  );
end $$;
--> statement-breakpoint
-- Writes the entries of one statement, in one statement, and returns their ids: the only function that knows how a
-- detail is hashed. `ids`, `befores` and `afters` run in parallel; an element of `activities` goes before `activity`.
--
-- A detail names the API key that was used, so that its owner can ask what a stolen one did. Without a key it hashes
-- to what it did before details had one.
create or replace function access.write_audit(
  f jsonb,
  activity text,
  action text,
  resource text,
  risk integer,
  ids text[],
  befores jsonb[],
  afters jsonb[],
  activities text[] default null
) returns uuid[]
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  written uuid[];
begin
  with entry as materialized (
    select
      gen_random_uuid() as log_id,
      uuid_send(gen_random_uuid()) as salt,
      coalesce(r.activity, write_audit.activity) as activity_type,
      r.id,
      r.was,
      r.is_now
    from unnest(ids, befores, afters, activities) as r (id, was, is_now, activity)
  ), logged as (
    insert into freehold.audit_log (
      id, user_id, activity_type, action, resource_type, resource_id, risk_score, trace_id, detail_hash
    )
    select
      e.log_id,
      (f ->> 'user_id')::uuid,
      e.activity_type,
      write_audit.action,
      resource,
      e.id,
      risk,
      f ->> 'trace_id',
      sha256(e.salt || convert_to((
        jsonb_build_object(
          'user_name', f -> 'user_name',
          'address', f -> 'address',
          'agent', f -> 'agent',
          'method', f -> 'method',
          'path', f -> 'path',
          'before', e.was,
          'after', e.is_now
        )
        || case when f ->> 'key_id' is null then '{}' else jsonb_build_object('api_key_id', f -> 'key_id') end
      )::text, 'UTF8'))
    from entry e
  ), detailed as (
    insert into freehold.audit_detail (
      log_id, salt, user_name, address, agent, method, path, before, after, api_key_id
    )
    select
      e.log_id,
      e.salt,
      f ->> 'user_name',
      f ->> 'address',
      f ->> 'agent',
      f ->> 'method',
      f ->> 'path',
      e.was,
      e.is_now,
      (f ->> 'key_id')::uuid
    from entry e
  )
  select array_agg(e.log_id) into written from entry e;
  return written;
end $$;
--> statement-breakpoint
-- The type of activity of a change, where it does not depend on the row.
create or replace function access.activity_of(resource text, action text) returns text
language sql immutable
return case
  when resource = 'session' and action = 'create' then 'LOGIN'
  when resource = 'user_role' then case action when 'create' then 'ROLE_ASSIGNED' else 'ROLE_REMOVED' end
  when resource in ('role_permission', 'permission', 'override') then 'PERMISSION_CHANGE'
  else upper(resource) || '_' || upper(action) || 'D'
end;
--> statement-breakpoint
-- The id of a row in the audit: the values of its key, which in most tables is `id` alone.
create or replace function access.row_key(doc jsonb, keys text[]) returns text
language sql immutable
return (
  select string_agg(doc ->> k.name, '/' order by k.place)
  from unnest(keys) with ordinality as k (name, place)
);
--> statement-breakpoint
-- A row with `***` in place of the values of secret columns.
create or replace function access.masked(doc jsonb, secret text[]) returns jsonb
language sql immutable
return (
  select jsonb_object_agg(e.key, case when e.key = any (secret) and e.value <> 'null' then '"***"' else e.value end)
  from jsonb_each(doc) e
);
--> statement-breakpoint
-- Covers the oldest entries, at most `batch`, by the next checkpoint: a hash of the hash before it and of the entries
-- in the order (xid, id). Takes only entries older than every running transaction, so that none can still come
-- between them. Returns how many; 0 also while another call is at work.
create or replace function access.checkpoint_audit(batch integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  newest freehold.audit_checkpoints;
  covered integer;
begin
  if not exists (select from freehold.audit_log l where l.checkpoint is null)
    or not pg_try_advisory_xact_lock(hashtext('freehold.audit_checkpoints'))
  then
    return 0;
  end if;
  select * into newest from freehold.audit_checkpoints s order by s.no desc limit 1;
  with taken as materialized (
    select l.id, l.xid, access.canonical_entry(l) as form
    from freehold.audit_log l
    where l.checkpoint is null and l.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    order by l.xid, l.id
    limit batch
  ), marked as (
    update freehold.audit_log l set checkpoint = coalesce(newest.no, 0) + 1 from taken t where l.id = t.id
  )
  insert into freehold.audit_checkpoints as s (no, entries, hash)
  select
    coalesce(newest.no, 0) + 1,
    count(*),
    sha256(coalesce(newest.hash, '') || string_agg(t.form, '' order by t.xid, t.id))
  from taken t
  having count(*) > 0
  returning s.entries into covered;
  return coalesce(covered, 0);
end $$;
--> statement-breakpoint
-- An entry as it is hashed: a JSON array, so that no two entries read alike. src/audit/verify.ts repeats this on
-- purpose: a check of the chain must not rely on functions of the database that it checks.
create or replace function access.canonical_entry(l freehold.audit_log) returns bytea
language sql immutable
return convert_to(
  jsonb_build_array(
    l.xid,
    l.id,
    l.user_id,
    l.activity_type,
    l.action,
    l.resource_type,
    l.resource_id,
    l.risk_score,
    l.trace_id,
    (extract(epoch from l.at) * 1000000)::bigint,
    encode(l.detail_hash, 'hex')
  )::text,
  'UTF8'
);
--> statement-breakpoint
-- The hash parameters and salt of a user's password. An unknown identifier, or a user without a password, gets
-- parameters that look like the others'; their salt is derived from the identifier, because a salt that changes
-- would give that away.
create or replace function access.hash_parameters_of(subject uuid, identifier text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    regexp_replace(access.current_password(subject), '[$][^$]*$', ''),
    '$pbkdf2-sha256-chain$r=6,i=100000$'
      || rtrim(encode(substr(access.mac('salt:' || identifier), 1, 16), 'base64'), '=')
  )
$$;
--> statement-breakpoint
-- Begins an attempt: {state: pending, attempt, hash_parameters}, also during a lockout, when it can only fail; or
-- {state: busy} when as many attempts are under way as may fail. Locks the lockout's row, so that the
-- attempts of one identifier are decided one after another. An attempt that is not finished within 30 s has failed.
create or replace function access.begin_attempt(
  t freehold.tenant,
  guard text,
  subject uuid,
  identifier text,
  hash_parameters text
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
  lost integer;
  pending integer;
  attempt uuid := gen_random_uuid();
  state text := 'pending';
begin
  insert into freehold.lockouts as x (key) values (guard)
  on conflict (key) do update set key = x.key
  returning x.* into g;
  with given_up as (
    update freehold.login_attempts a set state = 'failed'
    where a.key = guard and a.state = 'pending' and a.created_at <= now() - interval '30 seconds'
    returning 1
  )
  select count(*) into lost from given_up;
  if lost > 0 then
    g := access.count_failures(t, guard, lost);
  end if;
  -- Rows more than a day old are of no more use; later attempts delete them, a few at a time.
  delete from freehold.login_attempts a where a.key = guard and a.created_at < now() - interval '1 day';
  delete from freehold.lockouts x
  where x.key in (
    select y.key
    from freehold.lockouts y
    where y.key like 'unknown:%' and y.failed_at < now() - interval '1 day'
    limit 5
    for update skip locked
  );
  if g.locked_until > now() then
    state := 'refused';
  else
    if g.locked_until is not null or g.failed_at <= now() - make_interval(mins => t.lock_minutes) then
      update freehold.lockouts x set failures = 0, failed_at = null, locked_until = null
      where x.key = guard
      returning x.* into g;
    end if;
    select count(*) into pending from freehold.login_attempts a where a.key = guard and a.state = 'pending';
    if g.failures + pending >= t.max_failures then
      return jsonb_build_object('state', 'busy');
    end if;
  end if;
  insert into freehold.login_attempts (id, key, user_id, identifier, hash_parameters, state)
  values (attempt, guard, subject, left(identifier, 255), hash_parameters, state);
  return jsonb_build_object('state', 'pending', 'attempt', attempt, 'hash_parameters', hash_parameters);
end $$;
--> statement-breakpoint
-- Finishes an attempt, once: compares the digest (32 bytes, base64 without padding) with the user's hash, counts a
-- failure or clears the lockout. Returns the user when the password was right, and leaves their row locked.
create or replace function access.finish_attempt(t freehold.tenant, attempt uuid, digest text) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  u freehold.users;
begin
  select * into a from freehold.login_attempts x where x.id = attempt;
  perform from freehold.lockouts g where g.key = a.key for update;
  update freehold.login_attempts x set state = 'failed'
  where x.id = attempt and x.state = 'pending'
  returning x.* into a;
  if a.id is null then
    return null;
  end if;
  -- A concurrent change of this user's password goes first or waits: the comparison below sees the hash that it left.
  perform from freehold.users x where x.id = a.user_id for no key update;
  select * into u
  from freehold.users x
  where x.id = a.user_id and x.is_active and access.current_password(x.id) = access.stored_hash(a.hash_parameters, digest);
  if u.id is null then
    perform access.count_failures(t, a.key, 1);
    return null;
  end if;
  update freehold.login_attempts x set state = 'succeeded' where x.id = attempt;
  update freehold.lockouts x set failures = 0, failed_at = null, locked_until = null where x.key = a.key;
  return u;
end $$;
--> statement-breakpoint
-- Counts failures on a lockout whose row is locked. Too many of them lock it, and a mail tells the user.
create or replace function access.count_failures(t freehold.tenant, guard text, times integer) returns freehold.lockouts
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
begin
  update freehold.lockouts x
  set failures = x.failures + times,
    failed_at = now(),
    locked_until = case
      when x.failures + times >= t.max_failures then now() + make_interval(mins => t.lock_minutes)
      else x.locked_until
    end
  where x.key = guard
  returning x.* into g;
  if guard like 'login:%' and g.failures >= t.max_failures and g.failures - times < t.max_failures then
    perform access.enqueue_mail('account_locked', u.id, u.email, jsonb_build_object('until', g.locked_until))
    from freehold.users u
    where u.id = substr(guard, 7)::uuid and u.is_active;
  end if;
  return g;
end $$;
--> statement-breakpoint
-- First half: {state, attempt, hash_parameters} or {state: busy}, the same for an unknown identifier.
create or replace function access.begin_login(tenant_id uuid, identifier text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users;
begin
  identifier := left(identifier, 255);
  if strpos(identifier, '@') > 0 then
    select * into u from freehold.users x where x.email = identifier;
  else
    select * into u from freehold.users x where x.username = identifier;
  end if;
  return access.begin_attempt(
    t,
    case
      when u.id is null then 'unknown:' || encode(access.mac('guard:' || identifier), 'hex')
      else 'login:' || u.id
    end,
    u.id,
    identifier,
    access.hash_parameters_of(u.id, identifier)
  );
end $$;
--> statement-breakpoint
-- Second half: {outcome: ok, claims} with a session and its first refresh token, or {outcome: refused, mail} or
-- {outcome: no_role}. When the user has too many sessions, the oldest end. `renewed` is a new hash of the same
-- password, in place of one that another system made.
create or replace function access.finish_login(
  tenant_id uuid,
  attempt uuid,
  digest text,
  renewed text,
  refresh_hash bytea,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  s freehold.sessions;
  named text;
  why text;
begin
  if u.id is null then
    select a.identifier, a.user_id,
      case
        when a.user_id is null then 'unknown'
        when a.state = 'refused' then 'locked'
        when not x.is_active then 'inactive'
        else 'wrong_password'
      end
    into named, u.id, why
    from freehold.login_attempts a
    left join freehold.users x on x.id = a.user_id
    where a.id = attempt;
    perform access.set_audit_actor(u.id, named, request);
    perform access.record('LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', why), 20);
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  if not access.has_role(u.id) then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'no_role'), 10
    );
    return jsonb_build_object('outcome', 'no_role');
  end if;
  if renewed is not null then
    update freehold.passwords p set password_hash = renewed
    where p.user_id = u.id and p.replaced_at is null;
  end if;
  insert into freehold.sessions (id, user_id, device, address, city, country, expires_at)
  values (
    gen_random_uuid(),
    u.id,
    left(request ->> 'agent', 255),
    left(request ->> 'address', 64),
    left(request ->> 'city', 120),
    left(request ->> 'country', 2),
    now() + make_interval(days => t.session_days)
  )
  returning * into s;
  -- The user's row has been locked since the comparison, so that of many logins at once each sees the sessions of
  -- those before it.
  update freehold.sessions x
  set ended_at = now(), ended_because = 'limit'
  where x.id in (
    select y.id
    from freehold.sessions y
    where y.user_id = u.id
      and y.id <> s.id
      and y.ended_at is null
      and y.expires_at > now()
      and y.last_active_at > now() - make_interval(days => t.idle_days)
    order by y.created_at desc, y.id
    offset coalesce(u.max_sessions, t.max_sessions) - 1
  );
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
  values (refresh_hash, s.id, s.device, s.expires_at);
  return jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t));
end $$;
--> statement-breakpoint
-- Second half of the first login of an imported user, whose hash another system made; answers as access.finish_login
-- does. `hash_parameters` is ours, with the salt that was chosen at the import (`next` in the stored
-- hash_parameters); `renewed` is the digest under it. Of several logins at once the first replaces the hash, and the
-- others are compared with the new one.
create or replace function access.finish_login_with_rehash(
  tenant_id uuid,
  attempt uuid,
  digest text,
  hash_parameters text,
  renewed text,
  refresh_hash bytea,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  is_meant boolean;
begin
  perform access.check_tenant(tenant_id);
  select * into a from freehold.login_attempts x where x.id = attempt;
  -- Locks in the order of access.finish_attempt.
  perform from freehold.lockouts g where g.key = a.key for update;
  perform from freehold.users x where x.id = a.user_id for no key update;
  is_meant := coalesce(
    right(hash_parameters, 23) = '$' || substring(a.hash_parameters from ',next=([A-Za-z0-9+/]{22})[$]'),
    false
  );
  if is_meant and starts_with(access.current_password(a.user_id), finish_login_with_rehash.hash_parameters || '$') then
    update freehold.login_attempts x set hash_parameters = finish_login_with_rehash.hash_parameters
    where x.id = attempt and x.state = 'pending';
    return access.finish_login(tenant_id, attempt, renewed, null, refresh_hash, request);
  end if;
  return access.finish_login(
    tenant_id,
    attempt,
    digest,
    case when is_meant then access.stored_hash(finish_login_with_rehash.hash_parameters, renewed) end,
    refresh_hash,
    request
  );
end $$;
--> statement-breakpoint
-- Everything that the Worker needs to make an access token, and to say how old the password is.
create or replace function access.token_claims(u freehold.users, s freehold.sessions, t freehold.tenant) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'user_id', u.id,
    'session_id', s.id,
    'proof', access.session_proof(s.id),
    'username', u.username,
    'email', u.email,
    'role', access.active_primary_role(u),
    'roles', access.role_names(u.id, now()),
    'permissions', access.token_permissions(u.id),
    'amr', s.amr,
    'auth_time', floor(extract(epoch from s.created_at)),
    'access_minutes', t.access_minutes,
    'session_expires_at', s.expires_at,
    'must_change_password', access.must_change(u, t),
    'password_expires_at', access.password_expiry(u, t),
    'password_expires_soon', coalesce(
      access.password_expiry(u, t) <= now() + make_interval(days => t.password_warning_days),
      false
    )
  )
$$;
--> statement-breakpoint
-- First half of a change: {state, attempt, hash_parameters} as of access.begin_attempt, and {user, policy, history},
-- by which the Worker judges a new password. Its lockout is not the one of logins, so that strangers cannot use up
-- its attempts.
create or replace function access.begin_password_change(tenant_id uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal();
  return access.begin_attempt(t, 'change:' || u.id, u.id, u.username, access.hash_parameters_of(u.id, u.username))
    || jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    );
end $$;
--> statement-breakpoint
-- Second half: `wrong` (the current password), `used` (the new one is in the history), or `changed`. Without a new
-- hash, when the new password breaks a rule, it only finishes the attempt. `digests` are those of the new password,
-- by hash parameters.
create or replace function access.finish_password_change(tenant_id uuid, attempt uuid, digest text, new_hash text, digests jsonb)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.finish_attempt(t, attempt, digest);
begin
  if u.id is null or u.id is distinct from access.principal() then
    perform access.record('PASSWORD_CHANGE_FAILED', 'update', 'user', access.principal()::text, null, null, 20);
    return 'wrong';
  elsif access.was_used(u.id, t, digests) then
    return 'used';
  elsif new_hash is not null then
    perform access.replace_password(u.id, new_hash, false, 'password_change', access.session());
    perform access.enqueue_mail('password_changed', u.id, u.email);
  end if;
  return 'changed';
end $$;
--> statement-breakpoint
-- The rules for a new password, for any admitted caller.
create or replace function access.policy() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.policy_of(t) from freehold.tenant t where access.principal() is not null
$$;
--> statement-breakpoint
-- Mails users whose password expires soon, once for each password; returns how many. Called by the scheduled job, as
-- the owner.
create or replace function access.warn_expiring(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  warned integer;
begin
  with soon as (
    update freehold.passwords p set warned_at = now()
    from freehold.tenant t
    where p.id in (
      select x.id
      from freehold.passwords x
      join freehold.users u on u.id = x.user_id
      where x.replaced_at is null
        and x.warned_at is null
        and u.is_active
        and not u.must_change_password
        and t.password_days > 0
        and x.created_at <= now()
          - make_interval(days => t.password_days - least(t.password_warning_days, t.password_days))
      order by x.created_at
      limit at_most
      for update of x skip locked
    )
    returning p.user_id
  )
  select count(
    access.enqueue_mail(
      'password_expires', u.id, u.email, jsonb_build_object('expires_at', access.password_expiry(u, t))))
  into warned
  from soon
  join freehold.users u on u.id = soon.user_id
  cross join freehold.tenant t;
  return warned;
end $$;
--> statement-breakpoint
-- Replaces a user's password and ends their sessions, except `kept`. Voids the tokens that were sent before, for
-- another password or for another address: they may have been asked for by the one whom the account is taken back
-- from.
create or replace function access.replace_password(subject uuid, new_hash text, must_change boolean, because text, kept uuid)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.passwords p set replaced_at = clock_timestamp()
  where p.user_id = subject and p.replaced_at is null;
  insert into freehold.passwords (id, user_id, password_hash) values (gen_random_uuid(), subject, new_hash);
  update freehold.users x
  set password_changed_at = now(), must_change_password = must_change, updated_at = now()
  where x.id = subject;
  -- The verification of the current address stays good.
  update freehold.one_time_tokens k set used_at = now()
  from freehold.users u
  where u.id = subject
    and k.user_id = u.id
    and k.used_at is null
    and (k.kind = 'reset' or (k.kind = 'email' and k.target <> u.email));
  update freehold.sessions x
  set ended_at = now(), ended_because = because
  where x.user_id = subject and x.ended_at is null and x.id is distinct from kept;
end $$;
--> statement-breakpoint
-- The rules for a new password: the settings whose name begins with `password_`.
create or replace function access.policy_of(t freehold.tenant) returns jsonb
language sql stable
return (select jsonb_object_agg(e.key, e.value) from jsonb_each(to_jsonb(t)) e where e.key like 'password\_%');
--> statement-breakpoint
-- The words about a user that their password must not contain.
create or replace function access.personal_details(u freehold.users) returns jsonb
language sql stable
return jsonb_build_object(
  'username', u.username,
  'email', u.email,
  'given_name', u.given_name,
  'family_name', u.family_name
);
--> statement-breakpoint
-- The hash parameters of the password history, with which the Worker hashes a new password to compare it.
create or replace function access.history_parameters(subject uuid, t freehold.tenant) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(distinct regexp_replace(p.password_hash, '[$][^$]*$', '')), '[]')
  from access.password_history(subject, t) p
$$;
--> statement-breakpoint
-- Whether a new password, given by its digests under those hash parameters, is in the history.
create or replace function access.was_used(subject uuid, t freehold.tenant, digests jsonb) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from access.password_history(subject, t) p
    join jsonb_each_text(digests) d on p.password_hash = access.stored_hash(d.key, d.value)
  )
$$;
--> statement-breakpoint
-- The password history: as many of a user's passwords as the tenant's settings say, the current one first.
create or replace function access.password_history(subject uuid, t freehold.tenant) returns setof freehold.passwords
language sql stable set search_path = pg_catalog, pg_temp as $$
  select p.*
  from freehold.passwords p
  where p.user_id = subject
  order by p.replaced_at desc nulls first
  limit t.password_history
$$;
--> statement-breakpoint
-- The stored hash of a user's current password, or null.
create or replace function access.current_password(subject uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select p.password_hash from freehold.passwords p where p.user_id = subject and p.replaced_at is null
$$;
--> statement-breakpoint
-- The stored form of a digest: its hash_parameters and a hash of it, so that a copy of the table is not enough to log
-- in.
create or replace function access.stored_hash(hash_parameters text, digest text) returns text
language sql immutable
return hash_parameters || '$' || rtrim(encode(sha256(decode(digest || '=', 'base64')), 'base64'), '=');
--> statement-breakpoint
-- Whether a user may do nothing but change their password: somebody else set it, or it has expired.
create or replace function access.must_change(u freehold.users, t freehold.tenant) returns boolean
language sql stable
return u.must_change_password
  or (t.password_days > 0 and u.password_changed_at <= now() - make_interval(days => t.password_days));
--> statement-breakpoint
-- When a user's password expires; null: never.
create or replace function access.password_expiry(u freehold.users, t freehold.tenant) returns timestamptz
language sql stable
return case when t.password_days > 0 then u.password_changed_at + make_interval(days => t.password_days) end;
--> statement-breakpoint
-- {outcome: ok, claims} | {outcome: invalid | reused | inactive}. Of several requests at once the first makes the
-- successor, and the others find it. A deactivated user is told `inactive` even though the session ended with the
-- deactivation.
create or replace function access.refresh(tenant_id uuid, presented bytea, successor bytea, request jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  r freehold.refresh_tokens;
  next_link freehold.refresh_tokens;
  s freehold.sessions;
  u freehold.users;
begin
  select x.* into s
  from freehold.refresh_tokens l
  join freehold.sessions x on x.id = l.session_id
  where l.token_hash = presented;
  select * into u from freehold.users x where x.id = s.user_id;
  if s.id is null then
    return jsonb_build_object('outcome', 'invalid');
  elsif not u.is_active then
    return jsonb_build_object('outcome', 'inactive');
  elsif s.ended_at is not null
    or s.expires_at <= now()
    or s.last_active_at <= now() - make_interval(days => t.idle_days)
  then
    return jsonb_build_object('outcome', 'invalid');
  elsif not exists (select from access.roles_of(u.id, now())) then
    return jsonb_build_object('outcome', 'inactive');
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  update freehold.refresh_tokens l
  set used_at = clock_timestamp(), successor_hash = successor
  where l.token_hash = presented and l.used_at is null and l.expires_at > now()
  returning l.* into r;
  if r.token_hash is not null then
    insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
    values (successor, s.id, request ->> 'agent', s.expires_at);
  else
    select * into r from freehold.refresh_tokens l where l.token_hash = presented;
    if r.used_at is null then
      return jsonb_build_object('outcome', 'invalid');
    end if;
    select * into next_link from freehold.refresh_tokens l where l.token_hash = r.successor_hash;
    if r.successor_hash <> successor
      or next_link.used_at is not null
      or r.used_at < clock_timestamp() - interval '10 seconds'
      or next_link.device is distinct from request ->> 'agent'
    then
      update freehold.sessions x
      set ended_at = now(), ended_because = 'refresh_reused'
      where x.id = s.id and x.ended_at is null;
      perform access.record(
        'SUSPICIOUS_ACTIVITY', 'refresh', 'session', s.id::text,
        null, jsonb_build_object('reason', 'refresh_reused'), 80
      );
      return jsonb_build_object('outcome', 'reused');
    end if;
  end if;
  -- The session may have ended while this waited for the token's row.
  update freehold.sessions x set last_active_at = now()
  where x.id = s.id and x.ended_at is null
  returning x.* into s;
  if s.id is null then
    return jsonb_build_object('outcome', 'invalid');
  end if;
  return jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t));
end $$;
--> statement-breakpoint
-- Finds the user who acts now for another with a permission: the delegate and, where that one is away too (has
-- delegated the same of what they hold themselves), the delegate of theirs, and so on; never in a circle. Returns
-- {user_id, acting_user_id, chain}; null when the caller does not reach the user.
create or replace function access.substitute(subject uuid, permission text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  chain jsonb := '[]';
  met uuid[] := array[subject];
  acting uuid := subject;
  d record;
begin
  if access.permission() is distinct from 'delegation:read'
    or not exists (
      select
      from freehold.users u
      where u.id = subject
        and (access.scope() = 'all' or u.id = any (access.scope_owner_ids()) or u.unit_id = any (access.scope_unit_ids()))
    ) then
    return null;
  elsif not exists (
    select from freehold.permissions p where p.name = substitute.permission and p.deleted_at is null
  ) then
    perform access.refuse('invalid_request', 'is not a permission of this tenant', 'query/permission');
  elsif not access.was_active(subject, now()) or access.decide(subject, permission, now()) is null then
    return jsonb_build_object('user_id', subject, 'acting_user_id', null, 'chain', chain);
  end if;
  loop
    select x.id, x.delegate_id
    into d
    from freehold.delegations x
    where x.delegator_id = acting
      and access.in_force(x.starts_at, x.ends_at, now())
      and x.decision = 'approved'
      and x.revoked_at is null
      and x.delegate_id <> all (met)
      and access.own_scope(acting, permission, now()) is not null
      and case
        when x.role_id is null then exists (
          select
          from freehold.delegation_permissions p
          where p.delegation_id = x.id
            and p.permission = substitute.permission
        )
        else
          x.role_id in (select access.roles_of(acting, now()))
          and exists (select from access.role_grants(x.role_id, now()) g where g.permission = substitute.permission)
      end
      and access.was_active(x.delegate_id, now())
      and exists (select from access.roles_of(x.delegate_id, now()))
      and substitute.permission not in (select access.denied_permissions(x.delegate_id, now()))
    order by x.starts_at desc, x.created_at desc, x.id
    limit 1;
    exit when not found;
    chain := chain || jsonb_build_object('delegation_id', d.id, 'from', acting, 'to', d.delegate_id);
    acting := d.delegate_id;
    met := met || acting;
  end loop;
  return jsonb_build_object('user_id', subject, 'acting_user_id', acting, 'chain', chain);
end $$;
--> statement-breakpoint
-- A delegation is made by its delegator, to another active user, of a role that the delegator holds themselves. It is
-- approved at once unless the tenant wants each to be decided. The delegate and the role are locked, so that neither
-- goes meanwhile.
create or replace function access.before_delegation() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.starts_at := access.begins(new.starts_at, new.ends_at);
  if new.delegate_id = new.delegator_id then
    perform access.refuse('invalid_request', 'is the delegator', 'delegate_id');
  elsif not exists (select from freehold.users u where u.id = new.delegate_id and u.is_active for share) then
    perform access.refuse('invalid_request', 'is not an active user of this tenant', 'delegate_id');
  elsif new.role_id is not null and not new.role_id in (select access.roles_of(new.delegator_id, now())) then
    if exists (select from freehold.roles r where r.id = new.role_id and r.deleted_at is null) then
      perform access.refuse('forbidden', 'You do not hold this role, so you cannot delegate it.');
    end if;
    perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
  end if;
  if new.role_id is not null then
    perform from freehold.roles r where r.id = new.role_id and r.deleted_at is null for share;
    if not found then
      perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
    end if;
  end if;
  if not (select t.delegation_approval from freehold.tenant t) and new.decision is null then
    new.decision := 'approved';
    new.decided_at := now();
  end if;
  return new;
end $$;
--> statement-breakpoint
-- A delegator chooses permissions that they hold themselves at that moment: what was delegated to them does not
-- count.
create or replace function access.before_delegation_permission() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- `for share`, because deleting the permission is an update of its row.
  if not exists (
    select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
  ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permissions');
  elsif access.own_scope(
      (select d.delegator_id from freehold.delegations d where d.id = new.delegation_id),
      new.permission,
      now()
    ) is null then
    perform access.refuse('forbidden',
      format('You do not hold %s, so you cannot delegate it.', new.permission));
  end if;
  return new;
end $$;
--> statement-breakpoint
-- A delegation is decided once, by a third user whose permission to do so does not come from one of the two, and is
-- revoked once. One that is over stays over.
create or replace function access.before_delegation_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if me is null then
    return new;
  elsif old.revoked_at is not null or old.decision = 'rejected' or old.ends_at <= now() then
    perform access.refuse('illegal_state', 'This delegation has ended.');
  elsif access.permission() = 'delegation:approve' then
    if not exists (
      select
      from access.grant_sources(me, 'delegation:approve', now()) s
      where s.holder not in (old.delegator_id, old.delegate_id)
    ) then
      perform access.refuse('forbidden', 'Neither the delegator nor the delegate can decide on a delegation.');
    elsif old.decision is not null then
      perform access.refuse('illegal_state', 'This delegation is not pending.');
    end if;
    new.decided_at := now();
    new.decided_by := me;
    new.revoked_at := null;
  else
    new.decision := old.decision;
    new.decided_at := old.decided_at;
    new.decided_by := old.decided_by;
    new.revoked_at := now();
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Whether a validity range holds at a moment: from its start on, up to its end, which is no longer in it. Without an
-- end it holds for good.
create or replace function access.in_force(starts timestamptz, ends timestamptz, moment timestamptz) returns boolean
language sql immutable
return starts <= moment and (ends is null or ends > moment);
--> statement-breakpoint
-- Refuses the request in words for the caller: a code, a sentence, and the field that is wrong.
create or replace function access.refuse(code text, said text, field text default null) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    message = code,
    detail = said,
    hint = coalesce(field, ''),
    errcode = case code
      when 'forbidden' then 'FH403'
      when 'not_found' then 'FH404'
      when 'invalid_request' then 'FH400'
      else 'FH409'
    end;
end $$;
--> statement-breakpoint
-- A statement trigger that lets one transaction at a time change a table. Two halves of a circle are each allowed by
-- themselves; and the lock comes before any row is locked, because two transactions would otherwise wait for each
-- other's rows.
create or replace function access.one_at_a_time() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext(tg_table_name));
  return null;
end $$;
--> statement-breakpoint
-- Applies a JSON merge patch (RFC 7396) to a document.
create or replace function access.merged(doc jsonb, patch jsonb) returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  changed jsonb := case when jsonb_typeof(doc) = 'object' then doc else '{}' end;
  r record;
begin
  if jsonb_typeof(patch) <> 'object' then
    return patch;
  end if;
  for r in select e.key, e.value from jsonb_each(patch) e loop
    changed := case
      when r.value = 'null' then changed - r.key
      else changed || jsonb_build_object(r.key, access.merged(changed -> r.key, r.value))
    end;
  end loop;
  return changed;
end $$;
--> statement-breakpoint
-- Parses an address or a network for comparison. An IPv4 address that is mapped into IPv6 is IPv4. null: it is
-- neither.
create or replace function access.network_of(said text) returns inet
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  a inet;
begin
  if said is null or not pg_input_is_valid(said, 'inet') then
    return null;
  end if;
  a := said::inet;
  if a <<= inet '::ffff:0:0/96' then
    return set_masklen(replace(host(a), '::ffff:', '')::inet, masklen(a) - 96);
  end if;
  return a;
end $$;
--> statement-breakpoint
-- Enqueues a mail and returns its id. `subject` is the recipient's user id, whose locale applies; null for a
-- registrant, to whom `locale` applies.
create or replace function access.enqueue_mail(
  kind text,
  subject uuid,
  recipient text,
  data jsonb default '{}',
  secrets_encrypted text default null,
  locale text default null,
  channel text default 'email'
) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
begin
  insert into freehold.mails (id, kind, channel, user_id, recipient, locale, data, secrets_encrypted, trace_id)
  values (
    made,
    enqueue_mail.kind,
    enqueue_mail.channel,
    subject,
    enqueue_mail.recipient,
    coalesce((select u.locale from freehold.users u where u.id = subject), enqueue_mail.locale, 'en'),
    enqueue_mail.data,
    enqueue_mail.secrets_encrypted,
    access.actor() ->> 'trace_id'
  );
  perform set_config('access.enqueued', 'yes', true);
  return made;
end $$;
--> statement-breakpoint
-- Whether this transaction enqueued a mail.
create or replace function access.has_enqueued_mail() returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(current_setting('access.enqueued', true), '') = 'yes'
$$;
--> statement-breakpoint
-- Claims up to `at_most` mails that are due on the given channels, for a minute, and begins an attempt of each. The
-- attempt counts as failed until access.finish_mails says otherwise: a mail that makes its sender crash does not hold
-- up the others.
--
-- `name` is null for a registrant, and for a mail to an address that is not verified yet (`email_change`): its reader
-- must not see a text that a stranger chose.
create or replace function access.claim_mails(tenant_id uuid, system_key text, at_most integer, channels jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  claimed jsonb;
begin
  perform access.check_system(tenant_id, system_key);
  with due as (
    select m.id
    from freehold.mails m
    where m.state = 'queued'
      and m.next_at <= now()
      and (m.lease_until is null or m.lease_until <= now())
      and channels ? m.channel
    order by m.next_at, m.created_at, m.id
    limit at_most
    for update skip locked
  ), taken as (
    update freehold.mails m
    set attempts = m.attempts + 1,
      lease_until = now() + interval '1 minute',
      next_at = access.retry_mail_at(m.attempts + 1)
    from due
    where m.id = due.id
    returning m.*
  ), tried as (
    insert into freehold.mail_attempts (id, mail_id)
    select gen_random_uuid(), t.id from taken t
    returning id, mail_id
  )
  select jsonb_agg(
    jsonb_build_object(
      'id', t.id,
      'attempt', a.id,
      'attempts', t.attempts,
      'kind', t.kind,
      'channel', t.channel,
      'recipient', t.recipient,
      'locale', t.locale,
      'data', t.data,
      'secrets_encrypted', t.secrets_encrypted,
      'trace_id', t.trace_id,
      'name', case when t.kind <> 'email_change' then coalesce(u.given_name, u.username) end,
      'timezone', u.timezone
    )
    order by t.created_at, t.id
  )
  into claimed
  from taken t
  join tried a on a.mail_id = t.id
  left join freehold.users u on u.id = t.user_id;
  return coalesce(claimed, '[]');
end $$;
--> statement-breakpoint
-- Finishes attempts: [{attempt, attempts, outcome, detail}]. Returns the ids of the mails that are given up.
--   accepted   sent
--   refused    permanently: given up
--   failed     attempted again, until a day or 40 attempts have passed
--   untried    the attempt did not begin: the mail is due again as before
-- A finished attempt does not change. An attempt that is not the newest of its mail counts only if it was accepted:
-- then the mail is sent, even if it has been claimed again since.
create or replace function access.finish_mails(tenant_id uuid, system_key text, results jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r record;
  m freehold.mails;
  dead jsonb := '[]';
begin
  perform access.check_system(tenant_id, system_key);
  for r in
    select x.attempt, x.attempts, x.outcome, left(x.detail, 500) as detail
    from jsonb_to_recordset(results) as x (attempt uuid, attempts integer, outcome text, detail text)
  loop
    select x.* into m
    from freehold.mails x
    join freehold.mail_attempts a on a.mail_id = x.id
    where a.id = r.attempt and a.finished_at is null
    for update;
    continue when m.id is null;
    if r.outcome = 'untried' then
      delete from freehold.mail_attempts a where a.id = r.attempt;
    else
      update freehold.mail_attempts a
      set finished_at = now(), outcome = r.outcome, detail = r.detail
      where a.id = r.attempt;
    end if;
    if m.state <> 'queued' or (r.outcome <> 'accepted' and m.attempts <> r.attempts) then
      continue;
    elsif r.outcome = 'accepted' then
      update freehold.mails x
      set state = 'sent', secrets_encrypted = null, finished_at = now(), lease_until = null
      where x.id = m.id;
    elsif r.outcome = 'untried' then
      update freehold.mails x
      set attempts = x.attempts - 1, next_at = x.created_at, lease_until = null
      where x.id = m.id;
    elsif r.outcome = 'refused' or m.attempts >= 40 or m.created_at <= now() - interval '1 day' then
      update freehold.mails x
      set state = 'dead', secrets_encrypted = null, finished_at = now(), lease_until = null
      where x.id = m.id;
      dead := dead || jsonb_build_array(m.id);
    else
      update freehold.mails x
      set next_at = access.retry_mail_at(m.attempts), lease_until = null
      where x.id = m.id;
    end if;
  end loop;
  return dead;
end $$;
--> statement-breakpoint
-- When the next mail of the outbox is due on the given channels; null: there is none.
create or replace function access.next_mail_at(channels jsonb) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(greatest(m.next_at, m.lease_until))
  from freehold.mails m
  where m.state = 'queued' and channels ? m.channel
$$;
--> statement-breakpoint
-- When a mail is attempted again after so many attempts: in 1, 2, 4 ... 60 minutes.
create or replace function access.retry_mail_at(attempts integer) returns timestamptz
language sql stable
return now() + make_interval(mins => least(60, (2 ^ least(attempts - 1, 6))::integer));
--> statement-breakpoint
-- Whether the last purge that came to its end is more than a day ago.
create or replace function access.purge_due() returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select not exists (select from access.purges s where s.last_at >= now() - interval '1 day')
$$;
--> statement-breakpoint
-- Deletes at most so many rows of each kind: {is_done, given_up}, where `given_up` counts mails. A purge stays due
-- until it is done.
create or replace function access.purge(at_most integer) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most integer;
  given_up integer;
begin
  with attempts as (
    -- Kept briefly, because users type passwords where an identifier goes.
    delete from freehold.login_attempts
    where id in (
      select a.id
      from freehold.login_attempts a
      where a.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tokens as (
    delete from freehold.one_time_tokens
    where token_hash in (
      select k.token_hash
      from freehold.one_time_tokens k
      where k.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), registered as (
    delete from freehold.registrations
    where token_hash in (
      select r.token_hash
      from freehold.registrations r
      where r.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), refreshed as (
    -- All tokens of a session expire together: a used one reveals a theft as long as its session can live.
    delete from freehold.refresh_tokens
    where token_hash in (
      select l.token_hash
      from freehold.refresh_tokens l
      where l.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), forsaken as (
    -- Mails that waited for a day, and an hour more for a last pause between attempts: those for which no transport
    -- is configured, and those that made their sender crash.
    update freehold.mails
    set state = 'dead', secrets_encrypted = null, finished_at = now(), lease_until = null
    where id in (
      select m.id
      from freehold.mails m
      where m.state = 'queued'
        and m.created_at < now() - interval '25 hours'
        and (m.lease_until is null or m.lease_until < now())
      limit at_most
      for update skip locked
    )
    returning 1
  ), old as materialized (
    select m.id
    from freehold.mails m
    where m.finished_at < now() - interval '90 days'
    limit at_most
    for update skip locked
  ), tried as (
    delete from freehold.mail_attempts a using old where a.mail_id = old.id
  ), finished as (
    delete from freehold.mails m using old where m.id = old.id
    returning 1
  )
  select
    x.given_up,
    greatest(
      x.given_up,
      (select count(*) from attempts),
      (select count(*) from tokens),
      (select count(*) from registered),
      (select count(*) from refreshed),
      (select count(*) from finished)
    )
  into given_up, most
  from (select count(*) as given_up from forsaken) x;
  -- After the attempts: a lockout without a failure belongs to an attempt that was never finished, and goes once that
  -- attempt is gone.
  with guards as (
    delete from freehold.lockouts
    where key in (
      select g.key
      from freehold.lockouts g
      where g.key like 'unknown:%'
        and (g.locked_until is null or g.locked_until < now())
        and coalesce(
          g.failed_at < now() - interval '1 day',
          not exists (select from freehold.login_attempts a where a.key = g.key)
        )
      limit at_most
      for update skip locked
    )
    returning 1
  )
  select greatest(most, count(*)) into most from guards;
  if most < at_most then
    insert into access.purges (last_at) values (now())
    on conflict (one) do update set last_at = excluded.last_at;
  end if;
  return jsonb_build_object('is_done', most < at_most, 'given_up', given_up);
end $$;
--> statement-breakpoint
-- Asks for another address, after access.begin_password_change. `wrong` (the password), or `done`, also when the
-- address is another user's, so that the caller does not learn that.
create or replace function access.request_email_change(
  tenant_id uuid,
  attempt uuid,
  digest text,
  address text,
  token_hash bytea,
  secrets_encrypted text
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.finish_attempt(t, attempt, digest);
begin
  if u.id is null or u.id is distinct from access.principal() then
    return 'wrong';
  elsif not exists (select from freehold.users x where x.email = address) then
    perform access.send_token(u, 'email', address, token_hash, 24, 'email_change', secrets_encrypted);
  end if;
  perform access.record(
    'EMAIL_CHANGE_REQUESTED', 'update', 'user', u.id::text, null, jsonb_build_object('email', address), 20
  );
  return 'done';
end $$;
--> statement-breakpoint
-- Voids the tokens that were mailed to the old address or asked for before, and tells the old address.
create or replace function access.after_email_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.one_time_tokens x set used_at = now()
  where x.user_id = new.id and x.kind in ('reset', 'email') and x.used_at is null;
  perform access.enqueue_mail('email_changed', new.id, old.email, jsonb_build_object('new_email', new.email));
  return null;
end $$;
--> statement-breakpoint
-- Sends a code: `sent`, `none` (the user has no number) or `often`. It voids the code before it.
create or replace function access.phone_code(code text, secrets_encrypted text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  if u.phone is null then
    return 'none';
  elsif access.too_many_requests(u.id, 'phone') then
    return 'often';
  end if;
  update freehold.one_time_tokens x set used_at = now()
  where x.user_id = u.id and x.kind = 'phone' and x.used_at is null;
  insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at)
  values (access.code_hash(u, code), 'phone', u.id, u.phone, now() + interval '10 minutes')
  on conflict do nothing;
  if not found then
    return 'often';
  end if;
  perform access.enqueue_mail('phone_code', u.id, u.phone, '{}', secrets_encrypted, null, 'sms');
  return 'sent';
end $$;
--> statement-breakpoint
-- Whether a code is the one that was sent to the number that the user has now. Every call is a try, of which there
-- are five.
create or replace function access.verify_phone(code text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  k freehold.one_time_tokens;
begin
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  update freehold.one_time_tokens x set tries = x.tries + 1
  where x.user_id = u.id
    and x.kind = 'phone'
    and x.used_at is null
    and x.expires_at > now()
    and x.target = u.phone
    and x.tries < 5
  returning * into k;
  if k.token_hash is null or k.token_hash <> access.code_hash(u, code) then
    return false;
  end if;
  update freehold.one_time_tokens x set used_at = now() where x.token_hash = k.token_hash;
  update freehold.users x set phone_verified = true where x.id = u.id and x.phone = k.target;
  return true;
end $$;
--> statement-breakpoint
-- The stored form of a code: keyed, because a code is short enough to be guessed from a plain hash; bound to the user
-- and the number.
create or replace function access.code_hash(u freehold.users, code text) returns bytea
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.mac('code:' || u.id || ':' || u.phone || ':' || code)
$$;
--> statement-breakpoint
-- Somebody says that they forgot their password: a token for one hour. Returns whether there is a mail to deliver,
-- which no caller outside is told.
create or replace function access.request_reset(
  tenant_id uuid,
  system_key text,
  address text,
  token_hash bytea,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  select * into u from freehold.users x where x.email = address and x.is_active for no key update;
  perform access.set_audit_actor(u.id, u.username, request);
  if u.id is not null then
    perform access.send_token(u, 'reset', u.email, token_hash, 1, 'password_reset', secrets_encrypted);
  end if;
  perform access.record('PASSWORD_RESET_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return access.has_enqueued_mail();
end $$;
--> statement-breakpoint
-- {user, policy, history}, by which the Worker judges the new password; null: the token is not valid.
create or replace function access.begin_reset(tenant_id uuid, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.token_user(presented, 'reset', false);
begin
  return case
    when u.id is not null then jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    )
  end;
end $$;
--> statement-breakpoint
-- Sets the new password: `done`, `used` (it is in the history; the token stays valid) or `invalid` (the token).
create or replace function access.finish_reset(tenant_id uuid, presented bytea, new_hash text, digests jsonb, request jsonb)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.token_user(presented, 'reset', true);
begin
  if u.id is null then
    return 'invalid';
  elsif access.was_used(u.id, t, digests) then
    return 'used';
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  -- This spends the token, with all others for a password.
  perform access.set_recovered_password(u, new_hash, false, 'password_reset');
  -- The token was read in a mail, which proves the address that the mail went to.
  update freehold.users x set email_verified = true
  where x.id = u.id
    and not x.email_verified
    and x.email = (select k.target from freehold.one_time_tokens k where k.token_hash = presented);
  perform access.enqueue_mail('password_changed', u.id, u.email);
  return 'done';
end $$;
--> statement-breakpoint
-- First half of a reset by an administrator: {user, policy, history}.
create or replace function access.begin_admin_reset(subject uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users := access.user_to_reset(subject);
begin
  return (
    select jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    )
    from freehold.tenant t
  );
end $$;
--> statement-breakpoint
-- Second half: sets the password, which the user may have to change, and mails them a link to set their own: `done`
-- or `used` (it is in the history).
create or replace function access.finish_admin_reset(
  subject uuid,
  new_hash text,
  digests jsonb,
  must_change boolean,
  token_hash bytea,
  secrets_encrypted text
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users := access.user_to_reset(subject);
begin
  if (select access.was_used(u.id, t, digests) from freehold.tenant t) then
    return 'used';
  end if;
  perform access.set_recovered_password(u, new_hash, must_change, 'reset_by_administrator');
  if u.is_active then
    insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at)
    values (token_hash, 'reset', u.id, u.email, now() + interval '24 hours');
    perform access.enqueue_mail('password_reset_by_admin', u.id, u.email, '{}', secrets_encrypted);
  end if;
  return 'done';
end $$;
--> statement-breakpoint
-- Lets a locked out user log in again at once. Raises FH404, FH403.
create or replace function access.unlock(subject uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:update' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif subject = access.principal() or (access.scope() <> 'all' and subject = any (access.scope_owner_ids())) then
    perform access.refuse('forbidden', 'You cannot unlock yourself.');
  elsif access.holds_more(subject, access.principal()) then
    -- A lockout does not slow down an attacker who can guess, unlock and guess again.
    perform access.refuse('forbidden', 'This user holds more permissions than you: you cannot change how they log in.');
  end if;
  perform access.lock_login(subject), access.clear_failures(subject);
  perform access.record('USER_UNLOCKED', 'update', 'user', subject::text, null, null);
end $$;
--> statement-breakpoint
-- The user whose password the admitted administrator may set, locked: within reach, and neither themselves nor
-- anybody who holds more than they do, because an administrator who sets a password can log in as its user. Raises
-- FH404, FH403.
create or replace function access.user_to_reset(subject uuid) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  if access.permission() = 'user:update' and access.can_access_user(subject) then
    perform access.lock_login(subject);
    select * into u from freehold.users x where x.id = subject;
  end if;
  if u.id is null then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif u.id = access.principal() then
    perform access.refuse('forbidden', 'Change your own password with auth/password-change.');
  elsif access.scope() <> 'all' and u.id = any (access.scope_owner_ids()) then
    perform access.refuse('forbidden', 'A delegated permission cannot be used on its delegator.');
  elsif access.holds_more(u.id, access.principal()) then
    perform access.refuse('forbidden', 'This user holds more permissions than you: you cannot change how they log in.');
  end if;
  return u;
end $$;
--> statement-breakpoint
-- Sets a password without a check of the one before it: the lockouts are cleared and all sessions end.
create or replace function access.set_recovered_password(u freehold.users, new_hash text, must_change boolean, because text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.clear_failures(u.id);
  perform access.replace_password(u.id, new_hash, must_change, because, null);
  perform access.record(
    'PASSWORD_RESET', 'update', 'user', u.id::text, null, jsonb_build_object('because', because), 30
  );
end $$;
--> statement-breakpoint
-- {registration, domains, policy}.
create or replace function access.registration_terms(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  return jsonb_build_object(
    'registration', t.registration,
    'domains', to_jsonb(t.registration_domains),
    'policy', access.policy_of(t)
  );
end $$;
--> statement-breakpoint
-- Registers an address for a day. Returns whether there is a mail to deliver, which no caller outside is told. Raises
-- FH403.
create or replace function access.register(
  tenant_id uuid,
  system_key text,
  presented bytea,
  wanted jsonb,
  new_hash text,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  if not access.may_register(t, wanted ->> 'email') then
    raise exception using errcode = 'FH403', message = 'forbidden';
  end if;
  select * into u from freehold.users x where x.email = wanted ->> 'email' for no key update;
  perform access.set_audit_actor(null, null, request);
  if u.id is null then
    -- Concurrent requests for one address are counted one after another.
    perform pg_advisory_xact_lock(hashtext('register:' || (wanted ->> 'email')));
    delete from freehold.registrations x
    where x.token_hash in (
      select y.token_hash
      from freehold.registrations y
      where y.expires_at < now() - interval '1 day'
      limit 5
      for update skip locked
    );
    if (
      select count(*)
      from freehold.registrations x
      where x.email = wanted ->> 'email' and x.created_at > now() - interval '1 hour'
    ) < 5 then
      insert into freehold.registrations (
        token_hash, email, username, password_hash, given_name, family_name, locale, expires_at
      )
      values (
        presented,
        wanted ->> 'email',
        wanted ->> 'username',
        new_hash,
        wanted ->> 'given_name',
        wanted ->> 'family_name',
        coalesce(wanted ->> 'locale', 'en'),
        now() + interval '24 hours'
      );
      perform access.enqueue_mail('register', null, wanted ->> 'email', '{}', secrets_encrypted, wanted ->> 'locale');
    end if;
  elsif u.is_active and (
    select count(*)
    from freehold.mails m
    where m.user_id = u.id and m.kind = 'register_known' and m.created_at > now() - interval '1 hour'
  ) < 5 then
    perform access.enqueue_mail('register_known', u.id, u.email);
  end if;
  perform access.record('REGISTRATION_REQUESTED', 'create', 'registration', null, null, null, 5);
  return access.has_enqueued_mail();
end $$;
--> statement-breakpoint
-- Spends a token that was mailed to an address. One of a user verifies their address, or replaces it by the one that
-- they asked for; one of a registration creates the user. `done`, `invalid`, or `taken`: by now another user has the
-- address.
create or replace function access.verify_email(
  tenant_id uuid,
  system_key text,
  presented bytea,
  spare_hash bytea,
  spare_encrypted text,
  request jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  k freehold.one_time_tokens;
  r freehold.registrations;
  broken text;
  u freehold.users := access.token_user(presented, 'email', true);
begin
  if u.id is not null then
    perform access.set_audit_actor(u.id, u.username, request);
    update freehold.one_time_tokens x set used_at = now() where x.token_hash = presented returning * into k;
    if u.email <> k.target then
      begin
        update freehold.users x set email = k.target where x.id = u.id;
      exception when unique_violation then
        return 'taken';
      end;
    end if;
    update freehold.users x set email_verified = true where x.id = u.id;
    return 'done';
  end if;
  -- Of several tokens of one address that are shown at once, one goes first.
  perform pg_advisory_xact_lock(hashtext('register:' || x.email))
  from freehold.registrations x
  where x.token_hash = presented;
  update freehold.registrations x set used_at = now()
  where x.token_hash = presented and x.used_at is null and x.expires_at > now()
  returning * into r;
  if r.token_hash is null or not access.may_register(t, r.email) then
    return 'invalid';
  end if;
  loop
    begin
      insert into freehold.users (
        id, username, email, email_verified, given_name, family_name, locale, role, password_changed_at
      )
      values (
        gen_random_uuid(),
        access.free_username(r.username),
        r.email,
        true,
        r.given_name,
        r.family_name,
        r.locale,
        coalesce(t.registration_role, (select x.name from freehold.roles x where x.is_fallback and x.deleted_at is null)),
        r.created_at
      )
      returning * into u;
      exit;
    exception when unique_violation then
      -- A concurrent transaction took the username: the next round finds it taken and makes another.
      get stacked diagnostics broken = constraint_name;
      if broken <> 'users_username' then
        return 'taken';
      end if;
    end;
  end loop;
  if exists (
    select
    from freehold.registrations x
    where x.email = r.email and x.password_hash <> r.password_hash and x.used_at is null and x.expires_at > now()
  ) then
    perform access.send_token(u, 'reset', u.email, spare_hash, 1, 'password_reset', spare_encrypted);
  else
    insert into freehold.passwords (id, user_id, password_hash, created_at)
    values (gen_random_uuid(), u.id, r.password_hash, r.created_at);
  end if;
  update freehold.registrations x set used_at = now() where x.email = r.email and x.used_at is null;
  perform access.set_audit_actor(u.id, u.username, request);
  perform access.record(
    'USER_REGISTERED', 'create', 'user', u.id::text, null, jsonb_build_object('email', u.email, 'role', u.role)
  );
  return 'done';
end $$;
--> statement-breakpoint
-- Mails another verification, to a user whose address is not verified, or for the newest registration that waits.
-- Returns whether there is a mail to deliver, which no caller outside is told.
create or replace function access.resend_verification(
  tenant_id uuid,
  system_key text,
  address text,
  token_hash bytea,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  r freehold.registrations;
begin
  perform access.set_audit_actor(null, null, request);
  select * into u from freehold.users x where x.email = address and x.is_active for no key update;
  if u.id is not null then
    if not u.email_verified then
      perform access.send_token(u, 'email', u.email, token_hash, 24, 'email_verify', secrets_encrypted);
    end if;
    return access.has_enqueued_mail();
  end if;
  perform pg_advisory_xact_lock(hashtext('register:' || address));
  select * into r
  from freehold.registrations x
  where x.email = address and x.used_at is null and x.expires_at > now()
  order by x.created_at desc
  limit 1;
  if r.token_hash is not null and access.may_register(t, r.email) and (
    select count(*)
    from freehold.registrations x
    where x.email = address and x.created_at > now() - interval '1 hour'
  ) < 5 then
    insert into freehold.registrations (
      token_hash, email, username, password_hash, given_name, family_name, locale, expires_at
    )
    values (
      resend_verification.token_hash,
      r.email,
      r.username,
      r.password_hash,
      r.given_name,
      r.family_name,
      r.locale,
      now() + interval '24 hours'
    );
    perform access.enqueue_mail('register', null, r.email, '{}', secrets_encrypted, r.locale);
  end if;
  return access.has_enqueued_mail();
end $$;
--> statement-breakpoint
-- Whether an address may register now.
create or replace function access.may_register(t freehold.tenant, address text) returns boolean
language sql immutable
return t.registration
  and (t.registration_domains = '{}' or regexp_replace(address, '^.*@', '') = any (t.registration_domains));
--> statement-breakpoint
-- A username that nobody has: the wanted one, with a random suffix when that is taken.
create or replace function access.free_username(wished text) returns text
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select case
    when not exists (select from freehold.users u where u.username = wished) then wished
    else left(wished, 58) || '-' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 5)
  end
$$;
--> statement-breakpoint
-- The active user of a valid token, or null. With `is_held` their row and their lockouts are locked, so that of
-- several requests with this token, or with others of the same user, one goes first.
create or replace function access.token_user(presented bytea, token_kind text, is_held boolean) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  if is_held then
    perform access.lock_login(k.user_id)
    from freehold.one_time_tokens k
    where k.token_hash = presented and k.kind = token_kind and k.used_at is null;
  end if;
  select x.* into u
  from freehold.users x
  join freehold.one_time_tokens k on k.user_id = x.id
  where k.token_hash = presented
    and k.kind = token_kind
    and k.used_at is null
    and k.expires_at > now()
    and x.is_active;
  return u;
end $$;
--> statement-breakpoint
-- Makes a token for a user whose row is locked, and enqueues the mail with it. False: too many were asked for.
create or replace function access.send_token(
  u freehold.users,
  token_kind text,
  target text,
  token_hash bytea,
  hours integer,
  mail text,
  secrets_encrypted text
) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if access.too_many_requests(u.id, token_kind) then
    return false;
  end if;
  insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at)
  values (token_hash, token_kind, u.id, target, now() + make_interval(hours => hours));
  perform access.enqueue_mail(mail, u.id, target, '{}', secrets_encrypted);
  return true;
end $$;
--> statement-breakpoint
-- Whether a user was sent five tokens of a kind within the hour: strangers can ask for them.
create or replace function access.too_many_requests(subject uuid, token_kind text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select count(*) >= 5
  from freehold.one_time_tokens x
  where x.user_id = subject and x.kind = token_kind and x.created_at > now() - interval '1 hour'
$$;
--> statement-breakpoint
-- Locks a user before a change of how they log in, against other such changes and against logins. In the order of a
-- login, the lockouts before the user: two transactions that took them in different orders would wait for each other.
create or replace function access.lock_login(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  insert into freehold.lockouts as x (key) values ('change:' || subject), ('login:' || subject)
  on conflict (key) do update set key = x.key;
  perform from freehold.users x where x.id = subject for no key update;
end $$;
--> statement-breakpoint
-- Clears the lockouts of a user: that of logins and that of password changes.
create or replace function access.clear_failures(subject uuid) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  update freehold.lockouts x
  set failures = 0, failed_at = null, locked_until = null
  where x.key in ('login:' || subject, 'change:' || subject)
$$;
--> statement-breakpoint
-- Nobody assigns to themselves, nor what they do not hold; below scope `all` only manageable roles are given and
-- taken; a role has room for max_users.
create or replace function access.before_user_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  r freehold.roles;
  -- Whether this change gives something: an assignment that begins, or lasts longer.
  gives boolean := tg_op = 'INSERT'
    or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at));
  holders integer;
  far record;
begin
  if tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- It was to begin later and never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  -- Locked, so that one transaction gets the last place, and no role is deleted while it is given.
  select * into r from freehold.roles x where x.id = new.role_id for no key update;
  if me is not null then
    -- role:update is asked for whatever the permission of the request is, as when a user is created with a role. A
    -- user who is being created may be given the fallback role, which everybody gets.
    select x.scope, x.units into far from access.effective_scope(me, 'role:update') x;
    if far.scope = 'all' or (tg_op = 'INSERT' and r.is_fallback and access.permission() = 'user:create') then
      null;
    elsif far.scope is null
      or not exists (select from freehold.users u where u.id = new.user_id and u.unit_id = any (far.units)) then
      perform access.refuse('forbidden', 'Assigning and removing roles needs role:update.');
    elsif r.id is not null and not (r.is_manageable or r.is_fallback) then
      perform access.refuse('forbidden', format('The role %s cannot be managed within a team.', r.name));
    end if;
  end if;
  if not gives then
    return new;
  end if;
  if r.id is null or r.deleted_at is not null then
    perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
  elsif me = new.user_id then
    perform access.refuse('forbidden', 'You cannot assign a role to yourself.');
  elsif tg_op = 'INSERT'
    and exists (
      select
      from freehold.user_roles ur
      where ur.user_id = new.user_id
        and ur.role_id = r.id
        and ur.ends_at is null
    ) then
    perform access.refuse('already_exists', format('The user already has the role %s without an end.', r.name));
  end if;
  perform access.must_hold_role(r.id);
  if r.max_users is not null then
    select count(distinct ur.user_id)
    into holders
    from freehold.user_roles ur
    where ur.role_id = r.id
      and ur.user_id <> new.user_id
      and (ur.ends_at is null or ur.ends_at > now());
    if holders >= r.max_users then
      perform access.refuse('limit_reached', format('The role %s can be held by at most %s users.', r.name, r.max_users));
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The first role that a user holds becomes their primary one. When an assignment ends, somebody must still hold the
-- administrator's role, and the primary role must be one that the user holds.
create or replace function access.after_user_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r freehold.roles;
begin
  if tg_op = 'INSERT' then
    if new.starts_at <= now() then
      update freehold.users u
      set role = access.primary_role(u.id)
      where u.id = new.user_id
        and u.role is null;
    end if;
    return null;
  elsif new.ends_at is null or new.ends_at is not distinct from old.ends_at then
    return null;
  end if;
  select * into r from freehold.roles x where x.id = new.role_id;
  if r.is_admin then
    perform access.keep_admin();
  end if;
  if new.ends_at <= now() then
    update freehold.users u
    set role = access.primary_role(u.id)
    where u.id = new.user_id
      and u.role = r.name
      and not exists (
        select
        from freehold.user_roles ur
        where ur.user_id = u.id
          and ur.role_id = r.id
          and access.in_force(ur.starts_at, ur.ends_at, now())
      );
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Nobody overrides their own permissions, nor gives what they do not hold.
create or replace function access.before_override() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  -- Whether this change gives something to the user: a grant that begins or lasts longer, or a denial that ends
  -- sooner.
  gives boolean := case
    when new.effect = 'grant' then
      tg_op = 'INSERT'
      or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at))
    else
      tg_op = 'UPDATE'
      and new.ends_at is not null
      and (old.ends_at is null or new.ends_at < old.ends_at)
  end;
begin
  if access.principal() = new.user_id then
    perform access.refuse('forbidden', 'You cannot override your own permissions.');
  -- `for share`, because deleting the permission is an update of its row.
  elsif tg_op = 'INSERT'
    and not exists (
      select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
    ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permission');
  elsif tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- It was to begin later and never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  if gives then
    -- A denial hides at which scope the user would hold the permission without it, so that only somebody who holds it
    -- at scope `all` lifts one.
    perform access.must_hold(
      array[new.permission],
      array[case when new.effect = 'grant' then new.scope else 'all' end]::access.scope[]);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- A denial must not leave the tenant without anybody who can repair it.
create or replace function access.after_override() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.effect = 'deny' then
    perform access.keep_admin();
  end if;
  return null;
end $$;
--> statement-breakpoint
-- A permission is deleted with permission:delete, when it does not belong to the system and nobody is given it now or
-- later.
create or replace function access.before_permission() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  used text[];
begin
  if new.deleted_at is null or old.deleted_at is not null then
    return new;
  elsif access.principal() is not null and access.permission() is distinct from 'permission:delete' then
    perform access.refuse('forbidden', 'Deleting a permission needs permission:delete.');
  elsif old.is_system then
    perform access.refuse('in_use', format('The permission %s belongs to the system.', old.name));
  end if;
  select array_remove(array[
    (select format('the roles %s', string_agg(r.name, ', ' order by r.name))
      from freehold.role_permissions rp
        join freehold.roles r on r.id = rp.role_id
      where rp.permission = old.name
        and r.deleted_at is null
        and (rp.ends_at is null or rp.ends_at > now())
      having count(*) > 0),
    (select format('overrides of %s', string_agg(distinct u.username, ', '))
      from freehold.overrides o
        join freehold.users u on u.id = o.user_id
      where o.permission = old.name
        and (o.ends_at is null or o.ends_at > now())
      having count(*) > 0),
    (select format('delegations of %s', string_agg(distinct u.username, ', '))
      from freehold.delegation_permissions p
        join freehold.delegations d on d.id = p.delegation_id
        join freehold.users u on u.id = d.delegator_id
      where p.permission = old.name
        and d.ends_at > now()
        and d.revoked_at is null
        and d.decision is distinct from 'rejected'
      having count(*) > 0)
  ], null)
  into used;
  if cardinality(used) > 0 then
    perform access.refuse('in_use', format('The permission %s is in use: %s.', old.name, array_to_string(used, '; ')));
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The caller must hold what they grant to a role. Each row is checked before it is written, so that no grant gives
-- the caller what they must hold to make it; and as they held it a microsecond ago, before this transaction.
create or replace function access.before_role_permission() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  held access.scope;
begin
  if tg_op = 'UPDATE' then
    if me is not null and exists (select from freehold.roles r where r.id = new.role_id and r.is_admin) then
      perform access.refuse('illegal_state',
        'The administrator role carries every permission: none can be removed from it.');
    end if;
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    return new;
  -- `for share`, because deleting the permission is an update of its row.
  elsif not exists (
    select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
  ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permissions');
  end if;
  if me is not null then
    held := access.own_scope(me, new.permission, now() - interval '1 microsecond');
    if held is null or held < new.scope::access.scope then
      perform access.refuse('forbidden',
        format('You do not hold %s at scope %s, so you cannot grant it.', new.permission, new.scope));
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The rules of one role: what belongs to the system stays, parents exist and make no circle, a role that is in use is
-- not deleted, and max_users is not below the number of holders.
create or replace function access.before_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  used text[];
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and old.deleted_at is not null then
    perform access.refuse('not_found', 'There is no such role.');
  elsif tg_op = 'UPDATE' and old.is_system and new.parent_id is distinct from old.parent_id then
    perform access.refuse('in_use', format('The role %s belongs to the system and keeps its parent.', old.name));
  end if;
  if new.deleted_at is not null
    or (new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id)) then
    -- One at a time: two halves of a circle are each allowed by themselves, and so are a parent that goes and a child
    -- that comes.
    perform pg_advisory_xact_lock(hashtext('freehold.roles.parent_id'));
  end if;
  if new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id) then
    if not exists (select from freehold.roles x where x.id = new.parent_id and x.deleted_at is null) then
      perform access.refuse('invalid_request', 'is not a role of this tenant', 'parent_id');
    elsif exists (
      with recursive up (id, parent_id) as (
        select x.id, x.parent_id
        from freehold.roles x
        where x.id = new.parent_id
        union
        select x.id, x.parent_id
        from up
          join freehold.roles x on x.id = up.parent_id
      )
      select from up where up.id = new.id
    ) then
      perform access.refuse('invalid_request', 'would make a role inherit from itself', 'parent_id');
    end if;
  end if;
  if tg_op = 'UPDATE' and new.deleted_at is not null and old.deleted_at is null then
    if access.principal() is not null and access.permission() is distinct from 'role:delete' then
      perform access.refuse('forbidden', 'Deleting a role needs role:delete.');
    elsif old.is_system then
      perform access.refuse('in_use', format('The role %s belongs to the system.', old.name));
    end if;
    select array_remove(array[
      (select format('assigned to %s', string_agg(x.username, ', '))
        from (
          select u.username
          from freehold.user_roles ur
            join freehold.users u on u.id = ur.user_id
          where ur.role_id = old.id
            and (ur.ends_at is null or ur.ends_at > now())
          order by 1
          limit 5
        ) x
        having count(*) > 0),
      (select format('inherited by %s', string_agg(x.name, ', ' order by x.name))
        from freehold.roles x
        where x.parent_id = old.id
          and x.deleted_at is null
        having count(*) > 0),
      (select format('delegated by %s', string_agg(distinct u.username, ', '))
        from freehold.delegations d
          join freehold.users u on u.id = d.delegator_id
        where d.role_id = old.id
          and d.ends_at > now()
          and d.revoked_at is null
          and d.decision is distinct from 'rejected'
        having count(*) > 0)
    ], null)
    into used;
    if cardinality(used) > 0 then
      perform access.refuse('in_use', format('The role %s is %s.', old.name, array_to_string(used, '; ')));
    end if;
    new.is_active := false;
  end if;
  if tg_op = 'UPDATE'
    and new.max_users is distinct from old.max_users
    and new.max_users < (
      select count(distinct ur.user_id)
      from freehold.user_roles ur
      where ur.role_id = old.id
        and (ur.ends_at is null or ur.ends_at > now())
    ) then
    perform access.refuse('limit_reached', format('More than %s users hold the role %s.', new.max_users, old.name));
  end if;
  if tg_op = 'UPDATE' and old.is_system and new.name <> old.name then
    perform access.refuse('in_use', format('The role %s belongs to the system and keeps its name.', old.name));
  end if;
  return new;
end $$;
--> statement-breakpoint
-- To activate a role, or to give it a parent, is to hand out what it then carries. That is checked before the ranges
-- are kept: a caller who holds the role must not be judged by what it is about to give them.
create or replace function access.after_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' and new.is_active and not old.is_active then
    perform access.must_hold_role(new.id);
  elsif new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id) then
    perform access.must_hold_role(new.parent_id);
  end if;
  if tg_op = 'INSERT' or (new.is_active, new.parent_id) is distinct from (old.is_active, old.parent_id) then
    update freehold.role_periods p
    set ends_at = greatest(now(), p.starts_at)
    where p.role_id = new.id
      and p.ends_at is null;
    if new.is_active then
      insert into freehold.role_periods (id, role_id, parent_id, starts_at)
      values (gen_random_uuid(), new.id, new.parent_id, now());
    elsif new.is_admin then
      perform access.keep_admin();
    end if;
  end if;
  if tg_op = 'UPDATE' and (new.name <> old.name or new.deleted_at is not null) then
    -- A user whose assignment has run out does not get the role again under its new name.
    update freehold.users u
    set role = case
      when exists (
        select
        from freehold.user_roles ur
        where ur.user_id = u.id
          and ur.role_id = new.id
          and access.in_force(ur.starts_at, ur.ends_at, now())
      ) then new.name
      else access.primary_role(u.id)
    end
    where u.role = old.name;
  end if;
  return null;
end $$;
--> statement-breakpoint
-- The primary role of a user for whom nobody chose one: of those that they hold, the first that they were given.
create or replace function access.primary_role(subject uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.name
  from freehold.user_roles ur
    join freehold.roles r on r.id = ur.role_id
  where ur.user_id = subject
    and access.in_force(ur.starts_at, ur.ends_at, now())
  order by ur.starts_at, r.name
  limit 1
$$;
--> statement-breakpoint
-- Some active user must hold the administrator's role, for good, and be denied nothing: what they lack, they could
-- hand to nobody. The lock on the role makes transactions that take it away wait for each other.
create or replace function access.keep_admin() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  r freehold.roles;
begin
  select * into r from freehold.roles x where x.is_admin for no key update;
  if r.id is not null
    and not (
      r.is_active
      and exists (
        select
        from freehold.user_roles ur
          join freehold.users u on u.id = ur.user_id
        where ur.role_id = r.id
          and u.is_active
          and ur.starts_at <= now()
          and ur.ends_at is null
          and not exists (
            select
            from freehold.overrides o
            where o.user_id = u.id
              and o.effect = 'deny'
              and (o.ends_at is null or o.ends_at > now())
          )
      )
    ) then
    perform access.refuse('illegal_state',
      format('Somebody must hold the role %s: assign it to another user first.', r.name));
  end if;
end $$;
--> statement-breakpoint
-- The logins of one user, also those that failed, newest first: of oneself, or with session:read of a user within
-- reach.
create or replace function access.login_history(
  subject uuid,
  at_most integer,
  before_at timestamptz default null,
  before_id uuid default null
) returns table (id uuid, activity_type text, at timestamptz, address text, agent text, reason text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select l.id, l.activity_type, l.at, d.address, d.agent, coalesce(d.after ->> 'reason', d.after ->> 'ended_because')
  from freehold.audit_log l
  left join freehold.audit_detail d on d.log_id = l.id
  where l.user_id = subject
    and l.activity_type in ('LOGIN', 'LOGIN_FAILED', 'LOGOUT', 'SUSPICIOUS_ACTIVITY')
    and (subject = access.principal() or (access.permission() = 'session:read' and access.can_access_user(subject)))
    and (before_at is null or (l.at, l.id) < (before_at, before_id))
  order by l.at desc, l.id desc
  limit at_most
$$;
--> statement-breakpoint
-- The role that strangers get, the fallback too, is handed out by the user who names it, opens registration, or opens
-- it to others than before.
create or replace function access.before_tenant() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  given uuid;
begin
  new.updated_at := now();
  if access.permission() = 'setting:update'
    and (
      (
        new.registration
        and (new.registration, new.registration_role, new.registration_domains)
          is distinct from (old.registration, old.registration_role, old.registration_domains)
      )
      or (new.registration_role is not null and new.registration_role is distinct from old.registration_role)
    ) then
    -- Locked, so that the role is not deleted meanwhile.
    select r.id
    into given
    from freehold.roles r
    where r.deleted_at is null
      and case when new.registration_role is null then r.is_fallback else r.name = new.registration_role end
    for share;
    if given is null and new.registration_role is not null then
      perform access.refuse('invalid_request',
        format('%s is not a role of this tenant', new.registration_role), 'registration_role');
    end if;
    perform access.must_hold_role(given);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The role of registration stays the one that was named: a user who may rename roles must not hand another one to
-- strangers by giving it that name. A trigger of freehold.roles.
create or replace function access.keep_registration_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.deleted_at is not null
    and exists (select from freehold.tenant t where t.registration_role = old.name) then
    perform access.refuse('in_use',
      format('The role %s is given to users who register: choose another in the settings first.', old.name));
  end if;
  update freehold.tenant t
  set registration_role = new.name
  where t.registration_role = old.name
    and new.name <> old.name;
  return null;
end $$;
--> statement-breakpoint
-- A department stands under departments, a team under either, and nothing under itself. Callers below scope `all`
-- move nothing out of their reach, and make no department a team: the users in it would then reach all of the
-- department above.
create or replace function access.before_unit() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  is_limited boolean := access.principal() is not null and access.scope() <> 'all';
  is_turned boolean := tg_op = 'UPDATE' and new.kind <> old.kind;
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and (new.kind, new.parent_id) is not distinct from (old.kind, old.parent_id) then
    return new;
  end if;
  -- Nobody moves or turns a unit that holds their own, or moves another into their department, when a permission of
  -- theirs is measured from there.
  if tg_op = 'UPDATE'
    and access.principal() is not null
    and not is_limited
    and access.depends_on_unit(access.principal())
    and (
      (select p.unit_id from freehold.users p where p.id = access.principal()) in (select access.units_under(new.id))
      or (
        new.parent_id in (select access.units_in_scope(access.principal(), 'department'))
        and new.id not in (select access.units_in_scope(access.principal(), 'department'))
      )
    ) then
    perform access.refuse('forbidden', 'You cannot do this: the scope of your permissions depends on it.');
  elsif is_limited and (is_turned or (tg_op = 'UPDATE' and new.parent_id is null)) then
    perform access.refuse('forbidden', 'This needs access to all units.');
  elsif is_limited and new.parent_id <> all (access.scope_unit_ids()) and new.parent_id is not null then
    perform access.refuse('invalid_request', 'is not a unit that you can access', 'parent_id');
  elsif is_turned
    and new.kind = 'team'
    and exists (select from freehold.units u where u.parent_id = new.id and u.kind = 'department') then
    perform access.refuse('invalid_request', 'contains departments, which can only be under departments', 'kind');
  elsif new.kind = 'department'
    and exists (select from freehold.units u where u.id = new.parent_id and u.kind = 'team') then
    perform access.refuse('invalid_request', 'would put a department under a team',
      case when is_turned then 'kind' else 'parent_id' end);
  elsif exists (
    with recursive up (id, parent_id) as (
      select u.id, u.parent_id
      from freehold.units u
      where u.id = new.parent_id
      union
      select u.id, u.parent_id
      from up
        join freehold.units u on u.id = up.parent_id
    )
    select from up where up.id = new.id
  ) then
    perform access.refuse('invalid_request', 'would put a unit under itself', 'parent_id');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Creates the users of some lines, in their order, each of them or not at all. Returns what access.import_user says
-- of each line. A dry run does the same, and then undoes all of it.
create or replace function access.import_users(lines jsonb, dry_run boolean) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  line jsonb;
  results jsonb[] := '{}';
begin
  if access.permission() is distinct from 'user:create' then
    perform access.refuse('forbidden', 'Importing users needs user:create.');
  end if;
  -- One import after another: two that name the same users in different orders would wait for each other.
  perform pg_advisory_xact_lock(hashtext('access.import_users'));
  begin
    for line in
      select e.value
      from jsonb_array_elements(lines) with ordinality e (value, place)
      order by e.place
    loop
      results := results || access.import_user(line);
    end loop;
    if dry_run then
      raise exception using errcode = 'FH001', message = 'undone';
    end if;
  exception when sqlstate 'FH001' then
    null;
  end;
  return to_jsonb(results);
end $$;
--> statement-breakpoint
-- Creates one user of a file, whose fields the Worker has checked. Returns {id, username}, or {code, errors} when a
-- rule forbids it, and then nothing of the user is left. An error of the database that is not the line's fault is
-- raised.
create or replace function access.import_user(l jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
  named text;
  given uuid;
  -- The field that a refusal is about when it names none.
  about text := 'role';
  state text;
  said text;
  explained text;
  field text;
  broken text;
begin
  -- Row level security does not apply here, because import_users runs as the owner.
  if access.scope() <> 'all' and not coalesce((l ->> 'unit_id')::uuid = any (access.scope_unit_ids()), false) then
    perform access.refuse('forbidden', 'You can only create users in units that are within your scope.', 'unit_id');
  end if;
  insert into freehold.users (id, email, username, email_verified, is_active, must_change_password, role,
    given_name, family_name, phone, unit_id, manager_id, designation, description,
    locale, timezone, preferences, joined_at, max_sessions)
  values (
    made,
    l ->> 'email',
    l ->> 'username',
    coalesce((l ->> 'email_verified')::boolean, false),
    coalesce((l ->> 'is_active')::boolean, true),
    coalesce((l ->> 'must_change_password')::boolean, false),
    coalesce(l ->> 'role', (select r.name from freehold.roles r where r.is_fallback)),
    l ->> 'given_name',
    l ->> 'family_name',
    l ->> 'phone',
    (l ->> 'unit_id')::uuid,
    (l ->> 'manager_id')::uuid,
    l ->> 'designation',
    l ->> 'description',
    coalesce(l ->> 'locale', 'en'),
    coalesce(l ->> 'timezone', 'UTC'),
    coalesce(nullif(l -> 'preferences', 'null'), '{}'),
    (l ->> 'joined_at')::timestamptz,
    (l ->> 'max_sessions')::integer
  );
  -- A user without a hash has no password, and logs in after a reset.
  if l ->> 'password_hash' is not null then
    insert into freehold.passwords (id, user_id, password_hash)
    values (gen_random_uuid(), made, l ->> 'password_hash');
  end if;
  about := 'roles';
  for named in
    select distinct x.name
    from jsonb_array_elements_text(coalesce(nullif(l -> 'roles', 'null'), '[]')) x (name)
    order by x.name
  loop
    select r.id into given from freehold.roles r where r.name = named and r.deleted_at is null;
    if given is null then
      perform access.refuse('invalid_request', format('%s is not a role of this tenant', named), 'roles');
    elsif not exists (select from freehold.user_roles ur where ur.user_id = made and ur.role_id = given) then
      insert into freehold.user_roles (id, user_id, role_id)
      values (gen_random_uuid(), made, given);
    end if;
  end loop;
  return jsonb_build_object('id', made, 'username', l -> 'username');
exception when others then
  get stacked diagnostics
    state = returned_sqlstate,
    said = message_text,
    explained = pg_exception_detail,
    field = pg_exception_hint,
    broken = constraint_name;
  if state in ('FH400', 'FH403', 'FH404', 'FH409') then
    field := coalesce(nullif(field, ''), case said when 'forbidden' then about end);
    -- Of a line that names no primary role, the first of its roles is the primary one.
    if field = 'role' and l -> 'roles' ? (l ->> 'role') then
      field := 'roles';
    end if;
  elsif broken in ('users_email', 'users_username') then
    -- The constraint names one field that is taken. Both are reported when both are.
    return jsonb_build_object('code', 'already_exists', 'errors', (
      select jsonb_agg(jsonb_build_object('pointer', '#/' || f.name, 'detail', 'is taken') order by f.name)
      from (values ('email'), ('username')) f (name)
      where f.name = substr(broken, 7)
        or (f.name = 'email' and exists (select from freehold.users u where u.email = l ->> 'email'))
        or (f.name = 'username' and exists (select from freehold.users u where u.username = l ->> 'username'))
    ));
  elsif broken = 'users_unit_id_units_id_fk' then
    select 'invalid_request', 'is not a unit that you can access', 'unit_id'
    into said, explained, field;
  elsif broken = 'users_manager_id_users_id_fk' then
    select 'invalid_request', 'is not a user whom you can access', 'manager_id'
    into said, explained, field;
  elsif state ~ '^2[23]' then
    select 'invalid_request', 'holds a value that cannot be kept', null
    into said, explained, field;
  elsif state in ('40001', '40P01') then
    select 'illegal_state', 'met another change at the same moment; send this line again', null
    into said, explained, field;
  else
    raise;
  end if;
  return jsonb_build_object('code', said, 'errors', jsonb_build_array(
    jsonb_build_object('pointer', '#' || coalesce('/' || field, ''), 'detail', explained)));
end $$;
--> statement-breakpoint
-- Records that users were imported, and how many.
create or replace function access.record_import(counts jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:create' then
    perform access.refuse('forbidden', 'Importing users needs user:create.');
  end if;
  perform access.record('USERS_IMPORTED', 'import', 'user', null, null, counts);
end $$;
--> statement-breakpoint
-- The first password of a user that this transaction created: only then, and only once.
create or replace function access.first_password(subject uuid, password_hash text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:create'
    or not exists (select from freehold.users u where u.id = subject and u.created_at = now())
    or exists (select from freehold.passwords p where p.user_id = subject) then
    perform access.refuse('forbidden', 'A first password can only be set while the user is created.');
  end if;
  insert into freehold.passwords (id, user_id, password_hash)
  values (gen_random_uuid(), subject, first_password.password_hash);
end $$;
--> statement-breakpoint
-- Locks a user before anything else of theirs is locked, and before several of their rows are: transactions that lock
-- in different orders would wait for each other.
create or replace function access.lock_user(subject uuid) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select
  from freehold.users x
  where x.id = subject
    and access.principal() is not null
  for no key update
$$;
--> statement-breakpoint
-- A caller who can change how a user logs in can soon log in as them, and is then not limited by an API key any more.
create or replace function access.before_login_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (new.email, new.username) is distinct from (old.email, old.username)
    and access.key() is not null
    and access.principal() = new.id then
    perform access.refuse('forbidden', 'How you log in can be changed with a session only, not with an API key.');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Users change their own address through an endpoint that asks for the password, whatever their scope: an attacker at
-- an open session does not know it.
create or replace function access.before_own_email() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() = new.id then
    perform access.refuse('forbidden', 'Change your own address with auth/email-change.');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Applies the rules of one user: what the caller may change, how a login is protected, the size of preferences, a
-- role that exists, managers without a circle. An address or number that changes is no longer verified.
create or replace function access.before_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.updated_at := now();
  if access.permission() in ('user:create', 'user:update', 'user:delete') then
    if tg_op = 'UPDATE' then
      perform access.check_user_change(old, new);
    else
      perform access.check_user_change(null, new);
    end if;
  end if;
  if octet_length(new.preferences::text) > 8192 then
    perform access.refuse('invalid_request', 'must be at most 8 KiB', 'preferences');
  end if;
  -- A caller who can change how a user logs in can soon log in as them.
  if tg_op = 'UPDATE'
    and (new.email, new.username) is distinct from (old.email, old.username)
    and access.principal() <> new.id
    and access.holds_more(new.id, access.principal()) then
    perform access.refuse('forbidden', 'This user holds more permissions than you: you cannot change how they log in.');
  end if;
  if tg_op = 'UPDATE' then
    new.email_verified := new.email_verified and new.email = old.email;
    new.phone_verified := new.phone_verified and new.phone is not distinct from old.phone;
  end if;
  if new.role is not null
    and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (select from freehold.roles r where r.name = new.role and r.deleted_at is null) then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.role), 'role');
  end if;
  -- A new user manages nobody yet, so that only an update can close a circle.
  if tg_op = 'UPDATE' and new.manager_id is not null and new.manager_id is distinct from old.manager_id then
    if exists (
      with recursive up (id, manager_id) as (
        select u.id, u.manager_id
        from freehold.users u
        where u.id = new.manager_id
        union
        select u.id, u.manager_id
        from up
          join freehold.users u on u.id = up.manager_id
      )
      select from up where up.id = new.id
    ) then
      perform access.refuse('invalid_request', 'would make a user their own manager', 'manager_id');
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Refuses a change beyond the permission and scope of this transaction: of other columns, to another unit, or under
-- another manager. `was` is null for a new user.
create or replace function access.check_user_change(was freehold.users, is_now freehold.users) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  -- The columns that users may change of themselves, or of a delegator for whom they act, below scope `all`. Above
  -- all not the unit, from which the scopes team and department are measured.
  own text[] := '{given_name,family_name,phone,locale,timezone,preferences,description}';
  -- Columns that the database keeps itself.
  kept text[] := '{name,updated_at,email_verified,phone_verified}';
  changed text[];
begin
  if was.id is not null then
    if access.principal() = is_now.id and not is_now.is_active and was.is_active then
      perform access.refuse('illegal_state', 'You cannot deactivate yourself.');
    end if;
    select array_agg(n.key)
    into changed
    from jsonb_each(to_jsonb(is_now)) n
      join jsonb_each(to_jsonb(was)) o on o.key = n.key
    where n.value <> o.value
      and n.key <> all (kept);
    if access.permission() = 'user:delete' and (is_now.is_active or not changed <@ '{is_active}') then
      perform access.refuse('forbidden', 'user:delete deactivates a user and changes nothing else.');
    elsif access.scope() <> 'all'
      and (is_now.id = any (access.scope_owner_ids()) or is_now.id = access.principal())
      and not changed <@ own then
      perform access.refuse('forbidden', format('Another user must change %s here.',
        (select string_agg(c, ', ' order by c) from unnest(changed) c where c <> all (own))));
    end if;
  end if;
  if was.id = access.principal()
    and is_now.unit_id is distinct from was.unit_id
    and access.depends_on_unit(was.id) then
    perform access.refuse('forbidden', 'You cannot change your own unit: the scope of your permissions depends on it.');
  elsif access.scope() = 'all' then
    return;
  -- One source of the permission must reach both the old and the new unit: two delegations that each reach one of
  -- them do not add up.
  elsif is_now.unit_id is distinct from was.unit_id
    and is_now.unit_id is not null
    and not exists (
      select
      from access.grant_sources(access.principal(), access.permission(), now()) s
      where is_now.unit_id in (select access.units_in_scope(s.holder, s.scope))
        and (was.id is null or was.unit_id in (select access.units_in_scope(s.holder, s.scope)))
    ) then
    perform access.refuse('invalid_request', 'is not a unit that you can access', 'unit_id');
  elsif is_now.manager_id is distinct from was.manager_id
    and not exists (
      select
      from freehold.users u
      where u.id = is_now.manager_id
        and (u.id = any (access.scope_owner_ids()) or u.unit_id = any (access.scope_unit_ids()))
    )
    and is_now.manager_id is not null then
    perform access.refuse('invalid_request', 'is not a user whom you can access', 'manager_id');
  end if;
end $$;
--> statement-breakpoint
-- Keeps the periods in which a user was active, ends the sessions of a user who is deactivated, and keeps the primary
-- role assigned: a new primary role replaces the one before it.
create or replace function access.after_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' or new.is_active <> old.is_active then
    if new.is_active then
      insert into freehold.user_periods (id, user_id, starts_at)
      values (gen_random_uuid(), new.id, now());
    else
      update freehold.user_periods p
      set ends_at = greatest(now(), p.starts_at)
      where p.user_id = new.id
        and p.ends_at is null;
      update freehold.sessions s
      set ended_at = now(), ended_because = 'deactivated'
      where s.user_id = new.id
        and s.ended_at is null;
      perform access.keep_admin();
    end if;
  end if;
  if new.role is not null
    and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (
      select
      from freehold.user_roles ur
        join freehold.roles r on r.id = ur.role_id
      where ur.user_id = new.id
        and r.name = new.role
        and r.deleted_at is null
        and access.in_force(ur.starts_at, ur.ends_at, now())
    ) then
    -- An assignment that was to begin later begins now instead.
    update freehold.user_roles ur
    set ends_at = ur.starts_at
    from freehold.roles r
    where ur.user_id = new.id
      and r.id = ur.role_id
      and r.name = new.role
      and r.deleted_at is null
      and ur.starts_at > now()
      and (ur.ends_at is null or ur.ends_at > now());
    insert into freehold.user_roles (id, user_id, role_id)
    select gen_random_uuid(), new.id, r.id
    from freehold.roles r
    where r.name = new.role
      and r.deleted_at is null;
    if tg_op = 'UPDATE' then
      update freehold.user_roles ur
      set ends_at = greatest(now(), ur.starts_at)
      from freehold.roles r
      where ur.user_id = new.id
        and r.id = ur.role_id
        and r.name = old.role
        and (ur.ends_at is null or ur.ends_at > now());
    end if;
  end if;
  return null;
end $$;
--> statement-breakpoint
create trigger after_api_key after update of revoked_at on freehold.api_keys
  for each row when (old.revoked_at is null and new.revoked_at is not null) execute function access.after_api_key();
--> statement-breakpoint
-- Not of use_count and last_used_at, which are the system's.
create trigger before_api_key
  before insert or update of name, permissions, addresses, expires_at, revoked_at on freehold.api_keys
  for each row execute function access.before_api_key();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.api_keys REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('api_key', '{key_hash}', '{last_used_at,use_count,revoked_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.api_keys REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('api_key', '{key_hash}', '{last_used_at,use_count,revoked_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.api_keys REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('api_key', '{key_hash}', '{last_used_at,use_count,revoked_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.passwords REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('password', '{password_hash}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.passwords REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('password', '{password_hash}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.passwords REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('password', '{password_hash}', '{updated_at}', '{id}');
--> statement-breakpoint
create trigger after_user_role after insert or update on freehold.user_roles
  for each row execute function access.after_user_role();
--> statement-breakpoint
create trigger before_user_role before insert or update on freehold.user_roles
  for each row execute function access.before_user_role();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.user_roles REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('user_role', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.user_roles REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('user_role', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.user_roles REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('user_role', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
create trigger after_override after insert on freehold.overrides
  for each row execute function access.after_override();
--> statement-breakpoint
create trigger before_override before insert or update on freehold.overrides
  for each row execute function access.before_override();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.overrides REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('override', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.overrides REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('override', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.overrides REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('override', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
create trigger before_permission before update on freehold.permissions
  for each row execute function access.before_permission();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.permissions REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('permission', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.permissions REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('permission', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.permissions REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('permission', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
create trigger before_role_permission before insert or update on freehold.role_permissions
  for each row execute function access.before_role_permission();
--> statement-breakpoint
create trigger before_key_grants before insert on freehold.role_permissions
  for each row execute function access.before_key_grants();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.role_permissions REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('role_permission', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.role_permissions REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('role_permission', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.role_permissions REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('role_permission', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
-- Defined in src/settings/settings.sql.
create trigger keep_registration_role after update of name, deleted_at on freehold.roles
  for each row execute function access.keep_registration_role();
--> statement-breakpoint
create trigger after_role after insert or update on freehold.roles
  for each row execute function access.after_role();
--> statement-breakpoint
create trigger before_role before insert or update on freehold.roles
  for each row execute function access.before_role();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.roles REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('role', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.roles REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('role', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.roles REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('role', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
create trigger keep_all_entries before delete or truncate on freehold.audit_log
  for each statement execute function access.refuse_change();
--> statement-breakpoint
-- The one change of an entry is that a checkpoint covers it, once.
create trigger keep_entries before update on freehold.audit_log
  for each row
  when (
    old.checkpoint is not null
    or new.checkpoint is null
    or to_jsonb(old) - 'checkpoint' is distinct from to_jsonb(new) - 'checkpoint'
  )
  execute function access.refuse_change();
--> statement-breakpoint
create trigger before_tenant before update on freehold.tenant
  for each row execute function access.before_tenant();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.tenant REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.tenant REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.tenant REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('tenant', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
create trigger after_user after insert or update on freehold.users
  for each row execute function access.after_user();
--> statement-breakpoint
create trigger after_email_change after update of email on freehold.users
  for each row when (old.email <> new.email) execute function access.after_email_change();
--> statement-breakpoint
create trigger before_user before insert or update on freehold.users
  for each row execute function access.before_user();
--> statement-breakpoint
create trigger one_at_a_time before update of manager_id on freehold.users
  for each statement execute function access.one_at_a_time();
--> statement-breakpoint
create trigger before_own_email before update of email on freehold.users
  for each row when (old.email <> new.email) execute function access.before_own_email();
--> statement-breakpoint
create trigger before_login_change before update of email, username on freehold.users
  for each row execute function access.before_login_change();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.users REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('user', '{}', '{updated_at,name}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.users REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('user', '{}', '{updated_at,name}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.users REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('user', '{}', '{updated_at,name}', '{id}');
--> statement-breakpoint
create trigger keep_detail after delete on freehold.audit_detail
  referencing old table as gone
  for each statement execute function access.refuse_detail_change();
--> statement-breakpoint
create trigger keep_details before update or truncate on freehold.audit_detail
  for each statement execute function access.refuse_change();
--> statement-breakpoint
create trigger keep_checkpoints before update or delete or truncate on freehold.audit_checkpoints
  for each statement execute function access.refuse_change();
--> statement-breakpoint
create trigger before_key_delegates_role before insert on freehold.delegations
  for each row execute function access.before_key_delegates_role();
--> statement-breakpoint
create trigger before_delegation before insert on freehold.delegations
  for each row execute function access.before_delegation();
--> statement-breakpoint
create trigger before_delegation_change before update on freehold.delegations
  for each row execute function access.before_delegation_change();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.delegations REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('delegation', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.delegations REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('delegation', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.delegations REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('delegation', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
create trigger before_key_grants before insert on freehold.delegation_permissions
  for each row execute function access.before_key_grants();
--> statement-breakpoint
create trigger before_delegation_permission before insert on freehold.delegation_permissions
  for each row execute function access.before_delegation_permission();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.delegation_permissions REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('delegation_permission', '{}', '{}', '{delegation_id,permission}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.delegation_permissions REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('delegation_permission', '{}', '{}', '{delegation_id,permission}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.delegation_permissions REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('delegation_permission', '{}', '{}', '{delegation_id,permission}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.sessions REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('session', '{}', '{last_active_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.sessions REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('session', '{}', '{last_active_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.sessions REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('session', '{}', '{last_active_at}', '{id}');
--> statement-breakpoint
create trigger before_unit before insert or update on freehold.units
  for each row execute function access.before_unit();
--> statement-breakpoint
create trigger one_at_a_time before insert or update of kind, parent_id on freehold.units
  for each statement execute function access.one_at_a_time();
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.units REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('unit', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.units REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('unit', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.units REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('unit', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
create policy read on freehold.user_roles for select
  using ((( SELECT (access.scope() = 'all'::access.scope)) OR (user_id = ANY (( SELECT access.scope_owner_ids() AS scope_owner_ids)::uuid[])) OR (EXISTS ( SELECT
   FROM freehold.users u
  WHERE ((u.id = user_roles.user_id) AND (u.unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[])))))));
--> statement-breakpoint
create policy make on freehold.user_roles for insert
  with check ((( SELECT (access.permission() = ANY ('{role:update}'::text[]))) AND (( SELECT (access.scope() = 'all'::access.scope)) OR (EXISTS ( SELECT
   FROM freehold.users u
  WHERE ((u.id = user_roles.user_id) AND (u.unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[]))))))));
--> statement-breakpoint
create policy change on freehold.user_roles for update
  using ((( SELECT (access.permission() = ANY ('{role:update}'::text[]))) AND (( SELECT (access.scope() = 'all'::access.scope)) OR (EXISTS ( SELECT
   FROM freehold.users u
  WHERE ((u.id = user_roles.user_id) AND (u.unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[]))))))))
  with check ((( SELECT (access.scope() = 'all'::access.scope)) OR (EXISTS ( SELECT
   FROM freehold.users u
  WHERE ((u.id = user_roles.user_id) AND (u.unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[])))))));
--> statement-breakpoint
create policy read on freehold.overrides for select
  using ((( SELECT (access.permission() = ANY ('{user:read,permission:update}'::text[]))) AND (( SELECT (access.scope() = 'all'::access.scope)) OR (user_id = ANY (( SELECT access.scope_owner_ids() AS scope_owner_ids)::uuid[])) OR (EXISTS ( SELECT
   FROM freehold.users u
  WHERE ((u.id = overrides.user_id) AND (u.unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[]))))))));
--> statement-breakpoint
create policy make on freehold.overrides for insert
  with check ((( SELECT (access.permission() = ANY ('{permission:update}'::text[]))) AND (( SELECT (access.scope() = 'all'::access.scope)) OR (EXISTS ( SELECT
   FROM freehold.users u
  WHERE ((u.id = overrides.user_id) AND (u.unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[]))))))));
--> statement-breakpoint
create policy change on freehold.overrides for update
  using ((( SELECT (access.permission() = ANY ('{permission:update}'::text[]))) AND (( SELECT (access.scope() = 'all'::access.scope)) OR (EXISTS ( SELECT
   FROM freehold.users u
  WHERE ((u.id = overrides.user_id) AND (u.unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[]))))))))
  with check ((( SELECT (access.scope() = 'all'::access.scope)) OR (EXISTS ( SELECT
   FROM freehold.users u
  WHERE ((u.id = overrides.user_id) AND (u.unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[])))))));
--> statement-breakpoint
create policy read on freehold.permissions for select
  using ((( SELECT access.principal() AS principal) IS NOT NULL));
--> statement-breakpoint
create policy make on freehold.permissions for insert
  with check ((( SELECT (access.permission() = ANY ('{permission:create}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))));
--> statement-breakpoint
create policy change on freehold.permissions for update
  using ((( SELECT (access.permission() = ANY ('{permission:create,permission:update,permission:delete}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))))
  with check (( SELECT (access.scope() = 'all'::access.scope)));
--> statement-breakpoint
create policy read on freehold.role_permissions for select
  using ((( SELECT access.principal() AS principal) IS NOT NULL));
--> statement-breakpoint
create policy make on freehold.role_permissions for insert
  with check ((( SELECT (access.permission() = ANY ('{role:create,role:update}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))));
--> statement-breakpoint
create policy change on freehold.role_permissions for update
  using ((( SELECT (access.permission() = ANY ('{role:update}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))))
  with check (( SELECT (access.scope() = 'all'::access.scope)));
--> statement-breakpoint
create policy read on freehold.roles for select
  using ((( SELECT access.principal() AS principal) IS NOT NULL));
--> statement-breakpoint
create policy make on freehold.roles for insert
  with check ((( SELECT (access.permission() = ANY ('{role:create}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))));
--> statement-breakpoint
create policy change on freehold.roles for update
  using ((( SELECT (access.permission() = ANY ('{role:update,role:delete}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))))
  with check (( SELECT (access.scope() = 'all'::access.scope)));
--> statement-breakpoint
create policy read on freehold.tenant for select
  using ((( SELECT access.principal() AS principal) IS NOT NULL));
--> statement-breakpoint
create policy change on freehold.tenant for update
  using ((( SELECT (access.permission() = ANY ('{setting:update}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))))
  with check (( SELECT (access.scope() = 'all'::access.scope)));
--> statement-breakpoint
create policy read on freehold.users for select
  using ((( SELECT (access.scope() = 'all'::access.scope)) OR (id = ANY (( SELECT access.scope_owner_ids() AS scope_owner_ids)::uuid[])) OR (unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[]))));
--> statement-breakpoint
create policy change on freehold.users for update
  using ((( SELECT (access.permission() = ANY ('{user:update,user:delete}'::text[]))) AND (( SELECT (access.scope() = 'all'::access.scope)) OR (id = ANY (( SELECT access.scope_owner_ids() AS scope_owner_ids)::uuid[])) OR (unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[])))))
  with check ((( SELECT (access.scope() = 'all'::access.scope)) OR (id = ANY (( SELECT access.scope_owner_ids() AS scope_owner_ids)::uuid[])) OR (unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[]))));
--> statement-breakpoint
-- Not access.protect: users read their own keys with any permission and those of others with a permission for keys,
-- and they write with a session alone.
create policy read on freehold.api_keys for select
  using (
    user_id = (select access.principal())
    or (
      (select access.permission()) in ('api_key:read', 'api_key:delete')
      and (
        (select access.scope()) = 'all'
        or user_id = any ((select access.scope_owner_ids())::uuid[])
        or exists (
          select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
        )
      )
    )
  );
--> statement-breakpoint
create policy make on freehold.api_keys for insert
  with check (
    user_id = (select access.principal())
    and (select access.session()) is not null
  );
--> statement-breakpoint
create policy change on freehold.api_keys for update
  using (
    (select access.session()) is not null
    and (
      user_id = (select access.principal())
      or (
        (select access.permission()) = 'api_key:delete'
        and (
          (select access.scope()) = 'all'
          or user_id = any ((select access.scope_owner_ids())::uuid[])
          or exists (
            select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
          )
        )
      )
    )
  );
--> statement-breakpoint
create policy make on freehold.delegation_permissions for insert
  with check (
    (select access.permission()) = 'delegation:create'
    and exists (
      select
      from freehold.delegations d
      where d.id = delegation_id
        and d.delegator_id = (select access.principal())
        and d.created_at = now()
    )
  );
--> statement-breakpoint
-- Not access.protect: it would grant all columns, and plans depend on the form of these conditions. Functions alone
-- write.
create policy read on freehold.audit_log for select using (
  (select access.may_read_all_audit())
  or (
    (select access.may_read_audit())
    and (
      user_id = any ((select access.scope_owner_ids())::uuid[])
      or user_id in (select u.id from freehold.users u where u.unit_id = any ((select access.scope_unit_ids())::uuid[]))
    )
  )
);
--> statement-breakpoint
-- A detail is read where its entry is.
create policy read on freehold.audit_detail for select using (
  (select access.may_read_all_audit())
  or (
    (select access.may_read_audit())
    and exists (select from freehold.audit_log l where l.id = log_id)
  )
);
--> statement-breakpoint
-- Not access.protect: both users read a delegation with any permission, only the delegator makes one, and a decision
-- is a third user's.
create policy read on freehold.delegations for select
  using (
    delegator_id = any ((select access.scope_owner_ids())::uuid[])
    or delegate_id = (select access.principal())
    or (
      (select access.permission()) like 'delegation:%'
      and (
        (select access.scope()) = 'all'
        or exists (
          select from freehold.users u where u.id = delegator_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
        )
      )
    )
  );
--> statement-breakpoint
create policy make on freehold.delegations for insert
  with check (
    (select access.permission()) = 'delegation:create'
    and delegator_id = (select access.principal())
  );
--> statement-breakpoint
create policy change on freehold.delegations for update
  using (
    (
      (select access.permission()) = 'delegation:update'
      and (
        delegator_id = (select access.principal())
        or (select access.scope()) = 'all'
        or exists (
          select from freehold.users u where u.id = delegator_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
        )
      )
    )
    or (
      (select access.permission()) = 'delegation:approve'
      and delegator_id <> (select access.principal())
      and delegate_id <> (select access.principal())
      and (
        (select access.scope()) = 'all'
        or exists (
          select from freehold.users u where u.id = delegator_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
        )
      )
    )
  );
--> statement-breakpoint
-- Not access.protect: the permissions are read with their delegation, and chosen in the transaction that makes it.
create policy read on freehold.delegation_permissions for select
  using (exists (select from freehold.delegations d where d.id = delegation_id));
--> statement-breakpoint
-- Not access.protect: everybody reads and ends their own sessions, whatever permission they were admitted with;
-- others' sessions are shown only with a permission for sessions.
create policy read on freehold.sessions for select using (
  user_id = (select access.principal())
  or (
    (select access.permission()) like 'session:%'
    and (
      (select access.scope()) = 'all'
      or user_id = any ((select access.scope_owner_ids())::uuid[])
      or exists (
        select from freehold.users u
        where u.id = user_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
      )
    )
  )
);
--> statement-breakpoint
create policy change on freehold.sessions for update using (
  user_id = (select access.principal())
  or (
    (select access.permission()) = 'session:delete'
    and (
      (select access.scope()) = 'all'
      or user_id = any ((select access.scope_owner_ids())::uuid[])
      or exists (
        select from freehold.users u
        where u.id = user_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
      )
    )
  )
);
--> statement-breakpoint
-- Not access.protect: a unit is made under a parent that is reached, and users read the unit that they are in,
-- whatever their scope.
create policy read on freehold.units for select
  using (
    (select access.scope()) = 'all'
    or id = any ((select access.scope_unit_ids())::uuid[])
    -- A unit that this transaction makes is not among those that were reached at its beginning.
    or ((select access.permission()) = 'unit:create' and parent_id = any ((select access.scope_unit_ids())::uuid[]))
    or id = (select u.unit_id from freehold.users u where u.id = (select access.principal()))
  );
--> statement-breakpoint
create policy make on freehold.units for insert
  with check (
    (select access.permission()) = 'unit:create'
    and ((select access.scope()) = 'all' or parent_id = any ((select access.scope_unit_ids())::uuid[]))
  );
--> statement-breakpoint
create policy change on freehold.units for update
  using (
    (select access.permission()) = 'unit:update'
    and ((select access.scope()) = 'all' or id = any ((select access.scope_unit_ids())::uuid[]))
  )
  with check ((select access.scope()) = 'all' or id = any ((select access.scope_unit_ids())::uuid[]));
--> statement-breakpoint
create policy remove on freehold.units for delete
  using (
    (select access.permission()) = 'unit:delete'
    and ((select access.scope()) = 'all' or id = any ((select access.scope_unit_ids())::uuid[]))
  );
--> statement-breakpoint
-- Written out, because `owner` is the row's own id: a new user is nobody whom the caller acts for, so that their unit
-- alone counts.
create policy make on freehold.users for insert
  with check (
    (select access.permission()) = 'user:create'
    and ((select access.scope()) = 'all' or unit_id = any ((select access.scope_unit_ids())::uuid[]))
  );
--> statement-breakpoint
revoke execute
  on function access.active_primary_role(freehold.users),
    access.activity_of(text,text),
    access.actor(),
    access.admit(uuid,jsonb,text,jsonb,boolean),
    access.after_api_key(),
    access.after_email_change(),
    access.after_override(),
    access.after_role(),
    access.after_user(),
    access.after_user_role(),
    access.ask(jsonb),
    access.audit(),
    access.audit_entry(uuid),
    access.authenticate_key(text,jsonb),
    access.before_api_key(),
    access.before_delegation(),
    access.before_delegation_change(),
    access.before_delegation_permission(),
    access.before_key_delegates_role(),
    access.before_key_grants(),
    access.before_login_change(),
    access.before_override(),
    access.before_own_email(),
    access.before_permission(),
    access.before_role(),
    access.before_role_permission(),
    access.before_tenant(),
    access.before_unit(),
    access.before_user(),
    access.before_user_role(),
    access.begin_admin_reset(uuid),
    access.begin_attempt(freehold.tenant,text,uuid,text,text),
    access.begin_login(uuid,text),
    access.begin_password_change(uuid),
    access.begin_reset(uuid,bytea),
    access.begins(timestamp with time zone,timestamp with time zone),
    access.can_access_user(uuid),
    access.canonical_entry(freehold.audit_log),
    access.check_key(freehold.api_keys),
    access.check_networks(text[]),
    access.check_system(uuid,text),
    access.check_tenant(uuid),
    access.check_user_change(freehold.users,freehold.users),
    access.checkpoint_audit(integer),
    access.claim_mails(uuid,text,integer,jsonb),
    access.claims(),
    access.clear_failures(uuid),
    access.code_hash(freehold.users,text),
    access.column_list(text[]),
    access.count_failures(freehold.tenant,text,integer),
    access.count_key_uses(uuid,text,uuid,integer,jsonb),
    access.current_password(uuid),
    access.decide(uuid,text,timestamp with time zone),
    access.denied_permissions(uuid,timestamp with time zone),
    access.depends_on_unit(uuid),
    access.effective_scope(uuid,text),
    access.ends(timestamp with time zone,timestamp with time zone,timestamp with time zone),
    access.enqueue_mail(text,uuid,text,jsonb,text,text,text),
    access.erase_detail(uuid[]),
    access.explain(uuid,timestamp with time zone),
    access.finish_admin_reset(uuid,text,jsonb,boolean,bytea,text),
    access.finish_attempt(freehold.tenant,uuid,text),
    access.finish_login(uuid,uuid,text,text,bytea,jsonb),
    access.finish_login_with_rehash(uuid,uuid,text,text,text,bytea,jsonb),
    access.finish_mails(uuid,text,jsonb),
    access.finish_password_change(uuid,uuid,text,text,jsonb),
    access.finish_reset(uuid,bytea,text,jsonb,jsonb),
    access.first_password(uuid,text),
    access.free_username(text),
    access.grant_sources(uuid,text,timestamp with time zone),
    access.grants(uuid,timestamp with time zone,text[]),
    access.has_enqueued_mail(),
    access.has_role(uuid),
    access.hash_parameters_of(uuid,text),
    access.held(),
    access.held_roles(uuid,timestamp with time zone),
    access.history_parameters(uuid,freehold.tenant),
    access.holders(text,timestamp with time zone,uuid,integer),
    access.holds_more(uuid,uuid),
    access.import_user(jsonb),
    access.import_users(jsonb,boolean),
    access.in_force(timestamp with time zone,timestamp with time zone,timestamp with time zone),
    access.is_built_in_activity(text),
    access.keep_admin(),
    access.keep_registration_role(),
    access.key(),
    access.key_permissions(uuid),
    access.lock_login(uuid),
    access.lock_user(uuid),
    access.login_history(uuid,integer,timestamp with time zone,uuid),
    access.mac(text),
    access.masked(jsonb,text[]),
    access.may_read_all_audit(),
    access.may_read_audit(),
    access.may_register(freehold.tenant,text),
    access.merged(jsonb,jsonb),
    access.must_change(freehold.users,freehold.tenant),
    access.must_hold(text[],access.scope[]),
    access.must_hold_role(uuid),
    access.my_roles(),
    access.narrower_scope(access.scope,access.scope),
    access.network_of(text),
    access.next_mail_at(jsonb),
    access.one_at_a_time(),
    access.own_grants(uuid,timestamp with time zone,text[]),
    access.own_scope(uuid,text,timestamp with time zone),
    access.password_expiry(freehold.users,freehold.tenant),
    access.password_history(uuid,freehold.tenant),
    access.past_or_now(timestamp with time zone),
    access.permission(),
    access.permissions_of(uuid,timestamp with time zone),
    access.personal_details(freehold.users),
    access.phone_code(text,text),
    access.policy(),
    access.policy_of(freehold.tenant),
    access.primary_role(uuid),
    access.principal(),
    access.purge(integer),
    access.purge_due(),
    access.record(text,text,text,text,jsonb,jsonb,integer),
    access.record_custom_activity(text,text,text,text,integer,jsonb,jsonb),
    access.record_export(jsonb),
    access.record_import(jsonb),
    access.record_refusal(uuid,jsonb,text,text,jsonb),
    access.refresh(uuid,bytea,bytea,jsonb),
    access.refuse(text,text,text),
    access.refuse_change(),
    access.refuse_detail_change(),
    access.register(uuid,text,bytea,jsonb,text,text,jsonb),
    access.registration_terms(uuid),
    access.replace_password(uuid,text,boolean,text,uuid),
    access.request_email_change(uuid,uuid,text,text,bytea,text),
    access.request_of(jsonb),
    access.request_reset(uuid,text,text,bytea,text,jsonb),
    access.require_key_permission(text[]),
    access.resend_verification(uuid,text,text,bytea,text,jsonb),
    access.retry_mail_at(integer),
    access.role_ancestry(uuid[],timestamp with time zone),
    access.role_content(uuid),
    access.role_grants(uuid,timestamp with time zone,text[]),
    access.role_names(uuid,timestamp with time zone),
    access.role_scope(uuid[],text,timestamp with time zone),
    access.roles_of(uuid,timestamp with time zone),
    access.row_key(jsonb,text[]),
    access.scope(),
    access.scope_owner_ids(),
    access.scope_unit_ids(),
    access.send_token(freehold.users,text,text,bytea,integer,text,text),
    access.session(),
    access.session_proof(uuid),
    access.set_audit_actor(uuid,text,jsonb),
    access.set_recovered_password(freehold.users,text,boolean,text),
    access.sign_claims(jsonb),
    access.signature_of(text),
    access.stored_hash(text,text),
    access.substitute(uuid,text),
    access.token_claims(freehold.users,freehold.sessions,freehold.tenant),
    access.token_permissions(uuid),
    access.token_user(bytea,text,boolean),
    access.too_many_requests(uuid,text),
    access.touch(),
    access.units_in_scope(uuid,access.scope),
    access.units_under(uuid),
    access.unlock(uuid),
    access.user_effective_scope(uuid,text),
    access.user_grants(uuid,timestamp with time zone,text[]),
    access.user_held_roles(uuid,timestamp with time zone),
    access.user_must_hold(text[],access.scope[]),
    access.user_to_reset(uuid),
    access.verify_email(uuid,text,bytea,bytea,text,jsonb),
    access.verify_phone(text),
    access.walks(),
    access.warn_expiring(integer),
    access.was_active(uuid,timestamp with time zone),
    access.was_used(uuid,freehold.tenant,jsonb),
    access.write_audit(jsonb,text,text,text,integer,text[],jsonb[],jsonb[],text[])
  from public;
--> statement-breakpoint
revoke execute
  on procedure access.audited(regclass,text,text[],text[],text[]),
    access.make_secrets(),
    access.protect(regclass,text,text,text,text,boolean,text[],text[],text[],boolean,text[],text[],boolean)
  from public;
--> statement-breakpoint
grant usage
  on schema access,
    freehold
  to freehold_app;
--> statement-breakpoint
grant insert (id, user_id, role_id, starts_at, ends_at), select, update (ends_at)
  on freehold.user_roles
  to freehold_app;
--> statement-breakpoint
grant insert (id, user_id, permission, effect, scope, starts_at, ends_at), select, update (ends_at)
  on freehold.overrides
  to freehold_app;
--> statement-breakpoint
grant insert (id, name, description), select, update (description, deleted_at)
  on freehold.permissions
  to freehold_app;
--> statement-breakpoint
grant insert (id, role_id, permission, scope), select, update (ends_at)
  on freehold.role_permissions
  to freehold_app;
--> statement-breakpoint
grant insert (id, name, description, is_active, is_manageable, max_users, parent_id), select, update (name, description, is_active, is_manageable, max_users, parent_id, deleted_at)
  on freehold.roles
  to freehold_app;
--> statement-breakpoint
grant select, update (max_failures, lock_minutes, idle_days, session_days, max_sessions, access_minutes, password_days, password_warning_days, password_min_length, password_max_length, password_upper, password_lower, password_digit, password_special, password_unique, password_history, password_personal, password_common, registration, registration_domains, registration_role, delegation_approval)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant insert (id, username, email, must_change_password, given_name, family_name, phone, role, unit_id, manager_id, designation, description, locale, timezone, max_sessions, preferences, joined_at), select, update (username, email, given_name, family_name, phone, role, unit_id, manager_id, designation, description, is_active, locale, timezone, max_sessions, preferences, joined_at, terminated_at)
  on freehold.users
  to freehold_app;
--> statement-breakpoint
grant insert (id, delegator_id, delegate_id, role_id, starts_at, ends_at, reason), select, update (decision, decided_at, decided_by, revoked_at)
  on freehold.delegations
  to freehold_app;
--> statement-breakpoint
grant insert, select
  on freehold.delegation_permissions
  to freehold_app;
--> statement-breakpoint
grant select, update (ended_at, ended_because)
  on freehold.sessions
  to freehold_app;
--> statement-breakpoint
grant delete, insert (id, kind, name, parent_id), select, update (kind, name, parent_id)
  on freehold.units
  to freehold_app;
--> statement-breakpoint
grant insert (id, user_id, name, prefix, key_hash, permissions, addresses, rotated_from, expires_at), select (id, user_id, name, prefix, permissions, addresses, rotated_from, last_used_at, use_count, created_at, expires_at, revoked_at), update (name, permissions, addresses, expires_at, revoked_at)
  on freehold.api_keys
  to freehold_app;
--> statement-breakpoint
grant select (id, user_id, activity_type, action, resource_type, resource_id, risk_score, trace_id, at, checkpoint)
  on freehold.audit_log
  to freehold_app;
--> statement-breakpoint
grant select (log_id, user_name, address, agent, method, path, before, after, api_key_id)
  on freehold.audit_detail
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.admit(uuid,jsonb,text,jsonb,boolean),
    access.ask(jsonb),
    access.begin_admin_reset(uuid),
    access.begin_login(uuid,text),
    access.begin_password_change(uuid),
    access.begin_reset(uuid,bytea),
    access.claim_mails(uuid,text,integer,jsonb),
    access.count_key_uses(uuid,text,uuid,integer,jsonb),
    access.explain(uuid,timestamp with time zone),
    access.finish_admin_reset(uuid,text,jsonb,boolean,bytea,text),
    access.finish_login(uuid,uuid,text,text,bytea,jsonb),
    access.finish_login_with_rehash(uuid,uuid,text,text,text,bytea,jsonb),
    access.finish_mails(uuid,text,jsonb),
    access.finish_password_change(uuid,uuid,text,text,jsonb),
    access.finish_reset(uuid,bytea,text,jsonb,jsonb),
    access.first_password(uuid,text),
    access.held(),
    access.holders(text,timestamp with time zone,uuid,integer),
    access.import_users(jsonb,boolean),
    access.in_force(timestamp with time zone,timestamp with time zone,timestamp with time zone),
    access.key(),
    access.lock_user(uuid),
    access.login_history(uuid,integer,timestamp with time zone,uuid),
    access.may_read_all_audit(),
    access.may_read_audit(),
    access.merged(jsonb,jsonb),
    access.my_roles(),
    access.permission(),
    access.phone_code(text,text),
    access.policy(),
    access.principal(),
    access.record_custom_activity(text,text,text,text,integer,jsonb,jsonb),
    access.record_export(jsonb),
    access.record_import(jsonb),
    access.record_refusal(uuid,jsonb,text,text,jsonb),
    access.refresh(uuid,bytea,bytea,jsonb),
    access.register(uuid,text,bytea,jsonb,text,text,jsonb),
    access.registration_terms(uuid),
    access.request_email_change(uuid,uuid,text,text,bytea,text),
    access.request_reset(uuid,text,text,bytea,text,jsonb),
    access.resend_verification(uuid,text,text,bytea,text,jsonb),
    access.scope(),
    access.scope_owner_ids(),
    access.scope_unit_ids(),
    access.session(),
    access.substitute(uuid,text),
    access.touch(),
    access.unlock(uuid),
    access.verify_email(uuid,text,bytea,bytea,text,jsonb),
    access.verify_phone(text),
    access.walks()
  to freehold_app;
