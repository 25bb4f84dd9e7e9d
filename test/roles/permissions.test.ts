import { beforeAll, describe, expect, it } from 'vitest'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { type Cast, cast, type Member } from './cast.ts'

let here: Cast
let cy: Member
let seq = 0
const fresh = () => `gadget${seq++}:read`
const add = async (name: string, more = {}) => (await here.ask('/permissions', { body: { name, ...more } })).body

beforeAll(async () => {
  here = await cast('perms')
  cy = await here.member('cy')
})

describe('a permission', () => {
  it('is made with its address, and is in this shape and no more', async () => {
    const made = await here.ask('/permissions', { body: { name: 'kiln:fire', description: 'Lights the kiln' } })
    expect(made.status).toBe(201)
    expect(made.headers.get('Location')).toBe(`/api/v1/permissions/${made.body.id}`)
    expect(made.body).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      name: 'kiln:fire',
      resource: 'kiln',
      action: 'fire',
      description: 'Lights the kiln',
      is_system: false,
      is_administrative: false,
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
    })
    const read = await here.ask(`/permissions/${made.body.id}`)
    expect([read.status, read.body]).toEqual([200, made.body])
  })

  it('is made once: a second of the same name already exists', async () => {
    const name = fresh()
    await add(name)
    expectProblem(await here.ask('/permissions', { body: { name } }), 409, 'already_exists')
    expectProblem(await here.ask('/permissions', { body: { name: 'user:read' } }), 409, 'already_exists')
  })

  it('is described anew, also when it belongs to the system', async () => {
    const { id } = await add(fresh(), { description: 'old' })
    const put = await here.ask(`/permissions/${id}`, { method: 'PUT', body: { description: 'new' } })
    expect([put.status, put.body.description]).toEqual([200, 'new'])
    expect((await here.ask(`/permissions/${id}`, { method: 'PUT', body: { description: null } })).body.description).toBeNull()
    const [system] = (await here.ask('/permissions?search=user:read')).body.data
    expect((await here.ask(`/permissions/${system.id}`, { method: 'PUT', body: { description: 'Sees people' } })).status).toBe(
      200,
    )
  })

  it('that was deleted is gone, and comes back under the same id when it is made again', async () => {
    const name = fresh()
    const { id } = await add(name)
    expect((await here.ask(`/permissions/${id}`, { method: 'DELETE' })).status).toBe(204)
    expectProblem(await here.ask(`/permissions/${id}`), 404, 'not_found')
    expectProblem(await here.ask(`/permissions/${id}`, { method: 'DELETE' }), 404, 'not_found')
    expectProblem(await here.ask(`/permissions/${id}`, { method: 'PUT', body: { description: 'x' } }), 404, 'not_found')
    expect((await here.ask(`/permissions?search=${name}`)).body.data).toEqual([])
    const again = await here.ask('/permissions', { body: { name, description: 'back' } })
    expect([again.status, again.body.id, again.body.description]).toEqual([201, id, 'back'])
  })

  it('of the system cannot be deleted', async () => {
    const [system] = (await here.ask('/permissions?search=user:read')).body.data
    expectProblem(await here.ask(`/permissions/${system.id}`, { method: 'DELETE' }), 409, 'in_use')
  })

  it('that a role carries, a person is granted or somebody delegated cannot be deleted, and the refusal says where', async () => {
    const name = fresh()
    const { id } = await add(name)
    const role_id = await here.role('gadgeteer', { [name]: 'all' })
    const refused = await here.ask(`/permissions/${id}`, { method: 'DELETE' })
    expectProblem(refused, 409, 'in_use')
    expect(refused.body.detail).toContain('gadgeteer')
    await here.ask(`/roles/${role_id}`, { method: 'DELETE' })
    const override = await here.ask(`/users/${cy.id}/overrides`, { body: { permission: name, effect: 'grant' } })
    expect((await here.ask(`/permissions/${id}`, { method: 'DELETE' })).body.detail).toContain('cy')
    await here.ask(`/users/${cy.id}/overrides/${override.body.id}`, { method: 'DELETE' })
    const lent = await here.ask('/delegations', {
      body: { delegate_id: cy.id, permissions: [name], ends_at: '2999-01-01T00:00:00Z' },
    })
    expect((await here.ask(`/permissions/${id}`, { method: 'DELETE' })).body.detail).toContain('delegations of bo')
    await here.ask(`/delegations/${lent.body.id}/revoke`, { method: 'POST' })
    expect((await here.ask(`/permissions/${id}`, { method: 'DELETE' })).status).toBe(204)
  })

  it('is not deleted while a role that is made at the same time begins to carry it', async () => {
    for (let round = 0; round < 5; round++) {
      const name = fresh()
      const { id } = await add(name)
      const [deleted, made] = await Promise.all([
        here.ask(`/permissions/${id}`, { method: 'DELETE' }),
        here.ask('/roles', { body: { name: `race ${round}`, permissions: [{ permission: name, scope: 'all' }] } }),
      ])
      expect([deleted.status, made.status].sort()).toEqual(deleted.status === 204 ? [204, 400] : [201, 409])
    }
  })
})

