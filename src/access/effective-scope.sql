-- The effective scope: a decision (decision.sql) with its place, that is with the units and the owners whose rows it
-- reaches. access.admit asks user_effective_scope; whoever asks about the admitted user asks effective_scope, which
-- an API key narrows.

-- A unit and everything under it.
create function access.units_under(unit uuid) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive tree (id) as (
    select unit where unit is not null
    union
    select u.id from tree t join freehold.units u on u.parent_id = t.id
  )
  select id from tree
$$;

-- The units that a scope reaches from where a user is. team: their unit; department: the nearest department above,
-- and everything under it; organization: all units of theirs, in which all of its users are.
create function access.units_in_scope(subject uuid, scope access.scope) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.units_under(access.department_over(p.unit_id))
  from freehold.users p
  where p.id = subject and units_in_scope.scope = 'department'
  union
  select p.unit_id
  from freehold.users p
  where p.id = subject and p.unit_id is not null and units_in_scope.scope in ('team', 'department')
  union
  select n.id
  from freehold.users p
    join freehold.units n on n.organization_id = p.organization_id
  where p.id = subject and units_in_scope.scope = 'organization'
$$;

-- The effective scope of a permission now: the widest scope and, unless that is `all`, the owners and units in it. A
-- delegated permission reaches the delegator's rows and units, not the delegate's.
create function access.user_effective_scope(
  subject uuid,
  permission text,
  out scope access.scope,
  out units uuid[],
  out owners uuid[]
)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  why access.reason[];
begin
  units := '{}';
  owners := '{}';
  if access.reaches_all(subject, permission) then
    scope := 'all';
    owners := array[subject];
    return;
  end if;
  -- By itself: within the query it would be called once more, to estimate its rows.
  why := access.reasons(subject, permission, now());
  select max(r.scope), coalesce(array_agg(distinct r.holder), '{}') into scope, owners from unnest(why) r;
  if exists (select from unnest(why) r where r.scope in ('team', 'department', 'organization')) then
    -- Once for each department, however many delegators are in it.
    units := array(
      select u.unit_id
      from unnest(why) r
        join freehold.users u on u.id = r.holder
      where r.scope in ('team', 'department') and u.unit_id is not null
      union
      select access.units_under(d.id)
      from (
        select distinct access.department_over(u.unit_id) as id
        from unnest(why) r
          join freehold.users u on u.id = r.holder
        where r.scope = 'department'
      ) d
      where d.id is not null
      union
      select n.id
      from unnest(why) r
        join freehold.users u on u.id = r.holder
        join freehold.units n on n.organization_id = u.organization_id
      where r.scope = 'organization');
  end if;
end $$;

-- The same, with what the API key of this transaction leaves of it.
create function access.effective_scope(
  subject uuid,
  permission text,
  out scope access.scope,
  out units uuid[],
  out owners uuid[]
)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  r record;
begin
  if permission <> all (access.key_permissions(subject)) then
    units := '{}';
    owners := '{}';
    return;
  end if;
  r := access.user_effective_scope(subject, permission);
  scope := r.scope;
  units := r.units;
  owners := r.owners;
end $$;

-- Whether the admitted user reaches another one with the permission of this transaction.
create function access.can_access_user(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from freehold.users u
    where u.id = subject
      and (access.scope() = 'all' or u.id = any (access.scope_owner_ids()) or u.unit_id = any (access.scope_unit_ids())))
$$;
