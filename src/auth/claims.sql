-- What an access token says of its user: access.token_claims, for logins and refreshes.
--
-- Threat: an API that verifies tokens offline is told more of a user than the tenant wants it to know. So which
-- permissions are in a token, the settings say, or the row of the API that it is for (src/audiences).

-- Everything that the Worker needs to make an access token, and to say how old the password is. What it carries for an
-- API, the API's row says. A session that named no client is Freehold's own.
create function access.token_claims(
  u freehold.users,
  s freehold.sessions,
  t freehold.tenant,
  audience text default null
) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  shown jsonb := access.profile(u.id);
  expiry timestamptz := access.password_expiry(u, t);
  carried record := access.audience_permissions(u.id, t, audience);
begin
  return jsonb_build_object(
    'user_id', u.id,
    'session_id', s.id,
    'proof', access.session_proof(s.id),
    'username', u.username,
    'email', u.email,
    'role', shown -> 'role',
    'roles', shown -> 'roles',
    'permissions', carried.permissions,
    'permissions_truncated', carried.truncated,
    'client_id', coalesce(s.client_id, 'freehold'),
    'audience', audience,
    'amr', s.amr,
    'aal', s.aal,
    'auth_time', floor(extract(epoch from coalesce(s.authenticated_at, s.created_at))),
    'access_minutes', t.access_minutes,
    'session_expires_at', s.expires_at,
    'mfa_due_at', access.factor_due_at(u, t),
    'must_change_password', access.must_change(u, t),
    'password_expires_at', expiry,
    'password_expires_soon', coalesce(expiry <= now() + make_interval(days => t.password_warning_days), false))
    || case
      when s.impersonator_id is null then '{}'
      else jsonb_build_object('act', jsonb_build_object('sub', s.impersonator_id))
    end
    || jsonb_strip_nulls(jsonb_build_object('ext', s.hook_claims));
end $$;
