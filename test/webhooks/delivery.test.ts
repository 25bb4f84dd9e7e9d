/**
 * Delivery to webhooks. Threat: an event is lost, comes in another order, or is sent forever; a receiver that is dead or slow keeps the
 * others waiting; two senders at once send everything twice.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { deliverEvents, type Sender } from '../../src/webhooks/delivery.ts'
import { databaseOf, settings } from '../support/databases.ts'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addWebhook, type Message, makeReceiver, type Receiver, until, verified } from './receiver.ts'

const AT = 'webhooks-delivered'
const PATH = '/api/v1/webhooks'
let realm: Inside
let admin: string
let sender: Sender

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  admin = await tokenOf(AT)
  const { app_url } = await databaseOf(AT)
  sender = { id: realm.id, subdomain: AT, system_key: realm.system_key, database_url: app_url }
})

let made = 0
const addUnit = async () => {
  const { status, body } = await call(AT, '/api/v1/units', { token: admin, body: { kind: 'team', name: `Unit ${made++}` } })
  expect(status).toBe(201)
  return body.id as string
}
/** Records many events at once. */
const recordMany = (n: number) =>
  realm.asOwner(
    sql`select access.record('SAMPLE_TAKEN', 'take', 'sample', i::text, null, null) from generate_series(1, ${n}::integer) i`,
  )
/** Numbers all that was recorded, as soon as no older transaction runs. */
const numbered = () =>
  until(async () => {
    await realm.asOwner(sql`select access.checkpoint_audit(5000)`)
    return !(await realm.asOwner(sql`select 1 from freehold.audit_log where checkpoint is null limit 1`)).length
  })
const deliver = (ms = 20_000) => deliverEvents(settings(), sender, Date.now() + ms)
const dueNow = () => realm.asOwner(sql`update freehold.webhook_progress set next_at = now()`)
const clear = () => realm.asOwner(sql`delete from freehold.webhooks`)
const seqs = (messages: Message[]) => messages.map(({ event }) => event.seq as number)
const isOrdered = (numbers: number[]) => numbers.every((seq, i) => i === 0 || seq >= (numbers[i - 1] ?? 0))
const samplesIn = async (receiver: Receiver) => (await receiver.messages()).filter(({ type }) => type === 'custom.sample_taken')

describe('an event', () => {
  it('comes beside the answers of requests, without the scheduled job, signed, with its number, the hash before and its checkpoint', async () => {
    const receiver = await makeReceiver()
    const { secret } = await addWebhook(AT, admin, receiver.url)
    const id = await addUnit()
    // Numbers wait for older transactions, also those of other tenants on this server: then the next request takes these events along.
    let next_at = Date.now() + 5_000
    const message = await until(async () => {
      if (Date.now() > next_at) {
        await addUnit()
        next_at = Date.now() + 5_000
      }
      return (await receiver.messages()).find(({ event }) => event.resource_id === id)
    }, 90_000)
    verified(message, secret)
    expect(message.headers['webhook-id']).toBe(`evt_${message.event.id}`)
    expect(message.type).toBe('unit.created')
    expect(message.event.details).toBeUndefined()
    const { seq } = message.event
    const { body } = await call(AT, `/api/v1/events?after=${seq - 1}&limit=1`, { token: admin })
    expect(message.event).toEqual(body.data[0])
    expect(message.event.checkpoint.previous_hash).toMatch(/^[0-9a-f]{64}$/)
    await clear()
  }, 100_000)

  it('is sent with details where the webhook has them, and only where it is wanted', async () => {
    await numbered()
    const [all, some] = [await makeReceiver(), await makeReceiver()]
    await addWebhook(AT, admin, all.url, { includes_details: true })
    await addWebhook(AT, admin, some.url, { kinds: ['role.*', 'unit.created'] })
    const id = await addUnit()
    await recordMany(150)
    // More than a page holds.
    const large = JSON.stringify({ text: 'x'.repeat(120_000) })
    await realm.asOwner(
      sql`select access.record('DOCUMENTS_COUNTED', 'work', 'large', i::text, ${large}::jsonb, ${large}::jsonb) from generate_series(1, 12) i`,
    )
    const last = await addUnit()
    const came = async (receiver: Receiver) => (await receiver.messages()).some(({ event }) => event.resource_id === last)
    await until(async () => {
      await numbered()
      await deliver()
      return (await came(some)) && (await came(all))
    }, 90_000)
    expect((await some.messages()).map(({ event }) => event.resource_id)).toEqual([id, last])
    const detailed = (await all.messages()).find(({ event }) => event.resource_id === id)
    expect(detailed?.event.details).toMatchObject({ user_name: 'bo', method: 'POST' })
    const got = seqs(await all.messages())
    expect([isOrdered(got), new Set(got).size]).toEqual([true, got.length])
    expect((await all.messages()).filter(({ event }) => event.resource_type === 'large')).toHaveLength(12)
    await clear()
  }, 100_000)
})

