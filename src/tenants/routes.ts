import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { answer } from '../http/answer.ts'
import type { AppEnv } from '../http/app-env.ts'
import { room, route } from '../http/route.ts'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { changeTenant, TenantPatch } from './lifecycle/changing.ts'
import { erase, markForErasure } from './lifecycle/erasure.ts'
import { propagate, retryTenant, setStatus } from './lifecycle/lifecycle.ts'
import { beginRotation, KeyRotationWire, rotateKeys } from './lifecycle/rotating.ts'
import { getDrift, TenantDrift } from './migration/drift.ts'
import { createTenant, MadeTenant, NewTenant } from './provisioning/new-tenant.ts'
import { getProvisioning, Steps } from './provisioning/progress.ts'
import { startRun } from './provisioning/provisioning.ts'
import { getTenant, listTenants, Tenant, TenantList, TenantQuery } from './registry/tenants.ts'

const Id = z.object({ id: z.uuid() })
const Deletion = z.object({ hard: z.enum(['true', 'false']).optional(), confirm: z.string().max(63).optional() })
const MAX_WAIT_SECONDS = 60

/** The platform's tenants, for its operators. */
export const tenantRoutes = room()

tenantRoutes.openapi(
  route({
    method: 'post',
    path: '/',
    summary: 'Create a tenant',
    permission: 'tenant:create',
    trips: 2,
    body: NewTenant,
    returns: { 201: MadeTenant, 202: MadeTenant },
    problems: ['subdomain_taken', 'tax_id_taken', 'no_capacity'],
  }),
  async (c) => {
    const until = Date.now() + secondsToWait(c) * 1000
    const { tenant, run_id } = await createTenant(c.var.ctx, c.req.valid('json'))
    if (run_id) log('tenant reserved', { tenant: tenant.subdomain, trace_id: c.var.trace_id, run: run_id })
    // The tenant is reserved and its password is in no other answer, so nothing may fail from here on: the scheduled job resumes
    // the run.
    const made = await Promise.resolve(run_id && startRun(c.env, run_id))
      .then(() => waitUntilActive(c.var.ctx, tenant.id, until))
      .catch((error) => {
        log('tenant not waited for', { tenant: tenant.subdomain, trace_id: c.var.trace_id, error: String(error) })
        return null
      })
    c.header('Location', `/platform/v1/tenants/${tenant.id}${made ? '' : '/provisioning'}`)
    return made ? c.json({ ...tenant, ...made }, 201) : c.json(tenant, 202)
  },
)

tenantRoutes.openapi(
  route({
    method: 'get',
    path: '/',
    summary: 'List tenants, filtered, searched and sorted',
    permission: 'tenant:read',
    trips: 1,
    query: TenantQuery,
    returns: { 200: TenantList },
    problems: ['invalid_cursor'],
  }),
  async (c) => c.json(await listTenants(c.var.ctx, c.req.valid('query')), 200),
)

tenantRoutes.openapi(
  route({
    method: 'get',
    path: '/{id}',
    summary: 'Get a tenant',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    returns: { 200: Tenant },
    problems: ['not_found'],
  }),
  async (c) => answer(c, await getTenant(c.var.ctx, c.req.valid('param').id)),
)

tenantRoutes.openapi(
  route({
    method: 'patch',
    path: '/{id}',
    summary: 'Update a tenant; fields that are left out stay. `If-Match` makes the update conditional',
    permission: 'tenant:update',
    trips: 1,
    params: Id,
    body: TenantPatch,
    returns: { 200: Tenant },
    problems: ['not_found', 'illegal_state', 'etag_mismatch'],
  }),
  async (c) => {
    const { config, meter, ctx, trace_id } = c.var
    const tenant = await changeTenant(ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))
    await propagate({ env: c.env, config, meter, trace_id }, tenant.id)
    return answer(c, tenant)
  },
)

tenantRoutes.openapi(
  route({
    method: 'get',
    path: '/{id}/provisioning',
    summary: 'Get the provisioning progress of a tenant',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    returns: { 200: Steps },
    problems: ['not_found'],
  }),
  async (c) => c.json(await getProvisioning(c.var.ctx, c.req.valid('param').id), 200),
)

