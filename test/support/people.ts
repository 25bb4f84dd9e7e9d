import { env, exports } from 'cloudflare:workers'
import { expect } from 'vitest'
import { app } from '../../src/app.ts'
import { askAside } from './aside.ts'
import { holdToSchema } from './schema.ts'
import { tokenOf } from './sessions.ts'

/** One answer, read. `trips` and `master` are what Server-Timing says of the round trips. */
export type Answer = { status: number; body: any; headers: Headers; trips: number; master: number }
type Ask = {
  token?: string | undefined
  tenant?: string
  headers?: Record<string, string>
  body?: unknown
  form?: Record<string, string>
  raw?: string | Uint8Array<ArrayBuffer>
  method?: string
  /** Settings of the Worker, in place of those of the stack. */
  settings?: Record<string, string>
}

const BASE = 'freehold.test'

/** A request of the Worker from outside: `at` is a subdomain, '' the base domain. Every answer is held to its route's budget. */
export async function call(at: string, path: string, ask: Ask = {}): Promise<Answer> {
  const body =
    ask.raw ??
    (ask.form ? new URLSearchParams(ask.form).toString() : ask.body === undefined ? undefined : JSON.stringify(ask.body))
  const type = ask.form ? 'application/x-www-form-urlencoded' : 'application/json'
  const headers = {
    'User-Agent': 'cy/1.0',
    ...(body === undefined ? {} : { 'Content-Type': type }),
    ...(ask.token && { Authorization: `Bearer ${ask.token}` }),
    ...(ask.tenant && { 'X-Tenant': ask.tenant }),
    ...ask.headers,
  }
  const method = ask.method ?? (body === undefined ? 'GET' : 'POST')
  const url = `http://${at ? `${at}.` : ''}${BASE}${path}`
  const request = new Request(url, { method, headers, ...(body !== undefined && { body }), redirect: 'manual' })
  const response = ask.settings ? await withSettings(ask.settings, request) : await exports.default.fetch(request)
  const text = await response.text()
  const isJson = /json/.test(response.headers.get('Content-Type') ?? '')
  const spent = (name: string) =>
    Number(new RegExp(`${name};desc="(\\d+)"`).exec(response.headers.get('Server-Timing') ?? '')?.[1] ?? 0)
  const answer = {
    status: response.status,
    body: isJson ? JSON.parse(text) : text,
    headers: response.headers,
    trips: spent('db'),
    master: spent('master'),
  }
  holdToSchema(method, path, answer)
  if (response.ok) await holdToBudget(method, path, answer)
  else {
    const type = path.startsWith('/oauth/') ? 'application/json' : 'application/problem+json'
    expect(response.headers.get('Content-Type'), `${method} ${path}: ${text}`).toBe(type)
  }
  return answer
}

/** What the Worker would answer if it had been started with other settings. */
const withSettings = (settings: Record<string, string>, request: Request): Promise<Response> =>
  askAside((context) => app.fetch(request, { ...env, ...settings }, context))

let budgets: [RegExp, string, number][] | undefined

async function holdToBudget(method: string, path: string, answer: Answer) {
  if (!budgets) {
    const response = await exports.default.fetch(`http://${BASE}/openapi.json`)
    const document = (await response.json()) as { paths: Record<string, Record<string, Record<string, number>>> }
    budgets = Object.entries(document.paths).flatMap(([template, methods]) =>
      Object.entries(methods).map(([m, operation]): [RegExp, string, number] => [
        new RegExp(`^${template.replace(/\{[^}]+\}/g, '[^/]+').replace(/\/$/, '')}/?$`),
        m.toUpperCase(),
        operation['x-round-trips'] ?? 0,
      ]),
    )
  }
  const budget = budgets.find(([pattern, m]) => m === method && pattern.test(path.split('?')[0] ?? ''))
  const waited = answer.status === 201 && path.startsWith('/platform/v1/tenants')
  if (budget && !waited)
    expect(answer.trips, `${method} ${path} may spend ${budget[2]} round trips`).toBeLessThanOrEqual(budget[2])
}

/** A token of the first operator. */
export const operatorToken = () => tokenOf('', 'ada')

let made = 0

/** A RUC that nobody has yet, with its right check digit. */
export function newRuc(): string {
  const random = crypto.getRandomValues(new Uint32Array(2))
  const head = `20${String((random[0] ?? 0) % 10_000).padStart(4, '0')}${String(((random[1] ?? 0) + made++) % 10_000).padStart(4, '0')}`
  const sum = [5, 4, 3, 2, 7, 6, 5, 4, 3, 2].reduce((total, weight, i) => total + weight * Number(head[i]), 0)
  return `${head}${(11 - (sum % 11)) % 10}`
}

export const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }

export const wanted = (subdomain: string, more: Record<string, unknown> = {}) => ({
  subdomain,
  legal_name: `${subdomain} S.A.C.`,
  tax_id: newRuc(),
  admin_email: ADMIN.email,
  admin_password: ADMIN.password,
  ...more,
})

/** Makes a tenant through the door that operators use, and waits until it is active. */
export async function makeTenant(subdomain: string, more: Record<string, unknown> = {}, token?: string): Promise<any> {
  const answer = await call('', '/platform/v1/tenants', {
    token: token ?? (await operatorToken()),
    headers: { Prefer: 'wait=30' },
    body: wanted(subdomain, more),
  })
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body
}

/** Logs bo, the administrator of a test tenant, in, through the door. */
export async function login(subdomain: string, more: Partial<Ask> = {}): Promise<any> {
  const answer = await call(subdomain, '/api/v1/auth/login', { body: ADMIN, ...more })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body
}
