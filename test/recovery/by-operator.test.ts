/** Threat: an operator who only manages tenants becomes anybody in them; or does, and nobody can be asked who did it. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { closeWrites, openWrites } from '../../src/tenants/fence/fence.ts'
import { type Database, databaseOf, master } from '../support/databases.ts'
import { addPerson, inside } from '../support/inside.ts'
import { ADMIN, call, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const NAME = 'helped'
const NEW = 'Lantern-Orchard-71-x'
let id: string
let realm: Database
let owner: string

beforeAll(async () => {
  ;({ id } = await copyTenant(NAME))
  realm = await databaseOf(NAME)
  owner = await operatorToken()
})

const reset = (body: unknown, token = owner, whose = id) =>
  call('', `/platform/v1/tenants/${whose}/reset-password`, { token, body })
const logIn = (email: string, password: string) => call(NAME, '/api/v1/auth/login', { body: { email, password } })
let people = 0
const somebody = async () => addPerson(await inside(NAME), `helped-${++people}`)

describe('a reset by an operator', () => {
  it('gives a generated password once, ends sessions, and has it changed at the first login', async () => {
    const person = await somebody()
    const session = await plantSession(NAME, person.username)
    const answer = await reset({ email: person.email })
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
    expect(answer.body).toEqual({
      user_id: session.user_id,
      must_change_password: true,
      initial_password: expect.stringMatching(/^.{20,}$/),
    })
    expectProblem(await call(NAME, '/api/v1/auth/me', { token: session.access_token }), 401, 'session_ended')
    const { body } = await logIn(person.email, answer.body.initial_password)
    expect(body.must_change_password).toBe(true)
    expectProblem(await call(NAME, '/api/v1/users', { token: body.access_token }), 403, 'password_change_required')
    expectProblem(await logIn(person.email, person.password), 401, 'invalid_credentials')
    const [kept] = await realm.asOwner(
      sql`select is_first from freehold.passwords where user_id = ${session.user_id} and replaced_at is null`,
    )
    expect(kept).toEqual({ is_first: true })
  })

  it('takes a given password that passes the policy of the tenant, and tells each rule that it breaks', async () => {
    const person = await somebody()
    const answer = await reset({ user_id: (await plantSession(NAME, person.username)).user_id, new_password: NEW })
    expect([answer.status, answer.body.initial_password]).toEqual([200, undefined])
    expect((await logIn(person.email, NEW)).body.must_change_password).toBe(true)
    for (const new_password of ['short', `${NAME}-${NAME}-${NAME}`, NEW]) {
      const refused = await reset({ email: person.email, new_password })
      expectProblem(refused, 400, 'invalid_request')
      expect(new Set(pointers(refused))).toEqual(new Set(['#/new_password']))
      expectDiscreet(refused, new_password.length > 8 ? new_password : '---')
    }
  })

  it('of a tenant that is being moved is refused, and changes nothing in the database that is left', async () => {
    const person = await somebody()
    const session = await plantSession(NAME, person.username)
    const hashes = () => realm.asOwner(sql`select p.id, p.replaced_at from freehold.passwords p order by 1`)
    const before = await hashes()
    await closeWrites(realm.owner_url, id, 2, 'a'.repeat(32))
    const answer = await reset({ email: person.email })
    expectProblem(answer, 503, 'database_unavailable')
    expect(answer.headers.get('Retry-After')).toMatch(/^[1-9]/)
    expect(await hashes()).toEqual(before)
    await openWrites(realm.owner_url, id, 2, 'a'.repeat(32))
    expect((await call(NAME, '/api/v1/auth/me', { token: session.access_token })).status).toBe(200)
    expect((await reset({ email: person.email })).status).toBe(200)
  })

  it('is of the tenant’s administrator where nobody is named', async () => {
    const { status, body } = await reset({})
    expect(status).toBe(200)
    expect((await logIn(ADMIN.email, body.initial_password)).body.must_change_password).toBe(true)
    await realm.asOwner(sql`update freehold.users set must_change_password = false where username = 'bo'`)
  })

  it('is in both audits with the operator, and its password nowhere: not in them, in a log, or in kept answers', async () => {
    const person = await somebody()
    const lines: string[] = []
    for (const level of ['log', 'info', 'warn', 'error'] as const)
      vi.spyOn(console, level).mockImplementation((...said: unknown[]) => void lines.push(said.map(String).join(' ')))
    const generated = await reset({ email: person.email })
    const given = await reset({ email: person.email, new_password: 'Meadow-Compass-83-y' })
    vi.restoreAllMocks()
    expect([generated.status, given.status]).toEqual([200, 200])
    const entries = sql`select l.user_id, l.activity_type, l.action, l.resource_type, l.resource_id, d.user_name, d.before, d.after, d.path from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id`
    const above = await master(
      sql`${entries} where l.resource_id = ${id} and l.action = 'reset_password' order by l.at desc limit 2`,
    )
    for (const entry of above)
      expect(entry).toMatchObject({ activity_type: 'PASSWORD_RESET', user_name: 'ada', after: { user: person.email } })
    const within = await realm.asOwner(
      sql`${entries} where l.resource_id = ${generated.body.user_id} and l.activity_type = 'PASSWORD_RESET' order by l.at desc limit 2`,
    )
    expect(within).toHaveLength(2)
    for (const entry of within)
      expect(entry).toMatchObject({
        user_id: null,
        user_name: 'ada (platform)',
        path: `/platform/v1/tenants/${id}/reset-password`,
      })
    const all = JSON.stringify([
      lines,
      await master(
        sql`select l.*, d.* from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.at > now() - interval '1 minute'`,
      ),
      await realm.asOwner(sql`select l.*, d.* from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id`),
      await realm.asOwner(sql`select * from freehold.mails`),
      await realm.asOwner(sql`select * from access.kept_answers`),
      await master(sql`select * from access.kept_answers`),
    ])
    for (const secret of [generated.body.initial_password, 'Meadow-Compass-83-y']) expect(all).not.toContain(secret)
    const mails = await realm.asOwner(sql`select kind from freehold.mails where recipient = ${person.email}`)
    expect(mails).toEqual([{ kind: 'password_changed' }, { kind: 'password_changed' }])
  })

  it('revokes the API keys of the user', async () => {
    const { user_id, access_token: token } = await plantSession(NAME)
    const made = await call(NAME, '/api/v1/api-keys', { token, body: { name: 'k', permissions: ['user:read'] } })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect((await reset({ user_id })).status).toBe(200)
    expect(await realm.asOwner(sql`select 1 from freehold.api_keys where user_id = ${user_id} and revoked_at is null`)).toEqual(
      [],
    )
    await realm.asOwner(sql`update freehold.users set must_change_password = false where username = 'bo'`)
  })

  it('of twenty at once leaves one password, and that one works', async () => {
    const person = await somebody()
    const answers = await Promise.all(Array.from({ length: 20 }, () => reset({ email: person.email })))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    const { user_id } = answers[0]?.body ?? {}
    const [kept] = await realm.asOwner(
      sql`select count(*)::integer as n from freehold.passwords where user_id = ${user_id} and replaced_at is null`,
    )
    expect(kept).toEqual({ n: 1 })
    const given = await Promise.all(
      Array.from({ length: 5 }, () => reset({ email: person.email, new_password: 'Harbour-Thistle-64-z' })),
    )
    expect(given.map(({ status }) => status)).toContain(200)
    expect((await logIn(person.email, 'Harbour-Thistle-64-z')).status).toBe(200)
  })
})

describe('a reset is refused', () => {
  it('to everybody who holds less: an operator, an auditor, a tenant’s administrator, nobody', async () => {
    const person = await somebody()
    const platform = await inside('')
    for (const role of ['operator', 'auditor']) {
      const some = await addPerson(platform, `helping-${role}`, { roles: [role] })
      const refused = await reset({ email: person.email }, await tokenOf('', some.username))
      expectProblem(refused, 403, 'forbidden')
    }
    expectProblem(await reset({ email: person.email }, await tokenOf(NAME)), 401, 'token_wrong_tenant')
    expectProblem(await call('', `/platform/v1/tenants/${id}/reset-password`, { body: {} }), 401, 'token_missing')
    expect((await logIn(person.email, person.password)).status).toBe(200)
  })

  it('for a user or a tenant that is not there, and one that is not made', async () => {
    expectProblem(await reset({ email: 'nobody@nowhere.test' }), 404, 'not_found')
    expectProblem(await reset({ user_id: crypto.randomUUID() }), 404, 'not_found')
    expectProblem(await reset({}, owner, crypto.randomUUID()), 404, 'not_found')
    const failed = await plantTenant('helped-failed', 'failed')
    expectProblem(await reset({}, owner, failed), 409, 'illegal_state')
  })

  it.each<[string, unknown, string[]]>([
    ['an unknown field', { must_change_password: false }, ['#/must_change_password']],
    ['both names', { email: 'a@b.test', user_id: '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11' }, ['#/email']],
    ['a wrong type', { new_password: 7 }, ['#/new_password']],
    ['an over-long password', { new_password: 'x'.repeat(1025) }, ['#/new_password']],
    ['an id that is none', { user_id: 'bo' }, ['#/user_id']],
    ['a list', [], ['#']],
  ])('with %s', async (_, body, at) => {
    const refused = await reset(body)
    expectProblem(refused, 400, 'invalid_request')
    expect(pointers(refused)).toEqual(at)
  })

  it('with a mebibyte', async () => {
    expectProblem(await reset({ new_password: 'x'.repeat(1024 * 1024) }), 413, 'body_too_large')
  })
})
