-- Accounts: the tenant's settings, the policy of its passwords, sessions of which a person has so many at once; and keys beside sessions.
--
-- Threat: a setting that the Worker reads and nobody holds to; a password that comes back; an old session that nobody remembers; a setting by
-- which somebody hands out a role that they do not hold.

-- Who acts for the system (cron, what is done after an answer) shows a key of the registry; its hash alone is here.
alter table access.secrets add column system_hash bytea;
--> statement-breakpoint
create function access.check_system(tenant_id uuid, system_key text) returns freehold.tenant language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  if not exists (select from access.secrets s where s.system_hash = sha256(convert_to(system_key, 'UTF8'))) then
    raise exception using errcode = 'FH403', message = 'forbidden';
  end if;
  return t;
end $$;
--> statement-breakpoint
-- When a person's password expires; null: never.
create function access.expiry_of(u freehold.users, t freehold.tenant) returns timestamptz language sql stable set search_path = pg_catalog, pg_temp as $$
  select case when t.password_days > 0 then u.password_changed_at + make_interval(days => t.password_days) end
$$;
--> statement-breakpoint
create function access.must_change(u freehold.users, t freehold.tenant) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select u.must_change_password or (t.password_days > 0 and u.password_changed_at <= now() - make_interval(days => t.password_days))
$$;
--> statement-breakpoint
-- What the Worker needs to judge a new password.
create function access.policy_of(t freehold.tenant) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_object_agg(e.key, e.value) from jsonb_each(to_jsonb(t)) e where e.key like 'password\_%'
$$;
--> statement-breakpoint
-- The same, for whoever makes people.
create function access.policy() returns jsonb language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.policy_of(t) from freehold.tenant t where access.principal() is not null
$$;
--> statement-breakpoint
create or replace function access.claims_of(u freehold.users, s freehold.sessions, t freehold.tenant) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('user_id', u.id, 'session_id', s.id, 'proof', access.session_proof(s.id), 'username', u.username, 'email', u.email, 'role', access.role_now(u),
    'roles', access.role_names(u.id, now()), 'permissions', access.told_permissions(u.id), 'amr', s.amr,
    'auth_time', floor(extract(epoch from s.created_at)), 'access_minutes', t.access_minutes, 'session_expires_at', s.expires_at,
    'must_change_password', access.must_change(u, t), 'password_expires_at', access.expiry_of(u, t),
    'password_expires_soon', coalesce(access.expiry_of(u, t) <= now() + make_interval(days => t.password_warning_days), false))
$$;
--> statement-breakpoint
-- The recipes of the passwords that a new one may not be: the last so many, the current one among them.
create function access.former(person uuid, t freehold.tenant) returns setof freehold.passwords language sql stable set search_path = pg_catalog, pg_temp as $$
  select p.* from freehold.passwords p where p.user_id = person order by p.replaced_at desc nulls first limit t.password_history
$$;
--> statement-breakpoint
create function access.former_recipes(person uuid, t freehold.tenant) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(distinct regexp_replace(p.password_hash, '[$][^$]*$', '')), '[]') from access.former(person, t) p
$$;
--> statement-breakpoint
-- What is stored of a digest under a recipe.
create function access.stored(recipe text, digest text) returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
  select recipe || '$' || rtrim(encode(sha256(decode(digest || '=', 'base64')), 'base64'), '=')
$$;
--> statement-breakpoint
-- Whether a new password, by its digests under former recipes, is one of the former ones.
create function access.was_used(person uuid, t freehold.tenant, digests jsonb) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (select from access.former(person, t) p join jsonb_each_text(digests) d on p.password_hash = access.stored(d.key, d.value))
$$;
--> statement-breakpoint
-- Replaces a person's password and ends their sessions but one. What was sent before is worth nothing then, neither to set another password nor to
-- take the account to another address: whoever asked for it may be who it is taken back from.
create function access.replace_password(person uuid, new_hash text, must_change boolean, because text, kept uuid) returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.passwords p set replaced_at = clock_timestamp() where p.user_id = person and p.replaced_at is null;
  insert into freehold.passwords (id, user_id, password_hash) values (gen_random_uuid(), person, new_hash);
  update freehold.users x set password_changed_at = now(), must_change_password = must_change, updated_at = now() where x.id = person;
  update freehold.one_time_tokens k set used_at = now() from freehold.users u
  where u.id = person and k.user_id = u.id and k.used_at is null and (k.kind = 'reset' or (k.kind = 'email' and k.target <> u.email));
  update freehold.sessions x set ended_at = now(), ended_because = because where x.user_id = person and x.ended_at is null and x.id is distinct from kept;
