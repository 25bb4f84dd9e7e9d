/**
 * Logins with the ID token of a provider. Threat: see id-token.ts (what a token says), documents.ts (whose keys count) and external.sql
 * (replay, whom an address makes somebody). Whatever is wrong is answered alike; the audit and the log say why. Only a provider that is
 * away is told apart: nobody learns anything of a user by that.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Entered } from '../auth/auth.ts'
import type { Challenged } from '../auth/challenge.ts'
import { DeviceToken, type EnterOutcome, enteredBy, formerHashes } from '../auth/login.ts'
import { mailedCode } from '../auth/mailed-code.ts'
import type { Ctx } from '../kernel/context.ts'
import { log } from '../kernel/log.ts'
import { Problem } from '../kernel/problem.ts'
import { newToken, tokenHash } from '../kernel/token.ts'
import { deliver } from '../mail/mail.ts'
import { ProviderName } from '../providers/providers.ts'
import type { Location } from '../sessions/device.ts'
import type { Kept } from './documents.ts'
import { NotAccepted, type ProviderSettings, type Verified, verifyIdToken } from './id-token.ts'

const IdToken = z
  .string()
  .min(1)
  .max(12_288)
  .openapi({ description: 'The ID token, as the provider gave it', example: 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl' })
const Nonce = z
  .string()
  .min(8)
  .max(255)
  .regex(/^[!-~]*$/, 'must be the nonce of the login')
  .openapi({ description: 'What the login was begun with. Only tokens of Firebase may have none.', example: 'n-0S6_WzA2Mj' })

export const ExternalToken = z.object({ id_token: IdToken, nonce: Nonce.optional() })
export const ExternalLogin = ExternalToken.extend({
  /** For pages of the tenant's own host: tokens in cookies instead of in the response. */
  cookie: z.boolean().optional(),
  device_token: DeviceToken.min(1).optional(),
}).openapi('ExternalLogin')

/** What a login knows of the device that it is from. */
export type Device = {
  place: Location
  /** As of a login with a password (src/auth/login.ts). */
  devices: string[]
  former: Map<string, string>
}

/** The statement that reads a provider. */
export const providerQuery = ({ realm }: Ctx, name: string) =>
  sql`access.begin_external_login(${realm.id}, ${realm.system_key}, ${name})`

/** The settings of a provider. One round trip. Fails with not_found: there is none of this name that is enabled. */
export async function providerOf(ctx: Ctx, name: string): Promise<ProviderSettings> {
  const is_name = ProviderName.safeParse(name).success
  const provider = is_name ? await ctx.call<ProviderSettings | null>(providerQuery(ctx, name)) : null
  if (!provider) throw new Problem('not_found', 'There is no such provider.')
  return provider
}

/** What is told of every token that is not taken, and of everybody who may not come in with one. */
export const notAccepted = () =>
  new Problem('invalid_credentials', 'The login of this provider was not accepted, or nobody here has it: begin again.')

/** The token, verified; or why it is not taken. Fails with provider_unavailable. */
export async function verdictOf(
  ctx: Ctx,
  kept: Kept,
  provider: ProviderSettings,
  { id_token, nonce }: z.infer<typeof ExternalToken>,
): Promise<Verified | NotAccepted> {
  return verifyIdToken({ ...ctx, kept }, provider, id_token, nonce).catch((error) => {
    if (!(error instanceof NotAccepted)) throw error
    log('external token refused', { tenant: ctx.realm.subdomain, provider: provider.name, why: error.message })
    return error
  })
}

/**
 * Logs in with an ID token. Two round trips: read the provider; spend the token, find or create the user, open the session. In between
 * the provider's keys, if they are not known. Fails with not_found (no such provider), invalid_credentials (whatever is wrong with the
 * token, nobody has the identity, a user who is not active), provider_unavailable, user_inactive (without any role), limit_reached.
 */
export async function externalLogin(
  ctx: Ctx,
  kept: Kept,
  name: string,
  { device, ...token }: z.infer<typeof ExternalToken> & { device: Device },
): Promise<Entered | Challenged> {
  const provider = await providerOf(ctx, name)
  return finishExternalLogin(ctx, provider, await verdictOf(ctx, kept, provider, token), device)
}

/** Ends a login whose token was looked at. One round trip. Fails as `externalLogin` does. */
export async function finishExternalLogin(
  ctx: Ctx,
  provider: ProviderSettings,
  verdict: Verified | NotAccepted,
  { place, devices, former }: Device,
): Promise<Entered | Challenged> {
  const { id, system_key } = ctx.realm
  const refresh_token = newToken()
  // It cannot be made between the check of the token and the session, which are one statement.
  const mailed_code = provider.mails_code ? await mailedCode(ctx, refresh_token) : undefined
  const request = JSON.stringify({ ...ctx.request, ...place, mailed_code })
  const result = await ctx.call<EnterOutcome | { outcome: 'refused'; is_known: boolean }>(
    sql`access.finish_external_login(${id}, ${system_key}, ${tokenArguments(provider, verdict)}, ${await tokenHash(refresh_token)}::bytea, ${request}::jsonb, ${await formerHashes(former)}::jsonb, ${JSON.stringify(devices)}::jsonb)`,
  )
  // Linking by an address has queued a mail to its user.
  if (result.outcome !== 'refused') ctx.later(deliver(ctx))
  if (result.outcome === 'refused') throw notAccepted()
  return enteredBy(ctx, result, refresh_token)
}

function tokenArguments({ id, updated_at }: ProviderSettings, verdict: Verified | NotAccepted) {
  const settings = sql`${id}::uuid, ${updated_at}::timestamptz`
  if (verdict instanceof NotAccepted)
    return sql`${settings}, ${verdict.message}::text, null::jsonb, null::bytea, null::timestamptz`
  return sql`${settings}, null::text, ${verifiedArguments(verdict)}`
}

/** A verified token as functions of the database take it. */
export const verifiedArguments = ({ identity, token_hash, expires_at }: Verified) =>
  sql`${JSON.stringify(identity)}::jsonb, ${token_hash}::bytea, ${expires_at.toISOString()}::timestamptz`
