import { z } from '@hono/zod-openapi'
import { room, route } from '../http/route.ts'
import { GroupList, GroupSet, listGroups, setGroups } from './groups.ts'

const Id = z.object({ id: z.uuid() })

/** Manageable roles of a user, under /api/v1/users. */
export const groupRoutes = room()

groupRoutes.openapi(
  route({
    operationId: 'listUserGroups',
    method: 'get',
    path: '/{id}/groups',
    summary: 'List the manageable roles, and which of them a user holds',
    permission: 'user:read',
    trips: 1,
    params: Id,
    returns: { 200: GroupList },
    problems: ['not_found'],
  }),
  async (c) => c.json(await listGroups(c.var.ctx, c.req.valid('param').id), 200),
)

groupRoutes.openapi(
  route({
    operationId: 'setUserGroups',
    method: 'put',
    path: '/{id}/groups',
    summary: 'Set the manageable roles of a user: those that are named, and no others',
    permission: 'role:update',
    trips: 1,
    params: Id,
    body: GroupSet,
    returns: { 200: GroupList },
    problems: ['not_found', 'limit_reached', 'already_exists'],
  }),
  async (c) => c.json(await setGroups(c.var.ctx, c.req.valid('param').id, c.req.valid('json')), 200),
)
