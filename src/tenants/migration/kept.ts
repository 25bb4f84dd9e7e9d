/**
 * The branch that a tenant of isolation `branch` or `project` gets before a migration, so that the migration can be undone for it alone.
 * Threat: an answer of Neon is lost, and there are two, or one that nobody knows of, or an old one that is taken for that of this
 * attempt. So its name has the tenant, the migration and the attempt; it is looked for by that name; and a tenant has one at most.
 */
import { raw } from '@neon/sdk'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { tenantMigrations } from '../provisioning/bundled.ts'
import { hostOf, type Job, jobOf, type MasterRow } from '../provisioning/job.ts'
import {
  isConflict,
  isLimit,
  type NeonApi,
  neonApi,
  neonWords,
  remove,
  underWay,
  waitFor,
  withRetry,
} from '../provisioning/neon.ts'
import { type Claim, isHeld, LEASE } from './fleet.ts'
import { type Before, lookAt } from './writes.ts'

/** How long a branch is kept when no other migration of its tenant comes. */
export const KEPT = sql`interval '7 days'`

/** The trace ids of a tenant's undos, of `platform.tenants t`: an earlier one that failed closed and opened the database. */
export const UNDO_TRACES = sql`array(select x.trace_id from platform.migration_undos x where x.tenant_id = t.id)`

export type Kept = {
  target: string
  attempt: number
  parent_id: string
  branch_id: string | null
  refused: string | null
  from_version: string | null
  before: Before
  trace_id: string
}

/** The number of a migration, as in the names of its Workflow instances. */
const numberOf = (target: string) => /\/(\d+)/.exec(target)?.[1] ?? '0'
type Place = Pick<Kept, 'target' | 'attempt'>
const nameOf = (tenant_id: string, { target, attempt }: Place) => `tenant-${tenant_id}-before-${numberOf(target)}-${attempt}`

/** The branch that a tenant shares with nobody: its own, or the main one of its own project. */
export const branchOf = (job: Job) => job.tenant.branch_id ?? hostOf(job).branch_id

/**
 * Takes the branch, where the tenant has a branch of its own and its ledger lacks a migration; the one of the migration before goes,
 * and that of an attempt before, unless that one applied a part of it. Repeatable. Where Neon has no room for it the tenant is migrated without, and the row says so: releases go on. Four round trips to
 * the master and two to the tenant's database. Fails while a migration of the tenant is being undone.
 */
