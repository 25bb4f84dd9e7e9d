/** Migration runs as the platform API returns them: the plan, a run with its waves, and the report on each tenant. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../../kernel/cursor.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { DriftSummary } from './drift.ts'
import { begin, planned, resume, type Send, WAVES, type Wanted } from './fleet.ts'
import { NEWEST } from './versions.ts'

const Wave = z.enum(WAVES)
const State = z.enum(['pending', 'running', 'done', 'failed', 'undoing', 'undone'])

export const MigrationPlan = z
  .object({
    target: z.string().openapi({ description: 'The newest migration' }),
    tenants: z
      .int()
      .openapi({ description: 'Tenants that are behind: on an older schema, or with their preset of another release' }),
    waves: z.array(z.object({ wave: Wave, tenants: z.int() })),
  })
  .openapi('MigrationPlan')

export const NewMigrationRun = z
  .object({
    concurrency: z.int().min(1).max(100).optional().openapi({ description: 'Tenants at once. Default: MIGRATION_CONCURRENCY' }),
    stop_percent: z
      .int()
      .min(0)
      .max(100)
      .default(5)
      .openapi({ description: 'The run stops when more than this share of the tenants so far failed' }),
    rest: z
      .enum(['now', 'tonight'])
      .default('tonight')
      .openapi({ description: 'When tenants are migrated that are not awake: at once, or from two in the morning (UTC) on' }),
  })
  .openapi('NewMigrationRun')

export const MigrationRun = z
  .object({
    id: z.uuid(),
    target: z.string(),
    state: z.enum(['running', 'stopped', 'done']),
    reason: z.string().nullable().openapi({ description: 'Why it stopped' }),
    wave: Wave.openapi({ description: 'The wave that is being migrated' }),
    concurrency: z.int(),
    stop_percent: z.int(),
    rest_from: z.iso.datetime(),
    tenants: z.object({ pending: z.int(), running: z.int(), done: z.int(), failed: z.int(), undone: z.int() }),
    drifted: z.int().openapi({ description: 'Tenants of it whose database is not as the migrations make it' }),
    created_at: z.iso.datetime(),
    finished_at: z.iso.datetime().nullable(),
  })
  .openapi('MigrationRun')
export const MigrationRunList = pageOf(MigrationRun).openapi('MigrationRunList')

export const TenantMigration = z
  .object({
    tenant_id: z.uuid(),
    subdomain: z.string(),
    wave: Wave,
    state: State,
    from: z.string().nullable(),
    to: z.string(),
    attempts: z.int(),
    ms: z.int().nullable().openapi({ description: 'How long its last attempt took, in milliseconds' }),
    step: z.string().nullable().openapi({
      description:
        'Where it failed: keep (the branch that is kept of before), lease, ledger, the name of a migration, presets or record',
    }),
    error: z.string().nullable(),
    drift: DriftSummary.nullable().openapi({
      description:
        'Objects that are not as the migrations make them, after its last attempt: their number, and the first 20; null: not known',
    }),
    finished_at: z.iso.datetime().nullable(),
  })
  .openapi('TenantMigration')
export const TenantMigrationList = pageOf(TenantMigration).openapi('TenantMigrationList')
export const ReportQuery = Page.extend({ state: State.optional(), drifted: z.enum(['true', 'false']).optional() })

type Run = z.infer<typeof MigrationRun>
const nameOf = (wave: unknown) => WAVES[Number(wave)] ?? 'rest'

const IS_DRIFTED = sql`coalesce((m.drift ->> 'count')::integer > 0, false)`
const shown = sql`select r.id, r.target, r.state, r.reason, r.wave, r.concurrency, r.stop_percent, ${rfc3339('r.rest_from')} as rest_from,
  ${rfc3339('r.created_at')} as created_at, ${rfc3339('r.finished_at')} as finished_at,
  (select jsonb_build_object('pending', count(*) filter (where m.state = 'pending'), 'running', count(*) filter (where m.state = 'running'),
    'done', count(*) filter (where m.state = 'done'), 'failed', count(*) filter (where m.state = 'failed'),
    'undone', count(*) filter (where m.state in ('undoing', 'undone')))
   from platform.tenant_migrations m where m.run_id = r.id) as tenants,
  (select count(*)::integer from platform.tenant_migrations m where m.run_id = r.id and ${IS_DRIFTED}) as drifted
  from platform.migration_runs r`
const wire = (row: Record<string, unknown>) => ({ ...row, wave: nameOf(row.wave) }) as Run

/** Statements of an operator who was admitted. */
const sendFor =
  (ctx: Ctx): Send =>
  async (statements) =>
    (await ctx.run(...statements.map((statement) => ctx.db.execute(statement)))).map((result) =>
      rowsOf<Record<string, unknown>>(result),
    )

