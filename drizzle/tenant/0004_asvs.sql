-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   creates table access.counted_failures
--   alters table freehold.tenant
--   alters table access.purges
-- Definitions:
--   creates function access.close_counted_failures
--   creates function access.counted_failures_due
--   creates function access.erase_failures
--   creates function access.failing_network
--   creates function access.record_failure
--   creates function access.refused_refresh
--   replaces function access.authenticate_key
--   replaces function access.erase_detail
--   replaces function access.finish_login
--   replaces function access.purge
--   replaces function access.record_refusal
--   replaces function access.refresh
--   replaces function access.refuse_detail_change
--   drops function access.check_asked_names
--   drops function access.check_asked_users
--   drops function access.holds_more
--   drops function access.import_users
--   drops function access.record_import
--   drops function access.register
--   drops function access.too_many_requests
--   drops function access.verify_email

set local check_function_bodies = off;
--> statement-breakpoint
drop function access.check_asked_names(jsonb);
--> statement-breakpoint
drop function access.check_asked_users(uuid,jsonb);
--> statement-breakpoint
drop function access.holds_more(uuid,uuid);
--> statement-breakpoint
drop function access.import_users(jsonb,boolean);
--> statement-breakpoint
drop function access.record_import(jsonb);
--> statement-breakpoint
drop function access.register(uuid,text,bytea,jsonb,text,text,jsonb);
--> statement-breakpoint
drop function access.too_many_requests(uuid,text);
--> statement-breakpoint
drop function access.verify_email(uuid,text,bytea,bytea,text,jsonb);
--> statement-breakpoint
CREATE TABLE "access"."counted_failures" (
  "hour" timestamp with time zone NOT NULL,
  "network" text NOT NULL,
  "seen" integer NOT NULL,
  "counts" jsonb DEFAULT '{}'::jsonb NOT NULL,
  CONSTRAINT "counted_failures_hour_network_pk" PRIMARY KEY("hour","network")
);
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" DROP CONSTRAINT "tenant_settings";
--> statement-breakpoint
ALTER TABLE "access"."purges" ADD COLUMN "failures_erased_to" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "idle_minutes" integer;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_breached" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "first_password_hours" integer DEFAULT 72 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "reset_link_minutes" integer DEFAULT 60 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "api_key_days" integer DEFAULT 365 NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD COLUMN "password_grant" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "freehold"."tenant" ADD CONSTRAINT "tenant_settings" CHECK ("freehold"."tenant"."max_failures" between 1 and 100 and "freehold"."tenant"."lock_minutes" between 1 and 1440 and "freehold"."tenant"."idle_days" between 1 and 365
        and "freehold"."tenant"."session_days" between 1 and 365 and "freehold"."tenant"."max_sessions" between 1 and 1000 and "freehold"."tenant"."access_minutes" between 5 and 10080
        and "freehold"."tenant"."password_days" between 0 and 3650 and "freehold"."tenant"."password_warning_days" between 0 and 365 and "freehold"."tenant"."password_min_length" between 8 and 64
        and "freehold"."tenant"."password_max_length" between 64 and 1024 and "freehold"."tenant"."password_unique" between 1 and 32 and "freehold"."tenant"."password_history" between 0 and 24
        and "freehold"."tenant"."idle_minutes" between 15 and 525600 and "freehold"."tenant"."first_password_hours" between 1 and 720
        and "freehold"."tenant"."reset_link_minutes" between 15 and 1440 and "freehold"."tenant"."api_key_days" between 0 and 3650
        and "freehold"."tenant"."max_delegations" between 1 and 200 and "freehold"."tenant"."mail_per_recipient_hour" between 1 and 20 and "freehold"."tenant"."mail_per_day" between 1 and 50000);
--> statement-breakpoint
alter table access.counted_failures enable row level security;
--> statement-breakpoint
-- The API key of a hash (hex), if it works now and from the address of the request. Raises FH401 or FH40G token_invalid,
-- FH403 forbidden.
create or replace function access.authenticate_key(hash text, request jsonb) returns freehold.api_keys
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  k freehold.api_keys;
  -- One address, and no network.
  here inet := case when request ->> 'address' !~ '/' then access.network_of(request ->> 'address') end;
