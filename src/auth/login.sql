-- Login with a password, in two round trips. The Worker hashes; everything else happens here. Public endpoints, in
-- this order:
--   access.begin_login                begins an attempt: its id, and the parameters with which to hash the password
--   access.finish_login               finishes it: compares, counts failures, opens a session
--   access.finish_login_with_rehash   the same, where the hash is replaced: another system's, or one of ours that is
--                                     cheaper than new ones are
-- attempts.sql holds the two halves of an attempt, which changes of a password or an address share; lockouts.sql says
-- which failures lock whom out, devices.sql what a known device is.
--
-- Threat: a stranger guesses, or finds out who is known here; somebody who runs SQL as the app login makes themselves
-- another user, or guesses in a transaction that they roll back, so that no attempt is counted. So known and unknown
-- identifiers are treated alike; the comparison is made here and the hash never leaves; a failure is returned, not
-- raised, so that its audit entry is committed; and the caller shows the system's key, which the app login lacks.

-- First half: what access.begin_attempt returns, the same for an unknown identifier, and what the settings of risk want of the
-- Worker: `asks_breached`, `mails_code`. `devices` are tokens of known
-- devices, an array: with a valid one of this user the attempt is of that device, else of a stranger. A user who is not
-- active costs no hash of another system. The audit names the user and not what was typed. `is_grant`: the OAuth 2
-- password grant, which is {state: not_offered} where the settings do not offer it, and then nothing begins. The
-- previous release sends neither `devices` nor `request`.
create function access.begin_login(
  tenant_id uuid,
  system_key text,
  identifier text,
  devices jsonb default '[]',
  request jsonb default '{}',
  is_grant boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  person text;
begin
  if is_grant and not t.password_grant then
    return jsonb_build_object('state', 'not_offered');
  end if;
  identifier := left(identifier, 255);
  if strpos(identifier, '@') > 0 then
    select * into u from freehold.users x where x.email = identifier;
  else
    select * into u from freehold.users x where x.username = identifier;
  end if;
  person := case
    when u.id is null then 'unknown:' || encode(access.mac('guard:' || identifier), 'hex')
    else 'login:' || u.id
  end;
  return jsonb_build_object('asks_breached', t.risk_breached, 'mails_code', t.risk_action = 'step_up') || access.begin_attempt(
    t,
    person,
    coalesce(
      'device:' || u.id || ':' || access.device_of(t, u.id, devices),
      person || ':' || access.login_network(request ->> 'address')
    ),
    u.id,
    identifier,
    -- Enough of the hash to see that somebody tries one identifier again and again.
    coalesce(u.username, left(person, 24)),
    access.hash_parameters_of(case when access.is_present(u) then u.id end, identifier)
  );
end $$;

-- Second half: {outcome: ok, claims, device_token} with a session and its first refresh token, or {outcome: refused,
-- mail, is_known}, or what access.enter returns where somebody is not let in, or not yet: a second factor is open.
-- `is_known`, whether there is such a user, is for the Worker's log alone. When the user has too many sessions, the oldest end.
-- `renewed` is a new hash of the same password,
-- in place of the one that was compared. `former` holds the hashes of the refresh tokens that the browser has in cookies,
-- by account: the session of this user's ends, because this one takes its cookies' place. `client` is
-- the OAuth client that logs in, and `audience` the API that its first access token is for; null: none was named, the
-- tenant itself. The previous release sends none of the three.
create function access.finish_login(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  renewed text,
  refresh_hash bytea,
  request jsonb,
  former jsonb default '{}',
  client text default null,
  audience text default null
) returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  a freehold.login_attempts;
  why text;
  entered jsonb;
begin
  select * into a from freehold.login_attempts x where x.id = attempt;
  if u.id is null then
    select * into u from freehold.users x where x.id = a.user_id;
    why := case
      when u.id is null then 'unknown'
      when a.state = 'refused' then 'locked'
      when a.state = 'deferred' then 'rate_limited'
      when not access.is_present(u) then 'inactive'
      else 'wrong_password'
    end;
    perform access.set_audit_actor(u.id, a.identifier, request);
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, why, why in ('unknown', 'locked', 'rate_limited'),
      jsonb_build_object('reason', why), 20
    );
    return jsonb_build_object(
      'outcome', 'refused', 'mail', access.has_enqueued_mail(), 'is_known', u.id is not null
    );
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  if renewed is not null and access.has_role(u.id) then
    update freehold.passwords p set password_hash = renewed
    where p.user_id = u.id and p.replaced_at is null and p.password_hash = access.stored_hash(a.hash_parameters, digest);
  end if;
  entered := access.enter(
    u, t, refresh_hash, request, former, client, audience, 'pwd', 1,
    substring(a.guard from '^device:[^:]+:(.+)$')::uuid
  );
  -- A password that was right clears nothing by itself while a second factor is open, or the login was too risky.
  if entered ->> 'outcome' = 'ok' or u.factors = '{}' and entered ->> 'outcome' not in ('mfa_required', 'too_risky') then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = coalesce(a.guard, a.key);
  end if;
  return access.unless_risky(t, u, a.guard, entered);
