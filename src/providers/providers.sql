-- Providers: whose ID tokens log users in.
--   access.begin_external_login   public endpoint: the settings of a provider, for the Worker to verify a token of it
--
-- Threat: a provider decides who its users are here. Whoever can set one that links by e-mail, or whose addresses or second
-- factors are believed, becomes whom they like: they run the provider, or have one say what they like. So that takes every
-- permission at scope all; what decides who an external id is never changes; and users are created with roles that who
-- sets it holds. The secret of a client can be written and not read, and is encrypted by the Worker.

-- The settings of a provider by its name, with the secret of its client; null: there is none that is enabled. `mails_code`:
-- what the settings of risk want of the Worker, as access.begin_login says it.
create function access.begin_external_login(tenant_id uuid, system_key text, wanted text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
begin
  return (
    select jsonb_build_object(
      'id', p.id,
      'mails_code', t.risk_action = 'step_up',
      'name', p.name,
      'type', p.type,
      'issuer', p.issuer,
      'client_id', p.client_id,
      'client_secret_encrypted', p.client_secret_encrypted,
      'claims', p.claims,
      'allowed_domains', p.allowed_domains,
      'trusts_emails', p.trusts_emails,
      'mfa_values', p.mfa_values,
      'updated_at', p.updated_at
    )
    from freehold.providers p
    where p.name = wanted and p.is_enabled
  );
end $$;

-- What a stranger sees of the providers: those whose login begins on a page.
create function access.login_providers() returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('name', p.name, 'label', p.label) order by p.label, p.id), '[]')
  from freehold.providers p
  where p.is_enabled and p.type <> 'firebase'
$$;

-- Refuses to be believed by those who could become somebody by it. To disable a provider, or to believe it less, anybody
-- may who may change settings.
create function access.check_provider_power(was freehold.providers, is_now freehold.providers) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  -- What is generated has no value before the row is written.
  passed_over text[] := '{is_enabled,label,updated_at,is_confidential}';
begin
  if not is_now.links_by_email and not is_now.trusts_emails and not is_now.accepts_tokens and is_now.mfa_values = '{}' then
    return;
  elsif was.id is not null
    and (to_jsonb(is_now) - passed_over) = (to_jsonb(was) - passed_over)
    and (was.is_enabled or not is_now.is_enabled)
  then
    return;
  elsif exists (
    select from freehold.permissions p where p.deleted_at is null and p.name <> all (access.held_everywhere(null)))
  then
    perform access.refuse('forbidden',
      'A provider that links by e-mail, or is trusted, needs every permission at scope all: it decides who somebody is.');
  end if;
end $$;

-- Refuses roles that do not exist, are not active, or carry more than the admitted user holds.
create function access.check_provider_roles(p freehold.providers) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  wanted record;
  r freehold.roles;
begin
  for wanted in
    select 'role_id' as field, access.default_role(p) as id, p.role_id is not null as is_named
    union all
    select 'role_mapping', m.value::uuid, true from jsonb_each_text(p.role_mapping) m
  loop
    -- Locked, so that the role is not deleted or switched off meanwhile.
    select x.* into r from freehold.roles x where x.id = wanted.id and x.deleted_at is null for share;
    if r.id is null and wanted.is_named then
      perform access.refuse('invalid_request', format('%s is not a role of this tenant', wanted.id), wanted.field);
    elsif r.id is not null and not r.is_active then
      perform access.refuse('invalid_request', format('%s is not active', r.name), wanted.field);
    elsif r.id is not null then
      perform access.must_hold_role(r.id, '{}');
    end if;
  end loop;
end $$;

-- The role of a user whom no value of a claim gives one: that of the provider, else that of registration.
create function access.default_role(p freehold.providers) returns uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(p.role_id, (
    select r.id
    from freehold.tenant t
      join freehold.roles r on r.deleted_at is null
        and case when t.registration_role is null then r.is_fallback else r.name = t.registration_role end
    limit 1))
$$;

create function access.before_provider() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  was freehold.providers;
begin
  if tg_op = 'UPDATE' then
    was := old;
  else
    -- One at a time, so that one transaction gets the last place.
    perform pg_advisory_xact_lock(hashtext('access.providers'));
    if (select count(*) from freehold.providers) >= 20 then
      perform access.refuse('limit_reached', 'A tenant can have at most 20 providers: remove one first.');
    end if;
  end if;
  new.updated_at := greatest(now(), was.updated_at + interval '1 microsecond');
  if new.accepts_tokens and new.type = 'google' then
    perform access.refuse(
      'invalid_request', 'cannot be set for Google, whose access tokens cannot be verified', 'accepts_tokens');
  end if;
  -- Anybody has a directory of their own at such an issuer, and writes into its addresses what they like.
  if new.trusts_emails and new.type = 'entra' and new.issuer ~ '/(common|organizations|consumers)/' then
    perform access.refuse('invalid_request', 'cannot be set for an issuer of many organizations', 'trusts_emails');
  end if;
  if access.principal() is not null then
    perform access.check_provider_power(was, new);
    if new.creates_users then
      perform access.check_provider_roles(new);
    end if;
  end if;
  return new;
end $$;

create trigger before_provider before insert or update on freehold.providers
  for each row execute function access.before_provider();

-- Whoever logs in by a provider keeps that way in until they leave it: it can be disabled.
create function access.before_provider_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  linked bigint := (select count(*) from freehold.external_identities e where e.provider_id = old.id);
begin
  if linked > 0 then
    perform access.refuse('in_use', format('Users log in with this provider: %s. Disable it instead.', linked));
  end if;
  return old;
end $$;

create trigger before_provider_removal before delete on freehold.providers
  for each row execute function access.before_provider_removal();

call access.audited('freehold.providers', 'provider', '{client_secret_encrypted}');

-- Not access.protect: a secret is not read, and all of it goes with the permission to change settings.
create policy read on freehold.providers for select
  using ((select access.permission() = any ('{setting:read,setting:update}'::text[])));

create policy make on freehold.providers for insert
  with check ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));

create policy change on freehold.providers for update
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));

create policy remove on freehold.providers for delete
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));

grant
  select (id, name, type, issuer, client_id, label, claims, allowed_domains, creates_users, role_id, role_mapping,
    links_by_email, trusts_emails, mfa_values, accepts_tokens, is_enabled, is_confidential, created_at, updated_at),
  insert (id, name, type, issuer, client_id, client_secret_encrypted, label, claims, allowed_domains, creates_users, role_id,
    role_mapping, links_by_email, trusts_emails, mfa_values, accepts_tokens, is_enabled),
  update (client_secret_encrypted, label, claims, allowed_domains, creates_users, role_id, role_mapping, links_by_email,
    trusts_emails, mfa_values, accepts_tokens, is_enabled),
  delete
on freehold.providers to freehold_app;

grant execute on function
  access.begin_external_login(uuid, text, text)
to freehold_app;
