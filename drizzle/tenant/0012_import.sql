-- Import: people who are moved in from another system, with the hashes of their passwords.
--
-- Threat: a file that makes more than who sends it may make; one broken line that stops the others; a hash of another system that stays; words
-- of the database in an answer. So every line goes through the triggers that every person goes through, each in a subtransaction of its own;
-- what is told of a failure is what the rules say, and nothing else; and the first login replaces the hash.

-- Second half of the first login of somebody whose hash another system made. `recipe` is ours, with the salt that was chosen when they were
-- moved in; `renewed` is the digest under it. Of many at once the first replaces the hash, and the others are compared with what it left.
create function access.login_renew(tenant_id uuid, attempt uuid, digest text, recipe text, renewed text, refresh_hash bytea, request jsonb) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  is_meant boolean;
begin
  perform access.check_tenant(tenant_id);
  select * into a from freehold.login_attempts x where x.id = attempt;
  -- In the order of access.settle.
  perform from freehold.login_guards g where g.key = a.key for update;
  perform from freehold.users x where x.id = a.user_id for no key update;
  is_meant := coalesce(right(recipe, 23) = '$' || substring(a.recipe from ',next=([A-Za-z0-9+/]{22})[$]'), false);
  if is_meant and starts_with(access.current_password(a.user_id), login_renew.recipe || '$') then
    update freehold.login_attempts x set recipe = login_renew.recipe where x.id = attempt and x.state = 'reserved';
    return access.login_settle(tenant_id, attempt, renewed, null, refresh_hash, request);
  end if;
  return access.login_settle(tenant_id, attempt, digest, case when is_meant then access.stored(login_renew.recipe, renewed) end, refresh_hash, request);
end $$;
--> statement-breakpoint
-- Makes one person of a file, whose fields the Worker has checked: {id, username}, or {code, errors} when a rule forbids it, and then nothing
-- of it is left. What is wrong with the database and not with the line is raised.
create function access.import_person(l jsonb) returns jsonb language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
  named text;
  given uuid;
  -- What a refusal is about that names no field.
  about text := 'role';
  state text;
  said text;
  explained text;
  field text;
  broken text;
begin
  if access.scope() <> 'all' and not coalesce((l ->> 'unit_id')::uuid = any (access.units()), false) then
    perform access.refuse('forbidden', 'You make people in units that you reach, and nowhere else.', 'unit_id');
  end if;
  insert into freehold.users (id, email, username, email_verified, is_active, must_change_password, role, given_name, family_name, phone, unit_id, manager_id,
    designation, description, locale, timezone, preferences, joined_at, max_sessions)
  values (made, l ->> 'email', l ->> 'username', coalesce((l ->> 'email_verified')::boolean, false), coalesce((l ->> 'is_active')::boolean, true),
    coalesce((l ->> 'must_change_password')::boolean, false), coalesce(l ->> 'role', (select r.name from freehold.roles r where r.is_fallback)),
    l ->> 'given_name', l ->> 'family_name', l ->> 'phone', (l ->> 'unit_id')::uuid, (l ->> 'manager_id')::uuid, l ->> 'designation', l ->> 'description',
    coalesce(l ->> 'locale', 'en'), coalesce(l ->> 'timezone', 'UTC'), coalesce(nullif(l -> 'preferences', 'null'), '{}'), (l ->> 'joined_at')::timestamptz,
    (l ->> 'max_sessions')::integer);
  -- Who brings no hash has no password, and logs in when they have reset it.
  if l ->> 'password_hash' is not null then
    insert into freehold.passwords (id, user_id, password_hash) values (gen_random_uuid(), made, l ->> 'password_hash');
  end if;
  about := 'roles';
  for named in select distinct x.name from jsonb_array_elements_text(coalesce(nullif(l -> 'roles', 'null'), '[]')) x (name) order by x.name loop
    select r.id into given from freehold.roles r where r.name = named and r.deleted_at is null;
    if given is null then
      perform access.refuse('invalid_request', format('%s is not a role of this tenant', named), 'roles');
    elsif not exists (select from freehold.user_roles ur where ur.user_id = made and ur.role_id = given) then
      insert into freehold.user_roles (id, user_id, role_id) values (gen_random_uuid(), made, given);
    end if;
  end loop;
  return jsonb_build_object('id', made, 'username', l -> 'username');
