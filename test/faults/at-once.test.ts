import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { databaseOf, master } from '../support/databases.ts'
import { ADMIN, call, login, makeTenant, newRuc, operatorToken, wanted } from '../support/people.ts'

let token: string
beforeAll(async () => {
  token = await operatorToken()
})

const create = (subdomain: string, more: Record<string, unknown> = {}) =>
  call('', '/platform/v1/tenants', { token, headers: { Prefer: 'wait=60' }, body: wanted(subdomain, more) })

/** The names of all databases that Neon's API knows, as `branch/name`. */
async function neonDatabases(): Promise<string[]> {
  const { NEON_API_URL, NEON_API_KEY } = inject('settings')
  const get = async (path: string): Promise<any> =>
    (await fetch(`${NEON_API_URL}${path}`, { headers: { Authorization: `Bearer ${NEON_API_KEY}` } })).json()
  const found: string[] = []
  for (const project of (await get('/projects?limit=400')).projects)
    for (const branch of (await get(`/projects/${project.id}/branches`)).branches)
      for (const database of (await get(`/projects/${project.id}/branches/${branch.id}/databases`)).databases)
        found.push(`${branch.id}/${database.name}`)
  return found
}

describe('two creations at once', () => {
  it('of one subdomain: one wins, the other is told that it is taken', async () => {
    const answers = await Promise.all([create('once-raced'), create('once-raced')])
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409])
    expect(answers.find(({ status }) => status === 409)?.body.code).toBe('subdomain_taken')
    const loser = answers.find(({ status }) => status === 409)?.body
    expect(JSON.stringify(loser)).not.toContain('password')
    expect(await master(sql`select count(*)::integer as n from platform.tenants where subdomain = 'once-raced'`)).toEqual([
      { n: 1 },
    ])
    expect((await login('once-raced')).token_type).toBe('Bearer')
  })

  it('with one tax id: one wins, and the other’s subdomain stays free', async () => {
    const tax_id = newRuc()
    const answers = await Promise.all(['once-tax-a', 'once-tax-b'].map((name) => create(name, { tax_id })))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409])
    const lost = answers.findIndex(({ status }) => status === 409)
    expect(answers[lost]?.body.code).toBe('tax_id_taken')
    expect((await create(['once-tax-a', 'once-tax-b'][lost] ?? '')).status).toBe(201)
  })
})

it('ten at once are all made, and nothing is there twice', async () => {
  const names = Array.from({ length: 10 }, (_, i) => `once-${i}`)
  const answers = await Promise.all(names.map((name) => create(name)))
  expect(answers.map(({ body }) => [body.subdomain, body.status])).toEqual(names.map((name) => [name, 'active']))
  const ended = sql`select count(*)::integer as n from platform.provisioning_runs r join platform.tenants t on t.id = r.tenant_id where t.subdomain ~ '^once-[0-9]$' and r.state <> 'running'`
  await vi.waitUntil(async () => (await master(ended))[0]?.n === names.length, { timeout: 60_000, interval: 50 })
  const rows = await master(
    sql`select t.subdomain, count(distinct r.id)::integer as runs, bool_and(r.state = 'done') as done, count(distinct k.kid)::integer as keys,
          (select count(*)::integer from platform.provisioning_steps s where s.tenant_id = t.id and s.state = 'done') as steps
        from platform.tenants t join platform.provisioning_runs r on r.tenant_id = t.id join platform.signing_keys k on k.realm_id = t.id
        where t.subdomain ~ '^once-[0-9]$' group by t.id order by 1`,
  )
  expect(rows).toEqual(names.map((subdomain) => ({ subdomain, runs: 1, done: true, keys: 1, steps: 12 })))
  const databases = await neonDatabases()
  expect(new Set(databases).size).toBe(databases.length)
  expect(
    databases
      .map((name) => name.split('/')[1])
      .filter((name) => /^freehold_once_\d$/.test(name ?? ''))
      .sort(),
  ).toEqual(names.map((name) => `freehold_${name.replace('-', '_')}`))
  const hosts = await master(
    sql`select h.taken, (select count(*)::integer from platform.tenants t where t.host_id = h.id) as there from platform.hosts h
        where exists (select from platform.tenants t where t.host_id = h.id and t.subdomain ~ '^once-[0-9]$')`,
  )
  expect(hosts.length).toBeGreaterThan(0)
  for (const { taken, there } of hosts) expect(taken).toBe(there)
  const people = await Promise.all(names.slice(0, 3).map((name) => login(name)))
  expect(people.every((person) => person.token_type === 'Bearer')).toBe(true)
})

describe('a name', () => {
  const LONG = 'the-quick-brown-fox-jumps-over-the-lazy-dog-and-goes-on-run'
  it.each([
    ['of 63 characters', 'x'.repeat(63)],
    ['of one digit', '7'],
    ['with hyphens inside', 'a-b--c-9'],
    ['that begins as another does (1)', `${LONG}-one`],
    ['that begins as another does (2)', `${LONG}-two`],
  ])('%s works', async (_, subdomain) => {
    const tenant = await makeTenant(subdomain, {}, token)
    expect(tenant.database_name).toMatch(/^freehold_[a-z0-9_]{1,54}$/)
    const session = await login(subdomain)
    expect((await call(subdomain, '/api/v1/auth/me', { token: session.access_token })).body).toMatchObject({
      email: ADMIN.email,
      tenant: subdomain,
    })
    const database = await databaseOf(subdomain)
    expect(await database.asOwner(sql`select current_database() as name, subdomain from freehold.tenant`)).toEqual([
      { name: tenant.database_name, subdomain },
    ])
  })

  it('that is cut for its database still has one of its own', async () => {
    const found = await Promise.all([`${LONG}-one`, `${LONG}-two`, 'x'.repeat(63)].map(databaseOf))
    expect(new Set(found.map(({ name }) => name)).size).toBe(3)
    for (const { name } of found) expect(new TextEncoder().encode(name).length).toBeLessThanOrEqual(63)
  })
})
