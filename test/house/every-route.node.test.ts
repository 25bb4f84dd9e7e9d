/**
 * Threat: a door that somebody forgot to close. Every route that the document names, and the few that it does not, from outside the
 * Worker: what may not come in, in which words it is refused, and that no refusal tells more than it should.
 */
import { Agent, request } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { POLICY } from '../../src/docs/page.ts'
import { LOW_COST } from '../support/cost.ts'
import { unguarded } from '../support/guarded.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startCompressing } from '../support/node/compressing.ts'
import { startInWorkerd } from '../support/node/workerd.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const AT_ONCE = 8
const MIB = 1024 * 1024
/** The project `compressed` runs this file once behind a proxy that compresses, as Cloudflare does. */
const ACCEPTING: Record<string, string> = process.env.BEHIND_COMPRESSION ? { 'Accept-Encoding': 'gzip' } : {}
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS']
/** Doors that the document does not name; all of them are read only. */
const UNWRITTEN = [
  '/healthz',
  '/readyz',
  '/openapi.json',
  '/docs',
  '/docs/start.js',
  '/docs/swagger-ui.css',
  '/docs/swagger-ui-bundle.js',
  '/problems/not_found',
  '/pages/style.css',
  '/pages/page.js',
]

type Schema = {
  $ref?: string
  type?: string | string[]
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  minItems?: number
  anyOf?: Schema[]
  allOf?: Schema[]
  oneOf?: Schema[]
  format?: string
  pattern?: string
  enum?: unknown[]
  minLength?: number
  maxLength?: number
}
/** An id that nobody has. */
const NOBODY = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'

type Parameter = { name: string; in: 'path' | 'query'; schema: Schema; required?: boolean }
type Operation = {
  security?: unknown[]
  parameters?: Parameter[]
  requestBody?: { content: Record<string, { schema: Schema }> }
}
type Door = { method: string; path: string; about: string; tenant: boolean; open: boolean; operation: Operation }
type Sent = {
  method: string
  path: string
  host?: string
  headers?: Record<string, string>
  body?: string | Buffer
  chunked?: boolean
}
type Answer = { status: number; headers: Headers; text: string; body: any }

let port: number
let stops: (() => Promise<void>)[] = []
let doors: Door[]
let schemas: Record<string, Schema>
let secrets: string[]
let id: string
const tokens = { operator: '', acme: '', beta: '' }
const agent = new Agent({ keepAlive: true })
let asked = 0
/** Answers that lack a header which every answer has. */
const bare: string[] = []

beforeAll(async () => {
  const { path: dataDir, remove } = await folderWithMaster('freehold-routes')
  stops = [remove]
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const quiet = { dataDir, log: () => {} }
  const operator = { ...OPERATOR, must_change_password: false }
  const stack = await startStack({ ...quiet, given, operator, durable: false, operationMs: 0 })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env)
  stops.unshift(worker.stop)
  port = worker.port
  if (process.env.BEHIND_COMPRESSION) {
    const proxy = await startCompressing(worker.port)
    stops.unshift(proxy.stop)
    port = proxy.port
  }
  const { MASTER_DATABASE_URL = '', MASTER_READER_URL = '', ENCRYPTION_KEYS = '', OWNER_KEYS = '', NEON_API_KEY = '' } = stack.env
  const passwords = [MASTER_DATABASE_URL, MASTER_READER_URL].map((login) => new URL(login).password)
  secrets = [...passwords, ENCRYPTION_KEYS.slice(3), OWNER_KEYS.slice(3), NEON_API_KEY].filter((secret) => secret.length > 7)
  tokens.operator = await tokenOf('/platform/v1/auth/login', 'localhost', OPERATOR)
  const made = await Promise.all(['acme', 'beta'].map(makeTenant))
  id = made[0].id
  tokens.acme = await tokenOf('/api/v1/auth/login', 'acme.localhost', ADMIN)
  tokens.beta = await tokenOf('/api/v1/auth/login', 'beta.localhost', ADMIN)
  const document = (await send({ method: 'GET', path: '/openapi.json' })).body
  schemas = document.components.schemas
  // Those of OAuth take forms and refuse in another form: test/oauth.
  const paths = Object.entries(document.paths as Record<string, Record<string, Operation>>)
  doors = paths
    .filter(([path]) => !path.startsWith('/oauth/'))
    .flatMap(([path, operations]) =>
      Object.entries(operations).map(([verb, operation]) => ({
        method: verb.toUpperCase(),
        path,
        about: `${verb.toUpperCase()} ${path}`,
        tenant: !path.startsWith('/platform/'),
        // Or with a session, if one is sent.
        open: !operation.security?.length || operation.security.some((one) => Object.keys(one as object).length === 0),
        operation,
      })),
    )
})

