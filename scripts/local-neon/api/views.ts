import type { Branch, Database, Endpoint, Operation, Project, Role } from '../state/records.ts'

// Records as the API returns them. What is not measured here is zero.

const REGION = 'aws-us-east-2'
const PLATFORM = 'aws'
export const OWNER = 'local'
export const PROXY_HOST = 'us-east-2.aws.neon.tech'
export const REGION_ID = REGION
const UNLIMITED_BYTES = 0

const USAGE = { cpu_used_sec: 0, active_time_seconds: 0, compute_time_seconds: 0, written_data_bytes: 0, data_transfer_bytes: 0 }

function common(project: Project) {
  return {
    id: project.id,
    platform_id: PLATFORM,
    region_id: project.region_id,
    name: project.name,
    provisioner: 'k8s-neonvm',
    default_endpoint_settings: project.default_endpoint_settings,
    settings: project.settings,
    pg_version: project.pg_version,
    proxy_host: PROXY_HOST,
    branch_logical_size_limit: UNLIMITED_BYTES,
    branch_logical_size_limit_bytes: UNLIMITED_BYTES,
    store_passwords: project.store_passwords,
    creation_source: 'console',
    history_retention_seconds: project.history_retention_seconds,
    created_at: project.created_at,
    updated_at: project.updated_at,
    owner_id: project.org_id ?? OWNER,
    ...(project.org_id === undefined ? {} : { org_id: project.org_id }),
  }
}

/** A project with its counters. */
export function showProject(project: Project) {
  const start = `${project.created_at.slice(0, 7)}-01T00:00:00Z`
  return {
    ...common(project),
    ...USAGE,
    data_storage_bytes_hour: 0,
    consumption_period_start: start,
    consumption_period_end: nextMonth(start),
  }
}

/** A project as the list shows it. */
export const showListedProject = (project: Project) => ({ ...common(project), cpu_used_sec: 0, active_time: 0 })

function nextMonth(start: string) {
  const date = new Date(start)
  date.setUTCMonth(date.getUTCMonth() + 1)
  return `${date.toISOString().slice(0, 19)}Z`
}

export function showBranch({ annotation: _annotation, deleting: _deleting, ...branch }: Branch) {
  return {
    ...branch,
    ...(branch.current_state === 'init' ? { pending_state: 'ready' } : {}),
    primary: branch.default,
    creation_source: 'console',
    logical_size: 0,
    ...USAGE,
  }
}

export function showEndpoint({ deleting: _deleting, active: _active, active_since: _since, ...endpoint }: Endpoint) {
  return {
    ...endpoint,
    ...(endpoint.current_state === 'init' ? { pending_state: 'active' } : {}),
    region_id: REGION,
    pooler_enabled: false,
    pooler_mode: 'transaction',
    passwordless_access: true,
    creation_source: 'console',
    proxy_host: PROXY_HOST,
    provisioner: 'k8s-neonvm',
  }
}

export function showDatabase({ id, branch_id, name, owner_name, created_at, updated_at }: Database) {
  return { id, branch_id, name, owner_name, created_at, updated_at }
}

export function showRole({ branch_id, name, no_login, created_at, updated_at }: Role) {
  return {
    branch_id,
    name,
    protected: false,
    authentication_method: no_login ? 'no_login' : 'password',
    created_at,
    updated_at,
  }
}

/** A role with its password, which only the answers that make one show. */
export const showNewRole = (role: Role) => ({
  ...showRole(role),
  ...(role.password === undefined ? {} : { password: role.password }),
})

export const showOperation = ({ effects: _effects, ...operation }: Operation) => operation

/** How a client connects: the string and its parts. */
export function showConnection(endpoint: Endpoint, role: Role, database: string) {
  return {
    connection_uri: connectionUri(endpoint.host, role, database),
    connection_parameters: {
      database,
      password: role.password ?? '',
      role: role.name,
      host: endpoint.host,
      pooler_host: poolerHost(endpoint.host),
    },
  }
}

export const poolerHost = (host: string) => host.replace('.', '-pooler.')

export function connectionUri(host: string, role: Role, database: string) {
  const login = `${encodeURIComponent(role.name)}:${encodeURIComponent(role.password ?? '')}`
  return `postgresql://${login}@${host}/${encodeURIComponent(database)}?sslmode=require&channel_binding=require`
}
