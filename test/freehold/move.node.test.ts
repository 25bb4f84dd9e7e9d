/** The command that moves a tenant. What a move does is shown in test/tenants/move and test/faults/move. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { parseSettings } from '../../src/kernel/config.ts'
import { useSqlUrl } from '../../src/kernel/db.ts'
import { checkpointAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'
import { freehold } from './run.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
let url: string
let token = ''
let stack: Stack
let stops: (() => Promise<void>)[] = []
const send = (path: string, body: object) =>
  fetch(`${url}/platform/v1${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Prefer: 'wait=30', ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  })
const ada = (...args: string[]) => freehold(['tenants', 'move', ...args], { FREEHOLD_URL: url, FREEHOLD_TOKEN: token })

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-move')
  stops = [folder.remove]
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  url = `http://localhost:${port}`
  const quiet = { dataDir: folder.path, log: () => {} }
  const given = { ...LOW_COST, BASE_URL: url, ...KEYS }
  stack = await startStack({
    ...quiet,
    given,
    operator: { ...OPERATOR, must_change_password: false },
    durable: false,
    operationMs: 0,
  })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env, { port })
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
  expect(moved.stderr).toMatch(/rows were copied\. Requests that write were refused for \d+\.\d s\./)
  const again = await ada('acme', '--to', 'database', '--json')
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('not removed yet') })
})

test('an export over a move verifies, and not when the checkpoint of the move was changed', async () => {
  const admin = { email: 'bo@beta.test', password: 'Correct-horse-battery-7' }
  const wanted = {
    subdomain: 'beta',
    legal_name: 'beta',
    tax_id: rucFor('beta'),
    admin_email: admin.email,
    admin_password: admin.password,
  }
  expect((await send('/tenants', wanted)).status).toBe(201)
  const config = parseSettings(stack.env)
  useSqlUrl(config.NEON_SQL_URL)
  const headers = { 'Content-Type': 'application/json', 'X-Tenant': 'beta' }
  const login = async () => {
    const answer = await fetch(`${url}/api/v1/auth/login`, { method: 'POST', headers, body: JSON.stringify(admin) })
    expect(answer.status).toBe(200)
    return ((await answer.json()) as { access_token: string }).access_token
  }
  await login()
  await checkpointAudit(config, 'beta')
  expect(await ada('beta', '--to', 'project')).toMatchObject({ code: 0 })
  const bearer = { ...headers, Authorization: `Bearer ${await login()}` }
  await checkpointAudit(config, 'beta')
  const heads = (await (await fetch(`${url}/api/v1/audit/checkpoints`, { headers: bearer })).json()) as {
    data: { no: number; entries: number; hash: string }[]
  }
  const lines = await (await fetch(`${url}/api/v1/activities/export?format=ndjson`, { headers: bearer })).text()
  const cut = heads.data.find(({ entries }) => entries === 0)
  expect(cut, JSON.stringify(heads)).toBeDefined()
  const folder = await mkdtemp(join(tmpdir(), 'freehold-move-'))
  stops.unshift(() => rm(folder, { recursive: true }))
  const verify = async (said: object) => {
    const files = [join(folder, 'heads.json'), join(folder, 'export.ndjson')] as const
    await writeFile(files[0], JSON.stringify(said))
    await writeFile(files[1], lines)
    return freehold(['audit', 'verify', '--from', files[1], '--heads', files[0]], {})
  }
  const whole = await verify(heads)
  expect(whole, `${whole.stdout}${whole.stderr}`).toMatchObject({ code: 0 })
  const changed = heads.data.map((one) => (one.no === cut?.no ? { ...one, hash: 'ab'.repeat(32) } : one))
  const found = await verify({ ...heads, data: changed })
  expect(found.code).toBe(1)
  expect(`${found.stdout}${found.stderr}`).toContain(`checkpoint ${cut?.no}, or what is before it, was changed`)
})
