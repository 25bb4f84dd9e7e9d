-- Codes of an authenticator app (TOTP, RFC 6238), and the backup codes beside them.
--   access.begin_totp             keeps a new secret, which nothing asks for yet
--   access.pending_totp           that secret, for the Worker to compare the first code
--   access.enable_totp            switches it on, and keeps the first backup codes
--   access.begin_factor_change    first half of switching it off or renewing backup codes: begins an attempt
--   access.finish_factor_change   second half: compares the password and the code
--   access.verify_totp            the second factor of a login; a public endpoint
-- The Worker decrypts a secret and says for which time step the code is right; whether that step still counts is decided
-- here, under a lock.
--
-- Threat: a code that was seen is used again, on another device or in another login; a stolen session switches the
-- second factor off, or guesses its code; somebody who runs SQL as the app login reads secrets, or says that a code was
-- right. So a step counts once, for whatever it is used; switching off takes the password and a code, which are counted
-- together; no table here has a policy or a grant; and every function takes the system's key, which that login lacks.

-- Keeps a secret that the Worker encrypted, in place of one that was not enabled: {username, issuer}. Raises FH409 when
-- a secret is enabled, FH403 while the password must be changed.
create function access.begin_totp(tenant_id uuid, system_key text, secret_encrypted text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.own_row(t);
begin
  if 'totp' = any (u.factors) then
    perform access.refuse('illegal_state', 'An authenticator app is set up already: switch it off first.');
  end if;
  insert into freehold.totp_factors as f (user_id, secret_encrypted)
  values (u.id, begin_totp.secret_encrypted)
  on conflict (user_id) do update
  set secret_encrypted = excluded.secret_encrypted, created_at = now(), enabled_at = null, last_step = null;
  return jsonb_build_object('username', u.username, 'issuer', t.name);
end $$;

-- The admitted user, locked. Raises FH403 while their password must be changed.
create function access.own_row(t freehold.tenant) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal() for no key update;
  if access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  end if;
  return u;
end $$;

-- The secret of the admitted user that is not enabled yet, encrypted. Raises FH409.
create function access.pending_totp(tenant_id uuid, system_key text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.own_row(t);
  f freehold.totp_factors;
begin
  select * into f from freehold.totp_factors x where x.user_id = u.id;
  if 'totp' = any (u.factors) then
    perform access.refuse('illegal_state', 'An authenticator app is set up already: switch it off first.');
  elsif f.user_id is null then
    perform access.refuse('illegal_state', 'Begin with auth/mfa/setup.');
  end if;
  return f.secret_encrypted;
end $$;

-- Switches on the secret for which the Worker found the code right, at `step`: whether it did. False: another secret has
-- taken its place. `codes` are the SHA-256 (hex) of the backup codes.
create function access.enable_totp(
  tenant_id uuid,
  system_key text,
  secret_encrypted text,
  step bigint,
  codes jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.own_row(t);
begin
  update freehold.totp_factors f
  set enabled_at = now(), last_step = step
  where f.user_id = u.id and f.enabled_at is null and f.secret_encrypted = enable_totp.secret_encrypted;
  if not found then
    return false;
  end if;
  update freehold.users x
  set factors = array_append(array_remove(x.factors, 'totp'), 'totp'), updated_at = now()
  where x.id = u.id;
  perform access.keep_backup_codes(u.id, codes);
  perform access.record('MFA_ENABLED', 'update', 'user', u.id::text, null, jsonb_build_object('factor', 'totp'));
  perform access.enqueue_mail('mfa_enabled', u.id, u.email);
  return true;
end $$;

-- Uses a time step up, for which the code was right (null: for none). Whether it still counted.
create function access.take_step(subject uuid, step bigint) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.totp_factors f set last_step = step
  where f.user_id = subject and f.enabled_at is not null and f.last_step < step;
  return found;
end $$;

-- The second factor of a login, by a code or a backup code: what access.meet_challenge returns. `step` is the time step
-- for which the code is right, null for none; `backup` the SHA-256 of a backup code, null: a code was sent. `remember`:
-- whether the device is to be remembered; the previous release does not send it.
create function access.verify_totp(
  tenant_id uuid,
  system_key text,
  challenge bytea,
  step bigint,
  backup text,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  remember boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  c freehold.login_challenges := access.open_challenge(t, challenge);
  is_right boolean := false;
begin
  if c.token_hash is not null then
    perform access.set_audit_actor(u.id, u.username, request) from freehold.users u where u.id = c.user_id;
    is_right := case
      when backup is null then access.take_step(c.user_id, step)
      else access.take_backup_code(c.user_id, backup)
    end;
  end if;
  return access.meet_challenge(
    t, challenge, c, is_right, 'otp', case when backup is null then 'wrong_code' else 'wrong_backup_code' end,
    refresh_hash, request, former, remember
  );
end $$;

-- First half of a change that takes the password and a code: what access.begin_attempt returns, and {totp}, the
-- encrypted secret. Its failures have a lockout of their own, which a right password alone does not clear.
create function access.begin_factor_change(tenant_id uuid, system_key text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal();
  if not 'totp' = any (u.factors) then
    perform access.refuse('illegal_state', 'No authenticator app is set up.');
  end if;
  return access.begin_attempt(
    t, 'factor:' || u.id, null, u.id, u.username, u.username, access.hash_parameters_of(u.id, u.username)
  )
    || jsonb_build_object('totp', (
      select f.secret_encrypted from freehold.totp_factors f where f.user_id = u.id and f.enabled_at is not null));
end $$;

-- Second half: `wrong` (the password or the code), or `changed`. With `codes` they are the new backup codes, and without
-- the authenticator app is switched off. `step` and `backup` are as for access.verify_totp.
create function access.finish_factor_change(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  step bigint,
  backup text,
  codes jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  is_right boolean := false;
begin
  if u.id is not null and u.id = access.principal() then
    is_right := case
      when backup is null then access.take_step(u.id, step)
      else access.take_backup_code(u.id, backup)
    end;
    if not is_right then
      perform access.count_failures(t, 'factor:' || u.id, null, 1);
    end if;
  end if;
  if not is_right then
    perform access.record(
      'MFA_CHANGE_FAILED', 'update', 'user', access.principal()::text, null,
      jsonb_build_object('reason', case when u.id is null then 'wrong_password' else 'wrong_code' end), 30
    );
    return 'wrong';
  end if;
  perform access.clear_lockout(x) from freehold.lockouts x where x.key = 'factor:' || u.id;
  if codes is not null then
    perform access.keep_backup_codes(u.id, codes);
    perform access.record('BACKUP_CODES_RENEWED', 'update', 'user', u.id::text, null, null);
    return 'changed';
  end if;
  perform access.drop_totp(u.id), access.forget_devices(u.id);
  perform access.record('MFA_DISABLED', 'update', 'user', u.id::text, null, jsonb_build_object('factor', 'totp'), 20);
  perform access.enqueue_mail('mfa_disabled', u.id, u.email);
  return 'changed';
end $$;

-- Takes the authenticator app of a user away, and the backup codes when no other factor is left.
create function access.drop_totp(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  delete from freehold.totp_factors f where f.user_id = subject;
  update freehold.users x
  set factors = array_remove(x.factors, 'totp'), updated_at = now()
  where x.id = subject
  returning x.* into u;
  if u.factors = '{}' then
    delete from freehold.backup_codes b where b.user_id = subject;
    delete from freehold.login_challenges c where c.user_id = subject;
  end if;
end $$;

grant execute on function
  access.begin_totp(uuid, text, text),
  access.pending_totp(uuid, text),
  access.enable_totp(uuid, text, text, bigint, jsonb),
  access.begin_factor_change(uuid, text),
  access.finish_factor_change(uuid, text, uuid, text, bigint, text, jsonb),
  access.verify_totp(uuid, text, bytea, bigint, text, bytea, jsonb, jsonb, boolean)
to freehold_app;
