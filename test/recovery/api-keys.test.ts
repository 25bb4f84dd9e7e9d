/** Threat: who took an account over made themselves a key, which goes on when the password is set anew. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { type KeyCast, keyCast } from '../api-keys/cast.ts'
import type { Member } from '../roles/cast.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { secretOf } from '../support/secrets.ts'

const AT = 'lost-keys'
const NEW = 'Marble-Kettle-52'
/** The lock by which a test sees how far a transaction is. */
const HELD = 20_261_127
let here: KeyCast
beforeAll(async () => {
  here = await keyCast(AT)
})

/** Somebody with two keys that work. */
async function holder(username: string): Promise<Member & { keys: string[] }> {
  const member = await here.member(username, { can: { 'unit:read': 'all' } })
  const keys = [
    (await here.made(['unit:read'], {}, member.token)).key,
    (await here.made(['unit:read'], { expires_at: null }, member.token)).key,
  ]
  return { ...member, keys }
}
const working = async ({ keys }: { keys: string[] }) =>
  (await Promise.all(keys.map((key) => here.by(key, '/units')))).map(({ status }) => status)
const ALIVE = [200, 200]
const REVOKED = [401, 401]
/** By whom its keys were revoked, as the audit has it. */
const revokedBy = async (member: Member) =>
  (
    await here.realm.asOwner(
      sql`select l.user_id from freehold.audit_log l join freehold.api_keys k on k.id::text = l.resource_id where l.activity_type = 'API_KEY_REVOKED' and k.user_id = ${member.id}`,
    )
  ).map(({ user_id }) => user_id)

const reset = (member: Member, body: object) => here.ask(`/users/${member.id}/reset-password`, { body })
const change = (member: Member, body: object, current_password = member.password) =>
  here.ask('/auth/password-change', { token: member.token, body: { current_password, new_password: NEW, ...body } })
async function confirm(member: Member, body: object) {
  expect((await call(AT, '/api/v1/auth/password-reset', { body: { email: member.email } })).status).toBe(202)
  const token = await secretOf(here.realm, 'password_reset', member.email)
  return call(AT, '/api/v1/auth/password-reset/confirm', { body: { token, new_password: NEW, ...body } })
}

describe('a reset by an administrator', () => {
  it.each<[string, object]>([
    ['with a generated password', {}],
    ['with a given one', { new_password: NEW }],
    ['that says so', { revoke_api_keys: true }],
  ])('%s revokes the API keys of its user, which the audit has', async (_, body) => {
    const who = await holder(`ada-${crypto.randomUUID().slice(0, 8)}`)
    expect(await working(who)).toEqual(ALIVE)
    expect((await reset(who, body)).status).toBe(200)
    expect(await working(who)).toEqual(REVOKED)
    expect(await revokedBy(who)).toEqual([here.bo.id, here.bo.id])
  })

  it('by auth/reset-password does the same', async () => {
    const who = await holder('amy')
    expect((await here.ask('/auth/reset-password', { body: { user_id: who.id } })).status).toBe(200)
    expect(await working(who)).toEqual(REVOKED)
  })

  it('leaves them when it says so, and those of others always', async () => {
    const [who, other] = [await holder('bea'), await holder('ben')]
    expect((await reset(who, { revoke_api_keys: false })).status).toBe(200)
    expect(await working(who)).toEqual(ALIVE)
    expect((await reset(who, {})).status).toBe(200)
    expect([await working(who), await working(other)]).toEqual([REVOKED, ALIVE])
  })

  it('that is refused revokes nothing', async () => {
    const who = await holder('cal')
    expect(pointers(await reset(who, { new_password: who.password }))).toEqual(['#/new_password'])
    expect(await working(who)).toEqual(ALIVE)
  })

  it('that only mails a link cannot', async () => {
    const who = await holder('dan')
    const answer = await reset(who, { link_only: true, revoke_api_keys: true })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/revoke_api_keys'])
    expect((await reset(who, { link_only: true })).status).toBe(200)
    expect(await working(who)).toEqual(ALIVE)
  })
})

