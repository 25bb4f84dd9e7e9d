import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson } from '../support/inside.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { type Cast, cast, grants, type Member } from './cast.ts'

let here: Cast
let cy: Member

beforeAll(async () => {
  here = await cast('roles')
  cy = await here.member('cy')
})

const carried = (role: { permissions: { permission: string; scope: string }[] }) =>
  Object.fromEntries(role.permissions.map(({ permission, scope }) => [permission, scope]))
const get = async (id: string) => (await here.ask(`/roles/${id}`)).body
/** Every grant that a role had, with its row. */
const rows = (id: string) =>
  here.realm.asOwner(
    sql`select id, permission, scope, ends_at is null as open from freehold.role_permissions where role_id = ${id} order by permission, starts_at`,
  )

describe('a role', () => {
  it('is made with its permissions in one round trip, and is in this shape and no more', async () => {
    const parent_id = await here.role('base')
    const made = await here.ask('/roles', {
      body: {
        name: 'Chemist',
        description: 'Mixes',
        parent_id,
        max_users: 3,
        is_manageable: true,
        permissions: grants({ 'user:read': 'team', 'role:read': 'all' }),
      },
    })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
    expect(made.trips).toBe(1)
    expect(made.headers.get('Location')).toBe(`/api/v1/roles/${made.body.id}`)
    const moment = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/)
    expect(made.body).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      name: 'Chemist',
      description: 'Mixes',
      is_active: true,
      is_system: false,
      is_admin: false,
      is_manageable: true,
      is_fallback: false,
      parent_id,
      max_users: 3,
      permissions: [
        { permission: 'role:read', scope: 'all' },
        { permission: 'user:read', scope: 'team' },
      ],
      created_at: moment,
      updated_at: moment,
    })
    expect(await get(made.body.id)).toEqual({ ...made.body, inherited: [] })
  })

  it('carries a thousand permissions when it must', async () => {
    const names = Array.from({ length: 1000 }, (_, i) => `bulk${String(i).padStart(4, '0')}:read`)
    await here.realm.asOwner(
      sql`insert into freehold.permissions (id, name) select gen_random_uuid(), n from jsonb_array_elements_text(${JSON.stringify(names)}::jsonb) n`,
    )
    const made = await here.ask('/roles', {
      body: { name: 'bulk', permissions: names.map((permission) => ({ permission, scope: 'own' })) },
    })
    expect(made.status, JSON.stringify(made.body).slice(0, 300)).toBe(201)
    expect(made.body.permissions.map(({ permission }: { permission: string }) => permission)).toEqual(names)
    const more = [...names, 'user:read'].map((permission) => ({ permission, scope: 'own' }))
    const answer = await here.ask('/roles', { body: { name: 'bulkier', permissions: more } })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual(['#/permissions'])
  })

  it('shows what it inherits, how far and from which role, and nothing from above a role that is off', async () => {
    const top = await here.role('top', { 'user:read': 'all' })
    const middle = await here.role('middle', { 'role:read': 'team' }, { parent_id: top })
    const bottom = await here.role('bottom', { 'user:read': 'own' }, { parent_id: middle })
    expect((await get(bottom)).inherited).toEqual([
      { permission: 'role:read', scope: 'team', from: 'middle' },
      { permission: 'user:read', scope: 'all', from: 'top' },
    ])
    await here.ask(`/roles/${top}`, { method: 'PATCH', body: { is_active: false } })
    expect((await get(bottom)).inherited).toEqual([{ permission: 'role:read', scope: 'team', from: 'middle' }])
    const child = await here.role('deputy', {}, { parent_id: await here.roleId('admin') })
    expect((await get(child)).inherited).toContainEqual({ permission: 'document:approve', scope: 'all', from: 'admin' })
  })

  it('has a name that no other has, though one that was deleted may have had it', async () => {
    const id = await here.role('unique')
    expectProblem(await here.ask('/roles', { body: { name: 'unique' } }), 409, 'already_exists')
    const other = await here.role('other')
    expectProblem(await here.ask(`/roles/${other}`, { method: 'PATCH', body: { name: 'unique' } }), 409, 'already_exists')
    expect((await here.ask(`/roles/${id}`, { method: 'DELETE' })).status).toBe(204)
    expect((await here.ask('/roles', { body: { name: 'unique' } })).status).toBe(201)
  })
})

