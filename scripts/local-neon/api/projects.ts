import { newBranchId, newDatabaseId, newPassword, newProjectId, realName } from '../state/names.ts'
import { type Branch, type Database, type Endpoint, now, type Project, type Role } from '../state/records.ts'
import { dropAll, dropUnused } from '../work/branches.ts'
import { marksOf } from '../work/lookup.ts'
import * as body from './body.ts'
import { REGIONS } from './connection.ts'
import { newEndpoint } from './endpoints.ts'
import { ApiError } from './error.ts'
import { findProject } from './find.ts'
import { page } from './page.ts'
import { type Call, type Routes, requireOrganization } from './router.ts'
import { takenNames } from './taken.ts'
import {
  REGION_ID,
  showBranch,
  showConnection,
  showDatabase,
  showEndpoint,
  showListedProject,
  showNewRole,
  showOperation,
  showProject,
} from './views.ts'

const RETENTION_SECONDS = 86_400
const MAX_RETENTION_SECONDS = 2_592_000
/** The version that runs here, whatever the body asks for. */
const PG_VERSION = 18

export const projectRoutes: Routes = {
  'POST /projects': createProject,
  'GET /projects': listProjects,
  'GET /projects/:project': (call) => [200, { project: showProject(findProject(call)) }],
  'PATCH /projects/:project': updateProject,
  'DELETE /projects/:project': deleteProject,
}

async function createProject(call: Call): Promise<[number, unknown]> {
  const { store, work } = call
  const wanted = body.object(call.body, 'project')
  const first = body.object(wanted, 'branch', false)
  const databaseName = body.databaseName(body.optionalString(first, 'database_name', 63) ?? 'neondb')
  const roleName = body.roleName(body.optionalString(first, 'role_name', 63) ?? `${databaseName}_owner`)
  const at = { created_at: now(), updated_at: now() }
  const id = newProjectId()
  const branchId = newBranchId()
  const name = body.optionalString(wanted, 'name', 256) ?? id
  const branchName = body.optionalString(first, 'name', 256) ?? 'main'
  const orgId = body.optionalString(wanted, 'org_id', 60)
  const region_id = body.optionalString(wanted, 'region_id', 60) ?? REGION_ID
  if (!REGIONS.some((region) => region.region_id === region_id)) throw new ApiError(400, `region ${region_id} is not available`)
  requireOrganization(call, orgId)
  const taken = await takenNames(call)

  const project: Project = {
    id,
    name,
    region_id,
    pg_version: PG_VERSION,
    store_passwords: body.boolean(wanted, 'store_passwords', true),
    history_retention_seconds: body.number(wanted, 'history_retention_seconds', RETENTION_SECONDS, 0, MAX_RETENTION_SECONDS),
    settings: body.object(wanted, 'settings', false),
    default_endpoint_settings: {
      autoscaling_limit_min_cu: 0.25,
      autoscaling_limit_max_cu: 2,
      suspend_timeout_seconds: 0,
      ...body.object(wanted, 'default_endpoint_settings', false),
    },
    ...(orgId === undefined ? {} : { org_id: orgId }),
    ...at,
  }
  const branch: Branch = {
    id: branchId,
    project_id: id,
    name: branchName,
    default: true,
    protected: false,
    init_source: 'parent-data',
    annotation: body.object(first, 'annotations', false) as Record<string, string>,
    current_state: 'init',
    deleting: false,
    state_changed_at: at.created_at,
    ...at,
  }
  const role: Role = {
    branch_id: branchId,
    name: roleName,
    real_name: realName(roleName, branchId, taken.roles()),
    made_by: 'api',
    no_login: false,
    password: newPassword(),
    deleting: false,
    ...at,
  }
  const database: Database = {
    id: newDatabaseId(),
    branch_id: branchId,
    name: databaseName,
    owner_name: roleName,
    real_name: realName(databaseName, branchId, taken.databases()),
    live: false,
    deleting: false,
    ...at,
  }
  const endpoint: Endpoint = newEndpoint(branch, { ...project.default_endpoint_settings, type: 'read_write' })
  store.put('project', project)
  store.put('branch', branch)
  store.put('role', role)
  store.put('database', database)
  store.put('endpoint', endpoint)
  const { operations, accepted } = work.start(id, [
    { action: 'create_timeline', branch_id: branchId, effects: [{ do: 'build_branch', branch_id: branchId }] },
    {
      action: 'start_compute',
      branch_id: branchId,
      endpoint_id: endpoint.id,
      effects: [{ do: 'start_endpoint', endpoint_id: endpoint.id }],
    },
  ])
  await accepted
  return [
    201,
    {
      project: showProject(project),
      connection_uris: [showConnection(endpoint, role, databaseName)],
      roles: [showNewRole(role)],
      databases: [showDatabase(database)],
      operations: operations.map(showOperation),
      branch: showBranch(branch),
      endpoints: [showEndpoint(endpoint)],
    },
  ]
}

