-- Where an invitation leads to: the unit, the organization, and whether there is room.
--
-- Threat: somebody invites to where they reach nobody; or more people are invited than there are places, and most of
-- them are refused when they accept. So open invitations count as those do who are here; accepting counts again,
-- exactly.

-- An invitation with the unit and the organization that it leads to: one gives the other. Below scope `all` it is the
-- inviter's unit, or one that they reach.
create function access.placed_invitation(i freehold.invitations, mine freehold.users) returns freehold.invitations
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  named text := case when i.unit_id is null and i.organization_id is not null then 'organization_id' else 'unit_id' end;
  of_unit uuid;
begin
  if i.unit_id is not null then
    select n.organization_id into of_unit from freehold.units n where n.id = i.unit_id;
    if not found then
      perform access.refuse('invalid_request', 'is not a unit that you can access', 'unit_id');
    elsif i.organization_id is not null and i.organization_id is distinct from of_unit then
      perform access.refuse('invalid_request', 'is not a unit of this organization', 'unit_id');
    end if;
    i.organization_id := of_unit;
  elsif i.organization_id is not null then
    i.unit_id := access.unit_of_organization(i.organization_id);
  elsif access.scope() <> 'all' then
    i.unit_id := mine.unit_id;
    i.organization_id := mine.organization_id;
  end if;
  if access.scope() <> 'all' and (i.unit_id is null or i.unit_id <> all (access.scope_unit_ids())) then
    perform access.refuse('invalid_request',
      case named when 'unit_id' then 'is not a unit that you can access' else 'is not an organization that you can access' end,
      named);
  elsif i.organization_id is not null and not access.is_open_organization(i.organization_id) then
    perform access.refuse('invalid_request', 'is not an organization that you can access', 'organization_id');
  end if;
  return i;
end $$;

-- The unit without a parent that is an organization's own.
create function access.unit_of_organization(organization uuid) returns uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select n.id from freehold.units n where n.organization_id = organization and n.parent_id is null limit 1
$$;

-- Whether somebody can come to an organization.
create function access.is_open_organization(organization uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (select from freehold.organizations o where o.id = organization and o.state = 'active')
$$;

-- Refuses an invitation for which its organization has no place, of which the open ones take some, too. Locks the
-- organization.
create function access.require_place(i freehold.invitations) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  o freehold.organizations;
begin
  select * into o from freehold.organizations x where x.id = i.organization_id for no key update;
  if o.active_users + 1 + (
    select count(*)
    from freehold.invitations x
    where x.organization_id = o.id and x.closed_at is null and x.expires_at > now()
  ) > o.user_limit then
    perform access.refuse('limit_reached', format(
      'The limit of this organization is reached: it can have at most %s active users, open invitations included.',
      o.user_limit));
  end if;
end $$;

-- Refuses an invitation for which the tenant or its organization has no place. `l`: the limit of users, locked.
create function access.require_room(i freehold.invitations, l access.limits) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if l.name is not null
    and not exists (select from freehold.users u where u.email = i.email)
    and l.used + access.open_invitations() + 1 > l.most
  then
    perform access.refuse('limit_reached', format(
      'The limit max_users is reached: this tenant can have at most %s active users, open invitations included.', l.most));
  end if;
  perform access.require_place(i);
end $$;

-- How many open invitations wait for somebody who is not here yet.
create function access.open_invitations() returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select count(distinct i.email)
  from freehold.invitations i
  where i.closed_at is null
    and i.expires_at > now()
    and not exists (select from freehold.users u where u.email = i.email)
$$;
