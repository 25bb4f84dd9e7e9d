/**
 * Moves a tenant to a shared host, or to a project of its own. Threat: a write that was acknowledged is in a database that nobody
 * reads any more; two databases that both answer; a tenant that stays closed, or a database that nobody knows, because whoever worked
 * on it died. So everything that takes time is made while the tenant is in use; then its database is closed to writes (fence.ts), copied
 * and compared; the new one is proven, the old one closed to everybody, and one conditional statement in the master makes the new one the
 * tenant's. An attempt works only while it
 * holds its lease, and every step may be repeated. What is left is removed some minutes later, and not before all know the new one.
 */
import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from 'cloudflare:workers'
import { NonRetryableError } from 'cloudflare:workflows'
import { sql } from 'drizzle-orm'
import { type Config, configOf } from '../../kernel/config.ts'
import { batch, useSqlUrl } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { decrypt } from '../../kernel/keyring.ts'
import { log } from '../../kernel/log.ts'
import { newToken } from '../../kernel/token.ts'
import { close, closeWrites, isClosed, openWrites } from '../fence/fence.ts'
import { propagate } from '../lifecycle/lifecycle.ts'
import { NEWEST } from '../migration/versions.ts'
import { tenantMigrations } from '../provisioning/bundled.ts'
import { isolations } from '../provisioning/isolation.ts'
import { isOurs } from '../provisioning/isolation-database.ts'
import { hostOf, type Job, sealUrls } from '../provisioning/job.ts'
import { migrate } from '../provisioning/migrations.ts'
import { hasFailed, reason, waitFor } from '../provisioning/neon.ts'
import { NoCapacity } from '../provisioning/opening.ts'
import { checkpointAll, fill, open, ownerOf } from './copy.ts'
import { type Held, hold, LEASE, type MoveWork } from './place.ts'
import { mustBeAlike, prove } from './proof.ts'
import { removeOther } from './rest.ts'
import { differing, shapeOf, sumsOf } from './rows.ts'

/** While the tenant is in use: Neon may be away for a minute. */
const PATIENT = { retries: { limit: 7, delay: 500, backoff: 'exponential' as const }, timeout: '2 minutes' as const }
/** While it takes no writes. */
const BRIEF = { retries: { limit: 4, delay: 300, backoff: 'exponential' as const }, timeout: '10 minutes' as const }
/** A tenant takes no writes for no longer: then it is opened again, and the move has failed. */
const MOST_CLOSED = sql`interval '5 minutes'`

/** The steps of a move, in order. */
export const STEPS = ['place', 'database', 'operations', 'logins', 'migrate', 'copy', 'exchange', 'publish'] as const
type Step = (typeof STEPS)[number]

/** Moves one tenant: one instance per attempt. */
export class Move extends WorkflowEntrypoint<Env, MoveWork> {
  override async run({ payload: work }: Readonly<WorkflowEvent<MoveWork>>, step: WorkflowStep) {
    const config = configOf(this.env)
    useSqlUrl(config.NEON_SQL_URL)
    try {
      for (const name of STEPS) {
        const options = ['copy', 'exchange'].includes(name) ? BRIEF : PATIENT
        await step.do(name, options, () => doStep(this.env, config, work, name))
      }
    } catch (error) {
      await step.do('give up', PATIENT, () => giveUp(this.env, config, work, reason(error)))
      await step.do('remove', PATIENT, () => removeOther(config, work.move_id))
    }
  }
}

