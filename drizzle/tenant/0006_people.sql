-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table freehold.external_identities
--   creates table access.external_tokens
--   creates table freehold.providers
-- Definitions:
--   creates 33 objects
--   replaces function access.before_passkey_removal
--   replaces function access.is_first_notice
--   replaces function access.look
--   replaces function access.must_change
--   replaces function access.password_expiry
--   replaces function access.purge
--   replaces function access.require_reach

set local check_function_bodies = off;
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
ALTER TABLE "freehold"."external_identities" ADD CONSTRAINT "external_identities_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."external_identities" ADD CONSTRAINT "external_identities_provider_id_providers_id_fk" FOREIGN KEY ("provider_id") REFERENCES "freehold"."providers"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE UNIQUE INDEX "external_identities_of_provider" ON "freehold"."external_identities" USING btree ("provider_id","issuer","external_id");
--> statement-breakpoint
CREATE INDEX "external_identities_user" ON "freehold"."external_identities" USING btree ("user_id","created_at");
--> statement-breakpoint
CREATE INDEX "external_tokens_expired" ON "access"."external_tokens" USING btree ("expires_at");
--> statement-breakpoint
CREATE UNIQUE INDEX "providers_name" ON "freehold"."providers" USING btree ("name");
--> statement-breakpoint
CREATE INDEX "providers_sorted" ON "freehold"."providers" USING btree ("label","id");
--> statement-breakpoint
alter table freehold.external_identities enable row level security;
--> statement-breakpoint
alter table access.external_tokens enable row level security;
--> statement-breakpoint
alter table freehold.providers enable row level security;
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
  roles := array(select r from freehold.roles r where r.id = any (given) and r.deleted_at is null and r.is_active order by r.name);
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
    and not exists (select from freehold.passkeys k where k.user_id = old.user_id)
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
-- Whether a mail tells somebody that their password, address or second factor was changed, or that they have a new API
-- key, for the first time within an hour: whoever does that could use the other limits up before, so that nobody is told.
-- Such mails have a day's limit of their own.
create or replace function access.is_first_notice(made freehold.mails) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select made.kind in (
      'api_key_created', 'email_changed', 'identity_added', 'identity_removed', 'mfa_disabled', 'mfa_enabled', 'mfa_reset',
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
-- The last way in stays: a user without a password and without an identity elsewhere keeps one passkey. One removal of a user at a time, so that of two
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
    and not access.has_identity(old.user_id, null)
  then
    perform access.refuse('illegal_state', 'This passkey is the only way into your account: add another one, or set a password.');
  end if;
  return old;
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
      'A provider that links by e-mail, or whose addresses or second factors are trusted, needs every permission at scope all, because it decides who somebody is.');
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
-- {name, accent_color, links, logo_etag, registration, providers, policy}. Raises FH503 for another tenant or one that is off.
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
    'providers', access.login_providers(),
    'policy', access.policy_of(t)
  );
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
revoke execute
  on function access.add_identity(freehold.providers,freehold.users,jsonb),
    access.after_identity_removal(),
    access.before_identity_removal(),
    access.before_provider(),
    access.before_provider_removal(),
    access.begin_external_login(uuid,text,text),
    access.check_provider_power(freehold.providers,freehold.providers),
    access.check_provider_roles(freehold.providers),
    access.default_role(freehold.providers),
    access.external_user(freehold.tenant,freehold.providers,jsonb,jsonb),
    access.finish_external_login(uuid,text,uuid,timestamp with time zone,text,jsonb,bytea,timestamp with time zone,bytea,jsonb,jsonb,jsonb),
    access.has_identity(uuid,uuid),
    access.is_administrative(uuid),
    access.link_identity(uuid,text,uuid,timestamp with time zone,jsonb,bytea,timestamp with time zone),
    access.login_providers(),
    access.new_external_user(freehold.tenant,freehold.providers,jsonb,text,jsonb),
    access.spend_external_token(bytea,timestamp with time zone)
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
grant execute
  on function access.begin_external_login(uuid,text,text),
    access.finish_external_login(uuid,text,uuid,timestamp with time zone,text,jsonb,bytea,timestamp with time zone,bytea,jsonb,jsonb,jsonb),
    access.link_identity(uuid,text,uuid,timestamp with time zone,jsonb,bytea,timestamp with time zone)
  to freehold_app;