exception when others then
  get stacked diagnostics state = returned_sqlstate, said = message_text, explained = pg_exception_detail, field = pg_exception_hint, broken = constraint_name;
  if state in ('FH400', 'FH403', 'FH404', 'FH409') then
    field := coalesce(nullif(field, ''), case said when 'forbidden' then about end);
    -- The first of its roles is the primary one of a line that names none.
    if field = 'role' and l -> 'roles' ? (l ->> 'role') then
      field := 'roles';
    end if;
  elsif broken in ('users_email', 'users_username') then
    return jsonb_build_object('code', 'already_exists', 'errors', (
      select jsonb_agg(jsonb_build_object('pointer', '#/' || f.name, 'detail', 'is taken') order by f.name) from (values ('email'), ('username')) f (name)
      where f.name = substr(broken, 7) or (f.name = 'email' and exists (select from freehold.users u where u.email = l ->> 'email'))
        or (f.name = 'username' and exists (select from freehold.users u where u.username = l ->> 'username'))));
  elsif broken = 'users_unit_id_units_id_fk' then
    select 'invalid_request', 'is not a unit that you reach', 'unit_id' into said, explained, field;
  elsif broken = 'users_manager_id_users_id_fk' then
    select 'invalid_request', 'is not a person whom you reach', 'manager_id' into said, explained, field;
  elsif state ~ '^2[23]' then
    select 'invalid_request', 'holds a value that cannot be kept', null into said, explained, field;
  elsif state in ('40001', '40P01') then
    select 'illegal_state', 'met another change at the same moment; send this line again', null into said, explained, field;
  else
    raise;
  end if;
  return jsonb_build_object('code', said, 'errors', jsonb_build_array(jsonb_build_object('pointer', '#' || coalesce('/' || field, ''), 'detail', explained)));
end $$;
--> statement-breakpoint
-- Makes the people of some lines, in their order, each or not at all: what access.import_person says of each. A dry run does the same, and
-- then undoes all of it.
create function access.import_people(lines jsonb, dry_run boolean) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  line jsonb;
  told jsonb[] := '{}';
begin
  if access.permission() is distinct from 'user:create' then
    perform access.refuse('forbidden', 'Only who makes people moves them in.');
  end if;
  -- One after another: two that name the same people in another order would wait for each other.
  perform pg_advisory_xact_lock(hashtext('access.import_people'));
  begin
    for line in select e.value from jsonb_array_elements(lines) with ordinality e (value, place) order by e.place loop
      told := told || access.import_person(line);
    end loop;
    if dry_run then
      raise exception using errcode = 'FH001', message = 'undone';
    end if;
  exception when sqlstate 'FH001' then
    null;
  end;
  return to_jsonb(told);
end $$;
--> statement-breakpoint
-- Records that people were moved in, and how many.
create function access.record_import(counts jsonb) returns void language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:create' then
    perform access.refuse('forbidden', 'Only who makes people moves them in.');
  end if;
  perform access.record('USERS_IMPORTED', 'import', 'user', null, null, counts);
end $$;
--> statement-breakpoint
-- As before, and what is recorded of an import.
create or replace function access.is_own_activity(activity text) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select activity in ('LOGIN', 'LOGOUT', 'LOGIN_FAILED', 'PASSWORD_CHANGE', 'PASSWORD_RESET', 'PASSWORD_CHANGE_FAILED', 'MFA_ENABLED', 'MFA_DISABLED', 'PROFILE_UPDATE',
      'PERMISSION_CHANGE', 'PERMISSIONS_READ', 'ROLE_ASSIGNED', 'ROLE_REMOVED', 'API_KEY_CREATED', 'API_KEY_REVOKED', 'SUSPICIOUS_ACTIVITY', 'ACCESS_REFUSED',
      'EXPORT', 'AUDIT_ERASED', 'USERS_IMPORTED', 'USER_UNLOCKED', 'USER_REGISTERED', 'REGISTRATION_REQUESTED', 'PASSWORD_RESET_REQUESTED', 'EMAIL_CHANGE_REQUESTED')
    or exists (
      select from pg_trigger t cross join unnest(array['CREATED', 'UPDATED', 'DELETED']) as done (word)
      where t.tgfoid = 'access.audit()'::regprocedure and activity = upper(split_part(encode(t.tgargs, 'escape'), '\000', 1)) || '_' || done.word)
$$;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
--> statement-breakpoint
grant execute on function access.login_renew(uuid, uuid, text, text, text, bytea, jsonb), access.import_people(jsonb, boolean), access.record_import(jsonb) to freehold_app;
