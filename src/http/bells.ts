/**
 * Rings the streams of people whom a committed transaction has told something. Threat: somebody waits for an answer because a bell
 * does not ring, or a transaction that tells everybody uses up what an invocation may ask. So it is done after the answer, nothing
 * depends on it (a stream looks once a minute by itself), and at most fifty people are rung.
 */
import type { Context } from 'hono'
import type { AppEnv } from './app-env.ts'

/** The object of one person (src/notifications/bell.ts). */
export type Bell = Pick<Fetcher, 'fetch'> & { ring: () => Promise<void> }

const MOST_RUNG = 50
/** Streams of one person at once: pages of as many browsers. */
export const MOST_STREAMS = 5

/** The bell of a user of a realm; null: the Worker has none, as in programs. */
export const bellOf = (c: Context<AppEnv>, user_id: string): Bell | null => bellIn(c.env, c.get('realm').id, user_id)

/** Rings the users whose ids a transaction left in its settings (access.notify). */
export function ring(c: Context<AppEnv>, rung: string | null | undefined): void {
  if (rung) c.executionCtx.waitUntil(ringAll(c.env, c.get('realm').id, rung))
}

/** The same for a transaction of the scheduled job. Never fails. */
export async function ringAll(env: AppEnv['Bindings'], realm_id: string, rung: string): Promise<void> {
  const people = [...new Set(rung.split(','))].slice(0, MOST_RUNG)
  await Promise.allSettled(people.map((id) => bellIn(env, realm_id, id)?.ring()))
}

function bellIn(env: AppEnv['Bindings'], realm_id: string, user_id: string): Bell | null {
  const bells = env.BELLS as { getByName: (name: string) => Bell } | undefined
  return bells?.getByName(`${realm_id}:${user_id}`) ?? null
}
