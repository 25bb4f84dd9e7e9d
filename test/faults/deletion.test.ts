/** Threat: something of a tenant outlives its erasure, an erasure takes what is somebody else's, and one word destroys a tenant. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { erase, eraseStale } from '../../src/tenants/lifecycle/erasure.ts'
import { isolations } from '../../src/tenants/provisioning/isolation.ts'
import type { Host } from '../../src/tenants/provisioning/job.ts'
import { jobOf } from '../../src/tenants/provisioning/job.ts'
import { dropLogins } from '../../src/tenants/provisioning/logins.ts'
import { neonApi, remove as removeFromNeon } from '../../src/tenants/provisioning/neon.ts'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master, refusalOf, rowsOf, settings } from '../support/databases.ts'
import { call, login, makeTenant, operatorToken, wanted } from '../support/people.ts'
import { plantRun, plantTenant } from '../support/planted.ts'
import { makeIsolated } from '../support/stranger.ts'

let token: string
beforeAll(async () => {
  token = await operatorToken()
})
afterEach(() => vi.useRealTimers())

const at = (id: string, query = '') => `/platform/v1/tenants/${id}${query}`
const remove = (id: string, query = '') => call('', at(id, query), { method: 'DELETE', token })
const show = (id: string) => call('', at(id), { token })
const said = ({ status, body }: { status: number; body: any }) => [status, body?.code]

/** What there is of a tenant: in the master, in KV, in the cluster. */
async function traces(id: string, subdomain: string) {
  const short = id.replaceAll('-', '').slice(0, 12)
  const [row] = await master(sql`select
    (select count(*)::integer from platform.tenants where id = ${id}) as tenants,
    (select count(*)::integer from platform.signing_keys where realm_id = ${id}) as keys,
    (select count(*)::integer from platform.provisioning_runs where tenant_id = ${id}) as runs,
    (select count(*)::integer from platform.provisioning_steps where tenant_id = ${id}) as steps`)
  const [cluster] = await rowsOf(
    settings().MASTER_DATABASE_URL,
    sql`select (select count(*)::integer from pg_database where datname like ${`%freehold_${subdomain.replaceAll('-', '_')}`}) as databases,
          (select count(*)::integer from pg_roles where rolname like ${`%${short}%`}) as roles`,
  )
  const hosts = await master(sql`select project_id from platform.hosts where kind = 'branch' and state = 'open'`)
  const listed = hosts.map(({ project_id }) => neonApi(settings()).branches.list({ projectId: project_id, search: id }).all())
  const branches = (await Promise.all(listed)).flat()
  const projects = await neonApi(settings()).projects.list({ search: id }).all()
  return { ...row, ...cluster, branches: branches.length, projects: projects.length, kv: await env.TENANTS.get(kvKey(subdomain)) }
}
const NOTHING = { tenants: 0, keys: 0, runs: 0, steps: 0, databases: 0, branches: 0, projects: 0, roles: 0, kv: null }
const taken = (kind: string) => master(sql`select coalesce(sum(taken), 0)::integer as n from platform.hosts where kind = ${kind}`)

async function gone(id: string) {
  for (let i = 0; i < 200; i++) {
    if ((await show(id)).status === 404) return
    await scheduler.wait(50)
  }
  throw new Error('The tenant is still there.')
}

