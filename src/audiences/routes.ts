import { z } from '@hono/zod-openapi'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { Page } from '../kernel/cursor.ts'
import {
  Audience,
  AudienceList,
  AudiencePatch,
  changeAudience,
  createAudience,
  getAudience,
  listAudiences,
  NewAudience,
  removeAudience,
} from './audiences.ts'

const Id = z.object({ id: z.uuid() })

/** The APIs that take access tokens of the tenant, under /api/v1/audiences. */
export const audienceRoutes = room()

audienceRoutes.openapi(
  route({
    operationId: 'listAudiences',
    method: 'get',
    path: '/',
    summary: 'List the APIs that access tokens can be for, by name',
    permission: 'audience:read',
    trips: 1,
    query: Page,
    returns: { 200: AudienceList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listAudiences(c.var.ctx, c.req.valid('query')), 200),
)

audienceRoutes.openapi(
  route({
    operationId: 'createAudience',
    method: 'post',
    path: '/',
    summary: 'Register an API, so that access tokens can be for it (RFC 8707)',
    permission: 'audience:create',
    trips: 1,
    body: NewAudience,
    returns: { 201: Audience },
    problems: ['already_exists', 'limit_reached'],
  }),
  async (c) => created(c, await createAudience(c.var.ctx, c.req.valid('json'))),
)

audienceRoutes.openapi(
  route({
    operationId: 'getAudience',
    method: 'get',
    path: '/{id}',
    summary: 'Get an audience',
    permission: 'audience:read',
    trips: 1,
    params: Id,
    returns: { 200: Audience },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getAudience(c.var.ctx, c.req.valid('param').id)),
)

audienceRoutes.openapi(
  route({
    operationId: 'updateAudience',
    method: 'patch',
    path: '/{id}',
    summary: 'Update an audience (JSON merge patch); `If-Match` prevents lost updates',
    permission: 'audience:update',
    trips: 1,
    params: Id,
    body: AudiencePatch,
    returns: { 200: Audience },
    problems: ['not_found', 'etag_mismatch'],
  }),
  async (c) => answer(c, await changeAudience(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

audienceRoutes.openapi(
  route({
    operationId: 'deleteAudience',
    method: 'delete',
    path: '/{id}',
    summary: 'Remove an audience; its tokens stay valid until they expire',
    permission: 'audience:delete',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await removeAudience(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)
