import { catalogue, GROUPS, RESOURCES } from './catalogue.ts'
import { grants, SELF } from './grants.ts'
import type { Preset, PresetRole } from './preset.ts'

const { core, documents, projects, competency } = GROUPS
/** The resources of an organization's business, as opposed to its users, permissions and workflows. */
const BUSINESS = RESOURCES.filter((resource) => ![...core, 'workflow'].includes(resource))

const EMPLOYEE: PresetRole = {
  name: 'EMPLOYEE',
  description: 'Reserved for self-service: no more than what is their own',
  grants: grants(...SELF),
}
/** Everything except what would let a reader impersonate or monitor others: sessions, keys, activities. */
const VIEWER: PresetRole = {
  name: 'VIEWER',
  description: 'Read-only across the entire application',
  parent: 'EMPLOYEE',
  grants: grants(['all', 'R', 'user', 'role', 'permission', 'workflow', 'unit', 'organization', ...BUSINESS]),
}
const SUPERVISOR: PresetRole = {
  name: 'SUPERVISOR',
  description: 'Reads, and writes within their operational unit',
  parent: 'VIEWER',
  grants: grants(
    ['team', 'CU', ...documents, ...projects, ...competency],
    [
      'team',
      'CU',
      'training',
      'leave',
      'attendance',
      'performance',
      'equipment',
      'calibration',
      'non_conformance',
      'support_ticket',
    ],
    ['team', 'V', 'leave', 'attendance', 'form_record'],
    ['own', 'CUD', 'delegation'],
  ),
}
const MANAGER: PresetRole = {
  name: 'MANAGER',
  description: 'Manages units, employees and assignments within their department',
  parent: 'SUPERVISOR',
  grants: grants(['department', 'CUDAVX', ...BUSINESS], ['department', 'Y', 'competency'], ['department', 'CUD', 'unit']),
}
const ADMIN: PresetRole = {
  name: 'ADMIN',
  description: 'Full access: users, units and all configuration',
  parent: 'MANAGER',
  // Everything that viewers do not hold already.
  grants: catalogue
    .filter((permission) => !VIEWER.grants.some(([seen]) => seen === permission))
    .map((permission) => [permission, 'all']),
}

/** The five roles of ADR-014 (Coveris), each strictly stronger than the one before. Only an ADMIN can assign roles. */
export const coveris: Preset = {
  name: 'coveris',
  settings: { password_grant: true },
  permissions: catalogue,
  administrator: 'ADMIN',
  fallback: 'VIEWER',
  roles: [EMPLOYEE, VIEWER, SUPERVISOR, MANAGER, ADMIN],
}
