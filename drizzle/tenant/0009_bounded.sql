-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   unchanged
-- Definitions:
--   creates function access.first_mebibyte
--   creates function access.id_of
--   creates trigger audit_insert on freehold.notification_preferences
--   creates trigger audit_update on freehold.notification_preferences
--   creates trigger audit_delete on freehold.notification_preferences
--   replaces function access.after_address_change
--   replaces function access.after_webhook
--   replaces function access.answer_many
--   replaces function access.continue_webhook
--   replaces function access.event_resources
--   replaces function access.finish_external_login
--   replaces function access.new_external_user
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
-- What access.enter returns, or {outcome: refused, is_known, mail}. `version` is the `updated_at` of the settings that the
-- token was verified by. `wrong`: why it was not; null: it was. `identity` is {issuer, subject, email, email_verified,
-- given_name, family_name, locale, username, roles, is_mfa}. `devices` are tokens of known devices, as for
-- access.begin_login. Lockouts do not count here, as with passkeys: nobody guesses a signature.
create or replace function access.finish_external_login(
  tenant_id uuid,
  system_key text,
  provider uuid,
  version timestamptz,
  wrong text,
  identity jsonb,
  token_hash bytea,
  token_expires_at timestamptz,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  devices jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  p freehold.providers;
  u freehold.users;
  found_user uuid;
  why text := wrong;
  is_mfa boolean := coalesce((identity ->> 'is_mfa')::boolean, false);
begin
  perform access.set_audit_actor(null, 'unknown identity', request);
  select * into p from freehold.providers x where x.id = provider;
  if why is null then
    why := case
      when p.id is null or not p.is_enabled or p.updated_at <> version then 'provider_changed'
      when not access.spend_external_token(token_hash, token_expires_at) then 'token_replayed'
    end;
  end if;
  if why is null then
    select x.user_id, x.why
    into found_user, why
    from access.external_user(t, p, identity || jsonb_build_object('new_id', access.id_of(refresh_hash)), request) x;
  end if;
  if found_user is not null then
    select * into u from freehold.users x where x.id = found_user for no key update;
    perform access.set_audit_actor(u.id, u.username, request);
    if why is null and not access.is_present(u) then
      why := 'inactive';
    end if;
  end if;
  if why is not null then
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, why, u.id is null,
      jsonb_build_object('reason', why, 'provider', p.name), 20
    );
    return jsonb_build_object('outcome', 'refused', 'is_known', u.id is not null);
  end if;
  return access.unless_risky(t, u, null, access.enter(
    u, t, refresh_hash, request, former, null, null, case when is_mfa then 'fed mfa' else 'fed' end,
    case when is_mfa then 2 else 1 end, access.device_of(t, u.id, devices)
  ));
end $$;
--> statement-breakpoint
-- The id of a user whom a request makes. Hooks undo the request and have it sent again (src/hooks/asking.sql): the answer
-- about a login is for whoever is made then, so that it has to be the same id.
create or replace function access.id_of(hash bytea) returns uuid
language sql immutable
return overlay(overlay(left(encode(sha256(hash), 'hex'), 32) placing '4' from 13) placing '8' from 17)::uuid;
--> statement-breakpoint
-- Creates the user of an identity, with the roles that its values give, or else the provider's. They have no password.
create or replace function access.new_external_user(
  t freehold.tenant,
  p freehold.providers,
  identity jsonb,
  address text,
  request jsonb,
  out user_id uuid,
  out why text
)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  broken text;
  u freehold.users;
  -- A subject that is an id stays the id: who comes from there keeps the `sub` that their services know.
  made uuid := case
    when p.type = 'cognito' and identity ->> 'subject' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      then (identity ->> 'subject')::uuid
    else (identity ->> 'new_id')::uuid
  end;
  given uuid[] := array(
    select distinct m.value::uuid
    from jsonb_each_text(p.role_mapping) m
    where identity -> 'roles' ? m.key);
  roles freehold.roles[];
begin
  if given = '{}' then
    given := array[access.default_role(p)];
  end if;
  roles := array(
    select r from freehold.roles r where r.id = any (given) and r.deleted_at is null and r.is_active order by r.name);
  if cardinality(roles) = 0 then
    why := 'no_role';
    return;
  end if;
  begin
    insert into freehold.users (id, username, email, email_verified, given_name, family_name, locale, role)
    values (
      made,
      access.free_username(identity ->> 'username', address),
      address,
      true,
      identity ->> 'given_name',
      identity ->> 'family_name',
      coalesce(identity ->> 'locale', 'en'),
      roles[1].name
    )
    returning * into u;
  exception when unique_violation then
    get stacked diagnostics broken = constraint_name;
    if broken not in ('users_email', 'users_pkey') then
      raise;
    end if;
    why := 'taken';
    return;
  end;
  perform access.set_audit_actor(u.id, u.username, request);
  insert into freehold.user_roles (id, user_id, role_id)
  select gen_random_uuid(), u.id, r.id
  from unnest(roles) r
  where r.id <> roles[1].id;
  insert into freehold.external_identities (id, user_id, provider_id, provider, issuer, external_id, email, last_used_at)
  values (
    gen_random_uuid(), u.id, p.id, p.name, identity ->> 'issuer', identity ->> 'subject', identity ->> 'email', now());
  perform access.record(
    'USER_REGISTERED', 'create', 'user', u.id::text, null,
    jsonb_build_object('email', u.email, 'role', u.role, 'provider', p.name));
  user_id := u.id;
