/**
 * The header Idempotency-Key of a route that creates. Threat: a key that matches the answer to another request. So a request is
 * known by its route, the parameters of its path and the text of its body; the database adds the credential.
 */
import { z } from '@hono/zod-openapi'
import { createMiddleware } from 'hono/factory'
import { routePath } from 'hono/route'
import type { Idempotency, Realm } from '../kernel/context.ts'
import { successorOf, tokenHash } from '../kernel/token.ts'
import type { AppEnv } from './app-env.ts'

const HEADER = 'Idempotency-Key'

/** `"key"` or `key`: a structured string (RFC 8941 section 3.3.3) without escapes, or its content as most clients send it. */
export const IdempotencyHeader = z.object({
  [HEADER]: z
    .string()
    .regex(/^("[!-~]{1,255}"|[!#-~][!-~]{0,254})$/, 'must be 1-255 visible ASCII characters, with or without quotes')
    .optional()
    .openapi({
      description:
        'Repeats are answered once: for 24 hours the same request with the same key, by the same session or API key, creates nothing and gets the same answer. Secrets are in it for 10 minutes.',
    }),
})

/** Tells the verb which request this is, and the caller whether it was answered before. The schema checks the header later. */
export const once = createMiddleware<AppEnv>(async (c, next) => {
  const said = c.req.header(HEADER)
  if (said === undefined) return next()
  const params = JSON.stringify(c.req.param()).toLowerCase()
  const route = `${c.req.method} ${routePath(c)}`
  const idempotency = await idempotencyOf(c.var.realm, route, said.replace(/^"(.*)"$/, '$1'), `${params}\n${await c.req.text()}`)
  c.get('ctx').idempotency = idempotency
  await next()
  if (c.res.ok && idempotency.is_replayed) c.res.headers.set('Idempotency-Replayed', 'true')
})

/** A request that is answered once, whatever its key was sent in: by its route, its key, and what it asks for. */
export async function idempotencyOf(realm: Realm, route: string, key: string, asked: string): Promise<Idempotency> {
  // Keyed, because a body may hold a password, which its plain hash would let somebody guess.
  const hashUnder = async (secret: string) => tokenHash(await successorOf(secret, `idempotency:${asked}`))
  return {
    route,
    key_hash: await tokenHash(key),
    request_hash: await hashUnder(realm.refresh_key),
    other_hash: realm.other_refresh_key && (await hashUnder(realm.other_refresh_key)),
    is_replayed: false,
  }
}
