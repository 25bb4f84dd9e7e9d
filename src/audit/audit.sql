-- The audit: every change, attempt and refusal, written by the transaction that it is about, and kept as it was
-- written.
--   access.audited        puts audit triggers on a table: one entry for each row that a statement changes
--   access.record         writes one entry; called by the functions of other files
--   access.write_audit    the only function that inserts entries; both of the above end in it
-- freehold.audit_log says that something was done, by whom and when; freehold.audit_detail says what exactly, under
-- which name and from where, and can be erased. The log holds a salted hash of each detail, and checkpoints
-- (checkpoints.sql) chain the log. append-only.sql keeps entries as they are. activities.sql is about reading them
-- and about entries that services write.
--
-- Threat: a change that leaves no entry. So entries are written by triggers, in the transaction of the change.
-- Writers share no lock: the chain is made later, by one process. Until its checkpoint, about a minute, an entry is
-- protected by the triggers of append-only.sql alone.

-- Puts the three audit triggers on a table. The arguments are those of access.audit; `keys` are the columns of the
-- primary key.
create procedure access.audited(
  target regclass,
  resource text,
  secret text[] default '{}',
  noise text[] default '{updated_at}',
  keys text[] default '{id}'
)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  said text := format(
    'for each statement execute function access.audit(%L, %L, %L, %L)', resource, secret, noise, keys
  );
begin
  execute format('create trigger audit_insert after insert on %s referencing new table as after_rows %s', target, said);
  execute format(
    'create trigger audit_update after update on %s referencing old table as before_rows new table as after_rows %s',
    target, said
  );
  execute format(
    'create trigger audit_delete after delete on %s referencing old table as before_rows %s',
    target, said
  );
end $$;

-- The audit trigger, for each statement: an entry for each changed row, of an update with the changed columns alone.
-- Arguments: the resource; secret columns, recorded as changed but without their value; columns that are noise, whose
-- change alone makes no entry; the columns of the key.
create function access.audit() returns trigger
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  resource text := tg_argv[0];
  secret text[] := tg_argv[1]::text[];
  noise text[] := tg_argv[2]::text[];
  keys text[] := coalesce(tg_argv[3], '{id}')::text[];
  act text := case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end;
  f jsonb;
  e record;
begin
  -- An update that changes nothing but noise is frequent: that a session was active. It makes no entry, and should not
  -- pay for one.
  if tg_op = 'UPDATE' then
    if not exists (
      select to_jsonb(a) - noise from after_rows a except all select to_jsonb(b) - noise from before_rows b)
    then
      return null;
    end if;
  end if;
  f := access.actor();
  if tg_op = 'INSERT' then
    select
      array_agg(case when keys = '{id}' then r.doc ->> 'id' else access.row_key(r.doc, keys) end) as ids,
      null::jsonb[] as befores,
      array_agg(case when secret = '{}' then r.doc else access.masked(r.doc, secret) end) as afters,
      array_agg(case
        when resource = 'session' and r.doc ->> 'impersonator_id' is not null then 'IMPERSONATION_STARTED'
      end) as activities
    into e
    from (select to_jsonb(n) as doc from after_rows n) r;
  elsif tg_op = 'DELETE' then
    select
      array_agg(case when keys = '{id}' then r.doc ->> 'id' else access.row_key(r.doc, keys) end) as ids,
      array_agg(case when secret = '{}' then r.doc else access.masked(r.doc, secret) end) as befores,
      null::jsonb[] as afters,
      null::text[] as activities
    into e
    from (select to_jsonb(o) as doc from before_rows o) r;
  else
    -- A row whose key changed has no partner: its old and its new version are two entries, each with all columns.
    select
      array_agg(c.id) as ids,
      array_agg(case when secret = '{}' then c.was else access.masked(c.was, secret) end) as befores,
      array_agg(case when secret = '{}' then c.is_now else access.masked(c.is_now, secret) end) as afters,
      array_agg(case
        when resource = 'session' and c.is_impersonated and c.is_now ? 'ended_at' then 'IMPERSONATION_ENDED'
        when resource = 'session' and c.is_now ->> 'ended_because' in ('logout', 'replaced') then 'LOGOUT'
        when resource = 'session' and c.is_now ? 'authenticated_at' then 'STEP_UP'
        when resource = 'user' and c.is_now ? 'password_changed_at' then 'PASSWORD_CHANGE'
        when resource = 'user' and c.id = f ->> 'user_id' then 'PROFILE_UPDATE'
        when resource = 'competency' and c.is_now ->> 'verified_at' is not null then 'COMPETENCY_VERIFIED'
        when resource = 'competency' and c.is_now ->> 'revoked_at' is not null then 'COMPETENCY_REVOKED'
      end) as activities
    into e
    from (
      select
        coalesce(n.id, o.id) as id,
        n.doc ->> 'impersonator_id' is not null as is_impersonated,
        case when o.id is null or n.id is null then o.doc else d.was end as was,
        case when o.id is null or n.id is null then n.doc else d.is_now end as is_now
      from (
        select x.doc, case when keys = '{id}' then x.doc ->> 'id' else access.row_key(x.doc, keys) end as id
        from (select to_jsonb(b) as doc from before_rows b) x
      ) o
      full join (
        select x.doc, case when keys = '{id}' then x.doc ->> 'id' else access.row_key(x.doc, keys) end as id
        from (select to_jsonb(a) as doc from after_rows a) x
      ) n on n.id = o.id
      cross join lateral (
        select jsonb_object_agg(b.key, b.value) as was, jsonb_object_agg(b.key, a.value) as is_now
        from jsonb_each(o.doc) b
        join jsonb_each(n.doc) a on a.key = b.key
        where a.value is distinct from b.value and not b.key = any (noise)
      ) d
      where d.was is not null or o.id is null or n.id is null
    ) c;
  end if;
  if e.ids is not null then
    perform access.write_audit(
      f, access.activity_of(resource, act), act, resource,
      case when resource = 'session' and act = 'create' then access.noted_risk() else 0 end,
      e.ids, e.befores, e.afters, e.activities
    );
  end if;
  return null;
