-- The audit: everything that was changed, tried or refused, written at once with what it is about, kept as it was, and sealed into a chain.
--
-- Threat: somebody changes or removes what was recorded; a detail is erased and nobody can tell that from tampering; a service signs with the
-- name of an event of ours. So triggers refuse every change of what was written, also the owner login's, who would have to drop them first;
-- and a chain of hashes, whose newest one the master keeps, shows whoever did. Only what is sealed is out of reach: a row that is changed in
-- the minute before it is sealed, by who can drop a trigger, goes unseen. Writers share no lock: the chain is made later, by one sealer.
ALTER TABLE "freehold"."audit_detail" DROP CONSTRAINT "audit_detail_log_id_audit_log_id_fk";
--> statement-breakpoint
DROP INDEX "freehold"."audit_log_seal";
--> statement-breakpoint
CREATE INDEX "audit_detail_address" ON "freehold"."audit_detail" USING btree ("address");
--> statement-breakpoint
-- What is searched by beside the time is indexed when it is sealed: the sealer pays for that, not who writes.
DROP INDEX "freehold"."audit_log_user";
--> statement-breakpoint
DROP INDEX "freehold"."audit_log_type";
--> statement-breakpoint
DROP INDEX "freehold"."audit_log_resource";
--> statement-breakpoint
CREATE INDEX "audit_log_user" ON "freehold"."audit_log" USING btree ("user_id","at","id") WHERE "freehold"."audit_log"."seal" is not null;
--> statement-breakpoint
CREATE INDEX "audit_log_type" ON "freehold"."audit_log" USING btree ("activity_type","at","id") WHERE "freehold"."audit_log"."seal" is not null;
--> statement-breakpoint
CREATE INDEX "audit_log_resource" ON "freehold"."audit_log" USING btree ("resource_type","resource_id","at","id") WHERE "freehold"."audit_log"."seal" is not null;
--> statement-breakpoint
CREATE INDEX "audit_log_seal" ON "freehold"."audit_log" USING btree ("seal","xid","id") WHERE "freehold"."audit_log"."seal" is not null;
--> statement-breakpoint
-- Writes entries that one statement makes, in one statement: the only place that knows what the hash of a detail is made of. `ids`, `befores`
-- and `afters` run side by side; an entry of `activities` goes before `activity`. Returns the entries' own ids.
create function access.enter(f jsonb, activity text, action text, resource text, risk integer, ids text[], befores jsonb[], afters jsonb[], activities text[] default null)
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
      sha256(e.salt || convert_to(jsonb_build_object('user_name', f -> 'user_name', 'address', f -> 'address', 'agent', f -> 'agent',
        'method', f -> 'method', 'path', f -> 'path', 'before', e.was, 'after', e.is_now)::text, 'UTF8'))
    from entry e
  ), detailed as (
    insert into freehold.audit_detail (log_id, salt, user_name, address, agent, method, path, before, after)
    select e.log_id, e.salt, f ->> 'user_name', f ->> 'address', f ->> 'agent', f ->> 'method', f ->> 'path', e.was, e.is_now from entry e
  )
  select array_agg(e.log_id) into written from entry e;
  return written;
end $$;
--> statement-breakpoint
-- Writes one entry of the audit. Actor and request are the admitted facts; without any, it is the system that acts.
create or replace function access.record(activity text, action text, resource text, resource_id text, before jsonb, after jsonb, risk integer default 0)
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.enter(access.actor(), activity, record.action, resource, risk, array[record.resource_id], array[before], array[after]);
end $$;
--> statement-breakpoint
-- The seed's name for a change, where it has one and it does not depend on the row.
create function access.activity_of(resource text, action text) returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case
    when resource = 'session' and action = 'create' then 'LOGIN'
    when resource = 'user_role' then case action when 'create' then 'ROLE_ASSIGNED' else 'ROLE_REMOVED' end
    when resource in ('role_permission', 'permission', 'override') then 'PERMISSION_CHANGE'
    else upper(resource) || '_' || upper(action) || 'D'
  end
$$;
--> statement-breakpoint
-- What a row is called in the audit: the values of its key, which is mostly `id` alone.
create function access.key_of(doc jsonb, keys text[]) returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
  select string_agg(doc ->> k.name, '/' order by k.place) from unnest(keys) with ordinality as k (name, place)
