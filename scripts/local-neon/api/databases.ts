import { newDatabaseId, realName } from '../state/names.ts'
import { type Branch, type Database, type Effect, inBranch, now } from '../state/records.ts'
import { databasesOf, endpointsOf } from '../work/lookup.ts'
import * as body from './body.ts'
import { ApiError } from './error.ts'
import { findBranch, findDatabase, findRole } from './find.ts'
import type { Call, Routes } from './router.ts'
import { takenNames } from './taken.ts'
import { showDatabase, showOperation } from './views.ts'

export const databaseRoutes: Routes = {
  'POST /projects/:project/branches/:branch/databases': createDatabase,
  'GET /projects/:project/branches/:branch/databases': (call) => {
    const databases = databasesOf(call.store, findBranch(call).id).filter((one) => !one.deleting)
    return [200, { databases: databases.map(showDatabase) }]
  },
  'GET /projects/:project/branches/:branch/databases/:database': (call) => {
    return [200, { database: showDatabase(findDatabase(call, findBranch(call), call.params.database ?? '')) }]
  },
  'PATCH /projects/:project/branches/:branch/databases/:database': updateDatabase,
  'DELETE /projects/:project/branches/:branch/databases/:database': deleteDatabase,
}

async function createDatabase(call: Call): Promise<[number, unknown]> {
  const { store, work, limits } = call
  const wanted = body.object(call.body, 'database')
  const name = body.databaseName(body.string(wanted, 'name', 63))
  const ownerName = body.string(wanted, 'owner_name', 63)
  const taken = await takenNames(call)

  const branch = findBranch(call)
  work.assertFree(branch.project_id)
  if (store.get('database', inBranch(branch.id, name))) throw duplicate(name)
  findRole(call, branch, ownerName)
  if (databasesOf(store, branch.id).length >= limits.databasesPerBranch) {
    throw new ApiError(
      422,
      `databases limit exceeded: at most ${limits.databasesPerBranch} databases per branch`,
      'DATABASES_LIMIT_EXCEEDED',
    )
  }
  const database: Database = {
    id: newDatabaseId(),
    branch_id: branch.id,
    name,
    owner_name: ownerName,
    real_name: realName(name, branch.id, taken.databases()),
    live: false,
    deleting: false,
    created_at: now(),
    updated_at: now(),
  }
  store.put('database', database)
  return [201, await change(call, branch, database, { do: 'create_database', branch_id: branch.id, name })]
}

const duplicate = (name: string) => new ApiError(409, `database already exists; database_name:"${name}"`)

async function updateDatabase(call: Call): Promise<[number, unknown]> {
  const { store, work, params } = call
  const wanted = body.object(call.body, 'database')
  const newName = body.optionalString(wanted, 'name', 63)
  const newOwner = body.optionalString(wanted, 'owner_name', 63)
  const branch = findBranch(call)
  work.assertFree(branch.project_id)
  const before = findDatabase(call, branch, params.database ?? '')
  const name = newName === undefined ? before.name : body.databaseName(newName)
  if (name !== before.name && store.get('database', inBranch(branch.id, name))) throw duplicate(name)
  if (newOwner !== undefined) findRole(call, branch, newOwner)
  const database = { ...before, name, owner_name: newOwner ?? before.owner_name, live: name === before.name, updated_at: now() }
  store.drop('database', before)
  store.put('database', database)
  return [200, await change(call, branch, database, { do: 'change_database', branch_id: branch.id, name, from: before.name })]
}

async function deleteDatabase(call: Call): Promise<[number, unknown?]> {
  const { store, work, params } = call
  const branch = findBranch(call)
  work.assertFree(branch.project_id)
  const found = store.get('database', inBranch(branch.id, params.database ?? ''))
  if (!found) return [204]
  const database = { ...found, deleting: true, live: false, updated_at: now() }
  store.put('database', database)
  return [200, await change(call, branch, database, { do: 'drop_database', branch_id: branch.id, name: database.name })]
}

async function change({ store, work }: Call, branch: Branch, database: Database, effect: Effect) {
  const endpoint = endpointsOf(store, branch.id).find((one) => one.type === 'read_write')
  const { operations, accepted } = work.start(branch.project_id, [
    { action: 'apply_config', branch_id: branch.id, ...(endpoint ? { endpoint_id: endpoint.id } : {}), effects: [effect] },
  ])
  await accepted
  return { database: showDatabase(database), operations: operations.map(showOperation) }
}
