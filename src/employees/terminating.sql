-- The end of an employment: now, or at a moment to come.
--   access.terminate_employee    ends an employment, and with it the account
--   access.reinstate_employee    undoes that
--   access.before_account_returns   keeps the account off until that is undone
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
  -- Through the unit, or as a user of the caller's organization; never as one's own.
  if access.scope() <> 'all'
    and coalesce(e.unit_id <> all (access.scope_unit_ids()), true)
    and not (access.scope() = 'organization' and access.can_access_user(e.user_id))
  then
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
  u freehold.users;
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
  select * into u from freehold.users x where x.id = e.user_id;
  if u.is_active then
    perform access.require_power_of(array[e.user_id]);
    update freehold.employees x
    set ends_account = coalesce(u.terminated_at > at, true), account_was_to_end_at = u.terminated_at
    where x.id = employee;
    update freehold.users x
    set terminated_at = least(x.terminated_at, at)
    where x.id = e.user_id;
  elsif at <= now() then
    perform access.end_what_was_handed_out(e.user_id);
  end if;
  return true;
end $$;

-- Undoes it. The account comes back if it was this that switched it off, and ends when it was to end before; keys and
-- delegations that ended do not come back. Whether there was such an employee that the caller reaches.
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
  set terminated_at = null, termination_reason = null, ends_account = false, account_was_to_end_at = null
  where x.id = employee;
  if e.ends_account
    and exists (
      select from freehold.users u
      where u.id = e.user_id and u.terminated_at = e.terminated_at and u.erased_at is null)
  then
    perform access.require_power_of(array[e.user_id]);
    -- The scheduled job may not have come to it.
    if e.terminated_at <= now() then
      perform access.end_what_was_handed_out(e.user_id);
    end if;
    update freehold.users u
    set is_active = true, terminated_at = case when e.account_was_to_end_at > now() then e.account_was_to_end_at end
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

-- The account of an employee who was terminated stays off, or ends then, until that is undone.
create function access.before_account_returns() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  ends timestamptz := (select e.terminated_at from freehold.employees e where e.user_id = new.id);
begin
  if not new.is_active or ends is null or access.principal() is null then
    return new;
  elsif ends <= now()
    and coalesce(new.terminated_at > now(), true)
    and (not old.is_active or new.terminated_at is distinct from old.terminated_at)
  then
    perform access.refuse('illegal_state', 'This user is an employee who was terminated: undo that first.');
  elsif not old.is_active then
    new.terminated_at := least(new.terminated_at, ends);
  elsif coalesce(new.terminated_at > ends, true) and new.terminated_at is distinct from old.terminated_at then
    perform access.refuse('illegal_state', 'This user is an employee whose employment ends before: undo that first.');
  end if;
  return new;
end $$;

-- Before before_coming_or_going, which keeps the dates.
create trigger before_account_returns before update of is_active, terminated_at on freehold.users
  for each row execute function access.before_account_returns();

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
