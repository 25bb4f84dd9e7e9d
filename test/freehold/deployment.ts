/** What a set-up is run against: a real local Neon, Cloudflare's stand-in, and the Worker that was uploaded to it, in workerd. */
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startLocalNeon } from '../../scripts/local-neon/start.ts'
import { startCloudflare } from '../support/node/cloudflare.ts'
import type { Script } from '../support/node/cloudflare-state.ts'
import { folderWithCluster } from '../support/node/cluster.ts'
import { runBundle } from '../support/node/workerd.ts'
import { ended, started } from './run.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const DOMAIN = 'id.acme.dev'
export const EMAIL = 'ada@acme.dev'
/** All steps, in their order. */
export const STEPS = [
  'neon key',
  'zone',
  'names',
  'certificates',
  'neon project',
  'secrets',
  'master database',
  'kv namespace',
  'r2 bucket',
  'wrangler.toml',
  `dns ${DOMAIN}`,
  `dns *.${DOMAIN}`,
  'zone setting min_tls_version',
  'zone setting tls_1_3',
  'zone setting always_use_https',
  'zone setting browser_check',
  'zone setting security_level',
  'zone setting security_header',
  'bot checks',
  'deploy',
  'readyz',
  'first operator',
]

/** A new account at both. */
export async function newAccounts(name: string) {
  const folder = await folderWithCluster(name)
  const neon = await startLocalNeon({ dataDir: folder.path, durable: false, operationMs: 0 })
  const work = await mkdtemp(join(tmpdir(), `${name}-`))
  const stops: (() => Promise<unknown>)[] = []
  /** The settings are those that were uploaded; but Neon is here, and no TLS is in front. */
  const serve = async ({ bindings, modules }: Script) => {
    const outdir = await mkdtemp(join(work, 'uploaded-'))
    for (const [file, text] of modules) await writeFile(join(outdir, file), text)
    const given = Object.fromEntries(bindings.flatMap(({ name: key, text }) => (text === undefined ? [] : [[key, text]])))
    const here = { ENVIRONMENT: 'local', NEON_API_URL: neon.apiUrl, NEON_SQL_URL: neon.sqlUrl }
    const worker = await runBundle(outdir, { ...given, ...here })
    stops.push(worker.stop)
    return worker.port
  }
  const cloudflare = await startCloudflare('acme.dev', serve)
  // The domain is one label deeper than Universal SSL covers.
  cloudflare.state.packs.push({ id: 'p2', type: 'advanced', status: 'active', hosts: [DOMAIN, `*.${DOMAIN}`] })

  /** A folder with the configuration of the repository, of which paths are made absolute. */
  async function project() {
    const at = await mkdtemp(join(work, 'project-'))
    const text = await readFile(join(ROOT, 'wrangler.toml'), 'utf8')
    await mkdir(join(at, 'node_modules'))
    await copyFile(join(ROOT, 'tsconfig.json'), join(at, 'tsconfig.json'))
    const config = join(at, 'wrangler.toml')
    await writeFile(
      config,
      text
        .replace('main = "src', `main = "${ROOT}src`)
        .replaceAll('"./scripts/', `"${ROOT}scripts/`)
        .replace('node_modules/.bin/node scripts/', `${ROOT}node_modules/.bin/node ${ROOT}scripts/`)
        .replaceAll('"src", "drizzle"', `"${ROOT}src"`)
        .replaceAll('directory = ".wrangler', `directory = "${ROOT}.wrangler`),
    )
    return { config, secrets: join(at, 'secrets.json') }
  }
  type Project = Awaited<ReturnType<typeof project>>
  const environment = {
    NEON_API_KEY: neon.apiKey,
    NEON_API_URL: neon.apiUrl,
    NEON_SQL_URL: neon.sqlUrl,
    CLOUDFLARE_API_TOKEN: cloudflare.token,
    CLOUDFLARE_API_BASE_URL: cloudflare.api,
    WRANGLER_LOG_PATH: work,
    HOME: work,
  }
  const begin = ({ config, secrets }: Project, args: string[] = ['--yes'], env: Record<string, string> = {}, domain = DOMAIN) => {
    const more = ['--config', config, '--secrets-file', secrets, '--region', 'aws-us-east-2', '--url', cloudflare.at]
    return started(['setup', domain, '--email', EMAIL, ...more, ...args], { ...environment, ...env })
  }
  const run = (...given: Parameters<typeof begin>) => ended(begin(...given))
  const projects = async (): Promise<{ id: string; name: string }[]> => {
    const answer = await fetch(`${neon.apiUrl}/projects?limit=400`, { headers: { Authorization: `Bearer ${neon.apiKey}` } })
    return ((await answer.json()) as { projects: { id: string; name: string }[] }).projects
  }
  const stop = async () => {
    for (const end of stops) await end()
    await cloudflare.stop()
    await neon.stop()
    await folder.remove()
    await rm(work, { recursive: true, force: true })
  }
  return { neon, cloudflare, project, begin, run, projects, stop }
}
export type Accounts = Awaited<ReturnType<typeof newAccounts>>
