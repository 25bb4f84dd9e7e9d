import { tooManyRoles } from '../limits.ts'
import { newPassword, realName } from '../state/names.ts'
import { type Branch, type Effect, inBranch, now, type Role } from '../state/records.ts'
import { databasesOf, endpointsOf, rolesOf } from '../work/lookup.ts'
import * as body from './body.ts'
import { ApiError, notFound } from './error.ts'
import { findBranch, findProject, findRole } from './find.ts'
import type { Call, Routes } from './router.ts'
import { takenNames } from './taken.ts'
import { showNewRole, showOperation, showRole } from './views.ts'

export const roleRoutes: Routes = {
  'POST /projects/:project/branches/:branch/roles': createRole,
  'GET /projects/:project/branches/:branch/roles': (call) => {
    const roles = rolesOf(call.store, findBranch(call).id).filter((one) => !one.deleting)
    return [200, { roles: roles.map(showRole) }]
  },
  'GET /projects/:project/branches/:branch/roles/:role': (call) => {
    return [200, { role: showRole(findRole(call, findBranch(call), call.params.role ?? '')) }]
  },
  'DELETE /projects/:project/branches/:branch/roles/:role': deleteRole,
  'GET /projects/:project/branches/:branch/roles/:role/reveal_password': revealPassword,
  'POST /projects/:project/branches/:branch/roles/:role/reset_password': resetPassword,
}

async function createRole(call: Call): Promise<[number, unknown]> {
  const { store, work, limits } = call
  const wanted = body.object(call.body, 'role')
  const name = body.roleName(body.string(wanted, 'name', 63))
  const noLogin = body.boolean(wanted, 'no_login', false)
  const taken = await takenNames(call)

  const branch = findBranch(call)
  work.assertFree(branch.project_id)
  if (store.get('role', inBranch(branch.id, name))) throw new ApiError(409, `role already exists; role_name:"${name}"`)
  if (rolesOf(store, branch.id).length >= limits.rolesPerBranch)
    throw new ApiError(422, tooManyRoles(limits), 'ROLES_LIMIT_EXCEEDED')
  const role: Role = {
    branch_id: branch.id,
    name,
    real_name: realName(name, branch.id, taken.roles()),
    made_by: 'api',
    no_login: noLogin,
    ...(noLogin ? {} : { password: newPassword() }),
    deleting: false,
    created_at: now(),
    updated_at: now(),
  }
  store.put('role', role)
  return [201, await change(call, branch, role, { do: 'create_role', branch_id: branch.id, name })]
}

async function deleteRole(call: Call): Promise<[number, unknown?]> {
  const { store, work, params } = call
  const branch = findBranch(call)
  work.assertFree(branch.project_id)
  const found = store.get('role', inBranch(branch.id, params.role ?? ''))
  if (!found) return [204]
  const owned = databasesOf(store, branch.id).find((one) => one.owner_name === found.name)
  if (owned) throw new ApiError(422, `role "${found.name}" owns the database "${owned.name}", delete the database first`)
  const role = { ...found, deleting: true, updated_at: now() }
  store.put('role', role)
  return [200, await change(call, branch, role, { do: 'drop_role', branch_id: branch.id, name: role.name })]
}

function revealPassword(call: Call): [number, unknown] {
  if (!findProject(call).store_passwords) throw new ApiError(412, 'the project does not store passwords')
  const { password } = findRole(call, findBranch(call), call.params.role ?? '')
  if (password === undefined) throw notFound('role password')
  return [200, { password }]
}

async function resetPassword(call: Call): Promise<[number, unknown]> {
  const { store, work, params } = call
  const branch = findBranch(call)
  work.assertFree(branch.project_id)
  const role = { ...findRole(call, branch, params.role ?? ''), password: newPassword(), no_login: false, updated_at: now() }
  store.put('role', role)
  return [200, await change(call, branch, role, { do: 'set_password', branch_id: branch.id, name: role.name })]
}

async function change({ store, work }: Call, branch: Branch, role: Role, effect: Effect) {
  const endpoint = endpointsOf(store, branch.id).find((one) => one.type === 'read_write')
  const { operations, accepted } = work.start(branch.project_id, [
    { action: 'apply_config', branch_id: branch.id, ...(endpoint ? { endpoint_id: endpoint.id } : {}), effects: [effect] },
  ])
  await accepted
  return { role: showNewRole(role), operations: operations.map(showOperation) }
}
