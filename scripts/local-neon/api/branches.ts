import { newBranchId, newDatabaseId, newPassword, realName } from '../state/names.ts'
import { type Branch, type Database, type Endpoint, now, type Role } from '../state/records.ts'
import { databasesOf, endpointsOf, rolesOf } from '../work/lookup.ts'
import * as body from './body.ts'
import { countBranches, listBranches } from './branch-list.ts'
import { newEndpoint, startCompute } from './endpoints.ts'
import { ApiError } from './error.ts'
import { readExpiry } from './expiry.ts'
import { defaultBranch, findBranch, findProject } from './find.ts'
import { readMoment } from './moment.ts'
import type { Call, Routes } from './router.ts'
import { takenNames } from './taken.ts'
import { showBranch, showConnection, showDatabase, showEndpoint, showOperation, showRole } from './views.ts'

export const branchRoutes: Routes = {
  'POST /projects/:project/branches': createBranch,
  'GET /projects/:project/branches': listBranches,
  'GET /projects/:project/branches/count': countBranches,
  'GET /projects/:project/branches/:branch': (call) => {
    const branch = findBranch(call)
    const annotation = {
      object: { type: 'console/branch', id: branch.id },
      value: branch.annotation,
      created_at: branch.created_at,
    }
    return [200, { branch: showBranch(branch), annotation }]
  },
  'PATCH /projects/:project/branches/:branch': updateBranch,
  'DELETE /projects/:project/branches/:branch': deleteBranch,
  'POST /projects/:project/branches/:branch/restore': refuseToRestore,
}

/**
 * Checks what Neon checks, and restores nothing. To an earlier moment of its own Neon restores root branches alone; its words for others are
 * not known.
 */
function refuseToRestore(call: Call): never {
  const branch = findBranch(call)
  const source = findBranch(call, body.string(call.body, 'source_branch_id', 60))
  call.work.assertFree(branch.project_id)
  const moment = body.optionalString(call.body, 'source_lsn', 40) ?? body.optionalString(call.body, 'source_timestamp', 40)
  const children = call.store.all('branch').some((one) => one.parent_id === branch.id)
  if (source.id === branch.id && moment === undefined)
    throw new ApiError(400, 'source_lsn or source_timestamp is required to restore a branch from itself')
  if (branch.parent_id !== undefined && source.id !== branch.parent_id)
    throw new ApiError(422, 'only root branches can be restored to an earlier point in time')
  if ((source.id === branch.id || children) && body.optionalString(call.body, 'preserve_under_name', 256) === undefined)
    throw new ApiError(400, 'preserve_under_name is required')
  throw new ApiError(501, 'this local Neon restores no branches')
}

const branchesOf = ({ store }: Call, projectId: string) => store.all('branch').filter((one) => one.project_id === projectId)

const duplicate = (name: string) => new ApiError(409, `branch already exists; branch_name:"${name}"`)

async function createBranch(call: Call): Promise<[number, unknown]> {
  const { store, work, limits } = call
  const wanted = body.object(call.body, 'branch', false)
  const computes = call.body.endpoints ?? []
  if (!Array.isArray(computes)) throw new ApiError(400, 'endpoints must be a list')
  const initSource = body.optionalString(wanted, 'init_source', 20) ?? 'parent-data'
  if (initSource !== 'parent-data') throw new ApiError(400, `this local Neon does not know init_source "${initSource}"`)
  const parentId = body.optionalString(wanted, 'parent_id', 60)
  const expiresAt = readExpiry(wanted)
  const id = newBranchId()
  const name = body.optionalString(wanted, 'name', 256) ?? id
  const taken = await takenNames(call)

  const project = findProject(call)
  const parent = parentId === undefined ? defaultBranch(call, project) : findBranch(call, parentId)
  work.assertFree(project.id)
  if (parent.expires_at !== undefined) throw new ApiError(400, 'a branch that expires cannot have children')
  const others = branchesOf(call, project.id)
  if (others.some((one) => one.name === name)) throw duplicate(name)
  if (others.length >= limits.branchesPerProject) throw new ApiError(422, 'branches limit exceeded', 'BRANCHES_LIMIT_EXCEEDED')

  const mark = readMoment(call, wanted, project, parent)

  const branch: Branch = {
    id,
    project_id: project.id,
    parent_id: parent.id,
    name,
    default: false,
    protected: body.boolean(wanted, 'protected', false),
    init_source: initSource,
    ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    annotation: body.object(call.body, 'annotation_value', false) as Record<string, string>,
    current_state: 'init',
    deleting: false,
    created_at: now(),
    updated_at: now(),
    state_changed_at: now(),
  }
  const endpoints = computes.map((compute) => newEndpoint(branch, { ...project.default_endpoint_settings, ...compute }))
  if (endpoints.filter((one) => one.type === 'read_write').length > 1)
    throw new ApiError(409, 'read_write endpoint already exists')
  const roles = rolesOf(store, parent.id).map((role) => inheritRole(role, parent, branch, taken.roles()))
  const databases = databasesOf(store, parent.id)
    .filter(({ name }) => mark === undefined || mark.databases[name] !== undefined)
    .map((database) => inheritDatabase(database, branch, taken.databases(), mark?.databases[database.name]))
  store.put('branch', branch)
  store.put('role', ...roles)
  store.put('database', ...databases)
  store.put('endpoint', ...endpoints)
  const { operations, accepted } = work.start(project.id, [
    { action: 'create_branch', branch_id: id, effects: [{ do: 'build_branch', branch_id: id }] },
    ...endpoints.map(startCompute),
  ])
  await accepted
  return [
    201,
    {
      branch: showBranch(branch),
      endpoints: endpoints.map(showEndpoint),
      operations: operations.map(showOperation),
      roles: roles.map(showRole),
      databases: databases.map(showDatabase),
      ...connections(endpoints, roles, databases),
    },
  ]
}

