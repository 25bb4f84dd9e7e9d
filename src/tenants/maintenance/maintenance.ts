/**
 * Scheduled maintenance of each realm: create audit checkpoints, warn users whose password or competencies expire soon, deactivate those whose last
 * day has come, write how often strangers failed, count the active users and what each day had, and once a day purge expired rows. Threat: one realm with
 * an unavailable database or much to do keeps all others from their maintenance. So three realms are maintained at once, a failure
 * ends only that realm's turn, and realms that a run does not reach come first in the next.
 */
import { type SQL, sql } from 'drizzle-orm'
import { newTraceId } from '../../http/trace.ts'
import type { Config } from '../../kernel/config.ts'
import { RUNG } from '../../kernel/context.ts'
import { batch, unhurried } from '../../kernel/db.ts'
import { log } from '../../kernel/log.ts'
import { MailSender } from '../../mail/sender.ts'
import { mustBeOpen } from '../fence/fence.ts'
import { avatarsOf, removeLeftAvatars, sweepAvatars } from './avatars.ts'
import { type AuditedRealm, checkpoint, HEAD, moveHeads, type NextHead, PLATFORM, urlOf } from './checkpoints.ts'
import { alertsOf } from './competencies.ts'
import { eraseDue, erasuresOf } from './erasures.ts'
import { notificationsOf } from './notifications.ts'
import { isWipeDue, wipeOrganizations } from './organizations.ts'
import { claimMaintenance, type MaintenanceResult, recordMaintenance, recordUsers } from './queue.ts'
import { type Day, daysOf, REPORTING, type Reporting, recordDays } from './report.ts'
import { webhooksOf } from './webhooks.ts'

/** Users of one realm who are warned in one run that their password expires. */
const MOST_WARNED = 100
/** Users of one realm who are deactivated in one run. */
const MOST_DEACTIVATED = 100
/** Networks of one realm of which the failures of an hour are written in one run. */
const MOST_CLOSED = 1_000
/** Most rows of each kind that are purged in one transaction, and most such transactions of one realm in one run. */
const MOST_PURGED = 5_000
const MOST_PURGES = 20
/** An invocation of a Worker has six connections, and the other scheduled work needs some. */
const AT_ONCE = 3
/** After that no further realm is started: the next run comes after a minute. */
const RUN_MS = 50_000
/** How long a realm whose database is unavailable is left alone, unless it is active. */
const UNAVAILABLE_MS = 5 * 60_000

type Realm = AuditedRealm & Reporting
type Found = MaintenanceResult & {
  days: Day[] | null
  name: string
  head: NextHead | null
  is_mail_due: boolean
  is_event_due: boolean
}
type Run = { config: Config; trace_id: string; end: number; files: R2Bucket | null; ring: Ring; also: (realm: Realm) => SQL[] }
/** Rings the streams of users of a realm, by their ids, whom a transaction has told something (src/http/bells.ts). */
type Ring = (realm_id: string, rung: string) => Promise<unknown>

/**
 * Maintains the platform's realm and the tenants that are due. One round trip to each, more where much is to be checkpointed or
 * purged; two to the master for each hundred. `files`: where pictures are; null: nowhere. `ring`: tells streams of what the job told people. Returns how many audit heads moved, and the
 * names of the realms that have mail due, and of those that have events to send.
 */
export async function runMaintenance(
  config: Config,
  trace_id = newTraceId(),
  files: R2Bucket | null = null,
  ring: Ring = async () => undefined,
): Promise<{ moved: number; due: string[]; ringing: string[] }> {
  const channels = JSON.stringify(new MailSender(config).channels)
  const also = (realm: Realm) => [
    // Before what limits mail is locked (src/limits/limits.sql).
    sql`select access.deactivate_terminated(${MOST_DEACTIVATED})`,
    sql`select access.warn_expiring(${MOST_WARNED})`,
    alertsOf(realm),
    sql`select access.close_counted_failures(${MOST_CLOSED})`,
    ...notificationsOf(realm).statements,
    // The active users as all but the others, both of which an index counts.
    sql`select coalesce(m.at <= now(), false) as is_mail_due, access.purge_due() as is_purge_due,
          case when m.at <= now() or exists (select from freehold.audit_log l where l.checkpoint is null) then null
            else least(m.at, access.counted_failures_due(), (select min(u.terminated_at) from freehold.users u where u.is_active), ${erasuresOf(realm).due_at}, ${notificationsOf(realm).due_at}, ${files ? avatarsOf(realm).due_at : sql`null::timestamptz`}, ${webhooksOf(realm).due_at}, now() + interval '1 day') end as due_at,
          ${erasuresOf(realm).is_due} as is_erasure_due, ${isWipeDue(realm)} as is_wipe_due, ${avatarsOf(realm).is_due} as is_avatar_due, ${webhooksOf(realm).is_due} as is_event_due,
          ((select count(*) from freehold.users) - (select count(*) from freehold.users u where not u.is_active))::integer as users_counted,
          ${RUNG}, ${daysOf(realm)}
        from access.next_mail_at(${channels}::jsonb) as m (at)`,
  ]
  const run = { config, trace_id, end: Date.now() + RUN_MS, files, ring, also }
  const [platform = []] = await batch(config.MASTER_DATABASE_URL, [PLATFORM])
  const total = { moved: 0, due: [] as string[], ringing: [] as string[] }
  let page = platform as Realm[]
  while (page.length) {
    const found = await maintainPage(run, page)
    total.moved += found.filter(({ head }) => head).length
    total.due.push(...found.filter(({ is_mail_due }) => is_mail_due).map(({ name }) => name))
    total.ringing.push(...found.filter(({ is_event_due }) => is_event_due).map(({ name }) => name))
    page = Date.now() < run.end ? await claimMaintenance<Realm>(config, String(platform[0]?.now), sql`${HEAD}, ${REPORTING}`) : []
  }
  return total
}

