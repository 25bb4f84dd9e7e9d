/** A set of roles that a tenant starts with. Data only: to add a preset, add a file here and name it in presets.ts. */
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

export type Preset = {
  name: string
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
