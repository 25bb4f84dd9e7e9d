/**
 * Validates the lines of an import before they go to the database. Threat: a password in plain text, which would lie in a file and
 * cost a hash for each line.
 */
import { z } from '@hono/zod-openapi'
import { type Accepted, parsed, type Refused } from '../imports/batches.ts'
import { Moment, Text } from '../kernel/fields.ts'
import type { Issue, Language } from '../kernel/problem.ts'
import { fromForeign } from '../passwords/foreign-hash.ts'
import { NewUser } from './changes.ts'
import { usernameFrom } from './username.ts'

const ForeignHash = z
  .string()
  .max(512)
  .transform((hash, check) => {
    const taken = fromForeign(hash)
    if (!('fault' in taken)) return taken
    check.addIssue({ code: 'custom', message: taken.fault })
    return z.NEVER
  })

/**
 * A user of an import, where null is as if left out: other systems write whole rows. `roles` are those besides the primary one;
 * `password_hash` is bcrypt or Django's pbkdf2_sha256. A user without one, with one that costs too much or one that no password has
 * (Django's `!`), has to reset their password. `email_verified: true` takes user:approve.
 */
export const ImportedUser = NewUser.extend({
  username: NewUser.shape.username.nullable(),
  password: z.null().optional(),
  role: NewUser.shape.role.nullable(),
  roles: z.array(Text(64)).max(50).nullish(),
  password_hash: ForeignHash.nullish(),
  email_verified: z.boolean().nullish(),
  terminated_at: Moment.nullish(),
  is_active: z.boolean().nullish(),
  must_change_password: z.boolean().nullish(),
})
  .strict()
  .openapi('ImportedUser')

/** `wished`: what the username is made of when the line has none. */
export type ImportLine = Omit<z.output<typeof ImportedUser>, 'password_hash'> & { wished: string; password_hash?: string }

/** The user on a line, or its issues: those of zod in the caller's language, ours in English, which the report translates. */
export function lineIn(value: unknown, language: Language): Accepted<ImportLine> | Refused {
  const read = parsed(ImportedUser, value, language)
  if (!('data' in read)) {
    const explained = (issue: Issue) =>
      issue.pointer === '#/password'
        ? { ...issue, detail: 'is not accepted in plain text: send password_hash or neither' }
        : issue
    return { ...read, errors: read.errors.map(explained) }
  }
  const { password_hash, ...fields } = read.data
  const roles = fields.roles ?? []
  const role = fields.role ?? roles[0]
  return {
    item: {
      ...fields,
      wished: usernameFrom(fields.email),
      roles,
      ...(role && { role }),
      ...(password_hash && 'stored' in password_hash && { password_hash: password_hash.stored }),
    },
    warnings: password_hash && 'excess' in password_hash ? [{ pointer: '#/password_hash', detail: password_hash.excess }] : [],
  }
}
