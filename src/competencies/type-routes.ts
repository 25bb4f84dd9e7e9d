import { z } from '@hono/zod-openapi'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import {
  CompetencyType,
  CompetencyTypeList,
  CompetencyTypePatch,
  CompetencyTypeQuery,
  changeType,
  createType,
  getType,
  listTypes,
  NewCompetencyType,
  retireType,
} from './types.ts'

const Id = z.object({ id: z.uuid() })

/** Types of competencies, under /api/v1/competency-types. */
export const competencyTypeRoutes = room()

competencyTypeRoutes.openapi(
  route({
    operationId: 'listCompetencyTypes',
    method: 'get',
    path: '/',
    summary: 'List types of competencies, by name; `search` is a prefix match on the name',
    permission: 'competency:read',
    trips: 1,
    query: CompetencyTypeQuery,
    returns: { 200: CompetencyTypeList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listTypes(c.var.ctx, c.req.valid('query')), 200),
)

competencyTypeRoutes.openapi(
  route({
    operationId: 'createCompetencyType',
    method: 'post',
    path: '/',
    summary: 'Create a type of competency',
    permission: 'competency:create',
    trips: 1,
    body: NewCompetencyType,
    returns: { 201: CompetencyType },
    problems: ['already_exists'],
  }),
  async (c) => created(c, await createType(c.var.ctx, c.req.valid('json'))),
)

competencyTypeRoutes.openapi(
  route({
    operationId: 'getCompetencyType',
    method: 'get',
    path: '/{id}',
    summary: 'Get a type of competency',
    permission: 'competency:read',
    trips: 1,
    params: Id,
    returns: { 200: CompetencyType },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getType(c.var.ctx, c.req.valid('param').id)),
)

competencyTypeRoutes.openapi(
  route({
    operationId: 'updateCompetencyType',
    method: 'patch',
    path: '/{id}',
    summary: 'Change the given fields of a type of competency',
    permission: 'competency:update',
    trips: 1,
    params: Id,
    body: CompetencyTypePatch,
    returns: { 200: CompetencyType },
    problems: ['not_found', 'already_exists', 'illegal_state', 'etag_mismatch'],
  }),
  async (c) => answer(c, await changeType(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

competencyTypeRoutes.openapi(
  route({
    operationId: 'retireCompetencyType',
    method: 'delete',
    path: '/{id}',
    summary: 'Retire a type of competency; its records stay',
    permission: 'competency:delete',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found', 'in_use', 'illegal_state'],
  }),
  async (c) => {
    await retireType(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)
