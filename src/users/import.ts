/**
 * Importing users from another system. Threat: a file that is larger than the Worker's memory, and a run that ends half-way and
 * looks complete. So lines are imported 200 at a time, each batch with an admission of its own; each line has its own result; and
 * the summary says whether all lines were processed. Nothing is hashed here.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { type Language, Problem, problemCatalogue } from '../kernel/problem.ts'
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

type Taken = { id: string; username: string } | Refused

/**
 * Creates a user from each line, and returns a stream with a result per line, in the caller's language; with `dry_run` nothing is
 * created. One round trip before the response begins, one for each further 200 lines, and one to record the import.
 * `user:create`; below scope `all` only in units that the caller can access. Until the response begins it fails as every route
 * does. Existing users are reported as duplicates, so that the same file can be sent again.
 */
export async function importUsers(
  ctx: Ctx,
  body: ReadableStream<Uint8Array>,
  dry_run: boolean,
  language: Language,
): Promise<ReadableStream<Uint8Array>> {
  const counts = { lines: 0, created: 0, failed: 0 }
  const seen = { email: new Set<string>(), username: new Set<string>() }

  /** A dry run leaves no rows behind, so duplicates across its batches are found here. */
  const repeated = (user: ImportLine): Refused | null => {
    const fields = (['email', 'username'] as const).filter((field) => seen[field].has(user[field]))
    const errors = fields.map((field) => ({ pointer: `#/${field}`, detail: 'is taken' }))
    return errors.length ? { code: 'already_exists', errors } : null
  }

  const take = async (batch: Read[]): Promise<string> => {
    const checked = batch.map((read): Read => {
      const again = 'user' in read && repeated(read.user)
      return again ? { line: read.line, ...again } : read
    })
    const users = checked.flatMap((read) => ('user' in read ? [read.user] : []))
    const [answer] = await ctx.run(
      ctx.db.execute(sql`select access.import_users(${JSON.stringify(users)}::jsonb, ${dry_run}) as taken`),
    )
    const taken = rowsOf<{ taken: Taken[] }>(answer)[0]?.taken ?? []
    let text = ''
    for (const read of checked) {
      const result: Taken | undefined = 'user' in read ? taken.shift() : read
      if (!result) throw new Error('The database returned fewer results than it was sent lines.')
      counts.lines++
      if ('errors' in result) {
        counts.failed++
        const errors = result.errors.map((issue) => ({ ...issue, detail: language.sentence(issue.detail) }))
        text += `${JSON.stringify({ line: read.line, status: 'failed', code: result.code, errors })}\n`
        continue
      }
      counts.created++
      if (dry_run && 'user' in read) {
        seen.email.add(read.user.email)
        seen.username.add(read.user.username)
      }
      const outcome = dry_run ? { status: 'would_create' } : { status: 'created', id: result.id }
      text += `${JSON.stringify({ line: read.line, ...outcome, username: result.username })}\n`
    }
    return text
  }

  const batches = batchesOf(body, language)
  let next = await batches.next()
  // Also for an empty body: the caller is admitted or refused before the response begins.
  let text = await take(next.done ? [] : next.value)

  let isConnected = true
  const encoder = new TextEncoder()
  const rest = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    const write = (lines: string) => isConnected && lines && controller.enqueue(encoder.encode(lines))
    let broken: Broken | undefined
    try {
      while (!next.done && isConnected) {
        write(text)
        next = await batches.next()
        text = next.done ? '' : await take(next.value)
      }
      if (next.done) broken = next.value ?? undefined
    } catch (error) {
      broken = brokenBy(error)
    }
    if (!dry_run)
      await ctx.run(ctx.db.execute(sql`select access.record_import(${JSON.stringify(counts)}::jsonb)`)).catch(brokenBy)
    log('users imported', { ...about(ctx), dry_run, ...counts, complete: isConnected && !broken })
    const why = broken && { ...broken, detail: language.sentence(broken.detail) }
    write(`${JSON.stringify({ summary: true, dry_run, ...counts, complete: !broken, ...why })}\n`)
    if (isConnected) controller.close()
  }

  /** Why a batch failed. It may have been committed and its answer lost: sending the file again shows that. */
  const brokenBy = (error: unknown): Broken => {
    const { code, message: detail } =
      error instanceof Problem ? error : { code: 'internal_error', message: problemCatalogue.internal_error[2] }
    log('import broken off', { ...about(ctx), code, error: error instanceof Error ? error.name : null })
    return { code, detail: `${detail} The result of the lines after the last one reported is unknown: send the file again.` }
  }

  return new ReadableStream<Uint8Array>({
    // Not in `pull`: a client that reads nothing before it has sent everything would wait for ever. The report on 100,000 lines
    // is small.
    start: (controller) => ctx.later(rest(controller)),
    cancel: () => {
      isConnected = false
    },
  })
}

const about = (ctx: Ctx) => ({ tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id })
