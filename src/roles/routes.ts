import { z } from '@hono/zod-openapi'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { Page } from '../kernel/cursor.ts'
import { PermissionName } from '../names/names.ts'
import {
  Assignment,
  AssignmentList,
  assignRole,
  endAssignment,
  HolderList,
  listAssignments,
  listHolders,
  NewAssignment,
  Ranges,
} from './assignments.ts'
import { addGrants, changeRole, deleteRole, endGrant, MoreGrants, RolePatch } from './changes.ts'
import { createRole, getRole, listRoles, NewRole, Role, RoleInFull, RoleList, RoleQuery } from './roles.ts'

const Id = z.object({ id: z.uuid() })
const OfUser = Id.extend({ role_id: z.uuid() })

/** Roles and their permissions, under /api/v1/roles. */
export const roleRoutes = room()

roleRoutes.openapi(
  route({
    operationId: 'listRoles',
    method: 'get',
    path: '/',
    summary: 'List roles, by name; `search` is a prefix match on the name',
    permission: 'role:read',
    trips: 1,
    query: RoleQuery,
    returns: { 200: RoleList },
    problems: ['invalid_cursor'],
  }),
  async (c) => c.json(await listRoles(c.var.ctx, c.req.valid('query')), 200),
)

roleRoutes.openapi(
  route({
    operationId: 'createRole',
    method: 'post',
    path: '/',
    summary: 'Create a role',
    permission: 'role:create',
    trips: 1,
    body: NewRole,
    returns: { 201: Role },
    problems: ['already_exists'],
  }),
  async (c) => created(c, await createRole(c.var.ctx, c.req.valid('json'))),
)

roleRoutes.openapi(
  route({
    operationId: 'getRole',
    method: 'get',
    path: '/{id}',
    summary: 'Get a role with its inherited permissions',
    permission: 'role:read',
    trips: 1,
    params: Id,
    returns: { 200: RoleInFull },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getRole(c.var.ctx, c.req.valid('param').id)),
)

for (const [operationId, method, summary, body] of [
  ['replaceRole', 'put', 'Replace a role and its permissions; `If-Match` prevents lost updates', NewRole],
  ['updateRole', 'patch', 'Update a role; `If-Match` prevents lost updates', RolePatch],
] as const) {
  roleRoutes.openapi(
    route({
      operationId,
      method,
      path: '/{id}',
      summary,
      permission: 'role:update',
      trips: 1,
      params: Id,
      body,
      returns: { 200: Role },
      problems: ['not_found', 'already_exists', 'in_use', 'illegal_state', 'limit_reached', 'etag_mismatch'],
    }),
    async (c) => answer(c, await changeRole(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
  )
}

roleRoutes.openapi(
  route({
    operationId: 'deleteRole',
    method: 'delete',
    path: '/{id}',
    summary: 'Delete an unused role',
    permission: 'role:delete',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found', 'in_use'],
  }),
  async (c) => {
    await deleteRole(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)

roleRoutes.openapi(
  route({
    operationId: 'addRolePermissions',
    method: 'post',
    path: '/{id}/permissions',
    summary: 'Add permissions to a role',
    permission: 'role:update',
    trips: 1,
    params: Id,
    body: MoreGrants,
    returns: { 200: Role },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => answer(c, await addGrants(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
)

roleRoutes.openapi(
  route({
    operationId: 'removeRolePermission',
    method: 'delete',
    path: '/{id}/permissions/{permission}',
    summary: 'Remove a permission from a role',
    permission: 'role:update',
    trips: 1,
    params: Id.extend({ permission: PermissionName }),
    returns: { 204: null },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id, permission } = c.req.valid('param')
    await endGrant(c.var.ctx, id, permission)
    return c.body(null, 204)
  },
)

roleRoutes.openapi(
  route({
    operationId: 'listRoleUsers',
    method: 'get',
    path: '/{id}/users',
    summary: 'List the users who hold a role now',
    permission: 'user:read',
    trips: 1,
    params: Id,
    query: Page,
    returns: { 200: HolderList },
    problems: ['not_found', 'invalid_cursor'],
  }),
  async (c) => c.json(await listHolders(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)

/** Assignments of roles to users, under /api/v1/users. */
export const assignmentRoutes = room()

assignmentRoutes.openapi(
  route({
    operationId: 'listUserRoles',
    method: 'get',
    path: '/{id}/roles',
    summary: 'List the roles of a user, current and scheduled; with `all=true` also those that have ended',
    permission: 'user:read',
    trips: 1,
    params: Id,
    query: Ranges,
    returns: { 200: AssignmentList },
    problems: ['not_found', 'invalid_cursor'],
  }),
  async (c) => c.json(await listAssignments(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)

assignmentRoutes.openapi(
  route({
    operationId: 'assignUserRole',
    method: 'post',
    path: '/{id}/roles',
    summary: 'Assign a role to a user',
    permission: 'role:update',
    trips: 1,
    params: Id,
    body: NewAssignment,
    returns: { 201: Assignment },
    problems: ['not_found', 'already_exists', 'limit_reached'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    return created(c, await assignRole(c.var.ctx, id, c.req.valid('json')), `/api/v1/users/${id}/roles`)
  },
)

assignmentRoutes.openapi(
  route({
    operationId: 'removeUserRole',
    method: 'delete',
    path: '/{id}/roles/{role_id}',
    summary: 'Remove a role from a user',
    permission: 'role:update',
    trips: 1,
    params: OfUser,
    returns: { 204: null },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id, role_id } = c.req.valid('param')
    await endAssignment(c.var.ctx, id, role_id)
    return c.body(null, 204)
  },
)
