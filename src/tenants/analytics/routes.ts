import { z } from '@hono/zod-openapi'
import { room, route } from '../../http/route.ts'
import { Analytics, AnalyticsQuery, getAnalytics } from './analytics.ts'
import { getUsage, TenantUsage } from './usage.ts'

/** Tenants and their days in numbers, for operators. */
export const analyticsRoutes = room()

analyticsRoutes.openapi(
  route({
    operationId: 'getAnalytics',
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

/** What one tenant uses, for operators. */
export const usageRoutes = room()

usageRoutes.openapi(
  route({
    operationId: 'getTenantUsage',
    method: 'get',
    path: '/{id}/usage',
    summary: 'Get the people, sessions, storage and compute time of a tenant; its database is asked, and Neon',
    permission: 'tenant:read',
    trips: 1,
    params: z.object({ id: z.uuid() }),
    returns: { 200: TenantUsage },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getUsage(c.var.ctx, c.req.valid('param').id), 200),
)
