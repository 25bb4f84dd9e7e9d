-- The decision: how far a user reaches with a permission at a moment. Everything that grants something is a row with
-- a validity range, so that the same functions answer for now and for any moment in the past.
--
-- A user holds a permission by a role that they are assigned, by a role that this one inherits from, by an override,
-- or because somebody delegated it to them. A denial wins over everything. What is delegated reaches as far as the
-- delegator holds it themselves, around the delegator, and cannot be delegated on. A role may be held within the
-- user's organization only: there `all` is `organization`. A role's permission may demand a competency
-- (competent.sql). What a scope reaches is in effective-scope.sql.

-- Whether a user was active at a moment.
create function access.was_active(subject uuid, moment timestamptz) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from freehold.user_periods p
    where p.user_id = subject and access.in_force(p.starts_at, p.ends_at, moment))
$$;

-- Whether a user holds any role now. The same as asking whether `roles_of` finds one, for less work.
create function access.has_role(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = subject
      and access.in_force(ur.starts_at, ur.ends_at, now())
      and access.in_force(p.starts_at, p.ends_at, now()))
$$;

-- The roles that a user held at a moment: assigned, active, and everything that these inherited from then.
create function access.roles_of(subject uuid, moment timestamptz) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive held (role_id, parent_id) as (
    select p.role_id, p.parent_id
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = subject
      and access.in_force(ur.starts_at, ur.ends_at, moment)
      and access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id
    from held h
      join freehold.role_periods p on p.role_id = h.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select role_id from held
$$;

-- Why a user held a permission themselves at a moment, by overrides and roles and without delegations; null: they were
-- denied it. One statement, because each costs more than what it reads; and its plan is kept, because Postgres would
-- rather plan it anew on every call.
create function access.own_reasons(subject uuid, permission text, moment timestamptz) returns access.reason[]
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  is_denied boolean;
  why access.reason[];
begin
  with recursive line (role_id, parent_id, top, within) as (
    select p.role_id, p.parent_id, p.role_id, ur.organization_id is not null
    from freehold.user_roles ur
      join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = subject
      and access.in_force(ur.starts_at, ur.ends_at, moment)
      and access.in_force(p.starts_at, p.ends_at, moment)
    union
    select p.role_id, p.parent_id, l.top, l.within
    from line l
      join freehold.role_periods p on p.role_id = l.parent_id
    where access.in_force(p.starts_at, p.ends_at, moment)
  )
  select
    bool_or(g.effect = 'deny'),
    array_agg(row(g.scope, g.kind, g.id, g.name, g.via, subject)::access.reason)
  into is_denied, why
  from (
    select o.effect, o.scope, 'override' as kind, o.id, o.permission as name, null as via
    from freehold.overrides o
    where o.user_id = subject
      and o.permission = own_reasons.permission
      and access.in_force(o.starts_at, o.ends_at, moment)
    union all
    select
      'grant',
      case when l.within and c.scope = 'all' then 'organization' else c.scope end,
      case when l.role_id = l.top then 'role' else 'inherited' end,
      l.role_id,
      (select r.name from freehold.roles r where r.id = l.role_id),
      case when l.role_id <> l.top then (select r.name from freehold.roles r where r.id = l.top) end
    from line l
      cross join lateral (
        select x.scope
        from freehold.role_permissions x
        where x.role_id = l.role_id
          and x.permission = own_reasons.permission
          and access.in_force(x.starts_at, x.ends_at, moment)
          and (
            x.competency_type_id is null
            or access.is_competent(subject, x.competency_type_id, x.competency_level, moment))
        union all
        select 'all'
        where l.role_id = (select r.id from freehold.roles r where r.is_admin)
          and exists (
            select from freehold.permissions x
            where x.name = own_reasons.permission and access.in_force(x.created_at, x.deleted_at, moment))
        offset 0
      ) c
  ) g;
  return case when is_denied then null else coalesce(why, '{}') end;
end $$;

-- The widest scope at which a user held a permission themselves at a moment, or null.
create function access.own_scope(subject uuid, permission text, moment timestamptz) returns access.scope
language sql stable set search_path = pg_catalog, pg_temp as $$
  select max(r.scope) from unnest(access.own_reasons(subject, permission, moment)) r
$$;

-- Why a user holds a permission at a moment, by themselves or because somebody delegated it to them and still holds
-- it. A denial of the user wins over what is delegated to them, too. What is delegated cannot be delegated on: only
-- what the delegator holds themselves counts.
create function access.reasons(subject uuid, permission text, moment timestamptz) returns access.reason[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  why access.reason[] := access.own_reasons(subject, permission, moment);
begin
  if why is null then
    return '{}';
  elsif not exists (
    select from freehold.delegations x
    where x.delegate_id = subject and access.in_force(x.starts_at, x.ends_at, moment))
  then
    return why;
  end if;
  return why || array(
    select row(g.scope, 'delegation', g.id, g.name, g.via, g.holder)::access.reason
    from access.delegated(subject, moment, array[permission]) g);
end $$;

-- The widest scope at which a user holds a permission at a moment, or null.
create function access.decide(subject uuid, permission text, moment timestamptz) returns access.scope
language sql stable set search_path = pg_catalog, pg_temp as $$
  select max(r.scope) from unnest(access.reasons(subject, permission, moment)) r
$$;

-- Whether a user plainly reaches everything with a permission now: a role of theirs carries it so itself, and no
-- override says anything of it. Administrators do, whose requests would otherwise pay for looking at all the rest.
create function access.reaches_all(subject uuid, permission text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return exists (
      select
      from freehold.user_roles ur
        join freehold.role_periods p on p.role_id = ur.role_id
        join freehold.roles r on r.id = ur.role_id
      where ur.user_id = subject
        and ur.organization_id is null
        and access.in_force(ur.starts_at, ur.ends_at, now())
        and access.in_force(p.starts_at, p.ends_at, now())
        and case
          when r.is_admin then exists (
            select from freehold.permissions x
            where x.name = reaches_all.permission and access.in_force(x.created_at, x.deleted_at, now()))
          else exists (
            select from freehold.role_permissions x
            where x.role_id = ur.role_id
              and x.permission = reaches_all.permission
              and x.scope = 'all'
              and x.competency_type_id is null
              and access.in_force(x.starts_at, x.ends_at, now()))
        end)
    and not exists (
      select from freehold.overrides o
      where o.user_id = subject and o.permission = reaches_all.permission);
end $$;

-- The permissions that a user was denied at a moment.
create function access.denied_permissions(subject uuid, moment timestamptz) returns setof text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select o.permission
  from freehold.overrides o
  where o.user_id = subject
    and o.effect = 'deny'
    and access.in_force(o.starts_at, o.ends_at, moment)
$$;

-- The narrower of two scopes; null when the second one is.
create function access.narrower_scope(a access.scope, b access.scope) returns access.scope
language sql immutable
return case when a < b then a else b end;

