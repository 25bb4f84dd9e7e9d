import { createHash } from 'node:crypto'
import { openSession, RESET, type Session } from './session.ts'

/** Who connects to what, in the cluster's names. */
export interface Login {
  endpoint: string
  database: string
  user: string
  password: string
}

export interface Pool {
  /** A connection that nobody else uses; waits for one when the limits are reached. */
  acquire(login: Login): Promise<Session>
  /** Takes a connection back. One that is not clean is closed. */
  release(session: Session, clean: boolean): void
  /** Nobody is connected to these databases through the pool, or gets to be, while `change` runs. */
  hold<T>(databases: string[], change: () => Promise<T>): Promise<T>
  closeEndpoint(endpoint: string): Promise<void>
  /** Ends the connections of a role whose password or existence ended. */
  closeUser(user: string): Promise<void>
  stop(): Promise<void>
}

const PER_LOGIN = 20
/** The cluster allows 300, some of which are ours or a developer's. */
const IN_ALL = 240
const IDLE_MS = 5 * 60_000
/** A password that was changed behind our back opens nothing for longer than this. */
const LIFETIME_MS = 10 * 60_000

interface Kept {
  session: Session
  login: Login
  key: string
  born: number
  since: number
  state: 'busy' | 'resetting' | 'idle' | 'closing'
}

/** The connections of `/sql`: kept per endpoint, database, user and password, and reset between requests. */
export function openPool(port: number): Pool {
  const all = new Map<Session, Kept>()
  const opening = new Map<Login, true>()
  const waiting: (() => boolean)[] = []
  const held = new Map<string, Promise<unknown>>()

  const sweep = setInterval(() => {
    const oldest = Date.now() - IDLE_MS
    for (const kept of all.values()) if (kept.state === 'idle' && kept.since < oldest) void close(kept)
  }, IDLE_MS / 10).unref()

  function close(kept: Kept): Promise<void> {
    kept.state = 'closing'
    return kept.session.end()
  }

  function forget(session: Session) {
    if (!all.delete(session)) return
    admit()
  }

  /** Lets those go on that now can. */
  function admit() {
    for (let place = 0; place < waiting.length; ) {
      if (waiting[place]?.()) waiting.splice(place, 1)
      else place += 1
    }
  }

  function idleOne(key: string) {
    let best: Kept | undefined
    for (const kept of all.values())
      if (kept.state === 'idle' && kept.key === key && (!best || kept.since > best.since)) best = kept
    return best
  }

  /** Makes room by closing the connection that has been idle for the longest. True when there is room now. */
  function roomFor(login: Login) {
    const mine = [...all.values()].filter((kept) => sameUser(kept.login, login))
    const opened = [...opening.keys()]
    const full = all.size + opened.length >= IN_ALL
    if (!full && mine.length + opened.filter((other) => sameUser(other, login)).length < PER_LOGIN) return true
    const idle = (full ? [...all.values()] : mine)
      .filter((kept) => kept.state === 'idle')
      .sort((one, other) => one.since - other.since)[0]
    if (idle) void close(idle)
    return false
  }

  async function open(login: Login, key: string): Promise<Session> {
    opening.set(login, true)
    try {
      const session = await openSession({ ...login, port, onEnd: forget })
      const at = Date.now()
      if (!session.ended()) all.set(session, { session, login, key, born: at, since: at, state: 'busy' })
      return session
    } finally {
      opening.delete(login)
      admit()
    }
  }

  async function acquire(login: Login): Promise<Session> {
    for (let held_ = held.get(login.database); held_; held_ = held.get(login.database)) await held_
    const key = keyOf(login)
    return new Promise((done, fail) => {
      const attempt = () => {
        const kept = idleOne(key)
        if (kept) {
          kept.state = 'busy'
          done(kept.session)
          return true
        }
        if (!roomFor(login)) return false
        open({ ...login }, key).then(done, fail)
        return true
      }
      if (!attempt()) waiting.push(attempt)
    })
  }

  function release(session: Session, clean: boolean) {
    const kept = all.get(session)
    if (kept?.state !== 'busy') return
    const old = Date.now() - kept.born > LIFETIME_MS
    if (!clean || old || held.has(kept.login.database) || session.ended()) {
      void close(kept)
      return
    }
    kept.state = 'resetting'
    session.run(RESET).then(
      () => {
        if (kept.state !== 'resetting') return
        kept.state = 'idle'
        kept.since = Date.now()
        admit()
      },
      () => void close(kept),
    )
  }

  /** Ends those that nobody is using, and those that are still in use as soon as they come back. */
  async function closeThose(which: (login: Login) => boolean) {
    const closing: Promise<void>[] = []
    for (const kept of all.values()) {
      if (!which(kept.login)) continue
      if (kept.state === 'busy') kept.born = 0
      else closing.push(close(kept))
    }
    await Promise.all(closing)
  }

  return {
    acquire,
    release,
    async hold(databases, change) {
      for (let earlier = find(held, databases); earlier; earlier = find(held, databases)) await earlier
      const work = closeThose((login) => databases.includes(login.database)).then(change)
      const over = work.then(
        () => undefined,
        () => undefined,
      )
      for (const name of databases) held.set(name, over)
      try {
        return await work
      } finally {
        for (const name of databases) held.delete(name)
      }
    },
    closeEndpoint: (endpoint) => closeThose((login) => login.endpoint === endpoint),
    closeUser: (user) => closeThose((login) => login.user === user),
    async stop() {
      clearInterval(sweep)
      await Promise.all([...all.values()].map(close))
    },
  }
}

const sameUser = (one: Login, other: Login) => one.endpoint === other.endpoint && one.user === other.user

function find(held: Map<string, Promise<unknown>>, databases: string[]) {
  for (const name of databases) if (held.has(name)) return held.get(name)
  return undefined
}

const keyOf = ({ endpoint, database, user, password }: Login) =>
  [endpoint, database, user, createHash('sha256').update(password).digest('base64')].join('\0')
