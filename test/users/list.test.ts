/** The list of people by somebody who reaches all of them: orders, filters, pages, and what is refused. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call, login } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addRole, addUnit } from './cast.ts'

const AT = 'listing'
let realm: Inside
let token: string
let unit: string

/** Names that sort and fold in different ways; two people share one. */
const PEOPLE: [string, string | null, string | null][] = [
  ['ada', 'Ada', 'Ñandú'],
  ['cy_1', 'Cy', 'Quispe'],
  ['cy1', 'Cy', 'Quispe'],
  ['cy%2', null, 'O’Brien'],
  ['dee', 'Dee', null],
  ['eve', null, null],
  ['éva', 'Éva', 'Élan'],
]

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
  unit = await addUnit(realm, 'team', 'Water')
  for (const [username, given, family] of PEOPLE) {
    await addPerson(realm, username)
    await realm.asOwner(
      sql`update freehold.users set given_name = ${given}, family_name = ${family} where username = ${username}`,
    )
  }
  await realm.asOwner(
    sql`update freehold.users set unit_id = ${unit}, is_active = username = 'dee' where username in ('dee', 'eve')`,
  )
})

const list = (query = '') => call(AT, `/api/v1/users?${query}`, { token })
const shown = async (query: string) => {
  const { body } = await list(query)
  return body.data.map(({ username }: any) => username)
}
const EVERYBODY = ['ada', 'bo', 'cy%2', 'cy1', 'cy_1', 'dee', 'eve', 'éva']
const search = (text: string) => `search=${encodeURIComponent(text)}`

describe('people', () => {
  it('are listed by username, each as they are read alone', async () => {
    const { body } = await list()
    expect(Object.keys(body)).toEqual(['data', 'next_cursor'])
    expect(body.next_cursor).toBeNull()
    expect(body.data.map(({ username }: any) => username)).toEqual(EVERYBODY)
    for (const person of body.data) expect((await call(AT, `/api/v1/users/${person.id}`, { token })).body).toEqual(person)
  })

  it('are in the order that is asked for, and the other way round', async () => {
    for (const sort of ['username', 'email', 'name', 'created_at']) {
      const forth = await shown(`sort=${sort}`)
      expect([...(await shown(`sort=-${sort}`))].reverse(), sort).toEqual(forth)
    }
    expect(await shown('sort=name&limit=5')).toEqual(expect.arrayContaining(['bo', 'eve', 'dee', 'cy%2']))
    expect((await shown('sort=created_at'))[0]).toBe('bo')
  })

  it.each(['username', '-username', 'email', '-email', 'name', '-name', 'created_at', '-created_at'])(
    'by %s come in pages of every size, each person once',
    async (sort) => {
      const all = await shown(`sort=${sort}`)
      for (const limit of [1, 2, 3, 7, 8]) {
        const pages: string[] = []
        for (let next: string | null = ''; next !== null; ) {
          const { body }: any = await list(`sort=${sort}&limit=${limit}${next && `&cursor=${encodeURIComponent(next)}`}`)
          expect(body.data.length === limit || body.next_cursor === null).toBe(true)
          pages.push(...body.data.map(({ username }: any) => username))
          next = body.next_cursor
        }
        expect(pages, String(limit)).toEqual(all)
      }
    },
  )

  it.each([
    ['ADA', '', ['ada']],
    ['cy', '', ['cy%2', 'cy1', 'cy_1']],
    ['cy_', '', ['cy_1']],
    ['cy%', '', ['cy%2']],
    ['ÉV', '', ['éva']],
    ['da', '', []],
    ['cy', '&sort=-username', ['cy_1', 'cy1', 'cy%2']],
    ['DEE@people', '&sort=email', ['dee']],
    ['QUISPE c', '&sort=name', ['cy1', 'cy_1']],
    ['ñan', '&sort=name', ['ada']],
    ['N\u0303AN', '&sort=name', ['ada']],
    ['\\', '', []],
    ["' or true --", '', []],
  ])('whose sort key begins with %j%s are found', async (text, more, expected) => {
    expect((await shown(`${search(text)}${more}`)).sort()).toEqual([...expected].sort())
  })

  it('are found by role, unit and whether they are active, together with a search', async () => {
    expect(await shown('role=admin')).toEqual(['bo'])
    expect(await shown('role=emperor')).toEqual([])
    expect(await shown(`unit_id=${unit}`)).toEqual(['dee', 'eve'])
    expect(await shown(`unit_id=${crypto.randomUUID()}`)).toEqual([])
    expect(await shown('status=inactive')).toEqual(['eve'])
    expect(await shown(`status=active&unit_id=${unit}&role=user&search=d`)).toEqual(['dee'])
    expect(await shown('status=active')).toEqual(EVERYBODY.filter((name) => name !== 'eve'))
  })
})

