import { OpenAPIHono } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { bodyLimit } from 'hono/body-limit'
import { createMiddleware } from 'hono/factory'
import { HTTPException } from 'hono/http-exception'
import { accessRoutes } from './access/routes.ts'
import { apiKeyRoutes, userApiKeyRoutes } from './api-keys/routes.ts'
import { countUse } from './api-keys/uses.ts'
import { activityRoutes, userActivityRoutes } from './audit/routes.ts'
import { discoveryRoutes } from './auth/discovery.ts'
import { authRoutes } from './auth/routes.ts'
import { delegationRoutes } from './delegations/routes.ts'
import { openApi } from './docs/openapi.ts'
import { docsRoutes } from './docs/routes.ts'
import { languageOf } from './http/accept-language.ts'
import type { AppEnv } from './http/app-env.ts'
import { isPreflight, letRead, mustBeKnown, preflight } from './http/cors.ts'
import { recordRefusal } from './http/refusals.ts'
import { traceId } from './http/trace.ts'
import { describe, fromHono } from './http/unexpected.ts'
import { configOf } from './kernel/config.ts'
import { batch, translated, useSqlUrl } from './kernel/db.ts'
import { log } from './kernel/log.ts'
import { Problem } from './kernel/problem.ts'
import { recoveryRoutes, registrationRoutes, userRecoveryRoutes } from './recovery/routes.ts'
import { overrideRoutes, permissionRoutes } from './roles/permission-routes.ts'
import { assignmentRoutes, roleRoutes } from './roles/routes.ts'
import { sessionRoutes, userSessionRoutes } from './sessions/routes.ts'
import { settingRoutes } from './settings/routes.ts'
import { tellAwake } from './tenants/maintenance/visits.ts'
import { lookUp, platformRealm, tenantUrl } from './tenants/registry/registry.ts'
import { activeRealm, subdomainOf, tenantName, tenantOfPage } from './tenants/registry/resolve.ts'
import { tenantRoutes } from './tenants/routes.ts'
import { unitRoutes } from './units/routes.ts'
import { userRoutes } from './users/routes.ts'

const MAX_BODY = 1024 * 1024
const HSTS = 'max-age=63072000; includeSubDomains'

/** Settings, trace id, request facts; afterwards the headers of every answer, the line in the log, and the record of a refusal. */
const arrive = createMiddleware<AppEnv>(async (c, next) => {
  const trace_id = traceId(c.req.header('traceparent'))
  const url = new URL(c.req.url)
  c.set('trace_id', trace_id)
  c.set('hostname', url.hostname)
  c.set('countUse', countUse)
  const meter = { master: 0 }
  c.set('meter', meter)
  const config = configOf(c.env)
  c.set('config', config)
  useSqlUrl(config.NEON_SQL_URL)
  const agent = c.req.header('User-Agent')?.slice(0, 255).toWellFormed() ?? null
  c.set('facts', {
    address: c.req.header('CF-Connecting-IP') ?? null,
    agent,
    method: c.req.method,
    path: url.pathname.slice(0, 1024),
    trace_id,
  })
  const { ENVIRONMENT, BASE_URL } = config
  const secured = ENVIRONMENT === 'production' && BASE_URL.protocol === 'https:'
  if (secured && url.protocol === 'http:') c.res = c.redirect(c.req.url.replace('http:', 'https:'), 308)
  else await next()
  const ctx = c.get('ctx')
  // Straight into the answer: c.header() would build a new one each time.
  const { headers } = c.res
  if (!headers.has('Cache-Control')) headers.set('Cache-Control', 'no-store')
  // A problem varies by the language too.
  headers.append('Vary', 'X-Tenant, Origin')
  letRead(c.req.raw, url.pathname, c.get('origins') ?? [], headers)
  for (const cookie of c.get('cookies') ?? []) headers.append('Set-Cookie', cookie)
  headers.set('X-Trace-Id', trace_id)
  headers.set('X-Content-Type-Options', 'nosniff')
  if (secured) headers.set('Strict-Transport-Security', HSTS)
  if (ENVIRONMENT !== 'production') headers.set('Server-Timing', `db;desc="${ctx?.trips ?? 0}", master;desc="${meter.master}"`)
  const code = c.error instanceof Problem ? c.error.code : null
  log('request', {
    tenant: c.get('realm')?.subdomain ?? null,
    trace_id,
    method: c.req.method,
    path: url.pathname,
    status: c.res.status,
    code,
    trips: ctx?.trips ?? 0,
  })
  if (code && ctx) c.executionCtx.waitUntil(recordRefusal(c.env, ctx, code))
})

