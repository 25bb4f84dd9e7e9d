/**
 * The settings of hooks. Threat: see hooks.sql (who may have themselves asked), asking.ts (what a request waits for) and answer.ts (what an
 * answer may do). The secret of a hook is encrypted for it, and is in the answer that makes it alone.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { create } from '../idempotency/idempotency.ts'
import type { Ctx } from '../kernel/context.ts'
import { brokenConstraint } from '../kernel/db.ts'
import { encrypt } from '../kernel/keyring.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { matches, rfc3339, rowsOf, unchanged } from '../kernel/wire.ts'
import { faultOfTarget } from '../webhooks/sending.ts'
import { newSecret } from '../webhooks/signing.ts'
import { askHook, type HookTarget, secretOf } from './asking.ts'

const Act = z.enum(['user.create', 'login', 'invitation.accept']).openapi({ description: 'Before what it is asked' })
const Editable = z.object({
  url: z.string().min(1).max(500).openapi({ description: 'Whom to ask: https://', example: 'https://hooks.acme.example/login' }),
  on_failure: z.enum(['open', 'closed']).openapi({
    description: 'Where there is no answer within 2 s, or none that is one: `open` goes on, `closed` refuses',
  }),
  is_paused: z.boolean().openapi({ description: 'Not asked for now: everything goes on' }),
})

export const Hook = z
  .object({ id: z.uuid(), act: Act })
  .extend(Editable.shape)
  .extend({ created_at: z.iso.datetime(), updated_at: z.iso.datetime() })
  .openapi('Hook')
type Wire = z.infer<typeof Hook>

const secret = z.string().openapi({
  description:
    'What signatures are made with, as Standard Webhooks has it. It is shown once: a repeated request gets it within 10 minutes.',
  example: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
})
export const HookList = z.object({ data: z.array(Hook) }).openapi('HookList')
export const NewHook = Editable.partial().required({ url: true, on_failure: true }).extend({ act: Act }).openapi('NewHook')
export const HookPatch = Editable.partial().openapi('HookPatch')
export const CreatedHook = Hook.extend({ secret: secret.optional() }).openapi('CreatedHook')
export const RotatedHookSecret = z
  .object({
    id: z.uuid(),
    secret,
    former_until: z.iso.datetime().openapi({ description: 'Until then the one before signs, too' }),
  })
  .openapi('RotatedHookSecret')
export const HookTest = z
  .object({
    decision: z.enum(['allow', 'deny']).nullable().openapi({ description: 'null: it failed, and `on_failure` would decide' }),
    reason: z.string().nullable(),
    claims: z.record(z.string(), z.unknown()).nullable(),
    status: z.int().nullable().openapi({ description: 'The status that it answered; null: none' }),
    error: z.string().nullable(),
    duration_ms: z.int(),
  })
  .openapi('HookTest')

const columns = sql`h.id, h.act, h.url, h.on_failure, h.is_paused, ${rfc3339('h.created_at')} as created_at, ${rfc3339('h.updated_at')} as updated_at`
const one = (id: string) => sql`select ${columns} from freehold.hooks h where h.id = ${id}`

/** Refuses a hook that the caller can only read. */
const reach = (id: string) => sql`select access.require_reach('hook', ${id}::uuid)`

function firstOrNotFound(result: unknown): Wire {
  const [hook] = rowsOf<Wire>(result)
  if (!hook) throw new Problem('not_found')
  return hook
}

function refuseSecond(error: unknown): never {
  if (brokenConstraint(error) !== 'hooks_act') throw error
  const errors = [{ pointer: '#/act', detail: 'has a hook already' }]
  throw new Problem('already_exists', 'There is a hook for this act: pause it first.', { errors, cause: error })
}

function checkTarget(ctx: Ctx, url: string | undefined) {
  const fault = url === undefined ? null : faultOfTarget(ctx.config, url)
  if (fault) throw invalid('url', fault)
}

/** Lists the hooks, by what they are asked before; there are 20 at most. One round trip; `setting:read`. */
export async function listHooks(ctx: Ctx): Promise<z.infer<typeof HookList>> {
  const [result] = await ctx.run(ctx.db.execute(sql`select ${columns} from freehold.hooks h order by h.act, h.created_at, h.id`))
  return { data: rowsOf<Wire>(result) }
}

