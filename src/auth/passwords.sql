-- Passwords: changing one's own, the rules for a new one, the password history, and expiry.
--   access.begin_password_change    first half of a change of password or address by the admitted user
--   access.finish_password_change   second half: compares the current password, replaces it, ends the user's other sessions
--   access.policy                   the rules for a new password, for callers that create users
--   access.warn_expiring            for the scheduled job: mails to users whose password expires soon
-- Recovery, registration and imports use the helpers below. The app login reaches freehold.passwords through
-- functions alone: the table has no policy and no grant.
--
-- Threat: a stolen session is used to guess the current password, as the app login also in transactions that are rolled
-- back; a strong password is followed by an old one; a mail that was sent before the change takes the account back. So a
-- change has a lockout of its own and takes the system's key, a new password is compared with the history, and a change
-- voids the tokens that were sent before it.

-- First half of a change: what access.begin_attempt returns, and {user, policy, history},
-- by which the Worker judges a new password. Its lockout is not the one of logins, so that strangers cannot use up
-- its attempts.
create function access.begin_password_change(tenant_id uuid, system_key text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal();
  return access.begin_attempt(
    t, 'change:' || u.id, null, u.id, u.username, u.username, access.hash_parameters_of(u.id, u.username)
  )
    || jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    );
end $$;

-- Second half: `wrong` (the current password), `expired` (it is a first password whose time is over), `used` (the new
-- one is in the history), or `changed`. Without a new hash, when the new password breaks a rule, it only finishes the
-- attempt. `digests` are those of the new password, by hash parameters. `revoke_keys`: the user's API keys end with it.
create function access.finish_password_change(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  new_hash text,
  digests jsonb,
  revoke_keys boolean default false
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
begin
  if u.id is null or u.id is distinct from access.principal() then
    perform access.record('PASSWORD_CHANGE_FAILED', 'update', 'user', access.principal()::text, null, null, 20);
    return 'wrong';
  elsif access.first_password_expiry(u.id, t) <= now() then
    return 'expired';
  elsif access.was_used(u.id, t, digests) then
    return 'used';
  elsif new_hash is not null then
    perform access.replace_password(u.id, new_hash, false, 'password_change', access.session());
    if revoke_keys then
      perform access.revoke_keys_of(u.id);
    end if;
    perform access.enqueue_mail('password_changed', u.id, u.email);
  end if;
  return 'changed';
end $$;

-- The rules for a new password, for any admitted caller.
create function access.policy() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.policy_of(t) from freehold.tenant t where access.principal() is not null
$$;

-- Mails users whose password expires soon, once for each password and as many as the day has room for; returns how
-- many. Called by the scheduled job, as the owner. The users are locked before the first mail is counted: who changes an
-- address locks the user first, too.
create function access.warn_expiring(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  warned integer;
begin
  with soon as (
    update freehold.passwords p set warned_at = now()
    from freehold.tenant t
    where p.id in (
      select x.id
      from freehold.passwords x
      join freehold.users u on u.id = x.user_id
      where x.replaced_at is null
        and x.warned_at is null
        and access.is_present(u)
        and not u.must_change_password
        and t.password_days > 0
        and x.created_at <= now()
          - make_interval(days => t.password_days - least(t.password_warning_days, t.password_days))
      order by x.created_at
      limit least(at_most, access.warnings_left())
      for update of x skip locked
      for key share of u skip locked
    )
    returning p.user_id
  )
  select count(
    access.enqueue_mail(
      'password_expires', u.id, u.email, jsonb_build_object('expires_at', access.password_expiry(u, t))))
  into warned
  from soon
  join freehold.users u on u.id = soon.user_id
  cross join freehold.tenant t;
  return warned;
end $$;

-- Replaces a user's password and ends their sessions, except `kept`. One that they must change is a first password.
-- Voids the tokens that were sent before, for another password or for another address: they may have been asked for by
-- the one whom the account is taken back from.
create function access.replace_password(subject uuid, new_hash text, must_change boolean, because text, kept uuid)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.passwords p set replaced_at = clock_timestamp()
  where p.user_id = subject and p.replaced_at is null;
  insert into freehold.passwords (id, user_id, password_hash, is_first)
  values (gen_random_uuid(), subject, new_hash, must_change);
  update freehold.users x
  set password_changed_at = now(), must_change_password = must_change, updated_at = now()
  where x.id = subject;
  -- The verification of the current address stays good.
  update freehold.one_time_tokens k set used_at = now()
  from freehold.users u
  where u.id = subject
    and k.user_id = u.id
    and k.used_at is null
    and (k.kind = 'reset' or (k.kind = 'email' and k.target <> u.email));
  update freehold.sessions x
  set ended_at = now(), ended_because = because
  where x.user_id = subject and x.ended_at is null and x.id is distinct from kept;
  perform access.forget_devices(subject);
end $$;

-- The rules for a new password: the settings whose name begins with `password_`.
create function access.policy_of(t freehold.tenant) returns jsonb
language sql stable
return (select jsonb_object_agg(e.key, e.value) from jsonb_each(to_jsonb(t)) e where e.key like 'password\_%');

-- The words about a user that their password must not contain.
create function access.personal_details(u freehold.users) returns jsonb
language sql stable
return jsonb_build_object(
  'username', u.username,
  'email', u.email,
  'given_name', u.given_name,
  'family_name', u.family_name
);

-- The hash parameters of the password history, with which the Worker hashes a new password to compare it. Not those of
-- another system, which cost seconds, outside of any attempt.
create function access.history_parameters(subject uuid, t freehold.tenant) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(distinct regexp_replace(p.password_hash, '[$][^$]*$', '')), '[]')
  from access.password_history(subject, t) p
  where not access.is_foreign(p.password_hash)
$$;

-- Whether a new password, given by its digests under those hash parameters, is in the history.
create function access.was_used(subject uuid, t freehold.tenant, digests jsonb) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from access.password_history(subject, t) p
    join jsonb_each_text(digests) d on p.password_hash = access.stored_hash(d.key, d.value)
  )
