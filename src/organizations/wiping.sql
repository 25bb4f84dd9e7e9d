-- Wiping out an organization: its units, its settings and name, and its users as the caller says.
--   access.end_organization      called from outside, with organization:delete: counts what goes, or begins
--   access.wipe_organizations    for the scheduled job, as the owner: the rest, a bounded number of users at a time
--
-- Threat: somebody wipes out another organization than they meant, or users with more power than theirs; two begin at
-- once; ten thousand users hold the tenant's database, or half of them are left. So the name is repeated, and what goes
-- can be counted first; whoever begins stands over each of the users; the state says that it has begun, once; and the
-- job goes on until nobody is left. That it happened, and how much went, stays in the audit.
--
-- Beginning locks the organization and no user, because whoever changes a user locks their organization after them.

-- What goes with an organization.
create function access.organization_counts(organization uuid) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'people', (select count(*) from freehold.users u where u.organization_id = organization),
    'active_people', (select count(*) from freehold.users u where u.organization_id = organization and u.is_active),
    'employees', (
      select count(*)
      from freehold.employees e
        join freehold.units n on n.id = e.unit_id
      where n.organization_id = organization),
    'units', (select count(*) from freehold.units n where n.organization_id = organization and n.parent_id is not null),
    'roles', (
      select count(*)
      from freehold.user_roles ur
      where ur.organization_id = organization and (ur.ends_at is null or ur.ends_at > now())))
$$;

-- Counts what goes with an organization, and begins unless it is a dry run. `people`: what becomes of its users, keep,
-- deactivate or erase. Raises FH404, FH403, FH400, FH409.
create function access.end_organization(organization uuid, confirm text, people text, dry_run boolean) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  needed text := case people when 'keep' then 'user:update' else 'user:delete' end;
  o freehold.organizations;
  counts jsonb;
begin
  perform access.require_reach('organization', organization);
  if access.permission() is distinct from 'organization:delete' or access.scope() is distinct from 'all' then
    perform access.refuse('not_found', 'There is no organization with this id.');
  end if;
  select * into o from freehold.organizations x where x.id = organization and x.state <> 'ended' for no key update;
  if o.id is null then
    perform access.refuse('not_found', 'There is no organization with this id.');
  end if;
  counts := access.organization_counts(o.id);
  if dry_run then
    return counts;
  elsif confirm is distinct from o.name then
    perform access.refuse('invalid_request', 'must be the name of the organization: wiping it out cannot be undone',
      'query/confirm');
  elsif o.state <> 'active' then
    perform access.refuse('illegal_state', 'This organization is being wiped out.');
  elsif (access.effective_scope(me, needed)).scope is distinct from 'all' then
    perform access.refuse('forbidden', format('This changes users, which needs %s.', needed));
  elsif people <> 'keep' and exists (select from freehold.users u where u.id = me and u.organization_id = o.id) then
    perform access.refuse('forbidden', 'You belong to this organization: somebody else must wipe it out.');
  end if;
  perform access.require_power_of(array(select u.id from freehold.users u where u.organization_id = o.id));
  update freehold.organizations x
  set state = 'ending', ending_people = people, ending_by = me, ending_counts = counts
  where x.id = o.id;
  perform access.close_invitations(o.id);
  perform access.record(
    'ORGANIZATION_ENDING', 'delete', 'organization', o.id::text, null,
    counts || jsonb_build_object('name', o.name, 'fate', people), 40);
  return counts;
end $$;

-- Whether an organization is being wiped out.
create function access.is_wipe_due() returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (select from freehold.organizations o where o.state = 'ending')
$$;

-- Lets users of one organization go, at most so many, then its employees; when nobody is left it ends: {is_done, wiped,
-- failed?}. One that fails goes to the end of the line, and `failed` says why: the others do not wait for it.
create function access.wipe_organizations(at_most integer) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  o freehold.organizations;
begin
  select * into o from freehold.organizations x where x.state = 'ending' order by x.updated_at, x.id limit 1;
  if o.id is null then
    return jsonb_build_object('is_done', true, 'wiped', 0);
  end if;
  begin
    if not access.wipe_some_of(o, at_most) then
      return jsonb_build_object('is_done', false, 'wiped', 0);
    end if;
  exception when others then
    update freehold.organizations x set updated_at = clock_timestamp() where x.id = o.id;
    return jsonb_build_object('is_done', false, 'wiped', 0, 'failed', jsonb_build_object('id', o.id, 'error', sqlerrm));
  end;
  return jsonb_build_object('is_done', not access.is_wipe_due(), 'wiped', 1);
end $$;

-- Whether an organization has ended, after at most so many of its users or employees were let go, and of users as many as
-- half a second has room for: whoever is being let go is locked that long, and to erase somebody takes a multiple of what
-- it takes to keep them.
create function access.wipe_some_of(o freehold.organizations, at_most integer) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  moved integer;
begin
  for u in
    select * from freehold.users x where x.organization_id = o.id order by x.id limit at_most for no key update
  loop
    perform access.let_go(u, o);
    exit when clock_timestamp() > statement_timestamp() + interval '500 milliseconds';
  end loop;
  if exists (select from freehold.users x where x.organization_id = o.id) then
    return false;
  end if;
  -- Employees stay, in no unit.
  update freehold.employees e
  set unit_id = null
  where e.id in (
    select x.id
    from freehold.units n
      join freehold.employees x on x.unit_id = n.id
    where n.organization_id = o.id
    limit at_most);
  get diagnostics moved = row_count;
  if moved = at_most then
    return false;
  end if;
  delete from freehold.units n where n.organization_id = o.id;
  update freehold.organizations x
  set state = 'ended', ended_at = now(), name = 'former-organization-' || replace(x.id::text, '-', ''), settings = '{}',
    plan_group = null, user_limit = null, unit_id = null, ending_people = null, ending_by = null, ending_counts = null
  where x.id = o.id;
  perform access.record(
    'ORGANIZATION_WIPED', 'delete', 'organization', o.id::text, null,
    o.ending_counts || jsonb_build_object('fate', o.ending_people), 40);
  return true;
end $$;

-- Lets one user go as it was asked for. The last administrator stays as they are, without the organization; so does
-- whoever has got power meanwhile that whoever began lacks.
create function access.let_go(u freehold.users, o freehold.organizations) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  -- An erased user never changes again, and belongs to none.
  update freehold.users x set organization_id = null where x.id = u.id;
  if o.ending_people = 'keep' or not access.covers_power_of(o.ending_by, u.id, anywhere => true) then
    return;
  end if;
  begin
    if o.ending_people = 'erase' then
      -- A request that waits for its day waits no longer.
      update freehold.erasures e
      set erase_at = now(), requested_by = o.ending_by, cancel_hash = null
      where e.user_id = u.id and e.cancelled_at is null and e.erased_at is null;
      if not found then
        perform access.open_erasure(u, o.ending_by, null, now(), null);
      end if;
    end if;
    update freehold.users x set is_active = false where x.id = u.id and x.is_active;
  exception when sqlstate 'FH409' then
    null;
  end;
end $$;

grant execute on function access.end_organization(uuid, text, text, boolean) to freehold_app;
