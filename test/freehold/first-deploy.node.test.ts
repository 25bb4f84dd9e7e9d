/** Threat: a first deployment that is half done, with keys that nobody has, in front of a zone that lets passwords through in the open. */
import { readFile, stat, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Outcome } from '../../scripts/freehold/deployment/steps.ts'
import { tenantDomainIn, withHosts, withValues } from '../../scripts/freehold/deployment/wrangler-config.ts'
import { type Accounts, DOMAIN, EMAIL, newAccounts, STEPS } from './deployment.ts'

type Said = { url: string; steps: Outcome[]; operator: { email: string; is_new: boolean; password?: string } }

let accounts: Accounts
let here: Awaited<ReturnType<Accounts['project']>>
beforeAll(async () => {
  accounts = await newAccounts('freehold-first-deploy')
  here = await accounts.project()
})
afterAll(() => accounts.stop())

const statesOf = ({ steps }: Said) => Object.fromEntries(steps.map(({ step, state }) => [step, state]))
const logIn = (password: string) =>
  fetch(`${accounts.cloudflare.at}/platform/v1/auth/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ email: EMAIL, password }),
  })
/** Nothing is at Neon, at Cloudflare or on disk. */
async function expectNothingMade(): Promise<void> {
  expect(await accounts.projects()).toEqual([])
  expect(accounts.cloudflare.changes).toEqual([])
  expect(await stat(here.secrets).catch(() => null)).toBeNull()
  expect(await readFile(here.config, 'utf8')).toContain('BASE_URL = "https://example.com"')
}

describe('before anything', () => {
  test('a dry run shows each step with its requests, and makes nothing', async () => {
    const { code, stdout, stderr } = await accounts.run(here, ['--dry-run'])
    expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: 'Nothing was changed.\n' })
    const named = [...stderr.matchAll(/^(?:ok|would|yours) +([^:]+(?:\.toml)?): /gm)].map(([, name]) => name)
    expect(named).toEqual(STEPS)
    for (const request of [
      'POST /projects {"name":"freehold-master","region_id":"aws-us-east-2"',
      'storage/kv/namespaces {"title":"freehold-tenants"}',
      'r2/buckets {"name":"freehold-files"}',
      `{"type":"AAAA","name":"*.${DOMAIN}","content":"100::"`,
      '/settings/min_tls_version {"value":"1.2"}',
      '/settings/browser_check {"value":"off"}',
      '/bot_management {"fight_mode":false}',
      `+   { pattern = "*.${DOMAIN}/*", zone_name = "acme.dev" },`,
      'ENCRYPTION_KEYS=k1:***',
      'npx wrangler deploy --env production',
      `freehold setup --email ${EMAIL}`,
    ])
      expect(stderr).toContain(request)
    expect(stderr).toContain('zone setting min_tls_version: it is "1.0", and should be "1.2"')
    for (const secret of [accounts.neon.apiKey, accounts.cloudflare.token]) expect(stderr).not.toContain(secret)
    await expectNothingMade()
  })

  test('a dry run shows them without key and token too, and the permissions that the token must have', async () => {
    const { code, stderr } = await accounts.run(here, ['--dry-run'], { NEON_API_KEY: '', CLOUDFLARE_API_TOKEN: '' })
    expect(code).toBe(0)
    for (const step of STEPS) expect(stderr).toContain(` ${step}: `)
    for (const permission of ['Zone > DNS: Edit', 'Zone > Workers Routes: Edit', 'Account > Workers KV Storage: Edit'])
      expect(stderr).toContain(`needs ${permission}`)
    expect(stderr).toContain('neon key: not looked at, because NEON_API_KEY is not set')
    await expectNothingMade()
  })

  test('tenants may be below another domain of the zone, which one certificate covers with the platform', async () => {
    const { code, stderr } = await accounts.run(here, ['--dry-run', '--tenant-domain', 'acme.dev'])
    expect(code, stderr).toBe(0)
    for (const told of [
      '+ TENANT_URL = "https://{subdomain}.acme.dev"',
      '+   { pattern = "*.acme.dev/*", zone_name = "acme.dev" },',
      '{"type":"AAAA","name":"*.acme.dev","content":"100::"',
      `certificates: cover ${DOMAIN} and *.acme.dev`,
      'all names under it lead to the Worker, but those that have a record and a route of their own',
    ])
      expect(stderr).toContain(told)
    const elsewhere = await accounts.run(here, ['--dry-run', '--tenant-domain', 'beta.dev'])
    expect(elsewhere.code).toBe(1)
    expect(elsewhere.stderr).toContain('--tenant-domain: beta.dev is not in the zone acme.dev')
    await expectNothingMade()
  })

  test('where tenants are is not changed by a later run that does not say it', async () => {
    const kept = await readFile(here.config, 'utf8')
    const values = { base_url: `https://${DOMAIN}`, routes: [], kv_id: 'x', region: 'aws-us-east-2' }
    const moved = withValues(kept, { ...values, tenant_url: 'https://{subdomain}.acme.dev' })
    await writeFile(here.config, moved)
    expect([tenantDomainIn(here.config, DOMAIN), tenantDomainIn(here.config, 'other.acme.dev')]).toEqual([
      'acme.dev',
      'other.acme.dev',
    ])
    expect(moved.match(/^TENANT_URL = .*$/gm)).toEqual(['TENANT_URL = "https://{subdomain}.acme.dev"'])
    expect(withValues(moved, { ...values, tenant_url: null })).not.toMatch(/^TENANT_URL/m)
    await writeFile(here.config, kept)
  })

  test('other environments keep where their tenants are', async () => {
    const kept = await readFile(here.config, 'utf8')
    const staging = '\n[env.staging.vars]\nBASE_URL = "https://staging.dev"\nTENANT_URL = "https://{subdomain}.staging.dev"\n'
    const values = { base_url: `https://${DOMAIN}`, routes: [], kv_id: 'x', region: 'aws-us-east-2', tenant_url: null }
    expect(withValues(kept + staging, values)).toBe(withValues(kept, values) + staging)
    const before = kept.replace('[env.production]', `${staging.trim()}\n\n[env.production]`)
    expect(withValues(before, values)).toContain(staging)
  })

  test('where tenants are is written before anything is made, so that an interruption does not forget it', async () => {
    const kept = await readFile(here.config, 'utf8')
    const { code, stderr } = await accounts.run(here, ['--dry-run', '--tenant-domain', 'acme.dev'])
    expect(code, stderr).toBe(0)
    const order = ['tenant domain', 'neon project', 'wrangler.toml'].map((step) => stderr.indexOf(` ${step}: `))
    expect(order).toEqual([...order].sort((a, b) => a - b))
    expect(order).not.toContain(-1)
    const hosts = withHosts(kept, { base_url: `https://${DOMAIN}`, tenant_url: 'https://{subdomain}.acme.dev' })
    await writeFile(here.config, hosts)
    expect(tenantDomainIn(here.config, DOMAIN)).toBe('acme.dev')
    const later = await accounts.run(here, ['--dry-run'])
    expect(later.stderr).toContain('+   { pattern = "*.acme.dev/*", zone_name = "acme.dev" },')
    await writeFile(here.config, kept)
  })

  test('without a terminal and without --yes it asks nothing and makes nothing', async () => {
    const { code, stdout, stderr } = await accounts.run(here, [])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/error: Nothing was changed: this is no terminal to ask on\. Give --yes[^\n]+\n$/)
    await expectNothingMade()
  })
})