describe('a tenant that is deleted', () => {
  it('is refused on the very next request, keeps its data, and is as it was when it is restored', async () => {
    const { id } = await makeTenant('regretted', {}, token)
    const session = await login('regretted')
    const me = () => call('regretted', '/api/v1/auth/me', { token: session.access_token })
    const { body } = await me()
    expect((await remove(id)).status).toBe(204)
    expect([403, 404]).toContain((await me()).status)
    // Whoever remembers the tenant asks its database, which refuses; after ten seconds nobody remembers it.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
    expect(said(await me())).toEqual([404, 'tenant_not_found'])
    vi.useRealTimers()
    expect((await show(id)).body).toMatchObject({ status: 'deleted', is_active: false, deleted_at: expect.stringMatching(/Z$/) })
    expect(said(await call('', '/platform/v1/tenants', { token, body: wanted('regretted') }))).toEqual([409, 'subdomain_taken'])

    const restored = await call('', at(id, '/restore'), { method: 'POST', token })
    expect([restored.status, restored.body.status, restored.body.deleted_at]).toEqual([200, 'active', null])
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 25_000 })
    expect((await me()).body).toEqual(body)
  })

  it('cannot be deleted twice, nor restored twice, nor switched on', async () => {
    const { id } = await makeTenant('twice-deleted', {}, token)
    expect(said(await call('', at(id, '/restore'), { method: 'POST', token }))).toEqual([409, 'illegal_state'])
    expect((await remove(id)).status).toBe(204)
    expect(said(await remove(id))).toEqual([409, 'illegal_state'])
    expect(said(await call('', at(id, '/activate'), { method: 'POST', token }))).toEqual([409, 'illegal_state'])
  })
})

describe('a tenant that is being made', () => {
  it.each(['', '?hard=true&confirm=half-made'])('is not deleted (%s): its making goes on', async (query) => {
    const id = (await master(sql`select id from platform.tenants where subdomain = 'half-made'`))[0]?.id
    const known = id ?? (await plantTenant('half-made', 'provisioning'))
    if (!id) await plantRun(known)
    expect(said(await remove(known, query))).toEqual([409, 'illegal_state'])
    expect((await show(known)).body.status).toBe('provisioning')
  })
})

