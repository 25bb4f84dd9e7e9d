/**
 * Threat: whoever finds an open session, or steals its token, makes themselves a key that outlives it; or guesses the password in it until
 * it is right. So what makes credentials asks for a login of the last ten minutes, and proving it again is counted.
 */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { stepUpChallenge } from '../../src/http/admit.ts'
import { addPerson, type Inside, inside, type Person, takePassword } from '../support/inside.ts'
import { nameOf, newJar, readCookie } from '../support/jar.ts'
import { askings } from '../support/matrix.ts'
import { ADMIN, type Answer, call, login } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { type Planted, plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const CHALLENGE =
  'Bearer realm="freehold", error="insufficient_user_authentication", error_description="A newer or stronger login is needed", acr_values="aal1", max_age="600"'
const document = (await call('', '/openapi.json')).body
let realm: Inside
let platform: Inside
let foreign: Planted
let behind: Inside

beforeAll(async () => {
  await copyTenant('stepping')
  await copyTenant('stepping-other')
  await copyTenant('stepping-behind', { is_behind: true })
  realm = await inside('stepping')
  platform = await inside('')
  behind = await inside('stepping-behind')
  foreign = await plantSession('stepping-other')
})

/** The login of a session was so long ago. */
const age = (at: Inside, session_id: string, ago: string) =>
  at.asOwner(sql`update freehold.sessions set created_at = now() - ${ago}::interval where id = ${session_id}`)
const makeKey = (token: string, at = 'stepping') =>
  call(at, `${at ? '/api' : '/platform'}/v1/api-keys`, { token, body: { name: 'printer', permissions: ['user:read'] } })
const stepUp = (token: string, password: unknown, at = 'stepping') =>
  call(at, `${at ? '/api' : '/platform'}/v1/auth/step-up`, { token, body: { password } })

type Logged = Person & Planted
let people = 0
/** A person of their own for one test, whose login was an hour ago. */
async function someone(): Promise<Logged> {
  const person = await addPerson(realm, `stepper-${people++}`)
  const planted = await plantSession(realm, person.username)
  await age(realm, planted.session_id, '1 hour')
  return { ...person, ...planted }
}

/** The answer asks for a newer login, in the words of RFC 9470. */
function expectAsked(answer: Answer, about = '') {
  expectProblem(answer, 401, 'step_up_required', about)
  expect(answer.headers.get('WWW-Authenticate')).toBe(CHALLENGE)
}

describe('a login', () => {
  it('is fresh for ten minutes, without any step-up', async () => {
    const cy = await someone()
    await age(realm, cy.session_id, '9 minutes 45 seconds')
    expect((await makeKey(cy.access_token)).status).toBe(201)
  })

  it('of ten minutes ago is not: the answer is the challenge of RFC 9470, and nothing was made', async () => {
    const cy = await someone()
    await age(realm, cy.session_id, '10 minutes')
    const answer = await makeKey(cy.access_token)
    expectAsked(answer)
    expect(answer.body.detail).toBe('This needs a login of the last 10 minutes: POST auth/step-up, then send the request again.')
    expect(await realm.asOwner(sql`select 1 from freehold.api_keys where user_id = ${cy.user_id}`)).toEqual([])
    const spanish = await call('stepping', '/api/v1/api-keys', {
      token: cy.access_token,
      headers: { 'Accept-Language': 'es' },
      body: { name: 'printer', permissions: ['user:read'] },
    })
    expect(spanish.body.detail).toMatch(/de los últimos 10 minutos/)
  })

  it('is not made younger by an exchange of its refresh token', async () => {
    const cy = await someone()
    const { body } = await call('stepping', '/api/v1/auth/refresh-token', { body: { refresh_token: cy.refresh_token } })
    expect(Date.now() / 1000 - Number(decodeJwt(body.access_token).auth_time)).toBeGreaterThan(3590)
    expectAsked(await makeKey(body.access_token))
  })

  it('of long ago is enough for everything else', async () => {
    const cy = await someone()
    for (const path of ['/api-keys', '/auth/me', '/sessions'])
      expect((await call('stepping', `/api/v1${path}`, { token: cy.access_token })).status, path).toBe(200)
  })

  it('that lacks the permission is told so, and not asked to step up for nothing', async () => {
    const operator = await addPerson(platform, 'stepping-auditor', { roles: ['auditor'] })
    const planted = await plantSession(platform, operator.username)
    await age(platform, planted.session_id, '1 hour')
    const path = `/platform/v1/tenants/${realm.id}/rotate-signing-key`
    expectProblem(await call('', path, { token: planted.access_token, method: 'POST' }), 403, 'forbidden')
  })
})

describe('what asks for a fresh login', () => {
  const asking = (plane: 'tenant' | 'platform') =>
    askings(document, plane, { '/platform/v1/tenants': NOBODY }).filter(
      ({ path, method }) => document.paths[path][method.toLowerCase()]['x-fresh-minutes'] !== undefined,
    )
  const NOBODY = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'

  it('is what makes and rotates keys, and nothing that takes a key away', () => {
    expect([...asking('tenant'), ...asking('platform')].map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'POST /api/v1/api-keys',
        'PATCH /api/v1/api-keys/{id}',
        'POST /api/v1/api-keys/{id}/rotate',
        'POST /platform/v1/api-keys',
        'PATCH /platform/v1/api-keys/{id}',
        'POST /platform/v1/api-keys/{id}/rotate',
        'POST /platform/v1/tenants/{id}/rotate-keys',
        'POST /platform/v1/tenants/{id}/rotate-signing-key',
        'POST /platform/v1/tenants/{id}/rotate-credentials',
      ]),
    )
    const taking = [...asking('tenant'), ...asking('platform')].filter(({ method }) => method === 'DELETE' || method === 'GET')
    // Each is a way in, and taking it away may leave its owner out.
    expect(taking.map(({ name }) => name)).toEqual([
      'DELETE /api/v1/auth/passkeys/{id}',
      'DELETE /api/v1/auth/identities/{id}',
      'DELETE /platform/v1/auth/passkeys/{id}',
    ])
  })

  it('declares the refusal, and says it in its description', () => {
    const { description, responses } = document.paths['/api/v1/api-keys'].post
    expect(description).toContain(
      'Of a session it asks a login of the last 10 minutes, else the answer is 401 `step_up_required`.',
    )
    expect(JSON.stringify(responses['401'])).toBeTruthy()
  })

  // Its answer is verified before the database is asked (test/passkeys/passkeys.test.ts).
  const asked = (plane: 'tenant' | 'platform') => asking(plane).filter(({ name }) => !name.endsWith('/passkeys/register'))

  it.each(asked('tenant').map((one) => [one.name, one] as const))('%s refuses an old one', async (_, { method, at, body }) => {
    const planted = await plantSession(realm)
    await age(realm, planted.session_id, '1 hour')
    expectAsked(await call('stepping', at, { method, token: planted.access_token, ...(body !== undefined && { body }) }))
  })

  it.each(asked('platform').map((one) => [one.name, one] as const))('%s refuses an old one', async (_, { method, at, body }) => {
    const planted = await plantSession(platform, 'ada')
    await age(platform, planted.session_id, '1 hour')
    expectAsked(await call('', at, { method, token: planted.access_token, ...(body !== undefined && { body }) }))
  })

  it('is not asked of an API key, whose owner logged in when they made it', async () => {
    const planted = await plantSession(platform, 'ada')
    const made = await call('', '/platform/v1/api-keys', {
      token: planted.access_token,
      body: { name: 'rotator', permissions: ['tenant:update'] },
    })
    await age(platform, planted.session_id, '1 hour')
    const rotated = await call('', `/platform/v1/tenants/${foreignId()}/rotate-signing-key`, {
      method: 'POST',
      headers: { 'X-API-Key': made.body.key },
    })
    expect([200, 202]).toContain(rotated.status)
    const again = await call('', `/platform/v1/api-keys/${made.body.id}`, {
      method: 'PATCH',
      body: { name: 'mine' },
      headers: { 'X-API-Key': made.body.key },
    })
    expectProblem(again, 403, 'forbidden')
  })

  it('is asked on the schema of before, too, while a tenant is behind', async () => {
    const planted = await plantSession(behind)
    await age(behind, planted.session_id, '1 hour')
    expectProblem(await makeKey(planted.access_token, 'stepping-behind'), 401, 'step_up_required')
    expect((await stepUp(planted.access_token, ADMIN.password, 'stepping-behind')).status).toBe(200)
    expect((await makeKey(planted.access_token, 'stepping-behind')).status).toBe(201)
  })

  it('is not asked of whoever sends the current password with the request', async () => {
    const cy = await someone()
    const about = { token: cy.access_token }
    const email = { new_email: 'stepper-new@people.test', current_password: cy.password }
    expect((await call('stepping', '/api/v1/auth/email-change', { ...about, body: email })).status).toBeLessThan(300)
    const password = { current_password: cy.password, new_password: 'Marble-Kettle-52' }
    expect((await call('stepping', '/api/v1/auth/password-change', { ...about, body: password })).status).toBe(204)
  })
})

