-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table freehold.organizations
--   alters table freehold.units
--   alters table freehold.users
-- Definitions:
--   creates 14 objects
--   replaces function access.check_user_change
--   replaces function access.counted_now
--   replaces function access.personal_tables
--   replaces function access.require_reach
--   replaces function access.set_limits
--   replaces function access.used

set local check_function_bodies = off;
--> statement-breakpoint
CREATE TABLE "freehold"."organizations" (
  "id" uuid PRIMARY KEY NOT NULL,
  "name" text NOT NULL,
  "folded" text GENERATED ALWAYS AS (lower(name)) STORED NOT NULL,
  "settings" jsonb DEFAULT '{}'::jsonb NOT NULL,
  "plan_group" text,
  "user_limit" integer,
  "active_users" integer DEFAULT 0 NOT NULL,
  "state" text DEFAULT 'active' NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "updated_at" timestamp with time zone DEFAULT now() NOT NULL,
  "ended_at" timestamp with time zone,
  CONSTRAINT "organizations_name_form" CHECK (length("freehold"."organizations"."name") between 1 and 70),
  CONSTRAINT "organizations_plan_group_form" CHECK (length("freehold"."organizations"."plan_group") between 1 and 64),
  CONSTRAINT "organizations_user_limit" CHECK ("freehold"."organizations"."user_limit" between 1 and 1000000),
  CONSTRAINT "organizations_active_users" CHECK ("freehold"."organizations"."active_users" >= 0),
  CONSTRAINT "organizations_state" CHECK ("freehold"."organizations"."state" in ('active', 'ending', 'ended'))
);
--> statement-breakpoint
ALTER TABLE "freehold"."units" ADD COLUMN "organization_id" uuid;
--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "organization_id" uuid;
--> statement-breakpoint
CREATE UNIQUE INDEX "organizations_name" ON "freehold"."organizations" USING btree ("folded") WHERE "freehold"."organizations"."state" <> 'ended';
--> statement-breakpoint
CREATE INDEX "organizations_by_name" ON "freehold"."organizations" USING btree (folded collate "C","id");
--> statement-breakpoint
CREATE INDEX "organizations_by_created" ON "freehold"."organizations" USING btree ("created_at","id");
--> statement-breakpoint
ALTER TABLE "freehold"."units" ADD CONSTRAINT "units_organization_id_organizations_id_fk" FOREIGN KEY ("organization_id") REFERENCES "freehold"."organizations"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD CONSTRAINT "users_organization_id_organizations_id_fk" FOREIGN KEY ("organization_id") REFERENCES "freehold"."organizations"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE INDEX "units_organization" ON "freehold"."units" USING btree ("organization_id") WHERE "freehold"."units"."organization_id" is not null;
--> statement-breakpoint
CREATE INDEX "users_organization_username" ON "freehold"."users" USING btree ("organization_id",username collate "C","id") WHERE "freehold"."users"."organization_id" is not null;
--> statement-breakpoint
alter table freehold.organizations enable row level security;
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
  elsif resource = 'organization' then
    far := access.effective_scope(me, 'organization:read');
    if exists (
      select
      from freehold.organizations o
      where o.id = thing
        and o.state <> 'ended'
        and (far.scope = 'all' or o.id = (select u.organization_id from freehold.users u where u.id = me)))
    then
      perform access.refuse('forbidden', format('You can read this, but your %s does not reach it.', access.permission()));
    end if;
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
    -- Overrides and assignments are written of others alone.
    or (owner = any (access.scope_owner_ids()) and resource not in ('override', 'assignment'))
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
-- Sets the limits, {max_users, max_organizations, max_documents, limit_documents, max_api_keys, max_sessions}, where null
-- and a missing one are no limit; returns access.used(). What is not counted yet is counted, after whoever creates has
-- come to their end: five seconds, then this fails.
create or replace function access.set_limits(wanted jsonb) returns jsonb
language plpgsql volatile set lock_timeout = '5s' set search_path = pg_catalog, pg_temp as $$
declare
  counted text;
  wished integer;
  was access.limits;
