/** Logins that are kept, in front of a platform of its own. */
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { connected } from '../../scripts/freehold/api.ts'
import { operatorConnection } from '../../scripts/freehold/credentials.ts'
import { OPERATOR, startPlatform } from './door.ts'
import { ended, started } from './run.ts'

let platform: Awaited<ReturnType<typeof startPlatform>>
const ADMIN = { email: 'bo@clio.test', password: 'Quiet-harbour-31' }

beforeAll(async () => {
  platform = await startPlatform()
  const about = ['--legal-name', 'Clio', '--admin-email', ADMIN.email, '--json']
  const env = { FREEHOLD_EMAIL: OPERATOR.email, FREEHOLD_PASSWORD: OPERATOR.password, FREEHOLD_ADMIN_PASSWORD: ADMIN.password }
  const made = await run(['tenants', 'create', 'clio', ...about, '--url', platform.url], { env })
  expect(made.code, made.stderr).toBe(0)
}, 240_000)
afterAll(() => platform?.stop())

const config = () => join(platform.configFolder, 'freehold')
const fileOf = (name: string) => join(config(), 'profiles', `${name}.json`)
const kept = (name: string) => JSON.parse(readFileSync(fileOf(name), 'utf8'))
const change = (name: string, more: object) => writeFileSync(fileOf(name), JSON.stringify({ ...kept(name), ...more }))

async function run(args: string[], { env = {}, stdin = '' }: { env?: Record<string, string>; stdin?: string } = {}) {
  const child = started(args, { XDG_CONFIG_HOME: platform.configFolder, ...env })
  child.stdin.end(stdin)
  return ended(child)
}
const logIn = (name: string, ...more: string[]) => {
  const given = ['login', '--profile', name, '--url', platform.door.url, '--email', OPERATOR.email, '--password-stdin', ...more]
  return run(given, { stdin: `${OPERATOR.password}\n` })
}
const logInAsAdmin = (name: string) =>
  run(['login', '--profile', name, '--url', platform.door.url, '--tenant', 'clio', '--email', ADMIN.email, '--password-stdin'], {
    stdin: ADMIN.password,
  })
const exchanges = () => platform.door.calls.filter((call) => call.endsWith('/auth/refresh-token')).length
/** As a platform that is asked with this token says it is now. */
const asked = (token: string, path = 'auth/me', method = 'GET') =>
  fetch(`${platform.url}/platform/v1/${path}`, { method, headers: { Authorization: `Bearer ${token}` } })

beforeEach(() => {
  platform.door.calls.length = 0
  platform.door.expired.clear()
})
afterEach(async () => {
  for (const name of existsSync(join(config(), 'profiles')) ? readdirSync(join(config(), 'profiles')) : [])
    await run(['profiles', 'remove', name.replace(/\.json$/, '')])
})

