/** Threat: somebody learns from a token of another user whose it is, or that it is one; or a token goes on that was revoked. */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { lazyBody, send } from '../support/doors.ts'
import { addPerson, forge, type Inside, inside } from '../support/inside.ts'
import { type Answer, call, login } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'
import { ask, basic, bearer, expectRefused } from './asking.ts'

const AT = 'oauth-shown'
const PASSWORD = 'Violet-Anchor-38'
const OFF = { active: false }
const introspect = (token: string, by: string | Record<string, string>, at = AT) =>
  ask(at, 'introspect', { token, token_type_hint: 'access_token' }, typeof by === 'string' ? bearer(by) : by)
const revoke = (token: string, at = AT) => ask(at, 'revoke', { token, client_id: 'portal' })
const enter = async (username: string, at = AT) => login(at, { body: { username, password: PASSWORD } })
const status = async (token: string) => (await call(AT, '/api/v1/auth/me', { token })).status

let realm: Inside
let admin: { access_token: string; refresh_token: string }
beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('oauth-shown-b')
  realm = await inside(AT)
  await realm.asOwner(sql`update freehold.tenant set max_sessions = 1000`)
  for (const name of ['ana', 'ben', 'out']) await addPerson(realm, name)
  admin = await login(AT)
})

async function makeKey(token: string, permissions: string[]): Promise<{ id: string; key: string; prefix: string }> {
  const answer = await call(AT, '/api/v1/api-keys', { token, body: { name: 'a key', permissions } })
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body
}

describe('introspection', () => {
  it('tells the holder of an access token what it is, in one round trip', async () => {
    const { access_token } = await enter('ana')
    const answer = await introspect(access_token, access_token)
    expect([answer.status, answer.trips]).toEqual([200, 1])
    const { sub, sid, jti, exp, iat, scope } = decodeJwt<{ scope: string }>(access_token)
    expect(answer.body).toEqual({
      active: true,
      token_type: 'Bearer',
      iss: realm.url,
      aud: realm.url,
      client_id: 'freehold',
      username: 'ana',
      tid: realm.id,
      sub,
      sid,
      jti,
      exp,
      iat,
      scope,
    })
    expect(answer.headers.get('Cache-Control')).toBe('no-store')
  })

  it('tells a service with session:read, by its key as a bearer and as the secret in HTTP Basic, what the permissions are now', async () => {
    const { access_token } = await enter('ben')
    const { key, prefix } = await makeKey(admin.access_token, ['session:read'])
    await realm.asOwner(
      sql`insert into freehold.overrides (id, user_id, permission, effect, scope)
        select gen_random_uuid(), id, 'document:read', 'grant', 'all' from freehold.users where username = 'ben'`,
    )
    for (const by of [bearer(key), basic(prefix, key), { 'X-API-Key': key }]) {
      const { body, trips } = await introspect(access_token, by)
      expect([body.active, body.username, trips]).toEqual([true, 'ben', 1])
      expect(body.scope.split(' ')).toContain('document:read')
    }
  })

  it('of a refresh token says that it is one, and once it is used or over, nothing', async () => {
    const { refresh_token, access_token } = await enter('ana')
    const { body } = await introspect(refresh_token, access_token)
    expect(body).toMatchObject({ active: true, token_type: 'refresh_token', username: 'ana' })
    expect(body).not.toHaveProperty('scope')
    await call(AT, '/api/v1/auth/refresh-token', { body: { refresh_token } })
    expect((await introspect(refresh_token, access_token)).body).toEqual(OFF)
  })

  it('of an API key tells what it names of what its owner holds', async () => {
    const { key } = await makeKey(admin.access_token, ['user:read', 'unit:read'])
    const { body } = await introspect(key, admin.access_token)
    expect(body).toMatchObject({ active: true, token_type: 'Bearer', username: 'bo', scope: 'unit:read user:read' })
  })

  it('tells others of a token as little as of none: without permission, of another tenant, ended, forged, invented', async () => {
    const [ana, ben] = [await enter('ana'), await enter('ben')]
    const { key } = await makeKey(admin.access_token, ['user:read'])
    const strange = await login('oauth-shown-b')
    const { sub, sid } = decodeJwt(ana.access_token) as { sub: string; sid: string }
    const other = await inside('oauth-shown-b')
    const asked: [string, string][] = [
      [ana.access_token, ben.access_token],
      [ana.refresh_token, ben.access_token],
      [key, ben.access_token],
      [ana.access_token, key],
      [strange.access_token, admin.access_token],
      [strange.refresh_token, admin.access_token],
      [await forge(other, { sub, sid }), admin.access_token],
      [`${btoa('{"alg":"none","typ":"at+jwt"}').replaceAll('=', '')}.${ana.access_token.split('.')[1]}.`, admin.access_token],
      [`${ana.access_token}x`, admin.access_token],
      ['x', admin.access_token],
      ['a.b.c', admin.access_token],
      ['fh_12345678_x', admin.access_token],
      [`fh_12345678_${'x'.repeat(38)}`, admin.access_token],
      ['ñ', admin.access_token],
      ['x'.repeat(16_000), admin.access_token],
    ]
    for (const [token, by] of asked) {
      const { status, body } = await introspect(token, by)
      expect([status, body], token.slice(0, 60)).toEqual([200, OFF])
    }
    expect((await introspect(ana.access_token, admin.access_token)).body.active).toBe(true)
    await call(AT, '/api/v1/auth/logout', { method: 'POST', token: ana.access_token })
    expect((await introspect(ana.access_token, admin.access_token)).body).toEqual(OFF)
    expect((await introspect(ana.refresh_token, admin.access_token)).body).toEqual(OFF)
  })

  it('is refused to who shows nothing, something that does not work, or two things', async () => {
    const { access_token } = await enter('ana')
    expectRefused(await introspect(access_token, {}), 401, 'invalid_token')
    expectRefused(await introspect(access_token, bearer('a.b.c')), 401, 'invalid_token')
    expectRefused(await introspect(access_token, bearer((await login('oauth-shown-b')).access_token)), 401, 'invalid_token')
    expectRefused(await introspect(access_token, basic('portal', 'secret')), 401, 'invalid_client')
    const wrong = await introspect(access_token, basic('portal', `fh_12345678_${'x'.repeat(38)}`))
    expectRefused(wrong, 401, 'invalid_token')
    expect(wrong.headers.get('WWW-Authenticate')).toBe('Basic realm="freehold"')
    expectRefused(await ask(AT, 'introspect', { token: 'x', client_secret: 's' }, bearer(access_token)), 400, 'invalid_request')
    expectRefused(await introspect(access_token, { ...bearer(access_token), 'X-API-Key': 'fh_x' }), 400, 'invalid_request')
  })

  it('takes one token, in a form', async () => {
    for (const form of ['', 'token=', 'token=a&token=b', 'token_type_hint=access_token', `token=${'x'.repeat(16_385)}`])
      expectRefused(
        await ask(AT, 'introspect', form, bearer(admin.access_token)),
        form.length > 16_384 ? 413 : 400,
        'invalid_request',
      )
    const json = { ...bearer(admin.access_token), 'Content-Type': 'application/json' }
    expectRefused(await ask(AT, 'introspect', '{"token":"x"}', json), 400, 'invalid_request')
  })
})

