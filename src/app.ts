import { OpenAPIHono } from '@hono/zod-openapi'
import { etag } from 'hono/etag'
import { accessRoutes } from './access/routes.ts'
import { apiKeyRoutes, userApiKeyRoutes } from './api-keys/routes.ts'
import { countUse } from './api-keys/uses.ts'
import { audienceRoutes } from './audiences/routes.ts'
import { activityRoutes, checkpointRoutes, userActivityRoutes } from './audit/routes.ts'
import { discoveryRoutes, keyRoutes } from './auth/discovery.ts'
import { authRoutes } from './auth/routes.ts'
import { ownAvatarRoutes, userAvatarRoutes } from './avatars/routes.ts'
import { competencyRoutes } from './competencies/routes.ts'
import { competencyTypeRoutes } from './competencies/type-routes.ts'
import { delegationRoutes } from './delegations/routes.ts'
import { docsRoutes } from './docs/routes.ts'
import { servedDocument } from './docs/served.ts'
import { emailLoginRoutes } from './email-login/routes.ts'
import { employeeRoutes } from './employees/routes.ts'
import { eventRoutes } from './events/routes.ts'
import { bearerElsewhere } from './external/bearer.ts'
import { externalRoutes } from './external/routes.ts'
import { factorRoutes, userFactorRoutes } from './factors/routes.ts'
import { hookRoutes } from './hooks/routes.ts'
import type { AppEnv } from './http/app-env.ts'
import { arrive } from './http/arrive.ts'
import { refuseForeignPages } from './http/cors.ts'
import { notFound, onError } from './http/failures.ts'
import { setHeaders } from './http/headers.ts'
import { requireOwnHost } from './http/hostname.ts'
import { notModified } from './http/not-modified.ts'
import { plane } from './http/plane.ts'
import { ready } from './http/ready.ts'
import { redirectPages } from './http/renamed.ts'
import { requireHttps } from './http/transport.ts'
import { VERSION } from './http/version.ts'
import { impersonationRoutes } from './impersonation/routes.ts'
import { invitationRoutes } from './invitations/routes.ts'
import { limitRoutes } from './limits/routes.ts'
import { notificationRoutes } from './notifications/routes.ts'
import { oauthRoutes } from './oauth/routes.ts'
import { organizationRoutes } from './organizations/routes.ts'
import { mountPages } from './pages/routes.tsx'
import { passkeyRoutes, relatedOriginRoutes } from './passkeys/routes.ts'
import { personalRoutes, userErasureRoutes } from './personal/routes.ts'
import { providerRoutes } from './providers/routes.ts'
import { recoveryRoutes, registrationRoutes, tenantRecoveryRoutes, userRecoveryRoutes } from './recovery/routes.ts'
import { riskRoutes } from './risk/routes.ts'
import { groupRoutes } from './roles/group-routes.ts'
import { overrideRoutes, permissionRoutes } from './roles/permission-routes.ts'
import { assignmentRoutes, roleRoutes } from './roles/routes.ts'
import { sessionRoutes, userSessionRoutes } from './sessions/routes.ts'
import { logoRoutes, settingRoutes, tenantSettingRoutes } from './settings/routes.ts'
import { stepUpRoutes } from './step-up/routes.ts'
import { adoptionRoutes } from './tenants/adoption/routes.ts'
import { analyticsRoutes, usageRoutes } from './tenants/analytics/routes.ts'
import { certificateRoutes } from './tenants/certificate/routes.ts'
import { doctorRoutes } from './tenants/doctor/routes.ts'
import { licenseRoutes } from './tenants/licenses/routes.ts'
import { migrationRoutes } from './tenants/migration/routes.ts'
import { moveRoutes } from './tenants/move/routes.ts'
import { platformPlane, tenantPlane } from './tenants/planes.ts'
import { planRoutes } from './tenants/plans/routes.ts'
import { provisioningRoutes } from './tenants/provisioning/routes.ts'
import { requireReady } from './tenants/ready.ts'
import { movedFrom } from './tenants/registry/resolve.ts'
import { restoreRoutes } from './tenants/restore/routes.ts'
import { keyIdRoutes, rotationRoutes } from './tenants/rotations/routes.ts'
import { tenantRoutes } from './tenants/routes.ts'
import { undoRoutes } from './tenants/undo/routes.ts'
import { unitRoutes } from './units/routes.ts'
import { userRoutes } from './users/routes.ts'
import { webhookRoutes } from './webhooks/routes.ts'

export const app = new OpenAPIHono<AppEnv>({ strict: false })

