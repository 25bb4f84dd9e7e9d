/**
 * Verifies that an audit is as it was written. Threat: an attacker who can write to the database changes a row, removes one, adds
 * one of long ago, cuts off the end, or replaces the whole chain. So the check reads the tables alone, computes the form of an
 * entry and the hash of a detail itself, and calls no function of the database that it checks; it compares the date of an entry
 * with the checkpoints around it, and the newest checkpoint with the one that the master keeps.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch, unhurried } from '../kernel/db.ts'

/**
 * Where an audit was cut because the tenant was restored to an earlier moment: behind `from_no` it goes on with `to_no`, which has this
 * hash. The checkpoints between are of the branch that was left.
 */
export type Cut = { from_no: number; to_no: number; hash: string }

/** The newest checkpoint that the master knows of. */
export type Head = { no: number; hash: string; entries: number; checkpointed_at: string }

export type Discrepancy = {
  kind:
    | 'changed'
    | 'removed'
    | 'added'
    | 'forged'
    | 'changed_detail'
    | 'removed_detail'
    | 'missing_checkpoint'
    | 'cut_off'
    | 'rewritten'
  checkpoint: number | null
  /** The activity, where it is known. */
  id: string | null
  said: string
}

/** `entries` counts those under a checkpoint, `pending` the others, `erased` the details that an entry says were erased. */
export type Verification = {
  intact: boolean
  checkpoint: number
  entries: number
  pending: number
  erased: number
  head: Head | null
  faults: Discrepancy[]
}

const CHECKPOINTS_AT_ONCE = 20
/** Greater than the number of any checkpoint. */
const NONE = 2_147_483_647
/** How far clocks may differ: those of the machines between which a database moves. */
const SKEW = sql.raw(`interval '1 minute'`)
const MOST_FAULTS = 100

const FORM =
  sql.raw(`pg_catalog.jsonb_build_array(l.xid, l.id, l.user_id, l.activity_type, l.action, l.resource_type, l.resource_id, l.risk_score, l.trace_id,
  (extract(epoch from l.at) * 1000000)::bigint, pg_catalog.encode(l.detail_hash, 'hex'))::text`)
/** What a checkpoint hashes of itself; nothing, where it is older than the column `next_xid`. */
const CHECKPOINT_FORM =
  sql.raw(`case when s.next_xid is null then '' else pg_catalog.convert_to(pg_catalog.jsonb_build_array(s.no, s.entries, s.oldest_xid, s.next_xid,
  (extract(epoch from s.created_at) * 1000000)::bigint)::text, 'UTF8') end`)
/** Of a database that is a version behind no detail names an impersonator. */
const DETAIL_HASH =
  sql.raw(`pg_catalog.sha256(d.salt || pg_catalog.convert_to((pg_catalog.jsonb_build_object('user_name', d.user_name, 'address', d.address, 'agent', d.agent,
  'method', d.method, 'path', d.path, 'before', d.before, 'after', d.after)
  || case when d.api_key_id is null then '{}' else pg_catalog.jsonb_build_object('api_key_id', d.api_key_id) end
  || pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('impersonator_id', pg_catalog.to_jsonb(d) -> 'impersonator_id')))::text, 'UTF8'))`)
const MICROS = `'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'`
/** Each used twice, because entries with and without a checkpoint are found by different indexes. */
const erasedBy = (checkpoint: string) =>
  `exists (select from freehold.audit_log e where e.resource_type = 'audit_detail' and e.resource_id = l.id::text and e.activity_type = 'AUDIT_ERASED' and e.checkpoint is ${checkpoint})`
const namedBy = (checkpoint: string) =>
  sql.raw(`select d.after -> 'ids' as ids from freehold.audit_log e join freehold.audit_detail d on d.log_id = e.id, span s
    where e.resource_type = 'audit_detail' and e.activity_type = 'AUDIT_ERASED' and e.checkpoint is ${checkpoint}
      and pg_catalog.split_part(e.resource_id, '/', 1) collate "C" <= s.until and pg_catalog.split_part(e.resource_id, '/', 2) collate "C" >= s.since
      and pg_catalog.jsonb_typeof(d.after -> 'ids') = 'array' and `)
/**
 * The details that entries say were erased, where these entries' own details are as they were written: of the entries that erased
 * something of between the first and the last missing one.
 */
const namedIn = (which: SQL) => sql`
  span as materialized (
    select pg_catalog.to_char(min(l.at) at time zone 'utc', ${sql.raw(MICROS)}) as since, pg_catalog.to_char(max(l.at) at time zone 'utc', ${sql.raw(MICROS)}) as until
    from freehold.audit_log l left join freehold.audit_detail d on d.log_id = l.id where ${which} and d.log_id is null),
  named as materialized (
    select pg_catalog.jsonb_array_elements_text(x.ids) as id from (
      ${namedBy('not null')} ${DETAIL_HASH} = e.detail_hash union all ${namedBy('null')} ${DETAIL_HASH} = e.detail_hash) x)`
