import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { FIRST_ACCOUNT, placesFrom } from './accounts.ts'
import type { HostKind } from './host-names.ts'
import { isLimit, isMade, type NeonApi, neonApi, neonWords, underWay, waitFor } from './neon.ts'
import { sealOwnerUrl } from './owner-url.ts'
import { deleteProject, deleteProjects } from './projects.ts'
import { type Cluster, GROUPS, makeRoles } from './roles.ts'

/** A host whose lease the caller holds. */
export type Claimed = {
  id: string
  name: string
  kind: HostKind
  region: string
  account: string
  organization: string | null
  /** Until when. Whoever claims it next has a later one. */
  lease: string
}

/** The columns of it. */
export const CLAIMED = sql.raw('id, name, kind, region, account, organization, lease_until::text as lease')

/** What a project takes at most to be asked for: 40 s until it is its turn (in-turn.ts), 20 s for the answer. */
const CREATION = sql`interval '90 seconds'`

/** True of the row of a host that is being opened and that nobody claimed after this caller. */
const isMine = ({ id, lease }: Claimed) => sql`id = ${id} and state = 'opening' and lease_until <= ${lease}::timestamptz`

const newest = (column: string) =>
  sql`(select n.${sql.raw(column)} from platform.hosts n where n.kind <> 'external' order by n.created_at desc, n.id limit 1)`

/** Where a new host is to be: with the newest one, because there was room a while ago. */
export const NEWEST = { account: sql`coalesce(${newest('account')}, ${FIRST_ACCOUNT})`, organization: newest('organization') }

/** No host has room, and Neon refuses to create another (a limit of the plan). Retrying soon does not help. */
export class NoCapacity extends Error {}

/**
 * Opens a host: where its row says, or in the next account while Neon says that one has no room for projects. After a failure its lease ends
 * at once, or in five minutes when all refused.
 */
export async function open(config: Config, claimed: Claimed): Promise<void> {
  const places = placesFrom(config, claimed)
  for (const [i, place] of places.entries()) {
    const host = { ...claimed, ...place }
    const neon = neonApi(config, { at: host })
    try {
      const stays = place.account === claimed.account && place.organization === claimed.organization
      if (!stays && !(await placedAt(config, host))) return
      return await openClaimed(config, neon, host)
    } catch (error) {
      // The next account is tried with the lease of this one.
      claimed.lease = host.lease
      const refused = isLimit(error) ? neonWords(error) : null
      log('a host was not opened', { host: host.name, account: host.account, error: neonWords(error) })
      if (refused && i + 1 < places.length) continue
      const [opening] = await batch(config.MASTER_DATABASE_URL, [
        sql`update platform.hosts set refused = ${refused}, lease_until = case when ${refused}::text is null then now() else now() + interval '5 minutes' end
            where ${isMine(host)} returning id`,
      ])
      if (!opening?.length) await leaveNothing(config, neon, host)
      throw refused ? new NoCapacity(refused) : error
    }
  }
}

/** Writes where a host is being opened before Neon is asked there; false: its tenant was erased, or somebody else opens it. */
async function placedAt(config: Config, host: Claimed): Promise<boolean> {
  const { account, organization } = host
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.hosts set account = ${account}, organization = ${organization}, lease_until = now() + interval '1 minute'
        where ${isMine(host)} returning lease_until::text as lease`,
  ])
  if (rows?.[0]) host.lease = String(rows[0].lease)
  return rows?.length === 1
}

/**
 * Makes the lease last until Neon has answered that it makes the project: waiting for a turn may have used it up. Fails when somebody else
 * has claimed the host since: two would make a project each, of one name.
 */
async function holdOn(config: Config, host: Claimed): Promise<void> {
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.hosts set lease_until = now() + ${CREATION} where ${isMine(host)} returning lease_until::text as lease`,
  ])
  if (!rows?.[0]) throw new Error(`Somebody else is opening the host ${host.name}.`)
  host.lease = String(rows[0].lease)
}

