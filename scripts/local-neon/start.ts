import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Answer, Asked } from './answer.ts'
import { branchRoutes } from './api/branches.ts'
import { accountRoutes } from './api/connection.ts'
import { consumptionRoutes } from './api/consumption.ts'
import { databaseRoutes } from './api/databases.ts'
import { endpointRoutes } from './api/endpoints.ts'
import { operationRoutes } from './api/operations.ts'
import { projectRoutes } from './api/projects.ts'
import { roleRoutes } from './api/roles.ts'
import { router } from './api/router.ts'
import { openAdmin } from './cluster/admin.ts'
import type { Log } from './cluster/log.ts'
import type { Fault } from './fault.ts'
import { answerFaults, openFaults } from './faults.ts'
import { serve } from './http.ts'
import { LIMITS, type Limits } from './limits.ts'
import { answerMarks } from './marks.ts'
import { startPostgres } from './postgres.ts'
import { sqlHandler } from './sql/handler.ts'
import { openPool } from './sql/pool.ts'
import { newApiKey } from './state/names.ts'
import { openStore } from './state/store.ts'
import { dropAll, dropUnused } from './work/branches.ts'
import { openComputes } from './work/computes.ts'
import type { Context } from './work/context.ts'
import { reopenOriginals } from './work/copy.ts'
import { openWork } from './work/operations.ts'
import { SHARE_ROLES, shareRoles } from './work/roles.ts'
import { openSync } from './work/sync.ts'

export interface LocalNeonOptions {
  /** The data folder; created if it does not exist. */
  dataDir: string
  /** Port of the HTTP server; 0, the default, takes a free one. */
  port?: number
  /** Port of Postgres; 0, the default, takes a free one. */
  postgresPort?: number
  /** Replaces the key that was generated when the folder was made. */
  apiKey?: string
  /** How long each operation takes at least. With 0 an operation has been carried out when its call is answered. */
  operationMs?: number
  /** How long a suspended compute takes to wake. */
  wakeMs?: number
  /** False trades safety against a crash of the machine for speed. For tests. */
  durable?: boolean
  limits?: Partial<Limits>
  faults?: Fault[]
  log?: Log
}

export interface LocalNeon {
  /** The management API; ends in `/api/v2`. */
  apiUrl: string
  /** SQL over HTTP; ends in `/sql`. */
  sqlUrl: string
  apiKey: string
  /** The superuser's connection string, for direct access. */
  postgresUrl: string
  stop(): Promise<void>
}

const API = '/api/v2'
const OPERATION_MS = 20
const WAKE_MS = 500

/** Starts Neon's management API and SQL over HTTP in this process, in front of a real Postgres. */
export async function startLocalNeon(options: LocalNeonOptions): Promise<LocalNeon> {
  const { dataDir, durable = true, log = () => {} } = options
  const postgres = await startPostgres({ dataDir, port: options.postgresPort ?? 0, durable, log })
  const stops: (() => Promise<unknown>)[] = [postgres.stop]
  const stop = async () => {
    for (const end of stops.splice(0).reverse()) await end()
  }
  try {
    const apiKey = options.apiKey ?? (await keptKey(dataDir))
    const admin = await openAdmin(postgres.url)
    stops.push(admin.stop)
    await admin.run(SHARE_ROLES)
    const limits = { ...LIMITS, ...options.limits }
    const pool = openPool(postgres.port, limits)
    stops.push(pool.stop)
    const store = await openStore(admin.pool)
    const computes = openComputes({ store, pool, limits, wakeMs: options.wakeMs ?? WAKE_MS })
    stops.push(async () => computes.stop())
    const context = { admin, pool, store, computes }
    await reopenOriginals(context)
    await removeRubbish(context)
    await shareRoles(context)
    const work = openWork(context, { operationMs: options.operationMs ?? OPERATION_MS, log })
    stops.push(work.stop)

    const routes = {
      ...accountRoutes,
      ...projectRoutes,
      ...operationRoutes,
      ...branchRoutes,
      ...endpointRoutes,
      ...databaseRoutes,
      ...roleRoutes,
      ...consumptionRoutes,
    }
    const api = router(routes, { ...context, work, limits }, apiKey)
    const sql = sqlHandler({ ...context, limits, sync: await openSync(context) })
    const faults = openFaults(options.faults)
    const handle = async (asked: Asked): Promise<Answer> => {
      if (asked.path.startsWith(`${API}/`)) return api(asked, asked.path.slice(API.length))
      if (asked.path === '/marks') return answerMarks(asked, context)
      return asked.path === '/faults' ? answerFaults(asked, faults) : sql(asked)
    }
    const { server, port } = await serve(options.port ?? 0, handle, faults)
    stops.push(async () => {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    })
    const url = `http://127.0.0.1:${port}`
    return { apiUrl: `${url}${API}`, sqlUrl: `${url}/sql`, apiKey, postgresUrl: postgres.url, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function keptKey(dataDir: string) {
  const file = join(resolve(dataDir), 'api.key')
  const kept = (await readFile(file, 'utf8').catch(() => '')).trim()
  if (kept) return kept
  const key = newApiKey()
  await writeFile(file, key, { mode: 0o600 })
  return key
}

/** Finishes the deletion of projects that a stop interrupted. */
async function removeRubbish(context: Context) {
  for (const rubbish of context.store.all('rubbish')) {
    await dropAll(context, rubbish.databases, rubbish.roles)
    await dropUnused(context, rubbish.made_by_sql ?? [])
    context.store.drop('rubbish', rubbish)
  }
  await context.store.saved()
}
