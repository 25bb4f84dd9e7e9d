-- Licenses: for how long a tenant may be used.
--   platform.license_of      until when that is, called by whoever reads or propagates tenants
--   platform.warn_licenses   for the scheduled job: mails to the administrators of tenants whose license ends soon
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

-- Mails the administrators of tenants whose license ends within thirty days, with none that follows, once for each end;
-- returns how many. Called by the scheduled job, as the owner: the mails are of the platform's own outbox, and no tenant's
-- database is asked. One mail an hour to one address, whoever administers many, and as many as the platform's day has
-- room for; who is left comes with a later run. The tenant's language is not known here: it is that of its country.
create function platform.warn_licenses(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  warned integer;
begin
  with ending as (
    select distinct on (t.admin_email)
      t.id, t.legal_name, t.admin_email, t.country, l.valid_until, platform.license_of(t.id) as license
    from platform.licenses l
      join platform.tenants t on t.id = l.tenant_id
    where l.warned_at is null
      and l.valid_until > now()
      and l.valid_until <= now() + interval '30 days'
      and t.status = 'active'
      and not exists (
        select
        from freehold.mails m
        where m.kind = 'license_ends'
          and m.recipient = t.admin_email
          and m.created_at > now() - interval '1 hour')
      -- The one in force, and the last of those that follow it without a gap.
      and (platform.license_of(t.id) ->> 'licensed_until')::timestamptz = l.valid_until
    order by t.admin_email, l.valid_until, t.id
  ), taken as (
    update platform.licenses l set warned_at = now()
    from (select * from ending e order by e.valid_until, e.id limit least(at_most, access.warnings_left())) e
    where l.tenant_id = e.id
      and l.valid_until = e.valid_until
      and l.warned_at is null
    returning e.*
  )
  select count(
    access.enqueue_mail(
      'license_ends', null, x.admin_email,
      jsonb_build_object(
        'organization', x.legal_name,
        'expires_at', x.license ->> 'licensed_until',
        'read_only_from', x.license ->> 'read_only_from'),
      null,
      case
        when x.country = any ('{AR,BO,CL,CO,CR,CU,DO,EC,ES,GQ,GT,HN,MX,NI,PA,PE,PR,PY,SV,UY,VE}') then 'es'
        else 'en'
      end))
  into warned
  from (select distinct on (y.id) y.* from taken y) x;
  return warned;
end $$;

-- A license that is made, changed, or taken back is a new version of its tenant. That its end was told by mail is not: it
-- would wake the tenant's database.
create function platform.license_version() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update platform.tenants t
  set v = nextval('platform.registry_v')
  where t.id = coalesce(new.tenant_id, old.tenant_id);
  return null;
end $$;

create trigger license_version
  after insert or delete or update of valid_from, valid_until, grace_days, limits, has_begun, has_ended on platform.licenses
  for each row execute function platform.license_version();

call access.audited('platform.licenses', 'license', noise => '{updated_at,has_begun,has_ended,warned_at}');

create policy operators on platform.licenses
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

create policy reader on platform.licenses for select to freehold_reader
  using (true);

grant select, insert, update (valid_until, updated_at), delete on platform.licenses to freehold_app;

grant select (tenant_id, valid_from, valid_until, grace_days) on platform.licenses to freehold_reader;

grant execute on function platform.license_of(uuid) to freehold_app, freehold_reader;
