-- Who the admitted user is: access.me, and access.who_am_i with what they may do. Functions and no queries of the
-- Worker, because Postgres takes longer to plan a query under row level security than to answer this.

-- A user as clients show them, with the roles that they are assigned now. `role` is the primary one, `users.role`, if it
-- is held and active, else the first of those that are. One statement, because me is what is asked most.
create function access.profile(subject uuid) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select jsonb_build_object(
      'sub', u.id,
      'username', u.username,
      'email', u.email,
      'email_verified', u.email_verified,
      'given_name', u.given_name,
      'family_name', u.family_name,
      'role', h.role,
      'roles', h.roles,
      'is_active', u.is_active,
      'avatar', u.avatar)
    from freehold.users u
      cross join lateral (
        select
          (array_agg(r.name order by r.name = u.role desc nulls last, ur.starts_at, r.name))[1] as role,
          coalesce(array_agg(distinct r.name), '{}') as roles
        from freehold.user_roles ur
          join freehold.role_periods p on p.role_id = ur.role_id
          join freehold.roles r on r.id = ur.role_id
        where ur.user_id = u.id
          and access.in_force(ur.starts_at, ur.ends_at, now())
          and access.in_force(p.starts_at, p.ends_at, now())
      ) h
    where u.id = subject);
end $$;

-- The profile of the admitted user; null: nobody was admitted.
create function access.me() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb;
begin
  f := access.claims();
  return access.profile((f ->> 'user_id')::uuid)
    || jsonb_build_object('impersonated_by', access.impersonator_in(f));
end $$;

-- Who acts as the user of these claims, as {sub, username}; null: the user does.
create function access.impersonator_in(claims jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if claims ->> 'impersonator_id' is null then
    return null;
  end if;
  return (
    select jsonb_build_object('sub', u.id, 'username', u.username)
    from freehold.users u
    where u.id = (claims ->> 'impersonator_id')::uuid);
end $$;

-- The caller as decisions see them: {sub, username, roles, permissions, impersonated_by, mfa, session, api_key,
-- key_expires_at}. One of session and api_key is null. Volatile, so that it sees what the admission has noted in the
-- same statement.
create function access.who_am_i() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  u jsonb := access.profile((f ->> 'user_id')::uuid);
  s freehold.sessions;
  k freehold.api_keys;
  who freehold.users;
  u_by jsonb := access.impersonator_in(f);
begin
  select * into who from freehold.users y where y.id = (f ->> 'user_id')::uuid;
  select * into s from freehold.sessions x where x.id = (f ->> 'session_id')::uuid;
  select * into k from freehold.api_keys x where x.id = (f ->> 'key_id')::uuid;
  return case when u is not null then jsonb_build_object(
    'sub', u -> 'sub',
    'username', u -> 'username',
    'avatar', u -> 'avatar',
    'roles', u -> 'roles',
    'permissions', access.permissions_of((u ->> 'sub')::uuid, now()),
    'impersonated_by', u_by,
    'mfa', jsonb_build_object(
      'methods', access.factor_methods(who),
      'backup_codes_left', (
        select count(*) from freehold.backup_codes b where b.user_id = who.id and b.used_at is null),
      'due_at', (select access.factor_due_at(who, t) from freehold.tenant t)),
    'session', case when s.id is not null then jsonb_build_object(
      'id', s.id,
      'device', s.device,
      'address', s.address,
      'created_at', s.created_at,
      'last_active_at', s.last_active_at,
      'expires_at', s.expires_at) end,
    'api_key', case when k.id is not null then jsonb_build_object(
      'id', k.id,
      'prefix', k.prefix,
      'name', k.name,
      'permissions', k.permissions) end,
    'key_expires_at', k.expires_at) end;
end $$;

grant execute on function
  access.me(),
  access.who_am_i()
to freehold_app;
