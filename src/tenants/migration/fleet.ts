/**
 * Runs that take all tenants to the newest schema. Threat: a migration that fails on one database fails on all of them, and stops
 * the service; or a process that dies half-way leaves nobody to go on. So a run goes wave by wave, stops when too many fail, and
 * is rows of the master alone: whoever calls `advance` starts what comes next, under the lock of the run's row.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch, brokenConstraint } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { Problem } from '../../kernel/problem.ts'
import { lacksPreset } from './upgrade.ts'
import { NEWEST, OLDER } from './versions.ts'

/** The waves, in order: their places are the numbers in the master. */
export const WAVES = ['canary', 'one_percent', 'ten_percent', 'awake', 'rest'] as const
const AWAKE = WAVES.indexOf('awake')
const REST = WAVES.indexOf('rest')
/** Nobody works on a tenant whose lease ran out: the next `advance` gives it to somebody else. */
export const LEASE = sql`interval '3 minutes'`

const older = sql`array(select jsonb_array_elements_text(${JSON.stringify(OLDER)}::jsonb))`

/** Tenants that have a database of an older schema, or their preset as another release has it, from `platform.tenants t`. */
export const isBehind = sql`(t.schema_version = any (${older}) or t.schema_version = ${NEWEST} and ${lacksPreset})
  and t.status in ('active', 'inactive', 'deleted')`

/** Each tenant that is behind, with the wave that it belongs to. The canary: the one that the setting names, else a demo. */
const waves = ({ MIGRATION_CANARY }: Config): SQL => sql`
  select b.id, b.schema_version,
    case when b.n = 1 then 0 when b.n <= 1 + ceil(b.total * 0.01) then 1 when b.n <= 1 + ceil(b.total * 0.11) then 2 when b.is_awake then ${AWAKE}::integer else ${REST}::integer end as wave
  from (
    select t.id, t.schema_version, count(*) over () as total, coalesce(m.active_until > now() - interval '10 minutes', false) as is_awake,
      row_number() over (order by t.subdomain = ${MIGRATION_CANARY ?? ''} desc, t.status = 'active' desc, t.environment = 'demo' desc, md5(t.id::text)) as n
    from platform.tenants t left join platform.maintenance m on m.realm_id = t.id
    where ${isBehind}
  ) b`

/** How many tenants are behind, for anybody who asks. One round trip to the master, as its reader. */
export async function countBehind(config: Config): Promise<number> {
  const [rows] = await batch(config.MASTER_READER_URL, [
    sql`select count(*)::integer as n from platform.tenants t where ${isBehind}`,
  ])
  return Number(rows?.[0]?.n)
}

/** A run to an older schema, which this release goes beyond, is not gone on with. */
const SUPERSEDE = sql`update platform.migration_runs r set state = 'stopped', finished_at = now(), reason = 'A later release was deployed.'
  where r.state = 'running' and r.target = any (${older})`

export type Wanted = { concurrency: number; stop_percent: number; rest: 'now' | 'tonight' }

/** How many tenants each wave would have. One round trip. */
export async function planned(send: Send, config: Config): Promise<number[]> {
  const [rows = []] = await send([sql`select w.wave, count(*)::integer as tenants from (${waves(config)}) w group by w.wave`])
  const counts = new Map(rows.map(({ wave, tenants }) => [Number(wave), Number(tenants)]))
  return WAVES.map((_, wave) => counts.get(wave) ?? 0)
}

/** The hour (UTC) from which on the tenants of the last wave are migrated. */
const NIGHT = sql`date_trunc('day', now() + interval '22 hours') + interval '2 hours'`

/** Sends statements to the master as one transaction, and returns the rows of each. */
export type Send = (statements: SQL[]) => Promise<Record<string, unknown>[][]>

/**
 * Begins a run: all tenants that are behind, each in its wave. A tenant has one row for each schema: one that was in an earlier run to
 * this one, which did not finish it or gave it an older preset, belongs to this run, and goes on counting its attempts. A tenant whose
 * migration was undone is left out, unless an operator begins the run.
 * Returns the run's id; null when nobody is behind. One round trip. Two, and fails with illegal_state, when a run is running.
 */
