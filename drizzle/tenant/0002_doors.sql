-- The anonymous doors: login and refresh. Definer functions that take exactly what they need.
--
-- Threat: a stranger guesses, in parallel; a thief replays; whoever runs SQL as the app login tries to be somebody. So an
-- attempt is reserved before a password is compared, the comparison is made here and the hash never leaves, and what must leave
-- a trace (a failure, a replay) is returned, not raised, so that it is committed.

-- The stored hash of a person, or null.
create function access.current_password(person uuid) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
  select p.password_hash from freehold.passwords p where p.user_id = person and p.replaced_at is null
$$;
--> statement-breakpoint
-- The recipe for a person's password. Who has none, or is nobody, gets one too, as others have it; its salt is always the same for an
-- identifier, because a salt that changes would tell.
create function access.recipe_of(person uuid, identifier text) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(regexp_replace(access.current_password(person), '[$][^$]*$', ''),
    '$pbkdf2-sha256-chain$r=6,i=100000$' || rtrim(encode(substr(access.mac('salt:' || identifier), 1, 16), 'base64'), '='))
$$;
--> statement-breakpoint
-- What a token says about its bearer.
create function access.claims_of(u freehold.users, s freehold.sessions, t freehold.tenant) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('user_id', u.id, 'session_id', s.id, 'username', u.username, 'email', u.email, 'role', u.role,
    'roles', access.role_names(u.id, now()), 'permissions', access.permissions_of(u.id, now()), 'amr', s.amr,
    'auth_time', floor(extract(epoch from s.created_at)),
    'must_change_password', u.must_change_password or u.password_changed_at <= now() - make_interval(days => t.password_days),
    'password_expires_at', u.password_changed_at + make_interval(days => t.password_days))
$$;
--> statement-breakpoint
-- Reserves one try for `key`, or says why not: reserved | refused (locked) | busy (as many tries are under way as may fail).
-- Locks the guard's row, so that tries of one identifier are decided one after another. A reservation that did not come back
-- within 30 s has failed.
create function access.reserve(t freehold.tenant, guard text, person uuid, identifier text, recipe text) returns jsonb language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.login_guards;
  lost integer;
  pending integer;
  attempt uuid := pg_catalog.gen_random_uuid();
  state text := 'reserved';
begin
  insert into freehold.login_guards as x (key) values (guard) on conflict (key) do update set key = x.key returning x.* into g;
  with given_up as (
    update freehold.login_attempts a set state = 'failed'
    where a.key = guard and a.state = 'reserved' and a.created_at <= now() - interval '30 seconds' returning 1
  ) select count(*) into lost from given_up;
  if lost > 0 then
    g := access.fail(t, guard, lost);
  end if;
  -- What is a day old has done its work; the next tries clear it away, a few at a time.
  delete from freehold.login_attempts a where a.key = guard and a.created_at < now() - interval '1 day';
  delete from freehold.login_guards x where x.key in (
    select y.key from freehold.login_guards y where y.key like 'unknown:%' and y.failed_at < now() - interval '1 day' limit 5 for update skip locked);
  if g.locked_until > now() then
    state := 'refused';
  else
    if g.locked_until is not null or g.failed_at <= now() - make_interval(mins => t.lock_minutes) then
      update freehold.login_guards x set failures = 0, failed_at = null, locked_until = null where x.key = guard returning x.* into g;
    end if;
    select count(*) into pending from freehold.login_attempts a where a.key = guard and a.state = 'reserved';
    if g.failures + pending >= t.max_failures then
      return jsonb_build_object('state', 'busy');
    end if;
  end if;
  insert into freehold.login_attempts (id, key, user_id, identifier, recipe, state) values (attempt, guard, person, left(identifier, 255), recipe, state);
  return jsonb_build_object('state', 'reserved', 'attempt', attempt, 'recipe', recipe);
end $$;
--> statement-breakpoint
-- Counts failures of a guard whose row is locked; locks it when they are too many.
create function access.fail(t freehold.tenant, guard text, times integer) returns freehold.login_guards language sql volatile set search_path = pg_catalog, pg_temp as $$
  update freehold.login_guards x
  set failures = x.failures + times, failed_at = now(),
    locked_until = case when x.failures + times >= t.max_failures then now() + make_interval(mins => t.lock_minutes) else x.locked_until end
  where x.key = guard
  returning x.*
