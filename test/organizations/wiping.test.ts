/** Wiping out an organization. Threat: another one than was meant, users with more power than the caller's, or half of them. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { wipeOrganizations } from '../../src/tenants/maintenance/organizations.ts'
import { databaseOf } from '../support/databases.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'
import { addMember, addRole, addUnit } from '../users/cast.ts'

const AT = 'orgs-wiped'
let realm: Inside
let token: string
beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  token = await tokenOf(AT)
  await addRole(realm, 'within-reader', ['user:read'], 'all')
})

const api = (path: string, ask: object = {}, as = token) => call(AT, `/api/v1${path}`, { token: as, ...ask })
const wipe = (id: string, query: string, as = token) => api(`/organizations/${id}?${query}`, { method: 'DELETE' }, as)
/** What the scheduled job does. */
const work = async () => expect(await wipeOrganizations((await databaseOf(AT)).owner_url, AT, 'e'.repeat(32))).toBe(true)
/** The same, so many users at a time. */
async function workSlowly(at_most: number) {
  let turns = 0
  for (let is_done = false; !is_done; turns++) {
    const [row] = await realm.asOwner(sql`select access.wipe_organizations(${at_most}) as answer`)
    is_done = row?.answer.is_done
  }
  return turns
}
/** An organization with a team, and so many members, the first of whom is in the team and holds a role within it. */
async function made(name: string, members: number) {
  const { id, unit_id } = (await api('/organizations', { body: { name, settings: { x: 1 }, plan_group: 'user' } })).body
  const team = await addUnit(realm, 'team', 'Team', unit_id)
  const people = []
  for (let n = 0; n < members; n++) {
    const person = await addPerson(realm, `${name.toLowerCase().replaceAll(' ', '-')}-${n}`)
    await api(`/organizations/${id}/members/${person.id}`, { method: 'PUT' })
    people.push(person)
  }
  const [first] = people
  if (first) {
    await api(`/users/${first.id}`, { method: 'PATCH', body: { unit_id: team } })
    const [role] = await realm.asOwner(sql`select id from freehold.roles where name = 'within-reader'`)
    await api(`/users/${first.id}/roles`, { body: { role_id: role?.id, organization_id: id } })
  }
  return { id, team, people, ids: people.map((person) => person.id) }
}
const user = async (id: string | undefined) => (await api(`/users/${id}`)).body
const audited = (id: string) =>
  realm.asOwner(
    sql`select l.activity_type, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id
      where l.resource_type = 'organization' and l.resource_id = ${id} and l.activity_type in ('ORGANIZATION_ENDING', 'ORGANIZATION_WIPED') order by l.at`,
  )

