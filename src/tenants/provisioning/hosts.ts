import { sql } from 'drizzle-orm'
import { type Config, MOST_TENANTS } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { type Host, type MasterRow, openHost } from './job.ts'
import { isLimit, isMade, type NeonApi, neonWords, underWay, waitFor } from './neon.ts'
import { sealOwnerUrl } from './owner-url.ts'
import { deleteProject, deleteProjects } from './projects.ts'
import { type Cluster, GROUPS, makeRoles } from './roles.ts'

export const WAIT_MS = 20_000
export const PAUSE_MS = 250
const NAMES: Record<HostKind, string> = { database: 'freehold-host-', branch: 'freehold-branches-', project: 'freehold-tenant-' }

export type HostKind = 'database' | 'branch' | 'project'

/** What places a tenant: its job. */
export type Placed = { config: Config; neon: NeonApi; tenant: { id: string }; trace_id: string; move_id?: string }

/**
 * The row that has the place: the tenant's, or that of the move which takes the tenant elsewhere. `is_free`: it may take one, `p`;
 * `host`: the column of its host; `region`: where it wants to be.
 */
export const placeOf = ({ tenant, move_id }: Placed) =>
  move_id === undefined
    ? {
        row: sql`platform.tenants p`,
        host: sql.raw('host_id'),
        is_it: sql`p.id = ${tenant.id}`,
        is_free: sql`p.host_id is null`,
      }
    : {
        row: sql`platform.tenant_moves p`,
        host: sql.raw('other_host_id'),
        is_it: sql`p.id = ${move_id} and p.state = 'running'`,
        is_free: sql`p.other_host_id is null and p.exchanged_at is null`,
      }

/** The name of the host that is for this tenant alone. */
export const ownHostName = (tenant_id: string) => `${NAMES.project}${tenant_id}`

/** How many places of a host count: hosts that were opened when more were believed possible have the bound of today, too. */
const capacityOf = (kind: string, host: string) =>
  sql.raw(kind === 'database' ? `least(${host}.capacity, ${MOST_TENANTS})` : `${host}.capacity`)

/** Whether a database of the tenant's name is being deleted on a host. The deletion locks the host's row, as placing does. */
const isRemoving = (host: string, tenant_id: string) => {
  const [removing, until] = ['removing', 'removing_until'].map((column) => sql.raw(`${host}.${column}`))
  return sql`coalesce(${until} > now() and ${removing} = (select n.database_name from platform.tenants n where n.id = ${tenant_id}), false)`
}

/** How many tenants of a host are awake. Who was placed within the hour counts as awake. */
export const awakeOn = (host: string) =>
  sql`(select count(*) from platform.tenants o left join platform.maintenance m on m.realm_id = o.id
    where o.host_id = ${sql.raw(host)}.id and (m.active_until > now() or o.created_at > now() - interval '1 hour'))`

/**
 * How many more tenants a host takes. Of a shared one also as many fewer as are awake there: Neon keeps 20 free connections for all of
 * them together, and opens one for each other request. Who was placed within the hour counts as awake.
 */
export const placesOf = ({ HOST_AWAKE }: Config, kind: string, host: string) => {
  const free = sql`${capacityOf(kind, host)} - ${sql.raw(host)}.taken`
  if (kind !== 'database') return sql`(${free})`
  return sql`least(${free}, ${HOST_AWAKE} - ${awakeOn(host)})`
}

/**
 * Places a tenant on a host of a kind, and opens a host when none has room. One statement takes the place, so that concurrent
 * callers never share the last one; a host that is being opened is waited for, up to 20 s. A tenant that has a place keeps it.
 * Returns the host. Fails with NoCapacity.
 */
export async function reservePlace(job: Placed, kind: HostKind): Promise<Host> {
  const { config, neon, tenant, trace_id } = job
  const { row, host, is_it, is_free } = placeOf(job)
  for (let waited = 0; waited < WAIT_MS; waited += PAUSE_MS) {
    const statements = [
      sql`with room as (
            update platform.hosts h set taken = h.taken + 1
            where h.id = (select x.id from platform.hosts x where x.kind = ${kind} and x.state = 'open' and ${placesOf(config, kind, 'x')} > 0 and not ${isRemoving('x', tenant.id)} order by x.created_at limit 1 for update)
              and h.taken < ${capacityOf(kind, 'h')} and not ${isRemoving('h', tenant.id)} and exists (select from ${row} where ${is_it} and ${is_free})
            returning h.id)
          update ${row} set ${host} = room.id from room where ${is_it}`,
      sql`select to_jsonb(h) as host from platform.hosts h join ${row} on p.${host} = h.id where ${is_it}`,
    ]
    const [, placed] = await batch(config.MASTER_DATABASE_URL, statements, trace_id)
    if (placed?.[0]) return openHost(config, placed[0].host as MasterRow)
    if (!(await openNext(config, neon, kind))) await scheduler.wait(PAUSE_MS)
  }
  throw new Error('No host has room and none could be opened in time.')
}

