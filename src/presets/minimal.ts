import { catalogue } from './catalogue.ts'
import { grants, SELF } from './grants.ts'
import type { Preset } from './preset.ts'

/**
 * Two roles: administrator and user. The administrator holds Freehold's own administration and none of the catalogue's business
 * permissions, because an access token lists all permissions of its bearer.
 */
export const minimal: Preset = {
  name: 'minimal',
  permissions: catalogue,
  administrator: 'admin',
  fallback: 'user',
  roles: [
    { name: 'user', description: 'Reads and updates their own data', grants: grants(...SELF) },
    {
      name: 'admin',
      description: 'Runs the tenant',
      parent: 'user',
      grants: grants(
        ['all', 'CRUD', 'user', 'role', 'permission', 'api_key', 'delegation'],
        ['all', 'CRUD', 'unit', 'organization', 'invitation', 'audience'],
        ['all', 'CRUDS', 'employee'],
        ['all', 'CRUDXY', 'competency'],
        ['all', 'AI', 'user'],
        ['all', 'RD', 'session'],
        ['all', 'RU', 'setting'],
        ['all', 'CRX', 'activity'],
        ['all', 'CR', 'usage'],
      ),
    },
  ],
}