async function openClaimed(config: Config, neon: NeonApi, host: Claimed): Promise<void> {
  const { project_id, branch_id, owner_role, database } = await projectFor(config, neon, host)
  const owner_url = await neon.postgres.connectionString({
    projectId: project_id,
    branchId: branch_id,
    databaseName: database,
    roleName: owner_role,
    pooled: false,
  })
  await prepareHost({ neon, project_id, branch_id, url: owner_url }, database)
  const owner_url_encrypted = await sealOwnerUrl(config, host.id, owner_url)
  const [opened] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.hosts set state = 'open', project_id = ${project_id}, branch_id = ${branch_id}, owner_role = ${owner_role}, owner_url_encrypted = ${owner_url_encrypted}, refused = null
        where id = ${host.id} and state = 'opening' returning id`,
  ])
  if (!opened?.length) await leaveNothing(config, neon, host)
}

/** Deletes the project of a host whose tenant was erased while the project was made: the erasure did not see it yet. */
async function leaveNothing(config: Config, neon: NeonApi, { id, name, kind }: Claimed): Promise<void> {
  if (kind !== 'project') return
  const [rows] = await batch(config.MASTER_DATABASE_URL, [sql`select from platform.hosts where id = ${id}`])
  if (!rows?.length) await deleteProjects(neon, name)
}

/** What Neon is asked for: many share a host, and a project of one tenant has limits of its own. */
function wanted(config: Config, { name, kind, region: region_id }: Claimed) {
  const own = kind === 'project'
  const { NEON_PG_VERSION: pg_version, PROJECT_RESTORE_HOURS, PROJECT_QUOTA_HOURS } = config
  const cu = own ? config.PROJECT_COMPUTE_CU : config.HOST_COMPUTE_CU
  const default_endpoint_settings = { autoscaling_limit_min_cu: cu, autoscaling_limit_max_cu: cu }
  const base = { name, region_id, pg_version, default_endpoint_settings }
  if (!own) return base
  const quota = PROJECT_QUOTA_HOURS && { settings: { quota: { compute_time_seconds: PROJECT_QUOTA_HOURS * 3600 * cu } } }
  return { ...base, history_retention_seconds: PROJECT_RESTORE_HOURS * 3600, ...quota }
}

/** The project of a host. One that Neon has under its name is adopted: the answer to an earlier attempt may have been lost. */
async function projectFor(config: Config, neon: NeonApi, host: Claimed) {
  const known = (await neon.projects.list({ search: host.name }).all()).find((project) => project.name === host.name)
  const found = known && (await adopted(neon, known))
  if (!found) await holdOn(config, host)
  const project = found ?? (await neon.projects.create(wanted(config, host), { waitForReadiness: true }))
  const branch = await neon.branches.getDefault({ projectId: project.id })
  const [database] = await neon.postgres.databases.list({ projectId: project.id, branchId: branch.id })
  if (!database) throw new Error(`The project ${host.name} has no database of its own.`)
  return { project_id: project.id, branch_id: branch.id, owner_role: database.owner_name, database: database.name }
}

/**
 * An existing project, once its operations have ended. Undefined when its creation had failed: it holds nothing and is deleted.
 */
async function adopted<T extends { id: string }>(neon: NeonApi, project: T): Promise<T | undefined> {
  await waitFor(neon, await underWay(neon, project.id)).catch(() => undefined)
  if (await isMade(neon, await neon.branches.getDefault({ projectId: project.id }))) return project
  await deleteProject(neon, project.id)
  return undefined
}

/** Creates the roles that own and use every tenant's schema, and closes the host's own database to other logins. */
async function prepareHost(at: Cluster, database: string): Promise<void> {
  await makeRoles(at, GROUPS)
  await batch(at.url, [
    sql`grant freehold_owner to current_user with inherit true, set true`,
    sql`grant create on database ${sql.identifier(database)} to freehold_owner`,
    sql`revoke connect, temporary on database ${sql.identifier(database)} from public`,
  ])
}