const foreignId = () => String(decodeJwt(foreign.access_token).tid)

describe('a step-up', () => {
  it('takes two round trips, answers with a new access token, and the session is fresh with either', async () => {
    const cy = await someone()
    const answer = await stepUp(cy.access_token, cy.password)
    expect([answer.status, answer.trips]).toEqual([200, 2])
    expect(answer.body).toEqual({ access_token: expect.any(String), token_type: 'Bearer', expires_in: 900 })
    expectDiscreet(answer, cy.password)
    const [before, after] = [decodeJwt(cy.access_token), decodeJwt(answer.body.access_token)]
    expect(after).toMatchObject({ sub: cy.user_id, sid: cy.session_id, amr: ['pwd'], acr: 'aal1', username: cy.username })
    expect(Math.abs(Number(after.auth_time) - Date.now() / 1000)).toBeLessThan(60)
    expect(Number(after.auth_time)).toBeGreaterThanOrEqual(Number(before.auth_time))
    expect((await makeKey(answer.body.access_token)).status).toBe(201)
    expect((await makeKey(cy.access_token)).status).toBe(201)
  })

  it('lasts ten minutes, too', async () => {
    const cy = await someone()
    await stepUp(cy.access_token, cy.password)
    await realm.asOwner(
      sql`update freehold.sessions set authenticated_at = now() - interval '10 minutes' where id = ${cy.session_id}`,
    )
    expectAsked(await makeKey(cy.access_token))
  })

  it('raises its own session, and no other of the same person', async () => {
    const cy = await someone()
    const other = await plantSession(realm, cy.username)
    await age(realm, other.session_id, '1 hour')
    expect((await stepUp(cy.access_token, cy.password)).status).toBe(200)
    expectAsked(await makeKey(other.access_token))
  })

  it('goes on with the refresh token that there was, and is in its next access token', async () => {
    const cy = await someone()
    await stepUp(cy.access_token, cy.password)
    const { status, body } = await call('stepping', '/api/v1/auth/refresh-token', { body: { refresh_token: cy.refresh_token } })
    expect(status).toBe(200)
    expect(Math.abs(Number(decodeJwt(body.access_token).auth_time) - Date.now() / 1000)).toBeLessThan(60)
    expect((await makeKey(body.access_token)).status).toBe(201)
  })

  it('of a session with two factors keeps its level', async () => {
    const cy = await someone()
    await realm.asOwner(sql`update freehold.sessions set aal = 2, amr = 'pwd otp mfa' where id = ${cy.session_id}`)
    const { body } = await stepUp(cy.access_token, cy.password)
    expect(decodeJwt(body.access_token)).toMatchObject({ amr: ['pwd', 'otp', 'mfa'], acr: 'aal2' })
  })

  it('is in the audit, and so is one that failed', async () => {
    const cy = await someone()
    await stepUp(cy.access_token, 'Wrong-1')
    await stepUp(cy.access_token, cy.password)
    const said = await realm.asOwner(
      sql`select l.activity_type, l.resource_id, l.risk_score from freehold.audit_log l where l.user_id = ${cy.user_id} and l.activity_type like 'STEP_UP%' order by l.at`,
    )
    expect(said).toEqual([
      { activity_type: 'STEP_UP_FAILED', resource_id: cy.session_id, risk_score: 20 },
      { activity_type: 'STEP_UP', resource_id: cy.session_id, risk_score: expect.any(Number) },
    ])
  })

  it('of a browser sets the cookie of the access token alone', async () => {
    const person = await addPerson(realm, 'stepper-with-cookies')
    const jar = newJar('stepping')
    const credentials = { username: person.username, password: person.password, cookie: true }
    expect((await jar.ask('/api/v1/auth/login', { body: credentials })).status).toBe(200)
    await realm.asOwner(sql`update freehold.sessions set created_at = now() - interval '1 hour' where user_id = ${person.id}`)
    const key = { name: 'printer', permissions: ['user:read'] }
    expectAsked(await jar.ask('/api/v1/api-keys', { body: key }))
    const foreignPage = await jar.ask('/api/v1/auth/step-up', { body: { password: person.password }, origin: 'http://evil.test' })
    expectProblem(foreignPage, 403, 'forbidden')
    const answer = await jar.ask('/api/v1/auth/step-up', { body: { password: person.password } })
    expect(answer.body).toEqual({ token_type: 'Cookie', expires_in: 900, account: person.id })
    expect(answer.headers.getSetCookie().map(readCookie)).toEqual([
      expect.objectContaining({ name: nameOf('a', person.id), maxAge: 900 }),
    ])
    expect((await jar.ask('/api/v1/api-keys', { body: key })).status).toBe(201)
    expect((await jar.ask('/api/v1/auth/refresh-token', { body: {} })).status).toBe(200)
  })

  it('of an operator works alike', async () => {
    const operator = await addPerson(platform, 'stepping-operator', { roles: ['owner'] })
    const planted = await plantSession(platform, operator.username)
    await age(platform, planted.session_id, '1 hour')
    expectAsked(await makeKey(planted.access_token, ''))
    expectProblem(await stepUp(planted.access_token, 'Wrong-1', ''), 401, 'invalid_credentials')
    expect(await stepUp(planted.access_token, operator.password, '')).toMatchObject({ status: 200, trips: 2 })
    expect((await makeKey(planted.access_token, '')).status).toBe(201)
  })
})

