-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   alters table freehold.audit_detail
--   alters table freehold.providers
--   alters table freehold.sessions
-- Definitions:
--   creates 21 objects
--   replaces 20 objects
--   drops and creates policy read on freehold.sessions
--   drops and creates policy change on freehold.sessions
--   drops and creates trigger after_session_end on freehold.sessions
--   drops and creates function access.set_audit_actor

set local check_function_bodies = off;
--> statement-breakpoint
drop policy read on freehold.sessions;
--> statement-breakpoint
drop policy change on freehold.sessions;
--> statement-breakpoint
drop trigger after_session_end on freehold.sessions;
--> statement-breakpoint
drop function access.set_audit_actor(uuid,text,jsonb);
--> statement-breakpoint
ALTER TABLE "freehold"."audit_detail" ADD COLUMN "impersonator_id" uuid;
--> statement-breakpoint
ALTER TABLE "freehold"."providers" ADD COLUMN "accepts_tokens" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "impersonator_id" uuid;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "impersonator_session_id" uuid;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "impersonation_reason" text;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD CONSTRAINT "sessions_impersonator_id_users_id_fk" FOREIGN KEY ("impersonator_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE INDEX "audit_detail_impersonator" ON "freehold"."audit_detail" USING btree ("impersonator_id") WHERE "freehold"."audit_detail"."impersonator_id" is not null;
--> statement-breakpoint
CREATE INDEX "sessions_impersonator" ON "freehold"."sessions" USING btree ("impersonator_session_id") WHERE "freehold"."sessions"."impersonator_session_id" is not null;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD CONSTRAINT "sessions_impersonation" CHECK (num_nulls("freehold"."sessions"."impersonator_id", "freehold"."sessions"."impersonator_session_id", "freehold"."sessions"."impersonation_reason") in (0, 3));
--> statement-breakpoint
-- Admits a request: proves the credential, {session_id, user_id, proof}, {key}, or {provider, issuer, subject, system_key}
-- of a token that the Worker verified (src/external), decides the permission (null: any
-- admitted user, scope own), and signs the claims: every policy believes what is signed here. Returns {user_id,
-- session_id, scope}. Raises FH401 session_ended | token_invalid | step_up_required, FH403 user_inactive |
-- password_change_required | mfa_setup_required | forbidden, FH40L, FH503.
--
-- `fresh`: the user of a session must have authenticated within so many minutes; `least_aal`: by so many factors; null:
-- neither is asked; a negative number of factors is asked of who has set up a second one, and of nobody else. The
-- previous release sends none of the two. A key is asked for none of them: nobody can log in with it.
--
-- Every request pays for this, so that what is signed is written once and nothing is read twice.
create or replace function access.admit(
  tenant_id uuid,
  credential jsonb,
  permission text,
  request jsonb,
  any_password boolean default false,
  fresh integer default null,
  least_aal integer default null
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
  elsif credential ? 'provider' then
    u := access.authenticate_identity(tenant_id, credential, coalesce(fresh, least_aal));
  else
    select * into s from freehold.sessions x where x.id = (credential ->> 'session_id')::uuid;
    if s.id is null
      or s.user_id is distinct from (credential ->> 'user_id')::uuid
      or not access.is_proof(secret, s.id, credential ->> 'proof', t.access_minutes)
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
    or s.last_active_at <= now() - access.idle_limit(t)
  then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif not access.has_role(u.id) then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  -- A service does not stop because its owner's password has expired; nor is it asked of who logged in elsewhere.
  elsif s.id is not null and not any_password and s.impersonator_id is null and access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  elsif s.aal < 2
    and not any_password
    and s.impersonator_id is null
    and t.mfa_required_since is not null
    and access.factor_due_at(u, t) <= now()
  then
    raise exception using errcode = 'FH403', message = 'mfa_setup_required';
  elsif t.read_only_from <= now() and not access.is_allowed_unlicensed(permission, request) then
    perform access.refuse_unlicensed();
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
  if s.impersonator_id is not null then
    perform access.check_impersonation(s, u, t, permission, r.scope, r.units, r.owners, coalesce(fresh, least_aal));
  end if;
  if s.aal < abs(least_aal) and (least_aal > 0 or access.factor_methods(u) <> '[]') then
    raise exception using
      errcode = 'FH401',
      message = 'step_up_required',
      detail = 'This needs a second factor: POST auth/step-up with it, then send the request again.';
  elsif coalesce(s.authenticated_at, s.created_at) <= now() - make_interval(mins => fresh) then
    raise exception using
      errcode = 'FH401',
      message = 'step_up_required',
      detail = format(
        'This needs a login of the last %s minutes: POST auth/step-up, then send the request again.', fresh);
  end if;
  said := jsonb_build_object(
    'user_id', u.id,
    'user_name', u.username,
    'session_id', s.id,
    'impersonator_id', s.impersonator_id,
    'scope', r.scope,
    'permission', permission,
    'units', r.units::text,
    'owners', r.owners::text,
    'key_id', k.id,
    'key_permissions', k.permissions::text,
    'request', request)::text;
  perform
    set_config('access.claims', said, true),
    set_config(
      'access.signature',
      encode(access.hmac(secret.inner_key, secret.outer_key, access.bound('claims:' || said)), 'hex'),
      true
    );
  -- A request that writes touches its session last (src/kernel/context.ts): two that locked it first would wait for
  -- each other's rows.
  if s.last_active_at < now() - interval '1 minute' then
    perform set_config('access.touch', 'due', true);
    if request ->> 'method' = 'GET' and not current_setting('transaction_read_only')::boolean then
      perform access.touch();
    end if;
  end if;
  return jsonb_build_object('user_id', u.id, 'session_id', s.id, 'scope', r.scope);
end $$;
--> statement-breakpoint
-- Who acts as the admitted user (src/impersonation); null: the user does.
create or replace function access.impersonator() returns uuid
language sql stable
return (access.claims() ->> 'impersonator_id')::uuid;
--> statement-breakpoint
-- Names the actor for the audit while a public endpoint is at work. It admits nobody: no policy reads it.
create or replace function access.set_audit_actor(
  subject uuid,
  user_name text,
  request jsonb,
  impersonator uuid default null
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  said text := jsonb_build_object(
    'user_id', subject, 'user_name', left(user_name, 255), 'impersonator_id', impersonator, 'request', request)::text;
  k access.secrets;
begin
  select * into k from access.secrets;
  perform
    set_config('access.actor', said, true),
    set_config(
      'access.actor_signature',
      encode(access.hmac(k.inner_key, k.outer_key, access.bound('actor:' || said)), 'hex'),
      true
    );
end $$;
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
      'This user holds more permissions than you: you cannot log in as them, or change how they do.');
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
      'IMPERSONATION_STARTED', 'IMPERSONATION_ENDED',
      'DEVICE_REMEMBERED', 'DEVICE_FORGOTTEN', 'ERASURE_REQUESTED', 'ERASURE_CANCELLED', 'USER_ERASED'
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
-- An entry in the form that the API shows.
create or replace function access.audit_entry(entry uuid) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', l.id,
    'at', to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'user_id', l.user_id,
    'user_name', d.user_name,
    'activity_type', l.activity_type,
    'action', l.action,
    'resource_type', l.resource_type,
    'resource_id', l.resource_id,
    'risk_score', l.risk_score,
    'trace_id', l.trace_id,
    'address', d.address,
    'agent', d.agent,
    'method', d.method,
    'path', d.path,
    'before', d.before,
    'after', d.after,
    'api_key_id', d.api_key_id,
    'impersonator_id', d.impersonator_id
  )
  from freehold.audit_log l
  left join freehold.audit_detail d on d.log_id = l.id
  where l.id = entry
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
      f, access.activity_of(resource, act), act, resource, 0, e.ids, e.befores, e.afters, e.activities
    );
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Writes the entries of one statement, in one statement, and returns their ids: the only function that knows how a
-- detail is hashed. `ids`, `befores` and `afters` run in parallel; an element of `activities` goes before `activity`.
--
-- A detail names the API key that was used, so that its owner can ask what a stolen one did, and who acted as the user.
-- Without either it hashes to what it did before details had them.
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
        || case
          when f ->> 'impersonator_id' is null then '{}'
          else jsonb_build_object('impersonator_id', f -> 'impersonator_id')
        end
      )::text, 'UTF8'))
    from entry e
  ), detailed as (
    insert into freehold.audit_detail (
      log_id, salt, user_name, address, agent, method, path, before, after, api_key_id, impersonator_id
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
      (f ->> 'key_id')::uuid,
      (f ->> 'impersonator_id')::uuid
    from entry e
  )
  select array_agg(e.log_id) into written from entry e;
  perform set_config('access.writer', '', true);
  return written;
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
    end;
end $$;
--> statement-breakpoint
-- The profile of the admitted user; null: nobody was admitted.
create or replace function access.me() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb;
begin
  f := access.claims();
  return access.profile((f ->> 'user_id')::uuid)
    || jsonb_build_object('impersonated_by', access.impersonator_in(f));
end $$;
--> statement-breakpoint
-- Who acts as the user of these claims, as {sub, username}; null: the user does.
create or replace function access.impersonator_in(claims jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if claims ->> 'impersonator_id' is null then
    return null;
  end if;
  return (
    select jsonb_build_object('sub', u.id, 'username', u.username)
    from freehold.users u
    where u.id = (claims ->> 'impersonator_id')::uuid);
end $$;
--> statement-breakpoint
-- The caller as decisions see them: {sub, username, roles, permissions, impersonated_by, mfa, session, api_key,
-- key_expires_at}. One of session and api_key is null. Volatile, so that it sees what the admission has noted in the same statement.
create or replace function access.who_am_i() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  u jsonb := access.profile((f ->> 'user_id')::uuid);
  s freehold.sessions;
  k freehold.api_keys;
  who freehold.users;
  u_by jsonb := access.impersonator_in(f);
begin
  select * into who from freehold.users y where y.id = (f ->> 'user_id')::uuid;
  select * into s from freehold.sessions x where x.id = (f ->> 'session_id')::uuid;
  select * into k from freehold.api_keys x where x.id = (f ->> 'key_id')::uuid;
  return case when u is not null then jsonb_build_object(
    'sub', u -> 'sub',
    'username', u -> 'username',
    'roles', u -> 'roles',
    'permissions', access.permissions_of((u ->> 'sub')::uuid, now()),
    'impersonated_by', u_by,
    'mfa', jsonb_build_object(
      'methods', access.factor_methods(who),
      'backup_codes_left', (
        select count(*) from freehold.backup_codes b where b.user_id = who.id and b.used_at is null),
      'due_at', (select access.factor_due_at(who, t) from freehold.tenant t)),
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
  device_id uuid
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
    id, user_id, device, device_id, address, city, country, client_id, amr, aal, expires_at
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
-- The providers whose access tokens are taken, as the Worker verifies them.
create or replace function access.token_providers(tenant_id uuid, system_key text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
      'id', p.id, 'name', p.name, 'type', p.type, 'issuer', p.issuer, 'client_id', p.client_id)), '[]')
    from freehold.providers p
    where p.is_enabled and p.accepts_tokens);