/** Does a step, if this attempt holds the move. What no try can change is not tried again. */
export async function doStep(env: Env, config: Config, work: MoveWork, name: Step): Promise<void> {
  const held = await hold(config, work, name)
  if (!held) return
  if (held.move.exchanged_at && name !== 'publish') return
  const { tenant } = held.tenant
  const about = { tenant: tenant.subdomain, trace_id: held.move.trace_id, move: work.move_id, step: name }
  try {
    if (held.status === 'erasing') throw new NonRetryableError('The tenant is being erased.')
    await steps[name]({ env, config, work, ...held })
    log('move step done', about)
  } catch (error) {
    const words = reason(error)
    log('move step failed', { ...about, error: words })
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.tenant_moves m set error = ${words} where m.id = ${work.move_id} and m.attempts = ${work.attempt} and m.state = 'running'`,
    ]).catch(() => undefined)
    const is_permanent =
      error instanceof NoCapacity || error instanceof NonRetryableError || (name === 'operations' && hasFailed(error))
    throw is_permanent ? new NonRetryableError(words) : new Error(words)
  }
}

type Doing = Held & { env: Env; config: Config; work: MoveWork }

/** True of the row `m` of a move that this attempt holds. */
const mine = ({ move_id, attempt }: MoveWork) => sql`m.id = ${move_id} and m.attempts = ${attempt} and m.state = 'running'`

const steps: Record<Step, (doing: Doing) => Promise<void>> = {
  place: ({ other }) => isolationOf(other).place(other),

  database: async ({ config, work, other }) => {
    const operations = await isolationOf(other).create(other)
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.tenant_moves m set operations = ${JSON.stringify(operations)}::jsonb where ${mine(work)}`,
    ])
  },

  operations: ({ other, move }) => waitFor(other.neon, move.operations ?? []),

  logins: async ({ config, work, other }) => {
    const { id, app_url, owner_url } = other.tenant
    const made = await isolationOf(other).urls(other, { app: newToken(), owner: newToken() })
    const sealed = await sealUrls(config, id, app_url && owner_url ? { app_url, owner_url } : made)
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.tenant_moves m set app_url_encrypted = ${sealed.app_url}, owner_url_encrypted = ${sealed.owner_url} where ${mine(work)} and m.app_url_encrypted is null`,
    ])
    // The recorded passwords count: an earlier try may have been first.
    const kept = (await hold(config, work, null))?.other
    if (!kept) throw new NonRetryableError('Another attempt at this move has begun.')
    await isolationOf(kept).logins(kept, { app_url: known(kept.tenant.app_url), owner_url: known(kept.tenant.owner_url) })
  },

  migrate: async ({ other, schema_version, move }) => {
    mustBeNewest(schema_version)
    if (!(await isOurs(other)))
      throw new NonRetryableError(`There is another database ${other.tenant.database_name} on that host.`)
    await migrate(known(other.tenant.owner_url), tenantMigrations, move.trace_id)
  },

  copy: async ({ config, work, tenant, other, owner_url, schema_version, move }) => {
    mustBeNewest(schema_version)
    const to = known(other.tenant.owner_url)
    const { id } = tenant.tenant
    const [at, there] = [await ownerOf(owner_url), await ownerOf(to)]
    if (there?.id === id && at?.id === id && at.is_open)
      throw new NonRetryableError('An earlier attempt was given up after the new database was filled.')
    const [[still] = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.tenant_moves m set closed_at = coalesce(m.closed_at, clock_timestamp()), lease_until = now() + ${LEASE}
          where ${mine(work)} returning m.id`,
    ])
    if (!still) throw new NonRetryableError('Another attempt at this move has begun.')
    await closeWrites(owner_url, id, work.attempt, move.trace_id)
    // Filled and compared by an earlier attempt, since which nothing was opened.
    if (there?.id === id) return
    if (!(await checkpointAll(owner_url, move.trace_id)))
      throw new Error('A transaction of another database is in the way of the audit’s checkpoint.')
    await fill(owner_url, to, work.attempt, (copied) => goOn(config, work, copied))
    const shape = await shapeOf(owner_url)
    const differs = differing(await sumsOf(owner_url, shape), await sumsOf(to, shape))
    if (differs.length) throw new Error(`The copy differs in ${differs.join(', ')}.`)
    if (!(await isClosed(owner_url, work.attempt))) throw new NonRetryableError('Another attempt at this move has begun.')
  },

  exchange: async (doing) => {
    const { config, work, tenant, other, owner_url, move, refresh_key_encrypted } = doing
    const { id } = tenant.tenant
    const urls = { app_url: known(other.tenant.app_url), owner_url: known(other.tenant.owner_url) }
    if ((await ownerOf(urls.owner_url))?.id !== id)
      await open(urls.owner_url, await shapeOf(owner_url), work.attempt, id, move.trace_id)
    await mustBeAlike(owner_url, urls.owner_url)
    await prove(config, other, urls, await decrypt(config.ENCRYPTION_KEYS, id, 'refresh_key', refresh_key_encrypted))
    // Behind the exchange nobody may be answered from what was left.
    if (!(await hold(config, work, null))) throw new NonRetryableError('Another attempt at this move has begun.')
    await close(owner_url, id, work.attempt, move.trace_id)
    if (!(await isClosed(owner_url, work.attempt))) throw new NonRetryableError('Another attempt at this move has begun.')
    const [, exchanged] = await batch(
      config.MASTER_DATABASE_URL,
      [
        // Whoever gives this attempt up waits here, or was first.
        sql`select m.id from platform.tenant_moves m where m.id = ${move.id} for update`,
        sql`update platform.tenants t set host_id = h.id, region = h.region, isolation = m.isolation, branch_id = null,
              app_url_encrypted = m.app_url_encrypted, owner_url_encrypted = m.owner_url_encrypted
            from platform.tenant_moves m join platform.hosts h on h.id = m.other_host_id
            where ${mine(work)} and m.exchanged_at is null and t.id = m.tenant_id and t.move_id = m.id and t.status <> 'erasing' returning t.id`,
        sql`update platform.tenant_moves m set exchanged_at = clock_timestamp(), other_host_id = ${hostOf(tenant).id}, error = null
            where ${mine(work)} and m.exchanged_at is null and exists (select from platform.tenants t where t.id = m.tenant_id and t.host_id = m.other_host_id)`,
        // They are in what was left, and go with it.
        sql`delete from platform.kept_branches k using platform.tenant_moves m where m.id = ${move.id} and m.exchanged_at is not null and k.tenant_id = m.tenant_id`,
        sql`update platform.migration_undos u set compute_until = null from platform.tenant_moves m where m.id = ${move.id} and m.exchanged_at is not null and u.tenant_id = m.tenant_id`,
      ],
      move.trace_id,
    )
    if (!exchanged?.length && !(await hold(config, work, null))?.move.exchanged_at)
      throw new NonRetryableError('Another attempt at this move has begun.')
    log('tenant moved', { tenant: tenant.tenant.subdomain, trace_id: move.trace_id, to: move.isolation })
  },

  publish: async ({ env, config, work, move }) => {
    if (!move.exchanged_at) throw new NonRetryableError('The move has not come that far.')
    await propagate({ env, config, meter: { master: 0 }, trace_id: move.trace_id }, move.tenant_id)
    await batch(config.MASTER_DATABASE_URL, [
      sql`with ended as (
            update platform.tenant_moves m set state = 'done', error = null, finished_at = now(), left_until = now() + interval '5 minutes', lease_until = now()
            where ${mine(work)} returning m.id, m.tenant_id)
          update platform.tenants t set move_id = null from ended e where t.id = e.tenant_id and t.move_id = e.id`,
    ])
  },
}

