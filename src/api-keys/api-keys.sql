-- API keys: programs act for a user, never for more than the user may, nor for more than the key names.
--
-- Threat: a key that leaked is used from anywhere, makes more keys, or hands out, delegates or takes over what it
-- does not name; an attacker who runs SQL as the Worker's login reads the hash of a key, makes one for somebody else,
-- or counts uses that never were. So a key is made, changed and revoked with a session only, its hash can be written
-- and not read, and uses are counted with the system's key.
--
-- The admission reads a key (src/access/admission.sql), access.key_permissions says what it names, and after.sql what
-- follows when one is made or revoked. Called from outside: access.count_key_uses.

-- A key is made and changed by its owner, and revoked also by a user who looks after keys. One that is revoked stays
-- revoked.
create function access.before_api_key() returns trigger
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
    end if;
    perform access.must_be_licensed();
    if me <> new.user_id then
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
    -- While this waited, a new password may have ended the session, and revoked the keys that there were.
    if exists (select from freehold.sessions s where s.id = access.session() and s.ended_at is not null) then
      raise exception using errcode = 'FH401', message = 'session_ended';
    end if;
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

-- A key names permissions that exist and that its owner holds. Checked in the order in which they were given, so that
-- the caller is told which.
create function access.check_key(k freehold.api_keys) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  wrong record;
begin
  select p.n - 1 as place, p.name
  into wrong
  from unnest(k.permissions) with ordinality p (name, n)
  where not exists (select from freehold.permissions x where x.name = p.name and x.deleted_at is null)
  order by p.n
  limit 1;
  if found then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', wrong.name),
      format('permissions/%s', wrong.place));
  end if;
  select p.name
  into wrong
  from unnest(k.permissions) with ordinality p (name, n)
  where access.decide(k.user_id, p.name, now()) is null
  order by p.n
  limit 1;
  if found then
    perform access.refuse('forbidden',
      format('You do not hold %s, so your API key cannot include it.', wrong.name));
  end if;
end $$;

-- The networks from which a key works: sorted, each once, in the shortest form. Refuses the first that is not one.
create function access.check_networks(addresses text[]) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  wrong record;
begin
  select a.n - 1 as place, x.network
  into wrong
  from unnest(addresses) with ordinality a (said, n)
    cross join lateral (select access.network_of(a.said) as network) x
  where x.network is null
    or x.network <> network(x.network)
  order by a.n
  limit 1;
  if found and wrong.network is null then
    perform access.refuse('invalid_request',
      'must be an address or a network, such as 192.0.2.0/24 or 2001:db8::/32',
      format('addresses/%s', wrong.place));
  elsif found then
    perform access.refuse('invalid_request',
      format('has bits beyond its mask: the network is %s', network(wrong.network)),
      format('addresses/%s', wrong.place));
  end if;
  return array(select distinct abbrev(access.network_of(a.said)) from unnest(addresses) a (said) order by 1);
end $$;

-- Adds up how often keys were used: [{prefix, uses, last_used_at}]. The caller shows the system's key. The batches of
-- a writer (an isolate) come in order; one that is sent twice counts once, and is answered with false.
create function access.count_key_uses(
  tenant_id uuid,
  system_key text,
  writer uuid,
  batch integer,
  counts jsonb
) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  -- A writer that wrote nothing for a day is gone.
  delete from access.key_counters c
  where c.counted_at < now() - interval '1 day'
    and c.writer <> count_key_uses.writer;
  insert into access.key_counters as c (writer, batch)
  values (count_key_uses.writer, count_key_uses.batch)
  on conflict on constraint key_counters_pkey do update
  set batch = excluded.batch, counted_at = now()
  where c.batch < excluded.batch;
  if not found then
    return false;
  end if;
  -- Keys are locked in one order, so that two isolates do not wait for each other's.
  with used as (
    select x.prefix, x.uses, x.last_used_at
    from jsonb_to_recordset(counts) as x (prefix text, uses integer, last_used_at timestamptz)
  ), taken as materialized (
    select k.id, u.uses, u.last_used_at
    from freehold.api_keys k
      join used u on u.prefix = k.prefix
    order by k.id
    for no key update of k
  )
  update freehold.api_keys k
  set use_count = k.use_count + t.uses,
    last_used_at = greatest(k.last_used_at, least(t.last_used_at, clock_timestamp()))
  from taken t
  where t.id = k.id;
  return true;
end $$;

-- Not of use_count and last_used_at, which are the system's.
create trigger before_api_key
  before insert or update of name, permissions, addresses, expires_at, revoked_at on freehold.api_keys
  for each row execute function access.before_api_key();

-- revoked_at is recorded by after_api_key (after.sql).
call access.audited('freehold.api_keys', 'api_key',
  secret => '{key_hash}',
  noise => '{last_used_at,use_count,revoked_at}');

-- Not access.protect: users read their own keys with any permission and those of others with a permission for keys,
-- and they write with a session alone.
create policy read on freehold.api_keys for select
  using (
    user_id = (select access.principal())
    or (
      (select access.permission()) in ('api_key:read', 'api_key:delete')
      and (
        (select access.scope()) = 'all'
        or user_id = any ((select access.scope_owner_ids())::uuid[])
        or exists (
          select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
        )
      )
    )
  );

create policy make on freehold.api_keys for insert
  with check (
    user_id = (select access.principal())
    and (select access.session()) is not null
  );

create policy change on freehold.api_keys for update
  using (
    (select access.session()) is not null
    and (
      user_id = (select access.principal())
      or (
        (select access.permission()) = 'api_key:delete'
        and (
          (select access.scope()) = 'all'
          or user_id = any ((select access.scope_owner_ids())::uuid[])
          or exists (
            select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
          )
        )
      )
    )
  );

grant
  select (id, user_id, name, prefix, permissions, addresses, rotated_from, last_used_at, use_count, created_at,
    expires_at, revoked_at),
  insert (id, user_id, name, prefix, key_hash, permissions, addresses, rotated_from, expires_at),
  update (name, permissions, addresses, expires_at, revoked_at)
on freehold.api_keys to freehold_app;

grant execute on function access.count_key_uses(uuid, text, uuid, integer, jsonb) to freehold_app;
