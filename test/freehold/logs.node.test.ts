/**
 * `logs` beside a wrangler that prints what a tail sent, as `wrangler tail --format json` prints it; and `open` beside a program that opens
 * addresses. Both are found on the PATH.
 */
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openerOf } from '../../scripts/freehold/opening.ts'
import { ended, freehold, started } from './run.ts'
import { stranger } from './stranger.ts'

const TRACES = ['0af7651916cd43dd8448eb211c80319c', '4bf92f3577b34da6a3ce929d0e0e4736', '9d2f4a1b6c8e4f70a1b2c3d4e5f60718']
const AT = Date.parse('2026-03-31T10:00:00.500Z')
const written = (at: number, fields: object) => ({
  message: [JSON.stringify({ at: new Date(at).toISOString(), ...fields })],
  level: 'log',
  timestamp: at,
})
const request = (method: string, path: string, status: number, more: object) => ({
  wallTime: 12,
  cpuTime: 3,
  truncated: false,
  executionModel: 'stateless',
  outcome: 'ok',
  scriptName: 'freehold',
  diagnosticsChannelEvents: [],
  exceptions: [],
  logs: [],
  eventTimestamp: AT,
  event: {
    request: { url: `https://id.acme.dev${path}`, method, headers: { host: 'id.acme.dev' }, cf: { colo: 'AMS' } },
    response: { status },
  },
  ...more,
})
const line = (tenant: string, trace_id: string | undefined, fields: object) => ({ event: 'request', tenant, trace_id, ...fields })
const EVENTS = [
  request('GET', '/api/v1/users', 200, {
    logs: [
      written(
        AT,
        line('acme', TRACES[0], { method: 'GET', path: '/api/v1/users', status: 200, code: null, trips: 1, agent: 'curl 8' }),
      ),
    ],
  }),
  request('POST', '/api/v1/auth/login', 401, {
    logs: [
      written(AT + 1, { event: 'password refused', tenant: 'beta', trace_id: TRACES[1] }),
      written(
        AT + 2,
        line('beta', TRACES[1], { method: 'POST', path: '/api/v1/auth/login', status: 401, code: 'invalid_credentials' }),
      ),
    ],
  }),
  request('GET', '/api/v1/roles', 500, {
    outcome: 'exception',
    exceptions: [{ name: 'TypeError', message: 'x is not a function', timestamp: AT + 4 }],
    logs: [
      written(AT + 3, line('acme', TRACES[2], { method: 'GET', path: '/api/v1/roles', status: 500, code: 'internal_error' })),
    ],
  }),
  {
    outcome: 'ok',
    exceptions: [],
    logs: [written(AT + 5, { event: 'mail not delivered', tenant: 'beta', error: 'no\u001b[31m' })],
    eventTimestamp: AT,
    event: { cron: '* * * * *' },
  },
  {
    outcome: 'ok',
    exceptions: [],
    logs: [{ message: ['said', { by: 'console' }], level: 'warn', timestamp: AT + 6 }],
    eventTimestamp: AT,
    event: null,
  },
]
let folder: string