afterAll(async () => {
  agent.destroy()
  for (const stop of stops) await stop()
  console.log(`${asked} requests at ${doors?.length} documented doors.`)
})

/** The page has a policy of its own. */
const policyOf = (path: string, status: number): Record<string, string> =>
  path === '/docs' && status === 200 ? { 'Content-Security-Policy': POLICY } : {}

/** A request exactly as written. */
function send(sent: Sent): Promise<Answer> {
  asked++
  const { method, path, host = 'localhost', headers = {}, body, chunked } = sent
  const length = body === undefined || chunked ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
  const framing = chunked ? { 'Transfer-Encoding': 'chunked' } : length
  return new Promise((done, fail) => {
    const asking = request(
      { host: '127.0.0.1', port, method, path, agent, headers: { Host: host, ...ACCEPTING, ...framing, ...headers } },
      (response) => {
        const parts: Buffer[] = []
        response.on('data', (part) => parts.push(part))
        const answered = () => {
          const sent = Buffer.concat(parts)
          const text = (response.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent).toString()
          const seen = new Headers(
            Object.entries(response.headers).map(([name, value]): [string, string] => [name, String(value)]),
          )
          const isJson = /json/.test(seen.get('Content-Type') ?? '') && text
          const status = response.statusCode ?? 0
          // Without a trace id it is not the Worker's: what the runtime refuses by itself, a method that it does not know.
          if (seen.has('X-Trace-Id'))
            bare.push(
              ...unguarded(path, { headers: seen }, policyOf(path, status)).map((lack) => `${method} ${path} ${status} ${lack}`),
            )
          done({ status, headers: seen, text, body: isJson ? JSON.parse(text) : text })
        }
        response.on('end', answered)
        // A stream does not end while it is read.
        if (method === 'GET' && response.headers['content-type'] === 'text/event-stream')
          response.once('data', () => {
            answered()
            response.destroy()
          })
        else response.on('error', fail)
      },
    )
    asking.on('error', fail)
    if (chunked && body !== undefined) asking.write(body)
    asking.end(chunked ? undefined : body)
  })
}

const posted = (path: string, host: string, body: unknown, headers: Record<string, string> = {}) =>
  send({ method: 'POST', path, host, headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body) })

async function tokenOf(path: string, host: string, login: typeof ADMIN): Promise<string> {
  const { status, body, text } = await posted(path, host, login)
  expect(status, text).toBe(200)
  return body.access_token
}

async function makeTenant(subdomain: string) {
  const wanted = {
    subdomain,
    legal_name: subdomain,
    tax_id: rucFor(subdomain),
    admin_email: ADMIN.email,
    admin_password: ADMIN.password,
  }
  const headers = { Authorization: `Bearer ${tokens.operator}`, Prefer: 'wait=30' }
  const { status, body, text } = await posted('/platform/v1/tenants', 'localhost', wanted, headers)
  expect(status, text).toBe(201)
  return body
}

