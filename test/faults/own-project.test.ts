/** Threat: a project of one tenant alone outlives the tenant at Neon, where it costs money and nobody knows of it; or it is gone, and its tenant cannot be made again. */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { eraseStale } from '../../src/tenants/lifecycle/erasure.ts'
import { openOwnHost } from '../../src/tenants/provisioning/own-host.ts'
import { master, settings } from '../support/databases.ts'
import { askNeon, ended, on, pending, reserve, run, switchOn, WHOLE, whole } from '../support/faults.ts'
import { call, operatorToken, wanted } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
let token: string
beforeAll(async () => {
  introspector = await introspectWorkflow(env.PROVISIONING)
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
  token = await operatorToken()
})
afterEach(() => switchOn())
afterAll(() => introspector.dispose())

const left = async (id: string) => ({
  projects: (await askNeon(`/projects?search=${id}`)).projects.length,
  hosts: (await master(sql`select from platform.hosts where name like ${`freehold-tenant-%${id}`}`)).length,
})
const NOTHING = { projects: 0, hosts: 0 }
const statusOf = async (id: string) => (await master(sql`select status from platform.tenants where id = ${id}`))[0]?.status
const verb = (id: string, word: string) => call('', `/platform/v1/tenants/${id}/${word}`, { method: 'POST', token })

/** Asks for the erasure, and waits for it: what is left over is taken up each second instead of each minute. */
async function erased(id: string, name: string) {
  const answer = await call('', `/platform/v1/tenants/${id}?hard=true&confirm=${name}`, { method: 'DELETE', token })
  expect(answer.status, JSON.stringify(answer.body)).toBe(202)
  await goneIs(id)
}
const goneIs = (id: string) =>
  vi.waitUntil(
    async () => {
      if ((await statusOf(id)) === undefined) return true
      await eraseStale(env, settings())
      return false
    },
    { timeout: 20_000, interval: 1_000 },
  )
const newestRun = async (id: string) =>
  String(
    (await master(sql`select id from platform.provisioning_runs where tenant_id = ${id} order by attempt desc limit 1`))[0]?.id,
  )

describe('a creation that is given up', () => {
  const refused = { kind: 'status' as const, status: 400, body: JSON.stringify({ message: 'no', code: '' }) }
  const EVERY: [string, Partial<Fault>][] = [
    ['GET /projects$', refused],
    ['POST /projects$', refused],
    ['POST /projects$', { kind: 'drop_after' }],
    ['GET /branches$', refused],
    ['GET /databases$', refused],
    ['GET /connection_uri$', refused],
    ['POST /databases$', refused],
    ['GET /operations/[^/]+$', refused],
  ]
  it.each(EVERY.map(([at, fault], n) => ({ at, fault, n, kind: fault.kind })))(
    'because of $at ($kind) leaves no project when it is erased',
    async ({ at, fault, n }) => {
      const name = `alone-given-up-${n}`
      const { id, run_id } = await reserve(name, 'project')
      // What was made though the answer was lost is taken up by the next try: that fails, too.
      await switchOn(
        { match: on(at), times: 1_000, ...fault } as Fault,
        ...(fault.kind === 'drop_after' ? [{ match: on('GET /endpoints$'), times: 1_000, ...refused }] : []),
      )
      await run(run_id)
      await switchOn()
      expect(await statusOf(id)).toBe('failed')
      await erased(id, name)
      expect(await left(id)).toEqual(NOTHING)
    },
    60_000,
  )
})

