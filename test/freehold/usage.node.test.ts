import { execFile } from 'node:child_process'
import { glob, mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Step } from '../../scripts/freehold/answers.ts'
import { progressOn } from '../../scripts/freehold/progress.ts'
import { EnvironmentSettings, parseSettings } from '../../src/kernel/config.ts'
import { decrypt, encrypt } from '../../src/kernel/keyring.ts'
import { KEYS } from '../support/keys.ts'
import { ROOT } from '../support/node/made-once.ts'
import { ended, freehold, started } from './run.ts'
import { stranger } from './stranger.ts'

const ADA = { FREEHOLD_EMAIL: 'ada@freehold.test', FREEHOLD_PASSWORD: 'Correct-horse-7' }

describe('help', () => {
  const api = ['--url', '--insecure', '--json', '--data', 'FREEHOLD_URL', 'FREEHOLD_TOKEN', 'FREEHOLD_EMAIL', 'FREEHOLD_PASSWORD']
  const tenant = ['--url', '--json', 'FREEHOLD_URL', 'FREEHOLD_TENANT_TOKEN', 'FREEHOLD_TENANT_EMAIL', 'FREEHOLD_TENANT_PASSWORD']
  test.for<[string, string[]]>([
    [
      '',
      [
        ...api,
        ...tenant,
        'tenants',
        'setup',
        'setup-groups',
        'setup-dev-users',
        'presets',
        'keys',
        'MASTER_DATABASE_URL',
        'MASTER_READER_URL',
        'ENCRYPTION_KEYS',
        'OWNER_KEYS',
        'NO_COLOR',
      ],
    ],
    [
      'tenants',
      [
        ...api,
        'list',
        'show',
        'create',
        'adopt',
        'reconnect',
        'retry',
        'rename',
        'change',
        'rotate-keys',
        'rotate-signing-key',
        'move',
      ],
    ],
    ['tenants rotate-credentials', [...api, '--show', 'dropped']],
    ['analytics', [...api, '--from', '--to', '--tenant']],
    ['tenants usage', api],
    ['tenants rotate-signing-key', [...api, 'jwks.json']],
    ['tenants move', [...api, '--to', '--region', 'Retry-After']],
    ['tenants rotate-keys', [...api, '"platform"', 'MASTER_DATABASE_URL', 'ENCRYPTION_KEYS']],
    ['tenants export', ['--data', 'MASTER_DATABASE_URL', 'OWNER_KEYS', 'NEON_SQL_URL', 'pg_restore']],
    ['tenants certificate', [...api, '--verify', 'jwks.json']],
    ['tenants list', [...api, '--limit']],
    ['tenants show', api],
    ['tenants create', [...api, '--legal-name', '--tax-id', '--admin-email', '--wait', '--no-wait', 'FREEHOLD_ADMIN_PASSWORD']],
    ['tenants retry', [...api, '--wait']],
    ['tenants rename', [...api, '<subdomain>', '410', 'tenants.md']],
    ['tenants change', [...api, '--legal-name', '--contact-name', '--admin-email', '--plan', '--environment', '--config']],
    ['tenants adopt', [...api, '--legal-name', '--connection-string-file', '--take-over', '--wait', 'FREEHOLD_ADMIN_PASSWORD']],
    ['tenants reconnect', [...api, '--connection-string-file', 'adopt-a-database.md']],
    [
      'setup',
      [
        '[domain]',
        '--email',
        '--region',
        '--secrets-file',
        '--dry-run',
        '--yes',
        'NEON_API_KEY',
        'CLOUDFLARE_API_TOKEN',
        'MASTER_DATABASE_URL',
        'MASTER_READER_URL',
        'keys reader',
        'ENCRYPTION_KEYS',
        'PASSWORD_HASH_ITERATIONS',
        'NEON_SQL_URL',
      ],
    ],
    ['setup-groups', [...tenant, '--preset', '"minimal"', '"vigia"', 'Nobody can hand out']],
    ['setup-dev-users', [...api, '--role-preset', 'user@example.com', 'Refuses']],
    ['presets', ['--markdown', '--json']],
    ['keys', ['new', 'reader', 'rotate', 'reencrypt']],
    ['keys rotate', ['MASTER_DATABASE_URL', 'OWNER_KEYS', 'ENCRYPTION_KEYS', 'deploy']],
    ['keys reader', ['MASTER_DATABASE_URL', 'freehold setup']],
    ['keys reencrypt', ['MASTER_DATABASE_URL', 'OWNER_KEYS', 'ENCRYPTION_KEYS', 'NEON_SQL_URL']],
    ['users import', [...tenant, '--dry-run', 'password_hash', 'bcrypt']],
    ['employees import', [...tenant, '--dry-run', '.csv', 'document_number']],
    ['invitations', [...tenant, 'list', 'create', 'resend', 'revoke']],
    ['organizations', [...tenant, 'list', 'show', 'create', 'add-member']],
    ['keys new', ['--id', 'ENCRYPTION_KEYS', 'OWNER_KEYS']],
    ['operators', ['unlock']],
    ['operators unlock', ['--all', '--json', '--data', 'MASTER_DATABASE_URL', 'NEON_SQL_URL', 'USER_UNLOCKED']],
  ])('of "%s" ends well and names the options and settings', async ([command, words]) => {
    const { code, stdout, stderr } = await freehold([...command.split(' ').filter(Boolean), '--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const word of words) expect(stdout).toContain(word)
  })

  test('comes of modules that Node loads as they are', async () => {
    const others: string[] = []
    for await (const file of glob('scripts/freehold/**/*.ts', { cwd: ROOT }))
      if (file !== 'scripts/freehold/main.ts') others.push(join(ROOT, file))
    expect(others.length).toBeGreaterThan(50)
    const loading = others.map((file) => `await import(${JSON.stringify(pathToFileURL(file).href)})`).join('\n')
    const loaded = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', loading])
    expect(loaded).toEqual({ stdout: '', stderr: '' })
    expect(await ended(started(['--help']))).toEqual(await freehold(['--help']))
  })

  test('the version is that of the package', async () => {
    expect(await freehold(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  })
})

describe('a wrong call', () => {
  test.for([
    'tenants frobnicate',
    'tenants list --nope',
    'tenants list --limit 0',
    'tenants list surplus',
    'tenants create acme',
    'tenants adopt acme',
    'tenants reconnect acme',
    'tenants list --url ftp://localhost',
    'tenants list --url http://ada:secret@localhost',
    'setup --email nobody',
    'setup-groups',
    'setup-groups Not_a_label',
    'setup-groups acme --preset feudal',
    'setup-dev-users --role-preset feudal',
    'presets surplus',
    'keys new --id K!',
    'users import acme',
    'employees import acme',
    'employees terminate x',
    'invitations list --status perhaps',
    'organizations create Norte --user-limit 0',
    'doctor --yes',
    'operators unlock',
    'operators unlock nobody',
  ])('"%s" ends with 2 and one sentence', async (args) => {
    const { code, stdout, stderr } = await freehold(args.split(' '), ADA)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^error: [^\n]+\n$/)
  })

  test.for(['tenants list --nope --json', '--json tenants list --limit 0', 'tenants create acme --json', 'frobnicate --json'])(
    '"%s" is a problem for a machine: the same sentence, and a code',
    async (args) => {
      const { code, stdout, stderr } = await freehold(args.split(' '), ADA)
      const problem = JSON.parse(stdout)
      expect({ code, problem }).toEqual({
        code: 2,
        problem: { type: 'about:blank', title: 'The command failed', code: 'wrong_usage', detail: expect.any(String) },
      })
      expect(stderr).toBe(`error: ${problem.detail}\n`)
    },
  )

  test('of a group is a problem for a machine, too', async () => {
    const { code, stdout } = await freehold(['tenants', '--json'])
    expect({ code, problem: JSON.parse(stdout) }).toMatchObject({ code: 2, problem: { code: 'wrong_usage' } })
  })

  test('after -- is an argument, and asks for no document', async () => {
    expect(await freehold(['presets', '--', '--json'])).toMatchObject({ code: 2, stdout: '' })
  })

  test('of FREEHOLD_URL is told as one of --url', async () => {
    const { code, stderr } = await freehold(['tenants', 'list'], { ...ADA, FREEHOLD_URL: 'localhost:8787' })
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('FREEHOLD_URL') })
  })

  test('a group without a command shows its help', async () => {
    expect(await freehold(['tenants'])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('Usage: freehold tenants'),
    })
  })
})

