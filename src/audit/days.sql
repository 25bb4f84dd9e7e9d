-- How many logins, failures and mails a day had, for the platform's analytics. The scheduled job calls access.count_days
-- with each maintenance, as the owner, and takes what it says to the master (src/tenants/maintenance/report.ts).
--
-- Threat: a number that costs each login something, or each maintenance as much as the day had logins; or a day that is
-- counted twice. So nothing is counted when it happens: what a checkpoint covers is added up after it was made, once,
-- because each row says up to which checkpoint it counts, and mails are counted in the outbox.

-- Adds up the entries under checkpoints that were not counted yet, and returns the days that the master may not have:
-- from `since` on, and those that changed after the checkpoint `known`, [{day, logins, failures, mails}], the oldest
-- first and today last. Failures are failed logins and refused requests, those of strangers that were only counted, too.
-- The first time it goes back 31 days. Of two calls at once one adds up, and the other says what is there.
create function access.count_days(known integer, since date) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  today date := (now() at time zone 'UTC')::date;
  newest integer;
  counted integer;
  start date;
begin
  if pg_try_advisory_xact_lock(hashtext('access.daily_counts')) then
    select max(s.no) into newest from freehold.audit_checkpoints s;
    select max(c.checkpoint) into counted from access.daily_counts c;
    if newest > coalesce(counted, 0) then
      insert into access.daily_counts as c (day, logins, failures, checkpoint)
      select x.day, sum(x.logins), coalesce(sum(x.failures), 0), newest
      from (
        select
          case
            when l.action = 'count' then (d.after ->> 'from')::timestamptz at time zone 'UTC'
            else l.at at time zone 'UTC'
          end::date as day,
          case when l.activity_type = 'LOGIN' then 1 else 0 end as logins,
          case
            when l.activity_type = 'LOGIN' then 0
            when l.action = 'count' then (select sum(n.value::integer) from jsonb_each_text(d.after -> 'counts') n)
            else 1
          end as failures
        from freehold.audit_log l
        left join freehold.audit_detail d on d.log_id = l.id and l.action = 'count'
        where l.checkpoint > coalesce(counted, 0)
          and l.checkpoint <= newest
          and (counted is not null or l.at >= today - 31)
          and (
            l.activity_type in ('LOGIN', 'LOGIN_FAILED', 'ACCESS_REFUSED')
            or l.activity_type = 'SUSPICIOUS_ACTIVITY' and l.action in ('refuse', 'count') and l.resource_type = 'request'
          )
        union all
        -- Today's row is written whatever happened: it says up to where the entries are counted.
        select today, 0, 0
      ) x
      where x.day is not null
      group by x.day
      order by x.day
      on conflict (day) do update
      set logins = c.logins + excluded.logins,
        failures = c.failures + excluded.failures,
        checkpoint = excluded.checkpoint;
      delete from access.daily_counts c where c.day <= today - 400;
    end if;
  end if;
  start := least(
    coalesce(since, today - 31),
    today,
    (select min(c.day) from access.daily_counts c where c.checkpoint > known)
  );
  return (
    with mailed as (
      select (m.created_at at time zone 'UTC')::date as day, count(*) as mails
      from freehold.mails m
      where m.created_at >= start::timestamp at time zone 'UTC'
      group by 1
    )
    select jsonb_agg(
      jsonb_build_object(
        'day', x.day,
        'logins', coalesce(c.logins, 0),
        'failures', coalesce(c.failures, 0),
        'mails', coalesce(m.mails, 0)
      )
      order by x.day
    )
    from (
      select c.day from access.daily_counts c where c.day >= start
      union
      select m.day from mailed m
      union
      select today
    ) x
    left join access.daily_counts c on c.day = x.day
    left join mailed m on m.day = x.day
    where x.day <= today
  );
end $$;
