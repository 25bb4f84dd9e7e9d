-- Whether the admitted user holds what others hold or are given, there where they hold it: the one comparison behind
-- handing-out.sql and over-others.sql.
--
-- Threat: a scope is measured from a place, so that two users with the same scope reach different units. Compared by
-- the name of the scope alone, the head of one department could take over somebody to whom the head of another has
-- delegated theirs.

-- The permissions that the admitted user holds at scope `all`, as far as their API key goes and as they held them
-- before this transaction; with what was delegated to them by others than `subjects`, unless that is null.
create function access.held_everywhere(subjects uuid[]) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  before timestamptz := now() - interval '1 microsecond';
begin
  -- Administrators ask most often, and hold so much that looking at all of it takes milliseconds.
  if access.key() is null
    and exists (
      select
      from freehold.user_roles ur
        join freehold.roles r on r.id = ur.role_id and r.is_admin
        join freehold.role_periods p on p.role_id = r.id
      where ur.user_id = me
        and ur.organization_id is null
        and access.in_force(ur.starts_at, ur.ends_at, before)
        and access.in_force(p.starts_at, p.ends_at, before))
    and not exists (select from freehold.overrides o where o.user_id = me)
  then
    return array(select p.name from freehold.permissions p);
  end if;
  return array(
    select distinct h.permission
    from access.held_where(null, subjects) h
    where h.scope = 'all');
end $$;

-- What the admitted user holds, and around whom, as far as their API key goes and as they held it before this
-- transaction: of the `wanted` permissions, or of all (null); with what was delegated to them by others than
-- `subjects`, unless that is null. What somebody delegated does not count against themselves.
create function access.held_where(wanted text[], subjects uuid[]) returns setof access.placed
language sql stable set search_path = pg_catalog, pg_temp as $$
  select distinct h.permission, h.scope, h.holder
  from (
    select g.permission, g.scope, access.principal() as holder
    from access.own_grants(access.principal(), now() - interval '1 microsecond', wanted) g
    union all
    select g.permission, g.scope, g.holder
    from access.user_grants(access.principal(), now() - interval '1 microsecond', wanted) g
    where subjects is not null and g.kind = 'delegation' and g.holder <> all (subjects)
  ) h
    cross join (select access.key_permissions(access.principal()) as names) k
  where k.names is null or h.permission = any (k.names)
$$;

-- The first of the permissions in `needed` that the admitted user does not hold as far; null: they hold all of them. A
-- permission is held as far as another at scope `all`, or when it reaches each unit that the other reaches around its
-- `holder`, and the holder; without a holder when its scope is as wide. `subjects` as above.
create function access.lacking(needed access.placed[], subjects uuid[]) returns access.placed
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  mine access.placed[];
  remaining access.placed[];
  lacks access.placed;
begin
  if access.principal() is null or cardinality(needed) = 0 then
    return null;
  end if;
  mine := array(
    select h::access.placed
    from access.held_where(array(select distinct n.permission from unnest(needed) n), subjects) h);
  remaining := array(
    select distinct n::access.placed
    from unnest(needed) n
    where n.permission not in (select m.permission from unnest(mine) m where m.scope = 'all'));
  if cardinality(remaining) = 0 then
    return null;
  end if;
  -- Who holds none of it anywhere is told so before places are measured.
  select n.permission, n.scope, n.holder
  into lacks
  from unnest(remaining) n
  where n.scope = 'all' or n.permission not in (select m.permission from unnest(mine) m)
  order by n.permission, n.scope
  limit 1;
  if found then
    return lacks;
  end if;
  with places as materialized (
    select p.holder, p.scope, u.unit_id, array(select access.units_in_scope(p.holder, p.scope)) as units
    from (
      select m.holder, m.scope from unnest(mine) m
      union
      select n.holder, n.scope from unnest(remaining) n where n.holder is not null
    ) p
      join freehold.users u on u.id = p.holder
  ),
  reach as (
    select m.permission, max(m.scope) as scope, array_agg(m.holder) as owners,
      array(
        select distinct x.unit
        from unnest(mine) o
          join places p on p.holder = o.holder and p.scope = o.scope
          cross join lateral unnest(p.units) x (unit)
        where o.permission = m.permission) as units
    from unnest(mine) m
    group by m.permission
  )
  select n.permission, n.scope, n.holder
  into lacks
  from unnest(remaining) n
    join reach r on r.permission = n.permission
    left join places p on p.holder = n.holder and p.scope = n.scope
  where case
    when n.holder is null then r.scope < n.scope
    else not (p.units <@ r.units and (n.holder = any (r.owners) or coalesce(p.unit_id = any (r.units), false)))
  end
  order by n.permission, n.scope
  limit 1;
  return lacks;
end $$;

-- One of these users for each unit that they are in: a scope that is measured from a unit reaches the same from all
-- users in it. Those without a unit reach nobody else's.
create function access.one_of_each_unit(subjects uuid[]) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select distinct on (u.unit_id) u.id
  from freehold.users u
  where u.id = any (subjects) and u.unit_id is not null
  order by u.unit_id, u.id
$$;
