/** Threat: wrangler.toml is deployed as it is in the repository, on routes that nobody owns and with a KV namespace that is not there. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { unstable_getMiniflareWorkerOptions as optionsOf } from 'wrangler'
import { productionOf } from '../../scripts/bundle/placeholders.ts'
import { ROOT } from './running.ts'

const ID = '0123456789abcdef0123456789abcdef'
let folder = ''
let text = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freehold-placeholders-'))
  text = await readFile(join(ROOT, 'wrangler.toml'), 'utf8')
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const right = () => text.replaceAll('example.com', 'acme.dev').replace(/"0{32}"/, `"${ID}"`)
/** What `predeploy` says about a configuration. */
async function said(config: string): Promise<{ code: number; stderr: string }> {
  const file = join(folder, 'wrangler.toml')
  await writeFile(file, config)
  return new Promise((done) => {
    execFile(process.execPath, [join(ROOT, 'scripts/bundle/placeholders.ts'), file], (error, _, stderr) =>
      done({ code: Number(error?.code ?? 0), stderr }),
    )
  })
}

describe('before a deploy', () => {
  it('the configuration of the repository is refused, and each placeholder is named', async () => {
    const { code, stderr } = await said(text)
    expect(code).toBe(1)
    expect(stderr).toContain('BASE_URL is https://example.com')
    expect(stderr).toContain('routes name example.com')
    expect(stderr).toContain(`KV namespace TENANTS is ${'0'.repeat(32)}`)
  })

  it.each<[string, () => string]>([
    ['BASE_URL is', () => right().replace('BASE_URL = "https://acme.dev"', 'BASE_URL = "https://id.example.org"')],
    [
      'TENANT_URL is',
      () =>
        right().replace(
          'BASE_URL = "https://acme.dev"',
          'BASE_URL = "https://acme.dev"\nTENANT_URL = "https://{subdomain}.example.org"',
        ),
    ],
    ['routes name example.com', () => right().replace('zone_name = "acme.dev"', 'zone_name = "example.com"')],
    ['KV namespace TENANTS is', () => right().replace(ID, '0'.repeat(32))],
    ['KV namespace TENANTS is', () => right().replace(ID, 'tenants')],
  ])('one that is left is refused by name: %s', async (name, config) => {
    const { code, stderr } = await said(config())
    expect([code, stderr.match(/^error: /gm)?.length]).toEqual([1, 1])
    expect(stderr).toContain(name)
  })

  it('one that has values is let through, and `npm run deploy` is what asks', async () => {
    expect(await said(right())).toEqual({ code: 0, stderr: '' })
    const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
    expect(scripts).toMatchObject({
      predeploy: 'node scripts/bundle/placeholders.ts',
      deploy: 'wrangler deploy --env production',
    })
  })
})

it('the top level of wrangler.toml names no Worker and no Workflow of production', () => {
  const production = productionOf(join(ROOT, 'wrangler.toml'))
  const { name, workflows } = optionsOf(join(ROOT, 'wrangler.toml')).workerOptions
  const local = [name, ...Object.values(workflows as Record<string, { name: string }>).map((workflow) => workflow.name)]
  expect(local).toHaveLength(5)
  for (const each of local) expect([production.name, ...production.workflows]).not.toContain(each)
})
