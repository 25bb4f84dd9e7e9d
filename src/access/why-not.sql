-- The reasons of answers to checks, and what of a check has no answer: a user whom the caller does not reach, a
-- permission or a role that does not exist. One such check leaves the others as they are.
--
-- Threat: a caller with an API key learns from a reason what its owner holds or is denied beyond what the key names. So
-- what the key does not name is answered with that alone.

-- Why something is held: {kind: role | inherited | override | delegation, effect: grant, id, name, via}.
create function access.reason_for(kind text, id uuid, name text, via text) returns jsonb
language sql stable
return jsonb_build_object('kind', kind, 'effect', 'grant', 'id', id, 'name', name, 'via', via);

-- Why it is not: {kind, effect: deny, id, name, via}. `name`: the permission or role that was asked about.
create function access.reason_against(kind text, id uuid, name text) returns jsonb
language sql stable
return jsonb_build_object('kind', kind, 'effect', 'deny', 'id', id, 'name', name, 'via', null);

-- Adds to answers why nothing was found for what they refuse, with at most 50 reasons: api_key (it does not name it),
-- inactive (the user), override (`id`: the denial), competency (`id`: its type), not_held. And `error` to those without
-- an answer, or with one to a part: {code: not_found, field} for a user (whose id is null here), {code: invalid_request,
-- field, names}.
create function access.why_not(
  me uuid,
  checks jsonb,
  answers jsonb,
  names text[],
  moment timestamptz default now()
) returns jsonb
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  told jsonb;
begin
  with c as materialized (
    select
      a.n,
      a.x as answer,
      a.x ->> 'allowed' = 'false' as is_refused,
      q.x as asked,
      case when q.x ? 'user_id' then (q.x ->> 'user_id')::uuid else me end as subject
    from jsonb_array_elements(answers) with ordinality as a (x, n)
      join jsonb_array_elements(checks) with ordinality as q (x, n) on q.n = a.n
  ),
  said as materialized (
    select c.n, c.subject, c.is_refused, p.field, p.name, r.id as role_id, coalesce(x.id, r.id) is not null as exists,
      min(p.place) as place
    from c
      cross join lateral (
        select 'permission' as field, c.asked ->> 'permission' as name, 1::bigint as place
        union all
        select 'any_of', y.name, y.place
        from jsonb_array_elements_text(c.asked -> 'any_of') with ordinality as y (name, place)
        union all
        select 'role', c.asked ->> 'role', 1
      ) p
      left join freehold.permissions x on x.name = p.name
        and (x.deleted_at is null or x.deleted_at > moment)
        and p.field <> 'role'
      left join freehold.roles r on r.name = p.name
        and (r.deleted_at is null or r.deleted_at > moment)
        and p.field = 'role'
    where p.name is not null and c.subject is not null
    group by c.n, c.subject, c.is_refused, p.field, p.name, r.id, x.id
  ),
  who as materialized (
    select x.subject, access.was_active(x.subject, moment) as is_active
    from (select distinct s.subject from said s where s.is_refused) x
  ),
  -- The roles that carry more than the API key names.
  beyond as materialized (
    select x.role_id
    from (select distinct s.role_id from said s where s.role_id is not null and s.subject = me and names is not null) x
    where exists (select from access.role_grants(x.role_id, moment) g where g.permission <> all (names))
  ),
  denied as materialized (
    select o.user_id, o.permission, o.id
    from who w
      join freehold.overrides o on o.user_id = w.subject
    where o.effect = 'deny' and access.in_force(o.starts_at, o.ends_at, moment)
  ),
  -- Of several demands for one permission the lowest is told.
  demanded as materialized (
    select distinct on (w.subject, q.permission) w.subject, q.permission, q.type_id, q.level, q.name
    from who w
      cross join lateral access.unmet_demands(
        w.subject, moment, array(select s.name from said s where s.subject = w.subject and s.field <> 'role')) q
    where w.is_active
    order by w.subject, q.permission, q.level, q.name
  ),
  why as (
    select s.n, s.name, s.place, k.kind, q.type_id, q.level, q.name as type,
      case k.kind when 'override' then d.id when 'api_key' then access.key() end as id
    from said s
      join who w on w.subject = s.subject
      left join denied d on d.user_id = s.subject and d.permission = s.name and s.field <> 'role'
      left join demanded q on q.subject = s.subject and q.permission = s.name and s.field <> 'role'
      cross join lateral (
        select case
          when s.subject = me and (s.role_id in (select b.role_id from beyond b) or (s.role_id is null and s.name <> all (names)))
            then 'api_key'
          when not w.is_active then 'inactive'
          when d.id is not null then 'override'
          when q.type_id is not null then 'competency'
          else 'not_held'
        end as kind
      ) k
    where s.is_refused
      and s.exists
      -- What is held elsewhere has its reason already.
      and (s.n, s.name) not in (
        select c.n, b.x ->> 'name'
        from c
          cross join lateral jsonb_array_elements(c.answer -> 'because') as b (x)
        where c.is_refused)
    group by s.n, s.name, s.place, k.kind, q.type_id, q.level, q.name, 8
  ),
  reasons as (
    select
      y.n,
      jsonb_agg(
        case y.kind
          when 'competency' then access.reason_lacking(y.type_id, y.name, y.type, y.level)
          else access.reason_against(y.kind, y.id, y.name)
        end
        order by y.place, y.id) as because
    from why y
    group by y.n
  ),
  errors as (
    select c.n, jsonb_build_object('code', 'not_found', 'field', 'user_id') as error
    from c
    where c.subject is null
    union all
    select s.n, jsonb_build_object(
      'code', 'invalid_request',
      'field', s.field,
      'names', jsonb_agg(s.name order by s.place))
    from said s
    where not s.exists
    group by s.n, s.field
  )
  select jsonb_agg(
    c.answer
      || jsonb_build_object('because', jsonb_path_query_array(
        (c.answer -> 'because') || coalesce(r.because, '[]'), '$[0 to 49]'))
      || case when e.error is null then '{}' else jsonb_build_object('error', e.error) end
    order by c.n)
  into told
  from c
    left join reasons r on r.n = c.n
    left join errors e on e.n = c.n;
  return told;
end $$;
