/**
 * The Queue of deliveries. Threat: events stay where they are because a message was lost, came twice or was refused; a tenant that is gone
 * stops the others.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import type { Env } from '../../src/kernel/env.ts'
import { deliverDueEvents, deliverQueued, type Ringing } from '../../src/tenants/maintenance/webhooks.ts'
import { settings } from '../support/databases.ts'
import { inside } from '../support/inside.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addWebhook, makeReceiver, type Receiver, until } from './receiver.ts'

const NAMES = ['queued-a', 'queued-b']
const bindings = env as unknown as Env
/** Without the queue, and with one that refuses what comes after the first messages. */
const unbound = { ...bindings, DELIVERIES: undefined } as Env
const refusing = (taken: string[], most: number) =>
  ({
    ...bindings,
    DELIVERIES: {
      sendBatch: async (messages: { body: Ringing }[]) => {
        if (taken.length >= most) throw new Error('Queue is overloaded')
        taken.push(...messages.map(({ body }) => body.subdomain))
      },
    },
  }) as unknown as Env

beforeAll(async () => {
  for (const name of NAMES) await copyTenant(name)
})

/** A webhook of a tenant, and a thing that it has to send. */
async function dueAt(name: string): Promise<Receiver> {
  const receiver = await makeReceiver()
  await addWebhook(name, await tokenOf(name), receiver.url, { kinds: ['custom.*'] })
  await recordAt(name)
  return receiver
}
async function recordAt(name: string): Promise<void> {
  const realm = await inside(name)
  await realm.asOwner(sql`select access.record('SAMPLE_TAKEN', 'take', 'sample', '1', null, null)`)
  await until(async () => {
    await realm.asOwner(sql`select access.checkpoint_audit(5000)`)
    return !(await realm.asOwner(sql`select 1 from freehold.audit_log where checkpoint is null limit 1`)).length
  })
}
const countOf = async (receiver: Receiver) => (await receiver.messages()).length

describe('where a queue is bound', () => {
  it('the job queues each tenant, and the consumer sends its events', async () => {
    const receivers = await Promise.all(NAMES.map(dueAt))
    await deliverDueEvents(bindings, settings(), NAMES)
    await until(async () => (await Promise.all(receivers.map(countOf))).every((count) => count === 1))
  })

  it('a message that comes twice at once sends nothing twice, and one of a tenant that is gone holds up no other', async () => {
    const receiver = await dueAt(String(NAMES[0]))
    const messages = ['queued-gone', NAMES[0], NAMES[0]].map((subdomain) => ({ body: { subdomain: String(subdomain) } }))
    await Promise.all([deliverQueued(bindings, settings(), messages), deliverQueued(bindings, settings(), messages)])
    expect(await countOf(receiver)).toBe(1)
  })

  it('tenants that it does not take are sent to by the job itself', async () => {
    const receiver = await dueAt(String(NAMES[1]))
    const taken: string[] = []
    const many = Array.from({ length: 100 }, (_, i) => `queued-no-${i}`)
    // From the first of them on: with which one the job begins depends on the minute.
    vi.useFakeTimers({ toFake: ['Date'], now: 0 })
    await deliverDueEvents(refusing(taken, 100), settings(), [...many, String(NAMES[1])]).finally(() => vi.useRealTimers())
    expect(taken).toEqual(many)
    expect(await countOf(receiver)).toBe(1)
  })
})

it('without a queue the job has sent them when it ends', async () => {
  const receivers = await Promise.all(NAMES.map(dueAt))
  await deliverDueEvents(unbound, settings(), NAMES)
  expect(await Promise.all(receivers.map(countOf))).toEqual([1, 1])
})
