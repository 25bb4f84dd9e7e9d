-- Admission: prove, decide, record, inside the transaction that does the work.
--
-- Threat: whoever can run SQL as the app login (an injection, a leaked connection string) must see no row and be nobody.
-- So that login may not say who it is: it hands a credential to a function of freehold_owner, which writes the principal into
-- transaction-local settings and seals them with a key that the login cannot read. Policies believe sealed settings only.
--
-- Every definer function qualifies every name, ends its search_path in pg_temp and is revoked from PUBLIC.

create table access.secrets (
  one boolean primary key default true check (one),
  inner_key bytea not null,
  outer_key bytea not null
);
--> statement-breakpoint
-- Gives a database its own key, once. Not part of the migration, so that a database that is copied before it belongs to anybody holds none.
-- HMAC-SHA-256 (RFC 2104) is made of sha256 alone: the two padded keys are kept, so that no extension is needed.
create procedure access.make_secrets() language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  k bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) || decode(repeat('00', 32), 'hex');
  i bytea := k;
  o bytea := k;
begin
  for n in 0..63 loop
    i := set_byte(i, n, get_byte(k, n) # 54);
    o := set_byte(o, n, get_byte(k, n) # 92);
  end loop;
  insert into access.secrets (inner_key, outer_key) values (i, o) on conflict do nothing;
end $$;
--> statement-breakpoint
create function access.mac(message text) returns bytea language sql stable set search_path = pg_catalog, pg_temp as $$
  select pg_catalog.sha256(s.outer_key || pg_catalog.sha256(s.inner_key || pg_catalog.convert_to(message, 'UTF8'))) from access.secrets s
$$;
--> statement-breakpoint
-- What the seal covers beside the facts: this backend and this transaction, so that a copied seal is worth nothing elsewhere.
create function access.seal_of(facts text) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
  select pg_catalog.encode(access.mac('seal:' || facts || '|' || pg_catalog.pg_backend_pid() || '|' || extract(epoch from pg_catalog.transaction_timestamp())), 'hex')
$$;
--> statement-breakpoint
-- Only access.admit may call this: what is sealed here is believed by every policy.
create function access.seal(facts jsonb) returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_catalog.set_config('access.facts', facts::text, true), pg_catalog.set_config('access.seal', access.seal_of(facts::text), true);
end $$;
--> statement-breakpoint
-- The admitted facts of this transaction, or null when nobody was admitted or the seal is not ours.
create function access.facts() returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  said text := nullif(pg_catalog.current_setting('access.facts', true), '');
begin
  if said is null or access.seal_of(said) is distinct from pg_catalog.current_setting('access.seal', true) then
    return null;
  end if;
  return said::jsonb;
end $$;
--> statement-breakpoint
create function access.principal() returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.facts() ->> 'user_id')::uuid
$$;
--> statement-breakpoint
create function access.session() returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.facts() ->> 'session_id')::uuid
$$;
--> statement-breakpoint
create function access.scope() returns text language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select access.facts() ->> 'scope'
$$;
--> statement-breakpoint
-- What a caller may say of a request, and nothing else: never who they are or how far they reach.
create function access.request_of(request jsonb) returns jsonb language sql immutable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('address', left(request ->> 'address', 64), 'agent', left(request ->> 'agent', 255), 'method', left(request ->> 'method', 16),
    'path', left(request ->> 'path', 1024), 'trace_id', left(request ->> 'trace_id', 64))
$$;
--> statement-breakpoint
-- Whom the audit names while an anonymous door is at work. Nobody is admitted by it: no policy reads it.
create function access.attribute(person uuid, user_name text, request jsonb) returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  facts text := (access.request_of(request) || jsonb_build_object('user_id', person, 'user_name', left(user_name, 255)))::text;
begin
  perform set_config('access.actor', facts, true), set_config('access.actor_seal', access.seal_of('actor:' || facts), true);
end $$;
--> statement-breakpoint
-- Whom the audit names: the admitted person, else the one that a door named, else nobody: the system.
create function access.actor() returns jsonb language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  said text := nullif(current_setting('access.actor', true), '');
begin
  return coalesce(access.facts(), case when access.seal_of('actor:' || said) = current_setting('access.actor_seal', true) then said::jsonb end, '{}');
end $$;
--> statement-breakpoint
-- The roles that a person holds at a moment: assigned, active, and everything these inherit from.
create function access.roles_of(person uuid, moment timestamptz) returns setof uuid language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive held (role_id, parent_id) as (
    select r.id, r.parent_id
    from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
    where ur.user_id = person and ur.starts_at <= moment and (ur.ends_at is null or ur.ends_at > moment) and r.is_active
    union
    select r.id, r.parent_id from held h join freehold.roles r on r.id = h.parent_id where r.is_active
  )
  select role_id from held
