/** Threat: a session that goes on while nobody is there, or a token that says it works when its session has ended. */
import { sql } from 'drizzle-orm'
import { decodeJwt } from 'jose'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { nameOf, newJar, readCookie } from '../support/jar.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { type Planted, plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'short-stay'
let realm: Inside

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
})

const set = async (body: object) => {
  const answer = await call(AT, '/api/v1/settings', { token: await tokenOf(AT), method: 'PATCH', body })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
}
const me = (token: string) => call(AT, '/api/v1/auth/me', { token })
const refresh = (refresh_token: string) => call(AT, '/api/v1/auth/refresh-token', { body: { refresh_token } })
const enter = ({ username, password }: Person) => call(AT, '/api/v1/auth/login', { body: { username, password } })
const idleFor = (session_id: string, time: string) =>
  realm.asOwner(sql`update freehold.sessions set last_active_at = now() - ${time}::interval where id = ${session_id}`)

describe('a session without a request', () => {
  beforeAll(() => set({ idle_minutes: 15 }))

  /** Somebody new whose session was idle for so long. */
  async function idle(username: string, time: string): Promise<Planted> {
    await addPerson(realm, username)
    const planted = await plantSession(realm, username)
    await idleFor(planted.session_id, time)
    return planted
  }

  it('goes on up to the minutes of the settings, and a request begins them anew', async () => {
    const { access_token, session_id } = await idle('amy', '14 minutes 50 seconds')
    expect((await me(access_token)).status).toBe(200)
    const [row] = await realm.asOwner(
      sql`select last_active_at > now() - interval '1 minute' as is_fresh from freehold.sessions where id = ${session_id}`,
    )
    expect(row).toEqual({ is_fresh: true })
  })

  it('has ended after them: no request, no refresh, and no list has it', async () => {
    const asked = await idle('bea', '15 minutes')
    expectProblem(await me(asked.access_token), 401, 'session_ended')
    const refreshed = await idle('cal', '15 minutes')
    expectProblem(await refresh(refreshed.refresh_token), 401, 'refresh_invalid')
    const listed = await idle('dan', '15 minutes')
    const now = await tokenOf(realm, 'dan')
    const { data } = (await call(AT, '/api/v1/sessions', { token: now })).body
    expect(data.map(({ id }: { id: string }) => id)).not.toContain(listed.session_id)
    expect(data).toHaveLength(1)
  })

  it('is refreshed within them', async () => {
    const { refresh_token } = await idle('eve', '14 minutes 50 seconds')
    expect((await refresh(refresh_token)).status).toBe(200)
  })

  it('takes no place of those that a user may have', async () => {
    const fay = await addPerson(realm, 'fay')
    await realm.asOwner(sql`update freehold.users set max_sessions = 2 where id = ${fay.id}`)
    const [first, second] = [await plantSession(realm, 'fay'), await plantSession(realm, 'fay')]
    await idleFor(second.session_id, '15 minutes')
    expect((await enter(fay)).status).toBe(200)
    expect((await me(first.access_token)).status).toBe(200)
  })

  it('lives for days again when the settings say days', async () => {
    const { access_token } = await idle('gil', '15 minutes')
    expectProblem(await me(access_token), 401, 'session_ended')
    await set({ idle_days: 7 })
    expect((await me(access_token)).status).toBe(200)
    await set({ idle_minutes: 15 })
  })
})

describe('an access token', () => {
  beforeAll(() => set({ idle_days: 1, session_days: 1, access_minutes: 10_080 }))
  afterEach(() => vi.useRealTimers())

  const endOf = async (token: string) => {
    const [row] = await realm.asOwner(
      sql`select floor(extract(epoch from expires_at))::integer as at from freehold.sessions where id = ${decodeJwt(token).sid}`,
    )
    return row?.at
  }
  /** It ends with its session, which is within a day and not in seven, and the answer says so. */
  async function expectClipped(token: string, expires_in: number) {
    const { iat = 0, exp = 0 } = decodeJwt(token)
    expect(exp).toBe(await endOf(token))
    expect(expires_in).toBe(exp - iat)
    expect(expires_in).toBeLessThanOrEqual(86_400)
  }

  it('of a login expires with its session, where that is earlier', async () => {
    const { body } = await enter(await addPerson(realm, 'hal'))
    await expectClipped(body.access_token, body.expires_in)
  })

  it('of a refresh has what is left of the session', async () => {
    const ivo = await addPerson(realm, 'ivo')
    const first = (await enter(ivo)).body
    await realm.asOwner(
      sql`update freehold.sessions set expires_at = now() + interval '10 minutes' where id = ${decodeJwt(first.access_token).sid}`,
    )
    const { body } = await refresh(first.refresh_token)
    await expectClipped(body.access_token, body.expires_in)
    expect(body.expires_in).toBeLessThanOrEqual(600)
  })

  it('in a cookie does the same, also for the tab that refreshes right after another', async () => {
    const jan = await addPerson(realm, 'jan')
    const jar = newJar(AT)
    const entered = await jar.ask('/api/v1/auth/login', { body: { username: 'jan', password: jan.password, cookie: true } })
    const access = jar.kept.get(nameOf('a', jan.id)) ?? ''
    await expectClipped(access, entered.body.expires_in)
    const [cookie] = entered.headers.getSetCookie().map(readCookie)
    expect(cookie?.maxAge).toBe(entered.body.expires_in)
    const again = await jar.ask('/api/v1/auth/refresh-token', { body: {} })
    expect(again.headers.getSetCookie()).toEqual([])
    const { exp = 0 } = decodeJwt(access)
    expect(Math.abs(exp - Date.now() / 1000 - again.body.expires_in)).toBeLessThan(5)
  })

  it('lives as long as the settings say where the session lives longer', async () => {
    await set({ session_days: 30, access_minutes: 5 })
    const { body } = await enter(await addPerson(realm, 'kim'))
    const { iat = 0, exp = 0 } = decodeJwt(body.access_token)
    expect([exp - iat, body.expires_in]).toEqual([300, 300])
    await set({ idle_days: 1, session_days: 1, access_minutes: 10_080 })
  })
})
