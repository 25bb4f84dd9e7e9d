import { z } from '@hono/zod-openapi'
import { follow } from '../../http/events.ts'
import { room, route } from '../../http/route.ts'
import { getProvisioning, Steps } from './progress.ts'

const Id = z.object({ id: z.uuid() })

/** How far the provisioning of a tenant is, for operators. */
export const provisioningRoutes = room()

provisioningRoutes.openapi(
  route({
    operationId: 'getProvisioning',
    method: 'get',
    path: '/{id}/provisioning',
    summary: 'Get the provisioning progress of a tenant',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    returns: { 200: Steps },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getProvisioning(c.var.ctx, c.req.valid('param').id), 200),
)

provisioningRoutes.openapi(
  route({
    operationId: 'followProvisioning',
    method: 'get',
    path: '/{id}/provisioning/events',
    summary:
      'Follow the provisioning of a tenant as server-sent events: `steps` at once and when they changed, then `end`, or `error` with a problem. 1 round trip, and 1 more each second while it is read, which counts as a request',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    events: Steps,
    returns: { 200: null, 204: null },
    problems: ['not_found'],
  }),
  (c) => {
    const look = () => getProvisioning(c.var.ctx, c.req.valid('param').id)
    return follow(c, { event: 'steps', look, isOver: ({ status }) => status !== 'provisioning' })
  },
)
