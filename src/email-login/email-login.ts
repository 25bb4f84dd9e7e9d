/**
 * Login by mail, where the tenant allows it: a code for the browser that asked, or a link. Threat: see email-login.sql. The Worker makes
 * the secrets and keeps none; whether a code is right, counted, used or too old the database decides.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Entered } from '../auth/auth.ts'
import { LoginOutcome } from '../auth/browser.ts'
import type { Challenged } from '../auth/challenge.ts'
import { DeviceToken, type EnterOutcome, enteredBy, formerHashes, Identifier, normalised } from '../auth/login.ts'
import { codeHash, EmailCode, newCode } from '../auth/mailed-code.ts'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { newMailToken, newToken, tokenHash } from '../kernel/token.ts'
import { deliver, encryptMailSecrets } from '../mail/mail.ts'
import { MailToken, padTiming } from '../recovery/recovery.ts'
import { knownDeviceName, type Location } from '../sessions/device.ts'

/** As long as the database keeps a request (email-login.sql). */
export const REQUEST_SECONDS = 600

export const EmailLoginRequest = z
  .object({
    email: Identifier.optional(),
    username: Identifier.optional(),
    cookie: z.boolean().optional().openapi({
      description: "For pages of the tenant's own host: the request token also in a cookie, which verify reads",
    }),
  })
  .refine((body) => (body.username === undefined) !== (body.email === undefined), {
    message: 'give either username or email',
    path: ['username'],
  })
  .openapi('EmailLoginRequest')

export const EmailLoginRequested = z
  .object({
    request_token: z
      .string()
      .openapi({ description: 'Send it with the code. Keep it where you asked: it binds the code to it.' }),
    expires_in: z.int().openapi({ description: 'Seconds that the code and the link work' }),
  })
  .openapi('EmailLoginRequested')

export const EmailLoginProof = z
  .object({
    request_token: z.string().min(1).max(512).optional(),
    code: EmailCode.optional(),
    token: MailToken.optional().openapi({ description: 'The token of the link' }),
    confirm: z.boolean().optional().openapi({
      description: 'For a link that was opened elsewhere than it was asked for: its reader has seen for whom and where that was',
    }),
    cookie: z.boolean().optional(),
    device_token: DeviceToken.min(1).optional(),
  })
  .refine(({ code, token }) => (code === undefined) !== (token === undefined), {
    message: 'give either code or token',
    path: ['code'],
  })
  .openapi('EmailLoginProof')

export const Confirmation = z
  .object({
    confirmation_required: z.literal(true),
    username: z.string(),
    email: z.string(),
    requested_at: z.iso.datetime(),
    device: z
      .string()
      .nullable()
      .openapi({ description: 'The browser that asked, as far as it is known', example: 'Firefox on Linux' }),
    city: z.string().nullable(),
    country: z.string().nullable().openapi({ description: 'ISO 3166-1 alpha-2' }),
  })
  .openapi('EmailLoginConfirmation')
export type Confirmation = z.infer<typeof Confirmation>

export const EmailLoginOutcome = LoginOutcome.or(Confirmation)

/**
 * Mails a code and a link that work for ten minutes. One round trip; unknown, inactive and locked are answered alike. Fails with forbidden:
 * the tenant does not offer it.
 */
export async function requestEmailLogin(
  ctx: Ctx,
  { identifier, place }: { identifier: string; place: Location },
): Promise<z.infer<typeof EmailLoginRequested>> {
  const { id, system_key } = ctx.realm
  const [request_token, token, code] = [newToken(), newMailToken(), newCode()]
  const encrypted = await encryptMailSecrets(ctx, { token, code })
  const hashes = await Promise.all([tokenHash(request_token), tokenHash(token), codeHash(request_token, code)])
  const [request, link, secret] = hashes
  const asked = await padTiming(
    ctx.call<{ outcome: 'accepted'; mail: boolean } | { outcome: 'not_offered' }>(
      sql`access.request_email_login(${id}, ${system_key}, ${normalised(identifier)}, ${request}::bytea, ${link}::bytea, ${secret}::bytea, ${encrypted}, ${JSON.stringify({ ...ctx.request, ...place })}::jsonb)`,
    ),
  )
  if (asked.outcome === 'not_offered')
    throw new Problem('forbidden', 'This tenant does not allow logins by mail: its setting email_login is off.')
  if (asked.mail) ctx.later(deliver(ctx))
  return { request_token, expires_in: REQUEST_SECONDS }
}

export type EmailLogin = {
  /** Of the request: it must come with a code, and spares a link its confirmation. */
  request_token: string | undefined
  code?: string | undefined
  token?: string | undefined
  is_confirmed: boolean
  place: Location
  /** As of a login with a password (src/auth/login.ts). */
  devices: string[]
  former: Map<string, string>
}

type Asked = Omit<Confirmation, 'confirmation_required' | 'device'> & { outcome: 'confirm'; agent: string | null }

/**
 * Logs in with a mailed code or link, or asks for the second factor; or says what a link needs first that was opened elsewhere than it was
 * asked for. One round trip. Fails with invalid_credentials (wrong, used, expired, ended or tried too often alike), and as `enteredBy` does.
 */
export async function verifyEmailLogin(
  ctx: Ctx,
  { request_token, code, token, is_confirmed, place, devices, former }: EmailLogin,
): Promise<Entered | Challenged | { confirmation: Confirmation }> {
  const { id, system_key } = ctx.realm
  const request = request_token === undefined ? null : await tokenHash(request_token)
  const secret = request_token === undefined || code === undefined ? null : await codeHash(request_token, code)
  const link = token === undefined ? null : await tokenHash(token)
  const refresh_token = newToken()
  const about = JSON.stringify({ ...ctx.request, ...place })
  const result = await padTiming(
    ctx.call<EnterOutcome | Asked | { outcome: 'refused'; mail: boolean }>(
      sql`access.verify_email_login(${id}, ${system_key}, ${request}::bytea, ${secret}::bytea, ${link}::bytea, ${is_confirmed}, ${await tokenHash(refresh_token)}::bytea, ${about}::jsonb, ${await formerHashes(former)}::jsonb, ${JSON.stringify(devices)}::jsonb)`,
    ),
  )
  if (result.outcome === 'refused') {
    if (result.mail) ctx.later(deliver(ctx))
    log('login by mail refused', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id })
    throw new Problem('invalid_credentials', 'The code or the link is not valid, was used or is over: ask for another one.')
  }
  if (result.outcome !== 'confirm') return enteredBy(ctx, result, refresh_token)
  const { outcome: _, agent, ...asked } = result
  return { confirmation: { confirmation_required: true, ...asked, device: knownDeviceName(agent) } }
}
