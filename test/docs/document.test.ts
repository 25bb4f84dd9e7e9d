/** What tools that read the document need of it: patterns, names, headers and hosts that all of them understand. */
import { describe, expect, it } from 'vitest'
import { resolved } from '../support/document.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { PUBLISHED } from './published.ts'

type Schema = { pattern?: string; [key: string]: unknown }
type Operation = {
  operationId: string
  deprecated?: boolean
  tags: string[]
  security: object[]
  servers?: { url: string }[]
  parameters: { name: string; in: string; required?: boolean; description?: string; schema: Schema }[]
  responses: Record<string, { headers: Record<string, { description: string }> }>
}
type Document = {
  servers: { url: string; description: string; variables?: Record<string, { default: string }> }[]
  paths: Record<string, Record<string, Operation>>
  components: Record<string, Record<string, { type?: string; name?: string }>>
}

const printed = (await call('', '/openapi.json')).body as Document
const document = resolved(printed)
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation, name: `${method.toUpperCase()} ${path}` })),
)
const headersOf = ({ parameters }: Operation) => parameters.filter((one) => one.in === 'header').map(({ name }) => name)
const at = (name: string) => {
  const found = operations.find(({ operation }) => operation.operationId === name)
  if (!found) throw new Error(`${name} is no operation.`)
  return found.operation
}

function patternsIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  const own = 'pattern' in value && typeof value.pattern === 'string' ? [value.pattern] : []
  return [...own, ...Object.values(value).flatMap(patternsIn)]
}

const SAMPLES = [
  '0af7651916cd43dd8448eb211c80319c',
  ...[
    '',
    ' ',
    'a',
    'A',
    '0',
    '12',
    '123456',
    '4920 3917',
    '1234567',
    'acme',
    'Acme-1',
    '-acme',
    'acme-',
    'ann.lee',
    '_ann',
    'user:read',
    'user:',
  ],
  ...[
    'user:READ',
    'USER_LOGIN',
    'user_login',
    '+51 999 888 777',
    'PE',
    'pe',
    '192.0.2.0/24',
    '2001:DB8::/32',
    '2001:db8::1',
    'x',
  ],
  ...[
    '"key"',
    'key',
    '"',
    'a b',
    'a\nb',
    'a\tb',
    'a\u0000',
    '\u007f',
    '\u0085',
    'Ñandú',
    'núñez',
    'é',
    '中文',
    '😀',
    'a😀b',
    '\ud800',
  ],
  ...[
    'p{Cc}',
    '{}',
    'Cs',
    '/u',
    '\\',
    'sha256-abc_DEF',
    'v1.2_3',
    'acme/9',
    'ACME2026',
    'abc=',
    'ab cd',
    'organization,invitations',
    'https://files.example/c?n=1',
    '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11,0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a12',
    "it's",
    '20123456786',
    '#1f4e79',
  ],
]

