-- What follows when a key is made or revoked.
--
-- Threat: somebody at an open session makes themselves a key, which goes on when the session has ended and the password
-- was changed, and the owner of the account never learns of it. So the transaction that makes a key mails its owner, and
-- whoever sets a password can revoke the keys of its user in the same transaction. access.revoke_keys_of is called by
-- the functions that set a password (src/auth/passwords.sql, src/recovery/recovery.sql).

-- Mails the owner of a new key, also of one that replaces another. The mail names the key and holds nothing secret.
create function access.after_new_api_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.enqueue_mail('api_key_created', u.id, u.email, jsonb_build_object('key_name', new.name, 'prefix', new.prefix))
  from freehold.users u
  where u.id = new.user_id;
  return null;
end $$;

-- The revocation of a key has a name of its own in the audit.
create function access.after_api_key() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.record('API_KEY_REVOKED', 'update', 'api_key', new.id::text,
    jsonb_build_object('revoked_at', null), jsonb_build_object('revoked_at', new.revoked_at));
  return null;
end $$;

-- Revokes all keys of a user whose row is locked. One that is being made waits for that lock, and is refused when its
-- session has ended meanwhile (access.before_api_key). Keys are locked in the order of access.count_key_uses.
create function access.revoke_keys_of(subject uuid) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  with held as materialized (
    select k.id
    from freehold.api_keys k
    where k.user_id = subject and k.revoked_at is null
    order by k.id
    for no key update
  )
  update freehold.api_keys k set revoked_at = now() from held h where k.id = h.id
$$;

create trigger after_new_api_key after insert on freehold.api_keys
  for each row execute function access.after_new_api_key();

create trigger after_api_key after update of revoked_at on freehold.api_keys
  for each row when (old.revoked_at is null and new.revoked_at is not null) execute function access.after_api_key();
