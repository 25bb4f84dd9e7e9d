/** What most tests stand on: a planted session and a copied tenant are what a login and provisioning leave behind. */
import { sql } from 'drizzle-orm'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call, login } from '../support/people.ts'
import { plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'planted'
let realm: Inside
beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  await addPerson(realm, 'cy')
})

/** What differs from one login to the next, and nothing else, is taken out. */
const kindsOf = (row: Record<string, unknown> = {}) =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      /^(id|session_id|sid|token_hash|at|iat|exp|jti|proof|trace|auth_time|log_id|seq)$|_at$/.test(name) ? typeof value : value,
    ]),
  )

describe.each([
  ['bo', { username: 'bo', password: 'Tr0ub4dor-and-3' }],
  ['cy', { username: 'cy', password: 'Violet-Anchor-38' }],
])('a session that is planted for %s', (username, body) => {
  const both = async () => ({ entered: await login(AT, { body }), planted: await plantSession(AT, username) })

  it('has the token of a login, claim by claim', async () => {
    const { entered, planted } = await both()
    expect(decodeProtectedHeader(planted.access_token)).toEqual(decodeProtectedHeader(entered.access_token))
    expect(kindsOf(decodeJwt(planted.access_token))).toEqual(kindsOf(decodeJwt(entered.access_token)))
    const { exp = 0, iat = 0 } = decodeJwt(planted.access_token)
    expect(exp - iat).toBe(entered.expires_in)
  })

  it('has its rows', async () => {
    const { entered, planted } = await both()
    const sids = [String(decodeJwt(entered.access_token).sid), planted.session_id]
    for (const [table, key] of [
      ['sessions', 'id'],
      ['refresh_tokens', 'session_id'],
    ] as const) {
      const [one, other] = await Promise.all(
        sids.map((sid) => realm.asOwner(sql`select * from ${sql.raw(`freehold.${table}`)} where ${sql.raw(key)} = ${sid}`)),
      )
      expect([one?.length, other?.length]).toEqual([1, 1])
      const [left, right] = [one?.[0], other?.[0]].map((row) => ({
        ...kindsOf(row),
        address: null,
        city: null,
        country: null,
        device_id: null,
      }))
      expect(right, table).toEqual(left)
    }
    const entries = await Promise.all(
      sids.map((sid) =>
        realm.asOwner(
          sql`select l.activity_type, l.action, l.user_id, l.risk_score, d.user_name from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_type = 'session' and l.resource_id = ${sid}`,
        ),
      ),
    )
    expect(entries[1]).toEqual(entries[0])
    expect(entries[0]).toHaveLength(1)
  })

  it('is let in, renewed and ended', async () => {
    const { access_token: token, refresh_token } = await plantSession(AT, username)
    expect((await call(AT, '/api/v1/auth/me', { token })).body.username).toBe(username)
    expect((await call(AT, '/api/v1/auth/refresh', { body: { refresh_token } })).status).toBe(200)
    expect((await call(AT, '/api/v1/auth/logout', { method: 'POST', token })).status).toBe(204)
    expect((await call(AT, '/api/v1/auth/me', { token })).body.code).toBe('session_ended')
  })
})
