/** Numbers of employees: by what they are now or were at a moment, and over time. All of them count those that the caller can access. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { csvLine } from '../audit/csv.ts'
import type { Ctx } from '../kernel/context.ts'
import { Moment } from '../kernel/fields.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { Day } from './employees.ts'

export const ReportQuery = z.object({
  by: z.enum(['unit', 'position', 'role', 'status']).default('unit'),
  at: Moment.optional().openapi({ description: 'A moment, for those who were employed then' }),
  format: z.enum(['json', 'csv']).default('json'),
})
const Group = z.object({
  key: z.string().nullable().openapi({ description: 'The id of a unit, else what it is grouped by; null: they have none' }),
  name: z.string().nullable(),
  employees: z.int(),
})
export const EmployeeReport = z.object({ at: z.iso.datetime(), data: z.array(Group) }).openapi('EmployeeReport')

/** How many steps there may be, so that a span of centuries by days is refused. */
const MOST_STEPS = 400
const DAYS = { day: 1, week: 7, month: 28, year: 365 }
const stepsOf = ({ from, to, step }: { from: string; to: string; step: keyof typeof DAYS }) =>
  (Date.parse(to) - Date.parse(from)) / 86_400_000 / DAYS[step]

export const HeadcountQuery = z
  .object({
    from: Day.openapi({ example: '2026-01-01' }),
    to: Day.openapi({ example: '2026-12-31' }),
    step: z.enum(['day', 'week', 'month', 'year']).default('month'),
    format: z.enum(['json', 'csv']).default('json'),
  })
  .refine((span) => stepsOf(span) >= 0, { path: ['from'], message: 'is after `to`' })
  .refine((span) => stepsOf(span) <= MOST_STEPS, { path: ['step'], message: 'makes more than 400 steps' })
const Point = z.object({ date: Day, employees: z.int() })
export const Headcount = z.object({ data: z.array(Point) }).openapi('Headcount')

/** Whether an employee `e` was employed at a moment; whose beginning is not known was since they were entered. */
const wasEmployed = (at: ReturnType<typeof sql>) =>
  sql`coalesce(access.began_at(e.contractor_since, e.employed_since), e.created_at) <= ${at} and (e.terminated_at is null or e.terminated_at > ${at})`

/** The groups of a report: what they are called, and what is joined for it. */
const GROUPS = {
  unit: { key: sql`n.id::text`, name: sql`n.name`, join: sql`left join freehold.units n on n.id = e.unit_id` },
  position: { key: sql`e.position`, name: sql`e.position`, join: sql`` },
  role: { key: sql`u.role`, name: sql`u.role`, join: sql`left join freehold.users u on u.id = e.user_id` },
}
/** Status counts those who have left, too. */
const STATUS = (at: ReturnType<typeof sql>) => sql`case when e.terminated_at <= ${at} then 'terminated' else e.employment end`

/**
 * How many employees there are of each unit, position, role or status, the most first. At a past moment: those who were employed then, by
 * the unit, position and role that they have now. One round trip; `employee:read`.
 */
export async function employeeReport(
  ctx: Ctx,
  { by, at: asked }: Omit<z.infer<typeof ReportQuery>, 'format'>,
): Promise<z.infer<typeof EmployeeReport>> {
  const at = sql`coalesce(${asked ?? null}::timestamptz, now())`
  const { key, name, join } = by === 'status' ? { key: STATUS(at), name: STATUS(at), join: sql`` } : GROUPS[by]
  const where =
    by === 'status'
      ? sql`coalesce(access.began_at(e.contractor_since, e.employed_since), e.created_at) <= ${at}`
      : wasEmployed(at)
  const [result] = await ctx.run(
    ctx.db.execute(sql`select g.key, g.name, g.employees, ${rfc3339('m.at')} as at
      from (select ${at} as at) m
        left join (select ${key} as key, ${name} as name, count(*)::integer as employees
          from freehold.employees e ${join} where ${where} group by 1, 2) g on true
      order by g.employees desc, g.name limit 1000`),
  )
  const rows = rowsOf<z.infer<typeof Group> & { at: string }>(result)
  const data = rows.filter((row) => row.employees !== null).map(({ at: _, ...group }) => group)
  return { at: rows[0]?.at ?? new Date().toISOString(), data }
}

/**
 * How many were employed at the end of each of the days. One round trip; `employee:read`. Each employee is read once, however many days
 * there are: who began before the end of a day, less who had left by then.
 */
export async function headcount(
  ctx: Ctx,
  { from, to, step }: Omit<z.infer<typeof HeadcountQuery>, 'format'>,
): Promise<z.infer<typeof Headcount>> {
  const [result] = await ctx.run(
    ctx.db.execute(sql`with days as materialized (
        select g.day, (g.day + 1)::timestamp at time zone 'utc' as ends, row_number() over (order by g.day) as place
        from (select (${from}::date + n * ${`1 ${step}`}::interval)::date as day from generate_series(0, 3660) n) g where g.day <= ${to}::date),
      edges as materialized (select array_agg(d.ends order by d.day) as at from days d),
      moves as materialized (
        select width_bucket(coalesce(access.began_at(e.contractor_since, e.employed_since), e.created_at), x.at) as place, count(*) as n from freehold.employees e, edges x group by 1
        union all
        select width_bucket(e.terminated_at, x.at), -count(*) from freehold.employees e, edges x where e.terminated_at is not null group by 1)
      select d.day::text as date, coalesce((select sum(m.n) from moves m where m.place < d.place), 0)::integer as employees
      from days d order by d.day`),
  )
  return { data: rowsOf<z.infer<typeof Point>>(result) }
}

/** Rows as a CSV file. */
export const asCsv = <T extends object>(columns: (keyof T & string)[], rows: T[]): string =>
  csvLine(columns) + rows.map((row) => csvLine(columns.map((column) => row[column]))).join('')
