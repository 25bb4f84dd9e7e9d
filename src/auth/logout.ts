/** Logout: the caller ends their own session, or all of them. */
import { and, eq, isNull, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { sessions } from '../sessions/table.ts'

/** Ends the caller's session. One round trip. */
export async function logout(ctx: Ctx): Promise<void> {
  await ctx.run(
    ctx.db
      .update(sessions)
      .set({ ended_at: sql`now()`, ended_because: 'logout' })
      .where(eq(sessions.id, sql`(select access.session())`)),
  )
}

/** Ends all sessions of the caller, including this one, and forgets the devices that were remembered. One round trip. */
export async function logoutAll(ctx: Ctx): Promise<void> {
  await ctx.run(
    ctx.db.execute(sql`select set_config('access.forget', 'all', true), access.lock_user((select access.principal()))`),
    ctx.db
      .update(sessions)
      .set({ ended_at: sql`now()`, ended_because: 'logout' })
      .where(and(eq(sessions.user_id, sql`(select access.principal())`), isNull(sessions.ended_at))),
  )
}
