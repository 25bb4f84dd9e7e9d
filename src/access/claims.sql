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

-- HMAC-SHA-256 of a message under the database's key.
create function access.mac(message text) returns bytea
language sql stable set search_path = pg_catalog, pg_temp as $$
  select sha256(s.outer_key || sha256(s.inner_key || convert_to(message, 'UTF8')))
  from access.secrets s
$$;

-- The signature of claims. It covers this backend and this transaction, so that a copied one is worth nothing
-- elsewhere.
create function access.signature_of(claims text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select encode(
    access.mac('claims:' || claims || '|' || pg_backend_pid() || '|' || extract(epoch from transaction_timestamp())),
    'hex')
$$;

-- Signs the claims of this transaction. Only access.admit calls it: every policy believes what is signed here.
create function access.sign_claims(claims jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform
    set_config('access.claims', claims::text, true),
    set_config('access.signature', access.signature_of(claims::text), true);
end $$;

-- The claims of this transaction; null when nobody was admitted, or when the signature is not ours. A setting that
-- was used before and is no more is '' and not null.
create function access.claims() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  said text := nullif(current_setting('access.claims', true), '');
begin
  if said is null or access.signature_of(said) is distinct from current_setting('access.signature', true) then
    return null;
  end if;
  return said::jsonb;
end $$;

-- The admitted user.
create function access.principal() returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.claims() ->> 'user_id')::uuid
$$;

-- The session of the admitted user; null: an API key.
create function access.session() returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.claims() ->> 'session_id')::uuid
$$;

-- The API key that this transaction was admitted with; null: a session.
create function access.key() returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.claims() ->> 'key_id')::uuid
$$;

-- The permission that this transaction was admitted with. Policies that let something be written compare it.
create function access.permission() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.claims() ->> 'permission'
$$;

-- How far the admitted user reaches with that permission.
create function access.scope() returns access.scope
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.claims() ->> 'scope')::access.scope
$$;

-- The units that the admitted user reaches with that permission, unless it reaches everything.
create function access.scope_unit_ids() returns uuid[]
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select array(select x::uuid from jsonb_array_elements_text(access.claims() -> 'units') x)
$$;

-- The users whose rows the admitted user reaches: themselves, and those who delegated the permission to them.
create function access.scope_owner_ids() returns uuid[]
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select array(select x::uuid from jsonb_array_elements_text(access.claims() -> 'owners') x)
$$;

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
  f jsonb;
begin
  -- During the admission, which asks most often, nothing is signed yet.
  if coalesce(current_setting('access.claims', true), '') = '' then
    return null;
  end if;
  f := access.claims();
  if f ? 'key_permissions' and f ->> 'user_id' = subject::text then
    return array(select jsonb_array_elements_text(f -> 'key_permissions'));
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
  claims text := (access.request_of(request) || jsonb_build_object('user_id', subject, 'user_name', left(user_name, 255)))::text;
begin
  perform
    set_config('access.actor', claims, true),
    set_config('access.actor_signature', access.signature_of('actor:' || claims), true);
end $$;

-- The actor for the audit: the admitted user, else the one that a public endpoint named, else nobody, which is the
-- system.
create function access.actor() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  said text := nullif(current_setting('access.actor', true), '');
begin
  return coalesce(
    access.claims(),
    case when access.signature_of('actor:' || said) = current_setting('access.actor_signature', true) then said::jsonb end,
    '{}'
  );
end $$;

grant usage on schema freehold, access to freehold_app;

grant execute on function
  access.principal(),
  access.session(),
  access.key(),
  access.permission(),
  access.scope(),
  access.scope_unit_ids(),
  access.scope_owner_ids(),
  access.walks()
to freehold_app;
