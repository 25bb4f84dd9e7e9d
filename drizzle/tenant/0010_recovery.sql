-- Recovery: new passwords by mail and by an administrator, unlocking, registration, and showing that an address or a number is one's own.
--
-- Threat: a stranger learns who is known here, fills a mailbox, takes an account over with a token that was seen, guessed, used or meant for
-- something else; somebody who looks after a few people gets into the account of who may do more; whoever runs SQL as the app login makes a token
-- for somebody and is them. So the doors say the same of known and unknown, only hashes of tokens are here, each is spent in the statement that
-- looks at it, nobody is sent more than a few mails an hour, and where a stranger is sent a token, the Worker shows the system's key.

-- How many mails of a kind somebody is sent in an hour because strangers ask for it.
create function access.asked_too_often(person uuid, token_kind text) returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select count(*) >= 5 from freehold.one_time_tokens x where x.user_id = person and x.kind = token_kind and x.created_at > now() - interval '1 hour'
$$;
--> statement-breakpoint
-- A token for a person whose row is locked; the mail with it. False when too many were asked for.
create function access.send_token(u freehold.users, token_kind text, target text, token_hash bytea, hours integer, mail text, sealed text) returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if access.asked_too_often(u.id, token_kind) then
    return false;
  end if;
  insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at)
  values (token_hash, token_kind, u.id, target, now() + make_interval(hours => hours));
  perform access.post(mail, u.id, target, '{}', sealed);
  return true;
end $$;
--> statement-breakpoint
-- Whoever is about to change how a person logs in goes first or waits: for others who are, and for who logs in. In the order of a login, the
-- guards and then the person, because two who took them in different orders would wait for each other.
create function access.hold(person uuid) returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  insert into freehold.login_guards as x (key) values ('change:' || person), ('login:' || person) on conflict (key) do update set key = x.key;
  perform from freehold.users x where x.id = person for no key update;
end $$;
--> statement-breakpoint
-- The person of a token that is good now, or nobody. Of many who show it, or others of the same person, one goes first when they are held.
create function access.holder_of(presented bytea, token_kind text, is_held boolean) returns freehold.users language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  if is_held then
    perform access.hold(k.user_id) from freehold.one_time_tokens k where k.token_hash = presented and k.kind = token_kind and k.used_at is null;
  end if;
  select x.* into u from freehold.users x join freehold.one_time_tokens k on k.user_id = x.id
  where k.token_hash = presented and k.kind = token_kind and k.used_at is null and k.expires_at > now() and x.is_active;
  return u;
end $$;
--> statement-breakpoint
-- Forgets the failures of a person's login and of their password changes.
create function access.forget_failures(person uuid) returns void language sql volatile set search_path = pg_catalog, pg_temp as $$
  update freehold.login_guards x set failures = 0, failed_at = null, locked_until = null where x.key in ('login:' || person, 'change:' || person)
$$;
--> statement-breakpoint
-- A new password that was not set with the one before it: all sessions end, and the lock opens.
create function access.recover(u freehold.users, new_hash text, must_change boolean, because text) returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.forget_failures(u.id);
  perform access.replace_password(u.id, new_hash, must_change, because, null);
  perform access.record('PASSWORD_RESET', 'update', 'user', u.id::text, null, jsonb_build_object('because', because), 30);
end $$;
--> statement-breakpoint
-- Somebody forgot their password, or says so: a token for one hour. What it returns, whether there is a mail to send, is told to nobody outside.
create function access.reset_request(tenant_id uuid, system_key text, address text, token_hash bytea, sealed text, request jsonb) returns boolean language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  select * into u from freehold.users x where x.email = address and x.is_active for no key update;
  perform access.attribute(u.id, u.username, request);
  if u.id is not null then
    perform access.send_token(u, 'reset', u.email, token_hash, 1, 'password_reset', sealed);
  end if;
  perform access.record('PASSWORD_RESET_REQUESTED', 'request', 'user', u.id::text, null, null, 10);
  return access.posted();
