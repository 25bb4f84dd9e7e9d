/**
 * The matrix: people by competency, now or at a past moment, in pages or as a file. Threat: a formula in the name of a person or a type,
 * and a file that ends early and looks complete. So fields are escaped (src/audit/csv.ts), and when a page fails, the response is
 * aborted and not closed.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { csvLine } from '../audit/csv.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, readCursor } from '../kernel/cursor.ts'
import { Moment } from '../kernel/fields.ts'
import { invalid } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { withinScope } from '../lists/scope.ts'
import { Kind } from './types.ts'

const MOST_TYPES = 200
const EXPORTED_AT_ONCE = 100
const UUID = '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'

const Filters = z.object({
  unit_id: z.uuid().optional(),
  type_id: z
    .string()
    .max(50 * 37)
    .regex(new RegExp(`^${UUID}(,${UUID})*$`), 'must be ids of types, with commas between them')
    .optional()
    .openapi({ description: 'One or several, with commas between them' }),
  kind: Kind.optional(),
  at: Moment.optional().openapi({ description: 'A moment, for what counted then' }),
})
type Filters = z.infer<typeof Filters>
export const MatrixQuery = Page.extend(Filters.shape)
export const MatrixExportQuery = Filters

const Cell = z.object({
  type_id: z.uuid(),
  state: z.enum(['valid', 'unverified', 'expired', 'revoked', 'missing']),
  level: z.int().nullable().openapi({ description: 'The highest that counts; null: none does' }),
  expires_at: z.iso.datetime().nullable(),
  required_level: z.int().nullable().openapi({ description: 'What the roles of the user demand' }),
  is_lacking: z.boolean().openapi({ description: 'Whether a role demands more than counts' }),
})
const Row = z.object({
  user_id: z.uuid(),
  username: z.string(),
  given_name: z.string().nullable(),
  family_name: z.string().nullable(),
  unit_id: z.uuid().nullable(),
  cells: z.array(Cell).openapi({ description: 'Only where there is a record, or a role demands one' }),
})
type RowWire = z.infer<typeof Row>
export const CompetencyMatrix = z
  .object({
    at: z.iso.datetime(),
    types: z.array(z.object({ id: z.uuid(), name: z.string(), kind: Kind })),
    data: z.array(Row),
    next_cursor: z.string().nullable(),
  })
  .openapi('CompetencyMatrix')
type Type = z.infer<typeof CompetencyMatrix>['types'][number]

/** The types that were in use at the moment, one more than there may be. */
const typesAt = ({ type_id, kind }: Filters) => {
  const conditions = [
    sql`t.created_at <= m.at`,
    sql`(t.retired_at is null or t.retired_at > m.at)`,
    ...(kind === undefined ? [] : [sql`t.kind = ${kind}`]),
    ...(type_id === undefined
      ? []
      : [sql`t.id in (select x::uuid from jsonb_array_elements_text(${JSON.stringify(type_id.split(','))}::jsonb) x)`]),
  ]
  return sql`select t.id, t.name, t.kind, t.folded from freehold.competency_types t, moment m
    where ${sql.join(conditions, sql` and `)} order by t.folded collate "C", t.id limit ${MOST_TYPES + 1}`
}

/** Who was here at the moment, by name. Who has left since and was erased is nobody any more. */
function peopleAt({ unit_id, at }: Filters, after: string[] | null, limit: number) {
  const conditions = [
    sql`u.erased_at is null and (u.is_active and u.terminated_at is null or u.terminated_at > (select m.at from moment m))`,
    ...(at === undefined ? [] : [sql`coalesce(u.joined_at, u.created_at) <= (select m.at from moment m)`]),
    ...(after ? [sql`(u.name collate "C", u.id) > (${after[0]}::text, ${after[1]}::uuid)`] : []),
    ...(unit_id === undefined ? [] : [sql`u.unit_id = ${unit_id}`]),
  ]
  return withinScope({
    columns: sql`u.id, u.name as key`,
    from: sql`freehold.users u`,
    owner: sql`u.id`,
    unit: sql`u.unit_id`,
    where: sql.join(conditions, sql` and `),
    order: sql`u.name collate "C", u.id`,
    sorted: sql`page.key collate "C", page.id`,
    limit,
    walk: true,
  })
}

const STATES = Cell.shape.state.options
/** A person with their cells as the database gives them: access.matrix_rows. */
type Found = Omit<RowWire, 'cells'> & {
  key: string
  places: number[] | null
  states: number[]
  levels: (number | null)[]
  ends: (string | null)[]
  required_levels: (number | null)[]
}
type Selected = { at: string; types: Type[]; rows: Found[] }

/** One page of people with their cells: one statement. */
export const selectPage = (filters: Filters, after: string[] | null, limit: number) =>
  sql`with moment as materialized (select coalesce(${filters.at ?? null}::timestamptz, now()) as at),
    types as materialized (${typesAt(filters)}),
    page as materialized (${peopleAt(filters, after, limit)}),
    people as materialized (
      select json_agg(json_build_object('user_id', u.id, 'username', u.username, 'given_name', u.given_name, 'family_name', u.family_name,
        'unit_id', u.unit_id, 'key', p.key, 'places', c.places, 'states', c.states, 'levels', c.levels, 'ends', c.ends,
        'required_levels', c.required_levels) order by p.key collate "C", p.id) as rows
      from page p join freehold.users u on u.id = p.id
        left join access.matrix_rows(array(select p.id from page p), array(select t.id from types t order by t.folded collate "C", t.id),
          (select m.at from moment m)) c on c.user_id = p.id)
  select ${rfc3339('m.at')} as at, coalesce((select x.rows from people x), '[]') as rows,
    coalesce((select json_agg(json_build_object('id', t.id, 'name', t.name, 'kind', t.kind) order by t.folded collate "C", t.id) from types t), '[]') as types
  from moment m`

