-- Gives a database its own key, once. Not part of the migration, so that a database that is copied before it belongs to anybody holds none.
-- HMAC-SHA-256 (RFC 2104) is made of sha256 alone: the two padded keys are kept, so that no extension is needed.
create procedure access.make_secrets() language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) || decode(repeat('00', 32), 'hex');
  i bytea := k;
  o bytea := k;
begin
  for n in 0..63 loop
    i := set_byte(i, n, get_byte(k, n) # 54);
    o := set_byte(o, n, get_byte(k, n) # 92);
  end loop;
  insert into access.secrets (inner_key, outer_key) values (i, o) on conflict do nothing;
end $$;

create function access.mac(message text) returns bytea language sql stable set search_path = pg_catalog, pg_temp as $$
  select pg_catalog.sha256(s.outer_key || pg_catalog.sha256(s.inner_key || pg_catalog.convert_to(message, 'UTF8'))) from access.secrets s
$$;

-- What the seal covers beside the facts: this backend and this transaction, so that a copied seal is worth nothing elsewhere.
create function access.seal_of(facts text) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
  select pg_catalog.encode(access.mac('seal:' || facts || '|' || pg_catalog.pg_backend_pid() || '|' || extract(epoch from pg_catalog.transaction_timestamp())), 'hex')
$$;

-- Only access.admit may call this: what is sealed here is believed by every policy.
create function access.seal(facts jsonb) returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('access.facts', facts::text, true), pg_catalog.set_config('access.seal', access.seal_of(facts::text), true);
end $$;

-- The admitted facts of this transaction, or null when nobody was admitted or the seal is not ours.
create function access.facts() returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  said text := nullif(pg_catalog.current_setting('access.facts', true), '');
begin
  if said is null or access.seal_of(said) is distinct from pg_catalog.current_setting('access.seal', true) then
    return null;
  end if;
  return said::jsonb;
end $$;

create function access.principal() returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.facts() ->> 'user_id')::uuid
$$;

create function access.session() returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.facts() ->> 'session_id')::uuid
$$;

create function access.scope() returns text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.facts() ->> 'scope'
$$;

-- The permission that this transaction was admitted with; policies that let something be written name it.
create function access.permission() returns text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.facts() ->> 'permission'
$$;

-- The units that the admitted person reaches with the permission of this transaction.
create function access.units() returns uuid[] language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select array(select x::uuid from jsonb_array_elements_text(access.facts() -> 'units') x)
$$;

-- Whose things the admitted person reaches: their own, and those of who delegated the permission to them.
create function access.owners() returns uuid[] language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select array(select x::uuid from jsonb_array_elements_text(access.facts() -> 'owners') x)
$$;

-- The key that this transaction was admitted with; null: a session.
create function access.key() returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.facts() ->> 'key_id')::uuid
$$;

-- Whether a list is better walked in its order than put together from units: every unit costs a page of rows, and walking costs a row for
-- each that is not reached; the two meet where the square of the units that are reached is the number of units.
create function access.walks() returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.scope() = 'all' or cardinality(access.units()) ^ 2 > (select count(*) from freehold.units)
$$;

-- What the key of this transaction names, if the person is the one who was admitted with it; null: nothing is narrowed.
create function access.narrowed(person uuid) returns text[] language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb;
begin
  -- Nothing is sealed while somebody is being admitted, which is when it is asked most.
  if coalesce(current_setting('access.facts', true), '') = '' then
    return null;
  end if;
  f := access.facts();
  if f ? 'narrowed' and f ->> 'user_id' = person::text then
    return array(select jsonb_array_elements_text(f -> 'narrowed'));
  end if;
  return null;
end $$;

-- What a caller may say of a request, and nothing else: never who they are or how far they reach.
create function access.request_of(request jsonb) returns jsonb language sql immutable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('address', left(request ->> 'address', 64), 'agent', left(request ->> 'agent', 255), 'method', left(request ->> 'method', 16),
    'path', left(request ->> 'path', 1024), 'trace_id', left(request ->> 'trace_id', 64))
$$;

-- Whom the audit names while an anonymous door is at work. Nobody is admitted by it: no policy reads it.
create function access.attribute(person uuid, user_name text, request jsonb) returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  facts text := (access.request_of(request) || jsonb_build_object('user_id', person, 'user_name', left(user_name, 255)))::text;
begin
  perform set_config('access.actor', facts, true), set_config('access.actor_seal', access.seal_of('actor:' || facts), true);
end $$;

-- Whom the audit names: the admitted person, else the one that a door named, else nobody: the system.
create function access.actor() returns jsonb language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  said text := nullif(current_setting('access.actor', true), '');
begin
  return coalesce(access.facts(), case when access.seal_of('actor:' || said) = current_setting('access.actor_seal', true) then said::jsonb end, '{}');
end $$;

grant usage on schema freehold, access to freehold_app;

grant execute on function
  access.principal(),
  access.session(),
  access.scope(),
  access.permission(),
  access.units(),
  access.owners(),
  access.walks(),
  access.key()
to freehold_app;
