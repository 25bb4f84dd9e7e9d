/**
 * Sessions and login history. Threat: somebody ends or watches the sessions of users outside their scope; a stolen session goes
 * on unnoticed. Policies decide whose sessions are visible and may be ended (src/sessions/sessions.sql).
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { type Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Problem } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { exists, requireExisting, requireReach } from '../users/reports.ts'
import { deviceName } from './device.ts'

/** `is_behind`: the database has an older schema, which remembers no devices. */
type Query = z.infer<typeof Page> & { is_behind?: boolean | undefined }

export const Session = z
  .object({
    id: z.uuid(),
    device: z.string().nullable().openapi({ description: 'The user agent that logged in' }),
    device_name: z.string().nullable().openapi({ description: 'The device in readable form, such as Chrome on Windows' }),
    address: z.string().nullable(),
    city: z.string().nullable(),
    country: z.string().nullable().openapi({ description: 'ISO 3166-1 alpha-2' }),
    created_at: z.iso.datetime(),
    last_active_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
    is_current: z.boolean(),
    impersonated_by: z
      .object({ sub: z.uuid(), username: z.string() })
      .nullable()
      .openapi({ description: 'Who acts as the user in it; null: the user does' }),
    remembered: z.boolean().openapi({ description: 'Whether logins on its device need no second factor' }),
  })
  .openapi('Session')
export const SessionList = pageOf(Session).openapi('SessionList')

export const LoginEvent = z
  .object({
    id: z.uuid(),
    activity_type: z.enum(['LOGIN', 'LOGIN_FAILED', 'LOGOUT', 'SUSPICIOUS_ACTIVITY']),
    at: z.iso.datetime(),
    address: z.string().nullable(),
    agent: z.string().nullable(),
    device_name: z.string().nullable(),
    reason: z.string().nullable().openapi({
      description:
        'Why it failed (`wrong_password`, `locked`, `inactive`, `no_role`, `first_password_expired` ...), or what ended the session',
    }),
  })
  .openapi('LoginEvent')
export const LoginHistory = pageOf(LoginEvent).openapi('LoginHistory')

const CALLER = sql`(select access.principal())`

/** A page of active sessions: its statement, and what its result says. */
async function listing(ctx: Ctx, user: SQL, name: string, { limit, cursor, is_behind }: Query) {
  const [at, last] = (await readCursor(ctx.realm, name, cursor)) ?? []
  const after = at ? sql`and (s.created_at, s.id) < (${at}::timestamptz, ${last}::uuid)` : sql``
  const remembered = is_behind ? sql`false` : sql`s.id = any ((select access.remembered_sessions(${user}::uuid))::uuid[])`
  const impersonator = is_behind
    ? sql`null::jsonb`
    : sql`case when s.impersonator_id is not null then access.impersonator_of(s.id) end`
  const statement = sql`select s.id, s.device, s.address, s.city, s.country, ${rfc3339('s.created_at')} as created_at, ${rfc3339('s.last_active_at')} as last_active_at,
      ${rfc3339('s.expires_at')} as expires_at, coalesce(s.id = (select access.session()), false) as is_current, ${impersonator} as impersonated_by, ${remembered} as remembered
    from freehold.sessions s, freehold.tenant t
    where s.user_id = ${user} and s.ended_at is null and s.expires_at > now() and s.last_active_at > now() - access.idle_limit(t) ${after}
    order by s.created_at desc, s.id desc limit ${limit + 1}`
  const read = (result: unknown) => {
    const rows = rowsOf<Omit<z.infer<typeof Session>, 'device_name'>>(result).map((row) => ({
      ...row,
      device_name: deviceName(row.device),
    }))
    return paged(ctx.realm, name, rows, limit, (row) => [row.created_at, row.id])
  }
  return { statement, read }
}

async function listed(ctx: Ctx, user: SQL, name: string, query: Query, ...before: SQL[]) {
  const { statement, read } = await listing(ctx, user, name, query)
  const results = await ctx.run(...[...before, statement].map((each) => ctx.db.execute(each)))
  if (before.length) requireExisting(results[before.length - 1])
  return read(results.at(-1))
}

