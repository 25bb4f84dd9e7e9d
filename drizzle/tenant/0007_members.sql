-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table freehold.employees
-- Definitions:
--   creates 16 objects
--   replaces function access.personal_tables
--   replaces function access.require_reach
--   drops and creates procedure access.protect

set local check_function_bodies = off;
--> statement-breakpoint
drop procedure access.protect(regclass,text,text,text,text,boolean,text[],text[],text[],boolean,text[],text[],boolean);
--> statement-breakpoint
CREATE TABLE "freehold"."employees" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid,
  "document_type" text NOT NULL,
  "document_number" text NOT NULL,
  "document_hint" text GENERATED ALWAYS AS (repeat('*', greatest(length(document_number) - 2, 2)) || right(document_number, greatest(least(length(document_number) - 4, 2), 0))) STORED NOT NULL,
  "given_names" text NOT NULL,
  "family_name" text NOT NULL,
  "name" text GENERATED ALWAYS AS (lower(family_name || ' ' || given_names)) STORED NOT NULL,
  "sex" text,
  "nationality" text,
  "birth_date" date,
  "employment" text DEFAULT 'active' NOT NULL,
  "position" text,
  "area" text,
  "cost_centre" text,
  "unit_id" uuid,
  "contractor_since" date,
  "employed_since" date,
  "terminated_at" timestamp with time zone,
  "termination_reason" text,
  "email" text,
  "phone" text,
  "address" text,
  "district" text,
  "emergency_contact" text,
  "emergency_phone" text,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "employees_document_form" CHECK (length("freehold"."employees"."document_type") between 1 and 20 and length("freehold"."employees"."document_number") between 1 and 64),
  CONSTRAINT "employees_employment" CHECK ("freehold"."employees"."employment" in ('active', 'inactive')),
  CONSTRAINT "employees_names_form" CHECK (length("freehold"."employees"."given_names") between 1 and 255 and length("freehold"."employees"."family_name") between 1 and 255),
  CONSTRAINT "employees_termination" CHECK ("freehold"."employees"."terminated_at" is not null or "freehold"."employees"."termination_reason" is null)
);
--> statement-breakpoint
ALTER TABLE "freehold"."employees" ADD CONSTRAINT "employees_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."employees" ADD CONSTRAINT "employees_unit_id_units_id_fk" FOREIGN KEY ("unit_id") REFERENCES "freehold"."units"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE UNIQUE INDEX "employees_document" ON "freehold"."employees" USING btree (lower(document_type),upper(document_number));
--> statement-breakpoint
CREATE UNIQUE INDEX "employees_user" ON "freehold"."employees" USING btree ("user_id");
--> statement-breakpoint
CREATE INDEX "employees_by_name" ON "freehold"."employees" USING btree (name collate "C","id");
--> statement-breakpoint
CREATE INDEX "employees_by_created" ON "freehold"."employees" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "employees_unit_name" ON "freehold"."employees" USING btree ("unit_id",name collate "C","id");
--> statement-breakpoint
CREATE INDEX "employees_unit_created" ON "freehold"."employees" USING btree ("unit_id","created_at","id");
--> statement-breakpoint
alter table freehold.employees enable row level security;
--> statement-breakpoint
-- Protects a table. A transaction that was admitted for one permission writes nothing that needs another one. Without
-- `owner`, `unit` and `member` its rows are reached at scope `all` alone.
--   resource       of its permissions: `note` for note:create, note:read, note:update and note:delete
--   owner          the column with the user whom a row belongs to
--   unit           the column with the unit that a row is in
--   member         the column with a user whose unit a row is in
--   is_public      every admitted user reads every row
--   reads          the permissions with which rows are read; null: any
--   inserts        the columns that the Worker may set in a new row; null: all; '{}': it makes none
--   updates        the columns that it may change; null: all; '{}': it changes none
--   deletes        whether it deletes rows; otherwise they end, or are marked
--   inserted_with, updated_with   the actions that make and change rows
--   of_others      what a user is the owner of is not theirs to write
--   selects        the columns that the Worker reads; null: all
create or replace procedure access.protect(
  relation regclass,
  resource text,
  owner text default null,
  unit text default null,
  member text default null,
  is_public boolean default false,
  reads text[] default null,
  inserts text[] default null,
  updates text[] default null,
  deletes boolean default true,
  inserted_with text[] default '{create}',
  updated_with text[] default '{update}',
  of_others boolean default false,
  selects text[] default null
)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  -- Each `(select ...)` is evaluated once for a statement and not for each row. `= 'all'` is inside, so that the
  -- planner takes it for as likely as not: taken for rare, it would sort whole units to show one page of them.
  everything text := $sql$(select access.scope() = 'all')$sql$;
  units text := '((select access.scope_unit_ids())::uuid[])';
  owned text := case
    when owner is not null then format('%I = any ((select access.scope_owner_ids())::uuid[])', owner)
  end;
  in_unit text := case
    when unit is not null then format('%I = any %s', unit, units)
  end;
  beside text := case
    when member is not null then
      format('exists (select from freehold.users u where u.id = %I and u.unit_id = any %s)', member, units)
  end;
  reached text := format('(%s)', concat_ws(' or ', everything, owned, in_unit, beside));
  written text := case
    when of_others then format('(%s)', concat_ws(' or ', everything, in_unit, beside))
    else reached
  end;
