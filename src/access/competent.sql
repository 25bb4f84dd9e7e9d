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
  select distinct g.permission, g.type_id, g.level, t.name
  from (
    select r.role_id, null::uuid as delegator_id from access.roles_of(subject, moment) r (role_id)
    union
    select d.role_id, d.delegator_id from access.delegations_to(subject, moment) d where d.role_id is not null
  ) r
    cross join lateral access.role_grants(r.role_id, moment, wanted) g
    join freehold.competency_types t on t.id = g.type_id
  where not (
    access.is_competent(subject, g.type_id, g.level, moment)
    and (r.delegator_id is null or access.is_competent(r.delegator_id, g.type_id, g.level, moment)))
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
