-- The risk of each login and refresh, decided in the transaction that lets somebody in.
--   access.assess_risk     compares a login with the past of its user; nothing is written
--   access.keep_risk       keeps it, and tells the audit and the user where it was suspicious
--   access.unless_risky    what whoever is refused is answered, and how it is counted
--   access.pass_risk       notes that somebody who was challenged took the second step
--   access.refresh_is_stopped   the whole of it for a refresh
--   access.note_foreign_token   a token of another tenant was shown from a network
--   access.noted_risk      the score of the session that this transaction opens, for its entry in the audit
--
-- Threat: whoever has somebody's password, or their refresh token, looks like them. What an attacker did must not become the
-- past that they are compared with: only what was let in counts. A stranger must not learn from it whether a password was
-- right: who is refused is answered, and counted, as after a wrong one (login.sql). Nobody but definer functions calls these,
-- and the app login reaches freehold.risk_attempts through none but access.rehearse_risk. The user's row is locked by logins,
-- so that of many at once each sees those before it. Nothing here locks anything, and no mail is queued here.

-- The network of an address, as lockouts have it; null: not known, which is no network that requests share.
create function access.risk_network(address text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select nullif(access.login_network(address), 'unknown')
$$;

-- As many of the past as are compared: the newest.
create function access.risk_past(subject uuid, t freehold.tenant) returns freehold.risk_attempts[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(h.attempt), '{}')
  from (
    select r as attempt
    from freehold.risk_attempts r
    where r.user_id = subject
      and r.outcome in ('allowed', 'passed')
      and r.created_at > now() - make_interval(days => t.risk_days)
    order by r.created_at desc
    limit 100
  ) h
$$;

-- A login or refresh of now, with its strengths and its score. `device` is the one that is proven; null: none. Where `request`
-- says `breached`, the Worker asked: true, false, or null where the list did not answer.
create function access.assess_risk(
  u freehold.users,
  t freehold.tenant,
  kind text,
  request jsonb,
  device uuid
) returns freehold.risk_attempts
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  here freehold.risk_attempts;
  past freehold.risk_attempts[] := access.risk_past(u.id, t);
  failures integer := 0;
  accounts integer;
begin
  here.id := gen_random_uuid();
  here.user_id := u.id;
  here.kind := assess_risk.kind;
  here.device := assess_risk.device;
  here.agent := left(request ->> 'agent', 255);
  here.network := access.risk_network(request ->> 'address');
  here.asn := (request ->> 'asn')::bigint;
  here.country := left(request ->> 'country', 2);
  here.latitude := round((request ->> 'latitude')::numeric, 2);
  here.longitude := round((request ->> 'longitude')::numeric, 2);
  here.created_at := now();
  here.seen_at := now();
  -- Those of strangers do not count against a known device, as with lockouts.
  select count(*) into failures
  from freehold.login_attempts a
  where a.key = 'login:' || u.id
    and a.state = 'failed'
    and a.created_at > now() - interval '1 hour'
    and a.created_at > coalesce((select max(h.created_at) from unnest(past) h), '-infinity')
    and (assess_risk.device is null or a.guard = access.login_guard(u.id, assess_risk.device, request));
  select count(distinct x.key) into accounts
  from (
    select a.key
    from freehold.login_attempts a
    where a.network = here.network
      and a.created_at > now() - interval '1 hour'
      and a.state in ('failed', 'refused')
      and a.key <> 'login:' || u.id
    order by a.created_at desc
    limit 200
  ) x;
  here.strengths := access.risk_strengths(
    here,
    past,
    failures,
    accounts,
    exists (
      select
      from freehold.risk_attempts f
      where f.kind = 'foreign_token' and f.network = here.network and f.created_at > now() - interval '1 hour'),
    coalesce((request ->> 'breached')::boolean, false)
  );
  here.score := access.risk_score(here.strengths, access.risk_weights(t.risk_weights));
  perform set_config('access.risk', here.score::text, true);
  return here;
end $$;

-- Keeps it with what became of it. From the first threshold on the audit and the user are told; the actor is set.
create function access.keep_risk(here freehold.risk_attempts, t freehold.tenant, outcome text, request jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  reasons text[] := access.risk_reasons(here.strengths);
begin
  if request ? 'breached' and request ->> 'breached' is null then
    -- The list of breached passwords did not answer: nothing was counted, and the entry says so.
    reasons := reasons || 'breached_password_unknown'::text;
  end if;
  here.outcome := keep_risk.outcome;
  insert into freehold.risk_attempts select (here).*;
  if here.score >= t.risk_suspicious then
    perform access.record(
      'SUSPICIOUS_ACTIVITY', here.kind, 'user', here.user_id::text, null,
      jsonb_strip_nulls(jsonb_build_object(
        'reason', 'risk', 'reasons', to_jsonb(reasons), 'outcome', outcome,
        'city', left(request ->> 'city', 120), 'country', here.country)),
      here.score
    );
    perform access.notify(
      here.user_id,
      case outcome when 'refused' then 'login_refused' else 'suspicious_activity' end,
      jsonb_strip_nulls(jsonb_build_object(
        'reasons', array_to_string(access.risk_reasons(here.strengths), ','),
        'device', here.agent, 'city', left(request ->> 'city', 120), 'country', here.country))
    );
  end if;
end $$;

-- What access.enter returned; of one that was too risky what a proof that was wrong is answered: {outcome: refused, mail,
-- is_known}. It is counted as one on the lockout `guard`, so that nobody tries on, or measures it; null: nothing is counted.
create function access.unless_risky(t freehold.tenant, u freehold.users, guard text, entered jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if entered ->> 'outcome' <> 'too_risky' then
    return entered;
  end if;
  if guard is not null then
    perform access.count_failures(t, 'login:' || u.id, guard, 1);
  end if;
  perform access.record_failure(
    'LOGIN_FAILED', 'login', 'user', u.id::text, 'too_risky', false, jsonb_build_object('reason', 'too_risky'), 20
  );
  return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail(), 'is_known', true);
end $$;

create function access.pass_risk(attempt uuid, device uuid) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  update freehold.risk_attempts r
  set outcome = 'passed', device = coalesce(pass_risk.device, r.device)
  where r.id = attempt and r.outcome = 'challenged'
$$;

-- Whether a refresh must not go on: then its session ends, and a new login is asked for what logins are asked for. One from
-- where its session was opened is like it, and costs one look; that it was seen is noted once an hour. A previous release
-- says nothing of the place.
create function access.refresh_is_stopped(
  u freehold.users,
  t freehold.tenant,
  s freehold.sessions,
  request jsonb
) returns boolean
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  is_same_agent boolean := left(request ->> 'agent', 255) is not distinct from s.device;
  here freehold.risk_attempts;
  is_stopped boolean;
begin
  if is_same_agent
    and left(request ->> 'address', 64) is not distinct from s.address
    and (not request ? 'country' or left(request ->> 'country', 2) is not distinct from s.country)
  then
    perform access.see_place(u.id, access.risk_network(s.address));
    return false;
  end if;
  here := access.assess_risk(u, t, 'refresh', request, case when is_same_agent then s.device_id end);
  here.device := s.device_id;
  if access.risk_reasons(here.strengths) = '{}' then
    perform access.see_place(u.id, here.network);
    return false;
  end if;
  is_stopped := here.score >= t.risk_stop and t.risk_action <> 'none';
  perform access.set_audit_actor(u.id, u.username, request);
  perform access.keep_risk(here, t, case when is_stopped then 'refused' else 'allowed' end, request);
  return is_stopped;
end $$;

-- Notes that a user was seen in a network where they were before.
create function access.see_place(subject uuid, network text) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  update freehold.risk_attempts r
  set seen_at = now()
  where r.id = (
      select x.id
      from (
        select *
        from freehold.risk_attempts y
        where y.user_id = subject
        order by y.created_at desc
        limit 50
      ) x
      where x.network = see_place.network and x.outcome in ('allowed', 'passed')
      order by x.created_at desc
      limit 1
    )
    and r.seen_at < now() - interval '1 hour'
$$;

-- Once in an hour and network is enough, however many are shown; of those that are shown at once each may make a row.
create function access.note_foreign_token(request jsonb) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  insert into freehold.risk_attempts (id, kind, network, outcome)
  select gen_random_uuid(), 'foreign_token', n.network, 'noted'
  from (select access.risk_network(request ->> 'address')) n (network)
  where n.network is not null and not exists (
    select
    from freehold.risk_attempts f
    where f.kind = 'foreign_token' and f.network = n.network and f.created_at > now() - interval '1 hour')
$$;

-- Whoever sets it otherwise makes an entry of their own transaction look riskier, or less so.
create function access.noted_risk() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(nullif(current_setting('access.risk', true), '')::integer, 0)
$$;
