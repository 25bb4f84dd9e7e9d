/**
 * Moving people in. Threat: a line that stops the others or gets past a rule, a run that looks whole and is not, a hash that is not replaced; and
 * a password in clear.
 */
import { createExecutionContext } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { app } from '../../src/app.ts'
import { ImportedUser } from '../../src/users/import-lines.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from './cast.ts'

const AT = 'moved-in'
const PATH = '/api/v1/users/import'
let realm: Inside
let token: string
let lab: string
let clerk: string
let team: string

beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant(`${AT}-too`)
  realm = await inside(AT)
  token = await tokenOf(AT)
  lab = await addUnit(realm, 'department', 'Laboratory')
  await addRole(realm, 'mover', ['user:create'], 'all')
  await addRole(realm, 'lab-mover', ['user:create'], 'department')
  await addRole(realm, 'alone', ['user:create'], 'own')
  clerk = (await addMember(realm, 'clerk', { roles: ['mover', 'user'] })).token
  team = (await addMember(realm, 'cam', { roles: ['lab-mover', 'user'], unit_id: lab })).token
})

type Row = {
  line: number
  status: string
  id?: string
  username?: string
  code?: string
  errors?: { pointer: string; detail: string }[]
}
type Told = { status: number; headers: Headers; body: any; rows: Row[]; summary: any }

const NDJSON = 'application/x-ndjson'

async function told(response: Response): Promise<Told> {
  const text = new TextDecoder().decode(await response.arrayBuffer())
  if (!response.ok) return { status: response.status, headers: response.headers, body: JSON.parse(text), rows: [], summary: null }
  expect(text.endsWith('\n')).toBe(true)
  const rows = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const summary = rows.pop()
  expect(summary.summary).toBe(true)
  expect({ lines: rows.length, failed: rows.filter(({ status }) => status === 'failed').length }).toEqual({
    lines: summary.lines,
    failed: summary.failed,
  })
  // The name of the field, and that of Django's kind of hash, are the caller's own words.
  expectDiscreet({ status: 200, headers: response.headers, body: text.replaceAll(/password_hash|pbkdf2_sha256/g, '') })
  return { status: response.status, headers: response.headers, body: text, rows, summary }
}

type Asked = { as?: string | null; query?: string; at?: string; type?: string | null; language?: string }
const headersOf = ({ as = token, type = NDJSON, language }: Asked) => ({
  ...(language && { 'Accept-Language': language }),
  ...(as !== null && { Authorization: `Bearer ${as}` }),
  ...(type !== null && { 'Content-Type': type }),
})

/** Sends a file as it is. */
const send = async (body: BodyInit, asked: Asked = {}): Promise<Told> =>
  told(
    await exports.default.fetch(
      new Request(`http://${asked.at ?? AT}.freehold.test${PATH}?${asked.query ?? ''}`, {
        method: 'POST',
        headers: headersOf(asked),
        body,
      }),
    ),
  )
