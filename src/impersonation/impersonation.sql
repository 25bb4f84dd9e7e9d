-- Impersonation: somebody who helps users acts as one of them for half an hour, and everything says so.
--   access.impersonate           opens a session of another user for the admitted one
--   access.check_impersonation   for the admission: whether such a session may go on, and do what is asked
--   access.impersonator_of       who acts in a session, for lists
--   access.refuse_impersonated   the trigger that keeps credentials as they are meanwhile
--
-- Threat: somebody gets by it what they do not hold, stays in after their own session, role or account has ended, makes
-- themselves a way in that lasts, or acts unseen. So it takes everything that the user holds (over-others.sql), and each
-- request again takes what it uses; each request looks at the session, the account and the permission of whoever acts;
-- no credential, delegation or erasure is made or changed in such a session, whichever route or statement it is by; and
-- the token, the answers, the audit and a mail name who acts.

-- Opens a session of a user for the admitted one, which ends within 30 minutes and has no refresh token, and returns
-- what its access token says. It is one for each impersonator and user: a former one ends. Raises FH404; FH403 (they
-- hold more, or this session is one of an API key or itself an impersonation); FH409 illegal_state (oneself, or somebody
-- who could not log in).
create function access.impersonate(subject uuid, reason text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.claims();
  t freehold.tenant;
  u freehold.users;
  mine freehold.sessions;
  s freehold.sessions;
begin
  perform access.require_reach('user', subject);
  if access.permission() is distinct from 'user:impersonate' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif access.session() is null then
    perform access.refuse('forbidden', 'This cannot be done with an API key: log in.');
  elsif access.impersonator() is not null then
    perform access.refuse('forbidden', 'This cannot be done while you impersonate somebody.');
  elsif subject = access.principal() then
    perform access.refuse('illegal_state', 'You cannot impersonate yourself.');
  end if;
  perform access.require_all_of(subject);
  select * into strict t from freehold.tenant;
  -- Of many at once each ends the one before it.
  select * into strict u from freehold.users x where x.id = subject for no key update;
  if not access.is_present(u) or not access.has_role(u.id) then
    perform access.refuse('illegal_state', 'This user is not active or has no role: nobody can log in as them.');
  end if;
  select * into mine from freehold.sessions x where x.id = access.session();
  update freehold.sessions x
  set ended_at = now(), ended_because = 'replaced'
  where x.user_id = u.id and x.impersonator_id = access.principal() and x.ended_at is null;
  insert into freehold.sessions (
    id, user_id, device, address, city, country, client_id, amr, aal, authenticated_at, expires_at,
    impersonator_id, impersonator_session_id, impersonation_reason
  )
  values (
    gen_random_uuid(), u.id, left(f #>> '{request,agent}', 255), left(f #>> '{request,address}', 64), mine.city,
    mine.country, mine.client_id, mine.amr, mine.aal, coalesce(mine.authenticated_at, mine.created_at),
    least(now() + interval '30 minutes', mine.expires_at),
    access.principal(), mine.id, impersonate.reason
  )
  returning * into s;
  perform access.enqueue_mail('impersonated', u.id, u.email, jsonb_build_object(
    'impersonator', f ->> 'user_name', 'reason', impersonate.reason, 'until', s.expires_at));
  -- The token lives as long as the session: there is no other one.
  return access.token_claims(u, s, t) || jsonb_build_object('access_minutes', 30);
end $$;

-- Whether the session `s` of `u`, in which somebody else acts, may go on: their own session and account are alive, and
-- they may still impersonate this user. And whether it may do what is asked, with `permission` as far as `u` holds it
-- (`scope`, `units`, `owners`): whoever acts holds it as far, although one of the two may have got or lost something
-- since. `proof`: what is asked takes a newer or stronger login, which nobody can give in the name of another. Raises
-- FH401, FH403.
create function access.check_impersonation(
  s freehold.sessions,
  u freehold.users,
  t freehold.tenant,
  permission text,
  scope access.scope,
  units uuid[],
  owners uuid[],
  proof integer
) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  i freehold.sessions;
  a freehold.users;
  far record;
  held record;
begin
  select * into i from freehold.sessions x where x.id = s.impersonator_session_id and x.user_id = s.impersonator_id;
  select * into a from freehold.users x where x.id = s.impersonator_id;
  far := access.user_effective_scope(s.impersonator_id, 'user:impersonate');
  if i.id is null
    or i.ended_at is not null
    or i.expires_at <= now()
    or i.last_active_at <= now() - access.idle_limit(t)
    or not access.is_present(a)
    or far.scope is null
    or not (far.scope = 'all' or u.id = any (far.owners) or coalesce(u.unit_id = any (far.units), false))
  then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif proof is not null then
    raise exception using
      errcode = 'FH403',
      message = 'forbidden',
      detail = 'This cannot be done while you impersonate somebody.';
  elsif permission is null then
    return;
  end if;
  held := access.user_effective_scope(a.id, permission);
  if held.scope = 'all' then
    return;
  elsif held.scope is null
    or held.scope < scope
    or not units <@ held.units
    or exists (
      select
      from unnest(owners) o (id)
        join freehold.users x on x.id = o.id
      where o.id <> u.id and not (o.id = any (held.owners) or coalesce(x.unit_id = any (held.units), false)))
  then
    raise exception using
      errcode = 'FH403',
      message = 'forbidden',
      detail = 'You do not hold this permission as far as the user whom you impersonate.';
  end if;
end $$;

-- Who acts in a session of the admitted user, or in one that they may see, as {sub, username}; null: its user does.
create function access.impersonator_of(session uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('sub', a.id, 'username', a.username)
  from freehold.sessions s
    join freehold.users a on a.id = s.impersonator_id
  where s.id = session
    and (
      access.principal() in (s.user_id, s.impersonator_id)
      or access.permission() = 'session:read' and access.can_access_user(s.user_id))
$$;

-- Ends the impersonations that were begun in a session which ends. One that another statement holds is passed over: the
-- admission refuses it all the same.
create function access.end_impersonations() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.sessions x
  set ended_at = now(), ended_because = 'impersonator_left'
  where x.id in (
    select y.id
    from freehold.sessions y
    where y.impersonator_session_id = new.id and y.ended_at is null
    for no key update skip locked);
  return null;
end $$;

create trigger end_impersonations after update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null and new.impersonator_id is null)
  execute function access.end_impersonations();

-- Refuses what makes or changes a credential, or lasts beyond the session, while somebody acts as another user. What the
-- system does, and logins, have no impersonator.
create function access.refuse_impersonated() returns trigger
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.impersonator() is not null then
    perform access.refuse('forbidden', 'This cannot be done while you impersonate somebody.');
  end if;
  return new;
end $$;

create trigger not_impersonated before insert or update or delete on freehold.passwords
  for each statement execute function access.refuse_impersonated();

create trigger not_impersonated before insert or update or delete on freehold.totp_factors
  for each statement execute function access.refuse_impersonated();

create trigger not_impersonated before insert or update or delete on freehold.backup_codes
  for each statement execute function access.refuse_impersonated();

create trigger not_impersonated before insert or update or delete on freehold.passkeys
  for each statement execute function access.refuse_impersonated();

create trigger not_impersonated before insert or update or delete on freehold.external_identities
  for each statement execute function access.refuse_impersonated();

create trigger not_impersonated before insert or update or delete on freehold.api_keys
  for each statement execute function access.refuse_impersonated();

create trigger not_impersonated before insert or update or delete on freehold.delegations
  for each statement execute function access.refuse_impersonated();

create trigger not_impersonated before insert or update or delete on freehold.erasures
  for each statement execute function access.refuse_impersonated();

create trigger not_impersonated before insert or update or delete on freehold.providers
  for each statement execute function access.refuse_impersonated();

-- A link or a code that is mailed.
create trigger not_impersonated before insert on freehold.one_time_tokens
  for each statement execute function access.refuse_impersonated();

create trigger not_impersonated before update of username, email, phone on freehold.users
  for each row
  when (
    old.username is distinct from new.username
    or old.email is distinct from new.email
    or old.phone is distinct from new.phone
  )
  execute function access.refuse_impersonated();

grant execute on function
  access.impersonate(uuid, text),
  access.impersonator_of(uuid)
to freehold_app;
