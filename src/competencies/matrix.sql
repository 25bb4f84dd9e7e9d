-- The matrix: who has which competency at a moment, and what their roles demand.
--   access.matrix_rows             the cells of some people and types
--   access.record_matrix_export    writes that somebody took the matrix away as a file
--
-- Threat: somebody reads the competencies of people whom they do not reach, or what their roles demand. So both
-- functions look at the admission, and cells are of people within its scope alone.

-- The highest level that the roles of some people demanded at a moment, their own and what those inherit, by type.
create function access.demanded_levels(people uuid[], at timestamptz)
returns table (user_id uuid, type_id uuid, level integer)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive held (user_id, role_id, parent_id) as (
    select ur.user_id, p.role_id, p.parent_id
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = any (people)
      and access.in_force(ur.starts_at, ur.ends_at, at)
      and access.in_force(p.starts_at, p.ends_at, at)
    union
    select h.user_id, p.role_id, p.parent_id
    from held h
      join freehold.role_periods p on p.role_id = h.parent_id
    where access.in_force(p.starts_at, p.ends_at, at)
  )
  select h.user_id, rp.competency_type_id, max(rp.competency_level)
  from held h
    join freehold.role_permissions rp on rp.role_id = h.role_id
  where rp.competency_type_id is not null and access.in_force(rp.starts_at, rp.ends_at, at)
  group by h.user_id, rp.competency_type_id
$$;

-- The cells of each person, of the types of which there is a record, or which a role of theirs demands: the highest level
-- that counted at the moment, and of several the one that lasts longest; else the record that comes nearest to counting.
-- A matrix has thousands of cells, so that each is a place in five arrays, and the Worker writes it out. `places`: of the
-- types. `states`: 1 valid, 2 unverified, 3 expired, 4 revoked, 5 missing. `ends`: when it expires, in UTC.
create function access.matrix_rows(people uuid[], types uuid[], at timestamptz)
returns table (
  user_id uuid,
  places integer[],
  states integer[],
  levels integer[],
  ends timestamp[],
  required_levels integer[]
)
language plpgsql stable security definer rows 100 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  reached uuid[];
begin
  if coalesce(access.permission(), '') not in ('competency:read', 'competency:export') then
    return;
  end if;
  select array_agg(u.id) into reached
  from freehold.users u
  where u.id = any (people)
    and ((select access.scope() = 'all')
      or u.id = any ((select access.scope_owner_ids())::uuid[])
      or u.unit_id = any ((select access.scope_unit_ids())::uuid[]));
  return query
    with asked as materialized (
      select t.id, t.place::integer from unnest(types) with ordinality t (id, place)
    ),
    -- By person alone: looking for each type of each person would be a look into the index for each cell.
    best as (
      select distinct on (r.user_id, t.place) r.user_id, t.place, r.state, r.level, r.expires_at
      from (
        select c.user_id, c.type_id, c.level, c.expires_at,
          case when c.revoked_at <= at then 4 when c.expires_at <= at then 3 when c.verified_at <= at then 1 else 2 end as state
        from freehold.competencies c
        where c.user_id = any (reached) and c.created_at <= at and c.issued_at <= at
        offset 0
      ) r
        join asked t on t.id = r.type_id
      order by r.user_id, t.place, r.state, case when r.state = 1 then r.level end desc,
        r.expires_at desc nulls first, r.level desc
    ),
    demanded as (
      select d.user_id, t.place, d.level
      from access.demanded_levels(reached, at) d
        join asked t on t.id = d.type_id
    )
    select
      coalesce(b.user_id, d.user_id),
      array_agg(coalesce(b.place, d.place)),
      array_agg(coalesce(b.state, 5)),
      array_agg(case when b.state = 1 then b.level end),
      array_agg(b.expires_at at time zone 'utc'),
      array_agg(d.level)
    from best b
      full join demanded d on d.user_id = b.user_id and d.place = b.place
    group by coalesce(b.user_id, d.user_id);
end $$;

-- Writes that the admitted user exports the matrix, and by which filters.
create function access.record_matrix_export(filters jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'competency:export' then
    perform access.refuse('forbidden', 'Exporting competencies needs competency:export.');
  end if;
  perform access.record('EXPORT', 'export', 'competency', null, null, filters);
end $$;

grant execute on function
  access.matrix_rows(uuid[], uuid[], timestamptz),
  access.record_matrix_export(jsonb)
to freehold_app;
