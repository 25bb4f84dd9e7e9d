-- Whether a scope reaches one unit: the question of access.units_in_scope (effective-scope.sql) the other way round. A
-- department may have a thousand units under it, and a unit has few above it.

-- A unit and everything above it.
create function access.units_over(unit uuid) returns setof uuid
language sql stable rows 5 set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, parent_id) as (
    select u.id, u.parent_id from freehold.units u where u.id = unit
    union
    select u.id, u.parent_id from up join freehold.units u on u.id = up.parent_id
  )
  select id from up
$$;

-- The nearest department above a unit, or the unit itself if it is one.
create function access.department_over(unit uuid) returns uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, kind, parent_id, step) as (
    select u.id, u.kind, u.parent_id, 0 from freehold.units u where u.id = unit
    union all
    select u.id, u.kind, u.parent_id, up.step + 1
    from up
      join freehold.units u on u.id = up.parent_id
    where up.kind <> 'department'
  )
  select id from up where kind = 'department' order by step limit 1
$$;

-- Whether a scope around a user reaches a unit.
create function access.reaches_unit(holder uuid, scope access.scope, unit uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from freehold.users u
    where u.id = holder
      and (
        (reaches_unit.scope in ('team', 'department') and u.unit_id = unit)
        or (reaches_unit.scope = 'organization'
          and exists (select from freehold.units n where n.id = unit and n.organization_id = u.organization_id))
        or (reaches_unit.scope = 'department' and access.department_over(u.unit_id) in (select access.units_over(unit)))))
$$;

-- Whether a scope around a user reaches what another user is the owner of: in the same organization.
create function access.reaches_owner(holder uuid, scope access.scope, owner uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select reaches_owner.scope = 'organization'
    and exists (
      select
      from freehold.users h
        join freehold.users u on u.organization_id = h.organization_id
      where h.id = holder and u.id = owner)
$$;
