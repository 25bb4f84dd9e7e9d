/** Threat: a tenant whose license has ended goes on; one that was renewed stops; or somebody who pays cannot take their data along. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { databaseOf, master, refusalOf, settings } from '../support/databases.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { ADMIN, call, login, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { admit, credentialOf, FACTS, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'licensed-one'
const DAY = 86_400_000
let operator: string
let id: string
let realm: Inside

beforeAll(async () => {
  operator = await operatorToken()
  id = (await copyTenant(AT)).id
  realm = await inside(AT)
})

const path = (more = '', whose = id) => `/platform/v1/tenants/${whose}/licenses${more}`
const moment = (days: number) => new Date(Date.now() + days * DAY).toISOString()
const give = (body: object, whose = id) => call('', path('', whose), { token: operator, body })
const list = async () => (await call('', path('?limit=100'), { token: operator })).body.data
const remove = (license: string) => call('', path(`/${license}`), { token: operator, method: 'DELETE' })
const end = (license: string) => call('', path(`/${license}/end`), { token: operator, method: 'POST' })
const removeAll = async () => {
  for (const { id } of await list()) expect((await remove(id)).status).toBe(204)
}
const tenant = async () => (await call('', `/platform/v1/tenants/${id}`, { token: operator })).body
const row = async () => (await realm.asOwner(sql`select licensed_until, read_only_from from freehold.tenant`))[0]

/** A license that ended so many days ago, and whose grace is over. */
async function expire(): Promise<string> {
  const { body } = await give({ valid_from: moment(-400), valid_until: moment(1), grace_days: 0 })
  await master(sql`update platform.licenses set valid_until = now() - interval '1 day' where id = ${body.id}`)
  await tell()
  return body.id
}
/** What the scheduled job does, until the tenant has heard. */
async function tell(): Promise<void> {
  const [known] = await master(sql`select v from platform.tenants where id = ${id}`)
  for (let tries = 0; tries < 60; tries++) {
    await reconcile(env, settings())
    const [there] = await realm.asOwner(sql`select v from freehold.tenant`)
    if (Number(there?.v) >= Number(known?.v)) return
  }
  throw new Error('The tenant was not told.')
}

describe('a license', () => {
  it('is given, listed, ended and taken back; its state says where it is in its life', async () => {
    const now = await give({ key: 'LIC-1', valid_until: moment(20), limits: { max_users: 77 } })
    expect(now.status).toBe(201)
    expect(now.body).toMatchObject({ key: 'LIC-1', state: 'expiring', grace_days: 14, limits: { max_users: 77 } })
    const later = await give({ valid_from: moment(20), valid_until: moment(400), grace_days: 3 })
    expect(later.body).toMatchObject({ state: 'scheduled', key: expect.stringMatching(/^FHL-[0-9A-F]{32}$/) })
    expect((await list()).map(({ id }: { id: string }) => id)).toEqual([later.body.id, now.body.id])
    expectProblem(await give({ key: 'LIC-1', valid_until: moment(20) }), 409, 'already_exists')
    expect((await tenant()).effective_limits).toEqual({ max_users: 77 })
    expectProblem(await end(later.body.id), 409, 'illegal_state')
    const ended = await end(now.body.id)
    expect(ended.body.state).toBe('grace')
    expectProblem(await end(now.body.id), 409, 'illegal_state')
    await removeAll()
    expect(await tenant()).toMatchObject({ license: null, effective_limits: {} })
    expect(await row()).toEqual({ licensed_until: null, read_only_from: null })
    expectProblem(await remove(now.body.id), 404, 'not_found')
  })

  it('and the next one without a gap are one time', async () => {
    const [from, middle, until] = [moment(-10), moment(5), moment(100)]
    await give({ valid_from: from, valid_until: middle, grace_days: 1 })
    expect(Date.parse((await tenant()).license.licensed_until)).toBe(Date.parse(middle))
    await give({ valid_from: middle, valid_until: until, grace_days: 2 })
    const { license } = await tenant()
    expect([Date.parse(license.licensed_until), Date.parse(license.read_only_from)]).toEqual([
      Date.parse(until),
      Date.parse(until) + 2 * DAY,
    ])
    expect(Date.parse(String((await row())?.licensed_until))).toBe(Date.parse(until))
    await removeAll()
  })

  it('that begins after a gap begins with the scheduled job, also its limits', async () => {
    await give({ valid_from: moment(-10), valid_until: moment(1) })
    const { body } = await give({ valid_from: moment(2), valid_until: moment(50), limits: { max_api_keys: 5 } })
    await master(sql`update platform.licenses set valid_from = now() - interval '1 second' where id = ${body.id}`)
    await tell()
    expect((await tenant()).effective_limits).toEqual({ max_api_keys: 5 })
    expect(await realm.asOwner(sql`select name, most from access.limits where most is not null`)).toEqual([
      { name: 'api_keys', most: 5 },
    ])
    await removeAll()
  })

  it('that overlaps another one and ends first gives way to it again, with the scheduled job', async () => {
    await give({ valid_from: moment(-10), valid_until: moment(300), limits: { max_users: 40 } })
    const { body } = await give({ valid_until: moment(30), limits: { max_users: 90 } })
    const most = async () => {
      const [row] = await realm.asOwner(sql`select most from access.limits where name = 'users'`)
      return [(await tenant()).effective_limits.max_users, row?.most]
    }
    expect(await most()).toEqual([90, 90])
    await master(sql`update platform.licenses set valid_until = now() + interval '2 seconds' where id = ${body.id}`)
    await tell()
    const turned = async () => {
      await reconcile(env, settings())
      expect(await most()).toEqual([40, 40])
    }
    await vi.waitFor(turned, { timeout: 30_000, interval: 500 })
    await removeAll()
    expect(await most()).toEqual([undefined, undefined])
  })

  const SAME = moment(10)
  it.each([
    [{ valid_from: moment(10), valid_until: moment(9) }, '#/valid_until'],
    [{ valid_from: SAME, valid_until: SAME }, '#/valid_until'],
    [{ valid_from: moment(-10), valid_until: moment(-9) }, '#/valid_until'],
    [{ valid_until: 'tomorrow' }, '#/valid_until'],
    [{}, '#/valid_until'],
    [{ valid_until: moment(9), grace_days: 366 }, '#/grace_days'],
    [{ valid_until: moment(9), key: 'with space' }, '#/key'],
    [{ valid_until: moment(9), limits: { max_users: 'x' } }, '#/limits/max_users'],
    [{ valid_until: moment(9), limits: { max_users: 0 } }, '#/limits/max_users'],
    [{ valid_until: moment(9), seats: 5 }, '#/seats'],
  ])('of %j is refused', async (wrong, pointer) => {
    const answer = await give(wrong)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
    expect(await list()).toEqual([])
  })

  it('is the operators’ to give, to a tenant that exists', async () => {
    expectProblem(await call('', path()), 401, 'token_missing')
    expectProblem(await call('', path(), { token: await tokenOf(AT) }), 401, 'token_wrong_tenant')
    expectProblem(await give({ valid_until: moment(1) }, crypto.randomUUID()), 404, 'not_found')
    expectProblem(await call('', path('', crypto.randomUUID()), { token: operator }), 404, 'not_found')
  })
})

