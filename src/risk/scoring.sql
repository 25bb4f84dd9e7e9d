-- What makes a login risky, and how much: pure functions of a login and the past of its user.
--   access.risk_signs       the signs, in the order of every array of strengths and weights
--   access.risk_strengths   how much there is of each sign, from 0 to 100
--   access.risk_score       the score of strengths under weights, from 0 to 100
--   access.risk_reasons     the names of the signs that there are
--
-- Threat: whoever has a password, or a refresh token, uses it from elsewhere; or a score that nobody understands is switched
-- off. So a score is a sum: each sign has a weight, and counts as far as there is of it. Nothing here reads a table, so that
-- a labelled set of histories measures what logins are decided by (docs/guides/risk.md).

-- A release that knows another sign appends it: what was kept before has none of it.
create function access.risk_signs() returns text[]
language sql immutable
return array['new_device', 'new_country', 'new_network', 'impossible_travel', 'failures', 'unusual_hour',
  'foreign_token', 'many_accounts', 'breached_password'];

-- Kilometres between two places on the ground.
create function access.distance_km(
  latitude double precision,
  longitude double precision,
  other_latitude double precision,
  other_longitude double precision
) returns double precision
language sql immutable strict
return 2 * 6371 * asin(sqrt(least(1,
  sind((other_latitude - latitude) / 2) ^ 2
    + cosd(latitude) * cosd(other_latitude) * sind((other_longitude - longitude) / 2) ^ 2)));

-- `past` are logins and refreshes of the user that were let in, in any order. Without one nothing is new. `failures` are wrong
-- passwords just before, and `accounts` those of others that were tried from the same network, within the hour.
-- A device that its token proves is known; a program, or a browser without its cookie, half as much as it may be another one
-- of the same make. A network is new when its owner is, because addresses change. Travel is impossible faster than airliners
-- (900 km/h), over at least 500 km, because a network is found no better than that. An hour of the day (UTC) is unusual when
-- there was no login within two hours of it, of at least 20 over 5 days.
create function access.risk_strengths(
  here freehold.risk_attempts,
  past freehold.risk_attempts[],
  failures integer,
  accounts integer,
  has_foreign boolean,
  is_breached boolean
) returns integer[]
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  p record;
  hour integer := floor(date_part('epoch', here.created_at) / 3600)::integer + 2;
  kilometres double precision;
  hours double precision;
begin
  select
    count(*) as times,
    bool_or(here.device is not null and h.device = here.device) as is_known_device,
    bool_or(h.agent is not distinct from here.agent) as is_known_agent,
    bool_or(h.agent is not distinct from here.agent and h.country is not distinct from here.country) as is_known_alike,
    bool_or(h.country = here.country) as is_known_country,
    bool_or(h.country is not null) as has_countries,
    bool_or(h.network = here.network or h.asn = here.asn) as is_known_network,
    bool_or(h.network is not null) as has_networks,
    count(*) filter (where h.kind = 'login') as logins,
    max(h.created_at) - min(h.created_at) as span,
    -- Hours since 1970, two more than that of now: 0 to 4 of a day are within two hours of it.
    bool_or(h.kind = 'login' and (hour - floor(date_part('epoch', h.created_at) / 3600)::integer) % 24 <= 4) as is_near_hour,
    max(h.seen_at) filter (where h.latitude is not null) as last_at
  into p
  from unnest(past) h;
  if here.latitude is not null and p.last_at is not null then
    select access.distance_km(here.latitude, here.longitude, h.latitude, h.longitude) into kilometres
    from unnest(past) h
    where h.seen_at = p.last_at and h.latitude is not null
    limit 1;
  end if;
  hours := greatest(extract(epoch from here.created_at - p.last_at) / 3600, 1.0 / 60);
  return array[
    case
      when p.times = 0 or p.is_known_device or p.is_known_alike then 0
      when p.is_known_agent then 50
      else 100
    end,
    case when here.country is not null and p.has_countries and not coalesce(p.is_known_country, false) then 100 else 0 end,
    case when here.network is not null and p.has_networks and not coalesce(p.is_known_network, false) then 100 else 0 end,
    case when kilometres >= 500 and kilometres / hours > 900 then 100 else 0 end,
    least(100, 34 * greatest(coalesce(failures, 0) - 1, 0)),
    case when p.logins >= 20 and p.span >= interval '5 days' and not p.is_near_hour then 100 else 0 end,
    case when has_foreign then 100 else 0 end,
    case when accounts >= 3 then least(100, 20 * (accounts - 2)) else 0 end,
    case when is_breached then 100 else 0 end
  ];
end $$;

-- Strengths that an older release kept are fewer than there are weights.
create function access.risk_score(strengths integer[], weights integer[]) returns integer
language sql immutable
return least(
  100,
  (select coalesce(sum(s.strength * s.weight), 0) from unnest(strengths, weights) s (strength, weight)) / 100
)::integer;

create function access.risk_reasons(strengths integer[]) returns text[]
language sql immutable
return array(
  select s.name
  from unnest(access.risk_signs(), strengths) with ordinality s (name, strength, place)
  where s.strength > 0
  order by s.place);

-- The weights of the settings, in the order of the signs.
create function access.risk_weights(named jsonb) returns integer[]
language sql immutable
return array(
  select coalesce((named ->> s.name)::integer, 0)
  from unnest(access.risk_signs()) with ordinality s (name, place)
  order by s.place);

-- What contradicts itself in the settings after an update that touches it, as access.check_settings has it.
create function access.risk_faults(was freehold.tenant, is_now freehold.tenant) returns jsonb
language sql immutable
return case
  when (was.risk_weights, was.risk_suspicious, was.risk_stop) = (is_now.risk_weights, is_now.risk_suspicious, is_now.risk_stop)
    then '[]'
  else
    case when (select sum(w.weight) from unnest(access.risk_weights(is_now.risk_weights)) w (weight)) > 0 then '[]'
      else '[{"field": "risk_weights", "said": "must not sum to nothing: to stop no login, set risk_action to none"}]'
    end::jsonb
    || case
      when is_now.risk_stop >= is_now.risk_suspicious then '[]'
      when was.risk_stop <> is_now.risk_stop then '[{"field": "risk_stop", "said": "must be at least risk_suspicious"}]'
      else '[{"field": "risk_suspicious", "said": "must be at most risk_stop"}]'
    end::jsonb
end;
