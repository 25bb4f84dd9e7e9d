import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Database, databaseOf, refusalOf } from '../support/databases.ts'
import { admit, type Credential, credentialOf, FACTS } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const UNKNOWN = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'
let there: Database
let other: Database
/** bo administers the tenant; cy holds the role `user`, whose permissions are all `own`; dee holds no role. */
let bo: Credential
let cy: Credential
let dee: Credential

const session = async (user_id: string): Promise<Credential> => {
  const [row] = await there.asOwner(
    sql`insert into freehold.sessions (id, user_id, expires_at) values (gen_random_uuid(), ${user_id}, now() + interval '1 day') returning id`,
  )
  return { session_id: row?.id, user_id }
}

async function person(username: string, role: string | null): Promise<Credential> {
  const [user] = await there.asOwner(
    sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), ${username}, ${`${username}@acme.test`}, ${role}) returning id`,
  )
  return session(user?.id)
}

beforeAll(async () => {
  await copyTenant('admitted')
  await copyTenant('admitted-other')
  there = await databaseOf('admitted')
  other = await databaseOf('admitted-other')
  bo = await credentialOf('admitted')
  cy = await person('cy', 'user')
  dee = await person('dee', null)
})

const users = sql`select username from freehold.users order by username`
const refused = (credential: object, permission: string | null = null, any_password = false) =>
  refusalOf(there.app_url, admit(there, credential, permission, FACTS, any_password))

describe('an admission', () => {
  it('says who was admitted and how far', async () => {
    expect(await there.asApp(admit(there, bo, 'user:read'))).toEqual([{ ...bo, scope: 'all' }])
    expect(await there.asApp(admit(there, cy, 'user:read'))).toEqual([{ ...cy, scope: 'own' }])
    expect(await there.asApp(admit(there, bo, null))).toEqual([{ ...bo, scope: 'own' }])
  })

  it('opens what the policies allow, and no more', async () => {
    expect(await there.asApp(admit(there, bo, 'user:read'), users)).toEqual([
      { username: 'bo' },
      { username: 'cy' },
      { username: 'dee' },
    ])
    expect(await there.asApp(admit(there, cy, 'user:read'), users)).toEqual([{ username: 'cy' }])
    expect(await there.asApp(admit(there, bo, null), users)).toEqual([{ username: 'bo' }])
    expect(await there.asApp(admit(there, cy, null), sql`select user_id from freehold.sessions`)).toEqual([
      { user_id: cy.user_id },
    ])
    expect(await there.asApp(admit(there, cy, null), sql`select name from freehold.roles order by 1`)).toEqual([
      { name: 'admin' },
      { name: 'user' },
    ])
  })

  it('lets nobody open a session again that has ended, nor say otherwise when and why it did', async () => {
    const stolen = await session(cy.user_id)
    await there.asOwner(
      sql`update freehold.sessions set ended_at = '2026-01-01', ended_because = 'stolen' where id = ${stolen.session_id}`,
    )
    for (const change of [
      sql`ended_at = null, ended_because = null`,
      sql`ended_at = now(), ended_because = 'logout'`,
      sql`ended_at = null, ended_because = null, expires_at = 'infinity', last_active_at = now()`,
    ])
      await there
        .asApp(admit(there, cy, null), sql`update freehold.sessions set ${change} where id = ${stolen.session_id}`)
        .catch(() => undefined)
    expect(
      await there.asOwner(
        sql`select ended_at = '2026-01-01' as at, ended_because from freehold.sessions where id = ${stolen.session_id}`,
      ),
    ).toEqual([{ at: true, ended_because: 'stolen' }])
    expect(await refused(stolen)).toBe('FH401 session_ended')
  })

  it('lets a person end their own sessions and nobody else’s', async () => {
    const second = await session(cy.user_id)
    const end = sql`update freehold.sessions set ended_at = now(), ended_because = 'planted' where id <> ${cy.session_id}`
    await there.asApp(admit(there, second, null), end)
    expect(await there.asOwner(sql`select id from freehold.sessions where ended_because = 'planted'`)).toEqual([
      { id: second.session_id },
    ])
  })

  it('is over with the transaction', async () => {
    await Promise.all(Array.from({ length: 10 }, () => there.asApp(admit(there, bo, 'user:read'), users)))
    for (let i = 0; i < 10; i++) {
      const [row] = await there.asApp(
        sql`select access.principal() as p, access.scope() as s, (select count(*)::integer from freehold.users) as n`,
      )
      expect(row).toEqual({ p: null, s: null, n: 0 })
    }
  })

  it('that is refused takes the whole transaction with it', async () => {
    expect(await refusalOf(there.app_url, admit(there, bo, 'user:read'), admit(there, cy, 'role:delete'), users)).toBe(
      'FH403 forbidden',
    )
  })

  it('cannot be given a scope or a person by the request', async () => {
    const request = {
      ...FACTS,
      scope: 'all',
      user_id: bo.user_id,
      session_id: bo.session_id,
      permission: 'user:delete',
      user_name: 'bo',
    }
    const said = sql`select access.principal() as user_id, access.session() as session_id, access.scope() as scope, (select count(*)::integer from freehold.users) as n`
    expect(await there.asApp(admit(there, cy, null, request), said)).toEqual([{ ...cy, scope: 'own', n: 1 }])
  })

  it('says that somebody was there, once a minute: who reads at once, who writes at the end', async () => {
    const last = () => there.asOwner(sql`select last_active_at from freehold.sessions where id = ${cy.session_id}`)
    const first = await last()
    await there.asApp(admit(there, cy, null))
    expect(await last()).toEqual(first)
    await there.asOwner(
      sql`update freehold.sessions set last_active_at = now() - interval '2 minutes' where id = ${cy.session_id}`,
    )
    const idle = await last()
    await there.asApp(admit(there, cy, null, { ...FACTS, method: 'POST' }))
    expect(await last()).toEqual(idle)
    await there.asApp(admit(there, cy, null, { ...FACTS, method: 'POST' }), sql`select access.touch()`)
    expect(await last()).not.toEqual(idle)
    await there.asOwner(sql`update freehold.sessions set last_active_at = ${idle[0]?.last_active_at} where id = ${cy.session_id}`)
    await there.asApp(admit(there, cy, null))
    expect(
      await there.asOwner(
        sql`select last_active_at > now() - interval '1 minute' as fresh from freehold.sessions where id = ${cy.session_id}`,
      ),
    ).toEqual([{ fresh: true }])
  })
})

describe('an admission is refused', () => {
  it('to another tenant’s id, in either database', async () => {
    expect(await refusalOf(there.app_url, admit(other, bo, null))).toBe('FH503 wrong_tenant')
    expect(await refusalOf(other.app_url, admit(there, bo, null))).toBe('FH503 wrong_tenant')
    expect(await refusalOf(there.app_url, sql`select * from access.admit(null, '{}', null, '{}')`)).toBe('FH503 wrong_tenant')
  })

  it('to another tenant’s session, whose id is known', async () => {
    expect(await refusalOf(other.app_url, admit(other, bo, null))).toBe('FH401 session_ended')
  })

  it.each<[string, () => object]>([
    ['an unknown session', () => ({ ...bo, session_id: UNKNOWN })],
    ['a session of somebody else', () => ({ ...bo, user_id: cy.user_id })],
    ['a session of an unknown person', () => ({ ...bo, user_id: UNKNOWN })],
    ['no person', () => ({ session_id: bo.session_id })],
    ['no session', () => ({ user_id: bo.user_id })],
    ['nothing', () => ({})],
    ['null', () => ({ session_id: null, user_id: null })],
  ])('to %s', async (_, credential) => expect(await refused(credential())).toBe('FH401 session_ended'))

  it.each([
    ['ended', sql`ended_at = now(), ended_because = 'logout'`],
    ['expired', sql`expires_at = now() - interval '1 second'`],
    ['expired just now', sql`expires_at = now()`],
    ['idle for a week', sql`last_active_at = now() - interval '7 days'`],
  ])('to a session that has %s', async (_, change) => {
    const old = await session(cy.user_id)
    await there.asOwner(sql`update freehold.sessions set ${change} where id = ${old.session_id}`)
    expect(await refused(old)).toBe('FH401 session_ended')
  })

  it('to who holds no role, and to who was deactivated', async () => {
    expect(await refused(dee)).toBe('FH403 user_inactive')
    const gone = await person('gone', 'user')
    expect(await refused(gone)).toBe('none')
    await there.asOwner(sql`update freehold.users set is_active = false where username = 'gone'`)
    expect(await refused(gone)).toBe('FH403 user_inactive')
  })

  it('to who lacks the permission, and for one that nobody knows', async () => {
    expect(await refused(cy, 'role:delete')).toBe('FH403 forbidden')
    expect(await refused(bo, 'moon:land')).toBe('FH403 forbidden')
    expect(await refused(bo, '')).toBe('FH403 forbidden')
  })

  it('to whose password must be changed or is too old, but where the route allows it', async () => {
    const eve = await person('eve', 'user')
    await there.asOwner(sql`update freehold.tenant set password_days = 90`)
    // Only who has a password has one that is too old.
    await there.asOwner(
      sql`insert into freehold.passwords (id, user_id, password_hash) select gen_random_uuid(), u.id, 'x' from freehold.users u where u.username = 'eve'`,
    )
    for (const change of [
      sql`must_change_password = true`,
      sql`must_change_password = false, password_changed_at = now() - interval '90 days'`,
    ]) {
      await there.asOwner(sql`update freehold.users set ${change} where username = 'eve'`)
      expect(await refused(eve)).toBe('FH403 password_change_required')
      expect(await refused(eve, null, true)).toBe('none')
    }
    await there.asOwner(sql`update freehold.tenant set password_days = 0`)
  })

  it('to everybody when the tenant is switched off', async () => {
    await other.asOwner(sql`update freehold.tenant set is_active = false`)
    const outcome = await refusalOf(other.app_url, admit(other, bo, null))
    await other.asOwner(sql`update freehold.tenant set is_active = true`)
    expect(outcome).toBe('FH503 tenant_inactive')
  })

  it('not for a lock: strangers’ guesses end nobody’s session', async () => {
    await there.asOwner(sql`insert into freehold.lockouts (key, failures, failed_at, locked_until) values (${`login:${cy.user_id}`}, 9, now(), now() + interval '1 hour')
      on conflict (key) do update set locked_until = excluded.locked_until`)
    expect(await refused(cy)).toBe('none')
  })
})
describe('an anonymous door admits nobody to the rest of its transaction', () => {
  const claims = { ...FACTS, scope: 'all', permission: 'user:read' }
  const doors: [string, (request: string) => ReturnType<typeof sql>][] = [
    [
      'record_refusal',
      (request) =>
        sql`select access.record_refusal(${there.id}, ${there.system_key}, '{}'::jsonb, 'forbidden', null, ${request}::jsonb)`,
    ],
    [
      'record_refusal with a real session',
      (request) =>
        sql`select access.record_refusal(${there.id}, ${there.system_key}, ${JSON.stringify(bo)}::jsonb, 'forbidden', null, ${request}::jsonb)`,
    ],
    [
      'login_settle without an attempt',
      (request) =>
        sql`select access.finish_login(${there.id}, ${there.system_key}, null, ${'A'.repeat(43)}, null, '\\x00'::bytea, ${request}::jsonb)`,
    ],
    [
      'login_settle of an attempt at bo',
      (request) =>
        sql`select access.finish_login(${there.id}, ${there.system_key}, (access.begin_login(${there.id}, ${there.system_key}, 'bo') ->> 'attempt')::uuid, ${'A'.repeat(43)}, null, '\\x00'::bytea, ${request}::jsonb)`,
    ],
    [
      'refresh',
      (request) =>
        sql`select access.refresh(${there.id}, ${there.system_key}, (select sha256('presented')), sha256('successor'), ${request}::jsonb)`,
    ],
  ]
  const said = sql`select access.principal() as user_id, access.session() as session_id, access.scope() as scope,
    (select count(*)::integer from freehold.users) as users, (select count(*)::integer from freehold.sessions) as sessions`

  it.each(doors)('%s', async (_, door) => {
    await there.asOwner(
      sql`insert into freehold.refresh_tokens (token_hash, session_id, expires_at) values (sha256('presented'), ${bo.session_id}, now() + interval '1 day') on conflict do nothing`,
    )
    const nobody = [{ user_id: null, session_id: null, scope: null, users: 0, sessions: 0 }]
    for (const request of [claims, { ...claims, user_id: bo.user_id, session_id: bo.session_id }, {}])
      expect(await there.asApp(door(JSON.stringify(request)), said)).toEqual(nobody)
  })

  it.each(doors)('nor widens one that is there: %s', async (_, door) => {
    const [row] = await there.asApp(admit(there, cy, null), door(JSON.stringify({ ...claims, session_id: bo.session_id })), said)
    expect([null, 'own']).toContain(row?.scope)
    expect(row?.users).toBeLessThanOrEqual(1)
    expect(row?.session_id).not.toBe(bo.session_id)
  })
})
