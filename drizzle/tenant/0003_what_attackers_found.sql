-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table access.dropped_mails
--   creates table access.mail_counter
--   alters table freehold.login_attempts
--   alters table freehold.tenant
--   alters table freehold.registrations
--   alters table freehold.permissions
-- Definitions:
--   creates 32 objects
--   replaces 30 objects
--   drops and creates function access.must_hold
--   drops and creates function access.must_hold_role
--   drops and creates function access.send_token
--   drops and creates function access.user_must_hold
--   drops function access.active_primary_role
--   drops function access.grant_sources
--   drops function access.held
--   drops function access.held_roles
--   drops function access.my_roles
--   drops function access.role_ancestry
--   drops function access.role_scope
--   drops function access.sign_claims
--   drops function access.signature_of
-- Kept for the release before this one, and dropped by the next migration:
--   keeps function access.holds_more
--   keeps function access.import_users
--   keeps function access.record_import
--   keeps function access.register
--   keeps function access.too_many_requests
--   keeps function access.verify_email

set local check_function_bodies = off;
--> statement-breakpoint
drop function access.active_primary_role(freehold.users);
--> statement-breakpoint
drop function access.grant_sources(uuid,text,timestamp with time zone);
--> statement-breakpoint
drop function access.held();
--> statement-breakpoint
drop function access.held_roles(uuid,timestamp with time zone);
--> statement-breakpoint
drop function access.my_roles();
--> statement-breakpoint
drop function access.role_ancestry(uuid[],timestamp with time zone);
--> statement-breakpoint
drop function access.role_scope(uuid[],text,timestamp with time zone);
--> statement-breakpoint
drop function access.sign_claims(jsonb);
--> statement-breakpoint
drop function access.signature_of(text);
--> statement-breakpoint
drop function access.must_hold(text[],access.scope[]);
--> statement-breakpoint
drop function access.must_hold_role(uuid);
--> statement-breakpoint
drop function access.send_token(freehold.users,text,text,bytea,integer,text,text);
--> statement-breakpoint
drop function access.user_must_hold(text[],access.scope[]);
--> statement-breakpoint
-- A permission as it reaches from a place: around the `holder`. Without one the scope alone says how far.
create type access.placed as (permission text, scope access.scope, holder uuid);
--> statement-breakpoint
CREATE TABLE "access"."dropped_mails" (
  "id" uuid PRIMARY KEY NOT NULL,
  "kind" text NOT NULL,
  "channel" text NOT NULL,
  "reached" text NOT NULL,
  "trace_id" text,
  "created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "access"."mail_counter" (
  "one" boolean PRIMARY KEY DEFAULT true NOT NULL,
  "day" date NOT NULL,
  "by_strangers" integer NOT NULL,
  "by_others" integer NOT NULL,
  CONSTRAINT "mail_counter_is_one" CHECK ("access"."mail_counter"."one")
);
--> statement-breakpoint
ALTER TABLE "freehold"."login_attempts" DROP CONSTRAINT "login_attempts_state";
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" DROP CONSTRAINT "tenant_settings";
--> statement-breakpoint
ALTER TABLE "freehold"."registrations" ALTER COLUMN "password_hash" DROP NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."registrations" ADD COLUMN "secret_hash" "bytea";
--> statement-breakpoint
ALTER TABLE "freehold"."registrations" ADD COLUMN "is_mailed" boolean DEFAULT true NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."permissions" ADD COLUMN "is_administrative" boolean GENERATED ALWAYS AS (split_part(name, ':', 1) in ('user', 'role', 'permission', 'session', 'api_key', 'setting', 'unit', 'delegation', 'organization', 'invitation', 'activity', 'tenant')) STORED NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "mail_per_recipient_hour" integer DEFAULT 5 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "mail_per_day" integer DEFAULT 2000 NOT NULL;
--> statement-breakpoint
CREATE INDEX "login_attempts_foreign" ON "freehold"."login_attempts" USING btree ("created_at") WHERE strpos("freehold"."login_attempts"."hash_parameters", ',next=') > 0 and "freehold"."login_attempts"."state" <> 'deferred';
--> statement-breakpoint
CREATE INDEX "mails_recipient" ON "freehold"."mails" USING btree ((case when channel = 'sms' then regexp_replace(recipient, '[^0-9]', '', 'g') else recipient end),"created_at");
--> statement-breakpoint
ALTER TABLE "freehold"."login_attempts" ADD CONSTRAINT "login_attempts_state" CHECK ("freehold"."login_attempts"."state" in ('pending', 'refused', 'deferred', 'succeeded', 'failed'));
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_settings" CHECK ("freehold"."tenant"."max_failures" between 1 and 100 and "freehold"."tenant"."lock_minutes" between 1 and 1440 and "freehold"."tenant"."idle_days" between 1 and 365
        and "freehold"."tenant"."session_days" between 1 and 365 and "freehold"."tenant"."max_sessions" between 1 and 1000 and "freehold"."tenant"."access_minutes" between 5 and 10080
        and "freehold"."tenant"."password_days" between 0 and 3650 and "freehold"."tenant"."password_warning_days" between 0 and 365 and "freehold"."tenant"."password_min_length" between 8 and 64
        and "freehold"."tenant"."password_max_length" between 64 and 1024 and "freehold"."tenant"."password_unique" between 1 and 32 and "freehold"."tenant"."password_history" between 0 and 24
        and "freehold"."tenant"."mail_per_recipient_hour" between 1 and 20 and "freehold"."tenant"."mail_per_day" between 1 and 50000);
--> statement-breakpoint
alter table access.dropped_mails enable row level security;
--> statement-breakpoint
alter table access.mail_counter enable row level security;
--> statement-breakpoint
-- The units that the scope `department` reaches from a unit: the nearest department above, and everything under it.
create or replace function access.department_of(unit uuid) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, kind, parent_id, step) as (
    select u.id, u.kind, u.parent_id, 0
    from freehold.units u
    where u.id = unit
    union all
    select u.id, u.kind, u.parent_id, up.step + 1
    from up
      join freehold.units u on u.id = up.parent_id
    where up.kind <> 'department'
  )
  select access.units_under(x.id)
  from (select id from up where kind = 'department' order by step limit 1) x
$$;
--> statement-breakpoint
-- The units that a scope reaches from where a user is. team: their unit; department: the nearest department above,
-- and everything under it.
create or replace function access.units_in_scope(subject uuid, scope access.scope) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.department_of(p.unit_id)
  from freehold.users p
  where p.id = subject and units_in_scope.scope = 'department'
  union
  select p.unit_id
  from freehold.users p
  where p.id = subject and p.unit_id is not null and units_in_scope.scope in ('team', 'department')
$$;
--> statement-breakpoint
-- The permissions that a token carries: at most a hundred, Freehold's own first. Services ask authz/check for the
-- rest.
create or replace function access.token_permissions(subject uuid) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  held text[] := access.permissions_of(subject, now());
begin
  if cardinality(held) <= 100 then
    return held;
  end if;
  return array(
    select x.name
    from (
      select p.name
      from unnest(held) with ordinality h (name, place)
        join freehold.permissions p on p.name = h.name
      order by not p.is_administrative, h.place
      limit 100) x
    order by x.name);
