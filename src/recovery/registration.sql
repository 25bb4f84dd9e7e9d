-- Registration, and the verification of e-mail addresses. All four functions are public endpoints.
--   access.registration_terms    whether strangers may register, and what their passwords must be
--   access.register              stores the registration and mails a token; where the address is known, mails its owner instead
--   access.verify_email          spends the token: creates the user, or verifies or replaces the address of an existing one
--   access.resend_verification   mails another token
-- A registration makes no user until the address is verified.
--
-- Threat: a stranger finds out who is known here, fills a mailbox, or registers somebody's address with a password of
-- their own and waits until its owner clicks. So the answers are the same for known and unknown addresses, an address
-- is sent no more than a few mails an hour, and where registrations with different passwords wait for one address,
-- none of the passwords counts: the reader of the mail sets one, by the spare token. Where a stranger is sent a
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
create function access.register(
  tenant_id uuid,
  system_key text,
  presented bytea,
  wanted jsonb,
  new_hash text,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  if not access.may_register(t, wanted ->> 'email') then
    raise exception using errcode = 'FH403', message = 'forbidden';
  end if;
  select * into u from freehold.users x where x.email = wanted ->> 'email' for no key update;
  perform access.set_audit_actor(null, null, request);
  if u.id is null then
    -- Concurrent requests for one address are counted one after another.
    perform pg_advisory_xact_lock(hashtext('register:' || (wanted ->> 'email')));
    delete from freehold.registrations x
    where x.token_hash in (
      select y.token_hash
      from freehold.registrations y
      where y.expires_at < now() - interval '1 day'
      limit 5
      for update skip locked
    );
    if (
      select count(*)
      from freehold.registrations x
      where x.email = wanted ->> 'email' and x.created_at > now() - interval '1 hour'
    ) < 5 then
      insert into freehold.registrations (
        token_hash, email, username, password_hash, given_name, family_name, locale, expires_at
      )
      values (
        presented,
        wanted ->> 'email',
        wanted ->> 'username',
        new_hash,
        wanted ->> 'given_name',
        wanted ->> 'family_name',
        coalesce(wanted ->> 'locale', 'en'),
        now() + interval '24 hours'
      );
      perform access.enqueue_mail('register', null, wanted ->> 'email', '{}', secrets_encrypted, wanted ->> 'locale');
    end if;
  elsif u.is_active and (
    select count(*)
    from freehold.mails m
    where m.user_id = u.id and m.kind = 'register_known' and m.created_at > now() - interval '1 hour'
  ) < 5 then
    perform access.enqueue_mail('register_known', u.id, u.email);
  end if;
  perform access.record('REGISTRATION_REQUESTED', 'create', 'registration', null, null, null, 5);
  return access.has_enqueued_mail();
end $$;

-- Spends a token that was mailed to an address. One of a user verifies their address, or replaces it by the one that
-- they asked for; one of a registration creates the user. `done`, `invalid`, or `taken`: by now another user has the
-- address.
create function access.verify_email(
  tenant_id uuid,
  system_key text,
  presented bytea,
  spare_hash bytea,
  spare_encrypted text,
  request jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  k freehold.one_time_tokens;
  r freehold.registrations;
  broken text;
  u freehold.users := access.token_user(presented, 'email', true);
begin
  if u.id is not null then
    perform access.set_audit_actor(u.id, u.username, request);
    update freehold.one_time_tokens x set used_at = now() where x.token_hash = presented returning * into k;
    if u.email <> k.target then
      begin
        update freehold.users x set email = k.target where x.id = u.id;
      exception when unique_violation then
        return 'taken';
      end;
    end if;
    update freehold.users x set email_verified = true where x.id = u.id;
    return 'done';
  end if;
  -- Of several tokens of one address that are shown at once, one goes first.
  perform pg_advisory_xact_lock(hashtext('register:' || x.email))
  from freehold.registrations x
  where x.token_hash = presented;
  update freehold.registrations x set used_at = now()
  where x.token_hash = presented and x.used_at is null and x.expires_at > now()
  returning * into r;
  if r.token_hash is null or not access.may_register(t, r.email) then
    return 'invalid';
  end if;
  loop
    begin
      insert into freehold.users (
        id, username, email, email_verified, given_name, family_name, locale, role, password_changed_at
      )
      values (
        gen_random_uuid(),
        access.free_username(r.username),
        r.email,
        true,
        r.given_name,
        r.family_name,
        r.locale,
        coalesce(t.registration_role, (select x.name from freehold.roles x where x.is_fallback and x.deleted_at is null)),
        r.created_at
      )
      returning * into u;
      exit;
    exception when unique_violation then
      -- A concurrent transaction took the username: the next round finds it taken and makes another.
      get stacked diagnostics broken = constraint_name;
      if broken <> 'users_username' then
        return 'taken';
      end if;
    end;
  end loop;
  if exists (
    select
    from freehold.registrations x
    where x.email = r.email and x.password_hash <> r.password_hash and x.used_at is null and x.expires_at > now()
  ) then
    perform access.send_token(u, 'reset', u.email, spare_hash, 1, 'password_reset', spare_encrypted);
  else
    insert into freehold.passwords (id, user_id, password_hash, created_at)
    values (gen_random_uuid(), u.id, r.password_hash, r.created_at);
  end if;
  update freehold.registrations x set used_at = now() where x.email = r.email and x.used_at is null;
  perform access.set_audit_actor(u.id, u.username, request);
  perform access.record(
    'USER_REGISTERED', 'create', 'user', u.id::text, null, jsonb_build_object('email', u.email, 'role', u.role)
  );
  return 'done';
end $$;

-- Mails another verification, to a user whose address is not verified, or for the newest registration that waits.
-- Returns whether there is a mail to deliver, which no caller outside is told.
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
  select * into u from freehold.users x where x.email = address and x.is_active for no key update;
  if u.id is not null then
    if not u.email_verified then
      perform access.send_token(u, 'email', u.email, token_hash, 24, 'email_verify', secrets_encrypted);
    end if;
    return access.has_enqueued_mail();
  end if;
  perform pg_advisory_xact_lock(hashtext('register:' || address));
  select * into r
  from freehold.registrations x
  where x.email = address and x.used_at is null and x.expires_at > now()
  order by x.created_at desc
  limit 1;
  if r.token_hash is not null and access.may_register(t, r.email) and (
    select count(*)
    from freehold.registrations x
    where x.email = address and x.created_at > now() - interval '1 hour'
  ) < 5 then
    insert into freehold.registrations (
      token_hash, email, username, password_hash, given_name, family_name, locale, expires_at
    )
    values (
      resend_verification.token_hash,
      r.email,
      r.username,
      r.password_hash,
      r.given_name,
      r.family_name,
      r.locale,
      now() + interval '24 hours'
    );
    perform access.enqueue_mail('register', null, r.email, '{}', secrets_encrypted, r.locale);
  end if;
  return access.has_enqueued_mail();
end $$;

-- Whether an address may register now.
create function access.may_register(t freehold.tenant, address text) returns boolean
language sql immutable
return t.registration
  and (t.registration_domains = '{}' or regexp_replace(address, '^.*@', '') = any (t.registration_domains));

-- A username that nobody has: the wanted one, with a random suffix when that is taken.
create function access.free_username(wished text) returns text
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select case
    when not exists (select from freehold.users u where u.username = wished) then wished
    else left(wished, 58) || '-' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 5)
  end
$$;

grant execute on function
  access.registration_terms(uuid),
  access.register(uuid, text, bytea, jsonb, text, text, jsonb),
  access.verify_email(uuid, text, bytea, bytea, text, jsonb),
  access.resend_verification(uuid, text, text, bytea, text, jsonb)
to freehold_app;
