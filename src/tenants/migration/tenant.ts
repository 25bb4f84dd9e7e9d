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
import { propagate } from '../lifecycle/lifecycle.ts'
import { tenantMigrations } from '../provisioning/bundled.ts'
import { jobOf, type MasterRow } from '../provisioning/job.ts'
import { reason } from '../provisioning/neon.ts'
import { advance, type Claim, LEASE } from './fleet.ts'
import { upgrade } from './upgrade.ts'

const TRIES = 4

/** Migrates one tenant: one instance per attempt. */
export class Migration extends WorkflowEntrypoint<Env, Claim> {
  override async run({ payload }: Readonly<WorkflowEvent<Claim>>, step: WorkflowStep) {
    const config = configOf(this.env)
    useSqlUrl(config.NEON_SQL_URL)
    const retries = { limit: TRIES - 1, delay: 500, backoff: 'exponential' as const }
    try {
      await step.do('migrate', { retries, timeout: '10 minutes' }, () => migrateTenant(this.env, config, payload))
    } catch (error) {
      await step.do('give up', { retries, timeout: '1 minute' }, () => giveUp(config, payload, reason(error)))
    }
    await step.do('go on', { retries, timeout: '1 minute' }, () => advance(this.env, config))
  }
}

/** Applies what is missing, and records and publishes it. Repeatable. Three round trips to the master, one for each migration. */
async function migrateTenant(env: Env, config: Config, { tenant_id, target, attempt }: Claim): Promise<void> {
  const mine = sql`m.tenant_id = ${tenant_id} and m.target = ${target} and m.attempts = ${attempt} and m.state = 'running'`
  const [held] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenant_migrations m set lease_until = now() + ${LEASE} from platform.tenants t
        where ${mine} and t.id = m.tenant_id and t.status in ('active', 'inactive', 'deleted')
        returning to_jsonb(t) as tenant, (select r.trace_id from platform.migration_runs r where r.id = m.run_id) as trace_id`,
  ])
  const found = held?.[0]
  if (!found) return
  const trace_id = String(found.trace_id ?? tenant_id.replaceAll('-', ''))
  const { tenant } = await jobOf(config, found.tenant as MasterRow, null, trace_id)
  try {
    const newest = await upgrade(tenant, tenantMigrations, trace_id)
    await batch(
      config.MASTER_DATABASE_URL,
      [
        sql`update platform.tenants t set schema_version = ${newest} where t.id = ${tenant_id} and t.schema_version is distinct from ${newest}`,
        sql`update platform.tenant_migrations m set state = 'done', ms = extract(epoch from clock_timestamp() - m.started_at) * 1000, error = null, finished_at = now() where ${mine}`,
      ],
      trace_id,
    )
    log('tenant migrated', { tenant: tenant.subdomain, trace_id, to: newest })
  } catch (error) {
    const words = reason(error)
    log('tenant not migrated', { tenant: tenant.subdomain, trace_id, error: words })
    await batch(config.MASTER_DATABASE_URL, [sql`update platform.tenant_migrations m set error = ${words} where ${mine}`])
    // What the database refuses it refuses again; only one that does not answer may do so in a moment.
    throw dbError(error)?.code && !(toProblem(error) instanceof Problem) ? new NonRetryableError(words) : error
  }
  // What fails here the scheduled job mends: published_v is less than v.
  await propagate({ env, config, meter: { master: 0 }, trace_id }, tenant_id).catch((error) =>
    log('tenant not published', { tenant: tenant.subdomain, trace_id, error: String(error) }),
  )
}

async function giveUp(config: Config, { tenant_id, target, attempt }: Claim, words: string): Promise<void> {
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenant_migrations m set state = 'failed', error = coalesce(m.error, ${words}), finished_at = now()
        where m.tenant_id = ${tenant_id} and m.target = ${target} and m.attempts = ${attempt} and m.state = 'running'`,
  ])
}
