/** The commands that take a tenant back, and that let somebody in again. What a restore does is shown in test/faults/restore. */
import { createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'
import { freehold } from './run.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Quiet-Ledger-52-bo' }
let url: string
let token = ''
let stack: Stack
let stops: (() => Promise<void>)[] = []

async function ask(path: string, body?: object, headers: Record<string, string> = {}) {
  const bearer = token && !headers['X-Tenant'] ? { Authorization: `Bearer ${token}` } : {}
  const answer = await fetch(`${url}${path}`, {
    method: body ? 'POST' : 'GET',
    headers: { 'Content-Type': 'application/json', Prefer: 'wait=30', ...bearer, ...headers },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json().catch(() => null)) as any }
}
const ada = (args: string[], env: Record<string, string> = {}) =>
  freehold(['tenants', ...args], { FREEHOLD_URL: url, FREEHOLD_TOKEN: token, ...env })
const points = (...args: string[]) => ada(['restore-points', ...args])
const logIn = (body: object) => ask('/api/v1/auth/login', body, { 'X-Tenant': 'acme' })

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-restoring')
  stops = [folder.remove]
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  url = `http://localhost:${port}`
  const quiet = { dataDir: folder.path, log: () => {} }
  stack = await startStack({
    ...quiet,
    given: { ...LOW_COST, BASE_URL: url, ...KEYS },
    operator: { ...OPERATOR, must_change_password: false },
    durable: false,
    operationMs: 0,
  })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env, { port })
  stops.unshift(worker.stop)
  token = (await ask('/platform/v1/auth/login', OPERATOR)).body.access_token
  for (const [subdomain, isolation] of [
    ['acme', 'project'],
    ['shared', 'database'],
  ] as const) {
    const about = { subdomain, legal_name: subdomain, tax_id: rucFor(subdomain), isolation }
    const made = await ask('/platform/v1/tenants', { ...about, admin_email: ADMIN.email, admin_password: ADMIN.password })
    expect(made.status, JSON.stringify(made.body)).toBe(201)
  }
}, 120_000)

afterAll(async () => {
  for (const stop of stops) await stop()
})

/** Keeps what the tenant's branch holds now, as Neon does by itself, and returns a moment after it. */
async function mark(): Promise<string> {
  const at = async (path: string) =>
    (
      await fetch(`${stack.env.NEON_API_URL}${path}`, { headers: { Authorization: `Bearer ${stack.env.NEON_API_KEY}` } })
    ).json() as any
  const { projects } = await at('/projects?search=tenant')
  for (const { id } of projects)
    for (const branch of (await at(`/projects/${id}/branches`)).branches)
      await fetch(new URL('/marks', stack.env.NEON_API_URL), { method: 'PUT', body: JSON.stringify({ branch_id: branch.id }) })
  await new Promise((done) => setTimeout(done, 20))
  return new Date().toISOString()
}

