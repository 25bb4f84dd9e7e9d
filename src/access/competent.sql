-- Competencies that a role's permission demands. The permission is held by that role only while its holder has the
-- competency at that level or a higher one: verified, issued, not expired and not revoked. For what is delegated both the
-- delegator and whoever acts for them need it. Administrators and overrides are not asked for any.

-- Whether a user was competent at a moment.
create function access.is_competent(subject uuid, type uuid, at_least integer, moment timestamptz) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return exists (
    select from freehold.competencies c
    where c.user_id = subject
      and c.type_id = type
      and c.level >= at_least
      and c.verified_at <= moment
      and c.issued_at <= moment
      and (c.expires_at is null or c.expires_at > moment)
      and (c.revoked_at is null or c.revoked_at > moment));
end $$;

-- What the roles of a user, and those that are delegated to them, would carry at a moment if they, or the delegator, were
-- competent; of the `wanted` permissions, or of all (null). `name`: of the type.
create function access.unmet_demands(subject uuid, moment timestamptz, wanted text[] default null)
returns table (permission text, type_id uuid, level integer, name text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (role_id, parent_id, delegator_id) as (
    select p.role_id, p.parent_id, t.delegator_id
    from (
      select ur.role_id, null::uuid as delegator_id
      from freehold.user_roles ur
      where ur.user_id = subject and access.in_force(ur.starts_at, ur.ends_at, moment)
      union all
      select d.role_id, d.delegator_id from access.delegations_to(subject, moment) d where d.role_id is not null
    ) t
      join freehold.role_periods p on p.role_id = t.role_id
    where access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id, l.delegator_id
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select distinct g.permission, g.type_id, g.level, t.name
  from line l
    cross join lateral (
      select x.permission, x.competency_type_id as type_id, x.competency_level as level
      from freehold.role_permissions x
      where x.role_id = l.role_id
        and x.competency_type_id is not null
        and access.in_force(x.starts_at, x.ends_at, moment)
      offset 0) g
    join freehold.competency_types t on t.id = g.type_id
  where (wanted is null or g.permission in (select unnest(wanted)))
    and not (
      access.is_competent(subject, g.type_id, g.level, moment)
      and (l.delegator_id is null or access.is_competent(l.delegator_id, g.type_id, g.level, moment)))
$$;

-- Why a permission is not held: {kind: competency, effect: deny, id, name, via, level}. `via`: the name of the type.
create function access.reason_lacking(type_id uuid, permission text, name text, level integer) returns jsonb
language sql stable
return jsonb_build_object(
  'kind', 'competency', 'effect', 'deny', 'id', type_id, 'name', permission, 'via', name, 'level', level);

-- What to tell a user who was refused a permission for want of a competency; null: none would have helped.
create function access.lacking_competency(subject uuid, permission text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('This needs the competency %s at level %s, verified and not expired.', d.name, d.level)
  from access.unmet_demands(subject, now(), array[permission]) d
  order by d.level, d.name
  limit 1
$$;
