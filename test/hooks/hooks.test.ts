/**
 * The settings of hooks. Threat: somebody who may change settings has themselves told who logs in, or decides who does; the Worker is made to
 * ask a host inside of a network or this service itself; a secret is read, or stays good for ever.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'
import { verified } from '../webhooks/receiver.ts'
import { addHook, makeHook } from './cast.ts'

const AT = 'hook-settings'
const PATH = '/api/v1/hooks'
const AWAY = 'https://hooks.acme.example/login'
let realm: Inside
let admin: string
/** Who may change settings, and may not export activities. */
let setter: string
let reader: string

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('hook-settings-too')])
  realm = await inside(AT)
  admin = await tokenOf(AT)
  await addRole(realm, 'sets', ['setting:read', 'setting:update'], 'all')
  await addRole(realm, 'looks', ['setting:read'], 'all')
  setter = (await addMember(realm, 'setter', { roles: ['sets'] })).token
  reader = (await addMember(realm, 'reader', { roles: ['looks'] })).token
})

const clear = () => realm.asOwner(sql`delete from freehold.hooks`)
const patch = (id: string, body: object, token = admin, headers: Record<string, string> = {}) =>
  call(AT, `${PATH}/${id}`, { token, method: 'PATCH', body, headers })
const post = (id: string, what: string, token = admin) => call(AT, `${PATH}/${id}/${what}`, { token, method: 'POST' })
const add = (body: object, token = admin) => call(AT, PATH, { token, body })

