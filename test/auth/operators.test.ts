/** The platform's own realm has the same doors. The operators here are of this file; their names must not meet another's. */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, forge, type Inside, inside, type Person } from '../support/inside.ts'
import { ADMIN, type Answer, call, login } from '../support/people.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const NEW = 'Marble-Kettle-52'
let platform: Inside
let opal: Person
let entered: Answer

beforeAll(async () => {
  platform = await inside('')
  opal = await addPerson(platform, 'opal-the-operator', { roles: ['auditor'] })
  entered = await enter({ username: opal.username, password: opal.password })
})

const enter = (body: unknown, more: Record<string, unknown> = {}) => call('', '/platform/v1/auth/login', { body, ...more })
const me = (token: string) => call('', '/platform/v1/auth/me', { token })

describe('an operator', () => {
  it('logs in by username, by e-mail and through the form, in two round trips', async () => {
    for (const answer of [
      entered,
      await enter({ email: ` ${opal.email.toUpperCase()}`, password: opal.password }),
      await call('', '/platform/v1/auth/login', {
        form: { grant_type: 'password', username: opal.username, password: opal.password },
      }),
    ]) {
      expect(answer.status).toBe(200)
      expect(answer.trips).toBe(2)
      expectDiscreet(answer)
    }
  })

  it('gets a token of the platform: its URL, its id, no tenant', () => {
    const claims = decodeJwt(entered.body.access_token)
    expect(claims).toMatchObject({
      iss: 'http://freehold.test',
      aud: 'http://freehold.test',
      tid: platform.id,
      sub: opal.id,
      tenant: null,
      roles: ['auditor'],
    })
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(900)
  })

  it('is shown by me and whoami', async () => {
    const token = entered.body.access_token
    expect((await me(token)).body).toMatchObject({ sub: opal.id, username: opal.username, roles: ['auditor'], tenant: null })
    const answer = await call('', '/platform/v1/auth/whoami', { token })
    expect(answer.body).toMatchObject({
      sub: opal.id,
      tenant: { id: platform.id, subdomain: null, url: 'http://freehold.test' },
      permissions: expect.arrayContaining(['tenant:read']),
    })
    expect(answer.body.permissions).not.toContain('tenant:create')
    expectDiscreet(answer)
  })

  it('refreshes, and a replay ends the session', async () => {
    const first = (await enter({ email: opal.email, password: opal.password })).body
    const exchange = (refresh_token: string, agent = 'cy/1.0') =>
      call('', '/platform/v1/auth/refresh-token', { body: { refresh_token }, headers: { 'User-Agent': agent } })
    const second = await exchange(first.refresh_token)
    expect([second.status, second.trips]).toEqual([200, 1])
    expect((await me(second.body.access_token)).status).toBe(200)
    expectProblem(await exchange(first.refresh_token, 'thief/1'), 401, 'refresh_reused')
    expectProblem(await me(second.body.access_token), 401, 'session_ended')
    expectProblem(await exchange(second.body.refresh_token), 401, 'refresh_invalid')
  })

  it('logs out', async () => {
    const { access_token } = (await enter({ email: opal.email, password: opal.password })).body
    expect((await call('', '/platform/v1/auth/logout', { token: access_token, method: 'POST' })).status).toBe(204)
    expectProblem(await me(access_token), 401, 'session_ended')
    expect((await me(entered.body.access_token)).status).toBe(200)
  })

  it('changes the password by the same rules, and the other sessions end', async () => {
    const ruth = await addPerson(platform, 'ruth-the-operator', { roles: ['auditor'] })
    const session = async () => (await enter({ username: ruth.username, password: ruth.password })).body.access_token
    const [token, other] = [await session(), await session()]
    const change = (current_password: string, new_password: string) =>
      call('', '/platform/v1/auth/password-change', { token, body: { current_password, new_password } })
    expectProblem(await change('Wrong-1', NEW), 401, 'invalid_credentials')
    expectProblem(await change(ruth.password, 'weak'), 400, 'invalid_request')
    expect((await change(ruth.password, NEW)).status).toBe(204)
    expect((await me(token)).status).toBe(200)
    expectProblem(await me(other), 401, 'session_ended')
    expectProblem(await enter({ username: ruth.username, password: ruth.password }), 401, 'invalid_credentials')
    expect((await enter({ username: ruth.username, password: NEW })).status).toBe(200)
  })

  it('with a temporary password may only change it', async () => {
    const theo = await addPerson(platform, 'theo-the-operator', { roles: ['owner'] })
    await platform.asOwner(sql`update freehold.users set must_change_password = true where id = ${theo.id}`)
    const { body } = await enter({ username: theo.username, password: theo.password })
    expect(body.must_change_password).toBe(true)
    expect((await me(body.access_token)).status).toBe(200)
    expectProblem(await call('', '/platform/v1/auth/whoami', { token: body.access_token }), 403, 'password_change_required')
    expectProblem(await call('', '/platform/v1/tenants', { token: body.access_token }), 403, 'password_change_required')
  })

  it('is locked after five failures like anybody, and costs the same when unknown', async () => {
    const gwen = await addPerson(platform, 'gwen-the-operator', { roles: ['auditor'] })
    for (let i = 0; i < 5; i++)
      expectProblem(await enter({ username: gwen.username, password: 'Wrong-1' }), 401, 'invalid_credentials')
    const locked = await enter({ username: gwen.username, password: gwen.password })
    const unknown = await enter({ username: 'nobody-the-operator', password: 'Wrong-1' })
    expectProblem(locked, 401, 'invalid_credentials')
    expect([locked.trips, { ...locked.body, trace_id: '' }]).toEqual([unknown.trips, { ...unknown.body, trace_id: '' }])
  })

  it('is not a user of a tenant, nor the other way round', async () => {
    await copyTenant('commons')
    const credentials = { email: opal.email, password: opal.password }
    expectProblem(await call('commons', '/api/v1/auth/login', { body: credentials }), 401, 'invalid_credentials')
    expectProblem(await enter(ADMIN), 401, 'invalid_credentials')
    const { access_token } = await login('commons')
    const tenant = await inside('commons')
    const { sub, sid } = decodeJwt(access_token) as { sub: string; sid: string }
    expectProblem(await me(access_token), 401, 'token_wrong_tenant')
    expectProblem(
      await me(await forge(tenant, { sub, sid }, { claims: { tid: platform.id, iss: platform.url, aud: platform.url } })),
      401,
      'token_invalid',
    )
    expectProblem(await me(await forge(platform, { sub, sid })), 401, 'session_ended')
  })
})
