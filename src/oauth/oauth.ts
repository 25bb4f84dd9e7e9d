/**
 * What OAuth clients and resource servers ask of a token that they hold: what it is now (RFC 7662), that it ends (RFC 7009), who its
 * user is. Threat: a token of somebody else, or of another tenant, is told from one that never was. The database decides who may
 * know (src/oauth/oauth.sql); the Worker verifies signatures.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import { FIRST_PARTY } from '../auth/auth.ts'
import { me } from '../auth/me.ts'
import { prefixOf } from '../kernel/api-key.ts'
import { type Ctx, question } from '../kernel/context.ts'
import { inspect, tokenHash } from '../kernel/token.ts'

export const Introspection = z
  .object({
    active: z
      .boolean()
      .openapi({ description: 'false: it is not valid, or not for the caller to know. Nothing else is told then.' }),
    token_type: z.enum(['Bearer', 'refresh_token']).optional(),
    iss: z.url().optional(),
    aud: z.string().optional(),
    sub: z.uuid().optional(),
    username: z.string().optional(),
    client_id: z.string().optional(),
    scope: z
      .string()
      .optional()
      .openapi({ description: 'The permissions that its user holds now, as far as the token carries them' }),
    permissions_truncated: z.boolean().optional(),
    addresses: z.array(z.string()).optional().openapi({ description: 'Of an API key that works from these networks alone' }),
    exp: z.int().optional(),
    iat: z.int().optional(),
    jti: z.string().optional(),
    sid: z.string().optional(),
    tid: z.uuid().optional(),
  })
  .openapi('Introspection')

export const UserInfo = z
  .object({
    sub: z.uuid(),
    preferred_username: z.string(),
    name: z.string().optional(),
    given_name: z.string().optional(),
    family_name: z.string().optional(),
    email: z.string(),
    email_verified: z.boolean(),
    tid: z.uuid().openapi({ description: 'The tenant' }),
  })
  .openapi('UserInfo')

/** A token by its look: an API key, a JWT that verifies, or what may be a refresh token. `kind: none`: nothing that we could have made. */
async function recognised({ realm }: Ctx, token: string) {
  const none = { kind: 'none', hash: null, session: null, audience: null, claims: null }
  if (token.startsWith('fh_')) return prefixOf(token) ? { ...none, kind: 'key', hash: (await tokenHash(token)).slice(2) } : none
  if (!token.includes('.')) return { ...none, kind: 'refresh', hash: (await tokenHash(token)).slice(2) }
  const claims = await inspect(realm, token)
  if (!claims) return none
  return { ...none, kind: 'access', session: claims.sid, audience: claims.is_own ? null : String(claims.aud), claims }
}

type Found = {
  user_id: string
  username: string
  permissions: string[]
  permissions_truncated?: boolean
  client_id?: string
  issued_at: number | null
  expires_at: number | null
  addresses?: string[]
}

const { placeholder } = sql
const INTROSPECT = question(
  sql`access.introspect(${placeholder('tenant')}, ${placeholder('system_key')}, ${placeholder('kind')}, ${placeholder('hash')}, ${placeholder('session')}::uuid, ${placeholder('audience')})`,
)

/**
 * What a token is now. One round trip; any admitted caller, of whom the database tells no more than of their own tokens and, with
 * `session:read`, of the tokens of users in reach. A refresh token says so in `token_type`: it is none to let somebody in with.
 */
export async function introspect(ctx: Ctx, token: string): Promise<z.infer<typeof Introspection>> {
  const { claims, ...shown } = await recognised(ctx, token)
  const { realm } = ctx
  const found = await ctx.ask<Found | null>(INTROSPECT, { ...shown, system_key: realm.system_key })
  if (!found) return { active: false }
  const { user_id, username, permissions, permissions_truncated, addresses } = found
  const [exp, iat] = [claims?.exp ?? found.expires_at, claims?.iat ?? found.issued_at]
  const isRefresh = shown.kind === 'refresh'
  return {
    active: true,
    token_type: isRefresh ? 'refresh_token' : 'Bearer',
    iss: realm.url,
    aud: shown.audience ?? realm.url,
    sub: user_id,
    username,
    client_id: found.client_id ?? FIRST_PARTY,
    ...(!isRefresh && permissions.length > 0 && { scope: permissions.join(' ') }),
    ...(!isRefresh && permissions_truncated && { permissions_truncated }),
    ...(addresses?.length && { addresses }),
    ...(exp && { exp }),
    ...(iat && { iat }),
    ...(claims?.jti && { jti: claims.jti }),
    ...(claims && { sid: claims.sid }),
    tid: realm.id,
  }
}

/** What became of a revocation. `unknown`: the database never had it; `none`: no token of ours, or one that has expired; `foreign`: for an API. */
type Revocation = 'revoked' | 'unknown' | 'none' | 'foreign'

/**
 * Ends the session of an access or refresh token, or revokes an API key. One round trip, and none for what cannot be a token. A
 * token that is for an API ends nothing: the API holds it, and it is not the API's session.
 */
export async function revoke(ctx: Ctx, token: string): Promise<Revocation> {
  const { kind, hash, session, audience } = await recognised(ctx, token)
  if (kind === 'none') return 'none'
  if (audience !== null) return 'foreign'
  const { id, system_key } = ctx.realm
  const is_known = await ctx.call<boolean>(
    sql`access.revoke_token(${id}, ${system_key}, ${kind}, ${hash}, ${session}::uuid, ${JSON.stringify(ctx.request)}::jsonb)`,
  )
  return is_known ? 'revoked' : 'unknown'
}

/** The current user in the claims of OpenID Connect Core 1.0 section 5.1. One round trip. */
export async function userInfo(ctx: Ctx): Promise<z.infer<typeof UserInfo>> {
  const { sub, username, email, email_verified, given_name, family_name } = await me(ctx)
  const name = [given_name, family_name].filter(Boolean).join(' ')
  return {
    sub,
    preferred_username: username,
    ...(name && { name }),
    ...(given_name && { given_name }),
    ...(family_name && { family_name }),
    email,
    email_verified,
    tid: ctx.realm.id,
  }
}
