-- Webhooks: where a tenant's events are sent. delivering.sql is about sending.
--   access.replay_webhook       has the admitted user's tenant send events again, after a number
--   access.begin_webhook_test   where a test goes, and how it is signed
--   access.end_webhook_test     what became of it
--
-- Threat: a webhook carries the whole audit out, for good, on behalf of whoever made it. So to make one, or to change
-- where it goes and what it carries, takes activity:export at scope `all` beside the permission for settings. A secret can
-- be written and not read, and is encrypted by the Worker.

-- Refuses who may not export all activities themselves.
create function access.must_export() returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if 'activity:export' <> all (access.held_everywhere(null)) then
    perform access.refuse('forbidden', 'A webhook exports activities: activity:export at scope all is needed.');
  end if;
end $$;

create function access.before_webhook() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    -- One at a time, so that one transaction gets the last place.
    perform pg_advisory_xact_lock(hashtext('access.webhooks'));
    if (select count(*) from freehold.webhooks) >= 20 then
      perform access.refuse('limit_reached', 'A tenant can have at most 20 webhooks: delete one first.');
    end if;
  end if;
  if access.principal() is not null then
    if tg_op = 'UPDATE' and new.secret_encrypted <> old.secret_encrypted then
      new.former_secret_encrypted := old.secret_encrypted;
      new.former_until := now() + interval '24 hours';
    end if;
    if not new.is_paused then
      new.paused_because := null;
    end if;
    -- To pause one, anybody may who may change settings.
    if tg_op = 'INSERT'
      or (new.url, new.kinds, new.includes_details, new.secret_encrypted, new.public_key)
        is distinct from (old.url, old.kinds, old.includes_details, old.secret_encrypted, old.public_key)
      or old.is_paused and not new.is_paused
    then
      perform access.must_export();
    end if;
  end if;
  new.updated_at := now();
  if tg_op = 'UPDATE' then
    new.updated_at := greatest(now(), old.updated_at + interval '1 microsecond');
  end if;
  return new;
end $$;

create trigger before_webhook before insert or update on freehold.webhooks
  for each row execute function access.before_webhook();

-- A new webhook begins with what is numbered after it was made; one that goes on is tried at once.
create function access.after_webhook() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    insert into freehold.webhook_progress (webhook_id, delivered_seq)
    values (new.id, access.newest_seq());
  elsif old.is_paused and not new.is_paused or new.url <> old.url then
    -- Whoever sends to the former address loses the lease: what it would send from now on would never come to the new one.
    update freehold.webhook_progress p
    set failures = 0, failing_since = null, next_at = now(),
      lease = case when new.url = old.url then p.lease end,
      leased_until = case when new.url = old.url then p.leased_until end
    where p.webhook_id = new.id;
  end if;
  return null;
end $$;

create trigger after_webhook after insert or update on freehold.webhooks
  for each row execute function access.after_webhook();

-- The webhook that the admitted user may change; locked, as everything that touches its progress does first. Raises FH403,
-- FH404.
create function access.webhook_to_change(id uuid) returns freehold.webhooks
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  w freehold.webhooks;
begin
  if access.permission() = 'setting:update' and access.scope() = 'all' then
    select * into w from freehold.webhooks x where x.id = webhook_to_change.id for no key update;
  elsif exists (select from freehold.webhooks x where x.id = webhook_to_change.id) then
    perform access.refuse('forbidden', 'Changing a webhook needs setting:update at scope all.');
  end if;
  if w.id is null then
    -- In the words that a verb has for one that does not exist.
    raise exception using errcode = 'FH404', message = 'not_found';
  end if;
  return w;
end $$;

-- Sends events again, from the one after a number on. Whoever sends for it now loses the lease, and cannot move it back.
create function access.replay_webhook(id uuid, after bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  w freehold.webhooks := access.webhook_to_change(replay_webhook.id);
begin
  perform access.must_export();
  update freehold.webhook_progress p
  set delivered_seq = least(replay_webhook.after, access.newest_seq()),
    failures = 0, failing_since = null, next_at = now(), lease = null, leased_until = null
  where p.webhook_id = w.id;
  perform access.record(
    'WEBHOOK_REPLAYED', 'replay', 'webhook', w.id::text, null, jsonb_build_object('after', replay_webhook.after));
end $$;

-- {url, secrets}
create function access.begin_webhook_test(id uuid) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  w freehold.webhooks := access.webhook_to_change(begin_webhook_test.id);
begin
  return jsonb_build_object('url', w.url, 'secrets', access.webhook_secrets(w));
end $$;

-- Returns the attempt as the API shows it. Null: the webhook was deleted meanwhile.
create function access.end_webhook_test(id uuid, result jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  w freehold.webhooks := access.webhook_to_change(end_webhook_test.id);
begin
  -- Of a test alone: an attempt of an event is the sender's to record.
  perform access.record_deliveries(
    w.id, jsonb_build_array(result - '{seq,event_id}'::text[] || '{"type": "webhook.test"}'), 1);
  return result;
end $$;

call access.audited('freehold.webhooks', 'webhook', '{secret_encrypted,former_secret_encrypted}');

-- Not access.protect: a secret is not read, and all of it goes with the permission to change settings.
create policy read on freehold.webhooks for select
  using ((select access.permission() = any ('{setting:read,setting:update}'::text[])));

create policy make on freehold.webhooks for insert
  with check ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));

create policy change on freehold.webhooks for update
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));

create policy remove on freehold.webhooks for delete
  using ((select access.permission() = 'setting:update') and (select access.scope() = 'all'));

create policy read on freehold.webhook_progress for select
  using ((select access.permission() = any ('{setting:read,setting:update}'::text[])));

create policy read on freehold.webhook_deliveries for select
  using ((select access.permission() = any ('{setting:read,setting:update}'::text[])));

grant
  select (id, url, kinds, includes_details, is_paused, paused_because, public_key, created_at, updated_at),
  insert (id, url, kinds, includes_details, is_paused, secret_encrypted, public_key),
  update (url, kinds, includes_details, is_paused, secret_encrypted, public_key),
  delete
on freehold.webhooks to freehold_app;

grant select (webhook_id, delivered_seq, failures, failing_since, next_at) on freehold.webhook_progress to freehold_app;

grant select on freehold.webhook_deliveries to freehold_app;

grant execute on function
  access.replay_webhook(uuid, bigint),
  access.begin_webhook_test(uuid),
  access.end_webhook_test(uuid, jsonb)
to freehold_app;
