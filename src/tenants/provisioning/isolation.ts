import { ownBranch } from './isolation-branch.ts'
import { sharedDatabase } from './isolation-database.ts'
import { adopted } from './isolation-external.ts'
import { ownProject } from './isolation-project.ts'
import type { Isolation } from './job.ts'

/** All isolations, by name. */
export const isolations: Record<string, Isolation> = {
  database: sharedDatabase,
  branch: ownBranch,
  project: ownProject,
  external: adopted,
}
