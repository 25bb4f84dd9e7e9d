/**
 * Threat: whoever keeps the records of employees reads, moves or switches on what other rules keep from them; or an end that was set
 * comes to nothing.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { wipeOrganizations } from '../../src/tenants/maintenance/organizations.ts'
import { type Cast, cast, type Member } from '../roles/cast.ts'
import { databaseOf } from '../support/databases.ts'
import { expectProblem, pointers } from '../support/refusal.ts'

const AT = 'standing'
let here: Cast
let hr: Member
let documents = 10_000_000

beforeAll(async () => {
  here = await cast(AT)
  hr = await here.member('hr', {
    can: { 'employee:create': 'all', 'employee:read': 'all', 'employee:update': 'all', 'user:read': 'all' },
  })
})

const employ = async (more: object = {}) => {
  const body = { document_type: 'DNI', document_number: String(documents++), given_names: 'Ana', family_name: 'Quispe', ...more }
  const made = await here.ask('/employees', { body })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  return made.body as { id: string; document_number: string }
}
const post = (path: string, body: object = {}, token = here.bo.token) => here.ask(path, { body, token })
const terminate = (id: string, at?: string, token = hr.token) =>
  post(`/employees/${id}/terminate`, { reason: 'left', ...(at && { at }) }, token)
const reinstate = (id: string) => here.ask(`/employees/${id}/reinstate`, { token: hr.token, method: 'POST' })
const user = async (id: string) => (await here.ask(`/users/${id}`)).body
const soon = (ms: number) => new Date(Date.now() + ms).toISOString()

describe('an account', () => {
  it('that an administrator switched off is not switched on by reinstating the employee, whatever moment was named', async () => {
    const who = await here.member('switched-off')
    const { id } = await employ({ user_id: who.id })
    expect((await here.ask(`/users/${who.id}/deactivate`, { method: 'POST' })).status).toBe(200)
    const { terminated_at } = await user(who.id)
    expect((await terminate(id, terminated_at)).status).toBe(200)
    expect((await reinstate(id)).status).toBe(200)
    expect((await user(who.id)).is_active).toBe(false)
  })

  it('stays off, or ends then, however it is switched on again', async () => {
    const who = await here.member('comes-back')
    const { id } = await employ({ user_id: who.id })
    await here.ask(`/users/${who.id}/deactivate`, { method: 'POST' })
    const at = soon(3_600_000)
    expect((await terminate(id, at)).status).toBe(200)
    expect((await here.ask(`/users/${who.id}/reactivate`, { method: 'POST' })).body).toMatchObject({ is_active: true })
    expect(Date.parse((await user(who.id)).terminated_at)).toBe(Date.parse(at))
    for (const terminated_at of [null, soon(7_200_000)])
      expectProblem(await here.ask(`/users/${who.id}`, { method: 'PATCH', body: { terminated_at } }), 409, 'illegal_state')
    expect((await here.ask(`/users/${who.id}`, { method: 'PATCH', body: { terminated_at: soon(60_000) } })).status).toBe(200)
    await here.realm.asOwner(
      sql`update freehold.users set is_active = false where id = ${who.id}`,
      sql`update freehold.employees set terminated_at = now() where id = ${id}`,
    )
    expectProblem(await here.ask(`/users/${who.id}/reactivate`, { method: 'POST' }), 409, 'illegal_state')
    expect((await user(who.id)).is_active).toBe(false)
  })

  it('ends when it was to end before, once the termination is undone', async () => {
    const who = await here.member('ends-anyway')
    const { id } = await employ({ user_id: who.id })
    const planned = '2090-01-01T00:00:00.000Z'
    await here.ask(`/users/${who.id}`, { method: 'PATCH', body: { terminated_at: planned } })
    expect((await terminate(id, soon(3_600_000))).status).toBe(200)
    expect((await reinstate(id)).status).toBe(200)
    const { is_active, terminated_at } = await user(who.id)
    expect([is_active, Date.parse(terminated_at)]).toEqual([true, Date.parse(planned)])
  })

  it('has no key and no delegation any more when its end is undone before the scheduled job has come to it', async () => {
    const who = await here.member('undone', { can: { 'api_key:create': 'own', 'unit:read': 'all' } })
    const { id } = await employ({ user_id: who.id })
    const key = (await post('/api-keys', { name: 'robot', permissions: ['unit:read'] }, who.token)).body.key
    const use = async () => (await here.ask('/units', { token: key })).status
    expect(await use()).toBe(200)
    expect((await terminate(id, soon(1_000), here.bo.token)).status).toBe(200)
    await expect.poll(use, { timeout: 10_000, interval: 100 }).toBe(403)
    expect((await here.realm.asOwner(sql`select is_active from freehold.users where id = ${who.id}`))[0]).toEqual({
      is_active: true,
    })
    expect((await here.ask(`/employees/${id}/reinstate`, { method: 'POST' })).status).toBe(200)
    expect((await user(who.id)).is_active).toBe(true)
    expect(await use()).toBe(401)
  })
})

describe('what is masked', () => {
  it('is not read by moving the employee to where one may read it', async () => {
    const [mine, other] = [await here.unit('Mine'), await here.unit('Other')]
    const reader = await here.member('moves-to-read', {
      can: { 'employee:read': 'all', 'employee:update': 'all', 'employee:read_sensitive': 'team' },
      unit: mine,
    })
    const { id, document_number } = await employ({ unit_id: other, address: 'Av. Arequipa 100' })
    const move = (unit_id: string | null) =>
      here.ask(`/employees/${id}`, { token: reader.token, method: 'PATCH', body: { unit_id } })
    const refused = await move(mine)
    expectProblem(refused, 403, 'forbidden')
    expect(JSON.stringify(refused.body)).not.toContain(document_number)
    expect((await move(null)).body).toMatchObject({ is_masked: true, address: null })
    expectProblem(await move(mine), 403, 'forbidden')
  })

  it.each(['\u200b', '\u2060'])('no document is hidden from being unique by %j', async (hidden) => {
    const { document_number } = await employ()
    const answer = await post('/employees', {
      document_type: 'DNI',
      document_number: `${document_number}${hidden}`,
      given_names: 'Ana',
      family_name: 'Quispe',
    })
    expect([answer.status, pointers(answer)]).toEqual([400, ['#/document_number']])
  })

  it('no document is another one for being typed in full width', async () => {
    const { document_number } = await employ()
    const wide = [...document_number].map((digit) => String.fromCodePoint((digit.codePointAt(0) ?? 0) + 0xfee0)).join('')
    const body = { document_type: 'DNI', document_number: wide, given_names: 'Ana', family_name: 'Quispe' }
    expectProblem(await post('/employees', body), 409, 'already_exists')
  })
})

describe('within an organization', () => {
  const organization = async (name: string) => (await post('/organizations', { name })).body as { id: string; unit_id: string }

  it('an employee in no unit, whose user belongs to it, is listed, read and terminated alike', async () => {
    const { id: organization_id } = await organization('Reached')
    const manager = await here.member('org-hr')
    await here.ask(`/organizations/${organization_id}/members/${manager.id}`, { method: 'PUT' })
    const role = await here.role('org-hr', {
      'employee:read': 'all',
      'employee:update': 'all',
      'employee:read_sensitive': 'all',
      'user:read': 'all',
    })
    expect((await post(`/users/${manager.id}/roles`, { role_id: role, organization_id })).status).toBe(201)
    const [inside, outside] = [await here.member('org-employee'), await here.member('elsewhere-employee')]
    await here.ask(`/organizations/${organization_id}/members/${inside.id}`, { method: 'PUT' })
    const [one, other] = [await employ({ user_id: inside.id }), await employ({ user_id: outside.id })]
    const { token } = manager
    const list = (await here.ask('/employees', { token })).body.data
    expect(list.map((employee: { id: string }) => employee.id)).toEqual([one.id])
    expect(list[0]).toMatchObject({ is_masked: false, document_number: one.document_number })
    expect((await here.ask(`/employees/${one.id}`, { token })).status).toBe(200)
    expectProblem(await here.ask(`/employees/${other.id}`, { token }), 404, 'not_found')
    expectProblem(await terminate(other.id, undefined, token), 404, 'not_found')
    const ended = await terminate(one.id, undefined, token)
    expect(ended.status, JSON.stringify(ended.body)).toBe(200)
    expect((await user(inside.id)).is_active).toBe(false)
  })

  it('a unit with an employee is not deleted; an organization with one is wiped out, and another does not wait for it', async () => {
    const unit = await here.unit('With an employee')
    await employ({ unit_id: unit })
    const refused = await here.ask(`/units/${unit}`, { method: 'DELETE' })
    expectProblem(refused, 409, 'in_use')
    expect(refused.body.detail).toBe('The unit still contains employees.')
    const [south, east] = [await organization('South'), await organization('East')]
    const { id } = await employ({ unit_id: south.unit_id })
    expect((await here.ask(`/organizations/${south.id}?dry_run=true`, { method: 'DELETE' })).body).toMatchObject({ employees: 1 })
    for (const [one, name] of [
      [south, 'South'],
      [east, 'East'],
    ] as const)
      expect((await here.ask(`/organizations/${one.id}?confirm=${name}`, { method: 'DELETE' })).status).toBe(202)
    // One that cannot end: a thing of a room to come refers to its unit.
    await here.realm.asOwner(
      sql`create table freehold.hindrance (unit_id uuid references freehold.units (id))`,
      sql`insert into freehold.hindrance values (${south.unit_id})`,
    )
    const work = async () => wipeOrganizations((await databaseOf(AT)).owner_url, AT, 'f'.repeat(32))
    expect(await work()).toBe(false)
    const states = async () =>
      (
        await here.realm.asOwner(
          sql`select state from freehold.organizations where id in (${south.id}, ${east.id}) order by state`,
        )
      ).map(({ state }) => state)
    expect(await states()).toEqual(['ended', 'ending'])
    await here.realm.asOwner(sql`drop table freehold.hindrance`)
    expect([await work(), await states()]).toEqual([true, ['ended', 'ended']])
    expect((await here.ask(`/employees/${id}`)).body.unit_id).toBe(null)
  })

  it('another organization is not taken in as a unit, nor is a unit made in one that is being wiped out', async () => {
    const alfa = await organization('Alfa')
    expectProblem(await post('/organizations', { name: 'Beta', unit_ids: [alfa.unit_id] }), 409, 'illegal_state')
    const gone = await organization('Gone')
    await here.ask(`/organizations/${gone.id}?confirm=Gone`, { method: 'DELETE' })
    expectProblem(await post('/units', { kind: 'team', name: 'Late', parent_id: gone.unit_id }), 409, 'illegal_state')
  })

  it('nobody is deactivated with it who got power meanwhile that whoever began lacks', async () => {
    const { id: organization_id } = await organization('Risen')
    const wiper = await here.member('wiper', { can: { 'organization:delete': 'all', 'user:delete': 'all', 'user:read': 'all' } })
    const [risen, plain] = [await here.member('risen'), await here.member('plain-one')]
    for (const one of [risen, plain]) await here.ask(`/organizations/${organization_id}/members/${one.id}`, { method: 'PUT' })
    const begun = await here.ask(`/organizations/${organization_id}?confirm=Risen&people=deactivate`, {
      token: wiper.token,
      method: 'DELETE',
    })
    expect(begun.status, JSON.stringify(begun.body)).toBe(202)
    const role = await here.role('powerful', { 'role:update': 'all' })
    expect((await post(`/users/${risen.id}/roles`, { role_id: role })).status).toBe(201)
    expect(await wipeOrganizations((await databaseOf(AT)).owner_url, AT, 'f'.repeat(32))).toBe(true)
    const [one, other] = [await user(risen.id), await user(plain.id)]
    expect([one.is_active, one.organization_id, other.is_active]).toEqual([true, null, false])
  })

  it('its users are shown with it to who may read users, and documents of the whole tenant are counted by nobody within it', async () => {
    const { id: organization_id } = await organization('Shown')
    const who = await here.member('shown-member', { can: { 'organization:read': 'all' } })
    await here.ask(`/organizations/${organization_id}/members/${who.id}`, { method: 'PUT' })
    expect((await here.ask(`/organizations/${organization_id}`)).body.people.data).toHaveLength(1)
    expect((await here.ask(`/organizations/${organization_id}`, { token: who.token })).body.people.data).toEqual([])
    const counter = await here.role('counter', { 'usage:create': 'all' })
    await post(`/users/${who.id}/roles`, { role_id: counter, organization_id })
    expectProblem(await post('/usage/documents', { count: 100 }, who.token), 403, 'forbidden')
  })
})

it('the headcount of months ends on the last day of each, where there is no such day', async () => {
  const { data } = (await here.ask('/employees/headcount?from=2026-01-31&to=2026-05-31&step=month')).body
  const days = data.map(({ date }: { date: string }) => date)
  expect(days).toEqual(['2026-01-31', '2026-02-28', '2026-03-31', '2026-04-30', '2026-05-31'])
})

it.each(['0000-01-01', '2026-02-30', '31/12/2026'])('%s is no date, and says where', async (birth_date) => {
  const body = {
    document_type: 'DNI',
    document_number: String(documents++),
    given_names: 'Ana',
    family_name: 'Quispe',
    birth_date,
  }
  const answer = await post('/employees', body)
  expect([answer.status, pointers(answer)]).toEqual([400, ['#/birth_date']])
})
