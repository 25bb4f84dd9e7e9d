-- Delivering events to webhooks.
--   access.claim_webhooks     for the sender: webhooks that have something to send, each for a minute
--   access.continue_webhook   for the sender: records what was sent, and gives what comes next
--   access.webhooks_due       when there is something to send, for the scheduled job
--
-- Threat: an event is forgotten because a sender died, or overtakes another because two send at once; a receiver that is
-- dead or slow keeps the others waiting. So a webhook has a place in the feed, which moves only past what was accepted; one
-- sender at a time has it, by a lease, and one that lost its lease moves nothing. What fails is tried again after 5 s, then
-- three times as long each time, up to an hour, and paused after three days. An event can come twice and is never left out.

-- The greatest number that an event has.
create function access.newest_seq() returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce((select s.last_seq from access.event_spans s order by s.last_seq desc limit 1), 0)
$$;

-- The secrets to sign with, the newest first, as the Worker encrypted them.
create function access.signing_secrets(secret text, former text, former_until timestamptz) returns jsonb
language sql stable
return case
  when signing_secrets.former_until > now() then jsonb_build_array(secret, former)
  else jsonb_build_array(secret)
end;

create function access.webhook_secrets(w freehold.webhooks) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.signing_secrets(w.secret_encrypted, w.former_secret_encrypted, w.former_until)
$$;

-- Claims at most so many webhooks: [{id, lease, url, secrets}]. Those that work come before those that fail.
create function access.claim_webhooks(tenant_id uuid, system_key text, at_most integer) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  newest bigint;
  claimed jsonb;
begin
  perform access.check_system(tenant_id, system_key);
  newest := access.newest_seq();
  with due as (
    select p.webhook_id
    from freehold.webhook_progress p
    join freehold.webhooks w on w.id = p.webhook_id
    where not w.is_paused
      and p.delivered_seq < newest
      and p.next_at <= now()
      and (p.leased_until is null or p.leased_until <= now())
    order by p.failures > 0, p.next_at, p.webhook_id
    limit at_most
    for update of p skip locked
  ), taken as (
    update freehold.webhook_progress p
    set lease = gen_random_uuid(), leased_until = now() + interval '1 minute'
    from due d
    where p.webhook_id = d.webhook_id
    returning p.webhook_id, p.lease
  )
  select jsonb_agg(jsonb_build_object(
    'id', w.id, 'lease', t.lease, 'url', w.url, 'secrets', access.webhook_secrets(w)))
  into claimed
  from taken t
  join freehold.webhooks w on w.id = t.webhook_id;
  return coalesce(claimed, '[]');
end $$;

-- Writes attempts: [{seq, event_id, type, is_delivered, status, error, duration_ms}].
create function access.record_deliveries(webhook uuid, results jsonb, attempt integer) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  insert into freehold.webhook_deliveries (
    id, webhook_id, seq, event_id, type, attempt, is_delivered, status, error, duration_ms)
  select
    gen_random_uuid(), webhook, r.seq, r.event_id, r.type,
    case when r.place = 1 then record_deliveries.attempt else 1 end,
    r.is_delivered, r.status, left(r.error, 255), r.duration_ms
  from (
    select x.*, row_number() over () as place
    from jsonb_to_recordset(results) x (
      seq bigint, event_id uuid, type text, is_delivered boolean, status integer, error text, duration_ms integer)
  ) r
$$;

-- Records what was sent under a lease, moves the webhook to `reached`, and returns what comes next, {reached, events:
-- [{seq, id, type, at, text}]}. Null: nothing does, the lease is over, or `is_last`.
create function access.continue_webhook(
  tenant_id uuid,
  system_key text,
  webhook uuid,
  lease uuid,
  results jsonb,
  reached bigint,
  is_last boolean
) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  w freehold.webhooks;
  p freehold.webhook_progress;
  place bigint;
  newest bigint;
  page jsonb;
