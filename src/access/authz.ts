import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { type Ctx, question } from '../kernel/context.ts'
import { paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Line, Moment } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'

const Scope = z.enum(['all', 'department', 'team', 'own'])
export const Permission = z.string().regex(/^[a-z][a-z0-9_-]{0,62}:[a-z][a-z0-9_-]{0,31}$/, 'must be resource:action')

const Reason = z.object({
  kind: z.enum(['role', 'inherited', 'override', 'delegation']),
  id: z.uuid(),
  name: z.string(),
  /** The role that it was inherited through, or that was delegated; for a delegated role, the delegator. */
  via: z.string().nullable(),
})

const Question = z
  .strictObject({
    user_id: z.uuid().optional(),
    permission: Permission.optional(),
    any_of: z.array(Permission).min(1).max(50).optional(),
    role: Line(64).optional(),
    resource: z.strictObject({ owner_id: z.uuid().optional(), unit_id: z.uuid().optional() }).optional(),
  })
  .refine((q) => [q.permission, q.any_of, q.role].filter((asked) => asked !== undefined).length === 1, {
    message: 'ask for one of permission, any_of, role',
    path: ['permission'],
  })

export const Questions = z.object({ checks: z.array(Question).min(1).max(100) }).openapi('Questions')
export const Answers = z
  .object({ results: z.array(z.object({ allowed: z.boolean(), scope: Scope.nullable(), because: z.array(Reason) })) })
  .openapi('Answers')

export const At = z.object({ at: Moment.optional() })
export const Explained = z
  .object({
    user_id: z.uuid(),
    at: z.iso.datetime(),
    roles: z.array(z.string()),
    permissions: z.array(z.object({ permission: z.string(), scope: Scope, because: z.array(Reason.extend({ scope: Scope })) })),
  })
  .openapi('HeldPermissions')

export const Holders = pageOf(z.object({ user_id: z.uuid(), username: z.string(), scope: Scope })).openapi('Holders')

const CHECK = question(sql`access.ask(${sql.placeholder('checks')}::jsonb)`)

/**
 * Answers up to 100 questions, in order, each with at most 50 reasons. One round trip. Anybody may ask about themselves; about others,
 * user:read with a scope that covers them. Fails with invalid_request (an unknown permission or role), not_found (an unknown
 * user).
 */
export async function check(ctx: Ctx, { checks }: z.infer<typeof Questions>): Promise<z.infer<typeof Answers>> {
  return { results: await ctx.ask<z.infer<typeof Answers>['results']>(CHECK, { checks: JSON.stringify(checks) }) }
}

/**
 * The permissions of a user, now or at a past time, each with at most 50 reasons. One round trip; `user:read`. Fails with not_found,
 * invalid_request.
 */
export async function explain(ctx: Ctx, user_id: string, at: string | undefined): Promise<z.infer<typeof Explained>> {
  const [result] = await ctx.run(ctx.db.execute(sql`select access.explain(${user_id}, ${at ?? null}::timestamptz) as explained`))
  const explained = result.rows[0]?.explained as z.infer<typeof Explained> | null
  if (!explained) throw new Problem('not_found')
  return explained
}

/**
 * The users who hold a permission, now or at a past time, sorted by id. One round trip; `permission:read`, whose scope limits the
 * users.
 */
export async function holders(
  ctx: Ctx,
  permission: string,
  { at, limit, cursor }: { at?: string | undefined; limit: number; cursor?: string | undefined },
): Promise<z.infer<typeof Holders>> {
  const list = `holders:${permission}:${at ?? ''}`
  const after = (await readCursor(ctx.realm, list, cursor))?.[0] ?? null
  const [result] = await ctx.run(
    ctx.db.execute(sql`select * from access.holders(${permission}, ${at ?? null}::timestamptz, ${after}::uuid, ${limit + 1})`),
  )
  const rows = result.rows as z.infer<typeof Holders>['data']
  return paged(ctx.realm, list, rows, limit, (row) => [row.user_id])
}
