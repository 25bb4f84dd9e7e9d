/** Pages of other origins, as a browser lets them ask. Of each file that uses it, the clock is set back after each test. */
import { expect, vi } from 'vitest'
import { originOf } from './jar.ts'
import { type Heard, knock } from './knock.ts'
import { call } from './people.ts'
import { expectProblem } from './refusal.ts'

export const LOGIN = '/api/v1/auth/login'

let now = 0
/** What an isolate remembers of a tenant's settings, it remembers for two seconds; of the registry, for ten. */
export const later = (ms = 2_000) => {
  now = Math.max(now, Date.now()) + ms
  vi.useFakeTimers({ toFake: ['Date'], now })
}

export const patchOrigins = (at: string, token: string, origins: unknown) =>
  call(at, '/api/v1/settings', { token, method: 'PATCH', body: { origins } })

export async function setOrigins(at: string, token: string, origins: string[]) {
  const answer = await patchOrigins(at, token, origins)
  expect([answer.status, answer.body.origins]).toEqual([200, origins])
}

export const allowed = ({ headers }: { headers: Headers }) => headers.get('Access-Control-Allow-Origin')

/** What a browser asks beforehand. */
export const preflight = (Origin: string, at: string, path = LOGIN): Promise<Heard> =>
  knock(`${originOf(at)}${path}`, { method: 'OPTIONS', headers: { Origin, 'Access-Control-Request-Method': 'POST' } })

export async function expectForeign(origin: string, at: string) {
  const answer = await preflight(origin, at)
  expectProblem(answer, 403, 'forbidden')
  expect(allowed(answer)).toBeNull()
}

/** Look-ups of origins that a request cost. */
export const asked = ({ headers }: { headers: Headers }) =>
  Number(/origins;desc="(\d+)"/.exec(headers.get('Server-Timing') ?? '')?.[1] ?? 0)