const file = (lines: object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join('')
const move = (lines: object[], asked: Asked = {}) => send(file(lines), asked)
const one = async (line: object, asked: Asked = {}) => (await move([line], asked)).rows[0] as Row

/** The Worker itself, with a body that is not one piece. */
const stream = (body: ReadableStream<Uint8Array>, query = '') =>
  app.fetch(
    new Request(`http://${AT}.freehold.test${PATH}?${query}`, {
      method: 'POST',
      headers: headersOf({}),
      body,
      duplex: 'half',
    } as RequestInit),
    env,
    createExecutionContext(),
  )
const utf8 = (text: string) => new TextEncoder().encode(text)

let n = 0
const person = (more: object = {}) => ({ email: `moved-${n++}@old.test`, ...more })
const people = async () =>
  (
    await realm.asOwner(
      sql`select count(*)::int as n, (select count(*)::int from freehold.audit_log) as entries from freehold.users`,
    )
  )[0]
const storedOf = async (username: string) =>
  (
    await realm.asOwner(
      sql`select p.password_hash from freehold.passwords p join freehold.users u on u.id = p.user_id where u.username = ${username} order by p.replaced_at nulls first`,
    )
  ).map(({ password_hash }) => password_hash as string)

/** Published vectors (test/passwords/foreign-hash.test.ts). */
const VECTORS = [
  ['abcdefghijklmnopqrstuvwxyz', '$2a$10$fVH8e28OQRj9tqiDXs1e1uxpsjN0c7II7YPKXua2NAKYvM6iQk7dq'],
  ['Kk4DQuMMfZL9o', '$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm'],
  ['pässwörd', '$2y$10$abcdefghijklmnopqrstuunYspUDVwxKwnshT7FzjzjwI57RV2KKa'],
  ['lètmein', 'pbkdf2_sha256$20000$seasalt$oBSd886ysm3AqYun62DOdin8YcfbU1z9cksZSuLP9r0='],
] as const
const [, [PASSWORD, HASH]] = VECTORS
const OURS = /^\$pbkdf2-sha256-chain\$r=1,i=1000\$/

describe('a file', () => {
  it('may say null of whatever it could leave out, as other systems write rows', async () => {
    const { email } = person()
    const fields = Object.keys(ImportedUser.shape).filter((field) => field !== 'email')
    const row = await one({ ...Object.fromEntries(fields.map((field) => [field, null])), email })
    expect(row, JSON.stringify(row)).toMatchObject({ status: 'created', username: email.split('@')[0] })
    const { body } = await call(AT, `/api/v1/users/${row.id}`, { token })
    const bare = await one(person())
    const left = (await call(AT, `/api/v1/users/${bare.id}`, { token })).body
    const same = [
      'role',
      'roles',
      'is_active',
      'email_verified',
      'must_change_password',
      'locale',
      'timezone',
      'preferences',
      'given_name',
    ]
    for (const field of same) expect(body[field], field).toEqual(left[field])
    expect(await storedOf(row.username ?? '')).toEqual([])
  })

  it.each(['!', '!WJZ5zIJFPQ3b0rTzkJkvHmVXGvqqZeqUuXZjZnUd'])(
    'brings people who have no password, as Django writes it: %s',
    async (password_hash) => {
      const row = await one(person({ password_hash }))
      expect(row).toMatchObject({ status: 'created' })
      expect(row).not.toHaveProperty('warnings')
      expect(await storedOf(row.username ?? '')).toEqual([])
    },
  )

  it('of 1,000 lines, ten of them broken, makes 990 people and says of each line what became of it', async () => {
    const lines = Array.from({ length: 1000 }, (_, i) => ({
      email: `many-${i}@old.test`,
      given_name: `Person ${i}`,
      password_hash: HASH,
    }))
    const broken = new Map<number, [unknown, string, string]>([
      [1, ['{"email": "cut@old.te', '#', 'invalid_request']],
      [77, [{ ...lines[76], email: 'no address' }, '#/email', 'invalid_request']],
      [200, [{ ...lines[199], surprise: 1 }, '#/surprise', 'invalid_request']],
      [201, [{ ...lines[200], role: 'emperor' }, '#/role', 'invalid_request']],
      [333, [{ ...lines[332], password: 'Tr0ub4dor-and-3' }, '#/password', 'invalid_request']],
      [400, [{ ...lines[0], email: 'MANY-1@old.test' }, '#/email', 'already_exists']],
      [500, [{ ...lines[499], password_hash: 'md5$x$y' }, '#/password_hash', 'invalid_request']],
      [600, [{ ...lines[599], unit_id: crypto.randomUUID() }, '#/unit_id', 'invalid_request']],
      [777, ['[]', '#', 'invalid_request']],
      [1000, [{ ...lines[999], username: 'clerk' }, '#/username', 'already_exists']],
    ])
    const text = lines
      .map((line, i) => broken.get(i + 1)?.[0] ?? line)
      .map((line) => (typeof line === 'string' ? line : JSON.stringify(line)))
      .join('\n')

    const before = await people()
    const tried = await send(text, { query: 'dry_run=true' })
    expect(tried.summary).toEqual({ summary: true, dry_run: true, lines: 1000, created: 990, failed: 10, complete: true })
    expect(await people()).toEqual(before)

    const answer = await send(text)
    expect(answer.headers.get('Content-Type')).toBe(NDJSON)
    expect(answer.headers.get('Server-Timing')).toContain('db;desc="1"')
    expect(answer.summary).toEqual({ summary: true, dry_run: false, lines: 1000, created: 990, failed: 10, complete: true })
    expect(answer.rows.map(({ line }) => line)).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1))
    for (const row of answer.rows) {
      const [, pointer, code] = broken.get(row.line) ?? []
      if (code)
        expect({ ...row, at: row.errors?.[0]?.pointer }, JSON.stringify(row)).toMatchObject({
          status: 'failed',
          code,
          at: pointer,
        })
      else expect(row).toEqual({ line: row.line, status: 'created', id: expect.any(String), username: `many-${row.line - 1}` })
    }
    expect((await people())?.n).toBe(before?.n + 990)
    // The dry run said the same, but for the ids.
    expect(tried.rows).toEqual(
      answer.rows.map(({ id, ...row }) => ({ ...row, status: row.status === 'created' ? 'would_create' : row.status })),
    )
    const again = await send(text)
    expect(again.summary).toMatchObject({ lines: 1000, created: 0, failed: 1000, complete: true })
    expect((await people())?.n).toBe(before?.n + 990)
    const codes = again.rows.filter(({ line }) => !broken.has(line)).map(({ code, errors }) => `${code} ${errors?.[0]?.pointer}`)
    expect(new Set(codes)).toEqual(new Set(['already_exists #/email']))
  })

  it('is recorded once, with its counts, and each of its people', async () => {
    const answer = await move([person(), person(), person({ email: 'nothing' })])
    const trace = answer.headers.get('X-Trace-Id')
    const rows = await realm.asOwner(
      sql`select l.activity_type, d.after, d.user_name from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.trace_id = ${trace}`,
    )
    expect(rows.map(({ activity_type }) => activity_type).sort()).toEqual(
      ['ROLE_ASSIGNED', 'ROLE_ASSIGNED', 'USERS_IMPORTED', 'USER_CREATED', 'USER_CREATED'].sort(),
    )
    const [record] = rows.filter(({ activity_type }) => activity_type === 'USERS_IMPORTED')
    expect(record).toMatchObject({ after: { lines: 3, created: 2, failed: 1 }, user_name: 'bo' })
    const service = await call(AT, '/api/v1/activities', {
      token,
      body: { activity_type: 'USERS_IMPORTED', action: 'import', resource_type: 'user' },
    })
    expectProblem(service, 400, 'invalid_request')
  })

  it('that is sent twice at once makes each person once', async () => {
    const lines = Array.from({ length: 450 }, (_, i) => person({ username: `twice-${i}`, password_hash: HASH }))
    const back = [...lines].reverse()
    const answers = await Promise.all([move(lines), move(back)])
    expect(answers.map(({ summary }) => summary.complete)).toEqual([true, true])
    expect(answers.reduce((sum, { summary }) => sum + summary.created, 0)).toBe(450)
    const [row] = await realm.asOwner(
      sql`select count(*)::int as users, count(p.id)::int as passwords from freehold.users u left join freehold.passwords p on p.user_id = u.id where u.username like 'twice-%'`,
    )
    expect(row).toEqual({ users: 450, passwords: 450 })
  })

  it('may have blank lines, a mark at its beginning, other line ends, and none at its end', async () => {
    const [a, b, c] = [person(), person(), person()].map((line) => JSON.stringify(line))
    const answer = await send(`\ufeff${a}\r\n\r\n \t\n${b}\n\n${c}`)
    expect(answer.rows.map(({ line, status }) => [line, status])).toEqual([
      [1, 'created'],
      [4, 'created'],
      [6, 'created'],
    ])
    expect(answer.summary).toMatchObject({ lines: 3, created: 3, complete: true })
  })

  it('may be empty', async () => {
    for (const body of ['', '\n\n', '\ufeff'])
      expect((await send(body)).summary).toEqual({
        summary: true,
        dry_run: false,
        lines: 0,
        created: 0,
        failed: 0,
        complete: true,
      })
  })

  it('may be larger than any other body, and a line of it may not', async () => {
    const wide = { preferences: { note: 'x'.repeat(8_000) } }
    const lines = Array.from({ length: 150 }, () => person(wide))
    const text = file(lines)
    expect(text.length).toBeGreaterThan(1024 * 1024)
    expect((await send(text)).summary).toMatchObject({ created: 150, complete: true })
    const long = JSON.stringify(person({ description: 'x'.repeat(16 * 1024) }))
    const endless = `{"email": "${'x'.repeat(3 * 1024 * 1024)}`
    const answer = await send(`${file([person()])}${long}\n${file([person()])}${endless}\n${file([person()])}`)
    expect(answer.rows.map(({ status }) => status)).toEqual(['created', 'failed', 'created', 'failed', 'created'])
    for (const i of [1, 3]) expect(answer.rows[i]?.errors).toEqual([{ pointer: '#', detail: 'is longer than 16384 bytes' }])
  })

  it('of more than 100,000 lines is taken as far as that, and says so', async () => {
    const answer = await send(`${JSON.stringify(person())}${'\n'.repeat(100_000)}${JSON.stringify(person())}\n`)
    expect(answer.rows.map(({ line, status }) => [line, status])).toEqual([[1, 'created']])
    expect(answer.summary).toMatchObject({ lines: 1, created: 1, complete: false, code: 'invalid_request' })
    expect(answer.summary.detail).toContain('100000')
  })

  it('is told in the caller’s language what is wrong with it, by the schema, by the database and at the end', async () => {
    const ana = person()
    const text = `${file([ana, { ...ana }, person({ role: 'nobody' }), { ...person(), email: 7 }, { ...person(), password: 'x' }])}{\n`
    const answer = await send(`${text}${'\n'.repeat(100_000)}`, { language: 'es-PE' })
    expect(answer.headers.get('Content-Language')).toBe('es')
    expect(answer.rows.map(({ errors }) => errors?.[0]?.detail)).toEqual([
      undefined,
      'está ocupado',
      'nobody no es un rol de este inquilino',
      'debe ser texto',
      'no se acepta en texto plano: envía password_hash o ninguno de los dos',
      'no es JSON válido',
    ])
    expect(answer.summary.detail).toBe('Un archivo tiene como máximo 100000 líneas: envía el resto en otro.')
  })

  it('whose body breaks off in the middle of a line is taken as far as it came, and says that it is not whole', async () => {
    const lines = Array.from({ length: 250 }, () => person())
    const text = file(lines)
    let part = 0
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        const from = part++ * 4096
        if (from < text.length - 20) controller.enqueue(utf8(text.slice(from, Math.min(from + 4096, text.length - 20))))
        else controller.error(new Error('gone'))
      },
    })
    const answer = await told(await stream(body))
    expect(answer.rows).toHaveLength(249)
    expect(answer.rows.every(({ status }) => status === 'created')).toBe(true)
    expect(answer.summary).toMatchObject({ lines: 249, created: 249, complete: false, code: 'invalid_request' })
    expect(answer.summary.detail).toContain('was cut off after line 249')
    // And it is sent again.
    expect((await move(lines)).summary).toMatchObject({ created: 1, failed: 249, complete: true })
  })

  it('is read as it comes and answered as it is read, each batch admitted anew', async () => {
    const access_token = await tokenOf(AT)
    let feed: (text: string | null) => void = () => {}
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        feed = (text) => (text === null ? controller.close() : controller.enqueue(utf8(text)))
      },
    })
    const asking = app.fetch(
      new Request(`http://${AT}.freehold.test${PATH}`, {
        method: 'POST',
        headers: headersOf({ as: access_token }),
        body,
        duplex: 'half',
      } as RequestInit),
      env,
      createExecutionContext(),
    )
    const batch = () => file(Array.from({ length: 200 }, () => person()))
    feed(batch())
    const response = await asking
    expect(response.status).toBe(200)
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    const read = async () =>
      new TextDecoder()
        .decode((await reader.read()).value)
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
    expect(await read()).toHaveLength(200)
    feed(batch())
    expect((await read()).map(({ line }) => line).slice(0, 1)).toEqual([201])
    await call(AT, '/api/v1/auth/logout', { method: 'POST', token: access_token })
    feed(batch())
    const [summary] = await read()
    expect(summary).toMatchObject({ summary: true, lines: 400, created: 400, complete: false, code: 'session_ended' })
    expect((await reader.read()).done).toBe(true)
  })
})

