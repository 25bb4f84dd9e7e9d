-- Handing out: nobody gives what they do not hold, nor further or elsewhere than they hold it, nor, with an API key,
-- what the key does not name.
--
-- Threat: a user who may assign roles or grant permissions makes themselves or somebody else more powerful than they
-- are. The triggers of roles, assignments, overrides, delegations and settings call these functions before a row is
-- written, so that nobody holds by a grant what they must hold to make it. Without an admission it is the system that
-- acts, which may give everything. How a place is compared with another is in lacking.sql.

-- What a role carries with all its ancestors, active or not: a user who is given a role that is inactive has it as
-- soon as it is active.
create function access.role_content(role uuid) returns table (permission text, scope access.scope)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (id, parent_id, is_admin) as (
    select r.id, r.parent_id, r.is_admin from freehold.roles r where r.id = role
    union
    select r.id, r.parent_id, r.is_admin
    from line l
      join freehold.roles r on r.id = l.parent_id
  )
  select rp.permission, rp.scope::access.scope
  from line l
    join freehold.role_permissions rp on rp.role_id = l.id
  where rp.ends_at is null or rp.ends_at > now()
  union
  select x.name, 'all'
  from line l
    cross join freehold.permissions x
  where l.is_admin and x.deleted_at is null
$$;

-- Refuses when an API key does not name a permission that is about to be handed out with it.
create function access.require_key_permission(permissions text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  lacking text := (
    select min(p.name)
    from unnest(permissions) p (name)
    where p.name <> all (access.key_permissions(access.principal())));
begin
  if lacking is not null then
    perform access.refuse(
      'forbidden',
      format('This API key does not include %s, so it cannot grant it.', lacking));
  end if;
end $$;

-- Refuses when the admitted user does not hold each permission as far as it is handed out, there where the
-- `receivers` are; without receivers the names of the scopes are compared.
create function access.user_must_hold(permissions text[], scopes access.scope[], receivers uuid[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  lacks access.placed;
begin
  if access.principal() is null then
    return;
  end if;
  lacks := access.lacking(
    array(
      select row(n.permission, n.scope, case when n.scope between 'team' and 'organization' then r.id end)::access.placed
      from unnest(permissions, scopes) as n (permission, scope)
        left join access.one_of_each_unit(receivers) r (id) on true),
    null);
  if lacks.holder is not null then
    perform access.refuse(
      'forbidden',
      format('You do not hold %s in all units that it would reach at scope %s, so you cannot grant it.',
        lacks.permission, lacks.scope));
  elsif lacks.permission is not null then
    perform access.refuse(
      'forbidden',
      format('You do not hold %s at scope %s, so you cannot grant it.', lacks.permission, lacks.scope));
  end if;
end $$;

-- The same, also for what the API key of this transaction names.
create function access.must_hold(permissions text[], scopes access.scope[], receivers uuid[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_key_permission(permissions), access.user_must_hold(permissions, scopes, receivers);
end $$;

-- Refuses to hand out a role that carries more than the admitted user holds; `within` the organization of the receivers,
-- or everywhere.
create function access.must_hold_role(role uuid, receivers uuid[], within boolean default false) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  needed record;
begin
  if access.principal() is null then
    return;
  end if;
  select
    array_agg(g.permission) as permissions,
    array_agg(case when within then least(g.scope, 'organization') else g.scope end) as scopes
  into needed
  from access.role_content(role) g;
  perform access.must_hold(needed.permissions, needed.scopes, receivers);
end $$;

-- Whether a user holds a permission at scope `team`, `department` or `organization`, so that moving them changes what they can
-- access.
create function access.depends_on_unit(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from access.own_grants(subject, now()) g
    group by g.permission
    having max(g.scope) between 'team' and 'organization')
$$;

-- The start of a new grant. It must not be in the past, because history must not change; up to a minute ago counts as
-- now, because clocks differ. It must be before the end. The system may use any time.
create function access.begins(starts timestamptz, ends timestamptz) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return starts;
  elsif starts < now() - interval '1 minute' then
    perform access.refuse('invalid_request', 'lies in the past', 'starts_at');
  elsif ends <= greatest(starts, now()) then
    perform access.refuse('invalid_request', 'must be after the start, and in the future', 'ends_at');
  end if;
  return greatest(starts, now());
end $$;

-- The end of a grant: not before now, and not before its start. A grant that has ended stays ended.
create function access.ends(starts timestamptz, was timestamptz, becomes timestamptz) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return becomes;
  elsif was <= now() then
    perform access.refuse('illegal_state', 'This has ended.');
  end if;
  if becomes is null then
    perform access.refuse('invalid_request', 'must be a timestamp', 'ends_at');
  end if;
  return greatest(becomes, now(), starts);
end $$;

-- Before a permission is granted to a role or delegated: an API key must name it.
create function access.before_key_grants() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.key() is not null then
    perform access.require_key_permission(array[new.permission]);
  end if;
  return new;
end $$;

-- Before a role is delegated: an API key must name everything that it carries.
create function access.before_key_delegates_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.key() is not null and new.role_id is not null then
    perform access.require_key_permission(array(select c.permission from access.role_content(new.role_id) c));
  end if;
  return new;
end $$;
