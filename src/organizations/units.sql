-- The units of an organization. Called from outside, with organization:create: access.put_units.
--
-- Threat: whoever may create an organization, and move no unit, takes units and their users with it. So it needs
-- unit:update at scope `all`, too, and the rules of moving a unit hold (access.before_unit, access.after_unit).

-- Puts units, each with what is below it, under an organization.
create function access.put_units(organization uuid, units uuid[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'organization:create' or cardinality(units) = 0 then
    return;
  elsif (access.effective_scope(access.principal(), 'unit:update')).scope is distinct from 'all' then
    perform access.refuse('forbidden', 'Moving units into an organization needs unit:update.');
  end if;
  update freehold.units u
  set parent_id = o.unit_id
  from freehold.organizations o
  where o.id = organization and u.id = any (units) and u.id <> o.unit_id;
  if (select count(*) from freehold.units u where u.id = any (units)) < cardinality(units) then
    perform access.refuse('invalid_request', 'has a unit that is not of this tenant', 'unit_ids');
  end if;
end $$;

grant execute on function access.put_units(uuid, uuid[]) to freehold_app;
