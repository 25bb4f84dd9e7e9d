/**
 * Takes a tenant back to an earlier moment: a branch of then becomes the tenant's. Threat: writes are acknowledged in a branch that
 * nobody reads any more; a tenant that stays closed; what was taken from somebody is given back; the audit loses entries unseen. So the
 * branch that is left is closed first (fence.ts); what was ended since is ended there again (settle.ts); one conditional statement in
 * the master exchanges the branches and records the cut; an attempt works only while it holds its lease, and every step may be
 * repeated (docs/decisions/0057-time-machine.md).
 */
import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from 'cloudflare:workers'
import { NonRetryableError } from 'cloudflare:workflows'
import { raw } from '@neon/sdk'
import { sql } from 'drizzle-orm'
import { type Config, configOf } from '../../kernel/config.ts'
import { batch, useSqlUrl } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { log } from '../../kernel/log.ts'
import { close, IS_CLOSED, IS_CLOSED_TO_WRITES, isClosed, open } from '../fence/fence.ts'
import { propagate } from '../lifecycle/lifecycle.ts'
import { systemHash } from '../lifecycle/rotation.ts'
import { computeOf, renameBranch, takeBranch } from '../migration/kept.ts'
import { hostOf, sealHostUrl, sealUrls } from '../provisioning/job.ts'
import { closeOtherLogins, makeLogins } from '../provisioning/logins.ts'
import { reason, waitFor, withRetry } from '../provisioning/neon.ts'
import { differenceOf } from './difference.ts'
import { type Held, hold, KEPT, type RestoreWork, WAITS } from './place.ts'
import { endedIn, settle } from './settle.ts'

const RETRIES = { limit: 4, delay: 500, backoff: 'exponential' as const }

/** Makes a restore point, confirms it, or goes back from it: what its row says. One instance per attempt. */
export class Restore extends WorkflowEntrypoint<Env, RestoreWork> {
  override async run({ payload: work }: Readonly<WorkflowEvent<RestoreWork>>, step: WorkflowStep) {
    const config = configOf(this.env)
    useSqlUrl(config.NEON_SQL_URL)
    const until = (timeout: '1 minute' | '5 minutes' | '15 minutes') => ({ retries: RETRIES, timeout })
    try {
      const host = await step.do('wake', until('5 minutes'), () => wake(config, work))
      if (host === null) return
      if (await step.do('compare', until('15 minutes'), () => compare(config, work, host))) return
      if (!(await step.do('exchange', until('5 minutes'), () => exchange(config, work, host)))) return
      await step.do('publish', until('5 minutes'), () => publishRestore(this.env, config, work))
    } catch (error) {
      await step.do('reopen', until('1 minute'), () => giveUp(config, work, reason(error)))
    }
  }
}

/** True of the row `r` of a restore that this attempt holds. */
const mine = ({ restore_id, attempt }: RestoreWork) =>
  sql`r.id = ${restore_id} and r.attempts = ${attempt} and r.state in ('making', 'restoring', 'returning')`

/** A connection string with another host. */
const at = (url: string, host: string) => Object.assign(new URL(url), { host }).href

/** The name of the branch of a restore point: an answer that was lost finds it again. */
export const nameOf = (tenant_id: string, restore_id: string) => `tenant-${tenant_id}-at-${restore_id.slice(0, 8)}`

/**
 * Takes the branch of the moment, unless it is there; gives the target its compute and the tenant's logins with the passwords of now, and asks
 * it whether it is this tenant's. Returns its host; null: there is nothing to do.
 */
