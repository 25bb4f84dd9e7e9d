/** Threat: a stranger learns who is known here, takes somebody's address, or gets in where the tenant lets nobody register. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { secretOf, sentTo } from '../support/secrets.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'open-door'
const PASSWORD = 'Marble-Kettle-52'
let realm: Inside
let admin: string

beforeAll(async () => {
  await Promise.all([copyTenant(AT), copyTenant('open-door-next')])
  realm = await inside(AT)
  admin = await tokenOf(AT)
})

const set = async (patch: object) => {
  const answer = await call(AT, '/api/v1/settings', { token: admin, method: 'PATCH', body: patch })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
}
const register = (email: unknown, more: object = {}) =>
  call(AT, '/api/v1/auth/register', { body: { email, password: PASSWORD, ...more } })
const verify = (token: unknown, more: object = {}, at = AT) => call(at, '/api/v1/auth/verify-email', { body: { token, ...more } })
/** Registers, and verifies the address as the page does that registered. */
const registered = async (email: string, more: object = {}) => {
  const { body } = await register(email, more)
  return verify(await secretOf(realm, 'register', email), { registration_secret: body.registration_secret })
}
const SECRET = { registration_secret: expect.stringMatching(/^[\w-]{43}$/) }
const resend = (email: string) => call(AT, '/api/v1/auth/verify-email/resend', { body: { email } })
const enter = (email: string, password = PASSWORD) => call(AT, '/api/v1/auth/login', { body: { email, password } })

it('nobody registers where the tenant does not allow it, which is so until it does; nor on the platform', async () => {
  expectProblem(await register('early@people.test'), 403, 'forbidden')
  expectProblem(
    await call('', '/platform/v1/auth/register', { body: { email: 'a@b.test', password: PASSWORD } }),
    404,
    'not_found',
  )
  expect(await sentTo(realm, 'early@people.test')).toEqual([])
})