/** A timestamp in UTC as JSON has it, without a zone and without the zeros of its fraction, as RFC 3339 with microseconds. */
function written(end: string): string {
  const [seconds, fraction = ''] = end.split('.')
  return `${seconds}.${fraction.padEnd(6, '0')}Z`
}

function cellsOf({ places, states, levels, ends, required_levels }: Found, types: Type[]): RowWire['cells'] {
  const cells = (places ?? []).map((place, i) => {
    const [level, end, required_level] = [levels[i] ?? null, ends[i] ?? null, required_levels[i] ?? null]
    return {
      place,
      cell: {
        type_id: types[place - 1]?.id ?? '',
        state: STATES[(states[i] ?? 0) - 1] ?? 'missing',
        level,
        expires_at: end === null ? null : written(end),
        required_level,
        is_lacking: (level ?? 0) < (required_level ?? 0),
      },
    }
  })
  return cells.sort((one, other) => one.place - other.place).map(({ cell }) => cell)
}

function pageOf(result: unknown): { at: string; types: Type[]; rows: (RowWire & { key: string })[] } {
  const [page] = rowsOf<Selected>(result)
  if (!page) throw new Error('Nothing was answered.')
  const { at, types } = page
  if (types.length > MOST_TYPES)
    throw invalid('query/type_id', `is needed: there are more than ${MOST_TYPES} types, so name some of them, or a kind`)
  const rows = page.rows.map((row) => {
    const { user_id, username, given_name, family_name, unit_id, key } = row
    return { user_id, username, given_name, family_name, unit_id, cells: cellsOf(row, types), key }
  })
  return { at, types, rows }
}

/**
 * The matrix of the people whom the caller can access, by name. One round trip for each page; `competency:read`. Fails with
 * invalid_cursor, invalid_request (more than 200 types).
 */
export async function competencyMatrix(
  ctx: Ctx,
  { limit, cursor, ...filters }: z.infer<typeof MatrixQuery>,
): Promise<z.infer<typeof CompetencyMatrix>> {
  const after = await readCursor(ctx.realm, 'competency-matrix', cursor)
  const [result] = await ctx.run(ctx.db.execute(selectPage(filters, after, limit + 1)))
  const { at, types, rows } = pageOf(result)
  const { data, next_cursor } = await paged(ctx.realm, 'competency-matrix', rows, limit, (row) => [row.key, row.user_id])
  return { at, types, data: data.map(({ key: _, ...row }) => row), next_cursor }
}

const PERSON = ['user_id', 'username', 'given_name', 'family_name'] as const

/** What a cell says in a file: the level and until when, or why none counts; and what is demanded, where that is more. */
function inFile(cell: RowWire['cells'][number] | undefined): string {
  if (!cell) return ''
  const day = cell.expires_at?.slice(0, 10)
  const has = cell.level === null ? cell.state : String(cell.level)
  const until = day && cell.state !== 'revoked' ? ` (${day})` : ''
  return `${has}${until}${cell.is_lacking ? `, needs ${cell.required_level}` : ''}`
}

/**
 * Streams the matrix as CSV, a line for each person and a column for each type, and records that. One round trip before the response
 * begins and one for each further 100 people while it is read; `competency:export`.
 */
export async function exportMatrix(ctx: Ctx, asked: z.infer<typeof MatrixExportQuery>) {
  const [result] = await ctx.run(
    ctx.db.execute(selectPage(asked, null, EXPORTED_AT_ONCE)),
    ctx.db.execute(sql`select access.record_matrix_export(${JSON.stringify(asked)}::jsonb)`),
  )
  const { at, types, rows: first } = pageOf(result)
  // All pages are of one moment, and have the columns of the first one.
  const filters = { ...asked, at }
  const encoder = new TextEncoder()
  let rows: typeof first | null = first
  let place: string[] | null = null
  let text = csvLine([...PERSON, ...types.map(({ name }) => name)])
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        rows ??= pageOf((await ctx.run(ctx.db.execute(selectPage(filters, place, EXPORTED_AT_ONCE))))[0]).rows
        for (const row of rows) {
          const cells = new Map(row.cells.map((cell) => [cell.type_id, cell]))
          text += csvLine([...PERSON.map((name) => row[name]), ...types.map(({ id }) => inFile(cells.get(id)))])
        }
        if (text) controller.enqueue(encoder.encode(text))
        const last = rows.at(-1)
        if (!last || rows.length < EXPORTED_AT_ONCE) return controller.close()
        place = [last.key, last.user_id]
        rows = null
        text = ''
      },
    },
    { highWaterMark: 0 },
  )
  return {
    body,
    headers: {
      'Content-Type': 'text/csv; charset=utf-8; header=present',
      'Content-Disposition': `attachment; filename="competencies-${at.slice(0, 10)}.csv"`,
    },
  }
}
