-- Recovery: a new password by mail or by an administrator. unlocking.sql lets somebody in whose password is right.
--   access.request_reset   public endpoint: a token by mail
--   access.begin_reset     public endpoint: what the new password is judged by, for a valid token
--   access.finish_reset    public endpoint: spends the token and sets the password
--   access.begin_admin_reset and access.finish_admin_reset   the two halves of a reset by an administrator
-- Registration (registration.sql), the verification of an address (verification.sql) and the change of an address or a
-- number (contact.sql) use the same tokens (tokens.sql).
--
-- Threat: a stranger learns who is known here, fills a mailbox, or takes an account over with a token that was seen,
-- guessed, used or meant for something else; an administrator of a few users gets into the account of one who may do
-- more; somebody who runs SQL as the app login makes a token for another user, or finds out a password by asking, in
-- transactions that they roll back, whether it was used before. So the public endpoints answer the same for known and
-- unknown; only hashes of tokens are stored, and spending one locks its user first; nobody is sent more than a few mails
-- an hour (src/mail/limits.sql); and where a stranger is sent a token or a password is compared, the Worker shows the
-- system's key. The app login reaches freehold.one_time_tokens and freehold.registrations through functions alone: the
-- tables have no policy and no grant.

-- Somebody says that they forgot their password: a token, for as long as the tenant's settings say (reset_link_minutes).
-- Returns whether there is a mail to deliver, which no caller outside is told.
create function access.request_reset(
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
begin
  select * into u from freehold.users x where x.email = address and access.is_present(x) for no key update;
  perform access.set_audit_actor(u.id, u.username, request);
  if u.id is not null then
    perform access.send_token(
      u, 'reset', u.email, token_hash, access.reset_link_life(t), 'password_reset', secrets_encrypted);
  end if;
  perform access.wait_as_if_mailed();
  perform access.record('PASSWORD_RESET_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return access.has_enqueued_mail();
end $$;

-- {user, policy, history}, by which the Worker judges the new password; null: the token is not valid.
create function access.begin_reset(tenant_id uuid, system_key text, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.token_user(presented, 'reset', false);
begin
  return case
    when u.id is not null then jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    )
  end;
end $$;

-- Sets the new password: `done`, `used` (it is in the history; the token stays valid) or `invalid` (the token).
-- `revoke_keys`: the user's API keys end with it. The previous release does not send it, here and below.
create function access.finish_reset(
  tenant_id uuid,
  system_key text,
  presented bytea,
  new_hash text,
  digests jsonb,
  request jsonb,
  revoke_keys boolean default false
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.token_user(presented, 'reset', true);
begin
  if u.id is null then
    return 'invalid';
  elsif access.was_used(u.id, t, digests) then
    return 'used';
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  -- This spends the token, with all others for a password.
  perform access.set_recovered_password(u, new_hash, false, revoke_keys, 'password_reset');
  -- The token was read in a mail, which proves the address that the mail went to.
  update freehold.users x set email_verified = true
  where x.id = u.id
    and not x.email_verified
    and x.email = (select k.target from freehold.one_time_tokens k where k.token_hash = presented);
  perform access.enqueue_mail('password_changed', u.id, u.email);
  return 'done';
end $$;

-- First half of a reset by an administrator: {user, policy, history}.
create function access.begin_admin_reset(subject uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users := access.user_to_reset(subject);
begin
  perform access.require_all_of(subject);
  return (
    select jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    )
    from freehold.tenant t
  );
end $$;

-- Second half: sets the password, which the user may have to change, revokes their API keys where `revoke_keys` says so,
-- and mails them a link to set their own: `done` or `used` (it is in the history).
create function access.finish_admin_reset(
  tenant_id uuid,
  system_key text,
  subject uuid,
  new_hash text,
  digests jsonb,
  must_change boolean,
  token_hash bytea,
  secrets_encrypted text,
  revoke_keys boolean default false
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.user_to_reset(subject);
begin
  perform access.require_all_of(subject);
  if access.was_used(u.id, t, digests) then
    return 'used';
  end if;
  perform access.set_recovered_password(u, new_hash, must_change, revoke_keys, 'reset_by_administrator');
  if access.is_present(u) then
    perform access.send_token(
      u, 'reset', u.email, token_hash, access.reset_link_life(t), 'password_reset_by_admin', secrets_encrypted);
  end if;
  return 'done';
end $$;

-- A reset that only mails the user a link to set a new password: the caller learns nothing and nothing ends, so that
-- it is open to those who hold less than the user. Returns {user_id, must_change_password}.
create function access.mail_reset_link(
  tenant_id uuid,
  system_key text,
  subject uuid,
  token_hash bytea,
  secrets_encrypted text
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.user_to_reset(subject);
begin
  if access.is_present(u) then
    perform access.send_token(
      u, 'reset', u.email, token_hash, access.reset_link_life(t), 'password_reset_link', secrets_encrypted);
  end if;
  perform access.record('PASSWORD_RESET_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return jsonb_build_object('user_id', u.id, 'must_change_password', u.must_change_password);
end $$;

-- The user whose password the admitted administrator resets, locked: within reach, and not themselves. Raises FH404,
-- FH403.
create function access.user_to_reset(subject uuid) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.require_reach('user', subject);
  if access.permission() = 'user:update' and access.can_access_user(subject) then
    perform access.lock_login(subject);
    select * into u from freehold.users x where x.id = subject;
  end if;
  if u.id is null then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif u.id = access.principal() then
    perform access.refuse('forbidden', 'Change your own password with auth/password-change.');
  elsif access.scope() <> 'all' and u.id = any (access.scope_owner_ids()) then
    perform access.refuse('forbidden', 'A delegated permission cannot be used on its delegator.');
  end if;
  return u;
end $$;

-- How long a mailed link to set a password works, whoever asked for it.
create function access.reset_link_life(t freehold.tenant) returns interval
language sql immutable
return make_interval(mins => t.reset_link_minutes);

-- Sets a password without a check of the one before it: the lockouts are cleared and all sessions end, and with
-- `revoke_keys` all API keys.
create function access.set_recovered_password(
  u freehold.users,
  new_hash text,
  must_change boolean,
  revoke_keys boolean,
  because text
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.clear_failures(u.id);
  perform access.replace_password(u.id, new_hash, must_change, because, null);
  if revoke_keys then
    perform access.revoke_keys_of(u.id);
  end if;
  perform access.record(
    'PASSWORD_RESET', 'update', 'user', u.id::text, null, jsonb_build_object('because', because), 30
  );
end $$;

grant execute on function
  access.request_reset(uuid, text, text, bytea, text, jsonb),
  access.begin_reset(uuid, text, bytea),
  access.finish_reset(uuid, text, bytea, text, jsonb, jsonb, boolean),
  access.begin_admin_reset(uuid),
  access.finish_admin_reset(uuid, text, uuid, text, jsonb, boolean, bytea, text, boolean),
  access.mail_reset_link(uuid, text, uuid, bytea, text)
to freehold_app;
