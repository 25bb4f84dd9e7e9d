/** Threat: who has had an account for long keeps a hash that is cheap to guess; or a renewal puts another password, or a weaker hash, in its place. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { digest, hash } from '../../src/passwords/hash.ts'
import { type Database, databaseOf } from '../support/databases.ts'
import { addPerson, type Inside, inside, type Person } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'rehashed'
let realm: Inside
let database: Database

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  database = await databaseOf(AT)
})

const enter = (person: Person, iterations: number, more: object = {}) =>
  call(AT, '/api/v1/auth/login', {
    body: { username: person.username, password: person.password, ...more },
    settings: { PASSWORD_HASH_ITERATIONS: String(iterations) },
  })
const hashesOf = async (person: Person): Promise<string[]> =>
  (
    await realm.asOwner(
      sql`select password_hash from freehold.passwords where user_id = ${person.id} order by replaced_at nulls first, created_at desc`,
    )
  ).map(({ password_hash }) => password_hash)
const parametersOf = async (person: Person) => (await hashesOf(person))[0]?.replace(/\$[^$]*$/, '') ?? ''

describe('a hash that is cheaper than new ones', () => {
  it('is extended to what they cost at the next login that goes well, in the same round trips, and once', async () => {
    const ada = await addPerson(realm, 'ada')
    const before = await parametersOf(ada)
    const salt = before.split('$').at(-1)
    expectProblem(await enter({ ...ada, password: 'Wrong-1' }, 250_500), 401, 'invalid_credentials')
    expect(await parametersOf(ada)).toBe(before)
    const answer = await enter(ada, 250_500)
    expect([answer.status, answer.trips]).toEqual([200, 2])
    const [first, ...others] = await hashesOf(ada)
    expect(first).toMatch(/^\$pbkdf2-sha256-chain\$r=1,i=1000\+r=3,i=83167\$/)
    expect(first?.split('$')[3]).toBe(salt)
    expect(others).toEqual([])
    expect((await enter(ada, 250_500)).status).toBe(200)
    expect((await enter(ada, 1000)).status).toBe(200)
    expect(await hashesOf(ada)).toEqual([first])
    expect((await enter(ada, 260_000)).status).toBe(200)
    expect(await parametersOf(ada)).toBe(`$pbkdf2-sha256-chain$r=1,i=1000+r=3,i=83167+r=1,i=9499$${salt}`)
    expect((await enter(ada, 260_000)).status).toBe(200)
    expectProblem(await enter({ ...ada, password: 'Wrong-1' }, 260_000), 401, 'invalid_credentials')
  })

  it('is extended once when several log in at once, and all get in', async () => {
    const bo = await addPerson(realm, 'bob')
    const answers = await Promise.all(Array.from({ length: 4 }, () => enter(bo, 200_000)))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(await parametersOf(bo)).toContain('$r=1,i=1000+r=2,i=99500$')
    expect(await hashesOf(bo)).toHaveLength(1)
  })

  it('stays the same password: its devices are known, and it cannot be used again', async () => {
    const cy = await addPerson(realm, 'cyd')
    const { body } = await enter(cy, 1000)
    expect((await enter(cy, 5000)).status).toBe(200)
    for (let i = 0; i < 5; i++) await enter({ ...cy, password: 'Wrong-1' }, 5000)
    expectProblem(await enter(cy, 5000), 401, 'invalid_credentials')
    expect((await enter(cy, 5000, { device_token: body.device_token })).status).toBe(200)
    const token = await tokenOf(AT, 'cyd')
    const change = (current_password: string, new_password: string) =>
      call(AT, '/api/v1/auth/password-change', { token, body: { current_password, new_password } })
    expect((await change(cy.password, 'Marble-Kettle-52')).status).toBe(204)
    const back = await change('Marble-Kettle-52', cy.password)
    expectProblem(back, 400, 'invalid_request')
    expect(back.body.errors[0].detail).toBe('must not be one of the last passwords')
  })
})

describe('a renewal', () => {
  const begin = async (person: Person): Promise<{ attempt: string; hash_parameters: string }> => {
    const [row] = await database.asApp(
      sql`select access.begin_login(${realm.id}, ${realm.system_key}, ${person.username}) as answer`,
    )
    return row?.answer
  }
  const finish = async (attempt: string, compared: string, parameters: string, renewed: string): Promise<string> => {
    const refresh = crypto.randomUUID()
    const [row] = await database.asApp(
      sql`select access.finish_login_with_rehash(${realm.id}, ${realm.system_key}, ${attempt}, ${compared}, ${parameters}, ${renewed}, sha256(${refresh}::bytea), '{}') ->> 'outcome' as outcome`,
    )
    return row?.outcome
  }

  it('loses to a change of the password that came between its two halves', async () => {
    const dee = await addPerson(realm, 'dee')
    const { attempt, hash_parameters } = await begin(dee)
    const extended = hash_parameters.replace('i=1000$', 'i=1000+r=1,i=500$')
    const changed = await hash('Marble-Kettle-52', 1000)
    await realm.asOwner(sql`select access.replace_password(${dee.id}, ${changed}, false, 'password_change', null)`)
    const digests = [await digest(dee.password, hash_parameters), await digest(dee.password, extended)] as const
    expect(await finish(attempt, digests[0], extended, digests[1])).toBe('refused')
    expect((await hashesOf(dee))[0]).toBe(changed)
  })

  it.each<[string, (own: string) => string]>([
    ['of a weaker hash', (own) => own.replace('i=1000$', 'i=1$')],
    ['of another salt', (own) => own.replace(/i=1000\$.*/, `i=1000+r=1,i=500$${'A'.repeat(22)}`)],
    ['of what is no extension', (own) => own.replace('i=1000$', 'i=10000$')],
  ])('%s is not taken; the login goes well', async (name, change) => {
    const person = await addPerson(realm, name.replaceAll(' ', '-'))
    const before = await hashesOf(person)
    const { attempt, hash_parameters } = await begin(person)
    const wanted = change(hash_parameters)
    const digests = [await digest(person.password, hash_parameters), await digest(person.password, wanted)] as const
    expect(await finish(attempt, digests[0], wanted, digests[1])).toBe('ok')
    expect(await hashesOf(person)).toEqual(before)
  })
})
