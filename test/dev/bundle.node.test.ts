import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { unstable_getMiniflareWorkerOptions as optionsOf } from 'wrangler'
import { LIMITS } from '../../src/http/limits.ts'
import { VERSION } from '../../src/http/version.ts'
import { unpacked, wordsOf } from '../../src/passwords/commonest.ts'
import { COMMONEST } from '../../src/passwords/commonest-sum.ts'
import { filesIn, read } from '../house/sources.ts'
import { ROOT } from './running.ts'

const outdir = mkdtempSync(join(tmpdir(), 'freehold-bundle-'))
afterAll(() => rmSync(outdir, { recursive: true, force: true }))

const wrangler = async (...args: string[]) => {
  const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_LOG_PATH: outdir, NO_COLOR: '1' }
  const program = join(ROOT, 'node_modules/wrangler/bin/wrangler.js')
  return (await promisify(execFile)(process.execPath, [program, ...args], { cwd: ROOT, env })).stdout
}

describe('the bundle', () => {
  it.each(['', 'production'])('deploys (dry) in environment "%s" with 420 KiB gzipped at most', async (environment) => {
    const said = await wrangler('deploy', '--dry-run', '--env', environment, '--outdir', join(outdir, environment || 'local'))
    const [, kib] = /gzip: ([\d.]+) KiB/.exec(said) ?? []
    expect(Number(kib)).toBeGreaterThan(10)
    expect(Number(kib)).toBeLessThanOrEqual(420)
    for (const binding of ['TENANTS', 'PROVISIONING', 'ATTEMPTS', 'FAILURES', 'REFUSALS', 'PRINCIPALS', 'ASSETS'])
      expect(said).toContain(`env.${binding}`)
  })

  it('has everything of zod that the code uses', async () => {
    const zod = await import('zod')
    const bundled = await import('../../scripts/bundle/zod.ts')
    const used = filesIn('src').flatMap((file) => [...read(file).matchAll(/\bz\s*\.(\w+)/g)].map(([, name = '']) => name))
    expect(used.length).toBeGreaterThan(500)
    // `z.core` is used for its types.
    const missing = used.filter((name) => name in zod && name !== 'core' && !(name in bundled.z))
    expect([...new Set(missing)], 'missing in scripts/bundle/zod-names.ts').toEqual([])
    expect(bundled.z.object).toBe(zod.z.object)
  })

  it('has everything of Neon’s client that the code uses, and of no other release', async () => {
    const [sdk, bundled] = [await import('@neon/sdk'), await import('../../scripts/bundle/neon.ts')]
    const uses = (pattern: RegExp) =>
      filesIn('src/tenants').flatMap((file) => [...read(file).matchAll(pattern)].map(([, name = '']) => name))
    const calls = uses(/\braw\.([a-z]\w+)\(/g).filter((name) => name in sdk.raw)
    expect(calls.length).toBeGreaterThan(20)
    expect([...new Set(calls)].sort(), 'raw in scripts/bundle/neon.ts').toEqual(Object.keys(bundled.raw).sort())
    const parts = uses(/\b(?:neon|client)\.([a-zA-Z]+)\.\w+\(/g)
    const config = { apiKey: 'none' }
    const whole = Object.keys(sdk.createNeonClient(config))
    const made = Object.keys(bundled.createNeonClient(config))
    expect(whole).toEqual(expect.arrayContaining(made))
    expect(
      [...new Set(parts)].filter((name) => whole.includes(name) && !made.includes(name)),
      'createNeonClient',
    ).toEqual([])
    expect(bundled.isNeonError).toBe(sdk.isNeonError)
  })

  it('has what is used of bowser, and names browsers and systems as the package does', async () => {
    const [{ default: whole }, bundled] = [await import('bowser'), await import('../../scripts/bundle/bowser.ts')]
    const chrome = (system: string, more = '') =>
      `Mozilla/5.0 (${system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0${more} Safari/537.36`
    const agents = [
      chrome('Windows NT 10.0; Win64; x64'),
      chrome('X11; Linux x86_64', ' Vivaldi/7.5'),
      chrome('X11; CrOS x86_64 14541.0.0', ' OPR/120.0'),
      chrome('Linux; Android 16; Pixel 9', ' Mobile'),
      `${chrome('Windows NT 10.0; Win64; x64')} Edg/140.0.0.0`,
      'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15',
      'Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/140.0 Safari/605.1.15',
      'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1',
      'Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1',
      'Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
      'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
      'curl/8.5.0',
      'node',
      'x',
    ]
    const named = (parse: (agent: string) => { browser: { name?: string }; os: { name?: string } }) =>
      agents.map((agent) => [parse(agent).browser.name, parse(agent).os.name])
    expect(named(bundled.parse)).toEqual(named(whole.parse))
    expect(new Set(named(bundled.parse).flat()).size).toBeGreaterThan(12)
    const used = filesIn('src').flatMap((file) => [...read(file).matchAll(/\bBowser\.(\w+)/g)].map(([, name]) => name))
    expect([...new Set(used)]).toEqual(['parse'])
  })

  it('makes no document: of the generator it has what @hono/zod-openapi asks for while it runs', async () => {
    const bundled = await import('../../scripts/bundle/no-document.ts')
    const asked = /^import \{([^}]+)\} from "@asteasolutions\/zod-to-openapi"/m.exec(
      read('node_modules/@hono/zod-openapi/dist/index.mjs'),
    )
    const names = asked?.[1]?.split(',').map((name) => name.trim()) ?? []
    expect(names.length).toBeGreaterThan(3)
    expect(Object.keys(bundled).sort()).toEqual(names.sort())
    expect(() => new bundled.OpenApiGeneratorV31()).toThrow('makes no document')
  })

  it('has the commonest passwords of the list, as `npm run passwords` packs them', () => {
    const words = wordsOf(read('src/passwords/commonest.txt'))
    expect(words.size).toBeGreaterThan(16_000)
    const packed = read('src/passwords/commonest-packed.txt')
    expect(unpacked(packed)).toEqual(words)
    expect(COMMONEST.checksum).toBe(createHash('sha256').update(packed).digest('hex'))
  })

  it.each([undefined, 'production'])(
    'reaches hosts of its own zone by the public way in environment "%s", as SMS_WEBHOOK_URL needs',
    (environment) => {
      const { workerOptions } = optionsOf(join(ROOT, 'wrangler.toml'), environment)
      expect(workerOptions.compatibilityFlags).toContain('global_fetch_strictly_public')
    },
  )

  it('tells of the limits that it has, and of its version', () => {
    for (const [environment, limits] of [
      [undefined, LIMITS.local],
      ['production', LIMITS.production],
    ] as const) {
      const { ratelimits = {} } = optionsOf(join(ROOT, 'wrangler.toml'), environment).workerOptions
      const told = Object.entries(limits).map(([name, limit]) => [name, { limit, period: 60 }])
      const has = Object.entries(ratelimits as Record<string, { simple: object }>).map(([name, { simple }]) => [name, simple])
      expect(Object.fromEntries(has)).toMatchObject(Object.fromEntries(told))
    }
    expect(VERSION).toBe(JSON.parse(read('package.json')).version)
  })

  it('limits 10,000 and more a minute locally, where scripts rely on it', () => {
    const { ratelimits = {} } = optionsOf(join(ROOT, 'wrangler.toml')).workerOptions
    const { PRINCIPALS, ...limits } = ratelimits as Record<string, { simple: object }>
    expect(PRINCIPALS?.simple).toEqual({ limit: 100_000, period: 60 })
    expect(Object.keys(limits)).toHaveLength(3)
    for (const { simple } of Object.values(limits)) expect(simple).toEqual({ limit: 10_000, period: 60 })
  })
})
