/** What every route must be, asked of the app itself: no list of routes to keep. */
import { describe, expect, it, vi } from 'vitest'
import { app } from '../../src/app.ts'
import { problemCatalogue } from '../../src/kernel/problem.ts'
import { resolved } from '../support/document.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'

type Operation = {
  operationId: string
  summary: string
  security: object[]
  'x-permission'?: string
  'x-round-trips': number
  responses: Record<string, { description: string }>
  requestBody?: { content: Record<string, { schema: { $ref?: string; additionalProperties?: unknown } }> }
}

const document = resolved((await call('', '/openapi.json')).body) as {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, { additionalProperties?: unknown }> }
}
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, path, method, operation })),
)
const UNDOCUMENTED =
  /^\/(healthz|readyz|version|openapi\.json|(docs|problems|pages|login|register|cancel-erasure|invitation|verify-email|reset-password|email-change|account)(\/.*)?)?$/

describe('routes', () => {
  it('are some', () => expect(operations.length).toBeGreaterThan(15))

  it('share no method and path', () => {
    const seen = new Map<string, number>()
    const handlers = app.routes.filter(({ method }) => method !== 'ALL')
    for (const { method, path, handler } of handlers) {
      // A route's own middleware is listed beside its handler; only handlers of two routes are a clash.
      if (handler.length < 2)
        seen.set(`${method} ${path.replace(/:\w+/g, ':x')}`, (seen.get(`${method} ${path.replace(/:\w+/g, ':x')}`) ?? 0) + 1)
    }
    expect([...seen].filter(([, times]) => times > 1)).toEqual([])
    expect(new Set(operations.map(({ name }) => name.replace(/\{\w+\}/g, '{}'))).size).toBe(operations.length)
    expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length)
  })

  it('are all in the document, but for pages and the few that are about the service itself', () => {
    const described = new Set(
      operations.map(({ method, path }) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1').replace(/\/$/, '')}`),
    )
    const missing = app.routes
      .filter(({ method, path }) => method !== 'ALL' && !UNDOCUMENTED.test(path))
      .map(({ method, path }) => `${method} ${path.replace(/\/$/, '')}`)
      // That `me`, `import`, `history`, `adopt`, `login` and `register` are no ids is said for every method that ids have.
      .filter(
        (name) =>
          !described.has(name) &&
          !/\/(users|operators)\/(me|import)$|\/sessions\/history$|\/tenants\/adopt$|\/passkeys\/(login|register)$|\/employees\/(report|headcount|import)$|\/competencies\/(matrix|matrix\/export)$|\/invitations\/(accept|preview)$/.test(
            name,
          ),
      )
    expect(missing).toEqual([])
  })

  it.each(operations)('$name says who may: a permission, or that it is open', ({ operation }) => {
    const open = operation.security.length === 0 || operation.security.some((one) => Object.keys(one).length === 0)
    expect(open).toBe(operation['x-permission'] === undefined)
    if (!open) expect(operation['x-permission']).toMatch(/^(any|[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*)$/)
    expect(operation.summary).toMatch(/^[A-Z].*[^.]$/)
    expect(operation['x-round-trips']).toBeGreaterThanOrEqual(0)
    expect(operation['x-round-trips']).toBeLessThanOrEqual(2)
  })

  it.each(operations.filter(({ operation }) => operation.security.length > 0))(
    '$name refuses the anonymous, and the forged',
    async ({ method, path }) => {
      const at = path.replace(/\{\w+\}/g, crypto.randomUUID())
      const tenant = path.startsWith('/platform') ? {} : { tenant: 'nobody-at-all' }
      const answer = await call('', at, { method: method.toUpperCase(), ...tenant })
      if (path.startsWith('/oauth/')) return expect([answer.status, answer.body.error]).toEqual([404, 'invalid_request'])
      const expected = path.startsWith('/platform') ? [401, 'token_missing'] : [404, 'tenant_not_found']
      expect([answer.status, answer.body.code]).toEqual(expected)
      if (!path.startsWith('/platform')) return
      const forged = await call('', at, { method: method.toUpperCase(), token: 'a.b.c' })
      expect([forged.status, forged.body.code]).toEqual([401, 'token_invalid'])
    },
  )

  it('answer with codes that the catalogue knows, but for OAuth, which has errors of its own', () => {
    for (const { name, operation } of operations.filter(({ path }) => !path.startsWith('/oauth/')))
      for (const [status, { description }] of Object.entries(operation.responses)) {
        if (Number(status) < 400) continue
        for (const code of description.split(', '))
          expect(problemCatalogue[code as keyof typeof problemCatalogue]?.[0], `${name} ${code}`).toBe(Number(status))
      }
  })

  it('take strict bodies, but for the password form, whose unknown parameters are ignored (RFC 6749)', () => {
    for (const { name, operation } of operations)
      for (const [type, { schema }] of Object.entries<any>(operation.requestBody?.content ?? {})) {
        if (type === 'application/x-www-form-urlencoded' || type === 'text/csv' || type.startsWith('image/')) continue
        const body = schema.$ref ? document.components.schemas[schema.$ref.split('/').at(-1) ?? ''] : schema
        expect(body?.additionalProperties, name).toBe(false)
      }
  })
})

describe('the document', () => {
  it('is not sent again to who has it: the cache of a client asks with its ETag', async () => {
    const first = await knock('http://freehold.test/openapi.json')
    const etag = first.headers.get('ETag') ?? ''
    expect([first.status, first.headers.get('Cache-Control')]).toEqual([200, 'no-cache'])
    expect(etag).toMatch(/^"[0-9a-f]+"$/)
    const again = await knock('http://freehold.test/openapi.json', { headers: { 'If-None-Match': etag } })
    expect([again.status, again.text, again.headers.get('ETag')]).toEqual([304, '', etag])
    const other = await knock('http://freehold.test/openapi.json', { headers: { 'If-None-Match': '"other"' } })
    expect([other.status, other.text]).toEqual([200, first.text])
  })

  it('is made once per isolate, however many ask', async () => {
    await knock('http://freehold.test/openapi.json')
    const stringify = vi.spyOn(JSON, 'stringify')
    const answers = await Promise.all(Array.from({ length: 20 }, () => knock('http://freehold.test/openapi.json')))
    const made = stringify.mock.calls.filter(([value]) => typeof value === 'object' && value !== null && 'openapi' in value)
    stringify.mockRestore()
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(made).toEqual([])
  })
})