describe('a role', () => {
  const HOLDERS: [string, string[], string | null][] = [
    ['first', ['auditor'], null],
    ['second', ['user', 'auditor'], null],
    ['stopped', ['auditor', 'user'], "now() - interval '1 microsecond'"],
    ['ended', ['user', 'auditor'], "now() - interval '1 hour'"],
    ['ends', ['user', 'auditor'], "now() + interval '1 hour'"],
    ['switched-off', ['user', 'auditor'], null],
  ]

  it('finds who holds it now, as any of their roles: those whom the role itself lists, whose end has not come', async () => {
    await addRole(realm, 'auditor', [], 'own')
    for (const [username, roles, end] of HOLDERS) {
      await addPerson(realm, username, { roles })
      // Time passes over an end without any statement: nothing tells the user's row.
      await realm.asOwner(
        sql`alter table freehold.user_roles disable trigger user`,
        sql`update freehold.user_roles ur set starts_at = now() - interval '1 day', ends_at = ${sql.raw(end ?? 'null')} from freehold.users u, freehold.roles r
          where u.id = ur.user_id and r.id = ur.role_id and u.username = ${username} and r.name = 'auditor'`,
        sql`alter table freehold.user_roles enable trigger user`,
      )
    }
    await realm.asOwner(sql`update freehold.users set is_active = false where username = 'switched-off'`)
    const [role] = await realm.asOwner(sql`select id from freehold.roles where name = 'auditor'`)
    const holding = ['ends', 'first', 'second', 'switched-off']
    expect(await shown('role=auditor')).toEqual(holding)
    const holders = await call(AT, `/api/v1/roles/${role?.id}/users`, { token })
    expect(holders.body.data.map(({ username }: any) => username)).toEqual(holding)
    expect(await shown('role=auditor&status=active&sort=-username')).toEqual(['second', 'first', 'ends'])
    expect((await list('role=auditor&limit=3')).body.next_cursor).not.toBeNull()
    const [{ still } = {} as any] = await realm.asOwner(sql`select role as still from freehold.users where username = 'stopped'`)
    expect(still).toBe('auditor')
    await realm.asOwner(sql`delete from freehold.user_roles ur using freehold.users u, freehold.roles r
      where u.id = ur.user_id and r.id = ur.role_id and r.name = 'auditor'`)
    expect(await shown('role=auditor')).toEqual([])
  })
})

describe('the longest names there are', () => {
  it('do not end a list before its end', async () => {
    const name = '山'.repeat(255)
    for (const n of [1, 2])
      await call(AT, '/api/v1/users', { token, body: { email: `long-${n}@acme.test`, given_name: name, family_name: name } })
    const first = (await list('sort=-name&limit=1')).body
    expect(first.data[0].given_name).toBe(name)
    const second = await list(`sort=-name&limit=1&cursor=${first.next_cursor}`)
    expect([second.status, second.body.data?.[0].given_name]).toEqual([200, name])
    await realm.asOwner(sql`update freehold.users set family_name = null where email like 'long-%'`)
  })
})

