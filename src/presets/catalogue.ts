import { crud } from './preset.ts'

/** The resources of the LIMS seed, by subject. */
export const GROUPS = {
  core: ['user', 'role', 'permission', 'session', 'api_key'],
  documents: ['document', 'form', 'form_template', 'form_record'],
  projects: ['project', 'task', 'milestone'],
  hr: ['employee', 'recruitment', 'training', 'leave', 'attendance', 'performance'],
  procurement: ['vendor', 'rfq', 'purchase_order', 'equipment', 'calibration'],
  financial: ['expense', 'invoice', 'payment', 'revenue'],
  crm: ['lead', 'customer', 'order', 'support_ticket'],
  quality: ['non_conformance', 'audit', 'capa', 'risk_assessment'],
  analytics: ['report', 'analytics', 'kpi', 'dashboard'],
  workflow: ['workflow', 'approval'],
  competency: ['competency', 'certification'],
  delegation: ['delegation'],
}
export const RESOURCES = Object.values(GROUPS).flat()
export const ACTIONS = ['create', 'read', 'update', 'delete', 'approve', 'review', 'export']

/** Freehold's own permissions, besides the seed's. */
const OWN = [
  ...crud('unit', 'organization', 'invitation', 'audience'),
  'employee:read_sensitive',
  'competency:verify',
  'user:impersonate',
  'setting:read',
  'setting:update',
  'activity:create',
  'activity:read',
  'activity:export',
  'usage:create',
  'usage:read',
]

/** The permissions that every tenant starts with: the seed's 44 resources x 7 actions, and Freehold's own. Tenants add theirs. */
export const catalogue = [...RESOURCES.flatMap((resource) => ACTIONS.map((action) => `${resource}:${action}`)), ...OWN]