describe('replacing a role', () => {
  it('ends what is gone or reaches another way, begins what is new, and leaves the rest as it was', async () => {
    const id = await here.role(
      'replaced',
      { 'user:read': 'all', 'user:update': 'team', 'role:read': 'own' },
      { description: 'old', max_users: 4, is_manageable: true },
    )
    const before = await rows(id)
    const put = await here.ask(`/roles/${id}`, {
      method: 'PUT',
      body: { name: 'replaced', permissions: grants({ 'user:read': 'all', 'user:update': 'own', 'session:read': 'own' }) },
    })
    expect(put.status, JSON.stringify(put.body)).toBe(200)
    expect(carried(put.body)).toEqual({ 'user:read': 'all', 'user:update': 'own', 'session:read': 'own' })
    expect([put.body.description, put.body.max_users, put.body.is_manageable, put.body.is_active]).toEqual([
      null,
      null,
      false,
      true,
    ])
    const after = await rows(id)
    expect(after.map(({ permission, scope, open }) => `${permission} ${scope} ${open}`)).toEqual([
      'role:read own false',
      'session:read own true',
      'user:read all true',
      'user:update team false',
      'user:update own true',
    ])
    const row = (list: typeof after) => list.find(({ permission }) => permission === 'user:read')?.id
    expect(row(after)).toBe(row(before))
  })

  it('may narrow what the caller has through that role alone', async () => {
    const id = await here.role('selfish', { 'kpi:read': 'all', 'role:update': 'all' })
    const dee = await here.member('dee', { roles: ['user', 'selfish'] })
    const narrower = await here.ask(`/roles/${id}`, {
      token: dee.token,
      method: 'PATCH',
      body: { permissions: grants({ 'kpi:read': 'own', 'role:update': 'all' }) },
    })
    expect([narrower.status, carried(narrower.body)]).toEqual([200, { 'kpi:read': 'own', 'role:update': 'all' }])
    const wider = await here.ask(`/roles/${id}`, {
      token: dee.token,
      method: 'PATCH',
      body: { permissions: grants({ 'kpi:read': 'all', 'role:update': 'all' }) },
    })
    expectProblem(wider, 403, 'forbidden')
  })

  it('by two at once leaves what one of them said', async () => {
    const id = await here.role('contested', { 'user:read': 'own' })
    const sets = [{ 'kpi:read': 'own' }, { 'kpi:read': 'team', 'user:read': 'own' }, { 'lead:read': 'all' }, {}] as Record<
      string,
      string
    >[]
    const answers = await Promise.all(
      sets.map((set) => here.ask(`/roles/${id}`, { method: 'PUT', body: { name: 'contested', permissions: grants(set) } })),
    )
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(sets).toContainEqual(carried(await get(id)))
  })
})