/** Which tenants are behind, by wave. One round trip to the master; `tenant:read`. */
export async function getPlan(ctx: Ctx): Promise<z.infer<typeof MigrationPlan>> {
  const counts = await planned(sendFor(ctx), ctx.config)
  const waves = WAVES.map((wave, place) => ({ wave, tenants: counts[place] ?? 0 }))
  return { target: NEWEST, tenants: counts.reduce((sum, each) => sum + each, 0), waves }
}

/**
 * Begins a run; the caller advances it. Two round trips to the master; `tenant:update`. Fails with illegal_state when one is
 * running, or when no tenant is behind.
 */
export async function createRun(ctx: Ctx, wanted: z.infer<typeof NewMigrationRun>): Promise<Run> {
  const given: Wanted = { ...wanted, concurrency: wanted.concurrency ?? ctx.config.MIGRATION_CONCURRENCY }
  const id = await begin(sendFor(ctx), ctx.config, given, ctx.request.trace_id)
  if (!id) throw new Problem('illegal_state', 'No tenant is behind the newest schema or its preset.')
  return getRun(ctx, id)
}

/** One run. One round trip to the master; `tenant:read`. Fails with not_found. */
export async function getRun(ctx: Ctx, id: string): Promise<Run> {
  const [result] = await ctx.run(ctx.db.execute(sql`${shown} where r.id = ${id}`))
  const [row] = rowsOf<Record<string, unknown>>(result)
  if (!row) throw new Problem('not_found')
  return wire(row)
}

/** All runs, newest first. One round trip to the master; `tenant:read`. Fails with invalid_cursor. */
export async function listRuns(ctx: Ctx, { limit, cursor }: z.infer<typeof Page>): Promise<z.infer<typeof MigrationRunList>> {
  const [at, id] = (await readCursor(ctx.realm, 'migrations', cursor)) ?? []
  const after = at === undefined ? sql`` : sql`where (r.created_at, r.id) < (${at}::timestamptz, ${id}::uuid)`
  const [result] = await ctx.run(ctx.db.execute(sql`${shown} ${after} order by r.created_at desc, r.id desc limit ${limit + 1}`))
  const rows = rowsOf<Record<string, unknown>>(result).map(wire)
  return paged(ctx.realm, 'migrations', rows, limit, (row) => [row.created_at, row.id])
}

/** The report of a run: each tenant, by wave. One round trip to the master; `tenant:read`. Fails with not_found, invalid_cursor. */
export async function getReport(
  ctx: Ctx,
  id: string,
  { limit, cursor, state, drifted }: z.infer<typeof ReportQuery>,
): Promise<z.infer<typeof TenantMigrationList>> {
  const name = `migrations:${id}:${state ?? ''}:${drifted ?? ''}`
  const only = [state ? sql`and m.state = ${state}` : sql``, drifted ? sql`and ${IS_DRIFTED} = ${drifted === 'true'}` : sql``]
  const [wave, last] = (await readCursor(ctx.realm, name, cursor)) ?? []
  const after = wave === undefined ? sql`` : sql`and (m.wave, m.tenant_id) > (${wave}::integer, ${last}::uuid)`
  const [run, result] = await ctx.run(
    ctx.db.execute(sql`select r.id from platform.migration_runs r where r.id = ${id}`),
    ctx.db.execute(sql`select m.tenant_id, t.subdomain, m.wave, m.state, m.from_version as from, m.target as to, m.attempts, m.ms, m.step, m.error, m.drift,
        ${rfc3339('m.finished_at')} as finished_at
      from platform.tenant_migrations m join platform.tenants t on t.id = m.tenant_id
      where m.run_id = ${id} ${sql.join(only)} ${after} order by m.wave, m.tenant_id limit ${limit + 1}`),
  )
  if (!rowsOf(run).length) throw new Problem('not_found')
  const rows = rowsOf<Record<string, unknown>>(result)
  const page = await paged(ctx.realm, name, rows, limit, (row) => [String(row.wave), String(row.tenant_id)])
  return { ...page, data: page.data.map((row) => ({ ...row, wave: nameOf(row.wave) }) as z.infer<typeof TenantMigration>) }
}

/**
 * Tries again what failed in a run that stopped or ended; the caller advances it. Two round trips to the master; `tenant:update`.
 * Fails with not_found, illegal_state.
 */
export async function resumeRun(ctx: Ctx, id: string): Promise<Run> {
  await resume(sendFor(ctx), id)
  return getRun(ctx, id)
}
