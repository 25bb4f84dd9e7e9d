/** The command that undoes the migration of one tenant. What an undo does is shown in test/faults/undo. */
import { createServer } from 'node:net'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { migrationsIn, type Stack, startStack } from '../../scripts/dev/stack.ts'
import { parseSettings } from '../../src/kernel/config.ts'
import { batch, useSqlUrl } from '../../src/kernel/db.ts'
import { migrate } from '../../src/tenants/provisioning/migrations.ts'
import { openOwnerUrl } from '../../src/tenants/provisioning/owner-url.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'
import { freehold } from './run.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
let url: string
let stack: Stack
let token: string
let stops: (() => Promise<void>)[] = []
const send = (path: string, body: object) =>
  fetch(`${url}/platform/v1${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Prefer: 'wait=30', ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  })
const ada = (...args: string[]) => freehold(['migrate', ...args], { FREEHOLD_URL: url, FREEHOLD_TOKEN: token })

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-undo')
  stops = [folder.remove]
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  url = `http://localhost:${port}`
  const quiet = { dataDir: folder.path, log: () => {} }
  stack = await startStack({
    ...quiet,
    given: { ...LOW_COST, BASE_URL: url, ...KEYS, MIGRATIONS: 'manual' },
    operator: { ...OPERATOR, must_change_password: false },
    durable: false,
    operationMs: 0,
  })
  stops.unshift(stack.stop)
  const worker = await startInWorkerd(stack.env, { port })
  stops.unshift(worker.stop)
  token = ''
  token = String(((await (await send('/auth/login', OPERATOR)).json()) as { access_token?: string }).access_token)
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

/** A tenant with a branch of its own that has the schema of the release before, and the means to write to it. */
async function behind(subdomain: string): Promise<(...statements: Parameters<typeof batch>[1]) => Promise<unknown>> {
  const wanted = { subdomain, legal_name: subdomain, tax_id: rucFor(subdomain), admin_email: `bo@${subdomain}.test` }
  expect((await send('/tenants', { ...wanted, isolation: 'branch' })).status).toBe(201)
  const config = parseSettings(stack.env)
  useSqlUrl(config.NEON_SQL_URL)
  const before = (await migrationsIn('tenant')).slice(0, -1)
  const [[row] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants set schema_version = ${before.at(-1)?.name} where subdomain = ${subdomain} returning id, owner_url_encrypted`,
  ])
  const owner = await openOwnerUrl(config, String(row?.id), String(row?.owner_url_encrypted))
  const asOwner = sql`set local role freehold_owner`
  await batch(owner, [asOwner, sql`drop schema freehold cascade`, sql`drop schema access cascade`])
  await migrate(owner, before)
  await batch(owner, [asOwner, sql`insert into freehold.tenant (id, subdomain) values (${row?.id}, ${subdomain})`])
  return (...statements) => batch(owner, [asOwner, ...statements])
}

test('migrate undo says what would be lost, asks, undoes it and says where the branch is that is left', async () => {
  const write = await behind('acme')
  expect(await ada('undo', 'acme', '--yes')).toMatchObject({ code: 1, stderr: expect.stringContaining('nothing to undo') })
  expect(await ada('run', '--now')).toMatchObject({ code: 0, stdout: expect.stringContaining('1 done, 0 failed') })
  const asked = await ada('undo', 'acme')
  expect(asked).toMatchObject({ code: 1, stderr: expect.stringMatching(/Undo the migration of acme, back to .*--yes/) })
  await write(sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'late')`)
  const refused = await ada('undo', 'acme', '--yes')
  expect(refused).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/roles +1 +0[\s\S]*--discard-writes/) })
  const done = await ada('undo', 'acme', '--yes', '--discard-writes', '--json')
  expect([done.code, done.stderr]).toEqual([0, expect.stringContaining('Undoing the migration of acme')])
  expect(JSON.parse(done.stdout)).toMatchObject({ is_possible: false, newest: { state: 'done', discard_writes: true } })
  expect(await ada('undo', 'acme', '--yes')).toMatchObject({ code: 1, stderr: expect.stringContaining('undone already') })
  expect(await ada('undo', 'nobody', '--yes')).toMatchObject({ code: 1, stderr: expect.stringContaining('no tenant nobody') })
  expect(await ada('run', '--now')).toMatchObject({ code: 0, stdout: expect.stringContaining('1 done, 0 failed') })
  const again = await ada('undo', 'acme', '--yes')
  expect(again).toMatchObject({ code: 0, stdout: expect.stringMatching(/^acme has the schema .* again\.\n$/) })
  expect(again.stderr).toMatch(/is at Neon until the tenant is erased: br-/)
})
