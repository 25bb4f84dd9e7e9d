-- Units: the tree of departments and teams, from which the scopes team and department are measured
-- (access.units_in_scope).
--
-- Threat: a user who moves a unit, or turns its kind, changes how far the users in it reach, themselves above all, and
-- takes it from the heads of its department;
-- two who act at once close a circle. So the rules are a trigger, which no statement passes by, and one transaction
-- at a time changes the tree. Nothing here is called from outside: the verbs are inserts, updates and deletes.

-- A department stands under departments, a team under either, and nothing under itself. Callers below scope `all`
-- move nothing out of their reach, and make no department a team: the users in it would then reach all of the
-- department above.
create function access.before_unit() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  is_limited boolean := access.principal() is not null and access.scope() <> 'all';
  is_turned boolean := tg_op = 'UPDATE' and new.kind <> old.kind;
begin
  new.updated_at := now();
  if tg_op = 'UPDATE'
    and old.organization_id is not null
    and old.parent_id is null
    and access.permission() in ('unit:update', 'organization:create')
    and (new.kind, new.name, new.parent_id) is distinct from (old.kind, old.name, old.parent_id) then
    perform access.refuse('illegal_state', 'This unit is an organization: change the organization instead.');
  elsif tg_op = 'UPDATE' and (new.kind, new.parent_id) is not distinct from (old.kind, old.parent_id) then
    return new;
  end if;
  -- All that is under an organization is the organization's.
  if new.parent_id is not null then
    new.organization_id := (select u.organization_id from freehold.units u where u.id = new.parent_id);
  elsif tg_op = 'UPDATE' then
    new.organization_id := null;
  end if;
  if access.principal() is not null
    and new.parent_id is not null
    and new.organization_id is not null
    and (tg_op = 'INSERT' or new.organization_id is distinct from old.organization_id)
    and not access.is_open_organization(new.organization_id) then
    perform access.refuse('illegal_state', 'This organization is being wiped out.');
  end if;
  if is_limited and tg_op = 'UPDATE' and new.organization_id is distinct from old.organization_id then
    perform access.refuse('forbidden', 'This needs access to all units.');
  end if;
  -- Nobody moves or turns a unit that holds their own, or moves another into their department, when a permission of
  -- theirs is measured from there.
  if tg_op = 'UPDATE'
    and access.principal() is not null
    and not is_limited
    and access.depends_on_unit(access.principal())
    and (
      (select p.unit_id from freehold.users p where p.id = access.principal()) in (select access.units_under(new.id))
      or (
        new.parent_id in (select access.units_in_scope(access.principal(), 'department'))
        and new.id not in (select access.units_in_scope(access.principal(), 'department'))
      )
    ) then
    perform access.refuse('forbidden', 'You cannot do this: the scope of your permissions depends on it.');
  elsif is_limited and (is_turned or (tg_op = 'UPDATE' and new.parent_id is null)) then
    perform access.refuse('forbidden', 'This needs access to all units.');
  elsif is_limited and new.parent_id <> all (access.scope_unit_ids()) and new.parent_id is not null then
    perform access.refuse('invalid_request', 'is not a unit that you can access', 'parent_id');
  elsif is_turned
    and new.kind = 'team'
    and exists (select from freehold.units u where u.parent_id = new.id and u.kind = 'department') then
    perform access.refuse('invalid_request', 'contains departments, which can only be under departments', 'kind');
  elsif new.kind = 'department'
    and exists (select from freehold.units u where u.id = new.parent_id and u.kind = 'team') then
    perform access.refuse('invalid_request', 'would put a department under a team',
      case when is_turned then 'kind' else 'parent_id' end);
  elsif exists (
    with recursive up (id, parent_id) as (
      select u.id, u.parent_id
      from freehold.units u
      where u.id = new.parent_id
      union
      select u.id, u.parent_id
      from up
        join freehold.units u on u.id = up.parent_id
    )
    select from up where up.id = new.id
  ) then
    perform access.refuse('invalid_request', 'would put a unit under itself', 'parent_id');
  end if;
  if tg_op = 'UPDATE' then
    perform access.require_power_of(access.users_measured_anew(old, new), 'department');
  end if;
  return new;
end $$;

