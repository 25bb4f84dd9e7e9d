-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table access.counted_failures
--   alters table freehold.tenant
--   alters table access.secrets
--   alters table freehold.lockouts
--   alters table freehold.login_attempts
--   alters table access.purges
--   alters table freehold.passwords
-- Definitions:
--   creates 28 objects
--   replaces 31 objects
--   drops and creates 15 objects
--   drops function access.check_asked_names
--   drops function access.check_asked_users
--   drops function access.holds_more
--   drops function access.import_users
--   drops function access.record_import
--   drops function access.register
--   drops function access.too_many_requests
--   drops function access.verify_email

set local check_function_bodies = off;
--> statement-breakpoint
drop function access.check_asked_names(jsonb);
--> statement-breakpoint
drop function access.check_asked_users(uuid,jsonb);
--> statement-breakpoint
drop function access.holds_more(uuid,uuid);
--> statement-breakpoint
drop function access.import_users(jsonb,boolean);
--> statement-breakpoint
drop function access.record_import(jsonb);
--> statement-breakpoint
drop function access.register(uuid,text,bytea,jsonb,text,text,jsonb);
--> statement-breakpoint
drop function access.too_many_requests(uuid,text);
--> statement-breakpoint
drop function access.verify_email(uuid,text,bytea,bytea,text,jsonb);
--> statement-breakpoint
drop function access.begin_attempt(freehold.tenant,text,uuid,text,text);
--> statement-breakpoint
drop function access.begin_login(uuid,text,text);
--> statement-breakpoint
drop function access.begin_once(text,bytea,bytea);
--> statement-breakpoint
drop function access.count_failures(freehold.tenant,text,integer);
--> statement-breakpoint
drop function access.finish_admin_reset(uuid,text,uuid,text,jsonb,boolean,bytea,text);
--> statement-breakpoint
drop function access.finish_login(uuid,text,uuid,text,text,bytea,jsonb);
--> statement-breakpoint
drop function access.finish_login_with_rehash(uuid,text,uuid,text,text,text,bytea,jsonb);
--> statement-breakpoint
drop function access.finish_password_change(uuid,text,uuid,text,text,jsonb);
--> statement-breakpoint
drop function access.finish_reset(uuid,text,bytea,text,jsonb,jsonb);
--> statement-breakpoint
drop function access.proof_of(access.secrets,uuid);
--> statement-breakpoint
drop function access.hmac(access.secrets,text);
--> statement-breakpoint
drop function access.kept_answer(text,bytea,bytea);
--> statement-breakpoint
drop function access.refresh(uuid,text,bytea,bytea,jsonb);
--> statement-breakpoint
drop function access.send_token(freehold.users,text,text,bytea,integer,text,text);
--> statement-breakpoint
drop function access.set_recovered_password(freehold.users,text,boolean,text);
--> statement-breakpoint
CREATE TABLE "access"."counted_failures" (
  "hour" timestamp with time zone NOT NULL,
  "network" text NOT NULL,
  "seen" integer NOT NULL,
  "counts" jsonb DEFAULT '{}'::jsonb NOT NULL,
  CONSTRAINT "counted_failures_hour_network_pk" PRIMARY KEY("hour","network")
);
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" DROP CONSTRAINT "tenant_settings";
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ALTER COLUMN "password_days" SET DEFAULT 0;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ALTER COLUMN "password_min_length" SET DEFAULT 12;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ALTER COLUMN "password_upper" SET DEFAULT false;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ALTER COLUMN "password_lower" SET DEFAULT false;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ALTER COLUMN "password_digit" SET DEFAULT false;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ALTER COLUMN "password_special" SET DEFAULT false;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ALTER COLUMN "password_unique" SET DEFAULT 1;
--> statement-breakpoint
ALTER TABLE "access"."secrets" ADD COLUMN "former_inner_key" "bytea";
--> statement-breakpoint
ALTER TABLE "access"."secrets" ADD COLUMN "former_outer_key" "bytea";
--> statement-breakpoint
ALTER TABLE "access"."secrets" ADD COLUMN "rotated_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "access"."secrets" ADD COLUMN "lasting_inner_key" "bytea";
--> statement-breakpoint
ALTER TABLE "access"."secrets" ADD COLUMN "lasting_outer_key" "bytea";
--> statement-breakpoint
ALTER TABLE "access"."secrets" ADD COLUMN "former_system_hash" "bytea";
--> statement-breakpoint
ALTER TABLE "access"."secrets" ADD COLUMN "former_system_until" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."lockouts" ADD COLUMN "parent" text;
--> statement-breakpoint
ALTER TABLE "freehold"."login_attempts" ADD COLUMN "guard" text;
--> statement-breakpoint
ALTER TABLE "access"."purges" ADD COLUMN "failures_erased_to" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "idle_minutes" integer;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_breached" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "first_password_hours" integer DEFAULT 72 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "reset_link_minutes" integer DEFAULT 60 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "api_key_days" integer DEFAULT 365 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_grant" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."passwords" ADD COLUMN "is_first" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
CREATE INDEX "lockouts_parent" ON "freehold"."lockouts" USING btree ("parent");
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_settings" CHECK ("freehold"."tenant"."max_failures" between 1 and 100 and "freehold"."tenant"."lock_minutes" between 1 and 1440 and "freehold"."tenant"."idle_days" between 1 and 365
        and "freehold"."tenant"."session_days" between 1 and 365 and "freehold"."tenant"."max_sessions" between 1 and 1000 and "freehold"."tenant"."access_minutes" between 5 and 10080
        and "freehold"."tenant"."password_days" between 0 and 3650 and "freehold"."tenant"."password_warning_days" between 0 and 365 and "freehold"."tenant"."password_min_length" between 8 and 64
        and "freehold"."tenant"."password_max_length" between 64 and 1024 and "freehold"."tenant"."password_unique" between 1 and 32 and "freehold"."tenant"."password_history" between 0 and 24
        and "freehold"."tenant"."idle_minutes" between 15 and 525600 and "freehold"."tenant"."first_password_hours" between 1 and 720
        and "freehold"."tenant"."reset_link_minutes" between 15 and 1440 and "freehold"."tenant"."api_key_days" between 0 and 3650
        and "freehold"."tenant"."max_delegations" between 1 and 200 and "freehold"."tenant"."mail_per_recipient_hour" between 1 and 20 and "freehold"."tenant"."mail_per_day" between 1 and 50000);
