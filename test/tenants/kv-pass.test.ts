/** The daily comparison of KV with the master. The pass is the whole platform's, and KV this file's own: others may take a slice. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Env } from '../../src/kernel/env.ts'
import { comparePass } from '../../src/tenants/lifecycle/kv-pass.ts'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { kvKey } from '../../src/tenants/registry/registry.ts'
import { master, settings } from '../support/databases.ts'
import { compareKeysNext, compareNext } from '../support/kv-pass.ts'
import { call, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { copyTenant } from '../support/tenants.ts'

const NAME = 'pass-here'
const pass = async () => (await master(sql`select p.part, p.place, p.started_at from platform.kv_pass p`))[0]
const kept = (name: string) => env.TENANTS.get(kvKey(name))
const publishedOf = async (name: string) =>
  (await master(sql`select t.published_v from platform.tenants t where t.subdomain = ${name}`))[0]?.published_v

/** This file's KV, with something that happens before one of its methods. */
const kvWith = (changed: Partial<Record<'get' | 'list' | 'delete' | 'put', (...given: any[]) => Promise<unknown>>>): Env => {
  const real = env.TENANTS as unknown as Record<string, (...given: unknown[]) => unknown>
  const methods = ['get', 'list', 'delete', 'put'].map((name) => [name, (...given: unknown[]) => real[name]?.(...given)])
  return { ...env, TENANTS: { ...Object.fromEntries(methods), ...changed } as unknown as KVNamespace } as Env
}

beforeAll(() => copyTenant(NAME))

describe('a pass', () => {
  it('is taken by one of twenty jobs at once, and goes on behind what that one compared', async () => {
    await compareNext(NAME)
    const before = await pass()
    const told = await Promise.all(Array.from({ length: 20 }, () => comparePass(env, settings())))
    // Who comes when the slice is done takes the next one: each slice is one job's.
    const places = new Set([before?.place, (await pass())?.place])
    expect(told.filter((found) => found !== null).length).toBeGreaterThan(0)
    expect(told.filter((found) => found === null).length).toBeGreaterThan(0)
    expect(places.size === 2 || (await pass())?.part !== 'tenants').toBe(true)
  })

  it('whose job died is gone on with at the same place, when the lease has run out', async () => {
    await compareNext(NAME)
    await env.TENANTS.delete(kvKey(NAME))
    const dies = kvWith({ get: async () => Promise.reject(new Error('KV GET failed: 503 Service Unavailable')) })
    const { place } = (await pass()) ?? {}
    await expect(comparePass(dies, settings())).rejects.toThrow('503')
    expect(await comparePass(env, settings())).toBe(null)
    expect(await pass()).toMatchObject({ part: 'tenants', place })
    await master(sql`update platform.kv_pass set lease_until = now()`)
    expect(await comparePass(env, settings())).toBeGreaterThan(0)
    expect(await publishedOf(NAME)).toBe('-1')
    await reconcile(env, settings())
    expect(await kept(NAME)).not.toBe(null)
  })

  it('that is through is followed by the next a day after it began, and not before', async () => {
    await master(
      sql`update platform.kv_pass set part = 'done', place = '', started_at = now() - interval '23 hours', lease_until = now()`,
    )
    expect(await comparePass(env, settings())).toBe(null)
    await master(sql`update platform.kv_pass set started_at = now() - interval '24 hours'`)
    expect(await comparePass(env, settings())).not.toBe(null)
    const [row] = await master(sql`select p.started_at > now() - interval '1 minute' as is_new, p.size from platform.kv_pass p`)
    expect(row).toEqual({ is_new: true, size: 100 })
  })

  it('whose cursor KV does not know any more begins with the first key again, and comes to its end', async () => {
    await env.TENANTS.put(kvKey('pass-behind'), '{}')
    await compareKeysNext()
    await master(sql`update platform.kv_pass set place = 'of-another-namespace'`)
    const other = kvWith({
      list: async (given) =>
        given.cursor ? Promise.reject(new Error('KV GET failed: 400 Invalid cursor')) : env.TENANTS.list(given),
    })
    expect(await comparePass(other, settings())).toBeGreaterThan(0)
    expect([await kept('pass-behind'), (await pass())?.part]).toEqual([null, 'done'])
    const down = kvWith({ list: async () => Promise.reject(new Error('KV GET failed: 503')) })
    await compareKeysNext()
    await expect(comparePass(down, settings())).rejects.toThrow('503')
  })

  it('asks KV for a hundred names at once, so that nothing but the last request is of fewer, and writes nothing to it', async () => {
    await compareNext(NAME)
    // Former names of tenants are compared, too: how many there are depends on other files.
    const asked: number[] = []
    const counting = kvWith({
      get: (...given) => {
        asked.push(given[0].length)
        return (env.TENANTS.get as (...args: unknown[]) => Promise<unknown>)(...given)
      },
      delete: () => Promise.reject(new Error('the key of a tenant was deleted')),
      put: () => Promise.reject(new Error('the key of a tenant was written')),
    })
    await comparePass(counting, settings())
    expect(asked.length).toBeGreaterThan(0)
    expect(asked.slice(0, -1).every((names) => names === 100)).toBe(true)
    expect(asked.at(-1)).toBeLessThanOrEqual(100)
  })
})

