-- What an organization shows of others, and the current user: open invitations, and whether its users. The table of
-- invitations is another room's, and a database that has none yet has no invitations.
--
-- Threat: who only reads an organization learns whom others have invited; somebody who entered an address that is not
-- theirs learns to what its owner is invited. So the first takes invitation:read as far as the organization, and the
-- second an address that is verified.

-- Whether the caller may read the users of an organization.
create function access.reads_users_of(organization uuid) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  far record;
begin
  if access.principal() is null then
    return false;
  end if;
  far := access.effective_scope(access.principal(), 'user:read');
  return coalesce(
    far.scope = 'all'
    or exists (select from freehold.organizations o where o.id = organization and o.unit_id = any (far.units)), false);
end $$;

-- The newest hundred of an organization: [{id, email, expires_at}].
create function access.invitations_of(organization uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  far record;
begin
  if access.principal() is null or to_regclass('freehold.invitations') is null then
    return '[]';
  end if;
  far := access.effective_scope(access.principal(), 'invitation:read');
  if not coalesce(
    far.scope = 'all'
    or exists (select from freehold.organizations o where o.id = organization and o.unit_id = any (far.units)), false)
  then
    return '[]';
  end if;
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'id', x.id,
          'email', x.email,
          'expires_at', to_char(x.expires_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        order by x.created_at desc, x.id),
      '[]')
    from (
      select *
      from freehold.invitations i
      where i.organization_id = organization and i.closed_at is null and i.expires_at > now()
      order by i.created_at desc, i.id
      limit 100) x);
end $$;

-- Those to the verified address of the admitted user: [{id, organization, expires_at}], without a name for the tenant.
create function access.own_invitations() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null or to_regclass('freehold.invitations') is null then
    return '[]';
  end if;
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'id', x.id,
          'organization', x.name,
          'expires_at', to_char(x.expires_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        order by x.expires_at, x.id),
      '[]')
    from (
      select i.id, i.expires_at, o.name
      from freehold.users u
        join freehold.invitations i on i.email = u.email and i.closed_at is null and i.expires_at > now()
        left join freehold.organizations o on o.id = i.organization_id
      where u.id = access.principal() and u.email_verified and coalesce(o.state = 'active', true)
      order by i.expires_at, i.id
      limit 100) x);
end $$;

-- Closes those of an organization that is wiped out.
create function access.close_invitations(organization uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if to_regclass('freehold.invitations') is not null then
    update freehold.invitations i
    set revoked_at = now(), closed_at = now(), updated_at = now()
    where i.organization_id = organization and i.closed_at is null;
  end if;
end $$;

grant execute on function
  access.reads_users_of(uuid),
  access.invitations_of(uuid),
  access.own_invitations()
to freehold_app;
