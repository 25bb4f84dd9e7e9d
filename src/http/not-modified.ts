import { createMiddleware } from 'hono/factory'
import type { AppEnv } from './app-env.ts'

/**
 * Answers 304 where the caller has what would be sent, by `If-None-Match` (RFC 9110 sections 13.1.2 and 15.4.5): whatever has an entity
 * tag. The request was admitted and cost what it costs; the body is not sent. A proxy that compresses weakens tags, so that weak ones count.
 */
export const notModified = createMiddleware<AppEnv>(async (c, next) => {
  await next()
  const given = c.req.header('If-None-Match')
  const tag = c.res.headers.get('ETag')
  if (given === undefined || tag === null || c.res.status !== 200 || !['GET', 'HEAD'].includes(c.req.method)) return
  const tags = given.split(',').map((one) => one.trim().replace(/^W\//, ''))
  if (!tags.includes('*') && !tags.includes(tag.replace(/^W\//, ''))) return
  const headers = new Headers(c.res.headers)
  for (const name of ['Content-Type', 'Content-Length', 'Content-Encoding', 'Content-Language']) headers.delete(name)
  await c.res.body?.cancel()
  // Not merged with the headers of what it replaces, as an assignment alone would do.
  c.res = undefined
  c.res = new Response(null, { status: 304, headers })
})
