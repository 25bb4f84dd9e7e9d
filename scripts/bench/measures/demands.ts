import type { Measure } from '../finding.ts'
import { idOf, planting, plantPeople, plantRoles } from '../inside/people.ts'
import { makeInside } from '../inside/tenant.ts'
import { familyCpuMs, parentOf } from '../proc.ts'
import { differences, inTurns, ratios, spread } from '../samples.ts'

const PEOPLE = 5_000
const RECORDS = 50
const DECISIONS = 5_000

/** What a competency that a role's permission demands adds to the decision, in CPU of Postgres. */
export const demands: Measure = {
  name: 'demands',
  async run(stage) {
    const inside = await makeInside(stage, 'demands')
    const postgres = await inside.connect('superuser')
    try {
      await plantPeople(postgres, PEOPLE)
      await plantRoles(postgres, [{ number: 0, name: 'tester', parent: null }])
      const person = idOf('person', 'n')
      const people = `generate_series(0, ${PEOPLE - 1}) n`
      await planting(postgres, [
        `insert into freehold.permissions (id, name, created_at) select gen_random_uuid(), 'bench-' || p || ':read', now() - interval '1 day'
         from unnest(array['free', 'demanding', 'unmet']) p`,
        `insert into freehold.competency_types (id, name, kind) select ${idOf('type', 't')}, 'type ' || t, 'training' from generate_series(0, ${RECORDS}) t`,
        // Of the last type nobody has a record.
        `insert into freehold.role_permissions (id, role_id, permission, scope, competency_type_id, competency_level, starts_at) values
         (gen_random_uuid(), ${idOf('role', 0)}, 'bench-free:read', 'all', null, null, now() - interval '1 hour'),
         (gen_random_uuid(), ${idOf('role', 0)}, 'bench-demanding:read', 'all', ${idOf('type', 7)}, 3, now() - interval '1 hour'),
         (gen_random_uuid(), ${idOf('role', 0)}, 'bench-unmet:read', 'all', ${idOf('type', RECORDS)}, 3, now() - interval '1 hour')`,
        `insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), ${person}, ${idOf('role', 0)} from ${people}`,
        `insert into freehold.competencies (id, user_id, type_id, level, issued_at, expires_at, verified_at, verified_by)
         select gen_random_uuid(), ${person}, ${idOf('type', 't')}, 4, now() - interval '1 year', now() + interval '1 year', now() - interval '1 day',
           ${idOf('person', `((n + 1) % ${PEOPLE})`)} from ${people}, generate_series(0, ${RECORDS - 1}) t`,
      ])
      await postgres.query('analyze')
      await postgres.query('checkpoint')
      stage.say(`${PEOPLE.toLocaleString('en')} users with ${RECORDS} competencies each are planted.`)
      const { rows } = await postgres.query<{ pid: number }>('select pg_backend_pid() as pid')
      const postmaster = await parentOf(rows[0]?.pid ?? 0)
      /** Microseconds of CPU for each decision, of which `allowed` say yes. */
      const cost = (permission: string, allowed: number) => async () => {
        const before = await familyCpuMs(postmaster)
        const { rows } = await postgres.query<{ n: number }>(
          `select count(access.decide(${person}, '${permission}', now()))::int as n from generate_series(0, ${DECISIONS - 1}) n`,
        )
        if (rows[0]?.n !== allowed) throw new Error(`${permission}: ${rows[0]?.n} users hold it and not ${allowed}.`)
        return ((await familyCpuMs(postmaster)) - before) * (1000 / DECISIONS)
      }
      const things = {
        free: cost('bench-free:read', DECISIONS),
        demanding: cost('bench-demanding:read', DECISIONS),
        unmet: cost('bench-unmet:read', 0),
      }
      await inTurns(2, things)
      const took = await inTurns(stage.quick ? 8 : 30, things)
      const part = (label: string, values: number[]) => ({ label, value: spread(values), unit: 'µs' as const })
      return [
        {
          title: 'A demanded competency, CPU of Postgres for each decision',
          value: differences(took.demanding, took.free),
          unit: 'µs',
          goal: 50,
          parts: [
            part('a decision without a demand', took.free),
            part('one that demands a competency, which the user has', took.demanding),
            part('one that demands a competency, which the user lacks', took.unmet),
            { label: 'with the demand / without', value: ratios(took.demanding, took.free), unit: 'x' },
          ],
          note: `access.decide, ${DECISIONS.toLocaleString('en')} times in one statement, each for another of ${PEOPLE.toLocaleString('en')} users with ${RECORDS} records; CPU of all processes of the cluster.`,
        },
      ]
    } finally {
      await postgres.end()
    }
  },
}
