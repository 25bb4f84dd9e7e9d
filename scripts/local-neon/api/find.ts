import { type Branch, type Database, type Endpoint, inBranch, type Project, type Role } from '../state/records.ts'
import { notFound } from './error.ts'
import type { Call } from './router.ts'

// Look-ups of what a path names. Things that are being deleted count as missing.

export function findProject({ store, params }: Pick<Call, 'store' | 'params'>): Project {
  const project = store.get('project', params.project ?? '')
  if (!project) throw notFound('project')
  return project
}

export function findBranch(call: Pick<Call, 'store' | 'params'>, id = call.params.branch ?? ''): Branch {
  const project = findProject(call)
  const branch = call.store.get('branch', id)
  if (!branch || branch.deleting || branch.project_id !== project.id) throw notFound('branch')
  return branch
}

export function findEndpoint(call: Pick<Call, 'store' | 'params'>, id = call.params.endpoint ?? ''): Endpoint {
  const project = findProject(call)
  const endpoint = call.store.get('endpoint', id)
  if (!endpoint || endpoint.deleting || endpoint.project_id !== project.id) throw notFound('endpoint')
  return endpoint
}

export function findDatabase({ store }: Pick<Call, 'store'>, branch: Branch, name: string): Database {
  const database = store.get('database', inBranch(branch.id, name))
  if (!database || database.deleting) throw notFound('database')
  return database
}

export function findRole({ store }: Pick<Call, 'store'>, branch: Branch, name: string): Role {
  const role = store.get('role', inBranch(branch.id, name))
  if (!role || role.deleting) throw notFound('role')
  return role
}

/** The default branch of a project. */
export function defaultBranch({ store }: Pick<Call, 'store'>, project: Project): Branch {
  const branch = store.all('branch').find((one) => one.project_id === project.id && one.default)
  if (!branch) throw notFound('branch')
  return branch
}
