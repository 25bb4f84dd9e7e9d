import { readdir, readFile } from 'node:fs/promises'
import { createNeonClient } from '@neon/sdk'
import { parseSettings } from '../../src/kernel/config.ts'
import { dbError, useSqlUrl } from '../../src/kernel/db.ts'
import { newToken } from '../../src/kernel/token.ts'
import { type Fingerprint, unpack } from '../../src/tenants/migration/fingerprint.ts'
import { readerUrlOf } from '../../src/tenants/provisioning/logins.ts'
import { BeforeBaseline, type SqlFile } from '../../src/tenants/provisioning/migrations.ts'
import { setUp } from '../../src/tenants/provisioning/setup.ts'
import type { Limits } from '../local-neon/limits.ts'
import { type LocalNeon, startLocalNeon } from '../local-neon/start.ts'
import { upgradeTenants } from './upgrade.ts'

export type Stack = { neon: LocalNeon; env: Record<string, string>; stop: () => Promise<void> }
type Operator = { email: string; password: string; must_change_password: boolean }

/**
 * Starts Postgres and the local Neon, creates or updates the master there, and returns the settings of a Worker that uses them.
 */
export async function startStack(options: {
  dataDir: string
  given: Record<string, string>
  /** null: none is made. */
  operator: Operator | null
  durable?: boolean
  operationMs?: number
  limits?: Partial<Limits>
  log: (line: string) => void
}): Promise<Stack> {
  const { dataDir, given, operator, log } = options
  const neon = await startLocalNeon({
    dataDir,
    log: () => {},
    operationMs: options.operationMs ?? 20,
    durable: options.durable ?? true,
    ...(options.limits ? { limits: options.limits } : {}),
  })
  try {
    log('Postgres and the local Neon are up.')
    useSqlUrl(neon.sqlUrl)
    const MASTER_DATABASE_URL = given.MASTER_DATABASE_URL ?? (await ownMaster(neon))
    const env = {
      ENVIRONMENT: 'local',
      NEON_API_KEY: neon.apiKey,
      NEON_API_URL: neon.apiUrl,
      NEON_SQL_URL: neon.sqlUrl,
      NEON_REGION: 'aws-us-east-2',
      NEON_POLL_MS: '20',
      // The local Neon takes as many as come.
      NEON_CALLS_PER_MINUTE: '1000000',
      // Set-up gives the login this password: each start has another.
      MASTER_READER_URL: readerUrlOf(MASTER_DATABASE_URL, newToken()),
      ...given,
      MASTER_DATABASE_URL,
    }
    const config = parseSettings(env)
    const tenant = await migrationsIn('tenant')
    await setUp(config, { tenant, master: await migrationsIn('master') }, operator).catch((error) => {
      if (error instanceof BeforeBaseline && !given.MASTER_DATABASE_URL)
        throw new Error(
          `The data in ${dataDir} was made by a version that was never released, and cannot be migrated: start with --fresh, which deletes it.`,
        )
      const reason = dbError(error)?.message ?? error.message
      throw given.MASTER_DATABASE_URL ? new Error(`MASTER_DATABASE_URL: the master database cannot be used: ${reason}`) : error
    })
    log('The master database is migrated.')
    await upgradeTenants(config, tenant, log)
    return { neon, env, stop: neon.stop }
  } catch (error) {
    await neon.stop()
    throw error
  }
}

/** The master is a database of a Neon project of its own. */
async function ownMaster(neon: LocalNeon): Promise<string> {
  const api = createNeonClient({ apiKey: neon.apiKey, baseUrl: neon.apiUrl, throwOnError: true, wait: { pollIntervalMs: 20 } })
  const name = 'freehold-master'
  const known = (await api.projects.list({ search: name }).all()).find((project) => project.name === name)
  const branch = { name: 'main', database_name: 'freehold_master', role_name: 'freehold_master_owner' }
  const project = known ?? (await api.projects.create({ name, branch }, { waitForReadiness: true }))
  return api.postgres.connectionString({
    projectId: project.id,
    databaseName: branch.database_name,
    roleName: branch.role_name,
    pooled: false,
  })
}

/** The migrations of a database, in order, from the files in drizzle/. */
export async function migrationsIn(schema: 'tenant' | 'master'): Promise<SqlFile[]> {
  const folder = new URL(`../../drizzle/${schema}/`, import.meta.url)
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort()
  return Promise.all(
    files.map(async (file) => ({ name: `${schema}/${file.slice(0, -4)}`, text: await readFile(new URL(file, folder), 'utf8') })),
  )
}

/** What all migrations make of a tenant's database. */
export const madeByMigrations = async (): Promise<Fingerprint> =>
  unpack(JSON.parse(await readFile(new URL('../../drizzle/tenant/meta/fingerprint.json', import.meta.url), 'utf8')))
