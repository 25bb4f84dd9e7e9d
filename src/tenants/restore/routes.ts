import { z } from '@hono/zod-openapi'
import { room, route } from '../../http/route.ts'
import { Page } from '../../kernel/cursor.ts'
import { listRestorePoints, RestorePointList } from './list.ts'
import {
  beginRestore,
  beginRestorePoint,
  dropRestorePoint,
  getRestorePoint,
  NewRestorePoint,
  RestoreConfirmation,
  RestorePoint,
} from './points.ts'
import { startRestore } from './rest.ts'

const Id = z.object({ id: z.uuid() })
const Both = z.object({ id: z.uuid(), restore_id: z.uuid() })

/** Going back to an earlier moment of a tenant, for operators. */
export const restoreRoutes = room()

restoreRoutes.openapi(
  route({
    operationId: 'createRestorePoint',
    location: true,
    method: 'post',
    path: '/{id}/restore-point',
    summary: 'Make a restore point of a tenant: what it was at a moment, and what differs; nothing of the tenant changes',
    permission: 'tenant:update',
    trips: 2,
    params: Id,
    body: NewRestorePoint,
    returns: { 202: RestorePoint },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const { work, shown } = await beginRestorePoint(c.var.ctx, id, c.req.valid('json'))
    c.executionCtx.waitUntil(startRestore(c.env, work))
    c.header('Location', `/platform/v1/tenants/${id}/restore-point`)
    return c.json(shown, 202)
  },
)

restoreRoutes.openapi(
  route({
    operationId: 'getRestorePoint',
    method: 'get',
    path: '/{id}/restore-point',
    summary: 'Get the moments that a tenant can be restored to, and its newest restore point with what differs',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    returns: { 200: RestorePoint },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getRestorePoint(c.var.ctx, c.req.valid('param').id), 200),
)

restoreRoutes.openapi(
  route({
    operationId: 'listRestorePoints',
    method: 'get',
    path: '/{id}/restore-points',
    summary: 'List the restore points of a tenant, newest first',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    query: Page,
    returns: { 200: RestorePointList },
    problems: ['not_found', 'invalid_cursor'],
  }),
  async (c) => c.json(await listRestorePoints(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)

for (const [operationId, verb, is_return, summary] of [
  ['confirmRestore', 'confirm', false, 'Restore a tenant to a restore point; the state before is kept for a week'],
  ['undoRestore', 'return', true, 'Go back to the state that a tenant had before it was restored'],
] as const) {
  restoreRoutes.openapi(
    route({
      operationId,
      location: true,
      method: 'post',
      path: `/{id}/restore-point/{restore_id}/${verb}`,
      summary,
      permission: 'tenant:update',
      trips: 1,
      params: Both,
      body: RestoreConfirmation,
      returns: { 202: RestorePoint },
      problems: ['not_found', 'illegal_state'],
    }),
    async (c) => {
      const { id, restore_id } = c.req.valid('param')
      const { confirm } = c.req.valid('json')
      const { work, shown } = await beginRestore(c.var.ctx, id, restore_id, confirm, is_return)
      c.executionCtx.waitUntil(startRestore(c.env, work))
      c.header('Location', `/platform/v1/tenants/${id}/restore-point`)
      return c.json(shown, 202)
    },
  )
}

restoreRoutes.openapi(
  route({
    operationId: 'deleteRestorePoint',
    method: 'delete',
    path: '/{id}/restore-point/{restore_id}',
    summary: 'Give up a restore point that was not confirmed',
    permission: 'tenant:update',
    trips: 1,
    params: Both,
    returns: { 204: null },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id, restore_id } = c.req.valid('param')
    await dropRestorePoint(c.var.ctx, id, restore_id)
    return c.body(null, 204)
  },
)
