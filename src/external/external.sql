-- Logins from elsewhere: the Worker verified an ID token (src/external/id-token.ts); everything else happens here.
--   access.finish_external_login   public endpoint: spends the token, finds, links or creates the user, opens a session
--   access.external_user           who somebody is here: by their identity, else by their address
--
-- Threat: a token that was seen is sent again, or by twenty at once; somebody becomes another user by an address that the
-- provider did not verify, or takes over an administrator by one that it did; two first logins at once make two users;
-- somebody who runs SQL as the app login says that a token was verified. So a token is a row that can be inserted once,
-- an address links only ordinary users and only where the provider is set so, logins of one identity go one after
-- another, and the Worker shows the system's key, which the app login lacks. Lock order: the token, the identity, the
-- address, the user, counters.

-- What access.enter returns, or {outcome: refused, is_known, mail}. `version` is the `updated_at` of the settings that the
-- token was verified by. `wrong`: why it was not; null: it was. `identity` is {issuer, subject, email, email_verified,
-- given_name, family_name, locale, username, roles, is_mfa}. `devices` are tokens of known devices, as for
-- access.begin_login. Lockouts do not count here, as with passkeys: nobody guesses a signature.
create function access.finish_external_login(
  tenant_id uuid,
  system_key text,
  provider uuid,
  version timestamptz,
  wrong text,
  identity jsonb,
  token_hash bytea,
  token_expires_at timestamptz,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  devices jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  p freehold.providers;
  u freehold.users;
  found_user uuid;
  why text := wrong;
  is_mfa boolean := coalesce((identity ->> 'is_mfa')::boolean, false);
begin
  perform access.set_audit_actor(null, 'unknown identity', request);
  select * into p from freehold.providers x where x.id = provider;
  if why is null then
    why := case
      when p.id is null or not p.is_enabled or p.updated_at <> version then 'provider_changed'
      when not access.spend_external_token(token_hash, token_expires_at) then 'token_replayed'
    end;
  end if;
  if why is null then
    select x.user_id, x.why
    into found_user, why
    from access.external_user(t, p, identity || jsonb_build_object('new_id', access.id_of(refresh_hash)), request) x;
  end if;
  if found_user is not null then
    select * into u from freehold.users x where x.id = found_user for no key update;
    perform access.set_audit_actor(u.id, u.username, request);
    if why is null and not access.is_present(u) then
      why := 'inactive';
    end if;
  end if;
  if why is not null then
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, why, u.id is null,
      jsonb_build_object('reason', why, 'provider', p.name), 20
    );
    return jsonb_build_object('outcome', 'refused', 'is_known', u.id is not null);
  end if;
  return access.unless_risky(t, u, null, access.enter(
    u, t, refresh_hash, request, former, null, null, case when is_mfa then 'fed mfa' else 'fed' end,
    case when is_mfa then 2 else 1 end, access.device_of(t, u.id, devices)
  ));
end $$;

-- Spends an ID token: whether this is the first time. Of many at once the others wait here for the first.
create function access.spend_external_token(token_hash bytea, expires_at timestamptz) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  insert into access.external_tokens (token_hash, expires_at)
  values (spend_external_token.token_hash, spend_external_token.expires_at)
  on conflict do nothing;
  return found;
end $$;

-- The user of an identity, or why there is none (with the user, where it is about one): one who has it, else the user
-- with its address, verified there and here, where the provider links by that, else a new one, where it creates them.
create function access.external_user(
  t freehold.tenant,
  p freehold.providers,
  identity jsonb,
  request jsonb,
  out user_id uuid,
  out why text
)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  address text := case when (identity ->> 'email_verified')::boolean then identity ->> 'email' end;
  u freehold.users;
