import { z } from '@hono/zod-openapi'
import { FRESH, TWO_IF_ANY } from '../../http/admit.ts'
import { room, route } from '../../http/route.ts'
import { beginCredentials, CredentialRotation, getCredentials } from './asking.ts'
import { rotateCredentials } from './credentials.ts'
import { getKeyIds, KeyIds } from './key-ids.ts'
import { beginSigningKey, SigningKeyRotation, spreadSigningKey } from './signing.ts'

const Id = z.object({ id: z.uuid() })

/** Rotations of what belongs to a tenant, for operators of the platform. */
export const rotationRoutes = room()

rotationRoutes.openapi(
  route({
    operationId: 'rotateSigningKey',
    method: 'post',
    path: '/{id}/rotate-signing-key',
    summary:
      'Rotate the key that signs the access tokens of a tenant; it is published first, and the tokens of the former one stay valid',
    permission: 'tenant:update',
    fresh: FRESH,
    aal: TWO_IF_ANY,
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

rotationRoutes.openapi(
  route({
    operationId: 'rotateCredentials',
    location: true,
    method: 'post',
    path: '/{id}/rotate-credentials',
    summary:
      'Rotate the logins of a tenant: new ones are made, the former ones work until everybody knows them; no request fails',
    permission: 'tenant:update',
    fresh: FRESH,
    aal: TWO_IF_ANY,
    trips: 1,
    params: Id,
    returns: { 202: CredentialRotation },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const rotation = await beginCredentials(c.var.ctx, id)
    c.executionCtx.waitUntil(rotateCredentials(c.env, c.var.config, rotation.id))
    c.header('Location', `/platform/v1/tenants/${id}/rotate-credentials`)
    return c.json(rotation, 202)
  },
)

rotationRoutes.openapi(
  route({
    operationId: 'getCredentialRotation',
    method: 'get',
    path: '/{id}/rotate-credentials',
    summary: 'Get the newest rotation of the logins of a tenant',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    returns: { 200: CredentialRotation },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getCredentials(c.var.ctx, c.req.valid('param').id), 200),
)

/** The keys of the Worker, for owners of the platform. */
export const keyIdRoutes = room()

keyIdRoutes.openapi(
  route({
    operationId: 'getKeyIds',
    method: 'get',
    path: '/',
    summary: 'Get the ids of the keys with which the Worker encrypts, and never a key; the first of each ring encrypts',
    // Whoever rotates keys changes settings of the deployment, which owners do.
    permission: 'setting:update',
    trips: 1,
    returns: { 200: KeyIds },
  }),
  async (c) => c.json(await getKeyIds(c.var.ctx), 200),
)