export async function keepBranch(config: Config, claim: Claim): Promise<void> {
  const { tenant_id, target, attempt } = claim
  const [held] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenant_migrations m set lease_until = now() + ${LEASE} from platform.tenants t join platform.hosts h on h.id = t.host_id
        where ${isHeld(claim)}
          and t.id = m.tenant_id and (t.isolation = 'branch' and t.branch_id is not null or t.isolation = 'project') and t.status in ('active', 'inactive', 'deleted')
        returning to_jsonb(t) as tenant, to_jsonb(h) as host, (select to_jsonb(k) from platform.kept_branches k where k.tenant_id = t.id) as kept,
          exists (select from platform.migration_undos u where u.tenant_id = t.id and u.state = 'running') as is_undoing,
          (select r.trace_id from platform.migration_runs r where r.id = m.run_id) as trace_id`,
  ])
  const found = held?.[0]
  if (!found) return
  if (found.is_undoing) throw new Error('A migration of this tenant is being undone.')
  const trace_id = traceOf(tenant_id, found.trace_id)
  const job = await jobOf(config, found.tenant as MasterRow, found.host as MasterRow, trace_id)
  const { neon, tenant } = job
  const { project_id } = hostOf(job)
  const parent_id = branchOf(job)
  const kept = found.kept as Kept | null
  const is_of_this = kept?.target === target && kept.attempt === attempt
  if (is_of_this && (kept.branch_id || kept.refused)) return
  if (!is_of_this) {
    // Looked at before Neon is asked: what is written meanwhile counts as lost, never as safe.
    const { before, applied } = await lookAt(String(tenant.owner_url))
    if (tenantMigrations.every(({ name }) => applied.includes(name))) return
    // An attempt before applied a part of this migration: what it kept is of before all of it.
    if (kept?.target === target && kept.branch_id && kept.parent_id === parent_id && applied.at(-1) !== kept.from_version) {
      await batch(config.MASTER_DATABASE_URL, [
        sql`update platform.kept_branches k set attempt = ${attempt}, kept_until = now() + ${KEPT} from platform.tenant_migrations m
            where k.tenant_id = ${tenant_id} and k.branch_id = ${kept.branch_id} and k.attempt = ${kept.attempt} and ${isHeld(claim)}`,
      ])
      return
    }
    await removeUpTo(neon, project_id, tenant_id, claim)
    const row = sql`${tenant_id}, ${target}, ${attempt}::integer, ${parent_id}, ${applied.at(-1) ?? null}, ${JSON.stringify(before)}::jsonb, ${trace_id}, now() + ${KEPT}, null, null`
    const [, still] = await batch(config.MASTER_DATABASE_URL, [
      sql`insert into platform.kept_branches as k (tenant_id, target, attempt, parent_id, from_version, before, trace_id, kept_until, branch_id, refused)
          select ${row} from platform.tenant_migrations m where ${isHeld(claim)} for share
          on conflict (tenant_id) do update set (target, attempt, parent_id, from_version, before, trace_id, kept_until, branch_id, refused)
            = row (excluded.target, excluded.attempt, excluded.parent_id, excluded.from_version, excluded.before, excluded.trace_id, excluded.kept_until, null, null)
          where (k.target, k.attempt) is distinct from (excluded.target, excluded.attempt)`,
      sql`select from platform.tenant_migrations m where ${isHeld(claim)}`,
    ])
    // A later attempt has begun, which keeps a branch of its own.
    if (!still?.length) return
  }
  const taken = await takeBranch(neon, project_id, parent_id, nameOf(tenant_id, claim)).catch((error) => {
    if (!isLimit(error)) throw error
    log('no branch is kept', { tenant: tenant.subdomain, trace_id, error: neonWords(error) })
    return { refused: neonWords(error) }
  })
  const [branch_id, refused] = 'refused' in taken ? [null, taken.refused] : [taken.branch_id, null]
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.kept_branches k set branch_id = ${branch_id}, refused = ${refused}
        where k.tenant_id = ${tenant_id} and k.target = ${target} and k.attempt = ${attempt}`,
  ])
}

/** The trace id of a migration: that of its run. */
export const traceOf = (tenant_id: string, of_run: unknown) => String(of_run ?? tenant_id.replaceAll('-', ''))

/**
 * Takes a child of a branch, as that is or was at a moment, without a compute, and waits for it. One of that name is adopted, unless it
 * was never made.
 */
export async function takeBranch(
  neon: NeonApi,
  project_id: string,
  parent_id: string,
  name: string,
  moment?: string,
): Promise<{ branch_id: string }> {
  const create = async () => {
    const body = { branch: { parent_id, name, ...(moment !== undefined && { parent_timestamp: moment }) } }
    const made = await withRetry(() =>
      raw.createProjectBranch({ client: neon.client, path: { project_id }, body, throwOnError: true }),
    )
    await waitFor(neon, made.operations)
    return { branch_id: made.branch.id }
  }
  const known = await named(neon, project_id, name)
  if (known) return (await isWhole(neon, project_id, known.id)) ? { branch_id: known.id } : create()
  return create().catch(async (error) => {
    const other = isConflict(error) && (await named(neon, project_id, name))
    if (!other) throw error
    return (await isWhole(neon, project_id, other.id)) ? { branch_id: other.id } : create()
  })
}

/** True of a branch once it is made. One whose creation failed is deleted: Neon has no other state for it than `init`. */
async function isWhole(neon: NeonApi, project_id: string, branch_id: string): Promise<boolean> {
  await waitFor(neon, await underWay(neon, project_id, branch_id)).catch(() => undefined)
  const { branch } = await raw.getProjectBranch({ client: neon.client, path: { project_id, branch_id }, throwOnError: true })
  if (branch.current_state !== 'init') return true
  await remove(neon, { project_id, branch_id }, null)
  return false
}

