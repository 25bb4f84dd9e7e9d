import type { SQL } from 'drizzle-orm'
import type { Client } from 'pg'
import { listed } from '../../../src/users/users.ts'
import type { Finding, Measure } from '../finding.ts'
import { admit } from '../inside/admit.ts'
import { analyze, idOf, planting, plantPeople, plantRoles, plantSession, UNITS } from '../inside/people.ts'
import { type Explained, explain, run } from '../inside/plan.ts'
import { type Inside, makeInside } from '../inside/tenant.ts'
import { inTurns, type Spread, spread } from '../samples.ts'

const PEOPLE = 100_000
const LIMIT = 50
const TEAM = 20

/** The asking users, by number, and their scope. */
const ASKERS = [
  { label: 'all', scope: 'all', person: TEAM },
  { label: `department, all ${UNITS} units`, scope: 'department', person: 0 },
  { label: 'department, 11 units', scope: 'department', person: UNITS + TEAM },
  { label: 'team', scope: 'team', person: 2 * UNITS + TEAM },
  { label: 'own', scope: 'own', person: 3 * UNITS + TEAM },
]

type Page = { label: string; statement: SQL; credential: string; plans: Explained[] }

/** `GET /users` as the database sees it: the statement that the room sends, explained as the app login after the admission. */
export const lists: Measure = {
  name: 'lists',
  async run(stage) {
    const inside = await makeInside(stage, 'lists')
    const postgres = await inside.connect('superuser')
    const app = await inside.connect('app')
    try {
      await plantPeople(postgres, PEOPLE)
      await plantReaders(postgres)
      await analyze(postgres)
      stage.say(`${PEOPLE.toLocaleString('en')} users are planted.`)
      const pages: Page[] = []
      for (const asker of ASKERS) pages.push(...(await pagesOf(asker, inside, postgres, app)))
      const things = Object.fromEntries(pages.map((page) => [page.label, () => asked(page, inside, app)]))
      await inTurns(2, things)
      for (const { plans } of pages) plans.length = 0
      await inTurns(stage.quick ? 8 : 40, things)
      return findings(pages)
    } finally {
      await app.end()
      await postgres.end()
    }
  },
}

/** A role for each asker, with only `user:read` at their scope. */
async function plantReaders(postgres: Client): Promise<void> {
  await plantRoles(
    postgres,
    ASKERS.map((_, number) => ({ number, name: `reader ${number}`, parent: null })),
  )
  await planting(
    postgres,
    ASKERS.flatMap(({ scope, person }, number) => [
      `insert into freehold.role_permissions (id, role_id, permission, scope) values (gen_random_uuid(), ${idOf('role', number)}, 'user:read', '${scope}')`,
      `insert into freehold.user_roles (id, user_id, role_id) values (gen_random_uuid(), ${idOf('person', person)}, ${idOf('role', number)})`,
    ]),
  )
}

/** The first page, the last one, and the first of a search. The list in reverse order gives the start of the last page. */
async function pagesOf(
  { label, person }: (typeof ASKERS)[number],
  inside: Inside,
  postgres: Client,
  app: Client,
): Promise<Page[]> {
  const credential = await plantSession(postgres, idOf('person', person))
  const query = { sort: 'username' as const, limit: LIMIT }
  const backwards = await admitted(inside, app, credential, () =>
    run<{ username: string; id: string }>(app, listed({ sort: '-username', limit: LIMIT }, null)),
  )
  const before = backwards[LIMIT]
  const page = (name: string, statement: SQL): Page => ({ label: `${label}: ${name}`, statement, credential, plans: [] })
  return [
    page('first page', listed(query, null)),
    ...(before ? [page('last page', listed(query, [before.username, before.id]))] : []),
    page('search', listed({ ...query, search: 'a' }, null)),
  ]
}

/** Milliseconds that one page took in the database. */
async function asked({ statement, credential, plans }: Page, inside: Inside, app: Client): Promise<number> {
  const explained = await admitted(inside, app, credential, () => explain(app, statement, 'users'))
  plans.push(explained)
  return explained.execution
}

/** Runs `work` in a transaction that begins with an admission. */
async function admitted<T>({ id }: Inside, app: Client, credential: string, work: () => Promise<T>): Promise<T> {
  await app.query('begin')
  try {
    await run(app, admit(id, credential, 'user:read'))
    return await work()
  } finally {
    await app.query('rollback')
  }
}

function findings(pages: Page[]): Finding[] {
  const of = (what: (plan: Explained) => number) => pages.map(({ label, plans }) => ({ label, value: spread(plans.map(what)) }))
  const executions = of(({ execution }) => execution)
  const rows = of(({ read, shown }) => read / Math.max(1, shown))
  const people = PEOPLE.toLocaleString('en')
  const beyond = ASKERS.flatMap(({ label }) => {
    const [first, last] = ['first page', 'last page'].map((name) => pages.find((page) => page.label === `${label}: ${name}`))
    if (!first || !last) return []
    return [{ label, value: spread(last.plans.map(({ execution }, i) => execution - 2 * (first.plans[i]?.execution ?? 0))) }]
  })
  const shown = `GET /users over ${people} people`
  return [
    {
      title: `${shown}, the slowest page, in the database`,
      value: worst(executions),
      unit: 'ms',
      goal: 10,
      parts: [
        ...executions.map((part) => ({ ...part, unit: 'ms' as const })),
        { label: 'planning, the slowest', value: worst(of(({ planning }) => planning)), unit: 'ms' },
      ],
      note: `Execution time of EXPLAIN (ANALYZE) as the app login after the admission, limit ${LIMIT}, by username; which takes longer than not being watched.`,
    },
    {
      title: `${shown}, the last page - 2 x the first, the worst scope`,
      value: worst(beyond),
      unit: 'ms',
      goal: 1,
      parts: beyond.map((part) => ({ ...part, unit: 'ms' as const })),
      note: 'Below nothing: the last page takes less than twice the first.',
    },
    {
      title: `${shown}, rows read for each row shown, the worst page`,
      value: worst(rows),
      unit: 'rows',
      goal: 20,
      parts: rows.map((part) => ({ ...part, unit: 'rows' as const })),
      note: 'Rows of the table of people that the scans gave or threw away.',
    },
  ]
}

const worst = (parts: { value: Spread }[]): Spread =>
  parts.map(({ value }) => value).reduce((one, other) => (other.median > one.median ? other : one))