const deref = (schema: Schema): Schema => (schema.$ref ? (schemas[schema.$ref.split('/').at(-1) ?? ''] ?? {}) : schema)
const hostOf = (door: Door) => (door.tenant ? 'acme.localhost' : 'localhost')
/** The address of a door: what is named by an id is `value`, what has a name of its own is one that there is. */
const pathOf = (door: Door, value = id) =>
  door.path.replace(/\{([^}]+)\}/g, (_, name) =>
    isId(door, name)
      ? value
      : encodeURIComponent(({ key: 'gold', provider: 'google' } as Record<string, string>)[name] ?? 'user:read'),
  )
const isId = ({ operation }: Door, name: string) =>
  operation.parameters?.find((parameter) => parameter.in === 'path' && parameter.name === name)?.schema.format === 'uuid'
/** The token that this door is for. */
const right = (door: Door) => (door.tenant ? tokens.acme : tokens.operator)
const typesOf = (door: Door) => Object.keys(door.operation.requestBody?.content ?? {})
/** A door that takes lines or a file: test/users/import.test.ts and test/settings/logo.test.ts knock at it with those. */
const takesOther = (door: Door) => typesOf(door).every((type) => !/json$|form/.test(type) || type === 'application/x-ndjson')
const schemaOf = (door: Door, type = 'application/json') => deref(door.operation.requestBody?.content[type]?.schema ?? {})
/** What a schema may be: itself, or what it offers to choose from. */
const choices = (schema: Schema): Schema[] => {
  const { anyOf, oneOf, allOf, ...plain } = deref(schema)
  // A schema that another one refers to, to describe it.
  const described = allOf?.find(({ $ref }) => $ref)
  if (described) return choices(described)
  const offered = [...(anyOf ?? []), ...(oneOf ?? [])]
  return offered.length ? offered.flatMap(choices) : [plain]
}
const typesIn = (schema: Schema) =>
  choices(schema).flatMap(({ type }) => [type ?? []].flat().map((name) => (name === 'integer' ? 'number' : name)))
const WORDS = ['x', 'user:read', 'REPORT_SENT', 'x@people.test', '2030-01-01T00:00:00Z', NOBODY, 'en', 'UTC']
const FORMATS: Record<string, string> = { uuid: NOBODY, email: 'x@people.test', 'date-time': '2030-01-01T00:00:00Z' }

/** Something that a schema lets pass. */
function sampleOf(schema: Schema): unknown {
  const [first = {}] = choices(schema).filter(({ type }) => type !== 'null')
  const [type] = [first.type ?? []].flat().filter((name) => name !== 'null')
  if (first.enum) return first.enum[0]
  if (type === 'array') return first.minItems ? [sampleOf(first.items ?? {})] : []
  if (type === 'object') return bodyFor(first)
  if (type === 'boolean') return true
  if (type === 'integer' || type === 'number') return 1
  const { pattern, format } = first
  return FORMATS[format ?? ''] ?? WORDS.find((word) => !pattern || new RegExp(pattern, 'u').test(word)) ?? 'x'
}
/** A body with every field that there must be, each of a kind that may be; whether the door would like it is not asked. */
const bodyFor = (schema: Schema): Record<string, unknown> =>
  Object.fromEntries((schema.required ?? []).map((name) => [name, sampleOf(schema.properties?.[name] ?? {})]))

/** A request at a door, with the right host, token, content type and a body of the right shape, but for what `more` changes. */
function at(door: Door, more: Partial<Sent> & { token?: string | null } = {}): Promise<Answer> {
  const { token = right(door), headers, ...rest } = more
  const takes = typesOf(door).length > 0
  const other = takesOther(door)
  return send({
    method: door.method,
    host: hostOf(door),
    path: pathOf(door),
    ...(takes && { body: other ? '' : JSON.stringify(bodyFor(schemaOf(door))) }),
    ...rest,
    headers: {
      ...(takes && { 'Content-Type': other ? (typesOf(door)[0] ?? '') : 'application/json' }),
      ...(token !== null && !door.open && { Authorization: `Bearer ${token}` }),
      ...headers,
    },
  })
}

