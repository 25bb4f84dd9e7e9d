-- The verification of e-mail addresses. Both functions are public endpoints.
--   access.begin_verification    what a password is judged by that is chosen with a registration's token
--   access.finish_verification   spends the token: creates the user who registered, or verifies or replaces the address
--                                of an existing one
--
-- Threat: the owner of an address follows a link for which somebody else asked, and so confirms the account of that
-- person, whose password works from then on. So a mailed token proves the address and nothing more. The password of a
-- registration counts together with the secret that this very registration was answered with; otherwise whoever reads
-- the mail chooses one with the token. Either way every registration of the address is void then.

-- {email, is_user, policy}, by which the Worker judges a new password; null: the token is not valid. `is_user`: the token
-- is for the address of a user, who has a password.
create function access.begin_verification(tenant_id uuid, system_key text, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.token_user(presented, 'email', false);
  r freehold.registrations := access.valid_registration(t, presented);
begin
  return case
    when u.id is not null or r.token_hash is not null then jsonb_build_object(
      'email', coalesce(u.email, r.email),
      'is_user', u.id is not null,
      'policy', access.policy_of(t)
    )
  end;
end $$;

-- Spends a token that was mailed to an address. One of a user verifies their address, or replaces it by the one that
-- they asked for. One of a registration creates the user, with the password of the registration that `secret_hash`
-- belongs to, or else with `new_hash` and the name that the address gives. `done`; `invalid` (the token);
-- `not_a_registration`: the token is for the address of a user, so that whoever registered must not spend it, because
-- that user may be somebody else who asked for this address; the token stays valid.
-- `password_required`: neither is there, and the token stays valid; `taken`: by now another user has the address.
create function access.finish_verification(
  tenant_id uuid,
  system_key text,
  presented bytea,
  secret_hash bytea,
  new_hash text,
  new_username text,
  request jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  k freehold.one_time_tokens;
  r freehold.registrations;
  said freehold.registrations;
  u freehold.users := access.token_user(presented, 'email', true);
begin
  if u.id is not null and secret_hash is not null then
    return 'not_a_registration';
  elsif u.id is not null then
    perform access.set_audit_actor(u.id, u.username, request);
    update freehold.one_time_tokens x set used_at = now() where x.token_hash = presented returning * into k;
    if u.email <> k.target then
      begin
        update freehold.users x set email = k.target where x.id = u.id;
      exception when unique_violation then
        return 'taken';
      end;
    end if;
    update freehold.users x set email_verified = true where x.id = u.id;
    return 'done';
  end if;
  -- Of several tokens of one address that are shown at once, one goes first.
  perform pg_advisory_xact_lock(hashtext('register:' || x.email))
  from freehold.registrations x
  where x.token_hash = presented;
  r := access.valid_registration(t, presented);
  if r.token_hash is null then
    return 'invalid';
  elsif new_hash is null then
    select * into said
    from freehold.registrations x
    where x.email = r.email
      and x.secret_hash = finish_verification.secret_hash
      and x.used_at is null
      and x.expires_at > now();
    if said.token_hash is null then
      return 'password_required';
    end if;
  end if;
  update freehold.registrations x set used_at = now() where x.email = r.email and x.used_at is null;
  said.email := r.email;
  said.username := coalesce(said.username, new_username);
  said.password_hash := coalesce(new_hash, said.password_hash);
  u := access.registered_user(t, said);
  if u.id is null then
    return 'taken';
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  perform access.record(
    'USER_REGISTERED', 'create', 'user', u.id::text, null,
    jsonb_build_object(
      'email', u.email,
      'role', u.role,
      'password', case when new_hash is null then 'registration' else 'verification' end
    )
  );
  return 'done';
end $$;

-- The row of a registration's token that can be spent now, or null.
create function access.valid_registration(t freehold.tenant, presented bytea) returns freehold.registrations
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select x.*
  from freehold.registrations x
  where x.token_hash = presented
    and x.used_at is null
    and x.expires_at > now()
    and access.may_register(t, x.email)
$$;

-- Creates the user of a registration, with its password; null: another user has the address.
create function access.registered_user(t freehold.tenant, said freehold.registrations) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  broken text;
  u freehold.users;
begin
  begin
    insert into freehold.users (
      id, username, email, email_verified, given_name, family_name, locale, role, password_changed_at
    )
    values (
      gen_random_uuid(),
      access.free_username(said.username, said.email),
      said.email,
      true,
      said.given_name,
      said.family_name,
      coalesce(said.locale, 'en'),
      coalesce(t.registration_role, (select x.name from freehold.roles x where x.is_fallback and x.deleted_at is null)),
      coalesce(said.created_at, now())
    )
    returning * into u;
  exception when unique_violation then
    get stacked diagnostics broken = constraint_name;
    if broken <> 'users_email' then
      raise;
    end if;
    return null;
  end;
  insert into freehold.passwords (id, user_id, password_hash, created_at)
  values (gen_random_uuid(), u.id, said.password_hash, u.password_changed_at);
  return u;
end $$;

grant execute on function
  access.begin_verification(uuid, text, bytea),
  access.finish_verification(uuid, text, bytea, bytea, text, text, jsonb)
to freehold_app;
