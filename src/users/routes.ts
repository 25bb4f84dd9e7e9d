import { z } from '@hono/zod-openapi'
import { languageOf } from '../http/accept-language.ts'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { ImportQuery } from '../imports/report.ts'
import { Problem } from '../kernel/problem.ts'
import { createUser, MadeUser, NewUser, patchUser, replaceUser, setActive, UserPatch, UserReplacement } from './changes.ts'
import { ImportReport, importUsers } from './import.ts'
import { ImportedUser } from './import-lines.ts'
import { ReportList, ReportQuery, reports } from './reports.ts'
import { CurrentUser, CurrentUserQuery, getMe, getUser, listUsers, User, UserList, UserQuery } from './users.ts'

const Id = z.object({ id: z.uuid() })

/** The users of a realm: a tenant's under /api/v1/users, operators under /platform/v1/operators. */
export const userRoutes = room()

userRoutes.openapi(
  route({
    operationId: 'listUsers',
    method: 'get',
    path: '/',
    summary: 'List users the caller can access; `search` is a prefix match on the sort field',
    permission: 'user:read',
    trips: 1,
    query: UserQuery,
    returns: { 200: UserList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listUsers(c.var.ctx, c.req.valid('query')), 200),
)

userRoutes.openapi(
  route({
    operationId: 'createUser',
    method: 'post',
    path: '/',
    summary: 'Create a user',
    permission: 'user:create',
    trips: 2,
    body: NewUser,
    returns: { 201: MadeUser },
    problems: ['already_exists', 'limit_reached', 'denied_by_hook'],
  }),
  async (c) => created(c, await createUser(c.var.ctx, c.req.valid('json'))),
)

userRoutes.openapi(
  route({
    operationId: 'getCurrentUser',
    method: 'get',
    path: '/me',
    summary: 'Get the current user; `include` adds the organization and open invitations',
    permission: null,
    trips: 1,
    query: CurrentUserQuery,
    returns: { 200: CurrentUser },
    problems: ['invalid_request'],
  }),
  async (c) => answer(c, await getMe(c.var.ctx, c.req.valid('query'))),
)

// `me` is not an id: the current user is read here, and changed under their id.
userRoutes.on(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], '/me', () => {
  throw new Problem('method_not_allowed', undefined, { headers: { Allow: 'GET, HEAD' } })
})

userRoutes.openapi(
  route({
    operationId: 'importUsers',
    method: 'post',
    path: '/import',
    summary:
      'Import users, one JSON object per line; read the report while you send. 2 round trips for up to 200 lines, and 1 more for each further 200',
    permission: 'user:create',
    trips: 2,
    lines: { takes: ImportedUser, gives: ImportReport },
    query: ImportQuery,
    returns: { 200: null },
  }),
  async (c) => {
    const body = c.req.raw.body ?? new ReadableStream({ start: (controller) => controller.close() })
    const language = languageOf(c.req.header('Accept-Language'))
    const report = await importUsers(c.var.ctx, body, c.req.valid('query').dry_run === 'true', language)
    const headers = { 'Content-Type': 'application/x-ndjson', 'Content-Language': language.tag, Vary: 'Accept-Language' }
    return c.body(report, 200, headers)
  },
)

// `import` is not an id either.
userRoutes.on(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], '/import', () => {
  throw new Problem('method_not_allowed', undefined, { headers: { Allow: 'POST' } })
})

userRoutes.openapi(
  route({
    operationId: 'getUser',
    method: 'get',
    path: '/{id}',
    summary: 'Get a user',
    permission: 'user:read',
    trips: 1,
    params: Id,
    returns: { 200: User },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getUser(c.var.ctx, c.req.valid('param').id)),
)

userRoutes.openapi(
  route({
    operationId: 'replaceUser',
    method: 'put',
    path: '/{id}',
    summary: 'Replace a user',
    permission: 'user:update',
    trips: 1,
    params: Id,
    body: UserReplacement,
    returns: { 200: User },
    problems: ['not_found', 'already_exists', 'etag_mismatch', 'limit_reached'],
  }),
  async (c) => answer(c, await replaceUser(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

userRoutes.openapi(
  route({
    operationId: 'updateUser',
    method: 'patch',
    path: '/{id}',
    summary: 'Update a user (JSON merge patch); `If-Match` prevents lost updates',
    permission: 'user:update',
    trips: 1,
    params: Id,
    body: UserPatch,
    returns: { 200: User },
    problems: ['not_found', 'already_exists', 'etag_mismatch', 'limit_reached'],
  }),
  async (c) => answer(c, await patchUser(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

userRoutes.openapi(
  route({
    operationId: 'deleteUser',
    method: 'delete',
    path: '/{id}',
    summary: 'Deactivate a user and end their sessions; the user and their history stay',
    permission: 'user:delete',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    await setActive(c.var.ctx, c.req.valid('param').id, false)
    return c.body(null, 204)
  },
)

for (const [operationId, verb, is_active, summary] of [
  ['deactivateUser', 'deactivate', false, 'Deactivate a user and end their sessions'],
  ['reactivateUser', 'reactivate', true, 'Reactivate a user'],
] as const) {
  userRoutes.openapi(
    route({
      operationId,
      method: 'post',
      path: `/{id}/${verb}`,
      summary,
      permission: 'user:update',
      trips: 1,
      params: Id,
      returns: { 200: User },
      problems: ['not_found', 'illegal_state'],
    }),
    async (c) => answer(c, await setActive(c.var.ctx, c.req.valid('param').id, is_active)),
  )
}

userRoutes.openapi(
  route({
    operationId: 'listUserReports',
    method: 'get',
    path: '/{id}/reports',
    summary: 'List the direct reports of a user, or with `deep=true` the whole tree below them',
    permission: 'user:read',
    trips: 1,
    params: Id,
    query: ReportQuery,
    returns: { 200: ReportList },
    problems: ['not_found', 'invalid_cursor'],
  }),
  async (c) => c.json(await reports(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)
