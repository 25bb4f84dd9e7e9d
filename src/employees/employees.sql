-- Employees: who works here, with what stands in their contract, and what of it is sensitive.
--   access.sensitive_of      the sensitive columns of some employees, for whoever may read them
--   access.before_employee   to whose account and into which unit an employee may be put
--
-- Threat: somebody who may see a colleague's position reads their birth date, address or document; or links an employee
-- to the account of somebody whom they do not reach, and reaches them by it. So the app login reads no sensitive column:
-- a function hands them out by a permission of its own, which needs a scope of its own; and an account is linked by
-- those alone who reach both.

-- The rows that the admitted user reads with employee:read_sensitive, of those that are asked for.
create function access.sensitive_of(employees uuid[]) returns table (
  id uuid,
  document_number text,
  birth_date date,
  address text,
  district text,
  emergency_contact text,
  emergency_phone text
)
language plpgsql stable security definer rows 10 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  me uuid := access.principal();
  s record;
begin
  if me is null or access.permission() not like 'employee:%' then
    return;
  end if;
  s := access.effective_scope(me, 'employee:read_sensitive');
  return query
    select e.id, e.document_number, e.birth_date, e.address, e.district, e.emergency_contact, e.emergency_phone
    from freehold.employees e
    where e.id = any (employees)
      and access.is_sensitive_to(e, s.scope, s.units, s.owners);
end $$;

-- Whether a scope of employee:read_sensitive reaches an employee.
create function access.is_sensitive_to(e freehold.employees, scope access.scope, units uuid[], owners uuid[]) returns boolean
language sql stable
return scope = 'all'
  or coalesce(e.unit_id = any (units), false)
  or coalesce(e.user_id = any (owners), false)
  or scope = 'organization' and exists (select from freehold.users u where u.id = e.user_id and u.unit_id = any (units));

create function access.before_employee() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  s record;
begin
  if tg_op = 'UPDATE'
    and (new.unit_id, new.user_id) is distinct from (old.unit_id, old.user_id)
    and access.principal() is not null
  then
    s := access.effective_scope(access.principal(), 'employee:read_sensitive');
    if access.is_sensitive_to(new, s.scope, s.units, s.owners)
      and not access.is_sensitive_to(old, s.scope, s.units, s.owners)
    then
      perform access.refuse('forbidden', 'You would read what you may not read of this employee: somebody else must do this.');
    end if;
  end if;
  new.updated_at := now();
  if new.user_id is not null
    and (tg_op = 'INSERT' or new.user_id is distinct from old.user_id)
    and access.principal() is not null
    and not (
      access.can_access_user(new.user_id)
      and exists (select from freehold.users u where u.id = new.user_id and u.erased_at is null)
    ) then
    perform access.refuse('invalid_request', 'is not a user whom you can access', 'user_id');
  elsif tg_op = 'UPDATE' and new.user_id is distinct from old.user_id and new.terminated_at is not null then
    perform access.refuse('illegal_state', 'This employee has been terminated: undo that first.');
  elsif new.birth_date > now()::date then
    perform access.refuse('invalid_request', 'lies in the future', 'birth_date');
  elsif new.terminated_at < access.began_at(new.contractor_since, new.employed_since) then
    perform access.refuse('invalid_request', 'is after the end of this employment',
      case when new.contractor_since is not null and new.contractor_since <= coalesce(new.employed_since, 'infinity')
        then 'contractor_since' else 'employed_since' end);
  end if;
  return new;
end $$;

-- When somebody began; null: that is not known.
create function access.began_at(contractor_since date, employed_since date) returns timestamptz
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select least(contractor_since, employed_since)::timestamp at time zone 'utc'
$$;

create trigger before_employee before insert or update on freehold.employees
  for each row execute function access.before_employee();

call access.audited('freehold.employees', 'employee',
  '{document_number,birth_date,address,district,emergency_contact,emergency_phone}',
  '{updated_at,name,document_hint}');

-- Below scope `all` nobody writes what is said of themselves. When somebody ends is not written but decided (terminating.sql).
call access.protect('freehold.employees', 'employee',
  owner => 'user_id',
  unit => 'unit_id',
  inserts => '{id,user_id,document_type,document_number,given_names,family_name,sex,nationality,birth_date,employment,
    position,area,cost_centre,unit_id,contractor_since,employed_since,email,phone,address,district,emergency_contact,
    emergency_phone}',
  updates => '{user_id,document_type,document_number,given_names,family_name,sex,nationality,birth_date,employment,
    position,area,cost_centre,unit_id,contractor_since,employed_since,email,phone,address,district,emergency_contact,
    emergency_phone}',
  deletes => false,
  of_others => true,
  selects => '{id,user_id,document_type,document_hint,given_names,family_name,name,sex,nationality,employment,position,area,
    cost_centre,unit_id,contractor_since,employed_since,terminated_at,termination_reason,email,phone,created_at,updated_at}');

grant execute on function
  access.sensitive_of(uuid[]),
  access.began_at(date, date)
to freehold_app;
