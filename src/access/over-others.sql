-- Two rules over other users, called by the triggers and functions of every verb that they are about.
--   access.require_all_of     becoming somebody needs everything that they hold
--   access.require_power_of   standing over somebody needs the power over others that they hold
--   access.require_power_in   the same for whoever's department a unit is moved out of or into
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

-- What users hold, or will: by roles, active or not, by grants, denied or not, and by delegations that are not over.
-- Each permission as it reaches around its holder; without a holder: around the user, who is in no unit, or at scope
-- `own` or `all`.
create function access.potential_grants(subjects uuid[]) returns setof access.placed
language sql stable set search_path = pg_catalog, pg_temp as $$
  with held as materialized (
    select ur.role_id, u.unit_id, (array_agg(u.id))[1] as holder
    from freehold.user_roles ur
      join freehold.users u on u.id = ur.user_id
    where ur.user_id = any (subjects) and (ur.ends_at is null or ur.ends_at > now())
    group by ur.role_id, u.unit_id
  ),
  delegated as materialized (
    select distinct d.delegator_id, d.role_id, case when d.role_id is null then d.id end as delegation_id
    from freehold.delegations d
    where d.delegate_id = any (subjects)
      and d.ends_at > now()
      and d.revoked_at is null
      and d.decision is distinct from 'rejected'
  ),
  content as materialized (
    select r.role_id, c.permission, max(c.scope) as scope
    from (select h.role_id from held h union select d.role_id from delegated d where d.role_id is not null) r
      cross join lateral access.role_content(r.role_id) c
    group by r.role_id, c.permission
  )
  select c.permission, c.scope, case when c.scope in ('team', 'department') and h.unit_id is not null then h.holder end
  from held h
    join content c on c.role_id = h.role_id
  union
  select o.permission, o.scope::access.scope,
    case when o.scope in ('team', 'department') and u.unit_id is not null then u.id end
  from freehold.overrides o
    join freehold.users u on u.id = o.user_id
  where o.user_id = any (subjects) and o.effect = 'grant' and (o.ends_at is null or o.ends_at > now())
  union
  select c.permission, least(c.scope, g.scope), case when least(c.scope, g.scope) <> 'all' then d.delegator_id end
  from delegated d
    cross join lateral (
      select x.permission, x.scope from content x where x.role_id = d.role_id
      union all
      select p.permission, 'all' from freehold.delegation_permissions p where p.delegation_id = d.delegation_id
    ) c
    join lateral (
      select x.permission, max(x.scope) as scope
      from access.own_grants(d.delegator_id, now()) x
      group by x.permission
    ) g on g.permission = c.permission
$$;

-- Refuses when the admitted user does not hold everything that another one holds. What was delegated to the admitted
-- user does not count: it ends, and the account would stay theirs.
create function access.require_all_of(subject uuid) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  lacks access.placed;
begin
  if access.principal() is null or access.principal() = subject then
    return;
  end if;
  lacks := access.lacking(array(select g::access.placed from access.potential_grants(array[subject]) g), false);
  if lacks.permission is not null then
    perform access.refuse('forbidden',
      'This user holds more permissions than you: you cannot change how they log in.');
  end if;
end $$;

-- Refuses when one of these users has power over others that the admitted user does not have; of the power that is
-- held at scope `measured`, when it is given.
create function access.require_power_of(subjects uuid[], measured access.scope default null) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  others uuid[] := array_remove(subjects, access.principal());
  lacks access.placed;
begin
  if access.principal() is null or coalesce(cardinality(others), 0) = 0 then
    return;
  end if;
  lacks := access.lacking(
    array(
      select g::access.placed
      from access.potential_grants(others) g
        join freehold.permissions p on p.name = g.permission and p.is_administrative
      where g.scope > 'own' and (measured is null or g.scope = measured)),
    true);
  if lacks.permission is not null and access.key() is null then
    perform access.refuse('forbidden',
      'This changes a user with administrative permissions that you do not hold as far as they do.');
  elsif lacks.permission is not null then
    perform access.refuse('forbidden',
      'This changes a user with administrative permissions that you or this API key do not hold as far as they do.');
  end if;
end $$;

-- Refuses when somebody in the department of a unit has power over that department that the admitted user does not
-- have: who moves the unit takes from them, or gives to them, what is in it.
create function access.require_power_in(unit uuid) returns void
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.require_power_of(array_agg(u.id), 'department')
  from freehold.users u
  where u.unit_id in (select access.department_of(unit))
$$;

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
