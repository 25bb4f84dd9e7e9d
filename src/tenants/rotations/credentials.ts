/**
 * Rotating the logins of a tenant. Threat: a request fails, or reaches a database without a login, because one isolate has the new
 * connection string and another the former one; a rotation stops half-way and leaves logins that nobody knows of; the logins that are in
 * use are dropped. So a tenant has two pairs of names in turn: the new pair is made and proven beside the other, becomes the tenant's in one
 * statement, and the former pair works until everybody knows the new one, three minutes after KV has it. What a run does is in its row before it is
 * tried, each step may run again, and the scheduled job goes on with those that stopped (docs/decisions/0054-rotations.md).
 */
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import type { Env } from '../../kernel/env.ts'
import { decrypt } from '../../kernel/keyring.ts'
import { log } from '../../kernel/log.ts'
import { newToken } from '../../kernel/token.ts'
import { propagate } from '../lifecycle/lifecycle.ts'
import { KNOWN } from '../lifecycle/rotation.ts'
import { isolations } from '../provisioning/isolation.ts'
import { type Job, jobOf, type MasterRow, sealUrls } from '../provisioning/job.ts'
import { makeLogins, urlsAt } from '../provisioning/logins.ts'
import { reason } from '../provisioning/neon.ts'
import { dropOtherPair, otherPair } from '../provisioning/other-pair.ts'
import { openOwnerUrl } from '../provisioning/owner-url.ts'

/** Nobody works on a rotation whose lease ran out. */
export const LEASE = sql`interval '2 minutes'`
/**
 * What Neon and the cluster may take for a change of logins, and more: whoever is slower than its lease would change the logins of the
 * rotation after.
 */
const LOGINS = sql`interval '15 minutes'`
/** Then it fails, and the new logins are removed. */
const MOST_ATTEMPTS = 5
/** Rotations of one run of the scheduled job: an invocation has 1,000 subrequests. */
const MOST = 10

type Rotation = {
  id: string
  tenant_id: string
  state: 'running' | 'leaving' | 'failing'
  attempts: number
  trace_id: string
  app_url_encrypted: string | null
  owner_url_encrypted: string | null
  is_known: boolean
}
type Held = { rotation: Rotation; job: Job }

/**
 * Does what can be done now of a rotation; repeatable. Of several at once one does it, who holds the lease. Never fails: after an error
 * the scheduled job tries again, five times, and then the new logins are removed and the rotation has failed.
 */
export async function rotateCredentials(env: Env, config: Config, id: string): Promise<void> {
  const held = await hold(config, id)
  if (!held) return
  const { rotation, job } = held
  const about = { tenant: job.tenant.subdomain, trace_id: rotation.trace_id, rotation: id }
  try {
    if (rotation.state === 'running') await exchange(config, held)
    if (rotation.state === 'failing') await removeOther(config, held, 'failed')
    else if (rotation.is_known) await removeOther(config, held, 'done')
    else await publish(env, config, held)
    log('logins rotated', about)
  } catch (error) {
    const words = reason(error)
    log('logins not rotated', { ...about, error: words })
    await batch(config.MASTER_DATABASE_URL, [
      sql`update platform.credential_rotations r set error = ${words}, lease_until = now(),
            state = case when r.state = 'running' and r.attempts >= ${MOST_ATTEMPTS} then 'failing' else r.state end
          where r.id = ${id} and r.attempts = ${rotation.attempts} and r.state in ('running', 'leaving', 'failing')`,
    ]).catch(() => undefined)
  }
}

/** Takes the lease of a rotation. Null: it is over, somebody holds it, nothing of it is due, or its tenant is being erased. */
async function hold(config: Config, id: string): Promise<Held | null> {
  const [[found] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.credential_rotations r set lease_until = now() + case when r.state = 'failing' or ${IS_DUE} then ${LOGINS} else ${LEASE} end, attempts = r.attempts + 1
        from platform.tenants t join platform.hosts h on h.id = t.host_id
        where r.id = ${id} and ${OPEN} and r.lease_until <= now() and t.id = r.tenant_id and t.status <> 'erasing'
        returning to_jsonb(r) || jsonb_build_object('is_known', ${IS_DUE}) as rotation, to_jsonb(t) as tenant, to_jsonb(h) as host`,
  ])
  if (!found) return null
  const rotation = found.rotation as Rotation
  return { rotation, job: await jobOf(config, found.tenant as MasterRow, found.host as MasterRow, rotation.trace_id) }
}

/** True of a rotation `r` whose former logins nobody needs any more, as far as it is known. */
const IS_DUE = sql`coalesce(r.left_until <= now(), false)`
/** True of a rotation `r` with something to do now. */
const OPEN = sql`(r.state in ('running', 'failing') or r.state = 'leaving' and (r.left_until is null or r.left_until <= now()))`

/** True of a rotation `r` that this attempt works on. */
const mine = ({ id, attempts }: Rotation) =>
  sql`r.id = ${id} and r.attempts = ${attempts} and r.state in ('running', 'leaving', 'failing')`

/** Records the step that is tried. Fails when another attempt has begun. */
async function begin(config: Config, rotation: Rotation, step: string, lease = LEASE): Promise<void> {
  const [done = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.credential_rotations r set step = ${step}, lease_until = now() + ${lease} where ${mine(rotation)} returning r.id`,
  ])
  if (!done.length) throw new Error('Another attempt at this rotation has begun.')
}