end $$;
--> statement-breakpoint
-- What is needed to judge the new password: {person, policy, former}; null: the token is good for nothing.
create function access.reset_look(tenant_id uuid, presented bytea) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.holder_of(presented, 'reset', false);
begin
  return case when u.id is not null then
    jsonb_build_object('person', access.person_of(u), 'policy', access.policy_of(t), 'former', access.former_recipes(u.id, t)) end;
end $$;
--> statement-breakpoint
-- Sets the new password: done | used (one of the former ones; the token is still good) | invalid.
create function access.reset_settle(tenant_id uuid, presented bytea, new_hash text, digests jsonb, request jsonb) returns text language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.holder_of(presented, 'reset', true);
begin
  if u.id is null then
    return 'invalid';
  elsif access.was_used(u.id, t, digests) then
    return 'used';
  end if;
  perform access.attribute(u.id, u.username, request);
  perform access.recover(u, new_hash, false, 'password_reset');
  -- Who read the mail has the address.
  update freehold.users x set email_verified = true
  where x.id = u.id and not x.email_verified and x.email = (select k.target from freehold.one_time_tokens k where k.token_hash = presented);
  perform access.post('password_changed', u.id, u.email);
  return 'done';
end $$;
--> statement-breakpoint
-- Somebody whom the admitted person looks after, and not themselves, nor who holds more than they do: who sets a password can be that person.
create function access.looked_after(person uuid) returns freehold.users language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  if access.permission() = 'user:update' and access.reaches(person) then
    perform access.hold(person);
    select * into u from freehold.users x where x.id = person;
  end if;
  if u.id is null then
    perform access.refuse('not_found', 'There is nobody with this id.');
  elsif u.id = access.principal() then
    perform access.refuse('forbidden', 'Your own password is changed with auth/password-change.');
  elsif access.scope() <> 'all' and u.id = any (access.owners()) then
    perform access.refuse('forbidden', 'Whoever lent you this permission did not lend you themselves.');
  elsif access.holds_more(u.id, access.principal()) then
    perform access.refuse('forbidden', 'This person holds more than you do: how they log in is not yours to change.');
  end if;
  return u;
end $$;
--> statement-breakpoint
-- First half of a reset by an administrator: {person, policy, former}.
create function access.admin_reset_look(person uuid) returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users := access.looked_after(person);
begin
  return (select jsonb_build_object('person', access.person_of(u), 'policy', access.policy_of(t), 'former', access.former_recipes(u.id, t)) from freehold.tenant t);
end $$;
--> statement-breakpoint
-- Second half: sets the password, which the person must change, and sends them a link with which they set their own: done | used.
create function access.admin_reset_settle(person uuid, new_hash text, digests jsonb, must_change boolean, token_hash bytea, sealed text) returns text language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users := access.looked_after(person);
begin
  if (select access.was_used(u.id, t, digests) from freehold.tenant t) then
    return 'used';
  end if;
  perform access.recover(u, new_hash, must_change, 'reset_by_administrator');
  if u.is_active then
    insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at) values (token_hash, 'reset', u.id, u.email, now() + interval '24 hours');
    perform access.post('password_reset_by_admin', u.id, u.email, '{}', sealed);
  end if;
  return 'done';
end $$;
--> statement-breakpoint
-- Lets a person try again at once. Raises FH404.
create function access.unlock(person uuid) returns void language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.permission() is distinct from 'user:update' or not access.reaches(person) then
    perform access.refuse('not_found', 'There is nobody with this id.');
  elsif person = access.principal() or (access.scope() <> 'all' and person = any (access.owners())) then
    perform access.refuse('forbidden', 'Somebody else must unlock you.');
  elsif access.holds_more(person, access.principal()) then
    -- Who may guess, unlock and guess again is held up by nothing.
    perform access.refuse('forbidden', 'This person holds more than you do: how they log in is not yours to change.');
  end if;
  perform access.hold(person), access.forget_failures(person);
  perform access.record('USER_UNLOCKED', 'update', 'user', person::text, null, null);
