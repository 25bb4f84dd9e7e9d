/** The tree of departments and teams, and how far a scope lets somebody see and change it. */
import { beforeAll, describe, expect, it } from 'vitest'
import { type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit, type Scope } from '../users/cast.ts'

const AT = 'united'
const SCOPES: Scope[] = ['own', 'team', 'department', 'all']
const PERMISSIONS = ['unit:read', 'unit:create', 'unit:update', 'unit:delete']
let realm: Inside
let token: string
const who = {} as Record<Scope, Awaited<ReturnType<typeof addMember>>>
const id: Record<string, string> = {}

/** Head > Lab > (Water > Wells, Soil); Sales. Everybody is in Water. */
beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('united-next')
  realm = await inside(AT)
  token = await tokenOf(AT)
  id.Head = await addUnit(realm, 'department', 'Head')
  id.Lab = await addUnit(realm, 'department', 'Lab', id.Head)
  id.Water = await addUnit(realm, 'team', 'Water', id.Lab)
  id.Wells = await addUnit(realm, 'team', 'Wells', id.Water)
  id.Soil = await addUnit(realm, 'team', 'Soil', id.Lab)
  id.Sales = await addUnit(realm, 'department', 'Sales')
  for (const scope of SCOPES) {
    await addRole(realm, `units-${scope}`, PERMISSIONS, scope)
    who[scope] = await addMember(realm, `units-${scope}`, { roles: [`units-${scope}`], unit_id: id.Water })
  }
})

const at = (path: string, ask: object = {}, as = token) => call(AT, `/api/v1/units${path}`, { token: as, ...ask })
const names = (answer: any) => answer.body.data.map(({ name }: any) => name)
const post = (body: object, as = token) => at('', { body }, as)
const patch = (unit: string | undefined, body: object, as = token, headers = {}) =>
  at(`/${unit}`, { method: 'PATCH', body, headers }, as)

describe('a unit', () => {
  it('is made, read, changed, replaced and removed', async () => {
    const made = await post({ kind: 'department', name: '  Archive ' })
    expect(made.status).toBe(201)
    expect(made.body).toEqual({
      id: expect.any(String),
      kind: 'department',
      name: 'Archive',
      parent_id: null,
      organization_id: null,
      created_at: expect.any(String),
      updated_at: made.body.created_at,
    })
    const path = `/${made.body.id}`
    expect(made.headers.get('Location')).toBe(`/api/v1/units${path}`)
    const read = await at(path)
    expect([read.status, read.body]).toEqual([200, made.body])
    const headers = { 'If-Match': read.headers.get('ETag') ?? '' }
    expect((await patch(made.body.id, { parent_id: id.Head }, token, headers)).body).toMatchObject({
      name: 'Archive',
      parent_id: id.Head,
    })
    expectProblem(await patch(made.body.id, { name: 'X' }, token, headers), 412, 'etag_mismatch')
    expectProblem(await at(path, { method: 'PUT', headers, body: { kind: 'team', name: 'X' } }), 412, 'etag_mismatch')
    expect((await at(path, { method: 'PUT', body: { kind: 'team', name: 'Cellar' } })).body).toMatchObject({
      kind: 'team',
      name: 'Cellar',
      parent_id: null,
    })
    expect((await patch(made.body.id, {})).status).toBe(200)
    expect((await at(path, { method: 'DELETE' })).status).toBe(204)
    expectProblem(await at(path), 404, 'not_found')
  })

  it('of another tenant, or of nobody, is not found behind any door, nor as a parent', async () => {
    const elsewhere = await addUnit(await inside('united-next'), 'team', 'Water')
    for (const unit of [elsewhere, crypto.randomUUID()]) {
      expectProblem(await at(`/${unit}`), 404, 'not_found')
      expectProblem(await patch(unit, { name: 'X' }), 404, 'not_found')
      expectProblem(await at(`/${unit}`, { method: 'PUT', body: { kind: 'team', name: 'X' } }), 404, 'not_found')
      expectProblem(await at(`/${unit}`, { method: 'DELETE' }), 404, 'not_found')
      expect(pointers(await post({ kind: 'team', name: 'X', parent_id: unit }))).toEqual(['#/parent_id'])
    }
  })

  it.each<[string, object, string]>([
    ['without a name', { name: undefined }, '#/name'],
    ['with a blank name', { name: ' ' }, '#/name'],
    ['with a name of 121 characters', { name: 'x'.repeat(121) }, '#/name'],
    ['with a name of two lines', { name: 'a\nb' }, '#/name'],
    ['without a kind', { kind: undefined }, '#/kind'],
    ['of another kind', { kind: 'guild' }, '#/kind'],
    ['under no id', { parent_id: 'Lab' }, '#/parent_id'],
    ['with a field that nobody knows', { head: 'ada' }, '#/head'],
  ])('%s is refused, naming the field', async (_, more, pointer) => {
    const answer = await post({ kind: 'team', name: 'Refused', ...more })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('has a name that nobody beside it has, at the top too', async () => {
    for (const parent_id of [null, id.Head]) {
      const answer = await post({ kind: 'department', name: parent_id ? 'Lab' : 'Head', parent_id })
      expectProblem(answer, 409, 'already_exists')
      expect(pointers(answer)).toEqual(['#/name'])
    }
    expect((await post({ kind: 'department', name: 'Lab', parent_id: id.Sales })).status).toBe(201)
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => post({ kind: 'team', name: 'At once', parent_id: id.Sales })),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(409)])
  })

  it('is not removed while somebody, or a unit, is in it', async () => {
    const lab = await at(`/${id.Lab}`, { method: 'DELETE' })
    expectProblem(lab, 409, 'in_use')
    expect(lab.body.detail).toContain('units')
    const leaf = (await post({ kind: 'team', name: 'Leaf', parent_id: id.Sales })).body.id
    await addMember(realm, 'leaf', { unit_id: leaf })
    const answer = await at(`/${leaf}`, { method: 'DELETE' })
    expectProblem(answer, 409, 'in_use')
    expect(answer.body.detail).toContain('users')
  })
})

