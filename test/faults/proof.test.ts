/**
 * Threat: the last step before a tenant is handed out passes for one that is open, because the isolation is another than the one that it
 * was written for. So for each isolation something is broken by hand, and the step must say what.
 */
import { introspectWorkflow } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jobOf, type MasterRow } from '../../src/tenants/provisioning/job.ts'
import { steps } from '../../src/tenants/provisioning/steps.ts'
import { type Database, databaseOf, master, rowsOf, settings } from '../support/databases.ts'
import { askNeon, ended, type Isolation, WHOLE, whole } from '../support/faults.ts'
import { call, operatorToken } from '../support/people.ts'
import { adopt, beside, makeIsolated, strangersDatabase } from '../support/stranger.ts'

const ISOLATIONS: Isolation[] = ['database', 'branch', 'project', 'external']
const nameOf = (isolation: Isolation) => `broken-${isolation}`

/** A tenant, with a way to its cluster as the role that made its logins. */
type Made = { id: string; name: string; database: Database; asMaker: (text: string) => Promise<unknown> }
const made = new Map<Isolation, Made>()
let token: string
let introspector: Awaited<ReturnType<typeof introspectWorkflow>>

/** The connection string of the role that made a tenant's logins. */
async function makerOf(isolation: Isolation, { id, host_url }: Database): Promise<string> {
  if (isolation !== 'branch') return host_url
  const [at] = await master(
    sql`select h.project_id, h.owner_role, t.branch_id, t.database_name from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = ${id}`,
  )
  const query = `branch_id=${at?.branch_id}&database_name=${at?.database_name}&role_name=${at?.owner_role}&pooled=false`
  return (await askNeon(`/projects/${at?.project_id}/connection_uri?${query}`)).uri
}

beforeAll(async () => {
  introspector = await introspectWorkflow(env.PROVISIONING)
  await introspector.modifyAll((modifier) => modifier.disableRetryDelays())
  token = await operatorToken()
  const shop = await strangersDatabase('broken')
  const near = await beside(shop, 'broken_near')
  await Promise.all(
    ISOLATIONS.map(async (isolation) => {
      const name = nameOf(isolation)
      const answer =
        isolation === 'external' ? (await adopt(name, shop.url, {}, {}, token)).body : await makeIsolated(name, isolation, token)
      const database = await databaseOf(name)
      const url = await makerOf(isolation, database)
      made.set(isolation, { id: answer.id, name, database, asMaker: (text) => rowsOf(url, sql.raw(text)) })
    }),
  )
  // Those that share a host try each other's database.
  await makeIsolated('broken-near', 'database', token)
  expect((await adopt('broken-near-external', near, {}, {}, token)).status).toBe(201)
})
afterAll(() => introspector.dispose())

const of = (isolation: Isolation) => made.get(isolation) as Made

/** The step itself, with what it looks up. */
async function prove({ id }: Made) {
  const [row] = await master(
    sql`select to_jsonb(t) as tenant, to_jsonb(h) as host from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = ${id}`,
  )
  const job = await jobOf(settings(), row?.tenant as MasterRow, row?.host as MasterRow, 'a'.repeat(32))
  await steps.prove?.({ ...job, env: env as never, results: {} })
}

const appOf = ({ database }: Made) => new URL(database.app_url).username
const ownerOf = ({ database }: Made) => new URL(database.owner_url).username
const inside = (text: string) => (one: Made) => one.database.asOwner(sql.raw(text))

/** Closes what was open for a login: who is connected stays, unless the login is switched off and on again. */
const closed = async (one: Made, login: string, revoked: Promise<unknown>) => {
  await revoked
  for (const word of ['nologin', 'login']) await one.asMaker(`alter role ${login} ${word}`)
}