describe.each<[string, (member: Member, body: object, current?: string) => ReturnType<typeof change>]>([
  ['a reset by mail', confirm],
  ['a change of one’s own password', change],
])('%s', (name, act) => {
  const suffix = name.length

  it('leaves the API keys, unless it says otherwise', async () => {
    const who = await holder(`eve-${suffix}`)
    expect((await act(who, {})).status).toBe(204)
    expect(await working(who)).toEqual(ALIVE)
    const other = await holder(`fay-${suffix}`)
    expect((await act(other, { revoke_api_keys: true })).status).toBe(204)
    expect(await working(other)).toEqual(REVOKED)
    expect(await revokedBy(other)).toEqual([other.id, other.id])
  })

  it('that is refused revokes nothing', async () => {
    const who = await holder(`gil-${suffix}`)
    const weak = await act(who, { revoke_api_keys: true, new_password: 'weak' })
    expectProblem(weak, 400, 'invalid_request')
    const used = await act(who, { revoke_api_keys: true, new_password: who.password })
    expectProblem(used, 400, 'invalid_request')
    expect(await working(who)).toEqual(ALIVE)
  })
})

it('a change with a wrong password revokes nothing', async () => {
  const who = await holder('hal')
  expectProblem(await change(who, { revoke_api_keys: true }, 'Wrong-1'), 401, 'invalid_credentials')
  expect(await working(who)).toEqual(ALIVE)
})

/** How a test's transaction waits until somebody waits for it, 10 s at most, and says whether somebody does. */
const isWaitedFor = sql`exists (select from pg_locks l where l.transactionid = pg_current_xact_id()::xid and not l.granted)`
const waited = [
  sql`select pg_advisory_xact_lock(${HELD})`,
  sql.raw(`do $$ begin
      for i in 1..1000 loop
        exit when exists (select from pg_locks l where l.transactionid = pg_current_xact_id()::xid and not l.granted);
        perform pg_sleep(0.01);
      end loop;
    end $$`),
]
const isHeld = async () =>
  (await here.realm.asOwner(sql`select 1 from pg_locks where locktype = 'advisory' and objid = ${HELD} and granted`)).length > 0
const revoking = ({ id }: Member) =>
  sql`select access.set_recovered_password(u, 'x', true, true, 'reset_by_administrator') from freehold.users u where u.id = ${id}`
const live = ({ id }: Member) =>
  here.realm.asOwner(sql`select name from freehold.api_keys where user_id = ${id} and revoked_at is null`)

it('a key that is made while a reset is under way is not left over', async () => {
  const who = await holder('ivy')
  // The reset has written and is not committed until somebody waits for it.
  const slow = here.realm.asOwner(
    sql`select access.lock_login(${who.id})`,
    revoking(who),
    ...waited,
    sql`select ${isWaitedFor} as is_waited_for`,
  )
  await vi.waitUntil(isHeld, { timeout: 60_000 })
  const making = here.ask('/api-keys', { token: who.token, body: { name: 'late', permissions: ['unit:read'] } })
  expect(await slow).toEqual([{ is_waited_for: true }])
  expectProblem(await making, 401, 'session_ended')
  expect(await live(who)).toEqual([])
})

it('a rotation and a reset that has locked the user do not wait for each other', async () => {
  const who = await holder('jan')
  const { id } = await here.made(['unit:read'], {}, who.token)
  const slow = here.realm.asOwner(
    sql`select access.lock_login(${who.id})`,
    ...waited,
    revoking(who),
    sql`select ${isWaitedFor} as is_waited_for`,
  )
  await vi.waitUntil(isHeld, { timeout: 60_000 })
  const rotating = here.ask(`/api-keys/${id}/rotate`, { token: who.token, body: {} })
  expect(await slow).toEqual([{ is_waited_for: true }])
  expectProblem(await rotating, 404, 'not_found')
  expect(await live(who)).toEqual([])
})

it('a reset and the counting of uses lock keys in one order', async () => {
  const who = await holder('kay')
  // Whoever locked the keys as they were made would not begin with the first by id.
  let ids: [string, string]
  do {
    await here.realm.asOwner(sql`delete from freehold.api_keys where user_id = ${who.id}`)
    ids = [(await here.made(['unit:read'], {}, who.token)).id, (await here.made(['unit:read'], {}, who.token)).id]
  } while (ids[0] < ids[1])
  const [first, ...rest] = [...ids].sort()
  const counting = here.realm.asOwner(
    sql`select from freehold.api_keys where id = ${first} for no key update`,
    ...waited,
    sql`select from freehold.api_keys where id = any (${`{${rest}}`}::uuid[]) order by id for no key update`,
    sql`select ${isWaitedFor} as is_waited_for`,
  )
  await vi.waitUntil(isHeld, { timeout: 60_000 })
  const resetting = reset(who, {})
  expect(await counting).toEqual([{ is_waited_for: true }])
  expect((await resetting).status).toBe(200)
  expect(await live(who)).toEqual([])
})