describe('an erasure while the project is made', () => {
  async function opening(name: string, fault: Fault) {
    const id = await plantTenant(name)
    await master(sql`update platform.tenants set isolation = 'project' where id = ${id}`)
    await switchOn(fault)
    const config = settings()
    const over = openOwnHost({ config, tenant: { id }, trace_id: 'a'.repeat(32) }).then(
      () => 'opened',
      () => 'failed',
    )
    await vi.waitUntil(async () => (await pending()).length === 0, { timeout: 60_000, interval: 50 })
    return { id, over }
  }
  const SLOW: Fault = { match: on('POST /projects$'), times: 1, kind: 'delay', ms: 3_000 }

  it('waits until it is made, and leaves nothing', async () => {
    const { id, over } = await opening('alone-waits', SLOW)
    await call('', `/platform/v1/tenants/${id}?hard=true&confirm=alone-waits`, { method: 'DELETE', token })
    await eraseStale(env, settings())
    expect(await statusOf(id)).toBe('erasing')
    await goneIs(id)
    await over
    expect(await left(id)).toEqual(NOTHING)
  })

  it.each([
    ['is made', SLOW],
    ['was asked for', { match: on('GET /projects$'), times: 1, kind: 'delay', ms: 3_000 } as Fault],
  ])(
    'after the lease of who opens it has run out leaves nothing either: it %s later',
    async (_, fault) => {
      const name = `alone-late-${String(fault.match.method).toLowerCase()}`
      const { id, over } = await opening(name, fault)
      await master(sql`update platform.hosts set lease_until = now() where name like ${`freehold-tenant-%${id}`}`)
      await erased(id, name)
      await over
      expect(await left(id)).toEqual(NOTHING)
    },
    60_000,
  )

  it('leaves nothing when its lease is lost: no project is asked for any more', async () => {
    const { id, over } = await opening('alone-lost', { match: on('GET /projects$'), times: 1, kind: 'delay', ms: 3_000 })
    await switchOn({ match: on('POST /projects$'), times: 1, kind: 'drop_after' })
    await master(sql`update platform.hosts set lease_until = now() where name like ${`freehold-tenant-%${id}`}`)
    await erased(id, 'alone-lost')
    expect(await over).toBe('failed')
    expect(await pending()).toHaveLength(1)
    await switchOn()
    expect(await left(id)).toEqual(NOTHING)
  })
})

it('an erasure to whom Neon lists no projects deletes the one that the master knows', async () => {
  const id = await plantTenant('alone-unlisted')
  await master(sql`update platform.tenants set isolation = 'project' where id = ${id}`)
  const config = settings()
  await openOwnHost({ config, tenant: { id }, trace_id: 'a'.repeat(32) })
  const body = JSON.stringify({ projects: [] })
  await switchOn({ match: on('GET /projects$'), times: 1_000, kind: 'status', status: 200, body })
  await erased(id, 'alone-unlisted')
  await switchOn()
  expect(await left(id)).toEqual(NOTHING)
})

it('a tenant whose project is gone before it has a database is made in another project', async () => {
  const { id, run_id } = await reserve('alone-again', 'project')
  await switchOn({
    match: on('POST /databases$'),
    times: 1_000,
    kind: 'status',
    status: 400,
    body: JSON.stringify({ message: 'no', code: '' }),
  })
  await run(run_id)
  await switchOn()
  expect(await statusOf(id)).toBe('failed')
  const [was] = await master(sql`select project_id from platform.hosts where name like ${`freehold-tenant-%${id}`}`)
  await askNeon(`/projects/${was?.project_id}`, { method: 'DELETE' })
  expect((await verb(id, 'retry')).status).toBe(202)
  await ended(await newestRun(id))
  expect(await whole('alone-again')).toMatchObject({ ...WHOLE, subdomain: 'alone-again' })
  const [is] = await master(sql`select project_id, taken, state from platform.hosts where name like ${`freehold-tenant-%${id}`}`)
  expect(is).toMatchObject({ taken: 1, state: 'open' })
  expect(is?.project_id).not.toBe(was?.project_id)
  await erased(id, 'alone-again')
  expect(await left(id)).toEqual(NOTHING)
})

it('twenty at once have twenty projects, each its own, also where answers are lost', async () => {
  await switchOn(
    { match: on('POST /projects$'), times: 5, kind: 'drop_after' },
    { match: on('POST /databases$'), times: 5, kind: 'drop_after' },
  )
  const names = Array.from({ length: 20 }, (_, n) => `alone-${n}`)
  const answers = await Promise.all(
    names.map((name) =>
      call('', '/platform/v1/tenants', { token, headers: { Prefer: 'wait=55' }, body: wanted(name, { isolation: 'project' }) }),
    ),
  )
  for (const { body } of answers)
    await vi.waitUntil(async () => (await statusOf(body.id)) !== 'provisioning', { timeout: 60_000, interval: 300 })
  for (const name of names) expect(await whole(name)).toMatchObject({ ...WHOLE, subdomain: name })
  const of = await Promise.all(answers.map(({ body }) => left(body.id)))
  expect(of).toEqual(names.map(() => ({ projects: 1, hosts: 1 })))
}, 180_000)
