/** Who reports to whom: a tree, whoever acts at once. */
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember } from './cast.ts'

const AT = 'managed'
let realm: Inside
let token: string
const id: Record<string, string> = {}

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
  const tree: [string, string | null][] = [
    ['ada', null],
    ['cy', 'ada'],
    ['dee', 'ada'],
    ['eve', 'cy'],
    ['eve-1', 'eve'],
    ['eve-2', 'eve'],
    ['dee-1', null],
    ['dee-2', null],
  ]
  for (const [name, manager] of tree)
    id[name] = (await addMember(realm, name, { manager_id: manager && (id[manager] ?? null) })).id
})

const reports = (name: string, query = '') => call(AT, `/api/v1/users/${id[name]}/reports${query}`, { token })
const move = (name: string, manager: string | null) =>
  call(AT, `/api/v1/users/${id[name]}`, { token, method: 'PATCH', body: { manager_id: manager && id[manager] } })
const seen = (answer: any) => answer.body.data.map(({ username, depth }: any) => [username, depth])

describe('reports', () => {
  it('are who has this manager, and with deep everybody below, by level and name', async () => {
    const direct = [
      ['cy', 1],
      ['dee', 1],
    ]
    expect(seen(await reports('ada'))).toEqual(direct)
    expect(seen(await reports('ada', '?deep=false'))).toEqual(direct)
    expect(seen(await reports('ada', '?deep=true'))).toEqual([...direct, ['eve', 2], ['eve-1', 3], ['eve-2', 3]])
    expect(seen(await reports('eve-1', '?deep=true'))).toEqual([])
  })

  it('come in pages, each once', async () => {
    const all: any[] = []
    for (let next: string | null = ''; next !== null; ) {
      const page: any = await reports('ada', `?deep=true&limit=2${next && `&cursor=${encodeURIComponent(next)}`}`)
      all.push(...seen(page))
      next = page.body.next_cursor
    }
    expect(all.map(([name]) => name)).toEqual(['cy', 'dee', 'eve', 'eve-1', 'eve-2'])
  })

  it('of one are not gone on with in those of another', async () => {
    const { next_cursor } = (await reports('ada', '?limit=1')).body
    for (const answer of [
      await reports('cy', `?cursor=${next_cursor}`),
      await reports('ada', `?deep=true&cursor=${next_cursor}`),
    ])
      expectProblem(answer, 400, 'invalid_cursor')
  })

  it('are asked for with true or false', async () => {
    expect(pointers(await reports('ada', '?deep=yes'))).toEqual(['#/query/deep'])
  })
})

describe('a manager', () => {
  it.each([
    ['ada', 'ada'],
    ['ada', 'cy'],
    ['ada', 'eve-2'],
    ['cy', 'eve'],
  ])('of %s cannot be %s, who is below them', async (name, manager) => {
    const answer = await move(name, manager)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/manager_id'])
  })

  it('can be anybody else, or nobody', async () => {
    for (const manager of ['dee', 'eve-2', null]) {
      const answer = await move('dee-1', manager)
      expect([answer.status, answer.body.manager_id]).toEqual([200, manager && id[manager]])
    }
  })

  it('is not both above and below when two make it so at once', async () => {
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all([move('dee-1', 'dee-2'), move('dee-2', 'dee-1')])
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 400])
      await Promise.all([move('dee-1', null), move('dee-2', null)])
    }
  })

  it('is not both when two put it so at once', async () => {
    const put = (name: string, manager: string) =>
      call(AT, `/api/v1/users/${id[name]}`, {
        token,
        method: 'PUT',
        body: { email: `${name}@people.test`, username: name, role: 'user', manager_id: id[manager] },
      })
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all([put('dee-1', 'dee-2'), put('dee-2', 'dee-1')])
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 400])
      await Promise.all([move('dee-1', null), move('dee-2', null)])
    }
  })
})