begin
  -- Before any row is locked: whoever creates shares this lock, and then locks a row.
  if exists (
    select
    from unnest('{users,organizations,api_keys,sessions}'::text[]) n (name)
      left join access.limits l on l.name = n.name
    where l.most is distinct from (wanted ->> ('max_' || n.name))::integer
      and (n.name = 'sessions' or l.most is null or wanted ->> ('max_' || n.name) is null))
  then
    perform pg_advisory_xact_lock(hashtext('access.limits'));
  end if;
  foreach counted in array '{api_keys,documents,organizations,sessions,users}'::text[] loop
    wished := case
      when counted = 'documents' and not coalesce((wanted ->> 'limit_documents')::boolean, false) then null
      else (wanted ->> ('max_' || counted))::integer
    end;
    select * into was from access.limits l where l.name = counted;
    if wished is not distinct from was.most then
      continue;
    elsif wished is null and counted <> 'documents' then
      delete from access.limits l where l.name = counted;
    else
      insert into access.limits as l (name, most, used)
      values (counted, wished, case when was.name is null then access.counted_now(counted) else 0 end)
      on conflict on constraint limits_pkey do update set most = excluded.most;
    end if;
    if counted = 'sessions' then
      perform access.make_session_places(wished);
    end if;
  end loop;
  return access.used();
end $$;
--> statement-breakpoint
-- Counts from the rows themselves.
create or replace function access.counted_now(counted text) returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case counted
    -- The active users as all but the others, both of which an index counts.
    when 'users' then (select count(*) from freehold.users) - (select count(*) from freehold.users u where not u.is_active)
    when 'organizations' then (select count(*) from freehold.organizations o where o.state <> 'ended')
    when 'api_keys' then (
      select count(*) from freehold.api_keys k where k.revoked_at is null and coalesce(k.expires_at > now(), true))
    else 0
  end::integer
$$;
--> statement-breakpoint
-- {users, organizations, documents, api_keys, sessions}: how much of each there is. Sessions are counted where they are
-- limited (null: they are not).
create or replace function access.used() returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'users', coalesce((select l.used from access.limits l where l.name = 'users'), access.counted_now('users')),
    'organizations', access.counted_now('organizations'),
    'documents', coalesce((select l.used from access.limits l where l.name = 'documents'), 0),
    'api_keys', access.counted_now('api_keys'),
    'sessions', (
      select (
        select count(*)
        from access.session_places p
          join freehold.sessions s on s.id = p.session_id
          cross join freehold.tenant t
        where s.ended_at is null
          and access.session_ends(s, t) > now())
      from access.limits l
      where l.name = 'sessions'))
$$;
--> statement-breakpoint
-- Applies the rules of one organization. Below scope `all` its limit and what it has bought are not changed.
create or replace function access.before_organization() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  is_limited boolean := access.principal() is not null and access.scope() <> 'all';
begin
  if tg_op = 'INSERT' then
    perform access.must_be_licensed(), access.lock_limit('organizations');
  elsif (new.name, new.settings, new.plan_group, new.user_limit, new.state)
    is not distinct from (old.name, old.settings, old.plan_group, old.user_limit, old.state) then
    return new;
  elsif old.state <> 'active' and access.principal() is not null then
    perform access.refuse('illegal_state', 'This organization is being wiped out.');
  elsif is_limited and (new.plan_group, new.user_limit) is distinct from (old.plan_group, old.user_limit) then
    perform access.refuse('forbidden', 'This needs access to all organizations.');
  end if;
  new.updated_at := now();
  if octet_length(new.settings::text) > 8192 then
    perform access.refuse('invalid_request', 'must be at most 8 KiB', 'settings');
  elsif new.plan_group is not null
    and (tg_op = 'INSERT' or new.plan_group is distinct from old.plan_group)
    and not exists (select from freehold.roles r where r.name = new.plan_group and r.deleted_at is null) then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.plan_group), 'plan_group');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Counts an organization that is made, or has ended.
create or replace function access.count_organization() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  change integer := (new.state <> 'ended')::integer
    - case when tg_op = 'UPDATE' then (old.state <> 'ended')::integer else 0 end;
  l access.limits;
