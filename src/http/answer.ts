import type { Context } from 'hono'
import type { AppEnv } from './app-env.ts'

/** Answers 200 with a resource and its entity tag. */
export function answer<T extends { updated_at: string }>(c: Context<AppEnv>, resource: T) {
  tag(c, resource)
  return c.json(resource, 200)
}

/**
 * Answers 201 with a new resource, its entity tag if it has one, and its Location: by default the path of the request and the id.
 */
export function created<T extends { id?: string; updated_at?: string }>(
  c: Context<AppEnv>,
  resource: T,
  location = `${c.req.path.replace(/\/$/, '')}/${resource.id}`,
) {
  tag(c, resource)
  c.header('Location', location)
  return c.json(resource, 201)
}

/**
 * The entity tag (RFC 9110 section 8.8.3) is the time of the last change; `matches` in kernel/wire.ts compares it. `no-transform`
 * goes with it, because a proxy that compresses weakens the tag (decision 28).
 */
function tag(c: Context<AppEnv>, { updated_at }: { updated_at?: string }) {
  if (updated_at === undefined) return
  c.header('ETag', `"${updated_at}"`)
  c.header('Cache-Control', 'no-store, no-transform')
}
