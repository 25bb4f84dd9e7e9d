-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table freehold.email_logins
--   creates table freehold.external_identities
--   creates table access.external_tokens
--   creates table freehold.remembered_devices
--   creates table freehold.erasures
--   creates table freehold.providers
--   alters table freehold.passkeys
--   alters table freehold.sessions
--   alters table freehold.tenant
--   alters table freehold.users
-- Definitions:
--   creates 72 objects
--   replaces 27 objects
--   drops and creates policy read on freehold.passkeys
--   drops and creates trigger audit_insert on freehold.passkeys
--   drops and creates trigger audit_update on freehold.passkeys
--   drops and creates trigger audit_delete on freehold.passkeys
--   drops and creates trigger after_email_change on freehold.users
--   drops and creates function access.enter
--   drops and creates function access.meet_challenge
--   drops and creates function access.open_session
--   drops and creates function access.verify_passkey
--   drops and creates function access.verify_totp

set local check_function_bodies = off;
--> statement-breakpoint
drop policy read on freehold.passkeys;
--> statement-breakpoint
drop trigger audit_insert on freehold.passkeys;
--> statement-breakpoint
drop trigger audit_update on freehold.passkeys;
--> statement-breakpoint
drop trigger audit_delete on freehold.passkeys;
--> statement-breakpoint
drop trigger after_email_change on freehold.users;
--> statement-breakpoint
drop function access.enter(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,text,integer,uuid);
--> statement-breakpoint
drop function access.meet_challenge(freehold.tenant,bytea,freehold.login_challenges,boolean,text,text,bytea,jsonb,jsonb);
--> statement-breakpoint
drop function access.open_session(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,integer);
--> statement-breakpoint
drop function access.verify_passkey(uuid,text,bytea,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb);
--> statement-breakpoint
drop function access.verify_totp(uuid,text,bytea,bigint,text,bytea,jsonb,jsonb);
--> statement-breakpoint
CREATE TABLE "freehold"."email_logins" (
  "request_hash" "bytea" PRIMARY KEY NOT NULL,
  "link_hash" "bytea" NOT NULL,
  "code_hash" "bytea" NOT NULL,
  "user_id" uuid NOT NULL,
  "target" text NOT NULL,
  "agent" text,
  "city" text,
  "country" text,
  "failures" integer DEFAULT 0 NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  "used_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "freehold"."external_identities" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "provider_id" uuid NOT NULL,
  "provider" text NOT NULL,
  "issuer" text NOT NULL,
  "external_id" text NOT NULL,
  "email" text,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "last_used_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "access"."external_tokens" (
  "token_hash" "bytea" PRIMARY KEY NOT NULL,
  "expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "freehold"."remembered_devices" (
  "user_id" uuid NOT NULL,
  "device" uuid NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  CONSTRAINT "remembered_devices_user_id_device_pk" PRIMARY KEY("user_id","device")
);
--> statement-breakpoint
CREATE TABLE "freehold"."erasures" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "requested_by" uuid,
  "reason" text,
  "requested_at" timestamp with time zone DEFAULT now() NOT NULL,
  "erase_at" timestamp with time zone NOT NULL,
  "cancel_hash" "bytea",
  "cancelled_at" timestamp with time zone,
  "traces" jsonb,
  "erased_at" timestamp with time zone,
  CONSTRAINT "erasures_reason_form" CHECK (length("freehold"."erasures"."reason") <= 500),
  CONSTRAINT "erasures_over_once" CHECK ("freehold"."erasures"."cancelled_at" is null or "freehold"."erasures"."erased_at" is null)
);
--> statement-breakpoint
CREATE TABLE "freehold"."providers" (
  "id" uuid PRIMARY KEY NOT NULL,
  "name" text NOT NULL,
  "type" text NOT NULL,
  "issuer" text NOT NULL,
  "client_id" text NOT NULL,
  "client_secret_encrypted" text,
  "is_confidential" boolean GENERATED ALWAYS AS (client_secret_encrypted is not null) STORED NOT NULL,
  "label" text NOT NULL,
  "claims" jsonb DEFAULT '{}'::jsonb NOT NULL,
  "allowed_domains" text[] DEFAULT '{}' NOT NULL,
  "creates_users" boolean DEFAULT false NOT NULL,
  "role_id" uuid,
  "role_mapping" jsonb DEFAULT '{}'::jsonb NOT NULL,
  "links_by_email" boolean DEFAULT false NOT NULL,
  "trusts_emails" boolean DEFAULT false NOT NULL,
  "mfa_values" text[] DEFAULT '{}' NOT NULL,
  "is_enabled" boolean DEFAULT true NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "providers_name_form" CHECK ("freehold"."providers"."name" ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'),
  CONSTRAINT "providers_type" CHECK ("freehold"."providers"."type" in ('oidc', 'google', 'entra', 'cognito', 'firebase')),
  CONSTRAINT "providers_texts" CHECK (length("freehold"."providers"."issuer") between 1 and 500 and length("freehold"."providers"."client_id") between 1 and 255 and char_length("freehold"."providers"."label") between 1 and 70),
  CONSTRAINT "providers_lists" CHECK (cardinality("freehold"."providers"."allowed_domains") <= 100 and cardinality("freehold"."providers"."mfa_values") <= 20 and jsonb_typeof("freehold"."providers"."claims") = 'object'
        and jsonb_typeof("freehold"."providers"."role_mapping") = 'object' and octet_length("freehold"."providers"."claims"::text) <= 2048 and octet_length("freehold"."providers"."role_mapping"::text) <= 16384)
);
--> statement-breakpoint
ALTER TABLE "freehold"."passkeys" ADD COLUMN "ends_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "device_id" uuid;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "email_login" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "mfa_remember_days" integer DEFAULT 30 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "erased_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."email_logins" ADD CONSTRAINT "email_logins_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."external_identities" ADD CONSTRAINT "external_identities_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."external_identities" ADD CONSTRAINT "external_identities_provider_id_providers_id_fk" FOREIGN KEY ("provider_id") REFERENCES "freehold"."providers"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."remembered_devices" ADD CONSTRAINT "remembered_devices_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."erasures" ADD CONSTRAINT "erasures_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."erasures" ADD CONSTRAINT "erasures_requested_by_users_id_fk" FOREIGN KEY ("requested_by") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE UNIQUE INDEX "email_logins_link" ON "freehold"."email_logins" USING btree ("link_hash");
--> statement-breakpoint
CREATE INDEX "email_logins_user" ON "freehold"."email_logins" USING btree ("user_id");
--> statement-breakpoint
CREATE INDEX "email_logins_expired" ON "freehold"."email_logins" USING btree ("expires_at");
--> statement-breakpoint
CREATE UNIQUE INDEX "external_identities_of_provider" ON "freehold"."external_identities" USING btree ("provider_id","issuer","external_id");
--> statement-breakpoint
CREATE INDEX "external_identities_user" ON "freehold"."external_identities" USING btree ("user_id","created_at");
--> statement-breakpoint
CREATE INDEX "external_tokens_expired" ON "access"."external_tokens" USING btree ("expires_at");
--> statement-breakpoint
CREATE INDEX "remembered_devices_expiry" ON "freehold"."remembered_devices" USING btree ("expires_at");
--> statement-breakpoint
CREATE UNIQUE INDEX "erasures_open" ON "freehold"."erasures" USING btree ("user_id") WHERE "freehold"."erasures"."cancelled_at" is null;
--> statement-breakpoint
CREATE UNIQUE INDEX "erasures_token" ON "freehold"."erasures" USING btree ("cancel_hash") WHERE "freehold"."erasures"."cancel_hash" is not null;
--> statement-breakpoint
CREATE INDEX "erasures_due" ON "freehold"."erasures" USING btree ("erase_at") WHERE "freehold"."erasures"."cancelled_at" is null and "freehold"."erasures"."erased_at" is null;
--> statement-breakpoint
CREATE INDEX "erasures_user" ON "freehold"."erasures" USING btree ("user_id","requested_at");
--> statement-breakpoint
CREATE UNIQUE INDEX "providers_name" ON "freehold"."providers" USING btree ("name");
--> statement-breakpoint
CREATE INDEX "providers_sorted" ON "freehold"."providers" USING btree ("label","id");
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_remembered" CHECK ("freehold"."tenant"."mfa_remember_days" between 0 and 30);
--> statement-breakpoint
alter table freehold.email_logins enable row level security;
--> statement-breakpoint
alter table freehold.external_identities enable row level security;
--> statement-breakpoint
alter table access.external_tokens enable row level security;
--> statement-breakpoint
alter table freehold.remembered_devices enable row level security;
--> statement-breakpoint
alter table freehold.erasures enable row level security;
--> statement-breakpoint
alter table freehold.providers enable row level security;
--> statement-breakpoint
-- Admits a request: proves the credential, {session_id, user_id, proof} or {key}, decides the permission (null: any
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
  -- A service does not stop because its owner's password has expired.
  elsif k.id is null and not any_password and access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  elsif s.aal < 2
    and not any_password
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
  is_common boolean := resource in ('role', 'permission', 'audience', 'provider');
begin
  if me is null or access.scope() = 'all' then
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
  if owner is null and unit is null and not is_common then
    return;
  elsif unit = any (access.scope_unit_ids())
    -- Overrides and assignments are written of others alone.
    or (owner = any (access.scope_owner_ids()) and resource not in ('override', 'assignment'))
    or (owner = me and resource = 'session') then
    return;
  end if;
  far := access.effective_scope(me, case resource
    when 'override' then 'user'
    when 'assignment' then 'user'
    when 'provider' then 'setting'
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
-- Locks a person before what they prove is compared, in the order of a login: their lockout, which stands for those of
-- their devices and networks, and then their row, which it returns.
create or replace function access.lock_person(subject uuid) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  person text := 'login:' || subject;
  u freehold.users;
begin
  perform from freehold.lockouts x where x.key = person for update;
  if not found then
    insert into freehold.lockouts as x (key) values (person)
    on conflict (key) do update set key = x.key;
  end if;
  select * into u from freehold.users x where x.id = subject for no key update;
  return u;
end $$;
--> statement-breakpoint
-- Whether a guard of a person, who is locked, is locked out: its own failures are too many, or those of all strangers.
create or replace function access.is_locked_out(t freehold.tenant, subject uuid, guard text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  person text := 'login:' || subject;
  g freehold.lockouts := access.lockout_now(t, guard);
  w freehold.lockouts;
begin
  if starts_with(guard, person || ':') then
    w := access.lockout_now(t, person);
  end if;
  return coalesce(
    g.locked_until > now()
      or g.failures >= t.max_failures
      or w.locked_until > now()
      or w.failures >= access.most_of_strangers(t),
    false);
end $$;
--> statement-breakpoint
-- The caller as decisions see them: {sub, username, roles, permissions, mfa, session, api_key, key_expires_at}. One of
-- session and api_key is null. Volatile, so that it sees what the admission has noted in the same statement.
create or replace function access.who_am_i() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  u jsonb := access.profile((f ->> 'user_id')::uuid);
  s freehold.sessions;
  k freehold.api_keys;
  who freehold.users;
begin
  select * into who from freehold.users y where y.id = (f ->> 'user_id')::uuid;
  select * into s from freehold.sessions x where x.id = (f ->> 'session_id')::uuid;
  select * into k from freehold.api_keys x where x.id = (f ->> 'key_id')::uuid;
  return case when u is not null then jsonb_build_object(
    'sub', u -> 'sub',
    'username', u -> 'username',
    'roles', u -> 'roles',
    'permissions', access.permissions_of((u ->> 'sub')::uuid, now()),
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
-- Lets somebody in who proved to be `u` by the methods `amr` (RFC 8176, with a space between them), which are `aal`
-- factors: {outcome: ok, claims, device_token}, or {outcome: no_role | first_password_expired | unknown_audience}, or
-- {outcome: limit_reached, said}; or, where one factor is not enough, {outcome: mfa_required, methods, expires_in, totp}
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
  device := coalesce(device, gen_random_uuid());
  begin
    s := access.open_session(u, t, refresh_hash, request, former, client, amr, aal, device);
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
-- Replaces a user's password and ends their sessions, except `kept`. One that they must change is a first password.
-- Voids the tokens that were sent before, for another password or for another address: they may have been asked for by
-- the one whom the account is taken back from.
create or replace function access.replace_password(subject uuid, new_hash text, must_change boolean, because text, kept uuid)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.passwords p set replaced_at = clock_timestamp()
  where p.user_id = subject and p.replaced_at is null;
  insert into freehold.passwords (id, user_id, password_hash, is_first)
  values (gen_random_uuid(), subject, new_hash, must_change);
  update freehold.users x
  set password_changed_at = now(), must_change_password = must_change, updated_at = now()
  where x.id = subject;
  -- The verification of the current address stays good.
  update freehold.one_time_tokens k set used_at = now()
  from freehold.users u
  where u.id = subject
    and k.user_id = u.id
    and k.used_at is null
    and (k.kind = 'reset' or (k.kind = 'email' and k.target <> u.email));
  update freehold.sessions x
  set ended_at = now(), ended_because = because
  where x.user_id = subject and x.ended_at is null and x.id is distinct from kept;
  perform access.forget_devices(subject);
end $$;
--> statement-breakpoint
-- Whether a user may do nothing but change their password: somebody else set it, or it has expired.
create or replace function access.must_change(u freehold.users, t freehold.tenant) returns boolean
language sql stable
return u.must_change_password
  or (
    t.password_days > 0
    and u.password_changed_at <= now() - make_interval(days => t.password_days)
    -- Who only logs in otherwise has none that could expire.
    and exists (select from freehold.passwords p where p.user_id = u.id and p.replaced_at is null)
  );
--> statement-breakpoint
-- When a user's password expires; null: never. A first password stops working then, any other must be changed.
create or replace function access.password_expiry(u freehold.users, t freehold.tenant) returns timestamptz
language sql stable
return least(
  case
    when t.password_days > 0 and exists (
      select from freehold.passwords p where p.user_id = u.id and p.replaced_at is null)
      then u.password_changed_at + make_interval(days => t.password_days)
  end,
  case when u.must_change_password then access.first_password_expiry(u.id, t) end);
--> statement-breakpoint
-- Mails a code and a link that work for ten minutes: {outcome: accepted, mail}, whoever is meant, or {outcome:
-- not_offered}. `mail`, whether there is one to deliver, no caller outside is told.
create or replace function access.request_email_login(
  tenant_id uuid,
  system_key text,
  identifier text,
  request_hash bytea,
  link_hash bytea,
  code_hash bytea,
  secrets_encrypted text,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  until timestamptz := now() + interval '10 minutes';
begin
  if not t.email_login then
    return jsonb_build_object('outcome', 'not_offered');
  end if;
  identifier := left(identifier, 255);
  if strpos(identifier, '@') > 0 then
    select * into u from freehold.users x where x.email = identifier and access.is_present(x) for no key update;
  else
    select * into u from freehold.users x where x.username = identifier and access.is_present(x) for no key update;
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  if u.id is not null
    and access.enqueue_mail(
      'email_login', u.id, u.email,
      jsonb_build_object('expires_at', until, 'network', access.login_network(request ->> 'address')),
      secrets_encrypted
    ) is not null
  then
    -- The lock on the user keeps one of these from being spent, or another from being made, meanwhile.
    delete from freehold.email_logins e where e.user_id = u.id and (e.used_at is null or e.expires_at <= now());
    insert into freehold.email_logins (request_hash, link_hash, code_hash, user_id, target, agent, city, country, expires_at)
    values (
      request_email_login.request_hash,
      request_email_login.link_hash,
      request_email_login.code_hash,
      u.id,
      u.email,
      left(request ->> 'agent', 255),
      left(request ->> 'city', 120),
      left(request ->> 'country', 2),
      until
    );
  end if;
  perform access.wait_as_if_mailed();
  perform access.record('EMAIL_LOGIN_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return jsonb_build_object('outcome', 'accepted', 'mail', access.has_enqueued_mail());
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
  return entered;
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
  return access.enter(
    u, t, refresh_hash, request, former, null, null, case when is_mfa then 'fed mfa' else 'fed' end,
    case when is_mfa then 2 else 1 end, access.device_of(t, u.id, devices)
  );
end $$;
--> statement-breakpoint
-- Spends an ID token: whether this is the first time. Of many at once the others wait here for the first.
create or replace function access.spend_external_token(token_hash bytea, expires_at timestamptz) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  insert into access.external_tokens (token_hash, expires_at)
  values (spend_external_token.token_hash, spend_external_token.expires_at)
  on conflict do nothing;
  return found;
end $$;
--> statement-breakpoint
-- The user of an identity, or why there is none (with the user, where it is about one): one who has it, else the user
-- with its verified address, where the provider links by that, else a new one, where it creates them.
create or replace function access.external_user(
  t freehold.tenant,
  p freehold.providers,
  identity jsonb,
  request jsonb,
  out user_id uuid,
  out why text
)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  address text := case when (identity ->> 'email_verified')::boolean then identity ->> 'email' end;
  u freehold.users;
begin
  perform pg_advisory_xact_lock(hashtextextended(
    format('external:%s:%s:%s', p.id, identity ->> 'issuer', identity ->> 'subject'), 0));
  update freehold.external_identities x
  set last_used_at = now()
  where x.provider_id = p.id and x.issuer = identity ->> 'issuer' and x.external_id = identity ->> 'subject'
  returning x.user_id into user_id;
  if user_id is not null then
    return;
  elsif address is null then
    why := case when p.links_by_email or p.creates_users then 'email_unverified' else 'unknown_identity' end;
    return;
  end if;
  -- Concurrent registrations of one address go one after another.
  perform pg_advisory_xact_lock(hashtext('register:' || address));
  select * into u from freehold.users x where x.email = address for no key update;
  if u.id is not null then
    user_id := u.id;
    why := case
      when not p.links_by_email then 'not_linked'
      when not access.is_present(u) then 'inactive'
      when access.is_administrative(u.id) then 'link_needs_login'
    end;
    if why is null then
      perform access.set_audit_actor(u.id, u.username, request);
      perform access.add_identity(p, u, identity);
    end if;
    return;
  elsif not p.creates_users then
    why := 'unknown_identity';
    return;
  end if;
  select x.user_id, x.why into user_id, why from access.new_external_user(t, p, identity, address, request) x;
end $$;
--> statement-breakpoint
-- Whether a user has power over others (over-others.sql): then only they themselves add another way to log in as them.
create or replace function access.is_administrative(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from access.potential_grants(
      array[subject], array(select p.name from freehold.permissions p where p.is_administrative)) g
    where g.scope > 'own')
$$;
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
    else gen_random_uuid()
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
-- Adds an identity of the admitted user, and returns its id. The arguments are as for access.finish_external_login.
-- Raises FH409 illegal_state (the token was used before, or the provider was changed), already_exists (it is somebody
-- else's), limit_reached (20 of one user); FH401 session_ended. One that they have already is returned.
create or replace function access.link_identity(
  tenant_id uuid,
  system_key text,
  provider uuid,
  version timestamptz,
  identity jsonb,
  token_hash bytea,
  token_expires_at timestamptz
) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  p freehold.providers;
  u freehold.users;
  known freehold.external_identities;
begin
  perform access.must_be_licensed();
  select * into p from freehold.providers x where x.id = provider;
  if p.id is null or not p.is_enabled or p.updated_at <> version then
    perform access.refuse('illegal_state', 'This provider was changed meanwhile: begin again.');
  elsif not access.spend_external_token(token_hash, token_expires_at) then
    perform access.refuse('illegal_state', 'This token was used before: get a new one.');
  end if;
  perform pg_advisory_xact_lock(hashtextextended(
    format('external:%s:%s:%s', p.id, identity ->> 'issuer', identity ->> 'subject'), 0));
  select * into strict u from freehold.users x where x.id = access.principal() for no key update;
  -- While this waited, a new password may have ended the session.
  if not exists (select from freehold.sessions s where s.id = access.session() and s.ended_at is null) then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  end if;
  select * into known
  from freehold.external_identities x
  where x.provider_id = p.id and x.issuer = identity ->> 'issuer' and x.external_id = identity ->> 'subject';
  if known.user_id = u.id then
    return known.id;
  elsif known.id is not null then
    perform access.refuse('already_exists', 'Somebody else logs in with this identity.');
  elsif (select count(*) from freehold.external_identities x where x.user_id = u.id) >= 20 then
    perform access.refuse('limit_reached', 'You have 20 identities, which is the most: remove one first.');
  end if;
  return access.add_identity(p, u, identity);
end $$;
--> statement-breakpoint
-- Adds an identity of a user, whose row is locked, and mails them.
create or replace function access.add_identity(p freehold.providers, u freehold.users, identity jsonb) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
begin
  insert into freehold.external_identities (id, user_id, provider_id, provider, issuer, external_id, email, last_used_at)
  values (made, u.id, p.id, p.name, identity ->> 'issuer', identity ->> 'subject', identity ->> 'email', now());
  perform access.enqueue_mail('identity_added', u.id, u.email, jsonb_build_object('provider', p.label));
  return made;
end $$;
--> statement-breakpoint
-- Whether somebody logs in with an identity: one of a provider that is enabled, beside `removed`.
create or replace function access.has_identity(subject uuid, removed uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from freehold.external_identities e
      join freehold.providers p on p.id = e.provider_id
    where e.user_id = subject and e.id is distinct from removed and p.is_enabled)
$$;
--> statement-breakpoint
-- The last way in stays. One removal of a user at a time, so that of two that go at once one is the last.
create or replace function access.before_identity_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return old;
  end if;
  perform access.must_be_licensed();
  perform from freehold.users u where u.id = old.user_id for no key update;
  if access.current_password(old.user_id) is null
    and not access.has_passkey(old.user_id)
    and not access.has_identity(old.user_id, old.id)
  then
    perform access.refuse('illegal_state',
      'This identity is the only way into your account: add another one, or set a password.');
  end if;
  return old;
end $$;
--> statement-breakpoint
-- Mails whoever lost an identity.
create or replace function access.after_identity_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.enqueue_mail('identity_removed', u.id, u.email, jsonb_build_object('provider', p.label))
  from freehold.users u
    cross join freehold.providers p
  where u.id = old.user_id and p.id = old.provider_id;
  return null;
end $$;
--> statement-breakpoint
-- By what a user can meet a challenge, the usual one first.
create or replace function access.factor_methods(u freehold.users) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select to_jsonb(u.factors)
    || case when access.has_passkey(u.id) then '["passkey"]' else '[]' end::jsonb
    || case
    when exists (select from freehold.backup_codes b where b.user_id = u.id and b.used_at is null) then '["backup_code"]'
    else '[]'
  end::jsonb
$$;
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
  device uuid
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from freehold.login_challenges c where c.user_id = u.id and c.expires_at <= now();
  insert into freehold.login_challenges (token_hash, user_id, guard, client, audience, device, amr, expires_at)
  values (
    challenge.token_hash,
    u.id,
    access.login_guard(u.id, device, request),
    left(client, 255),
    audience,
    device,
    amr,
    now() + interval '5 minutes'
  );
  return jsonb_build_object(
    'outcome', 'mfa_required',
    'user_id', u.id,
    'methods', access.factor_methods(u),
    'expires_in', 300,
    'totp', (select f.secret_encrypted from freehold.totp_factors f where f.user_id = u.id and f.enabled_at is not null),
    'remember_days', (select t.mfa_remember_days from freehold.tenant t)
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
    or access.factor_methods(u) = '[]'
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
  remember boolean
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
    u, t, refresh_hash, request, former, c.client, c.audience, access.both_methods(c.amr, method), 2, c.device, remember
  );
  if entered ->> 'outcome' = 'ok' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = c.guard;
  end if;
  return entered;
end $$;
--> statement-breakpoint
-- How RFC 8176 names two factors. A code by mail and one of an app have the same name there, and so are told apart as two.
create or replace function access.both_methods(first text, second text) returns text
language sql immutable
return first || ' ' || case when first = second then 'mfa' else second end;
--> statement-breakpoint
create or replace function access.is_remembered(t freehold.tenant, subject uuid, device uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from freehold.remembered_devices r
    where r.user_id = subject
      and r.device = is_remembered.device
      and r.expires_at > now()
      -- The setting may have been lowered since.
      and r.created_at > now() - make_interval(days => t.mfa_remember_days))
$$;
--> statement-breakpoint
-- Remembers a device of a user whose row is locked, for as long as the settings say; not at all where that is 0.
create or replace function access.remember_device(t freehold.tenant, subject uuid, this_device uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  until timestamptz := now() + make_interval(days => t.mfa_remember_days);
begin
  if t.mfa_remember_days = 0 then
    return;
  end if;
  insert into freehold.remembered_devices as r (user_id, device, expires_at)
  values (subject, this_device, until)
  on conflict (user_id, device) do update set created_at = now(), expires_at = excluded.expires_at;
  perform access.record(
    'DEVICE_REMEMBERED', 'create', 'user', subject::text, null, jsonb_build_object('device', this_device, 'until', until)
  );
end $$;
--> statement-breakpoint
-- Forgets all devices of a user, or one of them.
create or replace function access.forget_devices(subject uuid, device uuid default null) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from freehold.remembered_devices r
  where r.user_id = subject and (forget_devices.device is null or r.device = forget_devices.device);
  if found then
    perform access.record(
      'DEVICE_FORGOTTEN', 'delete', 'user', subject::text, jsonb_strip_nulls(jsonb_build_object('device', device)), null
    );
  end if;
end $$;
--> statement-breakpoint
-- A session that is ended because nobody should be on that device any more takes the memory of the device with it; one
-- that its user logs out of, or that makes room for another, does not. Which of the two a statement means when users end
-- their current session, it says in the setting 'access.forget': `device`, or `all` of the user. Whoever sets it forgets
-- too much.
create or replace function access.after_session_end() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  said text := current_setting('access.forget', true);
begin
  if said = 'all' then
    perform access.forget_devices(new.user_id);
  elsif new.device_id is not null
    and new.ended_because not in ('replaced', 'limit')
    and (new.ended_because <> 'logout' or new.id is distinct from access.session() or said = 'device')
  then
    perform access.forget_devices(new.user_id, new.device_id);
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Of oneself, or with a permission for sessions of a user within reach.
create or replace function access.remembered_sessions(subject uuid) returns uuid[]
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(s.id), '{}')
  from freehold.tenant t
    join freehold.remembered_devices r on r.user_id = subject
    join freehold.sessions s on s.user_id = r.user_id and s.device_id = r.device
  where s.ended_at is null
    and access.is_remembered(t, r.user_id, r.device)
    and (subject = access.principal() or (access.permission() like 'session:%' and access.can_access_user(subject)))
$$;
--> statement-breakpoint
-- The moment; null: the user needs none, or has one.
create or replace function access.factor_due_at(u freehold.users, t freehold.tenant) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if t.mfa_required_since is null
    or u.factors <> '{}'
    or access.has_passkey(u.id)
    or not access.needs_factor(u, t)
  then
    return null;
  end if;
  return greatest(t.mfa_required_since, u.created_at) + make_interval(days => t.mfa_grace_days);
end $$;
--> statement-breakpoint
-- Where no second factor is needed, a passkey is a way in beside the password, and the password is still enough.
create or replace function access.asks_for_passkey(u freehold.users, t freehold.tenant) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return t.mfa_required_since is not null
    and access.has_passkey(u.id)
    and access.needs_factor(u, t);
end $$;
--> statement-breakpoint
-- Whether there is something to take away: an app, or a passkey beside a password. A passkey that is the only way in is
-- none: without it nobody would get in.
create or replace function access.has_factor_to_lose(u freehold.users) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select u.factors <> '{}'
    or access.current_password(u.id) is not null and access.has_passkey(u.id)
$$;
--> statement-breakpoint
-- Takes all second factors of a user away, whose lockouts and row are locked.
create or replace function access.forget_factors(u freehold.users) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  methods jsonb := access.factor_methods(u) - 'backup_code';
begin
  perform access.drop_totp(u.id);
  if access.current_password(u.id) is not null then
    delete from freehold.passkeys k where k.user_id = u.id;
  end if;
  update freehold.sessions s
  set ended_at = now(), ended_because = 'mfa_reset'
  where s.user_id = u.id and s.ended_at is null;
  perform access.forget_devices(u.id);
  perform access.record(
    'MFA_DISABLED', 'update', 'user', u.id::text, null, jsonb_build_object('reason', 'reset', 'factors', methods), 40
  );
  perform access.enqueue_mail('mfa_reset', u.id, u.email);
end $$;
--> statement-breakpoint
-- The second factor of a login, by a code or a backup code: what access.meet_challenge returns. `step` is the time step
-- for which the code is right, null for none; `backup` the SHA-256 of a backup code, null: a code was sent. `remember`:
-- whether the device is to be remembered; the previous release does not send it.
create or replace function access.verify_totp(
  tenant_id uuid,
  system_key text,
  challenge bytea,
  step bigint,
  backup text,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  remember boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  c freehold.login_challenges := access.open_challenge(t, challenge);
  is_right boolean := false;
begin
  if c.token_hash is not null then
    perform access.set_audit_actor(u.id, u.username, request) from freehold.users u where u.id = c.user_id;
    is_right := case
      when backup is null then access.take_step(c.user_id, step)
      else access.take_backup_code(c.user_id, backup)
    end;
  end if;
  return access.meet_challenge(
    t, challenge, c, is_right, 'otp', case when backup is null then 'wrong_code' else 'wrong_backup_code' end,
    refresh_hash, request, former, remember
  );
end $$;
--> statement-breakpoint
-- Second half: `wrong` (the password or the code), or `changed`. With `codes` they are the new backup codes, and without
-- the authenticator app is switched off. `step` and `backup` are as for access.verify_totp.
create or replace function access.finish_factor_change(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  step bigint,
  backup text,
  codes jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  is_right boolean := false;
begin
  if u.id is not null and u.id = access.principal() then
    is_right := case
      when backup is null then access.take_step(u.id, step)
      else access.take_backup_code(u.id, backup)
    end;
    if not is_right then
      perform access.count_failures(t, 'factor:' || u.id, null, 1);
    end if;
  end if;
  if not is_right then
    perform access.record(
      'MFA_CHANGE_FAILED', 'update', 'user', access.principal()::text, null,
      jsonb_build_object('reason', case when u.id is null then 'wrong_password' else 'wrong_code' end), 30
    );
    return 'wrong';
  end if;
  perform access.clear_lockout(x) from freehold.lockouts x where x.key = 'factor:' || u.id;
  if codes is not null then
    perform access.keep_backup_codes(u.id, codes);
    perform access.record('BACKUP_CODES_RENEWED', 'update', 'user', u.id::text, null, null);
    return 'changed';
  end if;
  perform access.drop_totp(u.id), access.forget_devices(u.id);
  perform access.record('MFA_DISABLED', 'update', 'user', u.id::text, null, jsonb_build_object('factor', 'totp'), 20);
  perform access.enqueue_mail('mfa_disabled', u.id, u.email);
  return 'changed';
end $$;
--> statement-breakpoint
-- Whether anybody can cause a mail of this kind for anybody: it takes an address and no login.
create or replace function access.is_strangers_mail(kind text) returns boolean
language sql immutable
return kind in (
  'register', 'register_known', 'email_verify', 'password_reset', 'email_login', 'account_locked', 'device_locked');
--> statement-breakpoint
-- Whether a mail tells somebody that their password, address or second factor was changed, or that they have a new API
-- key, for the first time within an hour: whoever does that could use the other limits up before, so that nobody is told.
-- Such mails have a day's limit of their own.
create or replace function access.is_first_notice(made freehold.mails) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select made.kind in (
      'api_key_created', 'email_changed', 'identity_added', 'identity_removed', 'mfa_disabled', 'mfa_enabled', 'mfa_reset',
      'passkey_added', 'passkey_copied', 'passkey_removed', 'password_changed', 'erasure_requested', 'erasure_by_admin')
    and not exists (
      select
      from freehold.mails m
      where m.kind = made.kind
        and m.id <> made.id
        and access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
        and m.created_at > now() - interval '1 hour')
$$;
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
    access.enter(
      u, t, refresh_hash, request, former, null, null, access.passkey_method(presented) || ' user mfa', 2,
      access.device_of(t, u.id, devices)
    ),
    presented
  );
end $$;
--> statement-breakpoint
-- Takes the answer of a passkey of a user, whose row the caller has locked: null, or why it does not count.
create or replace function access.take_passkey(
  u freehold.users,
  presented bytea,
  wrong text,
  is_new boolean,
  counter bigint
) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  k freehold.passkeys;
  why text;
begin
  -- It may have been removed while the caller waited.
  select * into k from freehold.passkeys x where x.credential_id = presented and x.user_id = u.id for update;
  why := case
    when k.id is null then 'unknown_passkey'
    when wrong is not null then wrong
    when not is_new then 'passkey_replayed'
    when not access.is_present(u) then 'inactive'
    when k.ends_at <= now() then 'passkey_ended'
    when counter <= k.counter and greatest(counter, k.counter) > 0 then 'passkey_clone_suspected'
  end;
  if why is null then
    update freehold.passkeys x set counter = take_passkey.counter, last_used_at = now() where x.id = k.id;
  elsif why = 'passkey_clone_suspected' then
    perform access.record(
      'PASSKEY_CLONE_SUSPECTED', 'login', 'passkey', k.id::text,
      jsonb_build_object('counter', k.counter), jsonb_build_object('counter', counter, 'name', k.name), 80
    );
    perform access.enqueue_mail('passkey_copied', u.id, u.email, jsonb_build_object('passkey_name', k.name));
  end if;
  return why;
end $$;
--> statement-breakpoint
-- The last way in stays: a user without a password and without an identity elsewhere keeps one passkey. One removal of a
-- user at a time, so that of two passkeys that go at once one is the last.
create or replace function access.before_passkey_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return old;
  end if;
  perform access.must_be_licensed();
  perform from freehold.users u where u.id = old.user_id for no key update;
  if access.current_password(old.user_id) is null
    and coalesce(old.ends_at > now(), true)
    and not exists (
      select
      from freehold.passkeys k
      where k.user_id = old.user_id and k.id <> old.id and coalesce(k.ends_at > now(), true))
    and not access.has_identity(old.user_id, null)
  then
    perform access.refuse('illegal_state', 'This passkey is the only way into your account: add another one, or set a password.');
  end if;
  return old;
end $$;
--> statement-breakpoint
-- Mails the owner of a passkey that was removed, and forgets the devices that it may have vouched for. One that has ended
-- is purged: its owner knows, and it vouches for nothing.
create or replace function access.after_passkey_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if old.ends_at <= now() then
    return null;
  end if;
  perform access.forget_devices(old.user_id);
  perform access.enqueue_mail('passkey_removed', u.id, u.email, jsonb_build_object('passkey_name', old.name))
  from freehold.users u
  where u.id = old.user_id;
  return null;
end $$;
--> statement-breakpoint
create or replace function access.after_rename() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.passkeys k
  set ends_at = case when split_part(k.rp_id, '.', 1) <> new.subdomain then now() + interval '30 days' end
  where (k.ends_at is null) = (split_part(k.rp_id, '.', 1) <> new.subdomain);
  return null;
end $$;
--> statement-breakpoint
create or replace function access.has_passkey(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from freehold.passkeys k where k.user_id = subject and coalesce(k.ends_at > now(), true))
$$;
--> statement-breakpoint
-- What access.enter returns, with `passkey_ends_at` among the claims where the passkey that was used ends.
create or replace function access.with_passkey_end(entered jsonb, presented bytea) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
    when entered ->> 'outcome' = 'ok' and k.ends_at is not null
      then jsonb_set(entered, '{claims,passkey_ends_at}', to_jsonb(k.ends_at))
    else entered
  end
  from (select) one
    left join freehold.passkeys k on k.credential_id = presented
$$;
--> statement-breakpoint
-- The second factor of a login, by a passkey: what access.enter returns, or {outcome: refused, mail}. `challenge` is that
-- of the login; `remember` is as for access.verify_totp, and the rest as for access.finish_passkey_login. It counts as a
-- wrong code does (access.meet_challenge).
create or replace function access.verify_passkey(
  tenant_id uuid,
  system_key text,
  challenge bytea,
  presented bytea,
  wrong text,
  challenge_hash bytea,
  challenge_expires_at timestamptz,
  counter bigint,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  remember boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  is_new boolean := access.spend_challenge(challenge_hash, challenge_expires_at);
  c freehold.login_challenges := access.open_challenge(t, challenge);
  u freehold.users;
  why text;
begin
  if c.token_hash is not null then
    select * into u from freehold.users x where x.id = c.user_id;
    perform access.set_audit_actor(u.id, u.username, request);
    why := access.take_passkey(u, presented, wrong, is_new, counter);
  end if;
  return access.with_passkey_end(
    access.meet_challenge(
      t, challenge, c, why is null, access.passkey_method(presented) || ' user', why, refresh_hash, request, former,
      remember
    ),
    presented
  );
end $$;
--> statement-breakpoint
-- Raises FH409.
create or replace function access.request_erasure(
  tenant_id uuid,
  system_key text,
  token_hash bytea,
  secrets_encrypted text,
  why text
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  e freehold.erasures;
begin
  perform access.check_system(tenant_id, system_key);
  if access.principal() is null or access.key() is not null then
    perform access.refuse('forbidden', 'Your account is erased with a session, not with an API key.');
  end if;
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  e := access.open_erasure(u, null, why, now() + interval '7 days', token_hash);
  perform access.enqueue_mail(
    'erasure_requested', u.id, u.email, jsonb_build_object('erase_at', e.erase_at), secrets_encrypted);
  return access.erasure_shown(e);
end $$;
--> statement-breakpoint
-- Raises FH404, FH403, FH409.
create or replace function access.request_erasure_of(subject uuid, why text, at_once boolean) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  e freehold.erasures;
begin
  perform access.require_erasable(subject);
  perform access.require_power_of(array[subject]);
  select * into u from freehold.users x where x.id = subject for no key update;
  e := access.open_erasure(
    u, access.principal(), why, case when at_once then now() else now() + interval '7 days' end, null);
  if access.is_present(u) then
    perform access.enqueue_mail('erasure_by_admin', u.id, u.email, jsonb_build_object('erase_at', e.erase_at));
  end if;
  return access.erasure_shown(e);
end $$;
--> statement-breakpoint
-- Whether the admitted administrator may erase, or keep, this user: within reach, and not themselves. Raises FH404, FH403.
create or replace function access.require_erasable(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_reach('user', subject);
  if access.permission() is distinct from 'user:delete' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif subject = access.principal() then
    perform access.refuse('forbidden', 'Erase your own account with auth/me/erase.');
  elsif access.scope() <> 'all' and subject = any (access.scope_owner_ids()) then
    perform access.refuse('forbidden', 'A delegated permission cannot be used on its delegator.');
  end if;
end $$;
--> statement-breakpoint
-- Opens the request for a user whose row is locked. Raises FH409.
create or replace function access.open_erasure(
  u freehold.users,
  requested_by uuid,
  why text,
  erase_at timestamptz,
  token_hash bytea
) returns freehold.erasures
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.erasures;
begin
  if u.erased_at is not null then
    perform access.refuse('illegal_state', 'This user has been erased already.');
  elsif u.is_active and not access.has_admin(u.id) then
    perform access.refuse('illegal_state', 'The last administrator cannot be erased: make somebody else one first.');
  end if;
  insert into freehold.erasures (id, user_id, requested_by, reason, erase_at, cancel_hash)
  values (gen_random_uuid(), u.id, open_erasure.requested_by, why, open_erasure.erase_at, token_hash)
  on conflict (user_id) where cancelled_at is null do nothing
  returning * into e;
  if e.id is null then
    perform access.refuse('illegal_state', 'It has been asked for already: cancel that request first.');
  end if;
  perform access.record(
    'ERASURE_REQUESTED', 'request', 'user', u.id::text, null,
    jsonb_build_object('erasure_id', e.id, 'erase_at', e.erase_at, 'reason', why), 40
  );
  return e;
end $$;
--> statement-breakpoint
-- The form of the wire.
create or replace function access.erasure_shown(e freehold.erasures) returns jsonb
language sql stable
return jsonb_build_object(
  'id', e.id,
  'user_id', e.user_id,
  'requested_by', e.requested_by,
  'reason', e.reason,
  'requested_at', to_char(e.requested_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  'erase_at', to_char(e.erase_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
);
--> statement-breakpoint
-- The open request about the admitted user; null: there is none. Who asked in whose name is for the person to know.
create or replace function access.erasure() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.erasure_shown(e)
  from freehold.erasures e
  where e.user_id = access.principal() and e.cancelled_at is null and e.erased_at is null
$$;
--> statement-breakpoint
-- Cancels the open request of a user that `is_own` says who asked for, and mails them. Whether there was one.
create or replace function access.close_erasure(subject uuid, is_own boolean) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.erasures;
begin
  perform from freehold.users x where x.id = subject for no key update;
  update freehold.erasures x
  set cancelled_at = now(), cancel_hash = null
  where x.user_id = subject
    and x.cancelled_at is null
    and x.erased_at is null
    and x.traces is null
    and (x.requested_by is null) = is_own
  returning * into e;
  if e.id is null then
    return false;
  end if;
  perform access.record(
    'ERASURE_CANCELLED', 'cancel', 'user', subject::text, null, jsonb_build_object('erasure_id', e.id), 20);
  perform access.enqueue_mail('erasure_cancelled', u.id, u.email)
  from freehold.users u
  where u.id = subject and access.is_present(u);
  return true;
end $$;
--> statement-breakpoint
-- Raises FH404, FH403.
create or replace function access.cancel_erasure() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null or access.close_erasure(access.principal(), true) then
    return;
  elsif access.erasure() is not null then
    perform access.refuse('forbidden', 'An administrator asked for this: only an administrator can cancel it.');
  end if;
  perform access.refuse('not_found', 'Nobody has asked to erase your account.');
end $$;
--> statement-breakpoint
-- Raises FH404, FH403.
create or replace function access.cancel_erasure_of(subject uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_erasable(subject);
  perform access.require_power_of(array[subject]);
  if not access.close_erasure(subject, false) then
    perform access.refuse('not_found', 'No administrator has asked to erase this user.');
  end if;
end $$;
--> statement-breakpoint
-- Whether the token was that of an open request.
create or replace function access.cancel_erasure_by_token(tenant_id uuid, system_key text, presented bytea, request jsonb)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.check_system(tenant_id, system_key);
  select x.* into u
  from freehold.users x
    join freehold.erasures e on e.user_id = x.id
  where e.cancel_hash = presented and e.cancelled_at is null and e.erased_at is null;
  if u.id is null then
    return false;
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  return access.close_erasure(u.id, true);
end $$;
--> statement-breakpoint
-- {table: [row, ...]}, and `user` as one row; null: this person had ten within the hour.
create or replace function access.export_person() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  subject uuid := access.principal();
  all_of jsonb := '{}';
  found jsonb;
  t record;
begin
  if subject is null or access.key() is not null then
    perform access.refuse('forbidden', 'Your data is exported with a session, not with an API key.');
  end if;
  -- Of two at once one counts after the other.
  perform from freehold.users x where x.id = subject for no key update;
  if (
    select count(*)
    from freehold.audit_log l
    where l.user_id = subject
      and l.activity_type = 'EXPORT'
      and l.resource_type = 'user'
      and l.at > now() - interval '1 hour'
  ) >= 10 then
    return null;
  end if;
  for t in select * from access.personal_tables() p where p.name is not null order by p.place loop
    execute format(
      'select coalesce(jsonb_agg(to_jsonb(y)), ''[]'') from (select %s from %s x where %s) y',
      array_to_string(t.exported, ', '), t.relation, t.whose)
    into found
    using subject;
    all_of := all_of || jsonb_build_object(t.name, case when t.name = 'user' then found -> 0 else found end);
  end loop;
  perform access.record('EXPORT', 'export', 'user', subject::text, null, jsonb_build_object('personal_data', true), 20);
  return all_of;
end $$;
--> statement-breakpoint
-- Activities of the admitted user after a place (null: from the beginning), at most `rows` and about `bytes`; {data, next},
-- where `next` is null at the end.
create or replace function access.export_activities(after_at timestamptz, after_id uuid, rows integer, bytes integer) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  subject uuid := access.principal();
begin
  if subject is null or access.key() is not null then
    perform access.refuse('forbidden', 'Your data is exported with a session, not with an API key.');
  end if;
  return (
    with page as materialized (
      -- By the index of entries under checkpoints, and those that have none yet.
      (
        select l.* from freehold.audit_log l
        where l.user_id = subject and l.checkpoint is not null
          and (after_at is null or (l.at, l.id) > (after_at, after_id))
        order by l.at, l.id
        limit rows
      )
      union all
      (
        select l.* from freehold.audit_log l
        where l.user_id = subject and l.checkpoint is null
          and (after_at is null or (l.at, l.id) > (after_at, after_id))
        order by l.at, l.id
        limit rows
      )
      order by at, id
      limit rows
    ), shown as (
      select
        p.at,
        p.id,
        access.audit_entry(p.id) as entry,
        sum(coalesce(pg_column_size(d.before), 0) + coalesce(pg_column_size(d.after), 0) + 500)
          over (order by p.at, p.id) - coalesce(pg_column_size(d.before), 0) - coalesce(pg_column_size(d.after), 0) as so_far
      from page p
        left join freehold.audit_detail d on d.log_id = p.id
    ), taken as (
      select * from shown s where s.so_far <= bytes + 500
    )
    select jsonb_build_object(
      'data', coalesce(jsonb_agg(t.entry order by t.at, t.id), '[]'),
      'next', case when count(*) = rows or count(*) < (select count(*) from page) then (
        select jsonb_build_array(z.at, z.id) from taken z order by z.at desc, z.id desc limit 1) end)
    from taken t);
end $$;
--> statement-breakpoint
-- Changes the profile columns that `patch` has; null empties one. Preferences are merged. Raises FH403, FH400.
create or replace function access.update_me(patch jsonb) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  changed uuid;
begin
  if access.principal() is null or access.key() is not null then
    perform access.refuse('forbidden', 'You change yourself with a session, not with an API key.');
  end if;
  perform access.must_be_licensed();
  update freehold.users u
  set given_name = case when patch ? 'given_name' then patch ->> 'given_name' else u.given_name end,
    family_name = case when patch ? 'family_name' then patch ->> 'family_name' else u.family_name end,
    phone = case when patch ? 'phone' then patch ->> 'phone' else u.phone end,
    description = case when patch ? 'description' then patch ->> 'description' else u.description end,
    locale = case when patch ? 'locale' then coalesce(patch ->> 'locale', 'en') else u.locale end,
    timezone = case when patch ? 'timezone' then coalesce(patch ->> 'timezone', 'UTC') else u.timezone end,
    preferences = case
      when not patch ? 'preferences' then u.preferences
      when patch -> 'preferences' = 'null' then '{}'
      else access.merged(u.preferences, patch -> 'preferences')
    end
  where u.id = access.principal()
  returning u.id into changed;
  return changed;
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
    (32, 'freehold.sessions', 'sessions', 'x.user_id = $1', null,
      '{id,device,address,city,country,client_id,amr,aal,authenticated_at,created_at,last_active_at,expires_at,ended_at,
        ended_because}', '{user_id,device_id}', 'delete'),
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
-- A text as a pattern that matches it and nothing else.
create or replace function access.literal(said text) returns text
language sql immutable
return regexp_replace(said, '([^[:alnum:]])', '\\\1', 'g');
--> statement-breakpoint
-- Whether a text names somebody: by an address or a number wherever it stands, or by a username where JSON calls it one.
create or replace function access.mentions(said text, words text[]) returns boolean
language sql immutable
return coalesce(
  exists (
    select
    from unnest(words) w (word)
    where strpos(lower(said), lower(w.word)) > 0
      and said ~* case
        when w.word ~ '@|^\+?[0-9]' then format('(^|[^[:alnum:]._%%+-])%s($|[^[:alnum:]_-])', access.literal(w.word))
        else format('"(username|user_name|identifier)"\s*:\s*"%s"', access.literal(w.word))
      end
  ),
  false
);
--> statement-breakpoint
create or replace function access.erasure_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(e.erase_at) from freehold.erasures e where e.cancelled_at is null and e.erased_at is null
$$;
--> statement-breakpoint
-- Works on the request that waits longest: {is_done, erased, postponed}. `is_done`: nothing is due any more.
create or replace function access.erase_due(at_most integer) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.erasures;
  ids uuid[];
begin
  select * into e
  from freehold.erasures x
  where x.cancelled_at is null and x.erased_at is null and x.erase_at <= now()
  order by x.erase_at, x.id
  limit 1;
  if e.id is null then
    return jsonb_build_object('is_done', true, 'erased', 0, 'postponed', 0);
  end if;
  -- In the order of a login; and what was cancelled meanwhile is left.
  perform access.lock_login(e.user_id);
  select * into e
  from freehold.erasures x
  where x.id = e.id and x.cancelled_at is null and x.erased_at is null
  for update;
  if e.id is null then
    return jsonb_build_object('is_done', false, 'erased', 0, 'postponed', 0);
  elsif e.traces is null then
    begin
      e.traces := access.scrub_person(e.user_id);
    exception when sqlstate 'FH409' then
      update freehold.erasures x set erase_at = now() + interval '1 day' where x.id = e.id;
      return jsonb_build_object('is_done', false, 'erased', 0, 'postponed', 1);
    end;
    update freehold.erasures x
    set traces = e.traces,
      cancel_hash = null,
      reason = access.without_words(x.reason, array(select jsonb_array_elements_text(e.traces -> 'words')))
    where x.id = e.id
    returning * into e;
  end if;
  ids := access.details_of(e.user_id, e.traces, at_most);
  perform access.erase_detail(ids);
  if cardinality(ids) >= at_most then
    return jsonb_build_object('is_done', false, 'erased', 0, 'postponed', 0);
  end if;
  update freehold.erasures x set erased_at = now(), traces = null where x.id = e.id;
  perform access.record(
    'USER_ERASED', 'erase', 'user', e.user_id::text, null,
    jsonb_build_object(
      'erasure_id', e.id, 'requested_by', e.requested_by, 'requested_at', e.requested_at, 'reason', e.reason),
    40
  );
  return jsonb_build_object('is_done', access.erasure_due() is null or access.erasure_due() > now(), 'erased', 1,
    'postponed', 0);
end $$;
--> statement-breakpoint
-- Scrubs the rows of a person by registry.sql, and returns what the details of the audit are found by: {words, things,
-- places}, of which the last are pairs of address and agent. Raises FH409 for the last administrator.
create or replace function access.scrub_person(subject uuid) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  words text[] := access.known_by(subject);
  networks text[];
  things text[];
  places jsonb;
  t record;
begin
  select
    array_agg(distinct access.failing_network(a.address)),
    jsonb_agg(distinct jsonb_build_array(a.address, a.agent)) filter (where a.agent is not null)
  into networks, places
  from (
    select s.address, null as agent from freehold.sessions s where s.user_id = subject
    union
    select d.address, d.agent
    from freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
    where l.user_id = subject
  ) a
  where a.address is not null;
  select array_agg(y.id::text) into things
  from (
    select s.id from freehold.sessions s where s.user_id = subject
    union all
    select k.id from freehold.api_keys k where k.user_id = subject
    union all
    select k.id from freehold.passkeys k where k.user_id = subject
    union all
    select d.id from freehold.delegations d where subject in (d.delegator_id, d.delegate_id) or access.mentions(d.reason, words)
  ) y;
  for t in select * from access.personal_tables() p where p.fate <> 'keep' order by p.place loop
    execute format(
      case when t.fate = 'delete' then 'delete from %1$s x where (%2$s)' else 'update %1$s x set %3$s where (%2$s)' end
        || ' and ($1, $2, $3) is not null',
      t.relation, concat_ws(' or ', '(' || t.whose || ')', '(' || t.also || ')'), t.fate)
    using subject, words, coalesce(networks, '{}');
  end loop;
  return jsonb_build_object(
    'words', words, 'things', coalesce(things, '{}'), 'places', coalesce(places, '[]'));
end $$;
--> statement-breakpoint
-- What a person was known by: addresses, numbers and usernames, those of before too, but none that is somebody else's by
-- now. The longest first: a username may be the beginning of an address.
create or replace function access.known_by(subject uuid) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(w.word order by length(w.word) desc, w.word), '{}')
  from (
    select unnest(array[u.username, u.email, u.phone]) from freehold.users u where u.id = subject
    union
    select m.recipient from freehold.mails m where m.user_id = subject
    union
    select k.target from freehold.one_time_tokens k where k.user_id = subject
    union
    select e.value #>> '{}'
    from freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
      cross join lateral (select d.before union all select d.after) s (state)
      cross join lateral jsonb_each(case when jsonb_typeof(s.state) = 'object' then s.state else '{}' end) e
    where l.resource_type = 'user'
      and l.resource_id = subject::text
      and e.key in ('username', 'email', 'phone')
      and jsonb_typeof(e.value) = 'string'
  ) w (word)
  where length(w.word) > 2
    and not exists (
      select
      from freehold.users u
      where u.id <> subject and (u.email = w.word or u.username = w.word or u.phone = w.word)
    )
$$;
--> statement-breakpoint
-- Entries whose detail is about the person, at most so many: what they did, what was done to them or to what was theirs, and
-- what names them; and what failed of nobody known from where they came from, with their agent. Who was given which role is
-- no detail of theirs.
create or replace function access.details_of(subject uuid, traces jsonb, at_most integer) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with known as materialized (
    select
      array(select jsonb_array_elements_text(traces -> 'words')) as words,
      array(select jsonb_array_elements_text(traces -> 'things')) as things
  )
  select array(
    select l.id
    from known k
      cross join freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
    where l.activity_type <> 'AUDIT_ERASED'
      and (
        l.user_id = subject
        or l.resource_type = 'user' and l.resource_id = subject::text
        or l.resource_id = any (k.things)
        or l.user_id is null and traces -> 'places' @> jsonb_build_array(jsonb_build_array(d.address, d.agent))
        or d.user_name = any (k.words)
        or access.mentions(concat_ws(' ', d.path, d.before::text, d.after::text), k.words)
      )
    limit at_most
  )
$$;
--> statement-breakpoint
-- A text with `***` for each of these words.
create or replace function access.without_words(said text, words text[]) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  word text;
begin
  foreach word in array words loop
    said := regexp_replace(said, access.literal(word), '***', 'gi');
  end loop;
  return said;
end $$;
--> statement-breakpoint
-- The settings of a provider by its name, with the secret of its client; null: there is none that is enabled.
create or replace function access.begin_external_login(tenant_id uuid, system_key text, wanted text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  return (
    select jsonb_build_object(
      'id', p.id,
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
-- What a stranger sees of the providers: those whose login begins on a page.
create or replace function access.login_providers() returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('name', p.name, 'label', p.label) order by p.label, p.id), '[]')
  from freehold.providers p
  where p.is_enabled and p.type <> 'firebase'
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
  if not is_now.links_by_email and not is_now.trusts_emails and is_now.mfa_values = '{}' then
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
-- Refuses roles that do not exist, are not active, or carry more than the admitted user holds.
create or replace function access.check_provider_roles(p freehold.providers) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  wanted record;
  r freehold.roles;
begin
  for wanted in
    select 'role_id' as field, access.default_role(p) as id, p.role_id is not null as is_named
    union all
    select 'role_mapping', m.value::uuid, true from jsonb_each_text(p.role_mapping) m
  loop
    -- Locked, so that the role is not deleted or switched off meanwhile.
    select x.* into r from freehold.roles x where x.id = wanted.id and x.deleted_at is null for share;
    if r.id is null and wanted.is_named then
      perform access.refuse('invalid_request', format('%s is not a role of this tenant', wanted.id), wanted.field);
    elsif r.id is not null and not r.is_active then
      perform access.refuse('invalid_request', format('%s is not active', r.name), wanted.field);
    elsif r.id is not null then
      perform access.must_hold_role(r.id, '{}');
    end if;
  end loop;
end $$;
--> statement-breakpoint
-- The role of a user whom no value of a claim gives one: that of the provider, else that of registration.
create or replace function access.default_role(p freehold.providers) returns uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(p.role_id, (
    select r.id
    from freehold.tenant t
      join freehold.roles r on r.deleted_at is null
        and case when t.registration_role is null then r.is_fallback else r.name = t.registration_role end
    limit 1))
$$;
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
-- Whoever logs in by a provider keeps that way in until they leave it: it can be disabled.
create or replace function access.before_provider_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  linked bigint := (select count(*) from freehold.external_identities e where e.provider_id = old.id);
begin
  if linked > 0 then
    perform access.refuse('in_use', format('Users log in with this provider: %s. Disable it instead.', linked));
  end if;
  return old;
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
-- Some active user must hold the administrator's role, for good, and be denied nothing: what they lack, they could
-- hand to nobody. The lock on the role makes transactions that take it away wait for each other.
create or replace function access.keep_admin() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  r freehold.roles;
begin
  select * into r from freehold.roles x where x.is_admin for no key update;
  if not access.has_admin() then
    perform access.refuse('illegal_state',
      format('Somebody must hold the role %s: assign it to another user first.', r.name));
  end if;
end $$;
--> statement-breakpoint
-- Whether there is somebody like that, besides one user when one is given. True where no role is the administrator's.
create or replace function access.has_admin(besides uuid default null) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    (
      select r.is_active
        and exists (
          select
          from freehold.user_roles ur
            join freehold.users u on u.id = ur.user_id
          where ur.role_id = r.id
            and u.id is distinct from besides
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
      from freehold.roles r
      where r.is_admin
    ),
    true
  )
$$;
--> statement-breakpoint
-- {name, accent_color, links, logo_etag, registration, email_login, providers, policy}. Raises FH503 for another tenant
-- or one that is off.
create or replace function access.look(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  return jsonb_build_object(
    'name', t.name,
    'accent_color', t.accent_color,
    'links', t.links,
    'logo_etag', (select l.etag from freehold.logo l),
    'registration', t.registration,
    'email_login', t.email_login,
    'providers', access.login_providers(),
    'policy', access.policy_of(t)
  );
end $$;
--> statement-breakpoint
-- What follows a proof by `method` (RFC 8176), or the reason why it was none.
create or replace function access.stepped_up(t freehold.tenant, u freehold.users, method text, why text) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
begin
  if why is not null then
    perform access.record(
      'STEP_UP_FAILED', 'update', 'session', access.session()::text, null, jsonb_build_object('reason', why), 20
    );
    return jsonb_build_object('outcome', 'wrong', 'mail', access.has_enqueued_mail());
  end if;
  s := access.raise_session(access.session(), method, 2);
  return case
    when s.id is null then jsonb_build_object('outcome', 'ended')
    else jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t))
  end;
end $$;
--> statement-breakpoint
-- `password`, where there is one, and what access.factor_methods names; null: nobody was admitted.
create or replace function access.step_up_methods() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select case when access.current_password(u.id) is null then '[]' else '["password"]' end::jsonb
    || access.factor_methods(u)
  from freehold.users u
  where u.id = access.principal()
$$;
--> statement-breakpoint
-- Ends the sessions of somebody who has left, their remembered devices, and what was mailed to them: none of it becomes
-- valid again when they come back. API keys work only for an active user and stay as they are (docs/decisions/0015-api-keys.md).
create or replace function access.end_what_lets_in(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.sessions s
  set ended_at = now(), ended_because = 'deactivated'
  where s.user_id = subject
    and s.ended_at is null;
  perform access.forget_devices(subject);
  update freehold.one_time_tokens k
  set used_at = now()
  where k.user_id = subject
    and k.used_at is null;
end $$;
--> statement-breakpoint
-- Applies the rules of one user: what the caller may change, how a login is protected, the size of preferences, a
-- role that exists, managers without a circle. An address or number that changes is no longer verified.
create or replace function access.before_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and old.erased_at is not null then
    perform access.refuse('illegal_state', 'This user has been erased.');
  end if;
  if access.permission() in ('user:create', 'user:update', 'user:delete') then
    if tg_op = 'UPDATE' then
      perform access.check_user_change(old, new);
    else
      perform access.check_user_change(null, new);
    end if;
  end if;
  -- Whoever made up this name at the same moment has its lock (usernames.sql) and goes first: who chose it waits, and
  -- meets the unique index.
  if tg_op = 'INSERT' or new.username <> old.username then
    perform pg_advisory_xact_lock(access.username_lock(new.username));
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
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.external_identities REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('external_identity', '{}', '{last_used_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.external_identities REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('external_identity', '{}', '{last_used_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.external_identities REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('external_identity', '{}', '{last_used_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.providers REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('provider', '{client_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.providers REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('provider', '{client_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.providers REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('provider', '{client_secret_encrypted}', '{updated_at}', '{id}');
--> statement-breakpoint
create trigger before_identity_removal before delete on freehold.external_identities
  for each row execute function access.before_identity_removal();
--> statement-breakpoint
create trigger after_identity_removal after delete on freehold.external_identities
  for each row execute function access.after_identity_removal();
--> statement-breakpoint
create trigger after_session_end after update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null) execute function access.after_session_end();
--> statement-breakpoint
create trigger after_rename after update of subdomain on freehold.tenant
  for each row when (old.subdomain <> new.subdomain) execute function access.after_rename();
--> statement-breakpoint
create trigger before_provider before insert or update on freehold.providers
  for each row execute function access.before_provider();
--> statement-breakpoint
create trigger before_provider_removal before delete on freehold.providers
  for each row execute function access.before_provider_removal();
--> statement-breakpoint
-- Not access.protect: identities are their owner's, whatever permission they were admitted with, and change in a session.
create policy read on freehold.external_identities for select using (user_id = (select access.principal()));
--> statement-breakpoint
create policy remove on freehold.external_identities for delete using (
  user_id = (select access.principal()) and (select access.session()) is not null
);
--> statement-breakpoint
-- Not access.protect: a secret is not read, and all of it goes with the permission to change settings.
create policy read on freehold.providers for select
  using ((select access.permission() = any ('{setting:read,setting:update}'::text[])));
--> statement-breakpoint
create policy make on freehold.providers for insert
  with check ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
--> statement-breakpoint
create policy change on freehold.providers for update
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
--> statement-breakpoint
create policy remove on freehold.providers for delete
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
--> statement-breakpoint
-- Not access.protect: passkeys are their owner's, whatever permission they were admitted with, and change in a session.
-- Whoever sees a user sees that there is one that works; no verb shows them more of it (src/users/users.ts).
create policy read on freehold.passkeys for select using (
  user_id = (select access.principal())
  or (
    (select access.permission()) like 'user:%'
    and coalesce(ends_at > now(), true)
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
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.passkeys REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('passkey', '{credential_id,public_key}', '{counter,last_used_at,ends_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.passkeys REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('passkey', '{credential_id,public_key}', '{counter,last_used_at,ends_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.passkeys REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('passkey', '{credential_id,public_key}', '{counter,last_used_at,ends_at}', '{id}');
--> statement-breakpoint
create trigger after_email_change after update of email on freehold.users
  for each row when (old.email <> new.email and new.erased_at is null) execute function access.after_email_change();
--> statement-breakpoint
revoke execute
  on function access.add_identity(freehold.providers,freehold.users,jsonb),
    access.after_identity_removal(),
    access.after_rename(),
    access.after_session_end(),
    access.before_identity_removal(),
    access.before_provider(),
    access.before_provider_removal(),
    access.begin_external_login(uuid,text,text),
    access.both_methods(text,text),
    access.cancel_erasure(),
    access.cancel_erasure_by_token(uuid,text,bytea,jsonb),
    access.cancel_erasure_of(uuid),
    access.check_provider_power(freehold.providers,freehold.providers),
    access.check_provider_roles(freehold.providers),
    access.close_erasure(uuid,boolean),
    access.default_role(freehold.providers),
    access.details_of(uuid,jsonb,integer),
    access.enter(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,text,integer,uuid,boolean),
    access.erase_due(integer),
    access.erasure(),
    access.erasure_due(),
    access.erasure_shown(freehold.erasures),
    access.export_activities(timestamp with time zone,uuid,integer,integer),
    access.export_person(),
    access.external_user(freehold.tenant,freehold.providers,jsonb,jsonb),
    access.finish_external_login(uuid,text,uuid,timestamp with time zone,text,jsonb,bytea,timestamp with time zone,bytea,jsonb,jsonb,jsonb),
    access.forget_devices(uuid,uuid),
    access.has_admin(uuid),
    access.has_identity(uuid,uuid),
    access.has_passkey(uuid),
    access.is_administrative(uuid),
    access.is_locked_out(freehold.tenant,uuid,text),
    access.is_remembered(freehold.tenant,uuid,uuid),
    access.known_by(uuid),
    access.link_identity(uuid,text,uuid,timestamp with time zone,jsonb,bytea,timestamp with time zone),
    access.literal(text),
    access.lock_person(uuid),
    access.login_providers(),
    access.meet_challenge(freehold.tenant,bytea,freehold.login_challenges,boolean,text,text,bytea,jsonb,jsonb,boolean),
    access.mentions(text,text[]),
    access.new_external_user(freehold.tenant,freehold.providers,jsonb,text,jsonb),
    access.open_erasure(freehold.users,uuid,text,timestamp with time zone,bytea),
    access.open_session(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,integer,uuid),
    access.personal_tables(),
    access.remember_device(freehold.tenant,uuid,uuid),
    access.remembered_sessions(uuid),
    access.request_email_login(uuid,text,text,bytea,bytea,bytea,text,jsonb),
    access.request_erasure(uuid,text,bytea,text,text),
    access.request_erasure_of(uuid,text,boolean),
    access.require_erasable(uuid),
    access.scrub_person(uuid),
    access.spend_external_token(bytea,timestamp with time zone),
    access.step_up_methods(),
    access.update_me(jsonb),
    access.verify_email_login(uuid,text,bytea,bytea,bytea,boolean,bytea,jsonb,jsonb,jsonb),
    access.verify_passkey(uuid,text,bytea,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb,boolean),
    access.verify_totp(uuid,text,bytea,bigint,text,bytea,jsonb,jsonb,boolean),
    access.with_passkey_end(jsonb,bytea),
    access.without_words(text,text[])
  from public;
--> statement-breakpoint
grant delete, select
  on freehold.external_identities
  to freehold_app;
--> statement-breakpoint
grant delete, insert (id, name, type, issuer, client_id, client_secret_encrypted, label, claims, allowed_domains, creates_users, role_id, role_mapping, links_by_email, trusts_emails, mfa_values, is_enabled), select (id, name, type, issuer, client_id, is_confidential, label, claims, allowed_domains, creates_users, role_id, role_mapping, links_by_email, trusts_emails, mfa_values, is_enabled, created_at, updated_at), update (client_secret_encrypted, label, claims, allowed_domains, creates_users, role_id, role_mapping, links_by_email, trusts_emails, mfa_values, is_enabled)
  on freehold.providers
  to freehold_app;
--> statement-breakpoint
grant update (email_login, mfa_remember_days)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant select (ends_at)
  on freehold.passkeys
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.begin_external_login(uuid,text,text),
    access.cancel_erasure(),
    access.cancel_erasure_by_token(uuid,text,bytea,jsonb),
    access.cancel_erasure_of(uuid),
    access.erasure(),
    access.export_activities(timestamp with time zone,uuid,integer,integer),
    access.export_person(),
    access.finish_external_login(uuid,text,uuid,timestamp with time zone,text,jsonb,bytea,timestamp with time zone,bytea,jsonb,jsonb,jsonb),
    access.link_identity(uuid,text,uuid,timestamp with time zone,jsonb,bytea,timestamp with time zone),
    access.remembered_sessions(uuid),
    access.request_email_login(uuid,text,text,bytea,bytea,bytea,text,jsonb),
    access.request_erasure(uuid,text,bytea,text,text),
    access.request_erasure_of(uuid,text,boolean),
    access.step_up_methods(),
    access.update_me(jsonb),
    access.verify_email_login(uuid,text,bytea,bytea,bytea,boolean,bytea,jsonb,jsonb,jsonb),
    access.verify_passkey(uuid,text,bytea,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb,boolean),
    access.verify_totp(uuid,text,bytea,bigint,text,bytea,jsonb,jsonb,boolean)
  to freehold_app;
