/**
 * What one tenant uses. Threat: a tenant's database that does not answer, or Neon, keeps an operator waiting or hides all else. So each is
 * asked beside the other and given up after a few seconds; what did not answer is null and named.
 */
import { z } from '@hono/zod-openapi'
import { raw } from '@neon/sdk'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { Problem } from '../../kernel/problem.ts'
import { rowsOf } from '../../kernel/wire.ts'
import { jobOf, type MasterRow } from '../provisioning/job.ts'
import { neonApi, neonWords } from '../provisioning/neon.ts'

/** How long the tenant's database, and Neon, may take: also to wake. */
const PATIENCE_MS = 5_000

const Reason = z.enum(['database_did_not_answer', 'no_database', 'neon_did_not_answer', 'compute_is_shared', 'not_ours'])
type Reason = z.infer<typeof Reason>

export const TenantUsage = z
  .object({
    tenant_id: z.uuid(),
    as_of: z.iso.datetime(),
    people: z.int().nullable().openapi({ description: 'Active users' }),
    sessions: z.int().nullable().openapi({ description: 'Sessions that are neither ended nor expired' }),
    storage_bytes: z.int().nullable().openapi({ description: 'The size of its database' }),
    compute_seconds: z.int().nullable().openapi({
      description:
        'Compute-unit seconds of its project at Neon since the month (UTC) began: seconds times the size of the compute in CU',
    }),
    month_began_at: z.iso.datetime(),
    missing: z
      .array(z.object({ field: z.enum(['people', 'sessions', 'storage_bytes', 'compute_seconds']), reason: Reason }))
      .openapi({
        description:
          'What is null, and why: `compute_is_shared` where its compute is in a project with others, `not_ours` where the database is in an account of somebody else',
      }),
  })
  .openapi('TenantUsage')
export type TenantUsage = z.infer<typeof TenantUsage>

type Inside = { people: number; sessions: number; storage_bytes: number }
const INSIDE = ['people', 'sessions', 'storage_bytes'] as const

/**
 * What a tenant uses now. Two round trips to the master; beside each other one to the tenant's database, which wakes its compute, and up
 * to two to Neon's API, of an isolation `project`. `tenant:read`. Fails with not_found.
 */
export async function getUsage(ctx: Ctx, id: string): Promise<TenantUsage> {
  const [result] = await ctx.run(ctx.db.execute(sql`select t.status from platform.tenants t where t.id = ${id}`))
  if (!rowsOf(result).length) throw new Problem('not_found')
  const { config, request } = ctx
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.id, t.subdomain, t.owner_url_encrypted, t.isolation, h.kind, h.project_id, h.account, h.organization
      from platform.tenants t left join platform.hosts h on h.id = t.host_id where t.id = ${id}`,
  ])
  const row = (rows?.[0] ?? {}) as MasterRow
  const month = new Date(Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth())).toISOString()
  const about = { tenant: row.subdomain ?? id, trace_id: request.trace_id }
  const [inside, compute] = await Promise.all([
    readInside(config, row, request.trace_id).catch((error) => unanswered('database_did_not_answer', error, about)),
    readCompute(config, row, month).catch((error) => unanswered('neon_did_not_answer', error, about)),
  ])
  return {
    tenant_id: id,
    as_of: new Date().toISOString(),
    people: null,
    sessions: null,
    storage_bytes: null,
    ...(typeof inside === 'string' ? {} : inside),
    compute_seconds: typeof compute === 'string' ? null : compute,
    month_began_at: month,
    missing: [
      ...(typeof inside === 'string' ? INSIDE.map((field) => ({ field, reason: inside })) : []),
      ...(typeof compute === 'string' ? [{ field: 'compute_seconds' as const, reason: compute }] : []),
    ],
  }
}

function unanswered(reason: Reason, error: unknown, about: { tenant: string; trace_id: string }): Reason {
  log('usage not known', { ...about, reason, error: neonWords(error) })
  return reason
}

/** What a tenant's database says of itself, to its owner login. One round trip. Fails when it does not answer soon. */
async function readInside(config: Config, row: MasterRow, trace_id: string): Promise<Inside | Reason> {
  const { owner_url } = (
    await jobOf(config, { id: row.id ?? null, owner_url_encrypted: row.owner_url_encrypted ?? null }, null, trace_id)
  ).tenant
  if (!owner_url) return 'no_database'
  const statements = [
    sql`set transaction read only`,
    // For its login, which may connect: its role may not.
    sql`select pg_database_size(current_database())::float8 as storage_bytes`,
    sql`set local role freehold_owner`,
    sql`select ((select count(*) from freehold.users) - (select count(*) from freehold.users u where not u.is_active))::integer as people,
        (select count(*) from freehold.sessions s, freehold.tenant t
          where s.ended_at is null and s.expires_at > now() and s.last_active_at > now() - access.idle_limit(t))::integer as sessions`,
  ]
  const [, [size] = [], , [found] = []] = await batch(owner_url, statements, null, PATIENCE_MS)
  return { ...found, ...size } as Inside
}

/** The compute of a tenant's own project since a moment, in compute-unit seconds. Fails when Neon does not answer soon, or has no such project. */
async function readCompute(config: Config, { kind, project_id, ...at }: MasterRow, from: string): Promise<number | Reason> {
  if (kind === 'external') return 'not_ours'
  if (!kind) return 'no_database'
  if (kind !== 'project' || !project_id) return 'compute_is_shared'
  const signal = AbortSignal.timeout(PATIENCE_MS)
  const neon = neonApi(config, { requestTimeoutMs: PATIENCE_MS, retries: 0, at: at })
  const org_id = at.organization || config.NEON_ORG_ID || (await organizationOf(neon.client, project_id, signal))
  const to = new Date(Date.now() + 60_000).toISOString()
  const { projects } = await raw.getConsumptionHistoryPerProjectV2({
    client: neon.client,
    query: { from, to, granularity: 'daily', org_id, project_ids: [project_id], metrics: ['compute_unit_seconds'] },
    throwOnError: true,
    signal,
  })
  const values = projects
    .filter((project) => project.project_id === project_id)
    .flatMap(({ periods }) => periods.flatMap(({ consumption }) => consumption.flatMap(({ metrics = [] }) => metrics)))
  return Math.round(values.reduce((sum, { metric_name, value }) => sum + (metric_name === 'compute_unit_seconds' ? value : 0), 0))
}

/** The organization that a project is of: its key does not say. */
async function organizationOf(client: ReturnType<typeof neonApi>['client'], project_id: string, signal: AbortSignal) {
  const { project } = await raw.getProject({ client, path: { project_id }, throwOnError: true, signal })
  return project.org_id ?? project.owner_id
}
