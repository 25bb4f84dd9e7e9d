-- Admission: the first statement of every transaction proves the credential, decides the permission and signs the
-- claims. Without it, row level security shows nothing.
--
-- Threats: a token of a session that ended or of another tenant; an id of a session that was seen in a list and is
-- tried as a credential; an API key that is used from elsewhere, or for more than it names; a request that reached
-- the database of another tenant.

-- The tenant's row. Refuses a request that reached another tenant's database, or a tenant that is switched off; and one
-- that may write while the rows are copied elsewhere (src/tenants/fence): a transaction that Postgres keeps from writing
-- goes on.
create function access.check_tenant(tenant_id uuid) returns freehold.tenant
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
begin
  select * into t from freehold.tenant;
  if t.id is distinct from tenant_id then
    raise exception using errcode = 'FH503', message = 'wrong_tenant';
  elsif t.writes_closed_by is not null and not current_setting('transaction_read_only')::boolean then
    raise exception using errcode = 'FH503', message = 'wrong_tenant';
  elsif not t.is_active then
    raise exception using errcode = 'FH503', message = 'tenant_inactive';
  end if;
  return t;
end $$;

-- The same for the system (cron, and work after an answer), which shows a key from the registry. Only the hash of
-- that key is here, and after a rotation that of the former key, until it ends.
create function access.check_system(tenant_id uuid, system_key text) returns freehold.tenant
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  shown bytea := sha256(convert_to(system_key, 'UTF8'));
begin
  if not exists (
    select from access.secrets s
    where s.system_hash = shown or s.former_system_hash = shown and s.former_system_until > now())
  then
    raise exception using errcode = 'FH403', message = 'forbidden';
  end if;
  return t;
end $$;

-- Admits a request: proves the credential, {session_id, user_id, proof}, {key}, or {provider, issuer, subject, system_key}
-- of a token that the Worker verified (src/external), decides the permission (null: any
-- admitted user, scope own), and signs the claims: every policy believes what is signed here. Returns {user_id,
-- session_id, scope}. Raises FH401 session_ended | token_invalid | step_up_required, FH403 user_inactive |
-- password_change_required | mfa_setup_required | forbidden, FH40L, FH503.
--
-- `fresh`: the user of a session must have authenticated within so many minutes; `least_aal`: by so many factors; null:
-- neither is asked; a negative number of factors is asked of who has set up a second one, and of nobody else. The
-- previous release sends none of the two. A key is asked for none of them: nobody can log in with it.
--
-- Every request pays for this, so that what is signed is written once and nothing is read twice.
create function access.admit(
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
  elsif credential ? 'provider' then
    u := access.authenticate_identity(tenant_id, credential, coalesce(fresh, least_aal));
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
  -- A service does not stop because its owner's password has expired; nor is it asked of who logged in elsewhere.
  elsif s.id is not null and not any_password and s.impersonator_id is null and access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  elsif s.aal < 2
    and not any_password
    and s.impersonator_id is null
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
      raise exception using
        errcode = 'FH403',
        message = 'forbidden',
        detail = coalesce(access.lacking_competency(u.id, permission), '');
    end if;
  end if;
  if s.impersonator_id is not null then
    perform access.check_impersonation(s, u, t, permission, r.scope, r.units, r.owners, coalesce(fresh, least_aal));
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
    'impersonator_id', s.impersonator_id,
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

-- What a token carries beside the id of its session. Lists and the audit show the id; it lets nobody in by itself,
-- not even with the app login.
create function access.proof_of(secret access.secrets, session uuid) returns text
language sql stable
return encode(access.hmac(secret.inner_key, secret.outer_key, 'session:' || session), 'hex');

-- Whether a token carries the proof of this session. One of before a rotation does so for as long as a token lives,
-- and a minute more.
create function access.is_proof(secret access.secrets, session uuid, shown text, access_minutes integer) returns boolean
language sql stable
return coalesce(
  shown = access.proof_of(secret, session)
  or secret.rotated_at > now() - make_interval(mins => access_minutes + 1)
    and shown = encode(access.hmac(secret.former_inner_key, secret.former_outer_key, 'session:' || session), 'hex'),
  false
);

-- The same under this database's keys.
create function access.session_proof(session uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.proof_of(s, session) from access.secrets s
$$;

-- The API key of a hash (hex), if it works now and from the address of the request. Raises FH401 or FH40G token_invalid,
-- FH403 forbidden.
create function access.authenticate_key(hash text, request jsonb) returns freehold.api_keys
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  k freehold.api_keys;
  -- One address, and no network.
  here inet := case when request ->> 'address' !~ '/' then access.network_of(request ->> 'address') end;
begin
  select * into k from freehold.api_keys x where x.key_hash = decode(hash, 'hex');
  if k.id is null or k.revoked_at is not null then
    -- A key that was never one of ours is a guess, which the Worker limits.
    raise exception using
      errcode = case when k.id is null then 'FH40G' else 'FH401' end,
      message = 'token_invalid',
      detail = 'There is no such key here, or it was revoked.';
  elsif k.expires_at <= now() then
    raise exception using errcode = 'FH401', message = 'token_invalid', detail = 'This key has expired.';
  elsif k.addresses <> '{}'
    and not exists (select from unnest(k.addresses) a (network) where here <<= a.network::inet)
  then
    perform access.refuse(
      'forbidden',
      format('This key does not work from %s.', coalesce(left(request ->> 'address', 64), 'an unknown address')));
  end if;
  return k;
end $$;

-- Notes that the session was active, at most once a minute, and waits for nobody. Whether it is due the admission has
-- seen; whoever sets that themselves has their own session noted.
create function access.touch() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if current_setting('access.touch', true) = 'due' then
    update freehold.sessions s
    set last_active_at = now()
    where s.id = (
      select x.id
      from freehold.sessions x
      where x.id = access.session() and x.last_active_at < now() - interval '1 minute'
      for no key update skip locked);
  end if;
end $$;

grant execute on function
  access.admit(uuid, jsonb, text, jsonb, boolean, integer, integer),
  access.touch()
to freehold_app;