$$;
--> statement-breakpoint
-- The widest scope at which a person holds a permission at a moment, or null.
create function access.decide(person uuid, permission text, moment timestamptz) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
  select rp.scope
  from freehold.role_permissions rp
  where rp.role_id in (select access.roles_of(person, moment)) and rp.permission = decide.permission
    and rp.starts_at <= moment and (rp.ends_at is null or rp.ends_at > moment)
  order by pg_catalog.array_position(array['all', 'department', 'team', 'own'], rp.scope)
  limit 1
$$;
--> statement-breakpoint
create function access.permissions_of(person uuid, moment timestamptz) returns text[] language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(pg_catalog.array_agg(distinct rp.permission), array[]::text[])
  from freehold.role_permissions rp
  where rp.role_id in (select access.roles_of(person, moment))
    and rp.starts_at <= moment and (rp.ends_at is null or rp.ends_at > moment)
$$;
--> statement-breakpoint
-- The names of the roles assigned to a person at a moment (without what they inherit from).
create function access.role_names(person uuid, moment timestamptz) returns text[] language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(pg_catalog.array_agg(r.name order by r.name), array[]::text[])
  from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
  where ur.user_id = person and ur.starts_at <= moment and (ur.ends_at is null or ur.ends_at > moment) and r.is_active
$$;
--> statement-breakpoint
-- Refuses a request that reached another tenant's database, or a tenant that is switched off.
create function access.check_tenant(tenant_id uuid) returns freehold.tenant language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
begin
  select * into t from freehold.tenant;
  if t.id is distinct from tenant_id then
    raise exception using errcode = 'FH503', message = 'wrong_tenant';
  elsif not t.is_active then
    raise exception using errcode = 'FH503', message = 'tenant_inactive';
  end if;
  return t;
end $$;
--> statement-breakpoint
-- Writes one entry of the audit. Actor and request are the admitted facts; without any, it is the system that acts.
create function access.record(activity text, action text, resource text, resource_id text, before jsonb, after jsonb, risk integer default 0)
returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb := access.actor();
  entry uuid := pg_catalog.gen_random_uuid();
  grain bytea := pg_catalog.uuid_send(pg_catalog.gen_random_uuid());
  detail jsonb := pg_catalog.jsonb_build_object('user_name', f -> 'user_name', 'address', f -> 'address', 'agent', f -> 'agent',
    'method', f -> 'method', 'path', f -> 'path', 'before', before, 'after', after);
begin
  insert into freehold.audit_log (id, user_id, activity_type, action, resource_type, resource_id, risk_score, trace_id, detail_hash)
  values (entry, (f ->> 'user_id')::uuid, activity, action, resource, resource_id, risk, f ->> 'trace_id',
    pg_catalog.sha256(grain || pg_catalog.convert_to(detail::text, 'UTF8')));
  insert into freehold.audit_detail (log_id, salt, user_name, address, agent, method, path, before, after)
  values (entry, grain, f ->> 'user_name', f ->> 'address', f ->> 'agent', f ->> 'method', f ->> 'path', before, after);
end $$;
--> statement-breakpoint
-- The seed's name for a change, where it has one.
create function access.activity_of(resource text, action text, after jsonb) returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case
    when resource = 'session' and action = 'create' then 'LOGIN'
    when resource = 'session' and after ->> 'ended_because' = 'logout' then 'LOGOUT'
    when resource = 'user' and after ? 'password_changed_at' and action = 'update' then 'PASSWORD_CHANGE'
    when resource = 'user_role' and action = 'create' then 'ROLE_ASSIGNED'
    when resource = 'user_role' then 'ROLE_REMOVED'
    when resource in ('role_permission', 'permission') then 'PERMISSION_CHANGE'
    else pg_catalog.upper(resource) || '_' || pg_catalog.upper(action) || 'D'
  end
$$;
--> statement-breakpoint
-- Statement trigger: one entry per changed row, with only what changed. Arguments: resource, secret columns (recorded as
-- changed, never with their value), columns that are noise (a change of these alone is none).
create function access.audit() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  resource text := tg_argv[0];
  secret text[] := tg_argv[1]::text[];
  noise text[] := tg_argv[2]::text[];
  act text := case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end;
  r record;
begin
  if tg_op = 'INSERT' then
    for r in select null::jsonb as was, pg_catalog.to_jsonb(n) as is_now from after_rows n loop
      perform access.record(access.activity_of(resource, act, r.is_now), act, resource, r.is_now ->> 'id', null, access.masked(r.is_now, secret));
    end loop;
  elsif tg_op = 'DELETE' then
    for r in select pg_catalog.to_jsonb(o) as was from before_rows o loop
      perform access.record(access.activity_of(resource, act, '{}'), act, resource, r.was ->> 'id', access.masked(r.was, secret), null);
    end loop;
  else
    for r in
      select o.id, pg_catalog.jsonb_object_agg(b.key, b.value) as was, pg_catalog.jsonb_object_agg(b.key, a.value) as is_now
      from before_rows o
        join after_rows n on n.id = o.id
        cross join lateral pg_catalog.jsonb_each(pg_catalog.to_jsonb(o)) b
        join lateral pg_catalog.jsonb_each(pg_catalog.to_jsonb(n)) a on a.key = b.key
      where a.value is distinct from b.value and not b.key = any (noise)
      group by o.id
    loop
      perform access.record(access.activity_of(resource, act, r.is_now), act, resource, r.id::text,
        access.masked(r.was, secret), access.masked(r.is_now, secret));
    end loop;
  end if;
  return null;
