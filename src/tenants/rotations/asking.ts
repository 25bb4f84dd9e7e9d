/** Rotations of logins as the platform API begins and returns them. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../../kernel/context.ts'
import { Problem } from '../../kernel/problem.ts'
import { rfc3339, rowsOf } from '../../kernel/wire.ts'

export const CredentialRotation = z
  .object({
    id: z.uuid(),
    state: z.enum(['running', 'leaving', 'failing', 'done', 'failed']).openapi({
      description: '`leaving`: the new logins are used, the former ones still work; `failing`: the new ones are being removed',
    }),
    step: z
      .string()
      .openapi({ description: 'The step that is done now, or that failed: logins, prove, exchange, publish, drop' }),
    error: z.string().nullable().openapi({ description: 'Why it failed, or why the step is tried again' }),
    created_at: z.iso.datetime(),
    exchanged_at: z.iso.datetime().nullable().openapi({ description: 'Since then the new logins are the tenant’s' }),
    left_until: z.iso.datetime().nullable().openapi({ description: 'From then on the former logins are dropped' }),
    finished_at: z.iso.datetime().nullable(),
  })
  .openapi('CredentialRotation')
type CredentialRotation = z.infer<typeof CredentialRotation>

/** Seconds until what a move left of the tenant is removed, by the scheduled job of the minute after; null: nothing is left. */
const LEFT = sql`(select ceil(60 + extract(epoch from max(greatest(m.left_until, now())) - now()))::integer from platform.tenant_moves m where m.tenant_id = t.id and m.left_until is not null)`

const shown = (id: string) => sql`select t.status, t.move_id, ${LEFT} as left_seconds,
    exists (select from platform.tenant_migrations m where m.tenant_id = t.id and m.state in ('running', 'undoing')) as is_migrating,
    (select jsonb_build_object('id', r.id, 'state', r.state, 'step', r.step, 'error', r.error, 'created_at', ${rfc3339('r.created_at')},
        'exchanged_at', ${rfc3339('r.exchanged_at')}, 'left_until', ${rfc3339('r.left_until')}, 'finished_at', ${rfc3339('r.finished_at')})
      from platform.credential_rotations r where r.tenant_id = t.id order by r.created_at desc, r.id desc limit 1) as newest
  from platform.tenants t where t.id = ${id}`
type Row = {
  status: string
  move_id: string | null
  left_seconds: number | null
  is_migrating: boolean
  newest: CredentialRotation | null
}

/**
 * Begins to rotate the logins of a tenant, or finds the rotation that is under way. One round trip to the master; `tenant:update`. Fails with
 * not_found, illegal_state: says why.
 */
export async function beginCredentials(ctx: Ctx, id: string): Promise<CredentialRotation> {
  const rotation_id = crypto.randomUUID()
  const [, before, , , after] = await ctx.run(
    // First, and by itself: whoever begins to migrate or to move the tenant has this lock, and the next statement sees that it did.
    ctx.db.execute(sql`select t.id from platform.tenants t where t.id = ${id} for no key update`),
    ctx.db.execute(shown(id)),
    // What moves or migrates a tenant heeds this: it finds the logins that it began with.
    ctx.db.execute(sql`update platform.tenants t set move_id = ${rotation_id}
        where t.id = ${id} and t.move_id is null and t.status in ('active', 'inactive') and t.rotating_since is null
          and not exists (select from platform.tenant_migrations m where m.tenant_id = t.id and m.state in ('running', 'undoing'))
          and not exists (select from platform.tenant_moves m where m.tenant_id = t.id and (m.state = 'running' or m.left_until is not null))`),
    ctx.db.execute(sql`insert into platform.credential_rotations (id, tenant_id, state, step, lease_until, trace_id)
        select ${rotation_id}, t.id, 'running', 'logins', now(), ${ctx.request.trace_id} from platform.tenants t where t.id = ${id} and t.move_id = ${rotation_id}`),
    ctx.db.execute(shown(id)),
  )
  const [row] = rowsOf<Row>(after)
  if (!row) throw new Problem('not_found')
  const { newest } = row
  // Ours, or the one that it is joined to.
  if (newest && newest.id === row.move_id) return newest
  const [then = row] = rowsOf<Row>(before)
  throw refusal(then)
}

function refusal({ status, move_id, left_seconds, is_migrating }: Row): Problem {
  if (status !== 'active' && status !== 'inactive') return new Problem('illegal_state', `The tenant is ${status}.`)
  if (move_id) return new Problem('illegal_state', 'The tenant is being moved.')
  if (is_migrating) return new Problem('illegal_state', 'The tenant is being migrated.')
  // What is left is removed by the names of the other pair, which the new logins would have.
  if (left_seconds !== null)
    return new Problem('illegal_state', 'What the last move left is not removed yet: try again in some minutes.', {
      headers: { 'Retry-After': String(left_seconds) },
    })
  return new Problem('illegal_state', 'The keys of the tenant are being rotated: try again in some minutes.')
}

/** The newest rotation of a tenant's logins. One round trip; `tenant:read`. Fails with not_found, also where there was none. */
export async function getCredentials(ctx: Ctx, id: string): Promise<CredentialRotation> {
  const [found] = await ctx.run(ctx.db.execute(shown(id)))
  const newest = rowsOf<Row>(found)[0]?.newest
  if (!newest) throw new Problem('not_found')
  return newest
}
