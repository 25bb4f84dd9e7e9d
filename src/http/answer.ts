import type { Context } from 'hono'
import type { AppEnv } from './app-env.ts'

/** Answers with a thing and its entity tag. */
export function answer<T extends { updated_at: string }>(c: Context<AppEnv>, thing: T) {
  tag(c, thing)
  return c.json(thing, 200)
}

/** Answers with a new thing, its entity tag where it has one, and where it is: under the address of the request, or at `location`. */
export function created<T extends { id: string; updated_at?: string }>(
  c: Context<AppEnv>,
  thing: T,
  location = `${c.req.path.replace(/\/$/, '')}/${thing.id}`,
) {
  tag(c, thing)
  c.header('Location', location)
  return c.json(thing, 201)
}

/** An entity tag (RFC 9110 section 8.8.3) is the moment of the last change; `matches` in kernel/wire.ts compares it. */
function tag(c: Context<AppEnv>, { updated_at }: { updated_at?: string }) {
  if (updated_at !== undefined) c.header('ETag', `"${updated_at}"`)
}
