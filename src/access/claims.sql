-- The signed claims of a transaction: who was admitted, for what, how far it reaches, and what the request says of
-- itself.
--
-- Threat: the login that the Worker uses can set any setting, so that it could name a principal of its choice. Claims
-- therefore count only with an HMAC over them, over this backend and over this transaction, keyed by a secret that
-- freehold_owner alone reads. access.admit signs; policies, triggers and verbs read with the functions below, which
-- return null when nobody was admitted or the signature is wrong. Public endpoints, which admit nobody, name an actor
-- for the audit instead: a setting of its own that no policy reads.

-- A new key, as the two padded keys of HMAC-SHA-256 (RFC 2104): with them sha256 is enough, so that no extension is
-- needed.
create function access.new_key(out inner_key bytea, out outer_key bytea)
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

-- Gives a database its own keys, once, when it belongs to a tenant: no migration does, so that a database that is
-- copied before holds none.
create procedure access.make_secrets()
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  insert into access.secrets (inner_key, outer_key, lasting_inner_key, lasting_outer_key)
  select c.inner_key, c.outer_key, l.inner_key, l.outer_key
  from access.new_key() c, access.new_key() l
  on conflict do nothing;
end $$;

-- Gives a database new keys for claims and proofs, and a new key of the system, by its hash; the former ones stay
-- accepted: for claims a minute, for proofs as long as an access token lives, of the system until the registry says
-- when it ends (src/tenants/lifecycle/rotation.ts). `known` is the hash of the key that the registry has, so that a
-- rotation that is repeated, or that comes late, changes nothing. Whether the database then knows `successor`.
create function access.rotate_keys(known bytea, successor bytea) returns boolean
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

-- HMAC-SHA-256 of a message. A query that calls it holds it inline.
create function access.hmac(inner_key bytea, outer_key bytea, message text) returns bytea
language sql stable
return sha256(outer_key || sha256(inner_key || convert_to(message, 'UTF8')));

-- The same under the key that is never rotated, for what must stay the same: salts and lockouts of unknown identifiers,
-- codes that were sent. A salt that changed would tell whose identifier is unknown.
create function access.mac(message text) returns bytea
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  k access.secrets;
begin
  select * into k from access.secrets;
  return access.hmac(
    coalesce(k.lasting_inner_key, k.inner_key), coalesce(k.lasting_outer_key, k.outer_key), message
  );
end $$;

-- What a signature of claims covers: them, this backend and this transaction, so that a copied one is worth nothing
-- elsewhere.
create function access.bound(claims text) returns text
language sql stable
return claims || '|' || pg_backend_pid() || '|' || extract(epoch from transaction_timestamp());

-- The claims of this transaction; null when nobody was admitted, or when the signature is not ours. A setting that
-- was used before and is no more is '' and not null. For a minute after a rotation the former key counts as well:
-- transactions that it signed are at work.
create function access.claims() returns jsonb
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

-- The admitted user.
create function access.principal() returns uuid
language sql stable
return (access.claims() ->> 'user_id')::uuid;

-- The session of the admitted user; null: an API key.
create function access.session() returns uuid
language sql stable
return (access.claims() ->> 'session_id')::uuid;

-- The API key that this transaction was admitted with; null: a session.
create function access.key() returns uuid
language sql stable
return (access.claims() ->> 'key_id')::uuid;

-- Who acts as the admitted user (src/impersonation); null: the user does.
create function access.impersonator() returns uuid
language sql stable
return (access.claims() ->> 'impersonator_id')::uuid;

-- The permission that this transaction was admitted with. Policies that let something be written compare it.
create function access.permission() returns text
language sql stable
return access.claims() ->> 'permission';

-- How far the admitted user reaches with that permission.
create function access.scope() returns access.scope
language sql stable
return (access.claims() ->> 'scope')::access.scope;

-- The units that the admitted user reaches with that permission, unless it reaches everything.
create function access.scope_unit_ids() returns uuid[]
language sql stable
return coalesce((access.claims() ->> 'units')::uuid[], '{}');

-- The users whose rows the admitted user reaches: themselves, and those who delegated the permission to them.
create function access.scope_owner_ids() returns uuid[]
language sql stable
return coalesce((access.claims() ->> 'owners')::uuid[], '{}');

-- Whether a list is read faster in its sort order, skipping rows out of scope, than unit by unit. Reading by unit
-- costs a page of rows for each unit in scope; skipping costs a row for each row out of scope. With n of N units in
-- scope they cost the same where n * n = N.
create function access.walks() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.scope() = 'all' or cardinality(access.scope_unit_ids()) ^ 2 > (select count(*) from freehold.units)
$$;

-- The permissions of the API key with which this user was admitted; null: nothing narrows what they hold.
create function access.key_permissions(subject uuid) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
begin
  if f ->> 'user_id' = subject::text then
    return (f ->> 'key_permissions')::text[];
  end if;
  return null;
end $$;

-- What a caller may say of a request, and nothing else: never who they are or how far they reach.
create function access.request_of(request jsonb) returns jsonb
language sql immutable
return jsonb_build_object(
  'address', left(request ->> 'address', 64),
  'agent', left(request ->> 'agent', 255),
  'method', left(request ->> 'method', 16),
  'path', left(request ->> 'path', 1024),
  'trace_id', left(request ->> 'trace_id', 64)
);

-- Names the actor for the audit while a public endpoint is at work. It admits nobody: no policy reads it.
create function access.set_audit_actor(
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

-- The actor for the audit, and what the request says of itself: the admitted user, else the one that a public
-- endpoint named, else nobody, which is the system. Of the system the trace id of its run is known, if it was set
-- (src/kernel/db.ts); nobody signs it, as it decides nothing.
create function access.actor() returns jsonb
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

grant usage on schema freehold, access to freehold_app;

-- What the functions above read; it holds what this transaction's login was told or said itself.
grant execute on function
  access.claims(),
  access.principal(),
  access.session(),
  access.key(),
  access.permission(),
  access.scope(),
  access.scope_unit_ids(),
  access.scope_owner_ids(),
  access.walks()
to freehold_app;
