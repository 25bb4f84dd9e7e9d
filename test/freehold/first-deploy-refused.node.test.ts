/** Threat: a set-up finds out half-way that it may not go on, and leaves things that cost and that nobody knows of. */
import { chmod, stat, writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Accounts, DOMAIN, newAccounts } from './deployment.ts'
import { freehold } from './run.ts'

let accounts: Accounts
let fresh: ReturnType<typeof structuredClone<Accounts['cloudflare']['state']>>
beforeAll(async () => {
  accounts = await newAccounts('freehold-first-deploy-refused')
  fresh = structuredClone(accounts.cloudflare.state)
})
afterAll(() => accounts.stop())
afterEach(() => {
  Object.assign(accounts.cloudflare.state, structuredClone(fresh))
})

/** Runs it with --yes, and expects that it stops with these words and has made nothing. */
async function expectRefused(words: string | RegExp, env: Record<string, string> = {}, domain = DOMAIN): Promise<void> {
  const here = await accounts.project()
  const { code, stdout, stderr } = await accounts.run(here, ['--yes'], env, domain)
  expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: '' })
  const [, error = ''] = /^error: ([\s\S]+)\n$/m.exec(stderr) ?? []
  if (typeof words === 'string') expect(error).toContain(words)
  else expect(error).toMatch(words)
  expect(await accounts.projects()).toEqual([])
  expect(accounts.cloudflare.changes).toEqual([])
  expect(await stat(here.secrets).catch(() => null)).toBeNull()
}

describe('a domain', () => {
  test.for([
    'https://id.acme.dev',
    'acme',
    'id.acme.dev/x',
    '-a.dev',
    'id..dev',
    'example.com',
    'id.example.org',
    'acme.test',
    'x.localhost',
  ])('%s is wrong usage', async (domain) => {
    const { code, stderr } = await freehold(['setup', domain, '--email', 'ada@acme.dev', '--yes'])
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/^error: [^\n]+\n$/) })
  })

  test('whose zone is not there is told before anything is made, with all names that were looked for', () =>
    expectRefused(
      /^No zone for id\.elsewhere\.dev: .*none of id\.elsewhere\.dev, elsewhere\.dev, or the token does not include it/,
      {},
      'id.elsewhere.dev',
    ))

  test.for([
    ['pending', { status: 'pending' }],
    ['paused', { paused: true }],
  ] as const)('whose zone is %s is told before anything is made', async ([word, state]) => {
    Object.assign(accounts.cloudflare.state.zone, state)
    await expectRefused(`The zone acme.dev is ${word}: Cloudflare does not answer for it yet.`)
  })

  test('that has a record which does not lead through Cloudflare is told before anything is made, and the record stays', async () => {
    const record = { id: 'r1', name: `*.${DOMAIN}`, type: 'A', content: '192.0.2.1', proxied: false }
    accounts.cloudflare.state.records.push(record)
    await expectRefused(`*.${DOMAIN} is a record of DNS already (A 192.0.2.1) and not proxied`)
    expect(accounts.cloudflare.state.records).toEqual([record])
  })

  test('deeper than the certificate of the zone is named, with what to do', async () => {
    accounts.cloudflare.state.packs.pop()
    const { code, stderr } = await accounts.run(await accounts.project(), ['--dry-run'])
    expect(code).toBe(0)
    expect(stderr).toMatch(/^yours +certificates: none covers \*\.id\.acme\.dev: .*Advanced Certificate Manager/m)
    Object.assign(accounts.cloudflare.state.packs[0] ?? {}, { status: 'pending_validation' })
    const apex = await accounts.run(await accounts.project(), ['--dry-run'], {}, 'acme.dev')
    expect(apex.stderr).toContain('all names under it lead to the Worker, and HSTS binds them to https for two years')
    expect(stderr).not.toContain('HSTS binds them')
    expect(apex.stderr).toMatch(/^yours +certificates: for acme\.dev and \*\.acme\.dev are not active yet/m)
    Object.assign(accounts.cloudflare.state.packs[0] ?? {}, { status: 'active' })
    expect((await accounts.run(await accounts.project(), ['--dry-run'], {}, 'acme.dev')).stderr).toMatch(
      /^ok +certificates: cover acme\.dev/m,
    )
  })
})

describe('something else of the same name is left alone, before anything is made:', () => {
  const foreign = { bindings: [{ name: 'COUNTER', type: 'kv_namespace' }], modules: new Map() }

  test('a Worker', async () => {
    accounts.cloudflare.state.scripts.set('freehold', foreign)
    await expectRefused('The account has a Worker freehold, which is not Freehold and would be replaced')
    expect(accounts.cloudflare.state.scripts.get('freehold')).toBe(foreign)
  })

  test('a Workflow', async () => {
    accounts.cloudflare.state.workflows.set('migration', { script_name: 'shop' })
    await expectRefused('The Workflow migration is of the Worker shop, from which a deploy would take it')
  })

  test('a route', async () => {
    accounts.cloudflare.state.routes.push({ id: 'r', pattern: `${DOMAIN}/*`, script: 'shop' })
    await expectRefused(`The route ${DOMAIN}/* leads to the Worker shop`)
  })
})

