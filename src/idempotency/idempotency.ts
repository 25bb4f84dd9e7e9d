/**
 * Verbs that create: with an Idempotency-Key a repeated request gets the answer of the first one, and creates nothing. Threat: a
 * client that lost an answer repeats the request and has two of what it asked for; or whoever finds a key later reads the secret
 * of its answer. The transaction that creates also keeps what the answer is built from (src/idempotency/idempotency.sql), with
 * the secrets encrypted for this credential.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { dbError } from '../kernel/db.ts'
import { decrypt, encrypt } from '../kernel/keyring.ts'
import { rowsOf } from '../kernel/wire.ts'

type Kept = { principal: Ctx['principal']; resource: object; secrets_encrypted: string | null }

/** `made` is a list of common table expressions. The one called `made` selects the created resource, or creates and returns it. */
type Creation<T> = { before?: SQL[]; made: SQL; secrets?: Partial<T> }

/**
 * Creates something in one round trip: runs the statements `before`, and `made` last. Returns the resource with the secrets that
 * the Worker made for it (undefined: nothing was created), then the results of `before`. A repeated request gets the kept resource
 * and no results; its secrets only within 10 minutes. Fails also with idempotency_mismatch, illegal_state (the same request is
 * being answered).
 */
export async function create<T extends object>(
  ctx: Ctx,
  { before = [], made, secrets }: Creation<T>,
): Promise<[T | undefined, ...unknown[]]> {
  const once = onceOf(ctx)
  if (!once) {
    const results = await ctx.run(...[...before, sql`with ${made} select * from made`].map((step) => ctx.db.execute(step)))
    const [row] = rowsOf<T>(results.pop())
    return [row && { ...row, ...secrets }, ...results]
  }
  const encrypted = secrets ? await encrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, once.field, JSON.stringify(secrets)) : null
  const keep = sql`with ${made} select access.keep_answer(${once.request}, row_to_json(made), ${encrypted}) as resource from made`
  try {
    const steps = [sql`select access.begin_once(${once.request}, ${once.other})`, ...before, keep]
    const [, ...results] = await ctx.run(...steps.map((step) => ctx.db.execute(step)))
    const [row] = rowsOf<{ resource: T }>(results.pop())
    return [row && { ...row.resource, ...secrets }, ...results]
  } catch (error) {
    const found = dbError(error)
    if (found?.code !== 'FR200') throw error
    return [await repeated<T>(ctx, once.field, JSON.parse(found.table ?? ''))]
  }
}

/**
 * Runs statements before those that create, in a round trip of their own. Returns what `create` returned when the request was
 * answered before, otherwise undefined; then the results. Fails with idempotency_mismatch.
 */
export async function createdBefore<T extends object>(ctx: Ctx, ...steps: SQL[]): Promise<[T | undefined, ...unknown[]]> {
  const once = onceOf(ctx)
  const all = once ? [...steps, sql`select access.kept_answer(${once.request}, ${once.other}) as kept`] : steps
  const results: unknown[] = await ctx.run(...all.map((step) => ctx.db.execute(step)))
  const kept = once && rowsOf<{ kept: Kept | null }>(results.pop())[0]?.kept
  return [kept ? await repeated<T>(ctx, once.field, kept) : undefined, ...results]
}

/** The request as the database's functions take it, and the field that its secrets are encrypted for: one of this credential. */
function onceOf({ idempotency, bearer, key }: Ctx) {
  if (!idempotency) return null
  const { route, key_hash, request_hash, other_hash } = idempotency
  return {
    request: sql`${route}, ${key_hash}::bytea, ${request_hash}::bytea`,
    other: sql`${other_hash}::bytea`,
    field: `idempotency:${bearer?.session_id ?? key?.prefix}`,
  }
}

async function repeated<T>(ctx: Ctx, field: string, { principal, resource, secrets_encrypted }: Kept): Promise<T> {
  ctx.principal = principal
  if (ctx.idempotency) ctx.idempotency.is_replayed = true
  const secrets = secrets_encrypted && (await decrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, field, secrets_encrypted))
  return { ...resource, ...(secrets && JSON.parse(secrets)) } as T
}