async function program(name: string, text: string) {
  await writeFile(join(folder, name), `#!${process.execPath}\n${text}`)
  await chmod(join(folder, name), 0o755)
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freehold-logs-'))
  const printed = EVENTS.map((event, n) => (n === 1 ? JSON.stringify(event) : JSON.stringify(event, null, 4)))
  const text = `${printed.slice(0, 2).join('\n')}\nTail connection lost. Reconnecting ...\n${printed.slice(2).join('\n')}\n`
  await writeFile(join(folder, 'printed'), text)
  await program(
    'wrangler',
    `import { readFileSync, writeFileSync } from 'node:fs'
     writeFileSync(${JSON.stringify(join(folder, 'asked'))}, process.argv.slice(2).join(' '))
     if (process.env.FAKE_FAILS) { console.error('You are not logged in.'); process.exit(3) }
     // In pieces that end anywhere.
     for (const piece of readFileSync(${JSON.stringify(join(folder, 'printed'))}, 'utf8').match(/[^]{1,97}/g)) process.stdout.write(piece)
     if (!process.env.FAKE_STAYS) process.exit(0)
     process.on('SIGINT', () => { writeFileSync(${JSON.stringify(join(folder, 'ended'))}, 'yes'); process.exit(0) })
     setInterval(() => {}, 1000)`,
  )
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const path = () => ({ PATH: `${folder}:${process.env.PATH}` })
const logs = (...args: string[]) => freehold(['logs', ...args], path())

describe('logs', () => {
  test('prints one line for each that was written or thrown, with its tenant and trace id', async () => {
    const { code, stdout, stderr } = await logs()
    expect(stdout.split('\n')).toEqual([
      `2026-03-31 10:00:00.500  info   acme  GET /api/v1/users 200 trips=1 agent="curl 8"  ${TRACES[0]}`,
      `2026-03-31 10:00:00.501  info   beta  password refused  ${TRACES[1]}`,
      `2026-03-31 10:00:00.502  warn   beta  POST /api/v1/auth/login 401 invalid_credentials  ${TRACES[1]}`,
      `2026-03-31 10:00:00.503  error  acme  GET /api/v1/roles 500 internal_error  ${TRACES[2]}`,
      `2026-03-31 10:00:00.504  error  acme  exception error="TypeError: x is not a function"  ${TRACES[2]}`,
      '2026-03-31 10:00:00.505  error  beta  mail not delivered error=no',
      '2026-03-31 10:00:00.506  warn   -  console said="said {\\"by\\":\\"console\\"}"',
      '',
    ])
    expect([code, stderr]).toEqual([0, 'Tail connection lost. Reconnecting ...\n'])
    expect(await readFile(join(folder, 'asked'), 'utf8')).toBe('tail --env production --format json')
  })

  test.for<[string[], number[]]>([
    [
      ['--tenant', 'acme'],
      [0, 3, 4],
    ],
    [
      ['--trace', TRACES[1]?.toUpperCase() ?? ''],
      [1, 2],
    ],
    [
      ['--level', 'warn'],
      [2, 3, 4, 5, 6],
    ],
    [
      ['--level', 'error'],
      [3, 4, 5],
    ],
    [
      ['--status', '401'],
      [1, 2],
    ],
    [
      ['--status', '5xx'],
      [3, 4],
    ],
    [['--tenant', 'beta', '--level', 'warn', '--status', '4xx'], [2]],
  ])('%j prints those lines alone', async ([args, wanted]) => {
    const all = (await logs()).stdout.split('\n')
    expect((await logs(...args)).stdout).toBe(wanted.map((n) => `${all[n]}\n`).join(''))
  })

  test('--json prints each line as a document', async () => {
    const { stdout } = await logs('--json', '--trace', TRACES[2] ?? '')
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text))
    expect(lines).toMatchObject([
      { at: '2026-03-31T10:00:00.503Z', event: 'request', level: 'error', tenant: 'acme', trace_id: TRACES[2], status: 500 },
      { event: 'exception', error: 'TypeError: x is not a function', tenant: 'acme', trace_id: TRACES[2] },
    ])
  })

  test('Ctrl-C ends wrangler, and is no failure', async () => {
    const child = started(['logs'], { ...path(), FAKE_STAYS: '1' })
    const done = ended(child)
    await new Promise((seen) => child.stdout.once('data', seen))
    child.kill('SIGINT')
    expect((await done).code).toBe(0)
    expect(existsSync(join(folder, 'ended'))).toBe(true)
  })

  test('tells when wrangler fails, and when there is none', async () => {
    const failed = await freehold(['logs', '--worker', 'other'], { ...path(), FAKE_FAILS: '1' })
    expect(failed).toEqual({
      code: 1,
      stdout: '',
      stderr: 'You are not logged in.\nerror: wrangler ended with 3: what it said is above.\n',
    })
    expect(await readFile(join(folder, 'asked'), 'utf8')).toBe('tail other --format json')
    const none = await freehold(['logs'], { PATH: tmpdir() })
    expect([none.code, none.stderr]).toEqual([1, expect.stringMatching(/^error: There is no wrangler on the PATH: /)])
  })

  test.for([
    ['--level', 'loud'],
    ['--status', '700'],
    ['--trace', 'abc'],
    ['--tenant', 'a b'],
    ['--worker', 'x;y'],
  ])('%j is wrong usage', async (args) => {
    expect((await logs(...args)).code).toBe(2)
  })
})

