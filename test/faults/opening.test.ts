/**
 * Hosts that are opened by two at once. Threat: one waits so long for its turn at Neon that its lease runs out, another opens the host, and
 * then the first one asks for a project as well: two of one name, of which nobody knows one.
 */
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, expect, it, vi } from 'vitest'
import { openOwnHost } from '../../src/tenants/provisioning/own-host.ts'
import { master, settings } from '../support/databases.ts'
import { askNeon, bothSides, on, pending, rememberLeft, reserve, run, switchOn, WHOLE, whole } from '../support/faults.ts'

beforeAll(rememberLeft, 60_000)
afterEach(() => switchOn())

it('who lost the lease before the project is asked for asks for none', { timeout: 60_000 }, async () => {
  const name = 'opening-slow'
  const { id, run_id } = await reserve(name, 'project')
  const job = { config: settings(), tenant: { id }, trace_id: 'a'.repeat(32) }
  await switchOn({ match: on('GET /projects$'), times: 1, kind: 'delay_after', ms: 4_000 })
  const slow = openOwnHost(job).catch((error) => String(error))
  await vi.waitUntil(async () => !(await pending()).length, { timeout: 10_000, interval: 20 })
  await master(sql`update platform.hosts set lease_until = now() - interval '1 second' where name like ${`%${id}`}`)
  await openOwnHost(job)
  const projects = async () => (await askNeon(`/projects?search=${id}`)).projects
  const [{ id: project_id }] = await projects()
  expect([undefined, expect.stringContaining('Somebody else is opening the host')]).toContainEqual(await slow)
  expect((await projects()).map((project: { id: string }) => project.id)).toEqual([project_id])
  const [host] = await master(sql`select state, project_id from platform.hosts where name like ${`%${id}`}`)
  expect(host).toEqual({ state: 'open', project_id })
  await run(run_id)
  expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
})

it('a failure of who lost the lease does not end that of who has it', { timeout: 60_000 }, async () => {
  const name = 'opening-failed'
  const { id, run_id } = await reserve(name, 'project')
  const job = { config: settings(), tenant: { id }, trace_id: 'a'.repeat(32) }
  await switchOn({ match: on('GET /projects$'), times: 1, kind: 'delay_after', ms: 2_000 })
  const slow = openOwnHost(job).catch((error) => String(error))
  await vi.waitUntil(async () => !(await pending()).length, { timeout: 10_000, interval: 20 })
  // Somebody claims it, and is slow as well.
  const [claimed] = await master(
    sql`update platform.hosts set lease_until = now() + interval '3 minutes' where name like ${`%${id}`} returning lease_until::text as lease`,
  )
  expect(await slow).toMatch(/Somebody else is opening the host/)
  const [still] = await master(sql`select lease_until::text as lease, state from platform.hosts where name like ${`%${id}`}`)
  expect(still).toEqual({ lease: claimed?.lease, state: 'opening' })
  expect((await askNeon(`/projects?search=${id}`)).projects).toEqual([])
  await master(sql`update platform.hosts set lease_until = now() where name like ${`%${id}`}`)
  await run(run_id)
  expect(await whole(name)).toEqual({ ...WHOLE, subdomain: name })
})

it('nothing is there twice or left over', async () => {
  const { neon, known } = await bothSides('opening-')
  expect(neon).toEqual(known)
})
