/**
 * Ends the time for which tenants keep their former names. Threat: a name is given away while something still takes it for its former
 * tenant's. So a name that is over is taken out of the entry of its tenant, which is published again, and out of KV.
 */
import { sql } from 'drizzle-orm'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { deleteEntries } from './kv-pass.ts'

/** The keys of an invocation; more are ended in the next minute. */
const MOST = 50

/**
 * For the scheduled job: frees names whose time is over, and notes those of tenants that an earlier release made. Returns the freed
 * names. One round trip to the master, and what `deleteEntries` takes. A key that is not deleted now is deleted by the comparison of KV.
 */
export async function freeSubdomains(env: Env, config: Config, trace_id = newTraceId()): Promise<string[]> {
  const over = sql`select s.name from platform.subdomains s where s.until <= now() order by s.until, s.name limit ${MOST}`
  const [, , freed = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`insert into platform.subdomains (name, tenant_id, v) select t.subdomain, t.id, t.v from platform.tenants t
        where not exists (select from platform.subdomains s where s.name = t.subdomain) on conflict do nothing`,
    // The tenants first: in this order a rename locks them, too.
    sql`update platform.tenants t set v = nextval('platform.registry_v')
        where t.id in (select s.tenant_id from platform.subdomains s where s.name in (${over}))`,
    sql`delete from platform.subdomains s where s.until <= now() and s.name in (${over}) returning s.name`,
  ])
  const names = freed.map(({ name }) => String(name))
  if (names.length) log('subdomains freed', { names: names.join(' '), trace_id })
  await deleteEntries(env, config, names, trace_id)
  return names
}
