-- A passkey as the second factor of a login, after a password.
--   access.verify_passkey   public endpoint: spends the challenge, compares the counter, meets the challenge of the login
--
-- Threat: a passkey of somebody else ends the login, or one that a guesser made up is tried without end. So it must be one
-- of the user whose login it is, and what fails is counted as wrong codes are (src/factors/challenges.sql).

-- The second factor of a login, by a passkey: what access.enter returns, or {outcome: refused, mail}. `challenge` is that
-- of the login; `remember` is as for access.verify_totp, and the rest as for access.finish_passkey_login. It counts as a
-- wrong code does (access.meet_challenge).
create function access.verify_passkey(
  tenant_id uuid,
  system_key text,
  challenge bytea,
  presented bytea,
  wrong text,
  challenge_hash bytea,
  challenge_expires_at timestamptz,
  counter bigint,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  remember boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  is_new boolean := access.spend_challenge(challenge_hash, challenge_expires_at);
  c freehold.login_challenges := access.open_challenge(t, challenge);
  u freehold.users;
  why text;
begin
  if c.token_hash is not null then
    select * into u from freehold.users x where x.id = c.user_id;
    perform access.set_audit_actor(u.id, u.username, request);
    why := access.take_passkey(u, presented, wrong, is_new, counter);
  end if;
  return access.with_passkey_end(
    access.meet_challenge(
      t, challenge, c, why is null, access.passkey_method(presented) || ' user', why, refresh_hash, request, former,
      remember
    ),
    presented
  );
end $$;

grant execute on function
  access.verify_passkey(uuid, text, bytea, bytea, text, bytea, timestamptz, bigint, bytea, jsonb, jsonb, boolean)
to freehold_app;
