-- Failures and refusals in the audit, those of strangers too: of callers who are nobody, or whom nothing proves.
--   access.record_failure          writes an entry for a failure, or counts it
--   access.refused_refresh         the same for a refresh token
--   access.record_refusal          records any other refusal after its answer; called by the Worker
--   access.close_counted_failures  writes what was counted, once the hour is over; called by the scheduled job
--   access.erase_failures          erases the details of old failures; called by the purge
--
-- Threat: a stranger fills the audit with failures, or hides among them; what people typed wrongly lies about for ever.
-- So of a network (an IPv4 address, or a /64 of IPv6) the first 20 failures of an hour are entries, and the others are
-- counted in one row, in the transaction of the failure. Only the failures of one network wait for each other. What a
-- known person's password was compared with is always an entry of its own: the lockout bounds those. They take the same
-- row as a stranger's, so that waiting for it tells nobody who is known.

-- The network of an address: itself, or the /64 of an IPv6 address (as in src/http/rate-limit.ts).
create function access.failing_network(address text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    case family(a.here) when 4 then host(a.here) when 6 then network(set_masklen(a.here, 64))::text end,
    'unknown')
  from (select access.network_of(address)) as a (here)
$$;

-- Records a failure of the actor (access.set_audit_actor). `is_stranger`: nothing proves who it was, and beyond 20 from
-- one network in an hour it is counted as one of its `kind`, and no entry. Takes the row of the network last: its caller
-- locks nothing after.
create function access.record_failure(
  activity text,
  action text,
  resource text,
  resource_id text,
  kind text,
  is_stranger boolean,
  after jsonb,
  risk integer
) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  so_far integer;
begin
  -- An attempt that nobody made is a stranger's.
  kind := coalesce(kind, 'unknown');
  is_stranger := coalesce(is_stranger, true);
  insert into access.counted_failures as f (hour, network, seen)
  values (
    date_trunc('hour', now(), 'UTC'),
    access.failing_network(access.actor() ->> 'address'),
    is_stranger::integer
  )
  on conflict (hour, network) do update
  set seen = f.seen + is_stranger::integer,
    counts = case
      when is_stranger and f.seen >= 20 then
        f.counts || jsonb_build_object(kind, coalesce((f.counts ->> kind)::integer, 0) + 1)
      else f.counts
    end
  returning f.seen into so_far;
  if not is_stranger or so_far <= 20 then
    perform access.record(
      activity, record_failure.action, resource, record_failure.resource_id, null, record_failure.after, risk
    );
  end if;
end $$;