export async function wake(config: Config, work: RestoreWork): Promise<string | null> {
  const held = await hold(config, work)
  if (!held) return null
  const { point, job, owner_url, app_url, is_exchanged } = held
  if (is_exchanged) return new URL(owner_url).host
  const { project_id, owner_role } = hostOf(job)
  const { id, database_name: database } = job.tenant
  let { target } = held
  if (target === null) {
    const moment = new Date(point.at).toISOString()
    target = (await takeBranch(job.neon, project_id, point.parent_id, nameOf(id, point.id), moment)).branch_id
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.restore_points r set branch_id = ${target} where ${mine(work)} and r.branch_id is null`,
    ])
  }
  // The scheduled job removes what was left; what it left becomes the tenant's again.
  if (point.state === 'returning')
    await batch(config.MASTER_DATABASE_URL, [sql`update platform.restore_points r set compute_until = null where ${mine(work)}`])
  const host = await computeOf(job.neon, { project_id, branch_id: target, owner_role, database })
  const url = await job.neon.postgres.connectionString({
    projectId: project_id,
    branchId: target,
    databaseName: database,
    roleName: owner_role,
    pooled: false,
  })
  const urls = { app_url: at(app_url, host), owner_url: at(owner_url, host) }
  const cluster = { neon: job.neon, project_id, branch_id: target, url }
  await makeLogins(cluster, database, urls)
  // A login of then whose password may have leaked since. Where the branch is only looked at, nobody knows where it is.
  if (point.state !== 'making') await closeOtherLogins(cluster, job.tenant)
  const [, [own] = []] = await batch(urls.owner_url, [
    sql`set local role freehold_owner`,
    sql`select t.id, ${IS_CLOSED} as is_closed, ${sql.raw(IS_CLOSED_TO_WRITES)} as is_shut from freehold.tenant t`,
  ])
  // The branch that was left is closed; at no other moment a tenant is, but while its branch is exchanged.
  if (own?.is_shut || (own?.id !== id && !(own?.is_closed && point.state === 'returning')))
    throw new NonRetryableError(
      'At that moment the database was not open to the tenant: choose one some minutes earlier or later.',
    )
  return host
}

/** Compares a new restore point with the tenant, and makes it ready. False: it is to become the tenant's. */
export async function compare(config: Config, work: RestoreWork, host: string): Promise<boolean> {
  const held = await hold(config, work)
  if (!held) return true
  const { point, job, owner_url } = held
  if (point.state !== 'making') return false
  const difference = await differenceOf(owner_url, at(owner_url, host), point.at)
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.restore_points r set state = 'ready', difference = ${JSON.stringify(difference)}::jsonb, error = null, ready_at = now(), kept_until = now() + ${WAITS}
        where ${mine(work)}`,
  ])
  log('restore point ready', { tenant: job.tenant.subdomain, trace_id: point.trace_id, restore: point.id })
  return true
}

/**
 * Closes the branch that is left, settles the other one, and makes that the tenant's. False: another attempt has it. True also when it
 * was done before.
 */
export async function exchange(config: Config, work: RestoreWork, host: string): Promise<boolean> {
  const held = await hold(config, work)
  if (!held) return false
  if (held.is_exchanged) return true
  const { point, job, owner_url, app_url, target, source, head_no } = held
  const { id, subdomain } = job.tenant
  const is_return = point.state === 'returning'
  await close(owner_url, id, work.attempt, point.trace_id)
  const { ended, newest, documents } = await endedIn(owner_url, point.at)
  if (!(await isClosed(owner_url, work.attempt))) throw new Error('Another attempt at this restore has begun.')
  const known = at(owner_url, host)
  const left = newest.no < head_no ? { no: head_no, hash: null } : newest
  const settled = await settle(
    known,
    {
      restore_id: point.id,
      at: point.at,
      ended,
      left,
      documents,
      system_hash: await systemHash(config, id, held.refresh_key_encrypted),
      is_return,
    },
    point.trace_id,
  )
  const [, [version] = []] = await batch(known, [
    sql`set local role freehold_owner`,
    sql`select m.name from freehold.migrations m where m.name like 'tenant/%' order by m.name desc limit 1`,
  ])
  const urls = await sealUrls(config, id, { app_url: at(app_url, host), owner_url: known })
  const { id: host_id, owner_url: host_url } = hostOf(job)
  const host_sealed = await sealHostUrl(config, host_id, at(host_url, host))
  const is_ours = sql`exists (select from platform.hosts h where h.id = ${host_id} and h.branch_id = ${target})`
  const { no, hash, entries, checkpointed_at } = settled.head
  const [, , exchanged] = await batch(
    config.MASTER_DATABASE_URL,
    [
      // Whoever gives this attempt up waits here, or was first.
      sql`select r.id from platform.restore_points r where r.id = ${point.id} for update`,
      sql`update platform.hosts h set branch_id = ${target}, owner_url_encrypted = ${host_sealed}
          where h.id = ${host_id} and h.kind = 'project' and h.branch_id = ${source} and exists (select from platform.restore_points r where ${mine(work)})
            and exists (select from platform.tenants t where t.id = ${id} and t.host_id = h.id and t.branch_id is null and t.status in ('active', 'inactive') and t.move_id = ${point.id})`,
      sql`update platform.tenants t set app_url_encrypted = ${urls.app_url}, owner_url_encrypted = ${urls.owner_url}, schema_version = ${version?.name ?? null}, presets_version = null
          where t.id = ${id} and ${is_ours} returning t.id`,
      // It is migrated again to what the branch lacks, and what was kept of before its last migration is of the branch that is left.
      sql`delete from platform.tenant_migrations m where m.tenant_id = ${id} and m.target > ${version?.name ?? ''} and m.state not in ('running', 'undoing') and ${is_ours}`,
      sql`update platform.kept_branches k set kept_until = now() where k.tenant_id = ${id} and ${is_ours}`,
      sql`insert into platform.audit_cuts (realm_id, to_no, from_no, left_no, left_hash, hash, restore_id)
          select ${id}, x.to_no, x.from_no, x.left_no, x.left_hash, x.hash, ${point.id}
          from jsonb_to_recordset(${JSON.stringify(settled.cuts)}::jsonb) as x (to_no integer, from_no integer, left_no integer, left_hash text, hash text) where ${is_ours} on conflict do nothing`,
      sql`insert into platform.audit_heads as a (realm_id, no, hash, entries, checkpointed_at) select ${id}, ${no}, ${hash}, ${entries}, ${checkpointed_at} where ${is_ours}
          on conflict (realm_id) do update set no = excluded.no, hash = excluded.hash, entries = excluded.entries, checkpointed_at = excluded.checkpointed_at, updated_at = now()`,
      sql`update platform.restore_points r set exchanged_at = now() where ${mine(work)} and ${is_ours}`,
    ],
    point.trace_id,
  )
  if (!exchanged?.length) throw new Error('The tenant has another branch, or another attempt at this restore has begun.')
  log('tenant restored', { tenant: subdomain, trace_id: point.trace_id, restore: point.id, is_return })
  return true
}

