/**
 * Threat: a database that an operator names is of a kind that Freehold does not run on, has a login that may do too much or too little,
 * or is at a host that answers lies, for ever, or what it was sent. Behind the Worker is a proxy that speaks Neon's SQL over HTTP, and
 * changes the answers of the hosts that a test names.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { workerOptions } from '../../scripts/release/worker.ts'
import { ROOT } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { type Ask, askAt } from '../support/node/ask.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { bundled, runInWorkerd } from '../support/node/workerd.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const SECRET = 'Hunter-2-in-clear'
const MIB = 1024 * 1024

/** Answers in place of a host; `real` is what the host itself answers. */
type Playing = (answer: ServerResponse, real: () => Promise<{ status: number; text: string }>, sent: string) => unknown

let stops: (() => Promise<unknown>)[] = []
let stack: Stack
let port: number
let token: string
let playing: { host: string; play: Playing } | null = null
/** What the Worker logged, and what it answered. */
const lines: string[] = []
const answers: string[] = []
let n = 0
/** Every password of a connection string that was given. */
const secrets = new Set([SECRET])

const ask = async (path: string, asked: Ask = {}) => {
  const answer = await askAt(port, path, asked)
  answers.push(JSON.stringify(answer.body))
  return answer
}

async function bodyOf(asked: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of asked) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** In front of the databases. */
async function startProxy(to: string) {
  const server = createServer(async (asked, answer) => {
    const sent = String(asked.headers['neon-connection-string'] ?? '')
    const body = await bodyOf(asked)
    const {
      host: _host,
      connection: _connection,
      'content-length': _length,
      'transfer-encoding': _coding,
      ...headers
    } = asked.headers
    const real = async () => {
      const given = await fetch(to, { method: 'POST', headers: headers as Record<string, string>, body: new Uint8Array(body) })
      return { status: given.status, text: await given.text() }
    }
    answer.on('error', () => undefined)
    if (playing && URL.canParse(sent) && new URL(sent).hostname === playing.host) return playing.play(answer, real, sent)
    const { status, text } = await real().catch(() => ({ status: 502, text: '' }))
    answer.writeHead(status, { 'content-type': 'application/json' }).end(text)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const stop = async () => {
    server.closeAllConnections()
    server.close()
  }
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}/sql`, stop }
}

beforeAll(async () => {
  const { path: dataDir, remove } = await folderWithMaster('freehold-hosts')
  stops = [remove]
  const given = { ...LOW_COST, BASE_URL: 'http://localhost', ...KEYS }
  const operator = { ...OPERATOR, must_change_password: false }
  stack = await startStack({ dataDir, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  const proxy = await startProxy(stack.neon.sqlUrl)
  stops.unshift(proxy.stop)
  const modules = await bundled()
  const env = { ...stack.env, NEON_SQL_URL: proxy.url }
  const worker = await runInWorkerd({ modules, options: workerOptions(ROOT), env, heard: (line) => void lines.push(line) })
  stops.unshift(worker.stop)
  port = worker.port
  token = (await ask('/platform/v1/auth/login', { body: OPERATOR })).body.access_token
  answers.length = 0
})
afterEach(() => {
  playing = null
})
afterAll(async () => {
  for (const stop of stops) await stop()
})

/** Runs SQL as Postgres' superuser. */
async function asSuper(database: string, ...texts: string[]): Promise<any[]> {
  const { hostname: host, port: at, username: user, password } = new URL(stack.neon.postgresUrl)
  const client = new Client({ host, port: Number(at), user, password, database })
  await client.connect()
  try {
    let rows: any[] = []
    for (const text of texts) rows = (await client.query(text)).rows
    return rows
  } finally {
    await client.end()
  }
}

async function neon(path: string, body: object): Promise<any> {
  const headers = { Authorization: `Bearer ${stack.neon.apiKey}`, 'Content-Type': 'application/json' }
  return (await fetch(`${stack.neon.apiUrl}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })).json()
}

