import { answer } from '../http/answer.ts'
import { FILE } from '../http/bodies.ts'
import { room, route } from '../http/route.ts'
import { IMAGE_TYPES } from './image.ts'
import { deleteLogo, getLogo, LOGO_KIB, Logo, putLogo } from './logo.ts'
import { forgetLook } from './look.ts'
import { getSettings, patchSettings, Settings, SettingsPatch } from './settings.ts'

/** The settings of a realm: a tenant's under /api/v1/settings, the platform's under /platform/v1/settings. */
export const settingRoutes = room()

settingRoutes.openapi(
  route({
    operationId: 'getSettings',
    method: 'get',
    path: '/',
    summary: 'Get the settings: password policy, session lifetimes, registration, mail limits, look, origins of pages',
    permission: 'setting:read',
    trips: 1,
    returns: { 200: Settings },
  }),
  async (c) => answer(c, await getSettings(c.var.ctx)),
)

settingRoutes.openapi(
  route({
    operationId: 'updateSettings',
    method: 'patch',
    path: '/',
    summary: 'Update the settings (JSON merge patch); `If-Match` prevents lost updates',
    permission: 'setting:update',
    trips: 1,
    body: SettingsPatch,
    returns: { 200: Settings },
    problems: ['etag_mismatch'],
  }),
  async (c) => {
    const settings = await patchSettings(c.var.ctx, c.req.valid('json'), c.req.header('If-Match'))
    forgetLook(c.var.ctx)
    return answer(c, settings)
  },
)

/** The settings of a tenant, with its logo: under /api/v1/settings. */
export const tenantSettingRoutes = room()
tenantSettingRoutes.route('/', settingRoutes)

tenantSettingRoutes.openapi(
  route({
    operationId: 'setLogo',
    method: 'put',
    path: '/logo',
    summary: 'Set the logo: a PNG, JPEG or WebP of at most 64 KiB and 1024 by 1024 pixels',
    permission: 'setting:update',
    trips: 1,
    file: { types: IMAGE_TYPES, most_kib: LOGO_KIB },
    returns: { 200: Logo },
  }),
  async (c) => {
    const bytes = new Uint8Array(await c.req.arrayBuffer())
    return c.json(await putLogo(c.var.ctx, bytes, c.req.header('Content-Type') ?? ''), 200)
  },
)

tenantSettingRoutes.openapi(
  route({
    operationId: 'deleteLogo',
    method: 'delete',
    path: '/logo',
    summary: 'Remove the logo',
    permission: 'setting:update',
    trips: 1,
    returns: { 204: null },
    problems: ['not_found'],
  }),
  async (c) => {
    await deleteLogo(c.var.ctx)
    return c.body(null, 204)
  },
)

/** The logo as pages show it, also those of the tenant's own frontend: at /logo. */
export const logoRoutes = room()

logoRoutes.openapi(
  route({
    operationId: 'getLogo',
    method: 'get',
    path: '/',
    summary: 'Get the logo of the tenant',
    public: true,
    trips: 1,
    returns: { 200: null },
    files: Object.fromEntries(IMAGE_TYPES.map((type) => [type, FILE])),
    tagged: true,
    problems: ['not_found'],
  }),
  async (c) => {
    const { content_type, etag, content } = await getLogo(c.var.ctx)
    // The base domain has a logo for each X-Tenant. An own frontend shows it from another origin.
    return c.body(content, 200, {
      'Content-Type': content_type,
      ETag: `"${etag}"`,
      'Cache-Control': 'public, max-age=300, no-transform',
      Vary: 'X-Tenant',
      'Cross-Origin-Resource-Policy': 'cross-origin',
    })
  },
)