end $$;
--> statement-breakpoint
-- Counts failures of a guard whose row is locked; locks it when they are too many, and tells the person.
create or replace function access.fail(t freehold.tenant, guard text, times integer) returns freehold.login_guards language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.login_guards;
begin
  update freehold.login_guards x
  set failures = x.failures + times, failed_at = now(),
    locked_until = case when x.failures + times >= t.max_failures then now() + make_interval(mins => t.lock_minutes) else x.locked_until end
  where x.key = guard
  returning x.* into g;
  if guard like 'login:%' and g.failures >= t.max_failures and g.failures - times < t.max_failures then
    perform access.post('account_locked', u.id, u.email, jsonb_build_object('until', g.locked_until)) from freehold.users u
    where u.id = substr(guard, 7)::uuid and u.is_active;
  end if;
  return g;
end $$;
--> statement-breakpoint
drop function access.login_settle(uuid, uuid, text, bytea, jsonb);
--> statement-breakpoint
-- Second half of a login: {outcome: ok, claims} with a session and its first refresh token, or {outcome: refused | no_role, mail}. Of the
-- person's sessions the oldest go when they are too many. `renewed` replaces a hash of another system, of the same password.
create function access.login_settle(tenant_id uuid, attempt uuid, digest text, renewed text, refresh_hash bytea, request jsonb) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.settle(t, attempt, digest);
  s freehold.sessions;
  named text;
  why text;
begin
  if u.id is null then
    select a.identifier, a.user_id, case when a.user_id is null then 'unknown' when a.state = 'refused' then 'locked' when not x.is_active then 'inactive' else 'wrong_password' end
    into named, u.id, why from freehold.login_attempts a left join freehold.users x on x.id = a.user_id where a.id = attempt;
    perform access.attribute(u.id, named, request);
    perform access.record('LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', why), 20);
    return jsonb_build_object('outcome', 'refused', 'mail', access.posted());
  end if;
  perform access.attribute(u.id, u.username, request);
  if not access.has_role(u.id) then
    perform access.record('LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'no_role'), 10);
    return jsonb_build_object('outcome', 'no_role');
  end if;
  if renewed is not null then
    update freehold.passwords p set password_hash = renewed where p.user_id = u.id and p.replaced_at is null;
  end if;
  insert into freehold.sessions (id, user_id, device, address, city, country, expires_at)
  values (gen_random_uuid(), u.id, left(request ->> 'agent', 255), left(request ->> 'address', 64), left(request ->> 'city', 120), left(request ->> 'country', 2),
    now() + make_interval(days => t.session_days)) returning * into s;
  -- The person's row is locked since the comparison: of many logins at once each sees what the one before it left.
  update freehold.sessions x set ended_at = now(), ended_because = 'limit'
  where x.id in (
    select y.id from freehold.sessions y
    where y.user_id = u.id and y.id <> s.id and y.ended_at is null and y.expires_at > now() and y.last_active_at > now() - make_interval(days => t.idle_days)
    order by y.created_at desc, y.id offset coalesce(u.max_sessions, t.max_sessions) - 1);
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at) values (refresh_hash, s.id, s.device, s.expires_at);
  return jsonb_build_object('outcome', 'ok', 'claims', access.claims_of(u, s, t));
end $$;
--> statement-breakpoint
-- First half of a password change by the admitted person, with a guard of its own: strangers cannot spend these tries.
create or replace function access.password_reserve(tenant_id uuid) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal();
  return access.reserve(t, 'change:' || u.id, u.id, u.username, access.recipe_of(u.id, u.username))
    || jsonb_build_object('person', access.person_of(u), 'policy', access.policy_of(t), 'former', access.former_recipes(u.id, t));
