-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   unchanged
-- Definitions:
--   creates function access.first_mebibyte
--   creates trigger audit_insert on freehold.notification_preferences
--   creates trigger audit_update on freehold.notification_preferences
--   creates trigger audit_delete on freehold.notification_preferences
--   replaces function access.after_address_change
--   replaces function access.answer_many
--   replaces function access.event_resources
--   replaces function access.read_events
--   replaces function access.refresh
--   replaces function access.set_notification_preferences
--   replaces function access.unmet_demands
--   replaces function access.webhook_window
--   drops function access.matrix_cells

set local check_function_bodies = off;
--> statement-breakpoint
drop function access.matrix_cells(uuid[],uuid[],timestamp with time zone);
--> statement-breakpoint
-- The answers to any number of checks, roles too, in one statement; its plan is kept, because it takes longer to make
-- than to run.
create or replace function access.answer_many(me uuid, checks jsonb, names text[], moment timestamptz default now()) returns jsonb
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
--> statement-breakpoint
-- What the roles of a user, and those that are delegated to them, would carry at a moment if they, or the delegator, were
-- competent; of the `wanted` permissions, or of all (null). `name`: of the type.
create or replace function access.unmet_demands(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, type_id uuid, level integer, name text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (role_id, parent_id, delegator_id) as (
    select p.role_id, p.parent_id, t.delegator_id
    from (
      select ur.role_id, null::uuid as delegator_id
      from freehold.user_roles ur
      where ur.user_id = subject and access.in_force(ur.starts_at, ur.ends_at, moment)
      union all
      select d.role_id, d.delegator_id from access.delegations_to(subject, moment) d where d.role_id is not null
    ) t
      join freehold.role_periods p on p.role_id = t.role_id
    where access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id, l.delegator_id
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select distinct g.permission, g.type_id, g.level, t.name
  from line l
    cross join lateral (
      select x.permission, x.competency_type_id as type_id, x.competency_level as level
      from freehold.role_permissions x
      where x.role_id = l.role_id
        and x.competency_type_id is not null
        and access.in_force(x.starts_at, x.ends_at, moment)
      offset 0) g
    join freehold.competency_types t on t.id = g.type_id
  where (wanted is null or g.permission in (select unnest(wanted)))
    and not (
      access.is_competent(subject, g.type_id, g.level, moment)
      and (l.delegator_id is null or access.is_competent(l.delegator_id, g.type_id, g.level, moment)))
$$;
--> statement-breakpoint
-- {outcome: ok, claims, is_other} | {outcome: invalid | reused | inactive | unknown_audience}. `is_other`: the successor is
-- `other_successor`. Of several requests at once the first makes the successor, and the others find it. A deactivated
-- user is told `inactive` even though the session ended with the deactivation. `client` is the OAuth client that asks,
-- which must be the one that logged in, if that one had a name; null: not asked. `audience` is the API that the access
-- token is for; null: the tenant itself. The previous release sends neither, nor `other_successor`.
create or replace function access.refresh(
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
--> statement-breakpoint
-- The first of a list of events, as many as have 1 MiB together, and at least one: each has up to 256 KiB of details, and who
-- reads a page holds all of it.
create or replace function access.first_mebibyte(events jsonb) returns jsonb
language sql immutable
return (
  select coalesce(jsonb_agg(x.event order by x.no), '[]')
  from (
    select e.event, e.no, sum(octet_length(e.event::text)) over (order by e.no) as bytes
    from jsonb_array_elements(events) with ordinality e (event, no)
  ) x
  where x.no = 1 or x.bytes <= 1048576
);
--> statement-breakpoint
-- A page of events after a number, with details at most 20, and no more than fit. Records nothing: who reads the feed would
-- otherwise never reach its end. Raises FH403.
create or replace function access.read_events(after bigint, most integer, is_detailed boolean) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  first bigint := access.next_seq(after);
begin
  if access.permission() is distinct from 'activity:export' or access.scope() <> 'all' then
    perform access.refuse('forbidden', 'Events are all activities: activity:export at scope all is needed.');
  end if;
  return case
    when is_detailed then access.first_mebibyte(access.events_between(first, first + least(most, 20) - 1, true))
    else access.events_between(first, first + most - 1, false)
  end;
end $$;
--> statement-breakpoint
-- What tables with triggers of the audit call their rows: of these a service records no change (access.is_built_in_activity).
create or replace function access.event_resources() returns text[]
language sql immutable
return '{api_key,audience,competency,competency_type,delegation,delegation_permission,employee,external_identity,hook,logo,
  notification_preferences,organization,override,passkey,password,permission,provider,role,role_permission,session,
  tenant,unit,user,user_role,webhook}'::text[];
--> statement-breakpoint
create or replace function access.set_notification_preferences(wanted jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return null;
  end if;
  -- What is no choice would undo whatever tells this person of something. The Worker lets none through.
  if exists (select from jsonb_each(wanted) k where coalesce(
      jsonb_typeof(k.value -> 'in_app') <> 'boolean' or k.value ->> 'mail' not in ('now', 'digest', 'off'), true)) then
    raise exception using errcode = '22023', message = 'These are no preferences.';
  end if;
  insert into freehold.notification_preferences as p (user_id, kinds) values (access.principal(), wanted)
  on conflict (user_id) do update set kinds = excluded.kinds, updated_at = now();
  -- What waits for a mail that is not wanted any more is not mailed, but what is mailed whatever is chosen (access.notify).
  with waiting as (
    select n.id
    from freehold.notifications n
    where n.user_id = access.principal()
      and n.mail is not null
      and access.notification_preferences() -> n.kind ->> 'mail' = 'off'
      and n.event not in ('suspicious_activity', 'login_refused')
    order by n.id
    for update
  )
  update freehold.notifications n set mail = null from waiting w where n.id = w.id;
  return access.notification_preferences();
end $$;
--> statement-breakpoint
-- It was mailed to an address that is not theirs any more, and may be again.
create or replace function access.after_address_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.end_email_logins(new.id);
  update freehold.login_challenges c set used_at = now()
  where c.user_id = new.id and c.used_at is null and c.code_hash is not null;
  return null;
end $$;
--> statement-breakpoint
-- The events of a webhook behind a place, as text, because what is signed is what the database wrote, as many as a page
-- holds; and how far they reach.
create or replace function access.webhook_window(w freehold.webhooks, place bigint, newest bigint) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'reached', case
      when jsonb_array_length(p.page) < jsonb_array_length(l.events) then (p.page -> -1 ->> 'seq')::bigint
      else x.until
    end,
    'events', coalesce((
      select jsonb_agg(jsonb_build_object(
        'seq', e.event -> 'seq', 'id', e.event -> 'id', 'type', e.event -> 'type', 'at', e.event -> 'at',
        'text', e.event::text) order by e.no)
      from jsonb_array_elements(p.page) with ordinality e (event, no)), '[]'))
  from (
    select f.since, least(f.since + case when w.includes_details then 20 else 100 end - 1, newest) as until
    from (select access.next_seq(place) as since) f
  ) x
    cross join lateral (select access.events_between(x.since, x.until, w.includes_details, w.kinds)) l (events)
    cross join lateral (select access.first_mebibyte(l.events)) p (page)
$$;
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.notification_preferences REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('notification_preferences', '{}', '{updated_at}', '{user_id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.notification_preferences REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('notification_preferences', '{}', '{updated_at}', '{user_id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.notification_preferences REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('notification_preferences', '{}', '{updated_at}', '{user_id}');
--> statement-breakpoint
revoke execute
  on function access.first_mebibyte(jsonb)
  from public;
