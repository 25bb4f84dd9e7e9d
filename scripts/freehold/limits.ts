import { InvalidArgumentError } from 'commander'
import { Tenant } from './answers.ts'
import { withApi } from './api.ts'
import type { Command } from './command.ts'
import type { Globals } from './options.ts'
import { plain, print, printJson, tell } from './output.ts'
import { findTenant } from './registry.ts'
import { table } from './table.ts'

type Limits = Record<string, number | boolean | null | undefined>

const COUNTED = ['users', 'organizations', 'documents', 'api_keys', 'sessions'] as const

/** A parser of limits: a whole number, or none, which stays a word: commander takes null for an option without a value. */
function limit(text: string): number | 'none' {
  if (text === 'none') return text
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number, or none.')
  return Number(text)
}

function yesNo(text: string): boolean {
  if (text !== 'yes' && text !== 'no') throw new InvalidArgumentError('It must be yes or no.')
  return text === 'yes'
}

/** The options that say limits. */
export const addLimitOptions = (command: Command): Command =>
  command
    .option('--max-users <n>', 'active users, or none', limit)
    .option('--max-organizations <n>', 'organizations, or none', limit)
    .option('--max-documents <n>', 'documents that are counted, or none', limit)
    .option('--limit-documents <yes|no>', 'whether documents beyond --max-documents are refused', yesNo)
    .option('--max-api-keys <n>', 'API keys that work, or none', limit)
    .option('--max-sessions <n>', 'sessions at once, or none', limit)

const known = (limit: number | 'none' | undefined) => (limit === 'none' ? null : limit)

export type LimitOptions = {
  maxUsers?: number | 'none'
  maxOrganizations?: number | 'none'
  maxDocuments?: number | 'none'
  limitDocuments?: boolean
  maxApiKeys?: number | 'none'
  maxSessions?: number | 'none'
}

/** The limits of the options that were given; undefined: none was. */
export function limitsOf(options: LimitOptions): Limits | undefined {
  const limits: Limits = {
    max_users: known(options.maxUsers),
    max_organizations: known(options.maxOrganizations),
    max_documents: known(options.maxDocuments),
    limit_documents: options.limitDocuments,
    max_api_keys: known(options.maxApiKeys),
    max_sessions: known(options.maxSessions),
  }
  return Object.values(limits).some((value) => value !== undefined) ? limits : undefined
}

/** Limits in a line, as `max_users 5, max_documents 100`. */
export const inWords = (limits: Record<string, unknown>): string =>
  Object.entries(limits)
    .map(([name, value]) => (name === 'limit_documents' ? (value ? name : '') : `${name} ${value}`))
    .filter(Boolean)
    .join(', ') || '-'

/** The command that shows and changes what limits a tenant. */
export function addLimits(tenants: Command): void {
  const limits = tenants
    .command('limits')
    .description('show what limits a tenant and what is used; with options, change its own limits or its plan')
    .example('acme')
    .example('acme --plan gold --max-users 50')
    .argument('<tenant>', 'its id or its subdomain')
    .option('--plan <key>', 'its plan, or none')
  addLimitOptions(limits)
    .addHelpText('after', '\nA limit of "none" is the one of the license or of the plan.')
    .action((name: string, _, command: Command) => {
      const options = command.optsWithGlobals<Globals & LimitOptions & { plan?: string }>()
      return withApi(options, async (api) => {
        const { id } = await findTenant(api, name)
        const plan = options.plan === 'none' ? null : options.plan
        const given = limitsOf(options)
        const is_change = given !== undefined || plan !== undefined
        const body = { limits: given, plan }
        const tenant = await api.call(Tenant, is_change ? 'PATCH' : 'GET', `/tenants/${id}`, is_change ? { body } : {})
        if (options.json) return printJson(tenant)
        const { effective_limits = {}, used, limits = {}, is_applied, limits_exceeded = [] } = tenant
        const rows = COUNTED.map((counted) => {
          const limit = effective_limits[`max_${counted}`]
          const is_off = counted === 'documents' && !effective_limits.limit_documents
          return [
            counted,
            String(used?.[counted] ?? '-'),
            is_off ? '-' : String(limit ?? '-'),
            String(limits[`max_${counted}`] ?? '-'),
          ]
        })
        print(table(['WHAT', 'USED', 'LIMIT', 'OF ITS OWN'], rows))
        tell(`Plan ${plain(tenant.plan ?? '-')}; used as of ${plain(used?.as_of ?? 'never')}.`)
        if (limits_exceeded.length) tell(`More is used than ${limits_exceeded.map(plain).join(', ')}: nothing more is made.`)
        if (is_applied === false) tell('Its database has not been told yet; the scheduled job does.')
      })
    })
}
