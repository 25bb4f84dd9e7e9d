import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { call, login } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

/** Passwords with a marker, which must not be found anywhere in the database afterwards. */
const MARKER = 'Zq7Marker'
const PASSWORD = `${MARKER}-Anchor-38`
const NEW = `${MARKER}-Kettle-52`
const AGENT = 'cy-phone/2 ("quoted\\)'
const ADDRESS = '203.0.113.9'
let realm: Inside
let cy: Person

beforeAll(async () => {
  await copyTenant('recorded')
  await copyTenant('recorded-too')
  realm = await inside('recorded')
  cy = await addPerson(realm, 'cy', { password: PASSWORD })
})

/** A call whose trace id is known. */
function traced(path: string, ask: Parameters<typeof call>[2]) {
  const id = crypto.randomUUID().replaceAll('-', '')
  const headers = {
    traceparent: `00-${id}-00f067aa0ba902b7-01`,
    'User-Agent': AGENT,
    'CF-Connecting-IP': ADDRESS,
    ...ask?.headers,
  }
  return { id, answer: call('recorded', `/api/v1/auth/${path}`, { ...ask, headers }) }
}

/** What the audit says of one request; waits a little for what is recorded after the answer. */
async function recorded(id: string, activity: string) {
  for (let i = 0; i < 40; i++) {
    const rows = await realm.asOwner(
      sql`select * from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.trace_id = ${id} and l.activity_type = ${activity}`,
    )
    if (rows.length) return rows
    await scheduler.wait(50)
  }
  return []
}

const facts = (path: string, method = 'POST') => ({ address: ADDRESS, agent: AGENT, method, path: `/api/v1/auth/${path}` })

