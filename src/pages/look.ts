/** How the pages of a tenant look, and what they offer. */
import type { Ctx, Realm } from '../kernel/context.ts'
import type { Policy } from '../passwords/policy.ts'
import { knownLook, lookFrom, lookQuery, type Look as Stored, type StoredLook, lookOf as storedLookOf } from '../settings/look.ts'

export type Look = {
  name: string
  /** `#rrggbb`; null: ours. */
  colour: string | null
  logo: string | null
}

/** What a tenant lets strangers know: how its pages look, whether they may register, how else they can log in, and what passwords must be. */
export type Terms = {
  look: Look
  registration: boolean
  email_login: boolean
  providers: NonNullable<StoredLook['providers']>
  policy: Policy
}

/** The look of a tenant of which no more is known than its name. */
export const plainLook = ({ legal_name }: Pick<Realm, 'legal_name'>): Look => ({ name: legal_name, colour: null, logo: null })

/** The terms of a tenant as a statement for `ctx.run`, for a page that asks its database anyway. */
export const termsQuery = lookQuery
export const termsFrom = (ctx: Ctx, stored: StoredLook): Terms => termsIn(lookFrom(ctx, stored))

/** The terms of a tenant, for anybody. One round trip, or none. Fails as the database did when it was asked last. */
export const termsOf = async (ctx: Ctx): Promise<Terms> => termsIn(await storedLookOf(ctx))

/** The look of a page that must not fail for want of it. One round trip, or none. */
export const lookOf = (ctx: Ctx): Promise<Look> =>
  termsOf(ctx).then(
    ({ look }) => look,
    () => plainLook(ctx.realm),
  )

/** The look as this isolate knows it, without asking the database. */
export function knownLookOf(realm: Realm): Look {
  const known = knownLook({ realm })
  return known ? termsIn(known).look : plainLook(realm)
}

function termsIn({ name, accent_color, logo_etag, registration, email_login = false, providers = [], policy }: Stored): Terms {
  // Another logo has another address, so that no cache shows the one before it.
  const logo = logo_etag === null ? null : `/logo?v=${logo_etag.slice(0, 16)}`
  return { look: { name, colour: accent_color, logo }, registration, email_login, providers, policy }
}