begin
  select * into k from freehold.api_keys x where x.key_hash = decode(hash, 'hex');
  if k.id is null or k.revoked_at is not null then
    -- A key that was never one of ours is a guess, which the Worker limits.
    raise exception using
      errcode = case when k.id is null then 'FH40G' else 'FH401' end,
      message = 'token_invalid',
      detail = 'There is no such key here, or it was revoked.';
  elsif k.expires_at <= now() then
    raise exception using errcode = 'FH401', message = 'token_invalid', detail = 'This key has expired.';
  elsif k.addresses <> '{}'
    and not exists (select from unnest(k.addresses) a (network) where here <<= a.network::inet)
  then
    perform access.refuse(
      'forbidden',
      format('This key does not work from %s.', coalesce(left(request ->> 'address', 64), 'an unknown address')));
  end if;
  return k;
end $$;
--> statement-breakpoint
-- Erases details for good, and returns how many. That somebody acted stays, and an entry says which details were erased
-- and by whom: for each 1,000 one, whose own detail names them in `ids` and whose resource_id says between which moments
-- they were written, so that src/audit/verify.ts finds it. Ids without a detail are passed over, and entries that say
-- this: what proves an erasure is not erased. Entries of earlier releases are about one detail, their resource_id.
create or replace function access.erase_detail(log_ids uuid[]) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  there uuid[] := array(
    select d.log_id
    from freehold.audit_detail d
    join freehold.audit_log l on l.id = d.log_id
    where d.log_id = any (log_ids) and l.activity_type <> 'AUDIT_ERASED'
    for update of d
  );
  e record;