end $$;
--> statement-breakpoint
-- The user of {provider, issuer, subject, system_key}. `proof`: what is asked takes a newer or stronger login. Raises FH401
-- token_invalid, FH403 forbidden.
create or replace function access.authenticate_identity(tenant_id uuid, credential jsonb, proof integer) returns freehold.users
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.check_system(tenant_id, credential ->> 'system_key');
  select x.* into u
  from freehold.external_identities e
    join freehold.providers p on p.id = e.provider_id
    join freehold.users x on x.id = e.user_id
  where e.provider_id = (credential ->> 'provider')::uuid
    and e.issuer = credential ->> 'issuer'
    and e.external_id = credential ->> 'subject'
    and p.is_enabled
    and p.accepts_tokens;
  if u.id is null then
    raise exception using
      errcode = 'FH401',
      message = 'token_invalid',
      detail = 'Tokens of this provider are not taken, or nobody here has this identity.';
  elsif proof is not null then
    raise exception using
      errcode = 'FH403',
      message = 'forbidden',
      detail = 'This cannot be done with a token of a provider: log in.';
  end if;
  return u;
end $$;
--> statement-breakpoint
-- Opens a session of a user for the admitted one, which ends within 30 minutes and has no refresh token, and returns
-- what its access token says. It is one for each impersonator and user: a former one ends. Raises FH404; FH403 (they
-- hold more, or this session is one of an API key or itself an impersonation); FH409 illegal_state (oneself, or somebody
-- who could not log in).
create or replace function access.impersonate(subject uuid, reason text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  t freehold.tenant;
  u freehold.users;
  mine freehold.sessions;
  s freehold.sessions;
begin
  perform access.require_reach('user', subject);
  if access.permission() is distinct from 'user:impersonate' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif access.session() is null then
    perform access.refuse('forbidden', 'This cannot be done with an API key: log in.');
  elsif access.impersonator() is not null then
    perform access.refuse('forbidden', 'This cannot be done while you impersonate somebody.');
  elsif subject = access.principal() then
    perform access.refuse('illegal_state', 'You cannot impersonate yourself.');
  end if;
  perform access.require_all_of(subject);
  select * into strict t from freehold.tenant;
  -- Of many at once each ends the one before it.
  select * into strict u from freehold.users x where x.id = subject for no key update;
  if not access.is_present(u) or not access.has_role(u.id) then
    perform access.refuse('illegal_state', 'This user is not active or has no role: nobody can log in as them.');
  end if;
  select * into mine from freehold.sessions x where x.id = access.session();
  update freehold.sessions x
  set ended_at = now(), ended_because = 'replaced'
  where x.user_id = u.id and x.impersonator_id = access.principal() and x.ended_at is null;
  insert into freehold.sessions (
    id, user_id, device, address, city, country, client_id, amr, aal, authenticated_at, expires_at,
    impersonator_id, impersonator_session_id, impersonation_reason
  )
  values (
    gen_random_uuid(), u.id, left(f #>> '{request,agent}', 255), left(f #>> '{request,address}', 64), mine.city,
    mine.country, mine.client_id, mine.amr, mine.aal, coalesce(mine.authenticated_at, mine.created_at),
    least(now() + interval '30 minutes', mine.expires_at),
    access.principal(), mine.id, impersonate.reason
  )
  returning * into s;
  perform access.enqueue_mail('impersonated', u.id, u.email, jsonb_build_object(
    'impersonator', f ->> 'user_name', 'reason', impersonate.reason, 'until', s.expires_at));
  -- The token lives as long as the session: there is no other one.
  return access.token_claims(u, s, t) || jsonb_build_object('access_minutes', 30);
end $$;
--> statement-breakpoint
-- Whether the session `s` of `u`, in which somebody else acts, may go on: their own session and account are alive, and
-- they may still impersonate this user. And whether it may do what is asked, with `permission` as far as `u` holds it
-- (`scope`, `units`, `owners`): whoever acts holds it as far, although one of the two may have got or lost something
-- since. `proof`: what is asked takes a newer or stronger login, which nobody can give in the name of another. Raises
-- FH401, FH403.
create or replace function access.check_impersonation(
  s freehold.sessions,
  u freehold.users,
  t freehold.tenant,
  permission text,
  scope access.scope,
  units uuid[],
  owners uuid[],
  proof integer
) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  i freehold.sessions;
  a freehold.users;
  far record;
  held record;
begin
  select * into i from freehold.sessions x where x.id = s.impersonator_session_id and x.user_id = s.impersonator_id;
  select * into a from freehold.users x where x.id = s.impersonator_id;
  far := access.user_effective_scope(s.impersonator_id, 'user:impersonate');
  if i.id is null
    or i.ended_at is not null
    or i.expires_at <= now()
    or i.last_active_at <= now() - access.idle_limit(t)
    or not access.is_present(a)
    or far.scope is null
    or not (far.scope = 'all' or u.id = any (far.owners) or coalesce(u.unit_id = any (far.units), false))
  then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif proof is not null then
    raise exception using
      errcode = 'FH403',
      message = 'forbidden',
      detail = 'This cannot be done while you impersonate somebody.';
  elsif permission is null then
    return;
  end if;
  held := access.user_effective_scope(a.id, permission);
  if held.scope = 'all' then
    return;
  elsif held.scope is null
    or held.scope < scope
    or not units <@ held.units
    or exists (
      select
      from unnest(owners) o (id)
        join freehold.users x on x.id = o.id
      where o.id <> u.id and not (o.id = any (held.owners) or coalesce(x.unit_id = any (held.units), false)))
  then
    raise exception using
      errcode = 'FH403',
      message = 'forbidden',
      detail = 'You do not hold this permission as far as the user whom you impersonate.';
  end if;
end $$;
--> statement-breakpoint
-- Who acts in a session of the admitted user, or in one that they may see, as {sub, username}; null: its user does.
create or replace function access.impersonator_of(session uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('sub', a.id, 'username', a.username)
  from freehold.sessions s
    join freehold.users a on a.id = s.impersonator_id
  where s.id = session
    and (
      access.principal() in (s.user_id, s.impersonator_id)
      or access.permission() = 'session:read' and access.can_access_user(s.user_id))
$$;
--> statement-breakpoint
-- Ends the impersonations that were begun in a session which ends. One that another statement holds is passed over: the
-- admission refuses it all the same.
create or replace function access.end_impersonations() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.sessions x
  set ended_at = now(), ended_because = 'impersonator_left'
  where x.id in (
    select y.id
    from freehold.sessions y
    where y.impersonator_session_id = new.id and y.ended_at is null
    for no key update skip locked);
  return null;
end $$;
--> statement-breakpoint
-- Refuses what makes or changes a credential, or lasts beyond the session, while somebody acts as another user. What the
-- system does, and logins, have no impersonator.
create or replace function access.refuse_impersonated() returns trigger
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.impersonator() is not null then
    perform access.refuse('forbidden', 'This cannot be done while you impersonate somebody.');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Makes as many places as there may be sessions, and gives the first to those that there are, also where these are more:
-- then theirs are beyond the limit, and a place that becomes free is for one of them first. null: sessions are not
-- limited any more. Nobody takes or leaves a place meanwhile (access.set_limits).
create or replace function access.make_session_places(most integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from access.session_places;
  if most is null then
    return;
  end if;
  insert into access.session_places (place, session_id, free_from)
  select row_number() over (), s.id, access.session_ends(s, t)
  from freehold.sessions s
    cross join freehold.tenant t
  where s.ended_at is null
    and s.impersonator_id is null
    and access.session_ends(s, t) > now();
  insert into access.session_places (place)
  select n from generate_series(1, most) n (n)
  on conflict do nothing;
end $$;
--> statement-breakpoint
-- Whether a mail tells somebody that their password, address or second factor was changed, or that they have a new API
-- key, for the first time within an hour: whoever does that could use the other limits up before, so that nobody is told.
-- Such mails have a day's limit of their own.
create or replace function access.is_first_notice(made freehold.mails) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select made.kind in (
      'api_key_created', 'email_changed', 'identity_added', 'identity_removed', 'mfa_disabled', 'mfa_enabled', 'mfa_reset',
      'passkey_added', 'passkey_copied', 'passkey_removed', 'password_changed', 'erasure_requested', 'erasure_by_admin',
      'impersonated')
    and not exists (
      select
      from freehold.mails m
      where m.kind = made.kind
        and m.id <> made.id
        and access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
        and m.created_at > now() - interval '1 hour')
$$;
--> statement-breakpoint
-- What a token is now; null: not active, or not for the admitted user to know. `kind`: access (of a session, which the
-- Worker verified, for the API `audience`), refresh or key (by the hash, in hex), or anything else for a text that is no
-- token. {user_id, username, permissions, permissions_truncated, client_id, issued_at, expires_at, addresses}: moments
-- in seconds since 1970, null for none; `addresses` of a key, the networks from which it works. What an API key that
-- asks does not name of its owner's permissions is left out of its owner's tokens. The caller shows the system's key,
-- because somebody who runs SQL as the app login could try hashes, and sessions of tokens that nobody verified.
create or replace function access.introspect(
  tenant_id uuid,
  system_key text,
  kind text,
  hash text,
  session uuid,
  audience text
) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  me uuid := (access.claims() ->> 'user_id')::uuid;
  l freehold.refresh_tokens;
  s freehold.sessions;
  k freehold.api_keys;
  u freehold.users;
  far record;
  carried record;
begin
  if kind = 'key' then
    select * into k from freehold.api_keys x where x.key_hash = decode(hash, 'hex');
  elsif kind = 'refresh' then
    select * into l from freehold.refresh_tokens x where x.token_hash = decode(hash, 'hex');
    select * into s from freehold.sessions x where x.id = l.session_id;
  elsif kind = 'access' then
    select * into s from freehold.sessions x where x.id = session;
  end if;
  select * into u from freehold.users x where x.id = coalesce(s.user_id, k.user_id);
  if me is null or u.id is null or not access.is_present(u) or not access.has_role(u.id) then
    return null;
  end if;
  if u.id <> me then
    far := access.effective_scope(me, 'session:read');
    if far.scope is null
      or not (far.scope = 'all' or u.id = any (far.owners) or coalesce(u.unit_id = any (far.units), false))
    then
      return null;
    end if;
  end if;
  if k.id is not null then
    if k.revoked_at is not null or k.expires_at <= now() then
      return null;
    end if;
    return jsonb_build_object(
      'user_id', u.id,
      'username', u.username,
      'permissions', array(select p from unnest(access.permissions_of(u.id, now())) p where p = any (k.permissions)),
      'issued_at', floor(extract(epoch from k.created_at)),
      'expires_at', floor(extract(epoch from k.expires_at)),
      'addresses', k.addresses);
  end if;
  if s.ended_at is not null
    or s.expires_at <= now()
    or s.last_active_at <= now() - access.idle_limit(t)
    or s.impersonator_id is null and access.must_change(u, t)
    or not access.is_audience(audience)
    or kind = 'refresh' and (l.used_at is not null or l.expires_at <= now())
  then
    return null;
  end if;
  carried := access.audience_permissions(u.id, t, audience);
  return jsonb_build_object(
    'user_id', u.id,
    'username', u.username,
    'permissions', carried.permissions,
    'permissions_truncated', carried.truncated,
    'client_id', coalesce(s.client_id, 'freehold'),
    'issued_at', floor(extract(epoch from l.created_at)),
    'expires_at', floor(extract(epoch from l.expires_at)));
end $$;
--> statement-breakpoint
-- Ends the session of an access or refresh token, also of one that was used before, or revokes an API key. Whether
-- there is such a token; one that has ended already is one, too. `session`: of an access token, which the Worker verified.
create or replace function access.revoke_token(
  tenant_id uuid,
  system_key text,
  kind text,
  hash text,
  session uuid,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
  k freehold.api_keys;
  u freehold.users;
begin
  perform access.check_system(tenant_id, system_key);
  if kind = 'key' then
    select * into k from freehold.api_keys x where x.key_hash = decode(hash, 'hex');
  else
    select x.* into s
    from freehold.sessions x
    where x.id = case kind
      when 'access' then session
      when 'refresh' then (select l.session_id from freehold.refresh_tokens l where l.token_hash = decode(hash, 'hex'))
    end;
  end if;
  select * into u from freehold.users x where x.id = coalesce(s.user_id, k.user_id);
  if u.id is null then
    return false;
  end if;
  perform access.set_audit_actor(u.id, u.username, request, s.impersonator_id);
  if k.id is not null then
    update freehold.api_keys x set revoked_at = now() where x.id = k.id and x.revoked_at is null;
  else
    update freehold.sessions x set ended_at = now(), ended_because = 'logout' where x.id = s.id and x.ended_at is null;
  end if;
  return true;
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
        phone_verified,role,unit_id,manager_id,designation,description,is_active,locale,timezone,max_sessions,preferences,
        joined_at,terminated_at,created_at,updated_at,erased_at}'::text[],
      '{name}'::text[],
      $set$username = 'former-user-' || replace(x.id::text, '-', ''),
        email = 'former-user-' || replace(x.id::text, '-', '') || '@erased.invalid', email_verified = false,
        given_name = 'Former user', family_name = null, phone = null, phone_verified = false, role = null,
        manager_id = null, designation = null, description = null, locale = 'en', timezone = 'UTC', preferences = '{}',
        factors = '{}', must_change_password = false, is_active = false, erased_at = now()$set$),
    (20, 'freehold.user_roles', 'roles', 'x.user_id = $1', null,
      array['(select r.name from freehold.roles r where r.id = x.role_id) as role', 'role_id', 'starts_at', 'ends_at'],
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
    (30, 'freehold.api_keys', 'api_keys', 'x.user_id = $1', null,
      '{id,name,prefix,permissions,addresses,last_used_at,use_count,created_at,expires_at,revoked_at}',
      '{user_id,key_hash,rotated_from}',
      $set$name = 'former user', addresses = '{}', revoked_at = coalesce(x.revoked_at, now())$set$),
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
      'strpos(x.resource::text, $1::text) > 0 or access.mentions(x.resource::text, $2)',
      '{}', '{id,user_id,request_hash,resource,secrets_encrypted,created_at}', 'delete'),
    (43, 'access.session_places', null,
      'x.session_id in (select s.id from freehold.sessions s where s.user_id = $1)', null,
      '{}', '{place,session_id,free_from}', 'keep'),
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
      'x.mail_id in (select m.id from freehold.mails m where m.recipient = any ($2) or access.mentions(m.data::text, $2))',
      '{mail_id,started_at,finished_at,outcome,detail}', '{id}', 'delete'),
    (62, 'freehold.mails', 'mails', 'x.user_id = $1', 'x.recipient = any ($2) or access.mentions(x.data::text, $2)',
      '{id,kind,channel,recipient,locale,data,state,created_at,finished_at}',
      '{user_id,secrets_encrypted,trace_id,attempts,next_at,lease_until}', 'delete')
$$;
--> statement-breakpoint
-- Refuses to be believed by those who could become somebody by it. To disable a provider, or to believe it less, anybody
-- may who may change settings.
create or replace function access.check_provider_power(was freehold.providers, is_now freehold.providers) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  -- What is generated has no value before the row is written.
  passed_over text[] := '{is_enabled,label,updated_at,is_confidential}';
begin
  if not is_now.links_by_email and not is_now.trusts_emails and not is_now.accepts_tokens and is_now.mfa_values = '{}' then
    return;
  elsif was.id is not null
    and (to_jsonb(is_now) - passed_over) = (to_jsonb(was) - passed_over)
    and (was.is_enabled or not is_now.is_enabled)
  then
    return;
  elsif exists (
    select from freehold.permissions p where p.deleted_at is null and p.name <> all (access.held_everywhere(null)))
  then
    perform access.refuse('forbidden',
      'A provider that links by e-mail, or is trusted, needs every permission at scope all: it decides who somebody is.');
  end if;
end $$;
--> statement-breakpoint
create or replace function access.before_provider() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  was freehold.providers;
begin
  if tg_op = 'UPDATE' then
    was := old;
  else
    -- One at a time, so that one transaction gets the last place.
    perform pg_advisory_xact_lock(hashtext('access.providers'));
    if (select count(*) from freehold.providers) >= 20 then
      perform access.refuse('limit_reached', 'A tenant can have at most 20 providers: remove one first.');
    end if;
  end if;
  new.updated_at := greatest(now(), was.updated_at + interval '1 microsecond');
  if new.accepts_tokens and new.type = 'google' then
    perform access.refuse(
      'invalid_request', 'cannot be set for Google, whose access tokens cannot be verified', 'accepts_tokens');
  end if;
  -- Anybody has a directory of their own at such an issuer, and writes into its addresses what they like.
  if new.trusts_emails and new.type = 'entra' and new.issuer ~ '/(common|organizations|consumers)/' then
    perform access.refuse('invalid_request', 'cannot be set for an issuer of many organizations', 'trusts_emails');
  end if;
  if access.principal() is not null then
    perform access.check_provider_power(was, new);
    if new.creates_users then
      perform access.check_provider_roles(new);
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Who ends sessions of somebody else needs that user's power over others. That is asked for the first of a user's
-- sessions that this transaction ends; not of one in which somebody else acts as them, which takes nothing from them.
create or replace function access.before_session_end() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.impersonator_id is null
    and not exists (
      select from freehold.sessions s
      where s.user_id = new.user_id and s.ended_at = now() and s.impersonator_id is null)
  then
    perform access.require_power_of(array[new.user_id]);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Makes a session fresh: its user has just proven who they are by the methods `proven` (RFC 8176, with a space between
-- them). `factors` is how many that makes, with those that the session had; a level is kept, and methods add up. null: the
-- session has ended, or somebody else acts in it. The caller has locked the user's row. The audit shows it as STEP_UP (src/audit/audit.sql).
create or replace function access.raise_session(session uuid, proven text, factors integer) returns freehold.sessions
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
begin
  update freehold.sessions x
  set authenticated_at = now(),
    aal = greatest(x.aal, factors),
    amr = (
      select string_agg(m.name, ' ' order by m.place)
      from (
        select w.name, min(w.place) as place
        from string_to_table(x.amr || ' ' || proven, ' ') with ordinality w (name, place)
        group by w.name
      ) m
    )
  where x.id = session and x.ended_at is null and x.impersonator_id is null
  returning x.* into s;
  return s;
end $$;
--> statement-breakpoint
create trigger end_impersonations after update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null and new.impersonator_id is null)
  execute function access.end_impersonations();
--> statement-breakpoint
create trigger not_impersonated before insert or update or delete on freehold.passwords
  for each statement execute function access.refuse_impersonated();
--> statement-breakpoint
create trigger not_impersonated before insert or update or delete on freehold.totp_factors
  for each statement execute function access.refuse_impersonated();
--> statement-breakpoint
create trigger not_impersonated before insert or update or delete on freehold.backup_codes
  for each statement execute function access.refuse_impersonated();
--> statement-breakpoint
create trigger not_impersonated before insert or update or delete on freehold.passkeys
  for each statement execute function access.refuse_impersonated();
--> statement-breakpoint
create trigger not_impersonated before insert or update or delete on freehold.external_identities
  for each statement execute function access.refuse_impersonated();
--> statement-breakpoint
create trigger not_impersonated before insert or update or delete on freehold.api_keys
  for each statement execute function access.refuse_impersonated();
--> statement-breakpoint
create trigger not_impersonated before insert or update or delete on freehold.delegations
  for each statement execute function access.refuse_impersonated();
--> statement-breakpoint
create trigger not_impersonated before insert or update or delete on freehold.erasures
  for each statement execute function access.refuse_impersonated();
--> statement-breakpoint
create trigger not_impersonated before insert or update or delete on freehold.providers
  for each statement execute function access.refuse_impersonated();
--> statement-breakpoint
-- A link or a code that is mailed.
create trigger not_impersonated before insert on freehold.one_time_tokens
  for each statement execute function access.refuse_impersonated();
--> statement-breakpoint
create trigger not_impersonated before update of username, email, phone on freehold.users
  for each row
  when (
    old.username is distinct from new.username
    or old.email is distinct from new.email
    or old.phone is distinct from new.phone
  )
  execute function access.refuse_impersonated();
--> statement-breakpoint
-- Not access.protect: everybody reads and ends their own sessions, and those in which they act as somebody else,
-- whatever permission they were admitted with; others' sessions are shown only with a permission for sessions.
create policy read on freehold.sessions for select using (
  user_id = (select access.principal())
  or impersonator_id = (select access.principal())
  or (
    (select access.permission()) like 'session:%'
    and (
      (select access.scope()) = 'all'
      or user_id = any ((select access.scope_owner_ids())::uuid[])
      or exists (
        select from freehold.users u
        where u.id = user_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
      )
    )
  )
);
--> statement-breakpoint
create policy change on freehold.sessions for update using (
  user_id = (select access.principal())
  or impersonator_id = (select access.principal())
  or (
    (select access.permission()) = 'session:delete'
    and (
      (select access.scope()) = 'all'
      or user_id = any ((select access.scope_owner_ids())::uuid[])
      or exists (
        select from freehold.users u
        where u.id = user_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
      )
    )
  )
);
--> statement-breakpoint
create trigger after_session_end after update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null and new.impersonator_id is null)
  execute function access.after_session_end();
--> statement-breakpoint
revoke execute
  on function access.authenticate_identity(uuid,jsonb,integer),
    access.check_impersonation(freehold.sessions,freehold.users,freehold.tenant,text,access.scope,uuid[],uuid[],integer),
    access.end_impersonations(),
    access.impersonate(uuid,text),
    access.impersonator(),
    access.impersonator_in(jsonb),
    access.impersonator_of(uuid),
    access.refuse_impersonated(),
    access.set_audit_actor(uuid,text,jsonb,uuid),
    access.token_providers(uuid,text)
  from public;
--> statement-breakpoint
grant insert (accepts_tokens), select (accepts_tokens), update (accepts_tokens)
  on freehold.providers
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.impersonate(uuid,text),
    access.impersonator_of(uuid),
    access.token_providers(uuid,text)
  to freehold_app;
