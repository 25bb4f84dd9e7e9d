/** How the pages of a tenant look, and what they offer. */
import { sql } from 'drizzle-orm'
import type { Ctx, Realm } from '../kernel/context.ts'
import type { Policy } from '../passwords/policy.ts'

export type Look = {
  name: string
  /** Six hexadecimal digits; null: ours. */
  colour: string | null
  logo: string | null
  links: { label: string; url: string }[]
}

/** What a tenant lets strangers know: how its pages look, whether they may register, and what passwords must be. */
export type Terms = { look: Look; registration: boolean; policy: Policy }

type Said = Omit<Terms, 'look'>

/** The look of a tenant of which no more is known than its name. */
export const plainLook = ({ legal_name }: Pick<Realm, 'legal_name'>): Look => ({
  name: legal_name,
  colour: null,
  logo: null,
  links: [],
})

/** The terms of a tenant, as a statement for `ctx.run` or `ctx.call`. */
export const termsQuery = ({ realm }: Ctx) => sql`access.registration_terms(${realm.id})`
export const termsFrom = ({ realm }: Ctx, { registration, policy }: Said): Terms => ({
  look: plainLook(realm),
  registration,
  policy,
})

/** The terms of a tenant. One round trip. */
export const termsOf = async (ctx: Ctx): Promise<Terms> => termsFrom(ctx, await ctx.call<Said>(termsQuery(ctx)))
