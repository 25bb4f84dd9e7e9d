/**
 * Stepping up: a session whose user proves once more who they are is fresh again, for routes that ask for it (RFC 9470). Threat: an open
 * session that somebody finds is used to guess, or to do what only its owner should. The database compares, counts and raises the session
 * (step-up.sql); routes declare what they ask for, and the admission decides it.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { type Attempt, beginAttempt, overload } from '../auth/attempt.ts'
import { type Claims, Password, Tokens } from '../auth/auth.ts'
import { CookieTokens } from '../auth/browser.ts'
import { backupHash } from '../factors/backup-codes.ts'
import { asked, BackupCode, Code, stepFor } from '../factors/factors.ts'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { deliver } from '../mail/mail.ts'
import { passkeyAnswer } from '../passkeys/passkeys.ts'
import { Assertion } from '../passkeys/wire.ts'
import { attemptedDigest } from '../passwords/hash.ts'

export const StepUp = z
  .object({
    password: Password.optional(),
    code: Code.optional(),
    backup_code: BackupCode.optional(),
    passkey: Assertion.optional().openapi({
      description: 'What a passkey answered to the options of auth/passkeys/login/options',
    }),
  })
  .refine((proofs) => Object.values(proofs).filter((proof) => proof !== undefined).length === 1, {
    message: 'give one of password, code, backup_code and passkey',
    path: ['password'],
  })
  .openapi('StepUp')

/** The refresh token of the session stays as it is. */
const AccessToken = Tokens.pick({ access_token: true, token_type: true, expires_in: true }).openapi('AccessToken')
const AccessCookie = CookieTokens.pick({ token_type: true, expires_in: true, account: true }).openapi('AccessCookie')
export const SteppedUp = z.discriminatedUnion('token_type', [AccessToken, AccessCookie]).openapi('SteppedUp')

/** `mail`: the user is told of it. */
type Outcome = { outcome: 'ok'; claims: Claims } | { outcome: 'wrong' | 'ended'; mail?: boolean }

/**
 * Raises the session of the caller by a proof of who they are, and returns what its next access token says. Two round trips; one for a
 * backup code. A password makes it fresh, anything else makes it two factors as well. Fails with invalid_credentials when the proof is
 * wrong, was used or was tried too often, session_ended (meanwhile), illegal_state (a code, without an app), rate_limited as a login does.
 */
export async function stepUp(ctx: Ctx, { password, code, backup_code, passkey }: z.infer<typeof StepUp>): Promise<Claims> {
  const answer =
    password !== undefined
      ? await byPassword(ctx, password)
      : passkey !== undefined
        ? await byPasskey(ctx, passkey)
        : await byCode(ctx, code, backup_code)
  if (answer.outcome === 'ended') throw new Problem('session_ended')
  if (answer.outcome !== 'ok' && answer.mail) ctx.later(deliver(ctx))
  if (answer.outcome !== 'ok') throw new Problem('invalid_credentials', 'The proof is not right, or was used before.')
  log('stepped up', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, user: answer.claims.user_id })
  return answer.claims
}

async function byPassword(ctx: Ctx, password: string): Promise<Outcome> {
  const { id, system_key } = ctx.realm
  const begun = await beginAttempt(() => asked<Attempt>(ctx, sql`access.begin_step_up(${id}, ${system_key})`))
  const compared = await attemptedDigest(password, begun.hash_parameters)
  const answer = await asked<Outcome>(ctx, sql`access.finish_step_up(${id}, ${system_key}, ${begun.attempt}, ${compared})`)
  if (answer.outcome === 'wrong')
    throw overload(begun, compared) ?? new Problem('invalid_credentials', 'The password is not right.')
  return answer
}

async function byCode(ctx: Ctx, code: string | undefined, backup_code: string | undefined): Promise<Outcome> {
  const { id, system_key } = ctx.realm
  const backup = backup_code === undefined ? null : await backupHash(backup_code)
  const sealed = backup === null ? await asked<string>(ctx, sql`access.step_up_secret(${id}, ${system_key})`) : null
  const step = await stepFor(ctx, ctx.bearer?.user_id ?? '', sealed, code)
  return asked<Outcome>(ctx, sql`access.step_up_by_code(${id}, ${system_key}, ${step}::bigint, ${backup})`)
}

async function byPasskey(ctx: Ctx, credential: z.infer<typeof Assertion>): Promise<Outcome> {
  const { id, system_key } = ctx.realm
  const answer = await passkeyAnswer(ctx, credential)
  return asked<Outcome>(ctx, sql`access.step_up_by_passkey(${id}, ${system_key}, ${answer})`)
}
