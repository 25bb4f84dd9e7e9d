import type { z } from 'zod'
import type { Issue } from '../kernel/problem.ts'

/** The JSON pointer of a part of the request (RFC 6901, as a fragment). */
export const rootOf = (target: string) => (target === 'json' || target === 'form' ? '#' : `#/${target}`)

/** Maps the issues of a schema to the issues of a problem, with pointers under `root` (RFC 6901, as a fragment). */
export function issuesIn(
  root: string,
  issues: readonly z.core.$ZodIssue[],
  detailOf: (issue: z.core.$ZodIssue) => string,
): Issue[] {
  const at = (path: PropertyKey[]) =>
    [root, ...path.map((part) => String(part).replaceAll('~', '~0').replaceAll('/', '~1'))].join('/')
  return issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ pointer: at([...issue.path, key]), detail: 'is not a field of this request' }))
      : [{ pointer: at(issue.path), detail: detailOf(issue) }],
  )
}
