/**
 * Writes entries of the registry to KV. Threat: KV says of a name what was true before, and nobody writes it again. KV has no condition: of two
 * who write at once, the one that read the master earlier may write later. The master has one: each writes down which version it published
 * where nobody else did since it read, and otherwise that the entry is to be written again.
 */
import { sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { FORMER, type Former } from './former.ts'
import { ENTRY, type Entry, forgetUnknown, kvKey, learn, type Sources } from './registry.ts'
import { signed } from './signature.ts'

/** How often an entry is written at once when others publish it, too; then the scheduled job does. */
const ROUNDS = 3

/**
 * Writes a tenant's entry to KV, and what its former names say where that changed; records in the master which version KV has. This
 * isolate says at once what the names say now. Two round trips to the master; where somebody else published meanwhile, it is written again,
 * three times in all.
 */
export async function publish(sources: Sources, tenant_id: string): Promise<void> {
  for (let round = 1; round <= ROUNDS; round++) if (await publishOnce(sources, tenant_id)) return
}

/** False: somebody else published meanwhile, so KV may have the older entry; `published_v` is -1. */
async function publishOnce({ env, config, meter }: Sources, tenant_id: string): Promise<boolean> {
  meter.master++
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select ${ENTRY} as entry, t.published_v, coalesce((select jsonb_agg(${FORMER}) from platform.subdomains n where n.tenant_id = t.id and n.until > now() and n.v > t.published_v), '[]') as former
        from platform.tenants t where t.id = ${tenant_id}`,
  ])
  const found = rows?.[0] as { entry: Entry; former: Former[]; published_v: string } | undefined
  if (!found) return true
  const { entry, former, published_v } = found
  forgetUnknown(entry.subdomain)
  learn(entry, former)
  try {
    // The new name first: where the former one leads must be there.
    await env.TENANTS.put(kvKey(entry.subdomain), await signed(config, entry))
    for (const one of former) await env.TENANTS.put(kvKey(one.former), await signed(config, one))
  } catch (error) {
    // KV accepts one write a second to a key. The scheduled job writes the entry later.
    log('registry entry not published', { tenant: entry.subdomain, v: entry.v, error: String(error) })
    return true
  }
  meter.master++
  const [written] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants t set published_v = case when t.published_v = ${published_v}::bigint then ${entry.v}::bigint else -1 end
        where t.id = ${tenant_id} and t.published_v <> ${entry.v}::bigint returning t.published_v`,
  ])
  return Number(written?.[0]?.published_v) !== -1
}
