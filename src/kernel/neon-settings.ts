import { z } from 'zod'

/** The account whose key has a setting of its own. */
export const FIRST_ACCOUNT = 'default'

const Id = z.string().regex(/^[a-z0-9-]{1,60}$/)
const Accounts = z
  .array(z.strictObject({ name: Id, api_key: z.string().min(1), org_id: Id.optional() }))
  .refine((all) => new Set(all.map(({ name, org_id }) => `${name} ${org_id}`)).size === all.length)
const SHAPE = 'must be JSON: [{"name", "api_key", "org_id"}, ...], each name of a-z, 0-9 and -, and none twice with one org_id'

/** Further accounts and organizations at Neon: `[{"name": "second", "api_key": "…", "org_id": "org-…"}]`. */
export const NeonAccounts = z.string().transform((text, issue) => {
  try {
    return Accounts.parse(JSON.parse(text))
  } catch {
    issue.addIssue({ code: 'custom', message: SHAPE })
    return z.NEVER
  }
})
export type NeonAccount = z.infer<typeof Accounts>[number]