describe('changing a role', () => {
  it('changes the fields that are given and no others', async () => {
    const id = await here.role('patched', { 'user:read': 'own' }, { description: 'keep', max_users: 9 })
    const before = await get(id)
    const patch = await here.ask(`/roles/${id}`, { method: 'PATCH', body: { name: 'patched twice', is_manageable: true } })
    const { updated_at, ...rest } = patch.body
    expect(rest).toEqual({
      ...rest,
      name: 'patched twice',
      is_manageable: true,
      description: 'keep',
      max_users: 9,
      permissions: before.permissions,
    })
    expect(updated_at > before.updated_at).toBe(true)
    expect(
      (await here.ask(`/roles/${id}`, { method: 'PATCH', body: { description: null, max_users: null } })).body,
    ).toMatchObject({ description: null, max_users: null })
    expect((await here.ask(`/roles/${id}`, { method: 'PATCH', body: {} })).status).toBe(200)
  })

  it('happens to the role as it was read, when the caller says so, or not at all', async () => {
    const id = await here.role('tagged', { 'user:read': 'own' })
    const tag = (await here.ask(`/roles/${id}`)).headers.get('ETag') ?? ''
    const change = (If: string, body: unknown, method = 'PATCH') =>
      here.ask(`/roles/${id}`, { method, body, headers: { 'If-Match': If } })
    expect((await change(tag, { description: 'first' })).status).toBe(200)
    const late = { name: 'tagged', description: 'late', permissions: grants({ 'kpi:read': 'own' }) }
    for (const method of ['PATCH', 'PUT']) expectProblem(await change(tag, late, method), 412, 'etag_mismatch')
    const now = await here.ask(`/roles/${id}`)
    expect([now.body.description, carried(now.body)]).toEqual(['first', { 'user:read': 'own' }])
    const done = await change(now.headers.get('ETag') ?? '', late, 'PUT')
    expect([done.status, carried(done.body)]).toEqual([200, { 'kpi:read': 'own' }])
  })

  it('adds permissions; one that it carries at another scope ends and begins anew, one that it carries so is left', async () => {
    const id = await here.role('grown', { 'user:read': 'own', 'role:read': 'all' })
    const more = await here.ask(`/roles/${id}/permissions`, {
      body: { permissions: grants({ 'user:read': 'team', 'role:read': 'all', 'kpi:read': 'all' }) },
    })
    expect([more.status, carried(more.body)]).toEqual([200, { 'user:read': 'team', 'role:read': 'all', 'kpi:read': 'all' }])
    expect((await rows(id)).map(({ permission, scope, open }) => `${permission} ${scope} ${open}`)).toEqual([
      'kpi:read all true',
      'role:read all true',
      'user:read own false',
      'user:read team true',
    ])
  })

  it('takes a permission away, once', async () => {
    const id = await here.role('shrunk', { 'user:read': 'own', 'role:read': 'all' })
    expect((await here.ask(`/roles/${id}/permissions/user:read`, { method: 'DELETE' })).status).toBe(204)
    expect(carried(await get(id))).toEqual({ 'role:read': 'all' })
    expectProblem(await here.ask(`/roles/${id}/permissions/user%3Aread`, { method: 'DELETE' }), 404, 'not_found')
    expectProblem(await here.ask(`/roles/${id}/permissions/nonsense`, { method: 'DELETE' }), 400, 'invalid_request')
  })

  it('makes no role inherit from itself, also not in two halves at once', async () => {
    const a = await here.role('a')
    const b = await here.role('b', {}, { parent_id: a })
    const c = await here.role('c', {}, { parent_id: b })
    for (const parent_id of [a, b, c]) {
      const answer = await here.ask(`/roles/${a}`, { method: 'PATCH', body: { parent_id } })
      expectProblem(answer, 400, 'invalid_request')
      expect(pointers(answer)).toEqual(['#/parent_id'])
    }
    const d = await here.role('d')
    const e = await here.role('e')
    const halves = await Promise.all([
      here.ask(`/roles/${d}`, { method: 'PATCH', body: { parent_id: e } }),
      here.ask(`/roles/${e}`, { method: 'PATCH', body: { parent_id: d } }),
    ])
    expect(halves.map(({ status }) => status).sort()).toEqual([200, 400])
  })
})

