/**
 * Moving people in from another system. Threat: a file that is larger than the Worker's memory, and a run that ends half-way and looks whole. So
 * lines are taken 200 at a time, each batch admitted anew; each line has its own answer; and the last one says whether all were looked at.
 * Nothing is hashed here.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { catalogue, type Language, Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { type Broken, batchesOf, type Person, type Read, type Refused } from './import-lines.ts'

export const ImportQuery = z.object({ dry_run: z.enum(['true', 'false']).default('false') })

const Faults = z.array(z.object({ pointer: z.string(), detail: z.string() }))
/** What is told of a line, and at the end of all of them. */
export const ImportReport = z
  .union([
    z.object({
      line: z.int(),
      status: z.enum(['created', 'would_create', 'failed']),
      id: z.uuid().optional(),
      username: z.string().optional(),
      code: z.string().optional(),
      errors: Faults.optional(),
    }),
    z.object({
      summary: z.literal(true),
      dry_run: z.boolean(),
      lines: z.int(),
      created: z.int(),
      failed: z.int(),
      /** False: not all lines were looked at. `code` and `detail` say why. */
      complete: z.boolean(),
      code: z.string().optional(),
      detail: z.string().optional(),
    }),
  ])
  .openapi('ImportReport')

type Taken = { id: string; username: string } | Refused

/**
 * Makes a person of each line, or says why not, as a stream of lines of its own; `dry_run`: as if. One round trip before the answer begins, one
 * for each further 200 lines, and one to record it. `user:create`; below scope `all` in units that the caller reaches. Before the answer begins
 * it fails as every route does. Who is there already is told as taken, so that the same file can be sent again. What is told is in the language.
 */
export async function importUsers(
  ctx: Ctx,
  body: ReadableStream<Uint8Array>,
  dry_run: boolean,
  language: Language,
): Promise<ReadableStream<Uint8Array>> {
  const counts = { lines: 0, created: 0, failed: 0 }
  const seen = { email: new Set<string>(), username: new Set<string>() }

  /** In a dry run nobody is there afterwards: who was in a batch before this one is remembered here. */
  const repeated = (person: Person): Refused | null => {
    const fields = (['email', 'username'] as const).filter((field) => seen[field].has(person[field]))
    const errors = fields.map((field) => ({ pointer: `#/${field}`, detail: 'is taken' }))
    return errors.length ? { code: 'already_exists', errors } : null
  }

  const take = async (batch: Read[]): Promise<string> => {
    const looked = batch.map((read): Read => {
      const again = 'person' in read && repeated(read.person)
      return again ? { line: read.line, ...again } : read
    })
    const people = looked.flatMap((read) => ('person' in read ? [read.person] : []))
    const [answer] = await ctx.run(
      ctx.db.execute(sql`select access.import_users(${JSON.stringify(people)}::jsonb, ${dry_run}) as taken`),
    )
    const taken = rowsOf<{ taken: Taken[] }>(answer)[0]?.taken ?? []
    let text = ''
    for (const read of looked) {
      const result: Taken | undefined = 'person' in read ? taken.shift() : read
      if (!result) throw new Error('The database said less than it was asked.')
      counts.lines++
      if ('errors' in result) {
        counts.failed++
        const errors = result.errors.map((fault) => ({ ...fault, detail: language.sentence(fault.detail) }))
        text += `${JSON.stringify({ line: read.line, status: 'failed', code: result.code, errors })}\n`
        continue
      }
      counts.created++
      if (dry_run && 'person' in read) {
        seen.email.add(read.person.email)
        seen.username.add(read.person.username)
      }
      const told = dry_run ? { status: 'would_create' } : { status: 'created', id: result.id }
      text += `${JSON.stringify({ line: read.line, ...told, username: result.username })}\n`
    }
    return text
  }

  const batches = batchesOf(body, language)
  let next = await batches.next()
  // Also when there is nothing in it: whoever asks is admitted, or told otherwise, before the answer begins.
  let text = await take(next.done ? [] : next.value)

  let isHeard = true
  const encoder = new TextEncoder()
  const rest = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    const tell = (said: string) => isHeard && said && controller.enqueue(encoder.encode(said))
    let broken: Broken | undefined
    try {
      while (!next.done && isHeard) {
        tell(text)
        next = await batches.next()
        text = next.done ? '' : await take(next.value)
      }
      if (next.done) broken = next.value ?? undefined
    } catch (error) {
      broken = brokenBy(error)
    }
    if (!dry_run)
      await ctx.run(ctx.db.execute(sql`select access.record_import(${JSON.stringify(counts)}::jsonb)`)).catch(brokenBy)
    log('users imported', { ...about(ctx), dry_run, ...counts, complete: isHeard && !broken })
    const why = broken && { ...broken, detail: language.sentence(broken.detail) }
    tell(`${JSON.stringify({ summary: true, dry_run, ...counts, complete: !broken, ...why })}\n`)
    if (isHeard) controller.close()
  }

  /** Why a batch was not taken. It may have been, and its answer lost: that is what sending the file again is for. */
  const brokenBy = (error: unknown): Broken => {
    const { code, message: detail } =
      error instanceof Problem ? error : { code: 'internal_error', message: catalogue.internal_error[2] }
    log('import broken off', { ...about(ctx), code, error: error instanceof Error ? error.name : null })
    return { code, detail: `${detail} Of the lines after the last one here nothing is known: send the file again.` }
  }

  return new ReadableStream<Uint8Array>({
    // Not when the reader asks for more: who reads nothing before all is sent would wait for ever. What is told of 100,000 lines is small.
    start: (controller) => ctx.later(rest(controller)),
    cancel: () => {
      isHeard = false
    },
  })
}

const about = (ctx: Ctx) => ({ tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id })
