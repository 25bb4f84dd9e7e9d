/**
 * The stream of a person's notifications. Threat: a session that ended goes on listening; a stream that nobody reads costs a
 * connection of the database; what was written meanwhile is lost between two streams. So the session is admitted again every minute
 * and for all that is shown; between that nothing is asked; and each event names what the reader had, also of the last seconds before
 * it: a transaction that took longer to commit is looked for once more.
 */
import type { Context } from 'hono'
import { Problem } from '../kernel/problem.ts'
import type { AppEnv } from './app-env.ts'
import { bellOf, MOST_STREAMS } from './bells.ts'
import { isExpired, NOTHING_NEW, RETRY, streamed, written, writtenError } from './events.ts'
import { limitPrincipal } from './rate-limit.ts'

const ADMITTED_MS = 60_000
const COMMENT_MS = 25_000
/** Between two looks, however often it rings. */
const PAUSE_MS = 300
/** A client opens it again after that. */
const LONGEST_MS = 60 * 60_000
/** For so long a transaction may take to commit what it has written. */
const OVERLAP_MS = 20_000
/** Notifications that an event names as those that its reader had. */
const MOST_NAMED = 20
/** How many a look gives at most (access.new_notifications). */
const PAGE = 100

/** What a person is told, as a room has it. */
type Told<T> = {
  /** What came since a moment of the database, oldest first, and how many are unread: one admission, one round trip. */
  look: (since: string | null) => Promise<{ now: string; unread: number; data: T[] }>
  shown: (one: T) => unknown
}
type Had = { since: string | null; ids: string[] }

/** Answers with the stream: `unread` at once and when it changed, `notification` for each. Fails with rate_limited, and as every request. */
export async function followBell<T extends { id: string; created_at: string }>(
  c: Context<AppEnv>,
  { look, shown }: Told<T>,
): Promise<Response> {
  const ctx = c.get('ctx')
  const had = hadBy(c.req.header('Last-Event-ID'))
  // It waits before it looks: what is committed between the two rings.
  const bell = await waitingAt(c, ctx.bearer?.user_id ?? '')
  const first = await look(had.since).catch((error) => {
    bell.leave()
    throw error
  })
  // Nobody had what is to come: a stream that looked from there would show nothing.
  const state = { had: had.since !== null && had.since > first.now ? { since: null, ids: [] as string[] } : had, unread: -1 }
  /** When each was written that this stream has shown, and that may be found again. */
  const sent = new Map(had.ids.map((id) => [id, Number.POSITIVE_INFINITY]))

  function* news(data: T[]) {
    for (const one of data) {
      const id = one.id.slice(0, 8)
      if (sent.has(id)) continue
      sent.set(id, Date.parse(one.created_at))
      state.had = { since: later(earlier(one.created_at), state.had.since), ids: [...state.had.ids, id].slice(-MOST_NAMED) }
      yield written('notification', JSON.stringify(shown(one)), idOf(state.had))
    }
  }

  async function* told(seen: Awaited<ReturnType<typeof look>>) {
    state.had.since ??= seen.now
    yield* news(seen.data)
    // Of more than a page the rest is looked for behind its end: from where the stream looks there is that page again.
    for (let page = seen.data; page.length >= PAGE; ) {
      await limitPrincipal(c, ctx)
      page = (await look(page.at(-1)?.created_at ?? null)).data
      yield* news(page)
    }
    state.had.since = later(earlier(seen.now), state.had.since)
    for (const [id, at] of sent) if (at < Date.parse(state.had.since)) sent.delete(id)
    if (seen.unread !== state.unread) yield written('unread', JSON.stringify({ unread: seen.unread }), idOf(state.had))
    state.unread = seen.unread
  }

  async function* events() {
    const end = Date.now() + LONGEST_MS
    try {
      yield RETRY
      yield* told(first)
      let looked = Date.now()
      while (Date.now() < end && !bell.is_closed) {
        const quiet = await bell.rung(Math.min(COMMENT_MS, looked + ADMITTED_MS - Date.now()))
        if (bell.is_closed) return
        if (quiet) yield NOTHING_NEW
        if (quiet && Date.now() < looked + ADMITTED_MS) continue
        await scheduler.wait(quiet ? 0 : PAUSE_MS)
        if (isExpired(ctx)) throw new Problem('token_expired')
        await limitPrincipal(c, ctx)
        looked = Date.now()
        yield* told(await look(state.had.since))
      }
    } catch (error) {
      yield await writtenError(c, error)
    } finally {
      bell.leave()
    }
  }
  return streamed(c, events(), bell.leave)
}

/** Waits at the bell of a person. Without one, for nothing. Fails with rate_limited when too many wait there. */
async function waitingAt(c: Context<AppEnv>, user_id: string) {
  const bell = bellOf(c, user_id)
  const answer = await bell?.fetch('https://bell', { headers: { Upgrade: 'websocket' } })
  if (answer?.status === 429)
    throw new Problem('rate_limited', `You have ${MOST_STREAMS} streams open already: close one.`, {
      headers: { 'Retry-After': '60' },
    })
  const line = answer?.webSocket
  let has_rung = false
  let wake = () => {}
  const waiting = {
    is_closed: false,
    /** Waits until it rings, or so many milliseconds; true: it has not rung. */
    async rung(ms: number): Promise<boolean> {
      const timer = new AbortController()
      if (!has_rung && !waiting.is_closed)
        await Promise.race([
          new Promise<void>((done) => {
            wake = done
          }),
          scheduler.wait(Math.max(0, ms), { signal: timer.signal }).catch(() => undefined),
        ])
      timer.abort()
      const quiet = !has_rung
      has_rung = false
      return quiet
    },
    leave(): void {
      waiting.is_closed = true
      line?.close()
      wake()
    },
  }
  line?.accept()
  line?.addEventListener('message', () => {
    has_rung = true
    wake()
  })
  line?.addEventListener('close', () => {
    waiting.is_closed = true
    wake()
  })
  return waiting
}

/** What the reader had, as the id of an event says it: since when to look, and what is not to be sent again. */
const idOf = ({ since, ids }: Had) => [since, ...ids].join('_')

function hadBy(said: string | undefined): Had {
  const [since = '', ...ids] = said?.split('_') ?? []
  const is_moment = /^(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z$/.test(since) && isDay(since)
  return is_moment ? { since, ids: ids.filter((id) => /^[0-9a-f]{8}$/.test(id)).slice(-MOST_NAMED) } : { since: null, ids: [] }
}

/** February 30 is March 2 to JavaScript, and no day to Postgres. */
function isDay(said: string): boolean {
  const at = new Date(said)
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(said.slice(0, 10))
}

/** What the reader was not to be shown, because it was there before they came, they are not shown later. */
const later = (one: string, other: string | null) => (other !== null && other > one ? other : one)
const earlier = (at: string) => new Date(Date.parse(at) - OVERLAP_MS).toISOString()