end $$;
--> statement-breakpoint
-- Whether strangers may register here, and what their passwords must be.
create function access.registration_terms(tenant_id uuid) returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  return jsonb_build_object('registration', t.registration, 'domains', to_jsonb(t.registration_domains), 'policy', access.policy_of(t));
end $$;
--> statement-breakpoint
-- Whether somebody may register now with an address.
create function access.lets_in(t freehold.tenant, address text) returns boolean language sql immutable set search_path = pg_catalog, pg_temp as $$
  select t.registration and (t.registration_domains = '{}' or regexp_replace(address, '^.*@', '') = any (t.registration_domains))
$$;
--> statement-breakpoint
-- Somebody registers: they are nobody until they have shown that the address is theirs. Whose address is known already is told so by mail.
create function access.register(tenant_id uuid, system_key text, presented bytea, wanted jsonb, new_hash text, sealed text, request jsonb) returns boolean language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  if not access.lets_in(t, wanted ->> 'email') then
    raise exception using errcode = 'FH403', message = 'forbidden';
  end if;
  select * into u from freehold.users x where x.email = wanted ->> 'email' for no key update;
  perform access.attribute(null, null, request);
  if u.id is null then
    -- What was asked for at once is counted one after another.
    perform pg_advisory_xact_lock(hashtext('register:' || (wanted ->> 'email')));
    delete from freehold.registrations x where x.token_hash in (select y.token_hash from freehold.registrations y where y.expires_at < now() - interval '1 day' limit 5 for update skip locked);
    if (select count(*) from freehold.registrations x where x.email = wanted ->> 'email' and x.created_at > now() - interval '1 hour') < 5 then
      insert into freehold.registrations (token_hash, email, username, password_hash, given_name, family_name, locale, expires_at)
      values (presented, wanted ->> 'email', wanted ->> 'username', new_hash, wanted ->> 'given_name', wanted ->> 'family_name', coalesce(wanted ->> 'locale', 'en'), now() + interval '24 hours');
      perform access.post('register', null, wanted ->> 'email', '{}', sealed, wanted ->> 'locale');
    end if;
  elsif u.is_active and (select count(*) from freehold.mails m where m.user_id = u.id and m.kind = 'register_known' and m.created_at > now() - interval '1 hour') < 5 then
    perform access.post('register_known', u.id, u.email);
  end if;
  perform access.record('REGISTRATION_REQUESTED', 'create', 'registration', null, null, null, 5);
  return access.posted();
end $$;
--> statement-breakpoint
-- A username that nobody has: the one that was wished for, else the part before the @, with a number when it is taken.
create function access.free_username(wished text, address text) returns text language sql volatile set search_path = pg_catalog, pg_temp as $$
  with base as (select coalesce(wished, nullif(left(ltrim(regexp_replace(split_part(address, '@', 1), '[^a-z0-9._-]', '', 'g'), '._-'), 64), ''), 'user') as name)
  select case when not exists (select from freehold.users u where u.username = b.name) then b.name
    else left(b.name, 58) || '-' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 5) end
  from base b
$$;
--> statement-breakpoint
-- Shows that an address is one's own: of a registration, which makes the person; of somebody who is here; or the new one of somebody who wants
-- another. done | invalid | taken (somebody else has the address by now).
--
-- Threat: a stranger registers somebody's address with a password of their own, and waits until its owner clicks. So where several with different
-- passwords wait for one address, none of them counts: who reads the mail sets one, by the spare token.
create function access.verify_email(tenant_id uuid, system_key text, presented bytea, spare_hash bytea, spare_sealed text, request jsonb) returns text language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  k freehold.one_time_tokens;
  r freehold.registrations;
  broken text;
  u freehold.users := access.holder_of(presented, 'email', true);