describe('a list is refused', () => {
  it.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['sort=password', 'sort'],
    ['sort=-id', 'sort'],
    ['sort=', 'sort'],
    ['search=', 'search'],
    [`search=${'x'.repeat(256)}`, 'search'],
    ['search=a%00', 'search'],
    ['search=a&sort=created_at', 'search'],
    ['search=a&sort=-created_at', 'search'],
    ['role=%00', 'role'],
    ['unit_id=water', 'unit_id'],
    ['status=asleep', 'status'],
    ['colour=red', 'colour'],
  ])('for ?%s, naming the parameter', async (query, name) => {
    const answer = await list(query)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([`#/query/${name}`])
  })

  it.each(['x', '', '.', 'e30', '%00', 'W10.x', '%E2%82%AC'])('for the cursor "%s"', async (cursor) =>
    expectProblem(await list(`cursor=${cursor}`), 400, 'invalid_cursor'),
  )

  it('and no cursor tells the address or the id of the person at whom a page ends', async () => {
    for (const sort of ['email', 'username', 'name']) {
      const { data, next_cursor } = (await list(`sort=${sort}&limit=1`)).body
      const read = next_cursor
        .split('.')
        .slice(1)
        .map((part: string) => atob(part.replaceAll('-', '+').replaceAll('_', '/')))
        .join(' ')
      const [{ id, email }] = data
      for (const known of [id, email]) {
        expect(next_cursor).not.toContain(known)
        expect(read).not.toContain(known)
      }
    }
  })

  it('for a cursor of another order, another list, another tenant, or with one character changed', async () => {
    await copyTenant('listing-next')
    const { next_cursor } = (await list('limit=1')).body
    expectProblem(await list(`sort=email&cursor=${next_cursor}`), 400, 'invalid_cursor')
    expectProblem(await call(AT, `/api/v1/units?cursor=${next_cursor}`, { token }), 400, 'invalid_cursor')
    const next = await tokenOf('listing-next')
    expectProblem(await call('listing-next', `/api/v1/users?cursor=${next_cursor}`, { token: next }), 400, 'invalid_cursor')
    for (let i = 0; i < next_cursor.length; i += 9) {
      const changed = `${next_cursor.slice(0, i)}${next_cursor[i] === 'x' ? 'y' : 'x'}${next_cursor.slice(i + 1)}`
      expectProblem(await list(`cursor=${changed}`), 400, 'invalid_cursor', changed)
    }
  })
})

describe('the sessions of a person', () => {
  it('are those that live, newest first, and say which is the caller’s', async () => {
    const bo = (await call(AT, '/api/v1/users/me', { token })).body
    const ended = await tokenOf(AT)
    await call(AT, '/api/v1/auth/logout', { token: ended, method: 'POST' })
    const other = (await login(AT, { headers: { 'User-Agent': 'phone/2' } })).access_token
    const { body } = await call(AT, `/api/v1/users/${bo.id}/sessions`, { token })
    expect(body.data.map(({ device, is_current }: any) => [device, is_current])).toEqual([
      ['phone/2', false],
      ['cy/1.0', true],
    ])
    const page = (await call(AT, `/api/v1/users/${bo.id}/sessions?limit=1`, { token: other })).body
    expect(page.data).toMatchObject([{ device: 'phone/2', is_current: true }])
    const rest = (await call(AT, `/api/v1/users/${bo.id}/sessions?limit=1&cursor=${page.next_cursor}`, { token: other })).body
    expect([rest.data.length, rest.next_cursor]).toEqual([1, null])
    await realm.asOwner(sql`update freehold.sessions set last_active_at = now() - interval '8 days' where device = 'phone/2'`)
    expect((await call(AT, `/api/v1/users/${bo.id}/sessions`, { token })).body.data).toHaveLength(1)
  })
})
