-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table access.event_spans
--   creates table freehold.hooks
--   creates table freehold.notification_preferences
--   creates table freehold.notifications
--   creates table freehold.risk_attempts
--   creates table freehold.webhook_deliveries
--   creates table freehold.webhook_progress
--   creates table freehold.webhooks
--   alters table freehold.login_attempts
--   alters table freehold.login_challenges
--   alters table freehold.sessions
--   alters table freehold.tenant
-- Definitions:
--   creates 110 objects
--   replaces 28 objects
--   drops and creates function access.accept_invitation
--   drops and creates function access.answer
--   drops and creates function access.answer_many
--   drops and creates function access.ask
--   drops and creates function access.challenge
--   drops and creates function access.enter
--   drops and creates function access.meet_challenge
--   drops and creates function access.open_session
--   drops and creates function access.past_or_now
--   drops and creates function access.why_not
-- Kept for the release before this one, and dropped by the next migration:
--   keeps function access.matrix_cells

set local check_function_bodies = off;
--> statement-breakpoint
drop function access.accept_invitation(uuid,text,bytea,text,jsonb,jsonb);
--> statement-breakpoint
drop function access.answer(uuid,jsonb,text[]);
--> statement-breakpoint
drop function access.answer_many(uuid,jsonb,text[]);
--> statement-breakpoint
drop function access.ask(jsonb);
--> statement-breakpoint
drop function access.challenge(freehold.users,bytea,jsonb,text,text,text,uuid);
--> statement-breakpoint
drop function access.enter(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,text,integer,uuid,boolean);
--> statement-breakpoint
drop function access.meet_challenge(freehold.tenant,bytea,freehold.login_challenges,boolean,text,text,bytea,jsonb,jsonb,boolean);
--> statement-breakpoint
drop function access.open_session(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,integer,uuid);
--> statement-breakpoint
drop function access.past_or_now(timestamp with time zone);
--> statement-breakpoint
drop function access.why_not(uuid,jsonb,jsonb,text[]);
--> statement-breakpoint
CREATE TABLE "access"."event_spans" (
  "checkpoint" integer PRIMARY KEY NOT NULL,
  "epoch" integer NOT NULL,
  "first_seq" bigint NOT NULL,
  "last_seq" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "freehold"."hooks" (
  "id" uuid PRIMARY KEY NOT NULL,
  "act" text NOT NULL,
  "url" text NOT NULL,
  "on_failure" text NOT NULL,
  "is_paused" boolean DEFAULT false NOT NULL,
  "secret_encrypted" text NOT NULL,
  "former_secret_encrypted" text,
  "former_until" timestamp with time zone,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "hooks_texts" CHECK (length("freehold"."hooks"."url") between 1 and 500),
  CONSTRAINT "hooks_kinds" CHECK ("freehold"."hooks"."act" in ('user.create', 'login', 'invitation.accept') and "freehold"."hooks"."on_failure" in ('open', 'closed'))
);
--> statement-breakpoint
CREATE TABLE "freehold"."notification_preferences" (
  "user_id" uuid PRIMARY KEY NOT NULL,
  "kinds" jsonb NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "notification_preferences_kinds" CHECK (jsonb_typeof("freehold"."notification_preferences"."kinds") = 'object' and octet_length("freehold"."notification_preferences"."kinds"::text) <= 2048)
);
--> statement-breakpoint
CREATE TABLE "freehold"."notifications" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "kind" text NOT NULL,
  "event" text NOT NULL,
  "params" jsonb DEFAULT '{}'::jsonb NOT NULL,
  "about_id" uuid,
  "resource_type" text,
  "resource_id" text,
  "is_listed" boolean DEFAULT true NOT NULL,
  "mail" text,
  "created_at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  "read_at" timestamp with time zone,
  CONSTRAINT "notifications_kind" CHECK ("freehold"."notifications"."kind" in ('security', 'competency', 'invitation', 'delegation', 'license')),
  CONSTRAINT "notifications_mail_form" CHECK ("freehold"."notifications"."mail" in ('now', 'digest')),
  CONSTRAINT "notifications_params" CHECK (jsonb_typeof("freehold"."notifications"."params") = 'object' and octet_length("freehold"."notifications"."params"::text) <= 4096)
);
--> statement-breakpoint
CREATE TABLE "freehold"."risk_attempts" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid,
  "kind" text NOT NULL,
  "device" uuid,
  "agent" text,
  "network" text,
  "asn" bigint,
  "country" text,
  "latitude" double precision,
  "longitude" double precision,
  "strengths" integer[] DEFAULT '{}' NOT NULL,
  "score" integer DEFAULT 0 NOT NULL,
  "outcome" text NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "seen_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "risk_attempts_kind" CHECK ("freehold"."risk_attempts"."kind" in ('login', 'refresh', 'foreign_token')),
  CONSTRAINT "risk_attempts_outcome" CHECK ("freehold"."risk_attempts"."outcome" in ('allowed', 'challenged', 'passed', 'refused', 'noted')),
  CONSTRAINT "risk_attempts_score" CHECK ("freehold"."risk_attempts"."score" between 0 and 100 and cardinality("freehold"."risk_attempts"."strengths") <= 32)
);
--> statement-breakpoint
CREATE TABLE "freehold"."webhook_deliveries" (
  "id" uuid PRIMARY KEY NOT NULL,
  "webhook_id" uuid NOT NULL,
  "seq" bigint,
  "event_id" uuid,
  "type" text NOT NULL,
  "attempt" integer NOT NULL,
  "is_delivered" boolean NOT NULL,
  "status" integer,
  "error" text,
  "duration_ms" integer NOT NULL,
  "at" timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "freehold"."webhook_progress" (
  "webhook_id" uuid PRIMARY KEY NOT NULL,
  "delivered_seq" bigint NOT NULL,
  "failures" integer DEFAULT 0 NOT NULL,
  "failing_since" timestamp with time zone,
  "next_at" timestamp with time zone DEFAULT now() NOT NULL,
  "lease" uuid,
  "leased_until" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "freehold"."webhooks" (
  "id" uuid PRIMARY KEY NOT NULL,
  "url" text NOT NULL,
  "kinds" text[] DEFAULT '{}' NOT NULL,
  "includes_details" boolean DEFAULT false NOT NULL,
  "is_paused" boolean DEFAULT false NOT NULL,
  "paused_because" text,
  "secret_encrypted" text NOT NULL,
  "public_key" text,
  "former_secret_encrypted" text,
  "former_until" timestamp with time zone,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "webhooks_texts" CHECK (length("freehold"."webhooks"."url") between 1 and 500 and cardinality("freehold"."webhooks"."kinds") <= 50),
  CONSTRAINT "webhooks_paused" CHECK ("freehold"."webhooks"."paused_because" is null or "freehold"."webhooks"."is_paused" and "freehold"."webhooks"."paused_because" in ('failing', 'gone'))
);
--> statement-breakpoint
ALTER TABLE "freehold"."login_attempts" ADD COLUMN "network" text;
--> statement-breakpoint
ALTER TABLE "freehold"."login_challenges" ADD COLUMN "risk_id" uuid;
--> statement-breakpoint
ALTER TABLE "freehold"."login_challenges" ADD COLUMN "code_hash" "bytea";
--> statement-breakpoint
ALTER TABLE "freehold"."login_challenges" ADD COLUMN "mails" integer DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."login_challenges" ADD COLUMN "mailed_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "hook_claims" jsonb;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "notification_days" integer DEFAULT 90 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "risk_weights" jsonb DEFAULT '{"new_device":20,"new_country":20,"new_network":10,"impossible_travel":40,"failures":20,"unusual_hour":10,"foreign_token":40,"many_accounts":30,"breached_password":20}'::jsonb NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "risk_suspicious" integer DEFAULT 50 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "risk_stop" integer DEFAULT 80 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "risk_action" text DEFAULT 'step_up' NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "risk_breached" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "risk_days" integer DEFAULT 90 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."risk_attempts" ADD CONSTRAINT "risk_attempts_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."webhook_deliveries" ADD CONSTRAINT "webhook_deliveries_webhook_id_webhooks_id_fk" FOREIGN KEY ("webhook_id") REFERENCES "freehold"."webhooks"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."webhook_progress" ADD CONSTRAINT "webhook_progress_webhook_id_webhooks_id_fk" FOREIGN KEY ("webhook_id") REFERENCES "freehold"."webhooks"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
CREATE INDEX "event_spans_first" ON "access"."event_spans" USING btree ("first_seq");
--> statement-breakpoint
CREATE INDEX "event_spans_last" ON "access"."event_spans" USING btree ("last_seq");
--> statement-breakpoint
CREATE UNIQUE INDEX "hooks_act" ON "freehold"."hooks" USING btree ("act") WHERE not "freehold"."hooks"."is_paused";
--> statement-breakpoint
CREATE INDEX "notifications_user" ON "freehold"."notifications" USING btree ("user_id","created_at","id");
--> statement-breakpoint
CREATE INDEX "notifications_unread" ON "freehold"."notifications" USING btree ("user_id","created_at","id") WHERE "freehold"."notifications"."read_at" is null and "freehold"."notifications"."is_listed";
--> statement-breakpoint
CREATE INDEX "notifications_about" ON "freehold"."notifications" USING btree ("about_id") WHERE "freehold"."notifications"."about_id" is not null;
--> statement-breakpoint
CREATE INDEX "notifications_mail" ON "freehold"."notifications" USING btree ("mail","created_at") WHERE "freehold"."notifications"."mail" is not null;
--> statement-breakpoint
CREATE INDEX "notifications_created" ON "freehold"."notifications" USING btree ("created_at");
--> statement-breakpoint
CREATE INDEX "risk_attempts_user" ON "freehold"."risk_attempts" USING btree ("user_id","created_at");
--> statement-breakpoint
CREATE INDEX "risk_attempts_foreign" ON "freehold"."risk_attempts" USING btree ("network","created_at") WHERE "freehold"."risk_attempts"."kind" = 'foreign_token';
--> statement-breakpoint
CREATE INDEX "risk_attempts_created" ON "freehold"."risk_attempts" USING btree ("created_at");
--> statement-breakpoint
CREATE INDEX "webhook_deliveries_of" ON "freehold"."webhook_deliveries" USING btree ("webhook_id","at","id");
--> statement-breakpoint
CREATE INDEX "webhook_deliveries_at" ON "freehold"."webhook_deliveries" USING btree ("at");
--> statement-breakpoint
CREATE INDEX "webhooks_sorted" ON "freehold"."webhooks" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "login_attempts_network" ON "freehold"."login_attempts" USING btree ("network","created_at") WHERE "freehold"."login_attempts"."network" is not null;
--> statement-breakpoint
CREATE INDEX "employees_other_name" ON "freehold"."employees" USING btree (name collate "C","id") WHERE employment = 'inactive' or terminated_at is not null;
--> statement-breakpoint
CREATE INDEX "employees_other_created" ON "freehold"."employees" USING btree ("created_at","id") WHERE employment = 'inactive' or terminated_at is not null;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_notification_days" CHECK ("freehold"."tenant"."notification_days" between 1 and 365);
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_risk" CHECK (jsonb_typeof("freehold"."tenant"."risk_weights") = 'object' and octet_length("freehold"."tenant"."risk_weights"::text) <= 1024
        and "freehold"."tenant"."risk_suspicious" between 1 and 100 and "freehold"."tenant"."risk_stop" between 1 and 100
        and "freehold"."tenant"."risk_action" in ('none', 'step_up', 'refuse') and "freehold"."tenant"."risk_days" between 30 and 365);
--> statement-breakpoint
alter table access.event_spans enable row level security;
--> statement-breakpoint
alter table freehold.hooks enable row level security;
--> statement-breakpoint
alter table freehold.notification_preferences enable row level security;
--> statement-breakpoint
alter table freehold.notifications enable row level security;
--> statement-breakpoint
alter table freehold.risk_attempts enable row level security;
--> statement-breakpoint
alter table freehold.webhook_deliveries enable row level security;
--> statement-breakpoint
alter table freehold.webhook_progress enable row level security;
--> statement-breakpoint
alter table freehold.webhooks enable row level security;
--> statement-breakpoint
-- Answers one check about a user for one permission, with at most 50 reasons: those for it, or that what the user holds
-- does not reach the resource. access.why_not adds the other reasons against it. `names`: what an API key leaves of what
-- the user holds; null: everything.
create or replace function access.answer(subject uuid, asked jsonb, names text[], moment timestamptz default now()) returns jsonb
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
--> statement-breakpoint
-- Answers up to a hundred checks, {user_id?, permission | any_of | role, resource?: {owner_id?, unit_id?}}, in order
-- with {allowed, scope, because, error?}. Any user may ask about themselves, and about others whom they reach with
-- user:read. `at`: a past moment; null is now.
create or replace function access.ask(checks jsonb, at timestamptz default null) returns jsonb
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
  -- Where the holders are, and the units that are asked about with what is above them.
  home as materialized (
    select u.id as holder, u.unit_id, access.department_over(u.unit_id) as department_id, u.organization_id
    from (select distinct g.holder from g where g.scope between 'team' and 'organization') x
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
-- A moment that is asked about: not in the future; null is now. `field`: where the request has it.
create or replace function access.past_or_now(moment timestamptz, field text default 'query/at') returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if moment > clock_timestamp() then
    perform access.refuse('invalid_request', 'lies in the future', field);
  end if;
  return coalesce(moment, now());
end $$;
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
  -- They are nobody's: whoever reads one reads all of them, and they are changed at scope `all` alone.
  is_common boolean := resource in ('role', 'permission', 'audience', 'provider', 'webhook', 'hook');
begin
  if me is null or access.scope() = 'all' then
    return;
  elsif resource = 'organization' then
    if access.scope() = 'organization'
      and exists (
        select from freehold.organizations o where o.id = thing and o.unit_id = any (access.scope_unit_ids()))
    then
      return;
    end if;
    far := access.effective_scope(me, 'organization:read');
    if exists (
      select
      from freehold.organizations o
      where o.id = thing
        and o.state <> 'ended'
        and (far.scope = 'all' or o.id = (select u.organization_id from freehold.users u where u.id = me)))
    then
      perform access.refuse('forbidden', format('You can read this, but your %s does not reach it.', access.permission()));
    end if;
    return;
  elsif is_common then
    if not exists (
      select from freehold.roles r where r.id = thing and r.deleted_at is null and resource = 'role'
      union all
      select from freehold.permissions p where p.id = thing and p.deleted_at is null and resource = 'permission'
      union all
      select from freehold.audiences a where a.id = thing and resource = 'audience'
      union all
      select from freehold.providers p where p.id = thing and resource = 'provider'
      union all
      select from freehold.webhooks w where w.id = thing and resource = 'webhook'
      union all
      select from freehold.hooks h where h.id = thing and resource = 'hook'
    ) then
      return;
    end if;
  elsif resource = 'unit' then
    select x.id into unit from freehold.units x where x.id = thing;
  elsif resource = 'employee' then
    select e.user_id, e.unit_id into owner, unit from freehold.employees e where e.id = thing;
  elsif resource = 'invitation' then
    select i.inviter_id, i.unit_id into owner, unit from freehold.invitations i where i.id = thing;
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
  if owner is null and unit is null and not is_common then
    return;
  elsif unit = any (access.scope_unit_ids())
    -- Overrides, assignments and employees are written of others alone.
    or (owner = any (access.scope_owner_ids()) and resource not in ('override', 'assignment', 'employee'))
    or (owner = me and resource = 'session') then
    return;
  end if;
  far := access.effective_scope(me, case resource
    when 'override' then 'user'
    when 'assignment' then 'user'
    when 'provider' then 'setting'
    when 'webhook' then 'setting'
    when 'hook' then 'setting'
    else resource
  end || ':read');
  if far.scope = 'all'
    or owner = me
    or owner = any (far.owners)
    or unit = any (far.units)
    or (far.scope is not null and is_common)
    -- Everybody reads the unit that they are in.
    or (resource = 'unit' and unit = (select u.unit_id from freehold.users u where u.id = me)) then
    perform access.refuse('forbidden', format('You can read this, but your %s does not reach it.', access.permission()));
  elsif is_common then
    -- In the words that a verb has for one that does not exist.
    raise exception using errcode = 'FH404', message = 'not_found';
  end if;
end $$;
--> statement-breakpoint
-- Adds to answers why nothing was found for what they refuse, with at most 50 reasons: api_key (it does not name it),
-- inactive (the user), override (`id`: the denial), competency (`id`: its type), not_held. And `error` to those without
-- an answer, or with one to a part: {code: not_found, field} for a user (whose id is null here), {code: invalid_request,
-- field, names}.
create or replace function access.why_not(
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
--> statement-breakpoint
-- Whether a type of activity is one that only Freehold itself writes: the given list, and the changes of every table
-- with audit triggers.
create or replace function access.is_built_in_activity(activity text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select
    activity in (
      'LOGIN', 'LOGOUT', 'LOGIN_FAILED', 'PASSWORD_CHANGE', 'PASSWORD_RESET', 'PASSWORD_CHANGE_FAILED',
      'MFA_ENABLED', 'MFA_DISABLED', 'MFA_CHANGE_FAILED', 'BACKUP_CODE_USED', 'BACKUP_CODES_RENEWED',
      'PROFILE_UPDATE', 'PERMISSION_CHANGE', 'PERMISSIONS_READ',
      'ROLE_ASSIGNED', 'ROLE_REMOVED', 'API_KEY_CREATED', 'API_KEY_REVOKED', 'SUSPICIOUS_ACTIVITY', 'ACCESS_REFUSED',
      'EXPORT', 'AUDIT_ERASED', 'USERS_IMPORTED', 'USER_UNLOCKED', 'USER_REGISTERED', 'REGISTRATION_REQUESTED',
      'PASSWORD_RESET_REQUESTED', 'EMAIL_CHANGE_REQUESTED', 'DOCUMENTS_COUNTED', 'STEP_UP',
      'STEP_UP_FAILED', 'PASSKEY_CLONE_SUSPECTED', 'EMAIL_LOGIN_REQUESTED',
      'ORGANIZATION_ENDING', 'ORGANIZATION_WIPED', 'IMPERSONATION_STARTED', 'IMPERSONATION_ENDED',
      'DEVICE_REMEMBERED', 'DEVICE_FORGOTTEN', 'ERASURE_REQUESTED', 'ERASURE_CANCELLED', 'USER_ERASED',
      'INVITATION_SENT', 'INVITATION_ACCEPTED', 'INVITATION_REVOKED', 'EMPLOYEES_IMPORTED', 'WEBHOOK_REPLAYED',
      'COMPETENCY_VERIFIED', 'COMPETENCY_REVOKED', 'HOOK_FAILED', 'TENANT_RESTORED'
    )
    or exists (
      select
      from pg_trigger t
      cross join unnest(array['CREATED', 'UPDATED', 'DELETED']) as done (word)
      where t.tgfoid = 'access.audit()'::regprocedure
        and activity = upper(split_part(encode(t.tgargs, 'escape'), '\000', 1)) || '_' || done.word
    )
$$;
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
      select to_jsonb(a) - noise from after_rows a except all select to_jsonb(b) - noise from before_rows b)
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
      array_agg(case
        when resource = 'session' and r.doc ->> 'impersonator_id' is not null then 'IMPERSONATION_STARTED'
      end) as activities
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
        when resource = 'session' and c.is_impersonated and c.is_now ? 'ended_at' then 'IMPERSONATION_ENDED'
        when resource = 'session' and c.is_now ->> 'ended_because' in ('logout', 'replaced') then 'LOGOUT'
        when resource = 'session' and c.is_now ? 'authenticated_at' then 'STEP_UP'
        when resource = 'user' and c.is_now ? 'password_changed_at' then 'PASSWORD_CHANGE'
        when resource = 'user' and c.id = f ->> 'user_id' then 'PROFILE_UPDATE'
        when resource = 'competency' and c.is_now ->> 'verified_at' is not null then 'COMPETENCY_VERIFIED'
        when resource = 'competency' and c.is_now ->> 'revoked_at' is not null then 'COMPETENCY_REVOKED'
      end) as activities
    into e
    from (
      select
        coalesce(n.id, o.id) as id,
        n.doc ->> 'impersonator_id' is not null as is_impersonated,
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
      f, access.activity_of(resource, act), act, resource,
      case when resource = 'session' and act = 'create' then access.noted_risk() else 0 end,
      e.ids, e.befores, e.afters, e.activities
    );
  end if;
  return null;
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
  perform access.number_events();
  return made.entries;
end $$;
--> statement-breakpoint
-- Records a refusal, after the answer. It believes nothing but the request: the user is the one of the session or of
-- the key, if these are real; of a key that was revoked or has expired its owner is named, and somebody else may have
-- used it. `credential` is what the caller showed: a session, a key by hash and prefix, the origin of a page, or
-- nothing. It takes the system's key, or somebody with the app login could fill the audit.
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
  impersonator uuid;
  is_stranger boolean;
begin
  perform access.check_system(tenant_id, system_key);
  if credential ? 'key' then
    select x.* into k from freehold.api_keys x where x.key_hash = decode(credential ->> 'key', 'hex');
    select u.* into subject from freehold.users u where u.id = k.user_id;
    is_stranger := k.id is null or k.revoked_at is not null or coalesce(k.expires_at <= now(), false);
  else
    select u.* into subject
    from freehold.sessions s
      join freehold.users u on u.id = s.user_id
    where s.id = (credential ->> 'session_id')::uuid
      and u.id = (credential ->> 'user_id')::uuid
      and s.ended_at is null
      and credential ->> 'proof' = access.session_proof(s.id);
    is_stranger := subject.id is null;
    select s.impersonator_id into impersonator
    from freehold.sessions s
    where s.id = (credential ->> 'session_id')::uuid and s.user_id = subject.id;
  end if;
  perform access.set_audit_actor(subject.id, subject.username, request, impersonator);
  if code = 'token_wrong_tenant' then
    perform access.note_foreign_token(request);
  end if;
  perform access.record_failure(
    case code when 'token_wrong_tenant' then 'SUSPICIOUS_ACTIVITY' else 'ACCESS_REFUSED' end,
    'refuse',
    'request',
    null,
    case when code = 'token_invalid' and credential ? 'key' then 'key_invalid' else left(code, 64) end,
    is_stranger,
    jsonb_build_object('code', left(code, 64), 'permission', left(permission, 128))
      || case
        when k.id is not null then jsonb_build_object('api_key_id', k.id)
        when credential ? 'prefix' then jsonb_build_object('key_prefix', left(credential ->> 'prefix', 16))
        when credential ? 'origin' then jsonb_build_object('origin', left(credential ->> 'origin', 255))
        else '{}'
      end,
    case code when 'token_wrong_tenant' then 50 else 10 end
  );
end $$;
--> statement-breakpoint
-- Begins an attempt: {state: pending, attempt, hash_parameters, retry_after}, also during a lockout and where too many
-- foreign hashes were computed, when it can only fail and costs what that of an unknown identifier costs; or {state:
-- busy} when as many attempts are under way as may fail. `retry_after` is access.foreign_wait() for everybody, so that a
-- failure in such a minute is answered alike whoever is meant. Locks the lockout of the person, or of the change, so
-- that the attempts at one are decided one after another; `guard` is the one that counts, null: the same. `named` is
-- what is kept of the identifier. An attempt that is not finished within 30 s has failed.
create or replace function access.begin_attempt(
  t freehold.tenant,
  person text,
  guard text,
  subject uuid,
  identifier text,
  named text,
  hash_parameters text
) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  is_stranger boolean := coalesce(starts_with(guard, person || ':'), false);
  w freehold.lockouts;
  g freehold.lockouts;
  open record;
  attempt uuid := gen_random_uuid();
  state text := 'pending';
  retry_after integer;
begin
  -- Whoever logged in before has a row: locking it leaves no dead one behind, as an upsert would for each login.
  perform from freehold.lockouts x where x.key = person for update;
  if not found then
    insert into freehold.lockouts as x (key) values (person)
    on conflict (key) do update set key = x.key;
  end if;
  select
    count(*) filter (where a.created_at <= now() - interval '30 seconds') as lost,
    count(*) filter (where a.guard is not distinct from begin_attempt.guard) as alike,
    count(*) filter (where starts_with(a.guard, person || ':')) as strangers
  into open
  from freehold.login_attempts a
  where a.key = person and a.state = 'pending';
  if open.lost > 0 then
    perform access.fail_lost(t, person);
    return access.begin_attempt(t, person, guard, subject, identifier, named, hash_parameters);
  end if;
  g := access.lockout_now(t, coalesce(guard, person));
  if is_stranger then
    w := access.lockout_now(t, person);
  end if;
  if g.locked_until > now()
    or w.locked_until > now()
    -- As many were allowed when they failed: the setting has been lowered since.
    or g.failures >= t.max_failures
    or (is_stranger and w.failures >= access.most_of_strangers(t))
  then
    state := 'refused';
  elsif coalesce(g.failures, 0) + open.alike >= t.max_failures
    or (is_stranger and w.failures + open.strangers >= access.most_of_strangers(t))
  then
    return jsonb_build_object('state', 'busy');
  elsif access.is_foreign(hash_parameters) then
    -- One after another, so that of many at once each sees those before it.
    perform pg_advisory_xact_lock(hashtext('access.foreign_wait'));
  end if;
  retry_after := access.foreign_wait();
  if state = 'pending' and retry_after is not null and access.is_foreign(hash_parameters) then
    state := 'deferred';
  end if;
  if state <> 'pending' then
    hash_parameters := access.hash_parameters_of(null, identifier);
  end if;
  insert into freehold.login_attempts (id, key, guard, network, user_id, identifier, hash_parameters, state)
  values (
    attempt, person, guard, case when is_stranger then substr(guard, length(person) + 2) end, subject, named,
    hash_parameters, state
  );
  return jsonb_build_object(
    'state', 'pending',
    'attempt', attempt,
    'hash_parameters', hash_parameters,
    'retry_after', retry_after
  );
end $$;
--> statement-breakpoint
-- Finishes an attempt, once: compares the digest (32 bytes, base64 without padding) with the user's hash, counts a
-- failure or clears the lockout of its guard. Returns the user when the password was right, and leaves their row locked.
-- Of a login, and where a second factor is compared with it, the password alone clears nothing: what follows does.
-- Without a digest nothing is compared, and so nothing counted: the Worker was busy with other foreign hashes.
create or replace function access.finish_attempt(t freehold.tenant, attempt uuid, digest text) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  u freehold.users;
  is_right boolean;
begin
  select * into a from freehold.login_attempts x where x.id = attempt;
  -- Of two that finish this attempt, the second waits here.
  perform from freehold.lockouts x where x.key = a.key for update;
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
    perform access.count_failures(t, a.key, a.guard, 1);
    return null;
  end if;
  if a.key not like 'factor:%' and a.key not like 'login:%' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = coalesce(a.guard, a.key);
  end if;
  return u;
end $$;
--> statement-breakpoint
-- Everything that the Worker needs to make an access token, and to say how old the password is. What it carries for an
-- API, the API's row says. A session that named no client is Freehold's own.
create or replace function access.token_claims(
  u freehold.users,
  s freehold.sessions,
  t freehold.tenant,
  audience text default null
) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  shown jsonb := access.profile(u.id);
  expiry timestamptz := access.password_expiry(u, t);
  carried record := access.audience_permissions(u.id, t, audience);
begin
  return jsonb_build_object(
    'user_id', u.id,
    'session_id', s.id,
    'proof', access.session_proof(s.id),
    'username', u.username,
    'email', u.email,
    'role', shown -> 'role',
    'roles', shown -> 'roles',
    'permissions', carried.permissions,
    'permissions_truncated', carried.truncated,
    'client_id', coalesce(s.client_id, 'freehold'),
    'audience', audience,
    'amr', s.amr,
    'aal', s.aal,
    'auth_time', floor(extract(epoch from coalesce(s.authenticated_at, s.created_at))),
    'access_minutes', t.access_minutes,
    'session_expires_at', s.expires_at,
    'mfa_due_at', access.factor_due_at(u, t),
    'must_change_password', access.must_change(u, t),
    'password_expires_at', expiry,
    'password_expires_soon', coalesce(expiry <= now() + make_interval(days => t.password_warning_days), false))
    || case
      when s.impersonator_id is null then '{}'
      else jsonb_build_object('act', jsonb_build_object('sub', s.impersonator_id))
    end
    || jsonb_strip_nulls(jsonb_build_object('ext', s.hook_claims));
end $$;
--> statement-breakpoint
-- First half: what access.begin_attempt returns, the same for an unknown identifier, and what the settings of risk want of the
-- Worker: `asks_breached`, `mails_code`. `devices` are tokens of known
-- devices, an array: with a valid one of this user the attempt is of that device, else of a stranger. A user who is not
-- active costs no hash of another system. The audit names the user and not what was typed. `is_grant`: the OAuth 2
-- password grant, which is {state: not_offered} where the settings do not offer it, and then nothing begins. The
-- previous release sends neither `devices` nor `request`.
create or replace function access.begin_login(
  tenant_id uuid,
  system_key text,
  identifier text,
  devices jsonb default '[]',
  request jsonb default '{}',
  is_grant boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  person text;
begin
  if is_grant and not t.password_grant then
    return jsonb_build_object('state', 'not_offered');
  end if;
  identifier := left(identifier, 255);
  if strpos(identifier, '@') > 0 then
    select * into u from freehold.users x where x.email = identifier;
  else
    select * into u from freehold.users x where x.username = identifier;
  end if;
  person := case
    when u.id is null then 'unknown:' || encode(access.mac('guard:' || identifier), 'hex')
    else 'login:' || u.id
  end;
  return jsonb_build_object('asks_breached', t.risk_breached, 'mails_code', t.risk_action = 'step_up') || access.begin_attempt(
    t,
    person,
    coalesce(
      'device:' || u.id || ':' || access.device_of(t, u.id, devices),
      person || ':' || access.login_network(request ->> 'address')
    ),
    u.id,
    identifier,
    -- Enough of the hash to see that somebody tries one identifier again and again.
    coalesce(u.username, left(person, 24)),
    access.hash_parameters_of(case when access.is_present(u) then u.id end, identifier)
  );
end $$;
--> statement-breakpoint
-- Second half: {outcome: ok, claims, device_token} with a session and its first refresh token, or {outcome: refused,
-- mail, is_known}, or what access.enter returns where somebody is not let in, or not yet: a second factor is open.
-- `is_known`, whether there is such a user, is for the Worker's log alone. When the user has too many sessions, the oldest end.
-- `renewed` is a new hash of the same password,
-- in place of the one that was compared. `former` holds the hashes of the refresh tokens that the browser has in cookies,
-- by account: the session of this user's ends, because this one takes its cookies' place. `client` is
-- the OAuth client that logs in, and `audience` the API that its first access token is for; null: none was named, the
-- tenant itself. The previous release sends none of the three.
create or replace function access.finish_login(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  renewed text,
  refresh_hash bytea,
  request jsonb,
  former jsonb default '{}',
  client text default null,
  audience text default null
) returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  a freehold.login_attempts;
  why text;
  entered jsonb;
begin
  select * into a from freehold.login_attempts x where x.id = attempt;
  if u.id is null then
    select * into u from freehold.users x where x.id = a.user_id;
    why := case
      when u.id is null then 'unknown'
      when a.state = 'refused' then 'locked'
      when a.state = 'deferred' then 'rate_limited'
      when not access.is_present(u) then 'inactive'
      else 'wrong_password'
    end;
    perform access.set_audit_actor(u.id, a.identifier, request);
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, why, why in ('unknown', 'locked', 'rate_limited'),
      jsonb_build_object('reason', why), 20
    );
    return jsonb_build_object(
      'outcome', 'refused', 'mail', access.has_enqueued_mail(), 'is_known', u.id is not null
    );
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  if renewed is not null and access.has_role(u.id) then
    update freehold.passwords p set password_hash = renewed
    where p.user_id = u.id and p.replaced_at is null and p.password_hash = access.stored_hash(a.hash_parameters, digest);
  end if;
  entered := access.enter(
    u, t, refresh_hash, request, former, client, audience, 'pwd', 1,
    substring(a.guard from '^device:[^:]+:(.+)$')::uuid
  );
  -- A password that was right clears nothing by itself while a second factor is open, or the login was too risky.
  if entered ->> 'outcome' = 'ok' or u.factors = '{}' and entered ->> 'outcome' not in ('mfa_required', 'too_risky') then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = coalesce(a.guard, a.key);
  end if;
  return access.unless_risky(t, u, a.guard, entered);
end $$;
--> statement-breakpoint
-- Lets somebody in who proved to be `u` by the methods `amr` (RFC 8176, with a space between them), which are `aal`
-- factors: {outcome: ok, claims, device_token}, or {outcome: no_role | first_password_expired | unknown_audience}, or
-- {outcome: limit_reached | denied_by_hook, said}; or, where one factor is not enough, {outcome: mfa_required, methods,
-- expires_in, totp} (access.challenge), and then `refresh_hash` is that of the challenge's token; or {outcome: too_risky},
-- which the caller answers, and counts, as a proof that was wrong (src/risk). The caller has locked the user's row and set
-- the actor of the audit. `assessed` is the attempt whose risk was assessed before a second step; null: it is assessed here.
-- `former`, `client` and `audience` are as for access.finish_login. `device` is the one that
-- the login is from; null: one that is not known. `remember`: whether it is to be remembered, once two factors are proven.
create or replace function access.enter(
  u freehold.users,
  t freehold.tenant,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  client text,
  audience text,
  amr text,
  aal integer,
  device uuid,
  remember boolean default false,
  assessed uuid default null
) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
  r freehold.risk_attempts;
  is_stopped boolean;
  asked jsonb;
  why text := case
    when not access.has_role(u.id) then 'no_role'
    -- Who got this far knows the password, so that this tells a stranger nothing.
    when u.must_change_password and access.first_password_expiry(u.id, t) <= now() then 'first_password_expired'
    when not access.is_audience(audience) then 'unknown_audience'
  end;
begin
  if why is not null then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', why),
      case why when 'first_password_expired' then 20 else 10 end
    );
    return jsonb_build_object('outcome', why);
  end if;
  if assessed is null then
    r := access.assess_risk(u, t, 'login', request, device);
  end if;
  is_stopped := coalesce(r.score >= t.risk_stop and t.risk_action <> 'none', false);
  if is_stopped and t.risk_action = 'refuse' then
    perform access.keep_risk(r, t, 'refused', request);
    return jsonb_build_object('outcome', 'too_risky');
  elsif aal < 2
    and (
      (u.factors <> '{}' or access.asks_for_passkey(u, t)) and (is_stopped or not access.is_remembered(t, u.id, device))
      or is_stopped and access.can_challenge(u, amr, request)
    )
  then
    if r.id is not null then
      perform access.keep_risk(r, t, 'challenged', request);
    end if;
    return access.challenge(u, refresh_hash, request, client, audience, amr, device, r.id);
  end if;
  asked := access.ask_about_login(u, request, client, amr);
  if not (asked ->> 'is_allowed')::boolean then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', asked ->> 'reason'), 20
    );
    -- No past to compare with; and its user is told all the same that somebody knew the password.
    if r.id is not null then
      perform access.keep_risk(r, t, 'challenged', request);
    end if;
    return jsonb_build_object('outcome', 'denied_by_hook', 'said', asked ->> 'said');
  end if;
  device := coalesce(device, gen_random_uuid());
  begin
    s := access.open_session(u, t, refresh_hash, request, former, client, amr, aal, device, asked -> 'claims');
  -- Nothing of it is left, and the attempt stays finished: who was let in once is no failure.
  exception when sqlstate 'FH409' then
    get stacked diagnostics why = pg_exception_detail;
    perform access.note_active_places(t);
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'limit_reached'), 10
    );
    if r.id is not null then
      perform access.keep_risk(r, t, 'challenged', request);
    end if;
    return jsonb_build_object('outcome', 'limit_reached', 'said', why);
  end;
  if assessed is not null then
    perform access.pass_risk(assessed, device);
  else
    r.device := device;
    perform access.keep_risk(r, t, 'allowed', request);
  end if;
  if remember and aal = 2 then
    perform access.remember_device(t, u.id, device);
  end if;
  return jsonb_build_object(
    'outcome', 'ok',
    'claims', access.token_claims(u, s, t, audience),
    'device_token', access.device_token(t, u.id, device, floor(extract(epoch from now()))::bigint)
  );
