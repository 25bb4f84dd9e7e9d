import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from 'cloudflare:workers'
import { NonRetryableError } from 'cloudflare:workflows'
import { sql } from 'drizzle-orm'
import { type Config, configOf } from '../../kernel/config.ts'
import { batch, useSqlUrl } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { keepSpare } from './hosts.ts'
import { jobOf, type MasterRow, openHost } from './job.ts'
import { hasFailed, neonWords, reason } from './neon.ts'
import { NoCapacity } from './opening.ts'
import { type Result, stepNames, steps } from './steps.ts'
import { keepTemplate } from './template.ts'

const TRIES = 8
const LEASE = sql`interval '3 minutes'`

/**
 * Provisions one tenant: one Workflow instance per attempt, its steps in order. The master is authoritative, not the instance:
 * each step is recorded there before it runs, and runs only while its attempt holds the lease.
 */
export class Provisioning extends WorkflowEntrypoint<Env, { run_id: string }> {
  override async run(event: Readonly<WorkflowEvent<{ run_id: string }>>, step: WorkflowStep) {
    const { run_id } = event.payload
    const config = configOf(this.env)
    useSqlUrl(config.NEON_SQL_URL)
    const retries = { limit: TRIES - 1, delay: 400, backoff: 'exponential' as const }
    try {
      // Kept in memory only: a step that finds null here, after a restart, begins itself.
      let begun: Begun | null = null
      // The first, `reserve`, was done by the statement that inserted the tenant.
      for (const [i, name] of stepNames.entries()) {
        if (i === 0) continue
        await step.do(name, { retries, timeout: '2 minutes' }, async () => {
          const mine: Begun | null = begun
          begun = null
          begun = await runStep(this.env, config, run_id, mine ?? (await begin(config, run_id, name)), stepNames[i + 1])
        })
      }
      await step.do('finish', { retries, timeout: '1 minute' }, () => finish(config, run_id, 'done'))
      await step.do('spare', { retries: { limit: 0, delay: 0 }, timeout: '2 minutes' }, () => spare(config, run_id))
    } catch {
      // The step's row has the error.
      await step.do('give up', { retries, timeout: '1 minute' }, () => finish(config, run_id, 'failed'))
    }
  }
}

/** A step that is recorded as running, and what its work needs. `work` is null when it was done before. */
type Begun = {
  name: string
  work: (typeof steps)[string] | null
  trace_id: string
  tenant: MasterRow
  host: MasterRow | null
  results: Record<string, Result>
}

/** The statements that record the start of a step and read what it needs. */
const starting = (run_id: string, name: string) => [
  sql`with held as (update platform.provisioning_runs set lease_until = now() + ${LEASE} where id = ${run_id} and state = 'running' returning tenant_id, trace_id)
      update platform.provisioning_steps s set state = 'running', attempts = s.attempts + 1, started_at = coalesce(s.started_at, now()), trace_id = held.trace_id
      from held where s.tenant_id = held.tenant_id and s.name = ${name} and s.state <> 'done' returning s.tenant_id`,
  sql`select to_jsonb(t) as tenant, to_jsonb(h) as host, r.state, r.trace_id,
        (select jsonb_object_agg(s.name, s.result) from platform.provisioning_steps s where s.tenant_id = t.id) as results
      from platform.provisioning_runs r join platform.tenants t on t.id = r.tenant_id left join platform.hosts h on h.id = t.host_id where r.id = ${run_id}`,
]

/** The step that the statements of `starting` began. Fails when the run has ended. */
function begunBy(name: string, [held, rows]: (Record<string, unknown>[] | undefined)[]): Begun {
  const work = steps[name]
  const found = rows?.[0]
  if (!work || found?.state !== 'running') throw new NonRetryableError('The run was taken over.')
  return {
    name,
    work: held?.length ? work : null,
    trace_id: String(found.trace_id),
    tenant: found.tenant as MasterRow,
    host: found.host as MasterRow | null,
    results: found.results as Record<string, Result>,
  }
}

const begin = async (config: Config, run_id: string, name: string): Promise<Begun> =>
  begunBy(name, await batch(config.MASTER_DATABASE_URL, starting(run_id, name)))

/** Does a step that has begun. One round trip records that it is done and begins the next one. */
async function runStep(env: Env, config: Config, run_id: string, begun: Begun, next: string | undefined): Promise<Begun | null> {
  const { name, work, tenant, host, results, trace_id } = begun
  if (!work) return null
  const record = (state: string, error: string | null, result: Result) =>
    sql`update platform.provisioning_steps set state = ${state}, error = ${error}, result = coalesce(${result ? JSON.stringify(result) : null}::jsonb, result),
          finished_at = case when ${state} = 'done' then now() end
        where tenant_id = ${tenant.id} and name = ${name} and exists (select from platform.provisioning_runs where id = ${run_id} and state = 'running')`
  const about = { tenant: tenant.subdomain ?? null, trace_id, run: run_id, step: name }
  try {
    const result = await work({ ...(await jobOf(config, tenant, host, trace_id)), env, results })
    const [, ...started] = await batch(config.MASTER_DATABASE_URL, [
      record('done', null, result),
      ...(next ? starting(run_id, next) : []),
    ])
    log('provisioning step done', about)
    return next ? begunBy(next, started) : null
  } catch (error) {
    const words = reason(error)
    log('provisioning step failed', { ...about, error: words })
    await batch(config.MASTER_DATABASE_URL, [record('running', words, undefined)])
    // A permanent failure would repeat at each try; only the next run can ask for the database again.
    const isPermanent = error instanceof NoCapacity || (name === 'operations' && hasFailed(error))
    throw isPermanent ? new NonRetryableError(words) : new Error(words)
  }
}