describe('a role that is in use', () => {
  it('is not deleted: not while it is held, will be held, is inherited or is delegated, and the refusal says by whom', async () => {
    const id = await here.role('wanted', { 'kpi:read': 'own' })
    const refused = async (word: string) => {
      const answer = await here.ask(`/roles/${id}`, { method: 'DELETE' })
      expectProblem(answer, 409, 'in_use')
      expect(answer.body.detail).toContain(word)
    }
    await here.ask(`/users/${cy.id}/roles`, { body: { role_id: id, starts_at: '2998-01-01T00:00:00Z' } })
    await refused('cy')
    await here.ask(`/users/${cy.id}/roles/${id}`, { method: 'DELETE' })
    const child = await here.role('heir', {}, { parent_id: id })
    await refused('heir')
    await here.ask(`/roles/${child}`, { method: 'DELETE' })
    const eve = await here.member('eve', {
      roles: ['user', 'wanted'],
      can: { 'delegation:create': 'own', 'delegation:update': 'own' },
    })
    const lent = await here.ask('/delegations', {
      token: eve.token,
      body: { delegate_id: cy.id, role_id: id, ends_at: '2999-01-01T00:00:00Z' },
    })
    expect(lent.status, JSON.stringify(lent.body)).toBe(201)
    await here.ask(`/users/${eve.id}/roles/${id}`, { method: 'DELETE' })
    await refused('delegated by eve')
    await here.ask(`/delegations/${lent.body.id}/revoke`, { token: eve.token, method: 'POST' })
    expect((await here.ask(`/roles/${id}`, { method: 'DELETE' })).status).toBe(204)
    for (const [path, more] of [
      [`/roles/${id}`, {}],
      [`/roles/${id}`, { method: 'DELETE' }],
      [`/roles/${id}`, { method: 'PATCH', body: { name: 'undead' } }],
      [`/roles/${id}`, { method: 'PUT', body: { name: 'undead', permissions: grants({ 'user:read': 'own' }) } }],
      [`/roles/${id}/permissions`, { body: { permissions: grants({ 'user:read': 'own' }) } }],
      [`/roles/${id}/permissions/kpi:read`, { method: 'DELETE' }],
      [`/roles/${id}/users`, {}],
    ] as const)
      expectProblem(await here.ask(path, more), 404, 'not_found', path)
    const assigned = await here.ask(`/users/${cy.id}/roles`, { body: { role_id: id } })
    expectProblem(assigned, 400, 'invalid_request')
    expect(pointers(assigned)).toEqual(['#/role_id'])
  })

  it('is not deleted while somebody is given it, or another begins to inherit from it, at the same time', async () => {
    for (let round = 0; round < 4; round++) {
      const id = await here.role(`fleeting ${round}`)
      const [deleted, assigned] = await Promise.all([
        here.ask(`/roles/${id}`, { method: 'DELETE' }),
        here.ask(`/users/${cy.id}/roles`, { body: { role_id: id } }),
      ])
      expect([deleted.status, assigned.status]).toEqual(deleted.status === 204 ? [204, 400] : [409, 201])
      const parent_id = await here.role(`parting ${round}`)
      const [gone, heir] = await Promise.all([
        here.ask(`/roles/${parent_id}`, { method: 'DELETE' }),
        here.ask('/roles', { body: { name: `coming ${round}`, parent_id } }),
      ])
      expect([gone.status, heir.status]).toEqual(gone.status === 204 ? [204, 400] : [409, 201])
    }
  })

  it('gets no limit below what is given at the same time', async () => {
    const id = await here.role('narrowing')
    const people = await Promise.all(Array.from({ length: 6 }, (_, i) => addPerson(here.realm, `narrow${i}`)))
    await Promise.all([
      ...people.map((person) => here.ask(`/users/${person.id}/roles`, { body: { role_id: id } })),
      here.ask(`/roles/${id}`, { method: 'PATCH', body: { max_users: 2 } }),
    ])
    const { max_users } = (await here.ask(`/roles/${id}`)).body
    const { data } = (await here.ask(`/roles/${id}/users`)).body
    expect(data.length).toBeLessThanOrEqual(max_users ?? 6)
    expect(max_users === 2 || data.length === 6).toBe(true)
  })

  it('by more people than the new limit does not get that limit', async () => {
    const id = await here.role('crowded')
    await here.member('first', { roles: ['user', 'crowded'] })
    await here.member('second', { roles: ['user', 'crowded'] })
    expectProblem(await here.ask(`/roles/${id}`, { method: 'PATCH', body: { max_users: 1 } }), 409, 'limit_reached')
    expect((await here.ask(`/roles/${id}`, { method: 'PATCH', body: { max_users: 2 } })).status).toBe(200)
  })
})

