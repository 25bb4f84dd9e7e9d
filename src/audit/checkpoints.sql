-- Checkpoints of the audit: a chain of hashes over its entries, as in transparency logs. The scheduled job calls
-- access.checkpoint_audit, as the owner, and takes the newest checkpoint to the master; src/audit/verify.ts checks
-- the chain.
--
-- Threat: somebody who can write the database, and drop the triggers that protect entries, changes or removes one,
-- makes the chain anew, or adds an entry of long ago. The first breaks the chain; the second shows, because the master
-- keeps the newest checkpoint. Against the third the chain covers when each checkpoint was made, and between which
-- transactions: an entry is newer than the checkpoints that were made before its transaction had an id.

-- Covers the oldest entries, at most `batch`, by the next checkpoint: a hash of the hash before it, of the checkpoint's
-- own columns and of the entries in the order (xid, id). Takes only entries older than every running transaction, so
-- that none can still come between them. Returns how many; 0 also while another call is at work.
create function access.checkpoint_audit(batch integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  newest freehold.audit_checkpoints;
  made freehold.audit_checkpoints;
begin
  if not exists (select from freehold.audit_log l where l.checkpoint is null)
    or not pg_try_advisory_xact_lock(hashtext('freehold.audit_checkpoints'))
  then
    return 0;
  end if;
  select * into newest from freehold.audit_checkpoints s order by s.no desc limit 1;
  made.no := coalesce(newest.no, 0) + 1;
  -- Before the snapshot of the statement below: what began to write after that is not older than this moment.
  made.created_at := clock_timestamp();
  with taken as materialized (
    select l.id, l.xid, access.canonical_entry(l) as form
    from freehold.audit_log l
    where l.checkpoint is null and l.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    order by l.xid, l.id
    limit batch
  ), marked as (
    update freehold.audit_log l set checkpoint = made.no from taken t where l.id = t.id
  )
  select
    count(*),
    case when count(*) < batch then pg_snapshot_xmin(pg_current_snapshot())::text::bigint else max(t.xid) end,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
    string_agg(t.form, '' order by t.xid, t.id)
  into made.entries, made.oldest_xid, made.next_xid, made.hash
  from taken t;
  if made.entries > 0 then
    made.hash := sha256(coalesce(newest.hash, '') || access.canonical_checkpoint(made) || made.hash);
    insert into freehold.audit_checkpoints select made.*;
  end if;
  perform access.number_events();
  return made.entries;
end $$;

-- The columns of a checkpoint as they are hashed. src/audit/verify.ts repeats this, and the form of an entry, on
-- purpose: a check of the chain must not rely on functions of the database that it checks.
create function access.canonical_checkpoint(s freehold.audit_checkpoints) returns bytea
language sql immutable
return convert_to(
  jsonb_build_array(
    s.no,
    s.entries,
    s.oldest_xid,
    s.next_xid,
    (extract(epoch from s.created_at) * 1000000)::bigint
  )::text,
  'UTF8'
);

-- An entry as it is hashed: a JSON array, so that no two entries read alike.
create function access.canonical_entry(l freehold.audit_log) returns bytea
language sql immutable
return convert_to(
  jsonb_build_array(
    l.xid,
    l.id,
    l.user_id,
    l.activity_type,
    l.action,
    l.resource_type,
    l.resource_id,
    l.risk_score,
    l.trace_id,
    (extract(epoch from l.at) * 1000000)::bigint,
    encode(l.detail_hash, 'hex')
  )::text,
  'UTF8'
);

create trigger keep_checkpoints before update or delete or truncate on freehold.audit_checkpoints
  for each statement execute function access.refuse_change();

-- Whoever reads all of the audit reads its checkpoints, to verify an export.
create policy read on freehold.audit_checkpoints for select using ((select access.may_read_all_audit()));

grant select on freehold.audit_checkpoints to freehold_app;
