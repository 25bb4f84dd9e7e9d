import { z } from '@hono/zod-openapi'
import { follow } from '../../http/events.ts'
import { room, route } from '../../http/route.ts'
import { Page } from '../../kernel/cursor.ts'
import { advance } from './fleet.ts'
import {
  createRun,
  getPlan,
  getReport,
  getRun,
  listRuns,
  MigrationPlan,
  MigrationRun,
  MigrationRunList,
  NewMigrationRun,
  ReportQuery,
  resumeRun,
  TenantMigrationList,
} from './runs.ts'

const Id = z.object({ id: z.uuid() })

/** Runs that take tenants to the newest schema, for operators. */
export const migrationRoutes = room()

migrationRoutes.openapi(
  route({
    operationId: 'getMigrationPlan',
    method: 'get',
    path: '/plan',
    summary: 'Get which tenants are behind the newest schema, by wave',
    permission: 'tenant:read',
    trips: 1,
    returns: { 200: MigrationPlan },
  }),
  async (c) => c.json(await getPlan(c.var.ctx), 200),
)

migrationRoutes.openapi(
  route({
    operationId: 'startMigration',
    location: true,
    method: 'post',
    path: '/',
    summary: 'Migrate all tenants that are behind: a canary, 1 %, 10 %, those that are awake, the rest',
    permission: 'tenant:update',
    trips: 2,
    body: NewMigrationRun,
    returns: { 202: MigrationRun },
    problems: ['illegal_state'],
  }),
  async (c) => {
    const run = await createRun(c.var.ctx, c.req.valid('json'))
    c.executionCtx.waitUntil(advance(c.env, c.var.config))
    c.header('Location', `/platform/v1/migrations/${run.id}`)
    return c.json(run, 202)
  },
)

migrationRoutes.openapi(
  route({
    operationId: 'listMigrations',
    method: 'get',
    path: '/',
    summary: 'List migration runs, newest first',
    permission: 'tenant:read',
    trips: 1,
    query: Page,
    returns: { 200: MigrationRunList },
    problems: ['invalid_cursor'],
  }),
  async (c) => c.json(await listRuns(c.var.ctx, c.req.valid('query')), 200),
)

migrationRoutes.openapi(
  route({
    operationId: 'getMigration',
    method: 'get',
    path: '/{id}',
    summary: 'Get a migration run and how far it is',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    returns: { 200: MigrationRun },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getRun(c.var.ctx, c.req.valid('param').id), 200),
)

migrationRoutes.openapi(
  route({
    operationId: 'followMigration',
    method: 'get',
    path: '/{id}/events',
    summary:
      'Follow a migration run as server-sent events: `run` at once and when it changed, then `end`, or `error` with a problem. 1 round trip, and 1 more each second while it is read, which counts as a request',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    events: MigrationRun,
    returns: { 200: null, 204: null },
    problems: ['not_found'],
  }),
  (c) => {
    const look = () => getRun(c.var.ctx, c.req.valid('param').id)
    return follow(c, { event: 'run', look, isOver: ({ state }) => state !== 'running' })
  },
)

migrationRoutes.openapi(
  route({
    operationId: 'listMigrationTenants',
    method: 'get',
    path: '/{id}/tenants',
    summary: 'Get the report of a migration run on each tenant',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    query: ReportQuery,
    returns: { 200: TenantMigrationList },
    problems: ['not_found', 'invalid_cursor'],
  }),
  async (c) => c.json(await getReport(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)

migrationRoutes.openapi(
  route({
    operationId: 'resumeMigration',
    method: 'post',
    path: '/{id}/resume',
    summary: 'Try again what failed in a migration run that stopped or ended',
    permission: 'tenant:update',
    trips: 2,
    params: Id,
    returns: { 202: MigrationRun },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const run = await resumeRun(c.var.ctx, c.req.valid('param').id)
    c.executionCtx.waitUntil(advance(c.env, c.var.config))
    return c.json(run, 202)
  },
)
