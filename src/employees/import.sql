-- Import of employees, as of users (src/users/import.sql).
--   access.import_employees    creates those of a batch of lines, with employee:create
--
-- Threat: a file creates an employee where its sender may create none, or links the account of somebody whom they do not
-- reach; one broken line stops the others; an answer shows messages of the database. So every line goes through the
-- triggers that every employee goes through, in a subtransaction of its own, and is reported in the words of our rules.

-- Creates the employees of some lines, in their order, each of them or not at all. Returns for each {id, user}, where
-- `user` is what their account may be called in a file; or {code, errors}. The batch is recorded with how many lines
-- were imported and how many not; `refused` of them the Worker did not pass on. A dry run undoes all of it.
create function access.import_employees(lines jsonb, refused integer, dry_run boolean) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  line jsonb;
  results jsonb[] := '{}';
begin
  if access.permission() is distinct from 'employee:create' then
    perform access.refuse('forbidden', 'This needs the permission employee:create.');
  end if;
  -- One import after another: two that name the same documents in different orders would wait for each other.
  perform pg_advisory_xact_lock(hashtext('access.import_employees'));
  begin
    for line in
      select e.value
      from jsonb_array_elements(lines) with ordinality e (value, place)
      order by e.place
    loop
      results := results || access.import_employee(line);
    end loop;
    if dry_run then
      raise exception using errcode = 'FH001', message = 'undone';
    end if;
  exception when sqlstate 'FH001' then
    null;
  end;
  if not dry_run then
    perform access.record('EMPLOYEES_IMPORTED', 'import', 'employee', null, null, (
      select jsonb_build_object(
        'lines', refused + count(*),
        'created', count(*) filter (where r ? 'id'),
        'failed', refused + count(*) filter (where not r ? 'id'))
      from unnest(results) r));
  end if;
  return to_jsonb(results);
end $$;

-- The unit that a line names, of those in which the caller creates employees; null: it names none.
create function access.imported_unit(l jsonb) returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  found uuid[];
begin
  if l ->> 'unit' is null then
    return (l ->> 'unit_id')::uuid;
  end if;
  found := array(
    select n.id
    from freehold.units n
    where n.name = l ->> 'unit'
      and (access.scope() = 'all' or n.id = any (access.scope_unit_ids()))
    limit 2);
  if cardinality(found) = 0 then
    perform access.refuse('invalid_request', 'is not a unit that you can access', 'unit');
  elsif cardinality(found) = 2 then
    perform access.refuse('invalid_request', 'is the name of more than one unit: send unit_id', 'unit');
  end if;
  return found[1];
end $$;

-- The account that a line names; null: it names none.
create function access.imported_account(l jsonb) returns freehold.users
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  if l ->> 'user' is null then
    select * into u from freehold.users x where x.id = (l ->> 'user_id')::uuid;
  else
    select * into u from freehold.users x where x.email = l ->> 'user' or x.username = l ->> 'user';
  end if;
  if coalesce(l ->> 'user', l ->> 'user_id') is not null
    and (u.id is null or not access.can_access_user(u.id)) then
    perform access.refuse('invalid_request', 'is not a user whom you can access',
      case when l ->> 'user' is null then 'user_id' else 'user' end);
  end if;
  return u;
end $$;

-- Creates one employee of a file, whose fields the Worker has checked, as access.import_user creates a user. An error of
-- the database that is not the line's fault is raised.
create function access.import_employee(l jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
  account freehold.users;
  unit uuid;
  state text;
  said text;
  explained text;
  field text;
  broken text;
begin
  unit := access.imported_unit(l);
  -- Row level security does not apply here, because import_employees runs as the owner.
  if access.scope() <> 'all' and not coalesce(unit = any (access.scope_unit_ids()), false) then
    perform access.refuse('forbidden', 'You can only create employees in units that are within your scope.', 'unit_id');
  end if;
  account := access.imported_account(l);
  insert into freehold.employees (id, user_id, document_type, document_number, given_names, family_name, sex, nationality,
    birth_date, employment, position, area, cost_centre, unit_id, contractor_since, employed_since, email, phone,
    address, district, emergency_contact, emergency_phone)
  values (
    made,
    account.id,
    l ->> 'document_type',
    l ->> 'document_number',
    l ->> 'given_names',
    l ->> 'family_name',
    l ->> 'sex',
    l ->> 'nationality',
    (l ->> 'birth_date')::date,
    coalesce(l ->> 'status', 'active'),
    l ->> 'position',
    l ->> 'area',
    l ->> 'cost_centre',
    unit,
    (l ->> 'contractor_since')::date,
    (l ->> 'employed_since')::date,
    l ->> 'email',
    l ->> 'phone',
    l ->> 'address',
    l ->> 'district',
    l ->> 'emergency_contact',
    l ->> 'emergency_phone'
  );
  return jsonb_build_object('id', made, 'user', case
    when account.id is null then '[]'
    else jsonb_build_array(account.id, account.email, account.username)
  end);
exception when others then
  get stacked diagnostics
    state = returned_sqlstate,
    said = message_text,
    explained = pg_exception_detail,
    field = pg_exception_hint,
    broken = constraint_name;
  if state in ('FH400', 'FH403', 'FH404', 'FH409') then
    field := nullif(field, '');
  elsif broken = 'employees_document' then
    select 'already_exists', 'is taken', 'document_number' into said, explained, field;
  elsif broken = 'employees_user' then
    select 'already_exists', 'is taken', case when l ->> 'user' is null then 'user_id' else 'user' end
    into said, explained, field;
  elsif broken = 'employees_unit_id_units_id_fk' then
    select 'invalid_request', 'is not a unit that you can access', 'unit_id' into said, explained, field;
  elsif state ~ '^2[23]' then
    select 'invalid_request', 'holds a value that cannot be kept', null into said, explained, field;
  elsif state in ('40001', '40P01') then
    select 'illegal_state', 'met another change at the same moment; send this line again', null
    into said, explained, field;
  else
    raise;
  end if;
  return jsonb_build_object('code', said, 'errors', jsonb_build_array(
    jsonb_build_object('pointer', '#' || coalesce('/' || field, ''), 'detail', explained)));
end $$;

grant execute on function access.import_employees(jsonb, integer, boolean) to freehold_app;