begin
  perform access.check_system(tenant_id, system_key);
  select * into w from freehold.webhooks x where x.id = webhook for no key update;
  select * into p from freehold.webhook_progress x where x.webhook_id = w.id for no key update;
  if w.id is null then
    return null;
  end if;
  perform access.record_deliveries(w.id, results, p.failures + 1);
  if p.lease is distinct from continue_webhook.lease then
    return null;
  end if;
  place := greatest(p.delivered_seq, reached);
  if (results -> -1 ->> 'is_delivered')::boolean is false then
    p.failures := case when jsonb_array_length(results) > 1 then 1 else p.failures + 1 end;
    p.failing_since := case when p.failures = 1 then now() else coalesce(p.failing_since, now()) end;
    update freehold.webhook_progress x
    set delivered_seq = place,
      failures = p.failures,
      failing_since = p.failing_since,
      next_at = now() + least(interval '1 hour', interval '5 seconds' * 3 ^ least(p.failures - 1, 10)),
      lease = null,
      leased_until = null
    where x.webhook_id = w.id;
    if results -> -1 ->> 'status' = '410' or p.failing_since <= now() - interval '3 days' then
      update freehold.webhooks x
      set is_paused = true, paused_because = case when results -> -1 ->> 'status' = '410' then 'gone' else 'failing' end
      where x.id = w.id;
      perform access.notify(
        a.id, 'webhook_paused', jsonb_build_object('host', substring(w.url from '(?i)^https?://([^/?#]*)')), null,
        'webhook', w.id::text)
      from access.administrators() a (id)
      where not w.is_paused;
    end if;
    return null;
  end if;
  if jsonb_array_length(results) > 0 then
    p.failures := 0;
    p.failing_since := null;
  end if;
  newest := access.newest_seq();
  -- Windows without an event of these kinds are passed over, so many at once.
  for window_no in 1 .. case when is_last or w.is_paused then 0 else 20 end loop
    exit when place >= newest;
    page := access.webhook_window(w, place, newest);
    exit when jsonb_array_length(page -> 'events') > 0;
    place := (page ->> 'reached')::bigint;
    page := null;
  end loop;
  update freehold.webhook_progress x
  set delivered_seq = place,
    failures = p.failures,
    failing_since = p.failing_since,
    -- Who had a turn comes after all others: a few that are slow, and always have more, would take every turn.
    next_at = case when page is null then clock_timestamp() else x.next_at end,
    lease = case when page is not null then p.lease end,
    leased_until = case when page is not null then now() + interval '1 minute' end
  where x.webhook_id = w.id;
  return page;
end $$;

-- The events of a webhook behind a place, as text, because what is signed is what the database wrote, as many as a page
-- holds; and how far they reach.
create function access.webhook_window(w freehold.webhooks, place bigint, newest bigint) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'reached', case
      when jsonb_array_length(p.page) < jsonb_array_length(l.events) then (p.page -> -1 ->> 'seq')::bigint
      else x.until
    end,
    'events', coalesce((
      select jsonb_agg(jsonb_build_object(
        'seq', e.event -> 'seq', 'id', e.event -> 'id', 'type', e.event -> 'type', 'at', e.event -> 'at',
        'text', e.event::text) order by e.no)
      from jsonb_array_elements(p.page) with ordinality e (event, no)), '[]'))
  from (
    select f.since, least(f.since + case when w.includes_details then 20 else 100 end - 1, newest) as until
    from (select access.next_seq(place) as since) f
  ) x
    cross join lateral (select access.events_between(x.since, x.until, w.includes_details, w.kinds)) l (events)
    cross join lateral (select access.first_mebibyte(l.events)) p (page)
$$;

-- When the next webhook has something to send; null: none has.
create function access.webhooks_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(greatest(p.next_at, p.leased_until))
  from freehold.webhook_progress p
  join freehold.webhooks w on w.id = p.webhook_id
  where not w.is_paused and p.delivered_seq < access.newest_seq()
$$;

grant execute on function
  access.claim_webhooks(uuid, text, integer),
  access.continue_webhook(uuid, text, uuid, uuid, jsonb, bigint, boolean)
to freehold_app;