end $$;

-- Writes one entry. Actor and request are those that the transaction was admitted with; without any, the system acts.
create function access.record(
  activity text,
  action text,
  resource text,
  resource_id text,
  before jsonb,
  after jsonb,
  risk integer default 0
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.write_audit(
    access.actor(), activity, record.action, resource, risk, array[record.resource_id], array[before], array[after]
  );
end $$;

-- Writes the entries of one statement, in one statement, and returns their ids: the only function that knows how a
-- detail is hashed. `ids`, `befores` and `afters` run in parallel; an element of `activities` goes before `activity`.
--
-- A detail names the API key that was used, so that its owner can ask what a stolen one did, and who acted as the user.
-- Without either it hashes to what it did before details had them.
create function access.write_audit(
  f jsonb,
  activity text,
  action text,
  resource text,
  risk integer,
  ids text[],
  befores jsonb[],
  afters jsonb[],
  activities text[] default null
) returns uuid[]
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  written uuid[];
begin
  -- The tables take entries from nobody else (append-only.sql).
  perform set_config('access.writer', 'audit', true);
  with entry as materialized (
    select
      gen_random_uuid() as log_id,
      uuid_send(gen_random_uuid()) as salt,
      coalesce(r.activity, write_audit.activity) as activity_type,
      r.id,
      access.kept_state(r.was) as was,
      access.kept_state(r.is_now) as is_now
    from unnest(ids, befores, afters, activities) as r (id, was, is_now, activity)
  ), logged as (
    insert into freehold.audit_log (
      id, user_id, activity_type, action, resource_type, resource_id, risk_score, trace_id, detail_hash
    )
    select
      e.log_id,
      (f ->> 'user_id')::uuid,
      e.activity_type,
      write_audit.action,
      resource,
      e.id,
      risk,
      f ->> 'trace_id',
      sha256(e.salt || convert_to((
        jsonb_build_object(
          'user_name', f -> 'user_name',
          'address', f -> 'address',
          'agent', f -> 'agent',
          'method', f -> 'method',
          'path', f -> 'path',
          'before', e.was,
          'after', e.is_now
        )
        || case when f ->> 'key_id' is null then '{}' else jsonb_build_object('api_key_id', f -> 'key_id') end
        || case
          when f ->> 'impersonator_id' is null then '{}'
          else jsonb_build_object('impersonator_id', f -> 'impersonator_id')
        end
      )::text, 'UTF8'))
    from entry e
  ), detailed as (
    insert into freehold.audit_detail (
      log_id, salt, user_name, address, agent, method, path, before, after, api_key_id, impersonator_id
    )
    select
      e.log_id,
      e.salt,
      f ->> 'user_name',
      f ->> 'address',
      f ->> 'agent',
      f ->> 'method',
      f ->> 'path',
      e.was,
      e.is_now,
      (f ->> 'key_id')::uuid,
      (f ->> 'impersonator_id')::uuid
    from entry e
  )
  select array_agg(e.log_id) into written from entry e;
  perform set_config('access.writer', '', true);
  return written;
end $$;

-- The type of activity of a change, where it does not depend on the row.
create function access.activity_of(resource text, action text) returns text
language sql immutable
return case
  when resource = 'session' and action = 'create' then 'LOGIN'
  when resource = 'user_role' then case action when 'create' then 'ROLE_ASSIGNED' else 'ROLE_REMOVED' end
  when resource in ('role_permission', 'permission', 'override') then 'PERMISSION_CHANGE'
  else upper(resource) || '_' || upper(action) || 'D'
end;

-- The id of a row in the audit: the values of its key, which in most tables is `id` alone.
create function access.row_key(doc jsonb, keys text[]) returns text
language sql immutable
return (
  select string_agg(doc ->> k.name, '/' order by k.place)
  from unnest(keys) with ordinality as k (name, place)
);
