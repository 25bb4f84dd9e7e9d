import type { Config } from '../kernel/config.ts'
import { sharedDatabase } from './isolation-database.ts'
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
    home: { id: string; project_id: string; branch_id: string; owner_role: string; owner_url: string } | null
  }
}

/** One way to give a tenant a database of its own. Every part may be called again after it did its work. */
export type Isolation = {
  /** Finds where the database is to be. */
  place(job: Job): Promise<void>
  /** Asks Neon for it; what to wait for. */
  create(job: Job): Promise<OperationRef[]>
  /** How the tenant's two logins will connect, with these passwords. Asks nobody. */
  urls(job: Job, passwords: { app: string; owner: string }): Urls
  /** Makes the two logins, and lets nobody else in. */
  logins(job: Job, urls: Urls): Promise<void>
}

/** Connection strings of a tenant's app login and owner login. */
export type Urls = { app_url: string; owner_url: string }

/** The isolations there are, by name. */
export const isolations: Record<string, Isolation> = { database: sharedDatabase }
