import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createNeonClient } from '@neon/sdk'
import { type Config, parseSettings } from '../../src/kernel/config.ts'
import { newToken } from '../../src/kernel/token.ts'
import { readerUrlOf } from '../../src/tenants/provisioning/logins.ts'
import { setUp } from '../../src/tenants/provisioning/setup.ts'
import { rucFor } from '../dev/settings.ts'
import { migrationsIn, type Stack, startStack } from '../dev/stack.ts'
import { temporaryFolder } from '../local-neon/temporary-folder.ts'
import { ask, hangUp, type Target } from './load.ts'
import { bundle, startWorkerd, type Workerd } from './workerd.ts'

export const HOST = 'freehold.test'
const OPERATOR = { email: 'owner@freehold.test', password: 'Correct-horse-7-staple', must_change_password: false }
const ADMIN = { email: 'bo@acme.test', password: 'Tr0ub4dor-and-3' }
const TENANT = 'acme'

/** One Worker of the stage: its port, its settings, and a target in it. */
export type Site = { port: number; config: Config; at(subdomain: string | null, path: string, more?: Partial<Target>): Target }

/** Everything that a measure needs: the stack, workerd, and a tenant with a logged-in user. */
export type Stage = {
  quick: boolean
  say: (line: string) => void
  /** The folder that holds the bundle. */
  outdir: string
  stack: Stack
  workerd: Workerd
  main: Site
  /** Another Worker in the same workerd, with a master of its own. */
  small: Site
  tenant: { id: string; subdomain: string; database_url: string; credentials: typeof ADMIN }
  /** Logs in, passes the token to the bare routes, and returns it. A token lives 15 minutes. */
  signIn(): Promise<string>
  operatorToken(): Promise<string>
  /** Creates a tenant through the platform API and waits until it is active. */
  makeTenant(subdomain: string, token: string): Promise<string>
}

/** Builds the stage. Whatever it starts is registered with `onStop` at once, so that an interruption ends it too. */
export async function openStage(options: {
  quick: boolean
  say: (line: string) => void
  onStop: (stop: () => Promise<void>) => void
}): Promise<Stage> {
  const { quick, say, onStop } = options
  const folder = await temporaryFolder('freehold-bench')
  onStop(folder.remove)
  // Postgres' own signal handler may end this program before all stops have run.
  process.once('exit', () => rmSync(folder.path, { recursive: true, force: true }))
  const outdir = join(folder.path, 'bundle')
  await mkdir(outdir)
  await bundle(outdir)
  say('The Worker is bundled.')
  const given = { BASE_URL: `http://${HOST}`, ENCRYPTION_KEYS: newKeys(), OWNER_KEYS: newKeys() }
  const stack = await startStack({ dataDir: folder.path, given, operator: OPERATOR, durable: false, operationMs: 0, log: say })
  onStop(stack.stop)
  const envs = { main: stack.env, small: { ...stack.env, ...(await secondMaster(stack)) } }
  const workerd = await startWorkerd(outdir, envs)
  onStop(async () => {
    hangUp()
    await workerd.stop()
  })
  say('workerd is up.')
  const main = siteOf(workerd, 'main', envs.main)
  const small = siteOf(workerd, 'small', envs.small)

  const operatorToken = async () =>
    (
      await ask<{ access_token: string }>(
        main.at(null, '/platform/v1/auth/login', { body: { email: OPERATOR.email, password: OPERATOR.password } }),
      )
    ).access_token
  const makeTenant = async (subdomain: string, token: string) => {
    const { id } = await ask<{ id: string }>(
      main.at(null, '/platform/v1/tenants', {
        headers: { Authorization: `Bearer ${token}`, Prefer: 'wait=60' },
        body: {
          subdomain,
          legal_name: subdomain,
          tax_id: rucFor(subdomain),
          admin_email: ADMIN.email,
          admin_password: ADMIN.password,
        },
      }),
    )
    return id
  }
  await makeTenant(TENANT, await operatorToken())
  const signIn = async () => {
    const { access_token } = await ask<{ access_token: string }>(main.at(TENANT, '/api/v1/auth/login', { body: ADMIN }))
    subject = await ask(main.at(TENANT, '/bench/subject', { body: { subdomain: TENANT, token: access_token } }))
    return access_token
  }
  let subject: { id: string; database_url: string } = { id: '', database_url: '' }
  await signIn()
  say('A tenant is made.')
  const tenant = { ...subject, subdomain: TENANT, credentials: ADMIN }
  return { quick, say, outdir, stack, workerd, main, small, tenant, signIn, operatorToken, makeTenant }
}

/** A Worker as a site that requests can be aimed at. */
export function siteOf(workerd: Workerd, name: string, env: Record<string, string>): Site {
  const port = workerd.ports[name] ?? 0
  return {
    port,
    config: parseSettings(env),
    at: (subdomain, path, more = {}) => ({ port, host: subdomain ? `${subdomain}.${HOST}` : HOST, path, ...more }),
  }
}

const newKeys = () => `k1:${randomBytes(32).toString('base64url')}`

/** A second master, in a Neon project of its own, and the settings that name it. */
async function secondMaster({ neon, env }: Stack) {
  const api = createNeonClient({ apiKey: neon.apiKey, baseUrl: neon.apiUrl, throwOnError: true, wait: { pollIntervalMs: 20 } })
  const branch = { name: 'main', database_name: 'small_master', role_name: 'small_master_owner' }
  const project = await api.projects.create({ name: 'small-master', branch }, { waitForReadiness: true })
  const MASTER_DATABASE_URL = await api.postgres.connectionString({
    projectId: project.id,
    databaseName: branch.database_name,
    roleName: branch.role_name,
    pooled: false,
  })
  // Both projects are in one cluster, whose roles have different names.
  const reader = Object.assign(new URL(readerUrlOf(MASTER_DATABASE_URL, newToken())), { username: 'freehold_reader_b' })
  const settings = { MASTER_DATABASE_URL, MASTER_READER_URL: reader.href }
  const config = parseSettings({ ...env, ...settings })
  await setUp(config, { tenant: await migrationsIn('tenant'), master: await migrationsIn('master') }, null)
  return settings
}
