import type { Measure } from '../finding.ts'
import { idOf, planting, plantPeople } from '../inside/people.ts'
import { makeInside } from '../inside/tenant.ts'
import { familyCpuMs, parentOf } from '../proc.ts'
import { differences, inTurns, spread } from '../samples.ts'

const PEOPLE = 1_000
/** Logins that are kept of each, and of a third of them: as many as are compared. */
const PAST = 30
const LONG_PAST = 100
const LOGINS = 300

/** What the risk of a login costs, in CPU of Postgres: comparing it with the past of its user, and keeping it. */
export const risk: Measure = {
  name: 'risk',
  async run(stage) {
    const inside = await makeInside(stage, 'risk')
    const postgres = await inside.connect('superuser')
    try {
      await plantPeople(postgres, PEOPLE)
      await planting(postgres, [
        `insert into freehold.risk_attempts (id, user_id, kind, device, agent, network, asn, country, latitude, longitude, outcome, created_at, seen_at)
         select gen_random_uuid(), ${idOf('person', 'n')}, 'login', gen_random_uuid(), 'Agent/' || l % 3, '203.0.113.' || l % 5, 6147, 'PE', -12.05, -77.04,
           'allowed', now() - make_interval(hours => 7 * l), now() - make_interval(hours => 7 * l)
         from generate_series(0, ${PEOPLE - 1}) n, generate_series(1, case when n < ${LOGINS} then ${LONG_PAST} else ${PAST} end) l`,
      ])
      await postgres.query('analyze')
      await postgres.query('checkpoint')
      stage.say(`${PEOPLE.toLocaleString('en')} users with ${PAST} logins each are planted, ${LOGINS} of them with ${LONG_PAST}.`)
      const { rows } = await postgres.query<{ pid: number }>('select pg_backend_pid() as pid')
      const postmaster = await parentOf(rows[0]?.pid ?? 0)
      const request = `'{"address": "203.0.113.3", "agent": "Agent/1", "country": "PE", "latitude": -12.05, "longitude": -77.04, "asn": 6147}'::jsonb`
      const assessed = `access.assess_risk(u, t, 'login', ${request}, null)`
      /** Microseconds of CPU for each login of as many users, of whom the first is `from`. */
      const cost = (what: string, from: number) => async () => {
        const before = await familyCpuMs(postmaster)
        await postgres.query('begin')
        await postgres.query(
          `select count(${what}) from freehold.tenant t, generate_series(${from}, ${from + LOGINS - 1}) n join freehold.users u on u.id = ${idOf('person', 'n')}`,
        )
        await postgres.query('rollback')
        return ((await familyCpuMs(postmaster)) - before) * (1000 / LOGINS)
      }
      const things = {
        none: cost('u.id', LOGINS),
        usual: cost(assessed, LOGINS),
        kept: cost(`access.keep_risk(${assessed}, t, 'allowed', ${request})`, LOGINS),
        long: cost(assessed, 0),
      }
      await inTurns(2, things)
      const took = await inTurns(stage.quick ? 8 : 30, things)
      const part = (label: string, values: number[]) => ({ label, value: spread(values), unit: 'µs' as const })
      return [
        {
          title: 'The risk of a login, CPU of Postgres',
          value: differences(took.kept, took.none),
          unit: 'µs',
          goal: 1_000,
          parts: [
            part(`assessed, with ${PAST} logins to compare with`, took.usual),
            part('the same, and kept', took.kept),
            part(`assessed, with ${LONG_PAST}, the most that are compared`, took.long),
          ],
          note: `access.assess_risk and access.keep_risk, ${LOGINS} times in one statement, each for another user; CPU of all processes of the cluster. No round trip is added.`,
        },
      ]
    } finally {
      await postgres.end()
    }
  },
}
