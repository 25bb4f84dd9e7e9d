/**
 * Threat: an operator follows a guide in an emergency, and a command in it is not one. The shell blocks of the guides on upgrading, backups
 * and keys are run as they are pasted, in front of a platform of this test, but for those that need Cloudflare; and the master is taken
 * back to an earlier moment as the guide says.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStack } from '../../scripts/dev/stack.ts'
import { batch } from '../../src/kernel/db.ts'
import { freePort, ROOT } from '../dev/running.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithCluster } from '../support/node/cluster.ts'
import { startWorker } from '../support/node/worker.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
const ADMIN = { email: 'bo@acme.test', password: 'Quiet-harbour-31' }
const NEW_KEY = `k2:${'C'.repeat(42)}E`
const NEW_OWNER_KEY = `k2:${'D'.repeat(42)}E`
const folder = mkdtempSync(join(tmpdir(), 'freehold-operators-guides-'))
const stops: (() => Promise<unknown>)[] = [async () => rmSync(folder, { recursive: true, force: true })]
let stack: Awaited<ReturnType<typeof startStack>>
let worker: Awaited<ReturnType<typeof startWorker>>
let dataDir: string
let port: number
let url: string

/** As after the deploy of the first step of a rotation: the new keys first. */
const settings = () => ({
  ...stack.env,
  ENCRYPTION_KEYS: `${NEW_KEY},${KEYS.ENCRYPTION_KEYS}`,
  OWNER_KEYS: `${NEW_OWNER_KEY},${KEYS.OWNER_KEYS}`,
})

beforeAll(async () => {
  const cluster = await folderWithCluster('freehold-operators-guides')
  stops.unshift(cluster.remove)
  dataDir = cluster.path
  port = await freePort()
  url = `http://localhost:${port}`
  const operator = { ...OPERATOR, must_change_password: false }
  const given = { ...LOW_COST, BASE_URL: url, ...KEYS }
  stack = await startStack({ dataDir, given, operator, durable: false, operationMs: 0, log: () => {} })
  stops.unshift(stack.stop)
  worker = await startWorker({ dataDir, port, env: settings(), log: () => {} })
  stops.unshift(() => worker.stop())
  const login = `freehold login --url ${url} --email ${OPERATOR.email} --password-stdin`
  expect(await shell(login.replace('freehold', 'npm run --silent freehold --'), `${OPERATOR.password}\n`)).toMatchObject({
    code: 0,
  })
  await made('acme', ADMIN.email)
}, 300_000)
afterAll(async () => {
  for (const stop of stops) await stop()
})

type Said = { code: number; stdout: string; stderr: string }

/** Runs lines in a shell of the repository, as an operator whose environment has the settings of the platform. */
function shell(lines: string, input = '', env: Record<string, string> = {}): Promise<Said> {
  const {
    MASTER_DATABASE_URL = '',
    MASTER_READER_URL = '',
    NEON_SQL_URL = '',
    ENCRYPTION_KEYS,
    OWNER_KEYS,
  } = settings() as Record<string, string> & { ENCRYPTION_KEYS: string; OWNER_KEYS: string }
  const { PATH = '', HOME = '' } = process.env
  const given = { MASTER_DATABASE_URL, MASTER_READER_URL, NEON_SQL_URL, ENCRYPTION_KEYS, OWNER_KEYS }
  const script = join(folder, 'pasted.sh')
  writeFileSync(script, lines)
  return new Promise((done) => {
    const options = { cwd: ROOT, env: { PATH, HOME, XDG_CONFIG_HOME: folder, ...given, ...env } }
    const child = execFile('sh', ['-e', script], options, (error, stdout, stderr) =>
      done({ code: Number(error?.code ?? 0), stdout, stderr }),
    )
    child.stdin?.end(input)
  })
}
const freehold = (words: string, env = {}) => shell(`npm run --silent freehold -- ${words}`, '', env)

const guide = (name: string) => readFileSync(join(ROOT, 'docs/guides', `${name}.md`), 'utf8')
/** The shell blocks of a guide, also those in lists, at the address of this test, without the lines that need Cloudflare. */
const blocks = (name: string) =>
  [...guide(name).matchAll(/^( *)```sh\n([\s\S]*?)^ *```/gm)].map(([, indent = '', block = '']) =>
    block
      .split('\n')
      .map((line) => line.slice(indent.length))
      .filter((line) => !/^(npm run deploy|npx wrangler)/.test(line))
      .join('\n')
      .replaceAll('https://id.your-company.com', url)
      .replaceAll('acme.dump', join(folder, 'acme.dump')),
  )
const block = (name: string, sign: string) => {
  const found = blocks(name).filter((text) => text.includes(sign))
  expect(found, sign).toHaveLength(1)
  return found[0] ?? ''
}

async function made(subdomain: string, admin: string) {
  const about = `tenants create ${subdomain} --legal-name ${subdomain} --admin-email ${admin}`
  const said = await freehold(about, { FREEHOLD_ADMIN_PASSWORD: ADMIN.password })
  expect(said.code, said.stderr).toBe(0)
}
const logIn = async (subdomain: string, email = ADMIN.email) =>
  (
    await fetch(`${url}/api/v1/auth/login`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Tenant': subdomain },
      body: JSON.stringify({ email, password: ADMIN.password }),
    })
  ).status