/** Entries of earlier releases are about one detail each. */
const ERASED = sql.raw(`(l.id::text in (select n.id from named n) or ${erasedBy('not null')} or ${erasedBy('null')})`)

/** The next checkpoints after a number, each with the hash recomputed from its entries and the hash before it. */
const chainAfter = (no: number) => sql`
  select s.no, s.entries, pg_catalog.encode(s.hash, 'hex') as hash, x.found,
    pg_catalog.encode(pg_catalog.sha256(coalesce((select p.hash from freehold.audit_checkpoints p where p.no < s.no order by p.no desc limit 1), '') || ${CHECKPOINT_FORM} || x.forms), 'hex') as made,
    (select s.next_xid is null and p.next_xid is not null or s.created_at < p.created_at - ${SKEW} or s.created_at > pg_catalog.clock_timestamp() + ${SKEW}
      from (select pg_catalog.max(q.next_xid) as next_xid, pg_catalog.max(q.created_at) as created_at from freehold.audit_checkpoints q where q.no = (select pg_catalog.max(o.no) from freehold.audit_checkpoints o where o.no < s.no)) p) as forged
  from (select * from freehold.audit_checkpoints a where a.no > ${no} order by a.no limit ${CHECKPOINTS_AT_ONCE}) s
    cross join lateral (
      select count(*)::integer as found, coalesce(pg_catalog.string_agg(pg_catalog.convert_to(${FORM}, 'UTF8'), '' order by l.xid, l.id), '') as forms
      from freehold.audit_log l where l.checkpoint = s.no
    ) x order by s.no`

/** Entries whose detail was changed, or is missing without an entry that says it was erased. */
const detailsWhere = (which: SQL) => sql`with ${namedIn(which)}
  select l.id, l.checkpoint, d.log_id is null as gone from freehold.audit_log l left join freehold.audit_detail d on d.log_id = l.id
  where ${which} and (${DETAIL_HASH} is distinct from l.detail_hash) and not (d.log_id is null and ${ERASED}) order by l.xid, l.id limit ${MOST_FAULTS}`

/**
 * Entries that are dated before a checkpoint that was made before their transaction had an id, before `since`, or after their own
 * checkpoint; and those of a transaction that does not belong between the checkpoints around them.
 */
const forgedWhere = (which: SQL, since: string | null) => sql`
  select l.id, l.checkpoint, l.at::text as at from freehold.audit_log l
    left join freehold.audit_checkpoints s on s.no = l.checkpoint
    left join lateral (select q.oldest_xid from freehold.audit_checkpoints q where q.no < coalesce(s.no, ${NONE}) order by q.no desc limit 1) p on true
    left join lateral (
      select k.created_at from freehold.audit_checkpoints k where k.no < coalesce(s.no, ${NONE}) and k.next_xid <= l.xid order by k.no desc limit 1
    ) before on p.oldest_xid is not null
  where ${which} and (l.checkpoint is null or s.next_xid is not null)
    and (l.at < greatest(before.created_at, ${since}::timestamptz) - ${SKEW} or l.at > coalesce(s.created_at, pg_catalog.clock_timestamp()) + ${SKEW} or l.xid < p.oldest_xid or l.xid >= s.next_xid)
  order by l.xid, l.id limit ${MOST_FAULTS}`

/** The number of missing details that an entry says were erased. */
const erasedWhere = (which: SQL) => sql`with ${namedIn(which)}
  select count(*)::integer as n from freehold.audit_log l left join freehold.audit_detail d on d.log_id = l.id where ${which} and d.log_id is null and ${ERASED}`

/** The number of entries under no checkpoint, and under checkpoints after `no` that are missing. */
const beyond = (no: number) => sql`
  select (select count(*)::integer from freehold.audit_log l where l.checkpoint is null) as pending,
    (select pg_catalog.jsonb_object_agg(o.checkpoint, o.n) from (
      select l.checkpoint, count(*) as n from freehold.audit_log l where l.checkpoint > ${no} and not exists (select from freehold.audit_checkpoints s where s.no = l.checkpoint) group by l.checkpoint) o) as orphans`

const READ_ONLY = [sql`set transaction isolation level repeatable read, read only`, unhurried, sql`set local role freehold_owner`]

