-- Exchanging a refresh token for the next one: access.refresh, a public endpoint. Each token is used once. The tokens
-- of a session form a chain, of which only hashes are kept.
--
-- Threat: a thief replays a token, before or after its owner uses it. The second use ends the session, because one of
-- the two who hold the token stole it. A client that sends one request twice is no thief: the Worker derives the
-- successor from the token, so that both requests ask for the same one, and both get it within 60 s, from the device
-- that used the token, as long as the successor is unused: an answer may be lost, and the client that tries again after
-- its timeout holds nothing else. A replay is returned, not raised, so that the end of the
-- session and its audit entry are committed; and the caller shows the system's key, because somebody who runs SQL as the
-- app login could use a stolen token in a transaction that they roll back, and leave it unused for its owner.
--
-- Around a rotation of the key that derives successors, two isolates of the Worker may use different ones. So each
-- also names the successor by its other key: it is never made, only recognised.

-- {outcome: ok, claims, is_other} | {outcome: invalid | reused | inactive | unknown_audience}. `is_other`: the successor is
-- `other_successor`. Of several requests at once the first makes the successor, and the others find it. A deactivated
-- user is told `inactive` even though the session ended with the deactivation. `client` is the OAuth client that asks,
-- which must be the one that logged in, if that one had a name; null: not asked. `audience` is the API that the access
-- token is for; null: the tenant itself. The previous release sends neither, nor `other_successor`.
create function access.refresh(
  tenant_id uuid,
  system_key text,
  presented bytea,
  successor bytea,
  request jsonb,
  other_successor bytea default null,
  client text default null,
  audience text default null
) returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  r freehold.refresh_tokens;
  next_link freehold.refresh_tokens;
  s freehold.sessions;
  u freehold.users;
  is_foreign boolean;
  is_unknown boolean;
begin
  select x.* into s
  from freehold.refresh_tokens l
  join freehold.sessions x on x.id = l.session_id
  where l.token_hash = presented;
  select * into u from freehold.users x where x.id = s.user_id;
  if s.id is null then
    return access.refused_refresh(u, s.id, request);
  elsif not access.is_present(u) then
    return jsonb_build_object('outcome', 'inactive');
  elsif s.ended_at is not null
    or s.expires_at <= now()
    or s.last_active_at <= now() - access.idle_limit(t)
  then
    return access.refused_refresh(u, s.id, request);
  elsif not access.has_role(u.id) then
    return jsonb_build_object('outcome', 'inactive');
  end if;
  -- Such a request uses no token up. It is refused below, because a replay is one whatever else is wrong with it.
  is_foreign := coalesce(s.client_id <> client, false);
  is_unknown := not access.is_audience(audience);
  update freehold.refresh_tokens l
  set used_at = clock_timestamp(), successor_hash = successor
  where l.token_hash = presented and l.used_at is null and l.expires_at > now()
    and not is_foreign and not is_unknown
  returning l.* into r;
  if r.token_hash is not null then
    insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
    values (successor, s.id, request ->> 'agent', s.expires_at);
  else
    select * into r from freehold.refresh_tokens l where l.token_hash = presented;
    select * into next_link from freehold.refresh_tokens l where l.token_hash = r.successor_hash;
    if r.used_at is not null and (
      r.successor_hash <> successor and r.successor_hash is distinct from other_successor
      or next_link.used_at is not null
      or r.used_at < clock_timestamp() - interval '60 seconds'
      or next_link.device is distinct from request ->> 'agent'
    ) then
      perform access.set_audit_actor(u.id, u.username, request);
      update freehold.sessions x
      set ended_at = now(), ended_because = 'refresh_reused'
      where x.id = s.id and x.ended_at is null;
      perform access.record(
        'SUSPICIOUS_ACTIVITY', 'refresh', 'session', s.id::text,
        null, jsonb_build_object('reason', 'refresh_reused'), 80
      );
      return jsonb_build_object('outcome', 'reused');
    end if;
    -- Of many at once that are too risky the first ended the session: the others are told of once, with it.
    if exists (select from freehold.sessions x where x.id = s.id and x.ended_at is not null) then
      return access.refused_refresh(u, s.id, request);
    end if;
  end if;
  if is_unknown and not is_foreign then
    perform access.refused_refresh(u, s.id, request);
    return jsonb_build_object('outcome', 'unknown_audience');
  elsif is_foreign or r.used_at is null then
    return access.refused_refresh(u, s.id, request);
  end if;
  if access.refresh_is_stopped(u, t, s, request) then
    update freehold.sessions x set ended_at = now(), ended_because = 'risk' where x.id = s.id and x.ended_at is null;
    return jsonb_build_object('outcome', 'invalid');
  end if;
  -- The session may have ended while this waited for the token's row.
  update freehold.sessions x set last_active_at = now()
  where x.id = s.id and x.ended_at is null
  returning x.* into s;
  if s.id is null then
    return access.refused_refresh(u, null, request);
  end if;
  return jsonb_build_object(
    'outcome', 'ok',
    'claims', access.token_claims(u, s, t, audience),
    'is_other', coalesce(r.successor_hash = other_successor, false)
  );
end $$;

grant execute on function
  access.refresh(uuid, text, bytea, bytea, jsonb, bytea, text, text)
to freehold_app;
