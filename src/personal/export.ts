/**
 * The export of a person's own data (GDPR 20), as one JSON document or as CSV files in a zip. Threat: somebody else's data, a secret,
 * a formula in a spreadsheet, or a file that ends early and looks complete. The database says whose it is and what is secret
 * (export.sql, registry.sql). What somebody did may be more than the memory of a Worker: it is read in pages while the client takes
 * the answer, each with an admission of its own, and when one fails, the response is aborted and not closed.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { csvLine } from '../audit/csv.ts'
import type { Ctx } from '../kernel/context.ts'
import { Problem } from '../kernel/problem.ts'
import { rowsOf } from '../kernel/wire.ts'
import { zipped } from './zip.ts'

const PAGE = { rows: 1_000, bytes: 2 * 1024 * 1024 }
const FORMAT = 'freehold-personal-data/1'

type Row = Record<string, unknown>
/** `user` is one row, everything else a list of rows. */
type Tables = Record<string, Row | Row[]>
type Page = { data: Row[]; next: [string, string] | null }

export const MyExportQuery = z.object({
  format: z.enum(['json', 'zip']).default('json').openapi({ description: '`zip`: a CSV file for each list' }),
})

const Rows = z.array(z.record(z.string(), z.unknown()))
export const PersonalData = z
  .object({
    format: z.literal(FORMAT),
    exported_at: z.iso.datetime(),
    tenant: z.object({ id: z.uuid(), subdomain: z.string().nullable(), legal_name: z.string() }),
    user: z.record(z.string(), z.unknown()),
    roles: Rows,
    overrides: Rows,
    delegations: Rows,
    periods: Rows,
    employee: Rows,
    competencies: Rows,
    api_keys: Rows,
    sessions: Rows,
    authenticator_app: Rows,
    backup_codes: Rows,
    remembered_devices: Rows,
    logins_by_mail: Rows,
    passwords: Rows,
    mailed_tokens: Rows,
    registrations: Rows,
    invitations: Rows,
    login_attempts: Rows,
    assessed_logins: Rows,
    lockouts: Rows,
    erasures: Rows,
    identities: Rows,
    passkeys: Rows,
    mail_attempts: Rows,
    mails: Rows,
    notifications: Rows,
    notification_preferences: Rows,
    activities: Rows.openapi({ description: 'What the person did, oldest first' }),
  })
  .openapi('PersonalData')

/**
 * Exports everything about the current user. One round trip before the response begins, and one for each further 1,000 activities
 * while it is read; a session. It is recorded. Fails with rate_limited: ten an hour.
 */
export async function exportMe(ctx: Ctx, format: 'json' | 'zip') {
  const page = (after: [string, string] | null) =>
    ctx.db.execute(
      sql`select access.export_activities(${after?.[0] ?? null}::timestamptz, ${after?.[1] ?? null}::uuid, ${PAGE.rows}, ${PAGE.bytes}) as answer`,
    )
  const [all, first] = await ctx.run(ctx.db.execute(sql`select access.export_person() as answer`), page(null))
  const answered = rowsOf<{ answer: Tables | null }>(all)[0]?.answer
  if (!answered)
    throw new Problem('rate_limited', 'Your data was exported ten times within the hour.', { headers: { 'Retry-After': '600' } })
  // A database that is a version behind has no such tables.
  const tables = {
    employee: [],
    competencies: [],
    invitations: [],
    notifications: [],
    notification_preferences: [],
    assessed_logins: [],
    ...answered,
  }
  async function* activities(): AsyncGenerator<Row[]> {
    for (let read = rowsOf<{ answer: Page }>(first)[0]?.answer; read; ) {
      yield read.data
      const { next } = read
      read = next ? rowsOf<{ answer: Page }>((await ctx.run(page(next)))[0])[0]?.answer : undefined
    }
  }
  const at = new Date()
  const { id, subdomain, legal_name } = ctx.realm
  const about = { format: FORMAT, exported_at: at.toISOString(), tenant: { id, subdomain, legal_name } }
  const chunks = format === 'zip' ? zipped(csvFiles(tables, activities()), at) : jsonOf({ ...about, ...tables }, activities())
  const name = `personal-data-${at.toISOString().slice(0, 10)}.${format}`
  return {
    body: streamOf(chunks),
    headers: {
      'Content-Type': format === 'zip' ? 'application/zip' : 'application/json',
      'Content-Disposition': `attachment; filename="${name}"`,
    },
  }
}

async function* jsonOf(known: object, pages: AsyncIterable<Row[]>): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder()
  yield encoder.encode(`${JSON.stringify(known).slice(0, -1)},"activities":[`)
  let between = ''
  for await (const rows of pages) {
    if (rows.length) yield encoder.encode(between + rows.map((row) => JSON.stringify(row)).join(',\n'))
    between = ',\n'
  }
  yield encoder.encode(']}\n')
}

async function* csvFiles(tables: Tables, activities: AsyncIterable<Row[]>) {
  for (const [name, rows] of Object.entries(tables)) {
    const all = Array.isArray(rows) ? rows : [rows]
    yield { name: `${name}.csv`, text: csvOf([all]) }
  }
  yield { name: 'activities.csv', text: csvOf(activities) }
}

/** The columns are those of the first row: all rows of a table have the same. */
async function* csvOf(pages: AsyncIterable<Row[]> | Row[][]): AsyncGenerator<string> {
  let columns: string[] | undefined
  for await (const rows of pages) {
    if (!columns && rows[0]) {
      columns = Object.keys(rows[0])
      yield csvLine(columns)
    }
    yield rows.map((row) => csvLine((columns ?? []).map((column) => row[column]))).join('')
  }
}

const streamOf = (chunks: AsyncGenerator<Uint8Array>) =>
  new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      async cancel() {
        await chunks.return(undefined)
      },
    },
    { highWaterMark: 0 },
  )