describe('an erasure', () => {
  it.each(['database', 'branch', 'project', 'external'])(
    'of isolation %s leaves nothing, frees the place and the name, and stays in the audit',
    async (isolation) => {
      const subdomain = `erased-${isolation}`
      const before = await taken(isolation)
      const { id } = await makeIsolated(subdomain, isolation, token)
      const { app_url } = await databaseOf(subdomain)
      const session = await login(subdomain)
      // Of an adopted database nothing is Neon's to us.
      const databases = isolation === 'external' ? 0 : 1
      const own = isolation === 'branch' ? { branches: 1 } : { databases, projects: isolation === 'project' ? 1 : 0 }
      const made = { tenants: 1, keys: 1, runs: 1, roles: 2, ...own }
      expect(await traces(id, subdomain)).toMatchObject(made)
      const answer = await remove(id, `?hard=true&confirm=${subdomain}`)
      expect([answer.status, answer.body.status]).toEqual([202, 'erasing'])
      await gone(id)
      expect(await traces(id, subdomain)).toEqual(NOTHING)
      expect(await refusalOf(app_url, sql`select 1`)).not.toBe('none')
      expect(await taken(isolation)).toEqual(before)
      expect([403, 404, 503]).toContain((await call(subdomain, '/api/v1/auth/me', { token: session.access_token })).status)
      expect(
        await master(
          sql`select activity_type from freehold.audit_log where resource_type = 'tenant' and resource_id = ${id} and action = 'delete'`,
        ),
      ).toHaveLength(1)

      const again = await makeIsolated(subdomain, isolation, token)
      expect(again.id).not.toBe(id)
      await scheduler.wait(2_100)
      expect(said(await call(subdomain, '/api/v1/auth/me', { token: session.access_token }))[0]).toBe(401)
      await login(subdomain)
    },
  )

  it('gives up a tenant that failed, with all that was made of it', async () => {
    const { id } = await makeTenant('given-up', {}, token)
    await master(sql`update platform.tenants set status = 'failed' where id = ${id}`)
    expect(said(await remove(id))).toEqual([409, 'illegal_state'])
    expect((await remove(id, '?hard=true&confirm=given-up')).status).toBe(202)
    await gone(id)
    expect(await traces(id, 'given-up')).toEqual(NOTHING)
  })

  it('gives up a tenant that failed before it had anything', async () => {
    const id = await plantTenant('nothing-yet')
    expect((await remove(id, '?hard=true&confirm=nothing-yet')).status).toBe(202)
    await gone(id)
  })

  it('must repeat the subdomain', async () => {
    const { id } = await makeTenant('cherished', {}, token)
    for (const query of ['?hard=true', '?hard=true&confirm=', '?hard=true&confirm=cherished2', '?hard=true&confirm=CHERISHED']) {
      const answer = await remove(id, query)
      expect(said(answer), query).toEqual([400, 'invalid_request'])
      expect(answer.body.errors[0].pointer).toBe('#/query/confirm')
    }
    for (const query of ['?hard=yes', '?hard=true&confirm=cherished&force=1'])
      expect(said(await remove(id, query)), query).toEqual([400, 'invalid_request'])
    expect((await show(id)).body.status).toBe('active')
  })

  it('of many who ask at once happens once', async () => {
    const { id } = await makeTenant('many-erasers', {}, token)
    const before = await taken('database')
    const answers = await Promise.all(Array.from({ length: 6 }, () => remove(id, '?hard=true&confirm=many-erasers')))
    const codes = answers.map(({ status }) => status)
    expect(codes.filter((status) => status === 202)).toHaveLength(1)
    expect(codes.filter((status) => ![202, 404, 409].includes(status))).toEqual([])
    await Promise.all(Array.from({ length: 4 }, () => erase(env as never, settings(), id, crypto.randomUUID())))
    await gone(id)
    expect((await taken('database'))[0]?.n).toBe((before[0]?.n ?? 0) - 1)
  })

  it('that stood still is gone on with by the scheduled job', async () => {
    const { id } = await makeTenant('stood-still', {}, token)
    await master(sql`update platform.tenants set status = 'erasing', deleted_at = now() where id = ${id}`)
    expect(await eraseStale(env as never, settings())).toBeGreaterThan(0)
    expect((await show(id)).status).toBe(404)
  })

  it('leaves a database alone that has the name but is somebody else’s', async () => {
    const { id } = await makeTenant('mistaken', {}, token)
    const { asOwner, host_url, name } = await databaseOf('mistaken')
    const [host] = await master(
      sql`select h.* from platform.hosts h join platform.tenants t on t.host_id = h.id where t.id = ${id}`,
    )
    await asOwner(sql`update freehold.tenant set id = gen_random_uuid()`)
    expect((await remove(id, '?hard=true&confirm=mistaken')).status).toBe(202)
    await gone(id)
    expect(await traces(id, 'mistaken')).toEqual({ ...NOTHING, databases: 1, roles: 2 })
    // Nobody knows it any more; others here look for what is left over.
    await removeFromNeon(neonApi(settings()), host as never, name)
    await dropLogins({ neon: neonApi(settings()), ...(host as Host), url: host_url }, { id, pair: 'a' })
  })
})

it('a tenant that nobody knows is not found', async () => {
  for (const query of ['', '?hard=true&confirm=x'])
    expect(said(await remove(crypto.randomUUID(), query))).toEqual([404, 'not_found'])
  expect(said(await remove('not-an-id'))).toEqual([400, 'invalid_request'])
})

it.each(['database', 'branch', 'project', 'external'])(
  'an erasure of isolation %s that is done twice finds nothing the second time, and is done',
  async (isolation) => {
    const subdomain = `erased-twice-${isolation}`
    const { id } = await makeIsolated(subdomain, isolation, token)
    const [row] = await master(
      sql`select to_jsonb(t) as tenant, to_jsonb(h) as host from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = ${id}`,
    )
    const job = await jobOf(settings(), row?.tenant, row?.host, crypto.randomUUID())
    await isolations[isolation]?.remove(job)
    await isolations[isolation]?.remove(job)
    expect((await remove(id, `?hard=true&confirm=${subdomain}`)).status).toBe(202)
    await gone(id)
  },
)