describe('upgrading.md', () => {
  it('updates the master, and says what is left to migrate and how far it is', async () => {
    const master = await shell(block('upgrading', ' setup '))
    expect(master, master.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('The master database is ready') })
    const [plan = '', run = '', status = ''] = block('upgrading', 'migrate plan').trim().split('\n')
    expect((await shell(plan)).stdout).toContain('All tenants have the newest schema')
    expect((await shell(run)).stderr).toContain('No tenant is behind the newest schema or its preset.')
    expect((await shell(status)).stderr).toContain('There was no run yet')
  }, 240_000)

  it('has commands for a run that stopped and for going back, which say when there is none', async () => {
    for (const sign of ['migrate resume', 'migrate undo acme']) {
      const said = await shell(block('upgrading', sign))
      expect([said.code, said.stderr], sign).toEqual([1, expect.stringMatching(/^error: [^\n]+/)])
    }
    expect((await freehold('migrate drift acme')).stdout).toContain('is as the migrations make it')
  }, 240_000)
})

describe('key-rotation.md', () => {
  it('rotates what is of a tenant, and nobody notices', async () => {
    const said = await shell(block('key-rotation', 'rotate-signing-key'))
    expect(said, said.stderr).toMatchObject({ code: 0 })
    expect((await freehold('tenants rotate-credentials acme --show')).code).toBe(0)
    expect(await logIn('acme')).toBe(200)
  }, 240_000)

  it('encrypts everything again under new keys, which the Worker has, and says which can go', async () => {
    const ring = await shell(block('key-rotation', 'keys new --id'), '', { ENCRYPTION_KEYS: KEYS.ENCRYPTION_KEYS })
    expect(ring.stdout).toMatch(/^k2:[\w-]{43}\n$/)
    const owners = await shell(block('key-rotation', 'keys reencrypt'))
    expect(owners, owners.stderr).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+ owner logins were encrypted again\.$/m),
    })
    const all = await shell(block('key-rotation', 'keys rotate'))
    expect(all.stderr).toMatch(/rows were encrypted again under k2\./)
  }, 240_000)
})

describe('backup-and-restore.md', () => {
  it('exports a tenant to a file that its owner alone can read', async () => {
    const said = await shell(block('backup-and-restore', 'tenants export'))
    expect(said, said.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('acme is in ') })
    expect(statSync(join(folder, 'acme.dump')).mode & 0o777).toBe(0o600)
    expect(await logIn('acme')).toBe(200)
  }, 240_000)

  it('takes the master back to an earlier moment', async () => {
    const { NEON_API_URL: api, NEON_API_KEY: key } = stack.env as Record<string, string>
    const neon = async (path: string, body?: object) => {
      const answer = await fetch(`${api}${path}`, {
        headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
        ...(body && { method: 'POST', body: JSON.stringify(body) }),
      })
      return (await answer.json()) as any
    }
    const { projects } = await neon('/projects?search=freehold-master')
    const project = projects[0].id
    const { branches } = await neon(`/projects/${project}/branches`)
    await fetch(new URL('/marks', api), { method: 'PUT', body: JSON.stringify({ branch_id: branches[0].id }) })
    await pause(50)
    const moment = new Date().toISOString()
    await pause(50)
    await made('late', 'late@late.test')
    expect((await freehold('tenants change acme --legal-name Acme2')).code).toBe(0)

    await worker.stop()
    const branch = { branch: { parent_id: branches[0].id, parent_timestamp: moment }, endpoints: [{ type: 'read_write' }] }
    const restored = await neon(`/projects/${project}/branches`, branch)
    const host = restored.endpoints[0].host
    for (const name of ['MASTER_DATABASE_URL', 'MASTER_READER_URL'] as const)
      stack.env[name] = Object.assign(new URL(String(stack.env[name])), { hostname: host }).href
    worker = await startWorker({ dataDir, port, env: settings(), log: () => {} })

    // As later on: the doctor leaves alone what changed in the last two minutes, because KV may not show it yet.
    await batch(String(stack.env.MASTER_DATABASE_URL), [
      sql`update platform.tenants set updated_at = now() - interval '3 minutes'`,
    ])
    const login = `npm run --silent freehold -- login --url ${url} --email ${OPERATOR.email} --password-stdin`
    expect(await shell(login, OPERATOR.password)).toMatchObject({ code: 0 })
    // A tenant that the master does not know any more goes on from KV, until the doctor has been there.
    expect([await logIn('acme'), await logIn('late', 'late@late.test')]).toEqual([200, 200])
    const found = async () =>
      JSON.parse((await freehold('doctor --json')).stdout).findings.map(({ code }: { code: string }) => code)
    const nobodys = ['database_of_nobody', 'login_of_nobody', 'login_of_nobody']
    expect(await found()).toEqual(['kv_stale', 'kv_orphaned', ...nobodys])
    const fixed = await freehold('doctor --fix --yes')
    expect([fixed.code, fixed.stderr]).toEqual([
      1,
      expect.stringMatching(/kv_stale acme: .*\n(.*\n)*.*which this master did not erase/),
    ])
    expect(await found()).toEqual(nobodys)
    expect(await logIn('acme')).toBe(200)
    // What an isolate knows of a tenant it keeps for a minute.
    await expect.poll(() => logIn('late', 'late@late.test'), { timeout: 120_000, interval: 3_000 }).toBe(404)
    for (const [, words = ''] of guide('backup-and-restore').matchAll(/`npm run freehold -- (audit verify \w+)`/g))
      expect((await freehold(words)).stdout).toMatch(/^Intact/)
  }, 600_000)
})