describe('login', () => {
  test('keeps the session in a file for its user alone, without the password, and shows no token', async () => {
    const { code, stdout, stderr } = await logIn('ada')
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: '',
      stderr: `${OPERATOR.email} is logged in at ${platform.door.url}. The profile is ada.\n`,
    })
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)
    expect([config(), join(config(), 'profiles'), fileOf('ada')].map(mode)).toEqual(['700', '700', '600'])
    expect(readdirSync(join(config(), 'profiles'))).toEqual(['ada.json'])
    expect(kept('ada')).toMatchObject({ url: platform.door.url, tenant: null, email: OPERATOR.email })
    expect(readFileSync(fileOf('ada'), 'utf8')).not.toContain(OPERATOR.password)
    const who = await run(['whoami', '--json'])
    expect(JSON.parse(who.stdout)).toMatchObject({ profile: 'ada', platform: platform.door.url, roles: ['owner'] })
  })

  test('with a wrong password keeps nothing', async () => {
    const given = ['login', '--url', platform.door.url, '--email', OPERATOR.email, '--password-stdin', '--json']
    const { code, stdout } = await run(given, { stdin: 'Wrong-horse-7\n' })
    expect({ code, said: JSON.parse(stdout).code }).toEqual({ code: 1, said: 'invalid_credentials' })
    expect(existsSync(fileOf('default'))).toBe(false)
  })

  test('again needs no address, and ends the session before', async () => {
    await logIn('ada')
    const before = kept('ada').access_token
    const again = await run(['login', '--password-stdin'], { stdin: OPERATOR.password })
    expect(again.code, again.stderr).toBe(0)
    expect((await asked(before)).status).toBe(401)
    expect((await asked(kept('ada').access_token)).status).toBe(200)
  })

  test('again after the access token ended does not end the session that it opens', async () => {
    await logIn('ada')
    change('ada', { expires_at: 0 })
    expect((await run(['login', '--password-stdin'], { stdin: OPERATOR.password })).code).toBe(0)
    expect((await asked(kept('ada').access_token)).status).toBe(200)
  })

  test.for<[string, string[]]>([
    ['a platform over the network without encryption', ['--url', 'http://192.0.2.1:8787']],
    ['nobody, where there is no terminal to ask on', ['--url', 'https://freehold.invalid']],
  ])('asks nothing of %s', async ([, args]) => {
    const { code, stderr } = await run([
      'login',
      ...args,
      ...(args[1]?.startsWith('http:') ? ['--email', 'a@b.test', '--password-stdin'] : []),
    ])
    expect(code).toBeGreaterThan(0)
    expect(stderr).toMatch(/^error: (--url or FREEHOLD_URL: .* is not encrypted|There is no terminal)[^\n]+\n$/)
  })

  test('without a network is one sentence with the address', async () => {
    const given = ['login', '--url', 'http://localhost:9', '--email', 'a@b.test', '--password-stdin']
    const { code, stderr } = await run(given, { stdin: 'x' })
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^error: [^\n]*http:\/\/localhost:9[^\n]*\n$/) })
  })
})

describe('a profile', () => {
  test('yields to credentials of the environment, which go to the address of the environment', async () => {
    await logIn('ada')
    platform.door.calls.length = 0
    const env = { FREEHOLD_URL: platform.url, FREEHOLD_EMAIL: OPERATOR.email, FREEHOLD_PASSWORD: OPERATOR.password }
    expect((await run(['tenants', 'list'], { env })).code).toBe(0)
    expect(platform.door.calls).toEqual([])
  })

  test('that is named beside such credentials is wrong usage, as is one for another address', async () => {
    await logIn('ada')
    platform.door.calls.length = 0
    const env = { FREEHOLD_TOKEN: 'token' }
    expect(await run(['tenants', 'list', '--profile', 'ada'], { env })).toMatchObject({ code: 2, stdout: '' })
    const elsewhere = await run(['tenants', 'list', '--profile', 'ada', '--url', platform.url])
    expect(elsewhere).toMatchObject({ code: 2, stderr: expect.stringContaining(platform.url) })
    expect(platform.door.calls).toEqual([])
  })

  test('of a tenant works inside it, and is refused where an operator or another tenant is needed', async () => {
    await logInAsAdmin('bo')
    expect(JSON.parse((await run(['whoami', '--json'])).stdout)).toMatchObject({ tenant: { subdomain: 'clio' }, profile: 'bo' })
    expect(await run(['setup-groups', 'clio', '--preset', 'minimal'])).toMatchObject({ code: 0 })
    for (const args of [
      ['tenants', 'list'],
      ['setup-groups', 'other'],
    ])
      expect(await run(args)).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/The profile bo is of the tenant clio, and this .* freehold login/),
      })
  })

  test.for([
    ['file', 0o640, 600],
    ['file', 0o604, 600],
    ['folder', 0o750, 700],
  ] as const)('whose %s others can reach (%o) is not used, and the sentence says chmod %i', async ([what, mode, chmod]) => {
    await logIn('ada')
    platform.door.calls.length = 0
    const path = what === 'file' ? fileOf('ada') : join(config(), 'profiles')
    const before = statSync(path).mode & 0o777
    chmodSync(path, mode)
    const { code, stderr } = await run(['tenants', 'list'])
    chmodSync(path, before)
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(`run chmod ${chmod} ${path}`) })
    expect(platform.door.calls).toEqual([])
  })

  test('that is no profile, or is not there, is one sentence', async () => {
    await logIn('ada')
    writeFileSync(fileOf('ada'), '{"url": 7}')
    expect(await run(['tenants', 'list'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error: .* is not a profile[^\n]+\n$/),
    })
    for (const name of ['nobody', '../ada'])
      expect(await run(['whoami'], { env: { FREEHOLD_PROFILE: name } })).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^error: There is no profile [^\n]+freehold login[^\n]+\n$/),
      })
  })

  test('is chosen by FREEHOLD_PROFILE before the one in use, and by --profile before that', async () => {
    await logIn('ada')
    await logInAsAdmin('bo')
    await logIn('cy')
    const who = async (...args: string[]) =>
      JSON.parse((await run(['whoami', '--json', ...args], { env: { FREEHOLD_PROFILE: 'bo' } })).stdout).profile
    expect([await who(), await who('--profile', 'cy')]).toEqual(['bo', 'cy'])
    await run(['profiles', 'use', 'cy'])
    const { data } = JSON.parse((await run(['profiles', '--json'])).stdout)
    expect(data.map((one: any) => [one.profile, one.is_current])).toEqual([
      ['ada', false],
      ['bo', false],
      ['cy', true],
    ])
    expect(JSON.stringify(data)).not.toContain('token')
  })
})

