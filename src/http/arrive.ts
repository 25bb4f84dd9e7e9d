import { createMiddleware } from 'hono/factory'
import { readSpanish } from '../i18n/read-spanish.ts'
import { configOf } from '../kernel/config.ts'
import { useSqlUrl } from '../kernel/db.ts'
import type { Meter } from '../kernel/env.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { asksForSpanish } from './accept-language.ts'
import type { AppEnv } from './app-env.ts'
import { setCorsHeaders } from './cors.ts'
import { recordRefusal } from './refusals.ts'
import { traceId } from './trace.ts'
import { isEncrypted } from './transport.ts'

const HSTS = 'max-age=63072000; includeSubDomains'

/**
 * Sets up settings, trace id and request facts; afterwards sets the headers of every response, logs the request and records a
 * refusal.
 */
export const arrive = createMiddleware<AppEnv>(async (c, next) => {
  const trace_id = traceId(c.req.header('traceparent'))
  if (asksForSpanish(c.req.header('Accept-Language'))) await readSpanish()
  const url = new URL(c.req.url)
  c.set('trace_id', trace_id)
  c.set('hostname', url.hostname)
  const meter: Meter = { master: 0 }
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
  await next()
  const in_production = config.ENVIRONMENT === 'production'
  const ctx = c.get('ctx')
  // Set on the response itself: c.header() would build a new one each time.
  const { headers } = c.res
  // A problem adds Accept-Language.
  headers.append('Vary', 'X-Tenant, Origin')
  setCorsHeaders(c.req.raw, url.pathname, c.get('origins') ?? [], headers)
  for (const cookie of c.get('cookies') ?? []) headers.append('Set-Cookie', cookie)
  const clear_site = c.get('clear_site')
  if (clear_site) headers.set('Clear-Site-Data', clear_site)
  headers.set('X-Trace-Id', trace_id)
  // Over http nobody heeds it (RFC 6797 section 8.1).
  if (in_production && isEncrypted(c.req.raw, config)) headers.set('Strict-Transport-Security', HSTS)
  if (!in_production) {
    const origins = meter.origins ? `, origins;desc="${meter.origins}"` : ''
    headers.set('Server-Timing', `db;desc="${ctx?.trips ?? 0}", master;desc="${meter.master}"${origins}`)
  }
  const code = c.error instanceof Problem ? c.error.code : null
  log('request', {
    tenant: c.get('realm')?.subdomain ?? null,
    trace_id,
    method: c.req.method,
    path: c.get('facts').path,
    status: c.res.status,
    code,
    trips: ctx?.trips ?? 0,
    user: ctx?.principal?.user_id ?? ctx?.bearer?.user_id ?? null,
    key: ctx?.key?.prefix ?? null,
    address: c.get('facts').address,
    agent,
  })
  if (code) c.executionCtx.waitUntil(recordRefusal(c))
})
