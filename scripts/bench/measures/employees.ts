import type { SQL } from 'drizzle-orm'
import type { Client } from 'pg'
import { listed } from '../../../src/employees/employees.ts'
import type { Finding, Measure } from '../finding.ts'
import { admit } from '../inside/admit.ts'
import { analyze, idOf, planting, plantPeople, plantRoles, plantSession, UNITS } from '../inside/people.ts'
import { type Explained, explain, run } from '../inside/plan.ts'
import { type Inside, makeInside } from '../inside/tenant.ts'
import { inTurns, spread } from '../samples.ts'

const EMPLOYEES = 100_000
const LIMIT = 50

/** The asking users, by number, and their scope. A department of all units is one that nearly everybody is in. */
const ASKERS = [
  { label: 'all', scope: 'all', person: 21 },
  { label: `department, all ${UNITS} units`, scope: 'department', person: 0 },
  { label: 'department, 11 units', scope: 'department', person: UNITS + 20 },
  { label: 'team', scope: 'team', person: 2 * UNITS + 20 },
]

type Page = { label: string; statement: SQL; credential: string; plans: Explained[] }

/** `GET /employees` as the database sees it: the statement that the room sends, explained as the app login after the admission. */
export const employees: Measure = {
  name: 'employees',
  async run(stage): Promise<Finding[]> {
    const inside = await makeInside(stage, 'employees')
    const postgres = await inside.connect('superuser')
    const app = await inside.connect('app')
    try {
      await plantEmployees(postgres)
      stage.say(`${EMPLOYEES.toLocaleString('en')} employees are planted.`)
      const pages: Page[] = []
      for (const asker of ASKERS) pages.push(...(await pagesOf(asker, inside, postgres, app)))
      const asked = (page: Page) => async () => {
        const plan = await admitted(inside, app, page.credential, () => explain(app, page.statement, 'employees'))
        page.plans.push(plan)
        return plan.execution
      }
      const things = Object.fromEntries(pages.map((page) => [page.label, asked(page)]))
      await inTurns(2, things)
      for (const { plans } of pages) plans.length = 0
      await inTurns(stage.quick ? 8 : 40, things)
      const of = (from: Page[], what: (plan: Explained) => number, unit: 'ms' | 'rows') =>
        from.map(({ label, plans }) => ({ label, value: spread(plans.map(what)), unit }))
      const executions = of(pages, ({ execution }) => execution, 'ms')
      const full = pages.filter(({ plans }) => plans.every(({ shown }) => shown > 0))
      const rows = of(full, ({ read, shown }) => read / shown, 'rows')
      const worst = (parts: typeof rows) =>
        parts.map(({ value }) => value).reduce((one, other) => (other.median > one.median ? other : one))
      const shown = `GET /employees over ${EMPLOYEES.toLocaleString('en')} employees`
      return [
        {
          title: `${shown}, the slowest page, in the database`,
          value: worst(executions),
          unit: 'ms',
          goal: 50,
          parts: executions,
          note: `Execution time of EXPLAIN (ANALYZE) as the app login after the admission, limit ${LIMIT}, by name; half of the employees have an account.`,
        },
        {
          title: `${shown}, rows read for each row shown, the worst page`,
          value: worst(rows),
          unit: 'rows',
          goal: 20,
          parts: rows,
          note: 'Rows of the table of employees that the scans gave or threw away.',
        },
      ]
    } finally {
      await app.end()
      await postgres.end()
    }
  },
}

/** Employees in the units of the people, every second one with an account; and a role for each asker. */
export async function plantEmployees(postgres: Client): Promise<void> {
  await plantPeople(postgres, EMPLOYEES / 2)
  await plantRoles(
    postgres,
    ASKERS.map((_, number) => ({ number, name: `personnel ${number}`, parent: null })),
  )
  await planting(postgres, [
    // Names in no order: neighbours in an index are not neighbours in the table.
    `insert into freehold.employees (id, user_id, document_type, document_number, given_names, family_name, position, unit_id, employed_since, employment)
     select ${idOf('employee', 'n')}, case when n < ${EMPLOYEES / 2} then ${idOf('person', 'n')} end, 'DNI', (10000000 + n)::text,
       left(md5('given ' || n), 6), left(md5('family ' || n), 8), 'position ' || n % 40, ${idOf('unit', `(n % ${UNITS})`)}, date '2020-01-01' + n % 2000,
       case when n % 100 = 7 then 'inactive' else 'active' end
     from generate_series(0, ${EMPLOYEES - 1}) n`,
    ...ASKERS.flatMap(({ scope, person }, number) => [
      ...['employee:read', 'employee:read_sensitive'].map(
        (permission) =>
          `insert into freehold.role_permissions (id, role_id, permission, scope) values (gen_random_uuid(), ${idOf('role', number)}, '${permission}', '${scope}')`,
      ),
      `insert into freehold.user_roles (id, user_id, role_id) values (gen_random_uuid(), ${idOf('person', person)}, ${idOf('role', number)})`,
    ]),
  ])
  await analyze(postgres)
}

/** The first page, one in the middle and the first of a search. A middle page begins after a name in the middle of all names. */
async function pagesOf(
  { label, person }: (typeof ASKERS)[number],
  inside: Inside,
  postgres: Client,
  app: Client,
): Promise<Page[]> {
  const credential = await plantSession(postgres, idOf('person', person))
  const query = { sort: 'name' as const, limit: LIMIT }
  const found = (statement: SQL) =>
    admitted(inside, app, credential, () => run<{ family_name: string; given_names: string; id: string }>(app, statement))
  const page = (name: string, statement: SQL): Page => ({ label: `${label}: ${name}`, statement, credential, plans: [] })
  const [middle] = await found(listed(query, ['80', '00000000-0000-4000-8000-000000000000']))
  if (!middle) throw new Error(`${label}: there is no page in the middle.`)
  return [
    page('first page', listed(query, null)),
    page('in the middle', listed(query, [`${middle.family_name} ${middle.given_names}`.toLowerCase(), middle.id])),
    page('search', listed({ ...query, search: 'a' }, null)),
    page('active ones', listed({ ...query, status: 'active' }, null)),
    page('inactive ones, one of a hundred', listed({ ...query, status: 'inactive' }, null)),
    page('terminated ones, of whom there are none', listed({ ...query, status: 'terminated' }, null)),
  ]
}

/** Runs `work` in a transaction that begins with an admission. */
async function admitted<T>({ id }: Inside, app: Client, credential: string, work: () => Promise<T>): Promise<T> {
  await app.query('begin')
  try {
    await run(app, admit(id, credential, 'employee:read'))
    return await work()
  } finally {
    await app.query('rollback')
  }
}
