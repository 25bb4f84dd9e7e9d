create function access.was_active(person uuid, moment timestamptz) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (select from freehold.user_periods p where p.user_id = person and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment))
$$;

-- Whether somebody holds any role now: what roles_of begins with, and less work.
create function access.has_role(person uuid) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from freehold.user_roles ur join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = person and ur.starts_at <= now() and (ur.ends_at is null or ur.ends_at > now())
      and p.starts_at <= now() and (p.ends_at is null or p.ends_at > now()))
$$;

-- The roles that a person held at a moment: assigned, active, and everything these inherited from then.
create function access.roles_of(person uuid, moment timestamptz) returns setof uuid language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive held (role_id, parent_id) as (
    select p.role_id, p.parent_id
    from freehold.user_roles ur join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = person and ur.starts_at <= moment and (ur.ends_at is null or ur.ends_at > moment)
      and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment)
    union
    select p.role_id, p.parent_id from held h join freehold.role_periods p on p.role_id = h.parent_id
    where p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment)
  )
  select role_id from held
$$;

-- Roles and all that they inherit from, as far as they were on at a moment.
create function access.line_of(roles uuid[], moment timestamptz) returns uuid[] language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  line uuid[];
  upper uuid[];
begin
  select array_agg(p.role_id), array_agg(p.parent_id) filter (where p.parent_id is not null) into line, upper
  from freehold.role_periods p where p.role_id = any (roles) and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment);
  while upper is not null loop
    select line || array_agg(p.role_id), array_agg(p.parent_id) filter (where p.parent_id is not null) into line, upper
    from freehold.role_periods p
    where p.role_id = any (upper) and p.role_id <> all (line) and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment);
  end loop;
  return line;
end $$;

-- How far a line of roles carried a permission at a moment: 1 (own) to 4 (all), or null.
create function access.carried(line uuid[], permission text, moment timestamptz) returns integer language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  widest integer;
begin
  select max(array_position(array['own', 'team', 'department', 'all'], rp.scope)) into widest
  from freehold.role_permissions rp
  where rp.role_id = any (line) and rp.permission = carried.permission and rp.starts_at <= moment and (rp.ends_at is null or rp.ends_at > moment);
  if widest is distinct from 4 and exists (select from freehold.roles r where r.id = any (line) and r.is_admin)
    and exists (select from freehold.permissions x where x.name = carried.permission and x.created_at <= moment and (x.deleted_at is null or x.deleted_at > moment)) then
    return 4;
  end if;
  return widest;
end $$;

create function access.denied(person uuid, moment timestamptz) returns setof text language sql stable set search_path = pg_catalog, pg_temp as $$
  select o.permission from freehold.overrides o
  where o.user_id = person and o.effect = 'deny' and o.starts_at <= moment and (o.ends_at is null or o.ends_at > moment)
$$;

-- The widest scope at which a person held a permission themselves at a moment (by roles and overrides, without delegations), or null.
create function access.own_scope(person uuid, permission text, moment timestamptz) returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  is_denied boolean;
  granted integer;
begin
  select bool_or(o.effect = 'deny'), max(array_position(array['own', 'team', 'department', 'all'], o.scope)) into is_denied, granted
  from freehold.overrides o
  where o.user_id = person and o.permission = own_scope.permission and o.starts_at <= moment and (o.ends_at is null or o.ends_at > moment);
  if is_denied then
    return null;
  end if;
  return (array['own', 'team', 'department', 'all'])[greatest(granted, access.carried(access.line_of(
    array(select ur.role_id from freehold.user_roles ur where ur.user_id = person and ur.starts_at <= moment and (ur.ends_at is null or ur.ends_at > moment)), moment), permission, moment))];
end $$;

-- The scope that reaches less.
create function access.narrower(a text, b text) returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case when array_position(array['own', 'team', 'department', 'all'], a) < array_position(array['own', 'team', 'department', 'all'], b) then a else b end
$$;

