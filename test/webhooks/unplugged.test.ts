/** A receiver that is unplugged for an hour. Threat: what happened meanwhile is lost, comes in another order, or twice; or nobody tries again. */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { deliverEvents, type Sender } from '../../src/webhooks/delivery.ts'
import { databaseOf, settings } from '../support/databases.ts'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addWebhook, makeReceiver, until } from './receiver.ts'

const AT = 'unplugged'
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

const record = (n: number, from: number) =>
  realm.asOwner(
    sql`select access.record('SAMPLE_TAKEN', 'take', 'sample', (${from}::integer + i)::text, null, null) from generate_series(1, ${n}::integer) i`,
  )
const numbered = () =>
  until(async () => {
    await realm.asOwner(sql`select access.checkpoint_audit(5000)`)
    return !(await realm.asOwner(sql`select 1 from freehold.audit_log where checkpoint is null limit 1`)).length
  })
/** So much time passes: what is due comes nearer, and what fails does so for longer. */
const pass = (seconds: number) =>
  realm.asOwner(
    sql`update freehold.webhook_progress set next_at = next_at - ${seconds} * interval '1 second', failing_since = failing_since - ${seconds} * interval '1 second'`,
  )
const failures = async () => Number((await realm.asOwner(sql`select failures from freehold.webhook_progress`))[0]?.failures)
const secondsToNext = async () =>
  Number((await realm.asOwner(sql`select extract(epoch from next_at - now()) as s from freehold.webhook_progress`))[0]?.s)

it('a receiver that is unplugged for an hour gets what happened meanwhile when it is back, in order, each once', async () => {
  const receiver = await makeReceiver({ status: 503 })
  const { id } = await addWebhook(AT, admin, receiver.url, { kinds: ['custom.*'] })
  const refused = () => receiver.messages()
  await record(10, 0)
  await numbered()
  let [minutes, recorded] = [0, 10]
  const pauses: number[] = []
  for (let tries = 1; minutes < 60; tries++) {
    await until(async () => {
      await deliverEvents(settings(), sender, Date.now() + 10_000)
      return (await failures()) >= tries
    })
    pauses.push(Math.round(await secondsToNext()))
    const seconds = Math.max(await secondsToNext(), 1) + 1
    await pass(seconds)
    minutes += seconds / 60
    await record(40, recorded)
    recorded += 40
    await numbered()
  }
  // Later and later, up to an hour.
  for (const [i, seconds] of pauses.entries()) {
    expect(seconds).toBeLessThanOrEqual(Math.min(5 * 3 ** i, 3_600))
    expect(seconds).toBeGreaterThan(Math.min(5 * 3 ** i, 3_600) - 5)
  }
  const before = await refused()
  expect(new Set(before.map(({ event }) => event.seq)).size).toBe(1)
  expect((await call(AT, `/api/v1/webhooks/${id}`, { token: admin })).body).toMatchObject({ is_paused: false })

  await receiver.answers({ status: 200 })
  await until(async () => {
    await deliverEvents(settings(), sender, Date.now() + 10_000)
    return (await receiver.messages()).length >= before.length + recorded
  }, 120_000)
  const after = (await receiver.messages()).slice(before.length)
  const seqs = after.map(({ event }) => event.seq as number)
  expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b))
  expect(after.map(({ event }) => Number(event.resource_id)).sort((a, b) => a - b)).toEqual(
    Array.from({ length: recorded }, (_, i) => i + 1),
  )
  const { body } = await call(AT, `/api/v1/webhooks/${id}/deliveries`, { token: admin })
  expect(body.progress).toMatchObject({ failures: 0, failing_since: null })
}, 240_000)
