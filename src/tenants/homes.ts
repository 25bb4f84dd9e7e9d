import { sql } from 'drizzle-orm'
import type { Config } from '../kernel/config.ts'
import { batch } from '../kernel/db.ts'
import { encrypt } from '../kernel/keyring.ts'
import { type NeonApi, waitFor } from './neon.ts'

const WAIT_MS = 20_000
const PAUSE_MS = 250

/**
 * Gives a tenant a place in a home, and opens a home when none has room. One statement takes the place, so that of many the last
 * place goes to one; a home that is being opened is waited for. A tenant that has its place keeps it.
 */
export async function takePlace(config: Config, neon: NeonApi, tenant_id: string): Promise<void> {
  for (let waited = 0; waited < WAIT_MS; waited += PAUSE_MS) {
    const [, placed] = await batch(config.MASTER_DATABASE_URL, [
      sql`with room as (
            update platform.homes h set taken = h.taken + 1
            where h.id = (select x.id from platform.homes x where x.state = 'open' and x.taken < x.capacity order by x.created_at limit 1 for update)
              and h.taken < h.capacity and exists (select from platform.tenants t where t.id = ${tenant_id} and t.home_id is null)
            returning h.id)
          update platform.tenants t set home_id = room.id from room where t.id = ${tenant_id}`,
      sql`select home_id from platform.tenants where id = ${tenant_id} and home_id is not null`,
    ])
    if (placed?.length) return
    if (!(await openHome(config, neon))) await scheduler.wait(PAUSE_MS)
  }
  throw new Error('No home has room and none could be opened in time.')
}

/** Opens the next home, unless somebody else is about it. What Neon made for a name already is adopted. */
async function openHome(config: Config, neon: NeonApi): Promise<boolean> {
  const [, claimed] = await batch(config.MASTER_DATABASE_URL, [
    sql`insert into platform.homes (id, name, state, region, capacity, lease_until)
        select gen_random_uuid(), 'freehold-home-' || (count(*) + 1), 'opening', ${config.NEON_REGION}, ${config.HOME_CAPACITY}, now()
        from platform.homes having not bool_or(state = 'open' and taken < capacity) or count(*) = 0
        on conflict do nothing`,
    sql`update platform.homes set lease_until = now() + interval '1 minute' where state = 'opening' and lease_until <= now() returning id, name, region`,
  ])
  const home = claimed?.[0] as { id: string; name: string; region: string } | undefined
  if (!home) return false
  const { project_id, branch_id, owner_role, database } = await projectFor(neon, home)
  const owner_url = await neon.postgres.connectionString({
    projectId: project_id,
    branchId: branch_id,
    databaseName: database,
    roleName: owner_role,
    pooled: false,
  })
  await prepareHome(owner_url, database)
  const sealed = await encrypt(config.ENCRYPTION_KEYS, home.id, 'owner_url', owner_url)
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.homes set state = 'open', project_id = ${project_id}, branch_id = ${branch_id}, owner_role = ${owner_role}, owner_url_sealed = ${sealed}
        where id = ${home.id} and state = 'opening'`,
  ])
  return true
}

async function projectFor(neon: NeonApi, home: { name: string; region: string }) {
  const known = (await neon.projects.list({ search: home.name }).all()).find((project) => project.name === home.name)
  const project = known ?? (await neon.projects.create({ name: home.name, region_id: home.region }, { waitForReadiness: true }))
  const pending = await neon.operations.list({ projectId: project.id }).all()
  await waitFor(
    neon,
    pending.filter((o) => !['finished', 'skipped', 'failed', 'error', 'cancelled'].includes(o.status)),
  )
  const branch = await neon.branches.getDefault({ projectId: project.id })
  const [database] = await neon.postgres.databases.list({ projectId: project.id, branchId: branch.id })
  if (!database) throw new Error(`The project ${home.name} has no database of its own.`)
  return { project_id: project.id, branch_id: branch.id, owner_role: database.owner_name, database: database.name }
}

/** The roles that every tenant's schema belongs to and is granted to; and nobody else's login may enter the home's own database. */
async function prepareHome(owner_url: string, database: string): Promise<void> {
  await batch(owner_url, [
    sql`do $$ begin create role freehold_owner nologin; exception when duplicate_object then null; end $$`,
    sql`do $$ begin create role freehold_app nologin; exception when duplicate_object then null; end $$`,
    sql`grant freehold_owner to current_user with inherit true, set true`,
    sql`revoke connect, temporary on database ${sql.identifier(database)} from public`,
  ])
}
