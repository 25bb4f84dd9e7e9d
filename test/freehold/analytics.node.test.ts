/** What the CLI makes of analytics and usage. That the numbers are right is shown in test/faults/days and test/faults/usage. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freehold } from './run.ts'

const TENANT = {
  id: '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11',
  subdomain: 'acme',
  url: 'https://acme.freehold.test',
  legal_name: 'Acme',
  tax_id: 'X',
  country: 'XX',
  region: 'r',
  admin_email: 'bo@acme.test',
  contact_name: null,
  plan: null,
  environment: 'demo',
  status: 'active',
  isolation: 'database',
  role_preset: 'minimal',
  database_name: 'freehold_acme',
  schema_version: null,
  database_error: null,
  created_at: '2026-01-01T00:00:00Z',
}
const group = [{ value: null, tenants: 2, people: 9 }]
const ANALYTICS = {
  tenants: {
    total: 2,
    people: 9,
    by_status: [{ value: 'active', tenants: 2, people: 9 }],
    by_plan: group,
    by_region: group,
    by_schema_version: group,
    by_environment: group,
    by_isolation: group,
  },
  totals: { logins: 5, failures: 1, mails: 2 },
  days: [{ day: '2026-03-31', tenants: 2, people: 9, logins: 5, failures: 1, mails: 2 }],
}
const USAGE = {
  as_of: '2026-03-31T10:00:00.000Z',
  people: 9,
  sessions: 0,
  storage_bytes: 10_485_760,
  compute_seconds: null,
  month_began_at: '2026-03-01T00:00:00.000Z',
  missing: [{ field: 'compute_seconds', reason: 'compute_is_shared' }],
}

const asked: string[] = []
const server = createServer((request, response) => {
  const url = new URL(request.url ?? '', 'http://x')
  asked.push(`${url.pathname}${url.search}`.replace('/platform/v1', ''))
  const body = url.pathname.endsWith('/analytics')
    ? ANALYTICS
    : url.pathname.endsWith('/usage')
      ? USAGE
      : url.pathname.endsWith(TENANT.id)
        ? TENANT
        : { data: [TENANT], next_cursor: null }
  response.setHeader('Content-Type', 'application/json')
  response.end(JSON.stringify(body))
})
let env: Record<string, string>

beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  env = { FREEHOLD_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, FREEHOLD_TOKEN: 'a.b.c' }
})
afterAll(() => void server.close())

describe('analytics', () => {
  test('shows tenants by what they are, and the days', async () => {
    const { code, stdout } = await freehold(['analytics', '--from', '2026-03-01', '--to', '2026-03-31'], env)
    expect([code, asked.at(-1)]).toEqual([0, '/analytics?from=2026-03-01&to=2026-03-31'])
    expect(stdout).toMatch(/^2 tenants with 9 people\n/)
    expect(stdout).toMatch(/\nstatus +active +2 +9\nplan +- +2 +9\n/)
    expect(stdout).toMatch(/\n2026-03-31 +2 +9 +5 +1 +2\n$/)
  })

  test('shows the days of one tenant, and the document with --json', async () => {
    const { code, stdout } = await freehold(['analytics', '--tenant', TENANT.id, '--json'], env)
    expect([code, asked.at(-1)]).toEqual([0, `/analytics?tenant=${TENANT.id}`])
    expect(JSON.parse(stdout)).toEqual(ANALYTICS)
    expect((await freehold(['analytics', '--tenant', TENANT.id], env)).stdout).toMatch(/^DAY/)
  })

  test('takes no day that there is not', async () => {
    const { code, stderr } = await freehold(['analytics', '--to', '2026-02-30'], env)
    expect([code, stderr]).toEqual([2, expect.stringContaining('It must be a date, as 2026-03-31.')])
  })
})

test('tenants usage shows what is known, and why not what is not', async () => {
  const { code, stdout } = await freehold(['tenants', 'usage', TENANT.id], env)
  expect(code).toBe(0)
  expect(stdout).toMatch(/people +9\n.*sessions +0\n.*storage +10\.0 MiB\n/)
  expect(stdout).toMatch(/compute +unknown: its compute is in a project with others\n/)
  expect(JSON.parse((await freehold(['tenants', 'usage', TENANT.id, '--json'], env)).stdout)).toEqual(USAGE)
})
