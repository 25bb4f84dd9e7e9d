import { setTimeout as sleep } from 'node:timers/promises'
import { escapeIdentifier } from 'pg'
import type { Admin } from '../cluster/admin.ts'
import type { Context } from './context.ts'

// Postgres copies a database only while nobody is connected to it; Neon creates a branch whoever is connected to its parent. So
// the original is closed during the copy: new requests to `/sql` wait, running ones may finish.

/** How long a statement that runs in the original may take. */
const PATIENCE_MS = 10_000
const TRIES = 5
const IN_USE = '55006'
const ABSENT = '3D000'
const PAUSE_MS = 20
/** Postgres may have crashed, and take its time to recover. */
const REOPEN_MS = 30_000

/** Creates the database `to` as a copy of `from`. Copies of one database wait for each other. */
export async function copyOf({ admin, pool }: Context, from: string, to: string): Promise<void> {
  const copy = `create database ${escapeIdentifier(to)} template ${escapeIdentifier(from)} strategy file_copy`
  await pool.hold(
    [from],
    () => whileClosed(admin, from, () => untilNobodyIsThere(admin, from, () => admin.run(copy))),
    PATIENCE_MS,
  )
}

/** Opens the databases that an interrupted copy left closed. */
export async function reopenOriginals({ admin, store }: Context): Promise<void> {
  const databases = store.all('database')
  const copied = databases.flatMap((one) =>
    one.copy_of === undefined || one.live ? [] : [one.copy_of, one.content_of ?? one.copy_of],
  )
  const marked = new Set(store.all('mark').map((mark) => mark.branch_id))
  const originals = [...copied, ...databases.filter((one) => marked.has(one.branch_id)).map((one) => one.real_name)]
  const { rows } = await admin.pool.query<{ name: string }>(CLOSED, [originals])
  for (const { name } of rows) await allowConnections(admin, name, true)
}

const CLOSED = 'select datname as name from pg_database where not datallowconn and datname = any ($1)'

const allowConnections = (admin: Admin, name: string, allowed: boolean) =>
  admin.run(`alter database ${escapeIdentifier(name)} allow_connections ${allowed}`)

/** Closes a database to direct connections; the pool holds back `/sql`. */
async function whileClosed(admin: Admin, name: string, change: () => Promise<void>) {
  try {
    await allowConnections(admin, name, false)
    await change()
  } finally {
    await reopen(admin, name)
  }
}

async function reopen(admin: Admin, name: string) {
  for (const from = Date.now(); ; await sleep(PAUSE_MS)) {
    try {
      await allowConnections(admin, name, true)
      return
    } catch (error) {
      if ((error as { code?: string }).code === ABSENT) return
      if (Date.now() - from > REOPEN_MS) throw error
    }
  }
}

/** The pool's connections are closed by now; there may be direct ones. */
async function untilNobodyIsThere(admin: Admin, name: string, change: () => Promise<void>) {
  for (let left = TRIES; ; left -= 1) {
    await emptied(admin, name)
    try {
      await change()
      return
    } catch (error) {
      if ((error as { code?: string }).code !== IN_USE || left === 1) throw error
    }
  }
}

/** Ends connections as they become idle, and all others after PATIENCE_MS. */
async function emptied(admin: Admin, name: string) {
  for (const from = Date.now(); ; await sleep(PAUSE_MS)) {
    const { rows } = await admin.pool.query<{ there: number }>(THERE, [name])
    if (rows[0]?.there === 0) return
    await admin.pool.query(END, [name, Date.now() - from > PATIENCE_MS])
  }
}

const THERE = `select count(*)::int as there from pg_stat_activity where datname = $1 and backend_type = 'client backend'`

const END = `
  select pg_terminate_backend(pid) from pg_stat_activity
  where datname = $1 and backend_type = 'client backend' and (state = 'idle' or $2)`