describe('a command of operators, where the profile in use is of a tenant', () => {
  const list = (...more: string[]) => run(['tenants', 'list', '--json', ...more])

  test('is run as the one operator who is logged in at that platform', async () => {
    await logInAsAdmin('bo')
    await logIn('ada')
    platform.door.calls.length = 0
    expect(JSON.parse((await list()).stdout).data[0].subdomain).toBe('clio')
    expect(platform.door.calls).toEqual([expect.stringContaining('/platform/v1/tenants')])
    // The one in use still is who works inside the tenant.
    expect(JSON.parse((await run(['whoami', '--json'])).stdout).profile).toBe('bo')
    const named = await list('--profile', 'bo')
    expect([named.code, named.stderr]).toEqual([1, expect.stringContaining('The profile bo is of the tenant clio')])
  })

  test('asks which, where two are; and never takes one of another platform', async () => {
    await logInAsAdmin('bo')
    await logIn('ada')
    await logIn('cy')
    const two = await list()
    expect([two.code, two.stderr]).toEqual([1, expect.stringContaining('name one of ada, cy with --profile')])
    await run(['profiles', 'remove', 'cy'])
    change('ada', { url: platform.url })
    platform.door.calls.length = 0
    const none = await list()
    expect(none.stderr).toContain(
      'name another with --profile, the data folder of `npm start` with --data, or log in: freehold login',
    )
    expect([none.code, platform.door.calls]).toEqual([1, []])
  })

  test('inside a tenant it is the other way round: the profile of that tenant is found', async () => {
    await logIn('ada')
    await logInAsAdmin('bo')
    const { code, stdout } = await run(['users', 'list', '--tenant', 'clio', '--json'])
    expect([code, JSON.parse(stdout).data[0].email]).toEqual([0, ADMIN.email])
  })
})

describe('operators unlock', () => {
  const EMAIL = 'cy@freehold.test'

  test('with a profile is done over the API, and the audit says by whom', async () => {
    await logIn('ada')
    const made = await run(['operators', 'add', EMAIL, '--role', 'auditor', '--json'])
    expect(made.code, made.stderr).toBe(0)
    for (let tries = 0; tries < 12; tries++)
      await fetch(`${platform.url}/platform/v1/auth/login`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ email: EMAIL, password: `Wrong-horse-${tries}` }),
      })
    platform.door.calls.length = 0
    expect(await run(['operators', 'unlock', EMAIL])).toEqual({ code: 0, stdout: `${EMAIL} can log in again.\n`, stderr: '' })
    expect(platform.door.calls.at(-1)).toMatch(/^POST \/platform\/v1\/operators\/[0-9a-f-]{36}\/unlock$/)
    const { access_token } = kept('ada')
    const query = 'audit?activity_type=USER_UNLOCKED'
    const { data } = (await (await asked(access_token, query)).json()) as any
    expect(data.map((entry: any) => entry.user_id)).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/)])
  })

  test('of all, of oneself and of nobody say what is wrong', async () => {
    await logIn('ada')
    const all = await run(['operators', 'unlock', '--all'])
    expect([all.code, all.stderr]).toEqual([1, expect.stringContaining('--all needs the master: set MASTER_DATABASE_URL')])
    const own = await run(['operators', 'unlock', OPERATOR.email, '--json'])
    expect([own.code, JSON.parse(own.stdout).code]).toEqual([1, 'forbidden'])
    const none = await run(['operators', 'unlock', 'eve@freehold.test', '--json'])
    expect([none.code, JSON.parse(none.stdout).code]).toEqual([1, 'not_found'])
  })
})

