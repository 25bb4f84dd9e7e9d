/**
 * The settings of webhooks. Threat: somebody who may change settings has the audit sent to themselves, or the Worker ask a host inside of a
 * network or this service itself; or reads a secret and sends events that never were.
 */
import { sql } from 'drizzle-orm'
import { Webhook } from 'standardwebhooks'
import { beforeAll, describe, expect, it } from 'vitest'
import { faultOfTarget } from '../../src/webhooks/sending.ts'
import { signed } from '../../src/webhooks/signing.ts'
import { settings } from '../support/databases.ts'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'
import { addWebhook, makeReceiver, until, verified } from './receiver.ts'

const AT = 'hooked'
const PATH = '/api/v1/webhooks'
let realm: Inside
let admin: string
/** Who may change settings, and may not export activities. */
let setter: string
let reader: string

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('hooked-too')])
  realm = await inside(AT)
  admin = await tokenOf(AT)
  await addRole(realm, 'sets', ['setting:read', 'setting:update'], 'all')
  await addRole(realm, 'looks', ['setting:read'], 'all')
  setter = (await addMember(realm, 'setter', { roles: ['sets'] })).token
  reader = (await addMember(realm, 'reader', { roles: ['looks'] })).token
})

const AWAY = 'https://hooks.acme.example/in'
const patch = (id: string, body: object, token = admin, headers: Record<string, string> = {}) =>
  call(AT, `${PATH}/${id}`, { token, method: 'PATCH', body, headers })
const post = (id: string, what: string, body?: object, token = admin) =>
  call(AT, `${PATH}/${id}/${what}`, { token, method: 'POST', ...(body && { body }) })

