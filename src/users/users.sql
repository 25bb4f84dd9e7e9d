-- Users of a tenant: what may be changed of them, by whom, and what follows from it.
--
-- Threat: a user who may change others gains by it. They move themselves or somebody else to where a scope reaches
-- further, take over the login of a user who holds more, or deactivate the last administrator. So the rules are
-- triggers, which no statement passes by.
--
-- An insert or update meets, in this order: one_at_a_time (statement), then for each row before_coming_or_going
-- (leaving.sql), before_login_change, before_own_email (login-details.sql), before_user, then after_coming_or_going,
-- after_email_change (src/recovery/contact.sql) and after_user. Row triggers of one kind fire in the order of their
-- names.

-- Applies the rules of one user: what the caller may change, how a login is protected, the size of preferences, a
-- role that exists, managers without a circle. An address or number that changes is no longer verified.
create function access.before_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and old.erased_at is not null then
    perform access.refuse('illegal_state', 'This user has been erased.');
  end if;
  if access.permission() in ('user:create', 'user:update', 'user:delete') then
    if tg_op = 'UPDATE' then
      perform access.check_user_change(old, new);
    else
      perform access.check_user_change(null, new);
    end if;
  end if;
  -- Whoever made up this name at the same moment has its lock (usernames.sql) and goes first: who chose it waits, and
  -- meets the unique index.
  if tg_op = 'INSERT' or new.username <> old.username then
    perform pg_advisory_xact_lock(access.username_lock(new.username));
  end if;
  if octet_length(new.preferences::text) > 8192 then
    perform access.refuse('invalid_request', 'must be at most 8 KiB', 'preferences');
  end if;
  -- A caller who can change how a user logs in can soon log in as them.
  if tg_op = 'UPDATE'
    and (new.email, new.username) is distinct from (old.email, old.username) then
    perform access.require_all_of(new.id);
  end if;
  if tg_op = 'UPDATE' then
    new.email_verified := new.email_verified and new.email = old.email;
    new.phone_verified := new.phone_verified and new.phone is not distinct from old.phone;
  end if;
  if new.role is not null
    and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (select from freehold.roles r where r.name = new.role and r.deleted_at is null) then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.role), 'role');
  end if;
  -- A new user manages nobody yet, so that only an update can close a circle.
  if tg_op = 'UPDATE' and new.manager_id is not null and new.manager_id is distinct from old.manager_id then
    if exists (
      with recursive up (id, manager_id) as (
        select u.id, u.manager_id
        from freehold.users u
        where u.id = new.manager_id
        union
        select u.id, u.manager_id
        from up
          join freehold.users u on u.id = up.manager_id
      )
      select from up where up.id = new.id
    ) then
      perform access.refuse('invalid_request', 'would make a user their own manager', 'manager_id');
    end if;
  end if;
  return new;
end $$;

-- Refuses a change beyond the permission and scope of this transaction: of other columns, to another unit, or under
-- another manager. `was` is null for a new user.
create function access.check_user_change(was freehold.users, is_now freehold.users) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  -- The columns that users may change of themselves, or of a delegator for whom they act, below scope `all`. Above
  -- all not the unit, from which the scopes team and department are measured.
  own text[] := '{given_name,family_name,phone,locale,timezone,preferences,description,avatar}';
  -- Columns that the database keeps itself.
  kept text[] := '{name,updated_at,email_verified,phone_verified}';
  changed text[];
