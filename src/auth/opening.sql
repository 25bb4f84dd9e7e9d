-- What follows when a user has proven who they are, however they did:
--   access.enter          whether they may come in, and whether one factor is enough; opens the session
--   access.open_session   its session, with the first refresh token
--
-- Threat: a login ends the session of somebody else, whose refresh token its cookie holds; or many logins at once are
-- more sessions than the user may have. So what ends is the user's own, and the user's row is locked meanwhile. The limit
-- of the whole tenant comes last, because whoever takes a place there waits for nothing any more.

-- Lets somebody in who proved to be `u` by the methods `amr` (RFC 8176, with a space between them), which are `aal`
-- factors: {outcome: ok, claims, device_token}, or {outcome: no_role | first_password_expired | unknown_audience}, or
-- {outcome: limit_reached | denied_by_hook, said}; or, where one factor is not enough, {outcome: mfa_required, methods,
-- expires_in, totp} (access.challenge), and then `refresh_hash` is that of the challenge's token; or {outcome: too_risky},
-- which the caller answers, and counts, as a proof that was wrong (src/risk). The caller has locked the user's row and set
-- the actor of the audit. `assessed` is the attempt whose risk was assessed before a second step; null: it is assessed here.
-- `former`, `client` and `audience` are as for access.finish_login. `device` is the one that
-- the login is from; null: one that is not known. `remember`: whether it is to be remembered, once two factors are proven.
create function access.enter(
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
  remember boolean default false,
  assessed uuid default null
) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
  r freehold.risk_attempts;
  is_stopped boolean;
  asked jsonb;
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
  end if;
  if assessed is null then
    r := access.assess_risk(u, t, 'login', request, device);
  end if;
  is_stopped := coalesce(r.score >= t.risk_stop and t.risk_action <> 'none', false);
  if is_stopped and t.risk_action = 'refuse' then
    perform access.keep_risk(r, t, 'refused', request);
    return jsonb_build_object('outcome', 'too_risky');
  elsif aal < 2
    and (
      (u.factors <> '{}' or access.asks_for_passkey(u, t)) and (is_stopped or not access.is_remembered(t, u.id, device))
      or is_stopped and access.can_challenge(u, amr, request)
    )
  then
    if r.id is not null then
      perform access.keep_risk(r, t, 'challenged', request);
    end if;
    return access.challenge(u, refresh_hash, request, client, audience, amr, device, r.id);
  end if;
  asked := access.ask_about_login(u, request, client, amr);
  if not (asked ->> 'is_allowed')::boolean then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', asked ->> 'reason'), 20
    );
    -- No past to compare with; and its user is told all the same that somebody knew the password.
    if r.id is not null then
      perform access.keep_risk(r, t, 'challenged', request);
    end if;
    return jsonb_build_object('outcome', 'denied_by_hook', 'said', asked ->> 'said');
  end if;
  device := coalesce(device, gen_random_uuid());
  begin
    s := access.open_session(u, t, refresh_hash, request, former, client, amr, aal, device, asked -> 'claims');
  -- Nothing of it is left, and the attempt stays finished: who was let in once is no failure.
  exception when sqlstate 'FH409' then
    get stacked diagnostics why = pg_exception_detail;
    perform access.note_active_places(t);
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'limit_reached'), 10
    );
    if r.id is not null then
      perform access.keep_risk(r, t, 'challenged', request);
    end if;
    return jsonb_build_object('outcome', 'limit_reached', 'said', why);
  end;
  if assessed is not null then
    perform access.pass_risk(assessed, device);
  else
    r.device := device;
    perform access.keep_risk(r, t, 'allowed', request);
  end if;
  if remember and aal = 2 then
    perform access.remember_device(t, u.id, device);
  end if;
  return jsonb_build_object(
    'outcome', 'ok',
    'claims', access.token_claims(u, s, t, audience),
    'device_token', access.device_token(t, u.id, device, floor(extract(epoch from now()))::bigint)
  );
end $$;

-- The session, with its first refresh token. The arguments are as for access.enter. Raises FH409 limit_reached.
create function access.open_session(
  u freehold.users,
  t freehold.tenant,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  client text,
  amr text,
  aal integer,
  device_id uuid,
  hook_claims jsonb default null
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
    id, user_id, device, device_id, address, city, country, client_id, amr, aal, expires_at, hook_claims
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
    now() + make_interval(days => t.session_days),
    nullif(open_session.hook_claims, 'null')
  )
  returning * into s;
  -- The user's row has been locked since the comparison, so that of many logins at once each sees the sessions of
  -- those before it.
  surplus := array(
    select y.id
    from freehold.sessions y
    where y.user_id = u.id
      and y.id <> s.id
      and y.impersonator_id is null
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