$$;
--> statement-breakpoint
-- Settles a reserved try: compares the digest (32 bytes, base64 without padding) with the person's hash, counts, unlocks. Returns the person when it was right.
create function access.settle(t freehold.tenant, attempt uuid, digest text) returns freehold.users language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  u freehold.users;
begin
  select * into a from freehold.login_attempts x where x.id = attempt;
  perform from freehold.login_guards g where g.key = a.key for update;
  update freehold.login_attempts x set state = 'failed' where x.id = attempt and x.state = 'reserved' returning x.* into a;
  if a.id is null then
    return null;
  end if;
  -- Whoever changes this person's password meanwhile goes first or waits; the comparison below sees what they left.
  perform from freehold.users x where x.id = a.user_id for no key update;
  select * into u from freehold.users x
  where x.id = a.user_id and x.is_active and access.current_password(x.id) = a.recipe || '$' || rtrim(encode(sha256(decode(digest || '=', 'base64')), 'base64'), '=');
  if u.id is null then
    perform access.fail(t, a.key, 1);
    return null;
  end if;
  update freehold.login_attempts x set state = 'succeeded' where x.id = attempt;
  update freehold.login_guards x set failures = 0, failed_at = null, locked_until = null where x.key = a.key;
  return u;
end $$;
--> statement-breakpoint
-- First half of a login: {state, attempt, recipe}. An unknown identifier gets a guard and a recipe as a known one does.
create function access.login_reserve(tenant_id uuid, identifier text) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users;
begin
  identifier := left(identifier, 255);
  if strpos(identifier, '@') > 0 then
    select * into u from freehold.users x where x.email = identifier;
  else
    select * into u from freehold.users x where x.username = identifier;
  end if;
  return access.reserve(t, case when u.id is null then 'unknown:' || encode(access.mac('guard:' || identifier), 'hex') else 'login:' || u.id end, u.id, identifier,
    access.recipe_of(u.id, identifier));
end $$;
--> statement-breakpoint
-- Second half: {outcome: ok, claims} with a session and its first refresh token, or {outcome: refused | no_role}.
create function access.login_settle(tenant_id uuid, attempt uuid, digest text, refresh_hash bytea, request jsonb) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.settle(t, attempt, digest);
  s freehold.sessions;
  named text;
begin
  if u.id is null then
    select a.identifier, a.user_id into named, u.id from freehold.login_attempts a where a.id = attempt;
    perform access.attribute(u.id, named, request);
    perform access.record('LOGIN_FAILED', 'login', 'user', u.id::text, null, null, 20);
    return jsonb_build_object('outcome', 'refused');
  end if;
  perform access.attribute(u.id, u.username, request);
  if not exists (select from access.roles_of(u.id, now())) then
    perform access.record('LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'no_role'), 10);
    return jsonb_build_object('outcome', 'no_role');
  end if;
  insert into freehold.sessions (id, user_id, device, address, expires_at)
  values (gen_random_uuid(), u.id, left(request ->> 'agent', 255), left(request ->> 'address', 64), now() + make_interval(days => t.session_days)) returning * into s;
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at) values (refresh_hash, s.id, s.device, s.expires_at);
  return jsonb_build_object('outcome', 'ok', 'claims', access.claims_of(u, s, t));
end $$;
--> statement-breakpoint
-- Exchanges a refresh token: {outcome: ok, claims} | invalid | reused | inactive. Of many at once the first makes the successor; the
-- others find it and get the same one, if they are honest: within 10 s, from the device that used it, successor unused.
-- Every other replay ends the session, because one of the two who hold the token stole it.
create function access.refresh(tenant_id uuid, presented bytea, successor bytea, request jsonb) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  r freehold.refresh_tokens;
  next_link freehold.refresh_tokens;
  s freehold.sessions;
  u freehold.users;
begin
  select x.* into s from freehold.refresh_tokens l join freehold.sessions x on x.id = l.session_id where l.token_hash = presented;
  select * into u from freehold.users x where x.id = s.user_id;
  if s.id is null or s.ended_at is not null or s.expires_at <= now() or s.last_active_at <= now() - make_interval(days => t.idle_days) then
    return jsonb_build_object('outcome', 'invalid');
  elsif not u.is_active or not exists (select from access.roles_of(u.id, now())) then
    return jsonb_build_object('outcome', 'inactive');
  end if;
  perform access.attribute(u.id, u.username, request);
  update freehold.refresh_tokens l set used_at = clock_timestamp(), successor_hash = successor
  where l.token_hash = presented and l.used_at is null and l.expires_at > now() returning l.* into r;
  if r.token_hash is not null then
    insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at) values (successor, s.id, request ->> 'agent', s.expires_at);
  else
    select * into r from freehold.refresh_tokens l where l.token_hash = presented;
    if r.used_at is null then
      return jsonb_build_object('outcome', 'invalid');
    end if;
    select * into next_link from freehold.refresh_tokens l where l.token_hash = r.successor_hash;
    if r.successor_hash <> successor or next_link.used_at is not null or r.used_at < clock_timestamp() - interval '10 seconds'
      or next_link.device is distinct from request ->> 'agent' then
      update freehold.sessions x set ended_at = now(), ended_because = 'refresh_reused' where x.id = s.id and x.ended_at is null;
      perform access.record('SUSPICIOUS_ACTIVITY', 'refresh', 'session', s.id::text, null, jsonb_build_object('reason', 'refresh_reused'), 80);
      return jsonb_build_object('outcome', 'reused');
    end if;
  end if;
  update freehold.sessions x set last_active_at = now() where x.id = s.id and x.ended_at is null returning x.* into s;
  if s.id is null then
    return jsonb_build_object('outcome', 'invalid');
  end if;
  return jsonb_build_object('outcome', 'ok', 'claims', access.claims_of(u, s, t));
