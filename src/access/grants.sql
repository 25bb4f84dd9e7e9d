-- Everything that a user holds at a moment, with the reason for each: {kind: role | inherited | override |
-- delegation, id, name, via}. access.user_grants answers for the user; access.grants answers for the
-- admitted user as far as their API key goes.

-- The permissions that a role carried at a moment, with what it inherited, and the competency that each demands of the
-- holder; of the `wanted` ones, or of all (null).
-- The administrator's carries everything there is. `offset 0` goes from a few roles to what they carry by the index,
-- however many a recursion is thought to find.
create function access.role_grants(role uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, type_id uuid, level integer)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (role_id, parent_id) as (
    select p.role_id, p.parent_id
    from freehold.role_periods p
    where p.role_id = role and access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select rp.permission, rp.scope::access.scope, rp.competency_type_id, rp.competency_level
  from line l
    cross join lateral (
      select x.permission, x.scope, x.competency_type_id, x.competency_level
      from freehold.role_permissions x
      where x.role_id = l.role_id and access.in_force(x.starts_at, x.ends_at, moment)
      offset 0) rp
  where wanted is null or rp.permission in (select unnest(wanted))
  union all
  select x.name, 'all', null, null
  from line l
    join freehold.roles r on r.id = l.role_id and r.is_admin
    cross join freehold.permissions x
  where access.in_force(x.created_at, x.deleted_at, moment)
    and (wanted is null or x.name in (select unnest(wanted)))
$$;

-- What a user holds themselves, by roles and overrides.
create function access.own_grants(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, kind text, id uuid, name text, via text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive held (role_id, parent_id, top, within) as (
    select p.role_id, p.parent_id, p.role_id, ur.organization_id is not null
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = subject
      and access.in_force(ur.starts_at, ur.ends_at, moment)
      and access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id, h.top, h.within
    from held h
      join freehold.role_periods p on p.role_id = h.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  ),
  carried (permission, scope, role_id, top) as (
    select
      rp.permission,
      (case when h.within and rp.scope = 'all' then 'organization' else rp.scope end)::access.scope,
      h.role_id,
      h.top
    from held h
      cross join lateral (
        select x.permission, x.scope
        from freehold.role_permissions x
        where x.role_id = h.role_id
          and access.in_force(x.starts_at, x.ends_at, moment)
          and (
            x.competency_type_id is null
            or access.is_competent(subject, x.competency_type_id, x.competency_level, moment))
        offset 0) rp
    where wanted is null or rp.permission in (select unnest(wanted))
    union all
    select x.name, case when h.within then 'organization' else 'all' end::access.scope, h.role_id, h.top
    from held h
      join freehold.roles r on r.id = h.role_id and r.is_admin
      cross join freehold.permissions x
    where access.in_force(x.created_at, x.deleted_at, moment)
      and (wanted is null or x.name in (select unnest(wanted)))
  )
  select
    c.permission,
    c.scope,
    case when c.role_id = c.top then 'role' else 'inherited' end,
    c.role_id,
    r.name,
    case when c.role_id <> c.top then t.name end
  from carried c
    join freehold.roles r on r.id = c.role_id
    join freehold.roles t on t.id = c.top
  where c.permission not in (select access.denied_permissions(subject, moment))
  union all
  select o.permission, o.scope::access.scope, 'override', o.id, o.permission, null
  from freehold.overrides o
  where o.user_id = subject
    and o.effect = 'grant'
    and access.in_force(o.starts_at, o.ends_at, moment)
    and (wanted is null or o.permission in (select unnest(wanted)))
    and o.permission not in (select access.denied_permissions(subject, moment))
$$;

-- What a user holds, with what others delegated to them and hold themselves. `holder`: around whom it reaches.
create function access.user_grants(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, kind text, id uuid, name text, via text, holder uuid)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select g.permission, g.scope, g.kind, g.id, g.name, g.via, subject
  from access.own_grants(subject, moment, wanted) g
  where access.was_active(subject, moment)
  union all
  select g.permission, g.scope, 'delegation', g.id, g.name, g.via, g.holder
  from access.delegated(subject, moment, wanted) g
  where access.was_active(subject, moment)
    and g.permission not in (select access.denied_permissions(subject, moment))
$$;

-- The same, with what the API key of this transaction leaves of it. `offset 0` asks for that once and not for each row.
create function access.grants(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, kind text, id uuid, name text, via text, holder uuid)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select g.*
  from (select access.key_permissions(subject) as names offset 0) n
    cross join lateral access.user_grants(subject, moment, wanted) g
  where n.names is null or g.permission = any (n.names)
$$;

-- The names of the permissions that a user holds at a moment, sorted, as far as the API key of this transaction goes:
-- those of access.grants. Every login and every refresh needs them, and no reasons.
create function access.permissions_of(subject uuid, moment timestamptz) returns text[]
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  named text[] := access.key_permissions(subject);
  denied text[] := array(select access.denied_permissions(subject, moment));
  delegated text[] := '{}';
  held record;
begin
  if not access.was_active(subject, moment) then
    return '{}';
  end if;
  with recursive line (role_id, parent_id) as (
    select p.role_id, p.parent_id
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = subject
      and access.in_force(ur.starts_at, ur.ends_at, moment)
      and access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select array_agg(l.role_id) as line, bool_or(r.is_admin) as everything into held
  from line l
    join freehold.roles r on r.id = l.role_id;
  if held.everything then
    return array(
      select x.name
      from freehold.permissions x
      where access.in_force(x.created_at, x.deleted_at, moment)
        and x.name <> all (denied)
        and (named is null or x.name = any (named))
      order by x.name);
  end if;
  if exists (
    select from freehold.delegations d
    where d.delegate_id = subject and access.in_force(d.starts_at, d.ends_at, moment))
  then
    delegated := array(select distinct g.permission from access.delegated(subject, moment) g);
  end if;
  return array(
    select n.name
    from (
      select x.permission as name
      from freehold.role_permissions x
      where x.role_id = any (held.line)
        and access.in_force(x.starts_at, x.ends_at, moment)
        and (
          x.competency_type_id is null
          or access.is_competent(subject, x.competency_type_id, x.competency_level, moment))
      union
      select o.permission
      from freehold.overrides o
      where o.user_id = subject and o.effect = 'grant' and access.in_force(o.starts_at, o.ends_at, moment)
      union
      select unnest(delegated)
    ) n
    where n.name <> all (denied) and (named is null or n.name = any (named))
    order by n.name);
end $$;

-- The permissions that a token carries, of those that its user holds: `carried` says all, those that are `listed`, or
-- none; and at most a hundred, Freehold's own first. Services ask authz/check for the rest, of which `truncated` tells
-- them.
create function access.token_permissions(
  subject uuid,
  carried text,
  listed text[],
  out permissions text[],
  out truncated boolean
)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  permissions := '{}';
  truncated := false;
  if carried = 'none' then
    return;
  end if;
  permissions := access.permissions_of(subject, now());
  if carried = 'list' then
    permissions := array(select h.name from unnest(permissions) h (name) where h.name = any (listed));
  end if;
  if cardinality(permissions) <= 100 then
    return;
  end if;
  truncated := true;
  permissions := array(
    select x.name
    from (
      select p.name
      from unnest(permissions) with ordinality h (name, place)
        join freehold.permissions p on p.name = h.name
      order by not p.is_administrative, h.place
      limit 100) x
    order by x.name);
end $$;
