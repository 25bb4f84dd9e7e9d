/** Undos of migrations as the platform API returns and begins them. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { batch } from '../../kernel/db.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { LEASE } from '../migration/fleet.ts'
import { type Kept, UNDO_TRACES } from '../migration/kept.ts'
import { firstAttempt } from '../migration/put-back.ts'
import type { UndoWork } from '../migration/undo.ts'
import { type Written, writtenSince } from '../migration/writes.ts'
import { jobOf, type MasterRow } from '../provisioning/job.ts'

const Writes = z.array(
  z.object({
    table: z.string(),
    written: z.int().openapi({ description: 'Rows that were inserted or changed since, and would be gone' }),
    restored: z.int().openapi({ description: 'Rows that were changed or deleted since, and would be as they were' }),
  }),
)

export const NewMigrationUndo = z
  .object({ discard_writes: z.boolean().default(false).openapi({ description: 'Undo it although rows were written since' }) })
  .openapi('NewMigrationUndo')

export const MigrationUndo = z
  .object({
    tenant_id: z.uuid(),
    subdomain: z.string(),
    schema_version: z.string().nullable(),
    is_possible: z.boolean(),
    reason: z.string().nullable().openapi({ description: 'Why nothing can be undone now' }),
    undo_to: z.string().nullable().openapi({ description: 'The newest migration in the branch that is kept' }),
    kept_until: z.iso.datetime().nullable(),
    writes: Writes.nullable().openapi({ description: 'What was written since that branch was taken; null: none is kept' }),
    newest: z
      .object({
        id: z.uuid(),
        state: z.enum(['running', 'done', 'refused', 'failed']),
        is_automatic: z.boolean().openapi({ description: 'Begun because a migration failed, by nobody' }),
        discard_writes: z.boolean(),
        writes: Writes.nullable().openapi({ description: 'What was lost, or was the reason of the refusal' }),
        branch_left: z.string().nullable().openapi({ description: "The branch at Neon that was the tenant's before" }),
        error: z.string().nullable(),
        created_at: z.iso.datetime(),
        finished_at: z.iso.datetime().nullable(),
      })
      .nullable(),
  })
  .openapi('MigrationUndo')
type Shown = z.infer<typeof MigrationUndo>

const newest = sql`(select jsonb_build_object('id', u.id, 'state', u.state, 'is_automatic', u.is_automatic, 'discard_writes', u.discard_writes, 'writes', u.writes, 'error', u.error,
    'branch_left', case when u.state = 'done' then u.parent_id end, 'created_at', ${rfc3339('u.created_at')}, 'finished_at', ${rfc3339('u.finished_at')})
  from platform.migration_undos u where u.tenant_id = t.id order by u.created_at desc limit 1)`

const shown = (
  id: string,
) => sql`select t.subdomain, t.status, t.isolation, t.schema_version, t.move_id, t.rotating_since is not null or t.refresh_key_from > now() as is_rotating,
    k.branch_id, k.refused, k.from_version, k.kept_until > now() as is_kept, ${rfc3339('k.kept_until')} as kept_until,
    array(select m.state from platform.tenant_migrations m where m.tenant_id = t.id) as states, ${newest} as newest
  from platform.tenants t left join platform.kept_branches k on k.tenant_id = t.id where t.id = ${id}`

/** Why the migration of a tenant cannot be undone now; null: it can. */
function refusal(row: Record<string, unknown>): Problem | null {
  const states = row.states as string[]
  const { status, isolation, refused } = row
  if (isolation !== 'branch' && isolation !== 'project')
    return new Problem(
      'illegal_state',
      `A tenant of isolation ${isolation} has no branch of its own, one of isolation branch or project has: each of its migrations is one transaction.`,
    )
  if (states.includes('undoing')) return new Problem('illegal_state', 'The migration of this tenant is being undone.')
  if (status !== 'active' && status !== 'inactive') return new Problem('illegal_state', `The tenant is ${status}.`)
  if (states.includes('running')) return new Problem('illegal_state', 'This tenant is being migrated.')
  if (row.move_id) return new Problem('illegal_state', 'The tenant is being moved, or restored to an earlier moment.')
  if (row.branch_id && row.is_kept) {
    if (!row.is_rotating) return null
    return new Problem('illegal_state', 'The keys of this tenant are being rotated: undo the migration some minutes later.')
  }
  if (refused)
    return new Problem(
      'illegal_state',
      `There is nothing to undo: Neon had no room for the branch of before the migration (${refused}).`,
    )
  if (states.includes('undone')) return new Problem('illegal_state', 'The migration of this tenant is undone already.')
  return new Problem('illegal_state', 'There is nothing to undo: no branch of before a migration is kept.')
}

