/** Moves under faults, and what must be true of a tenant afterwards. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { expect } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master } from './databases.ts'
import { bothSides, pending, switchOn } from './faults.ts'
import { moved, plantMove, removeRest, runMove, tendUntilEnded } from './move.ts'
import { call } from './people.ts'

type Kind = Omit<Fault, 'match' | 'times'>
const json = { 'Content-Type': 'application/json' }
export const FAULTS: [string, Kind][] = [
  ['is lost', { kind: 'drop_before' }],
  ['is answered to nobody', { kind: 'drop_after' }],
  ['is a 423', { kind: 'status', status: 423, body: '{"message":"project already has running operations"}', headers: json }],
  ['is a 429', { kind: 'status', status: 429, body: '{"message":"too many requests"}', headers: json }],
  ['is a 500', { kind: 'status', status: 500, body: '{"message":"internal error"}', headers: json }],
  [
    'is a 524 with a page',
    { kind: 'status', status: 524, body: '<html>A timeout</html>', headers: { 'Content-Type': 'text/html' } },
  ],
]
export const isolationOf = async (id: string) =>
  (await master(sql`select isolation from platform.tenants where id = ${id}`))[0]?.isolation

/** The tenant is in one place, open there, known by it everywhere, and nothing else of it is anywhere. */
export async function expectWhole(id: string, subdomain: string, isolation: string, users = 1) {
  await removeRest(id)
  expect(await isolationOf(id)).toBe(isolation)
  const { id: own, asOwner } = await databaseOf(subdomain)
  const [inside] = await asOwner(
    sql`select t.id, (select count(*)::integer from freehold.users) as users, (select count(*)::integer from pg_trigger g where g.tgenabled = 'D') as disabled from freehold.tenant t`,
  )
  expect([own, inside]).toEqual([id, { id, users, disabled: 0 }])
  const [row] = await master(
    sql`select t.v = t.published_v as published, t.v, t.move_id from platform.tenants t where t.id = ${id}`,
  )
  expect([row?.published, row?.move_id]).toEqual([true, null])
  expect((await env.TENANTS.get<Entry>(kvKey(subdomain), 'json'))?.v).toBe(Number(row?.v))
  expect((await call(subdomain, '/.well-known/jwks.json')).status).toBe(200)
  const { neon, known } = await bothSides(subdomain)
  const mine = (lines: string[]) =>
    lines.filter((line) => line.includes(id) || line.includes(id.replaceAll('-', '').slice(0, 12)) || line.startsWith('taken'))
  // Logins of a tenant that was moved have the other pair of names.
  const bare = (lines: string[]) =>
    mine(lines).map((line) =>
      line.replace(/(role freehold_app_\w{12})_[ab]$/, '$1').replace(/(role freehold_owner_\w{12})_b$/, '$1'),
    )
  expect(bare(neon).sort()).toEqual(bare(known).sort())
}

/** Moves a tenant under what is switched on; when that failed, says why, and moves it again. */
export async function moveUnder(id: string, to: 'database' | 'project' | { region: string }, ...faults: Fault[]) {
  const isolation = typeof to === 'string' ? to : 'project'
  const more: { region?: string } = typeof to === 'string' ? {} : to
  const [last] = await master(
    sql`select coalesce(max(attempts), 0) + 2 as attempt from platform.tenant_moves where tenant_id = ${id}`,
  )
  const work = await plantMove(id, isolation, Number(last?.attempt), more.region ?? null)
  await switchOn(...faults)
  await runMove(work)
  expect(await pending(), 'the fault happened').toEqual([])
  if ((await tendUntilEnded(id)) === 'failed') {
    const [row] = await master(sql`select step, error from platform.tenant_moves where id = ${work.move_id}`)
    expect(row?.error).toBeTruthy()
    await removeRest(id)
    expect(await moved(id, isolation, more)).toMatchObject({ state: 'done' })
  }
}