describe('the key of', () => {
  it('nobody is deleted', async () => {
    await env.TENANTS.put(kvKey('pass-nobody'), '{}')
    await compareKeysNext()
    expect(await comparePass(env, settings())).toBe(1)
    expect(await kept('pass-nobody')).toBe(null)
  })

  it.each(['provisioning', 'failed', 'active', 'inactive', 'deleted', 'erasing'])(
    'a tenant that is %s is left',
    async (status) => {
      const name = `pass-${status}`
      const id = await plantTenant(name)
      await env.TENANTS.put(kvKey(name), 'whatever it is')
      await master(
        sql`update platform.tenants set status = ${status}, erasing_until = case when ${status} = 'erasing' then now() + interval '1 hour' end where id = ${id}`,
      )
      await compareKeysNext()
      expect(await comparePass(env, settings())).toBe(0)
      expect(await kept(name)).toBe('whatever it is')
      await master(sql`delete from platform.tenants where id = ${id}`)
      await env.TENANTS.delete(kvKey(name))
    },
  )

  it('a tenant that is made with the name in the moment of the deletion is written again', async () => {
    const name = 'pass-raced'
    await env.TENANTS.put(kvKey(name), '{}')
    await compareKeysNext()
    // The tenant is made, publishes and is active, and then its entry is deleted.
    const raced = kvWith({
      delete: async (key) => {
        await copyTenant(name)
        await env.TENANTS.delete(key)
      },
    })
    expect(await comparePass(raced, settings())).toBe(1)
    expect([await kept(name), await publishedOf(name)]).toEqual([null, '-1'])
    await reconcile(env, settings())
    expect(await kept(name)).not.toBe(null)
  })

  it('a tenant that has published and is not active yet is written again, too', async () => {
    const name = 'pass-half'
    await env.TENANTS.put(kvKey(name), '{}')
    await compareKeysNext()
    const { id } = await copyTenant(name)
    await master(sql`update platform.tenants set status = 'provisioning', published_v = 0 where id = ${id}`)
    const row = await master(sql`select * from platform.tenants where id = ${id}`)
    expect(row).toHaveLength(1)
    // As `deleteEntries` leaves it, and as the last step of provisioning finds it.
    await master(sql`update platform.tenants set published_v = -1 where id = ${id}`)
    const { steps } = await import('../../src/tenants/provisioning/steps.ts')
    const { jobOf } = await import('../../src/tenants/provisioning/job.ts')
    const [found] = await master(
      sql`select to_jsonb(t) as tenant, to_jsonb(h) as host from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = ${id}`,
    )
    const job = await jobOf(settings(), found?.tenant, found?.host, 'a'.repeat(32))
    await steps.activate?.({ ...job, env, results: { publish: { v: Number(found?.tenant.v) + 1 } } })
    expect(await publishedOf(name)).toBe('-1')
    await env.TENANTS.delete(kvKey(name))
    await reconcile(env, settings())
    expect(await kept(name)).not.toBe(null)
    expect((await call('', `/platform/v1/tenants/${id}`, { token: await operatorToken() })).body.status).toBe('active')
  })
})
