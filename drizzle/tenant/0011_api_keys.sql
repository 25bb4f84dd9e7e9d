-- API keys: programs act for a person, never for more than the person may, nor for more than the key names.
--
-- Threat: a key that leaked is used from anywhere, makes more keys, or hands out, delegates or takes over what it does not name; whoever runs SQL
-- as the app login reads the hash of a key, makes one for somebody else, or counts uses that never were.
--
-- What a person holds stays what it is, whichever credential they came with: `whole_*` below. Where the admitted person asks or hands out, it is
-- narrowed to what their key names.

-- The key that this transaction was admitted with; null: a session.
create function access.key() returns uuid language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select (access.facts() ->> 'key_id')::uuid
$$;
--> statement-breakpoint
-- What the key of this transaction names, if the person is the one who was admitted with it; null: nothing is narrowed.
create function access.narrowed(person uuid) returns text[] language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  f jsonb;
begin
  -- Nothing is sealed while somebody is being admitted, which is when it is asked most.
  if coalesce(current_setting('access.facts', true), '') = '' then
    return null;
  end if;
  f := access.facts();
  if f ? 'narrowed' and f ->> 'user_id' = person::text then
    return array(select jsonb_array_elements_text(f -> 'narrowed'));
  end if;
  return null;
end $$;
--> statement-breakpoint
-- An address or a network as it is compared: what is IPv4 in the clothes of IPv6 is IPv4. null: it is neither.
create function access.network_of(said text) returns inet language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  a inet;
begin
  if said is null or not pg_input_is_valid(said, 'inet') then
    return null;
  end if;
  a := said::inet;
  if a <<= inet '::ffff:0:0/96' then
    return set_masklen(replace(host(a), '::ffff:', '')::inet, masklen(a) - 96);
  end if;
  return a;
end $$;
--> statement-breakpoint
-- The key of a hash (hex), if it works now and from there. Raises FH401 token_invalid, FH403 forbidden.
create function access.key_named(hash text, request jsonb) returns freehold.api_keys language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  k freehold.api_keys;
  -- One address, and no network.
  here inet := case when request ->> 'address' !~ '/' then access.network_of(request ->> 'address') end;
begin
  select * into k from freehold.api_keys x where x.key_hash = decode(hash, 'hex');
  if k.id is null or k.revoked_at is not null then
    raise exception using errcode = 'FH401', message = 'token_invalid', detail = 'There is no such key here, or it was revoked.';
  elsif k.expires_at <= now() then
    raise exception using errcode = 'FH401', message = 'token_invalid', detail = 'This key has expired.';
  elsif k.addresses <> '{}' and not exists (select from unnest(k.addresses) a (network) where here <<= a.network::inet) then
    perform access.refuse('forbidden', format('This key does not work from %s.', coalesce(left(request ->> 'address', 64), 'an unknown address')));
  end if;
  return k;
end $$;
--> statement-breakpoint
-- Records a refusal after the answer. Takes nothing on trust but the request; the person is the session's or the key's, if it is real.
create or replace function access.record_refusal(tenant_id uuid, credential jsonb, code text, permission text, request jsonb)
returns void language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  person freehold.users;
  k freehold.api_keys;
begin
  perform access.check_tenant(tenant_id);
  if credential ? 'key' then
    select x.* into k from freehold.api_keys x where x.key_hash = decode(credential ->> 'key', 'hex') and x.revoked_at is null and (x.expires_at is null or x.expires_at > now());
    select u.* into person from freehold.users u where u.id = k.user_id;
  else
    select u.* into person from freehold.sessions s join freehold.users u on u.id = s.user_id
    where s.id = (credential ->> 'session_id')::uuid and u.id = (credential ->> 'user_id')::uuid and s.ended_at is null
      and credential ->> 'proof' = access.session_proof(s.id);
  end if;
  perform access.attribute(person.id, person.username, request);
  perform access.record(case code when 'token_wrong_tenant' then 'SUSPICIOUS_ACTIVITY' else 'ACCESS_REFUSED' end, 'refuse', 'request', null, null,
    jsonb_build_object('code', code, 'permission', permission) || case when k.id is null then '{}' else jsonb_build_object('api_key_id', k.id) end,
    case code when 'token_wrong_tenant' then 50 else 10 end);
