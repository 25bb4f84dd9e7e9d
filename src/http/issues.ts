import type { z } from 'zod'
import type { Issue } from '../kernel/problem.ts'

/** The JSON pointer of a part of the request (RFC 6901, as a fragment). */
export const rootOf = (target: string) => (target === 'json' || target === 'form' ? '#' : `#/${target}`)

/** Issues of one problem, or of one line of an import; the rest is counted. */
const MAX_ISSUES = 20
const MAX_POINTER = 200

/**
 * Maps the issues of a schema to the issues of a problem, with pointers under `root` (RFC 6901, as a fragment). Threat: a body of
 * 1 MiB whose every key is wrong, which would be answered with seven times as much. So at most 20 are named, and pointers are cut
 * at 200 characters.
 */
export function issuesIn(
  root: string,
  issues: readonly z.core.$ZodIssue[],
  detailOf: (issue: z.core.$ZodIssue) => string,
): Issue[] {
  const at = (path: PropertyKey[]) =>
    [root, ...path.map((part) => String(part).slice(0, MAX_POINTER).replaceAll('~', '~0').replaceAll('/', '~1'))]
      .join('/')
      .slice(0, MAX_POINTER)
      .toWellFormed()
  const named: Issue[] = []
  let found = 0
  for (const issue of issues) {
    const keys = issue.code === 'unrecognized_keys' ? issue.keys : null
    found += keys?.length ?? 1
    const room = MAX_ISSUES - named.length
    if (keys)
      for (const key of keys.slice(0, room))
        named.push({ pointer: at([...issue.path, key]), detail: 'is not a field of this request' })
    else if (room) named.push({ pointer: at(issue.path), detail: detailOf(issue) })
  }
  return found > named.length ? [...named, { pointer: root, detail: `and ${found - named.length} more` }] : named
}