$$;
--> statement-breakpoint
-- Statement trigger: one entry per changed row, of an update only what changed, all of them in one statement. Arguments: resource, secret
-- columns (recorded as changed, never with their value), columns that are noise (a change of these alone is none), columns of the key.
create or replace function access.audit() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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
    select array_agg(case when keys = '{id}' then r.doc ->> 'id' else access.key_of(r.doc, keys) end) as ids, null::jsonb[] as befores,
      array_agg(case when secret = '{}' then r.doc else access.masked(r.doc, secret) end) as afters, null::text[] as activities
    into e from (select to_jsonb(n) as doc from after_rows n) r;
  elsif tg_op = 'DELETE' then
    select array_agg(case when keys = '{id}' then r.doc ->> 'id' else access.key_of(r.doc, keys) end) as ids,
      array_agg(case when secret = '{}' then r.doc else access.masked(r.doc, secret) end) as befores, null::jsonb[] as afters, null::text[] as activities
    into e from (select to_jsonb(o) as doc from before_rows o) r;
  else
    -- A row whose key itself was changed has no partner: its two halves are recorded whole.
    select array_agg(c.id) as ids,
      array_agg(case when secret = '{}' then c.was else access.masked(c.was, secret) end) as befores,
      array_agg(case when secret = '{}' then c.is_now else access.masked(c.is_now, secret) end) as afters,
      array_agg(case
        when resource = 'session' and c.is_now ->> 'ended_because' = 'logout' then 'LOGOUT'
        when resource = 'user' and c.is_now ? 'password_changed_at' then 'PASSWORD_CHANGE'
        when resource = 'user' and c.id = f ->> 'user_id' then 'PROFILE_UPDATE' end) as activities
    into e from (
      select coalesce(n.id, o.id) as id, case when o.id is null or n.id is null then o.doc else d.was end as was,
        case when o.id is null or n.id is null then n.doc else d.is_now end as is_now
      from (select x.doc, case when keys = '{id}' then x.doc ->> 'id' else access.key_of(x.doc, keys) end as id from (select to_jsonb(b) as doc from before_rows b) x) o
        full join (select x.doc, case when keys = '{id}' then x.doc ->> 'id' else access.key_of(x.doc, keys) end as id from (select to_jsonb(a) as doc from after_rows a) x) n
          on n.id = o.id
        cross join lateral (
          select jsonb_object_agg(b.key, b.value) as was, jsonb_object_agg(b.key, a.value) as is_now
          from jsonb_each(o.doc) b join jsonb_each(n.doc) a on a.key = b.key where a.value is distinct from b.value and not b.key = any (noise)
        ) d
      where d.was is not null or o.id is null or n.id is null
    ) c;
  end if;
  if e.ids is not null then
    perform access.enter(f, access.activity_of(resource, act), act, resource, 0, e.ids, e.befores, e.afters, e.activities);
  end if;
  return null;
end $$;
--> statement-breakpoint
drop function access.activity_of(text, text, jsonb);
--> statement-breakpoint
drop procedure access.audited(regclass, text, text[], text[]);
--> statement-breakpoint
-- Puts the three audit triggers on a table. `keys` are the columns of its primary key.
create procedure access.audited(target regclass, resource text, secret text[] default '{}', noise text[] default '{updated_at}', keys text[] default '{id}') language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  said text := format('for each statement execute function access.audit(%L, %L, %L, %L)', resource, secret, noise, keys);
begin
  execute format('create trigger audit_insert after insert on %s referencing new table as after_rows %s', target, said);
  execute format('create trigger audit_update after update on %s referencing old table as before_rows new table as after_rows %s', target, said);
  execute format('create trigger audit_delete after delete on %s referencing old table as before_rows %s', target, said);
end $$;
--> statement-breakpoint
-- `name` is made of two other columns, which are recorded.
drop trigger audit_insert on freehold.users;
--> statement-breakpoint
drop trigger audit_update on freehold.users;
--> statement-breakpoint
drop trigger audit_delete on freehold.users;
--> statement-breakpoint
call access.audited('freehold.users', 'user', '{}', '{updated_at,name}');
--> statement-breakpoint
call access.audited('freehold.delegation_permissions', 'delegation_permission', '{}', '{}', '{delegation_id,permission}');
--> statement-breakpoint
-- What was written stays as it was. Only a seal may be put on an entry, once.
create function access.keep() returns trigger language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using errcode = 'FH403', message = 'forbidden', detail = format('%s of freehold.%s: the audit is append-only.', tg_op, tg_table_name);
end $$;
--> statement-breakpoint
create trigger keep_entries before update on freehold.audit_log for each row
  when (old.seal is not null or new.seal is null or to_jsonb(old) - 'seal' is distinct from to_jsonb(new) - 'seal') execute function access.keep();