type Row = { about: string; ask: () => Promise<Answer>; status: number; code: string; pointer?: string }

/** Asks all rows and gives what went wrong as one list, so that one door does not hide another. */
async function hold(rows: Row[]) {
  const wrong: string[] = []
  expect(rows.length).toBeGreaterThan(0)
  const one = async ({ about, ask, status, code, pointer }: Row) => {
    try {
      const answer = await ask()
      expectProblem(answer, status, code)
      expectDiscreet(answer, ...secrets)
      for (const [, value] of answer.headers) for (const secret of secrets) expect(value).not.toContain(secret)
      expect(answer.headers.get('Cache-Control')).toBe('no-store')
      expect(answer.headers.get('X-Content-Type-Options')).toBe('nosniff')
      if (pointer !== undefined) expect(pointers(answer)).toContain(pointer)
    } catch (error) {
      wrong.push(`${about}: expected ${status} ${code}: ${String(error).slice(0, 400)}`)
    }
  }
  for (let i = 0; i < rows.length; i += AT_ONCE) await Promise.all(rows.slice(i, i + AT_ONCE).map(one))
  expect(wrong).toEqual([])
}

const guarded = () => doors.filter((door) => !door.open)
const withBody = () => doors.filter((door) => typesOf(door).length && !takesOther(door))

describe('whoever comes', () => {
  test('the document names doors of all kinds, and every one that is not open asks for a token', async () => {
    expect(doors.filter((door) => door.tenant).length).toBeGreaterThan(5)
    expect(doors.filter((door) => !door.tenant).length).toBeGreaterThan(5)
    await hold(
      guarded().map((door) => ({ about: door.about, ask: () => at(door, { token: null }), status: 401, code: 'token_missing' })),
    )
  })

  test('with garbage for a token, or another scheme, is refused', async () => {
    const garbage = ['garbage', 'a.b.c', '...', `${tokens.acme.slice(0, -4)}AAAA`.replace(/^[^.]+/, 'e30'), 'x'.repeat(8_000)]
    await hold(
      guarded().flatMap((door) => [
        ...garbage.map((token, i) => ({
          about: `${door.about} garbage ${i}`,
          ask: () => at(door, { token }),
          status: 401,
          // The claims of a token name its tenant also when the rest of it is garbage.
          code: i === 3 && !door.tenant ? 'token_wrong_tenant' : 'token_invalid',
        })),
        {
          about: `${door.about} Basic`,
          ask: () => at(door, { headers: { Authorization: 'Basic Ym86Ym8=' } }),
          status: 401,
          code: 'token_invalid',
        },
      ]),
    )
  })

  test('with a token of another tenant, or of the other plane, is refused', async () => {
    await hold(
      guarded().flatMap((door) =>
        Object.entries(tokens)
          .filter(([, token]) => token !== right(door))
          .map(([whose, token]) => ({
            about: `${door.about} with the token of ${whose}`,
            ask: () => at(door, { token }),
            status: 401,
            code: 'token_wrong_tenant',
          })),
      ),
    )
  })

  test('the same tokens are let in where they belong, so that every refusal above has its own reason', async () => {
    for (const door of doors.filter(({ path }) => path.endsWith('/auth/me')))
      expect((await at(door)).status, door.about).toBe(200)
  })
})

