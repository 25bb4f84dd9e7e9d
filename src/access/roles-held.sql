-- The roles that a user holds: with the reason for each, by name, and the primary one.

-- The roles that a user holds at a moment, with the reason for each: assigned, inherited, or delegated by somebody
-- who holds it.
create function access.user_held_roles(subject uuid, moment timestamptz) returns table (kind text, id uuid, name text, via text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive tops (role_id, kind, source) as (
    select ur.role_id, 'role', null
    from freehold.user_roles ur
    where ur.user_id = subject and access.in_force(ur.starts_at, ur.ends_at, moment)
    union all
    select d.role_id, 'delegation', u.username
    from access.delegations_to(subject, moment) d
      join freehold.users u on u.id = d.delegator_id
    where d.role_id is not null
  ),
  line (role_id, parent_id, kind, source, top) as (
    select p.role_id, p.parent_id, t.kind, t.source, p.role_id
    from tops t
      join freehold.role_periods p on p.role_id = t.role_id
    where access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id, l.kind, l.source, l.top
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select
    case
      when l.kind = 'delegation' then 'delegation'
      when l.role_id <> l.top then 'inherited'
      else 'role'
    end,
    l.role_id,
    r.name,
    coalesce(l.source, case when l.role_id <> l.top then t.name end)
  from line l
    join freehold.roles r on r.id = l.role_id
    join freehold.roles t on t.id = l.top
  where access.was_active(subject, moment)
$$;

-- The names of the roles that a user is assigned at a moment, without what these inherit from.
create function access.role_names(subject uuid, moment timestamptz) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(distinct r.name), array[]::text[])
  from freehold.user_roles ur
    join freehold.roles r on r.id = ur.role_id
  where ur.user_id = subject
    and access.in_force(ur.starts_at, ur.ends_at, moment)
    and exists (
      select from freehold.role_periods p
      where p.role_id = r.id and access.in_force(p.starts_at, p.ends_at, moment))
$$;