async function maintainPage(run: Run, realms: Realm[]): Promise<Found[]> {
  const found: Found[] = []
  const queue = [...realms]
  const work = async () => {
    for (let realm = queue.shift(); realm; realm = queue.shift()) found.push(await maintain(run, realm))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  const heads = found.flatMap(({ realm_id, head }) => (head ? [{ realm_id, ...head }] : []))
  // The tenants before their places in the queue: that is the order in which a change of a tenant locks them.
  await batch(run.config.MASTER_DATABASE_URL, [
    recordUsers(found),
    ...recordDays(found),
    recordMaintenance(found),
    moveHeads(heads),
  ])
  return found
}

async function maintain({ config, trace_id, end, files, ring, also }: Run, realm: Realm): Promise<Found> {
  const { id: realm_id, name } = realm
  const nothing = { realm_id, name, head: null, is_mail_due: false, is_event_due: false, users_counted: null, days: null }
  if (Date.now() >= end) return { ...nothing, was_begun: false, due_at: null }
  try {
    const url = await urlOf(config, realm)
    const { head, answer } = await checkpoint(realm, url, trace_id, also(realm))
    if (answer.rung) await ring(realm.id, String(answer.rung))
    const is_purged = answer.is_purge_due !== true || (await purge(url, name, trace_id))
    // Before erasures, which it may ask for.
    const is_wiped = answer.is_wipe_due !== true || (await wipeOrganizations(url, name, trace_id))
    const is_erased = (answer.is_erasure_due !== true && answer.is_wipe_due !== true) || (await eraseDue(url, name, trace_id))
    const is_removed = !files || (await tendAvatars(files, realm, url, trace_id, answer))
    const due_at = answer.due_at && is_purged && is_wiped && is_erased && is_removed ? String(answer.due_at) : null
    const users_counted = Number(answer.users_counted)
    const days = (answer.days ?? null) as Day[] | null
    const due = { is_mail_due: answer.is_mail_due === true, is_event_due: answer.is_event_due === true }
    return { realm_id, name, head, ...due, was_begun: true, due_at, users_counted, days }
  } catch (error) {
    log('maintenance failed', { tenant: name, trace_id, error: error instanceof Error ? error.message : String(error) })
    return { ...nothing, was_begun: true, due_at: new Date(Date.now() + UNAVAILABLE_MS).toISOString() }
  }
}

/** Pictures: what was noted, also a moment ago by an erasure; and with the purge what nobody noted. False: there is more. */
async function tendAvatars(
  files: R2Bucket,
  realm: Realm,
  url: string,
  trace_id: string,
  answer: Record<string, unknown>,
): Promise<boolean> {
  const at = { files, url, tenant_id: realm.id, tenant: realm.name, trace_id }
  const is_newest = avatarsOf(realm).is_known
  if (is_newest && answer.is_purge_due === true) await sweepAvatars(at)
  return !(is_newest && (answer.is_avatar_due === true || answer.is_erasure_due === true)) || removeLeftAvatars(at)
}

/** Purges expired rows. False: there are more. Never fails: after an error the next maintenance tries again. */
async function purge(url: string, tenant: string, trace_id: string): Promise<boolean> {
  try {
    for (let purges = 0; purges < MOST_PURGES; purges++) {
      const purging = sql`select access.purge(${MOST_PURGED}) as purged`
      const statements = [unhurried, sql`set local role freehold_owner`, mustBeOpen, purging]
      const [, , , [row] = []] = await batch(url, statements, trace_id)
      const purged = row?.purged as { is_done: boolean; given_up: number } | undefined
      if (purged?.given_up) log('mail given up', { tenant, trace_id, mails: purged.given_up })
      if (purged?.is_done) return true
    }
    return false
  } catch (error) {
    log('purge failed', { tenant, trace_id, error: error instanceof Error ? error.message : String(error) })
    return true
  }
}
