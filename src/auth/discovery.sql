-- Discovery: what the metadata of a tenant says that only the tenant knows. A public endpoint: it tells a stranger what
-- they could find out by trying.

-- {password_grant}: whether the OAuth 2 password grant is offered. Raises FH503 for another tenant or one that is off.
create function access.metadata(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  return jsonb_build_object('password_grant', t.password_grant);
end $$;

grant execute on function access.metadata(uuid) to freehold_app;