begin
  if change = 0 then
    return null;
  end if;
  l := access.lock_limit('organizations');
  if l.name is null then
    return null;
  end if;
  update access.limits x set used = x.used + change where x.name = l.name;
  if change > 0 and l.used + change > l.most then
    perform access.refuse('limit_reached', format(
      'The limit max_organizations is reached: this tenant can have at most %s organizations.', l.most));
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Whoever belongs to an organization is in a unit of it, or in none. The unit is locked, so that it stays whose it is.
create or replace function access.before_joining() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  of_unit uuid;
begin
  if new.organization_id is null
    or new.unit_id is null
    or (tg_op = 'UPDATE' and (new.organization_id, new.unit_id) is not distinct from (old.organization_id, old.unit_id)) then
    return new;
  end if;
  select n.organization_id into of_unit from freehold.units n where n.id = new.unit_id for share;
  if found and of_unit is distinct from new.organization_id then
    perform access.refuse('invalid_request', 'is not a unit of the organization of this user', 'unit_id');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Counts users who join an organization or leave it, become active or no longer are.
create or replace function access.after_joining() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  joins boolean := new.organization_id is not null
    and (tg_op = 'INSERT' or new.organization_id is distinct from old.organization_id);
  was uuid := case when tg_op = 'UPDATE' and old.is_active then old.organization_id end;
  is_now uuid := case when new.is_active then new.organization_id end;
  o freehold.organizations;
  change integer;
begin
  if not joins and was is not distinct from is_now then
    return null;
  end if;
  for o in
    select *
    from freehold.organizations x
    where x.id in (was, new.organization_id)
    order by x.id
    for no key update
  loop
    if joins and o.id = new.organization_id and o.state <> 'active' then
      perform access.refuse('illegal_state', 'This organization is being wiped out.');
    end if;
    change := coalesce((o.id = is_now)::integer, 0) - coalesce((o.id = was)::integer, 0);
    if change = 0 then
      continue;
    end if;
    update freehold.organizations x set active_users = x.active_users + change where x.id = o.id;
    if change > 0 and o.active_users + change > o.user_limit then
      perform access.refuse('limit_reached', format(
        'The limit of this organization is reached: it can have at most %s active users.', o.user_limit));
    end if;
  end loop;
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
        phone_verified,role,unit_id,organization_id,manager_id,designation,description,is_active,locale,timezone,max_sessions,preferences,
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
-- Refuses a change beyond the permission and scope of this transaction: of other columns, to another unit, or under
-- another manager. `was` is null for a new user.
create or replace function access.check_user_change(was freehold.users, is_now freehold.users) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  -- The columns that users may change of themselves, or of a delegator for whom they act, below scope `all`. Above
  -- all not the unit, from which the scopes team and department are measured.
  own text[] := '{given_name,family_name,phone,locale,timezone,preferences,description}';
  -- Columns that the database keeps itself.
  kept text[] := '{name,updated_at,email_verified,phone_verified}';
  changed text[];
