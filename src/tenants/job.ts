import type { Config } from '../kernel/config.ts'
import type { Passwords, Urls } from './logins.ts'
import type { NeonApi, OperationRef } from './neon.ts'

/** What the steps of provisioning know of the tenant that they make. URLs are opened; null until their step has run. */
export type Job = {
  config: Config
  neon: NeonApi
  tenant: {
    id: string
    subdomain: string
    isolation: string
    role_preset: string
    database_name: string
    app_url: string | null
    owner_url: string | null
    initial_admin: string | null
    branch_id: string | null
    home: { id: string; project_id: string; branch_id: string; owner_role: string; owner_url: string } | null
  }
}

/** One way to give a tenant a database of its own. Every part may be called again after it did its work. */
export type Isolation = {
  /** Finds where the database is to be. */
  place(job: Job): Promise<void>
  /** Asks Neon for it; what to wait for. */
  create(job: Job): Promise<OperationRef[]>
  /** How the tenant's two logins will connect, with these passwords. Makes nothing. */
  urls(job: Job, passwords: Passwords): Promise<Urls>
  /** Makes the two logins, and lets nobody else in. */
  logins(job: Job, urls: Urls): Promise<void>
}

/** The home of a tenant that has its place. */
export function homeOf({ tenant }: Job) {
  if (!tenant.home) throw new Error('The tenant has no home yet.')
  return tenant.home
}
