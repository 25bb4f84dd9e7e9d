import { z } from '@hono/zod-openapi'
import { room, route } from '../../http/route.ts'
import { beginMove, getMove, NewMove, TenantMove } from './moves.ts'
import { startMove } from './rest.ts'

const Id = z.object({ id: z.uuid() })

/** Moves of tenants, for operators. */
export const moveRoutes = room()

moveRoutes.openapi(
  route({
    operationId: 'moveTenant',
    location: true,
    method: 'post',
    path: '/{id}/move',
    summary: 'Move a tenant to a shared host, to a project of its own, or with that to another region, with all that it holds',
    permission: 'tenant:update',
    trips: 1,
    params: Id,
    body: NewMove,
    returns: { 202: TenantMove },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const { work, move } = await beginMove(c.var.ctx, id, c.req.valid('json'))
    c.executionCtx.waitUntil(startMove(c.env, work))
    c.header('Location', `/platform/v1/tenants/${id}/move`)
    return c.json(move, 202)
  },
)

moveRoutes.openapi(
  route({
    operationId: 'getTenantMove',
    method: 'get',
    path: '/{id}/move',
    summary: 'Get where a tenant is, and its newest move with its steps',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    returns: { 200: TenantMove },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getMove(c.var.ctx, c.req.valid('param').id), 200),
)
