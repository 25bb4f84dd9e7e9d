-- An assignment: nobody to themselves, nothing that they do not hold, within a team only what is flagged so, no more than there is room for.
create function access.before_user_role() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  r freehold.roles;
  gives boolean := tg_op = 'INSERT' or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at));
  holders integer;
  far record;
begin
  if tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- What was to begin later never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  -- Locked, so that the last place goes to one, and no role is deleted while it is given.
  select * into r from freehold.roles x where x.id = new.role_id for no key update;
  if me is not null then
    -- Also where the permission of the request is another, as when a person is made with a role. Who is made may be given what all are.
    select x.scope, x.units into far from access.reach(me, 'role:update') x;
    if far.scope = 'all' or (tg_op = 'INSERT' and r.is_fallback and access.permission() = 'user:create') then
      null;
    elsif far.scope is null or not exists (select from freehold.users u where u.id = new.user_id and u.unit_id = any (far.units)) then
      perform access.refuse('forbidden', 'Giving and taking roles needs role:update.');
    elsif r.id is not null and not (r.is_manageable or r.is_fallback) then
      perform access.refuse('forbidden', format('The role %s cannot be managed within a team.', r.name));
    end if;
  end if;
  if not gives then
    return new;
  end if;
  if r.id is null or r.deleted_at is not null then
    perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
  elsif me = new.user_id then
    perform access.refuse('forbidden', 'Nobody assigns a role to themselves.');
  elsif tg_op = 'INSERT' and exists (select from freehold.user_roles ur where ur.user_id = new.user_id and ur.role_id = r.id and ur.ends_at is null) then
    perform access.refuse('already_exists', format('They are given the role %s for good already.', r.name));
  end if;
  perform access.must_hold_role(r.id);
  if r.max_users is not null then
    select count(distinct ur.user_id) into holders from freehold.user_roles ur
    where ur.role_id = r.id and ur.user_id <> new.user_id and (ur.ends_at is null or ur.ends_at > now());
    if holders >= r.max_users then
      perform access.refuse('limit_reached', format('The role %s has room for %s.', r.name, r.max_users));
    end if;
  end if;
  return new;
end $$;

-- Who held no role has a primary one now. When an assignment ends: somebody must still be the administrator, and the primary role is one that is held.
create function access.after_user_role() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r freehold.roles;
begin
  if tg_op = 'INSERT' then
    if new.starts_at <= now() then
      update freehold.users u set role = access.primary_role(u.id) where u.id = new.user_id and u.role is null;
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
    update freehold.users u set role = access.primary_role(u.id)
    where u.id = new.user_id and u.role = r.name and not exists (
      select from freehold.user_roles ur where ur.user_id = u.id and ur.role_id = r.id and ur.starts_at <= now() and (ur.ends_at is null or ur.ends_at > now()));
  end if;
  return null;
end $$;

create trigger before_user_role before insert or update on freehold.user_roles for each row execute function access.before_user_role();

create trigger after_user_role after insert or update on freehold.user_roles for each row execute function access.after_user_role();

call access.audited('freehold.user_roles', 'user_role');

create policy read_user_roles on freehold.user_roles for select using ((select access.scope()) = 'all' or user_id = any ((select access.owners())::uuid[])
  or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[])));

create policy assign_roles on freehold.user_roles for insert with check ((select access.permission()) = 'role:update'
  and ((select access.scope()) = 'all' or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))));

create policy end_roles on freehold.user_roles for update using ((select access.permission()) = 'role:update'
  and ((select access.scope()) = 'all' or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))));

grant select on freehold.user_roles to freehold_app;

grant insert (id, user_id, role_id, starts_at, ends_at), update (ends_at) on freehold.user_roles to freehold_app;