end $$;
--> statement-breakpoint
-- A key only narrows, part one: what is asked about whoever was admitted with it.
alter function access.reach(uuid, text) rename to whole_reach;
--> statement-breakpoint
create function access.reach(person uuid, permission text, out scope text, out units uuid[], out owners uuid[]) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  r record;
begin
  if permission <> all (access.narrowed(person)) then
    units := '{}';
    owners := '{}';
    return;
  end if;
  r := access.whole_reach(person, permission);
  scope := r.scope;
  units := r.units;
  owners := r.owners;
end $$;
--> statement-breakpoint
alter function access.grants(uuid, timestamptz, text[]) rename to whole_grants;
--> statement-breakpoint
create function access.grants(person uuid, moment timestamptz, wanted text[] default null) returns table (permission text, scope text, kind text, id uuid, name text, via text, holder uuid)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select g.* from (select access.narrowed(person) as names) n cross join lateral access.whole_grants(person, moment, wanted) g
  where n.names is null or g.permission = any (n.names)
$$;
--> statement-breakpoint
alter function access.held_roles(uuid, timestamptz) rename to whole_roles;
--> statement-breakpoint
-- By a key a role is held when the key names everything that it carries.
create function access.held_roles(person uuid, moment timestamptz) returns table (kind text, id uuid, name text, via text) language sql stable set search_path = pg_catalog, pg_temp as $$
  select h.* from (select access.narrowed(person) as names) n cross join lateral access.whole_roles(person, moment) h
  where n.names is null or not exists (select from access.role_grants(h.id, moment) g where g.permission <> all (n.names))
$$;
--> statement-breakpoint
-- Part two: what they hand out, in whichever way.
alter function access.must_hold(text[], text[]) rename to must_hold_whole;
--> statement-breakpoint
create function access.must_name(permissions text[]) returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  lacking text := (select min(p.name) from unnest(permissions) p (name) where p.name <> all (access.narrowed(access.principal())));
begin
  if lacking is not null then
    perform access.refuse('forbidden', format('This key does not name %s, so nothing can be handed out with it that carries that.', lacking));
  end if;
end $$;
--> statement-breakpoint
create function access.must_hold(permissions text[], scopes text[]) returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  perform access.must_name(permissions), access.must_hold_whole(permissions, scopes);
end $$;
--> statement-breakpoint
create function access.before_named() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.key() is not null then
    perform access.must_name(array[new.permission]);
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_named before insert on freehold.role_permissions for each row execute function access.before_named();
--> statement-breakpoint
create trigger before_named before insert on freehold.delegation_permissions for each row execute function access.before_named();
--> statement-breakpoint
create function access.before_named_role() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.key() is not null and new.role_id is not null then
    perform access.must_name(array(select c.permission from access.role_content(new.role_id) c));
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_named before insert on freehold.delegations for each row execute function access.before_named_role();
--> statement-breakpoint
-- Who changes how somebody logs in can soon be them, and has then no key to narrow them.
create function access.before_login_change() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (new.email, new.username) is distinct from (old.email, old.username) and access.key() is not null and access.principal() = new.id then
    perform access.refuse('forbidden', 'How you log in is changed with a session, not with a key.');
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_login_change before update of email, username on freehold.users for each row execute function access.before_login_change();
--> statement-breakpoint
-- Whether somebody holds a permission that another does not, or further; the other with what their key names, if they came with one.
create or replace function access.holds_more(person uuid, other uuid) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
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
      select g.permission, max(array_position(array['own', 'team', 'department', 'all'], g.scope)) as width
      from (select access.narrowed(other) as names) n cross join lateral access.own_grants(other, now()) g
      where n.names is null or g.permission = any (n.names) group by g.permission
    ) mine on mine.permission = theirs.permission
    where coalesce(mine.width, 0) < theirs.width)