/** Makes the new logins, proves them, and makes them the tenant's. */
async function exchange(config: Config, { rotation, job }: Held): Promise<void> {
  await begin(config, rotation, 'logins', LOGINS)
  const { id, database_name, pair, app_url } = job.tenant
  const isolation = isolations[job.tenant.isolation]
  if (!isolation || !app_url) throw new Error(`The tenant has no logins, or no isolation: ${job.tenant.isolation}.`)
  // Where it is now, which Neon may say otherwise: an undo gave it another branch.
  const made = urlsAt(app_url, { id, database_name, pair: otherPair(pair) }, { app: newToken(), owner: newToken() })
  const fresh = await sealUrls(config, job.tenant.id, made)
  const [, [kept] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.credential_rotations r set app_url_encrypted = ${fresh.app_url}, owner_url_encrypted = ${fresh.owner_url} where ${mine(rotation)} and r.app_url_encrypted is null`,
    sql`select r.app_url_encrypted as app, r.owner_url_encrypted as owner from platform.credential_rotations r where ${mine(rotation)}`,
  ])
  if (!kept) throw new Error('Another attempt at this rotation has begun.')
  // The recorded passwords count: another attempt may have made the logins.
  const urls = {
    app_url: await decrypt(config.ENCRYPTION_KEYS, job.tenant.id, 'app_url', String(kept.app)),
    owner_url: await openOwnerUrl(config, job.tenant.id, String(kept.owner)),
  }
  await makeLogins(await isolation.cluster(job), job.tenant.database_name, urls)
  await begin(config, rotation, 'prove')
  await prove(job, urls)
  await begin(config, rotation, 'exchange')
  const [exchanged = []] = await batch(
    config.MASTER_DATABASE_URL,
    [
      sql`with r as (update platform.credential_rotations r set state = 'leaving', step = 'publish', error = null, exchanged_at = now() where ${mine(rotation)} and r.state = 'running' returning r.*),
            -- A branch of before a migration has the former logins alone.
            k as (update platform.kept_branches k set kept_until = now() from r where k.tenant_id = r.tenant_id and k.kept_until > now())
          update platform.tenants t set app_url_encrypted = r.app_url_encrypted, owner_url_encrypted = r.owner_url_encrypted
          from r where t.id = r.tenant_id and t.move_id = r.id and t.status <> 'erasing' returning t.id`,
    ],
    rotation.trace_id,
  )
  if (!exchanged.length) throw new Error('Another attempt at this rotation has begun, or the tenant is being erased.')
}

/** Fails unless the new logins open the tenant's own database, and the app login reads nothing there without an admission. */
async function prove(job: Job, { app_url, owner_url }: { app_url: string; owner_url: string }): Promise<void> {
  const [[app] = []] = await batch(app_url, [sql`select count(*)::integer as seen from freehold.users`])
  const [, [owner] = []] = await batch(owner_url, [sql`set local role freehold_owner`, sql`select t.id from freehold.tenant t`])
  if (app?.seen !== 0 || owner?.id !== job.tenant.id)
    throw new Error('The new logins do not open the database of the tenant as they should.')
}

/** Has everybody know the new logins; the former ones work for three minutes from when KV has them. */
async function publish(env: Env, config: Config, { rotation }: Held): Promise<void> {
  await propagate({ env, config, meter: { master: 0 }, trace_id: rotation.trace_id }, rotation.tenant_id)
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.credential_rotations r set left_until = now() + ${KNOWN}, lease_until = now(), step = 'drop' from platform.tenants t
        where ${mine(rotation)} and r.state = 'leaving' and r.left_until is null and t.id = r.tenant_id and t.published_v >= t.v`,
    // KV did not take it: the scheduled job tries again.
    sql`update platform.credential_rotations r set lease_until = now() where ${mine(rotation)} and r.left_until is null`,
  ])
}

/** Drops the logins that are not the tenant's, and ends the rotation. */
async function removeOther(config: Config, { rotation, job }: Held, state: 'done' | 'failed'): Promise<void> {
  await dropOtherPair(job)
  await batch(
    config.MASTER_DATABASE_URL,
    [
      sql`with r as (update platform.credential_rotations r set state = ${state}, finished_at = now(), app_url_encrypted = null, owner_url_encrypted = null where ${mine(rotation)} returning r.*)
          update platform.tenants t set move_id = null from r where t.id = r.tenant_id and t.move_id = r.id`,
    ],
    rotation.trace_id,
  )
}

/** For the scheduled job: goes on with rotations of logins. Returns how many it tried. One round trip to the master where there is nothing to do. */
export async function tendCredentials(env: Env, config: Config): Promise<number> {
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select r.id from platform.credential_rotations r where ${OPEN} and r.lease_until <= now() order by r.lease_until limit ${MOST}`,
  ])
  for (const { id } of rows)
    await rotateCredentials(env, config, String(id)).catch((error) =>
      log('logins not rotated', { rotation: String(id), error: reason(error) }),
    )
  return rows.length
}