/**
 * Opens and publishes the tenant's database, names both branches, drops the connections to the one that was left, and ends the restore.
 * The compute of that one stays for five minutes: isolates that do not know better are told there to look the tenant up afresh.
 */
export async function publishRestore(env: Env, config: Config, work: RestoreWork): Promise<void> {
  const held = await hold(config, work)
  if (!held?.is_exchanged) return
  const { point, job, owner_url, target, source } = held
  const { project_id } = hostOf(job)
  const { id } = job.tenant
  await open(owner_url, id, work.attempt, point.trace_id)
  await propagate({ env, config, meter: { master: 0 }, trace_id: point.trace_id }, id)
  await renameBranch(job.neon, project_id, String(source), `tenant-${id}-left-${source}`)
  await renameBranch(job.neon, project_id, String(target), `tenant-${id}`)
  await dropConnections(held, String(source))
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants t set move_id = null where t.id = ${id} and t.move_id = ${point.id} and exists (select from platform.restore_points r where ${mine(work)})`,
    sql`update platform.restore_points r set state = case r.state when 'returning' then 'returned' else 'restored' end, error = null, finished_at = now(),
          kept_until = now() + ${KEPT}, compute_until = now() + interval '5 minutes'
        where ${mine(work)}`,
  ])
}

/** Suspends the computes of a branch, which ends their connections. The next request that still goes there wakes them. */
async function dropConnections({ job, point }: Held, branch_id: string): Promise<void> {
  const path = { project_id: point.project_id, branch_id }
  const { client } = job.neon
  const { endpoints } = await raw.listProjectBranchEndpoints({ client, path, throwOnError: true })
  for (const { id, current_state } of endpoints) {
    if (current_state !== 'active') continue
    const at = { project_id: point.project_id, endpoint_id: id }
    const gone = await withRetry(() => raw.suspendProjectEndpoint({ client, path: at, throwOnError: true }))
    await waitFor(job.neon, gone.operations)
  }
}

/**
 * Ends what cannot go on: a restore point that was being made has failed; one that was to become the tenant's is as it was, and the
 * tenant's database open, as the attempt after, so that an exchange that is under way still has happened by then or never does. One whose branch is
 * exchanged is left to its lease: the scheduled job goes on with it.
 */
export async function giveUp(config: Config, given: RestoreWork, words: string): Promise<void> {
  const work = { ...given, attempt: given.attempt + 1 }
  const held = await hold(config, given, work.attempt).catch((error) => {
    if (error instanceof NonRetryableError) return error
    throw error
  })
  if (!held) return
  if (!(held instanceof Error)) {
    const { point, job, owner_url, is_exchanged } = held
    log('tenant not restored', { tenant: job.tenant.subdomain, trace_id: point.trace_id, restore: point.id, error: words })
    if (is_exchanged) return
    if (point.state !== 'making') await open(owner_url, job.tenant.id, work.attempt, point.trace_id)
  }
  await batch(config.MASTER_DATABASE_URL, [
    // What was changed meanwhile did not reach the closed database.
    sql`update platform.tenants t set move_id = null, published_v = least(t.published_v, t.v - 1) where t.move_id = ${work.restore_id} and exists (select from platform.restore_points r where ${mine(work)})`,
    sql`update platform.restore_points r set error = ${words}, finished_at = case r.state when 'restoring' then null else now() end,
          kept_until = case r.state when 'making' then now() else r.kept_until end,
          compute_until = case r.state when 'returning' then now() + interval '5 minutes' else r.compute_until end,
          state = case r.state when 'making' then 'failed' when 'restoring' then 'ready' else 'restored' end
        where ${mine(work)}`,
  ])
}
