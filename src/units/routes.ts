import { z } from '@hono/zod-openapi'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import {
  changeUnit,
  createUnit,
  getUnit,
  listUnits,
  NewUnit,
  removeUnit,
  replaceUnit,
  Unit,
  UnitList,
  UnitPatch,
  UnitQuery,
} from './units.ts'

const Id = z.object({ id: z.uuid() })

/** Departments and teams, under /api/v1/units. */
export const unitRoutes = room()

unitRoutes.openapi(
  route({
    operationId: 'listUnits',
    method: 'get',
    path: '/',
    summary: 'List units the caller can access, by name; `search` is a prefix match on the name',
    permission: 'unit:read',
    trips: 1,
    query: UnitQuery,
    returns: { 200: UnitList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listUnits(c.var.ctx, c.req.valid('query')), 200),
)

unitRoutes.openapi(
  route({
    operationId: 'createUnit',
    method: 'post',
    path: '/',
    summary: 'Create a unit',
    permission: 'unit:create',
    trips: 1,
    body: NewUnit,
    returns: { 201: Unit },
    problems: ['already_exists'],
  }),
  async (c) => created(c, await createUnit(c.var.ctx, c.req.valid('json'))),
)

unitRoutes.openapi(
  route({
    operationId: 'getUnit',
    method: 'get',
    path: '/{id}',
    summary: 'Get a unit',
    permission: 'unit:read',
    trips: 1,
    params: Id,
    returns: { 200: Unit },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getUnit(c.var.ctx, c.req.valid('param').id)),
)

unitRoutes.openapi(
  route({
    operationId: 'replaceUnit',
    method: 'put',
    path: '/{id}',
    summary: 'Replace a unit',
    permission: 'unit:update',
    trips: 1,
    params: Id,
    body: NewUnit,
    returns: { 200: Unit },
    problems: ['not_found', 'already_exists', 'etag_mismatch'],
  }),
  async (c) => answer(c, await replaceUnit(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

unitRoutes.openapi(
  route({
    operationId: 'updateUnit',
    method: 'patch',
    path: '/{id}',
    summary: 'Update a unit (JSON merge patch); `If-Match` prevents lost updates',
    permission: 'unit:update',
    trips: 1,
    params: Id,
    body: UnitPatch,
    returns: { 200: Unit },
    problems: ['not_found', 'already_exists', 'etag_mismatch'],
  }),
  async (c) => answer(c, await changeUnit(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

unitRoutes.openapi(
  route({
    operationId: 'deleteUnit',
    method: 'delete',
    path: '/{id}',
    summary: 'Delete an empty unit',
    permission: 'unit:delete',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found', 'in_use'],
  }),
  async (c) => {
    await removeUnit(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)
