/**
 * What is done about kept branches without an operator: after a migration that failed, and by the scheduled job. Threat: a tenant is
 * left between two schemas, or closed, because whoever worked on it died; and branches pile up that nobody needs.
 */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { jobOf, type MasterRow } from '../provisioning/job.ts'
import { neonApi, reason } from '../provisioning/neon.ts'
import { type Claim, LEASE } from './fleet.ts'
import { forgetBranch, type Kept, removeComputes } from './kept.ts'
import type { UndoWork } from './undo.ts'
import { ledgerOf } from './writes.ts'

/** The number of an undo's first attempt: attempts of a tenant only grow, whatever they are for (fence.ts). */
export const firstAttempt = (tenant: ReturnType<typeof sql>) => sql`platform.next_fence_attempt(${tenant})`

/**
 * After a migration that failed: where a part of it was applied, begins to put the branch of before back, unless something is written
 * meanwhile; where nothing was, lets the branch go. Returns the attempt to work on, or null. Repeatable.
 */
export async function beginPutBack(config: Config, { tenant_id, target, attempt }: Claim): Promise<UndoWork | null> {
  const [[found] = [], [begun] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select to_jsonb(k) as kept, to_jsonb(t) as tenant from platform.kept_branches k join platform.tenants t on t.id = k.tenant_id
        join platform.tenant_migrations m on m.tenant_id = k.tenant_id and m.target = k.target
        where k.tenant_id = ${tenant_id} and k.target = ${target} and k.attempt = ${attempt} and k.branch_id is not null and m.state = 'failed' and m.attempts = ${attempt}`,
    sql`select u.id as undo_id, u.attempts as attempt from platform.migration_undos u where u.tenant_id = ${tenant_id} and u.target = ${target} and u.state = 'running' and u.is_automatic`,
  ])
  if (begun) return begun as UndoWork
  if (!found) return null
  const kept = found.kept as Kept
  const { tenant } = await jobOf(config, found.tenant as MasterRow, null, kept.trace_id)
  const applied = await ledgerOf(String(tenant.owner_url))
  if ((applied.at(-1) ?? null) === kept.from_version) {
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.kept_branches k set kept_until = now() where k.tenant_id = ${tenant_id} and k.target = ${target} and k.attempt = ${attempt}`,
    ])
    return null
  }
  const id = crypto.randomUUID()
  const [[work] = []] = await batch(
    config.MASTER_DATABASE_URL,
    [
      sql`with free as (select t.id from platform.tenants t where t.id = ${tenant_id} and t.move_id is null for no key update), taken as (
            update platform.tenant_migrations m set state = 'undoing' from free where m.tenant_id = free.id and m.target = ${target} and m.attempts = ${attempt} and m.state = 'failed' returning m.tenant_id)
          insert into platform.migration_undos (id, tenant_id, target, branch_id, parent_id, state, is_automatic, discard_writes, was, attempts, lease_until, trace_id)
          select ${id}, x.tenant_id, ${target}, ${kept.branch_id}, ${kept.parent_id}, 'running', true, false, 'failed', ${firstAttempt(sql`x.tenant_id`)}, now() + ${LEASE}, ${kept.trace_id} from taken x
          returning id as undo_id, attempts as attempt`,
    ],
    kept.trace_id,
  )
  return (work as UndoWork | undefined) ?? null
}

/** Starts the Workflow instance of an attempt at an undo; one that exists goes on. */
export async function startUndo(env: Env, work: UndoWork): Promise<void> {
  await env.MIGRATION.create({ id: `undo-${work.undo_id}-${work.attempt}`, params: work }).catch((error) => {
    if (!String(error).includes('already_exists'))
      log('undo of a migration not started', { undo: work.undo_id, error: String(error) })
  })
}

/**
 * For the scheduled job: goes on with undos whose lease ran out, removes branches whose time is over, and the computes of branches
 * that were left. One round trip to the master where there is nothing to do, and none to a tenant's database.
 */
export async function tendUndos(env: Env, config: Config): Promise<void> {
  const [lost = [], over = [], left = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.migration_undos u set attempts = u.attempts + 2, lease_until = now() + ${LEASE} where u.state = 'running' and u.lease_until < now()
        returning u.id as undo_id, u.attempts as attempt`,
    sql`select to_jsonb(k) as kept, to_jsonb(t) as tenant, to_jsonb(h) as host from platform.kept_branches k
        join platform.tenants t on t.id = k.tenant_id join platform.hosts h on h.id = t.host_id
        where k.kept_until <= now() and not exists (select from platform.migration_undos u where u.tenant_id = k.tenant_id and u.state = 'running')
          and not exists (select from platform.tenant_migrations m where m.tenant_id = k.tenant_id and m.state = 'running') limit 20`,
    sql`select u.id, u.parent_id, h.project_id, h.account, h.organization from platform.migration_undos u join platform.tenants t on t.id = u.tenant_id join platform.hosts h on h.id = t.host_id
        where u.compute_until <= now() limit 20`,
  ])
  for (const work of lost) await startUndo(env, work as UndoWork)
  const failed = (what: string) => (error: unknown) => log(what, { error: reason(error) })
  for (const found of over) await forgetBranch(config, found).catch(failed('kept branch not removed'))
  for (const { id, parent_id, project_id, ...at } of left) {
    const removed = removeComputes(neonApi(config, { at }), String(project_id), String(parent_id)).then(() =>
      batch(config.MASTER_DATABASE_URL, [sql`update platform.migration_undos set compute_until = null where id = ${String(id)}`]),
    )
    await removed.catch(failed('compute of a branch that was left not removed'))
  }
}
