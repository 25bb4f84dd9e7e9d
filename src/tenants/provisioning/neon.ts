import { createNeonClient, isNeonError, raw } from '@neon/sdk'
import type { Config } from '../../kernel/config.ts'
import { random } from '../../kernel/db.ts'
import { accountOf, FIRST_ACCOUNT, type Located } from './accounts.ts'
import { inTurn } from './in-turn.ts'
import { refusedAnswer, unknownAccount, wrongSetting } from './refused-key.ts'

const PATIENCE_MS = 80_000

type More = { requestTimeoutMs?: number; retries?: number; at?: Located | null }

/**
 * Neon's management API, in the account of a host, or else in the first. Calls throw; safe calls are retried by the client or by `withRetry`, the others by the step that made
 * them.
 */
export const neonApi = (config: Config, { at, ...more }: More = {}) => {
  const account = accountOf(config, at ?? {})
  // Who is in a hurry waits for a turn half of the time; a step of a job waits longer than one call takes.
  const patience_ms = more.requestTimeoutMs ? more.requestTimeoutMs / 2 : PATIENCE_MS / 2
  return createNeonClient({
    apiKey: account?.api_key ?? 'none',
    baseUrl: config.NEON_API_URL,
    fetch: async (input, init) => {
      if (!account) return unknownAccount(at?.account)
      // A redirect would take the API key to another host.
      const send = () => fetch(input, { ...init, redirect: 'manual' })
      const asked = input instanceof Request ? input : { method: init?.method ?? 'GET', url: String(input) }
      const answer = await inTurn(config, { account: account.name, patience_ms, asked }, send)
      return answer.status === 401 && account.name !== FIRST_ACCOUNT ? refusedAnswer(account.name) : answer
    },
    throwOnError: true,
    waitForReadiness: false,
    requestTimeoutMs: 20_000 + PATIENCE_MS / 2,
    retries: 3,
    wait: { pollIntervalMs: config.NEON_POLL_MS, timeoutMs: 60_000 },
    ...(account?.org_id && { orgId: account.org_id }),
    ...more,
  })
}

export type NeonApi = ReturnType<typeof neonApi>
export type OperationRef = { id: string; project_id: string }

/** True when Neon says that the name is taken: the resource exists already. */
export const isConflict = (error: unknown) => isNeonError(error) && error.kind === 'api' && error.status === 409

/** True when Neon refuses because a limit of the plan is reached. */
export const isLimit = (error: unknown) => isNeonError(error) && 'code' in error && /_LIMIT_EXCEEDED$/.test(String(error.code))

/** True when an operation that was waited for failed; waiting longer does not help. */
export const hasFailed = (error: unknown) => isNeonError(error) && error.kind === 'operation'

/** Neon's error in one line, for the record of a step. */
export function neonWords(error: unknown): string {
  const setting = wrongSetting(error)
  if (setting) return setting.message
  if (isNeonError(error) && 'status' in error && error.status) return `Neon answered ${error.status}: ${error.message}`
  return error instanceof Error ? error.message : String(error)
}

/**
 * Makes a call and retries while Neon answers 423 (the project is busy), 429 or 503, or `isBusy` says so, for up to 80 s. Each pause is random, so
 * that many who wait for one project do not retry at the same moment; `Retry-After` is its minimum.
 */
export async function withRetry<T>(call: () => Promise<T>, isBusy = (_: unknown) => false): Promise<T> {
  // Also for what the call itself waits for its turn; a Worker's clock may stand still.
  const over = AbortSignal.timeout(PATIENCE_MS)
  for (let waited = 0; ; ) {
    try {
      return await call()
    } catch (error) {
      const busy = isBusy(error) || (isNeonError(error) && 'status' in error && [423, 429, 503].includes(Number(error.status)))
      const least =
        isNeonError(error) && 'response' in error
          ? Number((error.response as Response | undefined)?.headers.get('Retry-After') ?? 0) * 1000
          : 0
      const pause = Math.max(least || 0, 50 + random() * Math.min(2_000, 200 + waited))
      if (!busy || over.aborted || waited + pause > PATIENCE_MS) throw error
      await new Promise((done) => setTimeout(done, pause))
      waited += pause
    }
  }
}

type At = { project_id: string; branch_id: string; owner_role: string }

const refs = (operations: OperationRef[]) => operations.map(({ id, project_id }) => ({ id, project_id }))
const ENDED = ['finished', 'skipped', 'failed', 'error', 'cancelled']

/** Running operations of a project, or of one branch: what to wait for when the answer that named them was lost. */
export async function underWay(neon: NeonApi, project_id: string, branch_id?: string): Promise<OperationRef[]> {
  const { items } = await neon.operations.list({ projectId: project_id }).page()
  const mine = items.filter((operation) => branch_id === undefined || operation.branch_id === branch_id)
  return refs(mine.filter((operation) => !ENDED.includes(operation.status)))
}

/**
 * True when a branch and its compute were created. Neon has no state for a failed creation: the branch stays at `init`, and so
 * does a compute that never started. Meaningful only while no operation runs.
 */
export async function isMade(neon: NeonApi, branch: { project_id: string; id: string; current_state: string }): Promise<boolean> {
  if (branch.current_state === 'init') return false
  const path = { project_id: branch.project_id, branch_id: branch.id }
  const { endpoints } = await raw.listProjectBranchEndpoints({ client: neon.client, path, throwOnError: true })
  return endpoints.some((endpoint) => endpoint.type === 'read_write' && endpoint.current_state !== 'init')
}

