-- Authorization in depth: what a person may do, how far, through what, at any moment; and that nobody makes themselves more than they are.
--
-- Threat: somebody hands out, inherits, delegates or keeps more than they hold; two who act at once get past a rule that each alone would meet;
-- the past is forgotten. So the rules are triggers, which no statement passes by, they lock what they count, and what decides has a validity range.
--
-- Widths of scopes: own 1, team 2, department 3, all 4 (array_position in the array below). A moment lies in a range when starts_at <= moment < ends_at.

drop policy read_users on freehold.users;
--> statement-breakpoint
drop policy read_sessions on freehold.sessions;
--> statement-breakpoint
drop policy read_user_roles on freehold.user_roles;
--> statement-breakpoint
-- Ranges that the triggers below keep from now on.
insert into freehold.user_periods (id, user_id, starts_at) select gen_random_uuid(), u.id, u.created_at from freehold.users u where u.is_active;
--> statement-breakpoint
insert into freehold.role_periods (id, role_id, parent_id, starts_at) select gen_random_uuid(), r.id, r.parent_id, r.created_at from freehold.roles r where r.is_active;
--> statement-breakpoint
update freehold.roles set is_admin = true where is_system and name = (select coalesce(min(x.name) filter (where x.name = 'owner'), min(x.name) filter (where x.name = 'admin')) from freehold.roles x where x.is_system);
--> statement-breakpoint
-- The scope that reaches less.
create function access.narrower(a text, b text) returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case when array_position(array['own', 'team', 'department', 'all'], a) < array_position(array['own', 'team', 'department', 'all'], b) then a else b end
$$;
--> statement-breakpoint
create function access.was_active(person uuid, moment timestamptz) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (select from freehold.user_periods p where p.user_id = person and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment))
$$;
--> statement-breakpoint
-- The roles that a person held at a moment: assigned, active, and everything these inherited from then.
create or replace function access.roles_of(person uuid, moment timestamptz) returns setof uuid language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive held (role_id, parent_id) as (
    select p.role_id, p.parent_id
    from freehold.user_roles ur join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = person and ur.starts_at <= moment and (ur.ends_at is null or ur.ends_at > moment)
      and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment)
    union
    select p.role_id, p.parent_id from held h join freehold.role_periods p on p.role_id = h.parent_id
    where p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment)
  )
  select role_id from held
$$;
--> statement-breakpoint
-- What a role carried at a moment, with what it inherited, of the permissions that are wanted (null: of all). The administrator's carries
-- everything there is. `offset 0`: from few roles to what they carry by the index, however many a recursion is thought to find.
create function access.role_grants(role uuid, moment timestamptz, wanted text[] default null) returns table (permission text, scope text) language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (role_id, parent_id) as (
    select p.role_id, p.parent_id from freehold.role_periods p where p.role_id = role and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment)
    union
    select p.role_id, p.parent_id from line l join freehold.role_periods p on p.role_id = l.parent_id
    where p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment)
  )
  select rp.permission, rp.scope from line l cross join lateral (
    select x.permission, x.scope from freehold.role_permissions x
    where x.role_id = l.role_id and x.starts_at <= moment and (x.ends_at is null or x.ends_at > moment) offset 0) rp
  where wanted is null or rp.permission in (select unnest(wanted))
  union all
  select x.name, 'all' from line l join freehold.roles r on r.id = l.role_id and r.is_admin
    cross join freehold.permissions x where x.created_at <= moment and (x.deleted_at is null or x.deleted_at > moment)
      and (wanted is null or x.name in (select unnest(wanted)))
$$;
--> statement-breakpoint
create function access.denied(person uuid, moment timestamptz) returns setof text language sql stable set search_path = pg_catalog, pg_temp as $$
  select o.permission from freehold.overrides o
  where o.user_id = person and o.effect = 'deny' and o.starts_at <= moment and (o.ends_at is null or o.ends_at > moment)
$$;
--> statement-breakpoint
-- The widest scope at which a person held a permission themselves at a moment (by roles and overrides, without delegations), or null.
create function access.own_scope(person uuid, permission text, moment timestamptz) returns text language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  widest integer;
begin
  if exists (select from freehold.overrides o where o.user_id = person and o.permission = own_scope.permission and o.effect = 'deny'
      and o.starts_at <= moment and (o.ends_at is null or o.ends_at > moment)) then
    return null;
  end if;
  with recursive held (role_id, parent_id) as (
    select p.role_id, p.parent_id
    from freehold.user_roles ur join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = person and ur.starts_at <= moment and (ur.ends_at is null or ur.ends_at > moment)
      and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment)
    union
    select p.role_id, p.parent_id from held h join freehold.role_periods p on p.role_id = h.parent_id
    where p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment)
  )
  select max(array_position(array['own', 'team', 'department', 'all'], g.scope)) into widest from (
    select rp.scope from held h join freehold.role_permissions rp on rp.role_id = h.role_id and rp.permission = own_scope.permission
    where rp.starts_at <= moment and (rp.ends_at is null or rp.ends_at > moment)
    union all
    select 'all' from held h join freehold.roles r on r.id = h.role_id and r.is_admin
    where exists (select from freehold.permissions x where x.name = own_scope.permission and x.created_at <= moment and (x.deleted_at is null or x.deleted_at > moment))
    union all
    select o.scope from freehold.overrides o where o.user_id = person and o.permission = own_scope.permission and o.effect = 'grant'
      and o.starts_at <= moment and (o.ends_at is null or o.ends_at > moment)
  ) g;
  return (array['own', 'team', 'department', 'all'])[widest];
end $$;
--> statement-breakpoint
-- Who holds a permission for a person at a moment, and how far: the person themselves, and whoever delegated it to them and still holds it.
-- A denial of the person wins over what is delegated to them, too. What is delegated cannot be delegated on: only own_scope counts.
create function access.sources(person uuid, permission text, moment timestamptz) returns table (holder uuid, scope text) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
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
      select g.scope into scope from access.role_grants(d.role_id, moment, array[sources.permission]) g
      order by array_position(array['own', 'team', 'department', 'all'], g.scope) desc limit 1;
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
-- The widest scope at which a person holds a permission at a moment, or null.
create or replace function access.decide(person uuid, permission text, moment timestamptz) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
  select s.scope from access.sources(person, permission, moment) s
  order by array_position(array['own', 'team', 'department', 'all'], s.scope) desc limit 1
$$;
--> statement-breakpoint
-- A unit and everything under it.
create function access.under(unit uuid) returns setof uuid language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive tree (id) as (select unit union select u.id from tree t join freehold.units u on u.parent_id = t.id) select id from tree
$$;
--> statement-breakpoint
-- The units that a scope reaches from where somebody is: team: their unit; department: the nearest department above, and all under it.
create function access.units_of(person uuid, scope text) returns setof uuid language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, kind, parent_id, step) as (
    select u.id, u.kind, u.parent_id, 0 from freehold.users p join freehold.units u on u.id = p.unit_id where p.id = person
    union all
    select u.id, u.kind, u.parent_id, up.step + 1 from up join freehold.units u on u.id = up.parent_id where up.kind <> 'department' and units_of.scope = 'department'
  )
  select access.under(x.id) from (select id from up where kind = 'department' order by step limit 1) x where units_of.scope = 'department'
  union
  select p.unit_id from freehold.users p where p.id = person and p.unit_id is not null and units_of.scope in ('team', 'department')
$$;
--> statement-breakpoint
-- How far a person reaches with a permission now: the widest scope; unless that is `all`, whose things and which units. What is delegated reaches
-- as far as it did for the delegator, around the delegator.
create function access.reach(person uuid, permission text, out scope text, out units uuid[], out owners uuid[]) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  s record;
begin
  units := '{}';
  owners := '{}';
  for s in select x.holder, x.scope as reaches from access.sources(person, permission, now()) x loop
    if scope is null or array_position(array['own', 'team', 'department', 'all'], s.reaches) > array_position(array['own', 'team', 'department', 'all'], scope) then
      scope := s.reaches;
    end if;
    owners := owners || s.holder;
    exit when scope = 'all';
    if s.reaches <> 'own' then
      units := array(select unnest(units) union select access.units_of(s.holder, s.reaches));
    end if;
  end loop;