end $$;
--> statement-breakpoint
-- First half of a password change by the admitted person, with a guard of its own: strangers cannot spend these tries.
create function access.password_reserve(tenant_id uuid) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal();
  return access.reserve(t, 'change:' || u.id, u.id, u.username, access.recipe_of(u.id, u.username))
    || jsonb_build_object('username', u.username, 'email', u.email, 'given_name', u.given_name, 'family_name', u.family_name);
end $$;
--> statement-breakpoint
-- Second half: replaces the password and ends the person's other sessions; without a new hash it only settles the try. False when the
-- current password was wrong.
create function access.password_settle(tenant_id uuid, attempt uuid, digest text, new_hash text) returns boolean language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.settle(t, attempt, digest);
begin
  if u.id is null or u.id is distinct from access.principal() then
    perform access.record('PASSWORD_CHANGE_FAILED', 'update', 'user', access.principal()::text, null, null, 20);
    return false;
  elsif new_hash is null then
    return true;
  end if;
  update freehold.passwords p set replaced_at = now() where p.user_id = u.id and p.replaced_at is null;
  insert into freehold.passwords (id, user_id, password_hash) values (gen_random_uuid(), u.id, new_hash);
  update freehold.users x set password_changed_at = now(), must_change_password = false, updated_at = now() where x.id = u.id;
  update freehold.sessions x set ended_at = now(), ended_because = 'password_change'
  where x.user_id = u.id and x.ended_at is null and x.id <> access.session();
  return true;
end $$;
--> statement-breakpoint
-- What the admitted person holds now: {role names, permissions}.
create function access.held() returns jsonb language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('roles', access.role_names(access.principal(), now()), 'permissions', access.permissions_of(access.principal(), now()))
$$;
--> statement-breakpoint
-- Row level security: on every table, and closed where no policy opens it.
do $$
declare
  t record;
begin
  for t in select c.oid::regclass as name from pg_class c where c.relkind = 'r' and c.relnamespace in ('freehold'::regnamespace, 'access'::regnamespace) loop
    execute format('alter table %s enable row level security', t.name);
  end loop;
end $$;
--> statement-breakpoint
-- Policies name no role: what a role owns or is named in, a member of it may drop. Grants say who comes this far at all.
create policy read_users on freehold.users for select
  using ((select access.scope()) = 'all' or id = (select access.principal()));
--> statement-breakpoint
create policy read_sessions on freehold.sessions for select
  using ((select access.scope()) = 'all' or user_id = (select access.principal()));
--> statement-breakpoint
create policy end_sessions on freehold.sessions for update
  using (id = (select access.session())) with check (id = (select access.session()));
--> statement-breakpoint
create policy read_roles on freehold.roles for select using ((select access.principal()) is not null);
--> statement-breakpoint
create policy read_permissions on freehold.permissions for select using ((select access.principal()) is not null);
--> statement-breakpoint
create policy read_role_permissions on freehold.role_permissions for select using ((select access.principal()) is not null);
--> statement-breakpoint
create policy read_user_roles on freehold.user_roles for select
  using ((select access.scope()) = 'all' or user_id = (select access.principal()));
--> statement-breakpoint
create policy read_tenant on freehold.tenant for select using ((select access.principal()) is not null);
--> statement-breakpoint
grant usage on schema freehold, access to freehold_app;
--> statement-breakpoint
grant select on freehold.users, freehold.sessions, freehold.roles, freehold.permissions, freehold.role_permissions, freehold.user_roles, freehold.tenant to freehold_app;
--> statement-breakpoint
grant update (ended_at, ended_because) on freehold.sessions to freehold_app;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
--> statement-breakpoint
revoke execute on all procedures in schema access from public;
--> statement-breakpoint
grant execute on function access.principal(), access.session(), access.scope(), access.held(),
  access.admit(uuid, jsonb, text, jsonb, boolean), access.record_refusal(uuid, jsonb, text, text, jsonb),
  access.login_reserve(uuid, text), access.login_settle(uuid, uuid, text, bytea, jsonb), access.refresh(uuid, bytea, bytea, jsonb),
  access.password_reserve(uuid), access.password_settle(uuid, uuid, text, text) to freehold_app;