/**
 * Takes the place of a tenant on a host back, and closes the host at what it holds: Neon let it have no further roles. It has room
 * again when a tenant is erased there.
 */
export async function closeHost(job: Placed, host_id: string): Promise<void> {
  const { config } = job
  const { row, host, is_it } = placeOf(job)
  log('a host has no room for roles', { host: host_id })
  await batch(config.MASTER_DATABASE_URL, [
    sql`with left_host as (update ${row} set ${host} = null where ${is_it} and p.${host} = ${host_id} returning p.id)
        update platform.hosts set taken = taken - 1, capacity = taken - 1 where id = ${host_id} and exists (select from left_host)`,
  ])
}

/** No host has room, and Neon refuses to create another (a limit of the plan). Retrying soon does not help. */
export class NoCapacity extends Error {}

/** Opens the next host before the last one is full: when at most a tenth of a kind's places is free, or at most one place. */
export async function keepSpare(config: Config, neon: NeonApi, kind: HostKind): Promise<void> {
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select coalesce(sum(greatest(0, ${placesOf(config, kind, 'h')})), 0)::integer <= greatest(1, least(max(capacity), ${kind === 'database' ? config.HOST_AWAKE : null}::integer) / 10) as scarce from platform.hosts h where kind = ${kind} and state = 'open'`,
  ])
  if (rows?.[0]?.scarce) await openNext(config, neon, kind, true)
}

/**
 * Opens the next host. False: none is needed, or another run holds the lease on it. A project that Neon already has under its
 * name is adopted.
 */
async function openNext(config: Config, neon: NeonApi, kind: HostKind, spare = false): Promise<boolean> {
  const capacity = kind === 'branch' ? config.HOST_BRANCHES : config.HOST_CAPACITY
  const [, claimed] = await batch(config.MASTER_DATABASE_URL, [
    sql`insert into platform.hosts (id, name, kind, state, region, capacity, lease_until)
        select gen_random_uuid(), ${NAMES[kind]} || (count(*) + 1), ${kind}, 'opening', ${config.NEON_REGION}, ${capacity}, now()
        from platform.hosts h where kind = ${kind} having ${spare} or not bool_or(state = 'open' and ${placesOf(config, kind, 'h')} > 0) or count(*) = 0
        on conflict do nothing`,
    sql`update platform.hosts set lease_until = now() + interval '1 minute' where kind = ${kind} and state = 'opening' and lease_until <= now()
        returning id, name, region`,
  ])
  const host = claimed?.[0] as Claimed | undefined
  if (host) await open(config, neon, host)
  return host !== undefined
}

/** A host whose lease the caller holds. */
export type Claimed = { id: string; name: string; region: string }

/** Opens a host. After a failure its lease ends at once, or in five minutes when Neon refuses. */
export async function open(config: Config, neon: NeonApi, host: Claimed): Promise<void> {
  try {
    await openClaimed(config, neon, host)
  } catch (error) {
    const refused = isLimit(error) ? neonWords(error) : null
    const [opening] = await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.hosts set refused = ${refused}, lease_until = case when ${refused}::text is null then now() else now() + interval '5 minutes' end
          where id = ${host.id} and state = 'opening' returning id`,
    ])
    if (!opening?.length) await leaveNothing(config, neon, host)
    throw refused ? new NoCapacity(refused) : error
  }
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
async function leaveNothing(config: Config, neon: NeonApi, { id, name }: Claimed): Promise<void> {
  if (!name.startsWith(NAMES.project)) return
  const [rows] = await batch(config.MASTER_DATABASE_URL, [sql`select from platform.hosts where id = ${id}`])
  if (!rows?.length) await deleteProjects(neon, name)
}

/** What Neon is asked for: many share a host, and a project of one tenant has limits of its own. */
function wanted(config: Config, { name, region: region_id }: Claimed) {
  const own = name.startsWith(NAMES.project)
  const { NEON_PG_VERSION: pg_version, PROJECT_RESTORE_HOURS, PROJECT_QUOTA_HOURS } = config
  const cu = own ? config.PROJECT_COMPUTE_CU : config.HOST_COMPUTE_CU
  const default_endpoint_settings = { autoscaling_limit_min_cu: cu, autoscaling_limit_max_cu: cu }
  const base = { name, region_id, pg_version, default_endpoint_settings }
  if (!own) return base
  const quota = PROJECT_QUOTA_HOURS && { settings: { quota: { compute_time_seconds: PROJECT_QUOTA_HOURS * 3600 * cu } } }
  return { ...base, history_retention_seconds: PROJECT_RESTORE_HOURS * 3600, ...quota }
}

async function projectFor(config: Config, neon: NeonApi, host: Claimed) {
  const known = (await neon.projects.list({ search: host.name }).all()).find((project) => project.name === host.name)
  const project =
    (known && (await adopted(neon, known))) ?? (await neon.projects.create(wanted(config, host), { waitForReadiness: true }))
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