-- Who holds a permission for a person at a moment, and how far: the person themselves, and whoever delegated it to them and still holds it.
-- A denial of the person wins over what is delegated to them, too. What is delegated cannot be delegated on: only own_scope counts.
create function access.sources(person uuid, permission text, moment timestamptz) returns table (holder uuid, scope text) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  d record;
begin
  if exists (select from freehold.overrides o where o.user_id = person and o.permission = sources.permission and o.effect = 'deny'
      and o.starts_at <= moment and (o.ends_at is null or o.ends_at > moment)) then
    return;
  end if;
  holder := person;
  scope := access.own_scope(person, permission, moment);
  if scope is not null then
    return next;
  end if;
  for d in
    select x.id, x.delegator_id, x.role_id from freehold.delegations x
    where x.delegate_id = person and x.ends_at > moment and x.starts_at <= moment and x.decision = 'approved' and x.decided_at <= moment
      and (x.revoked_at is null or x.revoked_at > moment)
  loop
    holder := d.delegator_id;
    if d.role_id is null then
      select 'all' into scope from freehold.delegation_permissions p where p.delegation_id = d.id and p.permission = sources.permission;
    else
      scope := (array['own', 'team', 'department', 'all'])[access.carried(access.line_of(array[d.role_id], moment), permission, moment)];
    end if;
    -- Most delegations are of something else: what follows costs more.
    continue when scope is null or not access.was_active(d.delegator_id, moment)
      or d.role_id not in (select access.roles_of(d.delegator_id, moment));
    -- narrower() of null is null: the delegator no longer holds it.
    scope := access.narrower(scope, access.own_scope(d.delegator_id, permission, moment));
    if scope is not null then
      return next;
    end if;
  end loop;
end $$;

-- The widest scope at which a person holds a permission at a moment, or null.
create function access.decide(person uuid, permission text, moment timestamptz) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
  select s.scope from access.sources(person, permission, moment) s
  order by array_position(array['own', 'team', 'department', 'all'], s.scope) desc limit 1
$$;

-- A unit and everything under it.
create function access.under(unit uuid) returns setof uuid language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive tree (id) as (select unit union select u.id from tree t join freehold.units u on u.parent_id = t.id) select id from tree
$$;

-- The units that a scope reaches from where somebody is: team: their unit; department: the nearest department above, and all under it.
create function access.units_of(person uuid, scope text) returns setof uuid language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, kind, parent_id, step) as (
    select u.id, u.kind, u.parent_id, 0 from freehold.users p join freehold.units u on u.id = p.unit_id where p.id = person
    union all
    select u.id, u.kind, u.parent_id, up.step + 1 from up join freehold.units u on u.id = up.parent_id where up.kind <> 'department' and units_of.scope = 'department'
  )
  select access.under(x.id) from (select id from up where kind = 'department' order by step limit 1) x where units_of.scope = 'department'
  union
  select p.unit_id from freehold.users p where p.id = person and p.unit_id is not null and units_of.scope in ('team', 'department')
$$;

-- How far a person reaches with a permission now: the widest scope; unless that is `all`, whose things and which units. What is delegated reaches
-- as far as it did for the delegator, around the delegator.
create function access.whole_reach(person uuid, permission text, out scope text, out units uuid[], out owners uuid[]) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  s record;
begin
  units := '{}';
  owners := '{}';
  for s in select x.holder, x.scope as reaches from access.sources(person, permission, now()) x loop
    if scope is null or array_position(array['own', 'team', 'department', 'all'], s.reaches) > array_position(array['own', 'team', 'department', 'all'], scope) then
      scope := s.reaches;
    end if;
    owners := owners || s.holder;
    exit when scope = 'all';
    if s.reaches <> 'own' then
      units := array(select unnest(units) union select access.units_of(s.holder, s.reaches));
    end if;
  end loop;
end $$;

create function access.reach(person uuid, permission text, out scope text, out units uuid[], out owners uuid[]) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  r record;
begin
  if permission <> all (access.narrowed(person)) then
    units := '{}';
    owners := '{}';
    return;
  end if;
  r := access.whole_reach(person, permission);
  scope := r.scope;
  units := r.units;
  owners := r.owners;
end $$;

-- Whether the admitted person reaches somebody with the permission of this transaction.
create function access.reaches(person uuid) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (select from freehold.users u where u.id = person
    and (access.scope() = 'all' or u.id = any (access.owners()) or u.unit_id = any (access.units())))
$$;