--> statement-breakpoint
alter table access.counted_failures enable row level security;
--> statement-breakpoint
-- The same for the system (cron, and work after an answer), which shows a key from the registry. Only the hash of
-- that key is here, and after a rotation that of the former key, until it ends.
create or replace function access.check_system(tenant_id uuid, system_key text) returns freehold.tenant
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  shown bytea := sha256(convert_to(system_key, 'UTF8'));
begin
  if not exists (
    select from access.secrets s
    where s.system_hash = shown or s.former_system_hash = shown and s.former_system_until > now())
  then
    raise exception using errcode = 'FH403', message = 'forbidden';
  end if;
  return t;
end $$;
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
    set_config(
      'access.signature',
      encode(access.hmac(secret.inner_key, secret.outer_key, access.bound('claims:' || said)), 'hex'),
      true
    );
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
-- HMAC-SHA-256 of a message. A query that calls it holds it inline.
create or replace function access.hmac(inner_key bytea, outer_key bytea, message text) returns bytea
language sql stable
return sha256(outer_key || sha256(inner_key || convert_to(message, 'UTF8')));
--> statement-breakpoint
-- What a token carries beside the id of its session. Lists and the audit show the id; it lets nobody in by itself,
-- not even with the app login.
create or replace function access.proof_of(secret access.secrets, session uuid) returns text
language sql stable
return encode(access.hmac(secret.inner_key, secret.outer_key, 'session:' || session), 'hex');
--> statement-breakpoint
-- Whether a token carries the proof of this session. One of before a rotation does so for as long as a token lives,
-- and a minute more.
create or replace function access.is_proof(secret access.secrets, session uuid, shown text, access_minutes integer) returns boolean
language sql stable
return coalesce(
  shown = access.proof_of(secret, session)
  or secret.rotated_at > now() - make_interval(mins => access_minutes + 1)
    and shown = encode(access.hmac(secret.former_inner_key, secret.former_outer_key, 'session:' || session), 'hex'),
  false
);
--> statement-breakpoint
-- The API key of a hash (hex), if it works now and from the address of the request. Raises FH401 or FH40G token_invalid,
-- FH403 forbidden.
create or replace function access.authenticate_key(hash text, request jsonb) returns freehold.api_keys
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  k freehold.api_keys;
  -- One address, and no network.
  here inet := case when request ->> 'address' !~ '/' then access.network_of(request ->> 'address') end;
begin
  select * into k from freehold.api_keys x where x.key_hash = decode(hash, 'hex');
  if k.id is null or k.revoked_at is not null then
    -- A key that was never one of ours is a guess, which the Worker limits.
    raise exception using
      errcode = case when k.id is null then 'FH40G' else 'FH401' end,
      message = 'token_invalid',
      detail = 'There is no such key here, or it was revoked.';
  elsif k.expires_at <= now() then
    raise exception using errcode = 'FH401', message = 'token_invalid', detail = 'This key has expired.';
  elsif k.addresses <> '{}'
    and not exists (select from unnest(k.addresses) a (network) where here <<= a.network::inet)
  then
    perform access.refuse(
      'forbidden',
      format('This key does not work from %s.', coalesce(left(request ->> 'address', 64), 'an unknown address')));
  end if;
  return k;
end $$;
--> statement-breakpoint
-- A new key, as the two padded keys of HMAC-SHA-256 (RFC 2104): with them sha256 is enough, so that no extension is
-- needed.
create or replace function access.new_key(out inner_key bytea, out outer_key bytea)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  k bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
    || decode(repeat('00', 32), 'hex');