begin
  if was.id is not null then
    select array_agg(n.key)
    into changed
    from jsonb_each(to_jsonb(is_now)) n
      join jsonb_each(to_jsonb(was)) o on o.key = n.key
    where n.value <> o.value
      and n.key <> all (kept);
    if access.permission() = 'user:delete' and (is_now.is_active or not changed <@ '{is_active,terminated_at}') then
      perform access.refuse('forbidden', 'user:delete deactivates a user and changes nothing else.');
    -- Admitted to deactivate somebody, whatever it says that it does.
    elsif access.permission() = 'user:update'
      and (is_now.is_active or not changed <@ '{is_active,terminated_at}')
      and exists (select from freehold.tenant t where t.read_only_from <= now())
    then
      perform access.refuse_unlicensed();
    elsif access.scope() <> 'all'
      and (is_now.id = any (access.scope_owner_ids()) or is_now.id = access.principal())
      and not changed <@ own then
      perform access.refuse('forbidden', format('Another user must change %s here.',
        (select string_agg(c, ', ' order by c) from unnest(changed) c where c <> all (own))));
    elsif access.principal() = is_now.id and not is_now.is_active and was.is_active then
      perform access.refuse('illegal_state', 'You cannot deactivate yourself.');
    end if;
  end if;
  -- Whoever is to leave does not choose to stay.
  if was.id = access.principal() and 'terminated_at' = any (changed) then
    perform access.refuse('forbidden', format('Another user must change %s here.', 'terminated_at'));
  end if;
  if was.id is not null
    and changed && '{is_active,role,unit_id,organization_id,manager_id,terminated_at,max_sessions}' then
    perform access.require_power_of(array[was.id]);
  end if;
  if was.id = access.principal()
    and is_now.unit_id is distinct from was.unit_id
    and access.depends_on_unit(was.id) then
    perform access.refuse('forbidden', 'You cannot change your own unit: the scope of your permissions depends on it.');
  elsif access.scope() = 'all' then
    return;
  -- Who manages one organization takes nobody in from another, and lets nobody go where they reach no one.
  elsif is_now.organization_id is distinct from was.organization_id then
    perform access.refuse('forbidden', 'This needs access to all organizations.');
  -- One source of the permission must reach both the old and the new unit: two delegations that each reach one of
  -- them do not add up.
  elsif is_now.unit_id is distinct from was.unit_id
    and is_now.unit_id is not null
    and not exists (
      select
      from unnest(access.reasons(access.principal(), access.permission(), now())) s
      where is_now.unit_id in (select access.units_in_scope(s.holder, s.scope))
        and (was.id is null or was.unit_id in (select access.units_in_scope(s.holder, s.scope)))
    ) then
    perform access.refuse('invalid_request', 'is not a unit that you can access', 'unit_id');
  elsif is_now.manager_id is distinct from was.manager_id
    and not exists (
      select
      from freehold.users u
      where u.id = is_now.manager_id
        and (u.id = any (access.scope_owner_ids()) or u.unit_id = any (access.scope_unit_ids()))
    )
    and is_now.manager_id is not null then
    perform access.refuse('invalid_request', 'is not a user whom you can access', 'manager_id');
  end if;
end $$;
--> statement-breakpoint
CREATE TRIGGER audit_insert AFTER INSERT ON freehold.organizations REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('organization', '{}', '{updated_at,folded,active_users}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_update AFTER UPDATE ON freehold.organizations REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('organization', '{}', '{updated_at,folded,active_users}', '{id}');
--> statement-breakpoint
CREATE TRIGGER audit_delete AFTER DELETE ON freehold.organizations REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION access.audit('organization', '{}', '{updated_at,folded,active_users}', '{id}');
--> statement-breakpoint
create trigger before_organization before insert or update on freehold.organizations
  for each row execute function access.before_organization();
--> statement-breakpoint
create trigger after_organization_counted after insert or update of state on freehold.organizations
  for each row execute function access.count_organization();
--> statement-breakpoint
create trigger before_joining before insert or update of organization_id, unit_id on freehold.users
  for each row execute function access.before_joining();
--> statement-breakpoint
create trigger after_joining after insert or update of organization_id, is_active, joined_at, terminated_at
  on freehold.users
  for each row execute function access.after_joining();
--> statement-breakpoint
-- Not access.protect: users read the organization that they belong to, whatever their scope, and nobody reads one that
-- has ended.
create policy read on freehold.organizations for select
  using (
    state <> 'ended'
    and (
      (select access.scope() = 'all')
      or id = (select u.organization_id from freehold.users u where u.id = (select access.principal()))
    )
  );
--> statement-breakpoint
create policy make on freehold.organizations for insert
  with check ((select access.permission() = 'organization:create' and access.scope() = 'all'));
--> statement-breakpoint
create policy change on freehold.organizations for update
  using ((select access.permission() = 'organization:update' and access.scope() = 'all'))
  with check ((select access.scope() = 'all'));
--> statement-breakpoint
revoke execute
  on function access.after_joining(),
    access.before_joining(),
    access.before_organization(),
    access.count_organization()
  from public;
--> statement-breakpoint
grant insert (id, name, settings, plan_group, user_limit), select, update (name, settings, plan_group, user_limit)
  on freehold.organizations
  to freehold_app;
--> statement-breakpoint
grant insert (organization_id), update (organization_id)
  on freehold.users
  to freehold_app;
