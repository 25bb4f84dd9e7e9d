/**
 * Passkeys of a tenant's former name (Related Origins, Web Authentication Level 3). Threat: pages of somebody else use the passkeys of a
 * name that they have now, or of one that they never had; or one that no browser can use any more counts as a second factor.
 */

import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { propagate } from '../../src/tenants/lifecycle/lifecycle.ts'
import { freeSubdomains } from '../../src/tenants/lifecycle/subdomains.ts'
import { master, settings } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { originOf } from '../support/jar.ts'
import { knock } from '../support/knock.ts'
import { mailsTo } from '../support/mails.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { newVisitor } from '../support/visitors.ts'
import { type Authenticator, type Differently, newAuthenticator } from './authenticator.ts'

const OLD = 'former-keys'
const NEW = 'newer-keys'
const OTHER = 'other-keys'
const hostOf = (at: string) => `${at}.freehold.test`
const WELL_KNOWN = '/.well-known/webauthn'
let realm: Inside
let ann: Person
let token: string
let key: Authenticator
let id: string
let operator: string

const post = (at: string, path: string, body: object, by?: string) =>
  call(at, `/api/v1/auth/${path}`, { body, ...(by && { token: by }) })
const rename = async (subdomain: string) =>
  expect((await call('', `/platform/v1/tenants/${id}`, { token: operator, method: 'PATCH', body: { subdomain } })).status).toBe(
    200,
  )
const optionsOf = async (at: string, body: object = {}) => (await post(at, 'passkeys/login/options', body)).body
/** A login at the new host with the passkey of the former one, as a browser does it that has asked that host. */
const enter = async (how: Differently = {}) => {
  const options = await optionsOf(NEW, { rp_id: hostOf(OLD) })
  return post(NEW, 'passkeys/login', { credential: await key.get(options, { origin: originOf(NEW), ...how }) })
}
const own = async () => (await call(NEW, '/api/v1/auth/passkeys', { token })).body.data
const ends = (at: string) =>
  realm.asOwner(sql`update freehold.passkeys set ends_at = now() + ${at}::interval where user_id = ${ann.id}`)

beforeAll(async () => {
  operator = await operatorToken()
  id = (await copyTenant(OLD)).id
  await copyTenant(OTHER)
  realm = await inside(OLD)
  ann = await addPerson(realm, 'former-ann')
  token = await tokenOf(realm, 'former-ann')
  key = await newAuthenticator(originOf(OLD))
  const made = await post(
    OLD,
    'passkeys/register',
    { credential: await key.create((await post(OLD, 'passkeys/register/options', {}, token)).body) },
    token,
  )
  expect(made.body).toMatchObject({ rp_id: hostOf(OLD), ends_at: null })
  await rename(NEW)
})

describe('the hosts of a tenant that was renamed', () => {
  it('both say that pages of the new one may use their passkeys, the former one without a redirect', async () => {
    for (const at of [OLD, NEW]) {
      const answer = await knock(`${originOf(at)}${WELL_KNOWN}`)
      expect([answer.status, answer.headers.get('Content-Type')], at).toEqual([200, 'application/json'])
      expect(answer.body).toEqual({ origins: [originOf(NEW)] })
    }
    const head = await knock(`${originOf(OLD)}${WELL_KNOWN}`, { method: 'HEAD' })
    expect(head.status).toBe(200)
  })

  it('say nothing else differently: keys are redirected, and what is no read or names the tenant in a header is refused', async () => {
    expect((await knock(`${originOf(OLD)}/.well-known/jwks.json`)).status).toBe(308)
    expect((await knock(`${originOf(OLD)}${WELL_KNOWN}/more`)).status).toBe(308)
    expectProblem(await call(OLD, WELL_KNOWN, { method: 'POST' }), 410, 'tenant_renamed')
    expectProblem(await call('', WELL_KNOWN, { tenant: OLD }), 410, 'tenant_renamed')
    expect((await call(OTHER, WELL_KNOWN)).body).toEqual({ origins: [originOf(OTHER)] })
  })
})

