/**
 * The host that is for one tenant alone. Threat: the tenant is erased while its project is made, and the project stays, costs money, and
 * nobody knows of it. So its row is written before, and whoever erases waits for whoever opens it.
 */
import { raw } from '@neon/sdk'
import { type SQL, sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import { ownHostName, ownHostNames } from './host-names.ts'
import { PAUSE_MS, type Placed, placeOf, WAIT_MS } from './hosts.ts'
import type { Host } from './job.ts'
import { type NeonApi, neonApi } from './neon.ts'
import { CLAIMED, type Claimed, NEWEST, open } from './opening.ts'
import { deleteProject, deleteProjects, isGone } from './projects.ts'

/**
 * Opens the host that is for one tenant alone, in the tenant's region, and places it there. Of several callers one opens it, and the
 * others wait for up to 20 s. Fails with NoCapacity.
 */
export async function openOwnHost(job: Placed): Promise<void> {
  const { config, tenant, trace_id, move_id } = job
  const { row, host: column, is_it, is_free } = placeOf(job)
  const names = ownHostNames(tenant.id, move_id)
  const stays = sql`exists (select from platform.tenants t where t.id = ${tenant.id} and t.status <> 'erasing')`
  for (let waited = 0; waited < WAIT_MS; waited += PAUSE_MS) {
    const statements = [
      sql`insert into platform.hosts (id, name, kind, state, region, capacity, taken, lease_until, account, organization)
          select gen_random_uuid(), ${ownHostName(tenant.id, move_id)}, 'project', 'opening', p.region, 1, 1, now(), ${NEWEST.account}, ${NEWEST.organization} from ${row}, platform.tenants t
          where ${is_it} and ${is_free} and t.id = ${tenant.id} and t.status <> 'erasing' and not exists (select from platform.hosts o where o.name in ${names}) for key share of t on conflict do nothing`,
      sql`update ${row} set ${column} = h.id from platform.hosts h where ${is_it} and (${is_free} or p.${column} = h.id) and ${stays} and h.name in ${names} and h.state = 'open' returning p.id`,
      sql`update platform.hosts h set lease_until = now() + interval '1 minute', refused = null
          where h.name in ${names} and h.state = 'opening' and h.lease_until <= now() and ${stays} returning ${CLAIMED}`,
    ]
    const [, placed, claimed] = await batch(config.MASTER_DATABASE_URL, statements, trace_id)
    if (placed?.length) return
    const host = claimed?.[0] as Claimed | undefined
    if (!host) await scheduler.wait(PAUSE_MS)
    else await open(config, host)
  }
  throw new Error('The host of the tenant could not be opened in time.')
}

/** True of the row of the host that a job has its place on; of one that has none yet, of the host that is opened for it. */
export const isOwnHost = ({ tenant, move_id }: Pick<Placed, 'tenant' | 'move_id'>): SQL =>
  tenant.host ? sql`id = ${tenant.host.id}` : sql`name in ${ownHostNames(tenant.id, move_id)}`

/**
 * Deletes the project of the host that is for this tenant alone: by its id, and by its name, which has the tenant's id, because the
 * answer with the project's own id may have been lost. Fails while somebody opens the host. One round trip to the master, two where
 * Neon refused.
 */
export async function removeOwnHost(job: Pick<Placed, 'config' | 'tenant' | 'move_id'>): Promise<void> {
  const { config } = job
  const is_it = sql`kind = 'project' and ${isOwnHost(job)}`
  const [held, [host] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.hosts set lease_until = now() + interval '3 minutes'
        where ${is_it} and state = 'opening' and (lease_until <= now() or refused is not null) returning lease_until::text as lease`,
    sql`select name, state, project_id, account, organization from platform.hosts where ${is_it}`,
  ])
  // Its row is written before its project is made, and stays until that is deleted.
  if (!host) return
  if (host.state === 'opening' && !held?.length)
    throw new Error('The project of the tenant is being made: it is deleted when that is over.')
  try {
    const neon = neonApi(config, { at: host })
    if (host.project_id) await deleteProject(neon, String(host.project_id))
    await deleteProjects(neon, String(host.name))
  } catch (error) {
    // Whoever tries again must not wait for this try.
    const lease = held?.[0]?.lease ?? null
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.hosts set lease_until = now() where ${is_it} and state = 'opening' and lease_until = ${lease}::timestamptz`,
    ])
    throw error
  }
}

/**
 * Has the project of a tenant alone made again when Neon says that it has it no more; true: it was. What was in it is gone, so this is
 * for a tenant that is being created, and has no database yet. A move that loses the project it made fails, and is begun again.
 */
export async function replaceLostProject(
  { config, neon, tenant, trace_id, move_id }: Placed & { neon: NeonApi },
  host: Host,
): Promise<boolean> {
  if (move_id !== undefined) return false
  const path = { project_id: host.project_id }
  const ask = () => raw.getProject({ client: neon.client, path, throwOnError: true })
  // Without an id it is being made again, and nobody came to the end of that.
  if (host.project_id && !(await isGone(ask).catch(() => false))) return false
  await batch(
    config.MASTER_DATABASE_URL,
    [
      sql`update platform.hosts h set state = 'opening', project_id = null, branch_id = null, owner_role = null, owner_url_encrypted = null, lease_until = now()
          where h.id = ${host.id} and h.name in ${ownHostNames(tenant.id)} and h.state = 'open' and h.project_id = ${host.project_id}
            and exists (select from platform.tenants t where t.id = ${tenant.id} and t.status = 'provisioning')`,
    ],
    trace_id,
  )
  await openOwnHost({ config, tenant, trace_id })
  return true
}
