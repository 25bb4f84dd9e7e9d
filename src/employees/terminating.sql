-- The end of an employment: now, or at a moment to come.
--   access.terminate_employee    ends an employment, and with it the account
--   access.reinstate_employee    undoes that
--   access.after_account_left    ends the keys and delegations of an employee whose account is switched off by it
--
-- Threat: somebody who has left keeps an account, a key, or a power that they passed on; or whoever keeps the records of
-- employees switches an administrator off. So the account ends in the same transaction, at the moment that is set (what
-- lets anybody in reads it: src/users/leaving.sql); and ending it needs the power over others that its user holds, as
-- switching them off does.

-- Locks an employee whom the caller reaches with this permission, after their account. null: there is none.
create function access.employee_to_change(employee uuid) returns freehold.employees
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.employees;
begin
  if access.permission() is distinct from 'employee:update' then
    perform access.refuse('forbidden', 'This needs the permission employee:update.');
  end if;
  perform access.require_reach('employee', employee);
  perform from freehold.users u
  where u.id = (select x.user_id from freehold.employees x where x.id = employee)
  for no key update;
  select * into e from freehold.employees x where x.id = employee for no key update;
  if access.scope() <> 'all' and e.unit_id <> all (access.scope_unit_ids()) then
    return null;
  elsif access.scope() <> 'all' and e.unit_id is null then
    return null;
  elsif e.user_id = access.principal() then
    perform access.refuse('illegal_state', 'Another user must do this to you.');
  end if;
  return e;
end $$;

-- Ends an employment at a moment. Whether there was one that the caller reaches.
create function access.terminate_employee(employee uuid, reason text, ends timestamptz) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.employees := access.employee_to_change(employee);
  at timestamptz := coalesce(ends, now());
begin
  if e.id is null then
    return false;
  elsif e.terminated_at is not null then
    perform access.refuse('illegal_state', 'This employee has been terminated: undo that first.');
  elsif at < access.began_at(e.contractor_since, e.employed_since) then
    perform access.refuse('invalid_request', 'lies before the beginning of this employment', 'at');
  end if;
  update freehold.employees x
  set terminated_at = at, termination_reason = reason
  where x.id = employee;
  if exists (select from freehold.users u where u.id = e.user_id and u.is_active) then
    perform access.require_power_of(array[e.user_id]);
    update freehold.users u
    set terminated_at = least(u.terminated_at, at)
    where u.id = e.user_id;
  elsif at <= now() then
    perform access.end_what_was_handed_out(e.user_id);
  end if;
  return true;
end $$;

-- Undoes it. The account comes back if it was this that switched it off; keys and delegations that ended do not. Whether
-- there was such an employee that the caller reaches.
create function access.reinstate_employee(employee uuid) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.employees := access.employee_to_change(employee);
begin
  if e.id is null then
    return false;
  elsif e.terminated_at is null then
    perform access.refuse('illegal_state', 'This employee has not been terminated.');
  end if;
  update freehold.employees x
  set terminated_at = null, termination_reason = null
  where x.id = employee;
  if exists (
    select from freehold.users u
    where u.id = e.user_id and u.terminated_at = e.terminated_at and u.erased_at is null
  ) then
    perform access.require_power_of(array[e.user_id]);
    update freehold.users u
    set is_active = true, terminated_at = null
    where u.id = e.user_id;
  end if;
  return true;
end $$;

-- Ends the API keys of somebody, and what they delegated or was delegated to them.
create function access.end_what_was_handed_out(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.api_keys k
  set revoked_at = now()
  where k.user_id = subject
    and k.revoked_at is null;
  update freehold.delegations d
  set revoked_at = now()
  where subject in (d.delegator_id, d.delegate_id)
    and d.revoked_at is null
    and d.ends_at > now();
end $$;

create function access.after_account_left() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from freehold.employees e where e.user_id = new.id and e.terminated_at <= now()) then
    perform access.end_what_was_handed_out(new.id);
  end if;
  return null;
end $$;

create trigger after_account_left after update of is_active, terminated_at on freehold.users
  for each row when (old.is_active and not new.is_active) execute function access.after_account_left();

grant execute on function
  access.terminate_employee(uuid, text, timestamptz),
  access.reinstate_employee(uuid)
to freehold_app;
