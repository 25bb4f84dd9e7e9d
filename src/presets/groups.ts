import { catalogue, GROUPS } from './catalogue.ts'
import { grants, SELF } from './grants.ts'
import type { Preset, PresetRole } from './preset.ts'

const { documents, projects, hr, procurement, financial, crm, quality, analytics, workflow, competency } = GROUPS
/** Resources of shared work, which the user-managed groups are about. */
const WORK = [...documents, ...projects, ...crm, ...analytics]

/**
 * Subscription groups: what an organization has bought. A plan grants access to one's own resources; the user-managed groups
 * grant wider scopes. The number of users that a plan allows is the organization's limit, not the group's.
 */
const PLANS: PresetRole[] = [
  {
    name: 'plan_free',
    description: 'Subscription: documents and tasks',
    grants: grants(...SELF, ['own', 'CRUD', 'document', 'form', 'task']),
  },
  {
    name: 'plan_basic',
    description: 'Subscription: free, and projects and customers',
    parent: 'plan_free',
    grants: grants(
      ['own', 'CRUD', 'form_template', 'form_record', 'project', 'milestone', ...crm],
      ['own', 'R', 'report', 'dashboard'],
      ['own', 'X', 'document'],
    ),
  },
  {
    name: 'plan_pro',
    description: 'Subscription: basic, and purchases, finances, analytics and API keys',
    parent: 'plan_basic',
    grants: grants(
      ['own', 'CRUDX', ...procurement, ...financial],
      ['own', 'CRUD', 'analytics', 'kpi', 'api_key'],
      ['own', 'CUDX', 'report', 'dashboard'],
      ['own', 'X', 'project', ...crm],
    ),
  },
  {
    name: 'plan_enterprise',
    description: 'Subscription: pro, and people, quality, workflows and delegation',
    parent: 'plan_pro',
    grants: grants(['own', 'CRUDX', ...hr, ...quality, ...workflow, ...competency], ['own', 'CRUD', 'delegation']),
  },
]

/** System groups, for those who host the service. Nobody else can assign them. */
const SYSTEM: PresetRole[] = [
  {
    name: 'system_support',
    description: 'System: helps users, and ends stolen sessions of those without power over others',
    grants: grants(
      ...SELF,
      ['all', 'CRUD', 'support_ticket'],
      ['all', 'RD', 'session', 'invitation'],
      ['all', 'R', 'user', 'role', 'permission', 'unit', 'organization', 'activity'],
    ),
  },
  {
    name: 'system_billing',
    description: 'System: bills subscriptions',
    grants: grants(
      ...SELF,
      ['all', 'CRUDAVX', 'invoice', 'payment', 'revenue'],
      ['all', 'RU', 'organization'],
      ['all', 'R', 'user'],
    ),
  },
  { name: 'system_admin', description: 'System: everything', grants: catalogue.map((permission) => [permission, 'all']) },
]

/** Groups that users manage: a manager assigns them within the team, and holds every permission that they grant. */
const MANAGEABLE: PresetRole[] = [
  {
    name: 'group_reader',
    description: 'Sees the work of the team',
    grants: grants(...SELF, ['team', 'R', 'user', 'unit', ...WORK]),
  },
  {
    name: 'group_editor',
    description: 'Does the work of the team',
    parent: 'group_reader',
    grants: grants(['team', 'CU', ...WORK]),
  },
  {
    name: 'group_approver',
    description: 'Reviews and approves the work of the team',
    parent: 'group_editor',
    grants: grants(['team', 'AVX', ...WORK]),
  },
  {
    name: 'group_manager',
    description: 'Manages the team: its work, who is in it, and their groups',
    parent: 'group_approver',
    grants: grants(
      ['team', 'D', ...WORK],
      ['team', 'U', 'user'],
      ['team', 'RU', 'role'],
      ['team', 'CRD', 'invitation'],
      ['own', 'R', 'organization'],
    ),
  },
]

/** The groups of the seed's SetupGroups: subscriptions, system, and those that users manage. */
export const groups: Preset = {
  name: 'groups',
  settings: { password_grant: true },
  permissions: catalogue,
  administrator: 'system_admin',
  fallback: 'plan_free',
  roles: [...PLANS, ...SYSTEM, ...MANAGEABLE.map((role) => ({ ...role, is_manageable: true }))],
}