--> statement-breakpoint
create trigger keep_all_entries before delete or truncate on freehold.audit_log for each statement execute function access.keep();
--> statement-breakpoint
create trigger keep_details before update or truncate on freehold.audit_detail for each statement execute function access.keep();
--> statement-breakpoint
create trigger keep_seals before update or delete or truncate on freehold.audit_seals for each statement execute function access.keep();
--> statement-breakpoint
-- A detail goes only together with the entry that says so.
create function access.keep_detail() returns trigger language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if exists (
    select from gone g where not exists (
      select from freehold.audit_log l where l.resource_type = 'audit_detail' and l.resource_id = g.log_id::text
        and l.activity_type = 'AUDIT_ERASED' and l.seal is null and l.xid = pg_current_xact_id()::text::bigint)
  ) then
    raise exception using errcode = 'FH403', message = 'forbidden', detail = 'DELETE of freehold.audit_detail: a detail is erased by access.erase_detail alone.';
  end if;
  return null;
end $$;
--> statement-breakpoint
create trigger keep_detail after delete on freehold.audit_detail referencing old table as gone for each statement execute function access.keep_detail();
--> statement-breakpoint
-- Erases details, for good: that someone acted stays, and an entry for each says that its detail was erased and by whom. What is not there is
-- passed over. Returns how many were erased.
create function access.erase_detail(log_ids uuid[]) returns integer language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  there uuid[] := array(select d.log_id from freehold.audit_detail d where d.log_id = any (log_ids) for update);
begin
  if cardinality(there) > 0 then
    perform access.enter(access.actor(), 'AUDIT_ERASED', 'erase', 'audit_detail', 0, there::text[], null, null);
    delete from freehold.audit_detail d where d.log_id = any (there);
  end if;
  return cardinality(there);
end $$;
--> statement-breakpoint
-- An entry as it is hashed: a JSON array, so that no two entries can read alike. src/audit/verify.ts says the same again, on purpose: who
-- checks the chain does not ask the functions of the database that is checked.
create function access.sealed_form(l freehold.audit_log) returns bytea language sql immutable set search_path = pg_catalog, pg_temp as $$
  select convert_to(jsonb_build_array(l.xid, l.id, l.user_id, l.activity_type, l.action, l.resource_type, l.resource_id, l.risk_score, l.trace_id,
    (extract(epoch from l.at) * 1000000)::bigint, encode(l.detail_hash, 'hex'))::text, 'UTF8')
$$;
--> statement-breakpoint
-- Seals the oldest entries that no running transaction can still add to, at most `batch`, under one more link of the chain: the hash of the
-- hash before it and of the entries in the order (xid, id). Returns how many; none while another seals. For the owner login.
create function access.seal_audit(batch integer) returns integer language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  newest freehold.audit_seals;
  sealed integer;
begin
  if not exists (select from freehold.audit_log l where l.seal is null) or not pg_try_advisory_xact_lock(hashtext('freehold.audit_seals')) then
    return 0;
  end if;
  select * into newest from freehold.audit_seals s order by s.no desc limit 1;
  with taken as materialized (
    select l.id, l.xid, access.sealed_form(l) as form from freehold.audit_log l
    where l.seal is null and l.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint order by l.xid, l.id limit batch
  ), marked as (
    update freehold.audit_log l set seal = coalesce(newest.no, 0) + 1 from taken t where l.id = t.id
  )
  insert into freehold.audit_seals as s (no, entries, hash)
  select coalesce(newest.no, 0) + 1, count(*), sha256(coalesce(newest.hash, '') || string_agg(t.form, '' order by t.xid, t.id)) from taken t having count(*) > 0
  returning s.entries into sealed;
  return coalesce(sealed, 0);