describe('the tree', () => {
  it.each([
    ['a department under a team', () => post({ kind: 'department', name: 'X', parent_id: id.Water }), '#/parent_id'],
    ['a department moved under a team', () => patch(id.Sales, { parent_id: id.Soil }), '#/parent_id'],
    ['a team under a team that becomes a department', () => patch(id.Wells, { kind: 'department' }), '#/kind'],
    ['a department with departments that becomes a team', () => patch(id.Head, { kind: 'team' }), '#/kind'],
    ['a unit under itself', () => patch(id.Lab, { parent_id: id.Lab }), '#/parent_id'],
    ['a team under one that is under it', () => patch(id.Water, { parent_id: id.Wells }), '#/parent_id'],
    ['a department under one that is under it', () => patch(id.Head, { parent_id: id.Lab }), '#/parent_id'],
  ])('does not have %s', async (_, ask, pointer) => {
    const answer = await ask()
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it('is no circle when two make one at once', async () => {
    const [one, two] = [await addUnit(realm, 'team', 'One'), await addUnit(realm, 'team', 'Two')]
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all([patch(one, { parent_id: two }), patch(two, { parent_id: one })])
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 400])
      await Promise.all([patch(one, { parent_id: null }), patch(two, { parent_id: null })])
    }
    for (const unit of [one, two]) await at(`/${unit}`, { method: 'DELETE' })
  })
})

describe('the list', () => {
  it('is by name, in pages, by parent, kind and the beginning of the name', async () => {
    const all = names(await at('?limit=100'))
    expect(all).toEqual([...all].sort())
    const pages: string[] = []
    for (let next: string | null = ''; next !== null; ) {
      const page: any = await at(`?limit=2${next && `&cursor=${encodeURIComponent(next)}`}`)
      pages.push(...names(page))
      next = page.body.next_cursor
    }
    expect(pages).toEqual(all)
    expect(names(await at(`?parent_id=${id.Lab}`))).toEqual(['Soil', 'Water'])
    expect(names(await at('?parent_id=null'))).toEqual(['Head', 'Sales'])
    expect(names(await at(`?kind=department&parent_id=${id.Head}`))).toEqual(['Lab'])
    expect(names(await at('?search=wE'))).toEqual(['Wells'])
    expect(names(await at('?search=%25'))).toEqual([])
  })

  it.each([
    ['limit=0', '#/query/limit'],
    ['limit=101', '#/query/limit'],
    ['kind=guild', '#/query/kind'],
    ['parent_id=x', '#/query/parent_id'],
    ['search=%00', '#/query/search'],
    ['colour=red', '#/query/colour'],
  ])('refuses ?%s', async (query, pointer) => {
    const answer = await at(`?${query}`)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })

  it.each(['x', '', 'e30.x'])('refuses the cursor "%s"', async (cursor) =>
    expectProblem(await at(`?cursor=${cursor}`), 400, 'invalid_cursor'),
  )
})

