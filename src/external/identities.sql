-- Identities of users elsewhere: each is a way to log in.
--   access.link_identity   adds one of the admitted user, of a token that the Worker verified
--   access.add_identity    adds one, and mails its user
--
-- Threat: somebody at an open session adds a way in of their own that its owner never learns of, or takes an identity that
-- is somebody else's; the last way in is removed; somebody who runs SQL as the app login adds one that nobody verified. So
-- adding takes a fresh login (the route), a token that was not used before, and the system's key; whoever gets or loses
-- an identity is mailed; and one belongs to one user.

-- Adds an identity of the admitted user, and returns its id. The arguments are as for access.finish_external_login.
-- Raises FH409 illegal_state (the token was used before, or the provider was changed), already_exists (it is somebody
-- else's), limit_reached (20 of one user); FH401 session_ended. One that they have already is returned.
create function access.link_identity(
  tenant_id uuid,
  system_key text,
  provider uuid,
  version timestamptz,
  identity jsonb,
  token_hash bytea,
  token_expires_at timestamptz
) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  p freehold.providers;
  u freehold.users;
  known freehold.external_identities;
begin
  perform access.must_be_licensed();
  select * into p from freehold.providers x where x.id = provider;
  if p.id is null or not p.is_enabled or p.updated_at <> version then
    perform access.refuse('illegal_state', 'This provider was changed meanwhile: begin again.');
  elsif not access.spend_external_token(token_hash, token_expires_at) then
    perform access.refuse('illegal_state', 'This token was used before: get a new one.');
  end if;
  perform pg_advisory_xact_lock(hashtextextended(
    format('external:%s:%s:%s', p.id, identity ->> 'issuer', identity ->> 'subject'), 0));
  select * into strict u from freehold.users x where x.id = access.principal() for no key update;
  -- While this waited, a new password may have ended the session.
  if not exists (select from freehold.sessions s where s.id = access.session() and s.ended_at is null) then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  end if;
  select * into known
  from freehold.external_identities x
  where x.provider_id = p.id and x.issuer = identity ->> 'issuer' and x.external_id = identity ->> 'subject';
  if known.user_id = u.id then
    return known.id;
  elsif known.id is not null then
    perform access.refuse('already_exists', 'Somebody else logs in with this identity.');
  elsif (select count(*) from freehold.external_identities x where x.user_id = u.id) >= 20 then
    perform access.refuse('limit_reached', 'You have 20 identities, which is the most: remove one first.');
  end if;
  return access.add_identity(p, u, identity);
end $$;

-- Adds an identity of a user, whose row is locked, and mails them.
create function access.add_identity(p freehold.providers, u freehold.users, identity jsonb) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
begin
  insert into freehold.external_identities (id, user_id, provider_id, provider, issuer, external_id, email, last_used_at)
  values (made, u.id, p.id, p.name, identity ->> 'issuer', identity ->> 'subject', identity ->> 'email', now());
  perform access.enqueue_mail('identity_added', u.id, u.email, jsonb_build_object('provider', p.label));
  return made;
end $$;

-- Whether somebody logs in with an identity: one of a provider that is enabled, beside `removed`.
create function access.has_identity(subject uuid, removed uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from freehold.external_identities e
      join freehold.providers p on p.id = e.provider_id
    where e.user_id = subject and e.id is distinct from removed and p.is_enabled)
$$;

-- The last way in stays. One removal of a user at a time, so that of two that go at once one is the last.
create function access.before_identity_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return old;
  end if;
  perform access.must_be_licensed();
  perform from freehold.users u where u.id = old.user_id for no key update;
  if access.current_password(old.user_id) is null
    and not access.has_passkey(old.user_id)
    and not access.has_identity(old.user_id, old.id)
  then
    perform access.refuse('illegal_state',
      'This identity is the only way into your account: add another one, or set a password.');
  end if;
  return old;
end $$;

-- Mails whoever lost an identity.
create function access.after_identity_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.enqueue_mail('identity_removed', u.id, u.email, jsonb_build_object('provider', p.label))
  from freehold.users u
    cross join freehold.providers p
  where u.id = old.user_id and p.id = old.provider_id;
  return null;
end $$;

create trigger before_identity_removal before delete on freehold.external_identities
  for each row execute function access.before_identity_removal();

create trigger after_identity_removal after delete on freehold.external_identities
  for each row execute function access.after_identity_removal();

call access.audited('freehold.external_identities', 'external_identity', noise => '{last_used_at}');

-- Not access.protect: identities are their owner's, whatever permission they were admitted with, and change in a session.
create policy read on freehold.external_identities for select using (user_id = (select access.principal()));

create policy remove on freehold.external_identities for delete using (
  user_id = (select access.principal()) and (select access.session()) is not null
);

grant select, delete on freehold.external_identities to freehold_app;

grant execute on function
  access.link_identity(uuid, text, uuid, timestamptz, jsonb, bytea, timestamptz)
to freehold_app;
