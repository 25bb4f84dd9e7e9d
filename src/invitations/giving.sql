-- What an invitation gives: which roles, in whose name, and where.
--
-- Threat: somebody invites another address of their own with more than they hold; or they are demoted, deactivated or
-- lose a role, and what they promised before is given all the same. So what handing-out.sql and assignments.sql ask of
-- whoever gives a role is asked of the inviter twice: when they invite, and when it is accepted. Most functions take
-- the giver as an argument, because whoever accepts is nobody yet, and gives nothing.

-- Whether somebody holds all that a role carries, as far as it would reach around a place (a unit; null: none). What
-- was delegated to them does not count: it ends, and the role would stay.
-- `within` the organization of the place nothing reaches further than that.
create function access.holds_role_there(giver uuid, role uuid, place uuid, within boolean) returns boolean
language sql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
  with mine as materialized (
    select g.permission, max(g.scope) as scope
    from access.own_grants(giver, now() - interval '1 microsecond') g
    group by g.permission
  ),
  needed as materialized (
    select c.permission, max(case when within then least(c.scope, 'organization') else c.scope end) as scope
    from access.role_content(role) c
    group by c.permission
  ),
  compared as materialized (
    select distinct n.scope as needed, m.scope as held
    from needed n
      left join mine m on m.permission = n.permission
  )
  select not exists (
    select
    from compared c
    where c.held is null
      or c.held < c.needed
      or (
        place is not null
        and c.held <> 'all'
        and c.needed <> 'own'
        and not access.units_around(place, c.needed) <@ array(select access.units_in_scope(giver, c.held))
      )
  )
$$;

-- Whether somebody has the power over others that a user has, there where it is measured from the user's unit: all that
-- moving the user there gives them. `anywhere`: and the power that is not measured from it.
create function access.covers_power_of(giver uuid, subject uuid, anywhere boolean default false) returns boolean
language sql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
  with mine as materialized (
    select g.permission, max(g.scope) as scope
    from access.own_grants(giver, now() - interval '1 microsecond') g
    group by g.permission
  ),
  needed as materialized (
    select p.permission, max(p.scope) as scope
    from access.potential_grants(
      array[subject], array(select x.name from freehold.permissions x where x.is_administrative)) p
    where p.scope > 'own'
      and (anywhere or p.holder = subject)
    group by p.permission
  )
  select giver = subject or not exists (
    select
    from needed n
      left join mine m on m.permission = n.permission
      cross join freehold.users u
    where u.id = subject
      and (
        m.scope is null
        or m.scope < n.scope
        or (
          m.scope <> 'all'
          and not access.units_around(u.unit_id, n.scope) <@ array(select access.units_in_scope(giver, m.scope))
        )
      )
  )
$$;

-- The units that a scope reaches from a place.
create function access.units_around(place uuid, scope access.scope) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select array(
    select place
    union
    select access.units_under(access.department_over(place)) where units_around.scope in ('department', 'organization')
    union
    select o.id
    from freehold.units n
      join freehold.units o on o.organization_id = n.organization_id
    where n.id = place and units_around.scope = 'organization'
  )
$$;

-- Why somebody cannot give a role to whoever is, or will be, in a place; null: they can. The fallback role is
-- everybody's.
create function access.why_not_given(giver uuid, r freehold.roles, place uuid, within boolean) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  far record;
begin
  select x.scope, x.units into far from access.effective_scope(giver, 'role:update') x;
  if far.scope is distinct from 'all' and not r.is_fallback then
    if far.scope is null or place is null or not place = any (far.units) then
      return 'Assigning and removing roles needs role:update.';
    elsif not r.is_manageable then
      return format('The role %s cannot be managed within a team.', r.name);
    end if;
  end if;
  if not access.holds_role_there(giver, r.id, place, within) then
    return format('You do not hold everything that the role %s carries, as far as it would reach: you cannot give it.', r.name);
  end if;
  return null;
end $$;

-- Whether whoever invited may still bring somebody to where the invitation leads: active, with invitation:create there.
create function access.may_still_invite(i freehold.invitations) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  far record;
begin
  select * into u from freehold.users x where x.id = i.inviter_id;
  if not access.is_present(u) then
    return false;
  end if;
  select x.scope, x.units into far from access.user_effective_scope(u.id, 'invitation:create') x;
  return coalesce(far.scope = 'all' or i.unit_id = any (far.units), false)
    -- Where it leads to is still what it was.
    and (i.organization_id is null or access.is_open_organization(i.organization_id))
    and not exists (
      select from freehold.units n where n.id = i.unit_id and n.organization_id is distinct from i.organization_id);
end $$;

-- The roles of an invitation that its inviter can still give to whoever is in a place, in the order in which they were
-- asked for.
create function access.roles_still_given(i freehold.invitations, place uuid) returns setof freehold.roles
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.*
  from unnest(i.role_ids) with ordinality g (id, n)
    join freehold.roles r on r.id = g.id
  where r.deleted_at is null
    and r.is_active
    and access.why_not_given(i.inviter_id, r, place, i.organization_id is not null) is null
  order by g.n
$$;

-- The ids of roles that are named, or given by their ids; each must be one that the admitted user can give there.
create function access.invited_roles(wanted jsonb, i freehold.invitations) returns uuid[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  named text;
  r freehold.roles;
  ids uuid[] := '{}';
  reason text;
begin
  for named in select jsonb_array_elements_text(coalesce(wanted, '[]')) loop
    select * into r from freehold.roles x where x.deleted_at is null and (x.name = named or x.id::text = lower(named));
    if r.id is null then
      perform access.refuse('invalid_request', format('%s is not a role of this tenant', named), 'roles');
    elsif access.key() is not null then
      perform access.require_key_permission(array(select c.permission from access.role_content(r.id) c));
    end if;
    reason := access.why_not_given(access.principal(), r, i.unit_id, i.organization_id is not null);
    if reason is not null then
      perform access.refuse('forbidden', reason);
    end if;
    ids := array_remove(ids, r.id) || r.id;
  end loop;
  return ids;
end $$;

-- The name of the role with which somebody logs in wherever they are: that of who registers.
create function access.base_role(t freehold.tenant) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    t.registration_role,
    (select r.name from freehold.roles r where r.is_fallback and r.deleted_at is null))
$$;
