-- The signed claims of a transaction: who was admitted, for what, how far it reaches, and what the request says of
-- itself.
--
-- Threat: the login that the Worker uses can set any setting, so that it could name a principal of its choice. Claims
-- therefore count only with an HMAC over them, over this backend and over this transaction, keyed by a secret that
-- freehold_owner alone reads. access.admit signs; policies, triggers and verbs read with the functions below, which
-- return null when nobody was admitted or the signature is wrong. Public endpoints, which admit nobody, name an actor
-- for the audit instead: a setting of its own that no policy reads.

-- Gives a database its own key, once, when it belongs to a tenant: no migration does, so that a database that is
-- copied before holds none. HMAC-SHA-256 (RFC 2104) needs sha256 alone when the two padded keys are kept, so that no
-- extension is needed.
create procedure access.make_secrets()
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
    || decode(repeat('00', 32), 'hex');
  i bytea := k;
  o bytea := k;
begin
  for n in 0..63 loop
    i := set_byte(i, n, get_byte(k, n) # 54);
    o := set_byte(o, n, get_byte(k, n) # 92);
  end loop;
  insert into access.secrets (inner_key, outer_key) values (i, o) on conflict do nothing;
end $$;

-- HMAC-SHA-256 of a message under a database's padded keys. A query that calls it holds it inline.
create function access.hmac(k access.secrets, message text) returns bytea
language sql stable
return sha256(k.outer_key || sha256(k.inner_key || convert_to(message, 'UTF8')));

-- The same under this database's keys.
create function access.mac(message text) returns bytea
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  k access.secrets;
begin
  select * into k from access.secrets;
  return access.hmac(k, message);
end $$;

-- What a signature of claims covers: them, this backend and this transaction, so that a copied one is worth nothing
-- elsewhere.
create function access.bound(claims text) returns text
language sql stable
return claims || '|' || pg_backend_pid() || '|' || extract(epoch from transaction_timestamp());

-- The claims of this transaction; null when nobody was admitted, or when the signature is not ours. A setting that
-- was used before and is no more is '' and not null.
create function access.claims() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  said text := current_setting('access.claims', true);
  k access.secrets;
begin
  if said <> '' then
    select * into k from access.secrets;
    if encode(access.hmac(k, access.bound('claims:' || said)), 'hex') = current_setting('access.signature', true) then
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
create function access.set_audit_actor(subject uuid, user_name text, request jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  said text := jsonb_build_object('user_id', subject, 'user_name', left(user_name, 255), 'request', request)::text;
begin
  perform
    set_config('access.actor', said, true),
    set_config('access.actor_signature', encode(access.mac(access.bound('actor:' || said)), 'hex'), true);
end $$;

-- The actor for the audit, and what the request says of itself: the admitted user, else the one that a public
-- endpoint named, else nobody, which is the system. Of the system the trace id of its run is known, if it was set
-- (src/kernel/db.ts); nobody signs it, as it decides nothing.
create function access.actor() returns jsonb
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
