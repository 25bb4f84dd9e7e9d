-- Organizations within a tenant: who may have how many, and who belongs to one.
--
-- Threat: of fifty who join an organization with three places left more than three get one; a user who manages one
-- organization makes it larger than what it has bought, or takes somebody in from another; a user who has left keeps
-- what they were allowed there. So the rules are triggers, which no statement passes by; each organization counts its
-- own active users, in its row, which whoever comes or goes locks until their transaction ends.
--
-- Locked in this order: the counter of organizations, the user, then the organizations by their ids, then roles.

-- Applies the rules of one organization. Below scope `all` its limit and what it has bought are not changed.
create function access.before_organization() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  is_limited boolean := access.principal() is not null and access.scope() <> 'all';
begin
  if tg_op = 'INSERT' then
    perform access.must_be_licensed(), access.lock_limit('organizations');
    new.unit_id := gen_random_uuid();
  elsif (new.name, new.settings, new.plan_group, new.user_limit, new.state)
    is not distinct from (old.name, old.settings, old.plan_group, old.user_limit, old.state) then
    return new;
  elsif old.state <> 'active' and access.principal() is not null then
    perform access.refuse('illegal_state', 'This organization is being wiped out.');
  elsif is_limited and (new.plan_group, new.user_limit) is distinct from (old.plan_group, old.user_limit) then
    perform access.refuse('forbidden', 'This needs access to all organizations.');
  end if;
  new.updated_at := now();
  if octet_length(new.settings::text) > 8192 then
    perform access.refuse('invalid_request', 'must be at most 8 KiB', 'settings');
  elsif new.plan_group is not null
    and (tg_op = 'INSERT' or new.plan_group is distinct from old.plan_group)
    and not exists (select from freehold.roles r where r.name = new.plan_group and r.deleted_at is null) then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.plan_group), 'plan_group');
  end if;
  return new;
end $$;

-- Makes the unit that an organization is, and gives it another name with the organization.
create function access.after_organization() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into freehold.units (id, kind, name, organization_id) values (new.unit_id, 'department', new.name, new.id);
  elsif new.name <> old.name then
    update freehold.units n set name = new.name where n.id = new.unit_id;
  end if;
  return null;
end $$;

-- Counts an organization that is made, or has ended.
create function access.count_organization() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  change integer := (new.state <> 'ended')::integer
    - case when tg_op = 'UPDATE' then (old.state <> 'ended')::integer else 0 end;
  l access.limits;
begin
  if change = 0 then
    return null;
  end if;
  l := access.lock_limit('organizations');
  if l.name is null then
    return null;
  end if;
  update access.limits x set used = x.used + change where x.name = l.name;
  if change > 0 and l.used + change > l.most then
    perform access.refuse('limit_reached', format(
      'The limit max_organizations is reached: this tenant can have at most %s organizations.', l.most));
  end if;
  return null;
end $$;

-- A user belongs to the organization whose unit they are in: whoever chooses one of the two chooses the other with it,
-- and a member who is in no other unit of it is in the unit that the organization is. The unit is locked, so that it
-- stays whose it is.
create function access.before_joining() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  is_new boolean := tg_op = 'INSERT';
  moves boolean := case when is_new then new.unit_id is not null else new.unit_id is distinct from old.unit_id end;
  joins boolean := case when is_new then true else new.organization_id is distinct from old.organization_id end;
  of_unit uuid;
begin
  if not moves and not joins then
    return new;
  end if;
  select n.organization_id into of_unit from freehold.units n where n.id = new.unit_id for share;
  if new.unit_id is not null and not found then
    return new;
  elsif moves and new.unit_id is not null then
    if joins and new.organization_id is not null and new.organization_id is distinct from of_unit then
      perform access.refuse('invalid_request', 'is not a unit of the organization of this user', 'unit_id');
    end if;
    new.organization_id := of_unit;
  elsif new.organization_id is distinct from of_unit then
    new.unit_id := (
      select o.unit_id from freehold.organizations o where o.id = new.organization_id and o.state <> 'ended');
  end if;
  return new;
end $$;

-- Counts users who join an organization or leave it, become active or no longer are. Who leaves holds nothing within it
-- any more.
create function access.after_joining() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  joins boolean := new.organization_id is not null
    and (tg_op = 'INSERT' or new.organization_id is distinct from old.organization_id);
  was uuid := case when tg_op = 'UPDATE' and old.is_active then old.organization_id end;
  is_now uuid := case when new.is_active then new.organization_id end;
  o freehold.organizations;
  change integer;
begin
  if not joins
    and was is not distinct from is_now
    and (tg_op = 'INSERT' or new.organization_id is not distinct from old.organization_id) then
    return null;
  end if;
  for o in
    select *
    from freehold.organizations x
    where x.id in (was, new.organization_id)
    order by x.id
    for no key update
  loop
    if joins and o.id = new.organization_id and o.state <> 'active' then
      perform access.refuse('illegal_state', 'This organization is being wiped out.');
    end if;
    change := coalesce((o.id = is_now)::integer, 0) - coalesce((o.id = was)::integer, 0);
    if change = 0 then
      continue;
    end if;
    update freehold.organizations x set active_users = x.active_users + change where x.id = o.id;
    if change > 0 and o.active_users + change > o.user_limit then
      perform access.refuse('limit_reached', format(
        'The limit of this organization is reached: it can have at most %s active users.', o.user_limit));
    end if;
  end loop;
  if tg_op = 'UPDATE' and old.organization_id is not null and new.organization_id is distinct from old.organization_id then
    update freehold.user_roles ur
    set ends_at = greatest(now(), ur.starts_at)
    where ur.user_id = new.id
      and ur.organization_id = old.organization_id
      and (ur.ends_at is null or ur.ends_at > now());
  end if;
  return null;
end $$;

create trigger before_organization before insert or update on freehold.organizations
  for each row execute function access.before_organization();

create trigger after_organization after insert or update of name on freehold.organizations
  for each row execute function access.after_organization();

create trigger after_organization_counted after insert or update of state on freehold.organizations
  for each row execute function access.count_organization();

create trigger before_joining before insert or update of organization_id, unit_id on freehold.users
  for each row execute function access.before_joining();

create trigger after_joining after insert or update of organization_id, unit_id, is_active, joined_at, terminated_at
  on freehold.users
  for each row execute function access.after_joining();

call access.audited('freehold.organizations', 'organization', noise => '{updated_at,folded,active_users}');

-- Not access.protect: users read the organization that they belong to, whatever their scope, and nobody reads one that
-- has ended.
create policy read on freehold.organizations for select
  using (
    state <> 'ended'
    and (
      (select access.scope()) = 'all'
      or unit_id = any ((select access.scope_unit_ids())::uuid[])
      or id = (select u.organization_id from freehold.users u where u.id = (select access.principal()))
    )
  );

create policy make on freehold.organizations for insert
  with check ((select access.permission()) = 'organization:create' and (select access.scope()) = 'all');

-- The unit that an organization is is reached from within it at scope `organization`, or as a department.
create policy change on freehold.organizations for update
  using (
    (select access.permission()) = 'organization:update'
    and (
      (select access.scope()) = 'all'
      or ((select access.scope()) = 'organization' and unit_id = any ((select access.scope_unit_ids())::uuid[]))
    )
  )
  with check (
    (select access.scope()) = 'all'
    or ((select access.scope()) = 'organization' and unit_id = any ((select access.scope_unit_ids())::uuid[]))
  );

grant
  select,
  insert (id, name, settings, plan_group, user_limit),
  update (name, settings, plan_group, user_limit)
on freehold.organizations to freehold_app;
