-- Who must have a second factor: the settings of the tenant say so (src/settings), the admission asks (src/access).
--   access.needs_factor       whether
--   access.factor_due_at      from when on a user can only set one up
--   access.asks_for_passkey   whether a login asks for a passkey, of somebody who has no other
--
-- Threat: whoever needs a second factor goes on without one, in a session that is older than the rule, or by a role that
-- inherits from the one that needs it. So the rule is asked with each request, and of the roles that are held then.

create function access.needs_factor(u freehold.users, t freehold.tenant) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select t.mfa_required_since is not null
    and (
      t.mfa_required
      or exists (select from access.roles_of(u.id, now()) r (id) where r.id::text = any (t.mfa_required_roles)))
$$;

-- The moment; null: the user needs none, or has one.
create function access.factor_due_at(u freehold.users, t freehold.tenant) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if t.mfa_required_since is null
    or u.factors <> '{}'
    or access.has_passkey(u.id)
    or not access.needs_factor(u, t)
  then
    return null;
  end if;
  return greatest(t.mfa_required_since, u.created_at) + make_interval(days => t.mfa_grace_days);
end $$;

-- Where no second factor is needed, a passkey is a way in beside the password, and the password is still enough.
create function access.asks_for_passkey(u freehold.users, t freehold.tenant) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return t.mfa_required_since is not null
    and access.has_passkey(u.id)
    and access.needs_factor(u, t);
end $$;
