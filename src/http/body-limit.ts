import { bodyLimit } from 'hono/body-limit'
import { createMiddleware } from 'hono/factory'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'

const MAX_BODY = 1024 * 1024

const limited = bodyLimit({
  maxSize: MAX_BODY,
  onError: () => {
    throw new Problem('body_too_large')
  },
})

/** Refuses bodies above 1 MiB, except on paths that read the body line by line and never hold all of it (users/ndjson.ts). */
export const limitBodies = (...streamed: string[]) =>
  createMiddleware<AppEnv>((c, next) => (streamed.includes(c.req.path) ? next() : limited(c, next)))
