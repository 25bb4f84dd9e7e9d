import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Line, Moment } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { withinScope } from '../kernel/scope.ts'
import { rowsOf } from '../kernel/wire.ts'

/** By what activities are searched; `from` is the first moment, `to` the first that is too late. */
const searched = {
  user_id: z.uuid().optional(),
  activity_type: Line(64).optional(),
  resource_type: Line(64).optional(),
  resource_id: Line(255).optional(),
  from: Moment.optional(),
  to: Moment.optional(),
  address: Line(64).optional(),
  api_key_id: z.uuid().optional(),
  min_risk: z.coerce.number().int().min(0).max(100).optional(),
}
const inOrder = ({ from, to }: { from?: string | undefined; to?: string | undefined }) =>
  !from || !to || Date.parse(from) <= Date.parse(to)
const OUT_OF_ORDER = { path: ['from'], message: 'is after `to`' }

export const ActivityQuery = Page.extend(searched).refine(inOrder, OUT_OF_ORDER)
export const UserActivityQuery = Page.extend(searched).omit({ user_id: true }).refine(inOrder, OUT_OF_ORDER)
export const ExportQuery = z.object({ ...searched, format: z.enum(['csv', 'ndjson']) }).refine(inOrder, OUT_OF_ORDER)
export type Search = Partial<z.infer<z.ZodObject<typeof searched>>>

export const Activity = z
  .object({
    id: z.uuid(),
    at: z.iso.datetime(),
    user_id: z.uuid().nullable(),
    user_name: z.string().nullable(),
    activity_type: z.string(),
    action: z.string(),
    resource_type: z.string(),
    resource_id: z.string().nullable(),
    risk_score: z.int(),
    trace_id: z.string().nullable(),
    address: z.string().nullable(),
    agent: z.string().nullable(),
    method: z.string().nullable(),
    path: z.string().nullable(),
    before: z.record(z.string(), z.unknown()).nullable(),
    after: z.record(z.string(), z.unknown()).nullable(),
    api_key_id: z.uuid().nullable().openapi({ description: 'The API key with which it was done' }),
  })
  .openapi('Activity')
export type ActivityWire = z.infer<typeof Activity>

export const ActivityList = pageOf(Activity).openapi('ActivityList')

const columns =
  sql.raw(`l.id, to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, l.user_id, d.user_name, l.activity_type, l.action, l.resource_type,
  l.resource_id, l.risk_score, l.trace_id, d.address, d.agent, d.method, d.path, d.before, d.after, d.api_key_id`)
const tables = sql.raw(
  'freehold.audit_log l left join freehold.users u on u.id = l.user_id left join freehold.audit_detail d on d.log_id = l.id',
)

/**
 * Activities that the admitted person reaches, newest first, after a place in that order. In two halves: what is sealed has an index for each
 * way to search, and the last minute's, which is not sealed yet, is few.
 */
export function selectActivities(search: Search, after: string[] | null, limit: number): SQL {
  const { user_id, activity_type, resource_type, resource_id, from, to, address, api_key_id, min_risk } = search
  const conditions = [
    user_id && sql`l.user_id = ${user_id}::uuid`,
    activity_type && sql`l.activity_type = ${activity_type}`,
    resource_type && sql`l.resource_type = ${resource_type}`,
    resource_id && sql`l.resource_id = ${resource_id}`,
    from && sql`l.at >= ${from}::timestamptz`,
    to && sql`l.at < ${to}::timestamptz`,
    address && sql`d.address = ${address}`,
    api_key_id && sql`d.api_key_id = ${api_key_id}::uuid`,
    min_risk !== undefined && sql`l.risk_score >= ${min_risk}`,
    after && sql`(l.at, l.id) < (${after[0]}::timestamptz, ${after[1]}::uuid)`,
  ].filter((condition) => condition instanceof Object)
  const half = (which: SQL) =>
    withinScope({
      columns: columns,
      from: tables,
      owner: sql`l.user_id`,
      unit: sql`u.unit_id`,
      where: sql.join([which, ...conditions], sql` and `),
      order: sql`l.at desc, l.id desc`,
      sorted: sql`at desc, id desc`,
      limit,
    })
  return sql`select * from ((${half(sql`l.checkpoint is not null`)}) union all (${half(sql`l.checkpoint is null`)})) halves order by at desc, id desc limit ${limit}`
}

export const cursorOf = ({ at, id }: ActivityWire) => [at, id]

type Paging = { limit: number; cursor?: string | undefined }

/** Activities within the caller's scope, newest first. One round trip; `activity:read`. Fails with invalid_cursor. */
export async function listActivities(ctx: Ctx, { limit, cursor, ...search }: Paging & Search) {
  const after = await readCursor(ctx.realm, 'activities', cursor)
  const [result] = await ctx.run(ctx.db.execute(selectActivities(search, after, limit + 1)))
  return paged(ctx.realm, 'activities', rowsOf<ActivityWire>(result), limit, cursorOf)
}

/** What one person did. One round trip; `activity:read`. Fails with invalid_cursor, and with not_found when the caller does not reach them. */
export async function listActivitiesOf(ctx: Ctx, user_id: string, { limit, cursor, ...search }: Paging & Search) {
  const after = await readCursor(ctx.realm, 'activities', cursor)
  const [person, result] = await ctx.run(
    ctx.db.execute(sql`select 1 from freehold.users where id = ${user_id}::uuid`),
    ctx.db.execute(selectActivities({ ...search, user_id }, after, limit + 1)),
  )
  if (!rowsOf<ActivityWire>(person).length) throw new Problem('not_found')
  return paged(ctx.realm, 'activities', rowsOf<ActivityWire>(result), limit, cursorOf)
}

/** One activity. One round trip; `activity:read`. Fails with not_found. */
export async function getActivity(ctx: Ctx, id: string): Promise<ActivityWire> {
  const [result] = await ctx.run(ctx.db.execute(sql`select ${columns} from ${tables} where l.id = ${id}::uuid`))
  const [row] = rowsOf<ActivityWire>(result)
  if (!row) throw new Problem('not_found')
  return row
}
