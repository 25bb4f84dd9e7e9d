/**
 * Threat: Neon's control plane, which is asked before a change of roles is committed. It is busy; a branch has no room for roles; or it
 * brings a role back, as a member of neon_superuser, whose creation was never committed.
 */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { databaseOf, master } from '../support/databases.ts'
import {
  bothSides,
  fillHomes,
  type Isolation,
  pending,
  rememberLeft,
  reserve,
  run,
  switchOn,
  WHOLE,
  whole,
} from '../support/faults.ts'
import { call, operatorToken } from '../support/people.ts'

beforeAll(rememberLeft, 60_000)

const SQL = { method: 'POST', path: '^/sql$' }
const ISOLATIONS: Isolation[] = ['database', 'branch', 'project']
const FULL = 'roles limit exceeded: at most 500 roles per branch'

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
let token: string
let n = 0
const newName = (what: string) => `roles-${what}-${++n}`

beforeAll(async () => {
  introspector = await introspectWorkflow(env.PROVISIONING)
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
  token = await operatorToken()
})
afterEach(() => switchOn())
afterAll(() => introspector.dispose())

const hostOf = async (id: string) => {
  const [row] = await master(
    sql`select h.id, h.taken, h.capacity from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = ${id}`,
  )
  return row as { id: string; taken: number; capacity: number }
}
const erased = async (id: string, name: string) => {
  expect((await call('', `/platform/v1/tenants/${id}?hard=true&confirm=${name}`, { method: 'DELETE', token })).status).toBe(202)
  for (let i = 0; i < 400; i++) {
    // Requests find none as soon as it is marked; its row goes last.
    if (!(await master(sql`select from platform.tenants where id = ${id}`)).length) return
    await scheduler.wait(25)
  }
  throw new Error('It was not erased.')
}
/** The attributes and memberships of a tenant's logins. */
async function privileges(name: string) {
  const { asOwner, app_url, owner_url } = await databaseOf(name)
  const [found] = await asOwner(
    sql`select jsonb_agg(distinct g.rolname order by g.rolname) as roles, bool_or(r.rolcreaterole or r.rolcreatedb or r.rolbypassrls or r.rolreplication) as any_attribute
        from pg_roles r left join pg_auth_members m on m.member = r.oid left join pg_roles g on g.oid = m.roleid
        where r.rolname in (${new URL(app_url).username}, ${new URL(owner_url).username})`,
  )
  return found
}
const ORDINARY = { roles: ['freehold_app', 'freehold_owner'], any_attribute: false }

describe.each(ISOLATIONS)('a tenant of isolation %s is made whole', (isolation) => {
  it('while the control plane is busy, however often it says so', async () => {
    const name = newName(isolation)
    const { run_id } = await reserve(name, isolation)
    await switchOn(
      { match: SQL, times: 3, kind: 'refuse_roles' },
      { match: SQL, times: 2, kind: 'refuse_roles', status: 500, body: 'internal error' },
      { match: SQL, times: 1, kind: 'refuse_roles', status: 429 },
    )
    await run(run_id)
    expect(await pending()).toEqual([])
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
    // Busy is waited out within a step, and costs it none of its tries.
    const [tries] = await master(
      sql`select max(s.attempts)::integer as most from platform.provisioning_steps s join platform.tenants t on t.id = s.tenant_id where t.subdomain = ${name}`,
    )
    expect(tries).toEqual({ most: 1 })
  })

  it('with logins that hold nothing more, when Neon brings them back after a commit that failed', async () => {
    const name = newName(isolation)
    const { id, run_id } = await reserve(name, isolation)
    await switchOn({ match: SQL, times: 1, kind: 'bring_back_roles' })
    await run(run_id)
    expect(await pending()).toEqual([])
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
    expect(await privileges(name)).toEqual(ORDINARY)
    await erased(id, name)
    const { neon, known } = await bothSides('roles-')
    expect(neon).toEqual(known)
  })
})

describe('a host that has no room for roles', () => {
  it('is full, and the tenant is placed elsewhere', async () => {
    const first = newName('first')
    const one = await reserve(first, 'database')
    await run(one.run_id)
    const host = await hostOf(one.id)
    const name = newName('elsewhere')
    const two = await reserve(name, 'database')
    await switchOn({ match: SQL, times: 1, kind: 'refuse_roles', status: 422, body: FULL })
    await run(two.run_id)
    expect(await pending()).toEqual([])
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
    expect((await hostOf(two.id)).id).not.toBe(host.id)
    expect(await hostOf(one.id)).toEqual({ id: host.id, taken: host.taken, capacity: host.taken })
    const { neon, known } = await bothSides('roles-')
    expect(neon).toEqual(known)
    // Whoever is erased there makes room for the next.
    await erased(one.id, first)
    const [after] = await master(sql`select taken < capacity as has_room from platform.hosts where id = ${host.id}`)
    expect(after).toEqual({ has_room: true })
  })

  it('is found by two tenants at once, each of which is placed elsewhere and gives its place back once', async () => {
    const first = newName('first')
    await run((await reserve(first, 'database')).run_id)
    const names = [newName('at-once'), newName('at-once')]
    const both = await Promise.all(names.map((name) => reserve(name, 'database')))
    await switchOn({ match: SQL, times: 2, kind: 'refuse_roles', status: 422, body: FULL })
    await Promise.all(both.map(({ run_id }) => run(run_id)))
    for (const name of names) expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
    const { neon, known } = await bothSides('roles-')
    expect(neon).toEqual(known)
  })
})

describe('a host that is opened', () => {
  it('has ordinary roles for the schema, and one that the control plane refuses for long is opened later', async () => {
    await fillHomes('database')
    const name = newName('opened')
    const { run_id } = await reserve(name, 'database')
    await switchOn({ match: SQL, times: 4, kind: 'refuse_roles' })
    await run(run_id)
    expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
  })

  it('takes no more than 240 tenants, also when it was opened for more', async () => {
    await fillHomes('database')
    await master(
      sql`update platform.hosts set capacity = 400, taken = 240 where id = (select id from platform.hosts where kind = 'database' and state = 'open' order by created_at limit 1)`,
    )
    const [old] = await master(sql`select id from platform.hosts where capacity = 400`)
    const name = newName('opened')
    const { id, run_id } = await reserve(name, 'database')
    await run(run_id)
    expect((await hostOf(id)).id).not.toBe(old?.id)
    await master(
      sql`update platform.hosts h set taken = n, capacity = greatest(n, 200) from (select count(*)::integer as n from platform.tenants where host_id = ${old?.id}) t where h.id = ${old?.id}`,
    )
  })
})

it('an erasure while the control plane is busy is done, and drops no role that there is not', async () => {
  const name = newName('erased')
  const { id, run_id } = await reserve(name, 'database')
  await run(run_id)
  await switchOn({ match: SQL, times: 2, kind: 'refuse_roles' })
  await erased(id, name)
  const { neon, known } = await bothSides('roles-')
  expect(neon).toEqual(known)
})
