-- Import: users who are moved in from another system, with the hashes of their passwords.
--
-- Called from outside, with user:create: access.import_batch, for each batch of lines.
--
-- Threat: a file creates more than its sender may create; an address counts as verified that nobody verified; one
-- broken line stops the others; a hash of another system stays for good; an answer shows messages of the database. So
-- every line goes through the triggers that every user goes through, in a subtransaction of its own; a verified address
-- takes user:approve; a failure is reported in the words of our own rules and nothing else; and the first login replaces
-- the hash (access.finish_login_with_rehash).

-- Creates the users of some lines, in their order, each of them or not at all. Returns what access.import_user says
-- of each line. The batch is recorded with how many lines were imported and how many not; `refused` of them the Worker
-- did not pass on. With `earlier` it is one of a dry run, which does the same and then undoes all of it: {names, places},
-- what the batches before this one would have taken: usernames, and by the id of a role how many places in it,
-- and `users`, how many are active.
create function access.import_batch(lines jsonb, refused integer, earlier jsonb) returns jsonb
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
      set_config('access.earlier_users', coalesce(earlier ->> 'users', ''), true),
      access.pass_hook('user.create');
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

-- Creates one user of a file, whose fields the Worker has checked; a username that is made up is none of `names`.
-- Returns {id, username, roles}, of the roles those with a limit of holders; or {code, errors} when a rule forbids it,
-- and then nothing of the user is left. An error of the database that is not the line's fault is
-- raised.
create function access.import_user(l jsonb, names text[]) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
  chosen text := coalesce(l ->> 'username', access.free_username(l ->> 'wished', l ->> 'email', names));
  named text;
  given uuid;
  -- The field that a refusal is about when it names none.
  about text := 'role';
  state text;
  said text;
  explained text;
  field text;
  broken text;
begin
  -- Row level security does not apply here, because import_batch runs as the owner.
  if access.scope() <> 'all' and not coalesce((l ->> 'unit_id')::uuid = any (access.scope_unit_ids()), false) then
    perform access.refuse('forbidden', 'You can only create users in units that are within your scope.', 'unit_id');
  elsif (l ->> 'email_verified')::boolean and not access.may_vouch((l ->> 'unit_id')::uuid) then
    perform access.refuse('forbidden', 'An address counts as verified with user:approve only.', 'email_verified');
  end if;
  insert into freehold.users (id, email, username, email_verified, is_active, must_change_password, role,
    given_name, family_name, phone, unit_id, manager_id, designation, description,
    locale, timezone, preferences, joined_at, terminated_at, max_sessions)
  values (
    made,
    l ->> 'email',
    chosen,
    coalesce((l ->> 'email_verified')::boolean, false),
    coalesce((l ->> 'is_active')::boolean, true),
    coalesce((l ->> 'must_change_password')::boolean, false),
    coalesce(l ->> 'role', (select r.name from freehold.roles r where r.is_fallback)),
    l ->> 'given_name',
    l ->> 'family_name',
    l ->> 'phone',
    (l ->> 'unit_id')::uuid,
    (l ->> 'manager_id')::uuid,
    l ->> 'designation',
    l ->> 'description',
    coalesce(l ->> 'locale', 'en'),
    coalesce(l ->> 'timezone', 'UTC'),
    coalesce(nullif(l -> 'preferences', 'null'), '{}'),
    (l ->> 'joined_at')::timestamptz,
    (l ->> 'terminated_at')::timestamptz,
    (l ->> 'max_sessions')::integer
  );
  -- A user without a hash has no password, and logs in after a reset.
  if l ->> 'password_hash' is not null then
    insert into freehold.passwords (id, user_id, password_hash)
    values (gen_random_uuid(), made, l ->> 'password_hash');
  end if;
  about := 'roles';
  for named in
    select distinct x.name
    from jsonb_array_elements_text(coalesce(nullif(l -> 'roles', 'null'), '[]')) x (name)
    order by x.name
  loop
    select r.id into given from freehold.roles r where r.name = named and r.deleted_at is null;
    if given is null then
      perform access.refuse('invalid_request', format('%s is not a role of this tenant', named), 'roles');
    elsif not exists (select from freehold.user_roles ur where ur.user_id = made and ur.role_id = given) then
      insert into freehold.user_roles (id, user_id, role_id)
      values (gen_random_uuid(), made, given);
    end if;
  end loop;
  return jsonb_build_object('id', made, 'username', chosen, 'roles', (
    select coalesce(jsonb_agg(distinct r.id), '[]')
    from freehold.user_roles ur
      join freehold.roles r on r.id = ur.role_id
    where ur.user_id = made and r.max_users is not null));
exception when others then
  get stacked diagnostics
    state = returned_sqlstate,
    said = message_text,
    explained = pg_exception_detail,
    field = pg_exception_hint,
    broken = constraint_name;
  if state in ('FH400', 'FH403', 'FH404', 'FH409') then
    field := coalesce(nullif(field, ''), case said when 'forbidden' then about end);
    -- Of a line that names no primary role, the first of its roles is the primary one.
    if field = 'role' and l -> 'roles' ? (l ->> 'role') then
      field := 'roles';
    end if;
  elsif broken in ('users_email', 'users_username') then
    -- The constraint names one field that is taken. Both are reported when both are.
    return jsonb_build_object('code', 'already_exists', 'errors', (
      select jsonb_agg(jsonb_build_object('pointer', '#/' || f.name, 'detail', 'is taken') order by f.name)
      from (values ('email'), ('username')) f (name)
      where f.name = substr(broken, 7)
        or (f.name = 'email' and exists (select from freehold.users u where u.email = l ->> 'email'))
        or (f.name = 'username' and exists (select from freehold.users u where u.username = l ->> 'username'))
    ));
  elsif broken = 'users_unit_id_units_id_fk' then
    select 'invalid_request', 'is not a unit that you can access', 'unit_id'
    into said, explained, field;
  elsif broken = 'users_manager_id_users_id_fk' then
    select 'invalid_request', 'is not a user whom you can access', 'manager_id'
    into said, explained, field;
  elsif state ~ '^2[23]' then
    select 'invalid_request', 'holds a value that cannot be kept', null
    into said, explained, field;
  elsif state in ('40001', '40P01') then
    select 'illegal_state', 'met another change at the same moment; send this line again', null
    into said, explained, field;
  else
    raise;
  end if;
  return jsonb_build_object('code', said, 'errors', jsonb_build_array(
    jsonb_build_object('pointer', '#' || coalesce('/' || field, ''), 'detail', explained)));
end $$;

-- Whether the admitted user may say of a new user of a unit that their address is verified.
create function access.may_vouch(unit uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  s record := access.effective_scope(access.principal(), 'user:approve');
begin
  return coalesce(s.scope = 'all' or unit = any (s.units), false);
end $$;

grant execute on function access.import_batch(jsonb, integer, jsonb) to freehold_app;
