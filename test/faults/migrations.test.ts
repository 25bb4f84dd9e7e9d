/**
 * A migration of a tenant, with each of its round trips lost or refused in turn. Threat: an answer that is lost after the work was done
 * leaves a database half-migrated, a migration applied twice, or a run that nobody goes on with.
 */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { batch } from '../../src/kernel/db.ts'
import { advance, begin, resume, type Send } from '../../src/tenants/migration/fleet.ts'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { type Entry, kvKey } from '../../src/tenants/registry/registry.ts'
import { databaseOf, master, settings } from '../support/databases.ts'
import { bothSides, pending, rememberLeft, switchOn } from '../support/faults.ts'
import { ADMIN, call } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

beforeAll(rememberLeft, 60_000)

const NEWEST = tenantMigrations.at(-1)?.name
/** A round trip to the master or to this tenant: the tenant of the test before may still have its last entries checkpointed. */
const sqlOf = (subdomain: string) => ({
  method: 'POST',
  path: '^/sql$',
  connection: `/(freehold_master|freehold_${subdomain.replaceAll('-', '_')})\\b`,
})
/**
 * Round trips from the first of `advance` to the last: claim, whether a branch is kept, lease, ledger, migration, presets, drift, record,
 * publish, go on.
 */
const TRIPS = 11
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

type Kind = Omit<Fault, 'match' | 'times'>
const json = { 'content-type': 'application/json' }
/** What Neon's proxy passes on of Postgres, or of a control plane that refuses. */
const postgres = (code: string, severity: string, message: string): Kind => ({
  kind: 'status',
  status: 400,
  headers: json,
  body: JSON.stringify({ message, code, severity }),
})

const faults: [string, Kind][] = [
  ['is lost', { kind: 'drop_before' }],
  ['is answered to nobody', { kind: 'drop_after' }],
  ['is a 500', { kind: 'status', status: 500, body: '{"message":"internal error"}' }],
  [
    'is a 524 with a page',
    { kind: 'status', status: 524, body: '<html>A timeout occurred</html>', headers: { 'Content-Type': 'text/html' } },
  ],
  ['is a 429', { kind: 'status', status: 429, body: '{"message":"too many requests"}', headers: { 'Retry-After': '1' } }],
  ['is a 429 that does not say when', { kind: 'status', status: 429, body: '{"message":"too many requests"}' }],
  [
    // A 423 of the control plane, as Neon's proxy for SQL tells it.
    'meets a project that is busy',
    {
      kind: 'status',
      status: 500,
      headers: json,
      body: '{"message":"Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or contact our support."}',
    },
  ],
  ['is refused by the control plane', postgres('XX000', 'ERROR', 'Received HTTP code 423 from control plane')],
  ['meets a compute that is suspended', postgres('57P01', 'FATAL', 'terminating connection due to administrator command')],
  ['is what Postgres refuses', postgres('0A000', 'ERROR', 'this is not supported')],
]
/** Where a run stops at a refusal, by the number of the round trip; at all others it is tried again. */
const STOPS: Record<number, unknown> = { 3: 'ledger', 4: NEWEST, 5: 'presets', 7: 'record' }

describe.each(faults)('when one round trip %s', (name, fault) => {
  it.each(Array.from({ length: TRIPS }, (_, i) => i))(
    'that is number %i, the tenant is migrated all the same, and nothing twice',
    { timeout: 60_000 },
    async (place) => {
      const at = `fault-${name.toLowerCase().replace(/\W+/g, '-')}-${place}`
      await copyTenant(at, { is_behind: true })
      const run = await begin(send, settings(), { concurrency: 1, stop_percent: 0, rest: 'now' }, 'a'.repeat(32))
      const match = sqlOf(at)
      await switchOn(...(place ? [{ match, times: place, kind: 'delay', ms: 1 } as const] : []), {
        match,
        times: 1,
        ...fault,
      })
      await advance(env, settings()).catch(() => undefined)
      // Only then the test asks the master: its own round trips are counted as well.
      await vi.waitUntil(async () => (await pending()).length === 0, { timeout: 60_000, interval: 20 })
      const ended = await finish(String(run))
      expect(ended, 'nothing else stops it').toBe(/Postgres refuses/.test(name) && STOPS[place] ? 'stopped' : 'done')
      if (ended === 'stopped') {
        const [row] = await master(sql`select step, error from platform.tenant_migrations where run_id = ${run}`)
        expect(row).toEqual({ step: STOPS[place], error: expect.stringContaining('this is not supported') })
        await resume(send, String(run))
        await advance(env, settings())
        expect(await finish(String(run))).toBe('done')
      }
      const { asOwner } = await databaseOf(at)
      const ledger = await asOwner(sql`select name from freehold.migrations order by name`)
      expect(ledger.map((row) => row.name)).toEqual(tenantMigrations.map((migration) => migration.name))
      const [tenant] = await master(
        sql`select t.schema_version, m.state, m.step, m.error from platform.tenants t join platform.tenant_migrations m on m.tenant_id = t.id where t.subdomain = ${at}`,
      )
      expect(tenant).toEqual({ schema_version: NEWEST, state: 'done', step: null, error: null })
      expect((await env.TENANTS.get<Entry>(kvKey(at), 'json'))?.subdomain).toBe(at)
      expect((await call(at, '/api/v1/auth/login', { body: ADMIN })).status).toBe(200)
    },
  )
})

describe('afterwards', () => {
  it('nothing is there twice or left over: Neon, the master and KV hold the same', async () => {
    const { neon, known } = await bothSides('fault-')
    // What tests copy is no tenant's.
    expect(neon.filter((line) => !line.includes('copied_by_tests'))).toEqual(known)
  })
})