begin
  if u.id is not null then
    perform access.attribute(u.id, u.username, request);
    update freehold.one_time_tokens x set used_at = now() where x.token_hash = presented returning * into k;
    if u.email <> k.target then
      begin
        update freehold.users x set email = k.target where x.id = u.id;
      exception when unique_violation then
        return 'taken';
      end;
    end if;
    update freehold.users x set email_verified = true where x.id = u.id;
    return 'done';
  end if;
  -- Of several tokens of one address that are shown at once, one goes first.
  perform pg_advisory_xact_lock(hashtext('register:' || x.email)) from freehold.registrations x where x.token_hash = presented;
  update freehold.registrations x set used_at = now() where x.token_hash = presented and x.used_at is null and x.expires_at > now() returning * into r;
  if r.token_hash is null or not access.lets_in(t, r.email) then
    return 'invalid';
  end if;
  loop
    begin
      insert into freehold.users (id, username, email, email_verified, given_name, family_name, locale, role, password_changed_at)
      values (gen_random_uuid(), access.free_username(r.username, r.email), r.email, true, r.given_name, r.family_name, r.locale,
        coalesce(t.registration_role, (select x.name from freehold.roles x where x.is_fallback and x.deleted_at is null)), r.created_at) returning * into u;
      exit;
    exception when unique_violation then
      -- A username that somebody else was given meanwhile is wished for once more, and is not free any more.
      get stacked diagnostics broken = constraint_name;
      if broken <> 'users_username' then
        return 'taken';
      end if;
    end;
  end loop;
  if exists (select from freehold.registrations x where x.email = r.email and x.password_hash <> r.password_hash and x.used_at is null and x.expires_at > now()) then
    perform access.send_token(u, 'reset', u.email, spare_hash, 1, 'password_reset', spare_sealed);
  else
    insert into freehold.passwords (id, user_id, password_hash, created_at) values (gen_random_uuid(), u.id, r.password_hash, r.created_at);
  end if;
  update freehold.registrations x set used_at = now() where x.email = r.email and x.used_at is null;
  perform access.attribute(u.id, u.username, request);
  perform access.record('USER_REGISTERED', 'create', 'user', u.id::text, null, jsonb_build_object('email', u.email, 'role', u.role));
  return 'done';
end $$;
--> statement-breakpoint
-- Sends the verification once more, to who registered or is here and has not shown their address yet. Says nothing of whether anybody is.
create function access.verification_resend(tenant_id uuid, system_key text, address text, token_hash bytea, sealed text, request jsonb) returns boolean language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
  r freehold.registrations;
begin
  perform access.attribute(null, null, request);
  select * into u from freehold.users x where x.email = address and x.is_active for no key update;
  if u.id is not null then
    if not u.email_verified then
      perform access.send_token(u, 'email', u.email, token_hash, 24, 'email_verify', sealed);
    end if;
    return access.posted();
  end if;
  perform pg_advisory_xact_lock(hashtext('register:' || address));
  select * into r from freehold.registrations x where x.email = address and x.used_at is null and x.expires_at > now() order by x.created_at desc limit 1;
  if r.token_hash is not null and access.lets_in(t, r.email) and (select count(*) from freehold.registrations x where x.email = address and x.created_at > now() - interval '1 hour') < 5 then
    insert into freehold.registrations (token_hash, email, username, password_hash, given_name, family_name, locale, expires_at)
    values (verification_resend.token_hash, r.email, r.username, r.password_hash, r.given_name, r.family_name, r.locale, now() + interval '24 hours');
    perform access.post('register', null, r.email, '{}', sealed, r.locale);
  end if;
  return access.posted();
