-- What tenants say of each day, and the sums of it. The system writes it with their maintenance
-- (src/tenants/maintenance/report.ts), as the owner, to whom no policy applies; operators read it.
--
-- Threat: a report that is lost or repeated counts a day twice or not at all. So a report has the numbers of whole days,
-- which replace those of before, and the sums move by what changed.

-- Moves the sums by what a statement changed of tenant_days. The rows of days are locked in one order, and whoever holds
-- them waits for nobody else who wants them, so that two runs of maintenance wait for each other at most.
create function platform.sum_days() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into platform.days as s (day, tenants, people, logins, failures, mails)
    select n.day, count(*), coalesce(sum(n.people), 0), sum(n.logins), sum(n.failures), sum(n.mails)
    from added n
    group by n.day
    order by n.day
    on conflict (day) do update
    set tenants = s.tenants + excluded.tenants,
      people = s.people + excluded.people,
      logins = s.logins + excluded.logins,
      failures = s.failures + excluded.failures,
      mails = s.mails + excluded.mails;
    return null;
  end if;
  perform from platform.days s where s.day in (select n.day from added n) order by s.day for no key update;
  update platform.days s
  set people = s.people + x.people,
    logins = s.logins + x.logins,
    failures = s.failures + x.failures,
    mails = s.mails + x.mails
  from (
    select y.day, sum(y.people) as people, sum(y.logins) as logins, sum(y.failures) as failures, sum(y.mails) as mails
    from (
      select n.day, coalesce(n.people, 0) as people, n.logins, n.failures, n.mails
      from added n
      union all
      select o.day, -coalesce(o.people, 0), -o.logins, -o.failures, -o.mails
      from removed o
    ) y
    group by y.day
  ) x
  where s.day = x.day;
  return null;
end $$;

create trigger sum_reported after insert on platform.tenant_days
  referencing new table as added
  for each statement execute function platform.sum_days();

create trigger sum_changed after update on platform.tenant_days
  referencing old table as removed new table as added
  for each statement execute function platform.sum_days();

create policy operators on platform.tenant_days for select
  using ((select access.scope()) = 'all');

create policy operators on platform.days for select
  using ((select access.scope()) = 'all');

grant select on platform.tenant_days to freehold_app;

grant select on platform.days to freehold_app;