function listProjects(call: Call): [number, unknown] {
  const { store, query } = call
  const search = query.get('search')?.toLowerCase()
  const orgId = query.get('org_id')
  requireOrganization(call, orgId)
  const found = store
    .all('project')
    .reverse()
    .filter((project) => search === undefined || `${project.name}\n${project.id}`.toLowerCase().includes(search))
    .filter((project) => orgId === null || project.org_id === orgId)
  const { items, cursor } = page(found, query, { standard: 10, max: 400 })
  return [
    200,
    {
      projects: items.map(showListedProject),
      ...(cursor === undefined ? {} : { pagination: { cursor } }),
      applications: {},
      integrations: {},
    },
  ]
}

async function updateProject(call: Call): Promise<[number, unknown]> {
  const { store, work } = call
  const project = findProject(call)
  const wanted = body.object(call.body, 'project')
  work.assertFree(project.id)
  const changed: Project = {
    ...project,
    name: body.optionalString(wanted, 'name', 256) ?? project.name,
    settings: { ...project.settings, ...body.object(wanted, 'settings', false) },
    default_endpoint_settings: {
      ...project.default_endpoint_settings,
      ...body.object(wanted, 'default_endpoint_settings', false),
    },
    history_retention_seconds: body.number(
      wanted,
      'history_retention_seconds',
      project.history_retention_seconds,
      0,
      MAX_RETENTION_SECONDS,
    ),
    updated_at: now(),
  }
  store.put('project', changed)
  await store.saved()
  return [200, { project: showProject(changed), operations: [] }]
}

/** The roles that may connect to one of these databases by name. */
async function admittedTo({ admin }: Call, databases: string[]): Promise<Set<string>> {
  const { rows } = await admin.pool.query<{ name: string }>(
    'select r.rolname as name from pg_database d, aclexplode(d.datacl) a join pg_roles r on r.oid = a.grantee where d.datname = any ($1)',
    [databases],
  )
  return new Set(rows.map(({ name }) => name))
}

/** Answers when everything of the project is removed from the cluster; until then a record lists what is left. */
async function deleteProject(call: Call): Promise<[number, unknown]> {
  const { store, work, pool } = call
  const project = findProject(call)
  work.assertFree(project.id)
  const branches = store.all('branch').filter((one) => one.project_id === project.id)
  const ids = new Set(branches.map((branch) => branch.id))
  const endpoints = store.all('endpoint').filter((one) => ids.has(one.branch_id))
  const databases = store.all('database').filter((one) => ids.has(one.branch_id))
  const admitted = await admittedTo(
    call,
    databases.map((one) => one.real_name),
  )
  // What SQL made is of all branches here, and the record may name another that was at work at the time.
  const roles = store
    .all('role')
    .filter((one) => ids.has(one.branch_id) || (one.made_by === 'sql' && admitted.has(one.real_name)))
  const marks = marksOf(store, ids)
  const rubbish = {
    id: project.id,
    databases: [...databases.map((one) => one.real_name), ...marks.flatMap((mark) => Object.values(mark.databases))],
    roles: roles.filter((one) => one.made_by === 'api').map((one) => one.real_name),
    made_by_sql: roles.filter((one) => one.made_by === 'sql').map((one) => one.real_name),
  }
  store.put('rubbish', rubbish)
  store.drop('endpoint', ...endpoints)
  store.drop('database', ...databases)
  store.drop('role', ...roles)
  store.drop('branch', ...branches)
  store.drop('mark', ...marks)
  store.drop('operation', ...store.all('operation').filter((one) => one.project_id === project.id))
  store.drop('project', project)
  await store.saved()
  for (const endpoint of endpoints) await pool.closeEndpoint(endpoint.id)
  await dropAll(call, rubbish.databases, rubbish.roles)
  await dropUnused(call, rubbish.made_by_sql ?? [])
  store.drop('rubbish', rubbish)
  await store.saved()
  return [200, { project: showProject(project) }]
}