describe('an address without encryption', () => {
  // Reserved for documentation (RFC 5737): nobody answers there.
  const FAR = 'http://192.0.2.1:8787'
  const BO = { FREEHOLD_TENANT_EMAIL: 'bo@acme.test', FREEHOLD_TENANT_PASSWORD: 'Tr0ub4dor-and-3' }
  const NAMED = ['http://freehold.example', 'http://localhost.evil.test', 'http://127.0.0.1.evil.test', 'http://[2001:db8::1]']
  const refusal = (setting: string, url: string) =>
    `error: ${setting}: ${url} is not encrypted, so the network could read passwords and tokens. Name an https:// address, or allow this one with --insecure.\n`
  const DATABASE = {
    MASTER_DATABASE_URL: 'postgresql://u:p@h/d',
    MASTER_READER_URL: 'postgresql://r:p@h/d',
    ...KEYS,
    NEON_SQL_URL: `${FAR}/sql`,
  }

  test.for<[string, string[], Record<string, string>, string, string]>([
    ['of an option', ['tenants', 'list', '--url', FAR], ADA, '--url or FREEHOLD_URL', FAR],
    ['of the environment', ['tenants', 'list'], { ...ADA, FREEHOLD_URL: FAR }, '--url or FREEHOLD_URL', FAR],
    ...NAMED.map((url): [string, string[], Record<string, string>, string, string] => [
      `as ${url}`,
      ['tenants', 'list', '--url', url],
      ADA,
      '--url or FREEHOLD_URL',
      url,
    ]),
    ['for users of a tenant', ['setup-groups', 'acme', '--url', FAR], BO, '--url or FREEHOLD_URL', FAR],
    ['of the databases, at a set-up', ['setup', '--email', 'ada@freehold.test'], DATABASE, 'NEON_SQL_URL', `${FAR}/sql`],
    ['of the databases, at a verification', ['audit', 'verify', 'acme'], DATABASE, 'NEON_SQL_URL', `${FAR}/sql`],
  ])('%s is refused before anything is sent', async ([, args, env, setting, url]) => {
    expect(await freehold(args, env)).toEqual({ code: 1, stdout: '', stderr: refusal(setting, url) })
  })

  test('is asked with --insecure, before or after the command', async () => {
    for (const args of [
      ['--insecure', 'tenants', 'list'],
      ['tenants', 'list', '--insecure'],
    ]) {
      // A name that never resolves (RFC 6761).
      const { code, stderr } = await freehold(args, { ...ADA, FREEHOLD_URL: 'http://freehold.invalid' })
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('does not answer at http://freehold.invalid') })
    }
  })

  test('stops no command that sends nothing there', async () => {
    expect(await freehold(['keys', 'new', '--id', 'k1'], { FREEHOLD_URL: FAR })).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('a server', () => {
  let away = ''
  beforeAll(async () => {
    // A port that was free a moment ago: nobody listens there.
    away = await stranger(
      () => {},
      async (url) => url,
    )
  })

  test('that is away is one sentence, which names the address and the setting', async () => {
    const { code, stdout, stderr } = await freehold(['tenants', 'list', '--url', away], ADA)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toBe(
      `error: Freehold does not answer at ${away} (ECONNREFUSED): name the right address with --url or FREEHOLD_URL.\n`,
    )
  })

  test('that is away is one document for a machine', async () => {
    const { code, stdout } = await freehold(['tenants', 'list', '--json'], { ...ADA, FREEHOLD_URL: away })
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ type: 'about:blank', detail: expect.stringContaining(away) })
  })

  test('that is not Freehold is told apart', async () => {
    const page: RequestListener = (_, response) => response.setHeader('Content-Type', 'text/html').end('<h1>It works!</h1>')
    const { code, stderr } = await stranger(page, (url) => freehold(['tenants', 'list', '--url', url], ADA))
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('not as Freehold does') })
  })

  test('that sends elsewhere is not followed there with the password', async () => {
    const paths: string[] = []
    const moved: RequestListener = (request, response) => {
      paths.push(String(request.url))
      response.writeHead(308, { Location: '/elsewhere' }).end()
    }
    const { code, stderr } = await stranger(moved, (url) => freehold(['tenants', 'list', '--url', url], ADA))
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('/elsewhere') })
    expect(paths).toEqual(['/platform/v1/auth/login'])
  })

  test('that hangs while a tenant is made keeps nobody from the password', async () => {
    const text = ['id', 'subdomain', 'url', 'legal_name', 'tax_id', 'country', 'region', 'admin_email', 'environment', 'status']
    const more = ['isolation', 'role_preset', 'database_name', 'created_at']
    const made = Object.fromEntries([...text, ...more].map((name) => [name, `a-${name}`]))
    const initial_admin = { email: 'bo@acme.test', password: 'Shown-once-7', must_change_password: true }
    const body = { ...made, contact_name: null, plan: null, schema_version: null, initial_admin }
    const hung: RequestListener = ({ method }, response) => {
      if (method === 'POST') response.writeHead(202).end(JSON.stringify(body))
    }
    const about = ['--legal-name', 'Acme', '--tax-id', '1', '--admin-email', 'bo@acme.test', '--wait', '1']
    const { code, stdout, stderr } = await stranger(hung, (url) =>
      freehold(['tenants', 'create', 'acme', ...about], { FREEHOLD_URL: url, FREEHOLD_TOKEN: 'token' }),
    )
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('Not ready after 1 s.') })
    expect(stdout).toContain('Shown-once-7')
  })

  test('cannot steer the terminal with its words', async () => {
    const problem = { title: 'Red \u001b[31malert', detail: 'two\nlines', trace_id: 'abc' }
    const rude: RequestListener = (_, response) => response.writeHead(400).end(JSON.stringify(problem))
    const { stderr } = await stranger(rude, (url) => freehold(['tenants', 'list', '--url', url], ADA))
    expect(stderr).toBe('error: Red alert.\ntwo lines\nTrace id: abc\n')
  })
})

