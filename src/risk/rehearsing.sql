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
    perform access.refuse('invalid_request', 'must be at least thresholds.suspicious', 'thresholds/stop');
  end if;
  with attempts as materialized (
    select r.user_id, r.created_at, r.strengths, r.outcome
    from freehold.risk_attempts r
    where r.created_at > now() - interval '30 days' and r.kind <> 'foreign_token'
    order by r.created_at desc
    limit at_most + 1
  ), scored as materialized (
    select a.user_id, a.strengths, a.outcome in ('allowed', 'passed') as came_in, w.side, w.suspicious, w.stop,
      access.risk_score(a.strengths, w.weights) as score
    from (select * from attempts limit at_most) a
      cross join (
        values ('before', before_weights, t.risk_suspicious, t.risk_stop), ('after', after_weights, suspicious, stop)
      ) w (side, weights, suspicious, stop)
    -- Without a sign the score is nothing under any weights.
    where access.risk_reasons(a.strengths) <> '{}'
  ), groups as (
    select s.side, g.name, s.user_id, s.strengths, s.score
    from scored s
      cross join lateral (
        values ('suspicious', s.score >= s.suspicious), ('stopped', s.score >= s.stop),
          ('annoyed', s.score >= s.stop and s.came_in)
      ) g (name, is_in)
    where g.is_in
  ), persons as (
    select g.side, g.name, g.user_id, count(*) as attempts, max(g.score) as highest,
      array(
        select distinct s.name
        from groups x
          cross join lateral unnest(access.risk_reasons(x.strengths)) s (name)
        where x.side = g.side and x.name = g.name and x.user_id = g.user_id
        order by 1
      ) as reasons,
      row_number() over (partition by g.side, g.name order by count(*) desc, max(g.score) desc, g.user_id) as place
    from groups g
    group by g.side, g.name, g.user_id
  ), told as (
    select p.side, p.name, jsonb_build_object(
      'attempts', sum(p.attempts),
      'people', count(*),
      'first', coalesce(jsonb_agg(
        jsonb_build_object(
          'person', substr(encode(access.mac('risk:' || p.user_id), 'hex'), 1, 16),
          'user_id', case when is_named then p.user_id end,
          'attempts', p.attempts, 'highest_score', p.highest, 'reasons', to_jsonb(p.reasons))
        order by p.place) filter (where p.place <= people), '[]')) as what
    from persons p
    group by p.side, p.name
  )
  select jsonb_build_object(
    'from', to_char(
      coalesce((select min(a.created_at) from attempts a), now()) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'attempts', least((select count(*) from attempts), at_most),
    'is_cut', (select count(*) from attempts) > at_most,
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
