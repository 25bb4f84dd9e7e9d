import { z } from '@hono/zod-openapi'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import {
  CreatedHook,
  changeHook,
  createHook,
  getHook,
  Hook,
  HookList,
  HookPatch,
  HookTest,
  listHooks,
  NewHook,
  RotatedHookSecret,
  removeHook,
  rotateHookSecret,
  testHook,
} from './hooks.ts'

const Id = z.object({ id: z.uuid() })

/** What a tenant's own service is asked before something is done, under /api/v1/hooks. */
export const hookRoutes = room()

hookRoutes.openapi(
  route({
    operationId: 'listHooks',
    method: 'get',
    path: '/',
    summary: 'List the hooks',
    permission: 'setting:read',
    trips: 1,
    returns: { 200: HookList },
  }),
  async (c) => c.json(await listHooks(c.var.ctx), 200),
)

hookRoutes.openapi(
  route({
    operationId: 'createHook',
    method: 'post',
    path: '/',
    summary: 'Add a hook, which is asked before something is done; its secret is shown once',
    permission: 'setting:update',
    trips: 1,
    body: NewHook,
    returns: { 201: CreatedHook },
    problems: ['already_exists', 'limit_reached'],
  }),
  async (c) => created(c, await createHook(c.var.ctx, c.req.valid('json'))),
)

hookRoutes.openapi(
  route({
    operationId: 'getHook',
    method: 'get',
    path: '/{id}',
    summary: 'Get a hook',
    permission: 'setting:read',
    trips: 1,
    params: Id,
    returns: { 200: Hook },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getHook(c.var.ctx, c.req.valid('param').id)),
)

hookRoutes.openapi(
  route({
    operationId: 'updateHook',
    method: 'patch',
    path: '/{id}',
    summary: 'Update a hook (JSON merge patch); `If-Match` prevents lost updates',
    permission: 'setting:update',
    trips: 1,
    params: Id,
    body: HookPatch,
    returns: { 200: Hook },
    problems: ['not_found', 'etag_mismatch', 'already_exists'],
  }),
  async (c) => answer(c, await changeHook(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

hookRoutes.openapi(
  route({
    operationId: 'deleteHook',
    method: 'delete',
    path: '/{id}',
    summary: 'Delete a hook: it is asked no more',
    permission: 'setting:update',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await removeHook(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)

hookRoutes.openapi(
  route({
    operationId: 'rotateHookSecret',
    method: 'post',
    path: '/{id}/rotate',
    summary: 'Give a hook another secret; for 24 hours both sign',
    permission: 'setting:update',
    trips: 1,
    params: Id,
    returns: { 200: RotatedHookSecret },
    problems: ['not_found'],
  }),
  async (c) => c.json(await rotateHookSecret(c.var.ctx, c.req.valid('param').id), 200),
)

hookRoutes.openapi(
  route({
    operationId: 'testHook',
    method: 'post',
    path: '/{id}/test',
    summary: 'Ask a hook now, about somebody made up',
    permission: 'setting:update',
    trips: 1,
    params: Id,
    returns: { 200: HookTest },
    problems: ['not_found'],
  }),
  async (c) => c.json(await testHook(c.var.ctx, c.req.valid('param').id), 200),
)