describe('the list of permissions', () => {
  it('is by name, page by page, each once', async () => {
    const names: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page = await here.ask(`/permissions?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`)
      expect(page.status).toBe(200)
      names.push(...page.body.data.map(({ name }: { name: string }) => name))
      cursor = page.body.next_cursor
    }
    expect(names.length).toBeGreaterThan(40)
    expect(names).toEqual([...new Set(names)].sort())
  })

  it('is of one resource, of one action, and of names that begin so', async () => {
    const names = async (query: string) =>
      (await here.ask(`/permissions?limit=100&${query}`)).body.data.map(({ name }: { name: string }) => name)
    expect((await names('resource=role')).every((name: string) => name.startsWith('role:'))).toBe(true)
    expect(await names('resource=role&action=read')).toEqual(['role:read'])
    expect(await names('search=SESSION:r')).toContain('session:read')
    expect(await names('search=ession')).toEqual([])
    expect(await names('search=%25')).toEqual([])
  })

  it('goes on from no cursor that was tampered with, is of another list, or of another tenant', async () => {
    const { next_cursor } = (await here.ask('/permissions?limit=1')).body
    const other = (await here.ask('/roles?limit=1')).body.next_cursor
    for (const cursor of [`${next_cursor}x`, `${next_cursor.slice(0, -1)}!`, next_cursor.slice(2), '.', 'x.y', other, '%00'])
      expectProblem(await here.ask(`/permissions?cursor=${encodeURIComponent(cursor)}`), 400, 'invalid_cursor', cursor)
  })
})

describe('bad input is refused', () => {
  it.each([
    [{ name: 'nonsense' }, '#/name'],
    [{ name: 'Kiln:fire' }, '#/name'],
    [{ name: `${'k'.repeat(64)}:fire` }, '#/name'],
    [{ name: 'kiln:fire:now' }, '#/name'],
    [{ name: '' }, '#/name'],
    [{ name: 7 }, '#/name'],
    [{}, '#/name'],
    [{ name: 'kiln:glow', description: 'x'.repeat(256) }, '#/description'],
    [{ name: 'kiln:glow', description: 'a\u0000b' }, '#/description'],
    [{ name: 'kiln:glow', description: '\ud800' }, '#/description'],
    [{ name: 'kiln:glow', is_system: true }, '#/is_system'],
  ])('%j at %s', async (body, pointer) => {
    const answer = await here.ask('/permissions', { body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toContain(pointer)
  })

  it('of an id that is none, and of one that nobody has', async () => {
    expectProblem(await here.ask('/permissions/x'), 400, 'invalid_request')
    expectProblem(await here.ask(`/permissions/${crypto.randomUUID()}`), 404, 'not_found')
  })
})

describe('who may', () => {
  it('is who holds the permission for it, in their own tenant', async () => {
    const { id } = await add(fresh())
    const tries: [string, { method?: string; body?: unknown }][] = [
      ['/permissions', {}],
      ['/permissions', { body: { name: fresh() } }],
      [`/permissions/${id}`, {}],
      [`/permissions/${id}`, { method: 'PUT', body: { description: 'x' } }],
      [`/permissions/${id}`, { method: 'DELETE' }],
    ]
    for (const [path, more] of tries) {
      expectProblem(await here.ask(path, { ...more, token: '' }), 401, 'token_missing', path)
      expectProblem(await here.ask(path, { ...more, token: cy.token }), 403, 'forbidden', path)
    }
    await copyTenant('perms-elsewhere')
    const mallory = await tokenOf('perms-elsewhere')
    expectProblem(await here.ask(`/permissions/${id}`, { token: mallory }), 401, 'token_wrong_tenant')
  })

  it('with permission:update at less than all sees a permission and may not change it', async () => {
    const dee = await here.member('dee', {
      can: { 'permission:read': 'own', 'permission:update': 'team', 'permission:delete': 'own' },
    })
    const { id } = await add(fresh())
    const put = await here.ask(`/permissions/${id}`, { token: dee.token, method: 'PUT', body: { description: 'x' } })
    expectProblem(put, 403, 'forbidden')
    expectProblem(await here.ask(`/permissions/${id}`, { token: dee.token, method: 'DELETE' }), 403, 'forbidden')
  })
})
