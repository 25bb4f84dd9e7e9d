/**
 * Threat: the driver that is deployed is ours where the package has more than the Worker needs (scripts/bundle/neon-http.ts), and sends or
 * reads something else than the package does, in which the tests of everything else run.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as whole from '@neondatabase/serverless'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/neon-http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as bundled from '../../scripts/bundle/neon-http.ts'
import { started } from '../local-neon/started.ts'

type Driver = Pick<typeof whole, 'neon' | 'neonConfig' | 'types'>
const drivers = { whole: whole as Driver, bundled: bundled as unknown as Driver }
/** Where each sends its requests unless it is told. */
const USUAL = Object.fromEntries(Object.entries(drivers).map(([name, { neonConfig }]) => [name, neonConfig.fetchEndpoint]))
const CONNECTION = 'postgresql://bo:s%26cret@ep-x.us-east-2.aws.neon.tech/acme?sslmode=require'

// drizzle sets its own parsers in the driver that it imports, which here is the package.
for (const { types } of Object.values(drivers))
  for (const oid of [1184, 1114, 1082, 1186, 1231, 1115, 1185, 1187, 1182]) types.setTypeParser(oid, (value) => value)

/** What both do, in the same words. */
async function both<T>(one: (driver: Driver) => Promise<T>): Promise<T> {
  const told: unknown[] = []
  for (const driver of Object.values(drivers))
    told.push(await Promise.resolve(one(driver)).catch((error: Error) => ({ ...error, error })))
  const plain = (value: unknown) =>
    JSON.parse(JSON.stringify(value, (_, part) => (part instanceof Error ? [part.name, part.message] : part)) ?? 'null')
  expect(plain(told[1])).toEqual(plain(told[0]))
  return told[0] as T
}

describe('what is sent', () => {
  let url: string
  let answer: { status: number; text: string }
  const seen: { path: string; headers: Record<string, unknown>; body: { params?: unknown[] } }[] = []
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part)
    const { 'neon-connection-string': connection, ...rest } = request.headers
    const { searchParams, username, password, pathname, host } = new URL(String(connection))
    searchParams.delete('application_name')
    const headers = Object.fromEntries(Object.entries(rest).filter(([name]) => /^neon-|^content-type$/.test(name)))
    seen.push({
      path: request.url ?? '',
      headers: { ...headers, connection: [username, password, host, pathname, String(searchParams)] },
      body: JSON.parse(Buffer.concat(parts).toString()),
    })
    response.writeHead(answer.status, { 'Content-Type': 'application/json' }).end(answer.text)
  })
  const ROWS = JSON.stringify({ fields: [], rows: [], command: 'SELECT', rowCount: 0 })

  beforeAll(async () => {
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sql`
  })
  afterAll(() => void server.close())

  async function asked(ask: (driver: Driver) => Promise<unknown>, told = { status: 200, text: ROWS }) {
    answer = told
    seen.length = 0
    for (const driver of Object.values(drivers)) {
      driver.neonConfig.fetchEndpoint = () => url
      await Promise.resolve(ask(driver)).catch(() => undefined)
    }
  }
  /** The request of both, which is the same. */
  async function sent(...given: Parameters<typeof asked>) {
    await asked(...given)
    const [first, second] = seen
    if (!first) throw new Error('Nothing was sent.')
    expect(second).toEqual(first)
    return first
  }

  it.each([
    ['text, numbers and null', ['a', 1, 1.5, -0, true, false, null, undefined, 12n, '']],
    ['lists', [['a', 'b"c', 'd\\e', null, undefined, 1, true, ['x', ['y']]], [], [[]], [{ a: '"' }]]],
    ['objects', [{ a: [1, '"'], b: null }, { toJSON: (): string => 'x' }]],
    ['bytes', [new Uint8Array([0, 1, 254, 255]), Buffer.from('ab'), new DataView(new Uint8Array([1, 2, 3]).buffer, 1)]],
  ])('has the parameters as text: %s', async (_, params) => {
    const request = await sent(({ neon }) => neon(CONNECTION).query('select $1', params as unknown[]) as Promise<unknown>)
    expect(request.body.params).toHaveLength(params.length)
  })

  it('has a moment as the same moment, in whichever zone it is written', async () => {
    const moment = new Date('2026-03-01T09:30:00.123Z')
    await asked(({ neon }) => neon(CONNECTION).query('select $1', [moment]) as Promise<unknown>)
    expect(seen.map(({ body }) => new Date(String(body.params?.[0])).getTime())).toEqual([moment.getTime(), moment.getTime()])
  })

  it.each([[{}], [{ readOnly: true }], [{ readOnly: false }]])('of a transaction with %j is one request', async (options) => {
    const text = JSON.stringify({ results: [JSON.parse(ROWS), JSON.parse(ROWS)] })
    const request = await sent(
      ({ neon }) => {
        const client = neon(CONNECTION, options)
        return client.transaction([client.query('select 1'), client.query('select $1', ['a'])])
      },
      { status: 200, text },
    )
    expect(request.body).toMatchObject({ queries: [{ query: 'select 1', params: [] }, { params: ['a'] }] })
  })

  it('goes to the host of the region, or to where it was told', async () => {
    const asked: string[] = []
    for (const [name, { neonConfig, neon }] of Object.entries(drivers)) {
      neonConfig.fetchFunction = async (at: string) => {
        asked.push(at)
        return new Response(ROWS)
      }
      for (const endpoint of [USUAL[name], 'http://localhost:1/sql', (host: string) => `https://${host}/x`]) {
        if (endpoint) neonConfig.fetchEndpoint = endpoint
        await neon(CONNECTION).query('select 1')
      }
      neonConfig.fetchFunction = undefined
    }
    expect(asked.slice(3)).toEqual(asked.slice(0, 3))
    expect(asked.slice(0, 3)).toEqual([
      'https://api.us-east-2.aws.neon.tech/sql',
      'http://localhost:1/sql',
      'https://ep-x.us-east-2.aws.neon.tech/x',
    ])
  })

  it.each([
    [
      'an error of the database',
      { status: 400, text: JSON.stringify({ message: 'no', code: '23505', detail: 'd', constraint: 'c' }) },
    ],
    ['an error of the proxy', { status: 500, text: 'all gone' }],
    ['no JSON', { status: 200, text: '<html>' }],
    ['no results', { status: 200, text: '{}' }],
  ])('and answered with %s fails in the same way', async (_, told) => {
    answer = told
    for (const { neonConfig } of Object.values(drivers)) neonConfig.fetchEndpoint = () => url
    const failed = await both(async ({ neon }) => {
      const client = neon(CONNECTION)
      return client.transaction([client.query('select 1')])
    })
    expect(failed).toHaveProperty('error')
  })

  it('to nobody, or by something that is no connection string, fails in the same way', async () => {
    for (const { neonConfig } of Object.values(drivers)) neonConfig.fetchEndpoint = () => 'http://127.0.0.1:1/sql'
    for (const connection of [CONNECTION, 'postgresql://ep-x.neon.tech/acme', 'https://a:b@c/d', 'postgresql://a:b@c'])
      expect(await both(async ({ neon }) => neon(connection).query('select 1'))).toHaveProperty('error.name', 'NeonDbError')
  })
})

