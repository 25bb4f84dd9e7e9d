-- The one place that says whether a thing that a request cannot change is forbidden or not there: what the caller may
-- read is 403, with the permission that is too narrow; what they may not read is 404, as if it did not exist.
--
-- Threat: a caller finds out, by the difference between two refusals, what exists out of their reach. So what decides is
-- the permission to read, as if the thing were asked for.

-- Refuses with `forbidden` what the caller can read and the permission of this transaction does not reach. What they
-- cannot read is left to the verb, which finds nothing. `subject`: whose override, assignment (`thing`: the role) or API
-- key it is. Called in the first statement after the admission.
create function access.require_reach(resource text, thing uuid, subject uuid default null) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  far record;
  owner uuid;
  unit uuid;
  -- They are nobody's: whoever reads one reads all of them, and they are changed at scope `all` alone.
  is_common boolean := resource in ('role', 'permission', 'audience', 'provider', 'webhook', 'hook');
begin
  if me is null or access.scope() = 'all' then
    return;
  elsif resource = 'organization' then
    if access.scope() = 'organization'
      and exists (
        select from freehold.organizations o where o.id = thing and o.unit_id = any (access.scope_unit_ids()))
    then
      return;
    end if;
    far := access.effective_scope(me, 'organization:read');
    if exists (
      select
      from freehold.organizations o
      where o.id = thing
        and o.state <> 'ended'
        and (far.scope = 'all' or o.id = (select u.organization_id from freehold.users u where u.id = me)))
    then
      perform access.refuse('forbidden', format('You can read this, but your %s does not reach it.', access.permission()));
    end if;
    return;
  elsif is_common then
    if not exists (
      select from freehold.roles r where r.id = thing and r.deleted_at is null and resource = 'role'
      union all
      select from freehold.permissions p where p.id = thing and p.deleted_at is null and resource = 'permission'
      union all
      select from freehold.audiences a where a.id = thing and resource = 'audience'
      union all
      select from freehold.providers p where p.id = thing and resource = 'provider'
      union all
      select from freehold.webhooks w where w.id = thing and resource = 'webhook'
      union all
      select from freehold.hooks h where h.id = thing and resource = 'hook'
    ) then
      return;
    end if;
  elsif resource = 'unit' then
    select x.id into unit from freehold.units x where x.id = thing;
  elsif resource = 'employee' then
    select e.user_id, e.unit_id into owner, unit from freehold.employees e where e.id = thing;
  elsif resource = 'invitation' then
    select i.inviter_id, i.unit_id into owner, unit from freehold.invitations i where i.id = thing;
  else
    select u.id, u.unit_id
    into owner, unit
    from freehold.users u
    where u.id = case resource
      when 'user' then thing
      when 'session' then (select s.user_id from freehold.sessions s where s.id = thing and s.ended_at is null)
      when 'delegation' then (select d.delegator_id from freehold.delegations d where d.id = thing and d.delegate_id <> me)
      when 'api_key' then (
        select k.user_id from freehold.api_keys k
        where k.id = thing and k.user_id = subject and k.revoked_at is null)
      when 'override' then (
        select o.user_id from freehold.overrides o
        where o.id = thing and o.user_id = subject and (o.ends_at is null or o.ends_at > now()))
      when 'assignment' then (
        select ur.user_id from freehold.user_roles ur
        where ur.role_id = thing and ur.user_id = subject and (ur.ends_at is null or ur.ends_at > now())
        limit 1)
    end;
  end if;
  if owner is null and unit is null and not is_common then
    return;
  elsif unit = any (access.scope_unit_ids())
    -- Overrides, assignments and employees are written of others alone.
    or (owner = any (access.scope_owner_ids()) and resource not in ('override', 'assignment', 'employee'))
    or (owner = me and resource = 'session') then
    return;
  end if;
  far := access.effective_scope(me, case resource
    when 'override' then 'user'
    when 'assignment' then 'user'
    when 'provider' then 'setting'
    when 'webhook' then 'setting'
    when 'hook' then 'setting'
    else resource
  end || ':read');
  if far.scope = 'all'
    or owner = me
    or owner = any (far.owners)
    or unit = any (far.units)
    or (far.scope is not null and is_common)
    -- Everybody reads the unit that they are in.
    or (resource = 'unit' and unit = (select u.unit_id from freehold.users u where u.id = me)) then
    perform access.refuse('forbidden', format('You can read this, but your %s does not reach it.', access.permission()));
  elsif is_common then
    -- In the words that a verb has for one that does not exist.
    raise exception using errcode = 'FH404', message = 'not_found';
  end if;
end $$;

grant execute on function
  access.require_reach(text, uuid, uuid)
to freehold_app;
