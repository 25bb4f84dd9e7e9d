-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table freehold.remembered_devices
--   alters table freehold.passkeys
--   alters table freehold.sessions
--   alters table freehold.tenant
-- Definitions:
--   creates function access.after_rename
--   creates function access.after_session_end
--   creates function access.forget_devices
--   creates function access.has_passkey
--   creates function access.is_remembered
--   creates function access.remember_device
--   creates function access.remembered_sessions
--   creates function access.step_up_methods
--   creates function access.with_passkey_end
--   creates trigger after_session_end on freehold.sessions
--   creates trigger after_rename on freehold.tenant
--   replaces 18 objects
--   drops and creates policy read on freehold.passkeys
--   drops and creates trigger audit_insert on freehold.passkeys
--   drops and creates trigger audit_update on freehold.passkeys
--   drops and creates trigger audit_delete on freehold.passkeys
--   drops and creates function access.enter
--   drops and creates function access.meet_challenge
--   drops and creates function access.open_session
--   drops and creates function access.verify_passkey
--   drops and creates function access.verify_totp

set local check_function_bodies = off;
--> statement-breakpoint
drop policy read on freehold.passkeys;
--> statement-breakpoint
drop trigger audit_insert on freehold.passkeys;
--> statement-breakpoint
drop trigger audit_update on freehold.passkeys;
--> statement-breakpoint
drop trigger audit_delete on freehold.passkeys;
--> statement-breakpoint
drop function access.enter(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,text,integer,uuid);
--> statement-breakpoint
drop function access.meet_challenge(freehold.tenant,bytea,freehold.login_challenges,boolean,text,text,bytea,jsonb,jsonb);
--> statement-breakpoint
drop function access.open_session(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,integer);
--> statement-breakpoint
drop function access.verify_passkey(uuid,text,bytea,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb);
--> statement-breakpoint
drop function access.verify_totp(uuid,text,bytea,bigint,text,bytea,jsonb,jsonb);
--> statement-breakpoint
CREATE TABLE "freehold"."remembered_devices" (
  "user_id" uuid NOT NULL,
  "device" uuid NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  CONSTRAINT "remembered_devices_user_id_device_pk" PRIMARY KEY("user_id","device")
);
--> statement-breakpoint
ALTER TABLE "freehold"."passkeys" ADD COLUMN "ends_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "device_id" uuid;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "mfa_remember_days" integer DEFAULT 30 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."remembered_devices" ADD CONSTRAINT "remembered_devices_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE INDEX "remembered_devices_expiry" ON "freehold"."remembered_devices" USING btree ("expires_at");
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_remembered" CHECK ("freehold"."tenant"."mfa_remember_days" between 0 and 30);
--> statement-breakpoint
alter table freehold.remembered_devices enable row level security;
--> statement-breakpoint
-- Admits a request: proves the credential, {session_id, user_id, proof} or {key}, decides the permission (null: any
-- admitted user, scope own), and signs the claims: every policy believes what is signed here. Returns {user_id,
-- session_id, scope}. Raises FH401 session_ended | token_invalid | step_up_required, FH403 user_inactive |
-- password_change_required | mfa_setup_required | forbidden, FH40L, FH503.
--
-- `fresh`: the user of a session must have authenticated within so many minutes; `least_aal`: by so many factors; null:
-- neither is asked; a negative number of factors is asked of who has set up a second one, and of nobody else. The
-- previous release sends none of the two. A key is asked for none of them: nobody can log in with it.
--
-- Every request pays for this, so that what is signed is written once and nothing is read twice.
create or replace function access.admit(
  tenant_id uuid,
  credential jsonb,
  permission text,
  request jsonb,
  any_password boolean default false,
  fresh integer default null,
  least_aal integer default null
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  secret access.secrets;
  s freehold.sessions;
  k freehold.api_keys;
  u freehold.users;
  r record;
  said text;
begin
  select * into secret from access.secrets;
  if credential ? 'key' then
    k := access.authenticate_key(credential ->> 'key', request);
    select * into u from freehold.users x where x.id = k.user_id;
  else
    select * into s from freehold.sessions x where x.id = (credential ->> 'session_id')::uuid;
    if s.id is null
      or s.user_id is distinct from (credential ->> 'user_id')::uuid
      or not access.is_proof(secret, s.id, credential ->> 'proof', t.access_minutes)
    then
      raise exception using errcode = 'FH401', message = 'session_ended';
    end if;
    select * into u from freehold.users x where x.id = s.user_id;
  end if;
  -- Before the session, which ended with it: a user who was deactivated is told so.
  if not access.is_present(u) then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  elsif s.ended_at is not null
    or s.expires_at <= now()
    or s.last_active_at <= now() - access.idle_limit(t)
  then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif not access.has_role(u.id) then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  -- A service does not stop because its owner's password has expired.
  elsif k.id is null and not any_password and access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  elsif s.aal < 2
    and not any_password
    and t.mfa_required_since is not null
    and access.factor_due_at(u, t) <= now()
  then
    raise exception using errcode = 'FH403', message = 'mfa_setup_required';
  elsif t.read_only_from <= now() and not access.is_allowed_unlicensed(permission, request) then
    perform access.refuse_unlicensed();
  end if;
  if permission is null then
    select 'own'::access.scope as scope, '{}'::uuid[] as units, array[u.id] as owners into r;
  elsif permission <> all (k.permissions) then
    raise exception using
      errcode = 'FH403',
      message = 'forbidden',
      detail = format('This API key does not include %s.', permission);
  else
    r := access.user_effective_scope(u.id, permission);
    if r.scope is null then
      raise exception using errcode = 'FH403', message = 'forbidden';
    end if;
  end if;
  if s.aal < abs(least_aal) and (least_aal > 0 or access.factor_methods(u) <> '[]') then
    raise exception using
      errcode = 'FH401',
      message = 'step_up_required',
      detail = 'This needs a second factor: POST auth/step-up with it, then send the request again.';
  elsif coalesce(s.authenticated_at, s.created_at) <= now() - make_interval(mins => fresh) then
    raise exception using
      errcode = 'FH401',
      message = 'step_up_required',
      detail = format(
        'This needs a login of the last %s minutes: POST auth/step-up, then send the request again.', fresh);
  end if;
  said := jsonb_build_object(
    'user_id', u.id,
    'user_name', u.username,
    'session_id', s.id,
    'scope', r.scope,
    'permission', permission,
    'units', r.units::text,
    'owners', r.owners::text,
    'key_id', k.id,
    'key_permissions', k.permissions::text,
    'request', request)::text;
  perform
    set_config('access.claims', said, true),
    set_config(
      'access.signature',
      encode(access.hmac(secret.inner_key, secret.outer_key, access.bound('claims:' || said)), 'hex'),
      true
    );
  -- A request that writes touches its session last (src/kernel/context.ts): two that locked it first would wait for
  -- each other's rows.
  if s.last_active_at < now() - interval '1 minute' then
    perform set_config('access.touch', 'due', true);
    if request ->> 'method' = 'GET' and not current_setting('transaction_read_only')::boolean then
      perform access.touch();
    end if;
  end if;
  return jsonb_build_object('user_id', u.id, 'session_id', s.id, 'scope', r.scope);
end $$;
--> statement-breakpoint
-- The caller as decisions see them: {sub, username, roles, permissions, mfa, session, api_key, key_expires_at}. One of
-- session and api_key is null. Volatile, so that it sees what the admission has noted in the same statement.
create or replace function access.who_am_i() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  u jsonb := access.profile((f ->> 'user_id')::uuid);
  s freehold.sessions;
  k freehold.api_keys;
  who freehold.users;
begin
  select * into who from freehold.users y where y.id = (f ->> 'user_id')::uuid;
  select * into s from freehold.sessions x where x.id = (f ->> 'session_id')::uuid;
  select * into k from freehold.api_keys x where x.id = (f ->> 'key_id')::uuid;
  return case when u is not null then jsonb_build_object(
    'sub', u -> 'sub',
    'username', u -> 'username',
    'roles', u -> 'roles',
    'permissions', access.permissions_of((u ->> 'sub')::uuid, now()),
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
--> statement-breakpoint
-- Lets somebody in who proved to be `u` by the methods `amr` (RFC 8176, with a space between them), which are `aal`
-- factors: {outcome: ok, claims, device_token}, or {outcome: no_role | first_password_expired | unknown_audience}, or
-- {outcome: limit_reached, said}; or, where one factor is not enough, {outcome: mfa_required, methods, expires_in, totp}
-- (access.challenge), and then `refresh_hash` is that of the challenge's token. The caller has locked the user's row and
-- set the actor of the audit. `former`, `client` and `audience` are as for access.finish_login. `device` is the one that
-- the login is from; null: one that is not known. `remember`: whether it is to be remembered, once two factors are proven.
create or replace function access.enter(
  u freehold.users,
  t freehold.tenant,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  client text,
  audience text,
  amr text,
  aal integer,
  device uuid,
  remember boolean default false
) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
  why text := case
    when not access.has_role(u.id) then 'no_role'
    -- Who got this far knows the password, so that this tells a stranger nothing.
    when u.must_change_password and access.first_password_expiry(u.id, t) <= now() then 'first_password_expired'
    when not access.is_audience(audience) then 'unknown_audience'
  end;
begin
  if why is not null then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', why),
      case why when 'first_password_expired' then 20 else 10 end
    );
    return jsonb_build_object('outcome', why);
  elsif aal < 2
    and (u.factors <> '{}' or access.asks_for_passkey(u, t))
    and not access.is_remembered(t, u.id, device)
  then
    return access.challenge(u, refresh_hash, request, client, audience, amr, device);
  end if;
  device := coalesce(device, gen_random_uuid());
  begin
    s := access.open_session(u, t, refresh_hash, request, former, client, amr, aal, device);
  -- Nothing of it is left, and the attempt stays finished: who was let in once is no failure.
  exception when sqlstate 'FH409' then
    get stacked diagnostics why = pg_exception_detail;
    perform access.note_active_places(t);
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'limit_reached'), 10
    );
    return jsonb_build_object('outcome', 'limit_reached', 'said', why);
  end;
  if remember and aal = 2 then
    perform access.remember_device(t, u.id, device);
  end if;
  return jsonb_build_object(
    'outcome', 'ok',
    'claims', access.token_claims(u, s, t, audience),
    'device_token', access.device_token(t, u.id, device, floor(extract(epoch from now()))::bigint)
  );
