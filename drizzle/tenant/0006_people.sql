-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table freehold.email_logins
--   alters table freehold.tenant
-- Definitions:
--   creates function access.both_methods
--   creates function access.is_locked_out
--   creates function access.lock_person
--   creates function access.request_email_login
--   creates function access.verify_email_login
--   replaces function access.is_built_in_activity
--   replaces function access.is_strangers_mail
--   replaces function access.look
--   replaces function access.meet_challenge
--   replaces function access.open_challenge
--   replaces function access.purge

set local check_function_bodies = off;
--> statement-breakpoint
CREATE TABLE "freehold"."email_logins" (
  "request_hash" "bytea" PRIMARY KEY NOT NULL,
  "link_hash" "bytea" NOT NULL,
  "code_hash" "bytea" NOT NULL,
  "user_id" uuid NOT NULL,
  "target" text NOT NULL,
  "agent" text,
  "city" text,
  "country" text,
  "failures" integer DEFAULT 0 NOT NULL,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  "used_at" timestamp with time zone
);
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "email_login" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."email_logins" ADD CONSTRAINT "email_logins_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "freehold"."users"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
CREATE UNIQUE INDEX "email_logins_link" ON "freehold"."email_logins" USING btree ("link_hash");
--> statement-breakpoint
CREATE INDEX "email_logins_user" ON "freehold"."email_logins" USING btree ("user_id");
--> statement-breakpoint
CREATE INDEX "email_logins_expired" ON "freehold"."email_logins" USING btree ("expires_at");
--> statement-breakpoint
alter table freehold.email_logins enable row level security;
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
      'STEP_UP_FAILED', 'PASSKEY_CLONE_SUSPECTED', 'EMAIL_LOGIN_REQUESTED'
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
-- Locks a person before what they prove is compared, in the order of a login: their lockout, which stands for those of
-- their devices and networks, and then their row, which it returns.
create or replace function access.lock_person(subject uuid) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  person text := 'login:' || subject;
  u freehold.users;
begin
  perform from freehold.lockouts x where x.key = person for update;
  if not found then
    insert into freehold.lockouts as x (key) values (person)
    on conflict (key) do update set key = x.key;
  end if;
  select * into u from freehold.users x where x.id = subject for no key update;
  return u;
