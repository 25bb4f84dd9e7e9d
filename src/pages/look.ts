/** How the pages of a tenant look, and what they offer. */
import type { Ctx, Realm } from '../kernel/context.ts'
import type { Policy } from '../passwords/policy.ts'
import { lookFrom, lookQuery, type StoredLook } from '../settings/look.ts'

export type Look = {
  name: string
  /** `#rrggbb`; null: ours. */
  colour: string | null
  logo: string | null
}

/** What a tenant lets strangers know: how its pages look, whether they may register, and what passwords must be. */
export type Terms = { look: Look; registration: boolean; policy: Policy }

/** The look of a tenant of which no more is known than its name. */
export const plainLook = ({ legal_name }: Pick<Realm, 'legal_name'>): Look => ({ name: legal_name, colour: null, logo: null })

/** The terms of a tenant, as a statement for `ctx.run` or `ctx.call`. */
export const termsQuery = lookQuery
export function termsFrom(ctx: Ctx, stored: StoredLook): Terms {
  const { name, accent_color, logo_etag, registration, policy } = lookFrom(ctx, stored)
  // Another logo has another address, so that no cache shows the one before it.
  const logo = logo_etag === null ? null : `/logo?v=${logo_etag.slice(0, 16)}`
  return { look: { name, colour: accent_color, logo }, registration, policy }
}

/** The terms of a tenant. One round trip. */
export const termsOf = async (ctx: Ctx): Promise<Terms> => termsFrom(ctx, await ctx.call<StoredLook>(termsQuery(ctx)))
