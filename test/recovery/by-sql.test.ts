/** Threat: whoever runs SQL as the app login makes a token for somebody, or a registration, and is them; or asks the doors what no caller is told. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf, refusalOf } from '../support/databases.ts'
import { call } from '../support/people.ts'
import { admit, type Credential, credentialOf, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'by-the-cellar'
let mine: Database
let session: Credential
let ruth: string

const HASH = sql`'$pbkdf2-sha256-chain$r=1,i=600$cXVpY2stdGVzdC1zYWx0LTE$x'`
const asApp = (...statements: ReturnType<typeof sql>[]) => refusalOf(mine.app_url, ...statements)

beforeAll(async () => {
  await copyTenant(AT)
  mine = await databaseOf(AT)
  session = await credentialOf(AT)
  const token = await tokenOf(AT)
  await call(AT, '/api/v1/settings', { token, method: 'PATCH', body: { registration: true } })
  const made = (await call(AT, '/api/v1/users', { token, body: { email: 'ruth@people.test' } })).body
  ruth = made.id
  const body = { email: made.email, password: made.initial_password }
  expect((await call(AT, '/api/v1/auth/login', { body })).status).toBe(200)
})

describe('without the system’s key', () => {
  it.each<[string, () => ReturnType<typeof sql>]>([
    [
      'nobody is sent a token',
      () => sql`select access.request_reset(${mine.id}, 'guessed', 'ruth@people.test', '\\x01'::bytea, 'x', '{}')`,
    ],
    ['nor with none', () => sql`select access.request_reset(${mine.id}, null, 'ruth@people.test', '\\x01'::bytea, 'x', '{}')`],
    [
      'nor a proof of an address',
      () => sql`select access.resend_verification(${mine.id}, 'guessed', 'ruth@people.test', '\\x01'::bytea, 'x', '{}')`,
    ],
    [
      'nobody registers',
      () =>
        sql`select access.start_registration(${mine.id}, 'guessed', '\\x01'::bytea, '\\x02'::bytea, '{"email":"sue@people.test"}', ${HASH}, 'x', '{}')`,
    ],
    [
      'nobody verifies an address',
      () => sql`select access.finish_verification(${mine.id}, 'guessed', '\\x01'::bytea, null, ${HASH}, 'sue', '{}')`,
    ],
  ])('%s', async (_, statement) => {
    expect(await asApp(statement())).toBe('FH403 forbidden')
    const [row] = await mine.asOwner(
      sql`select (select count(*) from freehold.one_time_tokens)::int + (select count(*) from freehold.registrations)::int as n`,
    )
    expect(row?.n).toBe(0)
  })
})

describe('with an admission for something else', () => {
  it.each<[string, string | null, () => ReturnType<typeof sql>, string]>([
    ['what a person’s password must be', 'user:read', () => sql`select access.begin_admin_reset(${ruth})`, 'FH404 not_found'],
    [
      'a person’s password',
      'user:create',
      () =>
        sql`select access.finish_admin_reset(${mine.id}, ${mine.system_key}, ${ruth}, ${HASH}, '{}', false, '\\x02'::bytea, 'x', false)`,
      'FH404 not_found',
    ],
    ['a person’s lock', 'user:delete', () => sql`select access.unlock(${ruth})`, 'FH404 not_found'],
    [
      'one’s own password',
      'user:update',
      () =>
        sql`select access.finish_admin_reset(${mine.id}, ${mine.system_key}, ${session.user_id}, ${HASH}, '{}', false, '\\x02'::bytea, 'x', false)`,
      'FH403 forbidden',
    ],
    [
      'one’s own address',
      'user:update',
      () => sql`update freehold.users set email = 'thief@elsewhere.test' where id = ${session.user_id}`,
      'FH403 forbidden',
    ],
    [
      'that an address was shown',
      'user:update',
      () => sql`update freehold.users set email_verified = true`,
      '42501 permission denied for table users',
    ],
    [
      'who limits sessions, read only',
      'setting:read',
      () => sql`update freehold.tenant set id = gen_random_uuid()`,
      '42501 permission denied for table tenant',
    ],
  ])('%s is out of reach', async (_, permission, statement, refusal) => {
    expect(await asApp(admit(mine, session, permission), statement())).toBe(refusal)
  })

  it('nobody’s logins are read, no setting changes, no session ends', async () => {
    const history = sql`select * from access.login_history(${ruth}, 10)`
    expect(await mine.asApp(history)).toEqual([])
    expect(await mine.asApp(admit(mine, session, 'user:read'), history)).toEqual([])
    expect(await mine.asApp(admit(mine, session, 'session:read'), history)).toMatchObject([{ activity_type: 'LOGIN' }])
    const set = sql`update freehold.tenant set registration_role = 'admin' returning id`
    expect(await mine.asApp(admit(mine, session, 'setting:read'), set)).toEqual([])
    const end = sql`update freehold.sessions set ended_at = now(), ended_because = 'x' where user_id = ${ruth} returning id`
    expect(await mine.asApp(admit(mine, session, 'session:read'), end)).toEqual([])
    expect(await mine.asApp(admit(mine, session, 'session:delete'), end)).toHaveLength(1)
  })
})

it('without an admission the doors of the admitted are shut', async () => {
  expect(await asApp(sql`select access.begin_admin_reset(${ruth})`)).toBe('FH404 not_found')
  expect(await asApp(sql`select access.unlock(${ruth})`)).toBe('FH404 not_found')
  expect(await mine.asApp(sql`select access.phone_code(${mine.id}, ${mine.system_key}, '123456', 'x') as outcome`)).toEqual([
    { outcome: 'none' },
  ])
  expect(await mine.asApp(sql`select access.verify_phone(${mine.id}, ${mine.system_key}, '123456') as verified`)).toEqual([
    { verified: false },
  ])
  expect(await mine.asApp(sql`select access.policy() as policy`)).toEqual([{ policy: null }])
  expect(await asApp(sql`select access.begin_password_change(${mine.id}, ${mine.system_key})`)).not.toBe('none')
  expect(
    await asApp(
      sql`select access.request_email_change(${mine.id}, ${mine.system_key}, gen_random_uuid(), 'x', 'a@b.test', '\\x03'::bytea, 'x')`,
    ),
  ).toBe('none')
  const [row] = await mine.asOwner(sql`select count(*)::int as n from freehold.one_time_tokens`)
  expect(row?.n).toBe(0)
})
