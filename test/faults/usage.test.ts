/** What one tenant uses. Threat: a database or a Neon that is away makes it a 500, or keeps the operator waiting; a number is made up. */
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { databaseOf, master, rowsOf } from '../support/databases.ts'
import { askNeon, switchOn } from '../support/faults.ts'
import { call, login, makeTenant, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

let token: string
let shared: string
let own: string

beforeAll(async () => {
  token = await operatorToken()
  shared = (await copyTenant('used-shared')).id
  own = (await makeTenant('used-project', { isolation: 'project' })).id
})
afterEach(async () => {
  vi.restoreAllMocks()
  await switchOn()
})

const usage = (id: string, changed?: Record<string, string>) =>
  call('', `/platform/v1/tenants/${id}/usage`, { token, ...(changed && { settings: changed }) })
const nothing = (reason: string) => ['people', 'sessions', 'storage_bytes'].map((field) => ({ field, reason }))
const SHARED = { field: 'compute_seconds', reason: 'compute_is_shared' }

describe('the usage of a tenant', () => {
  it('is what its database says, and no compute where that is shared', async () => {
    const before = await usage(shared)
    await login('used-shared')
    await login('used-shared')
    const tenant = await databaseOf('used-shared')
    await tenant.asOwner(
      sql`insert into freehold.users (id, username, email, role) select gen_random_uuid(), 'used-' || n, n || '@used.test', 'user' from generate_series(1, 3) n`,
      sql`update freehold.sessions set expires_at = now() - interval '1 second' where id = (select id from freehold.sessions limit 1)`,
    )
    const { status, body } = await usage(shared)
    const [size] = await rowsOf(tenant.owner_url, sql`select pg_database_size(current_database())::integer as bytes`)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      tenant_id: shared,
      people: before.body.people + 3,
      sessions: before.body.sessions + 1,
      compute_seconds: null,
      missing: [SHARED],
    })
    expect(Math.abs(body.storage_bytes - Number(size?.bytes))).toBeLessThan(1_000_000)
    expect(Math.abs(Date.parse(body.as_of) - Date.now())).toBeLessThan(60_000)
  })

  it('has the compute that Neon measured, where the tenant has a project of its own', async () => {
    await login('used-project')
    const { body } = await usage(own)
    expect(body).toMatchObject({ people: 1, missing: [] })
    const { projects } = await askNeon(`/projects?search=${own}`)
    const query = new URLSearchParams({
      from: body.month_began_at,
      to: new Date(Date.now() + 60_000).toISOString(),
      granularity: 'daily',
      org_id: projects[0].owner_id,
      metrics: 'compute_unit_seconds',
      project_ids: projects[0].id,
    })
    const measured = (await askNeon(`/consumption_history/v2/projects?${query}`)).projects[0].periods[0].consumption
    const sum = measured.reduce((all: number, { metrics }: any) => all + metrics[0].value, 0)
    expect(body.compute_seconds).toBeLessThanOrEqual(sum)
    expect(sum - body.compute_seconds).toBeLessThan(60)
  })

  it.each<[string, Parameters<typeof switchOn>[0]]>([
    [
      'refuses',
      {
        match: { path: '/consumption_history' },
        times: 9,
        kind: 'status',
        status: 403,
        body: '{"code":"","message":"not on this plan"}',
      },
    ],
    [
      'answers what is no JSON',
      { match: { path: '/consumption_history' }, times: 9, kind: 'status', status: 524, body: '<html>' },
    ],
    ['hangs up', { match: { path: '/projects/' }, times: 9, kind: 'drop_before' }],
    ['does not answer', { match: { path: '/consumption_history' }, times: 9, kind: 'delay', ms: 8_000 }],
  ])('names the compute when Neon %s, and has all else', async (_, fault) => {
    await switchOn(fault)
    const { status, body } = await usage(own)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      people: 1,
      compute_seconds: null,
      missing: [{ field: 'compute_seconds', reason: 'neon_did_not_answer' }],
    })
  })

  it('names what the database would say when it does not answer, and has the compute', async () => {
    const [row] = await master(sql`select database_name from platform.tenants where id = ${own}`)
    const { fetch } = globalThis
    vi.spyOn(globalThis, 'fetch').mockImplementation((input, init) => {
      const to = new Headers(init?.headers).get('Neon-Connection-String') ?? ''
      if (!to.includes(String(row?.database_name))) return fetch(input, init)
      return new Promise((_, reject) => init?.signal?.addEventListener('abort', () => reject(init.signal?.reason)))
    })
    const { status, body } = await usage(own)
    expect(status).toBe(200)
    expect(body).toMatchObject({ people: null, sessions: null, storage_bytes: null, compute_seconds: expect.any(Number) })
    expect(body.missing).toEqual(nothing('database_did_not_answer'))
  })

  it('is empty of a tenant that has no database, and of one whose database is gone', async () => {
    const failed = await usage(await plantTenant('used-failed'))
    expect([failed.status, failed.body.missing]).toEqual([
      200,
      [...nothing('no_database'), { field: 'compute_seconds', reason: 'no_database' }],
    ])
    const { id } = await copyTenant('used-gone')
    const tenant = await databaseOf('used-gone')
    const renamed = (from: string, to: string) => rowsOf(tenant.host_url, sql.raw(`alter database ${from} rename to ${to}`))
    await renamed(tenant.name, 'used_moved')
    const gone = await usage(id)
    expect([gone.status, gone.body.missing]).toEqual([200, [...nothing('database_did_not_answer'), SHARED]])
    await renamed('used_moved', tenant.name)
  })

  it('answers twenty at once', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => usage(own)))
    expect(answers.map(({ status, body }) => [status, body.people])).toEqual(Array(20).fill([200, 1]))
  })

  it('is refused of nobody, and to nobody', async () => {
    expectProblem(await usage(crypto.randomUUID()), 404, 'not_found')
    expectProblem(await usage('acme'), 400, 'invalid_request')
    expectProblem(await call('', `/platform/v1/tenants/${own}/usage`), 401, 'token_missing')
  })
})