end $$;

-- Second half of a login that replaces the hash; answers as access.finish_login does. `hash_parameters` is what replaces
-- the parameters of the attempt, and `renewed` the digest under it: of a hash that another system made, ours with the
-- salt that was chosen at the import (`next` in the stored hash_parameters); of one of ours, the same with more
-- iterations. Of several logins at once the first replaces the hash, and the others are compared with the new one. A
-- password that was changed meanwhile stays: then neither is right.
create function access.finish_login_with_rehash(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  hash_parameters text,
  renewed text,
  refresh_hash bytea,
  request jsonb,
  former jsonb default '{}',
  client text default null,
  audience text default null
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  is_meant boolean;
begin
  perform access.check_system(tenant_id, system_key);
  select * into a from freehold.login_attempts x where x.id = attempt;
  -- Locks in the order of access.finish_attempt.
  perform from freehold.lockouts g where g.key = a.key for update;
  perform from freehold.users x where x.id = a.user_id for no key update;
  is_meant := coalesce(
    right(hash_parameters, 23) = '$' || substring(a.hash_parameters from ',next=([A-Za-z0-9+/]{22})[$]')
      or access.is_extension(hash_parameters, a.hash_parameters),
    false
  );
  if is_meant and starts_with(access.current_password(a.user_id), finish_login_with_rehash.hash_parameters || '$') then
    update freehold.login_attempts x set hash_parameters = finish_login_with_rehash.hash_parameters
    where x.id = attempt and x.state = 'pending';
    return access.finish_login(tenant_id, system_key, attempt, renewed, null, refresh_hash, request, former,
      client, audience);
  end if;
  return access.finish_login(
    tenant_id,
    system_key,
    attempt,
    digest,
    case when is_meant then access.stored_hash(finish_login_with_rehash.hash_parameters, renewed) end,
    refresh_hash,
    request,
    former,
    client,
    audience
  );
end $$;

-- Whether hash parameters of ours are others with more iterations after them (src/passwords/hash.ts), and so cost more.
create function access.is_extension(longer text, shorter text) returns boolean
language sql immutable
return starts_with(shorter, '$pbkdf2-sha256-chain$')
  and starts_with(longer, regexp_replace(shorter, '[$][^$]*$', '') || '+r=')
  and substring(longer from '[$][^$]*$') = substring(shorter from '[$][^$]*$');

grant execute on function
  access.begin_login(uuid, text, text, jsonb, jsonb, boolean),
  access.finish_login(uuid, text, uuid, text, text, bytea, jsonb, jsonb, text, text),
  access.finish_login_with_rehash(uuid, text, uuid, text, text, text, bytea, jsonb, jsonb, text, text)
to freehold_app;