end $$;
--> statement-breakpoint
-- Everything that a person holds at a moment, with the reason for each: {kind: role | inherited | override | delegation, id, name, via}.
create function access.own_grants(person uuid, moment timestamptz, wanted text[] default null) returns table (permission text, scope text, kind text, id uuid, name text, via text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive held (role_id, parent_id, top) as (
    select p.role_id, p.parent_id, p.role_id
    from freehold.user_roles ur join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = person and ur.starts_at <= moment and (ur.ends_at is null or ur.ends_at > moment)
      and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment)
    union
    select p.role_id, p.parent_id, h.top from held h join freehold.role_periods p on p.role_id = h.parent_id
    where p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment)
  ), carried (permission, scope, role_id, top) as (
    select rp.permission, rp.scope, h.role_id, h.top from held h cross join lateral (
      select x.permission, x.scope from freehold.role_permissions x
      where x.role_id = h.role_id and x.starts_at <= moment and (x.ends_at is null or x.ends_at > moment) offset 0) rp
    where wanted is null or rp.permission in (select unnest(wanted))
    union all
    select x.name, 'all', h.role_id, h.top from held h join freehold.roles r on r.id = h.role_id and r.is_admin
      cross join freehold.permissions x where x.created_at <= moment and (x.deleted_at is null or x.deleted_at > moment)
        and (wanted is null or x.name in (select unnest(wanted)))
  )
  select c.permission, c.scope, case when c.role_id = c.top then 'role' else 'inherited' end, c.role_id, r.name, case when c.role_id <> c.top then t.name end
  from carried c join freehold.roles r on r.id = c.role_id join freehold.roles t on t.id = c.top
  where c.permission not in (select access.denied(person, moment))
  union all
  select o.permission, o.scope, 'override', o.id, o.permission, null from freehold.overrides o
  where o.user_id = person and o.effect = 'grant' and o.starts_at <= moment and (o.ends_at is null or o.ends_at > moment)
    and (wanted is null or o.permission in (select unnest(wanted))) and o.permission not in (select access.denied(person, moment))
$$;
--> statement-breakpoint
create function access.grants(person uuid, moment timestamptz, wanted text[] default null) returns table (permission text, scope text, kind text, id uuid, name text, via text, holder uuid)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select g.permission, g.scope, g.kind, g.id, g.name, g.via, person from access.own_grants(person, moment, wanted) g where access.was_active(person, moment)
  union all
  select c.permission, (array['own', 'team', 'department', 'all'])[least(array_position(array['own', 'team', 'department', 'all'], c.scope), o.width)], 'delegation', d.id, u.username, r.name, d.delegator_id
  from freehold.delegations d join freehold.users u on u.id = d.delegator_id left join freehold.roles r on r.id = d.role_id
    cross join lateral (
      select g.permission, g.scope from access.role_grants(d.role_id, moment, wanted) g where d.role_id in (select access.roles_of(d.delegator_id, moment))
      union all
      select p.permission, 'all' from freehold.delegation_permissions p where p.delegation_id = d.id and (wanted is null or p.permission in (select unnest(wanted)))
    ) c
    join lateral (
      select g.permission, max(array_position(array['own', 'team', 'department', 'all'], g.scope)) as width
      from access.own_grants(d.delegator_id, moment, wanted) g group by g.permission
    ) o on o.permission = c.permission
  where d.delegate_id = person and d.ends_at > moment and d.starts_at <= moment and d.decision = 'approved' and d.decided_at <= moment
    and (d.revoked_at is null or d.revoked_at > moment) and access.was_active(d.delegator_id, moment) and access.was_active(person, moment)
    and c.permission not in (select access.denied(person, moment))
$$;
--> statement-breakpoint
create or replace function access.permissions_of(person uuid, moment timestamptz) returns text[] language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(distinct g.permission), array[]::text[]) from access.grants(person, moment) g
$$;
--> statement-breakpoint
-- The names of the roles assigned to a person at a moment (without what they inherit from).
create or replace function access.role_names(person uuid, moment timestamptz) returns text[] language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(distinct r.name), array[]::text[])
  from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
  where ur.user_id = person and ur.starts_at <= moment and (ur.ends_at is null or ur.ends_at > moment)
    and exists (select from freehold.role_periods p where p.role_id = r.id and p.starts_at <= moment and (p.ends_at is null or p.ends_at > moment))
$$;
--> statement-breakpoint
-- At most a hundred permissions travel in a token, Freehold's own first; services ask authz/check for the rest.
create function access.told_permissions(person uuid) returns text[] language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(x.name order by x.name), array[]::text[]) from (
    select p as name from unnest(access.permissions_of(person, now())) p
    order by split_part(p, ':', 1) not in ('user', 'role', 'permission', 'session', 'api_key', 'unit', 'delegation', 'setting', 'organization', 'invitation', 'activity', 'tenant'), p
    limit 100) x
$$;
--> statement-breakpoint
-- The primary role, if it is still held and on; else the first of those that are.
create function access.role_now(u freehold.users) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.name from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
  where ur.user_id = u.id and r.is_active and ur.starts_at <= now() and (ur.ends_at is null or ur.ends_at > now())
  order by r.name = u.role desc nulls last, ur.starts_at, r.name limit 1
$$;
--> statement-breakpoint
-- The roles of the admitted person now: {role, roles}; without what they carry, which takes longer to find out.
create function access.my_roles() returns jsonb language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('role', (select access.role_now(u) from freehold.users u where u.id = access.principal()),
    'roles', access.role_names(access.principal(), now()))
$$;
--> statement-breakpoint
-- What the admitted person holds now: {role, roles, permissions}.
create or replace function access.held() returns jsonb language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.my_roles() || jsonb_build_object('permissions', access.permissions_of(access.principal(), now()))
$$;
--> statement-breakpoint
-- What a token carries beside the id of its session. The id is shown in lists and in the audit; whoever sees it there, and has the app login,
-- is not let in by it.
create function access.session_proof(session uuid) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
  select encode(access.mac('session:' || session), 'hex')
$$;
--> statement-breakpoint
-- Records a refusal after the answer. Takes nothing on trust but the request; the person is the session's, if it is real.
create or replace function access.record_refusal(tenant_id uuid, credential jsonb, code text, permission text, request jsonb)
returns void language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  person freehold.users;
begin
  perform access.check_tenant(tenant_id);
  select u.* into person from freehold.sessions s join freehold.users u on u.id = s.user_id
  where s.id = (credential ->> 'session_id')::uuid and u.id = (credential ->> 'user_id')::uuid and s.ended_at is null
    and credential ->> 'proof' = access.session_proof(s.id);
  perform access.attribute(person.id, person.username, request);
  perform access.record(case code when 'token_wrong_tenant' then 'SUSPICIOUS_ACTIVITY' else 'ACCESS_REFUSED' end, 'refuse', 'request', null, null,
    jsonb_build_object('code', code, 'permission', permission), case code when 'token_wrong_tenant' then 50 else 10 end);
end $$;
--> statement-breakpoint
create or replace function access.claims_of(u freehold.users, s freehold.sessions, t freehold.tenant) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('user_id', u.id, 'session_id', s.id, 'proof', access.session_proof(s.id), 'username', u.username, 'email', u.email, 'role', access.role_now(u),
    'roles', access.role_names(u.id, now()), 'permissions', access.told_permissions(u.id), 'amr', s.amr,
    'auth_time', floor(extract(epoch from s.created_at)),
    'must_change_password', u.must_change_password or u.password_changed_at <= now() - make_interval(days => t.password_days),
    'password_expires_at', u.password_changed_at + make_interval(days => t.password_days))
