/**
 * An undo of a migration, with each call to Neon and each round trip lost or refused in turn. Threat: an answer that is lost leaves two
 * branches, a tenant that is closed, or one whose registry names a branch that it has not.
 */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { close } from '../../src/tenants/fence/fence.ts'
import { databaseOf } from '../support/databases.ts'
import { askNeon, on, pending, switchOn } from '../support/faults.ts'
import { call } from '../support/people.ts'
import { plantSession } from '../support/sessions.ts'
import {
  BEFORE,
  behind,
  branchesOf,
  eraseAll,
  KEPT,
  ledgerOf,
  look,
  migrateAll,
  NEWEST,
  newTrace,
  placeOf,
  plantUndo,
  runUndo,
  stateOf,
  tendUntilEnded,
  versionOf,
} from '../support/undo.ts'

type Kind = Omit<Fault, 'match' | 'times'>
const json = { 'Content-Type': 'application/json' }
const FAULTS: [string, Kind][] = [
  ['is lost', { kind: 'drop_before' }],
  ['is answered to nobody', { kind: 'drop_after' }],
  ['is a 423', { kind: 'status', status: 423, body: '{"message":"project already has running operations"}', headers: json }],
  ['is a 429', { kind: 'status', status: 429, body: '{"message":"too many requests"}', headers: json }],
  ['is a 429 that says when', { kind: 'status', status: 429, body: '{}', headers: { ...json, 'Retry-After': '1' } }],
  ['is a 500', { kind: 'status', status: 500, body: '{"message":"internal error"}', headers: json }],
  [
    'is a 524 with a page',
    { kind: 'status', status: 524, body: '<html>A timeout</html>', headers: { 'Content-Type': 'text/html' } },
  ],
]
/** What is asked of Neon before a migration, and for an undo. */
const KEEPING = ['GET /branches$', 'POST /branches$', 'GET /operations/[^/]+$']
const UNDOING = [
  'GET /operations$',
  'GET /endpoints$',
  'POST /endpoints$',
  'GET /operations/[^/]+$',
  'GET /connection_uri$',
  'PATCH /branches/[^/]+$',
]
/** Round trips of an undo to the master and to both branches. */
const TRIPS = 17

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
beforeAll(async () => {
  introspector = await introspectWorkflow(env.MIGRATION)
  // What is waited between two tries is Cloudflare's; what comes of them is ours.
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
})
afterEach(() => switchOn())
afterAll(async () => {
  await introspector.dispose()
  await eraseAll('unfault-')
}, 240_000)

/** The tenant is on the branch of before, open, and known by that branch everywhere; there is one kept branch less, and no other. */
async function expectUndone(id: string, subdomain: string, kept: string, token: string) {
  expect([await versionOf(id), await ledgerOf(subdomain), (await stateOf(id))?.state]).toEqual([BEFORE, BEFORE, 'undone'])
  const branches = await branchesOf(id)
  expect(branches.its).toBe(kept)
  expect(Object.keys(branches).filter((name) => !/^its(-undone-br-.*)?$/.test(name))).toEqual([])
  const { id: own } = await databaseOf(subdomain)
  expect(own).toBe(id)
  const keys = await call(subdomain, '/.well-known/jwks.json')
  expect(keys.status).toBe(200)
  // The first answer may come from the branch that was left, which sends the Worker to the registry.
  await call(subdomain, '/api/v1/auth/logout', { method: 'POST', token }).catch(() => undefined)
  expect((await call(subdomain, '/api/v1/auth/logout', { method: 'POST', token })).status).toBe(401)
}

/** Undoes the migration of a tenant, whose instance meets what was switched on, and whoever goes on with it does not. */
async function undoAll(id: string): Promise<void> {
  const work = await plantUndo(id)
  return runUndo(work)
}

