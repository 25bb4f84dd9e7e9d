import { endpointsOf } from '../work/lookup.ts'
import { ApiError, notFound } from './error.ts'
import { defaultBranch, findBranch, findDatabase, findEndpoint, findProject, findRole } from './find.ts'
import type { Call, Routes } from './router.ts'
import { connectionUri, OWNER, poolerHost, REGION_ID } from './views.ts'

/** Where a project may be said to be; all are here. */
export const REGIONS = [
  { region_id: REGION_ID, name: 'AWS US East 2 (Ohio)', default: true, geo_lat: '39.96', geo_long: '-83' },
  { region_id: 'aws-eu-central-1', name: 'AWS Europe Central 1 (Frankfurt)', default: false, geo_lat: '50.11', geo_long: '8.68' },
  {
    region_id: 'aws-sa-east-1',
    name: 'AWS South America East 1 (São Paulo)',
    default: false,
    geo_lat: '-23.55',
    geo_long: '-46.63',
  },
]

export const accountRoutes: Routes = {
  'GET /projects/:project/connection_uri': showUri,
  'GET /auth': ({ isPersonal }) => [200, { account_id: OWNER, auth_method: isPersonal ? 'api_key_user' : 'api_key_org' }],
  'GET /regions': () => [200, { regions: REGIONS }],
}

function showUri(call: Call): [number, unknown] {
  const { query, store } = call
  const project = findProject(call)
  const named = query.get('branch_id')
  const branch = named ? findBranch(call, named) : defaultBranch(call, project)
  const role = findRole(call, branch, required(query, 'role_name'))
  const database = findDatabase(call, branch, required(query, 'database_name'))
  const endpointId = query.get('endpoint_id')
  const endpoint = endpointId
    ? findEndpoint(call, endpointId)
    : endpointsOf(store, branch.id).find((one) => one.type === 'read_write' && !one.deleting)
  if (!endpoint || endpoint.branch_id !== branch.id) throw notFound('endpoint')
  const host = query.get('pooled') === 'true' ? poolerHost(endpoint.host) : endpoint.host
  return [200, { uri: connectionUri(host, role, database.name) }]
}

function required(query: URLSearchParams, name: string) {
  const value = query.get(name)
  if (!value) throw new ApiError(400, `${name} is required`)
  return value
}