begin
  execute format('alter table %s enable row level security', relation);
  execute format('grant select%s on %s to freehold_app', access.column_list(selects), relation);
  execute format('create policy read on %s for select using (%s)', relation, case
    when is_public then '(select access.principal()) is not null'
    when reads is null then reached
    else format('(select access.permission() = any (%L::text[])) and %s', reads, reached)
  end);
  if inserts is distinct from '{}' then
    execute format('grant insert%s on %s to freehold_app', access.column_list(inserts), relation);
    execute format(
      'create policy make on %s for insert with check ((select access.permission() = any (%L::text[])) and %s)',
      relation,
      array(select resource || ':' || action from unnest(inserted_with) action),
      written);
  end if;
  if updates is distinct from '{}' then
    execute format('grant update%s on %s to freehold_app', access.column_list(updates), relation);
    execute format(
      'create policy change on %s for update
        using ((select access.permission() = any (%L::text[])) and %s)
        with check %s',
      relation,
      array(select resource || ':' || action from unnest(updated_with) action),
      written,
      written);
  end if;
  if deletes then
    execute format('grant delete on %s to freehold_app', relation);
    execute format('create policy remove on %s for delete using ((select access.permission() = %L) and %s)',
      relation, resource || ':delete', written);
  end if;
end $$;
--> statement-breakpoint
-- Refuses with `forbidden` what the caller can read and the permission of this transaction does not reach. What they
-- cannot read is left to the verb, which finds nothing. `subject`: whose override, assignment (`thing`: the role) or API
-- key it is. Called in the first statement after the admission.
create or replace function access.require_reach(resource text, thing uuid, subject uuid default null) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  far record;
  owner uuid;
  unit uuid;
  -- They are nobody's: whoever reads one reads all of them, and they are changed at scope `all` alone.
  is_common boolean := resource in ('role', 'permission', 'audience', 'provider');
