import { z } from '@hono/zod-openapi'
import { room, route } from '../../http/route.ts'
import { ErasureCertificate, getCertificate } from './certificate.ts'

/** What proves that a tenant was erased, for operators. */
export const certificateRoutes = room()

certificateRoutes.openapi(
  route({
    operationId: 'getErasureCertificate',
    method: 'get',
    path: '/{id}/certificate',
    summary: 'Get the signed certificate of the erasure of a tenant, which exists no more',
    permission: 'tenant:read',
    trips: 1,
    params: z.object({ id: z.uuid() }),
    returns: { 200: ErasureCertificate },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getCertificate(c.var.ctx, c.req.valid('param').id), 200),
)
