import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { answer, created } from '../../http/answer.ts'
import type { AppEnv } from '../../http/app-env.ts'
import { room, route } from '../../http/route.ts'
import { Page } from '../../kernel/cursor.ts'
import { propagateIfThere } from '../lifecycle/lifecycle.ts'
import { createLicense, endLicense, License, LicenseList, listLicenses, NewLicense, removeLicense } from './licenses.ts'

const Id = z.object({ id: z.uuid() })
const Both = Id.extend({ license_id: z.uuid() })

/** Licenses of tenants, for operators. */
export const licenseRoutes = room()

/** A database that is away is told by the scheduled job. */
const tellTenant = ({ env, var: { config, meter, trace_id } }: Context<AppEnv>, id: string) =>
  propagateIfThere({ env, config, meter, trace_id }, id)

licenseRoutes.openapi(
  route({
    operationId: 'listLicenses',
    method: 'get',
    path: '/{id}/licenses',
    summary: 'List the licenses of a tenant, the last to begin first',
    permission: 'tenant:read',
    trips: 1,
    params: Id,
    query: Page,
    returns: { 200: LicenseList },
    problems: ['not_found', 'invalid_cursor'],
  }),
  async (c) => c.json(await listLicenses(c.var.ctx, c.req.valid('param').id, c.req.valid('query')), 200),
)

licenseRoutes.openapi(
  route({
    operationId: 'createLicense',
    method: 'post',
    path: '/{id}/licenses',
    summary: 'Give a tenant a license; after its end, and its days of grace, the tenant can only be read',
    permission: 'tenant:update',
    trips: 1,
    params: Id,
    body: NewLicense,
    returns: { 201: License },
    problems: ['not_found', 'already_exists', 'illegal_state'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const license = await createLicense(c.var.ctx, id, c.req.valid('json'))
    await tellTenant(c, id)
    return created(c, license, `/platform/v1/tenants/${id}/licenses`)
  },
)

licenseRoutes.openapi(
  route({
    operationId: 'endLicense',
    method: 'post',
    path: '/{id}/licenses/{license_id}/end',
    summary: 'End a license now; its days of grace begin',
    permission: 'tenant:update',
    trips: 1,
    params: Both,
    returns: { 200: License },
    problems: ['not_found', 'illegal_state'],
  }),
  async (c) => {
    const { id, license_id } = c.req.valid('param')
    const license = await endLicense(c.var.ctx, id, license_id)
    await tellTenant(c, id)
    return answer(c, license)
  },
)

licenseRoutes.openapi(
  route({
    operationId: 'deleteLicense',
    method: 'delete',
    path: '/{id}/licenses/{license_id}',
    summary: 'Take a license back, as if it had never been given; a tenant without one needs none',
    permission: 'tenant:update',
    trips: 1,
    params: Both,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    const { id, license_id } = c.req.valid('param')
    await removeLicense(c.var.ctx, id, license_id)
    await tellTenant(c, id)
    return c.body(null, 204)
  },
)
