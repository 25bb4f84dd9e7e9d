-- Answers to questions: what somebody may do and why, who may do something, and up to a hundred checks at once. Of
-- now, or of a past moment. A caller learns about the users whom they reach, and an API key about what it names.

-- A moment that is asked about: not in the future; null is now.
create function access.past_or_now(moment timestamptz) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if moment > clock_timestamp() then
    perform access.refuse('invalid_request', 'lies in the future', 'query/at');
  end if;
  return coalesce(moment, now());
end $$;

-- What a user could do at a moment, with the reasons: {user_id, at, roles, permissions}. null: the caller reaches no
-- such user. That somebody looked at another user's permissions is recorded.
create function access.explain(subject uuid, asked timestamptz) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := access.past_or_now(asked);
begin
  if access.permission() is distinct from 'user:read' or access.can_access_user(subject) is not true then
    return null;
  end if;
  if subject is distinct from access.principal() then
    perform access.record('PERMISSIONS_READ', 'read', 'user', subject::text, null, jsonb_build_object('at', moment));
  end if;
  return jsonb_build_object(
    'user_id', subject,
    'at', to_char(moment at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'roles', case when access.was_active(subject, moment) then to_jsonb(access.role_names(subject, moment)) else '[]' end,
    'permissions', coalesce(
      (
        select jsonb_agg(
          jsonb_build_object('permission', x.permission, 'scope', x.scope, 'because', x.because) order by x.permission)
        from (
          select
            g.permission,
            max(g.scope) as scope,
            jsonb_agg(
              distinct jsonb_build_object('kind', g.kind, 'id', g.id, 'name', g.name, 'via', g.via, 'scope', g.scope)
            ) as because
          from access.grants(subject, moment) g
          group by g.permission
        ) x
      ),
      '[]')
  );
end $$;

-- Who could do something at a moment, among those whom the caller reaches; ordered by id, after one of them.
create function access.holders(permission text, asked timestamptz, after uuid, at_most integer)
returns table (user_id uuid, username text, scope access.scope)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := access.past_or_now(asked);
begin
  if access.permission() is distinct from 'permission:read'
    or not exists (select from freehold.permissions p where p.name = holders.permission)
  then
    perform access.refuse('not_found', 'There is no such permission.');
  end if;
  return query
    with recursive carrying (role_id) as (
      select rp.role_id
      from freehold.role_permissions rp
      where rp.permission = holders.permission and access.in_force(rp.starts_at, rp.ends_at, moment)
      union
      select r.id from freehold.roles r where r.is_admin
      union
      select p.role_id
      from carrying c
        join freehold.role_periods p on p.parent_id = c.role_id and access.in_force(p.starts_at, p.ends_at, moment)
    ),
    candidates (id) as (
      select ur.user_id
      from carrying c
        join freehold.user_roles ur on ur.role_id = c.role_id
      where access.in_force(ur.starts_at, ur.ends_at, moment)
      union
      select o.user_id
      from freehold.overrides o
      where o.permission = holders.permission
        and o.effect = 'grant'
        and access.in_force(o.starts_at, o.ends_at, moment)
      union
      select d.delegate_id
      from freehold.delegations d
      where access.in_force(d.starts_at, d.ends_at, moment)
    )
    select u.id, u.username, d.scope
    from (select x.id from candidates x where after is null or x.id > after order by x.id) c
      join freehold.users u on u.id = c.id
      cross join lateral (select access.decide(u.id, holders.permission, moment) as scope) d
    where d.scope is not null
      and access.was_active(u.id, moment)
      and (
        (select access.scope()) = 'all'
        or u.id = any ((select access.scope_owner_ids())::uuid[])
        or u.unit_id = any ((select access.scope_unit_ids())::uuid[]))
    order by u.id
    limit at_most;
end $$;

-- Answers up to a hundred checks, {user_id?, permission | any_of | role, resource?: {owner_id?, unit_id?}}, in order
-- with {allowed, scope, because}. Any user may ask about themselves, and about others whom they reach with user:read.
create function access.ask(checks jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  far record;
  wrong record;
  answer jsonb;
  -- What the API key names with which a user asks about themselves. Looked up once, because a function for each grant
  -- would cost more.
  names text[] := access.key_permissions(me);
begin
  if me is null then
    return null;
  end if;
  select format('checks/%s/%s', c.n - 1, p.field) as field, p.name into wrong
  from jsonb_array_elements(checks) with ordinality as c (x, n)
    cross join lateral (
      select 'permission' as field, c.x ->> 'permission' as name
      union all
      select 'any_of', jsonb_array_elements_text(c.x -> 'any_of')
      union all
      select 'role', c.x ->> 'role'
    ) p
  where p.name is not null
    and case p.field
      when 'role' then not exists (select from freehold.roles r where r.name = p.name and r.deleted_at is null)
      else not exists (select from freehold.permissions x where x.name = p.name and x.deleted_at is null)
    end
  order by c.n
  limit 1;
  if found then
    perform access.refuse('invalid_request', format('there is no %s here', wrong.name), wrong.field);
  end if;
  if exists (select from jsonb_array_elements(checks) c (x) where (c.x ->> 'user_id')::uuid <> me) then
    select r.scope, r.units, r.owners into far from access.effective_scope(me, 'user:read') r;
    if exists (
      select from jsonb_array_elements(checks) c (x)
      where (c.x ->> 'user_id')::uuid <> me
        and not exists (
          select from freehold.users u
          where u.id = (c.x ->> 'user_id')::uuid
            and (
              far.scope = 'all'
              or (far.scope is not null and (u.id = any (far.owners) or u.unit_id = any (far.units))))))
    then
      perform access.refuse('not_found', 'There is no such user.');
    end if;
  end if;
  -- What is asked is matched by equality; and what a user holds and reaches is found out once for all that is asked
  -- about them.
  with c as materialized (
    select
      t.n,
      coalesce((t.x ->> 'user_id')::uuid, me) as subject,
      t.x ->> 'permission' as permission,
      t.x -> 'any_of' as any_of,
      t.x ->> 'role' as role,
      nullif(t.x -> 'resource', 'null') is null as anywhere,
      (t.x -> 'resource' ->> 'owner_id')::uuid as owner_id,
      (t.x -> 'resource' ->> 'unit_id')::uuid as unit_id
    from jsonb_array_elements(checks) with ordinality as t (x, n)
  ),
  wanted as materialized (
    select c.n, c.subject, c.permission from c where c.permission is not null
    union
    select c.n, c.subject, jsonb_array_elements_text(c.any_of) from c
  ),
  -- What each user holds of what is asked.
  g as materialized (
    select p.subject, y.*
    from (select w.subject, array_agg(w.permission) as permissions from wanted w group by w.subject) p
      cross join lateral access.user_grants(p.subject, now(), p.permissions) y
    where names is null or p.subject <> me or y.permission = any (names)
  ),
  m as materialized (
    select c.n, c.anywhere, c.owner_id, c.unit_id, g.*
    from wanted w
      join g on g.subject = w.subject and g.permission = w.permission
      join c on c.n = w.n
  ),
  -- The units that a scope reaches, where a unit is asked about.
  f as materialized (
    select x.holder, x.scope, array(select access.units_in_scope(x.holder, x.scope)) as units
    from (
      select distinct m.holder, m.scope
      from m
      where m.unit_id is not null and m.scope in ('team', 'department')
    ) x
  ),
  -- The roles that each user holds, where a role is asked about.
  h as materialized (
    select p.subject, y.*
    from (select distinct c.subject from c where c.role is not null) p
      cross join lateral access.user_held_roles(p.subject, now()) y
    where names is null
      or p.subject <> me
      or not exists (select from access.role_grants(y.id, now()) x where x.permission <> all (names))
  ),
  hit as (
    select m.n, m.scope, jsonb_build_object('kind', m.kind, 'id', m.id, 'name', m.name, 'via', m.via) as why
    from m
      left join f on f.holder = m.holder and f.scope = m.scope
    where m.anywhere or m.scope = 'all' or m.owner_id = m.holder or m.unit_id = any (f.units)
    union all
    select c.n, null, jsonb_build_object('kind', h.kind, 'id', h.id, 'name', h.name, 'via', h.via)
    from c
      join h on h.subject = c.subject and h.name = c.role
  ),
  answered as (
    select hit.n, max(hit.scope) as scope, jsonb_agg(distinct hit.why) as because
    from hit
    group by hit.n
  )
  select jsonb_agg(
    jsonb_build_object('allowed', t.n is not null, 'scope', t.scope, 'because', coalesce(t.because, '[]')) order by c.n)
  into answer
  from c
    left join answered t on t.n = c.n;
  return answer;
end $$;

grant execute on function
  access.explain(uuid, timestamptz),
  access.holders(text, timestamptz, uuid, integer),
  access.ask(jsonb)
to freehold_app;
