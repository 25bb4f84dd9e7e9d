import { sql } from 'drizzle-orm'
import type { Config } from '../kernel/config.ts'
import { batch } from '../kernel/db.ts'
import type { Env } from '../kernel/env.ts'
import { decrypt } from '../kernel/keyring.ts'
import { log } from '../kernel/log.ts'
import type { Meter } from '../kernel/route.ts'
import { type Entry, kvKey, publish } from './registry.ts'

type Sources = { env: Env; config: Config; meter: Meter }

/**
 * Carries a tenant's state from the master to where it takes effect: the row in the tenant's own database, which every admission reads, and
 * KV. Repeatable; what fails half-way has published_v behind v, and the scheduled job does it again.
 */
export async function spread({ env, config, meter }: Sources, tenant_id: string): Promise<void> {
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select status, subdomain, owner_url_sealed from platform.tenants where id = ${tenant_id} and status in ('active', 'inactive')`,
  ])
  const tenant = rows?.[0]
  if (!tenant) return
  const owner_url = await decrypt(config.ENCRYPTION_KEYS, tenant_id, 'owner_url', String(tenant.owner_url_sealed))
  await batch(owner_url, [
    sql`set local role freehold_owner`,
    sql`update freehold.tenant set is_active = ${tenant.status === 'active'}, subdomain = ${tenant.subdomain}, updated_at = now()
        where id = ${tenant_id} and (is_active, subdomain) is distinct from (${tenant.status === 'active'}, ${tenant.subdomain})`,
  ])
  await publish({ env, config, meter }, tenant_id)
}

const PAGE = 100

/** The scheduled mending: states that did not arrive, and entries of KV that are not what the master says. Returns what it mended. */
export async function mend(env: Env, config: Config): Promise<number> {
  const sources = { env, config, meter: { master: 0 } }
  let mended = 0
  let after = '00000000-0000-0000-0000-000000000000'
  for (;;) {
    const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select id, subdomain, v, published_v from platform.tenants where status in ('active', 'inactive') and id > ${after} order by id limit ${PAGE}`,
    ])
    if (rows.length === 0) return mended
    const kept = await env.TENANTS.get<Entry>(
      rows.map((row) => kvKey(String(row.subdomain))),
      'json',
    )
    for (const row of rows) {
      const entry = kept.get(kvKey(String(row.subdomain)))
      if (entry?.v === Number(row.v) && Number(row.published_v) === Number(row.v)) continue
      await spread(sources, String(row.id))
      mended++
      log('registry mended', { tenant: String(row.subdomain), v: Number(row.v), kv: entry?.v ?? null })
    }
    if (rows.length < PAGE) return mended
    after = String(rows.at(-1)?.id)
  }
}
