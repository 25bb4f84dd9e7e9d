-- Usernames that nobody chose. Called from outside, with user:create: access.new_username.
--
-- Threat: two people with the same name at two addresses, of whom the second is refused for a username that they never
-- wrote; and somebody whose address begins with admin@, who then looks like the administrator. So the name that an
-- address gives (usernameFrom in src/users/username.ts) is what is wished for, and here a free one is made of it.
--
-- The unique index decides who has a name. So that nobody meets it with a made-up name, each transaction that is about
-- to take a name locks it, and who makes one up passes over a locked one. Who chose a name waits for its lock.

-- The username for an address: the wished one, unless somebody has it, is taking it, it is reserved, or one of `others`;
-- then the wished one with a suffix, which is the same whenever it is asked for.
create function access.free_username(wished text, address text, others text[] default '{}') returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  candidate text := wished;
  tries integer := 0;
begin
  -- Whoever holds a name waits for no counter.
  perform access.lock_limit('users');
  loop
    -- In a statement of its own, so that the next one sees what was committed before this one got the lock.
    if candidate <> all (others)
      and not access.is_reserved_username(candidate)
      and access.lock_username(candidate) then
      if not exists (select from freehold.users u where u.username = candidate) then
        return candidate;
      end if;
    end if;
    tries := tries + 1;
    candidate := left(wished, 58) || '-' || left(md5(address || tries), 5);
  end loop;
end $$;

-- The same for a request that creates a user.
create function access.new_username(wished text, address text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:create' then
    perform access.refuse('forbidden', 'A username is made up only for a new user.');
  end if;
  return access.free_username(wished, address);
end $$;

-- Locks a username until the end of the transaction; false: another transaction is about to take it.
create function access.lock_username(name text) returns boolean
language sql volatile set search_path = pg_catalog, pg_temp as $$
  select pg_try_advisory_xact_lock(access.username_lock(name))
$$;

-- The key of that lock.
create function access.username_lock(name text) returns bigint
language sql immutable
return hashtextextended('freehold.users.username:' || name, 0);

-- Names by which people take somebody for one who runs the place. Who creates or changes a user may choose one of these;
-- a stranger who registers may not.
create function access.is_reserved_username(name text) returns boolean
language sql immutable
return name = any ('{admin,administrator,root,superuser,superadmin,sysadmin,system,operator,owner,moderator,support,
  security,helpdesk,postmaster,hostmaster,webmaster,noreply,no-reply}'::text[]);

grant execute on function access.new_username(text, text) to freehold_app;
