-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   unchanged
-- Definitions:
--   creates function access.first_mebibyte
--   creates trigger audit_insert on freehold.notification_preferences
--   creates trigger audit_update on freehold.notification_preferences
--   creates trigger audit_delete on freehold.notification_preferences
--   replaces function access.event_resources
--   replaces function access.read_events
--   replaces function access.webhook_window
--   drops function access.matrix_cells

set local check_function_bodies = off;
--> statement-breakpoint
drop function access.matrix_cells(uuid[],uuid[],timestamp with time zone);
--> statement-breakpoint
-- The first of a list of events, as many as have 1 MiB together, and at least one: each has up to 256 KiB of details, and who
-- reads a page holds all of it.
create or replace function access.first_mebibyte(events jsonb) returns jsonb
language sql immutable
return (
  select coalesce(jsonb_agg(x.event order by x.no), '[]')
  from (
    select e.event, e.no, sum(octet_length(e.event::text)) over (order by e.no) as bytes
    from jsonb_array_elements(events) with ordinality e (event, no)
  ) x
  where x.no = 1 or x.bytes <= 1048576
);
--> statement-breakpoint
-- A page of events after a number, with details at most 20, and no more than fit. Records nothing: who reads the feed would
-- otherwise never reach its end. Raises FH403.
create or replace function access.read_events(after bigint, most integer, is_detailed boolean) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  first bigint := access.next_seq(after);
begin
  if access.permission() is distinct from 'activity:export' or access.scope() <> 'all' then
    perform access.refuse('forbidden', 'Events are all activities: activity:export at scope all is needed.');
  end if;
  return case
    when is_detailed then access.first_mebibyte(access.events_between(first, first + least(most, 20) - 1, true))
    else access.events_between(first, first + most - 1, false)
  end;
end $$;
--> statement-breakpoint
-- What tables with triggers of the audit call their rows: of these a service records no change (access.is_built_in_activity).
create or replace function access.event_resources() returns text[]
language sql immutable
return '{api_key,audience,competency,competency_type,delegation,delegation_permission,employee,external_identity,hook,logo,
  notification_preferences,organization,override,passkey,password,permission,provider,role,role_permission,session,
  tenant,unit,user,user_role,webhook}'::text[];
--> statement-breakpoint
-- The events of a webhook behind a place, as text, because what is signed is what the database wrote, as many as a page
-- holds; and how far they reach.
create or replace function access.webhook_window(w freehold.webhooks, place bigint, newest bigint) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'reached', case
      when jsonb_array_length(p.page) < jsonb_array_length(l.events) then (p.page -> -1 ->> 'seq')::bigint
      else x.until
    end,
    'events', coalesce((
      select jsonb_agg(jsonb_build_object(
        'seq', e.event -> 'seq', 'id', e.event -> 'id', 'type', e.event -> 'type', 'at', e.event -> 'at',
        'text', e.event::text) order by e.no)
      from jsonb_array_elements(p.page) with ordinality e (event, no)), '[]'))
  from (
    select f.since, least(f.since + case when w.includes_details then 20 else 100 end - 1, newest) as until
    from (select access.next_seq(place) as since) f
  ) x
    cross join lateral (select access.events_between(x.since, x.until, w.includes_details, w.kinds)) l (events)
    cross join lateral (select access.first_mebibyte(l.events)) p (page)
$$;
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.notification_preferences REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('notification_preferences', '{}', '{updated_at}', '{user_id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.notification_preferences REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('notification_preferences', '{}', '{updated_at}', '{user_id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.notification_preferences REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('notification_preferences', '{}', '{updated_at}', '{user_id}');
--> statement-breakpoint
revoke execute
  on function access.first_mebibyte(jsonb)
  from public;
