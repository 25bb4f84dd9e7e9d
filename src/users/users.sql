create function access.must_reach_user(was freehold.users, is_now freehold.users) returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  own text[] := '{given_name,family_name,phone,locale,timezone,preferences,description}';
  kept text[] := '{name,updated_at,email_verified,phone_verified}';
  changed text[];
begin
  if was.id is not null then
    if access.principal() = is_now.id and not is_now.is_active and was.is_active then
      perform access.refuse('illegal_state', 'Nobody deactivates themselves.');
    end if;
    select array_agg(n.key) into changed from jsonb_each(to_jsonb(is_now)) n join jsonb_each(to_jsonb(was)) o on o.key = n.key
    where n.value <> o.value and n.key <> all (kept);
    if access.permission() = 'user:delete' and (is_now.is_active or not changed <@ '{is_active}') then
      perform access.refuse('forbidden', 'user:delete deactivates, and changes nothing else.');
    elsif access.scope() <> 'all' and (is_now.id = any (access.owners()) or is_now.id = access.principal()) and not changed <@ own then
      perform access.refuse('forbidden', format('Somebody else must change %s here.', (select string_agg(c, ', ' order by c) from unnest(changed) c where c <> all (own))));
    end if;
  end if;
  if was.id = access.principal() and is_now.unit_id is distinct from was.unit_id and access.depends_on_place(was.id) then
    perform access.refuse('forbidden', 'Somebody else must change your unit: what you reach depends on it.');
  elsif access.scope() = 'all' then
    return;
  -- From and to within one and the same reach: two that were each lent do not add up to one.
  elsif is_now.unit_id is distinct from was.unit_id and is_now.unit_id is not null and not exists (
      select from access.sources(access.principal(), access.permission(), now()) s
      where is_now.unit_id in (select access.units_of(s.holder, s.scope)) and (was.id is null or was.unit_id in (select access.units_of(s.holder, s.scope)))) then
    perform access.refuse('invalid_request', 'is not a unit that you reach', 'unit_id');
  elsif is_now.manager_id is distinct from was.manager_id and not exists (select from freehold.users u
      where u.id = is_now.manager_id and (u.id = any (access.owners()) or u.unit_id = any (access.units()))) and is_now.manager_id is not null then
    perform access.refuse('invalid_request', 'is not a person whom you reach', 'manager_id');
  end if;
end $$;

create function access.before_user() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.updated_at := now();
  if access.permission() in ('user:create', 'user:update', 'user:delete') then
    if tg_op = 'UPDATE' then
      perform access.must_reach_user(old, new);
    else
      perform access.must_reach_user(null, new);
    end if;
  end if;
  if octet_length(new.preferences::text) > 8192 then
    perform access.refuse('invalid_request', 'must be at most 8 KiB', 'preferences');
  end if;
  -- Who can change how somebody logs in can soon be them.
  if tg_op = 'UPDATE' and (new.email, new.username) is distinct from (old.email, old.username) and access.principal() <> new.id
    and access.holds_more(new.id, access.principal()) then
    perform access.refuse('forbidden', 'This person holds more than you do: how they log in is not yours to change.');
  end if;
  if tg_op = 'UPDATE' then
    new.email_verified := new.email_verified and new.email = old.email;
    new.phone_verified := new.phone_verified and new.phone is not distinct from old.phone;
  end if;
  if new.role is not null and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (select from freehold.roles r where r.name = new.role and r.deleted_at is null) then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.role), 'role');
  end if;
  -- Somebody new is nobody's superior yet.
  if tg_op = 'UPDATE' and new.manager_id is not null and new.manager_id is distinct from old.manager_id then
    if exists (with recursive up (id, manager_id) as (
        select u.id, u.manager_id from freehold.users u where u.id = new.manager_id
        union select u.id, u.manager_id from up join freehold.users u on u.id = up.manager_id
      ) select from up where up.id = new.id) then
      perform access.refuse('invalid_request', 'would make a person their own superior', 'manager_id');
    end if;
  end if;
  return new;
end $$;

