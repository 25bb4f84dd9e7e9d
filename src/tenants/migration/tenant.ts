/**
 * Takes one tenant to the newest schema. Threat: of two that work on one tenant, the slower one records what is not so. So an attempt
 * works only while it holds its lease, and each of its steps may be repeated: the ledger in the tenant's database decides what is
 * still to be applied.
 */
import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from 'cloudflare:workers'
import { NonRetryableError } from 'cloudflare:workflows'
import { sql } from 'drizzle-orm'
import { type Config, configOf } from '../../kernel/config.ts'
import { batch, dbError, toProblem, useSqlUrl } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { Problem } from '../../kernel/problem.ts'
import { presetVersion } from '../../presets/version.ts'
import { propagate } from '../lifecycle/lifecycle.ts'
import { tenantMigrations } from '../provisioning/bundled.ts'
import { type Job, jobOf, type MasterRow } from '../provisioning/job.ts'
import { CannotMigrate } from '../provisioning/migrations.ts'
import { reason } from '../provisioning/neon.ts'
import { readDrift, summaryOf } from './drift.ts'
import { advance, type Claim, isHeld, LEASE, whileHeld } from './fleet.ts'
import { keepBranch, traceOf } from './kept.ts'
import { beginPutBack } from './put-back.ts'
import { type UndoWork, undoIn } from './undo.ts'
import { givePreset, lacksPreset, upgrade } from './upgrade.ts'
import { NEWEST } from './versions.ts'

/** With pauses from half a second to 32: a database, or the master, may be away for a minute. */
const TRIES = 8
/** Of errors of the database, those that may be others in a moment: Neon's own (XX), and all that toProblem takes for one that is away. */
function mayPass(error: unknown): boolean {
  if (error instanceof CannotMigrate) return false
  const code = dbError(error)?.code
  const problem = toProblem(error)
  return !code || code.startsWith('XX') || (problem instanceof Problem && problem.code === 'database_unavailable')
}

/** Migrates one tenant, or undoes its migration: one instance per attempt. */
export class Migration extends WorkflowEntrypoint<Env, Claim | UndoWork> {
  override async run({ payload }: Readonly<WorkflowEvent<Claim | UndoWork>>, step: WorkflowStep) {
    const config = configOf(this.env)
    useSqlUrl(config.NEON_SQL_URL)
    if ('undo_id' in payload) return undoIn(step, this.env, config, payload)
    const retries = { limit: TRIES - 1, delay: 500, backoff: 'exponential' as const }
    const held = <T>(work: () => Promise<T>) => whileHeld(config, payload, work)
    let at: 'keep' | 'lease' = 'keep'
    try {
      await step.do('keep', { retries, timeout: '10 minutes' }, () => held(() => keepBranch(config, payload)))
      at = 'lease'
      await step.do('migrate', { retries, timeout: '10 minutes' }, () => held(() => migrateTenant(this.env, config, payload)))
    } catch (error) {
      await step.do('give up', { retries, timeout: '1 minute' }, () => giveUp(config, payload, at, reason(error)))
      const work = await step
        .do('put back', { retries, timeout: '1 minute' }, () => beginPutBack(config, payload))
        .catch(() => null)
      if (work) await undoIn(step, this.env, config, work)
    }
    await step.do('go on', { retries, timeout: '1 minute' }, () => advance(this.env, config))
  }
}

/**
 * Applies what is missing, of the schema and of the preset, and records and publishes it. Repeatable. Three round trips to the master,
 * and one for each minute that it takes; to the tenant's database one for each migration and three, two where the schema is the newest.
 */
async function migrateTenant(env: Env, config: Config, claim: Claim): Promise<void> {
  const { tenant_id, attempt } = claim
  const mine = isHeld(claim)
  const [held] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenant_migrations m set lease_until = now() + ${LEASE} from platform.tenants t
        where ${mine} and t.id = m.tenant_id and t.status in ('active', 'inactive', 'deleted')
        returning to_jsonb(t) as tenant, (select r.trace_id from platform.migration_runs r where r.id = m.run_id) as trace_id`,
  ])
  const found = held?.[0]
  if (!found) return
  const row = found.tenant as MasterRow
  const subdomain = row.subdomain ?? null
  const trace_id = traceOf(tenant_id, found.trace_id)
  let at = 'lease'
  const reached = (step: string) => {
    at = step
  }
  try {
    const { tenant } = await jobOf(config, row, null, trace_id)
    const is_newest = row.schema_version === NEWEST
    const newest = is_newest ? NEWEST : await upgrade(tenant, tenantMigrations, trace_id, reached)
    if (is_newest) await givePreset(tenant, trace_id, reached)
    const drift = await driftOf(tenant, trace_id)
    at = 'record'
    const [, recorded] = await batch(
      config.MASTER_DATABASE_URL,
      [
        sql`update platform.tenants t set schema_version = ${newest}, presets_version = coalesce(${presetVersion(String(row.role_preset))}, t.presets_version)
            where t.id = ${tenant_id} and (t.schema_version is distinct from ${newest} or ${lacksPreset})
              and exists (select from platform.tenant_migrations m where ${mine})`,
        sql`update platform.tenant_migrations m set state = 'done', drift = ${drift && JSON.stringify(drift)}::jsonb, ms = extract(epoch from clock_timestamp() - m.started_at) * 1000, error = null, step = null, finished_at = now()
            where ${mine} returning m.ms`,
      ],
      trace_id,
    )
    // Another attempt has it: that one records it.
    if (!recorded?.length) return log('tenant migrated by another attempt', { tenant: subdomain, trace_id, attempt })
    log('tenant migrated', { tenant: subdomain, trace_id, to: newest, ms: Number(recorded[0]?.ms) })
  } catch (error) {
    const words = reason(error)
    log('tenant not migrated', { tenant: subdomain, trace_id, step: at, error: words })
    // A master that is away is told nothing: then giving up says why.
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.tenant_migrations m set error = ${words}, step = ${at} where ${mine}`,
    ]).catch(() => undefined)
    throw mayPass(error) ? error : new NonRetryableError(words)
  }
  // What is published says nothing of presets.
  if (row.schema_version === NEWEST) return
  // What fails here the scheduled job mends: published_v is less than v.
  await propagate({ env, config, meter: { master: 0 }, trace_id }, tenant_id).catch((error) =>
    log('tenant not published', { tenant: subdomain, trace_id, error: String(error) }),
  )
}

/** What the report says of a tenant's drift, which fails no migration; null when it could not be read. One round trip. */
async function driftOf({ owner_url, subdomain: tenant }: Job['tenant'], trace_id: string) {
  try {
    const drift = owner_url ? summaryOf(await readDrift(owner_url)) : null
    if (drift?.count) log('tenant drifted', { tenant, trace_id, objects: drift.count })
    return drift
  } catch (error) {
    log('drift not read', { tenant, trace_id, error: reason(error) })
    return null
  }
}

/** `at`: the step, where the attempt could not say it itself. */
async function giveUp(config: Config, claim: Claim, at: string, words: string): Promise<void> {
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenant_migrations m set state = 'failed', error = coalesce(m.error, ${words}), step = coalesce(m.step, ${at}),
          ms = extract(epoch from clock_timestamp() - m.started_at) * 1000, finished_at = now()
        where ${isHeld(claim)}`,
  ])
}
