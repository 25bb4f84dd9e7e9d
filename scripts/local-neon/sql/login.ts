import { timingSafeEqual } from 'node:crypto'
import { inBranch } from '../state/records.ts'
import type { Store } from '../state/store.ts'
import type { Target } from './connection-string.ts'
import type { Login } from './pool.ts'
import { ConnectFailure, isPostgresError, Refusal } from './refusal.ts'

const COMMON = ['postgres', 'template0', 'template1']
const OURS = ['cloud_admin', 'neon_superuser']

/**
 * The cluster's role and database of a connection string. An unknown endpoint is answered like a wrong password, so that its
 * existence is not revealed.
 */
export function findLogin(store: Store, { endpoint: id, database: name, user, password }: Target): Login & { branch: string } {
  const endpoint = store.get('endpoint', id)
  if (!endpoint || endpoint.deleting || endpoint.current_state === 'init') throw wrongPassword(user)
  const branch = endpoint.branch_id
  const role = store.get('role', inBranch(branch, user))
  if (role?.made_by === 'api') {
    if (role.deleting || role.no_login || !same(role.live_password, password)) throw wrongPassword(user)
  } else if (role === undefined && (OURS.includes(user) || isForeign(store, user))) throw wrongPassword(user)
  if (endpoint.disabled) throw new Refusal('Control plane request failed: endpoint is disabled')
  const database = store.get('database', inBranch(branch, name))
  const real = database?.live ? database.real_name : COMMON.includes(name) ? name : undefined
  if (real === undefined) throw noDatabase(name)
  return { endpoint: id, cu: endpoint.autoscaling_limit_min_cu, branch, database: real, user: role?.real_name ?? user, password }
}

const wrongPassword = (user: string) => new Refusal(`password authentication failed for user '${user}'`)

function same(known: string | undefined, given: string) {
  const [one, other] = [Buffer.from(known ?? ''), Buffer.from(given)]
  return known !== undefined && one.length === other.length && timingSafeEqual(one, other)
}

/** A role that the API created in another branch; on this one the name does not exist. */
function isForeign(store: Store, user: string) {
  return store.all('role').some((role) => role.made_by === 'api' && role.real_name === user)
}

function noDatabase(name: string) {
  return Object.assign(new Error(`database "${name}" does not exist`), {
    code: '3D000',
    severity: 'FATAL',
    file: 'postinit.c',
    routine: 'InitPostgres',
  })
}

/** The failure of a connection as the caller sees it, in the caller's names. */
export function connectFailure(error: unknown, { user, database }: Target, login: Login): Error {
  if (!isPostgresError(error)) return new Refusal("Couldn't connect to compute node", 500)
  if (error.code === '28P01') return wrongPassword(user)
  if (error.code === '3D000') return noDatabase(database)
  error.message = error.message.replace(`"${login.database}"`, `"${database}"`).replace(`"${login.user}"`, `"${user}"`)
  return new ConnectFailure(error)
}