describe('on Windows', () => {
  test('wrangler is run by the shell, in words that need no quotes', async () => {
    const shell = join(folder, 'cmd.exe')
    await writeFile(shell, `#!/bin/sh\nprintf '%s\\n' "$@" > '${join(folder, 'shell')}'\n`)
    await chmod(shell, 0o755)
    const NODE_OPTIONS = `--import=data:text/javascript,Object.defineProperty(process,'platform',{value:'win32'})`
    await freehold(['logs', '--worker', 'ours'], { ...path(), NODE_OPTIONS })
    expect(await readFile(join(folder, 'shell'), 'utf8')).toBe('/d\n/s\n/c\n"wrangler tail ours --format json"\n')
  })

  test('an address is opened by a program, and no shell reads it', () => {
    expect(openerOf('win32', 'https://acme.id.acme.dev/')).toEqual([
      'rundll32',
      'url.dll,FileProtocolHandler',
      'https://acme.id.acme.dev/',
    ])
    expect(openerOf('darwin', 'https://x.test/')).toEqual(['open', 'https://x.test/'])
  })
})

describe('open', () => {
  const TENANT = {
    id: '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11',
    subdomain: 'acme',
    legal_name: 'Acme',
    tax_id: null,
    country: null,
  }
  const MORE = { region: 'r', admin_email: 'bo@acme.test', contact_name: null, plan: null, environment: 'demo', status: 'active' }
  const LAST = {
    isolation: 'database',
    role_preset: 'minimal',
    database_name: 'd',
    schema_version: null,
    created_at: '2026-01-01T00:00:00Z',
  }
  const asked = (args: string[], env: Record<string, string>, url = 'https://acme.id.acme.dev') =>
    stranger(
      (_, response) => {
        response.setHeader('Content-Type', 'application/json')
        response.end(JSON.stringify({ data: [{ ...TENANT, ...MORE, ...LAST, url }], next_cursor: null }))
      },
      (at) => freehold(['open', ...args], { FREEHOLD_URL: at, FREEHOLD_TOKEN: 'a.b.c', ...env }),
    )

  test('prints the address of a tenant with --print, and where there is no browser', async () => {
    const printed = { code: 0, stdout: 'https://acme.id.acme.dev/\n', stderr: '' }
    expect(await asked(['acme', '--print'], { DISPLAY: ':0' })).toEqual(printed)
    if (process.platform === 'linux') expect(await asked(['acme'], {})).toEqual(printed)
    expect(await asked(['acme'], { DISPLAY: ':0', PATH: tmpdir() })).toEqual(printed)
    expect(JSON.parse((await asked(['acme', '--json'], {})).stdout)).toEqual({ url: 'https://acme.id.acme.dev/' })
  })

  test('opens it in the browser, and without a tenant the reference of its API', async () => {
    const file = join(folder, 'opened')
    const text = `import { writeFileSync } from 'node:fs'\nwriteFileSync(${JSON.stringify(file)}, process.argv[2])`
    for (const name of ['xdg-open', 'open']) await program(name, text)
    const env = { DISPLAY: ':0', PATH: `${folder}:${dirname(process.execPath)}` }
    expect(await asked(['acme'], env)).toEqual({
      code: 0,
      stdout: '',
      stderr: 'https://acme.id.acme.dev/ is opened in the browser.\n',
    })
    await expect.poll(() => readFile(file, 'utf8').catch(() => ''), { timeout: 30_000 }).toBe('https://acme.id.acme.dev/')
    expect((await freehold(['open', '--print', '--url', 'https://id.acme.dev'], {})).stdout).toBe('https://id.acme.dev/docs\n')
  })

  test('a tenant that there is not, and an address that is none of the web, are refused', async () => {
    expect(await asked(['beta'], {})).toMatchObject({ code: 1, stderr: 'error: There is no tenant beta.\n' })
    const { code, stderr } = await asked(['acme'], { DISPLAY: ':0' }, 'file:///etc/passwd')
    expect([code, stderr]).toEqual([1, 'error: file:///etc/passwd is not the address of a page.\n'])
  })
})