describe('a hook', () => {
  it('is added with a secret that is shown once, read, changed under its tag and deleted', async () => {
    const { secret, ...made } = await addHook(AT, admin, 'login', AWAY, { on_failure: 'open', is_paused: true })
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(made).toMatchObject({ act: 'login', url: AWAY, on_failure: 'open', is_paused: true })
    const read = await call(AT, `${PATH}/${made.id}`, { token: reader })
    expect(read.body).toEqual(made)
    expect((await call(AT, PATH, { token: reader })).body.data).toEqual([made])
    const tag = read.headers.get('ETag') ?? ''
    const changed = await patch(made.id, { on_failure: 'closed' }, admin, { 'If-Match': tag })
    expect([changed.status, changed.trips, changed.body.on_failure]).toEqual([200, 1, 'closed'])
    expectProblem(await patch(made.id, { is_paused: false }, admin, { 'If-Match': tag }), 412, 'etag_mismatch')
    expect((await call(AT, `${PATH}/${made.id}`, { token: admin, method: 'DELETE' })).status).toBe(204)
    expectProblem(await call(AT, `${PATH}/${made.id}`, { token: admin }), 404, 'not_found')
    const events = await realm.asOwner(
      sql`select activity_type from freehold.audit_log where resource_type = 'hook' order by xid`,
    )
    expect(events.map(({ activity_type }) => activity_type)).toEqual(['HOOK_CREATED', 'HOOK_UPDATED', 'HOOK_DELETED'])
  })

  it('is one for each act, of those that are not paused, also where twenty are added at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => add({ act: 'user.create', url: AWAY, on_failure: 'open' })),
    )
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    for (const answer of answers.filter(({ status }) => status !== 201)) expectProblem(answer, 409, 'already_exists')
    const next = await addHook(AT, admin, 'user.create', AWAY, { is_paused: true })
    expectProblem(await patch(next.id, { is_paused: false }), 409, 'already_exists')
    await clear()
    const paused = await Promise.all(
      Array.from({ length: 25 }, () => add({ act: 'login', url: AWAY, on_failure: 'open', is_paused: true })),
    )
    expect(paused.filter(({ status }) => status === 201)).toHaveLength(20)
    for (const answer of paused.filter(({ status }) => status !== 201)) expectProblem(answer, 409, 'limit_reached')
    await clear()
  })

  it('is refused with an address inside, of this service, in any spelling, and with what it does not know', async () => {
    for (const url of [
      'http://hooks.acme.example/',
      'https://[::ffff:10.0.0.1]/',
      'https://10.0.0.1/',
      'https://167772161/',
      'https://0xa.1/',
      'https://metadata.internal/',
      'https://freehold.test/',
      `https://${AT}.freehold.test/api/v1/hooks`,
      'https://user:pass@hooks.acme.example/',
      'https://hooks.acme.example/#x',
      'x'.repeat(501),
    ])
      expectProblem(await add({ act: 'login', url, on_failure: 'open' }), 400, 'invalid_request', url)
    for (const body of [
      { act: 'login', url: AWAY },
      { act: 'logout', url: AWAY, on_failure: 'open' },
      { act: 'login', url: AWAY, on_failure: 'maybe' },
      { act: 'login', url: 7, on_failure: 'open' },
      { act: 'login', url: AWAY, on_failure: 'open', secret: 'mine' },
    ])
      expectProblem(await add(body), 400, 'invalid_request')
    const { id } = await addHook(AT, admin, 'login', AWAY, { is_paused: true })
    expectProblem(await patch(id, { url: 'https://10.1/' }), 400, 'invalid_request')
    expectProblem(await patch(id, { act: 'user.create' }), 400, 'invalid_request')
    await clear()
  })

  it('takes activity:export to be made, moved, resumed and rotated, and setting:update alone to be paused or deleted', async () => {
    expectProblem(await add({ act: 'login', url: AWAY, on_failure: 'open' }, setter), 403, 'forbidden')
    const { id } = await addHook(AT, admin, 'login', AWAY)
    for (const body of [{ url: 'https://other.acme.example/' }, { on_failure: 'open' }])
      expectProblem(await patch(id, body, setter), 403, 'forbidden')
    expectProblem(await post(id, 'rotate', setter), 403, 'forbidden')
    expect((await patch(id, { is_paused: true }, setter)).status).toBe(200)
    expectProblem(await patch(id, { is_paused: false }, setter), 403, 'forbidden')
    for (const token of [reader])
      for (const answer of [
        await add({ act: 'login', url: AWAY, on_failure: 'open' }, token),
        await patch(id, { is_paused: true }, token),
        await post(id, 'rotate', token),
        await post(id, 'test', token),
        await call(AT, `${PATH}/${id}`, { token, method: 'DELETE' }),
      ])
        expectProblem(answer, 403, 'forbidden')
    expect((await call(AT, `${PATH}/${id}`, { token: setter, method: 'DELETE' })).status).toBe(204)
  })

  it('of logins takes every permission: it refuses administrators, and says what is in their tokens', async () => {
    await addRole(realm, 'exports', ['setting:read', 'setting:update', 'activity:export'], 'all')
    const { token } = await addMember(realm, 'exporter', { roles: ['exports'] })
    expectProblem(await add({ act: 'login', url: AWAY, on_failure: 'open', is_paused: true }, token), 403, 'forbidden')
    const { id } = await addHook(AT, admin, 'login', AWAY, { is_paused: true })
    for (const body of [{ url: 'https://other.acme.example/' }, { on_failure: 'open' }, { is_paused: false }])
      expectProblem(await patch(id, body, token), 403, 'forbidden')
    expectProblem(await post(id, 'rotate', token), 403, 'forbidden')
    const other = await add({ act: 'user.create', url: AWAY, on_failure: 'open', is_paused: true }, token)
    expect(other.status).toBe(201)
    expect((await patch(other.body.id, { url: 'https://other.acme.example/' }, token)).status).toBe(200)
    await clear()
  })

  it('of another tenant is not there', async () => {
    const { id } = await addHook(AT, admin, 'login', AWAY, { is_paused: true })
    const token = await tokenOf('hook-settings-too')
    for (const [path, method, body] of [
      ['', 'GET'],
      ['', 'PATCH', { is_paused: true }],
      ['', 'DELETE'],
      ['/rotate', 'POST'],
      ['/test', 'POST'],
    ] as const)
      expectProblem(
        await call('hook-settings-too', `${PATH}/${id}${path}`, { token, method, ...(body && { body }) }),
        404,
        'not_found',
      )
    await clear()
  })
})

