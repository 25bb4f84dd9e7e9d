/** How many tenants there are, by what they are, and what they said of each day. Nothing here asks a tenant's database. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../../kernel/context.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { KEPT_DAYS } from '../maintenance/report.ts'

const DAY_MS = 86_400_000
/** Days without `from`, the last one included. */
const SHOWN_DAYS = 30

const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10)
const Date_ = z.iso
  .date({ error: 'must be a date, as 2026-03-31' })
  .refine((day) => !day.startsWith('0000'), 'must lie in the years 1 to 9999')

/** The first and the last day that are asked for. */
function rangeOf({ from, to }: { from?: string | undefined; to?: string | undefined }) {
  const last = to ?? dayOf(Date.now())
  return { from: from ?? dayOf(Date.parse(last) - (SHOWN_DAYS - 1) * DAY_MS), to: last }
}
/** How many days a range has; not positive when it ends before it begins. */
const length = (query: { from?: string | undefined; to?: string | undefined }) => {
  const { from, to } = rangeOf(query)
  return (Date.parse(to) - Date.parse(from)) / DAY_MS + 1
}

export const AnalyticsQuery = z
  .object({
    from: Date_.optional().openapi({ description: 'The first day (UTC); 29 days before `to` when it is left out' }),
    to: Date_.optional().openapi({ description: 'The last day (UTC), included; today when it is left out' }),
    tenant: z.uuid().optional().openapi({ description: 'The days of one tenant, by its id' }),
  })
  .refine((query) => length(query) >= 1, { path: ['from'], message: 'is after `to`' })
  .refine((query) => length(query) <= KEPT_DAYS, { path: ['from'], message: `is more than ${KEPT_DAYS} days before \`to\`` })

const Counts = {
  logins: z.int(),
  failures: z.int().openapi({ description: 'Failed logins and refused requests, of strangers too' }),
  mails: z.int().openapi({ description: 'E-mails and text messages that were queued' }),
}
const Group = z.array(
  z.object({
    value: z.string().nullable(),
    tenants: z.int(),
    people: z.int().openapi({ description: 'Active users, as the tenants said last' }),
  }),
)

/** What tenants are grouped by, and the column of each. */
const GROUPS = {
  by_status: 'status',
  by_plan: 'plan',
  by_region: 'region',
  by_schema_version: 'schema_version',
  by_environment: 'environment',
  by_isolation: 'isolation',
} as const
const columns = Object.values(GROUPS).map((name) => `t.${name}`)

export const Analytics = z
  .object({
    from: z.iso.date(),
    to: z.iso.date(),
    as_of: z.iso.datetime(),
    tenants: z.object({
      total: z.int(),
      people: z.int(),
      by_status: Group,
      by_plan: Group,
      by_region: Group,
      by_schema_version: Group,
      by_environment: Group,
      by_isolation: Group,
    }),
    totals: z.object(Counts),
    days: z.array(
      z.object({
        day: z.iso.date(),
        tenants: z.int().openapi({ description: 'Tenants that said something of this day' }),
        people: z.int().openapi({ description: 'Active users, when their tenants were last maintained on this day' }),
        ...Counts,
      }),
    ),
  })
  .openapi('Analytics')

type GroupRow = Record<string, unknown> & { grouped: number; tenants: number; people: number }
type Wire = z.infer<typeof Analytics>

/**
 * Tenants by status, plan, region, schema, environment and isolation now, and the days of a range with what the tenants said of them: all
 * together, or of one. What is missing of the days of erased tenants is missing only there: sums stay. One round trip to the master;
 * `tenant:read`. Fails with not_found when there is no such tenant.
 */
export async function getAnalytics(ctx: Ctx, query: z.infer<typeof AnalyticsQuery>): Promise<Wire> {
  const { from, to } = rangeOf(query)
  const { tenant } = query
  const [groups, found] = await ctx.run(ctx.db.execute(groupsQuery(tenant)), ctx.db.execute(daysQuery(from, to, tenant)))
  const rows = rowsOf<GroupRow>(groups)
  // Of the whole no column is grouped by.
  const all = rows.find(({ grouped }) => grouped === 2 ** columns.length - 1)
  if (tenant !== undefined && !all?.tenants) throw new Problem('not_found')
  const by = Object.entries(GROUPS).map(([name, column], i) => {
    const mine = rows.filter(({ grouped }) => grouped === 2 ** columns.length - 1 - 2 ** (columns.length - 1 - i))
    return [name, mine.map((row) => ({ value: row[column] ?? null, tenants: row.tenants, people: row.people }))]
  })
  const days = rowsOf<Wire['days'][number]>(found)
  const sum = (name: 'logins' | 'failures' | 'mails') => days.reduce((total, day) => total + day[name], 0)
  return {
    from,
    to,
    as_of: String(all?.as_of),
    tenants: { total: all?.tenants ?? 0, people: all?.people ?? 0, ...Object.fromEntries(by) } as Wire['tenants'],
    totals: { logins: sum('logins'), failures: sum('failures'), mails: sum('mails') },
    days,
  }
}

/** Tenants by each column, and all together: the registry is read once. `grouped` has a bit for each column that a row is not grouped by. */
export const groupsQuery = (
  tenant: string | undefined,
) => sql`select grouping(${sql.raw(columns.join(', '))}) as grouped, ${sql.raw(columns.join(', '))},
    count(*)::integer as tenants, coalesce(sum(t.users_counted), 0)::integer as people, ${rfc3339('now()')} as as_of
  from platform.tenants t where ${tenant === undefined ? sql`true` : sql`t.id = ${tenant}`}
  group by grouping sets ((), ${sql.raw(columns.map((name) => `(${name})`).join(', '))})
  order by tenants desc, coalesce(${sql.raw(columns.join(', '))}) collate "C"`

/** The days of a range: the sums, or what one tenant said. */
export const daysQuery = (from: string, to: string, tenant: string | undefined) =>
  tenant === undefined
    ? sql`select s.day::text, s.tenants, s.people::float8 as people, s.logins::float8 as logins, s.failures::float8 as failures, s.mails::float8 as mails
        from platform.days s where s.day between ${from} and ${to} order by s.day`
    : sql`select d.day::text, 1 as tenants, coalesce(d.people, 0) as people, d.logins, d.failures, d.mails
        from platform.tenant_days d where d.tenant_id = ${tenant} and d.day between ${from} and ${to} order by d.day`
