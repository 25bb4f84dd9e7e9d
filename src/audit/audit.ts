import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Line, Moment, Whole } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { withinScope } from '../lists/scope.ts'

/** The filters of a search; `from` is inclusive, `to` exclusive. */
const filters = {
  user_id: z.uuid().optional(),
  activity_type: Line(64).optional(),
  action: Line(64).optional(),
  resource_type: Line(64).optional(),
  resource_id: Line(255).optional(),
  from: Moment.optional(),
  to: Moment.optional(),
  address: Line(64).optional(),
  api_key_id: z.uuid().optional(),
  impersonator_id: z.uuid().optional(),
  trace_id: Line(64).optional(),
  min_risk: Whole(0, 100).optional(),
}
const isOrdered = ({ from, to }: { from?: string | undefined; to?: string | undefined }) =>
  !from || !to || Date.parse(from) <= Date.parse(to)
const OUT_OF_ORDER = { path: ['from'], message: 'is after `to`' }

export const ActivityQuery = Page.extend(filters).refine(isOrdered, OUT_OF_ORDER)
export const UserActivityQuery = Page.extend(filters).omit({ user_id: true }).refine(isOrdered, OUT_OF_ORDER)
export const ExportQuery = z.object({ ...filters, format: z.enum(['csv', 'ndjson']) }).refine(isOrdered, OUT_OF_ORDER)
export type Search = Partial<z.infer<z.ZodObject<typeof filters>>>

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
    api_key_id: z.uuid().nullable().openapi({ description: 'The API key that was used' }),
    impersonator_id: z.uuid().nullable().openapi({ description: 'Who acted as the user' }),
  })
  .openapi('Activity')
export type ActivityWire = z.infer<typeof Activity>

export const ActivityList = pageOf(Activity).openapi('ActivityList')

const shown =
  sql.raw(`l.id, to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, l.user_id, d.user_name, l.activity_type, l.action, l.resource_type,
  l.resource_id, l.risk_score, l.trace_id, d.address, d.agent, d.method, d.path, d.before, d.after, d.api_key_id, d.impersonator_id`)
const tables = sql.raw(
  'freehold.audit_log l left join freehold.users u on u.id = l.user_id left join freehold.audit_detail d on d.log_id = l.id',
)

/**
 * Selects the activities within the caller's scope, newest first, after a cursor. In two halves: entries under a checkpoint have
 * an index for each filter; those of about the last minute, which have no checkpoint yet, are few.
 */
export function selectActivities(search: Search, after: string[] | null, limit: number, columns = shown): SQL {
  const {
    user_id,
    activity_type,
    action,
    resource_type,
    resource_id,
    from,
    to,
    address,
    api_key_id,
    impersonator_id,
    trace_id,
    min_risk,
  } = search
  const conditions = [
    user_id && sql`l.user_id = ${user_id}::uuid`,
    activity_type && sql`l.activity_type = ${activity_type}`,
    action && sql`l.action = ${action}`,
    resource_type && sql`l.resource_type = ${resource_type}`,
    resource_id && sql`l.resource_id = ${resource_id}`,
    from && sql`l.at >= ${from}::timestamptz`,
    to && sql`l.at < ${to}::timestamptz`,
    address && sql`d.address = ${address}`,
    api_key_id && sql`d.api_key_id = ${api_key_id}::uuid`,
    impersonator_id && sql`d.impersonator_id = ${impersonator_id}::uuid`,
    trace_id && sql`l.trace_id = ${trace_id}`,
    min_risk !== undefined && sql`l.risk_score >= ${min_risk}`,
    after && sql`(l.at, l.id) < (${after[0]}::timestamptz, ${after[1]}::uuid)`,
  ].filter((condition) => condition instanceof Object)
  const half = (which: SQL) =>
    withinScope({
      columns,
      from: tables,
      owner: sql`l.user_id`,
      unit: sql`u.unit_id`,
      where: sql.join([which, ...conditions], sql` and `),
      order: sql`l.at desc, l.id desc`,
      sorted: sql`at desc, id desc`,
      limit,
      walk: true,
    })
  return sql`select * from ((${half(sql`l.checkpoint is not null`)}) union all (${half(sql`l.checkpoint is null`)})) halves order by at desc, id desc limit ${limit}`
}

export const cursorOf = ({ at, id }: Pick<ActivityWire, 'at' | 'id'>) => [at, id]

type Paging = { limit: number; cursor?: string | undefined }

/** Lists the activities within the caller's scope, newest first. One round trip; `activity:read`. Fails with invalid_cursor. */
export async function listActivities(ctx: Ctx, { limit, cursor, ...search }: Paging & Search) {
  const after = await readCursor(ctx.realm, 'activities', cursor)
  const [result] = await ctx.run(ctx.db.execute(selectActivities(search, after, limit + 1)))
  return paged(ctx.realm, 'activities', rowsOf<ActivityWire>(result), limit, cursorOf)
}

/**
 * Lists the activities of one user. One round trip; `activity:read`. Fails with invalid_cursor, not_found (no user whom the
 * caller can access).
 */
export async function listActivitiesOf(ctx: Ctx, user_id: string, { limit, cursor, ...search }: Paging & Search) {
  const after = await readCursor(ctx.realm, 'activities', cursor)
  const [user, result] = await ctx.run(
    ctx.db.execute(sql`select 1 from freehold.users where id = ${user_id}::uuid`),
    ctx.db.execute(selectActivities({ ...search, user_id }, after, limit + 1)),
  )
  if (!rowsOf<ActivityWire>(user).length) throw new Problem('not_found')
  return paged(ctx.realm, 'activities', rowsOf<ActivityWire>(result), limit, cursorOf)
}

/** Gets an activity. One round trip; `activity:read`. Fails with not_found. */
export async function getActivity(ctx: Ctx, id: string): Promise<ActivityWire> {
  const [result] = await ctx.run(ctx.db.execute(sql`select ${shown} from ${tables} where l.id = ${id}::uuid`))
  const [row] = rowsOf<ActivityWire>(result)
  if (!row) throw new Problem('not_found')
  return row
}