/**
 * Recomputes the chain and each detail's hash, and compares with the head in the master. No entry is older than `since`, when the
 * master made the realm. `cuts` are those that the master made. Reads as the owner of the database
 * behind `url`, in pages of 20 checkpoints, one round trip each, and changes nothing. Reports at most a few hundred faults.
 */
export async function verifyChain(
  url: string,
  head: Head | null,
  since: string | null = null,
  cuts: Cut[] = [],
): Promise<Verification> {
  const faults: Discrepancy[] = []
  const report = (kind: Discrepancy['kind'], checkpoint: number | null, said: string, id: string | null = null) =>
    faults.push({ kind, checkpoint, id, said })
  const ask = async (...queries: SQL[]) => (await batch(url, [...READ_ONLY, ...queries])).slice(READ_ONLY.length)
  let no = 0
  let entries = 0
  let erased = 0
  let atHead: string | null = null
  for (;;) {
    const covered = sql`l.checkpoint > ${no} and l.checkpoint <= (select max(p.no) from (select a.no from freehold.audit_checkpoints a where a.no > ${no} order by a.no limit ${CHECKPOINTS_AT_ONCE}) p)`
    const [checkpoints = [], details = [], [gone] = [], forged = []] = await ask(
      chainAfter(no),
      detailsWhere(covered),
      erasedWhere(covered),
      forgedWhere(covered, since),
    )
    erased += Number(gone?.n)
    for (const row of checkpoints) {
      const checkpoint = { no: Number(row.no), entries: Number(row.entries), found: Number(row.found) }
      const cut = cuts.find((one) => one.from_no === no && one.to_no === checkpoint.no && one.hash === row.hash)
      if (checkpoint.no > no + 1 && !cut) report('missing_checkpoint', no + 1, between('checkpoint', no + 1, checkpoint.no - 1))
      const lost = checkpoint.entries - checkpoint.found
      if (lost > 0)
        report(
          'removed',
          checkpoint.no,
          `${lost} of the ${checkpoint.entries} entries under checkpoint ${checkpoint.no} are missing`,
        )
      else if (lost < 0) report('added', checkpoint.no, `${-lost} entries were added under checkpoint ${checkpoint.no}`)
      else if (row.hash !== row.made && (checkpoint.no === no + 1 || cut))
        report('changed', checkpoint.no, `an entry under checkpoint ${checkpoint.no}, or the checkpoint, was changed`)
      if (row.forged)
        report(
          'forged',
          checkpoint.no,
          `checkpoint ${checkpoint.no} is not dated between the one before it and now, or has no date`,
        )
      if (checkpoint.no === head?.no) atHead = String(row.hash)
      entries += checkpoint.found
      no = checkpoint.no
    }
    reportDetails(details)
    reportForged(forged)
    if (checkpoints.length < CHECKPOINTS_AT_ONCE) break
  }
  const last = sql`l.checkpoint is null`
  const [rest = [], [gone] = [], forged = [], [sums = {}] = []] = await ask(
    detailsWhere(last),
    erasedWhere(last),
    forgedWhere(last, since),
    beyond(no),
  )
  erased += Number(gone?.n)
  reportDetails(rest)
  reportForged(forged)
  for (const [checkpoint, n] of Object.entries((sums.orphans ?? {}) as Record<string, number>))
    report('missing_checkpoint', Number(checkpoint), `checkpoint ${checkpoint} is missing, with ${n} entries under it`)
  if (head && head.no > no)
    report('cut_off', no + 1, `the end was cut off: the master knows checkpoint ${head.no}, the newest here is ${no}`)
  else if (head && atHead !== null && atHead !== head.hash)
    report('rewritten', head.no, `checkpoint ${head.no} differs from the one that the master knows: the chain was rewritten`)
  return { intact: faults.length === 0, checkpoint: no, entries, pending: Number(sums.pending), erased, head, faults }

  function reportForged(rows: Record<string, unknown>[]) {
    for (const { id, at, checkpoint } of rows)
      report(
        'forged',
        checkpoint === null ? null : Number(checkpoint),
        `the entry ${id} is dated ${at}, but was not written then: its transaction does not lie there between the checkpoints`,
        String(id),
      )
  }

  function reportDetails(rows: Record<string, unknown>[]) {
    for (const row of rows) {
      const checkpoint = row.checkpoint === null ? null : Number(row.checkpoint)
      if (row.gone)
        report(
          'removed_detail',
          checkpoint,
          `the detail of ${row.id} is missing, and no entry says that it was erased`,
          String(row.id),
        )
      else report('changed_detail', checkpoint, `the detail of ${row.id}, or its hash, was changed`, String(row.id))
    }
  }
}

const between = (what: string, from: number, to: number) =>
  from === to ? `${what} ${from} is missing` : `${what}s ${from} to ${to} are missing`
