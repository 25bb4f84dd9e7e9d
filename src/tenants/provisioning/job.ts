import type { Config } from '../../kernel/config.ts'
import { decrypt } from '../../kernel/keyring.ts'
import type { Passwords, Urls } from './logins.ts'
import { type NeonApi, neonApi, type OperationRef } from './neon.ts'

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
    host: { id: string; project_id: string; branch_id: string; owner_role: string; owner_url: string } | null
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
  /** Takes away what was made, as far as it was made. */
  remove(job: Job): Promise<void>
}

/** The host of a tenant that has its place. */
export function hostOf({ tenant }: Job) {
  if (!tenant.host) throw new Error('The tenant has no host yet.')
  return tenant.host
}

/** A row of the master, as JSON. */
export type Row = Record<string, string | null>

/** What a tenant's row and its host's say, opened. */
export async function jobOf(config: Config, t: Row, h: Row | null): Promise<Job> {
  const open = (owner: string | null | undefined, field: string, sealed: string | null | undefined) =>
    sealed && owner ? decrypt(config.ENCRYPTION_KEYS, owner, field, sealed) : null
  const text = (value: string | null | undefined) => String(value ?? '')
  return {
    config,
    neon: neonApi(config),
    tenant: {
      id: text(t.id),
      subdomain: text(t.subdomain),
      isolation: text(t.isolation),
      role_preset: text(t.role_preset),
      database_name: text(t.database_name),
      branch_id: t.branch_id ?? null,
      app_url: await open(t.id, 'app_url', t.app_url_encrypted),
      owner_url: await open(t.id, 'owner_url', t.owner_url_encrypted),
      initial_admin: await open(t.id, 'initial_admin', t.initial_admin_encrypted),
      host: h && {
        id: text(h.id),
        project_id: text(h.project_id),
        branch_id: text(h.branch_id),
        owner_role: text(h.owner_role),
        owner_url: text(await open(h.id, 'owner_url', h.owner_url_encrypted)),
      },
    },
  }
}
