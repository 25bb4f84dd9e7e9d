/**
 * Exports the audit as a file. Threat: a log that is larger than the Worker's memory, and a file that ends early and looks
 * complete. So it is read in pages, each once the client has taken the one before, each with an admission of its own; and when a
 * page fails, the response is aborted and not closed.
 *
 * Each row has what its hashes are made of, so that whoever has the file and the checkpoints can verify it
 * (scripts/freehold/audit-file.ts).
 */
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { rowsOf } from '../kernel/wire.ts'
import { Activity, type ActivityWire, cursorOf, type Search, selectActivities } from './audit.ts'
import { csvLine } from './csv.ts'

/** What a page holds at most: Neon refuses an answer above 10 MiB, and the wire doubles quotes and backslashes. */
const PAGE = { rows: 1_000, bytes: 2 * 1024 * 1024 }
/** `before` and `after` are the text of the database, whose numbers are hashed as they are written there. */
type Exported = Omit<ActivityWire, 'before' | 'after'> & { before: string | null; after: string | null } & Proof
/** null: no checkpoint yet, and no detail any more. */
type Proof = { xid: number; checkpoint: number | null; detail_hash: string; salt: string | null }

const PROOF = ['xid', 'checkpoint', 'detail_hash', 'salt'] satisfies (keyof Proof)[]
const COLUMNS = [...(Object.keys(Activity.shape) as (keyof Exported)[]), ...PROOF]
const columns =
  sql.raw(`l.id, to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, l.user_id, d.user_name, l.activity_type, l.action, l.resource_type,
  l.resource_id, l.risk_score, l.trace_id, d.address, d.agent, d.method, d.path, d.before::text as before, d.after::text as after, d.api_key_id, d.impersonator_id,
  l.xid, l.checkpoint, encode(l.detail_hash, 'hex') as detail_hash, encode(d.salt, 'hex') as salt`)

type Format = { type: string; head: string; row: (activity: Exported) => string }

/** A line of JSON in which `before` and `after` are what the database wrote. */
const line = ({ before, after, ...row }: Exported) =>
  `${JSON.stringify({ ...row, xid: Number(row.xid) }).slice(0, -1)},"before":${before},"after":${after}}\n`

const formats = {
  csv: {
    type: 'text/csv; charset=utf-8; header=present',
    head: csvLine(COLUMNS),
    row: (activity) => csvLine(COLUMNS.map((name) => activity[name])),
  },
  ndjson: { type: 'application/x-ndjson', head: '', row: line },
} satisfies Record<string, Format>

/**
 * The next page: as many activities as the bytes allow, and always one. `found` counts those that the rows alone would allow, so
 * that a page that the bytes ended is known from the last one.
 */
const selectPage = (search: Search, after: string[] | null) =>
  sql`select sized.* from (
    select found.*, count(*) over ()::integer as found,
      sum(octet_length(found::text)) over (order by found.at desc, found.id desc) - octet_length(found::text) as bytes_before
    from (${selectActivities(search, after, PAGE.rows, columns)}) found) sized
  where bytes_before < ${PAGE.bytes} order by at desc, id desc`

type Paged = Exported & { found: number; bytes_before: string }

/**
 * Streams the activities within the caller's scope, newest first, and records the export. One round trip before the response
 * begins and one for each further page, of 1,000 activities or 2 MiB, while it is read; `activity:export`.
 */
export async function exportActivities(ctx: Ctx, { format, ...search }: Search & { format: keyof typeof formats }) {
  const { type, head, row }: Format = formats[format]
  const page = (after: string[] | null) => ctx.db.execute(selectPage(search, after))
  const [first] = await ctx.run(
    page(null),
    ctx.db.execute(sql`select access.record_export(${JSON.stringify({ ...search, format })}::jsonb)`),
  )
  let rows: Paged[] | null = rowsOf<Paged>(first)
  let place: string[] | null = null
  let text = head
  const encoder = new TextEncoder()
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        rows ??= rowsOf<Paged>((await ctx.run(page(place)))[0])
        for (const { found: _, bytes_before: __, ...activity } of rows) text += row(activity)
        if (text) controller.enqueue(encoder.encode(text))
        const last = rows.at(-1)
        if (!last || (rows.length === last.found && last.found < PAGE.rows)) return controller.close()
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