describe('credentials', () => {
  test('that are missing are named', async () => {
    const { code, stderr } = await freehold(['tenants', 'list'])
    expect(code).toBe(1)
    for (const word of ['FREEHOLD_TOKEN', 'FREEHOLD_EMAIL', 'FREEHOLD_PASSWORD', '--data']) expect(stderr).toContain(word)
  })

  test('of which half is missing are refused', async () => {
    const { code, stderr } = await freehold(['tenants', 'list'], { FREEHOLD_EMAIL: 'ada@freehold.test' })
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('belong together') })
  })

  test('of a local start are never sent to another machine', async () => {
    const data = await mkdtemp(join(tmpdir(), 'freehold-cli-'))
    try {
      await writeFile(join(data, 'credentials.json'), JSON.stringify({ operator: { email: 'a@b.test', password: 'x' } }))
      const { code, stderr } = await freehold(['tenants', 'list', '--data', data, '--url', 'https://localhost.example.invalid'])
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: 'error: Log in with freehold login, or set FREEHOLD_TOKEN, or FREEHOLD_EMAIL and FREEHOLD_PASSWORD.\n',
      })
    } finally {
      await rm(data, { recursive: true })
    }
  })
})

test('dev gives its options to what npm start runs, and ends as that does', async () => {
  const { code, stdout, stderr } = await freehold([
    'dev',
    '--port',
    '99999',
    '--data',
    join(tmpdir(), 'freehold-never-made'),
    '--json',
  ])
  expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: '', stderr: '--port 99999 is not a port (1-65535).\n' })
})

