import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { lims } from '../../src/presets/lims.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectDiscreet, expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

/** A tenant with the rules of the laboratory's document: all that a tenant may ask for. */
let realm: Inside
let dee: Person
let token: string

beforeAll(async () => {
  await copyTenant('policy')
  realm = await inside('policy')
  const rules = { token: await tokenOf('policy'), method: 'PATCH', body: lims.settings }
  expect((await call('policy', '/api/v1/settings', rules)).status).toBe(200)
  dee = await addPerson(realm, 'dee-marlow')
  token = (await enter(dee)).body.access_token
})

const enter = ({ username, password }: Person) => call('policy', '/api/v1/auth/login', { body: { username, password } })
const change = (bearer: string, current_password: string, new_password: string) =>
  call('policy', '/api/v1/auth/password-change', { token: bearer, body: { current_password, new_password } })
/** Lets the tries of a change be forgotten, so that one row of a table does not spend another's. */
const forget = () => realm.asOwner(sql`delete from freehold.login_attempts`, sql`delete from freehold.lockouts`)
const rules = (answer: Awaited<ReturnType<typeof call>>): string[] =>
  answer.body.errors.map((fault: { detail: string }) => fault.detail)

describe('a new password', () => {
  it.each<[string, string, RegExp[]]>([
    ['is too short', 'Ab-3xyz', [/at least 8/]],
    ['is too long', `Ab-3${'xyzqrs'.repeat(21)}`, [/at most 128/]],
    ['has no upper case letter', 'violet-anchor-39', [/upper case/]],
    ['has no lower case letter', 'VIOLET-ANCHOR-39', [/lower case/]],
    ['has no digit', 'Violet-Anchor-x', [/digit/]],
    ['has nothing but letters and digits', 'VioletAnchor39', [/neither letter nor digit/]],
    ['has too few different characters', 'Aa1-Aa1-Aa11', [/5 different/]],
    ['holds the username', 'My-DEE-99-words', [/name or e-mail/]],
    ['holds a part of the username', 'Xx-marlow-77', [/name or e-mail/]],
    ['holds the given name', 'Xx-cyan-77-Yy', [/name or e-mail/]],
    ['holds the family name', 'Okonkwo-77-yy', [/name or e-mail/]],
    ['is the current one', 'Violet-Anchor-38', [/current password/]],
    [
      'breaks several rules',
      'aaa',
      [/at least 8/, /upper case/, /digit/, /neither letter nor digit/, /5 different/, /sequence or a repetition/],
    ],
    [
      'breaks all that an empty kind of text can',
      '        ',
      [/upper case/, /lower case/, /digit/, /5 different/, /sequence or a repetition/],
    ],
    ['is a common one in leet, with a year', 'P@ssw0rd2026!', [/commonest/, /guessed first/]],
    ['is the name of the tenant, with a year', 'Policy@2026', [/name.* of the tenant/]],
  ])('that %s is told so', async (_, password, expected) => {
    await forget()
    const answer = await change(token, dee.password, password)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(expected.map(() => '#/new_password'))
    for (const rule of expected) expect(rules(answer).join('\n')).toMatch(rule)
    expectDiscreet(answer, dee.password)
  })

  it('of just 8, and of just 128 characters, in any script, is taken', async () => {
    const una = await addPerson(realm, 'una')
    const bearer = (await enter(una)).body.access_token
    let current = una.password
    for (const next of ['Ab-3xyzw', `Ab-3${'xyzq'.repeat(31)}`, 'Ñandú-Ωμέγα-٣']) {
      expect((await change(bearer, current, next)).status, next).toBe(204)
      current = next
    }
    expect((await enter({ ...una, password: current })).status).toBe(200)
  })

  it('is the same person’s key however its accents were typed', async () => {
    const vic = await addPerson(realm, 'vic', { password: 'Canción-Árbol-38'.normalize('NFC') })
    expect((await enter({ ...vic, password: 'Canción-Árbol-38'.normalize('NFD') })).status).toBe(200)
  })

  it('that is the current one with its accents typed in another way is the current one', async () => {
    const wes = await addPerson(realm, 'wes', { password: 'Canción-Árbol-38'.normalize('NFC') })
    const bearer = (await enter(wes)).body.access_token
    expectProblem(await change(bearer, wes.password, 'Canción-Árbol-38'.normalize('NFD')), 400, 'invalid_request')
  })

  it('that breaks a rule is no guess: six of them do not keep the right one out', async () => {
    const yan = await addPerson(realm, 'yan')
    const bearer = (await enter(yan)).body.access_token
    for (let i = 0; i < 6; i++) expectProblem(await change(bearer, yan.password, 'weak'), 400, 'invalid_request', `try ${i + 1}`)
    const [row] = await realm.asOwner(
      sql`select count(*)::int as spent from freehold.login_attempts where key = ${`change:${yan.id}`} and state in ('pending', 'failed')`,
    )
    expect(row).toEqual({ spent: 0 })
    expect((await change(bearer, yan.password, 'Marble-Kettle-52')).status).toBe(204)
  })

  it.each<[string, unknown, string[]]>([
    ['is left out', { current_password: 'a' }, ['#/new_password']],
    ['is not text', { current_password: 'a', new_password: 12345678 }, ['#/new_password']],
    ['is empty', { current_password: 'a', new_password: '' }, ['#/new_password']],
    ['is over-long', { current_password: 'a', new_password: 'x'.repeat(1025) }, ['#/new_password']],
    ['comes without the current one', { new_password: 'Marble-Kettle-52' }, ['#/current_password']],
    [
      'comes with another field',
      { current_password: 'a', new_password: 'Marble-Kettle-52', user_id: dee?.id ?? 'x' },
      ['#/user_id'],
    ],
  ])('that %s', async (_, body, places) => {
    const answer = await call('policy', '/api/v1/auth/password-change', { token, body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(places)
  })
})

describe('a password 91 days old', () => {
  it('says so at the login', async () => {
    const xia = await addPerson(realm, 'xia')
    await realm.asOwner(sql`update freehold.users set password_changed_at = now() - interval '91 days' where username = 'xia'`)
    const entered = (await enter(xia)).body
    expect(Date.parse(entered.password_expires_at)).toBeLessThan(Date.now())
    expect(entered.must_change_password).toBe(true)
  })

  it('opens me and the change alone, and after the change everything', async () => {
    const abe = await addPerson(realm, 'abe')
    const { access_token } = (await enter(abe)).body
    const whoami = () => call('policy', '/api/v1/auth/whoami', { token: access_token })
    await realm.asOwner(sql`update freehold.users set password_changed_at = now() - interval '89 days' where username = 'abe'`)
    expect((await whoami()).status).toBe(200)
    await realm.asOwner(sql`update freehold.users set password_changed_at = now() - interval '91 days' where username = 'abe'`)
    expectProblem(await whoami(), 403, 'password_change_required')
    expect((await call('policy', '/api/v1/auth/me', { token: access_token })).status).toBe(200)
    expect((await change(access_token, abe.password, 'Marble-Kettle-52')).status).toBe(204)
    expect((await whoami()).status).toBe(200)
  })
})
