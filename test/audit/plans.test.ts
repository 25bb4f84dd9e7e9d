/** Threat: a page of the audit for somebody with many units, which reads the entries of everybody in them to show fifty. */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { type Search, selectActivities } from '../../src/audit/audit.ts'
import { type Database, databaseOf, type Rows } from '../support/databases.ts'
import { inside } from '../support/inside.ts'
import { admit, type Credential, credentialOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'

const UNITS = 300
const PEOPLE = 3_000
const ENTRIES = 20_000
let tenant: Database
let head: Credential

beforeAll(async () => {
  await copyTenant('audited-wide')
  tenant = await databaseOf('audited-wide')
  const realm = await inside('audited-wide')
  const tables = ['units', 'users', 'audit_log', 'audit_detail'].map((name) => sql.raw(`freehold.${name}`))
  await tenant.asOwner(
    ...tables.map((table) => sql`alter table ${table} disable trigger user`),
    sql`insert into freehold.units (id, kind, name) values (gen_random_uuid(), 'department', 'top')`,
    sql`insert into freehold.units (id, kind, name, parent_id)
        select gen_random_uuid(), 'team', 't' || n, u.id from freehold.units u, generate_series(1, ${UNITS}::integer) n where u.name = 'top'`,
    sql`insert into freehold.users (id, username, email, unit_id)
        select gen_random_uuid(), 'p' || n, 'p' || n || '@people.test', u.id
        from generate_series(1, ${PEOPLE}::integer) n join freehold.units u on u.name = 't' || (1 + n % ${UNITS}::integer)`,
    sql`insert into freehold.audit_log (id, user_id, activity_type, action, resource_type, risk_score, at, detail_hash, checkpoint)
        select gen_random_uuid(), u.id, 'THING_' || n % 20, 'x', 'thing', n % 60, now() - n * interval '10 seconds', '\\x00', 1
        from generate_series(1, ${ENTRIES}::integer) n join freehold.users u on u.username = 'p' || (1 + n % ${PEOPLE}::integer)`,
    sql`insert into freehold.audit_detail (log_id, salt, user_name, address, after)
        select l.id, '\\x00', 'p', '192.0.2.' || l.risk_score, jsonb_build_object('a', repeat('x', 300)) from freehold.audit_log l where l.resource_type = 'thing'`,
    // As after a run of the scheduled job, which leaves the entries of about the last minute.
    sql`update freehold.audit_log set checkpoint = 1`,
    ...tables.flatMap((table) => [sql`alter table ${table} enable trigger user`, sql`analyze ${table}`]),
  )
  await addRole(realm, 'reads-department', ['activity:read'], 'department')
  const [top] = await tenant.asOwner(sql`select id from freehold.units where name = 'top'`)
  const { username } = await addMember(realm, 'head', { roles: ['reads-department'], unit_id: top?.id })
  head = await credentialOf('audited-wide', username)
})

type Node = { 'Relation Name'?: string; 'Actual Rows': number; 'Actual Loops': number; Plans?: Node[] } & Record<string, any>
const nodes = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(nodes)]

/** The rows of a page, and how many entries were read for them. */
async function page(search: Search) {
  const statement = selectActivities(search, null, 51)
  const rows = await tenant.asApp(admit(tenant, head, 'activity:read'), statement)
  const [told] = (await tenant.asApp(
    admit(tenant, head, 'activity:read'),
    sql`explain (analyze, format json) ${statement}`,
  )) as Rows
  const plan = told?.['QUERY PLAN'][0]
  const read = nodes(plan.Plan)
    .filter((node) => node['Relation Name'] === 'audit_log')
    .reduce((sum, node) => sum + (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'], 0)
  const most = nodes(plan.Plan)
    .filter((node) => node['Relation Name'] === 'audit_log')
    .map((n) =>
      [
        n['Node Type'],
        n['Index Name'],
        n['Parent Relationship'],
        n['Subplan Name'],
        n['Actual Rows'],
        n['Rows Removed by Filter'],
        n['Actual Loops'],
      ].join(' '),
    )
  return { rows, read, plan, most }
}

it.each([{}, { activity_type: 'THING_3' }, { resource_type: 'thing' }])(
  'the first page of three hundred units, of those with %j, reads no more entries than it must',
  async (search) => {
    const { rows, read, most } = await page(search)
    expect(rows).toHaveLength(51)
    // Nine in ten are of other units; the making of the tenant left some, too.
    expect(read, most.join('\n')).toBeLessThanOrEqual(11 * rows.length)
  },
)
