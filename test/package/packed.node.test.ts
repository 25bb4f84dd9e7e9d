/** What somebody has who installs the package into an empty folder: as `npm pack` makes it, on the Node of this machine. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageSizes } from '../../scripts/package/sizes.ts'
import { freePort, ROOT, type Running, ready, start } from '../dev/running.ts'

const folder = mkdtempSync(join(tmpdir(), 'freehold-packed-'))
const at = (name: string) => join(folder, name)
/** The PATH without the Node that the repository brings: Node 20 on a machine that has it. */
const PATH = (process.env.PATH ?? '')
  .split(delimiter)
  .filter((part) => !part.includes('node_modules'))
  .join(delimiter)
let running: Running
let facts: any

const node = async (...args: string[]) => {
  const run = promisify(execFile)('node', args, { cwd: folder, env: { ...process.env, PATH, FREEHOLD_URL: facts?.url } })
  return run.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  )
}
const script = async (name: string, text: string) => {
  writeFileSync(at(name), text)
  const { code, stdout, stderr } = await node(name)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

beforeAll(async () => {
  running = start(['--json', '--data', at('.freehold'), '--port', String(await freePort())])
  // Nothing runs beside it that waits for it.
  const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: ROOT, encoding: 'utf8' })
  writeFileSync(at('package.json'), '{ "name": "empty", "private": true, "type": "module" }')
  // What it depends on comes from the repository's own folder, so that nothing is asked of a registry.
  const depends = ['jose', 'openapi-fetch', 'openapi-typescript-helpers'].map((name) => join(ROOT, 'node_modules', name))
  const options = ['--offline', '--no-audit', '--no-fund', '--ignore-scripts', '--install-links']
  execFileSync('npm', ['install', ...options, ...depends, at(packed.trim().split('\n').at(-1) ?? '')], { cwd: folder })
  facts = await ready(running)
}, 300_000)
afterAll(async () => {
  running.child.kill('SIGINT')
  await running.ended
  rmSync(folder, { recursive: true, force: true })
})

const manifest = () => JSON.parse(readFileSync(at('node_modules/freehold/package.json'), 'utf8'))

describe('the package', () => {
  it('depends on jose and openapi-fetch alone, and brings no sources', () => {
    expect(Object.keys(manifest().dependencies)).toEqual(['jose', 'openapi-fetch'])
    expect(readdirSync(at('node_modules/freehold')).sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'dist',
      'package.json',
    ])
  })

  it('has its command line, which names its version and what is for the repository', async () => {
    const cli = 'node_modules/freehold/dist/cli/freehold.js'
    expect((await node(cli, '--version')).stdout).toBe(`${manifest().version}\n`)
    expect((await node(cli, 'presets')).stdout).toMatch(/lims/)
    expect((await node(cli, 'completion', 'bash')).stdout).toContain('complete -o default -F _freehold freehold')
    const dev = await node(cli, 'dev')
    expect(dev).toMatchObject({ code: 1, stderr: expect.stringMatching(/needs the repository of Freehold/) })
    const { code, stderr } = await node(cli, 'setup', 'ids.acme.dev', '--email', 'ada@acme.dev', '--dry-run')
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/needs the repository of Freehold/) })
  })

  it('has a client of 6 KiB and a verifier of 8 KiB gzipped at most', async () => {
    const { client, verify } = await packageSizes()
    expect(client).toBeGreaterThan(1)
    expect(client).toBeLessThanOrEqual(6)
    expect(verify).toBeGreaterThan(1)
    expect(verify).toBeLessThanOrEqual(8)
  })

  it.each(['bundler', 'node16'])('has types that a strict program compiles with (moduleResolution %s)', (moduleResolution) => {
    writeFileSync(
      at('typed.ts'),
      `import { createClient, ProblemError, type Code } from 'freehold/client'
       import { createVerifier, type Caller } from 'freehold/verify'
       export async function main(): Promise<void> {
         const client = createClient({ url: 'https://acme.ids.example.com', api_key: 'fh_key' })
         const { data } = await client.GET('/api/v1/users', { params: { query: { search: 'an' } } })
         const name: string | undefined = data.data[0]?.username
         for await (const user of client.list('/api/v1/users')) { const id: string = user.id; void id }
         // @ts-expect-error: there is no such path
         await client.GET('/api/v1/nothing')
         // @ts-expect-error: what is searched for is text
         await client.GET('/api/v1/users', { params: { query: { search: 7 } } })
         // @ts-expect-error: not a list
         client.list('/api/v1/auth/me')
         try { await client.POST('/api/v1/roles', { body: { name: 'reader' } }) } catch (error) {
           if (error instanceof ProblemError && error.code === 'already_exists') return
           // @ts-expect-error: there is no such code
           if (error instanceof ProblemError && error.code === 'exists') return
         }
         const verifier = createVerifier({ platform: 'https://ids.example.com', tenant: 'acme' })
         const caller: Caller = await verifier.requirePermission(new Request('https://api.example.com'), 'document:read')
         const code: Code = 'not_found'
         void [name, caller, code]
       }`,
    )
    const module = moduleResolution === 'node16' ? 'node16' : 'esnext'
    const options = ['--strict', '--noEmit', '--target', 'es2022', '--lib', 'es2024,dom,dom.iterable', '--types', '']
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const compile = () =>
      execFileSync(process.execPath, [tsc, ...options, '--module', module, '--moduleResolution', moduleResolution, 'typed.ts'], {
        cwd: folder,
        encoding: 'utf8',
      })
    expect(compile).not.toThrow()
  })
})