describe('a webhook', () => {
  it('is added with a secret that is shown once, read, changed and deleted', async () => {
    const { secret, ...made } = await addWebhook(AT, admin, AWAY, { kinds: ['user.*', 'role.assigned', 'user.*'] })
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(made).toMatchObject({
      url: AWAY,
      kinds: ['user.*', 'role.assigned'],
      includes_details: false,
      is_paused: false,
      paused_because: null,
    })
    const one = await call(AT, `${PATH}/${made.id}`, { token: reader })
    expect(one.body).toEqual(made)
    expect((await call(AT, PATH, { token: reader })).body.data).toContainEqual(made)
    const changed = await patch(made.id, { kinds: [], is_paused: true }, admin, { 'If-Match': one.headers.get('ETag') ?? '' })
    expect(changed.body).toMatchObject({ kinds: [], is_paused: true })
    expectProblem(
      await patch(made.id, { is_paused: false }, admin, { 'If-Match': one.headers.get('ETag') ?? '' }),
      412,
      'etag_mismatch',
    )
    expect((await call(AT, `${PATH}/${made.id}`, { token: admin, method: 'DELETE' })).status).toBe(204)
    expectProblem(await call(AT, `${PATH}/${made.id}`, { token: admin }), 404, 'not_found')
    for (const what of ['rotate', 'test']) expectProblem(await post(made.id, what), 404, 'not_found')
    expectProblem(await post(made.id, 'replay', { after: 0 }), 404, 'not_found')
    expectProblem(await call(AT, `${PATH}/${made.id}/deliveries`, { token: admin }), 404, 'not_found')
  })

  it('is never made to send to a host inside, to this service, in any spelling, or without TLS', async () => {
    const hosts = [
      '10.0.0.1',
      '0x0a.1',
      '167772161',
      '012.0.0.1',
      '192.168.1.1',
      '169.254.169.254',
      '[::ffff:10.0.0.1]',
      '[::ffff:a00:1]',
      '[fd00::1]',
      'db.internal',
      'kubernetes.default.svc',
      'printer.local',
      '1.1.1.1',
    ]
    for (const host of hosts)
      expectProblem(await call(AT, PATH, { token: admin, body: { url: `https://${host}/in` } }), 400, 'invalid_request')
    const refused = [
      'http://hooks.acme.example/',
      'ftp://hooks.acme.example/',
      'https://a:b@hooks.acme.example/',
      'https://hooks.acme.example/#x',
      'https:hooks.acme.example',
      'https://hooks.acme.example\\@10.0.0.1/',
      'x',
    ]
    for (const url of refused) expectProblem(await call(AT, PATH, { token: admin, body: { url } }), 400, 'invalid_request')
    for (const url of [
      `${settings().BASE_URL.origin}/in`,
      `http://${AT}.freehold.test/in`,
      'https://freehold.test/',
      'http://127.0.0.1/in',
      'http://2130706433/',
      // Of this machine a local start knows one spelling, with a port.
      'http://2130706433:9/',
      'http://0x7f.1:9/',
      'https://127.0.0.1:9/',
      'https://localhost/',
      'https://[::1]/',
      'http://127.0.0.1:99999/',
    ])
      expectProblem(await call(AT, PATH, { token: admin, body: { url } }), 400, 'invalid_request')
    // In production nothing of this machine is a receiver.
    const production = { ...settings(), ENVIRONMENT: 'production' as const, BASE_URL: new URL('https://freehold.dev') }
    for (const url of [
      'http://127.0.0.1:99/',
      'https://127.0.0.1:99/',
      'https://0x7f.1/',
      'https://2130706433/',
      'https://[::1]/',
      'https://[::ffff:7f00:1]/',
      'https://localhost./',
      'https://acme.freehold.dev/',
      'https://freehold.dev/',
    ])
      expect([url, faultOfTarget(production, url)]).toEqual([url, expect.any(String)])
    expect(faultOfTarget(production, AWAY)).toBeNull()
    const { id } = await addWebhook(AT, admin, AWAY)
    expectProblem(await patch(id, { url: 'https://10.0.0.1/' }), 400, 'invalid_request')
  })

  it('whose secret cannot be opened says so of a test, and the attempt is on record', async () => {
    const { id } = await addWebhook(AT, admin, AWAY, { is_paused: true })
    await realm.asOwner(sql`update freehold.webhooks set secret_encrypted = 'not a secret' where id = ${id}`)
    const failed = { is_delivered: false, status: null, error: 'the message could not be made', duration_ms: 0 }
    const test = await post(id, 'test')
    expect([test.status, test.body]).toEqual([200, failed])
    expect((await call(AT, `${PATH}/${id}/deliveries`, { token: admin })).body.data[0]).toMatchObject(failed)
  })

  it('is refused with what is no type of event, too many of them, or what it does not know', async () => {
    for (const more of [
      { kinds: ['*'] },
      { kinds: ['User.created'] },
      { kinds: ['user'] },
      { kinds: Array(51).fill('a.b') },
      { kinds: 'user.*' },
      { secret: 'whsec_x' },
      { url: 3 },
    ])
      expectProblem(await call(AT, PATH, { token: admin, body: { url: AWAY, ...more } }), 400, 'invalid_request')
    const { id } = await addWebhook(AT, admin, AWAY)
    for (const body of [{ after: -1 }, { after: 1.5 }, { after: '3' }, {}, { after: 1, before: 2 }, { after: 2 ** 53 }])
      expectProblem(await post(id, 'replay', body), 400, 'invalid_request')
  })

  it('takes who may export all activities; who may change settings can pause and delete it', async () => {
    const { id } = await addWebhook(AT, admin, AWAY)
    expectProblem(await call(AT, PATH, { token: setter, body: { url: AWAY } }), 403, 'forbidden')
    for (const body of [{ url: `${AWAY}/2` }, { kinds: ['user.*'] }, { includes_details: true }])
      expectProblem(await patch(id, body, setter), 403, 'forbidden')
    expectProblem(await post(id, 'rotate', undefined, setter), 403, 'forbidden')
    expectProblem(await post(id, 'replay', { after: 0 }, setter), 403, 'forbidden')
    expect((await patch(id, { is_paused: true }, setter)).status).toBe(200)
    expectProblem(await patch(id, { is_paused: false }, setter), 403, 'forbidden')
    expectProblem(await patch(id, { is_paused: true }, reader), 403, 'forbidden')
    expect((await call(AT, `${PATH}/${id}`, { token: setter, method: 'DELETE' })).status).toBe(204)
  })

  it('of another tenant is not there', async () => {
    const { id } = await addWebhook(AT, admin, AWAY)
    const other = await tokenOf('hooked-too')
    const ask = (path: string, method: string, body?: object) =>
      call('hooked-too', `${PATH}/${id}${path}`, { token: other, method, ...(body && { body }) })
    for (const asked of [
      ask('', 'GET'),
      ask('', 'PATCH', { is_paused: true }),
      ask('', 'DELETE'),
      ask('/rotate', 'POST'),
      ask('/test', 'POST'),
      ask('/replay', 'POST', { after: 0 }),
      ask('/deliveries', 'GET'),
    ])
      expectProblem(await asked, 404, 'not_found')
  })

  it('of twenty-five at once twenty are made', async () => {
    await realm.asOwner(sql`delete from freehold.webhooks`)
    const answers = await Promise.all(
      Array.from({ length: 25 }, () => call(AT, PATH, { token: admin, body: { url: AWAY, is_paused: true } })),
    )
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(20)
    for (const answer of answers.filter(({ status }) => status !== 201)) expectProblem(answer, 409, 'limit_reached')
    await realm.asOwner(sql`delete from freehold.webhooks`)
  })

  it('shows its secret in no row, list or entry of the audit', async () => {
    const { id, secret } = await addWebhook(AT, admin, AWAY, { is_paused: true })
    const rotated = (await post(id, 'rotate')).body.secret
    const kept = await realm.asOwner(
      sql`select to_jsonb(w)::text as text from freehold.webhooks w union all select d.after::text from freehold.audit_detail d where d.after is not null`,
    )
    for (const one of [secret, rotated]) expect(JSON.stringify(kept)).not.toContain(one.slice(6))
  })
})

