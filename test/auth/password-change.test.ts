import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { digest, hash } from '../../src/passwords/hash.ts'
import { addPerson, type Inside, inside, type Person, takePassword } from '../support/inside.ts'
import { ADMIN, call, login, makeTenant } from '../support/people.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'

const NEW = 'Marble-Kettle-52'
/** The lock by which a test sees how far a transaction is. */
const HELD = 20_261_126
let realm: Inside
let temporary: string

beforeAll(async () => {
  const made = await makeTenant('changing', { admin_password: undefined })
  temporary = made.initial_admin.password
  expect(made.initial_admin).toEqual({ email: ADMIN.email, password: expect.any(String), must_change_password: true })
  realm = await inside('changing')
})

const change = (token: string, current_password: string, new_password: string) =>
  call('changing', '/api/v1/auth/password-change', { token, body: { current_password, new_password } })
const enter = (username: string, password: string) => call('changing', '/api/v1/auth/login', { body: { username, password } })
const get = (name: string, token: string) => call('changing', `/api/v1/auth/${name}`, { token })

/** A person of their own for one test, logged in. */
async function someone(username: string): Promise<Person & { token: string }> {
  const person = await addPerson(realm, username)
  return { ...person, token: (await enter(username, person.password)).body.access_token }
}

describe('a temporary password', () => {
  it('opens me, logout and the change alone; after the change, everything', async () => {
    const entered = await call('changing', '/api/v1/auth/login', { body: { email: ADMIN.email, password: temporary } })
    expect(entered.body).toMatchObject({ must_change_password: true })
    const { access_token: token, refresh_token } = entered.body
    expectProblem(await get('whoami', token), 403, 'password_change_required')
    expect((await get('me', token)).status).toBe(200)
    const renewed = await call('changing', '/api/v1/auth/refresh', { body: { refresh_token } })
    expect(renewed.body).toMatchObject({ must_change_password: true })
    expectProblem(await get('whoami', renewed.body.access_token), 403, 'password_change_required')
    const second = await enter('bo', temporary)
    expect((await call('changing', '/api/v1/auth/logout', { token: second.body.access_token, method: 'POST' })).status).toBe(204)

    expect((await change(token, temporary, NEW)).status).toBe(204)
    expect((await get('whoami', token)).status).toBe(200)
    expect((await enter('bo', NEW)).body).toMatchObject({ must_change_password: false })
    expectProblem(await enter('bo', temporary), 401, 'invalid_credentials')
  })

  it('is good by the policy it must be changed under', () => expect(temporary).toMatch(/^[\x21-\x7e]{20}$/))
})

