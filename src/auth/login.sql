-- Login with a password, in two round trips. The Worker hashes; everything else happens here. Public endpoints, in
-- this order:
--   access.begin_login                begins an attempt: its id, and the parameters with which to hash the password
--   access.finish_login               finishes it: compares, counts failures, opens a session
--   access.finish_login_with_rehash   the same, where another system's hash is replaced
-- A change of password or of address compares the current password in the same way, with access.begin_attempt and
-- access.finish_attempt.
--
-- Threat: a stranger guesses, many times at once; a stranger finds out who is known here; somebody who runs SQL as
-- the app login makes themselves another user. So an attempt is reserved before a password is compared, and attempts
-- under way count as failures would; an unknown identifier gets a row of lockouts and hash parameters
-- as a known one does; the comparison is made here and the hash never leaves; and a failure is returned, not raised,
-- so that its audit entry is committed.

-- First half: {state, attempt, hash_parameters} or {state: busy}, the same for an unknown identifier.
create function access.begin_login(tenant_id uuid, identifier text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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
  return access.begin_attempt(
    t,
    case
      when u.id is null then 'unknown:' || encode(access.mac('guard:' || identifier), 'hex')
      else 'login:' || u.id
    end,
    u.id,
    identifier,
    access.hash_parameters_of(u.id, identifier)
  );
end $$;

-- Second half: {outcome: ok, claims} with a session and its first refresh token, or {outcome: refused, mail} or
-- {outcome: no_role}. When the user has too many sessions, the oldest end. `renewed` is a new hash of the same
-- password, in place of one that another system made.
create function access.finish_login(
  tenant_id uuid,
  attempt uuid,
  digest text,
  renewed text,
  refresh_hash bytea,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  s freehold.sessions;
  named text;
  why text;
begin
  if u.id is null then
    select a.identifier, a.user_id,
      case
        when a.user_id is null then 'unknown'
        when a.state = 'refused' then 'locked'
        when not x.is_active then 'inactive'
        else 'wrong_password'
      end
    into named, u.id, why
    from freehold.login_attempts a
    left join freehold.users x on x.id = a.user_id
    where a.id = attempt;
    perform access.set_audit_actor(u.id, named, request);
    perform access.record('LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', why), 20);
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  if not access.has_role(u.id) then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'no_role'), 10
    );
    return jsonb_build_object('outcome', 'no_role');
  end if;
  if renewed is not null then
    update freehold.passwords p set password_hash = renewed
    where p.user_id = u.id and p.replaced_at is null;
  end if;
  insert into freehold.sessions (id, user_id, device, address, city, country, expires_at)
  values (
    gen_random_uuid(),
    u.id,
    left(request ->> 'agent', 255),
    left(request ->> 'address', 64),
    left(request ->> 'city', 120),
    left(request ->> 'country', 2),
    now() + make_interval(days => t.session_days)
  )
  returning * into s;
  -- The user's row has been locked since the comparison, so that of many logins at once each sees the sessions of
  -- those before it.
  update freehold.sessions x
  set ended_at = now(), ended_because = 'limit'
  where x.id in (
    select y.id
    from freehold.sessions y
    where y.user_id = u.id
      and y.id <> s.id
      and y.ended_at is null
      and y.expires_at > now()
      and y.last_active_at > now() - make_interval(days => t.idle_days)
    order by y.created_at desc, y.id
    offset coalesce(u.max_sessions, t.max_sessions) - 1
  );
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
  values (refresh_hash, s.id, s.device, s.expires_at);
  return jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t));
end $$;

-- Second half of the first login of an imported user, whose hash another system made; answers as access.finish_login
-- does. `hash_parameters` is ours, with the salt that was chosen at the import (`next` in the stored
-- hash_parameters); `renewed` is the digest under it. Of several logins at once the first replaces the hash, and the
-- others are compared with the new one.
create function access.finish_login_with_rehash(
  tenant_id uuid,
  attempt uuid,
  digest text,
  hash_parameters text,
  renewed text,
  refresh_hash bytea,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  is_meant boolean;
begin
  perform access.check_tenant(tenant_id);
  select * into a from freehold.login_attempts x where x.id = attempt;
  -- Locks in the order of access.finish_attempt.
  perform from freehold.lockouts g where g.key = a.key for update;
  perform from freehold.users x where x.id = a.user_id for no key update;
  is_meant := coalesce(
    right(hash_parameters, 23) = '$' || substring(a.hash_parameters from ',next=([A-Za-z0-9+/]{22})[$]'),
    false
  );
  if is_meant and starts_with(access.current_password(a.user_id), finish_login_with_rehash.hash_parameters || '$') then
    update freehold.login_attempts x set hash_parameters = finish_login_with_rehash.hash_parameters
    where x.id = attempt and x.state = 'pending';
    return access.finish_login(tenant_id, attempt, renewed, null, refresh_hash, request);
  end if;
  return access.finish_login(
    tenant_id,
    attempt,
    digest,
    case when is_meant then access.stored_hash(finish_login_with_rehash.hash_parameters, renewed) end,
    refresh_hash,
    request
  );
end $$;

-- Everything that the Worker needs to make an access token, and to say how old the password is.
create function access.token_claims(u freehold.users, s freehold.sessions, t freehold.tenant) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'user_id', u.id,
    'session_id', s.id,
    'proof', access.session_proof(s.id),
    'username', u.username,
    'email', u.email,
    'role', access.active_primary_role(u),
    'roles', access.role_names(u.id, now()),
    'permissions', access.token_permissions(u.id),
    'amr', s.amr,
    'auth_time', floor(extract(epoch from s.created_at)),
    'access_minutes', t.access_minutes,
    'session_expires_at', s.expires_at,
    'must_change_password', access.must_change(u, t),
    'password_expires_at', access.password_expiry(u, t),
    'password_expires_soon', coalesce(
      access.password_expiry(u, t) <= now() + make_interval(days => t.password_warning_days),
      false
    )
  )
