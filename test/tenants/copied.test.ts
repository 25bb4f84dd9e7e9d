/** What most tests stand on: a tenant that they copy is as one that was provisioned. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { beforeAll, expect, it } from 'vitest'
import { verifyIsolation } from '../../src/tenants/provisioning/verify-isolation.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { catalogueOf } from '../support/catalogue.ts'
import { type Database, databaseOf, master, settings } from '../support/databases.ts'
import { makeTenant } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

let made: Database
let copied: Database
beforeAll(async () => {
  await makeTenant('as-made')
  await copyTenant('as-copied')
  made = await databaseOf('as-made')
  copied = await databaseOf('as-copied')
})

it('its database says the same of itself, but for its name', async () => {
  expect(await catalogueOf(copied)).toEqual(await catalogueOf(made))
})

it('its tables hold as many rows', async () => {
  const counts = async ({ asOwner }: Database) => {
    const tables = await asOwner(
      sql`select oid::regclass::text as name from pg_class where relnamespace in ('freehold'::regnamespace, 'access'::regnamespace) and relkind = 'r' order by 1`,
    )
    const rows = await Promise.all(tables.map(({ name }) => asOwner(sql`select count(*)::int as n from ${sql.raw(name)}`)))
    return Object.fromEntries(tables.map(({ name }, i) => [name, rows[i]?.[0]?.n]))
  }
  const there = await counts(made)
  expect(there['freehold.users']).toBe(1)
  expect(await counts(copied)).toEqual(there)
})

it('it shares no key, no password and no name with another', async () => {
  const secrets = async ({ asOwner }: Database) => Object.values((await asOwner(sql`select * from access.secrets`))[0] ?? {})
  const theirs = (await secrets(made)).map(String)
  for (const value of await secrets(copied)) if (String(value).length > 20) expect(theirs).not.toContain(String(value))
  for (const url of ['app_url', 'owner_url'] as const) {
    const [one, other] = [new URL(copied[url]), new URL(made[url])]
    for (const part of ['username', 'password', 'pathname'] as const) expect(one[part]).not.toBe(other[part])
  }
})

it('the master and KV hold of it what they hold of the other', async () => {
  const known = async (subdomain: string) => {
    const [row] = await master(
      sql`select to_jsonb(t) as tenant, (select count(*)::int from platform.signing_keys k where k.realm_id = t.id) as keys,
            (select count(*)::int from platform.maintenance m where m.realm_id = t.id) as maintained from platform.tenants t where subdomain = ${subdomain}`,
    )
    const { tenant, ...rest } = row ?? {}
    const entry = await env.TENANTS.get<Entry>(kvKey(subdomain), 'json')
    const own = (name: string) => /^(id|subdomain|legal_name|tax_id|database_name|v|published_v)$|_at$|_encrypted$/.test(name)
    const shown = Object.entries(tenant).map(([name, value]) => [name, own(name) ? typeof value : value])
    return { ...rest, tenant: Object.fromEntries(shown), entry: Object.keys(entry ?? {}).sort(), status: entry?.status }
  }
  expect(await known('as-copied')).toEqual(await known('as-made'))
})

it('it passes the proof that provisioning ends with', async () => {
  await verifyIsolation(copied, [settings().MASTER_DATABASE_URL, copied.host_url, made.app_url])
})