end $$;
--> statement-breakpoint
-- The session, with its first refresh token. The arguments are as for access.enter. Raises FH409 limit_reached.
create or replace function access.open_session(
  u freehold.users,
  t freehold.tenant,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  client text,
  amr text,
  aal integer,
  device_id uuid
) returns freehold.sessions
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
  surplus uuid[];
begin
  if former ? u.id::text then
    update freehold.sessions x set ended_at = now(), ended_because = 'replaced'
    where x.user_id = u.id
      and x.ended_at is null
      and x.id = (select l.session_id from freehold.refresh_tokens l where l.token_hash = (former ->> u.id::text)::bytea);
  end if;
  insert into freehold.sessions (
    id, user_id, device, device_id, address, city, country, client_id, amr, aal, expires_at
  )
  values (
    gen_random_uuid(),
    u.id,
    left(request ->> 'agent', 255),
    open_session.device_id,
    left(request ->> 'address', 64),
    left(request ->> 'city', 120),
    left(request ->> 'country', 2),
    left(client, 255),
    amr,
    aal,
    now() + make_interval(days => t.session_days)
  )
  returning * into s;
  -- The user's row has been locked since the comparison, so that of many logins at once each sees the sessions of
  -- those before it.
  surplus := array(
    select y.id
    from freehold.sessions y
    where y.user_id = u.id
      and y.id <> s.id
      and y.ended_at is null
      and y.expires_at > now()
      and y.last_active_at > now() - access.idle_limit(t)
    order by y.created_at desc, y.id
    offset coalesce(u.max_sessions, t.max_sessions) - 1
  );
  if surplus <> '{}' then
    update freehold.sessions x set ended_at = now(), ended_because = 'limit' where x.id = any (surplus);
  end if;
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
  values (refresh_hash, s.id, s.device, s.expires_at);
  perform access.take_session_place(s, t);
  return s;
