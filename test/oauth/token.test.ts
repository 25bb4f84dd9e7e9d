/** Threat: a grant that the tenant does not offer, a client that is taken for another, an error that tells a stranger something. */
import { sql } from 'drizzle-orm'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { ADMIN, call, login } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'
import { ask, basic, bearer, expectRefused } from './asking.ts'

const AT = 'oauth-token'
const URL_OF = `http://${AT}.freehold.test`
const PASSWORD = { grant_type: 'password', username: ADMIN.email, password: ADMIN.password }
const token = (form: Record<string, string> | string, headers?: Record<string, string>, at = AT) =>
  ask(at, 'token', form, headers)
const refreshed = (refresh_token: string, more: Record<string, string> = {}, at = AT) =>
  token({ grant_type: 'refresh_token', refresh_token, ...more }, {}, at)

let realm: Inside
beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('oauth-none')
  realm = await inside(AT)
  await realm.asOwner(sql`update freehold.tenant set password_grant = true, max_sessions = 1000`)
})

describe('the password grant', () => {
  it('gives tokens where the settings offer it, in two round trips', async () => {
    const answer = await token({ ...PASSWORD, client_id: 'portal', scope: 'openid everything' })
    expect([answer.status, answer.trips]).toEqual([200, 2])
    expect(answer.body).toMatchObject({ token_type: 'Bearer', expires_in: 900, must_change_password: false })
    const claims = decodeJwt<{ permissions: string[] }>(answer.body.access_token)
    expect(decodeProtectedHeader(answer.body.access_token).typ).toBe('at+jwt')
    expect(claims).toMatchObject({ iss: URL_OF, aud: URL_OF, client_id: 'portal', permissions_truncated: true })
    expect(answer.body.scope).toBe(claims.permissions.join(' '))
    expect(answer.headers.get('Cache-Control')).toBe('no-store')
    expect(answer.headers.get('Pragma')).toBe('no-cache')
  })

  it('says which scope the token has to whoever asked for one, also if it has none', async () => {
    const all = (await token({ ...PASSWORD, scope: 'user:read' })).body
    expect(all.scope).toBe(decodeJwt(all.access_token).scope)
    expect(all.scope.split(' ').length).toBeGreaterThan(10)
    const identifier = 'urn:example:bare'
    await realm.asOwner(
      sql`insert into freehold.audiences (id, identifier, name, token_permissions) values (gen_random_uuid(), ${identifier}, 'Bare', 'none')`,
    )
    const bare = { ...PASSWORD, resource: identifier }
    const told = (await token({ ...bare, scope: 'user:read' })).body
    expect([told.scope, decodeJwt(told.access_token).scope]).toEqual(['', undefined])
    expect((await refreshed(told.refresh_token, { resource: identifier, scope: 'user:read' })).body.scope).toBe('')
    for (const form of [bare, { ...bare, scope: '' }]) expect((await token(form)).body).not.toHaveProperty('scope')
  })

  it('is of the client freehold when none is named, in a parameter or in HTTP Basic', async () => {
    expect(decodeJwt((await token(PASSWORD)).body.access_token).client_id).toBe('freehold')
    expect(decodeJwt((await token(PASSWORD, basic('my+app', ''))).body.access_token).client_id).toBe('my app')
  })

  it('does not exist where the settings do not offer it, for a right password neither, and nothing is tried', async () => {
    for (let i = 0; i < 7; i++) {
      const answer = await token({ ...PASSWORD, password: `Wrong-${i}` }, {}, 'oauth-none')
      expectRefused(answer, 400, 'unsupported_grant_type')
      expect(answer.trips).toBe(1)
    }
    expectRefused(await token(PASSWORD, {}, 'oauth-none'), 400, 'unsupported_grant_type')
    await login('oauth-none')
  })

  it('tells wrong, unknown and locked in the same words', async () => {
    await addPerson(realm, 'locked', { password: 'Right-horse-77' })
    const tries = [...Array(7).keys()].map((i) => ({ ...PASSWORD, username: 'locked', password: `Wrong-${i}` }))
    const answers = [await token({ ...PASSWORD, username: 'nobody-at-all' })]
    for (const form of tries) answers.push(await token(form))
    answers.push(await token({ ...PASSWORD, username: 'locked', password: 'Right-horse-77' }))
    for (const answer of answers) expectRefused(answer, 400, 'invalid_grant')
    expect(new Set(answers.map(({ text = '', body }: any) => text + JSON.stringify(body))).size).toBe(1)
  })

  it('reads a plus sign, a percent sign and letters of all scripts as they were encoded', async () => {
    const password = 'a+b c%41&ñ=€-Ω'
    await addPerson(realm, 'encoded', { password })
    const form = { ...PASSWORD, username: 'encoded', password }
    expect((await token(form)).status).toBe(200)
    const written = (said: string) => `grant_type=password&username=encoded&password=${said}`
    expect((await token(written(encodeURIComponent(password)))).status).toBe(200)
    expectRefused(await token(written(encodeURIComponent(password).replace('%2B', '+'))), 400, 'invalid_grant')
    expectRefused(await token(written('%FF%FE')), 400, 'invalid_request')
  })

  it('is refused for a password that was for a first login and was not changed, and says so', async () => {
    const { id } = await addPerson(realm, 'late', { password: 'Right-horse-77' })
    await realm.asOwner(
      sql`update freehold.users set must_change_password = true where id = ${id}`,
      sql`update freehold.passwords set is_first = true, created_at = now() - interval '30 days' where user_id = ${id}`,
    )
    const answer = await token({ ...PASSWORD, username: 'late', password: 'Right-horse-77' })
    expectRefused(answer, 400, 'invalid_grant')
    expect(answer.body.error_description).toMatch(/first login/)
  })
})

