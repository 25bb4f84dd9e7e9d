import { afterEach, beforeAll, expect, it, vi } from 'vitest'
import { newKey } from '../../src/kernel/api-key.ts'
import { ADMIN, call, login } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

beforeAll(async () => {
  await copyTenant('logged')
  // The first answer has the document fetched, to which all are held.
  await call('logged', '/healthz')
})
afterEach(() => vi.restoreAllMocks())

/** The lines that a piece of work logs. */
async function lines(work: () => Promise<unknown>): Promise<string[]> {
  const written: string[] = []
  vi.spyOn(console, 'log').mockImplementation((line: unknown) => void written.push(String(line)))
  await work()
  // A tenant that was just made may still be telling of it.
  return written.filter((line) => !line.includes('"event":"provisioning'))
}

const TRACE = '0123456789abcdef0123456789abcdef'
const headers = { traceparent: `00-${TRACE}-0123456789abcdef-01` }

it('a login is told as lines of JSON: which database, that the user was found, that the password was right, that somebody is in, and the request', async () => {
  const written = await lines(() => call('logged', '/api/v1/auth/login', { body: ADMIN, headers }))
  const told = written.map((line) => JSON.parse(line))
  expect(told.map(({ event }) => event)).toEqual([
    'database chosen',
    'user looked up',
    'password verified',
    'logged in',
    'request',
  ])
  expect(told[1].found).toBe(true)
  for (const line of told) expect(line).toMatchObject({ tenant: 'logged', trace_id: TRACE })
})

it('a wrong password is told as refused, and whether there is such a user, without the name', async () => {
  const nobody = 'nobody-of-that-name@acme.test'
  for (const [email, found] of [
    [ADMIN.email, true],
    [nobody, false],
  ] as const) {
    const written = await lines(() =>
      call('logged', '/api/v1/auth/login', { body: { email, password: 'Not-the-one-1' }, headers }),
    )
    const told = written.map((line) => JSON.parse(line))
    expect(told.map(({ event }) => event)).toEqual(['database chosen', 'user looked up', 'password refused', 'request'])
    expect(told[1]).toEqual({ at: expect.any(String), event: 'user looked up', tenant: 'logged', trace_id: TRACE, found })
    for (const line of written) expect(line).not.toContain(email)
  }
})

it('no line holds a password, a token, a hash or a connection string', async () => {
  let secrets: string[] = []
  const written = await lines(async () => {
    const { access_token, refresh_token } = await login('logged')
    const next = (await call('logged', '/api/v1/auth/refresh-token', { body: { refresh_token } })).body
    await call('logged', '/api/v1/auth/password-change', {
      token: next.access_token,
      body: { current_password: ADMIN.password, new_password: 'Another-marker-9' },
    })
    await call('logged', '/api/v1/auth/login', { raw: `{"email": "${ADMIN.email}", "password": "Broken-marker-3"` })
    secrets = [
      access_token,
      refresh_token,
      next.access_token,
      next.refresh_token,
      ADMIN.password,
      'Another-marker-9',
      'Broken-marker-3',
    ]
  })
  expect(written.length).toBeGreaterThan(6)
  for (const line of written) {
    for (const secret of secrets) expect(line).not.toContain(secret)
    expect(line).not.toMatch(/pbkdf2|postgres(ql)?:\/\//)
  }
})

it('the line of a request has who asked, from where and with what, and nothing that lets somebody in', async () => {
  const token = await tokenOf('logged')
  const { sub } = JSON.parse(atob(String(token.split('.')[1]).replaceAll('-', '+').replaceAll('_', '/')))
  const { key, prefix } = newKey()
  const agent = 'cy "quoted" \\ \t{"event":"forged"}'
  const from = { 'CF-Connecting-IP': '203.0.113.77', 'User-Agent': agent }
  const written = await lines(async () => {
    await call('logged', '/api/v1/auth/me', { token, headers: from })
    await call('logged', '/api/v1/auth/whoami', { headers: { ...from, 'X-API-Key': key } })
    await call('logged', '/api/v1/auth/me', { token: `${token.slice(0, -40)}${'A'.repeat(40)}`, headers: from })
    await call('logged', '/.well-known/jwks.json?secret=in-the-query', { headers: from })
  })
  const told = written.map((line) => JSON.parse(line)).filter(({ event }) => event === 'request')
  const common = { address: '203.0.113.77', agent }
  expect(told.map(({ user, key, address, agent }) => ({ user, key, address, agent }))).toEqual([
    { user: sub, key: null, ...common },
    { user: null, key: prefix, ...common },
    { user: null, key: null, ...common },
    { user: null, key: null, ...common },
  ])
  for (const line of written) {
    // One line, whatever a client sends.
    expect(line).not.toMatch(/[\n\r\t]/)
    for (const secret of [key, key.slice(12), token, token.split('.')[2] ?? '', 'in-the-query'])
      expect(line).not.toContain(secret)
  }
})
