-- How a user logs in: the first password, and who may change an e-mail address or a username.
--
-- Threat: somebody who can change how another user logs in can soon be that user; and somebody who finds an open
-- session, or an API key, takes the account over by its address. So an API key changes neither for its owner, and
-- one's own address is changed with the password (src/recovery/contact.sql). That the caller holds what the user
-- holds, access.before_user checks. Called from outside: access.first_password, after a
-- user is created, and access.lock_user, before anything else of a user is locked.

-- The first password of a user that this transaction created: only then, and only once. Its user must change it, and it
-- works for as long as the tenant's settings say (first_password_hours).
create function access.first_password(subject uuid, password_hash text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:create'
    or not exists (select from freehold.users u where u.id = subject and u.created_at = now() and u.must_change_password)
    or exists (select from freehold.passwords p where p.user_id = subject) then
    perform access.refuse('forbidden', 'A first password can only be set while the user is created.');
  end if;
  insert into freehold.passwords (id, user_id, password_hash, is_first)
  values (gen_random_uuid(), subject, first_password.password_hash, true);
end $$;

-- Locks a user before anything else of theirs is locked, and before several of their rows are: transactions that lock
-- in different orders would wait for each other.
create function access.lock_user(subject uuid) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select
  from freehold.users x
  where x.id = subject
    and access.principal() is not null
  for no key update
$$;

-- A caller who can change how a user logs in can soon log in as them, and is then not limited by an API key any more.
create function access.before_login_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (new.email, new.username) is distinct from (old.email, old.username)
    and access.key() is not null
    and access.principal() = new.id then
    perform access.refuse('forbidden', 'How you log in can be changed with a session only, not with an API key.');
  end if;
  return new;
end $$;

-- Users change their own address through an endpoint that asks for the password, whatever their scope: an attacker at
-- an open session does not know it.
create function access.before_own_email() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() = new.id then
    perform access.refuse('forbidden', 'Change your own address with auth/email-change.');
  end if;
  return new;
end $$;

create trigger before_login_change before update of email, username on freehold.users
  for each row execute function access.before_login_change();

create trigger before_own_email before update of email on freehold.users
  for each row when (old.email <> new.email) execute function access.before_own_email();

grant execute on function
  access.first_password(uuid, text),
  access.lock_user(uuid)
to freehold_app;
