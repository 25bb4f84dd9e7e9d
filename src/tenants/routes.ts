import { z } from '@hono/zod-openapi'
import { FRESH, TWO_IF_ANY } from '../http/admit.ts'
import { answer, created } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { changeTenant, TenantPatch } from './lifecycle/changing.ts'
import { erase, markForErasure } from './lifecycle/erasure.ts'
import { propagate, propagateIfThere, retryTenant, setStatus } from './lifecycle/lifecycle.ts'
import { beginRotation, KeyRotationWire, rotateKeys } from './lifecycle/rotating.ts'
import { askUsed } from './lifecycle/used.ts'
import { getDrift, TenantDrift } from './migration/drift.ts'
import { createTenant, MadeTenant, NewTenant } from './provisioning/new-tenant.ts'
import { startRun } from './provisioning/provisioning.ts'
import { begun } from './provisioning/waiting.ts'
import { getTenant, listTenants, Tenant, TenantList, TenantQuery, withUsed } from './registry/tenants.ts'

const Id = z.object({ id: z.uuid() })
const Deletion = z.object({ hard: z.enum(['true', 'false']).optional(), confirm: z.string().max(63).optional() })

/** The platform's tenants, for its operators. */
export const tenantRoutes = room()

tenantRoutes.openapi(
  route({
    operationId: 'createTenant',
    prefer: true,
    location: true,
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
    const { tenant, run_id } = await createTenant(c.var.ctx, c.req.valid('json'))
    const made = await begun(c.env, c.var.ctx, { tenant, run_id }, c.req.header('Prefer'))
    const location = `/platform/v1/tenants/${tenant.id}`
    if (made) return created(c, { ...tenant, ...made }, location)
    c.header('Location', `${location}/provisioning`)
    return c.json(tenant, 202)
  },
)

tenantRoutes.openapi(
  route({
    operationId: 'listTenants',
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
    operationId: 'getTenant',
    method: 'get',
    path: '/{id}',
    summary: 'Get a tenant, with what is used of its limits now',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    returns: { 200: Tenant },
    problems: ['not_found'],
  }),
  async (c) => {
    const tenant = await getTenant(c.var.ctx, c.req.valid('param').id)
    return answer(c, withUsed(tenant, await askUsed(c.var.config, tenant.id)))
  },
)

tenantRoutes.openapi(
  route({
    operationId: 'updateTenant',
    method: 'patch',
    path: '/{id}',
    summary: 'Update a tenant; fields that are left out stay. `If-Match` makes the update conditional',
    permission: 'tenant:update',
    trips: 1,
    params: Id,
    body: TenantPatch,
    returns: { 200: Tenant },
    problems: ['not_found', 'illegal_state', 'subdomain_taken', 'tax_id_taken', 'limit_reached', 'etag_mismatch'],
  }),
  async (c) => {
    const { config, meter, ctx, trace_id } = c.var
    const tenant = await changeTenant(ctx, c.req.valid('param').id, c.req.valid('json'), c.req.header('If-Match'))
    const { is_told, used } = await propagateIfThere({ env: c.env, config, meter, trace_id }, tenant.id)
    return answer(c, withUsed({ ...tenant, is_applied: is_told }, used))
  },
)

tenantRoutes.openapi(
  route({
    operationId: 'getTenantDrift',
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
    operationId: 'retryTenant',
    location: true,
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
    operationId: 'deleteTenant',
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

for (const [operationId, verb, from, to, summary] of [
  ['activateTenant', 'activate', 'inactive', 'active', 'Activate a tenant'],
  ['deactivateTenant', 'deactivate', 'active', 'inactive', 'Deactivate a tenant, effective immediately'],
  ['restoreTenant', 'restore', 'deleted', 'active', 'Restore a deleted tenant'],
] as const) {
  tenantRoutes.openapi(
    route({
      operationId,
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
      return answer(c, tenant)
    },
  )
}

tenantRoutes.openapi(
  route({
    operationId: 'rotateTenantKeys',
    method: 'post',
    path: '/{id}/rotate-keys',
    summary: 'Rotate the keys of a tenant that refresh tokens, the system and claims use; sessions and requests go on',
    permission: 'tenant:update',
    fresh: FRESH,
    aal: TWO_IF_ANY,
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
