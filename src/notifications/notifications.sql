-- Notifications: what a person is told, written by the transaction that it tells of.
--   access.notify                         writes one; called by the functions of other files
--   access.own_notifications              a page of the caller's own, newest first
--   access.new_notifications              what came since a moment, for the caller's stream
--   access.unread_notifications           how many the caller has not read
--   access.read_notification              marks one of the caller's as read
--   access.read_notifications             marks all of them
--
-- Threat: somebody reads what another is told, or marks it as read so that they never see it; or does something in a loop
-- until the other no longer looks. So the app login can access no table here, each function is about the admitted user
-- alone, and of one kind a person is told a hundred things within an hour, and no more; what is about their own security
-- has no such end, because it is bounded where it is caused.
--
-- Writing one waits for nobody and locks nothing. Its mail is sent by the scheduled job (mailing.sql), because what limits
-- mail must be locked last.

-- The group that an event belongs to.
create function access.notification_kind(event text) returns text
language sql immutable
return case
  when event like 'delegation\_%' then 'delegation'
  when event like 'invitation\_%' then 'invitation'
  when event like 'competency\_%' then 'competency'
  when event like 'license\_%' then 'license'
  else 'security'
end;

-- Tells a user of an event, as they chose: in the list, by mail, both or neither. `about` is another person whose name it
-- shows. Nobody is told what they did themselves, unless it is about the security of their account. `is_mailed`: a mail of
-- its own goes in any case.
create function access.notify(
  subject uuid,
  event text,
  params jsonb default '{}',
  about uuid default null,
  resource_type text default null,
  resource_id text default null,
  is_mailed boolean default false
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  group_of text := access.notification_kind(event);
  -- What endangers an account, and has no mail of its own.
  is_urgent boolean := event in ('suspicious_activity', 'login_refused');
  chosen jsonb;
  rung text := current_setting('access.rung', true);
begin
  if subject is null or group_of <> 'security' and subject::text = access.actor() ->> 'user_id' then
    return;
  end if;
  select coalesce(
    (select p.kinds -> group_of from freehold.notification_preferences p where p.user_id = subject),
    access.usual_notification_preferences() -> group_of)
  into chosen;
  if is_urgent then
    chosen := chosen || '{"mail": "now"}';
  end if;
  if not (chosen ->> 'in_app')::boolean and (is_mailed or chosen ->> 'mail' = 'off')
    or group_of <> 'security' and (
      select count(*)
      from (
        select
        from freehold.notifications n
        where n.user_id = subject and n.kind = group_of and n.created_at > now() - interval '1 hour'
        limit 100
      ) x
    ) >= 100
  then
    return;
  end if;
  insert into freehold.notifications (
    id, user_id, kind, event, params, about_id, resource_type, resource_id, is_listed, mail
  )
  values (
    gen_random_uuid(),
    subject,
    group_of,
    notify.event,
    coalesce(notify.params, '{}'),
    about,
    notify.resource_type,
    notify.resource_id,
    (chosen ->> 'in_app')::boolean,
    case when not is_mailed then nullif(chosen ->> 'mail', 'off') end
  );
  -- Whose streams the Worker rings once this is committed (src/http/bells.ts). Who forges it rings in vain.
  perform set_config('access.rung', concat_ws(',', nullif(rung, ''), subject), true);
end $$;

-- One as the Worker reads it. The other person is called what they are called now.
create function access.shown_notification(n freehold.notifications) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', n.id,
    'kind', n.kind,
    'event', n.event,
    'params', n.params || jsonb_strip_nulls(jsonb_build_object(
      'person', (select access.inviter_name(u) from freehold.users u where u.id = n.about_id))),
    'about_id', n.about_id,
    'resource_type', n.resource_type,
    'resource_id', n.resource_id,
    'created_at', to_char(n.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'read_at', to_char(n.read_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  )
$$;

create function access.own_notifications(is_unread boolean, before timestamptz, before_id uuid, at_most integer) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return coalesce(
    (
      select jsonb_agg(access.shown_notification(n) order by n.created_at desc, n.id desc)
      from (
        select *
        from freehold.notifications x
        where x.user_id = access.principal()
          and x.is_listed
          and (not is_unread or x.read_at is null)
          and (before is null or (x.created_at, x.id) < (before, before_id))
        order by x.created_at desc, x.id desc
        limit least(at_most, 101)
      ) n
    ),
    '[]');
end $$;

create function access.unread_notifications() returns integer
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select count(*)
    from freehold.notifications n
    where n.user_id = access.principal() and n.read_at is null and n.is_listed
  );
end $$;

-- What was written since a moment, oldest first, at most a hundred: {now, unread, data}. Without a moment nothing. The clock is
-- this database's, of before the rows are read.
create function access.new_notifications(since timestamptz) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return jsonb_build_object(
    'now', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'unread', access.unread_notifications(),
    'data', coalesce(
      (
        select jsonb_agg(access.shown_notification(n) order by n.created_at, n.id)
        from (
          select *
          from freehold.notifications x
          where x.user_id = access.principal() and x.is_listed and x.created_at > since
          order by x.created_at, x.id
          limit 100
        ) n
      ),
      '[]'));
end $$;

-- Marks one as read; one that was read stays as it was. Null: the caller has no such one.
create function access.read_notification(this uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  n freehold.notifications;
begin
  update freehold.notifications x
  set read_at = coalesce(x.read_at, now())
  where x.id = this and x.user_id = access.principal() and x.is_listed
  returning * into n;
  if n.id is null then
    return null;
  end if;
  perform access.ring_own();
  return access.shown_notification(n);
end $$;

-- Marks all that the caller has not read; how many. Each is locked in one order, as by the caller's other devices.
create function access.read_notifications() returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  marked integer;
begin
  with unread as (
    select n.id
    from freehold.notifications n
    where n.user_id = access.principal() and n.read_at is null and n.is_listed
    order by n.id
    for update
  )
  update freehold.notifications n set read_at = now() from unread u where n.id = u.id;
  get diagnostics marked = row_count;
  if marked > 0 then
    perform access.ring_own();
  end if;
  return marked;
end $$;

-- The caller's other pages show how many are left.
create function access.ring_own() returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select set_config('access.rung', access.principal()::text, true)
$$;

grant execute on function
  access.own_notifications(boolean, timestamptz, uuid, integer),
  access.new_notifications(timestamptz),
  access.unread_notifications(),
  access.read_notification(uuid),
  access.read_notifications()
to freehold_app;