end $$;
--> statement-breakpoint
-- Whether a type of activity is one that only Freehold itself writes: the seed's list, ours, and the changes of every table under audit.
create function access.is_own_activity(activity text) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select activity in ('LOGIN', 'LOGOUT', 'LOGIN_FAILED', 'PASSWORD_CHANGE', 'PASSWORD_RESET', 'PASSWORD_CHANGE_FAILED', 'MFA_ENABLED', 'MFA_DISABLED', 'PROFILE_UPDATE',
      'PERMISSION_CHANGE', 'PERMISSIONS_READ', 'ROLE_ASSIGNED', 'ROLE_REMOVED', 'API_KEY_CREATED', 'API_KEY_REVOKED', 'SUSPICIOUS_ACTIVITY', 'ACCESS_REFUSED',
      'EXPORT', 'AUDIT_ERASED')
    or exists (
      select from pg_trigger t cross join unnest(array['CREATED', 'UPDATED', 'DELETED']) as done (word)
      where t.tgfoid = 'access.audit()'::regprocedure and activity = upper(split_part(encode(t.tgargs, 'escape'), '\000', 1)) || '_' || done.word)
$$;
--> statement-breakpoint
-- An entry as the wire shows it.
create function access.shown_entry(entry uuid) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('id', l.id, 'at', to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'user_id', l.user_id, 'user_name', d.user_name,
    'activity_type', l.activity_type, 'action', l.action, 'resource_type', l.resource_type, 'resource_id', l.resource_id, 'risk_score', l.risk_score,
    'trace_id', l.trace_id, 'address', d.address, 'agent', d.agent, 'method', d.method, 'path', d.path, 'before', d.before, 'after', d.after)
  from freehold.audit_log l left join freehold.audit_detail d on d.log_id = l.id where l.id = entry
$$;
--> statement-breakpoint
-- Records what a service did itself. Who and from where are the admitted facts; the names of our own events are not for it.
create function access.record_own(activity text, action text, resource text, resource_id text, risk integer, before jsonb, after jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  written uuid[];
begin
  if access.permission() is distinct from 'activity:create' then
    perform access.refuse('forbidden', 'Only who holds activity:create records an activity.');
  elsif activity !~ '^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$' or length(activity) > 64 then
    perform access.refuse('invalid_request', 'must be words in capitals with _ between them, at most 64 characters', 'activity_type');
  elsif access.is_own_activity(activity) then
    perform access.refuse('invalid_request', format('%s is recorded by Freehold itself', activity), 'activity_type');
  elsif action is null or resource is null or risk is null or risk not between 0 and 100 or greatest(length(action), length(resource)) > 64 or length(resource_id) > 255
    or coalesce(length(before::text), 0) + coalesce(length(after::text), 0) > 32768 then
    perform access.refuse('invalid_request', 'is more than an activity may hold', 'after');
  end if;
  written := access.enter(access.facts(), activity, record_own.action, resource, risk, array[record_own.resource_id], array[before], array[after]);
  return access.shown_entry(written[1]);
end $$;
--> statement-breakpoint
-- Records that the admitted person takes entries of the audit away with them, and which.
create function access.record_export(filters jsonb) returns void language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'activity:export' then
    perform access.refuse('forbidden', 'Only who holds activity:export exports activities.');
  end if;
  perform access.record('EXPORT', 'export', 'activity', null, null, filters);
end $$;
--> statement-breakpoint
-- Whether this transaction was admitted to read the audit, and whether all of it. Booleans, because the planner takes one for likely and then
-- walks the index that a list is sorted by.
create function access.audits() returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(access.permission() in ('activity:read', 'activity:export'), false)
$$;
--> statement-breakpoint
create function access.audits_all() returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.audits() and access.scope() = 'all'
$$;
--> statement-breakpoint
create policy read_activities on freehold.audit_log for select using ((select access.audits_all()) or ((select access.audits())
  and (user_id = any ((select access.owners())::uuid[]) or user_id in (select u.id from freehold.users u where u.unit_id = any ((select access.units())::uuid[])))));
--> statement-breakpoint
create policy read_details on freehold.audit_detail for select using ((select access.audits_all()) or ((select access.audits())
  and exists (select from freehold.audit_log l where l.id = log_id)));
--> statement-breakpoint
-- Without the salt and the hash: who may read a detail is not helped to guess one that was erased.
grant select (id, user_id, activity_type, action, resource_type, resource_id, risk_score, trace_id, at, seal) on freehold.audit_log to freehold_app;
--> statement-breakpoint
grant select (log_id, user_name, address, agent, method, path, before, after) on freehold.audit_detail to freehold_app;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
--> statement-breakpoint
revoke execute on all procedures in schema access from public;
--> statement-breakpoint
grant execute on function access.audits(), access.audits_all(), access.record_own(text, text, text, text, integer, jsonb, jsonb), access.record_export(jsonb) to freehold_app;
