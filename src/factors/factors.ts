/**
 * Second factors: an authenticator app (TOTP) and backup codes. Threat: whoever has a stolen session, or the password, gets past the
 * second factor or takes it away. The Worker keeps secrets encrypted and says for which time step a code is right; the database counts,
 * locks and decides (challenges.sql, totp.sql).
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { type Attempt, beginAttempt, overload } from '../auth/attempt.ts'
import { type Entered, Password } from '../auth/auth.ts'
import { type Challenged, openedChallenge } from '../auth/challenge.ts'
import { type EnterOutcome, enteredBy, formerHashes } from '../auth/login.ts'
import { codeHash, EmailCode } from '../auth/mailed-code.ts'
import type { Ctx } from '../kernel/context.ts'
import { decrypt, encrypt } from '../kernel/keyring.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { newToken, tokenHash } from '../kernel/token.ts'
import { deliver } from '../mail/mail.ts'
import { Assertion } from '../passkeys/wire.ts'
import { attemptedDigest } from '../passwords/hash.ts'
import type { Location } from '../sessions/device.ts'
import { backupHash, newBackupCodes, readBackupCode } from './backup-codes.ts'
import { newSecret, qrOf, stepOf, uriOf } from './totp.ts'

export const Code = z
  .string()
  .regex(/^[0-9]{3} ?[0-9]{3}$/, 'must be 6 digits')
  .openapi({ description: 'Six digits of the authenticator app', example: '492039' })
export const BackupCode = z
  .string()
  .max(64)
  .refine((typed) => readBackupCode(typed) !== null, 'must be a backup code such as 7Q2M-XK4D-9RTP')
  .openapi({ description: 'One of the backup codes; case, hyphens and spaces do not matter', example: '7Q2M-XK4D-9RTP' })

export const TotpSetup = z
  .object({
    secret: z.string().openapi({ description: 'In base32, to type it in', example: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP' }),
    otpauth_uri: z.string().openapi({ description: 'What the QR code says' }),
    qr_svg: z.string().openapi({ description: 'The QR code, as an SVG' }),
  })
  .openapi('TotpSetup')
export const BackupCodes = z
  .object({ backup_codes: z.array(z.string()).openapi({ description: 'Shown only here; each works once' }) })
  .openapi('BackupCodes')

const oneCode = (body: { code?: unknown; backup_code?: unknown }) =>
  (body.code === undefined) !== (body.backup_code === undefined)
const ONE_CODE = { message: 'give either code or backup_code', path: ['code'] }

export const SecondFactor = z
  .object({
    mfa_token: z.string().min(1).max(4096).optional().openapi({ description: 'Of the login; missing: the app is switched on' }),
    code: Code.optional(),
    backup_code: BackupCode.optional(),
    email_code: EmailCode.optional().openapi({ description: 'The code that was mailed for a risky login' }),
    passkey: Assertion.optional().openapi({
      description: 'What a passkey answered to the options of auth/passkeys/login/options',
    }),
    cookie: z.boolean().optional(),
    remember_device: z.boolean().optional().openapi({
      description: 'Ask for no second factor on this device for some days. It is known by its device_token, or its cookie.',
    }),
  })
  .refine(
    (body) => [body.code, body.backup_code, body.email_code, body.passkey].filter((one) => one !== undefined).length === 1,
    {
      message: 'give one of code, backup_code, email_code and passkey',
      path: ['code'],
    },
  )
  .openapi('SecondFactor')
export const FactorChange = z
  .object({ password: Password, code: Code.optional(), backup_code: BackupCode.optional() })
  .refine(oneCode, ONE_CODE)
  .openapi('FactorChange')

const WRONG = 'The code is not valid or was used, or this login has ended: log in again after several failures.'
const wrong = () => new Problem('invalid_credentials', WRONG)

const digits = (code: string) => code.replace(' ', '')
const sealedFor = (user_id: string) => `totp:${user_id}`

/** The time step for which a code is right, by an encrypted secret; null: for none. */
export async function stepFor(
  ctx: Ctx,
  user_id: string,
  sealed: string | null,
  code: string | undefined,
): Promise<number | null> {
  if (code === undefined || sealed === null) return null
  return stepOf(await decrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, sealedFor(user_id), sealed), digits(code))
}

/**
 * Makes a secret for the caller's authenticator app, which nothing asks for until `enable`. One round trip. Fails with illegal_state
 * when one is switched on, password_change_required.
 */
export async function setUp(ctx: Ctx): Promise<z.infer<typeof TotpSetup>> {
  const user_id = ctx.bearer?.user_id ?? ''
  const secret = newSecret()
  const sealed = await encrypt(ctx.config.ENCRYPTION_KEYS, ctx.realm.id, sealedFor(user_id), secret)
  const { username, issuer } = await asked<{ username: string; issuer: string | null }>(
    ctx,
    sql`access.begin_totp(${ctx.realm.id}, ${ctx.realm.system_key}, ${sealed})`,
  )
  const otpauth_uri = uriOf(secret, issuer ?? ctx.realm.legal_name, username)
  return { secret, otpauth_uri, qr_svg: qrOf(otpauth_uri) }
}

/**
 * Switches the caller's authenticator app on, with a first code. Two round trips. Fails with invalid_credentials (a wrong code),
 * illegal_state (nothing is set up, or it is switched on), password_change_required.
 */
