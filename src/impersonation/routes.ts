import { z } from '@hono/zod-openapi'
import { FRESH, TWO_IF_ANY } from '../http/admit.ts'
import { room, route } from '../http/route.ts'
import { Impersonated, Impersonation, impersonate } from './impersonation.ts'

/** Acting as another user, under the users of a tenant. Operators of the platform are nobody's to act as. */
export const impersonationRoutes = room()

impersonationRoutes.openapi(
  route({
    operationId: 'impersonateUser',
    method: 'post',
    path: '/{id}/impersonate',
    summary: 'Act as a user for 30 minutes, to help them; they are told by mail',
    permission: 'user:impersonate',
    by: 'session',
    fresh: FRESH,
    aal: TWO_IF_ANY,
    trips: 1,
    params: z.object({ id: z.uuid() }),
    body: Impersonation,
    returns: { 200: Impersonated },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => c.json(await impersonate(c.var.ctx, c.req.valid('param').id, c.req.valid('json')), 200),
)