$$;

-- The password history: as many of a user's passwords as the tenant's settings say, the current one first.
create function access.password_history(subject uuid, t freehold.tenant) returns setof freehold.passwords
language sql stable set search_path = pg_catalog, pg_temp as $$
  select p.*
  from freehold.passwords p
  where p.user_id = subject
  order by p.replaced_at desc nulls first
  limit t.password_history
$$;

-- The stored hash of a user's current password, or null.
create function access.current_password(subject uuid) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select p.password_hash from freehold.passwords p where p.user_id = subject and p.replaced_at is null
$$;

-- The stored form of a digest: its hash_parameters and a hash of it, so that a copy of the table is not enough to log
-- in.
create function access.stored_hash(hash_parameters text, digest text) returns text
language sql immutable
return hash_parameters || '$' || rtrim(encode(sha256(decode(digest || '=', 'base64')), 'base64'), '=');

-- Whether a user may do nothing but change their password: somebody else set it, or it has expired.
create function access.must_change(u freehold.users, t freehold.tenant) returns boolean
language sql stable
return u.must_change_password
  or (
    t.password_days > 0
    and u.password_changed_at <= now() - make_interval(days => t.password_days)
    -- Who only logs in otherwise has none that could expire.
    and exists (select from freehold.passwords p where p.user_id = u.id and p.replaced_at is null)
  );

-- When the first password of a user stops working; null: they have chosen one of their own.
create function access.first_password_expiry(subject uuid, t freehold.tenant) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select p.created_at + make_interval(hours => t.first_password_hours)
  from freehold.passwords p
  where p.user_id = subject and p.replaced_at is null and p.is_first
$$;

-- When a user's password expires; null: never. A first password stops working then, any other must be changed.
create function access.password_expiry(u freehold.users, t freehold.tenant) returns timestamptz
language sql stable
return least(
  case
    when t.password_days > 0 and exists (
      select from freehold.passwords p where p.user_id = u.id and p.replaced_at is null)
      then u.password_changed_at + make_interval(days => t.password_days)
  end,
  case when u.must_change_password then access.first_password_expiry(u.id, t) end);

call access.audited('freehold.passwords', 'password', '{password_hash}');

grant execute on function
  access.begin_password_change(uuid, text),
  access.finish_password_change(uuid, text, uuid, text, text, jsonb, boolean),
  access.policy()
to freehold_app;
