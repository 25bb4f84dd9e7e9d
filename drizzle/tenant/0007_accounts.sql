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
	"sealed" text,
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
ALTER TABLE "freehold"."passwords" ADD COLUMN "warned_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "max_sessions" integer;--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "city" text;--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "country" text;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "max_sessions" integer DEFAULT 5 NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "access_minutes" integer DEFAULT 15 NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_warning_days" integer DEFAULT 14 NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_min_length" integer DEFAULT 8 NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_max_length" integer DEFAULT 128 NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_upper" boolean DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_lower" boolean DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_digit" boolean DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_special" boolean DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_unique" integer DEFAULT 5 NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_history" integer DEFAULT 5 NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_personal" boolean DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_common" boolean DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "registration" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "registration_domains" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "registration_role" text;--> statement-breakpoint
ALTER TABLE "freehold"."mail_attempts" ADD CONSTRAINT "mail_attempts_mail_id_mails_id_fk" FOREIGN KEY ("mail_id") REFERENCES "freehold"."mails"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."mails" ADD CONSTRAINT "mails_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."one_time_tokens" ADD CONSTRAINT "one_time_tokens_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."api_keys" ADD CONSTRAINT "api_keys_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "mail_attempts_mail" ON "freehold"."mail_attempts" USING btree ("mail_id","started_at");--> statement-breakpoint
CREATE INDEX "mails_due" ON "freehold"."mails" USING btree ("next_at") WHERE "freehold"."mails"."state" = 'queued';--> statement-breakpoint
CREATE INDEX "mails_user" ON "freehold"."mails" USING btree ("user_id","created_at");--> statement-breakpoint
CREATE INDEX "one_time_tokens_user" ON "freehold"."one_time_tokens" USING btree ("user_id","kind","created_at");--> statement-breakpoint
CREATE INDEX "registrations_email" ON "freehold"."registrations" USING btree ("email","created_at");--> statement-breakpoint
CREATE INDEX "registrations_expired" ON "freehold"."registrations" USING btree ("expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "api_keys_hash" ON "freehold"."api_keys" USING btree ("key_hash");--> statement-breakpoint
CREATE UNIQUE INDEX "api_keys_prefix" ON "freehold"."api_keys" USING btree ("prefix");--> statement-breakpoint
CREATE INDEX "api_keys_user" ON "freehold"."api_keys" USING btree ("user_id","created_at");--> statement-breakpoint
CREATE INDEX "passwords_unwarned" ON "freehold"."passwords" USING btree ("created_at") WHERE "freehold"."passwords"."replaced_at" is null and "freehold"."passwords"."warned_at" is null;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD CONSTRAINT "users_max_sessions" CHECK ("freehold"."users"."max_sessions" between 1 and 1000);--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_settings" CHECK ("freehold"."tenant"."max_failures" between 1 and 100 and "freehold"."tenant"."lock_minutes" between 1 and 1440 and "freehold"."tenant"."idle_days" between 1 and 365
        and "freehold"."tenant"."session_days" between 1 and 365 and "freehold"."tenant"."max_sessions" between 1 and 1000 and "freehold"."tenant"."access_minutes" between 5 and 10080
        and "freehold"."tenant"."password_days" between 0 and 3650 and "freehold"."tenant"."password_warning_days" between 0 and 365 and "freehold"."tenant"."password_min_length" between 8 and 64
        and "freehold"."tenant"."password_max_length" between 64 and 1024 and "freehold"."tenant"."password_unique" between 1 and 32 and "freehold"."tenant"."password_history" between 0 and 24);