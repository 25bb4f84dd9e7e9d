-- What goes with a passkey that is removed, by its owner, by an administrator, or because it has ended.
--
-- Threat: the last way into an account is lost, by two requests at once; or somebody at an open session takes a passkey
-- away, and its owner never learns of it. So one that is the only way in stays, and whoever loses one is mailed.

-- The last way in stays: a user without a password and without an identity elsewhere keeps one passkey. One removal of a
-- user at a time, so that of two passkeys that go at once one is the last.
create function access.before_passkey_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return old;
  end if;
  perform access.must_be_licensed();
  perform from freehold.users u where u.id = old.user_id for no key update;
  if access.current_password(old.user_id) is null
    and coalesce(old.ends_at > now(), true)
    and not exists (
      select
      from freehold.passkeys k
      where k.user_id = old.user_id and k.id <> old.id and coalesce(k.ends_at > now(), true))
    and not access.has_identity(old.user_id, null)
  then
    perform access.refuse('illegal_state', 'This passkey is the only way into your account: add another one, or set a password.');
  end if;
  return old;
end $$;

-- Mails the owner of a passkey that was removed, and forgets the devices that it may have vouched for. One that has ended
-- is purged: its owner knows, and it vouches for nothing.
create function access.after_passkey_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if old.ends_at <= now() then
    return null;
  end if;
  perform access.forget_devices(old.user_id);
  perform access.enqueue_mail('passkey_removed', u.id, u.email, jsonb_build_object('passkey_name', old.name))
  from freehold.users u
  where u.id = old.user_id;
  return null;
end $$;

create trigger before_passkey_removal before delete on freehold.passkeys
  for each row execute function access.before_passkey_removal();

create trigger after_passkey_removal after delete on freehold.passkeys
  for each row execute function access.after_passkey_removal();