end $$;
--> statement-breakpoint
-- The admitted person wants another address; their password was compared. `wrong`, or `done`: also when the address is somebody's, which is theirs to know.
create function access.email_change(tenant_id uuid, attempt uuid, digest text, address text, token_hash bytea, sealed text) returns text language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users := access.settle(t, attempt, digest);
begin
  if u.id is null or u.id is distinct from access.principal() then
    return 'wrong';
  elsif not exists (select from freehold.users x where x.email = address) then
    perform access.send_token(u, 'email', address, token_hash, 24, 'email_change', sealed);
  end if;
  perform access.record('EMAIL_CHANGE_REQUESTED', 'update', 'user', u.id::text, null, jsonb_build_object('email', address), 20);
  return 'done';
end $$;
--> statement-breakpoint
-- Whoever changes an address: the old one is told, and what was sent to it, or asked for before, is worth nothing.
create function access.after_email_change() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.one_time_tokens x set used_at = now() where x.user_id = new.id and x.kind in ('reset', 'email') and x.used_at is null;
  perform access.post('email_changed', new.id, old.email, jsonb_build_object('new_email', new.email));
  return null;
end $$;
--> statement-breakpoint
create trigger after_email_change after update of email on freehold.users for each row when (old.email <> new.email) execute function access.after_email_change();
--> statement-breakpoint
-- One's own address is changed by a door that asks for the password, however far one reaches: who found an open session does not know it.
create function access.before_own_email() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() = new.id then
    perform access.refuse('forbidden', 'Your own address is changed with auth/email-change.');
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger before_own_email before update of email on freehold.users for each row when (old.email <> new.email) execute function access.before_own_email();
--> statement-breakpoint
-- What is stored of a code: keyed, because a code is short; and for one number of one person.
create function access.code_hash(u freehold.users, code text) returns bytea language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.mac('code:' || u.id || ':' || u.phone || ':' || code)
$$;
--> statement-breakpoint
-- Sends a code to the admitted person's number: sent | none (no number) | often.
create function access.phone_code(code text, sealed text) returns text language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
begin
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  if u.phone is null then
    return 'none';
  elsif access.asked_too_often(u.id, 'phone') then
    return 'often';
  end if;
  update freehold.one_time_tokens x set used_at = now() where x.user_id = u.id and x.kind = 'phone' and x.used_at is null;
  insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at)
  values (access.code_hash(u, code), 'phone', u.id, u.phone, now() + interval '10 minutes') on conflict do nothing;
  if not found then
    return 'often';
  end if;
  perform access.post('phone_code', u.id, u.phone, '{}', sealed, null, 'sms');
  return 'sent';
end $$;
--> statement-breakpoint
-- Whether a code is the one that was sent to the number that the admitted person has now. Five tries.
create function access.verify_phone(code text) returns boolean language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  u freehold.users;
  k freehold.one_time_tokens;
begin
  select * into u from freehold.users x where x.id = access.principal() for no key update;
  update freehold.one_time_tokens x set tries = x.tries + 1
  where x.user_id = u.id and x.kind = 'phone' and x.used_at is null and x.expires_at > now() and x.target = u.phone and x.tries < 5 returning * into k;
  if k.token_hash is null or k.token_hash <> access.code_hash(u, code) then
    return false;
  end if;
  update freehold.one_time_tokens x set used_at = now() where x.token_hash = k.token_hash;
  update freehold.users x set phone_verified = true where x.id = u.id and x.phone = k.target;
  return true;
end $$;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
--> statement-breakpoint
grant execute on function access.reset_request(uuid, text, text, bytea, text, jsonb), access.reset_look(uuid, bytea), access.reset_settle(uuid, bytea, text, jsonb, jsonb),
  access.admin_reset_look(uuid), access.admin_reset_settle(uuid, text, jsonb, boolean, bytea, text), access.unlock(uuid), access.registration_terms(uuid),
  access.register(uuid, text, bytea, jsonb, text, text, jsonb), access.verify_email(uuid, text, bytea, bytea, text, jsonb), access.verification_resend(uuid, text, text, bytea, text, jsonb),
  access.email_change(uuid, uuid, text, text, bytea, text), access.phone_code(text, text), access.verify_phone(text) to freehold_app;
