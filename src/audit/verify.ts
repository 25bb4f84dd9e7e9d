/**
 * Whether an audit is as it was written. Threat: who can write the database changes a row, removes one, cuts off the end, or replaces the whole
 * chain. So what is asked here is read from the tables, with the form of an entry and the hash of a detail stated again, and no function of the
 * database that is checked is asked; and the newest seal is compared with the one that the master keeps.
 */
import { type SQL, sql } from 'drizzle-orm'
import { batch } from '../kernel/db.ts'

/** The newest seal that the master knows of. */
export type Head = { no: number; hash: string; entries: number; sealed_at: string }

export type Fault = {
  kind: 'changed' | 'removed' | 'added' | 'changed_detail' | 'removed_detail' | 'missing_seal' | 'cut_off' | 'rewritten'
  seal: number | null
  /** The activity, where it can be told. */
  id: string | null
  said: string
}

/** `entries` are sealed ones; `erased` are details that an entry says were erased. */
export type Verdict = {
  intact: boolean
  seal: number
  entries: number
  unsealed: number
  erased: number
  head: Head | null
  faults: Fault[]
}

const SEALS_AT_ONCE = 20
const MOST_FAULTS = 100

const FORM =
  sql.raw(`pg_catalog.jsonb_build_array(l.xid, l.id, l.user_id, l.activity_type, l.action, l.resource_type, l.resource_id, l.risk_score, l.trace_id,
  (extract(epoch from l.at) * 1000000)::bigint, pg_catalog.encode(l.detail_hash, 'hex'))::text`)
const DETAIL_HASH =
  sql.raw(`pg_catalog.sha256(d.salt || pg_catalog.convert_to((pg_catalog.jsonb_build_object('user_name', d.user_name, 'address', d.address, 'agent', d.agent,
  'method', d.method, 'path', d.path, 'before', d.before, 'after', d.after)
  || case when d.api_key_id is null then '{}' else pg_catalog.jsonb_build_object('api_key_id', d.api_key_id) end)::text, 'UTF8'))`)
/** Twice, because what is sealed and what is not are found in different ways. */
const saysErased = (sealed: string) =>
  `exists (select from freehold.audit_log e where e.resource_type = 'audit_detail' and e.resource_id = l.id::text and e.activity_type = 'AUDIT_ERASED' and e.seal is ${sealed})`
const ERASED = sql.raw(`(${saysErased('not null')} or ${saysErased('null')})`)

/** Seals after a number, each with what its entries hash to on top of the hash before it. */
const chainAfter = (no: number) => sql`
  select s.no, s.entries, pg_catalog.encode(s.hash, 'hex') as hash, x.found,
    pg_catalog.encode(pg_catalog.sha256(coalesce((select p.hash from freehold.audit_seals p where p.no = s.no - 1), '') || x.forms), 'hex') as made
  from (select * from freehold.audit_seals a where a.no > ${no} order by a.no limit ${SEALS_AT_ONCE}) s
    cross join lateral (
      select count(*)::integer as found, coalesce(pg_catalog.string_agg(pg_catalog.convert_to(${FORM}, 'UTF8'), '' order by l.xid, l.id), '') as forms
      from freehold.audit_log l where l.seal = s.no
    ) x order by s.no`

/** Entries whose detail is not what it was, or not there without an entry that says so. */
const detailsWhere = (which: SQL) => sql`
  select l.id, l.seal, d.log_id is null as gone from freehold.audit_log l left join freehold.audit_detail d on d.log_id = l.id
  where ${which} and (${DETAIL_HASH} is distinct from l.detail_hash) and not (d.log_id is null and ${ERASED}) order by l.xid, l.id limit ${MOST_FAULTS}`

/** Details that are not there, as an entry says. */
const erasedWhere = (which: SQL) => sql`
  select count(*)::integer as n from freehold.audit_log l left join freehold.audit_detail d on d.log_id = l.id where ${which} and d.log_id is null and ${ERASED}`

