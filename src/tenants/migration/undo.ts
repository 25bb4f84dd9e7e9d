/**
 * Undoes the migration of one tenant: the branch that was taken before it becomes the tenant's. Threat: writes that were acknowledged
 * are lost unsaid, or two attempts exchange the branch at once. So the branch that is left is closed before anything is counted
 * (fence.ts), the exchange is one conditional statement in the master, an attempt works only while it holds its lease, and every step
 * may be repeated.
 */
import type { WorkflowStep } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { decrypt } from '../../kernel/keyring.ts'
import { log } from '../../kernel/log.ts'
import { systemKeyOf } from '../../kernel/token.ts'
import { close, isClosed, open } from '../fence/fence.ts'
import { propagate } from '../lifecycle/lifecycle.ts'
import { hostOf, type Job, jobOf, type MasterRow, sealHostUrl, sealUrls } from '../provisioning/job.ts'
import { reason } from '../provisioning/neon.ts'
import { LEASE } from './fleet.ts'
import { branchOf, computeOf, KEPT, type Kept, renameBranch, UNDO_TRACES } from './kept.ts'
import { documentsIn, type Written, writtenSince } from './writes.ts'

/** One attempt at an undo. */
export type UndoWork = { undo_id: string; attempt: number }

const RETRIES = { limit: 3, delay: 500, backoff: 'exponential' as const }

/** The steps of an undo, in an instance of the Workflow. */
export async function undoIn(step: WorkflowStep, env: Env, config: Config, work: UndoWork): Promise<void> {
  const until = (timeout: '1 minute' | '5 minutes') => ({ retries: RETRIES, timeout })
  try {
    const host = await step.do('wake', until('5 minutes'), () => wake(config, work))
    if (host === null) return
    if (!(await step.do('exchange', until('5 minutes'), () => exchange(config, work, host)))) return
    await step.do('publish', until('5 minutes'), () => publishUndo(env, config, work))
  } catch (error) {
    await step.do('reopen', until('1 minute'), () => giveUpUndo(config, work, reason(error)))
  }
}

type Undo = {
  id: string
  target: string
  branch_id: string
  parent_id: string
  is_automatic: boolean
  discard_writes: boolean
  trace_id: string
}
type Held = {
  undo: Undo
  kept: Kept | null
  traces: string[]
  job: Job
  owner_url: string
  refresh_key: string
  refresh_key_encrypted: string
  is_exchanged: boolean
}

/**
 * The undo, if this attempt holds it; its lease begins again. `next` takes it over for that attempt, or has already. One round trip to
 * the master.
 */
