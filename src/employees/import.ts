/** Importing employees as JSON lines or CSV. A cell of CSV is text, whatever a spreadsheet would make of it. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { type Accepted, batchesOf, jsonLines, parsed, type Refused } from '../imports/batches.ts'
import { csvLines } from '../imports/csv.ts'
import { importing, reportOf } from '../imports/report.ts'
import type { Ctx } from '../kernel/context.ts'
import { Line, Text } from '../kernel/fields.ts'
import type { Language } from '../kernel/problem.ts'
import { NewEmployee } from './employees.ts'

/** An employee of an import. `unit` is the name of a unit, `user` the e-mail address or username of their account. */
export const ImportedEmployee = NewEmployee.extend({
  status: z.enum(['active', 'inactive']).nullish(),
  unit: Line(120).nullish(),
  user: Text(255)
    .transform((name) => name.normalize('NFKC').trim().toLowerCase())
    .nullish(),
})
  .strict()
  .refine((line) => !line.unit || !line.unit_id, { path: ['unit'], message: 'stands beside unit_id: send one of both' })
  .refine((line) => !line.user || !line.user_id, { path: ['user'], message: 'stands beside user_id: send one of both' })
  .openapi('ImportedEmployee')
type ImportLine = z.output<typeof ImportedEmployee>

export const EmployeeImportReport = reportOf({}).openapi('EmployeeImportReport')

const COLUMNS = Object.keys(ImportedEmployee.shape)
const REQUIRED = ['document_type', 'document_number', 'given_names', 'family_name']

function lineIn(value: unknown, language: Language): Accepted<ImportLine> | Refused {
  const read = parsed(ImportedEmployee, value, language)
  return 'data' in read ? { item: read.data, warnings: [] } : read
}

/**
 * Creates an employee from each line or row, and returns a stream with a result for each, in the caller's language; with `dry_run`
 * nothing is created. One round trip before anything is read, and one for each 200 lines, which records them, too.
 * `employee:create`; below scope `all` only in units that the caller can access. Until the response begins it fails as every route
 * does, and with invalid_request when the first row of a CSV names other columns than there are. Employees who are there are
 * reported as duplicates, so that the same file can be sent again.
 */
export async function importEmployees(
  ctx: Ctx,
  body: ReadableStream<Uint8Array>,
  asked: { is_csv: boolean; dry_run: boolean; language: Language },
): Promise<ReadableStream<Uint8Array>> {
  const { is_csv, dry_run, language } = asked
  // A dry run leaves no rows behind, so what its batches would have taken is kept here.
  const seen = { documents: new Set<string>(), accounts: new Set<string>() }
  const documentOf = (line: ImportLine) => `${line.document_type.toLowerCase()} ${line.document_number.toUpperCase()}`

  const repeated = (line: ImportLine): Refused | null => {
    const named = line.user ? 'user' : 'user_id'
    const errors = [
      ...(seen.documents.has(documentOf(line)) ? [{ pointer: '#/document_number', detail: 'is taken' }] : []),
      ...(seen.accounts.has(line[named] ?? '') ? [{ pointer: `#/${named}`, detail: 'is taken' }] : []),
    ]
    return errors.length ? { code: 'already_exists', errors } : null
  }
  const creating = (lines: ImportLine[], refused: number) =>
    sql`access.import_employees(${JSON.stringify(lines)}::jsonb, ${refused}, ${dry_run})`
  const took = (line: ImportLine, { user }: { id: string; user: string[] }) => {
    if (dry_run) {
      seen.documents.add(documentOf(line))
      for (const name of user) seen.accounts.add(name)
    }
    return {}
  }

  // Before anything of the body is read: only the database knows whether an API key works.
  await ctx.run()
  const lines = is_csv ? await csvLines(body, COLUMNS, REQUIRED) : jsonLines(body)
  const batches = batchesOf(lines, (value) => lineIn(value, language))
  return importing(ctx, { event: 'employees imported', dry_run, language, batches, repeated, creating, took })
}
