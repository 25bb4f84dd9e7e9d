import { sharedDatabase } from './isolation-database.ts'
import { hostOf, type Isolation } from './job.ts'
import { openOwnHost, removeOwnHost, replaceLostProject } from './own-host.ts'

/**
 * Isolation `project`: a host for one tenant alone, so a project with a region, a restore window, a quota and an operation lock of its
 * own. In it the database and the logins are made as in a host that many share.
 */
export const ownProject: Isolation = {
  ...sharedDatabase,

  place: async (job) => void (await openOwnHost(job)),

  async create(job) {
    try {
      return await sharedDatabase.create(job)
    } catch (error) {
      if (!(await replaceLostProject(job, hostOf(job)))) throw error
      // The next try has the host as it is now.
      throw new Error('Neon did not have the project of the tenant any more: another one was made.', { cause: error })
    }
  },

  async remove(job) {
    await removeOwnHost(job)
    return true
  },
}
