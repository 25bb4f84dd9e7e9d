/**
 * How a request came. Threat: somebody on the way reads a password, a token or a key. A redirect would not undo that, and would
 * hide it: the client goes on to send everything twice. So calls are refused, in words that say what to do, before anything of them is read.
 */
import { createMiddleware } from 'hono/factory'
import type { Config } from '../kernel/config.ts'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'

/** What people open in a browser, by the first part of its path; all else is called by programs. */
const PAGES = /^\/((docs|problems|pages|login|register|verify-email|reset-password|email-change|cancel-erasure|account)(\/|$)|$)/

export const isPage = (path: string) => PAGES.test(path)

/** What `request.cf.tlsVersion` says of a connection that is too weak. TLS 1.2 and 1.3 are TLSv1.2 and TLSv1.3; without TLS it is ''. */
const WEAK = /^(SSLv\d|TLSv1(\.[01])?)$/

/** True when the client came by TLS: as the URL says or, with FORWARDED_PROTO_HEADER, what is in front of the Worker. */
export function isEncrypted({ url, headers }: Request, { FORWARDED_PROTO_HEADER: name }: Config): boolean {
  return name ? headers.get(name)?.toLowerCase() === 'https' : url.startsWith('https:')
}

/** In production, redirects pages to https and refuses all else on plain http, and what came by TLS below 1.2. Fails with https_required. */
export const requireHttps = createMiddleware<AppEnv>(async (c, next) => {
  const config = c.get('config')
  if (config.ENVIRONMENT !== 'production') return next()
  const { raw } = c.req
  if (!isEncrypted(raw, config)) {
    if (!['GET', 'HEAD'].includes(raw.method) || !isPage(c.req.path)) throw new Problem('https_required')
    const url = new URL(raw.url)
    url.protocol = 'https:'
    url.port = config.BASE_URL.port
    return c.redirect(url.href, 308)
  }
  if (WEAK.test(String(raw.cf?.tlsVersion)))
    throw new Problem(
      'https_required',
      'Use TLS 1.2 or later. Others may have read this request: change the password, or end the session or key, that it carried.',
    )
  return next()
})