describe('at its scope', () => {
  it.each([
    ['own', ['Water']],
    ['team', ['Water']],
    ['department', ['Lab', 'Soil', 'Water', 'Wells']],
    ['all', ['Head', 'Lab', 'Soil', 'Water', 'Wells']],
  ] as [Scope, string[]][])('%s, units are seen as far as it reaches', async (scope, seen) => {
    const shown = names(await at('?limit=100', {}, who[scope].token))
    if (scope === 'all') expect(shown).toEqual(expect.arrayContaining([...seen, 'Sales']))
    else expect(shown).toEqual(seen)
    for (const name of ['Head', 'Lab', 'Soil', 'Water', 'Wells', 'Sales'])
      expect((await at(`/${id[name]}`, {}, who[scope].token)).status, name).toBe(shown.includes(name) ? 200 : 404)
  })

  it.each([
    ['own', 'Water', 400],
    ['own', null, 403],
    ['team', 'Water', 201],
    ['team', 'Lab', 400],
    ['team', null, 403],
    ['department', 'Lab', 201],
    ['department', 'Head', 400],
    ['department', null, 403],
    ['all', null, 201],
  ] as const)('%s, a unit under %s is answered %s', async (scope, parent, status) => {
    const answer = await post({ kind: 'team', name: `By ${scope}`, ...(parent && { parent_id: id[parent] }) }, who[scope].token)
    expect(answer.status, JSON.stringify(answer.body)).toBe(status)
    if (status === 201) expect((await at(`/${answer.body.id}`, { method: 'DELETE' })).status).toBe(204)
  })

  it('department, a unit is renamed, and moved within reach only', async () => {
    const as = who.department.token
    expect((await patch(id.Lab, { name: 'Laboratory' }, as)).status).toBe(200)
    expect((await patch(id.Lab, { name: 'Lab' }, as)).status).toBe(200)
    expect((await patch(id.Wells, { parent_id: id.Soil }, as)).status).toBe(200)
    expect((await patch(id.Wells, { parent_id: id.Water }, as)).status).toBe(200)
    expect(pointers(await patch(id.Wells, { parent_id: id.Sales }, as))).toEqual(['#/parent_id'])
    expectProblem(await patch(id.Wells, { parent_id: null }, as), 403, 'forbidden')
    for (const name of ['Head', 'Sales']) {
      expectProblem(await patch(id[name], { name: 'X' }, as), 404, 'not_found')
      expectProblem(await at(`/${id[name]}`, { method: 'DELETE' }, as), 404, 'not_found')
    }
  })

  it('department, nobody makes their department a team, by which they would reach the one above', async () => {
    expectProblem(await patch(id.Lab, { kind: 'team' }, who.department.token), 403, 'forbidden')
    expectProblem(await patch(id.Lab, { parent_id: id.Sales }, who.department.token), 400, 'invalid_request')
    expect(names(await at('?limit=100', {}, who.department.token))).toEqual(['Lab', 'Soil', 'Water', 'Wells'])
  })

  it('own, one’s own unit is seen, and nothing is changed', async () => {
    expectProblem(await patch(id.Water, { name: 'X' }, who.own.token), 403, 'forbidden')
    expectProblem(await patch(id.Water, { name: 'X' }, who.own.token, { 'If-Match': '"x"' }), 403, 'forbidden')
    expectProblem(await at(`/${id.Water}`, { method: 'DELETE' }, who.own.token), 403, 'forbidden')
    expectProblem(await at(`/${id.Wells}`, { method: 'DELETE' }, who.own.token), 404, 'not_found')
  })
})

describe('who may not', () => {
  it.each<[string, string, object?]>([
    ['GET', ''],
    ['POST', '', { kind: 'team', name: 'X' }],
    ['GET', '/0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'],
    ['PUT', '/0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11', { kind: 'team', name: 'X' }],
    ['PATCH', '/0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11', {}],
    ['DELETE', '/0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'],
  ])(
    'comes to %s %s without a token, with another tenant’s, or without the permission, is refused',
    async (method, path, body) => {
      const ask = { method, ...(body && { body }) }
      expectProblem(await call(AT, `/api/v1/units${path}`, ask), 401, 'token_missing')
      const mallory = await tokenOf('united-next')
      expectProblem(await at(path, ask, mallory), 401, 'token_wrong_tenant')
      const dee = await addMember(realm, `dee-${method}${path.length}`.toLowerCase())
      expectProblem(await at(path, ask, dee.token), 403, 'forbidden')
    },
  )
})
