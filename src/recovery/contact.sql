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

-- Whoever changes an address: the old one is told, and what was sent to it, or asked for before, is worth nothing.
create function access.after_email_change() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.one_time_tokens x set used_at = now() where x.user_id = new.id and x.kind in ('reset', 'email') and x.used_at is null;
  perform access.post('email_changed', new.id, old.email, jsonb_build_object('new_email', new.email));
  return null;
end $$;

-- What is stored of a code: keyed, because a code is short; and for one number of one person.
create function access.code_hash(u freehold.users, code text) returns bytea language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.mac('code:' || u.id || ':' || u.phone || ':' || code)
$$;

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

grant execute on function
  access.email_change(uuid, uuid, text, text, bytea, text),
  access.phone_code(text, text),
  access.verify_phone(text)
to freehold_app;