end $$;
--> statement-breakpoint
-- Replaces a user's password and ends their sessions, except `kept`. One that they must change is a first password.
-- Voids the tokens that were sent before, for another password or for another address: they may have been asked for by
-- the one whom the account is taken back from.
create or replace function access.replace_password(subject uuid, new_hash text, must_change boolean, because text, kept uuid)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.passwords p set replaced_at = clock_timestamp()
  where p.user_id = subject and p.replaced_at is null;
  insert into freehold.passwords (id, user_id, password_hash, is_first)
  values (gen_random_uuid(), subject, new_hash, must_change);
  update freehold.users x
  set password_changed_at = now(), must_change_password = must_change, updated_at = now()
  where x.id = subject;
  -- The verification of the current address stays good.
  update freehold.one_time_tokens k set used_at = now()
  from freehold.users u
  where u.id = subject
    and k.user_id = u.id
    and k.used_at is null
    and (k.kind = 'reset' or (k.kind = 'email' and k.target <> u.email));
  update freehold.sessions x
  set ended_at = now(), ended_because = because
  where x.user_id = subject and x.ended_at is null and x.id is distinct from kept;
  perform access.forget_devices(subject);
end $$;
--> statement-breakpoint
-- By what a user can meet a challenge, the usual one first.
create or replace function access.factor_methods(u freehold.users) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select to_jsonb(u.factors)
    || case when access.has_passkey(u.id) then '["passkey"]' else '[]' end::jsonb
    || case
    when exists (select from freehold.backup_codes b where b.user_id = u.id and b.used_at is null) then '["backup_code"]'
    else '[]'
  end::jsonb
