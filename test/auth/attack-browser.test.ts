/** Threat: one route of many that takes what a page of somebody else sends with its visitor's cookies, or that tells such a page something. */
import { exports } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { newJar, originOf } from '../support/jar.ts'
import { knock } from '../support/knock.ts'
import { ADMIN, call } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'csrf'
let routes: { method: string; path: string; isOpen: boolean; type: string }[]
let cookies: string
let account: string
const before: Record<string, number> = {}

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant(`${AT}-evil`)
  const jar = newJar(AT)
  const answer = await jar.ask('/api/v1/auth/login', { body: { username: 'bo', password: ADMIN.password, cookie: true } })
  expect(answer.status).toBe(200)
  cookies = jar.header()
  account = answer.body.account
  const document = (await (await exports.default.fetch('http://freehold.test/openapi.json')).json()) as any
  routes = Object.entries<Record<string, any>>(document.paths)
    .filter(([path]) => path.startsWith('/api/v1'))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        method: method.toUpperCase(),
        path: path.replace(/\{[^}]+\}/g, () => crypto.randomUUID()),
        isOpen: operation['x-credential'] === undefined,
        type: Object.keys(operation.requestBody?.content ?? {})[0] ?? '',
      })),
    )
  before.users = await peopleNow()
  expect(before.users).toBeGreaterThan(0)
})

const peopleNow = async () => {
  const { data } = JSON.parse((await ask('GET', '/api/v1/users', {})).text)
  return data.length
}
const ask = (method: string, path: string, headers: Record<string, string>, type = '') =>
  knock(`${originOf(AT)}${path}`, {
    method,
    headers: { Cookie: cookies, 'X-Account': account, ...(type && { 'Content-Type': type }), ...headers },
    ...(type && { body: '{}' }),
  })

const FOREIGN = [
  'http://csrf-evil.freehold.test',
  'http://freehold.test',
  'https://csrf.freehold.test',
  'http://csrf.freehold.test:81',
  'http://x.csrf.freehold.test',
  'null',
  'https://evil.test',
  'http://csrf.freehold.test.evil.test',
]

describe('with somebody’s cookies', () => {
  it('nothing that changes something is taken from a page of another origin, or of none', async () => {
    // A preview reads, and takes no cookies: whoever has the token of the mail may see what it says.
    const changing = routes.filter(
      ({ method, path }) => method !== 'GET' && !/\/invitations\/(preview|accept\/options)$/.test(path),
    )
    expect(changing.length).toBeGreaterThan(50)
    const wrong: string[] = []
    for (const { method, path, isOpen, type } of changing)
      for (const origin of isOpen ? FOREIGN : [...FOREIGN.slice(0, 2), 'null', undefined]) {
        const answer = await ask(method, path, origin === undefined ? {} : { Origin: origin }, type)
        const isSilent = !answer.headers.has('Access-Control-Allow-Origin') && !answer.headers.has('Set-Cookie')
        if (answer.status !== 403 || answer.body.code !== 'forbidden' || !isSilent)
          wrong.push(`${method} ${path} from ${origin}: ${answer.status} ${answer.text}`)
      }
    expect(wrong).toEqual([])
    expect(await peopleNow()).toBe(before.users)
  })

  it('nothing is read by a page of another origin, nor by one that the browser says is of another site', async () => {
    const wrong: string[] = []
    const reading = routes.filter(({ method, isOpen }) => method === 'GET' && !isOpen)
    expect(reading.length).toBeGreaterThan(20)
    for (const { method, path } of reading)
      for (const headers of [
        { Origin: 'http://csrf-evil.freehold.test' },
        { 'Sec-Fetch-Site': 'same-site' },
        { 'Sec-Fetch-Site': 'cross-site' },
      ]) {
        const answer = await ask(method, path, headers as Record<string, string>)
        if (answer.status !== 403 || answer.headers.has('Access-Control-Allow-Origin'))
          wrong.push(`${method} ${path} with ${JSON.stringify(headers)}: ${answer.status}`)
      }
    expect(wrong).toEqual([])
  })

  it('a method in another’s clothes is what it came as', async () => {
    const clothes = { 'X-HTTP-Method-Override': 'POST', 'X-Method-Override': 'DELETE', Origin: 'http://csrf-evil.freehold.test' }
    for (const path of ['/api/v1/auth/logout-all', '/api/v1/auth/logout?_method=POST'])
      expect((await ask('GET', path, clothes)).status, path).toBe(405)
    expect((await ask('GET', '/api/v1/auth/me', {})).status, 'still logged in').toBe(200)
  })

  it('the platform and the tenant’s sibling take them for nobody’s', async () => {
    for (const [at, path] of [
      ['', '/platform/v1/auth/me'],
      [`${AT}-evil`, '/api/v1/auth/me'],
    ] as const) {
      const answer = await call(at, path, { headers: { Cookie: cookies } })
      expect(answer.status).toBe(401)
    }
    const named = await call('', '/api/v1/auth/me', { headers: { Cookie: cookies, 'X-Tenant': AT } })
    expect(named.status, 'by the header').toBe(401)
  })
})

describe('a problem', () => {
  it('of any kind is read by the tenant’s own page and by no other', async () => {
    const kinds: [string, number, RequestInit][] = [
      ['/api/v1/auth/me', 401, {}],
      ['/api/v1/nowhere', 404, {}],
      ['/api/v1/auth/login', 405, { method: 'DELETE' }],
      ['/api/v1/auth/login', 415, { method: 'POST', body: 'x', headers: { 'Content-Type': 'text/plain' } }],
      ['/api/v1/auth/login', 400, { method: 'POST', body: '{', headers: { 'Content-Type': 'application/json' } }],
      [
        '/api/v1/auth/refresh-token',
        401,
        { method: 'POST', body: '{"refresh_token":"x"}', headers: { 'Content-Type': 'application/json' } },
      ],
    ]
    for (const [path, status, init] of kinds)
      for (const [origin, isOwn] of [
        [originOf(AT), true],
        ['http://csrf-evil.freehold.test', false],
        ['null', false],
      ] as const) {
        const answer = await knock(`${originOf(AT)}${path}`, {
          ...init,
          headers: { ...(init.headers as object), Origin: origin },
        })
        const refused = !isOwn && init.method && path.startsWith('/api/v1/auth/')
        expect(answer.status, `${path} from ${origin}: ${answer.text}`).toBe(refused ? 403 : status)
        expect(answer.headers.get('Access-Control-Allow-Origin'), `${path} from ${origin}`).toBe(isOwn ? origin : null)
        expect(answer.headers.has('Access-Control-Allow-Credentials')).toBe(false)
        expect(answer.headers.get('Vary')).toMatch(/Origin/)
      }
  })
})
