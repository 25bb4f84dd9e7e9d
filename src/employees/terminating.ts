/** The end of an employment, and its undoing: one function of the database each (terminating.sql), which decides who may. */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Moment, Text } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { type EmployeeWire, firstOrNotFound, one } from './employees.ts'

export const Termination = z
  .object({
    reason: Text(500),
    at: Moment.optional().openapi({ description: 'When it ends; now, if absent. The account of the employee ends with it' }),
  })
  .openapi('Termination')

async function decided(ctx: Ctx, id: string, statement: SQL): Promise<EmployeeWire> {
  const [answer, result] = await ctx.run(ctx.db.execute(statement), ctx.db.execute(one(id)))
  if (!rowsOf<{ was_there: boolean }>(answer)[0]?.was_there) throw new Problem('not_found')
  return firstOrNotFound(result)
}

/**
 * Ends an employment, now or at a moment to come. The account of the employee is deactivated at that moment: its sessions, API keys and
 * delegations end. One round trip; `employee:update`, and the standing over the account that deactivating it needs. Fails with not_found,
 * forbidden, illegal_state (twice, oneself, or the last administrator), invalid_request (before it began).
 */
export const terminate = (ctx: Ctx, id: string, { reason, at }: z.infer<typeof Termination>): Promise<EmployeeWire> =>
  decided(ctx, id, sql`select access.terminate_employee(${id}, ${reason}, ${at ?? null}::timestamptz) as was_there`)

/**
 * Undoes a termination. The account comes back if it was switched off by it; its sessions, keys and delegations do not. One round trip;
 * `employee:update`. Fails with not_found, forbidden, illegal_state (there is none), limit_reached.
 */
export const reinstate = (ctx: Ctx, id: string): Promise<EmployeeWire> =>
  decided(ctx, id, sql`select access.reinstate_employee(${id}) as was_there`)
