/** Threat: somebody is moved who did not agree, to where there is no place, or brings along what they held elsewhere. */
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { type Cast, cast } from '../roles/cast.ts'
import { expectProblem, pointers } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { accept, invite, invited, newAddress, PASSWORD } from './cast.ts'

const AT = 'invites-org'
let all: Cast
let bo: string

beforeAll(async () => {
  all = await cast(AT)
  bo = all.bo.token
})

async function organization(name: string, more: object = {}): Promise<string> {
  const made = await all.ask('/organizations', { body: { name, ...more } })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  return made.body.id
}
/** A unit below that of an organization. */
async function unitOf(organization_id: string, name: string): Promise<string> {
  const { unit_id } = (await all.ask(`/organizations/${organization_id}`)).body
  const made = await all.ask('/units', { body: { kind: 'team', name, parent_id: unit_id } })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  return made.body.id
}
const organizationOf = async (id: string) => (await all.ask(`/users/${id}`)).body.organization_id

it('a new person comes to the organization, whose name is in the mail and the preview', async () => {
  const organization_id = await organization('North')
  const made = await invited(all.realm, bo, { organization_id })
  const shown = await all.ask('/invitations/preview', { token: '', body: { token: made.token } })
  expect(shown.body).toMatchObject({ organization: 'North', organization_id })
  const accepted = await accept(AT, { token: made.token, password: PASSWORD })
  expect(accepted.body).toMatchObject({ organization_id, email: made.email })
  expect(await organizationOf(accepted.body.id)).toBe(organization_id)
})

it('somebody of another organization is moved when they accept, and not before; they can be invited once to each', async () => {
  const [one, two, three] = [await organization('One'), await organization('Two'), await organization('Three')]
  const who = await all.member('moved')
  const first = await invited(all.realm, bo, { email: who.email, organization_id: one })
  expect((await accept(AT, { token: first.token }, who.token)).body).toMatchObject({ organization_id: one })
  expectProblem(await invite(AT, bo, { email: who.email, organization_id: one }), 409, 'already_exists')
  const second = await invited(all.realm, bo, { email: who.email, organization_id: two })
  expectProblem(await invite(AT, bo, { email: who.email, organization_id: two }), 409, 'already_exists')
  expect((await invite(AT, bo, { email: who.email, organization_id: three })).status).toBe(201)
  expect(await organizationOf(who.id)).toBe(one)
  expectProblem(await accept(AT, { token: second.token, password: PASSWORD }), 409, 'already_exists')
  expect(await organizationOf(who.id)).toBe(one)
  // The very session has the new one on its next request.
  expect((await accept(AT, { token: second.token }, who.token)).status).toBe(200)
  expect((await all.ask('/users/me', { token: who.token })).body.organization_id).toBe(two)
})

it('of five for the last place of an organization is one, new people and members of others alike', async () => {
  const organization_id = await organization('Small', { user_limit: 5 })
  const known = await Promise.all(['small-a', 'small-b'].map((name) => all.member(name)))
  const asked = [
    ...(await Promise.all(
      known.map(async (who) => ({
        ...(await invited(all.realm, bo, { email: who.email, organization_id })),
        session: who.token,
      })),
    )),
    ...(await Promise.all(
      [1, 2, 3].map(async () => ({ ...(await invited(all.realm, bo, { organization_id })), session: undefined })),
    )),
  ]
  const full = await invite(AT, bo, { email: newAddress(), organization_id })
  expectProblem(full, 409, 'limit_reached')
  await all.realm.asOwner(sql`update freehold.organizations set user_limit = 1 where id = ${organization_id}`)
  const answers = await Promise.all(
    asked.map(({ token, session }) => accept(AT, session ? { token } : { token, password: PASSWORD }, session)),
  )
  expect(answers.filter(({ status }) => status < 300)).toHaveLength(1)
  for (const answer of answers.filter(({ status }) => status >= 300)) expectProblem(answer, 409, 'limit_reached')
  expect((await all.ask(`/organizations/${organization_id}`)).body.active_users).toBe(1)
})

it('nobody is invited to an organization that there is not, or to a unit of another', async () => {
  const [one, two] = [await organization('Has a unit'), await organization('Has none')]
  const unit = await unitOf(one, 'of one')
  for (const [body, at] of [
    [{ organization_id: crypto.randomUUID() }, '#/organization_id'],
    [{ organization_id: two, unit_id: unit }, '#/unit_id'],
  ] as const) {
    const answer = await invite(AT, bo, { email: newAddress(), ...body })
    expectProblem(answer, 400, 'invalid_request')
    expect(pointers(answer)).toEqual([at])
  }
  expect((await invite(AT, bo, { email: newAddress(), unit_id: unit })).body).toMatchObject({
    organization_id: one,
    unit_id: unit,
  })
})

it('somebody below scope all invites to their own organization alone', async () => {
  const [mine, theirs] = [await organization('Mine'), await organization('Theirs')]
  const unit = await unitOf(mine, 'of mine')
  const lead = await all.member('org-lead', { can: { 'invitation:create': 'team', 'invitation:read': 'team' } })
  await all.realm.asOwner(sql`update freehold.users set unit_id = ${unit}, organization_id = ${mine} where id = ${lead.id}`)
  expect((await invite(AT, lead.token, { email: newAddress() })).body).toMatchObject({ organization_id: mine, unit_id: unit })
  const answer = await invite(AT, lead.token, { email: newAddress(), organization_id: theirs })
  expectProblem(answer, 400, 'invalid_request')
  expect(pointers(answer)).toEqual(['#/organization_id'])
})