end $$;
--> statement-breakpoint
-- What of a person may not be in their password.
create function access.person_of(u freehold.users) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('username', u.username, 'email', u.email, 'given_name', u.given_name, 'family_name', u.family_name)
$$;
--> statement-breakpoint
drop function access.password_settle(uuid, uuid, text, text);
--> statement-breakpoint
-- Second half: replaces the password and ends the person's other sessions; without a new hash it only settles the try. `wrong` (the current
-- password), `used` (one of the former ones), or `changed`.
create function access.password_settle(tenant_id uuid, attempt uuid, digest text, new_hash text, digests jsonb) returns text language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.settle(t, attempt, digest);
begin
  if u.id is null or u.id is distinct from access.principal() then
    perform access.record('PASSWORD_CHANGE_FAILED', 'update', 'user', access.principal()::text, null, null, 20);
    return 'wrong';
  elsif access.was_used(u.id, t, digests) then
    return 'used';
  elsif new_hash is not null then
    perform access.replace_password(u.id, new_hash, false, 'password_change', access.session());
    perform access.post('password_changed', u.id, u.email);
  end if;
  return 'changed';
end $$;
--> statement-breakpoint
-- Says that somebody was there, at most once a minute, and waits for nobody.
create function access.touch() returns void language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  update freehold.sessions s set last_active_at = now() where s.id = (
    select x.id from freehold.sessions x where x.id = access.session() and x.last_active_at < now() - interval '1 minute' for no key update skip locked)
$$;
--> statement-breakpoint
-- The admission: proves the credential, {session_id, user_id, proof} or {key}, decides the permission (null: any admitted person, scope own),
-- seals principal and reach. Raises FH401 session_ended | token_invalid, FH403 user_inactive | password_change_required | forbidden, FH503.
create or replace function access.admit(tenant_id uuid, credential jsonb, permission text, request jsonb, any_password boolean default false)
returns table (user_id uuid, session_id uuid, scope text) language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  s freehold.sessions;
  k freehold.api_keys;
  u freehold.users;
  r record;
begin
  t := access.check_tenant(tenant_id);
  if credential ? 'key' then
    k := access.key_named(credential ->> 'key', request);
    select * into u from freehold.users x where x.id = k.user_id;
  else
    select * into s from freehold.sessions x where x.id = (credential ->> 'session_id')::uuid;
    if s.id is null or s.user_id is distinct from (credential ->> 'user_id')::uuid or credential ->> 'proof' is distinct from access.session_proof(s.id) then
      raise exception using errcode = 'FH401', message = 'session_ended';
    end if;
    select * into u from freehold.users x where x.id = s.user_id;
  end if;
  -- Before the session, which ended with it: who was deactivated is told so.
  if not u.is_active then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  elsif s.ended_at is not null or s.expires_at <= now() or s.last_active_at <= now() - make_interval(days => t.idle_days) then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif not access.has_role(u.id) then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  end if;
  -- A service does not stop because a person's password has expired.
  if k.id is null and not any_password and access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  end if;
  if permission is null then
    select 'own' as scope, '{}'::uuid[] as units, array[u.id] as owners into r;
  else
    if permission <> all (k.permissions) then
      raise exception using errcode = 'FH403', message = 'forbidden', detail = format('This key does not name %s.', permission);
    end if;
    -- What the key names was asked above.
    select x.scope, x.units, x.owners into r from access.whole_reach(u.id, permission) x;
    if r.scope is null then
      raise exception using errcode = 'FH403', message = 'forbidden';
    end if;
  end if;
  perform access.seal(access.request_of(request) || jsonb_build_object('user_id', u.id, 'user_name', u.username, 'session_id', s.id,
    'scope', r.scope, 'permission', permission, 'units', r.units, 'owners', r.owners)
    || case when k.id is null then '{}' else jsonb_build_object('key_id', k.id, 'narrowed', k.permissions) end);
  -- Who writes says so last (kernel/context.ts): with their session locked from the start, two would wait for each other's.
  if request ->> 'method' = 'GET' and s.last_active_at < now() - interval '1 minute' then
    perform access.touch();
  end if;
  return query select u.id, s.id, r.scope;
end $$;
--> statement-breakpoint
-- A role that strangers get, the fallback too, is handed out by whoever names it, and by whoever lets strangers in, or others than before.
create function access.before_tenant() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  given uuid;
begin
  new.updated_at := now();
  if access.permission() = 'setting:update' and (
      (new.registration and (new.registration, new.registration_role, new.registration_domains) is distinct from (old.registration, old.registration_role, old.registration_domains))
      or (new.registration_role is not null and new.registration_role is distinct from old.registration_role)) then
    select r.id into given from freehold.roles r
    where r.deleted_at is null and case when new.registration_role is null then r.is_fallback else r.name = new.registration_role end for share;
    if given is null and new.registration_role is not null then
      perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.registration_role), 'registration_role');
    end if;
    perform access.must_hold_role(given);
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_tenant before update on freehold.tenant for each row execute function access.before_tenant();
--> statement-breakpoint
-- That role stays the one that was named: who may rename roles must not hand another one to strangers by its name.
create function access.keep_registration_role() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.deleted_at is not null and exists (select from freehold.tenant t where t.registration_role = old.name) then
    perform access.refuse('in_use', format('The role %s is the one of who registers: name another in the settings first.', old.name));
  end if;
  update freehold.tenant t set registration_role = new.name where t.registration_role = old.name and new.name <> old.name;
  return null;
