/** Threat: a table of a new room whose rows are read or written by who does not reach them, or with a permission of something else. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf, refusalOf } from '../support/databases.ts'
import { copyTenant } from '../support/tenants.ts'

const UNITS = { lab: crypto.randomUUID(), office: crypto.randomUUID() }
const PEOPLE = { ada: crypto.randomUUID(), bo: crypto.randomUUID(), cy: crypto.randomUUID() }
type Name = keyof typeof PEOPLE

let tenant: Database
const credentials: Record<string, { session_id: string; user_id: string; proof: string | null }> = {}

/** ada holds every permission of notes at scope all, bo at team in the lab, cy at own in the office. */
beforeAll(async () => {
  await copyTenant('protected')
  tenant = await databaseOf('protected')
  await tenant.asOwner(
    sql`create table freehold.notes (id text primary key, owner_id uuid, unit_id uuid, title text)`,
    sql`create table freehold.plain (id text primary key, title text, hidden text)`,
    sql`create table freehold.shown (id text primary key)`,
    sql`call access.protect('freehold.notes', owner => 'owner_id', unit => 'unit_id', resource => 'note')`,
    sql`call access.protect('freehold.plain', resource => 'note', inserts => '{id,title}', updates => '{title}', deletes => false)`,
    sql`call access.protect('freehold.shown', resource => 'note', is_public => true, inserts => '{}', updates => '{}', deletes => false)`,
    sql`insert into freehold.permissions (id, name) select gen_random_uuid(), 'note:' || a from unnest(array['create', 'read', 'update', 'delete']) a`,
    ...Object.entries(UNITS).map(
      ([name, id]) => sql`insert into freehold.units (id, kind, name) values (${id}, 'team', ${name})`,
    ),
  )
  const scopes = { ada: ['all', null], bo: ['team', UNITS.lab], cy: ['own', UNITS.office] } as const
  for (const [name, [scope, unit]] of Object.entries(scopes)) {
    const id = PEOPLE[name as Name]
    const session_id = crypto.randomUUID()
    const role = crypto.randomUUID()
    await tenant.asOwner(
      sql`insert into freehold.roles (id, name) values (${role}, ${`notes-${scope}`})`,
      sql`insert into freehold.role_permissions (id, role_id, permission, scope)
        select gen_random_uuid(), ${role}, 'note:' || a, ${scope} from unnest(array['create', 'read', 'update', 'delete']) a`,
      sql`insert into freehold.users (id, username, email, role, unit_id) values (${id}, ${`${name}-notes`}, ${`${name}@notes.test`}, ${`notes-${scope}`}, ${unit})`,
      sql`insert into freehold.sessions (id, user_id, expires_at) values (${session_id}, ${id}, now() + interval '1 hour')`,
    )
    credentials[name] = { session_id, user_id: id, proof: tenant.proof({ session_id }) }
  }
  await tenant.asOwner(
    sql`insert into freehold.notes values ('of ada', ${PEOPLE.ada}, null, ''), ('of bo', ${PEOPLE.bo}, null, ''), ('of cy', ${PEOPLE.cy}, null, ''),
      ('in the lab', null, ${UNITS.lab}, ''), ('in the office', null, ${UNITS.office}, '')`,
    sql`insert into freehold.plain values ('one', '', '')`,
    sql`insert into freehold.shown values ('one')`,
  )
})

const admit = (name: Name, permission: string) =>
  sql`select * from access.admit(${tenant.id}, ${JSON.stringify(credentials[name])}::jsonb, ${permission}, '{"method":"POST"}')`
const asked = async (name: Name, permission: string, statement: ReturnType<typeof sql>) =>
  (await tenant.asApp(admit(name, permission), statement)).map(({ id }) => id).sort()
const refused = (name: Name, permission: string, statement: ReturnType<typeof sql>) =>
  refusalOf(tenant.app_url, admit(name, permission), statement)