begin
  inner_key := k;
  outer_key := k;
  for n in 0..63 loop
    inner_key := set_byte(inner_key, n, get_byte(k, n) # 54);
    outer_key := set_byte(outer_key, n, get_byte(k, n) # 92);
  end loop;
end $$;
--> statement-breakpoint
-- Gives a database its own keys, once, when it belongs to a tenant: no migration does, so that a database that is
-- copied before holds none.
create or replace procedure access.make_secrets()
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  insert into access.secrets (inner_key, outer_key, lasting_inner_key, lasting_outer_key)
  select c.inner_key, c.outer_key, l.inner_key, l.outer_key
  from access.new_key() c, access.new_key() l
  on conflict do nothing;
end $$;
--> statement-breakpoint
-- Gives a database new keys for claims and proofs, and a new key of the system, by its hash; the former ones stay
-- accepted: for claims a minute, for proofs as long as an access token lives, of the system until the registry says
-- when it ends (src/tenants/lifecycle/rotation.ts). `known` is the hash of the key that the registry has, so that a
-- rotation that is repeated, or that comes late, changes nothing. Whether the database then knows `successor`.
create or replace function access.rotate_keys(known bytea, successor bytea) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update access.secrets s set
    former_inner_key = s.inner_key,
    former_outer_key = s.outer_key,
    inner_key = k.inner_key,
    outer_key = k.outer_key,
    -- A database that was made before keys were rotated used one key for everything.
    lasting_inner_key = coalesce(s.lasting_inner_key, s.inner_key),
    lasting_outer_key = coalesce(s.lasting_outer_key, s.outer_key),
    rotated_at = clock_timestamp(),
    system_hash = successor,
    former_system_hash = s.system_hash,
    former_system_until = 'infinity'
  from access.new_key() k
  where s.system_hash = known;
  return exists (select from access.secrets s where s.system_hash = successor);
end $$;
--> statement-breakpoint
-- The same under the key that is never rotated, for what must stay the same: salts and lockouts of unknown identifiers,
-- codes that were sent. A salt that changed would tell whose identifier is unknown.
create or replace function access.mac(message text) returns bytea
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  k access.secrets;
begin
  select * into k from access.secrets;
  return access.hmac(
    coalesce(k.lasting_inner_key, k.inner_key), coalesce(k.lasting_outer_key, k.outer_key), message
  );
end $$;
--> statement-breakpoint
-- The claims of this transaction; null when nobody was admitted, or when the signature is not ours. A setting that
-- was used before and is no more is '' and not null. For a minute after a rotation the former key counts as well:
-- transactions that it signed are at work.
create or replace function access.claims() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  said text := current_setting('access.claims', true);
  signature text := current_setting('access.signature', true);
  covered text;
  k access.secrets;
begin
  if said <> '' then
    select * into k from access.secrets;
    covered := access.bound('claims:' || said);
    if encode(access.hmac(k.inner_key, k.outer_key, covered), 'hex') = signature
      or k.rotated_at > clock_timestamp() - interval '1 minute'
        and encode(access.hmac(k.former_inner_key, k.former_outer_key, covered), 'hex') = signature
    then
      return said::jsonb;
    end if;
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Names the actor for the audit while a public endpoint is at work. It admits nobody: no policy reads it.
create or replace function access.set_audit_actor(subject uuid, user_name text, request jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  said text := jsonb_build_object('user_id', subject, 'user_name', left(user_name, 255), 'request', request)::text;
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
-- The actor for the audit, and what the request says of itself: the admitted user, else the one that a public
-- endpoint named, else nobody, which is the system. Of the system the trace id of its run is known, if it was set
-- (src/kernel/db.ts); nobody signs it, as it decides nothing.
create or replace function access.actor() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  said text := current_setting('access.actor', true);
  signature text := current_setting('access.actor_signature', true);
  covered text;
  k access.secrets;
begin
  if f is null and said <> '' then
    select * into k from access.secrets;
    covered := access.bound('actor:' || said);
    if encode(access.hmac(k.inner_key, k.outer_key, covered), 'hex') = signature
      or k.rotated_at > clock_timestamp() - interval '1 minute'
        and encode(access.hmac(k.former_inner_key, k.former_outer_key, covered), 'hex') = signature
    then
      f := said::jsonb;
    end if;
  end if;
  return coalesce(
    f - 'request' || access.request_of(f -> 'request'),
    jsonb_strip_nulls(jsonb_build_object('trace_id', left(nullif(current_setting('access.trace_id', true), ''), 64)))
  );
end $$;
--> statement-breakpoint
-- Mails the owner of a new key, also of one that replaces another. The mail names the key and holds nothing secret.
create or replace function access.after_new_api_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.enqueue_mail('api_key_created', u.id, u.email, jsonb_build_object('key_name', new.name, 'prefix', new.prefix))
  from freehold.users u
  where u.id = new.user_id;
  return null;
end $$;
--> statement-breakpoint
-- Revokes all keys of a user whose row is locked. One that is being made waits for that lock, and is refused when its
-- session has ended meanwhile (access.before_api_key). Keys are locked in the order of access.count_key_uses.
create or replace function access.revoke_keys_of(subject uuid) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  with held as materialized (
    select k.id
    from freehold.api_keys k
    where k.user_id = subject and k.revoked_at is null
    order by k.id
    for no key update
  )
  update freehold.api_keys k set revoked_at = now() from held h where k.id = h.id
$$;
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
-- Erases details for good, and returns how many. That somebody acted stays, and an entry says which details were erased
-- and by whom: for each 1,000 one, whose own detail names them in `ids` and whose resource_id says between which moments
-- they were written, so that src/audit/verify.ts finds it. Ids without a detail are passed over, and entries that say
-- this: what proves an erasure is not erased. Entries of earlier releases are about one detail, their resource_id.
create or replace function access.erase_detail(log_ids uuid[]) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  there uuid[] := array(
    select d.log_id
    from freehold.audit_detail d
    join freehold.audit_log l on l.id = d.log_id
    where d.log_id = any (log_ids) and l.activity_type <> 'AUDIT_ERASED'
    for update of d
  );
  e record;
begin
  if cardinality(there) > 0 then
    select array_agg(s.span order by s.part) as spans, array_agg(s.named order by s.part) as named into e
    from (
      select
        p.part,
        to_char(min(p.at) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '/'
          || to_char(max(p.at) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as span,
        jsonb_build_object('ids', jsonb_agg(p.id order by p.at, p.id)) as named
      from (
        select l.id, l.at, (row_number() over (order by l.at, l.id) - 1) / 1000 as part
        from freehold.audit_log l
        where l.id = any (there)
      ) p
      group by p.part
    ) s;
    perform access.write_audit(access.actor(), 'AUDIT_ERASED', 'erase', 'audit_detail', 0, e.spans, null, e.named);
    delete from freehold.audit_detail d where d.log_id = any (there);
  end if;
  return cardinality(there);
end $$;
--> statement-breakpoint
-- Refuses to delete a detail without an entry of the same transaction that names it.
create or replace function access.refuse_detail_change() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if exists (
    select
    from gone g
    where g.log_id::text not in (
      select jsonb_array_elements_text(d.after -> 'ids')
      from freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
      where l.activity_type = 'AUDIT_ERASED'
        and l.checkpoint is null
        and l.xid = pg_current_xact_id()::text::bigint
    )
  ) then
    raise exception using errcode = 'FH403', message = 'forbidden',
      detail = 'DELETE of freehold.audit_detail: a detail is erased by access.erase_detail alone.';
  end if;
  return null;
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
        when resource = 'session' and c.is_now ->> 'ended_because' in ('logout', 'replaced') then 'LOGOUT'
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
-- The network of an address: itself, or the /64 of an IPv6 address (as in src/http/rate-limit.ts).
create or replace function access.failing_network(address text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    case family(a.here) when 4 then host(a.here) when 6 then network(set_masklen(a.here, 64))::text end,
    'unknown')
  from (select access.network_of(address)) as a (here)
$$;
--> statement-breakpoint
-- Records a failure of the actor (access.set_audit_actor). `is_stranger`: nothing proves who it was, and beyond 20 from
-- one network in an hour it is counted as one of its `kind`, and no entry. Takes the row of the network last: its caller
-- locks nothing after.
create or replace function access.record_failure(
  activity text,
  action text,
  resource text,
  resource_id text,
  kind text,
  is_stranger boolean,
  after jsonb,
  risk integer
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  so_far integer;
begin
  -- An attempt that nobody made is a stranger's.
  kind := coalesce(kind, 'unknown');
  is_stranger := coalesce(is_stranger, true);
  insert into access.counted_failures as f (hour, network, seen)
  values (
    date_trunc('hour', now(), 'UTC'),
    access.failing_network(access.actor() ->> 'address'),
    is_stranger::integer
  )
  on conflict (hour, network) do update
  set seen = f.seen + is_stranger::integer,
    counts = case
      when is_stranger and f.seen >= 20 then
        f.counts || jsonb_build_object(kind, coalesce((f.counts ->> kind)::integer, 0) + 1)
      else f.counts
    end
  returning f.seen into so_far;
  if not is_stranger or so_far <= 20 then
    perform access.record(
      activity, record_failure.action, resource, record_failure.resource_id, null, record_failure.after, risk
    );
  end if;
end $$;
--> statement-breakpoint
-- Records that a refresh token was refused: of a user's session, or of nobody's. Returns what access.refresh answers.
create or replace function access.refused_refresh(meant freehold.users, session uuid, request jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.set_audit_actor(meant.id, meant.username, request);
  perform access.record_failure(
    'ACCESS_REFUSED', 'refresh', 'session', session::text, 'refresh_invalid', true,
    jsonb_build_object('code', 'refresh_invalid'), 10
  );
  return jsonb_build_object('outcome', 'invalid');
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
  end if;
  perform access.set_audit_actor(subject.id, subject.username, request);
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
-- Writes an entry for each network and hour of which failures were counted, once the hour is over, and drops their row.
-- At most so many rows; returns how many. A failure that is counted later, because its transaction began within the
-- hour, makes a new row, and the next call writes it. Rows that are held are left to the next call.
create or replace function access.close_counted_failures(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  c access.counted_failures;
  closed integer := 0;
begin
  for c in
    delete from access.counted_failures x
    where (x.hour, x.network) in (
      select y.hour, y.network
      from access.counted_failures y
      where y.hour < date_trunc('hour', now(), 'UTC')
      order by y.hour, y.network
      limit at_most
      for update skip locked
    )
    returning x.*
  loop
    closed := closed + 1;
    if c.counts <> '{}' then
      perform access.write_audit(
        access.actor() || jsonb_build_object('address', nullif(c.network, 'unknown')),
        'SUSPICIOUS_ACTIVITY',
        'count',
        'request',
        50,
        array[null::text],
        null,
        array[jsonb_build_object(
          'reason', 'counted',
          'network', c.network,
          'from', to_char(c.hour at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
          'until', to_char((c.hour + interval '1 hour') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
          'counts', c.counts
        )]
      );
    end if;
  end loop;
  return closed;
end $$;
--> statement-breakpoint
-- When the next of them is due; null: nothing was counted.
create or replace function access.counted_failures_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(f.hour) + interval '1 hour' from access.counted_failures f where f.counts <> '{}'
$$;
--> statement-breakpoint
-- Erases the details of strangers' failures of between two moments, the oldest first. At most so many; returns how many
-- were found. That something failed stays.
create or replace function access.erase_failures(at_most integer, since timestamptz, until timestamptz) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  old uuid[] := array(
    select l.id
    from freehold.audit_log l
    join freehold.audit_detail d on d.log_id = l.id
    where l.checkpoint is not null
      and l.activity_type in ('LOGIN_FAILED', 'ACCESS_REFUSED', 'SUSPICIOUS_ACTIVITY')
      and l.at >= since
      and l.at < until
      and (
        l.user_id is null
        or coalesce(d.after ->> 'reason', d.after ->> 'code')
          in ('locked', 'rate_limited', 'token_invalid', 'refresh_invalid')
      )
    order by l.at
    limit at_most
  );
begin
  perform access.erase_detail(old);
  -- Not what it returns: of two calls at once the second erases nothing, and is not at the end.
  return cardinality(old);
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
  insert into freehold.login_attempts (id, key, guard, user_id, identifier, hash_parameters, state)
  values (attempt, person, guard, subject, named, hash_parameters, state);
  return jsonb_build_object(
    'state', 'pending',
    'attempt', attempt,
    'hash_parameters', hash_parameters,
    'retry_after', retry_after
  );
end $$;
--> statement-breakpoint
-- Counts the attempts at a person that were not finished in time as failures. The person's lockout is locked.
create or replace function access.fail_lost(t freehold.tenant, person text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  lost record;
begin
  for lost in
    with failed as (
      update freehold.login_attempts a set state = 'failed'
      where a.key = person and a.state = 'pending' and a.created_at <= now() - interval '30 seconds'
      returning a.guard
    )
    select f.guard, count(*)::integer as times from failed f group by f.guard
  loop
    perform access.count_failures(t, person, lost.guard, lost.times);
  end loop;
end $$;
--> statement-breakpoint
-- Finishes an attempt, once: compares the digest (32 bytes, base64 without padding) with the user's hash, counts a
-- failure or clears the lockout of its guard. Returns the user when the password was right, and leaves their row locked.
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
  perform access.clear_lockout(x) from freehold.lockouts x where x.key = coalesce(a.guard, a.key);
  return u;
end $$;
--> statement-breakpoint
-- The token of a device for the current password of a user; null: they have none. The row's id stands for the
-- password: it stays when the hash alone is renewed.
create or replace function access.device_token(t freehold.tenant, subject uuid, device uuid, made_at bigint) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('%s.%s.%s', device, made_at, encode(
    access.mac(format('device:%s:%s:%s:%s:%s', t.id, subject, p.id, device, made_at)), 'hex'))
  from freehold.passwords p
  where p.user_id = subject and p.replaced_at is null
$$;
--> statement-breakpoint
-- The device that one of these tokens (an array) proves for a user; null: none of them does.
create or replace function access.device_of(t freehold.tenant, subject uuid, tokens jsonb) returns uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select s.parts[1]::uuid
  from jsonb_array_elements_text(tokens) said (token)
  cross join lateral regexp_match(
    said.token, '^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})[.]([0-9]{10})[.][0-9a-f]{64}$') s (parts)
  where to_timestamp(s.parts[2]::bigint) > now() - interval '30 days'
    and said.token = access.device_token(t, subject, s.parts[1]::uuid, s.parts[2]::bigint)
  limit 1
$$;
--> statement-breakpoint
-- {password_grant}: whether the OAuth 2 password grant is offered. Raises FH503 for another tenant or one that is off.
create or replace function access.metadata(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  return jsonb_build_object('password_grant', t.password_grant);
end $$;
--> statement-breakpoint
-- The network of a stranger: an IPv4 address or the /64 of an IPv6 address, as in src/http/rate-limit.ts. Requests
-- without an address are one network.
create or replace function access.login_network(address text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  a inet := access.network_of(address);
begin
  return coalesce(case family(a) when 4 then host(a) else host(network(set_masklen(a, 64))) end, 'unknown');
end $$;
--> statement-breakpoint
-- A lockout as it stands now; what has run out is cleared.
create or replace function access.lockout_now(t freehold.tenant, guard text) returns freehold.lockouts
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
begin
  select * into g from freehold.lockouts x where x.key = guard;
  if g.locked_until <= now()
    or (g.locked_until is null and g.failed_at <= now() - make_interval(mins => t.lock_minutes))
  then
    return access.clear_lockout(g);
  end if;
  return g;
end $$;
--> statement-breakpoint
-- Clears a lockout. Most have nothing to clear. The row that is locked for others stays.
create or replace function access.clear_lockout(g freehold.lockouts) returns freehold.lockouts
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if g.parent is not null then
    delete from freehold.lockouts x where x.key = g.key;
    return null;
  elsif g.failures > 0 or g.failed_at is not null or g.locked_until is not null then
    update freehold.lockouts x set failures = 0, failed_at = null, locked_until = null
    where x.key = g.key
    returning x.* into g;
  end if;
  return g;
end $$;
--> statement-breakpoint
-- How many failures of all strangers at one person are too many. It takes ten networks to get there.
create or replace function access.most_of_strangers(t freehold.tenant) returns integer
language sql immutable
return 10 * t.max_failures;
--> statement-breakpoint
-- Counts failures on a guard (null: on the person's row itself), and those of a stranger on the person's row, too. Too
-- many of them lock it, and a mail tells the user. The person's row is locked.
create or replace function access.count_failures(t freehold.tenant, person text, guard text, times integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  lock_end timestamptz := now() + make_interval(mins => t.lock_minutes);
  is_stranger boolean := coalesce(starts_with(guard, person || ':'), false);
  g freehold.lockouts;
  w freehold.lockouts;
begin
  insert into freehold.lockouts as x (key, parent, failures, failed_at, locked_until)
  values (
    coalesce(guard, person),
    case when guard is not null then person end,
    times,
    now(),
    case when times >= t.max_failures then lock_end end
  )
  on conflict (key) do update
  set failures = x.failures + times,
    failed_at = now(),
    locked_until = case when x.failures + times >= t.max_failures then lock_end else x.locked_until end
  returning x.* into g;
  if is_stranger then
    -- Of all strangers, the failures since the first one within lock_minutes, so that a few now and then add up to
    -- nothing.
    update freehold.lockouts x
    set failures = x.failures + times,
      failed_at = coalesce(x.failed_at, now()),
      locked_until = case
        when x.failures + times >= access.most_of_strangers(t) then lock_end
        else x.locked_until
      end
    where x.key = person
    returning x.* into w;
  end if;
  if person like 'login:%' then
    perform access.tell_locked(
      person,
      g,
      g.failures >= t.max_failures and g.failures - times < t.max_failures,
      w.failures >= access.most_of_strangers(t) and w.failures - times < access.most_of_strangers(t),
      lock_end
    );
  end if;
end $$;
--> statement-breakpoint
-- Mails a user that a guard of theirs, or all strangers, were just locked: once while strangers are locked in several
-- networks, and once more when all are; for a device of theirs always.
create or replace function access.tell_locked(
  person text,
  g freehold.lockouts,
  is_locked boolean,
  is_locked_widely boolean,
  until timestamptz
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  is_device boolean := g.key like 'device:%';
begin
  if is_locked_widely
    or (
      is_locked
      and (
        is_device
        or not exists (
          select
          from freehold.lockouts x
          where x.parent = person and x.key <> g.key and x.locked_until > now() and starts_with(x.key, person || ':')
        )
      )
    )
  then
    perform access.enqueue_mail(
      case when is_device then 'device_locked' else 'account_locked' end,
      u.id,
      u.email,
      jsonb_strip_nulls(jsonb_build_object(
        'until', until,
        'network', case when not is_device then substr(g.key, length(person) + 2) end
      ))
    )
    from freehold.users u
    where u.id = substr(person, 7)::uuid and access.is_present(u);
  end if;
end $$;
--> statement-breakpoint
-- First half: what access.begin_attempt returns, the same for an unknown identifier. `devices` are tokens of known
-- devices, an array: with a valid one of this user the attempt is of that device, else of a stranger. A user who is not
-- active costs no hash of another system. The audit names the user and not what was typed. The previous release sends
-- neither `devices` nor `request`.
create or replace function access.begin_login(
  tenant_id uuid,
  system_key text,
  identifier text,
  devices jsonb default '[]',
  request jsonb default '{}'
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  person text;
begin
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
-- mail, is_known} or {outcome: no_role | first_password_expired}. `is_known`, whether there is such a user, is for the
-- Worker's log alone. When the user has too many sessions, the oldest end. `renewed` is a new hash of the same password,
-- in place of the one that was compared. `former` holds the hashes of the refresh tokens that the browser has in cookies,
-- by account: the session of this user's ends, because this one takes its cookies' place. The previous release does not
-- send it.
create or replace function access.finish_login(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  renewed text,
  refresh_hash bytea,
  request jsonb,
  former jsonb default '{}'
) returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  a freehold.login_attempts;
  s freehold.sessions;
  surplus uuid[];
  why text;
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
  if not access.has_role(u.id) then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'no_role'), 10
    );
    return jsonb_build_object('outcome', 'no_role');
  end if;
  -- The password was right, so that this tells a stranger nothing.
  if u.must_change_password and access.first_password_expiry(u.id, t) <= now() then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'first_password_expired'), 20
    );
    return jsonb_build_object('outcome', 'first_password_expired');
  end if;
  if renewed is not null then
    update freehold.passwords p set password_hash = renewed
    where p.user_id = u.id and p.replaced_at is null and p.password_hash = access.stored_hash(a.hash_parameters, digest);
  end if;
  if former ? u.id::text then
    update freehold.sessions x set ended_at = now(), ended_because = 'replaced'
    where x.user_id = u.id
      and x.ended_at is null
      and x.id = (select l.session_id from freehold.refresh_tokens l where l.token_hash = (former ->> u.id::text)::bytea);
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
      and y.last_active_at > now() - access.idle_limit(t)
    order by y.created_at desc, y.id
    offset coalesce(u.max_sessions, t.max_sessions) - 1
  );
  if surplus <> '{}' then
    update freehold.sessions x set ended_at = now(), ended_because = 'limit' where x.id = any (surplus);
  end if;
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
  values (refresh_hash, s.id, s.device, s.expires_at);
  return jsonb_build_object(
    'outcome', 'ok',
    'claims', access.token_claims(u, s, t),
    'device_token', access.device_token(
      t,
      u.id,
      coalesce(substring(a.guard from '^device:[^:]+:(.+)$')::uuid, gen_random_uuid()),
      floor(extract(epoch from now()))::bigint
    )
  );
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
  former jsonb default '{}'
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
    return access.finish_login(tenant_id, system_key, attempt, renewed, null, refresh_hash, request, former);
  end if;
  return access.finish_login(
    tenant_id,
    system_key,
    attempt,
    digest,
    case when is_meant then access.stored_hash(finish_login_with_rehash.hash_parameters, renewed) end,
    refresh_hash,
    request,
    former
  );
end $$;
--> statement-breakpoint
-- Whether hash parameters of ours are others with more iterations after them (src/passwords/hash.ts), and so cost more.
create or replace function access.is_extension(longer text, shorter text) returns boolean
language sql immutable
return starts_with(shorter, '$pbkdf2-sha256-chain$')
  and starts_with(longer, regexp_replace(shorter, '[$][^$]*$', '') || '+r=')
  and substring(longer from '[$][^$]*$') = substring(shorter from '[$][^$]*$');
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
  return access.begin_attempt(
    t, 'change:' || u.id, null, u.id, u.username, u.username, access.hash_parameters_of(u.id, u.username)
  )
    || jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    );
end $$;
--> statement-breakpoint
-- Second half: `wrong` (the current password), `expired` (it is a first password whose time is over), `used` (the new
-- one is in the history), or `changed`. Without a new hash, when the new password breaks a rule, it only finishes the
-- attempt. `digests` are those of the new password, by hash parameters. `revoke_keys`: the user's API keys end with it.
create or replace function access.finish_password_change(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  new_hash text,
  digests jsonb,
  revoke_keys boolean default false
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
begin
  if u.id is null or u.id is distinct from access.principal() then
    perform access.record('PASSWORD_CHANGE_FAILED', 'update', 'user', access.principal()::text, null, null, 20);
    return 'wrong';
  elsif access.first_password_expiry(u.id, t) <= now() then
    return 'expired';
  elsif access.was_used(u.id, t, digests) then
    return 'used';
  elsif new_hash is not null then
    perform access.replace_password(u.id, new_hash, false, 'password_change', access.session());
    if revoke_keys then
      perform access.revoke_keys_of(u.id);
    end if;
    perform access.enqueue_mail('password_changed', u.id, u.email);
  end if;
  return 'changed';
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
end $$;
--> statement-breakpoint
-- When the first password of a user stops working; null: they have chosen one of their own.
create or replace function access.first_password_expiry(subject uuid, t freehold.tenant) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select p.created_at + make_interval(hours => t.first_password_hours)
  from freehold.passwords p
  where p.user_id = subject and p.replaced_at is null and p.is_first
$$;
--> statement-breakpoint
-- When a user's password expires; null: never. A first password stops working then, any other must be changed.
create or replace function access.password_expiry(u freehold.users, t freehold.tenant) returns timestamptz
language sql stable
return least(
  case when t.password_days > 0 then u.password_changed_at + make_interval(days => t.password_days) end,
  case when u.must_change_password then access.first_password_expiry(u.id, t) end);
--> statement-breakpoint
-- {outcome: ok, claims, is_other} | {outcome: invalid | reused | inactive}. `is_other`: the successor is
-- `other_successor`. Of several requests at once the first makes the successor, and the others find it. A deactivated
-- user is told `inactive` even though the session ended with the deactivation.
create or replace function access.refresh(
  tenant_id uuid,
  system_key text,
  presented bytea,
  successor bytea,
  request jsonb,
  other_successor bytea default null
) returns jsonb
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
      return access.refused_refresh(u, s.id, request);
    end if;
    select * into next_link from freehold.refresh_tokens l where l.token_hash = r.successor_hash;
    if r.successor_hash <> successor and r.successor_hash is distinct from other_successor
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
    return access.refused_refresh(u, null, request);
  end if;
  return jsonb_build_object(
    'outcome', 'ok',
    'claims', access.token_claims(u, s, t),
    'is_other', coalesce(r.successor_hash = other_successor, false)
  );
end $$;
--> statement-breakpoint
-- The answer that was kept for this request: {principal, resource, secrets_encrypted}; null: none. Raises FH422 when
-- the key was sent with another request. `other_hash` is the same request's under the Worker's other key: its keys were
-- rotated meanwhile.
create or replace function access.kept_answer(route text, key_hash bytea, request_hash bytea, other_hash bytea default null)
returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  k access.kept_answers;
begin
  select * into k
  from access.kept_answers x
  where x.id = access.answer_id(route, key_hash) and x.created_at > now() - interval '24 hours';
  if k.id is null then
    return null;
  elsif k.request_hash <> kept_answer.request_hash and k.request_hash is distinct from other_hash then
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
create or replace function access.begin_once(route text, key_hash bytea, request_hash bytea, other_hash bytea default null)
returns void
language plpgsql volatile security definer set lock_timeout = '250ms' set search_path = pg_catalog, pg_temp as $$
declare
  kept json;
begin
  begin
    perform pg_advisory_xact_lock(hashtextextended('once:' || encode(access.answer_id(route, key_hash), 'hex'), 0));
  exception when lock_not_available then
    perform access.refuse('illegal_state', 'A request with this Idempotency-Key is being answered: repeat it in a moment.');
  end;
  kept := access.kept_answer(route, key_hash, request_hash, other_hash);
  if kept is not null then
    raise exception using errcode = 'FR200', message = 'answered_before', table = kept::text;
  end if;
end $$;
--> statement-breakpoint
-- Refuses the request for several fields at once: [{field, said}].
create or replace function access.refuse_fields(faults jsonb) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  said text;
  fields text;
begin
  select string_agg(f.value ->> 'said', e'\n' order by f.place), string_agg(f.value ->> 'field', e'\n' order by f.place)
  into said, fields
  from jsonb_array_elements(faults) with ordinality f (value, place);
  raise exception using errcode = 'FH400', message = 'invalid_request', detail = said, hint = fields;
end $$;
--> statement-breakpoint
-- Whether anybody can cause a mail of this kind for anybody: it takes an address and no login.
create or replace function access.is_strangers_mail(kind text) returns boolean
language sql immutable
return kind in ('register', 'register_known', 'email_verify', 'password_reset', 'account_locked', 'device_locked');
--> statement-breakpoint
-- Whether a mail tells somebody that their password or address was changed, or that they have a new API key, for the
-- first time within an hour: whoever does that could use the other limits up before, so that nobody is told. Such mails
-- have a day's limit of their own.
create or replace function access.is_first_notice(made freehold.mails) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select made.kind in ('api_key_created', 'email_changed', 'password_changed')
    and not exists (
      select
      from freehold.mails m
      where m.kind = made.kind
        and m.id <> made.id
        and access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
        and m.created_at > now() - interval '1 hour')
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
    perform access.send_token(u, 'email', address, token_hash, interval '24 hours', 'email_change', secrets_encrypted);
  end if;
  perform access.record(
    'EMAIL_CHANGE_REQUESTED', 'update', 'user', u.id::text, null, jsonb_build_object('email', address), 20
  );
  return 'done';
end $$;
--> statement-breakpoint
-- Somebody says that they forgot their password: a token, for as long as the tenant's settings say (reset_link_minutes).
-- Returns whether there is a mail to deliver, which no caller outside is told.
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
    perform access.send_token(
      u, 'reset', u.email, token_hash, access.reset_link_life(t), 'password_reset', secrets_encrypted);
  end if;
  perform access.wait_as_if_mailed();
  perform access.record('PASSWORD_RESET_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return access.has_enqueued_mail();
end $$;
--> statement-breakpoint
-- Sets the new password: `done`, `used` (it is in the history; the token stays valid) or `invalid` (the token).
-- `revoke_keys`: the user's API keys end with it. The previous release does not send it, here and below.
create or replace function access.finish_reset(
  tenant_id uuid,
  system_key text,
  presented bytea,
  new_hash text,
  digests jsonb,
  request jsonb,
  revoke_keys boolean default false
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
  perform access.set_recovered_password(u, new_hash, false, revoke_keys, 'password_reset');
  -- The token was read in a mail, which proves the address that the mail went to.
  update freehold.users x set email_verified = true
  where x.id = u.id
    and not x.email_verified
    and x.email = (select k.target from freehold.one_time_tokens k where k.token_hash = presented);
  perform access.enqueue_mail('password_changed', u.id, u.email);
  return 'done';
end $$;
--> statement-breakpoint
-- Second half: sets the password, which the user may have to change, revokes their API keys where `revoke_keys` says so,
-- and mails them a link to set their own: `done` or `used` (it is in the history).
create or replace function access.finish_admin_reset(
  tenant_id uuid,
  system_key text,
  subject uuid,
  new_hash text,
  digests jsonb,
  must_change boolean,
  token_hash bytea,
  secrets_encrypted text,
  revoke_keys boolean default false
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
  perform access.set_recovered_password(u, new_hash, must_change, revoke_keys, 'reset_by_administrator');
  if access.is_present(u) then
    perform access.send_token(
      u, 'reset', u.email, token_hash, access.reset_link_life(t), 'password_reset_by_admin', secrets_encrypted);
  end if;
  return 'done';
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
    perform access.send_token(
      u, 'reset', u.email, token_hash, access.reset_link_life(t), 'password_reset_link', secrets_encrypted);
  end if;
  perform access.record('PASSWORD_RESET_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return jsonb_build_object('user_id', u.id, 'must_change_password', u.must_change_password);
end $$;
--> statement-breakpoint
-- How long a mailed link to set a password works, whoever asked for it.
create or replace function access.reset_link_life(t freehold.tenant) returns interval
language sql immutable
return make_interval(mins => t.reset_link_minutes);
--> statement-breakpoint
-- Sets a password without a check of the one before it: the lockouts are cleared and all sessions end, and with
-- `revoke_keys` all API keys.
create or replace function access.set_recovered_password(
  u freehold.users,
  new_hash text,
  must_change boolean,
  revoke_keys boolean,
  because text
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.clear_failures(u.id);
  perform access.replace_password(u.id, new_hash, must_change, because, null);
  if revoke_keys then
    perform access.revoke_keys_of(u.id);
  end if;
  perform access.record(
    'PASSWORD_RESET', 'update', 'user', u.id::text, null, jsonb_build_object('because', because), 30
  );
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
      perform access.send_token(u, 'email', u.email, token_hash, interval '24 hours', 'email_verify', secrets_encrypted);
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
-- Enqueues a mail with a token for a user whose row is locked, and stores the token, unless the mail is dropped. The mail
-- knows when the token expires. Of the tokens that set a password only the newest works.
create or replace function access.send_token(
  u freehold.users,
  token_kind text,
  target text,
  token_hash bytea,
  lifetime interval,
  mail text,
  secrets_encrypted text
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  until timestamptz := now() + lifetime;
begin
  if access.enqueue_mail(mail, u.id, target, jsonb_build_object('expires_at', until), secrets_encrypted) is not null then
    -- The lock on the user keeps another token from being made, or one of these from being spent, meanwhile.
    update freehold.one_time_tokens k set used_at = now()
    where k.user_id = u.id and k.kind = token_kind and k.kind = 'reset' and k.used_at is null;
    insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at)
    values (token_hash, token_kind, u.id, target, until);
  end if;
end $$;
--> statement-breakpoint
-- Clears the lockouts of a user: those of logins, of whatever device or network, and that of changes.
create or replace function access.clear_failures(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.clear_lockout(x)
  from freehold.lockouts x
  where x.key in ('login:' || subject, 'change:' || subject) or x.parent = 'login:' || subject;
end $$;
--> statement-breakpoint
-- The same for the owner of the database, who is the system in the audit: the user with this address, or all users who
-- are locked out (null). Returns their addresses; none: there is no such user. One who is not locked out is unlocked, too.
create or replace function access.unlock_as_owner(address text) returns setof text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  for u in
    select x.*
    from freehold.users x
    where x.email = address
      or (
        address is null
        and exists (
          select
          from freehold.lockouts g
          where g.locked_until > now()
            and (g.key in ('login:' || x.id, 'change:' || x.id) or g.parent = 'login:' || x.id)
        )
      )
    order by x.id
  loop
    perform access.lock_login(u.id), access.clear_failures(u.id);
    perform access.record('USER_UNLOCKED', 'update', 'user', u.id::text, null, null);
    return next u.email;
  end loop;
end $$;
--> statement-breakpoint
-- How long a session may be without a request. Activity is noted at most once a minute, so that a session ends up to a
-- minute before that and never after it.
create or replace function access.idle_limit(t freehold.tenant) returns interval
language sql immutable
return coalesce(make_interval(mins => t.idle_minutes), make_interval(days => t.idle_days));
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
  if faults is not null then
    perform access.refuse_fields(faults);
  end if;
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
  perform access.check_settings(old, new);
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
-- The first password of a user that this transaction created: only then, and only once. Its user must change it, and it
-- works for as long as the tenant's settings say (first_password_hours).
create or replace function access.first_password(subject uuid, password_hash text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:create'
    or not exists (select from freehold.users u where u.id = subject and u.created_at = now() and u.must_change_password)
    or exists (select from freehold.passwords p where p.user_id = subject) then
    perform access.refuse('forbidden', 'A first password can only be set while the user is created.');
  end if;
  insert into freehold.passwords (id, user_id, password_hash, is_first)
  values (gen_random_uuid(), subject, first_password.password_hash, true);
end $$;
--> statement-breakpoint
-- Locks a username until the end of the transaction; false: another transaction is about to take it.
create or replace function access.lock_username(name text) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select pg_try_advisory_xact_lock(access.username_lock(name))
$$;
--> statement-breakpoint
-- The key of that lock.
create or replace function access.username_lock(name text) returns bigint
language sql immutable
return hashtextextended('freehold.users.username:' || name, 0);
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
create trigger after_new_api_key after insert on freehold.api_keys
  for each row execute function access.after_new_api_key();
--> statement-breakpoint
revoke execute
  on function access.after_new_api_key(),
    access.begin_attempt(freehold.tenant,text,text,uuid,text,text,text),
    access.begin_login(uuid,text,text,jsonb,jsonb),
    access.begin_once(text,bytea,bytea,bytea),
    access.check_settings(freehold.tenant,freehold.tenant),
    access.close_counted_failures(integer),
    access.count_failures(freehold.tenant,text,text,integer),
    access.counted_failures_due(),
    access.device_of(freehold.tenant,uuid,jsonb),
    access.device_token(freehold.tenant,uuid,uuid,bigint),
    access.erase_failures(integer,timestamp with time zone,timestamp with time zone),
    access.fail_lost(freehold.tenant,text),
    access.failing_network(text),
    access.finish_admin_reset(uuid,text,uuid,text,jsonb,boolean,bytea,text,boolean),
    access.finish_login(uuid,text,uuid,text,text,bytea,jsonb,jsonb),
    access.finish_login_with_rehash(uuid,text,uuid,text,text,text,bytea,jsonb,jsonb),
    access.finish_password_change(uuid,text,uuid,text,text,jsonb,boolean),
    access.finish_reset(uuid,text,bytea,text,jsonb,jsonb,boolean),
    access.first_password_expiry(uuid,freehold.tenant),
    access.hmac(bytea,bytea,text),
    access.idle_limit(freehold.tenant),
    access.is_extension(text,text),
    access.is_proof(access.secrets,uuid,text,integer),
    access.kept_answer(text,bytea,bytea,bytea),
    access.lockout_now(freehold.tenant,text),
    access.login_network(text),
    access.metadata(uuid),
    access.most_of_strangers(freehold.tenant),
    access.new_key(),
    access.proof_of(access.secrets,uuid),
    access.record_failure(text,text,text,text,text,boolean,jsonb,integer),
    access.refresh(uuid,text,bytea,bytea,jsonb,bytea),
    access.refuse_fields(jsonb),
    access.refused_refresh(freehold.users,uuid,jsonb),
    access.reset_link_life(freehold.tenant),
    access.revoke_keys_of(uuid),
    access.rotate_keys(bytea,bytea),
    access.send_token(freehold.users,text,text,bytea,interval,text,text),
    access.set_recovered_password(freehold.users,text,boolean,boolean,text),
    access.tell_locked(text,freehold.lockouts,boolean,boolean,timestamp with time zone),
    access.unlock_as_owner(text),
    access.username_lock(text)
  from public;
--> statement-breakpoint
grant update (idle_minutes, password_breached, first_password_hours, reset_link_minutes, api_key_days, password_grant)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.begin_login(uuid,text,text,jsonb,jsonb),
    access.begin_once(text,bytea,bytea,bytea),
    access.finish_admin_reset(uuid,text,uuid,text,jsonb,boolean,bytea,text,boolean),
    access.finish_login(uuid,text,uuid,text,text,bytea,jsonb,jsonb),
    access.finish_login_with_rehash(uuid,text,uuid,text,text,text,bytea,jsonb,jsonb),
    access.finish_password_change(uuid,text,uuid,text,text,jsonb,boolean),
    access.finish_reset(uuid,text,bytea,text,jsonb,jsonb,boolean),
    access.idle_limit(freehold.tenant),
    access.kept_answer(text,bytea,bytea,bytea),
    access.metadata(uuid),
    access.refresh(uuid,text,bytea,bytea,jsonb,bytea)
  to freehold_app;
