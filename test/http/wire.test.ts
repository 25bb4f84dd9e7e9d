import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { ADMIN } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const HOST = 'http://wired.freehold.test'
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
let realm: Inside
let token: string

beforeAll(async () => {
  await copyTenant('wired')
  realm = await inside('wired')
  token = await tokenOf('wired')
})

type Row = [name: string, status: number, url: string, init?: () => RequestInit]
const json = { 'Content-Type': 'application/json' }
const posting = (body: unknown) => () => ({ method: 'POST', headers: json, body: JSON.stringify(body) })
const bearing =
  (method = 'GET') =>
  () => ({ method, headers: { Authorization: `Bearer ${token}` } })

const ANSWERS: Row[] = [
  ['a login', 200, `${HOST}/api/v1/auth/login`, posting(ADMIN)],
  ['me', 200, `${HOST}/api/v1/auth/me`, bearing()],
  ['me by HEAD', 200, `${HOST}/api/v1/auth/me`, bearing('HEAD')],
  ['the keys', 200, `${HOST}/.well-known/jwks.json`],
  ['health', 200, 'http://freehold.test/healthz'],
  ['readiness', 200, 'http://freehold.test/readyz'],
  ['the document', 200, 'http://freehold.test/openapi.json'],
  ['a bad body', 400, `${HOST}/api/v1/auth/login`, posting([])],
  ['malformed JSON', 400, `${HOST}/api/v1/auth/login`, () => ({ method: 'POST', headers: json, body: '{' })],
  ['no tenant', 400, 'http://freehold.test/api/v1/auth/me'],
  ['no token', 401, `${HOST}/api/v1/auth/me`],
  ['no token, by HEAD', 401, `${HOST}/api/v1/auth/me`, () => ({ method: 'HEAD' })],
  ['a wrong password', 401, `${HOST}/api/v1/auth/login`, posting({ ...ADMIN, password: 'x' })],
  ['no tenant of that name', 404, 'http://nobody-wired.freehold.test/api/v1/auth/me'],
  ['a foreign host', 404, 'http://evil.test/api/v1/auth/me'],
  ['no such path', 404, `${HOST}/api/v1/nothing`],
  ['no such path at all', 404, 'http://freehold.test/nothing'],
  ['a wrong method', 405, `${HOST}/api/v1/auth/login`],
  [
    'a body too large',
    413,
    `${HOST}/api/v1/auth/login`,
    () => ({ method: 'POST', headers: json, body: 'x'.repeat(1024 * 1024 + 1) }),
  ],
  [
    'a content type',
    415,
    `${HOST}/api/v1/auth/login`,
    () => ({ method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: 'x' }),
  ],
  ['a logout', 204, `${HOST}/api/v1/auth/logout`, bearing('POST')],
]

describe('an answer', () => {
  it.each(ANSWERS)(
    'to %s (%i) carries trace id, Vary and Cache-Control, and honours traceparent',
    async (name, status, url, init) => {
      const asked = init?.() ?? {}
      const answer = await knock(url, {
        ...asked,
        headers: { ...(asked.headers as object), traceparent: `00-${TRACE}-00f067aa0ba902b7-01` },
      })
      expect(answer.status, answer.text).toBe(status)
      expect(answer.headers.get('X-Trace-Id')).toBe(TRACE)
      expect(answer.headers.get('Vary')?.split(/, ?/)).toEqual(expect.arrayContaining(['X-Tenant', 'Origin']))
      expect(answer.headers.get('X-Content-Type-Options')).toBe('nosniff')
      expect(answer.headers.get('Set-Cookie')).toBeNull()
      // The document is kept, and asked about with its ETag.
      const cached = { 'the keys': 'public, max-age=60', 'the document': 'no-cache' }[name] ?? 'no-store'
      expect(answer.headers.get('Cache-Control')).toBe(cached)
      if (status >= 400 && asked.method !== 'HEAD') expect(answer.body).toMatchObject({ status, trace_id: TRACE })
      if (asked.method === 'HEAD' || status === 204) expect(answer.text).toBe('')
    },
  )
})

