-- Invitations: somebody is invited by mail, and gets an account, or is moved, when they accept (accepting.sql).
--   access.invite               makes an invitation and mails it, with invitation:create
--   access.resend_invitation    mails another token, with invitation:create; the one before is dead
--   access.revoke_invitation    closes it, with invitation:delete
--
-- Threat: somebody has the tenant send mail to people who did not ask for any; invites more people than there is room
-- for; gives by it what they do not hold (giving.sql); or reads a token that was mailed to somebody else. So an
-- inviter has a limit of mails beside those of every recipient and day, which are refused here and not dropped; open
-- invitations take places that accepting takes again, exactly; of a token the hash alone is stored, in a column that
-- the app login cannot read; and where a mail goes out, the Worker shows the system's key.
--
-- Locks: the counter of users, the inviter, the organization, the invitation, and what limits mail at the end.

-- How many invitations one user can send within an hour.
create function access.invitations_an_hour() returns integer
language sql immutable
return 100;

-- Makes an invitation: {email, organization_id, unit_id, roles, given_name, family_name, locale}. Raises FH400, FH403,
-- FH409; 23505 for one that is open.
create function access.invite(
  tenant_id uuid,
  system_key text,
  id uuid,
  wanted jsonb,
  token_hash bytea,
  secrets_encrypted text
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  address text := wanted ->> 'email';
  l access.limits;
  mine freehold.users;
  known freehold.users;
  i freehold.invitations;
begin
  perform access.check_system(tenant_id, system_key);
  if access.permission() is distinct from 'invitation:create' then
    perform access.refuse('forbidden', 'Inviting needs invitation:create.');
  end if;
  perform access.must_be_licensed();
  l := access.lock_limit('users');
  select * into mine from freehold.users x where x.id = me for no key update;
  if address = mine.email then
    perform access.refuse('invalid_request', 'is your own address', 'email');
  end if;
  i.id := invite.id;
  i.email := address;
  i.inviter_id := me;
  i.organization_id := (wanted ->> 'organization_id')::uuid;
  i.unit_id := (wanted ->> 'unit_id')::uuid;
  i := access.placed_invitation(i, mine);
  select * into known from freehold.users x where x.email = address;
  if known.id is not null
    and (i.organization_id is null or known.organization_id = i.organization_id) then
    perform access.refuse('already_exists', 'Somebody with this address is a member already.');
  elsif known.id is not null and not access.is_present(known) then
    perform access.refuse('illegal_state', 'Somebody with this address has an account that is not active.');
  end if;
  i.role_ids := access.invited_roles(wanted -> 'roles', i);
  perform access.require_room(i, l);
  update freehold.invitations x set closed_at = x.expires_at
  where x.email = address
    and x.organization_id is not distinct from i.organization_id
    and x.closed_at is null
    and x.expires_at <= now();
  insert into freehold.invitations (
    id, email, inviter_id, organization_id, unit_id, role_ids, given_name, family_name, locale, token_hash, expires_at
  )
  values (
    i.id, address, me, i.organization_id, i.unit_id, i.role_ids, wanted ->> 'given_name', wanted ->> 'family_name',
    coalesce(wanted ->> 'locale', known.locale, mine.locale), invite.token_hash, now() + interval '7 days'
  )
  returning * into i;
  perform access.mail_invitation(i, secrets_encrypted);
end $$;

-- Mails an invitation whose inviter, the admitted user, is locked. Raises FH409 where a limit of mails is reached.
create function access.mail_invitation(i freehold.invitations, secrets_encrypted text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  mine freehold.users;
  organization text := access.organization_name(i.organization_id);
begin
  if (
    select count(*)
    from freehold.invitations x
    where x.inviter_id = access.principal() and x.sent_at > now() - interval '1 hour'
  ) > access.invitations_an_hour() then
    perform access.refuse('limit_reached', format(
      'You can send at most %s invitations within an hour.', access.invitations_an_hour()));
  end if;
  select * into mine from freehold.users x where x.id = access.principal();
  perform access.record(
    'INVITATION_SENT', 'create', 'invitation', i.id::text, null,
    jsonb_build_object('email', i.email, 'organization_id', i.organization_id, 'unit_id', i.unit_id, 'role_ids', i.role_ids,
      'expires_at', i.expires_at));
  if access.enqueue_mail(
    case when organization is null then 'invitation' else 'invitation_to_organization' end,
    (select u.id from freehold.users u where u.email = i.email),
    i.email,
    jsonb_strip_nulls(jsonb_build_object(
      'inviter', access.inviter_name(mine), 'organization', organization, 'expires_at', i.expires_at)),
    secrets_encrypted,
    i.locale) is null
  then
    perform access.refuse('limit_reached',
      'This address was mailed too often, or the tenant has sent all mails of today: try again later.');
  end if;
end $$;

-- What an inviter is called in a mail, and on the page where it is accepted.
create function access.inviter_name(u freehold.users) returns text
language sql immutable
return left(coalesce(nullif(concat_ws(' ', u.given_name, u.family_name), ''), u.username), 60);

-- What an organization is called.
create function access.organization_name(organization uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select o.name from freehold.organizations o where o.id = organization
$$;

-- The invitation that the admitted user changes, locked: within reach, open or expired. Raises FH404, FH403, FH409.
create function access.invitation_to_change(invitation uuid, needed text) returns freehold.invitations
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  i freehold.invitations;
begin
  if access.permission() is distinct from needed then
    perform access.refuse('forbidden', format('Changing an invitation needs %s.', needed));
  end if;
  perform access.require_reach('invitation', invitation);
  select * into i from freehold.invitations x where x.id = invitation for update;
  if i.id is null
    or not (access.scope() = 'all'
      or i.inviter_id = any (access.scope_owner_ids())
      or coalesce(i.unit_id = any (access.scope_unit_ids()), false)) then
    perform access.refuse('not_found', 'There is no invitation with this id.');
  elsif i.closed_at is not null then
    perform access.refuse('illegal_state', 'This invitation was accepted, revoked or replaced.');
  end if;
  return i;
end $$;

-- Mails another token, which works for seven days; what is given is decided anew, as if the caller had invited them. One
-- that had expired took no place any more, and takes one again.
create function access.resend_invitation(
  tenant_id uuid,
  system_key text,
  invitation uuid,
  new_hash bytea,
  secrets_encrypted text
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  l access.limits;
  i freehold.invitations;
begin
  perform access.check_system(tenant_id, system_key);
  perform access.must_be_licensed();
  l := access.lock_limit('users');
  perform from freehold.users x where x.id = access.principal() for no key update;
  -- Before the invitation, as whoever accepts one locks them.
  perform
  from freehold.organizations o
  where o.id = (select x.organization_id from freehold.invitations x where x.id = invitation)
  for no key update;
  i := access.invitation_to_change(invitation, 'invitation:create');
  perform access.invited_roles(to_jsonb(i.role_ids), i);
  if i.expires_at <= now() then
    perform access.require_room(i, l);
  end if;
  update freehold.invitations x set
    inviter_id = access.principal(),
    token_hash = new_hash,
    sent_at = now(),
    updated_at = now(),
    expires_at = now() + interval '7 days'
  where x.id = i.id
  returning * into i;
  perform access.mail_invitation(i, secrets_encrypted);
end $$;

-- Closes an invitation: its token is dead.
create function access.revoke_invitation(invitation uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  i freehold.invitations := access.invitation_to_change(invitation, 'invitation:delete');
begin
  update freehold.invitations x set revoked_at = now(), closed_at = now(), updated_at = now() where x.id = i.id;
  perform access.record(
    'INVITATION_REVOKED', 'delete', 'invitation', i.id::text, jsonb_build_object('email', i.email), null);
end $$;

-- Not access.protect: the hash of the token is read by functions alone, which also write everything.
create policy read on freehold.invitations for select
  using (
    (select access.scope() = 'all')
    or inviter_id = any ((select access.scope_owner_ids())::uuid[])
    or unit_id = any ((select access.scope_unit_ids())::uuid[])
  );

grant select (id, email, inviter_id, organization_id, unit_id, role_ids, given_name, family_name, locale, created_at,
  updated_at, sent_at, expires_at, accepted_at, accepted_by, revoked_at, closed_at) on freehold.invitations to freehold_app;

grant execute on function
  access.invite(uuid, text, uuid, jsonb, bytea, text),
  access.resend_invitation(uuid, text, uuid, bytea, text),
  access.revoke_invitation(uuid)
to freehold_app;
