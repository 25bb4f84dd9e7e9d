/**
 * Isolation `database`: a database in a shared branch. Threat: tenants share a cluster, so every login could knock at every
 * database. CONNECT is taken from PUBLIC and given to the tenant's own two logins only; they are made by SQL, because roles made
 * through Neon's API read every database of their branch.
 */
import { sql } from 'drizzle-orm'
import { batch } from '../kernel/db.ts'
import { takePlace } from './homes.ts'
import type { Isolation, Job } from './isolation.ts'
import { createDatabase } from './neon.ts'

export const sharedDatabase: Isolation = {
  place: ({ config, neon, tenant }) => takePlace(config, neon, tenant.id),

  create: (job) => createDatabase(job.neon, homeOf(job), job.tenant.database_name),

  urls(job, passwords) {
    const { id, database_name } = job.tenant
    const short = id.replaceAll('-', '').slice(0, 12)
    const as = (username: string, password: string) =>
      Object.assign(new URL(homeOf(job).owner_url), { username, password, pathname: `/${database_name}` }).href
    return { app_url: as(`freehold_app_${short}_a`, passwords.app), owner_url: as(`freehold_owner_${short}`, passwords.owner) }
  },

  async logins(job, { app_url, owner_url }) {
    const app = new URL(app_url)
    const owner = new URL(owner_url)
    const database = sql.identifier(job.tenant.database_name)
    await batch(homeOf(job).owner_url, [
      login(app),
      login(owner),
      sql`grant freehold_app to ${sql.identifier(app.username)}`,
      sql`grant freehold_owner to ${sql.identifier(owner.username)} with inherit true, set true`,
      sql`revoke connect, temporary on database ${database} from public`,
      sql`grant connect on database ${database} to ${sql.identifier(app.username)}, ${sql.identifier(owner.username)}`,
      sql`grant create on database ${database} to freehold_owner`,
    ])
  },
}

function homeOf({ tenant }: Job) {
  if (!tenant.home) throw new Error('The tenant has no home yet.')
  return tenant.home
}

/** Creates a login or gives it its password. Both are ours and hold nothing to escape; checked all the same. */
function login({ username, password }: URL) {
  if (!/^[a-z0-9_]{1,63}$/.test(username) || !/^[A-Za-z0-9_-]{20,}$/.test(password))
    throw new Error('Not a name or password of ours.')
  const options = `${username} login password '${password}'`
  return sql.raw(`do $$ begin create role ${options}; exception when duplicate_object then alter role ${options}; end $$`)
}