describe('keys new', () => {
  test('gives a ring that encrypts', async () => {
    const { code, stdout, stderr } = await freehold(['keys', 'new', '--id', 'k1'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^k1:[A-Za-z0-9_-]{43}\n$/)
    const ring = EnvironmentSettings.shape.ENCRYPTION_KEYS.parse(stdout.trim())
    expect(await decrypt(ring, 'owner', 'field', await encrypt(ring, 'owner', 'field', 'secret'))).toBe('secret')
  })

  test('gives another key each time, under the id that was asked for', async () => {
    const runs = await Promise.all([1, 2].map(() => freehold(['keys', 'new', '--id', 'k2', '--json'])))
    const values = runs.map(({ stdout }) => JSON.parse(stdout).ENCRYPTION_KEYS)
    for (const value of values) expect(value).toMatch(/^k2:/)
    expect(new Set(values).size).toBe(2)
  })
})

describe('keys reader', () => {
  const MASTER_DATABASE_URL = 'postgresql://user:password@ep-quiet.neon.test/master?sslmode=require'

  test('gives a login of the same database with a password of its own each time, which the Worker takes beside the master', async () => {
    const runs = await Promise.all([1, 2].map(() => freehold(['keys', 'reader'], { MASTER_DATABASE_URL })))
    const urls = runs.map(({ stdout }) => new URL(stdout.trim()))
    for (const url of urls) {
      expect(url.href).toMatch(/^postgresql:\/\/freehold_reader_a:[\w-]{43}@ep-quiet\.neon\.test\/master\?sslmode=require$/)
      const given = { ...KEYS, BASE_URL: 'https://freehold.dev', NEON_API_KEY: 'x', MASTER_DATABASE_URL }
      expect(parseSettings({ ...given, MASTER_READER_URL: url.href }).MASTER_READER_URL).toBe(url.href)
    }
    expect(new Set(urls.map(({ password }) => password)).size).toBe(2)
  })

  test('names the setting that it lacks', async () => {
    expect(await freehold(['keys', 'reader'])).toEqual({
      code: 1,
      stdout: '',
      stderr: 'error: MASTER_DATABASE_URL is not set, or is no URL.\n',
    })
  })
})

describe('keys new without --id', () => {
  const key = 'A'.repeat(43)

  test.for([
    ['ENCRYPTION_KEYS', `k1:${key}`, 'k2'],
    ['ENCRYPTION_KEYS', `k2:${key},k1:${key}`, 'k3'],
    ['OWNER_KEYS', `k9:${key}, k10:${key}`, 'k11'],
    ['OWNER_KEYS', `old:${key}`, 'k1'],
  ])('names the next key after those of %s=%s: %s', async ([setting = '', ring = '', id]) => {
    const { stdout, stderr } = await freehold(['keys', 'new', setting], { [setting]: ring })
    expect([stdout.split(':')[0], stderr]).toEqual([id, ''])
  })

  test('says why it is k1 where the setting is not set, and reads nothing of another', async () => {
    const { stdout, stderr } = await freehold(['keys', 'new'], { OWNER_KEYS: `k7:${key}` })
    expect(stdout).toMatch(/^k1:[\w-]{43}\n$/)
    expect(stderr).toBe(
      'The id is k1, because ENCRYPTION_KEYS is not set here: where it has a key k1 already, give another with --id.\n',
    )
  })

  test('refuses an id that the ring has, and a ring that is none without repeating it', async () => {
    const taken = await freehold(['keys', 'new', '--id', 'k1'], { ENCRYPTION_KEYS: `k1:${key}` })
    expect(taken).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('has a key k1 already') })
    const broken = await freehold(['keys', 'new'], { ENCRYPTION_KEYS: key })
    expect(broken).toMatchObject({ code: 1, stdout: '', stderr: expect.not.stringContaining(key) })
  })
})