/** The caller's active sessions, newest first, for a page that also asks for something else in its round trip. Fails with invalid_cursor. */
export const ownSessionsQuery = (ctx: Ctx, page: Query) => listing(ctx, CALLER, 'sessions', page)

/** The caller's active sessions, newest first. One round trip. Fails with invalid_cursor. */
export const ownSessions = (ctx: Ctx, page: Query) => listed(ctx, CALLER, 'sessions', page)

/** The active sessions of a user, newest first. One round trip; `session:read`. Fails with not_found, invalid_cursor. */
export const sessionsOf = (ctx: Ctx, id: string, page: Query) =>
  listed(ctx, sql`${id}`, `sessions:${id}`, page, requireReach(id), exists(id))

/**
 * Ends a session of the caller, or of a user in their scope. One round trip; `session:delete`. Fails with not_found, also when it
 * has ended; forbidden (one that the caller can only read).
 */
export async function endSession(ctx: Ctx, id: string): Promise<void> {
  const [, , ended] = await ctx.run(
    ctx.db.execute(forgetting('device')),
    ctx.db.execute(sql`select access.require_reach('session', ${id}::uuid)`),
    ctx.db.execute(ending(sql`s.id = ${id}`)),
  )
  if (rowsOf(ended).length === 0) throw new Problem('not_found')
}

/** Ends a session of the caller's own. One round trip; no permission. Fails with not_found, also when it has ended. */
export async function endOwnSession(ctx: Ctx, id: string): Promise<void> {
  const [, ended] = await ctx.run(
    ctx.db.execute(forgetting('device')),
    ctx.db.execute(ending(sql`s.id = ${id} and s.user_id = ${CALLER}`)),
  )
  if (rowsOf(ended).length === 0) throw new Problem('not_found')
}

/** Ends all sessions of a user. One round trip; `session:delete`. Fails with not_found, forbidden (a user whom the caller can only read). */
export async function endSessionsOf(ctx: Ctx, id: string): Promise<void> {
  const [, , user] = await ctx.run(
    ctx.db.execute(forgetting('all')),
    ctx.db.execute(requireReach(id)),
    ctx.db.execute(exists(id)),
    ctx.db.execute(sql`select access.lock_user(${id}::uuid)`),
    ctx.db.execute(ending(sql`s.user_id = ${id}`)),
  )
  requireExisting(user)
}

/**
 * Says that whoever ends sessions wants their devices forgotten, too, or all of their user: what is listed is ended, other than at a
 * logout, because nobody should be there any more (src/factors/remembered.sql). Over an older schema it says nothing.
 */
export const forgetting = (what: 'device' | 'all') => sql`select set_config('access.forget', ${what}, true)`

const ending = (which: SQL) => sql`update freehold.sessions s
  set ended_at = now(), ended_because = case when s.user_id = ${CALLER} then 'logout' else 'ended_by_administrator' end
  where ${which} and s.ended_at is null returning s.id`

async function history(ctx: Ctx, user: SQL, name: string, { limit, cursor }: Query, ...before: SQL[]) {
  const [at = null, last = null] = (await readCursor(ctx.realm, name, cursor)) ?? []
  const page = sql`select h.id, h.activity_type, ${rfc3339('h.at')} as at, h.address, h.agent, h.reason
    from access.login_history(${user}, ${limit + 1}, ${at}::timestamptz, ${last}::uuid) h`
  const results = await ctx.run(...[...before, page].map((statement) => ctx.db.execute(statement)))
  if (before.length) requireExisting(results[before.length - 1])
  const rows = rowsOf<Omit<z.infer<typeof LoginEvent>, 'device_name'>>(results.at(-1)).map((row) => ({
    ...row,
    device_name: deviceName(row.agent),
  }))
  return paged(ctx.realm, name, rows, limit, (row) => [row.at, row.id])
}

/** The caller's logins, including failed ones, newest first. One round trip. Fails with invalid_cursor. */
export const ownHistory = (ctx: Ctx, page: Query) => history(ctx, CALLER, 'logins', page)

/**
 * The logins of a user, including failed ones, newest first. One round trip; `session:read`. Fails with not_found,
 * invalid_cursor.
 */
export const historyOf = (ctx: Ctx, id: string, page: Query) =>
  history(ctx, sql`${id}`, `logins:${id}`, page, requireReach(id), exists(id))
