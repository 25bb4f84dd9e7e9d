/** The command that moves a tenant. What a move does is shown in test/tenants/move and test/faults/move. */
import { createServer } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { startStack } from '../../scripts/dev/stack.ts'
import { startWorker } from '../../scripts/dev/worker.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithCluster } from '../support/node/cluster.ts'
import { freehold } from './run.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
let url: string
let token = ''
let stops: (() => Promise<void>)[] = []
const send = (path: string, body: object) =>
  fetch(`${url}/platform/v1${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Prefer: 'wait=30', ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  })
const ada = (...args: string[]) => freehold(['tenants', 'move', ...args], { FREEHOLD_URL: url, FREEHOLD_TOKEN: token })

beforeAll(async () => {
  const folder = await folderWithCluster('freehold-move')
  stops = [folder.remove]
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  url = `http://localhost:${port}`
  const quiet = { dataDir: folder.path, log: () => {} }
  const given = { ...LOW_COST, BASE_URL: url, ...KEYS }
  const stack = await startStack({
    ...quiet,
    given,
    operator: { ...OPERATOR, must_change_password: false },
    durable: false,
    operationMs: 0,
  })
  stops.unshift(stack.stop)
  const worker = await startWorker({ ...quiet, port, env: stack.env })
  stops.unshift(worker.stop)
  token = String(((await (await send('/auth/login', OPERATOR)).json()) as { access_token?: string }).access_token)
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

test('tenants move shows each step, says how long requests were refused, and why it does not move', async () => {
  const wanted = { subdomain: 'acme', legal_name: 'acme', tax_id: rucFor('acme'), admin_email: 'bo@acme.test' }
  expect((await send('/tenants', wanted)).status).toBe(201)
  expect(await ada('acme')).toMatchObject({ code: 2, stderr: expect.stringContaining('--to') })
  expect(await ada('acme', '--to', 'branch')).toMatchObject({ code: 2, stderr: expect.stringContaining('database, project') })
  expect(await ada('acme', '--to', 'database')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('has isolation database'),
  })
  const nowhere = await ada('acme', '--to', 'project', '--region', 'mars-north-1')
  expect(nowhere).toMatchObject({ code: 1, stderr: expect.stringContaining('must be one of') })
  expect(await ada('nobody', '--to', 'project')).toMatchObject({ code: 1, stderr: expect.stringContaining('no tenant nobody') })
  const moved = await ada('acme', '--to', 'project')
  expect(moved, moved.stderr).toMatchObject({ code: 0, stdout: expect.stringMatching(/^acme has isolation project, in .*\.\n$/) })
  for (const step of ['place', 'database', 'logins', 'copy', 'exchange', 'publish'])
    expect(moved.stderr).toMatch(new RegExp(`done +${step}`))
  expect(moved.stderr).toMatch(/rows were copied\. Requests were refused for \d+\.\d s\./)
  const again = await ada('acme', '--to', 'database', '--json')
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('not removed yet') })
})
