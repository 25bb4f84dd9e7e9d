/** The commands that take tenants to the newest schema. That they are behind is only said here: what a migration does is shown in test/tenants/fleet. */
import { createServer } from 'node:net'
import { sql } from 'drizzle-orm'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { migrationsIn, type Stack, startStack } from '../../scripts/dev/stack.ts'
import { batch } from '../../src/kernel/db.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'
import { freehold } from './run.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
let url: string
let stack: Stack
let token: string
let names: string[]
let stops: (() => Promise<void>)[] = []

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-migrate')
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
  const answer = await fetch(`${url}/platform/v1/auth/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(OPERATOR),
  })
  token = String(((await answer.json()) as { access_token?: string }).access_token)
  names = (await migrationsIn('tenant')).map(({ name }) => name)
  for (const subdomain of ['acme', 'beta', 'gamma'])
    await fetch(`${url}/platform/v1/tenants`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}`, Prefer: 'wait=30' },
      body: JSON.stringify({ subdomain, legal_name: subdomain, tax_id: rucFor(subdomain), admin_email: `bo@${subdomain}.test` }),
    })
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

const ada = (...args: string[]) => freehold(['migrate', ...args], { FREEHOLD_URL: url, FREEHOLD_TOKEN: token })
const master = (statement: Parameters<typeof batch>[1][number]) => batch(String(stack.env.MASTER_DATABASE_URL), [statement])
const setBack = (...subdomains: string[]) =>
  master(
    sql`update platform.tenants set schema_version = ${names.at(-2)} where subdomain in (select jsonb_array_elements_text(${JSON.stringify(subdomains)}::jsonb))`,
  )

describe('migrate', () => {
  test('says what there is to do, does it with progress, and says how it went', async () => {
    expect(await ada('plan')).toMatchObject({ code: 0, stdout: `All tenants have the newest schema, ${names.at(-1)}.\n` })
    expect(await ada('status')).toMatchObject({ code: 1, stderr: expect.stringContaining('There was no run yet') })
    expect(await ada('run')).toMatchObject({ code: 1, stderr: expect.stringContaining('No tenant is behind') })
    await setBack('acme', 'beta', 'gamma')
    const plan = await ada('plan')
    expect(plan.stdout).toMatch(/^3 tenants are behind tenant\/\d{4}_\w+ or their preset\.\n[\s\S]*canary +1\n/)
    const run = await ada('run', '--now')
    expect(run).toMatchObject({ code: 0, stdout: expect.stringMatching(/state +done[\s\S]*3 done, 0 failed/) })
    expect(run.stderr).toMatch(/#{30} 3 of 3/)
    expect(await ada('status')).toMatchObject({ code: 0, stdout: expect.stringMatching(/state +done/) })
    const report = await ada('status', '--tenants')
    for (const name of ['acme', 'beta', 'gamma'])
      expect(report.stdout).toMatch(new RegExp(`\\n${name} +done +${names.at(-2)} +${names.at(-1)} +\\d+ +-`))
    expect(await ada('resume')).toMatchObject({ code: 1, stderr: expect.stringContaining('nothing to resume') })
  })

  test('names what was changed by hand, which a run leaves as it is', async () => {
    expect(await ada('drift', 'gamma')).toMatchObject({
      code: 0,
      stdout: 'The database of gamma is as the migrations make it.\n',
    })
    const [rows] = await master(sql`select database_name from platform.tenants where subdomain = 'gamma'`)
    const at = Object.assign(new URL(stack.neon.postgresUrl), { pathname: `/${rows?.[0]?.database_name}` }).href
    const client = new Client({ connectionString: at })
    await client.connect()
    await client.query('create table freehold.planted (id integer); alter policy read on freehold.units using (true)')
    await client.end()
    const drift = await ada('drift', 'gamma')
    expect([drift.code, drift.stdout]).toEqual([1, expect.stringMatching(/changed +policy read on freehold\.units\n/)])
    expect(JSON.parse((await ada('drift', 'gamma', '--json')).stdout)).toMatchObject({ is_compared: true, ledger: [] })
    await setBack('gamma')
    const run = await ada('run', '--now')
    expect([run.code, run.stdout]).toEqual([0, expect.stringMatching(/DRIFTED +OBJECTS +FIRST\ngamma +3 +column freehold/)])
    expect((await ada('drift', 'gamma')).stdout).toBe(drift.stdout)
    expect(await ada('drift', 'nobody')).toMatchObject({ code: 1, stderr: expect.stringContaining('no tenant nobody') })
  })

  test('names what failed and why, exits with 1, and goes on when that is mended', async () => {
    await setBack('beta')
    await master(sql`update platform.tenants set owner_url_encrypted = null, v = v where subdomain = 'beta'`)
    const run = await ada('run', '--now', '--json')
    const { state, reason, failures } = JSON.parse(run.stdout)
    expect(failures[0]).toMatchObject({ from: names.at(-2), to: names.at(-1), ms: expect.any(Number) })
    expect([run.code, state, reason, failures.length, failures[0].subdomain, failures[0].error]).toEqual([
      1,
      'stopped',
      '1 of 1 tenants failed',
      1,
      'beta',
      'The tenant has no owner login.',
    ])
  })

  test.each([['plan'], ['run'], ['status'], ['resume'], ['undo'], ['drift']])('%s has its help', async (name) => {
    expect(await ada(name, '--help')).toMatchObject({ code: 0, stdout: expect.stringContaining('FREEHOLD_TOKEN') })
  })
})
