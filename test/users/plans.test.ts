/** Threat: a list that is quick for ten people and reads them all for twenty thousand. */
import { type SQL, sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { reported } from '../../src/users/reports.ts'
import { listed, UserQuery } from '../../src/users/users.ts'
import { type Database, databaseOf, type Rows } from '../support/databases.ts'
import { inside } from '../support/inside.ts'
import { admit, type Credential, credentialOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, type Scope } from './cast.ts'

const SCOPES: Scope[] = ['all', 'department', 'team', 'own']
const PEOPLE = 20_000
const who: Partial<Record<Scope, Credential>> = {}
let tenant: Database

/** 20,000 people in 4 departments of 10 teams; user 1 to 4 are looked at. */
beforeAll(async () => {
  await copyTenant('crowded')
  tenant = await databaseOf('crowded')
  const realm = await inside('crowded')
  for (const scope of SCOPES) await addRole(realm, `reads-${scope}`, ['user:read'], scope)
  const tables = ['units', 'users', 'user_roles'].map((name) => sql.raw(`freehold.${name}`))
  await tenant.asOwner(
    ...tables.map((table) => sql`alter table ${table} disable trigger user`),
    sql`insert into freehold.units (id, kind, name) select gen_random_uuid(), 'department', 'd' || d from generate_series(0, 3) d`,
    sql`insert into freehold.units (id, kind, name, parent_id)
      select gen_random_uuid(), 'team', 't' || t, p.id from generate_series(0, 39) t join freehold.units p on p.name = 'd' || t % 4`,
    sql`insert into freehold.users (id, username, email, given_name, family_name, role, is_active, unit_id, created_at)
      select gen_random_uuid(), 'p' || to_char(n * 7919 % 20000, 'FM00000'), 'e' || to_char(n * 6007 % 20000, 'FM00000') || '@acme.test', 'Dee', 'F' || to_char(n * 4001 % 20000, 'FM00000'),
        case when n % 500 = 0 then 'admin' else 'user' end, n % 400 <> 0, u.id, now() - n * interval '1 minute'
      from generate_series(1, ${PEOPLE}::integer) n join freehold.units u on u.name = 't' || n % 40`,
    sql`update freehold.users u set manager_id = m.id from freehold.users m
      where u.username like 'p_____' and m.username = 'p' || to_char((substr(u.username, 2)::integer - 1) / 10, 'FM00000') and u.username <> 'p00000'`,
    sql`insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), u.id, r.id from freehold.users u join freehold.roles r on r.name = u.role where u.username like 'p_____'`,
    sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'second'), (gen_random_uuid(), 'third')`,
    sql`insert into freehold.user_roles (id, user_id, role_id) select gen_random_uuid(), u.id, r.id from freehold.users u join freehold.roles r on r.name = 'second' where u.username like 'p__1_7'`,
    ...tables.map((table) => sql`alter table ${table} enable trigger user`),
    sql`analyze freehold.users`,
    sql`analyze freehold.units`,
    sql`analyze freehold.user_roles`,
  )
  const [team] = await tenant.asOwner(sql`select id from freehold.units where name = 't0'`)
  for (const scope of SCOPES) {
    const { username } = await addMember(realm, `reader-${scope}`, {
      roles: [`reads-${scope}`],
      unit_id: team?.id,
    })
    who[scope] = await credentialOf('crowded', username)
  }
})

type Node = {
  'Node Type': string
  'Relation Name'?: string
  'Actual Rows': number
  'Actual Loops': number
  Plans?: Node[]
} & Record<string, any>

const nodes = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(nodes)]

/** What a page shows, reads of people to show it, and how those are found. */
async function pageOf(scope: Scope, query: Record<string, unknown>, after: string[] | null = null) {
  return explained(scope, listed(UserQuery.parse(query), after))
}

async function explained(scope: Scope, statement: SQL) {
  const rows = await tenant.asApp(admit(tenant, who[scope] ?? {}, 'user:read'), statement)
  const [analyzed] = (await tenant.asApp(
    admit(tenant, who[scope] ?? {}, 'user:read'),
    sql`explain (analyze, format json) ${statement}`,
  )) as Rows
  const plan = analyzed?.['QUERY PLAN'][0]
  const people = nodes(plan.Plan).filter((node) => node['Relation Name'] === 'users')
  const read = people.reduce(
    (sum, node) => sum + (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'],
    0,
  )
  return { rows, read, ways: people.map((node) => node['Node Type']), plan }
}

/** The place of the last page but a few rows: the cursor before it. */
async function nearTheEnd(scope: Scope, sort: string): Promise<string[]> {
  const back = sort.startsWith('-') ? sort.slice(1) : `-${sort}`
  const { rows } = await pageOf(scope, { sort: back, limit: '20' })
  const last = rows.at(-1) ?? {}
  return [String(last[sort.replace('-', '')]), String(last.id)]
}

const CASES = SCOPES.flatMap((scope) =>
  ['username', '-username', 'email', '-email', 'name', '-name', 'created_at', '-created_at'].map(
    (sort) => [scope, sort] as const,
  ),
)

describe('a page of twenty thousand people', () => {
  it.each(CASES)('at scope %s by %s reads no more than it must, first and last', async (scope, sort) => {
    const after = await nearTheEnd(scope, sort)
    const searches: Record<string, string> = { username: 'P0', email: 'E00', name: 'f0' }
    const search = searches[sort.replace('-', '')]
    const pages: [string, Awaited<ReturnType<typeof pageOf>>][] = [
      ['first', await pageOf(scope, { sort })],
      ['last', await pageOf(scope, { sort }, after)],
      ...(search ? [['searched', await pageOf(scope, { sort, search })] as [string, Awaited<ReturnType<typeof pageOf>>]] : []),
    ]
    for (const [name, { ways, read, rows, plan }] of pages) {
      expect(ways, `${name}: ${JSON.stringify(plan)}`).not.toContain('Seq Scan')
      expect(read, `${name}: ${JSON.stringify(plan)}`).toBeLessThanOrEqual(20 * Math.max(rows.length, 1))
    }
  })
  it.each(
    ['username', '-username', 'email', 'name', 'created_at'].flatMap((sort) => [
      { sort, role: 'admin' },
      { sort, role: 'user' },
      { sort, role: 'second' },
      { sort, status: 'inactive' },
    ]),
  )('of those with %j is found by what they have in common', async (query) => {
    const { ways, read, rows, plan } = await pageOf('all', query)
    expect(rows.length).toBeGreaterThan(30)
    expect(ways, JSON.stringify(plan)).not.toContain('Seq Scan')
    expect(read, JSON.stringify(plan)).toBeLessThanOrEqual(20 * rows.length)
  })
  it.each(SCOPES.flatMap((scope) => ['admin', 'user', 'second', 'nobody'].map((role) => [scope, role] as const)))(
    'at scope %s of those with role %s reads their assignments and no more people than it must',
    async (scope, role) => {
      for (const sort of ['username', '-email', 'created_at']) {
        const { ways, read, rows, plan } = await pageOf(scope, { sort, role })
        expect(ways, JSON.stringify(plan)).not.toContain('Seq Scan')
        // Below scope `all` row level security looks at the user of each assignment; a team has 500 people.
        const most = { all: 20 * Math.max(rows.length, 1), department: 12_000, team: 2_000, own: 100 }
        expect(read, JSON.stringify(plan)).toBeLessThanOrEqual(most[scope])
      }
    },
  )

  it('of who reports to one of them is found by the manager, and reads the tree below and no more', async () => {
    for (const [name, deep, below] of [
      ['p00001', false, 10],
      ['p00001', true, 9999],
      ['p00150', true, 110],
      ['p19999', true, 0],
    ] as const) {
      const [manager] = await tenant.asOwner(sql`select id from freehold.users where username = ${name}`)
      const { ways, read, rows, plan } = await explained('all', reported(manager?.id, deep, 50, null))
      expect(rows.length).toBe(Math.min(below, 51))
      expect(ways, JSON.stringify(plan)).not.toContain('Seq Scan')
      // The plan rounds how many rows each of thousands of look-ups found.
      expect(read, JSON.stringify(plan)).toBeLessThanOrEqual(1.01 * below + rows.length)
    }
  })
})

/** How many rows of people a statement reads, of whatever its functions read. Postgres counts for several transactions of a connection. */
async function readBy(scope: Scope, statement: SQL): Promise<number> {
  const counted = sql`(select pg_stat_get_xact_tuples_returned(t.id) + pg_stat_get_xact_tuples_fetched(t.id)
      + (select sum(pg_stat_get_xact_tuples_fetched(i.indexrelid)) from pg_index i where i.indrelid = t.id)
    from (select 'freehold.users'::regclass as id) t)`
  const [read] = await tenant.asApp(
    admit(tenant, who[scope] ?? {}, 'user:read'),
    sql`select set_config('test.counted', ${counted}::text, true)`,
    statement,
    sql`select (${counted} - current_setting('test.counted')::numeric)::integer as people`,
  )
  return read?.people
}

describe('a hundred checks among twenty thousand people', () => {
  it.each(SCOPES)('at scope %s read those that they ask about, and where those are', async (scope) => {
    const others = await tenant.asOwner(
      sql`select u.id, u.unit_id from freehold.users u where u.username like 'p__1_1' order by u.username limit 30`,
    )
    const checks = others.flatMap(({ id, unit_id }) => [
      { permission: 'user:read', resource: { owner_id: id } },
      { permission: 'user:read', resource: { unit_id } },
      { permission: 'user:delete' },
    ])
    const read = await readBy(scope, sql`select access.ask(${JSON.stringify(checks)}::jsonb)`)
    expect(read).toBeLessThanOrEqual(3 * others.length)
    expect(await readBy(scope, sql`select count(*) from freehold.users`), 'what is read is counted').toBeGreaterThan(0)
  })
})
