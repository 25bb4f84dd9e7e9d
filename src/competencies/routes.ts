import { z } from '@hono/zod-openapi'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { Problem } from '../kernel/problem.ts'
import {
  Competency,
  CompetencyList,
  CompetencyPatch,
  CompetencyQuery,
  changeCompetency,
  createCompetency,
  getCompetency,
  listCompetencies,
  NewCompetency,
  Revocation,
  removeCompetency,
  revokeCompetency,
  verifyCompetency,
} from './competencies.ts'
import { CompetencyMatrix, competencyMatrix, exportMatrix, MatrixExportQuery, MatrixQuery } from './matrix.ts'

const Id = z.object({ id: z.uuid() })

/** Competencies, under /api/v1/competencies. */
export const competencyRoutes = room()

competencyRoutes.openapi(
  route({
    operationId: 'getCompetencyMatrix',
    method: 'get',
    path: '/matrix',
    summary: 'Get who has which competency, now or at another moment, and what their roles demand',
    permission: 'competency:read',
    trips: 1,
    query: MatrixQuery,
    returns: { 200: CompetencyMatrix },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await competencyMatrix(c.var.ctx, c.req.valid('query')), 200),
)

competencyRoutes.openapi(
  route({
    operationId: 'exportCompetencyMatrix',
    method: 'get',
    path: '/matrix/export',
    summary:
      'Export the matrix of competencies as CSV, streamed: 1 round trip, and 1 more for each page of 100 people while it is read',
    permission: 'competency:export',
    trips: 1,
    query: MatrixExportQuery,
    files: { 'text/csv': z.string() },
    returns: { 200: null },
    problems: ['invalid_request'],
  }),
  async (c) => {
    const { body, headers } = await exportMatrix(c.var.ctx, c.req.valid('query'))
    return c.body(body, 200, headers)
  },
)

// Neither is an id.
for (const path of ['/matrix', '/matrix/export'])
  competencyRoutes.on(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], path, () => {
    throw new Problem('method_not_allowed', undefined, { headers: { Allow: 'GET, HEAD' } })
  })

competencyRoutes.openapi(
  route({
    operationId: 'listCompetencies',
    method: 'get',
    path: '/',
    summary: 'List competencies of users the caller can access, newest first',
    permission: 'competency:read',
    trips: 1,
    query: CompetencyQuery,
    returns: { 200: CompetencyList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listCompetencies(c.var.ctx, c.req.valid('query')), 200),
)

competencyRoutes.openapi(
  route({
    operationId: 'createCompetency',
    method: 'post',
    path: '/',
    summary: 'Record a competency of a user, which counts once somebody else verified it',
    permission: 'competency:create',
    trips: 1,
    body: NewCompetency,
    returns: { 201: Competency },
  }),
  async (c) => created(c, await createCompetency(c.var.ctx, c.req.valid('json'))),
)

competencyRoutes.openapi(
  route({
    operationId: 'getCompetency',
    method: 'get',
    path: '/{id}',
    summary: 'Get a competency',
    permission: 'competency:read',
    trips: 1,
    params: Id,
    returns: { 200: Competency },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getCompetency(c.var.ctx, c.req.valid('param').id)),
)

competencyRoutes.openapi(
  route({
    operationId: 'updateCompetency',
    method: 'patch',
    path: '/{id}',
    summary: 'Change the given fields of a competency that was not verified',
    permission: 'competency:update',
    trips: 1,
    params: Id,
    body: CompetencyPatch,
    returns: { 200: Competency },
    problems: ['not_found', 'illegal_state', 'etag_mismatch'],
  }),
  async (c) =>
    answer(c, await changeCompetency(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

competencyRoutes.openapi(
  route({
    operationId: 'deleteCompetency',
    method: 'delete',
    path: '/{id}',
    summary: 'Delete a competency that was not verified',
    permission: 'competency:delete',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    await removeCompetency(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)

competencyRoutes.openapi(
  route({
    operationId: 'verifyCompetency',
    method: 'post',
    path: '/{id}/verify',
    summary: 'Verify a competency of somebody else; `If-Match` verifies what was seen and nothing else',
    permission: 'competency:verify',
    trips: 1,
    params: Id,
    returns: { 200: Competency },
    problems: ['not_found', 'illegal_state', 'etag_mismatch'],
  }),
  async (c) => answer(c, await verifyCompetency(c.var.ctx, c.req.valid('param').id, c.req.header('If-Match'))),
)

competencyRoutes.openapi(
  route({
    operationId: 'revokeCompetency',
    method: 'post',
    path: '/{id}/revoke',
    summary: 'Revoke a competency of somebody else: it counts no longer',
    permission: 'competency:verify',
    trips: 1,
    params: Id,
    body: Revocation,
    returns: { 200: Competency },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => answer(c, await revokeCompetency(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
)