-- What departments reach is measured once more when the unit is in its new place. One that is moved to another
-- organization takes its users and units along.
create function access.after_unit() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  moved uuid[];
begin
  perform access.require_power_of(access.users_measured_anew(old, new), 'department');
  if new.organization_id is distinct from old.organization_id then
    moved := array(select access.units_under(new.id));
    perform access.require_power_of(array(select u.id from freehold.users u where u.unit_id = any (moved) limit 1001));
    if (select count(*) from (select from freehold.users u where u.unit_id = any (moved) limit 1001) x) > 1000 then
      perform access.refuse('in_use', 'More than 1,000 users are in this unit: move them to the other organization first.');
    end if;
    update freehold.units u set organization_id = new.organization_id where u.id = any (moved) and u.id <> new.id;
    update freehold.users u set organization_id = new.organization_id where u.unit_id = any (moved);
    perform access.require_power_of(array(select u.id from freehold.users u where u.unit_id = any (moved)));
  end if;
  return null;
end $$;

-- The unit that an organization is goes with the organization.
create function access.before_unit_deleted() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if old.organization_id is not null and old.parent_id is null and access.permission() = 'unit:delete' then
    perform access.refuse('in_use', 'This unit is an organization: delete the organization instead.');
  end if;
  return old;
end $$;

-- The users whose scope `department` reaches other units once a unit is moved, or its kind turned: those of the
-- departments above that lose or gain it, and those in it who get another department.
create function access.users_measured_anew(was freehold.units, is_now freehold.units) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, kind, parent_id, step, side) as (
    select u.id, u.kind, u.parent_id, 0, s.side
    from (values ('was', was.parent_id), ('is_now', is_now.parent_id)) s (side, id)
      join freehold.units u on u.id = s.id
    union all
    select u.id, u.kind, u.parent_id, x.step + 1, x.side
    from up x
      join freehold.units u on u.id = x.parent_id
  ),
  above as (
    select x.id
    from up x
    where x.kind = 'department'
    group by x.id
    having count(*) = 1
  ),
  inside as (
    select was.id
    where case when was.kind = 'department' then was.id
        else (select x.id from up x where x.side = 'was' and x.kind = 'department' order by x.step limit 1) end
      is distinct from case when is_now.kind = 'department' then is_now.id
        else (select x.id from up x where x.side = 'is_now' and x.kind = 'department' order by x.step limit 1) end
  ),
  -- Downwards as far as no other department begins.
  area (id) as (
    select id from above
    union
    select id from inside
    union
    select u.id
    from area a
      join freehold.units u on u.parent_id = a.id
    where u.kind <> 'department' and (u.id <> was.id or exists (select from inside))
  )
  select array(select u.id from freehold.users u where u.unit_id in (select a.id from area a))
$$;

create trigger one_at_a_time before insert or update of kind, parent_id on freehold.units
  for each statement execute function access.one_at_a_time();

create trigger before_unit before insert or update on freehold.units
  for each row execute function access.before_unit();

create trigger after_unit after update of kind, parent_id on freehold.units
  for each row when ((old.kind, old.parent_id) is distinct from (new.kind, new.parent_id))
  execute function access.after_unit();

create trigger before_unit_deleted before delete on freehold.units
  for each row execute function access.before_unit_deleted();

call access.audited('freehold.units', 'unit');

-- Not access.protect: a unit is made under a parent that is reached, and users read the unit that they are in,
-- whatever their scope.
create policy read on freehold.units for select
  using (
    (select access.scope()) = 'all'
    or id = any ((select access.scope_unit_ids())::uuid[])
    -- A unit that this transaction makes is not among those that were reached at its beginning.
    or ((select access.permission()) = 'unit:create' and parent_id = any ((select access.scope_unit_ids())::uuid[]))
    or id = (select u.unit_id from freehold.users u where u.id = (select access.principal()))
  );

create policy make on freehold.units for insert
  with check (
    (select access.permission()) = 'unit:create'
    and ((select access.scope()) = 'all' or parent_id = any ((select access.scope_unit_ids())::uuid[]))
  );

create policy change on freehold.units for update
  using (
    (select access.permission()) = 'unit:update'
    and ((select access.scope()) = 'all' or id = any ((select access.scope_unit_ids())::uuid[]))
  )
  with check ((select access.scope()) = 'all' or id = any ((select access.scope_unit_ids())::uuid[]));

create policy remove on freehold.units for delete
  using (
    (select access.permission()) = 'unit:delete'
    and ((select access.scope()) = 'all' or id = any ((select access.scope_unit_ids())::uuid[]))
  );

grant
  select,
  insert (id, kind, name, parent_id),
  update (kind, name, parent_id),
  delete
on freehold.units to freehold_app;
