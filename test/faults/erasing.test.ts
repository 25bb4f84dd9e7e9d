/**
 * Threat: an answer is lost or wrong while a tenant is erased, and its database, branch, project or login stays, costs money and holds
 * people's data, and nobody knows of it; or nobody sees why an erasure does not end.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { erase, eraseStale } from '../../src/tenants/lifecycle/erasure.ts'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { ALL_ANSWERS, BROKEN, GATEWAY, HTML, REFUSED, SQL, spoiled, status } from '../support/answers.ts'
import { master, settings } from '../support/databases.ts'
import { examine, findingsOf } from '../support/doctor.ts'
import { askNeon, bothSides, type Isolation, on, pending, rememberLeft, switchOn } from '../support/faults.ts'
import { call, operatorToken } from '../support/people.ts'
import { adopt, type Stranger, strangersDatabase } from '../support/stranger.ts'
import { copyTenant } from '../support/tenants.ts'

/** Every request that an erasure makes of Neon's API. */
const CALLS: Record<Isolation, string[]> = {
  database: ['DELETE /databases/[^/]+$', 'GET /operations/[^/]+$'],
  branch: ['GET /branches$', 'DELETE /branches/[^/]+$', 'GET /operations/[^/]+$'],
  project: ['GET /projects$', 'DELETE /projects/[^/]+$'],
  external: [],
}
/** Every operation that they start. */
const OPERATIONS: [Isolation, string, string][] = [
  ['database', 'apply_config', 'DELETE /databases/[^/]+$'],
  ['branch', 'suspend_compute', 'DELETE /branches/[^/]+$'],
  ['branch', 'delete_timeline', 'DELETE /branches/[^/]+$'],
]
const ISOLATIONS: Isolation[] = ['database', 'branch', 'project', 'external']
const each = ISOLATIONS.flatMap((isolation) => CALLS[isolation].map((at) => ({ isolation, at })))

type Doomed = { id: string; name: string; isolation: Isolation }
const all: Doomed[] = []
let token: string
let shop: Stranger
beforeAll(async () => {
  // The database that others are copied of is no finding.
  await copyTenant('vanish')
  await rememberLeft()
  token = await operatorToken()
  shop = await strangersDatabase('vanish')
})
afterEach(() => switchOn())

/** A tenant that is marked for erasure, and that nobody erases yet. */
async function doomed(isolation: Isolation): Promise<Doomed> {
  const name = `vanish-${isolation}-${all.length}`
  const made =
    isolation === 'external' ? (await adopt(name, shop.url, {}, {}, token)).body : await copyTenant(name, { isolation })
  const one = { id: String(made.id), name, isolation }
  all.push(one)
  await master(sql`update platform.tenants set status = 'erasing', deleted_at = now() where id = ${one.id}`)
  return one
}

const attempt = ({ id }: Doomed) => erase(env as never, settings(), id, 'a'.repeat(32))
/** The lease of whoever stopped half-way has run out. */
const letGo = ({ id }: Doomed) => master(sql`update platform.tenants set erasing_until = now() where id = ${id}`)

const isThere = async ({ id }: Doomed) => (await master(sql`select from platform.tenants where id = ${id}`)).length > 0

/** What there is of a tenant in the master, KV, its cluster and Neon. */
async function left({ id, name, isolation }: Doomed): Promise<string[]> {
  const short = id.replaceAll('-', '').slice(0, 12)
  const rows = await master(
    sql`select 'tenant' as what from platform.tenants where id = ${id}
        union all select 'host ' || h.name from platform.hosts h where h.name like ${`%${id}`}
        union all select 'step ' || s.name from platform.provisioning_steps s where s.tenant_id = ${id}
        union all select 'key' from platform.signing_keys k where k.realm_id = ${id}
        union all select 'role ' || rolname from pg_roles where rolname like ${`%${short}%`}
        union all select 'database ' || datname from pg_database where datname like ${`%${name.replaceAll('-', '_')}`}`,
  )
  const { projects } = await askNeon(`/projects?limit=400&search=${id}`)
  const schemas =
    isolation === 'external'
      ? await shop.asOwner(sql`select nspname from pg_namespace where nspname in ('freehold', 'access')`)
      : []
  return [
    ...rows.map(({ what }) => String(what)),
    ...projects.map((project: any) => `project ${project.name}`),
    ...schemas.map(({ nspname }) => `schema ${nspname}`),
    ...((await env.TENANTS.get(kvKey(name))) === null ? [] : ['KV']),
  ]
}

/** Erases a tenant while faults are on, which all happen; the next attempt, without any, comes to its end. */
async function erasedUnder(one: Doomed, ...faults: Fault[]) {
  await switchOn(...faults)
  await attempt(one).catch(() => undefined)
  const unused = await pending()
  await switchOn()
  await letGo(one)
  await attempt(one)
  expect(await left(one)).toEqual([])
  return unused
}

it.each(ISOLATIONS)('an erasure of isolation %s makes these requests of Neon and no others', async (isolation) => {
  const one = await doomed(isolation)
  const counting = (match: Fault['match']): Fault => ({ match, times: 1_000, kind: 'delay', ms: 0 })
  await switchOn(counting(SQL), ...CALLS[isolation].map((at) => counting(on(at))), counting({ path: '' }))
  await attempt(one)
  const used = (await pending()).map(({ match, times }) => [match.path, 1_000 - times] as const)
  await switchOn()
  expect(used.filter(([, count]) => count === 0)).toEqual([['', 0]])
  expect(await left(one)).toEqual([])
})