describe('a token for Cloudflare', () => {
  test('that is not set is told with the permissions to give it', () =>
    expectRefused(/^CLOUDFLARE_API_TOKEN is not set: .*Zone > DNS: Edit.*Account > Workers Scripts: Edit/, {
      CLOUDFLARE_API_TOKEN: '',
    }))

  test('that Cloudflare does not know is told, and not repeated', async () => {
    await expectRefused('Cloudflare does not accept CLOUDFLARE_API_TOKEN (Invalid access token (9109))', {
      CLOUDFLARE_API_TOKEN: 'guessed',
    })
  })

  test.for([
    ['dns', 'Zone > DNS: Edit'],
    ['settings', 'Zone > Zone Settings: Edit'],
    ['certificates', 'Zone > SSL and Certificates: Read'],
    ['routes', 'Zone > Workers Routes: Edit'],
    ['kv', 'Account > Workers KV Storage: Edit'],
    ['r2', 'Account > Workers R2 Storage: Edit'],
    ['scripts', 'Account > Workers Scripts: Edit'],
    ['zone', 'Zone > Zone: Read'],
  ] as const)('that may not even read %s is told the permission, before anything is made', async ([name, permission]) => {
    const { read } = accounts.cloudflare.may
    read.delete(name)
    await expectRefused(
      `CLOUDFLARE_API_TOKEN may do too little: add ${name === 'zone' ? 'the permission ' : ''}"${permission}"`,
    ).finally(() => read.add(name))
  })

  test('that lacks several is told all of them at once', async () => {
    const { read } = accounts.cloudflare.may
    for (const name of ['dns', 'kv'] as const) read.delete(name)
    await expectRefused('add "Zone > DNS: Edit", "Account > Workers KV Storage: Edit" to it').finally(() =>
      read.add('dns').add('kv'),
    )
  })

  test('that may not look at bot checks is no reason to stop: they are left to the owner', async () => {
    const { read } = accounts.cloudflare.may
    read.delete('bots')
    const { code, stderr } = await accounts.run(await accounts.project(), ['--dry-run']).finally(() => read.add('bots'))
    expect(code).toBe(0)
    expect(stderr).toMatch(
      /^yours +bot checks: not looked at, without "Zone > Bot Management: Edit": see that Bot Fight Mode is off/m,
    )
  })

  test('is not sent where the network could read it', () =>
    expectRefused(/^CLOUDFLARE_API_BASE_URL: .* is not encrypted/, { CLOUDFLARE_API_BASE_URL: 'http://192.0.2.1/client/v4' }))
})

describe('a key for Neon', () => {
  test('that is not set, or that Neon does not know, is told', async () => {
    await expectRefused(/^NEON_API_KEY is not set: make an organization key/, { NEON_API_KEY: '' })
    await expectRefused(/^Neon does not accept NEON_API_KEY/, { NEON_API_KEY: 'guessed' })
  })

  test('that is personal needs NEON_ORG_ID, and is told so', () =>
    expectRefused(/^NEON_API_KEY is a personal key: set NEON_ORG_ID/, { NEON_API_KEY: `${accounts.neon.apiKey}personal` }))

  test('that is for one project alone is told to be too little', async () => {
    const fault = {
      kind: 'status',
      match: { method: 'GET', path: '/projects$' },
      times: 9,
      status: 403,
      body: '{"code":"","message":"not allowed"}',
    }
    const set = (faults: object[]) =>
      fetch(`${new URL(accounts.neon.apiUrl).origin}/faults`, { method: 'PUT', body: JSON.stringify(faults) })
    expect((await set([fault])).status).toBe(200)
    await expect(accounts.run(await accounts.project()).finally(() => set([]))).resolves.toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        'NEON_API_KEY may do too little (Neon answered 403: not allowed). A key for one project cannot make others',
      ),
    })
  })

  test('and a region that Neon has not is told, with those that it has', async () => {
    const { code, stderr } = await accounts.run(await accounts.project(), ['--yes', '--region', 'aws-moon-1'])
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/error: --region: Neon has no aws-moon-1; it has aws-/),
    })
    expect(await accounts.projects()).toEqual([])
  })
})

test('a project at Neon that has the name of the master and is none is left alone', async () => {
  const headers = { Authorization: `Bearer ${accounts.neon.apiKey}`, 'Content-Type': 'application/json' }
  const made = await fetch(`${accounts.neon.apiUrl}/projects`, {
    method: 'POST',
    headers,
    body: '{"project": {"name": "freehold-master"}}',
  })
  const { project } = (await made.json()) as { project: { id: string } }
  expect(await accounts.run(await accounts.project())).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`error: The project freehold-master (${project.id}) has no database freehold_master`),
  })
  expect((await fetch(`${accounts.neon.apiUrl}/projects/${project.id}`, { method: 'DELETE', headers })).status).toBe(200)
})

test('a file of secrets that others may read, or that is something else, is not used', async () => {
  const here = await accounts.project()
  await writeFile(here.secrets, '{}', { mode: 0o644 })
  const run = () => accounts.run(here, ['--dry-run'])
  expect(await run()).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`can be read by others of this machine: chmod 600 ${here.secrets}`),
  })
  await chmod(here.secrets, 0o600)
  for (const text of ['[]', 'no JSON', '{"ENCRYPTION_KEYS": 7}', '{"AWS_SECRET": "x"}']) {
    await writeFile(here.secrets, text)
    expect(await run(), text).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is no JSON object of MASTER_DATABASE_URL'),
    })
  }
})