begin
  if cardinality(there) > 0 then
    select array_agg(s.span order by s.part) as spans, array_agg(s.named order by s.part) as named into e
    from (
      select
        p.part,
        to_char(min(p.at) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '/'
          || to_char(max(p.at) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as span,
        jsonb_build_object('ids', jsonb_agg(p.id order by p.at, p.id)) as named
      from (
        select l.id, l.at, (row_number() over (order by l.at, l.id) - 1) / 1000 as part
        from freehold.audit_log l
        where l.id = any (there)
      ) p
      group by p.part
    ) s;
    perform access.write_audit(access.actor(), 'AUDIT_ERASED', 'erase', 'audit_detail', 0, e.spans, null, e.named);
    delete from freehold.audit_detail d where d.log_id = any (there);
  end if;
  return cardinality(there);
end $$;
--> statement-breakpoint
-- Refuses to delete a detail without an entry of the same transaction that names it.
create or replace function access.refuse_detail_change() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if exists (
    select
    from gone g
    where g.log_id::text not in (
      select jsonb_array_elements_text(d.after -> 'ids')
      from freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
      where l.activity_type = 'AUDIT_ERASED'
        and l.checkpoint is null
        and l.xid = pg_current_xact_id()::text::bigint
    )
  ) then
    raise exception using errcode = 'FH403', message = 'forbidden',
      detail = 'DELETE of freehold.audit_detail: a detail is erased by access.erase_detail alone.';
  end if;
  return null;
end $$;
--> statement-breakpoint
-- The network of an address: itself, or the /64 of an IPv6 address (as in src/http/rate-limit.ts).
create or replace function access.failing_network(address text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    case family(a.here) when 4 then host(a.here) when 6 then network(set_masklen(a.here, 64))::text end,
    'unknown')
  from (select access.network_of(address)) as a (here)
$$;
--> statement-breakpoint
-- Records a failure of the actor (access.set_audit_actor). `is_stranger`: nothing proves who it was, and beyond 20 from
-- one network in an hour it is counted as one of its `kind`, and no entry. Takes the row of the network last: its caller
-- locks nothing after.
create or replace function access.record_failure(
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
--> statement-breakpoint
-- Records that a refresh token was refused: of a user's session, or of nobody's. Returns what access.refresh answers.
create or replace function access.refused_refresh(meant freehold.users, session uuid, request jsonb) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform access.set_audit_actor(meant.id, meant.username, request);
  perform access.record_failure(
    'ACCESS_REFUSED', 'refresh', 'session', session::text, 'refresh_invalid', true,
    jsonb_build_object('code', 'refresh_invalid'), 10
  );
  return jsonb_build_object('outcome', 'invalid');
end $$;
--> statement-breakpoint
-- Records a refusal, after the answer. It believes nothing but the request: the user is the one of the session or of
-- the key, if these are real; of a key that was revoked or has expired its owner is named, and somebody else may have
-- used it. `credential` is what the caller showed: a session, a key by hash and prefix, the origin of a page, or
-- nothing. It takes the system's key, or somebody with the app login could fill the audit.
create or replace function access.record_refusal(
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
  end if;
  perform access.set_audit_actor(subject.id, subject.username, request);
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
--> statement-breakpoint
-- Writes an entry for each network and hour of which failures were counted, once the hour is over, and drops their row.
-- At most so many rows; returns how many. A failure that is counted later, because its transaction began within the
-- hour, makes a new row, and the next call writes it. Rows that are held are left to the next call.
create or replace function access.close_counted_failures(at_most integer) returns integer
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
--> statement-breakpoint
-- When the next of them is due; null: nothing was counted.
create or replace function access.counted_failures_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(f.hour) + interval '1 hour' from access.counted_failures f where f.counts <> '{}'
$$;
--> statement-breakpoint
-- Erases the details of strangers' failures of between two moments, the oldest first. At most so many; returns how many
-- were found. That something failed stays.
create or replace function access.erase_failures(at_most integer, since timestamptz, until timestamptz) returns integer
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
--> statement-breakpoint
-- Second half: {outcome: ok, claims} with a session and its first refresh token, or {outcome: refused, mail, is_known}
-- or {outcome: no_role}. `is_known`, whether there is such a user, is for the Worker's log alone. When the user has too
-- many sessions, the oldest end. `renewed` is a new hash of the same password, in place of one that another system made.
create or replace function access.finish_login(
  tenant_id uuid,
  system_key text,
  attempt uuid,
  digest text,
  renewed text,
  refresh_hash bytea,
  request jsonb
) returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  s freehold.sessions;
  surplus uuid[];
  named text;
  why text;
begin
  if u.id is null then
    select a.identifier, a.user_id,
      case
        when a.user_id is null then 'unknown'
        when a.state = 'refused' then 'locked'
        when a.state = 'deferred' then 'rate_limited'
        when not access.is_present(x) then 'inactive'
        else 'wrong_password'
      end
    into named, u.id, why
    from freehold.login_attempts a
    left join freehold.users x on x.id = a.user_id
    where a.id = attempt;
    perform access.set_audit_actor(u.id, named, request);
    perform access.record_failure(
      'LOGIN_FAILED', 'login', 'user', u.id::text, why, why in ('unknown', 'locked', 'rate_limited'),
      jsonb_build_object('reason', why), 20
    );
    return jsonb_build_object(
      'outcome', 'refused', 'mail', access.has_enqueued_mail(), 'is_known', u.id is not null
    );
  end if;
  perform access.set_audit_actor(u.id, u.username, request);
  if not access.has_role(u.id) then
    perform access.record(
      'LOGIN_FAILED', 'login', 'user', u.id::text, null, jsonb_build_object('reason', 'no_role'), 10
    );
    return jsonb_build_object('outcome', 'no_role');
  end if;
  if renewed is not null then
    update freehold.passwords p set password_hash = renewed
    where p.user_id = u.id and p.replaced_at is null;
  end if;
  insert into freehold.sessions (id, user_id, device, address, city, country, expires_at)
  values (
    gen_random_uuid(),
    u.id,
    left(request ->> 'agent', 255),
    left(request ->> 'address', 64),
    left(request ->> 'city', 120),
    left(request ->> 'country', 2),
    now() + make_interval(days => t.session_days)
  )
  returning * into s;
  -- The user's row has been locked since the comparison, so that of many logins at once each sees the sessions of
  -- those before it.
  surplus := array(
    select y.id
    from freehold.sessions y
    where y.user_id = u.id
      and y.id <> s.id
      and y.ended_at is null
      and y.expires_at > now()
      and y.last_active_at > now() - make_interval(days => t.idle_days)
    order by y.created_at desc, y.id
    offset coalesce(u.max_sessions, t.max_sessions) - 1
  );
  if surplus <> '{}' then
    update freehold.sessions x set ended_at = now(), ended_because = 'limit' where x.id = any (surplus);
  end if;
  insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
  values (refresh_hash, s.id, s.device, s.expires_at);
  return jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t));
end $$;
--> statement-breakpoint
-- {outcome: ok, claims} | {outcome: invalid | reused | inactive}. Of several requests at once the first makes the
-- successor, and the others find it. A deactivated user is told `inactive` even though the session ended with the
-- deactivation.
create or replace function access.refresh(tenant_id uuid, system_key text, presented bytea, successor bytea, request jsonb)
returns jsonb
language plpgsql volatile security definer set plan_cache_mode = force_generic_plan set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  r freehold.refresh_tokens;
  next_link freehold.refresh_tokens;
  s freehold.sessions;
  u freehold.users;
begin
  select x.* into s
  from freehold.refresh_tokens l
  join freehold.sessions x on x.id = l.session_id
  where l.token_hash = presented;
  select * into u from freehold.users x where x.id = s.user_id;
  if s.id is null then
    return access.refused_refresh(u, s.id, request);
  elsif not access.is_present(u) then
    return jsonb_build_object('outcome', 'inactive');
  elsif s.ended_at is not null
    or s.expires_at <= now()
    or s.last_active_at <= now() - make_interval(days => t.idle_days)
  then
    return access.refused_refresh(u, s.id, request);
  elsif not access.has_role(u.id) then
    return jsonb_build_object('outcome', 'inactive');
  end if;
  update freehold.refresh_tokens l
  set used_at = clock_timestamp(), successor_hash = successor
  where l.token_hash = presented and l.used_at is null and l.expires_at > now()
  returning l.* into r;
  if r.token_hash is not null then
    insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at)
    values (successor, s.id, request ->> 'agent', s.expires_at);
  else
    select * into r from freehold.refresh_tokens l where l.token_hash = presented;
    if r.used_at is null then
      return access.refused_refresh(u, s.id, request);
    end if;
    select * into next_link from freehold.refresh_tokens l where l.token_hash = r.successor_hash;
    if r.successor_hash <> successor
      or next_link.used_at is not null
      or r.used_at < clock_timestamp() - interval '60 seconds'
      or next_link.device is distinct from request ->> 'agent'
    then
      perform access.set_audit_actor(u.id, u.username, request);
      update freehold.sessions x
      set ended_at = now(), ended_because = 'refresh_reused'
      where x.id = s.id and x.ended_at is null;
      perform access.record(
        'SUSPICIOUS_ACTIVITY', 'refresh', 'session', s.id::text,
        null, jsonb_build_object('reason', 'refresh_reused'), 80
      );
      return jsonb_build_object('outcome', 'reused');
    end if;
  end if;
  -- The session may have ended while this waited for the token's row.
  update freehold.sessions x set last_active_at = now()
  where x.id = s.id and x.ended_at is null
  returning x.* into s;
  if s.id is null then
    return access.refused_refresh(u, null, request);
  end if;
  return jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t));
