-- Who has which name, and who had it.
--
-- Threat: of many that want one name two get it; or a name is given away while clients of the tenant that had it still
-- send their tokens there. So every name that a tenant has, or had in the last 30 days, is one row, whose primary key
-- decides. A tenant takes a name in the statement that writes its own row, after that row is locked and before its
-- index is: all who take names wait for each other in one order, and two tenants that want each other's names are both
-- refused and wait for nobody.

-- A tenant takes its name, if nobody else has it or keeps it. The name that it leaves stays its own for 30 days, as
-- long as sessions, cookies and known devices live by default; all its former names say from now on where it is.
create function platform.take_subdomain() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  kept_until timestamptz;
begin
  if tg_op = 'UPDATE' and new.subdomain = old.subdomain then
    return new;
  end if;
  insert into platform.subdomains as s (name, tenant_id, v)
  values (new.subdomain, new.id, new.v)
  on conflict (name) do update
  set tenant_id = excluded.tenant_id, until = null, v = excluded.v
  where s.tenant_id = excluded.tenant_id or s.until <= now();
  if not found then
    select s.until
    into kept_until
    from platform.subdomains s
    where s.name = new.subdomain;
    if kept_until is null then
      perform access.refuse('subdomain_taken', format('The subdomain %s is taken.', new.subdomain));
    end if;
    perform access.refuse('subdomain_taken',
      format('The subdomain %s is the former name of another tenant and kept for it until %s.', new.subdomain,
        to_char(kept_until at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
  end if;
  if tg_op = 'UPDATE' then
    -- Not an update alone: a tenant of an earlier release has no row of its name yet.
    insert into platform.subdomains as s (name, tenant_id, until, v)
    values (old.subdomain, old.id, now() + interval '30 days', new.v)
    on conflict (name) do update
    set until = excluded.until
    where s.tenant_id = excluded.tenant_id;
    update platform.subdomains s
    set v = new.v
    where s.tenant_id = new.id and s.until is not null;
    -- Each is written to KV, and is in every entry of the tenant.
    if (select count(*) > 20 from platform.subdomains s where s.tenant_id = new.id and s.until > now()) then
      perform access.refuse('limit_reached',
        'The tenant had 20 other names in the last 30 days. Wait until one of them is free.');
    end if;
  end if;
  return new;
end $$;

-- What is erased keeps no name.
create function platform.leave_subdomains() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from platform.subdomains s
  where s.tenant_id = old.id;
  return null;
end $$;

-- After next_version, in the order of their names: it gives the version.
create trigger take_subdomain before insert or update of subdomain on platform.tenants
  for each row execute function platform.take_subdomain();

create trigger leave_subdomains after delete on platform.tenants
  for each row execute function platform.leave_subdomains();

create policy operators on platform.subdomains for select
  using ((select access.scope()) = 'all');

create policy reader on platform.subdomains for select to freehold_reader
  using (true);

grant select (name, tenant_id, until) on platform.subdomains to freehold_app;

grant select (name, tenant_id, until, v) on platform.subdomains to freehold_reader;
