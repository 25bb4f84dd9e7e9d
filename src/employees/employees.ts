/**
 * Employees: their form on the wire, reading and changing them. Threat: a list shows what is sensitive to whoever may see a name. The app
 * login reads no sensitive column; access.sensitive_of gives those of a page to callers with `employee:read_sensitive`, in its scope.
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { Line, Text } from '../kernel/fields.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { withinScope } from '../lists/scope.ts'
import { Email } from '../names/addresses.ts'
import { Name, PlainName } from '../names/names.ts'
import { Phone } from '../users/fields.ts'

export const Day = z.iso
  .date({ error: 'must be a date like 2026-03-01' })
  .refine((day) => !day.startsWith('0000'), 'must lie in the years 1 to 9999')
const Status = z.enum(['active', 'inactive', 'terminated'])

export const Employee = z
  .object({
    id: z.uuid(),
    user_id: z.uuid().nullable(),
    document_type: z.string(),
    document_number: z.string().openapi({ description: 'With asterisks where `is_masked`', example: '******78' }),
    given_names: z.string(),
    family_name: z.string(),
    sex: z.string().nullable(),
    nationality: z.string().nullable(),
    birth_date: Day.nullable(),
    status: Status,
    position: z.string().nullable(),
    area: z.string().nullable(),
    cost_centre: z.string().nullable(),
    unit_id: z.uuid().nullable(),
    contractor_since: Day.nullable(),
    employed_since: Day.nullable(),
    terminated_at: z.iso.datetime().nullable(),
    termination_reason: z.string().nullable(),
    email: z.string().nullable(),
    phone: z.string().nullable(),
    address: z.string().nullable(),
    district: z.string().nullable(),
    emergency_contact: z.string().nullable(),
    emergency_phone: z.string().nullable(),
    is_masked: z.boolean().openapi({
      description: 'Number, birth date, address and emergency contact are hidden: reading them takes `employee:read_sensitive`',
    }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Employee')
export type EmployeeWire = z.infer<typeof Employee>
export const EmployeeList = pageOf(Employee).openapi('EmployeeList')

const Required = z.object({
  document_type: PlainName(20),
  // However it is typed, one document is one.
  document_number: PlainName(64)
    .refine((number) => number.length > 64 || number.normalize('NFKC').length <= 64, 'must have at most 64 characters')
    .normalize('NFKC'),
  given_names: Name(255),
  family_name: Name(255),
})
/** null means the same as absent in a new employee, and takes the value away from one that is there. */
const Optional = z
  .object({
    user_id: z.uuid().nullable(),
    sex: z.enum(['female', 'male', 'other']).nullable(),
    nationality: z
      .string()
      .regex(/^[A-Z]{2}$/, 'must be a country of ISO 3166, like PE')
      .nullable(),
    birth_date: Day.nullable(),
    position: Name(120).nullable(),
    area: Name(120).nullable(),
    cost_centre: Line(60).nullable(),
    unit_id: z.uuid().nullable(),
    contractor_since: Day.nullable(),
    employed_since: Day.nullable(),
    email: Email.nullable(),
    phone: Phone.nullable(),
    address: Text(255).nullable(),
    district: Text(120).nullable(),
    emergency_contact: Name(255).nullable(),
    emergency_phone: Phone.nullable(),
  })
  .partial()
const Said = z.enum(['active', 'inactive'])

export const NewEmployee = Required.extend({ ...Optional.shape, status: Said.default('active') }).openapi('NewEmployee')
/** A JSON merge patch (RFC 7396). */
export const EmployeePatch = Required.extend({ ...Optional.shape, status: Said })
  .partial()
  .openapi('EmployeePatch')

const SORTS = ['name', '-name', 'created_at', '-created_at'] as const
export const EmployeeQuery = Page.extend({
  sort: z.enum(SORTS).default('name'),
  search: Text(255).optional(),
  unit_id: z.uuid().optional(),
  status: Status.optional(),
})

