/**
 * The report on an import. Threat: a file, or a report on it, that is larger than the Worker's memory, and a run that ends half-way
 * and looks complete. So lines are imported 200 at a time, each batch with an admission and a record of its own, and only once the
 * report on the one before was read; each line has its own result; and the summary says whether all lines were processed.
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { type Issue, type Language, Problem, problemCatalogue } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import type { Broken, Read, Refused } from './batches.ts'

export const ImportQuery = z.object({ dry_run: z.enum(['true', 'false']).default('false') })

const Issues = z.array(z.object({ pointer: z.string(), detail: z.string() }))
/** The result of one line: of one that was taken with its id and what `shown` says. The last object of a report is the summary. */
export const reportOf = <S extends z.ZodRawShape>(shown: S) =>
  z.union([
    z.object({
      line: z.int(),
      status: z.enum(['created', 'would_create', 'failed']),
      id: z.uuid().optional(),
      ...shown,
      code: z.string().optional(),
      errors: Issues.optional(),
      /** What of the line was left out, where the rest was taken all the same. */
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

/** An import: what is made of lines, and how. */
type Import<T, R extends { id: string }> = {
  /** What the log calls it. */
  event: string
  dry_run: boolean
  language: Language
  batches: AsyncGenerator<Read<T>[], Broken | undefined>
  /** Why a line is a repetition of an earlier one, which a dry run has to know by itself. */
  repeated(item: T): Refused | null
  /** The function call that creates the items of a batch; the Worker has refused so many lines of it itself. */
  creating(items: T[], refused: number): SQL
  /** Told of each that was taken, or would be; gives what the report shows of it. */
  took(item: T, result: R): object
}

/**
 * Creates what the lines of a file say and returns a stream with a result for each, in the caller's language. One round trip before
 * anything is created, and one for each batch, which records it, too. Until the response begins it fails as every route does.
 */
export function importing<T, R extends { id: string }>(
  ctx: Ctx,
  { event, dry_run, language, batches, repeated, creating, took }: Import<T, R>,
): ReadableStream<Uint8Array> {
  const counts = { lines: 0, created: 0, failed: 0 }
  const about = { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id }
  const translated = (issues: Issue[]) => issues.map((issue) => ({ ...issue, detail: language.sentence(issue.detail) }))

  const take = async (batch: Read<T>[]): Promise<string> => {
    const checked = batch.map((read): Read<T> => {
      const again = 'item' in read && repeated(read.item)
      return again ? { line: read.line, ...again } : read
    })
    const items = checked.flatMap((read) => ('item' in read ? [read.item] : []))
    const [answer] = await ctx.run(ctx.db.execute(sql`select ${creating(items, checked.length - items.length)} as taken`))
    const taken = rowsOf<{ taken: (R | Refused)[] }>(answer)[0]?.taken ?? []
    let text = ''
    for (const read of checked) {
      const result: R | Refused | undefined = 'item' in read ? taken.shift() : read
      if (!result) throw new Error('The database returned fewer results than it was sent lines.')
      counts.lines++
      if ('errors' in result) {
        counts.failed++
        const errors = translated(result.errors)
        text += `${JSON.stringify({ line: read.line, status: 'failed', code: result.code, errors })}\n`
      } else if ('item' in read) {
        counts.created++
        const outcome = dry_run ? { status: 'would_create' } : { status: 'created', id: result.id }
        const warnings = read.warnings.length ? { warnings: translated(read.warnings) } : {}
        text += `${JSON.stringify({ line: read.line, ...outcome, ...took(read.item, result), ...warnings })}\n`
      }
    }
    return text
  }

  /** Why a batch failed. It may have been committed and its answer lost: sending the file again shows that. */
  const brokenBy = (error: unknown): Broken => {
    const { code, message: detail } =
      error instanceof Problem ? error : { code: 'internal_error', message: problemCatalogue.internal_error[2] }
    log('import broken off', { ...about, code, error: error instanceof Error ? error.name : null })
    return { code, detail: `${detail} The result of the lines after the last one reported is unknown: send the file again.` }
  }

  const encoder = new TextEncoder()
  /** The report, a batch at a time. */
  async function* report(): AsyncGenerator<Uint8Array, void> {
    let broken: Broken | undefined
    try {
      let next = await batches.next()
      for (; !next.done; next = await batches.next()) yield encoder.encode(await take(next.value))
      broken = next.value
    } catch (error) {
      broken = brokenBy(error)
    }
    log(event, { ...about, dry_run, ...counts, complete: !broken })
    const why = broken && { ...broken, detail: language.sentence(broken.detail) }
    yield encoder.encode(`${JSON.stringify({ summary: true, dry_run, ...counts, complete: !broken, ...why })}\n`)
  }

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
