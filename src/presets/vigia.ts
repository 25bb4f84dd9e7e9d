import { ACTIONS, catalogue, GROUPS } from './catalogue.ts'
import { grants, SELF, widest } from './grants.ts'
import type { Preset, PresetRole } from './preset.ts'

/** VIGIA's own resources, which are not in the catalogue: individual case safety reports, their subjects and their clients. */
const PHARMACOVIGILANCE = ['icsr', 'icsr_product', 'icsr_event', 'product', 'client', 'surveillance_alert']
const permissions = [...catalogue, ...PHARMACOVIGILANCE.flatMap((resource) => ACTIONS.map((action) => `${resource}:${action}`))]
const existing = new Set(permissions)

/** Modules, and the resources of each. */
export const MODULES = {
  icsr: ['icsr', 'icsr_product', 'icsr_event'],
  products: ['product'],
  clients: ['client'],
  surveillance: ['surveillance_alert'],
  documents: GROUPS.documents,
  quality: GROUPS.quality,
  reports: GROUPS.analytics,
  employees: ['employee', 'training', ...GROUPS.competency],
  users: ['user', 'role', 'permission', 'session', 'api_key', 'unit', 'organization', 'invitation', 'delegation'],
  settings: ['setting', 'audience', 'activity', 'usage'],
}

/** Levels of access to a module, as the letters of its actions. */
export const LEVELS = { read: 'R', audit: 'RX', write: 'CRU', review: 'RUV', approve: 'CRUAV', full: 'CRUDAVX' }

/** A role in the JSON of the seed: modules, and the level of each. */
export type Modules = Partial<Record<keyof typeof MODULES, keyof typeof LEVELS>>

/** The permissions of modules. VIGIA has no scopes: a module is open or it is not. */
export function expand(modules: Modules): PresetRole['grants'] {
  const rows = Object.entries(modules) as [keyof typeof MODULES, keyof typeof LEVELS][]
  const named = rows.flatMap(([module, level]) => grants(['all', LEVELS[level], ...MODULES[module]]))
  // Not every resource has every action: a setting cannot be approved.
  return named.filter(([permission]) => existing.has(permission))
}

const AUDITED = Object.fromEntries(Object.keys(MODULES).map((module) => [module, 'audit'])) as Modules
const role = (name: string, description: string, modules: Modules): PresetRole => ({
  name,
  description,
  grants: widest([...grants(...SELF), ...expand(modules)]),
})

/**
 * Roles of pharmacovigilance with permissions by module, as VIGIA stores them. The seed does not name its roles; these are the
 * usual ones of the profession. `viewer` cannot read cases: a case is about a patient.
 */
export const vigia: Preset = {
  name: 'vigia',
  settings: { password_grant: true },
  permissions,
  administrator: 'admin',
  fallback: 'viewer',
  roles: [
    { name: 'admin', description: 'Runs the tenant: everything', grants: permissions.map((permission) => [permission, 'all']) },
    role('qppv', 'Qualified person for pharmacovigilance: answers for every case and signal', {
      icsr: 'full',
      products: 'approve',
      clients: 'write',
      surveillance: 'full',
      documents: 'approve',
      quality: 'approve',
      reports: 'full',
      employees: 'read',
    }),
    role('medical_reviewer', 'Judges cases: seriousness, causality', {
      icsr: 'review',
      products: 'read',
      surveillance: 'review',
      documents: 'read',
      reports: 'read',
    }),
    role('case_processor', 'Takes in cases and follows them up', {
      icsr: 'write',
      products: 'read',
      clients: 'read',
      surveillance: 'read',
      documents: 'read',
    }),
    role('auditor', 'Reads and exports every module', AUDITED),
    role('viewer', 'Sees products and alerts', { products: 'read', surveillance: 'read' }),
  ],
}
