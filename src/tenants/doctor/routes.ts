import type { Context } from 'hono'
import type { AppEnv } from '../../http/app-env.ts'
import { room, route } from '../../http/route.ts'
import { DoctorQuery, examine, Findings, Fixed, fix, NewFix, NewRemoval, removeStranger } from './doctor.ts'

/** What master, KV and Neon have otherwise than each other, for operators. */
export const doctorRoutes = room()

const sourcesOf = (c: Context<AppEnv>) => ({ env: c.env, config: c.var.config, trace_id: c.var.trace_id })

doctorRoutes.openapi(
  route({
    operationId: 'examine',
    method: 'get',
    path: '/',
    summary: 'Compare master, KV and Neon, in pages: what is on one side only, stale, stuck or behind',
    permission: 'tenant:read',
    trips: 1,
    query: DoctorQuery,
    returns: { 200: Findings },
    problems: ['invalid_cursor'],
  }),
  async (c) => c.json(await examine(c.var.ctx, sourcesOf(c), c.req.valid('query')), 200),
)

doctorRoutes.openapi(
  route({
    operationId: 'fixFinding',
    method: 'post',
    path: '/fix',
    summary: 'Fix a finding without losing anything, if it is still so',
    permission: 'tenant:update',
    trips: 2,
    body: NewFix,
    returns: { 200: Fixed },
    problems: ['illegal_state'],
  }),
  async (c) => c.json(await fix(c.var.ctx, sourcesOf(c), c.req.valid('json')), 200),
)

doctorRoutes.openapi(
  route({
    operationId: 'removeFinding',
    method: 'post',
    path: '/remove',
    summary: 'Delete at Neon what no tenant has, if it is still so; `confirm` repeats its name',
    permission: 'tenant:delete',
    trips: 2,
    body: NewRemoval,
    returns: { 200: Fixed },
    problems: ['illegal_state'],
  }),
  async (c) => c.json(await removeStranger(c.var.ctx, sourcesOf(c), c.req.valid('json')), 200),
)