describe('where it is allowed', () => {
  beforeAll(() => set({ registration: true }))

  it('somebody registers, is nobody until their address is shown to be theirs, and then logs in with the default role', async () => {
    const email = 'anabel@people.test'
    const answer = await register(email, { given_name: 'Ana', username: 'Anabel.Q', locale: 'es-PE' })
    expect([answer.status, answer.body]).toEqual([202, SECRET])
    expectProblem(await enter(email), 401, 'invalid_credentials')
    expect(await realm.asOwner(sql`select 1 from freehold.users where email = ${email}`)).toEqual([])
    expect((await verify(await secretOf(realm, 'register', email), answer.body)).status).toBe(204)
    const entered = await enter(email)
    expect(entered.status).toBe(200)
    const { body } = await call(AT, '/api/v1/users/me', { token: entered.body.access_token })
    expect(body).toMatchObject({
      email,
      username: 'anabel.q',
      given_name: 'Ana',
      role: 'user',
      email_verified: true,
      locale: 'es-PE',
    })
  })

  it('an address that is known is answered the same, and its owner is told; nothing of theirs changes', async () => {
    const bob = await addPerson(realm, 'bob')
    const answer = await register(bob.email, { password: 'Copper-Window-17' })
    expect([answer.status, answer.body]).toEqual([202, SECRET])
    expectDiscreet(answer)
    expect(await sentTo(realm, bob.email)).toEqual(['register_known'])
    expect((await enter(bob.email, bob.password)).status).toBe(200)
  })

  it('a username that is taken is not told: the person gets another', async () => {
    await addPerson(realm, 'cat')
    const email = 'cat@elsewhere.test'
    expect((await registered(email, { username: 'cat' })).status).toBe(204)
    const { access_token } = (await enter(email)).body
    expect((await call(AT, '/api/v1/users/me', { token: access_token })).body.username).toMatch(/^cat-[0-9a-f]{5}$/)
  })

  it('a stranger is not called as one who runs the place, whether they ask for it or their address does', async () => {
    for (const [email, more] of [
      ['stranger@elsewhere.test', { username: 'admin' }],
      ['root@elsewhere.test', {}],
    ] as const) {
      expect((await registered(email, more)).status).toBe(204)
      const { access_token } = (await enter(email)).body
      const { username } = (await call(AT, '/api/v1/users/me', { token: access_token })).body
      expect(username).toMatch(/^(admin|root)-[0-9a-f]{5}$/)
    }
  })

  it('a token works once, of twenty at once; another of the same address is worth nothing then', async () => {
    const email = 'dan@people.test'
    await register(email)
    const first = await secretOf(realm, 'register', email)
    const { body } = await register(email, { password: 'Copper-Window-17' })
    const second = await secretOf(realm, 'register', email)
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => verify(i % 2 ? first : second, body)))
    expect(answers.filter(({ status }) => status === 204)).toHaveLength(1)
    for (const { status } of answers) expect([204, 400, 409]).toContain(status)
    for (const token of [first, second]) expect(pointers(await verify(token))).toEqual(['#/token'])
    expect(await realm.asOwner(sql`select 1 from freehold.users where email = ${email}`)).toHaveLength(1)
  })

  it('a token is good for a day, of this tenant alone, and whole', async () => {
    const email = 'eve@people.test'
    await register(email)
    const token = await secretOf(realm, 'register', email)
    expect(pointers(await verify(token, {}, 'open-door-next'))).toEqual(['#/token'])
    expect(pointers(await verify(token.slice(1)))).toEqual(['#/token'])
    expect(pointers(await verify(''))).toEqual(['#/token'])
    expect(pointers(await verify(7))).toEqual(['#/token'])
    await realm.asOwner(sql`update freehold.registrations set expires_at = now() where email = ${email}`)
    expect(pointers(await verify(token))).toEqual(['#/token'])
    expectProblem(await enter(email), 401, 'invalid_credentials')
  })

  it('it is mailed once more on request, the same answer for everybody, and no more than five times an hour', async () => {
    const email = 'fin@people.test'
    const { body } = await register(email)
    for (let i = 0; i < 6; i++) expect((await resend(email)).body).toEqual({ status: 'accepted' })
    expect((await resend('stranger@people.test')).body).toEqual({ status: 'accepted' })
    expect(await sentTo(realm, email)).toEqual(Array(5).fill('register'))
    expect(await sentTo(realm, 'stranger@people.test')).toEqual([])
    expect((await verify(await secretOf(realm, 'register', email), body)).status).toBe(204)
    expect((await enter(email)).status).toBe(200)
  })

  it('the password must keep the tenant’s policy, every rule named', async () => {
    const answer = await register('guy@people.test', { password: 'guy' })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer).length).toBeGreaterThan(1)
  })

  it.each<[string, object, string]>([
    ['no address', { email: 'x' }, '#/email'],
    ['an over-long address', { email: `${'a'.repeat(250)}@people.test` }, '#/email'],
    ['a username of two alphabets', { username: 'аdmin' }, '#/username'],
    ['a username with an @', { username: 'a@b' }, '#/username'],
    ['an over-long name', { given_name: 'x'.repeat(256) }, '#/given_name'],
    ['control characters in a name', { family_name: 'a\u0007b' }, '#/family_name'],
    ['a locale that is none', { locale: 'not a locale' }, '#/locale'],
    ['a role', { role: 'admin' }, '#/role'],
    ['a password that is a number', { password: 12345678 }, '#/password'],
  ])('with %s is told where', async (_, more, pointer) => {
    const answer = await register('hob@people.test', more)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('only addresses of the named domains, when some are named', async () => {
    await set({ registration_domains: ['Allowed.test'] })
    const answer = await register('ida@people.test')
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/email'])
    expect((await register('ida@allowed.test')).status).toBe(202)
    expectProblem(await register('ida@sub.allowed.test'), 400, 'invalid_request')
    await set({ registration_domains: [] })
  })

  it('they get the role that the tenant names, and only one that who named it holds', async () => {
    await call(AT, '/api/v1/roles', { token: admin, body: { name: 'guest' } })
    await set({ registration_role: 'guest' })
    expect((await registered('jon@people.test')).status).toBe(204)
    const { access_token } = (await enter('jon@people.test')).body
    expect((await call(AT, '/api/v1/users/me', { token: access_token })).body.role).toBe('guest')
    const answer = await call(AT, '/api/v1/settings', { token: admin, method: 'PATCH', body: { registration_role: 'nobody' } })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/registration_role'])
    await set({ registration_role: null })
  })

  it('what was sent before the tenant closed its door is worth nothing', async () => {
    await register('kay@people.test')
    const token = await secretOf(realm, 'register', 'kay@people.test')
    await set({ registration: false })
    expect(pointers(await verify(token))).toEqual(['#/token'])
    expect(pointers(await verify(token, { new_password: 'Velvet-Comet-63' }))).toEqual(['#/token'])
    await set({ registration: true })
  })
})