end $$;
--> statement-breakpoint
-- Whether a guard of a person, who is locked, is locked out: its own failures are too many, or those of all strangers.
create or replace function access.is_locked_out(t freehold.tenant, subject uuid, guard text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  person text := 'login:' || subject;
  g freehold.lockouts := access.lockout_now(t, guard);
  w freehold.lockouts;
begin
  if starts_with(guard, person || ':') then
    w := access.lockout_now(t, person);
  end if;
  return coalesce(
    g.locked_until > now()
      or g.failures >= t.max_failures
      or w.locked_until > now()
      or w.failures >= access.most_of_strangers(t),
    false);
end $$;
--> statement-breakpoint
-- Mails a code and a link that work for ten minutes: {outcome: accepted, mail}, whoever is meant, or {outcome:
-- not_offered}. `mail`, whether there is one to deliver, no caller outside is told.
create or replace function access.request_email_login(
  tenant_id uuid,
  system_key text,
  identifier text,
  request_hash bytea,
  link_hash bytea,
  code_hash bytea,
  secrets_encrypted text,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  until timestamptz := now() + interval '10 minutes';
begin
  if not t.email_login then
    return jsonb_build_object('outcome', 'not_offered');
  end if;
  identifier := left(identifier, 255);
  if strpos(identifier, '@') > 0 then
    select * into u from freehold.users x where x.email = identifier and access.is_present(x) for no key update;
  else
    select * into u from freehold.users x where x.username = identifier and access.is_present(x) for no key update;
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  if u.id is not null
    and access.enqueue_mail(
      'email_login', u.id, u.email,
      jsonb_build_object('expires_at', until, 'network', access.login_network(request ->> 'address')),
      secrets_encrypted
    ) is not null
  then
    -- The lock on the user keeps one of these from being spent, or another from being made, meanwhile.
    delete from freehold.email_logins e where e.user_id = u.id and (e.used_at is null or e.expires_at <= now());
    insert into freehold.email_logins (request_hash, link_hash, code_hash, user_id, target, agent, city, country, expires_at)
    values (
      request_email_login.request_hash,
      request_email_login.link_hash,
      request_email_login.code_hash,
      u.id,
      u.email,
      left(request ->> 'agent', 255),
      left(request ->> 'city', 120),
      left(request ->> 'country', 2),
      until
    );
  end if;
  perform access.wait_as_if_mailed();
  perform access.record('EMAIL_LOGIN_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return jsonb_build_object('outcome', 'accepted', 'mail', access.has_enqueued_mail());
end $$;
--> statement-breakpoint
-- Spends a code, shown with the token of its request, or a link: what access.enter returns, or {outcome: refused, mail},
-- or {outcome: confirm, username, email, agent, city, country, requested_at} for a link that was shown without that token
-- and without `is_confirmed`, which spends nothing. A failure is returned, not raised, so that it counts and its entry is
-- committed. `former` and `devices` are as for logins.
create or replace function access.verify_email_login(
  tenant_id uuid,
  system_key text,
  request_hash bytea,
  code_hash bytea,
  link_hash bytea,
  is_confirmed boolean,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  devices jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  e freehold.email_logins;
  u freehold.users;
  device uuid;
  guard text;
  why text;
  entered jsonb;
begin
  select * into e
  from freehold.email_logins x
  where case
    when verify_email_login.link_hash is null then x.request_hash = verify_email_login.request_hash
    else x.link_hash = verify_email_login.link_hash
  end;
  if e.request_hash is not null then
    u := access.lock_person(e.user_id);
    select * into e from freehold.email_logins x where x.request_hash = e.request_hash for update;
  end if;
  perform access.set_audit_actor(u.id, coalesce(u.username, 'unknown login'), request);
  device := access.device_of(t, u.id, devices);
  guard := access.login_guard(u.id, device, request);
  why := case
    when e.request_hash is null then 'unknown_email_login'
    when e.used_at is not null
      or e.expires_at <= now()
      or e.failures >= 5
      or not t.email_login
      or e.target <> u.email
      -- Whoever read the mailbox before may have asked for it.
      or e.created_at <= u.password_changed_at
      or not access.is_present(u) then 'email_login_ended'
    when verify_email_login.link_hash is not null then null
    when access.is_locked_out(t, u.id, guard) then 'locked'
    when e.code_hash is distinct from verify_email_login.code_hash then 'wrong_email_code'
  end;
  if why is not null then
    if why = 'wrong_email_code' then
      update freehold.email_logins x set failures = x.failures + 1 where x.request_hash = e.request_hash;
      perform access.count_failures(t, 'login:' || u.id, guard, 1);
    end if;
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, why, why <> 'wrong_email_code', jsonb_build_object('reason', why), 20
    );
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  elsif e.request_hash is distinct from verify_email_login.request_hash and not is_confirmed then
    return jsonb_build_object(
      'outcome', 'confirm',
      'username', u.username,
      'email', u.email,
      'agent', e.agent,
      'city', e.city,
      'country', e.country,
      'requested_at', to_char(e.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    );
  end if;
  update freehold.email_logins x set used_at = now() where x.request_hash = e.request_hash and x.used_at is null;
  -- The mail was read, which proves the address that it went to.
  update freehold.users x set email_verified = true where x.id = u.id and not x.email_verified;
  entered := access.enter(u, t, refresh_hash, request, former, null, null, 'otp', 1, device);
  if entered ->> 'outcome' = 'ok' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = guard;
  end if;
  return entered;
end $$;
--> statement-breakpoint
-- The challenge of a token, while it can be met; null: it has ended, or too much failed. Leaves the lockout of the
-- person, the user and the challenge locked, in this order.
create or replace function access.open_challenge(t freehold.tenant, shown bytea) returns freehold.login_challenges
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  c freehold.login_challenges;
  u freehold.users;
begin
  select * into c from freehold.login_challenges x where x.token_hash = shown;
  if c.token_hash is null then
    return null;
  end if;
  u := access.lock_person(c.user_id);
  select * into c from freehold.login_challenges x where x.token_hash = shown for update;
  if c.token_hash is null
    or c.used_at is not null
    or c.expires_at <= now()
    or c.failures >= t.max_failures
    -- Whoever held the former password may have begun it.
    or c.created_at <= u.password_changed_at
    or access.factor_methods(u) = '[]'
    or not access.is_present(u)
    or access.is_locked_out(t, c.user_id, c.guard)
  then
    return null;
  end if;
  return c;
end $$;
--> statement-breakpoint
-- What follows the comparison with what was `shown`: what access.enter returns, or {outcome: refused, mail}. `c` is null
-- where it could not be met any more. `method` is the one that was used (RFC 8176), and `reason` what the audit says when it was
-- wrong. `former` is as for access.enter.
create or replace function access.meet_challenge(
  t freehold.tenant,
  shown bytea,
  c freehold.login_challenges,
  is_right boolean,
  method text,
  reason text,
  refresh_hash bytea,
  request jsonb,
  former jsonb
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  entered jsonb;
begin
  select x.* into u
  from freehold.login_challenges y
    join freehold.users x on x.id = y.user_id
  where y.token_hash = shown;
  perform access.set_audit_actor(u.id, u.username, request);
  if c.token_hash is null or not coalesce(is_right, false) then
    reason := case when c.token_hash is null then 'challenge_ended' else reason end;
    if c.token_hash is not null then
      update freehold.login_challenges x set failures = x.failures + 1 where x.token_hash = c.token_hash;
      perform access.count_failures(t, 'login:' || u.id, c.guard, 1);
    end if;
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, reason, c.token_hash is null, jsonb_build_object('reason', reason), 30
    );
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  end if;
  update freehold.login_challenges x set used_at = now() where x.token_hash = c.token_hash;
  entered := access.enter(
    u, t, refresh_hash, request, former, c.client, c.audience, access.both_methods(c.amr, method), 2, c.device
  );
  if entered ->> 'outcome' = 'ok' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = c.guard;
  end if;
  return entered;
end $$;
--> statement-breakpoint
-- How RFC 8176 names two factors. A code by mail and one of an app have the same name there, and so are told apart as two.
create or replace function access.both_methods(first text, second text) returns text
language sql immutable
return first || ' ' || case when first = second then 'mfa' else second end;
--> statement-breakpoint
-- Whether anybody can cause a mail of this kind for anybody: it takes an address and no login.
create or replace function access.is_strangers_mail(kind text) returns boolean
language sql immutable
return kind in (
  'register', 'register_known', 'email_verify', 'password_reset', 'email_login', 'account_locked', 'device_locked');
--> statement-breakpoint
-- Deletes at most so many rows of each kind: {is_done, given_up}, where `given_up` counts mails. A purge stays due
-- until it is done.
create or replace function access.purge(at_most integer) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most integer;
  given_up integer;
begin
  with attempts as (
    delete from freehold.login_attempts
    where id in (
      select a.id
      from freehold.login_attempts a
      where a.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tokens as (
    delete from freehold.one_time_tokens
    where token_hash in (
      select k.token_hash
      from freehold.one_time_tokens k
      where k.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), spent as (
    delete from access.passkey_challenges
    where challenge_hash in (
      select c.challenge_hash
      from access.passkey_challenges c
      where c.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), challenges as (
    delete from freehold.login_challenges
    where token_hash in (
      select c.token_hash
      from freehold.login_challenges c
      where c.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), mailed as (
    delete from freehold.email_logins
    where request_hash in (
      select e.request_hash
      from freehold.email_logins e
      where e.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), registered as (
    delete from freehold.registrations
    where token_hash in (
      select r.token_hash
      from freehold.registrations r
      where r.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), refreshed as (
    -- All tokens of a session expire together: a used one reveals a theft as long as its session can live.
    delete from freehold.refresh_tokens
    where token_hash in (
      select l.token_hash
      from freehold.refresh_tokens l
      where l.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), forsaken as (
    -- Mails that waited for a day, and an hour more for a last pause between attempts: those for which no transport
    -- is configured, and those that made their sender crash.
    update freehold.mails
    set state = 'dead', secrets_encrypted = null, finished_at = now(), lease_until = null
    where id in (
      select m.id
      from freehold.mails m
      where m.state = 'queued'
        and m.created_at < now() - interval '25 hours'
        and (m.lease_until is null or m.lease_until < now())
      limit at_most
      for update skip locked
    )
    returning 1
  ), old as materialized (
    select m.id
    from freehold.mails m
    where m.finished_at < now() - interval '90 days'
    limit at_most
    for update skip locked
  ), dropped as (
    -- The next delivery logs them; without a transport there is none.
    delete from access.dropped_mails
    where id in (
      select m.id
      from access.dropped_mails m
      where m.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), answered as (
    delete from access.kept_answers
    where id in (
      select k.id
      from access.kept_answers k
      where k.created_at < now() - interval '24 hours'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tried as (
    delete from freehold.mail_attempts a using old where a.mail_id = old.id
  ), finished as (
    delete from freehold.mails m using old where m.id = old.id
    returning 1
  )
  select
    x.given_up,
    greatest(
      x.given_up,
      (select count(*) from attempts),
      (select count(*) from tokens),
      (select count(*) from spent),
      (select count(*) from challenges),
      (select count(*) from mailed),
      (select count(*) from registered),
      (select count(*) from refreshed),
      (select count(*) from dropped),
      (select count(*) from answered),
      (select count(*) from finished)
    )
  into given_up, most
  from (select count(*) as given_up from forsaken) x;
  -- Those of users stay; those of their devices and networks go, as those of unknown identifiers do. After the attempts:
  -- a lockout without a failure belongs to an attempt that was never finished, and goes once that attempt is gone.
  with guards as (
    delete from freehold.lockouts
    where key in (
      select g.key
      from freehold.lockouts g
      where (g.key like 'unknown:%' or g.parent is not null)
        and (g.locked_until is null or g.locked_until < now())
        and coalesce(
          g.failed_at < now() - interval '1 day',
          not exists (select from freehold.login_attempts a where a.key = g.key)
        )
      limit at_most
      for update skip locked
    )
    returning 1
  )
  select greatest(most, count(*)) into most from guards;
  most := greatest(
    most,
    access.erase_failures(
      at_most,
      coalesce((select s.failures_erased_to from access.purges s), '-infinity'),
      now() - interval '90 days'
    )
  );
  if most < at_most then
    insert into access.purges (last_at, failures_erased_to) values (now(), now() - interval '90 days')
    on conflict (one) do update set last_at = excluded.last_at, failures_erased_to = excluded.failures_erased_to;
  end if;
  return jsonb_build_object('is_done', most < at_most, 'given_up', given_up);
end $$;
--> statement-breakpoint
-- {name, accent_color, links, logo_etag, registration, email_login, policy}. Raises FH503 for another tenant or one that is off.
create or replace function access.look(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  return jsonb_build_object(
    'name', t.name,
    'accent_color', t.accent_color,
    'links', t.links,
    'logo_etag', (select l.etag from freehold.logo l),
    'registration', t.registration,
    'email_login', t.email_login,
    'policy', access.policy_of(t)
  );
end $$;
--> statement-breakpoint
revoke execute
  on function access.both_methods(text,text),
    access.is_locked_out(freehold.tenant,uuid,text),
    access.lock_person(uuid),
    access.request_email_login(uuid,text,text,bytea,bytea,bytea,text,jsonb),
    access.verify_email_login(uuid,text,bytea,bytea,bytea,boolean,bytea,jsonb,jsonb,jsonb)
  from public;
--> statement-breakpoint
grant update (email_login)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.request_email_login(uuid,text,text,bytea,bytea,bytea,text,jsonb),
    access.verify_email_login(uuid,text,bytea,bytea,bytea,boolean,bytea,jsonb,jsonb,jsonb)
  to freehold_app;
