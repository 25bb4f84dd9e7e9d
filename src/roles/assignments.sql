-- Assignments: which user holds which role, and from when to when. One ends; it is not deleted.
--
-- Threat: users assign a role to themselves, or one that carries more than they hold; somebody who looks after a team
-- hands out a role that is not meant for teams; two at once take the last place of a role; the last administrator
-- goes. roles.sql says why these are triggers.
--
-- Nothing here is called from outside: the verbs are inserts and updates, after access.lock_user has locked the
-- user. Then the role is locked.

-- Nobody assigns to themselves, nor what they do not hold; below scope `all` only manageable roles are given and
-- taken; a role has room for max_users.
create function access.before_user_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  r freehold.roles;
  -- Whether this change gives something: an assignment that begins, or lasts longer.
  gives boolean := tg_op = 'INSERT'
    or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at));
  holders integer;
  far record;
begin
  if tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- It was to begin later and never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  -- Locked, so that one transaction gets the last place, and no role is deleted while it is given.
  select * into r from freehold.roles x where x.id = new.role_id for no key update;
  if tg_op = 'INSERT'
    and new.organization_id is not null
    and not exists (
      select from freehold.users u where u.id = new.user_id and u.organization_id = new.organization_id)
  then
    perform access.refuse('invalid_request', 'is not the organization of this user', 'organization_id');
  -- Whoever leaves an organization holds nothing within it any more (access.after_joining), whoever moves them.
  elsif not gives
    and old.organization_id is not null
    and not exists (
      select from freehold.users u where u.id = old.user_id and u.organization_id = old.organization_id)
  then
    return new;
  end if;
  -- What it inherits stays the same meanwhile (before_role).
  perform pg_advisory_xact_lock_shared(hashtext('freehold.roles.parent_id'));
  if me is not null then
    -- role:update is asked for whatever the permission of the request is, as when a user is created with a role. A
    -- user who is being created may be given the fallback role, which everybody gets.
    select x.scope, x.units into far from access.effective_scope(me, 'role:update') x;
    if far.scope = 'all' or (tg_op = 'INSERT' and r.is_fallback and access.permission() = 'user:create') then
      null;
    elsif far.scope is null
      or not exists (select from freehold.users u where u.id = new.user_id and u.unit_id = any (far.units)) then
      perform access.refuse('forbidden', 'Assigning and removing roles needs role:update.');
    elsif far.scope = 'organization' and new.organization_id is null and not r.is_fallback then
      perform access.refuse('forbidden',
        'You assign and remove roles within your organization only: name it as organization_id.');
    elsif r.id is not null and not (r.is_manageable or r.is_fallback) then
      perform access.refuse('forbidden', format('The role %s cannot be managed within a team.', r.name));
    end if;
  end if;
  if not gives then
    perform access.require_power_of(array[new.user_id]);
    return new;
  end if;
  if r.id is null or r.deleted_at is not null then
    perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
  elsif me = new.user_id then
    perform access.refuse('forbidden', 'You cannot assign a role to yourself.');
  elsif tg_op = 'INSERT'
    and exists (
      select
      from freehold.user_roles ur
      where ur.user_id = new.user_id
        and ur.role_id = r.id
        and ur.ends_at is null
    ) then
    perform access.refuse('already_exists', format('The user already has the role %s without an end.', r.name));
  end if;
  perform access.must_hold_role(r.id, array[new.user_id], new.organization_id is not null);
  if r.max_users is not null then
    select count(distinct ur.user_id)
    into holders
    from freehold.user_roles ur
    where ur.role_id = r.id
      and ur.user_id <> new.user_id
      and (ur.ends_at is null or ur.ends_at > now());
    if holders + access.places_taken(r.id) >= r.max_users then
      perform access.refuse('limit_reached', format('The role %s can be held by at most %s users.', r.name, r.max_users));
    end if;
  end if;
  return new;
end $$;

-- How many places in a role earlier parts of a dry run would have taken (src/users/import.sql). Whoever sets that
-- themselves has less room.
create function access.places_taken(role uuid) returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(coalesce(
    (nullif(current_setting('access.earlier_places', true), '')::jsonb ->> role::text)::integer, 0), 0)
$$;

-- The first role that a user holds becomes their primary one. When an assignment ends, somebody must still hold the
-- administrator's role, and the primary role must be one that the user holds.
create function access.after_user_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r freehold.roles;
begin
  if tg_op = 'INSERT' then
    if new.starts_at <= now() then
      update freehold.users u
      set role = access.primary_role(u.id)
      where u.id = new.user_id
        and u.role is null;
    end if;
    return null;
  elsif new.ends_at is null or new.ends_at is not distinct from old.ends_at then
    return null;
  end if;
  select * into r from freehold.roles x where x.id = new.role_id;
  if r.is_admin then
    perform access.keep_admin();
  end if;
  if new.ends_at <= now() then
    update freehold.users u
    set role = access.primary_role(u.id)
    where u.id = new.user_id
      and u.role = r.name
      and not exists (
        select
        from freehold.user_roles ur
        where ur.user_id = u.id
          and ur.role_id = r.id
          and access.in_force(ur.starts_at, ur.ends_at, now())
      );
  end if;
  return null;
end $$;

create trigger before_user_role before insert or update on freehold.user_roles
  for each row execute function access.before_user_role();

create trigger after_user_role after insert or update on freehold.user_roles
  for each row execute function access.after_user_role();

call access.audited('freehold.user_roles', 'user_role');

-- Every write is role:update, because it changes who holds the role. Users read their own assignments and do not
-- write them.
call access.protect('freehold.user_roles', 'role',
  owner => 'user_id',
  member => 'user_id',
  inserts => '{id,user_id,role_id,organization_id,starts_at,ends_at}',
  updates => '{ends_at}',
  deletes => false,
  inserted_with => '{update}',
  of_others => true);
