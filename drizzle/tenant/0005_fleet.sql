-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table freehold.audiences
--   creates table access.daily_counts
--   creates table freehold.backup_codes
--   creates table freehold.login_challenges
--   creates table freehold.totp_factors
--   creates table access.limits
--   creates table access.session_places
--   creates table access.passkey_challenges
--   creates table freehold.passkeys
--   creates table freehold.logo
--   alters table freehold.sessions
--   alters table freehold.tenant
--   alters table freehold.users
-- Definitions:
--   creates 104 objects
--   replaces 15 objects
--   drops and creates trigger after_coming_or_going on freehold.users
--   drops and creates function access.admit
--   drops and creates function access.begin_login
--   drops and creates function access.finish_login
--   drops and creates function access.finish_login_with_rehash
--   drops and creates function access.refresh
--   drops and creates function access.token_claims
--   drops and creates function access.token_permissions

set local check_function_bodies = off;
--> statement-breakpoint
drop trigger after_coming_or_going on freehold.users;
--> statement-breakpoint
drop function access.admit(uuid,jsonb,text,jsonb,boolean);
--> statement-breakpoint
drop function access.begin_login(uuid,text,text,jsonb,jsonb);
--> statement-breakpoint
drop function access.finish_login(uuid,text,uuid,text,text,bytea,jsonb,jsonb);
--> statement-breakpoint
drop function access.finish_login_with_rehash(uuid,text,uuid,text,text,text,bytea,jsonb,jsonb);
--> statement-breakpoint
drop function access.refresh(uuid,text,bytea,bytea,jsonb,bytea);
--> statement-breakpoint
drop function access.token_claims(freehold.users,freehold.sessions,freehold.tenant);
--> statement-breakpoint
drop function access.token_permissions(uuid);
--> statement-breakpoint
CREATE TABLE "freehold"."audiences" (
  "id" uuid PRIMARY KEY NOT NULL,
  "identifier" text NOT NULL,
  "name" text NOT NULL,
  "token_permissions" text DEFAULT 'all' NOT NULL,
  "token_permission_list" text[] DEFAULT '{}' NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "audiences_identifier_form" CHECK (length("freehold"."audiences"."identifier") between 1 and 255),
  CONSTRAINT "audiences_name_form" CHECK (length("freehold"."audiences"."name") between 1 and 120),
  CONSTRAINT "audiences_token_permissions" CHECK ("freehold"."audiences"."token_permissions" in ('all', 'list', 'none')),
  CONSTRAINT "audiences_token_permission_list" CHECK (cardinality("freehold"."audiences"."token_permission_list") <= 100)
);
--> statement-breakpoint
CREATE TABLE "access"."daily_counts" (
  "day" date PRIMARY KEY NOT NULL,
  "logins" integer NOT NULL,
  "failures" integer NOT NULL,
  "checkpoint" integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE "freehold"."backup_codes" (
  "code_mac" "bytea" PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "used_at" timestamp with time zone,
  CONSTRAINT "backup_codes_mac" CHECK (octet_length("freehold"."backup_codes"."code_mac") = 32)
);
--> statement-breakpoint
CREATE TABLE "freehold"."login_challenges" (
  "token_hash" "bytea" PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "guard" text NOT NULL,
  "client" text,
  "audience" text,
  "device" uuid,
  "amr" text NOT NULL,
  "failures" integer DEFAULT 0 NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  "used_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "freehold"."totp_factors" (
  "user_id" uuid PRIMARY KEY NOT NULL,
  "secret_encrypted" text NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "enabled_at" timestamp with time zone,
  "last_step" bigint
);
--> statement-breakpoint
CREATE TABLE "access"."limits" (
  "name" text PRIMARY KEY NOT NULL,
  "most" integer,
  "used" bigint DEFAULT 0 NOT NULL,
  "counted_to" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "limits_most" CHECK ("access"."limits"."most" >= 0)
);
--> statement-breakpoint
CREATE TABLE "access"."session_places" (
  "place" integer PRIMARY KEY NOT NULL,
  "session_id" uuid,
  "free_from" timestamp with time zone DEFAULT '-infinity' NOT NULL
);
--> statement-breakpoint
CREATE TABLE "access"."passkey_challenges" (
  "challenge_hash" "bytea" PRIMARY KEY NOT NULL,
  "expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "freehold"."passkeys" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "credential_id" "bytea" NOT NULL,
  "public_key" "bytea" NOT NULL,
  "counter" bigint NOT NULL,
  "rp_id" text NOT NULL,
  "name" text NOT NULL,
  "aaguid" uuid NOT NULL,
  "transports" text[] DEFAULT '{}' NOT NULL,
  "is_synced" boolean NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "last_used_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "freehold"."logo" (
  "one" boolean PRIMARY KEY DEFAULT true NOT NULL,
  "content_type" text NOT NULL,
  "width" integer NOT NULL,
  "height" integer NOT NULL,
  "etag" text NOT NULL,
  "content" "bytea" NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "logo_is_one" CHECK ("freehold"."logo"."one"),
  CONSTRAINT "logo_is_small" CHECK ("freehold"."logo"."content_type" in ('image/png', 'image/jpeg', 'image/webp') and "freehold"."logo"."width" between 1 and 1024
        and "freehold"."logo"."height" between 1 and 1024 and octet_length("freehold"."logo"."content") between 1 and 65536)
);
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "client_id" text;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "aal" integer DEFAULT 1 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD COLUMN "authenticated_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "writes_closed_by" integer;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "licensed_until" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "read_only_from" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "token_permissions" text DEFAULT 'all' NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "token_permission_list" text[] DEFAULT '{}' NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "mfa_required" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "mfa_required_roles" text[] DEFAULT '{}' NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "mfa_grace_days" integer DEFAULT 14 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "mfa_required_since" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "name" text;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "accent_color" text;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "links" jsonb DEFAULT '{}'::jsonb NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "origins" text[] DEFAULT '{}' NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "factors" text[] DEFAULT '{}' NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."backup_codes" ADD CONSTRAINT "backup_codes_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."login_challenges" ADD CONSTRAINT "login_challenges_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."totp_factors" ADD CONSTRAINT "totp_factors_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."passkeys" ADD CONSTRAINT "passkeys_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE UNIQUE INDEX "audiences_identifier" ON "freehold"."audiences" USING btree ("identifier");
--> statement-breakpoint
CREATE INDEX "audiences_sorted" ON "freehold"."audiences" USING btree ("name","id");
--> statement-breakpoint
CREATE INDEX "backup_codes_user" ON "freehold"."backup_codes" USING btree ("user_id");
--> statement-breakpoint
CREATE INDEX "login_challenges_expiry" ON "freehold"."login_challenges" USING btree ("expires_at");
--> statement-breakpoint
CREATE INDEX "login_challenges_user" ON "freehold"."login_challenges" USING btree ("user_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "session_places_session" ON "access"."session_places" USING btree ("session_id");
--> statement-breakpoint
CREATE INDEX "session_places_free" ON "access"."session_places" USING btree ("free_from");
--> statement-breakpoint
CREATE INDEX "passkey_challenges_expired" ON "access"."passkey_challenges" USING btree ("expires_at");
--> statement-breakpoint
CREATE UNIQUE INDEX "passkeys_credential" ON "freehold"."passkeys" USING btree ("credential_id");
--> statement-breakpoint
CREATE INDEX "passkeys_user" ON "freehold"."passkeys" USING btree ("user_id","created_at");
--> statement-breakpoint
CREATE INDEX "api_keys_ends" ON "freehold"."api_keys" USING btree ("expires_at") WHERE "freehold"."api_keys"."revoked_at" is null;
--> statement-breakpoint
CREATE INDEX "mails_created" ON "freehold"."mails" USING btree ("created_at");
--> statement-breakpoint
ALTER TABLE "freehold"."sessions" ADD CONSTRAINT "sessions_aal" CHECK ("freehold"."sessions"."aal" in (1, 2));
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_origins" CHECK (cardinality("freehold"."tenant"."origins") <= 50 and octet_length(array_to_string("freehold"."tenant"."origins", '')) <= 12750);
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_second_factor" CHECK (cardinality("freehold"."tenant"."mfa_required_roles") <= 50 and "freehold"."tenant"."mfa_grace_days" between 0 and 90);
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_token_permissions" CHECK ("freehold"."tenant"."token_permissions" in ('all', 'list', 'none') and cardinality("freehold"."tenant"."token_permission_list") <= 100);
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_look" CHECK (char_length("freehold"."tenant"."name") between 1 and 70 and "freehold"."tenant"."accent_color" ~ '^#[0-9a-f]{6}$'
        and jsonb_typeof("freehold"."tenant"."links") = 'object' and octet_length("freehold"."tenant"."links"::text) <= 4096);
--> statement-breakpoint
alter table freehold.audiences enable row level security;
--> statement-breakpoint
alter table access.daily_counts enable row level security;
--> statement-breakpoint
alter table freehold.backup_codes enable row level security;
--> statement-breakpoint
alter table freehold.login_challenges enable row level security;
--> statement-breakpoint
alter table freehold.totp_factors enable row level security;
--> statement-breakpoint
alter table access.limits enable row level security;
--> statement-breakpoint
alter table access.session_places enable row level security;
--> statement-breakpoint
alter table access.passkey_challenges enable row level security;
--> statement-breakpoint
alter table freehold.passkeys enable row level security;
--> statement-breakpoint
alter table freehold.logo enable row level security;
--> statement-breakpoint
-- The tenant's row. Refuses a request that reached another tenant's database, or a tenant that is switched off; and one
-- that may write while the rows are copied elsewhere (src/tenants/fence): a transaction that Postgres keeps from writing
-- goes on.
create or replace function access.check_tenant(tenant_id uuid) returns freehold.tenant
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
begin
  select * into t from freehold.tenant;
  if t.id is distinct from tenant_id then
    raise exception using errcode = 'FH503', message = 'wrong_tenant';
  elsif t.writes_closed_by is not null and not current_setting('transaction_read_only')::boolean then
    raise exception using errcode = 'FH503', message = 'wrong_tenant';
  elsif not t.is_active then
    raise exception using errcode = 'FH503', message = 'tenant_inactive';
  end if;
  return t;
end $$;
--> statement-breakpoint
-- Admits a request: proves the credential, {session_id, user_id, proof} or {key}, decides the permission (null: any
-- admitted user, scope own), and signs the claims: every policy believes what is signed here. Returns {user_id,
-- session_id, scope}. Raises FH401 session_ended | token_invalid | step_up_required, FH403 user_inactive |
-- password_change_required | mfa_setup_required | forbidden, FH40L, FH503.
--
-- `fresh`: the user of a session must have authenticated within so many minutes; `least_aal`: by so many factors; null:
-- neither is asked. The previous release sends none of the two. A key is asked for none of them: nobody can log in with it.
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
  if s.aal < least_aal then
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
-- The permissions that a token carries, of those that its user holds: `carried` says all, those that are `listed`, or
-- none; and at most a hundred, Freehold's own first. Services ask authz/check for the rest, of which `truncated` tells
-- them.
create or replace function access.token_permissions(
  subject uuid,
  carried text,
  listed text[],
  out permissions text[],
  out truncated boolean
)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  permissions := '{}';
  truncated := false;
  if carried = 'none' then
    return;
  end if;
  permissions := access.permissions_of(subject, now());
  if carried = 'list' then
    permissions := array(select h.name from unnest(permissions) h (name) where h.name = any (listed));
  end if;
  if cardinality(permissions) <= 100 then
    return;
  end if;
  truncated := true;
  permissions := array(
    select x.name
    from (
      select p.name
      from unnest(permissions) with ordinality h (name, place)
        join freehold.permissions p on p.name = h.name
      order by not p.is_administrative, h.place
      limit 100) x
    order by x.name);
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
begin
  if me is null or access.scope() = 'all' then
    return;
  elsif resource in ('role', 'permission', 'audience') then
    -- They are nobody's: whoever reads one reads all of them, and they are changed at scope `all` alone.
    if not exists (
      select from freehold.roles r where r.id = thing and r.deleted_at is null and resource = 'role'
      union all
      select from freehold.permissions p where p.id = thing and p.deleted_at is null and resource = 'permission'
      union all
      select from freehold.audiences a where a.id = thing and resource = 'audience'
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
  if owner is null and unit is null and resource not in ('role', 'permission', 'audience') then
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
    or (far.scope is not null and resource in ('role', 'permission', 'audience'))
    -- Everybody reads the unit that they are in.
    or (resource = 'unit' and unit = (select u.unit_id from freehold.users u where u.id = me)) then
    perform access.refuse('forbidden', format('You can read this, but your %s does not reach it.', access.permission()));
  elsif resource in ('role', 'permission', 'audience') then
    -- In the words that a verb has for one that does not exist.
    raise exception using errcode = 'FH404', message = 'not_found';
  end if;
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
    end if;
    perform access.must_be_licensed();
    if me <> new.user_id then
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
    -- While this waited, a new password may have ended the session, and revoked the keys that there were.
    if exists (select from freehold.sessions s where s.id = access.session() and s.ended_at is not null) then
      raise exception using errcode = 'FH401', message = 'session_ended';
    end if;
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
create or replace function access.before_audience() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    -- One at a time, so that one transaction gets the last place.
    perform pg_advisory_xact_lock(hashtext('access.audiences'));
    if (select count(*) from freehold.audiences) >= 100 then
      perform access.refuse('limit_reached', 'A tenant can have at most 100 audiences: remove one first.');
    end if;
  end if;
  new.updated_at := now();
  new.token_permission_list := array(select distinct p from unnest(new.token_permission_list) p order by 1);
  return new;
end $$;
--> statement-breakpoint
-- The permissions that a token for an API carries (null: for the tenant itself) as access.token_permissions makes them.
create or replace function access.audience_permissions(
  subject uuid,
  t freehold.tenant,
  audience text,
  out permissions text[],
  out truncated boolean
)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.audiences;
begin
  if audience is not null then
    select * into a from freehold.audiences x where x.identifier = audience;
  end if;
  select p.permissions, p.truncated into permissions, truncated
  from access.token_permissions(
    subject,
    case when audience is null then t.token_permissions else coalesce(a.token_permissions, 'none') end,
    case when audience is null then t.token_permission_list else a.token_permission_list end
  ) p;
end $$;
--> statement-breakpoint
-- Whether access tokens can be for an API; null: the tenant itself, for which they always can.
create or replace function access.is_audience(audience text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select audience is null or exists (select from freehold.audiences a where a.identifier = audience)
$$;
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
      'STEP_UP_FAILED', 'PASSKEY_CLONE_SUSPECTED'
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
        when resource = 'session' and c.is_now ->> 'ended_because' in ('logout', 'replaced') then 'LOGOUT'
        when resource = 'session' and c.is_now ? 'authenticated_at' then 'STEP_UP'
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
-- Adds up the entries under checkpoints that were not counted yet, and returns the days that the master may not have:
-- from `since` on, and those that changed after the checkpoint `known`, [{day, logins, failures, mails}], the oldest
-- first and today last. Failures are failed logins and refused requests, those of strangers that were only counted, too.
-- The first time it goes back 31 days. Of two calls at once one adds up, and the other says what is there.
create or replace function access.count_days(known integer, since date) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  today date := (now() at time zone 'UTC')::date;
  newest integer;
  counted integer;
  start date;
begin
  if pg_try_advisory_xact_lock(hashtext('access.daily_counts')) then
    select max(s.no) into newest from freehold.audit_checkpoints s;
    select max(c.checkpoint) into counted from access.daily_counts c;
    if newest > coalesce(counted, 0) then
      insert into access.daily_counts as c (day, logins, failures, checkpoint)
      select x.day, sum(x.logins), coalesce(sum(x.failures), 0), newest
      from (
        select
          case
            when l.action = 'count' then (d.after ->> 'from')::timestamptz at time zone 'UTC'
            else l.at at time zone 'UTC'
          end::date as day,
          case when l.activity_type = 'LOGIN' then 1 else 0 end as logins,
          case
            when l.activity_type = 'LOGIN' then 0
            when l.action = 'count' then (select sum(n.value::integer) from jsonb_each_text(d.after -> 'counts') n)
            else 1
          end as failures
        from freehold.audit_log l
        left join freehold.audit_detail d on d.log_id = l.id and l.action = 'count'
        where l.checkpoint > coalesce(counted, 0)
          and l.checkpoint <= newest
          and (counted is not null or l.at >= today - 31)
          and (
            l.activity_type in ('LOGIN', 'LOGIN_FAILED', 'ACCESS_REFUSED')
            or l.activity_type = 'SUSPICIOUS_ACTIVITY' and l.action in ('refuse', 'count') and l.resource_type = 'request'
          )
        union all
        -- Today's row is written whatever happened: it says up to where the entries are counted.
        select today, 0, 0
      ) x
      where x.day is not null
      group by x.day
      order by x.day
      on conflict (day) do update
      set logins = c.logins + excluded.logins,
        failures = c.failures + excluded.failures,
        checkpoint = excluded.checkpoint;
      delete from access.daily_counts c where c.day <= today - 400;
    end if;
  end if;
  start := least(
    coalesce(since, today - 31),
    today,
    (select min(c.day) from access.daily_counts c where c.checkpoint > known)
  );
  return (
    with mailed as (
      select (m.created_at at time zone 'UTC')::date as day, count(*) as mails
      from freehold.mails m
      where m.created_at >= start::timestamp at time zone 'UTC'
      group by 1
    )
    select jsonb_agg(
      jsonb_build_object(
        'day', x.day,
        'logins', coalesce(c.logins, 0),
        'failures', coalesce(c.failures, 0),
        'mails', coalesce(m.mails, 0)
      )
      order by x.day
    )
    from (
      select c.day from access.daily_counts c where c.day >= start
      union
      select m.day from mailed m
      union
      select today
    ) x
    left join access.daily_counts c on c.day = x.day
    left join mailed m on m.day = x.day
    where x.day <= today
  );
end $$;
--> statement-breakpoint
-- Finishes an attempt, once: compares the digest (32 bytes, base64 without padding) with the user's hash, counts a
-- failure or clears the lockout of its guard. Returns the user when the password was right, and leaves their row locked.
-- Where a second factor is open, or compared with it, the password alone clears nothing: what follows does.
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
  if a.key not like 'factor:%' and (a.key not like 'login:%' or u.factors = '{}') then
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
    'password_expires_soon', coalesce(expiry <= now() + make_interval(days => t.password_warning_days), false));
end $$;
--> statement-breakpoint
-- First half: what access.begin_attempt returns, the same for an unknown identifier. `devices` are tokens of known
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
  return access.begin_attempt(
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
  if entered ->> 'outcome' = 'ok' and u.factors <> '{}' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = coalesce(a.guard, a.key);
  end if;
  return entered;
end $$;
--> statement-breakpoint
-- Second half of a login that replaces the hash; answers as access.finish_login does. `hash_parameters` is what replaces
-- the parameters of the attempt, and `renewed` the digest under it: of a hash that another system made, ours with the
-- salt that was chosen at the import (`next` in the stored hash_parameters); of one of ours, the same with more
-- iterations. Of several logins at once the first replaces the hash, and the others are compared with the new one. A
-- password that was changed meanwhile stays: then neither is right.
create or replace function access.finish_login_with_rehash(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  hash_parameters text,
  renewed text,
  refresh_hash bytea,
  request jsonb,
  former jsonb default '{}',
  client text default null,
  audience text default null
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
    right(hash_parameters, 23) = '$' || substring(a.hash_parameters from ',next=([A-Za-z0-9+/]{22})[$]')
      or access.is_extension(hash_parameters, a.hash_parameters),
    false
  );
  if is_meant and starts_with(access.current_password(a.user_id), finish_login_with_rehash.hash_parameters || '$') then
    update freehold.login_attempts x set hash_parameters = finish_login_with_rehash.hash_parameters
    where x.id = attempt and x.state = 'pending';
    return access.finish_login(tenant_id, system_key, attempt, renewed, null, refresh_hash, request, former,
      client, audience);
  end if;
  return access.finish_login(
    tenant_id,
    system_key,
    attempt,
    digest,
    case when is_meant then access.stored_hash(finish_login_with_rehash.hash_parameters, renewed) end,
    refresh_hash,
    request,
    former,
    client,
    audience
  );
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
-- the login is from; null: one that is not known.
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
  device uuid
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
  elsif aal < 2 and (u.factors <> '{}' or access.asks_for_passkey(u, t)) then
    return access.challenge(u, refresh_hash, request, client, audience, amr, device);
  end if;
  begin
    s := access.open_session(u, t, refresh_hash, request, former, client, amr, aal);
  -- Nothing of it is left, and the attempt stays finished: who was let in once is no failure.
  exception when sqlstate 'FH409' then
    get stacked diagnostics why = pg_exception_detail;
    perform access.note_active_places(t);
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'limit_reached'), 10
    );
    return jsonb_build_object('outcome', 'limit_reached', 'said', why);
  end;
  return jsonb_build_object(
    'outcome', 'ok',
    'claims', access.token_claims(u, s, t, audience),
    'device_token', access.device_token(
      t, u.id, coalesce(device, gen_random_uuid()), floor(extract(epoch from now()))::bigint
    )
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
  aal integer
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
  insert into freehold.sessions (id, user_id, device, address, city, country, client_id, amr, aal, expires_at)
  values (
    gen_random_uuid(),
    u.id,
    left(request ->> 'agent', 255),
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
-- Puts these backup codes in place of the former ones.
create or replace function access.keep_backup_codes(subject uuid, codes jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from freehold.backup_codes b where b.user_id = subject;
  insert into freehold.backup_codes (code_mac, user_id)
  select access.backup_mac(subject, c.code), subject from jsonb_array_elements_text(codes) c (code);
end $$;
--> statement-breakpoint
-- What is kept of a backup code.
create or replace function access.backup_mac(subject uuid, code text) returns bytea
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.mac(format('backup:%s:%s', subject, code))
$$;
--> statement-breakpoint
-- Uses a backup code up, by its SHA-256 (hex). Whether it was one.
create or replace function access.take_backup_code(subject uuid, code text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.backup_codes b set used_at = now()
  where b.code_mac = access.backup_mac(subject, code) and b.user_id = subject and b.used_at is null;
  if found then
    perform access.record(
      'BACKUP_CODE_USED', 'update', 'user', subject::text, null,
      jsonb_build_object('left', (
        select count(*) from freehold.backup_codes b where b.user_id = subject and b.used_at is null)),
      20
    );
    return true;
  end if;
  return false;
end $$;
--> statement-breakpoint
-- By what a user can meet a challenge, the usual one first.
create or replace function access.factor_methods(u freehold.users) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select to_jsonb(u.factors)
    || case when exists (select from freehold.passkeys k where k.user_id = u.id) then '["passkey"]' else '[]' end::jsonb
    || case
    when exists (select from freehold.backup_codes b where b.user_id = u.id and b.used_at is null) then '["backup_code"]'
    else '[]'
  end::jsonb
$$;
--> statement-breakpoint
-- The lockout that counts the failures of a login from a device, or from a stranger's network (lockouts.sql).
create or replace function access.login_guard(subject uuid, device uuid, request jsonb) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    'device:' || subject || ':' || device,
    'login:' || subject || ':' || access.login_network(request ->> 'address'))
$$;
--> statement-breakpoint
-- Opens a challenge for a user who proved the first factor: {outcome: mfa_required, user_id, methods, expires_in, totp}. `totp`
-- is the encrypted secret, which the Worker seals in the token, so that the code is compared in one round trip. The
-- arguments are as for access.enter.
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
    'totp', (select f.secret_encrypted from freehold.totp_factors f where f.user_id = u.id and f.enabled_at is not null)
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
  g freehold.lockouts;
  w freehold.lockouts;
  person text;
begin
  select * into c from freehold.login_challenges x where x.token_hash = shown;
  if c.token_hash is null then
    return null;
  end if;
  person := 'login:' || c.user_id;
  perform from freehold.lockouts x where x.key = person for update;
  if not found then
    insert into freehold.lockouts as x (key) values (person)
    on conflict (key) do update set key = x.key;
  end if;
  select * into u from freehold.users x where x.id = c.user_id for no key update;
  select * into c from freehold.login_challenges x where x.token_hash = shown for update;
  if c.token_hash is null
    or c.used_at is not null
    or c.expires_at <= now()
    or c.failures >= t.max_failures
    -- Whoever held the former password may have begun it.
    or c.created_at <= u.password_changed_at
    or access.factor_methods(u) = '[]'
    or not access.is_present(u)
  then
    return null;
  end if;
  g := access.lockout_now(t, c.guard);
  if starts_with(c.guard, person || ':') then
    w := access.lockout_now(t, person);
  end if;
  if g.locked_until > now()
    or g.failures >= t.max_failures
    or w.locked_until > now()
    or w.failures >= access.most_of_strangers(t)
  then
    return null;
  end if;
  return c;
end $$;
--> statement-breakpoint
-- What follows the comparison with what was `shown`: what access.enter returns, or {outcome: refused, mail}. `c` is null
-- where it could not be met any more. `method` is the one that was used (RFC 8176), and `reason` what the audit says when it was
-- wrong. `former` is as for access.enter.
create or replace function access.meet_challenge(
  t freehold.tenant,
  shown bytea,
  c freehold.login_challenges,
  is_right boolean,
  method text,
  reason text,
  refresh_hash bytea,
  request jsonb,
  former jsonb
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
    u, t, refresh_hash, request, former, c.client, c.audience, c.amr || ' ' || method, 2, c.device
  );
  if entered ->> 'outcome' = 'ok' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = c.guard;
  end if;
  return entered;
end $$;
--> statement-breakpoint
create or replace function access.needs_factor(u freehold.users, t freehold.tenant) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select t.mfa_required_since is not null
    and (
      t.mfa_required
      or exists (select from access.roles_of(u.id, now()) r (id) where r.id::text = any (t.mfa_required_roles)))
$$;
--> statement-breakpoint
-- The moment; null: the user needs none, or has one.
create or replace function access.factor_due_at(u freehold.users, t freehold.tenant) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if t.mfa_required_since is null
    or u.factors <> '{}'
    or exists (select from freehold.passkeys k where k.user_id = u.id)
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
    and exists (select from freehold.passkeys k where k.user_id = u.id)
    and access.needs_factor(u, t);
end $$;
--> statement-breakpoint
-- Takes all second factors of a user away, and ends their sessions. Raises FH404, FH403, FH409.
create or replace function access.reset_factors(subject uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.require_reach('user', subject);
  if access.permission() is distinct from 'user:update' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif subject = access.principal() or (access.scope() <> 'all' and subject = any (access.scope_owner_ids())) then
    perform access.refuse('forbidden', 'Switch your own second factor off with auth/mfa/disable.');
  end if;
  perform access.require_all_of(subject);
  perform access.lock_login(subject);
  select * into u from freehold.users x where x.id = subject;
  if not access.has_factor_to_lose(u) then
    perform access.refuse('illegal_state', 'This user has no second factor.');
  end if;
  perform access.forget_factors(u);
end $$;
--> statement-breakpoint
-- The same for the owner of the database, who is the system in the audit: the user with this address. Returns it; null:
-- there is no such user, or they have no second factor.
create or replace function access.reset_factors_as_owner(address text) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  select * into u from freehold.users x where x.email = address;
  if u.id is null then
    return null;
  end if;
  perform access.lock_login(u.id);
  select * into u from freehold.users x where x.id = u.id;
  if not access.has_factor_to_lose(u) then
    return null;
  end if;
  perform access.forget_factors(u);
  return u.email;
end $$;
--> statement-breakpoint
-- Whether there is something to take away: an app, or a passkey beside a password. A passkey that is the only way in is
-- none: without it nobody would get in.
create or replace function access.has_factor_to_lose(u freehold.users) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select u.factors <> '{}'
    or access.current_password(u.id) is not null
      and exists (select from freehold.passkeys k where k.user_id = u.id)
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
  perform access.record(
    'MFA_DISABLED', 'update', 'user', u.id::text, null, jsonb_build_object('reason', 'reset', 'factors', methods), 40
  );
  perform access.enqueue_mail('mfa_reset', u.id, u.email);
end $$;
--> statement-breakpoint
-- Keeps a secret that the Worker encrypted, in place of one that was not enabled: {username, issuer}. Raises FH409 when
-- a secret is enabled, FH403 while the password must be changed.
create or replace function access.begin_totp(tenant_id uuid, system_key text, secret_encrypted text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.own_row(t);
begin
  if 'totp' = any (u.factors) then
    perform access.refuse('illegal_state', 'An authenticator app is set up already: switch it off first.');
  end if;
  insert into freehold.totp_factors as f (user_id, secret_encrypted)
  values (u.id, begin_totp.secret_encrypted)
  on conflict (user_id) do update
  set secret_encrypted = excluded.secret_encrypted, created_at = now(), enabled_at = null, last_step = null;
  return jsonb_build_object('username', u.username, 'issuer', t.name);
end $$;
--> statement-breakpoint
-- The admitted user, locked. Raises FH403 while their password must be changed.
create or replace function access.own_row(t freehold.tenant) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal() for no key update;
  if access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  end if;
  return u;
end $$;
--> statement-breakpoint
-- The secret of the admitted user that is not enabled yet, encrypted. Raises FH409.
create or replace function access.pending_totp(tenant_id uuid, system_key text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.own_row(t);
  f freehold.totp_factors;
begin
  select * into f from freehold.totp_factors x where x.user_id = u.id;
  if 'totp' = any (u.factors) then
    perform access.refuse('illegal_state', 'An authenticator app is set up already: switch it off first.');
  elsif f.user_id is null then
    perform access.refuse('illegal_state', 'Begin with auth/mfa/setup.');
  end if;
  return f.secret_encrypted;
end $$;
--> statement-breakpoint
-- Switches on the secret for which the Worker found the code right, at `step`: whether it did. False: another secret has
-- taken its place. `codes` are the SHA-256 (hex) of the backup codes.
create or replace function access.enable_totp(
  tenant_id uuid,
  system_key text,
  secret_encrypted text,
  step bigint,
  codes jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.own_row(t);
begin
  update freehold.totp_factors f
  set enabled_at = now(), last_step = step
  where f.user_id = u.id and f.enabled_at is null and f.secret_encrypted = enable_totp.secret_encrypted;
  if not found then
    return false;
  end if;
  update freehold.users x
  set factors = array_append(array_remove(x.factors, 'totp'), 'totp'), updated_at = now()
  where x.id = u.id;
  perform access.keep_backup_codes(u.id, codes);
  perform access.record('MFA_ENABLED', 'update', 'user', u.id::text, null, jsonb_build_object('factor', 'totp'));
  perform access.enqueue_mail('mfa_enabled', u.id, u.email);
  return true;
end $$;
--> statement-breakpoint
-- Uses a time step up, for which the code was right (null: for none). Whether it still counted.
create or replace function access.take_step(subject uuid, step bigint) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.totp_factors f set last_step = step
  where f.user_id = subject and f.enabled_at is not null and f.last_step < step;
  return found;
end $$;
--> statement-breakpoint
-- The second factor of a login, by a code or a backup code: what access.meet_challenge returns. `step` is the time step
-- for which the code is right, null for none; `backup` the SHA-256 of a backup code, null: a code was sent.
create or replace function access.verify_totp(
  tenant_id uuid,
  system_key text,
  challenge bytea,
  step bigint,
  backup text,
  refresh_hash bytea,
  request jsonb,
  former jsonb
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
    refresh_hash, request, former
  );
end $$;
--> statement-breakpoint
-- First half of a change that takes the password and a code: what access.begin_attempt returns, and {totp}, the
-- encrypted secret. Its failures have a lockout of their own, which a right password alone does not clear.
create or replace function access.begin_factor_change(tenant_id uuid, system_key text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal();
  if not 'totp' = any (u.factors) then
    perform access.refuse('illegal_state', 'No authenticator app is set up.');
  end if;
  return access.begin_attempt(
    t, 'factor:' || u.id, null, u.id, u.username, u.username, access.hash_parameters_of(u.id, u.username)
  )
    || jsonb_build_object('totp', (
      select f.secret_encrypted from freehold.totp_factors f where f.user_id = u.id and f.enabled_at is not null));
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
  perform access.drop_totp(u.id);
  perform access.record('MFA_DISABLED', 'update', 'user', u.id::text, null, jsonb_build_object('factor', 'totp'), 20);
  perform access.enqueue_mail('mfa_disabled', u.id, u.email);
  return 'changed';
end $$;
--> statement-breakpoint
-- Takes the authenticator app of a user away, and the backup codes when no other factor is left.
create or replace function access.drop_totp(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  delete from freehold.totp_factors f where f.user_id = subject;
  update freehold.users x
  set factors = array_remove(x.factors, 'totp'), updated_at = now()
  where x.id = subject
  returning x.* into u;
  if u.factors = '{}' then
    delete from freehold.backup_codes b where b.user_id = subject;
    delete from freehold.login_challenges c where c.user_id = subject;
  end if;
end $$;
--> statement-breakpoint
-- Sets the limits, {max_users, max_organizations, max_documents, limit_documents, max_api_keys, max_sessions}, where null
-- and a missing one are no limit; returns access.used(). What is not counted yet is counted, after whoever creates has
-- come to their end: five seconds, then this fails.
create or replace function access.set_limits(wanted jsonb) returns jsonb
language plpgsql volatile set lock_timeout = '5s' set search_path = pg_catalog, pg_temp as $$
declare
  counted text;
  wished integer;
  was access.limits;
begin
  -- Before any row is locked: whoever creates shares this lock, and then locks a row.
  if exists (
    select
    from unnest('{users,api_keys,sessions}'::text[]) n (name)
      left join access.limits l on l.name = n.name
    where l.most is distinct from (wanted ->> ('max_' || n.name))::integer
      and (n.name = 'sessions' or l.most is null or wanted ->> ('max_' || n.name) is null))
  then
    perform pg_advisory_xact_lock(hashtext('access.limits'));
  end if;
  foreach counted in array '{api_keys,documents,organizations,sessions,users}'::text[] loop
    wished := case
      when counted = 'documents' and not coalesce((wanted ->> 'limit_documents')::boolean, false) then null
      else (wanted ->> ('max_' || counted))::integer
    end;
    select * into was from access.limits l where l.name = counted;
    if wished is not distinct from was.most then
      continue;
    elsif wished is null and counted <> 'documents' then
      delete from access.limits l where l.name = counted;
    else
      insert into access.limits as l (name, most, used)
      values (counted, wished, case when was.name is null then access.counted_now(counted) else 0 end)
      on conflict on constraint limits_pkey do update set most = excluded.most;
    end if;
    if counted = 'sessions' then
      perform access.make_session_places(wished);
    end if;
  end loop;
  return access.used();
end $$;
--> statement-breakpoint
-- Counts from the rows themselves.
create or replace function access.counted_now(counted text) returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case counted
    -- The active users as all but the others, both of which an index counts.
    when 'users' then (select count(*) from freehold.users) - (select count(*) from freehold.users u where not u.is_active)
    when 'api_keys' then (
      select count(*) from freehold.api_keys k where k.revoked_at is null and coalesce(k.expires_at > now(), true))
    else 0
  end::integer
$$;
--> statement-breakpoint
-- {users, organizations, documents, api_keys, sessions}: how much of each there is. Sessions are counted where they are
-- limited (null: they are not).
create or replace function access.used() returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'users', coalesce((select l.used from access.limits l where l.name = 'users'), access.counted_now('users')),
    'organizations', 0,
    'documents', coalesce((select l.used from access.limits l where l.name = 'documents'), 0),
    'api_keys', access.counted_now('api_keys'),
    'sessions', (
      select (
        select count(*)
        from access.session_places p
          join freehold.sessions s on s.id = p.session_id
          cross join freehold.tenant t
        where s.ended_at is null
          and access.session_ends(s, t) > now())
      from access.limits l
      where l.name = 'sessions'))
$$;
--> statement-breakpoint
-- The limits of this tenant and what is used of them, and its licence.
create or replace function access.usage() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
begin
  if access.permission() is distinct from 'usage:read' then
    perform access.refuse('forbidden', 'Reading limits needs usage:read.');
  end if;
  select * into t from freehold.tenant;
  return jsonb_build_object(
    'limits', (
      select jsonb_object_agg('max_' || n.name, l.most)
      from unnest('{users,organizations,documents,api_keys,sessions}'::text[]) n (name)
        left join access.limits l on l.name = n.name),
    'used', access.used(),
    'licensed_until', to_char(t.licensed_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'read_only_from', to_char(t.read_only_from at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
end $$;
--> statement-breakpoint
-- Whether a tenant whose licence has ended may be asked for something with this permission: reading, taking everything
-- along, and ending what lets somebody in: a user, a session, a key. null is what everybody does for themselves: logging
-- out, a new password. Deactivating a user is asked for with user:update, so the request is looked at; that it does no
-- more is checked with the change (access.check_user_change).
create or replace function access.is_allowed_unlicensed(permission text, request jsonb default '{}') returns boolean
language sql immutable
return permission is null
  or permission ~ ':(read|export)$'
  or permission in ('user:delete', 'session:delete', 'api_key:delete')
  or permission = 'user:update'
    and coalesce(request ->> 'method' = 'POST' and request ->> 'path' ~ '^/api/v1/users/[^/]+/deactivate/?$', false);
--> statement-breakpoint
-- Refuses a creation by the Worker's login while the tenant can only be read, whatever it was admitted with.
create or replace function access.must_be_licensed() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from freehold.tenant t where t.read_only_from <= now())
    and not pg_has_role(session_user, 'freehold_owner', 'member')
  then
    perform access.refuse_unlicensed();
  end if;
end $$;
--> statement-breakpoint
-- FH40L is what the Worker calls license_expired (src/kernel/db.ts); the message is one that every release knows.
create or replace function access.refuse_unlicensed() returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    errcode = 'FH40L',
    message = 'forbidden',
    detail = 'The license of this tenant has expired: it can be read and exported, access can be ended, nothing else changed.';
end $$;
--> statement-breakpoint
-- Locks the counter of a limit, and returns it; null where there is no limit.
create or replace function access.lock_limit(counted text) returns access.limits
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  l access.limits;
begin
  perform pg_advisory_xact_lock_shared(hashtext('access.limits'));
  select * into l from access.limits x where x.name = counted for no key update;
  return l;
end $$;
--> statement-breakpoint
-- Before a user is inserted, whatever is locked for that.
create or replace function access.before_arriving() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.must_be_licensed(), access.lock_limit('users');
  return new;
end $$;
--> statement-breakpoint
-- Counts a user who becomes active, or no longer is.
create or replace function access.count_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  change integer := new.is_active::integer - case when tg_op = 'UPDATE' then old.is_active::integer else 0 end;
  l access.limits;
begin
  if change = 0 then
    return null;
  end if;
  l := access.lock_limit('users');
  if l.name is null then
    return null;
  end if;
  update access.limits x set used = x.used + change where x.name = l.name;
  if change > 0 and l.used + change + access.earlier_users() > l.most then
    perform access.refuse('limit_reached', format(
      'The limit max_users is reached: this tenant can have at most %s active users.', l.most));
  end if;
  return null;
end $$;
--> statement-breakpoint
-- How many users earlier parts of a dry run would have created (src/users/import.sql). Whoever sets that themselves has
-- less room.
create or replace function access.earlier_users() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(coalesce(nullif(current_setting('access.earlier_users', true), '')::integer, 0), 0)
$$;
--> statement-breakpoint
-- Whether a key is in the counter: not revoked, and not ended by the time up to which ends were taken off.
create or replace function access.is_counted_key(k freehold.api_keys, counted_to timestamptz) returns boolean
language sql immutable
return k.revoked_at is null and coalesce(k.expires_at > counted_to, true);
--> statement-breakpoint
-- Counts a key that is made, revoked, or given another end. One that ends by itself is taken off when there would be no
-- room otherwise. The successor of a key is counted, and never refused: the key that it replaces is about to end.
create or replace function access.count_api_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  l access.limits;
  change integer;
  ended integer;
begin
  if tg_op = 'INSERT' then
    perform access.must_be_licensed();
  end if;
  l := access.lock_limit('api_keys');
  if l.name is null then
    return null;
  end if;
  change := access.is_counted_key(new, l.counted_to)::integer
    - case when tg_op = 'UPDATE' then access.is_counted_key(old, l.counted_to)::integer else 0 end;
  if tg_op = 'INSERT' and l.used + change > l.most then
    select count(*) into ended
    from freehold.api_keys k
    where k.revoked_at is null
      and k.expires_at > l.counted_to
      and k.expires_at <= now();
    change := change - ended;
    l.counted_to := greatest(l.counted_to, now());
  end if;
  update access.limits x set used = x.used + change, counted_to = l.counted_to where x.name = l.name;
  -- A successor is beyond the limit for as long as its predecessor lives; its own successor is not.
  if tg_op = 'INSERT'
    and l.used + change > l.most
    and (new.rotated_from is null
      or exists (
        select
        from freehold.api_keys k
          join freehold.api_keys p on p.id = k.rotated_from
        where k.id = new.rotated_from
          and p.revoked_at is null
          and p.expires_at > now()))
  then
    perform access.refuse('limit_reached', format(
      'The limit max_api_keys is reached: this tenant can have at most %s API keys.', l.most));
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Counts documents that somebody else's program has made, and returns {id, documents, max_documents}: of this
-- count, all that were ever counted, and the limit, if they are limited.
create or replace function access.count_documents(made integer) returns table (id uuid, documents bigint, max_documents integer)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  counted uuid := gen_random_uuid();
  l access.limits;
begin
  if access.permission() is distinct from 'usage:create' then
    perform access.refuse('forbidden', 'Counting documents needs usage:create.');
  elsif made is null or made < 1 then
    perform access.refuse('invalid_request', 'must be at least 1', 'count');
  end if;
  perform pg_advisory_xact_lock_shared(hashtext('access.limits'));
  insert into access.limits as x (name, used)
  values ('documents', made)
  on conflict on constraint limits_pkey do update
  set used = x.used + made
  returning * into l;
  if l.used > l.most then
    perform access.refuse('limit_reached', format(
      'The limit max_documents is reached: of at most %s documents %s are counted.', l.most, l.used - made));
  end if;
  perform access.record('DOCUMENTS_COUNTED', 'create', 'usage', counted::text, null, jsonb_build_object('count', made));
  return query select counted, l.used, l.most;
end $$;
--> statement-breakpoint
-- When a session ends by itself.
create or replace function access.session_ends(s freehold.sessions, t freehold.tenant) returns timestamptz
language sql immutable
return least(s.expires_at, s.last_active_at + access.idle_limit(t));
--> statement-breakpoint
-- Takes a place for a new session, where sessions are limited. Refuses it when there is none.
create or replace function access.take_session_place(s freehold.sessions, t freehold.tenant) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most integer;
  p record;
  -- A session beyond the limit, which was set when there were more.
  beyond record;
  until timestamptz;
begin
  perform pg_advisory_xact_lock_shared(hashtext('access.limits'));
  select l.most into most from access.limits l where l.name = 'sessions';
  if most is null then
    return;
  end if;
  -- How long sessions may be idle may have changed before this lock was had.
  select * into t from freehold.tenant;
  loop
    select x.place, x.session_id
    into p
    from access.session_places x
    where x.free_from <= now()
      and x.place <= most
    order by x.free_from
    limit 1
    for update skip locked;
    if not found then
      perform access.refuse_session(most);
    end if;
    until := null;
    select access.session_ends(h, t)
    into until
    from freehold.sessions h
    where h.id = p.session_id
      and h.ended_at is null;
    if until > now() then
      update access.session_places x set free_from = until where x.place = p.place;
      -- Others are likely to live, too: one login does not look at them one by one.
      perform access.note_active_places(t);
    elsif exists (select from access.session_places x where x.place > most) then
      -- It moves in, if it still lives, and leaves no place.
      delete from access.session_places x
      where x.place = (select y.place from access.session_places y where y.place > most limit 1 for update skip locked)
      returning x.session_id, x.free_from into beyond;
      if beyond is null then
        perform access.refuse_session(most);
      end if;
      update access.session_places x
      set session_id = beyond.session_id, free_from = beyond.free_from
      where x.place = p.place;
    else
      update access.session_places x
      set session_id = s.id, free_from = access.session_ends(s, t)
      where x.place = p.place;
      return;
    end if;
  end loop;
end $$;
--> statement-breakpoint
-- After a login that was refused, and of which nothing is left: notes of places whose sessions were active since, so that
-- the next one need not look at them again.
create or replace function access.note_active_places(t freehold.tenant) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update access.session_places p
  set free_from = access.session_ends(s, t)
  from freehold.sessions s
  where s.id = p.session_id
    and s.ended_at is null
    and access.session_ends(s, t) > now()
    and p.place in (
      select x.place
      from access.session_places x
        join freehold.sessions h on h.id = x.session_id
      where x.free_from <= now()
        and h.ended_at is null
        and access.session_ends(h, t) > now()
      order by x.free_from
      limit 1000
      for update of x skip locked);
end $$;
--> statement-breakpoint
create or replace function access.refuse_session(most integer) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  perform access.refuse('limit_reached', format(
    'The limit max_sessions is reached: this tenant can have at most %s sessions at once.', most));
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
    and access.session_ends(s, t) > now();
  insert into access.session_places (place)
  select n from generate_series(1, most) n (n)
  on conflict do nothing;
end $$;
--> statement-breakpoint
-- Whoever ends a session leaves its place.
create or replace function access.leave_session_place() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(hashtext('access.limits'));
  update access.session_places p
  set session_id = null, free_from = '-infinity'
  where p.session_id = new.id;
  return null;
end $$;
--> statement-breakpoint
-- Sessions that end earlier than it was noted: their places are looked at when one is wanted.
create or replace function access.look_at_session_places() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(hashtext('access.limits'));
  update access.session_places p
  set free_from = now()
  where p.place in (select x.place from access.session_places x where x.free_from > now() for update skip locked);
  return null;
end $$;
--> statement-breakpoint
-- Sessions may be idle longer from now on: those that were idle too long until now, and whose place somebody else has, end
-- for good. Nobody takes a place meanwhile.
create or replace function access.end_idle_sessions() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext('access.limits'));
  if exists (select from access.limits l where l.name = 'sessions' and l.most is not null) then
    update freehold.sessions s
    set expires_at = s.last_active_at + access.idle_limit(old)
    where s.id in (
      select x.id
      from freehold.sessions x
      where x.ended_at is null
        and x.expires_at > now()
        and x.last_active_at <= now() - access.idle_limit(old)
        and not exists (select from access.session_places p where p.session_id = x.id)
      -- Whoever ends a session has it locked, and waits here for its place.
      for no key update skip locked);
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Whether a mail tells somebody that their password, address or second factor was changed, or that they have a new API
-- key, for the first time within an hour: whoever does that could use the other limits up before, so that nobody is told.
-- Such mails have a day's limit of their own.
create or replace function access.is_first_notice(made freehold.mails) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select made.kind in (
      'api_key_created', 'email_changed', 'mfa_disabled', 'mfa_enabled', 'mfa_reset',
      'passkey_added', 'passkey_removed', 'password_changed')
    and not exists (
      select
      from freehold.mails m
      where m.kind = made.kind
        and m.id <> made.id
        and access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
        and m.created_at > now() - interval '1 hour')
$$;
--> statement-breakpoint
-- Claims up to `at_most` mails that are due on the given channels, for a minute, and begins an attempt of each. The
-- attempt counts as failed until access.finish_mails says otherwise: a mail that makes its sender crash does not hold
-- up the others. With each is what it shows of the settings, `look`.
--
-- `name` is null for a registrant, and for a mail to an address that is not verified yet (`email_change`): its reader
-- must not see a text that a stranger chose.
create or replace function access.claim_mails(tenant_id uuid, system_key text, at_most integer, channels jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  claimed jsonb;
  tenant freehold.tenant := access.check_system(tenant_id, system_key);
begin
  with due as (
    select m.id
    from freehold.mails m
    where m.state = 'queued'
      and m.next_at <= now()
      and (m.lease_until is null or m.lease_until <= now())
      and channels ? m.channel
    order by m.next_at, m.created_at, m.id
    limit at_most
    for update skip locked
  ), taken as (
    update freehold.mails m
    set attempts = m.attempts + 1,
      lease_until = now() + interval '1 minute',
      next_at = access.retry_mail_at(m.attempts + 1)
    from due
    where m.id = due.id
    returning m.*
  ), tried as (
    insert into freehold.mail_attempts (id, mail_id)
    select gen_random_uuid(), t.id from taken t
    returning id, mail_id
  )
  select jsonb_agg(
    jsonb_build_object(
      'id', t.id,
      'attempt', a.id,
      'attempts', t.attempts,
      'kind', t.kind,
      'channel', t.channel,
      'recipient', t.recipient,
      'locale', t.locale,
      'data', t.data,
      'secrets_encrypted', t.secrets_encrypted,
      'trace_id', t.trace_id,
      'name', case when t.kind <> 'email_change' then coalesce(u.given_name, u.username) end,
      'timezone', u.timezone,
      'look', jsonb_build_object('name', tenant.name, 'accent_color', tenant.accent_color, 'links', tenant.links)
    )
    order by t.created_at, t.id
  )
  into claimed
  from taken t
  join tried a on a.mail_id = t.id
  left join freehold.users u on u.id = t.user_id;
  return coalesce(claimed, '[]');
end $$;
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
    or access.must_change(u, t)
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
  perform access.set_audit_actor(u.id, u.username, request);
  if k.id is not null then
    update freehold.api_keys x set revoked_at = now() where x.id = k.id and x.revoked_at is null;
  else
    update freehold.sessions x set ended_at = now(), ended_because = 'logout' where x.id = s.id and x.ended_at is null;
  end if;
  return true;
end $$;
--> statement-breakpoint
-- {user_id, public_key, rp_id}; null: there is no such passkey here.
create or replace function access.begin_passkey_login(tenant_id uuid, system_key text, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  return (
    select jsonb_build_object(
      'user_id', k.user_id,
      'public_key', encode(k.public_key, 'hex'),
      'rp_id', k.rp_id
    )
    from freehold.passkeys k
    where k.credential_id = presented
  );
end $$;
--> statement-breakpoint
-- Second half: what access.enter returns, or {outcome: refused}. `wrong`: why the answer was not verified; null: it was.
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
    return jsonb_build_object('outcome', 'refused');
  end if;
  -- RFC 8176: a key, somebody who was present, and that they were verified.
  return access.enter(
    u, t, refresh_hash, request, former, null, null, access.passkey_method(presented) || ' user mfa', 2,
    access.device_of(t, u.id, devices)
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
    when counter <= k.counter and greatest(counter, k.counter) > 0 then 'passkey_clone_suspected'
  end;
  if why is null then
    update freehold.passkeys x set counter = take_passkey.counter, last_used_at = now() where x.id = k.id;
  elsif why = 'passkey_clone_suspected' then
    perform access.record(
      'PASSKEY_CLONE_SUSPECTED', 'login', 'passkey', k.id::text,
      jsonb_build_object('counter', k.counter), jsonb_build_object('counter', counter, 'name', k.name), 80
    );
  end if;
  return why;
end $$;
--> statement-breakpoint
-- How RFC 8176 names a passkey: a key in software, which may be on several devices, or in hardware.
create or replace function access.passkey_method(presented bytea) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case when k.is_synced then 'swk' else 'hwk' end from freehold.passkeys k where k.credential_id = presented
$$;
--> statement-breakpoint
-- Spends a challenge: whether this is the first time. Of many at once the others wait here for the first.
create or replace function access.spend_challenge(challenge_hash bytea, expires_at timestamptz) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  insert into access.passkey_challenges (challenge_hash, expires_at)
  values (spend_challenge.challenge_hash, spend_challenge.expires_at)
  on conflict do nothing;
  return found;
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
  made uuid := gen_random_uuid();
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
  insert into freehold.passkeys (
    id, user_id, credential_id, public_key, counter, rp_id, name, aaguid, transports, is_synced
  )
  values (
    made,
    u.id,
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
  perform access.enqueue_mail('passkey_added', u.id, u.email, jsonb_build_object('passkey_name', passkey ->> 'name'));
  return made;
end $$;
--> statement-breakpoint
-- The last way in stays: a user without a password keeps one passkey. One removal of a user at a time, so that of two
-- passkeys that go at once one is the last.
create or replace function access.before_passkey_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return old;
  end if;
  perform access.must_be_licensed();
  perform from freehold.users u where u.id = old.user_id for no key update;
  if access.current_password(old.user_id) is null
    and not exists (select from freehold.passkeys k where k.user_id = old.user_id and k.id <> old.id)
  then
    perform access.refuse('illegal_state', 'This passkey is the only way into your account: add another one, or set a password.');
  end if;
  return old;
end $$;
--> statement-breakpoint
-- Mails the owner of a passkey that was removed.
create or replace function access.after_passkey_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.enqueue_mail('passkey_removed', u.id, u.email, jsonb_build_object('passkey_name', old.name))
  from freehold.users u
  where u.id = old.user_id;
  return null;
end $$;
--> statement-breakpoint
-- The second factor of a login, by a passkey: what access.enter returns, or {outcome: refused, mail}. `challenge` is that
-- of the login; the rest is as for access.finish_passkey_login. It counts as a wrong code does (access.meet_challenge).
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
  former jsonb
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
  return access.meet_challenge(
    t, challenge, c, why is null, access.passkey_method(presented) || ' user', why, refresh_hash, request, former
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
      (select count(*) from challenges),
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
-- Clears the lockouts of a user: those of logins, of whatever device or network, and those of changes.
create or replace function access.clear_failures(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.clear_lockout(x)
  from freehold.lockouts x
  where x.key in ('login:' || subject, 'change:' || subject, 'factor:' || subject) or x.parent = 'login:' || subject;
end $$;
--> statement-breakpoint
-- {name, accent_color, links, logo_etag, registration, policy}. Raises FH503 for another tenant or one that is off.
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
    'policy', access.policy_of(t)
  );
end $$;
--> statement-breakpoint
-- {content_type, etag, content}, the content in base64; null: there is none. Raises FH503 as above.
create or replace function access.logo(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_tenant(tenant_id);
  return (
    select jsonb_build_object(
      'content_type', l.content_type, 'etag', l.etag, 'content', translate(encode(l.content, 'base64'), e'\n', ''))
    from freehold.logo l);
end $$;
--> statement-breakpoint
-- The origins whose pages may call from a browser. A public endpoint: it tells a stranger what they could find out by
-- trying, and names no actor, because it writes nothing. Raises FH503 for another tenant or one that is off.
create or replace function access.origins(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  return to_jsonb(t.origins);
end $$;
--> statement-breakpoint
-- Refuses an update that sets a link which mails carry, unless the admitted user holds every permission at scope `all`,
-- by themselves and with this API key. The token in such a mail sets the password of whoever asked for it, and the page
-- that it leads to reads it: who chooses that page can become anybody. Taking a link away leads back to our pages.
create or replace function access.check_links(was freehold.tenant, is_now freehold.tenant) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from jsonb_each(is_now.links) n where n.value is distinct from was.links -> n.key)
    and exists (
      select from freehold.permissions p where p.deleted_at is null and p.name <> all (access.held_everywhere(null)))
  then
    perform access.refuse('forbidden',
      'Setting links needs every permission at scope all, because the tokens that set passwords go where links lead.');
  end if;
end $$;
--> statement-breakpoint
-- Notes since when a second factor is required: whoever is newly asked for one has all the days that are given for it.
-- Refuses roles that do not exist.
create or replace function access.note_required_factor(was freehold.tenant, is_now freehold.tenant) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  added text[] := array(
    select unnest(is_now.mfa_required_roles) except select unnest(was.mfa_required_roles));
  unknown text := (
    select a.id
    from unnest(added) a (id)
    where not exists (select from freehold.roles r where r.id::text = a.id and r.deleted_at is null)
    limit 1);
begin
  if unknown is not null then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', unknown), 'mfa_required_roles');
  end if;
  return case
    when not is_now.mfa_required and is_now.mfa_required_roles = '{}' then null
    when was.mfa_required_since is null or added <> '{}' or is_now.mfa_required and not was.mfa_required then now()
    else is_now.mfa_required_since
  end;
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
  new.mfa_required_since := access.note_required_factor(old, new);
  perform access.check_settings(old, new);
  if access.permission() = 'setting:update' then
    perform access.check_links(old, new);
  end if;
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
-- Raises FH409 where no app is set up.
create or replace function access.step_up_secret(tenant_id uuid, system_key text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  sealed text;
begin
  perform access.check_system(tenant_id, system_key);
  select f.secret_encrypted into sealed
  from freehold.totp_factors f
  where f.user_id = access.principal() and f.enabled_at is not null;
  if sealed is null then
    perform access.refuse('illegal_state', 'No authenticator app is set up.');
  end if;
  return sealed;
end $$;
--> statement-breakpoint
-- {outcome: ok, claims}, or {outcome: wrong | ended}. `step` and `backup` are as for access.verify_totp.
create or replace function access.step_up_by_code(tenant_id uuid, system_key text, step bigint, backup text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  guard text := 'factor:' || access.principal();
  g freehold.lockouts;
  u freehold.users;
  is_right boolean;
begin
  perform from freehold.lockouts x where x.key = guard for update;
  if not found then
    insert into freehold.lockouts as x (key) values (guard)
    on conflict (key) do update set key = x.key;
  end if;
  select * into strict u from freehold.users x where x.id = access.principal() for no key update;
  g := access.lockout_now(t, guard);
  if coalesce(g.locked_until > now(), false) or coalesce(g.failures, 0) >= t.max_failures then
    return access.stepped_up(t, u, null, 'locked');
  end if;
  is_right := case when backup is null then access.take_step(u.id, step) else access.take_backup_code(u.id, backup) end;
  if not is_right then
    perform access.count_failures(t, guard, null, 1);
    return access.stepped_up(t, u, null, case when backup is null then 'wrong_code' else 'wrong_backup_code' end);
  end if;
  return access.stepped_up(t, u, 'otp', null);
end $$;
--> statement-breakpoint
-- The same. The arguments are as for access.finish_passkey_login. Nobody guesses a key: nothing is counted.
create or replace function access.step_up_by_passkey(
  tenant_id uuid,
  system_key text,
  presented bytea,
  wrong text,
  challenge_hash bytea,
  challenge_expires_at timestamptz,
  counter bigint
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  is_new boolean := access.spend_challenge(challenge_hash, challenge_expires_at);
  u freehold.users;
  why text;
begin
  select * into strict u from freehold.users x where x.id = access.principal() for no key update;
  why := access.take_passkey(u, presented, wrong, is_new, counter);
  return access.stepped_up(t, u, access.passkey_method(presented) || ' user mfa', why);
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
    return jsonb_build_object('outcome', 'wrong');
  end if;
  s := access.raise_session(access.session(), method, 2);
  return case
    when s.id is null then jsonb_build_object('outcome', 'ended')
    else jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t))
  end;
end $$;
--> statement-breakpoint
-- First half: what access.begin_attempt returns, for the admitted user.
create or replace function access.begin_step_up(tenant_id uuid, system_key text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal();
  return access.begin_attempt(
    t, 'change:' || u.id, null, u.id, u.username, u.username, access.hash_parameters_of(u.id, u.username)
  );
end $$;
--> statement-breakpoint
-- Second half: {outcome: ok, claims}, or {outcome: wrong | ended}. Both are returned, so that the attempt stays counted.
create or replace function access.finish_step_up(tenant_id uuid, system_key text, attempt uuid, digest text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  s freehold.sessions;
begin
  if u.id is null or u.id is distinct from access.principal() then
    perform access.record('STEP_UP_FAILED', 'update', 'session', access.session()::text, null, null, 20);
    return jsonb_build_object('outcome', 'wrong');
  end if;
  s := access.raise_session(access.session(), 'pwd', 1);
  if s.id is null then
    return jsonb_build_object('outcome', 'ended');
  end if;
  return jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t));
end $$;
--> statement-breakpoint
-- Makes a session fresh: its user has just proven who they are by the methods `proven` (RFC 8176, with a space between
-- them). `factors` is how many that makes, with those that the session had; a level is kept, and methods add up. null: the
-- session has ended. The caller has locked the user's row. The audit shows it as STEP_UP (src/audit/audit.sql).
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
  where x.id = session and x.ended_at is null
  returning x.* into s;
  return s;
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
      set_config('access.earlier_users', coalesce(earlier ->> 'users', ''), true);
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
-- The username for an address: the wished one, unless somebody has it, is taking it, it is reserved, or one of `others`;
-- then the wished one with a suffix, which is the same whenever it is asked for.
create or replace function access.free_username(wished text, address text, others text[] default '{}') returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  candidate text := wished;
  tries integer := 0;
begin
  -- Whoever holds a name waits for no counter.
  perform access.lock_limit('users');
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
    -- Admitted to deactivate somebody, whatever it says that it does.
    elsif access.permission() = 'user:update'
      and (is_now.is_active or not changed <@ '{is_active,terminated_at}')
      and exists (select from freehold.tenant t where t.read_only_from <= now())
    then
      perform access.refuse_unlicensed();
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
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.audiences REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('audience', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.audiences REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('audience', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.audiences REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('audience', '{}', '{updated_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.passkeys REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('passkey', '{credential_id,public_key}', '{counter,last_used_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.passkeys REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('passkey', '{credential_id,public_key}', '{counter,last_used_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.passkeys REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('passkey', '{credential_id,public_key}', '{counter,last_used_at}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.logo REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('logo', '{content}', '{updated_at}', '{one}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.logo REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('logo', '{content}', '{updated_at}', '{one}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.logo REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('logo', '{content}', '{updated_at}', '{one}');
--> statement-breakpoint
create trigger after_arriving after insert or update of is_active, joined_at, terminated_at on freehold.users
  for each row execute function access.count_user();
--> statement-breakpoint
create trigger before_audience before insert or update on freehold.audiences
  for each row execute function access.before_audience();
--> statement-breakpoint
create trigger before_arriving before insert on freehold.users
  for each row execute function access.before_arriving();
--> statement-breakpoint
create trigger after_api_key_counted after insert or update of revoked_at, expires_at on freehold.api_keys
  for each row execute function access.count_api_key();
--> statement-breakpoint
create trigger leave_session_place after update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null) execute function access.leave_session_place();
--> statement-breakpoint
create trigger look_at_session_places after update of idle_days, idle_minutes on freehold.tenant
  for each row when (access.idle_limit(new) < access.idle_limit(old)) execute function access.look_at_session_places();
--> statement-breakpoint
create trigger end_idle_sessions after update of idle_days, idle_minutes on freehold.tenant
  for each row when (access.idle_limit(new) > access.idle_limit(old)) execute function access.end_idle_sessions();
--> statement-breakpoint
create trigger before_passkey_removal before delete on freehold.passkeys
  for each row execute function access.before_passkey_removal();
--> statement-breakpoint
create trigger after_passkey_removal after delete on freehold.passkeys
  for each row execute function access.after_passkey_removal();
--> statement-breakpoint
create policy read on freehold.audiences for select
  using ((( SELECT access.principal() AS principal) IS NOT NULL));
--> statement-breakpoint
create policy make on freehold.audiences for insert
  with check ((( SELECT (access.permission() = ANY ('{audience:create}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))));
--> statement-breakpoint
create policy change on freehold.audiences for update
  using ((( SELECT (access.permission() = ANY ('{audience:update}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))))
  with check (( SELECT (access.scope() = 'all'::access.scope)));
--> statement-breakpoint
create policy remove on freehold.audiences for delete
  using ((( SELECT (access.permission() = 'audience:delete'::text)) AND ( SELECT (access.scope() = 'all'::access.scope))));
--> statement-breakpoint
create policy read on freehold.logo for select
  using ((( SELECT access.principal() AS principal) IS NOT NULL));
--> statement-breakpoint
create policy make on freehold.logo for insert
  with check ((( SELECT (access.permission() = ANY ('{setting:update}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))));
--> statement-breakpoint
create policy change on freehold.logo for update
  using ((( SELECT (access.permission() = ANY ('{setting:update}'::text[]))) AND ( SELECT (access.scope() = 'all'::access.scope))))
  with check (( SELECT (access.scope() = 'all'::access.scope)));
--> statement-breakpoint
-- Not access.protect: passkeys are their owner's, whatever permission they were admitted with, and change in a session.
create policy read on freehold.passkeys for select using (user_id = (select access.principal()));
--> statement-breakpoint
create policy change on freehold.passkeys for update using (
  user_id = (select access.principal()) and (select access.session()) is not null
);
--> statement-breakpoint
create policy remove on freehold.passkeys for delete using (
  user_id = (select access.principal()) and (select access.session()) is not null
);
--> statement-breakpoint
create policy remove on freehold.logo for delete
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
--> statement-breakpoint
create trigger after_coming_or_going after insert or update of is_active, joined_at, terminated_at on freehold.users
  for each row execute function access.after_coming_or_going();
--> statement-breakpoint
revoke execute
  on function access.admit(uuid,jsonb,text,jsonb,boolean,integer,integer),
    access.after_passkey_removal(),
    access.asks_for_passkey(freehold.users,freehold.tenant),
    access.audience_permissions(uuid,freehold.tenant,text),
    access.backup_mac(uuid,text),
    access.before_arriving(),
    access.before_audience(),
    access.before_passkey_removal(),
    access.begin_factor_change(uuid,text),
    access.begin_login(uuid,text,text,jsonb,jsonb,boolean),
    access.begin_passkey_login(uuid,text,bytea),
    access.begin_step_up(uuid,text),
    access.begin_totp(uuid,text,text),
    access.challenge(freehold.users,bytea,jsonb,text,text,text,uuid),
    access.check_links(freehold.tenant,freehold.tenant),
    access.count_api_key(),
    access.count_days(integer,date),
    access.count_documents(integer),
    access.count_user(),
    access.counted_now(text),
    access.drop_totp(uuid),
    access.earlier_users(),
    access.enable_totp(uuid,text,text,bigint,jsonb),
    access.end_idle_sessions(),
    access.enter(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,text,integer,uuid),
    access.factor_due_at(freehold.users,freehold.tenant),
    access.factor_methods(freehold.users),
    access.finish_factor_change(uuid,text,uuid,text,bigint,text,jsonb),
    access.finish_login(uuid,text,uuid,text,text,bytea,jsonb,jsonb,text,text),
    access.finish_login_with_rehash(uuid,text,uuid,text,text,text,bytea,jsonb,jsonb,text,text),
    access.finish_passkey_login(uuid,text,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb,jsonb),
    access.finish_step_up(uuid,text,uuid,text),
    access.forget_factors(freehold.users),
    access.has_factor_to_lose(freehold.users),
    access.introspect(uuid,text,text,text,uuid,text),
    access.is_allowed_unlicensed(text,jsonb),
    access.is_audience(text),
    access.is_counted_key(freehold.api_keys,timestamp with time zone),
    access.keep_backup_codes(uuid,jsonb),
    access.leave_session_place(),
    access.lock_limit(text),
    access.login_guard(uuid,uuid,jsonb),
    access.logo(uuid),
    access.look(uuid),
    access.look_at_session_places(),
    access.make_session_places(integer),
    access.meet_challenge(freehold.tenant,bytea,freehold.login_challenges,boolean,text,text,bytea,jsonb,jsonb),
    access.must_be_licensed(),
    access.needs_factor(freehold.users,freehold.tenant),
    access.note_active_places(freehold.tenant),
    access.note_required_factor(freehold.tenant,freehold.tenant),
    access.open_challenge(freehold.tenant,bytea),
    access.open_session(freehold.users,freehold.tenant,bytea,jsonb,jsonb,text,text,integer),
    access.origins(uuid),
    access.own_row(freehold.tenant),
    access.passkey_method(bytea),
    access.pending_totp(uuid,text),
    access.raise_session(uuid,text,integer),
    access.refresh(uuid,text,bytea,bytea,jsonb,bytea,text,text),
    access.refuse_session(integer),
    access.refuse_unlicensed(),
    access.register_passkey(uuid,text,bytea,timestamp with time zone,jsonb),
    access.reset_factors(uuid),
    access.reset_factors_as_owner(text),
    access.revoke_token(uuid,text,text,text,uuid,jsonb),
    access.session_ends(freehold.sessions,freehold.tenant),
    access.set_limits(jsonb),
    access.spend_challenge(bytea,timestamp with time zone),
    access.step_up_by_code(uuid,text,bigint,text),
    access.step_up_by_passkey(uuid,text,bytea,text,bytea,timestamp with time zone,bigint),
    access.step_up_secret(uuid,text),
    access.stepped_up(freehold.tenant,freehold.users,text,text),
    access.take_backup_code(uuid,text),
    access.take_passkey(freehold.users,bytea,text,boolean,bigint),
    access.take_session_place(freehold.sessions,freehold.tenant),
    access.take_step(uuid,bigint),
    access.token_claims(freehold.users,freehold.sessions,freehold.tenant,text),
    access.token_permissions(uuid,text,text[]),
    access.usage(),
    access.used(),
    access.verify_passkey(uuid,text,bytea,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb),
    access.verify_totp(uuid,text,bytea,bigint,text,bytea,jsonb,jsonb)
  from public;
--> statement-breakpoint
grant delete, insert (id, identifier, name, token_permissions, token_permission_list), select, update (name, token_permissions, token_permission_list)
  on freehold.audiences
  to freehold_app;
--> statement-breakpoint
grant delete, select (id, user_id, credential_id, rp_id, name, aaguid, transports, is_synced, created_at, last_used_at), update (name)
  on freehold.passkeys
  to freehold_app;
--> statement-breakpoint
grant delete, insert (content_type, width, height, etag, content), select, update (content_type, width, height, etag, content, updated_at)
  on freehold.logo
  to freehold_app;
--> statement-breakpoint
grant update (token_permissions, token_permission_list, mfa_required, mfa_required_roles, mfa_grace_days, name, accent_color, links, origins)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.admit(uuid,jsonb,text,jsonb,boolean,integer,integer),
    access.begin_factor_change(uuid,text),
    access.begin_login(uuid,text,text,jsonb,jsonb,boolean),
    access.begin_passkey_login(uuid,text,bytea),
    access.begin_step_up(uuid,text),
    access.begin_totp(uuid,text,text),
    access.count_documents(integer),
    access.enable_totp(uuid,text,text,bigint,jsonb),
    access.finish_factor_change(uuid,text,uuid,text,bigint,text,jsonb),
    access.finish_login(uuid,text,uuid,text,text,bytea,jsonb,jsonb,text,text),
    access.finish_login_with_rehash(uuid,text,uuid,text,text,text,bytea,jsonb,jsonb,text,text),
    access.finish_passkey_login(uuid,text,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb,jsonb),
    access.finish_step_up(uuid,text,uuid,text),
    access.introspect(uuid,text,text,text,uuid,text),
    access.logo(uuid),
    access.look(uuid),
    access.origins(uuid),
    access.pending_totp(uuid,text),
    access.refresh(uuid,text,bytea,bytea,jsonb,bytea,text,text),
    access.register_passkey(uuid,text,bytea,timestamp with time zone,jsonb),
    access.reset_factors(uuid),
    access.revoke_token(uuid,text,text,text,uuid,jsonb),
    access.step_up_by_code(uuid,text,bigint,text),
    access.step_up_by_passkey(uuid,text,bytea,text,bytea,timestamp with time zone,bigint),
    access.step_up_secret(uuid,text),
    access.usage(),
    access.verify_passkey(uuid,text,bytea,bytea,text,bytea,timestamp with time zone,bigint,bytea,jsonb,jsonb),
    access.verify_totp(uuid,text,bytea,bigint,text,bytea,jsonb,jsonb)
  to freehold_app;
