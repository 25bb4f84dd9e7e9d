/**
 * The daily comparison of KV with the master, in slices. Threat: an entry is lost or forged, or outlives its tenant, and nobody
 * notices; or the comparison of many tenants reads so much that it costs more than the service, or goes beyond what one invocation
 * may do. So each minute compares one slice, and a pass over all of them begins a day after the one before began. A slice is taken
 * with a lease: of two jobs at once one compares, and the slice of a job that died is compared again.
 *
 * What is damaged is only marked here (`published_v` is -1); `reconcile` writes it again. The key of a tenant that is gone is
 * deleted, though KV deletes without a condition and a tenant may be given the name in the same moment: after the deletion, whoever
 * has the name by then is marked. A tenant that is not in the master yet at that moment publishes its entry later than that.
 */
import { sql } from 'drizzle-orm'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { damageOf } from '../registry/entries.ts'
import { FORMER, type Former, isFormer } from '../registry/former.ts'
import { ENTRY, type Entry, kvKey } from '../registry/registry.ts'

/** A bulk get of KV reads at most as many keys. */
const BULK = 100
/** Slices in which a pass compares all tenants; as many remain of a day's minutes for the keys. */
const SLICES = 700
/** Bounds of one run: 20 requests for as many tenants; one list of as many keys, and a request for each that is deleted. */
const MOST_TENANTS = 1_000
const MOST_KEYS = 1_000
const MOST_DELETED = 100

const SIZE = sql`(select least(${MOST_TENANTS}::integer, greatest(${BULK}::integer, ceil(count(*) / ${SLICES}::numeric)))::integer from platform.tenants)`

type Place = { part: 'tenants' | 'keys' | 'done'; place: string }

/**
 * For the scheduled job: compares the next slice of the pass that is under way, or begins the next pass a day after the last one
 * began. Returns how many entries were damaged or of nobody; null when there was nothing to take. At most 25 requests, and 100 where
 * keys of nobody are deleted. Fails when KV or the master does not answer: the slice is compared again.
 */
export async function comparePass(env: Env, config: Config, trace_id = newTraceId()): Promise<number | null> {
  const [taken] = await batch(config.MASTER_DATABASE_URL, [
    sql`insert into platform.kv_pass as p (size, lease_until) values (${SIZE}, now() + interval '2 minutes')
        on conflict (one) do update set lease_until = excluded.lease_until,
          started_at = case p.part when 'done' then now() else p.started_at end,
          size = case p.part when 'done' then excluded.size else p.size end,
          part = case p.part when 'done' then 'tenants' else p.part end
        where p.lease_until <= now() and (p.part <> 'done' or p.started_at <= now() - interval '1 day')
        returning p.part, p.place, p.size, p.lease_until::text as lease`,
  ])
  const slice = taken?.[0] as (Place & { size: number; lease: string }) | undefined
  if (!slice) return null
  const { found, next } =
    slice.part === 'tenants'
      ? await compareTenants(env, config, slice, trace_id)
      : await compareKeys(env, config, slice.place, trace_id)
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.kv_pass set part = ${next.part}, place = ${next.place}, lease_until = now() where lease_until = ${slice.lease}::timestamptz`,
  ])
  return found
}

type Compared = { found: number; next: Place }

async function compareTenants(
  env: Env,
  config: Config,
  { place, size }: { place: string; size: number },
  trace_id: string,
): Promise<Compared> {
  let after = place || '00000000-0000-0000-0000-000000000000'
  let found = 0
  for (let compared = 0; compared < size; compared += BULK) {
    const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select ${ENTRY} as entry, ${FORMERS} as former from platform.tenants t
          where t.id > ${after}::uuid and t.status in ('active', 'inactive', 'deleted') order by t.id limit ${BULK}`,
    ])
    const entries = rows.map(({ entry }) => entry as Entry)
    const damaged = await compareEntries(env, config, rows as Published[])
    found += damaged.length
    for (const { entry, damage } of damaged)
      log('registry entry in KV is damaged', { tenant: entry.subdomain, trace_id, v: entry.v, damage })
    const ids = JSON.stringify(damaged.map(({ entry }) => entry.tenant_id))
    // One that changed meanwhile is propagated anyway.
    if (damaged.length)
      await batch(config.MASTER_DATABASE_URL, [
        sql`update platform.tenants t set published_v = -1
            where t.published_v = t.v and t.id in (select x::uuid from jsonb_array_elements_text(${ids}::jsonb) x)`,
      ])
    if (entries.length < BULK) return { found, next: { part: 'keys', place: '' } }
    after = entries.at(-1)?.tenant_id ?? after
  }
  return { found, next: { part: 'tenants', place: after } }
}

