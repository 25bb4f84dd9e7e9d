/** Importing users from another system. Nothing is hashed here: a password in plain text is refused. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { batchesOf, jsonLines, type Refused } from '../imports/batches.ts'
import { importing, reportOf } from '../imports/report.ts'
import type { Ctx } from '../kernel/context.ts'
import type { Language } from '../kernel/problem.ts'
import { type ImportLine, lineIn } from './import-lines.ts'

export const ImportReport = reportOf({ username: z.string().optional() }).openapi('ImportReport')

/** `roles`: the ids of those roles of the user that have room for so many only. */
type Taken = { id: string; username: string; roles: string[] }

/**
 * Creates a user from each line, and returns a stream with a result per line, in the caller's language; with `dry_run` nothing is
 * created. One round trip before anything is read, and one for each 200 lines, which records them, too. `user:create`; below
 * scope `all` only in units that the caller can access. Until the response begins it fails as every route does. Existing users
 * are reported as duplicates, so that the same file can be sent again. `email_verified: true` takes `user:approve`. A hash that
 * would cost too much is left out, and a warning on its line says so.
 */
export async function importUsers(
  ctx: Ctx,
  body: ReadableStream<Uint8Array>,
  dry_run: boolean,
  language: Language,
): Promise<ReadableStream<Uint8Array>> {
  // A dry run leaves no rows behind, so what its batches would have taken is kept here: addresses, names, places in roles, and how many
  // users there would be more.
  const seen = { email: new Set<string>(), username: new Set<string>() }
  const places: Record<string, number> = {}
  let active = 0

  const repeated = (user: ImportLine): Refused | null => {
    const fields = (['email', 'username'] as const).filter((field) => seen[field].has(user[field] ?? ''))
    const errors = fields.map((field) => ({ pointer: `#/${field}`, detail: 'is taken' }))
    return errors.length ? { code: 'already_exists', errors } : null
  }

  const creating = (users: ImportLine[], refused: number) => {
    const names = users.map(({ wished }) => wished).filter((name) => seen.username.has(name))
    const earlier = dry_run ? JSON.stringify({ names, places, users: active }) : null
    return sql`access.import_batch(${JSON.stringify(users)}::jsonb, ${refused}, ${earlier}::jsonb)`
  }

  const took = (user: ImportLine, { username, roles }: Taken) => {
    if (dry_run) {
      seen.email.add(user.email)
      seen.username.add(username)
      if (user.is_active !== false && !(Date.parse(user.terminated_at ?? '') <= Date.now())) active++
      for (const role of roles) places[role] = (places[role] ?? 0) + 1
    }
    return { username }
  }

  // Before anything of the body is read: only the database knows whether an API key works.
  await ctx.run()
  const batches = batchesOf(jsonLines(body), (value) => lineIn(value, language))
  return importing(ctx, { event: 'users imported', dry_run, language, batches, repeated, creating, took })
}