type Broken = { what: string; words: RegExp; plant: (one: Made) => Promise<unknown>; undo: (one: Made) => Promise<unknown> }
const EVERYWHERE: Broken[] = [
  {
    what: 'a table of people that the app login reads',
    words: /^The app login sees users without an admission\.$/,
    plant: inside('create policy planted on freehold.users using (true)'),
    undo: inside('drop policy planted on freehold.users'),
  },
  {
    what: 'a table of keys that the app login reads',
    words: /^The app login can read the key that signs claims\.$/,
    plant: inside('grant select on access.secrets to freehold_app'),
    undo: inside('revoke select on access.secrets from freehold_app'),
  },
  {
    what: 'the master’s database, which lets the app login in',
    words: /^The app login can connect to the database freehold_master\.$/,
    plant: (one) => master(sql.raw(`grant connect on database freehold_master to ${appOf(one)}`)),
    undo: (one) => closed(one, appOf(one), master(sql.raw(`revoke connect on database freehold_master from ${appOf(one)}`))),
  },
  {
    what: 'the master’s database, which lets the owner login in',
    words: /^The owner login can connect to the database freehold_master\.$/,
    plant: (one) => master(sql.raw(`grant connect on database freehold_master to ${ownerOf(one)}`)),
    undo: (one) => closed(one, ownerOf(one), master(sql.raw(`revoke connect on database freehold_master from ${ownerOf(one)}`))),
  },
  {
    what: 'an app login that may become the owner',
    words: /^The app login has privileges of others: freehold_owner\.$/,
    plant: (one) => one.asMaker(`grant freehold_owner to ${appOf(one)}`),
    undo: (one) => one.asMaker(`revoke freehold_owner from ${appOf(one)}`),
  },
  {
    what: 'an owner login that makes roles',
    words: /^The owner login has privileges of others: freehold_owner_/,
    plant: (one) => one.asMaker(`alter role ${ownerOf(one)} createrole`),
    undo: (one) => one.asMaker(`alter role ${ownerOf(one)} nocreaterole`),
  },
]
const HOSTS: Broken = {
  what: 'the host’s own database, which lets the app login in',
  words: /^The app login can connect to the database neondb\.$/,
  plant: (one) => rowsOf(one.database.host_url, sql.raw(`grant connect on database neondb to ${appOf(one)}`)),
  undo: (one) =>
    closed(one, appOf(one), rowsOf(one.database.host_url, sql.raw(`revoke connect on database neondb from ${appOf(one)}`))),
}
const BESIDE: Broken = {
  what: 'the database of another tenant in the cluster, which lets the app login in',
  words: /^The app login can connect to the database broken_near\.$/,
  plant: (one) => one.asMaker(`grant connect on database broken_near to ${appOf(one)}`),
  undo: (one) => closed(one, appOf(one), one.asMaker(`revoke connect on database broken_near from ${appOf(one)}`)),
}
const broken = ISOLATIONS.flatMap((isolation) => {
  const own: Record<Isolation, Broken[]> = { database: [HOSTS], branch: [], project: [HOSTS], external: [BESIDE] }
  return [...EVERYWHERE, ...own[isolation]].map((one) => ({ isolation, ...one }))
})

describe('the proof of a tenant', () => {
  it.each(ISOLATIONS)('of isolation %s passes as it was made', async (isolation) => {
    await prove(of(isolation))
  })

  it.each(broken)('of isolation $isolation finds $what', async ({ isolation, words, plant, undo }) => {
    const one = of(isolation)
    await plant(one)
    await expect(prove(one)).rejects.toThrow(words)
    await undo(one)
    await prove(one)
  })

  it.each(ISOLATIONS)(
    'of isolation %s that fails leaves the tenant failed, with what was found; a retry hands it out',
    async (isolation) => {
      const one = of(isolation)
      const [{ words, plant, undo }] = EVERYWHERE as [Broken]
      const retried = async () => {
        await master(
          sql`update platform.tenants set status = 'failed' where id = ${one.id}`,
          sql`update platform.provisioning_steps set state = 'failed' where tenant_id = ${one.id} and name in ('prove', 'publish', 'activate')`,
        )
        expect((await call('', `/platform/v1/tenants/${one.id}/retry`, { method: 'POST', token })).status).toBe(202)
        const [run] = await master(
          sql`select id from platform.provisioning_runs where tenant_id = ${one.id} order by attempt desc limit 1`,
        )
        await ended(run?.id)
      }
      await plant(one)
      await retried()
      const { body } = await call('', `/platform/v1/tenants/${one.id}/provisioning`, { token })
      expect(body.status).toBe('failed')
      expect(body.data.filter(({ state }: any) => state === 'failed')).toMatchObject([
        { name: 'prove', attempts: expect.any(Number), error: expect.stringMatching(words) },
      ])
      await undo(one)
      await retried()
      expect(await whole(one.name)).toEqual({ ...WHOLE, subdomain: one.name })
    },
  )
})
