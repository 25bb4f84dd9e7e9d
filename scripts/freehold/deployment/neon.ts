/** The steps at Neon: the key, and the project of the master database. */
import { isNeonError, raw } from '@neon/sdk'
import { type Config, ConfigError, parseSettings } from '../../../src/kernel/config.ts'
import type { NeonApi } from '../../../src/tenants/provisioning/neon.ts'
import { Failure } from '../failure.ts'
import { requireEncryption } from '../options.ts'
import { plain } from '../output.ts'
import { placeholders } from '../settings.ts'
import type { Context } from './context.ts'
import { newRing } from './secrets-file.ts'
import { type Found, NotSet, type Step } from './steps.ts'

/** The names at Neon: by them a later run finds what an earlier one made. */
const PROJECT = 'freehold-master'
const BRANCH = { name: 'main', database_name: 'freehold_master', role_name: 'freehold_master_owner' }
const COMPUTE = { autoscaling_limit_min_cu: 0.25, autoscaling_limit_max_cu: 1 }
const KEY = 'make an organization key at https://console.neon.tech (Organization > Settings > API keys).'

/** Loaded when it is needed: other commands start faster without a database driver. */
const provisioning = () => import('../../../src/tenants/provisioning/neon.ts')

function neonConfig({ wanted, options }: Context): Config {
  const { NEON_API_KEY, NEON_API_URL, NEON_ORG_ID } = process.env
  if (!NEON_API_KEY) throw new NotSet('NEON_API_KEY', KEY)
  if (NEON_API_URL) requireEncryption(NEON_API_URL, 'NEON_API_URL', options)
  const given = {
    ...placeholders(),
    MASTER_DATABASE_URL: 'postgresql://unused:unused@localhost/unused',
    ENCRYPTION_KEYS: newRing(),
  }
  try {
    return parseSettings({ ...given, ENVIRONMENT: 'local', NEON_API_KEY, NEON_API_URL, NEON_ORG_ID, NEON_REGION: wanted.region })
  } catch (error) {
    throw error instanceof ConfigError ? new Failure(error.message) : error
  }
}

async function neonOf(context: Context): Promise<{ neon: NeonApi; org: { org_id?: string } }> {
  const config = neonConfig(context)
  const { neonApi } = await provisioning()
  return { neon: neonApi(config), org: config.NEON_ORG_ID ? { org_id: config.NEON_ORG_ID } : {} }
}

/** Why Neon refuses, in a sentence that says which setting to change. */
async function refusal(neon: NeonApi, error: unknown): Promise<Failure> {
  if (!isNeonError(error) || !('status' in error))
    return new Failure(`Neon does not answer: ${plain(error instanceof Error ? error.message : String(error))}`)
  const { status, message } = error as { status: number; message: string }
  if (status === 401) return new Failure(`Neon does not accept NEON_API_KEY: ${KEY}`)
  if (status === 400 && /\borg_id is required/.test(message)) {
    const { organizations = [] } = await raw
      .getCurrentUserOrganizations({ client: neon.client, throwOnError: true })
      .catch(() => ({}) as { organizations?: [] })
    const names = (organizations as { id: string; name: string }[]).map(({ id, name }) => `${id} (${plain(name)})`)
    return new Failure(
      `NEON_API_KEY is a personal key: set NEON_ORG_ID to the organization's id${names.length ? `, one of ${names.join(', ')}` : ', which its settings page shows'}.`,
    )
  }
  if (status === 403 || status === 404)
    return new Failure(
      `NEON_API_KEY may do too little (Neon answered ${status}: ${plain(message)}). A key for one project cannot make others: ${KEY}`,
    )
  return new Failure(`Neon answered ${status}: ${plain(message)}`)
}

/** Looks whether the key may list projects, and whether the region is one of Neon's. */
export function neonKeyStep(context: Context): Step {
  const look = async (): Promise<Found> => {
    const { neon, org } = await neonOf(context)
    try {
      await raw.listProjects({ client: neon.client, query: { limit: 1, ...org }, throwOnError: true })
    } catch (error) {
      throw await refusal(neon, error)
    }
    const { regionsOf } = await import('../../../src/tenants/provisioning/projects.ts')
    const regions = await regionsOf(neonConfig(context))
    const { region } = context.wanted
    if (regions && !regions.includes(region))
      throw new Failure(`--region: Neon has no ${region}; it has ${regions.join(', ')}. Nothing was made.`)
    return { is: 'done', says: 'NEON_API_KEY is accepted' }
  }
  return {
    name: 'neon key',
    does: 'Asks Neon whether it accepts the key. The Worker makes projects, databases and branches with it.',
    look,
    plan: () => ['GET /projects?limit=1', 'GET /regions'],
    run: async () => (await look()).says,
  }
}

/** The project of the master database. */
export function projectStep(context: Context): Step {
  const { known, wanted } = context
  const body = () => ({
    name: PROJECT,
    region_id: wanted.region,
    pg_version: neonConfig(context).NEON_PG_VERSION,
    branch: BRANCH,
    default_endpoint_settings: COMPUTE,
  })
  const connection = async (neon: NeonApi, id: string) => {
    const { isMade, underWay, waitFor } = await provisioning()
    await waitFor(neon, await underWay(neon, id))
    const branches = await neon.branches.list({ projectId: id }).all()
    const made = await Promise.all(branches.map((branch) => isMade(neon, branch)))
    if (!made.includes(true))
      throw new Failure(
        `The project ${PROJECT} (${id}) was not made to its end, and its compute does not start: nothing is in it. Delete it at Neon, and run the same command again.`,
      )
    const at = { projectId: id, databaseName: BRANCH.database_name, roleName: BRANCH.role_name, pooled: false }
    known.master_url = await neon.postgres.connectionString(at).catch((error) => {
      if (!isNeonError(error) || error.kind !== 'not_found') throw error
      throw new Failure(
        `The project ${PROJECT} (${id}) has no database ${BRANCH.database_name} of ${BRANCH.role_name}, so that it is not the master of an earlier run: rename it at Neon.`,
      )
    })
  }
  const look = async (): Promise<Found> => {
    const { neon, org } = await neonOf(context)
    try {
      const { projects } = await raw.listProjects({
        client: neon.client,
        query: { search: PROJECT, limit: 400, ...org },
        throwOnError: true,
      })
      const [project, other] = projects.filter(({ name }) => name === PROJECT)
      if (other) throw new Failure(`Neon has two projects named ${PROJECT}: rename or delete the one that is not the master.`)
      if (!project) return { is: 'open', says: `there is no project ${PROJECT}` }
      await connection(neon, project.id)
      return { is: 'done', says: `${PROJECT} (${project.id}) in ${project.region_id}` }
    } catch (error) {
      throw error instanceof Failure ? error : await refusal(neon, error)
    }
  }
  return {
    name: 'neon project',
    does: `Makes the project of the master database. The Worker asks it every minute, so that its compute (0.25 to 1 CU) never sleeps: 182 compute hours a month at least, which the Free plan does not have.`,
    look,
    plan: () => [
      `POST /projects ${JSON.stringify({ name: PROJECT, region_id: wanted.region, branch: BRANCH, default_endpoint_settings: COMPUTE })}`,
    ],
    run: async () => {
      const { neon } = await neonOf(context)
      try {
        const project = await neon.projects.create(body(), { waitForReadiness: true })
        await connection(neon, project.id)
        return `${PROJECT} (${project.id}) in ${wanted.region}`
      } catch (error) {
        throw error instanceof Failure ? error : await refusal(neon, error)
      }
    },
  }
}
