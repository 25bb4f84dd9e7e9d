import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { addPerson } from '../support/inside.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { type Cast, cast, type Member } from './cast.ts'

let here: Cast
let cy: Member

beforeAll(async () => {
  here = await cast('overrides')
  cy = await here.member('cy')
})

const LATER = '2998-01-01T00:00:00Z'
const add = (user_id: string, body: Record<string, unknown>, token?: string) =>
  here.ask(`/users/${user_id}/overrides`, { body, token })
const end = (user_id: string, id: string, token?: string) =>
  here.ask(`/users/${user_id}/overrides/${id}`, { method: 'DELETE', token })
const list = async (user_id: string, query = '') => (await here.ask(`/users/${user_id}/overrides${query}`)).body.data
const roles = async (who: Member) => (await here.ask('/roles', { token: who.token })).status

describe('an override', () => {
  it('that grants is felt by the next request, and so is its end', async () => {
    expect(await roles(cy)).toBe(403)
    const made = await add(cy.id, { permission: 'role:read', effect: 'grant' })
    expect(made.status).toBe(201)
    expect(made.body).toEqual({
      id: expect.any(String),
      permission: 'role:read',
      effect: 'grant',
      scope: 'all',
      starts_at: expect.stringMatching(/Z$/),
      ends_at: null,
    })
    expect(await roles(cy)).toBe(200)
    expectProblem(await add(cy.id, { permission: 'role:read', effect: 'grant', scope: 'own' }), 409, 'already_exists')
    expect(await list(cy.id)).toEqual([made.body])
    expect((await end(cy.id, made.body.id)).status).toBe(204)
    expect(await roles(cy)).toBe(403)
    expectProblem(await end(cy.id, made.body.id), 404, 'not_found')
    expect(await list(cy.id)).toEqual([])
    expect(await list(cy.id, '?all=true')).toMatchObject([{ id: made.body.id, ends_at: expect.stringMatching(/Z$/) }])
  })

  it('that denies wins over roles, inheritance, grants and delegations, also the administrator’s', async () => {
    const dee = await here.member('dee', { can: { 'role:read': 'all' } })
    await here.role('below', {}, { parent_id: await here.roleId('of dee') })
    await add(dee.id, { permission: 'role:read', effect: 'grant' })
    await here.ask('/delegations', { body: { delegate_id: dee.id, permissions: ['role:read'], ends_at: LATER } })
    const denied = await add(dee.id, { permission: 'role:read', effect: 'deny' })
    expect(denied.status).toBe(201)
    expect(await roles(dee)).toBe(403)
    await end(dee.id, denied.body.id)
    expect(await roles(dee)).toBe(200)
    const second = await here.member('second', { roles: ['user', 'admin'] })
    expect(await roles(second)).toBe(200)
    await add(second.id, { permission: 'role:read', effect: 'deny' })
    expect(await roles(second)).toBe(403)
  })

  it('may begin later, end by itself, and be taken back before it begins', async () => {
    const eve = await here.member('eve')
    const later = await add(eve.id, {
      permission: 'role:read',
      effect: 'grant',
      starts_at: LATER,
      ends_at: '2999-01-01T00:00:00Z',
    })
    expect([later.status, later.body.starts_at]).toEqual([201, '2998-01-01T00:00:00.000000Z'])
    expect(await roles(eve)).toBe(403)
    await here.realm.asOwner(sql`update freehold.overrides set starts_at = now() - interval '1 hour' where id = ${later.body.id}`)
    expect(await roles(eve)).toBe(200)
    await here.realm.asOwner(sql`update freehold.overrides set ends_at = now() where id = ${later.body.id}`)
    expect(await roles(eve)).toBe(403)
    const never = await add(eve.id, { permission: 'role:read', effect: 'grant', starts_at: LATER })
    expect((await end(eve.id, never.body.id)).status).toBe(204)
    expect(await list(eve.id)).toEqual([])
  })

  it('of somebody else is not found, whoever’s path it is asked for under', async () => {
    const other = await addPerson(here.realm, 'other')
    const { id } = (await add(cy.id, { permission: 'kpi:read', effect: 'deny' })).body
    expectProblem(await end(other.id, id), 404, 'not_found')
    expect((await end(cy.id, id)).status).toBe(204)
  })

  it('reaches as far as it says, and within a team only who may change permissions there writes it', async () => {
    const [home, away] = [await here.unit('home'), await here.unit('away')]
    const lead = await here.member('lead', {
      can: { 'permission:update': 'team', 'user:read': 'team', 'kpi:read': 'team' },
      unit: home,
    })
    const mate = await here.member('mate', { unit: home })
    const far = await here.member('far', { unit: away })
    expect((await add(mate.id, { permission: 'kpi:read', effect: 'grant', scope: 'team' }, lead.token)).status).toBe(201)
    expectProblem(await add(mate.id, { permission: 'kpi:read', effect: 'grant' }, lead.token), 403, 'forbidden')
    expectProblem(await add(far.id, { permission: 'kpi:read', effect: 'grant', scope: 'own' }, lead.token), 404, 'not_found')
    expect((await list(mate.id))[0].scope).toBe('team')
    // A denial hides how far its person reached; only who holds the permission everywhere lifts it.
    const { id } = (await add(mate.id, { permission: 'kpi:read', effect: 'deny' })).body
    expectProblem(await end(mate.id, id, lead.token), 403, 'forbidden')
    expect((await end(mate.id, id)).status).toBe(204)
  })
})

