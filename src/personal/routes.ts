import { z } from '@hono/zod-openapi'
import { FRESH } from '../http/admit.ts'
import { answer } from '../http/answer.ts'
import { FILE } from '../http/bodies.ts'
import { room, route } from '../http/route.ts'
import { User } from '../users/users.ts'
import {
  cancelErasure,
  cancelErasureByToken,
  cancelErasureOf,
  Erasure,
  ErasureCancellation,
  ErasureOrder,
  ErasureRequest,
  getErasure,
  requestErasure,
  requestErasureOf,
} from './erasing.ts'
import { exportMe, MyExportQuery, PersonalData } from './export.ts'
import { MyPatch, patchMe } from './profile.ts'

const Id = z.object({ id: z.uuid() })
const OWN = { permission: null, by: 'session' } as const

/** What people do with their own data, under /auth of a tenant. */
export const personalRoutes = room()

personalRoutes.openapi(
  route({
    ...OWN,
    operationId: 'updateMe',
    method: 'patch',
    path: '/me',
    summary: 'Update the profile of the current user (JSON merge patch); `If-Match` prevents lost updates',
    trips: 1,
    body: MyPatch,
    returns: { 200: User },
    problems: ['etag_mismatch'],
  }),
  async (c) => answer(c, await patchMe(c.var.ctx, c.req.valid('json'), c.req.header('If-Match'))),
)

personalRoutes.openapi(
  route({
    ...OWN,
    operationId: 'exportMe',
    method: 'get',
    path: '/me/export',
    summary: 'Export everything about the current user, as JSON or as CSV files in a zip',
    trips: 1,
    query: MyExportQuery,
    files: { 'application/json': PersonalData, 'application/zip': FILE },
    returns: { 200: null },
    problems: ['invalid_request'],
  }),
  async (c) => {
    const { body, headers } = await exportMe(c.var.ctx, c.req.valid('query').format)
    return c.body(body, 200, headers)
  },
)

personalRoutes.openapi(
  route({
    ...OWN,
    operationId: 'requestErasure',
    method: 'post',
    path: '/me/erase',
    summary: 'Request that the current user is erased in seven days; a mail cancels it',
    fresh: FRESH,
    trips: 1,
    body: ErasureRequest,
    returns: { 202: Erasure },
    problems: ['illegal_state'],
  }),
  async (c) => c.json(await requestErasure(c.var.ctx, c.req.valid('json')), 202),
)

personalRoutes.openapi(
  route({
    ...OWN,
    operationId: 'getErasure',
    method: 'get',
    path: '/me/erase',
    summary: 'Get the open request to erase the current user',
    trips: 1,
    returns: { 200: Erasure },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getErasure(c.var.ctx), 200),
)

personalRoutes.openapi(
  route({
    ...OWN,
    operationId: 'cancelErasure',
    method: 'delete',
    path: '/me/erase',
    summary: 'Cancel the request to erase the current user',
    trips: 1,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await cancelErasure(c.var.ctx)
    return c.body(null, 204)
  },
)

personalRoutes.openapi(
  route({
    operationId: 'cancelErasureByToken',
    method: 'post',
    path: '/me/erase/cancel',
    summary: 'Cancel the request to erase a user with the token of the mail',
    public: true,
    trips: 1,
    attempts: 'verify',
    body: ErasureCancellation,
    returns: { 204: null },
  }),
  async (c) => {
    await cancelErasureByToken(c.var.ctx, c.req.valid('json'))
    return c.body(null, 204)
  },
)

/** Erasing others, under /users of a tenant. */
export const userErasureRoutes = room()

userErasureRoutes.openapi(
  route({
    operationId: 'requestUserErasure',
    method: 'post',
    path: '/{id}/erase',
    summary: 'Request that a user is erased, in seven days or at once',
    permission: 'user:delete',
    by: 'session',
    fresh: FRESH,
    trips: 1,
    params: Id,
    body: ErasureOrder,
    returns: { 202: Erasure },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => c.json(await requestErasureOf(c.var.ctx, c.req.valid('param').id, c.req.valid('json')), 202),
)

userErasureRoutes.openapi(
  route({
    operationId: 'cancelUserErasure',
    method: 'delete',
    path: '/{id}/erase',
    summary: 'Cancel the request to erase a user, whoever made it',
    permission: 'user:delete',
    by: 'session',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await cancelErasureOf(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)