describe('a test of a hook', () => {
  it('says what it answered, and is signed with both secrets for a day after a rotation', async () => {
    const hook = await makeHook({ says: { decision: 'deny', reason: 'Not today' } })
    const { id, secret } = await addHook(AT, admin, 'login', hook.url, { is_paused: true })
    const rotated = await post(id, 'rotate')
    expect(Date.parse(rotated.body.former_until) - Date.now()).toBeGreaterThan(23.9 * 3_600_000)
    const { status, trips, body } = await post(id, 'test')
    expect([status, trips]).toEqual([200, 1])
    expect(body).toMatchObject({ decision: 'deny', reason: 'Not today', claims: null, status: 200, error: null })
    const [message] = await hook.asked()
    if (!message) throw new Error('Nothing came.')
    expect([message.type, message.event.is_test, message.event.tenant]).toEqual(['login', true, AT])
    for (const one of [secret, rotated.body.secret]) verified(message, one)
    await realm.asOwner(sql`update freehold.hooks set former_until = now()`)
    await post(id, 'test')
    const second = (await hook.asked())[1]
    if (!second) throw new Error('Nothing came.')
    verified(second, rotated.body.secret)
    expect(() => verified(second, secret)).toThrow()
    await clear()
  })

  it.each<[string, Parameters<typeof makeHook>[0], string]>([
    ['a redirect', { status: 302, headers: { Location: 'https://acme.example/' } }, 'redirects are not followed'],
    ['a failure', { status: 500, says: { decision: 'allow' } }, 'answered 500'],
    ['no answer in time', { delay_ms: 30_000, says: { decision: 'allow' } }, 'no answer within 2 s'],
    ['10 MB', { bytes: 10_000_000 }, 'the answer is not one of a hook'],
    ['nothing', { says: undefined }, 'the answer is not one of a hook'],
    ['another decision', { says: { decision: 'perhaps' } }, 'the answer is not one of a hook'],
    ['what it does not know', { says: { decision: 'allow', roles: ['admin'] } }, 'the answer is not one of a hook'],
    ['claims of a refusal', { says: { decision: 'deny', claims: { a: 1 } } }, 'the answer is not one of a hook'],
    ['a long reason', { says: { decision: 'deny', reason: 'x'.repeat(201) } }, 'the answer is not one of a hook'],
    ['two lines', { says: { decision: 'deny', reason: 'a\nb' } }, 'the answer is not one of a hook'],
    ['a reserved claim', { says: { decision: 'allow', claims: { roles: ['admin'] } } }, 'the answer is not one of a hook'],
    ['another reserved claim', { says: { decision: 'allow', claims: { sub: 'x' } } }, 'the answer is not one of a hook'],
    ['a claim of objects', { says: { decision: 'allow', claims: { a: { b: 1 } } } }, 'the answer is not one of a hook'],
    ['a name of a claim', { says: { decision: 'allow', claims: { 'A-b': 1 } } }, 'the answer is not one of a hook'],
    [
      'many claims',
      { says: { decision: 'allow', claims: Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`c${i}`, 1])) } },
      'the answer is not one of a hook',
    ],
    [
      'large claims',
      {
        says: { decision: 'allow', claims: Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`c${i}`, 'x'.repeat(250)])) },
      },
      'the answer is not one of a hook',
    ],
  ])('that answers %s counts as none', async (_, answer, error) => {
    const hook = await makeHook(answer)
    const { id } = await addHook(AT, admin, 'login', hook.url, { is_paused: true })
    const { body } = await post(id, 'test')
    expect(body).toMatchObject({ decision: null, claims: null, error })
    expect(body.duration_ms).toBeLessThan(5_000)
    await clear()
  })
})
