import type { z } from 'zod'
import type { Issue } from '../kernel/problem.ts'

/** What the faults of a part of the request point into. */
export const rootOf = (target: string) => (target === 'json' || target === 'form' ? '#' : `#/${target}`)

/** What a schema finds wrong, as faults of what `root` points at (RFC 6901, as a fragment). */
export function issuesIn(root: string, issues: readonly z.core.$ZodIssue[], told: (issue: z.core.$ZodIssue) => string): Issue[] {
  const at = (path: PropertyKey[]) =>
    [root, ...path.map((part) => String(part).replaceAll('~', '~0').replaceAll('/', '~1'))].join('/')
  return issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => ({ pointer: at([...issue.path, key]), detail: 'is not a field of this request' }))
      : [{ pointer: at(issue.path), detail: told(issue) }],
  )
}
