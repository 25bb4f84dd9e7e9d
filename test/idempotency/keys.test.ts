/** Threat: a key that means another request than its sender thought, one that outlives the right to ask, one that others guess. */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type KeyCast, keyCast } from '../api-keys/cast.ts'
import { type Database, databaseOf, refusalOf } from '../support/databases.ts'
import { inside } from '../support/inside.ts'
import { call, operatorToken, wanted } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { admit, credentialOf, plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let here: KeyCast
let database: Database
beforeAll(async () => {
  here = await keyCast('keyed')
  database = await databaseOf('keyed')
})

let numbered = 0
const unit = () => ({ kind: 'team', name: `u${++numbered}` })
const post = (key: string, body: object, more: { token?: string; path?: string; headers?: Record<string, string> } = {}) =>
  here.ask(more.path ?? '/units', {
    body,
    ...(more.token && { token: more.token }),
    headers: { 'Idempotency-Key': key, ...more.headers },
  })
const replayed = ({ headers }: { headers: Headers }) => headers.get('Idempotency-Replayed')

describe('a key', () => {
  it.each([
    ['of 1 character', '!'],
    ['of 255 characters', '~'.repeat(255)],
    ['of 255 characters in quotes', `"${'x'.repeat(255)}"`],
    ['with a quote inside', 'a"b'],
  ])('%s is taken', async (_, key) => {
    const body = unit()
    expect((await post(key, body)).status).toBe(201)
    expect(replayed(await post(key, body))).toBe('true')
  })

  it.each([
    ['that is empty', ''],
    ['of 256 characters', 'x'.repeat(256)],
    ['of 256 characters in quotes', `"${'x'.repeat(256)}"`],
    ['that is empty in quotes', '""'],
    ['that begins with a quote and does not end with one', '"a'],
    ['with a space', 'a b'],
    ['with a tab', 'a\tb'],
    ['that is not ASCII', 'clé'],
  ])('%s is a 400 that points at the header', async (_, key) => {
    const body = unit()
    const answer = await post(key, body)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/header/Idempotency-Key'])
    expect((await here.ask('/units', { body })).status).toBe(201)
  })

  it('in quotes is the same key', async () => {
    const body = unit()
    const first = await post('quoted', body)
    const second = await post('"quoted"', body)
    expect([replayed(second), second.body]).toEqual(['true', first.body])
  })

  it('is refused in Spanish, too', async () => {
    const headers = { 'Accept-Language': 'es' }
    const bad = await post('a b', unit(), { headers })
    expect(bad.body.errors[0].detail).toBe('debe tener de 1 a 255 caracteres ASCII visibles, con comillas o sin ellas')
    await post('es', unit())
    const other = await post('es', unit(), { headers })
    expect([other.body.title, other.body.detail]).toEqual([
      'La Idempotency-Key pertenece a otra solicitud',
      'Esta Idempotency-Key ya se envió con otra solicitud: usa una nueva.',
    ])
  })

  it('is one for each route, and on one route for one path', async () => {
    const { id: ana } = await here.member('ana')
    const { id: eve } = await here.member('eve')
    const body = { permission: 'unit:read', effect: 'deny' }
    expect((await post('routes', body, { path: `/users/${ana}/overrides` })).status).toBe(201)
    expect((await post('routes', unit())).status).toBe(201)
    expectProblem(await post('routes', body, { path: `/users/${eve}/overrides` }), 422, 'idempotency_mismatch')
    expect(replayed(await post('routes', body, { path: `/users/${ana.toUpperCase()}/overrides/` }))).toBe('true')
  })

  it('of another tenant is another key', async () => {
    await copyTenant('keyed-too')
    const body = unit()
    const first = await post('tenants', body)
    const token = await tokenOf('keyed-too')
    const second = await call('keyed-too', '/api/v1/units', { token, body, headers: { 'Idempotency-Key': 'tenants' } })
    expect([second.status, replayed(second)]).toEqual([201, null])
    expect(second.body.id).not.toBe(first.body.id)
  })

  it('of an API key is not that of its owner’s session; its repeats count as uses', async () => {
    const { key, id } = await here.made(['unit:create', 'unit:read'])
    const body = unit()
    const first = await post('credentials', body, { token: key })
    expect(first.status).toBe(201)
    expect(replayed(await post('credentials', body, { token: key }))).toBe('true')
    expectProblem(await post('credentials', unit(), { token: key }), 422, 'idempotency_mismatch')
    const own = await post('credentials', unit())
    expect([own.status, replayed(own)]).toEqual([201, null])
    await expect.poll(async () => (await here.ask(`/api-keys/${id}`)).body.use_count, { timeout: 15_000 }).toBe(3)
  })

  it.each([
    ['a change', 'PATCH', '/units/{id}', { name: 'changed' }, 200],
    ['a question', 'POST', '/authz/check', { checks: [{ permission: 'unit:read' }] }, 200],
  ])('on %s is ignored, even one that is no key', async (_, method, path, body, status) => {
    const { id } = (await here.ask('/units', { body: unit() })).body
    for (const key of ['', 'a b', 'ignored', 'ignored']) {
      const answer = await here.ask(path.replace('{id}', id), { method, body, headers: { 'Idempotency-Key': key } })
      expect([answer.status, replayed(answer)]).toEqual([status, null])
    }
  })

  it('on an import and on a login is ignored: each is done again', async () => {
    const request = () =>
      new Request('http://keyed.freehold.test/api/v1/users/import', {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${here.bo.token}`,
          'Idempotency-Key': 'a b',
          'Content-Type': 'application/x-ndjson',
        },
        body: `${JSON.stringify({ email: 'imported@people.test', username: 'imported' })}\n`,
      })
    const reports = []
    for (let i = 0; i < 2; i++) {
      const response = await exports.default.fetch(request())
      expect([response.status, replayed(response)]).toEqual([200, null])
      reports.push(await response.text())
    }
    expect(reports[0]).toContain('"status":"created"')
    expect(reports[1]).toContain('already_exists')
    const { username, password } = await here.member('ida')
    const login = () => call('keyed', '/api/v1/auth/login', { body: { username, password }, headers: { 'Idempotency-Key': 'x' } })
    expect((await login()).body.access_token).not.toBe((await login()).body.access_token)
  })
})

describe('a repeated request', () => {
  it('is refused once the permission is gone, the session has ended, or the user is not active', async () => {
    const gone = await here.member('gone', { can: { 'unit:create': 'all', 'unit:read': 'all' } })
    const body = unit()
    expect((await post('gone', body, gone)).status).toBe(201)
    expect(replayed(await post('gone', body, gone))).toBe('true')
    await here.realm.asOwner(
      sql`update freehold.user_roles set ends_at = now() where user_id = ${gone.id} and role_id = ${await here.roleId('of gone')}`,
    )
    expectProblem(await post('gone', body, gone), 403, 'forbidden')
    await call('keyed', '/api/v1/auth/logout', { token: gone.token, method: 'POST' })
    expectProblem(await post('gone', body, gone), 401, 'session_ended')
  })

  it('gets the answer of then, whatever became of the resource', async () => {
    const body = unit()
    const first = await post('then', body)
    expect((await here.ask(`/units/${first.body.id}`, { method: 'PATCH', body: { name: 'renamed' } })).status).toBe(200)
    expect((await post('then', body)).body).toEqual(first.body)
    expect((await here.ask(`/units/${first.body.id}`, { method: 'DELETE' })).status).toBe(204)
    expect((await post('then', body)).body).toEqual(first.body)
  })

  it('gets its answer though the rules for passwords have changed since', async () => {
    const body = { email: 'rules@people.test', password: 'Violet-Anchor-38' }
    const first = await post('rules', body, { path: '/users' })
    expect(first.status).toBe(201)
    const rules = (min: number) => here.ask('/settings', { method: 'PATCH', body: { password_min_length: min } })
    expect((await rules(20)).status).toBe(200)
    expect((await post('rules', body, { path: '/users' })).body).toEqual(first.body)
    expect((await post('rules-new', { ...body, email: 'rules2@people.test' }, { path: '/users' })).status).toBe(400)
    await rules(12)
  })

  it('gets an answer of 15 KiB whole', async () => {
    const after = { text: 'ñ"\\'.repeat(2_500) }
    const body = { activity_type: 'REPORT_SENT', action: 'send', resource_type: 'report', after }
    const first = await post('large', body, { path: '/activities' })
    expect(first.status, JSON.stringify(first.body.errors)).toBe(201)
    expect(JSON.stringify(first.body).length).toBeGreaterThan(12_000)
    const second = await post('large', body, { path: '/activities' })
    expect([replayed(second), second.body]).toEqual(['true', first.body])
  })

  it('for a tenant starts no second run, and waits if it prefers to', async () => {
    const token = await operatorToken()
    const body = wanted(`once-${crypto.randomUUID().slice(0, 8)}`, { admin_password: undefined })
    const create = (headers: object = {}) =>
      call('', '/platform/v1/tenants', { token, body, headers: { 'Idempotency-Key': 'tenant', ...headers } })
    const first = await create({ Prefer: 'wait=30' })
    expect(first.status).toBe(201)
    const second = await create({ Prefer: 'wait=30' })
    expect([second.status, replayed(second), second.body]).toEqual([201, 'true', first.body])
    const third = await create()
    expect([third.status, third.body.status, third.body.id]).toEqual([202, 'provisioning', first.body.id])
    expect(third.body.initial_admin).toEqual(first.body.initial_admin)
    const [runs] = await (await inside('')).asOwner(
      sql`reset role`,
      sql`select count(*)::integer as n from platform.provisioning_runs where tenant_id = ${first.body.id}`,
    )
    expect(runs?.n).toBe(1)
  })
})

describe('in the database', () => {
  const hash = sql`sha256('key'::bytea)`
  const asked = sql`'POST /made', ${hash}, sha256('body'::bytea)`
  const keep = sql`select access.keep_answer(${asked}, '{"id": "1"}', null)`

  it('what is being answered elsewhere for longer than a moment is a 409, and creates nothing', async () => {
    const { access_token, session_id } = await plantSession('keyed')
    const id = sql`sha256(convert_to(${`${session_id} POST /api/v1/units`}, 'UTF8') || sha256(convert_to('held', 'UTF8')))`
    const lock = sql`hashtextextended('once:' || encode(${id}, 'hex'), 0)`
    const holder = database.asOwner(sql`select pg_advisory_xact_lock(${lock})`, sql`select pg_sleep(3)`)
    await expect
      .poll(async () => (await database.asOwner(sql`select pg_try_advisory_xact_lock(${lock}) as free`))[0]?.free)
      .toBe(false)
    const body = unit()
    const answer = await post('held', body, { token: access_token })
    expectProblem(answer, 409, 'illegal_state')
    expect(answer.body.detail).toBe('A request with this Idempotency-Key is being answered: repeat it in a moment.')
    await holder
    const again = await post('held', body, { token: access_token })
    expect([again.status, replayed(again)]).toEqual([201, null])
  })

  it('an answer is replaced by nobody, not even by its owner, and one of two transactions that keep one commits', async () => {
    const credential = await credentialOf('keyed')
    const admitted = admit(database, credential, null)
    expect(await refusalOf(database.app_url, admitted, keep)).toBe('none')
    expect(await refusalOf(database.app_url, admitted, keep)).toBe('FH409 illegal_state')
    const twice = await Promise.all(
      Array.from({ length: 20 }, async () =>
        refusalOf(
          database.app_url,
          admitted,
          sql`select access.keep_answer('POST /made', sha256('twice'::bytea), ${hash}, '{"id": "1"}', null)`,
        ),
      ),
    )
    expect(twice.filter((refusal) => refusal === 'none')).toHaveLength(1)
    expect(new Set(twice)).toEqual(new Set(['none', 'FH409 illegal_state']))
  })

  it('an answer is read with its own session alone', async () => {
    const [own, foreign] = [await credentialOf('keyed'), await credentialOf('keyed')]
    await database.asApp(admit(database, own, null), keep)
    const read = async (credential: object) =>
      (await database.asApp(admit(database, credential, null), sql`select access.kept_answer(${asked}) as kept`))[0]?.kept
    expect((await read(own)).resource).toEqual({ id: '1' })
    expect(await read(foreign)).toBeNull()
  })

  it('whoever was not admitted keeps nothing and reads nothing', async () => {
    expect(await refusalOf(database.app_url, keep)).toMatch(/^23502/)
    expect((await database.asApp(sql`select access.kept_answer(${asked}) as kept`))[0]?.kept).toBeNull()
    expect(await refusalOf(database.app_url, sql`select * from access.kept_answers`)).toMatch(/^42501/)
  })

  it('neither keys nor secrets are readable, and what the error carries is in no field that is logged', async () => {
    const made = await post('recognizable-key', { name: 'x', permissions: ['unit:read'] }, { path: '/api-keys' })
    const kept = JSON.stringify(await database.asOwner(sql`select k.* from access.kept_answers k`))
    expect(kept).toContain(made.body.id)
    expect(kept).not.toContain('recognizable-key')
    expect(kept).not.toContain(made.body.key.slice(12))
    const admitted = admit(database, await credentialOf('keyed'), null)
    await database.asApp(admitted, keep)
    const error = await database.asApp(admitted, sql`select access.begin_once(${asked})`).catch((failed) => failed)
    const { message, detail, hint, where, table } = error.cause ?? error
    expect(JSON.parse(table).resource).toEqual({ id: '1' })
    expect([message, detail, hint, where].join(' ')).not.toContain('"id"')
  })
})
