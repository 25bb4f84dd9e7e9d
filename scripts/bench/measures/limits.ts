import type { Client } from 'pg'
import type { Finding, Measure } from '../finding.ts'
import { makeInside } from '../inside/tenant.ts'
import { familyCpuMs } from '../proc.ts'
import { differences, inTurns, spread } from '../samples.ts'

const SUBDOMAIN = 'limited'
const ROWS = 1_000

/** One statement for each user, as a request has, in one call. Nothing stays. */
const WORK = `do $$ begin
  for n in 1..${ROWS} loop
    insert into freehold.users (id, username, email) values (gen_random_uuid(), 'limit-' || n, 'limit-' || n || '@bench.test');
  end loop;
  raise exception 'done';
end $$`

/** CPU of Postgres for each user that is made, in a tenant whose plan limits users and in the same tenant without a limit. */
export const limits: Measure = {
  name: 'limits',
  async run(stage) {
    const owner = await (await makeInside(stage, SUBDOMAIN)).connect('owner')
    try {
      const { rows } = await owner.query<{ pid: number }>('select pg_backend_pid() as pid')
      const pid = rows[0]?.pid ?? 0
      const cost = (most: number | null) => async () => {
        await setLimit(owner, most)
        const before = await familyCpuMs(pid)
        await owner.query(WORK).catch((error: Error) => {
          if (error.message !== 'done') throw error
        })
        return ((await familyCpuMs(pid)) - before) / ROWS
      }
      const things = { limited: cost(1_000_000), unlimited: cost(null) }
      await inTurns(2, things)
      const took = await inTurns(stage.quick ? 6 : 20, things)
      const finding: Finding = {
        title: 'A user made with a limit - without, CPU of Postgres',
        value: differences(took.limited, took.unlimited),
        unit: 'ms',
        goal: 0.1,
        parts: [
          { label: 'with a limit', value: spread(took.limited), unit: 'ms' },
          { label: 'without', value: spread(took.unlimited), unit: 'ms' },
        ],
        note: `CPU of one backend for each of ${ROWS.toLocaleString('en')} inserts in one transaction, triggers included. Nobody reaches the limit.`,
      }
      return [finding]
    } finally {
      await owner.end()
    }
  },
}

async function setLimit(owner: Client, max_users: number | null): Promise<void> {
  await owner.query('begin')
  await owner.query('set local role freehold_owner')
  await owner.query('select access.set_limits($1)', [JSON.stringify({ max_users })])
  await owner.query('commit')
}
