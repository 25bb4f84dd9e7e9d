/**
 * Tenants that a move, a restore, an undo or a rotation left taken or closed, and that nobody works on. Threat: whoever worked on one died where
 * no attempt goes on, or the master was restored to an earlier moment, and the tenant answers 503 from then on; or one that is closed for
 * good reason is opened, and takes writes that are lost. So nothing is found as long as a row says that somebody works, and what is opened
 * is what an attempt closed that is over: what a later one closes stays closed.
 */
import { sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import { attemptOf } from '../fence/fence.ts'
import { propagate } from '../lifecycle/lifecycle.ts'
import { tendMoves } from '../move/rest.ts'
import { openOwnerUrl } from '../provisioning/owner-url.ts'
import { type Finding, finding } from './findings.ts'
import { behind, type Part, page, type Sources } from './part.ts'

/** Databases in a page: each is asked, which wakes its compute. */
const MOST_ASKED = 10

/** True of a tenant `t` that a row says somebody works on, or will. */
const IS_WORKED_ON = sql`(exists (select from platform.tenant_moves m where m.tenant_id = t.id and m.state = 'running')
  or exists (select from platform.credential_rotations r where r.tenant_id = t.id and r.state in ('running', 'leaving', 'failing'))
  or exists (select from platform.restore_points r where r.tenant_id = t.id and r.state in ('making', 'restoring', 'returning'))
  or exists (select from platform.migration_undos u where u.tenant_id = t.id and u.state = 'running'))`

/** What the rows of the master say. One round trip. */
export const takenTenants: Part = {
  check: 'work',
  codes: ['tenant_taken', 'move_stuck'],
  async look({ config }, chosen) {
    const { where, rest } = page(chosen, sql`t.subdomain`)
    const tenants = sql`(select * from platform.tenants t where ${where} ${rest}) t`
    const [ids = [], found = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select t.id from ${tenants}`,
      sql`select t.id, t.subdomain, f.code, f.detail from ${tenants} cross join lateral (
            select 'tenant_taken' as code, 'It counts as being moved, restored or rotated, and nothing of that is under way.' as detail
            where t.move_id is not null and not ${IS_WORKED_ON}
            union all
            select 'move_stuck', format('Step %s of its move: nobody works on it.', m.step)
            from platform.tenant_moves m where m.tenant_id = t.id and m.state = 'running' and m.lease_until < now() - interval '2 minutes'
            union all
            select 'move_stuck', 'What its move left is not removed.'
            from platform.tenant_moves m where m.tenant_id = t.id and m.state <> 'running' and greatest(m.left_until, m.lease_until) < now() - interval '10 minutes'
          ) f order by t.id`,
    ])
    return {
      findings: found.map((row) =>
        finding(row.code as 'tenant_taken' | 'move_stuck', String(row.subdomain), String(row.detail), String(row.id)),
      ),
      checked: ids.length,
      next: behind(
        chosen,
        ids.map(({ id }) => id),
      ),
    }
  },
}

/** What the databases of tenants say that were ever closed: they are asked, and those of others are not. Two round trips, and one to each. */
export const closedTenants: Part = {
  check: 'work',
  codes: ['tenant_closed'],
  async look({ config }, chosen) {
    const few = 'subject' in chosen ? chosen : { ...chosen, limit: Math.min(MOST_ASKED, chosen.limit) }
    const { where, rest } = page(few, sql`t.subdomain`)
    const wereClosed = sql`(exists (select from platform.tenant_moves m where m.tenant_id = t.id and m.closed_at is not null)
      or exists (select from platform.migration_undos u where u.tenant_id = t.id) or exists (select from platform.restore_points r where r.tenant_id = t.id and r.state not in ('making', 'ready')))`
    const free = sql`t.status in ('active', 'inactive', 'deleted') and t.owner_url_encrypted is not null and not ${IS_WORKED_ON}`
    const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select t.id, t.subdomain, t.owner_url_encrypted as sealed, ${free} as is_free from platform.tenants t where ${where} and ${wereClosed} ${rest}`,
    ])
    const asked = rows.filter(({ is_free }) => is_free)
    const closed = await Promise.all(
      asked
        .map(async ({ id, sealed }) => {
          const owner_url = await openOwnerUrl(config, String(id), String(sealed))
          return (await attemptOf(owner_url)) !== null
        })
        .map((each) => each.catch(() => false)),
    )
    // Somebody may have begun since: then it is closed for a good reason.
    const ids = JSON.stringify(asked.filter((_, i) => closed[i]).map(({ id }) => id))
    const [still = []] = await batch(config.MASTER_DATABASE_URL, [
      sql`select t.id, t.subdomain from platform.tenants t where t.id in (select x::uuid from jsonb_array_elements_text(${ids}::jsonb) x) and ${free} order by t.id`,
    ])
    return {
      findings: still.map(({ id, subdomain }) =>
        finding('tenant_closed', String(subdomain), 'Its database is closed, and nobody works on it.', String(id)),
      ),
      checked: rows.length,
      next: behind(
        few,
        rows.map(({ id }) => id),
      ),
    }
  },
}

/** Gives back a tenant that nobody works on. */
export async function free({ config }: Sources, { tenant_id }: Finding): Promise<string> {
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants t set move_id = null where t.id = ${tenant_id} and t.move_id is not null and not ${IS_WORKED_ON}`,
  ])
  return 'It is free again.'
}

/** Goes on with moves, as the scheduled job does. */
export async function goOnMoving({ env, config }: Sources): Promise<string> {
  await tendMoves(env, config)
  return 'The move went on.'
}

/**
 * Opens the database of a tenant that nobody works on; what was changed meanwhile reaches it now. Which attempt closed it is read first:
 * whoever begins after the master said that nobody works closes it as a later one, which stays closed.
 */
export async function openClosed(sources: Sources, { tenant_id }: Finding): Promise<string> {
  const { config, trace_id } = sources
  const id = String(tenant_id)
  const [[row] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.owner_url_encrypted as sealed from platform.tenants t where t.id = ${id}`,
  ])
  const owner_url = await openOwnerUrl(config, id, String(row?.sealed))
  const closed = await attemptOf(owner_url)
  const [[still] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.id from platform.tenants t where t.id = ${id} and t.owner_url_encrypted = ${row?.sealed} and not ${IS_WORKED_ON}`,
  ])
  if (!closed || !still) return 'Nothing was done: it is open, or somebody works on it.'
  await closed.open_it(owner_url, id, closed.attempt, trace_id)
  await batch(config.MASTER_DATABASE_URL, [
    sql`update platform.tenants t set published_v = least(t.published_v, t.v - 1) where t.id = ${id}`,
  ])
  await propagate({ ...sources, meter: { master: 0 } }, id)
  return 'It was opened.'
}