describe('bad input is refused', () => {
  it.each([
    [{ effect: 'grant' }, '#/permission'],
    [{ permission: 'kpi:read' }, '#/effect'],
    [{ permission: 'no:such', effect: 'grant' }, '#/permission'],
    [{ permission: 'x'.repeat(200), effect: 'grant' }, '#/permission'],
    [{ permission: 'kpi:read', effect: 'allow' }, '#/effect'],
    [{ permission: 'kpi:read', effect: 'grant', scope: 'galaxy' }, '#/scope'],
    [{ permission: 'kpi:read', effect: 'grant', scope: null }, '#/scope'],
    [{ permission: 'kpi:read', effect: 'grant', starts_at: '2001-01-01T00:00:00Z' }, '#/starts_at'],
    [{ permission: 'kpi:read', effect: 'grant', ends_at: '2001-01-01T00:00:00Z' }, '#/ends_at'],
    [{ permission: 'kpi:read', effect: 'deny', starts_at: LATER, ends_at: '2997-01-01T00:00:00Z' }, '#/ends_at'],
    [{ permission: 'kpi:read', effect: 'grant', reason: 'none' }, '#/reason'],
  ])('%j at %s', async (body, pointer) => {
    const answer = await add(cy.id, body)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toContain(pointer)
  })

  it('of who has no token or no permission, and of a person who is not there', async () => {
    const body = { permission: 'kpi:read', effect: 'grant' }
    const made = await add(cy.id, { permission: 'kpi:read', effect: 'deny' })
    for (const [path, more] of [
      ['overrides', { body }],
      [`overrides/${made.body.id}`, { method: 'DELETE' }],
    ] as const) {
      expectProblem(await here.ask(`/users/${cy.id}/${path}`, { ...more, token: '' }), 401, 'token_missing', path)
      expectProblem(await here.ask(`/users/${cy.id}/${path}`, { ...more, token: cy.token }), 403, 'forbidden', path)
      expectProblem(await here.ask(`/users/${crypto.randomUUID()}/${path}`, more), 404, 'not_found', path)
    }
    const dora = await addPerson(here.realm, 'dora')
    expectProblem(await here.ask(`/users/${dora.id}/overrides`, { token: cy.token }), 404, 'not_found')
    expect((await here.ask(`/users/${cy.id}/overrides`, { token: cy.token })).body.data).toHaveLength(1)
    expectProblem(await here.ask(`/users/${cy.id}/overrides?cursor=x`), 400, 'invalid_cursor')
  })
})
