-- Events: the audit as a feed. An event is an entry under a checkpoint, with its number in the chain (`seq`).
--   access.number_events     numbers the entries under new checkpoints; called where a checkpoint is made
--   access.checkpoint_soon   makes a checkpoint after a request, for the Worker
--   access.first_mebibyte    as many of them as a page holds
--   access.events_between    events in the form that the API and webhooks show
--   access.read_events       a page of them for the admitted caller, with activity:export at scope all
--
-- Threat: a receiver misses an event, and nobody can tell; somebody reads what others did without the permission for it;
-- reading the feed fills the feed. So the number of an event is its place in the chain: the entries before it, in the
-- order that the checkpoints hash. Whoever has all numbers has all entries, and can compute the chain. An entry gets its
-- number only when no older transaction can write any more, so that none comes in behind a reader's back; and nothing
-- here writes an entry.

-- Numbers the entries under checkpoints that have no numbers yet. The caller holds the lock of checkpoint_audit. Where
-- numbers of checkpoints are missing the tenant was restored to an earlier moment: a new epoch begins, above every number
-- that the branch that was left can have given (5,000 for each of its checkpoints), so that who read on it misses nothing.
create function access.number_events() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  newest access.event_spans;
begin
  select * into newest from access.event_spans s order by s.checkpoint desc limit 1;
  insert into access.event_spans (checkpoint, epoch, first_seq, last_seq)
  select
    x.no,
    coalesce(newest.epoch, 1) + x.cuts,
    x.last_seq - x.entries + 1,
    x.last_seq
  from (
    select
      c.no,
      c.entries,
      (count(*) filter (where c.skipped > 0) over (order by c.no))::integer as cuts,
      coalesce(newest.last_seq, 0) + sum(c.entries + c.skipped * 5000::bigint) over (order by c.no) as last_seq
    from (
      select
        s.no,
        s.entries,
        s.no - 1 - coalesce(lag(s.no) over (order by s.no), newest.checkpoint, 0) as skipped
      from freehold.audit_checkpoints s
      where s.no > coalesce(newest.checkpoint, 0)
    ) c
  ) x;
end $$;

-- Makes a checkpoint: {is_pending, is_due}, whether entries are left without one, because an older transaction still runs,
-- or another call is at work; and whether a webhook has something to send.
create function access.checkpoint_soon(tenant_id uuid, system_key text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.check_system(tenant_id, system_key);
  perform access.checkpoint_audit(5000);
  return jsonb_build_object(
    'is_pending', exists (select from freehold.audit_log l where l.checkpoint is null),
    'is_due', coalesce(access.webhooks_due() <= now(), false)
  );
end $$;

-- The events with numbers from `first` to `last`, in order: a list of {v, seq, ...}. With `is_detailed` each has its
-- details and their salt, which whoever verifies them needs; null: they were erased. Read by the entries of each checkpoint,
-- at most 5,000, which an index has in order.
create function access.events_between(first bigint, last bigint, is_detailed boolean, kinds text[] default '{}') returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(e.event order by e.seq), '[]')
  from (
    select n.seq, jsonb_build_object(
      'v', 1,
      'seq', n.seq,
      'epoch', n.epoch,
      'id', l.id,
      'type', t.type,
      'at', to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      'user_id', l.user_id,
      'activity_type', l.activity_type,
      'action', l.action,
      'resource_type', l.resource_type,
      'resource_id', l.resource_id,
      'risk_score', l.risk_score,
      'trace_id', l.trace_id,
      'xid', l.xid,
      'detail_hash', encode(l.detail_hash, 'hex'),
      'checkpoint', jsonb_build_object(
        'no', c.no,
        'entries', c.entries,
        'oldest_xid', c.oldest_xid,
        'next_xid', c.next_xid,
        'created_at', to_char(c.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'hash', encode(c.hash, 'hex'),
        'previous_hash', encode(b.hash, 'hex')
      )
    ) || case
      when not is_detailed then '{}'
      else jsonb_build_object('details', case when d.log_id is not null then jsonb_build_object(
        'salt', encode(d.salt, 'hex'),
        'user_name', d.user_name,
        'address', d.address,
        'agent', d.agent,
        'method', d.method,
        'path', d.path,
        'before', d.before,
        'after', d.after,
        'api_key_id', d.api_key_id,
        'impersonator_id', d.impersonator_id
      ) end)
    end as event
    from (
      select
        x.id,
        s.checkpoint,
        s.epoch,
        s.first_seq - 1 + row_number() over (partition by x.checkpoint order by x.xid, x.id) as seq
      from access.event_spans s
      join freehold.audit_log x on x.checkpoint = s.checkpoint
      where s.first_seq <= events_between.last
        and s.first_seq >= (
          select max(f.first_seq) from access.event_spans f where f.first_seq <= events_between.first)
    ) n
    join freehold.audit_log l on l.id = n.id
    join freehold.audit_checkpoints c on c.no = n.checkpoint
    left join lateral (
      select p.hash from freehold.audit_checkpoints p where p.no < c.no order by p.no desc limit 1
    ) b on true
    left join freehold.audit_detail d on is_detailed and d.log_id = l.id
    cross join lateral (select access.event_type(l.activity_type, l.resource_type, l.action) as type) t
    where n.seq between events_between.first and events_between.last and access.is_wanted(t.type, kinds)
  ) e
$$;

-- The first number after another that an event has: the next one, but where the chain was cut. null: there is none yet.
create function access.next_seq(after bigint) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(s.first_seq, after + 1)
  from access.event_spans s
  where s.last_seq > after and s.last_seq >= s.first_seq
  order by s.last_seq
  limit 1
$$;

-- The first of a list of events, as many as have 1 MiB together, and at least one: each has up to 256 KiB of details, and who
-- reads a page holds all of it.
create function access.first_mebibyte(events jsonb) returns jsonb
language sql immutable
return (
  select coalesce(jsonb_agg(x.event order by x.no), '[]')
  from (
    select e.event, e.no, sum(octet_length(e.event::text)) over (order by e.no) as bytes
    from jsonb_array_elements(events) with ordinality e (event, no)
  ) x
  where x.no = 1 or x.bytes <= 1048576
);

-- A page of events after a number, with details at most 20, and no more than fit. Records nothing: who reads the feed would
-- otherwise never reach its end. Raises FH403.
create function access.read_events(after bigint, most integer, is_detailed boolean) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  first bigint := access.next_seq(after);
begin
  if access.permission() is distinct from 'activity:export' or access.scope() <> 'all' then
    perform access.refuse('forbidden', 'Events are all activities: activity:export at scope all is needed.');
  end if;
  return case
    when is_detailed then access.first_mebibyte(access.events_between(first, first + least(most, 20) - 1, true))
    else access.events_between(first, first + most - 1, false)
  end;
end $$;

grant execute on function
  access.checkpoint_soon(uuid, text),
  access.read_events(bigint, integer, boolean)
to freehold_app;
