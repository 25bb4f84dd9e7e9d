/**
 * The accounts and organizations at Neon that hosts are in. A plan allows so many projects, so a deployment may outgrow one: hosts carry
 * where they are, and what is asked of Neon about a host is asked with the key of its account.
 */
import { z } from 'zod'
import { type Config, ConfigError } from '../../kernel/config.ts'

/** The account of NEON_API_KEY. */
export const FIRST_ACCOUNT = 'default'

const Id = z.string().regex(/^[a-z0-9-]{1,60}$/)
const Accounts = z
  .array(z.strictObject({ name: Id, api_key: z.string().min(1), org_id: Id.optional() }))
  .refine((all) => new Set(all.map(({ name, org_id }) => `${name} ${org_id}`)).size === all.length)
const SHAPE = 'must be JSON: [{"name", "api_key", "org_id"}, ...], each name of a-z, 0-9 and -, and none twice with one org_id'

export type NeonAccount = z.infer<typeof Accounts>[number]

/** Further accounts and organizations, from NEON_ACCOUNTS. Fails with a ConfigError, which /readyz shows. */
function further(text: string | undefined): NeonAccount[] {
  try {
    return text === undefined ? [] : Accounts.parse(JSON.parse(text))
  } catch {
    throw new ConfigError(`Wrong settings: NEON_ACCOUNTS ${SHAPE}.`)
  }
}

/** Where a host is: the columns of its row. Null or missing: in the account of NEON_API_KEY, where there was no other. */
export type Located = Record<string, unknown>

/** All of them, in the order in which they are filled: first that of NEON_API_KEY and NEON_ORG_ID. */
export const accountsOf = ({ NEON_API_KEY: api_key, NEON_ORG_ID: org_id, NEON_ACCOUNTS }: Config): NeonAccount[] => [
  { name: FIRST_ACCOUNT, api_key, ...(org_id && { org_id }) },
  ...further(NEON_ACCOUNTS),
]

/**
 * The account of a host. A key may serve organizations that the settings do not name any more. Undefined: the settings do not have the
 * account.
 */
export function accountOf(config: Config, { account, organization }: Located): NeonAccount | undefined {
  const named = accountsOf(config).filter(({ name }) => name === (account ?? FIRST_ACCOUNT))
  const there = named.find(({ org_id }) => org_id === (organization ?? undefined)) ?? named[0]
  return there && organization ? { ...there, org_id: String(organization) } : there
}

/** Where a host may be opened: first where it is to be, or else in the first account, and then in each of the others. */
export function placesFrom(
  config: Config,
  { account, organization }: Located,
): { account: string; organization: string | null }[] {
  const all = accountsOf(config).map(({ name, org_id = null }) => ({ account: name, organization: org_id }))
  const exactly = all.findIndex((each) => each.account === account && each.organization === (organization ?? null))
  const start = exactly < 0 ? all.findIndex((each) => each.account === account) : exactly
  return [...all.slice(Math.max(0, start)), ...all.slice(0, Math.max(0, start))]
}
