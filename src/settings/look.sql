-- The look of a tenant: name, colour, logo, links; and the logo itself, in a table of its own.
--   access.look    what its pages need before anybody has logged in
--   access.logo    the logo
-- Both are public endpoints: they tell a stranger what every page shows.
--
-- Threat: a file that a browser takes for something else than an image, or one so large that others pay for it; by whom
-- it is changed who may not. What it is the Worker looks at (image.ts); how large it may be a constraint says.

-- {name, accent_color, links, logo_etag, registration, email_login, providers, policy}. Raises FH503 for another tenant
-- or one that is off.
create function access.look(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  return jsonb_build_object(
    'name', t.name,
    'accent_color', t.accent_color,
    'links', t.links,
    'logo_etag', (select l.etag from freehold.logo l),
    'registration', t.registration,
    'email_login', t.email_login,
    'providers', access.login_providers(),
    'policy', access.policy_of(t)
  );
end $$;

-- {content_type, etag, content}, the content in base64; null: there is none. Raises FH503 as above.
create function access.logo(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_tenant(tenant_id);
  return (
    select jsonb_build_object(
      'content_type', l.content_type, 'etag', l.etag, 'content', translate(encode(l.content, 'base64'), e'\n', ''))
    from freehold.logo l);
end $$;

grant execute on function
  access.look(uuid),
  access.logo(uuid)
to freehold_app;

call access.audited('freehold.logo', 'logo', secret => '{content}', keys => '{one}');

-- Made, replaced and taken away with the permission to change settings.
call access.protect('freehold.logo', 'setting',
  is_public => true,
  inserts => '{content_type,width,height,etag,content}',
  inserted_with => '{update}',
  updates => '{content_type,width,height,etag,content,updated_at}',
  deletes => false);

grant delete on freehold.logo to freehold_app;

create policy remove on freehold.logo for delete
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));