/**
 * A child of a protected branch does not get the passwords of its parent. Roles made by SQL are the same in every branch here.
 */
function inheritRole(role: Role, parent: Branch, branch: Branch, taken: Set<string>): Role {
  const { live_password: _live, copy_of: _copy, ...rest } = role
  const inherited = { ...rest, branch_id: branch.id }
  if (role.made_by === 'sql') return inherited
  const password = parent.protected && role.password !== undefined ? { password: newPassword() } : {}
  return { ...inherited, ...password, real_name: realName(role.name, branch.id, taken), copy_of: role.real_name }
}

function inheritDatabase(database: Database, branch: Branch, taken: Set<string>, content?: string): Database {
  const real = realName(database.name, branch.id, taken)
  const { content_of: _, ...rest } = database
  const kept = content === undefined ? {} : { content_of: content }
  return {
    ...rest,
    ...kept,
    id: newDatabaseId(),
    branch_id: branch.id,
    real_name: real,
    live: false,
    copy_of: database.real_name,
  }
}

/** Connection strings; Neon returns them only when role and database are unambiguous. */
function connections([endpoint]: Endpoint[], roles: Role[], databases: Database[]) {
  const [role, database] = [roles[0], databases[0]]
  if (!endpoint || !role || !database || roles.length > 1 || databases.length > 1) return {}
  return { connection_uris: [showConnection(endpoint, role, database.name)] }
}

async function updateBranch(call: Call): Promise<[number, unknown]> {
  const { store, work } = call
  const wanted = body.object(call.body, 'branch')
  const branch = findBranch(call)
  work.assertFree(branch.project_id)
  const name = body.optionalString(wanted, 'name', 256) ?? branch.name
  if (branchesOf(call, branch.project_id).some((one) => one.name === name && one.id !== branch.id)) throw duplicate(name)
  const { expires_at: _expiresAt, ...rest } = branch
  const expiresAt = 'expires_at' in wanted ? readExpiry(wanted) : branch.expires_at
  const isProtected = body.boolean(wanted, 'protected', branch.protected)
  if (expiresAt !== undefined && (branch.default || isProtected))
    throw new ApiError(400, 'a default or protected branch cannot expire')
  const changed: Branch = {
    ...rest,
    name,
    protected: isProtected,
    ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    updated_at: now(),
  }
  store.put('branch', changed)
  await store.saved()
  return [200, { branch: showBranch(changed), operations: [] }]
}

async function deleteBranch(call: Call): Promise<[number, unknown?]> {
  const { store, work, params } = call
  const project = findProject(call)
  work.assertFree(project.id)
  const found = store.get('branch', params.branch ?? '')
  if (found?.project_id !== project.id) return [204]
  if (found.default) throw new ApiError(422, 'cannot delete the default branch')
  if (found.protected) throw new ApiError(422, 'cannot delete a protected branch')
  if (branchesOf(call, project.id).some((one) => one.parent_id === found.id))
    throw new ApiError(422, 'cannot delete a branch that has children')
  const branch: Branch = { ...found, deleting: true, updated_at: now() }
  const endpoints = endpointsOf(store, branch.id).map((endpoint) => ({ ...endpoint, deleting: true }))
  store.put('branch', branch)
  store.put('endpoint', ...endpoints)
  const { operations, accepted } = work.start(project.id, [
    ...endpoints.map((endpoint) => ({
      action: 'suspend_compute',
      branch_id: branch.id,
      endpoint_id: endpoint.id,
      effects: [{ do: 'stop_endpoint' as const, endpoint_id: endpoint.id }],
    })),
    { action: 'delete_timeline', branch_id: branch.id, effects: [{ do: 'remove_branch', branch_id: branch.id }] },
  ])
  await accepted
  return [200, { branch: showBranch(branch), operations: operations.map(showOperation) }]
}
