-- Accepting an invitation.
--   access.preview_invitation     public endpoint: what somebody is invited to, and what a password is judged by
--   access.accept_invitation      public endpoint: makes the account of a new person, with a password or a passkey
--   access.join_by_invitation     for the admitted user: moves them
--
-- Threat: a token that was seen, guessed, used or mailed to somebody else lets a stranger in; somebody accepts what was
-- meant for another person; twenty accept one invitation, or five the last place; what was promised by somebody who may
-- promise it no more is given. So a token is mailed to the address that the account gets, which it proves; an address
-- that has an account is joined by a session of that account alone, and nobody is moved by a click on a link; the
-- invitation is locked and closed in the transaction that gives what it promises; the counters are those of every
-- user; and its inviter is judged anew (giving.sql). Whoever has no token learns nothing.
--
-- Locks: the challenge of a passkey, counters, the user, organizations by their ids, the invitation, their rows, roles.

-- The invitation of a token that can be accepted now, or null. With `is_held` it is locked, so that of several requests
-- one goes first.
create function access.valid_invitation(presented bytea, is_held boolean) returns freehold.invitations
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  i freehold.invitations;
begin
  if is_held then
    -- As whoever wipes an organization out locks them, and both organizations of two who change places in one order.
    perform
    from freehold.organizations o
    where o.id in (
      select x.organization_id from freehold.invitations x where x.token_hash = presented
      union
      select u.organization_id from freehold.users u where u.id = access.principal())
    order by o.id
    for no key update;
    perform from freehold.invitations x where x.token_hash = presented for update;
  end if;
  select * into i
  from freehold.invitations x
  where x.token_hash = presented and x.closed_at is null and x.expires_at > now();
  if i.id is null or not access.may_still_invite(i) then
    return null;
  end if;
  return i;
end $$;