describe('a signature', () => {
  it('is one that the reference library of Standard Webhooks makes, too, and changes with id, time and body', async () => {
    const { secret } = await addWebhook(AT, admin, AWAY, { is_paused: true })
    const at = new Date()
    const headers = await signed([secret], 'evt_1', at, '{"a":"ä"}')
    expect(headers['webhook-signature']).toBe(new Webhook(secret).sign('evt_1', at, '{"a":"ä"}'))
    expect(() => new Webhook(secret).verify('{"a":"b"}', headers)).toThrow()
    expect(() => new Webhook(secret).verify('{"a":"ä"}', { ...headers, 'webhook-id': 'evt_2' })).toThrow()
  })

  it('is made with both secrets for a day after a rotation, and then with the new one alone', async () => {
    const receiver = await makeReceiver()
    const { id, secret } = await addWebhook(AT, admin, receiver.url, { kinds: ['none.such'] })
    const rotated = await post(id, 'rotate')
    expect(rotated.status).toBe(200)
    expect(Date.parse(rotated.body.former_until) - Date.now()).toBeGreaterThan(23.9 * 3_600_000)
    const test = await post(id, 'test')
    expect([test.status, test.trips, test.body]).toEqual([
      200,
      2,
      { is_delivered: true, status: 200, error: null, duration_ms: expect.any(Number) },
    ])
    const [message] = await until(async () => ((await receiver.messages()).length ? receiver.messages() : null))
    if (!message) throw new Error('Nothing came.')
    expect(message.type).toBe('webhook.test')
    for (const one of [secret, rotated.body.secret]) verified(message, one)
    await realm.asOwner(sql`update freehold.webhooks set former_until = now() where id = ${id}`)
    await post(id, 'test')
    const second = (await receiver.messages())[1]
    if (!second) throw new Error('Nothing came.')
    verified(second, rotated.body.secret)
    expect(() => verified(second, secret)).toThrow()
  })
})