-- Keeps the ranges of being active, and that the primary role is assigned; another one replaces the one before it.
create function access.after_user() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' or new.is_active <> old.is_active then
    if new.is_active then
      insert into freehold.user_periods (id, user_id, starts_at) values (gen_random_uuid(), new.id, now());
    else
      update freehold.user_periods p set ends_at = greatest(now(), p.starts_at) where p.user_id = new.id and p.ends_at is null;
      update freehold.sessions s set ended_at = now(), ended_because = 'deactivated' where s.user_id = new.id and s.ended_at is null;
      perform access.keep_admin();
    end if;
  end if;
  if new.role is not null and (tg_op = 'INSERT' or new.role is distinct from old.role) and not exists (
      select from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
      where ur.user_id = new.id and r.name = new.role and r.deleted_at is null and ur.starts_at <= now() and (ur.ends_at is null or ur.ends_at > now())) then
    -- What was to begin later begins now instead.
    update freehold.user_roles ur set ends_at = ur.starts_at from freehold.roles r
    where ur.user_id = new.id and r.id = ur.role_id and r.name = new.role and r.deleted_at is null and ur.starts_at > now() and (ur.ends_at is null or ur.ends_at > now());
    insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), new.id, r.id from freehold.roles r where r.name = new.role and r.deleted_at is null;
    if tg_op = 'UPDATE' then
      update freehold.user_roles ur set ends_at = greatest(now(), ur.starts_at) from freehold.roles r
      where ur.user_id = new.id and r.id = ur.role_id and r.name = old.role and (ur.ends_at is null or ur.ends_at > now());
    end if;
  end if;
  return null;
end $$;

-- The first password of a person whom this transaction made: only then, and only once.
create function access.first_password(person uuid, password_hash text) returns void language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:create' or not exists (select from freehold.users u where u.id = person and u.created_at = now())
    or exists (select from freehold.passwords p where p.user_id = person) then
    perform access.refuse('forbidden', 'Only who makes a person gives them their first password.');
  end if;
  insert into freehold.passwords (id, user_id, password_hash) values (gen_random_uuid(), person, first_password.password_hash);
end $$;

-- Before what else is locked of a person, and where several of their rows are: two who lock them in another order would wait for each other.
create function access.hold_person(person uuid) returns void language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select from freehold.users x where x.id = person and access.principal() is not null for no key update
$$;

-- One's own address is changed by a door that asks for the password, however far one reaches: who found an open session does not know it.
create function access.before_own_email() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() = new.id then
    perform access.refuse('forbidden', 'Your own address is changed with auth/email-change.');
  end if;
  return new;
end $$;

-- Who changes how somebody logs in can soon be them, and has then no key to narrow them.
create function access.before_login_change() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (new.email, new.username) is distinct from (old.email, old.username) and access.key() is not null and access.principal() = new.id then
    perform access.refuse('forbidden', 'How you log in is changed with a session, not with a key.');
  end if;
  return new;
end $$;

create trigger before_user before insert or update on freehold.users for each row execute function access.before_user();

create trigger one_at_a_time before update of manager_id on freehold.users for each statement execute function access.one_at_a_time();

create trigger after_user after insert or update on freehold.users for each row execute function access.after_user();

create trigger after_email_change after update of email on freehold.users for each row when (old.email <> new.email) execute function access.after_email_change();

create trigger before_own_email before update of email on freehold.users for each row when (old.email <> new.email) execute function access.before_own_email();

create trigger before_login_change before update of email, username on freehold.users for each row execute function access.before_login_change();

call access.audited('freehold.users', 'user', '{}', '{updated_at,name}');

-- `= 'all'` is inside, so that the planner takes it for a coin and not for a rarity: otherwise it sorts whole units to show a page of them.
create policy read_users on freehold.users for select using ((select access.scope() = 'all')
  or id = any ((select access.owners())::uuid[]) or unit_id = any ((select access.units())::uuid[]));

create policy make_users on freehold.users for insert with check ((select access.permission()) = 'user:create'
  and ((select access.scope()) = 'all' or unit_id = any ((select access.units())::uuid[])));

create policy change_users on freehold.users for update using ((select access.permission()) in ('user:update', 'user:delete')
    and ((select access.scope()) = 'all' or id = any ((select access.owners())::uuid[]) or unit_id = any ((select access.units())::uuid[])))
  with check ((select access.scope()) = 'all' or id = any ((select access.owners())::uuid[]) or unit_id = any ((select access.units())::uuid[]));

grant select on freehold.users to freehold_app;

grant insert (id, username, email, given_name, family_name, phone, role, unit_id, manager_id, designation, description, locale, timezone, preferences, joined_at, must_change_password) on freehold.users to freehold_app;

grant update (username, email, given_name, family_name, phone, role, unit_id, manager_id, designation, description, locale, timezone, preferences, joined_at, terminated_at, is_active) on freehold.users to freehold_app;

grant insert (max_sessions), update (max_sessions) on freehold.users to freehold_app;

grant execute on function
  access.first_password(uuid, text),
  access.hold_person(uuid)
to freehold_app;