end $$;
--> statement-breakpoint
create function access.masked(doc jsonb, secret text[]) returns jsonb language sql immutable set search_path = pg_catalog, pg_temp as $$
  select pg_catalog.jsonb_object_agg(e.key, case when e.key = any (secret) and e.value <> 'null' then '"***"' else e.value end) from pg_catalog.jsonb_each(doc) e
$$;
--> statement-breakpoint
-- Puts the three audit triggers on a table that has an `id`.
create procedure access.audited(target regclass, resource text, secret text[] default '{}', noise text[] default '{updated_at}') language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  execute format('create trigger audit_insert after insert on %s referencing new table as after_rows for each statement execute function access.audit(%L, %L, %L)', target, resource, secret, noise);
  execute format('create trigger audit_update after update on %s referencing old table as before_rows new table as after_rows for each statement execute function access.audit(%L, %L, %L)', target, resource, secret, noise);
  execute format('create trigger audit_delete after delete on %s referencing old table as before_rows for each statement execute function access.audit(%L, %L, %L)', target, resource, secret, noise);
end $$;
--> statement-breakpoint
call access.audited('freehold.users', 'user');
--> statement-breakpoint
call access.audited('freehold.passwords', 'password', '{password_hash}');
--> statement-breakpoint
call access.audited('freehold.roles', 'role');
--> statement-breakpoint
call access.audited('freehold.user_roles', 'user_role');
--> statement-breakpoint
call access.audited('freehold.permissions', 'permission');
--> statement-breakpoint
call access.audited('freehold.role_permissions', 'role_permission');
--> statement-breakpoint
call access.audited('freehold.sessions', 'session', '{}', '{last_active_at}');
--> statement-breakpoint
call access.audited('freehold.tenant', 'tenant');
--> statement-breakpoint
-- The admission: proves the credential {session_id, user_id}, decides the permission (null: any admitted person, scope own),
-- seals the principal. Raises FH401 session_ended, FH403 user_inactive | password_change_required | forbidden, FH503.
create function access.admit(tenant_id uuid, credential jsonb, permission text, request jsonb, any_password boolean default false)
returns table (user_id uuid, session_id uuid, scope text) language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  s freehold.sessions;
  u freehold.users;
  reach text := 'own';
begin
  t := access.check_tenant(tenant_id);
  select * into s from freehold.sessions x where x.id = (credential ->> 'session_id')::uuid;
  if s.id is null or s.user_id is distinct from (credential ->> 'user_id')::uuid or s.ended_at is not null or s.expires_at <= now()
    or s.last_active_at <= now() - make_interval(days => t.idle_days) then
    raise exception using errcode = 'FH401', message = 'session_ended';
  end if;
  select * into u from freehold.users x where x.id = s.user_id;
  if not u.is_active or not exists (select from access.roles_of(u.id, now())) then
    raise exception using errcode = 'FH403', message = 'user_inactive';
  end if;
  if not any_password and (u.must_change_password or u.password_changed_at <= now() - make_interval(days => t.password_days)) then
    raise exception using errcode = 'FH403', message = 'password_change_required';
  end if;
  if permission is not null then
    reach := access.decide(u.id, permission, now());
    if reach is null then
      raise exception using errcode = 'FH403', message = 'forbidden';
    end if;
  end if;
  if s.last_active_at < now() - interval '1 minute' then
    update freehold.sessions x set last_active_at = now() where x.id = s.id and x.last_active_at < now() - interval '1 minute';
  end if;
  perform access.seal(access.request_of(request)
    || jsonb_build_object('user_id', u.id, 'user_name', u.username, 'session_id', s.id, 'scope', reach, 'permission', permission));
  return query select u.id, s.id, reach;
end $$;
--> statement-breakpoint
-- Records a refusal after the answer. Takes nothing on trust but the request; the person is the session's, if it is real.
create function access.record_refusal(tenant_id uuid, credential jsonb, code text, permission text, request jsonb)
returns void language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  person freehold.users;
begin
  perform access.check_tenant(tenant_id);
  select u.* into person from freehold.sessions s join freehold.users u on u.id = s.user_id
  where s.id = (credential ->> 'session_id')::uuid and u.id = (credential ->> 'user_id')::uuid and s.ended_at is null;
  perform access.attribute(person.id, person.username, request);
  perform access.record(case code when 'token_wrong_tenant' then 'SUSPICIOUS_ACTIVITY' else 'ACCESS_REFUSED' end, 'refuse', 'request', null, null,
    jsonb_build_object('code', code, 'permission', permission), case code when 'token_wrong_tenant' then 50 else 10 end);
end $$;
