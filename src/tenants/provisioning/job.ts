import type { Config } from '../../kernel/config.ts'
import { decrypt, encrypt } from '../../kernel/keyring.ts'
import { type Pair, type Passwords, pairOf, type Urls } from './logins.ts'
import { type NeonApi, neonApi, type OperationRef } from './neon.ts'
import { openOwnerUrl, sealOwnerUrl } from './owner-url.ts'
import type { Cluster } from './roles.ts'

/** The tenant that provisioning works on, with what its steps need. URLs are decrypted; null until their step has run. */
export type Job = {
  config: Config
  neon: NeonApi
  /** That of the run. */
  trace_id: string
  /** The move that this database is made for; otherwise it is the tenant's first. */
  move_id?: string
  tenant: {
    id: string
    subdomain: string
    isolation: string
    role_preset: string
    database_name: string
    app_url: string | null
    owner_url: string | null
    /** The names of its logins. */
    pair: Pair
    initial_admin: string | null
    branch_id: string | null
    host: Host | null
  }
}

/**
 * Of an adopted database before it was touched: the privileges on it that PUBLIC had, the roles that had some of their own, and whether a
 * tenant was in it. An erasure gives the privileges back.
 */
export type Found = { open: string[]; named: string[]; has_tenant: boolean }

/** `found` is of an adopted database. In that case Neon's API knows nothing of it. */
export type Host = {
  id: string
  project_id: string
  branch_id: string
  owner_role: string
  /** Where it is at Neon (accounts.ts). */
  account: string | null
  organization: string | null
  owner_url: string
  found: Found | null
}

/** One way to give a tenant its own database. Every method may be called again after it succeeded. */
export type Isolation = {
  /** Reserves a place on a host. */
  place(job: Job): Promise<void>
  /** Asks Neon to create the database; returns the operations to wait for. */
  create(job: Job): Promise<OperationRef[]>
  /** The connection strings that the tenant's two logins will have with these passwords. Creates nothing. */
  urls(job: Job, passwords: Passwords): Promise<Urls>
  /** Creates the two logins, and closes the database to all others. */
  logins(job: Job, urls: Urls): Promise<void>
  /** Where its logins are, as the role that made them. */
  cluster(job: Job): Promise<Cluster>
  /** Removes whatever of it exists. False: a database that has its name is somebody else's, and was left alone. */
  remove(job: Job): Promise<boolean>
}

/** The host of a tenant that has its place. */
export function hostOf({ tenant }: Job) {
  if (!tenant.host) throw new Error('The tenant has no host yet.')
  return tenant.host
}

/** The host's own database. Without `neon` it is in an account of somebody else's. */
export const clusterOf = (neon: NeonApi | null, { project_id, branch_id, owner_url: url }: Host): Cluster => ({
  neon,
  project_id,
  branch_id,
  url,
})

/** A row of the master, as JSON. */
export type MasterRow = Record<string, string | null> & { found?: unknown }

const text = (value: string | null | undefined) => String(value ?? '')

/** The connection strings of a tenant's logins, encrypted for their columns. */
export const sealUrls = async (config: Config, id: string, { app_url, owner_url }: Urls): Promise<Urls> => ({
  app_url: await encrypt(config.ENCRYPTION_KEYS, id, 'app_url', app_url),
  owner_url: await sealOwnerUrl(config, id, owner_url),
})

/** The connection string of a host, encrypted for its column. */
export const sealHostUrl = (config: Config, id: string, url: string): Promise<string> => sealOwnerUrl(config, id, url)

/** A host, from its row, with its secret decrypted. */
export async function openHost(config: Config, h: MasterRow): Promise<Host> {
  const { id, project_id, branch_id, owner_role, account, organization, owner_url_encrypted: secret } = h
  const owner_url = secret && id ? await openOwnerUrl(config, id, secret) : null
  return {
    id: text(id),
    project_id: text(project_id),
    branch_id: text(branch_id),
    owner_role: text(owner_role),
    account: account ?? null,
    organization: organization ?? null,
    owner_url: text(owner_url),
    found: h.found as Found | null,
  }
}

/** The job of a tenant, from its row and its host's, with the secrets decrypted. */
export async function jobOf(config: Config, t: MasterRow, h: MasterRow | null, trace_id: string): Promise<Job> {
  const open = (owner: string | null | undefined, field: string, secret: string | null | undefined) =>
    secret && owner ? decrypt(config.ENCRYPTION_KEYS, owner, field, secret) : null
  const app_url = await open(t.id, 'app_url', t.app_url_encrypted)
  return {
    config,
    neon: neonApi(config, { at: h }),
    trace_id,
    tenant: {
      id: text(t.id),
      subdomain: text(t.subdomain),
      isolation: text(t.isolation),
      role_preset: text(t.role_preset),
      database_name: text(t.database_name),
      branch_id: t.branch_id ?? null,
      app_url,
      pair: pairOf(app_url),
      owner_url: t.owner_url_encrypted && t.id ? await openOwnerUrl(config, t.id, t.owner_url_encrypted) : null,
      initial_admin: await open(t.id, 'initial_admin', t.initial_admin_encrypted),
      host: h && (await openHost(config, h)),
    },
  }
}
