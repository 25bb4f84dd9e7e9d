import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool } from 'pg'
import { inBranch, type Kind, type Records } from './records.ts'

export interface Store {
  get<K extends Kind>(kind: K, key: string): Records[K] | undefined
  /** All records of a kind, the oldest first. */
  all<K extends Kind>(kind: K): Records[K][]
  /** Takes effect at once; `saved` says when it is on disk. */
  put<K extends Kind>(kind: K, ...records: Records[K][]): void
  drop<K extends Kind>(kind: K, ...records: Records[K][]): void
  saved(): Promise<void>
}

type Maps = { [K in Kind]: Map<string, Records[K]> }

const KEYS: { [K in Kind]: (record: Records[K]) => string } = {
  project: (project) => project.id,
  branch: (branch) => branch.id,
  endpoint: (endpoint) => endpoint.id,
  database: (database) => inBranch(database.branch_id, database.name),
  role: (role) => inBranch(role.branch_id, role.name),
  operation: (operation) => operation.id,
  rubbish: (rubbish) => rubbish.id,
  mark: (mark) => mark.id,
}

/**
 * Holds all records in memory, so that no other request comes between a check and the change that it allows, and writes them
 * through to the cluster's own database.
 */
export async function openStore(admin: Pool): Promise<Store> {
  await admin.query(
    `create table if not exists records (
      place bigint generated always as identity, kind text, key text, record jsonb not null, primary key (kind, key))`,
  )
  const maps = await load(admin)
  const dirty = new Map<string, { kind: Kind; key: string }>()
  let writing: Promise<void> = Promise.resolve()

  function touch(kind: Kind, key: string) {
    dirty.set(`${kind} ${key}`, { kind, key })
  }

  async function flush() {
    if (dirty.size === 0) return
    const changes = [...dirty.values()].map(({ kind, key }) => ({ kind, key, record: maps[kind].get(key) ?? null }))
    dirty.clear()
    await save(admin, JSON.stringify(changes)).catch((error) => {
      for (const { kind, key } of changes) touch(kind, key)
      throw error
    })
  }

  return {
    get: (kind, key) => maps[kind].get(key),
    all: (kind) => [...maps[kind].values()],
    put(kind, ...records) {
      for (const record of records) {
        const key = KEYS[kind](record)
        maps[kind].set(key, record)
        touch(kind, key)
      }
    },
    drop(kind, ...records) {
      for (const record of records) {
        const key = KEYS[kind](record)
        maps[kind].delete(key)
        touch(kind, key)
      }
    },
    saved() {
      writing = writing.then(flush, flush)
      return writing
    },
  }
}

/** Retries until Postgres is back after a crash: nothing continues before a promised change is saved. */
async function save(admin: Pool, changes: string) {
  for (const from = Date.now(); ; await sleep(PAUSE_MS)) {
    try {
      return await admin.query(SAVE, [changes])
    } catch (error) {
      const refused = (error as { severity?: string }).severity === 'ERROR'
      if (refused || Date.now() - from > RECOVERY_MS) throw error
    }
  }
}

const RECOVERY_MS = 30_000
const PAUSE_MS = 50

async function load(admin: Pool): Promise<Maps> {
  const maps: Maps = {
    project: new Map(),
    branch: new Map(),
    endpoint: new Map(),
    database: new Map(),
    role: new Map(),
    operation: new Map(),
    rubbish: new Map(),
    mark: new Map(),
  }
  const { rows } = await admin.query<{ kind: Kind; key: string; record: never }>(
    'select kind, key, record from records order by place',
  )
  for (const { kind, key, record } of rows) maps[kind].set(key, record)
  return maps
}

const SAVE = `
  with changes as (select * from jsonb_to_recordset($1::jsonb) as change (kind text, key text, record jsonb)),
  gone as (
    delete from records using changes
    where records.kind = changes.kind and records.key = changes.key and changes.record is null
  )
  insert into records (kind, key, record)
  select kind, key, record from changes where record is not null
  on conflict (kind, key) do update set record = excluded.record`
