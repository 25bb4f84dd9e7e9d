import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rucFor } from '../../scripts/dev/settings.ts'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import type { Fault } from '../../scripts/local-neon/fault.ts'
import { batch } from '../../src/kernel/db.ts'
import { reachOf } from '../../src/presets/grants.ts'
import { groups } from '../../src/presets/groups.ts'
import { presets } from '../../src/presets/presets.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { startInWorkerd } from '../support/node/workerd.ts'
import { ended, freehold, started } from './run.ts'

const OPERATOR = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
/** Databases of shared hosts may be copied without Neon's API. */
const SLOW: Fault = { match: { method: 'POST', path: '/branches$' }, times: 100, kind: 'delay', ms: 2_500 }
const BROKEN: Fault = { ...SLOW, kind: 'status', status: 400, body: '{"code":"","message":"the disk is full"}' }

let dataDir: string
let url: string
let token: string
let stack: Stack
let stops: (() => Promise<void>)[] = []

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-cli')
  dataDir = folder.path
  stops = [folder.remove]
  const port = await freePort()
  url = `http://localhost:${port}`
  const given = { ...LOW_COST, BASE_URL: url, ...KEYS }
  const quiet = { dataDir, log: () => {} }
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
  token = String((await login(OPERATOR.email, OPERATOR.password)).access_token)
})