/** What KV is to hold of a tenant, from a row of the master: its entry, and what its former names say. */
export type Published = { entry: Entry; former: Former[] }

/** All Formers of a tenant, from a row `t`. */
export const FORMERS = sql`coalesce((select jsonb_agg(${FORMER}) from platform.subdomains n where n.tenant_id = t.id and n.until > now()), '[]')`

/** Those of the entries of at most 100 tenants that KV does not hold as they are, with the tenant's own. An operation of KV for 100 keys. */
export async function compareEntries(env: Env, config: Config, published: Published[]) {
  const wanted = published.flatMap(({ entry, former }) => [entry, ...former].map((one) => ({ entry, one })))
  const keyOf = (one: Entry | Former) => kvKey(isFormer(one) ? one.former : one.subdomain)
  const damaged = []
  for (let at = 0; at < wanted.length; at += BULK) {
    const slice = wanted.slice(at, at + BULK)
    const kept = await env.TENANTS.get(
      slice.map(({ one }) => keyOf(one)),
      'text',
    )
    for (const { entry, one } of slice) {
      const damage = await damageOf(config, kept.get(keyOf(one)) ?? null, one)
      if (damage) damaged.push({ entry, damage })
    }
  }
  return damaged
}

async function compareKeys(env: Env, config: Config, cursor: string, trace_id: string): Promise<Compared> {
  // A cursor that KV does not know any more, as of another namespace, would stop every pass: the keys are begun again.
  const { names, next } = await listNames(env, cursor, MOST_KEYS).catch((error) => {
    if (!cursor) throw error
    return listNames(env, '', MOST_KEYS)
  })
  const unknown = await namesOfNobody(config, names)
  const deleted = await deleteEntries(env, config, unknown.slice(0, MOST_DELETED), trace_id)
  // What is left of this page comes next.
  if (unknown.length > MOST_DELETED) return { found: deleted.length, next: { part: 'keys', place: cursor } }
  return { found: deleted.length, next: next === null ? { part: 'done', place: '' } : { part: 'keys', place: next } }
}

/** A page of the names that have an entry in KV, and the cursor of the next one; '' is the first. One operation of KV. */
export async function listNames(env: Env, cursor: string, limit: number): Promise<{ names: string[]; next: string | null }> {
  const prefix = kvKey('')
  const page = await env.TENANTS.list({ prefix, limit, ...(cursor && { cursor }) })
  return {
    names: page.keys.map(({ name }) => name.slice(prefix.length)),
    next: page.list_complete ? null : page.cursor,
  }
}

/** Those of these names that no tenant has or keeps, in whatever state. One round trip to the master. */
export async function namesOfNobody(config: Config, names: string[]): Promise<string[]> {
  if (!names.length) return []
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select x.name from jsonb_array_elements_text(${JSON.stringify(names)}::jsonb) as x (name)
        where not exists (select from platform.tenants t where t.subdomain = x.name)
          and not exists (select from platform.subdomains s where s.name = x.name and s.until > now())`,
  ])
  return rows.map(({ name }) => String(name))
}

/**
 * Deletes the entries of those of these names that no tenant has. A tenant that was given one meanwhile is published again. Returns
 * the names. Two round trips to the master, and an operation of KV for each.
 */
export async function deleteEntries(env: Env, config: Config, names: string[], trace_id: string): Promise<string[]> {
  const unknown = await namesOfNobody(config, names)
  if (!unknown.length) return []
  for (const name of unknown) {
    await env.TENANTS.delete(kvKey(name))
    log('registry entry of nobody deleted from KV', { tenant: name, trace_id })
  }
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants t set published_v = -1 where t.id in (select s.tenant_id from platform.subdomains s
          where s.name in (select jsonb_array_elements_text(${JSON.stringify(unknown)}::jsonb)))`,
  ])
  return unknown
}