describe('what they send', () => {
  const typed = (type: string, body: string) => ({ headers: { 'Content-Type': type }, body })

  test('may not be larger than 1 MiB, or 16 KiB under /auth, said or found out; who asks is told first if they may not', async () => {
    const largeFor = ({ path }: Door) => Buffer.alloc((/^\/(api|platform)\/v1\/auth\//.test(path) ? MIB / 64 : MIB) + 1, 'x')
    await hold([
      ...[false, true].flatMap((chunked) =>
        withBody().map((door) => ({
          about: `${door.about} ${chunked ? 'in chunks' : 'with a length'}`,
          ask: () => at(door, { body: largeFor(door), chunked }),
          status: 413,
          code: 'body_too_large',
        })),
      ),
      ...[false, true].flatMap((chunked) =>
        guarded()
          .filter((door) => typesOf(door).length)
          .map((door) => ({
            about: `${door.about} ${chunked ? 'in chunks' : 'with a length'} and garbage for a token`,
            ask: () => at(door, { token: 'a.b.c', body: largeFor(door), chunked }),
            status: 401,
            code: 'token_invalid',
          })),
      ),
    ])
  })

  test('must be JSON, and said to be', async () => {
    await hold(
      withBody().flatMap((door) => [
        ...['{', '', '{"a":1,}', "{'a':1}", '\u0000', 'undefined', '{"a":1}{"a":2}'].map((body) => ({
          about: `${door.about} ${JSON.stringify(body)}`,
          ask: () => at(door, { body }),
          status: 400,
          code: 'invalid_request',
        })),
        ...['null', '[]', '7', '"text"', 'true', '[{}]'].map((body) => ({
          about: `${door.about} ${body}`,
          ask: () => at(door, { body }),
          status: 400,
          code: 'invalid_request',
        })),
        ...['text/plain', 'application/xml', 'application/problem+json', 'application/jsonp', 'text/json', 'nonsense'].map(
          (type) => ({
            about: `${door.about} as ${type}`,
            ask: () => at(door, typed(type, '{}')),
            status: 415,
            code: 'unsupported_media_type',
          }),
        ),
        ...['application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']
          .filter(() => !typesOf(door).includes('application/x-www-form-urlencoded'))
          .map((type) => ({
            about: `${door.about} as ${type}`,
            ask: () => at(door, typed(type, 'a=1')),
            status: 415,
            code: 'unsupported_media_type',
          })),
      ]),
    )
  })

  test('has every field that it must have and none that nobody asked for', async () => {
    await hold(
      withBody().flatMap((door) => {
        const schema = schemaOf(door)
        const body = bodyFor(schema)
        return [
          ...(schema.required ?? []).map((name) => ({
            about: `${door.about} without ${name}`,
            ask: () => at(door, { body: JSON.stringify({ ...body, [name]: undefined }) }),
            status: 400,
            code: 'invalid_request',
            pointer: `#/${name}`,
          })),
          ...['surprise', 'is_admin', 'constructor', 'a/b~c'].map((name) => ({
            about: `${door.about} with ${name}`,
            ask: () => at(door, { body: JSON.stringify({ ...body, [name]: 1 }) }),
            status: 400,
            code: 'invalid_request',
            pointer: `#/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`,
          })),
          {
            about: `${door.about} with __proto__`,
            ask: () => at(door, { body: `{"__proto__":{"is_admin":true}}` }),
            status: 400,
            code: 'invalid_request',
          },
        ]
      }),
    )
  })

  test('says nothing twice and nothing in the name of __proto__, not inside of free JSON either', async () => {
    const free: string[] = []
    const rows = withBody().flatMap((door) => {
      const schema = schemaOf(door)
      const body = bodyFor(schema)
      const row = (text: string, pointer: string) => ({
        about: `${door.about} ${text}`,
        ask: () => at(door, { body: text }),
        status: 400,
        code: 'invalid_request',
        pointer,
      })
      return Object.entries(schema.properties ?? {}).flatMap(([name, given]) => {
        const value = JSON.stringify(sampleOf(given))
        const rest = Object.entries({ ...body, [name]: undefined }).flatMap(([key, other]) =>
          other === undefined ? [] : [`,${JSON.stringify(key)}:${JSON.stringify(other)}`],
        )
        const twice = row(`{"${name}":${value},"${name}":${value}${rest.join('')}}`, `#/${name}`)
        if (!typesIn(given).includes('object')) return [twice]
        free.push(`${door.about} ${name}`)
        return [
          twice,
          row(`{"${name}":{"a":1,"a":1}${rest.join('')}}`, `#/${name}/a`),
          row(`{"${name}":{"__proto__":{"is_admin":true}}${rest.join('')}}`, `#/${name}/__proto__`),
          row(`{"${name}":{"a":[{"\\u005f_proto__":1}]}${rest.join('')}}`, `#/${name}/a/0/__proto__`),
        ]
      })
    })
    const fields = new Set(free.map((about) => about.split(' ').at(-1)))
    expect([...fields]).toEqual(expect.arrayContaining(['preferences', 'before', 'after', 'config']))
    await hold(rows)
  })

  test('has the right type in every field', async () => {
    await hold(
      withBody().flatMap((door) => {
        const schema = schemaOf(door)
        return Object.entries(schema.properties ?? {}).flatMap(([name, given]) => {
          const [field = {}] = choices(given)
          const types = typesIn(given)
          const wrong: unknown[] = [null, 7, true, [], {}, ['x'], 'no-such'].filter((value) => {
            if (value === 'no-such') return field.enum
            return !types.includes(value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value)
          })
          if (types.includes('string') && field.minLength) wrong.push('')
          if (types.includes('string') && field.maxLength) wrong.push('x'.repeat(field.maxLength + 1))
          return wrong.map((value) => ({
            about: `${door.about} ${name}=${JSON.stringify(value).slice(0, 40)}`,
            ask: () => at(door, { body: JSON.stringify({ ...bodyFor(schema), [name]: value }) }),
            status: 400,
            code: 'invalid_request',
            pointer: `#/${name}`,
          }))
        })
      }),
    )
  })

  test('as a form is held to the same', async () => {
    const form = 'application/x-www-form-urlencoded'
    await hold(
      withBody()
        .filter((door) => typesOf(door).includes(form))
        .flatMap((door) => {
          const schema = schemaOf(door, form)
          const words = (more: Record<string, string>) =>
            new URLSearchParams({ ...(bodyFor(schema) as Record<string, string>), ...more }).toString()
          return [
            ...(schema.required ?? []).map((name) => ({
              about: `${door.about} form without ${name}`,
              ask: () => at(door, typed(form, words({}).replace(`${name}=x`, ''))),
              status: 400,
              code: 'invalid_request',
              pointer: `#/${name}`,
            })),
            ...(schema.required ?? []).map((name) => ({
              about: `${door.about} form with ${name} twice`,
              ask: () => at(door, typed(form, `${words({})}&${name}=y`)),
              status: 400,
              code: 'invalid_request',
              pointer: `#/${name}`,
            })),
          ]
        }),
    )
  })

  test('names things that can be, in the path and in the query', async () => {
    const named = doors.filter((door) => pathOf(door, 'a') !== pathOf(door, 'b'))
    const asking = doors.filter(({ operation }) => operation.parameters?.some((parameter) => parameter.in === 'query'))
    const paged = asking.filter(({ operation }) => operation.parameters?.some(({ name }) => name === 'cursor'))
    await hold([
      ...named.flatMap((door) => [
        ...['x', '0', '%27', `${id}0`, '..%2f', '%00', `${id}%0a`, 'x'.repeat(2_000)].map((value) => ({
          about: `${door.about} ${value.slice(0, 60)}`,
          ask: () => at(door, { path: pathOf(door, value) }),
          status: 400,
          code: 'invalid_request',
        })),
        // A file that is none is refused before anybody is looked for.
        ...(typesOf(door).length > 0 && takesOther(door)
          ? []
          : [
              {
                about: `${door.about} of nobody`,
                ask: () => at(door, { path: pathOf(door, crypto.randomUUID()) }),
                status: 404,
                code: 'not_found',
              },
            ]),
      ]),
      ...asking.map((door) => ({
        about: `${door.about}?surprise`,
        ask: () => at(door, { path: `${pathOf(door)}?surprise=1` }),
        status: 400,
        code: 'invalid_request',
        pointer: '#/query/surprise',
      })),
      ...paged.flatMap((door) => [
        ...['limit=0', 'limit=101', 'limit=x', 'limit=1.5', 'limit=-1', 'limit=', 'limit=1&limit=2', 'limit=1e400'].map(
          (query) => ({
            about: `${door.about}?${query}`,
            ask: () => at(door, { path: `${pathOf(door)}?${query}` }),
            status: 400,
            code: 'invalid_request',
          }),
        ),
        ...['cursor=x', 'cursor=%00', 'cursor=e30'].map((query) => ({
          about: `${door.about}?${query}`,
          ask: () => at(door, { path: `${pathOf(door)}?${query}` }),
          status: 400,
          code: 'invalid_cursor',
        })),
      ]),
    ])
  })
})

describe('where they knock', () => {
  test('nobody opens at an address that does not exist', async () => {
    const nowhere = ['/', '/nothing', '/favicon.ico', '/.env', '/platform', '/platform/v1', '/api', '/api/v2/auth/me', '/HEALTHZ']
    const below = [
      '/api/v1',
      '/api/v1/nothing',
      '/api/v1/auth',
      '/api/v1/auth/me/more',
      '/api/v1/AUTH/me',
      '/api/v1/tenants',
      '/.well-known',
      '/.well-known/nothing',
    ]
    const platform = [
      '/platform/v1/nothing',
      '/platform/v1/auth',
      `/platform/v1/tenants/${'a'.repeat(36)}/nothing`,
      '/platform/v1/users',
    ]
    const rows = (paths: string[], host: string) =>
      paths.flatMap((path) =>
        ['GET', 'POST', 'DELETE', 'OPTIONS'].map((method) => ({
          about: `${method} ${host}${path}`,
          ask: () => send({ method, path, host }),
          status: 404,
          code: 'not_found',
        })),
      )
    await hold([
      ...rows(nowhere, 'localhost'),
      ...rows(below, 'acme.localhost'),
      ...rows(platform, 'localhost'),
      ...['/problems/nothing', '/problems/constructor', '/docs/nothing.js', '/docs/..%2fpackage.json'].map((path) => ({
        about: `GET ${path}`,
        ask: () => send({ method: 'GET', path }),
        status: 404,
        code: 'not_found',
      })),
    ])
  })

  test('each plane is where it is and nowhere else', async () => {
    await hold(
      doors.flatMap((door) =>
        door.tenant
          ? [
              {
                about: `${door.about} nobody's`,
                ask: () => at(door, { host: 'localhost', token: null }),
                status: 400,
                code: 'tenant_required',
              },
              {
                about: `${door.about} of nobody`,
                ask: () => at(door, { host: 'nobody.localhost' }),
                status: 404,
                code: 'tenant_not_found',
              },
              {
                about: `${door.about} of two`,
                ask: () => at(door, { headers: { 'X-Tenant': 'beta' } }),
                status: 400,
                code: 'tenant_ambiguous',
              },
            ]
          : [
              {
                about: `${door.about} at a tenant`,
                ask: () => at(door, { host: 'acme.localhost' }),
                status: 404,
                code: 'not_found',
              },
            ],
      ),
    )
  })

  /** The methods that are there for an address. */
  const methodsOf = (path: string) => new Set(doors.filter((door) => door.path === path).map((door) => door.method))
  const addresses = () => [
    ...[...new Map(doors.map((door) => [door.path, door])).values()].map((door) => ({
      path: pathOf(door),
      host: hostOf(door),
      allowed: [...methodsOf(door.path)],
      token: right(door),
    })),
    ...UNWRITTEN.map((path) => ({ path, host: 'localhost', allowed: ['GET'], token: '' })),
  ]

  test('with a method that is not there, they are told which are', async () => {
    const wrong: string[] = []
    for (const { path, host, allowed } of addresses())
      for (const method of METHODS.filter((name) => !allowed.includes(name) && !(name === 'HEAD' && allowed.includes('GET')))) {
        const answer = await send({ method, path, host })
        const told = answer.headers.get('Allow')?.split(/,\s*/) ?? []
        const about = `${method} ${path}: ${answer.status} Allow: ${told}`
        // OPTIONS may be answered, or be a method like any other that is not there; either way it names the methods.
        if (!(answer.status === 405 || (method === 'OPTIONS' && [200, 204].includes(answer.status)))) wrong.push(about)
        const same = told.filter((name) => !['HEAD', 'OPTIONS'].includes(name)).sort()
        if (JSON.stringify(same) !== JSON.stringify([...allowed].sort())) wrong.push(about)
        if (method !== 'HEAD' && answer.status === 405)
          try {
            expectProblem(answer, 405, 'method_not_allowed')
          } catch (error) {
            wrong.push(`${about} ${String(error).slice(0, 300)}`)
          }
        if (method === 'HEAD' && (answer.text || !answer.headers.get('X-Trace-Id')))
          wrong.push(`${about} has a body or no trace id`)
      }
    expect(wrong).toEqual([])
  })

  test('HEAD is GET without its body, and is named wherever it is answered', async () => {
    const wrong: string[] = []
    for (const { path, host, allowed, token } of addresses().filter((address) => address.allowed.includes('GET'))) {
      const headers: Record<string, string> = token ? { Authorization: `Bearer ${token}` } : {}
      const [got, head] = [
        await send({ method: 'GET', path, host, headers }),
        await send({ method: 'HEAD', path, host, headers }),
      ]
      if (got.status !== head.status || head.text || got.headers.get('Content-Type') !== head.headers.get('Content-Type'))
        wrong.push(`HEAD ${path}: ${head.status}, not ${got.status}, ${head.headers.get('Content-Type')}`)
      const without = await send({ method: 'HEAD', path, host })
      if (without.status !== (await send({ method: 'GET', path, host })).status)
        wrong.push(`HEAD ${path} without a token: ${without.status}`)
      const told = (await send({ method: 'DELETE', path, host })).headers.get('Allow')?.split(/,\s*/) ?? []
      if (!allowed.includes('DELETE') && !told.includes('HEAD')) wrong.push(`HEAD ${path} is answered, but Allow says ${told}`)
    }
    expect(wrong).toEqual([])
  })

  test('with a method of no standard of ours, they are refused all the same', async () => {
    const wrong: string[] = []
    for (const { path, host } of addresses())
      for (const method of ['PROPFIND', 'TRACE', 'QUERY', 'PURGE']) {
        // What the runtime in front does not pass on, it may refuse by itself, or by ending the connection.
        const answer = await send({ method, path, host }).catch(() => null)
        if (answer && ![400, 404, 405, 501].includes(answer.status))
          wrong.push(`${method} ${path}: ${answer.status} ${answer.text.slice(0, 200)}`)
      }
    expect(wrong).toEqual([])
  })
})

test('all that was answered so far says to browsers what it is not for', () => {
  expect(asked).toBeGreaterThan(100)
  expect([...new Set(bare)]).toEqual([])
})

test('after all of it, nothing has changed', async () => {
  for (const [path, host, token] of [
    ['/api/v1/auth/me', 'acme.localhost', tokens.acme],
    ['/api/v1/auth/me', 'beta.localhost', tokens.beta],
    ['/platform/v1/auth/me', 'localhost', tokens.operator],
  ] as const) {
    const answer = await send({ method: 'GET', path, host, headers: { Authorization: `Bearer ${token}` } })
    expect(answer.status, answer.text).toBe(200)
  }
  const list = await send({
    method: 'GET',
    path: '/platform/v1/tenants',
    headers: { Authorization: `Bearer ${tokens.operator}` },
  })
  expect(list.body.data.map(({ subdomain, status }: any) => `${subdomain} ${status}`).sort()).toEqual([
    'acme active',
    'beta active',
  ])
})