it('roles are held within the organization, and end when somebody is moved; with the role of who registers they still log in', async () => {
  const [one, two] = [await organization('Rules'), await organization('Next')]
  const role = await all.role('rules units', { 'unit:read': 'all' })
  const { token, email } = await invited(all.realm, bo, { organization_id: one, roles: [role] })
  const accepted = await accept(AT, { token, password: PASSWORD })
  expect(accepted.body.roles).toEqual(['rules units', 'user'])
  const held = async () =>
    all.realm.asOwner(
      sql`select r.name, ur.organization_id from freehold.user_roles ur join freehold.roles r on r.id = ur.role_id
        where ur.user_id = ${accepted.body.id} and ur.ends_at is null order by r.name`,
    )
  expect(await held()).toEqual([
    { name: 'rules units', organization_id: one },
    { name: 'user', organization_id: null },
  ])
  const next = await invited(all.realm, bo, { email, organization_id: two })
  const session = await tokenOf(all.realm, accepted.body.username)
  expect((await accept(AT, { token: next.token }, session)).status).toBe(200)
  expect(await held()).toEqual([{ name: 'user', organization_id: null }])
})

it('whoever manages one organization invites to it alone, and gives what is held within it', async () => {
  const [mine, theirs] = [await organization('Managed'), await organization('Not managed')]
  const can = { 'invitation:create': 'all', 'invitation:read': 'all', 'role:update': 'all', 'unit:read': 'all' }
  const manages = await all.role('manages one', can)
  const group = await all.role('a group of it', { 'unit:read': 'all' }, { is_manageable: true })
  const manager = await all.member('org-manager')
  await all.realm.asOwner(
    sql`update freehold.users set organization_id = ${mine} where id = ${manager.id}`,
    sql`insert into freehold.user_roles (id, user_id, role_id, organization_id) values (gen_random_uuid(), ${manager.id}, ${manages}, ${mine})`,
  )
  const { token } = await invited(all.realm, manager.token, { organization_id: mine, roles: [group] })
  expectProblem(await invite(AT, manager.token, { email: newAddress(), organization_id: theirs }), 400, 'invalid_request')
  expectProblem(await invite(AT, manager.token, { email: newAddress(), roles: ['admin'] }), 403, 'forbidden')
  const accepted = await accept(AT, { token, password: PASSWORD })
  expect(accepted.body).toMatchObject({ organization_id: mine, roles: ['a group of it', 'user'] })
})

it('nobody brings power over people along that whoever invited them lacks there', async () => {
  const [from, to] = [await organization('Power here'), await organization('Power there')]
  const head = await all.member('head', {
    can: { 'user:read': 'department', 'user:update': 'department', 'user:delete': 'department' },
  })
  await all.ask(`/organizations/${from}/members/${head.id}`, { method: 'PUT' })
  const inviter = await all.member('weak-inviter', { can: { 'invitation:create': 'team', 'user:read': 'team' } })
  await all.ask(`/organizations/${to}/members/${inviter.id}`, { method: 'PUT' })
  const weak = await invited(all.realm, inviter.token, { email: head.email, organization_id: to })
  expectProblem(await accept(AT, { token: weak.token }, head.token), 403, 'forbidden')
  expect(await organizationOf(head.id)).toBe(from)
  // It is open still; and whoever has that power there may bring them.
  const strong = await all.member('strong-inviter', {
    can: {
      'invitation:create': 'department',
      'user:read': 'department',
      'user:update': 'department',
      'user:delete': 'department',
    },
  })
  await all.ask(`/organizations/${to}/members/${strong.id}`, { method: 'PUT' })
  await all.realm.asOwner(sql`update freehold.invitations set inviter_id = ${strong.id} where id = ${weak.id}`)
  expect((await accept(AT, { token: weak.token }, head.token)).body).toMatchObject({ organization_id: to })
})

it('people who accept while the organization is wiped out, and who change places, wait for each other in one order', async () => {
  const [left, right] = [await organization('Left side'), await organization('Right side')]
  const people = await Promise.all(Array.from({ length: 6 }, (_, n) => all.member(`swapped-${n}`)))
  const held: { token: string }[] = []
  for (const [n, one] of people.entries()) {
    await all.ask(`/organizations/${n % 2 ? left : right}/members/${one.id}`, { method: 'PUT' })
    held.push(await invited(all.realm, bo, { email: one.email, organization_id: n % 2 ? right : left }))
  }
  const swaps = people.map((one, n) => accept(AT, { token: held[n]?.token }, one.token))
  const wiping = all.ask(`/organizations/${left}?confirm=Left%20side`, { method: 'DELETE' })
  const statuses = (await Promise.all([...swaps, wiping])).map(({ status }) => status)
  expect(statuses.filter((status) => status >= 500)).toEqual([])
  expect(statuses.at(-1)).toBe(202)
})