describe('a body', () => {
  it.each([
    ['introspect', 401, 'invalid_token', {}],
    ['introspect', 401, 'invalid_token', bearer('garbage')],
    ['token', 400, 'invalid_request', { 'Content-Type': 'text/plain' }],
    ['token', 400, 'invalid_request', { 'Content-Encoding': 'gzip' }],
    ['revoke', 403, 'access_denied', { Origin: 'https://evil.test' }],
  ])('is not read where /oauth/%s refuses anyway: %i %s', async (path, status, error, headers: Record<string, string>) => {
    const { body, seen } = lazyBody(1536 * 1024, 'token=')
    const type = { 'Content-Type': 'application/x-www-form-urlencoded' }
    const answer = await send(`${realm.url}/oauth/${path}`, { method: 'POST', headers: { ...type, ...headers }, body })
    expectRefused({ ...answer, trips: 0, master: 0 }, status, error)
    expect(seen.bytes).toBe(0)
  })

  it('is read up to 16 KiB', async () => {
    for (const path of ['token', 'revoke']) {
      const { body, seen } = lazyBody(1536 * 1024, 'token=')
      const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
      const answer = await send(`${realm.url}/oauth/${path}`, { method: 'POST', headers, body })
      expectRefused({ ...answer, trips: 0, master: 0 }, 413, 'invalid_request')
      expect(seen.bytes).toBe(17 * 1024)
    }
  })
})

describe('what a network may try', () => {
  it('is sixty failures a minute, counted with those under auth/, and tokens that nobody has', async () => {
    let left = 2
    const FAILURES = { limit: async ({ key }: { key: string }) => ({ success: !key.includes(':login:') || left-- > 0 }) }
    const form = (fields: Record<string, string>) => new URLSearchParams(fields).toString()
    const type = { 'Content-Type': 'application/x-www-form-urlencoded', 'CF-Connecting-IP': '203.0.113.77' }
    const post = async (path: string, raw: string, changed: object) => {
      const body = new Response(raw).body as ReadableStream<Uint8Array>
      return {
        ...(await send(`${realm.url}${path}`, { method: 'POST', headers: type, body }, { ...changed })),
        trips: 0,
        master: 0,
      }
    }
    await realm.asOwner(sql`update freehold.tenant set password_grant = true`)
    const wrong = form({ grant_type: 'password', username: 'nobody-here', password: 'Wrong-horse-9' })
    for (let i = 0; i < 2; i++) expectRefused(await post('/oauth/token', wrong, { FAILURES }), 400, 'invalid_grant')
    const stopped = await post('/oauth/token', wrong, { FAILURES })
    expectRefused(stopped, 429, 'temporarily_unavailable')
    expect(Number(stopped.headers.get('Retry-After'))).toBeGreaterThan(0)
    expect((await post('/api/v1/auth/login', form({ username: 'nobody-here', password: 'Wrong-horse-9' }), {})).status).toBe(429)
    const none = { limit: async () => ({ success: false }) }
    const { refresh_token = '' } = await enter('ana')
    const nowhere = form({ grant_type: 'refresh_token', refresh_token, resource: 'urn:example:nowhere' })
    expectRefused(await post('/oauth/token', nowhere, {}), 400, 'invalid_target')
    expectRefused(await post('/oauth/token', nowhere, { FAILURES: none }), 429, 'temporarily_unavailable')
    expectRefused(await post('/oauth/token', wrong, { ATTEMPTS: none }), 429, 'temporarily_unavailable')
    expectRefused(
      await post('/oauth/revoke', form({ token: 'x'.repeat(43) }), { FAILURES: none }),
      429,
      'temporarily_unavailable',
    )
  })
})

