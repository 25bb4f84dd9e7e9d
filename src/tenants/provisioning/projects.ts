import { isNeonError, raw } from '@neon/sdk'
import type { Config } from '../../kernel/config.ts'
import { type NeonApi, neonApi, withRetry } from './neon.ts'

/** The ids of Neon's regions; null: Neon does not answer now, and refuses an unknown one when the project is made. */
export async function regionsOf(config: Config): Promise<string[] | null> {
  const { client } = neonApi(config, { requestTimeoutMs: 5_000, retries: 1 })
  try {
    const { regions } = await raw.getActiveRegions({ client, throwOnError: true })
    return regions.map(({ region_id }) => region_id).sort()
  } catch {
    return null
  }
}

/** True when Neon says, in its own words, that it does not have this. */
export async function isGone(get: () => Promise<unknown>): Promise<boolean> {
  try {
    await get()
    return false
  } catch (error) {
    // A proxy in front of Neon has a page for 404 as well.
    const isOwn = isNeonError(error) && error.kind === 'not_found' && typeof error.body === 'object' && error.body !== null
    if (isOwn) return true
    throw error
  }
}

/** Deletes a project with all that it holds. Not an error when it does not exist. */
export async function deleteProject(neon: NeonApi, project_id: string): Promise<void> {
  const call = () => raw.deleteProject({ client: neon.client, path: { project_id }, throwOnError: true })
  const gone = await withRetry(call).catch((error) => {
    if (!(isNeonError(error) && error.kind === 'not_found')) throw error
  })
  // A proxy's page in Neon's place: the project may be there still.
  if (typeof gone === 'string') throw new Error('Neon did not answer the deletion in JSON.')
}

/** Deletes all projects of a name. Not an error when there is none. */
export async function deleteProjects(neon: NeonApi, name: string): Promise<void> {
  const found = await neon.projects.list({ search: name }).all()
  for (const project of found.filter((each) => each.name === name)) await deleteProject(neon, project.id)
}