end $$;
--> statement-breakpoint
-- The session, with its first refresh token. The arguments are as for access.enter. Raises FH409 limit_reached.
create or replace function access.open_session(
  u freehold.users,
  t freehold.tenant,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  client text,
  amr text,
  aal integer,
  device_id uuid,
  hook_claims jsonb default null
) returns freehold.sessions
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
  surplus uuid[];
begin
  if former ? u.id::text then
    update freehold.sessions x set ended_at = now(), ended_because = 'replaced'
    where x.user_id = u.id
      and x.ended_at is null
      and x.id = (select l.session_id from freehold.refresh_tokens l where l.token_hash = (former ->> u.id::text)::bytea);
  end if;
  insert into freehold.sessions (
    id, user_id, device, device_id, address, city, country, client_id, amr, aal, expires_at, hook_claims
  )
  values (
    gen_random_uuid(),
    u.id,
    left(request ->> 'agent', 255),
    open_session.device_id,
    left(request ->> 'address', 64),
    left(request ->> 'city', 120),
    left(request ->> 'country', 2),
    left(client, 255),
    amr,
    aal,
    now() + make_interval(days => t.session_days),
    nullif(open_session.hook_claims, 'null')
  )
  returning * into s;
  -- The user's row has been locked since the comparison, so that of many logins at once each sees the sessions of
  -- those before it.
  surplus := array(
    select y.id
    from freehold.sessions y
    where y.user_id = u.id
      and y.id <> s.id
      and y.impersonator_id is null
      and y.ended_at is null
      and y.expires_at > now()
      and y.last_active_at > now() - access.idle_limit(t)
    order by y.created_at desc, y.id
    offset coalesce(u.max_sessions, t.max_sessions) - 1
  );
  if surplus <> '{}' then
    update freehold.sessions x set ended_at = now(), ended_because = 'limit' where x.id = any (surplus);
  end if;
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
  values (refresh_hash, s.id, s.device, s.expires_at);
  perform access.take_session_place(s, t);
  return s;
