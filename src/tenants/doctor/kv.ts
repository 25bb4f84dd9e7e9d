/** What KV holds otherwise than the master says. */
import { sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { compareEntries, FORMERS, listNames, namesOfNobody, type Published } from '../lifecycle/kv-pass.ts'
import type { Damage } from '../registry/entries.ts'
import { ENTRY, kvKey } from '../registry/registry.ts'
import { finding } from './findings.ts'
import { behind, type Part, page } from './part.ts'

const CODE = { missing: 'kv_missing', forged: 'kv_forged', stale: 'kv_stale', other: 'kv_other' } as const
const DETAIL: Record<Damage, string> = {
  missing: 'KV has no entry of it.',
  forged: 'Its entry in KV was not signed by this deployment.',
  stale: 'Its entry in KV has another version than the master.',
  other: 'Its entry in KV has the version of the master, and says something else.',
}

/**
 * Entries of tenants that did not change in the last two minutes: KV may show a location what was before. One round trip to the
 * master, one operation of KV.
 */
export const entries: Part = {
  check: 'kv',
  codes: ['kv_missing', 'kv_forged', 'kv_stale', 'kv_other'],
  async look({ env, config }, chosen) {
    const { where, rest } = page(chosen, sql`t.subdomain`)
    const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select ${ENTRY} as entry, ${FORMERS} as former from platform.tenants t
          where ${where} and t.status in ('active', 'inactive', 'deleted') and t.updated_at < now() - interval '2 minutes' ${rest}`,
    ])
    const known = rows as Published[]
    const damaged = await compareEntries(env, config, known)
    return {
      findings: damaged.map(({ entry, damage }) => finding(CODE[damage], entry.subdomain, DETAIL[damage], entry.tenant_id)),
      checked: known.length,
      next: behind(
        chosen,
        known.map(({ entry }) => entry.tenant_id),
      ),
    }
  },
}

/** Keys that no tenant has, in whatever state. One round trip to the master, one operation of KV. */
export const keys: Part = {
  check: 'kv',
  codes: ['kv_orphaned'],
  async look({ env, config }, chosen) {
    const { names, next } =
      'subject' in chosen ? { ...(await one(env, chosen.subject)), next: null } : await listNames(env, chosen.after, chosen.limit)
    const unknown = await namesOfNobody(config, names)
    return {
      findings: unknown.map((name) => finding('kv_orphaned', kvKey(name), 'No tenant has this name.')),
      checked: names.length,
      next,
    }
  },
}

/** The name of a key, if KV has it. */
async function one(env: Env, key: string): Promise<{ names: string[] }> {
  if (!key.startsWith(kvKey('')) || new TextEncoder().encode(key).length > 512) return { names: [] }
  return { names: (await env.TENANTS.get(key)) === null ? [] : [key.slice(kvKey('').length)] }
}
