/** Threat: groups that cannot be given or taken one by one are given or taken as a set. */
import { beforeAll, expect, it } from 'vitest'
import { expectProblem, pointers } from '../support/refusal.ts'
import { type Cast, cast } from './cast.ts'

let all: Cast
let here: string

beforeAll(async () => {
  all = await cast('groups-of')
  here = await all.unit('here')
  for (const [name, permission] of [
    ['readers', 'unit:read'],
    ['editors', 'unit:update'],
    ['others', 'unit:delete'],
  ] as const)
    await all.role(name, { [permission]: 'team' }, { is_manageable: true })
  await all.role('no-group', { 'unit:read': 'team' })
})

const set = (id: string, groups: string[], token?: string) =>
  all.ask(`/users/${id}/groups`, { method: 'PUT', body: { groups }, token })
const heldBy = async (id: string) =>
  (await all.ask(`/users/${id}/groups`)).body.data
    .filter(({ is_held }: { is_held: boolean }) => is_held)
    .map(({ name }: { name: string }) => name)

it('are listed with those that somebody holds, and set in one round trip; other roles stay', async () => {
  const who = await all.member('grouped', { roles: ['user', 'no-group', 'readers'], unit: here })
  const listed = await all.ask(`/users/${who.id}/groups`)
  expect([listed.status, listed.trips]).toEqual([200, 1])
  expect(listed.body.data.map(({ name, is_held }: { name: string; is_held: boolean }) => [name, is_held])).toEqual([
    ['editors', false],
    ['others', false],
    ['readers', true],
  ])
  const changed = await set(who.id, ['editors', await all.roleId('others')])
  expect([changed.status, changed.trips]).toEqual([200, 1])
  expect(await heldBy(who.id)).toEqual(['editors', 'others'])
  expect((await all.ask(`/users/${who.id}`)).body.roles).toEqual(['editors', 'no-group', 'others', 'user'])
  expect((await set(who.id, ['others', 'editors', 'others'])).status).toBe(200)
  expect((await set(who.id, [])).status).toBe(200)
  expect((await all.ask(`/users/${who.id}`)).body.roles).toEqual(['no-group', 'user'])
})

it('are what their manager may give in their unit, all or nothing', async () => {
  const can = { 'role:update': 'team', 'user:read': 'team', 'unit:read': 'team', 'unit:update': 'team' }
  const manager = await all.member('manages', { can, unit: here })
  const [mine, foreign] = [await all.member('of-here', { unit: here }), await all.member('of-nowhere')]
  expect((await set(mine.id, ['readers', 'editors'], manager.token)).status).toBe(200)
  expectProblem(await set(mine.id, ['readers', 'others'], manager.token), 403, 'forbidden')
  expect(await heldBy(mine.id)).toEqual(['editors', 'readers'])
  expectProblem(await set(foreign.id, ['readers'], manager.token), 404, 'not_found')
  expectProblem(await set(manager.id, ['readers'], manager.token), 403, 'forbidden')
  expectProblem(await set(mine.id, [], mine.token), 403, 'forbidden')
})

it.each([
  ['a role that is none', ['emperors']],
  ['a role that is no group', ['no-group']],
  ['the administrator’s role', ['admin']],
])('with %s change nothing', async (_, groups) => {
  const who = await all.member(`with-${groups[0]}`, { roles: ['user', 'readers'] })
  const answer = await set(who.id, groups)
  expectProblem(answer, 400, 'invalid_request')
  expect(pointers(answer)).toEqual(['#/groups'])
  expect(await heldBy(who.id)).toEqual(['readers'])
})

it('of twenty who set them at once are those of one', async () => {
  const who = await all.member('contested', { unit: here })
  const sets = Array.from({ length: 20 }, (_, n) => [['readers'], ['editors', 'others'], []][n % 3] ?? [])
  const answers = await Promise.all(sets.map((groups) => set(who.id, groups)))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect([[], ['readers'], ['editors', 'others']]).toContainEqual(await heldBy(who.id))
})
