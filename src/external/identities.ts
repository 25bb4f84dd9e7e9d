/** The identities of the caller at providers. Threat: see identities.sql. */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Ctx } from '../kernel/context.ts'
import { invalid, Problem } from '../kernel/problem.ts'
import { rfc3339, rowsOf } from '../kernel/wire.ts'
import { deliver } from '../mail/mail.ts'
import { ProviderName } from '../providers/providers.ts'
import type { Kept } from './documents.ts'
import { ExternalToken, providerQuery, verdictOf, verifiedArguments } from './external.ts'
import { NotAccepted, type ProviderSettings } from './id-token.ts'

export const Identity = z
  .object({
    id: z.uuid(),
    provider: z.string().openapi({ description: 'The name of the provider', example: 'google' }),
    issuer: z.string().openapi({ description: '`iss` of its tokens' }),
    external_id: z.string().openapi({ description: '`sub` of its tokens' }),
    email: z.string().nullable().openapi({ description: 'The address that the provider gave when it was linked' }),
    created_at: z.iso.datetime(),
    last_used_at: z.iso.datetime().nullable(),
  })
  .openapi('ExternalIdentity')
export const IdentityList = z.object({ data: z.array(Identity) }).openapi('ExternalIdentityList')
export const NewIdentity = ExternalToken.extend({ provider: ProviderName }).openapi('NewExternalIdentity')
type Wire = z.infer<typeof Identity>

const CALLER = sql`(select access.principal())`
const columns = sql`e.id, e.provider, e.issuer, e.external_id, e.email, ${rfc3339('e.created_at')} as created_at, ${rfc3339('e.last_used_at')} as last_used_at`

/** Lists the caller's identities, newest first; there are 20 at most. One round trip. */
export async function listIdentities(ctx: Ctx): Promise<{ data: Wire[] }> {
  const [result] = await ctx.run(
    ctx.db.execute(
      sql`select ${columns} from freehold.external_identities e where e.user_id = ${CALLER} order by e.created_at desc, e.id desc`,
    ),
  )
  return { data: rowsOf<Wire>(result) }
}

/**
 * Links an identity of the caller, and mails them; one that they have is returned. Two round trips: read the provider; spend the token.
 * Fails with not_found (no such provider), invalid_request (the token), provider_unavailable, illegal_state (a token that was used
 * before), already_exists (somebody else's), limit_reached (20 of one user).
 */
export async function linkIdentity(
  ctx: Ctx,
  kept: Kept,
  { provider: name, ...token }: z.infer<typeof NewIdentity>,
): Promise<Wire> {
  const [found] = await ctx.run(ctx.db.execute(sql`select ${providerQuery(ctx, name)} as answer`))
  const [{ answer: provider } = { answer: null }] = rowsOf<{ answer: ProviderSettings | null }>(found)
  if (!provider) throw new Problem('not_found', 'There is no such provider.')
  const verdict = await verdictOf(ctx, kept, provider, token)
  if (verdict instanceof NotAccepted) throw invalid('id_token', 'is not one that this provider gave for this login')
  const { id, system_key } = ctx.realm
  const [linked, result] = await ctx.run(
    ctx.db.execute(
      sql`select access.link_identity(${id}, ${system_key}, ${provider.id}::uuid, ${provider.updated_at}::timestamptz, ${verifiedArguments(verdict)}) as id`,
    ),
    ctx.db.execute(sql`select ${columns} from freehold.external_identities e where e.user_id = ${CALLER}`),
  )
  const [{ id: made } = { id: '' }] = rowsOf<{ id: string }>(linked)
  const identity = rowsOf<Wire>(result).find((one) => one.id === made)
  if (!identity) throw new Problem('not_found')
  ctx.later(deliver(ctx))
  return identity
}

/** Removes an identity of the caller, and mails them. One round trip. Fails with not_found, illegal_state (it is the only way in). */
export async function unlinkIdentity(ctx: Ctx, id: string): Promise<void> {
  const [result] = await ctx.run(
    ctx.db.execute(sql`delete from freehold.external_identities e where e.id = ${id} and e.user_id = ${CALLER} returning e.id`),
  )
  if (!rowsOf(result).length) throw new Problem('not_found')
  ctx.later(deliver(ctx))
}
