CREATE TABLE "platform"."visits" (
	"realm_id" uuid PRIMARY KEY NOT NULL,
	"due_at" timestamp with time zone DEFAULT now() NOT NULL,
	"visited_at" timestamp with time zone DEFAULT '-infinity' NOT NULL,
	"awake_until" timestamp with time zone DEFAULT '-infinity' NOT NULL
);
--> statement-breakpoint
ALTER TABLE "platform"."visits" ADD CONSTRAINT "visits_realm_id_tenants_id_fk" FOREIGN KEY ("realm_id") REFERENCES "platform"."tenants"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
alter table platform.visits enable row level security;
--> statement-breakpoint
insert into platform.visits (realm_id) select t.id from platform.tenants t;
--> statement-breakpoint
-- What operators do to a tenant may be written in its database.
create function platform.visit_soon() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into platform.visits as v (realm_id) values (new.id) on conflict (realm_id) do update set awake_until = greatest(v.awake_until, clock_timestamp() + interval '1 minute');
  return null;
end $$;
--> statement-breakpoint
revoke execute on function platform.visit_soon() from public;
--> statement-breakpoint
create trigger visit_soon after insert or update on platform.tenants for each row execute function platform.visit_soon();
