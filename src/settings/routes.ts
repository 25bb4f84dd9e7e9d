import { answer } from '../http/answer.ts'
import { room, route } from '../http/route.ts'
import { getSettings, patchSettings, Settings, SettingsPatch } from './settings.ts'

/** What a realm decides for itself: a tenant under /api/v1/settings, the platform for its operators under /platform/v1/settings. */
export const settingRoutes = room()

settingRoutes.openapi(
  route({
    method: 'get',
    path: '/',
    summary: 'How passwords must be, how long logins last, who may register',
    permission: 'setting:read',
    trips: 1,
    returns: { 200: Settings },
  }),
  async (c) => answer(c, await getSettings(c.var.ctx)),
)

settingRoutes.openapi(
  route({
    method: 'patch',
    path: '/',
    summary: 'Change settings (JSON merge patch; If-Match holds it to what was read)',
    permission: 'setting:update',
    trips: 1,
    body: SettingsPatch,
    returns: { 200: Settings },
    problems: ['etag_mismatch'],
  }),
  async (c) => answer(c, await patchSettings(c.var.ctx, c.req.valid('json'), c.req.header('If-Match'))),
)
