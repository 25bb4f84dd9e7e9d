import { z } from '@hono/zod-openapi'
import { answer, created } from '../../http/answer.ts'
import { room, route } from '../../http/route.ts'
import { Problem } from '../../kernel/problem.ts'
import { MadeTenant } from '../provisioning/new-tenant.ts'
import { begun } from '../provisioning/waiting.ts'
import { Tenant } from '../registry/tenants.ts'
import { AdoptedTenant, adoptTenant, NewConnection, reconnect } from './adopt.ts'

/** Tenants whose databases are somebody else's, for operators. */
export const adoptionRoutes = room()

adoptionRoutes.openapi(
  route({
    operationId: 'adoptTenant',
    prefer: true,
    location: true,
    method: 'post',
    path: '/adopt',
    summary: 'Create a tenant in a database that exists',
    permission: 'tenant:create',
    trips: 2,
    body: AdoptedTenant,
    returns: { 201: MadeTenant, 202: MadeTenant },
    problems: ['subdomain_taken', 'tax_id_taken', 'already_exists', 'illegal_state', 'database_unavailable'],
  }),
  async (c) => {
    const reserved = await adoptTenant(c.var.ctx, c.req.valid('json'))
    const made = await begun(c.env, c.var.ctx, reserved, c.req.header('Prefer'))
    const location = `/platform/v1/tenants/${reserved.tenant.id}`
    if (made) return created(c, { ...reserved.tenant, ...made }, location)
    c.header('Location', `${location}/provisioning`)
    return c.json(reserved.tenant, 202)
  },
)

// `adopt` is not an id.
adoptionRoutes.on(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'], '/adopt', () => {
  throw new Problem('method_not_allowed', undefined, { headers: { Allow: 'POST' } })
})

adoptionRoutes.openapi(
  route({
    operationId: 'setTenantConnection',
    method: 'put',
    path: '/{id}/connection-string',
    summary: 'Give the new connection string of an adopted database, whose owner changed it',
    permission: 'tenant:update',
    trips: 2,
    params: z.object({ id: z.uuid() }),
    body: NewConnection,
    returns: { 200: Tenant },
    problems: ['not_found', 'illegal_state', 'database_unavailable'],
  }),
  async (c) => answer(c, await reconnect(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
)