describe('a step-up is refused', () => {
  it('with a wrong password, and the session stays as it was', async () => {
    const cy = await someone()
    const answer = await stepUp(cy.access_token, 'Wrong-1')
    expectProblem(answer, 401, 'invalid_credentials')
    expect(answer.body.detail).toBe('The password is not right.')
    expectAsked(await makeKey(cy.access_token))
    expect((await call('stepping', '/api/v1/auth/me', { token: cy.access_token })).status).toBe(200)
  })

  it('twenty times at once: five are compared, and then the right password is refused as well', async () => {
    const cy = await someone()
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => stepUp(cy.access_token, `Wrong-${i}`)))
    for (const answer of answers) expectProblem(answer, 401, 'invalid_credentials')
    const [row] = await realm.asOwner(
      sql`select count(*)::int as n from freehold.login_attempts where key = ${`change:${cy.user_id}`} and state = 'failed'`,
    )
    expect(row).toEqual({ n: 5 })
    expectProblem(await stepUp(cy.access_token, cy.password), 401, 'invalid_credentials')
    expectAsked(await makeKey(cy.access_token))
  })

  it('while changes of the password are locked, and lets the person log in meanwhile', async () => {
    const cy = await someone()
    await realm.asOwner(
      sql`insert into freehold.lockouts (key, failures, failed_at, locked_until) values (${`change:${cy.user_id}`}, 5, now(), now() + interval '10 minutes')`,
    )
    expectProblem(await stepUp(cy.access_token, cy.password), 401, 'invalid_credentials')
    const entered = await login('stepping', { body: { username: cy.username, password: cy.password } })
    expect((await makeKey(entered.access_token)).status).toBe(201)
  })

  it('when the session has ended, before it or between its two halves', async () => {
    const cy = await someone()
    const credential = { session_id: cy.session_id, user_id: cy.user_id }
    const [row] = await realm.asOwner(
      sql`select access.admit(${realm.id}, jsonb_build_object('session_id', s.id, 'user_id', s.user_id, 'proof', access.session_proof(s.id)), null, '{}') from freehold.sessions s where s.id = ${credential.session_id}`,
      sql`update freehold.sessions set ended_at = now(), ended_because = 'planted' where id = ${credential.session_id}`,
      sql`select (access.raise_session(access.session(), 'pwd', 1)).id as raised`,
    )
    expect(row).toEqual({ raised: null })
    expectProblem(await stepUp(cy.access_token, cy.password), 401, 'session_ended')
  })

  it('with the token of another tenant', async () =>
    expectProblem(await stepUp(foreign.access_token, ADMIN.password), 401, 'token_wrong_tenant'))

  it('without a token, and with an API key', async () => {
    const body = { password: ADMIN.password }
    expectProblem(await call('stepping', '/api/v1/auth/step-up', { body }), 401, 'token_missing')
    const made = await makeKey((await plantSession(realm)).access_token)
    const headers = { 'X-API-Key': made.body.key }
    expectProblem(await call('stepping', '/api/v1/auth/step-up', { body, headers }), 403, 'forbidden')
  })

  it('of a person who has no password, without breaking', async () => {
    const cy = await someone()
    await takePassword(realm, cy.username)
    expectProblem(await stepUp(cy.access_token, cy.password), 401, 'invalid_credentials')
  })

  it('with a body that is none: over-long, of another type, with an unknown field', async () => {
    const cy = await someone()
    for (const password of ['x'.repeat(1025), 7, null, ''])
      expect(pointers(await stepUp(cy.access_token, password))).toEqual(['#/password'])
    const more = await call('stepping', '/api/v1/auth/step-up', {
      token: cy.access_token,
      body: { password: cy.password, aal: 2 },
    })
    expectProblem(more, 400, 'invalid_request')
  })
})

