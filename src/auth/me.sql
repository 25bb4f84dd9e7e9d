-- Who the admitted user is: access.me, and access.who_am_i with what they may do. Functions and no queries of the
-- Worker, because Postgres takes longer to plan a query under row level security than to answer this.

-- The profile of the admitted user; null: nobody was admitted.
create function access.me() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  h record;
begin
  select * into u from freehold.users x where x.id = access.principal();
  h := access.roles_now(u);
  return case when u.id is not null then jsonb_build_object(
    'sub', u.id,
    'username', u.username,
    'email', u.email,
    'email_verified', u.email_verified,
    'given_name', u.given_name,
    'family_name', u.family_name,
    'role', h.role,
    'roles', h.roles,
    'is_active', u.is_active) end;
end $$;

-- The caller as decisions see them: {sub, username, roles, permissions, session, api_key, key_expires_at}. One of
-- session and api_key is null.
create function access.who_am_i() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  u freehold.users;
  s freehold.sessions;
  k freehold.api_keys;
  h record;
begin
  select * into u from freehold.users x where x.id = (f ->> 'user_id')::uuid;
  select * into s from freehold.sessions x where x.id = (f ->> 'session_id')::uuid;
  select * into k from freehold.api_keys x where x.id = (f ->> 'key_id')::uuid;
  h := access.roles_now(u);
  return case when u.id is not null then jsonb_build_object(
    'sub', u.id,
    'username', u.username,
    'roles', h.roles,
    'permissions', access.permissions_of(u.id, now()),
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
