-- Deciding, with less work: a role's line is walked in a loop over arrays, which costs half of what a recursive query does, and a delegated role
-- is asked for the one permission and not for all that it carries.

-- Roles and all that they inherit from, as far as they were on at a moment.
create function access.line_of(roles uuid[], moment timestamptz) returns uuid[] language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  line uuid[];
  upper uuid[];
begin
  select array_agg(p.role_id), array_agg(p.parent_id) filter (where p.parent_id is not null) into line, upper
  from freehold.role_periods p where p.role_id = any (roles) and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment);
  while upper is not null loop
    select line || array_agg(p.role_id), array_agg(p.parent_id) filter (where p.parent_id is not null) into line, upper
    from freehold.role_periods p
    where p.role_id = any (upper) and p.role_id <> all (line) and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment);
  end loop;
  return line;
end $$;
--> statement-breakpoint
-- How far a line of roles carried a permission at a moment: 1 (own) to 4 (all), or null.
create function access.carried(line uuid[], permission text, moment timestamptz) returns integer language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  widest integer;
begin
  select max(array_position(array['own', 'team', 'department', 'all'], rp.scope)) into widest
  from freehold.role_permissions rp
  where rp.role_id = any (line) and rp.permission = carried.permission and rp.starts_at <= moment and (rp.ends_at is null or rp.ends_at > moment);
  if widest is distinct from 4 and exists (select from freehold.roles r where r.id = any (line) and r.is_admin)
    and exists (select from freehold.permissions x where x.name = carried.permission and x.created_at <= moment and (x.deleted_at is null or x.deleted_at > moment)) then
    return 4;
  end if;
  return widest;
end $$;
--> statement-breakpoint
-- The widest scope at which a person held a permission themselves at a moment (by roles and overrides, without delegations), or null.
create or replace function access.own_scope(person uuid, permission text, moment timestamptz) returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  is_denied boolean;
  granted integer;
begin
  select bool_or(o.effect = 'deny'), max(array_position(array['own', 'team', 'department', 'all'], o.scope)) into is_denied, granted
  from freehold.overrides o
  where o.user_id = person and o.permission = own_scope.permission and o.starts_at <= moment and (o.ends_at is null or o.ends_at > moment);
  if is_denied then
    return null;
  end if;
  return (array['own', 'team', 'department', 'all'])[greatest(granted, access.carried(access.line_of(
    array(select ur.role_id from freehold.user_roles ur where ur.user_id = person and ur.starts_at <= moment and (ur.ends_at is null or ur.ends_at > moment)), moment), permission, moment))];
end $$;
--> statement-breakpoint
-- Who holds a permission for a person at a moment, and how far: the person themselves, and whoever delegated it to them and still holds it.
-- A denial of the person wins over what is delegated to them, too. What is delegated cannot be delegated on: only own_scope counts.
create or replace function access.sources(person uuid, permission text, moment timestamptz) returns table (holder uuid, scope text) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  d record;
begin
  if exists (select from freehold.overrides o where o.user_id = person and o.permission = sources.permission and o.effect = 'deny'
      and o.starts_at <= moment and (o.ends_at is null or o.ends_at > moment)) then
    return;
  end if;
  holder := person;
  scope := access.own_scope(person, permission, moment);
  if scope is not null then
    return next;
  end if;
  for d in
    select x.id, x.delegator_id, x.role_id from freehold.delegations x
    where x.delegate_id = person and x.ends_at > moment and x.starts_at <= moment and x.decision = 'approved' and x.decided_at <= moment
      and (x.revoked_at is null or x.revoked_at > moment)
  loop
    holder := d.delegator_id;
    if d.role_id is null then
      select 'all' into scope from freehold.delegation_permissions p where p.delegation_id = d.id and p.permission = sources.permission;
    else
      scope := (array['own', 'team', 'department', 'all'])[access.carried(access.line_of(array[d.role_id], moment), permission, moment)];
    end if;
    -- Most delegations are of something else: what follows costs more.
    continue when scope is null or not access.was_active(d.delegator_id, moment)
      or d.role_id not in (select access.roles_of(d.delegator_id, moment));
    -- narrower() of null is null: the delegator no longer holds it.
    scope := access.narrower(scope, access.own_scope(d.delegator_id, permission, moment));
    if scope is not null then
      return next;
    end if;
  end loop;
