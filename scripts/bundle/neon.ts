/**
 * What the Worker uses of Neon's client. wrangler bundles this file wherever `@neon/sdk` is imported (wrangler.toml, alias): there
 * `createNeonClient` and `raw` have all of Neon's API, of which nothing can be left out. These are the package's own parts, put together
 * as the package does. What is missing here is an error of the build, or test/dev/bundle.node.test.ts names it.
 */
import {
  createProjectBranch,
  createProjectBranchDatabase,
  createProjectEndpoint,
  deleteProject,
  deleteProjectBranch,
  deleteProjectBranchDatabase,
  deleteProjectBranchRole,
  deleteProjectEndpoint,
  getActiveRegions,
  getConsumptionHistoryPerProjectV2,
  getProject,
  getProjectBranch,
  listProjectBranchDatabases,
  listProjectBranchEndpoints,
  listProjects,
  resetProjectBranchRolePassword,
  suspendProjectEndpoint,
  updateProject,
  updateProjectBranch,
  updateProjectBranchDatabase,
} from '../../node_modules/@neon/sdk/dist/client/sdk.gen.js'
import { resolveConfig } from '../../node_modules/@neon/sdk/dist/neon/config.js'
import { RequestContext } from '../../node_modules/@neon/sdk/dist/neon/context.js'
import { wrapRaw } from '../../node_modules/@neon/sdk/dist/neon/raw-wrap.js'
import { Branches } from '../../node_modules/@neon/sdk/dist/neon/resources/branches.js'
import { Operations } from '../../node_modules/@neon/sdk/dist/neon/resources/operations.js'
import { Postgres } from '../../node_modules/@neon/sdk/dist/neon/resources/postgres.js'
import { Projects } from '../../node_modules/@neon/sdk/dist/neon/resources/projects.js'

export { isNeonError } from '../../node_modules/@neon/sdk/dist/neon/errors.js'

export function createNeonClient(config: Parameters<typeof resolveConfig>[0]) {
  const context = new RequestContext(resolveConfig(config))
  return {
    projects: new Projects(context),
    branches: new Branches(context),
    postgres: new Postgres(context),
    operations: new Operations(context),
    client: context.client,
  }
}

export const raw = {
  createProjectBranch: wrapRaw(createProjectBranch),
  createProjectBranchDatabase: wrapRaw(createProjectBranchDatabase),
  createProjectEndpoint: wrapRaw(createProjectEndpoint),
  deleteProject: wrapRaw(deleteProject),
  deleteProjectBranch: wrapRaw(deleteProjectBranch),
  deleteProjectBranchDatabase: wrapRaw(deleteProjectBranchDatabase),
  deleteProjectBranchRole: wrapRaw(deleteProjectBranchRole),
  deleteProjectEndpoint: wrapRaw(deleteProjectEndpoint),
  getActiveRegions: wrapRaw(getActiveRegions),
  getConsumptionHistoryPerProjectV2: wrapRaw(getConsumptionHistoryPerProjectV2),
  getProject: wrapRaw(getProject),
  getProjectBranch: wrapRaw(getProjectBranch),
  listProjectBranchDatabases: wrapRaw(listProjectBranchDatabases),
  listProjectBranchEndpoints: wrapRaw(listProjectBranchEndpoints),
  listProjects: wrapRaw(listProjects),
  resetProjectBranchRolePassword: wrapRaw(resetProjectBranchRolePassword),
  suspendProjectEndpoint: wrapRaw(suspendProjectEndpoint),
  updateProject: wrapRaw(updateProject),
  updateProjectBranch: wrapRaw(updateProjectBranch),
  updateProjectBranchDatabase: wrapRaw(updateProjectBranchDatabase),
}
