/** Moves of tenants as the platform API returns and begins them. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../../kernel/context.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { NEWEST } from '../migration/versions.ts'
import { mustBeAvailable } from '../provisioning/new-tenant.ts'
import { STEPS } from './move.ts'
import { LEASE, type MoveWork } from './place.ts'

const To = z.enum(['database', 'project'])
const From = z.enum(['database', 'branch', 'project'])

export const NewMove = z
  .object({
    isolation: To.openapi({
      description: 'Where the tenant is moved: `database` is a shared host, `project` a project of its own',
    }),
    region: z
      .string()
      .regex(/^[a-z0-9-]{1,60}$/, 'must be the id of a region of Neon')
      .optional()
      .openapi({
        description: 'With isolation `project`. Default: NEON_REGION. A tenant that has a project is moved to another region',
      }),
  })
  .openapi('NewTenantMove')

export const TenantMove = z
  .object({
    tenant_id: z.uuid(),
    subdomain: z.string(),
    isolation: z.string(),
    region: z.string(),
    newest: z
      .object({
        id: z.uuid(),
        from_isolation: From,
        isolation: To,
        region: z.string(),
        state: z.enum(['running', 'done', 'failed']),
        steps: z.array(z.object({ name: z.string(), state: z.enum(['pending', 'running', 'done', 'failed']) })),
        error: z.string().nullable().openapi({ description: 'Why it failed, or why the step is tried again' }),
        rows_copied: z.int(),
        closed_at: z.iso
          .datetime()
          .nullable()
          .openapi({ description: 'From then until `exchanged_at` requests that write were answered with 503' }),
        exchanged_at: z.iso.datetime().nullable().openapi({ description: 'Since then the new database is the tenant’s' }),
        created_at: z.iso.datetime(),
        finished_at: z.iso.datetime().nullable(),
        left_until: z.iso
          .datetime()
          .nullable()
          .openapi({ description: 'From then on the database that is not the tenant’s is removed; null: there is none' }),
      })
      .nullable(),
  })
  .openapi('TenantMove')
type Shown = z.infer<typeof TenantMove>

const shown = (id: string) => sql`select t.subdomain, t.status, t.isolation, t.region, t.schema_version, t.move_id,
    t.rotating_since is not null or t.refresh_key_from > now() as is_rotating,
    exists (select from platform.tenant_migrations m where m.tenant_id = t.id and m.state in ('running', 'undoing')) as is_migrating,
    (select jsonb_build_object('id', m.id, 'from_isolation', m.from_isolation, 'isolation', m.isolation, 'region', m.region, 'state', m.state, 'step', m.step, 'error', m.error,
        'rows_copied', coalesce((select sum(c.n::integer) from jsonb_each_text(m.copied) c (name, n)), 0), 'closed_at', ${rfc3339('m.closed_at')}, 'exchanged_at', ${rfc3339('m.exchanged_at')},
        'created_at', ${rfc3339('m.created_at')}, 'finished_at', ${rfc3339('m.finished_at')}, 'left_until', ${rfc3339('m.left_until')})
      from platform.tenant_moves m where m.tenant_id = t.id order by m.created_at desc, m.id desc limit 1) as newest
  from platform.tenants t where t.id = ${id}`

type Row = Pick<Shown, 'subdomain' | 'isolation' | 'region'> & {
  status: string
  schema_version: string | null
  move_id: string | null
  is_rotating: boolean
  is_migrating: boolean
  newest: (Omit<NonNullable<Shown['newest']>, 'steps'> & { step: string }) | null
}

/** Why a tenant cannot be moved there now; null: it can. */
function refusal(row: Row, { isolation, region }: z.infer<typeof NewMove>): Problem | null {
  if (row.status !== 'active' && row.status !== 'inactive') return new Problem('illegal_state', `The tenant is ${row.status}.`)
  if (row.move_id !== null || row.newest?.state === 'running')
    return new Problem('illegal_state', 'The tenant is being moved, or restored to an earlier moment.')
  if (row.isolation === 'external')
    return new Problem(
      'illegal_state',
      'The database of the tenant is its owner’s, who alone moves it: Freehold only adopted it.',
    )
  if (row.isolation === isolation && isolation === 'project' && region === undefined)
    return new Problem(
      'illegal_state',
      `The tenant has isolation project, in ${row.region}: to move it to another region, give region.`,
    )
  if (row.isolation === isolation && (isolation !== 'project' || row.region === region))
    return new Problem('illegal_state', `The tenant has isolation ${isolation}, in ${row.region}.`)
  if (row.newest?.left_until)
    return new Problem('illegal_state', 'What the last move left is not removed yet: try again in some minutes.')
  if (row.is_migrating) return new Problem('illegal_state', 'The tenant is being migrated.')
  if (row.is_rotating) return new Problem('illegal_state', 'The keys of the tenant are being rotated: try again in some minutes.')
  if (row.schema_version !== NEWEST)
    return new Problem(
      'illegal_state',
      `The tenant has the schema ${row.schema_version}, and this release makes ${NEWEST}: migrate it first.`,
    )
  return null
}

