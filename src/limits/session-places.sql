-- The limit of a tenant's sessions. Called by access.finish_login: access.take_session_place.
--
-- Threat: logins wait for each other at a counter, and all of a tenant's people are one queue every morning; or sessions
-- that ended by themselves, which no statement notes, use the limit up. So there are as many places as there may be
-- sessions, and a login takes one that is free and that nobody else is taking: it waits for no other login. A place is
-- free from the moment on at which its session would end by itself; whoever takes it looks whether that session was
-- active since. A session that ended by itself and left its place does not live again when sessions may be idle longer.
--
-- A login takes its place last, and passes over what is locked, so that it waits for nothing while it holds one. A
-- login that finds all free places being taken is refused, also where one of those that take them fails.

-- When a session ends by itself.
create function access.session_ends(s freehold.sessions, t freehold.tenant) returns timestamptz
language sql immutable
return least(s.expires_at, s.last_active_at + access.idle_limit(t));

-- Takes a place for a new session, where sessions are limited. Refuses it when there is none.
create function access.take_session_place(s freehold.sessions, t freehold.tenant) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most integer;
  p record;
  -- A session beyond the limit, which was set when there were more.
  beyond record;
  until timestamptz;
begin
  perform pg_advisory_xact_lock_shared(hashtext('access.limits'));
  select l.most into most from access.limits l where l.name = 'sessions';
  if most is null then
    return;
  end if;
  -- How long sessions may be idle may have changed before this lock was had.
  select * into t from freehold.tenant;
  loop
    select x.place, x.session_id
    into p
    from access.session_places x
    where x.free_from <= now()
      and x.place <= most
    order by x.free_from
    limit 1
    for update skip locked;
    if not found then
      perform access.refuse_session(most);
    end if;
    until := null;
    select access.session_ends(h, t)
    into until
    from freehold.sessions h
    where h.id = p.session_id
      and h.ended_at is null;
    if until > now() then
      update access.session_places x set free_from = until where x.place = p.place;
      -- Others are likely to live, too: one login does not look at them one by one.
      perform access.note_active_places(t);
    elsif exists (select from access.session_places x where x.place > most) then
      -- It moves in, if it still lives, and leaves no place.
      delete from access.session_places x
      where x.place = (select y.place from access.session_places y where y.place > most limit 1 for update skip locked)
      returning x.session_id, x.free_from into beyond;
      if beyond is null then
        perform access.refuse_session(most);
      end if;
      update access.session_places x
      set session_id = beyond.session_id, free_from = beyond.free_from
      where x.place = p.place;
    else
      update access.session_places x
      set session_id = s.id, free_from = access.session_ends(s, t)
      where x.place = p.place;
      return;
    end if;
  end loop;
end $$;

-- After a login that was refused, and of which nothing is left: notes of places whose sessions were active since, so that
-- the next one need not look at them again.
create function access.note_active_places(t freehold.tenant) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update access.session_places p
  set free_from = access.session_ends(s, t)
  from freehold.sessions s
  where s.id = p.session_id
    and s.ended_at is null
    and access.session_ends(s, t) > now()
    and p.place in (
      select x.place
      from access.session_places x
        join freehold.sessions h on h.id = x.session_id
      where x.free_from <= now()
        and h.ended_at is null
        and access.session_ends(h, t) > now()
      order by x.free_from
      limit 1000
      for update of x skip locked);
end $$;

create function access.refuse_session(most integer) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  perform access.refuse('limit_reached', format(
    'The limit max_sessions is reached: this tenant can have at most %s sessions at once.', most));
end $$;

-- Makes as many places as there may be sessions, and gives the first to those that there are, also where these are more:
-- then theirs are beyond the limit, and a place that becomes free is for one of them first. null: sessions are not
-- limited any more. Nobody takes or leaves a place meanwhile (access.set_limits).
create function access.make_session_places(most integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from access.session_places;
  if most is null then
    return;
  end if;
  insert into access.session_places (place, session_id, free_from)
  select row_number() over (), s.id, access.session_ends(s, t)
  from freehold.sessions s
    cross join freehold.tenant t
  where s.ended_at is null
    and s.impersonator_id is null
    and access.session_ends(s, t) > now();
  insert into access.session_places (place)
  select n from generate_series(1, most) n (n)
  on conflict do nothing;
end $$;

-- Whoever ends a session leaves its place.
create function access.leave_session_place() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(hashtext('access.limits'));
  update access.session_places p
  set session_id = null, free_from = '-infinity'
  where p.session_id = new.id;
  return null;
end $$;

-- Sessions that end earlier than it was noted: their places are looked at when one is wanted.
create function access.look_at_session_places() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock_shared(hashtext('access.limits'));
  update access.session_places p
  set free_from = now()
  where p.place in (select x.place from access.session_places x where x.free_from > now() for update skip locked);
  return null;
end $$;

-- Sessions may be idle longer from now on: those that were idle too long until now, and whose place somebody else has, end
-- for good. Nobody takes a place meanwhile.
create function access.end_idle_sessions() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext('access.limits'));
  if exists (select from access.limits l where l.name = 'sessions' and l.most is not null) then
    update freehold.sessions s
    set expires_at = s.last_active_at + access.idle_limit(old)
    where s.id in (
      select x.id
      from freehold.sessions x
      where x.ended_at is null
        and x.expires_at > now()
        and x.last_active_at <= now() - access.idle_limit(old)
        and not exists (select from access.session_places p where p.session_id = x.id)
      -- Whoever ends a session has it locked, and waits here for its place.
      for no key update skip locked);
  end if;
  return null;
end $$;

create trigger leave_session_place after update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null) execute function access.leave_session_place();

create trigger look_at_session_places after update of idle_days, idle_minutes on freehold.tenant
  for each row when (access.idle_limit(new) < access.idle_limit(old)) execute function access.look_at_session_places();

create trigger end_idle_sessions after update of idle_days, idle_minutes on freehold.tenant
  for each row when (access.idle_limit(new) > access.idle_limit(old)) execute function access.end_idle_sessions();