$$;
--> statement-breakpoint
-- Opens a challenge for a user who proved the first factor: {outcome: mfa_required, user_id, methods, expires_in, totp,
-- remember_days}. `totp` is the encrypted secret, which the Worker seals in the token, so that the code is compared in one round trip. The
-- arguments are as for access.enter.
create or replace function access.challenge(
  u freehold.users,
  token_hash bytea,
  request jsonb,
  client text,
  audience text,
  amr text,
  device uuid
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from freehold.login_challenges c where c.user_id = u.id and c.expires_at <= now();
  insert into freehold.login_challenges (token_hash, user_id, guard, client, audience, device, amr, expires_at)
  values (
    challenge.token_hash,
    u.id,
    access.login_guard(u.id, device, request),
    left(client, 255),
    audience,
    device,
    amr,
    now() + interval '5 minutes'
  );
  return jsonb_build_object(
    'outcome', 'mfa_required',
    'user_id', u.id,
    'methods', access.factor_methods(u),
    'expires_in', 300,
    'totp', (select f.secret_encrypted from freehold.totp_factors f where f.user_id = u.id and f.enabled_at is not null),
    'remember_days', (select t.mfa_remember_days from freehold.tenant t)
  );
end $$;
--> statement-breakpoint
-- What follows the comparison with what was `shown`: what access.enter returns, or {outcome: refused, mail}. `c` is null
-- where it could not be met any more. `method` is the one that was used (RFC 8176), and `reason` what the audit says when it was
-- wrong. `former` and `remember` are as for access.enter.
create or replace function access.meet_challenge(
  t freehold.tenant,
  shown bytea,
  c freehold.login_challenges,
  is_right boolean,
  method text,
  reason text,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  remember boolean
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  entered jsonb;
begin
  select x.* into u
  from freehold.login_challenges y
    join freehold.users x on x.id = y.user_id
  where y.token_hash = shown;
  perform access.set_audit_actor(u.id, u.username, request);
  if c.token_hash is null or not coalesce(is_right, false) then
    reason := case when c.token_hash is null then 'challenge_ended' else reason end;
    if c.token_hash is not null then
      update freehold.login_challenges x set failures = x.failures + 1 where x.token_hash = c.token_hash;
      perform access.count_failures(t, 'login:' || u.id, c.guard, 1);
    end if;
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, reason, c.token_hash is null, jsonb_build_object('reason', reason), 30
    );
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  end if;
  update freehold.login_challenges x set used_at = now() where x.token_hash = c.token_hash;
  entered := access.enter(
    u, t, refresh_hash, request, former, c.client, c.audience, c.amr || ' ' || method, 2, c.device, remember
  );
  if entered ->> 'outcome' = 'ok' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = c.guard;
  end if;
  return entered;
end $$;
--> statement-breakpoint
create or replace function access.is_remembered(t freehold.tenant, subject uuid, device uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from freehold.remembered_devices r
    where r.user_id = subject
      and r.device = is_remembered.device
      and r.expires_at > now()
      -- The setting may have been lowered since.
      and r.created_at > now() - make_interval(days => t.mfa_remember_days))
$$;
--> statement-breakpoint
-- Remembers a device of a user whose row is locked, for as long as the settings say; not at all where that is 0.
create or replace function access.remember_device(t freehold.tenant, subject uuid, this_device uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  until timestamptz := now() + make_interval(days => t.mfa_remember_days);
begin
  if t.mfa_remember_days = 0 then
    return;
  end if;
  insert into freehold.remembered_devices as r (user_id, device, expires_at)
  values (subject, this_device, until)
  on conflict (user_id, device) do update set created_at = now(), expires_at = excluded.expires_at;
  perform access.record(
    'DEVICE_REMEMBERED', 'create', 'user', subject::text, null, jsonb_build_object('device', this_device, 'until', until)
  );
end $$;
--> statement-breakpoint
-- Forgets all devices of a user, or one of them.
create or replace function access.forget_devices(subject uuid, device uuid default null) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from freehold.remembered_devices r
  where r.user_id = subject and (forget_devices.device is null or r.device = forget_devices.device);
  if found then
    perform access.record(
      'DEVICE_FORGOTTEN', 'delete', 'user', subject::text, jsonb_strip_nulls(jsonb_build_object('device', device)), null
    );
  end if;
end $$;
--> statement-breakpoint
-- A session that is ended because nobody should be on that device any more takes the memory of the device with it; one
-- that its user logs out of, or that makes room for another, does not. Which of the two a statement means when users end
-- their current session, it says in access.forget: `device`, or `all` of the user. Whoever sets it forgets too much.
create or replace function access.after_session_end() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  said text := current_setting('access.forget', true);
begin
  if said = 'all' then
    perform access.forget_devices(new.user_id);
  elsif new.device_id is not null
    and new.ended_because not in ('replaced', 'limit')
    and (new.ended_because <> 'logout' or new.id is distinct from access.session() or said = 'device')
  then
    perform access.forget_devices(new.user_id, new.device_id);
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Of oneself, or with a permission for sessions of a user within reach.
create or replace function access.remembered_sessions(subject uuid) returns uuid[]
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(s.id), '{}')
  from freehold.tenant t
    join freehold.remembered_devices r on r.user_id = subject
    join freehold.sessions s on s.user_id = r.user_id and s.device_id = r.device
  where s.ended_at is null
    and access.is_remembered(t, r.user_id, r.device)
    and (subject = access.principal() or (access.permission() like 'session:%' and access.can_access_user(subject)))
$$;
--> statement-breakpoint
-- The moment; null: the user needs none, or has one.
create or replace function access.factor_due_at(u freehold.users, t freehold.tenant) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if t.mfa_required_since is null
    or u.factors <> '{}'
    or access.has_passkey(u.id)
    or not access.needs_factor(u, t)
  then
    return null;
  end if;
  return greatest(t.mfa_required_since, u.created_at) + make_interval(days => t.mfa_grace_days);
end $$;
--> statement-breakpoint
-- Where no second factor is needed, a passkey is a way in beside the password, and the password is still enough.
create or replace function access.asks_for_passkey(u freehold.users, t freehold.tenant) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return t.mfa_required_since is not null
    and access.has_passkey(u.id)
    and access.needs_factor(u, t);
end $$;
--> statement-breakpoint
-- Whether there is something to take away: an app, or a passkey beside a password. A passkey that is the only way in is
-- none: without it nobody would get in.
create or replace function access.has_factor_to_lose(u freehold.users) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select u.factors <> '{}'
    or access.current_password(u.id) is not null and access.has_passkey(u.id)
$$;
--> statement-breakpoint
-- Takes all second factors of a user away, whose lockouts and row are locked.
create or replace function access.forget_factors(u freehold.users) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  methods jsonb := access.factor_methods(u) - 'backup_code';
begin
  perform access.drop_totp(u.id);
  if access.current_password(u.id) is not null then
    delete from freehold.passkeys k where k.user_id = u.id;
  end if;
  update freehold.sessions s
  set ended_at = now(), ended_because = 'mfa_reset'
  where s.user_id = u.id and s.ended_at is null;
  perform access.forget_devices(u.id);
  perform access.record(
    'MFA_DISABLED', 'update', 'user', u.id::text, null, jsonb_build_object('reason', 'reset', 'factors', methods), 40
  );
  perform access.enqueue_mail('mfa_reset', u.id, u.email);
end $$;
--> statement-breakpoint
-- The second factor of a login, by a code or a backup code: what access.meet_challenge returns. `step` is the time step
-- for which the code is right, null for none; `backup` the SHA-256 of a backup code, null: a code was sent. `remember`:
-- whether the device is to be remembered; the previous release does not send it.
create or replace function access.verify_totp(
  tenant_id uuid,
  system_key text,
  challenge bytea,
  step bigint,
  backup text,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  remember boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  c freehold.login_challenges := access.open_challenge(t, challenge);
  is_right boolean := false;
begin
  if c.token_hash is not null then
    perform access.set_audit_actor(u.id, u.username, request) from freehold.users u where u.id = c.user_id;
    is_right := case
      when backup is null then access.take_step(c.user_id, step)
      else access.take_backup_code(c.user_id, backup)
    end;
  end if;
  return access.meet_challenge(
    t, challenge, c, is_right, 'otp', case when backup is null then 'wrong_code' else 'wrong_backup_code' end,
    refresh_hash, request, former, remember
  );
end $$;
--> statement-breakpoint
-- Second half: `wrong` (the password or the code), or `changed`. With `codes` they are the new backup codes, and without
-- the authenticator app is switched off. `step` and `backup` are as for access.verify_totp.
create or replace function access.finish_factor_change(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  step bigint,
  backup text,
  codes jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  is_right boolean := false;
begin
  if u.id is not null and u.id = access.principal() then
    is_right := case
      when backup is null then access.take_step(u.id, step)
      else access.take_backup_code(u.id, backup)
    end;
    if not is_right then
      perform access.count_failures(t, 'factor:' || u.id, null, 1);
    end if;
  end if;
  if not is_right then
    perform access.record(
      'MFA_CHANGE_FAILED', 'update', 'user', access.principal()::text, null,
      jsonb_build_object('reason', case when u.id is null then 'wrong_password' else 'wrong_code' end), 30
    );
    return 'wrong';
  end if;
  perform access.clear_lockout(x) from freehold.lockouts x where x.key = 'factor:' || u.id;
  if codes is not null then
    perform access.keep_backup_codes(u.id, codes);
    perform access.record('BACKUP_CODES_RENEWED', 'update', 'user', u.id::text, null, null);
    return 'changed';
  end if;
  perform access.drop_totp(u.id), access.forget_devices(u.id);
  perform access.record('MFA_DISABLED', 'update', 'user', u.id::text, null, jsonb_build_object('factor', 'totp'), 20);
  perform access.enqueue_mail('mfa_disabled', u.id, u.email);
  return 'changed';
end $$;
--> statement-breakpoint
-- Whether a mail tells somebody that their password, address or second factor was changed, or that they have a new API
-- key, for the first time within an hour: whoever does that could use the other limits up before, so that nobody is told.
-- Such mails have a day's limit of their own.
create or replace function access.is_first_notice(made freehold.mails) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select made.kind in (
      'api_key_created', 'email_changed', 'mfa_disabled', 'mfa_enabled', 'mfa_reset',
      'passkey_added', 'passkey_copied', 'passkey_removed', 'password_changed')
    and not exists (
      select
      from freehold.mails m
      where m.kind = made.kind
        and m.id <> made.id
        and access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
        and m.created_at > now() - interval '1 hour')
$$;
--> statement-breakpoint
-- Second half: what access.enter returns, or {outcome: refused, mail}. `wrong`: why the answer was not verified; null: it was.
-- `devices` are tokens of known devices, as for access.begin_login. A failure is returned, not raised, so that its entry
-- is committed. Lockouts do not count here: nobody guesses a key, and whoever locks a person out does not take this way
-- from them.
create or replace function access.finish_passkey_login(
  tenant_id uuid,
  system_key text,
  presented bytea,
  wrong text,
  challenge_hash bytea,
  challenge_expires_at timestamptz,
  counter bigint,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  devices jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  is_new boolean := access.spend_challenge(challenge_hash, challenge_expires_at);
  u freehold.users;
  why text;
begin
  select x.* into u
  from freehold.users x
  where x.id = (select y.user_id from freehold.passkeys y where y.credential_id = presented)
  for no key update;
  perform access.set_audit_actor(u.id, coalesce(u.username, 'unknown passkey'), request);
  why := access.take_passkey(u, presented, wrong, is_new, counter);
  if why is not null then
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, why, why in ('unknown_passkey', 'wrong_passkey', 'passkey_replayed'),
      jsonb_build_object('reason', why), case why when 'passkey_clone_suspected' then 80 else 20 end
    );
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  end if;
  -- RFC 8176: a key, somebody who was present, and that they were verified.
  return access.with_passkey_end(
    access.enter(
      u, t, refresh_hash, request, former, null, null, access.passkey_method(presented) || ' user mfa', 2,
      access.device_of(t, u.id, devices)
    ),
    presented
  );
end $$;
--> statement-breakpoint
-- Takes the answer of a passkey of a user, whose row the caller has locked: null, or why it does not count.
create or replace function access.take_passkey(
  u freehold.users,
  presented bytea,
  wrong text,
  is_new boolean,
  counter bigint
) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  k freehold.passkeys;
  why text;
begin
  -- It may have been removed while the caller waited.
  select * into k from freehold.passkeys x where x.credential_id = presented and x.user_id = u.id for update;
  why := case
    when k.id is null then 'unknown_passkey'
    when wrong is not null then wrong
    when not is_new then 'passkey_replayed'
    when not access.is_present(u) then 'inactive'
    when k.ends_at <= now() then 'passkey_ended'
    when counter <= k.counter and greatest(counter, k.counter) > 0 then 'passkey_clone_suspected'
  end;
  if why is null then
    update freehold.passkeys x set counter = take_passkey.counter, last_used_at = now() where x.id = k.id;
  elsif why = 'passkey_clone_suspected' then
    perform access.record(
      'PASSKEY_CLONE_SUSPECTED', 'login', 'passkey', k.id::text,
      jsonb_build_object('counter', k.counter), jsonb_build_object('counter', counter, 'name', k.name), 80
    );
    perform access.enqueue_mail('passkey_copied', u.id, u.email, jsonb_build_object('passkey_name', k.name));
  end if;
  return why;
end $$;
--> statement-breakpoint
-- The last way in stays: a user without a password keeps one passkey. One removal of a user at a time, so that of two
-- passkeys that go at once one is the last.
create or replace function access.before_passkey_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return old;
  end if;
  perform access.must_be_licensed();
  perform from freehold.users u where u.id = old.user_id for no key update;
  if access.current_password(old.user_id) is null
    and coalesce(old.ends_at > now(), true)
    and not exists (
      select
      from freehold.passkeys k
      where k.user_id = old.user_id and k.id <> old.id and coalesce(k.ends_at > now(), true))
  then
    perform access.refuse('illegal_state', 'This passkey is the only way into your account: add another one, or set a password.');
  end if;
  return old;
end $$;
--> statement-breakpoint
-- Mails the owner of a passkey that was removed, and forgets the devices that it may have vouched for. One that has ended
-- is purged: its owner knows, and it vouches for nothing.
create or replace function access.after_passkey_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if old.ends_at <= now() then
    return null;
  end if;
  perform access.forget_devices(old.user_id);
  perform access.enqueue_mail('passkey_removed', u.id, u.email, jsonb_build_object('passkey_name', old.name))
  from freehold.users u
  where u.id = old.user_id;
  return null;
end $$;
--> statement-breakpoint
create or replace function access.after_rename() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.passkeys k
  set ends_at = case when split_part(k.rp_id, '.', 1) <> new.subdomain then now() + interval '30 days' end
  where (k.ends_at is null) = (split_part(k.rp_id, '.', 1) <> new.subdomain);
  return null;
end $$;
--> statement-breakpoint
create or replace function access.has_passkey(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from freehold.passkeys k where k.user_id = subject and coalesce(k.ends_at > now(), true))
$$;
--> statement-breakpoint
-- What access.enter returns, with `passkey_ends_at` among the claims where the passkey that was used ends.
create or replace function access.with_passkey_end(entered jsonb, presented bytea) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
    when entered ->> 'outcome' = 'ok' and k.ends_at is not null
      then jsonb_set(entered, '{claims,passkey_ends_at}', to_jsonb(k.ends_at))
    else entered
  end
  from (select) one
    left join freehold.passkeys k on k.credential_id = presented
$$;
--> statement-breakpoint
-- The second factor of a login, by a passkey: what access.enter returns, or {outcome: refused, mail}. `challenge` is that
-- of the login; `remember` is as for access.verify_totp, and the rest as for access.finish_passkey_login. It counts as a wrong code does (access.meet_challenge).
create or replace function access.verify_passkey(
  tenant_id uuid,
  system_key text,
  challenge bytea,
  presented bytea,
  wrong text,
  challenge_hash bytea,
  challenge_expires_at timestamptz,
  counter bigint,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  remember boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  is_new boolean := access.spend_challenge(challenge_hash, challenge_expires_at);
  c freehold.login_challenges := access.open_challenge(t, challenge);
  u freehold.users;
  why text;
begin
  if c.token_hash is not null then
    select * into u from freehold.users x where x.id = c.user_id;
    perform access.set_audit_actor(u.id, u.username, request);
    why := access.take_passkey(u, presented, wrong, is_new, counter);
  end if;
  return access.with_passkey_end(
    access.meet_challenge(
      t, challenge, c, why is null, access.passkey_method(presented) || ' user', why, refresh_hash, request, former,
      remember
    ),
    presented
  );
end $$;
--> statement-breakpoint
-- Deletes at most so many rows of each kind: {is_done, given_up}, where `given_up` counts mails. A purge stays due
-- until it is done.
create or replace function access.purge(at_most integer) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most integer;
  given_up integer;
begin
  with attempts as (
    delete from freehold.login_attempts
    where id in (
      select a.id
      from freehold.login_attempts a
      where a.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tokens as (
    delete from freehold.one_time_tokens
    where token_hash in (
      select k.token_hash
      from freehold.one_time_tokens k
      where k.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), spent as (
    delete from access.passkey_challenges
    where challenge_hash in (
      select c.challenge_hash
      from access.passkey_challenges c
      where c.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), challenges as (
    delete from freehold.login_challenges
    where token_hash in (
      select c.token_hash
      from freehold.login_challenges c
      where c.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), remembered as (
    delete from freehold.remembered_devices
    where (user_id, device) in (
      select r.user_id, r.device
      from freehold.remembered_devices r
      where r.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), ended as (
    delete from freehold.passkeys
    where id in (
      select k.id
      from freehold.passkeys k
      where k.ends_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), registered as (
    delete from freehold.registrations
    where token_hash in (
      select r.token_hash
      from freehold.registrations r
      where r.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), refreshed as (
    -- All tokens of a session expire together: a used one reveals a theft as long as its session can live.
    delete from freehold.refresh_tokens
    where token_hash in (
      select l.token_hash
      from freehold.refresh_tokens l
      where l.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), forsaken as (
    -- Mails that waited for a day, and an hour more for a last pause between attempts: those for which no transport
    -- is configured, and those that made their sender crash.
    update freehold.mails
    set state = 'dead', secrets_encrypted = null, finished_at = now(), lease_until = null
    where id in (
      select m.id
      from freehold.mails m
      where m.state = 'queued'
        and m.created_at < now() - interval '25 hours'
        and (m.lease_until is null or m.lease_until < now())
      limit at_most
      for update skip locked
    )
    returning 1
  ), old as materialized (
    select m.id
    from freehold.mails m
    where m.finished_at < now() - interval '90 days'
    limit at_most
    for update skip locked
  ), dropped as (
    -- The next delivery logs them; without a transport there is none.
    delete from access.dropped_mails
    where id in (
      select m.id
      from access.dropped_mails m
      where m.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), answered as (
    delete from access.kept_answers
    where id in (
      select k.id
      from access.kept_answers k
      where k.created_at < now() - interval '24 hours'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tried as (
    delete from freehold.mail_attempts a using old where a.mail_id = old.id
  ), finished as (
    delete from freehold.mails m using old where m.id = old.id
    returning 1
  )
  select
    x.given_up,
    greatest(
      x.given_up,
      (select count(*) from attempts),
      (select count(*) from tokens),
      (select count(*) from spent),
      (select count(*) from challenges),
      (select count(*) from remembered),
      (select count(*) from ended),
      (select count(*) from registered),
      (select count(*) from refreshed),
      (select count(*) from dropped),
      (select count(*) from answered),
      (select count(*) from finished)
    )
  into given_up, most
  from (select count(*) as given_up from forsaken) x;
  -- Those of users stay; those of their devices and networks go, as those of unknown identifiers do. After the attempts:
  -- a lockout without a failure belongs to an attempt that was never finished, and goes once that attempt is gone.
  with guards as (
    delete from freehold.lockouts
    where key in (
      select g.key
      from freehold.lockouts g
      where (g.key like 'unknown:%' or g.parent is not null)
        and (g.locked_until is null or g.locked_until < now())
        and coalesce(
          g.failed_at < now() - interval '1 day',
          not exists (select from freehold.login_attempts a where a.key = g.key)
        )
      limit at_most
      for update skip locked
    )
    returning 1
  )
  select greatest(most, count(*)) into most from guards;
  most := greatest(
    most,
    access.erase_failures(
      at_most,
      coalesce((select s.failures_erased_to from access.purges s), '-infinity'),
      now() - interval '90 days'
    )
  );
  if most < at_most then
    insert into access.purges (last_at, failures_erased_to) values (now(), now() - interval '90 days')
    on conflict (one) do update set last_at = excluded.last_at, failures_erased_to = excluded.failures_erased_to;
  end if;
  return jsonb_build_object('is_done', most < at_most, 'given_up', given_up);
end $$;
--> statement-breakpoint
-- What follows a proof by `method` (RFC 8176), or the reason why it was none.
create or replace function access.stepped_up(t freehold.tenant, u freehold.users, method text, why text) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
begin
  if why is not null then
    perform access.record(
      'STEP_UP_FAILED', 'update', 'session', access.session()::text, null, jsonb_build_object('reason', why), 20
    );
    return jsonb_build_object('outcome', 'wrong', 'mail', access.has_enqueued_mail());
  end if;
  s := access.raise_session(access.session(), method, 2);
  return case
    when s.id is null then jsonb_build_object('outcome', 'ended')
    else jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t))
  end;
end $$;
--> statement-breakpoint
-- `password`, where there is one, and what access.factor_methods names; null: nobody was admitted.
create or replace function access.step_up_methods() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select case when access.current_password(u.id) is null then '[]' else '["password"]' end::jsonb
    || access.factor_methods(u)
  from freehold.users u
  where u.id = access.principal()
$$;
--> statement-breakpoint
-- Ends the sessions of somebody who has left, their remembered devices, and what was mailed to them: none of it becomes valid again when they come
-- back. API keys work only for an active user and stay as they are (docs/decisions/0015-api-keys.md).
create or replace function access.end_what_lets_in(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.sessions s
  set ended_at = now(), ended_because = 'deactivated'
  where s.user_id = subject
    and s.ended_at is null;
  perform access.forget_devices(subject);
  update freehold.one_time_tokens k
  set used_at = now()
  where k.user_id = subject
    and k.used_at is null;
end $$;
--> statement-breakpoint
create trigger after_session_end after update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null) execute function access.after_session_end();
--> statement-breakpoint
create trigger after_rename after update of subdomain on freehold.tenant
  for each row when (old.subdomain <> new.subdomain) execute function access.after_rename();
--> statement-breakpoint
-- Not access.protect: passkeys are their owner's, whatever permission they were admitted with, and change in a session.
-- Whoever sees a user sees that there is one that works; no verb shows them more of it (src/users/users.ts).
create policy read on freehold.passkeys for select using (
  user_id = (select access.principal())
  or (
    (select access.permission()) like 'user:%'
    and coalesce(ends_at > now(), true)
    and (
      (select access.scope()) = 'all'
      or user_id = any ((select access.scope_owner_ids())::uuid[])
      or exists (
        select from freehold.users u
        where u.id = user_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
      )
    )
  )
);
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.passkeys REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('passkey', '{credential_id,public_key}', '{counter,last_used_at,ends_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.passkeys REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('passkey', '{credential_id,public_key}', '{counter,last_used_at,ends_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.passkeys REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('passkey', '{credential_id,public_key}', '{counter,last_used_at,ends_at}', '{id}');
--> statement-breakpoint
revoke execute
  on function access.after_rename(),
    access.after_session_end(),
    access.enter(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,text,integer,uuid,boolean),
    access.forget_devices(uuid,uuid),
    access.has_passkey(uuid),
    access.is_remembered(freehold.tenant,uuid,uuid),
    access.meet_challenge(freehold.tenant,bytea,freehold.login_challenges,boolean,text,text,bytea,jsonb,jsonb,boolean),
    access.open_session(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,integer,uuid),
    access.remember_device(freehold.tenant,uuid,uuid),
    access.remembered_sessions(uuid),
    access.step_up_methods(),
    access.verify_passkey(uuid,text,bytea,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb,boolean),
    access.verify_totp(uuid,text,bytea,bigint,text,bytea,jsonb,jsonb,boolean),
    access.with_passkey_end(jsonb,bytea)
  from public;
--> statement-breakpoint
grant update (mfa_remember_days)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant select (ends_at)
  on freehold.passkeys
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.remembered_sessions(uuid),
    access.step_up_methods(),
    access.verify_passkey(uuid,text,bytea,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb,boolean),
    access.verify_totp(uuid,text,bytea,bigint,text,bytea,jsonb,jsonb,boolean)
  to freehold_app;