type Shop = { url: string; host: string; database: string; real: string; owner: string }
/** A database of somebody else's, whose owner is a role of Neon's API. `real` and `owner` are their names in the cluster. */
async function strangersDatabase(database = `hosts_shop_${++n}`): Promise<Shop> {
  const { project, branch, roles, connection_uris } = await neon('/projects', { project: { name: `stranger-${Math.random()}` } })
  await neon(`/projects/${project.id}/branches/${branch.id}/databases`, {
    database: { name: database, owner_name: roles[0].name },
  })
  const url = Object.assign(new URL(connection_uris[0].connection_uri), { pathname: `/${encodeURIComponent(database)}` }).href
  const [at] = (await sqlAt(url, 'select current_database() as real, current_user as owner')).rows
  return { url, host: new URL(url).hostname, database, real: at.real, owner: at.owner }
}
async function sqlAt(url: string, query: string): Promise<any> {
  const body = JSON.stringify({ query, params: [] })
  const answer = await fetch(stack.neon.sqlUrl, { method: 'POST', headers: { 'Neon-Connection-String': url }, body })
  const read = await answer.json()
  expect(answer.status, JSON.stringify(read)).toBe(200)
  return read
}

/** Asks for an adoption, and gives what is said of it. */
async function adopt(connection_string: string, name = `hosts-${++n}`) {
  if (URL.canParse(connection_string)) secrets.add(decodeURIComponent(new URL(connection_string).password))
  const { status, body } = await ask('/platform/v1/tenants/adopt', {
    token,
    headers: { Prefer: 'wait=30' },
    body: {
      subdomain: name,
      legal_name: `${name} S.A.C.`,
      tax_id: rucFor(name),
      admin_email: ADMIN.email,
      admin_password: ADMIN.password,
      connection_string,
    },
  })
  const statements: string[] = (body.errors ?? []).map(({ detail }: { detail: string }) => detail)
  return { name, id: body.id as string, status, code: body.code, detail: body.detail as string, statements, body }
}
const login = (at: string) => ask('/api/v1/auth/login', { at, body: ADMIN })

/** Plays the host of a database, whose real answer has another value in a column. */
const altered =
  (column: string, value: unknown): Playing =>
  async (answer, real) => {
    const { status, text } = await real()
    const read = JSON.parse(text)
    for (const { fields, rows } of read.results ?? []) {
      const place = fields.findIndex(({ name }: { name: string }) => name === column)
      for (const row of place < 0 ? [] : rows) row[Array.isArray(row) ? place : column] = value
    }
    answer.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(read))
  }
const says =
  (status: number, body: unknown, headers: Record<string, string> = { 'content-type': 'application/json' }): Playing =>
  (answer) =>
    answer.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body))

describe('a database', () => {
  let shop: Shop
  beforeAll(async () => {
    shop = await strangersDatabase('shop')
  })

  it.each<[string, string, unknown, string]>([
    ['of Postgres 14', 'version', '14', 'The database is of Postgres 14: it must be of 16 to 18.'],
    ['of Postgres 15', 'version', '15', 'The database is of Postgres 15: it must be of 16 to 18.'],
    ['of a Postgres that is not known yet', 'version', '19', 'The database is of Postgres 19: it must be of 16 to 18.'],
    ['that is a hot standby', 'is_replica', 't', 'The endpoint only reads: give the connection string of the one that writes.'],
  ])('%s is refused with what was found', async (_, column, value, detail) => {
    playing = { host: shop.host, play: altered(column, value) }
    expect(await adopt(shop.url)).toMatchObject({ status: 409, code: 'illegal_state', detail })
  })

  it('of a Postgres that is too old to be asked is refused in its own words', async () => {
    const error = { message: 'role "pg_read_all_data" does not exist', code: '42704', severity: 'ERROR' }
    playing = { host: shop.host, play: says(400, error) }
    expect(await adopt(shop.url)).toMatchObject({
      status: 409,
      code: 'illegal_state',
      detail: 'The database could not be inspected. It says: role "pg_read_all_data" does not exist',
    })
  })

  it.each(['100%', 'a%20b', 'Shop a?b#c', '"ñ"'])('of the name %s is adopted, and no other', async (name) => {
    const odd = await strangersDatabase()
    const create = (one: string) => sqlAt(odd.url, `create database "${one.replaceAll('"', '""')}"`)
    await create(name)
    // What the name would be if it were decoded once too often.
    const decoy = name.replace('%20', ' ')
    if (decoy !== name) await create(decoy)
    const at = (one: string) => Object.assign(new URL(odd.url), { pathname: `/${encodeURIComponent(one)}` }).href
    const url = at(name)
    const made = await adopt(url)
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect((await login(made.name)).status).toBe(200)
    const { rows } = decoy === name ? { rows: [] } : await sqlAt(at(decoy), `select from pg_namespace where nspname = 'freehold'`)
    expect(rows).toEqual([])
  })
})

