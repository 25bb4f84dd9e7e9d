-- Licenses: for how long a tenant may be used.
--   platform.license_of    until when that is, called by whoever reads or propagates tenants
--
-- Threat: a license is renewed, and the tenant goes read-only all the same, because two licenses meet at one moment; or
-- one ends, and nobody tells the tenant's own database, which alone can hold it to that. So licenses that follow each
-- other are one time, and each change of one is a new version of its tenant. That one begins or ends is such a
-- change, too, because its limits count from then on or no more: the scheduled job makes it
-- (tenants/lifecycle/reconcile.ts). From when on the tenant can only be read its own database knows beforehand.

-- {licensed_until, read_only_from} of the license that is in force, with those that follow it without a gap, else of the
-- last one that was; null: there was none yet.
create function platform.license_of(tenant uuid) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'licensed_until', to_char(u.until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'read_only_from', to_char((u.until + make_interval(days => u.grace)) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
  from (
    select upper(r.time) as until, (
        select max(l.grace_days)
        from platform.licenses l
        where l.tenant_id = tenant and l.valid_until = upper(r.time)) as grace
    from unnest((
      select range_agg(tstzrange(l.valid_from, l.valid_until))
      from platform.licenses l
      where l.tenant_id = tenant and l.valid_from < l.valid_until)) r (time)
    where lower(r.time) <= now()
    order by upper(r.time) desc
    limit 1
  ) u
$$;

-- A license that is made, changed, or taken back is a new version of its tenant.
create function platform.license_version() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update platform.tenants t
  set v = nextval('platform.registry_v')
  where t.id = coalesce(new.tenant_id, old.tenant_id);
  return null;
end $$;

create trigger license_version after insert or update or delete on platform.licenses
  for each row execute function platform.license_version();

call access.audited('platform.licenses', 'license', noise => '{updated_at,has_begun,has_ended}');

create policy operators on platform.licenses
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

create policy reader on platform.licenses for select to freehold_reader
  using (true);

grant select, insert, update (valid_until, updated_at), delete on platform.licenses to freehold_app;

grant select (tenant_id, valid_from, valid_until, grace_days) on platform.licenses to freehold_reader;

grant execute on function platform.license_of(uuid) to freehold_app, freehold_reader;