afterAll(async () => {
  for (const stop of stops) await stop()
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const address = server.address()
  await new Promise((done) => server.close(done))
  return typeof address === 'object' && address ? address.port : 0
}

const asAda = () => ({ FREEHOLD_URL: url, FREEHOLD_TOKEN: token })
const withPassword = (password: string) => ({ FREEHOLD_URL: url, FREEHOLD_EMAIL: OPERATOR.email, FREEHOLD_PASSWORD: password })
const ada = (...args: string[]) => freehold(args, asAda())
const creation = (subdomain: string, ...more: string[]) => {
  const about = [
    '--legal-name',
    `The ${subdomain} company`,
    '--tax-id',
    rucFor(subdomain),
    '--admin-email',
    `bo@${subdomain}.test`,
  ]
  return ['tenants', 'create', subdomain, ...about, ...more]
}
const switchOn = (...faults: Fault[]) =>
  fetch(new URL('/faults', stack.neon.apiUrl), { method: 'PUT', body: JSON.stringify(faults) })

/** What a login at the platform or, with a tenant's name, there says. */
async function login(email: string, password: string, tenant?: string) {
  const response = await fetch(`${url}/${tenant ? 'api' : 'platform'}/v1/auth/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(tenant && { 'X-Tenant': tenant }) },
    body: JSON.stringify({ email, password }),
  })
  return { status: response.status, ...((await response.json()) as { must_change_password?: boolean; access_token?: string }) }
}

const passwordIn = (text: string) => /^ +password +(\S+)$/m.exec(text)?.[1] ?? ''

describe.concurrent('tenants create', () => {
  test('tells each step on stderr, and at the end address and password, once', async () => {
    const { code, stdout, stderr } = await ada(...creation('acme'))
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^( {2}done +[a-z_]+ +\d+\.\d s( {2}try \d+)?\n)+$/),
    })
    expect(stderr).toMatch(/ reserve .* database .* activate /s)
    expect(stdout).toMatch(/status +active/)
    expect(stdout).toContain(url.replace('://', '://acme.'))
    const password = passwordIn(stdout)
    expect((stdout + stderr).split(password)).toHaveLength(2)
    expect(await login('bo@acme.test', password, 'acme')).toMatchObject({ status: 200, must_change_password: true })
  })

  test('is one document on stdout with --json', async () => {
    expect((await ada('plans', 'create', 'gold')).code).toBe(0)
    const { code, stdout, stderr } = await ada(...creation('beta', '--json', '--environment', 'production', '--plan', 'gold'))
    expect(code).toBe(0)
    expect(stderr).toContain('activate')
    const made = JSON.parse(stdout)
    expect(made).toMatchObject({ subdomain: 'beta', status: 'active', is_active: true, environment: 'production', plan: 'gold' })
    expect(made.initial_admin).toMatchObject({ email: 'bo@beta.test', must_change_password: true })
    expect(made.provisioning.map(({ state }: { state: string }) => state)).toEqual(Array(made.provisioning.length).fill('done'))
    expect(await login('bo@beta.test', made.initial_admin.password, 'beta')).toMatchObject({ status: 200 })
  })

  test('makes one with a project of its own, in the region that is named', async () => {
    const { code, stdout } = await ada(...creation('eta', '--json', '--isolation', 'project', '--region', 'aws-eu-central-1'))
    expect(code, stdout).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ status: 'active', isolation: 'project', region: 'aws-eu-central-1' })
    const refused = await ada(...creation('eta-nowhere', '--region', 'aws-eu-central-1'))
    expect([refused.code, refused.stderr.includes('use isolation project')], refused.stderr).toEqual([1, true])
  })

  test('takes the password of the administrator from the environment and does not repeat it', async () => {
    const password = 'Quiet-harbour-31'
    const { code, stdout, stderr } = await freehold(creation('gamma'), { ...asAda(), FREEHOLD_ADMIN_PASSWORD: password })
    expect(code).toBe(0)
    expect(stdout + stderr).not.toContain(password)
    expect(await login('bo@gamma.test', password, 'gamma')).toMatchObject({ status: 200, must_change_password: false })
  })

  test('does not wait with --no-wait, and shows the password all the same', async () => {
    const { code, stdout, stderr } = await ada(...creation('delta', '--no-wait'))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/status +provisioning/)
    expect(passwordIn(stdout)).toHaveLength(20)
  })

  test('with a wrong tax id ends with 1 and points at it', async () => {
    const { code, stdout, stderr } = await ada(...creation('epsilon', '--tax-id', '20123456780'))
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^error: The request is not valid\.\n/)
    expect(stderr).toContain('  #/tax_id: has a wrong check digit (RUC)\n')
    expect(stderr).toMatch(/Trace id: [0-9a-f]{32}\n$/)
  })
})

describe('tenants adopt', () => {
  const neon = async (method: string, path: string, body?: object) => {
    const headers = { Authorization: `Bearer ${stack.neon.apiKey}`, 'Content-Type': 'application/json' }
    const sent = body ? { body: JSON.stringify(body) } : {}
    return (await fetch(`${stack.neon.apiUrl}${path}`, { method, headers, ...sent })).json() as any
  }
  const adoption = (subdomain: string, ...more: string[]) => [
    'tenants',
    'adopt',
    ...creation(subdomain).slice(2),
    '--connection-string-file',
    ...more,
  ]

  test('takes the connection string from a file or from stdin, never repeats it, and reconnect takes the next one', async () => {
    const { project, branch, roles, connection_uris } = await neon('POST', '/projects', { project: { name: 'stranger-cli' } })
    const given: string = connection_uris[0].connection_uri
    const file = join(dataDir, 'stranger.txt')
    await writeFile(file, `${given}\n`)
    const { code, stdout, stderr } = await ada(...adoption('adopted', file))
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/ prove .* activate /s) })
    expect(stdout + stderr).not.toContain(new URL(given).password)
    expect(await login('bo@adopted.test', passwordIn(stdout), 'adopted')).toMatchObject({ status: 200 })

    const { role } = await neon('POST', `/projects/${project.id}/branches/${branch.id}/roles/${roles[0].name}/reset_password`)
    const child = started(['tenants', 'reconnect', 'adopted', '--connection-string-file', '-'], asAda())
    child.stdin.end(Object.assign(new URL(given), { password: role.password }).href)
    expect(await ended(child)).toEqual({ code: 0, stdout: '', stderr: 'The new connection string of adopted is accepted.\n' })
    const old = await ada('tenants', 'reconnect', 'adopted', '--connection-string-file', file)
    expect(old).toMatchObject({ code: 1, stderr: expect.stringContaining('#/connection_string: is not accepted at ep-') })
    expect(old.stderr).not.toContain(new URL(given).password)

    await neon('POST', `/projects/${project.id}/branches/${branch.id}/roles/${roles[0].name}/reset_password`)
    const stuck = await ada('tenants', 'delete', 'adopted', '--hard', '--confirm', 'adopted')
    expect(stuck).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('adopted is not erased yet. The connection string is no longer accepted'),
    })
    expect((await ada('tenants', 'show', 'adopted')).stderr).toContain('The connection string is no longer accepted')
  })

  test('names a file that is not there, or is empty', async () => {
    const missing = await ada(...adoption('adopted-not', join(dataDir, 'nowhere.txt')))
    expect(missing).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error: --connection-string-file: .*nowhere\.txt cannot be read\.\n$/),
    })
    const file = join(dataDir, 'empty.txt')
    await writeFile(file, '\n')
    expect((await ada(...adoption('adopted-not', file))).stderr).toMatch(/empty\.txt is empty\.\n$/)
  })
})

describe('tenants create, when things go wrong,', () => {
  test('shows the password also when it waited in vain, or was interrupted', async () => {
    await switchOn(SLOW)
    const child = started(creation('cut', '--isolation', 'branch', '--json'), asAda())
    child.stderr.once('data', () => child.kill('SIGINT'))
    const [late, cut] = await Promise.all([ada(...creation('late', '--isolation', 'branch', '--wait', '1')), ended(child)])
    expect(late).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Not ready after 1 s. The tenant late is still being created'),
    })
    expect(cut).toMatchObject({ code: 130, stderr: expect.stringContaining('Interrupted.') })
    expect(passwordIn(late.stdout)).toHaveLength(20)
    expect(JSON.parse(cut.stdout)).toMatchObject({ status: 'provisioning', initial_admin: { password: expect.any(String) } })
  })

  test('that fails names step, reason and how to go on; going on ends well, with the same password', async () => {
    await switchOn(BROKEN)
    const running = ended(started(creation('halt', '--isolation', 'branch'), asAda()))
    await giveUp('halt')
    const { code, stdout, stderr } = await running
    expect({ code, status: /status +(\S+)/.exec(stdout)?.[1] }).toEqual({ code: 1, status: 'failed' })
    expect(stderr).toMatch(/the step database failed after \d+ (try|tries): .*the disk is full/)
    expect(stderr).toContain('freehold tenants retry halt')
    expect((await ada('tenants', 'show', 'halt')).stderr).toMatch(/the disk is full[\s\S]*Trace id: [0-9a-f]{32}\n/)
    expect((await ada('tenants', 'show', 'halt', '--steps')).stdout).toMatch(
      /\ndatabase +failed +\d+ +[0-9a-f]{32} +.*the disk is full/,
    )
    await switchOn()
    const again = await ada('tenants', 'retry', 'halt', '--json')
    expect(again.code, again.stderr).toBe(0)
    expect(JSON.parse(again.stdout)).toMatchObject({ subdomain: 'halt', status: 'active' })
    expect(await login('bo@halt.test', passwordIn(stdout), 'halt')).toMatchObject({ status: 200 })
  })

  /** Ends the making of a tenant as its last try would, which is a minute away, as soon as one try has failed. */
  async function giveUp(subdomain: string) {
    for (;;) {
      const [given = []] = await batch(String(stack.env.MASTER_DATABASE_URL), [
        sql`with stuck as (select s.* from platform.provisioning_steps s join platform.tenants t on t.id = s.tenant_id
                where t.subdomain = ${subdomain} and s.error is not null),
              run as (update platform.provisioning_runs r set state = 'failed' from stuck where r.tenant_id = stuck.tenant_id and r.state = 'running'),
              step as (update platform.provisioning_steps s set state = 'failed' from stuck where s.tenant_id = stuck.tenant_id and s.name = stuck.name)
            update platform.tenants t set status = 'failed' from stuck where t.id = stuck.tenant_id returning t.id`,
      ])
      if (given.length) return
      await pause(50)
    }
  }

  test('of a subdomain that is taken is refused, for a machine as the problem itself', async () => {
    const { code, stdout, stderr } = await ada(...creation('acme', '--tax-id', rucFor('other'), '--json'))
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('The subdomain acme is taken.') })
    expect(JSON.parse(stdout)).toMatchObject({ status: 409, code: 'subdomain_taken' })
  })
})

describe('tenants list', () => {
  test('is an aligned table, newest first, without colours where nobody looks', async () => {
    const { code, stdout, stderr } = await freehold(['tenants', 'list'], { ...asAda(), FORCE_COLOR: '1' })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [head = '', ...rows] = stdout.trimEnd().split('\n')
    expect(head).toMatch(/^SUBDOMAIN +STATUS +ENVIRONMENT +ISOLATION +CREATED \(UTC\) +LEGAL NAME$/)
    expect(rows.find((row) => row.startsWith('acme '))).toMatch(
      /^acme +active +production +database +\d{4}-\d\d-\d\d \d\d:\d\d +The acme company$/,
    )
    for (const row of rows) expect(row.indexOf('The ')).toBe(head.indexOf('LEGAL NAME'))
    expect(stdout).not.toContain('\u001b')
  })

  test('follows the cursor up to the limit, and says that there are more', async () => {
    const tenants = sql`select count(*)::integer as count from platform.tenants`
    await batch(String(stack.env.MASTER_DATABASE_URL), [
      sql`insert into platform.tenants (id, subdomain, legal_name, tax_id, country, region, admin_email, environment, status, isolation, role_preset, database_name, created_at)
          select gen_random_uuid(), 'many-' || n, 'The many', 'many-' || n, 'CL', region, admin_email, environment, 'inactive', isolation, role_preset, 'many_' || n, '2020-01-01'
          from platform.tenants t, generate_series(1, 120) as n where t.subdomain = 'acme'`,
    ])
    const [[row] = []] = await batch(String(stack.env.MASTER_DATABASE_URL), [tenants])
    const all = JSON.parse((await ada('tenants', 'list', '--json', '--limit', '1000')).stdout)
    expect(new Set(all.data.map(({ id }: { id: string }) => id)).size).toBe(row?.count)
    expect(all.next_cursor).toBeNull()
    const [first] = all.data
    const named = await ada(
      'tenants',
      'list',
      '--json',
      '--search',
      first.subdomain,
      '--status',
      first.status,
      '--sort',
      'subdomain',
    )
    expect(JSON.parse(named.stdout).data.map(({ id }: { id: string }) => id)).toContain(first.id)
    expect((await ada('tenants', 'list', '--search', 'nobody-has-this-name')).stderr).toContain('There is no such tenant.')
    expect(await ada('tenants', 'list', '--status', 'asleep')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('status'),
    })
    const some = await ada('tenants', 'list', '--limit', '2')
    expect(some.stdout.trimEnd().split('\n')).toHaveLength(3)
    expect(some.stderr).toBe('There are more than 2; see --limit.\n')
    expect((await ada('tenants', 'show', 'many-1')).stdout).toMatch(/status +inactive/)
  })
})

describe('tenants show', () => {
  test('finds one by subdomain and by id, as a person reads it and as one document', async () => {
    const shown = await ada('tenants', 'show', 'ACME', '--json')
    expect(shown).toMatchObject({ code: 0, stderr: '' })
    const tenant = JSON.parse(shown.stdout)
    expect(tenant).toMatchObject({ subdomain: 'acme', tax_id: rucFor('acme'), database_name: 'freehold_acme' })
    const { stdout } = await ada('tenants', 'show', tenant.id)
    expect(stdout).toMatch(/^ +subdomain +acme\n +status +active\n/)
    expect(stdout).toContain('freehold_acme')
  })

  test('of one that is not there ends with 1', async () => {
    expect(await ada('tenants', 'show', 'nobody')).toEqual({ code: 1, stdout: '', stderr: 'error: There is no tenant nobody.\n' })
    const { code, stderr } = await ada('tenants', 'show', crypto.randomUUID())
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('There is nothing here.') })
  })
})

describe('tenants rename and change', () => {
  test('change what is noted, and the name; say so in words and as JSON; and what is wrong with what', async () => {
    expect(
      await ada('tenants', 'create', 'short', '--legal-name', 'The short one', '--admin-email', 'bo@short.test'),
    ).toMatchObject({ code: 0 })
    const changed = await ada('tenants', 'change', 'short', '--plan', 'gold', '--config', '{"crm_id": 7}')
    expect(changed).toEqual({ code: 0, stdout: '', stderr: 'short is changed.\n' })
    const again = await ada(
      'tenants',
      'change',
      'short',
      '--plan',
      '',
      '--contact-name',
      'Eve',
      '--config',
      '{"note": ["x"]}',
      '--json',
    )
    expect(JSON.parse(again.stdout)).toMatchObject({
      plan: null,
      contact_name: 'Eve',
      config: { crm_id: 7, note: ['x'] },
      tax_id: null,
    })
    expect(await ada('tenants', 'change', 'short')).toMatchObject({ code: 2, stderr: 'error: Say what to change; see --help.\n' })
    expect((await ada('tenants', 'change', 'short', '--config', '{')).stderr).toBe('error: --config: this is not JSON.\n')

    const renamed = await ada('tenants', 'rename', 'short', 'shorter')
    expect(renamed).toEqual({ code: 0, stdout: '', stderr: `short is shorter now, at ${url.replace('://', '://shorter.')}.\n` })
    expect(await ada('tenants', 'show', 'short')).toMatchObject({ code: 1, stderr: 'error: There is no tenant short.\n' })
    expect((await ada('tenants', 'list', '--search', 'short', '--json')).stdout).toContain('"former_subdomains"')
    const back = JSON.parse((await ada('tenants', 'rename', 'shorter', 'short', '--json')).stdout)
    expect(back).toMatchObject({ subdomain: 'short', former_subdomains: [{ subdomain: 'shorter' }] })
    const reserved = await ada('tenants', 'rename', 'short', 'admin')
    expect(reserved).toMatchObject({ code: 1, stderr: expect.stringContaining('The subdomain admin is reserved.') })
  })
})

describe('who asks', () => {
  test('may be the operator whom a local start keeps', async () => {
    const data = join(dataDir, 'kept')
    await mkdir(data)
    await writeFile(join(data, 'credentials.json'), JSON.stringify({ operator: OPERATOR }))
    expect(await freehold(['--url', url, '--data', data, 'tenants', 'show', 'acme'])).toMatchObject({ code: 0, stderr: '' })
  })

  test('with a wrong password is refused, and told where it came from', async () => {
    const { code, stdout, stderr } = await freehold(['tenants', 'list'], withPassword('Wrong-horse-7'))
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain('The credentials are not valid.')
    expect(stderr).toContain('FREEHOLD_PASSWORD')
    expect(stderr).not.toContain('Wrong-horse-7')
  })

  test('with a password leaves no session behind', async () => {
    const open = sql`select count(*)::integer as count from freehold.sessions where ended_at is null`
    const count = async () => (await batch(String(stack.env.MASTER_DATABASE_URL), [open]))[0]?.[0]?.count
    const before = await count()
    expect(await freehold(['tenants', 'list'], withPassword(OPERATOR.password))).toMatchObject({ code: 0 })
    expect(await count()).toBe(before)
  })
})

describe.concurrent('setup', () => {
  const master = () => ({
    MASTER_DATABASE_URL: String(stack.env.MASTER_DATABASE_URL),
    MASTER_READER_URL: String(stack.env.MASTER_READER_URL),
    ENCRYPTION_KEYS: String(stack.env.ENCRYPTION_KEYS),
    OWNER_KEYS: String(stack.env.OWNER_KEYS),
    NEON_SQL_URL: stack.neon.sqlUrl,
  })

  test('makes an operator who must change the password, and leaves it alone when it is run again', async () => {
    const first = await freehold(['setup', '--email', 'Cy@freehold.test', '--json'], master())
    expect(first).toMatchObject({ code: 0, stderr: '' })
    const { operator } = JSON.parse(first.stdout)
    expect(operator).toMatchObject({ is_new: true, must_change_password: true })
    const second = await freehold(['setup', '--email', 'cy@freehold.test'], master())
    expect(second).toMatchObject({ code: 0, stdout: expect.stringContaining('exists already') })
    expect(passwordIn(second.stdout)).toBe('')
    expect(await login('cy@freehold.test', operator.password)).toMatchObject({ status: 200, must_change_password: true })
    const env = { FREEHOLD_URL: url, FREEHOLD_EMAIL: 'cy@freehold.test', FREEHOLD_PASSWORD: operator.password }
    const refused = await freehold(['tenants', 'list'], env)
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('/platform/v1/auth/password-change') })
    expect(await login(OPERATOR.email, OPERATOR.password)).toMatchObject({ status: 200 })
  })

  test('shows a person the password of a new operator', async () => {
    const { code, stdout } = await freehold(['setup', '--email', 'dee@freehold.test'], master())
    expect(code).toBe(0)
    expect(await login('dee@freehold.test', passwordIn(stdout))).toMatchObject({ status: 200 })
  })

  test('of the platform’s keys and of owner logins', async () => {
    const rotated = await freehold(['tenants', 'rotate-keys', 'platform'], master())
    expect(rotated).toMatchObject({ code: 0, stderr: expect.stringMatching(/^New keys of platform are used from 2.*Z; /) })
    const again = await freehold(['tenants', 'rotate-keys', 'platform'], master())
    expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: The keys that are used from 2.*Z are new: /) })
    expect(await login(OPERATOR.email, OPERATOR.password)).toMatchObject({ status: 200 })
    const setup = await freehold(['setup', '--email', OPERATOR.email], master())
    expect(setup).toMatchObject({ code: 0, stdout: expect.stringContaining('exists already') })
    expect(await login(OPERATOR.email, OPERATOR.password)).toMatchObject({ status: 200 })
    expect(await ada(...creation('sealed-again'))).toMatchObject({ code: 0 })
    const fresh = `o2:${'B'.repeat(42)}E`
    const OWNER_KEYS = `${fresh},${master().OWNER_KEYS}`
    const before = await freehold(['keys', 'reencrypt', '--json'], master())
    expect(JSON.parse(before.stdout)).toEqual({ reencrypted: 0 })
    const moved = await freehold(['keys', 'reencrypt', '--json'], { ...master(), OWNER_KEYS })
    expect(JSON.parse(moved.stdout).reencrypted).toBeGreaterThan(1)
    const back = await freehold(['keys', 'reencrypt', '--json'], { ...master(), OWNER_KEYS: `${master().OWNER_KEYS},${fresh}` })
    expect(JSON.parse(back.stdout)).toEqual(JSON.parse(moved.stdout))
  })

  test('whose reader names another database says so', async () => {
    const MASTER_READER_URL = Object.assign(new URL(master().MASTER_READER_URL), { pathname: '/another' }).href
    const { code, stderr } = await freehold(['setup', '--email', OPERATOR.email], { ...master(), MASTER_READER_URL })
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('MASTER_READER_URL: this login does not read the registry.'),
    })
    expect(stderr).not.toContain(new URL(MASTER_READER_URL).password)
  })

  test('of a database that does not let it in names the setting, not the password', async () => {
    const MASTER_DATABASE_URL = master().MASTER_DATABASE_URL.replace(/:[^:@]+@/, ':wrong-password@')
    const { code, stderr } = await freehold(['setup', '--email', 'ada@freehold.test'], { ...master(), MASTER_DATABASE_URL })
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^error: MASTER_DATABASE_URL: .*authentication failed/),
    })
    expect(stderr).not.toContain('wrong-password')
  })
})

describe('switching and deleting', () => {
  const status = async (name: string) => JSON.parse((await ada('tenants', 'show', name, '--json')).stdout).status

  test('a tenant goes off and on, is deleted and restored, and erased only when its name is repeated', async () => {
    await ada(...creation('switchable'))
    expect(await ada('tenants', 'deactivate', 'switchable')).toMatchObject({ code: 0, stderr: 'switchable is inactive.\n' })
    expect(await status('switchable')).toBe('inactive')
    expect(await ada('tenants', 'activate', 'switchable')).toMatchObject({ code: 0, stderr: 'switchable is active.\n' })
    const words = /^New keys of switchable are used from 2.*Z; the former ones are accepted until 2.*Z\.\n$/
    expect(await ada('tenants', 'rotate-keys', 'switchable')).toMatchObject({ code: 0, stderr: expect.stringMatching(words) })
    expect((await ada('tenants', 'rotate-keys', 'switchable')).stderr).toContain('rotate them again half an hour later')
    const unasked = await ada('tenants', 'delete', 'switchable', '--json')
    expect({ code: unasked.code, said: JSON.parse(unasked.stdout) }).toMatchObject({
      code: 1,
      said: { code: 'confirmation_required', detail: expect.stringMatching(/Repeat it with --yes\.$/) },
    })
    expect(await status('switchable')).toBe('active')
    expect((await ada('tenants', 'delete', 'switchable', '--yes')).stderr).toMatch(/^switchable is deleted/)
    expect(await status('switchable')).toBe('deleted')
    expect((await ada('tenants', 'activate', 'switchable')).stderr).toContain('The tenant is deleted, not inactive.')
    expect(JSON.parse((await ada('tenants', 'restore', 'switchable', '--json')).stdout).status).toBe('active')
    const unsure = await ada('tenants', 'delete', 'switchable', '--hard')
    expect(unsure).toMatchObject({ code: 1, stderr: expect.stringContaining('--confirm switchable') })
    const { id } = JSON.parse((await ada('tenants', 'show', 'switchable', '--json')).stdout)
    expect((await ada('tenants', 'certificate', id)).stderr).toContain('no tenant with this id was erased')
    const sure = await ada('tenants', 'delete', 'switchable', '--hard', '--confirm', 'switchable')
    expect(sure).toMatchObject({ code: 0, stderr: 'Erasing switchable ...\nswitchable is erased.\n' })
    expect((await ada('tenants', 'show', 'switchable')).code).toBe(1)
    expect((await ada('tenants', 'certificate', id)).stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    const shown = await ada('tenants', 'certificate', id, '--verify')
    expect(shown).toMatchObject({ code: 0, stderr: expect.stringContaining('The certificate is valid') })
    expect(shown.stdout).toMatch(/subdomain +switchable\n/)
    const { statement } = JSON.parse((await ada('tenants', 'certificate', id, '--verify', '--json')).stdout)
    expect(statement).toMatchObject({ sub: id, destroyed: { kv: ['tenant:switchable'] } })
  })

  test('a certificate that another tenant’s is given as, or that nobody signed, is not valid', async () => {
    const { id } = JSON.parse((await freehold([...creation('uncertified'), '--json'], asAda())).stdout)
    expect((await ada('tenants', 'delete', 'uncertified', '--hard', '--confirm', 'uncertified')).code).toBe(0)
    const master = (text: string) => batch(String(stack.env.MASTER_DATABASE_URL), [sql.raw(text)])
    const [[kept] = []] = await master(`select certificate from platform.erasure_certificates where tenant_id = '${id}'`)
    const [head = '', body = '', seal = ''] = String(kept?.certificate).split('.')
    for (const forged of [`${head}.${body}.${seal.slice(4)}AAAA`, `${head}.${body}`, 'x'])
      await master(`update platform.erasure_certificates set certificate = '${forged}' where tenant_id = '${id}'`).then(
        async () => {
          const shown = await ada('tenants', 'certificate', id, '--verify')
          expect(shown).toMatchObject({ code: 1, stderr: expect.stringContaining('The certificate is not valid') })
        },
      )
    const other = crypto.randomUUID()
    await master(
      `insert into platform.erasure_certificates (tenant_id, subdomain, certificate) values ('${other}', 'other', '${kept?.certificate}')`,
    )
    expect((await ada('tenants', 'certificate', other, '--verify')).stderr).toContain('it is of another tenant')
  })
})

describe('tenants create --role-preset', () => {
  test.for(Object.values(presets))('$name begins with an administrator who holds all that the data says', async (preset) => {
    const env = { ...asAda(), FREEHOLD_ADMIN_PASSWORD: 'Quiet-harbour-31' }
    const subdomain = `begins-${preset.name}`
    const { code, stderr } = await freehold(creation(subdomain, '--role-preset', preset.name), env)
    expect(code, stderr).toBe(0)
    const { access_token } = await login(`bo@${subdomain}.test`, 'Quiet-harbour-31', subdomain)
    const headers = { 'X-Tenant': subdomain, Authorization: `Bearer ${access_token}` }
    const whoami = (await (await fetch(`${url}/api/v1/auth/whoami`, { headers })).json()) as Record<string, string[]>
    expect(whoami).toMatchObject({ roles: [preset.administrator] })
    expect(whoami.permissions).toEqual(expect.arrayContaining([...reachOf(preset, preset.administrator).keys()]))
  })
})

describe('setup-dev-users', () => {
  test('makes a demo tenant with a generated password, shown once; run again it changes nothing', async () => {
    const { code, stdout, stderr } = await ada('setup-dev-users')
    expect(code, stderr).toBe(0)
    const password = passwordIn(stdout)
    expect(password).toHaveLength(20)
    expect(await login('user@example.com', password, 'dev')).toMatchObject({ status: 200, must_change_password: false })
    const own = { FREEHOLD_URL: url, FREEHOLD_TENANT_EMAIL: 'user@example.com', FREEHOLD_TENANT_PASSWORD: password }
    const organizations = await freehold(['organizations', 'list', '--tenant', 'dev', '--json'], own)
    const { data } = JSON.parse(organizations.stdout)
    expect(data).toMatchObject([{ name: 'Admin Organization', active_users: 1 }])
    const user = await freehold(['users', 'show', 'user@example.com', '--tenant', 'dev', '--json'], own)
    expect(JSON.parse(user.stdout).organization_id).toBe(data[0].id)
    const made = JSON.parse((await ada('tenants', 'show', 'dev', '--json')).stdout)
    expect(made).toMatchObject({ legal_name: 'Admin Organization', environment: 'demo', role_preset: 'groups', status: 'active' })

    const again = await ada('setup-dev-users')
    expect(again).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('exists already; nothing is changed') })
    expect(again.stdout).not.toContain(password)
    expect(JSON.parse((await ada('setup-dev-users', '--json', '--role-preset', 'lims')).stdout)).toEqual(made)
    expect(await login('user@example.com', password, 'dev')).toMatchObject({ status: 200 })
  })

  test('refuses a tenant dev of production', async () => {
    const asProduction = (environment: string) =>
      batch(String(stack.env.MASTER_DATABASE_URL), [
        sql`update platform.tenants set environment = ${environment} where subdomain = 'dev'`,
      ])
    await asProduction('production')
    expect(await ada('setup-dev-users')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'error: Refused: the tenant dev is one of production.\n',
    })
    await asProduction('demo')
  })
})

describe('setup-groups against a tenant', () => {
  test("makes the preset's roles as the data says, changes nothing the second time, and leaves no session", async () => {
    const password = 'Quiet-harbour-31'
    const made = await freehold(creation('grouped'), { ...asAda(), FREEHOLD_ADMIN_PASSWORD: password })
    expect(made.code, made.stderr).toBe(0)
    const credentials = { FREEHOLD_URL: url, FREEHOLD_TENANT_EMAIL: 'bo@grouped.test', FREEHOLD_TENANT_PASSWORD: password }
    const setUp = async () => {
      const { code, stdout, stderr } = await freehold(['setup-groups', 'grouped', '--json'], credentials)
      expect(code, stderr).toBe(0)
      return JSON.parse(stdout).roles.map(({ outcome }: { outcome: string }) => outcome)
    }
    const ask = async (path: string, init: RequestInit = {}) =>
      (
        await fetch(`${url}/api/v1${path}`, {
          ...init,
          headers: { 'X-Tenant': 'grouped', 'Content-Type': 'application/json', ...init.headers },
        })
      ).json() as Promise<any>
    expect(new Set(await setUp())).toEqual(new Set(['made']))
    const { access_token } = await ask('/auth/login', {
      method: 'POST',
      body: JSON.stringify({ email: 'bo@grouped.test', password }),
    })
    const headers = { Authorization: `Bearer ${access_token}` }
    const { data } = await ask('/roles?limit=100', { headers })
    const nameOf = (id: string | null) => data.find((role: any) => role.id === id)?.name
    for (const { name, parent, grants, is_manageable = false } of groups.roles) {
      const role = data.find((found: any) => found.name === name)
      expect([nameOf(role.parent_id), role.is_manageable, role.permissions.length], name).toEqual([
        parent,
        is_manageable,
        grants.length,
      ])
      expect(role.permissions).toEqual(expect.arrayContaining(grants.map(([permission, scope]) => ({ permission, scope }))))
    }
    const count = async () => (await ask('/activities?activity_type=PERMISSION_CHANGE&limit=1', { headers })).data[0].id
    const before = await count()
    expect(new Set(await setUp())).toEqual(new Set(['kept']))
    expect(await count()).toBe(before)
    const me = await ask('/auth/me', { headers })
    const sessions = await ask(`/users/${me.sub}/sessions`, { headers })
    expect(sessions.data).toHaveLength(1)
  })
})

describe('plans, limits and licenses', () => {
  const json = async (...args: string[]) => JSON.parse((await ada(...args, '--json')).stdout)

  test('a plan is made, changed, given to a tenant, and not deleted while it has it', async () => {
    const made = await json(
      'plans',
      'create',
      'shop',
      '--name',
      'Shop',
      '--max-users',
      '40',
      '--max-documents',
      '9',
      '--limit-documents',
      'yes',
    )
    expect(made).toMatchObject({ key: 'shop', name: 'Shop', limits: { max_users: 40, max_documents: 9, limit_documents: true } })
    expect(await json('plans', 'update', 'shop', '--max-users', '41', '--max-documents', 'none')).toMatchObject({
      name: 'Shop',
      limits: { max_users: 41, limit_documents: true },
    })
    expect((await ada('plans', 'list')).stdout).toMatch(/shop +Shop +- +0 +max_users 41, limit_documents/)
    expect(await json('tenants', 'limits', 'acme', '--plan', 'shop', '--max-api-keys', '7')).toMatchObject({
      plan: 'shop',
      limits: { max_api_keys: 7 },
      is_applied: true,
    })
    expect((await ada('tenants', 'limits', 'acme')).stdout).toMatch(/users +\d+ +41 +-\n.*api_keys +\d+ +7 +7/s)
    expect(await ada('plans', 'delete', 'shop', '--yes')).toMatchObject({ code: 1, stderr: expect.stringContaining('shop: 1.') })
    await json('tenants', 'limits', 'acme', '--plan', 'none', '--max-api-keys', 'none')
    expect((await ada('plans', 'delete', 'shop', '--yes')).code).toBe(0)
    expect((await ada('plans', 'show', 'shop')).code).toBe(1)
  })

  test('a license is given, listed, ended and taken back', async () => {
    const given = await json(
      'tenants',
      'licenses',
      'give',
      'acme',
      '--until',
      '2099-01-31',
      '--key',
      'CLI-1',
      '--max-users',
      '50',
    )
    expect(given).toMatchObject({
      key: 'CLI-1',
      valid_until: expect.stringMatching(/^2099-01-31T00:00:00/),
      limits: { max_users: 50 },
    })
    expect((await ada('tenants', 'licenses', 'list', 'acme')).stdout).toMatch(/CLI-1 +valid .* max_users 50/)
    expect((await json('tenants', 'licenses', 'end', 'acme', given.id, '--yes')).state).toBe('grace')
    expect((await ada('tenants', 'licenses', 'remove', 'acme', given.id, '--yes')).code).toBe(0)
    expect((await ada('tenants', 'licenses', 'list', 'acme')).stderr).toContain('needs none')
    const wrong = await ada('tenants', 'licenses', 'give', 'acme', '--until', '2099-01-31', '--from', '2099-02-01')
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('must be later than valid_from') })
  })
})