/** Records what is copied; its lease begins again. Fails when another attempt has begun, or the tenant is closed for too long. */
async function goOn(config: Config, work: MoveWork, copied: Record<string, number>): Promise<void> {
  const [[row] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenant_moves m set lease_until = now() + interval '3 minutes', copied = ${JSON.stringify(copied)}::jsonb where ${mine(work)}
        returning clock_timestamp() > m.closed_at + ${MOST_CLOSED} as is_too_long`,
  ])
  if (!row) throw new NonRetryableError('Another attempt at this move has begun.')
  if (row.is_too_long)
    throw new NonRetryableError('Copying takes longer than the five minutes for which a tenant may take no writes.')
}

function mustBeNewest(schema_version: string | null): void {
  if (schema_version !== NEWEST)
    throw new NonRetryableError(
      `The tenant has the schema ${schema_version}, and this release makes ${NEWEST}: migrate it first.`,
    )
}

/**
 * Ends a move that cannot go on, and opens the tenant's database again: as the attempt after, so that an exchange that is under way
 * still has happened by then or never does. One whose database is exchanged is left to its lease: the scheduled job goes on with it.
 */
export async function giveUp(env: Env, config: Config, given: MoveWork, words: string): Promise<void> {
  const work = { ...given, attempt: given.attempt + 1 }
  const held = await hold(config, given, null, work.attempt)
  if (!held) return
  const { move, tenant, owner_url } = held
  const { id, subdomain } = tenant.tenant
  log('tenant not moved', { tenant: subdomain, trace_id: move.trace_id, step: move.step, error: words })
  if (move.exchanged_at) return
  await openWrites(owner_url, id, work.attempt, move.trace_id)
  await batch(config.MASTER_DATABASE_URL, [
    sql`with ended as (
          update platform.tenant_moves m set state = 'failed', error = ${words}, finished_at = now(), left_until = now(), lease_until = now()
          where ${mine(work)} and m.exchanged_at is null returning m.id, m.tenant_id)
        update platform.tenants t set move_id = null,
          -- What was changed meanwhile did not reach the closed database.
          published_v = least(t.published_v, t.v - 1)
        from ended e where t.id = e.tenant_id and t.move_id = e.id`,
  ])
  await propagate({ env, config, meter: { master: 0 }, trace_id: move.trace_id }, id).catch(() => undefined)
}

const isolationOf = ({ tenant: { isolation } }: Job) => {
  const found = Object.hasOwn(isolations, isolation) ? isolations[isolation] : undefined
  if (!found) throw new NonRetryableError(`There is no isolation ${isolation}.`)
  return found
}

function known(value: string | null): string {
  if (!value) throw new Error('An earlier step did not leave what this one needs.')
  return value
}
