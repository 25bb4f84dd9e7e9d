-- Remembered devices: whoever proved the second factor there is asked for the password alone, for some days.
--   access.is_remembered         whether a login from a device needs no second factor
--   access.remember_device       remembers one, after both factors were proven there
--   access.forget_devices        forgets all of a user
--   access.remembered_sessions   which sessions of a user are of a remembered device
-- The device is the one that its token proves (src/auth/devices.sql): signed for this user, under their current password.
--
-- Threat: whoever knows the password says that they are a device of its owner; a device that was stolen or lent goes on
-- being trusted after its session was ended, or the second factor or password was changed. So only a proven token names a
-- device; it is forgotten with whatever its owner, or an administrator, ends because of it; and it makes no session
-- stronger: that is of one factor, and what asks for two asks for the second. Lock order: the user, sessions, devices.

create function access.is_remembered(t freehold.tenant, subject uuid, device uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from freehold.remembered_devices r
    where r.user_id = subject
      and r.device = is_remembered.device
      and r.expires_at > now()
      -- The setting may have been lowered since.
      and r.created_at > now() - make_interval(days => t.mfa_remember_days))
$$;

-- Remembers a device of a user whose row is locked, for as long as the settings say; not at all where that is 0.
create function access.remember_device(t freehold.tenant, subject uuid, this_device uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  until timestamptz := now() + make_interval(days => t.mfa_remember_days);
begin
  if t.mfa_remember_days = 0 then
    return;
  end if;
  insert into freehold.remembered_devices as r (user_id, device, expires_at)
  values (subject, this_device, until)
  on conflict (user_id, device) do update set created_at = now(), expires_at = excluded.expires_at;
  perform access.record(
    'DEVICE_REMEMBERED', 'create', 'user', subject::text, null, jsonb_build_object('device', this_device, 'until', until)
  );
end $$;

-- Forgets all devices of a user, or one of them.
create function access.forget_devices(subject uuid, device uuid default null) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from freehold.remembered_devices r
  where r.user_id = subject and (forget_devices.device is null or r.device = forget_devices.device);
  if found then
    perform access.record(
      'DEVICE_FORGOTTEN', 'delete', 'user', subject::text, jsonb_strip_nulls(jsonb_build_object('device', device)), null
    );
  end if;
end $$;

-- A session that is ended because nobody should be on that device any more takes the memory of the device with it; one
-- that its user logs out of, or that makes room for another, does not. Which of the two a statement means when users end
-- their current session, it says in the setting 'access.forget': `device`, or `all` of the user. Whoever sets it forgets
-- too much.
create function access.after_session_end() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  said text := current_setting('access.forget', true);
begin
  if said = 'all' then
    perform access.forget_devices(new.user_id);
  elsif new.device_id is not null
    and new.ended_because not in ('replaced', 'limit')
    and (new.ended_because <> 'logout' or new.id is distinct from access.session() or said = 'device')
  then
    perform access.forget_devices(new.user_id, new.device_id);
  end if;
  return null;
end $$;

create trigger after_session_end after update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null and new.impersonator_id is null)
  execute function access.after_session_end();

-- Of oneself, or with a permission for sessions of a user within reach.
create function access.remembered_sessions(subject uuid) returns uuid[]
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(s.id), '{}')
  from freehold.tenant t
    join freehold.remembered_devices r on r.user_id = subject
    join freehold.sessions s on s.user_id = r.user_id and s.device_id = r.device
  where s.ended_at is null
    and access.is_remembered(t, r.user_id, r.device)
    and (subject = access.principal() or (access.permission() like 'session:%' and access.can_access_user(subject)))
$$;

grant execute on function access.remembered_sessions(uuid) to freehold_app;