/** Statements that make a login of the cluster, which owns the database, and how it is refused; with the statements it is adopted. */
describe('a login', () => {
  async function loginOf(shop: Shop, name: string, options: string, ...then: string[]) {
    const password = `pw-${crypto.randomUUID()}`
    await asSuper(
      shop.real,
      `create role ${name} login password '${password}' ${options}`,
      `grant ${name} to "${shop.owner}" with inherit true, set true`,
      `alter database "${shop.real}" owner to ${name}`,
      `grant freehold_owner, freehold_app to ${name} with admin option`,
      ...then,
    )
    return Object.assign(new URL(shop.url), { username: name, password }).href
  }
  const attributesOf = async (id: string) =>
    asSuper(
      'postgres',
      `select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls as has_some from pg_roles where rolname ~ '${id.replaceAll('-', '').slice(0, 12)}' order by 1`,
    )

  it('that is a superuser is refused with the statements that make another, which is adopted', async () => {
    const shop = await strangersDatabase()
    const url = await loginOf(shop, 'hosts_super', 'superuser')
    const { status, code, detail, statements } = await adopt(url)
    expect([status, code]).toEqual([409, 'illegal_state'])
    expect(detail).toBe(
      'The login is a superuser, which may do too much. An administrator must run the statements in `errors`, and set a password.',
    )
    expect(statements).toEqual([
      'create role freehold_adopter login createrole;',
      'grant freehold_adopter to current_user with inherit true, set true;',
      `alter database ${shop.real} owner to freehold_adopter;`,
      'grant freehold_owner, freehold_app to freehold_adopter with admin option;',
    ])
    await asSuper(shop.real, ...statements, `alter role freehold_adopter password 'pw-1234567890-pw'`)
    const made = await adopt(Object.assign(new URL(url), { username: 'freehold_adopter', password: 'pw-1234567890-pw' }).href)
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect((await login(made.name)).status).toBe(200)
  })

  it('of Neon’s API, which has all that Neon gives, gives none of it to the tenant’s', async () => {
    const shop = await strangersDatabase()
    const options = 'createrole createdb bypassrls replication in role neon_superuser'
    const made = await adopt(await loginOf(shop, 'hosts_neons', options))
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect(await attributesOf(made.id)).toEqual([{ has_some: false }, { has_some: false }])
  })

  it.each<[string, string, (name: string) => string[], (shop: Shop, name: string) => string[]]>([
    ['has BYPASSRLS', 'bypassrls', () => [], (_, name) => [`alter role ${name} nobypassrls;`]],
    [
      'has BYPASSRLS and REPLICATION',
      'bypassrls replication',
      () => [],
      (_, name) => [`alter role ${name} nobypassrls noreplication;`],
    ],
    [
      'reads the tables of every database',
      '',
      (name) => [`grant pg_read_all_data to ${name}`],
      (_, name) => [`revoke pg_read_all_data from ${name};`],
    ],
    [
      'reads files of the server, and more, by way of a group',
      '',
      (name) => [
        `create role ${name}_ops`,
        `grant pg_read_server_files, pg_write_all_data to ${name}_ops`,
        `grant ${name}_ops to ${name}`,
      ],
      (_, name) => [`revoke ${name}_ops from ${name};`],
    ],
    [
      'can become a superuser',
      'replication',
      (name) => [`create role ${name}_root superuser`, `grant ${name}_root to ${name} with inherit false`],
      (_, name) => [`alter role ${name} noreplication;`, `revoke ${name}_root from ${name};`],
    ],
    [
      'owns the database as somebody mightier',
      '',
      (name) => [
        `create role ${name}_head bypassrls`,
        `grant ${name}_head to ${name}`,
        `do $$ begin execute format('alter database %I owner to ${name}_head', current_database()); end $$`,
      ],
      ({ real }, name) => [
        `revoke ${name}_head from ${name};`,
        `grant ${name} to current_user with inherit true, set true;`,
        `alter database ${real} owner to ${name};`,
      ],
    ],
  ])('that %s is refused with the statements that end it, and adopted after them', async (what, options, spoil, wanted) => {
    const shop = await strangersDatabase()
    const name = `hosts_much_${++n}`
    const url = await loginOf(shop, name, `createrole ${options}`, ...spoil(name))
    const { status, code, detail, statements } = await adopt(url)
    expect([status, code], `${what}: ${detail}`).toEqual([409, 'illegal_state'])
    expect(detail).toMatch(/^The login has or can become .*, which may do too much\. /)
    expect(statements).toEqual(wanted(shop, name))
    expect(await asSuper(shop.real, `select from pg_namespace where nspname = 'freehold'`)).toEqual([])
    await asSuper(shop.real, ...statements)
    const made = await adopt(url)
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect(await attributesOf(made.id)).toEqual([{ has_some: false }, { has_some: false }])
    expect((await login(made.name)).status).toBe(200)
  })

  it('that manages roles of others changes none of them, neither by an adoption nor by its erasure', async () => {
    const shop = await strangersDatabase()
    await asSuper(
      'postgres',
      'create role hosts_managed login createdb',
      'create role hosts_readers',
      'grant hosts_readers to hosts_managed',
    )
    const url = await loginOf(
      shop,
      'hosts_manager',
      'createrole',
      'grant hosts_managed, hosts_readers to hosts_manager with admin option',
    )
    const others = () =>
      asSuper(
        'postgres',
        `select r.rolname, to_jsonb(r) - 'oid' as options, (select jsonb_agg(to_jsonb(m) order by m.oid) from pg_auth_members m where m.roleid = r.oid and m.member in (select x.oid from pg_roles x where x.rolname like 'hosts_%')) as members
         from pg_roles r where r.rolname in ('hosts_managed', 'hosts_readers') order by 1`,
      )
    const before = await others()
    const made = await adopt(url)
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect(await others()).toEqual(before)
    await ask(`/platform/v1/tenants/${made.id}?hard=true&confirm=${made.name}`, { token, method: 'DELETE' })
    for (
      let i = 0;
      i < 200 && (await asSuper('freehold_master', `select from platform.tenants where id = '${made.id}'`)).length;
      i++
    )
      await new Promise((done) => setTimeout(done, 50))
    expect(await others()).toEqual(before)
    expect(await attributesOf(made.id)).toEqual([])
  })

  it.each<[string, (shop: Shop, login: string) => string, (shop: Shop, login: string) => string[]]>([
    ['makes no roles', (_, name) => `alter role ${name} nocreaterole`, (_, name) => [`alter role ${name} createrole;`]],
    [
      'does not own the database',
      ({ real, owner }) => `alter database "${real}" owner to "${owner}"`,
      ({ real }, name) => [
        `grant ${name} to current_user with inherit true, set true;`,
        `alter database ${real} owner to ${name};`,
      ],
    ],
    [
      'begins transactions that only read',
      (_, name) => `alter role ${name} set default_transaction_read_only = on`,
      (_, name) => [`alter role ${name} reset default_transaction_read_only; -- open sessions keep it until they end`],
    ],
    [
      'begins transactions that only read, in this database',
      ({ real }, name) => `alter role ${name} in database "${real}" set default_transaction_read_only = on`,
      ({ real }, name) => [
        `alter role ${name} in database ${real} reset default_transaction_read_only; -- open sessions keep it until they end`,
      ],
    ],
    [
      'is in a database whose transactions only read',
      ({ real }) => `alter database "${real}" set default_transaction_read_only = on`,
      ({ real }) => [
        'set default_transaction_read_only = off;',
        `alter database ${real} reset default_transaction_read_only; -- open sessions keep it until they end`,
      ],
    ],
    [
      'may not give the groups',
      (_, name) => `revoke admin option for freehold_owner, freehold_app from ${name}`,
      (_, name) => [`grant freehold_owner, freehold_app to ${name} with admin option;`],
    ],
  ])('that %s is refused with the statements to run, and adopted after them', async (what, spoil, wanted) => {
    const shop = await strangersDatabase()
    const name = `hosts_little_${++n}`
    const url = await loginOf(shop, name, 'createrole', spoil(shop, name))
    const { status, code, detail, statements } = await adopt(url)
    expect([status, code], `${what}: ${detail}`).toEqual([409, 'illegal_state'])
    expect(statements).toEqual(wanted(shop, name))
    await asSuper(shop.real, ...statements.map((statement) => statement.replace('current_user', `"${shop.owner}"`)))
    await asSuper(shop.real, `select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = '${name}'`)
    const made = await adopt(url)
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect((await login(made.name)).status).toBe(200)
  })

  it('whose owner took from itself the right to create in the database is adopted all the same', async () => {
    const shop = await strangersDatabase()
    const url = await loginOf(shop, 'hosts_revoked', 'createrole')
    await asSuper(shop.real, `revoke create on database "${shop.real}" from hosts_revoked`)
    const made = await adopt(url)
    expect(made.status, JSON.stringify(made.body)).toBe(201)
  })
})

