/** Writes entries of the registry to KV. Threat: KV says of a name what was true before, and nobody writes it again. */
import { sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { FORMER, type Former } from './former.ts'
import { ENTRY, type Entry, forgetUnknown, kvKey, learn, type Sources } from './registry.ts'
import { signed } from './signature.ts'

/**
 * Writes a tenant's entry to KV, and what its former names say where that changed; records in the master which version KV has. This
 * isolate says at once what the names say now. Two round trips to the master.
 */
export async function publish({ env, config, meter }: Sources, tenant_id: string): Promise<void> {
  meter.master++
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select ${ENTRY} as entry, coalesce((select jsonb_agg(${FORMER}) from platform.subdomains n where n.tenant_id = t.id and n.until > now() and n.v > t.published_v), '[]') as former
        from platform.tenants t where t.id = ${tenant_id}`,
  ])
  const found = rows?.[0] as { entry: Entry; former: Former[] } | undefined
  if (!found) return
  const { entry, former } = found
  forgetUnknown(entry.subdomain)
  learn(entry, former)
  try {
    // The new name first: where the former one leads must be there.
    await env.TENANTS.put(kvKey(entry.subdomain), await signed(config, entry))
    for (const one of former) await env.TENANTS.put(kvKey(one.former), await signed(config, one))
  } catch (error) {
    // KV accepts one write a second to a key. The scheduled job writes the entry later.
    return log('registry entry not published', { tenant: entry.subdomain, v: entry.v, error: String(error) })
  }
  meter.master++
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants set published_v = ${entry.v} where id = ${tenant_id} and published_v < ${entry.v}`,
  ])
}