begin
  if me is null or access.scope() = 'all' then
    return;
  elsif is_common then
    if not exists (
      select from freehold.roles r where r.id = thing and r.deleted_at is null and resource = 'role'
      union all
      select from freehold.permissions p where p.id = thing and p.deleted_at is null and resource = 'permission'
      union all
      select from freehold.audiences a where a.id = thing and resource = 'audience'
      union all
      select from freehold.providers p where p.id = thing and resource = 'provider'
    ) then
      return;
    end if;
  elsif resource = 'unit' then
    select x.id into unit from freehold.units x where x.id = thing;
  elsif resource = 'employee' then
    select e.user_id, e.unit_id into owner, unit from freehold.employees e where e.id = thing;
  else
    select u.id, u.unit_id
    into owner, unit
    from freehold.users u
    where u.id = case resource
      when 'user' then thing
      when 'session' then (select s.user_id from freehold.sessions s where s.id = thing and s.ended_at is null)
      when 'delegation' then (select d.delegator_id from freehold.delegations d where d.id = thing and d.delegate_id <> me)
      when 'api_key' then (
        select k.user_id from freehold.api_keys k
        where k.id = thing and k.user_id = subject and k.revoked_at is null)
      when 'override' then (
        select o.user_id from freehold.overrides o
        where o.id = thing and o.user_id = subject and (o.ends_at is null or o.ends_at > now()))
      when 'assignment' then (
        select ur.user_id from freehold.user_roles ur
        where ur.role_id = thing and ur.user_id = subject and (ur.ends_at is null or ur.ends_at > now())
        limit 1)
    end;
  end if;
  if owner is null and unit is null and not is_common then
    return;
  elsif unit = any (access.scope_unit_ids())
    -- Overrides, assignments and employees are written of others alone.
    or (owner = any (access.scope_owner_ids()) and resource not in ('override', 'assignment', 'employee'))
    or (owner = me and resource = 'session') then
    return;
  end if;
  far := access.effective_scope(me, case resource
    when 'override' then 'user'
    when 'assignment' then 'user'
    when 'provider' then 'setting'
    else resource
  end || ':read');
  if far.scope = 'all'
    or owner = me
    or owner = any (far.owners)
    or unit = any (far.units)
    or (far.scope is not null and is_common)
    -- Everybody reads the unit that they are in.
    or (resource = 'unit' and unit = (select u.unit_id from freehold.users u where u.id = me)) then
    perform access.refuse('forbidden', format('You can read this, but your %s does not reach it.', access.permission()));
  elsif is_common then
    -- In the words that a verb has for one that does not exist.
    raise exception using errcode = 'FH404', message = 'not_found';
  end if;
