ALTER TABLE "freehold"."audit_detail" ADD COLUMN "api_key_id" uuid;--> statement-breakpoint
CREATE INDEX "audit_detail_api_key" ON "freehold"."audit_detail" USING btree ("api_key_id") WHERE "freehold"."audit_detail"."api_key_id" is not null;
--> statement-breakpoint
-- With which key something was done: who revokes one that was stolen asks what it did. Without a key an entry hashes to what it always did.
create or replace function access.enter(f jsonb, activity text, action text, resource text, risk integer, ids text[], befores jsonb[], afters jsonb[], activities text[] default null)
returns uuid[] language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  written uuid[];
begin
  with entry as materialized (
    select gen_random_uuid() as log_id, uuid_send(gen_random_uuid()) as salt, coalesce(r.activity, enter.activity) as activity_type, r.id, r.was, r.is_now
    from unnest(ids, befores, afters, activities) as r (id, was, is_now, activity)
  ), logged as (
    insert into freehold.audit_log (id, user_id, activity_type, action, resource_type, resource_id, risk_score, trace_id, detail_hash)
    select e.log_id, (f ->> 'user_id')::uuid, e.activity_type, enter.action, resource, e.id, risk, f ->> 'trace_id',
      sha256(e.salt || convert_to((jsonb_build_object('user_name', f -> 'user_name', 'address', f -> 'address', 'agent', f -> 'agent',
        'method', f -> 'method', 'path', f -> 'path', 'before', e.was, 'after', e.is_now)
        || case when f ->> 'key_id' is null then '{}' else jsonb_build_object('api_key_id', f -> 'key_id') end)::text, 'UTF8'))
    from entry e
  ), detailed as (
    insert into freehold.audit_detail (log_id, salt, user_name, address, agent, method, path, before, after, api_key_id)
    select e.log_id, e.salt, f ->> 'user_name', f ->> 'address', f ->> 'agent', f ->> 'method', f ->> 'path', e.was, e.is_now, (f ->> 'key_id')::uuid from entry e
  )
  select array_agg(e.log_id) into written from entry e;
  return written;
end $$;
--> statement-breakpoint
create or replace function access.shown_entry(entry uuid) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('id', l.id, 'at', to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'user_id', l.user_id, 'user_name', d.user_name,
    'activity_type', l.activity_type, 'action', l.action, 'resource_type', l.resource_type, 'resource_id', l.resource_id, 'risk_score', l.risk_score,
    'trace_id', l.trace_id, 'address', d.address, 'agent', d.agent, 'method', d.method, 'path', d.path, 'before', d.before, 'after', d.after, 'api_key_id', d.api_key_id)
  from freehold.audit_log l left join freehold.audit_detail d on d.log_id = l.id where l.id = entry
$$;
--> statement-breakpoint
grant select (api_key_id) on freehold.audit_detail to freehold_app;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
