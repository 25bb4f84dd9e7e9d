import { z } from '@hono/zod-openapi'
import { room, route } from '../../http/route.ts'
import { beginSigningKey, SigningKeyRotation, spreadSigningKey } from './signing.ts'

const Id = z.object({ id: z.uuid() })

/** Rotations of what belongs to a tenant, for operators of the platform. */
export const rotationRoutes = room()

rotationRoutes.openapi(
  route({
    method: 'post',
    path: '/{id}/rotate-signing-key',
    summary:
      'Rotate the key that signs the access tokens of a tenant; it is published first, and the tokens of the former one stay valid',
    permission: 'tenant:update',
    trips: 1,
    params: Id,
    returns: { 200: SigningKeyRotation, 202: SigningKeyRotation },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const { ctx, config, meter, trace_id } = c.var
    await beginSigningKey(ctx, id)
    const rotated = await spreadSigningKey({ env: c.env, config, meter, trace_id }, id)
    return rotated.used_from ? c.json(rotated, 200) : c.json(rotated, 202)
  },
)
