-- Whether the admitted user holds what others hold or are given, there where they hold it: the one comparison behind
-- handing-out.sql and over-others.sql.
--
-- Threat: a scope is measured from a place, so that two users with the same scope reach different units. Compared by
-- the name of the scope alone, the head of one department could take over somebody to whom the head of another has
-- delegated theirs.

-- The first of the permissions in `needed` that the admitted user does not hold as far; null: they hold all of them.
-- What counts is what they held before this transaction, as far as their API key goes; what was delegated to them
-- counts when `with_delegated`. A permission is held as far as another at scope `all`, or when it reaches each unit
-- that the other reaches around its `holder`, and the holder; without a holder when its scope is as wide.
create function access.lacking(needed access.placed[], with_delegated boolean) returns access.placed
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  named text[] := access.key_permissions(me);
  before timestamptz := now() - interval '1 microsecond';
  wanted text[] := array(select distinct n.permission from unnest(needed) n);
  mine access.placed[];
  remaining access.placed[];
  lacks access.placed;
begin
  if me is null or cardinality(wanted) = 0 then
    return null;
  end if;
  mine := array(
    select distinct row(g.permission, g.scope, me)::access.placed
    from access.own_grants(me, before, wanted) g
    where named is null or g.permission = any (named));
  if with_delegated then
    mine := mine || array(
      select distinct row(g.permission, g.scope, g.holder)::access.placed
      from access.user_grants(me, before, wanted) g
      where g.kind = 'delegation' and (named is null or g.permission = any (named)));
  end if;
  remaining := array(
    select distinct n::access.placed
    from unnest(needed) n
    where n.permission not in (select m.permission from unnest(mine) m where m.scope = 'all'));
  if cardinality(remaining) = 0 then
    return null;
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
    left join reach r on r.permission = n.permission
    left join places p on p.holder = n.holder and p.scope = n.scope
  where r.permission is null
    or n.scope = 'all'
    or case
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
