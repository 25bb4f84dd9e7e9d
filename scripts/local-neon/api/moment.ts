import type { Branch, Mark, Project } from '../state/records.ts'
import { optionalString } from './body.ts'
import { ApiError } from './error.ts'
import type { Call } from './router.ts'

const ZONED = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/

/**
 * What is kept of a branch of the moment that the body names; undefined: it names none, and the branch is taken as it is. Fails for
 * a moment outside the window of the project, and for one of which nothing is kept here.
 */
export function readMoment(
  { store }: Pick<Call, 'store'>,
  wanted: Record<string, unknown>,
  project: Project,
  parent: Branch,
): Mark | undefined {
  const text = optionalString(wanted, 'parent_timestamp', 40)
  if (text === undefined) return undefined
  const at = Date.parse(text)
  if (!ZONED.test(text) || Number.isNaN(at)) throw new ApiError(400, 'parent_timestamp must be a time with a zone')
  if (at > Date.now()) throw new ApiError(400, 'parent_timestamp is in the future')
  if (at < Date.now() - project.history_retention_seconds * 1000)
    throw new ApiError(400, 'parent_timestamp is older than the history of the project')
  const marks = store.all('mark').filter((mark) => mark.branch_id === parent.id && Date.parse(mark.at) <= at)
  const newest = marks.sort((a, b) => (a.at < b.at ? -1 : 1)).at(-1)
  if (!newest) throw new ApiError(400, `this local Neon kept nothing of ${parent.id} of before ${text}: PUT /marks`)
  return newest
}
