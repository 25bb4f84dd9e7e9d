/** A tenant in which people have keys, and the ways to show one. */
import { expect } from 'vitest'
import { type Cast, cast } from '../roles/cast.ts'
import { type Answer, call } from '../support/people.ts'

export type Made = {
  id: string
  key: string
  prefix: string
  permissions: string[]
  addresses: string[]
  expires_at: string | null
}
type Ask = Parameters<typeof call>[2]

export type KeyCast = Cast & {
  /** Makes a key of whose token it is, bo's unless another is given. */
  made: (permissions: string[], more?: Record<string, unknown>, token?: string) => Promise<Made>
  /** A request with a key. */
  by: (key: string | { key: string }, path: string, more?: Ask) => Promise<Answer>
}

export async function keyCast(subdomain: string): Promise<KeyCast> {
  const here = await cast(subdomain)
  return {
    ...here,
    made: async (permissions, more = {}, token = here.bo.token) => {
      const answer = await here.ask('/api-keys', { token, body: { name: 'robot', permissions, ...more } })
      expect(answer.status, JSON.stringify(answer.body)).toBe(201)
      return answer.body
    },
    by: (key, path, more) => call(subdomain, `/api/v1${path}`, { ...more, token: typeof key === 'string' ? key : key.key }),
  }
}