describe('a dry run', () => {
  it('finds what is twice in the file, within a batch and across batches, and leaves nothing', async () => {
    const lines = Array.from({ length: 401 }, () => person())
    const twice = [...lines, lines[400], { ...lines[0], username: 'other' }, { email: 'else@old.test', username: 'moved-x' }]
    twice[10] = { ...person(), username: 'moved-x' } as never
    const before = await people()
    const tried = await move(twice as object[], { query: 'dry_run=true' })
    expect(await people()).toEqual(before)
    const answer = await move(twice as object[])
    const said = ({ rows }: Told) =>
      rows.filter(({ status }) => status === 'failed').map(({ line, code, errors }) => [line, code, errors?.[0]?.pointer])
    expect(said(answer)).toEqual([
      [402, 'already_exists', '#/email'],
      [403, 'already_exists', '#/email'],
      [404, 'already_exists', '#/username'],
    ])
    expect(said(tried)).toEqual(said(answer))
    expect(tried.rows.every((row) => row.id === undefined)).toBe(true)
  })
})

describe('a line', () => {
  it('has everything that a person can have', async () => {
    const given = {
      email: 'Iñés@OLD.test'.replace('ñ', 'n').replace('é', 'e'),
      username: 'Inés.Moved',
      given_name: 'Inés',
      family_name: 'Ñandú',
      phone: '+51 987 654 321',
      role: 'admin',
      roles: ['user', 'admin', 'user'],
      unit_id: lab,
      designation: 'Chemist',
      description: 'x'.repeat(140),
      locale: 'es-PE',
      timezone: 'America/Lima',
      preferences: { theme: { dark: true } },
      joined_at: '2026-01-31T22:00:00-05:00',
      max_sessions: 3,
      email_verified: true,
      is_active: false,
      must_change_password: true,
      password_hash: HASH,
    }
    const row = await one(given)
    expect(row).toMatchObject({ status: 'created', username: 'inés.moved' })
    const { password_hash, roles, ...fields } = given
    const { body } = await call(AT, `/api/v1/users/${row.id}`, { token })
    expect(body).toMatchObject({
      ...fields,
      email: 'ines@old.test',
      username: 'inés.moved',
      joined_at: '2026-02-01T03:00:00.000000Z',
    })
    expect(body.roles.sort()).toEqual(['admin', 'user'])
  })

  it('with an e-mail alone makes somebody without a password, who is told what a stranger is', async () => {
    const row = await one({ email: 'bare@old.test', given_name: null })
    const { body } = await call(AT, `/api/v1/users/${row.id}`, { token })
    expect(body).toMatchObject({
      username: 'bare',
      role: 'user',
      roles: ['user'],
      is_active: true,
      email_verified: false,
      must_change_password: false,
      locale: 'en',
    })
    expect(await storedOf('bare')).toEqual([])
    const tries = ['bare', 'nobody-at-all'].map((username) =>
      call(AT, '/api/v1/auth/login', { body: { username, password: 'Quiet-Harbour-77' } }),
    )
    for (const answer of await Promise.all(tries)) expectProblem(answer, 401, 'invalid_credentials')
  })

  it('whose first role is not named takes the first of its roles', async () => {
    const row = await one(person({ roles: ['admin', 'user'] }))
    expect((await call(AT, `/api/v1/users/${row.id}`, { token })).body).toMatchObject({ role: 'admin' })
  })

  it.each<[string, unknown, string]>([
    ['that is cut off', '{"email": "a@old.test"', '#'],
    ['that is a list', '[1]', '#'],
    ['that is a text', '"a@old.test"', '#'],
    ['that is null', 'null', '#'],
    ['of two objects', '{"email": "a@old.test"}{"email": "b@old.test"}', '#'],
    ['with a NUL outside of a text', '{"email": "a@old.test"\0}', '#'],
    ['with a mark in the middle of the file', '\ufeff{"email": "a@old.test"}', '#'],
    ['of no UTF-8', Uint8Array.of(0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d), '#'],
    [
      'with half of a character in UTF-8',
      Uint8Array.of(...utf8('{"email": "a@old.test", "given_name": "'), 0xc3, ...utf8('"}')),
      '#',
    ],
    ['without an e-mail', { given_name: 'x' }, '#/email'],
    ['whose e-mail is none', { email: 'x' }, '#/email'],
    ['whose e-mail is a number', { email: 7 }, '#/email'],
    ['whose e-mail has 256 characters', { email: `${'x'.repeat(246)}@acme.test` }, '#/email'],
    ['whose username has an @', { email: 'a@old.test', username: 'a@b' }, '#/username'],
    ['whose name has a control character', { email: 'a@old.test', given_name: 'a\u0007b' }, '#/given_name'],
    ['whose name has half a character', '{"email": "a@old.test", "given_name": "\\ud800"}', '#/given_name'],
    ['whose name has 256 characters', { email: 'a@old.test', family_name: 'x'.repeat(256) }, '#/family_name'],
    ['with a field that nobody asked for', { email: 'a@old.test', is_admin: true }, '#/is_admin'],
    ['with __proto__', '{"email": "a@old.test", "__proto__": {"is_admin": true}}', '#/__proto__'],
    ['with an id', { email: 'a@old.test', id: crypto.randomUUID() }, '#/id'],
    ['with a password in clear', { email: 'a@old.test', password: 'Tr0ub4dor-and-3' }, '#/password'],
    ['whose hash is a number', { email: 'a@old.test', password_hash: 1 }, '#/password_hash'],
    ['whose hash is too cheap', { email: 'a@old.test', password_hash: HASH.replace('$04$', '$03$') }, '#/password_hash'],
    [
      'whose hash has one iteration',
      { email: 'a@old.test', password_hash: VECTORS[3][1].replace('$20000$', '$1$') },
      '#/password_hash',
    ],
    [
      'whose hash is one of ours',
      { email: 'a@old.test', password_hash: `$pbkdf2-sha256-chain$r=1,i=1$${'A'.repeat(22)}$${'A'.repeat(43)}` },
      '#/password_hash',
    ],
    ['whose roles are a text', { email: 'a@old.test', roles: 'user' }, '#/roles'],
    ['with a role that is null', { email: 'a@old.test', roles: [null] }, '#/roles/0'],
    ['with a role that nobody knows', { email: 'a@old.test', roles: ['user', 'emperor'] }, '#/roles'],
    ['whose role nobody knows', { email: 'a@old.test', role: 'emperor' }, '#/role'],
    ['whose unit is no id', { email: 'a@old.test', unit_id: 'lab' }, '#/unit_id'],
    ['whose manager is not there', { email: 'a@old.test', manager_id: crypto.randomUUID() }, '#/manager_id'],
    ['who is active perhaps', { email: 'a@old.test', is_active: 'yes' }, '#/is_active'],
    ['who joined on no day', { email: 'a@old.test', joined_at: '2026-02-30T00:00:00Z' }, '#/joined_at'],
    ['whose preferences are too large', { email: 'a@old.test', preferences: { a: 'x'.repeat(8192) } }, '#/preferences'],
    ['whose preferences hold a NUL', { email: 'a@old.test', preferences: { a: '\0' } }, '#/preferences'],
  ])('%s fails, says where, and stops no other', async (_, line, pointer) => {
    const bytes = line instanceof Uint8Array ? line : utf8(typeof line === 'string' ? line : JSON.stringify(line))
    const [first, last] = [utf8(file([person()])), utf8(`\n${file([person()])}`)]
    const answer = await send(Uint8Array.of(...first, ...bytes, ...last))
    expect(answer.rows.map(({ line: at, status }) => [at, status])).toEqual([
      [1, 'created'],
      [2, 'failed'],
      [3, 'created'],
    ])
    expect(answer.rows[1]?.errors?.map((fault) => fault.pointer)).toContain(pointer)
    for (const { detail } of answer.rows[1]?.errors ?? []) expect(detail).toMatch(/^\S.+/)
    expect(answer.body).not.toContain('Tr0ub4dor')
  })

  it('is told every field that is wrong', async () => {
    const row = await one({ email: 'x', username: 'a b', given_name: 7, surprise: 1 })
    expect([...new Set(row.errors?.map(({ pointer }) => pointer))].sort()).toEqual([
      '#/email',
      '#/given_name',
      '#/surprise',
      '#/username',
    ])
  })
})

