-- A lost second factor: taking it away from somebody who cannot show it any more.
--   access.reset_factors            by an administrator
--   access.reset_factors_as_owner   by whoever owns the database, for the last operator
--
-- Threat: an administrator of a few users takes the second factor of somebody who may do more, whose password they know;
-- a thief asks for it in the name of somebody else. So it takes what becoming that user takes (over-others.sql), ends
-- their sessions, is told to them by mail, and is in the audit.

-- Takes all second factors of a user away, and ends their sessions. Raises FH404, FH403, FH409.
create function access.reset_factors(subject uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.require_reach('user', subject);
  if access.permission() is distinct from 'user:update' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif subject = access.principal() or (access.scope() <> 'all' and subject = any (access.scope_owner_ids())) then
    perform access.refuse('forbidden', 'Switch your own second factor off with auth/mfa/disable.');
  end if;
  perform access.require_all_of(subject);
  perform access.lock_login(subject);
  select * into u from freehold.users x where x.id = subject;
  if not access.has_factor_to_lose(u) then
    perform access.refuse('illegal_state', 'This user has no second factor.');
  end if;
  perform access.forget_factors(u);
end $$;

-- The same for the owner of the database, who is the system in the audit: the user with this address. Returns it; null:
-- there is no such user, or they have no second factor.
create function access.reset_factors_as_owner(address text) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  select * into u from freehold.users x where x.email = address;
  if u.id is null then
    return null;
  end if;
  perform access.lock_login(u.id);
  select * into u from freehold.users x where x.id = u.id;
  if not access.has_factor_to_lose(u) then
    return null;
  end if;
  perform access.forget_factors(u);
  return u.email;
end $$;

-- Whether there is something to take away: an app, or a passkey beside a password. A passkey that is the only way in is
-- none: without it nobody would get in.
create function access.has_factor_to_lose(u freehold.users) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select u.factors <> '{}'
    or access.current_password(u.id) is not null and access.has_passkey(u.id)
$$;

-- Takes all second factors of a user away, whose lockouts and row are locked.
create function access.forget_factors(u freehold.users) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  methods jsonb := access.factor_methods(u) - 'backup_code';
begin
  perform access.drop_totp(u.id);
  if access.current_password(u.id) is not null then
    delete from freehold.passkeys k where k.user_id = u.id;
  end if;
  update freehold.sessions s
  set ended_at = now(), ended_because = 'mfa_reset'
  where s.user_id = u.id and s.ended_at is null;
  perform access.forget_devices(u.id);
  perform access.record(
    'MFA_DISABLED', 'update', 'user', u.id::text, null, jsonb_build_object('reason', 'reset', 'factors', methods), 40
  );
  perform access.enqueue_mail('mfa_reset', u.id, u.email);
end $$;

grant execute on function
  access.reset_factors(uuid)
to freehold_app;
