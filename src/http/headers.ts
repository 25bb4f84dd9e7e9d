/**
 * What every answer carries, also one that is a failure. Threat: a browser that takes data for a page, shows an answer inside a
 * foreign page, or tells others the address of one.
 */
import { createMiddleware } from 'hono/factory'
import type { AppEnv } from './app-env.ts'
import { isPage } from './transport.ts'

const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  // Scripts of other origins still read by CORS what they may: browsers check this header for no-cors requests alone (Fetch Standard).
  'Cross-Origin-Resource-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
}

/** Sets the headers that a route did not set itself. It comes first, so that there is no answer without them. */
export const setHeaders = createMiddleware<AppEnv>(async (c, next) => {
  await next()
  // Set on the response itself: c.header() would build a new one each time.
  const { headers } = c.res
  for (const [name, value] of Object.entries(HEADERS)) if (!headers.has(name)) headers.set(name, value)
  // For a form on a page, no-referrer would make browsers say `Origin: null`, which is a foreign origin.
  if (!headers.has('Referrer-Policy')) headers.set('Referrer-Policy', isPage(c.req.path) ? 'same-origin' : 'no-referrer')
})