describe('the refresh grant', () => {
  it('is there in every tenant, takes one round trip, and goes on with the client of the login', async () => {
    const first = (await token({ ...PASSWORD, client_id: 'portal' })).body
    const answer = await refreshed(first.refresh_token, { client_id: 'portal' })
    expect([answer.status, answer.trips]).toEqual([200, 1])
    expect(decodeJwt(answer.body.access_token)).toMatchObject({ client_id: 'portal', sid: decodeJwt(first.access_token).sid })
    const { refresh_token } = await login('oauth-none')
    const other = await refreshed(refresh_token, { client_id: 'whichever' }, 'oauth-none')
    expect([other.status, decodeJwt(other.body.access_token).client_id]).toEqual([200, 'freehold'])
  })

  it('goes on at auth/refresh-token and back', async () => {
    const { refresh_token } = (await token({ ...PASSWORD, client_id: 'portal' })).body
    const there = await call(AT, '/api/v1/auth/refresh-token', { body: { refresh_token } })
    expect(decodeJwt(there.body.access_token).client_id).toBe('portal')
    expect((await refreshed(there.body.refresh_token, { client_id: 'portal' })).status).toBe(200)
  })

  it('tells a token of another client, of another tenant, used, ended and invented in the same words', async () => {
    const enter = async () => (await token({ ...PASSWORD, client_id: 'portal' })).body
    const [other, used, ended] = [await enter(), await enter(), await enter()]
    const next = (await refreshed(used.refresh_token, { client_id: 'portal' })).body
    await refreshed(next.refresh_token, { client_id: 'portal' })
    await call(AT, '/api/v1/auth/logout', { method: 'POST', token: ended.access_token })
    const answers = [
      await refreshed(other.refresh_token, { client_id: 'thief' }),
      await refreshed(other.refresh_token),
      await refreshed((await login('oauth-none')).refresh_token),
      await refreshed(used.refresh_token, { client_id: 'portal' }),
      await refreshed(ended.refresh_token, { client_id: 'portal' }),
      await refreshed('x'.repeat(43)),
      await refreshed('ñ'),
    ]
    for (const answer of answers) expectRefused(answer, 400, 'invalid_grant')
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
    // Whoever is another client has not used it up.
    expect((await refreshed(other.refresh_token, { client_id: 'portal' })).status).toBe(200)
  })

  it.each([
    ['another client', { client_id: 'thief' }, 'invalid_grant'],
    ['an API that nobody registered', { client_id: 'portal', resource: 'urn:example:unknown' }, 'invalid_target'],
  ])(
    'for %s is a counted failure, and a replay, which ends the session, once the successor was used',
    async (_, wrong, error) => {
      const own = { client_id: 'portal' }
      const failures = async () =>
        Number((await realm.asOwner(sql`select coalesce(sum(seen), 0) as n from access.counted_failures`))[0]?.n)
      const first = (await token({ ...PASSWORD, ...own })).body
      const before = await failures()
      expectRefused(await refreshed(first.refresh_token, wrong), 400, error)
      const second = (await refreshed(first.refresh_token, own)).body
      // The same device, and the successor is unused: it may be a client that tries again.
      expectRefused(await refreshed(first.refresh_token, wrong), 400, error)
      expect(await failures()).toBe(before + 2)
      const third = (await refreshed(second.refresh_token, own)).body
      expectRefused(await refreshed(first.refresh_token, wrong), 400, 'invalid_grant')
      expectRefused(await refreshed(third.refresh_token, own), 400, 'invalid_grant')
      const session = decodeJwt<{ sid: string }>(first.access_token).sid
      expect(await realm.asOwner(sql`select ended_because from freehold.sessions where id = ${session}`)).toEqual([
        { ended_because: 'refresh_reused' },
      ])
    },
  )

  it('of twenty at once gives all the same refresh token', async () => {
    const { refresh_token } = (await token(PASSWORD)).body
    const answers = await Promise.all(Array.from({ length: 20 }, () => refreshed(refresh_token)))
    expect(new Set(answers.map(({ status, body }) => `${status} ${body.refresh_token}`)).size).toBe(1)
    expect(answers[0]?.status).toBe(200)
    expect(new Set(answers.map(({ body }) => decodeJwt(body.access_token).jti)).size).toBe(20)
  })
})

