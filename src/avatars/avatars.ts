/**
 * Pictures of people, and their initials where there is none. Threat: a picture that is none (picture.ts) or stays (avatars.sql,
 * store.ts); somebody else's picture is changed, or shown to whoever may not read its owner. The database decides, in the statement
 * that names the new version: it is made and kept before that, under a version that nobody can guess, and deleted when it is refused.
 */
import { z } from '@hono/zod-openapi'
import { encodeHexLowerCase } from '@oslojs/encoding'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Problem } from '../kernel/problem.ts'
import { rowsOf, unchanged } from '../kernel/wire.ts'
import { firstOrNotFound, one, type UserWire } from '../users/users.ts'
import { AVATAR_TEXT, colourOf, initialsOf } from './initials.ts'
import { requirePicture } from './picture.ts'
import { keep, read, remove, SIZES, type Size, type Store } from './store.ts'

export const AvatarQuery = z.object({
  size: z.enum(SIZES).default('256').openapi({ description: 'Width and height in pixels' }),
})

type Change = { user: UserWire; before: string | null }

/** Changes what a user shows, in one round trip: their own (`subject` null), or that of somebody else. */
async function change(ctx: Ctx, subject: string | null, version: string | null): Promise<Change> {
  if (subject === null) {
    const me = sql`(select access.principal())`
    const [was, result] = await ctx.run(
      ctx.db.execute(sql`select access.set_own_avatar(${version}::text) as before`),
      ctx.db.execute(one(me)),
    )
    return { user: firstOrNotFound(result), before: rowsOf<{ before: string | null }>(was)[0]?.before ?? null }
  }
  const [, , was, changed, result] = await ctx.run(
    ctx.db.execute(sql`select access.require_reach('user', ${subject}::uuid)`),
    ctx.db.execute(sql`select access.lock_user(${subject}::uuid)`),
    ctx.db.execute(sql`select u.avatar as before from freehold.users u where u.id = ${subject}`),
    ctx.db.execute(sql`update freehold.users u set avatar = ${version}::text where u.id = ${subject} returning u.id`),
    ctx.db.execute(one(subject)),
  )
  const user = firstOrNotFound(result)
  if (!rowsOf(changed).length) throw unchanged(user)
  return { user, before: rowsOf<{ before: string | null }>(was)[0]?.before ?? null }
}

/** Deletes the objects of a picture after the answer. What does not come off is noted in the database, and the job deletes it. */
function removeLater(ctx: Ctx, { files }: Store, user_id: string, version: string): void {
  ctx.later(remove(files, ctx.realm.id, [{ user_id, version }]).catch(() => undefined))
}

/**
 * Sets the picture of a user, or with null the caller's own. One round trip; `user:update`, or a session. `said` is the Content-Type;
 * null: nothing was said. Fails with unsupported_media_type, invalid_request, not_found, forbidden, asset_unavailable.
 */
export async function putAvatar(
  ctx: Ctx,
  store: Store,
  subject: string | null,
  bytes: Uint8Array<ArrayBuffer>,
  said: string | null,
): Promise<UserWire> {
  requirePicture(bytes, said)
  const user_id = subject ?? ctx.bearer?.user_id
  if (user_id === undefined) throw new Problem('forbidden')
  const version = encodeHexLowerCase(crypto.getRandomValues(new Uint8Array(16)))
  await keep(store, ctx.realm.id, { user_id, version }, bytes)
  const { user, before } = await change(ctx, subject, version).catch((error) => {
    // Of a failure that is none of these nobody knows whether the database took it; the job finds what it did not.
    if (error instanceof Problem && error.status < 500) removeLater(ctx, store, user_id, version)
    throw error
  })
  if (before !== null) removeLater(ctx, store, user_id, before)
  return user
}

/** Removes a picture: initials are shown again. One round trip; `user:update`, or a session. Fails with not_found, forbidden. */
export async function deleteAvatar(ctx: Ctx, store: Store, subject: string | null): Promise<void> {
  const { user, before } = await change(ctx, subject, null)
  if (before === null) throw new Problem('not_found', 'This user has no picture.')
  removeLater(ctx, store, user.id, before)
}

type Shown = { id: string; username: string; given_name: string | null; family_name: string | null; avatar: string | null }
export type AvatarFile = { content_type: 'image/webp' | 'image/svg+xml'; etag: string; content: ReadableStream | string }

/**
 * The picture of a user, or with null the caller's own; initials where there is none. One round trip; `user:read`, or nothing. Fails with
 * not_found, asset_unavailable.
 */
export async function getAvatar(ctx: Ctx, store: Store, subject: string | null, size: Size): Promise<AvatarFile> {
  const id: SQL = subject === null ? sql`(select access.principal())` : sql`${subject}::uuid`
  // By its name, because a database that is a version behind has no such column.
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select u.id, u.username, u.given_name, u.family_name, to_jsonb(u) ->> 'avatar' as avatar from freehold.users u where u.id = ${id}`,
    ),
  )
  const [user] = rowsOf<Shown>(result)
  if (!user) throw new Problem('not_found')
  const { id: user_id, avatar } = user
  const content = avatar && (await read(store.files, ctx.realm.id, { user_id, version: avatar }, size))
  if (content) return { content_type: 'image/webp', etag: `${avatar}-${size}`, content }
  return drawn(user_id, initialsOf(user), size)
}

/** Initials as an image, which has no script, style or address in it. */
async function drawn(sub: string, initials: string, size: Size): Promise<AvatarFile> {
  const colour = colourOf(sub)
  const sum = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`${colour} ${initials}`))
  // Letters and digits alone: there is nothing to escape.
  const content = `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}" viewBox="0 0 64 64"><rect width="64" height="64" fill="${colour}"/><text x="32" y="32" dy="0.36em" fill="${AVATAR_TEXT}" font-family="system-ui, sans-serif" font-size="26" font-weight="600" text-anchor="middle">${initials}</text></svg>`
  return { content_type: 'image/svg+xml', etag: `${encodeHexLowerCase(new Uint8Array(sum)).slice(0, 32)}-${size}`, content }
}
