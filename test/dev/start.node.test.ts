import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createConfig, lintFromString } from '@redocly/openapi-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assetsOf, MADE } from '../../scripts/bundle/assets.ts'
import { rucFor } from '../../scripts/dev/settings.ts'
import { alive, ask, below, freePort, ROOT, type Running, ready, start } from './running.ts'

const folder = mkdtempSync(join(tmpdir(), 'freehold-start-'))
const dataDir = join(folder, '.freehold')
let port: number
let running: Running
let facts: any

beforeAll(async () => {
  port = await freePort()
  running = start(['--json', '--data', dataDir, '--port', String(port)])
  facts = await ready(running)
})

afterAll(async () => {
  running.child.kill('SIGINT')
  await running.ended
  rmSync(folder, { recursive: true, force: true })
})

describe('npm start', () => {
  it('prints exactly one line of JSON with where things are and the first credentials', () => {
    expect(running.out().trim().split('\n')).toHaveLength(1)
    expect(facts).toEqual({
      url: `http://localhost:${port}`,
      platform: { email: expect.any(String), password: expect.any(String) },
      tenant: {
        subdomain: 'demo',
        url: `http://demo.localhost:${port}`,
        email: expect.any(String),
        password: expect.any(String),
      },
      neon: {
        api_url: expect.stringMatching(/\/api\/v2$/),
        api_key: expect.any(String),
        sql_url: expect.stringMatching(/\/sql$/),
      },
      postgres_url: expect.stringMatching(/^postgresql:/),
      mailbox_url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    })
  })

  it('gives an operator and a tenant administrator who can log in', async () => {
    const operator = await ask(`${facts.url}/platform/v1/auth/login`, { body: JSON.stringify(facts.platform) })
    expect(operator.status).toBe(200)
    const { email, password } = facts.tenant
    const admin = await ask(`${facts.tenant.url}/api/v1/auth/login`, { body: JSON.stringify({ email, password }) })
    expect(admin.body).toMatchObject({ token_type: 'Bearer', must_change_password: false })
    const me = await ask(`${facts.tenant.url}/api/v1/auth/me`, {
      headers: { Authorization: `Bearer ${admin.body.access_token}` },
    })
    expect(me.body).toMatchObject({ email, role: 'admin', tenant: 'demo' })
  })

  it('shows the API with a script and a style of its own', async () => {
    const page = await ask(`${facts.url}/docs`)
    expect(page.status).toBe(200)
    const parts = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, part]) => part)
    expect(parts).toEqual(['/docs/swagger-ui.css', '/docs/swagger-ui-bundle.js', '/docs/start.js'])
    for (const part of parts) expect((await ask(`${facts.url}${part}`)).status, part).toBe(200)
  })

  it('shows nobody its other assets, by whatever path', async () => {
    const assets = [...assetsOf(ROOT).keys(), ...MADE]
    expect(assets).toContain('drizzle/tenant/0000_baseline.sql')
    const paths = assets.flatMap((asset) => [
      `/${asset}`,
      `/${asset}/`,
      `//${asset}`,
      `/docs/${asset.replaceAll('/', '%2F')}`,
      `/docs/%2e%2e%2f${asset}`,
      `/docs/swagger-ui.css%2f..%2f${asset.replaceAll('/', '%2f')}`,
    ])
    for (const path of paths.filter((path) => !/^\/docs\/swagger-ui(-bundle\.js|\.css)$/.test(path)))
      for (const at of [facts.url, facts.tenant.url]) expect((await ask(`${at}${path}`)).status, path).toBe(404)
  })

  it('documents itself in OpenAPI 3.1 that an outside linter accepts', async () => {
    const document = await ask(`${facts.url}/openapi.json`)
    expect(document.body.openapi).toBe('3.1.0')
    const config = await createConfig({ extends: ['recommended'], rules: { 'no-server-example.com': 'off' } })
    const problems = await lintFromString({ source: JSON.stringify(document.body), absoluteRef: 'openapi.json', config })
    expect(problems.map((p) => `${p.severity} ${p.ruleId}: ${p.message} ${p.location[0]?.pointer ?? ''}`)).toEqual([])
  })

  it.for(['sh', 'zsh'])('makes the tour of the README come true as it is pasted into %s', async (shell, { skip }) => {
    for (const program of ['curl', shell]) skip(!has(program), `${program} is not on this machine`)
    const tenant = `acme-${shell}`
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
    const tour = readme.slice(readme.indexOf('## Five minutes'), readme.indexOf('## Go on'))
    const lines = [...tour.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block]) => block).join('')
    const script = lines
      .replaceAll('8787', String(port))
      .replaceAll('.freehold/', `${dataDir}/`)
      .replaceAll('"acme"', `"${tenant}"`)
      .replaceAll('acme.localhost', `${tenant}.localhost`)
      .replaceAll('X-Tenant: acme', `X-Tenant: ${tenant}`)
      .replaceAll('20031353204', rucFor(tenant))
    const marked = script.replaceAll(
      /^npm run freehold -- tenants list$/gm,
      `FREEHOLD_URL=${facts.url} npm run freehold -- tenants list --data ${dataDir}`,
    )
    writeFileSync(join(folder, 'tour.sh'), `set -e\n${marked}`)
    const { stdout } = await promisify(execFile)(shell, [join(folder, 'tour.sh')], { cwd: ROOT })
    for (const sign of [
      'status: active',
      'password_change_required',
      '"email":"ada@acme.test"',
      '"permissions":[',
      '"kty":"EC"',
      '"allowed":true',
      '"allowed":false',
      '"permission":"document:read"',
      '"effect":"deny"',
      'by ada',
      'This API key does not include unit:read.',
      'token_wrong_tenant',
      'session_ended',
    ]) {
      expect(stdout.replaceAll("'", '')).toContain(sign)
    }
    expect(stdout.match(/204\n/g)).toHaveLength(2)
  })

  it('ends every process on Ctrl-C, and comes up again with everything still there', async () => {
    const pids = below(running.child.pid ?? 0)
    expect(pids.length).toBeGreaterThan(3)
    running.child.kill('SIGINT')
    expect((await running.ended).code).toBe(0)
    expect(pids.filter(alive)).toEqual([])
    running = start(['--json', '--data', dataDir, '--port', String(port)])
    const again = await ready(running)
    expect({ ...again, neon: null, postgres_url: null, mailbox_url: null }).toEqual({
      ...facts,
      neon: null,
      postgres_url: null,
      mailbox_url: null,
    })
    const { email, password } = facts.tenant
    const admin = await ask(`${facts.tenant.url}/api/v1/auth/login`, { body: JSON.stringify({ email, password }) })
    expect(admin.status).toBe(200)
  })
})