describe('a signature by Ed25519', () => {
  const keyOf = (public_key: string) =>
    crypto.subtle.importKey('raw', bytesOf(public_key.slice('whpk_'.length)), 'Ed25519', false, ['verify'])
  const bytesOf = (text: string) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
  /** Whether one of the signatures of a message, or of what it is changed into, is by this key. */
  async function isBy(public_key: string, { headers, body }: { headers: Record<string, string>; body: string }) {
    const key = await keyOf(public_key)
    const content = new TextEncoder().encode(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`)
    const given = (headers['webhook-signature'] ?? '').split(' ').filter((one) => one.startsWith('v1a,'))
    const each = given.map((one) => crypto.subtle.verify('Ed25519', key, bytesOf(one.slice(4)), content))
    return (await Promise.all(each)).includes(true)
  }

  it('is on each message beside that by HMAC, is verified by the public key of the webhook, and changes with the body', async () => {
    const receiver = await makeReceiver()
    const { id, secret } = await addWebhook(AT, admin, receiver.url, { kinds: ['none.such'] })
    const { public_key } = (await call(AT, `${PATH}/${id}`, { token: reader })).body
    expect(public_key).toMatch(/^whpk_[A-Za-z0-9+/]{43}=$/)
    await post(id, 'test')
    const [message] = await receiver.messages()
    if (!message) throw new Error('Nothing came.')
    verified(message, secret)
    expect(message.headers['webhook-signature']).toMatch(/^v1,[^ ]{44} v1a,[^ ]{88}$/)
    expect(await isBy(public_key, message)).toBe(true)
    expect(await isBy(public_key, { ...message, body: `${message.body} ` })).toBe(false)
    expect(await isBy(public_key, { ...message, headers: { ...message.headers, 'webhook-id': 'evt_2' } })).toBe(false)
    const other = (await addWebhook(AT, admin, AWAY, { is_paused: true })).public_key as string
    expect(await isBy(other, message)).toBe(false)
  })

  it('is made with both keys for a day after a rotation, and the private half is nowhere to be read', async () => {
    const receiver = await makeReceiver()
    const { id, public_key: former } = await addWebhook(AT, admin, receiver.url, { kinds: ['none.such'] })
    const { public_key } = (await post(id, 'rotate')).body
    expect(public_key).not.toBe(former)
    expect((await call(AT, `${PATH}/${id}`, { token: reader })).body.public_key).toBe(public_key)
    await post(id, 'test')
    await realm.asOwner(sql`update freehold.webhooks set former_until = now() where id = ${id}`)
    await post(id, 'test')
    const [both, one] = await receiver.messages()
    if (!both || !one) throw new Error('Nothing came.')
    for (const key of [former as string, public_key]) expect(await isBy(key, both)).toBe(true)
    expect([await isBy(public_key, one), await isBy(former as string, one)]).toEqual([true, false])
    const kept = await realm.asOwner(sql`select to_jsonb(w)::text as text from freehold.webhooks w`)
    expect(JSON.stringify(kept)).not.toContain('whsk_')
  })
})

describe('a test', () => {
  it('says how a receiver failed: redirects, nothing there, an answer without end', async () => {
    const cases: [Parameters<typeof makeReceiver>[0], object][] = [
      [
        { status: 302, headers: { Location: 'https://acme.example/' } },
        { is_delivered: false, status: 302, error: 'redirects are not followed' },
      ],
      [{ status: 500 }, { is_delivered: false, status: 500, error: 'answered 500' }],
      [{ bytes: 10_000_000 }, { is_delivered: true, status: 200, error: null }],
    ]
    for (const [answer, expected] of cases) {
      const { id } = await addWebhook(AT, admin, (await makeReceiver(answer)).url, { kinds: ['none.such'] })
      expect((await post(id, 'test')).body).toMatchObject(expected)
    }
    const { id } = await addWebhook(AT, admin, 'http://127.0.0.1:9/', { kinds: ['none.such'] })
    expect((await post(id, 'test')).body).toMatchObject({ is_delivered: false, status: null, error: 'the connection failed' })
    const { body } = await call(AT, `${PATH}/${id}/deliveries`, { token: reader })
    expect(body.data).toMatchObject([
      { seq: null, event_id: null, type: 'webhook.test', attempt: 1, is_delivered: false, error: 'the connection failed' },
    ])
  })

  it('goes to no address that is refused now, whatever was taken when it was set', async () => {
    const receiver = await makeReceiver()
    const { id } = await addWebhook(AT, admin, receiver.url, { kinds: ['none.such'] })
    // Another spelling of the same receiver, which a message would reach.
    const spelt = receiver.url.replace(/\/\/[^:/]+/, '//2130706433')
    await realm.asOwner(sql`update freehold.webhooks set url = ${spelt} where id = ${id}`)
    expect((await post(id, 'test')).body).toMatchObject({
      is_delivered: false,
      status: null,
      error: expect.stringMatching(/^the address /),
    })
    expect(await receiver.messages()).toEqual([])
  })

  it('gives up a receiver that never answers after 10 s', async () => {
    const { id } = await addWebhook(AT, admin, (await makeReceiver({ delay_ms: 60_000 })).url, { kinds: ['none.such'] })
    const { body } = await post(id, 'test')
    expect(body).toMatchObject({ is_delivered: false, status: null, error: 'no answer within 10 s' })
    expect(body.duration_ms).toBeLessThan(15_000)
  })
})
