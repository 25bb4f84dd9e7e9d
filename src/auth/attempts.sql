-- Attempts at a password, as logins and changes of a password or an address make them. An attempt begins, the Worker
-- hashes, and the attempt finishes with the comparison.
--
-- Threat: a hundred guesses at once are a hundred guesses. So an attempt is counted before its password is compared,
-- attempts under way count as failures would, and those of one lockout are decided one after another. An unknown
-- identifier has a row of lockouts and hash parameters as a known one does. Nobody but definer functions calls these.

-- The hash parameters and salt of a user's password. An unknown identifier, or a user without a password, gets
-- parameters that look like the others', of the given cost; their salt is derived from the identifier, because a salt
-- that changes would give that away.
create function access.hash_parameters_of(subject uuid, identifier text, cost text default 'r=6,i=100000') returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    regexp_replace(access.current_password(subject), '[$][^$]*$', ''),
    '$pbkdf2-sha256-chain$' || cost || '$'
      || rtrim(encode(substr(access.mac('salt:' || identifier), 1, 16), 'base64'), '=')
  )
$$;

-- Begins an attempt: {state: pending, attempt, hash_parameters}, also during a lockout, when it can only fail; or
-- {state: busy} when as many attempts are under way as may fail. Locks the lockout's row, so that the
-- attempts of one identifier are decided one after another. An attempt that is not finished within 30 s has failed.
create function access.begin_attempt(
  t freehold.tenant,
  guard text,
  subject uuid,
  identifier text,
  hash_parameters text
) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
  lost integer;
  pending integer;
  attempt uuid := gen_random_uuid();
  state text := 'pending';
begin
  insert into freehold.lockouts as x (key) values (guard)
  on conflict (key) do update set key = x.key
  returning x.* into g;
  with given_up as (
    update freehold.login_attempts a set state = 'failed'
    where a.key = guard and a.state = 'pending' and a.created_at <= now() - interval '30 seconds'
    returning 1
  )
  select count(*) into lost from given_up;
  if lost > 0 then
    g := access.count_failures(t, guard, lost);
  end if;
  -- Rows more than a day old are of no more use; later attempts delete them, a few at a time.
  delete from freehold.login_attempts a where a.key = guard and a.created_at < now() - interval '1 day';
  delete from freehold.lockouts x
  where x.key in (
    select y.key
    from freehold.lockouts y
    where y.key like 'unknown:%' and y.failed_at < now() - interval '1 day'
    limit 5
    for update skip locked
  );
  if g.locked_until > now() then
    state := 'refused';
  else
    if g.locked_until is not null or g.failed_at <= now() - make_interval(mins => t.lock_minutes) then
      update freehold.lockouts x set failures = 0, failed_at = null, locked_until = null
      where x.key = guard
      returning x.* into g;
    end if;
    select count(*) into pending from freehold.login_attempts a where a.key = guard and a.state = 'pending';
    if g.failures + pending >= t.max_failures then
      return jsonb_build_object('state', 'busy');
    end if;
  end if;
  insert into freehold.login_attempts (id, key, user_id, identifier, hash_parameters, state)
  values (attempt, guard, subject, left(identifier, 255), hash_parameters, state);
  return jsonb_build_object('state', 'pending', 'attempt', attempt, 'hash_parameters', hash_parameters);
end $$;

-- Finishes an attempt, once: compares the digest (32 bytes, base64 without padding) with the user's hash, counts a
-- failure or clears the lockout. Returns the user when the password was right, and leaves their row locked.
create function access.finish_attempt(t freehold.tenant, attempt uuid, digest text) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  u freehold.users;
begin
  select * into a from freehold.login_attempts x where x.id = attempt;
  perform from freehold.lockouts g where g.key = a.key for update;
  update freehold.login_attempts x set state = 'failed'
  where x.id = attempt and x.state = 'pending'
  returning x.* into a;
  if a.id is null then
    return null;
  end if;
  -- A concurrent change of this user's password goes first or waits: the comparison below sees the hash that it left.
  perform from freehold.users x where x.id = a.user_id for no key update;
  select * into u
  from freehold.users x
  where x.id = a.user_id and x.is_active and access.current_password(x.id) = access.stored_hash(a.hash_parameters, digest);
  if u.id is null then
    perform access.count_failures(t, a.key, 1);
    return null;
  end if;
  update freehold.login_attempts x set state = 'succeeded' where x.id = attempt;
  update freehold.lockouts x set failures = 0, failed_at = null, locked_until = null where x.key = a.key;
  return u;
end $$;

-- Counts failures on a lockout whose row is locked. Too many of them lock it, and a mail tells the user.
create function access.count_failures(t freehold.tenant, guard text, times integer) returns freehold.lockouts
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
begin
  update freehold.lockouts x
  set failures = x.failures + times,
    failed_at = now(),
    locked_until = case
      when x.failures + times >= t.max_failures then now() + make_interval(mins => t.lock_minutes)
      else x.locked_until
    end
  where x.key = guard
  returning x.* into g;
  if guard like 'login:%' and g.failures >= t.max_failures and g.failures - times < t.max_failures then
    perform access.enqueue_mail('account_locked', u.id, u.email, jsonb_build_object('until', g.locked_until))
    from freehold.users u
    where u.id = substr(guard, 7)::uuid and u.is_active;
  end if;
  return g;
end $$;