end $$;
--> statement-breakpoint
-- The rows that the admitted user reads with employee:read_sensitive, of those that are asked for.
create or replace function access.sensitive_of(employees uuid[]) returns table (
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
      and (s.scope = 'all' or e.unit_id = any (s.units) or e.user_id = any (s.owners));
end $$;
--> statement-breakpoint
create or replace function access.before_employee() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
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
--> statement-breakpoint
-- When somebody began; null: that is not known.
create or replace function access.began_at(contractor_since date, employed_since date) returns timestamptz
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select least(contractor_since, employed_since)::timestamp at time zone 'utc'
$$;
--> statement-breakpoint
-- Locks an employee whom the caller reaches with this permission, after their account. null: there is none.
create or replace function access.employee_to_change(employee uuid) returns freehold.employees
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.employees;
begin
  if access.permission() is distinct from 'employee:update' then
    perform access.refuse('forbidden');
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
--> statement-breakpoint
-- Ends an employment at a moment. Whether there was one that the caller reaches.
create or replace function access.terminate_employee(employee uuid, reason text, ends timestamptz) returns boolean
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
--> statement-breakpoint
-- Undoes it. The account comes back if it was this that switched it off; keys and delegations that ended do not. Whether
-- there was such an employee that the caller reaches.
create or replace function access.reinstate_employee(employee uuid) returns boolean
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
--> statement-breakpoint
-- Ends the API keys of somebody, and what they delegated or was delegated to them.
create or replace function access.end_what_was_handed_out(subject uuid) returns void
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
--> statement-breakpoint
create or replace function access.after_account_left() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from freehold.employees e where e.user_id = new.id and e.terminated_at <= now()) then
    perform access.end_what_was_handed_out(new.id);
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Where the data of a person is: one row for each table that has some. The export and the erasure both walk it, and
-- test/personal/registry.test.ts fails for a table of the database that is neither here nor on its list of tables
-- without people, and for a column that is neither exported nor withheld.
--
-- Threat: a table that somebody adds later is forgotten, and a person who was erased is still in it.
--   place      the order in which rows are scrubbed: what others refer to after them, and what may send a mail at the end
--   relation   the table, `x` below
--   name       what the export calls it; null: it is not in the export
--   whose      whether a row is the person's; $1 is their id
--   also       whether a row that is not theirs names them all the same, which is scrubbed only; $2 is what they were
--              known by (addresses, number, username), $3 the networks that they came from
--   exported   columns of the export; an expression names itself with `as`
--   withheld   columns that are not exported: secrets, and what only the database understands
--   fate       `keep`, `delete`, or what an update sets
-- The audit is not here: the export reads it in pages, and its details are erased by access.erase_detail alone.
create or replace function access.personal_tables() returns table (
  place integer,
  relation text,
  name text,
  whose text,
  also text,
  exported text[],
  withheld text[],
  fate text
)
language sql immutable set search_path = pg_catalog, pg_temp as $$
  values
    (10, 'freehold.users', 'user', 'x.id = $1', null,
      '{id,username,email,email_verified,password_changed_at,must_change_password,factors,given_name,family_name,phone,
        phone_verified,role,unit_id,manager_id,designation,description,is_active,locale,timezone,max_sessions,preferences,
        joined_at,terminated_at,created_at,updated_at,erased_at}'::text[],
      '{name}'::text[],
      $set$username = 'former-user-' || replace(x.id::text, '-', ''),
        email = 'former-user-' || replace(x.id::text, '-', '') || '@erased.invalid', email_verified = false,
        given_name = 'Former user', family_name = null, phone = null, phone_verified = false, role = null,
        manager_id = null, designation = null, description = null, locale = 'en', timezone = 'UTC', preferences = '{}',
        factors = '{}', must_change_password = false, is_active = false, erased_at = now()$set$),
    (20, 'freehold.user_roles', 'roles', 'x.user_id = $1', null,
      array['(select r.name from freehold.roles r where r.id = x.role_id) as role', 'role_id', 'starts_at', 'ends_at'],
      '{id,user_id}',
      $set$ends_at = case when x.ends_at is null or x.ends_at > now() then greatest(now(), x.starts_at) else x.ends_at end$set$),
    (21, 'freehold.overrides', 'overrides', 'x.user_id = $1', null,
      '{permission,effect,scope,starts_at,ends_at}', '{id,user_id}',
      $set$ends_at = case when x.ends_at is null or x.ends_at > now() then greatest(now(), x.starts_at) else x.ends_at end$set$),
    (22, 'freehold.delegations', 'delegations', '$1 in (x.delegator_id, x.delegate_id)',
      'access.mentions(x.reason, $2)',
      '{id,delegator_id,delegate_id,role_id,starts_at,ends_at,reason,decision,decided_at,revoked_at,created_at}',
      '{decided_by}',
      $set$reason = null,
        revoked_at = case when $1 in (x.delegator_id, x.delegate_id) and x.ends_at > now()
          then coalesce(x.revoked_at, now()) else x.revoked_at end$set$),
    (23, 'freehold.user_periods', 'periods', 'x.user_id = $1', null, '{starts_at,ends_at}', '{id,user_id}', 'keep'),
    (24, 'freehold.employees', 'employee', 'x.user_id = $1', 'x.email = any ($2) or x.phone = any ($2)',
      '{id,document_type,document_number,given_names,family_name,sex,nationality,birth_date,employment,position,area,
        cost_centre,unit_id,contractor_since,employed_since,terminated_at,termination_reason,email,phone,address,district,
        emergency_contact,emergency_phone,created_at,updated_at}', '{user_id,document_hint,name}',
      $set$document_number = x.id::text, given_names = 'Former', family_name = 'employee', sex = null, nationality = null,
        birth_date = null, termination_reason = case when x.terminated_at is not null then 'erased' end, email = null,
        phone = null, address = null, district = null, emergency_contact = null, emergency_phone = null$set$),
    (30, 'freehold.api_keys', 'api_keys', 'x.user_id = $1', null,
      '{id,name,prefix,permissions,addresses,last_used_at,use_count,created_at,expires_at,revoked_at}',
      '{user_id,key_hash,rotated_from}',
      $set$name = 'former user', addresses = '{}', revoked_at = coalesce(x.revoked_at, now())$set$),
    (31, 'freehold.refresh_tokens', null,
      'x.session_id in (select s.id from freehold.sessions s where s.user_id = $1)', null,
      '{}', '{token_hash,session_id,device,created_at,expires_at,used_at,successor_hash}', 'delete'),
    (32, 'freehold.sessions', 'sessions', 'x.user_id = $1', null,
      '{id,device,address,city,country,client_id,amr,aal,authenticated_at,created_at,last_active_at,expires_at,ended_at,
        ended_because}', '{user_id,device_id}', 'delete'),
    (33, 'freehold.login_challenges', null, 'x.user_id = $1', null, '{}',
      '{token_hash,user_id,guard,client,audience,device,amr,failures,created_at,expires_at,used_at}', 'delete'),
    (34, 'freehold.totp_factors', 'authenticator_app', 'x.user_id = $1', null,
      '{created_at,enabled_at}', '{user_id,secret_encrypted,last_step}', 'delete'),
    (35, 'freehold.backup_codes', 'backup_codes', 'x.user_id = $1', null, '{created_at,used_at}', '{code_mac,user_id}', 'delete'),
    (35, 'freehold.remembered_devices', 'remembered_devices', 'x.user_id = $1', null,
      '{created_at,expires_at}', '{user_id,device}', 'delete'),
    (36, 'freehold.email_logins', 'logins_by_mail', 'x.user_id = $1', null,
      '{target,agent,city,country,failures,created_at,expires_at,used_at}',
      '{request_hash,link_hash,code_hash,user_id}', 'delete'),
    (36, 'freehold.passwords', 'passwords', 'x.user_id = $1', null,
      '{is_first,created_at,replaced_at}', '{id,user_id,password_hash,warned_at}', 'delete'),
    (37, 'freehold.one_time_tokens', 'mailed_tokens', 'x.user_id = $1', null,
      '{kind,target,tries,created_at,expires_at,used_at}', '{token_hash,user_id}', 'delete'),
    (38, 'freehold.registrations', 'registrations',
      'x.email = (select u.email from freehold.users u where u.id = $1)', 'x.email = any ($2) or x.username = any ($2)',
      '{email,username,given_name,family_name,locale,created_at,expires_at,used_at}',
      '{token_hash,secret_hash,password_hash,is_mailed}', 'delete'),
    -- Of nobody known: what was tried from where the person came from.
    (39, 'freehold.login_attempts', 'login_attempts', 'x.user_id = $1',
      'x.identifier = any ($2) or x.user_id is null and exists (
        select from unnest($3) n (network) where right(x.guard, length(n.network) + 1) = '':'' || n.network)',
      '{identifier,state,created_at}', '{id,user_id,key,guard,hash_parameters}', 'delete'),
    (40, 'freehold.lockouts', 'lockouts', 'strpos(concat_ws('' '', x.key, x.parent), $1::text) > 0',
      'starts_with(x.key, ''unknown:'') and exists (
        select from unnest($3) n (network) where right(x.key, length(n.network) + 1) = '':'' || n.network)',
      '{failures,failed_at,locked_until}', '{key,parent}', 'delete'),
    -- Of a network that nothing was counted of yet, so that no count is lost.
    (41, 'access.counted_failures', null, 'false', 'x.counts = ''{}'' and x.network = any ($3)',
      '{}', '{hour,network,seen,counts}', 'delete'),
    (42, 'access.kept_answers', null, 'x.user_id = $1',
      'strpos(x.resource::text, $1::text) > 0 or access.mentions(x.resource::text, $2)',
      '{}', '{id,user_id,request_hash,resource,secrets_encrypted,created_at}', 'delete'),
    (43, 'access.session_places', null,
      'x.session_id in (select s.id from freehold.sessions s where s.user_id = $1)', null,
      '{}', '{place,session_id,free_from}', 'keep'),
    (50, 'freehold.erasures', 'erasures', 'x.user_id = $1', null,
      '{id,reason,requested_at,erase_at,cancelled_at,erased_at}', '{user_id,requested_by,cancel_hash,traces}', 'keep'),
    -- Removing one of these sends a mail.
    (59, 'freehold.external_identities', 'identities', 'x.user_id = $1', null,
      '{id,provider,issuer,external_id,email,created_at,last_used_at}', '{user_id,provider_id}', 'delete'),
    (60, 'freehold.passkeys', 'passkeys', 'x.user_id = $1', null,
      '{id,rp_id,ends_at,name,aaguid,transports,is_synced,created_at,last_used_at}',
      '{user_id,credential_id,public_key,counter}', 'delete'),
    (61, 'freehold.mail_attempts', 'mail_attempts',
      'x.mail_id in (select m.id from freehold.mails m where m.user_id = $1)',
      'x.mail_id in (select m.id from freehold.mails m where m.recipient = any ($2) or access.mentions(m.data::text, $2))',
      '{mail_id,started_at,finished_at,outcome,detail}', '{id}', 'delete'),
    (62, 'freehold.mails', 'mails', 'x.user_id = $1', 'x.recipient = any ($2) or access.mentions(x.data::text, $2)',
      '{id,kind,channel,recipient,locale,data,state,created_at,finished_at}',
      '{user_id,secrets_encrypted,trace_id,attempts,next_at,lease_until}', 'delete')