describe('from two new accounts', () => {
  let said: Said
  let told = ''

  test('it comes to a Worker that is ready, and the first operator logs in with the password that was shown', async () => {
    const { code, stdout, stderr } = await accounts.run(here, ['--yes', '--json'])
    expect(code, stderr).toBe(0)
    told = stderr
    said = JSON.parse(stdout)
    expect(said.steps.map(({ step }) => step)).toEqual(STEPS)
    expect(said).toMatchObject({ url: `https://${DOMAIN}`, operator: { email: EMAIL, is_new: true } })
    expect(stderr).toContain(`the password of ${EMAIL}: ${said.operator.password}\n`)
    const answer = await logIn(said.operator.password ?? '')
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ must_change_password: true })
  })

  test('Cloudflare has what the plan said: records, settings, routes, schedule, Workflows, and the secrets of the file', async () => {
    const { state } = accounts.cloudflare
    const hosts = [DOMAIN, `*.${DOMAIN}`]
    expect(state.records.map(({ name, content, proxied }) => [name, content, proxied])).toEqual(
      hosts.map((name) => [name, '100::', true]),
    )
    expect(state.settings).toMatchObject({ min_tls_version: '1.2', browser_check: 'off', always_use_https: 'off' })
    expect(state.bots).toEqual({ fight_mode: false, enable_js: true })
    expect(state.routes.map(({ pattern, script }) => [pattern, script])).toEqual(hosts.map((host) => [`${host}/*`, 'freehold']))
    expect(state.schedules.get('freehold')).toEqual([{ cron: '* * * * *' }])
    expect([...state.workflows].map(([name, { script_name }]) => [name, script_name])).toEqual([
      ['provisioning', 'freehold'],
      ['migration', 'freehold'],
      ['move', 'freehold'],
      ['restore', 'freehold'],
    ])
    const { bindings = [] } = state.scripts.get('freehold') ?? {}
    const secrets = Object.fromEntries(
      bindings.filter(({ type }) => type === 'secret_text').map(({ name, text }) => [name, text]),
    )
    expect(secrets).toEqual(JSON.parse(await readFile(here.secrets, 'utf8')))
    expect(Object.keys(secrets).sort()).toEqual(
      ['ENCRYPTION_KEYS', 'MASTER_DATABASE_URL', 'MASTER_READER_URL', 'NEON_API_KEY', 'OWNER_KEYS'].sort(),
    )
  })

  test('the secrets are readable for their owner alone, and are told nobody', async () => {
    expect((await stat(here.secrets)).mode & 0o777).toBe(0o600)
    const secrets = Object.values(JSON.parse(await readFile(here.secrets, 'utf8'))) as string[]
    const parts = secrets.flatMap((secret) => (URL.canParse(secret) ? [secret, new URL(secret).password] : [secret]))
    for (const secret of [...parts.filter(Boolean), accounts.cloudflare.token]) expect(told.includes(secret)).toBe(false)
  })

  test('a second run finds all of it done, changes nothing, and shows no password', async () => {
    const before = { secrets: await readFile(here.secrets, 'utf8'), config: await readFile(here.config, 'utf8') }
    const changes = accounts.cloudflare.changes.length
    const { code, stdout, stderr } = await accounts.run(here, ['--yes', '--json'])
    expect(code, stderr).toBe(0)
    const again: Said = JSON.parse(stdout)
    expect(new Set(Object.values(statesOf(again)))).toEqual(new Set(['done']))
    expect(again.operator).toEqual({ email: EMAIL, is_new: false })
    expect(accounts.cloudflare.changes).toHaveLength(changes)
    expect(await accounts.projects()).toHaveLength(1)
    expect({ secrets: await readFile(here.secrets, 'utf8'), config: await readFile(here.config, 'utf8') }).toEqual(before)
    expect((await logIn(said.operator.password ?? '')).status).toBe(200)
  })

  test('what somebody changed since is found, and that alone is set right', async () => {
    accounts.cloudflare.state.settings.min_tls_version = '1.1'
    accounts.cloudflare.state.routes.pop()
    const { code, stdout, stderr } = await accounts.run(here, ['--yes', '--json'])
    expect(code, stderr).toBe(0)
    const changed = JSON.parse(stdout).steps.filter(({ state }: Outcome) => state !== 'done')
    expect(changed.map(({ step }: Outcome) => step)).toEqual(['zone setting min_tls_version', 'deploy'])
    expect(accounts.cloudflare.state.routes).toHaveLength(2)
  })

  test('a new key for Neon reaches the file and the Worker', async () => {
    const kept = JSON.parse(await readFile(here.secrets, 'utf8'))
    await writeFile(here.secrets, JSON.stringify({ ...kept, NEON_API_KEY: 'the key of before' }))
    const { code, stdout, stderr } = await accounts.run(here, ['--yes', '--json'])
    expect(code, stderr).toBe(0)
    const changed = JSON.parse(stdout).steps.filter(({ state }: Outcome) => state !== 'done')
    expect(changed.map(({ step }: Outcome) => step)).toEqual(['secrets', 'deploy'])
    expect(JSON.parse(await readFile(here.secrets, 'utf8'))).toEqual(kept)
    const { bindings = [] } = accounts.cloudflare.state.scripts.get('freehold') ?? {}
    expect(bindings.find(({ name }) => name === 'NEON_API_KEY')?.text).toBe(accounts.neon.apiKey)
  })

  test('without the file it makes no other keys: they could not decrypt what the master holds', async () => {
    const other = await accounts.project()
    const { code, stderr } = await accounts.run({ ...here, secrets: other.secrets })
    expect(code).toBe(1)
    expect(stderr).toMatch(/error: The Worker freehold has key rings already, which cannot be read back/)
    expect(await stat(other.secrets).catch(() => null)).toBeNull()
  })
})
