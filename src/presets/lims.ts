import { catalogue, GROUPS } from './catalogue.ts'
import { type GrantRow, grants, type PresetGrant, SELF, widest } from './grants.ts'
import type { Preset } from './preset.ts'

const { documents, projects, hr, procurement, financial, crm, quality, analytics, workflow, competency } = GROUPS

/** The permissions of all staff: their own employment, and the procedures that they work by. */
const STAFF: GrantRow[] = [
  ...SELF,
  ['own', 'R', 'employee', 'attendance', 'training', 'performance', ...competency],
  ['own', 'CRU', 'leave', 'expense'],
  // They record their own competencies; others verify them.
  ['own', 'CUD', 'competency'],
  ['own', 'RU', 'task'],
  ['own', 'CRUD', 'delegation'],
  ['all', 'R', 'document', 'form_template'],
]

const isSeen = (permission: string) => /:(read|export)$/.test(permission)

/**
 * The ten roles of the LIMS seed. Testing and checking are separate duties: `checker` and `technician` have no common ancestor.
 * `approver` signs what it can also review; `lab_manager` leads technicians.
 */
export const lims: Preset = {
  name: 'lims',
  // The document's rules for passwords; its clients use the password grant.
  settings: {
    password_min_length: 8,
    password_upper: true,
    password_lower: true,
    password_digit: true,
    password_special: true,
    password_unique: 5,
    password_history: 5,
    password_days: 90,
    password_warning_days: 14,
    password_grant: true,
  },
  permissions: catalogue,
  administrator: 'admin',
  // The weakest of the ten, without access to the laboratory: a user created without a role may be an outsider.
  fallback: 'customer',
  roles: [
    { name: 'admin', description: 'Full system access', grants: catalogue.map((permission) => [permission, 'all']) },
    {
      name: 'quality_manager',
      description: 'QMS oversight, audit management',
      grants: grants(
        ...STAFF,
        ['all', 'CRUDAVX', ...documents, ...quality],
        ['all', 'CRUDAV', ...workflow],
        ['all', 'CRUX', ...analytics],
        ['all', 'RAV', 'training', 'calibration', ...competency],
        ['all', 'XY', 'competency'],
        ['all', 'RV', 'vendor', 'equipment', 'order', 'support_ticket'],
        ['all', 'R', 'user', 'role', 'unit', 'employee', 'project'],
        ['all', 'RX', 'activity'],
      ),
    },
    {
      name: 'technician',
      description: 'Test execution, data entry',
      grants: grants(
        ...STAFF,
        ['team', 'CRU', 'form', 'form_record', 'calibration', 'non_conformance'],
        ['team', 'R', 'project', 'milestone', 'equipment', 'order', 'report', 'dashboard'],
      ),
    },
    {
      name: 'lab_manager',
      description: 'Laboratory operations, equipment, training',
      parent: 'technician',
      grants: grants(
        ['department', 'CRUDAVX', ...projects, 'equipment', 'calibration'],
        ['department', 'CRUAVX', 'form', 'form_record', 'training', ...competency],
        ['department', 'Y', 'competency'],
        ['department', 'CRU', 'performance', 'non_conformance', 'capa', 'risk_assessment', 'order', 'purchase_order', 'rfq'],
        ['department', 'RAV', 'leave', 'attendance', 'delegation'],
        ['department', 'CRUX', ...analytics],
        ['department', 'R', 'user', 'unit', 'employee', 'vendor', 'support_ticket'],
      ),
    },
    {
      name: 'checker',
      description: 'Review and verification',
      grants: grants(
        ...STAFF,
        ['department', 'RV', ...documents, 'calibration', 'report', 'non_conformance', 'capa'],
        ['department', 'R', 'equipment', 'order', 'project'],
        ['department', 'RUV', 'approval'],
      ),
    },
    {
      name: 'approver',
      description: 'Final approvals and sign-offs',
      parent: 'checker',
      grants: grants(
        ['all', 'A', ...documents],
        ['all', 'RA', 'form', 'form_record', 'calibration', 'report', 'non_conformance', 'capa', 'purchase_order', 'expense'],
        ['all', 'RUA', 'approval'],
        ['all', 'R', 'workflow'],
      ),
    },
    {
      name: 'auditor',
      description: 'Read-only audit access with export',
      grants: widest([...grants(...SELF), ...catalogue.filter(isSeen).map((permission): PresetGrant => [permission, 'all'])]),
    },
    {
      name: 'customer',
      description: 'Limited external access to orders and tickets',
      grants: grants(...SELF, ['own', 'CRU', 'order', 'support_ticket']),
    },
    {
      name: 'hr_manager',
      description: 'Human resources management',
      grants: grants(
        ...STAFF,
        ['all', 'CRUDAVX', ...hr, ...competency],
        // No invitations: an invitation assigns roles, and nobody assigns permissions that they do not hold.
        ['all', 'CRU', 'unit'],
        ['all', 'RA', 'delegation'],
        ['all', 'R', 'user', 'organization'],
        ['department', 'CRX', ...analytics],
      ),
    },
    {
      name: 'finance_manager',
      description: 'Financial operations and reporting',
      grants: grants(
        ...STAFF,
        ['all', 'CRUDAVX', ...financial],
        ['all', 'RAVX', ...procurement.filter((resource) => resource !== 'calibration')],
        ['all', 'RX', ...crm],
        ['all', 'CRUX', ...analytics],
        ['all', 'R', 'unit', 'organization', 'project'],
      ),
    },
  ],
}