export async function begin(
  send: Send,
  config: Config,
  { concurrency, stop_percent, rest }: Wanted,
  trace_id: string,
  take_undone = true,
): Promise<string | null> {
  const id = crypto.randomUUID()
  const rest_from = rest === 'now' ? sql`now()` : NIGHT
  const statements = [
    SUPERSEDE,
    sql`insert into platform.migration_runs (id, target, state, concurrency, stop_percent, rest_from, trace_id)
        select ${id}, ${NEWEST}, 'running', ${concurrency}, ${stop_percent}, ${rest_from}, ${trace_id} where exists (select from platform.tenants t where ${isBehind}) returning id`,
    sql`insert into platform.tenant_migrations as m (tenant_id, target, run_id, wave, state, from_version)
        select w.id, ${NEWEST}, ${id}, w.wave, 'pending', w.schema_version from (${waves(config)}) w where exists (select from platform.migration_runs where id = ${id})
        on conflict (tenant_id, target) do update set run_id = excluded.run_id, wave = excluded.wave, from_version = excluded.from_version,
          error = null, step = null, drift = null, ms = null, finished_at = null,
          state = case when m.state = 'running' and m.lease_until > now() then 'running' else 'pending' end
        where m.state <> 'undoing' and (${take_undone} or m.state <> 'undone')`,
  ]
  const [, made] = await send(statements).catch((error) => sayWhichRuns(send, error))
  return made?.length ? id : null
}

/** Fails with illegal_state that names the run that is running, where that is the reason; else with the error. One round trip. */
async function sayWhichRuns(send: Send, error: unknown): Promise<never> {
  if (brokenConstraint(error) !== 'migration_runs_one_running') throw error
  const [running] = await send([sql`select r.id from platform.migration_runs r where r.state = 'running'`])
  const id = running?.[0]?.id
  // It ended between the two.
  if (!id) throw new Problem('illegal_state', 'A migration run was running: try again.')
  throw new Problem('illegal_state', `Migration run ${id} is running: GET /platform/v1/migrations/${id} shows it.`)
}

/** A tenant that somebody has to migrate now. */
export type Claim = { tenant_id: string; target: string; attempt: number }

/** The attempt, of `platform.tenant_migrations m`, while no later one has begun. */
export const isHeld = ({ tenant_id, target, attempt }: Claim) =>
  sql`m.tenant_id = ${tenant_id} and m.target = ${target} and m.attempts = ${attempt} and m.state = 'running'`

/** A third of the lease: an attempt that works keeps it, and one whose Worker was killed loses it. */
const BEAT_MS = 60_000

/** Does the work of an attempt, whose lease is renewed for as long as that takes. */
export async function whileHeld<T>(config: Config, claim: Claim, work: () => Promise<T>): Promise<T> {
  const renewed = sql`update platform.tenant_migrations m set lease_until = now() + ${LEASE} where ${isHeld(claim)}`
  const beat = setInterval(() => void batch(config.MASTER_DATABASE_URL, [renewed]).catch(() => undefined), BEAT_MS)
  try {
    return await work()
  } finally {
    clearInterval(beat)
  }
}

/**
 * Starts what comes next in the run that is running: ends it or stops it, opens the next wave, and starts an instance for each
 * tenant that there is room for. Any number of callers may call it at once. One round trip to the master.
 */
