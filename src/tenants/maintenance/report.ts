/**
 * What tenants say of each day, with their maintenance. Threat: a report that the master lost, or had twice, counts a day not at all
 * or twice. So a tenant's database adds up its days itself, once for each checkpoint (src/audit/days.sql), and says the numbers of whole
 * days again until the master has them: those that changed since the checkpoint that the master knows, and the newest two.
 */
import { type SQL, sql } from 'drizzle-orm'
import { NEWEST } from '../migration/versions.ts'

/** Days for which the master keeps what tenants said. So does access.count_days. */
export const KEPT_DAYS = 400
const MOST_PURGED = 5_000

/** A day, as access.count_days says it. */
export type Day = { day: string; logins: number; failures: number; mails: number }

/** The columns that a maintenance selects of a tenant `x` for its report: its schema, and the day from which on the master asks. */
export const REPORTING = sql`x.schema_version, (select (max(d.day) - 1)::text from platform.tenant_days d where d.tenant_id = x.id) as days_since`

export type Reporting = { schema_version?: string | null; days_since?: string | null; head: { no: number } | null }

/** The column `days` of a maintenance in a tenant's database: a list of days. Null on an older schema, and of the platform, which is no tenant. */
export const daysOf = ({ schema_version, days_since, head }: Reporting): SQL =>
  schema_version === NEWEST
    ? sql`access.count_days(${head?.no ?? 0}, ${days_since ?? null}::date) as days`
    : sql`null::jsonb as days`

export type Reported = { realm_id: string; users_counted: number | null; days: Day[] | null }

/**
 * The statements for the master that record what tenants said, and remove what is too old. A count of a day never shrinks: of two runs
 * that maintained a tenant at once the earlier may be recorded last. The people are those of the newest day.
 */
export function recordDays(reports: Reported[]): SQL[] {
  const rows = reports.flatMap(({ realm_id: tenant_id, users_counted, days }) =>
    (days ?? []).map((day, i, all) => ({ tenant_id, people: i === all.length - 1 ? users_counted : null, ...day })),
  )
  return [
    sql`insert into platform.tenant_days as d (tenant_id, day, people, logins, failures, mails)
      select x.tenant_id, x.day, x.people, x.logins, x.failures, x.mails
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as x (tenant_id uuid, day date, people integer, logins integer, failures integer, mails integer)
        join platform.tenants t on t.id = x.tenant_id
      where x.day > (now() at time zone 'UTC')::date - ${KEPT_DAYS}::integer order by x.tenant_id, x.day
      on conflict (tenant_id, day) do update
      set people = coalesce(excluded.people, d.people), logins = greatest(d.logins, excluded.logins),
        failures = greatest(d.failures, excluded.failures), mails = greatest(d.mails, excluded.mails), reported_at = now()
      where excluded.people <> d.people or excluded.people is not null and d.people is null
        or excluded.logins > d.logins or excluded.failures > d.failures or excluded.mails > d.mails`,
    sql`delete from platform.tenant_days d using (
        select y.tenant_id, y.day from platform.tenant_days y where y.day <= (now() at time zone 'UTC')::date - ${KEPT_DAYS}::integer
        order by y.tenant_id, y.day limit ${MOST_PURGED} for update skip locked) o
      where d.tenant_id = o.tenant_id and d.day = o.day`,
    sql`delete from platform.days s where s.day <= (now() at time zone 'UTC')::date - ${KEPT_DAYS}::integer`,
  ]
}