describe('a role of the system', () => {
  it('keeps its name and its parent and is not deleted', async () => {
    const id = await here.roleId('user')
    expectProblem(await here.ask(`/roles/${id}`, { method: 'DELETE' }), 409, 'in_use')
    expectProblem(await here.ask(`/roles/${id}`, { method: 'PATCH', body: { name: 'person' } }), 409, 'in_use')
    const parent_id = await here.role('above')
    expectProblem(await here.ask(`/roles/${id}`, { method: 'PATCH', body: { parent_id } }), 409, 'in_use')
    expectProblem(
      await here.ask(`/roles/${await here.roleId('admin')}`, { method: 'PATCH', body: { parent_id: null } }),
      409,
      'in_use',
    )
  })

  it('may carry more or less, but for the administrator’s, from which nothing can be taken', async () => {
    const id = await here.roleId('user')
    expect((await here.ask(`/roles/${id}/permissions`, { body: { permissions: grants({ 'kpi:read': 'own' }) } })).status).toBe(
      200,
    )
    expect((await here.ask(`/roles/${id}/permissions/kpi:read`, { method: 'DELETE' })).status).toBe(204)
    const admin = await here.roleId('admin')
    expectProblem(await here.ask(`/roles/${admin}/permissions/role:update`, { method: 'DELETE' }), 409, 'illegal_state')
    expectProblem(
      await here.ask(`/roles/${admin}/permissions`, { body: { permissions: grants({ 'role:update': 'team' }) } }),
      409,
      'illegal_state',
    )
    expectProblem(await here.ask(`/roles/${admin}`, { method: 'PATCH', body: { permissions: [] } }), 409, 'illegal_state')
    expectProblem(await here.ask(`/roles/${admin}`, { method: 'PATCH', body: { is_active: false } }), 409, 'illegal_state')
  })
})

describe('the list of roles', () => {
  it('is by name, in pages, of those that are active, that are manageable, or that begin so', async () => {
    await here.role('Zeta one', {}, { is_manageable: true })
    await here.role('zeta two', {}, { is_active: false })
    const names = async (query: string) =>
      (await here.ask(`/roles?limit=100&${query}`)).body.data.map(({ name }: { name: string }) => name)
    const all = await names('')
    expect(all).toEqual([...all].sort())
    expect(await names('search=ZETA')).toEqual(['Zeta one', 'zeta two'])
    expect(await names('search=zeta&is_active=true')).toEqual(['Zeta one'])
    expect(await names('search=zeta&is_active=false')).toEqual(['zeta two'])
    expect(await names('manageable=true&search=z')).toEqual(['Zeta one'])
    expect(await names('manageable=false')).not.toContain('Zeta one')
    const paged: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { body } = await here.ask(`/roles?limit=3${cursor && `&cursor=${cursor}`}`)
      paged.push(...body.data.map(({ name }: { name: string }) => name))
      cursor = body.next_cursor
    }
    expect(paged).toEqual(all)
  })

  it.each(['is_active=yes', 'manageable=1', 'surprise=1', 'limit=0', 'limit=101', `search=${'x'.repeat(65)}`])(
    'is not asked for with %s',
    async (query) => {
      expectProblem(await here.ask(`/roles?${query}`), 400, 'invalid_request')
    },
  )

  it('of who holds a role is as far as the caller reaches, page by page', async () => {
    const role_id = await here.role('crew')
    const team = await here.unit('deck')
    for (const name of ['anna', 'berta', 'carla'])
      await here.member(name, { roles: ['user', 'crew'], ...(name !== 'carla' && { unit: team }) })
    const lead = await here.member('lead', { can: { 'user:read': 'team' }, unit: team })
    const read = async (token: string | undefined, query = '') =>
      (await here.ask(`/roles/${role_id}/users${query}`, { token })).body
    const names = (body: any) => body.data.map(({ username }: { username: string }) => username)
    expect(names(await read(undefined))).toEqual(['anna', 'berta', 'carla'])
    expect(names(await read(lead.token))).toEqual(['anna', 'berta'])
    expect(names(await read(cy.token))).toEqual([])
    const first = await read(undefined, '?limit=2')
    expect(names(first)).toEqual(['anna', 'berta'])
    expect(names(await read(undefined, `?limit=2&cursor=${first.next_cursor}`))).toEqual(['carla'])
    expect(Object.keys(first.data[0]).sort()).toEqual(['email', 'family_name', 'given_name', 'id', 'is_active', 'username'])
  })
})