$$;
--> statement-breakpoint
-- As before, but whoever was deactivated is told so, also by a session that ended with it.
create or replace function access.refresh(tenant_id uuid, presented bytea, successor bytea, request jsonb) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  r freehold.refresh_tokens;
  next_link freehold.refresh_tokens;
  s freehold.sessions;
  u freehold.users;
begin
  select x.* into s from freehold.refresh_tokens l join freehold.sessions x on x.id = l.session_id where l.token_hash = presented;
  select * into u from freehold.users x where x.id = s.user_id;
  if s.id is null then
    return jsonb_build_object('outcome', 'invalid');
  elsif not u.is_active then
    return jsonb_build_object('outcome', 'inactive');
  elsif s.ended_at is not null or s.expires_at <= now() or s.last_active_at <= now() - make_interval(days => t.idle_days) then
    return jsonb_build_object('outcome', 'invalid');
  elsif not exists (select from access.roles_of(u.id, now())) then
    return jsonb_build_object('outcome', 'inactive');
  end if;
  perform access.attribute(u.id, u.username, request);
  update freehold.refresh_tokens l set used_at = clock_timestamp(), successor_hash = successor
  where l.token_hash = presented and l.used_at is null and l.expires_at > now() returning l.* into r;
  if r.token_hash is not null then
    insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at) values (successor, s.id, request ->> 'agent', s.expires_at);
  else
    select * into r from freehold.refresh_tokens l where l.token_hash = presented;
    if r.used_at is null then
      return jsonb_build_object('outcome', 'invalid');
    end if;
    select * into next_link from freehold.refresh_tokens l where l.token_hash = r.successor_hash;
    if r.successor_hash <> successor or next_link.used_at is not null or r.used_at < clock_timestamp() - interval '10 seconds'
      or next_link.device is distinct from request ->> 'agent' then
      update freehold.sessions x set ended_at = now(), ended_because = 'refresh_reused' where x.id = s.id and x.ended_at is null;
      perform access.record('SUSPICIOUS_ACTIVITY', 'refresh', 'session', s.id::text, null, jsonb_build_object('reason', 'refresh_reused'), 80);
      return jsonb_build_object('outcome', 'reused');
    end if;
  end if;
  update freehold.sessions x set last_active_at = now() where x.id = s.id and x.ended_at is null returning x.* into s;
  if s.id is null then
    return jsonb_build_object('outcome', 'invalid');
  end if;
  return jsonb_build_object('outcome', 'ok', 'claims', access.claims_of(u, s, t));
end $$;
--> statement-breakpoint
-- The permission that this transaction was admitted with; policies that let something be written name it.
create function access.permission() returns text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.facts() ->> 'permission'
$$;
--> statement-breakpoint
-- The units that the admitted person reaches with the permission of this transaction.
create function access.units() returns uuid[] language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select array(select x::uuid from jsonb_array_elements_text(access.facts() -> 'units') x)
$$;
--> statement-breakpoint
-- Whose things the admitted person reaches: their own, and those of who delegated the permission to them.
create function access.owners() returns uuid[] language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select array(select x::uuid from jsonb_array_elements_text(access.facts() -> 'owners') x)
$$;
--> statement-breakpoint
-- Whether a list is better walked in its order than put together from units: every unit costs a page of rows, and walking costs a row for
-- each that is not reached; the two meet where the square of the units that are reached is the number of units.
create function access.walks() returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.scope() = 'all' or cardinality(access.units()) ^ 2 > (select count(*) from freehold.units)
$$;
--> statement-breakpoint
-- Whether somebody holds any role now: what roles_of begins with, and less work.
create function access.has_role(person uuid) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from freehold.user_roles ur join freehold.role_periods p on p.role_id = ur.role_id
    where ur.user_id = person and ur.starts_at <= now() and (ur.ends_at is null or ur.ends_at > now())
      and p.starts_at <= now() and (p.ends_at is null or p.ends_at > now()))
$$;
--> statement-breakpoint
-- The admission: proves the credential {session_id, user_id, proof}, decides the permission (null: any admitted person, scope own),
-- seals principal and reach. Raises FH401 session_ended, FH403 user_inactive | password_change_required | forbidden, FH503.
create or replace function access.admit(tenant_id uuid, credential jsonb, permission text, request jsonb, any_password boolean default false)
returns table (user_id uuid, session_id uuid, scope text) language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  s freehold.sessions;
  u freehold.users;
  r record;
begin
  t := access.check_tenant(tenant_id);
  select * into s from freehold.sessions x where x.id = (credential ->> 'session_id')::uuid;
  if s.id is null or s.user_id is distinct from (credential ->> 'user_id')::uuid or credential ->> 'proof' is distinct from access.session_proof(s.id) then
    raise exception using errcode = 'FH401', message = 'session_ended';
  end if;
  select * into u from freehold.users x where x.id = s.user_id;
  -- Before the session, which ended with it: who was deactivated is told so.
  if not u.is_active then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  elsif s.ended_at is not null or s.expires_at <= now() or s.last_active_at <= now() - make_interval(days => t.idle_days) then
    raise exception using errcode = 'FH401', message = 'session_ended';
  elsif not access.has_role(u.id) then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  end if;
  if not any_password and (u.must_change_password or u.password_changed_at <= now() - make_interval(days => t.password_days)) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  end if;
  if permission is null then
    select 'own' as scope, '{}'::uuid[] as units, array[u.id] as owners into r;
  else
    select x.scope, x.units, x.owners into r from access.reach(u.id, permission) x;
    if r.scope is null then
      raise exception using errcode = 'FH403', message = 'forbidden';
    end if;
  end if;
  if s.last_active_at < now() - interval '1 minute' then
    update freehold.sessions x set last_active_at = now() where x.id = s.id and x.last_active_at < now() - interval '1 minute';
  end if;
  perform access.seal(access.request_of(request) || jsonb_build_object('user_id', u.id, 'user_name', u.username, 'session_id', s.id,
    'scope', r.scope, 'permission', permission, 'units', r.units, 'owners', r.owners));
  return query select u.id, s.id, r.scope;
end $$;
--> statement-breakpoint
-- Refuses, in words that the caller is told: {code, detail, the field that is wrong}.
create function access.refuse(code text, said text, field text default null) returns void language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using message = code, detail = said, hint = coalesce(field, ''),
    errcode = case code when 'forbidden' then 'FH403' when 'not_found' then 'FH404' when 'invalid_request' then 'FH400' else 'FH409' end;
end $$;
--> statement-breakpoint
-- Nobody hands out what they do not hold themselves, nor further than they hold it: before this transaction, which may take or give them what it
-- is about. Without an admission it is the system that acts.
create function access.must_hold(permissions text[], scopes text[]) returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  lacking record;
begin
  if me is null then
    return;
  end if;
  select n.permission, n.scope into lacking
  from unnest(permissions, scopes) as n (permission, scope)
    left join (
      select g.permission, max(array_position(array['own', 'team', 'department', 'all'], g.scope)) as width from access.own_grants(me, now() - interval '1 microsecond', permissions) g group by g.permission
    ) o on o.permission = n.permission
  where coalesce(o.width, 0) < array_position(array['own', 'team', 'department', 'all'], n.scope) order by n.permission limit 1;
  if found then
    perform access.refuse('forbidden', format('You do not hold %s at scope %s yourself, so you cannot hand it out.', lacking.permission, lacking.scope));
  end if;
end $$;
--> statement-breakpoint
-- What a role carries with all above it, or would if they were switched on: who is given a role that is off, has it when it is on.
create function access.role_content(role uuid) returns table (permission text, scope text) language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (id, parent_id, is_admin) as (
    select r.id, r.parent_id, r.is_admin from freehold.roles r where r.id = role
    union
    select r.id, r.parent_id, r.is_admin from line l join freehold.roles r on r.id = l.parent_id
  )
  select rp.permission, rp.scope from line l join freehold.role_permissions rp on rp.role_id = l.id where rp.ends_at is null or rp.ends_at > now()
  union
  select x.name, 'all' from line l cross join freehold.permissions x where l.is_admin and x.deleted_at is null
