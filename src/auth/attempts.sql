-- Attempts at a password, as logins and changes of a password or an address make them. An attempt begins, the Worker
-- hashes, and the attempt finishes with the comparison.
--
-- Threat: a hundred guesses at once are a hundred guesses. So an attempt is counted before its password is compared,
-- attempts under way count as failures would, and those at one person are decided one after another. An unknown
-- identifier has rows of lockouts and hash parameters as a known one does, and is kept as a keyed hash, because people
-- type their password where the identifier goes. And a hash of another system costs seconds: so it is computed only for
-- an attempt that can succeed, and for few of them. lockouts.sql says whose failures are counted together. Nobody but
-- definer functions calls these.

-- The hash parameters and salt of a user's password. An unknown identifier, or a user without a password, gets
-- parameters that look like the others'; their salt is derived from the identifier, because a salt that changes
-- would give that away. Where new hashes cost more, the Worker extends both (src/passwords/hash.ts).
create function access.hash_parameters_of(subject uuid, identifier text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    regexp_replace(access.current_password(subject), '[$][^$]*$', ''),
    '$pbkdf2-sha256-chain$r=6,i=100000$'
      || rtrim(encode(substr(access.mac('salt:' || identifier), 1, 16), 'base64'), '=')
  )
$$;

-- Whether these are hash parameters, or a hash, of another system: they hold the salt of the hash that replaces it.
create function access.is_foreign(hash_parameters text) returns boolean
language sql immutable
return strpos(hash_parameters, ',next=') > 0;

-- How many seconds from now another foreign hash may be computed for this tenant, of which there are ten in any minute;
-- null: now. Deferred attempts computed none.
create function access.foreign_wait() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select ceil(extract(epoch from a.created_at + interval '1 minute' - now()))::integer
  from freehold.login_attempts a
  where access.is_foreign(a.hash_parameters)
    and a.state <> 'deferred'
    and a.created_at > now() - interval '1 minute'
  order by a.created_at desc
  offset 9
  limit 1
$$;

-- Begins an attempt: {state: pending, attempt, hash_parameters, retry_after}, also during a lockout and where too many
-- foreign hashes were computed, when it can only fail and costs what that of an unknown identifier costs; or {state:
-- busy} when as many attempts are under way as may fail. `retry_after` is access.foreign_wait() for everybody, so that a
-- failure in such a minute is answered alike whoever is meant. Locks the lockout of the person, or of the change, so
-- that the attempts at one are decided one after another; `guard` is the one that counts, null: the same. `named` is
-- what is kept of the identifier. An attempt that is not finished within 30 s has failed.
create function access.begin_attempt(
  t freehold.tenant,
  person text,
  guard text,
  subject uuid,
  identifier text,
  named text,
  hash_parameters text
) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  is_stranger boolean := coalesce(starts_with(guard, person || ':'), false);
  w freehold.lockouts;
  g freehold.lockouts;
  open record;
  attempt uuid := gen_random_uuid();
  state text := 'pending';
  retry_after integer;
begin
  -- Whoever logged in before has a row: locking it leaves no dead one behind, as an upsert would for each login.
  perform from freehold.lockouts x where x.key = person for update;
  if not found then
    insert into freehold.lockouts as x (key) values (person)
    on conflict (key) do update set key = x.key;
  end if;
  select
    count(*) filter (where a.created_at <= now() - interval '30 seconds') as lost,
    count(*) filter (where a.guard is not distinct from begin_attempt.guard) as alike,
    count(*) filter (where starts_with(a.guard, person || ':')) as strangers
  into open
  from freehold.login_attempts a
  where a.key = person and a.state = 'pending';
  if open.lost > 0 then
    perform access.fail_lost(t, person);
    return access.begin_attempt(t, person, guard, subject, identifier, named, hash_parameters);
  end if;
  g := access.lockout_now(t, coalesce(guard, person));
  if is_stranger then
    w := access.lockout_now(t, person);
  end if;
  if g.locked_until > now()
    or w.locked_until > now()
    -- As many were allowed when they failed: the setting has been lowered since.
    or g.failures >= t.max_failures
    or (is_stranger and w.failures >= access.most_of_strangers(t))
  then
    state := 'refused';
  elsif coalesce(g.failures, 0) + open.alike >= t.max_failures
    or (is_stranger and w.failures + open.strangers >= access.most_of_strangers(t))
  then
    return jsonb_build_object('state', 'busy');
  elsif access.is_foreign(hash_parameters) then
    -- One after another, so that of many at once each sees those before it.
    perform pg_advisory_xact_lock(hashtext('access.foreign_wait'));
  end if;
  retry_after := access.foreign_wait();
  if state = 'pending' and retry_after is not null and access.is_foreign(hash_parameters) then
    state := 'deferred';
  end if;
  if state <> 'pending' then
    hash_parameters := access.hash_parameters_of(null, identifier);
  end if;
  insert into freehold.login_attempts (id, key, guard, network, user_id, identifier, hash_parameters, state)
  values (
    attempt, person, guard, case when is_stranger then substr(guard, length(person) + 2) end, subject, named,
    hash_parameters, state
  );
  return jsonb_build_object(
    'state', 'pending',
    'attempt', attempt,
    'hash_parameters', hash_parameters,
    'retry_after', retry_after
  );
end $$;

-- Counts the attempts at a person that were not finished in time as failures. The person's lockout is locked.
create function access.fail_lost(t freehold.tenant, person text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  lost record;
begin
  for lost in
    with failed as (
      update freehold.login_attempts a set state = 'failed'
      where a.key = person and a.state = 'pending' and a.created_at <= now() - interval '30 seconds'
      returning a.guard
    )
    select f.guard, count(*)::integer as times from failed f group by f.guard
  loop
    perform access.count_failures(t, person, lost.guard, lost.times);
  end loop;
end $$;

-- Finishes an attempt, once: compares the digest (32 bytes, base64 without padding) with the user's hash, counts a
-- failure or clears the lockout of its guard. Returns the user when the password was right, and leaves their row locked.
-- Of a login, and where a second factor is compared with it, the password alone clears nothing: what follows does.
-- Without a digest nothing is compared, and so nothing counted: the Worker was busy with other foreign hashes.
create function access.finish_attempt(t freehold.tenant, attempt uuid, digest text) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  u freehold.users;
  is_right boolean;
begin
  select * into a from freehold.login_attempts x where x.id = attempt;
  -- Of two that finish this attempt, the second waits here.
  perform from freehold.lockouts x where x.key = a.key for update;
  -- A concurrent change of this user's password goes first or waits: the comparison below sees the hash that it left.
  select * into u from freehold.users x where x.id = a.user_id for no key update;
  is_right := coalesce(
    case when access.is_present(u) then access.current_password(u.id) = access.stored_hash(a.hash_parameters, digest) end,
    false);
  update freehold.login_attempts x
  set state = case when digest is null then 'deferred' when is_right then 'succeeded' else 'failed' end
  where x.id = attempt and x.state = 'pending'
  returning x.* into a;
  if a.id is null or a.state = 'deferred' then
    return null;
  elsif not is_right then
    perform access.count_failures(t, a.key, a.guard, 1);
    return null;
  end if;
  if a.key not like 'factor:%' and a.key not like 'login:%' then
    perform access.clear_lockout(x) from freehold.lockouts x where x.key = coalesce(a.guard, a.key);
  end if;
  return u;
end $$;
