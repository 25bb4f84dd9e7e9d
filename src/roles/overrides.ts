import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Moment } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { PermissionName } from '../names/names.ts'
import { requireReach } from '../users/reports.ts'
import type { Ranges } from './assignments.ts'
import { mapConstraintErrors, Scope } from './wire.ts'

export const NewOverride = z
  .object({
    permission: PermissionName,
    effect: z.enum(['grant', 'deny']),
    scope: Scope.default('all'),
    starts_at: Moment.optional(),
    ends_at: Moment.nullable().optional(),
  })
  .openapi('NewOverride')
export const Override = z
  .object({
    id: z.uuid(),
    permission: z.string(),
    effect: z.enum(['grant', 'deny']),
    scope: Scope,
    starts_at: z.iso.datetime(),
    ends_at: z.iso.datetime().nullable(),
  })
  .openapi('Override')
export const OverrideList = pageOf(Override).openapi('OverrideList')

type Wire = z.infer<typeof Override>

const columns = sql`o.id, o.permission, o.effect, o.scope, ${rfc3339('o.starts_at')} as starts_at, ${rfc3339('o.ends_at')} as ends_at`

/**
 * Grants or denies one user a permission, whatever their roles carry. One round trip; `permission:update`. Fails with not_found,
 * forbidden (to the caller themselves, or a permission that the caller does not hold), already_exists, invalid_request.
 */
export async function addOverride(ctx: Ctx, user_id: string, wanted: z.infer<typeof NewOverride>): Promise<Wire> {
  const { permission, effect, scope, starts_at, ends_at } = wanted
  const [made] = await mapConstraintErrors(
    create<Wire>(ctx, {
      before: [requireReach(user_id)],
      made: sql`made as (insert into freehold.overrides as o (id, user_id, permission, effect, scope, starts_at, ends_at)
        select ${crypto.randomUUID()}, u.id, ${permission}, ${effect}, ${scope}, coalesce(${starts_at ?? null}::timestamptz, now()), ${ends_at ?? null}::timestamptz
        from freehold.users u where u.id = ${user_id} returning ${columns})`,
    }),
    (error) => (brokenConstraint(error) === 'overrides_open' ? new Problem('already_exists', undefined, { cause: error }) : null),
  )
  if (!made) throw new Problem('not_found')
  return made
}

/**
 * The overrides of a user, newest first: current and scheduled ones, with `all` also those that have ended. One round trip;
 * `user:read`.
 */
export async function listOverrides(
  ctx: Ctx,
  user_id: string,
  query: z.infer<typeof Ranges>,
): Promise<z.infer<typeof OverrideList>> {
  const { limit, all } = query
  const name = `overrides:${user_id}:${all ?? ''}`
  const [at, id] = (await readCursor(ctx.realm, name, query.cursor)) ?? []
  const [users, result] = await ctx.run(
    ctx.db.execute(sql`select u.id from freehold.users u where u.id = ${user_id}`),
    ctx.db.execute(sql`select ${columns} from freehold.overrides o where o.user_id = ${user_id}
      ${all === 'true' ? sql`` : sql`and (o.ends_at is null or o.ends_at > now())`}
      ${at === undefined ? sql`` : sql`and (o.starts_at, o.id) < (${at}::timestamptz, ${id}::uuid)`}
      order by o.starts_at desc, o.id desc limit ${limit + 1}`),
  )
  if (!rowsOf(users).length) throw new Problem('not_found')
  return paged(ctx.realm, name, rowsOf<Wire>(result), limit, (row) => [row.starts_at, row.id])
}

/** Ends an override now; a scheduled one never begins. One round trip; `permission:update`. Fails with not_found, forbidden. */
export async function endOverride(ctx: Ctx, user_id: string, id: string): Promise<void> {
  const open = sql`o.id = ${id} and o.user_id = ${user_id} and (o.ends_at is null or o.ends_at > now())`
  const [, ended] = await ctx.run(
    ctx.db.execute(sql`select access.require_reach('override', ${id}::uuid, ${user_id}::uuid)`),
    ctx.db.execute(sql`update freehold.overrides o set ends_at = greatest(now(), o.starts_at) where ${open} returning o.id`),
  )
  if (!rowsOf(ended).length) throw new Problem('not_found')
}