describe('a request', () => {
  it.each([
    ['without a grant', 'username=a', 'invalid_request'],
    ['with an empty one', 'grant_type=', 'invalid_request'],
    ['with one that nobody knows', 'grant_type=authorization_code&code=x', 'unsupported_grant_type'],
    ['of client_credentials', 'grant_type=client_credentials', 'unsupported_grant_type'],
    ['with the grant twice', 'grant_type=password&grant_type=refresh_token', 'invalid_request'],
    ['with a password twice', 'grant_type=password&username=a&password=b&password=c', 'invalid_request'],
    ['with a parameter twice that nobody knows', 'grant_type=refresh_token&refresh_token=x&a=1&a=1', 'invalid_request'],
    ['without a refresh token', 'grant_type=refresh_token', 'invalid_request'],
    ['with an empty refresh token', 'grant_type=refresh_token&refresh_token=', 'invalid_request'],
    ['with one that is too long', `grant_type=refresh_token&refresh_token=${'x'.repeat(513)}`, 'invalid_request'],
    ['without a password', 'grant_type=password&username=a', 'invalid_request'],
    ['with a name that is too long', `grant_type=password&password=b&username=${'x'.repeat(256)}`, 'invalid_request'],
    ['with a password that is too long', `grant_type=password&username=a&password=${'x'.repeat(1025)}`, 'invalid_request'],
    ['of a client with control characters', 'grant_type=refresh_token&refresh_token=x&client_id=%00', 'invalid_request'],
    ['for a resource with control characters', 'grant_type=refresh_token&refresh_token=x&resource=a%00', 'invalid_request'],
    ['for two of them', 'grant_type=refresh_token&refresh_token=x&resource=a&resource=%00', 'invalid_request'],
    ['without anything', '', 'invalid_request'],
    ['for two resources', 'grant_type=refresh_token&refresh_token=x&resource=https://a&resource=https://b', 'invalid_target'],
  ])('%s is refused', async (_, form, error) => expectRefused(await token(form), 400, error))

  it('with a parameter that nobody knows is read without it', async () => {
    expect((await token({ ...PASSWORD, surprise: '1', __proto__x: '2', 'list[]': '3' })).status).toBe(200)
  })

  it('in another form than a form is refused, and one without a type', async () => {
    for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x', ''])
      expectRefused(await token(JSON.stringify(PASSWORD), { 'Content-Type': type }), 400, 'invalid_request', type)
  })

  it('of a mebibyte is refused before it is read', async () => {
    expectRefused(await token(`grant_type=${'x'.repeat(1024 * 1024)}`), 413, 'invalid_request')
  })

  it('with the secret of a client is refused, because nobody would check it; with two, as ambiguous', async () => {
    const secret = { ...PASSWORD, client_id: 'portal', client_secret: 's' }
    expectRefused(await token(secret), 401, 'invalid_client')
    expectRefused(await token({ ...PASSWORD, client_assertion: 'a.b.c' }), 401, 'invalid_client')
    for (const headers of [basic('portal', 's'), { Authorization: 'Basic %%%' }, { Authorization: 'Basic cG9ydGFs' }]) {
      const answer = await token(PASSWORD, headers)
      expectRefused(answer, 401, 'invalid_client')
      expect(answer.headers.get('WWW-Authenticate')).toBe('Basic realm="freehold"')
    }
    expectRefused(await token(secret, basic('portal', 's')), 400, 'invalid_request')
    expectRefused(await token(secret, basic('portal', '')), 400, 'invalid_request')
    expectRefused(await token({ ...PASSWORD, client_id: 'a' }, basic('b', '')), 400, 'invalid_request')
    expect((await token({ ...PASSWORD, client_id: 'a', client_secret: '' }, basic('a', ''))).status).toBe(200)
  })

  it('for no tenant, an unknown one or two is refused in the form of OAuth, and so are other methods and addresses', async () => {
    expectRefused(await token(PASSWORD, {}, ''), 400, 'invalid_request')
    expectRefused(await token(PASSWORD, {}, 'nobody-at-all'), 404, 'invalid_request')
    expectRefused(await token(PASSWORD, { 'X-Tenant': 'oauth-none' }), 400, 'invalid_request')
    expect((await token(PASSWORD, { 'X-Tenant': AT }, '')).status).toBe(200)
    const wrong = await call(AT, '/oauth/token')
    expectRefused(wrong, 405, 'invalid_request')
    expect(wrong.headers.get('Allow')).toBe('POST')
    expectRefused(await call(AT, '/oauth/authorize'), 404, 'invalid_request')
  })

  it('of a page of a foreign origin is refused, and of an own page can be read', async () => {
    expectRefused(await token(PASSWORD, { Origin: 'https://evil.test' }), 403, 'access_denied')
    const answer = await token(PASSWORD, { Origin: URL_OF })
    expect([answer.status, answer.headers.get('Access-Control-Allow-Origin')]).toEqual([200, URL_OF])
  })

  it('with a token in a header besides is a login like any other', async () => {
    const { access_token } = await login(AT)
    expect((await token(PASSWORD, bearer(access_token))).status).toBe(200)
  })
})