/** A host that is not ours is answered nowhere. */
const ourHost = createMiddleware<AppEnv>(async (c, next) => {
  c.set('subdomain', subdomainOf(c.get('config'), c.get('hostname')))
  await next()
})

/** The platform plane is on the base domain alone; its realm is the platform's own. */
const platformPlane = createMiddleware<AppEnv>(async (c, next) => {
  const { config, meter } = c.var
  if (c.var.subdomain) throw new Problem('not_found')
  c.set('origins', [config.BASE_URL.origin])
  if (isPreflight(c.req.raw)) return preflight(c.req.raw, c.req.path, c.var.origins)
  c.set('realm', await platformRealm({ config, meter }).catch(unavailable))
  c.set('again', () => platformRealm({ config, meter }, true))
  c.set('tellAwake', () => null)
  return next()
})

const tenantPlane = createMiddleware<AppEnv>(async (c, next) => {
  const config = c.get('config')
  const sources = { env: c.env, config, meter: c.get('meter') }
  const asked = isPreflight(c.req.raw)
  // A preflight carries none of the headers that it asks for: on the base domain the page's own host says which tenant is meant.
  const host = c.get('subdomain') ?? (asked ? tenantOfPage(config, c.req.header('Origin')) : null)
  const name = tenantName(config, host, c.req.header('X-Tenant'), c.req.header('Authorization'))
  // Its own pages may read also why there is no realm.
  const own = c.get('subdomain') ? [tenantUrl(config, name)] : [tenantUrl(config, name), config.BASE_URL.origin]
  c.set('origins', own)
  const realm = await activeRealm(sources, name).catch(unavailable)
  c.set('realm', realm)
  c.set('again', async () => (await lookUp(sources, name, true))?.realm ?? null)
  c.set('tellAwake', () => tellAwake(config, realm.id))
  c.set('origins', [...own, ...realm.origins])
  if (asked) return preflight(c.req.raw, c.req.path, c.var.origins)
  return next()
})

/** Who is logged in or out, no page of a foreign origin decides, not even with a form, for which no browser asks first. */
const noForeignPage = createMiddleware<AppEnv>(async (c, next) => {
  if (!['GET', 'HEAD'].includes(c.req.method)) mustBeKnown(c.req.raw, c.var.origins)
  await next()
})

const unavailable = (error: unknown): never => {
  throw translated(error)
}

const limited = bodyLimit({
  maxSize: MAX_BODY,
  onError: () => {
    throw new Problem('body_too_large')
  },
})

/** Read line by line and never held, so that its lines are limited and not all of it (src/users/ndjson.ts). */
const STREAMED = '/api/v1/users/import'

export const app = new OpenAPIHono<AppEnv>({ strict: false })

app.use('*', arrive)
app.use('*', ourHost)
app.use('*', (c, next) => (c.req.path === STREAMED ? next() : limited(c, next)))
app.use('/platform/v1/*', platformPlane)
app.use('/api/v1/*', tenantPlane)
app.use('/.well-known/*', tenantPlane)
app.use('/platform/v1/auth/*', noForeignPage)
app.use('/api/v1/auth/*', noForeignPage)

