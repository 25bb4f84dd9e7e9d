/** Threat: a tenant with a plan that does not exist, a plan that goes while tenants have it, or a limit that its database never hears of. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { inside } from '../support/inside.ts'
import { type Answer, call, makeTenant, operatorToken, wanted } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let token: string
let id: string
const AT = 'planned-one'
const at = (key = '') => `/platform/v1/plans${key && `/${key}`}`

beforeAll(async () => {
  token = await operatorToken()
  id = (await copyTenant(AT)).id
})

const plan = (key: string, more: object = {}) => call('', at(), { token, body: { key, name: key, ...more } })
const change = (key: string, body: object, headers = {}) => call('', at(key), { token, method: 'PATCH', body, headers })
const patch = (body: object, whose = id) => call('', `/platform/v1/tenants/${whose}`, { token, method: 'PATCH', body })
const shown = async (whose = id) => (await call('', `/platform/v1/tenants/${whose}`, { token })).body
const remove = (key: string) => call('', at(key), { token, method: 'DELETE' })
const tally = (answers: Answer[]) => answers.map(({ status }) => status).sort()
const users = async (name: string, count: number) => {
  const theirs = await tokenOf(AT)
  const one = (i: number) => call(AT, '/api/v1/users', { token: theirs, body: { email: `${name}-${i}@planned.test` } })
  return Promise.all(Array.from({ length: count }, (_, i) => one(i)))
}
const limitsThere = async (subdomain = AT) =>
  Object.fromEntries(
    (await (await inside(subdomain)).asOwner(sql`select l.name, l.most from access.limits l where l.most is not null`)).map(
      ({ name, most }) => [name, most],
    ),
  )

describe('a plan', () => {
  it('is made, read, listed, changed and deleted', async () => {
    const limits = { max_users: 5, max_documents: 100, limit_documents: true }
    const made = await plan('plan-life', { description: 'For a while', isolation: 'project', limits })
    expect(made.status).toBe(201)
    expect(made.headers.get('Location')).toBe(at('plan-life'))
    expect(made.body).toMatchObject({ key: 'plan-life', isolation: 'project', limits, tenants: 0, tenants_pending: 0 })
    expectProblem(await plan('plan-life'), 409, 'already_exists')
    const read = await call('', at('plan-life'), { token })
    expect(read.body).toEqual(made.body)
    const changed = await change('plan-life', { isolation: null, limits: { max_users: null, max_api_keys: 9 } })
    expect(changed.body).toMatchObject({
      description: 'For a while',
      isolation: null,
      limits: { max_documents: 100, limit_documents: true, max_api_keys: 9 },
    })
    expectProblem(await change('plan-life', { name: 'x' }, { 'If-Match': read.headers.get('ETag') ?? '' }), 412, 'etag_mismatch')
    await plan('plan-life-2')
    const page = await call('', `${at()}?limit=1`, { token })
    expect(page.body.data.length).toBe(1)
    const next = await call('', `${at()}?limit=100&cursor=${page.body.next_cursor}`, { token })
    const keys = [...page.body.data, ...next.body.data].map(({ key }) => key)
    expect(keys).toEqual([...keys].sort())
    expect(keys).toContain('plan-life-2')
    for (const key of ['plan-life', 'plan-life-2']) expect((await remove(key)).status).toBe(204)
    for (const gone of [await remove('plan-life'), await change('plan-life', {}), await call('', at('plan-life'), { token })])
      expectProblem(gone, 404, 'not_found')
  })

  it('that is made again with its Idempotency-Key is one', async () => {
    const make = () =>
      call('', at(), { token, body: { key: 'plan-once', name: 'Once' }, headers: { 'Idempotency-Key': 'plan-once' } })
    const [first, second] = [await make(), await make()]
    expect([first.status, second.status]).toEqual([201, 201])
    expect(second.body).toEqual(first.body)
  })

  it.each([
    [{ key: 'Big Plan' }, '#/key'],
    [{ name: '' }, '#/name'],
    [{ isolation: 'external' }, '#/isolation'],
    [{ limits: { max_users: -1 } }, '#/limits/max_users'],
    [{ limits: { max_users: 1.5 } }, '#/limits/max_users'],
    [{ limits: { max_users: '5' } }, '#/limits/max_users'],
    [{ limits: { max_sessions: 100_001 } }, '#/limits/max_sessions'],
    [{ limits: { max_user: 5 } }, '#/limits/max_user'],
    [{ limits: { limit_documents: 1 } }, '#/limits/limit_documents'],
    [{ price: 5 }, '#/price'],
    [{ description: 'x'.repeat(1001) }, '#/description'],
  ])('with %j is refused', async (wrong, pointer) => {
    const answer = await plan('plan-wrong', wrong)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
    expect((await call('', at('plan-wrong'), { token })).status).toBe(404)
  })

  it('is the operators’ to make, and the auditor’s to read', async () => {
    expectProblem(await call('', at()), 401, 'token_missing')
    expectProblem(await call('', at(), { token: await tokenOf(AT) }), 401, 'token_wrong_tenant')
    expectProblem(
      await call('', at(), { token, raw: `{"key":"${'x'.repeat(1_100_000)}"}`, method: 'POST' }),
      413,
      'body_too_large',
    )
  })

  it('that tenants have is not deleted, and the answer says how many', async () => {
    await plan('plan-held')
    expect((await patch({ plan: 'plan-held' })).status).toBe(200)
    const refused = await remove('plan-held')
    expectProblem(refused, 409, 'in_use')
    expect(refused.body.detail).toBe('Tenants that have the plan plan-held: 1. Give them another one first.')
    expect((await patch({ plan: null })).status).toBe(200)
    expect((await remove('plan-held')).status).toBe(204)
  })

  it('that is deleted and given at once is either deleted, or given', async () => {
    for (let i = 0; i < 5; i++) {
      await plan(`plan-race-${i}`)
      const [given, gone] = await Promise.all([patch({ plan: `plan-race-${i}` }), remove(`plan-race-${i}`)])
      expect([
        [200, 409],
        [400, 204],
      ]).toContainEqual([given.status, gone.status])
      expect((await shown()).plan === `plan-race-${i}`).toBe(given.status === 200)
      await patch({ plan: null })
    }
  })

  it('that does not exist is given to nobody, and one that a tenant had before there were plans stays', async () => {
    const answer = await patch({ plan: 'plan-unknown' })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/plan'])
    const made = await call('', '/platform/v1/tenants', { token, body: wanted('planned-none', { plan: 'plan-unknown' }) })
    expect([made.status, pointers(made)]).toEqual([400, ['#/plan']])
    await master(
      sql`alter table platform.tenants disable trigger known_plan`,
      sql`update platform.tenants set plan = 'plan-from-before' where id = ${id}`,
      sql`alter table platform.tenants enable trigger known_plan`,
    )
    expect((await patch({ contact_name: 'Cy' })).status).toBe(200)
    expect((await patch({ plan: 'plan-from-before' })).status).toBe(200)
    expect((await patch({ plan: null })).status).toBe(200)
  })

  it('names the isolation of new tenants, and limits them from the first moment', async () => {
    await plan('plan-branch', { isolation: 'branch', limits: { max_users: 2 } })
    const tenant = await makeTenant('planned-branch', { plan: 'plan-branch' })
    expect(tenant).toMatchObject({ isolation: 'branch', plan: 'plan-branch', effective_limits: { max_users: 2 }, limits: {} })
    expect(await limitsThere('planned-branch')).toEqual({ users: 2 })
    const asked = await makeTenant('planned-asked', { plan: 'plan-branch', isolation: 'database' })
    expect(asked.isolation).toBe('database')
  })
})

describe('a changed limit', () => {
  it('of a tenant stands in its database when PATCH answers; its own limit comes before that of the plan', async () => {
    await plan('plan-limits', { limits: { max_users: 100, max_api_keys: 7 } })
    const planned = await patch({ plan: 'plan-limits', limits: { max_users: 50 } })
    expect(planned.body).toMatchObject({
      limits: { max_users: 50 },
      effective_limits: { max_users: 50, max_api_keys: 7 },
      is_applied: true,
      user_limit_reached: false,
      limits_exceeded: [],
    })
    expect(planned.body.used.users).toBeGreaterThan(0)
    expect(await limitsThere()).toEqual({ users: 50, api_keys: 7 })
    const now = planned.body.used.users
    const full = await patch({ limits: { max_users: now } })
    expect(full.body).toMatchObject({ user_limit_reached: true, limits_exceeded: [] })
    expect(tally(await users('full', 2))).toEqual([409, 409])
    expect((await shown()).user_limit_reached).toBe(true)
    const more = await patch({ limits: { max_users: now + 1 } })
    expect(more.body.user_limit_reached).toBe(false)
    expect(tally(await users('more', 3))).toEqual([201, 409, 409])
    expect(await shown()).toMatchObject({ user_limit_reached: true, used: { users: now + 1 } })
    const below = await patch({ limits: { max_users: 1 } })
    expect(below.status).toBe(200)
    expect(below.body).toMatchObject({ limits_exceeded: ['max_users'], user_limit_reached: true })
    const lifted = await patch({ limits: { max_users: null } })
    expect(lifted.body).toMatchObject({ limits: {}, effective_limits: { max_users: 100 } })
    expect(await limitsThere()).toEqual({ users: 100, api_keys: 7 })
    await patch({ plan: null })
    expect(await limitsThere()).toEqual({})
  })

  it('of a plan reaches its tenants, and its answer says how many have yet to hear', async () => {
    await plan('plan-reaches', { limits: { max_users: 80 } })
    await patch({ plan: 'plan-reaches' })
    const changed = await change('plan-reaches', { limits: { max_users: 81 } })
    expect(changed.body).toMatchObject({ tenants: 1, tenants_pending: 1 })
    for (let tries = 0; tries < 40 && (await limitsThere()).users !== 81; tries++) {
      await reconcile(env, settings())
      await scheduler.wait(50)
    }
    expect(await limitsThere()).toEqual({ users: 81 })
    expect((await call('', at('plan-reaches'), { token })).body.tenants_pending).toBe(0)
    expect((await change('plan-reaches', { name: 'The same' })).body.tenants_pending).toBe(0)
    await patch({ plan: null })
  })

  it('of twenty PATCHes at once is the last one’s, in the master as in the database', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => patch({ limits: { max_users: 200 + i, max_sessions: 50 + i } })),
    )
    expect(tally(answers)).toEqual(Array(20).fill(200))
    const { effective_limits } = await shown()
    expect(await limitsThere()).toEqual({ users: effective_limits.max_users, sessions: effective_limits.max_sessions })
    await patch({ limits: { max_users: null, max_sessions: null } })
  })

  it('of a tenant whose database is away stands later: the answer says so, and the last numbers count', async () => {
    const { id: far } = await copyTenant('planned-away')
    const there = await databaseOf('planned-away')
    const login = sql.identifier(new URL(there.owner_url).username)
    await rowsOf(there.host_url, sql`alter role ${login} nologin`)
    const changed = await patch({ limits: { max_users: 9 } }, far)
    expect(changed.status).toBe(200)
    expect(changed.body).toMatchObject({ is_applied: false, effective_limits: { max_users: 9 } })
    const seen = await shown(far)
    expect(seen).toMatchObject({ is_applied: false, used: { users: 1 } })
    expect(seen.used.documents).toBeUndefined()
    await rowsOf(there.host_url, sql`alter role ${login} login`)
    for (let tries = 0; tries < 40 && !(await shown(far)).is_applied; tries++) await reconcile(env, settings())
    expect(await limitsThere('planned-away')).toEqual({ users: 9 })
    expect((await shown(far)).used).toMatchObject({ users: 1, documents: 0 })
  })

  it.each([
    [{ limits: null }, '#/limits'],
    [{ limits: { max_users: 'all' } }, '#/limits/max_users'],
    [{ limits: { max_documentos: 5 } }, '#/limits/max_documentos'],
    [{ limits: [] }, '#/limits'],
  ])('of %j is refused', async (wrong, pointer) => {
    const answer = await patch(wrong)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })
})