describe('a hash that costs too much', () => {
  const DEAR = [
    [VECTORS[0][1].replace('$10$', '$15$'), 'has a bcrypt cost above 14', 'tiene un coste de bcrypt superior a 14'],
    [VECTORS[3][1].replace('$20000$', '$1500001$'), 'has more than 1500000 iterations', 'tiene más de 1500000 iteraciones'],
  ] as const

  it.each(DEAR)(
    'is left out, the line says so in the caller’s language, and a reset lets its user in: %s',
    async (hash, why, es) => {
      const line = person({ password_hash: hash })
      for (const [query, status] of [
        ['dry_run=true', 'would_create'],
        ['', 'created'],
      ] as const) {
        const answer = await move([line, person()], { query })
        expect(answer.summary).toMatchObject({ created: 2, failed: 0 })
        const [row, plain] = answer.rows as (Row & { warnings?: unknown })[]
        expect(row).toMatchObject({
          status,
          warnings: [
            { pointer: '#/password_hash', detail: `${why}, so it is not stored: the user has no password until they reset it` },
          ],
        })
        expect(plain).not.toHaveProperty('warnings')
      }
      const [row] = (await move([person({ password_hash: hash })], { language: 'es' })).rows as any[]
      expect(row.warnings[0].detail).toBe(`${es}, así que no se guarda: el usuario no tiene contraseña hasta que la restablezca`)
      expect(await storedOf(row.username)).toEqual([])
      const reset = await call(AT, `/api/v1/users/${row.id}/reset-password`, {
        token,
        body: { new_password: 'Quiet-Harbour-77' },
      })
      expect(reset.status).toBe(200)
      const body = { username: row.username, password: 'Quiet-Harbour-77' }
      expect((await call(AT, '/api/v1/auth/login', { body })).status).toBe(200)
    },
  )
})