-- {id, email, given_name, family_name, organization_id, organization, inviter, expires_at, is_user, policy}; null: the
-- token is not valid. `is_user`: the address has an account.
create function access.preview_invitation(tenant_id uuid, system_key text, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  i freehold.invitations := access.valid_invitation(presented, false);
begin
  return case
    when i.id is not null then jsonb_build_object(
      'id', i.id,
      'email', i.email,
      'given_name', i.given_name,
      'family_name', i.family_name,
      'locale', i.locale,
      'organization_id', i.organization_id,
      'organization', access.organization_name(i.organization_id),
      'inviter', (select access.inviter_name(u) from freehold.users u where u.id = i.inviter_id),
      'expires_at', to_char(i.expires_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      'is_user', exists (select from freehold.users u where u.email = i.email),
      'policy', access.policy_of(t)
    )
  end;
end $$;

-- Makes the account of a new person, with a password or a `passkey` that the Worker verified for this invitation: as of
-- access.register_passkey, with {challenge_hash, challenge_expires_at}.
-- {outcome: done, id, username, ...}, or the outcome `invalid` (the token), `known`
-- (the address has an account; the invitation stays open), `void` (nothing of what it promised can be given any more).
-- Raises FH409 where a limit is reached; then the invitation stays open.
create function access.accept_invitation(
  tenant_id uuid,
  system_key text,
  presented bytea,
  new_hash text,
  wanted jsonb,
  request jsonb,
  passkey jsonb default null
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  is_new boolean := passkey is null or access.spend_challenge(
    (passkey ->> 'challenge_hash')::bytea, (passkey ->> 'challenge_expires_at')::timestamptz);
  i freehold.invitations;
  given freehold.roles[];
  u freehold.users;
  broken text;
  answer jsonb;
begin
  if not is_new then
    perform access.refuse('illegal_state', 'This answer was used before: ask for new options.');
  end if;
  perform access.must_be_licensed(), access.lock_limit('users');
  i := access.valid_invitation(presented, true);
  if i.id is null then
    return jsonb_build_object('outcome', 'invalid');
  elsif exists (select from freehold.users x where x.email = i.email) then
    return jsonb_build_object('outcome', 'known');
  end if;
  given := array(select g from access.roles_still_given(i, i.unit_id) g);
  if i.role_ids <> '{}' and given = '{}' then
    return jsonb_build_object('outcome', 'void');
  end if;
  perform access.ask_about_invitation(i, null);
  -- A passkey was made for the id that its user was to get (passkeyOptions in accepting.ts).
  u.id := case when passkey is null then gen_random_uuid() else i.id end;
  u.username := access.free_username(wanted ->> 'username', i.email);
  perform access.set_audit_actor(u.id, u.username, request);
  begin
    insert into freehold.users (
      id, username, email, email_verified, given_name, family_name, locale, role, unit_id, organization_id, joined_at
    )
    values (
      u.id, u.username, i.email, true,
      coalesce(wanted ->> 'given_name', i.given_name),
      coalesce(wanted ->> 'family_name', i.family_name),
      i.locale,
      coalesce(case when i.organization_id is null then given[1].name end, access.base_role(t)),
      i.unit_id, i.organization_id, now()
    );
  exception when unique_violation then
    get stacked diagnostics broken = constraint_name;
    if broken <> 'users_email' then
      raise;
    end if;
    return jsonb_build_object('outcome', 'known');
  end;
  if passkey is null then
    insert into freehold.passwords (id, user_id, password_hash) values (gen_random_uuid(), u.id, new_hash);
    return access.join_as(i, u.id, given);
  end if;
  perform access.add_passkey(u.id, passkey);
  answer := access.join_as(i, u.id, given);
  perform access.enqueue_mail('passkey_added', u.id, i.email, jsonb_build_object('passkey_name', passkey ->> 'name'));
  return answer;
end $$;

-- Moves the admitted user, whose address the invitation was mailed to: as above, or `other` (it is for another
-- address).
create function access.join_by_invitation(tenant_id uuid, system_key text, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  claimed text := current_setting('access.claims', true);
  claims jsonb := access.claims();
  i freehold.invitations;
  given freehold.roles[];
  u freehold.users;
  moves boolean;
  answer jsonb;
begin
  perform access.check_system(tenant_id, system_key);
  if access.session() is null then
    perform access.refuse('forbidden', 'An invitation is accepted with a session, not with an API key.');
  end if;
  perform access.must_be_licensed(), access.lock_limit('users');
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  i := access.valid_invitation(presented, true);
  if i.id is null then
    return jsonb_build_object('outcome', 'invalid');
  elsif i.email <> u.email then
    return jsonb_build_object('outcome', 'other');
  end if;
  moves := i.organization_id is not null and i.organization_id is distinct from u.organization_id;
  given := array(select g from access.roles_still_given(i, case when moves then i.unit_id else u.unit_id end) g);
  if i.role_ids <> '{}' and given = '{}' then
    return jsonb_build_object('outcome', 'void');
  end if;
  perform access.ask_about_invitation(i, u.id);
  -- The inviter gives, and not the person who accepts, who may give themselves nothing: so the claims are put aside
  -- until it is done, and what is done is the system's, in the name of the person for the audit.
  perform
    access.set_audit_actor(u.id, u.username, claims -> 'request'),
    set_config('access.claims', '', true);
  update freehold.users x
  set organization_id = case when moves then i.organization_id else x.organization_id end,
    unit_id = case when moves then i.unit_id else x.unit_id end,
    email_verified = true
  where x.id = u.id;
  -- What they hold is measured from the new unit now, and it is the inviter who put them there.
  if moves and not access.covers_power_of(i.inviter_id, u.id) then
    perform access.refuse('forbidden',
      'You have power over users that whoever invited you lacks there: an administrator must move you.');
  end if;
  answer := access.join_as(i, u.id, given);
  perform set_config('access.claims', claimed, true);
  return answer;
end $$;

-- Gives the roles that are not held yet, in the order of their ids, as everybody locks them, closes the invitation, and
-- tells whoever invited.
-- Those of an invitation to an organization are held within it, and end when the person leaves it; so that they can
-- still log in then, everybody holds a role that is not.
create function access.join_as(i freehold.invitations, subject uuid, given freehold.roles[]) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  insert into freehold.user_roles (id, user_id, role_id, organization_id)
  select gen_random_uuid(), subject, g.id, g.organization_id
  from (
    select x.id, case when not x.is_fallback then i.organization_id end as organization_id
    from unnest(given) x
    union
    select r.id, null
    from freehold.tenant t
      join freehold.roles r on r.name = access.base_role(t) and r.deleted_at is null
    where not exists (
        select from freehold.user_roles ur
        where ur.user_id = subject and ur.organization_id is null and (ur.ends_at is null or ur.ends_at > now()))
      and r.id not in (select x.id from unnest(given) x where i.organization_id is null or x.is_fallback)
  ) g
  where not exists (
    select from freehold.user_roles ur where ur.user_id = subject and ur.role_id = g.id and ur.ends_at is null
  )
  order by g.id;
  update freehold.invitations x
  set accepted_at = now(), accepted_by = subject, closed_at = now(), updated_at = now()
  where x.id = i.id;
  select * into u from freehold.users x where x.id = subject;
  perform access.record(
    'INVITATION_ACCEPTED', 'update', 'invitation', i.id::text, null,
    jsonb_build_object('organization_id', i.organization_id, 'role_ids', (select jsonb_agg(g.id) from unnest(given) g),
      'inviter_id', i.inviter_id)
  );
  -- Mails last: their limits are locked after everything else.
  perform access.enqueue_mail('invitation_accepted', x.id, x.email, jsonb_build_object('accepted_by', u.email))
  from freehold.users x
  where x.id = i.inviter_id and access.is_present(x);
  return jsonb_build_object(
    'outcome', 'done',
    'id', u.id,
    'username', u.username,
    'email', u.email,
    'organization_id', u.organization_id,
    'roles', (
      select coalesce(jsonb_agg(distinct r.name order by r.name), '[]')
      from freehold.user_roles ur
        join freehold.roles r on r.id = ur.role_id
      where ur.user_id = u.id and r.is_active and access.in_force(ur.starts_at, ur.ends_at, now()))
  );
end $$;

grant execute on function
  access.preview_invitation(uuid, text, bytea),
  access.accept_invitation(uuid, text, bytea, text, jsonb, jsonb, jsonb),
  access.join_by_invitation(uuid, text, bytea)
to freehold_app;
