/** The command that compares master, KV and Neon. What each code means, and that it is mended, is shown in test/tenants/doctor. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
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
let stops: (() => Promise<void>)[] = []

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-doctor')
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
  const json = { 'Content-Type': 'application/json' }
  const answer = await fetch(`${url}/platform/v1/auth/login`, { method: 'POST', headers: json, body: JSON.stringify(OPERATOR) })
  token = String(((await answer.json()) as { access_token?: string }).access_token)
  const tenant = { subdomain: 'acme', legal_name: 'Acme', tax_id: rucFor('acme'), admin_email: 'bo@acme.test' }
  await fetch(`${url}/platform/v1/tenants`, {
    method: 'POST',
    headers: { ...json, Authorization: `Bearer ${token}`, Prefer: 'wait=30' },
    body: JSON.stringify(tenant),
  })
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

const ada = (...args: string[]) => freehold(['doctor', ...args], { FREEHOLD_URL: url, FREEHOLD_TOKEN: token })
const master = async (statement: Parameters<typeof batch>[1][number]) =>
  (await batch(String(stack.env.MASTER_DATABASE_URL), [statement]))[0] ?? []
const host = async () =>
  (
    await master(sql`select h.name, h.project_id, h.branch_id, h.owner_role from platform.hosts h where h.kind = 'database'`)
  )[0] ?? {}

/** util-linux gives a program a terminal. */
const hasTerminal = process.platform === 'linux' && existsSync('/usr/bin/script')

/** Runs `doctor --fix` on a terminal and gives each answer when it is asked for. Gives what the terminal shows. */
async function onTerminal(answers: string[]): Promise<string> {
  const main = fileURLToPath(new URL('../../scripts/freehold/main.ts', import.meta.url))
  const env = { PATH: process.env.PATH ?? '', FREEHOLD_URL: url, FREEHOLD_TOKEN: token, NO_COLOR: '1' }
  const child = spawn('/usr/bin/script', ['-qec', `${process.execPath} ${main} doctor --fix`, '/dev/null'], { env })
  let shown = ''
  let given = 0
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString()
    const asked = shown.match(/\[y\/N\] |to do it: /g)?.length ?? 0
    for (; given < Math.min(asked, answers.length); given++) child.stdin.write(`${answers[given]}\n`)
  })
  await new Promise((done) => child.once('close', done))
  return shown
}

/** A database that no tenant has. */
async function strange(name: string): Promise<string> {
  const { project_id, branch_id, owner_role, name: at } = await host()
  const answer = await fetch(`${stack.env.NEON_API_URL}/projects/${project_id}/branches/${branch_id}/databases`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${stack.env.NEON_API_KEY}` },
    body: JSON.stringify({ database: { name, owner_name: owner_role } }),
  })
  expect(answer.status).toBe(201)
  return `${at}/${name}`
}

describe('doctor', () => {
  test('of an installation that is well finds nothing, says what it looked at, and exits with 0', async () => {
    const ran = await ada()
    expect(ran).toMatchObject({ code: 0, stdout: 'Nothing is found.\n' })
    expect(ran.stderr).toMatch(
      /registry: \d+ checked, 0 found\nkv: \d+ checked, 0 found\nneon: 2? ?\d* ?checked, 0 found\nwork: \d+ checked, 0 found\n/,
    )
  })

  test('shows what it finds by check, exits with 1, and changes nothing', async () => {
    const subject = await strange('leftover')
    await master(sql`update platform.hosts set taken = taken + 1 where kind = 'database'`)
    const ran = await ada()
    expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining('freehold doctor --fix') })
    expect(ran.stdout).toMatch(
      /registry\nCODE +SUBJECT +FIX +WHAT\nhost_counted +freehold-host-[0-9a-f]{8}-\d+ +safe +Its places say 2 tenants, and 1 are there\./,
    )
    expect(ran.stdout).toContain(subject)
    expect((await ada('--check', 'kv')).code).toBe(0)
    expect((await ada('--check', 'kv', 'neon')).stdout).not.toContain('host_counted')
  })

  test('without a terminal fixes nothing unless it is told not to ask', async () => {
    const ran = await ada('--fix')
    expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining('Give --yes') })
    expect((await ada('--check', 'registry')).code).toBe(1)
    expect(await ada('--yes')).toMatchObject({ code: 2, stderr: expect.stringContaining('give --fix') })
  })

  test('with --fix --yes fixes all that can be fixed, and --json says it all in one document', async () => {
    await master(sql`update platform.tenants set created_at = now() - interval '2 days' where subdomain = 'acme'`)
    await master(sql`delete from platform.audit_heads`)
    const { code, stdout } = await ada('--fix', '--yes', '--json')
    const told = JSON.parse(stdout)
    expect([code, told.left]).toEqual([1, 1])
    expect(told.findings.map((found: { code: string }) => found.code).sort()).toEqual([
      'audit_head_missing',
      'database_of_nobody',
      'host_counted',
    ])
    expect(told.fixes.map(({ code, done }: { code: string; done: string }) => [code, done])).toEqual([
      ['host_counted', 'Its tenants were counted again.'],
      ['database_of_nobody', 'It was deleted.'],
    ])
    await master(sql`update platform.tenants set created_at = now() where subdomain = 'acme'`)
    expect(await ada('--json')).toMatchObject({ code: 0, stdout: expect.stringContaining('"findings": []') })
  })

  test.skipIf(!hasTerminal)('on a terminal asks once for what loses nothing, and for the name of what is deleted', async () => {
    const [left, gone] = [await strange('kept_one'), await strange('left_two')]
    await master(sql`update platform.hosts set taken = taken + 1 where kind = 'database'`)
    const shown = await onTerminal(['y', 'no', 'left_two'])
    expect(shown).toContain('Fix the 1 that lose nothing? [y/N]')
    expect(shown).toContain(`Delete the database with all that it holds: ${left}? Type kept_one to do it:`)
    expect(shown).toMatch(/Left as it is\.[\s\S]*Type left_two to do it:[\s\S]*It was deleted\./)
    const { findings } = JSON.parse((await ada('--json')).stdout)
    expect(findings.map(({ subject }: { subject: string }) => subject)).toEqual([left])
    expect(gone).not.toBe(left)
    expect((await ada('--fix', '--yes')).code).toBe(0)
  })

  test('refuses a check that it does not have, and explains itself', async () => {
    expect((await ada('--check', 'galaxy')).code).toBe(2)
    expect(await ada('--help')).toMatchObject({ code: 0, stdout: expect.stringContaining('FREEHOLD_TOKEN') })
  })
})
