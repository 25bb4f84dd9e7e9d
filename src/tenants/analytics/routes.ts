import { room, route } from '../../http/route.ts'
import { Analytics, AnalyticsQuery, getAnalytics } from './analytics.ts'

/** Tenants and their days in numbers, for operators. */
export const analyticsRoutes = room()

analyticsRoutes.openapi(
  route({
    method: 'get',
    path: '/',
    summary: 'Get how many tenants there are, by what they are, and the people, logins, failures and mails of each day',
    permission: 'tenant:read',
    trips: 1,
    query: AnalyticsQuery,
    returns: { 200: Analytics },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getAnalytics(c.var.ctx, c.req.valid('query')), 200),
)
