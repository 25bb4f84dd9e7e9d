import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Limits, usableConnections } from '../limits.ts'
import type { Connections } from '../work/connections.ts'
import { openSession, RESET, type Session } from './session.ts'

/** Role and database of a connection, in the cluster's names. */
export interface Login {
  endpoint: string
  /** The size of the endpoint's compute. */
  cu: number
  database: string
  user: string
  password: string
}

export interface Pool extends Connections {
  /** An exclusive connection. Fails with 53300 when the endpoint's compute has no room for another one. */
  acquire(login: Login): Promise<Session>
  /** Returns a connection. One that is not clean is closed. */
  release(session: Session, clean: boolean): void
  closeDatabase(database: string): Promise<void>
  stop(): Promise<void>
}

/**
 * The cluster allows 300 connections; some are needed by the local Neon itself or by a developer. All endpoints share them here, so a
 * request waits for one, which on Neon it would not.
 */
const IN_ALL = 240
const IDLE_MS = 5 * 60_000
/** The longest time for which a connection outlives a change of its password that went unnoticed. */
const LIFETIME_MS = 10 * 60_000
const PATIENCE_MS = 1_000

interface Kept {
  session: Session
  login: Login
  key: string
  born: number
  since: number
  state: 'busy' | 'resetting' | 'idle' | 'closing'
  /** Not to be used again once it is free. */
  doomed: boolean
}

/**
 * The connections of `/sql`, by the rules of Neon's proxy (`proxy/src/serverless/conn_pool_lib.rs` of neondatabase/neon). A connection is
 * used again by the same database, user and password, and reset before. An endpoint keeps `idlePerEndpoint` of them in all: while it
 * has as many, one that becomes free is closed, and none makes room for it. Whoever finds none opens another, as long as the compute
 * has room.
 */
