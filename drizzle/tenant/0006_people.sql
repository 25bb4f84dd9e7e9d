-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table freehold.erasures
--   alters table freehold.users
-- Definitions:
--   creates 23 objects
--   replaces function access.before_user
--   replaces function access.is_built_in_activity
--   replaces function access.is_first_notice
--   replaces function access.keep_admin
--   drops and creates trigger after_email_change on freehold.users

set local check_function_bodies = off;
--> statement-breakpoint
drop trigger after_email_change on freehold.users;
--> statement-breakpoint
CREATE TABLE "freehold"."erasures" (
  "id" uuid PRIMARY KEY NOT NULL,
  "user_id" uuid NOT NULL,
  "requested_by" uuid,
  "reason" text,
  "requested_at" timestamp with time zone DEFAULT now() NOT NULL,
  "erase_at" timestamp with time zone NOT NULL,
  "cancel_hash" "bytea",
  "cancelled_at" timestamp with time zone,
  "traces" jsonb,
  "erased_at" timestamp with time zone,
  CONSTRAINT "erasures_reason_form" CHECK (length("freehold"."erasures"."reason") <= 500),
  CONSTRAINT "erasures_over_once" CHECK ("freehold"."erasures"."cancelled_at" is null or "freehold"."erasures"."erased_at" is null)
);
--> statement-breakpoint
ALTER TABLE "freehold"."users" ADD COLUMN "erased_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."erasures" ADD CONSTRAINT "erasures_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "freehold"."erasures" ADD CONSTRAINT "erasures_requested_by_users_id_fk" FOREIGN KEY ("requested_by") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE UNIQUE INDEX "erasures_open" ON "freehold"."erasures" USING btree ("user_id") WHERE "freehold"."erasures"."cancelled_at" is null;
--> statement-breakpoint
CREATE UNIQUE INDEX "erasures_token" ON "freehold"."erasures" USING btree ("cancel_hash") WHERE "freehold"."erasures"."cancel_hash" is not null;
--> statement-breakpoint
CREATE INDEX "erasures_due" ON "freehold"."erasures" USING btree ("erase_at") WHERE "freehold"."erasures"."cancelled_at" is null and "freehold"."erasures"."erased_at" is null;
--> statement-breakpoint
CREATE INDEX "erasures_user" ON "freehold"."erasures" USING btree ("user_id","requested_at");
--> statement-breakpoint
alter table freehold.erasures enable row level security;
--> statement-breakpoint
-- Whether a type of activity is one that only Freehold itself writes: the given list, and the changes of every table
-- with audit triggers.
create or replace function access.is_built_in_activity(activity text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select
    activity in (
      'LOGIN', 'LOGOUT', 'LOGIN_FAILED', 'PASSWORD_CHANGE', 'PASSWORD_RESET', 'PASSWORD_CHANGE_FAILED',
      'MFA_ENABLED', 'MFA_DISABLED', 'MFA_CHANGE_FAILED', 'BACKUP_CODE_USED', 'BACKUP_CODES_RENEWED',
      'PROFILE_UPDATE', 'PERMISSION_CHANGE', 'PERMISSIONS_READ',
      'ROLE_ASSIGNED', 'ROLE_REMOVED', 'API_KEY_CREATED', 'API_KEY_REVOKED', 'SUSPICIOUS_ACTIVITY', 'ACCESS_REFUSED',
      'EXPORT', 'AUDIT_ERASED', 'USERS_IMPORTED', 'USER_UNLOCKED', 'USER_REGISTERED', 'REGISTRATION_REQUESTED',
      'PASSWORD_RESET_REQUESTED', 'EMAIL_CHANGE_REQUESTED', 'DOCUMENTS_COUNTED', 'STEP_UP',
      'STEP_UP_FAILED', 'PASSKEY_CLONE_SUSPECTED', 'ERASURE_REQUESTED', 'ERASURE_CANCELLED', 'USER_ERASED'
    )
    or exists (
      select
      from pg_trigger t
      cross join unnest(array['CREATED', 'UPDATED', 'DELETED']) as done (word)
      where t.tgfoid = 'access.audit()'::regprocedure
        and activity = upper(split_part(encode(t.tgargs, 'escape'), '\000', 1)) || '_' || done.word
    )
$$;
--> statement-breakpoint
-- Whether a mail tells somebody that their password, address or second factor was changed, or that they have a new API
-- key, for the first time within an hour: whoever does that could use the other limits up before, so that nobody is told.
-- Such mails have a day's limit of their own.
create or replace function access.is_first_notice(made freehold.mails) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select made.kind in (
      'api_key_created', 'email_changed', 'mfa_disabled', 'mfa_enabled', 'mfa_reset',
      'passkey_added', 'passkey_removed', 'password_changed', 'erasure_requested', 'erasure_by_admin')
    and not exists (
      select
      from freehold.mails m
      where m.kind = made.kind
        and m.id <> made.id
        and access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
        and m.created_at > now() - interval '1 hour')
$$;
--> statement-breakpoint
-- Raises FH409.
create or replace function access.request_erasure(
  tenant_id uuid,
  system_key text,
  token_hash bytea,
  secrets_encrypted text,
  why text
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  e freehold.erasures;
begin
  perform access.check_system(tenant_id, system_key);
  if access.principal() is null or access.key() is not null then
    perform access.refuse('forbidden', 'Your account is erased with a session, not with an API key.');
  end if;
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  e := access.open_erasure(u, null, why, now() + interval '7 days', token_hash);
  perform access.enqueue_mail(
    'erasure_requested', u.id, u.email, jsonb_build_object('erase_at', e.erase_at), secrets_encrypted);
  return access.erasure_shown(e);
end $$;
--> statement-breakpoint
-- Raises FH404, FH403, FH409.
create or replace function access.request_erasure_of(subject uuid, why text, at_once boolean) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  e freehold.erasures;
begin
  perform access.require_erasable(subject);
  perform access.require_power_of(array[subject]);
  select * into u from freehold.users x where x.id = subject for no key update;
  e := access.open_erasure(
    u, access.principal(), why, case when at_once then now() else now() + interval '7 days' end, null);
  if access.is_present(u) then
    perform access.enqueue_mail('erasure_by_admin', u.id, u.email, jsonb_build_object('erase_at', e.erase_at));
  end if;
  return access.erasure_shown(e);
end $$;
--> statement-breakpoint
-- Whether the admitted administrator may erase, or keep, this user: within reach, and not themselves. Raises FH404, FH403.
create or replace function access.require_erasable(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_reach('user', subject);
  if access.permission() is distinct from 'user:delete' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif subject = access.principal() then
    perform access.refuse('forbidden', 'Erase your own account with auth/me/erase.');
  elsif access.scope() <> 'all' and subject = any (access.scope_owner_ids()) then
    perform access.refuse('forbidden', 'A delegated permission cannot be used on its delegator.');
  end if;
end $$;
--> statement-breakpoint
-- Opens the request for a user whose row is locked. Raises FH409.
create or replace function access.open_erasure(
  u freehold.users,
  requested_by uuid,
  why text,
  erase_at timestamptz,
  token_hash bytea
) returns freehold.erasures
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.erasures;
begin
  if u.erased_at is not null then
    perform access.refuse('illegal_state', 'This user has been erased already.');
  elsif u.is_active and not access.has_admin(u.id) then
    perform access.refuse('illegal_state', 'The last administrator cannot be erased: make somebody else one first.');
  end if;
  insert into freehold.erasures (id, user_id, requested_by, reason, erase_at, cancel_hash)
  values (gen_random_uuid(), u.id, open_erasure.requested_by, why, open_erasure.erase_at, token_hash)
  on conflict (user_id) where cancelled_at is null do nothing
  returning * into e;
  if e.id is null then
    perform access.refuse('illegal_state', 'It has been asked for already: cancel that request first.');
  end if;
  perform access.record(
    'ERASURE_REQUESTED', 'request', 'user', u.id::text, null,
    jsonb_build_object('erasure_id', e.id, 'erase_at', e.erase_at, 'reason', why), 40
  );
  return e;
end $$;
--> statement-breakpoint
-- The form of the wire.
create or replace function access.erasure_shown(e freehold.erasures) returns jsonb
language sql stable
return jsonb_build_object(
  'id', e.id,
  'user_id', e.user_id,
  'requested_by', e.requested_by,
  'reason', e.reason,
  'requested_at', to_char(e.requested_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  'erase_at', to_char(e.erase_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
);
--> statement-breakpoint
-- The open request about the admitted user; null: there is none. Who asked in whose name is for the person to know.
create or replace function access.erasure() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.erasure_shown(e)
  from freehold.erasures e
  where e.user_id = access.principal() and e.cancelled_at is null and e.erased_at is null
$$;
--> statement-breakpoint
-- Cancels the open request of a user that `is_own` says who asked for, and mails them. Whether there was one.
create or replace function access.close_erasure(subject uuid, is_own boolean) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.erasures;
begin
  perform from freehold.users x where x.id = subject for no key update;
  update freehold.erasures x
  set cancelled_at = now(), cancel_hash = null
  where x.user_id = subject
    and x.cancelled_at is null
    and x.erased_at is null
    and x.traces is null
    and (x.requested_by is null) = is_own
  returning * into e;
  if e.id is null then
    return false;
  end if;
  perform access.record(
    'ERASURE_CANCELLED', 'cancel', 'user', subject::text, null, jsonb_build_object('erasure_id', e.id), 20);
  perform access.enqueue_mail('erasure_cancelled', u.id, u.email)
  from freehold.users u
  where u.id = subject and access.is_present(u);
  return true;
end $$;
--> statement-breakpoint
-- Raises FH404, FH403.
create or replace function access.cancel_erasure() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null or access.close_erasure(access.principal(), true) then
    return;
  elsif access.erasure() is not null then
    perform access.refuse('forbidden', 'An administrator asked for this: only an administrator can cancel it.');
  end if;
  perform access.refuse('not_found', 'Nobody has asked to erase your account.');
end $$;
--> statement-breakpoint
-- Raises FH404, FH403.
create or replace function access.cancel_erasure_of(subject uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_erasable(subject);
  perform access.require_power_of(array[subject]);
  if not access.close_erasure(subject, false) then
    perform access.refuse('not_found', 'No administrator has asked to erase this user.');
  end if;
end $$;
--> statement-breakpoint
-- Whether the token was that of an open request.
create or replace function access.cancel_erasure_by_token(tenant_id uuid, system_key text, presented bytea, request jsonb)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.check_system(tenant_id, system_key);
  select x.* into u
  from freehold.users x
    join freehold.erasures e on e.user_id = x.id
  where e.cancel_hash = presented and e.cancelled_at is null and e.erased_at is null;
  if u.id is null then
    return false;
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  return access.close_erasure(u.id, true);
end $$;
--> statement-breakpoint
-- {table: [row, ...]}, and `user` as one row; null: this person had ten within the hour.
create or replace function access.export_person() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  subject uuid := access.principal();
  all_of jsonb := '{}';
  found jsonb;
  t record;
begin
  if subject is null or access.key() is not null then
    perform access.refuse('forbidden', 'Your data is exported with a session, not with an API key.');
  end if;
  -- Of two at once one counts after the other.
  perform from freehold.users x where x.id = subject for no key update;
  if (
    select count(*)
    from freehold.audit_log l
    where l.user_id = subject
      and l.activity_type = 'EXPORT'
      and l.resource_type = 'user'
      and l.at > now() - interval '1 hour'
  ) >= 10 then
    return null;
  end if;
  for t in select * from access.personal_tables() p where p.name is not null order by p.place loop
    execute format(
      'select coalesce(jsonb_agg(to_jsonb(y)), ''[]'') from (select %s from %s x where %s) y',
      array_to_string(t.exported, ', '), t.relation, t.whose)
    into found
    using subject;
    all_of := all_of || jsonb_build_object(t.name, case when t.name = 'user' then found -> 0 else found end);
  end loop;
  perform access.record('EXPORT', 'export', 'user', subject::text, null, jsonb_build_object('personal_data', true), 20);
  return all_of;
end $$;
--> statement-breakpoint
-- Activities of the admitted user after a place (null: from the beginning), at most `rows` and about `bytes`; {data, next},
-- where `next` is null at the end.
create or replace function access.export_activities(after_at timestamptz, after_id uuid, rows integer, bytes integer) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  subject uuid := access.principal();
begin
  if subject is null or access.key() is not null then
    perform access.refuse('forbidden', 'Your data is exported with a session, not with an API key.');
  end if;
  return (
    with page as materialized (
      -- By the index of entries under checkpoints, and those that have none yet.
      (
        select l.* from freehold.audit_log l
        where l.user_id = subject and l.checkpoint is not null
          and (after_at is null or (l.at, l.id) > (after_at, after_id))
        order by l.at, l.id
        limit rows
      )
      union all
      (
        select l.* from freehold.audit_log l
        where l.user_id = subject and l.checkpoint is null
          and (after_at is null or (l.at, l.id) > (after_at, after_id))
        order by l.at, l.id
        limit rows
      )
      order by at, id
      limit rows
    ), shown as (
      select
        p.at,
        p.id,
        access.audit_entry(p.id) as entry,
        sum(coalesce(pg_column_size(d.before), 0) + coalesce(pg_column_size(d.after), 0) + 500)
          over (order by p.at, p.id) - coalesce(pg_column_size(d.before), 0) - coalesce(pg_column_size(d.after), 0) as so_far
      from page p
        left join freehold.audit_detail d on d.log_id = p.id
    ), taken as (
      select * from shown s where s.so_far <= bytes + 500
    )
    select jsonb_build_object(
      'data', coalesce(jsonb_agg(t.entry order by t.at, t.id), '[]'),
      'next', case when count(*) = rows or count(*) < (select count(*) from page) then (
        select jsonb_build_array(z.at, z.id) from taken z order by z.at desc, z.id desc limit 1) end)
    from taken t);
end $$;
--> statement-breakpoint
-- Changes the profile columns that `patch` has; null empties one. Preferences are merged. Raises FH403, FH400.
create or replace function access.update_me(patch jsonb) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  changed uuid;
begin
  if access.principal() is null or access.key() is not null then
    perform access.refuse('forbidden', 'You change yourself with a session, not with an API key.');
  end if;
  perform access.must_be_licensed();
  update freehold.users u
  set given_name = case when patch ? 'given_name' then patch ->> 'given_name' else u.given_name end,
    family_name = case when patch ? 'family_name' then patch ->> 'family_name' else u.family_name end,
    phone = case when patch ? 'phone' then patch ->> 'phone' else u.phone end,
    description = case when patch ? 'description' then patch ->> 'description' else u.description end,
    locale = case when patch ? 'locale' then coalesce(patch ->> 'locale', 'en') else u.locale end,
    timezone = case when patch ? 'timezone' then coalesce(patch ->> 'timezone', 'UTC') else u.timezone end,
    preferences = case
      when not patch ? 'preferences' then u.preferences
      when patch -> 'preferences' = 'null' then '{}'
      else access.merged(u.preferences, patch -> 'preferences')
    end
  where u.id = access.principal()
  returning u.id into changed;
  return changed;
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
    (30, 'freehold.api_keys', 'api_keys', 'x.user_id = $1', null,
      '{id,name,prefix,permissions,addresses,last_used_at,use_count,created_at,expires_at,revoked_at}',
      '{user_id,key_hash,rotated_from}',
      $set$name = 'former user', addresses = '{}', revoked_at = coalesce(x.revoked_at, now())$set$),
    (31, 'freehold.refresh_tokens', null,
      'x.session_id in (select s.id from freehold.sessions s where s.user_id = $1)', null,
      '{}', '{token_hash,session_id,device,created_at,expires_at,used_at,successor_hash}', 'delete'),
    (32, 'freehold.sessions', 'sessions', 'x.user_id = $1', null,
      '{id,device,address,city,country,client_id,amr,aal,authenticated_at,created_at,last_active_at,expires_at,ended_at,
        ended_because}', '{user_id}', 'delete'),
    (33, 'freehold.login_challenges', null, 'x.user_id = $1', null, '{}',
      '{token_hash,user_id,guard,client,audience,device,amr,failures,created_at,expires_at,used_at}', 'delete'),
    (34, 'freehold.totp_factors', 'authenticator_app', 'x.user_id = $1', null,
      '{created_at,enabled_at}', '{user_id,secret_encrypted,last_step}', 'delete'),
    (35, 'freehold.backup_codes', 'backup_codes', 'x.user_id = $1', null, '{created_at,used_at}', '{code_mac,user_id}', 'delete'),
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
    -- Removing one sends a mail.
    (60, 'freehold.passkeys', 'passkeys', 'x.user_id = $1', null,
      '{id,rp_id,name,aaguid,transports,is_synced,created_at,last_used_at}',
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
-- A text as a pattern that matches it and nothing else.
create or replace function access.literal(said text) returns text
language sql immutable
return regexp_replace(said, '([^[:alnum:]])', '\\\1', 'g');
--> statement-breakpoint
-- Whether a text names somebody: by an address or a number wherever it stands, or by a username where JSON calls it one.
create or replace function access.mentions(said text, words text[]) returns boolean
language sql immutable
return coalesce(
  exists (
    select
    from unnest(words) w (word)
    where strpos(lower(said), lower(w.word)) > 0
      and said ~* case
        when w.word ~ '@|^\+?[0-9]' then format('(^|[^[:alnum:]._%%+-])%s($|[^[:alnum:]_-])', access.literal(w.word))
        else format('"(username|user_name|identifier)"\s*:\s*"%s"', access.literal(w.word))
      end
  ),
  false
);
--> statement-breakpoint
create or replace function access.erasure_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(e.erase_at) from freehold.erasures e where e.cancelled_at is null and e.erased_at is null
$$;
--> statement-breakpoint
-- Works on the request that waits longest: {is_done, erased, postponed}. `is_done`: nothing is due any more.
create or replace function access.erase_due(at_most integer) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.erasures;
  ids uuid[];
begin
  select * into e
  from freehold.erasures x
  where x.cancelled_at is null and x.erased_at is null and x.erase_at <= now()
  order by x.erase_at, x.id
  limit 1;
  if e.id is null then
    return jsonb_build_object('is_done', true, 'erased', 0, 'postponed', 0);
  end if;
  -- In the order of a login; and what was cancelled meanwhile is left.
  perform access.lock_login(e.user_id);
  select * into e
  from freehold.erasures x
  where x.id = e.id and x.cancelled_at is null and x.erased_at is null
  for update;
  if e.id is null then
    return jsonb_build_object('is_done', false, 'erased', 0, 'postponed', 0);
  elsif e.traces is null then
    begin
      e.traces := access.scrub_person(e.user_id);
    exception when sqlstate 'FH409' then
      update freehold.erasures x set erase_at = now() + interval '1 day' where x.id = e.id;
      return jsonb_build_object('is_done', false, 'erased', 0, 'postponed', 1);
    end;
    update freehold.erasures x
    set traces = e.traces,
      cancel_hash = null,
      reason = access.without_words(x.reason, array(select jsonb_array_elements_text(e.traces -> 'words')))
    where x.id = e.id
    returning * into e;
  end if;
  ids := access.details_of(e.user_id, e.traces, at_most);
  perform access.erase_detail(ids);
  if cardinality(ids) >= at_most then
    return jsonb_build_object('is_done', false, 'erased', 0, 'postponed', 0);
  end if;
  update freehold.erasures x set erased_at = now(), traces = null where x.id = e.id;
  perform access.record(
    'USER_ERASED', 'erase', 'user', e.user_id::text, null,
    jsonb_build_object(
      'erasure_id', e.id, 'requested_by', e.requested_by, 'requested_at', e.requested_at, 'reason', e.reason),
    40
  );
  return jsonb_build_object('is_done', access.erasure_due() is null or access.erasure_due() > now(), 'erased', 1,
    'postponed', 0);
end $$;
--> statement-breakpoint
-- Scrubs the rows of a person by registry.sql, and returns what the details of the audit are found by: {words, things,
-- places}, of which the last are pairs of address and agent. Raises FH409 for the last administrator.
create or replace function access.scrub_person(subject uuid) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  words text[] := access.known_by(subject);
  networks text[];
  things text[];
  places jsonb;
  t record;
begin
  select
    array_agg(distinct access.failing_network(a.address)),
    jsonb_agg(distinct jsonb_build_array(a.address, a.agent)) filter (where a.agent is not null)
  into networks, places
  from (
    select s.address, null as agent from freehold.sessions s where s.user_id = subject
    union
    select d.address, d.agent
    from freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
    where l.user_id = subject
  ) a
  where a.address is not null;
  select array_agg(y.id::text) into things
  from (
    select s.id from freehold.sessions s where s.user_id = subject
    union all
    select k.id from freehold.api_keys k where k.user_id = subject
    union all
    select k.id from freehold.passkeys k where k.user_id = subject
    union all
    select d.id from freehold.delegations d where subject in (d.delegator_id, d.delegate_id) or access.mentions(d.reason, words)
  ) y;
  for t in select * from access.personal_tables() p where p.fate <> 'keep' order by p.place loop
    execute format(
      case when t.fate = 'delete' then 'delete from %1$s x where (%2$s)' else 'update %1$s x set %3$s where (%2$s)' end
        || ' and ($1, $2, $3) is not null',
      t.relation, concat_ws(' or ', '(' || t.whose || ')', '(' || t.also || ')'), t.fate)
    using subject, words, coalesce(networks, '{}');
  end loop;
  return jsonb_build_object(
    'words', words, 'things', coalesce(things, '{}'), 'places', coalesce(places, '[]'));
end $$;
--> statement-breakpoint
-- What a person was known by: addresses, numbers and usernames, those of before too, but none that is somebody else's by
-- now. The longest first: a username may be the beginning of an address.
create or replace function access.known_by(subject uuid) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(w.word order by length(w.word) desc, w.word), '{}')
  from (
    select unnest(array[u.username, u.email, u.phone]) from freehold.users u where u.id = subject
    union
    select m.recipient from freehold.mails m where m.user_id = subject
    union
    select k.target from freehold.one_time_tokens k where k.user_id = subject
    union
    select e.value #>> '{}'
    from freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
      cross join lateral (select d.before union all select d.after) s (state)
      cross join lateral jsonb_each(case when jsonb_typeof(s.state) = 'object' then s.state else '{}' end) e
    where l.resource_type = 'user'
      and l.resource_id = subject::text
      and e.key in ('username', 'email', 'phone')
      and jsonb_typeof(e.value) = 'string'
  ) w (word)
  where length(w.word) > 2
    and not exists (
      select
      from freehold.users u
      where u.id <> subject and (u.email = w.word or u.username = w.word or u.phone = w.word)
    )
$$;
--> statement-breakpoint
-- Entries whose detail is about the person, at most so many: what they did, what was done to them or to what was theirs, and
-- what names them; and what failed of nobody known from where they came from, with their agent. Who was given which role is
-- no detail of theirs.
create or replace function access.details_of(subject uuid, traces jsonb, at_most integer) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with known as materialized (
    select
      array(select jsonb_array_elements_text(traces -> 'words')) as words,
      array(select jsonb_array_elements_text(traces -> 'things')) as things
  )
  select array(
    select l.id
    from known k
      cross join freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
    where l.activity_type <> 'AUDIT_ERASED'
      and (
        l.user_id = subject
        or l.resource_type = 'user' and l.resource_id = subject::text
        or l.resource_id = any (k.things)
        or l.user_id is null and traces -> 'places' @> jsonb_build_array(jsonb_build_array(d.address, d.agent))
        or d.user_name = any (k.words)
        or access.mentions(concat_ws(' ', d.path, d.before::text, d.after::text), k.words)
      )
    limit at_most
  )
$$;
--> statement-breakpoint
-- A text with `***` for each of these words.
create or replace function access.without_words(said text, words text[]) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  word text;
begin
  foreach word in array words loop
    said := regexp_replace(said, access.literal(word), '***', 'gi');
  end loop;
  return said;
end $$;
--> statement-breakpoint
-- Some active user must hold the administrator's role, for good, and be denied nothing: what they lack, they could
-- hand to nobody. The lock on the role makes transactions that take it away wait for each other.
create or replace function access.keep_admin() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  r freehold.roles;
begin
  select * into r from freehold.roles x where x.is_admin for no key update;
  if not access.has_admin() then
    perform access.refuse('illegal_state',
      format('Somebody must hold the role %s: assign it to another user first.', r.name));
  end if;
end $$;
--> statement-breakpoint
-- Whether there is somebody like that, besides one user when one is given. True where no role is the administrator's.
create or replace function access.has_admin(besides uuid default null) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    (
      select r.is_active
        and exists (
          select
          from freehold.user_roles ur
            join freehold.users u on u.id = ur.user_id
          where ur.role_id = r.id
            and u.id is distinct from besides
            and u.is_active
            and u.terminated_at is null
            and ur.starts_at <= now()
            and ur.ends_at is null
            and not exists (
              select
              from freehold.overrides o
              where o.user_id = u.id
                and o.effect = 'deny'
                and (o.ends_at is null or o.ends_at > now())
            )
        )
      from freehold.roles r
      where r.is_admin
    ),
    true
  )
$$;
--> statement-breakpoint
-- Applies the rules of one user: what the caller may change, how a login is protected, the size of preferences, a
-- role that exists, managers without a circle. An address or number that changes is no longer verified.
create or replace function access.before_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and old.erased_at is not null then
    perform access.refuse('illegal_state', 'This user has been erased.');
  end if;
  if access.permission() in ('user:create', 'user:update', 'user:delete') then
    if tg_op = 'UPDATE' then
      perform access.check_user_change(old, new);
    else
      perform access.check_user_change(null, new);
    end if;
  end if;
  -- Whoever made up this name at the same moment has its lock (usernames.sql) and goes first: who chose it waits, and
  -- meets the unique index.
  if tg_op = 'INSERT' or new.username <> old.username then
    perform pg_advisory_xact_lock(access.username_lock(new.username));
  end if;
  if octet_length(new.preferences::text) > 8192 then
    perform access.refuse('invalid_request', 'must be at most 8 KiB', 'preferences');
  end if;
  -- A caller who can change how a user logs in can soon log in as them.
  if tg_op = 'UPDATE'
    and (new.email, new.username) is distinct from (old.email, old.username) then
    perform access.require_all_of(new.id);
  end if;
  if tg_op = 'UPDATE' then
    new.email_verified := new.email_verified and new.email = old.email;
    new.phone_verified := new.phone_verified and new.phone is not distinct from old.phone;
  end if;
  if new.role is not null
    and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (select from freehold.roles r where r.name = new.role and r.deleted_at is null) then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.role), 'role');
  end if;
  -- A new user manages nobody yet, so that only an update can close a circle.
  if tg_op = 'UPDATE' and new.manager_id is not null and new.manager_id is distinct from old.manager_id then
    if exists (
      with recursive up (id, manager_id) as (
        select u.id, u.manager_id
        from freehold.users u
        where u.id = new.manager_id
        union
        select u.id, u.manager_id
        from up
          join freehold.users u on u.id = up.manager_id
      )
      select from up where up.id = new.id
    ) then
      perform access.refuse('invalid_request', 'would make a user their own manager', 'manager_id');
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger after_email_change after update of email on freehold.users
  for each row when (old.email <> new.email and new.erased_at is null) execute function access.after_email_change();
--> statement-breakpoint
revoke execute
  on function access.cancel_erasure(),
    access.cancel_erasure_by_token(uuid,text,bytea,jsonb),
    access.cancel_erasure_of(uuid),
    access.close_erasure(uuid,boolean),
    access.details_of(uuid,jsonb,integer),
    access.erase_due(integer),
    access.erasure(),
    access.erasure_due(),
    access.erasure_shown(freehold.erasures),
    access.export_activities(timestamp with time zone,uuid,integer,integer),
    access.export_person(),
    access.has_admin(uuid),
    access.known_by(uuid),
    access.literal(text),
    access.mentions(text,text[]),
    access.open_erasure(freehold.users,uuid,text,timestamp with time zone,bytea),
    access.personal_tables(),
    access.request_erasure(uuid,text,bytea,text,text),
    access.request_erasure_of(uuid,text,boolean),
    access.require_erasable(uuid),
    access.scrub_person(uuid),
    access.update_me(jsonb),
    access.without_words(text,text[])
  from public;
--> statement-breakpoint
grant execute
  on function access.cancel_erasure(),
    access.cancel_erasure_by_token(uuid,text,bytea,jsonb),
    access.cancel_erasure_of(uuid),
    access.erasure(),
    access.export_activities(timestamp with time zone,uuid,integer,integer),
    access.export_person(),
    access.request_erasure(uuid,text,bytea,text,text),
    access.request_erasure_of(uuid,text,boolean),
    access.update_me(jsonb)
  to freehold_app;
