import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { Page, paged, pageOf, readCursor } from '../kernel/cursor.ts'
import { Line, Moment } from '../kernel/fields.ts'
import { Problem } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { PermissionName } from '../names/names.ts'

const State = z.enum(['pending', 'active', 'scheduled', 'rejected', 'revoked', 'ended'])

export const NewDelegation = z
  .object({
    delegate_id: z.uuid(),
    role_id: z.uuid().optional(),
    permissions: z.array(PermissionName).min(1).max(100).optional(),
    starts_at: Moment.optional(),
    ends_at: Moment,
    reason: Line(500).optional(),
  })
  .refine((d) => (d.role_id === undefined) !== (d.permissions === undefined), {
    message: 'name either role_id or permissions',
    path: ['permissions'],
  })
  .openapi('NewDelegation')

export const Delegation = z
  .object({
    id: z.uuid(),
    delegator_id: z.uuid(),
    delegate_id: z.uuid(),
    role_id: z.uuid().nullable(),
    permissions: z.array(z.string()).nullable(),
    starts_at: z.iso.datetime(),
    ends_at: z.iso.datetime(),
    reason: z.string().nullable(),
    state: State,
    decided_by: z.uuid().nullable(),
    decided_at: z.iso.datetime().nullable(),
    revoked_at: z.iso.datetime().nullable(),
    created_at: z.iso.datetime(),
  })
  .openapi('Delegation')
export const DelegationList = pageOf(Delegation).openapi('DelegationList')
export const DelegationQuery = Page.extend({
  state: State.optional(),
  delegator_id: z.uuid().optional(),
  delegate_id: z.uuid().optional(),
})

export const SubstituteQuery = z.object({ user_id: z.uuid().optional(), permission: PermissionName })
export const Substitute = z
  .object({
    user_id: z.uuid(),
    acting_user_id: z.uuid().nullable(),
    chain: z.array(z.object({ delegation_id: z.uuid(), from: z.uuid(), to: z.uuid() })),
  })
  .openapi('Substitute')

type Wire = z.infer<typeof Delegation>

const state = sql`case when d.revoked_at is not null then 'revoked' when d.decision = 'rejected' then 'rejected' when d.ends_at <= now() then 'ended'
  when d.decision is null then 'pending' when d.starts_at > now() then 'scheduled' else 'active' end`

const columns = sql`d.id, d.delegator_id, d.delegate_id, d.role_id,
  case when d.role_id is null then (select jsonb_agg(p.permission order by p.permission collate "C") from freehold.delegation_permissions p where p.delegation_id = d.id) end as permissions,
  ${rfc3339('d.starts_at')} as starts_at, ${rfc3339('d.ends_at')} as ends_at, d.reason, ${state} as state, d.decided_by,
  ${rfc3339('d.decided_at')} as decided_at, ${rfc3339('d.revoked_at')} as revoked_at, ${rfc3339('d.created_at')} as created_at`

const one = (id: string) => sql`select ${columns} from freehold.delegations d where d.id = ${id}`

/**
 * Delegates a role or some permissions of the caller to another user for a time. The delegation is pending where the tenant
 * requires approval. One round trip; `delegation:create`. Fails with forbidden (a role or permission that the caller does not
 * hold themselves), already_exists (the caller delegated it to that user for some of the time already), limit_reached (the
 * caller's delegations, or the delegators of that user), invalid_request.
 */
export async function createDelegation(ctx: Ctx, wanted: z.infer<typeof NewDelegation>): Promise<Wire> {
  const id = crypto.randomUUID()
  const { delegate_id, role_id, permissions, starts_at, ends_at, reason } = wanted
  const names = JSON.stringify([...new Set(permissions)])
  const [made] = await create<Wire>(ctx, {
    before: [
      sql`insert into freehold.delegations (id, delegator_id, delegate_id, role_id, starts_at, ends_at, reason)
      values (${id}, (select access.principal()), ${delegate_id}, ${role_id ?? null}::uuid, coalesce(${starts_at ?? null}::timestamptz, now()), ${ends_at}::timestamptz, ${reason ?? null})`,
      sql`insert into freehold.delegation_permissions (delegation_id, permission)
      select ${id}::uuid, p.name from jsonb_array_elements_text(${names}::jsonb) as p (name)`,
    ],
    made: sql`made as (${one(id)})`,
  })
  if (!made) throw new Problem('not_found')
  return made
}

