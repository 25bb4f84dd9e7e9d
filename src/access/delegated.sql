-- What others delegated to a user and still hold themselves, for all delegations at once.
--
-- Threat: everybody may delegate to anybody, and the delegate is not asked. With a decision for each delegation, some
-- thousands of them made every login of their delegate take seconds. So each delegator and role is looked at once,
-- however often it was delegated, and one statement finds what all delegators hold. How many delegations there may be,
-- access.before_delegation bounds.

-- The delegations that count for a delegate at a moment: approved, in force, of a delegator who was active and held
-- the role that is delegated; of several of one delegator for one role, the oldest. `offset 0`, here and below, goes
-- from a few users and roles to what they hold by the index, however many a recursion is thought to find.
create function access.delegations_to(subject uuid, moment timestamptz)
returns table (id uuid, delegator_id uuid, role_id uuid)
language plpgsql stable rows 10 set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
begin
  return query
    with recursive d as materialized (
      select distinct on (x.delegator_id, coalesce(x.role_id, x.id)) x.id, x.delegator_id, x.role_id
      from freehold.delegations x
      where x.delegate_id = subject
        and access.in_force(x.starts_at, x.ends_at, moment)
        and x.decision = 'approved'
        and access.in_force(x.decided_at, x.revoked_at, moment)
      order by x.delegator_id, coalesce(x.role_id, x.id), x.starts_at, x.id
    ),
    active as materialized (
      select w.id, w.has_role
      from (select y.delegator_id as id, bool_or(y.role_id is not null) as has_role from d y group by y.delegator_id) w
        cross join lateral (
          select from freehold.user_periods p
          where p.user_id = w.id and access.in_force(p.starts_at, p.ends_at, moment)
          offset 0) p
    ),
    held (user_id, role_id, parent_id) as (
      select a.id, p.role_id, p.parent_id
      from active a
        cross join lateral (
          select ur.role_id
          from freehold.user_roles ur
          where ur.user_id = a.id and access.in_force(ur.starts_at, ur.ends_at, moment)
          offset 0) ur
        join freehold.role_periods p on p.role_id = ur.role_id
      where a.has_role and access.in_force(p.starts_at, p.ends_at, moment)
      union
      select h.user_id, p.role_id, p.parent_id
      from held h
        join freehold.role_periods p on p.role_id = h.parent_id
      where access.in_force(p.starts_at, p.ends_at, moment)
    )
    select d.id, d.delegator_id, d.role_id
    from d
      join active a on a.id = d.delegator_id
    where d.role_id is null
      or (d.delegator_id, d.role_id) in (select h.user_id, h.role_id from held h);
end $$;

-- Whether a user held a role within their organization only.
create function access.is_held_within(subject uuid, role uuid, moment timestamptz) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (select from freehold.user_roles ur where ur.user_id = subject and ur.organization_id is not null)
    and role not in (
      with recursive held (role_id, parent_id) as (
        select p.role_id, p.parent_id
        from freehold.user_roles ur
          join freehold.role_periods p on p.role_id = ur.role_id
        where ur.user_id = subject
          and ur.organization_id is null
          and access.in_force(ur.starts_at, ur.ends_at, moment)
          and access.in_force(p.starts_at, p.ends_at, moment)
        union
        select p.role_id, p.parent_id
        from held h
          join freehold.role_periods p on p.role_id = h.parent_id
        where access.in_force(p.starts_at, p.ends_at, moment)
      )
      select h.role_id from held h)
$$;