describe('delivery', () => {
  it('sends as many messages as an invocation may, and goes on from there in the next', async () => {
    const receiver = await makeReceiver()
    await addWebhook(AT, admin, receiver.url, { kinds: ['custom.*'] })
    await recordMany(12)
    await numbered()
    const left = { messages: 5 }
    expect(await deliverEvents(settings(), sender, Date.now() + 20_000, left)).toBe(5)
    expect([left.messages, (await samplesIn(receiver)).length]).toEqual([0, 5])
    await deliver()
    const got = seqs(await samplesIn(receiver))
    expect([got.length, new Set(got).size, isOrdered(got)]).toEqual([12, 12, true])
    await clear()
  })

  it('to a webhook whose secret cannot be opened waits as after any failure, and holds up no other', async () => {
    const [living, mute] = [await makeReceiver(), await makeReceiver()]
    const { id } = await addWebhook(AT, admin, mute.url, { kinds: ['custom.*'] })
    await addWebhook(AT, admin, living.url, { kinds: ['custom.*'] })
    await realm.asOwner(sql`update freehold.webhooks set secret_encrypted = 'not a secret' where id = ${id}`)
    await recordMany(3)
    await numbered()
    await deliver()
    expect((await samplesIn(living)).length).toBe(3)
    const { body } = await call(AT, `${PATH}/${id}/deliveries`, { token: admin })
    expect(body.progress).toMatchObject({ failures: 1 })
    expect(Date.parse(body.progress.next_attempt_at)).toBeGreaterThan(Date.now())
    expect(body.data[0]).toMatchObject({ is_delivered: false, seq: null, error: 'the message could not be made' })
    expect(await mute.messages()).toEqual([])
    await clear()
  })

  it('goes on for a living receiver beside one that is dead and one that is slow, each in order and complete', async () => {
    const [living, slow, dead] = [
      await makeReceiver(),
      await makeReceiver({ delay_ms: 300 }),
      await makeReceiver({ status: 503 }),
    ]
    for (const { url } of [dead, slow, living]) await addWebhook(AT, admin, url, { kinds: ['custom.*'] })
    await recordMany(200)
    await numbered()
    await until(async () => {
      await deliver(12_000)
      return (await samplesIn(living)).length >= 200 && (await samplesIn(slow)).length > 5
    }, 90_000)
    const got = (await samplesIn(living)).map(({ event }) => event.resource_id)
    expect(new Set(got).size).toBe(200)
    for (const receiver of [living, slow]) expect(isOrdered(seqs(await samplesIn(receiver)))).toBe(true)
    expect((await samplesIn(slow)).length).toBeGreaterThan(5)
    // Tried once or twice, and not two hundred times.
    expect((await samplesIn(dead)).length).toBeLessThan(5)
    expect(new Set(seqs(await samplesIn(dead))).size).toBe(1)
    await clear()
  })

  it('goes on where it stopped when a receiver is back, and again from any number', async () => {
    const receiver = await makeReceiver({ status: 500 })
    const { id } = await addWebhook(AT, admin, receiver.url, { kinds: ['custom.*'] })
    await recordMany(30)
    await numbered()
    await until(async () => {
      await dueNow()
      await deliver()
      return (await samplesIn(receiver)).length >= 3
    })
    const failed = await samplesIn(receiver)
    expect(new Set(seqs(failed)).size).toBe(1)
    const { body } = await call(AT, `${PATH}/${id}/deliveries`, { token: admin })
    expect(body.progress.failures).toBeGreaterThanOrEqual(3)
    expect(Date.parse(body.progress.failing_since)).toBeLessThanOrEqual(Date.now())
    expect(body.data.map(({ attempt }: any) => attempt)).toEqual(body.data.map((_: any, i: number) => body.data.length - i))
    await receiver.answers({ status: 200 })
    await recordMany(10)
    await numbered()
    await dueNow()
    await deliver()
    const after = (await samplesIn(receiver)).slice(failed.length)
    expect(after).toHaveLength(40)
    expect(seqs(after)).toEqual(seqs(after).map((_, i) => (seqs(after)[0] ?? 0) + i))
    const { body: now } = await call(AT, `${PATH}/${id}/deliveries?limit=2`, { token: admin })
    expect(now.progress).toMatchObject({ failures: 0, failing_since: null })
    expect([now.data.length, typeof now.next_cursor]).toEqual([2, 'string'])
    const next = await call(AT, `${PATH}/${id}/deliveries?limit=2&cursor=${encodeURIComponent(now.next_cursor)}`, {
      token: admin,
    })
    expect(next.body.data[0].id).not.toBe(now.data[1].id)
    const from = seqs(after).at(-5) ?? 0
    expect((await call(AT, `${PATH}/${id}/replay`, { token: admin, body: { after: from } })).status).toBe(204)
    await until(async () => (await samplesIn(receiver)).length >= failed.length + 44)
    expect(seqs((await samplesIn(receiver)).slice(-4))).toEqual(seqs(after).slice(-4))
    await clear()
  })

  it('gives each its turn: one that had one comes after all others, also where it has more to send', async () => {
    const receiver = await makeReceiver()
    const ids: string[] = []
    for (let i = 0; i < 3; i++) ids.push((await addWebhook(AT, admin, receiver.url, { kinds: ['custom.*'] })).id)
    await recordMany(3)
    await numbered()
    await realm.asOwner(sql`update freehold.webhook_progress set next_at = now() - interval '1 hour'`)
    const key = sql`${realm.id}, ${realm.system_key}`
    const turns: string[] = []
    for (let turn = 0; turn < 4; turn++) {
      const [row] = await realm.asOwner(sql`select access.claim_webhooks(${key}, 1) as claimed`)
      const { id, lease } = (row as any).claimed[0]
      turns.push(id)
      // Its time is over before it had sent all.
      await realm.asOwner(sql`select access.continue_webhook(${key}, ${id}::uuid, ${lease}::uuid, '[]', 0::bigint, true) as page`)
    }
    expect(new Set(turns.slice(0, 3))).toEqual(new Set(ids))
    expect(turns[3]).toBe(turns[0])
    await clear()
  })

  it('of two senders at once sends each event once', async () => {
    const receiver = await makeReceiver({ delay_ms: 20 })
    await addWebhook(AT, admin, receiver.url, { kinds: ['custom.*'] })
    await recordMany(60)
    await numbered()
    await Promise.all(Array.from({ length: 20 }, () => deliver()))
    await until(async () => (await samplesIn(receiver)).length >= 60)
    expect(await samplesIn(receiver)).toHaveLength(60)
    await clear()
  })

  it('by a sender that died is taken over when its lease ends, and what it still reports moves nothing', async () => {
    const receiver = await makeReceiver()
    const { id } = await addWebhook(AT, admin, receiver.url, { kinds: ['custom.*'] })
    await realm.asOwner(sql`update freehold.webhook_progress set next_at = now() + interval '1 hour'`)
    await recordMany(20)
    await numbered()
    await dueNow()
    const key = sql`${realm.id}, ${realm.system_key}`
    const [claimed] = await realm.asOwner(sql`select access.claim_webhooks(${key}, 10) as rows`)
    const lease = claimed?.rows[0].lease
    await deliver()
    expect(await samplesIn(receiver)).toHaveLength(0)
    await realm.asOwner(sql`update freehold.webhook_progress set leased_until = now()`)
    await deliver()
    expect(await samplesIn(receiver)).toHaveLength(20)
    const progress = async () =>
      (await realm.asOwner(sql`select delivered_seq from freehold.webhook_progress where webhook_id = ${id}`))[0]
    const before = await progress()
    const late = JSON.stringify([{ seq: 1, type: 'custom.sample_taken', is_delivered: false, duration_ms: 1 }])
    const [answer] = await realm.asOwner(
      sql`select access.continue_webhook(${key}, ${id}::uuid, ${lease}::uuid, ${late}::jsonb, 999999999, false) as page`,
    )
    expect([answer?.page, await progress()]).toEqual([null, before])
    await clear()
  })

  it('goes to another address from the moment on at which it has one: what happens afterwards comes there, and not to the former', async () => {
    const [former, next] = [await makeReceiver({ delay_ms: 500 }), await makeReceiver()]
    const { id } = await addWebhook(AT, admin, former.url, { kinds: ['custom.*'] })
    await recordMany(6)
    await numbered()
    const sending = deliver()
    await until(async () => (await samplesIn(former)).length > 0)
    const moved = await call(AT, `${PATH}/${id}`, { token: admin, method: 'PATCH', body: { url: next.url } })
    expect(moved.status).toBe(200)
    await realm.asOwner(sql`select access.record('AFTERWARDS', 'take', 'sample', '1', null, null)`)
    await numbered()
    const types = async (receiver: Receiver) => (await receiver.messages()).map(({ type }) => type)
    await until(async () => {
      await deliver()
      return [...(await types(former)), ...(await types(next))].includes('custom.afterwards')
    })
    await sending
    expect(await types(former)).not.toContain('custom.afterwards')
    expect(await types(next)).toContain('custom.afterwards')
    // Nothing is left out between the two.
    const both = [...(await former.messages()), ...(await next.messages())]
    expect(new Set(both.map(({ event }) => event.seq)).size).toBe(7)
    await clear()
  })

  it('that its former address refuses with 410, after it has another one, does not pause the webhook', async () => {
    const [former, next] = [await makeReceiver({ delay_ms: 1_500, status: 410 }), await makeReceiver()]
    const { id } = await addWebhook(AT, admin, former.url, { kinds: ['custom.*'] })
    await recordMany(1)
    await numbered()
    const sending = deliver()
    await until(async () => (await samplesIn(former)).length > 0)
    await call(AT, `${PATH}/${id}`, { token: admin, method: 'PATCH', body: { url: next.url } })
    await sending
    // Whichever sender had it, it has its answer by now.
    await until(async () =>
      (await call(AT, `${PATH}/${id}/deliveries`, { token: admin })).body.data.some((d: any) => d.status === 410),
    )
    const { body } = await call(AT, `${PATH}/${id}`, { token: admin })
    expect(body).toMatchObject({ is_paused: false, paused_because: null })
    await clear()
  })

  it('pauses a webhook after three days of failures, or when its receiver is gone, and goes on when asked to', async () => {
    const [failing, gone] = [await makeReceiver({ status: 500 }), await makeReceiver({ status: 410 })]
    const [one, two] = [
      await addWebhook(AT, admin, failing.url, { kinds: ['custom.*'] }),
      await addWebhook(AT, admin, gone.url, { kinds: ['custom.*'] }),
    ]
    await recordMany(3)
    await numbered()
    await deliver()
    const shown = async (id: string) => (await call(AT, `${PATH}/${id}`, { token: admin })).body
    // What a request has beside its answer may send them, and is not waited for.
    const tried = sql`select from freehold.webhook_progress p join freehold.webhooks w on w.id = p.webhook_id
      where p.lease is null and (w.id = ${one.id} and p.failures > 0 or w.id = ${two.id} and w.is_paused)`
    await until(async () => (await realm.asOwner(tried)).length === 2)
    expect(await shown(two.id)).toMatchObject({ is_paused: true, paused_because: 'gone' })
    expect(await shown(one.id)).toMatchObject({ is_paused: false })
    await realm.asOwner(
      sql`update freehold.webhook_progress set next_at = now(), failing_since = now() - interval '73 hours' where failures > 0`,
    )
    await until(async () => {
      await deliver()
      return (await shown(one.id)).is_paused
    })
    expect(await shown(one.id)).toMatchObject({ is_paused: true, paused_because: 'failing' })
    // Administrators are told of each, once.
    const told = (await call(AT, '/api/v1/notifications', { token: admin })).body.data.filter(
      ({ event }: any) => event === 'webhook_paused',
    )
    expect(told.map(({ resource }: any) => resource.id).sort()).toEqual([one.id, two.id].sort())
    expect(told[0]).toMatchObject({ kind: 'security', params: { host: new URL(failing.url).host } })
    const before = (await samplesIn(failing)).length
    await dueNow()
    await deliver()
    expect(await samplesIn(failing)).toHaveLength(before)
    await failing.answers({ status: 200 })
    expect(
      (await call(AT, `${PATH}/${one.id}`, { token: admin, method: 'PATCH', body: { is_paused: false } })).body,
    ).toMatchObject({ paused_because: null })
    await until(async () => (await samplesIn(failing)).length >= before + 3)
    await clear()
  })

  it('that pauses a webhook says of which host, however its scheme is written', async () => {
    const { id } = await addWebhook(AT, admin, 'HTTPS://hooks.acme.example/in', { is_paused: true })
    const lease = crypto.randomUUID()
    // A lease before it goes on, so that no other sender takes it.
    await realm.asOwner(
      sql`update freehold.webhook_progress set lease = ${lease}, leased_until = now() + interval '1 minute' where webhook_id = ${id}`,
      sql`update freehold.webhooks set is_paused = false where id = ${id}`,
    )
    const key = sql`${realm.id}, ${realm.system_key}`
    const gone = JSON.stringify([{ type: 'a.b', is_delivered: false, status: 410, duration_ms: 1 }])
    await realm.asOwner(
      sql`select access.continue_webhook(${key}, ${id}::uuid, ${lease}::uuid, ${gone}::jsonb, 0::bigint, true) as page`,
    )
    const { body } = await call(AT, '/api/v1/notifications', { token: admin })
    const told = body.data.find(({ resource }: any) => resource?.id === id)
    expect(told).toMatchObject({ event: 'webhook_paused', params: { host: 'hooks.acme.example' } })
    await clear()
  })
})