$$;
--> statement-breakpoint
-- Each key is rotated once.
create unique index api_keys_successor on freehold.api_keys (rotated_from);
--> statement-breakpoint
-- What a key says: permissions that its owner holds, networks, a moment to come. In the order they were given, so that the caller is told which.
create function access.check_key(k freehold.api_keys) returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  wrong record;
begin
  select p.n - 1 as place, p.name into wrong from unnest(k.permissions) with ordinality p (name, n)
  where not exists (select from freehold.permissions x where x.name = p.name and x.deleted_at is null) order by p.n limit 1;
  if found then
    perform access.refuse('invalid_request', format('%s is not a permission of this tenant', wrong.name), format('permissions/%s', wrong.place));
  end if;
  select p.name into wrong from unnest(k.permissions) with ordinality p (name, n) where access.decide(k.user_id, p.name, now()) is null order by p.n limit 1;
  if found then
    perform access.refuse('forbidden', format('You do not hold %s yourself, so a key of yours cannot name it.', wrong.name));
  end if;
end $$;
--> statement-breakpoint
create function access.check_networks(addresses text[]) returns text[] language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  wrong record;
begin
  select a.n - 1 as place, x.network into wrong from unnest(addresses) with ordinality a (said, n) cross join lateral (select access.network_of(a.said) as network) x
  where x.network is null or x.network <> network(x.network) order by a.n limit 1;
  if found and wrong.network is null then
    perform access.refuse('invalid_request', 'must be an address or a network, such as 192.0.2.0/24 or 2001:db8::/32', format('addresses/%s', wrong.place));
  elsif found then
    perform access.refuse('invalid_request', format('has bits beyond its mask: the network is %s', network(wrong.network)), format('addresses/%s', wrong.place));
  end if;
  return array(select distinct abbrev(access.network_of(a.said)) from unnest(addresses) a (said) order by 1);
end $$;
--> statement-breakpoint
-- A key is made and changed by its owner, with a session; revoked also by who looks after keys. What is over stays over.
create function access.before_api_key() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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
      -- Nothing else with it.
      new := old;
      new.revoked_at := now();
      return new;
    elsif me <> new.user_id then
      perform access.refuse('forbidden', 'Somebody else''s key can be revoked, and not changed.');
    elsif old.expires_at <= now() then
      perform access.refuse('illegal_state', 'This key has expired.');
    elsif coalesce(new.expires_at, 'infinity') > old.expires_at and exists (select from freehold.api_keys s where s.rotated_from = old.id) then
      perform access.refuse('illegal_state', 'This key was rotated, and works no longer than it was said to.');
    elsif new.expires_at is distinct from old.expires_at and new.expires_at < now() then
      perform access.refuse('invalid_request', 'must lie in the future', 'expires_at');
    end if;
  else
    if new.expires_at <= now() then
      perform access.refuse('invalid_request', 'must lie in the future', 'expires_at');
    elsif new.rotated_from is not null and not exists (
        select from freehold.api_keys k where k.id = new.rotated_from and k.user_id = new.user_id and k.revoked_at is null
          and (new.name, new.permissions, new.addresses) = (k.name, k.permissions, k.addresses)) then
      perform access.refuse('not_found', 'There is no such key.');
    end if;
    -- One at a time of one person, so that the last place goes to one. A rotated key and its successor live side by side for a while.
    perform from freehold.users u where u.id = new.user_id for no key update;
    select count(*) into live from freehold.api_keys k where k.user_id = new.user_id and k.revoked_at is null and (k.expires_at is null or k.expires_at > now());
    if live >= (case when new.rotated_from is null then 50 else 100 end) then
      perform access.refuse('limit_reached', 'Nobody has more than 50 keys: revoke one first.');
    end if;
  end if;
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
-- Not of the counts, which are the system's.
create trigger before_api_key before insert or update of name, permissions, addresses, expires_at, revoked_at on freehold.api_keys for each row execute function access.before_api_key();
--> statement-breakpoint
-- That a key was revoked has a name of its own in the audit.
create function access.after_api_key() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.record('API_KEY_REVOKED', 'update', 'api_key', new.id::text, jsonb_build_object('revoked_at', null), jsonb_build_object('revoked_at', new.revoked_at));
  return null;
