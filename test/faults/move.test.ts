/**
 * Moves with each call to Neon and each round trip lost or refused in turn. Threat: an answer that is lost leaves two databases, a tenant
 * that is closed, or a registry that names a database which the tenant has not.
 */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { master, settings } from '../support/databases.ts'
import { askNeon, on, switchOn } from '../support/faults.ts'
import { moved, removeRest } from '../support/move.ts'
import { expectWhole, FAULTS, isolationOf, moveUnder } from '../support/move-faults.ts'
import { copyTenant } from '../support/tenants.ts'
import { eraseAll } from '../support/undo.ts'

const PROJECT = [
  'GET /projects$',
  'POST /projects$',
  'GET /branches$',
  'GET /databases$',
  'GET /connection_uri$',
  'POST /databases$',
  'GET /operations/[^/]+$',
]
const DATABASE = ['POST /databases$', 'GET /operations/[^/]+$']

/** The one of two regions in which the tenant is not. */
async function regionOf(id: string, one: string, other: string): Promise<string> {
  const [row] = await master(sql`select region from platform.tenants where id = ${id}`)
  return row?.region === one ? other : one
}

let introspector: Awaited<ReturnType<typeof introspectWorkflow>>
beforeAll(async () => {
  introspector = await introspectWorkflow(env.MOVE)
  // What is waited between two tries is Cloudflare's; what comes of them is ours.
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
})
afterEach(() => switchOn())
afterAll(async () => {
  await introspector.dispose()
  await eraseAll('mfault-')
}, 240_000)

describe.each(FAULTS)('when a call to Neon %s', (name, fault) => {
  const subdomain = `mfault-${name.replace(/\W+/g, '-')}`.slice(0, 40)
  let id: string
  beforeAll(async () => {
    id = (await copyTenant(subdomain)).id
  })

  it.each(PROJECT)('%s: the tenant is in a project, once', { timeout: 120_000 }, async (at) => {
    if ((await isolationOf(id)) !== 'database') {
      expect(await moved(id, 'database')).toMatchObject({ state: 'done' })
      await removeRest(id)
    }
    await moveUnder(id, 'project', { match: on(at), times: 1, ...fault })
    await expectWhole(id, subdomain, 'project')
  })

  it('POST /projects$, on the way to another region: the tenant is there, once', { timeout: 120_000 }, async () => {
    if ((await isolationOf(id)) !== 'project') {
      expect(await moved(id, 'project')).toMatchObject({ state: 'done' })
      await removeRest(id)
    }
    const region = await regionOf(id, 'aws-eu-central-1', settings().NEON_REGION)
    await moveUnder(id, { region }, { match: on('POST /projects$'), times: 1, ...fault })
    await expectWhole(id, subdomain, 'project')
    const { projects } = await askNeon(`/projects?search=${id}`)
    expect(projects.map(({ region_id }: { region_id: string }) => region_id)).toEqual([region])
  })

  it.each(DATABASE)('%s: the tenant is in a shared host, once', { timeout: 120_000 }, async (at) => {
    if ((await isolationOf(id)) !== 'project') {
      expect(await moved(id, 'project')).toMatchObject({ state: 'done' })
      await removeRest(id)
    }
    await moveUnder(id, 'database', { match: on(at), times: 1, ...fault })
    await expectWhole(id, subdomain, 'database')
  })
})