$$;
--> statement-breakpoint
create function access.must_hold_role(role uuid) returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  needed record;
begin
  if access.principal() is null then
    return;
  end if;
  select array_agg(g.permission) as permissions, array_agg(g.scope) as scopes into needed from access.role_content(role) g;
  perform access.must_hold(needed.permissions, needed.scopes);
end $$;
--> statement-breakpoint
-- When something that is given begins: not in the past, which stays as it was (a minute is forgiven, because clocks differ, and counts as
-- now), and before it ends. The system may say what it likes.
create function access.begins(starts timestamptz, ends timestamptz) returns timestamptz language plpgsql stable set search_path = pg_catalog, pg_temp as $$
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
--> statement-breakpoint
-- When something that was given ends: not before now, and not before it began. What has ended stays so.
create function access.ends(starts timestamptz, was timestamptz, becomes timestamptz) returns timestamptz language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return becomes;
  elsif was <= now() then
    perform access.refuse('illegal_state', 'This has ended.');
  end if;
  if becomes is null then
    perform access.refuse('invalid_request', 'must be a moment', 'ends_at');
  end if;
  return greatest(becomes, now(), starts);
end $$;
--> statement-breakpoint
-- Somebody must hold the administrator's role, for good, and be denied nothing: what they lack, they could hand to nobody. Whoever takes it away waits for the others who do.
create function access.keep_admin() returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  r freehold.roles;
begin
  select * into r from freehold.roles x where x.is_admin for no key update;
  if r.id is not null and not (r.is_active and exists (
      select from freehold.user_roles ur join freehold.users u on u.id = ur.user_id
      where ur.role_id = r.id and u.is_active and ur.starts_at <= now() and ur.ends_at is null and not exists (
        select from freehold.overrides o where o.user_id = u.id and o.effect = 'deny'
          and (o.ends_at is null or o.ends_at > now())))) then
    perform access.refuse('illegal_state', format('Somebody must hold the role %s: give it to another person first.', r.name));
  end if;
end $$;
--> statement-breakpoint
create function access.before_role() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  used text[];
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and old.deleted_at is not null then
    perform access.refuse('not_found', 'There is no such role.');
  elsif tg_op = 'UPDATE' and old.is_system and new.parent_id is distinct from old.parent_id then
    perform access.refuse('in_use', format('The role %s belongs to the system and keeps its parent.', old.name));
  end if;
  if new.deleted_at is not null or (new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id)) then
    -- One at a time, because two halves of a circle are each innocent, and so are a parent that goes and a child that comes.
    perform pg_advisory_xact_lock(hashtext('freehold.roles.parent_id'));
  end if;
  if new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id) then
    if not exists (select from freehold.roles x where x.id = new.parent_id and x.deleted_at is null) then
      perform access.refuse('invalid_request', 'is not a role of this tenant', 'parent_id');
    elsif exists (with recursive up (id, parent_id) as (
        select x.id, x.parent_id from freehold.roles x where x.id = new.parent_id
        union select x.id, x.parent_id from up join freehold.roles x on x.id = up.parent_id
      ) select from up where up.id = new.id) then
      perform access.refuse('invalid_request', 'would make a role inherit from itself', 'parent_id');
    end if;
  end if;
  if tg_op = 'UPDATE' and new.deleted_at is not null and old.deleted_at is null then
    if access.principal() is not null and access.permission() is distinct from 'role:delete' then
      perform access.refuse('forbidden', 'Deleting a role needs role:delete.');
    elsif old.is_system then
      perform access.refuse('in_use', format('The role %s belongs to the system.', old.name));
    end if;
    select array_remove(array[
      (select format('assigned to %s', string_agg(x.username, ', ')) from (
        select u.username from freehold.user_roles ur join freehold.users u on u.id = ur.user_id where ur.role_id = old.id and (ur.ends_at is null or ur.ends_at > now()) order by 1 limit 5) x having count(*) > 0),
      (select format('inherited by %s', string_agg(x.name, ', ' order by x.name)) from freehold.roles x where x.parent_id = old.id and x.deleted_at is null having count(*) > 0),
      (select format('delegated by %s', string_agg(distinct u.username, ', ')) from freehold.delegations d join freehold.users u on u.id = d.delegator_id
        where d.role_id = old.id and d.ends_at > now() and d.revoked_at is null and d.decision is distinct from 'rejected' having count(*) > 0)
    ], null) into used;
    if cardinality(used) > 0 then
      perform access.refuse('in_use', format('The role %s is %s.', old.name, array_to_string(used, '; ')));
    end if;
    new.is_active := false;
  end if;
  if tg_op = 'UPDATE' and new.max_users is distinct from old.max_users and new.max_users < (
      select count(distinct ur.user_id) from freehold.user_roles ur where ur.role_id = old.id and (ur.ends_at is null or ur.ends_at > now())) then
    perform access.refuse('limit_reached', format('More than %s hold the role %s.', new.max_users, old.name));
  end if;
  if tg_op = 'UPDATE' and old.is_system and new.name <> old.name then
    perform access.refuse('in_use', format('The role %s belongs to the system and keeps its name.', old.name));
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_role before insert or update on freehold.roles for each row execute function access.before_role();
--> statement-breakpoint
-- The role that is a person's primary one when nobody chose: the first that they were given of those that they hold.
create function access.primary_role(person uuid) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.name from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
  where ur.user_id = person and ur.starts_at <= now() and (ur.ends_at is null or ur.ends_at > now()) order by ur.starts_at, r.name limit 1
$$;
--> statement-breakpoint
-- Whoever switches a role on, or gives it a parent, hands out what it carries; then keeps the ranges. In this order: who holds the role must
-- not be judged by what it is about to give them.
create function access.after_role() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' and new.is_active and not old.is_active then
    perform access.must_hold_role(new.id);
  elsif new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id) then
    perform access.must_hold_role(new.parent_id);
  end if;
  if tg_op = 'INSERT' or (new.is_active, new.parent_id) is distinct from (old.is_active, old.parent_id) then
    update freehold.role_periods p set ends_at = greatest(now(), p.starts_at) where p.role_id = new.id and p.ends_at is null;
    if new.is_active then
      insert into freehold.role_periods (id, role_id, parent_id, starts_at) values (gen_random_uuid(), new.id, new.parent_id, now());
    elsif new.is_admin then
      perform access.keep_admin();
    end if;
  end if;
  if tg_op = 'UPDATE' and (new.name <> old.name or new.deleted_at is not null) then
    -- Whose assignment has run out is not given it again under the new name.
    update freehold.users u set role = case when exists (
        select from freehold.user_roles ur where ur.user_id = u.id and ur.role_id = new.id and ur.starts_at <= now() and (ur.ends_at is null or ur.ends_at > now()))
      then new.name else access.primary_role(u.id) end
    where u.role = old.name;
  end if;
  return null;
end $$;
--> statement-breakpoint
create trigger after_role after insert or update on freehold.roles for each row execute function access.after_role();
--> statement-breakpoint
-- Row by row before it is written, so that nobody holds by a grant what they must hold to make it.
create function access.before_role_permission() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if tg_op = 'UPDATE' then
    if me is not null and exists (select from freehold.roles r where r.id = new.role_id and r.is_admin) then
      perform access.refuse('illegal_state', 'The administrator carries everything: nothing can be taken from this role.');
    end if;
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    return new;
  -- Shared, because a deletion of the permission is an update of its row.
  elsif not exists (select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share) then
    perform access.refuse('invalid_request', format('%s is not a permission of this tenant', new.permission), 'permissions');
  elsif me is not null and coalesce(array_position(array['own', 'team', 'department', 'all'], access.own_scope(me, new.permission, now() - interval '1 microsecond')), 0)
      < array_position(array['own', 'team', 'department', 'all'], new.scope) then
    perform access.refuse('forbidden', format('You do not hold %s at scope %s yourself, so you cannot hand it out.', new.permission, new.scope));
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_role_permission before insert or update on freehold.role_permissions for each row execute function access.before_role_permission();
--> statement-breakpoint
-- An assignment: nobody to themselves, nothing that they do not hold, within a team only what is flagged so, no more than there is room for.
create function access.before_user_role() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  r freehold.roles;
  gives boolean := tg_op = 'INSERT' or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at));
  holders integer;
  far record;
