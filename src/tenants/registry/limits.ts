/** What the platform limits in a tenant: the shapes of limits, of a plan, a license or a tenant, and of what is used of them. */
import { z } from '@hono/zod-openapi'

const most = (max: number, description: string, min = 0) => z.int().min(min).max(max).nullish().openapi({ description })

/** Limits as they are given. null removes one. */
export const LimitsPatch = z
  .strictObject({
    max_users: most(10_000_000, 'Active users; one at least, the first administrator', 1),
    max_organizations: most(1_000_000, 'Organizations'),
    max_documents: most(2_147_483_647, 'All documents that are ever counted, where limit_documents is true'),
    limit_documents: z.boolean().nullish().openapi({ description: 'Refuse documents beyond max_documents' }),
    max_api_keys: most(1_000_000, 'API keys that work'),
    max_sessions: most(100_000, 'Sessions at once'),
  })
  .openapi('LimitsPatch')
export type LimitsPatch = z.infer<typeof LimitsPatch>

const least = z.int().optional()

/** Limits as they are. One that is missing does not limit. */
export const Limits = z
  .object({
    max_users: least,
    max_organizations: least,
    max_documents: least,
    limit_documents: z.boolean().optional(),
    max_api_keys: least,
    max_sessions: least,
  })
  .openapi('Limits')
export type Limits = z.infer<typeof Limits>

/** How much of each there is, and when that was so. */
export const UsedThen = z
  .object({
    users: z.int().openapi({ description: 'Active users' }),
    organizations: z.int().optional(),
    documents: z.int().optional(),
    api_keys: z.int().optional(),
    sessions: z.int().nullish().openapi({ description: 'Counted only where they are limited' }),
    as_of: z.iso.datetime().nullable().openapi({ description: 'When the tenant said so; null: it has not yet' }),
  })
  .openapi('UsedThen')
export type UsedThen = z.infer<typeof UsedThen>

const COUNTED = ['users', 'organizations', 'documents', 'api_keys', 'sessions'] as const

/** The names of the limits of which more is used than they allow; with `reached`, also those of which just as much is. */
export const exceeded = (limits: Limits, used: UsedThen, reached = false): string[] =>
  COUNTED.filter((name) => {
    const limit = name === 'documents' && !limits.limit_documents ? undefined : limits[`max_${name}`]
    const there = used[name] ?? 0
    return limit !== undefined && (there > limit || (reached && there === limit))
  }).map((name) => `max_${name}`)

/** The license of a tenant, as of now; null: it needs none. */
export const LicenseState = z
  .object({
    licensed_until: z.string().openapi({ description: 'When the license, or the last of those that follow each other, ends' }),
    read_only_from: z.string().openapi({ description: 'From when on the tenant can only be read' }),
  })
  .openapi('LicenseState')
export type LicenseState = z.infer<typeof LicenseState>