end $$;
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
-- Records what was sent under a lease, moves the webhook to `reached`, and returns what comes next, {reached, events:
-- [{seq, id, type, at, text}]}. Null: nothing does, the lease is over, or `is_last`.
create or replace function access.continue_webhook(
  tenant_id uuid,
  system_key text,
  webhook uuid,
  lease uuid,
  results jsonb,
  reached bigint,
  is_last boolean
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  w freehold.webhooks;
  p freehold.webhook_progress;
  place bigint;
  newest bigint;
  page jsonb;
begin
  perform access.check_system(tenant_id, system_key);
  select * into w from freehold.webhooks x where x.id = webhook for no key update;
  select * into p from freehold.webhook_progress x where x.webhook_id = w.id for no key update;
  if w.id is null then
    return null;
  end if;
  perform access.record_deliveries(w.id, results, p.failures + 1);
  if p.lease is distinct from continue_webhook.lease then
    return null;
  end if;
  place := greatest(p.delivered_seq, reached);
  if (results -> -1 ->> 'is_delivered')::boolean is false then
    p.failures := case when jsonb_array_length(results) > 1 then 1 else p.failures + 1 end;
    p.failing_since := case when p.failures = 1 then now() else coalesce(p.failing_since, now()) end;
    update freehold.webhook_progress x
    set delivered_seq = place,
      failures = p.failures,
      failing_since = p.failing_since,
      next_at = now() + least(interval '1 hour', interval '5 seconds' * 3 ^ least(p.failures - 1, 10)),
      lease = null,
      leased_until = null
    where x.webhook_id = w.id;
    if results -> -1 ->> 'status' = '410' or p.failing_since <= now() - interval '3 days' then
      update freehold.webhooks x
      set is_paused = true, paused_because = case when results -> -1 ->> 'status' = '410' then 'gone' else 'failing' end
      where x.id = w.id;
      perform access.notify(
        a.id, 'webhook_paused', jsonb_build_object('host', substring(w.url from '(?i)^https?://([^/?#]*)')), null,
        'webhook', w.id::text)
      from access.administrators() a (id)
      where not w.is_paused;
    end if;
    return null;
  end if;
  if jsonb_array_length(results) > 0 then
    p.failures := 0;
    p.failing_since := null;
  end if;
  newest := access.newest_seq();
  -- Windows without an event of these kinds are passed over, so many at once.
  for window_no in 1 .. case when is_last or w.is_paused then 0 else 20 end loop
    exit when place >= newest;
    page := access.webhook_window(w, place, newest);
    exit when jsonb_array_length(page -> 'events') > 0;
    place := (page ->> 'reached')::bigint;
    page := null;
  end loop;
  update freehold.webhook_progress x
  set delivered_seq = place,
    failures = p.failures,
    failing_since = p.failing_since,
    -- Who had a turn comes after all others: a few that are slow, and always have more, would take every turn.
    next_at = case when page is null then clock_timestamp() else x.next_at end,
    lease = case when page is not null then p.lease end,
    leased_until = case when page is not null then now() + interval '1 minute' end
  where x.webhook_id = w.id;
  return page;
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
-- A new webhook begins with what is numbered after it was made; one that goes on is tried at once.
create or replace function access.after_webhook() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into freehold.webhook_progress (webhook_id, delivered_seq)
    values (new.id, access.newest_seq());
  elsif old.is_paused and not new.is_paused or new.url <> old.url then
    -- Whoever sends to the former address loses the lease: what it would send from now on would never come to the new one.
    update freehold.webhook_progress p
    set failures = 0, failing_since = null, next_at = now(),
      lease = case when new.url = old.url then p.lease end,
      leased_until = case when new.url = old.url then p.leased_until end
    where p.webhook_id = new.id;
  end if;
  return null;
end $$;
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.notification_preferences REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('notification_preferences', '{}', '{updated_at}', '{user_id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.notification_preferences REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('notification_preferences', '{}', '{updated_at}', '{user_id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.notification_preferences REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('notification_preferences', '{}', '{updated_at}', '{user_id}');
--> statement-breakpoint
revoke execute
  on function access.first_mebibyte(jsonb),
    access.id_of(bytea)
  from public;