describe('open', () => {
  const opened = async (...args: string[]) => (await run(['open', '--print', ...args])).stdout.trim()

  test('without a tenant is the reference of the API, or the page of the tenant of the profile; both are there', async () => {
    await logIn('ada')
    expect(await opened()).toBe(`${platform.door.url}/docs`)
    expect((await fetch(`${platform.url}/docs`)).status).toBe(200)
    await logInAsAdmin('bo')
    const page = await opened('--profile', 'bo')
    expect(page).toBe(`${platform.url.replace('localhost', 'clio.localhost')}/`)
    expect(await opened('--profile', 'ada', 'clio')).toBe(page)
  })
})

describe('a session that a command opened', () => {
  const env = () => ({ FREEHOLD_URL: platform.url, FREEHOLD_EMAIL: OPERATOR.email, FREEHOLD_PASSWORD: OPERATOR.password })
  const sessions = async () =>
    ((await (await asked(kept('ada').access_token, 'sessions')).json()) as any).data.map(({ id }: { id: string }) => id)

  test('is ended when the password is not changed after all', async () => {
    await logIn('ada')
    const before = await sessions()
    const wrong = await run(['password'], { env: { ...env(), FREEHOLD_NEW_PASSWORD: 'short' } })
    expect(wrong.code).toBe(1)
    // A login may have ended the oldest, where there were as many as there may be.
    expect(before).toEqual(expect.arrayContaining(await sessions()))
  })

  test('with a first password is ended when it is not changed', async () => {
    await logIn('ada')
    const { stdout } = await run(['operators', 'add', 'eve@freehold.test', '--role', 'auditor', '--json'])
    const { id, initial_password } = JSON.parse(stdout)
    const given = { FREEHOLD_URL: platform.url, FREEHOLD_EMAIL: 'eve@freehold.test', FREEHOLD_PASSWORD: initial_password }
    const login = [
      'login',
      '--profile',
      'eve',
      '--url',
      platform.url,
      '--email',
      'eve@freehold.test',
      '--password-stdin',
      '--json',
    ]
    const entered = await run(login, { stdin: initial_password })
    expect(JSON.parse(entered.stdout).code).toBe('password_change_required')
    const listed = await run(['tenants', 'list', '--json'], { env: given })
    expect(JSON.parse(listed.stdout).code).toBe('password_change_required')
    const { data } = (await (await asked(kept('ada').access_token, `operators/${id}/sessions`)).json()) as any
    expect(data).toEqual([])
  })
})

/** As far as that can be tried elsewhere: what the command line does where Node says that it is on Windows. */
describe('on Windows', () => {
  const WINDOWS = { NODE_OPTIONS: `--import=data:text/javascript,Object.defineProperty(process,'platform',{value:'win32'})` }

  test('a profile is kept below APPDATA, and the modes that its file cannot have are not asked for', async () => {
    const APPDATA = join(platform.configFolder, 'AppData')
    const env = { ...WINDOWS, APPDATA, XDG_CONFIG_HOME: '' }
    const login = ['login', '--profile', 'ada', '--url', platform.url, '--email', OPERATOR.email, '--password-stdin']
    expect((await run(login, { env, stdin: OPERATOR.password })).code).toBe(0)
    chmodSync(join(APPDATA, 'freehold', 'profiles', 'ada.json'), 0o644)
    expect((await run(['whoami'], { env })).code).toBe(0)
    expect((await run(['logout'], { env })).code).toBe(0)
  })

  test('freehold dev is refused with what to do', async () => {
    expect(await run(['dev'], { env: WINDOWS })).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: .*WSL/) })
  })
})

