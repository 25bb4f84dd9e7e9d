/** A set of roles that a tenant starts with. Data only: to add a preset, add a file here and name it in presets.ts. */
export type Scope = 'all' | 'department' | 'team' | 'own'
export type PresetRole = { name: string; description: string; parent?: string; grants: [permission: string, scope: Scope][] }
export type Preset = { name: string; permissions: string[]; roles: PresetRole[]; administrator: string }

/** Every permission of some resources: `crud('role')` is role:create, role:read, role:update, role:delete. */
export const crud = (...resources: string[]) =>
  resources.flatMap((r) => ['create', 'read', 'update', 'delete'].map((a) => `${r}:${a}`))