const HAS_LEFT = sql`coalesce(e.terminated_at <= now(), false)`
/** An employee `e`, with what is sensitive of them as `s`. */
const columns = sql`e.id, e.user_id, e.document_type, coalesce(s.document_number, e.document_hint) as document_number, e.given_names, e.family_name,
  e.sex, e.nationality, s.birth_date::text as birth_date, case when ${HAS_LEFT} then 'terminated' else e.employment end as status, e.position, e.area, e.cost_centre, e.unit_id,
  e.contractor_since::text as contractor_since, e.employed_since::text as employed_since, ${rfc3339('e.terminated_at')} as terminated_at, e.termination_reason,
  e.email, e.phone, s.address, s.district, s.emergency_contact, s.emergency_phone, s.id is null as is_masked,
  ${rfc3339('e.created_at')} as created_at, ${rfc3339('e.updated_at')} as updated_at`
export const one = (id: string) =>
  sql`select ${columns} from freehold.employees e left join access.sensitive_of(array[${id}::uuid]) s on s.id = e.id where e.id = ${id}`

export function firstOrNotFound(result: unknown): EmployeeWire {
  const [employee] = rowsOf<EmployeeWire>(result)
  if (!employee) throw new Problem('not_found')
  return employee
}

function mapConstraintErrors(error: unknown): never {
  const taken = (field: string) => ({ errors: [{ pointer: `#/${field}`, detail: 'is taken' }], cause: error })
  const broken = brokenConstraint(error)
  if (broken === 'employees_document')
    throw new Problem('already_exists', 'Another employee has this document.', taken('document_number'))
  if (broken === 'employees_user') throw new Problem('already_exists', 'Another employee has this account.', taken('user_id'))
  if (broken === 'employees_unit_id_units_id_fk') throw invalid('unit_id', 'is not a unit that you can access')
  if (broken === 'employees_user_id_users_id_fk') throw invalid('user_id', 'is not a user whom you can access')
  throw error
}

/** The greatest code point: the end of the range that a prefix matches. */
const MAX_CODE_POINT = '\u{10FFFF}'

/** As the partial indexes of table.ts need it, which have those who are not simply active. */
const HAS_STATUS = {
  active: sql`not ${HAS_LEFT} and e.employment = 'active'`,
  inactive: sql`not ${HAS_LEFT} and e.employment = 'inactive'`,
  terminated: sql`e.terminated_at <= now()`,
}

/** A page of the employees that the caller can access, and one more. `after`: the key and id of the one before. */
export function listed(
  { limit, sort, search, unit_id, status }: Omit<z.infer<typeof EmployeeQuery>, 'cursor'>,
  after: string[] | null,
): SQL {
  const byDate = sort.endsWith('created_at')
  const [direction, beyond] = sort.startsWith('-') ? [sql.raw('desc'), sql.raw('<')] : [sql.raw('asc'), sql.raw('>')]
  const key = sql.raw(byDate ? 'e.created_at' : 'e.name collate "C"')
  const [value = '', id = ''] = after ?? []
  const prefix = sql`lower(${search}::text)`
  const conditions = [
    sql`true`,
    ...(after ? [sql`(${key}, e.id) ${beyond} (${value}::${sql.raw(byDate ? 'timestamptz' : 'text')}, ${id}::uuid)`] : []),
    ...(search === undefined
      ? []
      : [sql`e.name collate "C" >= ${prefix} and e.name collate "C" < ${prefix} || ${MAX_CODE_POINT}`]),
    ...(unit_id === undefined ? [] : [sql`e.unit_id = ${unit_id}`]),
    ...(status === undefined ? [] : [HAS_STATUS[status]]),
  ]
  const page = withinScope({
    columns: sql`e.id, ${byDate ? rfc3339('e.created_at') : sql.raw('e.name')} as key`,
    from: sql`freehold.employees e`,
    owner: sql`e.user_id`,
    unit: sql`e.unit_id`,
    where: sql.join(conditions, sql` and `),
    order: sql`${key} ${direction}, e.id ${direction}`,
    sorted: sql`page.key collate "C" ${direction}, page.id ${direction}`,
    limit: limit + 1,
    walk: true,
    beside: true,
  })
  return sql`with page as materialized (${page})
      select ${columns}, page.key from page join freehold.employees e on e.id = page.id
        left join access.sensitive_of(array(select p.id from page p)) s on s.id = e.id
      order by page.key collate "C" ${direction}, page.id ${direction}`
}

