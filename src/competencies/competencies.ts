/**
 * Records of competencies: their form on the wire, and what is done to them. Threat: somebody makes themselves competent. The database
 * decides who verifies, and that nothing is changed once it was verified (competencies.sql).
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Moment, Text } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { withinScope } from '../lists/scope.ts'

const Day = z.iso.date().transform((day) => `${day}T00:00:00Z`)
/** A moment, or a day, which begins at midnight in UTC. */
const When = z.union([Moment, Day], { error: 'must be a timestamp or a date as in RFC 3339' })

const State = z.enum(['unverified', 'valid', 'expired', 'revoked'])
const Level = z.int().min(1).max(5)

const WRITTEN = /^https:\/\/[A-Za-z0-9._~:/?#[\]!$&'()*+,;=%-]+$/
const Evidence = z
  .string()
  .max(2048)
  .regex(WRITTEN, 'must be an address that begins with https://')
  .refine((url) => URL.canParse(url), 'must be an address that begins with https://')

export const Competency = z
  .object({
    id: z.uuid(),
    user_id: z.uuid(),
    type_id: z.uuid(),
    type_name: z.string(),
    level: z.int(),
    state: State,
    issued_at: z.iso.datetime(),
    expires_at: z.iso.datetime().nullable(),
    evidence_url: z.string().nullable(),
    verified_at: z.iso.datetime().nullable(),
    verified_by: z.uuid().nullable(),
    revoked_at: z.iso.datetime().nullable(),
    revoked_by: z.uuid().nullable(),
    revocation_reason: z.string().nullable(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Competency')
type Wire = z.infer<typeof Competency>
export const CompetencyList = pageOf(Competency).openapi('CompetencyList')

const Fields = z.object({
  level: Level,
  issued_at: When,
  expires_at: When.nullable()
    .optional()
    .openapi({ description: 'Without one, or null: after the `valid_months` of its type, if it has any' }),
  evidence_url: Evidence.nullable().optional().openapi({ example: 'https://certificates.example.com/1' }),
})
export const NewCompetency = Fields.extend({ user_id: z.uuid(), type_id: z.uuid() }).openapi('NewCompetency')
/** A JSON merge patch (RFC 7396). */
export const CompetencyPatch = Fields.partial().openapi('CompetencyPatch')
export const Revocation = z.object({ reason: Text(500) }).openapi('CompetencyRevocation')

const SORTS = ['-created_at', 'created_at', 'expires_at'] as const
export const CompetencyQuery = Page.extend({
  sort: z.enum(SORTS).default('-created_at').openapi({ description: '`expires_at`: those alone that expire' }),
  user_id: z.uuid().optional(),
  type_id: z.uuid().optional(),
  state: State.optional(),
  expires_before: When.optional(),
})

const STATE = sql`case when c.revoked_at is not null then 'revoked' when c.expires_at <= now() then 'expired'
  when c.verified_at is null then 'unverified' else 'valid' end`
const columns = sql`c.id, c.user_id, c.type_id, t.name as type_name, c.level, ${STATE} as state, ${rfc3339('c.issued_at')} as issued_at,
  ${rfc3339('c.expires_at')} as expires_at, c.evidence_url, ${rfc3339('c.verified_at')} as verified_at, c.verified_by,
  ${rfc3339('c.revoked_at')} as revoked_at, c.revoked_by, c.revocation_reason, ${rfc3339('c.created_at')} as created_at, ${rfc3339('c.updated_at')} as updated_at`
const one = (id: string) =>
  sql`select ${columns} from freehold.competencies c join freehold.competency_types t on t.id = c.type_id where c.id = ${id}`
/** Refuses a record that the caller can only read. */
const reach = (id: string) => sql`select access.reach_competency(${id})`

function firstOrNotFound(result: unknown): Wire {
  const [competency] = rowsOf<Wire>(result)
  if (!competency) throw new Problem('not_found')
  return competency
}

/**
 * Lists the records of users whom the caller can access, newest first, or by when they expire. One round trip; `competency:read`. Fails
 * with invalid_cursor.
 */
export async function listCompetencies(
  ctx: Ctx,
  { limit, cursor, sort, user_id, type_id, state, expires_before }: z.infer<typeof CompetencyQuery>,
): Promise<z.infer<typeof CompetencyList>> {
  const name = `competencies:${sort}`
  const after = await readCursor(ctx.realm, name, cursor)
  const [direction, beyond] = sort.startsWith('-') ? [sql.raw('desc'), sql.raw('<')] : [sql.raw('asc'), sql.raw('>')]
  const column = sql.raw(`c.${sort.replace('-', '')}`)
  const conditions = [
    sort === 'expires_at' ? sql`c.expires_at is not null` : sql`true`,
    ...(after ? [sql`(${column}, c.id) ${beyond} (${after[0]}::timestamptz, ${after[1]}::uuid)`] : []),
    ...(user_id === undefined ? [] : [sql`c.user_id = ${user_id}`]),
    ...(type_id === undefined ? [] : [sql`c.type_id = ${type_id}`]),
    ...(state === undefined ? [] : [sql`${STATE} = ${state}`]),
    ...(expires_before === undefined ? [] : [sql`c.expires_at < ${expires_before}::timestamptz`]),
  ]
  const page = withinScope({
    columns: sql`c.id, ${rfc3339(`c.${sort.replace('-', '')}`)} as key`,
    from: sql`freehold.competencies c join freehold.users u on u.id = c.user_id`,
    owner: sql`c.user_id`,
    unit: sql`u.unit_id`,
    where: sql.join(conditions, sql` and `),
    order: sql`${column} ${direction}, c.id ${direction}`,
    sorted: sql`page.key collate "C" ${direction}, page.id ${direction}`,
    limit: limit + 1,
  })
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${columns}, page.key from (${page}) page join freehold.competencies c on c.id = page.id
        join freehold.competency_types t on t.id = c.type_id
      order by page.key collate "C" ${direction}, page.id ${direction}`),
  )
  const rows = rowsOf<Wire & { key: string }>(result)
  const { data, next_cursor } = await paged(ctx.realm, name, rows, limit, (row) => [row.key, row.id])
  return { data: data.map(({ key: _, ...competency }) => competency), next_cursor }
}

/** Gets a record. One round trip; `competency:read`. Fails with not_found, also for one that the caller cannot access. */
export const getCompetency = async (ctx: Ctx, id: string): Promise<Wire> =>
  firstOrNotFound((await ctx.run(ctx.db.execute(one(id))))[0])

/**
 * Records a competency of a user, which counts once somebody else verified it. One round trip; `competency:create`. Fails with
 * invalid_request (a user whom the caller cannot access, a type that is not in use, a date).
 */
export async function createCompetency(ctx: Ctx, wanted: z.infer<typeof NewCompetency>): Promise<Wire> {
  const { user_id, type_id, level, issued_at, expires_at = null, evidence_url = null } = wanted
  const id = crypto.randomUUID()
  const insert = sql`insert into freehold.competencies (id, user_id, type_id, level, issued_at, expires_at, evidence_url)
    values (${id}, ${user_id}, ${type_id}, ${level}, ${issued_at}::timestamptz, ${expires_at}::timestamptz, ${evidence_url})`
  const [made] = await create<Wire>(ctx, { before: [insert], made: sql`made as (${one(id)})` })
  if (!made) throw new Problem('not_found')
  return made
}

/**
 * Changes the given fields of a record that was not verified. One round trip; `competency:update`. Fails with not_found, etag_mismatch,
 * forbidden, invalid_request, illegal_state (it was verified or revoked).
 */
export async function changeCompetency(
  ctx: Ctx,
  id: string,
  wanted: z.infer<typeof CompetencyPatch>,
  ifMatch?: string,
): Promise<Wire> {
  const assignments: SQL[] = Object.entries(wanted).map(([column, value]) => sql`${sql.identifier(column)} = ${value}`)
  const update = sql`update freehold.competencies c set ${sql.join(assignments.length ? assignments : [sql`level = c.level`], sql`, `)}
    where c.id = ${id} and ${matches('c.updated_at', ifMatch)} returning c.id`
  const [, changed, result] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(update), ctx.db.execute(one(id)))
  const competency = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(competency, ifMatch)
  return competency
}

/**
 * Deletes a record that was neither verified nor revoked. One round trip; `competency:delete`. Fails with not_found, forbidden,
 * illegal_state.
 */
export async function removeCompetency(ctx: Ctx, id: string): Promise<void> {
  const remove = sql`delete from freehold.competencies c where c.id = ${id} returning c.id`
  const [, removed] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(remove))
  if (rowsOf(removed).length === 0) throw new Problem('not_found')
}

/**
 * Verifies a record: it counts from now on. With If-Match only as the caller saw it. One round trip; `competency:verify`. Fails with
 * not_found, etag_mismatch, forbidden (their own), illegal_state (it was verified or revoked, has expired, or its type was retired).
 */
export async function verifyCompetency(ctx: Ctx, id: string, ifMatch?: string): Promise<Wire> {
  const seen = (ifMatch ?? '*').trim() === '*' ? sql`null::timestamptz` : sql`c.updated_at`
  const verify = sql`select access.verify_competency(c.id, ${seen}) as is_done from freehold.competencies c
    where c.id = ${id} and ${matches('c.updated_at', ifMatch)}`
  const [, verified, result] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(verify), ctx.db.execute(one(id)))
  const competency = firstOrNotFound(result)
  if (!rowsOf<{ is_done: boolean }>(verified)[0]?.is_done) throw unchanged(competency, ifMatch)
  return competency
}

/**
 * Revokes a record: it counts no longer, or never will. One round trip; `competency:verify`. Fails with not_found, forbidden (their own),
 * illegal_state (it was revoked, or has expired).
 */
export async function revokeCompetency(ctx: Ctx, id: string, { reason }: z.infer<typeof Revocation>): Promise<Wire> {
  const revoke = sql`select access.revoke_competency(${id}, ${reason}) as is_done`
  const [, , result] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(revoke), ctx.db.execute(one(id)))
  return firstOrNotFound(result)
}
