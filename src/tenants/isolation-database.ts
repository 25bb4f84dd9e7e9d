import { sql } from 'drizzle-orm'
import { batch, dbError } from '../kernel/db.ts'
import { takePlace } from './homes.ts'
import { homeOf, type Isolation } from './job.ts'
import { makeLogins, urlsAt } from './logins.ts'
import { createDatabase } from './neon.ts'

/** Isolation `database`: a database in a shared branch. The cheapest; up to 500 to a branch. */
export const sharedDatabase: Isolation = {
  place: ({ config, neon, tenant }) => takePlace(config, neon, tenant.id, 'database'),

  async create(job) {
    const { database_name } = job.tenant
    // A database that is there is adopted. The home's own is there, and is nobody's.
    if (new URL(homeOf(job).owner_url).pathname === `/${database_name}`)
      throw new Error(`The name ${database_name} is the home's own database.`)
    const url = Object.assign(new URL(homeOf(job).owner_url), { pathname: `/${database_name}` }).href
    const isThere = () =>
      batch(url, [sql`select 1`]).then(
        () => true,
        (error) => dbError(error)?.code !== '3D000',
      )
    return createDatabase(job.neon, homeOf(job), database_name, isThere)
  },

  urls: async (job, passwords) => urlsAt(homeOf(job).owner_url, job.tenant, passwords),

  logins: (job, urls) => makeLogins(homeOf(job).owner_url, job.tenant.database_name, urls),
}