/** Ends a run. When Neon's operations failed, the step `database` is reset too: the next run must ask for new operations. */
async function finish(config: Config, run_id: string, state: 'done' | 'failed'): Promise<void> {
  await batch(config.MASTER_DATABASE_URL, [
    sql`select set_config('access.trace_id', r.trace_id, true) from platform.provisioning_runs r where r.id = ${run_id} and r.trace_id is not null`,
    sql`with ended as (update platform.provisioning_runs set state = ${state}, finished_at = now() where id = ${run_id} and state = 'running' returning tenant_id),
          stopped as (update platform.provisioning_steps s set state = case s.state when 'running' then 'failed' else 'pending' end, finished_at = now() from ended
            where ${state} = 'failed' and s.tenant_id = ended.tenant_id and (s.state = 'running' or s.name = 'database' and exists (
              select from platform.provisioning_steps o where o.tenant_id = s.tenant_id and o.name = 'operations' and o.state = 'running')))
        update platform.tenants t set status = 'failed' from ended where ${state} = 'failed' and t.id = ended.tenant_id and t.status = 'provisioning'`,
  ])
}

/**
 * Sees to the next tenant: opens a spare host, and makes the template of a host that several tenants share. A failure is logged and does no
 * harm: this tenant is ready.
 */
async function spare(config: Config, run_id: string): Promise<void> {
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.isolation, r.trace_id, h.taken, to_jsonb(h) as host
        from platform.provisioning_runs r join platform.tenants t on t.id = r.tenant_id left join platform.hosts h on h.id = t.host_id where r.id = ${run_id}`,
  ])
  const { isolation: kind, trace_id, taken, host } = rows?.[0] ?? {}
  if (kind !== 'database' && kind !== 'branch') return
  await keepSpare(config, kind).catch((error) => log('no spare host', { error: neonWords(error) }))
  if (kind !== 'database' || Number(taken) < 2) return
  await openHost(config, host as MasterRow)
    .then((opened) => keepTemplate(opened, String(trace_id)))
    .catch((error) => log('no template', { error: reason(error) }))
}

/**
 * The statements that start the next attempt to provision a tenant: a run, if none is running, and the steps that are not done
 * yet.
 */
export const nextRun = (tenant_id: string, run_id: string, trace_id: string) => [
  sql`insert into platform.provisioning_runs (id, tenant_id, attempt, state, lease_until, trace_id)
      select ${run_id}, ${tenant_id}, count(*) + 1, 'running', now() + ${LEASE}, ${trace_id} from platform.provisioning_runs where tenant_id = ${tenant_id}
      having exists (select from platform.tenants where id = ${tenant_id} and status = 'provisioning') and not coalesce(bool_or(state = 'running'), false)`,
  sql`insert into platform.provisioning_steps (tenant_id, position, name, state, started_at, finished_at, trace_id)
      select ${tenant_id}, s.position, s.name, case when s.position = 1 then 'done' else 'pending' end, case when s.position = 1 then now() end, case when s.position = 1 then now() end,
        case when s.position = 1 then ${trace_id} end
      from jsonb_array_elements_text(${JSON.stringify(stepNames)}::jsonb) with ordinality as s (name, position)
      where exists (select from platform.provisioning_runs where id = ${run_id})
      on conflict (tenant_id, name) do update set state = 'pending', error = null, started_at = null, finished_at = null where platform.provisioning_steps.state = 'failed'`,
]

/** Starts the Workflow instance of a run. An existing one continues. */
export async function startRun(env: Env, run_id: string): Promise<void> {
  await env.PROVISIONING.create({ id: `prov-${run_id}`, params: { run_id } }).catch((error) => {
    if (!String(error).includes('already_exists')) throw error
  })
}

/**
 * Takes over runs whose lease expired (a killed instance, a lost start): ends them and starts the next attempt where they
 * stopped.
 */
export async function resumeStale(env: Env, config: Config): Promise<number> {
  const [, orphans = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.provisioning_runs set state = 'superseded', finished_at = now() where state = 'running' and lease_until < now()`,
    sql`select t.id, r.id as run_id, r.trace_id from platform.tenants t
        join lateral (select * from platform.provisioning_runs x where x.tenant_id = t.id order by x.attempt desc limit 1) r on r.state <> 'running'
        where t.status = 'provisioning' limit 100`,
  ])
  for (const orphan of orphans) {
    const run_id = crypto.randomUUID()
    await batch(config.MASTER_DATABASE_URL, nextRun(String(orphan.id), run_id, String(orphan.trace_id)))
    const old = await env.PROVISIONING.get(`prov-${orphan.run_id}`).catch(() => null)
    await old?.terminate().catch(() => undefined)
    await startRun(env, run_id)
    log('provisioning taken over', { trace_id: String(orphan.trace_id), run: run_id })
  }
  return orphans.length
}
