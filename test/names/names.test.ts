/** Threat: a name that shows as nothing, or as another one, so that somebody gives what they meant for that. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { Name, PlainName } from '../../src/names/names.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call, operatorToken, wanted } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'names'
let realm: Inside
let token: string
let person: string

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
  person = (await addPerson(realm, 'somebody')).id
})
const ask = (path: string, body: object, method = 'POST') => call(AT, `/api/v1${path}`, { token, method, body })

const INVISIBLE = [
  '\u200b',
  '\u202e',
  '\u200b\u200d\u2060',
  'a\u200bb',
  '\u202edrowssap',
  '\u2066x',
  '\u3164',
  '\u2800',
  '\ufeff',
  'a\u00adb',
  'a\u2028b',
]
const MIXED = ['\u0430dmin', 'adm\u0456n', '\u03bfwner', 'Lab \u0421hemistry']

describe('every name that people read', () => {
  const FIELDS: [string, (name: string) => Promise<any>, string][] = [
    ['a role', (name) => ask('/roles', { name }), '#/name'],
    ['a unit', (name) => ask('/units', { kind: 'team', name }), '#/name'],
    ['an API key', (name) => ask('/api-keys', { name, permissions: ['user:read'] }), '#/name'],
    ['a person', (given_name) => ask(`/users/${person}`, { given_name }, 'PATCH'), '#/given_name'],
    ['a family', (family_name) => ask('/users', { email: 'x@acme.test', family_name }), '#/family_name'],
    ['a title', (designation) => ask(`/users/${person}`, { designation }, 'PATCH'), '#/designation'],
    [
      'a tenant',
      async (legal_name) =>
        call('', '/platform/v1/tenants', { token: await operatorToken(), body: wanted('invisible', { legal_name }) }),
      '#/legal_name',
    ],
  ]
  it.each(FIELDS)('shows all of itself: %s', async (_, send, pointer) => {
    for (const name of INVISIBLE) {
      const answer = await send(name)
      expectProblem(answer, 400, 'invalid_request', JSON.stringify(name))
      expect(pointers(answer)).toContain(pointer)
    }
  })

  it.each(FIELDS.slice(0, 2))(
    'mixes no letters that look alike in a word, where rights are tied to it: %s',
    async (_, send, pointer) => {
      for (const name of MIXED) {
        const answer = await send(name)
        expectProblem(answer, 400, 'invalid_request', name)
        expect(pointers(answer)).toEqual([pointer])
      }
    },
  )

  it.each(['José Ñandú-O’Brien', 'محمد', 'ナムコ', 'Лаборатория PCR', 'β-testing', '⚗', '§ 7'])('may be %s', (name) => {
    expect(PlainName(64).parse(name)).toBe(name)
  })

  it('of a person may mix letters as their languages do', () => {
    expect(Name(64).parse('Дж. R2Два')).toBe('Дж. R2Два')
  })
})

describe('the name of a role', () => {
  it.each([
    ['ADMIN', 'in capitals'],
    ['Admin', 'with one'],
    ['ＡＤＭＩＮ', 'in wide letters'],
    ['𝐚𝐝𝐦𝐢𝐧', 'in mathematical letters'],
  ])('is not %s beside admin: %s', async (name) => {
    const answer = await ask('/roles', { name })
    expectProblem(answer, 409, 'already_exists')
    expect(pointers(answer)).toEqual(['#/name'])
    const other = await ask('/roles', { name: `of-${crypto.randomUUID()}` })
    expectProblem(await ask(`/roles/${other.body.id}`, { name }, 'PATCH'), 409, 'already_exists')
  })

  it('is not one of Cyrillic letters that looks like another', async () => {
    expect((await ask('/roles', { name: 'copy' })).status).toBe(201)
    expectProblem(await ask('/roles', { name: '\u0441\u043e\u0440\u0443' }), 409, 'already_exists')
  })

  it('may change how it is written, and be given again once it is free', async () => {
    const { body } = await ask('/roles', { name: 'planner' })
    expect((await ask(`/roles/${body.id}`, { name: 'Planner' }, 'PATCH')).status).toBe(200)
    expect((await call(AT, `/api/v1/roles/${body.id}`, { token, method: 'DELETE' })).status).toBe(204)
    expect((await ask('/roles', { name: 'PLANNER' })).status).toBe(201)
  })

  it('is one role’s when twenty that look the same are made at once', async () => {
    const names = Array.from({ length: 20 }, (_, i) =>
      [...'twenty'].map((letter, n) => ((i >> n) & 1 ? letter.toUpperCase() : letter)).join(''),
    )
    const answers = await Promise.all(names.map((name) => ask('/roles', { name })))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(19).fill(409)])
  })

  it('stays what it is where there were two before, until it is changed', async () => {
    await realm.asOwner(
      sql`alter table freehold.roles disable trigger before_role_name`,
      sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'twin'), (gen_random_uuid(), 'TWIN')`,
      sql`alter table freehold.roles enable trigger before_role_name`,
    )
    const [twin] = await realm.asOwner(sql`select id from freehold.roles where name = 'TWIN'`)
    expect((await ask(`/roles/${twin?.id}`, { description: 'the second', name: 'TWIN' }, 'PATCH')).status).toBe(200)
    expectProblem(await ask(`/roles/${twin?.id}`, { name: 'Twin' }, 'PATCH'), 409, 'already_exists')
  })
})
