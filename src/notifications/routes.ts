import { z } from '@hono/zod-openapi'
import { languageOf } from '../http/accept-language.ts'
import { followBell } from '../http/bell-stream.ts'
import { room, route } from '../http/route.ts'
import {
  countUnread,
  getPreferences,
  listNotifications,
  NewNotificationPreferences,
  Notification,
  NotificationList,
  NotificationPreferences,
  NotificationQuery,
  newNotifications,
  ReadCount,
  readAll,
  readNotification,
  setPreferences,
  shown,
  UnreadCount,
} from './notifications.ts'

const Id = z.object({ id: z.uuid() })
/** One's own, by oneself: an API key is told nothing, nor is whoever acts as somebody else. */
const OWN = { permission: null, by: 'session', trips: 1 } as const

/** Notifications of the current user, under /notifications of both planes. */
export const notificationRoutes = room()

notificationRoutes.openapi(
  route({
    operationId: 'listNotifications',
    method: 'get',
    path: '/',
    summary: 'List your notifications, newest first',
    ...OWN,
    query: NotificationQuery,
    returns: { 200: NotificationList },
    problems: ['invalid_cursor'],
  }),
  async (c) => c.json(await listNotifications(c.var.ctx, languageOf(c.req.header('Accept-Language')), c.req.valid('query')), 200),
)

notificationRoutes.openapi(
  route({
    operationId: 'countUnreadNotifications',
    method: 'get',
    path: '/unread-count',
    summary: 'Count the notifications that you have not read',
    ...OWN,
    returns: { 200: UnreadCount },
  }),
  async (c) => c.json(await countUnread(c.var.ctx), 200),
)

notificationRoutes.openapi(
  route({
    operationId: 'streamNotifications',
    method: 'get',
    path: '/stream',
    summary: 'Follow your notifications as server-sent events',
    ...OWN,
    events: Notification,
    returns: { 200: null },
  }),
  (c) => {
    const language = languageOf(c.req.header('Accept-Language'))
    return followBell(c, {
      look: (since) => newNotifications(c.var.ctx, since),
      shown: (one) => shown(one, language),
    })
  },
)

notificationRoutes.openapi(
  route({
    operationId: 'getNotificationPreferences',
    method: 'get',
    path: '/preferences',
    summary: 'Get what you are notified of, and how',
    ...OWN,
    returns: { 200: NotificationPreferences },
  }),
  async (c) => c.json(await getPreferences(c.var.ctx), 200),
)

notificationRoutes.openapi(
  route({
    operationId: 'setNotificationPreferences',
    method: 'put',
    path: '/preferences',
    summary: 'Choose what you are notified of, and how',
    ...OWN,
    body: NewNotificationPreferences,
    returns: { 200: NotificationPreferences },
  }),
  async (c) => c.json(await setPreferences(c.var.ctx, c.req.valid('json')), 200),
)

notificationRoutes.openapi(
  route({
    operationId: 'readAllNotifications',
    method: 'post',
    path: '/read-all',
    summary: 'Mark all your notifications as read',
    ...OWN,
    returns: { 200: ReadCount },
  }),
  async (c) => c.json(await readAll(c.var.ctx), 200),
)

notificationRoutes.openapi(
  route({
    operationId: 'readNotification',
    method: 'post',
    path: '/{id}/read',
    summary: 'Mark a notification as read',
    ...OWN,
    params: Id,
    returns: { 200: Notification },
    problems: ['not_found'],
  }),
  async (c) =>
    c.json(await readNotification(c.var.ctx, languageOf(c.req.header('Accept-Language')), c.req.valid('param').id), 200),
)
