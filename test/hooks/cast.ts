/** Hooks of this machine, as tests make them up, and requests whose round trips no budget bounds: a hook costs two more. */
import { expect } from 'vitest'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { makeReceiver } from '../webhooks/receiver.ts'

type Says = { says?: unknown; status?: number; delay_ms?: number; bytes?: number; headers?: Record<string, string> }
const planted = ({ says, ...rest }: Says) => ({ ...rest, ...(says !== undefined && { body: JSON.stringify(says) }) })

/** A hook that answers as said, and what it was asked. */
export async function makeHook(answer: Says = { says: { decision: 'allow' } }) {
  const receiver = await makeReceiver(planted(answer))
  return { ...receiver, answers: (next: Says) => receiver.answers(planted(next)), asked: receiver.messages }
}
export type Asked = Awaited<ReturnType<typeof makeHook>>

export async function addHook(at: string, token: string, act: string, url: string, more: Record<string, unknown> = {}) {
  const answer = await call(at, '/api/v1/hooks', { token, body: { act, url, on_failure: 'closed', ...more } })
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body as { id: string; secret: string } & Record<string, unknown>
}

export const ask = (at: string, path: string, body?: object, token?: string, headers: Record<string, string> = {}) =>
  knock(`http://${at}.freehold.test${path}`, {
    method: body ? 'POST' : 'GET',
    headers: {
      ...(body && { 'Content-Type': 'application/json' }),
      ...(token && { Authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(body && { body: JSON.stringify(body) }),
  })

/** The round trips to the tenant's database that an answer took. */
export const tripsOf = (headers: Headers) => Number(/db;desc="(\d+)"/.exec(headers.get('Server-Timing') ?? '')?.[1])