const named = async (neon: NeonApi, project_id: string, name: string) =>
  (await neon.branches.list({ projectId: project_id, search: name }).all()).find((branch) => branch.name === name)

/**
 * Removes what was kept up to this attempt: one that lost its lease while Neon answered nobody may have left a branch, and a master
 * that was restored to an earlier moment numbers its attempts again.
 */
async function removeUpTo(neon: NeonApi, project_id: string, tenant_id: string, { target, attempt }: Place): Promise<void> {
  const prefix = `tenant-${tenant_id}-before-`
  for (const { id, name } of await neon.branches.list({ projectId: project_id, search: prefix }).all()) {
    const [, number, of] = name.startsWith(prefix) ? (/^(\d+)-(\d+)$/.exec(name.slice(prefix.length)) ?? []) : []
    const [one, other] = [Number(number), Number(numberOf(target))]
    if (one < other || (one === other && Number(of) <= attempt)) await remove(neon, { project_id, branch_id: id }, null)
  }
}

/** Removes the branch that is kept of a tenant, whose time is over. Not an error when it does not exist. */
export async function forgetBranch(config: Config, found: Record<string, unknown>): Promise<void> {
  const kept = found.kept as Kept
  const { tenant } = await jobOf(config, found.tenant as MasterRow, null, kept.trace_id)
  const host = found.host as MasterRow
  await removeUpTo(neonApi(config, { at: host }), String(host.project_id), tenant.id, kept)
  await batch(config.MASTER_DATABASE_URL, [
    sql`delete from platform.kept_branches k where k.tenant_id = ${tenant.id} and k.target = ${kept.target} and k.attempt = ${kept.attempt} and k.kept_until <= now()`,
  ])
}

/** Gives a branch a compute, waits for it, and returns the host where it is reached. One that it has is adopted. */
export async function computeOf(
  neon: NeonApi,
  at: { project_id: string; branch_id: string; owner_role: string; database: string },
): Promise<string> {
  const { project_id, branch_id } = at
  const path = { project_id, branch_id }
  await waitFor(neon, await underWay(neon, project_id, branch_id)).catch(() => undefined)
  const { endpoints } = await raw.listProjectBranchEndpoints({ client: neon.client, path, throwOnError: true })
  const known = endpoints.find(({ type }) => type === 'read_write')
  // One whose start failed stays at `init`.
  if (known?.current_state === 'init') await removeCompute(neon, project_id, known.id)
  if (!known || known.current_state === 'init') {
    const body = { endpoint: { branch_id, type: 'read_write' as const } }
    const made = await withRetry(() =>
      raw.createProjectEndpoint({ client: neon.client, path: { project_id }, body, throwOnError: true }),
    )
    await waitFor(neon, made.operations)
  }
  const uri = await neon.postgres.connectionString({
    projectId: project_id,
    branchId: branch_id,
    databaseName: at.database,
    roleName: at.owner_role,
    pooled: false,
  })
  return new URL(uri).host
}

async function removeCompute(neon: NeonApi, project_id: string, endpoint_id: string): Promise<void> {
  const gone = await withRetry(() =>
    raw.deleteProjectEndpoint({ client: neon.client, path: { project_id, endpoint_id }, throwOnError: true }),
  )
  await waitFor(neon, gone?.operations ?? [])
}

/** Removes the computes of a branch. Not an error when it has none. */
export async function removeComputes(neon: NeonApi, project_id: string, branch_id: string): Promise<void> {
  const path = { project_id, branch_id }
  const { endpoints } = await raw.listProjectBranchEndpoints({ client: neon.client, path, throwOnError: true })
  for (const { id } of endpoints) await removeCompute(neon, project_id, id)
}

/** Renames a branch; again is no error. */
export async function renameBranch(neon: NeonApi, project_id: string, branch_id: string, name: string): Promise<void> {
  const path = { project_id, branch_id }
  await withRetry(() => raw.updateProjectBranch({ client: neon.client, path, body: { branch: { name } }, throwOnError: true }))
}
