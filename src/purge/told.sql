-- What people and webhooks were told: notifications, and attempts to deliver events.

-- Deletes at most so many of each that are old enough. Returns how many of which there were most.
create function access.purge_told(at_most integer) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most bigint;
begin
  with told as (
    delete from freehold.notifications
    where id in (
      select n.id
      from freehold.notifications n
      where n.created_at < now() - make_interval(days => (select t.notification_days from freehold.tenant t))
      limit at_most
      for update skip locked
    )
    returning 1
  ), sent as (
    delete from freehold.webhook_deliveries
    where id in (
      select w.id
      from freehold.webhook_deliveries w
      where w.at < now() - interval '90 days'
      limit at_most
      for update skip locked
    )
    returning 1
  )
  select greatest((select count(*) from told), (select count(*) from sent)) into most;
  return most;
end $$;