describe('a passkey of the former name', () => {
  it('is asked for where its host is named, logs in at the new one, and the answer says until when', async () => {
    expect(await optionsOf(NEW)).toMatchObject({ rpId: hostOf(NEW), former_rp_ids: [hostOf(OLD)] })
    const answer = await enter()
    expect([answer.status, answer.trips], JSON.stringify(answer.body)).toEqual([200, 2])
    const days = (Date.parse(answer.body.passkey_ends_at) - Date.now()) / 86_400_000
    expect(days).toBeCloseTo(30, 1)
    expect(await own()).toMatchObject([{ rp_id: hostOf(OLD), ends_at: expect.stringMatching(/Z$/) }])
  })

  it('is offered on the login page, and its use is told on the page that follows', async () => {
    const visitor = newVisitor(NEW)
    const { html } = await visitor.ask('/login')
    expect(html).toContain(`Log in with a passkey of ${hostOf(OLD)}`)
    expect(html.match(/data-passkey="get"/g)).toHaveLength(2)
    expect(html.match(/data-quiet="yes"/g)).toHaveLength(1)
    const said = await visitor.ask('/login', { headers: { 'Accept-Language': 'es' } })
    expect(said.html).toContain(`Entrar con una llave de acceso de ${hostOf(OLD)}`)
  })

  it('does not log in from a page of its former host, nor for a host that it is not for', async () => {
    expectProblem(await enter({ origin: originOf(OLD) }), 401, 'invalid_credentials')
    expectProblem(await enter({ rp_id: hostOf(NEW) }), 401, 'invalid_credentials')
  })

  it('is asked for of no other tenant, and of no host that is none of this one', async () => {
    for (const [at, rp_id] of [
      [OTHER, hostOf(OLD)],
      [NEW, hostOf(OTHER)],
      [NEW, 'freehold.test'],
      [NEW, 'evil.test'],
      [NEW, 'x'.repeat(254)],
    ] as const) {
      const answer = await post(at, 'passkeys/login/options', { rp_id })
      expectProblem(answer, 400, 'invalid_request')
      expect(pointers(answer)).toEqual(['#/rp_id'])
    }
    for (const body of [{ rp_id: 1 }, { rp_id: '' }, { rpId: hostOf(OLD) }])
      expectProblem(await post(NEW, 'passkeys/login/options', body), 400, 'invalid_request')
  })

  it('counts as a factor until it ends, and as none from then on, whoever asks', async () => {
    const mfa = async () => (await call(NEW, '/api/v1/auth/whoami', { token })).body.mfa
    const shown = async () => (await call(NEW, `/api/v1/users/${ann.id}`, { token: await tokenOf(realm) })).body.factors
    await realm.asOwner(sql`update freehold.tenant set mfa_required = true, mfa_grace_days = 0`)
    expect(await mfa()).toMatchObject({ methods: ['passkey'], due_at: null })
    expect((await call(NEW, '/api/v1/api-keys', { token })).status).toBe(200)
    const login = { username: 'former-ann', password: ann.password }
    expect((await post(NEW, 'login', login)).body).toMatchObject({ mfa_required: true, methods: ['passkey'] })
    await ends('-1 minute')
    expectProblem(await call(NEW, '/api/v1/api-keys', { token }), 403, 'mfa_setup_required')
    expect((await post(NEW, 'login', login)).body.token_type).toBe('Bearer')
    expectProblem(await enter(), 401, 'invalid_credentials')
    await realm.asOwner(sql`update freehold.tenant set mfa_required = false`)
    expect(await shown()).toEqual([])
    await ends('30 days')
    expect(await shown()).toEqual(['passkey'])
  })

  it('goes on without an end when the tenant has its name again, and ends anew when it is renamed', async () => {
    await rename(OLD)
    expect((await call(OLD, '/api/v1/auth/passkeys', { token })).body.data).toMatchObject([{ ends_at: null }])
    expect((await knock(`${originOf(NEW)}${WELL_KNOWN}`)).body).toEqual({ origins: [originOf(OLD)] })
    await rename(NEW)
    expect(await own()).toMatchObject([{ ends_at: expect.any(String) }])
  })

  it('that says a lower count than before is refused, and its owner is told by mail', async () => {
    key.count(7)
    expect((await enter()).status).toBe(200)
    expectProblem(await enter(), 401, 'invalid_credentials')
    const mails = await mailsTo(ann.email, 2)
    expect(mails.map(({ subject }) => subject)).toContainEqual(expect.stringContaining('may have been copied'))
    key.count(9)
  })

  it('ends with the name at the latest: when that is free, its host says nothing of this tenant', async () => {
    expect((await enter()).status).toBe(200)
    await master(sql`update platform.subdomains set until = now() - interval '1 second' where name = ${OLD}`)
    await freeSubdomains(env, settings())
    await propagate({ env, config: settings(), meter: { master: 0 }, trace_id: 'c'.repeat(32) }, id)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
    expect((await optionsOf(NEW)).former_rp_ids).toEqual([])
    expectProblem(await post(NEW, 'passkeys/login/options', { rp_id: hostOf(OLD) }), 400, 'invalid_request')
    const credential = await key.get({ ...(await optionsOf(NEW)), rpId: hostOf(OLD) }, { origin: originOf(NEW) })
    expectProblem(await post(NEW, 'passkeys/login', { credential }), 401, 'invalid_credentials')
    expectProblem(await call(OLD, WELL_KNOWN), 404, 'tenant_not_found')
    vi.useRealTimers()
  })

  it('is purged a day after its end, without a mail', async () => {
    await ends('-23 hours')
    await realm.asOwner(sql`select access.purge(1000)`)
    expect(await own()).toHaveLength(1)
    await ends('-25 hours')
    await realm.asOwner(sql`delete from access.purges`, sql`select access.purge(1000)`)
    expect(await own()).toEqual([])
    const kinds = await realm.asOwner(sql`select distinct kind from freehold.mails where user_id = ${ann.id} order by 1`)
    expect(kinds.map(({ kind }) => kind)).toEqual(['passkey_added', 'passkey_copied'])
  })
})
