/**
 * Wiping out an organization. Threat: another one than was meant, or users with more power than the caller's. The database compares
 * the name, stands over each user and begins once (wiping.sql); the scheduled job does the rest.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { rowsOf } from '../kernel/wire.ts'
import { firstOrNotFound, type OrganizationWire, one } from './organizations.ts'

export const WipeQuery = z.object({
  confirm: z.string().max(280).optional().openapi({ description: 'The name of the organization, as it is written' }),
  people: z.enum(['keep', 'deactivate', 'erase']).default('keep').openapi({
    description: 'What becomes of its users: they stay without it, are deactivated, or are erased (GDPR 17)',
  }),
  dry_run: z.enum(['true', 'false']).default('false'),
})

/** What goes with an organization. */
export const WipeCounts = z
  .object({
    people: z.int(),
    active_people: z.int(),
    employees: z.int().openapi({ description: 'They stay, in no unit' }),
    units: z.int().openapi({ description: 'Below the one that it is' }),
    roles: z.int().openapi({ description: 'Assignments that end: held within it' }),
  })
  .openapi('WipeCounts')

const ending = (id: string, { confirm, people, dry_run }: z.infer<typeof WipeQuery>) =>
  sql`select access.end_organization(${id}::uuid, ${confirm ?? null}::text, ${people}, ${dry_run === 'true'}) as counts`

/** Counts what would go. One round trip; `organization:delete` at scope `all`. Fails with not_found, forbidden. */
export async function countWipe(ctx: Ctx, id: string, query: z.infer<typeof WipeQuery>): Promise<z.infer<typeof WipeCounts>> {
  const [result] = await ctx.run(ctx.db.execute(ending(id, { ...query, dry_run: 'true' })))
  const [row] = rowsOf<{ counts: z.infer<typeof WipeCounts> }>(result)
  if (!row) throw new Error('Nothing was counted.')
  return row.counts
}

/**
 * Begins to wipe an organization out. One round trip; `organization:delete` at scope `all`, and `user:update`, or `user:delete` when
 * its users go with it. Fails with not_found, invalid_request (another name), illegal_state (it has begun), forbidden (users with
 * more power over others; the caller's own organization).
 */
export async function wipeOrganization(ctx: Ctx, id: string, query: z.infer<typeof WipeQuery>): Promise<OrganizationWire> {
  const [, result] = await ctx.run(ctx.db.execute(ending(id, query)), ctx.db.execute(one(id)))
  return firstOrNotFound(result)
}