/** What is under no seal yet, and what is under seals after the newest one that was read and that are not there either. */
const beyond = (no: number) => sql`
  select (select count(*)::integer from freehold.audit_log l where l.seal is null) as unsealed,
    (select pg_catalog.jsonb_object_agg(o.seal, o.n) from (
      select l.seal, count(*) as n from freehold.audit_log l where l.seal > ${no} and not exists (select from freehold.audit_seals s where s.no = l.seal) group by l.seal) o) as orphans`

const LOOKING = [sql`set transaction isolation level repeatable read, read only`, sql`set local role freehold_owner`]

/**
 * Recomputes the chain and each detail's hash, and compares with the head in the master. Reads as the owner of the database behind `url`, in
 * pages of 20 seals, one round trip each, and changes nothing. At most a few hundred faults are told.
 */
export async function verify(url: string, head: Head | null): Promise<Verdict> {
  const faults: Fault[] = []
  const tell = (kind: Fault['kind'], seal: number | null, said: string, id: string | null = null) =>
    faults.push({ kind, seal, id, said })
  const ask = async (...queries: SQL[]) => (await batch(url, [...LOOKING, ...queries])).slice(LOOKING.length)
  let no = 0
  let entries = 0
  let erased = 0
  let atHead: string | null = null
  for (;;) {
    const covered = sql`l.seal > ${no} and l.seal <= (select max(p.no) from (select a.no from freehold.audit_seals a where a.no > ${no} order by a.no limit ${SEALS_AT_ONCE}) p)`
    const [seals = [], details = [], [gone] = []] = await ask(chainAfter(no), detailsWhere(covered), erasedWhere(covered))
    erased += Number(gone?.n)
    for (const row of seals) {
      const seal = { no: Number(row.no), entries: Number(row.entries), found: Number(row.found) }
      if (seal.no > no + 1) tell('missing_seal', no + 1, between('seal', no + 1, seal.no - 1))
      const lost = seal.entries - seal.found
      if (lost > 0) tell('removed', seal.no, `${lost} of the ${seal.entries} entries under seal ${seal.no} are not there`)
      else if (lost < 0) tell('added', seal.no, `${-lost} entries are under seal ${seal.no} that were not sealed by it`)
      else if (row.hash !== row.made && seal.no === no + 1)
        tell('changed', seal.no, `an entry under seal ${seal.no}, or the seal, was changed`)
      if (seal.no === head?.no) atHead = String(row.hash)
      entries += seal.found
      no = seal.no
    }
    tellDetails(details)
    if (seals.length < SEALS_AT_ONCE) break
  }
  const last = sql`l.seal is null`
  const [rest = [], [gone] = [], [sums = {}] = []] = await ask(detailsWhere(last), erasedWhere(last), beyond(no))
  erased += Number(gone?.n)
  tellDetails(rest)
  for (const [seal, n] of Object.entries((sums.orphans ?? {}) as Record<string, number>))
    tell('missing_seal', Number(seal), `seal ${seal} is missing, and ${n} entries are under it`)
  if (head && head.no > no)
    tell('cut_off', no + 1, `the end was cut off: the master knows seal ${head.no}, the newest here is ${no}`)
  else if (head && atHead !== null && atHead !== head.hash)
    tell('rewritten', head.no, `seal ${head.no} is not the one that the master knows: the chain was made anew`)
  return { intact: faults.length === 0, seal: no, entries, unsealed: Number(sums.unsealed), erased, head, faults }

  function tellDetails(rows: Record<string, unknown>[]) {
    for (const row of rows) {
      const seal = row.seal === null ? null : Number(row.seal)
      if (row.gone)
        tell('removed_detail', seal, `the detail of ${row.id} is not there, and no entry says that it was erased`, String(row.id))
      else tell('changed_detail', seal, `the detail of ${row.id}, or its hash, was changed`, String(row.id))
    }
  }
}

const between = (what: string, from: number, to: number) =>
  from === to ? `${what} ${from} is missing` : `${what}s ${from} to ${to} are missing`
