import { z } from '@hono/zod-openapi'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { Page } from '../kernel/cursor.ts'
import { listMembers, Member, MemberList, putMember, removeMember } from './members.ts'
import {
  changeOrganization,
  createOrganization,
  getOrganization,
  listOrganizations,
  NewOrganization,
  Organization,
  OrganizationDetails,
  OrganizationList,
  OrganizationPatch,
  OrganizationQuery,
} from './organizations.ts'

import { countWipe, WipeCounts, WipeQuery, wipeOrganization } from './wiping.ts'

const Id = z.object({ id: z.uuid() })
const MemberId = Id.extend({ user_id: z.uuid() })

/** Organizations within a tenant, under /api/v1/organizations. */
export const organizationRoutes = room()

organizationRoutes.openapi(
  route({
    operationId: 'listOrganizations',
    method: 'get',
    path: '/',
    summary: 'List organizations the caller can access; `search` is a prefix match on the name',
    permission: 'organization:read',
    trips: 1,
    query: OrganizationQuery,
    returns: { 200: OrganizationList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listOrganizations(c.var.ctx, c.req.valid('query')), 200),
)

organizationRoutes.openapi(
  route({
    operationId: 'createOrganization',
    method: 'post',
    path: '/',
    summary: 'Create an organization',
    permission: 'organization:create',
    trips: 1,
    body: NewOrganization,
    returns: { 201: Organization },
    problems: ['already_exists', 'limit_reached', 'in_use'],
  }),
  async (c) => created(c, await createOrganization(c.var.ctx, c.req.valid('json'))),
)

organizationRoutes.openapi(
  route({
    operationId: 'getOrganization',
    method: 'get',
    path: '/{id}',
    summary: 'Get an organization with its people, units and open invitations',
    permission: 'organization:read',
    trips: 1,
    params: Id,
    returns: { 200: OrganizationDetails },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getOrganization(c.var.ctx, c.req.valid('param').id)),
)

organizationRoutes.openapi(
  route({
    operationId: 'updateOrganization',
    method: 'patch',
    path: '/{id}',
    summary: 'Update an organization (JSON merge patch); `If-Match` prevents lost updates',
    permission: 'organization:update',
    trips: 1,
    params: Id,
    body: OrganizationPatch,
    returns: { 200: Organization },
    problems: ['not_found', 'already_exists', 'etag_mismatch', 'illegal_state'],
  }),
  async (c) =>
    answer(c, await changeOrganization(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

organizationRoutes.openapi(
  route({
    operationId: 'deleteOrganization',
    method: 'delete',
    path: '/{id}',
    summary: 'Wipe out an organization, with its name in `confirm`; `dry_run=true` counts what goes and changes nothing',
    permission: 'organization:delete',
    trips: 1,
    params: Id,
    query: WipeQuery,
    returns: { 200: WipeCounts, 202: Organization },
    problems: ['not_found', 'invalid_request', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const query = c.req.valid('query')
    if (query.dry_run === 'true') return c.json(await countWipe(c.var.ctx, id, query), 200)
    return c.json(await wipeOrganization(c.var.ctx, id, query), 202)
  },
)

organizationRoutes.openapi(
  route({
    operationId: 'listOrganizationMembers',
    method: 'get',
    path: '/{id}/members',
    summary: 'List the members of an organization the caller can access, by username',
    permission: 'user:read',
    trips: 1,
    params: Id,
    query: Page,
    returns: { 200: MemberList },
    problems: ['not_found', 'invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listMembers(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)

organizationRoutes.openapi(
  route({
    operationId: 'putOrganizationMember',
    method: 'put',
    path: '/{id}/members/{user_id}',
    summary: 'Make a user a member; they leave the organization that they belonged to',
    permission: 'user:update',
    trips: 1,
    params: MemberId,
    returns: { 200: Member },
    problems: ['not_found', 'limit_reached', 'illegal_state'],
  }),
  async (c) => {
    const { id, user_id } = c.req.valid('param')
    return c.json(await putMember(c.var.ctx, id, user_id), 200)
  },
)

organizationRoutes.openapi(
  route({
    operationId: 'removeOrganizationMember',
    method: 'delete',
    path: '/{id}/members/{user_id}',
    summary: 'End the membership of a user; they leave the units of the organization, too',
    permission: 'user:update',
    trips: 1,
    params: MemberId,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    const { id, user_id } = c.req.valid('param')
    await removeMember(c.var.ctx, id, user_id)
    return c.body(null, 204)
  },
)
