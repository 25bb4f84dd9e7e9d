import { z } from '@hono/zod-openapi'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { Page } from '../kernel/cursor.ts'
import {
  CreatedWebhook,
  changeWebhook,
  createWebhook,
  DeliveryList,
  getWebhook,
  listDeliveries,
  listWebhooks,
  NewWebhook,
  Replay,
  RotatedSecret,
  removeWebhook,
  replayWebhook,
  rotateSecret,
  TestDelivery,
  testWebhook,
  Webhook,
  WebhookList,
  WebhookPatch,
} from './webhooks.ts'

const Id = z.object({ id: z.uuid() })

/** Where the events of a tenant are sent, under /api/v1/webhooks. */
export const webhookRoutes = room()

webhookRoutes.openapi(
  route({
    operationId: 'listWebhooks',
    method: 'get',
    path: '/',
    summary: 'List the webhooks, oldest first',
    permission: 'setting:read',
    trips: 1,
    returns: { 200: WebhookList },
  }),
  async (c) => c.json(await listWebhooks(c.var.ctx), 200),
)

webhookRoutes.openapi(
  route({
    operationId: 'createWebhook',
    method: 'post',
    path: '/',
    summary: 'Add a webhook, to which events are sent; its secret is shown once',
    permission: 'setting:update',
    trips: 1,
    body: NewWebhook,
    returns: { 201: CreatedWebhook },
    problems: ['limit_reached'],
  }),
  async (c) => created(c, await createWebhook(c.var.ctx, c.req.valid('json'))),
)

webhookRoutes.openapi(
  route({
    operationId: 'getWebhook',
    method: 'get',
    path: '/{id}',
    summary: 'Get a webhook',
    permission: 'setting:read',
    trips: 1,
    params: Id,
    returns: { 200: Webhook },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getWebhook(c.var.ctx, c.req.valid('param').id)),
)

webhookRoutes.openapi(
  route({
    operationId: 'updateWebhook',
    method: 'patch',
    path: '/{id}',
    summary: 'Update a webhook (JSON merge patch); `If-Match` prevents lost updates',
    permission: 'setting:update',
    trips: 1,
    params: Id,
    body: WebhookPatch,
    returns: { 200: Webhook },
    problems: ['not_found', 'etag_mismatch'],
  }),
  async (c) => answer(c, await changeWebhook(c.var.ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))),
)

webhookRoutes.openapi(
  route({
    operationId: 'deleteWebhook',
    method: 'delete',
    path: '/{id}',
    summary: 'Delete a webhook and the record of its deliveries',
    permission: 'setting:update',
    trips: 1,
    params: Id,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await removeWebhook(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  },
)

webhookRoutes.openapi(
  route({
    operationId: 'rotateWebhookSecret',
    method: 'post',
    path: '/{id}/rotate',
    summary: 'Give a webhook another secret and key; for 24 hours both sign',
    permission: 'setting:update',
    trips: 1,
    params: Id,
    returns: { 200: RotatedSecret },
    problems: ['not_found'],
  }),
  async (c) => c.json(await rotateSecret(c.var.ctx, c.req.valid('param').id), 200),
)

webhookRoutes.openapi(
  route({
    operationId: 'testWebhook',
    method: 'post',
    path: '/{id}/test',
    summary: 'Send a test message to a webhook now',
    permission: 'setting:update',
    trips: 2,
    params: Id,
    returns: { 200: TestDelivery },
    problems: ['not_found'],
  }),
  async (c) => c.json(await testWebhook(c.var.ctx, c.req.valid('param').id), 200),
)

webhookRoutes.openapi(
  route({
    operationId: 'replayWebhook',
    method: 'post',
    path: '/{id}/replay',
    summary: 'Send events to a webhook again, from the one after a number on',
    permission: 'setting:update',
    trips: 1,
    params: Id,
    body: Replay,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await replayWebhook(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))
    return c.body(null, 204)
  },
)

webhookRoutes.openapi(
  route({
    operationId: 'listDeliveries',
    method: 'get',
    path: '/{id}/deliveries',
    summary: 'List the deliveries of a webhook, newest first, and how far it is',
    permission: 'setting:read',
    trips: 1,
    params: Id,
    query: Page,
    returns: { 200: DeliveryList },
    problems: ['not_found', 'invalid_cursor'],
  }),
  async (c) => c.json(await listDeliveries(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)
