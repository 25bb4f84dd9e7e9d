import { sql } from 'drizzle-orm'
import { type Config, MOST_TENANTS } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { nextHostName, type SharedKind } from './host-names.ts'
import { type Host, type MasterRow, openHost } from './job.ts'
import { CLAIMED, type Claimed, NEWEST, open } from './opening.ts'

export const WAIT_MS = 20_000
export const PAUSE_MS = 250

/** What places a tenant: its job. */
export type Placed = { config: Config; tenant: { id: string; host?: Host | null }; trace_id: string; move_id?: string }

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
export async function reservePlace(job: Placed, kind: SharedKind): Promise<Host> {
  const { config, tenant, trace_id } = job
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
    if (!(await openNext(config, kind))) await scheduler.wait(PAUSE_MS)
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

/** Opens the next host before the last one is full: when at most a tenth of a kind's places is free, or at most one place. */
export async function keepSpare(config: Config, kind: SharedKind): Promise<void> {
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select coalesce(sum(greatest(0, ${placesOf(config, kind, 'h')})), 0)::integer <= greatest(1, least(max(capacity), ${kind === 'database' ? config.HOST_AWAKE : null}::integer) / 10) as scarce from platform.hosts h where kind = ${kind} and state = 'open'`,
  ])
  if (rows?.[0]?.scarce) await openNext(config, kind, true)
}

/**
 * Opens the next host. False: none is needed, or another run holds the lease on it.
 */
async function openNext(config: Config, kind: SharedKind, spare = false): Promise<boolean> {
  const capacity = kind === 'branch' ? config.HOST_BRANCHES : config.HOST_CAPACITY
  const [, claimed] = await batch(config.MASTER_DATABASE_URL, [
    sql`insert into platform.hosts (id, name, kind, state, region, capacity, lease_until, account, organization)
        select gen_random_uuid(), ${nextHostName(kind)}, ${kind}, 'opening', ${config.NEON_REGION}, ${capacity}, now(), ${NEWEST.account}, ${NEWEST.organization}
        from platform.hosts h where kind = ${kind} having not coalesce(bool_or(state = 'opening'), false) and (${spare} or not bool_or(state = 'open' and ${placesOf(config, kind, 'h')} > 0) or count(*) = 0)
        on conflict do nothing`,
    sql`update platform.hosts set lease_until = now() + interval '1 minute' where kind = ${kind} and state = 'opening' and lease_until <= now()
        returning ${CLAIMED}`,
  ])
  const host = claimed?.[0] as Claimed | undefined
  if (host) await open(config, host)
  return host !== undefined
}