describe('tenants restore-points', () => {
  let point: string

  test('say what they need, and which tenants have none', async () => {
    expect((await points('--help')).stdout).toMatch(/create.*show.*list.*confirm.*return.*discard/s)
    expect(await points('create', 'acme')).toMatchObject({ code: 2, stderr: expect.stringContaining('--at') })
    expect(await points('create', 'acme', '--at', 'yesterday')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('2027-01-31T12:00:00Z'),
    })
    const shared = await points('create', 'shared', '--at', new Date().toISOString())
    expect(shared).toMatchObject({ code: 1, stderr: expect.stringContaining('one of isolation project can') })
    const outside = await points('create', 'acme', '--at', '2020-01-01T00:00:00Z')
    expect(outside).toMatchObject({ code: 1, stderr: expect.stringContaining('is outside the window of the tenant') })
    expect((await points('list', 'acme')).stderr).toContain('It has had no restore point.')
    expect((await points('show', 'acme')).stdout).toContain('It can be taken back to moments from')
    expect(await points('show', 'nobody')).toMatchObject({ code: 1, stderr: expect.stringContaining('no tenant nobody') })
  })

  test('one is created, says what differs, and is discarded', async () => {
    const at = await mark()
    const bo = (await logIn(ADMIN)).body.access_token
    const ann = await ask(
      '/api/v1/users',
      { email: 'ann@acme.test', username: 'ann' },
      { 'X-Tenant': 'acme', Authorization: `Bearer ${bo}` },
    )
    expect(ann.status).toBe(201)
    const made = await points('create', 'acme', '--at', at)
    expect(made, made.stderr).toMatchObject({ code: 0, stderr: expect.stringContaining('Making the restore point of acme') })
    expect(made.stdout).toMatch(/people +added +1 +ann/)
    point = JSON.parse((await points('show', 'acme', '--json')).stdout).newest.id
    expect(made.stderr).toContain(`restore-points confirm acme ${point} --confirm acme`)
    expect((await points('create', 'acme', '--at', at)).stderr).toContain('delete it first')
    expect((await points('discard', 'acme', point, '--yes')).code).toBe(0)
    expect(await points('discard', 'acme', point, '--yes')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('does not wait for a confirmation'),
    })
    const again = JSON.parse((await points('create', 'acme', '--at', at, '--json')).stdout)
    point = again.newest.id
    expect(again.newest.state).toBe('ready')
  }, 60_000)

  test('one is confirmed by repeating the subdomain, and gone back from', async () => {
    const without = await points('confirm', 'acme', point)
    expect(without).toMatchObject({ code: 1, stderr: expect.stringContaining('repeat the subdomain with --confirm acme') })
    expect((await points('confirm', 'acme', point, '--confirm', 'shared')).code).toBe(1)
    expect((await points('confirm', 'acme', crypto.randomUUID(), '--confirm', 'acme')).code).toBe(1)
    const restored = await points('confirm', 'acme', point, '--confirm', 'acme')
    expect(restored, restored.stderr).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('The state before can be gone back to until'),
    })
    const names = async () => {
      await logIn(ADMIN)
      const bo = (await logIn(ADMIN)).body.access_token
      return (await ask('/api/v1/users', undefined, { 'X-Tenant': 'acme', Authorization: `Bearer ${bo}` })).body.data.map(
        ({ username }: any) => username,
      )
    }
    expect(await names()).not.toContain('ann')
    const returned = await points('return', 'acme', point, '--confirm', 'acme')
    expect(returned, returned.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('returned') })
    expect(await names()).toContain('ann')
    const listed = await points('list', 'acme')
    expect(listed.stdout).toMatch(new RegExp(`${point} +returned.*\n.* dropped`))
    const first = JSON.parse((await points('list', 'acme', '--limit', '1', '--json')).stdout)
    expect([first.data.length, typeof first.next_cursor]).toEqual([1, 'string'])
    const next = await ask(
      `/platform/v1/tenants/${JSON.parse((await points('show', 'acme', '--json')).stdout).tenant_id}/restore-points?limit=5&cursor=${first.next_cursor}`,
    )
    expect(next.body.data.map(({ state }: any) => state)).toEqual(['dropped'])
  }, 120_000)
})

test('tenants reset-password gives a first password, generated and shown once, or given', async () => {
  const reset = (...args: string[]) => ada(['reset-password', 'acme', '--yes', ...args])
  expect(await reset('--email', 'nobody@acme.test')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('There is no user like this'),
  })
  expect(await reset('--email', ADMIN.email, '--user-id', crypto.randomUUID())).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('Give either --email or --user-id.'),
  })
  const made = await reset()
  expect(made, made.stderr).toMatchObject({
    code: 0,
    stderr: expect.stringContaining(`${ADMIN.email} of acme has a first password`),
  })
  const entered = await logIn({ email: ADMIN.email, password: made.stdout.trim() })
  expect([entered.status, entered.body.must_change_password]).toEqual([200, true])
  const weak = await ada(['reset-password', 'acme', '--yes'], { FREEHOLD_NEW_PASSWORD: 'short' })
  expect(weak).toMatchObject({ code: 1, stderr: expect.stringContaining('new_password') })
  const given = await ada(['reset-password', 'acme', '--yes', '--email', ADMIN.email, '--json'], {
    FREEHOLD_NEW_PASSWORD: 'Marble-Kettle-52',
  })
  expect(JSON.parse(given.stdout)).toMatchObject({ must_change_password: true })
  expect(given.stdout).not.toContain('Marble')
  expect((await logIn({ email: ADMIN.email, password: 'Marble-Kettle-52' })).status).toBe(200)
})
