// The state of the local Neon. A record has the fields that the API returns, and those that only this program needs.

export interface Project {
  id: string
  name: string
  region_id: string
  pg_version: number
  store_passwords: boolean
  history_retention_seconds: number
  settings: Record<string, unknown>
  default_endpoint_settings: Record<string, unknown>
  org_id?: string
  created_at: string
  updated_at: string
}

export interface Branch {
  id: string
  project_id: string
  parent_id?: string
  name: string
  default: boolean
  protected: boolean
  init_source: string
  expires_at?: string
  annotation: Record<string, string>
  /** `init` until its operation has built it. */
  current_state: 'init' | 'ready'
  deleting: boolean
  created_at: string
  updated_at: string
  state_changed_at: string
}

export interface Endpoint {
  id: string
  project_id: string
  branch_id: string
  host: string
  name?: string
  type: 'read_write' | 'read_only'
  current_state: 'init' | 'active' | 'idle'
  disabled: boolean
  settings: Record<string, unknown>
  autoscaling_limit_min_cu: number
  autoscaling_limit_max_cu: number
  suspend_timeout_seconds: number
  deleting: boolean
  /** Since when it is active, and the last times that it was: what consumption is made of. Missing in records of before. */
  active_since?: string
  active?: [from: string, to: string][]
  created_at: string
  updated_at: string
}

export interface Database {
  id: number
  branch_id: string
  name: string
  owner_name: string
  /** Its name in the cluster, which all branches share. */
  real_name: string
  /** False until the operation that makes it has finished, and from the moment it is deleted. */
  live: boolean
  deleting: boolean
  /** The database in the cluster that it starts as a copy of. */
  copy_of?: string
  /** The copy of an earlier moment of that database, whose content it gets. */
  content_of?: string
  created_at: string
  updated_at: string
}

export interface Role {
  branch_id: string
  name: string
  /** Its name in the cluster, which all branches share. */
  real_name: string
  /** The password of a role made by SQL is not known here. */
  made_by: 'api' | 'sql'
  no_login: boolean
  password?: string
  /** The password that works now; differs from `password` while an operation runs. */
  live_password?: string
  deleting: boolean
  /** The role in the cluster whose memberships, settings and objects it takes over when its branch is built. */
  copy_of?: string
  created_at: string
  updated_at: string
}

export type Status = 'scheduling' | 'running' | 'finished' | 'failed' | 'cancelled'

export interface Operation {
  id: string
  project_id: string
  branch_id?: string
  endpoint_id?: string
  action: string
  status: Status
  error?: string
  failures_count: number
  created_at: string
  updated_at: string
  total_duration_ms: number
  effects: Effect[]
}

/** The effect of an operation. Stored with it, so that a restart can finish it: each effect can be repeated. */
export type Effect =
  | { do: 'fail' }
  | { do: 'build_branch' | 'remove_branch'; branch_id: string }
  | { do: 'start_endpoint' | 'stop_endpoint'; endpoint_id: string }
  | { do: 'create_role' | 'set_password' | 'drop_role'; branch_id: string; name: string }
  | { do: 'create_database' | 'drop_database'; branch_id: string; name: string }
  | { do: 'change_database'; branch_id: string; name: string; from: string }

/** What is kept of a branch of one moment: for each of its databases a copy in the cluster. */
export interface Mark {
  id: string
  branch_id: string
  at: string
  databases: Record<string, string>
}

/** What is left of a deleted project in the cluster, until it is gone. */
export interface Rubbish {
  id: string
  databases: string[]
  roles: string[]
  /** Those that SQL made: other projects may use them. Missing in records of before. */
  made_by_sql?: string[]
}

export interface Records {
  project: Project
  branch: Branch
  endpoint: Endpoint
  database: Database
  role: Role
  operation: Operation
  rubbish: Rubbish
  mark: Mark
}

export type Kind = keyof Records

/** The key of something that has a name inside a branch. */
export const inBranch = (branchId: string, name: string) => `${branchId}/${name}`

/** Now, in the API's format. */
export const now = () => `${new Date().toISOString().slice(0, 19)}Z`

const MOST_TIMES = 1_000

/** An endpoint whose compute starts. */
export const awake = (endpoint: Endpoint): Endpoint => ({
  ...endpoint,
  current_state: 'active',
  active_since: endpoint.active_since ?? now(),
  updated_at: now(),
})

/** An endpoint whose compute is suspended. */
export function asleep({ active_since, active = [], ...endpoint }: Endpoint): Endpoint {
  const times = active_since === undefined ? active : [...active, [active_since, now()] as [string, string]]
  return { ...endpoint, active: times.slice(-MOST_TIMES), current_state: 'idle', updated_at: now() }
}
