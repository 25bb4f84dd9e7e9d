import { takePlace } from './homes.ts'
import { homeOf, type Isolation } from './job.ts'
import { makeLogins, urlsAt } from './logins.ts'
import { createDatabase } from './neon.ts'

/** Isolation `database`: a database in a shared branch. The cheapest; up to 500 to a branch. */
export const sharedDatabase: Isolation = {
  place: ({ config, neon, tenant }) => takePlace(config, neon, tenant.id, 'database'),

  create: (job) => createDatabase(job.neon, homeOf(job), job.tenant.database_name),

  urls: async (job, passwords) => urlsAt(homeOf(job).owner_url, job.tenant, passwords),

  logins: (job, urls) => makeLogins(homeOf(job).owner_url, job.tenant.database_name, urls),
}