-- What these delegate, as far as their delegators held it themselves at that moment; of the `wanted` permissions, or
-- of all (null). `name`: the delegator; `via`: the role. A role is held with everything that it carries, but for what
-- its delegator is denied. What the delegate is denied is left to the caller.
create function access.delegated(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, id uuid, name text, via text, holder uuid)
language plpgsql stable rows 10 set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
begin
  return query
    with recursive d as materialized (
      select x.id, x.delegator_id, x.role_id, u.username as name, r.name as via,
        x.role_id is not null and access.is_held_within(x.delegator_id, x.role_id, moment) as within
      from access.delegations_to(subject, moment) x
        join freehold.users u on u.id = x.delegator_id
        left join freehold.roles r on r.id = x.role_id
    ),
    overridden as materialized (
      select w.delegator_id, o.permission, o.effect, o.scope
      from (select distinct x.delegator_id from d x) w
        cross join lateral (
          select y.permission, y.effect, y.scope::access.scope
          from freehold.overrides y
          where y.user_id = w.delegator_id and access.in_force(y.starts_at, y.ends_at, moment)
          offset 0) o
    ),
    -- What the delegated roles carry.
    content as materialized (
      select r.role_id, g.permission, max(g.scope) as scope, g.type_id, g.level
      from (select distinct x.role_id from d x where x.role_id is not null) r
        cross join lateral access.role_grants(r.role_id, moment, wanted) g
      group by r.role_id, g.permission, g.type_id, g.level
    ),
    -- The permissions that were delegated by name, and what their delegators hold of them.
    chosen as materialized (
      select distinct on (x.delegator_id, p.permission) x.id, x.delegator_id, x.name, p.permission
      from d x
        cross join lateral (
          select y.permission from freehold.delegation_permissions y where y.delegation_id = x.id offset 0) p
      where x.role_id is null and (wanted is null or p.permission = any (wanted))
      order by x.delegator_id, p.permission, x.id
    ),
    held (user_id, role_id, parent_id, within) as (
      select w.delegator_id, p.role_id, p.parent_id, ur.within
      from (select distinct c.delegator_id from chosen c) w
        cross join lateral (
          select ur.role_id, ur.organization_id is not null as within
          from freehold.user_roles ur
          where ur.user_id = w.delegator_id and access.in_force(ur.starts_at, ur.ends_at, moment)
          offset 0) ur
        join freehold.role_periods p on p.role_id = ur.role_id
      where access.in_force(p.starts_at, p.ends_at, moment)
      union
      select h.user_id, p.role_id, p.parent_id, h.within
      from held h
        join freehold.role_periods p on p.role_id = h.parent_id
      where access.in_force(p.starts_at, p.ends_at, moment)
    ),
    carried as materialized (
      select r.role_id, c.permission, c.scope, c.type_id, c.level
      from (select distinct h.role_id from held h) r
        cross join lateral (
          select y.permission, y.scope::access.scope, y.competency_type_id as type_id, y.competency_level as level
          from freehold.role_permissions y
          where y.role_id = r.role_id and access.in_force(y.starts_at, y.ends_at, moment)
          union all
          select y.name, 'all', null, null
          from freehold.permissions y
          where access.in_force(y.created_at, y.deleted_at, moment)
            and r.role_id = (select z.id from freehold.roles z where z.is_admin)
          offset 0) c
      where wanted is null or c.permission = any (wanted)
    ),
    own (delegator_id, permission, scope) as (
      select h.user_id, k.permission, case when h.within then least(k.scope, 'organization') else k.scope end
      from held h
        join carried k on k.role_id = h.role_id
      where k.type_id is null
        or access.is_competent(h.user_id, k.type_id, k.level, moment)
          and access.is_competent(subject, k.type_id, k.level, moment)
      union all
      select o.delegator_id, o.permission, o.scope from overridden o where o.effect = 'grant'
    ),
    found (permission, scope, id, name, via, holder) as (
      select c.permission, max(case when x.within then least(c.scope, 'organization') else c.scope end), x.id, x.name,
        x.via, x.delegator_id
      from d x
        join content c on c.role_id = x.role_id
      where c.type_id is null
        or access.is_competent(x.delegator_id, c.type_id, c.level, moment)
          and access.is_competent(subject, c.type_id, c.level, moment)
      group by c.permission, x.id, x.name, x.via, x.delegator_id
      union all
      select c.permission, max(o.scope), c.id, c.name, null, c.delegator_id
      from chosen c
        join own o on o.delegator_id = c.delegator_id and o.permission = c.permission
      group by c.permission, c.id, c.name, c.delegator_id
    )
    select f.permission, f.scope, f.id, f.name, f.via, f.holder
    from found f
    where not exists (
      select from overridden o
      where o.delegator_id = f.holder and o.permission = f.permission and o.effect = 'deny');
end $$;
