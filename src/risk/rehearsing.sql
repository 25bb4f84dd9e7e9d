-- Rehearsing other settings of risk: what the last 30 days would have been under them.
--   access.rehearse_risk   called from outside, with setting:update
--
-- Threat: whoever may change settings learns from it where somebody was; or the rehearsal of a busy tenant takes its
-- compute. So it answers with counts, and with people by a pseudonym that says who is the same and not who it is, beside
-- their id for whoever may read all users; and it looks at the newest attempts, of which there are so many at most, in one
-- query, and says where it was cut.

-- {weights, thresholds, from, attempts, is_cut, before, after}, and of both {suspicious, stopped, annoyed}. Stopped is what
-- reaches the second threshold; annoyed are those of them who did come in then, by a second step or without one. Each is
-- {attempts, people, first}: the first few of the people, who were stopped most, with the reasons.
create function access.rehearse_risk(weights jsonb, thresholds jsonb, at_most integer, people integer) returns jsonb
language plpgsql stable security definer set plan_cache_mode = force_custom_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  wanted jsonb;
  suspicious integer;
  stop integer;
  is_named boolean := 'user:read' = any (access.held_everywhere(null));
  before_weights integer[];
  after_weights integer[];
  answer jsonb;
begin
  if access.permission() is distinct from 'setting:update' then
    perform access.refuse('forbidden', 'Rehearsing settings of risk needs setting:update.');
  elsif access.scope() <> 'all' then
    perform access.refuse('forbidden', 'This needs access to the whole tenant.');
  end if;
  select * into strict t from freehold.tenant;
  wanted := t.risk_weights || coalesce(weights, '{}');
  suspicious := coalesce((thresholds ->> 'suspicious')::integer, t.risk_suspicious);
  stop := coalesce((thresholds ->> 'stop')::integer, t.risk_stop);
  before_weights := access.risk_weights(t.risk_weights);
  after_weights := access.risk_weights(wanted);
  if (select sum(w.weight) from unnest(after_weights) w (weight)) = 0 then
    perform access.refuse('invalid_request', 'must not sum to nothing', 'weights');
  elsif stop < suspicious then
    perform access.refuse('invalid_request', 'must be at least the threshold suspicious', 'thresholds/stop');
  end if;
  with newest as materialized (
    select r.user_id, r.created_at, r.strengths, r.outcome in ('allowed', 'passed') as came_in
    from freehold.risk_attempts r
    where r.created_at > now() - interval '30 days' and r.kind <> 'foreign_token'
    order by r.created_at desc
    limit at_most + 1
  ), alike as materialized (
    select n.user_id, n.strengths, n.came_in, count(*) as attempts
    from (select * from newest limit at_most) n
    group by n.user_id, n.strengths, n.came_in
  ), scores as materialized (
    -- Of thousands of attempts few are unlike each other. Without a sign the score is nothing under any weights.
    select d.strengths, access.risk_reasons(d.strengths) as reasons,
      access.risk_score(d.strengths, before_weights) as score_before,
      access.risk_score(d.strengths, after_weights) as score_after
    from (select distinct strengths from alike) d
    where 0 < any (d.strengths)
  ), persons as materialized (
    select w.side, g.name, a.user_id, sum(a.attempts) as attempts, max(w.score) as highest,
      row_number() over (partition by w.side, g.name order by sum(a.attempts) desc, max(w.score) desc, a.user_id) as place
    from alike a
      join scores s on s.strengths = a.strengths
      cross join lateral (
        values ('before', s.score_before, t.risk_suspicious, t.risk_stop), ('after', s.score_after, suspicious, stop)
      ) w (side, score, suspicious, stop)
      cross join lateral (
        values ('suspicious', w.score >= w.suspicious), ('stopped', w.score >= w.stop),
          ('annoyed', w.score >= w.stop and a.came_in)
      ) g (name, is_in)
    where g.is_in
    group by w.side, g.name, a.user_id
  ), first as materialized (
    select p.side, p.name, p.place, jsonb_build_object(
      'person', substr(encode(access.mac('risk:' || p.user_id), 'hex'), 1, 16),
      'user_id', case when is_named then p.user_id end,
      'attempts', p.attempts,
      'highest_score', p.highest,
      'reasons', (
        select jsonb_agg(distinct r.name)
        from alike a
          join scores s on s.strengths = a.strengths
          cross join unnest(s.reasons) r (name)
        where a.user_id = p.user_id
          and case p.side when 'before' then s.score_before else s.score_after end >= case
            when p.name = 'suspicious' then case p.side when 'before' then t.risk_suspicious else suspicious end
            else case p.side when 'before' then t.risk_stop else stop end
          end
          and (a.came_in or p.name <> 'annoyed'))) as who
    from persons p
    where p.place <= people
  ), told as (
    select p.side, p.name, jsonb_build_object(
      'attempts', sum(p.attempts),
      'people', count(*),
      'first', (
        select jsonb_agg(f.who order by f.place) from first f where f.side = p.side and f.name = p.name)) as what
    from persons p
    group by p.side, p.name
  )
  select jsonb_build_object(
    'from', to_char(
      coalesce((select min(n.created_at) from newest n), now()) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'attempts', least((select count(*) from newest), at_most),
    'is_cut', (select count(*) from newest) > at_most,
    'weights', wanted,
    'thresholds', jsonb_build_object('suspicious', suspicious, 'stop', stop),
    'before', access.rehearsed((select jsonb_object_agg(d.name, d.what) from told d where d.side = 'before')),
    'after', access.rehearsed((select jsonb_object_agg(d.name, d.what) from told d where d.side = 'after')))
  into answer;
  return answer;
end $$;

create function access.rehearsed(told jsonb) returns jsonb
language sql immutable
return (
  select jsonb_object_agg(g.name, coalesce(told -> g.name, '{"attempts": 0, "people": 0, "first": []}'))
  from (values ('suspicious'), ('stopped'), ('annoyed')) g (name));

grant execute on function access.rehearse_risk(jsonb, jsonb, integer, integer) to freehold_app;
