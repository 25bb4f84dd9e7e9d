/**
 * Bounds the size of a body before it is parsed. Threat: bodies that fill the memory or take long to parse, sent by callers that
 * would be refused anyway. So the bound comes after credential and rate limit, and is small where no credential is needed. A
 * body without Content-Length is read up to the bound.
 */
import { bodyLimit } from 'hono/body-limit'
import { createMiddleware } from 'hono/factory'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'

const KIB = 1024
/** Both planes. No request there holds more than a few short fields. */
const AUTH = /^\/(api|platform)\/v1\/auth\//

const refusing = (maxSize: number, refusal: () => Problem) =>
  bodyLimit({
    maxSize,
    onError: () => {
      throw refusal()
    },
  })
const small = refusing(16 * KIB, () => new Problem('body_too_large', 'Send at most 16 KiB.'))
const large = refusing(1024 * KIB, () => new Problem('body_too_large', 'Send at most 1 MiB.'))

/** Refuses a body above 16 KiB under /auth, above 1 MiB elsewhere. Fails with body_too_large. */
export const limitBody = createMiddleware<AppEnv>((c, next) => (AUTH.test(c.req.path) ? small : large)(c, next))
