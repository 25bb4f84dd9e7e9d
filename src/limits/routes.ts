import { room, route } from '../http/route.ts'
import { CountedDocuments, countDocuments, getUsage, NewDocuments, Usage } from './limits.ts'

/** What the platform limits in a tenant, under /api/v1/usage. */
export const limitRoutes = room()

limitRoutes.openapi(
  route({
    operationId: 'getUsage',
    method: 'get',
    path: '/',
    summary: 'Get the limits of the tenant, what is used of them, and until when its license lasts',
    permission: 'usage:read',
    trips: 1,
    returns: { 200: Usage },
  }),
  async (c) => c.json(await getUsage(c.var.ctx), 200),
)

limitRoutes.openapi(
  route({
    operationId: 'countDocuments',
    method: 'post',
    path: '/documents',
    summary: 'Count documents that were made; over max_documents none of them is counted',
    permission: 'usage:create',
    trips: 1,
    body: NewDocuments,
    returns: { 201: CountedDocuments },
    problems: ['limit_reached'],
  }),
  async (c) => {
    const counted = await countDocuments(c.var.ctx, c.req.valid('json').count)
    c.header('Location', '/api/v1/usage')
    return c.json(counted, 201)
  },
)