describe('a start that cannot work ends with one sentence that names why, and 1', () => {
  const cases: [string, Record<string, string>, string[], RegExp][] = [
    ['a base URL with a path', { BASE_URL: 'http://localhost/x' }, [], /BASE_URL/],
    ['a template without {subdomain}', { TENANT_DB_TEMPLATE: 'tenants' }, [], /TENANT_DB_TEMPLATE.*\{subdomain\}/],
    ['a template that breaks Postgres’ naming', { TENANT_DB_TEMPLATE: 'Tenant-{subdomain}' }, [], /TENANT_DB_TEMPLATE/],
    ['a master URL that is none', { MASTER_DATABASE_URL: 'localhost' }, [], /MASTER_DATABASE_URL/],
    ['an empty master URL', { MASTER_DATABASE_URL: '' }, [], /MASTER_DATABASE_URL is not set/],
    ['a default tenant that is no label', { DEFAULT_TENANT: 'Not_One' }, [], /DEFAULT_TENANT/],
    ['a key ring that is none', { ENCRYPTION_KEYS: 'short' }, [], /ENCRYPTION_KEYS/],
    ['a data folder that cannot be written', {}, ['--data', '/proc/freehold'], /\/proc\/freehold.*--data/],
    ['a folder to forget that is not ours', {}, ['--fresh', '--data', ROOT], /--fresh/],
    ['a cost of hashing that is nothing', { PASSWORD_HASH_ITERATIONS: '0' }, [], /PASSWORD_HASH_ITERATIONS/],
    ['a port that is none', {}, ['--port', 'x'], /--port x/],
    ['an option that is unknown', {}, ['--nothing'], /--nothing/],
  ]
  it.concurrent.each(cases)('%s', async (_, env, args, words) => {
    const { code, out, err } = await start(['--port', String(await freePort()), '--data', join(folder, 'unused'), ...args], env)
      .ended
    expect({ code, out, lines: err.trim().split('\n').length }).toEqual({ code: 1, out: '', lines: 1 })
    expect(err).toMatch(words)
  })

  it('a port that is taken', async () => {
    const other = createServer()
    await new Promise<void>((done) => other.listen(0, '127.0.0.1', done))
    const { port: taken } = other.address() as { port: number }
    const { code, err } = await start(['--port', String(taken), '--data', join(folder, 'unused')]).ended
    other.close()
    expect({ code, err }).toEqual({ code: 1, err: `Port ${taken} is taken. Choose another with --port.\n` })
  })
})

function has(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`])
    return true
  } catch {
    return false
  }
}
