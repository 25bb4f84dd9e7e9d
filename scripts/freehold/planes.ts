import { InvalidArgumentError } from 'commander'
import { Label } from '../../src/kernel/config.ts'
import { type Api, connected, withTenant } from './api.ts'
import type { Command } from './command.ts'
import { anyOperator, type Connection, CREDENTIAL_SETTINGS, TENANT_CREDENTIAL_SETTINGS, tenantConnection } from './credentials.ts'
import type { Globals } from './options.ts'

/** The options of a command that both planes have. */
export type OnPlane = Globals & { tenant?: string }

/** Help text of the commands that both planes have. */
export const PLANE_SETTINGS = `
With --tenant, as inside a tenant; without it as an operator, or where the profile is of a tenant, in that.
${CREDENTIAL_SETTINGS}
With --tenant:${TENANT_CREDENTIAL_SETTINGS.replace('\nThe first', ' the first')}`

/** A command inside a tenant. */
export const addTenant = (command: Command): Command =>
  command.option('--tenant <subdomain>', 'the tenant; default: that of the profile', subdomain)

/** A command that both planes have. */
export const addPlane = (command: Command): Command =>
  command.option(
    '--tenant <subdomain>',
    'in a tenant, as one of its users; default: where the profile is, or the platform',
    subdomain,
  )

/** Where the users of a plane are. */
export type UsersAt = '/users' | '/operators'

/** Where calls go: to the tenant that is named, or else where an operator's go, or those of a profile. */
export const connectionOf = (options: OnPlane): Promise<Connection> =>
  options.tenant === undefined ? anyOperator(options) : tenantConnection(options, options.tenant)

/** Runs `work` on one of the planes. */
export async function withPlane<T>(options: OnPlane, work: (api: Api, at: UsersAt) => Promise<T>): Promise<T> {
  const connection = await connectionOf(options)
  return connected(options, connection, (api) => work(api, connection.tenant === null ? '/operators' : '/users'))
}

/** Runs `work` inside the tenant that is named, or else that of the profile. */
export const inTenant = <T>(options: OnPlane, work: (api: Api, at: UsersAt) => Promise<T>): Promise<T> =>
  withTenant(options, options.tenant ?? null, (api) => work(api, '/users'))

/** A parser of subdomains of tenants. */
export function subdomain(text: string): string {
  const parsed = Label.safeParse(text.toLowerCase())
  if (!parsed.success) throw new InvalidArgumentError('It must be the subdomain of a tenant.')
  return parsed.data
}
