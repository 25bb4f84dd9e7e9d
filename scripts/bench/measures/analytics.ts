import { sql } from 'drizzle-orm'
import { batch } from '../../../src/kernel/db.ts'
import type { Finding, Measure } from '../finding.ts'
import { load } from '../load.ts'
import { spread } from '../samples.ts'
import { plantedTenants } from './planted.ts'

const DAYS = 400
const REPORTED = 30

/** `GET /platform/v1/analytics` over a registry of very many tenants and more than a year. */
export const analytics: Measure = {
  name: 'analytics',
  async run(stage) {
    const { main, quick } = stage
    const { published, unpublished } = await plantedTenants(stage)
    await batch(
      main.config.MASTER_DATABASE_URL,
      [
        sql`insert into platform.tenant_days (tenant_id, day, people, logins, failures, mails)
          select t.id, (now() at time zone 'UTC')::date - d, 10, 5, 2, 1 from platform.tenants t, generate_series(0, ${REPORTED}::integer - 1) d
          on conflict do nothing`,
        sql`insert into platform.days (day, tenants, people, logins, failures, mails)
          select (now() at time zone 'UTC')::date - d, 1, 1, 1, 1, 1 from generate_series(${REPORTED}::integer, ${DAYS}::integer - 1) d on conflict do nothing`,
        sql`analyze platform.tenants`,
        sql`analyze platform.days`,
      ],
      null,
      120_000,
    )
    const token = await stage.operatorToken()
    const from = new Date(Date.now() - (DAYS - 1) * 86_400_000).toISOString().slice(0, 10)
    const asked = () =>
      load(quick ? 10 : 40, 1, () =>
        main.at(null, `/platform/v1/analytics?from=${from}`, { headers: { Authorization: `Bearer ${token}` } }),
      )
    await asked()
    const finding: Finding = {
      title: `Analytics, ${(published.length + unpublished.length).toLocaleString('en')} tenants and ${DAYS} days`,
      value: spread(await asked()),
      unit: 'ms',
      goal: 100,
      parts: [],
      note: 'Wall time of the request: one transaction of the master, with the admission.',
    }
    return [finding]
  },
}