describe('revocation', () => {
  it.each(['access_token', 'refresh_token'] as const)(
    'of an %s ends its session, in one round trip, and again is no error',
    async (kind) => {
      const tokens = await enter('ana')
      const answer = await revoke(tokens[kind])
      expect([answer.status, answer.body, answer.trips]).toEqual([200, '', 1])
      expect(await status(tokens.access_token)).toBe(401)
      expect((await call(AT, '/api/v1/auth/refresh-token', { body: { refresh_token: tokens.refresh_token } })).status).toBe(401)
      expect((await revoke(tokens[kind])).status).toBe(200)
      const [row] = await realm.asOwner(
        sql`select ended_because, (select count(*)::integer from freehold.audit_log l where l.resource_id = s.id::text
        and l.activity_type = 'LOGOUT' and l.user_id = s.user_id) as logged from freehold.sessions s where s.id = ${decodeJwt(tokens.access_token).sid}`,
      )
      expect(row).toEqual({ ended_because: 'logout', logged: 1 })
    },
  )

  it('of an API key revokes it, whoever found it', async () => {
    const { key } = await makeKey(admin.access_token, ['user:read'])
    expect(await status(key)).toBe(200)
    expect((await revoke(key)).status).toBe(200)
    expect(await status(key)).toBe(401)
  })

  it('of twenty at once ends one session once', async () => {
    const { access_token, refresh_token } = await enter('ana')
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => revoke(n % 2 ? access_token : refresh_token)))
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    const [row] = await realm.asOwner(
      sql`select count(*)::integer as n from freehold.audit_log where resource_id = ${String(decodeJwt(access_token).sid)} and activity_type = 'LOGOUT'`,
    )
    expect(row?.n).toBe(1)
  })

  it('of what is no token of this tenant is answered alike, and ends nothing', async () => {
    const strange = await login('oauth-shown-b')
    const { access_token } = await enter('ana')
    const answers: Answer[] = []
    for (const token of [strange.access_token, strange.refresh_token, 'x', 'a.b.c', `${access_token}x`, 'fh_12345678_x'])
      answers.push(await revoke(token))
    for (const { status, body } of answers) expect([status, body]).toEqual([200, ''])
    expect(await status(access_token)).toBe(200)
    expect((await call('oauth-shown-b', '/api/v1/auth/me', { token: strange.access_token })).status).toBe(200)
  })

  it('takes one token, in a form, and no secret of a client', async () => {
    for (const form of ['', 'token=', 'token=a&token=b']) expectRefused(await ask(AT, 'revoke', form), 400, 'invalid_request')
    expectRefused(await ask(AT, 'revoke', { token: 'x', client_secret: 's' }), 401, 'invalid_client')
    expectRefused(await ask(AT, 'revoke', '{"token":"x"}', { 'Content-Type': 'application/json' }), 400, 'invalid_request')
  })
})

describe('userinfo', () => {
  it('tells who the user is in the claims of OpenID Connect, by GET and by POST, in one round trip', async () => {
    const { access_token } = await enter('ana')
    for (const method of ['GET', 'POST']) {
      const answer = await call(AT, '/oauth/userinfo', { method, token: access_token })
      expect([answer.status, answer.trips]).toEqual([200, 1])
      expect(answer.body).toEqual({
        sub: decodeJwt(access_token).sub,
        preferred_username: 'ana',
        name: 'Cyan Okonkwo',
        given_name: 'Cyan',
        family_name: 'Okonkwo',
        email: 'ana@people.test',
        email_verified: false,
        tid: realm.id,
      })
    }
  })

  it('is refused without a token, with an expired one and with one of another tenant, with the challenge of RFC 6750', async () => {
    const { sub, sid } = decodeJwt(admin.access_token) as { sub: string; sid: string }
    const expired = await forge(realm, { sub, sid }, { claims: { exp: 1_700_000_000 } })
    for (const token of [undefined, expired, 'a.b.c', (await login('oauth-shown-b')).access_token]) {
      const answer = await call(AT, '/oauth/userinfo', { ...(token && { token }) })
      expectRefused(answer, 401, 'invalid_token')
      expect(answer.headers.get('WWW-Authenticate')).toMatch(
        token ? /^Bearer realm="freehold", error="invalid_token"/ : /^Bearer realm="freehold"$/,
      )
    }
  })
})