begin
  if tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- What was to begin later never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  -- Locked, so that the last place goes to one, and no role is deleted while it is given.
  select * into r from freehold.roles x where x.id = new.role_id for no key update;
  if me is not null then
    -- Also where the permission of the request is another, as when a person is made with a role. Who is made may be given what all are.
    select x.scope, x.units into far from access.reach(me, 'role:update') x;
    if far.scope = 'all' or (tg_op = 'INSERT' and r.is_fallback and access.permission() = 'user:create') then
      null;
    elsif far.scope is null or not exists (select from freehold.users u where u.id = new.user_id and u.unit_id = any (far.units)) then
      perform access.refuse('forbidden', 'Giving and taking roles needs role:update.');
    elsif r.id is not null and not (r.is_manageable or r.is_fallback) then
      perform access.refuse('forbidden', format('The role %s cannot be managed within a team.', r.name));
    end if;
  end if;
  if not gives then
    return new;
  end if;
  if r.id is null or r.deleted_at is not null then
    perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
  elsif me = new.user_id then
    perform access.refuse('forbidden', 'Nobody assigns a role to themselves.');
  elsif tg_op = 'INSERT' and exists (select from freehold.user_roles ur where ur.user_id = new.user_id and ur.role_id = r.id and ur.ends_at is null) then
    perform access.refuse('already_exists', format('They are given the role %s for good already.', r.name));
  end if;
  perform access.must_hold_role(r.id);
  if r.max_users is not null then
    select count(distinct ur.user_id) into holders from freehold.user_roles ur
    where ur.role_id = r.id and ur.user_id <> new.user_id and (ur.ends_at is null or ur.ends_at > now());
    if holders >= r.max_users then
      perform access.refuse('limit_reached', format('The role %s has room for %s.', r.name, r.max_users));
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_user_role before insert or update on freehold.user_roles for each row execute function access.before_user_role();
--> statement-breakpoint
-- Who held no role has a primary one now. When an assignment ends: somebody must still be the administrator, and the primary role is one that is held.
create function access.after_user_role() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r freehold.roles;
begin
  if tg_op = 'INSERT' then
    if new.starts_at <= now() then
      update freehold.users u set role = access.primary_role(u.id) where u.id = new.user_id and u.role is null;
    end if;
    return null;
  elsif new.ends_at is null or new.ends_at is not distinct from old.ends_at then
    return null;
  end if;
  select * into r from freehold.roles x where x.id = new.role_id;
  if r.is_admin then
    perform access.keep_admin();
  end if;
  if new.ends_at <= now() then
    update freehold.users u set role = access.primary_role(u.id)
    where u.id = new.user_id and u.role = r.name and not exists (
      select from freehold.user_roles ur where ur.user_id = u.id and ur.role_id = r.id and ur.starts_at <= now() and (ur.ends_at is null or ur.ends_at > now()));
  end if;
  return null;
end $$;
--> statement-breakpoint
create trigger after_user_role after insert or update on freehold.user_roles for each row execute function access.after_user_role();
--> statement-breakpoint
-- What somebody may change of a person whom they reach as themselves (or in place of a delegator) and not further. Above all not the unit,
-- which is what team and department reach from.
-- Whether what somebody holds reaches as far as their place does.
create function access.depends_on_place(person uuid) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (select from access.own_grants(person, now()) g group by g.permission
    having max(array_position(array['own', 'team', 'department', 'all'], g.scope)) between 2 and 3)
$$;
--> statement-breakpoint
create function access.must_reach_user(was freehold.users, is_now freehold.users) returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  own text[] := '{given_name,family_name,phone,locale,timezone,preferences,description}';
  kept text[] := '{name,updated_at,email_verified,phone_verified}';
  changed text[];
begin
  if was.id is not null then
    if access.principal() = is_now.id and not is_now.is_active and was.is_active then
      perform access.refuse('illegal_state', 'Nobody deactivates themselves.');
    end if;
    select array_agg(n.key) into changed from jsonb_each(to_jsonb(is_now)) n join jsonb_each(to_jsonb(was)) o on o.key = n.key
    where n.value <> o.value and n.key <> all (kept);
    if access.permission() = 'user:delete' and (is_now.is_active or not changed <@ '{is_active}') then
      perform access.refuse('forbidden', 'user:delete deactivates, and changes nothing else.');
    elsif access.scope() <> 'all' and (is_now.id = any (access.owners()) or is_now.id = access.principal()) and not changed <@ own then
      perform access.refuse('forbidden', format('Somebody else must change %s here.', (select string_agg(c, ', ' order by c) from unnest(changed) c where c <> all (own))));
    end if;
  end if;
  if was.id = access.principal() and is_now.unit_id is distinct from was.unit_id and access.depends_on_place(was.id) then
    perform access.refuse('forbidden', 'Somebody else must change your unit: what you reach depends on it.');
  elsif access.scope() = 'all' then
    return;
  -- From and to within one and the same reach: two that were each lent do not add up to one.
  elsif is_now.unit_id is distinct from was.unit_id and is_now.unit_id is not null and not exists (
      select from access.sources(access.principal(), access.permission(), now()) s
      where is_now.unit_id in (select access.units_of(s.holder, s.scope)) and (was.id is null or was.unit_id in (select access.units_of(s.holder, s.scope)))) then
    perform access.refuse('invalid_request', 'is not a unit that you reach', 'unit_id');
  elsif is_now.manager_id is distinct from was.manager_id and not exists (select from freehold.users u
      where u.id = is_now.manager_id and (u.id = any (access.owners()) or u.unit_id = any (access.units()))) and is_now.manager_id is not null then
    perform access.refuse('invalid_request', 'is not a person whom you reach', 'manager_id');
  end if;
end $$;
--> statement-breakpoint
-- Whether somebody holds a permission that another does not, or further.
create function access.holds_more(person uuid, other uuid) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from (
      -- Also what is delegated to them, what they will hold, and what is off or denied for now.
      select g.permission, max(array_position(array['own', 'team', 'department', 'all'], g.scope)) as width from (
        select x.permission, x.scope from access.own_grants(person, now()) x
        union all
        select c.permission, c.scope from freehold.user_roles ur cross join lateral access.role_content(ur.role_id) c
        where ur.user_id = person and (ur.ends_at is null or ur.ends_at > now())
        union all
        select o.permission, o.scope from freehold.overrides o where o.user_id = person and o.effect = 'grant' and (o.ends_at is null or o.ends_at > now())
        union all
        select c.permission, access.narrower(c.scope, access.own_scope(d.delegator_id, c.permission, now())) from freehold.delegations d cross join lateral (
          select x.permission, x.scope from access.role_content(d.role_id) x
          union all select p.permission, 'all' from freehold.delegation_permissions p where p.delegation_id = d.id) c
        where d.delegate_id = person and d.ends_at > now() and d.revoked_at is null and d.decision is distinct from 'rejected'
      ) g where g.scope is not null group by g.permission
    ) theirs left join (
      select g.permission, max(array_position(array['own', 'team', 'department', 'all'], g.scope)) as width from access.own_grants(other, now()) g group by g.permission
    ) mine on mine.permission = theirs.permission
    where coalesce(mine.width, 0) < theirs.width)
