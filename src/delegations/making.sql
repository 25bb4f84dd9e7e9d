-- Making a delegation: what may be delegated, to whom, and how often. The rules are triggers of the two tables; nothing
-- here is called from outside.
--
-- Threat: a user delegates what they do not hold; or so much, or so often, to somebody who is not asked that deciding
-- about them takes seconds. So a delegator holds what they delegate, does so once at a time, and both sides have a
-- bound.

-- Whether a delegation may still count: it is pending or approved, and has not ended.
create function access.is_live(d freehold.delegations) returns boolean
language sql stable
return d.ends_at > now() and d.revoked_at is null and d.decision is distinct from 'rejected';

-- Bounds what a new delegation adds to the decisions about its delegate: at most one at a time of one delegator for one
-- role, as many of one delegator as the tenant's settings say, and 50 delegators of one delegate. Both users are
-- locked, in one order, so that delegations of either are counted one after another.
create function access.bound_delegations(new_one freehold.delegations) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most integer := (select t.max_delegations from freehold.tenant t);
begin
  perform pg_advisory_xact_lock(k.key)
  from (
    select hashtextextended('delegations:' || x.id, 0) as key
    from unnest(array[new_one.delegator_id, new_one.delegate_id]) x (id)
    order by 1) k;
  if exists (
    select
    from freehold.delegations d
    where d.delegator_id = new_one.delegator_id
      and d.delegate_id = new_one.delegate_id
      and d.role_id = new_one.role_id
      and access.is_live(d)
      and d.starts_at < new_one.ends_at
      and d.ends_at > new_one.starts_at)
  then
    perform access.refuse('already_exists',
      'You have delegated this role to this user for some of this time already: revoke that delegation first.');
  elsif (
    select count(*) from freehold.delegations d where d.delegator_id = new_one.delegator_id and access.is_live(d)
  ) >= most then
    perform access.refuse('limit_reached',
      format('A user can have at most %s delegations that have not ended: revoke one first.', most));
  elsif (
    select count(distinct d.delegator_id)
    from freehold.delegations d
    where d.delegate_id = new_one.delegate_id and d.delegator_id <> new_one.delegator_id and access.is_live(d)
  ) >= 50 then
    perform access.refuse('limit_reached',
      'At most 50 users can delegate to one user at a time: delegate to another user.');
  end if;
end $$;

-- A delegation is made by its delegator, to another active user, of a role that the delegator holds themselves. It is
-- approved at once unless the tenant wants each to be decided. The delegate and the role are locked, so that neither
-- goes meanwhile.
create function access.before_delegation() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.starts_at := access.begins(new.starts_at, new.ends_at);
  if new.delegate_id = new.delegator_id then
    perform access.refuse('invalid_request', 'is the delegator', 'delegate_id');
  elsif not exists (select from freehold.users u where u.id = new.delegate_id and access.is_present(u) for share) then
    perform access.refuse('invalid_request', 'is not an active user of this tenant', 'delegate_id');
  elsif new.role_id is not null and not new.role_id in (select access.roles_of(new.delegator_id, now())) then
    if exists (select from freehold.roles r where r.id = new.role_id and r.deleted_at is null) then
      perform access.refuse('forbidden', 'You do not hold this role, so you cannot delegate it.');
    end if;
    perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
  end if;
  if new.role_id is not null then
    perform from freehold.roles r where r.id = new.role_id and r.deleted_at is null for share;
    if not found then
      perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
    end if;
  end if;
  if not (select t.delegation_approval from freehold.tenant t) and new.decision is null then
    new.decision := 'approved';
    new.decided_at := now();
  end if;
  perform access.bound_delegations(new);
  return new;
end $$;

-- A delegator chooses permissions that they hold themselves at that moment: what was delegated to them does not
-- count.
create function access.before_delegation_permission() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  mine freehold.delegations;
begin
  select * into mine from freehold.delegations d where d.id = new.delegation_id;
  -- `for share`, because deleting the permission is an update of its row.
  if not exists (
    select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
  ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permissions');
  elsif access.own_scope(mine.delegator_id, new.permission, now()) is null then
    perform access.refuse('forbidden',
      format('You do not hold %s, so you cannot delegate it.', new.permission));
  elsif exists (
    select
    from freehold.delegations d
      join freehold.delegation_permissions p on p.delegation_id = d.id
    where d.delegator_id = mine.delegator_id
      and d.delegate_id = mine.delegate_id
      and d.id <> mine.id
      and p.permission = new.permission
      and access.is_live(d)
      and d.starts_at < mine.ends_at
      and d.ends_at > mine.starts_at)
  then
    perform access.refuse('already_exists',
      format('You have delegated %s to this user for some of this time already: revoke that delegation first.',
        new.permission));
  end if;
  return new;
end $$;

create trigger before_delegation before insert on freehold.delegations
  for each row execute function access.before_delegation();

create trigger before_key_delegates_role before insert on freehold.delegations
  for each row execute function access.before_key_delegates_role();

create trigger before_delegation_permission before insert on freehold.delegation_permissions
  for each row execute function access.before_delegation_permission();

create trigger before_key_grants before insert on freehold.delegation_permissions
  for each row execute function access.before_key_grants();
