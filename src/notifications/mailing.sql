-- Mails of notifications, for the scheduled job, as the owner.
--   access.mail_notifications     mails what waits for a mail: at once, or in the digest of the day
--   access.notifications_due      when the next mail of them is due
--   access.tell_of_license        tells the administrators that the license of the tenant ends soon
--
-- Threat: two Workers mail the same, or a digest comes in two parts; or these mails use up the day of those that people ask
-- for. So one of two who come at once does it, what is mailed is marked by the statement that takes it, and as many go out
-- as leave a quarter of the day's mails. A mail that a limit drops is not tried again: the list has it.

-- Everything of one person is one mail, and names at most twenty. What waits for a digest goes out with the next day (UTC).
-- Who was deactivated is not mailed, and waits no longer: they would keep everybody behind them waiting, and the tenant due.
-- Returns how many mails there are.
create function access.mail_notifications(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  mailed integer;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('notification mails', 0)) then
    return 0;
  end if;
  -- Who is mailed is locked before the first mail is counted, as everybody does it.
  with people as (
    select u.id, u.email, u.is_active
    from freehold.users u
    where u.id in (
        select n.user_id
        from freehold.notifications n
        where n.mail = 'now' or n.mail = 'digest' and n.created_at < access.today()
        group by n.user_id
        order by min(n.created_at)
        limit least(at_most, access.warnings_left())
      )
    for key share skip locked
  ), taken as (
    update freehold.notifications n
    set mail = null
    from people p
    where n.user_id = p.id and (n.mail = 'now' or n.mail = 'digest' and n.created_at < access.today())
    returning n as told
  ), waiting as materialized (
    -- What was read meanwhile is not mailed.
    select (t.told).user_id, count(*) as many, array_agg(t.told order by (t.told).created_at, (t.told).id) as those
    from taken t
    where (t.told).read_at is null
    group by 1
  )
  select count(access.enqueue_mail('notifications', u.id, u.email, jsonb_build_object(
    'count', w.many,
    'items', (
      select jsonb_agg(jsonb_build_object('event', n ->> 'event', 'params', n -> 'params') order by x.place)
      from generate_subscripts(w.those[:20], 1) x (place)
        cross join lateral access.shown_notification(w.those[x.place]) n))))
  into mailed
  from waiting w
    join people u on u.id = w.user_id and u.is_active;
  return mailed;
end $$;

-- When the day began, of which everything is mailed with the next.
create function access.today() returns timestamptz
language sql stable
return date_trunc('day', now() at time zone 'UTC') at time zone 'UTC';

create function access.notifications_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select least(
    (select now() from freehold.notifications n where n.mail = 'now' limit 1),
    (
      select greatest(now(), access.today() + interval '1 day' * (n.created_at >= access.today())::integer)
      from freehold.notifications n
      where n.mail = 'digest'
      order by n.created_at
      limit 1
    ))
$$;

-- A hundred of those who administer the tenant.
create function access.administrators() returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select distinct a.id
  from freehold.roles r
    join freehold.user_roles ur on ur.role_id = r.id and access.in_force(ur.starts_at, ur.ends_at, now())
    join freehold.users a on a.id = ur.user_id and a.is_active
  where r.is_admin and r.is_active
  limit 100
$$;

-- Once for each end of it, and from thirty days before.
create function access.tell_of_license() returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  told integer;
begin
  select * into strict t from freehold.tenant;
  if t.licensed_until is null
    or t.licensed_until not between now() and now() + interval '30 days'
    or not pg_try_advisory_xact_lock(hashtextextended('notification license', 0))
  then
    return 0;
  end if;
  select count(access.notify(u.id, 'license_ends', x.params))
  into told
  from (
    select jsonb_build_object(
      'expires_at', to_char(t.licensed_until at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
      'read_only_from', to_char(coalesce(t.read_only_from, t.licensed_until) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
  ) x (params)
    join lateral (
      select a.id from access.administrators() a (id)
    ) u on true
  where not exists (
    select
    from freehold.notifications n
    where n.user_id = u.id
      and n.event = 'license_ends'
      and n.created_at > now() - interval '31 days'
      and n.params ->> 'expires_at' = x.params ->> 'expires_at');
  return told;
end $$;
