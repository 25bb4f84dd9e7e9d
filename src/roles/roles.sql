-- Roles: a tree in which each inherits what its parent carries, and one of which is the administrator's.
--
-- Threat, here and in the other files of this folder: a user hands out, inherits, delegates or keeps more than they
-- hold; two who act at once get past a rule that each alone would meet; the past is forgotten. So the rules are
-- triggers, which no statement passes by; they lock what they count; and everything that decides has a validity range
-- (freehold.role_periods keeps when a role was active, and under which parent).
--
-- A role is never deleted, only marked, because the past names it. Nothing here is called from outside: the verbs are
-- inserts and updates. Granting, assigning and overriding stand in permissions.sql, assignments.sql and
-- overrides.sql.

-- The rules of one role: what belongs to the system stays, parents exist and make no circle, a role that is in use is
-- not deleted, and max_users is not below the number of holders.
create function access.before_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  used text[];
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and old.deleted_at is not null then
    perform access.refuse('not_found', 'There is no such role.');
  elsif tg_op = 'UPDATE' and old.is_system and new.parent_id is distinct from old.parent_id then
    perform access.refuse('in_use', format('The role %s belongs to the system and keeps its parent.', old.name));
  end if;
  if new.deleted_at is not null
    or (new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id)) then
    -- One at a time: two halves of a circle are each allowed by themselves, and so are a parent that goes and a child
    -- that comes.
    perform pg_advisory_xact_lock(hashtext('freehold.roles.parent_id'));
  end if;
  if new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id) then
    if not exists (select from freehold.roles x where x.id = new.parent_id and x.deleted_at is null) then
      perform access.refuse('invalid_request', 'is not a role of this tenant', 'parent_id');
    elsif exists (
      with recursive up (id, parent_id) as (
        select x.id, x.parent_id
        from freehold.roles x
        where x.id = new.parent_id
        union
        select x.id, x.parent_id
        from up
          join freehold.roles x on x.id = up.parent_id
      )
      select from up where up.id = new.id
    ) then
      perform access.refuse('invalid_request', 'would make a role inherit from itself', 'parent_id');
    end if;
  end if;
  if tg_op = 'UPDATE' and new.deleted_at is not null and old.deleted_at is null then
    if access.principal() is not null and access.permission() is distinct from 'role:delete' then
      perform access.refuse('forbidden', 'Deleting a role needs role:delete.');
    elsif old.is_system then
      perform access.refuse('in_use', format('The role %s belongs to the system.', old.name));
    end if;
    select array_remove(array[
      (select format('assigned to %s', string_agg(x.username, ', '))
        from (
          select u.username
          from freehold.user_roles ur
            join freehold.users u on u.id = ur.user_id
          where ur.role_id = old.id
            and (ur.ends_at is null or ur.ends_at > now())
          order by 1
          limit 5
        ) x
        having count(*) > 0),
      (select format('inherited by %s', string_agg(x.name, ', ' order by x.name))
        from freehold.roles x
        where x.parent_id = old.id
          and x.deleted_at is null
        having count(*) > 0),
      (select format('delegated by %s', string_agg(distinct u.username, ', '))
        from freehold.delegations d
          join freehold.users u on u.id = d.delegator_id
        where d.role_id = old.id
          and d.ends_at > now()
          and d.revoked_at is null
          and d.decision is distinct from 'rejected'
        having count(*) > 0)
    ], null)
    into used;
    if cardinality(used) > 0 then
      perform access.refuse('in_use', format('The role %s is %s.', old.name, array_to_string(used, '; ')));
    end if;
    new.is_active := false;
  end if;
  if tg_op = 'UPDATE'
    and new.max_users is distinct from old.max_users
    and new.max_users < (
      select count(distinct ur.user_id)
      from freehold.user_roles ur
      where ur.role_id = old.id
        and (ur.ends_at is null or ur.ends_at > now())
    ) then
    perform access.refuse('limit_reached', format('More than %s users hold the role %s.', new.max_users, old.name));
  end if;
  if tg_op = 'UPDATE' and old.is_system and new.name <> old.name then
    perform access.refuse('in_use', format('The role %s belongs to the system and keeps its name.', old.name));
  end if;
  -- Everybody who holds the role would lose what it carries, what it inherits, or the name by which services ask.
  if tg_op = 'UPDATE'
    and (
      (old.is_active and not new.is_active)
      or new.name <> old.name
      or new.max_users is distinct from old.max_users
      or (old.parent_id is not null and new.parent_id is distinct from old.parent_id)
    ) then
    perform access.require_power_of(access.holders_of(old.id));
  end if;
  return new;
