/** The look of a tenant: what its pages show before anybody has logged in, and what its mails are called. */
import { sql } from 'drizzle-orm'
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
  /** What a new password must be. */
  policy: Policy
  links: Links
}

/** As the database has it. */
export type StoredLook = Omit<Look, 'name'> & { name: string | null }

/** The look of the tenant, for anybody, as a statement for `ctx.call`, or for `ctx.run` beside others. */
export const lookQuery = ({ realm }: Ctx) => sql`access.look(${realm.id})`
export const lookFrom = ({ realm }: Ctx, stored: StoredLook): Look => ({ ...stored, name: stored.name ?? realm.legal_name })