$$;
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.employees REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('employee', '{document_number,birth_date,address,district,emergency_contact,emergency_phone}', '{updated_at,name,document_hint}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.employees REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('employee', '{document_number,birth_date,address,district,emergency_contact,emergency_phone}', '{updated_at,name,document_hint}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.employees REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('employee', '{document_number,birth_date,address,district,emergency_contact,emergency_phone}', '{updated_at,name,document_hint}', '{id}');
--> statement-breakpoint
create trigger before_employee before insert or update on freehold.employees
  for each row execute function access.before_employee();
--> statement-breakpoint
create trigger after_account_left after update of is_active, terminated_at on freehold.users
  for each row when (old.is_active and not new.is_active) execute function access.after_account_left();
--> statement-breakpoint
create policy read on freehold.employees for select
  using ((( SELECT (access.scope() = 'all'::access.scope)) OR (user_id = ANY (( SELECT access.scope_owner_ids() AS scope_owner_ids)::uuid[])) OR (unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[]))));
--> statement-breakpoint
create policy make on freehold.employees for insert
  with check ((( SELECT (access.permission() = ANY ('{employee:create}'::text[]))) AND (( SELECT (access.scope() = 'all'::access.scope)) OR (unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[])))));
--> statement-breakpoint
create policy change on freehold.employees for update
  using ((( SELECT (access.permission() = ANY ('{employee:update}'::text[]))) AND (( SELECT (access.scope() = 'all'::access.scope)) OR (unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[])))))
  with check ((( SELECT (access.scope() = 'all'::access.scope)) OR (unit_id = ANY (( SELECT access.scope_unit_ids() AS scope_unit_ids)::uuid[]))));
