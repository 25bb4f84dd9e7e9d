import type { z } from 'zod'

/** The default messages of zod, for a schema that gives none of its own. */
const DEFAULT_MESSAGE = /^(Invalid (input|option|string|UUID|ISO|URL)|Too (small|big))/
const KINDS: Record<string, string> = {
  string: 'must be text',
  number: 'must be a number',
  int: 'must be a whole number',
  boolean: 'must be true or false',
  array: 'must be a list',
  object: 'must be an object',
  record: 'must be an object',
}

/**
 * Describes an issue without the terms of zod; a message of the schema's own is kept. `sent`: the value at the path of the issue.
 */
export function plain(issue: z.core.$ZodIssue, sent: unknown): string {
  if (!DEFAULT_MESSAGE.test(issue.message)) return issue.message
  if (issue.code === 'invalid_type' && sent === undefined) return 'is missing'
  if (issue.code === 'invalid_type') return KINDS[issue.expected] ?? issue.message
  if (issue.code === 'invalid_value' && issue.values.length > 1) return `must be one of ${issue.values.join(', ')}`
  if (issue.code === 'invalid_format' && issue.format === 'uuid') return 'must be a UUID'
  if (issue.code !== 'too_small' && issue.code !== 'too_big') return issue.message
  const is_least = issue.code === 'too_small'
  const bound = Number(issue.code === 'too_small' ? issue.minimum : issue.maximum)
  if (issue.origin === 'number' || issue.origin === 'int')
    return is_least ? `must be at least ${bound}` : `must be at most ${bound}`
  if (issue.origin !== 'string' && issue.origin !== 'array') return issue.message
  if (is_least && bound === 1) return 'must not be empty'
  if (issue.origin === 'array') return is_least ? `must have at least ${bound} entries` : `must have at most ${bound} entries`
  return is_least ? `must have at least ${bound} characters` : `must have at most ${bound} characters`
}
