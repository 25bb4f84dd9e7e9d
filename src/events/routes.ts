import { room, route } from '../http/route.ts'
import { EventList, EventQuery, listEvents } from './events.ts'

/** The audit as a feed, under /api/v1/events. */
export const eventRoutes = room()

eventRoutes.openapi(
  route({
    operationId: 'listEvents',
    method: 'get',
    path: '/',
    summary: 'List events in the order of the audit, after a number',
    permission: 'activity:export',
    trips: 1,
    query: EventQuery,
    returns: { 200: EventList },
    problems: ['invalid_request'],
  }),
  async (c) => c.json(await listEvents(c.var.ctx, c.req.valid('query')), 200),
)
