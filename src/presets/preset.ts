/** A set of roles and settings that a tenant starts with. Data only: to add a preset, add a file here and name it in presets.ts. */
export type Scope = 'all' | 'department' | 'team' | 'own'

export type PresetRole = {
  name: string
  description: string
  /** The role that it inherits from, which must be listed before it. */
  parent?: string
  grants: [permission: string, scope: Scope][]
  /** May be assigned by users with role:update at team scope, within their team. */
  is_manageable?: boolean
  /** How many may hold it at once. */
  max_users?: number
}

/** Settings that a tenant can start with: columns of its one row, where their defaults are (src/settings/table.ts). */
export type PresetSettings = Partial<
  Record<'password_min_length' | 'password_unique' | 'password_history' | 'password_days' | 'password_warning_days', number> &
    Record<'password_upper' | 'password_lower' | 'password_digit' | 'password_special' | 'password_grant', boolean>
>

export type Preset = {
  name: string
  /** What its requirement document asks for beside the defaults. Set once, when the tenant is made. */
  settings?: PresetSettings
  permissions: string[]
  roles: PresetRole[]
  /** The role of the first administrator. At least one user must always hold it. */
  administrator: string
  /** The role of a user created without one. */
  fallback: string
}

/** Every permission of some resources: `crud('role')` is role:create, role:read, role:update, role:delete. */
export const crud = (...resources: string[]) =>
  resources.flatMap((r) => ['create', 'read', 'update', 'delete'].map((a) => `${r}:${a}`))
