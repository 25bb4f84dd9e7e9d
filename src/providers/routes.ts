import { z } from '@hono/zod-openapi'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import {
  changeProvider,
  createProvider,
  getProvider,
  listProviders,
  NewProvider,
  Provider,
  ProviderList,
  ProviderPatch,
  removeProvider,
} from './providers.ts'

const Id = z.object({ id: z.uuid() })

/** Where users of a tenant can log in elsewhere, under /api/v1/settings/providers. */
export const providerRoutes = room()

providerRoutes.openapi(
  route({
    operationId: 'listProviders',
    method: 'get',
    path: '/',
    summary: 'List the providers with which users can log in, by label',
    permission: 'setting:read',
    trips: 1,
    returns: { 200: ProviderList },
  }),
  async (c) => c.json(await listProviders(c.var.ctx), 200),
)

providerRoutes.openapi(
  route({
    operationId: 'createProvider',
    method: 'post',
    path: '/',
    summary: 'Add a provider of OpenID Connect, with which users can log in',
    permission: 'setting:update',
    trips: 1,
    body: NewProvider,
    returns: { 201: Provider },
    problems: ['already_exists', 'limit_reached'],
  }),
  async (c) => created(c, await createProvider(c.var.ctx, c.req.valid('json'))),
)

providerRoutes.openapi(
  route({
    operationId: 'getProvider',
    method: 'get',
    path: '/{id}',
    summary: 'Get a provider',
    permission: 'setting:read',
    trips: 1,
    params: Id,
    returns: { 200: Provider },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getProvider(c.var.ctx, c.req.valid('param').id)),
)

providerRoutes.openapi(
  route({
    operationId: 'updateProvider',
    method: 'patch',
    path: '/{id}',
    summary: 'Update a provider (JSON merge patch); `If-Match` prevents lost updates',
    permission: 'setting:update',
    trips: 1,
    params: Id,
    body: ProviderPatch,
    returns: { 200: Provider },
    problems: ['not_found', 'etag_mismatch'],
  }),
  async (c) => answer(c, await changeProvider(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

providerRoutes.openapi(
  route({
    operationId: 'deleteProvider',
    method: 'delete',
    path: '/{id}',
    summary: 'Remove a provider with which nobody logs in',
    permission: 'setting:update',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found', 'in_use'],
  }),
  async (c) => {
    await removeProvider(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)
