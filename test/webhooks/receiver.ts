/** Receivers of events on this machine, as tests make them up. */
import { Webhook } from 'standardwebhooks'
import { expect, inject } from 'vitest'
import { askedUnder, plant } from '../external/cast.ts'
import { call } from '../support/people.ts'
import type { Planted } from '../support/planting.ts'

const { url } = inject('providers')
let made = 0

export type Message = { headers: Record<string, string>; body: string; event: any; type: string }

/** A receiver that answers as said, and what it was sent. */
export async function makeReceiver(answer: Partial<Planted> = {}) {
  const path = `/hook-${made++}-${crypto.randomUUID().slice(0, 8)}`
  const answers = (next: Partial<Planted>) => plant({ path, body: 'thanks', ...next })
  await answers(answer)
  const messages = async (): Promise<Message[]> =>
    (await askedUnder(path)).map(({ headers, body }) => {
      const { type, data } = JSON.parse(body)
      return { headers: headers as Record<string, string>, body, event: data, type }
    })
  return { url: `${url}${path}`, answers, messages }
}

export type Receiver = Awaited<ReturnType<typeof makeReceiver>>

export async function addWebhook(at: string, token: string, to: string, more: Record<string, unknown> = {}) {
  const answer = await call(at, '/api/v1/webhooks', { token, body: { url: to, ...more } })
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body as { id: string; secret: string } & Record<string, unknown>
}

/** Fails unless a message was signed with a secret, by the reference library. */
export const verified = ({ headers, body }: Message, secret: string) => new Webhook(secret).verify(body, headers)

/** Waits until something is so. */
export async function until<T>(look: () => Promise<T | false | undefined | null>, ms = 30_000): Promise<T> {
  for (const end = Date.now() + ms; ; ) {
    const found = await look()
    if (found) return found
    if (Date.now() > end) throw new Error('It does not come.')
    await new Promise((done) => setTimeout(done, 200))
  }
}
