-- Passkeys. The Worker verifies what an authenticator answers (src/passkeys/webauthn.ts); everything else happens here.
--   access.begin_passkey_login    public endpoint: what the Worker needs to verify the answer of a passkey
--   access.finish_passkey_login   public endpoint: spends the challenge, compares the counter, opens a session
--   access.register_passkey       spends the challenge, adds a passkey of the admitted user
--
-- Threat: an answer that was seen is sent again, or by twenty at once; a copied authenticator logs in; somebody who runs
-- SQL as the app login adds a passkey that nobody verified, or says that one answered; somebody at an open session adds
-- one that its owner never learns of. So a challenge is a row that can be inserted once, counters only grow, the Worker
-- shows the system's key, which the app login lacks, and whoever gets or loses a passkey is mailed. Lock order: the
-- challenge, the person's lockout, the user, the challenge of the login, the passkey.

-- {user_id, public_key, rp_id}; null: there is no such passkey here.
create function access.begin_passkey_login(tenant_id uuid, system_key text, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  return (
    select jsonb_build_object(
      'user_id', k.user_id,
      'public_key', encode(k.public_key, 'hex'),
      'rp_id', k.rp_id
    )
    from freehold.passkeys k
    where k.credential_id = presented
  );
end $$;

-- Second half: what access.enter returns, or {outcome: refused, mail}. `wrong`: why the answer was not verified; null: it was.
-- `devices` are tokens of known devices, as for access.begin_login. A failure is returned, not raised, so that its entry
-- is committed. Lockouts do not count here: nobody guesses a key, and whoever locks a person out does not take this way
-- from them.
create function access.finish_passkey_login(
  tenant_id uuid,
  system_key text,
  presented bytea,
  wrong text,
  challenge_hash bytea,
  challenge_expires_at timestamptz,
  counter bigint,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  devices jsonb
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  is_new boolean := access.spend_challenge(challenge_hash, challenge_expires_at);
  u freehold.users;
  why text;
begin
  select x.* into u
  from freehold.users x
  where x.id = (select y.user_id from freehold.passkeys y where y.credential_id = presented)
  for no key update;
  perform access.set_audit_actor(u.id, coalesce(u.username, 'unknown passkey'), request);
  why := access.take_passkey(u, presented, wrong, is_new, counter);
  if why is not null then
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, why, why in ('unknown_passkey', 'wrong_passkey', 'passkey_replayed'),
      jsonb_build_object('reason', why), case why when 'passkey_clone_suspected' then 80 else 20 end
    );
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  end if;
  -- RFC 8176: a key, somebody who was present, and that they were verified.
  return access.with_passkey_end(
    access.unless_risky(t, u, null, access.enter(
      u, t, refresh_hash, request, former, null, null, access.passkey_method(presented) || ' user mfa', 2,
      access.device_of(t, u.id, devices)
    )),
    presented
  );
end $$;

-- Takes the answer of a passkey of a user, whose row the caller has locked: null, or why it does not count.
create function access.take_passkey(
  u freehold.users,
  presented bytea,
  wrong text,
  is_new boolean,
  counter bigint
) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  k freehold.passkeys;
  why text;
begin
  -- It may have been removed while the caller waited.
  select * into k from freehold.passkeys x where x.credential_id = presented and x.user_id = u.id for update;
  why := case
    when k.id is null then 'unknown_passkey'
    when wrong is not null then wrong
    when not is_new then 'passkey_replayed'
    when not access.is_present(u) then 'inactive'
    when k.ends_at <= now() then 'passkey_ended'
    when counter <= k.counter and greatest(counter, k.counter) > 0 then 'passkey_clone_suspected'
  end;
  if why is null then
    update freehold.passkeys x set counter = take_passkey.counter, last_used_at = now() where x.id = k.id;
  elsif why = 'passkey_clone_suspected' then
    perform access.record(
      'PASSKEY_CLONE_SUSPECTED', 'login', 'passkey', k.id::text,
      jsonb_build_object('counter', k.counter), jsonb_build_object('counter', counter, 'name', k.name), 80
    );
    perform access.enqueue_mail('passkey_copied', u.id, u.email, jsonb_build_object('passkey_name', k.name));
  end if;
  return why;
end $$;

-- How RFC 8176 names a passkey: a key in software, which may be on several devices, or in hardware.
create function access.passkey_method(presented bytea) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case when k.is_synced then 'swk' else 'hwk' end from freehold.passkeys k where k.credential_id = presented
$$;

-- Spends a challenge: whether this is the first time. Of many at once the others wait here for the first.
create function access.spend_challenge(challenge_hash bytea, expires_at timestamptz) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  insert into access.passkey_challenges (challenge_hash, expires_at)
  values (spend_challenge.challenge_hash, spend_challenge.expires_at)
  on conflict do nothing;
  return found;
end $$;

-- Adds a passkey that the Worker verified, {credential_id, public_key, counter, rp_id, name, aaguid, transports,
-- is_synced} with bytes in hexadecimal, and returns its id. Raises FH409 illegal_state (the challenge was used before),
-- already_exists, limit_reached (20 of one user); FH401 session_ended.
create function access.register_passkey(
  tenant_id uuid,
  system_key text,
  challenge_hash bytea,
  challenge_expires_at timestamptz,
  passkey jsonb
) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  made uuid;
  u freehold.users;
begin
  t := access.check_system(tenant_id, system_key);
  perform access.must_be_licensed();
  if not access.spend_challenge(challenge_hash, challenge_expires_at) then
    perform access.refuse('illegal_state', 'This answer was used before: ask for new options.');
  end if;
  select * into strict u from freehold.users x where x.id = access.principal() for no key update;
  -- While this waited, a new password may have ended the session.
  if not exists (select from freehold.sessions s where s.id = access.session() and s.ended_at is null) then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif access.must_change(u, t) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  elsif (select count(*) from freehold.passkeys k where k.user_id = u.id) >= 20 then
    perform access.refuse('limit_reached', 'You have 20 passkeys, which is the most: remove one first.');
  end if;
  made := access.add_passkey(u.id, passkey);
  perform access.enqueue_mail('passkey_added', u.id, u.email, jsonb_build_object('passkey_name', passkey ->> 'name'));
  return made;
end $$;

-- Keeps a passkey of a user whose row the caller has locked or made.
create function access.add_passkey(subject uuid, passkey jsonb) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
begin
  insert into freehold.passkeys (
    id, user_id, credential_id, public_key, counter, rp_id, name, aaguid, transports, is_synced
  )
  values (
    made,
    subject,
    decode(passkey ->> 'credential_id', 'hex'),
    decode(passkey ->> 'public_key', 'hex'),
    (passkey ->> 'counter')::bigint,
    passkey ->> 'rp_id',
    passkey ->> 'name',
    (passkey ->> 'aaguid')::uuid,
    array(select jsonb_array_elements_text(passkey -> 'transports')),
    (passkey ->> 'is_synced')::boolean
  )
  on conflict (credential_id) do nothing;
  if not found then
    perform access.refuse('already_exists', 'This passkey is registered already.');
  end if;
  return made;
end $$;

call access.audited('freehold.passkeys', 'passkey', '{credential_id,public_key}', '{counter,last_used_at,ends_at}');

-- Not access.protect: passkeys are their owner's, whatever permission they were admitted with, and change in a session.
-- Whoever sees a user sees that there is one that works; no verb shows them more of it (src/users/users.ts).
create policy read on freehold.passkeys for select using (
  user_id = (select access.principal())
  or (
    (select access.permission()) like 'user:%'
    and coalesce(ends_at > now(), true)
    and (
      (select access.scope()) = 'all'
      or user_id = any ((select access.scope_owner_ids())::uuid[])
      or exists (
        select from freehold.users u
        where u.id = user_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
      )
    )
  )
);

create policy change on freehold.passkeys for update using (
  user_id = (select access.principal()) and (select access.session()) is not null
);

create policy remove on freehold.passkeys for delete using (
  user_id = (select access.principal()) and (select access.session()) is not null
);

grant
  select (id, user_id, credential_id, rp_id, ends_at, name, aaguid, transports, is_synced, created_at, last_used_at),
  update (name),
  delete
on freehold.passkeys to freehold_app;

grant execute on function
  access.begin_passkey_login(uuid, text, bytea),
  access.finish_passkey_login(uuid, text, bytea, text, bytea, timestamptz, bigint, bytea, jsonb, jsonb, jsonb),
  access.register_passkey(uuid, text, bytea, timestamptz, jsonb)
to freehold_app;
