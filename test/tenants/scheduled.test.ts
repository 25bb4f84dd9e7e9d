/** The job of every minute. Its KV is this file's own, so that it mends what other files made as well; looked at is this file's. */
import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import worker from '../../src/index.ts'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { signed } from '../../src/tenants/registry/signature.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { compareNext } from '../support/kv-pass.ts'
import { login, makeTenant, operatorToken } from '../support/people.ts'
import { plantRun, plantTenant } from '../support/planted.ts'

const KEY = kvKey('tended')

/** What an entry says; its signature is another each time. */
const said = async (key = KEY) => {
  const { signature, ...entry } = JSON.parse((await env.TENANTS.get(key)) ?? '{}')
  expect(signature).toMatch(/^k1\./)
  return entry
}

/** Runs the job once, and says which entries of KV it wrote. */
async function minute(): Promise<string[]> {
  const written: string[] = []
  const TENANTS = {
    get: (...given: unknown[]) => (env.TENANTS.get as (...args: unknown[]) => unknown)(...given),
    put: (key: string, value: string) => {
      written.push(key)
      return env.TENANTS.put(key, value)
    },
    list: (options: KVNamespaceListOptions) => env.TENANTS.list(options),
    delete: (key: string) => env.TENANTS.delete(key),
  } as KVNamespace
  const ctx = createExecutionContext()
  await worker.scheduled(createScheduledController({ cron: '* * * * *' }), { ...env, TENANTS })
  await waitOnExecutionContext(ctx)
  return written
}

/**
 * Runs the job until it has compared the entries of these tenants, and once more, which writes what it found damaged. Jobs of other
 * files have a KV of their own and may take the slice: then the pass is set back again.
 */
async function compared(...names: string[]): Promise<string[]> {
  const written: string[] = []
  for (const name of names)
    for (let tries = 0; tries < 5; tries++) {
      await compareNext(name)
      written.push(...(await minute()), ...(await minute()))
      if (written.includes(kvKey(name))) break
    }
  return written
}

const runs = (id: string) =>
  master(sql`select attempt, state from platform.provisioning_runs where tenant_id = ${id} order by attempt`)
const status = async (id: string) => (await master(sql`select status from platform.tenants where id = ${id}`))[0]?.status
const isActive = (id: string) =>
  vi.waitUntil(async () => (await status(id)) === 'active' && (await runs(id)).at(-1)?.state !== 'running', {
    timeout: 20_000,
    interval: 100,
  })
const lapse = (run_id: string) =>
  master(sql`update platform.provisioning_runs set lease_until = now() - interval '1 second' where id = ${run_id}`)

beforeAll(async () => {
  await makeTenant('tended', {}, await operatorToken())
  await minute()
})

describe('a provisioning that stands still', () => {
  it('is taken over when its lease ran out, and goes on where it stopped', async () => {
    const id = await plantTenant('tended-stale', 'provisioning')
    const run_id = await plantRun(id)
    await minute()
    expect(await runs(id)).toEqual([{ attempt: 1, state: 'running' }])
    await master(
      sql`update platform.provisioning_steps set state = 'running', attempts = 3, started_at = now() where tenant_id = ${id} and name = 'place'`,
    )
    await lapse(run_id)
    await minute()
    await isActive(id)
    expect(await runs(id)).toEqual([
      { attempt: 1, state: 'superseded' },
      { attempt: 2, state: 'done' },
    ])
    expect(
      await master(sql`select attempts from platform.provisioning_steps where tenant_id = ${id} and name = 'place'`),
    ).toEqual([{ attempts: 4 }])
    expect((await login('tended-stale')).token_type).toBe('Bearer')
  })

  it('does not do twice what was done before', async () => {
    const tenant = await makeTenant('tended-halved')
    const before = await databaseOf('tended-halved')
    const run_id = crypto.randomUUID()
    await master(
      sql`update platform.tenants set status = 'provisioning' where id = ${tenant.id}`,
      sql`update platform.provisioning_steps set state = case when name = 'migrate' then 'running' else 'pending' end where tenant_id = ${tenant.id} and name in ('migrate', 'seed', 'signing_key', 'prove', 'publish', 'activate')`,
      sql`insert into platform.provisioning_runs (id, tenant_id, attempt, state, lease_until) values (${run_id}, ${tenant.id}, 2, 'running', now() - interval '1 second')`,
    )
    await minute()
    await isActive(tenant.id)
    const after = await databaseOf('tended-halved')
    expect([after.app_url, after.owner_url]).toEqual([before.app_url, before.owner_url])
    expect(await master(sql`select count(*)::integer as n from platform.signing_keys where realm_id = ${tenant.id}`)).toEqual([
      { n: 1 },
    ])
    expect(await after.asOwner(sql`select count(*)::integer as n from freehold.users`)).toEqual([{ n: 1 }])
    expect((await login('tended-halved')).token_type).toBe('Bearer')
  })

  it('without any run that runs is started', async () => {
    const id = await plantTenant('tended-orphan', 'provisioning')
    const run_id = await plantRun(id)
    await master(sql`update platform.provisioning_runs set state = 'superseded' where id = ${run_id}`)
    await minute()
    await isActive(id)
  })
  it('that another job is about to take over is left to it, and the rest of the job is done', async () => {
    const id = await plantTenant('tended-raced', 'provisioning')
    const run_id = await plantRun(id)
    await master(sql`update platform.provisioning_runs set state = 'superseded' where id = ${run_id}`)
    await master(sql`update platform.tenants set legal_name = 'Tended and Raced' where subdomain = 'tended'`)
    const theirs = crypto.randomUUID()
    const other = master(
      sql`insert into platform.provisioning_runs (id, tenant_id, attempt, state, lease_until) values (${theirs}, ${id}, 2, 'running', now() + interval '1 day')`,
      sql`select pg_sleep(0.5)`,
    )
    await scheduler.wait(150)
    const written = await minute().catch(String)
    await other
    await minute()
    expect(await runs(id)).toEqual([
      { attempt: 1, state: 'superseded' },
      { attempt: 2, state: 'running' },
    ])
    expect(written).toContain(KEY)
  })
})

