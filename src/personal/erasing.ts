/**
 * Requests to erase a person (GDPR 17). Threat: whoever finds an open session has its owner erased, or an administrator erases
 * somebody who may do more. The database decides that, keeps the request for seven days and erases (erasing.sql, scrubbing.sql).
 */
import { z } from '@hono/zod-openapi'
import { type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { Text } from '../kernel/fields.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { newMailToken, tokenHash } from '../kernel/token.ts'
import { rowsOf } from '../kernel/wire.ts'
import { deliver, encryptMailSecrets } from '../mail/mail.ts'
import { MailToken } from '../recovery/recovery.ts'

export const Erasure = z
  .object({
    id: z.uuid(),
    user_id: z.uuid(),
    requested_by: z.uuid().nullable().openapi({ description: 'The administrator who asked for it; null: the person themselves' }),
    reason: z.string().nullable(),
    requested_at: z.iso.datetime(),
    erase_at: z.iso
      .datetime()
      .openapi({ description: 'From when on it is done, within minutes; until then it can be cancelled' }),
  })
  .openapi('Erasure')
type ErasureWire = z.infer<typeof Erasure>

export const ErasureRequest = z.object({ reason: Text(500).optional() }).openapi('ErasureRequest')
export const ErasureOrder = z
  .object({
    reason: Text(500),
    now: z.boolean().default(false).openapi({ description: 'Without the seven days in which it can be cancelled' }),
  })
  .openapi('ErasureOrder')
export const ErasureCancellation = z.object({ token: MailToken }).openapi('ErasureCancellation')

const answered = async <T>(ctx: Ctx, call: SQL): Promise<T | undefined> => {
  const [result] = await ctx.run(ctx.db.execute(sql`select ${call} as answer`))
  return rowsOf<{ answer: T }>(result)[0]?.answer
}

/**
 * Requests that the current user is erased in seven days, and mails them a link that cancels it. One round trip; a fresh session. Fails
 * with illegal_state (requested before, or the last administrator).
 */
export async function requestErasure(ctx: Ctx, { reason }: z.infer<typeof ErasureRequest>): Promise<ErasureWire> {
  const token = newMailToken()
  const encrypted = await encryptMailSecrets(ctx, { token })
  const { id, system_key } = ctx.realm
  const made = await answered<ErasureWire>(
    ctx,
    sql`access.request_erasure(${id}, ${system_key}, ${await tokenHash(token)}::bytea, ${encrypted}, ${reason ?? null})`,
  )
  ctx.later(deliver(ctx))
  if (!made) throw new Error('The erasure was not requested.')
  return made
}

/** The open request about the current user, whoever made it. One round trip. Fails with not_found. */
export async function getErasure(ctx: Ctx): Promise<ErasureWire> {
  const found = await answered<ErasureWire | null>(ctx, sql`access.erasure()`)
  if (!found) throw new Problem('not_found', 'Nobody has asked to erase your account.')
  return found
}

/** Cancels the request of the current user. One round trip. Fails with not_found, forbidden (an administrator made it). */
export async function cancelErasure(ctx: Ctx): Promise<void> {
  await answered(ctx, sql`access.cancel_erasure()`)
  ctx.later(deliver(ctx))
}

/** Cancels a request with the token of its mail. One round trip; public. Fails with invalid_request. */
export async function cancelErasureByToken(ctx: Ctx, { token }: z.infer<typeof ErasureCancellation>): Promise<void> {
  const { id, system_key } = ctx.realm
  const request = JSON.stringify(ctx.request)
  const is_cancelled = await ctx.call<boolean>(
    sql`access.cancel_erasure_by_token(${id}, ${system_key}, ${await tokenHash(token)}::bytea, ${request}::jsonb)`,
  )
  if (!is_cancelled) throw invalid('token', 'is not valid, or was used')
  ctx.later(deliver(ctx))
}

/**
 * Requests that another user is erased, in seven days or at once, which also hastens a request that is open, and tells them by mail. One
 * round trip; `user:delete`, a fresh session.
 * Fails with not_found, forbidden (oneself, or a user with more power), illegal_state.
 */
export async function requestErasureOf(
  ctx: Ctx,
  subject: string,
  { reason, now }: z.infer<typeof ErasureOrder>,
): Promise<ErasureWire> {
  const made = await answered<ErasureWire>(ctx, sql`access.request_erasure_of(${subject}::uuid, ${reason}, ${now})`)
  ctx.later(deliver(ctx))
  if (!made) throw new Error('The erasure was not requested.')
  return made
}

/** Cancels the request to erase another user, whoever made it. One round trip; `user:delete`. Fails with not_found, forbidden. */
export async function cancelErasureOf(ctx: Ctx, subject: string): Promise<void> {
  await answered(ctx, sql`access.cancel_erasure_of(${subject}::uuid)`)
  ctx.later(deliver(ctx))
}
