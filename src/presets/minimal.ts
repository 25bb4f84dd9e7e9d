import { catalogue } from './catalogue.ts'
import { grants, SELF } from './grants.ts'
import type { Preset } from './preset.ts'

/**
 * Two roles: who runs the tenant, and who is in it. The administrator holds Freehold's own administration and none of the catalogue's
 * business: an access token lists what its bearer holds.
 */
export const minimal: Preset = {
  name: 'minimal',
  permissions: catalogue,
  administrator: 'admin',
  fallback: 'user',
  roles: [
    { name: 'user', description: 'Sees and mends what is their own', grants: grants(...SELF) },
    {
      name: 'admin',
      description: 'Runs the tenant',
      parent: 'user',
      grants: grants(
        ['all', 'CRUD', 'user', 'role', 'permission', 'api_key', 'delegation'],
        ['all', 'CRUD', 'unit', 'organization', 'invitation'],
        ['all', 'RD', 'session'],
        ['all', 'RU', 'setting'],
        ['all', 'CRX', 'activity'],
      ),
    },
  ],
}