describe('an entry of KV', () => {
  const right = async () => (await env.TENANTS.get(KEY)) ?? ''

  it('that is as the master says is let be, and so is everything else', async () => {
    const of = () =>
      master(sql`select t.xmin::text, t.v, t.published_v, t.updated_at from platform.tenants t where t.subdomain = 'tended'`)
    // A job of another file, whose KV has no such entry, may have marked it once.
    await vi.waitUntil(async () => {
      const before = [await of(), await right()]
      await compareNext('tended')
      const written = [...(await minute()), ...(await minute())]
      return !written.includes(KEY) && JSON.stringify([await of(), await right()]) === JSON.stringify(before)
    }, 60_000)
  })

  it('that is missing is written again', async () => {
    const before = await said()
    await env.TENANTS.delete(KEY)
    expect(await compared('tended')).toContain(KEY)
    expect(await said()).toEqual(before)
  })

  it.each([-1, 0, +1_000])('whose version is off by %i is written again', async (by) => {
    const before = await said()
    await env.TENANTS.put(KEY, await signed(settings(), { ...before, v: before.v + by, legal_name: 'Another' }))
    expect(await compared('tended')).toContain(KEY)
    expect(await said()).toEqual(before)
  })

  it('that never heard of a change hears of it', async () => {
    await master(sql`update platform.tenants set legal_name = 'Tended and Sons' where subdomain = 'tended'`)
    expect(await minute()).toContain(KEY)
    expect(await said()).toMatchObject({ legal_name: 'Tended and Sons' })
  })

  it('of a tenant that was switched off half-way is switched off, and so is its database', async () => {
    await master(sql`update platform.tenants set status = 'inactive' where subdomain = 'tended'`)
    await minute()
    const { asOwner } = await databaseOf('tended')
    expect(await said()).toMatchObject({ status: 'inactive' })
    expect(await asOwner(sql`select is_active from freehold.tenant`)).toEqual([{ is_active: false }])
    await master(sql`update platform.tenants set status = 'active' where subdomain = 'tended'`)
    await minute()
    expect(await asOwner(sql`select is_active from freehold.tenant`)).toEqual([{ is_active: true }])
  })

  it('that was mended is let be the next minute', async () => {
    await master(sql`update platform.tenants set legal_name = 'Tended and Daughters' where subdomain = 'tended'`)
    expect(await minute()).toContain(KEY)
    const [row] = await master(sql`select v, published_v from platform.tenants where subdomain = 'tended'`)
    expect(row?.published_v).toBe(row?.v)
    expect(await minute()).not.toContain(KEY)
  })

  it('with the right version and other contents is written again', async () => {
    const key = kvKey('tended-orphan')
    const before = await said(key)
    await env.TENANTS.put(key, JSON.stringify({ ...JSON.parse((await env.TENANTS.get(key)) ?? ''), legal_name: 'Another' }))
    expect(await compared('tended-orphan')).toContain(key)
    expect(await said(key)).toEqual(before)
  })

  it.each(['', 'not json', 'null', '7', '[]'])(
    'that is garbage (%j) is written again, and stops nobody else’s mending',
    async (garbage) => {
      const before = await right()
      await env.TENANTS.put(KEY, garbage)
      await env.TENANTS.delete(kvKey('tended-halved'))
      const written = await compared('tended', 'tended-halved').catch(String)
      await env.TENANTS.put(KEY, before)
      expect(written).toEqual(expect.arrayContaining([KEY, kvKey('tended-halved')]))
    },
  )

  it('is mended though another tenant’s database is away', async () => {
    const [row] = await master(sql`select id, owner_url_encrypted from platform.tenants where subdomain = 'tended-stale'`)
    await master(
      sql`update platform.tenants set owner_url_encrypted = 'k1.AAAAAAAAAAAAAAAA.AAAA', legal_name = 'Broken' where id = ${row?.id}`,
    )
    await Promise.all([KEY, kvKey('tended-halved')].map((key) => env.TENANTS.delete(key)))
    const written = await compared('tended', 'tended-halved').catch(String)
    await master(sql`update platform.tenants set owner_url_encrypted = ${row?.owner_url_encrypted} where id = ${row?.id}`)
    await minute()
    expect(written).toEqual(expect.arrayContaining([KEY, kvKey('tended-halved')]))
  })
})
