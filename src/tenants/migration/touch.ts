/** Threat: a tenant that nobody migrated waits for the night, while its users are refused what the newest schema is needed for. */
import { sql } from 'drizzle-orm'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { advance, begin, type Claim, isBehind, LEASE, type Send, start, WAVES } from './fleet.ts'
import { NEWEST } from './versions.ts'

/** How long after one touch an isolate makes no other of the same tenant. */
const TOUCHED_MS = 5_000
const MOST_TOUCHED = 1_000

/** Tenants that were touched, and until when they need no other. Per isolate. */
const touched = new Map<string, number>()

/**
 * Has a tenant migrated that a request was for, if the run has come to those that are awake, or to this one. One round trip to the
 * master, which no request waits for; null when it was asked a moment ago, or when migrations are `manual`. Never fails.
 */
export function migrateOnTouch(env: Env, config: Config, realm_id: string): Promise<unknown> | null {
  if (config.MIGRATIONS === 'manual' || (touched.get(realm_id) ?? 0) > Date.now()) return null
  if (touched.size >= MOST_TOUCHED) touched.clear()
  touched.set(realm_id, Date.now() + TOUCHED_MS)
  return claim(env, config, realm_id).catch((error) =>
    log('migration not started', { tenant: realm_id, error: error instanceof Error ? error.message : String(error) }),
  )
}

async function claim(env: Env, config: Config, realm_id: string): Promise<void> {
  const [claimed] = await batch(config.MASTER_DATABASE_URL, [
    // A move that begins meanwhile waits for this lock, and then sees that the tenant is being migrated.
    sql`with free as (select t.id from platform.tenants t where t.id = ${realm_id} and t.move_id is null for no key update)
        update platform.tenant_migrations m set state = 'running', attempts = m.attempts + 1, started_at = now(), lease_until = now() + ${LEASE}, error = null, step = null
        from platform.migration_runs r, free
        where m.tenant_id = free.id and m.target = ${NEWEST} and r.id = m.run_id and r.state = 'running'
          and (r.wave >= ${WAVES.indexOf('awake')}::integer or m.wave <= r.wave)
          and (m.state = 'pending' or m.state = 'running' and m.lease_until < now())
        returning m.tenant_id, m.target, m.attempts as attempt`,
  ])
  await start(env, (claimed ?? []) as Claim[])
}

/**
 * For the scheduled job: begins a run when tenants are behind that no run to the newest schema has taken up, or whose preset has changed
 * since one was done with them, unless migrations are `manual`; then goes on with the one that is running. Two round trips to the master, three where a run begins.
 */
export async function tendMigrations(env: Env, config: Config, trace_id = newTraceId()): Promise<void> {
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select exists (select from platform.tenants t where ${isBehind} and not exists (
          select from platform.tenant_migrations m where m.tenant_id = t.id and m.target = ${NEWEST} and (m.state <> 'done' or t.schema_version <> ${NEWEST}))) as is_new,
        exists (select from platform.migration_runs r where r.target = ${NEWEST} and r.state <> 'done') as is_known`,
  ])
  const found = rows?.[0]
  if (config.MIGRATIONS === 'automatic' && found?.is_new === true && found.is_known === false) {
    const { MIGRATION_CONCURRENCY: concurrency } = config
    const send: Send = (statements) => batch(config.MASTER_DATABASE_URL, statements, trace_id)
    const run = await begin(send, config, { concurrency, stop_percent: 5, rest: 'tonight' }, trace_id, false)
    log('migration run begun', { run, trace_id })
  }
  await advance(env, config)
}