tenantRoutes.openapi(
  route({
    method: 'get',
    path: '/{id}/drift',
    summary: 'Get what of the database of a tenant is not as the migrations make it; nothing is changed',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    returns: { 200: TenantDrift },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => c.json(await getDrift(c.var.ctx, c.req.valid('param').id), 200),
)

tenantRoutes.openapi(
  route({
    method: 'post',
    path: '/{id}/retry',
    summary: 'Retry provisioning of a failed tenant',
    permission: 'tenant:retry',
    trips: 1,
    params: Id,
    returns: { 202: Tenant },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const { run_id, tenant } = await retryTenant(c.var.ctx, id)
    await startRun(c.env, run_id)
    c.header('Location', `/platform/v1/tenants/${id}/provisioning`)
    return c.json(tenant, 202)
  },
)

tenantRoutes.openapi(
  route({
    method: 'delete',
    path: '/{id}',
    summary: 'Delete a tenant, which can be restored; `hard=true` with its subdomain in `confirm` erases it permanently',
    permission: 'tenant:delete',
    trips: 1,
    params: Id,
    query: Deletion,
    returns: { 202: Tenant, 204: null },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const { hard, confirm } = c.req.valid('query')
    const { ctx, config, meter, trace_id } = c.var
    if (hard === 'true') {
      const tenant = await markForErasure(ctx, id, confirm)
      c.executionCtx.waitUntil(erase(c.env, config, id, trace_id))
      return c.json(tenant, 202)
    }
    await setStatus(ctx, id, ['active', 'inactive'], 'deleted')
    await propagate({ env: c.env, config, meter, trace_id }, id)
    return c.body(null, 204)
  },
)

for (const [verb, from, to, summary] of [
  ['activate', 'inactive', 'active', 'Activate a tenant'],
  ['deactivate', 'active', 'inactive', 'Deactivate a tenant, effective immediately'],
  ['restore', 'deleted', 'active', 'Restore a deleted tenant'],
] as const) {
  tenantRoutes.openapi(
    route({
      method: 'post',
      path: `/{id}/${verb}`,
      summary,
      permission: 'tenant:update',
      trips: 1,
      params: Id,
      returns: { 200: Tenant },
      problems: ['not_found', 'illegal_state'],
    }),
    async (c) => {
      const { ctx, config, meter, trace_id } = c.var
      const tenant = await setStatus(ctx, c.req.valid('param').id, [from], to)
      await propagate({ env: c.env, config, meter, trace_id }, tenant.id)
      return c.json(tenant, 200)
    },
  )
}

tenantRoutes.openapi(
  route({
    method: 'post',
    path: '/{id}/rotate-keys',
    summary: 'Rotate the keys of a tenant that refresh tokens, the system and claims use; sessions and requests go on',
    permission: 'tenant:update',
    trips: 1,
    params: Id,
    returns: { 200: KeyRotationWire },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const { ctx, config, meter, trace_id } = c.var
    await beginRotation(ctx, id)
    return c.json(await rotateKeys({ env: c.env, config, meter, trace_id }, id), 200)
  },
)

/** How long the caller prefers to wait for the answer (RFC 7240), at most 60 s. */
const secondsToWait = (c: Context<AppEnv>) =>
  Math.min(MAX_WAIT_SECONDS, Number(/(?:^|[,;\s])wait\s*=\s*"?(\d{1,4})"?/i.exec(c.req.header('Prefer') ?? '')?.[1] ?? 0))

/** The tenant, if it becomes active until then; otherwise null, at most one look at the master later. */
async function waitUntilActive(ctx: Ctx, id: string, until: number): Promise<z.infer<typeof Tenant> | null> {
  // Often at first, then less often: each look is a round trip to the master.
  for (let pause = 20, left = until - Date.now(); left > 0; left = until - Date.now()) {
    await scheduler.wait(Math.min(pause, left))
    pause = Math.min(1_000, pause * 1.125)
    const tenant = await getTenant(ctx, id)
    if (tenant.status === 'active') return tenant
    if (tenant.status === 'failed') return null
  }
  return null
}
