-- Refuses, in words that the caller is told: {code, detail, the field that is wrong}.
create function access.refuse(code text, said text, field text default null) returns void language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using message = code, detail = said, hint = coalesce(field, ''),
    errcode = case code when 'forbidden' then 'FH403' when 'not_found' then 'FH404' when 'invalid_request' then 'FH400' else 'FH409' end;
end $$;

-- One at a time, because two halves of a circle are each innocent; and before any row is locked, because the two would wait for each other's.
create function access.one_at_a_time() returns trigger language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext(tg_table_name));
  return null;
end $$;

-- A JSON document changed as RFC 7396 says.
create function access.merged(doc jsonb, patch jsonb) returns jsonb language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  changed jsonb := case when jsonb_typeof(doc) = 'object' then doc else '{}' end;
  r record;
begin
  if jsonb_typeof(patch) <> 'object' then
    return patch;
  end if;
  for r in select e.key, e.value from jsonb_each(patch) e loop
    changed := case when r.value = 'null' then changed - r.key else changed || jsonb_build_object(r.key, access.merged(changed -> r.key, r.value)) end;
  end loop;
  return changed;
end $$;

-- An address or a network as it is compared: what is IPv4 in the clothes of IPv6 is IPv4. null: it is neither.
create function access.network_of(said text) returns inet language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  a inet;
begin
  if said is null or not pg_input_is_valid(said, 'inet') then
    return null;
  end if;
  a := said::inet;
  if a <<= inet '::ffff:0:0/96' then
    return set_masklen(replace(host(a), '::ffff:', '')::inet, masklen(a) - 96);
  end if;
  return a;
end $$;

grant execute on function
  access.merged(jsonb, jsonb)
to freehold_app;
