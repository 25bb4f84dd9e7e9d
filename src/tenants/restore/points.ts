/** Restore points as the platform API returns, begins and confirms them. */
import { z } from '@hono/zod-openapi'
import { raw } from '@neon/sdk'
import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { invalid, Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'
import { neonApi } from '../provisioning/neon.ts'
import { POINT, Point } from './list.ts'
import { LEASE, type RestoreWork } from './place.ts'

export const NewRestorePoint = z
  .object({ at: z.iso.datetime({ offset: true }).openapi({ description: 'The moment, within the window of the tenant' }) })
  .openapi('NewRestorePoint')

export const RestoreConfirmation = z
  .object({ confirm: z.string().max(63).openapi({ description: 'The subdomain of the tenant, repeated' }) })
  .openapi('RestoreConfirmation')

export const RestorePoint = z
  .object({
    tenant_id: z.uuid(),
    subdomain: z.string(),
    isolation: z.string(),
    window: z
      .object({ from: z.iso.datetime(), until: z.iso.datetime() })
      .nullable()
      .openapi({ description: 'The moments that can be restored; null: none, or Neon does not say' }),
    reason: z.string().nullable().openapi({ description: 'Why no restore point can be made now' }),
    newest: Point.nullable(),
  })
  .openapi('RestorePoint')
type Shown = z.infer<typeof RestorePoint>

const shown = (
  id: string,
): SQL => sql`select t.subdomain, t.status, t.isolation, t.move_id, h.project_id, h.account, h.organization,
    t.rotating_since is not null or t.refresh_key_from > now() as is_rotating,
    exists (select from platform.tenant_migrations m where m.tenant_id = t.id and m.state in ('running', 'undoing')) as is_migrating,
    ${rfc3339(`greatest(t.created_at, (select max(x.exchanged_at) from platform.restore_points x where x.tenant_id = t.id and x.state in ('restored', 'returned')),
      (select max(u.finished_at) from platform.migration_undos u where u.tenant_id = t.id and u.state = 'done'),
      (select max(m.exchanged_at) from platform.tenant_moves m where m.tenant_id = t.id and m.state = 'done'))`)} as since,
    (select ${POINT} from platform.restore_points r where r.tenant_id = t.id order by r.created_at desc, r.id desc limit 1) as newest
  from platform.tenants t left join platform.hosts h on h.id = t.host_id where t.id = ${id}`

type Row = Pick<Shown, 'subdomain' | 'isolation' | 'newest'> & {
  status: string
  move_id: string | null
  project_id: string | null
  account: string | null
  organization: string | null
  is_rotating: boolean
  is_migrating: boolean
  since: string
}

/** Why a tenant cannot be taken back now, whatever the moment; null: it can. */
function hindrance(row: Row): Problem | null {
  const { status, isolation, move_id, is_migrating, is_rotating } = row
  if (isolation !== 'project')
    return new Problem(
      'illegal_state',
      `A tenant of isolation ${isolation} cannot be restored to an earlier moment: one of isolation project can.`,
    )
  if (status !== 'active' && status !== 'inactive') return new Problem('illegal_state', `The tenant is ${status}.`)
  if (move_id !== null) return new Problem('illegal_state', 'The tenant is being moved, or restored to an earlier moment.')
  if (is_migrating) return new Problem('illegal_state', 'The tenant is being migrated.')
  if (is_rotating) return new Problem('illegal_state', 'The keys of the tenant are being rotated: try again in some minutes.')
  return null
}

/** Why no new restore point can be made of a tenant; null: one can. */
function refusal(row: Row): Problem | null {
  const problem = hindrance(row)
  if (problem || !row.newest) return problem
  if (row.newest.state === 'making') return new Problem('illegal_state', 'A restore point of the tenant is being made.')
  if (row.newest.state === 'ready')
    return new Problem('illegal_state', 'There is a restore point already, which waits for its confirmation: delete it first.')
  return null
}

/** The moments that Neon has of a tenant's branch: as far back as its project keeps them, and as the branch is the tenant's. */
async function windowOf(
  config: Config,
  { project_id, since, isolation, ...at }: Row,
): Promise<{ from: string; until: string } | null> {
  if (isolation !== 'project' || !project_id) return null
  const neon = neonApi(config, { requestTimeoutMs: 5_000, retries: 1, at })
  const { project } = await raw.getProject({ client: neon.client, path: { project_id }, throwOnError: true })
  const now = Date.now()
  const from = Math.max(now - project.history_retention_seconds * 1000, Date.parse(since))
  return { from: new Date(from).toISOString(), until: new Date(now).toISOString() }
}

async function wire(ctx: Ctx, id: string, row: Row): Promise<Shown> {
  const { subdomain, isolation, newest } = row
  const window = await windowOf(ctx.config, row).catch(() => null)
  return { tenant_id: id, subdomain, isolation, window, reason: refusal(row)?.message ?? null, newest }
}

/** The row of `shown`. Fails with not_found. */
function found(result: unknown): Row {
  const [row] = rowsOf<Row>(result)
  if (!row) throw new Problem('not_found')
  return row
}

/** What a tenant can be taken back to, and its newest restore point. One round trip; `tenant:read`. Fails with not_found. */
export async function getRestorePoint(ctx: Ctx, id: string): Promise<Shown> {
  const [result] = await ctx.run(ctx.db.execute(shown(id)))
  return wire(ctx, id, found(result))
}

/** First, and by itself: whoever migrates, moves or undoes the tenant has this lock, and the next statement sees that it did. */
const lock = (id: string) => sql`select t.id from platform.tenants t where t.id = ${id} for no key update`

const IS_FREE = sql`t.isolation = 'project' and t.status in ('active', 'inactive') and t.move_id is null and t.rotating_since is null and coalesce(t.refresh_key_from, '-infinity') <= now()
  and not exists (select from platform.tenant_migrations m where m.tenant_id = t.id and m.state in ('running', 'undoing'))`

/**
 * Begins to make a restore point of a tenant: a branch of the moment, compared with the tenant. Nothing of the tenant changes. Of any
 * number of callers at once one does. Two round trips, and one request to Neon; `tenant:update`. Fails with not_found, illegal_state,
 * invalid_request: outside the window, which it says.
 */
export async function beginRestorePoint(ctx: Ctx, id: string, { at }: z.infer<typeof NewRestorePoint>) {
  const [looked] = await ctx.run(ctx.db.execute(shown(id)))
  const row = found(looked)
  const problem = refusal(row)
  if (problem) throw problem
  const window = await windowOf(ctx.config, row).catch((cause) => {
    throw new Problem('database_unavailable', 'Neon does not say which moments of the tenant it has.', { cause })
  })
  const moment = Date.parse(at)
  if (moment > Date.now()) throw invalid('at', 'lies in the future')
  if (!window || moment < Date.parse(window.from))
    throw invalid('at', `is outside the window of the tenant, which is from ${window?.from} until ${window?.until}`)
  const restore_id = crypto.randomUUID()
  const [, begun, after] = await ctx.run(
    ctx.db.execute(lock(id)),
    ctx.db.execute(sql`insert into platform.restore_points (id, tenant_id, at, state, project_id, parent_id, attempts, lease_until, trace_id, kept_until)
        select ${restore_id}, t.id, ${at}::timestamptz, 'making', h.project_id, h.branch_id, platform.next_fence_attempt(t.id), now() + ${LEASE}, ${ctx.request.trace_id}, now() + interval '1 day'
        from platform.tenants t join platform.hosts h on h.id = t.host_id where t.id = ${id} and ${IS_FREE}
        on conflict (tenant_id) where state in ('making', 'ready', 'restoring', 'returning') do nothing returning attempts as attempt`),
    ctx.db.execute(shown(id)),
  )
  return begunWith(ctx, id, restore_id, begun, after)
}

async function begunWith(ctx: Ctx, id: string, restore_id: string, begun: unknown, after: unknown) {
  const now = found(after)
  const [work] = rowsOf<{ attempt: number }>(begun)
  if (work) return { work: { restore_id, attempt: work.attempt } satisfies RestoreWork, shown: await wire(ctx, id, now) }
  throw hindrance(now) ?? refusal(now) ?? new Problem('illegal_state', 'The restore point is not there any more.')
}

/**
 * Makes the branch of a restore point the tenant's, or with `is_return` goes back to the state before. Of any number of callers at once one does.
 * One round trip; `tenant:update`. Fails with not_found, invalid_request (the subdomain is not repeated), illegal_state.
 */
export async function beginRestore(ctx: Ctx, id: string, restore_id: string, confirm: string, is_return: boolean) {
  const [from, to] = is_return ? ['restored', 'returning'] : ['ready', 'restoring']
  const branch = is_return ? sql`r.branch_id` : sql`r.parent_id`
  const [, before, point, , begun, after] = await ctx.run(
    ctx.db.execute(lock(id)),
    ctx.db.execute(shown(id)),
    ctx.db.execute(sql`select r.state, r.kept_until > now() as is_kept, ${branch} = h.branch_id as is_whole
        from platform.restore_points r join platform.tenants t on t.id = r.tenant_id join platform.hosts h on h.id = t.host_id where r.id = ${restore_id} and r.tenant_id = ${id}
        -- Whoever deletes the point waits, or was first.
        for no key update of r`),
    ctx.db.execute(sql`update platform.tenants t set move_id = ${restore_id}
        where t.id = ${id} and t.subdomain = ${confirm} and ${IS_FREE}
          and exists (select from platform.restore_points r join platform.hosts h on h.id = t.host_id
            where r.id = ${restore_id} and r.tenant_id = t.id and r.state = ${from} and r.kept_until > now() and ${branch} = h.branch_id)
          and not exists (select from platform.restore_points o where o.tenant_id = t.id and o.id <> ${restore_id} and o.state in ('making', 'ready', 'restoring', 'returning'))`),
    ctx.db.execute(sql`update platform.restore_points r set state = ${to}, attempts = platform.next_fence_attempt(r.tenant_id), lease_until = now() + ${LEASE},
          error = null, exchanged_at = null, finished_at = null, trace_id = ${ctx.request.trace_id}
        from platform.tenants t where r.id = ${restore_id} and r.state = ${from} and t.id = r.tenant_id and t.move_id = r.id returning r.attempts as attempt`),
    ctx.db.execute(shown(id)),
  )
  const row = found(before)
  const [known] = rowsOf<{ state: string; is_kept: boolean; is_whole: boolean }>(point)
  if (!known) throw new Problem('not_found')
  if (rowsOf(begun).length) return begunWith(ctx, id, restore_id, begun, after)
  if (row.subdomain !== confirm)
    throw invalid('confirm', "must be the tenant's subdomain: what was written since is not there any more")
  const problem = hindrance(row)
  if (problem) throw problem
  if (known.state !== from || !known.is_kept)
    throw new Problem(
      'illegal_state',
      is_return ? 'There is no state before to go back to.' : 'The restore point does not wait for a confirmation.',
    )
  if (!known.is_whole) throw new Problem('illegal_state', 'The tenant has another branch at Neon since.')
  throw new Problem('illegal_state', 'There is a restore point already, which waits for its confirmation: delete it first.')
}

/** Gives up a restore point that waits for its confirmation; its branch is removed. One round trip; `tenant:update`. Fails with not_found, illegal_state. */
export async function dropRestorePoint(ctx: Ctx, id: string, restore_id: string): Promise<void> {
  const [dropped, point] = await ctx.run(
    ctx.db.execute(sql`update platform.restore_points r set state = 'dropped', kept_until = now(), finished_at = now()
        where r.id = ${restore_id} and r.tenant_id = ${id} and r.state = 'ready' returning r.id`),
    ctx.db.execute(sql`select r.state from platform.restore_points r where r.id = ${restore_id} and r.tenant_id = ${id}`),
  )
  if (rowsOf(dropped).length) return
  if (!rowsOf(point).length) throw new Problem('not_found')
  throw new Problem('illegal_state', 'The restore point does not wait for a confirmation.')
}