/** What a move has done: the steps before the one that is recorded, and that one. */
function stepsOf({ step, state }: { step: string; state: string }) {
  const at = state === 'done' ? STEPS.length : (STEPS as readonly string[]).indexOf(step)
  const now = state === 'failed' ? ('failed' as const) : ('running' as const)
  return STEPS.map((name, i) => ({ name, state: i < at ? ('done' as const) : i === at ? now : ('pending' as const) }))
}

function wire(id: string, { subdomain, isolation, region, newest }: Row): Shown {
  if (!newest) return { tenant_id: id, subdomain, isolation, region, newest: null }
  const { step, ...move } = newest
  return { tenant_id: id, subdomain, isolation, region, newest: { ...move, steps: stepsOf({ step, state: move.state }) } }
}

/** Where a tenant is, and its newest move. One round trip; `tenant:read`. Fails with not_found. */
export async function getMove(ctx: Ctx, id: string): Promise<Shown> {
  const [result] = await ctx.run(ctx.db.execute(shown(id)))
  const [row] = rowsOf<Row>(result)
  if (!row) throw new Problem('not_found')
  return wire(id, row)
}

/**
 * Begins to move a tenant. Of any number of callers at once one does. One round trip, two with a region; `tenant:update`. Fails with
 * not_found, invalid_request (the region), illegal_state: says why.
 */
export async function beginMove(ctx: Ctx, id: string, wanted: z.infer<typeof NewMove>): Promise<{ work: MoveWork; move: Shown }> {
  const { isolation, region = ctx.config.NEON_REGION } = wanted
  const is_elsewhere = sql`(t.isolation <> ${isolation} or ${isolation} = 'project' and t.region <> ${wanted.region ?? null})`
  if (region !== ctx.config.NEON_REGION) await mustBeAvailable(ctx.config, { isolation, region })
  const move_id = crypto.randomUUID()
  const [, before, , begun, after] = await ctx.run(
    // First, and by itself: whoever begins to migrate the tenant has this lock, and the next statement sees that it did.
    ctx.db.execute(sql`select t.id from platform.tenants t where t.id = ${id} for no key update`),
    ctx.db.execute(shown(id)),
    ctx.db.execute(sql`update platform.tenants t set move_id = ${move_id}
        where t.id = ${id} and t.move_id is null and t.status in ('active', 'inactive') and t.isolation <> 'external' and ${is_elsewhere}
          and t.schema_version = ${NEWEST} and t.rotating_since is null and coalesce(t.refresh_key_from, '-infinity') <= now()
          and not exists (select from platform.tenant_migrations m where m.tenant_id = t.id and m.state in ('running', 'undoing'))
          and not exists (select from platform.tenant_moves m where m.tenant_id = t.id and (m.state = 'running' or m.left_until is not null))`),
    ctx.db.execute(sql`insert into platform.tenant_moves (id, tenant_id, from_isolation, isolation, region, state, step, attempts, lease_until, trace_id)
        select ${move_id}, t.id, t.isolation, ${isolation}, ${region}, 'running', ${STEPS[0]},
          platform.next_fence_attempt(t.id), now() + ${LEASE}, ${ctx.request.trace_id}
        from platform.tenants t where t.id = ${id} and t.move_id = ${move_id} returning attempts as attempt`),
    ctx.db.execute(shown(id)),
  )
  const [now] = rowsOf<Row>(after)
  if (!now) throw new Problem('not_found')
  const [work] = rowsOf<{ attempt: number }>(begun)
  if (work) return { work: { move_id, attempt: work.attempt }, move: wire(id, now) }
  const [then] = rowsOf<Row>(before)
  throw (
    (then && refusal(then, wanted)) ??
    new Problem('illegal_state', 'The tenant is being moved, or restored to an earlier moment.')
  )
}
