-- Unlocking: a user who was locked out by failed logins may try again at once.
--   access.unlock            by an administrator
--   access.unlock_as_owner   by whoever owns the database, when nobody is left who could
--
-- Threat: an administrator of a few users gives somebody who may do more another five guesses; whoever unlocks is not
-- in the audit.

-- Lets a locked out user log in again at once. Raises FH404, FH403.
create function access.unlock(subject uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.require_reach('user', subject);
  if access.permission() is distinct from 'user:update' or not access.can_access_user(subject) then
    perform access.refuse('not_found', 'There is no user with this id.');
  elsif subject = access.principal() or (access.scope() <> 'all' and subject = any (access.scope_owner_ids())) then
    perform access.refuse('forbidden', 'You cannot unlock yourself.');
  end if;
  -- A lockout does not slow down an attacker who can guess, unlock and guess again.
  perform access.require_all_of(subject);
  perform access.lock_login(subject), access.clear_failures(subject);
  perform access.record('USER_UNLOCKED', 'update', 'user', subject::text, null, null);
end $$;

-- The same for the owner of the database, who is the system in the audit: the user with this address, or all users who
-- are locked out (null). Returns their addresses; none: there is no such user. One who is not locked out is unlocked, too.
create function access.unlock_as_owner(address text) returns setof text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  for u in
    select x.*
    from freehold.users x
    where x.email = address
      or (
        address is null
        and exists (
          select
          from freehold.lockouts g
          where g.locked_until > now()
            and (g.key in ('login:' || x.id, 'change:' || x.id) or g.parent = 'login:' || x.id)
        )
      )
    order by x.id
  loop
    perform access.lock_login(u.id), access.clear_failures(u.id);
    perform access.record('USER_UNLOCKED', 'update', 'user', u.id::text, null, null);
    return next u.email;
  end loop;
end $$;

grant execute on function
  access.unlock(uuid)
to freehold_app;
