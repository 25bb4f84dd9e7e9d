-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table access.event_spans
--   creates table freehold.hooks
--   creates table freehold.notification_preferences
--   creates table freehold.notifications
--   creates table freehold.webhook_deliveries
--   creates table freehold.webhook_progress
--   creates table freehold.webhooks
--   alters table freehold.sessions
--   alters table freehold.tenant
-- Definitions:
--   creates 82 objects
--   replaces function access.accept_invitation
--   replaces function access.alert_expiring_competencies
--   replaces function access.checkpoint_audit
--   replaces function access.enqueue_mail
--   replaces function access.enter
--   replaces function access.import_batch
--   replaces function access.is_built_in_activity
--   replaces function access.join_by_invitation
--   replaces function access.personal_tables
--   replaces function access.purge
--   replaces function access.require_reach
--   replaces function access.token_claims
--   drops and creates function access.open_session

set local check_function_bodies = off;
--> statement-breakpoint
drop function access.open_session(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,integer,uuid);
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
ALTER TABLE "freehold"."sessions" ADD COLUMN "hook_claims" jsonb;
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
CREATE INDEX "webhook_deliveries_of" ON "freehold"."webhook_deliveries" USING btree ("webhook_id","at","id");
--> statement-breakpoint
CREATE INDEX "webhook_deliveries_at" ON "freehold"."webhook_deliveries" USING btree ("at");
--> statement-breakpoint
CREATE INDEX "webhooks_sorted" ON "freehold"."webhooks" USING btree ("created_at","id");
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_notification_days" CHECK ("freehold"."tenant"."notification_days" between 1 and 365);
--> statement-breakpoint
alter table access.event_spans enable row level security;
--> statement-breakpoint
alter table freehold.hooks enable row level security;
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
      'COMPETENCY_VERIFIED', 'COMPETENCY_REVOKED', 'HOOK_FAILED'
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
-- Lets somebody in who proved to be `u` by the methods `amr` (RFC 8176, with a space between them), which are `aal`
-- factors: {outcome: ok, claims, device_token}, or {outcome: no_role | first_password_expired | unknown_audience}, or
-- {outcome: limit_reached | denied_by_hook, said}; or, where one factor is not enough, {outcome: mfa_required, methods,
-- expires_in, totp}
-- (access.challenge), and then `refresh_hash` is that of the challenge's token. The caller has locked the user's row and
-- set the actor of the audit. `former`, `client` and `audience` are as for access.finish_login. `device` is the one that
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
  remember boolean default false
) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
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
  elsif aal < 2
    and (u.factors <> '{}' or access.asks_for_passkey(u, t))
    and not access.is_remembered(t, u.id, device)
  then
    return access.challenge(u, refresh_hash, request, client, audience, amr, device);
  end if;
  asked := access.ask_about_login(u, request, client, amr);
  if not (asked ->> 'is_allowed')::boolean then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', asked ->> 'reason'), 20
    );
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
    return jsonb_build_object('outcome', 'limit_reached', 'said', why);
  end;
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
  when 'HOOK_FAILED' then 'hook.failed'
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
-- Refuses who may not export all activities themselves: a hook is told the same as it happens.
create or replace function access.must_hear_all() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if 'activity:export' <> all (access.held_everywhere(null)) then
    perform access.refuse('forbidden', 'A hook is told who logs in: activity:export at scope all is needed.');
  end if;
end $$;
--> statement-breakpoint
create or replace function access.before_hook() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is not null and tg_op = 'INSERT' then
    perform access.must_hear_all();
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
      perform access.must_hear_all();
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
-- Makes the account of a new person: {outcome: done, id, username, ...}, or the outcome `invalid` (the token), `known`
-- (the address has an account; the invitation stays open), `void` (nothing of what it promised can be given any more).
-- Raises FH409 where a limit is reached; then the invitation stays open.
create or replace function access.accept_invitation(
  tenant_id uuid,
  system_key text,
  presented bytea,
  new_hash text,
  wanted jsonb,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  i freehold.invitations;
  given freehold.roles[];
  u freehold.users;
  broken text;
begin
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
  u.id := gen_random_uuid();
  u.username := access.free_username(wanted ->> 'username', i.email);
  perform access.set_audit_actor(u.id, u.username, request);
  begin
    insert into freehold.users (
      id, username, email, email_verified, given_name, family_name, locale, role, unit_id, organization_id, joined_at
    )
    values (
      u.id,
      u.username,
      i.email,
      true,
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
  insert into freehold.passwords (id, user_id, password_hash) values (gen_random_uuid(), u.id, new_hash);
  return access.join_as(i, u.id, given);
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
  perform access.record_deliveries(w.id, jsonb_build_array(result), 1);
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
revoke execute
  on function access.after_acceptance(),
    access.after_delegation(),
    access.after_new_session(),
    access.after_webhook(),
    access.ask_about_invitation(freehold.invitations,uuid),
    access.ask_about_login(freehold.users,jsonb,text,text),
    access.ask_about_user(),
    access.ask_hook(text,text,jsonb),
    access.before_hook(),
    access.before_webhook(),
    access.begin_hook_test(uuid),
    access.begin_webhook_test(uuid),
    access.checkpoint_soon(uuid,text),
    access.claim_webhooks(uuid,text,integer),
    access.continue_webhook(uuid,text,uuid,uuid,jsonb,bigint,boolean),
    access.deciders(freehold.delegations),
    access.end_webhook_test(uuid,jsonb),
    access.event_type(text,text,text),
    access.events_between(bigint,bigint,boolean,text[]),
    access.hook_answered(uuid,text,jsonb),
    access.hook_answers(),
    access.hook_target(uuid,text,uuid),
    access.is_wanted(text,text[]),
    access.mail_notifications(integer),
    access.must_export(),
    access.must_hear_all(),
    access.new_notifications(timestamp with time zone),
    access.newest_seq(),
    access.next_seq(bigint),
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
    access.purge_told(integer),
    access.read_events(bigint,integer,boolean),
    access.read_notification(uuid),
    access.read_notifications(),
    access.record_deliveries(uuid,jsonb,integer),
    access.record_failed_hook(jsonb),
    access.replay_webhook(uuid,bigint),
    access.ring_own(),
    access.set_notification_preferences(jsonb),
    access.shown_notification(freehold.notifications),
    access.signing_secrets(text,text,timestamp with time zone),
    access.take_hook_answers(jsonb),
    access.target_of_hook(uuid),
    access.tell_of_license(),
    access.today(),
    access.unread_notifications(),
    access.usual_notification_preferences(),
    access.webhook_secrets(freehold.webhooks),
    access.webhook_to_change(uuid),
    access.webhook_window(freehold.webhooks,bigint,bigint),
    access.webhooks_due()
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
grant update (notification_days)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.begin_hook_test(uuid),
    access.begin_webhook_test(uuid),
    access.checkpoint_soon(uuid,text),
    access.claim_webhooks(uuid,text,integer),
    access.continue_webhook(uuid,text,uuid,uuid,jsonb,bigint,boolean),
    access.end_webhook_test(uuid,jsonb),
    access.hook_answered(uuid,text,jsonb),
    access.hook_target(uuid,text,uuid),
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
