/**
 * Threat: a password that somebody else chose or saw, in an old mail or a note, opens an account for ever. It works for a limited
 * time; then the mailbox of its user is what opens the account.
 */
import { exports } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { hash } from '../../src/passwords/hash.ts'
import { minimal } from '../../src/presets/minimal.ts'
import { firstAdministrator } from '../../src/tenants/provisioning/seed.ts'
import { databaseOf, refusalOf } from '../support/databases.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { ADMIN, call, makeTenant } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { secretOf } from '../support/secrets.ts'
import { admit, credentialOf, tokenOf } from '../support/sessions.ts'

const AT = 'first-days'
const GIVEN = 'Quiet-Harbour-77'
const NEW = 'Marble-Kettle-52'
let realm: Inside
let token: string
let generated: string

beforeAll(async () => {
  const made = await makeTenant(AT, { admin_password: undefined })
  generated = made.initial_admin.password
  realm = await inside(AT)
  // Somebody who administers it, and whose password is their own.
  await addPerson(realm, 'ada', { roles: ['admin'] })
  token = await tokenOf(realm, 'ada')
})

const enter = (email: string, password: string) => call(AT, '/api/v1/auth/login', { body: { email, password } })
const newcomer = async (body: object = {}) => {
  const answer = await call(AT, '/api/v1/users', { token, body: { email: `${crypto.randomUUID()}@people.test`, ...body } })
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body as { id: string; email: string; initial_password: string }
}
const reset = (id: string, body: object) => call(AT, `/api/v1/users/${id}/reset-password`, { token, body })
const change = (bearer: string, current_password: string) =>
  call(AT, '/api/v1/auth/password-change', { token: bearer, body: { current_password, new_password: NEW } })
/** The current password of somebody was set so much earlier. */
const age = (email: string, time: string) =>
  realm.asOwner(
    sql`update freehold.passwords p set created_at = p.created_at - ${time}::interval from freehold.users u where u.id = p.user_id and p.replaced_at is null and u.email = ${email}`,
  )
const set = async (body: object) =>
  expect((await call(AT, '/api/v1/settings', { token, method: 'PATCH', body })).status).toBe(200)

type Chosen = { email: string; password: string }
const KINDS: [string, () => Promise<Chosen>][] = [
  [
    'that is generated for somebody new',
    async () => {
      const { email, initial_password } = await newcomer()
      return { email, password: initial_password }
    },
  ],
  [
    'that an administrator gives somebody new',
    async () => ({ email: (await newcomer({ password: GIVEN })).email, password: GIVEN }),
  ],
  [
    'that a reset generates',
    async () => {
      const { id, email } = await newcomer()
      return { email, password: (await reset(id, {})).body.initial_password }
    },
  ],
  [
    'that an administrator gives by a reset',
    async () => {
      const { id, email } = await newcomer()
      expect((await reset(id, { new_password: GIVEN })).status).toBe(200)
      return { email, password: GIVEN }
    },
  ],
  ['that provisioning generates for the first administrator', async () => ({ email: ADMIN.email, password: generated })],
  [
    'of the operator whom setup makes',
    async () => {
      const email = 'setup@people.test'
      const admin = { email, username: 'setup', password_hash: await hash(GIVEN, 1000), must_change_password: true }
      await realm.asOwner(...firstAdministrator(admin, minimal))
      return { email, password: GIVEN }
    },
  ],
]

describe.each(KINDS)('a password %s', (_, choose) => {
  it('works for 72 hours, says so, and then opens nothing but a link by mail', async () => {
    const { email, password } = await choose()
    await age(email, '71 hours 59 minutes')
    const entered = await enter(email, password)
    expect([entered.status, entered.body.must_change_password]).toEqual([200, true])
    const left = Date.parse(entered.body.password_expires_at) - Date.now()
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThan(61_000)
    await age(email, '1 minute')
    const late = await enter(email, password)
    expectProblem(late, 403, 'password_change_required')
    expect(late.body.detail).toBe(
      'This password was for a first login, and its time is over: ask for a link with auth/password-reset.',
    )
    // Nor does a session that it opened in time make it last.
    expectProblem(await change(entered.body.access_token, password), 403, 'password_change_required')
    expect((await call(AT, '/api/v1/auth/password-reset', { body: { email } })).status).toBe(202)
    const link = await secretOf(realm, 'password_reset', email)
    const confirmed = await call(AT, '/api/v1/auth/password-reset/confirm', { body: { token: link, new_password: NEW } })
    expect(confirmed.status).toBe(204)
    // From now on it is their own.
    await age(email, '80 days')
    const again = await enter(email, NEW)
    expect([again.status, again.body.must_change_password]).toEqual([200, false])
  })
})