/** What was written since the kept branch was taken. One round trip to the master, and two to the tenant's database. */
async function written(config: Config, id: string): Promise<Written[] | null> {
  const [[kept] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select to_jsonb(k) as kept, to_jsonb(t) as tenant, ${UNDO_TRACES} as traces from platform.kept_branches k join platform.tenants t on t.id = k.tenant_id where k.tenant_id = ${id}`,
  ])
  if (!kept) return null
  const { before, trace_id } = kept.kept as Kept
  const { tenant } = await jobOf(config, kept.tenant as MasterRow, null, trace_id)
  return writtenSince(String(tenant.owner_url), before, [trace_id, ...(kept.traces as string[])])
}

/** The row of `shown`. One round trip. Fails with not_found. */
async function found(ctx: Ctx, id: string): Promise<Record<string, unknown>> {
  const [result] = await ctx.run(ctx.db.execute(shown(id)))
  const [row] = rowsOf<Record<string, unknown>>(result)
  if (!row) throw new Problem('not_found')
  return row
}

/** What could be undone of a tenant, what that would lose, and its newest undo. One round trip; `tenant:read`. Fails with not_found. */
export const getUndo = async (ctx: Ctx, id: string): Promise<Shown> => wire(ctx, id, await found(ctx, id))

async function wire(ctx: Ctx, id: string, row: Record<string, unknown>): Promise<Shown> {
  const reason = refusal(row)?.message ?? null
  const kept = row.branch_id && row.is_kept ? row : { from_version: null, kept_until: null }
  return {
    tenant_id: id,
    subdomain: String(row.subdomain),
    schema_version: row.schema_version as string | null,
    is_possible: reason === null,
    reason,
    undo_to: kept.from_version as string | null,
    kept_until: kept.kept_until as string | null,
    writes: reason === null ? await written(ctx.config, id) : null,
    newest: row.newest as Shown['newest'],
  }
}

/**
 * Begins to undo the last migration of a tenant. Of any number of callers at once one does. Two round trips; `tenant:update`. Fails
 * with not_found, illegal_state: says why, or how much was written since.
 */
export async function beginUndo(ctx: Ctx, id: string, discard_writes: boolean): Promise<{ work: UndoWork; undo: Shown }> {
  const problem = refusal(await found(ctx, id))
  if (problem) throw problem
  const writes = discard_writes ? [] : await written(ctx.config, id)
  if (writes?.length) {
    const errors = writes.map(({ table, written, restored }) => ({
      pointer: '#/discard_writes',
      detail: `${table}: ${written} written, ${restored} changed or deleted`,
    }))
    throw new Problem('illegal_state', 'Rows were written since the migration, which would be lost: discard_writes loses them.', {
      errors,
    })
  }
  const undo_id = crypto.randomUUID()
  const [begun, now] = await ctx.run(
    ctx.db.execute(sql`with free as (select f.id from platform.tenants f where f.id = ${id} and f.move_id is null for no key update), taken as (
        update platform.tenant_migrations m set state = 'undoing' from platform.kept_branches k, platform.tenant_migrations o, platform.tenants t, free
        where m.tenant_id = free.id and k.tenant_id = m.tenant_id and k.target = m.target and o.tenant_id = m.tenant_id and o.target = m.target and t.id = m.tenant_id
          and m.state in ('done', 'failed') and k.branch_id is not null and k.kept_until > now() and t.status in ('active', 'inactive')
          and t.rotating_since is null and coalesce(t.refresh_key_from, '-infinity') <= now()
          and not exists (select from platform.tenant_migrations x where x.tenant_id = m.tenant_id and x.state in ('running', 'undoing'))
        returning m.tenant_id, m.target, o.state as was, k.branch_id, k.parent_id)
      insert into platform.migration_undos (id, tenant_id, target, branch_id, parent_id, state, is_automatic, discard_writes, was, attempts, lease_until, trace_id)
      select ${undo_id}, x.tenant_id, x.target, x.branch_id, x.parent_id, 'running', false, ${discard_writes}, x.was, ${firstAttempt(sql`x.tenant_id`)}, now() + ${LEASE}, ${ctx.request.trace_id} from taken x
      returning attempts as attempt`),
    ctx.db.execute(shown(id)),
  )
  const [work] = rowsOf<{ attempt: number }>(begun)
  const [row] = rowsOf<Record<string, unknown>>(now)
  if (work && row) return { work: { undo_id, attempt: work.attempt }, undo: await wire(ctx, id, row) }
  throw (row && refusal(row)) ?? new Problem('illegal_state', 'The migration of this tenant is being undone.')
}