/**
 * Creates a database and returns the operations to wait for. An existing one is adopted, because the answer to an earlier attempt
 * may have been lost; the seed fails if it belongs to another tenant. One that Neon lists but never created (its operation
 * failed) is deleted and created again.
 */
export async function createDatabase(
  neon: NeonApi,
  at: At,
  name: string,
  exists: () => Promise<boolean>,
): Promise<OperationRef[]> {
  const path = { project_id: at.project_id, branch_id: at.branch_id }
  const body = { database: { name, owner_name: at.owner_role } }
  const create = async () =>
    refs(
      (await withRetry(() => raw.createProjectBranchDatabase({ client: neon.client, path, body, throwOnError: true })))
        .operations,
    )
  try {
    return await create()
  } catch (error) {
    if (!isConflict(error)) throw error
    await waitFor(neon, await underWay(neon, at.project_id)).catch(() => undefined)
    if (await exists()) return []
    const named = { ...path, database_name: name }
    const gone = await withRetry(() => raw.deleteProjectBranchDatabase({ client: neon.client, path: named, throwOnError: true }))
    await waitFor(neon, refs(gone?.operations ?? []))
    return create()
  }
}

/**
 * Creates a child branch with a compute. An existing branch of that name is adopted, because the answer to an earlier attempt may
 * have been lost; one whose creation failed is deleted and created again.
 */
export async function createBranch(neon: NeonApi, { project_id, branch_id: parent_id }: At, name: string) {
  const body = { branch: { parent_id, name }, endpoints: [{ type: 'read_write' as const }] }
  const create = async () => {
    const made = await withRetry(() =>
      raw.createProjectBranch({ client: neon.client, path: { project_id }, body, throwOnError: true }),
    )
    return { branch_id: made.branch.id, operations: refs(made.operations) }
  }
  try {
    return await create()
  } catch (error) {
    if (!isConflict(error)) throw error
    const known = (await neon.branches.list({ projectId: project_id, search: name }).all()).find((branch) => branch.name === name)
    if (!known) throw error
    const path = { project_id, branch_id: known.id }
    await waitFor(neon, await underWay(neon, project_id, known.id)).catch(() => undefined)
    const { branch } = await raw.getProjectBranch({ client: neon.client, path, throwOnError: true })
    if (await isMade(neon, branch)) return { branch_id: known.id, operations: [] }
    await remove(neon, path, null)
    return create()
  }
}

/** Resets the password of an API role on a branch, and waits until the old one is invalid. */
export async function resetPassword(neon: NeonApi, { project_id, branch_id, owner_role }: At): Promise<void> {
  const path = { project_id, branch_id, role_name: owner_role }
  const { operations } = await withRetry(() =>
    raw.resetProjectBranchRolePassword({ client: neon.client, path, throwOnError: true }),
  )
  await waitFor(neon, refs(operations))
}

/**
 * Renames a database and waits for it. A database that Neon lists by the new name is renamed again: the operation behind it may
 * have failed.
 */
export async function renameDatabase(neon: NeonApi, { project_id, branch_id }: At, from: string, to: string): Promise<void> {
  const databases = await neon.postgres.databases.list({ projectId: project_id, branchId: branch_id })
  const database_name = databases.some((database) => database.name === to) ? to : from
  const path = { project_id, branch_id, database_name }
  const body = { database: { name: to } }
  const { operations } = await withRetry(() =>
    raw.updateProjectBranchDatabase({ client: neon.client, path, body, throwOnError: true }),
  ).catch((error) => {
    if (database_name === to && isConflict(error)) return { operations: [] }
    throw error
  })
  await waitFor(neon, refs(operations))
}

/** Deletes a database, or with null the branch itself, and waits until it is deleted. Not an error when it does not exist. */
export async function remove(
  neon: NeonApi,
  { project_id, branch_id }: Pick<At, 'project_id' | 'branch_id'>,
  database_name: string | null,
): Promise<void> {
  const at = { client: neon.client, path: { project_id, branch_id }, throwOnError: true as const }
  const call = async () =>
    database_name === null
      ? await raw.deleteProjectBranch(at)
      : await raw.deleteProjectBranchDatabase({ ...at, path: { ...at.path, database_name } })
  try {
    const gone = await withRetry(call)
    // A proxy's page in Neon's place: nothing may have been deleted.
    if (typeof gone === 'string') throw new Error('Neon did not answer the deletion in JSON.')
    await waitFor(neon, refs(gone?.operations ?? []))
  } catch (error) {
    if (!(isNeonError(error) && error.kind === 'not_found')) throw error
  }
}

/** Waits until operations have finished, one after another. Fails when one failed, or takes more than a minute. */
export async function waitFor(neon: NeonApi, operations: OperationRef[]): Promise<void> {
  for (const { id, project_id } of operations) {
    const operation = await neon.operations.get({ projectId: project_id, operationId: id })
    await neon.operations.waitFor({ operations: [operation] })
  }
}

/** Why a step failed: its error and that error's cause. */
export function reason(error: unknown): string {
  const words = neonWords(error)
  const cause = error instanceof Error && error.cause ? `: ${neonWords(error.cause)}` : ''
  // A host of somebody else's may repeat what it was sent.
  return `${words}${cause}`.replace(/\bpostgres(ql)?:\/\/\S+/g, 'postgresql://…').slice(0, 1000)
}
