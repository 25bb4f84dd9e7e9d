-- The second factor of a login: what is open between the first factor and the second.
--   access.challenge         opens one, for whoever has proven the first (access.enter)
--   access.open_challenge    the challenge of a token, while it can be met
--   access.meet_challenge    lets in whoever met it, and counts who did not
--   access.factor_methods    by what a user can meet one
-- Whatever a second factor is, it is compared between the last two: totp.sql; and so is a mailed code: mailed-codes.sql.
--
-- Threat: whoever knows the password guesses the second factor, a hundred at once, or through ever new logins, each of
-- which would begin to count anew; a challenge is used twice, or after the password was changed, because it was stolen.
-- So failures are counted where wrong passwords are counted (lockouts.sql), and by the challenge; the person's lockout is
-- locked before anything is compared; a right password clears nothing while the second factor is open; and a challenge
-- ends with its first use, with the password, and after five minutes. Nobody but definer functions calls these.

-- By what a user can meet a challenge, the usual one first.
create function access.factor_methods(u freehold.users) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select to_jsonb(u.factors)
    || case when access.has_passkey(u.id) then '["passkey"]' else '[]' end::jsonb
    || case
    when exists (select from freehold.backup_codes b where b.user_id = u.id and b.used_at is null) then '["backup_code"]'
    else '[]'
  end::jsonb
$$;

-- The lockout that counts the failures of a login from a device, or from a stranger's network (lockouts.sql).
create function access.login_guard(subject uuid, device uuid, request jsonb) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    'device:' || subject || ':' || device,
    'login:' || subject || ':' || access.login_network(request ->> 'address'))
$$;

-- Opens a challenge for a user who proved the first factor: {outcome: mfa_required, user_id, methods, expires_in, totp,
-- remember_days}. `totp` is the encrypted secret, which the Worker seals in the token, so that the code is compared in one
-- round trip. The arguments are as for access.enter.
create function access.challenge(
  u freehold.users,
  token_hash bytea,
  request jsonb,
  client text,
  audience text,
  amr text,
  device uuid,
  risk uuid default null
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  methods jsonb := access.factor_methods(u);
  is_mailed boolean := methods = '[]' and request ? 'mailed_code';
begin
  delete from freehold.login_challenges c where c.user_id = u.id and c.expires_at <= now();
  insert into freehold.login_challenges (
    token_hash, user_id, guard, client, audience, device, amr, risk_id, expires_at
  )
  values (
    challenge.token_hash,
    u.id,
    access.login_guard(u.id, device, request),
    left(client, 255),
    audience,
    device,
    amr,
    risk,
    now() + interval '5 minutes'
  );
  if is_mailed then
    perform access.mail_login_code(u, challenge.token_hash, request);
  end if;
  return jsonb_build_object(
    'outcome', 'mfa_required',
    'user_id', u.id,
    'methods', case when is_mailed then '["email_code"]' else methods end,
    'expires_in', case when is_mailed then 600 else 300 end,
    'totp', (select f.secret_encrypted from freehold.totp_factors f where f.user_id = u.id and f.enabled_at is not null),
    'remember_days', case when is_mailed then 0 else (select t.mfa_remember_days from freehold.tenant t) end
  );
end $$;

-- The challenge of a token, while it can be met; null: it has ended, or too much failed. Leaves the lockout of the
-- person, the user and the challenge locked, in this order.
create function access.open_challenge(t freehold.tenant, shown bytea) returns freehold.login_challenges
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
    or c.code_hash is null and access.factor_methods(u) = '[]'
    or not access.is_present(u)
    or access.is_locked_out(t, c.user_id, c.guard)
  then
    return null;
  end if;
  return c;
end $$;

-- What follows the comparison with what was `shown`: what access.enter returns, or {outcome: refused, mail}. `c` is null
-- where it could not be met any more. `method` is the one that was used (RFC 8176), and `reason` what the audit says when it was
-- wrong. `former` and `remember` are as for access.enter.
create function access.meet_challenge(
  t freehold.tenant,
  shown bytea,
  c freehold.login_challenges,
  is_right boolean,
  method text,
  reason text,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  remember boolean,
  aal integer default 2
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
    u, t, refresh_hash, request, former, c.client, c.audience, access.both_methods(c.amr, method), aal, c.device, remember,
    c.risk_id
  );
  if entered ->> 'outcome' = 'ok' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = c.guard;
  end if;
  return access.unless_risky(t, u, c.guard, entered);
end $$;

-- How RFC 8176 names two factors. A code by mail and one of an app have the same name there, and so are told apart as two.
create function access.both_methods(first text, second text) returns text
language sql immutable
return first || ' ' || case when first = second then 'mfa' else second end;
