/** Threat: a grant that the standard forbids is offered to everybody, and a client believes in a secret that nobody reads. */
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { ADMIN, call, login, makeTenant } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { copyTenant } from '../support/tenants.ts'

const LOGIN = '/api/v1/auth/login'
const FORM = { username: ADMIN.email, password: ADMIN.password }
const metadata = (at: string) => call(at, '/.well-known/openid-configuration')
const enter = (form: Record<string, string>, headers: Record<string, string> = {}, at = 'no-grant') =>
  call(at, LOGIN, { form: { ...FORM, ...form }, headers })
const basic = (text: string) => ({ Authorization: `Basic ${btoa(text)}` })

beforeAll(() => copyTenant('no-grant'))

describe('the password grant', () => {
  it('is not offered by a new tenant, whose metadata names refreshing alone', async () => {
    const { status, body, trips, master } = await metadata('no-grant')
    expect([status, trips, master]).toEqual([200, 1, 0])
    expect(body.grant_types_supported).toEqual(['refresh_token'])
    expect(body.response_types_supported).toEqual([])
    expect(body.jwks_uri).toBe('http://no-grant.freehold.test/.well-known/jwks.json')
  })

  it('is offered when the settings say so, as soon as what the location keeps is a minute old', async () => {
    const { id } = await copyTenant('some-grant')
    const aMinuteLater = () => caches.default.delete(`http://freehold.test/kept/${id}/metadata`)
    const { access_token: token } = await login('some-grant')
    for (const password_grant of [true, false]) {
      expect((await call('some-grant', '/api/v1/settings', { token, method: 'PATCH', body: { password_grant } })).status).toBe(
        200,
      )
      await aMinuteLater()
      const { body } = await metadata('some-grant')
      expect(body.grant_types_supported).toEqual(password_grant ? ['password', 'refresh_token'] : ['refresh_token'])
      expect((await call('some-grant', '/.well-known/oauth-authorization-server')).body).toEqual(body)
    }
  })

  it('is told without asking the database again within that minute, and told of each tenant alone', async () => {
    const [{ id }] = await Promise.all([copyTenant('kept-grant'), copyTenant('kept-other')])
    const { access_token: token } = await login('kept-grant')
    await call('kept-grant', '/api/v1/settings', { token, method: 'PATCH', body: { password_grant: true } })
    const told = []
    for (const at of ['kept-grant', 'kept-grant', 'kept-other', 'kept-other', 'kept-grant']) {
      const { body, trips } = await call('', '/.well-known/openid-configuration', { headers: { 'X-Tenant': at } })
      await vi.waitUntil(() => caches.default.match(`http://freehold.test/kept/${id}/metadata`), {
        interval: 10,
        timeout: 60_000,
      })
      told.push([body.issuer, body.grant_types_supported.length, trips])
    }
    const [own, other] = ['kept-grant', 'kept-other'].map((name) => `http://${name}.freehold.test`)
    expect(told).toEqual([
      [own, 2, 1],
      [own, 2, 0],
      [other, 1, 1],
      [other, 1, 0],
      [own, 2, 0],
    ])
    const kept = await caches.default.match(`http://freehold.test/kept/${id}/metadata`)
    expect(kept?.headers.get('Cache-Control')).toBe('max-age=60')
  })

  it('is told all the same where the location keeps nothing, or its cache fails', async () => {
    await copyTenant('uncached-grant')
    const broken = vi.spyOn(Object.getPrototypeOf(caches.default), 'match').mockRejectedValue(new Error('the cache is away'))
    const answers = [await metadata('uncached-grant'), await metadata('uncached-grant')]
    broken.mockRestore()
    expect(answers.map(({ status, trips }) => [status, trips])).toEqual([
      [200, 1],
      [200, 1],
    ])
  })

  it.each(['lims', 'vigia', 'coveris', 'groups'])(
    'is offered by a tenant of the preset %s, whose document asks for it',
    async (role_preset) => {
      const at = `grant-${role_preset}`
      await makeTenant(at, { role_preset })
      expect((await metadata(at)).body).toMatchObject({
        grant_types_supported: ['password', 'refresh_token'],
        token_endpoint: `http://${at}.freehold.test/oauth/token`,
      })
    },
  )

  it('is one thing, the form of a login another: it is there for everybody, with grant_type and without', async () => {
    for (const form of [{}, { grant_type: 'password' }, { grant_type: '', scope: '', client_id: 'swagger', client_secret: '' }]) {
      const { status, body } = await enter(form as Record<string, string>)
      expect([status, body.token_type], JSON.stringify(form)).toEqual([200, 'Bearer'])
    }
  })
})

describe('the secret of a client', () => {
  it('is refused in the form, because nobody reads it', async () => {
    const answer = await enter({ grant_type: 'password', client_id: 'portal', client_secret: 'x' })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/client_secret'])
    expect(answer.body.errors[0].detail).toBe('must be left out: no client has a secret here')
  })

  it.each([
    ['with an id', 'portal:secret'],
    ['without an id', ':secret'],
    ['that is not of that form', 'portal'],
  ])('is refused in HTTP Basic %s, for a form and for JSON', async (_, text) => {
    for (const answer of [await enter({}, basic(text)), await call('no-grant', LOGIN, { body: ADMIN, headers: basic(text) })]) {
      expectProblem(answer, 400, 'invalid_request')
      expect(answer.body.detail).toBe('No client has a secret here: log in without HTTP Basic authentication.')
    }
  })

  it('is refused in HTTP Basic that is no base64', async () => {
    for (const Authorization of ['Basic %%%', 'basic  p%rtal', 'BASIC a b'])
      expectProblem(await enter({}, { Authorization }), 400, 'invalid_request')
  })

  it.each(['portal:', ':'])('is not what `%s` in HTTP Basic is, which clients without one send', async (text) => {
    expect((await enter({}, basic(text))).status).toBe(200)
  })

  it('is refused before a password is looked at: it counts as no guess', async () => {
    for (let i = 0; i < 7; i++) expect((await enter({ password: `Wrong-${i}`, client_secret: 'x' })).status).toBe(400)
    for (let i = 0; i < 7; i++) expect((await enter({ password: `Wrong-${i}` }, basic('a:b'))).status).toBe(400)
    expect((await enter({})).status).toBe(200)
  })
})
