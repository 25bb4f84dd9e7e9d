/**
 * The look of a tenant: what its pages show before anybody has logged in, and what its mails are called. Threat: a stranger who reloads a
 * page makes the tenant's database work. So an isolate asks at most once in 2 s for each tenant, whoever looks; a change is felt at once
 * where it was made, and within that time everywhere else.
 */
import { sql } from 'drizzle-orm'
import { share, sharedByRealm } from '../http/shared.ts'
import type { Ctx } from '../kernel/context.ts'
import type { Policy } from '../passwords/policy.ts'
import type { Links } from './links.ts'

export type Look = {
  /** As the settings have it, else the legal name. */
  name: string
  /** `#rrggbb`; null: the default (contrast.ts). */
  accent_color: string | null
  /** Of the logo at /logo; null: there is none. */
  logo_etag: string | null
  /** Whether strangers may register. */
  registration: boolean
  /** Whether users may log in by mail. Missing from a database that is a version behind. */
  email_login?: boolean
  /** Where users can log in elsewhere, by a page. Missing from a database that is a version behind. */
  providers?: { name: string; label: string }[]
  /** What a new password must be. */
  policy: Policy
  links: Links
}

/** As the database has it. */
export type StoredLook = Omit<Look, 'name'> & { name: string | null }

/** The look of the tenant, for anybody, as a statement for `ctx.call`, or for `ctx.run` beside others. */
export const lookQuery = ({ realm }: Ctx) => sql`access.look(${realm.id})`
export const lookFrom = ({ realm }: Pick<Ctx, 'realm'>, stored: StoredLook): Look => ({
  ...stored,
  name: stored.name ?? realm.legal_name,
})

const FRESH_MS = 2_000
const memory = sharedByRealm<StoredLook | null>(1_000, null)

/**
 * The look of the tenant for anybody, at most 2 s old. One round trip, or none. Fails as the database did when it was asked last.
 */
export async function lookOf(ctx: Ctx): Promise<Look> {
  const known = memory.of(ctx.realm.id)
  const stored = await share(known, FRESH_MS, () => ctx.call<StoredLook>(lookQuery(ctx)), ctx.later)
  if (known.failure !== null || !stored) throw known.failure
  return lookFrom(ctx, stored)
}

/** The look as this isolate knows it, whatever its age, without asking; null: it knows none. */
export function knownLook({ realm }: Pick<Ctx, 'realm'>): Look | null {
  const { value } = memory.of(realm.id)
  return value && lookFrom({ realm }, value)
}

/** The settings of a tenant were changed. */
export const forgetLook = ({ realm }: Ctx) => memory.forget(realm.id)