describe('the answers of a tenant', () => {
  const said = async () => (await call(AT, '/api/v1/auth/me', { token: await tokenOf(AT) })).headers.get('Freehold-License')

  it('say from thirty days before the end on when the license ends, and nothing before', async () => {
    expect(await said()).toBeNull()
    const { body } = await give({ valid_until: moment(31) })
    expect(await said()).toBeNull()
    await remove(body.id)
    const until = moment(29)
    await give({ valid_until: until, grace_days: 10 })
    // An isolate remembers a tenant for ten seconds.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
    const header = await said().finally(() => vi.useRealTimers())
    expect(header).toMatch(/^expires="([^"]+)", read-only-from="([^"]+)"$/)
    expect(Date.parse(/"([^"]+)"/.exec(header ?? '')?.[1] ?? '')).toBe(Date.parse(until))
    await removeAll()
  })
})

describe('a tenant whose license and grace are over', () => {
  let token: string

  beforeAll(expire)
  beforeEach(async () => {
    token = await tokenOf(AT)
  })

  it('is read: people, settings, the audit and its export, decisions, its limits', async () => {
    for (const what of ['/users', '/settings', '/activities', '/roles', '/auth/me', '/usage', '/sessions', '/api-keys'])
      expect((await call(AT, `/api/v1${what}`, { token })).status, what).toBe(200)
    expect((await call(AT, '/api/v1/activities/export?format=csv', { token })).status).toBe(200)
    const check = { checks: [{ permission: 'user:read' }] }
    expect((await call(AT, '/api/v1/authz/check', { token, body: check })).status).toBe(200)
  })

  it('lets people log in, refresh, change their password, end sessions and log out', async () => {
    const entered = await login(AT)
    expect((await call(AT, '/api/v1/auth/refresh-token', { body: { refresh_token: entered.refresh_token } })).status).toBe(200)
    const body = { current_password: ADMIN.password, new_password: 'Marble-Kettle-52' }
    const changed = await call(AT, '/api/v1/auth/password-change', { token: entered.access_token, body })
    expect(changed.status).toBe(204)
    expect((await call(AT, '/api/v1/auth/logout', { token: entered.access_token, method: 'POST' })).status).toBe(204)
  })

  it.each([
    ['POST', '/users', { email: 'late@licensed.test' }],
    ['POST', '/units', { kind: 'team', name: 'Late' }],
    ['POST', '/roles', { name: 'late' }],
    ['PATCH', '/settings', { max_failures: 6 }],
    ['POST', '/api-keys', { name: 'late', permissions: ['user:read'] }],
    ['POST', '/usage/documents', {}],
    ['POST', '/users/import', undefined],
  ])('refuses %s %s with a problem that says why', async (method, what, body) => {
    const raw = body === undefined ? '{"email":"late@licensed.test"}\n' : undefined
    const headers: Record<string, string> = raw === undefined ? {} : { 'Content-Type': 'application/x-ndjson' }
    const answer = await call(AT, `/api/v1${what}`, { token, method, headers, ...(raw === undefined ? { body } : { raw }) })
    expectProblem(answer, 403, 'license_expired')
    expect(answer.body.detail).toBe(
      'The license of this tenant has expired: it can be read and exported, access can be ended, nothing else changed.',
    )
  })

  it('lets access be ended: a user is deleted, and nobody is reactivated', async () => {
    const { id: dee } = await addPerson(realm, 'dee')
    expect((await call(AT, `/api/v1/users/${dee}`, { token, method: 'DELETE' })).status).toBe(204)
    expect((await call(AT, `/api/v1/users/${dee}`, { token })).body.is_active).toBe(false)
    const back = await call(AT, `/api/v1/users/${dee}/reactivate`, { token, method: 'POST' })
    expectProblem(back, 403, 'license_expired')
    const database = await databaseOf(AT)
    const again = sql`update freehold.users set is_active = true where id = ${dee} returning id`
    const named = sql`update freehold.users set given_name = 'Late' where id = ${dee} returning id`
    const credential = await credentialOf(AT)
    for (const change of [again, named])
      expect(await refusalOf(database.app_url, admit(database, credential, 'user:delete'), change)).toMatch(/^FH403 /)
  })

  it('lets a user be deactivated, as deleting them does, and nothing else be changed on that way', async () => {
    const { id: eva } = await addPerson(realm, 'eva')
    const deactivate = (path = `/api/v1/users/${eva}/deactivate`) => call(AT, path, { token, method: 'POST' })
    const answer = await deactivate()
    expect([answer.status, answer.body.is_active]).toEqual([200, false])
    expect((await deactivate()).status).toBe(200)
    expectProblem(await call(AT, `/api/v1/users/${eva}/reactivate`, { token, method: 'POST' }), 403, 'license_expired')
    const rename = await call(AT, `/api/v1/users/${eva}`, { token, method: 'PATCH', body: { given_name: 'Late' } })
    expectProblem(rename, 403, 'license_expired')
    // Whoever runs SQL as the Worker's login says that they deactivate, and does something else.
    const database = await databaseOf(AT)
    const credential = await credentialOf(AT)
    const { id: fay } = await addPerson(realm, 'fay')
    const admitted = (method: string, path: string) => admit(database, credential, 'user:update', { ...FACTS, method, path })
    const ours = admitted('POST', `/api/v1/users/${fay}/deactivate`)
    for (const change of [
      sql`update freehold.users set given_name = 'Late' where id = ${fay} returning id`,
      sql`update freehold.users set given_name = 'Late', is_active = false where id = ${fay} returning id`,
      sql`update freehold.users set is_active = true where id = ${eva} returning id`,
    ])
      expect(await refusalOf(database.app_url, ours, change)).toBe('FH40L forbidden')
    for (const other of [
      admitted('PATCH', `/api/v1/users/${fay}/deactivate`),
      admitted('POST', `/api/v1/users/${fay}/deactivate/more`),
      admitted('POST', `/x/api/v1/users/${fay}/deactivate`),
    ])
      expect(await refusalOf(database.app_url, other)).toBe('FH40L forbidden')
  })

  it('refuses it in the database: whoever runs SQL as the Worker’s login creates nothing either', async () => {
    const database = await databaseOf(AT)
    const credential = await credentialOf(AT)
    const user = sql`insert into freehold.users (id, username, email, must_change_password) values (gen_random_uuid(), 'late', 'late@licensed.test', true)`
    expect(await refusalOf(database.app_url, admit(database, credential, 'user:create'), user)).toBe('FH40L forbidden')
    const key = sql`insert into freehold.api_keys (id, user_id, name, prefix, key_hash, permissions) values (gen_random_uuid(), access.principal(), 'late', 'latelate', '\\x00', '{}')`
    expect(await refusalOf(database.app_url, admit(database, credential, null), key)).toBe('FH40L forbidden')
    expect(await refusalOf(database.app_url, sql`update freehold.tenant set read_only_from = null`)).not.toBe('')
    expect(Date.parse(String((await row())?.read_only_from))).toBeLessThan(Date.now())
  })

  it('goes on when it is renewed, at once', async () => {
    const renewed = await give({ valid_from: moment(-0.5), valid_until: moment(300) })
    expect(renewed.status).toBe(201)
    const made = await call(AT, '/api/v1/users', { token, body: { email: 'renewed@licensed.test' } })
    expect(made.status).toBe(201)
    await removeAll()
  })
})