describe('a tenant is erased once and whole', () => {
  it.each(each)('when the answer to $at is lost after the work was done ($isolation)', async ({ isolation, at }) => {
    const unused = await erasedUnder(await doomed(isolation), { match: on(at), times: 1, kind: 'drop_after' })
    expect(unused, 'faults that did not happen').toEqual([])
  })

  it.each(each)('when $at is lost again and again before it arrives ($isolation)', async ({ isolation, at }) => {
    await erasedUnder(await doomed(isolation), { match: on(at), times: 30, kind: 'drop_before' })
  })

  it.each(each)('when $at is answered 423, 429, 500 and 524, one after another ($isolation)', async ({ isolation, at }) => {
    const one = await doomed(isolation)
    await switchOn(...ALL_ANSWERS.map((answer): Fault => ({ match: on(at), ...answer })))
    for (let tries = 0; (await isThere(one)) && tries < 8; tries++) {
      await letGo(one)
      await attempt(one)
    }
    expect(await left(one)).toEqual([])
    // What was deleted although it could not be waited for is not waited for again.
    if (!at.startsWith('GET /operations')) expect(await pending(), 'faults that did not happen').toEqual([])
  })

  it.each(OPERATIONS)('of isolation %s when the operation %s of %s fails', async (isolation, action, at) => {
    const unused = await erasedUnder(await doomed(isolation), { match: on(at), times: 1, kind: 'fail_operation', action })
    expect(unused, 'faults that did not happen').toEqual([])
  })

  // Of an adopted database: adoption.test.ts.
  const owned = ISOLATIONS.filter((isolation) => isolation !== 'external')
  const starts = owned.flatMap((isolation) => Array.from({ length: 10 }, (_, first) => ({ isolation, first })))
  it.each(starts)('when answers of databases are lost, from number $first on ($isolation)', async ({ isolation, first }) => {
    await erasedUnder(await doomed(isolation), ...spoiled(first, 5, 3, { kind: 'drop_after' }))
  })

  it.each(starts.filter(({ first }) => first % 3 === 1))(
    'when databases cannot be reached, from request $first on ($isolation)',
    async ({ isolation, first }) => {
      await erasedUnder(await doomed(isolation), ...spoiled(first, 3, 3, BROKEN, GATEWAY, { kind: 'drop_before' }))
    },
  )

  it.each([423, 429])('when the control plane refuses to drop the logins with %i', async (code) => {
    const faults: Fault[] = [{ match: SQL, times: 2, kind: 'refuse_roles', status: code }]
    expect(await erasedUnder(await doomed('database'), ...faults), 'faults that did not happen').toEqual([])
  })

  it.each(owned)('by five who do it at once (%s)', async (isolation) => {
    const one = await doomed(isolation)
    await Promise.all([1, 2, 3, 4, 5].map(() => attempt(one)))
    expect(await left(one)).toEqual([])
  })
})

describe('an erasure that cannot go on', () => {
  const why = async ({ id }: Doomed) => {
    const { body } = await call('', `/platform/v1/tenants/${id}/provisioning`, { token })
    return { status: body.status, ...body.data.find(({ name }: any) => name === 'erase') }
  }

  it.each<[Isolation, string, Omit<Fault, 'match' | 'times'>, RegExp]>([
    ['database', 'DELETE /databases/[^/]+$', REFUSED, /^Neon answered 400: the region is closed$/],
    ['database', 'DELETE /databases/[^/]+$', GATEWAY, /524/],
    ['branch', 'GET /branches$', REFUSED, /^Neon answered 400: the region is closed$/],
    ['branch', 'DELETE /branches/[^/]+$', { kind: 'drop_before' }, /no response|network/i],
    ['project', 'DELETE /projects/[^/]+$', REFUSED, /^Neon answered 400: the region is closed$/],
    ['project', 'GET /projects$', status(403, '{"code":"","message":"not allowed"}'), /^Neon answered 403: not allowed$/],
    ['project', 'DELETE /projects/[^/]+$', status(200, HTML, { 'content-type': 'text/html' }), /./],
  ])('of isolation %s because of %s says why, and ends when it is gone on with', async (isolation, at, fault, words) => {
    const one = await doomed(isolation)
    await switchOn({ match: on(at), times: 1_000, ...fault })
    await attempt(one)
    await attempt(one)
    await switchOn()
    const said = await why(one)
    expect(said).toMatchObject({ status: 'erasing', state: 'failed', attempts: 2, error: expect.stringMatching(words) })
    expect(said.error).not.toMatch(/<html|\n\s+at |postgresql:/i)
    const found = (await examine('work')).filter(({ subject }) => subject === one.name)
    expect(found).toMatchObject([{ code: 'erasure_stuck', detail: `Nobody works on its erasure. It stopped: ${said.error}` }])
    await eraseStale(env as never, settings())
    expect(await left(one)).toEqual([])
  })
})

it('the doctor finds nothing left over, and Neon, the master and KV hold the same', async () => {
  const { neon, known } = await bothSides('vanish-')
  expect(neon).toEqual(known)
  const marks = all.flatMap(({ id, name }) => [id, id.replaceAll('-', '').slice(0, 12), name, name.replaceAll('-', '_')])
  expect(await findingsOf(...marks)).toEqual([])
})