async function hold(config: Config, { undo_id, attempt }: UndoWork, next = attempt): Promise<Held | null> {
  const [[found] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.migration_undos u set lease_until = now() + ${LEASE}, attempts = ${next}::integer from platform.tenants t join platform.hosts h on h.id = t.host_id
        where u.id = ${undo_id} and u.attempts in (${attempt}, ${next}) and u.state = 'running' and t.id = u.tenant_id
        returning to_jsonb(u) as undo, to_jsonb(t) as tenant, to_jsonb(h) as host, (select to_jsonb(k) from platform.kept_branches k where k.tenant_id = t.id) as kept,
          ${UNDO_TRACES} as traces`,
  ])
  if (!found) return null
  const undo = found.undo as Undo
  const row = found.tenant as MasterRow
  const job = await jobOf(config, row, found.host as MasterRow, undo.trace_id)
  const { id, owner_url } = job.tenant
  if (!owner_url) throw new Error('The tenant has no owner login.')
  const refresh_key = await decrypt(config.ENCRYPTION_KEYS, id, 'refresh_key', String(row.refresh_key_encrypted))
  return {
    undo,
    kept: found.kept as Kept | null,
    traces: found.traces as string[],
    job,
    owner_url,
    refresh_key,
    refresh_key_encrypted: String(row.refresh_key_encrypted),
    is_exchanged: branchOf(job) === undo.branch_id,
  }
}

/** A connection string with another host: the logins of a branch are those of its parent, and their passwords. */
const at = (url: string | null, host: string) => Object.assign(new URL(String(url)), { host }).href

/**
 * Gives the kept branch its compute, and asks it whether it is this tenant's. Returns its host; null: there is nothing to do. Before
 * the tenant is closed, which it then is for a moment only.
 */
export async function wake(config: Config, work: UndoWork): Promise<string | null> {
  const held = await hold(config, work)
  if (!held) return null
  const { undo, job, owner_url, refresh_key, is_exchanged } = held
  const { project_id, owner_role } = hostOf(job)
  if (is_exchanged) return new URL(owner_url).host
  const { id, database_name: database } = job.tenant
  const host = await computeOf(job.neon, { project_id, branch_id: undo.branch_id, owner_role, database })
  const statements = [sql`set local role freehold_owner`, await knowsKey(refresh_key), sql`select t.id from freehold.tenant t`]
  const own = (await batch(at(owner_url, host), statements, undo.trace_id)).at(-1)?.[0]
  if (own?.id !== id) throw new Error('The branch that was kept is not of this tenant.')
  return host
}

/** Has a branch know a key of the system that was made meanwhile, also one whose schema knows nothing of rotations. */
const knowsKey = async (refresh_key: string) =>
  sql`update access.secrets s set system_hash = k.hash from sha256(convert_to(${await systemKeyOf(refresh_key)}, 'UTF8')) k (hash) where s.system_hash is distinct from k.hash`

/**
 * Closes the branch that is left, counts what was written there, and makes the kept one the tenant's. False: it was refused, because
 * something was written; the tenant is open again and the report says what. True also when it was done before.
 */
export async function exchange(config: Config, work: UndoWork, host: string): Promise<boolean> {
  const held = await hold(config, work)
  if (!held) return false
  if (held.is_exchanged) return true
  const { undo, kept, job, owner_url } = held
  const { id, subdomain, app_url } = job.tenant
  if (kept?.branch_id !== undo.branch_id) throw new Error('The branch of before the migration is not kept any more.')
  await close(owner_url, id, work.attempt, undo.trace_id)
  const writes = await writtenSince(owner_url, kept.before, [kept.trace_id, ...held.traces])
  if (!(await isClosed(owner_url, work.attempt))) throw new Error('Another attempt at this undo has begun.')
  if (writes.length && !undo.discard_writes) {
    await open(owner_url, id, work.attempt, undo.trace_id)
    await refuse(config, work, undo, writes)
    return false
  }
  const known = at(owner_url, host)
  const [, , [version] = [], heads = []] = await batch(known, [
    sql`set local role freehold_owner`,
    await knowsKey(held.refresh_key),
    sql`select m.name from freehold.migrations m where m.name like 'tenant/%' order by m.name desc limit 1`,
    // The chain of the audit that is the tenant's from now on: its head in the master goes back with it.
    sql`select s.no, encode(s.hash, 'hex') as hash, s.created_at::text as checkpointed_at, (select sum(e.entries) from freehold.audit_checkpoints e)::integer as entries
        from freehold.audit_checkpoints s order by s.no desc limit 1`,
  ])
  const urls = await sealUrls(config, id, { app_url: at(app_url, host), owner_url: known })
  const mine = sql`exists (select from platform.migration_undos u where u.id = ${undo.id} and u.attempts = ${work.attempt} and u.state = 'running')`
  // Its keys were rotated since the branch was taken, which knows the new one alone.
  const is_rotated = sql`coalesce(t.refresh_key_from > (select k.kept_until - ${KEPT} from platform.kept_branches k where k.tenant_id = t.id), false)`
  const lock = sql`select u.id from platform.migration_undos u where u.id = ${undo.id} for update`
  const branch = sql`coalesce(t.branch_id, (select h.branch_id from platform.hosts h where h.id = t.host_id))`
  const is_ours = sql`exists (select from platform.tenants t where t.id = ${id} and ${branch} = ${undo.branch_id})`
  // The main branch of a project is that of its host, whose own database is there, too.
  const { id: host_id, owner_url: host_url } = hostOf(job)
  const host_sealed = await sealHostUrl(config, host_id, at(host_url, host))
  const [, exchanged] = await batch(
    config.MASTER_DATABASE_URL,
    [
      // Whoever gives this attempt up waits here, or was first.
      lock,
      sql`update platform.tenants t set branch_id = case when t.isolation = 'project' then null else ${undo.branch_id} end, app_url_encrypted = ${urls.app_url}, owner_url_encrypted = ${urls.owner_url},
            schema_version = ${version?.name ?? null}, presets_version = null,
            former_refresh_key_encrypted = case when ${is_rotated} then null else t.former_refresh_key_encrypted end, refresh_key_from = case when ${is_rotated} then null else t.refresh_key_from end
          where t.id = ${id} and ${branch} = ${undo.parent_id} and t.refresh_key_encrypted = ${held.refresh_key_encrypted} and ${mine} returning t.id`,
      sql`update platform.hosts h set branch_id = ${undo.branch_id}, owner_url_encrypted = ${host_sealed}
          where h.id = ${host_id} and h.kind = 'project' and h.branch_id = ${undo.parent_id} and ${mine}`,
      sql`update platform.tenant_migrations m set state = ${undo.is_automatic ? 'failed' : 'undone'}, finished_at = now(),
            error = case when ${undo.is_automatic}::boolean then concat_ws(' ', m.error, 'The branch of before the migration was put back.') else 'An operator undid it.' end
          where m.tenant_id = ${id} and m.target = ${undo.target} and m.state = 'undoing' and ${is_ours}`,
      sql`delete from platform.audit_heads h where h.realm_id = ${id} and ${is_ours}`,
      sql`insert into platform.audit_heads (realm_id, no, hash, entries, checkpointed_at)
          select ${id}, x.no, x.hash, x.entries, x.checkpointed_at from jsonb_to_recordset(${JSON.stringify(heads)}::jsonb) as x (no integer, hash text, entries bigint, checkpointed_at timestamptz) where ${is_ours}`,
      sql`delete from platform.kept_branches k where k.tenant_id = ${id} and k.branch_id = ${undo.branch_id} and ${is_ours}`,
      sql`update platform.migration_undos u set writes = ${JSON.stringify(writes)}::jsonb, documents = ${await documentsIn(owner_url)}::bigint where u.id = ${undo.id} and ${is_ours}`,
    ],
    undo.trace_id,
  )
  if (!exchanged?.length) throw new Error('The tenant has another branch, or another attempt at this undo has begun.')
  log('migration undone', { tenant: subdomain, trace_id: undo.trace_id, to: String(version?.name) })
  return true
}

/** Records that an undo ended without effect. */
async function end(
  config: Config,
  work: UndoWork,
  state: 'refused' | 'failed',
  error: string,
  writes: Written[] | null,
  why: string,
) {
  await batch(config.MASTER_DATABASE_URL, [
    sql`with ended as (
          update platform.migration_undos u set state = ${state}, error = ${error}, writes = coalesce(${writes && JSON.stringify(writes)}::jsonb, u.writes), finished_at = now()
          where u.id = ${work.undo_id} and u.attempts = ${work.attempt} and u.state = 'running' returning u.tenant_id, u.target, u.was, u.is_automatic),
          -- What was changed meanwhile did not reach the closed database.
          told as (update platform.tenants t set published_v = least(t.published_v, t.v - 1) from ended e where t.id = e.tenant_id)
        update platform.tenant_migrations m set state = e.was, error = case when e.is_automatic then concat_ws(' ', m.error, ${why}::text) else m.error end
        from ended e where m.tenant_id = e.tenant_id and m.target = e.target and m.state = 'undoing'`,
  ])
}

const refuse = (config: Config, work: UndoWork, { is_automatic }: Undo, writes: Written[]) =>
  end(
    config,
    work,
    'refused',
    'Rows were written since the branch was taken.',
    writes,
    is_automatic
      ? `The branch of before the migration was not put back, because rows were written meanwhile: ${told(writes)}.`
      : '',
  )

/** What was written, in one line. */
export const told = (writes: Written[]) =>
  writes.map(({ table, written, restored }) => `${table} ${written} written, ${restored} changed or deleted`).join('; ')

/**
 * Publishes the tenant's database, names both branches, and ends the undo. The compute of the branch that was left stays for five minutes:
 * isolates that do not know better are told there to look the tenant up afresh. The branch itself stays, because Neon deletes no
 * branch that has a child; it goes with the tenant.
 */
export async function publishUndo(env: Env, config: Config, work: UndoWork): Promise<void> {
  const held = await hold(config, work)
  if (!held?.is_exchanged) return
  const { undo, job } = held
  const { project_id } = hostOf(job)
  const { id } = job.tenant
  await propagate({ env, config, meter: { master: 0 }, trace_id: undo.trace_id }, id)
  await renameBranch(job.neon, project_id, undo.parent_id, `tenant-${id}-undone-${undo.parent_id}`)
  await renameBranch(job.neon, project_id, undo.branch_id, `tenant-${id}`)
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.migration_undos u set state = 'done', error = null, finished_at = now(), compute_until = now() + interval '5 minutes'
        where u.id = ${undo.id} and u.attempts = ${work.attempt} and u.state = 'running'`,
  ])
}

/**
 * Ends an undo that cannot go on, and opens the tenant's database again: as the attempt after, so that an exchange that is under way
 * still has happened by then or never does. One whose branch is exchanged is left to its lease: the scheduled job goes on with it.
 */
export async function giveUpUndo(config: Config, given: UndoWork, words: string): Promise<void> {
  const work = { ...given, attempt: given.attempt + 1 }
  const held = await hold(config, given, work.attempt)
  if (!held) return
  const { undo, job, owner_url, is_exchanged } = held
  log('migration not undone', { tenant: job.tenant.subdomain, trace_id: undo.trace_id, error: words })
  if (is_exchanged) return
  await open(owner_url, job.tenant.id, work.attempt, undo.trace_id)
  await end(config, work, 'failed', words, null, `The branch of before the migration was not put back: ${words}`)
}
