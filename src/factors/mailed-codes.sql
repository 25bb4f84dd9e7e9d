-- The second step of a risky login of somebody without a second factor: a code by mail (src/risk).
--   access.can_challenge        whether somebody can be asked for a second step
--   access.mail_login_code      mails a code for a challenge, in place of the one before
--   access.verify_mailed_code   public endpoint: spends the code
--   access.resend_login_code    public endpoint: mails another one
--
-- Threat: whoever knows the password tries all eight digits, with ever new codes, or fills a mailbox by asking for them. So the
-- wrong answers are counted by the challenge, whose codes they were, and a new code ends the former; a challenge is worth three
-- mails, no two within 30 seconds, however many ask at once; and no more than mail_per_recipient_hour. A mailbox is no second
-- factor: the session has one. The database never has the token that a code is hashed with.

-- Whether somebody who came by `amr` can be asked for a second step: by a factor of theirs, else by a code by mail, where the
-- Worker made one and they did not come by mail.
create function access.can_challenge(u freehold.users, amr text, request jsonb) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.factor_methods(u) <> '[]' or request ? 'mailed_code' and amr not like 'otp%'
$$;

-- Mails the code of `request`, {mailed_code: {hash, secrets}, address}, which works for ten minutes from now; false: it was
-- beyond a limit of mails, and the former code stays. Either way it counts for the challenge.
create function access.mail_login_code(u freehold.users, challenge bytea, request jsonb) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  until timestamptz := now() + interval '10 minutes';
  is_mailed boolean := access.enqueue_mail(
    'login_code', u.id, u.email,
    jsonb_build_object('expires_at', until, 'network', access.login_network(request ->> 'address')),
    request -> 'mailed_code' ->> 'secrets'
  ) is not null;
begin
  update freehold.login_challenges c
  set mails = c.mails + 1,
    mailed_at = now(),
    -- Where even the first was dropped there is a code all the same, which nobody knows: another may be asked for.
    code_hash = case
      when is_mailed or c.code_hash is null then (request -> 'mailed_code' ->> 'hash')::bytea
      else c.code_hash
    end,
    expires_at = case when is_mailed then greatest(c.expires_at, until) else c.expires_at end
  where c.token_hash = challenge;
  return is_mailed;
end $$;

-- What access.enter returns, or {outcome: refused, mail}. `code_hash` is of the challenge's token with the code.
create function access.verify_mailed_code(
  tenant_id uuid,
  system_key text,
  challenge bytea,
  code_hash bytea,
  refresh_hash bytea,
  request jsonb,
  former jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  c freehold.login_challenges := access.open_challenge(t, challenge);
begin
  return access.meet_challenge(
    t, challenge, c, c.code_hash = verify_mailed_code.code_hash, 'otp', 'wrong_email_code', refresh_hash, request, former,
    false, 1
  );
end $$;

-- {outcome: sent, expires_in, left}, or {outcome: ended} (there is no such challenge any more), {outcome: not_mailed} (it
-- asks for a second factor), {outcome: too_soon, seconds}, {outcome: no_more}; each with `mail`, whether the outbox has work.
-- `request` is as for access.mail_login_code. What it was that ended a challenge nobody is told, as with a wrong code.
create function access.resend_login_code(tenant_id uuid, system_key text, challenge bytea, request jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  c freehold.login_challenges := access.open_challenge(t, challenge);
  most constant integer := 3;
  u freehold.users;
  seconds integer;
  outcome jsonb;
begin
  select x.* into u
  from freehold.login_challenges y
    join freehold.users x on x.id = y.user_id
  where y.token_hash = challenge;
  perform access.set_audit_actor(u.id, u.username, request);
  -- Of many at once each waited for the one before, and began earlier than that one ended.
  seconds := ceil(extract(epoch from c.mailed_at + interval '30 seconds' - clock_timestamp()));
  if c.token_hash is null then
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, 'challenge_ended', true, jsonb_build_object('reason', 'challenge_ended'), 30
    );
    outcome := jsonb_build_object('outcome', 'ended');
  elsif c.code_hash is null then
    outcome := jsonb_build_object('outcome', 'not_mailed');
  elsif c.mails >= most then
    outcome := jsonb_build_object('outcome', 'no_more');
  elsif seconds > 0 then
    outcome := jsonb_build_object('outcome', 'too_soon', 'seconds', seconds);
  elsif access.mail_login_code(u, challenge, request) then
    perform access.record(
      'EMAIL_LOGIN_REQUESTED', 'request', 'user', u.id::text, null,
      jsonb_build_object('reason', 'risk', 'mails', c.mails + 1), 20
    );
    outcome := jsonb_build_object('outcome', 'sent', 'expires_in', 600, 'left', most - c.mails - 1);
  else
    outcome := jsonb_build_object('outcome', 'no_more');
  end if;
  return outcome || jsonb_build_object('mail', access.has_enqueued_mail());
end $$;

grant execute on function
  access.verify_mailed_code(uuid, text, bytea, bytea, bytea, jsonb, jsonb),
  access.resend_login_code(uuid, text, bytea, jsonb)
to freehold_app;
