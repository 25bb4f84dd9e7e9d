CREATE SCHEMA "platform";
--> statement-breakpoint
CREATE TABLE "platform"."homes" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"kind" text NOT NULL,
	"state" text NOT NULL,
	"region" text NOT NULL,
	"project_id" text,
	"branch_id" text,
	"owner_role" text,
	"owner_url_sealed" text,
	"capacity" integer NOT NULL,
	"taken" integer DEFAULT 0 NOT NULL,
	"refused" text,
	"lease_until" timestamp with time zone NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "homes_name_unique" UNIQUE("name"),
	CONSTRAINT "homes_room" CHECK ("platform"."homes"."taken" between 0 and "platform"."homes"."capacity"),
	CONSTRAINT "homes_open" CHECK ("platform"."homes"."state" <> 'open' or num_nulls("platform"."homes"."project_id", "platform"."homes"."branch_id", "platform"."homes"."owner_role", "platform"."homes"."owner_url_sealed") = 0)
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
	"refresh_key_sealed" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "realm_is_one" CHECK ("platform"."realm"."one")
);
--> statement-breakpoint
CREATE TABLE "platform"."signing_keys" (
	"kid" text PRIMARY KEY NOT NULL,
	"realm_id" uuid NOT NULL,
	"public_jwk" jsonb NOT NULL,
	"private_jwk_sealed" text NOT NULL,
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
	"home_id" uuid,
	"branch_id" text,
	"app_url_sealed" text,
	"owner_url_sealed" text,
	"refresh_key_sealed" text,
	"initial_admin_sealed" text,
	"v" bigint DEFAULT 0 NOT NULL,
	"published_v" bigint DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp with time zone,
	CONSTRAINT "tenants_subdomain_form" CHECK ("platform"."tenants"."subdomain" ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
	CONSTRAINT "tenants_status" CHECK ("platform"."tenants"."status" in ('provisioning', 'active', 'inactive', 'failed'))
);
--> statement-breakpoint
ALTER TABLE "platform"."provisioning_runs" ADD CONSTRAINT "provisioning_runs_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "platform"."provisioning_steps" ADD CONSTRAINT "provisioning_steps_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "platform"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD CONSTRAINT "tenants_home_id_homes_id_fk" FOREIGN KEY ("home_id") REFERENCES "platform"."homes"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "homes_one_opening" ON "platform"."homes" USING btree ("kind") WHERE "platform"."homes"."state" = 'opening';--> statement-breakpoint
CREATE UNIQUE INDEX "provisioning_runs_attempt" ON "platform"."provisioning_runs" USING btree ("tenant_id","attempt");--> statement-breakpoint
CREATE UNIQUE INDEX "provisioning_runs_one_running" ON "platform"."provisioning_runs" USING btree ("tenant_id") WHERE "platform"."provisioning_runs"."state" = 'running';--> statement-breakpoint
CREATE INDEX "provisioning_runs_lease" ON "platform"."provisioning_runs" USING btree ("lease_until") WHERE "platform"."provisioning_runs"."state" = 'running';--> statement-breakpoint
CREATE INDEX "signing_keys_realm" ON "platform"."signing_keys" USING btree ("realm_id");--> statement-breakpoint
CREATE UNIQUE INDEX "tenants_subdomain" ON "platform"."tenants" USING btree ("subdomain");--> statement-breakpoint
CREATE UNIQUE INDEX "tenants_tax_id" ON "platform"."tenants" USING btree ("country","tax_id");--> statement-breakpoint
CREATE UNIQUE INDEX "tenants_database" ON "platform"."tenants" USING btree ("home_id","database_name");--> statement-breakpoint
CREATE INDEX "tenants_created" ON "platform"."tenants" USING btree ("created_at","id");