export async function enable(ctx: Ctx, code: string): Promise<z.infer<typeof BackupCodes>> {
  const { id, system_key } = ctx.realm
  const sealed = await asked<string>(ctx, sql`access.pending_totp(${id}, ${system_key})`)
  const step = await stepFor(ctx, ctx.bearer?.user_id ?? '', sealed, code)
  if (step === null) throw new Problem('invalid_credentials', 'The code is not right: check the clock of the device.')
  const backup_codes = newBackupCodes()
  const codes = JSON.stringify(await Promise.all(backup_codes.map(backupHash)))
  const done = await asked<boolean>(
    ctx,
    sql`access.enable_totp(${id}, ${system_key}, ${sealed}, ${step}::bigint, ${codes}::jsonb)`,
  )
  if (!done) throw new Problem('illegal_state', 'Another setup was begun meanwhile: use its code.')
  ctx.later(deliver(ctx))
  log('second factor switched on', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id })
  return { backup_codes }
}

type Verification = {
  mfa_token: string
  code?: string | undefined
  backup_code?: string | undefined
  email_code?: string | undefined
  place: Location
  /** As for a login. */
  former: Map<string, string>
  /** Whether the device is to be remembered. */
  remember: boolean
}

/**
 * Ends a login with the second factor. One round trip. Fails with invalid_credentials (a wrong or used code, or a challenge that has
 * ended or failed too often), and as `enteredBy` does.
 */
export async function verify(
  ctx: Ctx,
  { mfa_token, code, backup_code, email_code, place, former, remember }: Verification,
): Promise<Entered | Challenged> {
  const opened = await openedChallenge(ctx, mfa_token)
  if (!opened) throw wrong()
  const { id, system_key } = ctx.realm
  const step = await stepFor(ctx, opened.user_id, opened.totp, code)
  const backup = backup_code === undefined ? null : await backupHash(backup_code)
  const refresh_token = newToken()
  const request = JSON.stringify({ ...ctx.request, ...place })
  const session = sql`${await tokenHash(refresh_token)}::bytea, ${request}::jsonb, ${await formerHashes(former)}::jsonb`
  const challenge = sql`${id}, ${system_key}, ${await tokenHash(opened.token)}::bytea`
  const result = await ctx.call<EnterOutcome | { outcome: 'refused'; mail: boolean }>(
    email_code === undefined
      ? sql`access.verify_totp(${challenge}, ${step}::bigint, ${backup}, ${session}${remember ? sql`, true` : sql``})`
      : sql`access.verify_mailed_code(${challenge}, ${await codeHash(opened.token, email_code)}::bytea, ${session})`,
  )
  if (result.outcome === 'refused') {
    if (result.mail) ctx.later(deliver(ctx))
    log('second factor refused', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id })
    throw wrong()
  }
  return enteredBy(ctx, result, refresh_token)
}

/**
 * Switches the caller's authenticator app off. Two round trips. Fails with invalid_credentials (the password or the code is wrong, or
 * was tried too often), illegal_state (none is switched on), rate_limited as a login does.
 */
export async function disable(ctx: Ctx, change: z.infer<typeof FactorChange>): Promise<void> {
  await changeFactor(ctx, change, null)
  ctx.later(deliver(ctx))
  log('second factor switched off', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id })
}

/** New backup codes in place of the caller's former ones. Two round trips. Fails as `disable` does. */
export async function renewBackupCodes(ctx: Ctx, change: z.infer<typeof FactorChange>): Promise<z.infer<typeof BackupCodes>> {
  const backup_codes = newBackupCodes()
  await changeFactor(ctx, change, await Promise.all(backup_codes.map(backupHash)))
  return { backup_codes }
}

async function changeFactor(ctx: Ctx, { password, code, backup_code }: z.infer<typeof FactorChange>, codes: string[] | null) {
  const { id, system_key } = ctx.realm
  const begun = await beginAttempt(() =>
    asked<Attempt & { totp: string | null }>(ctx, sql`access.begin_factor_change(${id}, ${system_key})`),
  )
  const { attempt, hash_parameters, totp } = begun
  const compared = await attemptedDigest(password, hash_parameters)
  const step = await stepFor(ctx, ctx.bearer?.user_id ?? '', totp, code)
  const backup = backup_code === undefined ? null : await backupHash(backup_code)
  const outcome = await asked<string>(
    ctx,
    sql`access.finish_factor_change(${id}, ${system_key}, ${attempt}, ${compared}, ${step}::bigint, ${backup}, ${codes && JSON.stringify(codes)}::jsonb)`,
  )
  if (outcome !== 'changed')
    throw overload(begun, compared) ?? new Problem('invalid_credentials', 'The password or the code is not right.')
}

/**
 * Takes the second factors of a user away, ends their sessions, and tells them. One round trip; `user:update`. Fails with not_found,
 * forbidden (the caller themselves, or a user who holds more), illegal_state (they have none).
 */
export async function resetFactors(ctx: Ctx, user_id: string): Promise<void> {
  await ctx.run(ctx.db.execute(sql`select access.reset_factors(${user_id})`))
  ctx.later(deliver(ctx))
  log('second factors reset', { tenant: ctx.realm.subdomain, trace_id: ctx.request.trace_id, user: user_id })
}

/** Admits the caller and calls a function. One round trip. */
export async function asked<T>(ctx: Ctx, call: ReturnType<typeof sql>): Promise<T> {
  const [result] = await ctx.run(ctx.db.execute(sql`select ${call} as answer`))
  return (result.rows[0] as { answer: T }).answer
}