app.use('*', setHeaders)
app.use('*', notModified)
app.use('*', arrive)
app.use('*', requireHttps)
app.use('*', requireOwnHost)
app.use('*', redirectPages(movedFrom))
app.use('/platform/v1/*', plane(platformPlane, countUse))
app.use('/api/v1/*', plane(tenantPlane, countUse, bearerElsewhere))
for (const path of ['/.well-known/*', '/oauth/*', '/logo']) app.use(path, plane(tenantPlane, countUse))
for (const path of ['/platform/v1/auth/*', '/api/v1/auth/*', '/oauth/*']) app.use(path, refuseForeignPages)

for (const base of ['/platform/v1/auth', '/api/v1/auth'])
  for (const routes of [authRoutes, stepUpRoutes, recoveryRoutes, factorRoutes]) app.route(base, routes)
for (const base of ['/platform/v1', '/api/v1'])
  app
    .route(`${base}/auth/passkeys`, passkeyRoutes)
    .route(`${base}/api-keys`, apiKeyRoutes)
    .route(`${base}/notifications`, notificationRoutes)
app.route('/platform/v1/.well-known', keyRoutes)
for (const routes of [adoptionRoutes, tenantRoutes, provisioningRoutes, licenseRoutes]) app.route('/platform/v1/tenants', routes)
app.route('/platform/v1/plans', planRoutes)
app.route('/platform/v1/migrations', migrationRoutes)
app.route('/platform/v1/tenants', undoRoutes)
app.route('/platform/v1/tenants', moveRoutes)
app.route('/platform/v1/tenants', certificateRoutes)
app.route('/platform/v1/tenants', rotationRoutes)
app.route('/platform/v1/tenants', restoreRoutes)
app.route('/platform/v1/tenants', tenantRecoveryRoutes)
app.route('/platform/v1/keys', keyIdRoutes).route('/platform/v1/doctor', doctorRoutes)
app.route('/platform/v1/analytics', analyticsRoutes)
app.route('/platform/v1/tenants', usageRoutes)
app.route('/platform/v1/sessions', sessionRoutes)
app.route('/platform/v1/operators', userApiKeyRoutes)
app.route('/platform/v1/operators', userRoutes)
app.route('/platform/v1/operators', userSessionRoutes)
for (const base of ['/platform/v1/operators', '/api/v1/users'])
  for (const routes of [userRecoveryRoutes, userFactorRoutes]) app.route(base, routes)
app.route('/platform/v1/operators', userActivityRoutes)
app.route('/platform/v1/audit', checkpointRoutes)
app.route('/platform/v1/audit', activityRoutes)
app.route('/platform/v1/settings', settingRoutes)
for (const routes of [registrationRoutes, emailLoginRoutes, externalRoutes, personalRoutes, ownAvatarRoutes])
  app.route('/api/v1/auth', routes)
app.route('/api/v1/sessions', sessionRoutes)
app.route('/api/v1/settings', tenantSettingRoutes).route('/api/v1/settings/providers', providerRoutes)
app.route('/api/v1/settings/risk', riskRoutes).route('/api/v1/employees', employeeRoutes)
app.route('/api/v1/units', unitRoutes).route('/api/v1/organizations', organizationRoutes)
app.route('/api/v1/competency-types', competencyTypeRoutes).route('/api/v1/competencies', competencyRoutes)
app.route('/api/v1/activities', activityRoutes).route('/api/v1/audit', checkpointRoutes)
for (const routes of [userErasureRoutes, impersonationRoutes, userAvatarRoutes, userApiKeyRoutes, userSessionRoutes, userRoutes])
  app.route('/api/v1/users', routes)
app.route('/api/v1/users', userActivityRoutes).route('/.well-known', keyRoutes)
app.route('/api/v1/usage', limitRoutes).route('/api/v1/events', eventRoutes)
app.route('/api/v1/webhooks', webhookRoutes).route('/api/v1/hooks', hookRoutes)
app.route('/.well-known', discoveryRoutes).route('/.well-known', relatedOriginRoutes)
app.route('/oauth', oauthRoutes).route('/logo', logoRoutes)
app.route('/api/v1/audiences', audienceRoutes).route('/api/v1', accessRoutes).route('/api/v1/permissions', permissionRoutes)
app.route('/api/v1/roles', roleRoutes)
for (const routes of [overrideRoutes, assignmentRoutes, groupRoutes]) app.route('/api/v1/users', routes)
app.route('/api/v1/delegations', delegationRoutes).route('/api/v1/invitations', invitationRoutes)
app.route('/', docsRoutes)
mountPages(app, plane(tenantPlane, countUse), notFound(app))
app.get('/healthz', (c) => c.json({ status: 'ok' })).get('/version', (c) => c.json({ version: VERSION }))
app.get(
  '/readyz',
  ready(({ env, var: { config } }) => requireReady(config, env.TENANTS)),
)

app.get('/openapi.json', etag(), async (c) =>
  c.body(await servedDocument(c.var.config, c.var.subdomain), 200, {
    'Content-Type': 'application/json',
    'Cache-Control': 'no-cache',
  }),
)
app.onError(onError)