describe('a change', () => {
  it('takes two round trips, ends the other sessions, and keeps this one', async () => {
    await realm.asOwner(sql`update freehold.tenant set password_days = 90`)
    const ana = await someone('ana')
    const other = await login('changing', { body: { username: 'ana', password: ana.password } })
    const answer = await change(ana.token, ana.password, NEW)
    expect([answer.status, answer.body, answer.trips]).toEqual([204, '', 2])
    expect((await get('whoami', ana.token)).status).toBe(200)
    expectProblem(await get('me', other.access_token), 401, 'session_ended')
    expectProblem(
      await call('changing', '/api/v1/auth/refresh', { body: { refresh_token: other.refresh_token } }),
      401,
      'refresh_invalid',
    )
    expectProblem(await enter('ana', ana.password), 401, 'invalid_credentials')
    const entered = await enter('ana', NEW)
    expect(Date.parse(entered.body.password_expires_at) - Date.now()).toBeGreaterThan(89.9 * 86_400_000)
    await realm.asOwner(sql`update freehold.tenant set password_days = 0`)
  })

  it('leaves other people’s sessions alone', async () => {
    const [ben, eva] = [await someone('ben'), await someone('eva')]
    expect((await change(ben.token, ben.password, NEW)).status).toBe(204)
    expect((await get('me', eva.token)).status).toBe(200)
  })

  it('has the other path too', async () => {
    const fay = await someone('fay')
    const body = { current_password: fay.password, new_password: NEW }
    expect((await call('changing', '/api/v1/auth/change-password', { token: fay.token, body })).status).toBe(204)
  })

  it('asked for twice at once happens once', async () => {
    const gil = await someone('gil')
    const answers = await Promise.all([change(gil.token, gil.password, NEW), change(gil.token, gil.password, 'Copper-Window-17')])
    expect(answers.map((answer) => answer.status).sort()).toEqual([204, 401])
    const won = answers[0]?.status === 204 ? NEW : 'Copper-Window-17'
    expect((await enter('gil', won)).status).toBe(200)
  })

  it('is not outlived by a login with the old password that overlaps it', async () => {
    const hal = await someone('hal')
    const [row] = await realm.asOwner(
      sql`select s.id as session_id, s.user_id, access.session_proof(s.id) as proof, regexp_replace(p.password_hash, '[$][^$]*$', '') as recipe from freehold.sessions s join freehold.users u on u.id = s.user_id join freehold.passwords p on p.user_id = u.id and p.replaced_at is null where u.username = 'hal'`,
    )
    const { recipe, ...credential } = row as Record<string, string>
    const [compared, renewed] = [await digest(hal.password, recipe ?? ''), await hash(NEW, 1000)]
    // The change has written and is not committed until a login waits for it (10 s at most).
    const slow = realm.asOwner(
      sql`select access.admit(${realm.id}, ${JSON.stringify(credential)}::jsonb, null, '{}'::jsonb, true)`,
      sql`select access.finish_password_change(${realm.id}, ${realm.system_key}, (access.begin_password_change(${realm.id}, ${realm.system_key}) ->> 'attempt')::uuid, ${compared}, ${renewed}, '{}'::jsonb, false) as changed`,
      sql`select pg_advisory_xact_lock(${HELD})`,
      sql.raw(`do $$ begin
        for i in 1..1000 loop
          exit when exists (select from pg_locks l where l.transactionid = pg_current_xact_id()::xid and not l.granted);
          perform pg_sleep(0.01);
        end loop;
      end $$`),
      sql`select exists (select from pg_locks l where l.transactionid = pg_current_xact_id()::xid and not l.granted) as is_waited_for`,
    )
    const isHeld = async () =>
      (await realm.asOwner(sql`select 1 from pg_locks where locktype = 'advisory' and objid = ${HELD} and granted`)).length > 0
    await vi.waitUntil(isHeld, { timeout: 60_000 })
    const overlapping = enter('hal', hal.password)
    expect(await slow).toEqual([{ is_waited_for: true }])
    expectProblem(await overlapping, 401, 'invalid_credentials')
    expectProblem(await enter('hal', hal.password), 401, 'invalid_credentials')
    expect((await enter('hal', NEW)).status).toBe(200)
  })
})

describe('a change is refused', () => {
  it('with a wrong current password: 401, and nothing is changed or ended', async () => {
    const ivy = await someone('ivy')
    const other = await enter('ivy', ivy.password)
    const answer = await change(ivy.token, 'Wrong-1', NEW)
    expectProblem(answer, 401, 'invalid_credentials')
    expectDiscreet(answer, 'Wrong-1', NEW)
    for (const token of [ivy.token, other.body.access_token]) expect((await get('me', token)).status).toBe(200)
    expect((await enter('ivy', ivy.password)).status).toBe(200)
  })

  it('after five wrong ones even with the right one; but logging in goes on, and so does everybody else', async () => {
    const kai = await someone('kai')
    const lou = await someone('lou')
    await realm.asOwner(sql`insert into freehold.lockouts (key, failures, failed_at) values (${`change:${kai.id}`}, 3, now())`)
    for (let i = 0; i < 2; i++) expectProblem(await change(kai.token, 'Wrong-1', NEW), 401, 'invalid_credentials')
    expectProblem(await change(kai.token, kai.password, NEW), 401, 'invalid_credentials')
    const again = await enter('kai', kai.password)
    expect(again.status).toBe(200)
    expectProblem(await change(again.body.access_token, kai.password, NEW), 401, 'invalid_credentials')
    expect((await change(lou.token, lou.password, NEW)).status).toBe(204)
    await realm.asOwner(
      sql`update freehold.lockouts set locked_until = now() - interval '1 second' where key = ${`change:${kai.id}`}`,
    )
    expect((await change(kai.token, kai.password, NEW)).status).toBe(204)
  })

  it('12 guesses at once are 5 comparisons', async () => {
    const mel = await someone('mel')
    const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => change(mel.token, `Wrong-${i}`, NEW)))
    for (const answer of answers) expectProblem(answer, 401, 'invalid_credentials')
    const [row] = await realm.asOwner(
      sql`select count(*)::int as n from freehold.login_attempts where key = ${`change:${mel.id}`} and state = 'failed'`,
    )
    expect(row).toEqual({ n: 5 })
  })

  it('to a person who has no password, without breaking', async () => {
    const nia = await someone('nia')
    await takePassword(realm, 'nia')
    const answer = await change(nia.token, nia.password, NEW)
    expectProblem(answer, 401, 'invalid_credentials')
  })

  it('without a token', async () =>
    expectProblem(
      await call('changing', '/api/v1/auth/password-change', { body: { current_password: 'a', new_password: NEW } }),
      401,
      'token_missing',
    ))
})
