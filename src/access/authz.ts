import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { type Ctx, question } from '../kernel/context.ts'
import { paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Line, Moment } from '../kernel/fields.ts'
import { type Language, Problem } from '../kernel/problem.ts'

/** `organization`: of a role that is held within an organization only. */
const Scope = z.enum(['all', 'organization', 'department', 'team', 'own'])
export const Permission = z.string().regex(/^[a-z][a-z0-9_-]{0,62}:[a-z][a-z0-9_-]{0,31}$/, 'must be resource:action')

const Reason = z.object({
  kind: z.enum(['role', 'inherited', 'override', 'delegation']),
  effect: z.enum(['grant', 'deny']),
  id: z.uuid(),
  name: z.string(),
  /** The role that it was inherited through, or that was delegated; for a delegated role, the delegator; the type of a competency. */
  via: z.string().nullable(),
})
/** Of a `competency`: the least level of it that would do. */
const level = z.int().min(1).max(5).optional()

const Because = Reason.extend({
  kind: z.enum([...Reason.shape.kind.options, 'competency', 'not_held', 'out_of_scope', 'inactive', 'api_key']).openapi({
    description:
      'Why not: an `override` that denies it; `competency`: a role carries it, and demands one that the user does not have; `not_held`; `out_of_scope`: held, but not as far as the resource; `inactive`: the user; `api_key`: the key of this request does not name it',
  }),
  id: z
    .uuid()
    .nullable()
    .openapi({ description: 'Of the role, override, delegation, competency type or API key; null for the other kinds' }),
  level,
})

const Denial = Reason.extend({ kind: z.enum(['override', 'competency']), level })

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

export const Questions = z
  .object({
    checks: z.array(Question).min(1).max(100),
    at: Moment.optional().openapi({
      description: 'A past moment, for what was allowed then. Where users and units are is as it is now',
    }),
  })
  .openapi('Questions')

const Answer = z.object({
  allowed: z.boolean(),
  scope: Scope.nullable(),
  because: z.array(Because),
  error: z
    .object({ code: z.enum(['not_found', 'invalid_request']), detail: z.string(), pointer: z.string() })
    .optional()
    .openapi({ description: 'What of the check has no answer; the other permissions of an `any_of` are decided' }),
})
export const Answers = z.object({ results: z.array(Answer) }).openapi('Answers')

export const At = z.object({ at: Moment.optional() })
export const Explained = z
  .object({
    user_id: z.uuid(),
    at: z.iso.datetime(),
    roles: z.array(z.string()),
    permissions: z.array(z.object({ permission: z.string(), scope: Scope, because: z.array(Reason.extend({ scope: Scope })) })),
    denials: z.array(z.object({ permission: z.string(), because: z.array(Denial) })),
  })
  .openapi('HeldPermissions')

export const Holders = pageOf(z.object({ user_id: z.uuid(), username: z.string(), scope: Scope })).openapi('Holders')

const CHECK = question(sql`access.ask(${sql.placeholder('checks')}::jsonb)`)
const CHECK_AT = question(sql`access.ask(${sql.placeholder('checks')}::jsonb, ${sql.placeholder('at')}::timestamptz)`)

/** An answer as the database gives it: what has no answer is named, and described here. */
type Answered = Omit<z.infer<typeof Answer>, 'error'> & {
  error?: { code: 'not_found'; field: 'user_id' } | { code: 'invalid_request'; field: string; names: string[] }
}

/** How many names a sentence lists: a longer one would not be translated (src/i18n/language.ts). */
const LISTED = 10

/**
 * Answers up to 100 questions, of now or of a past moment, in order, each with at most 50 reasons. One round trip. Anybody may ask about themselves; about others,
 * user:read with a scope that covers them. A question about an unknown user, permission or role has an `error` in its place, and the
 * others are answered.
 */
export async function check(
  ctx: Ctx,
  { checks, at }: z.infer<typeof Questions>,
  language: Language,
): Promise<z.infer<typeof Answers>> {
  const asked = { checks: JSON.stringify(checks) }
  const answers = await (at === undefined ? ctx.ask<Answered[]>(CHECK, asked) : ctx.ask<Answered[]>(CHECK_AT, { ...asked, at }))
  const translated = (error: Unanswered) => ({ ...error, detail: language.sentence(error.detail) })
  return {
    results: answers.map(({ error, ...answer }, i) => ({ ...answer, ...(error && { error: translated(unanswered(error, i)) }) })),
  }
}

type Unanswered = NonNullable<z.infer<typeof Answer>['error']>

/** What of the check number `i` has no answer, in English. */
function unanswered(error: NonNullable<Answered['error']>, i: number): Unanswered {
  const pointer = `#/checks/${i}/${error.field}`
  if (error.code === 'not_found') return { code: error.code, detail: 'There is no such user.', pointer }
  const names = [...error.names.slice(0, LISTED), ...(error.names.length > LISTED ? ['...'] : [])].join(', ')
  return { code: error.code, detail: `there is no ${names} here`, pointer }
}

/**
 * The permissions of a user and what they are denied, now or at a past time, each with at most 50 reasons. One round trip; `user:read`. Fails with not_found,
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
