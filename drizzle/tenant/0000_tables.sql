CREATE TABLE "freehold"."passwords" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"password_hash" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"replaced_at" timestamp with time zone
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
	"role" text NOT NULL,
	"is_active" boolean DEFAULT true NOT NULL,
	"locale" text DEFAULT 'en' NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "users_username_form" CHECK (length("freehold"."users"."username") between 1 and 64 and strpos("freehold"."users"."username", '@') = 0),
	CONSTRAINT "users_email_form" CHECK (length("freehold"."users"."email") between 3 and 255 and strpos("freehold"."users"."email", '@') > 1),
	CONSTRAINT "users_names_form" CHECK (length("freehold"."users"."given_name") <= 255 and length("freehold"."users"."family_name") <= 255)
);
--> statement-breakpoint
CREATE TABLE "freehold"."permissions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"description" text,
	"is_system" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "permissions_name_unique" UNIQUE("name"),
	CONSTRAINT "permissions_name_form" CHECK ("freehold"."permissions"."name" ~ '^[a-z][a-z0-9_-]{0,62}:[a-z][a-z0-9_-]{0,31}$')
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
	"parent_id" uuid,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "roles_name_form" CHECK (length("freehold"."roles"."name") between 1 and 64),
	CONSTRAINT "roles_not_own_parent" CHECK ("freehold"."roles"."parent_id" <> "freehold"."roles"."id")
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
	"amr" text DEFAULT 'pwd' NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_active_at" timestamp with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"ended_at" timestamp with time zone,
	"ended_because" text,
	CONSTRAINT "sessions_end" CHECK (("freehold"."sessions"."ended_at" is null) = ("freehold"."sessions"."ended_because" is null))
);
--> statement-breakpoint
CREATE TABLE "freehold"."login_attempts" (
	"id" uuid PRIMARY KEY NOT NULL,
	"key" text NOT NULL,
	"user_id" uuid,
	"identifier" text NOT NULL,
	"recipe" text NOT NULL,
	"state" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "login_attempts_state" CHECK ("freehold"."login_attempts"."state" in ('reserved', 'refused', 'succeeded', 'failed'))
);
--> statement-breakpoint
CREATE TABLE "freehold"."login_guards" (
	"key" text PRIMARY KEY NOT NULL,
	"failures" integer DEFAULT 0 NOT NULL,
	"failed_at" timestamp with time zone,
	"locked_until" timestamp with time zone
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
	"password_days" integer DEFAULT 90 NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "tenant_is_one" CHECK ("freehold"."tenant"."one")
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
	"after" jsonb
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
	"detail_hash" "bytea" NOT NULL
);
--> statement-breakpoint
ALTER TABLE "freehold"."passwords" ADD CONSTRAINT "passwords_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."role_permissions" ADD CONSTRAINT "role_permissions_role_id_roles_id_fk" FOREIGN KEY ("role_id") REFERENCES "freehold"."roles"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."role_permissions" ADD CONSTRAINT "role_permissions_permission_permissions_name_fk" FOREIGN KEY ("permission") REFERENCES "freehold"."permissions"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."roles" ADD CONSTRAINT "roles_parent_id_roles_id_fk" FOREIGN KEY ("parent_id") REFERENCES "freehold"."roles"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."user_roles" ADD CONSTRAINT "user_roles_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."user_roles" ADD CONSTRAINT "user_roles_role_id_roles_id_fk" FOREIGN KEY ("role_id") REFERENCES "freehold"."roles"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."refresh_tokens" ADD CONSTRAINT "refresh_tokens_session_id_sessions_id_fk" FOREIGN KEY ("session_id") REFERENCES "freehold"."sessions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD CONSTRAINT "sessions_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."login_attempts" ADD CONSTRAINT "login_attempts_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."audit_detail" ADD CONSTRAINT "audit_detail_log_id_audit_log_id_fk" FOREIGN KEY ("log_id") REFERENCES "freehold"."audit_log"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "passwords_current" ON "freehold"."passwords" USING btree ("user_id") WHERE "freehold"."passwords"."replaced_at" is null;--> statement-breakpoint
CREATE INDEX "passwords_user" ON "freehold"."passwords" USING btree ("user_id","created_at");--> statement-breakpoint
CREATE UNIQUE INDEX "users_username" ON "freehold"."users" USING btree ("username");--> statement-breakpoint
CREATE UNIQUE INDEX "users_email" ON "freehold"."users" USING btree ("email");--> statement-breakpoint
CREATE INDEX "users_role" ON "freehold"."users" USING btree ("role");--> statement-breakpoint
CREATE INDEX "role_permissions_decision" ON "freehold"."role_permissions" USING btree ("role_id","permission");--> statement-breakpoint
CREATE INDEX "role_permissions_permission" ON "freehold"."role_permissions" USING btree ("permission");--> statement-breakpoint
CREATE UNIQUE INDEX "role_permissions_open" ON "freehold"."role_permissions" USING btree ("role_id","permission") WHERE "freehold"."role_permissions"."ends_at" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "roles_name" ON "freehold"."roles" USING btree ("name");--> statement-breakpoint
CREATE INDEX "roles_parent" ON "freehold"."roles" USING btree ("parent_id");--> statement-breakpoint
CREATE INDEX "user_roles_user" ON "freehold"."user_roles" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "user_roles_role" ON "freehold"."user_roles" USING btree ("role_id");--> statement-breakpoint
CREATE UNIQUE INDEX "user_roles_open" ON "freehold"."user_roles" USING btree ("user_id","role_id") WHERE "freehold"."user_roles"."ends_at" is null;--> statement-breakpoint
CREATE INDEX "refresh_tokens_session" ON "freehold"."refresh_tokens" USING btree ("session_id");--> statement-breakpoint
CREATE UNIQUE INDEX "refresh_tokens_successor" ON "freehold"."refresh_tokens" USING btree ("successor_hash");--> statement-breakpoint
CREATE INDEX "sessions_user" ON "freehold"."sessions" USING btree ("user_id","created_at");--> statement-breakpoint
CREATE INDEX "login_attempts_key" ON "freehold"."login_attempts" USING btree ("key","state","created_at");--> statement-breakpoint
CREATE INDEX "login_guards_failed" ON "freehold"."login_guards" USING btree ("failed_at");--> statement-breakpoint
CREATE INDEX "audit_log_at" ON "freehold"."audit_log" USING btree ("at");--> statement-breakpoint
CREATE INDEX "audit_log_user" ON "freehold"."audit_log" USING btree ("user_id","at");