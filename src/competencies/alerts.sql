-- Alerts: a competency ends in 60, 30 or 7 days, and its holder, who is also notified, and their manager are mailed.
--   access.alert_expiring_competencies    for the scheduled job
--
-- Threat: two jobs at once mail twice; or one that dies mails nobody. So one statement notes on each record of which
-- number of days its holder was told, and the mails are enqueued in its transaction.

-- The fewest days, of those of which somebody is told, that a record has left at most; null: more than 60.
create function access.alert_days(expires_at timestamptz) returns integer
language sql stable
return case
  when expires_at <= now() + interval '7 days' then 7
  when expires_at <= now() + interval '30 days' then 30
  when expires_at <= now() + interval '60 days' then 60
end;

-- Mails those whose competencies end soon and their managers, as many as the day has room for; all of one person that are
-- due at once in one mail. Returns how many mails. Not of what was renewed, was retired, or is of somebody who is not
-- here any more. Called by the scheduled job, as the owner. What is locked by others comes next time.
create function access.alert_expiring_competencies(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  due uuid[];
  mailed integer;
begin
  with noted as (
    update freehold.competencies c
    set alerted_days = access.alert_days(c.expires_at)
    where c.id in (
      select x.id
      from freehold.competencies x
        join freehold.users u on u.id = x.user_id
        join freehold.competency_types y on y.id = x.type_id
      where x.revoked_at is null
        and x.expires_at > now()
        and x.expires_at <= now() + interval '60 days'
        and x.verified_at is not null
        and coalesce(x.alerted_days > access.alert_days(x.expires_at), true)
        and y.retired_at is null
        and access.is_present(u)
        and not exists (
          select
          from freehold.competencies o
          where o.user_id = x.user_id
            and o.type_id = x.type_id
            and o.level >= x.level
            and o.verified_at is not null
            and o.revoked_at is null
            and coalesce(o.expires_at > x.expires_at, true))
      order by x.expires_at, x.id
      limit least(at_most, access.warnings_left() / 2)
      for update of x skip locked
      for key share of u skip locked
    )
    returning c.id
  )
  select array_agg(n.id) into due from noted n;
  -- In their list, too; the mail goes in any case.
  perform access.notify(
    c.user_id,
    'competency_expires',
    jsonb_build_object(
      'competency', t.name, 'expires_at', to_char(c.expires_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
    resource_type => 'competency',
    resource_id => c.id::text,
    is_mailed => true)
  from freehold.competencies c
    join freehold.competency_types t on t.id = c.type_id
  where c.id = any (due);
  with told as (
    select
      c.user_id,
      string_agg(format('%s (%s)', t.name, to_char(c.expires_at at time zone 'utc', 'YYYY-MM-DD')), '; '
        order by c.expires_at, t.name) as competencies
    from freehold.competencies c
      join freehold.competency_types t on t.id = c.type_id
    where c.id = any (due)
    group by c.user_id
  )
  select
    count(access.enqueue_mail(
      'competency_expires', u.id, u.email, jsonb_build_object('competencies', t.competencies)))
    + count(case when m.id is not null then access.enqueue_mail(
      'competency_expires_of_other', m.id, m.email,
      jsonb_build_object('competencies', t.competencies, 'person', access.inviter_name(u))) end)
  into mailed
  from told t
    join freehold.users u on u.id = t.user_id
    left join freehold.users m on m.id = u.manager_id and access.is_present(m);
  return mailed;
end $$;
