-- Login by mail, where the tenant allows it: a code for the browser that asked, or a link. Both are public endpoints.
--   access.request_email_login   mails a code and a link
--   access.verify_email_login    spends either, once, and opens a session
--
-- Threat: a stranger learns who is known here, guesses a code, fills a mailbox, or has somebody open a link that lets the
-- stranger in; a link is opened twice, by a scanner, or after the address or the password changed, because the mailbox is
-- in other hands. So known and unknown are answered alike; a code counts only with the token of the request that it was
-- mailed for, five wrong ones end it, and each is counted where wrong passwords are (lockouts.sql); a link that comes
-- without that token is confirmed first, by whoever sees for whom it is and where it was asked for; and what was mailed
-- ends with its first use, with the next request of the same user, with their address, their password and the setting.
-- A lockout keeps out whoever tries codes, and not whoever has the link: nobody guesses that, and whoever locks a person
-- out does not take this way from them, as they do not take the reset by mail. Lock order: the person's lockout, the
-- user, the request. The app login reaches freehold.email_logins through these functions alone.

-- Mails a code and a link that work for ten minutes: {outcome: accepted, mail}, whoever is meant, or {outcome:
-- not_offered}. `mail`, whether there is one to deliver, no caller outside is told.
create function access.request_email_login(
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

-- Spends a code, shown with the token of its request, or a link: what access.enter returns, or {outcome: refused, mail},
-- or {outcome: confirm, username, email, agent, city, country, requested_at} for a link that was shown without that token
-- and without `is_confirmed`, which spends nothing. A failure is returned, not raised, so that it counts and its entry is
-- committed. `former` and `devices` are as for logins.
create function access.verify_email_login(
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
  return access.unless_risky(t, u, guard, entered);
end $$;

grant execute on function
  access.request_email_login(uuid, text, text, bytea, bytea, bytea, text, jsonb),
  access.verify_email_login(uuid, text, bytea, bytea, bytea, boolean, bytea, jsonb, jsonb, jsonb)
to freehold_app;
