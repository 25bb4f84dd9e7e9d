-- Limits that the platform sets: how many active users, API keys and documents this tenant may have.
--   access.lock_limit         locks a counter; called first by whoever is about to add to it
--   access.count_documents    called from outside, with usage:create
-- changing.sql sets limits, and counts; session-places.sql limits sessions.
--
-- Threat: of fifty requests for the last three places more than three get one; or a count of all rows for each of them
-- takes the tenant's compute. So each limit has a counter, in a row that the creating transaction changes and keeps
-- locked until it ends. Where there is no limit there is no row, and nobody waits for anybody.
--
-- Two that create would wait for each other where one holds a username, or a role, and the other the counter. So the
-- counter comes first: before the username is chosen (access.free_username), and before the roles. A transaction locks
-- one counter, and what limits mail (src/mail/limits.sql) after it. All of them share one lock with each other, which
-- access.set_limits takes for itself where something is to be counted for the first time.

-- Locks the counter of a limit, and returns it; null where there is no limit.
create function access.lock_limit(counted text) returns access.limits
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  l access.limits;
begin
  perform pg_advisory_xact_lock_shared(hashtext('access.limits'));
  select * into l from access.limits x where x.name = counted for no key update;
  return l;
end $$;

-- Before a user is inserted, whatever is locked for that.
create function access.before_arriving() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.must_be_licensed(), access.lock_limit('users');
  return new;
end $$;

-- Counts a user who becomes active, or no longer is.
create function access.count_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  change integer := new.is_active::integer - case when tg_op = 'UPDATE' then old.is_active::integer else 0 end;
  l access.limits;
begin
  if change = 0 then
    return null;
  end if;
  l := access.lock_limit('users');
  if l.name is null then
    return null;
  end if;
  update access.limits x set used = x.used + change where x.name = l.name;
  if change > 0 and l.used + change + access.earlier_users() > l.most then
    perform access.refuse('limit_reached', format(
      'The limit max_users is reached: this tenant can have at most %s active users.', l.most));
  end if;
  return null;
end $$;

-- How many users earlier parts of a dry run would have created (src/users/import.sql). Whoever sets that themselves has
-- less room.
create function access.earlier_users() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(coalesce(nullif(current_setting('access.earlier_users', true), '')::integer, 0), 0)
$$;

-- Whether a key is in the counter: not revoked, and not ended by the time up to which ends were taken off.
create function access.is_counted_key(k freehold.api_keys, counted_to timestamptz) returns boolean
language sql immutable
return k.revoked_at is null and coalesce(k.expires_at > counted_to, true);

-- Counts a key that is made, revoked, or given another end. One that ends by itself is taken off when there would be no
-- room otherwise. The successor of a key is counted, and never refused: the key that it replaces is about to end.
create function access.count_api_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  l access.limits;
  change integer;
  ended integer;
begin
  if tg_op = 'INSERT' then
    perform access.must_be_licensed();
  end if;
  l := access.lock_limit('api_keys');
  if l.name is null then
    return null;
  end if;
  change := access.is_counted_key(new, l.counted_to)::integer
    - case when tg_op = 'UPDATE' then access.is_counted_key(old, l.counted_to)::integer else 0 end;
  if tg_op = 'INSERT' and l.used + change > l.most then
    select count(*) into ended
    from freehold.api_keys k
    where k.revoked_at is null
      and k.expires_at > l.counted_to
      and k.expires_at <= now();
    change := change - ended;
    l.counted_to := greatest(l.counted_to, now());
  end if;
  update access.limits x set used = x.used + change, counted_to = l.counted_to where x.name = l.name;
  -- A successor is beyond the limit for as long as its predecessor lives; its own successor is not.
  if tg_op = 'INSERT'
    and l.used + change > l.most
    and (new.rotated_from is null
      or exists (
        select
        from freehold.api_keys k
          join freehold.api_keys p on p.id = k.rotated_from
        where k.id = new.rotated_from
          and p.revoked_at is null
          and p.expires_at > now()))
  then
    perform access.refuse('limit_reached', format(
      'The limit max_api_keys is reached: this tenant can have at most %s API keys.', l.most));
  end if;
  return null;
end $$;

-- Counts documents that somebody else's program has made, and returns {id, documents, max_documents}: of this
-- count, all that were ever counted, and the limit, if they are limited.
create function access.count_documents(made integer) returns table (id uuid, documents bigint, max_documents integer)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  counted uuid := gen_random_uuid();
  l access.limits;
begin
  if access.permission() is distinct from 'usage:create' then
    perform access.refuse('forbidden', 'Counting documents needs usage:create.');
  elsif access.scope() <> 'all' then
    perform access.refuse('forbidden', 'This needs access to the whole tenant.');
  elsif made is null or made < 1 then
    perform access.refuse('invalid_request', 'must be at least 1', 'count');
  end if;
  perform pg_advisory_xact_lock_shared(hashtext('access.limits'));
  insert into access.limits as x (name, used)
  values ('documents', made)
  on conflict on constraint limits_pkey do update
  set used = x.used + made
  returning * into l;
  if l.used > l.most then
    perform access.refuse('limit_reached', format(
      'The limit max_documents is reached: of at most %s documents %s are counted.', l.most, l.used - made));
  end if;
  perform access.record('DOCUMENTS_COUNTED', 'create', 'usage', counted::text, null, jsonb_build_object('count', made));
  return query select counted, l.used, l.most;
end $$;

create trigger before_arriving before insert on freehold.users
  for each row execute function access.before_arriving();

create trigger after_arriving after insert or update of is_active, joined_at, terminated_at on freehold.users
  for each row execute function access.count_user();

create trigger after_api_key_counted after insert or update of revoked_at, expires_at on freehold.api_keys
  for each row execute function access.count_api_key();

grant execute on function access.count_documents(integer) to freehold_app;
