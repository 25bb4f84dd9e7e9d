/** Rotations of logins, and what must be true of a tenant afterwards. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { expect, vi } from 'vitest'
import { decrypt } from '../../src/kernel/keyring.ts'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { tendCredentials } from '../../src/tenants/rotations/credentials.ts'
import { databaseOf, master, rowsOf, settings } from './databases.ts'
import { call } from './people.ts'

export const turnLogins = (id: string, token: string) =>
  call('', `/platform/v1/tenants/${id}/rotate-credentials`, { method: 'POST', token })
export const shownLogins = async (id: string, token: string) =>
  (await call('', `/platform/v1/tenants/${id}/rotate-credentials`, { token })).body

/** Begins, and waits until what follows the answer has done what it can. */
export async function turnLoginsNow(id: string, token: string) {
  const answer = await turnLogins(id, token)
  await vi.waitUntil(
    async () =>
      !(
        await master(
          sql`select from platform.credential_rotations where tenant_id = ${id} and (state = 'running' and error is null or state = 'leaving' and left_until is null)`,
        )
      ).length,
    { timeout: 60_000, interval: 20 },
  )
  return answer
}

/** What the scheduled job does, when nobody holds a lease. */
export async function tendLogins(id: string) {
  await master(sql`update platform.credential_rotations set lease_until = now() where tenant_id = ${id} and lease_until > now()`)
  await tendCredentials(env, settings())
  await reconcile(env, settings())
}
/** What would be three minutes later: the former logins are dropped. */
export async function afterKnown(id: string) {
  await master(
    sql`update platform.credential_rotations set left_until = now() where tenant_id = ${id} and left_until is not null`,
  )
  await tendLogins(id)
}

/** The logins that there are with the names of a tenant, in its cluster. */
export async function loginsOf(id: string, subdomain: string): Promise<string[]> {
  const short = id.replaceAll('-', '').slice(0, 12)
  const { host_url } = await databaseOf(subdomain)
  const rows = await rowsOf(
    host_url,
    sql`select rolname as name from pg_roles where rolname like ${`freehold\\_%\\_${short}%`} order by 1`,
  )
  return rows.map(({ name }) => String(name))
}
export const pairNames = (id: string, pair: 'a' | 'b') => {
  const short = id.replaceAll('-', '').slice(0, 12)
  return [`freehold_app_${short}_${pair}`, `freehold_owner_${short}${pair === 'a' ? '' : '_b'}`]
}

/** The tenant has one pair of logins, which is known everywhere, and nothing is under way. */
export async function expectOnePair(id: string, subdomain: string, pair: 'a' | 'b') {
  const { app_url, owner_url, asApp, asOwner } = await databaseOf(subdomain)
  expect([new URL(app_url).username, new URL(owner_url).username]).toEqual(pairNames(id, pair))
  // The scheduled job of another file may be dropping the former ones at this moment.
  const open = sql`select from platform.credential_rotations r where r.tenant_id = ${id} and r.state not in ('done', 'failed')`
  await vi.waitUntil(async () => !(await master(open)).length, { timeout: 15_000, interval: 50 }).catch(() => undefined)
  expect(await loginsOf(id, subdomain)).toEqual(pairNames(id, pair))
  expect(await asApp(sql`select count(*)::integer as seen from freehold.users`)).toEqual([{ seen: 0 }])
  expect(await asOwner(sql`select id from freehold.tenant`)).toEqual([{ id }])
  const [row] = await master(
    sql`select t.v, t.published_v, t.move_id, t.app_url_encrypted as app, (select count(*)::integer from platform.credential_rotations r where r.tenant_id = t.id and (r.state not in ('done', 'failed') or r.app_url_encrypted is not null)) as open from platform.tenants t where t.id = ${id}`,
  )
  expect([row?.published_v, row?.move_id, row?.open]).toEqual([row?.v, null, 0])
  const entry = await env.TENANTS.get<Entry>(kvKey(subdomain), 'json')
  expect([entry?.v, entry?.database]).toEqual([Number(row?.v), row?.app])
  expect(await decrypt(settings().ENCRYPTION_KEYS, id, 'app_url', String(row?.app))).toBe(app_url)
}
