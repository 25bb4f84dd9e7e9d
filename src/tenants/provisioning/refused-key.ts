import { isNeonError } from '@neon/sdk'
import { Problem } from '../../kernel/problem.ts'

/** Says which setting makes Neon refuse every call, and what to do; null: that is not the reason. */
export function wrongSetting(error: unknown): Problem | null {
  if (needsOrganization(error))
    return new Problem(
      'no_capacity',
      'NEON_API_KEY is a personal key, which needs NEON_ORG_ID: set the id of the organization.',
      {
        cause: error,
      },
    )
  if (!isNeonError(error) || !('status' in error) || error.status !== 401) return null
  return new Problem('no_capacity', 'Neon does not accept NEON_API_KEY: set a key that is valid.', { cause: error })
}

/** The same of an account that is not the first. */
export function wrongAccount(name: string, error: unknown): Problem | null {
  if (needsOrganization(error))
    return new Problem(
      'no_capacity',
      `NEON_ACCOUNTS has a personal key for ${name}, which needs org_id: set the id of the organization.`,
      {
        cause: error,
      },
    )
  if (!isNeonError(error) || error.kind !== 'auth') return null
  return new Problem('no_capacity', `Neon does not accept the key for ${name} in NEON_ACCOUNTS: set a key that is valid.`, {
    cause: error,
  })
}

const needsOrganization = (error: unknown) =>
  isNeonError(error) && 'status' in error && error.status === 400 && /\borg_id is required/.test(error.message)

/** An answer in the form of Neon's errors, for what is not asked of Neon: steps and the doctor have its words. */
export const neonError = (status: number, message: string, headers = {}) =>
  Response.json({ code: '', message }, { status, headers })

/** The answer to a key of an account that is not the first, in words that name its setting. */
export const refusedAnswer = (name: string) =>
  neonError(403, `Neon does not accept the key for ${name} in NEON_ACCOUNTS: set a key that is valid.`)

/** The answer for a host in an account that the settings do not have: another account's key is not sent. */
export const unknownAccount = (name: unknown) => neonError(403, `NEON_ACCOUNTS has no account ${name}, in which the host is.`)
