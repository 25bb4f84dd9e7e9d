import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Cast, cast, type Member } from '../roles/cast.ts'
import { expectProblem, pointers } from '../support/refusal.ts'

let here: Cast
let people: Record<'cy' | 'dee' | 'eve' | 'fay', Member>
const FOREVER = '2999-01-01T00:00:00Z'
const SIGN = 'invoice:approve'

beforeAll(async () => {
  here = await cast('substitutes')
  const own = { 'delegation:create': 'own', 'delegation:read': 'own', 'delegation:update': 'own' }
  await here.role('signer', { ...own, [SIGN]: 'all' })
  const signer = { roles: ['user', 'signer'] }
  people = {
    cy: await here.member('cy', signer),
    dee: await here.member('dee', signer),
    eve: await here.member('eve', signer),
    fay: await here.member('fay', { can: own }),
  }
})

const lend = async (from: Member, to: Member, more: Record<string, unknown> = { permissions: [SIGN] }): Promise<string> => {
  const lent = await here.ask('/delegations', { token: from.token, body: { delegate_id: to.id, ends_at: FOREVER, ...more } })
  expect(lent.status, JSON.stringify(lent.body)).toBe(201)
  return lent.body.id
}
const revoke = (id: string) => here.ask(`/delegations/${id}/revoke`, { method: 'POST' })
const acting = async (who: Member, permission = SIGN, token?: string) =>
  (await here.ask(`/delegations/substitute?user_id=${who.id}&permission=${permission}`, { token })).body
const nameOf = (id: string | null) => Object.values(people).find((person) => person.id === id)?.username ?? id

describe('who acts for somebody', () => {
  it('is they themselves when they delegated nothing, and nobody when they do not hold it', async () => {
    const { cy, fay } = people
    expect(await acting(cy)).toEqual({ user_id: cy.id, acting_user_id: cy.id, chain: [] })
    expect(await acting(fay)).toEqual({ user_id: fay.id, acting_user_id: null, chain: [] })
  })

  it('is whom they delegated it to, by a permission or by a role, as long as that is in force', async () => {
    const { cy, dee, fay } = people
    const delegation_id = await lend(cy, fay)
    expect(await acting(cy)).toEqual({
      user_id: cy.id,
      acting_user_id: fay.id,
      chain: [{ delegation_id, from: cy.id, to: fay.id }],
    })
    expect(nameOf((await acting(cy, 'delegation:read')).acting_user_id)).toBe('cy')
    expect(nameOf((await acting(fay)).acting_user_id)).toBe('fay')
    await revoke(delegation_id)
    expect(nameOf((await acting(cy)).acting_user_id)).toBe('cy')
    const scheduled = await lend(cy, dee, { permissions: [SIGN], starts_at: '2998-01-01T00:00:00Z' })
    expect(nameOf((await acting(cy)).acting_user_id)).toBe('cy')
    await revoke(scheduled)
    const role = await lend(cy, dee, { role_id: await here.roleId('signer') })
    expect(nameOf((await acting(cy)).acting_user_id)).toBe('dee')
    await revoke(role)
  })

  it('is found along the absences: a delegate who is away too is followed, also further', async () => {
    const { cy, dee, eve, fay } = people
    const links = [await lend(cy, dee), await lend(dee, eve)]
    expect(await acting(cy)).toEqual({
      user_id: cy.id,
      acting_user_id: eve.id,
      chain: [
        { delegation_id: links[0], from: cy.id, to: dee.id },
        { delegation_id: links[1], from: dee.id, to: eve.id },
      ],
    })
    links.push(await lend(eve, fay))
    expect(nameOf((await acting(cy)).acting_user_id)).toBe('fay')
    for (const id of links) await revoke(id)
  })

  it('is found also where they delegate in a circle', async () => {
    const { cy, dee, eve } = people
    const links = [await lend(cy, dee), await lend(dee, cy)]
    expect([nameOf((await acting(cy)).acting_user_id), nameOf((await acting(dee)).acting_user_id)]).toEqual(['dee', 'cy'])
    await revoke(links[1] ?? '')
    links.push(await lend(dee, eve), await lend(eve, cy))
    const { acting_user_id, chain } = await acting(cy)
    expect([nameOf(acting_user_id), chain.length]).toEqual(['eve', 2])
    for (const id of links) await revoke(id)
  })

  it('is nobody who is switched off or is denied it', async () => {
    const { cy, dee, fay } = people
    const links = [await lend(cy, dee), await lend(cy, fay)]
    expect(nameOf((await acting(cy)).acting_user_id)).toBe('fay')
    await here.ask(`/users/${fay.id}/overrides`, { body: { permission: SIGN, effect: 'deny' } })
    expect(nameOf((await acting(cy)).acting_user_id)).toBe('dee')
    await here.realm.asOwner(sql`update freehold.users set is_active = false where id = ${dee.id}`)
    expect(nameOf((await acting(cy)).acting_user_id)).toBe('cy')
    expect((await acting(dee)).acting_user_id).toBeNull()
    await here.realm.asOwner(sql`update freehold.users set is_active = true where id = ${dee.id}`)
    for (const id of links) await revoke(id)
  })
})

describe('the question', () => {
  it('is about the caller when it names nobody, and about others for who reaches them', async () => {
    const { cy, dee } = people
    const mine = await here.ask(`/delegations/substitute?permission=${SIGN}`, { token: cy.token })
    expect([mine.status, mine.body.user_id]).toEqual([200, cy.id])
    expect((await here.ask(`/delegations/substitute?permission=${SIGN}&user_id=${cy.id}`, { token: cy.token })).status).toBe(200)
    const other = await here.ask(`/delegations/substitute?permission=${SIGN}&user_id=${dee.id}`, { token: cy.token })
    expectProblem(other, 404, 'not_found')
    expectProblem(await here.ask(`/delegations/substitute?permission=${SIGN}&user_id=${crypto.randomUUID()}`), 404, 'not_found')
  })

  it.each([
    ['', '#/query/permission'],
    ['permission=no:such', '#/query/permission'],
    ['permission=nonsense', '#/query/permission'],
    ['permission=role:read&user_id=x', '#/query/user_id'],
    ['permission=role:read&surprise=1', '#/query/surprise'],
  ])('“%s” is refused at %s', async (query, pointer) => {
    const answer = await here.ask(`/delegations/substitute?${query}`)
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([pointer])
  })
})
