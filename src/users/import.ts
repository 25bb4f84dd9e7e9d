/**
 * Importing users from another system. Threat: a file, or a report on it, that is larger than the Worker's memory, and a run that
 * ends half-way and looks complete. So lines are imported 200 at a time, each batch with an admission and a record of its own, and
 * only once the report on the one before was read; each line has its own result; and the summary says whether all lines were processed.
 * Nothing is hashed here.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { type Issue, type Language, Problem, problemCatalogue } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { type Broken, batchesOf, type ImportLine, type Read, type Refused } from './import-lines.ts'

export const ImportQuery = z.object({ dry_run: z.enum(['true', 'false']).default('false') })

const Issues = z.array(z.object({ pointer: z.string(), detail: z.string() }))
/** The result of one line; the last object is the summary. */
export const ImportReport = z
  .union([
    z.object({
      line: z.int(),
      status: z.enum(['created', 'would_create', 'failed']),
      id: z.uuid().optional(),
      username: z.string().optional(),
      code: z.string().optional(),
      errors: Issues.optional(),
      /** What of the line was left out, of a user who is created all the same. */
      warnings: Issues.optional(),
    }),
    z.object({
      summary: z.literal(true),
      dry_run: z.boolean(),
      lines: z.int(),
      created: z.int(),
      failed: z.int(),
      /** False: not all lines were processed. `code` and `detail` say why. */
      complete: z.boolean(),
      code: z.string().optional(),
      detail: z.string().optional(),
    }),
  ])
  .openapi('ImportReport')

/** `roles`: the ids of those roles of the user that have room for so many only. */
type Taken = { id: string; username: string; roles: string[] } | Refused

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
  const counts = { lines: 0, created: 0, failed: 0 }
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

  const translated = (issues: Issue[]) => issues.map((issue) => ({ ...issue, detail: language.sentence(issue.detail) }))

  const take = async (batch: Read[]): Promise<string> => {
    const checked = batch.map((read): Read => {
      const again = 'user' in read && repeated(read.user)
      return again ? { line: read.line, ...again } : read
    })
    const users = checked.flatMap((read) => ('user' in read ? [read.user] : []))
    const names = users.map(({ wished }) => wished).filter((name) => seen.username.has(name))
    const earlier = dry_run ? JSON.stringify({ names, places, users: active }) : null
    const [answer] = await ctx.run(
      ctx.db.execute(
        sql`select access.import_batch(${JSON.stringify(users)}::jsonb, ${checked.length - users.length}, ${earlier}::jsonb) as taken`,
      ),
    )
    const taken = rowsOf<{ taken: Taken[] }>(answer)[0]?.taken ?? []
    let text = ''
    for (const read of checked) {
      const result: Taken | undefined = 'user' in read ? taken.shift() : read
      if (!result) throw new Error('The database returned fewer results than it was sent lines.')
      counts.lines++
      if ('errors' in result) {
        counts.failed++
        const errors = translated(result.errors)
        text += `${JSON.stringify({ line: read.line, status: 'failed', code: result.code, errors })}\n`
        continue
      }
      counts.created++
      if (dry_run && 'user' in read) {
        seen.email.add(read.user.email)
        seen.username.add(result.username)
        if (read.user.is_active !== false && !(Date.parse(read.user.terminated_at ?? '') <= Date.now())) active++
        for (const role of result.roles) places[role] = (places[role] ?? 0) + 1
      }
      const outcome = dry_run ? { status: 'would_create' } : { status: 'created', id: result.id }
      const warnings = 'user' in read && read.warnings.length ? { warnings: translated(read.warnings) } : {}
      text += `${JSON.stringify({ line: read.line, ...outcome, username: result.username, ...warnings })}\n`
    }
    return text
  }

  /** Why a batch failed. It may have been committed and its answer lost: sending the file again shows that. */
  const brokenBy = (error: unknown): Broken => {
    const { code, message: detail } =
      error instanceof Problem ? error : { code: 'internal_error', message: problemCatalogue.internal_error[2] }
    log('import broken off', { ...about(ctx), code, error: error instanceof Error ? error.name : null })
    return { code, detail: `${detail} The result of the lines after the last one reported is unknown: send the file again.` }
  }

  const encoder = new TextEncoder()
  /** The report, a batch at a time. */
  async function* report(): AsyncGenerator<Uint8Array, void> {
    let broken: Broken | undefined
    try {
      const batches = batchesOf(body, language)
      let next = await batches.next()
      for (; !next.done; next = await batches.next()) yield encoder.encode(await take(next.value))
      broken = next.value
    } catch (error) {
      broken = brokenBy(error)
    }
    log('users imported', { ...about(ctx), dry_run, ...counts, complete: !broken })
    const why = broken && { ...broken, detail: language.sentence(broken.detail) }
    yield encoder.encode(`${JSON.stringify({ summary: true, dry_run, ...counts, complete: !broken, ...why })}\n`)
  }

  // Before anything of the body is read: only the database knows whether an API key works.
  await ctx.run()
  // Each batch waits until the one before it was read, so a caller who reads slowly or not at all fills no memory.
  const parts = report()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await parts.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      async cancel() {
        await parts.return()
      },
    },
    { highWaterMark: 0 },
  )
}

const about = (ctx: Ctx) => ({ tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id })
