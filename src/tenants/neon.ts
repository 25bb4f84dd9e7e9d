import { createNeonClient, isNeonError, raw } from '@neon/sdk'
import type { Config } from '../kernel/config.ts'

/** Neon's management API. Calls throw; 423, 429 and 503 are tried again by the client, the rest by the step that called. */
export const neonApi = (config: Config) =>
  createNeonClient({
    apiKey: config.NEON_API_KEY,
    baseUrl: config.NEON_API_URL,
    throwOnError: true,
    waitForReadiness: false,
    requestTimeoutMs: 20_000,
    retries: 3,
    wait: { pollIntervalMs: config.NEON_POLL_MS, timeoutMs: 60_000 },
    ...(config.NEON_ORG_ID && { orgId: config.NEON_ORG_ID }),
  })

export type NeonApi = ReturnType<typeof neonApi>
export type OperationRef = { id: string; project_id: string }

/** True when Neon says that the name is taken: what was asked for is there already. */
export const isConflict = (error: unknown) => isNeonError(error) && error.kind === 'api' && error.status === 409

/** What Neon said, in one line, for the record of a step. */
export function neonWords(error: unknown): string {
  if (isNeonError(error) && error.kind === 'api') return `Neon answered ${error.status}: ${error.message}`
  return error instanceof Error ? error.message : String(error)
}

/**
 * Creates a database through the API and returns the operations to wait for. One that is there already is adopted: the answer of an
 * earlier try was lost, and whose it is, the seed proves.
 */
export async function createDatabase(
  neon: NeonApi,
  home: { project_id: string; branch_id: string; owner_role: string },
  name: string,
): Promise<OperationRef[]> {
  const { project_id, branch_id, owner_role } = home
  try {
    const { operations } = await raw.createProjectBranchDatabase({
      client: neon.client,
      path: { project_id, branch_id },
      body: { database: { name, owner_name: owner_role } },
      throwOnError: true,
    })
    return operations.map(({ id, project_id }) => ({ id, project_id }))
  } catch (error) {
    if (!isConflict(error)) throw error
    const pending = await neon.operations.list({ projectId: project_id })
    const found: OperationRef[] = []
    for await (const operation of pending) {
      if (['finished', 'skipped', 'failed', 'error', 'cancelled'].includes(operation.status) || found.length >= 20) break
      found.push({ id: operation.id, project_id })
    }
    return found
  }
}

/** Waits until operations have finished, one after another. Fails when one failed, or takes more than a minute. */
export async function waitFor(neon: NeonApi, operations: OperationRef[]): Promise<void> {
  for (const { id, project_id } of operations) {
    const operation = await neon.operations.get({ projectId: project_id, operationId: id })
    await neon.operations.waitFor({ operations: [operation] })
  }
}
