-- Hooks: what a tenant's own service is asked before something is done. asking.sql is about asking.
--   access.begin_hook_test   where a test goes, and how it is signed
--
-- Threat: a hook decides who comes in, and learns who tries: whoever can set one can lock everybody out, or send what it
-- is told to themselves. So it takes the permission for settings at scope `all` and activity:export at scope `all`, as a
-- webhook does, because it is told who logs in. And one of logins refuses administrators as anybody else, and says what
-- the token of each says of them: that takes every permission, as a provider that is believed does. A secret can be
-- written and not read, and is encrypted by the Worker.

-- Refuses who may not export all activities themselves: a hook is told the same as it happens. One of logins takes all.
create function access.must_hear_all(act text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if 'activity:export' <> all (access.held_everywhere(null)) then
    perform access.refuse('forbidden', 'A hook is told who logs in: activity:export at scope all is needed.');
  elsif act = 'login' and exists (
    select from freehold.permissions p where p.deleted_at is null and p.name <> all (access.held_everywhere(null)))
  then
    perform access.refuse('forbidden',
      'A hook of logins needs every permission at scope all: it decides who comes in, and what their tokens say.');
  end if;
end $$;

create function access.before_hook() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is not null and tg_op = 'INSERT' then
    perform access.must_hear_all(new.act);
    -- One at a time, so that one transaction gets the last place.
    perform pg_advisory_xact_lock(hashtext('access.hooks'));
    if (select count(*) from freehold.hooks) >= 20 then
      perform access.refuse('limit_reached', 'A tenant can have at most 20 hooks: delete one first.');
    end if;
  elsif access.principal() is not null then
    if new.secret_encrypted <> old.secret_encrypted then
      new.former_secret_encrypted := old.secret_encrypted;
      new.former_until := now() + interval '24 hours';
    end if;
    -- To pause one, anybody may who may change settings.
    if (new.url, new.on_failure, new.secret_encrypted) is distinct from (old.url, old.on_failure, old.secret_encrypted)
      or old.is_paused and not new.is_paused
    then
      perform access.must_hear_all(new.act);
    end if;
  end if;
  new.updated_at := greatest(now(), old.updated_at + interval '1 microsecond');
  return new;
end $$;

create trigger before_hook before insert or update on freehold.hooks
  for each row execute function access.before_hook();

-- {id, act, url, on_failure, secrets}. Raises FH403, FH404.
create function access.begin_hook_test(id uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from freehold.hooks h where h.id = begin_hook_test.id) then
    -- In the words that a verb has for one that does not exist.
    raise exception using errcode = 'FH404', message = 'not_found';
  elsif access.permission() is distinct from 'setting:update' or access.scope() <> 'all' then
    perform access.refuse('forbidden', 'Changing a hook needs setting:update at scope all.');
  end if;
  return access.target_of_hook(begin_hook_test.id);
end $$;

call access.audited('freehold.hooks', 'hook', '{secret_encrypted,former_secret_encrypted}');

-- Not access.protect: a secret is not read, and all of it goes with the permission to change settings.
create policy read on freehold.hooks for select
  using ((select access.permission() = any ('{setting:read,setting:update}'::text[])));

create policy make on freehold.hooks for insert
  with check ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));

create policy change on freehold.hooks for update
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));

create policy remove on freehold.hooks for delete
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));

grant
  select (id, act, url, on_failure, is_paused, created_at, updated_at),
  insert (id, act, url, on_failure, is_paused, secret_encrypted),
  update (url, on_failure, is_paused, secret_encrypted),
  delete
on freehold.hooks to freehold_app;

grant execute on function access.begin_hook_test(uuid) to freehold_app;