/** Gets a hook. One round trip; `setting:read`. Fails with not_found. */
export const getHook = async (ctx: Ctx, id: string): Promise<Wire> => firstOrNotFound((await ctx.run(ctx.db.execute(one(id))))[0])

/**
 * Adds a hook, with a secret that is shown once. One round trip; `setting:update` and `activity:export`, both at scope `all`. Fails with
 * invalid_request (the address), already_exists (one for the same act that is not paused), limit_reached (more than 20), forbidden.
 */
export async function createHook(ctx: Ctx, wanted: z.infer<typeof NewHook>): Promise<z.infer<typeof CreatedHook>> {
  checkTarget(ctx, wanted.url)
  const [id, fresh] = [crypto.randomUUID(), newSecret()]
  const sealed = await encrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, secretOf(id), fresh)
  const [made] = await create<z.infer<typeof CreatedHook>>(ctx, {
    made: sql`made as (insert into freehold.hooks as h (id, act, url, on_failure, is_paused, secret_encrypted)
      values (${id}, ${wanted.act}, ${wanted.url}, ${wanted.on_failure}, ${wanted.is_paused ?? false}, ${sealed}) returning ${columns})`,
    secrets: { secret: fresh },
  }).catch(refuseSecond)
  if (!made) throw new Problem('not_found')
  return made
}

/** Changes the given fields. One round trip; as `createHook`, but to pause needs no activity:export. Fails also with not_found, etag_mismatch. */
export async function changeHook(ctx: Ctx, id: string, wanted: z.infer<typeof HookPatch>, ifMatch?: string): Promise<Wire> {
  checkTarget(ctx, wanted.url)
  const sets = Object.entries(wanted)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => sql`${sql.identifier(name)} = ${value}`)
  const update = sql`update freehold.hooks h set ${sql.join(sets.length ? sets : [sql`url = h.url`], sql`, `)}
    where h.id = ${id} and ${matches('h.updated_at', ifMatch)} returning h.id`
  const statements = [ctx.db.execute(reach(id)), ctx.db.execute(update), ctx.db.execute(one(id))] as const
  const [, changed, result] = await ctx.run(...statements).catch(refuseSecond)
  const hook = firstOrNotFound(result)
  if (rowsOf(changed).length === 0) throw unchanged(hook, ifMatch)
  return hook
}

/** Removes a hook. One round trip; `setting:update` at scope `all`. Fails with not_found. */
export async function removeHook(ctx: Ctx, id: string): Promise<void> {
  const removal = sql`delete from freehold.hooks h where h.id = ${id} returning h.id`
  const [, removed] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(removal))
  if (rowsOf(removed).length === 0) throw new Problem('not_found')
}

/** Gives a hook another secret; for 24 hours it is asked with both. One round trip; as `createHook`. Fails with not_found. */
export async function rotateHookSecret(ctx: Ctx, id: string): Promise<z.infer<typeof RotatedHookSecret>> {
  const fresh = newSecret()
  const sealed = await encrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, secretOf(id), fresh)
  const update = sql`update freehold.hooks h set secret_encrypted = ${sealed} where h.id = ${id}
    returning to_char((now() + interval '24 hours') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as former_until`
  const [, changed] = await ctx.run(ctx.db.execute(reach(id)), ctx.db.execute(update))
  const [row] = rowsOf<{ former_until: string }>(changed)
  if (!row) throw new Problem('not_found')
  return { id, secret: fresh, former_until: row.former_until }
}

/**
 * Asks a hook about somebody made up, and says what it answered. One round trip, and then up to 2 s for the hook; `setting:update` at scope
 * `all`. Fails with not_found.
 */
export async function testHook(ctx: Ctx, id: string): Promise<z.infer<typeof HookTest>> {
  const [, begun] = await ctx.run(
    ctx.db.execute(reach(id)),
    ctx.db.execute(sql`select access.begin_hook_test(${id}::uuid) as target`),
  )
  const target = rowsOf<{ target: HookTarget }>(begun)[0]?.target as HookTarget
  const about = { is_test: true, email: 'nobody@test.invalid', username: 'nobody' }
  const { said, ...asked } = await askHook(ctx.config, ctx.realm, target, about)
  return {
    decision: said?.decision ?? null,
    reason: said?.decision === 'deny' ? (said.reason ?? null) : null,
    claims: said?.decision === 'allow' ? (said.claims ?? null) : null,
    ...asked,
  }
}