/**
 * Lists delegations, newest first: those in which the caller is delegator or delegate, and those within their scope. One round
 * trip; `delegation:read`. Fails with invalid_cursor.
 */
export async function listDelegations(ctx: Ctx, query: z.infer<typeof DelegationQuery>): Promise<z.infer<typeof DelegationList>> {
  const { limit, delegator_id, delegate_id } = query
  const [at, id] = (await readCursor(ctx.realm, 'delegations', query.cursor)) ?? []
  // One branch for each way in which a row is in scope, so that each uses its own index.
  const rows = (from: SQL, inScope: SQL) => sql`(select d.* from ${from} where ${inScope}
    ${delegator_id === undefined ? sql`` : sql`and d.delegator_id = ${delegator_id}`}
    ${delegate_id === undefined ? sql`` : sql`and d.delegate_id = ${delegate_id}`}
    ${query.state === undefined ? sql`` : sql`and ${state} = ${query.state}`}
    ${at === undefined ? sql`` : sql`and (d.created_at, d.id) < (${at}::timestamptz, ${id}::uuid)`}
    order by d.created_at desc, d.id desc limit ${limit + 1})`
  const some = sql`(select access.scope()) <> 'all'`
  const [result] = await ctx.run(
    ctx.db.execute(sql`select ${columns} from (
        ${rows(sql`freehold.delegations d`, sql`(select access.scope()) = 'all'`)}
        union ${rows(sql`freehold.delegations d`, sql`${some} and d.delegator_id = any ((select access.scope_owner_ids())::uuid[])`)}
        union ${rows(sql`freehold.delegations d`, sql`${some} and d.delegate_id = (select access.principal())`)}
        union ${rows(sql`freehold.users u join freehold.delegations d on d.delegator_id = u.id`, sql`${some} and u.unit_id = any ((select access.scope_unit_ids())::uuid[])`)}
      ) d order by d.created_at desc, d.id desc limit ${limit + 1}`),
  )
  return paged(ctx.realm, 'delegations', rowsOf<Wire>(result), limit, (row) => [row.created_at, row.id])
}

/** Gets a delegation. One round trip; `delegation:read`. Fails with not_found. */
export async function getDelegation(ctx: Ctx, id: string): Promise<Wire> {
  const [result] = await ctx.run(ctx.db.execute(one(id)))
  return oneOf(result)
}

/**
 * Approves or rejects a pending delegation. One round trip; `delegation:approve`. Fails with not_found, forbidden (the caller is
 * the delegator or the delegate), illegal_state (it was decided, or is over).
 */
export const decideDelegation = (ctx: Ctx, id: string, decision: 'approved' | 'rejected') =>
  changed(ctx, id, sql`decision = ${decision}, decided_at = now(), decided_by = (select access.principal())`)

/**
 * Revokes a delegation. One round trip; `delegation:update`. Fails with not_found, forbidden (the caller is not the delegator),
 * illegal_state (it is over).
 */
export const revokeDelegation = (ctx: Ctx, id: string) => changed(ctx, id, sql`revoked_at = now()`)

async function changed(ctx: Ctx, id: string, sets: SQL): Promise<Wire> {
  const [, changes, result] = await ctx.run(
    ctx.db.execute(sql`select access.require_reach('delegation', ${id}::uuid)`),
    ctx.db.execute(sql`update freehold.delegations d set ${sets} where d.id = ${id} returning d.id`),
    ctx.db.execute(one(id)),
  )
  const delegation = oneOf(result)
  // The caller can read it but may not change it.
  if (!rowsOf(changes).length) throw new Problem('forbidden')
  return delegation
}

/**
 * Finds the user who acts now for a user (default: the caller) with a permission, along the delegations in force. One round trip;
 * `delegation:read`. Fails with not_found (no user whom the caller can access), invalid_request (no such permission).
 */
export async function substitute(ctx: Ctx, query: z.infer<typeof SubstituteQuery>): Promise<z.infer<typeof Substitute>> {
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select access.substitute(coalesce(${query.user_id ?? null}::uuid, access.principal()), ${query.permission}) as found`,
    ),
  )
  const found = rowsOf<{ found: z.infer<typeof Substitute> | null }>(result)[0]?.found
  if (!found) throw new Problem('not_found')
  return found
}

function oneOf(result: unknown): Wire {
  const [row] = rowsOf<Wire>(result)
  if (!row) throw new Problem('not_found')
  return row
}