--> statement-breakpoint
revoke execute
  on procedure access.protect(regclass,text,text,text,text,boolean,text[],text[],text[],boolean,text[],text[],boolean,text[])
  from public;
--> statement-breakpoint
revoke execute
  on function access.after_account_left(),
    access.before_employee(),
    access.began_at(date,date),
    access.employee_to_change(uuid),
    access.end_what_was_handed_out(uuid),
    access.reinstate_employee(uuid),
    access.sensitive_of(uuid[]),
    access.terminate_employee(uuid,text,timestamp with time zone)
  from public;
--> statement-breakpoint
grant insert (id, user_id, document_type, document_number, given_names, family_name, sex, nationality, birth_date, employment, position, area, cost_centre, unit_id, contractor_since, employed_since, email, phone, address, district, emergency_contact, emergency_phone), select (id, user_id, document_type, document_hint, given_names, family_name, name, sex, nationality, employment, position, area, cost_centre, unit_id, contractor_since, employed_since, terminated_at, termination_reason, email, phone, created_at, updated_at), update (user_id, document_type, document_number, given_names, family_name, sex, nationality, birth_date, employment, position, area, cost_centre, unit_id, contractor_since, employed_since, email, phone, address, district, emergency_contact, emergency_phone)
  on freehold.employees
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.began_at(date,date),
    access.reinstate_employee(uuid),
    access.sensitive_of(uuid[]),
    access.terminate_employee(uuid,text,timestamp with time zone)
  to freehold_app;
