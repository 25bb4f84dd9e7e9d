-- Rotations that operators begin. What follows is the system's (tenants/rotations), which is the owner, to whom no policy
-- applies.
--
-- Threat: twenty operators at once each make a key, or nobody can be asked who made one. So a key names the one before
-- it, which only one can, and the platform's audit has who added it.

-- Adds a signing key to a tenant, published and not yet used, unless one is on its way, or its newest came with a rotation
-- of the last half hour, or eight are published. Returns {status, kid, use_from, is_coming, published} of the newest key
-- then; null: there is no such tenant.
create function platform.add_signing_key(tenant uuid, kid text, public_jwk jsonb, private_encrypted text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.scope() is distinct from 'all' or access.permission() is distinct from 'tenant:update' then
    perform access.refuse('forbidden', 'Rotating a key needs a permission for tenants.');
  end if;
  insert into platform.signing_keys (kid, realm_id, public_jwk, private_jwk_encrypted, use_from, follows)
  select add_signing_key.kid, t.id, add_signing_key.public_jwk, private_encrypted, '9999-01-01 00:00+00', k.kid
  from platform.tenants t
    join lateral (
      select x.kid, x.use_from, x.follows, count(*) over () as published
      from platform.signing_keys x
      where x.realm_id = t.id
      order by x.use_from desc
      limit 1
    ) k on true
  where t.id = tenant
    and t.status in ('active', 'inactive')
    and (k.follows is null or k.use_from < now() - interval '30 minutes')
    and k.published < 8
  on conflict (follows) do nothing;
  if found then
    perform access.record('TENANT_UPDATED', 'rotate_signing_key', 'tenant', tenant::text, null,
      jsonb_build_object('signing_key', kid));
  end if;
  return (
    select jsonb_build_object('status', t.status, 'kid', k.kid, 'use_from', k.use_from,
      'is_coming', k.use_from > now(), 'published', k.published)
    from platform.tenants t
      left join lateral (
        select x.kid, x.use_from, count(*) over () as published
        from platform.signing_keys x
        where x.realm_id = t.id
        order by x.use_from desc
        limit 1
      ) k on true
    where t.id = tenant
  );
end $$;

grant execute on function platform.add_signing_key(uuid, text, jsonb, text) to freehold_app;

-- Records that the caller resets the password of a user in a tenant, before it is done. `whose` is how they named the
-- user; null: the one of the tenant's `admin_email`. Returns {id, subdomain, legal_name, admin_email, status, operator};
-- null: there is no such tenant.
create function platform.enter_to_reset(tenant uuid, whose text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t platform.tenants;
begin
  if access.scope() is distinct from 'all' or access.permission() is distinct from 'tenant:recover' then
    perform access.refuse('forbidden', 'Resetting a password in a tenant needs the permission for it.');
  end if;
  select * into t from platform.tenants x where x.id = tenant;
  if t.status in ('active', 'inactive') then
    perform access.record('PASSWORD_RESET', 'reset_password', 'tenant', t.id::text, null,
      jsonb_build_object('user', coalesce(whose, t.admin_email)), 30);
  end if;
  return (
    select jsonb_build_object('id', t.id, 'subdomain', t.subdomain, 'legal_name', t.legal_name,
      'admin_email', t.admin_email, 'status', t.status, 'operator', u.username)
    from freehold.users u
    where u.id = access.principal() and t.id is not null
  );
end $$;

grant execute on function platform.enter_to_reset(uuid, text) to freehold_app;

create policy operators on platform.credential_rotations
  using ((select access.scope()) = 'all')
  with check ((select access.scope()) = 'all');

call access.audited('platform.credential_rotations', 'credential_rotation',
  secret => '{app_url_encrypted,owner_url_encrypted}',
  noise => '{app_url_encrypted,owner_url_encrypted,lease_until,attempts,step,left_until}');

grant
  select (id, tenant_id, state, step, attempts, error, created_at, exchanged_at, left_until, finished_at),
  insert (id, tenant_id, state, step, lease_until, trace_id)
on platform.credential_rotations to freehold_app;