end $$;

-- To activate a role, or to give it a parent, is to hand out what it then carries. That is checked before the ranges
-- are kept: a caller who holds the role must not be judged by what it is about to give them.
create function access.after_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' and new.is_active and not old.is_active then
    perform access.must_hold_role(new.id, access.holders_of(new.id));
  elsif new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id) then
    perform access.must_hold_role(new.parent_id, access.holders_of(new.id));
  end if;
  if tg_op = 'INSERT' or (new.is_active, new.parent_id) is distinct from (old.is_active, old.parent_id) then
    update freehold.role_periods p
    set ends_at = greatest(now(), p.starts_at)
    where p.role_id = new.id
      and p.ends_at is null;
    if new.is_active then
      insert into freehold.role_periods (id, role_id, parent_id, starts_at)
      values (gen_random_uuid(), new.id, new.parent_id, now());
    elsif new.is_admin then
      perform access.keep_admin();
    end if;
  end if;
  if tg_op = 'UPDATE' and (new.name <> old.name or new.deleted_at is not null) then
    -- A user whose assignment has run out does not get the role again under its new name.
    update freehold.users u
    set role = case
      when exists (
        select
        from freehold.user_roles ur
        where ur.user_id = u.id
          and ur.role_id = new.id
          and access.in_force(ur.starts_at, ur.ends_at, now())
      ) then new.name
      else access.primary_role(u.id)
    end
    where u.role = old.name;
  end if;
  return null;
end $$;

-- The primary role of a user for whom nobody chose one: of those that they hold, the first that they were given.
create function access.primary_role(subject uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.name
  from freehold.user_roles ur
    join freehold.roles r on r.id = ur.role_id
  where ur.user_id = subject
    and access.in_force(ur.starts_at, ur.ends_at, now())
  order by ur.starts_at, r.name
  limit 1
$$;

-- Some active user must hold the administrator's role, for good, and be denied nothing: what they lack, they could
-- hand to nobody. The lock on the role makes transactions that take it away wait for each other.
create function access.keep_admin() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  r freehold.roles;
begin
  select * into r from freehold.roles x where x.is_admin for no key update;
  if not access.has_admin() then
    perform access.refuse('illegal_state',
      format('Somebody must hold the role %s: assign it to another user first.', r.name));
  end if;
end $$;

-- Whether there is somebody like that, besides one user when one is given. True where no role is the administrator's.
create function access.has_admin(besides uuid default null) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    (
      select r.is_active
        and exists (
          select
          from freehold.user_roles ur
            join freehold.users u on u.id = ur.user_id
          where ur.role_id = r.id
            and ur.organization_id is null
            and u.id is distinct from besides
            and u.is_active
            and u.terminated_at is null
            and ur.starts_at <= now()
            and ur.ends_at is null
            and not exists (
              select
              from freehold.overrides o
              where o.user_id = u.id
                and o.effect = 'deny'
                and (o.ends_at is null or o.ends_at > now())
            )
        )
      from freehold.roles r
      where r.is_admin
    ),
    true
  )
$$;

create trigger before_role before insert or update on freehold.roles
  for each row execute function access.before_role();

create trigger after_role after insert or update on freehold.roles
  for each row execute function access.after_role();

-- Defined in src/settings/settings.sql.
create trigger keep_registration_role after update of name, is_active, deleted_at on freehold.roles
  for each row execute function access.keep_registration_role();

call access.audited('freehold.roles', 'role');

-- role:delete marks, which is an update; before_role asks for it by name.
call access.protect('freehold.roles', 'role',
  is_public => true,
  inserts => '{id,name,description,is_active,is_manageable,max_users,parent_id}',
  updates => '{name,description,is_active,is_manageable,max_users,parent_id,deleted_at}',
  deletes => false,
  updated_with => '{update,delete}');
