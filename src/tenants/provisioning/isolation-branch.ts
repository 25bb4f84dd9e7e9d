import { sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import { tenantMigrations } from './bundled.ts'
import { reservePlace } from './hosts.ts'
import { clusterOf, hostOf, type Isolation, type Job } from './job.ts'
import { dropLogins, makeLogins, urlsAt } from './logins.ts'
import { migrate } from './migrations.ts'
import { createBranch, remove, renameDatabase, resetPassword } from './neon.ts'

/**
 * Isolation `branch`: a child of the host's template branch, with a compute of its own. The schema arrives by copy-on-write, so
 * the template is migrated first, here; the passwords that the copy inherits are replaced before the tenant's logins are created.
 */
export const ownBranch: Isolation = {
  place: async (job) => void (await reservePlace(job, 'branch')),

  async create(job) {
    const host = hostOf(job)
    await migrate(host.owner_url, tenantMigrations, job.trace_id)
    const { branch_id, operations } = await createBranch(job.neon, host, branchName(job))
    await batch(
      job.config.MASTER_DATABASE_URL,
      [sql`update platform.tenants set branch_id = ${branch_id} where id = ${job.tenant.id}`],
      job.trace_id,
    )
    return operations
  },

  async urls(job, passwords) {
    const copied = await neonUrl(job, databaseOf(hostOf(job).owner_url))
    return urlsAt(copied, job.tenant, passwords)
  },

  async logins(job, urls) {
    const at = { project_id: hostOf(job).project_id, branch_id: branchOf(job), owner_role: hostOf(job).owner_role }
    await resetPassword(job.neon, at)
    await renameDatabase(job.neon, at, databaseOf(hostOf(job).owner_url), job.tenant.database_name)
    const url = await neonUrl(job, job.tenant.database_name)
    await makeLogins({ neon: job.neon, ...at, url }, job.tenant.database_name, urls)
  },

  async cluster(job) {
    const { project_id } = hostOf(job)
    return { neon: job.neon, project_id, branch_id: branchOf(job), url: await neonUrl(job, job.tenant.database_name) }
  },

  async remove(job) {
    if (!job.tenant.host) return true
    const { project_id } = hostOf(job)
    // The branch is looked up by its name, which contains the tenant's id: the answer with the branch's own id may have been
    // lost.
    const name = branchName(job)
    const known = await job.neon.branches.list({ projectId: project_id, search: name }).all()
    // Those that migrations kept or undos left have that name in front. Neon deletes no branch that has a child.
    let left = known.filter((branch) => branch.name === name || branch.name.startsWith(`${name}-`))
    while (left.length) {
      const leaves = left.filter(({ id }) => !left.some((other) => other.parent_id === id))
      for (const { id } of leaves) await remove(job.neon, { project_id, branch_id: id }, null)
      left = left.filter((branch) => !leaves.includes(branch))
    }
    // One whose deletion failed is listed no more, and Neon deletes it when it is asked again.
    const own = job.tenant.branch_id
    if (own && !known.some(({ id }) => id === own)) await remove(job.neon, { project_id, branch_id: own }, null)
    await dropLogins(clusterOf(job.neon, hostOf(job)), job.tenant)
    return true
  },
}

const branchName = ({ tenant }: Job) => `tenant-${tenant.id}`

const databaseOf = (url: string) => decodeURIComponent(new URL(url).pathname.slice(1))

function branchOf({ tenant }: Job): string {
  if (!tenant.branch_id) throw new Error('The tenant has no branch yet.')
  return tenant.branch_id
}

/** The connection string of the branch's API role, from Neon. */
const neonUrl = (job: Job, database: string) =>
  job.neon.postgres.connectionString({
    projectId: hostOf(job).project_id,
    branchId: branchOf(job),
    databaseName: database,
    roleName: hostOf(job).owner_role,
    pooled: false,
  })
