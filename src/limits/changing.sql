-- What the platform sets in this tenant: limits, and until when its licence lasts; and what is used of them.
--   access.set_limits         for the owner login: sets what the platform says (src/tenants/lifecycle/lifecycle.ts)
--   access.used               how much of each there is
--   access.must_be_licensed   refuses a creation while the tenant can only be read
--   access.usage              called from outside, with usage:read
--
-- Threat: a limit is set while requests are under way that counted nothing, because there was no limit, and the counter
-- is too low for good; or a tenant whose licence has ended goes on, because the Worker alone knows. So a first count
-- waits for whoever creates, with one lock that they share; and the end of the licence is in the tenant's own row, which
-- every admission reads (access.is_allowed_unlicensed says what goes on).

-- Sets the limits, {max_users, max_organizations, max_documents, limit_documents, max_api_keys, max_sessions}, where null
-- and a missing one are no limit; returns access.used(). What is not counted yet is counted, after whoever creates has
-- come to their end: five seconds, then this fails.
create function access.set_limits(wanted jsonb) returns jsonb
language plpgsql volatile set lock_timeout = '5s' set search_path = pg_catalog, pg_temp as $$
declare
  counted text;
  wished integer;
  was access.limits;
begin
  -- Before any row is locked: whoever creates shares this lock, and then locks a row.
  if exists (
    select
    from unnest('{users,organizations,api_keys,sessions}'::text[]) n (name)
      left join access.limits l on l.name = n.name
    where l.most is distinct from (wanted ->> ('max_' || n.name))::integer
      and (n.name = 'sessions' or l.most is null or wanted ->> ('max_' || n.name) is null))
  then
    perform pg_advisory_xact_lock(hashtext('access.limits'));
  end if;
  foreach counted in array '{api_keys,documents,organizations,sessions,users}'::text[] loop
    wished := case
      when counted = 'documents' and not coalesce((wanted ->> 'limit_documents')::boolean, false) then null
      else (wanted ->> ('max_' || counted))::integer
    end;
    select * into was from access.limits l where l.name = counted;
    if wished is not distinct from was.most then
      continue;
    elsif wished is null and counted <> 'documents' then
      delete from access.limits l where l.name = counted;
    else
      insert into access.limits as l (name, most, used)
      values (counted, wished, case when was.name is null then access.counted_now(counted) else 0 end)
      on conflict on constraint limits_pkey do update set most = excluded.most;
    end if;
    if counted = 'sessions' then
      perform access.make_session_places(wished);
    end if;
  end loop;
  return access.used();
end $$;

-- Counts from the rows themselves.
create function access.counted_now(counted text) returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case counted
    -- The active users as all but the others, both of which an index counts.
    when 'users' then (select count(*) from freehold.users) - (select count(*) from freehold.users u where not u.is_active)
    when 'organizations' then (select count(*) from freehold.organizations o where o.state <> 'ended')
    when 'api_keys' then (
      select count(*) from freehold.api_keys k where k.revoked_at is null and coalesce(k.expires_at > now(), true))
    else 0
  end::integer
$$;

-- {users, organizations, documents, api_keys, sessions}: how much of each there is. Sessions are counted where they are
-- limited (null: they are not).
create function access.used() returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'users', coalesce((select l.used from access.limits l where l.name = 'users'), access.counted_now('users')),
    'organizations', access.counted_now('organizations'),
    'documents', coalesce((select l.used from access.limits l where l.name = 'documents'), 0),
    'api_keys', access.counted_now('api_keys'),
    'sessions', (
      select (
        select count(*)
        from access.session_places p
          join freehold.sessions s on s.id = p.session_id
          cross join freehold.tenant t
        where s.ended_at is null
          and access.session_ends(s, t) > now())
      from access.limits l
      where l.name = 'sessions'))
$$;

-- The limits of this tenant and what is used of them, and its licence.
create function access.usage() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
begin
  if access.permission() is distinct from 'usage:read' then
    perform access.refuse('forbidden', 'Reading limits needs usage:read.');
  end if;
  select * into t from freehold.tenant;
  return jsonb_build_object(
    'limits', (
      select jsonb_object_agg('max_' || n.name, l.most)
      from unnest('{users,organizations,documents,api_keys,sessions}'::text[]) n (name)
        left join access.limits l on l.name = n.name),
    'used', access.used(),
    'licensed_until', to_char(t.licensed_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'read_only_from', to_char(t.read_only_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
end $$;

-- Whether a tenant whose licence has ended may be asked for something with this permission: reading, taking everything
-- along, and ending what lets somebody in: a user, a session, a key. null is what everybody does for themselves: logging
-- out, a new password. Deactivating a user is asked for with user:update, so the request is looked at; that it does no
-- more is checked with the change (access.check_user_change).
create function access.is_allowed_unlicensed(permission text, request jsonb default '{}') returns boolean
language sql immutable
return permission is null
  or permission ~ ':(read|export)$'
  or permission in ('user:delete', 'session:delete', 'api_key:delete')
  or permission = 'user:update'
    and coalesce(request ->> 'method' = 'POST' and request ->> 'path' ~ '^/api/v1/users/[^/]+/deactivate/?$', false)
  or permission = 'employee:update'
    and coalesce(request ->> 'method' = 'POST' and request ->> 'path' ~ '^/api/v1/employees/[^/]+/terminate/?$', false);

-- Refuses a creation by the Worker's login while the tenant can only be read, whatever it was admitted with.
create function access.must_be_licensed() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from freehold.tenant t where t.read_only_from <= now())
    and not pg_has_role(session_user, 'freehold_owner', 'member')
  then
    perform access.refuse_unlicensed();
  end if;
end $$;

-- FH40L is what the Worker calls license_expired (src/kernel/db.ts); the message is one that every release knows.
create function access.refuse_unlicensed() returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    errcode = 'FH40L',
    message = 'forbidden',
    detail = 'The license of this tenant has expired: it can be read and exported, access can be ended, nothing else changed.';
end $$;

grant execute on function access.usage() to freehold_app;
