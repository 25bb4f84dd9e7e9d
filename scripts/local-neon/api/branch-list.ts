import type { Branch, Project } from '../state/records.ts'
import { ApiError } from './error.ts'
import { findProject } from './find.ts'
import { page } from './page.ts'
import type { Call } from './router.ts'
import { showBranch } from './views.ts'

const SORTS = ['name', 'created_at', 'updated_at'] as const

/** The branches of a project, the last changed first unless another order is asked for. */
export function listBranches(call: Call): [number, unknown] {
  const { query } = call
  const project = findProject(call)
  const { sortBy, sortOrder } = order(query)
  const found = matching(call, project).sort(by(sortBy))
  if (sortOrder === 'desc') found.reverse()
  const { items, cursor } = page(found, query, { standard: 10_000, max: 10_000 })
  const annotated = items.filter((branch) => Object.keys(branch.annotation).length > 0)
  const annotations = annotated.map((branch) => [
    branch.id,
    { object: { type: 'console/branch', id: branch.id }, value: branch.annotation },
  ])
  return [
    200,
    {
      branches: items.map(showBranch),
      annotations: Object.fromEntries(annotations),
      pagination: { ...(cursor === undefined ? {} : { next: cursor }), sort_by: sortBy, sort_order: sortOrder.toUpperCase() },
    },
  ]
}

/** The number of branches in the list. */
export function countBranches(call: Call): [number, unknown] {
  return [200, { count: matching(call, findProject(call)).length }]
}

function matching({ store, query }: Call, project: Project) {
  const search = query.get('search')?.toLowerCase() ?? ''
  const branches = store.all('branch').filter((branch) => branch.project_id === project.id && !branch.deleting)
  return branches.filter((branch) => `${branch.name}\n${branch.id}`.toLowerCase().includes(search))
}

function order(query: URLSearchParams) {
  const sortBy = SORTS.find((one) => one === (query.get('sort_by') ?? 'updated_at'))
  const sortOrder = query.get('sort_order') ?? 'desc'
  if (!sortBy) throw new ApiError(400, 'sort_by is not valid')
  if (sortOrder !== 'asc' && sortOrder !== 'desc') throw new ApiError(400, 'sort_order is not valid')
  return { sortBy, sortOrder }
}

const by = (field: (typeof SORTS)[number]) => (one: Branch, other: Branch) =>
  one[field] < other[field] ? -1 : one[field] > other[field] ? 1 : 0
