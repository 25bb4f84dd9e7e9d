-- One-time tokens that are mailed, and the locks under which they are spent.
--
-- Threat: a token is spent twice, or while a login or another change of the same user is under way; a stranger fills a
-- table with tokens. So whoever spends one locks the lockouts of the user and then the user, in the order of a login,
-- because two that took them in different orders would wait for each other; and a token whose mail is dropped
-- (src/mail/limits.sql) is not stored.

-- The active user of a valid token, or null. With `is_held` their row and their lockouts are locked, so that of
-- several requests with this token, or with others of the same user, one goes first.
create function access.token_user(presented bytea, token_kind text, is_held boolean) returns freehold.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  if is_held then
    perform access.lock_login(k.user_id)
    from freehold.one_time_tokens k
    where k.token_hash = presented and k.kind = token_kind and k.used_at is null;
  end if;
  select x.* into u
  from freehold.users x
  join freehold.one_time_tokens k on k.user_id = x.id
  where k.token_hash = presented
    and k.kind = token_kind
    and k.used_at is null
    and k.expires_at > now()
    and access.is_present(x);
  return u;
end $$;

-- Enqueues a mail with a token for a user whose row is locked, and stores the token, unless the mail is dropped. The mail
-- knows when the token expires. Of the tokens that set a password only the newest works.
create function access.send_token(
  u freehold.users,
  token_kind text,
  target text,
  token_hash bytea,
  lifetime interval,
  mail text,
  secrets_encrypted text
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  until timestamptz := now() + lifetime;
begin
  if access.enqueue_mail(mail, u.id, target, jsonb_build_object('expires_at', until), secrets_encrypted) is not null then
    -- The lock on the user keeps another token from being made, or one of these from being spent, meanwhile.
    update freehold.one_time_tokens k set used_at = now()
    where k.user_id = u.id and k.kind = token_kind and k.kind = 'reset' and k.used_at is null;
    insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at)
    values (token_hash, token_kind, u.id, target, until);
  end if;
end $$;

-- Locks a user before a change of how they log in, against other such changes and against logins. In the order of a
-- login, the lockouts before the user: two transactions that took them in different orders would wait for each other. The
-- row of logins stands for those of devices and networks.
create function access.lock_login(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  insert into freehold.lockouts as x (key) values ('change:' || subject), ('login:' || subject)
  on conflict (key) do update set key = x.key;
  perform from freehold.users x where x.id = subject for no key update;
end $$;

-- Clears the lockouts of a user: those of logins, of whatever device or network, and those of changes.
create function access.clear_failures(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.clear_lockout(x)
  from freehold.lockouts x
  where x.key in ('login:' || subject, 'change:' || subject, 'factor:' || subject) or x.parent = 'login:' || subject;
end $$;