end $$;
--> statement-breakpoint
-- Deletes at most so many rows of each kind: {is_done, given_up}, where `given_up` counts mails. A purge stays due
-- until it is done.
create or replace function access.purge(at_most integer) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  most integer;
  given_up integer;
begin
  with attempts as (
    -- Kept briefly, because users type passwords where an identifier goes.
    delete from freehold.login_attempts
    where id in (
      select a.id
      from freehold.login_attempts a
      where a.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tokens as (
    delete from freehold.one_time_tokens
    where token_hash in (
      select k.token_hash
      from freehold.one_time_tokens k
      where k.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), registered as (
    delete from freehold.registrations
    where token_hash in (
      select r.token_hash
      from freehold.registrations r
      where r.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), refreshed as (
    -- All tokens of a session expire together: a used one reveals a theft as long as its session can live.
    delete from freehold.refresh_tokens
    where token_hash in (
      select l.token_hash
      from freehold.refresh_tokens l
      where l.expires_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), forsaken as (
    -- Mails that waited for a day, and an hour more for a last pause between attempts: those for which no transport
    -- is configured, and those that made their sender crash.
    update freehold.mails
    set state = 'dead', secrets_encrypted = null, finished_at = now(), lease_until = null
    where id in (
      select m.id
      from freehold.mails m
      where m.state = 'queued'
        and m.created_at < now() - interval '25 hours'
        and (m.lease_until is null or m.lease_until < now())
      limit at_most
      for update skip locked
    )
    returning 1
  ), old as materialized (
    select m.id
    from freehold.mails m
    where m.finished_at < now() - interval '90 days'
    limit at_most
    for update skip locked
  ), dropped as (
    -- The next delivery logs them; without a transport there is none.
    delete from access.dropped_mails
    where id in (
      select m.id
      from access.dropped_mails m
      where m.created_at < now() - interval '1 day'
      limit at_most
      for update skip locked
    )
    returning 1
  ), answered as (
    delete from access.kept_answers
    where id in (
      select k.id
      from access.kept_answers k
      where k.created_at < now() - interval '24 hours'
      limit at_most
      for update skip locked
    )
    returning 1
  ), tried as (
    delete from freehold.mail_attempts a using old where a.mail_id = old.id
  ), finished as (
    delete from freehold.mails m using old where m.id = old.id
    returning 1
  )
  select
    x.given_up,
    greatest(
      x.given_up,
      (select count(*) from attempts),
      (select count(*) from tokens),
      (select count(*) from registered),
      (select count(*) from refreshed),
      (select count(*) from dropped),
      (select count(*) from answered),
      (select count(*) from finished)
    )
  into given_up, most
  from (select count(*) as given_up from forsaken) x;
  -- After the attempts: a lockout without a failure belongs to an attempt that was never finished, and goes once that
  -- attempt is gone.
  with guards as (
    delete from freehold.lockouts
    where key in (
      select g.key
      from freehold.lockouts g
      where g.key like 'unknown:%'
        and (g.locked_until is null or g.locked_until < now())
        and coalesce(
          g.failed_at < now() - interval '1 day',
          not exists (select from freehold.login_attempts a where a.key = g.key)
        )
      limit at_most
      for update skip locked
    )
    returning 1
  )
  select greatest(most, count(*)) into most from guards;
  most := greatest(
    most,
    access.erase_failures(
      at_most,
      coalesce((select s.failures_erased_to from access.purges s), '-infinity'),
      now() - interval '90 days'
    )
  );
  if most < at_most then
    insert into access.purges (last_at, failures_erased_to) values (now(), now() - interval '90 days')
    on conflict (one) do update set last_at = excluded.last_at, failures_erased_to = excluded.failures_erased_to;
  end if;
  return jsonb_build_object('is_done', most < at_most, 'given_up', given_up);
end $$;
--> statement-breakpoint
revoke execute
  on function access.close_counted_failures(integer),
    access.counted_failures_due(),
    access.erase_failures(integer,timestamp with time zone,timestamp with time zone),
    access.failing_network(text),
    access.record_failure(text,text,text,text,text,boolean,jsonb,integer),
    access.refused_refresh(freehold.users,uuid,jsonb)
  from public;
--> statement-breakpoint
grant update (idle_minutes, password_breached, first_password_hours, reset_link_minutes, api_key_days, password_grant)
  on freehold.tenant
  to freehold_app;
