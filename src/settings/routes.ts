import { answer } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { getSettings, patchSettings, Settings, SettingsPatch } from './settings.ts'

/** The settings of a realm: a tenant's under /api/v1/settings, the platform's under /platform/v1/settings. */
export const settingRoutes = room()

settingRoutes.openapi(
  route({
    operationId: 'getSettings',
    method: 'get',
    path: '/',
    summary: 'Get the settings: password policy, session lifetimes, registration, mail limits',
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
  async (c) => answer(c, await patchSettings(c.var.ctx, c.req.valid('json'), c.req.header('If-Match'))),
)
