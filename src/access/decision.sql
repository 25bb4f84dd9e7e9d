-- The decision: how far a user reaches with a permission at a moment. Everything that grants something is a row with
-- a validity range, so that the same functions answer for now and for any moment in the past.
--
-- A user holds a permission by a role that they are assigned, by a role that this one inherits from, by an override,
-- or because somebody delegated it to them. A denial wins over everything. What is delegated reaches as far as the
-- delegator holds it themselves, around the delegator, and cannot be delegated on. What a scope reaches is in
-- effective-scope.sql.

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

-- Roles with everything that they inherited from, as far as these were active at a moment.
create function access.role_ancestry(roles uuid[], moment timestamptz) returns uuid[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  line uuid[];
  upper uuid[];
begin
  select array_agg(p.role_id), array_agg(p.parent_id) filter (where p.parent_id is not null) into line, upper
  from freehold.role_periods p
  where p.role_id = any (roles) and access.in_force(p.starts_at, p.ends_at, moment);
  while upper is not null loop
    select line || array_agg(p.role_id), array_agg(p.parent_id) filter (where p.parent_id is not null) into line, upper
    from freehold.role_periods p
    where p.role_id = any (upper)
      and p.role_id <> all (line)
      and access.in_force(p.starts_at, p.ends_at, moment);
  end loop;
  return line;
end $$;

-- The widest scope at which roles carried a permission at a moment, or null. The administrator's role carries
-- everything there is.
create function access.role_scope(line uuid[], permission text, moment timestamptz) returns access.scope
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  widest access.scope;
begin
  select max(rp.scope::access.scope) into widest
  from freehold.role_permissions rp
  where rp.role_id = any (line)
    and rp.permission = role_scope.permission
    and access.in_force(rp.starts_at, rp.ends_at, moment);
  if widest is distinct from 'all'
    and exists (select from freehold.roles r where r.id = any (line) and r.is_admin)
    and exists (
      select from freehold.permissions x
      where x.name = role_scope.permission and access.in_force(x.created_at, x.deleted_at, moment))
  then
    return 'all';
  end if;
  return widest;
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

-- The widest scope at which a user held a permission themselves at a moment (by roles and overrides, without
-- delegations), or null.
create function access.own_scope(subject uuid, permission text, moment timestamptz) returns access.scope
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  is_denied boolean;
  granted access.scope;
begin
  select bool_or(o.effect = 'deny'), max(o.scope::access.scope) into is_denied, granted
  from freehold.overrides o
  where o.user_id = subject
    and o.permission = own_scope.permission
    and access.in_force(o.starts_at, o.ends_at, moment);
  if is_denied then
    return null;
  end if;
  return greatest(
    granted,
    access.role_scope(
      access.role_ancestry(
        array(
          select ur.role_id
          from freehold.user_roles ur
          where ur.user_id = subject and access.in_force(ur.starts_at, ur.ends_at, moment)),
        moment),
      permission,
      moment)
  );
end $$;

-- The narrower of two scopes; null when the second one is.
create function access.narrower_scope(a access.scope, b access.scope) returns access.scope
language sql immutable
return case when a < b then a else b end;

-- Who holds a permission for a user at a moment, and how far: the user, and whoever delegated it to them and still
-- holds it. A denial of the user wins over what is delegated to them, too. What is delegated cannot be delegated on:
-- only the delegator's `own_scope` counts.
create function access.grant_sources(subject uuid, permission text, moment timestamptz)
returns table (holder uuid, scope access.scope)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  d record;
begin
  if exists (
    select from freehold.overrides o
    where o.user_id = subject
      and o.permission = grant_sources.permission
      and o.effect = 'deny'
      and access.in_force(o.starts_at, o.ends_at, moment))
  then
    return;
  end if;
  holder := subject;
  scope := access.own_scope(subject, permission, moment);
  if scope is not null then
    return next;
  end if;
  for d in
    select x.id, x.delegator_id, x.role_id
    from freehold.delegations x
    where x.delegate_id = subject
      and access.in_force(x.starts_at, x.ends_at, moment)
      and x.decision = 'approved'
      and access.in_force(x.decided_at, x.revoked_at, moment)
  loop
    holder := d.delegator_id;
    if d.role_id is null then
      select 'all' into scope
      from freehold.delegation_permissions p
      where p.delegation_id = d.id and p.permission = grant_sources.permission;
    else
      scope := access.role_scope(access.role_ancestry(array[d.role_id], moment), permission, moment);
    end if;
    -- Most delegations are of something else; what follows costs more.
    continue when scope is null
      or not access.was_active(d.delegator_id, moment)
      or d.role_id not in (select access.roles_of(d.delegator_id, moment));
    -- null: the delegator no longer holds it.
    scope := access.narrower_scope(scope, access.own_scope(d.delegator_id, permission, moment));
    if scope is not null then
      return next;
    end if;
  end loop;
end $$;

-- The widest scope at which a user holds a permission at a moment, or null.
create function access.decide(subject uuid, permission text, moment timestamptz) returns access.scope
language sql stable set search_path = pg_catalog, pg_temp as $$
  select max(s.scope) from access.grant_sources(subject, permission, moment) s
$$;
