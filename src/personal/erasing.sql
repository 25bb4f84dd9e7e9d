-- Requests to erase a person (GDPR 17): a row of freehold.erasures with the moment from which the scheduled job does it
-- (scrubbing.sql).
--   access.request_erasure           the admitted user asks for their own, in seven days
--   access.request_erasure_of        an administrator asks for somebody else's, in seven days or at once; also hastens one
--   access.erasure                   what the admitted user has asked for, or was asked of them
--   access.cancel_erasure            takes one's own back
--   access.cancel_erasure_of         an administrator takes one back, whoever asked for it
--   access.cancel_erasure_by_token   public endpoint: the same with the token of the mail
--
-- Threat: whoever finds an open session has its owner erased; an administrator erases somebody who may do more, or the
-- last who can administer; two ask at once. So it takes a fresh session and seven days, of which the owner is told by a
-- mail that cancels it, and meanwhile logs in as ever; it takes standing over the person (src/access/over-others.sql); one
-- request of a person is open at a time (an index); and the last administrator stays.

-- Raises FH409.
create function access.request_erasure(
  tenant_id uuid,
  system_key text,
  token_hash bytea,
  secrets_encrypted text,
  why text
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  e freehold.erasures;
begin
  perform access.check_system(tenant_id, system_key);
  if access.principal() is null or access.key() is not null then
    perform access.refuse('forbidden', 'Your account is erased with a session, not with an API key.');
  end if;
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  e := access.open_erasure(u, null, why, now() + interval '7 days', token_hash);
  perform access.enqueue_mail(
    'erasure_requested', u.id, u.email, jsonb_build_object('erase_at', e.erase_at), secrets_encrypted);
  return access.erasure_shown(e);
end $$;

-- Raises FH404, FH403, FH409.
create function access.request_erasure_of(subject uuid, why text, at_once boolean) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  e freehold.erasures;
begin
  perform access.require_erasable(subject);
  perform access.require_power_of(array[subject]);
  select * into u from freehold.users x where x.id = subject for no key update;
  e := access.open_erasure(
    u, access.principal(), why, case when at_once then now() else now() + interval '7 days' end, null);
  if access.is_present(u) then
    perform access.enqueue_mail('erasure_by_admin', u.id, u.email, jsonb_build_object('erase_at', e.erase_at));
  end if;
  return access.erasure_shown(e);
end $$;

-- Whether the admitted administrator may erase, or keep, this user: within reach, and not themselves. Raises FH404, FH403.
create function access.require_erasable(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_reach('user', subject);
  if access.permission() is distinct from 'user:delete' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif subject = access.principal() then
    perform access.refuse('forbidden', 'Erase your own account with auth/me/erase.');
  elsif access.scope() <> 'all' and subject = any (access.scope_owner_ids()) then
    perform access.refuse('forbidden', 'A delegated permission cannot be used on its delegator.');
  end if;
end $$;

-- Opens the request for a user whose row is locked. Raises FH409.
create function access.open_erasure(
  u freehold.users,
  requested_by uuid,
  why text,
  erase_at timestamptz,
  token_hash bytea
) returns freehold.erasures
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.erasures;
begin
  if u.erased_at is not null then
    perform access.refuse('illegal_state', 'This user has been erased already.');
  elsif u.is_active and not access.has_admin(u.id) then
    perform access.refuse('illegal_state', 'The last administrator cannot be erased: make somebody else one first.');
  end if;
  insert into freehold.erasures (id, user_id, requested_by, reason, erase_at, cancel_hash)
  values (gen_random_uuid(), u.id, open_erasure.requested_by, why, open_erasure.erase_at, token_hash)
  on conflict (user_id) where cancelled_at is null do nothing
  returning * into e;
  -- An administrator hastens one that is waiting, whoever asked for it, and answers for it from then on.
  if e.id is null and open_erasure.requested_by is not null and open_erasure.erase_at <= now() then
    update freehold.erasures x
    set requested_by = open_erasure.requested_by, reason = why, erase_at = open_erasure.erase_at, cancel_hash = null
    where x.user_id = u.id
      and x.cancelled_at is null
      and x.erased_at is null
      and x.traces is null
      -- One that waited for the lock may have begun before it.
      and x.erase_at > clock_timestamp()
    returning * into e;
  end if;
  if e.id is null then
    perform access.refuse('illegal_state', 'It has been asked for already: cancel that request first.');
  end if;
  perform access.record(
    'ERASURE_REQUESTED', 'request', 'user', u.id::text, null,
    jsonb_build_object('erasure_id', e.id, 'erase_at', e.erase_at, 'reason', why), 40
  );
  return e;
end $$;

-- The form of the wire.
create function access.erasure_shown(e freehold.erasures) returns jsonb
language sql stable
return jsonb_build_object(
  'id', e.id,
  'user_id', e.user_id,
  'requested_by', e.requested_by,
  'reason', e.reason,
  'requested_at', to_char(e.requested_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  'erase_at', to_char(e.erase_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
);

-- The open request about the admitted user; null: there is none. Who asked in whose name is for the person to know.
create function access.erasure() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.erasure_shown(e)
  from freehold.erasures e
  where e.user_id = access.principal() and e.cancelled_at is null and e.erased_at is null
$$;

-- Cancels the open request of a user, with `own_only` if they asked for it themselves, and mails them. Whether there was one.
create function access.close_erasure(subject uuid, own_only boolean) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.erasures;
begin
  perform from freehold.users x where x.id = subject for no key update;
  update freehold.erasures x
  set cancelled_at = now(), cancel_hash = null
  where x.user_id = subject
    and x.cancelled_at is null
    and x.erased_at is null
    and x.traces is null
    and (x.requested_by is null or not own_only)
  returning * into e;
  if e.id is null then
    return false;
  end if;
  perform access.record(
    'ERASURE_CANCELLED', 'cancel', 'user', subject::text, null, jsonb_build_object('erasure_id', e.id), 20);
  perform access.enqueue_mail('erasure_cancelled', u.id, u.email)
  from freehold.users u
  where u.id = subject and access.is_present(u);
  return true;
end $$;

-- Raises FH404, FH403.
create function access.cancel_erasure() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null or access.close_erasure(access.principal(), true) then
    return;
  elsif access.erasure() is not null then
    perform access.refuse('forbidden', 'An administrator asked for this: only an administrator can cancel it.');
  end if;
  perform access.refuse('not_found', 'Nobody has asked to erase your account.');
end $$;

-- Raises FH404, FH403.
create function access.cancel_erasure_of(subject uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_erasable(subject);
  perform access.require_power_of(array[subject]);
  if not access.close_erasure(subject, false) then
    perform access.refuse('not_found', 'Nobody has asked to erase this user.');
  end if;
end $$;

-- Whether the token was that of an open request.
create function access.cancel_erasure_by_token(tenant_id uuid, system_key text, presented bytea, request jsonb)
returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.check_system(tenant_id, system_key);
  select x.* into u
  from freehold.users x
    join freehold.erasures e on e.user_id = x.id
  where e.cancel_hash = presented and e.cancelled_at is null and e.erased_at is null;
  if u.id is null then
    return false;
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  return access.close_erasure(u.id, true);
end $$;

grant execute on function
  access.request_erasure(uuid, text, bytea, text, text),
  access.request_erasure_of(uuid, text, boolean),
  access.erasure(),
  access.cancel_erasure(),
  access.cancel_erasure_of(uuid),
  access.cancel_erasure_by_token(uuid, text, bytea, jsonb)
to freehold_app;
