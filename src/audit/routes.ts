import { z } from '@hono/zod-openapi'
import { created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { Page } from '../kernel/cursor.ts'
import {
  Activity,
  ActivityList,
  ActivityQuery,
  ExportQuery,
  getActivity,
  listActivities,
  listActivitiesOf,
  UserActivityQuery,
} from './audit.ts'
import { CheckpointList, listCheckpoints } from './checkpoints.ts'
import { exportActivities } from './export.ts'
import { createActivity, NewActivity } from './own.ts'

const Id = z.object({ id: z.uuid() })

export const activityRoutes = room()

activityRoutes.openapi(
  route({
    operationId: 'listActivities',
    method: 'get',
    path: '/',
    summary: 'List activities, newest first',
    permission: 'activity:read',
    trips: 1,
    query: ActivityQuery,
    returns: { 200: ActivityList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listActivities(c.var.ctx, c.req.valid('query')), 200),
)

activityRoutes.openapi(
  route({
    operationId: 'createActivity',
    method: 'post',
    path: '/',
    summary: 'Record an activity of a service',
    permission: 'activity:create',
    trips: 1,
    body: NewActivity,
    returns: { 201: Activity },
  }),
  async (c) => created(c, await createActivity(c.var.ctx, c.req.valid('json'))),
)

activityRoutes.openapi(
  route({
    operationId: 'exportActivities',
    method: 'get',
    path: '/export',
    summary:
      'Export activities with their hashes as CSV or NDJSON, streamed: 1 round trip, and 1 more for each page of 1,000 activities or 2 MiB while it is read',
    permission: 'activity:export',
    trips: 1,
    query: ExportQuery,
    files: { 'text/csv': z.string(), 'application/x-ndjson': z.string() },
    returns: { 200: null },
    problems: ['invalid_request'],
  }),
  async (c) => {
    const { body, headers } = await exportActivities(c.var.ctx, c.req.valid('query'))
    return c.body(body, 200, headers)
  },
)

activityRoutes.openapi(
  route({
    operationId: 'getActivity',
    method: 'get',
    path: '/{id}',
    summary: 'Get an activity',
    permission: 'activity:read',
    trips: 1,
    params: Id,
    returns: { 200: Activity },
    problems: ['invalid_request', 'not_found'],
  }),
  async (c) => c.json(await getActivity(c.var.ctx, c.req.valid('param').id), 200),
)

/** The checkpoints of the audit. Before `activityRoutes`, where both are under one path. */
export const checkpointRoutes = room()

checkpointRoutes.openapi(
  route({
    operationId: 'listCheckpoints',
    method: 'get',
    path: '/checkpoints',
    summary: 'List the checkpoints of the audit, newest first',
    permission: 'activity:read',
    trips: 1,
    query: Page,
    returns: { 200: CheckpointList },
    problems: ['invalid_request', 'invalid_cursor'],
  }),
  async (c) => c.json(await listCheckpoints(c.var.ctx, c.req.valid('query')), 200),
)

/** The activities of one user, under /users. */
export const userActivityRoutes = room()

userActivityRoutes.openapi(
  route({
    operationId: 'listUserActivities',
    method: 'get',
    path: '/{id}/activities',
    summary: 'List the activities of a user, newest first',
    permission: 'activity:read',
    trips: 1,
    params: Id,
    query: UserActivityQuery,
    returns: { 200: ActivityList },
    problems: ['invalid_request', 'invalid_cursor', 'not_found'],
  }),
  async (c) => c.json(await listActivitiesOf(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)