describe('on the Node of this machine, against the Worker', () => {
  /** The tenant's host is reached by the address of this machine, which every Node resolves. */
  const options = () => ({ url: facts.url, tenant: facts.tenant.subdomain })

  it('the client logs in, lists, and fails with a problem', async () => {
    const { email, password } = facts.tenant
    const said = await script(
      'client.js',
      `import { createClient } from 'freehold/client'
       const client = createClient(${JSON.stringify(options())})
       await client.logIn(${JSON.stringify({ email, password })})
       const names = []
       for await (const user of client.list('/api/v1/users', { params: { query: { limit: 1 } } })) names.push(user.username)
       const missing = await client.GET('/api/v1/roles/{id}', { params: { path: { id: crypto.randomUUID() } } }).catch((error) => error.code)
       await client.logOut()
       console.log(JSON.stringify({ names, missing, node: process.versions.node }))`,
    )
    expect(said).toMatchObject({ names: expect.arrayContaining([expect.any(String)]), missing: 'not_found' })
  })

  it('the verifier takes its token, and refuses it for another tenant', async () => {
    const { email, password, subdomain } = facts.tenant
    const said = await script(
      'verify.js',
      `import { createClient } from 'freehold/client'
       import { createVerifier } from 'freehold/verify'
       const { access_token } = await createClient(${JSON.stringify(options())}).logIn(${JSON.stringify({ email, password })})
       const here = (url, init) => {
         const { hostname, pathname } = new URL(url)
         const headers = new Headers(init.headers)
         headers.set('X-Tenant', hostname.split('.')[0])
         return fetch(${JSON.stringify(facts.url)} + pathname, { ...init, headers })
       }
       const request = new Request('https://api.example.com', { headers: { Authorization: 'Bearer ' + access_token } })
       const platform = ${JSON.stringify(facts.url)}
       const of = (tenant) => createVerifier({ platform, tenant, fetch: here }).verify(request)
       const { sub, tenant, permissions } = await of(${JSON.stringify(subdomain)})
       console.log(JSON.stringify({ sub, tenant, some: permissions.length > 0, other: await of('other').catch((error) => error.code) }))`,
    )
    expect(said).toMatchObject({ sub: expect.any(String), tenant: subdomain, some: true })
    expect(['token_wrong_tenant', 'unavailable']).toContain(said.other)
  })
})
