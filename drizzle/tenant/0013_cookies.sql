-- As before, and when the session ends in any case: a browser keeps the refresh token as long.
create or replace function access.claims_of(u freehold.users, s freehold.sessions, t freehold.tenant) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('user_id', u.id, 'session_id', s.id, 'proof', access.session_proof(s.id), 'username', u.username, 'email', u.email, 'role', access.role_now(u),
    'roles', access.role_names(u.id, now()), 'permissions', access.told_permissions(u.id), 'amr', s.amr,
    'auth_time', floor(extract(epoch from s.created_at)), 'access_minutes', t.access_minutes, 'session_expires_at', s.expires_at,
    'must_change_password', access.must_change(u, t), 'password_expires_at', access.expiry_of(u, t),
    'password_expires_soon', coalesce(access.expiry_of(u, t) <= now() + make_interval(days => t.password_warning_days), false))
$$;