begin
  perform pg_advisory_xact_lock(hashtextextended(
    format('external:%s:%s:%s', p.id, identity ->> 'issuer', identity ->> 'subject'), 0));
  update freehold.external_identities x
  set last_used_at = now()
  where x.provider_id = p.id and x.issuer = identity ->> 'issuer' and x.external_id = identity ->> 'subject'
  returning x.user_id into user_id;
  if user_id is not null then
    return;
  elsif address is null then
    why := case when p.links_by_email or p.creates_users then 'email_unverified' else 'unknown_identity' end;
    return;
  end if;
  -- Concurrent registrations of one address go one after another.
  perform pg_advisory_xact_lock(hashtext('register:' || address));
  select * into u from freehold.users x where x.email = address for no key update;
  if u.id is not null then
    user_id := u.id;
    why := case
      -- Somebody may have been registered with an address that is not theirs, to be found there by its owner.
      when not p.links_by_email or not u.email_verified then 'not_linked'
      when not access.is_present(u) then 'inactive'
      when access.is_administrative(u.id) then 'link_needs_login'
    end;
    if why is null then
      perform access.set_audit_actor(u.id, u.username, request);
      perform access.add_identity(p, u, identity);
    end if;
    return;
  elsif not p.creates_users then
    why := 'unknown_identity';
    return;
  end if;
  select x.user_id, x.why into user_id, why from access.new_external_user(t, p, identity, address, request) x;
end $$;

-- Whether a user has power over others (over-others.sql): then only they themselves add another way to log in as them.
create function access.is_administrative(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from access.potential_grants(
      array[subject], array(select p.name from freehold.permissions p where p.is_administrative)) g
    where g.scope > 'own')
$$;

-- The id of a user whom a request makes. Hooks undo the request and have it sent again (src/hooks/asking.sql): the answer
-- about a login is for whoever is made then, so that it has to be the same id.
create function access.id_of(hash bytea) returns uuid
language sql immutable
return overlay(overlay(left(encode(sha256(hash), 'hex'), 32) placing '4' from 13) placing '8' from 17)::uuid;

-- Creates the user of an identity, with the roles that its values give, or else the provider's. They have no password.
create function access.new_external_user(
  t freehold.tenant,
  p freehold.providers,
  identity jsonb,
  address text,
  request jsonb,
  out user_id uuid,
  out why text
)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  broken text;
  u freehold.users;
  -- A subject that is an id stays the id: who comes from there keeps the `sub` that their services know.
  made uuid := case
    when p.type = 'cognito' and identity ->> 'subject' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      then (identity ->> 'subject')::uuid
    else (identity ->> 'new_id')::uuid
  end;
  given uuid[] := array(
    select distinct m.value::uuid
    from jsonb_each_text(p.role_mapping) m
    where identity -> 'roles' ? m.key);
  roles freehold.roles[];
begin
  if given = '{}' then
    given := array[access.default_role(p)];
  end if;
  roles := array(
    select r from freehold.roles r where r.id = any (given) and r.deleted_at is null and r.is_active order by r.name);
  if cardinality(roles) = 0 then
    why := 'no_role';
    return;
  end if;
  begin
    insert into freehold.users (id, username, email, email_verified, given_name, family_name, locale, role)
    values (
      made,
      access.free_username(identity ->> 'username', address),
      address,
      true,
      identity ->> 'given_name',
      identity ->> 'family_name',
      coalesce(identity ->> 'locale', 'en'),
      roles[1].name
    )
    returning * into u;
  exception when unique_violation then
    get stacked diagnostics broken = constraint_name;
    if broken not in ('users_email', 'users_pkey') then
      raise;
    end if;
    why := 'taken';
    return;
  end;
  perform access.set_audit_actor(u.id, u.username, request);
  insert into freehold.user_roles (id, user_id, role_id)
  select gen_random_uuid(), u.id, r.id
  from unnest(roles) r
  where r.id <> roles[1].id;
  insert into freehold.external_identities (id, user_id, provider_id, provider, issuer, external_id, email, last_used_at)
  values (
    gen_random_uuid(), u.id, p.id, p.name, identity ->> 'issuer', identity ->> 'subject', identity ->> 'email', now());
  perform access.record(
    'USER_REGISTERED', 'create', 'user', u.id::text, null,
    jsonb_build_object('email', u.email, 'role', u.role, 'provider', p.name));
  user_id := u.id;
end $$;

grant execute on function
  access.finish_external_login(
    uuid, text, uuid, timestamptz, text, jsonb, bytea, timestamptz, bytea, jsonb, jsonb, jsonb)
to freehold_app;
