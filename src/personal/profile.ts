/**
 * What users change of themselves, whatever their roles let them. Threat: somebody changes more of themselves than a profile. The
 * database has the columns (profile.sql), and its triggers are those of every change of a user.
 */
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { matches, rowsOf, unchanged } from '../kernel/wire.ts'
import { UserPatch } from '../users/changes.ts'
import { firstOrNotFound, one, type UserWire } from '../users/users.ts'

/** A JSON merge patch (RFC 7396). */
export const MyPatch = UserPatch.pick({
  given_name: true,
  family_name: true,
  phone: true,
  locale: true,
  timezone: true,
  preferences: true,
  description: true,
}).openapi('MyPatch')

/**
 * Changes the given fields of the current user; preferences are merged key by key. One round trip; no permission. Fails with
 * etag_mismatch, invalid_request (preferences that are too large), license_expired.
 */
export async function patchMe(ctx: Ctx, patch: (typeof MyPatch)['_output'], ifMatch?: string): Promise<UserWire> {
  const me = sql`(select access.principal())`
  // The lock comes first, so that the next statement compares what no other change can replace.
  const [, changed, result] = await ctx.run(
    ctx.db.execute(sql`select access.lock_user(${me})`),
    ctx.db.execute(
      sql`select access.update_me(${JSON.stringify(patch)}::jsonb) from freehold.users u where u.id = ${me} and ${matches('u.updated_at', ifMatch)}`,
    ),
    ctx.db.execute(one(me)),
  )
  const user = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(user, ifMatch)
  return user
}
