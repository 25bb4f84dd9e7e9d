-- Checkpoints of the audit: a chain of hashes over its entries, as in transparency logs. The scheduled job calls
-- access.checkpoint_audit, as the owner, and takes the newest checkpoint to the master; src/audit/verify.ts checks
-- the chain.
--
-- Threat: somebody who can write the database, and drop the triggers that protect entries, changes or removes one, or
-- makes the chain anew. The first breaks the chain; the second shows, because the master keeps the newest checkpoint.

-- Covers the oldest entries, at most `batch`, by the next checkpoint: a hash of the hash before it and of the entries
-- in the order (xid, id). Takes only entries older than every running transaction, so that none can still come
-- between them. Returns how many; 0 also while another call is at work.
create function access.checkpoint_audit(batch integer) returns integer
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  newest freehold.audit_checkpoints;
  covered integer;
begin
  if not exists (select from freehold.audit_log l where l.checkpoint is null)
    or not pg_try_advisory_xact_lock(hashtext('freehold.audit_checkpoints'))
  then
    return 0;
  end if;
  select * into newest from freehold.audit_checkpoints s order by s.no desc limit 1;
  with taken as materialized (
    select l.id, l.xid, access.canonical_entry(l) as form
    from freehold.audit_log l
    where l.checkpoint is null and l.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    order by l.xid, l.id
    limit batch
  ), marked as (
    update freehold.audit_log l set checkpoint = coalesce(newest.no, 0) + 1 from taken t where l.id = t.id
  )
  insert into freehold.audit_checkpoints as s (no, entries, hash)
  select
    coalesce(newest.no, 0) + 1,
    count(*),
    sha256(coalesce(newest.hash, '') || string_agg(t.form, '' order by t.xid, t.id))
  from taken t
  having count(*) > 0
  returning s.entries into covered;
  return coalesce(covered, 0);
end $$;

-- An entry as it is hashed: a JSON array, so that no two entries read alike. src/audit/verify.ts repeats this on
-- purpose: a check of the chain must not rely on functions of the database that it checks.
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