describe('an address that counts as verified', () => {
  const verified = (more: object = {}) => person({ email_verified: true, ...more })

  it('takes user:approve: without it the line is refused, and one that does not claim it is not', async () => {
    for (const query of ['dry_run=true', '']) {
      const answer = await move([verified(), person({ email_verified: false }), person()], { as: clerk, query })
      expect(answer.rows.map(({ status }) => status === 'failed')).toEqual([true, false, false])
      expect(answer.rows[0]).toMatchObject({
        code: 'forbidden',
        errors: [{ pointer: '#/email_verified', detail: 'An address counts as verified with user:approve only.' }],
      })
    }
    const spanish = await one(verified(), { as: clerk, language: 'es' })
    expect(spanish.errors?.[0]?.detail).toBe('Una dirección solo cuenta como verificada con user:approve.')
    expect(await one(verified())).toMatchObject({ status: 'created' })
  })

  it('reaches no further than user:approve does', async () => {
    const harbour = await addUnit(realm, 'department', 'Quay')
    await addRole(realm, 'voucher', ['user:approve'], 'department')
    const vera = await addMember(realm, 'vera', { roles: ['mover', 'voucher', 'user'], unit_id: lab })
    const { rows } = await move([verified({ unit_id: lab }), verified({ unit_id: harbour }), verified(), person()], {
      as: vera.token,
    })
    expect(rows.map(({ status, errors }) => [status, errors?.[0]?.pointer])).toEqual([
      ['created', undefined],
      ['failed', '#/email_verified'],
      ['failed', '#/email_verified'],
      ['created', undefined],
    ])
  })
})

