-- What OAuth clients and resource servers ask of a token that they hold: access.introspect (RFC 7662) and
-- access.revoke_token (RFC 7009). Tokens are made where logins and refreshes are (src/auth).
--
-- Threat: somebody who holds a token of another user finds out whose it is and what it opens, or tries tokens until one
-- is active. So a token is introspected by its own user, and by whoever reads that user's sessions; to all others it is
-- like one that never was. Whoever holds a token may end it: that protects its user, and tells nobody anything.

-- What a token is now; null: not active, or not for the admitted user to know. `kind`: access (of a session, which the
-- Worker verified, for the API `audience`), refresh or key (by the hash, in hex), or anything else for a text that is no
-- token. {user_id, username, permissions, permissions_truncated, client_id, issued_at, expires_at, addresses}: moments
-- in seconds since 1970, null for none; `addresses` of a key, the networks from which it works. What an API key that
-- asks does not name of its owner's permissions is left out of its owner's tokens. The caller shows the system's key,
-- because somebody who runs SQL as the app login could try hashes, and sessions of tokens that nobody verified.
create function access.introspect(
  tenant_id uuid,
  system_key text,
  kind text,
  hash text,
  session uuid,
  audience text
) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  me uuid := (access.claims() ->> 'user_id')::uuid;
  l freehold.refresh_tokens;
  s freehold.sessions;
  k freehold.api_keys;
  u freehold.users;
  far record;
  carried record;
begin
  if kind = 'key' then
    select * into k from freehold.api_keys x where x.key_hash = decode(hash, 'hex');
  elsif kind = 'refresh' then
    select * into l from freehold.refresh_tokens x where x.token_hash = decode(hash, 'hex');
    select * into s from freehold.sessions x where x.id = l.session_id;
  elsif kind = 'access' then
    select * into s from freehold.sessions x where x.id = session;
  end if;
  select * into u from freehold.users x where x.id = coalesce(s.user_id, k.user_id);
  if me is null or u.id is null or not access.is_present(u) or not access.has_role(u.id) then
    return null;
  end if;
  if u.id <> me then
    far := access.effective_scope(me, 'session:read');
    if far.scope is null
      or not (far.scope = 'all' or u.id = any (far.owners) or coalesce(u.unit_id = any (far.units), false))
    then
      return null;
    end if;
  end if;
  if k.id is not null then
    if k.revoked_at is not null or k.expires_at <= now() then
      return null;
    end if;
    return jsonb_build_object(
      'user_id', u.id,
      'username', u.username,
      'permissions', array(select p from unnest(access.permissions_of(u.id, now())) p where p = any (k.permissions)),
      'issued_at', floor(extract(epoch from k.created_at)),
      'expires_at', floor(extract(epoch from k.expires_at)),
      'addresses', k.addresses);
  end if;
  if s.ended_at is not null
    or s.expires_at <= now()
    or s.last_active_at <= now() - access.idle_limit(t)
    or s.impersonator_id is null and access.must_change(u, t)
    or not access.is_audience(audience)
    or kind = 'refresh' and (l.used_at is not null or l.expires_at <= now())
  then
    return null;
  end if;
  carried := access.audience_permissions(u.id, t, audience);
  return jsonb_build_object(
    'user_id', u.id,
    'username', u.username,
    'permissions', carried.permissions,
    'permissions_truncated', carried.truncated,
    'client_id', coalesce(s.client_id, 'freehold'),
    'issued_at', floor(extract(epoch from l.created_at)),
    'expires_at', floor(extract(epoch from l.expires_at)));
end $$;

-- Ends the session of an access or refresh token, also of one that was used before, or revokes an API key. Whether
-- there is such a token; one that has ended already is one, too. `session`: of an access token, which the Worker verified.
create function access.revoke_token(
  tenant_id uuid,
  system_key text,
  kind text,
  hash text,
  session uuid,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
  k freehold.api_keys;
  u freehold.users;
begin
  perform access.check_system(tenant_id, system_key);
  if kind = 'key' then
    select * into k from freehold.api_keys x where x.key_hash = decode(hash, 'hex');
  else
    select x.* into s
    from freehold.sessions x
    where x.id = case kind
      when 'access' then session
      when 'refresh' then (select l.session_id from freehold.refresh_tokens l where l.token_hash = decode(hash, 'hex'))
    end;
  end if;
  select * into u from freehold.users x where x.id = coalesce(s.user_id, k.user_id);
  if u.id is null then
    return false;
  end if;
  perform access.set_audit_actor(u.id, u.username, request, s.impersonator_id);
  if k.id is not null then
    update freehold.api_keys x set revoked_at = now() where x.id = k.id and x.revoked_at is null;
  else
    update freehold.sessions x set ended_at = now(), ended_because = 'logout' where x.id = s.id and x.ended_at is null;
  end if;
  return true;
end $$;

grant execute on function
  access.introspect(uuid, text, text, text, uuid, text),
  access.revoke_token(uuid, text, text, text, uuid, jsonb)
to freehold_app;
