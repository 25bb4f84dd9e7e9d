import { z } from '@hono/zod-openapi'
import { FRESH } from '../http/admit.ts'
import { created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { Page } from '../kernel/cursor.ts'
import { createKey, getKey, keysOf, ownKeys, patchKey, revokeKey, revokeKeyOf, rotateKey } from './api-keys.ts'
import { ApiKey, ApiKeyList, ApiKeyPatch, MadeApiKey, NewApiKey, Rotation } from './wire.ts'

const Id = z.object({ id: z.uuid() })
/**
 * The caller's own keys need no permission, because a key can do no more than its owner; and a session, because a key creates no
 * keys.
 */
const OWN = { permission: null, by: 'session', trips: 1 } as const

/** The caller's API keys, under /api-keys of either plane. */
export const apiKeyRoutes = room()

apiKeyRoutes.openapi(
  route({
    operationId: 'createApiKey',
    ...OWN,
    fresh: FRESH,
    method: 'post',
    path: '/',
    summary: 'Create an API key; `key` is returned only once',
    body: NewApiKey,
    returns: { 201: MadeApiKey },
    problems: ['limit_reached'],
  }),
  async (c) => created(c, await createKey(c.var.ctx, c.req.valid('json'))),
)

apiKeyRoutes.openapi(
  route({
    operationId: 'listApiKeys',
    ...OWN,
    method: 'get',
    path: '/',
    summary: 'List the API keys of the current user',
    query: Page,
    returns: { 200: ApiKeyList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await ownKeys(c.var.ctx, c.req.valid('query')), 200),
)

apiKeyRoutes.openapi(
  route({
    operationId: 'getApiKey',
    ...OWN,
    method: 'get',
    path: '/{id}',
    summary: 'Get an API key of the current user',
    params: Id,
    returns: { 200: ApiKey },
    problems: ['not_found', 'invalid_request'],
  }),
  async (c) => c.json(await getKey(c.var.ctx, c.req.valid('param').id), 200),
)

apiKeyRoutes.openapi(
  route({
    operationId: 'updateApiKey',
    ...OWN,
    fresh: FRESH,
    method: 'patch',
    path: '/{id}',
    summary: 'Update an API key',
    params: Id,
    body: ApiKeyPatch,
    returns: { 200: ApiKey },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => c.json(await patchKey(c.var.ctx, c.req.valid('param').id, c.req.valid('json')), 200),
)

apiKeyRoutes.openapi(
  route({
    operationId: 'rotateApiKey',
    ...OWN,
    fresh: FRESH,
    method: 'post',
    path: '/{id}/rotate',
    summary: 'Rotate an API key; the old key expires after the overlap',
    params: Id,
    body: Rotation,
    returns: { 201: MadeApiKey },
    problems: ['not_found', 'illegal_state', 'limit_reached'],
  }),
  async (c) => {
    const made = await rotateKey(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))
    return created(c, made, c.req.path.replace(/[^/]+\/rotate\/?$/, made.id))
  },
)

apiKeyRoutes.openapi(
  route({
    operationId: 'revokeApiKey',
    ...OWN,
    method: 'delete',
    path: '/{id}',
    summary: 'Revoke an API key',
    params: Id,
    returns: { 204: null },
    problems: ['not_found', 'invalid_request'],
  }),
  async (c) => {
    await revokeKey(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)

/** The API keys of other users, under /users and /operators. */
export const userApiKeyRoutes = room()

userApiKeyRoutes.openapi(
  route({
    operationId: 'listUserApiKeys',
    method: 'get',
    path: '/{id}/api-keys',
    summary: 'List the API keys of a user',
    permission: 'api_key:read',
    trips: 1,
    params: Id,
    query: Page,
    returns: { 200: ApiKeyList },
    problems: ['not_found', 'invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await keysOf(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)

userApiKeyRoutes.openapi(
  route({
    operationId: 'revokeUserApiKey',
    method: 'delete',
    path: '/{id}/api-keys/{key_id}',
    summary: 'Revoke an API key of a user',
    permission: 'api_key:delete',
    by: 'session',
    trips: 1,
    params: Id.extend({ key_id: z.uuid() }),
    returns: { 204: null },
    problems: ['not_found', 'invalid_request'],
  }),
  async (c) => {
    const { id, key_id } = c.req.valid('param')
    await revokeKeyOf(c.var.ctx, id, key_id)
    return c.body(null, 204)
  },
)
