import { openOwnHost, ownHostName } from './hosts.ts'
import { sharedDatabase } from './isolation-database.ts'
import type { Isolation } from './job.ts'
import { deleteProjects } from './neon.ts'

/**
 * Isolation `project`: a host for one tenant alone, so a project with a region, a restore window, a quota and an operation lock of its
 * own. In it the database and the logins are made as in a host that many share.
 */
export const ownProject: Isolation = {
  ...sharedDatabase,

  place: async (job) => void (await openOwnHost(job)),

  // By its name, which has the tenant's id: the answer with the project's own id may have been lost.
  remove: (job) => deleteProjects(job.neon, ownHostName(job.tenant.id)),
}
