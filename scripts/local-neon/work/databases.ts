import { escapeIdentifier } from 'pg'
import { inBranch, now } from '../state/records.ts'
import type { Context } from './context.ts'
import { realRole } from './lookup.ts'

const EXISTS = '42P04'

/** Makes an empty database, owned by a role of the branch. */
export async function createDatabase({ store, admin }: Context, branchId: string, name: string): Promise<void> {
  const database = store.get('database', inBranch(branchId, name))
  if (!database || database.live) return
  const owner = realRole(store, branchId, database.owner_name)
  await admin
    .run(`create database ${escapeIdentifier(database.real_name)} owner ${escapeIdentifier(owner)} strategy file_copy`)
    .catch((error: Error & { code?: string }) => {
      if (error.code !== EXISTS) throw error
    })
  store.put('database', { ...database, live: true, updated_at: now() })
}

/** Changes the owner of the database. A new name is only in its record: the name in the cluster stays. */
export async function changeDatabase({ store, admin }: Context, branchId: string, name: string): Promise<void> {
  const database = store.get('database', inBranch(branchId, name))
  if (!database) return
  const owner = realRole(store, branchId, database.owner_name)
  await admin.run(`alter database ${escapeIdentifier(database.real_name)} owner to ${escapeIdentifier(owner)}`)
  store.put('database', { ...database, live: true, updated_at: now() })
}

/** Drops a database and ends every connection to it. */
export async function dropDatabase({ store, admin, pool }: Context, branchId: string, name: string): Promise<void> {
  const database = store.get('database', inBranch(branchId, name))
  if (!database) return
  await pool.hold([database.real_name], () =>
    admin.run(`drop database if exists ${escapeIdentifier(database.real_name)} with (force)`),
  )
  store.drop('database', database)
}
