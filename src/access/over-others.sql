-- Two rules over other users, called by the triggers and functions of every verb that they are about.
--   access.require_all_of     becoming somebody needs everything that they hold
--   access.require_power_of   standing over somebody needs the power over others that they hold
--
-- Threat: a user who may change others takes over an administrator's account, switches it off or on, ends its
-- sessions, moves it, or takes a role, or a permission out of a role, from it. Who holds less never touches who holds
-- more. One may always act on oneself, and the system on everybody.
--
-- Becoming: whatever lets the caller log in as the user (a password that they see or set, the e-mail address, the
-- username). Standing over: active or not, sessions, API keys, limits, unit, manager, end date, primary role, denials,
-- grants and roles that are taken away; and what is taken out of a role counts for everybody who holds it. A user's
-- power over others is every administrative permission (freehold.permissions.is_administrative) that they hold wider
-- than `own`. Both rules compare with the place where a permission is held (lacking.sql).

-- What users hold, or will, of the `wanted` permissions: by roles, active or not, by grants, denied or not, and by
-- delegations that are not over, as far as their delegators hold it, or will. Each permission as it reaches around its
-- holder; without a holder: around the user, who is in no unit, or at scope `own` or `all`.
create function access.potential_grants(subjects uuid[], wanted text[]) returns setof access.placed
language sql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
  with delegated as materialized (
    select distinct d.delegator_id, d.role_id, case when d.role_id is null then d.id end as delegation_id
    from freehold.delegations d
    where d.delegate_id = any (subjects)
      and d.ends_at > now()
      and d.revoked_at is null
      and d.decision is distinct from 'rejected'
  ),
  -- Of the subjects one for each unit and role; the delegators each for themselves.
  held as materialized (
    select ur.role_id, u.unit_id, (array_agg(u.id))[1] as holder, null::uuid as delegator_id,
      ur.organization_id is not null as within
    from freehold.user_roles ur
      join freehold.users u on u.id = ur.user_id
    where ur.user_id = any (subjects) and (ur.ends_at is null or ur.ends_at > now())
    group by ur.role_id, u.unit_id, ur.organization_id is not null
    union all
    select ur.role_id, null, null, ur.user_id, ur.organization_id is not null
    from freehold.user_roles ur
    where ur.user_id in (select d.delegator_id from delegated d) and (ur.ends_at is null or ur.ends_at > now())
  ),
  content as materialized (
    select r.role_id, c.permission, max(c.scope) as scope
    from (select h.role_id from held h union select d.role_id from delegated d where d.role_id is not null) r
      cross join lateral access.role_content(r.role_id) c
    where c.permission in (select unnest(wanted))
    group by r.role_id, c.permission
  ),
  granted as materialized (
    select o.user_id, o.permission, o.scope::access.scope as scope
    from freehold.overrides o
    where (o.user_id = any (subjects) or o.user_id in (select d.delegator_id from delegated d))
      and o.effect = 'grant'
      and (o.ends_at is null or o.ends_at > now())
      and o.permission in (select unnest(wanted))
  ),
  of_delegator as materialized (
    select x.delegator_id, x.permission, max(x.scope) as scope
    from (
      select h.delegator_id, c.permission, case when h.within then least(c.scope, 'organization') else c.scope end as scope
      from held h
        join content c on c.role_id = h.role_id
      where h.delegator_id is not null
      union all
      select g.user_id, g.permission, g.scope from granted g
    ) x
    group by x.delegator_id, x.permission
  )
  select c.permission, x.scope, case when x.scope between 'team' and 'organization' and h.unit_id is not null then h.holder end
  from held h
    join content c on c.role_id = h.role_id
    cross join lateral (select case when h.within then least(c.scope, 'organization') else c.scope end as scope) x
  where h.delegator_id is null
  union
  select g.permission, g.scope, case when g.scope in ('team', 'department') and u.unit_id is not null then u.id end
  from granted g
    join freehold.users u on u.id = g.user_id
  where u.id = any (subjects)
  union
  select c.permission, least(c.scope, g.scope), case when least(c.scope, g.scope) <> 'all' then d.delegator_id end
  from delegated d
    cross join lateral (
      select x.permission, x.scope from content x where x.role_id = d.role_id
      union all
      select p.permission, 'all' from freehold.delegation_permissions p where p.delegation_id = d.delegation_id
    ) c
    join of_delegator g on g.delegator_id = d.delegator_id and g.permission = c.permission
$$;

-- Refuses when the admitted user does not hold everything that another one holds. What was delegated to the admitted
-- user does not count: it ends, and the account would stay theirs.
create function access.require_all_of(subject uuid) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  everywhere text[] := access.held_everywhere(null);
  wanted text[] := array(select p.name from freehold.permissions p where p.name <> all (everywhere));
  lacks access.placed;
begin
  if access.principal() is null or access.principal() = subject or cardinality(wanted) = 0 then
    return;
  end if;
  lacks := access.lacking(
    array(select g::access.placed from access.potential_grants(array[subject], wanted) g),
    null);
  if lacks.permission is not null then
    perform access.refuse('forbidden',
      'This user holds more permissions than you: you cannot log in as them, or change how they do.');
  end if;
end $$;

-- Refuses when one of these users has power over others that the admitted user does not have; of the power that is
-- held at scope `measured`, when it is given.
create function access.require_power_of(subjects uuid[], measured access.scope default null) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  others uuid[] := array_remove(subjects, access.principal());
  everywhere text[];
  wanted text[];
  lacks access.placed;
begin
  if access.principal() is null or coalesce(cardinality(others), 0) = 0 then
    return;
  end if;
  -- First by itself: in the query it would be called for each permission.
  everywhere := access.held_everywhere(others);
  wanted := array(select p.name from freehold.permissions p where p.is_administrative and p.name <> all (everywhere));
  if cardinality(wanted) = 0 then
    return;
  end if;
  lacks := access.lacking(
    array(
      select g::access.placed
      from access.potential_grants(others, wanted) g
      where g.scope > 'own' and (measured is null or g.scope = measured)),
    others);
  if lacks.permission is not null and access.key() is null then
    perform access.refuse('forbidden',
      'This changes a user with administrative permissions that you do not hold as far as they do.');
  elsif lacks.permission is not null then
    perform access.refuse('forbidden',
      'This changes a user with administrative permissions that you or this API key do not hold as far as they do.');
  end if;
end $$;

-- Everybody who holds a role, now or later, also through a role that inherits from it or by a delegation.
create function access.holders_of(role uuid) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (id) as (
    select role
    union
    select r.id from line l join freehold.roles r on r.parent_id = l.id
  )
  select array(
    select ur.user_id
    from line l
      join freehold.user_roles ur on ur.role_id = l.id
    where ur.ends_at is null or ur.ends_at > now()
    union
    select d.delegate_id
    from line l
      join freehold.delegations d on d.role_id = l.id
    where d.ends_at > now() and d.revoked_at is null and d.decision is distinct from 'rejected')
$$;
