import { z } from '@hono/zod-openapi'
import { created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import {
  createDelegation,
  Delegation,
  DelegationList,
  DelegationQuery,
  decideDelegation,
  getDelegation,
  listDelegations,
  NewDelegation,
  revokeDelegation,
  Substitute,
  SubstituteQuery,
  substitute,
} from './delegations.ts'

const Id = z.object({ id: z.uuid() })

/** Delegations, under /api/v1/delegations. */
export const delegationRoutes = room()

delegationRoutes.openapi(
  route({
    operationId: 'listDelegations',
    method: 'get',
    path: '/',
    summary: 'List delegations, newest first',
    permission: 'delegation:read',
    trips: 1,
    query: DelegationQuery,
    returns: { 200: DelegationList },
    problems: ['invalid_cursor'],
  }),
  async (c) => c.json(await listDelegations(c.var.ctx, c.req.valid('query')), 200),
)

delegationRoutes.openapi(
  route({
    operationId: 'createDelegation',
    method: 'post',
    path: '/',
    summary: 'Create a delegation',
    permission: 'delegation:create',
    trips: 1,
    body: NewDelegation,
    returns: { 201: Delegation },
    problems: ['already_exists', 'limit_reached'],
  }),
  async (c) => created(c, await createDelegation(c.var.ctx, c.req.valid('json'))),
)

delegationRoutes.openapi(
  route({
    operationId: 'findSubstitute',
    method: 'get',
    path: '/substitute',
    summary: 'Find the user who acts for a user with a permission now',
    permission: 'delegation:read',
    trips: 1,
    query: SubstituteQuery,
    returns: { 200: Substitute },
    problems: ['not_found', 'limit_reached'],
  }),
  async (c) => c.json(await substitute(c.var.ctx, c.req.valid('query')), 200),
)

delegationRoutes.openapi(
  route({
    operationId: 'getDelegation',
    method: 'get',
    path: '/{id}',
    summary: 'Get a delegation',
    permission: 'delegation:read',
    trips: 1,
    params: Id,
    returns: { 200: Delegation },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getDelegation(c.var.ctx, c.req.valid('param').id), 200),
)

for (const [operationId, verb, decision, summary] of [
  ['approveDelegation', 'approve', 'approved', 'Approve a pending delegation'],
  ['rejectDelegation', 'reject', 'rejected', 'Reject a pending delegation'],
] as const) {
  delegationRoutes.openapi(
    route({
      operationId,
      method: 'post',
      path: `/{id}/${verb}`,
      summary,
      permission: 'delegation:approve',
      trips: 1,
      params: Id,
      returns: { 200: Delegation },
      problems: ['not_found', 'illegal_state'],
    }),
    async (c) => c.json(await decideDelegation(c.var.ctx, c.req.valid('param').id, decision), 200),
  )
}

delegationRoutes.openapi(
  route({
    operationId: 'revokeDelegation',
    method: 'post',
    path: '/{id}/revoke',
    summary: 'Revoke a delegation',
    permission: 'delegation:update',
    trips: 1,
    params: Id,
    returns: { 200: Delegation },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => c.json(await revokeDelegation(c.var.ctx, c.req.valid('param').id), 200),
)
