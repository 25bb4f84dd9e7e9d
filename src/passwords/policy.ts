/**
 * The password policy (per tenant, columns of freehold.tenant; docs/guides/passwords.md). Threat: a password that is guessed before
 * the lockout: one that everybody guesses (guessable.ts), the user's own name, one that a breach has shown (breached.ts), or a
 * previous one. The database checks the password history (access.was_used).
 */
import type { Ctx } from '../kernel/context.ts'
import type { Issue } from '../kernel/problem.ts'
import { isBreached } from './breached.ts'
import { folded, isCommon, isMadeOfWords, isSequence, plain, type Surroundings } from './guessable.ts'
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
  password_breached: boolean
}

/** The default policy, the same as the defaults of the columns. */
export const DEFAULT_POLICY: Policy = {
  password_min_length: 12,
  password_max_length: 128,
  password_upper: false,
  password_lower: false,
  password_digit: false,
  password_special: false,
  password_unique: 1,
  password_history: 5,
  password_personal: true,
  password_common: true,
  password_breached: false,
}

type PersonalDetails = Partial<Record<'email' | 'username' | 'given_name' | 'family_name', string | null | undefined>>

/** The context in which a new password is checked; `history` has the parameters of the hashes of previous passwords. */
export type PasswordContext = { user: PersonalDetails; policy: Policy; history: string[] }

/**
 * Every rule that a password breaks which needs nobody else to judge, as sentences; empty for a good one. It is checked as it is
 * hashed: in NFC. Fails with `asset_unavailable`.
 */
export async function weaknesses(written: string, user: PersonalDetails, policy: Policy, at: Surroundings): Promise<string[]> {
  const password = written.normalize('NFC')
  const personal = [user.username, user.email?.split('@')[0], user.given_name, user.family_name]
    .flatMap(
      (text) =>
        text
          ?.normalize('NFC')
          .toLowerCase()
          .split(/[^\p{L}\p{N}]+/u) ?? [],
    )
    .filter((part) => part.length >= 3)
  const lower = password.toLowerCase()
  // `L0vel@ce` and, of somebody called José, `Jose`. In leet a short part would be found in anything.
  const letters = folded(password)
  const has = (part: string) =>
    lower.includes(part) || plain(lower).includes(plain(part)) || (folded(part).length > 3 && letters.includes(folded(part)))
  const length = [...password].length
  const rules: [boolean, string][] = [
    [length >= policy.password_min_length, `must have at least ${policy.password_min_length} characters`],
    [length <= policy.password_max_length, `must have at most ${policy.password_max_length} characters`],
    [!policy.password_upper || /\p{Lu}/u.test(password), 'must have an upper case letter'],
    [!policy.password_lower || /\p{Ll}/u.test(password), 'must have a lower case letter'],
    [!policy.password_digit || /\p{Nd}/u.test(password), 'must have a digit'],
    [!policy.password_special || /[^\p{L}\p{N}]/u.test(password), 'must have a character that is neither letter nor digit'],
    [new Set(password).size >= policy.password_unique, `must have at least ${policy.password_unique} different characters`],
    [!policy.password_personal || !personal.some(has), 'must not contain a part of the name or e-mail'],
    [
      !policy.password_common || !(await isCommon(password)),
      'must not be one of the commonest passwords, also with digits and signs around it or in place of letters',
    ],
    [
      !policy.password_common || !isMadeOfWords(password, at),
      'must not be made of names of the tenant or the product, or of words that are guessed first, such as seasons and months',
    ],
    [!policy.password_common || !isSequence(password), 'must not be a sequence or a repetition of a few characters'],
  ]
  return rules.filter(([kept]) => !kept).map(([, rule]) => rule)
}

/**
 * Every rule that a password breaks, as sentences; empty for a good one. Where the tenant says so, one that breaks no other rule is
 * looked up among those of breaches, which takes two seconds at most.
 */
export async function brokenRules(ctx: Ctx, password: string, user: PersonalDetails, policy: Policy): Promise<string[]> {
  const rules = await weaknesses(password, user, policy, ctx.realm)
  if (rules.length === 0 && policy.password_breached && (await isBreached(ctx, password)))
    rules.push('must not be one that is known from a breach of another service')
  return rules
}

/** A random password that breaks no rule. Fails with `asset_unavailable`. */
export async function generateFor(user: PersonalDetails, policy: Policy, at: Surroundings): Promise<string> {
  // Twice the required number of different characters, because random characters repeat.
  const length = Math.max(20, policy.password_min_length, 2 * policy.password_unique)
  for (;;) {
    const password = generatePassword({ length })
    if ((await weaknesses(password, user, policy, at)).length === 0) return password
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
