import { notFound } from './error.ts'
import { findProject } from './find.ts'
import { page } from './page.ts'
import type { Routes } from './router.ts'
import { showOperation } from './views.ts'

export const operationRoutes: Routes = {
  'GET /projects/:project/operations': (call) => {
    const project = findProject(call)
    const operations = call.store.all('operation').filter((one) => one.project_id === project.id)
    const { items, cursor } = page(operations.reverse(), call.query, { standard: 100, max: 1_000 })
    return [200, { operations: items.map(showOperation), ...(cursor === undefined ? {} : { pagination: { cursor } }) }]
  },
  'GET /projects/:project/operations/:operation': (call) => {
    const project = findProject(call)
    const operation = call.store.get('operation', call.params.operation ?? '')
    if (operation?.project_id !== project.id) throw notFound('operation')
    return [200, { operation: showOperation(operation) }]
  },
}
