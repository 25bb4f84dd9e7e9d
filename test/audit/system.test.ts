/** Entries of the system. Threat: what nobody asked for cannot be joined with the run that did it, in the log or in the audit. */
import { createExecutionContext, createScheduledController, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import worker from '../../src/index.ts'
import { type Database, databaseOf, master } from '../support/databases.ts'
import { call, operatorToken, wanted } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'traced-runs'
let owner: string
let id: string
let database: Database
let made: string

const newTrace = () => crypto.randomUUID().replaceAll('-', '')
const under = (trace: string) => ({ traceparent: `00-${trace}-0123456789abcdef-01` })
const ofTenant = () =>
  master(sql`select trace_id, user_id, activity_type from freehold.audit_log where resource_id = ${id} order by at`)
/** Runs the job of every minute, and gives what it logged. */
async function minute() {
  const lines: string[] = []
  vi.spyOn(console, 'log').mockImplementation((line: unknown) => void lines.push(String(line)))
  const ctx = createExecutionContext()
  await worker.scheduled(createScheduledController({ cron: '* * * * *' }), env)
  await waitOnExecutionContext(ctx)
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
}

beforeAll(async () => {
  owner = await operatorToken()
  made = newTrace()
  const answer = await call('', '/platform/v1/tenants', {
    token: owner,
    body: wanted(AT),
    headers: { ...under(made), Prefer: 'wait=30' },
  })
  expect(answer.status).toBe(201)
  id = answer.body.id
  database = await databaseOf(AT)
})
afterEach(() => vi.restoreAllMocks())

describe('the trace id of the run is on what', () => {
  it('provisioning writes, in the tenant’s database and in the master: that of the request', async () => {
    const rows = await database.asOwner(sql`select distinct trace_id, user_id from freehold.audit_log`)
    expect(rows).toEqual([{ trace_id: made, user_id: null }])
    const system = await ofTenant()
    expect(system.length).toBeGreaterThan(3)
    expect(new Set(system.map(({ trace_id }) => trace_id))).toEqual(new Set([made]))
    expect(system.filter(({ user_id }) => user_id === null).length).toBeGreaterThan(2)
  })

  it('a change of the tenant’s status writes in its database: that of the request', async () => {
    for (const verb of ['deactivate', 'activate']) {
      const trace = newTrace()
      await call('', `/platform/v1/tenants/${id}/${verb}`, { method: 'POST', token: owner, headers: under(trace) })
      const rows = await database.asOwner(sql`select activity_type from freehold.audit_log where trace_id = ${trace}`)
      expect(rows).toEqual([{ activity_type: 'TENANT_UPDATED' }])
    }
  })

  it('the job of every minute writes: one for the run, which its log has as well', async () => {
    await master(sql`update platform.tenants set status = 'inactive' where id = ${id}`)
    const lines = await minute()
    const line = lines.find(({ event, tenant }) => event === 'tenant reconciled' && tenant === AT)
    expect(line?.trace_id).toMatch(/^[0-9a-f]{32}$/)
    const [row] = await database.asOwner(sql`select user_id, trace_id from freehold.audit_log order by at desc limit 1`)
    expect(row).toEqual({ user_id: null, trace_id: line?.trace_id })
    await master(sql`update platform.tenants set status = 'active' where id = ${id}`)
    await minute()
  })

  it('setup writes in the master', async () => {
    const rows = await master(
      sql`select distinct trace_id from freehold.audit_log where user_id is null and activity_type in ('ROLE_CREATED', 'TENANT_CREATED') and resource_type in ('role', 'tenant') and xid = (select min(xid) from freehold.audit_log)`,
    )
    expect(rows).toEqual([{ trace_id: expect.stringMatching(/^[0-9a-f]{32}$/) }])
  })

  it('erasing writes: that of the request', async () => {
    const trace = newTrace()
    await call('', `/platform/v1/tenants/${id}?hard=true&confirm=${AT}`, {
      method: 'DELETE',
      token: owner,
      headers: under(trace),
    })
    await vi.waitUntil(async () => (await ofTenant()).at(-1)?.activity_type === 'TENANT_DELETED', {
      timeout: 20_000,
      interval: 100,
    })
    expect((await ofTenant()).at(-1)).toEqual({ trace_id: trace, user_id: null, activity_type: 'TENANT_DELETED' })
  })
})

it('the app login cannot put a trace id of the system on what a user or a stranger does', async () => {
  await copyTenant(`${AT}-app`)
  const own = await databaseOf(`${AT}-app`)
  const request = JSON.stringify({ trace_id: 'of-the-request' })
  await own.asApp(
    sql`select set_config('access.trace_id', 'of-the-system', true)`,
    sql`select access.record_refusal(${own.id}, ${own.system_key}, '{}'::jsonb, 'forbidden', null, ${request}::jsonb)`,
  )
  const rows = await own.asOwner(sql`select trace_id from freehold.audit_log where activity_type = 'ACCESS_REFUSED'`)
  expect(rows).toEqual([{ trace_id: 'of-the-request' }])
})
