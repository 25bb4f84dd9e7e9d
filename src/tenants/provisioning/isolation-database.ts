import { sql } from 'drizzle-orm'
import { batch, dbError, refusedLogin } from '../../kernel/db.ts'
import { IS_CLOSED } from '../fence/fence.ts'
import { closeHost, reservePlace } from './hosts.ts'
import { clusterOf, hostOf, type Isolation, type Job } from './job.ts'
import { dropLogins, makeLogins, reserveLogins, urlsAt } from './logins.ts'
import { createDatabase, neonApi, remove } from './neon.ts'
import { ClusterFull } from './roles.ts'
import { copyTemplate, dropDatabase, isUntouched, opening } from './template.ts'

const HOSTS_TRIED = 3

/** Isolation `database`: a database in a shared branch. The cheapest; up to 240 to a branch, because each has two roles. */
export const sharedDatabase: Isolation = {
  async place(job) {
    const { config, tenant } = job
    for (let tries = 1; ; tries++) {
      const host = await reservePlace(job, 'database')
      try {
        return await reserveLogins(clusterOf(neonApi(config, { at: host }), host), tenant)
      } catch (error) {
        // The branch may be gone: the next step says so in Neon's words.
        if (refusedLogin(error)) return
        if (!(error instanceof ClusterFull) || tries === HOSTS_TRIED) throw error
        await closeHost(job, host.id)
      }
    }
  },

  async create(job) {
    const { database_name } = job.tenant
    // An existing database is adopted, but never the host's own, which belongs to no tenant.
    if (isHostsOwn(job)) throw new Error(`The name ${database_name} is the host's own database.`)
    if (job.tenant.isolation === 'database' && job.move_id === undefined && (await copyTemplate(hostOf(job), database_name)))
      return []
    const exists = () =>
      batch(urlOf(job), [sql`select 1`]).then(
        () => true,
        (error) => dbError(error)?.code !== '3D000',
      )
    return createDatabase(job.neon, hostOf(job), database_name, exists)
  },

  urls: async (job, passwords) => urlsAt(hostOf(job).owner_url, job.tenant, passwords),

  logins: (job, urls) =>
    makeLogins(clusterOf(job.neon, hostOf(job)), job.tenant.database_name, urls, [opening(job.tenant.database_name)]),

  cluster: async (job) => clusterOf(job.neon, hostOf(job)),

  async remove(job) {
    if (!job.tenant.host) return true
    if (!(await isOurs(job))) return false
    await remove(job.neon, hostOf(job), job.tenant.database_name)
    // Neon may have taken long, and another erasure of this tenant may be over: then the name is free for the next one.
    if (await isOurs(job)) await dropDatabase(hostOf(job), job.tenant.database_name)
    await dropLogins(clusterOf(job.neon, hostOf(job)), job.tenant)
    return true
  },
}

const isHostsOwn = (job: Job) => new URL(hostOf(job).owner_url).pathname === `/${job.tenant.database_name}`

/** The connection string of the host's API role to the tenant's database. */
const urlOf = (job: Job) => Object.assign(new URL(hostOf(job).owner_url), { pathname: `/${job.tenant.database_name}` }).href

/**
 * False for a database that has the name but is not this tenant's: provisioning fails on one, and it must survive the erasure. One that a
 * fence closes says by its subdomain whose it is: one that the tenant has, or had then.
 */
export async function isOurs(job: Job): Promise<boolean> {
  if (isHostsOwn(job)) return false
  // A move copies no template: then it is that of a tenant that is being made.
  if (await isUntouched(hostOf(job), job.tenant.database_name)) return job.move_id === undefined
  const [former = []] = await batch(job.config.MASTER_DATABASE_URL, [
    sql`select n.name from platform.subdomains n where n.tenant_id = ${job.tenant.id}`,
  ])
  const names = JSON.stringify([job.tenant.subdomain, ...former.map(({ name }) => name)])
  try {
    const results = await batch(urlOf(job), [
      sql`set local role freehold_owner`,
      sql`select coalesce((select bool_and(t.id = ${job.tenant.id} or ${IS_CLOSED} and t.subdomain in (select jsonb_array_elements_text(${names}::jsonb))) from freehold.tenant t), true) as ours`,
    ])
    return results[1]?.[0]?.ours === true
  } catch (error) {
    // Deleted already, or never migrated: then it must be empty but for what Postgres itself creates.
    if (dbError(error)?.code === '3D000') return true
    if (dbError(error)?.code !== '42P01') throw error
    const [rows] = await batch(urlOf(job), [
      sql`select not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'freehold', 'access')) as empty`,
    ])
    return rows?.[0]?.empty === true
  }
}
