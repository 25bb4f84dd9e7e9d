import { z } from '@hono/zod-openapi'
import { room, route } from '../http/route.ts'
import { Page } from '../kernel/cursor.ts'
import { Problem } from '../kernel/problem.ts'
import {
  endSession,
  endSessionsOf,
  historyOf,
  LoginHistory,
  ownHistory,
  ownSessions,
  SessionList,
  sessionsOf,
} from './sessions.ts'

const Id = z.object({ id: z.uuid() })

/** Sessions, under /sessions of either plane. */
export const sessionRoutes = room()

sessionRoutes.openapi(
  route({
    operationId: 'listSessions',
    method: 'get',
    path: '/',
    summary: 'List the sessions of the current user',
    permission: null,
    by: 'any-session',
    trips: 1,
    query: Page,
    returns: { 200: SessionList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await ownSessions(c.var.ctx, { ...c.req.valid('query'), is_behind: c.var.is_behind }), 200),
)

sessionRoutes.openapi(
  route({
    operationId: 'listLogins',
    method: 'get',
    path: '/history',
    summary: 'List the logins of the current user, including failed ones',
    permission: null,
    by: 'any-session',
    trips: 1,
    query: Page,
    returns: { 200: LoginHistory },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await ownHistory(c.var.ctx, c.req.valid('query')), 200),
)

// `history` is not an id.
sessionRoutes.on(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], '/history', () => {
  throw new Problem('method_not_allowed', undefined, { headers: { Allow: 'GET, HEAD' } })
})

sessionRoutes.openapi(
  route({
    operationId: 'endSession',
    method: 'delete',
    path: '/{id}',
    summary: 'End a session',
    permission: 'session:delete',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await endSession(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)

/** Sessions of other users, under the users of either plane. */
export const userSessionRoutes = room()

userSessionRoutes.openapi(
  route({
    operationId: 'listUserSessions',
    method: 'get',
    path: '/{id}/sessions',
    summary: 'List the sessions of a user',
    permission: 'session:read',
    trips: 1,
    params: Id,
    query: Page,
    returns: { 200: SessionList },
    problems: ['not_found', 'invalid_request', 'invalid_cursor'],
  }),
  async (c) =>
    c.json(await sessionsOf(c.var.ctx, c.req.valid('param').id, { ...c.req.valid('query'), is_behind: c.var.is_behind }), 200),
)

userSessionRoutes.openapi(
  route({
    operationId: 'listUserLogins',
    method: 'get',
    path: '/{id}/sessions/history',
    summary: 'List the logins of a user, including failed ones',
    permission: 'session:read',
    trips: 1,
    params: Id,
    query: Page,
    returns: { 200: LoginHistory },
    problems: ['not_found', 'invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await historyOf(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)

userSessionRoutes.openapi(
  route({
    operationId: 'endUserSessions',
    method: 'delete',
    path: '/{id}/sessions',
    summary: 'End all sessions of a user',
    permission: 'session:delete',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await endSessionsOf(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)
