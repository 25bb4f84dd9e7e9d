import { room, route } from '../http/route.ts'
import { Rehearsal, Rehearsed, rehearse } from './risk.ts'

/** What is risky in a tenant, under /api/v1/settings/risk. */
export const riskRoutes = room()

riskRoutes.openapi(
  route({
    operationId: 'rehearseRisk',
    method: 'post',
    path: '/rehearse',
    summary: 'Replay the logins of the last 30 days under other weights and thresholds of risk',
    permission: 'setting:update',
    only_reads: true,
    trips: 1,
    body: Rehearsal,
    returns: { 200: Rehearsed },
  }),
  async (c) => c.json(await rehearse(c.var.ctx, c.req.valid('json')), 200),
)
