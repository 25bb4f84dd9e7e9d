/** Threat: a field that no schema looks at; a door that stands open where the tenant is off, or for who may not pass. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'

const AT = 'sieve'
let realm: Inside
let admin: string
let ruth: Awaited<ReturnType<typeof addMember>>

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('sieve-off')])
  realm = await inside(AT)
  admin = await tokenOf(AT)
  await call(AT, '/api/v1/settings', { token: admin, method: 'PATCH', body: { registration: true } })
  ruth = await addMember(realm, 'ruth')
})

const LONG = 'x'.repeat(2000)
const BAD = [null, 7, true, [], {}, '', LONG, 'a\u0000b', '\ud800']
const OPEN: Record<string, Record<string, unknown>> = {
  '/password-reset': { email: 'ruth@people.test' },
  '/password-reset/confirm': { token: 'x', new_password: 'Marble-Kettle-52' },
  '/verify-email': { token: 'x' },
  // A body has one of the two.
  '/verify-email?secret': { token: 'x', registration_secret: 'x' },
  '/verify-email?password': { token: 'x', new_password: 'Marble-Kettle-52' },
  '/verify-email/resend': { email: 'ruth@people.test' },
  '/register': {
    email: 'sue@people.test',
    password: 'Marble-Kettle-52',
    username: 'sue',
    given_name: 'Sue',
    family_name: 'Q',
    locale: 'en',
  },
}
const ADMITTED: Record<string, Record<string, unknown>> = {
  '/email-change': { new_email: 'new@people.test', current_password: 'Violet-Anchor-38' },
  '/verify-phone': { code: '123456' },
  '/reset-password': { user_id: '', new_password: 'Marble-Kettle-52', must_change_password: true },
}
const fields = (doors: typeof OPEN) =>
  Object.entries(doors).flatMap(([path, body]) => Object.keys(body).map((field): [string, string] => [path, field]))
const PASSWORDS = new Set(['new_password', 'password', 'current_password'])

describe.each<[string, [string, string][], () => string | undefined]>([
  ['open', fields(OPEN), () => undefined],
  ['for who is admitted', fields(ADMITTED), () => admin],
])('every field of the doors that are %s', (_, all, token) => {
  it.each(all)('%s %s is refused when it is wrong, and pointed at', async (path, field) => {
    for (const bad of BAD) {
      const body = { ...OPEN[path], ...ADMITTED[path], ...(path === '/reset-password' && { user_id: ruth.id }), [field]: bad }
      // A password is any text; a flag may be true.
      if (
        (PASSWORDS.has(field) && (bad === 'a\u0000b' || bad === '\ud800')) ||
        (field === 'must_change_password' && bad === true)
      )
        continue
      const answer = await call(AT, `/api/v1/auth${path}`, { token: token(), body })
      expectProblem(answer, 400, 'invalid_request', `${path} ${field} ${JSON.stringify(bad)}`)
      expect(pointers(answer)).toContain(`#/${field}`)
    }
  })
})

it.each(Object.keys({ ...OPEN, ...ADMITTED }))('%s takes no field that it does not have, and no list', async (path) => {
  const body = { ...OPEN[path], ...ADMITTED[path], ...(path === '/reset-password' && { user_id: ruth.id }) }
  const token = path in ADMITTED ? admin : undefined
  expect(pointers(await call(AT, `/api/v1/auth${path}`, { token, body: { ...body, is_admin: true } }))).toEqual(['#/is_admin'])
  for (const raw of ['[]', 'null', '"x"', '{', ''])
    expectProblem(await call(AT, `/api/v1/auth${path}`, { token, raw, method: 'POST' }), 400, 'invalid_request', raw)
})

it('a password of halves of characters or of control characters is answered, not failed at', async () => {
  for (const password of ['a\u0000B7-xyzw', '\ud800B7-xyzw', '\u202eB7-xyzwq', 'é'.repeat(900)]) {
    const made = await call(AT, '/api/v1/auth/register', { body: { email: `p${password.length}@people.test`, password } })
    expect([202, 400]).toContain(made.status)
    const confirmed = await call(AT, '/api/v1/auth/password-reset/confirm', { body: { token: 'x', new_password: password } })
    expectProblem(confirmed, 400, 'invalid_request')
    expectDiscreet(confirmed)
  }
})

describe('a tenant that is switched off', () => {
  it('is told at every open door alike', async () => {
    const operator = await operatorToken()
    const off = await inside('sieve-off')
    expect(
      (await call('', `/platform/v1/tenants/${off.id}/deactivate`, { token: operator, method: 'POST' })).status,
    ).toBeLessThan(300)
    for (const [path, body] of Object.entries(OPEN))
      expectProblem(await call('sieve-off', `/api/v1/auth${path}`, { body }), 403, 'tenant_inactive', path)
    const answers = await off.asOwner(sql`select count(*)::int as n from freehold.registrations`)
    expect(answers).toEqual([{ n: 0 }])
  })
})

describe('who must change their password', () => {
  it('comes through none of the doors of the admitted, but to that change', async () => {
    const who = await addMember(realm, 'must')
    await realm.asOwner(sql`update freehold.users set must_change_password = true where id = ${who.id}`)
    const at = (path: string, method: string, body?: unknown) => call(AT, `/api/v1${path}`, { token: who.token, method, body })
    for (const answer of [
      await at('/auth/email-change', 'POST', { new_email: 'must@elsewhere.test', current_password: who.password }),
      await at('/auth/phone-verification', 'POST'),
      await at('/auth/verify-phone', 'POST', { code: '123456' }),
      await at('/sessions', 'GET'),
      await at('/sessions/history', 'GET'),
      await at(`/sessions/${crypto.randomUUID()}`, 'DELETE'),
    ])
      expectProblem(answer, 403, 'password_change_required')
    const change = { current_password: who.password, new_password: 'Marble-Kettle-52' }
    expect((await at('/auth/password-change', 'POST', change)).status).toBe(204)
  })
})

describe('who holds no role, or has no password', () => {
  it('gets a password by mail, and still only in with a role', async () => {
    const who = await addPerson(realm, 'none')
    await realm.asOwner(
      sql`delete from freehold.passwords where user_id = ${who.id}`,
      sql`update freehold.user_roles set ends_at = now() where user_id = ${who.id}`,
    )
    const { secretOf } = await import('../support/secrets.ts')
    await call(AT, '/api/v1/auth/password-reset', { body: { email: who.email } })
    const token = await secretOf(realm, 'password_reset', who.email)
    const body = { token, new_password: 'Marble-Kettle-52' }
    expect((await call(AT, '/api/v1/auth/password-reset/confirm', { body })).status).toBe(204)
    const entered = await call(AT, '/api/v1/auth/login', { body: { username: 'none', password: 'Marble-Kettle-52' } })
    expectProblem(entered, 403, 'user_inactive')
  })
})

describe('a key', () => {
  it('of who may change everybody, that names this alone, sets nobody’s password who holds more, and not its owner’s', async () => {
    await addRole(realm, 'plain', ['user:update'], 'all')
    const key = (await call(AT, '/api/v1/api-keys', { token: admin, body: { name: 'k', permissions: ['user:update'] } })).body.key
    const reset = (id: string) => call(AT, `/api/v1/users/${id}/reset-password`, { headers: { 'X-API-Key': key }, body: {} })
    const { body: bo } = await call(AT, '/api/v1/users/me', { token: admin })
    expectProblem(await reset(bo.id), 403, 'forbidden')
    const { initial_password: _, ...other } = (
      await call(AT, '/api/v1/users', { token: admin, body: { email: 'vic@people.test', role: 'admin' } })
    ).body
    expectProblem(await reset(other.id), 403, 'forbidden')
    expect((await reset((await addPerson(realm, 'low', { roles: ['plain'] })).id)).status).toBe(200)
  })
})