-- Records that a refresh token was refused: of a user's session, or of nobody's. Returns what access.refresh answers.
create function access.refused_refresh(meant freehold.users, session uuid, request jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.set_audit_actor(meant.id, meant.username, request);
  perform access.record_failure(
    'ACCESS_REFUSED', 'refresh', 'session', session::text, 'refresh_invalid', true,
    jsonb_build_object('code', 'refresh_invalid'), 10
  );
  return jsonb_build_object('outcome', 'invalid');
end $$;

-- Records a refusal, after the answer. It believes nothing but the request: the user is the one of the session or of
-- the key, if these are real; of a key that was revoked or has expired its owner is named, and somebody else may have
-- used it. `credential` is what the caller showed: a session, a key by hash and prefix, the origin of a page, or
-- nothing. It takes the system's key, or somebody with the app login could fill the audit.
create function access.record_refusal(
  tenant_id uuid,
  system_key text,
  credential jsonb,
  code text,
  permission text,
  request jsonb
) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  subject freehold.users;
  k freehold.api_keys;
  impersonator uuid;
  is_stranger boolean;
begin
  perform access.check_system(tenant_id, system_key);
  if credential ? 'key' then
    select x.* into k from freehold.api_keys x where x.key_hash = decode(credential ->> 'key', 'hex');
    select u.* into subject from freehold.users u where u.id = k.user_id;
    is_stranger := k.id is null or k.revoked_at is not null or coalesce(k.expires_at <= now(), false);
  else
    select u.* into subject
    from freehold.sessions s
      join freehold.users u on u.id = s.user_id
    where s.id = (credential ->> 'session_id')::uuid
      and u.id = (credential ->> 'user_id')::uuid
      and s.ended_at is null
      and credential ->> 'proof' = access.session_proof(s.id);
    is_stranger := subject.id is null;
    select s.impersonator_id into impersonator
    from freehold.sessions s
    where s.id = (credential ->> 'session_id')::uuid and s.user_id = subject.id;
  end if;
  perform access.set_audit_actor(subject.id, subject.username, request, impersonator);
  if code = 'token_wrong_tenant' then
    perform access.note_foreign_token(request);
  end if;
  perform access.record_failure(
    case code when 'token_wrong_tenant' then 'SUSPICIOUS_ACTIVITY' else 'ACCESS_REFUSED' end,
    'refuse',
    'request',
    null,
    case when code = 'token_invalid' and credential ? 'key' then 'key_invalid' else left(code, 64) end,
    is_stranger,
    jsonb_build_object('code', left(code, 64), 'permission', left(permission, 128))
      || case
        when k.id is not null then jsonb_build_object('api_key_id', k.id)
        when credential ? 'prefix' then jsonb_build_object('key_prefix', left(credential ->> 'prefix', 16))
        when credential ? 'origin' then jsonb_build_object('origin', left(credential ->> 'origin', 255))
        else '{}'
      end,
    case code when 'token_wrong_tenant' then 50 else 10 end
  );
end $$;

-- Writes an entry for each network and hour of which failures were counted, once the hour is over, and drops their row.
-- At most so many rows; returns how many. A failure that is counted later, because its transaction began within the
-- hour, makes a new row, and the next call writes it. Rows that are held are left to the next call.
create function access.close_counted_failures(at_most integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  c access.counted_failures;
  closed integer := 0;
begin
  for c in
    delete from access.counted_failures x
    where (x.hour, x.network) in (
      select y.hour, y.network
      from access.counted_failures y
      where y.hour < date_trunc('hour', now(), 'UTC')
      order by y.hour, y.network
      limit at_most
      for update skip locked
    )
    returning x.*
  loop
    closed := closed + 1;
    if c.counts <> '{}' then
      perform access.write_audit(
        access.actor() || jsonb_build_object('address', nullif(c.network, 'unknown')),
        'SUSPICIOUS_ACTIVITY',
        'count',
        'request',
        50,
        array[null::text],
        null,
        array[jsonb_build_object(
          'reason', 'counted',
          'network', c.network,
          'from', to_char(c.hour at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
          'until', to_char((c.hour + interval '1 hour') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
          'counts', c.counts
        )]
      );
    end if;
  end loop;
  return closed;
end $$;

-- When the next of them is due; null: nothing was counted.
create function access.counted_failures_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(f.hour) + interval '1 hour' from access.counted_failures f where f.counts <> '{}'
$$;

-- Erases the details of strangers' failures of between two moments, the oldest first. At most so many; returns how many
-- were found. That something failed stays.
create function access.erase_failures(at_most integer, since timestamptz, until timestamptz) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  old uuid[] := array(
    select l.id
    from freehold.audit_log l
    join freehold.audit_detail d on d.log_id = l.id
    where l.checkpoint is not null
      and l.activity_type in ('LOGIN_FAILED', 'ACCESS_REFUSED', 'SUSPICIOUS_ACTIVITY')
      and l.at >= since
      and l.at < until
      and (
        l.user_id is null
        or coalesce(d.after ->> 'reason', d.after ->> 'code')
          in ('locked', 'rate_limited', 'token_invalid', 'refresh_invalid')
      )
    order by l.at
    limit at_most
  );
begin
  perform access.erase_detail(old);
  -- Not what it returns: of two calls at once the second erases nothing, and is not at the end.
  return cardinality(old);
end $$;

grant execute on function
  access.record_refusal(uuid, text, jsonb, text, text, jsonb)
to freehold_app;
