ALTER TABLE "platform"."tenants" DROP CONSTRAINT "tenants_status";--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD COLUMN "erasing_until" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "platform"."tenants" ADD CONSTRAINT "tenants_status" CHECK ("platform"."tenants"."status" in ('provisioning', 'active', 'inactive', 'failed', 'deleted', 'erasing'));--> statement-breakpoint
grant update (deleted_at, erasing_until) on platform.tenants to freehold_app;