describe('tokens that have expired', () => {
  const list = () => run(['tenants', 'list', '--json'])

  test('are exchanged once for six processes at the same moment, which all go on', async () => {
    await logIn('ada')
    const before = kept('ada')
    change('ada', { expires_at: 0 })
    const all = await Promise.all(Array.from({ length: 6 }, list))
    expect(all.map(({ code, stderr }) => ({ code, stderr }))).toEqual(Array(6).fill({ code: 0, stderr: '' }))
    expect(exchanges()).toBe(1)
    expect(kept('ada').refresh_token).not.toBe(before.refresh_token)
    expect(statSync(fileOf('ada')).mode & 0o777).toBe(0o600)
    change('ada', { expires_at: 0 })
    expect((await list()).code).toBe(0)
    expect(exchanges()).toBe(2)
  })

  test('are exchanged when the platform says so, once for calls at the same moment, which are sent again', async () => {
    await logIn('ada')
    platform.door.expired.add(kept('ada').access_token)
    const before = process.env.XDG_CONFIG_HOME
    process.env.XDG_CONFIG_HOME = platform.configFolder
    try {
      const globals = { data: '.nowhere', profile: 'ada' }
      const me = await connected(globals, await operatorConnection(globals), (api) =>
        Promise.all(Array.from({ length: 5 }, () => api.call(z.looseObject({ email: z.string() }), 'GET', '/auth/me'))),
      )
      expect(me.map(({ email }) => email)).toEqual(Array(5).fill(OPERATOR.email))
    } finally {
      if (before === undefined) delete process.env.XDG_CONFIG_HOME
      else process.env.XDG_CONFIG_HOME = before
    }
    expect(exchanges()).toBe(1)
  })

  test('are exchanged although a process was killed while it did so', async () => {
    await logIn('ada')
    change('ada', { expires_at: 0 })
    const lock = join(config(), 'profiles', 'ada.lock')
    writeFileSync(lock, '', { mode: 0o600 })
    const long = Date.now() / 1000 - 600
    utimesSync(lock, long, long)
    expect((await list()).code).toBe(0)
    expect(existsSync(lock)).toBe(false)
  })
})

describe('a session that was ended elsewhere', () => {
  test('is one sentence with the login that helps, and a code for programs', async () => {
    await logIn('ada')
    expect((await asked(kept('ada').access_token, 'auth/logout', 'POST')).status).toBe(204)
    for (const expires_at of [kept('ada').expires_at, 0]) {
      change('ada', { expires_at })
      const { code, stdout, stderr } = await run(['tenants', 'list', '--json'])
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr:
          'error: The session of the profile ada has ended (it was revoked, or has expired): log in again with freehold login --profile ada.\n',
      })
      expect(JSON.parse(stdout)).toMatchObject({ code: 'session_ended' })
    }
    expect(await run(['logout'])).toMatchObject({ code: 0, stderr: expect.stringContaining('had ended already') })
  })
})

describe('logout', () => {
  test('ends the session at the platform, and removes the profile', async () => {
    await logIn('ada')
    const { access_token } = kept('ada')
    expect((await run(['logout'])).code).toBe(0)
    expect((await asked(access_token)).status).toBe(401)
    expect(readdirSync(join(config(), 'profiles'))).toEqual([])
    expect(await run(['logout'])).toMatchObject({ code: 1, stderr: 'error: Nobody is logged in.\n' })
  })

  test('without a network leaves the profile, and says what forgets it here alone', async () => {
    await logIn('ada')
    change('ada', { url: 'http://localhost:9' })
    const { code, stderr } = await run(['logout'])
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('freehold profiles remove ada') })
    expect(existsSync(fileOf('ada'))).toBe(true)
    expect((await run(['profiles', 'remove', 'ada'])).code).toBe(0)
    expect(existsSync(fileOf('ada'))).toBe(false)
    expect((await run(['profiles', 'remove', 'ada'])).code).toBe(1)
  })
})
