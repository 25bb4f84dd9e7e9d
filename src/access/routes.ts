import { z } from '@hono/zod-openapi'
import { languageOf } from '../http/accept-language.ts'
import { room, route } from '../http/route.ts'
import { Page } from '../kernel/cursor.ts'
import { Answers, At, check, Explained, explain, Holders, holders, Permission, Questions } from './authz.ts'

/** Permission checks, under /api/v1. */
export const accessRoutes = room()

accessRoutes.openapi(
  route({
    operationId: 'checkPermissions',
    method: 'post',
    path: '/authz/check',
    summary: 'Check up to 100 permissions or roles, now or at a past time, with reasons',
    permission: null,
    only_reads: true,
    trips: 1,
    body: Questions,
    returns: { 200: Answers },
    problems: ['invalid_request'],
  }),
  async (c) => c.json(await check(c.var.ctx, c.req.valid('json'), languageOf(c.req.header('Accept-Language'))), 200),
)

accessRoutes.openapi(
  route({
    operationId: 'explainPermissions',
    method: 'get',
    path: '/users/{id}/permissions',
    summary: 'Explain the permissions of a user, now or at a past time',
    permission: 'user:read',
    trips: 1,
    params: z.object({ id: z.uuid() }),
    query: At,
    returns: { 200: Explained },
    problems: ['not_found'],
  }),
  async (c) => c.json(await explain(c.var.ctx, c.req.valid('param').id, c.req.valid('query').at), 200),
)

accessRoutes.openapi(
  route({
    operationId: 'listPermissionHolders',
    method: 'get',
    path: '/permissions/{name}/holders',
    summary: 'List users who hold a permission, now or at a past time',
    permission: 'permission:read',
    trips: 1,
    params: z.object({ name: Permission }),
    query: Page.extend(At.shape),
    returns: { 200: Holders },
    problems: ['not_found', 'invalid_cursor'],
  }),
  async (c) => c.json(await holders(c.var.ctx, c.req.valid('param').name, c.req.valid('query')), 200),
)
