import { z } from '@hono/zod-openapi'
import { created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { Ranges } from './assignments.ts'
import { addOverride, endOverride, listOverrides, NewOverride, Override, OverrideList } from './overrides.ts'
import {
  changePermission,
  createPermission,
  deletePermission,
  getPermission,
  listPermissions,
  NewPermission,
  Permission,
  PermissionChange,
  PermissionList,
  PermissionQuery,
} from './permissions.ts'

const Id = z.object({ id: z.uuid() })

/** Permissions, under /api/v1/permissions. */
export const permissionRoutes = room()

permissionRoutes.openapi(
  route({
    operationId: 'listPermissions',
    method: 'get',
    path: '/',
    summary: 'List permissions, by name; `search` is a prefix match on the name',
    permission: 'permission:read',
    trips: 1,
    query: PermissionQuery,
    returns: { 200: PermissionList },
    problems: ['invalid_cursor'],
  }),
  async (c) => c.json(await listPermissions(c.var.ctx, c.req.valid('query')), 200),
)

permissionRoutes.openapi(
  route({
    operationId: 'createPermission',
    method: 'post',
    path: '/',
    summary: 'Create a permission',
    permission: 'permission:create',
    trips: 1,
    body: NewPermission,
    returns: { 201: Permission },
    problems: ['already_exists'],
  }),
  async (c) => created(c, await createPermission(c.var.ctx, c.req.valid('json'))),
)

permissionRoutes.openapi(
  route({
    operationId: 'getPermission',
    method: 'get',
    path: '/{id}',
    summary: 'Get a permission',
    permission: 'permission:read',
    trips: 1,
    params: Id,
    returns: { 200: Permission },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getPermission(c.var.ctx, c.req.valid('param').id), 200),
)

permissionRoutes.openapi(
  route({
    operationId: 'updatePermission',
    method: 'put',
    path: '/{id}',
    summary: 'Update the description of a permission',
    permission: 'permission:update',
    trips: 1,
    params: Id,
    body: PermissionChange,
    returns: { 200: Permission },
    problems: ['not_found'],
  }),
  async (c) => c.json(await changePermission(c.var.ctx, c.req.valid('param').id, c.req.valid('json')), 200),
)

permissionRoutes.openapi(
  route({
    operationId: 'deletePermission',
    method: 'delete',
    path: '/{id}',
    summary: 'Delete an unused permission',
    permission: 'permission:delete',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found', 'in_use'],
  }),
  async (c) => {
    await deletePermission(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)

/** Overrides: permissions that one user is granted or denied whatever their roles carry, under /api/v1/users. */
export const overrideRoutes = room()

overrideRoutes.openapi(
  route({
    operationId: 'listOverrides',
    method: 'get',
    path: '/{id}/overrides',
    summary: 'List the overrides of a user, current and scheduled; with `all=true` also those that have ended',
    permission: 'user:read',
    trips: 1,
    params: Id,
    query: Ranges,
    returns: { 200: OverrideList },
    problems: ['not_found', 'invalid_cursor'],
  }),
  async (c) => c.json(await listOverrides(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)

overrideRoutes.openapi(
  route({
    operationId: 'createOverride',
    method: 'post',
    path: '/{id}/overrides',
    summary: 'Grant or deny a user a permission',
    permission: 'permission:update',
    trips: 1,
    params: Id,
    body: NewOverride,
    returns: { 201: Override },
    problems: ['not_found', 'already_exists', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    return created(c, await addOverride(c.var.ctx, id, c.req.valid('json')), `/api/v1/users/${id}/overrides`)
  },
)

overrideRoutes.openapi(
  route({
    operationId: 'endOverride',
    method: 'delete',
    path: '/{id}/overrides/{override_id}',
    summary: 'End an override',
    permission: 'permission:update',
    trips: 1,
    params: Id.extend({ override_id: z.uuid() }),
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    const { id, override_id } = c.req.valid('param')
    await endOverride(c.var.ctx, id, override_id)
    return c.body(null, 204)
  },
)
