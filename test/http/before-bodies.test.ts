/** Threat: a request that would be refused anyway, and whose body is read and parsed before it is. */
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { newKey } from '../../src/kernel/api-key.ts'
import { type Door, doorsOf, lazyBody, send } from '../support/doors.ts'
import { inside } from '../support/inside.ts'
import { knock } from '../support/knock.ts'
import { call, operatorToken } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole } from '../users/cast.ts'

const AT = 'unread'
const KIB = 1024
let doors: Door[]
const tokens = { tenant: '', platform: '' }

beforeAll(async () => {
  await copyTenant(AT)
  // Those of OAuth refuse in another form: test/oauth/shown-tokens.test.ts.
  doors = (await doorsOf()).filter(({ path }) => !path.startsWith('/oauth/'))
  tokens.tenant = await tokenOf(AT)
  tokens.platform = await operatorToken()
})

const urlOf = ({ path, on_platform }: Door) => `http://${on_platform ? '' : `${AT}.`}freehold.test${path}`
const right = ({ on_platform }: Door) => (on_platform ? tokens.platform : tokens.tenant)
const guarded = () => doors.filter(({ is_public, types }) => !is_public && types.length)
const open = () => doors.filter(({ is_public, types }) => is_public && types.length)
const bearer = (token: string): Record<string, string> => ({ Authorization: `Bearer ${token}` })

/** The answer to a body of a mebibyte and a half that begins well, and how much of it was read. */
async function knockWith(door: Door, headers: Record<string, string>, changed = {}) {
  const { body, seen } = lazyBody(1536 * KIB)
  const type = { 'Content-Type': door.types[0] ?? '' }
  const answer = await send(urlOf(door), { method: door.method, headers: { ...type, ...headers }, body }, changed)
  return { answer, read: seen.bytes }
}

describe('a body is not read', () => {
  it('of a request without a credential that counts, at any route that asks for one', async () => {
    const forged = (token: string) => `${token.slice(0, -12)}${token.at(-12) === 'A' ? 'B' : 'A'}${token.slice(-11)}`
    const { key } = newKey()
    expect(guarded().length).toBeGreaterThan(30)
    for (const [n, door] of guarded().entries()) {
      const refused: [string, Record<string, string>][] = [
        ['token_missing', {}],
        ['token_invalid', bearer('garbage')],
        ['token_invalid', bearer(forged(right(door)))],
        ['token_wrong_tenant', bearer(door.on_platform ? tokens.tenant : tokens.platform)],
        ['token_invalid', { 'X-API-Key': `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}` }],
      ]
      // Of five credentials each route is asked with none and with one of the others: all of them would take minutes.
      for (const [code, headers] of refused.filter((_, i) => i === 0 || i === 1 + (n % 4))) {
        const { answer, read } = await knockWith(door, headers)
        expectProblem(answer, 401, code, door.name)
        expect(read, `${door.name} ${code}`).toBe(0)
      }
    }
  })

  it('of a request whose token has expired, at any route that asks for one', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 20 * 60_000 })
    try {
      for (const door of guarded()) {
        const { answer, read } = await knockWith(door, bearer(right(door)))
        expectProblem(answer, 401, 'token_expired', door.name)
        expect(read, door.name).toBe(0)
      }
    } finally {
      vi.useRealTimers()
    }
  })

  it('of a request beyond a rate limit, at any public route that has one', async () => {
    const ATTEMPTS = { limit: async () => ({ success: false }) }
    // A refresh token is its own credential, of 256 random bits: nothing of it can be guessed.
    const limited = open().filter(({ path }) => !/\/refresh(-token)?$/.test(path))
    expect(limited.length).toBeGreaterThan(8)
    for (const door of limited) {
      const { answer, read } = await knockWith(door, {}, { ATTEMPTS })
      expectProblem(answer, 429, 'rate_limited', door.name)
      expect(read, door.name).toBe(0)
    }
  })

  it('of another content type, or with a Content-Encoding', async () => {
    for (const door of doors.filter(({ types }) => types.length))
      for (const headers of [{ 'Content-Type': 'text/plain' }, { 'Content-Encoding': 'gzip' }]) {
        const { answer, read } = await knockWith(door, { ...(!door.is_public && bearer(right(door))), ...headers })
        expectProblem(answer, 415, 'unsupported_media_type', door.name)
        expect(read, door.name).toBe(0)
      }
  })

  it('of twenty at once, either', async () => {
    const [door] = guarded()
    const answers = await Promise.all(Array.from({ length: 20 }, () => knockWith(door as Door, bearer('garbage'))))
    expect(answers.map(({ answer, read }) => [answer.status, read])).toEqual(Array(20).fill([401, 0]))
  })
})

