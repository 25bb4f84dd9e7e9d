-- The master's registry of tenants: their versions, and what operators may read and write.
--
-- Threat: an older entry replaces a newer one, in KV or in an isolate, and a request goes to a database that is not
-- the tenant's any more; an operator reads secrets of a tenant, or writes what provisioning alone writes. So every
-- change takes a version that only grows, and the grants below name columns. Operators are admitted as the users of a
-- tenant are; provisioning and scheduled jobs run as the owner, to whom no policy applies. Nothing here is called
-- from outside: all of it is triggers.
--
-- What anybody's request looks up is read by a login of its own, a member of freehold_reader, which may select what an
-- entry is made of, who is behind, and nothing else: no owner login, no operator, no audit, and it writes nothing.

-- The registry's versions: one sequence, which only grows. A change of a tenant takes the next version after it holds
-- the row's lock, so that of two versions of one tenant the later is the greater. A statement that sets a version
-- itself took it from the sequence.
create sequence platform.registry_v;

-- Of hosts that tenants share, in their names: none is given twice, also when a host is removed.
create sequence platform.host_number;

create function platform.next_version() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT'
    or new.v = old.v and platform.published_fields(new) <> platform.published_fields(old) then
    new.v := nextval('platform.registry_v');
    new.updated_at := now();
  end if;
  return new;
end $$;

-- The part of a tenant's row whose change makes a new version. `is_active` is generated, and not yet computed where a
-- trigger runs before the row is written.
create function platform.published_fields(t platform.tenants) returns jsonb
language sql stable
return to_jsonb(t) - '{v,published_v,updated_at,users_counted,is_active,presets_version,owner_url_encrypted,
  next_refresh_key_encrypted,rotating_since,connected_at,move_id}'::text[];

-- A new key of a tenant is a new version of the tenant.
create function platform.key_version() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  update platform.tenants
  set v = nextval('platform.registry_v')
  where id = new.realm_id;
  return null;
end $$;

-- Puts a tenant into the maintenance queue, because a change by an operator may have written to its own database.
create function platform.queue_maintenance() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into platform.maintenance as v (realm_id)
  values (new.id)
  on conflict (realm_id) do update
  set active_until = greatest(v.active_until, clock_timestamp() + interval '1 minute');
  return null;
end $$;

create trigger next_version before insert or update on platform.tenants
  for each row execute function platform.next_version();

create trigger key_version after insert or update on platform.signing_keys
  for each row execute function platform.key_version();

create trigger queue_maintenance after insert or update on platform.tenants
  for each row execute function platform.queue_maintenance();

call access.audited('platform.tenants', 'tenant',
  secret => '{app_url_encrypted,owner_url_encrypted,refresh_key_encrypted,former_refresh_key_encrypted,
    next_refresh_key_encrypted,initial_admin_encrypted}',
  noise => '{v,published_v,updated_at,users_counted,presets_version,next_refresh_key_encrypted,move_id}');

-- Not access.protect: a request with a permission for tenants also writes the runs and steps that it starts, so that
-- only the scope is checked here.
create policy operators on platform.tenants
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

create policy operators on platform.hosts for select
  using ((select access.scope()) = 'all');

-- Somebody else's database, which an operator names; all other hosts are opened by provisioning.
create policy adopting on platform.hosts for insert
  with check ((select access.scope()) = 'all' and kind = 'external');

create policy reconnecting on platform.hosts for update
  using ((select access.scope()) = 'all' and kind = 'external')
  with check ((select access.scope()) = 'all' and kind = 'external');

create policy operators on platform.provisioning_runs
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

create policy operators on platform.provisioning_steps
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

grant usage on schema platform to freehold_app;

-- The trigger of the versions runs as the login that writes.
grant execute on function platform.published_fields(platform.tenants) to freehold_app;

grant usage on sequence platform.registry_v to freehold_app;

-- Without the encrypted columns, and without updates of those that provisioning alone writes.
grant
  select (id, subdomain, legal_name, tax_id, country, admin_email, contact_name, region, plan, environment, status,
    is_active, isolation, role_preset, limits, config, schema_version, presets_version, users_counted, database_name,
    host_id, v, published_v, created_at, updated_at, deleted_at, refresh_key_from, rotating_since, connected_at,
    move_id),
  insert,
  update (subdomain, status, deleted_at, erasing_until, config, legal_name, contact_name, admin_email, tax_id, country, plan,
    environment, limits, rotating_since, connected_at, move_id)
on platform.tenants to freehold_app;

grant
  select (id, name, kind, state, project_id, branch_id, account, organization, capacity, taken, refused, lease_until, address),
  insert (id, name, kind, state, region, owner_url_encrypted, address, found, capacity, taken, lease_until),
  update (owner_url_encrypted, refused)
on platform.hosts to freehold_app;

grant select, insert, update on platform.provisioning_runs to freehold_app;

grant select, insert, update on platform.provisioning_steps to freehold_app;

create policy reader on platform.tenants for select to freehold_reader
  using (true);

create policy reader on platform.signing_keys for select to freehold_reader
  using (true);

create policy reader on platform.realm for select to freehold_reader
  using (true);

grant usage on schema platform to freehold_reader;

grant
  select (id, subdomain, legal_name, environment, status, config, role_preset, schema_version, presets_version,
    app_url_encrypted, refresh_key_encrypted, former_refresh_key_encrypted, refresh_key_from, v, deleted_at)
on platform.tenants to freehold_reader;

grant select (kid, realm_id, public_jwk, private_jwk_encrypted, use_from) on platform.signing_keys to freehold_reader;

grant
  select (id, refresh_key_encrypted, former_refresh_key_encrypted, refresh_key_from)
on platform.realm to freehold_reader;
