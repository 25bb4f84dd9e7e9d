/**
 * Deletes at Neon what no tenant has. Threat: a tenant is being created with that very name, and its database is the one that is
 * deleted. So the name is taken on the host first, in the row that placing a tenant locks, too: whoever is placed before is seen here,
 * and whoever comes after waits. Ids are never given twice, so a branch or login with the id of no tenant stays nobody's.
 */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch, dbError } from '../../kernel/db.ts'
import { Problem } from '../../kernel/problem.ts'
import { clusterOf, type Host, type MasterRow, openHost } from '../provisioning/job.ts'
import { type NeonApi, neonApi, reason, remove } from '../provisioning/neon.ts'
import { dropRoles } from '../provisioning/roles.ts'
import { dropDatabase, dropTemplate, isUntouched } from '../provisioning/template.ts'
import { knownBranches } from './branches.ts'
import { mustBeErased } from './erased.ts'
import type { Finding } from './findings.ts'
import { loginOf, tenantOfBranch } from './names.ts'
import { databaseOf } from './neon.ts'
import type { Sources } from './part.ts'
import { removeProject } from './projects.ts'

type At = { config: Config; neon: NeonApi; host: Host; name: string }

/** What a finding is about, without its host. */
export const nameIn = ({ subject }: Pick<Finding, 'subject'>) => subject.slice(subject.indexOf('/') + 1)

/**
 * Deletes what a finding names, and waits until it is gone. Three round trips to the master, and to Neon as long as that takes. Fails with
 * illegal_state (it is somebody's), database_unavailable (Neon does not do it).
 */
export async function removeAtNeon({ config }: Sources, found: Finding): Promise<void> {
  try {
    if (found.code === 'project_of_nobody') await removeProject(config, found)
    else await removeOnHost(config, found)
  } catch (error) {
    throw error instanceof Problem
      ? error
      : new Problem('database_unavailable', `It may not have been deleted: ${reason(error)}`, { cause: error })
  }
}

async function removeOnHost(config: Config, { code, subject }: Finding): Promise<void> {
  const [rows] = await batch(config.MASTER_DATABASE_URL, [
    sql`select to_jsonb(h) as host from platform.hosts h where h.name = ${subject.split('/')[0]} and h.state = 'open'`,
  ])
  if (!rows?.[0]) throw new Problem('illegal_state', 'The host is gone.')
  const host = await openHost(config, rows[0].host as MasterRow)
  const at = { config, neon: neonApi(config, { at: host }), host, name: nameIn({ subject }) }
  if (code === 'database_of_nobody') await removeDatabase(at)
  else if (code === 'template_stale') await dropTemplate(host, at.name)
  else if (code === 'branch_of_nobody') await removeBranch(at)
  else await removeLogin(at)
}

async function removeDatabase({ config, neon, host, name }: At): Promise<void> {
  if (name === databaseOf(host)) throw new Problem('illegal_state', 'This is the database of the host itself.')
  const [, taken] = await batch(config.MASTER_DATABASE_URL, [
    sql`select from platform.hosts h where h.id = ${host.id} for update`,
    sql`update platform.hosts h set removing = ${name}, removing_until = now() + interval '3 minutes'
        where h.id = ${host.id} and coalesce(h.removing_until, now()) <= now()
          and not exists (select from platform.tenants t where t.database_name = ${name}
            and (t.host_id = h.id or exists (select from platform.tenant_moves v where v.tenant_id = t.id and v.other_host_id = h.id))) returning h.id`,
  ])
  if (!taken?.length)
    throw new Problem('illegal_state', 'A tenant has this database now, or another one of this host is being deleted.')
  try {
    const owner = await tenantIn(config, host, name)
    if (owner) throw new Problem('illegal_state', `The database holds the data of the tenant ${owner}.`)
    await remove(neon, host, name)
    await dropDatabase(host, name)
  } finally {
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.hosts h set removing = null, removing_until = null where h.id = ${host.id} and h.removing = ${name}`,
    ])
  }
}

/** The tenant of the master whose data a database holds, whatever its name; null: none. Fails when it cannot be read. */
async function tenantIn(config: Config, host: Host, name: string): Promise<string | null> {
  // It takes no connection, and has never taken one.
  if (await isUntouched(host, name)) return null
  const url = Object.assign(new URL(host.owner_url), { pathname: `/${encodeURIComponent(name)}` }).href
  let ids: unknown[] = []
  try {
    const [, rows = []] = await batch(url, [sql`set local role freehold_owner`, sql`select t.id from freehold.tenant t`])
    ids = rows.map(({ id }) => id)
  } catch (error) {
    // Neon lists it and never made it, or Freehold was never in it.
    if (!['3D000', '42P01', '3F000'].includes(dbError(error)?.code ?? '')) throw error
  }
  const [known] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.subdomain from platform.tenants t where t.id in (select x::uuid from jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb) x)`,
  ])
  if (known?.[0]) return String(known[0].subdomain)
  await mustBeErased(config, ids.map(String))
  return null
}

async function removeBranch({ config, neon, host, name }: At): Promise<void> {
  const { project_id } = host
  const found = (await neon.branches.list({ projectId: project_id, search: name }).all()).filter((branch) => branch.name === name)
  const [known] = await batch(config.MASTER_DATABASE_URL, [knownBranches(found.length ? found : [{ id: '', name }])])
  if (known?.length || found.some(({ id }) => id === host.branch_id))
    throw new Problem('illegal_state', 'A tenant has this branch.')
  // One that a tenant of this master left; or of a tenant that is not here any more.
  const id = String(tenantOfBranch(name))
  const [living] = await batch(config.MASTER_DATABASE_URL, [sql`select from platform.tenants t where t.id = ${id}::uuid`])
  if (!living?.length) await mustBeErased(config, [id])
  for (const { id } of found) await remove(neon, { project_id, branch_id: id }, null)
}

async function removeLogin({ config, neon, host, name }: At): Promise<void> {
  const login = loginOf(name)
  if (!login) throw new Problem('illegal_state', 'This is no login of a tenant.')
  const [known] = await batch(config.MASTER_DATABASE_URL, [
    sql`select from platform.tenants t where left(replace(t.id::text, '-', ''), 12) = ${login.short}`,
  ])
  if (known?.length) throw new Problem('illegal_state', 'A tenant has this login.')
  try {
    await dropRoles(clusterOf(neon, host), { [name]: [`freehold_${login.kind}`] })
  } catch (error) {
    if (dbError(error)?.code === '2BP01')
      throw new Problem('illegal_state', 'A database still uses this login: delete that first.')
    throw error
  }
}
