-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table access.left_avatars
--   alters table freehold.users
-- Definitions:
--   creates function access.after_avatar_change
--   creates function access.avatars_due
--   creates function access.avatars_left
--   creates function access.forget_avatars
--   creates function access.set_own_avatar
--   creates function access.unknown_avatars
--   creates trigger after_avatar_change on freehold.users
--   replaces function access.check_user_change
--   replaces function access.personal_tables
--   replaces function access.profile
--   replaces function access.who_am_i

set local check_function_bodies = off;
--> statement-breakpoint
CREATE TABLE "access"."left_avatars" (
  "user_id" uuid NOT NULL,
  "version" text NOT NULL,
  "left_at" timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT "left_avatars_user_id_version_pk" PRIMARY KEY("user_id","version")
);
--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "avatar" text;
--> statement-breakpoint
ALTER TABLE "access"."left_avatars" ADD CONSTRAINT "left_avatars_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE INDEX "left_avatars_at" ON "access"."left_avatars" USING btree ("left_at");
--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD CONSTRAINT "users_avatar_form" CHECK ("freehold"."users"."avatar" ~ '^[0-9a-f]{32}$');
--> statement-breakpoint
alter table access.left_avatars enable row level security;
--> statement-breakpoint
-- A user as clients show them, with the roles that they are assigned now. `role` is the primary one, `users.role`, if it
-- is held and active, else the first of those that are. One statement, because me is what is asked most.
create or replace function access.profile(subject uuid) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select jsonb_build_object(
      'sub', u.id,
      'username', u.username,
      'email', u.email,
      'email_verified', u.email_verified,
      'given_name', u.given_name,
      'family_name', u.family_name,
      'role', h.role,
      'roles', h.roles,
      'is_active', u.is_active,
      'avatar', u.avatar)
    from freehold.users u
      cross join lateral (
        select
          (array_agg(r.name order by r.name = u.role desc nulls last, ur.starts_at, r.name))[1] as role,
          coalesce(array_agg(distinct r.name), '{}') as roles
        from freehold.user_roles ur
          join freehold.role_periods p on p.role_id = ur.role_id
          join freehold.roles r on r.id = ur.role_id
        where ur.user_id = u.id
          and access.in_force(ur.starts_at, ur.ends_at, now())
          and access.in_force(p.starts_at, p.ends_at, now())
      ) h
    where u.id = subject);
end $$;
--> statement-breakpoint
-- The caller as decisions see them: {sub, username, roles, permissions, mfa, session, api_key, key_expires_at}. One of
-- session and api_key is null. Volatile, so that it sees what the admission has noted in the same statement.
create or replace function access.who_am_i() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  u jsonb := access.profile((f ->> 'user_id')::uuid);
  s freehold.sessions;
  k freehold.api_keys;
  who freehold.users;
begin
  select * into who from freehold.users y where y.id = (f ->> 'user_id')::uuid;
  select * into s from freehold.sessions x where x.id = (f ->> 'session_id')::uuid;
  select * into k from freehold.api_keys x where x.id = (f ->> 'key_id')::uuid;
  return case when u is not null then jsonb_build_object(
    'sub', u -> 'sub',
    'username', u -> 'username',
    'avatar', u -> 'avatar',
    'roles', u -> 'roles',
    'permissions', access.permissions_of((u ->> 'sub')::uuid, now()),
    'mfa', jsonb_build_object(
      'methods', access.factor_methods(who),
      'backup_codes_left', (
        select count(*) from freehold.backup_codes b where b.user_id = who.id and b.used_at is null),
      'due_at', (select access.factor_due_at(who, t) from freehold.tenant t)),
    'session', case when s.id is not null then jsonb_build_object(
      'id', s.id,
      'device', s.device,
      'address', s.address,
      'created_at', s.created_at,
      'last_active_at', s.last_active_at,
      'expires_at', s.expires_at) end,
    'api_key', case when k.id is not null then jsonb_build_object(
      'id', k.id,
      'prefix', k.prefix,
      'name', k.name,
      'permissions', k.permissions) end,
    'key_expires_at', k.expires_at) end;
end $$;
--> statement-breakpoint
create or replace function access.after_avatar_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into access.left_avatars (user_id, version)
  values (old.id, old.avatar)
  on conflict do nothing;
  return null;
end $$;
--> statement-breakpoint
-- Raises FH403.
create or replace function access.set_own_avatar(version text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  before text;
begin
  if access.principal() is null or access.key() is not null then
    perform access.refuse('forbidden', 'You change yourself with a session, not with an API key.');
  end if;
  perform access.must_be_licensed();
  select u.avatar into before from freehold.users u where u.id = access.principal() for no key update;
  update freehold.users u
  set avatar = set_own_avatar.version
  where u.id = access.principal() and u.avatar is distinct from set_own_avatar.version;
  return before;
end $$;
--> statement-breakpoint
create or replace function access.avatars_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(l.left_at) from access.left_avatars l
$$;
--> statement-breakpoint
create or replace function access.avatars_left(at_most integer) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('user_id', x.user_id, 'version', x.version)), '[]')
  from (select l.user_id, l.version from access.left_avatars l order by l.left_at limit at_most) x
$$;
--> statement-breakpoint
create or replace function access.forget_avatars(gone jsonb) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  delete from access.left_avatars l
  using jsonb_to_recordset(gone) g (user_id uuid, version text)
  where l.user_id = g.user_id and l.version = g.version
$$;
--> statement-breakpoint
create or replace function access.unknown_avatars(found jsonb) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('user_id', f.user_id, 'version', f.version)), '[]')
  from jsonb_to_recordset(found) f (user_id uuid, version text)
  where not exists (select from freehold.users u where u.id = f.user_id and u.avatar = f.version)
$$;
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
        phone_verified,role,unit_id,manager_id,designation,description,is_active,locale,timezone,max_sessions,preferences,avatar,
        joined_at,terminated_at,created_at,updated_at,erased_at}'::text[],
      '{name}'::text[],
      $set$username = 'former-user-' || replace(x.id::text, '-', ''),
        email = 'former-user-' || replace(x.id::text, '-', '') || '@erased.invalid', email_verified = false,
        given_name = 'Former user', family_name = null, phone = null, phone_verified = false, role = null,
        manager_id = null, designation = null, description = null, locale = 'en', timezone = 'UTC', preferences = '{}', avatar = null,
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
    -- Until its objects are deleted.
    (44, 'access.left_avatars', null, 'x.user_id = $1', null, '{}', '{user_id,version,left_at}', 'keep'),
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
  own text[] := '{given_name,family_name,phone,locale,timezone,preferences,description,avatar}';
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
    and changed && '{is_active,role,unit_id,manager_id,terminated_at,max_sessions}' then
    perform access.require_power_of(array[was.id]);
  end if;
  if was.id = access.principal()
    and is_now.unit_id is distinct from was.unit_id
    and access.depends_on_unit(was.id) then
    perform access.refuse('forbidden', 'You cannot change your own unit: the scope of your permissions depends on it.');
  elsif access.scope() = 'all' then
    return;
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
create trigger after_avatar_change after update of avatar on freehold.users
  for each row when (old.avatar is not null and new.avatar is distinct from old.avatar)
  execute function access.after_avatar_change();
--> statement-breakpoint
revoke execute
  on function access.after_avatar_change(),
    access.avatars_due(),
    access.avatars_left(integer),
    access.forget_avatars(jsonb),
    access.set_own_avatar(text),
    access.unknown_avatars(jsonb)
  from public;
--> statement-breakpoint
grant update (avatar)
  on freehold.users
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.set_own_avatar(text)
  to freehold_app;
