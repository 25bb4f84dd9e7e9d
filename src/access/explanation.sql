-- Answers to questions, of now or of a past moment: what somebody may do and why, and who may do something. A caller
-- learns about the users whom they reach, and an API key about what it names.

-- A moment that is asked about: not in the future; null is now. `field`: where the request has it.
create function access.past_or_now(moment timestamptz, field text default 'query/at') returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if moment > clock_timestamp() then
    perform access.refuse('invalid_request', 'lies in the future', field);
  end if;
  return coalesce(moment, now());
end $$;

-- What a user could do at a moment, with at most 50 reasons for each permission, the widest first, and what they were
-- denied, or lacked a competency for: {user_id, at, roles, permissions, denials}. null: the caller reaches no such user.
-- That somebody looked at another user's permissions is recorded.
create function access.explain(subject uuid, asked timestamptz) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := access.past_or_now(asked);
  names text[] := access.key_permissions(subject);
begin
  if access.permission() is distinct from 'user:read' or access.can_access_user(subject) is not true then
    return null;
  end if;
  if subject is distinct from access.principal() then
    perform access.record('PERMISSIONS_READ', 'read', 'user', subject::text, null, jsonb_build_object('at', moment));
  end if;
  return jsonb_build_object(
    'user_id', subject,
    'at', to_char(moment at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'roles', case when access.was_active(subject, moment) then to_jsonb(access.role_names(subject, moment)) else '[]' end,
    'permissions', coalesce(
      (
        select jsonb_agg(
          jsonb_build_object('permission', x.permission, 'scope', x.scope, 'because', x.because) order by x.permission)
        from (
          select
            g.permission,
            max(g.scope) as scope,
            jsonb_agg(
              access.reason_for(g.kind, g.id, g.name, g.via) || jsonb_build_object('scope', g.scope) order by g.place
            ) filter (where g.place <= 50) as because
          from (
            select y.permission, y.scope, y.kind, y.id, y.name, y.via,
              row_number() over (partition by y.permission order by y.scope desc, y.id, y.via) as place
            from (select distinct z.permission, z.scope, z.kind, z.id, z.name, z.via from access.grants(subject, moment) z) y
          ) g
          group by g.permission
        ) x
      ),
      '[]'),
    'denials', coalesce(
      (
        select jsonb_agg(jsonb_build_object('permission', x.permission, 'because', x.because) order by x.permission)
        from (
          select r.permission, jsonb_agg(r.reason order by r.place, r.id) as because
          from (
            select o.permission, 1 as place, o.id, access.reason_against('override', o.id, o.permission) as reason
            from freehold.overrides o
            where o.user_id = subject and o.effect = 'deny' and access.in_force(o.starts_at, o.ends_at, moment)
            union all
            select d.permission, 2, d.type_id, access.reason_lacking(d.type_id, d.permission, d.name, d.level)
            from access.unmet_demands(subject, moment) d
            where access.was_active(subject, moment)
              and d.permission not in (select g.permission from access.grants(subject, moment) g)
          ) r
          where names is null or r.permission = any (names)
          group by r.permission
        ) x
      ),
      '[]')
  );
end $$;

-- Who could do something at a moment, among those whom the caller reaches; ordered by id, after one of them.
create function access.holders(permission text, asked timestamptz, after uuid, at_most integer)
returns table (user_id uuid, username text, scope access.scope)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  moment timestamptz := access.past_or_now(asked);
begin
  if access.permission() is distinct from 'permission:read'
    or not exists (select from freehold.permissions p where p.name = holders.permission)
  then
    perform access.refuse('not_found', 'There is no such permission.');
  end if;
  return query
    with recursive carrying (role_id) as (
      select rp.role_id
      from freehold.role_permissions rp
      where rp.permission = holders.permission and access.in_force(rp.starts_at, rp.ends_at, moment)
      union
      select r.id from freehold.roles r where r.is_admin
      union
      select p.role_id
      from carrying c
        join freehold.role_periods p on p.parent_id = c.role_id and access.in_force(p.starts_at, p.ends_at, moment)
    ),
    candidates (id) as (
      select ur.user_id
      from carrying c
        join freehold.user_roles ur on ur.role_id = c.role_id
      where access.in_force(ur.starts_at, ur.ends_at, moment)
      union
      select o.user_id
      from freehold.overrides o
      where o.permission = holders.permission
        and o.effect = 'grant'
        and access.in_force(o.starts_at, o.ends_at, moment)
      union
      select d.delegate_id
      from freehold.delegations d
      where access.in_force(d.starts_at, d.ends_at, moment)
        and (
          d.role_id in (select c.role_id from carrying c)
          or d.role_id is null and exists (
            select from freehold.delegation_permissions p
            where p.delegation_id = d.id and p.permission = holders.permission))
    )
    select u.id, u.username, d.scope
    from (select x.id from candidates x where after is null or x.id > after order by x.id) c
      join freehold.users u on u.id = c.id
      cross join lateral (select access.decide(u.id, holders.permission, moment) as scope) d
    where d.scope is not null
      and access.was_active(u.id, moment)
      and (
        (select access.scope()) = 'all'
        or u.id = any ((select access.scope_owner_ids())::uuid[])
        or u.unit_id = any ((select access.scope_unit_ids())::uuid[]))
    order by u.id
    limit at_most;
end $$;

grant execute on function
  access.explain(uuid, timestamptz),
  access.holders(text, timestamptz, uuid, integer)
to freehold_app;