describe('a level', () => {
  /** How an admission ends that asks a session for so many factors. */
  const asked = async (session_id: string, aal: number) =>
    realm
      .asOwner(
        sql`select access.admit(${realm.id}, jsonb_build_object('session_id', s.id, 'user_id', s.user_id, 'proof', access.session_proof(s.id)), null, '{}', false, null, ${aal}::integer) from freehold.sessions s where s.id = ${session_id}`,
      )
      .then(
        () => 'admitted',
        (error) => String(error.cause?.message ?? error.message),
      )

  it('is asked of the session, and decided by the database', async () => {
    const cy = await someone()
    expect(await asked(cy.session_id, 1)).toBe('admitted')
    expect(await asked(cy.session_id, 2)).toContain('step_up_required')
    await realm.asOwner(sql`update freehold.sessions set aal = 2 where id = ${cy.session_id}`)
    expect(await asked(cy.session_id, 2)).toBe('admitted')
  })

  it('is what the challenge names', () => {
    const told = 'error="insufficient_user_authentication", error_description="A newer or stronger login is needed"'
    expect(stepUpChallenge({ fresh: null, aal: 2 })).toBe(`Bearer realm="freehold", ${told}, acr_values="aal2"`)
    expect(stepUpChallenge({ fresh: 5, aal: 2 })).toBe(`Bearer realm="freehold", ${told}, acr_values="aal2", max_age="300"`)
  })
})
