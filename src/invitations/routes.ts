import { z } from '@hono/zod-openapi'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { Problem } from '../kernel/problem.ts'
import { CreationOptions } from '../passkeys/wire.ts'
import {
  Acceptance,
  AcceptedInvitation,
  acceptInvitation,
  joinByInvitation,
  Preview,
  PreviewRequest,
  passkeyOptions,
  previewInvitation,
} from './accepting.ts'
import {
  getInvitation,
  Invitation,
  InvitationList,
  InvitationQuery,
  invite,
  listInvitations,
  NewInvitation,
  resendInvitation,
  revokeInvitation,
} from './invitations.ts'

const Id = z.object({ id: z.uuid() })

/** Invitations, under /api/v1/invitations. */
export const invitationRoutes = room()

invitationRoutes.openapi(
  route({
    operationId: 'createInvitation',
    method: 'post',
    path: '/',
    summary: 'Invite somebody by mail; the invitation works once, for seven days',
    permission: 'invitation:create',
    trips: 1,
    body: NewInvitation,
    returns: { 201: Invitation },
    problems: ['already_exists', 'limit_reached'],
  }),
  async (c) => created(c, await invite(c.var.ctx, c.req.valid('json'))),
)

invitationRoutes.openapi(
  route({
    operationId: 'listInvitations',
    method: 'get',
    path: '/',
    summary: 'List invitations the caller can access, newest first',
    permission: 'invitation:read',
    trips: 1,
    query: InvitationQuery,
    returns: { 200: InvitationList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listInvitations(c.var.ctx, c.req.valid('query')), 200),
)

invitationRoutes.openapi(
  route({
    operationId: 'acceptInvitation',
    method: 'post',
    path: '/accept',
    summary:
      'Accept an invitation with the token from the mail: as a new person with a password or a passkey, or as who is logged in',
    public: 'or_session',
    trips: 2,
    attempts: 'verify',
    body: Acceptance,
    returns: { 200: AcceptedInvitation, 201: AcceptedInvitation },
    problems: ['already_exists', 'limit_reached', 'denied_by_hook', 'illegal_state', 'forbidden'],
  }),
  async (c) => {
    const wanted = c.req.valid('json')
    const { ctx } = c.var
    if (ctx.bearer) return c.json(await joinByInvitation(ctx, wanted.token), 200)
    const accepted = await acceptInvitation(ctx, wanted)
    return created(c, accepted, `/api/v1/users/${accepted.id}`)
  },
)

invitationRoutes.openapi(
  route({
    operationId: 'getInvitationPasskeyOptions',
    method: 'post',
    path: '/accept/options',
    summary: 'Get what a browser needs to make the passkey with which an invitation is accepted',
    public: true,
    only_reads: true,
    trips: 1,
    attempts: 'verify',
    body: PreviewRequest,
    returns: { 200: CreationOptions },
    problems: ['already_exists'],
  }),
  async (c) => c.json(await passkeyOptions(c.var.ctx, c.req.valid('json')), 200),
)

invitationRoutes.openapi(
  route({
    operationId: 'previewInvitation',
    method: 'post',
    path: '/preview',
    summary: 'Get what the token of an invitation is for',
    public: true,
    trips: 1,
    attempts: 'verify',
    body: PreviewRequest,
    returns: { 200: Preview },
  }),
  async (c) => c.json(await previewInvitation(c.var.ctx, c.req.valid('json')), 200),
)

// Neither is an id.
for (const path of ['/accept', '/preview'])
  invitationRoutes.on(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], path, () => {
    throw new Problem('method_not_allowed', undefined, { headers: { Allow: 'POST' } })
  })

invitationRoutes.openapi(
  route({
    operationId: 'getInvitation',
    method: 'get',
    path: '/{id}',
    summary: 'Get an invitation',
    permission: 'invitation:read',
    trips: 1,
    params: Id,
    returns: { 200: Invitation },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getInvitation(c.var.ctx, c.req.valid('param').id)),
)

invitationRoutes.openapi(
  route({
    operationId: 'resendInvitation',
    method: 'post',
    path: '/{id}/resend',
    summary: 'Send an invitation again, with another token; the one before is dead',
    permission: 'invitation:create',
    trips: 1,
    params: Id,
    returns: { 200: Invitation },
    problems: ['not_found', 'illegal_state', 'limit_reached'],
  }),
  async (c) => answer(c, await resendInvitation(c.var.ctx, c.req.valid('param').id)),
)

invitationRoutes.openapi(
  route({
    operationId: 'revokeInvitation',
    method: 'post',
    path: '/{id}/revoke',
    summary: 'Revoke an invitation: its token is dead',
    permission: 'invitation:delete',
    trips: 1,
    params: Id,
    returns: { 200: Invitation },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => answer(c, await revokeInvitation(c.var.ctx, c.req.valid('param').id)),
)