describe('patterns', () => {
  const patterns = [...new Set(patternsIn(printed))]

  it('are some', () => expect(patterns.length).toBeGreaterThan(10))

  it.each(patterns)('%s means the same with the flag u and without', (pattern) => {
    const [bare, unicode] = [new RegExp(pattern), new RegExp(pattern, 'u')]
    expect(pattern).not.toMatch(/\/[a-z]+$|\\[pPuk]|\(\?/)
    const taken = SAMPLES.map((sample) => [sample, bare.test(sample)])
    expect(SAMPLES.map((sample) => [sample, unicode.test(sample)])).toEqual(taken)
    expect(
      taken.some(([, is_taken]) => is_taken),
      'a sample that it takes',
    ).toBe(true)
    expect(
      taken.some(([, is_taken]) => !is_taken),
      'a sample that it refuses',
    ).toBe(true)
  })

  it('of a login take what people have, and no control characters', () => {
    const form = printed.components.schemas?.PasswordForm as { properties?: Record<string, Schema> } | undefined
    const pattern = new RegExp(form?.properties?.username?.pattern ?? 'none')
    expect(['bo@acme.test', 'José 😀'].map((name) => pattern.test(name))).toEqual([true, true])
    expect(['a\nb', 'a\u0000'].map((name) => pattern.test(name))).toEqual([false, false])
  })
})

describe('names', () => {
  it('of functions are unique, read as verbs, and stay as they were published', () => {
    const names = operations.map(({ operation }) => operation.operationId)
    expect(names.filter((name) => !/^[a-z]+([A-Z][a-z]*)*$/.test(name))).toEqual([])
    expect(new Set(names).size).toBe(names.length)
    expect(PUBLISHED.filter((name) => !names.includes(name))).toEqual([])
  })

  it('of both planes differ: one operation of tenants, and its twin of the platform', () => {
    const path = (name: string) => operations.find(({ operation }) => operation.operationId === name)?.path
    expect(path('listUsers')).toBe('/api/v1/users')
    expect(path('listOperators')).toBe('/platform/v1/operators')
    expect(path('login')).toBe('/api/v1/auth/login')
    expect(path('platformLogin')).toBe('/platform/v1/auth/login')
  })

  it('of components and of the cookie are legal', () => {
    for (const kind of Object.values(printed.components))
      for (const name of Object.keys(kind)) expect(name).toMatch(/^[a-zA-Z0-9._-]+$/)
    for (const { type, name } of Object.values(printed.components.securitySchemes ?? {}))
      if (type === 'apiKey') expect(name).toMatch(/^[A-Za-z0-9_-]+$/)
  })

  it('of old spellings are deprecated, each beside its new one', () => {
    const old = operations.filter(({ operation }) => operation.deprecated).map(({ path }) => path)
    const spellings = ['auth/refresh', 'auth/change-password', 'auth/reset-password']
    expect(old.sort()).toEqual(['/api/v1/', '/platform/v1/'].flatMap((plane) => spellings.map((one) => `${plane}${one}`)).sort())
    for (const path of ['auth/refresh-token', 'auth/password-change', 'users/{id}/reset-password'])
      expect(document.paths[`/api/v1/${path}`]?.post?.deprecated, path).toBeUndefined()
  })
})

describe('headers', () => {
  it.each(operations)('of $name are those that it reads', ({ path, operation }) => {
    const names = headersOf(operation)
    const is_public = operation.security.length === 0
    expect(names).toContain('Accept-Language')
    expect(names.includes('X-Tenant')).toBe(!path.startsWith('/platform/'))
    expect(names.includes('X-Account')).toBe(!is_public || /\/auth\/(refresh(-token)?|mfa\/verify)$/.test(path))
    expect(names.includes('If-Match')).toBe('412' in operation.responses)
    expect(names.includes('Idempotency-Key')).toBe('Idempotency-Replayed' in (operation.responses[201]?.headers ?? {}))
    for (const one of operation.parameters.filter((parameter) => parameter.in === 'header')) {
      expect(one.required, one.name).toBe(false)
      expect(one.description, one.name).toMatch(/^.+\.$/)
    }
  })

  it('Prefer is read where something takes its time', () => {
    const waiting = operations.filter(({ operation }) => headersOf(operation).includes('Prefer'))
    expect(waiting.map(({ operation }) => operation.operationId).sort()).toEqual(['adoptTenant', 'createTenant'])
  })

  it('of answers are declared: what is held of every answer of the tests is printed', () => {
    const of = (name: string, status: number) => Object.keys(at(name).responses[status]?.headers ?? {})
    expect(of('getRole', 200)).toContain('ETag')
    expect(of('createRole', 201)).toEqual(expect.arrayContaining(['ETag', 'Location', 'Idempotency-Replayed', 'X-Trace-Id']))
    expect(of('createTenant', 202)).toContain('Location')
    expect(of('login', 401)).toContain('WWW-Authenticate')
    expect(of('login', 429)).toContain('Retry-After')
    for (const { operation, name } of operations)
      for (const [status, { headers }] of Object.entries(operation.responses)) {
        expect(Object.keys(headers), `${name} ${status}`).toContain('X-Trace-Id')
        expect('Retry-After' in headers, `${name} ${status}`).toBe(['429', '503'].includes(status))
      }
  })

  it('are in the document once each, and referred to', () => {
    expect(JSON.stringify(printed.paths)).not.toMatch(/"in":"header"/)
    expect(JSON.stringify(printed).length).toBeLessThan(JSON.stringify(document).length / 2)
  })
})

describe('the size', () => {
  // Fifty operations more, and this is a little more: what each repeats belongs to the components.
  it.each([
    ['the base domain', 'freehold.test', 1080],
    ['a tenant', 'shop.freehold.test', 740],
  ])('on the host of %s is %s: at most %i KiB', async (_, host, kib) => {
    const { text } = await knock(`http://${host}/openapi.json`)
    expect(new TextEncoder().encode(text).length / 1024).toBeLessThanOrEqual(kib)
  })
})

describe('hosts', () => {
  it('on the base domain are it and that of any tenant', () => {
    expect(printed.servers.map(({ url }) => url)).toEqual(['http://freehold.test', 'http://{tenant}.freehold.test'])
    expect(printed.servers[1]?.variables?.tenant?.default).toBe('acme')
  })

  it('on the host of a tenant begin with it', async () => {
    const { body } = await knock('http://shop.freehold.test/openapi.json')
    const own = body as Document
    expect(own.servers[0]?.url).toBe('http://shop.freehold.test')
    expect(own.servers[2]?.variables?.tenant?.default).toBe('shop')
    expect(own.servers[1]?.description).not.toContain('platform')
  })

  it('of a tenant have no operation of the platform, and all others as the base domain has them', async () => {
    const { body, text } = await knock('http://shop.freehold.test/openapi.json')
    const own = body as Document
    const paths = Object.entries(printed.paths).filter(([path]) => !path.startsWith('/platform/'))
    expect(paths.length).toBeGreaterThan(50)
    expect(own.paths).toEqual(Object.fromEntries(paths))
    expect(text).not.toMatch(/\/platform\/|Platform:/)
    for (const [kind, parts] of Object.entries(own.components)) expect(printed.components[kind]).toMatchObject(parts)
  })

  it('appear where the asset has a placeholder, which nobody sees', async () => {
    for (const host of ['freehold.test', 'shop.freehold.test'])
      expect((await knock(`http://${host}/openapi.json`)).text).not.toContain('domain.invalid')
  })

  it('of the platform are the base domain alone', () => {
    for (const { path, operation } of operations)
      expect(
        operation.servers?.map(({ url }) => url),
        path,
      ).toEqual(path.startsWith('/platform/') ? ['http://freehold.test'] : undefined)
  })
})
