CREATE TABLE "freehold"."user_periods" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"starts_at" timestamp with time zone NOT NULL,
	"ends_at" timestamp with time zone,
	CONSTRAINT "user_periods_order" CHECK ("freehold"."user_periods"."ends_at" >= "freehold"."user_periods"."starts_at")
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
CREATE TABLE "freehold"."role_periods" (
	"id" uuid PRIMARY KEY NOT NULL,
	"role_id" uuid NOT NULL,
	"parent_id" uuid,
	"starts_at" timestamp with time zone NOT NULL,
	"ends_at" timestamp with time zone,
	CONSTRAINT "role_periods_order" CHECK ("freehold"."role_periods"."ends_at" >= "freehold"."role_periods"."starts_at")
);
--> statement-breakpoint
CREATE TABLE "freehold"."audit_seals" (
	"no" integer PRIMARY KEY NOT NULL,
	"entries" integer NOT NULL,
	"hash" "bytea" NOT NULL,
	"sealed_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
DROP INDEX "freehold"."roles_name";--> statement-breakpoint
DROP INDEX "freehold"."audit_log_at";--> statement-breakpoint
DROP INDEX "freehold"."audit_log_user";--> statement-breakpoint
ALTER TABLE "freehold"."users" ALTER COLUMN "role" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "name" text GENERATED ALWAYS AS (lower(trim(coalesce(family_name, '') || ' ' || coalesce(given_name, '')))) STORED NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "phone" text;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "phone_verified" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "unit_id" uuid;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "manager_id" uuid;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "designation" text;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "description" text;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "timezone" text DEFAULT 'UTC' NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "preferences" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "joined_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "terminated_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "freehold"."permissions" ADD COLUMN "deleted_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "freehold"."roles" ADD COLUMN "is_admin" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."roles" ADD COLUMN "is_manageable" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."roles" ADD COLUMN "is_fallback" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."roles" ADD COLUMN "max_users" integer;--> statement-breakpoint
ALTER TABLE "freehold"."roles" ADD COLUMN "deleted_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "delegation_approval" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."audit_log" ADD COLUMN "xid" bigint DEFAULT pg_current_xact_id()::text::bigint NOT NULL;--> statement-breakpoint
ALTER TABLE "freehold"."audit_log" ADD COLUMN "seal" integer;--> statement-breakpoint
ALTER TABLE "freehold"."user_periods" ADD CONSTRAINT "user_periods_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."units" ADD CONSTRAINT "units_parent_id_units_id_fk" FOREIGN KEY ("parent_id") REFERENCES "freehold"."units"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."delegation_permissions" ADD CONSTRAINT "delegation_permissions_delegation_id_delegations_id_fk" FOREIGN KEY ("delegation_id") REFERENCES "freehold"."delegations"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."delegation_permissions" ADD CONSTRAINT "delegation_permissions_permission_permissions_name_fk" FOREIGN KEY ("permission") REFERENCES "freehold"."permissions"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."delegations" ADD CONSTRAINT "delegations_delegator_id_users_id_fk" FOREIGN KEY ("delegator_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."delegations" ADD CONSTRAINT "delegations_delegate_id_users_id_fk" FOREIGN KEY ("delegate_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."delegations" ADD CONSTRAINT "delegations_role_id_roles_id_fk" FOREIGN KEY ("role_id") REFERENCES "freehold"."roles"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."delegations" ADD CONSTRAINT "delegations_decided_by_users_id_fk" FOREIGN KEY ("decided_by") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."overrides" ADD CONSTRAINT "overrides_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."overrides" ADD CONSTRAINT "overrides_permission_permissions_name_fk" FOREIGN KEY ("permission") REFERENCES "freehold"."permissions"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."role_periods" ADD CONSTRAINT "role_periods_role_id_roles_id_fk" FOREIGN KEY ("role_id") REFERENCES "freehold"."roles"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "user_periods_user" ON "freehold"."user_periods" USING btree ("user_id","starts_at");--> statement-breakpoint
CREATE UNIQUE INDEX "user_periods_open" ON "freehold"."user_periods" USING btree ("user_id") WHERE "freehold"."user_periods"."ends_at" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "units_name" ON "freehold"."units" USING btree ("parent_id","name");--> statement-breakpoint
CREATE UNIQUE INDEX "units_root_name" ON "freehold"."units" USING btree ("name") WHERE "freehold"."units"."parent_id" is null;--> statement-breakpoint
CREATE INDEX "units_sorted" ON "freehold"."units" USING btree ("name","id");--> statement-breakpoint
CREATE INDEX "delegation_permissions_permission" ON "freehold"."delegation_permissions" USING btree ("permission");--> statement-breakpoint
CREATE INDEX "delegations_delegate" ON "freehold"."delegations" USING btree ("delegate_id","ends_at");--> statement-breakpoint
CREATE INDEX "delegations_delegator" ON "freehold"."delegations" USING btree ("delegator_id","ends_at");--> statement-breakpoint
CREATE INDEX "delegations_created" ON "freehold"."delegations" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "overrides_decision" ON "freehold"."overrides" USING btree ("user_id","permission");--> statement-breakpoint
CREATE INDEX "overrides_permission" ON "freehold"."overrides" USING btree ("permission");--> statement-breakpoint
CREATE UNIQUE INDEX "overrides_open" ON "freehold"."overrides" USING btree ("user_id","permission","effect") WHERE "freehold"."overrides"."ends_at" is null;--> statement-breakpoint
CREATE INDEX "role_periods_role" ON "freehold"."role_periods" USING btree ("role_id","starts_at");--> statement-breakpoint
CREATE INDEX "role_periods_parent" ON "freehold"."role_periods" USING btree ("parent_id");--> statement-breakpoint
CREATE UNIQUE INDEX "role_periods_open" ON "freehold"."role_periods" USING btree ("role_id") WHERE "freehold"."role_periods"."ends_at" is null;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD CONSTRAINT "users_unit_id_units_id_fk" FOREIGN KEY ("unit_id") REFERENCES "freehold"."units"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD CONSTRAINT "users_manager_id_users_id_fk" FOREIGN KEY ("manager_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "users_manager" ON "freehold"."users" USING btree ("manager_id");--> statement-breakpoint
CREATE UNIQUE INDEX "roles_one_admin" ON "freehold"."roles" USING btree ("is_admin") WHERE "freehold"."roles"."is_admin";--> statement-breakpoint
CREATE UNIQUE INDEX "roles_one_fallback" ON "freehold"."roles" USING btree ("is_fallback") WHERE "freehold"."roles"."is_fallback";--> statement-breakpoint
CREATE INDEX "audit_log_type" ON "freehold"."audit_log" USING btree ("activity_type","at","id");--> statement-breakpoint
CREATE INDEX "audit_log_resource" ON "freehold"."audit_log" USING btree ("resource_type","resource_id","at","id");--> statement-breakpoint
CREATE INDEX "audit_log_unsealed" ON "freehold"."audit_log" USING btree ("xid","id") WHERE "freehold"."audit_log"."seal" is null;--> statement-breakpoint
CREATE INDEX "audit_log_seal" ON "freehold"."audit_log" USING btree ("seal","xid","id");--> statement-breakpoint
CREATE UNIQUE INDEX "roles_name" ON "freehold"."roles" USING btree ("name") WHERE "freehold"."roles"."deleted_at" is null;--> statement-breakpoint
CREATE INDEX "audit_log_at" ON "freehold"."audit_log" USING btree ("at","id");--> statement-breakpoint
CREATE INDEX "audit_log_user" ON "freehold"."audit_log" USING btree ("user_id","at","id");--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD CONSTRAINT "users_texts_form" CHECK (length("freehold"."users"."phone") <= 32 and length("freehold"."users"."designation") <= 120 and length("freehold"."users"."description") <= 140);--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD CONSTRAINT "users_not_own_manager" CHECK ("freehold"."users"."manager_id" <> "freehold"."users"."id");--> statement-breakpoint
ALTER TABLE "freehold"."roles" ADD CONSTRAINT "roles_max_users" CHECK ("freehold"."roles"."max_users" > 0);