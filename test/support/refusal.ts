import { expect } from 'vitest'

type Seen = { status: number; headers: Headers; body: any }

/** Hashes, recipes, statements, stacks, connection strings, names of functions and columns: never in an answer. */
const SECRETS =
  /pbkdf2|r=6,i=|password_hash|token_hash|_encrypted|"d":|select |insert |access\.|freehold_(app|owner)|postgres(ql)?:|NeonDb|TypeError|\.(ts|js):\d+|\bat [\w.]+ \(/i

/** Nothing in the body that is not for the caller. */
export function expectDiscreet(answer: Seen, ...more: string[]) {
  const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body)
  expect(text).not.toMatch(SECRETS)
  for (const secret of more) expect(text).not.toContain(secret)
}

/** A refusal has this status and code, the shape of every problem, the trace id of its header, and tells nothing. */
export function expectProblem(answer: Seen, status: number, code: string, about = '') {
  expect({ status: answer.status, code: answer.body?.code }, `${about} ${JSON.stringify(answer.body)}`).toEqual({ status, code })
  expect(answer.headers.get('Content-Type')).toBe('application/problem+json')
  const { errors, url, ...body } = answer.body
  expect(url !== undefined, 'where to go instead').toBe(code === 'tenant_renamed')
  expect(Object.keys(body).sort()).toEqual(['code', 'detail', 'instance', 'status', 'title', 'trace_id', 'type'])
  expect(body.type).toMatch(new RegExp(`/problems/${code}$`))
  expect(body.status).toBe(status)
  expect(body.trace_id).toBe(answer.headers.get('X-Trace-Id'))
  for (const fault of errors ?? []) expect(Object.keys(fault).sort()).toEqual(['detail', 'pointer'])
  if (status === 401) expect(answer.headers.get('WWW-Authenticate')).toMatch(/^Bearer realm="freehold"/)
  else expect(answer.headers.get('WWW-Authenticate')).toBeNull()
  expectDiscreet(answer)
}

/** A refusal of OAuth's own routes: the error of RFC 6749 or 6750 and a sentence, and nothing else. */
export function expectOAuthError(answer: Seen, status: number, error: string, about = '') {
  expect([answer.status, answer.body?.error], `${about} ${JSON.stringify(answer.body)}`).toEqual([status, error])
  expect(Object.keys(answer.body).sort(), about).toEqual(['error', 'error_description'])
  expect(answer.headers.get('Content-Type')).toMatch(/^application\/json/)
  expectDiscreet(answer)
}

/** The places that a validation problem points at, sorted. */
export const pointers = (answer: Seen): string[] =>
  (answer.body.errors ?? []).map((fault: { pointer: string }) => fault.pointer).sort()