describe('bad input is refused', () => {
  it.each([
    [{}, '#/name'],
    [{ name: '' }, '#/name'],
    [{ name: '   ' }, '#/name'],
    [{ name: 'x'.repeat(65) }, '#/name'],
    [{ name: 'a\u0000b' }, '#/name'],
    [{ name: 7 }, '#/name'],
    [{ name: 'r', description: 'x'.repeat(256) }, '#/description'],
    [{ name: 'r', parent_id: 'x' }, '#/parent_id'],
    [{ name: 'r', parent_id: crypto.randomUUID() }, '#/parent_id'],
    [{ name: 'r', max_users: 0 }, '#/max_users'],
    [{ name: 'r', max_users: 1.5 }, '#/max_users'],
    [{ name: 'r', max_users: 3_000_000_000 }, '#/max_users'],
    [{ name: 'r', is_active: 'true' }, '#/is_active'],
    [{ name: 'r', is_admin: true }, '#/is_admin'],
    [{ name: 'r', is_system: true }, '#/is_system'],
    [{ name: 'r', permissions: 'all' }, '#/permissions'],
    [{ name: 'r', permissions: [{ permission: 'no:such', scope: 'all' }] }, '#/permissions'],
    [{ name: 'r', permissions: [{ permission: 'user:read', scope: 'galaxy' }] }, '#/permissions/0/scope'],
    [{ name: 'r', permissions: [{ permission: 'user:read' }] }, '#/permissions/0/scope'],
    [{ name: 'r', permissions: [{ permission: 'USER', scope: 'all' }] }, '#/permissions/0/permission'],
    [{ name: 'r', permissions: [{ permission: 'user:read', scope: 'all', until: 1 }] }, '#/permissions/0/until'],
    [
      { name: 'r', permissions: [...grants({ 'user:read': 'all' }), ...grants({ 'user:read': 'own' })] },
      '#/permissions/1/permission',
    ],
  ])('%j at %s', async (body, pointer) => {
    const answer = await here.ask('/roles', { body })
    expectProblem(answer, 400, 'invalid_request', JSON.stringify(body).slice(0, 80))
    expect(pointers(answer)).toContain(pointer)
    expect((await here.ask('/roles?search=r')).body.data.map(({ name }: { name: string }) => name)).not.toContain('r')
  })

  it('of who has no token or no permission, and of a role that is not there', async () => {
    const id = await here.role('guarded', { 'kpi:read': 'own' })
    const body = { name: 'x', permissions: grants({ 'user:read': 'own' }) }
    const tries: [string, { method?: string; body?: unknown }][] = [
      ['/roles', {}],
      ['/roles', { body }],
      ['/roles/ID', {}],
      ['/roles/ID', { method: 'PUT', body }],
      ['/roles/ID', { method: 'PATCH', body: {} }],
      ['/roles/ID', { method: 'DELETE' }],
      ['/roles/ID/permissions', { body: { permissions: body.permissions } }],
      ['/roles/ID/permissions/kpi:read', { method: 'DELETE' }],
    ]
    for (const [path, more] of tries) {
      const at = path.replace('ID', id)
      expectProblem(await here.ask(at, { ...more, token: '' }), 401, 'token_missing', path)
      expectProblem(await here.ask(at, { ...more, token: cy.token }), 403, 'forbidden', path)
      if (path.includes('ID'))
        expectProblem(await here.ask(path.replace('ID', crypto.randomUUID()), more), 404, 'not_found', path)
    }
    // Seen, but not within how far role:update reaches.
    const near = await here.member('near', { can: { 'role:read': 'own', 'role:update': 'team', 'role:delete': 'team' } })
    for (const [path, more] of tries.filter(([, { method }]) => method))
      expectProblem(await here.ask(path.replace('ID', id), { ...more, token: near.token }), 403, 'forbidden', path)
  })
})