$$;
--> statement-breakpoint
create function access.before_user() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.updated_at := now();
  if access.permission() in ('user:create', 'user:update', 'user:delete') then
    if tg_op = 'UPDATE' then
      perform access.must_reach_user(old, new);
    else
      perform access.must_reach_user(null, new);
    end if;
  end if;
  if octet_length(new.preferences::text) > 8192 then
    perform access.refuse('invalid_request', 'must be at most 8 KiB', 'preferences');
  end if;
  -- Who can change how somebody logs in can soon be them.
  if tg_op = 'UPDATE' and (new.email, new.username) is distinct from (old.email, old.username) and access.principal() <> new.id
    and access.holds_more(new.id, access.principal()) then
    perform access.refuse('forbidden', 'This person holds more than you do: how they log in is not yours to change.');
  end if;
  if tg_op = 'UPDATE' then
    new.email_verified := new.email_verified and new.email = old.email;
    new.phone_verified := new.phone_verified and new.phone is not distinct from old.phone;
  end if;
  if new.role is not null and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (select from freehold.roles r where r.name = new.role and r.deleted_at is null) then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.role), 'role');
  end if;
  -- Somebody new is nobody's superior yet.
  if tg_op = 'UPDATE' and new.manager_id is not null and new.manager_id is distinct from old.manager_id then
    if exists (with recursive up (id, manager_id) as (
        select u.id, u.manager_id from freehold.users u where u.id = new.manager_id
        union select u.id, u.manager_id from up join freehold.users u on u.id = up.manager_id
      ) select from up where up.id = new.id) then
      perform access.refuse('invalid_request', 'would make a person their own superior', 'manager_id');
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_user before insert or update on freehold.users for each row execute function access.before_user();
--> statement-breakpoint
-- One at a time, because two halves of a circle are each innocent; and before any row is locked, because the two would wait for each other's.
create function access.one_at_a_time() returns trigger language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext(tg_table_name));
  return null;
end $$;
--> statement-breakpoint
create trigger one_at_a_time before update of manager_id on freehold.users for each statement execute function access.one_at_a_time();
--> statement-breakpoint
-- Keeps the ranges of being active, and that the primary role is assigned; another one replaces the one before it.
create function access.after_user() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' or new.is_active <> old.is_active then
    if new.is_active then
      insert into freehold.user_periods (id, user_id, starts_at) values (gen_random_uuid(), new.id, now());
    else
      update freehold.user_periods p set ends_at = greatest(now(), p.starts_at) where p.user_id = new.id and p.ends_at is null;
      update freehold.sessions s set ended_at = now(), ended_because = 'deactivated' where s.user_id = new.id and s.ended_at is null;
      perform access.keep_admin();
    end if;
  end if;
  if new.role is not null and (tg_op = 'INSERT' or new.role is distinct from old.role) and not exists (
      select from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
      where ur.user_id = new.id and r.name = new.role and r.deleted_at is null and ur.starts_at <= now() and (ur.ends_at is null or ur.ends_at > now())) then
    -- What was to begin later begins now instead.
    update freehold.user_roles ur set ends_at = ur.starts_at from freehold.roles r
    where ur.user_id = new.id and r.id = ur.role_id and r.name = new.role and r.deleted_at is null and ur.starts_at > now() and (ur.ends_at is null or ur.ends_at > now());
    insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), new.id, r.id from freehold.roles r where r.name = new.role and r.deleted_at is null;
    if tg_op = 'UPDATE' then
      update freehold.user_roles ur set ends_at = greatest(now(), ur.starts_at) from freehold.roles r
      where ur.user_id = new.id and r.id = ur.role_id and r.name = old.role and (ur.ends_at is null or ur.ends_at > now());
    end if;
  end if;
  return null;
end $$;
--> statement-breakpoint
create trigger after_user after insert or update on freehold.users for each row execute function access.after_user();
--> statement-breakpoint
create function access.before_override() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  -- What this change gives to the person: a grant that begins or lasts longer, a denial that ends sooner.
  gives boolean := case when new.effect = 'grant' then tg_op = 'INSERT' or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at))
    else tg_op = 'UPDATE' and new.ends_at is not null and (old.ends_at is null or new.ends_at < old.ends_at) end;
begin
  if access.principal() = new.user_id then
    perform access.refuse('forbidden', 'Nobody overrides their own permissions.');
  elsif tg_op = 'INSERT' and not exists (select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share) then
    perform access.refuse('invalid_request', format('%s is not a permission of this tenant', new.permission), 'permission');
  elsif tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- What was to begin later never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  if gives then
    -- A denial hides how far the person would reach without it; only who reaches everything lifts one.
    perform access.must_hold(array[new.permission], array[case when new.effect = 'grant' then new.scope else 'all' end]);
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_override before insert or update on freehold.overrides for each row execute function access.before_override();
--> statement-breakpoint
-- A denial must not leave the tenant without anybody who can mend it.
create function access.after_override() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.effect = 'deny' then
    perform access.keep_admin();
  end if;
  return null;
end $$;
--> statement-breakpoint
create trigger after_override after insert on freehold.overrides for each row execute function access.after_override();
--> statement-breakpoint
create function access.before_delegation() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.starts_at := access.begins(new.starts_at, new.ends_at);
  if new.delegate_id = new.delegator_id then
    perform access.refuse('invalid_request', 'is the delegator', 'delegate_id');
  elsif not exists (select from freehold.users u where u.id = new.delegate_id and u.is_active for share) then
    perform access.refuse('invalid_request', 'is not an active user of this tenant', 'delegate_id');
  elsif new.role_id is not null and not new.role_id in (select access.roles_of(new.delegator_id, now())) then
    if exists (select from freehold.roles r where r.id = new.role_id and r.deleted_at is null) then
      perform access.refuse('forbidden', 'You do not hold this role yourself, so you cannot delegate it.');
    end if;
    perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
  end if;
  if new.role_id is not null then
    perform from freehold.roles r where r.id = new.role_id and r.deleted_at is null for share;
    if not found then
      perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
    end if;
  end if;
  if not (select t.delegation_approval from freehold.tenant t) and new.decision is null then
    new.decision := 'approved';
    new.decided_at := now();
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_delegation before insert on freehold.delegations for each row execute function access.before_delegation();
--> statement-breakpoint
-- A delegation is decided once, by a third person whose say does not come from one of the two, and revoked once; what is over stays over.
create function access.before_delegation_change() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if me is null then
    return new;
  elsif old.revoked_at is not null or old.decision = 'rejected' or old.ends_at <= now() then
    perform access.refuse('illegal_state', 'This delegation is over.');
  elsif access.permission() = 'delegation:approve' then
    if not exists (select from access.sources(me, 'delegation:approve', now()) s where s.holder not in (old.delegator_id, old.delegate_id)) then
      perform access.refuse('forbidden', 'Who decides on a delegation is neither of the two.');
    elsif old.decision is not null then
      perform access.refuse('illegal_state', 'This delegation is not pending.');
    end if;
    new.decided_at := now();
    new.decided_by := me;
    new.revoked_at := null;
  else
    new.decision := old.decision;
    new.decided_at := old.decided_at;
    new.decided_by := old.decided_by;
    new.revoked_at := now();
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_delegation_change before update on freehold.delegations for each row execute function access.before_delegation_change();
--> statement-breakpoint
create function access.before_delegation_permission() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share) then
    perform access.refuse('invalid_request', format('%s is not a permission of this tenant', new.permission), 'permissions');
  elsif access.own_scope((select d.delegator_id from freehold.delegations d where d.id = new.delegation_id), new.permission, now()) is null then
    perform access.refuse('forbidden', format('You do not hold %s yourself, so you cannot delegate it.', new.permission));
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_delegation_permission before insert on freehold.delegation_permissions for each row execute function access.before_delegation_permission();
--> statement-breakpoint
-- Who acts now for a person with a permission: whom they delegated it to and, where that one is away too (has delegated the same from what they
-- hold themselves), whom they did; never in a circle. {user_id, acting_user_id, chain}; null: nobody whom the asker reaches.
create function access.substitute(person uuid, permission text) returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  chain jsonb := '[]';
  met uuid[] := array[person];
  acting uuid := person;
  d record;
