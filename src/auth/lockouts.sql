-- Lockouts: whose failures are counted together, and how many are too many.
--   `device:{user}:{device}`   a device that logged in before (devices.sql): max_failures, then lock_minutes
--   `{person}:{network}`       everybody else in one network, at one person: the same
--   `{person}`                 everybody else, at one person: ten times max_failures within lock_minutes
--   `change:{user}`            changes of a password or an address, within a session
--   `factor:{user}`            changes of a second factor, within a session: wrong passwords and wrong codes
-- A wrong second factor of a login counts as a wrong password does, for the device or network of that login.
-- `{person}` is `login:{user}`, or `unknown:{keyed hash}` for an identifier that nobody has, which is counted alike.
--
-- Threat: a stranger keeps somebody out for good, with a few wrong passwords each half hour; or guesses for ever, from
-- ever new networks. So the failures of strangers never count against a known device, and count twice: for their
-- network, and, more of them, for all strangers. An attempt locks the row of its person, or of its change, before
-- anything else; the rows of devices and networks (`parent` names that row) are read and written under this one lock,
-- so that those of one person are decided one after another and nobody waits in a circle.

-- The network of a stranger: an IPv4 address or the /64 of an IPv6 address, as in src/http/rate-limit.ts. Requests
-- without an address are one network.
create function access.login_network(address text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  a inet := access.network_of(address);
begin
  return coalesce(case family(a) when 4 then host(a) else host(network(set_masklen(a, 64))) end, 'unknown');
end $$;

-- A lockout as it stands now; what has run out is cleared.
create function access.lockout_now(t freehold.tenant, guard text) returns freehold.lockouts
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
begin
  select * into g from freehold.lockouts x where x.key = guard;
  if g.locked_until <= now()
    or (g.locked_until is null and g.failed_at <= now() - make_interval(mins => t.lock_minutes))
  then
    return access.clear_lockout(g);
  end if;
  return g;
end $$;

-- Clears a lockout. Most have nothing to clear. The row that is locked for others stays.
create function access.clear_lockout(g freehold.lockouts) returns freehold.lockouts
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if g.parent is not null then
    delete from freehold.lockouts x where x.key = g.key;
    return null;
  elsif g.failures > 0 or g.failed_at is not null or g.locked_until is not null then
    update freehold.lockouts x set failures = 0, failed_at = null, locked_until = null
    where x.key = g.key
    returning x.* into g;
  end if;
  return g;
end $$;

-- How many failures of all strangers at one person are too many. It takes ten networks to get there.
create function access.most_of_strangers(t freehold.tenant) returns integer
language sql immutable
return 10 * t.max_failures;

-- Counts failures on a guard (null: on the person's row itself), and those of a stranger on the person's row, too. Too
-- many of them lock it, and a mail tells the user. The person's row is locked.
create function access.count_failures(t freehold.tenant, person text, guard text, times integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  lock_end timestamptz := now() + make_interval(mins => t.lock_minutes);
  is_stranger boolean := coalesce(starts_with(guard, person || ':'), false);
  g freehold.lockouts;
  w freehold.lockouts;
begin
  insert into freehold.lockouts as x (key, parent, failures, failed_at, locked_until)
  values (
    coalesce(guard, person),
    case when guard is not null then person end,
    times,
    now(),
    case when times >= t.max_failures then lock_end end
  )
  on conflict (key) do update
  set failures = x.failures + times,
    failed_at = now(),
    locked_until = case when x.failures + times >= t.max_failures then lock_end else x.locked_until end
  returning x.* into g;
  if is_stranger then
    -- Of all strangers, the failures since the first one within lock_minutes, so that a few now and then add up to
    -- nothing.
    update freehold.lockouts x
    set failures = x.failures + times,
      failed_at = coalesce(x.failed_at, now()),
      locked_until = case
        when x.failures + times >= access.most_of_strangers(t) then lock_end
        else x.locked_until
      end
    where x.key = person
    returning x.* into w;
  end if;
  if person like 'login:%' then
    perform access.tell_locked(
      person,
      g,
      g.failures >= t.max_failures and g.failures - times < t.max_failures,
      w.failures >= access.most_of_strangers(t) and w.failures - times < access.most_of_strangers(t),
      lock_end
    );
  end if;
end $$;

-- Mails a user that a guard of theirs, or all strangers, were just locked: once while strangers are locked in several
-- networks, and once more when all are; for a device of theirs always.
create function access.tell_locked(
  person text,
  g freehold.lockouts,
  is_locked boolean,
  is_locked_widely boolean,
  until timestamptz
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  is_device boolean := g.key like 'device:%';
begin
  if is_locked_widely
    or (
      is_locked
      and (
        is_device
        or not exists (
          select
          from freehold.lockouts x
          where x.parent = person and x.key <> g.key and x.locked_until > now() and starts_with(x.key, person || ':')
        )
      )
    )
  then
    perform access.enqueue_mail(
      case when is_device then 'device_locked' else 'account_locked' end,
      u.id,
      u.email,
      jsonb_strip_nulls(jsonb_build_object(
        'until', until,
        'network', case when not is_device then substr(g.key, length(person) + 2) end
      ))
    )
    from freehold.users u
    where u.id = substr(person, 7)::uuid and access.is_present(u);
  end if;
end $$;

-- Locks a person before what they prove is compared, in the order of a login: their lockout, which stands for those of
-- their devices and networks, and then their row, which it returns.
create function access.lock_person(subject uuid) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  person text := 'login:' || subject;
  u freehold.users;
begin
  perform from freehold.lockouts x where x.key = person for update;
  if not found then
    insert into freehold.lockouts as x (key) values (person)
    on conflict (key) do update set key = x.key;
  end if;
  select * into u from freehold.users x where x.id = subject for no key update;
  return u;
end $$;

-- Whether a guard of a person, who is locked, is locked out: its own failures are too many, or those of all strangers.
create function access.is_locked_out(t freehold.tenant, subject uuid, guard text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  person text := 'login:' || subject;
  g freehold.lockouts := access.lockout_now(t, guard);
  w freehold.lockouts;
begin
  if starts_with(guard, person || ':') then
    w := access.lockout_now(t, person);
  end if;
  return coalesce(
    g.locked_until > now()
      or g.failures >= t.max_failures
      or w.locked_until > now()
      or w.failures >= access.most_of_strangers(t),
    false);
end $$;
