-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table access.event_spans
--   creates table freehold.notification_preferences
--   creates table freehold.notifications
--   creates table freehold.webhook_deliveries
--   creates table freehold.webhook_progress
--   creates table freehold.webhooks
--   alters table freehold.tenant
-- Definitions:
--   creates 60 objects
--   replaces function access.alert_expiring_competencies
--   replaces function access.checkpoint_audit
--   replaces function access.enqueue_mail
--   replaces function access.invite
--   replaces function access.is_built_in_activity
--   replaces function access.personal_tables
--   replaces function access.preview_invitation
--   replaces function access.purge
--   replaces function access.register_passkey
--   replaces function access.require_reach
--   replaces function access.resend_invitation
--   replaces function access.wipe_some_of
--   drops and creates function access.accept_invitation
--   drops and creates function access.answer
--   drops and creates function access.answer_many
--   drops and creates function access.ask
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
  "former_secret_encrypted" text,
  "former_until" timestamp with time zone,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "webhooks_texts" CHECK (length("freehold"."webhooks"."url") between 1 and 500 and cardinality("freehold"."webhooks"."kinds") <= 50),
  CONSTRAINT "webhooks_paused" CHECK ("freehold"."webhooks"."paused_because" is null or "freehold"."webhooks"."is_paused" and "freehold"."webhooks"."paused_because" in ('failing', 'gone'))
);
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "notification_days" integer DEFAULT 90 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."webhook_deliveries" ADD CONSTRAINT "webhook_deliveries_webhook_id_webhooks_id_fk" FOREIGN KEY ("webhook_id") REFERENCES "freehold"."webhooks"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."webhook_progress" ADD CONSTRAINT "webhook_progress_webhook_id_webhooks_id_fk" FOREIGN KEY ("webhook_id") REFERENCES "freehold"."webhooks"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
CREATE INDEX "event_spans_first" ON "access"."event_spans" USING btree ("first_seq");
--> statement-breakpoint
CREATE INDEX "event_spans_last" ON "access"."event_spans" USING btree ("last_seq");
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
CREATE INDEX "webhook_deliveries_of" ON "freehold"."webhook_deliveries" USING btree ("webhook_id","at","id");
--> statement-breakpoint
CREATE INDEX "webhook_deliveries_at" ON "freehold"."webhook_deliveries" USING btree ("at");
--> statement-breakpoint
CREATE INDEX "webhooks_sorted" ON "freehold"."webhooks" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "employees_other_name" ON "freehold"."employees" USING btree (name collate "C","id") WHERE employment = 'inactive' or terminated_at is not null;
--> statement-breakpoint
CREATE INDEX "employees_other_created" ON "freehold"."employees" USING btree ("created_at","id") WHERE employment = 'inactive' or terminated_at is not null;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_notification_days" CHECK ("freehold"."tenant"."notification_days" between 1 and 365);
--> statement-breakpoint
alter table access.event_spans enable row level security;
--> statement-breakpoint
alter table freehold.notification_preferences enable row level security;
--> statement-breakpoint
alter table freehold.notifications enable row level security;
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
  is_common boolean := resource in ('role', 'permission', 'audience', 'provider', 'webhook');
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
      'COMPETENCY_VERIFIED', 'COMPETENCY_REVOKED'
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
-- The type of an event: a subject and what happened to it. An activity that a service recorded is `custom.` and its name;
-- a change of a row is named after its resource.
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
  when 'EXPORT' then case resource when 'user' then 'personal_data.exported' else 'activities.exported' end
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
  else case
    when activity = upper(resource) || '_' || upper(action) || 'D' then resource || '.' || action || 'd'
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
      i.unit_id,
      i.organization_id,
      now()
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
    select u.id, u.email
    from freehold.users u
    where u.id in (
        select n.user_id
        from freehold.notifications n
        where n.mail = 'now' or n.mail = 'digest' and n.created_at < access.today()
        group by n.user_id
        order by min(n.created_at)
        limit least(at_most, access.warnings_left())
      )
      and u.is_active
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
    join people u on u.id = w.user_id;
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
      select distinct a.id
      from freehold.roles r
        join freehold.user_roles ur on ur.role_id = r.id and access.in_force(ur.starts_at, ur.ends_at, now())
        join freehold.users a on a.id = ur.user_id and a.is_active
      where r.is_admin and r.is_active
      limit 100
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
  insert into freehold.notification_preferences as p (user_id, kinds)
  values (access.principal(), wanted)
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
        ended_because,impersonator_id,impersonation_reason}', '{user_id,device_id,impersonator_session_id}', 'delete'),
    (33, 'freehold.login_challenges', null, 'x.user_id = $1', null, '{}',
      '{token_hash,user_id,guard,client,audience,device,amr,failures,created_at,expires_at,used_at}', 'delete'),
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
      '{identifier,state,created_at}', '{id,user_id,key,guard,hash_parameters}', 'delete'),
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
-- The greatest number that an event has.
create or replace function access.newest_seq() returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce((select s.last_seq from access.event_spans s order by s.last_seq desc limit 1), 0)
$$;
--> statement-breakpoint
-- The secrets to sign with, the newest first, as the Worker encrypted them.
create or replace function access.webhook_secrets(w freehold.webhooks) returns jsonb
language sql stable
return case
  when w.former_until > now() then jsonb_build_array(w.secret_encrypted, w.former_secret_encrypted)
  else jsonb_build_array(w.secret_encrypted)
