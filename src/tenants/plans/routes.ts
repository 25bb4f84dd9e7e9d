import { answer, created } from '../../http/answer.ts'
import { room, route } from '../../http/route.ts'
import { Page } from '../../kernel/cursor.ts'
import { reconcile } from '../lifecycle/reconcile.ts'
import { changePlan, createPlan, deletePlan, getPlan, listPlans, NewPlan, Plan, PlanKey, PlanList, PlanPatch } from './plans.ts'

/** What tenants can have, for operators. */
export const planRoutes = room()

planRoutes.openapi(
  route({
    operationId: 'listPlans',
    method: 'get',
    path: '/',
    summary: 'List plans, by key',
    permission: 'tenant:read',
    trips: 1,
    query: Page,
    returns: { 200: PlanList },
    problems: ['invalid_cursor'],
  }),
  async (c) => c.json(await listPlans(c.var.ctx, c.req.valid('query')), 200),
)

planRoutes.openapi(
  route({
    operationId: 'createPlan',
    method: 'post',
    path: '/',
    summary: 'Create a plan: the limits of its tenants, and the isolation of new ones',
    permission: 'tenant:create',
    trips: 1,
    body: NewPlan,
    returns: { 201: Plan },
    problems: ['already_exists'],
  }),
  async (c) => {
    const plan = await createPlan(c.var.ctx, c.req.valid('json'))
    return created(c, plan, `/platform/v1/plans/${plan.key}`)
  },
)

planRoutes.openapi(
  route({
    operationId: 'getPlan',
    method: 'get',
    path: '/{key}',
    summary: 'Get a plan',
    permission: 'tenant:read',
    trips: 1,
    params: PlanKey,
    returns: { 200: Plan },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getPlan(c.var.ctx, c.req.valid('param').key)),
)

planRoutes.openapi(
  route({
    operationId: 'updatePlan',
    method: 'patch',
    path: '/{key}',
    summary: 'Update a plan; its limits reach its tenants within minutes. `If-Match` makes the update conditional',
    permission: 'tenant:update',
    trips: 1,
    params: PlanKey,
    body: PlanPatch,
    returns: { 200: Plan },
    problems: ['not_found', 'etag_mismatch'],
  }),
  async (c) => {
    const plan = await changePlan(c.var.ctx, c.req.valid('param').key, c.req.valid('json'), c.req.header('If-Match'))
    // The first of them at once; what is left the scheduled job does.
    if (plan.tenants_pending) c.executionCtx.waitUntil(reconcile(c.env, c.var.config, c.var.trace_id))
    return answer(c, plan)
  },
)

planRoutes.openapi(
  route({
    operationId: 'deletePlan',
    method: 'delete',
    path: '/{key}',
    summary: 'Delete a plan that no tenant has',
    permission: 'tenant:delete',
    trips: 1,
    params: PlanKey,
    returns: { 204: null },
    problems: ['not_found', 'in_use'],
  }),
  async (c) => {
    await deletePlan(c.var.ctx, c.req.valid('param').key)
    return c.body(null, 204)
  },
)
