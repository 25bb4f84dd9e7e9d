/** The commands on users and operators, against the API. What the API itself refuses: test/users and test/recovery. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWithTenant, type WithTenant } from './one-tenant.ts'

const TENANT = 'people-cli'
const BO = 'bo@people-cli.test'
const NEW = 'Quiet-harbour-31'
let on: WithTenant
let folder: string

beforeAll(async () => {
  on = await startWithTenant(TENANT)
  folder = await mkdtemp(join(tmpdir(), 'freehold-people-'))
})
afterAll(async () => {
  await on?.stop()
  await rm(folder, { recursive: true, force: true })
})

const field = (stdout: string, name: string) => new RegExp(`^ +${name} +(.+)$`, 'm').exec(stdout)?.[1]
const refused = (stderr: string) => ({ code: 1, stdout: '', stderr })

describe('users', () => {
  test('create makes one with a password that is shown once, with which they log in and must change it', async () => {
    const { code, stdout, stderr } = await on.bo(
      'users',
      'create',
      'Ann@people-cli.test',
      '--given-name',
      'Ann',
      '--role',
      'user',
    )
    expect([code, field(stdout, 'e-mail'), field(stdout, 'name'), field(stdout, 'role')]).toEqual([
      0,
      'ann@people-cli.test',
      'Ann',
      'user',
    ])
    expect(stderr).toBe('The password is shown only now, and must be changed at the first login.\n')
    const { body } = await on.login('ann@people-cli.test', String(field(stdout, 'password')), TENANT)
    expect(body).toMatchObject({ must_change_password: true })
  })

  test('create takes the password from the environment and does not repeat it', async () => {
    const env = { FREEHOLD_TENANT_TOKEN: on.tokens.bo, FREEHOLD_NEW_PASSWORD: NEW }
    const { code, stdout } = await on.as(env, 'users', 'create', 'cy@people-cli.test', '--tenant', TENANT)
    expect([code, stdout.includes(NEW), field(stdout, 'password')]).toEqual([0, false, 'must be changed at the next login'])
    expect((await on.login('cy@people-cli.test', NEW, TENANT)).status).toBe(200)
  })

  test('show finds one by e-mail address, username and id, and --json is what the API answers', async () => {
    const { stdout } = await on.bo('users', 'show', ' BO@people-cli.test ')
    const id = String(field(stdout, 'id'))
    expect(field(stdout, 'e-mail')).toBe(BO)
    expect((await on.bo('users', 'show', String(field(stdout, 'username')))).stdout).toBe(stdout)
    const { body } = await on.ask('GET', `/users/${id}`, { token: on.tokens.bo, tenant: TENANT })
    expect(JSON.parse((await on.bo('users', 'show', id, '--json')).stdout)).toEqual(body)
  })

  test('list shows all pages with --all, as many as --limit, and those that are asked for', async () => {
    const file = join(folder, 'people.ndjson')
    const line = (n: number) => `${JSON.stringify({ email: `p-${String(n).padStart(3, '0')}@people-cli.test` })}\n`
    await writeFile(file, Array.from({ length: 120 }, (_, n) => line(n)).join(''))
    const env = { FREEHOLD_TENANT_TOKEN: on.tokens.bo }
    expect((await on.as(env, 'users', 'import', TENANT, file)).stdout).toContain('120 created')
    const all = JSON.parse((await on.bo('users', 'list', '--all', '--search', 'p-', '--json')).stdout)
    expect([all.data.length, new Set(all.data.map(({ id }: { id: string }) => id)).size, all.next_cursor]).toEqual([
      120,
      120,
      null,
    ])
    const some = await on.bo('users', 'list', '--limit', '105', '--search', 'p-')
    expect([some.stdout.split('\n').length, some.stderr]).toEqual([107, 'There are more than 105; see --limit.\n'])
    const { stdout } = await on.bo('users', 'list', '--role', 'admin', '--status', 'active', '--sort', '-email')
    expect(stdout).toMatch(
      /^E-MAIL +USERNAME +NAME +ROLES +STATUS +CREATED \(UTC\)\nbo@people-cli\.test .* active +\d{4}-\d\d-\d\d \d\d:\d\d\n$/,
    )
    expect(await on.bo('users', 'list', '--search', 'nobody')).toMatchObject({
      code: 0,
      stdout: '',
      stderr: 'There is no such user.\n',
    })
  })

  test('update changes what is given, and removes what is none', async () => {
    const changed = await on.bo('users', 'update', 'cy@people-cli.test', '--designation', 'Chemist', '--manager', BO)
    expect([changed.code, field(changed.stdout, 'designation')]).toEqual([0, 'Chemist'])
    expect(field(changed.stdout, 'manager')).not.toBe('-')
    const { stdout } = await on.bo('users', 'update', 'cy@people-cli.test', '--designation', 'none', '--manager', 'none')
    expect([field(stdout, 'designation'), field(stdout, 'manager'), field(stdout, 'e-mail')]).toEqual([
      '-',
      '-',
      'cy@people-cli.test',
    ])
  })

  test('deactivate ends their logins, and reactivate lets them in again', async () => {
    const done = await on.bo('users', 'deactivate', 'cy@people-cli.test')
    expect(done).toEqual({ code: 0, stdout: '', stderr: 'cy@people-cli.test is deactivated.\n' })
    expect((await on.login('cy@people-cli.test', NEW, TENANT)).status).not.toBe(200)
    const { code, stdout } = await on.bo('users', 'reactivate', 'cy@people-cli.test', '--json')
    expect([code, JSON.parse(stdout).is_active]).toEqual([0, true])
    expect((await on.login('cy@people-cli.test', NEW, TENANT)).status).toBe(200)
  })

  test('reset-password prints a generated one alone on stdout; --link-only changes nothing', async () => {
    const linked = await on.bo('users', 'reset-password', 'cy@people-cli.test', '--link-only')
    expect(linked).toEqual({ code: 0, stdout: '', stderr: 'A link to set a new password is on its way to cy@people-cli.test.\n' })
    expect((await on.login('cy@people-cli.test', NEW, TENANT)).status).toBe(200)
    const asked = await on.bo('users', 'reset-password', 'cy@people-cli.test')
    expect(asked).toEqual(
      refused('error: Give cy@people-cli.test a first password, and end their sessions and API keys? Repeat it with --yes.\n'),
    )
    const { code, stdout } = await on.bo('users', 'reset-password', 'cy@people-cli.test', '--yes')
    expect([code, (await on.login('cy@people-cli.test', stdout.trim(), TENANT)).status]).toEqual([0, 200])
    expect((await on.login('cy@people-cli.test', NEW, TENANT)).status).toBe(401)
  })

  test('unlock lets somebody in who is locked out', async () => {
    const made = await on.bo('users', 'create', 'dee@people-cli.test', '--json')
    const password = JSON.parse(made.stdout).initial_password
    for (let tries = 0; tries < 12; tries++) await on.login('dee@people-cli.test', `wrong-${tries}`, TENANT)
    expect((await on.login('dee@people-cli.test', password, TENANT)).status).not.toBe(200)
    expect(await on.bo('users', 'unlock', 'dee@people-cli.test')).toEqual({
      code: 0,
      stdout: '',
      stderr: 'dee@people-cli.test can log in again.\n',
    })
    expect((await on.login('dee@people-cli.test', password, TENANT)).status).toBe(200)
  })

  test.for([
    ['show', 'nobody@people-cli.test'],
    ['show', 'bo-o'],
    ['update', 'nobody@people-cli.test', '--phone', '1'],
    ['deactivate', 'nobody@people-cli.test'],
    ['reset-password', 'nobody@people-cli.test'],
    ['unlock', 'nobody@people-cli.test'],
  ])('%j of nobody says so', async (args) => {
    expect(await on.bo('users', ...args)).toEqual(refused(`error: There is no user ${args[1]}.\n`))
  })

  test('a wrong value is refused in the words of the API, with the field', async () => {
    const { code, stdout, stderr } = await on.bo('users', 'create', 'eve@people-cli.test', '--role', 'king')
    expect([code, stdout, stderr]).toEqual([
      1,
      '',
      expect.stringMatching(/^error: .*\n.*\n {2}#\/role: king is not a role of this tenant\n/),
    ])
    const listed = await on.bo('users', 'list', '--sort', 'age')
    expect([listed.code, listed.stderr]).toEqual([1, expect.stringContaining('sort')])
  })

  test('somebody without the permission is told that, and --json is the problem', async () => {
    const env = { FREEHOLD_TENANT_EMAIL: 'fay@people-cli.test', FREEHOLD_TENANT_PASSWORD: NEW }
    const made = await on.bo('users', 'create', 'fay@people-cli.test', '--json')
    const token = (await on.login('fay@people-cli.test', JSON.parse(made.stdout).initial_password, TENANT)).body.access_token
    const body = { current_password: JSON.parse(made.stdout).initial_password, new_password: NEW }
    expect((await on.ask('POST', '/auth/password-change', { token, tenant: TENANT, body })).status).toBe(204)
    const told = await on.as(env, 'users', 'create', 'gus@people-cli.test', '--tenant', TENANT)
    expect(told).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^error: Not permitted\.\n/) })
    const asked = await on.as(env, 'users', 'create', 'gus@people-cli.test', '--tenant', TENANT, '--json')
    expect([asked.code, JSON.parse(asked.stdout)]).toMatchObject([1, { status: 403, code: 'forbidden' }])
  })
})

describe('operators', () => {
  const EVE = 'eve@freehold.test'

  test('add, show, roles: an auditor becomes an operator', async () => {
    const made = await on.ada('operators', 'add', EVE, '--role', 'auditor')
    expect([made.code, field(made.stdout, 'roles')]).toEqual([0, 'auditor'])
    expect((await on.login(EVE, String(field(made.stdout, 'password')))).body).toMatchObject({ must_change_password: true })
    expect(await on.ada('operators', 'roles', EVE)).toEqual({ code: 0, stdout: 'auditor\n', stderr: '' })
    expect(await on.ada('operators', 'roles', EVE, 'operator')).toEqual({ code: 0, stdout: 'operator\n', stderr: '' })
    expect(field((await on.ada('operators', 'show', EVE)).stdout, 'role')).toBe('operator')
  })

  test('list is the list of the API', async () => {
    const { body } = await on.ask('GET', '/operators?limit=100', { token: on.tokens.ada })
    expect(JSON.parse((await on.ada('operators', 'list', '--json')).stdout)).toEqual(body)
    expect((await on.ada('operators', 'list', '--role', 'owner')).stdout).toMatch(/\nada@freehold\.test .* owner +active .*\n$/)
  })

  test('deactivate, reactivate and reset-password work for them as well', async () => {
    expect((await on.ada('operators', 'deactivate', EVE)).stderr).toBe(`${EVE} is deactivated.\n`)
    expect((await on.ada('operators', 'reactivate', EVE)).stderr).toBe(`${EVE} is active.\n`)
    const { stdout } = await on.ada('operators', 'reset-password', EVE, '--yes')
    expect((await on.login(EVE, stdout.trim())).status).toBe(200)
  })

  test('one who is unknown, the last owner, and a role that there is not are refused', async () => {
    expect(await on.ada('operators', 'show', 'nobody@freehold.test')).toEqual(
      refused('error: There is no operator nobody@freehold.test.\n'),
    )
    const own = await on.ada('operators', 'deactivate', 'ada@freehold.test')
    expect([own.code, own.stderr]).toEqual([1, expect.stringContaining('You cannot deactivate yourself.')])
    const role = await on.ada('operators', 'roles', EVE, 'king')
    expect([role.code, role.stderr]).toEqual([1, expect.stringContaining('#/role: king is not a role')])
  })

  test('an auditor adds nobody', async () => {
    const { stdout } = await on.ada('operators', 'add', 'gil@freehold.test', '--json')
    const { access_token } = (await on.login('gil@freehold.test', JSON.parse(stdout).initial_password)).body
    const body = { current_password: JSON.parse(stdout).initial_password, new_password: NEW }
    await on.ask('POST', '/auth/password-change', { token: access_token, body })
    const env = { FREEHOLD_EMAIL: 'gil@freehold.test', FREEHOLD_PASSWORD: NEW }
    const told = await on.as(env, 'operators', 'add', 'hal@freehold.test')
    expect(told).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/^error: Not permitted\.\n/) })
  })
})