end $$;
--> statement-breakpoint
create trigger keep_registration_role after update of name, deleted_at on freehold.roles for each row execute function access.keep_registration_role();
--> statement-breakpoint
create policy change_tenant on freehold.tenant for update using ((select access.permission()) = 'setting:update' and (select access.scope()) = 'all');
--> statement-breakpoint
grant update (max_failures, lock_minutes, idle_days, session_days, max_sessions, access_minutes, password_days, password_warning_days, password_min_length, password_max_length,
  password_upper, password_lower, password_digit, password_special, password_unique, password_history, password_personal, password_common, registration, registration_domains,
  registration_role, delegation_approval) on freehold.tenant to freehold_app;
--> statement-breakpoint
-- One's own sessions, all of them; others' with session:delete.
drop policy end_sessions on freehold.sessions;
--> statement-breakpoint
create policy end_sessions on freehold.sessions for update using (user_id = (select access.principal())
  or ((select access.permission()) = 'session:delete' and ((select access.scope()) = 'all' or user_id = any ((select access.owners())::uuid[])
    or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[])))));
--> statement-breakpoint
-- Before what else is locked of a person, and where several of their rows are: two who lock them in another order would wait for each other.
create function access.hold_person(person uuid) returns void language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select from freehold.users x where x.id = person and access.principal() is not null for no key update
$$;
--> statement-breakpoint
grant insert (max_sessions), update (max_sessions) on freehold.users to freehold_app;
--> statement-breakpoint
-- Who logged in and who tried to, of one person: newest first. Of oneself, or of who is reached with session:read.
create function access.login_history(person uuid, at_most integer, before_at timestamptz default null, before_id uuid default null)
returns table (id uuid, activity_type text, at timestamptz, address text, agent text, reason text) language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select l.id, l.activity_type, l.at, d.address, d.agent, coalesce(d.after ->> 'reason', d.after ->> 'ended_because')
  from freehold.audit_log l left join freehold.audit_detail d on d.log_id = l.id
  where l.user_id = person and l.activity_type in ('LOGIN', 'LOGIN_FAILED', 'LOGOUT', 'SUSPICIOUS_ACTIVITY')
    and (person = access.principal() or (access.permission() = 'session:read' and access.reaches(person)))
    and (before_at is null or (l.at, l.id) < (before_at, before_id))
  order by l.at desc, l.id desc limit at_most
$$;
--> statement-breakpoint
-- Tells whose password will expire soon, once for each password. Run by the scheduled job. How many were told.
create function access.warn_expiring(at_most integer) returns integer language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  told integer;
begin
  with soon as (
    update freehold.passwords p set warned_at = now()
    from freehold.tenant t
    where p.id in (
      select x.id from freehold.passwords x join freehold.users u on u.id = x.user_id
      where x.replaced_at is null and x.warned_at is null and u.is_active and not u.must_change_password and t.password_days > 0
        and x.created_at <= now() - make_interval(days => t.password_days - least(t.password_warning_days, t.password_days))
      order by x.created_at limit at_most for update of x skip locked)
    returning p.user_id)
  select count(access.post('password_expires', u.id, u.email, jsonb_build_object('expires_at', access.expiry_of(u, t)))) into told
  from soon join freehold.users u on u.id = soon.user_id cross join freehold.tenant t;
  return told;
end $$;
--> statement-breakpoint
do $$
declare
  t text;
begin
  foreach t in array array['mails', 'mail_attempts', 'one_time_tokens', 'registrations', 'api_keys'] loop
    execute format('alter table freehold.%I enable row level security', t);
  end loop;
end $$;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
--> statement-breakpoint
grant execute on function access.login_settle(uuid, uuid, text, text, bytea, jsonb), access.password_settle(uuid, uuid, text, text, jsonb), access.policy(), access.hold_person(uuid), access.touch(),
  access.login_history(uuid, integer, timestamptz, uuid) to freehold_app;
