-- Passkeys of a former name of the tenant. A passkey is for one host; after a rename it works as long as the name is kept
-- (platform.take_subdomain), and the Worker, which knows the hosts, refuses it where it is not.
--   access.after_rename        says of passkeys of the former name when they end, and of those of the new one that they go on
--   access.has_passkey         whether a user has one that works; whoever asks for a second factor asks here
--   access.with_passkey_end    what a login that used one tells its user
--
-- Threat: a passkey that no browser can use any more counts as the second factor that a tenant requires, or keeps its
-- user from setting another one up. So it ends with the name, for all that ask, and its user is told at each login.

create function access.after_rename() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.passkeys k
  set ends_at = case when split_part(k.rp_id, '.', 1) <> new.subdomain then now() + interval '30 days' end
  where (k.ends_at is null) = (split_part(k.rp_id, '.', 1) <> new.subdomain);
  return null;
end $$;

create trigger after_rename after update of subdomain on freehold.tenant
  for each row when (old.subdomain <> new.subdomain) execute function access.after_rename();

create function access.has_passkey(subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from freehold.passkeys k where k.user_id = subject and coalesce(k.ends_at > now(), true))
$$;

-- What access.enter returns, with `passkey_ends_at` among the claims where the passkey that was used ends.
create function access.with_passkey_end(entered jsonb, presented bytea) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
    when entered ->> 'outcome' = 'ok' and k.ends_at is not null
      then jsonb_set(entered, '{claims,passkey_ends_at}', to_jsonb(k.ends_at))
    else entered
  end
  from (select) one
    left join freehold.passkeys k on k.credential_id = presented
$$;
