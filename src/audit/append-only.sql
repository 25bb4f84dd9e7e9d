-- The audit is append-only: triggers refuse every change of an entry, also to the owner login, which would have to
-- drop them first. An entry is written by access.write_audit alone, of the moment at which it is written; it takes its
-- checkpoint once (checkpoints.sql), and a detail is erased by access.erase_detail alone, which leaves an entry that
-- says so.
--
-- Threat: somebody changes, removes or invents an entry; an erasure cannot be told from tampering. Whoever owns the
-- tables can drop these triggers, and can call access.write_audit with an actor of their choice. What they write is
-- dated when they wrote it: src/audit/verify.ts reports an entry that is dated otherwise.

-- A state as it is kept: one of more than 128 KiB would be in every page that holds its entry, and Neon answers no more
-- than 10 MiB.
create function access.kept_state(state jsonb) returns jsonb
language sql stable
return case when pg_column_size(state) > 131072 then jsonb_build_object('too_large', true) else state end;

-- A row with `***` in place of the values of secret columns.
create function access.masked(doc jsonb, secret text[]) returns jsonb
language sql immutable
return (
  select jsonb_object_agg(e.key, case when e.key = any (secret) and e.value <> 'null' then '"***"' else e.value end)
  from jsonb_each(doc) e
);

-- Erases details for good, and returns how many. That somebody acted stays, and an entry says which details were erased
-- and by whom: for each 1,000 one, whose own detail names them in `ids` and whose resource_id says between which moments
-- they were written, so that src/audit/verify.ts finds it. Ids without a detail are passed over, and entries that say
-- this: what proves an erasure is not erased. Entries of earlier releases are about one detail, their resource_id.
create function access.erase_detail(log_ids uuid[]) returns integer
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

-- Refuses every change of what was written.
create function access.refuse_change() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using errcode = 'FH403', message = 'forbidden',
    detail = format('%s of freehold.%s: the audit is append-only.', tg_op, tg_table_name);
end $$;

-- Refuses to delete a detail without an entry of the same transaction that names it.
create function access.refuse_detail_change() returns trigger
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

-- access.write_audit alone sets that setting. A minute, because the clock of a machine may be set back.
create trigger written_now before insert on freehold.audit_log
  for each row
  when (
    current_setting('access.writer', true) is distinct from 'audit'
    or new.at not between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '1 minute'
    or new.xid <> pg_current_xact_id()::text::bigint
    or new.checkpoint is not null
  )
  execute function access.refuse_change();

create trigger written_with_entry before insert on freehold.audit_detail
  for each row
  when (current_setting('access.writer', true) is distinct from 'audit')
  execute function access.refuse_change();

-- The one change of an entry is that a checkpoint covers it, once.
create trigger keep_entries before update on freehold.audit_log
  for each row
  when (
    old.checkpoint is not null
    or new.checkpoint is null
    or to_jsonb(old) - 'checkpoint' is distinct from to_jsonb(new) - 'checkpoint'
  )
  execute function access.refuse_change();

create trigger keep_all_entries before delete or truncate on freehold.audit_log
  for each statement execute function access.refuse_change();

create trigger keep_details before update or truncate on freehold.audit_detail
  for each statement execute function access.refuse_change();

create trigger keep_detail after delete on freehold.audit_detail
  referencing old table as gone
  for each statement execute function access.refuse_detail_change();
