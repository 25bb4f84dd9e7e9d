/**
 * What is done about restore points without an operator. Threat: a tenant stays closed because whoever worked on it died; branches and
 * computes pile up that nobody needs; what people deleted is kept for ever in a state that nobody can go back to; the branch that is
 * removed is the tenant's. So a branch is removed only while no tenant has it.
 */
import { raw } from '@neon/sdk'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { computeOf, removeComputes } from '../migration/kept.ts'
import { neonApi, reason, remove } from '../provisioning/neon.ts'
import { isGone } from '../provisioning/projects.ts'
import { LEASE, type RestoreWork } from './place.ts'
import { nameOf } from './restore.ts'

/** Starts the Workflow instance of an attempt at a restore; one that exists goes on. */
export async function startRestore(env: Env, work: RestoreWork): Promise<void> {
  await env.RESTORE.create({ id: `restore-${work.restore_id}-${work.attempt}`, params: work }).catch((error) => {
    if (!String(error).includes('already_exists')) log('restore not started', { restore: work.restore_id, error: String(error) })
  })
}

/** A branch of a row `r` that no tenant and no host has. */
const isNobodys = (branch: 'branch_id' | 'parent_id') =>
  sql.raw(
    `not exists (select from platform.hosts h where h.branch_id = r.${branch} and h.project_id = r.project_id) and not exists (select from platform.tenants t where t.branch_id = r.${branch})`,
  )

/** In which account at Neon a row `r` is. */
const ACCOUNT = sql.raw(
  ['account', 'organization']
    .map((name) => `(select h.${name} from platform.hosts h where h.project_id = r.project_id limit 1)`)
    .join(', '),
)

/**
 * For the scheduled job: goes on with restores whose lease ran out, removes the branches of restore points that are over, the
 * computes of branches that were left, and after a week the state in these branches: some at a time, in no order, so that those whose
 * removal fails are not in the way of the others. One round trip to the master where there is nothing to do, and none to a tenant's database.
 */
export async function tendRestores(env: Env, config: Config): Promise<void> {
  const [lost = [], , over = [], left = [], before = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.restore_points r set attempts = r.attempts + 2, lease_until = now() + ${LEASE} where r.state in ('making', 'restoring', 'returning') and r.lease_until < now()
        returning r.id as restore_id, r.attempts as attempt`,
    sql`update platform.restore_points r set state = 'dropped', finished_at = now() where r.state = 'ready' and r.kept_until <= now()`,
    sql`select r.id, r.tenant_id, r.project_id, r.branch_id, ${ACCOUNT} from platform.restore_points r
        where r.removed_at is null and r.kept_until <= now() and r.state in ('failed', 'dropped', 'returned') and ${isNobodys('branch_id')} order by random() limit 20`,
    sql`select r.id, r.project_id, case r.state when 'returned' then r.branch_id else r.parent_id end as branch_id, ${ACCOUNT} from platform.restore_points r where r.compute_until <= now() and r.state in ('restored', 'returned')
          and not exists (select from platform.hosts h where h.project_id = r.project_id and h.branch_id = case r.state when 'returned' then r.branch_id else r.parent_id end) order by random() limit 20`,
    sql`select r.id, r.project_id, r.parent_id, t.database_name, t.subdomain, h.owner_role, h.account, h.organization
        from platform.restore_points r join platform.tenants t on t.id = r.tenant_id left join platform.hosts h on h.project_id = r.project_id
        where r.removed_at is null and r.kept_until <= now() and r.state = 'restored' and ${isNobodys('parent_id')} order by random() limit 5`,
  ])
  for (const work of lost) await startRestore(env, work as RestoreWork)
  const failed = (what: string) => (error: unknown) => log(what, { error: reason(error) })
  for (const row of over)
    await removePoint(config, row as Record<string, string | null>).catch(failed('branch of a restore point not removed'))
  for (const { id, project_id, branch_id, account, organization } of left) {
    const neon = neonApi(config, { at: { account, organization } })
    const path = { project_id: String(project_id), branch_id: String(branch_id) }
    const removed = async () => {
      if (await unlessGone(() => raw.getProjectBranch({ client: neon.client, path, throwOnError: true })))
        await removeComputes(neon, path.project_id, path.branch_id)
      await batch(config.MASTER_DATABASE_URL, [
        sql`update platform.restore_points set compute_until = null where id = ${String(id)}`,
      ])
    }
    await removed().catch(failed('compute of a branch that was left not removed'))
  }
  for (const row of before)
    await removeBefore(config, row as Record<string, string | null>).catch(failed('state before a restore not removed'))
}

/** What Neon answers; null where it has no such branch or project any more. For what is asked first: a later 404 may be of something else. */
async function unlessGone<T>(get: () => Promise<T>): Promise<T | null> {
  let answer: T | null = null
  await isGone(async () => {
    answer = await get()
  })
  return answer
}

/** Removes the branch of a restore point, by its id, or by its name where the answer that had the id was lost. */
async function removePoint(
  config: Config,
  { id, tenant_id, project_id, branch_id, account, organization }: Record<string, string | null>,
): Promise<void> {
  const neon = neonApi(config, { at: { account, organization } })
  const at = { project_id: String(project_id) }
  const name = nameOf(String(tenant_id), String(id))
  if (branch_id) await remove(neon, { ...at, branch_id }, null)
  else {
    const found = (await unlessGone(() => neon.branches.list({ projectId: at.project_id, search: name }).all())) ?? []
    for (const branch of found.filter((one) => one.name === name)) await remove(neon, { ...at, branch_id: branch.id }, null)
  }
  await batch(config.MASTER_DATABASE_URL, [sql`update platform.restore_points set removed_at = now() where id = ${id}`])
}

/**
 * Removes the state that a tenant left a week ago: its database, in the branch that was left. The branch itself stays empty, because Neon
 * deletes no branch that has a child, which the tenant's is; it goes with the tenant. Repeatable: a database that is gone is not deleted
 * again, and an answer that was lost is asked for again.
 */
async function removeBefore(config: Config, row: Record<string, string | null>): Promise<void> {
  const { id, subdomain, owner_role, account, organization } = row
  const neon = neonApi(config, { at: { account, organization } })
  const at = { project_id: String(row.project_id), branch_id: String(row.parent_id) }
  const database = String(row.database_name)
  const listed = await unlessGone(() => raw.listProjectBranchDatabases({ client: neon.client, path: at, throwOnError: true }))
  if (listed?.databases.some(({ name }) => name === database)) {
    // Without a compute Neon would note the deletion, and keep the rows.
    await computeOf(neon, { ...at, owner_role: String(owner_role), database })
    await remove(neon, at, database)
  }
  if (listed) await removeComputes(neon, at.project_id, at.branch_id)
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.restore_points set removed_at = now() where id = ${id} and state = 'restored'`,
  ])
  log('state before a restore removed', { tenant: String(subdomain), restore: String(id) })
}