test('keys new names the setting that a script asks for', async () => {
  const { stdout } = await freehold(['keys', 'new', 'OWNER_KEYS', '--json'])
  expect(JSON.parse(stdout)).toEqual({ OWNER_KEYS: expect.stringMatching(/^k1:/) })
})

test.for([
  ['keys', 'reencrypt'],
  ['audit', 'verify', 'acme'],
])('%s %s reads no owner login without its key ring', async (args) => {
  const { ENCRYPTION_KEYS } = KEYS
  const { code, stderr } = await freehold(args, { MASTER_DATABASE_URL: 'postgresql://u:p@localhost/d', ENCRYPTION_KEYS })
  expect({ code, stderr }).toEqual({ code: 1, stderr: 'error: Wrong settings: OWNER_KEYS is not set.\n' })
})

test('setup names every setting that is missing', async () => {
  const { code, stderr } = await freehold(['setup', '--email', 'ada@freehold.test'])
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: 'error: Wrong settings: MASTER_DATABASE_URL is not set; MASTER_READER_URL is not set; ENCRYPTION_KEYS is not set.\n',
  })
})

test('setup does not hash the first password at a cost that production refuses', async () => {
  const MASTER_DATABASE_URL = 'postgresql://user:password@localhost/master'
  const MASTER_READER_URL = 'postgresql://reader:password@localhost/master'
  const settings = { MASTER_DATABASE_URL, MASTER_READER_URL, ...KEYS, PASSWORD_HASH_ITERATIONS: '599999' }
  const { code, stderr } = await freehold(['setup', '--email', 'ada@freehold.test'], settings)
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(
      /^error: Wrong settings: PASSWORD_HASH_ITERATIONS must be at least 600000 in production[^\n]+\n$/,
    ),
  })
})