describe('rows of a protected table', () => {
  const ids = sql`select id from freehold.notes`

  it('are read as far as the permission reaches: everything, the unit, or what is one’s own', async () => {
    expect(await asked('ada', 'note:read', ids)).toEqual(['in the lab', 'in the office', 'of ada', 'of bo', 'of cy'])
    expect(await asked('bo', 'note:read', ids)).toEqual(['in the lab', 'of bo'])
    expect(await asked('cy', 'note:read', ids)).toEqual(['of cy'])
  })

  it('are seen by nobody who was not admitted', async () => {
    expect(await tenant.asApp(ids)).toEqual([])
    expect(await tenant.asApp(sql`update freehold.notes set title = 'x' returning id`)).toEqual([])
  })

  it('are changed and deleted no further than they are read, and with their own permission alone', async () => {
    const change = sql`update freehold.notes set title = title || '!' returning id`
    expect(await asked('bo', 'note:update', change)).toEqual(['in the lab', 'of bo'])
    expect(await asked('cy', 'note:update', change)).toEqual(['of cy'])
    expect(await asked('ada', 'note:read', change)).toEqual([])
    expect(await asked('ada', 'note:delete', change)).toEqual([])
    expect(await asked('ada', 'note:update', sql`delete from freehold.notes returning id`)).toEqual([])
    expect(await asked('cy', 'note:delete', sql`delete from freehold.notes where id <> 'of cy' returning id`)).toEqual([])
  })

  it('are made where the permission reaches, and moved nowhere else', async () => {
    const put = (id: string, owner: string | null, unit: string | null) =>
      sql`insert into freehold.notes values (${id}, ${owner}, ${unit}, '') returning id`
    expect(await asked('bo', 'note:create', put('new in the lab', null, UNITS.lab))).toEqual(['new in the lab'])
    expect(await asked('cy', 'note:create', put('new of cy', PEOPLE.cy, null))).toEqual(['new of cy'])
    expect(await refused('bo', 'note:create', put('elsewhere', null, UNITS.office))).toMatch(
      /^42501 new row violates row-level security/,
    )
    expect(await refused('cy', 'note:create', put('for bo', PEOPLE.bo, null))).toMatch(/^42501/)
    expect(await refused('ada', 'note:read', put('with another permission', PEOPLE.ada, null))).toMatch(/^42501/)
    const away = sql`update freehold.notes set unit_id = ${UNITS.office}, owner_id = null where id = 'new in the lab'`
    expect(await refused('bo', 'note:update', away)).toMatch(/^42501/)
  })

  it('without an owner and a unit are reached at scope all alone', async () => {
    const plain = sql`select id from freehold.plain`
    expect(await asked('ada', 'note:read', plain)).toEqual(['one'])
    expect([await asked('bo', 'note:read', plain), await asked('cy', 'note:read', plain)]).toEqual([[], []])
  })

  it('that are public are read by every admitted user, and by nobody else', async () => {
    const shown = sql`select id from freehold.shown`
    expect(await asked('cy', 'note:update', shown)).toEqual(['one'])
    expect(await tenant.asApp(shown)).toEqual([])
  })
})

describe('columns of a protected table', () => {
  it('that were not named are not written', async () => {
    expect(
      await asked('ada', 'note:create', sql`insert into freehold.plain (id, title) values ('two', '') returning id`),
    ).toEqual(['two'])
    expect(await refused('ada', 'note:create', sql`insert into freehold.plain (id, hidden) values ('three', '')`)).toMatch(
      /^42501 permission denied/,
    )
    expect(await refused('ada', 'note:update', sql`update freehold.plain set hidden = ''`)).toMatch(/^42501 permission denied/)
    expect(await refused('ada', 'note:delete', sql`delete from freehold.plain`)).toMatch(/^42501 permission denied/)
    expect(await refused('ada', 'note:create', sql`insert into freehold.shown values ('two')`)).toMatch(
      /^42501 permission denied/,
    )
  })
})

describe('what the planner makes of it', () => {
  const plan = async (statement: ReturnType<typeof sql>) =>
    (await tenant.asOwner(sql`explain (verbose) ${statement}`)).map((row) => row['QUERY PLAN']).join('\n')

  it('in_force is gone from the plan: it is the comparison that it stands for', async () => {
    const text = await plan(sql`select u.id from freehold.user_roles u where access.in_force(u.starts_at, u.ends_at, now())`)
    expect(text).toContain('starts_at <= now()')
    expect(text).not.toContain('in_force')
  })

  it('no policy is a function for each row', async () => {
    const text = (await tenant.asApp(admit('bo', 'note:read'), sql`explain (verbose) select id from freehold.notes`))
      .map((row) => row['QUERY PLAN'])
      .join('\n')
    const filter = text.split('\n').find((line) => line.includes('Filter:')) ?? ''
    expect(filter).toMatch(/InitPlan/)
    expect(filter).not.toMatch(/access\./)
  })
})