describe('what is read', () => {
  const local = started()
  let connection: string
  beforeAll(async () => {
    connection = (await local.newProject()).uri
  })
  const asking = <T>(ask: (client: ReturnType<Driver['neon']>) => Promise<T>) =>
    both(({ neon, neonConfig }) => {
      neonConfig.fetchEndpoint = () => local.state.sqlUrl
      return ask(neon(connection))
    })

  it.each([
    ["select 1::int4 a, 2::int8 b, 3::int2 c, 1.5::float8 d, 2.5::numeric e, true f, null::text g, 'x'::text h, 7::oid i"],
    [`select '{"a":[1]}'::jsonb a, '[1]'::json b, array['x','y,"z',null] c, array[1,2] d, array[true] e, array[1::int8] f`],
    [
      "select '2026-03-01T09:30Z'::timestamptz a, '2026-03-01'::date b, '1 day'::interval c, now()::timestamp - now()::timestamp d",
    ],
    ["select 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid b, '10.0.0.0/8'::cidr c, '{a,b}'::name[] d"],
    ["select '{}'::text[] a, '{{1,2},{3,4}}'::int[] b, '{null}'::jsonb[] c, (1, 'x') d, '(1,2)'::point e"],
    ['create table t (a int)'],
    ['select no_such_column'],
  ])('of %s is the same, as objects, as lists and with all that the answer says', async (query) => {
    for (const options of [{}, { arrayMode: true }, { fullResults: true }, { arrayMode: true, fullResults: true }]) {
      const rows = await asking(async (client) => {
        const answer = await client.query(query, [], options)
        if (query.startsWith('create')) await client.query('drop table t')
        const { _parsers, _types, ...rest } = answer as unknown as Record<string, unknown>
        return Array.isArray(answer) ? answer : rest
      })
      expect(rows).toBeDefined()
    }
  })

  it('of bytes is bytes', async () => {
    const { neon, neonConfig } = drivers.bundled
    neonConfig.fetchEndpoint = () => local.state.sqlUrl
    const rows = await neon(connection).query("select '\\x00ff10'::bytea a")
    expect(rows).toEqual([{ a: Uint8Array.of(0, 255, 16) }])
  })

  it('by drizzle is the same: rows of a batch, and what one of them refuses', async () => {
    const run = async ({ neon, neonConfig }: Driver) => {
      neonConfig.fetchEndpoint = () => local.state.sqlUrl
      const db = drizzle({ client: neon(connection) })
      const results = await db.batch([
        db.execute(sql`select ${'a'}::text a, ${[1, 2].length}::int n`),
        db.execute(sql`select 1 x`),
      ])
      const refused = await db.batch([db.execute(sql`select 1 / 0`)]).catch(({ code, message }) => [code, message])
      return [results.map(({ rows }) => rows), refused]
    }
    expect(await run(drivers.bundled)).toEqual(await run(drivers.whole))
  })

  it('of a transaction that only reads cannot write', async () => {
    const refused = await both(async ({ neon, neonConfig }) => {
      neonConfig.fetchEndpoint = () => local.state.sqlUrl
      const client = neon(connection, { readOnly: true })
      return client.transaction([client.query('create table never (a int)')])
    })
    expect(refused).toMatchObject({ code: '25006' })
  })
})
