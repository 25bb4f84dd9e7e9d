/**
 * The password policy (seed: LIMS; per tenant, columns of freehold.tenant). Threat: a password that is guessed before the
 * lockout: one of the commonest, the user's own name, or a previous one. The database checks the password history
 * (access.was_used).
 */
import type { Issue } from '../kernel/problem.ts'
import commonest from './commonest.txt'
import { digest, generatePassword } from './hash.ts'

export type Policy = {
  password_min_length: number
  password_max_length: number
  password_upper: boolean
  password_lower: boolean
  password_digit: boolean
  password_special: boolean
  password_unique: number
  password_history: number
  password_personal: boolean
  password_common: boolean
}

/** The default policy, the same as the defaults of the columns. */
export const DEFAULT_POLICY: Policy = {
  password_min_length: 8,
  password_max_length: 128,
  password_upper: true,
  password_lower: true,
  password_digit: true,
  password_special: true,
  password_unique: 5,
  password_history: 5,
  password_personal: true,
  password_common: true,
}

type PersonalDetails = Partial<Record<'email' | 'username' | 'given_name' | 'family_name', string | null | undefined>>

/** The context in which a new password is checked; `history` has the parameters of the hashes of previous passwords. */
export type PasswordContext = { user: PersonalDetails; policy: Policy; history: string[] }

let common: Set<string> | undefined

/** True for one of the commonest passwords, also with other characters than letters and digits at its ends. */
function isCommon(password: string): boolean {
  common ??= new Set(commonest.split('\n').filter((line) => line && !line.startsWith('#')))
  const lower = password.toLowerCase()
  return common.has(lower) || common.has(lower.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, ''))
}

/** Every rule that a password breaks, as sentences; empty for a good one. It is checked as it is hashed: in NFC. */
export function weaknesses(written: string, user: PersonalDetails, policy: Policy = DEFAULT_POLICY): string[] {
  const password = written.normalize('NFC')
  const personal = [user.username, user.email?.split('@')[0], user.given_name, user.family_name]
    .flatMap((text) => text?.toLowerCase().split(/[^\p{L}\p{N}]+/u) ?? [])
    .filter((part) => part.length >= 3)
  const lower = password.toLowerCase()
  const length = [...password].length
  const rules: [boolean, string][] = [
    [length >= policy.password_min_length, `must have at least ${policy.password_min_length} characters`],
    [length <= policy.password_max_length, `must have at most ${policy.password_max_length} characters`],
    [!policy.password_upper || /\p{Lu}/u.test(password), 'must have an upper case letter'],
    [!policy.password_lower || /\p{Ll}/u.test(password), 'must have a lower case letter'],
    [!policy.password_digit || /\p{Nd}/u.test(password), 'must have a digit'],
    [!policy.password_special || /[^\p{L}\p{N}]/u.test(password), 'must have a character that is neither letter nor digit'],
    [new Set(password).size >= policy.password_unique, `must have at least ${policy.password_unique} different characters`],
    [
      !policy.password_personal || !personal.some((part) => lower.includes(part)),
      'must not contain a part of the name or e-mail',
    ],
    [!policy.password_common || !isCommon(password), 'must not be one of the commonest passwords'],
  ]
  return rules.filter(([kept]) => !kept).map(([, rule]) => rule)
}

/** A random password that breaks no rule. */
export function generateFor(user: PersonalDetails, policy: Policy): string {
  // Twice the required number of different characters, because random characters repeat.
  const length = Math.max(20, policy.password_min_length, 2 * policy.password_unique)
  for (;;) {
    const password = generatePassword({ length })
    if (weaknesses(password, user, policy).length === 0) return password
  }
}

/** The broken rules as issues of a field. */
export const issuesOf = (field: string, rules: string[]): Issue[] => rules.map((detail) => ({ pointer: `#/${field}`, detail }))

/** The digests of a new password under the parameters of previous ones, for access.was_used. About 100 ms of CPU each. */
export async function digestsUnder(password: string, parameters: string[]): Promise<Record<string, string>> {
  const digests: Record<string, string> = {}
  for (const each of parameters) digests[each] = await digest(password, each)
  return digests
}

/** The rule that a previous password breaks. */
export const USED = 'must not be one of the last passwords'