describe('the audit says', () => {
  it('LOGIN: who, from where, with what', async () => {
    const { id, answer } = traced('login', { body: { username: 'cy', password: PASSWORD } })
    expect((await answer).status).toBe(200)
    const rows = await recorded(id, 'LOGIN')
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({ user_id: cy.id, user_name: 'cy', resource_type: 'session', trace_id: id, ...facts('login') })
  })

  it('LOGIN_FAILED of a person under their name, and of nobody under a keyed hash, whatever was typed', async () => {
    for (const [typed, user_id, user_name, reason] of [
      [{ username: ' CY ' }, cy.id, 'cy', 'wrong_password'],
      [{ email: cy.email }, cy.id, 'cy', 'wrong_password'],
      [{ username: 'nobody' }, null, expect.stringMatching(/^unknown:[0-9a-f]{16}$/), 'unknown'],
    ] as const) {
      const { id, answer } = traced('login', { body: { ...typed, password: `${MARKER}-wrong` } })
      expect((await answer).status).toBe(401)
      expect(await recorded(id, 'LOGIN_FAILED')).toEqual([
        expect.objectContaining({ user_id, user_name, risk_score: 20, after: { reason }, ...facts('login') }),
      ])
    }
  })

  it('LOGIN_FAILED of who is locked or inactive, and why, though the password is right', async () => {
    const person = await addPerson(realm, 'shut-out', { password: PASSWORD })
    const why = async (password: string) => {
      const { id, answer } = traced('login', { body: { username: 'shut-out', password } })
      expect((await answer).status).toBe(401)
      return (await recorded(id, 'LOGIN_FAILED'))[0]?.after
    }
    for (let i = 0; i < 5; i++) expect(await why('Wrong-1')).toEqual({ reason: 'wrong_password' })
    expect(await why(PASSWORD)).toEqual({ reason: 'locked' })
    await realm.asOwner(
      sql`delete from freehold.lockouts where parent = ${`login:${person.id}`}`,
      sql`update freehold.users set is_active = false where id = ${person.id}`,
    )
    expect(await why(PASSWORD)).toEqual({ reason: 'inactive' })
  })

  it('LOGIN_FAILED of a person without a role, and why', async () => {
    await addPerson(realm, 'roleless', { password: PASSWORD, roles: [] })
    const { id, answer } = traced('login', { body: { username: 'roleless', password: PASSWORD } })
    expect((await answer).status).toBe(403)
    expect(await recorded(id, 'LOGIN_FAILED')).toEqual([
      expect.objectContaining({ user_name: 'roleless', after: { reason: 'no_role' } }),
    ])
  })

  it('LOGOUT', async () => {
    const { access_token } = await login('recorded', { body: { username: 'cy', password: PASSWORD } })
    const { id, answer } = traced('logout', { token: access_token, method: 'POST' })
    expect((await answer).status).toBe(204)
    expect(await recorded(id, 'LOGOUT')).toEqual([expect.objectContaining({ user_id: cy.id, ...facts('logout') })])
  })

  it('PASSWORD_CHANGE, and which sessions that ended, without either hash', async () => {
    const dee = await addPerson(realm, 'dee', { password: PASSWORD })
    const body = { username: 'dee', password: PASSWORD }
    await login('recorded', { body })
    const { access_token } = await login('recorded', { body })
    const wrong = traced('password-change', {
      token: access_token,
      body: { current_password: `${MARKER}-wrong`, new_password: NEW },
    })
    expect((await wrong.answer).status).toBe(401)
    expect(await recorded(wrong.id, 'PASSWORD_CHANGE_FAILED')).toEqual([expect.objectContaining({ user_id: dee.id })])
    const { id, answer } = traced('password-change', {
      token: access_token,
      body: { current_password: PASSWORD, new_password: NEW },
    })
    expect((await answer).status).toBe(204)
    const [row] = await recorded(id, 'PASSWORD_CHANGE')
    expect(row).toMatchObject({ user_id: dee.id, resource_id: dee.id, ...facts('password-change') })
    const all = await realm.asOwner(
      sql`select d.* from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.trace_id = ${id}`,
    )
    const shown = all
      .flatMap(({ before, after }) => [before?.password_hash, after?.password_hash])
      .filter((value) => value !== undefined)
    expect(new Set(shown)).toEqual(new Set(['***']))
    const ended = await recorded(id, 'SESSION_UPDATED')
    expect(ended).toHaveLength(1)
    expect(ended[0]?.after).toMatchObject({ ended_because: 'password_change' })
  })

  it('SUSPICIOUS_ACTIVITY for a refresh token that was used before', async () => {
    const first = await login('recorded', { body: { username: 'cy', password: PASSWORD } })
    await call('recorded', '/api/v1/auth/refresh', { body: { refresh_token: first.refresh_token } })
    const { id, answer } = traced('refresh', { body: { refresh_token: first.refresh_token } })
    expect((await answer).body.code).toBe('refresh_reused')
    expect(await recorded(id, 'SUSPICIOUS_ACTIVITY')).toEqual([
      expect.objectContaining({ user_id: cy.id, risk_score: 80, after: { reason: 'refresh_reused' }, ...facts('refresh') }),
    ])
  })

  it('SUSPICIOUS_ACTIVITY for another tenant’s token, by nobody of ours', async () => {
    const foreign = await login('recorded-too')
    const { id, answer } = traced('me', { token: foreign.access_token })
    expect((await answer).body.code).toBe('token_wrong_tenant')
    expect(await recorded(id, 'SUSPICIOUS_ACTIVITY')).toEqual([
      expect.objectContaining({
        user_id: null,
        risk_score: 50,
        after: { code: 'token_wrong_tenant', permission: null },
        ...facts('me', 'GET'),
      }),
    ])
  })

  it('nothing of a refresh that went well, of me, or of a body that was not valid', async () => {
    const entered = await login('recorded', { body: { username: 'cy', password: PASSWORD } })
    const asks = [
      traced('refresh', { body: { refresh_token: entered.refresh_token } }),
      traced('me', { token: entered.access_token }),
      traced('login', { body: { username: 'cy' } }),
    ]
    for (const { answer } of asks) await answer
    for (const { id } of asks)
      expect(await realm.asOwner(sql`select 1 from freehold.audit_log where trace_id = ${id}`)).toEqual([])
  })
})

describe('nowhere in the database', () => {
  it('is a password, a token, or (but where it belongs) a hash of a password', async () => {
    const { refresh_token, access_token } = await login('recorded', { body: { username: 'cy', password: PASSWORD } })
    const tables = await realm.asOwner(
      sql`select c.oid::regclass::text as name from pg_class c where c.relkind in ('r', 'm') and c.relnamespace in ('freehold'::regnamespace, 'access'::regnamespace) order by 1`,
    )
    expect(tables.length).toBeGreaterThan(10)
    for (const { name } of tables) {
      const [row] = await realm.asOwner(sql`select coalesce(string_agg(t::text, E'\n'), '') as all from ${sql.raw(name)} t`)
      expect(row?.all, name).not.toContain(MARKER)
      expect(row?.all, name).not.toContain(refresh_token)
      expect(row?.all, name).not.toContain(access_token.split('.')[2])
      if (name !== 'freehold.passwords')
        expect(row?.all, name).not.toMatch(/pbkdf2-sha256-chain\$[^$]*\$[^$]*\$[A-Za-z0-9+/]{43}/)
    }
  })
})