it('the type of a problem is a page that says what to do', async () => {
  for (const url of [`${HOST}/api/v1/auth/me`, 'http://freehold.test/api/v1/auth/me', 'http://freehold.test/nothing']) {
    const { body } = await knock(url)
    const page = await knock(body.type)
    expect(page.status).toBe(200)
    expect(page.body).toMatchObject({ code: body.code, status: body.status, title: body.title })
  }
})

describe('a trace id', () => {
  it.each([
    ['none', undefined],
    ['of zeros', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
    ['too short', '00-4bf92f-00f067aa0ba902b7-01'],
    ['in upper case', `00-${TRACE.toUpperCase()}-00f067aa0ba902b7-01`],
    ['with a line of its own', `${TRACE}"}{"x":"`],
    ['that is SQL', "00-' or true --"],
  ])('that was sent %s is replaced by a new one', async (_, traceparent) => {
    const ask = () => knock('http://freehold.test/healthz', { headers: { ...(traceparent && { traceparent }) } })
    const [one, two] = [(await ask()).headers.get('X-Trace-Id'), (await ask()).headers.get('X-Trace-Id')]
    for (const id of [one, two]) expect(id).toMatch(/^[0-9a-f]{32}$/)
    expect(one).not.toBe(two)
    expect(one).not.toBe(TRACE)
  })

  it('is the one in the audit', async () => {
    const id = crypto.randomUUID().replaceAll('-', '')
    const traceparent = `00-${id}-00f067aa0ba902b7-01`
    await knock(`${HOST}/api/v1/auth/login`, { method: 'POST', headers: { ...json, traceparent }, body: JSON.stringify(ADMIN) })
    await knock(`${HOST}/api/v1/auth/login`, {
      method: 'POST',
      headers: { ...json, traceparent },
      body: JSON.stringify({ ...ADMIN, password: 'x' }),
    })
    const rows = await realm.asOwner(
      sql`select activity_type from freehold.audit_log where trace_id = ${id} order by at, activity_type`,
    )
    expect(rows.map((row) => row.activity_type).sort()).toEqual(['LOGIN', 'LOGIN_FAILED'])
  })

  it('is the one in the log, which holds no secret', async () => {
    const lines: string[] = []
    const spies = (['log', 'error', 'warn', 'info', 'debug'] as const).map((name) =>
      vi.spyOn(console, name).mockImplementation((...words: unknown[]) => void lines.push(words.map(String).join(' '))),
    )
    const id = crypto.randomUUID().replaceAll('-', '')
    const headers = { ...json, traceparent: `00-${id}-00f067aa0ba902b7-01` }
    const post = (path: string, body: unknown, more = {}) =>
      knock(`${HOST}/api/v1/auth/${path}`, { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(body) })
    const entered = (await post('login', ADMIN)).body
    await post('login', { ...ADMIN, password: 'Marker-Wrong-1' })
    await post('login', { ...ADMIN, password: 'Marker-Wrong-1', 'Marker-Field': 1 })
    await post('login', { username: 'Marker-\u0000', password: 'Marker-Wrong-1' })
    const renewed = (await post('refresh', { refresh_token: entered.refresh_token })).body
    const Authorization = `Bearer ${renewed.access_token}`
    await post('password-change', { current_password: 'Marker-Wrong-1', new_password: 'Marker-New-22-x' }, { Authorization })
    await post('logout', {}, { Authorization })
    for (const spy of spies) spy.mockRestore()
    const text = lines.join('\n')
    expect(text).toContain(id)
    const secrets = [
      ADMIN.password,
      'Marker-Wrong-1',
      'Marker-New-22-x',
      entered.access_token,
      entered.refresh_token,
      renewed.access_token,
      renewed.refresh_token,
    ]
    for (const secret of secrets) expect(text).not.toContain(secret)
    expect(text).not.toMatch(/pbkdf2|postgresql:/)
  })
})
