/**
 * Exports the audit as a file. Threat: a log that is larger than the Worker's memory, and a file that ends early and looks
 * complete. So it is read in pages, each once the client has taken the one before, each with an admission of its own; and when a
 * page fails, the response is aborted and not closed.
 */
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { rowsOf } from '../kernel/wire.ts'
import { Activity, type ActivityWire, cursorOf, type Search, selectActivities } from './audit.ts'
import { csvLine } from './csv.ts'

const PAGE = 1_000
const COLUMNS = Object.keys(Activity.shape) as (keyof ActivityWire)[]

type Format = { type: string; head: string; row: (activity: ActivityWire) => string }

const formats = {
  csv: {
    type: 'text/csv; charset=utf-8; header=present',
    head: csvLine(COLUMNS),
    row: (activity) => csvLine(COLUMNS.map((name) => activity[name])),
  },
  ndjson: { type: 'application/x-ndjson', head: '', row: (activity) => `${JSON.stringify(activity)}\n` },
} satisfies Record<string, Format>

/**
 * Streams the activities within the caller's scope, newest first, and records the export. One round trip before the response
 * begins and one for each further 1,000 activities while it is read; `activity:export`.
 */
export async function exportActivities(ctx: Ctx, { format, ...search }: Search & { format: keyof typeof formats }) {
  const { type, head, row }: Format = formats[format]
  const page = (after: string[] | null) => ctx.db.execute(selectActivities(search, after, PAGE))
  const [first] = await ctx.run(
    page(null),
    ctx.db.execute(sql`select access.record_export(${JSON.stringify({ ...search, format })}::jsonb)`),
  )
  let rows: ActivityWire[] | null = rowsOf<ActivityWire>(first)
  let place: string[] | null = null
  let text = head
  const encoder = new TextEncoder()
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        rows ??= rowsOf<ActivityWire>((await ctx.run(page(place)))[0])
        for (const activity of rows) text += row(activity)
        if (text) controller.enqueue(encoder.encode(text))
        const last = rows.length === PAGE ? rows.at(-1) : undefined
        if (!last) return controller.close()
        place = cursorOf(last)
        rows = null
        text = ''
      },
    },
    { highWaterMark: 0 },
  )
  const name = `activities-${new Date().toISOString().slice(0, 10)}.${format}`
  return { body, headers: { 'Content-Type': type, 'Content-Disposition': `attachment; filename="${name}"` } }
}