begin
  if access.permission() is distinct from 'delegation:read' or not exists (select from freehold.users u where u.id = person
      and (access.scope() = 'all' or u.id = any (access.owners()) or u.unit_id = any (access.units()))) then
    return null;
  elsif not exists (select from freehold.permissions p where p.name = substitute.permission and p.deleted_at is null) then
    perform access.refuse('invalid_request', 'is not a permission of this tenant', 'query/permission');
  elsif not access.was_active(person, now()) or access.decide(person, permission, now()) is null then
    return jsonb_build_object('user_id', person, 'acting_user_id', null, 'chain', chain);
  end if;
  loop
    select x.id, x.delegate_id into d from freehold.delegations x
    where x.delegator_id = acting and x.starts_at <= now() and x.ends_at > now() and x.decision = 'approved' and x.revoked_at is null
      and x.delegate_id <> all (met) and access.own_scope(acting, permission, now()) is not null
      and case when x.role_id is null then exists (select from freehold.delegation_permissions p where p.delegation_id = x.id and p.permission = substitute.permission)
        else x.role_id in (select access.roles_of(acting, now()))
          and exists (select from access.role_grants(x.role_id, now()) g where g.permission = substitute.permission) end
      and access.was_active(x.delegate_id, now()) and exists (select from access.roles_of(x.delegate_id, now()))
      and substitute.permission not in (select access.denied(x.delegate_id, now()))
    order by x.starts_at desc, x.created_at desc, x.id limit 1;
    exit when not found;
    chain := chain || jsonb_build_object('delegation_id', d.id, 'from', acting, 'to', d.delegate_id);
    acting := d.delegate_id;
    met := met || acting;
  end loop;
  return jsonb_build_object('user_id', person, 'acting_user_id', acting, 'chain', chain);
end $$;
--> statement-breakpoint
create function access.before_permission() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  used text[];
begin
  if new.deleted_at is null or old.deleted_at is not null then
    return new;
  elsif access.principal() is not null and access.permission() is distinct from 'permission:delete' then
    perform access.refuse('forbidden', 'Deleting a permission needs permission:delete.');
  elsif old.is_system then
    perform access.refuse('in_use', format('The permission %s belongs to the system.', old.name));
  end if;
  select array_remove(array[
    (select format('the roles %s', string_agg(r.name, ', ' order by r.name)) from freehold.role_permissions rp join freehold.roles r on r.id = rp.role_id
      where rp.permission = old.name and r.deleted_at is null and (rp.ends_at is null or rp.ends_at > now()) having count(*) > 0),
    (select format('overrides of %s', string_agg(distinct u.username, ', ')) from freehold.overrides o join freehold.users u on u.id = o.user_id
      where o.permission = old.name and (o.ends_at is null or o.ends_at > now()) having count(*) > 0),
    (select format('delegations of %s', string_agg(distinct u.username, ', ')) from freehold.delegation_permissions p join freehold.delegations d on d.id = p.delegation_id
        join freehold.users u on u.id = d.delegator_id
      where p.permission = old.name and d.ends_at > now() and d.revoked_at is null and d.decision is distinct from 'rejected' having count(*) > 0)
  ], null) into used;
  if cardinality(used) > 0 then
    perform access.refuse('in_use', format('The permission %s is in use: %s.', old.name, array_to_string(used, '; ')));
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_permission before update on freehold.permissions for each row execute function access.before_permission();
--> statement-breakpoint
-- A department stands under departments, a team under either; nothing under itself. Whoever does not reach everything moves nothing out of
-- their reach, and makes no department a team: those in it would reach around the one above.
create function access.before_unit() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  is_limited boolean := access.principal() is not null and access.scope() <> 'all';
  is_turned boolean := tg_op = 'UPDATE' and new.kind <> old.kind;
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and (new.kind, new.parent_id) is not distinct from (old.kind, old.parent_id) then
    return new;
  end if;
  if tg_op = 'UPDATE' and access.principal() is not null and not is_limited and access.depends_on_place(access.principal()) and (
      (select p.unit_id from freehold.users p where p.id = access.principal()) in (select access.under(new.id))
      or (new.parent_id in (select access.units_of(access.principal(), 'department')) and new.id not in (select access.units_of(access.principal(), 'department')))) then
    perform access.refuse('forbidden', 'Somebody else must do this: what you reach depends on it.');
  elsif is_limited and (is_turned or (tg_op = 'UPDATE' and new.parent_id is null)) then
    perform access.refuse('forbidden', 'Somebody who reaches all units must do this.');
  elsif is_limited and new.parent_id <> all (access.units()) and new.parent_id is not null then
    perform access.refuse('invalid_request', 'is not a unit that you reach', 'parent_id');
  elsif is_turned and new.kind = 'team' and exists (select from freehold.units u where u.parent_id = new.id and u.kind = 'department') then
    perform access.refuse('invalid_request', 'has departments under it, which stand under departments only', 'kind');
  elsif new.kind = 'department' and exists (select from freehold.units u where u.id = new.parent_id and u.kind = 'team') then
    perform access.refuse('invalid_request', 'would put a department under a team', case when is_turned then 'kind' else 'parent_id' end);
  elsif exists (with recursive up (id, parent_id) as (
      select u.id, u.parent_id from freehold.units u where u.id = new.parent_id
      union select u.id, u.parent_id from up join freehold.units u on u.id = up.parent_id
    ) select from up where up.id = new.id) then
    perform access.refuse('invalid_request', 'would put a unit under itself', 'parent_id');
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_unit before insert or update on freehold.units for each row execute function access.before_unit();
--> statement-breakpoint
create trigger one_at_a_time before insert or update of kind, parent_id on freehold.units for each statement execute function access.one_at_a_time();
--> statement-breakpoint
-- A JSON document changed as RFC 7396 says.
create function access.merged(doc jsonb, patch jsonb) returns jsonb language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  changed jsonb := case when jsonb_typeof(doc) = 'object' then doc else '{}' end;
  r record;
begin
  if jsonb_typeof(patch) <> 'object' then
    return patch;
  end if;
  for r in select e.key, e.value from jsonb_each(patch) e loop
    changed := case when r.value = 'null' then changed - r.key else changed || jsonb_build_object(r.key, access.merged(changed -> r.key, r.value)) end;
  end loop;
  return changed;
end $$;
--> statement-breakpoint
-- The first password of a person whom this transaction made: only then, and only once.
create function access.first_password(person uuid, password_hash text) returns void language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:create' or not exists (select from freehold.users u where u.id = person and u.created_at = now())
    or exists (select from freehold.passwords p where p.user_id = person) then
    perform access.refuse('forbidden', 'Only who makes a person gives them their first password.');
  end if;
  insert into freehold.passwords (id, user_id, password_hash) values (gen_random_uuid(), person, first_password.password_hash);
end $$;
--> statement-breakpoint
call access.audited('freehold.units', 'unit');
--> statement-breakpoint
call access.audited('freehold.overrides', 'override');
--> statement-breakpoint
call access.audited('freehold.delegations', 'delegation');
--> statement-breakpoint
-- Lists: one index for each order, alone and within a unit. `collate "C"`, so that a prefix is a range.
create index users_by_username on freehold.users (username collate "C", id);
--> statement-breakpoint
create index users_by_email on freehold.users (email collate "C", id);
--> statement-breakpoint
create index users_by_name on freehold.users (name collate "C", id);
--> statement-breakpoint
create index users_by_created on freehold.users (created_at, id);
--> statement-breakpoint
create index users_unit_username on freehold.users (unit_id, username collate "C", id);
--> statement-breakpoint
create index users_unit_email on freehold.users (unit_id, email collate "C", id);
--> statement-breakpoint
create index users_unit_name on freehold.users (unit_id, name collate "C", id);
--> statement-breakpoint
create index users_unit_created on freehold.users (unit_id, created_at, id);
--> statement-breakpoint
create index users_role_username on freehold.users (role, username collate "C", id);
--> statement-breakpoint
create index users_inactive_username on freehold.users (username collate "C", id) where not is_active;
--> statement-breakpoint
do $$
declare
  t text;
begin
  foreach t in array array['units', 'user_periods', 'role_periods', 'overrides', 'delegations', 'delegation_permissions', 'audit_seals'] loop
    execute format('alter table freehold.%I enable row level security', t);
  end loop;
