/**
 * A migration of a tenant, with each of its round trips lost or refused in turn. Threat: an answer that is lost after the work was done
 * leaves a database half-migrated, a migration applied twice, or a run that nobody goes on with.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, describe, expect, it } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { batch } from '../../src/kernel/db.ts'
import { advance, begin, resume, type Send } from '../../src/tenants/migration/fleet.ts'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { pending, switchOn } from '../support/faults.ts'
import { ADMIN, call } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const NEWEST = tenantMigrations.at(-1)?.name
const SQL = { method: 'POST', path: '^/sql$' }
/** Round trips from the first of `advance` to the last: claim, lease, ledger, migration, presets, record, publish, go on. */
const TRIPS = 9
const send: Send = (statements) => batch(settings().MASTER_DATABASE_URL, statements)
const stateOf = async (run: string) => (await master(sql`select state from platform.migration_runs where id = ${run}`))[0]?.state

afterEach(() => switchOn())

/** Goes on with a run as the scheduled job does, until it ends; leases run out at once. */
async function finish(run: string): Promise<string> {
  for (let tries = 0; tries < 300; tries++) {
    const state = await stateOf(run).catch(() => 'away')
    if (state === 'done' || state === 'stopped') return state
    if (tries % 20 === 19) {
      await master(
        sql`update platform.tenant_migrations set lease_until = now() - interval '1 second' where run_id = ${run} and state = 'running' and started_at < now() - interval '4 seconds'`,
      ).catch(() => undefined)
      await advance(env, settings()).catch(() => undefined)
    }
    await scheduler.wait(50)
  }
  return 'unfinished'
}

const faults: [string, Omit<Fault, 'match' | 'times'>][] = [
  ['is lost', { kind: 'drop_before' }],
  ['is answered to nobody', { kind: 'drop_after' }],
  ['is a 500', { kind: 'status', status: 500, body: '{"message":"internal error"}' }],
  [
    'is a 524 with a page',
    { kind: 'status', status: 524, body: '<html>A timeout occurred</html>', headers: { 'Content-Type': 'text/html' } },
  ],
  ['is a 429', { kind: 'status', status: 429, body: '{"message":"too many requests"}', headers: { 'Retry-After': '1' } }],
]

describe.each(faults)('when one round trip %s', (name, fault) => {
  it.each(Array.from({ length: TRIPS }, (_, i) => i))(
    'that is number %i, the tenant is migrated all the same, and nothing twice',
    { timeout: 60_000 },
    async (place) => {
      const at = `fault-${name.replace(/\W+/g, '-')}-${place}`
      await copyTenant(at, { is_behind: true })
      const run = await begin(send, settings(), { concurrency: 1, stop_percent: 0, rest: 'now' }, 'a'.repeat(32))
      await switchOn(...(place ? [{ match: SQL, times: place, kind: 'delay', ms: 1 } as const] : []), {
        match: SQL,
        times: 1,
        ...fault,
      })
      await advance(env, settings()).catch(() => undefined)
      if ((await finish(String(run))) === 'stopped') {
        const [row] = await master(sql`select error from platform.tenant_migrations where run_id = ${run}`)
        expect(row?.error).not.toBeNull()
        await resume(send, String(run))
        await advance(env, settings())
        expect(await finish(String(run))).toBe('done')
      }
      expect(await pending(), 'the fault happened').toEqual([])
      const { asOwner } = await databaseOf(at)
      const ledger = await asOwner(sql`select name from freehold.migrations order by name`)
      expect(ledger.map((row) => row.name)).toEqual(tenantMigrations.map((migration) => migration.name))
      const [tenant] = await master(sql`select schema_version, v from platform.tenants where subdomain = ${at}`)
      expect(tenant?.schema_version).toBe(NEWEST)
      expect((await env.TENANTS.get<Entry>(kvKey(at), 'json'))?.subdomain).toBe(at)
      expect((await call(at, '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
    },
  )
})