end $$;
--> statement-breakpoint
-- Up to a hundred questions at once: {user_id?, permission | any_of | role, resource?: {owner_id?, unit_id?}}, answered in order with
-- {allowed, scope, because}; as before, narrowed to what a key names without a function for each. About oneself anybody may ask; about others who reaches them with user:read.
create or replace function access.ask(checks jsonb) returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  far record;
  wrong record;
  answer jsonb;
  -- What the key names by which somebody asks about themselves, or null.
  names text[] := access.narrowed(me);
begin
  if me is null then
    return null;
  end if;
  select format('checks/%s/%s', c.n - 1, p.field) as field, p.name into wrong
  from jsonb_array_elements(checks) with ordinality as c (x, n)
    cross join lateral (select 'permission' as field, c.x ->> 'permission' as name union all select 'any_of', jsonb_array_elements_text(c.x -> 'any_of')
      union all select 'role', c.x ->> 'role') p
  where p.name is not null and case p.field when 'role' then not exists (select from freehold.roles r where r.name = p.name and r.deleted_at is null)
    else not exists (select from freehold.permissions x where x.name = p.name and x.deleted_at is null) end
  order by c.n limit 1;
  if found then
    perform access.refuse('invalid_request', format('there is no %s here', wrong.name), wrong.field);
  end if;
  if exists (select from jsonb_array_elements(checks) c (x) where (c.x ->> 'user_id')::uuid <> me) then
    select r.scope, r.units, r.owners into far from access.reach(me, 'user:read') r;
    if exists (select from jsonb_array_elements(checks) c (x) where (c.x ->> 'user_id')::uuid <> me and not exists (
        select from freehold.users u where u.id = (c.x ->> 'user_id')::uuid
          and (far.scope = 'all' or (far.scope is not null and (u.id = any (far.owners) or u.unit_id = any (far.units)))))) then
      perform access.refuse('not_found', 'There is no such user.');
    end if;
  end if;
  -- What is asked is matched by equality, and what a person holds, reaches and is given is found out once for all that is asked about them.
  with c as materialized (
    select t.n, coalesce((t.x ->> 'user_id')::uuid, me) as person, t.x ->> 'permission' as permission, t.x -> 'any_of' as any_of, t.x ->> 'role' as role,
      nullif(t.x -> 'resource', 'null') is null as anywhere, (t.x -> 'resource' ->> 'owner_id')::uuid as owner_id, (t.x -> 'resource' ->> 'unit_id')::uuid as unit_id
    from jsonb_array_elements(checks) with ordinality as t (x, n)
  ), wanted as materialized (
    select c.n, c.person, c.permission from c where c.permission is not null
    union select c.n, c.person, jsonb_array_elements_text(c.any_of) from c
  ), g as materialized (
    select p.person, y.* from (select w.person, array_agg(w.permission) as permissions from wanted w group by w.person) p
      cross join lateral access.whole_grants(p.person, now(), p.permissions) y
    where names is null or p.person <> me or y.permission = any (names)
  ), m as materialized (
    select c.n, c.anywhere, c.owner_id, c.unit_id, g.* from wanted w join g on g.person = w.person and g.permission = w.permission join c on c.n = w.n
  ), f as materialized (
    select x.holder, x.scope, array(select access.units_of(x.holder, x.scope)) as units
    from (select distinct m.holder, m.scope from m where m.unit_id is not null and m.scope in ('team', 'department')) x
  ), h as materialized (
    select p.person, y.* from (select distinct c.person from c where c.role is not null) p cross join lateral access.whole_roles(p.person, now()) y
    where names is null or p.person <> me or not exists (select from access.role_grants(y.id, now()) x where x.permission <> all (names))
  ), hit as (
    select m.n, array_position(array['own', 'team', 'department', 'all'], m.scope) as width, jsonb_build_object('kind', m.kind, 'id', m.id, 'name', m.name, 'via', m.via) as why
    from m left join f on f.holder = m.holder and f.scope = m.scope
    where m.anywhere or m.scope = 'all' or m.owner_id = m.holder or m.unit_id = any (f.units)
    union all
    select c.n, null, jsonb_build_object('kind', h.kind, 'id', h.id, 'name', h.name, 'via', h.via) from c join h on h.person = c.person and h.name = c.role
  ), told as (
    select h.n, (array['own', 'team', 'department', 'all'])[max(h.width)] as scope, jsonb_agg(distinct h.why) as because from hit h group by h.n
  )
  select jsonb_agg(jsonb_build_object('allowed', t.n is not null, 'scope', t.scope, 'because', coalesce(t.because, '[]')) order by c.n) into answer
  from c left join told t on t.n = c.n;
  return answer;
end $$;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
