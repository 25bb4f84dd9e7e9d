-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   unchanged
-- Definitions:
--   creates 15 objects
--   replaces 30 objects
--   drops and creates function access.admit
-- Kept for the release before this one, and dropped by the next migration:
--   keeps function access.active_primary_role
--   keeps function access.grant_sources
--   keeps function access.held
--   keeps function access.held_roles
--   keeps function access.my_roles
--   keeps function access.role_ancestry
--   keeps function access.role_scope
--   keeps function access.sign_claims
--   keeps function access.signature_of

set local check_function_bodies = off;
--> statement-breakpoint
drop function access.admit(uuid,jsonb,text,jsonb,boolean);
--> statement-breakpoint
-- Why somebody holds a permission, and how far: by a role, by a role that this one inherits from (`via`: the one that
-- is held), by an override, or by a delegation (`name`: the delegator; `via`: the role that is delegated). The scope
-- reaches around the `holder`.
create type access.reason as (scope access.scope, kind text, id uuid, name text, via text, holder uuid);
--> statement-breakpoint
-- Admits a request: proves the credential, {session_id, user_id, proof} or {key}, decides the permission (null: any
-- admitted user, scope own), and signs the claims: every policy believes what is signed here. Returns {user_id,
-- session_id, scope}. Raises FH401 session_ended | token_invalid, FH403 user_inactive | password_change_required |
-- forbidden, FH503.
--
-- Every request pays for this, so that what is signed is written once and nothing is read twice.
create or replace function access.admit(
  tenant_id uuid,
  credential jsonb,
  permission text,
  request jsonb,
  any_password boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  secret access.secrets;
  s freehold.sessions;
  k freehold.api_keys;
  u freehold.users;
  r record;
  said text;
begin
  select * into secret from access.secrets;
  if credential ? 'key' then
    k := access.authenticate_key(credential ->> 'key', request);
    select * into u from freehold.users x where x.id = k.user_id;
  else
    select * into s from freehold.sessions x where x.id = (credential ->> 'session_id')::uuid;
    if s.id is null
      or s.user_id is distinct from (credential ->> 'user_id')::uuid
      or credential ->> 'proof' is distinct from access.proof_of(secret, s.id)
    then
      raise exception using errcode = 'FH401', message = 'session_ended';
    end if;
    select * into u from freehold.users x where x.id = s.user_id;
  end if;
  -- Before the session, which ended with it: a user who was deactivated is told so.
  if not u.is_active then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  elsif s.ended_at is not null
    or s.expires_at <= now()
    or s.last_active_at <= now() - make_interval(days => t.idle_days)
  then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif not access.has_role(u.id) then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  -- A service does not stop because its owner's password has expired.
  elsif k.id is null and not any_password and access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  end if;
  if permission is null then
    select 'own'::access.scope as scope, '{}'::uuid[] as units, array[u.id] as owners into r;
  elsif permission <> all (k.permissions) then
    raise exception using
      errcode = 'FH403',
      message = 'forbidden',
      detail = format('This API key does not include %s.', permission);
  else
    r := access.user_effective_scope(u.id, permission);
    if r.scope is null then
      raise exception using errcode = 'FH403', message = 'forbidden';
    end if;
  end if;
  said := jsonb_build_object(
    'user_id', u.id,
    'user_name', u.username,
    'session_id', s.id,
    'scope', r.scope,
    'permission', permission,
    'units', r.units::text,
    'owners', r.owners::text,
    'key_id', k.id,
    'key_permissions', k.permissions::text,
    'request', request)::text;
  perform
    set_config('access.claims', said, true),
    set_config('access.signature', encode(access.hmac(secret, access.bound('claims:' || said)), 'hex'), true);
  -- A request that writes touches its session last (src/kernel/context.ts): two that locked it first would wait for
  -- each other's rows.
  if s.last_active_at < now() - interval '1 minute' then
    perform set_config('access.touch', 'due', true);
    if request ->> 'method' = 'GET' then
      perform access.touch();
    end if;
  end if;
  return jsonb_build_object('user_id', u.id, 'session_id', s.id, 'scope', r.scope);
end $$;
--> statement-breakpoint
-- HMAC-SHA-256 of a message under a database's padded keys. A query that calls it holds it inline.
create or replace function access.hmac(k access.secrets, message text) returns bytea
language sql stable
return sha256(k.outer_key || sha256(k.inner_key || convert_to(message, 'UTF8')));
--> statement-breakpoint
-- What a token carries beside the id of its session. Lists and the audit show the id; it lets nobody in by itself,
-- not even with the app login.
create or replace function access.proof_of(secret access.secrets, session uuid) returns text
language sql stable
return encode(access.hmac(secret, 'session:' || session), 'hex');
--> statement-breakpoint
-- The same under this database's keys.
create or replace function access.session_proof(session uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.proof_of(s, session) from access.secrets s
$$;
--> statement-breakpoint
-- Notes that the session was active, at most once a minute, and waits for nobody. Whether it is due the admission has
-- seen; whoever sets that themselves has their own session noted.
create or replace function access.touch() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if current_setting('access.touch', true) = 'due' then
    update freehold.sessions s
    set last_active_at = now()
    where s.id = (
      select x.id
      from freehold.sessions x
      where x.id = access.session() and x.last_active_at < now() - interval '1 minute'
      for no key update skip locked);
  end if;
end $$;
--> statement-breakpoint
-- Refuses checks about users whom the caller does not reach with user:read.
create or replace function access.check_asked_users(me uuid, checks jsonb) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  far record := access.effective_scope(me, 'user:read');
begin
  if exists (
    select from jsonb_array_elements(checks) c (x)
    where (c.x ->> 'user_id')::uuid <> me
      and not exists (
        select from freehold.users u
        where u.id = (c.x ->> 'user_id')::uuid
          and (
            far.scope = 'all'
            or (far.scope is not null and (u.id = any (far.owners) or u.unit_id = any (far.units))))))
  then
    perform access.refuse('not_found', 'There is no such user.');
  end if;
end $$;
--> statement-breakpoint
-- Refuses checks that name a permission or a role that does not exist.
create or replace function access.check_asked_names(checks jsonb) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  wrong record;
begin
  select format('checks/%s/%s', c.n - 1, p.field) as field, p.name into wrong
  from jsonb_array_elements(checks) with ordinality as c (x, n)
    cross join lateral (
      select 'permission' as field, c.x ->> 'permission' as name
      union all
      select 'any_of', jsonb_array_elements_text(c.x -> 'any_of')
      union all
      select 'role', c.x ->> 'role'
    ) p
  where p.name is not null
    and case p.field
      when 'role' then not exists (select from freehold.roles r where r.name = p.name and r.deleted_at is null)
      else not exists (select from freehold.permissions x where x.name = p.name and x.deleted_at is null)
    end
  order by c.n
  limit 1;
  if found then
    perform access.refuse('invalid_request', format('there is no %s here', wrong.name), wrong.field);
  end if;
end $$;
--> statement-breakpoint
-- Answers one check about a user for one permission. `names`: what an API key leaves of what the user holds; null:
-- everything.
create or replace function access.answer(subject uuid, asked jsonb, names text[]) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  there jsonb := nullif(asked -> 'resource', 'null');
  r access.reason;
  widest access.scope;
  because jsonb[] := '{}';
begin
  foreach r in array access.reasons(subject, asked ->> 'permission', now()) loop
    continue when asked ->> 'permission' <> all (names);
    if there is null
      or r.scope = 'all'
      or r.holder = (there ->> 'owner_id')::uuid
      or (there ? 'unit_id' and (there ->> 'unit_id')::uuid in (select access.units_in_scope(r.holder, r.scope)))
    then
      widest := greatest(widest, r.scope);
      because := because || jsonb_build_object('kind', r.kind, 'id', r.id, 'name', r.name, 'via', r.via);
    end if;
  end loop;
  if cardinality(because) > 1 then
    because := array(select distinct x from unnest(because) x order by x);
  end if;
  return jsonb_build_object('allowed', widest is not null, 'scope', widest, 'because', to_jsonb(because));
end $$;
--> statement-breakpoint
-- Answers up to a hundred checks, {user_id?, permission | any_of | role, resource?: {owner_id?, unit_id?}}, in order
-- with {allowed, scope, because}. Any user may ask about themselves, and about others whom they reach with user:read.
create or replace function access.ask(checks jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  me uuid := f ->> 'user_id';
  -- What the API key names with which a user asks about themselves.
  names text[] := f ->> 'key_permissions';
  answers jsonb := '[]';
  subject uuid;
begin
  if me is null then
    return null;
  elsif checks @? '$[*].user_id' then
    perform access.check_asked_users(me, checks);
  end if;
  -- The statement that answers a hundred costs as much for one; and one by one a long `any_of` would cost too much.
  if jsonb_array_length(checks) > 3 or checks @? '$[*].role' or checks @? '$[*].any_of' then
    perform access.check_asked_names(checks);
    return access.answer_many(me, checks, names);
  end if;
  for n in 0 .. jsonb_array_length(checks) - 1 loop
    subject := coalesce((checks -> n ->> 'user_id')::uuid, me);
    answers := answers || access.answer(
      subject,
      checks -> n,
      case when subject = me then names when not access.was_active(subject, now()) then '{}' end);
  end loop;
  -- What somebody holds exists: access.before_permission lets nothing be deleted that is in use.
  if answers @? '$[*] ? (@.allowed == false)' then
    perform access.check_asked_names(checks);
  end if;
  return answers;
end $$;
--> statement-breakpoint
-- The same, for any number of checks and for roles, in one statement; its plan is kept, because it takes longer to make
-- than to run.
create or replace function access.answer_many(me uuid, checks jsonb, names text[]) returns jsonb
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  answer jsonb;
begin
  -- What is asked is matched by equality; and what a user holds and reaches is found out once for all that is asked
  -- about them.
  with c as materialized (
    select
      t.n,
      coalesce((t.x ->> 'user_id')::uuid, me) as subject,
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
    from (select w.subject, array_agg(w.permission) as permissions from wanted w group by w.subject) p
      cross join lateral access.user_grants(p.subject, now(), p.permissions) y
    where names is null or p.subject <> me or y.permission = any (names)
  ),
  m as materialized (
    select c.n, c.anywhere, c.owner_id, c.unit_id, g.*
    from wanted w
      join g on g.subject = w.subject and g.permission = w.permission
      join c on c.n = w.n
  ),
  -- The units that a scope reaches, where a unit is asked about.
  f as materialized (
    select x.holder, x.scope, array(select access.units_in_scope(x.holder, x.scope)) as units
    from (
      select distinct m.holder, m.scope
      from m
      where m.unit_id is not null and m.scope in ('team', 'department')
    ) x
  ),
  -- The roles that each user holds, where a role is asked about.
  h as materialized (
    select p.subject, y.*
    from (select distinct c.subject from c where c.role is not null) p
      cross join lateral access.user_held_roles(p.subject, now()) y
    where names is null
      or p.subject <> me
      or not exists (select from access.role_grants(y.id, now()) x where x.permission <> all (names))
  ),
  hit as (
    select m.n, m.scope, jsonb_build_object('kind', m.kind, 'id', m.id, 'name', m.name, 'via', m.via) as why
    from m
      left join f on f.holder = m.holder and f.scope = m.scope
    where m.anywhere or m.scope = 'all' or m.owner_id = m.holder or m.unit_id = any (f.units)
    union all
    select c.n, null, jsonb_build_object('kind', h.kind, 'id', h.id, 'name', h.name, 'via', h.via)
    from c
      join h on h.subject = c.subject and h.name = c.role
  ),
  answered as (
    select hit.n, max(hit.scope) as scope, jsonb_agg(distinct hit.why) as because
    from hit
    group by hit.n
  )
  select jsonb_agg(
    jsonb_build_object('allowed', t.n is not null, 'scope', t.scope, 'because', coalesce(t.because, '[]')) order by c.n)
  into answer
  from c
    left join answered t on t.n = c.n;
  return answer;
end $$;
--> statement-breakpoint
-- The same under this database's keys.
create or replace function access.mac(message text) returns bytea
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  k access.secrets;
begin
  select * into k from access.secrets;
  return access.hmac(k, message);
end $$;
--> statement-breakpoint
-- What a signature of claims covers: them, this backend and this transaction, so that a copied one is worth nothing
-- elsewhere.
create or replace function access.bound(claims text) returns text
language sql stable
return claims || '|' || pg_backend_pid() || '|' || extract(epoch from transaction_timestamp());
--> statement-breakpoint
-- The claims of this transaction; null when nobody was admitted, or when the signature is not ours. A setting that
-- was used before and is no more is '' and not null.
create or replace function access.claims() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  said text := current_setting('access.claims', true);
  k access.secrets;
begin
  if said <> '' then
    select * into k from access.secrets;
    if encode(access.hmac(k, access.bound('claims:' || said)), 'hex') = current_setting('access.signature', true) then
      return said::jsonb;
    end if;
  end if;
  return null;
end $$;
--> statement-breakpoint
-- The admitted user.
create or replace function access.principal() returns uuid
language sql stable
return (access.claims() ->> 'user_id')::uuid;
--> statement-breakpoint
-- The session of the admitted user; null: an API key.
create or replace function access.session() returns uuid
language sql stable
return (access.claims() ->> 'session_id')::uuid;
--> statement-breakpoint
-- The API key that this transaction was admitted with; null: a session.
create or replace function access.key() returns uuid
language sql stable
return (access.claims() ->> 'key_id')::uuid;
--> statement-breakpoint
-- The permission that this transaction was admitted with. Policies that let something be written compare it.
create or replace function access.permission() returns text
language sql stable
return access.claims() ->> 'permission';
--> statement-breakpoint
-- How far the admitted user reaches with that permission.
create or replace function access.scope() returns access.scope
language sql stable
return (access.claims() ->> 'scope')::access.scope;
--> statement-breakpoint
-- The units that the admitted user reaches with that permission, unless it reaches everything.
create or replace function access.scope_unit_ids() returns uuid[]
language sql stable
return coalesce((access.claims() ->> 'units')::uuid[], '{}');
--> statement-breakpoint
-- The users whose rows the admitted user reaches: themselves, and those who delegated the permission to them.
create or replace function access.scope_owner_ids() returns uuid[]
language sql stable
return coalesce((access.claims() ->> 'owners')::uuid[], '{}');
--> statement-breakpoint
-- The permissions of the API key with which this user was admitted; null: nothing narrows what they hold.
create or replace function access.key_permissions(subject uuid) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
begin
  if f ->> 'user_id' = subject::text then
    return (f ->> 'key_permissions')::text[];
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Names the actor for the audit while a public endpoint is at work. It admits nobody: no policy reads it.
create or replace function access.set_audit_actor(subject uuid, user_name text, request jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  said text := jsonb_build_object('user_id', subject, 'user_name', left(user_name, 255), 'request', request)::text;
begin
  perform
    set_config('access.actor', said, true),
    set_config('access.actor_signature', encode(access.mac(access.bound('actor:' || said)), 'hex'), true);
end $$;
--> statement-breakpoint
-- The actor for the audit, and what the request says of itself: the admitted user, else the one that a public
-- endpoint named, else nobody, which is the system.
create or replace function access.actor() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  said text := current_setting('access.actor', true);
begin
  if f is null
    and said <> ''
    and encode(access.mac(access.bound('actor:' || said)), 'hex') = current_setting('access.actor_signature', true)
  then
    f := said::jsonb;
  end if;
  return coalesce(f - 'request' || access.request_of(f -> 'request'), '{}');
end $$;
--> statement-breakpoint
-- Why a user held a permission themselves at a moment, by overrides and roles and without delegations; null: they were
-- denied it. One statement, because each costs more than what it reads; and its plan is kept, because Postgres would
-- rather plan it anew on every call.
create or replace function access.own_reasons(subject uuid, permission text, moment timestamptz) returns access.reason[]
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  is_denied boolean;
  why access.reason[];
begin
  with recursive line (role_id, parent_id, top) as (
    select p.role_id, p.parent_id, p.role_id
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = subject
      and access.in_force(ur.starts_at, ur.ends_at, moment)
      and access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id, l.top
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select
    bool_or(g.effect = 'deny'),
    array_agg(row(g.scope, g.kind, g.id, g.name, g.via, subject)::access.reason)
  into is_denied, why
  from (
    select o.effect, o.scope, 'override' as kind, o.id, o.permission as name, null as via
    from freehold.overrides o
    where o.user_id = subject
      and o.permission = own_reasons.permission
      and access.in_force(o.starts_at, o.ends_at, moment)
    union all
    select
      'grant',
      c.scope,
      case when l.role_id = l.top then 'role' else 'inherited' end,
      l.role_id,
      (select r.name from freehold.roles r where r.id = l.role_id),
      case when l.role_id <> l.top then (select r.name from freehold.roles r where r.id = l.top) end
    from line l
      cross join lateral (
        select x.scope
        from freehold.role_permissions x
        where x.role_id = l.role_id
          and x.permission = own_reasons.permission
          and access.in_force(x.starts_at, x.ends_at, moment)
        union all
        select 'all'
        where l.role_id = (select r.id from freehold.roles r where r.is_admin)
          and exists (
            select from freehold.permissions x
            where x.name = own_reasons.permission and access.in_force(x.created_at, x.deleted_at, moment))
        offset 0
      ) c
  ) g;
  return case when is_denied then null else coalesce(why, '{}') end;
end $$;
--> statement-breakpoint
-- The widest scope at which a user held a permission themselves at a moment, or null.
create or replace function access.own_scope(subject uuid, permission text, moment timestamptz) returns access.scope
language sql stable set search_path = pg_catalog, pg_temp as $$
  select max(r.scope) from unnest(access.own_reasons(subject, permission, moment)) r
$$;
--> statement-breakpoint
-- Why a user holds a permission at a moment, by themselves or because somebody delegated it to them and still holds
-- it. A denial of the user wins over what is delegated to them, too. What is delegated cannot be delegated on: only
-- what the delegator holds themselves counts.
create or replace function access.reasons(subject uuid, permission text, moment timestamptz) returns access.reason[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  why access.reason[] := access.own_reasons(subject, permission, moment);
  d record;
  reach access.scope;
begin
  if why is null then
    return '{}';
  elsif not exists (
    select from freehold.delegations x
    where x.delegate_id = subject and access.in_force(x.starts_at, x.ends_at, moment))
  then
    return why;
  end if;
  for d in
    select x.id, x.delegator_id, x.role_id
    from freehold.delegations x
    where x.delegate_id = subject
      and access.in_force(x.starts_at, x.ends_at, moment)
      and x.decision = 'approved'
      and access.in_force(x.decided_at, x.revoked_at, moment)
  loop
    if d.role_id is null then
      select 'all' into reach
      from freehold.delegation_permissions p
      where p.delegation_id = d.id and p.permission = reasons.permission;
    else
      select max(g.scope) into reach from access.role_grants(d.role_id, moment, array[permission]) g;
    end if;
    -- Most delegations are of something else; what follows costs more.
    continue when reach is null
      or not access.was_active(d.delegator_id, moment)
      or (d.role_id is not null and d.role_id not in (select access.roles_of(d.delegator_id, moment)));
    -- null: the delegator no longer holds it.
    reach := access.narrower_scope(reach, access.own_scope(d.delegator_id, permission, moment));
    if reach is not null then
      why := why
        || row(
          reach,
          'delegation',
          d.id,
          (select u.username from freehold.users u where u.id = d.delegator_id),
          (select r.name from freehold.roles r where r.id = d.role_id),
          d.delegator_id)::access.reason;
    end if;
  end loop;
  return why;
end $$;
--> statement-breakpoint
-- The widest scope at which a user holds a permission at a moment, or null.
create or replace function access.decide(subject uuid, permission text, moment timestamptz) returns access.scope
language sql stable set search_path = pg_catalog, pg_temp as $$
  select max(r.scope) from unnest(access.reasons(subject, permission, moment)) r
$$;
--> statement-breakpoint
-- Whether a user plainly reaches everything with a permission now: a role of theirs carries it so itself, and no
-- override says anything of it. Administrators do, whose requests would otherwise pay for looking at all the rest.
create or replace function access.reaches_all(subject uuid, permission text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return exists (
      select
      from freehold.user_roles ur
        join freehold.role_periods p on p.role_id = ur.role_id
        join freehold.roles r on r.id = ur.role_id
      where ur.user_id = subject
        and access.in_force(ur.starts_at, ur.ends_at, now())
        and access.in_force(p.starts_at, p.ends_at, now())
        and case
          when r.is_admin then exists (
            select from freehold.permissions x
            where x.name = reaches_all.permission and access.in_force(x.created_at, x.deleted_at, now()))
          else exists (
            select from freehold.role_permissions x
            where x.role_id = ur.role_id
              and x.permission = reaches_all.permission
              and x.scope = 'all'
              and access.in_force(x.starts_at, x.ends_at, now()))
        end)
    and not exists (
      select from freehold.overrides o
      where o.user_id = subject and o.permission = reaches_all.permission);
end $$;
--> statement-breakpoint
-- The effective scope of a permission now: the widest scope and, unless that is `all`, the owners and units in it. A
-- delegated permission reaches the delegator's rows and units, not the delegate's.
create or replace function access.user_effective_scope(
  subject uuid,
  permission text,
  out scope access.scope,
  out units uuid[],
  out owners uuid[]
)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  why access.reason[];
  s record;
begin
  units := '{}';
  owners := '{}';
  if access.reaches_all(subject, permission) then
    scope := 'all';
    owners := array[subject];
    return;
  end if;
  -- By itself: within the query it would be called once more, to estimate its rows.
  why := access.reasons(subject, permission, now());
  for s in select r.holder, max(r.scope) as reach from unnest(why) r group by r.holder loop
    scope := greatest(scope, s.reach);
    owners := owners || s.holder;
    if s.reach in ('team', 'department') then
      units := array(select unnest(units) union select access.units_in_scope(s.holder, s.reach));
    end if;
  end loop;
end $$;
--> statement-breakpoint
-- The names of the permissions that a user holds at a moment, sorted, as far as the API key of this transaction goes:
-- those of access.grants. Every login and every refresh needs them, and no reasons.
create or replace function access.permissions_of(subject uuid, moment timestamptz) returns text[]
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  named text[] := access.key_permissions(subject);
  denied text[] := array(select access.denied_permissions(subject, moment));
  delegated text[] := '{}';
  held record;
begin
  if not access.was_active(subject, moment) then
    return '{}';
  end if;
  with recursive line (role_id, parent_id) as (
    select p.role_id, p.parent_id
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = subject
      and access.in_force(ur.starts_at, ur.ends_at, moment)
      and access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select array_agg(l.role_id) as line, bool_or(r.is_admin) as everything into held
  from line l
    join freehold.roles r on r.id = l.role_id;
  if held.everything then
    return array(
      select x.name
      from freehold.permissions x
      where access.in_force(x.created_at, x.deleted_at, moment)
        and x.name <> all (denied)
        and (named is null or x.name = any (named))
      order by x.name);
  end if;
  if exists (
    select from freehold.delegations d
    where d.delegate_id = subject and access.in_force(d.starts_at, d.ends_at, moment))
  then
    delegated := array(select g.permission from access.user_grants(subject, moment) g where g.kind = 'delegation');
  end if;
  return array(
    select n.name
    from (
      select x.permission as name
      from freehold.role_permissions x
      where x.role_id = any (held.line) and access.in_force(x.starts_at, x.ends_at, moment)
      union
      select o.permission
      from freehold.overrides o
      where o.user_id = subject and o.effect = 'grant' and access.in_force(o.starts_at, o.ends_at, moment)
      union
      select unnest(delegated)
    ) n
    where n.name <> all (denied) and (named is null or n.name = any (named))
    order by n.name);
end $$;
--> statement-breakpoint
-- The permissions that a token carries: at most a hundred, Freehold's own first. Services ask authz/check for the
-- rest.
create or replace function access.token_permissions(subject uuid) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  held text[] := access.permissions_of(subject, now());
begin
  if cardinality(held) <= 100 then
    return held;
  end if;
  return array(
    select x.name
    from (
      select p.name
      from unnest(held) with ordinality p (name, place)
      order by
        split_part(p.name, ':', 1) <> all ('{user,role,permission,session,api_key,unit,delegation,setting,organization,
          invitation,activity,tenant}'),
        p.place
      limit 100) x
    order by x.name);
end $$;
--> statement-breakpoint
-- Writes an entry about what a service did. Its user and its origin are those that the transaction was admitted with.
-- Raises FH403, FH400.
create or replace function access.record_custom_activity(
  activity text,
  action text,
  resource text,
  resource_id text,
  risk integer,
  before jsonb,
  after jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  written uuid[];
begin
  if access.permission() is distinct from 'activity:create' then
    perform access.refuse('forbidden', 'Recording an activity needs activity:create.');
  elsif activity !~ '^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$' or length(activity) > 64 then
    perform access.refuse(
      'invalid_request',
      'must be words in capitals with _ between them, at most 64 characters',
      'activity_type'
    );
  elsif access.is_built_in_activity(activity) then
    perform access.refuse('invalid_request', format('%s is recorded by Freehold itself', activity), 'activity_type');
  elsif action is null
    or resource is null
    or risk is null
    or risk not between 0 and 100
    or greatest(length(action), length(resource)) > 64
    or length(resource_id) > 255
    or coalesce(length(before::text), 0) + coalesce(length(after::text), 0) > 32768
  then
    perform access.refuse('invalid_request', 'is larger than an activity may be', 'after');
  end if;
  written := access.write_audit(
    access.actor(),
    activity,
    record_custom_activity.action,
    resource,
    risk,
    array[record_custom_activity.resource_id],
    array[before],
    array[after]
  );
  return access.audit_entry(written[1]);
end $$;
--> statement-breakpoint
-- The audit trigger, for each statement: an entry for each changed row, of an update with the changed columns alone.
-- Arguments: the resource; secret columns, recorded as changed but without their value; columns that are noise, whose
-- change alone makes no entry; the columns of the key.
create or replace function access.audit() returns trigger
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  resource text := tg_argv[0];
  secret text[] := tg_argv[1]::text[];
  noise text[] := tg_argv[2]::text[];
  keys text[] := coalesce(tg_argv[3], '{id}')::text[];
  act text := case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end;
  f jsonb;
  e record;
begin
  -- An update that changes nothing but noise is frequent: that a session was active. It makes no entry, and should not
  -- pay for one.
  if tg_op = 'UPDATE' then
    if not exists (
      select to_jsonb(a) - noise from after_rows a
      except all
      select to_jsonb(b) - noise from before_rows b)
    then
      return null;
    end if;
  end if;
  f := access.actor();
  if tg_op = 'INSERT' then
    select
      array_agg(case when keys = '{id}' then r.doc ->> 'id' else access.row_key(r.doc, keys) end) as ids,
      null::jsonb[] as befores,
      array_agg(case when secret = '{}' then r.doc else access.masked(r.doc, secret) end) as afters,
      null::text[] as activities
    into e
    from (select to_jsonb(n) as doc from after_rows n) r;
  elsif tg_op = 'DELETE' then
    select
      array_agg(case when keys = '{id}' then r.doc ->> 'id' else access.row_key(r.doc, keys) end) as ids,
      array_agg(case when secret = '{}' then r.doc else access.masked(r.doc, secret) end) as befores,
      null::jsonb[] as afters,
      null::text[] as activities
    into e
    from (select to_jsonb(o) as doc from before_rows o) r;
  else
    -- A row whose key changed has no partner: its old and its new version are two entries, each with all columns.
    select
      array_agg(c.id) as ids,
      array_agg(case when secret = '{}' then c.was else access.masked(c.was, secret) end) as befores,
      array_agg(case when secret = '{}' then c.is_now else access.masked(c.is_now, secret) end) as afters,
      array_agg(case
        when resource = 'session' and c.is_now ->> 'ended_because' = 'logout' then 'LOGOUT'
        when resource = 'user' and c.is_now ? 'password_changed_at' then 'PASSWORD_CHANGE'
        when resource = 'user' and c.id = f ->> 'user_id' then 'PROFILE_UPDATE'
      end) as activities
    into e
    from (
      select
        coalesce(n.id, o.id) as id,
        case when o.id is null or n.id is null then o.doc else d.was end as was,
        case when o.id is null or n.id is null then n.doc else d.is_now end as is_now
      from (
        select x.doc, case when keys = '{id}' then x.doc ->> 'id' else access.row_key(x.doc, keys) end as id
        from (select to_jsonb(b) as doc from before_rows b) x
      ) o
      full join (
        select x.doc, case when keys = '{id}' then x.doc ->> 'id' else access.row_key(x.doc, keys) end as id
        from (select to_jsonb(a) as doc from after_rows a) x
      ) n on n.id = o.id
      cross join lateral (
        select jsonb_object_agg(b.key, b.value) as was, jsonb_object_agg(b.key, a.value) as is_now
        from jsonb_each(o.doc) b
        join jsonb_each(n.doc) a on a.key = b.key
        where a.value is distinct from b.value and not b.key = any (noise)
      ) d
      where d.was is not null or o.id is null or n.id is null
    ) c;
  end if;
  if e.ids is not null then
    perform access.write_audit(
      f, access.activity_of(resource, act), act, resource, 0, e.ids, e.befores, e.afters, e.activities
    );
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Writes the entries of one statement, in one statement, and returns their ids: the only function that knows how a
-- detail is hashed. `ids`, `befores` and `afters` run in parallel; an element of `activities` goes before `activity`.
--
-- A detail names the API key that was used, so that its owner can ask what a stolen one did. Without a key it hashes
-- to what it did before details had one.
create or replace function access.write_audit(
  f jsonb,
  activity text,
  action text,
  resource text,
  risk integer,
  ids text[],
  befores jsonb[],
  afters jsonb[],
  activities text[] default null
) returns uuid[]
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  written uuid[];
begin
  with entry as materialized (
    select
      gen_random_uuid() as log_id,
      uuid_send(gen_random_uuid()) as salt,
      coalesce(r.activity, write_audit.activity) as activity_type,
      r.id,
      r.was,
      r.is_now
    from unnest(ids, befores, afters, activities) as r (id, was, is_now, activity)
  ), logged as (
    insert into freehold.audit_log (
      id, user_id, activity_type, action, resource_type, resource_id, risk_score, trace_id, detail_hash
    )
    select
      e.log_id,
      (f ->> 'user_id')::uuid,
      e.activity_type,
      write_audit.action,
      resource,
      e.id,
      risk,
      f ->> 'trace_id',
      sha256(e.salt || convert_to((
        jsonb_build_object(
          'user_name', f -> 'user_name',
          'address', f -> 'address',
          'agent', f -> 'agent',
          'method', f -> 'method',
          'path', f -> 'path',
          'before', e.was,
          'after', e.is_now
        )
        || case when f ->> 'key_id' is null then '{}' else jsonb_build_object('api_key_id', f -> 'key_id') end
      )::text, 'UTF8'))
    from entry e
  ), detailed as (
    insert into freehold.audit_detail (
      log_id, salt, user_name, address, agent, method, path, before, after, api_key_id
    )
    select
      e.log_id,
      e.salt,
      f ->> 'user_name',
      f ->> 'address',
      f ->> 'agent',
      f ->> 'method',
      f ->> 'path',
      e.was,
      e.is_now,
      (f ->> 'key_id')::uuid
    from entry e
  )
  select array_agg(e.log_id) into written from entry e;
  return written;
end $$;
--> statement-breakpoint
-- Begins an attempt: {state: pending, attempt, hash_parameters}, also during a lockout, when it can only fail; or
-- {state: busy} when as many attempts are under way as may fail. Locks the lockout's row, so that the
-- attempts of one identifier are decided one after another. An attempt that is not finished within 30 s has failed.
create or replace function access.begin_attempt(
  t freehold.tenant,
  guard text,
  subject uuid,
  identifier text,
  hash_parameters text
) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
  open record;
  attempt uuid := gen_random_uuid();
  state text := 'pending';
begin
  -- Whoever logged in before has a row: locking it leaves no dead one behind, as an upsert would for each login.
  select * into g from freehold.lockouts x where x.key = guard for update;
  if not found then
    insert into freehold.lockouts as x (key) values (guard)
    on conflict (key) do update set key = x.key
    returning x.* into g;
  end if;
  select
    count(*) filter (where a.created_at > now() - interval '30 seconds') as pending,
    count(*) filter (where a.created_at <= now() - interval '30 seconds') as lost
  into open
  from freehold.login_attempts a
  where a.key = guard and a.state = 'pending';
  if open.lost > 0 then
    update freehold.login_attempts a set state = 'failed'
    where a.key = guard and a.state = 'pending' and a.created_at <= now() - interval '30 seconds';
    g := access.count_failures(t, guard, open.lost::integer);
  end if;
  if g.locked_until > now() then
    state := 'refused';
  else
    if g.locked_until is not null or g.failed_at <= now() - make_interval(mins => t.lock_minutes) then
      g := access.clear_lockout(g);
    end if;
    if g.failures + open.pending >= t.max_failures then
      return jsonb_build_object('state', 'busy');
    end if;
  end if;
  insert into freehold.login_attempts (id, key, user_id, identifier, hash_parameters, state)
  values (attempt, guard, subject, left(identifier, 255), hash_parameters, state);
  return jsonb_build_object('state', 'pending', 'attempt', attempt, 'hash_parameters', hash_parameters);
end $$;
--> statement-breakpoint
-- Finishes an attempt, once: compares the digest (32 bytes, base64 without padding) with the user's hash, counts a
-- failure or clears the lockout. Returns the user when the password was right, and leaves their row locked.
create or replace function access.finish_attempt(t freehold.tenant, attempt uuid, digest text) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  g freehold.lockouts;
  u freehold.users;
  is_right boolean;
begin
  select * into a from freehold.login_attempts x where x.id = attempt;
  -- Of two that finish this attempt, the second waits here.
  select * into g from freehold.lockouts x where x.key = a.key for update;
  -- A concurrent change of this user's password goes first or waits: the comparison below sees the hash that it left.
  select * into u from freehold.users x where x.id = a.user_id for no key update;
  is_right := coalesce(
    case when u.is_active then access.current_password(u.id) = access.stored_hash(a.hash_parameters, digest) end,
    false);
  update freehold.login_attempts x set state = case when is_right then 'succeeded' else 'failed' end
  where x.id = attempt and x.state = 'pending'
  returning x.* into a;
  if a.id is null then
    return null;
  elsif not is_right then
    perform access.count_failures(t, a.key, 1);
    return null;
  end if;
  perform access.clear_lockout(g);
  return u;
end $$;
--> statement-breakpoint
-- Clears a lockout whose row is locked. Most have nothing to clear.
create or replace function access.clear_lockout(g freehold.lockouts) returns freehold.lockouts
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if g.failures > 0 or g.failed_at is not null or g.locked_until is not null then
    update freehold.lockouts x set failures = 0, failed_at = null, locked_until = null
    where x.key = g.key
    returning x.* into g;
  end if;
  return g;
end $$;
--> statement-breakpoint
-- Second half: {outcome: ok, claims} with a session and its first refresh token, or {outcome: refused, mail} or
-- {outcome: no_role}. When the user has too many sessions, the oldest end. `renewed` is a new hash of the same
-- password, in place of one that another system made.
create or replace function access.finish_login(
  tenant_id uuid,
  attempt uuid,
  digest text,
  renewed text,
  refresh_hash bytea,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  s freehold.sessions;
  surplus uuid[];
  named text;
  why text;
begin
  if u.id is null then
    select a.identifier, a.user_id,
      case
        when a.user_id is null then 'unknown'
        when a.state = 'refused' then 'locked'
        when not x.is_active then 'inactive'
        else 'wrong_password'
      end
    into named, u.id, why
    from freehold.login_attempts a
    left join freehold.users x on x.id = a.user_id
    where a.id = attempt;
    perform access.set_audit_actor(u.id, named, request);
    perform access.record('LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', why), 20);
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  if not access.has_role(u.id) then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'no_role'), 10
    );
    return jsonb_build_object('outcome', 'no_role');
  end if;
  if renewed is not null then
    update freehold.passwords p set password_hash = renewed
    where p.user_id = u.id and p.replaced_at is null;
  end if;
  insert into freehold.sessions (id, user_id, device, address, city, country, expires_at)
  values (
    gen_random_uuid(),
    u.id,
    left(request ->> 'agent', 255),
    left(request ->> 'address', 64),
    left(request ->> 'city', 120),
    left(request ->> 'country', 2),
    now() + make_interval(days => t.session_days)
  )
  returning * into s;
  -- The user's row has been locked since the comparison, so that of many logins at once each sees the sessions of
  -- those before it.
  surplus := array(
    select y.id
    from freehold.sessions y
    where y.user_id = u.id
      and y.id <> s.id
      and y.ended_at is null
      and y.expires_at > now()
      and y.last_active_at > now() - make_interval(days => t.idle_days)
    order by y.created_at desc, y.id
    offset coalesce(u.max_sessions, t.max_sessions) - 1
  );
  if surplus <> '{}' then
    update freehold.sessions x set ended_at = now(), ended_because = 'limit' where x.id = any (surplus);
  end if;
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
  values (refresh_hash, s.id, s.device, s.expires_at);
  return jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t));
end $$;
--> statement-breakpoint
-- Everything that the Worker needs to make an access token, and to say how old the password is.
create or replace function access.token_claims(u freehold.users, s freehold.sessions, t freehold.tenant) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  shown jsonb := access.profile(u.id);
  expiry timestamptz := access.password_expiry(u, t);
begin
  return jsonb_build_object(
    'user_id', u.id,
    'session_id', s.id,
    'proof', access.session_proof(s.id),
    'username', u.username,
    'email', u.email,
    'role', shown -> 'role',
    'roles', shown -> 'roles',
    'permissions', access.token_permissions(u.id),
    'amr', s.amr,
    'auth_time', floor(extract(epoch from s.created_at)),
    'access_minutes', t.access_minutes,
    'session_expires_at', s.expires_at,
    'must_change_password', access.must_change(u, t),
    'password_expires_at', expiry,
    'password_expires_soon', coalesce(expiry <= now() + make_interval(days => t.password_warning_days), false));
end $$;
--> statement-breakpoint
-- A user as clients show them, with the roles that they are assigned now. `role` is the primary one, `users.role`, if it
-- is held and active, else the first of those that are. One statement, because me is what is asked most.
create or replace function access.profile(subject uuid) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select jsonb_build_object(
      'sub', u.id,
      'username', u.username,
      'email', u.email,
      'email_verified', u.email_verified,
      'given_name', u.given_name,
      'family_name', u.family_name,
      'role', h.role,
      'roles', h.roles,
      'is_active', u.is_active)
    from freehold.users u
      cross join lateral (
        select
          (array_agg(r.name order by r.name = u.role desc nulls last, ur.starts_at, r.name))[1] as role,
          coalesce(array_agg(distinct r.name), '{}') as roles
        from freehold.user_roles ur
          join freehold.role_periods p on p.role_id = ur.role_id
          join freehold.roles r on r.id = ur.role_id
        where ur.user_id = u.id
          and access.in_force(ur.starts_at, ur.ends_at, now())
          and access.in_force(p.starts_at, p.ends_at, now())
      ) h
    where u.id = subject);
end $$;
--> statement-breakpoint
-- The profile of the admitted user; null: nobody was admitted.
create or replace function access.me() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return access.profile((access.claims() ->> 'user_id')::uuid);
end $$;
--> statement-breakpoint
-- The caller as decisions see them: {sub, username, roles, permissions, session, api_key, key_expires_at}. One of
-- session and api_key is null. Volatile, so that it sees what the admission has noted in the same statement.
create or replace function access.who_am_i() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  u jsonb := access.profile((f ->> 'user_id')::uuid);
  s freehold.sessions;
  k freehold.api_keys;
begin
  select * into s from freehold.sessions x where x.id = (f ->> 'session_id')::uuid;
  select * into k from freehold.api_keys x where x.id = (f ->> 'key_id')::uuid;
  return case when u is not null then jsonb_build_object(
    'sub', u -> 'sub',
    'username', u -> 'username',
    'roles', u -> 'roles',
    'permissions', access.permissions_of((u ->> 'sub')::uuid, now()),
    'session', case when s.id is not null then jsonb_build_object(
      'id', s.id,
      'device', s.device,
      'address', s.address,
      'created_at', s.created_at,
      'last_active_at', s.last_active_at,
      'expires_at', s.expires_at) end,
    'api_key', case when k.id is not null then jsonb_build_object(
      'id', k.id,
      'prefix', k.prefix,
      'name', k.name,
      'permissions', k.permissions) end,
    'key_expires_at', k.expires_at) end;
end $$;
--> statement-breakpoint
-- {outcome: ok, claims} | {outcome: invalid | reused | inactive}. Of several requests at once the first makes the
-- successor, and the others find it. A deactivated user is told `inactive` even though the session ended with the
-- deactivation.
create or replace function access.refresh(tenant_id uuid, presented bytea, successor bytea, request jsonb) returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  r freehold.refresh_tokens;
  next_link freehold.refresh_tokens;
  s freehold.sessions;
  u freehold.users;
begin
  select x.* into s
  from freehold.refresh_tokens l
  join freehold.sessions x on x.id = l.session_id
  where l.token_hash = presented;
  select * into u from freehold.users x where x.id = s.user_id;
  if s.id is null then
    return jsonb_build_object('outcome', 'invalid');
  elsif not u.is_active then
    return jsonb_build_object('outcome', 'inactive');
  elsif s.ended_at is not null
    or s.expires_at <= now()
    or s.last_active_at <= now() - make_interval(days => t.idle_days)
  then
    return jsonb_build_object('outcome', 'invalid');
  elsif not access.has_role(u.id) then
    return jsonb_build_object('outcome', 'inactive');
  end if;
  update freehold.refresh_tokens l
  set used_at = clock_timestamp(), successor_hash = successor
  where l.token_hash = presented and l.used_at is null and l.expires_at > now()
  returning l.* into r;
  if r.token_hash is not null then
    insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
    values (successor, s.id, request ->> 'agent', s.expires_at);
  else
    select * into r from freehold.refresh_tokens l where l.token_hash = presented;
    if r.used_at is null then
      return jsonb_build_object('outcome', 'invalid');
    end if;
    select * into next_link from freehold.refresh_tokens l where l.token_hash = r.successor_hash;
    if r.successor_hash <> successor
      or next_link.used_at is not null
      or r.used_at < clock_timestamp() - interval '10 seconds'
      or next_link.device is distinct from request ->> 'agent'
    then
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
  end if;
  -- The session may have ended while this waited for the token's row.
  update freehold.sessions x set last_active_at = now()
  where x.id = s.id and x.ended_at is null
  returning x.* into s;
  if s.id is null then
    return jsonb_build_object('outcome', 'invalid');
  end if;
  return jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t));
end $$;
--> statement-breakpoint
-- A delegation is decided once, by a third user whose permission to do so does not come from one of the two, and is
-- revoked once. One that is over stays over.
create or replace function access.before_delegation_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if me is null then
    return new;
  elsif old.revoked_at is not null or old.decision = 'rejected' or old.ends_at <= now() then
    perform access.refuse('illegal_state', 'This delegation has ended.');
  elsif access.permission() = 'delegation:approve' then
    if not exists (
      select
      from unnest(access.reasons(me, 'delegation:approve', now())) s
      where s.holder not in (old.delegator_id, old.delegate_id)
    ) then
      perform access.refuse('forbidden', 'Neither the delegator nor the delegate can decide on a delegation.');
    elsif old.decision is not null then
      perform access.refuse('illegal_state', 'This delegation is not pending.');
    end if;
    new.decided_at := now();
    new.decided_by := me;
    new.revoked_at := null;
  else
    new.decision := old.decision;
    new.decided_at := old.decided_at;
    new.decided_by := old.decided_by;
    new.revoked_at := now();
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Refuses a change beyond the permission and scope of this transaction: of other columns, to another unit, or under
-- another manager. `was` is null for a new user.
create or replace function access.check_user_change(was freehold.users, is_now freehold.users) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  -- The columns that users may change of themselves, or of a delegator for whom they act, below scope `all`. Above
  -- all not the unit, from which the scopes team and department are measured.
  own text[] := '{given_name,family_name,phone,locale,timezone,preferences,description}';
  -- Columns that the database keeps itself.
  kept text[] := '{name,updated_at,email_verified,phone_verified}';
  changed text[];
begin
  if was.id is not null then
    if access.principal() = is_now.id and not is_now.is_active and was.is_active then
      perform access.refuse('illegal_state', 'You cannot deactivate yourself.');
    end if;
    select array_agg(n.key)
    into changed
    from jsonb_each(to_jsonb(is_now)) n
      join jsonb_each(to_jsonb(was)) o on o.key = n.key
    where n.value <> o.value
      and n.key <> all (kept);
    if access.permission() = 'user:delete' and (is_now.is_active or not changed <@ '{is_active}') then
      perform access.refuse('forbidden', 'user:delete deactivates a user and changes nothing else.');
    elsif access.scope() <> 'all'
      and (is_now.id = any (access.scope_owner_ids()) or is_now.id = access.principal())
      and not changed <@ own then
      perform access.refuse('forbidden', format('Another user must change %s here.',
        (select string_agg(c, ', ' order by c) from unnest(changed) c where c <> all (own))));
    end if;
  end if;
  if was.id = access.principal()
    and is_now.unit_id is distinct from was.unit_id
    and access.depends_on_unit(was.id) then
    perform access.refuse('forbidden', 'You cannot change your own unit: the scope of your permissions depends on it.');
  elsif access.scope() = 'all' then
    return;
  -- One source of the permission must reach both the old and the new unit: two delegations that each reach one of
  -- them do not add up.
  elsif is_now.unit_id is distinct from was.unit_id
    and is_now.unit_id is not null
    and not exists (
      select
      from unnest(access.reasons(access.principal(), access.permission(), now())) s
      where is_now.unit_id in (select access.units_in_scope(s.holder, s.scope))
        and (was.id is null or was.unit_id in (select access.units_in_scope(s.holder, s.scope)))
    ) then
    perform access.refuse('invalid_request', 'is not a unit that you can access', 'unit_id');
  elsif is_now.manager_id is distinct from was.manager_id
    and not exists (
      select
      from freehold.users u
      where u.id = is_now.manager_id
        and (u.id = any (access.scope_owner_ids()) or u.unit_id = any (access.scope_unit_ids()))
    )
    and is_now.manager_id is not null then
    perform access.refuse('invalid_request', 'is not a user whom you can access', 'manager_id');
  end if;
end $$;
--> statement-breakpoint
comment on function access.active_primary_role(freehold.users) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.grant_sources(uuid,text,timestamp with time zone) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.held() is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.held_roles(uuid,timestamp with time zone) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.my_roles() is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.role_ancestry(uuid[],timestamp with time zone) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.role_scope(uuid[],text,timestamp with time zone) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.sign_claims(jsonb) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.signature_of(text) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
revoke execute
  on function access.admit(uuid,jsonb,text,jsonb,boolean),
    access.answer(uuid,jsonb,text[]),
    access.answer_many(uuid,jsonb,text[]),
    access.bound(text),
    access.check_asked_names(jsonb),
    access.check_asked_users(uuid,jsonb),
    access.clear_lockout(freehold.lockouts),
    access.hmac(access.secrets,text),
    access.me(),
    access.own_reasons(uuid,text,timestamp with time zone),
    access.profile(uuid),
    access.proof_of(access.secrets,uuid),
    access.reaches_all(uuid,text),
    access.reasons(uuid,text,timestamp with time zone),
    access.who_am_i()
  from public;
--> statement-breakpoint
grant execute
  on function access.admit(uuid,jsonb,text,jsonb,boolean),
    access.claims(),
    access.me(),
    access.who_am_i()
  to freehold_app;