/**
 * Lists the employees that the caller can access. `search` is a case-insensitive prefix match on family name and given names. One round
 * trip; `employee:read`. Fails with invalid_cursor.
 */
export async function listEmployees(
  ctx: Ctx,
  { cursor, ...query }: z.infer<typeof EmployeeQuery>,
): Promise<z.infer<typeof EmployeeList>> {
  const name = `employees:${query.sort}`
  const after = await readCursor(ctx.realm, name, cursor)
  const [result] = await ctx.run(ctx.db.execute(listed(query, after)))
  const rows = rowsOf<EmployeeWire & { key: string }>(result)
  const { data, next_cursor } = await paged(ctx.realm, name, rows, query.limit, (row) => [row.key, row.id])
  return { data: data.map(({ key: _, ...employee }) => employee), next_cursor }
}

/** Gets an employee. One round trip; `employee:read`. Fails with not_found, also for one whom the caller cannot access. */
export const getEmployee = async (ctx: Ctx, id: string): Promise<EmployeeWire> =>
  firstOrNotFound((await ctx.run(ctx.db.execute(one(id))))[0])

/** The column of a field, and its value. */
const stored = (fields: object): [SQL, SQL][] =>
  Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([field, value]) => [sql`${sql.identifier(field === 'status' ? 'employment' : field)}`, sql`${value}`])

/**
 * Creates an employee. Callers below scope `all` create them in units that they can access. One round trip; `employee:create`. Fails with
 * already_exists (the document, or the account), invalid_request (a unit or user whom the caller cannot access), forbidden.
 */
export async function createEmployee(ctx: Ctx, wanted: z.infer<typeof NewEmployee>): Promise<EmployeeWire> {
  const id = crypto.randomUUID()
  const fields = stored({ id, ...wanted })
  const insert = sql`insert into freehold.employees (${sql.join(
    fields.map(([column]) => column),
    sql`, `,
  )}) values (${sql.join(
    fields.map(([, value]) => value),
    sql`, `,
  )})`
  const [made] = await create<EmployeeWire>(ctx, { before: [insert], made: sql`made as (${one(id)})` }).catch(mapConstraintErrors)
  if (!made) throw new Problem('not_found')
  return made
}

/**
 * Changes the given fields. One round trip; `employee:update`. Fails with not_found, etag_mismatch, already_exists, invalid_request,
 * forbidden (an employee whom the caller can only read, or who they are), illegal_state (another account, after the termination).
 */
export async function changeEmployee(
  ctx: Ctx,
  id: string,
  wanted: z.infer<typeof EmployeePatch>,
  ifMatch?: string,
): Promise<EmployeeWire> {
  const fields = stored(wanted).map(([column, value]) => sql`${column} = ${value}`)
  const update = sql`update freehold.employees e set ${sql.join(fields.length ? fields : [sql`email = e.email`], sql`, `)}
    where e.id = ${id} and ${matches('e.updated_at', ifMatch)} returning e.id`
  const reach = sql`select access.require_reach('employee', ${id}::uuid)`
  const [, changed, result] = await ctx
    .run(ctx.db.execute(reach), ctx.db.execute(update), ctx.db.execute(one(id)))
    .catch(mapConstraintErrors)
  const employee = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(employee, ifMatch)
  return employee
}
