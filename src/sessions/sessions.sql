-- Sessions: who sees and ends them, and the history of logins (access.login_history). A login makes them
-- (src/auth/login.sql), and they are ended, never deleted.
--
-- Threat: a user sees or ends the sessions of somebody out of their reach, or ends those of somebody who holds more.
-- Policies decide the first for the Worker's own statements; access.login_history, which reads the audit past its
-- policies, asks the same itself. Somebody who runs SQL as the app login opens an ended session again: so what has
-- ended stays as it ended.

-- The logins of one user, also those that failed, newest first: of oneself, or with session:read of a user within
-- reach.
create function access.login_history(
  subject uuid,
  at_most integer,
  before_at timestamptz default null,
  before_id uuid default null
) returns table (id uuid, activity_type text, at timestamptz, address text, agent text, reason text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select l.id, l.activity_type, l.at, d.address, d.agent, coalesce(d.after ->> 'reason', d.after ->> 'ended_because')
  from freehold.audit_log l
  left join freehold.audit_detail d on d.log_id = l.id
  where l.user_id = subject
    and l.activity_type in ('LOGIN', 'LOGIN_FAILED', 'LOGOUT', 'SUSPICIOUS_ACTIVITY')
    and (subject = access.principal() or (access.permission() = 'session:read' and access.can_access_user(subject)))
    and (before_at is null or (l.at, l.id) < (before_at, before_id))
  order by l.at desc, l.id desc
  limit at_most
$$;

-- Who ends sessions of somebody else needs that user's power over others. That is asked for the first of a user's
-- sessions that this transaction ends; not of one in which somebody else acts as them, which takes nothing from them.
create function access.before_session_end() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.impersonator_id is null
    and not exists (
      select from freehold.sessions s
      where s.user_id = new.user_id and s.ended_at = now() and s.impersonator_id is null)
  then
    perform access.require_power_of(array[new.user_id]);
  end if;
  return new;
end $$;

-- When and why a session ended does not change.
create function access.keep_session_end() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  new.ended_at := old.ended_at;
  new.ended_because := old.ended_because;
  return new;
end $$;

create trigger before_session_end before update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null) execute function access.before_session_end();

create trigger keep_session_end before update of ended_at, ended_because on freehold.sessions
  for each row when (old.ended_at is not null) execute function access.keep_session_end();

call access.audited('freehold.sessions', 'session', '{}', '{last_active_at}');

-- Not access.protect: everybody reads and ends their own sessions, and those in which they act as somebody else,
-- whatever permission they were admitted with; others' sessions are shown only with a permission for sessions.
create policy read on freehold.sessions for select using (
  user_id = (select access.principal())
  or impersonator_id = (select access.principal())
  or (
    (select access.permission()) like 'session:%'
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

create policy change on freehold.sessions for update using (
  user_id = (select access.principal())
  or impersonator_id = (select access.principal())
  or (
    (select access.permission()) = 'session:delete'
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

grant select, update (ended_at, ended_because) on freehold.sessions to freehold_app;

grant execute on function
  access.login_history(uuid, integer, timestamptz, uuid)
to freehold_app;