end $$;
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
-- Mails those whose competencies end soon and their managers, as many as the day has room for; all of one person that are
-- due at once in one mail. Returns how many mails. Not of what was renewed, was retired, or is of somebody who is not
-- here any more. Called by the scheduled job, as the owner. What is locked by others comes next time.
create or replace function access.alert_expiring_competencies(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  due uuid[];
  mailed integer;
begin
  with noted as (
    update freehold.competencies c
    set alerted_days = access.alert_days(c.expires_at)
    where c.id in (
      select x.id
      from freehold.competencies x
        join freehold.users u on u.id = x.user_id
        join freehold.competency_types y on y.id = x.type_id
      where x.revoked_at is null
        and x.expires_at > now()
        and x.expires_at <= now() + interval '60 days'
        and x.verified_at is not null
        and coalesce(x.alerted_days > access.alert_days(x.expires_at), true)
        and y.retired_at is null
        and access.is_present(u)
        and not exists (
          select
          from freehold.competencies o
          where o.user_id = x.user_id
            and o.type_id = x.type_id
            and o.level >= x.level
            and o.verified_at is not null
            and o.revoked_at is null
            and coalesce(o.expires_at > x.expires_at, true))
      order by x.expires_at, x.id
      limit least(at_most, access.warnings_left() / 2)
      for update of x skip locked
      for key share of u skip locked
    )
    returning c.id
  )
  select array_agg(n.id) into due from noted n;
  -- In their list, too; the mail goes in any case.
  perform access.notify(
    c.user_id,
    'competency_expires',
    jsonb_build_object(
      'competency', t.name, 'expires_at', to_char(c.expires_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
    resource_type => 'competency',
    resource_id => c.id::text,
    is_mailed => true)
  from freehold.competencies c
    join freehold.competency_types t on t.id = c.type_id
  where c.id = any (due);
  with told as (
    select
      c.user_id,
      string_agg(format('%s (%s)', t.name, to_char(c.expires_at at time zone 'utc', 'YYYY-MM-DD')), '; '
        order by c.expires_at, t.name) as competencies
    from freehold.competencies c
      join freehold.competency_types t on t.id = c.type_id
    where c.id = any (due)
    group by c.user_id
  )
  select
    count(access.enqueue_mail(
      'competency_expires', u.id, u.email, jsonb_build_object('competencies', t.competencies)))
    + count(case when m.id is not null then access.enqueue_mail(
      'competency_expires_of_other', m.id, m.email,
      jsonb_build_object('competencies', t.competencies, 'person', access.inviter_name(u))) end)
  into mailed
  from told t
    join freehold.users u on u.id = t.user_id
    left join freehold.users m on m.id = u.manager_id and access.is_present(m);
  return mailed;
end $$;
--> statement-breakpoint
-- The cells of each person, of the types of which there is a record, or which a role of theirs demands: the highest level
-- that counted at the moment, and of several the one that lasts longest; else the record that comes nearest to counting.
-- A matrix has thousands of cells, so that each is a place in five arrays, and the Worker writes it out. `places`: of the
-- types. `states`: 1 valid, 2 unverified, 3 expired, 4 revoked, 5 missing. `ends`: when it expires, in UTC.
create or replace function access.matrix_rows(people uuid[], types uuid[], at timestamptz)
returns table (
  user_id uuid,
  places integer[],
  states integer[],
  levels integer[],
  ends timestamp[],
  required_levels integer[]
)
language plpgsql stable security definer rows 100 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  reached uuid[];
begin
  if coalesce(access.permission(), '') not in ('competency:read', 'competency:export') then
    return;
  end if;
  select array_agg(u.id) into reached
  from freehold.users u
  where u.id = any (people)
    and ((select access.scope() = 'all')
      or u.id = any ((select access.scope_owner_ids())::uuid[])
      or u.unit_id = any ((select access.scope_unit_ids())::uuid[]));
  return query
    with asked as materialized (
      select t.id, t.place::integer from unnest(types) with ordinality t (id, place)
    ),
    -- By person alone: looking for each type of each person would be a look into the index for each cell.
    best as (
      select distinct on (r.user_id, t.place) r.user_id, t.place, r.state, r.level, r.expires_at
      from (
        select c.user_id, c.type_id, c.level, c.expires_at,
          case when c.revoked_at <= at then 4 when c.expires_at <= at then 3 when c.verified_at <= at then 1 else 2 end as state
        from freehold.competencies c
        where c.user_id = any (reached) and c.created_at <= at and c.issued_at <= at
        offset 0
      ) r
        join asked t on t.id = r.type_id
      order by r.user_id, t.place, r.state, case when r.state = 1 then r.level end desc,
        r.expires_at desc nulls first, r.level desc
    ),
    demanded as (
      select d.user_id, t.place, d.level
      from access.demanded_levels(reached, at) d
        join asked t on t.id = d.type_id
    )
    select
      coalesce(b.user_id, d.user_id),
      array_agg(coalesce(b.place, d.place)),
      array_agg(coalesce(b.state, 5)),
      array_agg(case when b.state = 1 then b.level end),
      array_agg(b.expires_at at time zone 'utc'),
      array_agg(d.level)
    from best b
      full join demanded d on d.user_id = b.user_id and d.place = b.place
    group by coalesce(b.user_id, d.user_id);
end $$;
--> statement-breakpoint
-- Spends a code, shown with the token of its request, or a link: what access.enter returns, or {outcome: refused, mail},
-- or {outcome: confirm, username, email, agent, city, country, requested_at} for a link that was shown without that token
-- and without `is_confirmed`, which spends nothing. A failure is returned, not raised, so that it counts and its entry is
-- committed. `former` and `devices` are as for logins.
create or replace function access.verify_email_login(
  tenant_id uuid,
  system_key text,
  request_hash bytea,
  code_hash bytea,
  link_hash bytea,
  is_confirmed boolean,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  devices jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  e freehold.email_logins;
  u freehold.users;
  device uuid;
  guard text;
  why text;
  entered jsonb;
begin
  select * into e
  from freehold.email_logins x
  where case
    when verify_email_login.link_hash is null then x.request_hash = verify_email_login.request_hash
    else x.link_hash = verify_email_login.link_hash
  end;
  if e.request_hash is not null then
    u := access.lock_person(e.user_id);
    select * into e from freehold.email_logins x where x.request_hash = e.request_hash for update;
  end if;
  perform access.set_audit_actor(u.id, coalesce(u.username, 'unknown login'), request);
  device := access.device_of(t, u.id, devices);
  guard := access.login_guard(u.id, device, request);
  why := case
    when e.request_hash is null then 'unknown_email_login'
    when e.used_at is not null
      or e.expires_at <= now()
      or e.failures >= 5
      or not t.email_login
      or e.target <> u.email
      -- Whoever read the mailbox before may have asked for it.
      or e.created_at <= u.password_changed_at
      or not access.is_present(u) then 'email_login_ended'
    when verify_email_login.link_hash is not null then null
    when access.is_locked_out(t, u.id, guard) then 'locked'
    when e.code_hash is distinct from verify_email_login.code_hash then 'wrong_email_code'
  end;
  if why is not null then
    if why = 'wrong_email_code' then
      update freehold.email_logins x set failures = x.failures + 1 where x.request_hash = e.request_hash;
      perform access.count_failures(t, 'login:' || u.id, guard, 1);
    end if;
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, why, why <> 'wrong_email_code', jsonb_build_object('reason', why), 20
    );
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  elsif e.request_hash is distinct from verify_email_login.request_hash and not is_confirmed then
    return jsonb_build_object(
      'outcome', 'confirm',
      'username', u.username,
      'email', u.email,
      'agent', e.agent,
      'city', e.city,
      'country', e.country,
      'requested_at', to_char(e.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    );
  end if;
  update freehold.email_logins x set used_at = now() where x.request_hash = e.request_hash and x.used_at is null;
  -- The mail was read, which proves the address that it went to.
  update freehold.users x set email_verified = true where x.id = u.id and not x.email_verified;
  entered := access.enter(u, t, refresh_hash, request, former, null, null, 'otp', 1, device);
  if entered ->> 'outcome' = 'ok' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = guard;
  end if;
  return access.unless_risky(t, u, guard, entered);
end $$;
--> statement-breakpoint
-- Numbers the entries under checkpoints that have no numbers yet. The caller holds the lock of checkpoint_audit. Where
-- numbers of checkpoints are missing the tenant was restored to an earlier moment: a new epoch begins, above every number
-- that the branch that was left can have given (5,000 for each of its checkpoints), so that who read on it misses nothing.
create or replace function access.number_events() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  newest access.event_spans;
begin
  select * into newest from access.event_spans s order by s.checkpoint desc limit 1;
  insert into access.event_spans (checkpoint, epoch, first_seq, last_seq)
  select
    x.no,
    coalesce(newest.epoch, 1) + x.cuts,
    x.last_seq - x.entries + 1,
    x.last_seq
  from (
    select
      c.no,
      c.entries,
      (count(*) filter (where c.skipped > 0) over (order by c.no))::integer as cuts,
      coalesce(newest.last_seq, 0) + sum(c.entries + c.skipped * 5000::bigint) over (order by c.no) as last_seq
    from (
      select
        s.no,
        s.entries,
        s.no - 1 - coalesce(lag(s.no) over (order by s.no), newest.checkpoint, 0) as skipped
      from freehold.audit_checkpoints s
      where s.no > coalesce(newest.checkpoint, 0)
    ) c
  ) x;
end $$;
--> statement-breakpoint
-- Makes a checkpoint: {is_pending, is_due}, whether entries are left without one, because an older transaction still runs,
-- or another call is at work; and whether a webhook has something to send.
create or replace function access.checkpoint_soon(tenant_id uuid, system_key text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  perform access.checkpoint_audit(5000);
  return jsonb_build_object(
    'is_pending', exists (select from freehold.audit_log l where l.checkpoint is null),
    'is_due', coalesce(access.webhooks_due() <= now(), false)
  );
end $$;
--> statement-breakpoint
-- What tables with triggers of the audit call their rows: of these a service records no change (access.is_built_in_activity).
create or replace function access.event_resources() returns text[]
language sql immutable
return '{api_key,audience,competency,competency_type,delegation,delegation_permission,employee,external_identity,hook,logo,
  organization,override,passkey,password,permission,provider,role,role_permission,session,tenant,unit,user,user_role,
  webhook}'::text[];
--> statement-breakpoint
-- The type of an event: a subject and what happened to it. An activity that a service recorded is `custom.` and its name;
-- a change of a row is named after its resource. A service chooses its words: `session` and `ende` make no `session.ended`.
create or replace function access.event_type(activity text, resource text, action text) returns text
language sql immutable
return case activity
  when 'LOGIN' then 'login.succeeded'
  when 'LOGIN_FAILED' then 'login.failed'
  when 'LOGOUT' then 'session.ended'
  when 'STEP_UP' then 'step_up.succeeded'
  when 'STEP_UP_FAILED' then 'step_up.failed'
  when 'EMAIL_LOGIN_REQUESTED' then 'email_login.requested'
  when 'PASSWORD_CHANGE' then 'password.changed'
  when 'PASSWORD_CHANGE_FAILED' then 'password.change_failed'
  when 'PASSWORD_RESET' then 'password.reset'
  when 'PASSWORD_RESET_REQUESTED' then 'password.reset_requested'
  when 'EMAIL_CHANGE_REQUESTED' then 'email.change_requested'
  when 'MFA_ENABLED' then 'mfa.enabled'
  when 'MFA_DISABLED' then 'mfa.disabled'
  when 'MFA_CHANGE_FAILED' then 'mfa.change_failed'
  when 'BACKUP_CODE_USED' then 'backup_code.used'
  when 'BACKUP_CODES_RENEWED' then 'backup_codes.renewed'
  when 'PASSKEY_CLONE_SUSPECTED' then 'passkey.clone_suspected'
  when 'PROFILE_UPDATE' then 'user.updated'
  when 'USER_REGISTERED' then 'user.registered'
  when 'REGISTRATION_REQUESTED' then 'registration.requested'
  when 'USER_UNLOCKED' then 'user.unlocked'
  when 'USERS_IMPORTED' then 'users.imported'
  when 'EMPLOYEES_IMPORTED' then 'employees.imported'
  when 'COMPETENCY_VERIFIED' then 'competency.verified'
  when 'COMPETENCY_REVOKED' then 'competency.revoked'
  when 'USER_ERASED' then 'user.erased'
  when 'ERASURE_REQUESTED' then 'erasure.requested'
  when 'ERASURE_CANCELLED' then 'erasure.cancelled'
  when 'PERMISSION_CHANGE' then resource || '.' || action || 'd'
  when 'PERMISSIONS_READ' then 'permissions.read'
  when 'ROLE_ASSIGNED' then 'role.assigned'
  when 'ROLE_REMOVED' then 'role.removed'
  when 'API_KEY_CREATED' then 'api_key.created'
  when 'API_KEY_REVOKED' then 'api_key.revoked'
  when 'SUSPICIOUS_ACTIVITY' then 'suspicious_activity.detected'
  when 'ACCESS_REFUSED' then 'access.refused'
  when 'EXPORT' then case resource
    when 'user' then 'personal_data.exported'
    when 'competency' then 'competencies.exported'
    else 'activities.exported'
  end
  when 'AUDIT_ERASED' then 'audit.erased'
  when 'DOCUMENTS_COUNTED' then 'documents.counted'
  when 'ORGANIZATION_ENDING' then 'organization.ending'
  when 'ORGANIZATION_WIPED' then 'organization.wiped'
  when 'IMPERSONATION_STARTED' then 'impersonation.started'
  when 'IMPERSONATION_ENDED' then 'impersonation.ended'
  when 'DEVICE_REMEMBERED' then 'device.remembered'
  when 'DEVICE_FORGOTTEN' then 'device.forgotten'
  when 'INVITATION_SENT' then 'invitation.sent'
  when 'INVITATION_ACCEPTED' then 'invitation.accepted'
  when 'INVITATION_REVOKED' then 'invitation.revoked'
  when 'TENANT_RESTORED' then 'tenant.restored'
  when 'WEBHOOK_REPLAYED' then 'webhook.replayed'
  when 'HOOK_FAILED' then 'hook.failed'
  else case
    when activity = upper(resource) || '_' || upper(action) || 'D'
      and action in ('create', 'update', 'delete')
      and resource = any (access.event_resources())
      then resource || '.' || action || 'd'
    else 'custom.' || lower(activity)
  end
end;
--> statement-breakpoint
-- Whether an event type is among those that are wanted: `user.created`, or `user.*`; none: all are.
create or replace function access.is_wanted(type text, kinds text[]) returns boolean
language sql immutable
return kinds = '{}' or type = any (kinds) or split_part(type, '.', 1) || '.*' = any (kinds);
--> statement-breakpoint
-- The events with numbers from `first` to `last`, in order: a list of {v, seq, ...}. With `is_detailed` each has its
-- details and their salt, which whoever verifies them needs; null: they were erased. Read by the entries of each checkpoint,
-- at most 5,000, which an index has in order.
create or replace function access.events_between(first bigint, last bigint, is_detailed boolean, kinds text[] default '{}') returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(e.event order by e.seq), '[]')
  from (
    select n.seq, jsonb_build_object(
      'v', 1,
      'seq', n.seq,
      'epoch', n.epoch,
      'id', l.id,
      'type', t.type,
      'at', to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      'user_id', l.user_id,
      'activity_type', l.activity_type,
      'action', l.action,
      'resource_type', l.resource_type,
      'resource_id', l.resource_id,
      'risk_score', l.risk_score,
      'trace_id', l.trace_id,
      'xid', l.xid,
      'detail_hash', encode(l.detail_hash, 'hex'),
      'checkpoint', jsonb_build_object(
        'no', c.no,
        'entries', c.entries,
        'oldest_xid', c.oldest_xid,
        'next_xid', c.next_xid,
        'created_at', to_char(c.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'hash', encode(c.hash, 'hex'),
        'previous_hash', encode(b.hash, 'hex')
      )
    ) || case
      when not is_detailed then '{}'
      else jsonb_build_object('details', case when d.log_id is not null then jsonb_build_object(
        'salt', encode(d.salt, 'hex'),
        'user_name', d.user_name,
        'address', d.address,
        'agent', d.agent,
        'method', d.method,
        'path', d.path,
        'before', d.before,
        'after', d.after,
        'api_key_id', d.api_key_id,
        'impersonator_id', d.impersonator_id
      ) end)
    end as event
    from (
      select
        x.id,
        s.checkpoint,
        s.epoch,
        s.first_seq - 1 + row_number() over (partition by x.checkpoint order by x.xid, x.id) as seq
      from access.event_spans s
      join freehold.audit_log x on x.checkpoint = s.checkpoint
      where s.first_seq <= events_between.last
        and s.first_seq >= (
          select max(f.first_seq) from access.event_spans f where f.first_seq <= events_between.first)
    ) n
    join freehold.audit_log l on l.id = n.id
    join freehold.audit_checkpoints c on c.no = n.checkpoint
    left join lateral (
      select p.hash from freehold.audit_checkpoints p where p.no < c.no order by p.no desc limit 1
    ) b on true
    left join freehold.audit_detail d on is_detailed and d.log_id = l.id
    cross join lateral (select access.event_type(l.activity_type, l.resource_type, l.action) as type) t
    where n.seq between events_between.first and events_between.last and access.is_wanted(t.type, kinds)
  ) e
$$;
--> statement-breakpoint
-- The first number after another that an event has: the next one, but where the chain was cut. null: there is none yet.
create or replace function access.next_seq(after bigint) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(s.first_seq, after + 1)
  from access.event_spans s
  where s.last_seq > after and s.last_seq >= s.first_seq
  order by s.last_seq
  limit 1
$$;
--> statement-breakpoint
-- A page of events after a number, with details at most 20: each has up to 256 KiB. Records nothing: who reads the feed
-- would otherwise never reach its end. Raises FH403.
create or replace function access.read_events(after bigint, most integer, is_detailed boolean) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  first bigint := access.next_seq(after);
begin
  if access.permission() is distinct from 'activity:export' or access.scope() <> 'all' then
    perform access.refuse('forbidden', 'Events are all activities: activity:export at scope all is needed.');
  end if;
  return access.events_between(first, first + case when is_detailed then least(most, 20) else most end - 1, is_detailed);
end $$;
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
    select x.user_id, x.why into found_user, why from access.external_user(t, p, identity, request) x;
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
-- Opens a challenge for a user who proved the first factor: {outcome: mfa_required, user_id, methods, expires_in, totp,
-- remember_days}. `totp` is the encrypted secret, which the Worker seals in the token, so that the code is compared in one
-- round trip. The arguments are as for access.enter.
create or replace function access.challenge(
  u freehold.users,
  token_hash bytea,
  request jsonb,
  client text,
  audience text,
  amr text,
  device uuid,
  risk uuid default null
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  methods jsonb := access.factor_methods(u);
  is_mailed boolean := methods = '[]' and request ? 'mailed_code';
begin
  delete from freehold.login_challenges c where c.user_id = u.id and c.expires_at <= now();
  insert into freehold.login_challenges (
    token_hash, user_id, guard, client, audience, device, amr, risk_id, expires_at
  )
  values (
    challenge.token_hash,
    u.id,
    access.login_guard(u.id, device, request),
    left(client, 255),
    audience,
    device,
    amr,
    risk,
    now() + interval '5 minutes'
  );
  if is_mailed then
    perform access.mail_login_code(u, challenge.token_hash, request);
  end if;
  return jsonb_build_object(
    'outcome', 'mfa_required',
    'user_id', u.id,
    'methods', case when is_mailed then '["email_code"]' else methods end,
    'expires_in', case when is_mailed then 600 else 300 end,
    'totp', (select f.secret_encrypted from freehold.totp_factors f where f.user_id = u.id and f.enabled_at is not null),
    'remember_days', case when is_mailed then 0 else (select t.mfa_remember_days from freehold.tenant t) end
  );
end $$;
--> statement-breakpoint
-- The challenge of a token, while it can be met; null: it has ended, or too much failed. Leaves the lockout of the
-- person, the user and the challenge locked, in this order.
create or replace function access.open_challenge(t freehold.tenant, shown bytea) returns freehold.login_challenges
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  c freehold.login_challenges;
  u freehold.users;
begin
  select * into c from freehold.login_challenges x where x.token_hash = shown;
  if c.token_hash is null then
    return null;
  end if;
  u := access.lock_person(c.user_id);
  select * into c from freehold.login_challenges x where x.token_hash = shown for update;
  if c.token_hash is null
    or c.used_at is not null
    or c.expires_at <= now()
    or c.failures >= t.max_failures
    -- Whoever held the former password may have begun it.
    or c.created_at <= u.password_changed_at
    or c.code_hash is null and access.factor_methods(u) = '[]'
    or not access.is_present(u)
    or access.is_locked_out(t, c.user_id, c.guard)
  then
    return null;
  end if;
  return c;
end $$;
--> statement-breakpoint
-- What follows the comparison with what was `shown`: what access.enter returns, or {outcome: refused, mail}. `c` is null
-- where it could not be met any more. `method` is the one that was used (RFC 8176), and `reason` what the audit says when it was
-- wrong. `former` and `remember` are as for access.enter.
create or replace function access.meet_challenge(
  t freehold.tenant,
  shown bytea,
  c freehold.login_challenges,
  is_right boolean,
  method text,
  reason text,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  remember boolean,
  aal integer default 2
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  entered jsonb;
begin
  select x.* into u
  from freehold.login_challenges y
    join freehold.users x on x.id = y.user_id
  where y.token_hash = shown;
  perform access.set_audit_actor(u.id, u.username, request);
  if c.token_hash is null or not coalesce(is_right, false) then
    reason := case when c.token_hash is null then 'challenge_ended' else reason end;
    if c.token_hash is not null then
      update freehold.login_challenges x set failures = x.failures + 1 where x.token_hash = c.token_hash;
      perform access.count_failures(t, 'login:' || u.id, c.guard, 1);
    end if;
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, reason, c.token_hash is null, jsonb_build_object('reason', reason), 30
    );
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  end if;
  update freehold.login_challenges x set used_at = now() where x.token_hash = c.token_hash;
  entered := access.enter(
    u, t, refresh_hash, request, former, c.client, c.audience, access.both_methods(c.amr, method), aal, c.device, remember,
    c.risk_id
  );
  if entered ->> 'outcome' = 'ok' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = c.guard;
  end if;
  return access.unless_risky(t, u, c.guard, entered);
end $$;
--> statement-breakpoint
-- Whether somebody who came by `amr` can be asked for a second step: by a factor of theirs, else by a code by mail, where the
-- Worker made one and they did not come by mail.
create or replace function access.can_challenge(u freehold.users, amr text, request jsonb) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.factor_methods(u) <> '[]' or request ? 'mailed_code' and amr not like 'otp%'
$$;
--> statement-breakpoint
-- Mails the code of `request`, {mailed_code: {hash, secrets}, address}, which works for ten minutes from now; false: it was
-- beyond a limit of mails, and the former code stays. Either way it counts for the challenge.
create or replace function access.mail_login_code(u freehold.users, challenge bytea, request jsonb) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  until timestamptz := now() + interval '10 minutes';
  is_mailed boolean := access.enqueue_mail(
    'login_code', u.id, u.email,
    jsonb_build_object('expires_at', until, 'network', access.login_network(request ->> 'address')),
    request -> 'mailed_code' ->> 'secrets'
  ) is not null;
begin
  update freehold.login_challenges c
  set mails = c.mails + 1,
    mailed_at = now(),
    -- Where even the first was dropped there is a code all the same, which nobody knows: another may be asked for.
    code_hash = case
      when is_mailed or c.code_hash is null then (request -> 'mailed_code' ->> 'hash')::bytea
      else c.code_hash
    end,
    expires_at = case when is_mailed then greatest(c.expires_at, until) else c.expires_at end
  where c.token_hash = challenge;
  return is_mailed;
end $$;
--> statement-breakpoint
-- What access.enter returns, or {outcome: refused, mail}. `code_hash` is of the challenge's token with the code.
create or replace function access.verify_mailed_code(
  tenant_id uuid,
  system_key text,
  challenge bytea,
  code_hash bytea,
  refresh_hash bytea,
  request jsonb,
  former jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  c freehold.login_challenges := access.open_challenge(t, challenge);
begin
  return access.meet_challenge(
    t, challenge, c, c.code_hash = verify_mailed_code.code_hash, 'otp', 'wrong_email_code', refresh_hash, request, former,
    false, 1
  );
end $$;
--> statement-breakpoint
-- {outcome: sent, expires_in, left}, or {outcome: ended} (there is no such challenge any more), {outcome: not_mailed} (it
-- asks for a second factor), {outcome: too_soon, seconds}, {outcome: no_more}; each with `mail`, whether the outbox has work.
-- `request` is as for access.mail_login_code. What it was that ended a challenge nobody is told, as with a wrong code.
create or replace function access.resend_login_code(tenant_id uuid, system_key text, challenge bytea, request jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  c freehold.login_challenges := access.open_challenge(t, challenge);
  most constant integer := 3;
  u freehold.users;
  seconds integer;
  outcome jsonb;
begin
  select x.* into u
  from freehold.login_challenges y
    join freehold.users x on x.id = y.user_id
  where y.token_hash = challenge;
  perform access.set_audit_actor(u.id, u.username, request);
  -- Of many at once each waited for the one before, and began earlier than that one ended.
  seconds := ceil(extract(epoch from c.mailed_at + interval '30 seconds' - clock_timestamp()));
  if c.token_hash is null then
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, 'challenge_ended', true, jsonb_build_object('reason', 'challenge_ended'), 30
    );
    outcome := jsonb_build_object('outcome', 'ended');
  elsif c.code_hash is null then
    outcome := jsonb_build_object('outcome', 'not_mailed');
  elsif c.mails >= most then
    outcome := jsonb_build_object('outcome', 'no_more');
  elsif seconds > 0 then
    outcome := jsonb_build_object('outcome', 'too_soon', 'seconds', seconds);
  elsif access.mail_login_code(u, challenge, request) then
    perform access.record(
      'EMAIL_LOGIN_REQUESTED', 'request', 'user', u.id::text, null,
      jsonb_build_object('reason', 'risk', 'mails', c.mails + 1), 20
    );
    outcome := jsonb_build_object('outcome', 'sent', 'expires_in', 600, 'left', most - c.mails - 1);
  else
    outcome := jsonb_build_object('outcome', 'no_more');
  end if;
  return outcome || jsonb_build_object('mail', access.has_enqueued_mail());
end $$;
--> statement-breakpoint
-- {id, act, url, on_failure, secrets}; null: there is none.
create or replace function access.target_of_hook(id uuid) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', h.id, 'act', h.act, 'url', h.url, 'on_failure', h.on_failure,
    'secrets', access.signing_secrets(h.secret_encrypted, h.former_secret_encrypted, h.former_until))
  from freehold.hooks h
  where h.id = target_of_hook.id
$$;
--> statement-breakpoint
create or replace function access.hook_target(tenant_id uuid, system_key text, hook uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  return access.target_of_hook(hook);
end $$;
--> statement-breakpoint
-- Takes answers for the rest of this transaction: [{hook_id, act, subject, is_allowed, is_failed, said, claims}].
create or replace function access.hook_answered(tenant_id uuid, system_key text, answers jsonb) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  perform access.take_hook_answers(answers);
  return true;
end $$;
--> statement-breakpoint
create or replace function access.take_hook_answers(answers jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  k access.secrets;
begin
  select * into k from access.secrets;
  perform
    set_config('access.hooks', answers::text, true),
    set_config(
      'access.hooks_signature',
      encode(access.hmac(k.inner_key, k.outer_key, access.bound('hooks:' || answers::text)), 'hex'),
      true
    );
end $$;
--> statement-breakpoint
-- The answers of this transaction; none, when the signature is not ours.
create or replace function access.hook_answers() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  said text := current_setting('access.hooks', true);
  covered text := access.bound('hooks:' || said);
  k access.secrets;
begin
  if said <> '' then
    select * into k from access.secrets;
    if current_setting('access.hooks_signature', true) in (
      encode(access.hmac(k.inner_key, k.outer_key, covered), 'hex'),
      case
        when k.rotated_at > clock_timestamp() - interval '1 minute'
          then encode(access.hmac(k.former_inner_key, k.former_outer_key, covered), 'hex')
      end)
    then
      return said::jsonb;
    end if;
  end if;
  return '[]';
end $$;
--> statement-breakpoint
-- What the hook of an act answered about a subject; null: there is none, or it is not asked here. Raises FH40H where it
-- was not asked yet. `about` is what it is told. An old Worker, which knows no hooks, takes that for a refusal.
create or replace function access.ask_hook(act text, subject text, about jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  h freehold.hooks;
  answer jsonb;
begin
  select * into h from freehold.hooks x where x.act = ask_hook.act and not x.is_paused;
  if h.id is null then
    return null;
  end if;
  select a
  into answer
  from jsonb_array_elements(access.hook_answers()) a
  where a ->> 'act' = ask_hook.act and a ->> 'subject' in (ask_hook.subject, '*');
  if answer is null then
    raise exception using
      errcode = 'FH40H',
      message = 'forbidden',
      detail = jsonb_build_object('hook_id', h.id, 'act', act, 'subject', subject, 'about', about)::text;
  end if;
  return answer;
end $$;
--> statement-breakpoint
-- Asks, and refuses (FH40D) where that is the answer. What passes though its hook failed is in the audit.
create or replace function access.obey_hook(act text, subject text, about jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  answer jsonb := access.ask_hook(act, subject, about);
begin
  if not (answer ->> 'is_allowed')::boolean then
    raise exception using errcode = 'FH40D', message = 'denied_by_hook', detail = answer ->> 'said';
  end if;
  perform access.record_failed_hook(answer);
end $$;
--> statement-breakpoint
create or replace function access.record_failed_hook(answer jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if (answer ->> 'is_failed')::boolean then
    perform access.record(
      'HOOK_FAILED', 'ask', 'hook', answer ->> 'hook_id', null, jsonb_build_object('act', answer ->> 'act'), 20
    );
  end if;
end $$;
--> statement-breakpoint
-- Asks about a login of somebody who proved who they are: {is_allowed, reason, said, claims}; null: there is no hook. Where
-- it fails and is closed, whoever may change it comes in all the same: nobody could mend it otherwise.
create or replace function access.ask_about_login(u freehold.users, request jsonb, client text, amr text) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  answer jsonb := access.ask_hook('login', u.id::text, jsonb_build_object(
    'user_id', u.id, 'username', u.username, 'email', u.email, 'organization_id', u.organization_id, 'unit_id', u.unit_id,
    'role', u.role, 'amr', amr, 'client_id', client, 'address', request ->> 'address', 'agent', request ->> 'agent',
    'country', request ->> 'country', 'city', request ->> 'city'));
  failed boolean := (answer ->> 'is_failed')::boolean;
begin
  if answer is null then
    return null;
  end if;
  if failed and access.decide(u.id, 'setting:update', now()) = 'all' then
    answer := answer || '{"is_allowed": true}';
  end if;
  if (answer ->> 'is_allowed')::boolean then
    perform access.record_failed_hook(answer);
  end if;
  return answer || jsonb_build_object('reason', case when failed then 'hook_failed' else 'denied_by_hook' end);
end $$;
--> statement-breakpoint
-- After all other checks, so that a hook is told of users alone that would be made.
create or replace function access.ask_about_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.obey_hook('user.create', new.email, jsonb_build_object(
    'username', new.username, 'email', new.email, 'email_verified', new.email_verified, 'given_name', new.given_name,
    'family_name', new.family_name, 'locale', new.locale, 'role', new.role, 'organization_id', new.organization_id,
    'unit_id', new.unit_id));
  return null;
end $$;
--> statement-breakpoint
create or replace function access.ask_about_invitation(i freehold.invitations, subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.obey_hook('invitation.accept', i.id::text, jsonb_build_object(
    'invitation_id', i.id, 'email', i.email, 'user_id', subject, 'organization_id', i.organization_id,
    'unit_id', i.unit_id, 'role_ids', i.role_ids, 'inviter_id', i.inviter_id));
end $$;
--> statement-breakpoint
-- Lines of a file are made without the hook: thousands would each wait for it.
create or replace function access.pass_hook(act text) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select access.take_hook_answers(access.hook_answers() || jsonb_build_array(
    jsonb_build_object('act', act, 'subject', '*', 'is_allowed', true, 'is_failed', false)))
$$;
--> statement-breakpoint
-- Refuses who may not export all activities themselves: a hook is told the same as it happens. One of logins takes all.
create or replace function access.must_hear_all(act text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if 'activity:export' <> all (access.held_everywhere(null)) then
    perform access.refuse('forbidden', 'A hook is told who logs in: activity:export at scope all is needed.');
  elsif act = 'login' and exists (
    select from freehold.permissions p where p.deleted_at is null and p.name <> all (access.held_everywhere(null)))
  then
    perform access.refuse('forbidden',
      'A hook of logins needs every permission at scope all: it decides who comes in, and what their tokens say.');
  end if;
end $$;
--> statement-breakpoint
create or replace function access.before_hook() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is not null and tg_op = 'INSERT' then
    perform access.must_hear_all(new.act);
    -- One at a time, so that one transaction gets the last place.
    perform pg_advisory_xact_lock(hashtext('access.hooks'));
    if (select count(*) from freehold.hooks) >= 20 then
      perform access.refuse('limit_reached', 'A tenant can have at most 20 hooks: delete one first.');
    end if;
  elsif access.principal() is not null then
    if new.secret_encrypted <> old.secret_encrypted then
      new.former_secret_encrypted := old.secret_encrypted;
      new.former_until := now() + interval '24 hours';
    end if;
    -- To pause one, anybody may who may change settings.
    if (new.url, new.on_failure, new.secret_encrypted) is distinct from (old.url, old.on_failure, old.secret_encrypted)
      or old.is_paused and not new.is_paused
    then
      perform access.must_hear_all(new.act);
    end if;
  end if;
  new.updated_at := greatest(now(), old.updated_at + interval '1 microsecond');
  return new;
end $$;
--> statement-breakpoint
-- {id, act, url, on_failure, secrets}. Raises FH403, FH404.
create or replace function access.begin_hook_test(id uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from freehold.hooks h where h.id = begin_hook_test.id) then
    -- In the words that a verb has for one that does not exist.
    raise exception using errcode = 'FH404', message = 'not_found';
  elsif access.permission() is distinct from 'setting:update' or access.scope() <> 'all' then
    perform access.refuse('forbidden', 'Changing a hook needs setting:update at scope all.');
  end if;
  return access.target_of_hook(begin_hook_test.id);
end $$;
--> statement-breakpoint
-- {id, email, given_name, family_name, organization_id, organization, inviter, expires_at, is_user, policy}; null: the
-- token is not valid. `is_user`: the address has an account.
create or replace function access.preview_invitation(tenant_id uuid, system_key text, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  i freehold.invitations := access.valid_invitation(presented, false);
begin
  return case
    when i.id is not null then jsonb_build_object(
      'id', i.id,
      'email', i.email,
      'given_name', i.given_name,
      'family_name', i.family_name,
      'locale', i.locale,
      'organization_id', i.organization_id,
      'organization', access.organization_name(i.organization_id),
      'inviter', (select access.inviter_name(u) from freehold.users u where u.id = i.inviter_id),
      'expires_at', to_char(i.expires_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      'is_user', exists (select from freehold.users u where u.email = i.email),
      'policy', access.policy_of(t)
    )
  end;
end $$;
--> statement-breakpoint
-- Makes the account of a new person, with a password or a `passkey` that the Worker verified for this invitation: as of
-- access.register_passkey, with {challenge_hash, challenge_expires_at}.
-- {outcome: done, id, username, ...}, or the outcome `invalid` (the token), `known`
-- (the address has an account; the invitation stays open), `void` (nothing of what it promised can be given any more).
-- Raises FH409 where a limit is reached; then the invitation stays open.
create or replace function access.accept_invitation(
  tenant_id uuid,
  system_key text,
  presented bytea,
  new_hash text,
  wanted jsonb,
  request jsonb,
  passkey jsonb default null
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  is_new boolean := passkey is null or access.spend_challenge(
    (passkey ->> 'challenge_hash')::bytea, (passkey ->> 'challenge_expires_at')::timestamptz);
  i freehold.invitations;
  given freehold.roles[];
  u freehold.users;
  broken text;
  answer jsonb;
begin
  if not is_new then
    perform access.refuse('illegal_state', 'This answer was used before: ask for new options.');
  end if;
  perform access.must_be_licensed(), access.lock_limit('users');
  i := access.valid_invitation(presented, true);
  if i.id is null then
    return jsonb_build_object('outcome', 'invalid');
  elsif exists (select from freehold.users x where x.email = i.email) then
    return jsonb_build_object('outcome', 'known');
  end if;
  given := array(select g from access.roles_still_given(i, i.unit_id) g);
  if i.role_ids <> '{}' and given = '{}' then
    return jsonb_build_object('outcome', 'void');
  end if;
  perform access.ask_about_invitation(i, null);
  -- A passkey was made for the id that its user was to get (passkeyOptions in accepting.ts).
  u.id := case when passkey is null then gen_random_uuid() else i.id end;
  u.username := access.free_username(wanted ->> 'username', i.email);
  perform access.set_audit_actor(u.id, u.username, request);
  begin
    insert into freehold.users (
      id, username, email, email_verified, given_name, family_name, locale, role, unit_id, organization_id, joined_at
    )
    values (
      u.id, u.username, i.email, true,
      coalesce(wanted ->> 'given_name', i.given_name),
      coalesce(wanted ->> 'family_name', i.family_name),
      i.locale,
      coalesce(case when i.organization_id is null then given[1].name end, access.base_role(t)),
      i.unit_id, i.organization_id, now()
    );
  exception when unique_violation then
    get stacked diagnostics broken = constraint_name;
    if broken <> 'users_email' then
      raise;
    end if;
    return jsonb_build_object('outcome', 'known');
  end;
  if passkey is null then
    insert into freehold.passwords (id, user_id, password_hash) values (gen_random_uuid(), u.id, new_hash);
    return access.join_as(i, u.id, given);
  end if;
  perform access.add_passkey(u.id, passkey);
  answer := access.join_as(i, u.id, given);
  perform access.enqueue_mail('passkey_added', u.id, i.email, jsonb_build_object('passkey_name', passkey ->> 'name'));
  return answer;
end $$;
--> statement-breakpoint
-- Moves the admitted user, whose address the invitation was mailed to: as above, or `other` (it is for another
-- address).
create or replace function access.join_by_invitation(tenant_id uuid, system_key text, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  claimed text := current_setting('access.claims', true);
  claims jsonb := access.claims();
  i freehold.invitations;
  given freehold.roles[];
  u freehold.users;
  moves boolean;
  answer jsonb;
begin
  perform access.check_system(tenant_id, system_key);
  if access.session() is null then
    perform access.refuse('forbidden', 'An invitation is accepted with a session, not with an API key.');
  end if;
  perform access.must_be_licensed(), access.lock_limit('users');
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  i := access.valid_invitation(presented, true);
  if i.id is null then
    return jsonb_build_object('outcome', 'invalid');
  elsif i.email <> u.email then
    return jsonb_build_object('outcome', 'other');
  end if;
  moves := i.organization_id is not null and i.organization_id is distinct from u.organization_id;
  given := array(select g from access.roles_still_given(i, case when moves then i.unit_id else u.unit_id end) g);
  if i.role_ids <> '{}' and given = '{}' then
    return jsonb_build_object('outcome', 'void');
  end if;
  perform access.ask_about_invitation(i, u.id);
  -- The inviter gives, and not the person who accepts, who may give themselves nothing: so the claims are put aside
  -- until it is done, and what is done is the system's, in the name of the person for the audit.
  perform
    access.set_audit_actor(u.id, u.username, claims -> 'request'),
    set_config('access.claims', '', true);
  update freehold.users x
  set organization_id = case when moves then i.organization_id else x.organization_id end,
    unit_id = case when moves then i.unit_id else x.unit_id end,
    email_verified = true
  where x.id = u.id;
  -- What they hold is measured from the new unit now, and it is the inviter who put them there.
  if moves and not access.covers_power_of(i.inviter_id, u.id) then
    perform access.refuse('forbidden',
      'You have power over users that whoever invited you lacks there: an administrator must move you.');
  end if;
  answer := access.join_as(i, u.id, given);
  perform set_config('access.claims', claimed, true);
  return answer;
end $$;
--> statement-breakpoint
-- Makes an invitation: {email, organization_id, unit_id, roles, given_name, family_name, locale}. Raises FH400, FH403,
-- FH409; 23505 for one that is open.
create or replace function access.invite(
  tenant_id uuid,
  system_key text,
  id uuid,
  wanted jsonb,
  token_hash bytea,
  secrets_encrypted text
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  address text := wanted ->> 'email';
  l access.limits;
  mine freehold.users;
  known freehold.users;
  i freehold.invitations;
begin
  perform access.check_system(tenant_id, system_key);
  if access.permission() is distinct from 'invitation:create' then
    perform access.refuse('forbidden', 'Inviting needs invitation:create.');
  end if;
  perform access.must_be_licensed();
  l := access.lock_limit('users');
  select * into mine from freehold.users x where x.id = me for no key update;
  if address = mine.email then
    perform access.refuse('invalid_request', 'is your own address', 'email');
  end if;
  i.id := invite.id;
  i.email := address;
  i.inviter_id := me;
  i.organization_id := (wanted ->> 'organization_id')::uuid;
  i.unit_id := (wanted ->> 'unit_id')::uuid;
  i := access.placed_invitation(i, mine);
  select * into known from freehold.users x where x.email = address;
  if known.id is not null
    and (i.organization_id is null or known.organization_id = i.organization_id) then
    perform access.refuse('already_exists', 'Somebody with this address is a member already.');
  elsif known.id is not null and not access.is_present(known) then
    perform access.refuse('illegal_state', 'Somebody with this address has an account that is not active.');
  end if;
  i.role_ids := access.invited_roles(wanted -> 'roles', i);
  perform access.require_room(i, l);
  update freehold.invitations x set closed_at = x.expires_at
  where x.email = address
    and x.organization_id is not distinct from i.organization_id
    and x.closed_at is null
    and x.expires_at <= now();
  insert into freehold.invitations (
    id, email, inviter_id, organization_id, unit_id, role_ids, given_name, family_name, locale, token_hash, expires_at
  )
  values (
    i.id, address, me, i.organization_id, i.unit_id, i.role_ids, wanted ->> 'given_name', wanted ->> 'family_name',
    coalesce(wanted ->> 'locale', known.locale, mine.locale), invite.token_hash, now() + interval '7 days'
  )
  returning * into i;
  perform access.mail_invitation(i, secrets_encrypted);
end $$;
--> statement-breakpoint
-- Mails another token, which works for seven days; what is given is decided anew, as if the caller had invited them. One
-- that had expired took no place any more, and takes one again.
create or replace function access.resend_invitation(
  tenant_id uuid,
  system_key text,
  invitation uuid,
  new_hash bytea,
  secrets_encrypted text
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  l access.limits;
  i freehold.invitations;
begin
  perform access.check_system(tenant_id, system_key);
  perform access.must_be_licensed();
  l := access.lock_limit('users');
  perform from freehold.users x where x.id = access.principal() for no key update;
  -- Before the invitation, as whoever accepts one locks them.
  perform
  from freehold.organizations o
  where o.id = (select x.organization_id from freehold.invitations x where x.id = invitation)
  for no key update;
  i := access.invitation_to_change(invitation, 'invitation:create');
  perform access.invited_roles(to_jsonb(i.role_ids), i);
  if i.expires_at <= now() then
    perform access.require_room(i, l);
  end if;
  update freehold.invitations x set
    inviter_id = access.principal(),
    token_hash = new_hash,
    sent_at = now(),
    updated_at = now(),
    expires_at = now() + interval '7 days'
  where x.id = i.id
  returning * into i;
  perform access.mail_invitation(i, secrets_encrypted);
end $$;
--> statement-breakpoint
-- Refuses an invitation for which the tenant or its organization has no place. `l`: the limit of users, locked.
create or replace function access.require_room(i freehold.invitations, l access.limits) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if l.name is not null
    and not exists (select from freehold.users u where u.email = i.email)
    and l.used + access.open_invitations() + 1 > l.most
  then
    perform access.refuse('limit_reached', format(
      'The limit max_users is reached: this tenant can have at most %s active users, open invitations included.', l.most));
  end if;
  perform access.require_place(i);
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
  perform access.notify_of_mail(enqueue_mail.kind, subject, enqueue_mail.data);
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
create or replace function access.notify_of_mail(mail text, subject uuid, data jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if mail in (
    'account_locked', 'device_locked', 'api_key_created', 'identity_added', 'identity_removed', 'passkey_added',
    'passkey_copied', 'passkey_removed', 'mfa_enabled', 'mfa_disabled', 'mfa_reset', 'password_changed',
    'password_expires', 'email_changed', 'impersonated')
  then
    perform access.notify(
      subject,
      mail,
      (
        select coalesce(jsonb_object_agg(d.key, d.value), '{}')
        from jsonb_each(data) d
        where d.key in ('until', 'key_name', 'prefix', 'provider', 'passkey_name', 'expires_at')
      ),
      is_mailed => true);
  end if;
end $$;
--> statement-breakpoint
-- A session of a device that the user has not used before, who has used one. Programs and pages show no device token each
-- time: one that is called the same, in the same country, is no other.
create or replace function access.after_new_session() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from freehold.sessions s where s.user_id = new.user_id and s.id <> new.id)
    and not exists (
      select
      from freehold.sessions s
      where s.user_id = new.user_id
        and s.id <> new.id
        and (
          s.device_id = new.device_id
          or s.device is not distinct from new.device and s.country is not distinct from new.country
        )
    )
  then
    perform access.notify(
      new.user_id, 'new_device',
      jsonb_strip_nulls(jsonb_build_object('device', new.device, 'city', new.city, 'country', new.country)),
      null, 'session', new.id::text);
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Who may decide on a delegation, at most twenty: by roles of their own, and neither of the two.
create or replace function access.deciders(d freehold.delegations) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive carrying (role_id) as (
    select rp.role_id
    from freehold.role_permissions rp
    where rp.permission = 'delegation:approve' and access.in_force(rp.starts_at, rp.ends_at, now())
    union
    select r.id from freehold.roles r where r.is_admin
    union
    select p.role_id
    from carrying c
      join freehold.role_periods p on p.parent_id = c.role_id and access.in_force(p.starts_at, p.ends_at, now())
  )
  select u.id
  from (
    select distinct ur.user_id
    from carrying c
      join freehold.user_roles ur on ur.role_id = c.role_id
    where access.in_force(ur.starts_at, ur.ends_at, now())
    order by ur.user_id
    limit 200
  ) x
    join freehold.users u on u.id = x.user_id
    join freehold.users delegator on delegator.id = d.delegator_id
    cross join lateral access.own_scope(u.id, 'delegation:approve', now()) s (scope)
  where u.is_active
    and u.id not in (d.delegator_id, d.delegate_id)
    and (s.scope = 'all' or s.scope in ('team', 'department') and u.unit_id = delegator.unit_id)
  order by s.scope = 'all', u.id
  limit 20
$$;
--> statement-breakpoint
-- A delegation is told to its delegate once it is in force or decided; to its delegator what others do with it; and to who
-- may decide, that it waits for them.
create or replace function access.after_delegation() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  at jsonb := jsonb_build_object(
    'starts_at', to_char(new.starts_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'ends_at', to_char(new.ends_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  id text := new.id::text;
begin
  if tg_op = 'INSERT' and new.decision is null then
    perform access.notify(d, 'delegation_requested', at, new.delegator_id, 'delegation', id) from access.deciders(new) d;
  elsif tg_op = 'INSERT' or old.decision is null and new.decision = 'approved' then
    perform access.notify(new.delegate_id, 'delegation_received', at, new.delegator_id, 'delegation', id);
  end if;
  if tg_op = 'UPDATE' and old.decision is null and new.decision is not null then
    perform access.notify(new.delegator_id, 'delegation_' || new.decision, at, new.delegate_id, 'delegation', id);
  elsif tg_op = 'UPDATE' and old.revoked_at is null and new.revoked_at is not null then
    perform access.notify(new.delegate_id, 'delegation_revoked', at, new.delegator_id, 'delegation', id)
    where new.decision = 'approved';
    perform access.notify(new.delegator_id, 'delegation_taken_back', at, new.delegate_id, 'delegation', id);
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Whoever invited somebody learns that they came.
create or replace function access.after_acceptance() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.notify(new.inviter_id, 'invitation_accepted', '{}', new.accepted_by, 'invitation', new.id::text);
  return null;
end $$;
--> statement-breakpoint
-- Everything of one person is one mail, and names at most twenty. What waits for a digest goes out with the next day (UTC).
-- Who was deactivated is not mailed, and waits no longer: they would keep everybody behind them waiting, and the tenant due.
-- Returns how many mails there are.
create or replace function access.mail_notifications(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  mailed integer;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('notification mails', 0)) then
    return 0;
  end if;
  -- Who is mailed is locked before the first mail is counted, as everybody does it.
  with people as (
    select u.id, u.email, u.is_active
    from freehold.users u
    where u.id in (
        select n.user_id
        from freehold.notifications n
        where n.mail = 'now' or n.mail = 'digest' and n.created_at < access.today()
        group by n.user_id
        order by min(n.created_at)
        limit least(at_most, access.warnings_left())
      )
    for key share skip locked
  ), taken as (
    update freehold.notifications n
    set mail = null
    from people p
    where n.user_id = p.id and (n.mail = 'now' or n.mail = 'digest' and n.created_at < access.today())
    returning n as told
  ), waiting as materialized (
    -- What was read meanwhile is not mailed.
    select (t.told).user_id, count(*) as many, array_agg(t.told order by (t.told).created_at, (t.told).id) as those
    from taken t
    where (t.told).read_at is null
    group by 1
  )
  select count(access.enqueue_mail('notifications', u.id, u.email, jsonb_build_object(
    'count', w.many,
    'items', (
      select jsonb_agg(jsonb_build_object('event', n ->> 'event', 'params', n -> 'params') order by x.place)
      from generate_subscripts(w.those[:20], 1) x (place)
        cross join lateral access.shown_notification(w.those[x.place]) n))))
  into mailed
  from waiting w
    join people u on u.id = w.user_id and u.is_active;
  return mailed;
end $$;
--> statement-breakpoint
-- When the day began, of which everything is mailed with the next.
create or replace function access.today() returns timestamptz
language sql stable
return date_trunc('day', now() at time zone 'UTC') at time zone 'UTC';
--> statement-breakpoint
create or replace function access.notifications_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select least(
    (select now() from freehold.notifications n where n.mail = 'now' limit 1),
    (
      select greatest(now(), access.today() + interval '1 day' * (n.created_at >= access.today())::integer)
      from freehold.notifications n
      where n.mail = 'digest'
      order by n.created_at
      limit 1
    ))
$$;
--> statement-breakpoint
-- A hundred of those who administer the tenant.
create or replace function access.administrators() returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select distinct a.id
  from freehold.roles r
    join freehold.user_roles ur on ur.role_id = r.id and access.in_force(ur.starts_at, ur.ends_at, now())
    join freehold.users a on a.id = ur.user_id and a.is_active
  where r.is_admin and r.is_active
  limit 100
$$;
--> statement-breakpoint
-- Once for each end of it, and from thirty days before.
create or replace function access.tell_of_license() returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  told integer;
begin
  select * into strict t from freehold.tenant;
  if t.licensed_until is null
    or t.licensed_until not between now() and now() + interval '30 days'
    or not pg_try_advisory_xact_lock(hashtextextended('notification license', 0))
  then
    return 0;
  end if;
  select count(access.notify(u.id, 'license_ends', x.params))
  into told
  from (
    select jsonb_build_object(
      'expires_at', to_char(t.licensed_until at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
      'read_only_from', to_char(coalesce(t.read_only_from, t.licensed_until) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
  ) x (params)
    join lateral (
      select a.id from access.administrators() a (id)
    ) u on true
  where not exists (
    select
    from freehold.notifications n
    where n.user_id = u.id
      and n.event = 'license_ends'
      and n.created_at > now() - interval '31 days'
      and n.params ->> 'expires_at' = x.params ->> 'expires_at');
  return told;
end $$;
--> statement-breakpoint
-- What everybody gets who has not chosen. What endangers an account is mailed in any case (src/mail), so that notices of
-- security are not mailed a second time.
create or replace function access.usual_notification_preferences() returns jsonb
language sql immutable
return '{
  "security": {"in_app": true, "mail": "off"},
  "competency": {"in_app": true, "mail": "digest"},
  "invitation": {"in_app": true, "mail": "digest"},
  "delegation": {"in_app": true, "mail": "now"},
  "license": {"in_app": true, "mail": "digest"}
}'::jsonb;
--> statement-breakpoint
-- The group that an event belongs to.
create or replace function access.notification_kind(event text) returns text
language sql immutable
return case
  when event like 'delegation\_%' then 'delegation'
  when event like 'invitation\_%' then 'invitation'
  when event like 'competency\_%' then 'competency'
  when event like 'license\_%' then 'license'
  else 'security'
end;
--> statement-breakpoint
-- Tells a user of an event, as they chose: in the list, by mail, both or neither. `about` is another person whose name it
-- shows. Nobody is told what they did themselves, unless it is about the security of their account. `is_mailed`: a mail of
-- its own goes in any case.
create or replace function access.notify(
  subject uuid,
  event text,
  params jsonb default '{}',
  about uuid default null,
  resource_type text default null,
  resource_id text default null,
  is_mailed boolean default false
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  group_of text := access.notification_kind(event);
  -- What endangers an account, and has no mail of its own.
  is_urgent boolean := event in ('suspicious_activity', 'login_refused');
  chosen jsonb;
  rung text := current_setting('access.rung', true);
begin
  if subject is null or group_of <> 'security' and subject::text = access.actor() ->> 'user_id' then
    return;
  end if;
  select coalesce(
    (select p.kinds -> group_of from freehold.notification_preferences p where p.user_id = subject),
    access.usual_notification_preferences() -> group_of)
  into chosen;
  if is_urgent then
    chosen := chosen || '{"mail": "now"}';
  end if;
  if not (chosen ->> 'in_app')::boolean and (is_mailed or chosen ->> 'mail' = 'off')
    or group_of <> 'security' and (
      select count(*)
      from (
        select
        from freehold.notifications n
        where n.user_id = subject and n.kind = group_of and n.created_at > now() - interval '1 hour'
        limit 100
      ) x
    ) >= 100
  then
    return;
  end if;
  insert into freehold.notifications (
    id, user_id, kind, event, params, about_id, resource_type, resource_id, is_listed, mail
  )
  values (
    gen_random_uuid(),
    subject,
    group_of,
    notify.event,
    coalesce(notify.params, '{}'),
    about,
    notify.resource_type,
    notify.resource_id,
    (chosen ->> 'in_app')::boolean,
    case when not is_mailed then nullif(chosen ->> 'mail', 'off') end
  );
  -- Whose streams the Worker rings once this is committed (src/http/bells.ts). Who forges it rings in vain.
  perform set_config('access.rung', concat_ws(',', nullif(rung, ''), subject), true);
end $$;
--> statement-breakpoint
-- One as the Worker reads it. The other person is called what they are called now.
create or replace function access.shown_notification(n freehold.notifications) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', n.id,
    'kind', n.kind,
    'event', n.event,
    'params', n.params || jsonb_strip_nulls(jsonb_build_object(
      'person', (select access.inviter_name(u) from freehold.users u where u.id = n.about_id))),
    'about_id', n.about_id,
    'resource_type', n.resource_type,
    'resource_id', n.resource_id,
    'created_at', to_char(n.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'read_at', to_char(n.read_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  )
$$;
--> statement-breakpoint
create or replace function access.own_notifications(is_unread boolean, before timestamptz, before_id uuid, at_most integer) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return coalesce(
    (
      select jsonb_agg(access.shown_notification(n) order by n.created_at desc, n.id desc)
      from (
        select *
        from freehold.notifications x
        where x.user_id = access.principal()
          and x.is_listed
          and (not is_unread or x.read_at is null)
          and (before is null or (x.created_at, x.id) < (before, before_id))
        order by x.created_at desc, x.id desc
        limit least(at_most, 101)
      ) n
    ),
    '[]');
end $$;
--> statement-breakpoint
create or replace function access.unread_notifications() returns integer
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select count(*)
    from freehold.notifications n
    where n.user_id = access.principal() and n.read_at is null and n.is_listed
  );
end $$;
--> statement-breakpoint
-- What was written since a moment, oldest first, at most a hundred: {now, unread, data}. Without a moment nothing. The clock is
-- this database's, of before the rows are read.
create or replace function access.new_notifications(since timestamptz) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return jsonb_build_object(
    'now', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'unread', access.unread_notifications(),
    'data', coalesce(
      (
        select jsonb_agg(access.shown_notification(n) order by n.created_at, n.id)
        from (
          select *
          from freehold.notifications x
          where x.user_id = access.principal() and x.is_listed and x.created_at > since
          order by x.created_at, x.id
          limit 100
        ) n
      ),
      '[]'));
end $$;
--> statement-breakpoint
-- Marks one as read; one that was read stays as it was. Null: the caller has no such one.
create or replace function access.read_notification(this uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  n freehold.notifications;
begin
  update freehold.notifications x
  set read_at = coalesce(x.read_at, now())
  where x.id = this and x.user_id = access.principal() and x.is_listed
  returning * into n;
  if n.id is null then
    return null;
  end if;
  perform access.ring_own();
  return access.shown_notification(n);
end $$;
--> statement-breakpoint
-- Marks all that the caller has not read; how many. Each is locked in one order, as by the caller's other devices.
create or replace function access.read_notifications() returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  marked integer;
begin
  with unread as (
    select n.id
    from freehold.notifications n
    where n.user_id = access.principal() and n.read_at is null and n.is_listed
    order by n.id
    for update
  )
  update freehold.notifications n set read_at = now() from unread u where n.id = u.id;
  get diagnostics marked = row_count;
  if marked > 0 then
    perform access.ring_own();
  end if;
  return marked;
end $$;
--> statement-breakpoint
-- The caller's other pages show how many are left.
create or replace function access.ring_own() returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select set_config('access.rung', access.principal()::text, true)
$$;
--> statement-breakpoint
create or replace function access.notification_preferences() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return case
    when access.principal() is not null then access.usual_notification_preferences() || coalesce(
      (select p.kinds from freehold.notification_preferences p where p.user_id = access.principal()), '{}')
  end;
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
  return access.notification_preferences();
end $$;
--> statement-breakpoint
-- Whether an organization has ended, after at most so many of its users or employees were let go, and of users as many as
-- half a second has room for: whoever is being let go is locked that long, and to erase somebody takes a multiple of what
-- it takes to keep them.
create or replace function access.wipe_some_of(o freehold.organizations, at_most integer) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  moved integer;
begin
  for u in
    select * from freehold.users x where x.organization_id = o.id order by x.id limit at_most for no key update
  loop
    perform access.let_go(u, o);
    exit when clock_timestamp() > statement_timestamp() + interval '500 milliseconds';
  end loop;
  if exists (select from freehold.users x where x.organization_id = o.id) then
    return false;
  end if;
  -- Employees stay, in no unit.
  update freehold.employees e
  set unit_id = null
  where e.id in (
    select x.id
    from freehold.units n
      join freehold.employees x on x.unit_id = n.id
    where n.organization_id = o.id
    limit at_most);
  get diagnostics moved = row_count;
  if moved = at_most then
    return false;
  end if;
  delete from freehold.units n where n.organization_id = o.id;
  update freehold.organizations x
  set state = 'ended', ended_at = now(), name = 'former-organization-' || replace(x.id::text, '-', ''), settings = '{}',
    plan_group = null, user_limit = null, unit_id = null, ending_people = null, ending_by = null, ending_counts = null
  where x.id = o.id;
  perform access.record(
    'ORGANIZATION_WIPED', 'delete', 'organization', o.id::text, null,
    o.ending_counts || jsonb_build_object('fate', o.ending_people), 40);
  return true;
end $$;
--> statement-breakpoint
-- Second half: what access.enter returns, or {outcome: refused, mail}. `wrong`: why the answer was not verified; null: it was.
-- `devices` are tokens of known devices, as for access.begin_login. A failure is returned, not raised, so that its entry
-- is committed. Lockouts do not count here: nobody guesses a key, and whoever locks a person out does not take this way
-- from them.
create or replace function access.finish_passkey_login(
  tenant_id uuid,
  system_key text,
  presented bytea,
  wrong text,
  challenge_hash bytea,
  challenge_expires_at timestamptz,
  counter bigint,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  devices jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  is_new boolean := access.spend_challenge(challenge_hash, challenge_expires_at);
  u freehold.users;
  why text;
begin
  select x.* into u
  from freehold.users x
  where x.id = (select y.user_id from freehold.passkeys y where y.credential_id = presented)
  for no key update;
  perform access.set_audit_actor(u.id, coalesce(u.username, 'unknown passkey'), request);
  why := access.take_passkey(u, presented, wrong, is_new, counter);
  if why is not null then
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, why, why in ('unknown_passkey', 'wrong_passkey', 'passkey_replayed'),
      jsonb_build_object('reason', why), case why when 'passkey_clone_suspected' then 80 else 20 end
    );
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  end if;
  -- RFC 8176: a key, somebody who was present, and that they were verified.
  return access.with_passkey_end(
    access.unless_risky(t, u, null, access.enter(
      u, t, refresh_hash, request, former, null, null, access.passkey_method(presented) || ' user mfa', 2,
      access.device_of(t, u.id, devices)
    )),
    presented
  );
end $$;
--> statement-breakpoint
-- Adds a passkey that the Worker verified, {credential_id, public_key, counter, rp_id, name, aaguid, transports,
-- is_synced} with bytes in hexadecimal, and returns its id. Raises FH409 illegal_state (the challenge was used before),
-- already_exists, limit_reached (20 of one user); FH401 session_ended.
create or replace function access.register_passkey(
  tenant_id uuid,
  system_key text,
  challenge_hash bytea,
  challenge_expires_at timestamptz,
  passkey jsonb
) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  made uuid;
  u freehold.users;
begin
  t := access.check_system(tenant_id, system_key);
  perform access.must_be_licensed();
  if not access.spend_challenge(challenge_hash, challenge_expires_at) then
    perform access.refuse('illegal_state', 'This answer was used before: ask for new options.');
  end if;
  select * into strict u from freehold.users x where x.id = access.principal() for no key update;
  -- While this waited, a new password may have ended the session.
  if not exists (select from freehold.sessions s where s.id = access.session() and s.ended_at is null) then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  elsif (select count(*) from freehold.passkeys k where k.user_id = u.id) >= 20 then
    perform access.refuse('limit_reached', 'You have 20 passkeys, which is the most: remove one first.');
  end if;
  made := access.add_passkey(u.id, passkey);
  perform access.enqueue_mail('passkey_added', u.id, u.email, jsonb_build_object('passkey_name', passkey ->> 'name'));
  return made;
end $$;
--> statement-breakpoint
-- Keeps a passkey of a user whose row the caller has locked or made.
create or replace function access.add_passkey(subject uuid, passkey jsonb) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
begin
  insert into freehold.passkeys (
    id, user_id, credential_id, public_key, counter, rp_id, name, aaguid, transports, is_synced
  )
  values (
    made,
    subject,
    decode(passkey ->> 'credential_id', 'hex'),
    decode(passkey ->> 'public_key', 'hex'),
    (passkey ->> 'counter')::bigint,
    passkey ->> 'rp_id',
    passkey ->> 'name',
    (passkey ->> 'aaguid')::uuid,
    array(select jsonb_array_elements_text(passkey -> 'transports')),
    (passkey ->> 'is_synced')::boolean
  )
  on conflict (credential_id) do nothing;
  if not found then
    perform access.refuse('already_exists', 'This passkey is registered already.');
  end if;
  return made;
end $$;
--> statement-breakpoint
-- Where the data of a person is: one row for each table that has some. The export and the erasure both walk it, and
-- test/personal/registry.test.ts fails for a table of the database that is neither here nor on its list of tables
-- without people, and for a column that is neither exported nor withheld.
--
-- Threat: a table that somebody adds later is forgotten, and a person who was erased is still in it.
--   place      the order in which rows are scrubbed: what others refer to after them, and what may send a mail at the end
--   relation   the table, `x` below
--   name       what the export calls it; null: it is not in the export
--   whose      whether a row is the person's; $1 is their id
--   also       whether a row that is not theirs names them all the same, which is scrubbed only; $2 is what they were
--              known by (addresses, number, username), $3 the networks that they came from
--   exported   columns of the export; an expression names itself with `as`
--   withheld   columns that are not exported: secrets, and what only the database understands
--   fate       `keep`, `delete`, or what an update sets
-- The audit is not here: the export reads it in pages, and its details are erased by access.erase_detail alone.
create or replace function access.personal_tables() returns table (
  place integer,
  relation text,
  name text,
  whose text,
  also text,
  exported text[],
  withheld text[],
  fate text
)
language sql immutable set search_path = pg_catalog, pg_temp as $$
  values
    (10, 'freehold.users', 'user', 'x.id = $1', null,
      '{id,username,email,email_verified,password_changed_at,must_change_password,factors,given_name,family_name,phone,
        phone_verified,role,unit_id,organization_id,manager_id,designation,description,is_active,locale,timezone,max_sessions,
        preferences,avatar,joined_at,terminated_at,created_at,updated_at,erased_at}'::text[]
        || '(select o.name from freehold.organizations o where o.id = x.organization_id) as organization'::text,
      '{name}'::text[],
      $set$username = 'former-user-' || replace(x.id::text, '-', ''),
        email = 'former-user-' || replace(x.id::text, '-', '') || '@erased.invalid', email_verified = false,
        given_name = 'Former user', family_name = null, phone = null, phone_verified = false, role = null,
        manager_id = null, organization_id = null, designation = null, description = null, locale = 'en', timezone = 'UTC',
        preferences = '{}', avatar = null, factors = '{}', must_change_password = false, is_active = false,
        erased_at = now()$set$),
    (20, 'freehold.user_roles', 'roles', 'x.user_id = $1', null,
      array['(select r.name from freehold.roles r where r.id = x.role_id) as role', 'role_id', 'organization_id', 'starts_at',
        'ends_at'],
      '{id,user_id}',
      $set$ends_at = case when x.ends_at is null or x.ends_at > now() then greatest(now(), x.starts_at) else x.ends_at end$set$),
    (21, 'freehold.overrides', 'overrides', 'x.user_id = $1', null,
      '{permission,effect,scope,starts_at,ends_at}', '{id,user_id}',
      $set$ends_at = case when x.ends_at is null or x.ends_at > now() then greatest(now(), x.starts_at) else x.ends_at end$set$),
    (22, 'freehold.delegations', 'delegations', '$1 in (x.delegator_id, x.delegate_id)',
      'access.mentions(x.reason, $2)',
      '{id,delegator_id,delegate_id,role_id,starts_at,ends_at,reason,decision,decided_at,revoked_at,created_at}',
      '{decided_by}',
      $set$reason = null,
        revoked_at = case when $1 in (x.delegator_id, x.delegate_id) and x.ends_at > now()
          then coalesce(x.revoked_at, now()) else x.revoked_at end$set$),
    (23, 'freehold.user_periods', 'periods', 'x.user_id = $1', null, '{starts_at,ends_at}', '{id,user_id}', 'keep'),
    (24, 'freehold.employees', 'employee', 'x.user_id = $1', 'x.email = any ($2) or x.phone = any ($2)',
      '{id,document_type,document_number,given_names,family_name,sex,nationality,birth_date,employment,position,area,
        cost_centre,unit_id,contractor_since,employed_since,terminated_at,termination_reason,email,phone,address,district,
        emergency_contact,emergency_phone,created_at,updated_at}',
      '{user_id,document_hint,name,ends_account,account_was_to_end_at}',
      $set$document_number = x.id::text, given_names = 'Former', family_name = 'employee', sex = null, nationality = null,
        birth_date = null, terminated_at = coalesce(x.terminated_at, now()), termination_reason = 'erased', email = null,
        phone = null, address = null, district = null, emergency_contact = null, emergency_phone = null$set$),
    (25, 'freehold.competencies', 'competencies', 'x.user_id = $1',
      'access.mentions(x.evidence_url, $2) or access.mentions(x.revocation_reason, $2)',
      array['id', 'type_id', '(select t.name from freehold.competency_types t where t.id = x.type_id) as type_name', 'level',
        'issued_at', 'expires_at', 'evidence_url', 'verified_at', 'revoked_at', 'revocation_reason', 'created_at', 'updated_at'],
      '{user_id,verified_by,revoked_by,alerted_days}',
      $set$evidence_url = case when x.user_id <> $1 and not access.mentions(x.evidence_url, $2) then x.evidence_url end,
        revocation_reason = case
          when x.user_id <> $1 and not access.mentions(x.revocation_reason, $2) then x.revocation_reason
        end$set$),
    (30, 'freehold.api_keys', 'api_keys', 'x.user_id = $1', 'access.mentions(x.name, $2)',
      '{id,name,prefix,permissions,addresses,last_used_at,use_count,created_at,expires_at,revoked_at}',
      '{user_id,key_hash,rotated_from}',
      $set$name = case when x.user_id = $1 then 'former user'
          else access.without_words(x.name, array(select w.word from unnest($2) w (word) where strpos(w.word, '@') > 0)) end,
        addresses = case when x.user_id = $1 then '{}' else x.addresses end,
        revoked_at = case when x.user_id = $1 then coalesce(x.revoked_at, now()) else x.revoked_at end$set$),
    (31, 'freehold.refresh_tokens', null,
      'x.session_id in (select s.id from freehold.sessions s where s.user_id = $1)', null,
      '{}', '{token_hash,session_id,device,created_at,expires_at,used_at,successor_hash}', 'delete'),
    -- Also those in which the person acted as somebody else: they say from where.
    (32, 'freehold.sessions', 'sessions', '$1 in (x.user_id, x.impersonator_id)', null,
      '{id,device,address,city,country,client_id,amr,aal,authenticated_at,created_at,last_active_at,expires_at,ended_at,
        ended_because,impersonator_id,impersonation_reason,hook_claims}',
      '{user_id,device_id,impersonator_session_id}', 'delete'),
    (33, 'freehold.login_challenges', null, 'x.user_id = $1', null, '{}',
      '{token_hash,user_id,guard,client,audience,device,amr,risk_id,code_hash,mails,mailed_at,failures,created_at,expires_at,
        used_at}', 'delete'),
    (34, 'freehold.totp_factors', 'authenticator_app', 'x.user_id = $1', null,
      '{created_at,enabled_at}', '{user_id,secret_encrypted,last_step}', 'delete'),
    (35, 'freehold.backup_codes', 'backup_codes', 'x.user_id = $1', null, '{created_at,used_at}', '{code_mac,user_id}', 'delete'),
    (35, 'freehold.remembered_devices', 'remembered_devices', 'x.user_id = $1', null,
      '{created_at,expires_at}', '{user_id,device}', 'delete'),
    (36, 'freehold.email_logins', 'logins_by_mail', 'x.user_id = $1', null,
      '{target,agent,city,country,failures,created_at,expires_at,used_at}',
      '{request_hash,link_hash,code_hash,user_id}', 'delete'),
    (36, 'freehold.passwords', 'passwords', 'x.user_id = $1', null,
      '{is_first,created_at,replaced_at}', '{id,user_id,password_hash,warned_at}', 'delete'),
    (37, 'freehold.one_time_tokens', 'mailed_tokens', 'x.user_id = $1', null,
      '{kind,target,tries,created_at,expires_at,used_at}', '{token_hash,user_id}', 'delete'),
    (38, 'freehold.registrations', 'registrations',
      'x.email = (select u.email from freehold.users u where u.id = $1)', 'x.email = any ($2) or x.username = any ($2)',
      '{email,username,given_name,family_name,locale,created_at,expires_at,used_at}',
      '{token_hash,secret_hash,password_hash,is_mailed}', 'delete'),
    (38, 'freehold.invitations', 'invitations',
      'x.accepted_by = $1 or x.email = (select u.email from freehold.users u where u.id = $1)', 'x.email = any ($2)',
      '{id,email,organization_id,unit_id,role_ids,given_name,family_name,locale,created_at,sent_at,expires_at,accepted_at,
        revoked_at}',
      '{inviter_id,token_hash,updated_at,accepted_by,closed_at}', 'delete'),
    -- Of nobody known: what was tried from where the person came from.
    (39, 'freehold.login_attempts', 'login_attempts', 'x.user_id = $1',
      'x.identifier = any ($2) or x.user_id is null and exists (
        select from unnest($3) n (network) where right(x.guard, length(n.network) + 1) = '':'' || n.network)',
      '{identifier,state,created_at}', '{id,user_id,key,guard,network,hash_parameters}', 'delete'),
    (39, 'freehold.risk_attempts', 'assessed_logins', 'x.user_id = $1', 'x.user_id is null and x.network = any ($3)',
      array['kind', 'agent', 'network', 'asn', 'country', 'latitude', 'longitude', 'score',
        'access.risk_reasons(x.strengths) as reasons', 'outcome', 'created_at', 'seen_at'],
      '{id,user_id,device,strengths}', 'delete'),
    (40, 'freehold.lockouts', 'lockouts', 'strpos(concat_ws('' '', x.key, x.parent), $1::text) > 0',
      'starts_with(x.key, ''unknown:'') and exists (
        select from unnest($3) n (network) where right(x.key, length(n.network) + 1) = '':'' || n.network)',
      '{failures,failed_at,locked_until}', '{key,parent}', 'delete'),
    -- Of a network that nothing was counted of yet, so that no count is lost.
    (41, 'access.counted_failures', null, 'false', 'x.counts = ''{}'' and x.network = any ($3)',
      '{}', '{hour,network,seen,counts}', 'delete'),
    (42, 'access.kept_answers', null, 'x.user_id = $1',
      'strpos(x.resource::text, $1::text) > 0 or access.is_named_in(x.resource::jsonb, $2)',
      '{}', '{id,user_id,request_hash,resource,secrets_encrypted,created_at}', 'delete'),
    (43, 'access.session_places', null,
      'x.session_id in (select s.id from freehold.sessions s where s.user_id = $1)', null,
      '{}', '{place,session_id,free_from}', 'keep'),
    -- Until its objects are deleted.
    (44, 'access.left_avatars', null, 'x.user_id = $1', null, '{}', '{user_id,version,left_at}', 'keep'),
    (50, 'freehold.erasures', 'erasures', 'x.user_id = $1', null,
      '{id,reason,requested_at,erase_at,cancelled_at,erased_at}', '{user_id,requested_by,cancel_hash,traces}', 'keep'),
    -- Removing one of these sends a mail.
    (59, 'freehold.external_identities', 'identities', 'x.user_id = $1', null,
      '{id,provider,issuer,external_id,email,created_at,last_used_at}', '{user_id,provider_id}', 'delete'),
    (60, 'freehold.passkeys', 'passkeys', 'x.user_id = $1', null,
      '{id,rp_id,ends_at,name,aaguid,transports,is_synced,created_at,last_used_at}',
      '{user_id,credential_id,public_key,counter}', 'delete'),
    (61, 'freehold.mail_attempts', 'mail_attempts',
      'x.mail_id in (select m.id from freehold.mails m where m.user_id = $1)',
      'x.mail_id in (select m.id from freehold.mails m where m.recipient = any ($2) or access.is_named_in(m.data, $2))',
      '{mail_id,started_at,finished_at,outcome,detail}', '{id}', 'delete'),
    (62, 'freehold.mails', 'mails', 'x.user_id = $1', 'x.recipient = any ($2) or access.is_named_in(x.data, $2)',
      '{id,kind,channel,recipient,locale,data,state,created_at,finished_at}',
      '{user_id,secrets_encrypted,trace_id,attempts,next_at,lease_until}', 'delete'),
    -- Also what others were told of the person; after what mails, and so tells, at the end.
    (63, 'freehold.notifications', 'notifications', 'x.user_id = $1', 'x.about_id = $1 or access.is_named_in(x.params, $2)',
      '{id,kind,event,params,resource_type,resource_id,created_at,read_at}', '{user_id,about_id,is_listed,mail}', 'delete'),
    (64, 'freehold.notification_preferences', 'notification_preferences', 'x.user_id = $1', null,
      '{kinds,updated_at}', '{user_id}', 'delete')
$$;
--> statement-breakpoint
-- The settings of a provider by its name, with the secret of its client; null: there is none that is enabled. `mails_code`:
-- what the settings of risk want of the Worker, as access.begin_login says it.
create or replace function access.begin_external_login(tenant_id uuid, system_key text, wanted text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
begin
  return (
    select jsonb_build_object(
      'id', p.id,
      'mails_code', t.risk_action = 'step_up',
      'name', p.name,
      'type', p.type,
      'issuer', p.issuer,
      'client_id', p.client_id,
      'client_secret_encrypted', p.client_secret_encrypted,
      'claims', p.claims,
      'allowed_domains', p.allowed_domains,
      'trusts_emails', p.trusts_emails,
      'mfa_values', p.mfa_values,
      'updated_at', p.updated_at
    )
    from freehold.providers p
    where p.name = wanted and p.is_enabled
  );
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
  ), spent as (
    delete from access.passkey_challenges
    where challenge_hash in (
      select c.challenge_hash
      from access.passkey_challenges c
      where c.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), external as (
    delete from access.external_tokens
    where token_hash in (
      select e.token_hash
      from access.external_tokens e
      where e.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), challenges as (
    delete from freehold.login_challenges
    where token_hash in (
      select c.token_hash
      from freehold.login_challenges c
      where c.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), mailed as (
    delete from freehold.email_logins
    where request_hash in (
      select e.request_hash
      from freehold.email_logins e
      where e.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), remembered as (
    delete from freehold.remembered_devices
    where (user_id, device) in (
      select r.user_id, r.device
      from freehold.remembered_devices r
      where r.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), ended as (
    delete from freehold.passkeys
    where id in (
      select k.id
      from freehold.passkeys k
      where k.ends_at < now() - interval '1 day'
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
  ), risked as (
    delete from freehold.risk_attempts
    where id in (
      select r.id
      from freehold.risk_attempts r
      where r.created_at < now() - make_interval(days => (select t.risk_days from freehold.tenant t))
      limit at_most
      for update skip locked
    )
    returning 1
  ), invited as (
    delete from freehold.invitations
    where id in (
      select i.id
      from freehold.invitations i
      where i.expires_at < now() - interval '90 days'
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
      (select count(*) from spent),
      (select count(*) from external),
      (select count(*) from challenges),
      (select count(*) from mailed),
      (select count(*) from remembered),
      (select count(*) from ended),
      (select count(*) from registered),
      (select count(*) from risked),
      (select count(*) from invited),
      (select count(*) from refreshed),
      (select count(*) from dropped),
      (select count(*) from answered),
      (select count(*) from finished)
    )
  into given_up, most
  from (select count(*) as given_up from forsaken) x;
  -- Those of users stay; those of their devices and networks go, as those of unknown identifiers do. After the attempts:
  -- a lockout without a failure belongs to an attempt that was never finished, and goes once that attempt is gone.
  with guards as (
    delete from freehold.lockouts
    where key in (
      select g.key
      from freehold.lockouts g
      where (g.key like 'unknown:%' or g.parent is not null)
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
  most := greatest(
    most,
    access.purge_told(at_most),
    access.erase_failures(
      at_most,
      coalesce((select s.failures_erased_to from access.purges s), '-infinity'),
      now() - interval '90 days'
    )
  );
  if most < at_most then
    insert into access.purges (last_at, failures_erased_to) values (now(), now() - interval '90 days')
    on conflict (one) do update set last_at = excluded.last_at, failures_erased_to = excluded.failures_erased_to;
  end if;
  return jsonb_build_object('is_done', most < at_most, 'given_up', given_up);
end $$;
--> statement-breakpoint
-- Deletes at most so many of each that are old enough. Returns how many of which there were most.
create or replace function access.purge_told(at_most integer) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most bigint;
begin
  with told as (
    delete from freehold.notifications
    where id in (
      select n.id
      from freehold.notifications n
      where n.created_at < now() - make_interval(days => (select t.notification_days from freehold.tenant t))
      limit at_most
      for update skip locked
    )
    returning 1
  ), sent as (
    delete from freehold.webhook_deliveries
    where id in (
      select w.id
      from freehold.webhook_deliveries w
      where w.at < now() - interval '90 days'
      limit at_most
      for update skip locked
    )
    returning 1
  )
  select greatest((select count(*) from told), (select count(*) from sent)) into most;
  return most;
end $$;
--> statement-breakpoint
-- {weights, thresholds, from, attempts, is_cut, before, after}, and of both {suspicious, stopped, annoyed}. Stopped is what
-- reaches the second threshold; annoyed are those of them who did come in then, by a second step or without one. Each is
-- {attempts, people, first}: the first few of the people, who were stopped most, with the reasons.
create or replace function access.rehearse_risk(weights jsonb, thresholds jsonb, at_most integer, people integer) returns jsonb
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
--> statement-breakpoint
create or replace function access.rehearsed(told jsonb) returns jsonb
language sql immutable
return (
  select jsonb_object_agg(g.name, coalesce(told -> g.name, '{"attempts": 0, "people": 0, "first": []}'))
  from (values ('suspicious'), ('stopped'), ('annoyed')) g (name));
--> statement-breakpoint
-- The network of an address, as lockouts have it; null: not known, which is no network that requests share.
create or replace function access.risk_network(address text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select nullif(access.login_network(address), 'unknown')
$$;
--> statement-breakpoint
-- As many of the past as are compared: the newest.
create or replace function access.risk_past(subject uuid, t freehold.tenant) returns freehold.risk_attempts[]
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
--> statement-breakpoint
-- A login or refresh of now, with its strengths and its score. `device` is the one that is proven; null: none. Where `request`
-- says `breached`, the Worker asked: true, false, or null where the list did not answer.
create or replace function access.assess_risk(
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
--> statement-breakpoint
-- Keeps it with what became of it. From the first threshold on the audit and the user are told; the actor is set.
create or replace function access.keep_risk(here freehold.risk_attempts, t freehold.tenant, outcome text, request jsonb) returns void
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
--> statement-breakpoint
-- What access.enter returned; of one that was too risky what a proof that was wrong is answered: {outcome: refused, mail,
-- is_known}. It is counted as one on the lockout `guard`, so that nobody tries on, or measures it; null: nothing is counted.
create or replace function access.unless_risky(t freehold.tenant, u freehold.users, guard text, entered jsonb) returns jsonb
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
--> statement-breakpoint
create or replace function access.pass_risk(attempt uuid, device uuid) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  update freehold.risk_attempts r
  set outcome = 'passed', device = coalesce(pass_risk.device, r.device)
  where r.id = attempt and r.outcome = 'challenged'
$$;
--> statement-breakpoint
-- Whether a refresh must not go on: then its session ends, and a new login is asked for what logins are asked for. One from
-- where its session was opened is like it, and costs one look; that it was seen is noted once an hour. A previous release
-- says nothing of the place.
create or replace function access.refresh_is_stopped(
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
--> statement-breakpoint
-- Notes that a user was seen in a network where they were before.
create or replace function access.see_place(subject uuid, network text) returns void
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
--> statement-breakpoint
-- Once in an hour and network is enough, however many are shown; of those that are shown at once each may make a row.
create or replace function access.note_foreign_token(request jsonb) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  insert into freehold.risk_attempts (id, kind, network, outcome)
  select gen_random_uuid(), 'foreign_token', n.network, 'noted'
  from (select access.risk_network(request ->> 'address')) n (network)
  where n.network is not null and not exists (
    select
    from freehold.risk_attempts f
    where f.kind = 'foreign_token' and f.network = n.network and f.created_at > now() - interval '1 hour')
$$;
--> statement-breakpoint
-- Whoever sets it otherwise makes an entry of their own transaction look riskier, or less so.
create or replace function access.noted_risk() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(nullif(current_setting('access.risk', true), '')::integer, 0)
$$;
--> statement-breakpoint
-- A release that knows another sign appends it: what was kept before has none of it.
create or replace function access.risk_signs() returns text[]
language sql immutable
return array['new_device', 'new_country', 'new_network', 'impossible_travel', 'failures', 'unusual_hour',
  'foreign_token', 'many_accounts', 'breached_password'];
--> statement-breakpoint
-- Kilometres between two places on the ground.
create or replace function access.distance_km(
  latitude double precision,
  longitude double precision,
  other_latitude double precision,
  other_longitude double precision
) returns double precision
language sql immutable strict
return 2 * 6371 * asin(sqrt(least(1,
  sind((other_latitude - latitude) / 2) ^ 2
    + cosd(latitude) * cosd(other_latitude) * sind((other_longitude - longitude) / 2) ^ 2)));
--> statement-breakpoint
-- `past` are logins and refreshes of the user that were let in, in any order. Without one nothing is new. `failures` are wrong
-- passwords just before, and `accounts` those of others that were tried from the same network, within the hour.
-- A device that its token proves is known; a program, or a browser without its cookie, half as much as it may be another one
-- of the same make. A network is new when its owner is, because addresses change. Travel is impossible faster than airliners
-- (900 km/h), over at least 500 km, because a network is found no better than that. An hour of the day (UTC) is unusual when
-- there was no login within two hours of it, of at least 20 over 5 days.
create or replace function access.risk_strengths(
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
--> statement-breakpoint
-- Strengths that an older release kept are fewer than there are weights.
create or replace function access.risk_score(strengths integer[], weights integer[]) returns integer
language sql immutable
return least(
  100,
  (select coalesce(sum(s.strength * s.weight), 0) from unnest(strengths, weights) s (strength, weight)) / 100
)::integer;
--> statement-breakpoint
create or replace function access.risk_reasons(strengths integer[]) returns text[]
language sql immutable
return array(
  select s.name
  from unnest(access.risk_signs(), strengths) with ordinality s (name, strength, place)
  where s.strength > 0
  order by s.place);
--> statement-breakpoint
-- The weights of the settings, in the order of the signs.
create or replace function access.risk_weights(named jsonb) returns integer[]
language sql immutable
return array(
  select coalesce((named ->> s.name)::integer, 0)
  from unnest(access.risk_signs()) with ordinality s (name, place)
  order by s.place);
--> statement-breakpoint
-- What contradicts itself in the settings after an update that touches it, as access.check_settings has it.
create or replace function access.risk_faults(was freehold.tenant, is_now freehold.tenant) returns jsonb
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
--> statement-breakpoint
-- Refuses an update that leaves settings which contradict each other: all of them at once, and of each two the one that
-- this update changes. What contradicted itself before, and is not touched, stays: a tenant that was set so once can
-- still change everything else.
create or replace function access.check_settings(was freehold.tenant, is_now freehold.tenant) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  idle text := case when is_now.idle_minutes is null then 'idle_days' else 'idle_minutes' end;
  -- In how many of the unit of `idle` a day has.
  a_day integer := case when is_now.idle_minutes is null then 1 else 1440 end;
  faults jsonb;
begin
  -- `low` must be at most `high`, in which one is `times` of `low`.
  select jsonb_agg(
    case
      when p.low_changed then jsonb_build_object('field', p.low, 'said', (select format(
        'must be at most %s while %s is %s: to set more, change both in one request',
        p.high_value * p.times, p.high, p.high_value)))
      else jsonb_build_object('field', p.high, 'said', (select format(
        'must be at least %s while %s is %s: to set less, change both in one request',
        ceil(p.low_value::numeric / p.times), p.low, p.low_value)))
    end
    order by p.low)
  into faults
  from (
    values
      (idle, coalesce(is_now.idle_minutes, is_now.idle_days), access.idle_limit(is_now) <> access.idle_limit(was),
        'session_days', is_now.session_days, is_now.session_days <> was.session_days, a_day),
      ('password_warning_days', is_now.password_warning_days, is_now.password_warning_days <> was.password_warning_days,
        'password_days', nullif(is_now.password_days, 0), is_now.password_days <> was.password_days, 1),
      ('password_unique', is_now.password_unique, is_now.password_unique <> was.password_unique,
        'password_min_length', is_now.password_min_length, is_now.password_min_length <> was.password_min_length, 1)
  ) p (low, low_value, low_changed, high, high_value, high_changed, times)
  where p.low_value > p.high_value * p.times
    and (p.low_changed or p.high_changed);
  faults := coalesce(faults, '[]') || access.risk_faults(was, is_now);
  if faults <> '[]' then
    perform access.refuse_fields(faults);
  end if;
end $$;
--> statement-breakpoint
-- Creates the users of some lines, in their order, each of them or not at all. Returns what access.import_user says
-- of each line. The batch is recorded with how many lines were imported and how many not; `refused` of them the Worker
-- did not pass on. With `earlier` it is one of a dry run, which does the same and then undoes all of it: {names, places},
-- what the batches before this one would have taken: usernames, and by the id of a role how many places in it,
-- and `users`, how many are active.
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
    -- Read by access.places_taken and access.earlier_users.
    perform
      set_config('access.earlier_places', coalesce(earlier ->> 'places', ''), true),
      set_config('access.earlier_users', coalesce(earlier ->> 'users', ''), true),
      access.pass_hook('user.create');
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
-- The greatest number that an event has.
create or replace function access.newest_seq() returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce((select s.last_seq from access.event_spans s order by s.last_seq desc limit 1), 0)
$$;
--> statement-breakpoint
-- The secrets to sign with, the newest first, as the Worker encrypted them.
create or replace function access.signing_secrets(secret text, former text, former_until timestamptz) returns jsonb
language sql stable
return case
  when signing_secrets.former_until > now() then jsonb_build_array(secret, former)
  else jsonb_build_array(secret)
end;
--> statement-breakpoint
create or replace function access.webhook_secrets(w freehold.webhooks) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.signing_secrets(w.secret_encrypted, w.former_secret_encrypted, w.former_until)
$$;
--> statement-breakpoint
-- Claims at most so many webhooks: [{id, lease, url, secrets}]. Those that work come before those that fail.
create or replace function access.claim_webhooks(tenant_id uuid, system_key text, at_most integer) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  newest bigint;
  claimed jsonb;
begin
  perform access.check_system(tenant_id, system_key);
  newest := access.newest_seq();
  with due as (
    select p.webhook_id
    from freehold.webhook_progress p
    join freehold.webhooks w on w.id = p.webhook_id
    where not w.is_paused
      and p.delivered_seq < newest
      and p.next_at <= now()
      and (p.leased_until is null or p.leased_until <= now())
    order by p.failures > 0, p.next_at, p.webhook_id
    limit at_most
    for update of p skip locked
  ), taken as (
    update freehold.webhook_progress p
    set lease = gen_random_uuid(), leased_until = now() + interval '1 minute'
    from due d
    where p.webhook_id = d.webhook_id
    returning p.webhook_id, p.lease
  )
  select jsonb_agg(jsonb_build_object(
    'id', w.id, 'lease', t.lease, 'url', w.url, 'secrets', access.webhook_secrets(w)))
  into claimed
  from taken t
  join freehold.webhooks w on w.id = t.webhook_id;
  return coalesce(claimed, '[]');
end $$;
--> statement-breakpoint
-- Writes attempts: [{seq, event_id, type, is_delivered, status, error, duration_ms}].
create or replace function access.record_deliveries(webhook uuid, results jsonb, attempt integer) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  insert into freehold.webhook_deliveries (
    id, webhook_id, seq, event_id, type, attempt, is_delivered, status, error, duration_ms)
  select
    gen_random_uuid(), webhook, r.seq, r.event_id, r.type,
    case when r.place = 1 then record_deliveries.attempt else 1 end,
    r.is_delivered, r.status, left(r.error, 255), r.duration_ms
  from (
    select x.*, row_number() over () as place
    from jsonb_to_recordset(results) x (
      seq bigint, event_id uuid, type text, is_delivered boolean, status integer, error text, duration_ms integer)
  ) r
$$;
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
        a.id, 'webhook_paused', jsonb_build_object('host', substring(w.url from '^https?://([^/?#]*)')), null,
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
-- The events of a webhook behind a place, as text, because what is signed is what the database wrote; and how far they
-- reach. An answer of the database has 10 MiB at most, and details up to 256 KiB each.
create or replace function access.webhook_window(w freehold.webhooks, place bigint, newest bigint) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'reached', x.until,
    'events', coalesce((
      select jsonb_agg(jsonb_build_object(
        'seq', e.event -> 'seq', 'id', e.event -> 'id', 'type', e.event -> 'type', 'at', e.event -> 'at',
        'text', e.event::text) order by e.no)
      from jsonb_array_elements(access.events_between(x.since, x.until, w.includes_details, w.kinds))
        with ordinality e (event, no)), '[]'))
  from (
    select f.since, least(f.since + case when w.includes_details then 20 else 100 end - 1, newest) as until
    from (select access.next_seq(place) as since) f
  ) x
$$;
--> statement-breakpoint
-- When the next webhook has something to send; null: none has.
create or replace function access.webhooks_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(greatest(p.next_at, p.leased_until))
  from freehold.webhook_progress p
  join freehold.webhooks w on w.id = p.webhook_id
  where not w.is_paused and p.delivered_seq < access.newest_seq()
$$;
--> statement-breakpoint
-- Refuses who may not export all activities themselves.
create or replace function access.must_export() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if 'activity:export' <> all (access.held_everywhere(null)) then
    perform access.refuse('forbidden', 'A webhook exports activities: activity:export at scope all is needed.');
  end if;
end $$;
--> statement-breakpoint
create or replace function access.before_webhook() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    -- One at a time, so that one transaction gets the last place.
    perform pg_advisory_xact_lock(hashtext('access.webhooks'));
    if (select count(*) from freehold.webhooks) >= 20 then
      perform access.refuse('limit_reached', 'A tenant can have at most 20 webhooks: delete one first.');
    end if;
  end if;
  if access.principal() is not null then
    if tg_op = 'UPDATE' and new.secret_encrypted <> old.secret_encrypted then
      new.former_secret_encrypted := old.secret_encrypted;
      new.former_until := now() + interval '24 hours';
    end if;
    if not new.is_paused then
      new.paused_because := null;
    end if;
    -- To pause one, anybody may who may change settings.
    if tg_op = 'INSERT'
      or (new.url, new.kinds, new.includes_details, new.secret_encrypted, new.public_key)
        is distinct from (old.url, old.kinds, old.includes_details, old.secret_encrypted, old.public_key)
      or old.is_paused and not new.is_paused
    then
      perform access.must_export();
    end if;
  end if;
  new.updated_at := now();
  if tg_op = 'UPDATE' then
    new.updated_at := greatest(now(), old.updated_at + interval '1 microsecond');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- A new webhook begins with what is numbered after it was made; one that goes on is tried at once.
create or replace function access.after_webhook() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into freehold.webhook_progress (webhook_id, delivered_seq)
    values (new.id, access.newest_seq());
  elsif old.is_paused and not new.is_paused or new.url <> old.url then
    update freehold.webhook_progress p
    set failures = 0, failing_since = null, next_at = now()
    where p.webhook_id = new.id;
  end if;
  return null;
end $$;
--> statement-breakpoint
-- The webhook that the admitted user may change; locked, as everything that touches its progress does first. Raises FH403,
-- FH404.
create or replace function access.webhook_to_change(id uuid) returns freehold.webhooks
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  w freehold.webhooks;
begin
  if access.permission() = 'setting:update' and access.scope() = 'all' then
    select * into w from freehold.webhooks x where x.id = webhook_to_change.id for no key update;
  elsif exists (select from freehold.webhooks x where x.id = webhook_to_change.id) then
    perform access.refuse('forbidden', 'Changing a webhook needs setting:update at scope all.');
  end if;
  if w.id is null then
    -- In the words that a verb has for one that does not exist.
    raise exception using errcode = 'FH404', message = 'not_found';
  end if;
  return w;
end $$;
--> statement-breakpoint
-- Sends events again, from the one after a number on. Whoever sends for it now loses the lease, and cannot move it back.
create or replace function access.replay_webhook(id uuid, after bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  w freehold.webhooks := access.webhook_to_change(replay_webhook.id);
begin
  perform access.must_export();
  update freehold.webhook_progress p
  set delivered_seq = least(replay_webhook.after, access.newest_seq()),
    failures = 0, failing_since = null, next_at = now(), lease = null, leased_until = null
  where p.webhook_id = w.id;
  perform access.record(
    'WEBHOOK_REPLAYED', 'replay', 'webhook', w.id::text, null, jsonb_build_object('after', replay_webhook.after));
end $$;
--> statement-breakpoint
-- {url, secrets}
create or replace function access.begin_webhook_test(id uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  w freehold.webhooks := access.webhook_to_change(begin_webhook_test.id);
begin
  return jsonb_build_object('url', w.url, 'secrets', access.webhook_secrets(w));
end $$;
--> statement-breakpoint
-- Returns the attempt as the API shows it. Null: the webhook was deleted meanwhile.
create or replace function access.end_webhook_test(id uuid, result jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  w freehold.webhooks := access.webhook_to_change(end_webhook_test.id);
begin
  -- Of a test alone: an attempt of an event is the sender's to record.
  perform access.record_deliveries(
    w.id, jsonb_build_array(result - '{seq,event_id}'::text[] || '{"type": "webhook.test"}'), 1);
  return result;
end $$;
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.hooks REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('hook', '{secret_encrypted,former_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.hooks REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('hook', '{secret_encrypted,former_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.hooks REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('hook', '{secret_encrypted,former_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.webhooks REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('webhook', '{secret_encrypted,former_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.webhooks REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('webhook', '{secret_encrypted,former_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.webhooks REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('webhook', '{secret_encrypted,former_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
create trigger ask_hook after insert on freehold.users
  for each row execute function access.ask_about_user();
--> statement-breakpoint
create trigger before_hook before insert or update on freehold.hooks
  for each row execute function access.before_hook();
--> statement-breakpoint
create trigger after_new_session after insert on freehold.sessions
  for each row when (new.impersonator_id is null) execute function access.after_new_session();
--> statement-breakpoint
create trigger after_delegation after insert or update of decision, revoked_at on freehold.delegations
  for each row execute function access.after_delegation();
--> statement-breakpoint
create trigger after_acceptance after update of accepted_at on freehold.invitations
  for each row when (old.accepted_at is null and new.accepted_at is not null) execute function access.after_acceptance();
--> statement-breakpoint
create trigger before_webhook before insert or update on freehold.webhooks
  for each row execute function access.before_webhook();
--> statement-breakpoint
create trigger after_webhook after insert or update on freehold.webhooks
  for each row execute function access.after_webhook();
--> statement-breakpoint
-- Not access.protect: a secret is not read, and all of it goes with the permission to change settings.
create policy read on freehold.hooks for select
  using ((select access.permission() = any ('{setting:read,setting:update}'::text[])));
--> statement-breakpoint
create policy make on freehold.hooks for insert
  with check ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
--> statement-breakpoint
create policy change on freehold.hooks for update
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
--> statement-breakpoint
create policy remove on freehold.hooks for delete
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
--> statement-breakpoint
-- Not access.protect: a secret is not read, and all of it goes with the permission to change settings.
create policy read on freehold.webhooks for select
  using ((select access.permission() = any ('{setting:read,setting:update}'::text[])));
--> statement-breakpoint
create policy make on freehold.webhooks for insert
  with check ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
--> statement-breakpoint
create policy change on freehold.webhooks for update
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
--> statement-breakpoint
create policy remove on freehold.webhooks for delete
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
--> statement-breakpoint
create policy read on freehold.webhook_progress for select
  using ((select access.permission() = any ('{setting:read,setting:update}'::text[])));
--> statement-breakpoint
create policy read on freehold.webhook_deliveries for select
  using ((select access.permission() = any ('{setting:read,setting:update}'::text[])));
--> statement-breakpoint
comment on function access.matrix_cells(uuid[],uuid[],timestamp with time zone) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
revoke execute
  on function access.accept_invitation(uuid,text,bytea,text,jsonb,jsonb,jsonb),
    access.add_passkey(uuid,jsonb),
    access.administrators(),
    access.after_acceptance(),
    access.after_delegation(),
    access.after_new_session(),
    access.after_webhook(),
    access.answer(uuid,jsonb,text[],timestamp with time zone),
    access.answer_many(uuid,jsonb,text[],timestamp with time zone),
    access.ask(jsonb,timestamp with time zone),
    access.ask_about_invitation(freehold.invitations,uuid),
    access.ask_about_login(freehold.users,jsonb,text,text),
    access.ask_about_user(),
    access.ask_hook(text,text,jsonb),
    access.assess_risk(freehold.users,freehold.tenant,text,jsonb,uuid),
    access.before_hook(),
    access.before_webhook(),
    access.begin_hook_test(uuid),
    access.begin_webhook_test(uuid),
    access.can_challenge(freehold.users,text,jsonb),
    access.challenge(freehold.users,bytea,jsonb,text,text,text,uuid,uuid),
    access.checkpoint_soon(uuid,text),
    access.claim_webhooks(uuid,text,integer),
    access.continue_webhook(uuid,text,uuid,uuid,jsonb,bigint,boolean),
    access.deciders(freehold.delegations),
    access.distance_km(double precision,double precision,double precision,double precision),
    access.end_webhook_test(uuid,jsonb),
    access.enter(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,text,integer,uuid,boolean,uuid),
    access.event_resources(),
    access.event_type(text,text,text),
    access.events_between(bigint,bigint,boolean,text[]),
    access.hook_answered(uuid,text,jsonb),
    access.hook_answers(),
    access.hook_target(uuid,text,uuid),
    access.is_wanted(text,text[]),
    access.keep_risk(freehold.risk_attempts,freehold.tenant,text,jsonb),
    access.mail_login_code(freehold.users,bytea,jsonb),
    access.mail_notifications(integer),
    access.matrix_rows(uuid[],uuid[],timestamp with time zone),
    access.meet_challenge(freehold.tenant,bytea,freehold.login_challenges,boolean,text,text,bytea,jsonb,jsonb,boolean,integer),
    access.must_export(),
    access.must_hear_all(text),
    access.new_notifications(timestamp with time zone),
    access.newest_seq(),
    access.next_seq(bigint),
    access.note_foreign_token(jsonb),
    access.noted_risk(),
    access.notification_kind(text),
    access.notification_preferences(),
    access.notifications_due(),
    access.notify(uuid,text,jsonb,uuid,text,text,boolean),
    access.notify_of_mail(text,uuid,jsonb),
    access.number_events(),
    access.obey_hook(text,text,jsonb),
    access.open_session(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,integer,uuid,jsonb),
    access.own_notifications(boolean,timestamp with time zone,uuid,integer),
    access.pass_hook(text),
    access.pass_risk(uuid,uuid),
    access.past_or_now(timestamp with time zone,text),
    access.purge_told(integer),
    access.read_events(bigint,integer,boolean),
    access.read_notification(uuid),
    access.read_notifications(),
    access.record_deliveries(uuid,jsonb,integer),
    access.record_failed_hook(jsonb),
    access.refresh_is_stopped(freehold.users,freehold.tenant,freehold.sessions,jsonb),
    access.rehearse_risk(jsonb,jsonb,integer,integer),
    access.rehearsed(jsonb),
    access.replay_webhook(uuid,bigint),
    access.require_room(freehold.invitations,access.limits),
    access.resend_login_code(uuid,text,bytea,jsonb),
    access.ring_own(),
    access.risk_faults(freehold.tenant,freehold.tenant),
    access.risk_network(text),
    access.risk_past(uuid,freehold.tenant),
    access.risk_reasons(integer[]),
    access.risk_score(integer[],integer[]),
    access.risk_signs(),
    access.risk_strengths(freehold.risk_attempts,freehold.risk_attempts[],integer,integer,boolean,boolean),
    access.risk_weights(jsonb),
    access.see_place(uuid,text),
    access.set_notification_preferences(jsonb),
    access.shown_notification(freehold.notifications),
    access.signing_secrets(text,text,timestamp with time zone),
    access.take_hook_answers(jsonb),
    access.target_of_hook(uuid),
    access.tell_of_license(),
    access.today(),
    access.unless_risky(freehold.tenant,freehold.users,text,jsonb),
    access.unread_notifications(),
    access.usual_notification_preferences(),
    access.verify_mailed_code(uuid,text,bytea,bytea,bytea,jsonb,jsonb),
    access.webhook_secrets(freehold.webhooks),
    access.webhook_to_change(uuid),
    access.webhook_window(freehold.webhooks,bigint,bigint),
    access.webhooks_due(),
    access.why_not(uuid,jsonb,jsonb,text[],timestamp with time zone)
  from public;
--> statement-breakpoint
grant delete, insert (id, act, url, on_failure, is_paused, secret_encrypted), select (id, act, url, on_failure, is_paused, created_at, updated_at), update (url, on_failure, is_paused, secret_encrypted)
  on freehold.hooks
  to freehold_app;
--> statement-breakpoint
grant delete, insert (id, url, kinds, includes_details, is_paused, secret_encrypted, public_key), select (id, url, kinds, includes_details, is_paused, paused_because, public_key, created_at, updated_at), update (url, kinds, includes_details, is_paused, secret_encrypted, public_key)
  on freehold.webhooks
  to freehold_app;
--> statement-breakpoint
grant select
  on freehold.webhook_deliveries
  to freehold_app;
--> statement-breakpoint
grant select (webhook_id, delivered_seq, failures, failing_since, next_at)
  on freehold.webhook_progress
  to freehold_app;
--> statement-breakpoint
grant update (notification_days, risk_weights, risk_suspicious, risk_stop, risk_action, risk_breached, risk_days)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.accept_invitation(uuid,text,bytea,text,jsonb,jsonb,jsonb),
    access.ask(jsonb,timestamp with time zone),
    access.begin_hook_test(uuid),
    access.begin_webhook_test(uuid),
    access.checkpoint_soon(uuid,text),
    access.claim_webhooks(uuid,text,integer),
    access.continue_webhook(uuid,text,uuid,uuid,jsonb,bigint,boolean),
    access.end_webhook_test(uuid,jsonb),
    access.hook_answered(uuid,text,jsonb),
    access.hook_target(uuid,text,uuid),
    access.matrix_rows(uuid[],uuid[],timestamp with time zone),
    access.new_notifications(timestamp with time zone),
    access.notification_preferences(),
    access.own_notifications(boolean,timestamp with time zone,uuid,integer),
    access.read_events(bigint,integer,boolean),
    access.read_notification(uuid),
    access.read_notifications(),
    access.rehearse_risk(jsonb,jsonb,integer,integer),
    access.replay_webhook(uuid,bigint),
    access.resend_login_code(uuid,text,bytea,jsonb),
    access.set_notification_preferences(jsonb),
    access.unread_notifications(),
    access.verify_mailed_code(uuid,text,bytea,bytea,bytea,jsonb,jsonb)
  to freehold_app;
