/** People with an authenticator app. */
import { expect } from 'vitest'
import { addPerson, type Inside, type Person } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { codeOf, earlyInStep } from '../support/totp.ts'

/** A code of this secret that is wrong now and soon. */
export function wrongCode(secret: string): string {
  const near = [-2, -1, 0, 1, 2].map((steps) => codeOf(secret, steps))
  for (let n = 0; ; n++) {
    const code = String(n).padStart(6, '0')
    if (!near.includes(code)) return code
  }
}

export type Protected = Person & { token: string; secret: string; backup_codes: string[] }

/** Somebody new who has switched an authenticator app on with the code of one step ago, so that the current one is unused. */
export async function protectedPerson(realm: Inside, username: string): Promise<Protected> {
  const person = await addPerson(realm, username)
  const entered = await enter(realm.subdomain, person)
  const token = entered.body.access_token
  const { secret, backup_codes } = await switchOn(realm.subdomain, token)
  return { ...person, token, secret, backup_codes }
}

export async function switchOn(at: string, token: string): Promise<{ secret: string; backup_codes: string[] }> {
  await earlyInStep()
  const { secret } = (await post(at, 'mfa/setup', undefined, token)).body
  const enabled = await post(at, 'mfa/verify', { code: codeOf(secret, -1) }, token)
  expect(enabled.status, JSON.stringify(enabled.body)).toBe(200)
  return { secret, backup_codes: enabled.body.backup_codes }
}

export const post = (at: string, path: string, body?: object, token?: string, headers: Record<string, string> = {}) =>
  call(at, `${at ? '/api' : '/platform'}/v1/auth/${path}`, { method: 'POST', ...(body && { body }), token, headers })

export const enter = (at: string, { username, password }: { username: string; password: string }, more: object = {}) =>
  post(at, 'login', { username, password, ...more })

/** The challenge of a login with the right password. */
export async function challengeOf(at: string, person: Person, headers: Record<string, string> = {}): Promise<string> {
  const { username, password } = person
  const answer = await post(at, 'login', { username, password }, undefined, headers)
  expect(answer.body, JSON.stringify(answer.body)).toMatchObject({ mfa_required: true })
  return answer.body.mfa_token
}