describe('who may not', () => {
  it('is refused before the answer begins', async () => {
    const line = file([person()])
    expectProblem(await send(line, { as: null }), 401, 'token_missing')
    expectProblem(await send(line, { as: 'a.b.c' }), 401, 'token_invalid')
    expectProblem(await send(line, { as: await tokenOf(`${AT}-too`) }), 401, 'token_wrong_tenant')
    const cy = await addMember(realm, 'cy')
    expectProblem(await send(line, { as: cy.token }), 403, 'forbidden')
    expectProblem(await send('', { as: cy.token }), 403, 'forbidden')
    expectProblem(await send('{"broken', { as: cy.token }), 403, 'forbidden')
    for (const query of ['dry_run=maybe', 'dry_run=', 'dry_run=true&dry_run=false'])
      expect(pointers(await send(line, { query })), query).toEqual(['#/query/dry_run'])
    expectProblem(await send(line, { query: 'surprise=1' }), 400, 'invalid_request')
    for (const type of ['application/json', 'text/plain', 'text/csv', 'multipart/form-data; boundary=x', null])
      expectProblem(await send(utf8(line), { type }), 415, 'unsupported_media_type')
    const reading = await knock(`http://${AT}.freehold.test${PATH}`, { headers: headersOf({}) })
    expectProblem(reading, 405, 'method_not_allowed')
    expect(reading.headers.get('Allow')).toBe('POST')
  })

  it('moves nobody in with a role that they do not hold, and others all the same', async () => {
    const answer = await move([person(), person({ role: 'admin' }), person({ roles: ['user', 'admin'] }), person()], {
      as: clerk,
    })
    expect(answer.rows.map(({ status, code, errors }) => [status, code, errors?.[0]?.pointer])).toEqual([
      ['created', undefined, undefined],
      ['failed', 'forbidden', '#/role'],
      ['failed', 'forbidden', '#/roles'],
      ['created', undefined, undefined],
    ])
  })

  it('moves people in where they reach, and nowhere else', async () => {
    const other = await addUnit(realm, 'department', 'Harbour')
    const answer = await move([person({ unit_id: lab }), person({ unit_id: other }), person()], { as: team })
    expect(answer.rows.map(({ status, code, errors }) => [status, code, errors?.[0]?.pointer])).toEqual([
      ['created', undefined, undefined],
      ['failed', 'forbidden', '#/unit_id'],
      ['failed', 'forbidden', '#/unit_id'],
    ])
    const alone = await addMember(realm, 'solo', { roles: ['alone', 'user'], unit_id: lab })
    expect(await one(person({ unit_id: lab }), { as: alone.token })).toMatchObject({ status: 'failed', code: 'forbidden' })
  })

  it('finds no room in a role that is full', async () => {
    await realm.asOwner(sql`insert into freehold.roles (id, name, max_users) values (gen_random_uuid(), 'captain', 2)`)
    const lines = [person({ roles: ['captain'] }), person({ roles: ['captain'] }), person({ roles: ['captain'] }), person()]
    for (const query of ['dry_run=true', '']) {
      const { rows } = await move(lines, { query })
      expect(rows.map(({ code }) => code)).toEqual([undefined, undefined, 'limit_reached', undefined])
    }
  })
})