begin
  if was.id is not null then
    select array_agg(n.key)
    into changed
    from jsonb_each(to_jsonb(is_now)) n
      join jsonb_each(to_jsonb(was)) o on o.key = n.key
    where n.value <> o.value
      and n.key <> all (kept);
    if access.permission() = 'user:delete' and (is_now.is_active or not changed <@ '{is_active,terminated_at}') then
      perform access.refuse('forbidden', 'user:delete deactivates a user and changes nothing else.');
    -- Admitted to deactivate somebody, whatever it says that it does.
    elsif access.permission() = 'user:update'
      and (is_now.is_active or not changed <@ '{is_active,terminated_at}')
      and exists (select from freehold.tenant t where t.read_only_from <= now())
    then
      perform access.refuse_unlicensed();
    elsif access.scope() <> 'all'
      and (is_now.id = any (access.scope_owner_ids()) or is_now.id = access.principal())
      and not changed <@ own then
      perform access.refuse('forbidden', format('Another user must change %s here.',
        (select string_agg(c, ', ' order by c) from unnest(changed) c where c <> all (own))));
    elsif access.principal() = is_now.id and not is_now.is_active and was.is_active then
      perform access.refuse('illegal_state', 'You cannot deactivate yourself.');
    end if;
  end if;
  -- Whoever is to leave does not choose to stay.
  if was.id = access.principal() and 'terminated_at' = any (changed) then
    perform access.refuse('forbidden', format('Another user must change %s here.', 'terminated_at'));
  end if;
  if was.id is not null
    and changed && '{is_active,role,unit_id,organization_id,manager_id,terminated_at,max_sessions}' then
    perform access.require_power_of(array[was.id]);
  end if;
  if was.id = access.principal()
    and is_now.unit_id is distinct from was.unit_id
    and access.depends_on_unit(was.id) then
    perform access.refuse('forbidden', 'You cannot change your own unit: the scope of your permissions depends on it.');
  elsif access.scope() = 'all' then
    return;
  -- Who manages one organization takes nobody in from another, and lets nobody go where they reach no one.
  elsif was.id is not null and is_now.organization_id is distinct from was.organization_id then
    perform access.refuse('forbidden', 'This needs access to all organizations.');
  -- One source of the permission must reach both the old and the new unit: two delegations that each reach one of
  -- them do not add up.
  elsif is_now.unit_id is distinct from was.unit_id
    and is_now.unit_id is not null
    and not exists (
      select
      from unnest(access.reasons(access.principal(), access.permission(), now())) s
      where is_now.unit_id in (select access.units_in_scope(s.holder, s.scope))
        and (was.id is null or was.unit_id in (select access.units_in_scope(s.holder, s.scope)))
    ) then
    perform access.refuse('invalid_request', 'is not a unit that you can access', 'unit_id');
  elsif is_now.manager_id is distinct from was.manager_id
    and not exists (
      select
      from freehold.users u
      where u.id = is_now.manager_id
        and (u.id = any (access.scope_owner_ids()) or u.unit_id = any (access.scope_unit_ids()))
    )
    and is_now.manager_id is not null then
    perform access.refuse('invalid_request', 'is not a user whom you can access', 'manager_id');
  end if;
end $$;

-- A user who is moved gives nobody power, and the primary role stays assigned: a new one replaces the one before it.
create function access.after_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- What the user holds is measured from the new unit now: moving a user gives nobody power that the mover lacks there.
  if tg_op = 'UPDATE' and new.unit_id is distinct from old.unit_id then
    perform access.require_power_of(array[new.id]);
  end if;
  if new.role is not null
    and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (
      select
      from freehold.user_roles ur
        join freehold.roles r on r.id = ur.role_id
      where ur.user_id = new.id
        and r.name = new.role
        and r.deleted_at is null
        and access.in_force(ur.starts_at, ur.ends_at, now())
    ) then
    -- An assignment that was to begin later begins now instead.
    update freehold.user_roles ur
    set ends_at = ur.starts_at
    from freehold.roles r
    where ur.user_id = new.id
      and r.id = ur.role_id
      and r.name = new.role
      and r.deleted_at is null
      and ur.starts_at > now()
      and (ur.ends_at is null or ur.ends_at > now());
    insert into freehold.user_roles (id, user_id, role_id)
    select gen_random_uuid(), new.id, r.id
    from freehold.roles r
    where r.name = new.role
      and r.deleted_at is null;
    if tg_op = 'UPDATE' then
      update freehold.user_roles ur
      set ends_at = greatest(now(), ur.starts_at)
      from freehold.roles r
      where ur.user_id = new.id
        and r.id = ur.role_id
        and r.name = old.role
        and (ur.ends_at is null or ur.ends_at > now());
    end if;
  end if;
  return null;
end $$;

create trigger one_at_a_time before update of manager_id on freehold.users
  for each statement execute function access.one_at_a_time();

create trigger before_user before insert or update on freehold.users
  for each row execute function access.before_user();

create trigger after_email_change after update of email on freehold.users
  for each row when (old.email <> new.email and new.erased_at is null) execute function access.after_email_change();

create trigger after_user after insert or update on freehold.users
  for each row execute function access.after_user();

call access.audited('freehold.users', 'user', noise => '{updated_at,name}');

-- user:delete deactivates, which is an update. The columns are those that the API lets be edited; the others, such as
-- email_verified and password_changed_at, are set by definer functions.
call access.protect('freehold.users', 'user',
  owner => 'id',
  unit => 'unit_id',
  inserts => '{}',
  updates => '{username,email,given_name,family_name,phone,role,unit_id,organization_id,manager_id,designation,
    description,locale,timezone,preferences,joined_at,terminated_at,is_active,max_sessions,avatar}',
  deletes => false,
  updated_with => '{update,delete}');

-- Written out, because `owner` is the row's own id: a new user is nobody whom the caller acts for, so that their unit
-- alone counts.
create policy make on freehold.users for insert
  with check (
    (select access.permission()) = 'user:create'
    and ((select access.scope()) = 'all' or unit_id = any ((select access.scope_unit_ids())::uuid[]))
  );

grant insert (id, username, email, given_name, family_name, phone, role, unit_id, organization_id, manager_id,
  designation, description, locale, timezone, preferences, joined_at, must_change_password, max_sessions)
  on freehold.users to freehold_app;
