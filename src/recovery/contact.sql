-- Another address, and the verification of a phone number, by the admitted user.
--   access.request_email_change   mails a token to the new address, which access.finish_verification spends
--   access.phone_code             sends a code to the user's number
--   access.verify_phone           takes the code
--   access.after_email_change     after every change of an address, by whichever function (trigger in src/users/users.sql)
--
-- Threat: somebody who finds an open session takes the account over by its address, or claims a number of somebody
-- else. So another address takes the current password and a mail to the new address, and the old address is told; a
-- code is short, so that it has five tries within ten minutes, is stored keyed, and counts for one number of one
-- user. All of these take the system's key: somebody who runs SQL as the app login could choose the code themselves, or
-- try all of them in transactions that they roll back.

-- Asks for another address, after access.begin_password_change. `wrong` (the password), or `done`, also when the
-- address is another user's, so that the caller does not learn that.
create function access.request_email_change(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  address text,
  token_hash bytea,
  secrets_encrypted text
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
begin
  if u.id is null or u.id is distinct from access.principal() then
    return 'wrong';
  elsif exists (select from freehold.users x where x.email = address)
    -- Counted whether a mail goes out or not, so that what is left does not tell which addresses are known.
    or (
      select count(*)
      from freehold.audit_log l
      where l.user_id = u.id and l.activity_type = 'EMAIL_CHANGE_REQUESTED' and l.at > now() - interval '1 hour'
    ) >= t.mail_per_recipient_hour then
    perform access.wait_as_if_mailed();
  else
    perform access.send_token(u, 'email', address, token_hash, interval '24 hours', 'email_change', secrets_encrypted);
  end if;
  perform access.record(
    'EMAIL_CHANGE_REQUESTED', 'update', 'user', u.id::text, null, jsonb_build_object('email', address), 20
  );
  return 'done';
end $$;

-- Voids the tokens that were mailed to the old address or asked for before, and tells the old address.
create function access.after_email_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.one_time_tokens x set used_at = now()
  where x.user_id = new.id and x.kind in ('reset', 'email') and x.used_at is null;
  perform access.enqueue_mail('email_changed', new.id, old.email, jsonb_build_object('new_email', new.email));
  return null;
end $$;

-- Sends a code: `sent`, `none` (the user has no number), or `often` (the user, or the number, was sent as many as the
-- tenant allows: src/mail/limits.sql). A code that is sent voids the one before it.
create function access.phone_code(tenant_id uuid, system_key text, code text, secrets_encrypted text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.check_system(tenant_id, system_key);
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  if u.phone is null then
    return 'none';
  elsif access.enqueue_mail('phone_code', u.id, u.phone, '{}', secrets_encrypted, null, 'sms') is null then
    return 'often';
  end if;
  update freehold.one_time_tokens x set used_at = now()
  where x.user_id = u.id and x.kind = 'phone' and x.used_at is null;
  -- The same code can be drawn again.
  insert into freehold.one_time_tokens as x (token_hash, kind, user_id, target, expires_at)
  values (access.code_hash(u, code), 'phone', u.id, u.phone, now() + interval '10 minutes')
  on conflict (token_hash) do update
  set tries = 0, created_at = now(), expires_at = excluded.expires_at, used_at = null;
  return 'sent';
end $$;

-- Whether a code is the one that was sent to the number that the user has now. Every call is a try, of which there
-- are five.
create function access.verify_phone(tenant_id uuid, system_key text, code text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  k freehold.one_time_tokens;
begin
  perform access.check_system(tenant_id, system_key);
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  update freehold.one_time_tokens x set tries = x.tries + 1
  where x.user_id = u.id
    and x.kind = 'phone'
    and x.used_at is null
    and x.expires_at > now()
    and x.target = u.phone
    and x.tries < 5
  returning * into k;
  if k.token_hash is null or k.token_hash <> access.code_hash(u, code) then
    return false;
  end if;
  update freehold.one_time_tokens x set used_at = now() where x.token_hash = k.token_hash;
  update freehold.users x set phone_verified = true where x.id = u.id and x.phone = k.target;
  return true;
end $$;

-- The stored form of a code: keyed, because a code is short enough to be guessed from a plain hash; bound to the user
-- and the number.
create function access.code_hash(u freehold.users, code text) returns bytea
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.mac('code:' || u.id || ':' || u.phone || ':' || code)
$$;

grant execute on function
  access.request_email_change(uuid, text, uuid, text, text, bytea, text),
  access.phone_code(uuid, text, text, text),
  access.verify_phone(uuid, text, text)
to freehold_app;
