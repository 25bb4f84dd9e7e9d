-- Device tokens (OWASP: device cookies). Whoever logged in holds one, and shows it at the next login: the failures of
-- strangers do not count against them then (lockouts.sql).
--   access.device_token   makes the token of a device
--   access.device_of      which device a login is from
-- A token is `{device}.{when it was made}.{signature}`: a random id that the device keeps, seconds, and a MAC of both.
--
-- Threat: somebody forges a token, or uses one of another person or tenant, so that their guesses are counted apart from
-- those of all others; or keeps guessing from a device that was stolen. So the MAC is under this database's own key,
-- over tenant, user, password and device; a token counts for 30 days, and for nothing once the password is another. It
-- lets nobody in, and what is not a valid one counts as none. Nobody but definer functions calls these.

-- The token of a device for the current password of a user; null: they have none. The row's id stands for the
-- password: it stays when the hash alone is renewed.
create function access.device_token(t freehold.tenant, subject uuid, device uuid, made_at bigint) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select format('%s.%s.%s', device, made_at, encode(
    access.mac(format('device:%s:%s:%s:%s:%s', t.id, subject, p.id, device, made_at)), 'hex'))
  from freehold.passwords p
  where p.user_id = subject and p.replaced_at is null
$$;

-- The device that one of these tokens (an array) proves for a user; null: none of them does.
create function access.device_of(t freehold.tenant, subject uuid, tokens jsonb) returns uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select s.parts[1]::uuid
  from jsonb_array_elements_text(tokens) said (token)
  cross join lateral regexp_match(
    said.token, '^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})[.]([0-9]{10})[.][0-9a-f]{64}$') s (parts)
  where to_timestamp(s.parts[2]::bigint) > now() - interval '30 days'
    and said.token = access.device_token(t, subject, s.parts[1]::uuid, s.parts[2]::bigint)
  limit 1
$$;
