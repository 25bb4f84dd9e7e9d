import type { Client } from 'pg'
import { selectPage } from '../../../src/competencies/matrix.ts'
import type { Finding, Measure } from '../finding.ts'
import { admit } from '../inside/admit.ts'
import { analyze, idOf, planting, plantPeople, plantRoles, plantSession, UNITS } from '../inside/people.ts'
import { explain, run } from '../inside/plan.ts'
import { makeInside } from '../inside/tenant.ts'
import { inTurns, spread } from '../samples.ts'

const PEOPLE = 2_000
const TYPES = 50
const LIMIT = 100

/** Who asks: of everybody, and of the people of all departments. */
const ASKERS = [
  { label: 'all', scope: 'all', person: 21 },
  { label: `department, all ${UNITS} units`, scope: 'department', person: 0 },
]

/** A page of the matrix as the database sees it: the statement that the room sends, as the app login after the admission. */
export const competencies: Measure = {
  name: 'competencies',
  async run(stage): Promise<Finding[]> {
    const inside = await makeInside(stage, 'competencies')
    const postgres = await inside.connect('superuser')
    const app = await inside.connect('app')
    try {
      await plantPeople(postgres, PEOPLE)
      await plantRecords(postgres)
      await analyze(postgres)
      const pages = await Promise.all(
        ASKERS.map(async ({ label, person }) => ({ label, credential: await plantSession(postgres, idOf('person', person)) })),
      )
      const ask = (credential: string) => async () => {
        await app.query('begin')
        try {
          await run(app, admit(inside.id, credential, 'competency:read'))
          return (await explain(app, selectPage({}, null, LIMIT + 1), 'users')).execution
        } finally {
          await app.query('rollback')
        }
      }
      const things = Object.fromEntries(pages.map(({ label, credential }) => [label, ask(credential)]))
      await inTurns(2, things)
      const taken = await inTurns(stage.quick ? 8 : 40, things)
      const parts = pages.map(({ label }) => ({ label, value: spread(taken[label] ?? []), unit: 'ms' as const }))
      const value = parts.map((part) => part.value).reduce((one, other) => (other.median > one.median ? other : one))
      return [
        {
          title: `GET /competencies/matrix of ${PEOPLE.toLocaleString('en')} people and ${TYPES} types, a page of ${LIMIT}`,
          value,
          unit: 'ms',
          goal: 100,
          parts,
          note: `${LIMIT * TYPES} cells, each the best of the records of one person in one type, and what roles demand; the whole matrix is ${PEOPLE / LIMIT} pages.`,
        },
      ]
    } finally {
      await app.end()
      await postgres.end()
    }
  },
}

/** A record of everybody in each type, and for every tenth a former one; and a role that demands a type of everybody who asks. */
async function plantRecords(postgres: Client): Promise<void> {
  await plantRoles(
    postgres,
    ASKERS.map((_, number) => ({ number, name: `matrix ${number}`, parent: null })),
  )
  const records = (from: string, every: number) =>
    `insert into freehold.competencies (id, user_id, type_id, level, issued_at, expires_at, verified_at, verified_by)
     select gen_random_uuid(), ${idOf('person', 'p')}, ${idOf('competency', 't')}, 1 + (p + t) % 5, now() - interval '${from}',
       now() - interval '${from}' + interval '1 year', now() - interval '${from}', ${idOf('person', `((p + 1) % ${PEOPLE})`)}
     from generate_series(0, ${PEOPLE - 1}, ${every}) p, generate_series(0, ${TYPES - 1}) t`
  await planting(postgres, [
    `insert into freehold.competency_types (id, name, kind)
     select ${idOf('competency', 't')}, 'competency ' || t, 'test_method' from generate_series(0, ${TYPES - 1}) t`,
    records('10 days', 1),
    records('400 days', 10),
    ...ASKERS.flatMap(({ scope, person }, number) => [
      `insert into freehold.role_permissions (id, role_id, permission, scope, competency_type_id, competency_level)
       values (gen_random_uuid(), ${idOf('role', number)}, 'competency:read', '${scope}', ${idOf('competency', 0)}, 1)`,
      `insert into freehold.user_roles (id, user_id, role_id) values (gen_random_uuid(), ${idOf('person', person)}, ${idOf('role', number)})`,
    ]),
  ])
}