describe('progress', () => {
  const step = (name: string, state: Step['state'], more: Partial<Step> = {}): Step => ({
    name,
    state,
    started_at: state === 'pending' ? null : '2026-01-01T00:00:00.000000Z',
    finished_at: state === 'done' ? '2026-01-01T00:00:01.500000Z' : null,
    attempts: state === 'pending' ? 0 : 1,
    error: null,
    ...more,
  })
  const first = [step('place', 'done'), step('database', 'running'), step('migrate', 'pending')]
  const second = [step('place', 'done'), step('database', 'done'), step('migrate', 'running', { attempts: 2, error: 'away' })]

  function shown(screen: { isTTY?: boolean; rows?: number; columns?: number }): string {
    let text = ''
    const write = (chunk: string | Uint8Array) => {
      text += chunk
      return true
    }
    const show = progressOn({ ...screen, write })
    for (const steps of [first, second]) show(steps)
    return text
  }

  test('is a list that is drawn again in its place on a terminal', () => {
    const text = shown({ isTTY: true, rows: 24, columns: 80 })
    const [before, after = ''] = text.split('\u001b[3A')
    expect(before).toBe('  done     place          1.5 s\n  running  database       0.0 s\n  pending  migrate\n')
    expect(after).toContain('\u001b[0J')
    expect(after).toContain('  running  migrate        0.0 s  try 2: away\n')
  })

  test.for([{}, { isTTY: true, rows: 3, columns: 80 }])(
    'is a line for each step that has finished where it cannot be: %j',
    (screen) => {
      expect(shown(screen)).toBe('  done     place          1.5 s\n  done     database       1.5 s\n')
    },
  )
})