end $$;
--> statement-breakpoint
-- `= 'all'` is inside, so that the planner takes it for a coin and not for a rarity: otherwise it sorts whole units to show a page of them.
create policy read_users on freehold.users for select using ((select access.scope() = 'all')
  or id = any ((select access.owners())::uuid[]) or unit_id = any ((select access.units())::uuid[]));
--> statement-breakpoint
create policy make_users on freehold.users for insert with check ((select access.permission()) = 'user:create'
  and ((select access.scope()) = 'all' or unit_id = any ((select access.units())::uuid[])));
--> statement-breakpoint
create policy change_users on freehold.users for update using ((select access.permission()) in ('user:update', 'user:delete')
    and ((select access.scope()) = 'all' or id = any ((select access.owners())::uuid[]) or unit_id = any ((select access.units())::uuid[])))
  with check ((select access.scope()) = 'all' or id = any ((select access.owners())::uuid[]) or unit_id = any ((select access.units())::uuid[]));
--> statement-breakpoint
create policy read_units on freehold.units for select using ((select access.scope()) = 'all' or id = any ((select access.units())::uuid[])
  -- One that was made just now is not among them yet.
  or ((select access.permission()) = 'unit:create' and parent_id = any ((select access.units())::uuid[]))
  or id = (select u.unit_id from freehold.users u where u.id = (select access.principal())));
--> statement-breakpoint
create policy make_units on freehold.units for insert with check ((select access.permission()) = 'unit:create'
  and ((select access.scope()) = 'all' or parent_id = any ((select access.units())::uuid[])));
--> statement-breakpoint
create policy change_units on freehold.units for update using ((select access.permission()) = 'unit:update'
    and ((select access.scope()) = 'all' or id = any ((select access.units())::uuid[])))
  with check ((select access.scope()) = 'all' or id = any ((select access.units())::uuid[]));
--> statement-breakpoint
create policy remove_units on freehold.units for delete using ((select access.permission()) = 'unit:delete'
  and ((select access.scope()) = 'all' or id = any ((select access.units())::uuid[])));
--> statement-breakpoint
-- Others' sessions are shown to who may look after sessions, and to nobody else.
create policy read_sessions on freehold.sessions for select using (user_id = (select access.principal())
  or ((select access.permission()) like 'session:%' and ((select access.scope()) = 'all' or user_id = any ((select access.owners())::uuid[])
    or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[])))));
--> statement-breakpoint
create policy make_roles on freehold.roles for insert with check ((select access.permission()) = 'role:create' and (select access.scope()) = 'all');
--> statement-breakpoint
create policy change_roles on freehold.roles for update using ((select access.permission()) in ('role:update', 'role:delete') and (select access.scope()) = 'all');
--> statement-breakpoint
create policy make_permissions on freehold.permissions for insert with check ((select access.permission()) = 'permission:create' and (select access.scope()) = 'all');
--> statement-breakpoint
create policy change_permissions on freehold.permissions for update using ((select access.permission()) in ('permission:update', 'permission:delete', 'permission:create') and (select access.scope()) = 'all');
--> statement-breakpoint
create policy grant_permissions on freehold.role_permissions for insert with check ((select access.permission()) in ('role:create', 'role:update') and (select access.scope()) = 'all');
--> statement-breakpoint
create policy end_permissions on freehold.role_permissions for update using ((select access.permission()) = 'role:update' and (select access.scope()) = 'all');
--> statement-breakpoint
create policy read_user_roles on freehold.user_roles for select using ((select access.scope()) = 'all' or user_id = any ((select access.owners())::uuid[])
  or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[])));
--> statement-breakpoint
create policy assign_roles on freehold.user_roles for insert with check ((select access.permission()) = 'role:update'
  and ((select access.scope()) = 'all' or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))));
--> statement-breakpoint
create policy end_roles on freehold.user_roles for update using ((select access.permission()) = 'role:update'
  and ((select access.scope()) = 'all' or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))));
--> statement-breakpoint
create policy read_overrides on freehold.overrides for select using ((select access.permission()) in ('user:read', 'permission:update') and ((select access.scope()) = 'all' or user_id = any ((select access.owners())::uuid[])
  or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))));
--> statement-breakpoint
create policy make_overrides on freehold.overrides for insert with check ((select access.permission()) = 'permission:update'
  and ((select access.scope()) = 'all' or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))));
--> statement-breakpoint
create policy end_overrides on freehold.overrides for update using ((select access.permission()) = 'permission:update'
  and ((select access.scope()) = 'all' or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))));
--> statement-breakpoint
create policy read_delegations on freehold.delegations for select using (delegator_id = any ((select access.owners())::uuid[]) or delegate_id = (select access.principal())
  or ((select access.permission()) like 'delegation:%' and ((select access.scope()) = 'all'
    or exists (select from freehold.users u where u.id = delegator_id and u.unit_id = any ((select access.units())::uuid[])))));
--> statement-breakpoint
create policy make_delegations on freehold.delegations for insert with check ((select access.permission()) = 'delegation:create' and delegator_id = (select access.principal()));
--> statement-breakpoint
create policy change_delegations on freehold.delegations for update using (
  ((select access.permission()) = 'delegation:update' and (delegator_id = (select access.principal()) or (select access.scope()) = 'all'
    or exists (select from freehold.users u where u.id = delegator_id and u.unit_id = any ((select access.units())::uuid[]))))
  or ((select access.permission()) = 'delegation:approve' and delegator_id <> (select access.principal()) and delegate_id <> (select access.principal())
    and ((select access.scope()) = 'all' or exists (select from freehold.users u where u.id = delegator_id and u.unit_id = any ((select access.units())::uuid[])))));
--> statement-breakpoint
create policy read_delegation_permissions on freehold.delegation_permissions for select using (exists (select from freehold.delegations d where d.id = delegation_id));
--> statement-breakpoint
create policy make_delegation_permissions on freehold.delegation_permissions for insert with check ((select access.permission()) = 'delegation:create'
  and exists (select from freehold.delegations d where d.id = delegation_id and d.delegator_id = (select access.principal()) and d.created_at = now()));
--> statement-breakpoint
grant select on freehold.units, freehold.overrides, freehold.delegations, freehold.delegation_permissions to freehold_app;
--> statement-breakpoint
grant insert (id, username, email, given_name, family_name, phone, role, unit_id, manager_id, designation, description, locale, timezone, preferences, joined_at, must_change_password) on freehold.users to freehold_app;
--> statement-breakpoint
grant update (username, email, given_name, family_name, phone, role, unit_id, manager_id, designation, description, locale, timezone, preferences, joined_at, terminated_at, is_active) on freehold.users to freehold_app;
--> statement-breakpoint
grant insert (id, kind, name, parent_id), update (kind, name, parent_id), delete on freehold.units to freehold_app;
--> statement-breakpoint
grant insert (id, name, description, is_active, is_manageable, max_users, parent_id), update (name, description, is_active, is_manageable, max_users, parent_id, deleted_at) on freehold.roles to freehold_app;
--> statement-breakpoint
grant insert (id, name, description), update (description, deleted_at) on freehold.permissions to freehold_app;
--> statement-breakpoint
grant insert (id, role_id, permission, scope), update (ends_at) on freehold.role_permissions to freehold_app;
--> statement-breakpoint
grant insert (id, user_id, role_id, starts_at, ends_at), update (ends_at) on freehold.user_roles to freehold_app;
--> statement-breakpoint
grant insert (id, user_id, permission, effect, scope, starts_at, ends_at), update (ends_at) on freehold.overrides to freehold_app;
--> statement-breakpoint
grant insert (id, delegator_id, delegate_id, role_id, starts_at, ends_at, reason), update (decision, decided_at, decided_by, revoked_at) on freehold.delegations to freehold_app;
--> statement-breakpoint
grant insert on freehold.delegation_permissions to freehold_app;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
--> statement-breakpoint
grant execute on function access.my_roles(), access.permission(), access.units(), access.owners(), access.walks(), access.first_password(uuid, text), access.substitute(uuid, text), access.merged(jsonb, jsonb) to freehold_app;