describe('of a body', () => {
  const bounded = (under_auth: boolean) =>
    doors.filter(
      ({ path, types }) =>
        types.includes('application/json') &&
        /^\/(api|platform)\/v1\/(auth\/|invitations\/(accept|accept\/options|preview)$)/.test(path) === under_auth,
    )

  it.each([
    ['16 KiB under /auth', true, 16, '16 KiB'],
    ['1 MiB elsewhere', false, 1024, '1 MiB'],
  ])('at most %s are read, and the refusal says the bound', async (_, under_auth, kib, said) => {
    expect(bounded(under_auth).length).toBeGreaterThan(10)
    for (const door of bounded(under_auth)) {
      const { answer, read } = await knockWith(door, door.is_public ? {} : bearer(right(door)))
      expectProblem(answer, 413, 'body_too_large', door.name)
      expect(answer.body.detail).toBe(`Send at most ${said}.`)
      expect(read, door.name).toBe((kib + 1) * KIB)
    }
  })

  it('that says its length nothing is read, and one of just 16 KiB is', async () => {
    const login = (bytes: number) => {
      const frame = JSON.stringify({ username: 'bo', password: '' }).length
      return call(AT, '/api/v1/auth/login', { raw: JSON.stringify({ username: 'bo', password: 'x'.repeat(bytes - frame) }) })
    }
    expectProblem(await login(16 * KIB + 1), 413, 'body_too_large')
    expectProblem(await login(16 * KIB), 400, 'invalid_request')
  })

  it('as a form no more is read', async () => {
    for (const type of ['application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      const { body, seen } = lazyBody(1536 * KIB, 'username=')
      const init = { method: 'POST', headers: { 'Content-Type': type }, body }
      expectProblem(await send(`http://${AT}.freehold.test/api/v1/auth/login`, init), 413, 'body_too_large')
      expect(seen.bytes).toBe(17 * KIB)
    }
  })
})

describe('a route that takes no body', () => {
  const bare = () => doors.filter(({ types, method }) => !types.length && method !== 'GET')
  const ask = (door: Door, text: string, type = 'application/json') =>
    knock(urlOf(door), { method: door.method, headers: { 'Content-Type': type, ...bearer(right(door)) }, body: text })

  it('refuses a long one after a kibibyte, whoever sends it', async () => {
    expect(bare().length).toBeGreaterThan(60)
    for (const door of bare()) {
      const { answer, read } = await knockWith(door, door.is_public ? {} : bearer(right(door)))
      expectProblem(answer, 413, 'body_too_large', door.name)
      expect(answer.body.detail).toBe('This request takes no body.')
      expect(read, door.name).toBeLessThanOrEqual(3 * KIB)
    }
  })

  it('refuses what is none of its business, and does nothing', async () => {
    for (const door of bare())
      for (const text of ['{"is_active":true}', '[]', 'x', '{}{}', 'null']) {
        const answer = await ask(door, text)
        expectProblem(answer, 400, 'invalid_request', door.name)
        expect(answer.body.errors, door.name).toEqual([{ pointer: '#', detail: 'must be empty: this request takes no body' }])
      }
  })

  it('takes an empty one, and an empty object, under any type', async () => {
    const door = bare().find(({ name }) => name === 'DELETE /api/v1/units/{id}') as Door
    for (const [text, type] of [
      ['', 'application/json'],
      ['{}', 'application/json'],
      [' { }\n', 'text/plain'],
      ['', 'text/plain'],
    ])
      expectProblem(await ask(door, text ?? '', type), 404, 'not_found')
  })
})

describe('an import', () => {
  const imports = () => doors.filter(({ types }) => types.includes('application/x-ndjson'))

  it('by an invented API key is refused before a byte of it is read', async () => {
    expect(imports()).toHaveLength(3)
    for (const door of imports()) {
      const { answer, read } = await knockWith(door, { 'X-API-Key': newKey().key })
      expectProblem(answer, 401, 'token_invalid', door.name)
      expect(read, door.name).toBe(0)
    }
  })

  it('by who may not create them is refused before a byte of it is read', async () => {
    const realm = await inside(AT)
    await addRole(realm, 'reader', ['user:read'], 'all')
    const { token } = await addMember(realm, 'rea', { roles: ['reader'] })
    for (const door of imports().filter(({ on_platform }) => !on_platform)) {
      const { answer, read } = await knockWith(door, bearer(token))
      expectProblem(answer, 403, 'forbidden', door.name)
      expect(read, door.name).toBe(0)
    }
  })
})
