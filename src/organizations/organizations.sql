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

-- Whoever belongs to an organization is in a unit of it, or in none. The unit is locked, so that it stays whose it is.
create function access.before_joining() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  of_unit uuid;
begin
  if new.organization_id is null
    or new.unit_id is null
    or (tg_op = 'UPDATE' and (new.organization_id, new.unit_id) is not distinct from (old.organization_id, old.unit_id)) then
    return new;
  end if;
  select n.organization_id into of_unit from freehold.units n where n.id = new.unit_id for share;
  if found and of_unit is distinct from new.organization_id then
    perform access.refuse('invalid_request', 'is not a unit of the organization of this user', 'unit_id');
  end if;
  return new;
end $$;

-- Counts users who join an organization or leave it, become active or no longer are.
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
  if not joins and was is not distinct from is_now then
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
  return null;
end $$;

create trigger before_organization before insert or update on freehold.organizations
  for each row execute function access.before_organization();

create trigger after_organization_counted after insert or update of state on freehold.organizations
  for each row execute function access.count_organization();

create trigger before_joining before insert or update of organization_id, unit_id on freehold.users
  for each row execute function access.before_joining();

create trigger after_joining after insert or update of organization_id, is_active, joined_at, terminated_at
  on freehold.users
  for each row execute function access.after_joining();

call access.audited('freehold.organizations', 'organization', noise => '{updated_at,folded,active_users}');

-- Not access.protect: users read the organization that they belong to, whatever their scope, and nobody reads one that
-- has ended.
create policy read on freehold.organizations for select
  using (
    state <> 'ended'
    and (
      (select access.scope() = 'all')
      or id = (select u.organization_id from freehold.users u where u.id = (select access.principal()))
    )
  );

create policy make on freehold.organizations for insert
  with check ((select access.permission() = 'organization:create' and access.scope() = 'all'));

create policy change on freehold.organizations for update
  using ((select access.permission() = 'organization:update' and access.scope() = 'all'))
  with check ((select access.scope() = 'all'));

grant
  select,
  insert (id, name, settings, plan_group, user_limit),
  update (name, settings, plan_group, user_limit)
on freehold.organizations to freehold_app;