export async function advance(env: Env, config: Config): Promise<void> {
  const run = sql`(select r.id from platform.migration_runs r where r.state = 'running')`
  // Each tenant that is done calls this, so nothing here may read every row of the run: an index has each state that is asked for.
  const open = sql`m.run_id = ${run} and m.wave <= (select r.wave from platform.migration_runs r where r.state = 'running')`
  const pending = sql`platform.tenant_migrations m where m.run_id = ${run} and m.state = 'pending'`
  const running = sql`platform.tenant_migrations m where m.run_id = ${run} and m.state = 'running'`
  const results = await batch(config.MASTER_DATABASE_URL, [
    SUPERSEDE,
    sql`select r.id from platform.migration_runs r where r.state = 'running' for update`,
    sql`update platform.tenant_migrations m set state = 'pending' where m.state = 'running' and m.lease_until < now()`,
    // As many may fail as are the share of all tenants that the run has opened. Of these no more are counted than say that they are enough.
    sql`update platform.migration_runs r set state = 'stopped', finished_at = now(), reason = format('%s of %s tenants failed', c.failed, c.total)
        from (select f.failed, (select count(*) from (select from platform.tenant_migrations m where ${open} limit f.failed * 100 / nullif(f.stop_percent, 0) + 1) o) as total
          from (select r.stop_percent, (select count(*) from platform.tenant_migrations m where ${open} and m.state = 'failed') as failed from platform.migration_runs r where r.state = 'running') f
          where f.failed > 0) c
        where r.state = 'running' and c.failed * 100 > r.stop_percent * c.total returning r.id, r.reason`,
    sql`update platform.migration_runs r set wave = n.wave
        from (select least((select min(m.wave) from ${pending}), (select min(m.wave) from ${running})) as wave) n
        where r.state = 'running' and n.wave > r.wave and (n.wave < ${REST}::integer or r.rest_from <= now())`,
    sql`update platform.migration_runs r set state = 'done', finished_at = now()
        where r.state = 'running' and not exists (select from ${pending}) and not exists (select from ${running}) returning r.id`,
    sql`update platform.tenant_migrations m set state = 'running', attempts = m.attempts + 1, started_at = now(), lease_until = now() + ${LEASE}, error = null, step = null
        where m.target = ${NEWEST} and m.tenant_id in (
          select m.tenant_id from platform.tenant_migrations m join platform.tenants t on t.id = m.tenant_id and t.move_id is null
          where m.state = 'pending' and m.target = ${NEWEST} and ${open} order by m.wave, m.tenant_id
          limit (select greatest(0, r.concurrency - (select count(*) from platform.tenant_migrations x where x.run_id = r.id and x.state = 'running')) from platform.migration_runs r where r.id = ${run})
          for no key update skip locked)
        returning m.tenant_id, m.target, m.attempts as attempt`,
  ])
  const [, , , stopped = [], , done = [], claimed = []] = results
  for (const { id, reason } of stopped) log('migration run stopped', { run: String(id), reason: String(reason) })
  for (const { id } of done) log('migration run done', { run: String(id) })
  await start(env, claimed as Claim[])
}

/** Starts the Workflow instance of each attempt; one that exists goes on. */
export async function start(env: Env, claims: Claim[]): Promise<void> {
  for (const claim of claims) {
    const id = `mig-${claim.tenant_id}-${/\/(\d+)/.exec(claim.target)?.[1] ?? '0'}-${claim.attempt}`
    await env.MIGRATION.create({ id, params: claim }).catch((error) => {
      if (!String(error).includes('already_exists'))
        log('migration not started', { tenant: claim.tenant_id, error: String(error) })
    })
  }
}

/** Goes on with a run that stopped or ended: what failed is tried again. One round trip. Fails with not_found, illegal_state. */
export async function resume(send: Send, id: string): Promise<void> {
  const [resumed, , found] = await send([
    sql`update platform.migration_runs r set state = 'running', reason = null, finished_at = null
        where r.id = ${id} and r.target = ${NEWEST} and (r.state = 'stopped' or r.state = 'done' and exists (
          select from platform.tenant_migrations m where m.run_id = r.id and m.state = 'failed')) returning r.id`,
    sql`update platform.tenant_migrations m set state = 'pending', error = null, step = null
        where m.run_id = ${id} and m.state = 'failed' and exists (select from platform.migration_runs r where r.id = m.run_id and r.state = 'running')`,
    sql`select r.state, r.target from platform.migration_runs r where r.id = ${id}`,
  ]).catch((error) => sayWhichRuns(send, error))
  const run = found?.[0]
  if (!run) throw new Problem('not_found')
  if (resumed?.length) return
  if (run.target !== NEWEST) throw new Problem('illegal_state', 'That run was to an older schema: start a new one.')
  throw new Problem('illegal_state', 'There is nothing to resume: the run is running, or nothing of it failed.')
}