end $$;
--> statement-breakpoint
create trigger after_api_key after update of revoked_at on freehold.api_keys for each row when (old.revoked_at is null and new.revoked_at is not null)
  execute function access.after_api_key();
--> statement-breakpoint
call access.audited('freehold.api_keys', 'api_key', '{key_hash}', '{last_used_at,use_count,revoked_at}');
--> statement-breakpoint
-- Which batch of counts of which isolate was taken last: one that is sent twice counts once.
create table access.key_counters (
  writer uuid primary key,
  batch integer not null,
  counted_at timestamptz not null default now()
);
--> statement-breakpoint
alter table access.key_counters enable row level security;
--> statement-breakpoint
-- Adds up how often keys were used: [{prefix, uses, last_used_at}]. Who counts shows the system's key; a writer's batches come in order.
create function access.count_key_uses(tenant_id uuid, system_key text, writer uuid, batch integer, counts jsonb) returns boolean language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  delete from access.key_counters c where c.counted_at < now() - interval '1 day' and c.writer <> count_key_uses.writer;
  insert into access.key_counters as c (writer, batch) values (count_key_uses.writer, count_key_uses.batch)
  on conflict on constraint key_counters_pkey do update set batch = excluded.batch, counted_at = now() where c.batch < excluded.batch;
  if not found then
    return false;
  end if;
  -- In one order, so that two isolates do not wait for each other's.
  with used as (
    select x.prefix, x.uses, x.last_used_at from jsonb_to_recordset(counts) as x (prefix text, uses integer, last_used_at timestamptz)
  ), taken as materialized (
    select k.id, u.uses, u.last_used_at from freehold.api_keys k join used u on u.prefix = k.prefix order by k.id for no key update of k
  )
  update freehold.api_keys k set use_count = k.use_count + t.uses, last_used_at = greatest(k.last_used_at, least(t.last_used_at, clock_timestamp()))
  from taken t where t.id = k.id;
  return true;
end $$;
--> statement-breakpoint
-- One's own keys; others' for who looks after keys. A key makes, changes and revokes none.
create policy read_keys on freehold.api_keys for select using (user_id = (select access.principal())
  or ((select access.permission()) in ('api_key:read', 'api_key:delete') and ((select access.scope()) = 'all' or user_id = any ((select access.owners())::uuid[])
    or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[])))));
--> statement-breakpoint
create policy make_keys on freehold.api_keys for insert with check (user_id = (select access.principal()) and (select access.session()) is not null);
--> statement-breakpoint
create policy change_keys on freehold.api_keys for update using ((select access.session()) is not null and (user_id = (select access.principal())
  or ((select access.permission()) = 'api_key:delete' and ((select access.scope()) = 'all' or user_id = any ((select access.owners())::uuid[])
    or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))))));
--> statement-breakpoint
grant select (id, user_id, name, prefix, permissions, addresses, rotated_from, last_used_at, use_count, created_at, expires_at, revoked_at),
  insert (id, user_id, name, prefix, key_hash, permissions, addresses, rotated_from, expires_at),
  update (name, permissions, addresses, expires_at, revoked_at) on freehold.api_keys to freehold_app;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
--> statement-breakpoint
grant execute on function access.key(), access.count_key_uses(uuid, text, uuid, integer, jsonb) to freehold_app;
