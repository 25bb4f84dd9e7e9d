-- Stepping up by something else than the password (step-up.sql): a code, a backup code or a passkey. Each makes a session of
-- two factors.
--   access.step_up_secret       the encrypted secret of the admitted user's app, for the Worker to compare a code
--   access.step_up_by_code      compares a code or a backup code, and raises the session
--   access.step_up_by_passkey   the same by what a passkey answered
--
-- Threat: whoever finds an open session guesses codes in it, a hundred at once, or uses one that was seen. So guesses share
-- the lockout of those who switch a factor off, which is locked before anything is compared; a step and a challenge count
-- once; and every function takes the system's key, which the app login lacks.

-- Raises FH409 where no app is set up.
create function access.step_up_secret(tenant_id uuid, system_key text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  sealed text;
begin
  perform access.check_system(tenant_id, system_key);
  select f.secret_encrypted into sealed
  from freehold.totp_factors f
  where f.user_id = access.principal() and f.enabled_at is not null;
  if sealed is null then
    perform access.refuse('illegal_state', 'No authenticator app is set up.');
  end if;
  return sealed;
end $$;

-- {outcome: ok, claims}, {outcome: wrong, mail}, or {outcome: ended}. `step` and `backup` are as for access.verify_totp.
create function access.step_up_by_code(tenant_id uuid, system_key text, step bigint, backup text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  guard text := 'factor:' || access.principal();
  g freehold.lockouts;
  u freehold.users;
  is_right boolean;
begin
  perform from freehold.lockouts x where x.key = guard for update;
  if not found then
    insert into freehold.lockouts as x (key) values (guard)
    on conflict (key) do update set key = x.key;
  end if;
  select * into strict u from freehold.users x where x.id = access.principal() for no key update;
  g := access.lockout_now(t, guard);
  if coalesce(g.locked_until > now(), false) or coalesce(g.failures, 0) >= t.max_failures then
    return access.stepped_up(t, u, null, 'locked');
  end if;
  is_right := case when backup is null then access.take_step(u.id, step) else access.take_backup_code(u.id, backup) end;
  if not is_right then
    perform access.count_failures(t, guard, null, 1);
    return access.stepped_up(t, u, null, case when backup is null then 'wrong_code' else 'wrong_backup_code' end);
  end if;
  return access.stepped_up(t, u, 'otp', null);
end $$;

-- The same. The arguments are as for access.finish_passkey_login. Nobody guesses a key: nothing is counted.
create function access.step_up_by_passkey(
  tenant_id uuid,
  system_key text,
  presented bytea,
  wrong text,
  challenge_hash bytea,
  challenge_expires_at timestamptz,
  counter bigint
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  is_new boolean := access.spend_challenge(challenge_hash, challenge_expires_at);
  u freehold.users;
  why text;
begin
  select * into strict u from freehold.users x where x.id = access.principal() for no key update;
  why := access.take_passkey(u, presented, wrong, is_new, counter);
  return access.stepped_up(t, u, access.passkey_method(presented) || ' user mfa', why);
end $$;

-- What follows a proof by `method` (RFC 8176), or the reason why it was none.
create function access.stepped_up(t freehold.tenant, u freehold.users, method text, why text) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
begin
  if why is not null then
    perform access.record(
      'STEP_UP_FAILED', 'update', 'session', access.session()::text, null, jsonb_build_object('reason', why), 20
    );
    return jsonb_build_object('outcome', 'wrong', 'mail', access.has_enqueued_mail());
  end if;
  s := access.raise_session(access.session(), method, 2);
  return case
    when s.id is null then jsonb_build_object('outcome', 'ended')
    else jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t))
  end;
end $$;

grant execute on function
  access.step_up_secret(uuid, text),
  access.step_up_by_code(uuid, text, bigint, text),
  access.step_up_by_passkey(uuid, text, bytea, text, bytea, timestamptz, bigint)
to freehold_app;
