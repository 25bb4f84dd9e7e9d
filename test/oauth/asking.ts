import { expect } from 'vitest'
import { type Answer, call } from '../support/people.ts'
import { expectDiscreet } from '../support/refusal.ts'

/** A request of an OAuth client: a form, as it is written. */
export const ask = (at: string, path: string, form: Record<string, string> | string, headers: Record<string, string> = {}) =>
  call(at, `/oauth/${path}`, {
    raw: typeof form === 'string' ? form : new URLSearchParams(form).toString(),
    headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
  })

export const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })
export const basic = (id: string, secret: string) => ({ Authorization: `Basic ${btoa(`${id}:${secret}`)}` })

/** A refusal in the form of RFC 6749 section 5.2, which tells nothing and which nobody keeps. */
export function expectRefused(answer: Answer, status: number, error: string, about = '') {
  expect({ status: answer.status, error: answer.body?.error }, `${about} ${JSON.stringify(answer.body)}`).toEqual({
    status,
    error,
  })
  expect(Object.keys(answer.body).sort()).toEqual(['error', 'error_description'])
  expect(answer.body.error_description).toMatch(/^[ !#-[\]-~]{1,500}$/)
  expect(answer.headers.get('Content-Type')).toBe('application/json')
  expect(answer.headers.get('Cache-Control')).toBe('no-store')
  expect(answer.headers.get('Pragma')).toBe('no-cache')
  expect(answer.headers.has('WWW-Authenticate')).toBe(status === 401)
  expectDiscreet(answer)
}
