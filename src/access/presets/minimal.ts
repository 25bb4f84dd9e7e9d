import { crud, type Preset } from './preset.ts'

const permissions = [
  ...crud('user', 'role', 'permission'),
  'session:read',
  'session:delete',
  'setting:read',
  'setting:update',
  'activity:read',
]

/** Two roles: who runs the tenant, and who is in it. */
export const minimal: Preset = {
  name: 'minimal',
  permissions,
  administrator: 'admin',
  roles: [
    {
      name: 'user',
      description: 'Sees and mends what is their own',
      grants: [
        ['user:read', 'own'],
        ['user:update', 'own'],
        ['session:read', 'own'],
        ['session:delete', 'own'],
      ],
    },
    { name: 'admin', description: 'Runs the tenant', parent: 'user', grants: permissions.map((p) => [p, 'all']) },
  ],
}
