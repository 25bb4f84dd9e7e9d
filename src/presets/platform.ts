import { crud, type Preset } from './preset.ts'

const tenants = [...crud('tenant'), 'tenant:retry']
/** Becoming a user of a tenant, by a password that the caller sees: more than managing tenants, so the role `operator` is not given it. */
const inside = ['tenant:recover']
const operators = [
  ...crud('user', 'role', 'api_key'),
  'user:approve',
  'session:read',
  'session:delete',
  'activity:read',
  'activity:create',
  'activity:export',
  'setting:read',
  'setting:update',
]

/** The roles of the platform's own realm: its operators. */
export const platformPreset: Preset = {
  name: 'platform',
  permissions: [...tenants, ...inside, ...operators],
  administrator: 'owner',
  fallback: 'auditor',
  roles: [
    {
      name: 'auditor',
      description: 'Reads everything, changes nothing',
      grants: [...tenants, ...operators].filter((p) => /:(read|export)$/.test(p)).map((p) => [p, 'all']),
    },
    { name: 'operator', description: 'Creates and manages tenants', parent: 'auditor', grants: tenants.map((p) => [p, 'all']) },
    {
      name: 'owner',
      description: 'Runs the platform',
      parent: 'operator',
      grants: [...inside, ...operators].map((p) => [p, 'all']),
    },
  ],
}
