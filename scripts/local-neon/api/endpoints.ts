import { newEndpointId } from '../state/names.ts'
import { type Branch, type Endpoint, now } from '../state/records.ts'
import { endpointsOf } from '../work/lookup.ts'
import * as body from './body.ts'
import { ApiError } from './error.ts'
import { findBranch, findEndpoint, findProject } from './find.ts'
import type { Call, Routes } from './router.ts'
import { PROXY_HOST, showEndpoint, showOperation } from './views.ts'

export const endpointRoutes: Routes = {
  'POST /projects/:project/endpoints': createEndpoint,
  'GET /projects/:project/endpoints': (call) => {
    const project = findProject(call)
    const endpoints = call.store.all('endpoint').filter((one) => one.project_id === project.id && !one.deleting)
    return [200, { endpoints: endpoints.map(showEndpoint) }]
  },
  'GET /projects/:project/branches/:branch/endpoints': (call) => {
    const branch = findBranch(call)
    const endpoints = endpointsOf(call.store, branch.id).filter((one) => !one.deleting)
    return [200, { endpoints: endpoints.map(showEndpoint) }]
  },
  'GET /projects/:project/endpoints/:endpoint': (call) => [200, { endpoint: showEndpoint(findEndpoint(call)) }],
  'POST /projects/:project/endpoints/:endpoint/start': (call) => turn(call, 'start_compute', 'start_endpoint'),
  'POST /projects/:project/endpoints/:endpoint/suspend': (call) => turn(call, 'suspend_compute', 'stop_endpoint'),
  'DELETE /projects/:project/endpoints/:endpoint': deleteEndpoint,
}

const MAX_CU = 56
const MAX_SUSPEND_SECONDS = 604_800

/** The record of a compute that is about to start. */
export function newEndpoint(branch: Branch, wanted: Record<string, unknown>): Endpoint {
  const type = body.string(wanted, 'type', 20)
  if (type !== 'read_write' && type !== 'read_only') throw new ApiError(400, 'type must be read_write or read_only')
  const settings = body.object(wanted, 'settings', false)
  const id = newEndpointId()
  return {
    id,
    project_id: branch.project_id,
    branch_id: branch.id,
    host: `${id}.${PROXY_HOST}`,
    type,
    current_state: 'init',
    disabled: body.boolean(wanted, 'disabled', false),
    settings: 'pg_settings' in settings ? settings : {},
    autoscaling_limit_min_cu: body.number(wanted, 'autoscaling_limit_min_cu', 0.25, 0.25, MAX_CU),
    autoscaling_limit_max_cu: body.number(wanted, 'autoscaling_limit_max_cu', 2, 0.25, MAX_CU),
    suspend_timeout_seconds: body.number(wanted, 'suspend_timeout_seconds', 0, -1, MAX_SUSPEND_SECONDS),
    deleting: false,
    created_at: now(),
    updated_at: now(),
  }
}

async function createEndpoint(call: Call): Promise<[number, unknown]> {
  const { store, work } = call
  const project = findProject(call)
  const wanted = body.object(call.body, 'endpoint')
  const branch = findBranch(call, body.string(wanted, 'branch_id', 60))
  // Neon's own message.
  if (wanted.settings && !('pg_settings' in body.object(wanted, 'settings'))) throw new ApiError(400, 'settings must not be nil')
  const name = body.optionalString(wanted, 'name', 64)
  const endpoint = {
    ...newEndpoint(branch, { ...project.default_endpoint_settings, ...wanted }),
    ...(name === undefined ? {} : { name }),
  }
  work.assertFree(project.id)
  if (endpoint.type === 'read_write' && endpointsOf(store, branch.id).some((one) => one.type === 'read_write')) {
    throw new ApiError(409, 'read_write endpoint already exists')
  }
  store.put('endpoint', endpoint)
  const { operations, accepted } = work.start(project.id, [startCompute(endpoint)])
  await accepted
  return [201, { endpoint: showEndpoint(endpoint), operations: operations.map(showOperation) }]
}

/** The operation that makes an endpoint usable. */
export function startCompute(endpoint: Endpoint) {
  return {
    action: 'start_compute',
    branch_id: endpoint.branch_id,
    endpoint_id: endpoint.id,
    effects: [{ do: 'start_endpoint' as const, endpoint_id: endpoint.id }],
  }
}

async function turn(
  call: Call,
  action: 'start_compute' | 'suspend_compute',
  effect: 'start_endpoint' | 'stop_endpoint',
): Promise<[number, unknown]> {
  const { store, work } = call
  const project = findProject(call)
  const endpoint = findEndpoint(call)
  work.assertFree(project.id)
  const effects = [{ do: effect, endpoint_id: endpoint.id }]
  const { operations, accepted } = work.start(project.id, [
    { action, branch_id: endpoint.branch_id, endpoint_id: endpoint.id, effects },
  ])
  await accepted
  return [
    200,
    { endpoint: showEndpoint(store.get('endpoint', endpoint.id) ?? endpoint), operations: operations.map(showOperation) },
  ]
}

async function deleteEndpoint(call: Call): Promise<[number, unknown?]> {
  const { store, work, params } = call
  const project = findProject(call)
  work.assertFree(project.id)
  const found = store.get('endpoint', params.endpoint ?? '')
  if (!found || found.project_id !== project.id) return [204]
  const endpoint = { ...found, deleting: true, updated_at: now() }
  store.put('endpoint', endpoint)
  const { operations, accepted } = work.start(project.id, [
    {
      action: 'suspend_compute',
      branch_id: endpoint.branch_id,
      endpoint_id: endpoint.id,
      effects: [{ do: 'stop_endpoint', endpoint_id: endpoint.id }],
    },
  ])
  await accepted
  return [200, { endpoint: showEndpoint(endpoint), operations: operations.map(showOperation) }]
}