export function openPool(port: number, limits: Limits): Pool {
  const all = new Map<Session, Kept>()
  const opening = new Map<Login, Promise<Session>>()
  const waiting: (() => boolean)[] = []
  const held = new Map<string, Promise<void>>()

  const sweep = setInterval(() => {
    const oldest = Date.now() - IDLE_MS
    for (const kept of all.values()) if (kept.state === 'idle' && kept.since < oldest) close(kept)
  }, IDLE_MS / 10).unref()

  function close(kept: Kept) {
    kept.state = 'closing'
    kept.session.end()
  }

  function forget(session: Session) {
    if (all.delete(session)) admit()
  }

  /** Serves the waiting requests that can be served now. */
  function admit() {
    for (let place = 0; place < waiting.length; ) {
      if (waiting[place]?.()) waiting.splice(place, 1)
      else place += 1
    }
  }

  function idleOne(key: string) {
    let best: Kept | undefined
    for (const kept of all.values()) {
      if (kept.state === 'idle' && kept.key === key && (best === undefined || kept.since > best.since)) best = kept
    }
    return best
  }

  /** Connections of an endpoint that are open or being opened. */
  const countOf = (endpoint: string) =>
    [...all.values()].filter((kept) => kept.login.endpoint === endpoint).length +
    [...opening.keys()].filter((other) => other.endpoint === endpoint).length

  /** True when the cluster has room for one more. Otherwise closes the connection that has been idle longest, to make room. */
  function hasRoom() {
    if (all.size + opening.size < IN_ALL) return true
    const idle = [...all.values()].filter((kept) => kept.state === 'idle')
    const oldest = idle.sort((one, other) => one.since - other.since)[0]
    if (oldest) close(oldest)
    return false
  }

  async function open(login: Login, key: string): Promise<Session> {
    const mine = { ...login }
    const coming = openSession({ ...login, port, onEnd: forget })
    opening.set(mine, coming)
    try {
      const session = await coming
      const at = Date.now()
      all.set(session, { session, login, key, born: at, since: at, state: 'busy', doomed: false })
      return session
    } finally {
      opening.delete(mine)
      admit()
    }
  }

  async function acquire(login: Login): Promise<Session> {
    const key = keyOf(login)
    return new Promise((done, fail) => {
      const attempt = () => {
        if (held.has(login.database)) return false
        const kept = idleOne(key)
        if (kept) {
          kept.state = 'busy'
          done(kept.session)
          return true
        }
        if (countOf(login.endpoint) >= usableConnections(limits, login.cu)) {
          fail(tooManyConnections())
          return true
        }
        if (!hasRoom()) return false
        open(login, key).then(done, fail)
        return true
      }
      if (!attempt()) waiting.push(attempt)
    })
  }

  function release(session: Session, clean: boolean) {
    const kept = all.get(session)
    if (kept?.state !== 'busy') return
    if (!clean || kept.doomed || Date.now() - kept.born > LIFETIME_MS) {
      close(kept)
      return
    }
    kept.state = 'resetting'
    session.run(RESET).then(
      () => rest(kept),
      () => close(kept),
    )
  }

  const isFull = (endpoint: string) =>
    [...all.values()].filter((kept) => kept.state === 'idle' && kept.login.endpoint === endpoint).length >= limits.idlePerEndpoint

  function rest(kept: Kept) {
    if (kept.doomed || isFull(kept.login.endpoint)) {
      close(kept)
      return
    }
    kept.state = 'idle'
    kept.since = Date.now()
    admit()
  }

  /** Closes idle connections; those in use are closed when they become free. */
  function doom(which: (login: Login) => boolean) {
    const chosen = [...all.values()].filter((kept) => which(kept.login))
    for (const kept of chosen) {
      kept.doomed = true
      if (kept.state === 'idle') close(kept)
    }
    return chosen
  }

  async function closeThose(which: (login: Login) => boolean) {
    const free = doom(which).filter((kept) => kept.state !== 'busy')
    await Promise.all(free.map((kept) => kept.session.closed))
  }

  /** Resolves when connections are closed; those in use get at most `patienceMs` to finish. */
  async function leave(chosen: Kept[], patienceMs: number) {
    const gone = (kept: Kept[]) => Promise.all(kept.map((one) => one.session.closed))
    const enough = new AbortController()
    const patience = sleep(patienceMs, undefined, { signal: enough.signal }).catch(() => undefined)
    const free = gone(chosen.filter((kept) => kept.state !== 'busy'))
    await Promise.race([gone(chosen), Promise.all([patience, free])])
    enough.abort()
  }

  return {
    acquire,
    release,
    async hold(databases, change, patienceMs = PATIENCE_MS) {
      while (databases.some((name) => held.has(name))) await Promise.all(databases.map((name) => held.get(name)))
      const isMeant = (login: Login) => databases.includes(login.database)
      const { promise: over, resolve: finish } = Promise.withResolvers<void>()
      for (const name of databases) held.set(name, over)
      try {
        // Connections that are still being opened count as well.
        await Promise.allSettled([...opening].flatMap(([login, coming]) => (isMeant(login) ? [coming] : [])))
        await leave(doom(isMeant), patienceMs)
        return await change()
      } finally {
        for (const name of databases) held.delete(name)
        finish()
        admit()
      }
    },
    closeDatabase: (database) => closeThose((login) => login.database === database),
    closeEndpoint: (endpoint) => closeThose((login) => login.endpoint === endpoint),
    closeUser: (user) => closeThose((login) => login.user === user),
    async stop() {
      clearInterval(sweep)
      for (const kept of all.values()) close(kept)
      await Promise.all([...all.keys()].map((session) => session.closed))
    },
  }
}

/** Postgres' own refusal. */
const tooManyConnections = () =>
  Object.assign(new Error('remaining connection slots are reserved for roles with the SUPERUSER attribute'), {
    code: '53300',
    severity: 'FATAL',
    file: 'postinit.c',
    routine: 'InitPostgres',
  })

const keyOf = ({ endpoint, database, user, password }: Login) =>
  [endpoint, database, user, createHash('sha256').update(password).digest('base64')].join('\0')
