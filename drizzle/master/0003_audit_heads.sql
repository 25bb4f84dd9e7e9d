CREATE TABLE "platform"."audit_heads" (
	"realm_id" uuid PRIMARY KEY NOT NULL,
	"no" integer NOT NULL,
	"hash" text NOT NULL,
	"entries" bigint NOT NULL,
	"sealed_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL
);

--> statement-breakpoint
alter table platform.audit_heads enable row level security;
