-- Plans, and the limits that a tenant has by its plan, its license and itself.
--   platform.effective_limits    what limits a tenant, called by whoever reads or propagates tenants
--
-- Threat: a tenant with a plan that nobody can look up; a plan that goes while somebody is given it; or a changed plan
-- that its tenants never hear of. So a plan that is given is locked, and a change of its limits is a new version of each
-- of its tenants, which the scheduled job propagates (tenants/lifecycle/reconcile.ts).

-- What limits a tenant: its own limits, else those of its license, else those of its plan. Of licenses that are in force
-- the one counts that began last; where none is, the one of all that did.
create function platform.effective_limits(tenant uuid, plan_key text, own jsonb) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_strip_nulls(
    coalesce((select p.limits from platform.plans p where p.key = plan_key), '{}')
    || coalesce((
      select l.limits
      from platform.licenses l
      where l.tenant_id = tenant and l.valid_from <= now()
      order by l.valid_until > now() desc, l.valid_from desc, l.id desc
      limit 1), '{}')
    || coalesce(own, '{}'))
$$;

-- A plan that is given to a tenant exists, and is not deleted meanwhile. One that a tenant has stays as it is: tenants
-- had names of plans before there were plans.
create function platform.known_plan() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.plan is not null and (tg_op = 'INSERT' or new.plan is distinct from old.plan) then
    perform from platform.plans p where p.key = new.plan for key share;
    if not found then
      perform access.refuse('invalid_request', format('%s is not a plan: make it first, or name another', new.plan), 'plan');
    end if;
  end if;
  return new;
end $$;

-- A plan that a tenant has is not deleted. The row is locked by then, so that whoever is giving it to a tenant has
-- done so.
create function platform.unused_plan() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  tenants bigint;
begin
  select count(*) into tenants from platform.tenants t where t.plan = old.key;
  if tenants > 0 then
    perform access.refuse('in_use', format('Tenants that have the plan %s: %s. Give them another one first.', old.key, tenants));
  end if;
  return old;
end $$;

-- Changed limits of a plan are a new version of each of its tenants.
create function platform.plan_version() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update platform.tenants t
  set v = nextval('platform.registry_v')
  where t.id in (select x.id from platform.tenants x where x.plan = new.key order by x.id for no key update);
  return null;
end $$;

create trigger known_plan before insert or update of plan on platform.tenants
  for each row execute function platform.known_plan();

create trigger unused_plan before delete on platform.plans
  for each row execute function platform.unused_plan();

create trigger plan_version after update of limits on platform.plans
  for each row when (old.limits <> new.limits) execute function platform.plan_version();

call access.audited('platform.plans', 'plan', keys => '{key}');

create policy operators on platform.plans
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

grant select, insert, update (name, description, isolation, limits, updated_at), delete on platform.plans to freehold_app;

grant execute on function platform.effective_limits(uuid, text, jsonb) to freehold_app;