end;
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
      or (new.url, new.kinds, new.includes_details, new.secret_encrypted)
        is distinct from (old.url, old.kinds, old.includes_details, old.secret_encrypted)
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
  perform access.record_deliveries(w.id, jsonb_build_array(result), 1);
  return result;
end $$;
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.webhooks REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('webhook', '{secret_encrypted,former_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.webhooks REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('webhook', '{secret_encrypted,former_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.webhooks REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('webhook', '{secret_encrypted,former_secret_encrypted}', '{updated_at}', '{id}');
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
    access.after_acceptance(),
    access.after_delegation(),
    access.after_new_session(),
    access.after_webhook(),
    access.answer(uuid,jsonb,text[],timestamp with time zone),
    access.answer_many(uuid,jsonb,text[],timestamp with time zone),
    access.ask(jsonb,timestamp with time zone),
    access.before_webhook(),
    access.begin_webhook_test(uuid),
    access.checkpoint_soon(uuid,text),
    access.claim_webhooks(uuid,text,integer),
    access.continue_webhook(uuid,text,uuid,uuid,jsonb,bigint,boolean),
    access.deciders(freehold.delegations),
    access.end_webhook_test(uuid,jsonb),
    access.event_type(text,text,text),
    access.events_between(bigint,bigint,boolean,text[]),
    access.is_wanted(text,text[]),
    access.mail_notifications(integer),
    access.matrix_rows(uuid[],uuid[],timestamp with time zone),
    access.must_export(),
    access.new_notifications(timestamp with time zone),
    access.newest_seq(),
    access.next_seq(bigint),
    access.notification_kind(text),
    access.notification_preferences(),
    access.notifications_due(),
    access.notify(uuid,text,jsonb,uuid,text,text,boolean),
    access.notify_of_mail(text,uuid,jsonb),
    access.number_events(),
    access.own_notifications(boolean,timestamp with time zone,uuid,integer),
    access.past_or_now(timestamp with time zone,text),
    access.purge_told(integer),
    access.read_events(bigint,integer,boolean),
    access.read_notification(uuid),
    access.read_notifications(),
    access.record_deliveries(uuid,jsonb,integer),
    access.replay_webhook(uuid,bigint),
    access.require_room(freehold.invitations,access.limits),
    access.ring_own(),
    access.set_notification_preferences(jsonb),
    access.shown_notification(freehold.notifications),
    access.tell_of_license(),
    access.today(),
    access.unread_notifications(),
    access.usual_notification_preferences(),
    access.webhook_secrets(freehold.webhooks),
    access.webhook_to_change(uuid),
    access.webhook_window(freehold.webhooks,bigint,bigint),
    access.webhooks_due(),
    access.why_not(uuid,jsonb,jsonb,text[],timestamp with time zone)
  from public;
--> statement-breakpoint
grant delete, insert (id, url, kinds, includes_details, is_paused, secret_encrypted), select (id, url, kinds, includes_details, is_paused, paused_because, created_at, updated_at), update (url, kinds, includes_details, is_paused, secret_encrypted)
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
grant update (notification_days)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.accept_invitation(uuid,text,bytea,text,jsonb,jsonb,jsonb),
    access.ask(jsonb,timestamp with time zone),
    access.begin_webhook_test(uuid),
    access.checkpoint_soon(uuid,text),
    access.claim_webhooks(uuid,text,integer),
    access.continue_webhook(uuid,text,uuid,uuid,jsonb,bigint,boolean),
    access.end_webhook_test(uuid,jsonb),
    access.matrix_rows(uuid[],uuid[],timestamp with time zone),
    access.new_notifications(timestamp with time zone),
    access.notification_preferences(),
    access.own_notifications(boolean,timestamp with time zone,uuid,integer),
    access.read_events(bigint,integer,boolean),
    access.read_notification(uuid),
    access.read_notifications(),
    access.replay_webhook(uuid,bigint),
    access.set_notification_preferences(jsonb),
    access.unread_notifications()
  to freehold_app;