$$;

-- The hash parameters and salt of a user's password. An unknown identifier, or a user without a password, gets a
-- hash_parameters that looks like the others; its salt is derived from the identifier, because a salt that changes
-- would give that away.
create function access.hash_parameters_of(subject uuid, identifier text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    regexp_replace(access.current_password(subject), '[$][^$]*$', ''),
    '$pbkdf2-sha256-chain$r=6,i=100000$'
      || rtrim(encode(substr(access.mac('salt:' || identifier), 1, 16), 'base64'), '=')
  )
$$;

-- Begins an attempt: {state: reserved, attempt, hash_parameters}, also while the lockout is locked, when it can only
-- fail; or {state: busy} when as many attempts are under way as may fail. Locks the lockout's row, so that the
-- attempts of one identifier are decided one after another. An attempt that is not finished within 30 s has failed.
create function access.begin_attempt(
  t freehold.tenant,
  guard text,
  subject uuid,
  identifier text,
  hash_parameters text
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
  lost integer;
  pending integer;
  attempt uuid := gen_random_uuid();
  state text := 'pending';
begin
  insert into freehold.lockouts as x (key) values (guard)
  on conflict (key) do update set key = x.key
  returning x.* into g;
  with given_up as (
    update freehold.login_attempts a set state = 'failed'
    where a.key = guard and a.state = 'pending' and a.created_at <= now() - interval '30 seconds'
    returning 1
  )
  select count(*) into lost from given_up;
  if lost > 0 then
    g := access.count_failures(t, guard, lost);
  end if;
  -- Rows more than a day old are of no more use; later attempts delete them, a few at a time.
  delete from freehold.login_attempts a where a.key = guard and a.created_at < now() - interval '1 day';
  delete from freehold.lockouts x
  where x.key in (
    select y.key
    from freehold.lockouts y
    where y.key like 'unknown:%' and y.failed_at < now() - interval '1 day'
    limit 5
    for update skip locked
  );
  if g.locked_until > now() then
    state := 'refused';
  else
    if g.locked_until is not null or g.failed_at <= now() - make_interval(mins => t.lock_minutes) then
      update freehold.lockouts x set failures = 0, failed_at = null, locked_until = null
      where x.key = guard
      returning x.* into g;
    end if;
    select count(*) into pending from freehold.login_attempts a where a.key = guard and a.state = 'pending';
    if g.failures + pending >= t.max_failures then
      return jsonb_build_object('state', 'busy');
    end if;
  end if;
  insert into freehold.login_attempts (id, key, user_id, identifier, hash_parameters, state)
  values (attempt, guard, subject, left(identifier, 255), hash_parameters, state);
  return jsonb_build_object('state', 'pending', 'attempt', attempt, 'hash_parameters', hash_parameters);
end $$;

-- Finishes an attempt, once: compares the digest (32 bytes, base64 without padding) with the user's hash, counts a
-- failure or clears the lockout. Returns the user when the password was right, and leaves their row locked.
create function access.finish_attempt(t freehold.tenant, attempt uuid, digest text) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  u freehold.users;
begin
  select * into a from freehold.login_attempts x where x.id = attempt;
  perform from freehold.lockouts g where g.key = a.key for update;
  update freehold.login_attempts x set state = 'failed'
  where x.id = attempt and x.state = 'pending'
  returning x.* into a;
  if a.id is null then
    return null;
  end if;
  -- A concurrent change of this user's password goes first or waits: the comparison below sees the hash that it left.
  perform from freehold.users x where x.id = a.user_id for no key update;
  select * into u
  from freehold.users x
  where x.id = a.user_id and x.is_active and access.current_password(x.id) = access.stored_hash(a.hash_parameters, digest);
  if u.id is null then
    perform access.count_failures(t, a.key, 1);
    return null;
  end if;
  update freehold.login_attempts x set state = 'succeeded' where x.id = attempt;
  update freehold.lockouts x set failures = 0, failed_at = null, locked_until = null where x.key = a.key;
  return u;
end $$;

-- Counts failures on a lockout whose row is locked. Too many of them lock it, and a mail tells the user.
create function access.count_failures(t freehold.tenant, guard text, times integer) returns freehold.lockouts
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
begin
  update freehold.lockouts x
  set failures = x.failures + times,
    failed_at = now(),
    locked_until = case
      when x.failures + times >= t.max_failures then now() + make_interval(mins => t.lock_minutes)
      else x.locked_until
    end
  where x.key = guard
  returning x.* into g;
  if guard like 'login:%' and g.failures >= t.max_failures and g.failures - times < t.max_failures then
    perform access.enqueue_mail('account_locked', u.id, u.email, jsonb_build_object('until', g.locked_until))
    from freehold.users u
    where u.id = substr(guard, 7)::uuid and u.is_active;
  end if;
  return g;
end $$;

grant execute on function
  access.begin_login(uuid, text),
  access.finish_login(uuid, uuid, text, text, bytea, jsonb),
  access.finish_login_with_rehash(uuid, uuid, text, text, text, bytea, jsonb)
to freehold_app;
