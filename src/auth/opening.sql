-- Opens the session of a login that was right. Called by access.finish_login.
--
-- Threat: a login ends the session of somebody else, whose refresh token its cookie holds; or many logins at once are
-- more sessions than the user may have. So what ends is the user's own, and the user's row is locked meanwhile. The limit
-- of the whole tenant comes last, because whoever takes a place there waits for nothing any more.

-- The session, with its first refresh token. `former` and `client` are as for access.finish_login. Raises FH409 limit_reached.
create function access.open_session(
  u freehold.users,
  t freehold.tenant,
  refresh_hash bytea,
  request jsonb,
  former jsonb,
  client text
) returns freehold.sessions
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
  surplus uuid[];
begin
  if former ? u.id::text then
    update freehold.sessions x set ended_at = now(), ended_because = 'replaced'
    where x.user_id = u.id
      and x.ended_at is null
      and x.id = (select l.session_id from freehold.refresh_tokens l where l.token_hash = (former ->> u.id::text)::bytea);
  end if;
  insert into freehold.sessions (id, user_id, device, address, city, country, client_id, expires_at)
  values (
    gen_random_uuid(),
    u.id,
    left(request ->> 'agent', 255),
    left(request ->> 'address', 64),
    left(request ->> 'city', 120),
    left(request ->> 'country', 2),
    left(client, 255),
    now() + make_interval(days => t.session_days)
  )
  returning * into s;
  -- The user's row has been locked since the comparison, so that of many logins at once each sees the sessions of
  -- those before it.
  surplus := array(
    select y.id
    from freehold.sessions y
    where y.user_id = u.id
      and y.id <> s.id
      and y.ended_at is null
      and y.expires_at > now()
      and y.last_active_at > now() - access.idle_limit(t)
    order by y.created_at desc, y.id
    offset coalesce(u.max_sessions, t.max_sessions) - 1
  );
  if surplus <> '{}' then
    update freehold.sessions x set ended_at = now(), ended_because = 'limit' where x.id = any (surplus);
  end if;
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
  values (refresh_hash, s.id, s.device, s.expires_at);
  perform access.take_session_place(s, t);
  return s;
end $$;