end $$;
--> statement-breakpoint
-- Refuses when the admitted user does not hold each permission as far as it is handed out, there where the
-- `receivers` are; without receivers the names of the scopes are compared.
create or replace function access.user_must_hold(permissions text[], scopes access.scope[], receivers uuid[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  lacks access.placed;
begin
  if access.principal() is null then
    return;
  end if;
  lacks := access.lacking(
    array(
      select row(n.permission, n.scope, case when n.scope in ('team', 'department') then r.id end)::access.placed
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
--> statement-breakpoint
-- The same, also for what the API key of this transaction names.
create or replace function access.must_hold(permissions text[], scopes access.scope[], receivers uuid[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_key_permission(permissions), access.user_must_hold(permissions, scopes, receivers);
end $$;
--> statement-breakpoint
-- Refuses to hand out a role that carries more than the admitted user holds.
create or replace function access.must_hold_role(role uuid, receivers uuid[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  needed record;
begin
  if access.principal() is null then
    return;
  end if;
  select array_agg(g.permission) as permissions, array_agg(g.scope) as scopes into needed
  from access.role_content(role) g;
  perform access.must_hold(needed.permissions, needed.scopes, receivers);
end $$;
--> statement-breakpoint
-- The permissions that the admitted user holds at scope `all`, as far as their API key goes and as they held them
-- before this transaction; with what was delegated to them by others than `subjects`, unless that is null.
create or replace function access.held_everywhere(subjects uuid[]) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  before timestamptz := now() - interval '1 microsecond';
begin
  -- Administrators ask most often, and hold so much that looking at all of it takes milliseconds.
  if access.key() is null
    and exists (
      select
      from freehold.user_roles ur
        join freehold.roles r on r.id = ur.role_id and r.is_admin
        join freehold.role_periods p on p.role_id = r.id
      where ur.user_id = me
        and access.in_force(ur.starts_at, ur.ends_at, before)
        and access.in_force(p.starts_at, p.ends_at, before))
    and not exists (select from freehold.overrides o where o.user_id = me)
  then
    return array(select p.name from freehold.permissions p);
  end if;
  return array(
    select distinct h.permission
    from access.held_where(null, subjects) h
    where h.scope = 'all');
end $$;
--> statement-breakpoint
-- What the admitted user holds, and around whom, as far as their API key goes and as they held it before this
-- transaction: of the `wanted` permissions, or of all (null); with what was delegated to them by others than
-- `subjects`, unless that is null. What somebody delegated does not count against themselves.
create or replace function access.held_where(wanted text[], subjects uuid[]) returns setof access.placed
language sql stable set search_path = pg_catalog, pg_temp as $$
  select distinct h.permission, h.scope, h.holder
  from (
    select g.permission, g.scope, access.principal() as holder
    from access.own_grants(access.principal(), now() - interval '1 microsecond', wanted) g
    union all
    select g.permission, g.scope, g.holder
    from access.user_grants(access.principal(), now() - interval '1 microsecond', wanted) g
    where subjects is not null and g.kind = 'delegation' and g.holder <> all (subjects)
  ) h
    cross join (select access.key_permissions(access.principal()) as names) k
  where k.names is null or h.permission = any (k.names)
$$;
--> statement-breakpoint
-- The first of the permissions in `needed` that the admitted user does not hold as far; null: they hold all of them. A
-- permission is held as far as another at scope `all`, or when it reaches each unit that the other reaches around its
-- `holder`, and the holder; without a holder when its scope is as wide. `subjects` as above.
create or replace function access.lacking(needed access.placed[], subjects uuid[]) returns access.placed
language plpgsql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  mine access.placed[];
  remaining access.placed[];
  lacks access.placed;
begin
  if access.principal() is null or cardinality(needed) = 0 then
    return null;
  end if;
  mine := array(
    select h::access.placed
    from access.held_where(array(select distinct n.permission from unnest(needed) n), subjects) h);
  remaining := array(
    select distinct n::access.placed
    from unnest(needed) n
    where n.permission not in (select m.permission from unnest(mine) m where m.scope = 'all'));
  if cardinality(remaining) = 0 then
    return null;
  end if;
  -- Who holds none of it anywhere is told so before places are measured.
  select n.permission, n.scope, n.holder
  into lacks
  from unnest(remaining) n
  where n.scope = 'all' or n.permission not in (select m.permission from unnest(mine) m)
  order by n.permission, n.scope
  limit 1;
  if found then
    return lacks;
  end if;
  with places as materialized (
    select p.holder, p.scope, u.unit_id, array(select access.units_in_scope(p.holder, p.scope)) as units
    from (
      select m.holder, m.scope from unnest(mine) m
      union
      select n.holder, n.scope from unnest(remaining) n where n.holder is not null
    ) p
      join freehold.users u on u.id = p.holder
  ),
  reach as (
    select m.permission, max(m.scope) as scope, array_agg(m.holder) as owners,
      array(
        select distinct x.unit
        from unnest(mine) o
          join places p on p.holder = o.holder and p.scope = o.scope
          cross join lateral unnest(p.units) x (unit)
        where o.permission = m.permission) as units
    from unnest(mine) m
    group by m.permission
  )
  select n.permission, n.scope, n.holder
  into lacks
  from unnest(remaining) n
    join reach r on r.permission = n.permission
    left join places p on p.holder = n.holder and p.scope = n.scope
  where case
    when n.holder is null then r.scope < n.scope
    else not (p.units <@ r.units and (n.holder = any (r.owners) or coalesce(p.unit_id = any (r.units), false)))
  end
  order by n.permission, n.scope
  limit 1;
  return lacks;
end $$;
--> statement-breakpoint
-- One of these users for each unit that they are in: a scope that is measured from a unit reaches the same from all
-- users in it. Those without a unit reach nobody else's.
create or replace function access.one_of_each_unit(subjects uuid[]) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select distinct on (u.unit_id) u.id
  from freehold.users u
  where u.id = any (subjects) and u.unit_id is not null
  order by u.unit_id, u.id
$$;
--> statement-breakpoint
-- What users hold, or will, of the `wanted` permissions: by roles, active or not, by grants, denied or not, and by
-- delegations that are not over, as far as their delegators hold it, or will. Each permission as it reaches around its
-- holder; without a holder: around the user, who is in no unit, or at scope `own` or `all`.
create or replace function access.potential_grants(subjects uuid[], wanted text[]) returns setof access.placed
language sql stable set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
  with delegated as materialized (
    select distinct d.delegator_id, d.role_id, case when d.role_id is null then d.id end as delegation_id
    from freehold.delegations d
    where d.delegate_id = any (subjects)
      and d.ends_at > now()
      and d.revoked_at is null
      and d.decision is distinct from 'rejected'
  ),
  -- Of the subjects one for each unit and role; the delegators each for themselves.
  held as materialized (
    select ur.role_id, u.unit_id, (array_agg(u.id))[1] as holder, null::uuid as delegator_id
    from freehold.user_roles ur
      join freehold.users u on u.id = ur.user_id
    where ur.user_id = any (subjects) and (ur.ends_at is null or ur.ends_at > now())
    group by ur.role_id, u.unit_id
    union all
    select ur.role_id, null, null, ur.user_id
    from freehold.user_roles ur
    where ur.user_id in (select d.delegator_id from delegated d) and (ur.ends_at is null or ur.ends_at > now())
  ),
  content as materialized (
    select r.role_id, c.permission, max(c.scope) as scope
    from (select h.role_id from held h union select d.role_id from delegated d where d.role_id is not null) r
      cross join lateral access.role_content(r.role_id) c
    where c.permission in (select unnest(wanted))
    group by r.role_id, c.permission
  ),
  granted as materialized (
    select o.user_id, o.permission, o.scope::access.scope as scope
    from freehold.overrides o
    where (o.user_id = any (subjects) or o.user_id in (select d.delegator_id from delegated d))
      and o.effect = 'grant'
      and (o.ends_at is null or o.ends_at > now())
      and o.permission in (select unnest(wanted))
  ),
  of_delegator as materialized (
    select x.delegator_id, x.permission, max(x.scope) as scope
    from (
      select h.delegator_id, c.permission, c.scope
      from held h
        join content c on c.role_id = h.role_id
      where h.delegator_id is not null
      union all
      select g.user_id, g.permission, g.scope from granted g
    ) x
    group by x.delegator_id, x.permission
  )
  select c.permission, c.scope, case when c.scope in ('team', 'department') and h.unit_id is not null then h.holder end
  from held h
    join content c on c.role_id = h.role_id
  where h.delegator_id is null
  union
  select g.permission, g.scope, case when g.scope in ('team', 'department') and u.unit_id is not null then u.id end
  from granted g
    join freehold.users u on u.id = g.user_id
  where u.id = any (subjects)
  union
  select c.permission, least(c.scope, g.scope), case when least(c.scope, g.scope) <> 'all' then d.delegator_id end
  from delegated d
    cross join lateral (
      select x.permission, x.scope from content x where x.role_id = d.role_id
      union all
      select p.permission, 'all' from freehold.delegation_permissions p where p.delegation_id = d.delegation_id
    ) c
    join of_delegator g on g.delegator_id = d.delegator_id and g.permission = c.permission
$$;
--> statement-breakpoint
-- Refuses when the admitted user does not hold everything that another one holds. What was delegated to the admitted
-- user does not count: it ends, and the account would stay theirs.
create or replace function access.require_all_of(subject uuid) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  everywhere text[] := access.held_everywhere(null);
  wanted text[] := array(select p.name from freehold.permissions p where p.name <> all (everywhere));
  lacks access.placed;
begin
  if access.principal() is null or access.principal() = subject or cardinality(wanted) = 0 then
    return;
  end if;
  lacks := access.lacking(
    array(select g::access.placed from access.potential_grants(array[subject], wanted) g),
    null);
  if lacks.permission is not null then
    perform access.refuse('forbidden',
      'This user holds more permissions than you: you cannot change how they log in.');
  end if;
end $$;
--> statement-breakpoint
-- Refuses when one of these users has power over others that the admitted user does not have; of the power that is
-- held at scope `measured`, when it is given.
create or replace function access.require_power_of(subjects uuid[], measured access.scope default null) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  others uuid[] := array_remove(subjects, access.principal());
  everywhere text[];
  wanted text[];
  lacks access.placed;
begin
  if access.principal() is null or coalesce(cardinality(others), 0) = 0 then
    return;
  end if;
  -- First by itself: in the query it would be called for each permission.
  everywhere := access.held_everywhere(others);
  wanted := array(select p.name from freehold.permissions p where p.is_administrative and p.name <> all (everywhere));
  if cardinality(wanted) = 0 then
    return;
  end if;
  lacks := access.lacking(
    array(
      select g::access.placed
      from access.potential_grants(others, wanted) g
      where g.scope > 'own' and (measured is null or g.scope = measured)),
    others);
  if lacks.permission is not null and access.key() is null then
    perform access.refuse('forbidden',
      'This changes a user with administrative permissions that you do not hold as far as they do.');
  elsif lacks.permission is not null then
    perform access.refuse('forbidden',
      'This changes a user with administrative permissions that you or this API key do not hold as far as they do.');
  end if;
end $$;
--> statement-breakpoint
-- Everybody who holds a role, now or later, also through a role that inherits from it or by a delegation.
create or replace function access.holders_of(role uuid) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive line (id) as (
    select role
    union
    select r.id from line l join freehold.roles r on r.parent_id = l.id
  )
  select array(
    select ur.user_id
    from line l
      join freehold.user_roles ur on ur.role_id = l.id
    where ur.ends_at is null or ur.ends_at > now()
    union
    select d.delegate_id
    from line l
      join freehold.delegations d on d.role_id = l.id
    where d.ends_at > now() and d.revoked_at is null and d.decision is distinct from 'rejected')
$$;
--> statement-breakpoint
-- A key is made and changed by its owner, and revoked also by a user who looks after keys. One that is revoked stays
-- revoked.
create or replace function access.before_api_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  live integer;
begin
  if me is null then
    return new;
  end if;
  if tg_op = 'UPDATE' then
    if old.revoked_at is not null then
      perform access.refuse('not_found', 'There is no such key.');
    elsif new.revoked_at is not null then
      perform access.require_power_of(array[old.user_id]);
      -- Nothing else changes with it.
      new := old;
      new.revoked_at := now();
      return new;
    elsif me <> new.user_id then
      perform access.refuse('forbidden', 'Another user''s key can be revoked, but not changed.');
    elsif old.expires_at <= now() then
      perform access.refuse('illegal_state', 'This key has expired.');
    elsif coalesce(new.expires_at, 'infinity') > old.expires_at
      and exists (select from freehold.api_keys s where s.rotated_from = old.id) then
      perform access.refuse('illegal_state', 'This key was rotated: its expiry cannot be extended.');
    elsif new.expires_at is distinct from old.expires_at and new.expires_at < now() then
      perform access.refuse('invalid_request', 'must lie in the future', 'expires_at');
    end if;
  else
    if new.expires_at <= now() then
      perform access.refuse('invalid_request', 'must lie in the future', 'expires_at');
    elsif new.rotated_from is not null
      and not exists (
        select
        from freehold.api_keys k
        where k.id = new.rotated_from
          and k.user_id = new.user_id
          and k.revoked_at is null
          and (new.name, new.permissions, new.addresses) = (k.name, k.permissions, k.addresses)
      ) then
      perform access.refuse('not_found', 'There is no such key.');
    end if;
    -- One at a time of one user, so that one transaction gets the last place. A rotated key and its successor live
    -- side by side for a while, hence twice the room for a successor.
    perform from freehold.users u where u.id = new.user_id for no key update;
    select count(*)
    into live
    from freehold.api_keys k
    where k.user_id = new.user_id
      and k.revoked_at is null
      and (k.expires_at is null or k.expires_at > now());
    if live >= (case when new.rotated_from is null then 50 else 100 end) then
      perform access.refuse('limit_reached', 'A user can have at most 50 API keys: revoke one first.');
    end if;
  end if;
  -- A successor names what its predecessor named, also a permission that the owner has lost since: a key never acts
  -- for more than they hold.
  if (case when tg_op = 'UPDATE' then new.permissions <> old.permissions else new.rotated_from is null end) then
    perform access.check_key(new);
    new.permissions := array(select distinct p from unnest(new.permissions) p order by 1);
  end if;
  if tg_op = 'INSERT' or new.addresses <> old.addresses then
    new.addresses := access.check_networks(new.addresses);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Whether these are hash parameters, or a hash, of another system: they hold the salt of the hash that replaces it.
create or replace function access.is_foreign(hash_parameters text) returns boolean
language sql immutable
return strpos(hash_parameters, ',next=') > 0;
--> statement-breakpoint
-- How many seconds from now another foreign hash may be computed for this tenant, of which there are ten in any minute;
-- null: now. Deferred attempts computed none.
create or replace function access.foreign_wait() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select ceil(extract(epoch from a.created_at + interval '1 minute' - now()))::integer
  from freehold.login_attempts a
  where access.is_foreign(a.hash_parameters)
    and a.state <> 'deferred'
    and a.created_at > now() - interval '1 minute'
  order by a.created_at desc
  offset 9
  limit 1
$$;
--> statement-breakpoint
-- Begins an attempt: {state: pending, attempt, hash_parameters, retry_after}, also during a lockout and where too many
-- foreign hashes were computed, when it can only fail and costs what that of an unknown identifier costs; or {state:
-- busy} when as many attempts are under way as may fail. `retry_after` is access.foreign_wait() for everybody, so that a
-- failure in such a minute is answered alike whoever is meant. Locks the lockout's row, so that the attempts of one
-- identifier are decided one after another. An attempt that is not finished within 30 s has failed.
create or replace function access.begin_attempt(
  t freehold.tenant,
  guard text,
  subject uuid,
  identifier text,
  hash_parameters text
) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  g freehold.lockouts;
  open record;
  attempt uuid := gen_random_uuid();
  state text := 'pending';
  retry_after integer;
begin
  -- Whoever logged in before has a row: locking it leaves no dead one behind, as an upsert would for each login.
  select * into g from freehold.lockouts x where x.key = guard for update;
  if not found then
    insert into freehold.lockouts as x (key) values (guard)
    on conflict (key) do update set key = x.key
    returning x.* into g;
  end if;
  select
    count(*) filter (where a.created_at > now() - interval '30 seconds') as pending,
    count(*) filter (where a.created_at <= now() - interval '30 seconds') as lost
  into open
  from freehold.login_attempts a
  where a.key = guard and a.state = 'pending';
  if open.lost > 0 then
    update freehold.login_attempts a set state = 'failed'
    where a.key = guard and a.state = 'pending' and a.created_at <= now() - interval '30 seconds';
    g := access.count_failures(t, guard, open.lost::integer);
  end if;
  if g.locked_until > now() then
    state := 'refused';
  else
    if g.locked_until is not null or g.failed_at <= now() - make_interval(mins => t.lock_minutes) then
      g := access.clear_lockout(g);
    end if;
    if g.failures + open.pending >= t.max_failures then
      return jsonb_build_object('state', 'busy');
    end if;
    if access.is_foreign(hash_parameters) then
      -- One after another, so that of many at once each sees those before it.
      perform pg_advisory_xact_lock(hashtext('access.foreign_wait'));
    end if;
  end if;
  retry_after := access.foreign_wait();
  if state = 'pending' and retry_after is not null and access.is_foreign(hash_parameters) then
    state := 'deferred';
  end if;
  if state <> 'pending' then
    hash_parameters := access.hash_parameters_of(null, identifier);
  end if;
  insert into freehold.login_attempts (id, key, user_id, identifier, hash_parameters, state)
  values (attempt, guard, subject, left(identifier, 255), hash_parameters, state);
  return jsonb_build_object(
    'state', 'pending',
    'attempt', attempt,
    'hash_parameters', hash_parameters,
    'retry_after', retry_after
  );
end $$;
--> statement-breakpoint
-- Finishes an attempt, once: compares the digest (32 bytes, base64 without padding) with the user's hash, counts a
-- failure or clears the lockout. Returns the user when the password was right, and leaves their row locked. Without a
-- digest nothing is compared, and so nothing counted: the Worker was busy with other foreign hashes.
create or replace function access.finish_attempt(t freehold.tenant, attempt uuid, digest text) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.login_attempts;
  g freehold.lockouts;
  u freehold.users;
  is_right boolean;
begin
  select * into a from freehold.login_attempts x where x.id = attempt;
  -- Of two that finish this attempt, the second waits here.
  select * into g from freehold.lockouts x where x.key = a.key for update;
  -- A concurrent change of this user's password goes first or waits: the comparison below sees the hash that it left.
  select * into u from freehold.users x where x.id = a.user_id for no key update;
  is_right := coalesce(
    case when u.is_active then access.current_password(u.id) = access.stored_hash(a.hash_parameters, digest) end,
    false);
  update freehold.login_attempts x
  set state = case when digest is null then 'deferred' when is_right then 'succeeded' else 'failed' end
  where x.id = attempt and x.state = 'pending'
  returning x.* into a;
  if a.id is null or a.state = 'deferred' then
    return null;
  elsif not is_right then
    perform access.count_failures(t, a.key, 1);
    return null;
  end if;
  perform access.clear_lockout(g);
  return u;
end $$;
--> statement-breakpoint
-- First half: what access.begin_attempt returns, the same for an unknown identifier. A user who is not active costs no
-- hash of another system.
create or replace function access.begin_login(tenant_id uuid, identifier text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users;
begin
  identifier := left(identifier, 255);
  if strpos(identifier, '@') > 0 then
    select * into u from freehold.users x where x.email = identifier;
  else
    select * into u from freehold.users x where x.username = identifier;
  end if;
  return access.begin_attempt(
    t,
    case
      when u.id is null then 'unknown:' || encode(access.mac('guard:' || identifier), 'hex')
      else 'login:' || u.id
    end,
    u.id,
    identifier,
    access.hash_parameters_of(case when u.is_active then u.id end, identifier)
  );
end $$;
--> statement-breakpoint
-- Second half: {outcome: ok, claims} with a session and its first refresh token, or {outcome: refused, mail} or
-- {outcome: no_role}. When the user has too many sessions, the oldest end. `renewed` is a new hash of the same
-- password, in place of one that another system made.
create or replace function access.finish_login(
  tenant_id uuid,
  attempt uuid,
  digest text,
  renewed text,
  refresh_hash bytea,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  s freehold.sessions;
  surplus uuid[];
  named text;
  why text;
begin
  if u.id is null then
    select a.identifier, a.user_id,
      case
        when a.user_id is null then 'unknown'
        when a.state = 'refused' then 'locked'
        when a.state = 'deferred' then 'rate_limited'
        when not x.is_active then 'inactive'
        else 'wrong_password'
      end
    into named, u.id, why
    from freehold.login_attempts a
    left join freehold.users x on x.id = a.user_id
    where a.id = attempt;
    perform access.set_audit_actor(u.id, named, request);
    perform access.record('LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', why), 20);
    return jsonb_build_object('outcome', 'refused', 'mail', access.has_enqueued_mail());
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  if not access.has_role(u.id) then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'no_role'), 10
    );
    return jsonb_build_object('outcome', 'no_role');
  end if;
  if renewed is not null then
    update freehold.passwords p set password_hash = renewed
    where p.user_id = u.id and p.replaced_at is null;
  end if;
  insert into freehold.sessions (id, user_id, device, address, city, country, expires_at)
  values (
    gen_random_uuid(),
    u.id,
    left(request ->> 'agent', 255),
    left(request ->> 'address', 64),
    left(request ->> 'city', 120),
    left(request ->> 'country', 2),
    now() + make_interval(days => t.session_days)
  )
  returning * into s;
  -- The user's row has been locked since the comparison, so that of many logins at once each sees the sessions of
  -- those before it.
  surplus := array(
    select y.id
    from freehold.sessions y
    where y.user_id = u.id
      and y.id <> s.id
      and y.ended_at is null
      and y.expires_at > now()
      and y.last_active_at > now() - make_interval(days => t.idle_days)
    order by y.created_at desc, y.id
    offset coalesce(u.max_sessions, t.max_sessions) - 1
  );
  if surplus <> '{}' then
    update freehold.sessions x set ended_at = now(), ended_because = 'limit' where x.id = any (surplus);
  end if;
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
  values (refresh_hash, s.id, s.device, s.expires_at);
  return jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t));
end $$;
--> statement-breakpoint
-- Mails users whose password expires soon, once for each password and as many as the day has room for; returns how
-- many. Called by the scheduled job, as the owner. The users are locked before the first mail is counted: who changes an
-- address locks the user first, too.
create or replace function access.warn_expiring(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  warned integer;
begin
  with soon as (
    update freehold.passwords p set warned_at = now()
    from freehold.tenant t
    where p.id in (
      select x.id
      from freehold.passwords x
      join freehold.users u on u.id = x.user_id
      where x.replaced_at is null
        and x.warned_at is null
        and u.is_active
        and not u.must_change_password
        and t.password_days > 0
        and x.created_at <= now()
          - make_interval(days => t.password_days - least(t.password_warning_days, t.password_days))
      order by x.created_at
      limit least(at_most, access.warnings_left())
      for update of x skip locked
      for key share of u skip locked
    )
    returning p.user_id
  )
  select count(
    access.enqueue_mail(
      'password_expires', u.id, u.email, jsonb_build_object('expires_at', access.password_expiry(u, t))))
  into warned
  from soon
  join freehold.users u on u.id = soon.user_id
  cross join freehold.tenant t;
  return warned;
end $$;
--> statement-breakpoint
-- The hash parameters of the password history, with which the Worker hashes a new password to compare it. Not those of
-- another system, which cost seconds, outside of any attempt.
create or replace function access.history_parameters(subject uuid, t freehold.tenant) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(distinct regexp_replace(p.password_hash, '[$][^$]*$', '')), '[]')
  from access.password_history(subject, t) p
  where not access.is_foreign(p.password_hash)
$$;
--> statement-breakpoint
-- A delegation is decided once, by a third user whose permission to do so does not come from one of the two, and is
-- revoked once. One that is over stays over.
create or replace function access.before_delegation_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if me is null then
    return new;
  elsif old.revoked_at is not null or old.decision = 'rejected' or old.ends_at <= now() then
    perform access.refuse('illegal_state', 'This delegation has ended.');
  elsif access.permission() = 'delegation:approve' then
    if not exists (
      select
      from unnest(access.reasons(me, 'delegation:approve', now())) s
      where s.holder not in (old.delegator_id, old.delegate_id)
    ) then
      perform access.refuse('forbidden', 'Neither the delegator nor the delegate can decide on a delegation.');
    elsif old.decision is not null then
      perform access.refuse('illegal_state', 'This delegation is not pending.');
    end if;
    new.decided_at := now();
    new.decided_by := me;
    new.revoked_at := null;
  else
    perform access.require_power_of(array[old.delegator_id, old.delegate_id]) where me <> old.delegator_id;
    new.decision := old.decision;
    new.decided_at := old.decided_at;
    new.decided_by := old.decided_by;
    new.revoked_at := now();
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Whether anybody can cause a mail of this kind for anybody: it takes an address and no login.
create or replace function access.is_strangers_mail(kind text) returns boolean
language sql immutable
return kind in ('register', 'register_known', 'email_verify', 'password_reset', 'account_locked');
--> statement-breakpoint
-- Counts a mail that was just inserted: null, or the setting whose limit it is beyond. The day's row stays locked until
-- the transaction ends, so that those who enqueue are counted one after another. Nothing is locked after it: the mail is
-- inserted before, which locks its user.
create or replace function access.limit_reached(made freehold.mails) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  is_strangers boolean := access.is_strangers_mail(made.kind);
  strangers integer := case when is_strangers then 1 else 0 end;
  most integer;
begin
  select * into strict t from freehold.tenant;
  insert into access.mail_counter as c (day, by_strangers, by_others)
  values ((now() at time zone 'UTC')::date, strangers, 1 - strangers)
  on conflict (one) do update
  set day = greatest(c.day, excluded.day),
    by_strangers = excluded.by_strangers + case when c.day < excluded.day then 0 else c.by_strangers end,
    by_others = excluded.by_others + case when c.day < excluded.day then 0 else c.by_others end
  where c.day < excluded.day
    or (
      c.by_strangers + c.by_others < t.mail_per_day
      and (not is_strangers or c.by_strangers < access.strangers_share(t))
    );
  if not found then
    return 'mail_per_day';
  end if;
  most := case
    when is_strangers and made.kind not in ('register', 'password_reset') then greatest(1, t.mail_per_recipient_hour - 1)
    else t.mail_per_recipient_hour
  end;
  -- A mail that is dropped does not count for the day.
  update access.mail_counter c
  set by_strangers = c.by_strangers - strangers, by_others = c.by_others - (1 - strangers)
  where (
    select count(*)
    from freehold.mails m
    where access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
      and m.created_at > now() - interval '1 hour'
      and access.is_strangers_mail(m.kind) = is_strangers
  ) > most or (
    made.kind in ('email_change', 'phone_code')
    and (
      select count(*)
      from freehold.mails m
      where m.user_id = made.user_id
        and m.kind = made.kind
        and m.created_at > now() - interval '1 hour'
      ) > t.mail_per_recipient_hour
  );
  return case when found then 'mail_per_recipient_hour' end;
end $$;
--> statement-breakpoint
-- Under what a recipient is counted: an address is stored normalised; a number is the same however it is written. The
-- index mails_recipient is on this expression.
create or replace function access.recipient_key(channel text, recipient text) returns text
language sql immutable
return case when channel = 'sms' then regexp_replace(recipient, '[^0-9]', '', 'g') else recipient end;
--> statement-breakpoint
-- How many of a day's mails strangers can cause.
create or replace function access.strangers_share(t freehold.tenant) returns integer
language sql immutable
return ceil(t.mail_per_day * 0.75)::integer;
--> statement-breakpoint
-- Waits as whoever enqueues a mail does, for the day's row: while many are enqueued, an address that is mailed nothing
-- must not be answered sooner than one that is.
create or replace function access.wait_as_if_mailed() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform from access.mail_counter for no key update;
end $$;
--> statement-breakpoint
-- How many warnings the scheduled job may send today: they leave a quarter of the day's mails to people, too.
create or replace function access.warnings_left() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(0, access.strangers_share(t) - coalesce(
    (
      select c.by_strangers + c.by_others
      from access.mail_counter c
      where c.day >= (now() at time zone 'UTC')::date
    ),
    0))
  from freehold.tenant t
$$;
--> statement-breakpoint
-- Takes up to `at_most` mails that were dropped: [{id, kind, channel, limit, trace_id}]. The line that the Worker logs of
-- each is what stays, so that strangers fill no table.
create or replace function access.take_dropped_mails(tenant_id uuid, system_key text, at_most integer) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  taken jsonb;
begin
  perform access.check_system(tenant_id, system_key);
  with dropped as (
    delete from access.dropped_mails
    where id in (
      select m.id
      from access.dropped_mails m
      limit at_most
      for update skip locked
    )
    returning *
  )
  select jsonb_agg(
    jsonb_build_object('id', d.id, 'kind', d.kind, 'channel', d.channel, 'limit', d.reached, 'trace_id', d.trace_id)
    order by d.created_at, d.id
  )
  into taken
  from dropped d;
  return coalesce(taken, '[]');
end $$;
--> statement-breakpoint
-- Enqueues a mail and returns its id; null: it is beyond a limit, and dropped. `subject` is the recipient's user id,
-- whose locale applies; null for a registrant, to whom `locale` applies.
create or replace function access.enqueue_mail(
  kind text,
  subject uuid,
  recipient text,
  data jsonb default '{}',
  secrets_encrypted text default null,
  locale text default null,
  channel text default 'email'
) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made freehold.mails;
  reached text;
begin
  insert into freehold.mails (id, kind, channel, user_id, recipient, locale, data, secrets_encrypted, trace_id)
  values (
    gen_random_uuid(),
    enqueue_mail.kind,
    enqueue_mail.channel,
    subject,
    enqueue_mail.recipient,
    coalesce((select u.locale from freehold.users u where u.id = subject), enqueue_mail.locale, 'en'),
    enqueue_mail.data,
    enqueue_mail.secrets_encrypted,
    access.actor() ->> 'trace_id'
  )
  returning * into made;
  perform set_config('access.enqueued', 'yes', true);
  reached := access.limit_reached(made);
  if reached is not null then
    delete from freehold.mails m where m.id = made.id;
    insert into access.dropped_mails (id, kind, channel, reached, trace_id)
    values (made.id, made.kind, made.channel, reached, made.trace_id);
    return null;
  end if;
  return made.id;
end $$;
--> statement-breakpoint
-- Deletes at most so many rows of each kind: {is_done, given_up}, where `given_up` counts mails. A purge stays due
-- until it is done.
create or replace function access.purge(at_most integer) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most integer;
  given_up integer;
begin
  with attempts as (
    -- Kept briefly, because users type passwords where an identifier goes.
    delete from freehold.login_attempts
    where id in (
      select a.id
      from freehold.login_attempts a
      where a.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tokens as (
    delete from freehold.one_time_tokens
    where token_hash in (
      select k.token_hash
      from freehold.one_time_tokens k
      where k.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), registered as (
    delete from freehold.registrations
    where token_hash in (
      select r.token_hash
      from freehold.registrations r
      where r.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), refreshed as (
    -- All tokens of a session expire together: a used one reveals a theft as long as its session can live.
    delete from freehold.refresh_tokens
    where token_hash in (
      select l.token_hash
      from freehold.refresh_tokens l
      where l.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), forsaken as (
    -- Mails that waited for a day, and an hour more for a last pause between attempts: those for which no transport
    -- is configured, and those that made their sender crash.
    update freehold.mails
    set state = 'dead', secrets_encrypted = null, finished_at = now(), lease_until = null
    where id in (
      select m.id
      from freehold.mails m
      where m.state = 'queued'
        and m.created_at < now() - interval '25 hours'
        and (m.lease_until is null or m.lease_until < now())
      limit at_most
      for update skip locked
    )
    returning 1
  ), old as materialized (
    select m.id
    from freehold.mails m
    where m.finished_at < now() - interval '90 days'
    limit at_most
    for update skip locked
  ), dropped as (
    -- The next delivery logs them; without a transport there is none.
    delete from access.dropped_mails
    where id in (
      select m.id
      from access.dropped_mails m
      where m.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tried as (
    delete from freehold.mail_attempts a using old where a.mail_id = old.id
  ), finished as (
    delete from freehold.mails m using old where m.id = old.id
    returning 1
  )
  select
    x.given_up,
    greatest(
      x.given_up,
      (select count(*) from attempts),
      (select count(*) from tokens),
      (select count(*) from registered),
      (select count(*) from refreshed),
      (select count(*) from dropped),
      (select count(*) from finished)
    )
  into given_up, most
  from (select count(*) as given_up from forsaken) x;
  -- After the attempts: a lockout without a failure belongs to an attempt that was never finished, and goes once that
  -- attempt is gone.
  with guards as (
    delete from freehold.lockouts
    where key in (
      select g.key
      from freehold.lockouts g
      where g.key like 'unknown:%'
        and (g.locked_until is null or g.locked_until < now())
        and coalesce(
          g.failed_at < now() - interval '1 day',
          not exists (select from freehold.login_attempts a where a.key = g.key)
        )
      limit at_most
      for update skip locked
    )
    returning 1
  )
  select greatest(most, count(*)) into most from guards;
  if most < at_most then
    insert into access.purges (last_at) values (now())
    on conflict (one) do update set last_at = excluded.last_at;
  end if;
  return jsonb_build_object('is_done', most < at_most, 'given_up', given_up);
end $$;
--> statement-breakpoint
-- Sends a code: `sent`, `none` (the user has no number), or `often` (the user, or the number, was sent as many as the
-- tenant allows: src/mail/limits.sql). A code that is sent voids the one before it.
create or replace function access.phone_code(code text, secrets_encrypted text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  if u.phone is null then
    return 'none';
  elsif access.enqueue_mail('phone_code', u.id, u.phone, '{}', secrets_encrypted, null, 'sms') is null then
    return 'often';
  end if;
  update freehold.one_time_tokens x set used_at = now()
  where x.user_id = u.id and x.kind = 'phone' and x.used_at is null;
  -- The same code can be drawn again.
  insert into freehold.one_time_tokens as x (token_hash, kind, user_id, target, expires_at)
  values (access.code_hash(u, code), 'phone', u.id, u.phone, now() + interval '10 minutes')
  on conflict (token_hash) do update
  set tries = 0, created_at = now(), expires_at = excluded.expires_at, used_at = null;
  return 'sent';
end $$;
--> statement-breakpoint
-- Somebody says that they forgot their password: a token for one hour. Returns whether there is a mail to deliver,
-- which no caller outside is told.
create or replace function access.request_reset(
  tenant_id uuid,
  system_key text,
  address text,
  token_hash bytea,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  select * into u from freehold.users x where x.email = address and x.is_active for no key update;
  perform access.set_audit_actor(u.id, u.username, request);
  if u.id is not null then
    perform access.send_token(u, 'reset', u.email, token_hash, 1, 'password_reset', secrets_encrypted);
  end if;
  perform access.wait_as_if_mailed();
  perform access.record('PASSWORD_RESET_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return access.has_enqueued_mail();
end $$;
--> statement-breakpoint
-- First half of a reset by an administrator: {user, policy, history}.
create or replace function access.begin_admin_reset(subject uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users := access.user_to_reset(subject);
begin
  perform access.require_all_of(subject);
  return (
    select jsonb_build_object(
      'user', access.personal_details(u),
      'policy', access.policy_of(t),
      'history', access.history_parameters(u.id, t)
    )
    from freehold.tenant t
  );
end $$;
--> statement-breakpoint
-- Second half: sets the password, which the user may have to change, and mails them a link to set their own: `done`
-- or `used` (it is in the history).
create or replace function access.finish_admin_reset(
  subject uuid,
  new_hash text,
  digests jsonb,
  must_change boolean,
  token_hash bytea,
  secrets_encrypted text
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users := access.user_to_reset(subject);
begin
  perform access.require_all_of(subject);
  if (select access.was_used(u.id, t, digests) from freehold.tenant t) then
    return 'used';
  end if;
  perform access.set_recovered_password(u, new_hash, must_change, 'reset_by_administrator');
  if u.is_active then
    perform access.send_token(u, 'reset', u.email, token_hash, 24, 'password_reset_by_admin', secrets_encrypted);
  end if;
  return 'done';
end $$;
--> statement-breakpoint
-- Lets a locked out user log in again at once. Raises FH404, FH403.
create or replace function access.unlock(subject uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:update' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif subject = access.principal() or (access.scope() <> 'all' and subject = any (access.scope_owner_ids())) then
    perform access.refuse('forbidden', 'You cannot unlock yourself.');
  end if;
  -- A lockout does not slow down an attacker who can guess, unlock and guess again.
  perform access.require_all_of(subject);
  perform access.lock_login(subject), access.clear_failures(subject);
  perform access.record('USER_UNLOCKED', 'update', 'user', subject::text, null, null);
end $$;
--> statement-breakpoint
-- A reset that only mails the user a link to set a new password: the caller learns nothing and nothing ends, so that
-- it is open to those who hold less than the user. Returns {user_id, must_change_password}.
create or replace function access.mail_reset_link(subject uuid, token_hash bytea, secrets_encrypted text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users := access.user_to_reset(subject);
begin
  if u.is_active then
    perform access.send_token(u, 'reset', u.email, token_hash, 24, 'password_reset_link', secrets_encrypted);
  end if;
  perform access.record('PASSWORD_RESET_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return jsonb_build_object('user_id', u.id, 'must_change_password', u.must_change_password);
end $$;
--> statement-breakpoint
-- The user whose password the admitted administrator resets, locked: within reach, and not themselves. Raises FH404,
-- FH403.
create or replace function access.user_to_reset(subject uuid) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  if access.permission() = 'user:update' and access.can_access_user(subject) then
    perform access.lock_login(subject);
    select * into u from freehold.users x where x.id = subject;
  end if;
  if u.id is null then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif u.id = access.principal() then
    perform access.refuse('forbidden', 'Change your own password with auth/password-change.');
  elsif access.scope() <> 'all' and u.id = any (access.scope_owner_ids()) then
    perform access.refuse('forbidden', 'A delegated permission cannot be used on its delegator.');
  end if;
  return u;
end $$;
--> statement-breakpoint
-- Registers an address for a day. Returns whether there is a mail to deliver, which no caller outside is told. Raises
-- FH403.
create or replace function access.start_registration(
  tenant_id uuid,
  system_key text,
  presented bytea,
  secret_hash bytea,
  wanted jsonb,
  new_hash text,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  address text := wanted ->> 'email';
begin
  if not access.may_register(t, address) then
    raise exception using errcode = 'FH403', message = 'forbidden';
  end if;
  select * into u from freehold.users x where x.email = address for no key update;
  perform access.set_audit_actor(null, null, request);
  if u.id is null then
    -- Concurrent requests for one address go one after another.
    perform pg_advisory_xact_lock(hashtext('register:' || address));
    delete from freehold.registrations x
    where x.token_hash in (
      select y.token_hash
      from freehold.registrations y
      where y.expires_at < now() - interval '1 day'
      limit 5
      for update skip locked
    );
    insert into freehold.registrations (
      token_hash, email, secret_hash, username, password_hash, given_name, family_name, locale, is_mailed, expires_at
    )
    values (
      presented,
      address,
      start_registration.secret_hash,
      wanted ->> 'username',
      new_hash,
      wanted ->> 'given_name',
      wanted ->> 'family_name',
      coalesce(wanted ->> 'locale', 'en'),
      access.enqueue_mail('register', null, address, '{}', secrets_encrypted, wanted ->> 'locale') is not null,
      now() + interval '24 hours'
    );
    delete from freehold.registrations x
    where x.token_hash in (
      select y.token_hash
      from freehold.registrations y
      where y.email = address and not y.is_mailed
      order by y.created_at desc, y.token_hash
      offset 10
    );
  elsif u.is_active then
    perform access.enqueue_mail('register_known', u.id, u.email);
  end if;
  perform access.wait_as_if_mailed();
  perform access.record('REGISTRATION_REQUESTED', 'create', 'registration', null, null, null, 5);
  return access.has_enqueued_mail();
end $$;
--> statement-breakpoint
-- Mails another verification, to a user whose address is not verified, or to an address for which a registration waits:
-- a token alone, with nobody's password. Returns whether there is a mail to deliver, which no caller outside is told.
create or replace function access.resend_verification(
  tenant_id uuid,
  system_key text,
  address text,
  token_hash bytea,
  secrets_encrypted text,
  request jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  r freehold.registrations;
begin
  perform access.set_audit_actor(null, null, request);
  select * into u from freehold.users x where x.email = address and x.is_active for no key update;
  if u.id is not null then
    if not u.email_verified then
      perform access.send_token(u, 'email', u.email, token_hash, 24, 'email_verify', secrets_encrypted);
    end if;
    perform access.wait_as_if_mailed();
    return access.has_enqueued_mail();
  end if;
  perform pg_advisory_xact_lock(hashtext('register:' || address));
  select * into r
  from freehold.registrations x
  where x.email = address and x.password_hash is not null and x.used_at is null and x.expires_at > now()
  order by x.created_at desc
  limit 1;
  if r.token_hash is not null
    and access.may_register(t, address)
    and access.enqueue_mail('register', null, address, '{}', secrets_encrypted, r.locale) is not null then
    insert into freehold.registrations (token_hash, email, locale, expires_at)
    values (resend_verification.token_hash, address, r.locale, now() + interval '24 hours');
  end if;
  perform access.wait_as_if_mailed();
  return access.has_enqueued_mail();
end $$;
--> statement-breakpoint
-- Enqueues a mail with a token for a user whose row is locked, and stores the token, unless the mail is dropped.
create or replace function access.send_token(
  u freehold.users,
  token_kind text,
  target text,
  token_hash bytea,
  hours integer,
  mail text,
  secrets_encrypted text
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if access.enqueue_mail(mail, u.id, target, '{}', secrets_encrypted) is not null then
    insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at)
    values (token_hash, token_kind, u.id, target, now() + make_interval(hours => hours));
  end if;
end $$;
--> statement-breakpoint
-- {email, is_user, policy}, by which the Worker judges a new password; null: the token is not valid. `is_user`: the token
-- is for the address of a user, who has a password.
create or replace function access.begin_verification(tenant_id uuid, presented bytea) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.token_user(presented, 'email', false);
  r freehold.registrations := access.valid_registration(t, presented);
begin
  return case
    when u.id is not null or r.token_hash is not null then jsonb_build_object(
      'email', coalesce(u.email, r.email),
      'is_user', u.id is not null,
      'policy', access.policy_of(t)
    )
  end;
end $$;
--> statement-breakpoint
-- Spends a token that was mailed to an address. One of a user verifies their address, or replaces it by the one that
-- they asked for. One of a registration creates the user, with the password of the registration that `secret_hash`
-- belongs to, or else with `new_hash` and the name that the address gives. `done`; `invalid` (the token);
-- `password_required`: neither is there, and the token stays valid; `taken`: by now another user has the address.
create or replace function access.finish_verification(
  tenant_id uuid,
  system_key text,
  presented bytea,
  secret_hash bytea,
  new_hash text,
  new_username text,
  request jsonb
) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  k freehold.one_time_tokens;
  r freehold.registrations;
  said freehold.registrations;
  u freehold.users := access.token_user(presented, 'email', true);
begin
  if u.id is not null then
    perform access.set_audit_actor(u.id, u.username, request);
    update freehold.one_time_tokens x set used_at = now() where x.token_hash = presented returning * into k;
    if u.email <> k.target then
      begin
        update freehold.users x set email = k.target where x.id = u.id;
      exception when unique_violation then
        return 'taken';
      end;
    end if;
    update freehold.users x set email_verified = true where x.id = u.id;
    return 'done';
  end if;
  -- Of several tokens of one address that are shown at once, one goes first.
  perform pg_advisory_xact_lock(hashtext('register:' || x.email))
  from freehold.registrations x
  where x.token_hash = presented;
  r := access.valid_registration(t, presented);
  if r.token_hash is null then
    return 'invalid';
  elsif new_hash is null then
    select * into said
    from freehold.registrations x
    where x.email = r.email
      and x.secret_hash = finish_verification.secret_hash
      and x.used_at is null
      and x.expires_at > now();
    if said.token_hash is null then
      return 'password_required';
    end if;
  end if;
  update freehold.registrations x set used_at = now() where x.email = r.email and x.used_at is null;
  said.email := r.email;
  said.username := coalesce(said.username, new_username);
  said.password_hash := coalesce(new_hash, said.password_hash);
  u := access.registered_user(t, said);
  if u.id is null then
    return 'taken';
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  perform access.record(
    'USER_REGISTERED', 'create', 'user', u.id::text, null,
    jsonb_build_object(
      'email', u.email,
      'role', u.role,
      'password', case when new_hash is null then 'registration' else 'verification' end
    )
  );
  return 'done';
end $$;
--> statement-breakpoint
-- The row of a registration's token that can be spent now, or null.
create or replace function access.valid_registration(t freehold.tenant, presented bytea) returns freehold.registrations
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select x.*
  from freehold.registrations x
  where x.token_hash = presented
    and x.used_at is null
    and x.expires_at > now()
    and access.may_register(t, x.email)
$$;
--> statement-breakpoint
-- Creates the user of a registration, with its password; null: another user has the address.
create or replace function access.registered_user(t freehold.tenant, said freehold.registrations) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  broken text;
  u freehold.users;
begin
  loop
    begin
      insert into freehold.users (
        id, username, email, email_verified, given_name, family_name, locale, role, password_changed_at
      )
      values (
        gen_random_uuid(),
        access.free_username(said.username),
        said.email,
        true,
        said.given_name,
        said.family_name,
        coalesce(said.locale, 'en'),
        coalesce(t.registration_role, (select x.name from freehold.roles x where x.is_fallback and x.deleted_at is null)),
        coalesce(said.created_at, now())
      )
      returning * into u;
      exit;
    exception when unique_violation then
      -- A concurrent transaction took the username: the next round finds it taken and makes another.
      get stacked diagnostics broken = constraint_name;
      if broken <> 'users_username' then
        return null;
      end if;
    end;
  end loop;
  insert into freehold.passwords (id, user_id, password_hash, created_at)
  values (gen_random_uuid(), u.id, said.password_hash, u.password_changed_at);
  return u;
end $$;
--> statement-breakpoint
-- Nobody assigns to themselves, nor what they do not hold; below scope `all` only manageable roles are given and
-- taken; a role has room for max_users.
create or replace function access.before_user_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  r freehold.roles;
  -- Whether this change gives something: an assignment that begins, or lasts longer.
  gives boolean := tg_op = 'INSERT'
    or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at));
  holders integer;
  far record;
begin
  if tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- It was to begin later and never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  -- Locked, so that one transaction gets the last place, and no role is deleted while it is given.
  select * into r from freehold.roles x where x.id = new.role_id for no key update;
  -- What it inherits stays the same meanwhile (before_role).
  perform pg_advisory_xact_lock_shared(hashtext('freehold.roles.parent_id'));
  if me is not null then
    -- role:update is asked for whatever the permission of the request is, as when a user is created with a role. A
    -- user who is being created may be given the fallback role, which everybody gets.
    select x.scope, x.units into far from access.effective_scope(me, 'role:update') x;
    if far.scope = 'all' or (tg_op = 'INSERT' and r.is_fallback and access.permission() = 'user:create') then
      null;
    elsif far.scope is null
      or not exists (select from freehold.users u where u.id = new.user_id and u.unit_id = any (far.units)) then
      perform access.refuse('forbidden', 'Assigning and removing roles needs role:update.');
    elsif r.id is not null and not (r.is_manageable or r.is_fallback) then
      perform access.refuse('forbidden', format('The role %s cannot be managed within a team.', r.name));
    end if;
  end if;
  if not gives then
    perform access.require_power_of(array[new.user_id]);
    return new;
  end if;
  if r.id is null or r.deleted_at is not null then
    perform access.refuse('invalid_request', 'is not a role of this tenant', 'role_id');
  elsif me = new.user_id then
    perform access.refuse('forbidden', 'You cannot assign a role to yourself.');
  elsif tg_op = 'INSERT'
    and exists (
      select
      from freehold.user_roles ur
      where ur.user_id = new.user_id
        and ur.role_id = r.id
        and ur.ends_at is null
    ) then
    perform access.refuse('already_exists', format('The user already has the role %s without an end.', r.name));
  end if;
  perform access.must_hold_role(r.id, array[new.user_id]);
  if r.max_users is not null then
    select count(distinct ur.user_id)
    into holders
    from freehold.user_roles ur
    where ur.role_id = r.id
      and ur.user_id <> new.user_id
      and (ur.ends_at is null or ur.ends_at > now());
    if holders >= r.max_users then
      perform access.refuse('limit_reached', format('The role %s can be held by at most %s users.', r.name, r.max_users));
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Nobody overrides their own permissions, nor gives what they do not hold.
create or replace function access.before_override() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  -- Whether this change gives something to the user: a grant that begins or lasts longer, or a denial that ends
  -- sooner.
  gives boolean := case
    when new.effect = 'grant' then
      tg_op = 'INSERT'
      or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at))
    else
      tg_op = 'UPDATE'
      and new.ends_at is not null
      and (old.ends_at is null or new.ends_at < old.ends_at)
  end;
begin
  if access.principal() = new.user_id then
    perform access.refuse('forbidden', 'You cannot override your own permissions.');
  -- `for share`, because deleting the permission is an update of its row.
  elsif tg_op = 'INSERT'
    and not exists (
      select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
    ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permission');
  elsif tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- It was to begin later and never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  if gives then
    -- A denial hides at which scope the user would hold the permission without it, so that only somebody who holds it
    -- at scope `all` lifts one.
    perform access.must_hold(
      array[new.permission],
      array[case when new.effect = 'grant' then new.scope else 'all' end]::access.scope[],
      array[new.user_id]);
  else
    perform access.require_power_of(array[new.user_id]);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The caller must hold what they grant to a role. Each row is checked before it is written, so that no grant gives
-- the caller what they must hold to make it; and as they held it a microsecond ago, before this transaction.
create or replace function access.before_role_permission() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if tg_op = 'UPDATE' then
    if me is not null and exists (select from freehold.roles r where r.id = new.role_id and r.is_admin) then
      perform access.refuse('illegal_state',
        'The administrator role carries every permission: none can be removed from it.');
    end if;
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    -- For the first permission that this transaction takes out of the role: those that are left are among what its
    -- holders have.
    if not exists (
      select from freehold.role_permissions rp where rp.role_id = new.role_id and rp.ends_at = now()
    ) then
      perform access.require_power_of(access.holders_of(new.role_id));
    end if;
    return new;
  -- `for share`, because deleting the permission is an update of its row.
  elsif not exists (
    select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
  ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permissions');
  end if;
  -- The holders of the role do not become others meanwhile (before_role). Not shared, because the same transaction may
  -- then change the parent.
  perform pg_advisory_xact_lock(hashtext('freehold.roles.parent_id'));
  -- Who holds it everywhere holds it wherever the role is held: most do, and a role may get hundreds of grants.
  if me is not null
    and access.own_scope(me, new.permission, now() - interval '1 microsecond') is distinct from 'all' then
    perform access.user_must_hold(
      array[new.permission],
      array[new.scope]::access.scope[],
      access.holders_of(new.role_id));
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The rules of one role: what belongs to the system stays, parents exist and make no circle, a role that is in use is
-- not deleted, and max_users is not below the number of holders.
create or replace function access.before_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  used text[];
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and old.deleted_at is not null then
    perform access.refuse('not_found', 'There is no such role.');
  elsif tg_op = 'UPDATE' and old.is_system and new.parent_id is distinct from old.parent_id then
    perform access.refuse('in_use', format('The role %s belongs to the system and keeps its parent.', old.name));
  end if;
  if new.deleted_at is not null
    or (new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id)) then
    -- One at a time: two halves of a circle are each allowed by themselves, and so are a parent that goes and a child
    -- that comes.
    perform pg_advisory_xact_lock(hashtext('freehold.roles.parent_id'));
  end if;
  if new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id) then
    if not exists (select from freehold.roles x where x.id = new.parent_id and x.deleted_at is null) then
      perform access.refuse('invalid_request', 'is not a role of this tenant', 'parent_id');
    elsif exists (
      with recursive up (id, parent_id) as (
        select x.id, x.parent_id
        from freehold.roles x
        where x.id = new.parent_id
        union
        select x.id, x.parent_id
        from up
          join freehold.roles x on x.id = up.parent_id
      )
      select from up where up.id = new.id
    ) then
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
      (select format('assigned to %s', string_agg(x.username, ', '))
        from (
          select u.username
          from freehold.user_roles ur
            join freehold.users u on u.id = ur.user_id
          where ur.role_id = old.id
            and (ur.ends_at is null or ur.ends_at > now())
          order by 1
          limit 5
        ) x
        having count(*) > 0),
      (select format('inherited by %s', string_agg(x.name, ', ' order by x.name))
        from freehold.roles x
        where x.parent_id = old.id
          and x.deleted_at is null
        having count(*) > 0),
      (select format('delegated by %s', string_agg(distinct u.username, ', '))
        from freehold.delegations d
          join freehold.users u on u.id = d.delegator_id
        where d.role_id = old.id
          and d.ends_at > now()
          and d.revoked_at is null
          and d.decision is distinct from 'rejected'
        having count(*) > 0)
    ], null)
    into used;
    if cardinality(used) > 0 then
      perform access.refuse('in_use', format('The role %s is %s.', old.name, array_to_string(used, '; ')));
    end if;
    new.is_active := false;
  end if;
  if tg_op = 'UPDATE'
    and new.max_users is distinct from old.max_users
    and new.max_users < (
      select count(distinct ur.user_id)
      from freehold.user_roles ur
      where ur.role_id = old.id
        and (ur.ends_at is null or ur.ends_at > now())
    ) then
    perform access.refuse('limit_reached', format('More than %s users hold the role %s.', new.max_users, old.name));
  end if;
  if tg_op = 'UPDATE' and old.is_system and new.name <> old.name then
    perform access.refuse('in_use', format('The role %s belongs to the system and keeps its name.', old.name));
  end if;
  -- Everybody who holds the role would lose what it carries, what it inherits, or the name by which services ask.
  if tg_op = 'UPDATE'
    and (
      (old.is_active and not new.is_active)
      or new.name <> old.name
      or new.max_users is distinct from old.max_users
      or (old.parent_id is not null and new.parent_id is distinct from old.parent_id)
    ) then
    perform access.require_power_of(access.holders_of(old.id));
  end if;
  return new;
end $$;
--> statement-breakpoint
-- To activate a role, or to give it a parent, is to hand out what it then carries. That is checked before the ranges
-- are kept: a caller who holds the role must not be judged by what it is about to give them.
create or replace function access.after_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' and new.is_active and not old.is_active then
    perform access.must_hold_role(new.id, access.holders_of(new.id));
  elsif new.parent_id is not null and (tg_op = 'INSERT' or new.parent_id is distinct from old.parent_id) then
    perform access.must_hold_role(new.parent_id, access.holders_of(new.id));
  end if;
  if tg_op = 'INSERT' or (new.is_active, new.parent_id) is distinct from (old.is_active, old.parent_id) then
    update freehold.role_periods p
    set ends_at = greatest(now(), p.starts_at)
    where p.role_id = new.id
      and p.ends_at is null;
    if new.is_active then
      insert into freehold.role_periods (id, role_id, parent_id, starts_at)
      values (gen_random_uuid(), new.id, new.parent_id, now());
    elsif new.is_admin then
      perform access.keep_admin();
    end if;
  end if;
  if tg_op = 'UPDATE' and (new.name <> old.name or new.deleted_at is not null) then
    -- A user whose assignment has run out does not get the role again under its new name.
    update freehold.users u
    set role = case
      when exists (
        select
        from freehold.user_roles ur
        where ur.user_id = u.id
          and ur.role_id = new.id
          and access.in_force(ur.starts_at, ur.ends_at, now())
      ) then new.name
      else access.primary_role(u.id)
    end
    where u.role = old.name;
  end if;
  return null;
end $$;
--> statement-breakpoint
-- Who ends sessions of somebody else needs that user's power over others. That is asked for the first of a user's
-- sessions that this transaction ends.
create or replace function access.before_session_end() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from freehold.sessions s where s.user_id = new.user_id and s.ended_at = now()) then
    perform access.require_power_of(array[new.user_id]);
  end if;
  return new;
end $$;
--> statement-breakpoint
-- The role that strangers get, the fallback too, is handed out by the user who names it, opens registration, or opens
-- it to others than before.
create or replace function access.before_tenant() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  given uuid;
begin
  new.updated_at := now();
  if access.permission() = 'setting:update'
    and (
      (
        new.registration
        and (new.registration, new.registration_role, new.registration_domains)
          is distinct from (old.registration, old.registration_role, old.registration_domains)
      )
      or (new.registration_role is not null and new.registration_role is distinct from old.registration_role)
    ) then
    -- Locked, so that the role is not deleted meanwhile.
    select r.id
    into given
    from freehold.roles r
    where r.deleted_at is null
      and case when new.registration_role is null then r.is_fallback else r.name = new.registration_role end
    for share;
    if given is null and new.registration_role is not null then
      perform access.refuse('invalid_request',
        format('%s is not a role of this tenant', new.registration_role), 'registration_role');
    end if;
    perform access.must_hold_role(given, '{}');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- A department stands under departments, a team under either, and nothing under itself. Callers below scope `all`
-- move nothing out of their reach, and make no department a team: the users in it would then reach all of the
-- department above.
create or replace function access.before_unit() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  is_limited boolean := access.principal() is not null and access.scope() <> 'all';
  is_turned boolean := tg_op = 'UPDATE' and new.kind <> old.kind;
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and (new.kind, new.parent_id) is not distinct from (old.kind, old.parent_id) then
    return new;
  end if;
  -- Nobody moves or turns a unit that holds their own, or moves another into their department, when a permission of
  -- theirs is measured from there.
  if tg_op = 'UPDATE'
    and access.principal() is not null
    and not is_limited
    and access.depends_on_unit(access.principal())
    and (
      (select p.unit_id from freehold.users p where p.id = access.principal()) in (select access.units_under(new.id))
      or (
        new.parent_id in (select access.units_in_scope(access.principal(), 'department'))
        and new.id not in (select access.units_in_scope(access.principal(), 'department'))
      )
    ) then
    perform access.refuse('forbidden', 'You cannot do this: the scope of your permissions depends on it.');
  elsif is_limited and (is_turned or (tg_op = 'UPDATE' and new.parent_id is null)) then
    perform access.refuse('forbidden', 'This needs access to all units.');
  elsif is_limited and new.parent_id <> all (access.scope_unit_ids()) and new.parent_id is not null then
    perform access.refuse('invalid_request', 'is not a unit that you can access', 'parent_id');
  elsif is_turned
    and new.kind = 'team'
    and exists (select from freehold.units u where u.parent_id = new.id and u.kind = 'department') then
    perform access.refuse('invalid_request', 'contains departments, which can only be under departments', 'kind');
  elsif new.kind = 'department'
    and exists (select from freehold.units u where u.id = new.parent_id and u.kind = 'team') then
    perform access.refuse('invalid_request', 'would put a department under a team',
      case when is_turned then 'kind' else 'parent_id' end);
  elsif exists (
    with recursive up (id, parent_id) as (
      select u.id, u.parent_id
      from freehold.units u
      where u.id = new.parent_id
      union
      select u.id, u.parent_id
      from up
        join freehold.units u on u.id = up.parent_id
    )
    select from up where up.id = new.id
  ) then
    perform access.refuse('invalid_request', 'would put a unit under itself', 'parent_id');
  end if;
  if tg_op = 'UPDATE' then
    perform access.require_power_of(access.users_measured_anew(old, new), 'department');
  end if;
  return new;
end $$;
--> statement-breakpoint
-- What departments reach is measured once more when the unit is in its new place.
create or replace function access.after_unit() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_power_of(access.users_measured_anew(old, new), 'department');
  return null;
end $$;
--> statement-breakpoint
-- The users whose scope `department` reaches other units once a unit is moved, or its kind turned: those of the
-- departments above that lose or gain it, and those in it who get another department.
create or replace function access.users_measured_anew(was freehold.units, is_now freehold.units) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive up (id, kind, parent_id, step, side) as (
    select u.id, u.kind, u.parent_id, 0, s.side
    from (values ('was', was.parent_id), ('is_now', is_now.parent_id)) s (side, id)
      join freehold.units u on u.id = s.id
    union all
    select u.id, u.kind, u.parent_id, x.step + 1, x.side
    from up x
      join freehold.units u on u.id = x.parent_id
  ),
  above as (
    select x.id
    from up x
    where x.kind = 'department'
    group by x.id
    having count(*) = 1
  ),
  inside as (
    select was.id
    where case when was.kind = 'department' then was.id
        else (select x.id from up x where x.side = 'was' and x.kind = 'department' order by x.step limit 1) end
      is distinct from case when is_now.kind = 'department' then is_now.id
        else (select x.id from up x where x.side = 'is_now' and x.kind = 'department' order by x.step limit 1) end
  ),
  -- Downwards as far as no other department begins.
  area (id) as (
    select id from above
    union
    select id from inside
    union
    select u.id
    from area a
      join freehold.units u on u.parent_id = a.id
    where u.kind <> 'department' and (u.id <> was.id or exists (select from inside))
  )
  select array(select u.id from freehold.users u where u.unit_id in (select a.id from area a))
$$;
--> statement-breakpoint
-- Creates the users of some lines, in their order, each of them or not at all. Returns what access.import_user says
-- of each line. A dry run does the same, and then undoes all of it. The batch is recorded with how many lines were
-- imported and how many not; `refused` of them the Worker did not pass on.
create or replace function access.import_batch(lines jsonb, refused integer, dry_run boolean) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  line jsonb;
  results jsonb[] := '{}';
begin
  if access.permission() is distinct from 'user:create' then
    perform access.refuse('forbidden', 'Importing users needs user:create.');
  end if;
  -- One import after another: two that name the same users in different orders would wait for each other.
  perform pg_advisory_xact_lock(hashtext('access.import_users'));
  begin
    for line in
      select e.value
      from jsonb_array_elements(lines) with ordinality e (value, place)
      order by e.place
    loop
      results := results || access.import_user(line);
    end loop;
    if dry_run then
      raise exception using errcode = 'FH001', message = 'undone';
    end if;
  exception when sqlstate 'FH001' then
    null;
  end;
  if not dry_run then
    perform access.record('USERS_IMPORTED', 'import', 'user', null, null, (
      select jsonb_build_object(
        'lines', refused + count(*),
        'created', count(*) filter (where r ? 'id'),
        'failed', refused + count(*) filter (where not r ? 'id'))
      from unnest(results) r));
  end if;
  return to_jsonb(results);
end $$;
--> statement-breakpoint
-- Creates one user of a file, whose fields the Worker has checked. Returns {id, username}, or {code, errors} when a
-- rule forbids it, and then nothing of the user is left. An error of the database that is not the line's fault is
-- raised.
create or replace function access.import_user(l jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
  named text;
  given uuid;
  -- The field that a refusal is about when it names none.
  about text := 'role';
  state text;
  said text;
  explained text;
  field text;
  broken text;
begin
  -- Row level security does not apply here, because import_batch runs as the owner.
  if access.scope() <> 'all' and not coalesce((l ->> 'unit_id')::uuid = any (access.scope_unit_ids()), false) then
    perform access.refuse('forbidden', 'You can only create users in units that are within your scope.', 'unit_id');
  elsif (l ->> 'email_verified')::boolean and not access.may_vouch((l ->> 'unit_id')::uuid) then
    perform access.refuse('forbidden', 'An address counts as verified with user:approve only.', 'email_verified');
  end if;
  insert into freehold.users (id, email, username, email_verified, is_active, must_change_password, role,
    given_name, family_name, phone, unit_id, manager_id, designation, description,
    locale, timezone, preferences, joined_at, max_sessions)
  values (
    made,
    l ->> 'email',
    l ->> 'username',
    coalesce((l ->> 'email_verified')::boolean, false),
    coalesce((l ->> 'is_active')::boolean, true),
    coalesce((l ->> 'must_change_password')::boolean, false),
    coalesce(l ->> 'role', (select r.name from freehold.roles r where r.is_fallback)),
    l ->> 'given_name',
    l ->> 'family_name',
    l ->> 'phone',
    (l ->> 'unit_id')::uuid,
    (l ->> 'manager_id')::uuid,
    l ->> 'designation',
    l ->> 'description',
    coalesce(l ->> 'locale', 'en'),
    coalesce(l ->> 'timezone', 'UTC'),
    coalesce(nullif(l -> 'preferences', 'null'), '{}'),
    (l ->> 'joined_at')::timestamptz,
    (l ->> 'max_sessions')::integer
  );
  -- A user without a hash has no password, and logs in after a reset.
  if l ->> 'password_hash' is not null then
    insert into freehold.passwords (id, user_id, password_hash)
    values (gen_random_uuid(), made, l ->> 'password_hash');
  end if;
  about := 'roles';
  for named in
    select distinct x.name
    from jsonb_array_elements_text(coalesce(nullif(l -> 'roles', 'null'), '[]')) x (name)
    order by x.name
  loop
    select r.id into given from freehold.roles r where r.name = named and r.deleted_at is null;
    if given is null then
      perform access.refuse('invalid_request', format('%s is not a role of this tenant', named), 'roles');
    elsif not exists (select from freehold.user_roles ur where ur.user_id = made and ur.role_id = given) then
      insert into freehold.user_roles (id, user_id, role_id)
      values (gen_random_uuid(), made, given);
    end if;
  end loop;
  return jsonb_build_object('id', made, 'username', l -> 'username');
exception when others then
  get stacked diagnostics
    state = returned_sqlstate,
    said = message_text,
    explained = pg_exception_detail,
    field = pg_exception_hint,
    broken = constraint_name;
  if state in ('FH400', 'FH403', 'FH404', 'FH409') then
    field := coalesce(nullif(field, ''), case said when 'forbidden' then about end);
    -- Of a line that names no primary role, the first of its roles is the primary one.
    if field = 'role' and l -> 'roles' ? (l ->> 'role') then
      field := 'roles';
    end if;
  elsif broken in ('users_email', 'users_username') then
    -- The constraint names one field that is taken. Both are reported when both are.
    return jsonb_build_object('code', 'already_exists', 'errors', (
      select jsonb_agg(jsonb_build_object('pointer', '#/' || f.name, 'detail', 'is taken') order by f.name)
      from (values ('email'), ('username')) f (name)
      where f.name = substr(broken, 7)
        or (f.name = 'email' and exists (select from freehold.users u where u.email = l ->> 'email'))
        or (f.name = 'username' and exists (select from freehold.users u where u.username = l ->> 'username'))
    ));
  elsif broken = 'users_unit_id_units_id_fk' then
    select 'invalid_request', 'is not a unit that you can access', 'unit_id'
    into said, explained, field;
  elsif broken = 'users_manager_id_users_id_fk' then
    select 'invalid_request', 'is not a user whom you can access', 'manager_id'
    into said, explained, field;
  elsif state ~ '^2[23]' then
    select 'invalid_request', 'holds a value that cannot be kept', null
    into said, explained, field;
  elsif state in ('40001', '40P01') then
    select 'illegal_state', 'met another change at the same moment; send this line again', null
    into said, explained, field;
  else
    raise;
  end if;
  return jsonb_build_object('code', said, 'errors', jsonb_build_array(
    jsonb_build_object('pointer', '#' || coalesce('/' || field, ''), 'detail', explained)));
end $$;
--> statement-breakpoint
-- Whether the admitted user may say of a new user of a unit that their address is verified.
create or replace function access.may_vouch(unit uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  s record := access.effective_scope(access.principal(), 'user:approve');
begin
  return coalesce(s.scope = 'all' or unit = any (s.units), false);
end $$;
--> statement-breakpoint
-- Applies the rules of one user: what the caller may change, how a login is protected, the size of preferences, a
-- role that exists, managers without a circle. An address or number that changes is no longer verified.
create or replace function access.before_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.updated_at := now();
  if access.permission() in ('user:create', 'user:update', 'user:delete') then
    if tg_op = 'UPDATE' then
      perform access.check_user_change(old, new);
    else
      perform access.check_user_change(null, new);
    end if;
  end if;
  if octet_length(new.preferences::text) > 8192 then
    perform access.refuse('invalid_request', 'must be at most 8 KiB', 'preferences');
  end if;
  -- A caller who can change how a user logs in can soon log in as them.
  if tg_op = 'UPDATE'
    and (new.email, new.username) is distinct from (old.email, old.username) then
    perform access.require_all_of(new.id);
  end if;
  if tg_op = 'UPDATE' then
    new.email_verified := new.email_verified and new.email = old.email;
    new.phone_verified := new.phone_verified and new.phone is not distinct from old.phone;
  end if;
  if new.role is not null
    and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (select from freehold.roles r where r.name = new.role and r.deleted_at is null) then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.role), 'role');
  end if;
  -- A new user manages nobody yet, so that only an update can close a circle.
  if tg_op = 'UPDATE' and new.manager_id is not null and new.manager_id is distinct from old.manager_id then
    if exists (
      with recursive up (id, manager_id) as (
        select u.id, u.manager_id
        from freehold.users u
        where u.id = new.manager_id
        union
        select u.id, u.manager_id
        from up
          join freehold.users u on u.id = up.manager_id
      )
      select from up where up.id = new.id
    ) then
      perform access.refuse('invalid_request', 'would make a user their own manager', 'manager_id');
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
-- Refuses a change beyond the permission and scope of this transaction: of other columns, to another unit, or under
-- another manager. `was` is null for a new user.
create or replace function access.check_user_change(was freehold.users, is_now freehold.users) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  -- The columns that users may change of themselves, or of a delegator for whom they act, below scope `all`. Above
  -- all not the unit, from which the scopes team and department are measured.
  own text[] := '{given_name,family_name,phone,locale,timezone,preferences,description}';
  -- Columns that the database keeps itself.
  kept text[] := '{name,updated_at,email_verified,phone_verified}';
  changed text[];
begin
  if was.id is not null then
    if access.principal() = is_now.id and not is_now.is_active and was.is_active then
      perform access.refuse('illegal_state', 'You cannot deactivate yourself.');
    end if;
    select array_agg(n.key)
    into changed
    from jsonb_each(to_jsonb(is_now)) n
      join jsonb_each(to_jsonb(was)) o on o.key = n.key
    where n.value <> o.value
      and n.key <> all (kept);
    if access.permission() = 'user:delete' and (is_now.is_active or not changed <@ '{is_active}') then
      perform access.refuse('forbidden', 'user:delete deactivates a user and changes nothing else.');
    elsif access.scope() <> 'all'
      and (is_now.id = any (access.scope_owner_ids()) or is_now.id = access.principal())
      and not changed <@ own then
      perform access.refuse('forbidden', format('Another user must change %s here.',
        (select string_agg(c, ', ' order by c) from unnest(changed) c where c <> all (own))));
    end if;
  end if;
  if was.id is not null
    and changed && '{is_active,role,unit_id,manager_id,terminated_at,max_sessions}' then
    perform access.require_power_of(array[was.id]);
  end if;
  if was.id = access.principal()
    and is_now.unit_id is distinct from was.unit_id
    and access.depends_on_unit(was.id) then
    perform access.refuse('forbidden', 'You cannot change your own unit: the scope of your permissions depends on it.');
  elsif access.scope() = 'all' then
    return;
  -- One source of the permission must reach both the old and the new unit: two delegations that each reach one of
  -- them do not add up.
  elsif is_now.unit_id is distinct from was.unit_id
    and is_now.unit_id is not null
    and not exists (
      select
      from unnest(access.reasons(access.principal(), access.permission(), now())) s
      where is_now.unit_id in (select access.units_in_scope(s.holder, s.scope))
        and (was.id is null or was.unit_id in (select access.units_in_scope(s.holder, s.scope)))
    ) then
    perform access.refuse('invalid_request', 'is not a unit that you can access', 'unit_id');
  elsif is_now.manager_id is distinct from was.manager_id
    and not exists (
      select
      from freehold.users u
      where u.id = is_now.manager_id
        and (u.id = any (access.scope_owner_ids()) or u.unit_id = any (access.scope_unit_ids()))
    )
    and is_now.manager_id is not null then
    perform access.refuse('invalid_request', 'is not a user whom you can access', 'manager_id');
  end if;
end $$;
--> statement-breakpoint
-- Keeps the periods in which a user was active, ends the sessions of a user who is deactivated, and keeps the primary
-- role assigned: a new primary role replaces the one before it.
create or replace function access.after_user() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- What the user holds is measured from the new unit now: moving a user gives nobody power that the mover lacks there.
  if tg_op = 'UPDATE' and new.unit_id is distinct from old.unit_id then
    perform access.require_power_of(array[new.id]);
  end if;
  if tg_op = 'INSERT' or new.is_active <> old.is_active then
    if new.is_active then
      insert into freehold.user_periods (id, user_id, starts_at)
      values (gen_random_uuid(), new.id, now());
    else
      update freehold.user_periods p
      set ends_at = greatest(now(), p.starts_at)
      where p.user_id = new.id
        and p.ends_at is null;
      update freehold.sessions s
      set ended_at = now(), ended_because = 'deactivated'
      where s.user_id = new.id
        and s.ended_at is null;
      perform access.keep_admin();
    end if;
  end if;
  if new.role is not null
    and (tg_op = 'INSERT' or new.role is distinct from old.role)
    and not exists (
      select
      from freehold.user_roles ur
        join freehold.roles r on r.id = ur.role_id
      where ur.user_id = new.id
        and r.name = new.role
        and r.deleted_at is null
        and access.in_force(ur.starts_at, ur.ends_at, now())
    ) then
    -- An assignment that was to begin later begins now instead.
    update freehold.user_roles ur
    set ends_at = ur.starts_at
    from freehold.roles r
    where ur.user_id = new.id
      and r.id = ur.role_id
      and r.name = new.role
      and r.deleted_at is null
      and ur.starts_at > now()
      and (ur.ends_at is null or ur.ends_at > now());
    insert into freehold.user_roles (id, user_id, role_id)
    select gen_random_uuid(), new.id, r.id
    from freehold.roles r
    where r.name = new.role
      and r.deleted_at is null;
    if tg_op = 'UPDATE' then
      update freehold.user_roles ur
      set ends_at = greatest(now(), ur.starts_at)
      from freehold.roles r
      where ur.user_id = new.id
        and r.id = ur.role_id
        and r.name = old.role
        and (ur.ends_at is null or ur.ends_at > now());
    end if;
  end if;
  return null;
end $$;
--> statement-breakpoint
create trigger before_session_end before update of ended_at on freehold.sessions
  for each row when (old.ended_at is null and new.ended_at is not null) execute function access.before_session_end();
--> statement-breakpoint
create trigger after_unit after update of kind, parent_id on freehold.units
  for each row when ((old.kind, old.parent_id) is distinct from (new.kind, new.parent_id))
  execute function access.after_unit();
--> statement-breakpoint
comment on function access.holds_more(uuid,uuid) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.import_users(jsonb,boolean) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.record_import(jsonb) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.register(uuid,text,bytea,jsonb,text,text,jsonb) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.too_many_requests(uuid,text) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
comment on function access.verify_email(uuid,text,bytea,bytea,text,jsonb) is 'Retired: the release before uses it, the next migration drops it.';
--> statement-breakpoint
revoke execute
  on function access.after_unit(),
    access.before_session_end(),
    access.begin_verification(uuid,bytea),
    access.department_of(uuid),
    access.finish_verification(uuid,text,bytea,bytea,text,text,jsonb),
    access.foreign_wait(),
    access.held_everywhere(uuid[]),
    access.held_where(text[],uuid[]),
    access.holders_of(uuid),
    access.import_batch(jsonb,integer,boolean),
    access.is_foreign(text),
    access.is_strangers_mail(text),
    access.lacking(access.placed[],uuid[]),
    access.limit_reached(freehold.mails),
    access.mail_reset_link(uuid,bytea,text),
    access.may_vouch(uuid),
    access.must_hold(text[],access.scope[],uuid[]),
    access.must_hold_role(uuid,uuid[]),
    access.one_of_each_unit(uuid[]),
    access.potential_grants(uuid[],text[]),
    access.recipient_key(text,text),
    access.registered_user(freehold.tenant,freehold.registrations),
    access.require_all_of(uuid),
    access.require_power_of(uuid[],access.scope),
    access.send_token(freehold.users,text,text,bytea,integer,text,text),
    access.start_registration(uuid,text,bytea,bytea,jsonb,text,text,jsonb),
    access.strangers_share(freehold.tenant),
    access.take_dropped_mails(uuid,text,integer),
    access.user_must_hold(text[],access.scope[],uuid[]),
    access.users_measured_anew(freehold.units,freehold.units),
    access.valid_registration(freehold.tenant,bytea),
    access.wait_as_if_mailed(),
    access.warnings_left()
  from public;
--> statement-breakpoint
grant update (mail_per_recipient_hour, mail_per_day)
  on freehold.tenant
  to freehold_app;
--> statement-breakpoint
grant execute
  on function access.begin_verification(uuid,bytea),
    access.finish_verification(uuid,text,bytea,bytea,text,text,jsonb),
    access.import_batch(jsonb,integer,boolean),
    access.mail_reset_link(uuid,bytea,text),
    access.start_registration(uuid,text,bytea,bytea,jsonb,text,text,jsonb),
    access.take_dropped_mails(uuid,text,integer)
  to freehold_app;
