import { sql } from 'drizzle-orm'
import { batch, dbError } from '../../kernel/db.ts'
import { reservePlace } from './hosts.ts'
import { hostOf, type Isolation, type Job } from './job.ts'
import { dropLogins, makeLogins, urlsAt } from './logins.ts'
import { createDatabase, remove } from './neon.ts'

/** Isolation `database`: a database in a shared branch. The cheapest; up to 500 to a branch. */
export const sharedDatabase: Isolation = {
  place: ({ config, neon, tenant }) => reservePlace(config, neon, tenant.id, 'database'),

  async create(job) {
    const { database_name } = job.tenant
    // A database that is there is adopted. The host's own is there, and is nobody's.
    if (new URL(hostOf(job).owner_url).pathname === `/${database_name}`)
      throw new Error(`The name ${database_name} is the host's own database.`)
    const isThere = () =>
      batch(urlOf(job), [sql`select 1`]).then(
        () => true,
        (error) => dbError(error)?.code !== '3D000',
      )
    return createDatabase(job.neon, hostOf(job), database_name, isThere)
  },

  urls: async (job, passwords) => urlsAt(hostOf(job).owner_url, job.tenant, passwords),

  logins: (job, urls) => makeLogins(hostOf(job).owner_url, job.tenant.database_name, urls),

  async remove(job) {
    if (!job.tenant.host || !(await isOurs(job))) return
    await remove(job.neon, hostOf(job), job.tenant.database_name)
    await dropLogins(hostOf(job).owner_url, job.tenant.id)
  },
}

/** How the host's API role connects to the tenant's database. */
const urlOf = (job: Job) => Object.assign(new URL(hostOf(job).owner_url), { pathname: `/${job.tenant.database_name}` }).href

/** False for a database that has the name but is not this tenant's: a failed tenant may have found it there. */
async function isOurs(job: Job): Promise<boolean> {
  try {
    const results = await batch(urlOf(job), [
      sql`set local role freehold_owner`,
      sql`select coalesce((select bool_and(t.id = ${job.tenant.id}) from freehold.tenant t), true) as ours`,
    ])
    return results[1]?.[0]?.ours === true
  } catch (error) {
    // Gone already, or never migrated: then nothing of anybody may be in it but what Postgres puts there.
    if (dbError(error)?.code === '3D000') return true
    if (dbError(error)?.code !== '42P01') throw error
    const [rows] = await batch(urlOf(job), [
      sql`select not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'freehold', 'access')) as empty`,
    ])
    return rows?.[0]?.empty === true
  }
}
