-- What every other file of definitions uses: the types of scopes and of reasons, validity ranges, refusals, and small
-- helpers. Nothing here knows a table.

-- How far a permission reaches, from the narrowest to the widest, so that `<`, max() and least() compare scopes.
-- `organization` is reserved: a value cannot be added to a type and used in one transaction. For variables,
-- parameters and results only: no operator of an enum is leakproof, so that a list could not use an index on such a
-- column under row level security. Columns are text with a check.
create type access.scope as enum ('own', 'team', 'department', 'organization', 'all');

-- Why somebody holds a permission, and how far: by a role, by a role that this one inherits from (`via`: the one that
-- is held), by an override, or by a delegation (`name`: the delegator; `via`: the role that is delegated). The scope
-- reaches around the `holder`.
create type access.reason as (scope access.scope, kind text, id uuid, name text, via text, holder uuid);

-- A permission as it reaches from a place: around the `holder`. Without one the scope alone says how far.
create type access.placed as (permission text, scope access.scope, holder uuid);

-- Whether a validity range holds at a moment: from its start on, up to its end, which is no longer in it. Without an
-- end it holds for good.
create function access.in_force(starts timestamptz, ends timestamptz, moment timestamptz) returns boolean
language sql immutable
return starts <= moment and (ends is null or ends > moment);

-- Refuses the request in words for the caller: a code, a sentence, and the field that is wrong.
create function access.refuse(code text, said text, field text default null) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    message = code,
    detail = said,
    hint = coalesce(field, ''),
    errcode = case code
      when 'forbidden' then 'FH403'
      when 'not_found' then 'FH404'
      when 'invalid_request' then 'FH400'
      when 'idempotency_mismatch' then 'FH422'
      else 'FH409'
    end;
end $$;

-- Refuses the request for several fields at once: [{field, said}].
create function access.refuse_fields(faults jsonb) returns void
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

-- A statement trigger that lets one transaction at a time change a table. Two halves of a circle are each allowed by
-- themselves; and the lock comes before any row is locked, because two transactions would otherwise wait for each
-- other's rows.
create function access.one_at_a_time() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext(tg_table_name));
  return null;
end $$;

-- Applies a JSON merge patch (RFC 7396) to a document. In one aggregate, because a document that grows key by key is
-- copied for each: 20,000 keys took 15 seconds.
create function access.merged(doc jsonb, patch jsonb) returns jsonb
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  base jsonb := case when jsonb_typeof(doc) = 'object' then doc else '{}' end;
begin
  if jsonb_typeof(patch) <> 'object' then
    return patch;
  end if;
  return (
    select coalesce(jsonb_object_agg(x.key, x.value), '{}')
    from (
      select d.key, d.value
      from jsonb_each(base) d
      where not patch ? d.key
      union all
      select p.key, case when jsonb_typeof(p.value) = 'object' then access.merged(base -> p.key, p.value) else p.value end
      from jsonb_each(patch) p
      where p.value <> 'null'
    ) x);
end $$;

-- Parses an address or a network for comparison. An IPv4 address that is mapped into IPv6 is IPv4. null: it is
-- neither.
create function access.network_of(said text) returns inet
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
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
  access.in_force(timestamptz, timestamptz, timestamptz),
  access.merged(jsonb, jsonb)
to freehold_app;