describe.each(FAULTS)('when a call to Neon %s', (name, fault) => {
  const subdomain = `unfault-${name.replace(/\W+/g, '-')}`.slice(0, 40)
  let id: string
  beforeAll(async () => {
    id = await behind(subdomain)
  })

  it.each(KEEPING)('%s: one branch is kept, and the tenant migrated', { timeout: 90_000 }, async (at) => {
    const before = Object.keys(await branchesOf(id)).length
    const { access_token } = await plantSession(subdomain)
    await switchOn({ match: on(at), times: 1, ...fault })
    await migrateAll()
    expect(await pending(), 'the fault happened').toEqual([])
    if ((await stateOf(id))?.state === 'failed') await migrateAll()
    expect([await versionOf(id), await ledgerOf(subdomain)]).toEqual([NEWEST, NEWEST])
    const branches = await branchesOf(id)
    const kept = Object.entries(branches).filter(([branch]) => branch.includes('before'))
    expect([kept.length, Object.keys(branches).length]).toEqual([1, before + 1])
    await undoAll(id)
    expect(await tendUntilEnded(id)).toBe('done')
    await expectUndone(id, subdomain, String(kept[0]?.[1]), access_token)
  })

  it.each(UNDOING)('%s: the migration is undone, once', { timeout: 90_000 }, async (at) => {
    const { access_token } = await plantSession(subdomain)
    await migrateAll()
    const [[, kept] = []] = Object.entries(await branchesOf(id)).filter(([branch]) => branch.includes('before'))
    const work = await plantUndo(id)
    await switchOn({ match: on(at), times: 1, ...fault })
    await runUndo(work)
    expect(await pending(), 'the fault happened').toEqual([])
    if ((await tendUntilEnded(id)) === 'failed') {
      await undoAll(id)
      expect(await tendUntilEnded(id)).toBe('done')
    }
    await expectUndone(id, subdomain, String(kept), access_token)
  })
})

it('an undo whose branch is gone ends as failed, with the tenant open and as it was, also if an attempt before had closed it', async () => {
  const id = await behind('unfault-gone')
  const { access_token: token } = await plantSession('unfault-gone')
  await migrateAll()
  const work = await plantUndo(id)
  await close((await databaseOf('unfault-gone')).owner_url, id, work.attempt - 1, newTrace())
  const { project_id } = await placeOf(id)
  const gone = (await branchesOf(id))[`its-${KEPT}-1`]
  await askNeon(`/projects/${project_id}/branches/${gone}`, { method: 'DELETE' })
  await runUndo(work)
  const { newest } = await look(id)
  expect(newest).toMatchObject({ state: 'failed', error: expect.stringMatching(/not found/) })
  expect([await versionOf(id), (await stateOf(id))?.state]).toEqual([NEWEST, 'done'])
  expect((await call('unfault-gone', '/api/v1/auth/me', { token })).status).toBe(200)
})

describe('when an operation fails that', () => {
  it('makes the branch, it is made again', { timeout: 90_000 }, async () => {
    const id = await behind('unfault-op-branch')
    await switchOn({ match: on('POST /branches$'), times: 1, kind: 'fail_operation' })
    await migrateAll()
    expect(await pending()).toEqual([])
    expect(await versionOf(id)).toBe(NEWEST)
    expect(Object.keys(await branchesOf(id)).sort()).toEqual(['its', `its-${KEPT}-1`])
    await undoAll(id)
    expect(await tendUntilEnded(id)).toBe('done')
    expect(await ledgerOf('unfault-op-branch')).toBe(BEFORE)
  })

  it('starts the compute, it is started again', { timeout: 90_000 }, async () => {
    const id = await behind('unfault-op-compute')
    await migrateAll()
    const work = await plantUndo(id)
    await switchOn({ match: on('POST /endpoints$'), times: 1, kind: 'fail_operation' })
    await runUndo(work)
    expect(await pending()).toEqual([])
    expect(await tendUntilEnded(id)).toBe('done')
    expect(await ledgerOf('unfault-op-compute')).toBe(BEFORE)
  })
})

describe.each(FAULTS.filter(([name]) => /lost|nobody|500/.test(name)))('when one round trip to a database %s', (name, fault) => {
  const subdomain = `unfault-sql-${name.replace(/\W+/g, '-')}`
  let id: string
  beforeAll(async () => {
    id = await behind(subdomain)
  })

  it.each(Array.from({ length: TRIPS }, (_, i) => i))(
    'that is number %i, the migration is undone, once',
    { timeout: 90_000 },
    async (place) => {
      const { access_token } = await plantSession(subdomain)
      await migrateAll()
      const [[, kept] = []] = Object.entries(await branchesOf(id)).filter(([branch]) => branch.includes('before'))
      const work = await plantUndo(id)
      const match = { method: 'POST', path: '^/sql$' }
      await switchOn(...(place ? [{ match, times: place, kind: 'delay', ms: 1 } as const] : []), { match, times: 1, ...fault })
      await runUndo(work)
      expect(await pending(), 'the fault happened').toEqual([])
      if ((await tendUntilEnded(id)) === 'failed') {
        await undoAll(id)
        expect(await tendUntilEnded(id)).toBe('done')
      }
      await expectUndone(id, subdomain, String(kept), access_token)
    },
  )
})
