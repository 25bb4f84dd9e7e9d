/**
 * Parses and validates the lines of an import before they go to the database. Threat: a broken line that stops the others; a
 * password in plain text, which would lie in a file and cost a hash for each line.
 */
import { z } from '@hono/zod-openapi'
import { issuesIn } from '../http/issues.ts'
import { Moment, Text } from '../kernel/fields.ts'
import type { Issue, Language } from '../kernel/problem.ts'
import { fromForeign } from '../passwords/foreign-hash.ts'
import { NewUser } from './changes.ts'
import { linesOf, valueIn } from './ndjson.ts'
import { usernameFrom } from './username.ts'

const BATCH = 200
const MAX_LINE = 16 * 1024
const MAX_LINES = 100_000

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
export type Refused = { code: string; errors: Issue[] }
/** A user, and what of the line was left out. */
type Accepted = { user: ImportLine; warnings: Issue[] }
export type Read = { line: number } & (Accepted | Refused)
/** Why reading stopped before the end of the body. */
export type Broken = { code: string; detail: string }

const refused = (...errors: Issue[]): Refused => ({ code: 'invalid_request', errors })

/** The user on a line, or its issues: those of zod in the caller's language, ours in English, which the report translates. */
function lineIn(value: unknown, language: Language): Accepted | Refused {
  const { data, error } = ImportedUser.safeParse(value)
  if (!data) {
    const explained = (issue: Issue) =>
      issue.pointer === '#/password'
        ? { ...issue, detail: 'is not accepted in plain text: send password_hash or neither' }
        : issue
    return refused(...issuesIn('#', error.issues, (found) => language.issue(found, value)).map(explained))
  }
  const { password_hash, ...fields } = data
  const roles = fields.roles ?? []
  const role = fields.role ?? roles[0]
  return {
    user: {
      ...fields,
      wished: usernameFrom(fields.email),
      roles,
      ...(role && { role }),
      ...(password_hash && 'stored' in password_hash && { password_hash: password_hash.stored }),
    },
    warnings: password_hash && 'excess' in password_hash ? [{ pointer: '#/password_hash', detail: password_hash.excess }] : [],
  }
}

/** The lines of a body that are not blank, parsed, 200 at a time. Returns why reading stopped before the end, if it did. */
export async function* batchesOf(
  body: ReadableStream<Uint8Array>,
  language: Language,
): AsyncGenerator<Read[], Broken | undefined> {
  let batch: Read[] = []
  let line = 0
  let broken: Broken | undefined
  try {
    for await (const bytes of linesOf(body, MAX_LINE)) {
      line++
      if (line > MAX_LINES) {
        broken = { code: 'invalid_request', detail: `A file has at most ${MAX_LINES} lines: send the rest in another file.` }
        break
      }
      const said = valueIn(bytes, MAX_LINE)
      if (said)
        batch.push({
          line,
          ...('faults' in said ? refused(...said.faults) : lineIn(said.value, language)),
        })
      if (batch.length < BATCH) continue
      yield batch
      batch = []
    }
  } catch {
    broken = { code: 'invalid_request', detail: `The body was cut off after line ${line}: send the file again.` }
  }
  if (batch.length) yield batch
  return broken
}
