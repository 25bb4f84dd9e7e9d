/** Threat: KV has lost the entries of thousands of tenants, and the job of a minute goes beyond what an invocation may do. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { comparePass } from '../../src/tenants/lifecycle/kv-pass.ts'
import { reconcile, UNPUBLISHED } from '../../src/tenants/lifecycle/reconcile.ts'
import { master, settings } from '../support/databases.ts'

const MANY = 10_000
/** Subrequests of one invocation, of which maintenance and mail need some. */
const LIMIT = 500

const forget = () => master(sql`delete from platform.tenants t where t.subdomain like 'crowd-%'`)
afterAll(forget)

describe('ten thousand tenants without an entry', () => {
  // Each is published from the beginning: the index never had them, so that its size does not depend on when Postgres cleaned it.
  it('are all found, in slices each of which is far from the limits of an invocation, and so is mending them', async () => {
    await master(
      sql`insert into platform.tenants (id, subdomain, legal_name, tax_id, country, region, admin_email, environment, status, isolation, role_preset, database_name, owner_url_encrypted, published_v)
          select gen_random_uuid(), 'crowd-' || n, 'Crowd', 'crowd-' || n, 'ZZ', 'aws-us-east-2', 'bo@acme.test', 'demo', 'inactive', 'database', 'minimal', 'crowd_' || n, 'k1.AAAAAAAAAAAAAAAA.AAAA', 9000000000
          from generate_series(1, ${MANY}::integer) n`,
      sql`update platform.tenants set published_v = v where subdomain like 'crowd-%'`,
      sql`insert into platform.kv_pass as p (size, lease_until) values (1000, now())
          on conflict (one) do update set part = 'tenants', place = '', size = 1000, lease_until = now()`,
    )
    await master(sql`analyze platform.tenants`)
    expect(JSON.stringify(await master(sql`explain ${UNPUBLISHED}`))).toContain('tenants_unpublished')
    let requests = 0
    const real = env.TENANTS as unknown as Record<string, (...given: unknown[]) => unknown>
    const methods = ['get', 'list', 'delete', 'put'].map((name) => [
      name,
      (...given: unknown[]) => {
        requests++
        return real[name]?.(...given)
      },
    ])
    const counting = { ...env, TENANTS: Object.fromEntries(methods) as unknown as KVNamespace }
    const marked = async () =>
      Number(
        (
          await master(sql`select count(*) as n from platform.tenants t where t.subdomain like 'crowd-%' and t.published_v = -1`)
        )[0]?.n,
      )
    let slices = 0
    for (let before = -1; before !== (await marked()); slices++) {
      before = await marked()
      requests = 0
      await comparePass(counting, settings())
      // Beside each bulk get the master is asked twice at most.
      expect(requests * 3).toBeLessThan(LIMIT)
    }
    expect(await marked()).toBe(MANY)
    expect(slices).toBeLessThan(20)
    // None of them has a login that opens, and a run comes to no more of them than it could write.
    const lines = vi.spyOn(console, 'log').mockImplementation(() => undefined)
    await reconcile(counting, settings())
    const tried = lines.mock.calls.filter(([line]) => /tenant (not )?reconciled/.test(String(line))).length
    lines.mockRestore()
    expect(tried).toBe(50)
    expect(tried * 5).toBeLessThan(LIMIT)
  })
})