describe('a first password whose time is over', () => {
  it('is told to nobody who does not know it, and is in the audit with the reason', async () => {
    const { id, email } = await newcomer({ password: GIVEN })
    await age(email, '73 hours')
    const [wrong, unknown] = [await enter(email, 'Wrong-1'), await enter('nobody@people.test', GIVEN)]
    for (const answer of [wrong, unknown]) expectProblem(answer, 401, 'invalid_credentials')
    expect(wrong.body.detail).toBe(unknown.body.detail)
    expectProblem(await enter(email, GIVEN), 403, 'password_change_required')
    const rows = await realm.asOwner(
      sql`select d.after ->> 'reason' as reason from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.user_id = ${id} and l.activity_type = 'LOGIN_FAILED' order by l.at`,
    )
    expect(rows.map(({ reason }) => reason)).toEqual(['wrong_password', 'first_password_expired'])
    const [row] = await realm.asOwner(sql`select count(*)::integer as n from freehold.sessions where user_id = ${id}`)
    expect(row).toEqual({ n: 0 })
  })

  it('is one after as many hours as the tenant says: 1 to 720', async () => {
    const { email } = await newcomer({ password: GIVEN })
    await age(email, '59 minutes')
    await set({ first_password_hours: 1 })
    expect((await enter(email, GIVEN)).status).toBe(200)
    await age(email, '1 minute')
    expectProblem(await enter(email, GIVEN), 403, 'password_change_required')
    await set({ first_password_hours: 720 })
    expect((await enter(email, GIVEN)).status).toBe(200)
    await age(email, '30 days')
    expectProblem(await enter(email, GIVEN), 403, 'password_change_required')
    await set({ first_password_hours: 72 })
  })
})

describe('no first password is', () => {
  it('one that its user has chosen, by a change too', async () => {
    const { email } = await newcomer({ password: GIVEN })
    const { access_token } = (await enter(email, GIVEN)).body
    expect((await change(access_token, GIVEN)).status).toBe(204)
    await age(email, '80 days')
    expect((await enter(email, NEW)).body.must_change_password).toBe(false)
  })

  it('one that an administrator gives and that need not be changed', async () => {
    const { id, email } = await newcomer()
    expect((await reset(id, { new_password: GIVEN, must_change_password: false })).status).toBe(200)
    await age(email, '80 days')
    expect((await enter(email, GIVEN)).body.must_change_password).toBe(false)
  })

  it('admin_password of a new tenant, on which scripts rely', async () => {
    await makeTenant('first-days-kept')
    const kept = await inside('first-days-kept')
    await kept.asOwner(sql`update freehold.passwords set created_at = created_at - interval '400 days'`)
    const entered = await call('first-days-kept', '/api/v1/auth/login', { body: ADMIN })
    expect([entered.status, entered.body.must_change_password]).toEqual([200, false])
  })

  it('one that was moved in with its user, also where they must change it', async () => {
    const email = 'moved@people.test'
    const answer = await exports.default.fetch(
      new Request(`http://${AT}.freehold.test/api/v1/users/import`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/x-ndjson' },
        body: JSON.stringify({ email, password_hash: await hashOfDjango(), must_change_password: true }),
      }),
    )
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('"created":1')])
    await age(email, '80 days')
    expect((await enter(email, GIVEN)).body.must_change_password).toBe(true)
  })
})

/** As Django keeps GIVEN. */
async function hashOfDjango(): Promise<string> {
  const [salt, iterations] = ['0123456789abcdef', 1000]
  const bytes = (text: string) => new TextEncoder().encode(text)
  const key = await crypto.subtle.importKey('raw', bytes(GIVEN), 'PBKDF2', false, ['deriveBits'])
  const bits = await crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt: bytes(salt), iterations }, key, 256)
  return `pbkdf2_sha256$${iterations}$${salt}$${btoa(String.fromCharCode(...new Uint8Array(bits)))}`
}

it('nobody makes a user whose first password need not be changed, not by SQL either', async () => {
  const database = await databaseOf(AT)
  const id = crypto.randomUUID()
  const made = sql`insert into freehold.users (id, email, username, must_change_password, role) values (${id}, 'sly@people.test', 'sly', false, 'user')`
  const first = sql`select access.first_password(${id}, 'x')`
  const credential = await credentialOf(realm, 'ada')
  expect(await refusalOf(database.app_url, admit(database, credential, 'user:create'), made, first)).toBe('FH403 forbidden')
  expect(
    pointers(await call(AT, '/api/v1/users', { token, body: { email: 'x@people.test', must_change_password: false } })),
  ).toEqual(['#/must_change_password'])
})