app.route('/platform/v1/auth', authRoutes)
app.route('/platform/v1/tenants', tenantRoutes)
app.route('/platform/v1/auth', recoveryRoutes)
app.route('/platform/v1/sessions', sessionRoutes)
app.route('/platform/v1/operators', userApiKeyRoutes)
app.route('/platform/v1/operators', userRoutes)
app.route('/platform/v1/operators', userSessionRoutes)
app.route('/platform/v1/operators', userRecoveryRoutes)
app.route('/platform/v1/operators', userActivityRoutes)
app.route('/platform/v1/audit', activityRoutes)
app.route('/platform/v1/settings', settingRoutes)
app.route('/platform/v1/api-keys', apiKeyRoutes)
app.route('/api/v1/auth', authRoutes)
app.route('/api/v1/auth', recoveryRoutes)
app.route('/api/v1/auth', registrationRoutes)
app.route('/api/v1/sessions', sessionRoutes)
app.route('/api/v1/settings', settingRoutes)
app.route('/api/v1/api-keys', apiKeyRoutes)
app.route('/api/v1/users', userApiKeyRoutes)
app.route('/api/v1/users', userSessionRoutes)
app.route('/api/v1/users', userRecoveryRoutes)
app.route('/api/v1/users', userRoutes)
app.route('/api/v1/units', unitRoutes)
app.route('/api/v1/activities', activityRoutes)
app.route('/api/v1/users', userActivityRoutes)
app.route('/.well-known', discoveryRoutes)
app.route('/api/v1', accessRoutes)
app.route('/api/v1/permissions', permissionRoutes)
app.route('/api/v1/users', overrideRoutes)
app.route('/api/v1/roles', roleRoutes)
app.route('/api/v1/users', assignmentRoutes)
app.route('/api/v1/delegations', delegationRoutes)
app.route('/', docsRoutes)

app.get('/healthz', (c) => c.json({ status: 'ok' }))
app.get('/readyz', async (c) => {
  await c.env.TENANTS.get('readyz').catch((cause) => {
    throw new Problem('database_unavailable', 'The registry cache does not answer.', { cause })
  })
  await batch(c.var.config.MASTER_DATABASE_URL, [sql`select 1`]).catch(unavailable)
  return c.json({ status: 'ok' })
})
app.get('/openapi.json', (c) => c.json(openApi(app, c.var.config.BASE_URL.origin)))
app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', {
  type: 'http',
  scheme: 'bearer',
  bearerFormat: 'JWT',
  description: 'An access token; where a key is taken, the key does as well.',
})
app.openAPIRegistry.registerComponent('securitySchemes', 'cookie', {
  type: 'apiKey',
  in: 'cookie',
  name: '__Host-fh_a_{account}',
  description:
    'Of a login with `cookie: true`, from pages of the same host. Where several accounts are logged in, X-Account says which.',
})
app.openAPIRegistry.registerComponent('securitySchemes', 'api_key', {
  type: 'apiKey',
  in: 'header',
  name: 'X-API-Key',
  description: 'A key, `fh_...`. Not beside Authorization.',
})

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']
/** HEAD is answered wherever GET is (RFC 9110 section 9.3.2). */
const allowed = (matched: string[]) => matched.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ')

app.notFound((c) => {
  const matched = METHODS.filter((method) =>
    app.router.match(method, c.req.path)[0].some(([[, route]]) => route.method === method),
  )
  const problem = matched.length
    ? new Problem('method_not_allowed', undefined, { headers: { Allow: allowed(matched) } })
    : new Problem('not_found')
  return problem.toResponse(about(c))
})

app.onError((error, c) => {
  const known = translated(error)
  if (known instanceof Problem) return known.toResponse(about(c))
  if (known instanceof HTTPException) return fromHono(known).toResponse(about(c))
  log('failed', { tenant: c.var.realm?.subdomain ?? null, trace_id: c.var.trace_id, error: describe(error) })
  return new Problem('internal_error').toResponse(about(c))
})

type Asked = { path: string; url: string; header(name: string): string | undefined }

const about = (c: { var: Partial<AppEnv['Variables']>; req: Asked }) => ({
  base: c.var.config?.BASE_URL.origin ?? new URL(c.req.url).origin,
  path: c.req.path,
  trace_id: c.var.trace_id ?? '',
  language: languageOf(c.req.header('Accept-Language')),
})