/** Of hashes of other systems ten are computed in a minute (test/auth/foreign-login.test.ts). */
const aMinuteLater = () =>
  realm.asOwner(
    sql`update freehold.login_attempts set created_at = created_at - interval '1 minute' where access.is_foreign(hash_parameters)`,
  )

describe('the first login', () => {
  beforeEach(aMinuteLater)
  const enter = (username: string, password: string) => call(AT, '/api/v1/auth/login', { body: { username, password } })
  const moved = async (username: string, [, password_hash]: readonly [string, string], more: object = {}) => {
    const row = await one(person({ username, password_hash, ...more }))
    expect(row.status, JSON.stringify(row)).toBe('created')
    return row
  }

  it.each(VECTORS)('with %j replaces %s by a hash of ours, which the second login runs on', async (password, hash) => {
    const username = `first-${n++}`
    await moved(username, [password, hash])
    const [foreign = ''] = await storedOf(username)
    expect(foreign).not.toMatch(OURS)
    const first = await enter(username, password)
    expect(first.status, JSON.stringify(first.body)).toBe(200)
    expect(first.trips).toBe(2)
    expect(first.body.must_change_password).toBe(false)
    const [renewed = '', ...former] = await storedOf(username)
    expect(renewed).toMatch(OURS)
    expect(former).toEqual([])
    const second = await enter(username, password)
    expect([second.status, second.trips]).toEqual([200, 2])
    expect(await storedOf(username)).toEqual([renewed])
    expectProblem(await enter(username, `${password}x`), 401, 'invalid_credentials')
  })

  it('with a wrong password replaces nothing, and is counted', async () => {
    await moved('fumbler', [PASSWORD, HASH])
    const before = await storedOf('fumbler')
    expectProblem(await enter('fumbler', 'Wrong-1'), 401, 'invalid_credentials')
    expect(await storedOf('fumbler')).toEqual(before)
    for (let i = 0; i < 4; i++) await enter('fumbler', 'Wrong-1')
    // Locked: not with the right one either.
    expectProblem(await enter('fumbler', PASSWORD), 401, 'invalid_credentials')
    expect(await storedOf('fumbler')).toEqual(before)
  })

  it('of somebody who is not active, or holds no role, replaces nothing', async () => {
    await moved('sleeper', [PASSWORD, HASH], { is_active: false })
    const before = await storedOf('sleeper')
    expectProblem(await enter('sleeper', PASSWORD), 401, 'invalid_credentials')
    expect(await storedOf('sleeper')).toEqual(before)
    await moved('roleless', [PASSWORD, HASH])
    const kept = await storedOf('roleless')
    await realm.asOwner(
      sql`update freehold.user_roles set ends_at = now() where user_id = (select id from freehold.users where username = 'roleless')`,
    )
    expectProblem(await enter('roleless', PASSWORD), 403, 'user_inactive')
    expect(await storedOf('roleless')).toEqual(kept)
  })

  it('twenty times at once is twenty logins and one hash of ours', async () => {
    await moved('score', [PASSWORD, HASH])
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        exports.default.fetch(
          new Request(`http://${AT}.freehold.test/api/v1/auth/login`, {
            method: 'POST',
            headers: { 'Content-Type': 'application/json' },
            body: JSON.stringify({ username: 'score', password: PASSWORD }),
          }),
        ),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(await storedOf('score')).toEqual([expect.stringMatching(OURS)])
    const states = await realm.asOwner(
      sql`select a.state, count(*)::int as n from freehold.login_attempts a join freehold.users u on u.id = a.user_id where u.username = 'score' group by a.state`,
    )
    expect(states).toEqual([{ state: 'succeeded', n: 20 }])
    expect((await enter('score', PASSWORD)).status).toBe(200)
  })

  it('at once with a wrong one lets in who is right', async () => {
    await moved('both', [PASSWORD, HASH])
    const answers = await Promise.all(['Wrong-1', PASSWORD, 'Wrong-2', PASSWORD].map((password) => enter('both', password)))
    expect(answers.map(({ status }) => status)).toEqual([401, 200, 401, 200])
  })

  it('of who must change their password lets them do that alone', async () => {
    await moved('changer', [PASSWORD, HASH], { must_change_password: true })
    const { body } = await enter('changer', PASSWORD)
    expect(body.must_change_password).toBe(true)
    expectProblem(await call(AT, '/api/v1/users/me', { token: body.access_token }), 403, 'password_change_required')
    const change = (current_password: string, new_password: string) =>
      call(AT, '/api/v1/auth/password-change', { token: body.access_token, body: { current_password, new_password } })
    expect((await change(PASSWORD, 'Quiet-Harbour-77')).status).toBe(204)
    expect((await enter('changer', 'Quiet-Harbour-77')).status).toBe(200)
    // The one that was moved in is one of the former ones.
    await realm.asOwner(sql`update freehold.tenant set password_upper = false, password_special = false, password_digit = false`)
    const back = await change('Quiet-Harbour-77', PASSWORD)
    expect(pointers(back)).toEqual(['#/new_password'])
    await realm.asOwner(sql`update freehold.tenant set password_upper = true, password_special = true, password_digit = true`)
  })

  it('is not what a password change waits for: a hash of another system is compared there', async () => {
    const ann = await addPerson(realm, 'ann')
    const { body } = await enter('ann', ann.password)
    await moved('donor', [PASSWORD, HASH])
    const [foreign = ''] = await storedOf('donor')
    await realm.asOwner(sql`update freehold.passwords set password_hash = ${foreign} where user_id = ${ann.id}`)
    const change = (current_password: string, new_password: string) =>
      call(AT, '/api/v1/auth/password-change', { token: body.access_token, body: { current_password, new_password } })
    expectProblem(await change('Wrong-1', 'Quiet-Harbour-77'), 401, 'invalid_credentials')
    const changed = await change(PASSWORD, 'Quiet-Harbour-77')
    expect([changed.status, changed.trips]).toEqual([204, 2])
  })

  it('is all that such a hash is computed for: a password that was replaced before is in no history', async () => {
    await moved('forgetful', [PASSWORD, HASH])
    const [user] = await realm.asOwner(sql`select id from freehold.users where username = 'forgetful'`)
    const histories = async () =>
      (await realm.asOwner(sql`select access.history_parameters(${user?.id}, t) as history from freehold.tenant t`))[0]?.history
    expect(await histories()).toEqual([])
    const reset = await call(AT, `/api/v1/users/${user?.id}/reset-password`, {
      token,
      body: { new_password: 'Quiet-Harbour-77' },
    })
    expect(reset.status, JSON.stringify(reset.body)).toBe(200)
    expect(await histories()).toEqual([expect.stringMatching(OURS)])
  })
})

describe('the door', () => {
  beforeEach(aMinuteLater)
  it('renews nothing under a recipe that was not chosen when the person was moved in', async () => {
    await one(person({ username: 'target', password_hash: HASH }))
    const [foreign = ''] = await storedOf('target')
    const recipe = foreign.slice(0, foreign.lastIndexOf('$'))
    const { attemptedDigest, digest } = await import('../../src/passwords/hash.ts')
    const weak = `$pbkdf2-sha256-chain$r=1,i=1$${'A'.repeat(22)}`
    const proof = await attemptedDigest(PASSWORD, recipe)
    const reserve = sql`select access.begin_login(${realm.id}, ${realm.system_key}, 'target') as answer`
    const [reserved] = await realm.asOwner(reserve)
    const [settled] = await realm.asOwner(
      sql`select access.finish_login_with_rehash(${realm.id}, ${realm.system_key}, ${reserved?.answer.attempt}, ${proof}, ${weak}, ${await digest(PASSWORD, weak)}, sha256('x'), '{}') as answer`,
    )
    expect(settled?.answer.outcome).toBe('ok')
    expect(await storedOf('target')).toEqual([foreign])
  })
})
