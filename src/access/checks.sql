-- Answers to checks, as services ask them: whether somebody may do something now, or might at a past moment, how far, and
-- why. access.ask is called from outside. A caller learns about the users whom they reach, and an API key about what it
-- names. Where users and units are is as it is now, also for a past moment: of that no history is kept.

-- The checks, with null for each user whom the caller does not reach with user:read.
create function access.without_strangers(me uuid, checks jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  far record := access.effective_scope(me, 'user:read');
begin
  return (
    select jsonb_agg(
      case
        when not c.x ? 'user_id' or u.id is not null then c.x
        else c.x || '{"user_id": null}'
      end
      order by c.n)
    from jsonb_array_elements(checks) with ordinality as c (x, n)
      left join freehold.users u on u.id = (c.x ->> 'user_id')::uuid
        and (
          u.id = me
          or far.scope = 'all'
          or (far.scope is not null and (u.id = any (far.owners) or u.unit_id = any (far.units)))));
end $$;

-- Answers one check about a user for one permission, with at most 50 reasons: those for it, or that what the user holds
-- does not reach the resource. access.why_not adds the other reasons against it. `names`: what an API key leaves of what
-- the user holds; null: everything.
create function access.answer(subject uuid, asked jsonb, names text[], moment timestamptz default now()) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  there jsonb := nullif(asked -> 'resource', 'null');
  r access.reason;
  widest access.scope;
  because jsonb[] := '{}';
  is_held boolean := false;
begin
  foreach r in array access.reasons(subject, asked ->> 'permission', moment) loop
    continue when asked ->> 'permission' <> all (names);
    is_held := true;
    if there is null
      or r.scope = 'all'
      or r.holder = (there ->> 'owner_id')::uuid
      or (there ? 'owner_id' and access.reaches_owner(r.holder, r.scope, (there ->> 'owner_id')::uuid))
      or (there ? 'unit_id' and access.reaches_unit(r.holder, r.scope, (there ->> 'unit_id')::uuid))
    then
      widest := greatest(widest, r.scope);
      because := because || access.reason_for(r.kind, r.id, r.name, r.via);
    end if;
  end loop;
  if is_held and widest is null then
    because := array[access.reason_against('out_of_scope', null, asked ->> 'permission')];
  end if;
  if cardinality(because) > 1 then
    because := array(select distinct x from unnest(because) x order by x limit 50);
  end if;
  return jsonb_build_object('allowed', widest is not null, 'scope', widest, 'because', to_jsonb(because));
end $$;

-- Answers up to a hundred checks, {user_id?, permission | any_of | role, resource?: {owner_id?, unit_id?}}, in order
-- with {allowed, scope, because, error?}. Any user may ask about themselves, and about others whom they reach with
-- user:read. `at`: a past moment; null is now.
create function access.ask(checks jsonb, at timestamptz default null) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  me uuid := f ->> 'user_id';
  moment timestamptz := access.past_or_now(at, 'at');
  -- What the API key names with which a user asks about themselves.
  names text[] := f ->> 'key_permissions';
  asked jsonb := checks;
  answers jsonb := '[]';
  subject uuid;
begin
  if me is null then
    return null;
  elsif checks @? '$[*].user_id' then
    asked := access.without_strangers(me, checks);
  end if;
  -- The statement that answers a hundred costs as much for one; and one by one a long `any_of` would cost too much.
  if jsonb_array_length(asked) > 3 or asked @? '$[*].role' or asked @? '$[*].any_of' then
    answers := access.answer_many(me, asked, names, moment);
  else
    for n in 0 .. jsonb_array_length(asked) - 1 loop
      subject := case when asked -> n ? 'user_id' then (asked -> n ->> 'user_id')::uuid else me end;
      answers := answers || access.answer(
        subject,
        asked -> n,
        case
          when at is null and subject = me then names
          when not access.was_active(subject, moment) then '{}'
          when subject = me then names
        end,
        moment);
    end loop;
  end if;
  -- What somebody holds exists: access.before_permission lets nothing be deleted that is in use. Of an `any_of`, the
  -- rest may not exist.
  if answers @? '$[*] ? (@.allowed == false)' or asked @? '$[*].any_of' then
    return access.why_not(me, asked, answers, names, moment);
  end if;
  return answers;
end $$;

-- The answers to any number of checks, roles too, in one statement; its plan is kept, because it takes longer to make
-- than to run.
create function access.answer_many(me uuid, checks jsonb, names text[], moment timestamptz default now()) returns jsonb
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  answer jsonb;
begin
  -- What is asked is matched by equality; and what a user holds and reaches is found out once for all that is asked
  -- about them.
  with c as materialized (
    select
      t.n,
      case when t.x ? 'user_id' then (t.x ->> 'user_id')::uuid else me end as subject,
      t.x ->> 'permission' as permission,
      t.x -> 'any_of' as any_of,
      t.x ->> 'role' as role,
      nullif(t.x -> 'resource', 'null') is null as anywhere,
      (t.x -> 'resource' ->> 'owner_id')::uuid as owner_id,
      (t.x -> 'resource' ->> 'unit_id')::uuid as unit_id
    from jsonb_array_elements(checks) with ordinality as t (x, n)
  ),
  wanted as materialized (
    select c.n, c.subject, c.permission from c where c.permission is not null
    union
    select c.n, c.subject, jsonb_array_elements_text(c.any_of) from c
  ),
  -- What each user holds of what is asked.
  g as materialized (
    select p.subject, y.*
    from (select w.subject, array_agg(distinct w.permission) as permissions from wanted w group by w.subject) p
      cross join lateral access.user_grants(p.subject, moment, p.permissions) y
    where names is null or p.subject <> me or y.permission = any (names)
  ),
  -- Of reasons for one permission fifty are told at most, so that no more are matched with what is asked: fifty of
  -- all, and where a resource is asked about, fifty of those that reach equally far around the same user.
  r as materialized (
    select
      g.*,
      max(g.scope) over (partition by g.subject, g.permission) as widest,
      row_number() over (partition by g.subject, g.permission order by g.id, g.via nulls first, g.kind) as place,
      row_number() over (
        partition by g.subject, g.permission, g.holder, g.scope order by g.id, g.via nulls first, g.kind) as place_near
    from g
  ),
  -- Where the holders are, and the units that are asked about with what is above them. `offset 0` goes from a few
  -- holders to their rows by the index, however many a function is thought to find.
  home as materialized (
    select x.holder, u.unit_id, access.department_over(u.unit_id) as department_id, u.organization_id
    from (select distinct g.holder from g where g.scope between 'team' and 'organization') x
      cross join lateral (
        select y.unit_id, y.organization_id
        from freehold.users y
        where y.id = x.holder and y.unit_id is not null
        offset 0) u
  ),
  f as materialized (
    select h.holder, s.scope, h.unit_id
    from home h
      cross join unnest(array['team', 'department']::access.scope[]) s (scope)
    union
    select h.holder, 'department', x.unit_id
    from (select distinct c.unit_id from c where c.unit_id is not null) x
      cross join lateral access.units_over(x.unit_id) o (id)
      join home h on h.department_id = o.id
    union
    select h.holder, 'organization', n.id
    from (select distinct c.unit_id from c where c.unit_id is not null) x
      join freehold.units n on n.id = x.unit_id
      join home h on h.organization_id = n.organization_id
  ),
  -- The owners that are asked about, of the organizations of the holders.
  o as materialized (
    select h.holder, u.id as owner_id
    from (select distinct c.owner_id from c where c.owner_id is not null) x
      join freehold.users u on u.id = x.owner_id
      join home h on h.organization_id = u.organization_id
  ),
  -- The roles that each user holds, where a role is asked about.
  h as materialized (
    select p.subject, y.*
    from (select distinct c.subject from c where c.role is not null) p
      cross join lateral access.user_held_roles(p.subject, moment) y
    where names is null
      or p.subject <> me
      or not exists (select from access.role_grants(y.id, moment) x where x.permission <> all (names))
  ),
  hit as (
    select w.n, r.widest as scope, r.kind, r.id, r.name, r.via
    from wanted w
      join c on c.n = w.n and c.anywhere
      join r on r.subject = w.subject and r.permission = w.permission and r.place <= 50
    union all
    select w.n, r.scope, r.kind, r.id, r.name, r.via
    from wanted w
      join c on c.n = w.n and not c.anywhere
      join r on r.subject = w.subject and r.permission = w.permission and r.place_near <= 50
      left join f on f.holder = r.holder and f.scope = r.scope and f.unit_id = c.unit_id
      left join o on o.holder = r.holder and o.owner_id = c.owner_id and r.scope = 'organization'
    where r.scope = 'all' or c.owner_id = r.holder or f.unit_id is not null or o.owner_id is not null
    union all
    select c.n, null, h.kind, h.id, h.name, h.via
    from c
      join h on h.subject = c.subject and h.name = c.role
  ),
  -- Each reason once, before anything is made of it: of an `any_of` there may be thousands.
  because as (
    select x.n, max(x.scope) as scope, x.kind, x.id, x.name, x.via,
      row_number() over (partition by x.n order by x.id, x.via nulls first, x.kind) as place
    from hit x
    group by x.n, x.kind, x.id, x.name, x.via
  ),
  answered as (
    select
      b.n,
      max(b.scope) as scope,
      jsonb_agg(access.reason_for(b.kind, b.id, b.name, b.via) order by b.place) filter (where b.place <= 50) as because
    from because b
    group by b.n
  ),
  -- What is held and does not reach the resource.
  short as (
    select w.n, jsonb_agg(access.reason_against('out_of_scope', null, w.permission) order by w.permission) as because
    from wanted w
      join (select distinct g.subject, g.permission from g) held on held.subject = w.subject and held.permission = w.permission
    where w.n not in (select x.n from answered x)
    group by w.n
  )
  select jsonb_agg(
    jsonb_build_object(
      'allowed', t.n is not null,
      'scope', t.scope,
      'because', coalesce(t.because, s.because, '[]'))
    order by c.n)
  into answer
  from c
    left join answered t on t.n = c.n
    left join short s on s.n = c.n;
  return answer;
end $$;

grant execute on function
  access.ask(jsonb, timestamptz)
to freehold_app;
