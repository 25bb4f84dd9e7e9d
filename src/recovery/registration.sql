-- Registration. All three functions are public endpoints. A registration makes no user until its address is verified
-- (verification.sql).
--   access.registration_terms    whether strangers may register, and what their passwords must be
--   access.start_registration    stores the registration and mails a token; where the address is known, mails its owner
--                                instead
--   access.resend_verification   mails another token
--
-- Threat: a stranger finds out who is known here, fills a mailbox or a table, or registers somebody's address with a
-- password of their own and waits until its owner clicks. So the answers are the same for known and unknown addresses;
-- the number of mails is limited (src/mail/limits.sql), and a registration is stored all the same, because the reader of
-- an earlier mail may have made it; what proves an address is a mailed token, and what tells whose password counts is
-- the secret that a registration was answered with. Of the registrations of one address without a mail, the newest ten
-- are kept. Whose own is pushed out by others sets a password with the token of any mail. Where a stranger is sent a
-- token, the Worker shows the system's key.

-- {registration, domains, policy}.
create function access.registration_terms(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  return jsonb_build_object(
    'registration', t.registration,
    'domains', to_jsonb(t.registration_domains),
    'policy', access.policy_of(t)
  );
end $$;

-- Registers an address for a day. Returns whether there is a mail to deliver, which no caller outside is told. Raises
-- FH403.
create function access.start_registration(
  tenant_id uuid,
  system_key text,
  presented bytea,
  secret_hash bytea,
  wanted jsonb,
  new_hash text,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  address text := wanted ->> 'email';
begin
  if not access.may_register(t, address) then
    raise exception using errcode = 'FH403', message = 'forbidden';
  end if;
  select * into u from freehold.users x where x.email = address for no key update;
  perform access.set_audit_actor(null, null, request);
  if u.id is null then
    -- Concurrent requests for one address go one after another.
    perform pg_advisory_xact_lock(hashtext('register:' || address));
    delete from freehold.registrations x
    where x.token_hash in (
      select y.token_hash
      from freehold.registrations y
      where y.expires_at < now() - interval '1 day'
      limit 5
      for update skip locked
    );
    insert into freehold.registrations (
      token_hash, email, secret_hash, username, password_hash, given_name, family_name, locale, is_mailed, expires_at
    )
    values (
      presented,
      address,
      start_registration.secret_hash,
      wanted ->> 'username',
      new_hash,
      wanted ->> 'given_name',
      wanted ->> 'family_name',
      coalesce(wanted ->> 'locale', 'en'),
      access.enqueue_mail('register', null, address, '{}', secrets_encrypted, wanted ->> 'locale') is not null,
      now() + interval '24 hours'
    );
    delete from freehold.registrations x
    where x.token_hash in (
      select y.token_hash
      from freehold.registrations y
      where y.email = address and not y.is_mailed
      order by y.created_at desc, y.token_hash
      offset 10
    );
  elsif access.is_present(u) then
    perform access.enqueue_mail('register_known', u.id, u.email);
  end if;
  perform access.wait_as_if_mailed();
  perform access.record('REGISTRATION_REQUESTED', 'create', 'registration', null, null, null, 5);
  return access.has_enqueued_mail();
end $$;

-- Mails another verification, to a user whose address is not verified, or to an address for which a registration waits:
-- a token alone, with nobody's password. Returns whether there is a mail to deliver, which no caller outside is told.
create function access.resend_verification(
  tenant_id uuid,
  system_key text,
  address text,
  token_hash bytea,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  r freehold.registrations;
begin
  perform access.set_audit_actor(null, null, request);
  select * into u from freehold.users x where x.email = address and access.is_present(x) for no key update;
  if u.id is not null then
    if not u.email_verified then
      perform access.send_token(u, 'email', u.email, token_hash, interval '24 hours', 'email_verify', secrets_encrypted);
    end if;
    perform access.wait_as_if_mailed();
    return access.has_enqueued_mail();
  end if;
  perform pg_advisory_xact_lock(hashtext('register:' || address));
  select * into r
  from freehold.registrations x
  where x.email = address and x.password_hash is not null and x.used_at is null and x.expires_at > now()
  order by x.created_at desc
  limit 1;
  if r.token_hash is not null
    and access.may_register(t, address)
    and access.enqueue_mail('register', null, address, '{}', secrets_encrypted, r.locale) is not null then
    insert into freehold.registrations (token_hash, email, locale, expires_at)
    values (resend_verification.token_hash, address, r.locale, now() + interval '24 hours');
  end if;
  perform access.wait_as_if_mailed();
  return access.has_enqueued_mail();
end $$;

-- Whether an address may register now.
create function access.may_register(t freehold.tenant, address text) returns boolean
language sql immutable
return t.registration
  and (t.registration_domains = '{}' or regexp_replace(address, '^.*@', '') = any (t.registration_domains));

grant execute on function
  access.registration_terms(uuid),
  access.start_registration(uuid, text, bytea, bytea, jsonb, text, text, jsonb),
  access.resend_verification(uuid, text, text, bytea, text, jsonb)
to freehold_app;
