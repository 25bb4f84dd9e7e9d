import { z } from '@hono/zod-openapi'
import { room, route } from '../../http/route.ts'
import { startUndo } from '../migration/put-back.ts'
import { beginUndo, getUndo, MigrationUndo, NewMigrationUndo } from './undos.ts'

const Id = z.object({ id: z.uuid() })

/** The undo of a tenant's last migration, for operators. */
export const undoRoutes = room()

undoRoutes.openapi(
  route({
    operationId: 'undoMigration',
    location: true,
    method: 'post',
    path: '/{id}/undo-migration',
    summary: "Undo a tenant's last migration: the branch that was taken before it becomes the tenant's",
    permission: 'tenant:update',
    trips: 2,
    params: Id,
    body: NewMigrationUndo,
    returns: { 202: MigrationUndo },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const { work, undo } = await beginUndo(c.var.ctx, id, c.req.valid('json').discard_writes)
    c.executionCtx.waitUntil(startUndo(c.env, work))
    c.header('Location', `/platform/v1/tenants/${id}/undo-migration`)
    return c.json(undo, 202)
  },
)

undoRoutes.openapi(
  route({
    operationId: 'getMigrationUndo',
    method: 'get',
    path: '/{id}/undo-migration',
    summary: "Get whether a tenant's last migration can be undone, what that would lose, and its newest undo",
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    returns: { 200: MigrationUndo },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getUndo(c.var.ctx, c.req.valid('param').id), 200),
)
