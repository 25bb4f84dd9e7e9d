/** What is proven of a new database before it becomes the tenant's. */
import { NonRetryableError } from 'cloudflare:workflows'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { decrypt } from '../../kernel/keyring.ts'
import { systemKeyOf } from '../../kernel/token.ts'
import { differencesBetween } from '../migration/drift.ts'
import { FINGERPRINT, fingerprintOf, STEADY } from '../migration/fingerprint.ts'
import { hostOf, type Job } from '../provisioning/job.ts'
import { verifyIsolation } from '../provisioning/verify-isolation.ts'

const MOST_NAMED = 5

async function fingerprint(url: string) {
  const [, , objects = []] = await batch(url, [sql`set local role freehold_owner`, sql.raw(STEADY), sql.raw(FINGERPRINT)])
  return fingerprintOf(objects)
}

/** Fails when two databases are not made of the same tables, functions, policies and grants: one was changed by hand. */
export async function mustBeAlike(one: string, other: string): Promise<void> {
  const differs = differencesBetween(await fingerprint(one), await fingerprint(other))
  if (!differs.length) return
  const named = differs.slice(0, MOST_NAMED).map(({ object, state }) => `${object} ${state}`)
  throw new NonRetryableError(`The database is not as the migrations make it, so the new one is another: ${named.join(', ')}.`)
}

/** The new logins may do what they must, and nothing else, here and elsewhere. */
export async function prove(config: Config, other: Job, urls: { app_url: string; owner_url: string }, refresh_key: string) {
  const { id } = other.tenant
  const host = hostOf(other)
  const [[neighbour] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.id, t.app_url_encrypted from platform.tenants t where t.host_id = ${host.id} and t.id <> ${id} and t.status = 'active' limit 1`,
  ])
  const foreign = neighbour
    ? [await decrypt(config.ENCRYPTION_KEYS, String(neighbour.id), 'app_url', String(neighbour.app_url_encrypted))]
    : []
  const proven = { id, ...urls, system_key: await systemKeyOf(refresh_key) }
  await verifyIsolation(proven, [config.MASTER_DATABASE_URL, host.owner_url, ...foreign])
}
