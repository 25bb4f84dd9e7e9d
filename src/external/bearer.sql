-- Access tokens of providers as credentials, where a tenant takes them (`accepts_tokens` of a provider).
--   access.token_providers         for the Worker: whose tokens this tenant takes
--   access.authenticate_identity   for the admission: the user of a token that the Worker verified
--
-- Threat: a token counts after its provider was switched off, its identity unlinked or its user deactivated; somebody who
-- runs SQL as the app login says that a token was verified; a token does what takes a person. So what the Worker keeps says
-- only where keys are, and each request asks here again; the Worker shows the system's key, which the app login lacks; and
-- what asks for a fresh login refuses it, because nobody can step up with it.

-- The providers whose access tokens are taken, as the Worker verifies them.
create function access.token_providers(tenant_id uuid, system_key text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
      'id', p.id, 'name', p.name, 'type', p.type, 'issuer', p.issuer, 'client_id', p.client_id)), '[]')
    from freehold.providers p
    where p.is_enabled and p.accepts_tokens);
end $$;

-- The user of {provider, issuer, subject, system_key}. `proof`: what is asked takes a newer or stronger login. Raises FH401
-- token_invalid, FH403 forbidden.
create function access.authenticate_identity(tenant_id uuid, credential jsonb, proof integer) returns freehold.users
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  perform access.check_system(tenant_id, credential ->> 'system_key');
  select x.* into u
  from freehold.external_identities e
    join freehold.providers p on p.id = e.provider_id
    join freehold.users x on x.id = e.user_id
  where e.provider_id = (credential ->> 'provider')::uuid
    and e.issuer = credential ->> 'issuer'
    and e.external_id = credential ->> 'subject'
    and p.is_enabled
    and p.accepts_tokens;
  if u.id is null then
    raise exception using
      errcode = 'FH401',
      message = 'token_invalid',
      detail = 'Tokens of this provider are not taken, or nobody here has this identity.';
  elsif proof is not null then
    raise exception using
      errcode = 'FH403',
      message = 'forbidden',
      detail = 'This cannot be done with a token of a provider: log in.';
  end if;
  return u;
end $$;

grant execute on function access.token_providers(uuid, text) to freehold_app;
