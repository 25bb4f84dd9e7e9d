-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table access.kept_answers
--   creates table access.dropped_mails
--   creates table access.mail_counter
--   alters table freehold.login_attempts
--   alters table freehold.tenant
--   alters table freehold.audit_log
--   alters table freehold.registrations
--   alters table freehold.audit_checkpoints
--   alters table freehold.permissions
-- Definitions:
--   creates 67 objects
--   replaces 49 objects
--   drops and creates 20 objects
--   drops function access.active_primary_role
--   drops function access.grant_sources
--   drops function access.held
--   drops function access.held_roles
--   drops function access.my_roles
--   drops function access.role_ancestry
--   drops function access.role_scope
--   drops function access.sign_claims
--   drops function access.signature_of
-- Kept for the release before this one, and dropped by the next migration:
--   keeps function access.check_asked_names
--   keeps function access.check_asked_users
--   keeps function access.holds_more
--   keeps function access.import_users
--   keeps function access.record_import
--   keeps function access.register
--   keeps function access.too_many_requests
--   keeps function access.verify_email

set local check_function_bodies = off;
--> statement-breakpoint
drop trigger keep_registration_role on freehold.roles;
--> statement-breakpoint
drop function access.active_primary_role(freehold.users);
--> statement-breakpoint
drop function access.grant_sources(uuid,text,timestamp with time zone);
--> statement-breakpoint
drop function access.held();
--> statement-breakpoint
drop function access.held_roles(uuid,timestamp with time zone);
--> statement-breakpoint
drop function access.my_roles();
--> statement-breakpoint
drop function access.role_ancestry(uuid[],timestamp with time zone);
--> statement-breakpoint
drop function access.role_scope(uuid[],text,timestamp with time zone);
--> statement-breakpoint
drop function access.sign_claims(jsonb);
--> statement-breakpoint
drop function access.signature_of(text);
--> statement-breakpoint
drop function access.begin_login(uuid,text);
--> statement-breakpoint
drop function access.begin_password_change(uuid);
--> statement-breakpoint
drop function access.begin_reset(uuid,bytea);
--> statement-breakpoint
drop function access.finish_admin_reset(uuid,text,jsonb,boolean,bytea,text);
--> statement-breakpoint
drop function access.finish_login(uuid,uuid,text,text,bytea,jsonb);
--> statement-breakpoint
drop function access.finish_login_with_rehash(uuid,uuid,text,text,text,bytea,jsonb);
--> statement-breakpoint
drop function access.finish_password_change(uuid,uuid,text,text,jsonb);
--> statement-breakpoint
drop function access.finish_reset(uuid,bytea,text,jsonb,jsonb);
--> statement-breakpoint
drop function access.free_username(text);
--> statement-breakpoint
drop function access.import_user(jsonb);
--> statement-breakpoint
drop function access.must_hold(text[],access.scope[]);
--> statement-breakpoint
drop function access.must_hold_role(uuid);
--> statement-breakpoint
drop function access.phone_code(text,text);
--> statement-breakpoint
drop function access.record_refusal(uuid,jsonb,text,text,jsonb);
--> statement-breakpoint
drop function access.refresh(uuid,bytea,bytea,jsonb);
--> statement-breakpoint
drop function access.request_email_change(uuid,uuid,text,text,bytea,text);
--> statement-breakpoint
drop function access.send_token(freehold.users,text,text,bytea,integer,text,text);
--> statement-breakpoint
drop function access.user_must_hold(text[],access.scope[]);
--> statement-breakpoint
drop function access.verify_phone(text);
--> statement-breakpoint
-- A permission as it reaches from a place: around the `holder`. Without one the scope alone says how far.
create type access.placed as (permission text, scope access.scope, holder uuid);
--> statement-breakpoint
CREATE TABLE "access"."kept_answers" (
  "id" "bytea" PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "request_hash" "bytea" NOT NULL,
  "resource" json NOT NULL,
  "secrets_encrypted" text,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "access"."dropped_mails" (
  "id" uuid PRIMARY KEY NOT NULL,
  "kind" text NOT NULL,
  "channel" text NOT NULL,
  "reached" text NOT NULL,
  "trace_id" text,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "access"."mail_counter" (
  "one" boolean PRIMARY KEY DEFAULT true NOT NULL,
  "day" date NOT NULL,
  "by_strangers" integer NOT NULL,
  "by_others" integer NOT NULL,
  "notices" integer DEFAULT 0 NOT NULL,
  CONSTRAINT "mail_counter_is_one" CHECK ("access"."mail_counter"."one")
);
--> statement-breakpoint
ALTER TABLE "freehold"."login_attempts" DROP CONSTRAINT "login_attempts_state";
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" DROP CONSTRAINT "tenant_settings";
--> statement-breakpoint
DROP INDEX "freehold"."users_role_username";
--> statement-breakpoint
ALTER TABLE "freehold"."audit_log" ALTER COLUMN "at" SET DEFAULT clock_timestamp();
--> statement-breakpoint
ALTER TABLE "freehold"."registrations" ALTER COLUMN "password_hash" DROP NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."audit_checkpoints" ADD COLUMN "oldest_xid" bigint;
--> statement-breakpoint
ALTER TABLE "freehold"."audit_checkpoints" ADD COLUMN "next_xid" bigint;
--> statement-breakpoint
ALTER TABLE "freehold"."registrations" ADD COLUMN "secret_hash" "bytea";
--> statement-breakpoint
ALTER TABLE "freehold"."registrations" ADD COLUMN "is_mailed" boolean DEFAULT true NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."permissions" ADD COLUMN "is_administrative" boolean GENERATED ALWAYS AS (split_part(name, ':', 1) in ('user', 'role', 'permission', 'session', 'api_key', 'setting', 'unit', 'delegation', 'organization', 'invitation', 'activity', 'tenant')) STORED NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "mail_per_recipient_hour" integer DEFAULT 5 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "mail_per_day" integer DEFAULT 2000 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "max_delegations" integer DEFAULT 50 NOT NULL;
--> statement-breakpoint
CREATE INDEX "kept_answers_created" ON "access"."kept_answers" USING btree ("created_at");
--> statement-breakpoint
CREATE INDEX "audit_log_action" ON "freehold"."audit_log" USING btree ("action","at","id") WHERE "freehold"."audit_log"."checkpoint" is not null;
--> statement-breakpoint
CREATE INDEX "audit_log_trace" ON "freehold"."audit_log" USING btree ("trace_id","at","id") WHERE "freehold"."audit_log"."checkpoint" is not null;
--> statement-breakpoint
CREATE INDEX "login_attempts_foreign" ON "freehold"."login_attempts" USING btree ("created_at") WHERE strpos("freehold"."login_attempts"."hash_parameters", ',next=') > 0 and "freehold"."login_attempts"."state" <> 'deferred';
--> statement-breakpoint
CREATE INDEX "mails_recipient" ON "freehold"."mails" USING btree ((case when channel = 'sms' then regexp_replace(recipient, '[^0-9]', '', 'g') else recipient end),"created_at");
--> statement-breakpoint
CREATE INDEX "users_terminated" ON "freehold"."users" USING btree ("terminated_at") WHERE "freehold"."users"."is_active" and "freehold"."users"."terminated_at" is not null;
--> statement-breakpoint
ALTER TABLE "freehold"."login_attempts" ADD CONSTRAINT "login_attempts_state" CHECK ("freehold"."login_attempts"."state" in ('pending', 'refused', 'deferred', 'succeeded', 'failed'));
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_settings" CHECK ("freehold"."tenant"."max_failures" between 1 and 100 and "freehold"."tenant"."lock_minutes" between 1 and 1440 and "freehold"."tenant"."idle_days" between 1 and 365
        and "freehold"."tenant"."session_days" between 1 and 365 and "freehold"."tenant"."max_sessions" between 1 and 1000 and "freehold"."tenant"."access_minutes" between 5 and 10080
        and "freehold"."tenant"."password_days" between 0 and 3650 and "freehold"."tenant"."password_warning_days" between 0 and 365 and "freehold"."tenant"."password_min_length" between 8 and 64
        and "freehold"."tenant"."password_max_length" between 64 and 1024 and "freehold"."tenant"."password_unique" between 1 and 32 and "freehold"."tenant"."password_history" between 0 and 24
        and "freehold"."tenant"."max_delegations" between 1 and 200 and "freehold"."tenant"."mail_per_recipient_hour" between 1 and 20 and "freehold"."tenant"."mail_per_day" between 1 and 50000);
--> statement-breakpoint
alter table access.kept_answers enable row level security;
--> statement-breakpoint
alter table access.dropped_mails enable row level security;
--> statement-breakpoint
alter table access.mail_counter enable row level security;
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
  if not access.is_present(u) then
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
-- Records a refusal, after the answer. It believes nothing but the request: the user is the one of the session or of
-- the key, if these are real. It takes the system's key, or somebody with the app login could fill the audit.
create or replace function access.record_refusal(
  tenant_id uuid,
  system_key text,
  credential jsonb,
  code text,
  permission text,
  request jsonb
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  subject freehold.users;
  k freehold.api_keys;
begin
  perform access.check_system(tenant_id, system_key);
  if credential ? 'key' then
    select x.* into k
    from freehold.api_keys x
    where x.key_hash = decode(credential ->> 'key', 'hex')
      and x.revoked_at is null
      and (x.expires_at is null or x.expires_at > now());
    select u.* into subject from freehold.users u where u.id = k.user_id;
  else
    select u.* into subject
    from freehold.sessions s
      join freehold.users u on u.id = s.user_id
    where s.id = (credential ->> 'session_id')::uuid
      and u.id = (credential ->> 'user_id')::uuid
      and s.ended_at is null
      and credential ->> 'proof' = access.session_proof(s.id);
  end if;
  perform access.set_audit_actor(subject.id, subject.username, request);
  perform access.record(
    case code when 'token_wrong_tenant' then 'SUSPICIOUS_ACTIVITY' else 'ACCESS_REFUSED' end,
    'refuse',
    'request',
    null,
    null,
    jsonb_build_object('code', left(code, 64), 'permission', left(permission, 128))
      || case when k.id is null then '{}' else jsonb_build_object('api_key_id', k.id) end,
    case code when 'token_wrong_tenant' then 50 else 10 end
  );
end $$;
--> statement-breakpoint
-- The checks, with null for each user whom the caller does not reach with user:read.
create or replace function access.without_strangers(me uuid, checks jsonb) returns jsonb
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
--> statement-breakpoint
-- Answers one check about a user for one permission, with at most 50 reasons: those for it, or that what the user holds
-- does not reach the resource. access.why_not adds the other reasons against it. `names`: what an API key leaves of what
-- the user holds; null: everything.
create or replace function access.answer(subject uuid, asked jsonb, names text[]) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  there jsonb := nullif(asked -> 'resource', 'null');
  r access.reason;
  widest access.scope;
  because jsonb[] := '{}';
  is_held boolean := false;
begin
  foreach r in array access.reasons(subject, asked ->> 'permission', now()) loop
    continue when asked ->> 'permission' <> all (names);
    is_held := true;
    if there is null
      or r.scope = 'all'
      or r.holder = (there ->> 'owner_id')::uuid
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
--> statement-breakpoint
-- Answers up to a hundred checks, {user_id?, permission | any_of | role, resource?: {owner_id?, unit_id?}}, in order
-- with {allowed, scope, because, error?}. Any user may ask about themselves, and about others whom they reach with
-- user:read.
create or replace function access.ask(checks jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  me uuid := f ->> 'user_id';
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
    answers := access.answer_many(me, asked, names);
  else
    for n in 0 .. jsonb_array_length(asked) - 1 loop
      subject := case when asked -> n ? 'user_id' then (asked -> n ->> 'user_id')::uuid else me end;
      answers := answers || access.answer(
        subject,
        asked -> n,
        case when subject = me then names when not access.was_active(subject, now()) then '{}' end);
    end loop;
  end if;
  -- What somebody holds exists: access.before_permission lets nothing be deleted that is in use. Of an `any_of`, the
  -- rest may not exist.
  if answers @? '$[*] ? (@.allowed == false)' or asked @? '$[*].any_of' then
    return access.why_not(me, asked, answers, names);
  end if;
  return answers;
end $$;
--> statement-breakpoint
-- The answers to any number of checks, roles too, in one statement; its plan is kept, because it takes longer to make
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
      cross join lateral access.user_grants(p.subject, now(), p.permissions) y
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
  -- Where the holders are, and the units that are asked about with what is above them.
  home as materialized (
    select u.id as holder, u.unit_id, access.department_over(u.unit_id) as department_id
    from (select distinct g.holder from g where g.scope in ('team', 'department')) x
      join freehold.users u on u.id = x.holder and u.unit_id is not null
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
    where r.scope = 'all' or c.owner_id = r.holder or f.unit_id is not null
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
-- The actor for the audit, and what the request says of itself: the admitted user, else the one that a public
-- endpoint named, else nobody, which is the system. Of the system the trace id of its run is known, if it was set
-- (src/kernel/db.ts); nobody signs it, as it decides nothing.
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
  return coalesce(
    f - 'request' || access.request_of(f -> 'request'),
    jsonb_strip_nulls(jsonb_build_object('trace_id', left(nullif(current_setting('access.trace_id', true), ''), 64)))
  );
end $$;
--> statement-breakpoint
-- Why a user holds a permission at a moment, by themselves or because somebody delegated it to them and still holds
-- it. A denial of the user wins over what is delegated to them, too. What is delegated cannot be delegated on: only
-- what the delegator holds themselves counts.
create or replace function access.reasons(subject uuid, permission text, moment timestamptz) returns access.reason[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  why access.reason[] := access.own_reasons(subject, permission, moment);
begin
  if why is null then
    return '{}';
  elsif not exists (
    select from freehold.delegations x
    where x.delegate_id = subject and access.in_force(x.starts_at, x.ends_at, moment))
  then
    return why;
  end if;
  return why || array(
    select row(g.scope, 'delegation', g.id, g.name, g.via, g.holder)::access.reason
    from access.delegated(subject, moment, array[permission]) g);
end $$;
--> statement-breakpoint
-- The delegations that count for a delegate at a moment: approved, in force, of a delegator who was active and held
-- the role that is delegated; of several of one delegator for one role, the oldest. `offset 0`, here and below, goes
-- from a few users and roles to what they hold by the index, however many a recursion is thought to find.
create or replace function access.delegations_to(subject uuid, moment timestamptz)
returns table (id uuid, delegator_id uuid, role_id uuid)
language plpgsql stable rows 10 set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
begin
  return query
    with recursive d as materialized (
      select distinct on (x.delegator_id, coalesce(x.role_id, x.id)) x.id, x.delegator_id, x.role_id
      from freehold.delegations x
      where x.delegate_id = subject
        and access.in_force(x.starts_at, x.ends_at, moment)
        and x.decision = 'approved'
        and access.in_force(x.decided_at, x.revoked_at, moment)
      order by x.delegator_id, coalesce(x.role_id, x.id), x.starts_at, x.id
    ),
    active as materialized (
      select w.id, w.has_role
      from (select y.delegator_id as id, bool_or(y.role_id is not null) as has_role from d y group by y.delegator_id) w
        cross join lateral (
          select from freehold.user_periods p
          where p.user_id = w.id and access.in_force(p.starts_at, p.ends_at, moment)
          offset 0) p
    ),
    held (user_id, role_id, parent_id) as (
      select a.id, p.role_id, p.parent_id
      from active a
        cross join lateral (
          select ur.role_id
          from freehold.user_roles ur
          where ur.user_id = a.id and access.in_force(ur.starts_at, ur.ends_at, moment)
          offset 0) ur
        join freehold.role_periods p on p.role_id = ur.role_id
      where a.has_role and access.in_force(p.starts_at, p.ends_at, moment)
      union
      select h.user_id, p.role_id, p.parent_id
      from held h
        join freehold.role_periods p on p.role_id = h.parent_id
      where access.in_force(p.starts_at, p.ends_at, moment)
    )
    select d.id, d.delegator_id, d.role_id
    from d
      join active a on a.id = d.delegator_id
    where d.role_id is null
      or (d.delegator_id, d.role_id) in (select h.user_id, h.role_id from held h);
end $$;
--> statement-breakpoint
-- What these delegate, as far as their delegators held it themselves at that moment; of the `wanted` permissions, or
-- of all (null). `name`: the delegator; `via`: the role. A role is held with everything that it carries, but for what
-- its delegator is denied. What the delegate is denied is left to the caller.
create or replace function access.delegated(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, id uuid, name text, via text, holder uuid)
language plpgsql stable rows 10 set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
begin
  return query
    with recursive d as materialized (
      select x.id, x.delegator_id, x.role_id, u.username as name, r.name as via
      from access.delegations_to(subject, moment) x
        join freehold.users u on u.id = x.delegator_id
        left join freehold.roles r on r.id = x.role_id
    ),
    overridden as materialized (
      select w.delegator_id, o.permission, o.effect, o.scope
      from (select distinct x.delegator_id from d x) w
        cross join lateral (
          select y.permission, y.effect, y.scope::access.scope
          from freehold.overrides y
          where y.user_id = w.delegator_id and access.in_force(y.starts_at, y.ends_at, moment)
          offset 0) o
    ),
    -- What the delegated roles carry.
    content as materialized (
      select r.role_id, g.permission, max(g.scope) as scope
      from (select distinct x.role_id from d x where x.role_id is not null) r
        cross join lateral access.role_grants(r.role_id, moment, wanted) g
      group by r.role_id, g.permission
    ),
    -- The permissions that were delegated by name, and what their delegators hold of them.
    chosen as materialized (
      select distinct on (x.delegator_id, p.permission) x.id, x.delegator_id, x.name, p.permission
      from d x
        cross join lateral (
          select y.permission from freehold.delegation_permissions y where y.delegation_id = x.id offset 0) p
      where x.role_id is null and (wanted is null or p.permission = any (wanted))
      order by x.delegator_id, p.permission, x.id
    ),
    held (user_id, role_id, parent_id) as (
      select w.delegator_id, p.role_id, p.parent_id
      from (select distinct c.delegator_id from chosen c) w
        cross join lateral (
          select ur.role_id
          from freehold.user_roles ur
          where ur.user_id = w.delegator_id and access.in_force(ur.starts_at, ur.ends_at, moment)
          offset 0) ur
        join freehold.role_periods p on p.role_id = ur.role_id
      where access.in_force(p.starts_at, p.ends_at, moment)
      union
      select h.user_id, p.role_id, p.parent_id
      from held h
        join freehold.role_periods p on p.role_id = h.parent_id
      where access.in_force(p.starts_at, p.ends_at, moment)
    ),
    carried as materialized (
      select r.role_id, c.permission, c.scope
      from (select distinct h.role_id from held h) r
        cross join lateral (
          select y.permission, y.scope::access.scope
          from freehold.role_permissions y
          where y.role_id = r.role_id and access.in_force(y.starts_at, y.ends_at, moment)
          union all
          select y.name, 'all'
          from freehold.permissions y
          where access.in_force(y.created_at, y.deleted_at, moment)
            and r.role_id = (select z.id from freehold.roles z where z.is_admin)
          offset 0) c
      where wanted is null or c.permission = any (wanted)
    ),
    own (delegator_id, permission, scope) as (
      select h.user_id, k.permission, k.scope
      from held h
        join carried k on k.role_id = h.role_id
      union all
      select o.delegator_id, o.permission, o.scope from overridden o where o.effect = 'grant'
    ),
    found (permission, scope, id, name, via, holder) as (
      select c.permission, c.scope, x.id, x.name, x.via, x.delegator_id
      from d x
        join content c on c.role_id = x.role_id
      union all
      select c.permission, max(o.scope), c.id, c.name, null, c.delegator_id
      from chosen c
        join own o on o.delegator_id = c.delegator_id and o.permission = c.permission
      group by c.permission, c.id, c.name, c.delegator_id
    )
    select f.permission, f.scope, f.id, f.name, f.via, f.holder
    from found f
    where not exists (
      select from overridden o
      where o.delegator_id = f.holder and o.permission = f.permission and o.effect = 'deny');
end $$;
--> statement-breakpoint
-- A unit and everything under it.
create or replace function access.units_under(unit uuid) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive tree (id) as (
    select unit where unit is not null
    union
    select u.id from tree t join freehold.units u on u.parent_id = t.id
  )
  select id from tree
$$;
--> statement-breakpoint
-- The units that a scope reaches from where a user is. team: their unit; department: the nearest department above,
-- and everything under it.
create or replace function access.units_in_scope(subject uuid, scope access.scope) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.units_under(access.department_over(p.unit_id))
  from freehold.users p
  where p.id = subject and units_in_scope.scope = 'department'
  union
  select p.unit_id
  from freehold.users p
  where p.id = subject and p.unit_id is not null and units_in_scope.scope in ('team', 'department')
$$;
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
  select max(r.scope), coalesce(array_agg(distinct r.holder), '{}') into scope, owners from unnest(why) r;
  if exists (select from unnest(why) r where r.scope in ('team', 'department')) then
    -- Once for each department, however many delegators are in it.
    units := array(
      select u.unit_id
      from unnest(why) r
        join freehold.users u on u.id = r.holder
      where r.scope in ('team', 'department') and u.unit_id is not null
      union
      select access.units_under(d.id)
      from (
        select distinct access.department_over(u.unit_id) as id
        from unnest(why) r
          join freehold.users u on u.id = r.holder
        where r.scope = 'department'
      ) d
      where d.id is not null);
  end if;
end $$;
--> statement-breakpoint
-- What a user could do at a moment, with at most 50 reasons for each permission, the widest first, and what they were
-- denied: {user_id, at, roles, permissions, denials}. null: the caller reaches no such user. That somebody looked at
-- another user's permissions is recorded.
create or replace function access.explain(subject uuid, asked timestamptz) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := access.past_or_now(asked);
  names text[] := access.key_permissions(subject);
begin
  if access.permission() is distinct from 'user:read' or access.can_access_user(subject) is not true then
    return null;
  end if;
  if subject is distinct from access.principal() then
    perform access.record('PERMISSIONS_READ', 'read', 'user', subject::text, null, jsonb_build_object('at', moment));
  end if;
  return jsonb_build_object(
    'user_id', subject,
    'at', to_char(moment at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'roles', case when access.was_active(subject, moment) then to_jsonb(access.role_names(subject, moment)) else '[]' end,
    'permissions', coalesce(
      (
        select jsonb_agg(
          jsonb_build_object('permission', x.permission, 'scope', x.scope, 'because', x.because) order by x.permission)
        from (
          select
            g.permission,
            max(g.scope) as scope,
            jsonb_agg(
              access.reason_for(g.kind, g.id, g.name, g.via) || jsonb_build_object('scope', g.scope) order by g.place
            ) filter (where g.place <= 50) as because
          from (
            select y.permission, y.scope, y.kind, y.id, y.name, y.via,
              row_number() over (partition by y.permission order by y.scope desc, y.id, y.via) as place
            from (select distinct z.permission, z.scope, z.kind, z.id, z.name, z.via from access.grants(subject, moment) z) y
          ) g
          group by g.permission
        ) x
      ),
      '[]'),
    'denials', coalesce(
      (
        select jsonb_agg(jsonb_build_object('permission', x.permission, 'because', x.because) order by x.permission)
        from (
          select o.permission, jsonb_agg(access.reason_against('override', o.id, o.permission) order by o.id) as because
          from freehold.overrides o
          where o.user_id = subject
            and o.effect = 'deny'
            and access.in_force(o.starts_at, o.ends_at, moment)
            and (names is null or o.permission = any (names))
          group by o.permission
        ) x
      ),
      '[]')
  );
end $$;
--> statement-breakpoint
-- Who could do something at a moment, among those whom the caller reaches; ordered by id, after one of them.
create or replace function access.holders(permission text, asked timestamptz, after uuid, at_most integer)
returns table (user_id uuid, username text, scope access.scope)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := access.past_or_now(asked);
begin
  if access.permission() is distinct from 'permission:read'
    or not exists (select from freehold.permissions p where p.name = holders.permission)
  then
    perform access.refuse('not_found', 'There is no such permission.');
  end if;
  return query
    with recursive carrying (role_id) as (
      select rp.role_id
      from freehold.role_permissions rp
      where rp.permission = holders.permission and access.in_force(rp.starts_at, rp.ends_at, moment)
      union
      select r.id from freehold.roles r where r.is_admin
      union
      select p.role_id
      from carrying c
        join freehold.role_periods p on p.parent_id = c.role_id and access.in_force(p.starts_at, p.ends_at, moment)
    ),
    candidates (id) as (
      select ur.user_id
      from carrying c
        join freehold.user_roles ur on ur.role_id = c.role_id
      where access.in_force(ur.starts_at, ur.ends_at, moment)
      union
      select o.user_id
      from freehold.overrides o
      where o.permission = holders.permission
        and o.effect = 'grant'
        and access.in_force(o.starts_at, o.ends_at, moment)
      union
      select d.delegate_id
      from freehold.delegations d
      where access.in_force(d.starts_at, d.ends_at, moment)
        and (
          d.role_id in (select c.role_id from carrying c)
          or d.role_id is null and exists (
            select from freehold.delegation_permissions p
            where p.delegation_id = d.id and p.permission = holders.permission))
    )
    select u.id, u.username, d.scope
    from (select x.id from candidates x where after is null or x.id > after order by x.id) c
      join freehold.users u on u.id = c.id
      cross join lateral (select access.decide(u.id, holders.permission, moment) as scope) d
    where d.scope is not null
      and access.was_active(u.id, moment)
      and (
        (select access.scope()) = 'all'
        or u.id = any ((select access.scope_owner_ids())::uuid[])
        or u.unit_id = any ((select access.scope_unit_ids())::uuid[]))
    order by u.id
    limit at_most;
end $$;
--> statement-breakpoint
-- What a user holds, with what others delegated to them and hold themselves. `holder`: around whom it reaches.
create or replace function access.user_grants(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, kind text, id uuid, name text, via text, holder uuid)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select g.permission, g.scope, g.kind, g.id, g.name, g.via, subject
  from access.own_grants(subject, moment, wanted) g
  where access.was_active(subject, moment)
  union all
  select g.permission, g.scope, 'delegation', g.id, g.name, g.via, g.holder
  from access.delegated(subject, moment, wanted) g
  where access.was_active(subject, moment)
    and g.permission not in (select access.denied_permissions(subject, moment))
$$;
--> statement-breakpoint
-- The same, with what the API key of this transaction leaves of it. `offset 0` asks for that once and not for each row.
create or replace function access.grants(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, scope access.scope, kind text, id uuid, name text, via text, holder uuid)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select g.*
  from (select access.key_permissions(subject) as names offset 0) n
    cross join lateral access.user_grants(subject, moment, wanted) g
  where n.names is null or g.permission = any (n.names)
$$;
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
    delegated := array(select distinct g.permission from access.delegated(subject, moment) g);
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
      from unnest(held) with ordinality h (name, place)
        join freehold.permissions p on p.name = h.name
      order by not p.is_administrative, h.place
      limit 100) x
    order by x.name);
end $$;
--> statement-breakpoint
-- Refuses when the admitted user does not hold each permission as far as it is handed out, there where the
-- `receivers` are; without receivers the names of the scopes are compared.
create or replace function access.user_must_hold(permissions text[], scopes access.scope[], receivers uuid[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  lacks access.placed;
begin
  if access.principal() is null then
    return;
  end if;
  lacks := access.lacking(
    array(
      select row(n.permission, n.scope, case when n.scope in ('team', 'department') then r.id end)::access.placed
      from unnest(permissions, scopes) as n (permission, scope)
        left join access.one_of_each_unit(receivers) r (id) on true),
    null);
  if lacks.holder is not null then
    perform access.refuse(
      'forbidden',
      format('You do not hold %s in all units that it would reach at scope %s, so you cannot grant it.',
        lacks.permission, lacks.scope));
  elsif lacks.permission is not null then
    perform access.refuse(
      'forbidden',
      format('You do not hold %s at scope %s, so you cannot grant it.', lacks.permission, lacks.scope));
  end if;
end $$;
--> statement-breakpoint
-- The same, also for what the API key of this transaction names.
create or replace function access.must_hold(permissions text[], scopes access.scope[], receivers uuid[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_key_permission(permissions), access.user_must_hold(permissions, scopes, receivers);
end $$;
--> statement-breakpoint
-- Refuses to hand out a role that carries more than the admitted user holds.
create or replace function access.must_hold_role(role uuid, receivers uuid[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  needed record;
begin
  if access.principal() is null then
    return;
  end if;
  select array_agg(g.permission) as permissions, array_agg(g.scope) as scopes into needed
  from access.role_content(role) g;
  perform access.must_hold(needed.permissions, needed.scopes, receivers);
end $$;
--> statement-breakpoint
-- The permissions that the admitted user holds at scope `all`, as far as their API key goes and as they held them
-- before this transaction; with what was delegated to them by others than `subjects`, unless that is null.
create or replace function access.held_everywhere(subjects uuid[]) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  before timestamptz := now() - interval '1 microsecond';
begin
  -- Administrators ask most often, and hold so much that looking at all of it takes milliseconds.
  if access.key() is null
    and exists (
      select
      from freehold.user_roles ur
        join freehold.roles r on r.id = ur.role_id and r.is_admin
        join freehold.role_periods p on p.role_id = r.id
      where ur.user_id = me
        and access.in_force(ur.starts_at, ur.ends_at, before)
        and access.in_force(p.starts_at, p.ends_at, before))
    and not exists (select from freehold.overrides o where o.user_id = me)
  then
    return array(select p.name from freehold.permissions p);
  end if;
  return array(
    select distinct h.permission
    from access.held_where(null, subjects) h
    where h.scope = 'all');
end $$;
--> statement-breakpoint
-- What the admitted user holds, and around whom, as far as their API key goes and as they held it before this
-- transaction: of the `wanted` permissions, or of all (null); with what was delegated to them by others than
-- `subjects`, unless that is null. What somebody delegated does not count against themselves.
create or replace function access.held_where(wanted text[], subjects uuid[]) returns setof access.placed
language sql stable set search_path = pg_catalog, pg_temp as $$
  select distinct h.permission, h.scope, h.holder
  from (
    select g.permission, g.scope, access.principal() as holder
    from access.own_grants(access.principal(), now() - interval '1 microsecond', wanted) g
    union all
    select g.permission, g.scope, g.holder
    from access.user_grants(access.principal(), now() - interval '1 microsecond', wanted) g
    where subjects is not null and g.kind = 'delegation' and g.holder <> all (subjects)
  ) h
    cross join (select access.key_permissions(access.principal()) as names) k
  where k.names is null or h.permission = any (k.names)
$$;
--> statement-breakpoint
-- The first of the permissions in `needed` that the admitted user does not hold as far; null: they hold all of them. A
-- permission is held as far as another at scope `all`, or when it reaches each unit that the other reaches around its
-- `holder`, and the holder; without a holder when its scope is as wide. `subjects` as above.
create or replace function access.lacking(needed access.placed[], subjects uuid[]) returns access.placed
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  mine access.placed[];
  remaining access.placed[];
  lacks access.placed;
begin
  if access.principal() is null or cardinality(needed) = 0 then
    return null;
  end if;
  mine := array(
    select h::access.placed
    from access.held_where(array(select distinct n.permission from unnest(needed) n), subjects) h);
  remaining := array(
    select distinct n::access.placed
    from unnest(needed) n
    where n.permission not in (select m.permission from unnest(mine) m where m.scope = 'all'));
  if cardinality(remaining) = 0 then
    return null;
  end if;
  -- Who holds none of it anywhere is told so before places are measured.
  select n.permission, n.scope, n.holder
  into lacks
  from unnest(remaining) n
  where n.scope = 'all' or n.permission not in (select m.permission from unnest(mine) m)
  order by n.permission, n.scope
  limit 1;
  if found then
    return lacks;
  end if;
  with places as materialized (
    select p.holder, p.scope, u.unit_id, array(select access.units_in_scope(p.holder, p.scope)) as units
    from (
      select m.holder, m.scope from unnest(mine) m
      union
      select n.holder, n.scope from unnest(remaining) n where n.holder is not null
    ) p
      join freehold.users u on u.id = p.holder
  ),
  reach as (
    select m.permission, max(m.scope) as scope, array_agg(m.holder) as owners,
      array(
        select distinct x.unit
        from unnest(mine) o
          join places p on p.holder = o.holder and p.scope = o.scope
          cross join lateral unnest(p.units) x (unit)
        where o.permission = m.permission) as units
    from unnest(mine) m
    group by m.permission
  )
  select n.permission, n.scope, n.holder
  into lacks
  from unnest(remaining) n
    join reach r on r.permission = n.permission
    left join places p on p.holder = n.holder and p.scope = n.scope
  where case
    when n.holder is null then r.scope < n.scope
    else not (p.units <@ r.units and (n.holder = any (r.owners) or coalesce(p.unit_id = any (r.units), false)))
  end
  order by n.permission, n.scope
  limit 1;
  return lacks;
end $$;
--> statement-breakpoint
-- One of these users for each unit that they are in: a scope that is measured from a unit reaches the same from all
-- users in it. Those without a unit reach nobody else's.
create or replace function access.one_of_each_unit(subjects uuid[]) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select distinct on (u.unit_id) u.id
  from freehold.users u
  where u.id = any (subjects) and u.unit_id is not null
  order by u.unit_id, u.id
$$;
--> statement-breakpoint
-- What users hold, or will, of the `wanted` permissions: by roles, active or not, by grants, denied or not, and by
-- delegations that are not over, as far as their delegators hold it, or will. Each permission as it reaches around its
-- holder; without a holder: around the user, who is in no unit, or at scope `own` or `all`.
create or replace function access.potential_grants(subjects uuid[], wanted text[]) returns setof access.placed
language sql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
  with delegated as materialized (
    select distinct d.delegator_id, d.role_id, case when d.role_id is null then d.id end as delegation_id
    from freehold.delegations d
    where d.delegate_id = any (subjects)
      and d.ends_at > now()
      and d.revoked_at is null
      and d.decision is distinct from 'rejected'
  ),
  -- Of the subjects one for each unit and role; the delegators each for themselves.
  held as materialized (
    select ur.role_id, u.unit_id, (array_agg(u.id))[1] as holder, null::uuid as delegator_id
    from freehold.user_roles ur
      join freehold.users u on u.id = ur.user_id
    where ur.user_id = any (subjects) and (ur.ends_at is null or ur.ends_at > now())
    group by ur.role_id, u.unit_id
    union all
    select ur.role_id, null, null, ur.user_id
    from freehold.user_roles ur
    where ur.user_id in (select d.delegator_id from delegated d) and (ur.ends_at is null or ur.ends_at > now())
  ),
  content as materialized (
    select r.role_id, c.permission, max(c.scope) as scope
    from (select h.role_id from held h union select d.role_id from delegated d where d.role_id is not null) r
      cross join lateral access.role_content(r.role_id) c
    where c.permission in (select unnest(wanted))
    group by r.role_id, c.permission
  ),
  granted as materialized (
    select o.user_id, o.permission, o.scope::access.scope as scope
    from freehold.overrides o
    where (o.user_id = any (subjects) or o.user_id in (select d.delegator_id from delegated d))
      and o.effect = 'grant'
      and (o.ends_at is null or o.ends_at > now())
      and o.permission in (select unnest(wanted))
  ),
  of_delegator as materialized (
    select x.delegator_id, x.permission, max(x.scope) as scope
    from (
      select h.delegator_id, c.permission, c.scope
      from held h
        join content c on c.role_id = h.role_id
      where h.delegator_id is not null
      union all
      select g.user_id, g.permission, g.scope from granted g
    ) x
    group by x.delegator_id, x.permission
  )
  select c.permission, c.scope, case when c.scope in ('team', 'department') and h.unit_id is not null then h.holder end
  from held h
    join content c on c.role_id = h.role_id
  where h.delegator_id is null
  union
  select g.permission, g.scope, case when g.scope in ('team', 'department') and u.unit_id is not null then u.id end
  from granted g
    join freehold.users u on u.id = g.user_id
  where u.id = any (subjects)
  union
  select c.permission, least(c.scope, g.scope), case when least(c.scope, g.scope) <> 'all' then d.delegator_id end
  from delegated d
    cross join lateral (
      select x.permission, x.scope from content x where x.role_id = d.role_id
      union all
      select p.permission, 'all' from freehold.delegation_permissions p where p.delegation_id = d.delegation_id
    ) c
    join of_delegator g on g.delegator_id = d.delegator_id and g.permission = c.permission
$$;
--> statement-breakpoint
-- Refuses when the admitted user does not hold everything that another one holds. What was delegated to the admitted
-- user does not count: it ends, and the account would stay theirs.
create or replace function access.require_all_of(subject uuid) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  everywhere text[] := access.held_everywhere(null);
  wanted text[] := array(select p.name from freehold.permissions p where p.name <> all (everywhere));
  lacks access.placed;
begin
  if access.principal() is null or access.principal() = subject or cardinality(wanted) = 0 then
    return;
  end if;
  lacks := access.lacking(
    array(select g::access.placed from access.potential_grants(array[subject], wanted) g),
    null);
  if lacks.permission is not null then
    perform access.refuse('forbidden',
      'This user holds more permissions than you: you cannot change how they log in.');
  end if;
end $$;
--> statement-breakpoint
-- Refuses when one of these users has power over others that the admitted user does not have; of the power that is
-- held at scope `measured`, when it is given.
create or replace function access.require_power_of(subjects uuid[], measured access.scope default null) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  others uuid[] := array_remove(subjects, access.principal());
  everywhere text[];
  wanted text[];
  lacks access.placed;
begin
  if access.principal() is null or coalesce(cardinality(others), 0) = 0 then
    return;
  end if;
  -- First by itself: in the query it would be called for each permission.
  everywhere := access.held_everywhere(others);
  wanted := array(select p.name from freehold.permissions p where p.is_administrative and p.name <> all (everywhere));
  if cardinality(wanted) = 0 then
    return;
  end if;
  lacks := access.lacking(
    array(
      select g::access.placed
      from access.potential_grants(others, wanted) g
      where g.scope > 'own' and (measured is null or g.scope = measured)),
    others);
  if lacks.permission is not null and access.key() is null then
    perform access.refuse('forbidden',
      'This changes a user with administrative permissions that you do not hold as far as they do.');
  elsif lacks.permission is not null then
    perform access.refuse('forbidden',
      'This changes a user with administrative permissions that you or this API key do not hold as far as they do.');
  end if;
end $$;
--> statement-breakpoint
-- Everybody who holds a role, now or later, also through a role that inherits from it or by a delegation.
create or replace function access.holders_of(role uuid) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (id) as (
    select role
    union
    select r.id from line l join freehold.roles r on r.parent_id = l.id
  )
  select array(
    select ur.user_id
    from line l
      join freehold.user_roles ur on ur.role_id = l.id
    where ur.ends_at is null or ur.ends_at > now()
    union
    select d.delegate_id
    from line l
      join freehold.delegations d on d.role_id = l.id
    where d.ends_at > now() and d.revoked_at is null and d.decision is distinct from 'rejected')
$$;
--> statement-breakpoint
-- Refuses with `forbidden` what the caller can read and the permission of this transaction does not reach. What they
-- cannot read is left to the verb, which finds nothing. `subject`: whose override, assignment (`thing`: the role) or API
-- key it is. Called in the first statement after the admission.
create or replace function access.require_reach(resource text, thing uuid, subject uuid default null) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  far record;
  owner uuid;
  unit uuid;
begin
  if me is null or access.scope() = 'all' then
    return;
  elsif resource in ('role', 'permission') then
    -- They are nobody's: whoever reads one reads all of them, and they are changed at scope `all` alone.
    if not exists (
      select from freehold.roles r where r.id = thing and r.deleted_at is null and resource = 'role'
      union all
      select from freehold.permissions p where p.id = thing and p.deleted_at is null and resource = 'permission'
    ) then
      return;
    end if;
  elsif resource = 'unit' then
    select x.id into unit from freehold.units x where x.id = thing;
  else
    select u.id, u.unit_id
    into owner, unit
    from freehold.users u
    where u.id = case resource
      when 'user' then thing
      when 'session' then (select s.user_id from freehold.sessions s where s.id = thing and s.ended_at is null)
      when 'delegation' then (select d.delegator_id from freehold.delegations d where d.id = thing and d.delegate_id <> me)
      when 'api_key' then (
        select k.user_id from freehold.api_keys k
        where k.id = thing and k.user_id = subject and k.revoked_at is null)
      when 'override' then (
        select o.user_id from freehold.overrides o
        where o.id = thing and o.user_id = subject and (o.ends_at is null or o.ends_at > now()))
      when 'assignment' then (
        select ur.user_id from freehold.user_roles ur
        where ur.role_id = thing and ur.user_id = subject and (ur.ends_at is null or ur.ends_at > now())
        limit 1)
    end;
  end if;
  if owner is null and unit is null and resource not in ('role', 'permission') then
    return;
  elsif unit = any (access.scope_unit_ids())
    -- Overrides and assignments are written of others alone.
    or (owner = any (access.scope_owner_ids()) and resource not in ('override', 'assignment'))
    or (owner = me and resource = 'session') then
    return;
  end if;
  far := access.effective_scope(me, case when resource in ('override', 'assignment') then 'user' else resource end || ':read');
  if far.scope = 'all'
    or owner = me
    or owner = any (far.owners)
    or unit = any (far.units)
    or (far.scope is not null and resource in ('role', 'permission'))
    -- Everybody reads the unit that they are in.
    or (resource = 'unit' and unit = (select u.unit_id from freehold.users u where u.id = me)) then
    perform access.refuse('forbidden', format('You can read this, but your %s does not reach it.', access.permission()));
  elsif resource in ('role', 'permission') then
    -- In the words that a verb has for one that does not exist.
    raise exception using errcode = 'FH404', message = 'not_found';
  end if;
end $$;
--> statement-breakpoint
-- The roles that a user holds at a moment, with the reason for each: assigned, inherited, or delegated by somebody
-- who holds it.
create or replace function access.user_held_roles(subject uuid, moment timestamptz) returns table (kind text, id uuid, name text, via text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive tops (role_id, kind, source) as (
    select ur.role_id, 'role', null
    from freehold.user_roles ur
    where ur.user_id = subject and access.in_force(ur.starts_at, ur.ends_at, moment)
    union all
    select d.role_id, 'delegation', u.username
    from access.delegations_to(subject, moment) d
      join freehold.users u on u.id = d.delegator_id
    where d.role_id is not null
  ),
  line (role_id, parent_id, kind, source, top) as (
    select p.role_id, p.parent_id, t.kind, t.source, p.role_id
    from tops t
      join freehold.role_periods p on p.role_id = t.role_id
    where access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id, l.kind, l.source, l.top
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select
    case
      when l.kind = 'delegation' then 'delegation'
      when l.role_id <> l.top then 'inherited'
      else 'role'
    end,
    l.role_id,
    r.name,
    coalesce(l.source, case when l.role_id <> l.top then t.name end)
  from line l
    join freehold.roles r on r.id = l.role_id
    join freehold.roles t on t.id = l.top
  where access.was_active(subject, moment)
$$;
--> statement-breakpoint
-- A unit and everything above it.
create or replace function access.units_over(unit uuid) returns setof uuid
language sql stable rows 5 set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, parent_id) as (
    select u.id, u.parent_id from freehold.units u where u.id = unit
    union
    select u.id, u.parent_id from up join freehold.units u on u.id = up.parent_id
  )
  select id from up
$$;
--> statement-breakpoint
-- The nearest department above a unit, or the unit itself if it is one.
create or replace function access.department_over(unit uuid) returns uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, kind, parent_id, step) as (
    select u.id, u.kind, u.parent_id, 0 from freehold.units u where u.id = unit
    union all
    select u.id, u.kind, u.parent_id, up.step + 1
    from up
      join freehold.units u on u.id = up.parent_id
    where up.kind <> 'department'
  )
  select id from up where kind = 'department' order by step limit 1
$$;
--> statement-breakpoint
-- Whether a scope around a user reaches a unit.
create or replace function access.reaches_unit(holder uuid, scope access.scope, unit uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from freehold.users u
    where u.id = holder
      and (
        (reaches_unit.scope in ('team', 'department') and u.unit_id = unit)
        or (reaches_unit.scope = 'department' and access.department_over(u.unit_id) in (select access.units_over(unit)))))
$$;
--> statement-breakpoint
-- Why something is held: {kind: role | inherited | override | delegation, effect: grant, id, name, via}.
create or replace function access.reason_for(kind text, id uuid, name text, via text) returns jsonb
language sql stable
return jsonb_build_object('kind', kind, 'effect', 'grant', 'id', id, 'name', name, 'via', via);
--> statement-breakpoint
-- Why it is not: {kind, effect: deny, id, name, via}. `name`: the permission or role that was asked about.
create or replace function access.reason_against(kind text, id uuid, name text) returns jsonb
language sql stable
return jsonb_build_object('kind', kind, 'effect', 'deny', 'id', id, 'name', name, 'via', null);
--> statement-breakpoint
-- Adds to answers why nothing was found for what they refuse, with at most 50 reasons: api_key (it does not name it),
-- inactive (the user), override (`id`: the denial), not_held. And `error` to those without an answer, or with one to a
-- part: {code: not_found, field} for a user (whose id is null here), {code: invalid_request, field, names}.
create or replace function access.why_not(me uuid, checks jsonb, answers jsonb, names text[]) returns jsonb
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
      left join freehold.permissions x on x.name = p.name and x.deleted_at is null and p.field <> 'role'
      left join freehold.roles r on r.name = p.name and r.deleted_at is null and p.field = 'role'
    where p.name is not null and c.subject is not null
    group by c.n, c.subject, c.is_refused, p.field, p.name, r.id, x.id
  ),
  who as materialized (
    select x.subject, access.was_active(x.subject, now()) as is_active
    from (select distinct s.subject from said s where s.is_refused) x
  ),
  -- The roles that carry more than the API key names.
  beyond as materialized (
    select x.role_id
    from (select distinct s.role_id from said s where s.role_id is not null and s.subject = me and names is not null) x
    where exists (select from access.role_grants(x.role_id, now()) g where g.permission <> all (names))
  ),
  denied as materialized (
    select o.user_id, o.permission, o.id
    from who w
      join freehold.overrides o on o.user_id = w.subject
    where o.effect = 'deny' and access.in_force(o.starts_at, o.ends_at, now())
  ),
  why as (
    select s.n, s.name, s.place, k.kind, case k.kind when 'override' then d.id when 'api_key' then access.key() end as id
    from said s
      join who w on w.subject = s.subject
      left join denied d on d.user_id = s.subject and d.permission = s.name and s.field <> 'role'
      cross join lateral (
        select case
          when s.subject = me and (s.role_id in (select b.role_id from beyond b) or (s.role_id is null and s.name <> all (names)))
            then 'api_key'
          when not w.is_active then 'inactive'
          when d.id is not null then 'override'
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
    group by s.n, s.name, s.place, k.kind, 5
  ),
  reasons as (
    select y.n, jsonb_agg(access.reason_against(y.kind, y.id, y.name) order by y.place, y.id) as because
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
--> statement-breakpoint
-- A key is made and changed by its owner, and revoked also by a user who looks after keys. One that is revoked stays
-- revoked.
create or replace function access.before_api_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  live integer;
begin
  if me is null then
    return new;
  end if;
  if tg_op = 'UPDATE' then
    if old.revoked_at is not null then
      perform access.refuse('not_found', 'There is no such key.');
    elsif new.revoked_at is not null then
      perform access.require_power_of(array[old.user_id]);
      -- Nothing else changes with it.
      new := old;
      new.revoked_at := now();
      return new;
    elsif me <> new.user_id then
      perform access.refuse('forbidden', 'Another user''s key can be revoked, but not changed.');
    elsif old.expires_at <= now() then
      perform access.refuse('illegal_state', 'This key has expired.');
    elsif coalesce(new.expires_at, 'infinity') > old.expires_at
      and exists (select from freehold.api_keys s where s.rotated_from = old.id) then
      perform access.refuse('illegal_state', 'This key was rotated: its expiry cannot be extended.');
    elsif new.expires_at is distinct from old.expires_at and new.expires_at < now() then
      perform access.refuse('invalid_request', 'must lie in the future', 'expires_at');
    end if;
  else
    if new.expires_at <= now() then
      perform access.refuse('invalid_request', 'must lie in the future', 'expires_at');
    elsif new.rotated_from is not null
      and not exists (
        select
        from freehold.api_keys k
        where k.id = new.rotated_from
          and k.user_id = new.user_id
          and k.revoked_at is null
          and (new.name, new.permissions, new.addresses) = (k.name, k.permissions, k.addresses)
      ) then
      perform access.refuse('not_found', 'There is no such key.');
    end if;
    -- One at a time of one user, so that one transaction gets the last place. A rotated key and its successor live
    -- side by side for a while, hence twice the room for a successor.
    perform from freehold.users u where u.id = new.user_id for no key update;
    select count(*)
    into live
    from freehold.api_keys k
    where k.user_id = new.user_id
      and k.revoked_at is null
      and (k.expires_at is null or k.expires_at > now());
    if live >= (case when new.rotated_from is null then 50 else 100 end) then
      perform access.refuse('limit_reached', 'A user can have at most 50 API keys: revoke one first.');
    end if;
  end if;
  -- A successor names what its predecessor named, also a permission that the owner has lost since: a key never acts
  -- for more than they hold.
  if (case when tg_op = 'UPDATE' then new.permissions <> old.permissions else new.rotated_from is null end) then
    perform access.check_key(new);
    new.permissions := array(select distinct p from unnest(new.permissions) p order by 1);
  end if;
  if tg_op = 'INSERT' or new.addresses <> old.addresses then
    new.addresses := access.check_networks(new.addresses);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- A state as it is kept: one of more than 128 KiB would be in every page that holds its entry, and Neon answers no more
-- than 10 MiB.
create or replace function access.kept_state(state jsonb) returns jsonb
language sql stable
return case when pg_column_size(state) > 131072 then jsonb_build_object('too_large', true) else state end;
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
  -- The tables take entries from nobody else (append-only.sql).
  perform set_config('access.writer', 'audit', true);
  with entry as materialized (
    select
      gen_random_uuid() as log_id,
      uuid_send(gen_random_uuid()) as salt,
      coalesce(r.activity, write_audit.activity) as activity_type,
      r.id,
      access.kept_state(r.was) as was,
      access.kept_state(r.is_now) as is_now
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
  perform set_config('access.writer', '', true);
  return written;
end $$;
--> statement-breakpoint
-- Covers the oldest entries, at most `batch`, by the next checkpoint: a hash of the hash before it, of the checkpoint's
-- own columns and of the entries in the order (xid, id). Takes only entries older than every running transaction, so
-- that none can still come between them. Returns how many; 0 also while another call is at work.
create or replace function access.checkpoint_audit(batch integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  newest freehold.audit_checkpoints;
  made freehold.audit_checkpoints;
begin
  if not exists (select from freehold.audit_log l where l.checkpoint is null)
    or not pg_try_advisory_xact_lock(hashtext('freehold.audit_checkpoints'))
  then
    return 0;
  end if;
  select * into newest from freehold.audit_checkpoints s order by s.no desc limit 1;
  made.no := coalesce(newest.no, 0) + 1;
  -- Before the snapshot of the statement below: what began to write after that is not older than this moment.
  made.created_at := clock_timestamp();
  with taken as materialized (
    select l.id, l.xid, access.canonical_entry(l) as form
    from freehold.audit_log l
    where l.checkpoint is null and l.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    order by l.xid, l.id
    limit batch
  ), marked as (
    update freehold.audit_log l set checkpoint = made.no from taken t where l.id = t.id
  )
  select
    count(*),
    case when count(*) < batch then pg_snapshot_xmin(pg_current_snapshot())::text::bigint else max(t.xid) end,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
    string_agg(t.form, '' order by t.xid, t.id)
  into made.entries, made.oldest_xid, made.next_xid, made.hash
  from taken t;
  if made.entries > 0 then
    made.hash := sha256(coalesce(newest.hash, '') || access.canonical_checkpoint(made) || made.hash);
    insert into freehold.audit_checkpoints select made.*;
  end if;
  return made.entries;
end $$;
--> statement-breakpoint
-- The columns of a checkpoint as they are hashed. src/audit/verify.ts repeats this, and the form of an entry, on
-- purpose: a check of the chain must not rely on functions of the database that it checks.
create or replace function access.canonical_checkpoint(s freehold.audit_checkpoints) returns bytea
language sql immutable
return convert_to(
  jsonb_build_array(
    s.no,
    s.entries,
    s.oldest_xid,
    s.next_xid,
    (extract(epoch from s.created_at) * 1000000)::bigint
  )::text,
  'UTF8'
);
--> statement-breakpoint
-- Whether these are hash parameters, or a hash, of another system: they hold the salt of the hash that replaces it.
create or replace function access.is_foreign(hash_parameters text) returns boolean
language sql immutable
return strpos(hash_parameters, ',next=') > 0;
--> statement-breakpoint
-- How many seconds from now another foreign hash may be computed for this tenant, of which there are ten in any minute;
-- null: now. Deferred attempts computed none.
create or replace function access.foreign_wait() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select ceil(extract(epoch from a.created_at + interval '1 minute' - now()))::integer
  from freehold.login_attempts a
  where access.is_foreign(a.hash_parameters)
    and a.state <> 'deferred'
    and a.created_at > now() - interval '1 minute'
  order by a.created_at desc
  offset 9
  limit 1
$$;
--> statement-breakpoint
-- Begins an attempt: {state: pending, attempt, hash_parameters, retry_after}, also during a lockout and where too many
-- foreign hashes were computed, when it can only fail and costs what that of an unknown identifier costs; or {state:
-- busy} when as many attempts are under way as may fail. `retry_after` is access.foreign_wait() for everybody, so that a
-- failure in such a minute is answered alike whoever is meant. Locks the lockout's row, so that the attempts of one
-- identifier are decided one after another. An attempt that is not finished within 30 s has failed.
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
  retry_after integer;
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
    if access.is_foreign(hash_parameters) then
      -- One after another, so that of many at once each sees those before it.
      perform pg_advisory_xact_lock(hashtext('access.foreign_wait'));
    end if;
  end if;
  retry_after := access.foreign_wait();
  if state = 'pending' and retry_after is not null and access.is_foreign(hash_parameters) then
    state := 'deferred';
  end if;
  if state <> 'pending' then
    hash_parameters := access.hash_parameters_of(null, identifier);
  end if;
  insert into freehold.login_attempts (id, key, user_id, identifier, hash_parameters, state)
  values (attempt, guard, subject, left(identifier, 255), hash_parameters, state);
  return jsonb_build_object(
    'state', 'pending',
    'attempt', attempt,
    'hash_parameters', hash_parameters,
    'retry_after', retry_after
  );
end $$;
--> statement-breakpoint
-- Finishes an attempt, once: compares the digest (32 bytes, base64 without padding) with the user's hash, counts a
-- failure or clears the lockout. Returns the user when the password was right, and leaves their row locked. Without a
-- digest nothing is compared, and so nothing counted: the Worker was busy with other foreign hashes.
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
    case when access.is_present(u) then access.current_password(u.id) = access.stored_hash(a.hash_parameters, digest) end,
    false);
  update freehold.login_attempts x
  set state = case when digest is null then 'deferred' when is_right then 'succeeded' else 'failed' end
  where x.id = attempt and x.state = 'pending'
  returning x.* into a;
  if a.id is null or a.state = 'deferred' then
    return null;
  elsif not is_right then
    perform access.count_failures(t, a.key, 1);
    return null;
  end if;
  perform access.clear_lockout(g);
  return u;
end $$;
--> statement-breakpoint
-- Counts failures on a lockout whose row is locked. Too many of them lock it, and a mail tells the user.
create or replace function access.count_failures(t freehold.tenant, guard text, times integer) returns freehold.lockouts
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
begin
  update freehold.lockouts x
  set failures = x.failures + times,
    failed_at = now(),
    locked_until = case
      when x.failures + times >= t.max_failures then now() + make_interval(mins => t.lock_minutes)
      else x.locked_until
    end
  where x.key = guard
  returning x.* into g;
  if guard like 'login:%' and g.failures >= t.max_failures and g.failures - times < t.max_failures then
    perform access.enqueue_mail('account_locked', u.id, u.email, jsonb_build_object('until', g.locked_until))
    from freehold.users u
    where u.id = substr(guard, 7)::uuid and access.is_present(u);
  end if;
  return g;
end $$;
--> statement-breakpoint
-- First half: what access.begin_attempt returns, the same for an unknown identifier. A user who is not active costs no
-- hash of another system.
create or replace function access.begin_login(tenant_id uuid, system_key text, identifier text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  identifier := left(identifier, 255);
  if strpos(identifier, '@') > 0 then
    select * into u from freehold.users x where x.email = identifier;
  else
    select * into u from freehold.users x where x.username = identifier;
  end if;
  return access.begin_attempt(
    t,
    case
      when u.id is null then 'unknown:' || encode(access.mac('guard:' || identifier), 'hex')
      else 'login:' || u.id
    end,
    u.id,
    identifier,
    access.hash_parameters_of(case when access.is_present(u) then u.id end, identifier)
  );
end $$;
--> statement-breakpoint
-- Second half: {outcome: ok, claims} with a session and its first refresh token, or {outcome: refused, mail, is_known}
-- or {outcome: no_role}. `is_known`, whether there is such a user, is for the Worker's log alone. When the user has too
-- many sessions, the oldest end. `renewed` is a new hash of the same password, in place of one that another system made.
create or replace function access.finish_login(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  renewed text,
  refresh_hash bytea,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
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
        when a.state = 'deferred' then 'rate_limited'
        when not access.is_present(x) then 'inactive'
        else 'wrong_password'
      end
    into named, u.id, why
    from freehold.login_attempts a
    left join freehold.users x on x.id = a.user_id
    where a.id = attempt;
    perform access.set_audit_actor(u.id, named, request);
    perform access.record('LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', why), 20);
    return jsonb_build_object(
      'outcome', 'refused', 'mail', access.has_enqueued_mail(), 'is_known', u.id is not null
    );
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
-- Second half of the first login of an imported user, whose hash another system made; answers as access.finish_login
-- does. `hash_parameters` is ours, with the salt that was chosen at the import (`next` in the stored
-- hash_parameters); `renewed` is the digest under it. Of several logins at once the first replaces the hash, and the
-- others are compared with the new one.
create or replace function access.finish_login_with_rehash(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  hash_parameters text,
  renewed text,
  refresh_hash bytea,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  is_meant boolean;
begin
  perform access.check_system(tenant_id, system_key);
  select * into a from freehold.login_attempts x where x.id = attempt;
  -- Locks in the order of access.finish_attempt.
  perform from freehold.lockouts g where g.key = a.key for update;
  perform from freehold.users x where x.id = a.user_id for no key update;
  is_meant := coalesce(
    right(hash_parameters, 23) = '$' || substring(a.hash_parameters from ',next=([A-Za-z0-9+/]{22})[$]'),
    false
  );
  if is_meant and starts_with(access.current_password(a.user_id), finish_login_with_rehash.hash_parameters || '$') then
    update freehold.login_attempts x set hash_parameters = finish_login_with_rehash.hash_parameters
    where x.id = attempt and x.state = 'pending';
    return access.finish_login(tenant_id, system_key, attempt, renewed, null, refresh_hash, request);
  end if;
  return access.finish_login(
    tenant_id,
    system_key,
    attempt,
    digest,
    case when is_meant then access.stored_hash(finish_login_with_rehash.hash_parameters, renewed) end,
    refresh_hash,
    request
  );
end $$;
--> statement-breakpoint
-- First half of a change: what access.begin_attempt returns, and {user, policy, history},
-- by which the Worker judges a new password. Its lockout is not the one of logins, so that strangers cannot use up
-- its attempts.
create or replace function access.begin_password_change(tenant_id uuid, system_key text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal();
  return access.begin_attempt(t, 'change:' || u.id, u.id, u.username, access.hash_parameters_of(u.id, u.username))
    || jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    );
end $$;
--> statement-breakpoint
-- Second half: `wrong` (the current password), `used` (the new one is in the history), or `changed`. Without a new
-- hash, when the new password breaks a rule, it only finishes the attempt. `digests` are those of the new password,
-- by hash parameters.
create or replace function access.finish_password_change(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  new_hash text,
  digests jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
begin
  if u.id is null or u.id is distinct from access.principal() then
    perform access.record('PASSWORD_CHANGE_FAILED', 'update', 'user', access.principal()::text, null, null, 20);
    return 'wrong';
  elsif access.was_used(u.id, t, digests) then
    return 'used';
  elsif new_hash is not null then
    perform access.replace_password(u.id, new_hash, false, 'password_change', access.session());
    perform access.enqueue_mail('password_changed', u.id, u.email);
  end if;
  return 'changed';
end $$;
--> statement-breakpoint
-- Mails users whose password expires soon, once for each password and as many as the day has room for; returns how
-- many. Called by the scheduled job, as the owner. The users are locked before the first mail is counted: who changes an
-- address locks the user first, too.
create or replace function access.warn_expiring(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  warned integer;
begin
  with soon as (
    update freehold.passwords p set warned_at = now()
    from freehold.tenant t
    where p.id in (
      select x.id
      from freehold.passwords x
      join freehold.users u on u.id = x.user_id
      where x.replaced_at is null
        and x.warned_at is null
        and access.is_present(u)
        and not u.must_change_password
        and t.password_days > 0
        and x.created_at <= now()
          - make_interval(days => t.password_days - least(t.password_warning_days, t.password_days))
      order by x.created_at
      limit least(at_most, access.warnings_left())
      for update of x skip locked
      for key share of u skip locked
    )
    returning p.user_id
  )
  select count(
    access.enqueue_mail(
      'password_expires', u.id, u.email, jsonb_build_object('expires_at', access.password_expiry(u, t))))
  into warned
  from soon
  join freehold.users u on u.id = soon.user_id
  cross join freehold.tenant t;
  return warned;
end $$;
--> statement-breakpoint
-- The hash parameters of the password history, with which the Worker hashes a new password to compare it. Not those of
-- another system, which cost seconds, outside of any attempt.
create or replace function access.history_parameters(subject uuid, t freehold.tenant) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(distinct regexp_replace(p.password_hash, '[$][^$]*$', '')), '[]')
  from access.password_history(subject, t) p
  where not access.is_foreign(p.password_hash)
$$;
--> statement-breakpoint
-- {outcome: ok, claims} | {outcome: invalid | reused | inactive}. Of several requests at once the first makes the
-- successor, and the others find it. A deactivated user is told `inactive` even though the session ended with the
-- deactivation.
create or replace function access.refresh(tenant_id uuid, system_key text, presented bytea, successor bytea, request jsonb)
returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
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
  elsif not access.is_present(u) then
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
      or r.used_at < clock_timestamp() - interval '60 seconds'
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
-- Finds the user who acts now for another with a permission: the delegate and, where that one is away too (has
-- delegated the same of what they hold themselves), the delegate of theirs, and so on; never in a circle. Returns
-- {user_id, acting_user_id, chain}; null when the caller does not reach the user.
create or replace function access.substitute(subject uuid, permission text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  chain jsonb := '[]';
  met uuid[] := array[subject];
  acting uuid := subject;
  d record;
begin
  if access.permission() is distinct from 'delegation:read'
    or not exists (
      select
      from freehold.users u
      where u.id = subject
        and (access.scope() = 'all' or u.id = any (access.scope_owner_ids()) or u.unit_id = any (access.scope_unit_ids()))
    ) then
    return null;
  elsif not exists (
    select from freehold.permissions p where p.name = substitute.permission and p.deleted_at is null
  ) then
    perform access.refuse('invalid_request', 'is not a permission of this tenant', 'query/permission');
  elsif not access.was_active(subject, now()) or access.decide(subject, permission, now()) is null then
    return jsonb_build_object('user_id', subject, 'acting_user_id', null, 'chain', chain);
  end if;
  loop
    select x.id, x.delegate_id
    into d
    from freehold.delegations x
    where x.delegator_id = acting
      and access.in_force(x.starts_at, x.ends_at, now())
      and x.decision = 'approved'
      and x.revoked_at is null
      and x.delegate_id <> all (met)
      and access.own_scope(acting, permission, now()) is not null
      and case
        when x.role_id is null then exists (
          select
          from freehold.delegation_permissions p
          where p.delegation_id = x.id
            and p.permission = substitute.permission
        )
        else
          x.role_id in (select access.roles_of(acting, now()))
          and exists (select from access.role_grants(x.role_id, now()) g where g.permission = substitute.permission)
      end
      and access.was_active(x.delegate_id, now())
      and exists (select from access.roles_of(x.delegate_id, now()))
      and substitute.permission not in (select access.denied_permissions(x.delegate_id, now()))
    order by x.starts_at desc, x.created_at desc, x.id
    limit 1;
    exit when not found;
    -- A line of thousands would take seconds.
    if cardinality(met) > 50 then
      perform access.refuse('limit_reached', 'More than 50 users act for each other in a line here: ask for one of them.');
    end if;
    chain := chain || jsonb_build_object('delegation_id', d.id, 'from', acting, 'to', d.delegate_id);
    acting := d.delegate_id;
    met := met || acting;
  end loop;
  return jsonb_build_object('user_id', subject, 'acting_user_id', acting, 'chain', chain);
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
    perform access.require_power_of(array[old.delegator_id, old.delegate_id]) where me <> old.delegator_id;
    new.decision := old.decision;
    new.decided_at := old.decided_at;
    new.decided_by := old.decided_by;
    new.revoked_at := now();
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Whether a delegation may still count: it is pending or approved, and has not ended.
create or replace function access.is_live(d freehold.delegations) returns boolean
language sql stable
return d.ends_at > now() and d.revoked_at is null and d.decision is distinct from 'rejected';
--> statement-breakpoint
-- Bounds what a new delegation adds to the decisions about its delegate: at most one at a time of one delegator for one
-- role, as many of one delegator as the tenant's settings say, and 50 delegators of one delegate. Both users are
-- locked, in one order, so that delegations of either are counted one after another.
create or replace function access.bound_delegations(new_one freehold.delegations) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most integer := (select t.max_delegations from freehold.tenant t);
begin
  perform pg_advisory_xact_lock(k.key)
  from (
    select hashtextextended('delegations:' || x.id, 0) as key
    from unnest(array[new_one.delegator_id, new_one.delegate_id]) x (id)
    order by 1) k;
  if exists (
    select
    from freehold.delegations d
    where d.delegator_id = new_one.delegator_id
      and d.delegate_id = new_one.delegate_id
      and d.role_id = new_one.role_id
      and access.is_live(d)
      and d.starts_at < new_one.ends_at
      and d.ends_at > new_one.starts_at)
  then
    perform access.refuse('already_exists',
      'You have delegated this role to this user for some of this time already: revoke that delegation first.');
  elsif (
    select count(*) from freehold.delegations d where d.delegator_id = new_one.delegator_id and access.is_live(d)
  ) >= most then
    perform access.refuse('limit_reached',
      format('A user can have at most %s delegations that have not ended: revoke one first.', most));
  elsif (
    select count(distinct d.delegator_id)
    from freehold.delegations d
    where d.delegate_id = new_one.delegate_id and d.delegator_id <> new_one.delegator_id and access.is_live(d)
  ) >= 50 then
    perform access.refuse('limit_reached',
      'At most 50 users can delegate to one user at a time: delegate to another user.');
  end if;
end $$;
--> statement-breakpoint
-- A delegation is made by its delegator, to another active user, of a role that the delegator holds themselves. It is
-- approved at once unless the tenant wants each to be decided. The delegate and the role are locked, so that neither
-- goes meanwhile.
create or replace function access.before_delegation() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.starts_at := access.begins(new.starts_at, new.ends_at);
  if new.delegate_id = new.delegator_id then
    perform access.refuse('invalid_request', 'is the delegator', 'delegate_id');
  elsif not exists (select from freehold.users u where u.id = new.delegate_id and access.is_present(u) for share) then
    perform access.refuse('invalid_request', 'is not an active user of this tenant', 'delegate_id');
  elsif new.role_id is not null and not new.role_id in (select access.roles_of(new.delegator_id, now())) then
    if exists (select from freehold.roles r where r.id = new.role_id and r.deleted_at is null) then
      perform access.refuse('forbidden', 'You do not hold this role, so you cannot delegate it.');
    end if;
    perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
  end if;
  if new.role_id is not null then
    perform from freehold.roles r where r.id = new.role_id and r.deleted_at is null for share;
    if not found then
      perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
    end if;
  end if;
  if not (select t.delegation_approval from freehold.tenant t) and new.decision is null then
    new.decision := 'approved';
    new.decided_at := now();
  end if;
  perform access.bound_delegations(new);
  return new;
end $$;
--> statement-breakpoint
-- A delegator chooses permissions that they hold themselves at that moment: what was delegated to them does not
-- count.
create or replace function access.before_delegation_permission() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  mine freehold.delegations;
begin
  select * into mine from freehold.delegations d where d.id = new.delegation_id;
  -- `for share`, because deleting the permission is an update of its row.
  if not exists (
    select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
  ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permissions');
  elsif access.own_scope(mine.delegator_id, new.permission, now()) is null then
    perform access.refuse('forbidden',
      format('You do not hold %s, so you cannot delegate it.', new.permission));
  elsif exists (
    select
    from freehold.delegations d
      join freehold.delegation_permissions p on p.delegation_id = d.id
    where d.delegator_id = mine.delegator_id
      and d.delegate_id = mine.delegate_id
      and d.id <> mine.id
      and p.permission = new.permission
      and access.is_live(d)
      and d.starts_at < mine.ends_at
      and d.ends_at > mine.starts_at)
  then
    perform access.refuse('already_exists',
      format('You have delegated %s to this user for some of this time already: revoke that delegation first.',
        new.permission));
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The name of an answer: for one credential, route and key. null: nobody was admitted.
create or replace function access.answer_id(route text, key_hash bytea) returns bytea
language sql stable
return sha256(convert_to(coalesce(access.session(), access.key()) || ' ' || route, 'UTF8') || key_hash);
--> statement-breakpoint
-- The answer that was kept for this request: {principal, resource, secrets_encrypted}; null: none. Raises FH422 when
-- the key was sent with another request.
create or replace function access.kept_answer(route text, key_hash bytea, request_hash bytea) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  k access.kept_answers;
begin
  select * into k
  from access.kept_answers x
  where x.id = access.answer_id(route, key_hash) and x.created_at > now() - interval '24 hours';
  if k.id is null then
    return null;
  elsif k.request_hash <> kept_answer.request_hash then
    perform access.refuse('idempotency_mismatch', 'This Idempotency-Key was sent with another request before: use a new one.');
  end if;
  return json_build_object(
    'principal', json_build_object('user_id', access.principal(), 'session_id', access.session(), 'scope', access.scope()),
    'resource', k.resource,
    'secrets_encrypted', case when k.created_at > now() - interval '10 minutes' then k.secrets_encrypted end);
end $$;
--> statement-breakpoint
-- Ends the transaction with FR200 when the request was answered before: the statements after this one, which create,
-- were sent together with it. The answer is in the error's field `table`, because `detail` is written to the
-- server's log. The lock is held until a twin of this request has committed, so that its answer is seen from then on,
-- or has rolled back, which a client may learn a moment earlier: hence the short wait, after which it is refused.
create or replace function access.begin_once(route text, key_hash bytea, request_hash bytea) returns void
language plpgsql volatile security definer set lock_timeout = '250ms' set search_path = pg_catalog, pg_temp as $$
declare
  kept json;
begin
  begin
    perform pg_advisory_xact_lock(hashtextextended('once:' || encode(access.answer_id(route, key_hash), 'hex'), 0));
  exception when lock_not_available then
    perform access.refuse('illegal_state', 'A request with this Idempotency-Key is being answered: repeat it in a moment.');
  end;
  kept := access.kept_answer(route, key_hash, request_hash);
  if kept is not null then
    raise exception using errcode = 'FR200', message = 'answered_before', table = kept::text;
  end if;
end $$;
--> statement-breakpoint
-- Keeps the answer in the transaction that created the resource, and returns the resource. One that is older than 24
-- hours, and was not purged yet, is replaced.
create or replace function access.keep_answer(route text, key_hash bytea, request_hash bytea, resource json, secrets text) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into access.kept_answers as k (id, user_id, request_hash, resource, secrets_encrypted)
  values (access.answer_id(route, key_hash), access.principal(), request_hash, resource, secrets)
  on conflict (id) do update set
    request_hash = excluded.request_hash,
    resource = excluded.resource,
    secrets_encrypted = excluded.secrets_encrypted,
    created_at = excluded.created_at
  where k.created_at <= now() - interval '24 hours';
  if not found then
    perform access.refuse('illegal_state', 'A request with this Idempotency-Key is being answered: repeat it in a moment.');
  end if;
  return resource;
end $$;
--> statement-breakpoint
-- Refuses the request in words for the caller: a code, a sentence, and the field that is wrong.
create or replace function access.refuse(code text, said text, field text default null) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    message = code,
    detail = said,
    hint = coalesce(field, ''),
    errcode = case code
      when 'forbidden' then 'FH403'
      when 'not_found' then 'FH404'
      when 'invalid_request' then 'FH400'
      when 'idempotency_mismatch' then 'FH422'
      else 'FH409'
    end;
end $$;
--> statement-breakpoint
-- Whether anybody can cause a mail of this kind for anybody: it takes an address and no login.
create or replace function access.is_strangers_mail(kind text) returns boolean
language sql immutable
return kind in ('register', 'register_known', 'email_verify', 'password_reset', 'account_locked');
--> statement-breakpoint
-- Counts a mail that was just inserted: null, or the setting whose limit it is beyond. The day's row stays locked until
-- the transaction ends, so that those who enqueue are counted one after another. Nothing is locked after it: the mail is
-- inserted before, which locks its user.
create or replace function access.limit_reached(made freehold.mails) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  is_strangers boolean := access.is_strangers_mail(made.kind);
  strangers integer := case when is_strangers then 1 else 0 end;
  most integer;
begin
  select * into strict t from freehold.tenant;
  if access.is_first_notice(made) then
    insert into access.mail_counter as c (day, by_strangers, by_others, notices)
    values ((now() at time zone 'UTC')::date, 0, 0, 1)
    on conflict (one) do update
    set day = greatest(c.day, excluded.day),
      by_strangers = case when c.day < excluded.day then 0 else c.by_strangers end,
      by_others = case when c.day < excluded.day then 0 else c.by_others end,
      notices = 1 + case when c.day < excluded.day then 0 else c.notices end
    where c.day < excluded.day or c.notices < t.mail_per_day;
    return case when not found then 'mail_per_day' end;
  end if;
  insert into access.mail_counter as c (day, by_strangers, by_others)
  values ((now() at time zone 'UTC')::date, strangers, 1 - strangers)
  on conflict (one) do update
  set day = greatest(c.day, excluded.day),
    by_strangers = excluded.by_strangers + case when c.day < excluded.day then 0 else c.by_strangers end,
    by_others = excluded.by_others + case when c.day < excluded.day then 0 else c.by_others end,
    notices = case when c.day < excluded.day then 0 else c.notices end
  where c.day < excluded.day
    or (
      c.by_strangers + c.by_others < t.mail_per_day
      and (not is_strangers or c.by_strangers < access.strangers_share(t))
    );
  if not found then
    return 'mail_per_day';
  end if;
  most := case
    when is_strangers and made.kind not in ('register', 'password_reset') then greatest(1, t.mail_per_recipient_hour - 1)
    else t.mail_per_recipient_hour
  end;
  -- A mail that is dropped does not count for the day.
  update access.mail_counter c
  set by_strangers = c.by_strangers - strangers, by_others = c.by_others - (1 - strangers)
  where (
    select count(*)
    from freehold.mails m
    where access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
      and m.created_at > now() - interval '1 hour'
      and access.is_strangers_mail(m.kind) = is_strangers
  ) > most or (
    made.kind = 'phone_code'
    and (
      select count(*)
      from freehold.mails m
      where m.user_id = made.user_id
        and m.kind = made.kind
        and m.created_at > now() - interval '1 hour'
      ) > t.mail_per_recipient_hour
  );
  return case when found then 'mail_per_recipient_hour' end;
end $$;
--> statement-breakpoint
-- Whether a mail tells somebody that their password or address was changed, for the first time within an hour: whoever
-- changes it could use the other limits up before, so that nobody is told. Such mails have a day's limit of their own.
create or replace function access.is_first_notice(made freehold.mails) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select made.kind in ('email_changed', 'password_changed')
    and not exists (
      select
      from freehold.mails m
      where m.kind = made.kind
        and m.id <> made.id
        and access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
        and m.created_at > now() - interval '1 hour')
$$;
--> statement-breakpoint
-- Under what a recipient is counted: an address is stored normalised, and what follows a + in it reaches the same mailbox;
-- a number is the same however it is written. The index mails_recipient is on this expression.
create or replace function access.recipient_key(channel text, recipient text) returns text
language sql immutable
return case
  when channel = 'sms' then regexp_replace(regexp_replace(recipient, '[^0-9]', '', 'g'), '^00', '')
  else regexp_replace(recipient, '[+][^@]*@', '@')
end;
--> statement-breakpoint
-- How many of a day's mails strangers can cause.
create or replace function access.strangers_share(t freehold.tenant) returns integer
language sql immutable
return ceil(t.mail_per_day * 0.75)::integer;
--> statement-breakpoint
-- Waits as whoever enqueues a mail does, for the day's row: while many are enqueued, an address that is mailed nothing
-- must not be answered sooner than one that is.
create or replace function access.wait_as_if_mailed() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform from access.mail_counter for no key update;
end $$;
--> statement-breakpoint
-- How many warnings the scheduled job may send today: they leave a quarter of the day's mails to people, too.
create or replace function access.warnings_left() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(0, access.strangers_share(t) - coalesce(
    (
      select c.by_strangers + c.by_others
      from access.mail_counter c
      where c.day >= (now() at time zone 'UTC')::date
    ),
    0))
  from freehold.tenant t
$$;
--> statement-breakpoint
-- Takes up to `at_most` mails that were dropped: [{id, kind, channel, limit, trace_id}]. The line that the Worker logs of
-- each is what stays, so that strangers fill no table.
create or replace function access.take_dropped_mails(tenant_id uuid, system_key text, at_most integer) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  taken jsonb;
begin
  perform access.check_system(tenant_id, system_key);
  with dropped as (
    delete from access.dropped_mails
    where id in (
      select m.id
      from access.dropped_mails m
      limit at_most
      for update skip locked
    )
    returning *
  )
  select jsonb_agg(
    jsonb_build_object('id', d.id, 'kind', d.kind, 'channel', d.channel, 'limit', d.reached, 'trace_id', d.trace_id)
    order by d.created_at, d.id
  )
  into taken
  from dropped d;
  return coalesce(taken, '[]');
end $$;
--> statement-breakpoint
-- Enqueues a mail and returns its id; null: it is beyond a limit, and dropped. `subject` is the recipient's user id,
-- whose locale applies; null for a registrant, to whom `locale` applies.
create or replace function access.enqueue_mail(
  kind text,
  subject uuid,
  recipient text,
  data jsonb default '{}',
  secrets_encrypted text default null,
  locale text default null,
  channel text default 'email'
) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made freehold.mails;
  reached text;
begin
  insert into freehold.mails (id, kind, channel, user_id, recipient, locale, data, secrets_encrypted, trace_id)
  values (
    gen_random_uuid(),
    enqueue_mail.kind,
    enqueue_mail.channel,
    subject,
    enqueue_mail.recipient,
    coalesce((select u.locale from freehold.users u where u.id = subject), enqueue_mail.locale, 'en'),
    enqueue_mail.data,
    enqueue_mail.secrets_encrypted,
    access.actor() ->> 'trace_id'
  )
  returning * into made;
  perform set_config('access.enqueued', 'yes', true);
  reached := access.limit_reached(made);
  if reached is not null then
    delete from freehold.mails m where m.id = made.id;
    insert into access.dropped_mails (id, kind, channel, reached, trace_id)
    values (made.id, made.kind, made.channel, reached, made.trace_id);
    return null;
  end if;
  return made.id;
end $$;
--> statement-breakpoint
-- Deletes at most so many rows of each kind: {is_done, given_up}, where `given_up` counts mails. A purge stays due
-- until it is done.
create or replace function access.purge(at_most integer) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most integer;
  given_up integer;
begin
  with attempts as (
    -- Kept briefly, because users type passwords where an identifier goes.
    delete from freehold.login_attempts
    where id in (
      select a.id
      from freehold.login_attempts a
      where a.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tokens as (
    delete from freehold.one_time_tokens
    where token_hash in (
      select k.token_hash
      from freehold.one_time_tokens k
      where k.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), registered as (
    delete from freehold.registrations
    where token_hash in (
      select r.token_hash
      from freehold.registrations r
      where r.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), refreshed as (
    -- All tokens of a session expire together: a used one reveals a theft as long as its session can live.
    delete from freehold.refresh_tokens
    where token_hash in (
      select l.token_hash
      from freehold.refresh_tokens l
      where l.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), forsaken as (
    -- Mails that waited for a day, and an hour more for a last pause between attempts: those for which no transport
    -- is configured, and those that made their sender crash.
    update freehold.mails
    set state = 'dead', secrets_encrypted = null, finished_at = now(), lease_until = null
    where id in (
      select m.id
      from freehold.mails m
      where m.state = 'queued'
        and m.created_at < now() - interval '25 hours'
        and (m.lease_until is null or m.lease_until < now())
      limit at_most
      for update skip locked
    )
    returning 1
  ), old as materialized (
    select m.id
    from freehold.mails m
    where m.finished_at < now() - interval '90 days'
    limit at_most
    for update skip locked
  ), dropped as (
    -- The next delivery logs them; without a transport there is none.
    delete from access.dropped_mails
    where id in (
      select m.id
      from access.dropped_mails m
      where m.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), answered as (
    delete from access.kept_answers
    where id in (
      select k.id
      from access.kept_answers k
      where k.created_at < now() - interval '24 hours'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tried as (
    delete from freehold.mail_attempts a using old where a.mail_id = old.id
  ), finished as (
    delete from freehold.mails m using old where m.id = old.id
    returning 1
  )
  select
    x.given_up,
    greatest(
      x.given_up,
      (select count(*) from attempts),
      (select count(*) from tokens),
      (select count(*) from registered),
      (select count(*) from refreshed),
      (select count(*) from dropped),
      (select count(*) from answered),
      (select count(*) from finished)
    )
  into given_up, most
  from (select count(*) as given_up from forsaken) x;
  -- After the attempts: a lockout without a failure belongs to an attempt that was never finished, and goes once that
  -- attempt is gone.
  with guards as (
    delete from freehold.lockouts
    where key in (
      select g.key
      from freehold.lockouts g
      where g.key like 'unknown:%'
        and (g.locked_until is null or g.locked_until < now())
        and coalesce(
          g.failed_at < now() - interval '1 day',
          not exists (select from freehold.login_attempts a where a.key = g.key)
        )
      limit at_most
      for update skip locked
    )
    returning 1
  )
  select greatest(most, count(*)) into most from guards;
  if most < at_most then
    insert into access.purges (last_at) values (now())
    on conflict (one) do update set last_at = excluded.last_at;
  end if;
  return jsonb_build_object('is_done', most < at_most, 'given_up', given_up);
end $$;
--> statement-breakpoint
-- Asks for another address, after access.begin_password_change. `wrong` (the password), or `done`, also when the
-- address is another user's, so that the caller does not learn that.
create or replace function access.request_email_change(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  address text,
  token_hash bytea,
  secrets_encrypted text
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
begin
  if u.id is null or u.id is distinct from access.principal() then
    return 'wrong';
  elsif exists (select from freehold.users x where x.email = address)
    -- Counted whether a mail goes out or not, so that what is left does not tell which addresses are known.
    or (
      select count(*)
      from freehold.audit_log l
      where l.user_id = u.id and l.activity_type = 'EMAIL_CHANGE_REQUESTED' and l.at > now() - interval '1 hour'
    ) >= t.mail_per_recipient_hour then
    perform access.wait_as_if_mailed();
  else
    perform access.send_token(u, 'email', address, token_hash, 24, 'email_change', secrets_encrypted);
  end if;
  perform access.record(
    'EMAIL_CHANGE_REQUESTED', 'update', 'user', u.id::text, null, jsonb_build_object('email', address), 20
  );
  return 'done';
end $$;
--> statement-breakpoint
-- Sends a code: `sent`, `none` (the user has no number), or `often` (the user, or the number, was sent as many as the
-- tenant allows: src/mail/limits.sql). A code that is sent voids the one before it.
create or replace function access.phone_code(tenant_id uuid, system_key text, code text, secrets_encrypted text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.check_system(tenant_id, system_key);
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  if u.phone is null then
    return 'none';
  elsif access.enqueue_mail('phone_code', u.id, u.phone, '{}', secrets_encrypted, null, 'sms') is null then
    return 'often';
  end if;
  update freehold.one_time_tokens x set used_at = now()
  where x.user_id = u.id and x.kind = 'phone' and x.used_at is null;
  -- The same code can be drawn again.
  insert into freehold.one_time_tokens as x (token_hash, kind, user_id, target, expires_at)
  values (access.code_hash(u, code), 'phone', u.id, u.phone, now() + interval '10 minutes')
  on conflict (token_hash) do update
  set tries = 0, created_at = now(), expires_at = excluded.expires_at, used_at = null;
  return 'sent';
end $$;
--> statement-breakpoint
-- Whether a code is the one that was sent to the number that the user has now. Every call is a try, of which there
-- are five.
create or replace function access.verify_phone(tenant_id uuid, system_key text, code text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  k freehold.one_time_tokens;
begin
  perform access.check_system(tenant_id, system_key);
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  update freehold.one_time_tokens x set tries = x.tries + 1
  where x.user_id = u.id
    and x.kind = 'phone'
    and x.used_at is null
    and x.expires_at > now()
    and x.target = u.phone
    and x.tries < 5
  returning * into k;
  if k.token_hash is null or k.token_hash <> access.code_hash(u, code) then
    return false;
  end if;
  update freehold.one_time_tokens x set used_at = now() where x.token_hash = k.token_hash;
  update freehold.users x set phone_verified = true where x.id = u.id and x.phone = k.target;
  return true;
end $$;
--> statement-breakpoint
-- Somebody says that they forgot their password: a token for one hour. Returns whether there is a mail to deliver,
-- which no caller outside is told.
create or replace function access.request_reset(
  tenant_id uuid,
  system_key text,
  address text,
  token_hash bytea,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  select * into u from freehold.users x where x.email = address and access.is_present(x) for no key update;
  perform access.set_audit_actor(u.id, u.username, request);
  if u.id is not null then
    perform access.send_token(u, 'reset', u.email, token_hash, 1, 'password_reset', secrets_encrypted);
  end if;
  perform access.wait_as_if_mailed();
  perform access.record('PASSWORD_RESET_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return access.has_enqueued_mail();
end $$;
--> statement-breakpoint
-- {user, policy, history}, by which the Worker judges the new password; null: the token is not valid.
create or replace function access.begin_reset(tenant_id uuid, system_key text, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.token_user(presented, 'reset', false);
begin
  return case
    when u.id is not null then jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    )
  end;
end $$;
--> statement-breakpoint
-- Sets the new password: `done`, `used` (it is in the history; the token stays valid) or `invalid` (the token).
create or replace function access.finish_reset(
  tenant_id uuid,
  system_key text,
  presented bytea,
  new_hash text,
  digests jsonb,
  request jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.token_user(presented, 'reset', true);
begin
  if u.id is null then
    return 'invalid';
  elsif access.was_used(u.id, t, digests) then
    return 'used';
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  -- This spends the token, with all others for a password.
  perform access.set_recovered_password(u, new_hash, false, 'password_reset');
  -- The token was read in a mail, which proves the address that the mail went to.
  update freehold.users x set email_verified = true
  where x.id = u.id
    and not x.email_verified
    and x.email = (select k.target from freehold.one_time_tokens k where k.token_hash = presented);
  perform access.enqueue_mail('password_changed', u.id, u.email);
  return 'done';
end $$;
--> statement-breakpoint
-- First half of a reset by an administrator: {user, policy, history}.
create or replace function access.begin_admin_reset(subject uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users := access.user_to_reset(subject);
begin
  perform access.require_all_of(subject);
  return (
    select jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    )
    from freehold.tenant t
  );
end $$;
--> statement-breakpoint
-- Second half: sets the password, which the user may have to change, and mails them a link to set their own: `done`
-- or `used` (it is in the history).
create or replace function access.finish_admin_reset(
  tenant_id uuid,
  system_key text,
  subject uuid,
  new_hash text,
  digests jsonb,
  must_change boolean,
  token_hash bytea,
  secrets_encrypted text
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.user_to_reset(subject);
begin
  perform access.require_all_of(subject);
  if access.was_used(u.id, t, digests) then
    return 'used';
  end if;
  perform access.set_recovered_password(u, new_hash, must_change, 'reset_by_administrator');
  if access.is_present(u) then
    perform access.send_token(u, 'reset', u.email, token_hash, 24, 'password_reset_by_admin', secrets_encrypted);
  end if;
  return 'done';
end $$;
--> statement-breakpoint
-- Lets a locked out user log in again at once. Raises FH404, FH403.
create or replace function access.unlock(subject uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_reach('user', subject);
  if access.permission() is distinct from 'user:update' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif subject = access.principal() or (access.scope() <> 'all' and subject = any (access.scope_owner_ids())) then
    perform access.refuse('forbidden', 'You cannot unlock yourself.');
  end if;
  -- A lockout does not slow down an attacker who can guess, unlock and guess again.
  perform access.require_all_of(subject);
  perform access.lock_login(subject), access.clear_failures(subject);
  perform access.record('USER_UNLOCKED', 'update', 'user', subject::text, null, null);
end $$;
--> statement-breakpoint
-- A reset that only mails the user a link to set a new password: the caller learns nothing and nothing ends, so that
-- it is open to those who hold less than the user. Returns {user_id, must_change_password}.
create or replace function access.mail_reset_link(
  tenant_id uuid,
  system_key text,
  subject uuid,
  token_hash bytea,
  secrets_encrypted text
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.user_to_reset(subject);
begin
  if access.is_present(u) then
    perform access.send_token(u, 'reset', u.email, token_hash, 24, 'password_reset_link', secrets_encrypted);
  end if;
  perform access.record('PASSWORD_RESET_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return jsonb_build_object('user_id', u.id, 'must_change_password', u.must_change_password);
end $$;
--> statement-breakpoint
-- The user whose password the admitted administrator resets, locked: within reach, and not themselves. Raises FH404,
-- FH403.
create or replace function access.user_to_reset(subject uuid) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.require_reach('user', subject);
  if access.permission() = 'user:update' and access.can_access_user(subject) then
    perform access.lock_login(subject);
    select * into u from freehold.users x where x.id = subject;
  end if;
  if u.id is null then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif u.id = access.principal() then
    perform access.refuse('forbidden', 'Change your own password with auth/password-change.');
  elsif access.scope() <> 'all' and u.id = any (access.scope_owner_ids()) then
    perform access.refuse('forbidden', 'A delegated permission cannot be used on its delegator.');
  end if;
  return u;
end $$;
--> statement-breakpoint
-- Registers an address for a day. Returns whether there is a mail to deliver, which no caller outside is told. Raises
-- FH403.
create or replace function access.start_registration(
  tenant_id uuid,
  system_key text,
  presented bytea,
  secret_hash bytea,
  wanted jsonb,
  new_hash text,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  address text := wanted ->> 'email';
begin
  if not access.may_register(t, address) then
    raise exception using errcode = 'FH403', message = 'forbidden';
  end if;
  select * into u from freehold.users x where x.email = address for no key update;
  perform access.set_audit_actor(null, null, request);
  if u.id is null then
    -- Concurrent requests for one address go one after another.
    perform pg_advisory_xact_lock(hashtext('register:' || address));
    delete from freehold.registrations x
    where x.token_hash in (
      select y.token_hash
      from freehold.registrations y
      where y.expires_at < now() - interval '1 day'
      limit 5
      for update skip locked
    );
    insert into freehold.registrations (
      token_hash, email, secret_hash, username, password_hash, given_name, family_name, locale, is_mailed, expires_at
    )
    values (
      presented,
      address,
      start_registration.secret_hash,
      wanted ->> 'username',
      new_hash,
      wanted ->> 'given_name',
      wanted ->> 'family_name',
      coalesce(wanted ->> 'locale', 'en'),
      access.enqueue_mail('register', null, address, '{}', secrets_encrypted, wanted ->> 'locale') is not null,
      now() + interval '24 hours'
    );
    delete from freehold.registrations x
    where x.token_hash in (
      select y.token_hash
      from freehold.registrations y
      where y.email = address and not y.is_mailed
      order by y.created_at desc, y.token_hash
      offset 10
    );
  elsif access.is_present(u) then
    perform access.enqueue_mail('register_known', u.id, u.email);
  end if;
  perform access.wait_as_if_mailed();
  perform access.record('REGISTRATION_REQUESTED', 'create', 'registration', null, null, null, 5);
  return access.has_enqueued_mail();
end $$;
--> statement-breakpoint
-- Mails another verification, to a user whose address is not verified, or to an address for which a registration waits:
-- a token alone, with nobody's password. Returns whether there is a mail to deliver, which no caller outside is told.
create or replace function access.resend_verification(
  tenant_id uuid,
  system_key text,
  address text,
  token_hash bytea,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  r freehold.registrations;
begin
  perform access.set_audit_actor(null, null, request);
  select * into u from freehold.users x where x.email = address and access.is_present(x) for no key update;
  if u.id is not null then
    if not u.email_verified then
      perform access.send_token(u, 'email', u.email, token_hash, 24, 'email_verify', secrets_encrypted);
    end if;
    perform access.wait_as_if_mailed();
    return access.has_enqueued_mail();
  end if;
  perform pg_advisory_xact_lock(hashtext('register:' || address));
  select * into r
  from freehold.registrations x
  where x.email = address and x.password_hash is not null and x.used_at is null and x.expires_at > now()
  order by x.created_at desc
  limit 1;
  if r.token_hash is not null
    and access.may_register(t, address)
    and access.enqueue_mail('register', null, address, '{}', secrets_encrypted, r.locale) is not null then
    insert into freehold.registrations (token_hash, email, locale, expires_at)
    values (resend_verification.token_hash, address, r.locale, now() + interval '24 hours');
  end if;
  perform access.wait_as_if_mailed();
  return access.has_enqueued_mail();
end $$;
--> statement-breakpoint
-- The active user of a valid token, or null. With `is_held` their row and their lockouts are locked, so that of
-- several requests with this token, or with others of the same user, one goes first.
create or replace function access.token_user(presented bytea, token_kind text, is_held boolean) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  if is_held then
    perform access.lock_login(k.user_id)
    from freehold.one_time_tokens k
    where k.token_hash = presented and k.kind = token_kind and k.used_at is null;
  end if;
  select x.* into u
  from freehold.users x
  join freehold.one_time_tokens k on k.user_id = x.id
  where k.token_hash = presented
    and k.kind = token_kind
    and k.used_at is null
    and k.expires_at > now()
    and access.is_present(x);
  return u;
end $$;
--> statement-breakpoint
-- Enqueues a mail with a token for a user whose row is locked, and stores the token, unless the mail is dropped.
create or replace function access.send_token(
  u freehold.users,
  token_kind text,
  target text,
  token_hash bytea,
  hours integer,
  mail text,
  secrets_encrypted text
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if access.enqueue_mail(mail, u.id, target, '{}', secrets_encrypted) is not null then
    insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at)
    values (token_hash, token_kind, u.id, target, now() + make_interval(hours => hours));
  end if;
end $$;
--> statement-breakpoint
-- {email, is_user, policy}, by which the Worker judges a new password; null: the token is not valid. `is_user`: the token
-- is for the address of a user, who has a password.
create or replace function access.begin_verification(tenant_id uuid, system_key text, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.token_user(presented, 'email', false);
  r freehold.registrations := access.valid_registration(t, presented);
begin
  return case
    when u.id is not null or r.token_hash is not null then jsonb_build_object(
      'email', coalesce(u.email, r.email),
      'is_user', u.id is not null,
      'policy', access.policy_of(t)
    )
  end;
end $$;
--> statement-breakpoint
-- Spends a token that was mailed to an address. One of a user verifies their address, or replaces it by the one that
-- they asked for. One of a registration creates the user, with the password of the registration that `secret_hash`
-- belongs to, or else with `new_hash` and the name that the address gives. `done`; `invalid` (the token);
-- `not_a_registration`: the token is for the address of a user, so that whoever registered must not spend it, because
-- that user may be somebody else who asked for this address; the token stays valid.
-- `password_required`: neither is there, and the token stays valid; `taken`: by now another user has the address.
create or replace function access.finish_verification(
  tenant_id uuid,
  system_key text,
  presented bytea,
  secret_hash bytea,
  new_hash text,
  new_username text,
  request jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  k freehold.one_time_tokens;
  r freehold.registrations;
  said freehold.registrations;
  u freehold.users := access.token_user(presented, 'email', true);
begin
  if u.id is not null and secret_hash is not null then
    return 'not_a_registration';
  elsif u.id is not null then
    perform access.set_audit_actor(u.id, u.username, request);
    update freehold.one_time_tokens x set used_at = now() where x.token_hash = presented returning * into k;
    if u.email <> k.target then
      begin
        update freehold.users x set email = k.target where x.id = u.id;
      exception when unique_violation then
        return 'taken';
      end;
    end if;
    update freehold.users x set email_verified = true where x.id = u.id;
    return 'done';
  end if;
  -- Of several tokens of one address that are shown at once, one goes first.
  perform pg_advisory_xact_lock(hashtext('register:' || x.email))
  from freehold.registrations x
  where x.token_hash = presented;
  r := access.valid_registration(t, presented);
  if r.token_hash is null then
    return 'invalid';
  elsif new_hash is null then
    select * into said
    from freehold.registrations x
    where x.email = r.email
      and x.secret_hash = finish_verification.secret_hash
      and x.used_at is null
      and x.expires_at > now();
    if said.token_hash is null then
      return 'password_required';
    end if;
  end if;
  update freehold.registrations x set used_at = now() where x.email = r.email and x.used_at is null;
  said.email := r.email;
  said.username := coalesce(said.username, new_username);
  said.password_hash := coalesce(new_hash, said.password_hash);
  u := access.registered_user(t, said);
  if u.id is null then
    return 'taken';
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  perform access.record(
    'USER_REGISTERED', 'create', 'user', u.id::text, null,
    jsonb_build_object(
      'email', u.email,
      'role', u.role,
      'password', case when new_hash is null then 'registration' else 'verification' end
    )
  );
  return 'done';
end $$;
--> statement-breakpoint
-- The row of a registration's token that can be spent now, or null.
create or replace function access.valid_registration(t freehold.tenant, presented bytea) returns freehold.registrations
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select x.*
  from freehold.registrations x
  where x.token_hash = presented
    and x.used_at is null
    and x.expires_at > now()
    and access.may_register(t, x.email)
$$;
--> statement-breakpoint
-- Creates the user of a registration, with its password; null: another user has the address.
create or replace function access.registered_user(t freehold.tenant, said freehold.registrations) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  broken text;
  u freehold.users;
begin
  begin
    insert into freehold.users (
      id, username, email, email_verified, given_name, family_name, locale, role, password_changed_at
    )
    values (
      gen_random_uuid(),
      access.free_username(said.username, said.email),
      said.email,
      true,
      said.given_name,
      said.family_name,
      coalesce(said.locale, 'en'),
      coalesce(t.registration_role, (select x.name from freehold.roles x where x.is_fallback and x.deleted_at is null)),
      coalesce(said.created_at, now())
    )
    returning * into u;
  exception when unique_violation then
    get stacked diagnostics broken = constraint_name;
    if broken <> 'users_email' then
      raise;
    end if;
    return null;
  end;
  insert into freehold.passwords (id, user_id, password_hash, created_at)
  values (gen_random_uuid(), u.id, said.password_hash, u.password_changed_at);
  return u;
end $$;
--> statement-breakpoint
-- Nobody assigns to themselves, nor what they do not hold; below scope `all` only manageable roles are given and
-- taken; a role has room for max_users.
create or replace function access.before_user_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  r freehold.roles;
  -- Whether this change gives something: an assignment that begins, or lasts longer.
  gives boolean := tg_op = 'INSERT'
    or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at));
  holders integer;
  far record;
begin
  if tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- It was to begin later and never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  -- Locked, so that one transaction gets the last place, and no role is deleted while it is given.
  select * into r from freehold.roles x where x.id = new.role_id for no key update;
  -- What it inherits stays the same meanwhile (before_role).
  perform pg_advisory_xact_lock_shared(hashtext('freehold.roles.parent_id'));
  if me is not null then
    -- role:update is asked for whatever the permission of the request is, as when a user is created with a role. A
    -- user who is being created may be given the fallback role, which everybody gets.
    select x.scope, x.units into far from access.effective_scope(me, 'role:update') x;
    if far.scope = 'all' or (tg_op = 'INSERT' and r.is_fallback and access.permission() = 'user:create') then
      null;
    elsif far.scope is null
      or not exists (select from freehold.users u where u.id = new.user_id and u.unit_id = any (far.units)) then
      perform access.refuse('forbidden', 'Assigning and removing roles needs role:update.');
    elsif r.id is not null and not (r.is_manageable or r.is_fallback) then
      perform access.refuse('forbidden', format('The role %s cannot be managed within a team.', r.name));
    end if;
  end if;
  if not gives then
    perform access.require_power_of(array[new.user_id]);
    return new;
  end if;
  if r.id is null or r.deleted_at is not null then
    perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
  elsif me = new.user_id then
    perform access.refuse('forbidden', 'You cannot assign a role to yourself.');
  elsif tg_op = 'INSERT'
    and exists (
      select
      from freehold.user_roles ur
      where ur.user_id = new.user_id
        and ur.role_id = r.id
        and ur.ends_at is null
    ) then
    perform access.refuse('already_exists', format('The user already has the role %s without an end.', r.name));
  end if;
  perform access.must_hold_role(r.id, array[new.user_id]);
  if r.max_users is not null then
    select count(distinct ur.user_id)
    into holders
    from freehold.user_roles ur
    where ur.role_id = r.id
      and ur.user_id <> new.user_id
      and (ur.ends_at is null or ur.ends_at > now());
    if holders + access.places_taken(r.id) >= r.max_users then
      perform access.refuse('limit_reached', format('The role %s can be held by at most %s users.', r.name, r.max_users));
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
-- How many places in a role earlier parts of a dry run would have taken (src/users/import.sql). Whoever sets that
-- themselves has less room.
create or replace function access.places_taken(role uuid) returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(coalesce(
    (nullif(current_setting('access.earlier_places', true), '')::jsonb ->> role::text)::integer, 0), 0)
$$;
--> statement-breakpoint
-- How a name looks: in lower case, and in Latin letters where others look like them. Two names with the same look are
-- one name to whoever reads them.
create or replace function access.look_of(name text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select translate(
    regexp_replace(lower(normalize(name, NFKC)), '\s+', ' ', 'g'),
    'АВЕКМНОРСТУХІЈЅавекмнорстухіјѕһԁԛԝӏѵүαβεζηικμνορτυχωγıɡɑɪᴀ‐‑‒–—―−˗',
    'abekmhopctyxijsabekmhopctyxijshdqwlvyabeznikmvoptyxwyigaia--------')
$$;
--> statement-breakpoint
create or replace function access.before_role_name() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  other text;
begin
  if tg_op = 'UPDATE' and new.name = old.name then
    return new;
  end if;
  -- One at a time: of two that look the same each would be allowed by itself.
  perform pg_advisory_xact_lock(hashtext('freehold.roles.name'));
  select r.name
  into other
  from freehold.roles r
  where access.look_of(r.name) = access.look_of(new.name)
    and r.name <> new.name
    and r.id <> new.id
    and r.deleted_at is null
  limit 1;
  if other is not null then
    perform access.refuse('already_exists', format('looks the same as the name of the role %s', other), 'name');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Nobody overrides their own permissions, nor gives what they do not hold.
create or replace function access.before_override() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  -- Whether this change gives something to the user: a grant that begins or lasts longer, or a denial that ends
  -- sooner.
  gives boolean := case
    when new.effect = 'grant' then
      tg_op = 'INSERT'
      or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at))
    else
      tg_op = 'UPDATE'
      and new.ends_at is not null
      and (old.ends_at is null or new.ends_at < old.ends_at)
  end;
begin
  if access.principal() = new.user_id then
    perform access.refuse('forbidden', 'You cannot override your own permissions.');
  -- `for share`, because deleting the permission is an update of its row.
  elsif tg_op = 'INSERT'
    and not exists (
      select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
    ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permission');
  elsif tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- It was to begin later and never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  if gives then
    -- A denial hides at which scope the user would hold the permission without it, so that only somebody who holds it
    -- at scope `all` lifts one.
    perform access.must_hold(
      array[new.permission],
      array[case when new.effect = 'grant' then new.scope else 'all' end]::access.scope[],
      array[new.user_id]);
  else
    perform access.require_power_of(array[new.user_id]);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The caller must hold what they grant to a role. Each row is checked before it is written, so that no grant gives
-- the caller what they must hold to make it; and as they held it a microsecond ago, before this transaction.
create or replace function access.before_role_permission() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if tg_op = 'UPDATE' then
    if me is not null and exists (select from freehold.roles r where r.id = new.role_id and r.is_admin) then
      perform access.refuse('illegal_state',
        'The administrator role carries every permission: none can be removed from it.');
    end if;
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    -- For the first permission that this transaction takes out of the role: those that are left are among what its
    -- holders have.
    if not exists (
      select from freehold.role_permissions rp where rp.role_id = new.role_id and rp.ends_at = now()
    ) then
      perform access.require_power_of(access.holders_of(new.role_id));
    end if;
    return new;
  -- `for share`, because deleting the permission is an update of its row.
  elsif not exists (
    select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
  ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permissions');
  end if;
  -- The holders of the role do not become others meanwhile (before_role). Not shared, because the same transaction may
  -- then change the parent.
  perform pg_advisory_xact_lock(hashtext('freehold.roles.parent_id'));
  -- Who holds it everywhere holds it wherever the role is held: most do, and a role may get hundreds of grants.
  if me is not null
    and access.own_scope(me, new.permission, now() - interval '1 microsecond') is distinct from 'all' then
    perform access.user_must_hold(
      array[new.permission],
      array[new.scope]::access.scope[],
      access.holders_of(new.role_id));
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The rules of one role: what belongs to the system stays, parents exist and make no circle, a role that is in use is
-- not deleted, and max_users is not below the number of holders.
create or replace function access.before_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  used text[];
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and old.deleted_at is not null then
    perform access.refuse('not_found', 'There is no such role.');
  elsif tg_op = 'UPDATE' and old.is_system and new.parent_id is distinct from old.parent_id then
    perform access.refuse('in_use', format('The role %s belongs to the system and keeps its parent.', old.name));
  end if;
  if new.deleted_at is not null
    or (new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id)) then
    -- One at a time: two halves of a circle are each allowed by themselves, and so are a parent that goes and a child
    -- that comes.
    perform pg_advisory_xact_lock(hashtext('freehold.roles.parent_id'));
  end if;
  if new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id) then
    if not exists (select from freehold.roles x where x.id = new.parent_id and x.deleted_at is null) then
      perform access.refuse('invalid_request', 'is not a role of this tenant', 'parent_id');
    elsif exists (
      with recursive up (id, parent_id) as (
        select x.id, x.parent_id
        from freehold.roles x
        where x.id = new.parent_id
        union
        select x.id, x.parent_id
        from up
          join freehold.roles x on x.id = up.parent_id
      )
      select from up where up.id = new.id
    ) then
      perform access.refuse('invalid_request', 'would make a role inherit from itself', 'parent_id');
    end if;
  end if;
  if tg_op = 'UPDATE' and new.deleted_at is not null and old.deleted_at is null then
    if access.principal() is not null and access.permission() is distinct from 'role:delete' then
      perform access.refuse('forbidden', 'Deleting a role needs role:delete.');
    elsif old.is_system then
      perform access.refuse('in_use', format('The role %s belongs to the system.', old.name));
    end if;
    select array_remove(array[
      (select format('assigned to %s', string_agg(x.username, ', '))
        from (
          select u.username
          from freehold.user_roles ur
            join freehold.users u on u.id = ur.user_id
          where ur.role_id = old.id
            and (ur.ends_at is null or ur.ends_at > now())
          order by 1
          limit 5
        ) x
        having count(*) > 0),
      (select format('inherited by %s', string_agg(x.name, ', ' order by x.name))
        from freehold.roles x
        where x.parent_id = old.id
          and x.deleted_at is null
        having count(*) > 0),
      (select format('delegated by %s', string_agg(distinct u.username, ', '))
        from freehold.delegations d
          join freehold.users u on u.id = d.delegator_id
        where d.role_id = old.id
          and d.ends_at > now()
          and d.revoked_at is null
          and d.decision is distinct from 'rejected'
        having count(*) > 0)
    ], null)
    into used;
    if cardinality(used) > 0 then
      perform access.refuse('in_use', format('The role %s is %s.', old.name, array_to_string(used, '; ')));
    end if;
    new.is_active := false;
  end if;
  if tg_op = 'UPDATE'
    and new.max_users is distinct from old.max_users
    and new.max_users < (
      select count(distinct ur.user_id)
      from freehold.user_roles ur
      where ur.role_id = old.id
        and (ur.ends_at is null or ur.ends_at > now())
    ) then
    perform access.refuse('limit_reached', format('More than %s users hold the role %s.', new.max_users, old.name));
  end if;
  if tg_op = 'UPDATE' and old.is_system and new.name <> old.name then
    perform access.refuse('in_use', format('The role %s belongs to the system and keeps its name.', old.name));
  end if;
  -- Everybody who holds the role would lose what it carries, what it inherits, or the name by which services ask.
  if tg_op = 'UPDATE'
    and (
      (old.is_active and not new.is_active)
      or new.name <> old.name
      or new.max_users is distinct from old.max_users
      or (old.parent_id is not null and new.parent_id is distinct from old.parent_id)
    ) then
    perform access.require_power_of(access.holders_of(old.id));
  end if;
  return new;
end $$;
--> statement-breakpoint
-- To activate a role, or to give it a parent, is to hand out what it then carries. That is checked before the ranges
-- are kept: a caller who holds the role must not be judged by what it is about to give them.
create or replace function access.after_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' and new.is_active and not old.is_active then
    perform access.must_hold_role(new.id, access.holders_of(new.id));
  elsif new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id) then
    perform access.must_hold_role(new.parent_id, access.holders_of(new.id));
  end if;
  if tg_op = 'INSERT' or (new.is_active, new.parent_id) is distinct from (old.is_active, old.parent_id) then
    update freehold.role_periods p
    set ends_at = greatest(now(), p.starts_at)
    where p.role_id = new.id
      and p.ends_at is null;
    if new.is_active then
      insert into freehold.role_periods (id, role_id, parent_id, starts_at)
      values (gen_random_uuid(), new.id, new.parent_id, now());
    elsif new.is_admin then
      perform access.keep_admin();
    end if;
  end if;
  if tg_op = 'UPDATE' and (new.name <> old.name or new.deleted_at is not null) then
    -- A user whose assignment has run out does not get the role again under its new name.
    update freehold.users u
    set role = case
      when exists (
        select
        from freehold.user_roles ur
        where ur.user_id = u.id
          and ur.role_id = new.id
          and access.in_force(ur.starts_at, ur.ends_at, now())
      ) then new.name
      else access.primary_role(u.id)
    end
    where u.role = old.name;
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Some active user must hold the administrator's role, for good, and be denied nothing: what they lack, they could
-- hand to nobody. The lock on the role makes transactions that take it away wait for each other.
create or replace function access.keep_admin() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  r freehold.roles;
begin
  select * into r from freehold.roles x where x.is_admin for no key update;
  if r.id is not null
    and not (
      r.is_active
      and exists (
        select
        from freehold.user_roles ur
          join freehold.users u on u.id = ur.user_id
        where ur.role_id = r.id
          and u.is_active
          and u.terminated_at is null
          and ur.starts_at <= now()
          and ur.ends_at is null
          and not exists (
            select
            from freehold.overrides o
            where o.user_id = u.id
              and o.effect = 'deny'
              and (o.ends_at is null or o.ends_at > now())
          )
      )
    ) then
    perform access.refuse('illegal_state',
      format('Somebody must hold the role %s: assign it to another user first.', r.name));
  end if;
end $$;
--> statement-breakpoint
-- Who ends sessions of somebody else needs that user's power over others. That is asked for the first of a user's
-- sessions that this transaction ends.
create or replace function access.before_session_end() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from freehold.sessions s where s.user_id = new.user_id and s.ended_at = now()) then
    perform access.require_power_of(array[new.user_id]);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The role that strangers get, the fallback too, is handed out by the user who names it, opens registration, or opens
-- it to others than before.
create or replace function access.before_tenant() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  given freehold.roles;
begin
  new.updated_at := now();
  if access.permission() = 'setting:update'
    and (
      (
        new.registration
        and (new.registration, new.registration_role, new.registration_domains)
          is distinct from (old.registration, old.registration_role, old.registration_domains)
      )
      or (new.registration_role is not null and new.registration_role is distinct from old.registration_role)
    ) then
    -- Locked, so that the role is not deleted or switched off meanwhile.
    select r.*
    into given
    from freehold.roles r
    where r.deleted_at is null
      and case when new.registration_role is null then r.is_fallback else r.name = new.registration_role end
    for share;
    if given.id is null and new.registration_role is not null then
      perform access.refuse('invalid_request',
        format('%s is not a role of this tenant', new.registration_role), 'registration_role');
    end if;
    if not given.is_active then
      perform access.refuse('invalid_request', format('%s is not active', given.name), 'registration_role');
    end if;
    perform access.must_hold_role(given.id, '{}');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The role of registration stays the one that was named, and works: a user who may rename roles must not hand another
-- one to strangers by giving it that name, and whoever gets one that is switched off cannot log in. A trigger of
-- freehold.roles.
create or replace function access.keep_registration_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (new.deleted_at is not null or (old.is_active and not new.is_active))
    and exists (
      select
      from freehold.tenant t
      where t.registration_role = old.name
        or (t.registration and t.registration_role is null and new.is_fallback)
    ) then
    perform access.refuse('in_use',
      format('The role %s is given to users who register: choose another in the settings first.', old.name));
  end if;
  update freehold.tenant t
  set registration_role = new.name
  where t.registration_role = old.name
    and new.name <> old.name;
  return null;
end $$;
--> statement-breakpoint
-- A department stands under departments, a team under either, and nothing under itself. Callers below scope `all`
-- move nothing out of their reach, and make no department a team: the users in it would then reach all of the
-- department above.
create or replace function access.before_unit() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  is_limited boolean := access.principal() is not null and access.scope() <> 'all';
  is_turned boolean := tg_op = 'UPDATE' and new.kind <> old.kind;
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and (new.kind, new.parent_id) is not distinct from (old.kind, old.parent_id) then
    return new;
  end if;
  -- Nobody moves or turns a unit that holds their own, or moves another into their department, when a permission of
  -- theirs is measured from there.
  if tg_op = 'UPDATE'
    and access.principal() is not null
    and not is_limited
    and access.depends_on_unit(access.principal())
    and (
      (select p.unit_id from freehold.users p where p.id = access.principal()) in (select access.units_under(new.id))
      or (
        new.parent_id in (select access.units_in_scope(access.principal(), 'department'))
        and new.id not in (select access.units_in_scope(access.principal(), 'department'))
      )
    ) then
    perform access.refuse('forbidden', 'You cannot do this: the scope of your permissions depends on it.');
  elsif is_limited and (is_turned or (tg_op = 'UPDATE' and new.parent_id is null)) then
    perform access.refuse('forbidden', 'This needs access to all units.');
  elsif is_limited and new.parent_id <> all (access.scope_unit_ids()) and new.parent_id is not null then
    perform access.refuse('invalid_request', 'is not a unit that you can access', 'parent_id');
  elsif is_turned
    and new.kind = 'team'
    and exists (select from freehold.units u where u.parent_id = new.id and u.kind = 'department') then
    perform access.refuse('invalid_request', 'contains departments, which can only be under departments', 'kind');
  elsif new.kind = 'department'
    and exists (select from freehold.units u where u.id = new.parent_id and u.kind = 'team') then
    perform access.refuse('invalid_request', 'would put a department under a team',
      case when is_turned then 'kind' else 'parent_id' end);
  elsif exists (
    with recursive up (id, parent_id) as (
      select u.id, u.parent_id
      from freehold.units u
      where u.id = new.parent_id
      union
      select u.id, u.parent_id
      from up
        join freehold.units u on u.id = up.parent_id
    )
    select from up where up.id = new.id
  ) then
    perform access.refuse('invalid_request', 'would put a unit under itself', 'parent_id');
  end if;
  if tg_op = 'UPDATE' then
    perform access.require_power_of(access.users_measured_anew(old, new), 'department');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- What departments reach is measured once more when the unit is in its new place.
create or replace function access.after_unit() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_power_of(access.users_measured_anew(old, new), 'department');
  return null;
end $$;
--> statement-breakpoint
-- The users whose scope `department` reaches other units once a unit is moved, or its kind turned: those of the
-- departments above that lose or gain it, and those in it who get another department.
create or replace function access.users_measured_anew(was freehold.units, is_now freehold.units) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, kind, parent_id, step, side) as (
    select u.id, u.kind, u.parent_id, 0, s.side
    from (values ('was', was.parent_id), ('is_now', is_now.parent_id)) s (side, id)
      join freehold.units u on u.id = s.id
    union all
    select u.id, u.kind, u.parent_id, x.step + 1, x.side
    from up x
      join freehold.units u on u.id = x.parent_id
  ),
  above as (
    select x.id
    from up x
    where x.kind = 'department'
    group by x.id
    having count(*) = 1
  ),
  inside as (
    select was.id
    where case when was.kind = 'department' then was.id
        else (select x.id from up x where x.side = 'was' and x.kind = 'department' order by x.step limit 1) end
      is distinct from case when is_now.kind = 'department' then is_now.id
        else (select x.id from up x where x.side = 'is_now' and x.kind = 'department' order by x.step limit 1) end
  ),
  -- Downwards as far as no other department begins.
  area (id) as (
    select id from above
    union
    select id from inside
    union
    select u.id
    from area a
      join freehold.units u on u.parent_id = a.id
    where u.kind <> 'department' and (u.id <> was.id or exists (select from inside))
  )
  select array(select u.id from freehold.users u where u.unit_id in (select a.id from area a))
$$;
--> statement-breakpoint
-- Creates the users of some lines, in their order, each of them or not at all. Returns what access.import_user says
-- of each line. The batch is recorded with how many lines were imported and how many not; `refused` of them the Worker
-- did not pass on. With `earlier` it is one of a dry run, which does the same and then undoes all of it: {names, places},
-- what the batches before this one would have taken: usernames, and by the id of a role how many places in it.
create or replace function access.import_batch(lines jsonb, refused integer, earlier jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  line jsonb;
  results jsonb[] := '{}';
  names text[] := array(select jsonb_array_elements_text(earlier -> 'names'));
begin
  if access.permission() is distinct from 'user:create' then
    perform access.refuse('forbidden', 'Importing users needs user:create.');
  end if;
  -- One import after another: two that name the same users in different orders would wait for each other.
  perform pg_advisory_xact_lock(hashtext('access.import_users'));
  begin
    -- Read by access.places_taken.
    perform set_config('access.earlier_places', coalesce(earlier ->> 'places', ''), true);
    for line in
      select e.value
      from jsonb_array_elements(lines) with ordinality e (value, place)
      order by e.place
    loop
      results := results || access.import_user(line, names);
    end loop;
    if earlier is not null then
      raise exception using errcode = 'FH001', message = 'undone';
    end if;
  exception when sqlstate 'FH001' then
    null;
  end;
  if earlier is null then
    perform access.record('USERS_IMPORTED', 'import', 'user', null, null, (
      select jsonb_build_object(
        'lines', refused + count(*),
        'created', count(*) filter (where r ? 'id'),
        'failed', refused + count(*) filter (where not r ? 'id'))
      from unnest(results) r));
  end if;
  return to_jsonb(results);
end $$;
--> statement-breakpoint
-- Creates one user of a file, whose fields the Worker has checked; a username that is made up is none of `names`.
-- Returns {id, username, roles}, of the roles those with a limit of holders; or {code, errors} when a rule forbids it,
-- and then nothing of the user is left. An error of the database that is not the line's fault is
-- raised.
create or replace function access.import_user(l jsonb, names text[]) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
  chosen text := coalesce(l ->> 'username', access.free_username(l ->> 'wished', l ->> 'email', names));
  named text;
  given uuid;
  -- The field that a refusal is about when it names none.
  about text := 'role';
  state text;
  said text;
  explained text;
  field text;
  broken text;
begin
  -- Row level security does not apply here, because import_batch runs as the owner.
  if access.scope() <> 'all' and not coalesce((l ->> 'unit_id')::uuid = any (access.scope_unit_ids()), false) then
    perform access.refuse('forbidden', 'You can only create users in units that are within your scope.', 'unit_id');
  elsif (l ->> 'email_verified')::boolean and not access.may_vouch((l ->> 'unit_id')::uuid) then
    perform access.refuse('forbidden', 'An address counts as verified with user:approve only.', 'email_verified');
  end if;
  insert into freehold.users (id, email, username, email_verified, is_active, must_change_password, role,
    given_name, family_name, phone, unit_id, manager_id, designation, description,
    locale, timezone, preferences, joined_at, terminated_at, max_sessions)
  values (
    made,
    l ->> 'email',
    chosen,
    coalesce((l ->> 'email_verified')::boolean, false),
    coalesce((l ->> 'is_active')::boolean, true),
    coalesce((l ->> 'must_change_password')::boolean, false),
    coalesce(l ->> 'role', (select r.name from freehold.roles r where r.is_fallback)),
    l ->> 'given_name',
    l ->> 'family_name',
    l ->> 'phone',
    (l ->> 'unit_id')::uuid,
    (l ->> 'manager_id')::uuid,
    l ->> 'designation',
    l ->> 'description',
    coalesce(l ->> 'locale', 'en'),
    coalesce(l ->> 'timezone', 'UTC'),
    coalesce(nullif(l -> 'preferences', 'null'), '{}'),
    (l ->> 'joined_at')::timestamptz,
    (l ->> 'terminated_at')::timestamptz,
    (l ->> 'max_sessions')::integer
  );
  -- A user without a hash has no password, and logs in after a reset.
  if l ->> 'password_hash' is not null then
    insert into freehold.passwords (id, user_id, password_hash)
    values (gen_random_uuid(), made, l ->> 'password_hash');
  end if;
  about := 'roles';
  for named in
    select distinct x.name
    from jsonb_array_elements_text(coalesce(nullif(l -> 'roles', 'null'), '[]')) x (name)
    order by x.name
  loop
    select r.id into given from freehold.roles r where r.name = named and r.deleted_at is null;
    if given is null then
      perform access.refuse('invalid_request', format('%s is not a role of this tenant', named), 'roles');
    elsif not exists (select from freehold.user_roles ur where ur.user_id = made and ur.role_id = given) then
      insert into freehold.user_roles (id, user_id, role_id)
      values (gen_random_uuid(), made, given);
    end if;
  end loop;
  return jsonb_build_object('id', made, 'username', chosen, 'roles', (
    select coalesce(jsonb_agg(distinct r.id), '[]')
    from freehold.user_roles ur
      join freehold.roles r on r.id = ur.role_id
    where ur.user_id = made and r.max_users is not null));
exception when others then
  get stacked diagnostics
    state = returned_sqlstate,
    said = message_text,
    explained = pg_exception_detail,
    field = pg_exception_hint,
    broken = constraint_name;
  if state in ('FH400', 'FH403', 'FH404', 'FH409') then
    field := coalesce(nullif(field, ''), case said when 'forbidden' then about end);
    -- Of a line that names no primary role, the first of its roles is the primary one.
    if field = 'role' and l -> 'roles' ? (l ->> 'role') then
      field := 'roles';
    end if;
  elsif broken in ('users_email', 'users_username') then
    -- The constraint names one field that is taken. Both are reported when both are.
    return jsonb_build_object('code', 'already_exists', 'errors', (
      select jsonb_agg(jsonb_build_object('pointer', '#/' || f.name, 'detail', 'is taken') order by f.name)
      from (values ('email'), ('username')) f (name)
      where f.name = substr(broken, 7)
        or (f.name = 'email' and exists (select from freehold.users u where u.email = l ->> 'email'))
        or (f.name = 'username' and exists (select from freehold.users u where u.username = l ->> 'username'))
    ));
  elsif broken = 'users_unit_id_units_id_fk' then
    select 'invalid_request', 'is not a unit that you can access', 'unit_id'
    into said, explained, field;
  elsif broken = 'users_manager_id_users_id_fk' then
    select 'invalid_request', 'is not a user whom you can access', 'manager_id'
    into said, explained, field;
  elsif state ~ '^2[23]' then
    select 'invalid_request', 'holds a value that cannot be kept', null
    into said, explained, field;
  elsif state in ('40001', '40P01') then
    select 'illegal_state', 'met another change at the same moment; send this line again', null
    into said, explained, field;
  else
    raise;
  end if;
  return jsonb_build_object('code', said, 'errors', jsonb_build_array(
    jsonb_build_object('pointer', '#' || coalesce('/' || field, ''), 'detail', explained)));
end $$;
--> statement-breakpoint
-- Whether the admitted user may say of a new user of a unit that their address is verified.
create or replace function access.may_vouch(unit uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  s record := access.effective_scope(access.principal(), 'user:approve');
begin
  return coalesce(s.scope = 'all' or unit = any (s.units), false);
end $$;
--> statement-breakpoint
-- Whether a user may be let in now: active, and not past the date on which they leave.
create or replace function access.is_present(u freehold.users) returns boolean
language sql stable
return u.is_active and coalesce(u.terminated_at > now(), true);
--> statement-breakpoint
-- Keeps the dates: neither is lost by a replacement that does not know it. A past date on which a user leaves
-- deactivates them.
create or replace function access.before_coming_or_going() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  was_active boolean := tg_op = 'UPDATE' and old.is_active;
begin
  -- Whoever may not change their own date is told that instead (access.check_user_change).
  if was_active and not new.is_active and access.principal() = new.id then
    perform access.refuse('illegal_state', 'You cannot deactivate yourself.');
  end if;
  if new.terminated_at <= now() and (tg_op = 'INSERT' or was_active) then
    new.is_active := false;
  end if;
  if new.is_active and not was_active then
    new.joined_at := coalesce(new.joined_at, now());
    new.terminated_at := case when new.terminated_at > now() then new.terminated_at end;
  elsif was_active and not new.is_active then
    -- user:delete chooses no date.
    new.terminated_at := case
      when access.permission() = 'user:delete' then now()
      else least(new.terminated_at, now())
    end;
  elsif tg_op = 'UPDATE' and not new.is_active then
    new.terminated_at := coalesce(new.terminated_at, old.terminated_at);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Keeps the periods in which a user was active, of which the last one ends where they leave, and ends the sessions of a
-- user who is deactivated.
create or replace function access.after_coming_or_going() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' or new.is_active <> old.is_active then
    if new.is_active then
      insert into freehold.user_periods (id, user_id, starts_at, ends_at)
      values (gen_random_uuid(), new.id, now(), new.terminated_at);
    else
      update freehold.user_periods p
      set ends_at = greatest(now(), p.starts_at)
      where p.user_id = new.id
        and (p.ends_at is null or p.ends_at > now());
      perform access.end_what_lets_in(new.id), access.keep_admin();
    end if;
  elsif new.is_active and new.terminated_at is distinct from old.terminated_at then
    update freehold.user_periods p
    set ends_at = new.terminated_at
    where p.user_id = new.id
      and (p.ends_at is null or p.ends_at > now());
    -- The date had passed, and nobody had deactivated the user yet.
    if not found then
      insert into freehold.user_periods (id, user_id, starts_at, ends_at)
      values (gen_random_uuid(), new.id, now(), new.terminated_at);
      perform access.end_what_lets_in(new.id);
    end if;
    perform access.keep_admin();
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Ends the sessions of somebody who has left, and what was mailed to them: neither becomes valid again when they come
-- back. API keys work only for an active user and stay as they are (docs/decisions/0015-api-keys.md).
create or replace function access.end_what_lets_in(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.sessions s
  set ended_at = now(), ended_because = 'deactivated'
  where s.user_id = subject
    and s.ended_at is null;
  update freehold.one_time_tokens k
  set used_at = now()
  where k.user_id = subject
    and k.used_at is null;
end $$;
--> statement-breakpoint
-- Deactivates users whose last day has come, for the scheduled job. The only administrator stays, without the date.
create or replace function access.deactivate_terminated(at_most integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  subject uuid;
begin
  for subject in
    select u.id
    from freehold.users u
    where u.is_active and u.terminated_at <= now()
    order by u.terminated_at
    limit at_most
    for no key update skip locked
  loop
    begin
      update freehold.users u set is_active = false where u.id = subject;
    exception when sqlstate 'FH409' then
      update freehold.users u set terminated_at = null where u.id = subject;
    end;
  end loop;
end $$;
--> statement-breakpoint
-- The username for an address: the wished one, unless somebody has it, is taking it, it is reserved, or one of `others`;
-- then the wished one with a suffix, which is the same whenever it is asked for.
create or replace function access.free_username(wished text, address text, others text[] default '{}') returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  candidate text := wished;
  tries integer := 0;
begin
  loop
    -- In a statement of its own, so that the next one sees what was committed before this one got the lock.
    if candidate <> all (others)
      and not access.is_reserved_username(candidate)
      and access.lock_username(candidate) then
      if not exists (select from freehold.users u where u.username = candidate) then
        return candidate;
      end if;
    end if;
    tries := tries + 1;
    candidate := left(wished, 58) || '-' || left(md5(address || tries), 5);
  end loop;
end $$;
--> statement-breakpoint
-- The same for a request that creates a user.
create or replace function access.new_username(wished text, address text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:create' then
    perform access.refuse('forbidden', 'A username is made up only for a new user.');
  end if;
  return access.free_username(wished, address);
end $$;
--> statement-breakpoint
-- Locks a username until the end of the transaction; false: another transaction is about to take it.
create or replace function access.lock_username(name text) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select pg_try_advisory_xact_lock(hashtextextended('freehold.users.username:' || name, 0))
$$;
--> statement-breakpoint
-- Names by which people take somebody for one who runs the place. Who creates or changes a user may choose one of these;
-- a stranger who registers may not.
create or replace function access.is_reserved_username(name text) returns boolean
language sql immutable
return name = any ('{admin,administrator,root,superuser,superadmin,sysadmin,system,operator,owner,moderator,support,
  security,helpdesk,postmaster,hostmaster,webmaster,noreply,no-reply}'::text[]);
--> statement-breakpoint
-- Applies the rules of one user: what the caller may change, how a login is protected, the size of preferences, a
-- role that exists, managers without a circle. An address or number that changes is no longer verified.
create or replace function access.before_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.updated_at := now();
  if access.permission() in ('user:create', 'user:update', 'user:delete') then
    if tg_op = 'UPDATE' then
      perform access.check_user_change(old, new);
    else
      perform access.check_user_change(null, new);
    end if;
  end if;
  -- For those who make up a name at the same moment (usernames.sql). Who chose this one meets the unique index instead.
  if tg_op = 'INSERT' or new.username <> old.username then
    perform access.lock_username(new.username);
  end if;
  if octet_length(new.preferences::text) > 8192 then
    perform access.refuse('invalid_request', 'must be at most 8 KiB', 'preferences');
  end if;
  -- A caller who can change how a user logs in can soon log in as them.
  if tg_op = 'UPDATE'
    and (new.email, new.username) is distinct from (old.email, old.username) then
    perform access.require_all_of(new.id);
  end if;
  if tg_op = 'UPDATE' then
    new.email_verified := new.email_verified and new.email = old.email;
    new.phone_verified := new.phone_verified and new.phone is not distinct from old.phone;
  end if;
  if new.role is not null
    and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (select from freehold.roles r where r.name = new.role and r.deleted_at is null) then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.role), 'role');
  end if;
  -- A new user manages nobody yet, so that only an update can close a circle.
  if tg_op = 'UPDATE' and new.manager_id is not null and new.manager_id is distinct from old.manager_id then
    if exists (
      with recursive up (id, manager_id) as (
        select u.id, u.manager_id
        from freehold.users u
        where u.id = new.manager_id
        union
        select u.id, u.manager_id
        from up
          join freehold.users u on u.id = up.manager_id
      )
      select from up where up.id = new.id
    ) then
      perform access.refuse('invalid_request', 'would make a user their own manager', 'manager_id');
    end if;
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
    select array_agg(n.key)
    into changed
    from jsonb_each(to_jsonb(is_now)) n
      join jsonb_each(to_jsonb(was)) o on o.key = n.key
    where n.value <> o.value
      and n.key <> all (kept);
    if access.permission() = 'user:delete' and (is_now.is_active or not changed <@ '{is_active,terminated_at}') then
      perform access.refuse('forbidden', 'user:delete deactivates a user and changes nothing else.');
    elsif access.scope() <> 'all'
      and (is_now.id = any (access.scope_owner_ids()) or is_now.id = access.principal())
      and not changed <@ own then
      perform access.refuse('forbidden', format('Another user must change %s here.',
        (select string_agg(c, ', ' order by c) from unnest(changed) c where c <> all (own))));
    elsif access.principal() = is_now.id and not is_now.is_active and was.is_active then
      perform access.refuse('illegal_state', 'You cannot deactivate yourself.');
    end if;
  end if;
  -- Whoever is to leave does not choose to stay.
  if was.id = access.principal() and 'terminated_at' = any (changed) then
    perform access.refuse('forbidden', format('Another user must change %s here.', 'terminated_at'));
  end if;
  if was.id is not null
    and changed && '{is_active,role,unit_id,manager_id,terminated_at,max_sessions}' then
    perform access.require_power_of(array[was.id]);
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
-- A user who is moved gives nobody power, and the primary role stays assigned: a new one replaces the one before it.
create or replace function access.after_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- What the user holds is measured from the new unit now: moving a user gives nobody power that the mover lacks there.
  if tg_op = 'UPDATE' and new.unit_id is distinct from old.unit_id then
    perform access.require_power_of(array[new.id]);
  end if;
  if new.role is not null
    and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (
      select
      from freehold.user_roles ur
        join freehold.roles r on r.id = ur.role_id
      where ur.user_id = new.id
        and r.name = new.role
        and r.deleted_at is null
        and access.in_force(ur.starts_at, ur.ends_at, now())
    ) then
    -- An assignment that was to begin later begins now instead.
    update freehold.user_roles ur
    set ends_at = ur.starts_at
    from freehold.roles r
    where ur.user_id = new.id
      and r.id = ur.role_id
      and r.name = new.role
      and r.deleted_at is null
      and ur.starts_at > now()
      and (ur.ends_at is null or ur.ends_at > now());
    insert into freehold.user_roles (id, user_id, role_id)
    select gen_random_uuid(), new.id, r.id
    from freehold.roles r
    where r.name = new.role
      and r.deleted_at is null;
    if tg_op = 'UPDATE' then
      update freehold.user_roles ur
      set ends_at = greatest(now(), ur.starts_at)
      from freehold.roles r
      where ur.user_id = new.id
        and r.id = ur.role_id
        and r.name = old.role
        and (ur.ends_at is null or ur.ends_at > now());
    end if;
  end if;
  return null;
end $$;
--> statement-breakpoint
create trigger before_role_name before insert or update of name on freehold.roles
  for each row execute function access.before_role_name();
--> statement-breakpoint
create trigger after_coming_or_going after insert or update of is_active, terminated_at on freehold.users
  for each row execute function access.after_coming_or_going();
--> statement-breakpoint
create trigger before_coming_or_going before insert or update of is_active, joined_at, terminated_at on freehold.users
  for each row execute function access.before_coming_or_going();
--> statement-breakpoint
-- access.write_audit alone sets that setting. A minute, because the clock of a machine may be set back.
create trigger written_now before insert on freehold.audit_log
  for each row
  when (
    current_setting('access.writer', true) is distinct from 'audit'
    or new.at not between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute'
    or new.xid <> pg_current_xact_id()::text::bigint
    or new.checkpoint is not null
  )
  execute function access.refuse_change();
--> statement-breakpoint
create trigger written_with_entry before insert on freehold.audit_detail
  for each row
  when (current_setting('access.writer', true) is distinct from 'audit')
  execute function access.refuse_change();
--> statement-breakpoint
create trigger before_session_end before update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null) execute function access.before_session_end();
--> statement-breakpoint
create trigger after_unit after update of kind, parent_id on freehold.units
  for each row when ((old.kind, old.parent_id) is distinct from (new.kind, new.parent_id))
  execute function access.after_unit();
--> statement-breakpoint
-- Whoever reads all of the audit reads its checkpoints, to verify an export.
create policy read on freehold.audit_checkpoints for select using ((select access.may_read_all_audit()));
--> statement-breakpoint
-- Defined in src/settings/settings.sql.
create trigger keep_registration_role after update of name, is_active, deleted_at on freehold.roles
  for each row execute function access.keep_registration_role();
--> statement-breakpoint
comment on function access.check_asked_names(jsonb) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.check_asked_users(uuid,jsonb) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.holds_more(uuid,uuid) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.import_users(jsonb,boolean) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.record_import(jsonb) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.register(uuid,text,bytea,jsonb,text,text,jsonb) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.too_many_requests(uuid,text) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.verify_email(uuid,text,bytea,bytea,text,jsonb) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
revoke select (id, user_id, activity_type, action, resource_type, resource_id, risk_score, trace_id, at, checkpoint)
  on freehold.audit_log
  from freehold_app;
--> statement-breakpoint
revoke select (log_id, user_name, address, agent, method, path, before, after, api_key_id)
  on freehold.audit_detail
  from freehold_app;
--> statement-breakpoint
revoke execute
  on function access.after_coming_or_going(),
    access.after_unit(),
    access.answer_id(text,bytea),
    access.before_coming_or_going(),
    access.before_role_name(),
    access.before_session_end(),
    access.begin_login(uuid,text,text),
    access.begin_once(text,bytea,bytea),
    access.begin_password_change(uuid,text),
    access.begin_reset(uuid,text,bytea),
    access.begin_verification(uuid,text,bytea),
    access.bound_delegations(freehold.delegations),
    access.canonical_checkpoint(freehold.audit_checkpoints),
    access.deactivate_terminated(integer),
    access.delegated(uuid,timestamp with time zone,text[]),
    access.delegations_to(uuid,timestamp with time zone),
    access.department_over(uuid),
    access.end_what_lets_in(uuid),
    access.finish_admin_reset(uuid,text,uuid,text,jsonb,boolean,bytea,text),
    access.finish_login(uuid,text,uuid,text,text,bytea,jsonb),
    access.finish_login_with_rehash(uuid,text,uuid,text,text,text,bytea,jsonb),
    access.finish_password_change(uuid,text,uuid,text,text,jsonb),
    access.finish_reset(uuid,text,bytea,text,jsonb,jsonb),
    access.finish_verification(uuid,text,bytea,bytea,text,text,jsonb),
    access.foreign_wait(),
    access.free_username(text,text,text[]),
    access.held_everywhere(uuid[]),
    access.held_where(text[],uuid[]),
    access.holders_of(uuid),
    access.import_batch(jsonb,integer,jsonb),
    access.import_user(jsonb,text[]),
    access.is_first_notice(freehold.mails),
    access.is_foreign(text),
    access.is_live(freehold.delegations),
    access.is_present(freehold.users),
    access.is_reserved_username(text),
    access.is_strangers_mail(text),
    access.keep_answer(text,bytea,bytea,json,text),
    access.kept_answer(text,bytea,bytea),
    access.kept_state(jsonb),
    access.lacking(access.placed[],uuid[]),
    access.limit_reached(freehold.mails),
    access.lock_username(text),
    access.look_of(text),
    access.mail_reset_link(uuid,text,uuid,bytea,text),
    access.may_vouch(uuid),
    access.must_hold(text[],access.scope[],uuid[]),
    access.must_hold_role(uuid,uuid[]),
    access.new_username(text,text),
    access.one_of_each_unit(uuid[]),
    access.phone_code(uuid,text,text,text),
    access.places_taken(uuid),
    access.potential_grants(uuid[],text[]),
    access.reaches_unit(uuid,access.scope,uuid),
    access.reason_against(text,uuid,text),
    access.reason_for(text,uuid,text,text),
    access.recipient_key(text,text),
    access.record_refusal(uuid,text,jsonb,text,text,jsonb),
    access.refresh(uuid,text,bytea,bytea,jsonb),
    access.registered_user(freehold.tenant,freehold.registrations),
    access.request_email_change(uuid,text,uuid,text,text,bytea,text),
    access.require_all_of(uuid),
    access.require_power_of(uuid[],access.scope),
    access.require_reach(text,uuid,uuid),
    access.send_token(freehold.users,text,text,bytea,integer,text,text),
    access.start_registration(uuid,text,bytea,bytea,jsonb,text,text,jsonb),
    access.strangers_share(freehold.tenant),
    access.take_dropped_mails(uuid,text,integer),
    access.units_over(uuid),
    access.user_must_hold(text[],access.scope[],uuid[]),
    access.users_measured_anew(freehold.units,freehold.units),
    access.valid_registration(freehold.tenant,bytea),
    access.verify_phone(uuid,text,text),
    access.wait_as_if_mailed(),
    access.warnings_left(),
    access.why_not(uuid,jsonb,jsonb,text[]),
    access.without_strangers(uuid,jsonb)
  from public;
--> statement-breakpoint
grant select
  on freehold.audit_checkpoints,
    freehold.audit_detail,
    freehold.audit_log
  to freehold_app;
--> statement-breakpoint
grant update (mail_per_recipient_hour, mail_per_day, max_delegations)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.begin_login(uuid,text,text),
    access.begin_once(text,bytea,bytea),
    access.begin_password_change(uuid,text),
    access.begin_reset(uuid,text,bytea),
    access.begin_verification(uuid,text,bytea),
    access.finish_admin_reset(uuid,text,uuid,text,jsonb,boolean,bytea,text),
    access.finish_login(uuid,text,uuid,text,text,bytea,jsonb),
    access.finish_login_with_rehash(uuid,text,uuid,text,text,text,bytea,jsonb),
    access.finish_password_change(uuid,text,uuid,text,text,jsonb),
    access.finish_reset(uuid,text,bytea,text,jsonb,jsonb),
    access.finish_verification(uuid,text,bytea,bytea,text,text,jsonb),
    access.import_batch(jsonb,integer,jsonb),
    access.keep_answer(text,bytea,bytea,json,text),
    access.kept_answer(text,bytea,bytea),
    access.mail_reset_link(uuid,text,uuid,bytea,text),
    access.new_username(text,text),
    access.phone_code(uuid,text,text,text),
    access.record_refusal(uuid,text,jsonb,text,text,jsonb),
    access.refresh(uuid,text,bytea,bytea,jsonb),
    access.request_email_change(uuid,text,uuid,text,text,bytea,text),
    access.require_reach(text,uuid,uuid),
    access.start_registration(uuid,text,bytea,bytea,jsonb,text,text,jsonb),
    access.take_dropped_mails(uuid,text,integer),
    access.verify_phone(uuid,text,text)
  to freehold_app;