describe('wiping out', () => {
  it('counts what goes in a dry run, with or without the name, and changes nothing', async () => {
    const { id } = await made('Counted', 2)
    const counts = { people: 2, active_people: 2, employees: 0, units: 1, roles: 1 }
    for (const query of ['dry_run=true', 'dry_run=true&confirm=Wrong&people=erase']) {
      const answer = await wipe(id, query)
      expect([answer.status, answer.body, answer.trips]).toEqual([200, counts, 1])
    }
    expect((await api(`/organizations/${id}`)).body).toMatchObject({ state: 'active', active_users: 2 })
    expect(await audited(id)).toEqual([])
  })

  it.each(['', 'confirm=', 'confirm=wrong', 'confirm=named', 'confirm=Named%20'])(
    'with another name (%s) is refused, and nothing is done',
    async (query) => {
      const [found] = (await api('/organizations?search=Named')).body.data
      const id = found?.id ?? (await made('Named', 1)).id
      const answer = await wipe(id, query)
      expectProblem(answer, 400, 'invalid_request')
      expect(pointers(answer)).toEqual(['#/query/confirm'])
      expect((await api(`/organizations/${id}`)).body.state).toBe('active')
    },
  )

  it('of twenty at once begins once; then nobody joins it, and it is changed no more', async () => {
    const { id } = await made('Once', 1)
    const answers = await Promise.all(Array.from({ length: 20 }, () => wipe(id, 'confirm=Once')))
    // The scheduled job of another test may have ended it before the last of them came.
    const refused = answers.filter(({ status }) => status !== 202)
    expect(refused).toHaveLength(19)
    for (const { status, body } of refused) expect([409, 404], JSON.stringify(body)).toContain(status)
    expect(answers.find(({ status }) => status === 202)?.body.state).toBe('ending')
    const late = await addPerson(realm, 'once-late')
    const joining = await api(`/organizations/${id}/members/${late.id}`, { method: 'PUT' })
    const saving = await api(`/organizations/${id}`, { method: 'PATCH', body: { name: 'Saved' } })
    for (const { status, body } of [joining, saving]) expect(['illegal_state', 'not_found'], String(status)).toContain(body.code)
    await work()
    expectProblem(await api(`/organizations/${id}`), 404, 'not_found')
    expectProblem(await wipe(id, 'confirm=Once'), 404, 'not_found')
  })

  it('keeps its users, without it, its units and the roles within it; its name is free, and the audit has the counts', async () => {
    const { id, team, ids } = await made('Kept', 3)
    const [first] = ids
    expect((await wipe(id, 'confirm=Kept')).status).toBe(202)
    await work()
    for (const person of ids) expect(await user(person)).toMatchObject({ is_active: true, organization_id: null, unit_id: null })
    expectProblem(await api(`/units/${team}`), 404, 'not_found')
    expect((await api(`/users/${first}/roles`)).body.data.map((one: any) => one.role)).toEqual(['user'])
    const [begun, done] = await audited(id)
    const counts = { people: 3, active_people: 3, employees: 0, units: 1, roles: 1, fate: 'keep' }
    expect(begun).toMatchObject({ activity_type: 'ORGANIZATION_ENDING', after: { ...counts, name: 'Kept' } })
    expect(done).toMatchObject({ activity_type: 'ORGANIZATION_WIPED', after: counts })
    const [row] = await realm.asOwner(sql`select * from freehold.organizations where id = ${id}`)
    expect(row).toMatchObject({ state: 'ended', settings: {}, plan_group: null, unit_id: null, ending_by: null, active_users: 0 })
    expect(row?.name).not.toContain('Kept')
    expect((await api('/organizations', { body: { name: 'Kept' } })).status).toBe(201)
  })

  it('deactivates its users when it is asked to, and their sessions end', async () => {
    const { id, ids } = await made('Deactivated', 2)
    const as = await tokenOf(realm, 'deactivated-1')
    expect((await wipe(id, 'confirm=Deactivated&people=deactivate')).status).toBe(202)
    await work()
    for (const person of ids) expect(await user(person)).toMatchObject({ is_active: false, organization_id: null })
    expectProblem(await api('/users/me', {}, as), 403, 'user_inactive')
  })

  it('erases its users when it is asked to', async () => {
    const { id, ids } = await made('Erased', 2)
    expect((await wipe(id, 'confirm=Erased&people=erase')).status).toBe(202)
    await work()
    for (let is_done = false; !is_done; ) {
      const [row] = await realm.asOwner(sql`select access.erase_due(5000) as answer`)
      is_done = row?.answer.is_done
    }
    for (const person of ids)
      expect(await user(person)).toMatchObject({
        erased_at: expect.any(String),
        given_name: 'Former user',
        organization_id: null,
      })
  })

  it('goes on batch by batch, until nobody is left, and says meanwhile that it ends', async () => {
    const { id, ids } = await made('Batched', 5)
    await wipe(id, 'confirm=Batched')
    await realm.asOwner(sql`select access.wipe_organizations(2)`)
    expect((await api(`/organizations/${id}`)).body).toMatchObject({ state: 'ending', active_users: 3 })
    expect(await workSlowly(2)).toBe(2)
    for (const person of ids) expect((await user(person)).organization_id).toBeNull()
  })

  it('is nothing that one does to an organization of one’s own, or to users with more power, or with less than it takes', async () => {
    const { id, ids } = await made('Guarded', 1)
    await addRole(realm, 'wipes', ['organization:delete', 'organization:read', 'user:update', 'user:read'], 'all')
    const wiper = await addMember(realm, 'wiper', { roles: ['wipes'] })
    expectProblem(await wipe(id, 'confirm=Guarded&people=erase', wiper.token), 403, 'forbidden')
    await addRole(realm, 'more-power', ['session:delete'], 'all')
    const [role] = await realm.asOwner(sql`select id from freehold.roles where name = 'more-power'`)
    expect((await api(`/users/${ids[0]}/roles`, { body: { role_id: role?.id } })).status).toBe(201)
    expectProblem(await wipe(id, 'confirm=Guarded', wiper.token), 403, 'forbidden')
    const mine = (await api('/users/me')).body.id
    await api(`/organizations/${id}/members/${mine}`, { method: 'PUT' })
    expectProblem(await wipe(id, 'confirm=Guarded&people=deactivate'), 403, 'forbidden')
    await api(`/organizations/${id}/members/${mine}`, { method: 'DELETE' })
    expect((await api(`/organizations/${id}`)).body.state).toBe('active')
    await addRole(realm, 'reads-organizations', ['organization:read', 'organization:delete'], 'team')
    const member = await addMember(realm, 'narrow-wiper', { roles: ['reads-organizations'] })
    expectProblem(await wipe(id, 'confirm=Guarded', member.token), 404, 'not_found')
    await api(`/organizations/${id}/members/${member.id}`, { method: 'PUT' })
    expectProblem(await wipe(id, 'confirm=Guarded', member.token), 403, 'forbidden')
  })
})

describe('the current user', () => {
  it('gets their organization and invitations when they ask for them', async () => {
    const { id, people } = await made('Included', 1)
    const as = await tokenOf(realm, people[0]?.username ?? '')
    const me = await api('/users/me?include=organization,invitations', {}, as)
    expect([me.status, me.trips]).toEqual([200, 1])
    expect(me.body).toMatchObject({ organization_id: id, organization: { id, name: 'Included' }, invitations: [] })
    const plain = (await api('/users/me', {}, as)).body
    expect([plain.organization_id, 'organization' in plain, 'invitations' in plain]).toEqual([id, false, false])
    expect((await api('/users/me?include=organization')).body.organization).toBeNull()
    expectProblem(await api('/users/me?include=everything', {}, as), 400, 'invalid_request')
  })

  it('learns to what they are invited once their address is verified, and to what nobody else is', async () => {
    const { id } = await made('Inviting', 0)
    const person = await addPerson(realm, 'invited-to-it')
    const as = await tokenOf(realm, person.username)
    const body = { email: person.email, organization_id: id }
    expect((await api('/invitations', { body })).status).toBe(201)
    const invitedTo = async (whose?: string) =>
      (await api('/users/me?include=invitations', {}, whose)).body.invitations.map((one: any) => one.organization)
    const verify = (is: boolean) => realm.asOwner(sql`update freehold.users set email_verified = ${is} where id = ${person.id}`)
    await verify(false)
    expect(await invitedTo(as)).toEqual([])
    await verify(true)
    expect([await invitedTo(as), await invitedTo()]).toEqual([['Inviting'], []])
  })
})