describe('a host', () => {
  const HOST = 'ep-a-stranger-1.us-east-2.aws.neon.tech'
  const URL_THERE = `postgresql://owner:${SECRET}@${HOST}/shop`
  const forever = (chunk: string, pause: number): Playing => {
    return async (answer) => {
      answer.writeHead(200, { 'content-type': 'application/json' })
      answer.write('{"results":[')
      const from = Date.now()
      while (!answer.destroyed && Date.now() < from + 60_000) {
        if (!answer.write(chunk)) await new Promise((done) => answer.once('drain', done).once('close', done))
        if (pause) await new Promise((done) => setTimeout(done, pause))
      }
      answer.end()
    }
  }
  const NOT_NEON = `names the host ${HOST}, which does not speak Neon’s SQL over HTTP`

  it.each<[string, Playing, number, string | RegExp]>([
    ['whose answer has no end', forever(' '.repeat(64 * 1024), 0), 400, NOT_NEON],
    [
      'whose refusal has no end',
      (answer, real, sent) => forever('x'.repeat(64 * 1024), 0)(Object.assign(answer, { statusCode: 500 }), real, sent),
      400,
      NOT_NEON,
    ],
    ['that answers 200 MiB', (answer) => answer.writeHead(200).end(Buffer.alloc(200 * MIB, 0x20)), 400, NOT_NEON],
    ['that answers 200 MiB of an error', (answer) => answer.writeHead(500).end(Buffer.alloc(200 * MIB, 0x20)), 400, NOT_NEON],
    ['that answers a byte each second', forever(' ', 1_000), 503, `The host ${HOST} does not answer.`],
    ['that says nothing', () => undefined, 503, `The host ${HOST} does not answer.`],
    ['that answers a page', says(200, '<!DOCTYPE html><title>Welcome</title>', { 'content-type': 'text/html' }), 400, NOT_NEON],
    ['that sends elsewhere', says(307, '', { location: 'http://127.0.0.1:1/sql' }), 400, NOT_NEON],
    ['that answers null', says(200, null), 400, NOT_NEON],
    ['that answers a list', says(200, []), 400, NOT_NEON],
    ['that answers no results', says(200, { results: [] }), 400, NOT_NEON],
    ['that answers results that are none', says(200, { results: [{}, {}] }), 400, NOT_NEON],
    [
      'that answers results without rows',
      says(200, { results: [1, 2].map(() => ({ fields: [], rows: [], command: 'SELECT', rowCount: 0 })) }),
      409,
      'The database did not say what it is: its host answers something else than was asked.',
    ],
    ['that refuses in no words', says(400, {}), 400, NOT_NEON],
    ['that is asked too often', says(429, 'slow down', {}), 503, `The host ${HOST} does not answer.`],
  ])('%s is refused by name, and the Worker serves others meanwhile', { timeout: 60_000 }, async (_, play, status, words) => {
    playing = { host: HOST, play }
    const [answer, others] = await Promise.all([
      adopt(URL_THERE),
      Promise.all(Array.from({ length: 5 }, () => ask('/platform/v1/tenants', { token }))),
    ])
    expect([answer.status, answer.statements[0] ?? answer.detail], JSON.stringify(answer.body)).toEqual([status, words])
    expect(others.map((other) => other.status)).toEqual([200, 200, 200, 200, 200])
  })

  it.each<[string, Record<string, unknown>]>([
    ['a version that is no number', { version: 'sixteen' }],
    ['no schemas', { schemas: null }],
    ['schemas that are none', { schemas: '{"name":7}' }],
    ['groups that are text', { groups: '"all"' }],
    ['privileges that are none', { open: '[7]' }],
    ['a name that is a statement', { owner: 'x; drop database shop; --', owns: 'f' }],
    ['a name that is longer than names are', { login: 'x'.repeat(5_000), makes_roles: 'f' }],
  ])('that says %s of its database is refused, and nothing of it is repeated', async (_, lies) => {
    const shop = await strangersDatabase()
    const play: Playing = async (answer, real, sent) => {
      let { status, text } = await real()
      for (const [column, value] of Object.entries(lies)) {
        const caught: string[] = []
        const sink = { writeHead: () => ({ end: (given: string) => caught.push(given) }) } as unknown as ServerResponse
        const now = { status, text }
        await altered(column, value)(sink, async () => now, sent)
        text = caught[0] ?? text
      }
      answer.writeHead(status, { 'content-type': 'application/json' }).end(text)
    }
    playing = { host: shop.host, play }
    const { status, code, body } = await adopt(shop.url)
    expect([status, code], JSON.stringify(body)).toEqual([409, 'illegal_state'])
    expect(JSON.stringify(body)).not.toMatch(/drop database|x{64}/)
  })

  it.each<[string, (sent: string) => [number, unknown]]>([
    ['in words of Neon’s proxy', (sent) => [400, { message: `endpoint of ${sent} is not allowed` }]],
    ['in an error of Postgres', (sent) => [400, { message: `no such login: ${sent}`, code: '42704', severity: 'ERROR' }]],
    ['in an error of its own', (sent) => [500, { message: `Control plane request failed: ${sent}`, code: '' }]],
    ['in a page', (sent) => [200, `<html>${sent}</html>`]],
    [
      'as what it is not',
      (sent) => [400, { message: decodeURIComponent(new URL(sent).password), code: 'XX000', severity: 'ERROR' }],
    ],
  ])('that answers what it was sent, %s, is not repeated', async (_, echo) => {
    playing = { host: HOST, play: (answer, _real, sent) => says(...echo(sent))(answer, _real, sent) }
    const { status, body } = await adopt(URL_THERE)
    expect([400, 409, 503], JSON.stringify(body)).toContain(status)
    expect(JSON.stringify(body)).not.toContain(SECRET)
  })

  it('that answers what it was sent when the database is adopted already leaves nothing of it in the steps, the log or the audit', async () => {
    const shop = await strangersDatabase()
    let asked = 0
    const seen: string[] = []
    playing = {
      host: shop.host,
      play: async (answer, real, sent) => {
        seen.push(decodeURIComponent(new URL(sent).password))
        if (asked++ < 2) {
          const { status, text } = await real()
          return answer.writeHead(status, { 'content-type': 'application/json' }).end(text)
        }
        return says(400, { message: `sorry: ${sent}`, code: '42704', severity: 'ERROR' })(answer, real, sent)
      },
    }
    const { id, status } = await adopt(shop.url)
    expect(status).toBe(202)
    const look = async () => (await ask(`/platform/v1/tenants/${id}/provisioning`, { token })).body
    for (let i = 0; i < 600 && (await look()).status === 'provisioning'; i++) await new Promise((done) => setTimeout(done, 100))
    const { status: is, data } = await look()
    expect(is).toBe('failed')
    expect(data.find(({ state }: any) => state === 'failed').error).toMatch(/^sorry: postgresql:\/\/…/)
    for (const secret of seen) secrets.add(secret)
    expect(new Set(seen).size).toBeGreaterThan(0)
  })
})

it('no connection string that was given is in an answer, in the log, in the master or in a Workflow’s steps', async () => {
  const tables = await asSuper(
    'freehold_master',
    `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname in ('platform', 'freehold', 'access')`,
  )
  const all = await Promise.all(
    tables.map(async ({ name }) =>
      String((await asSuper('freehold_master', `select string_agg(t::text, E'\\n') as text from ${name} t`))[0]?.text),
    ),
  )
  const seen = [...answers, ...lines, ...all]
  expect(secrets.size).toBeGreaterThan(20)
  expect(lines.length).toBeGreaterThan(50)
  for (const secret of secrets) expect(seen.filter((text) => text.includes(secret)).map((text) => text.slice(0, 300))).toEqual([])
})
