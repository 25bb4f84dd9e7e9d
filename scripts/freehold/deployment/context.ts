import type { Globals } from '../options.ts'
import type { Cloudflare, Zone } from './cloudflare.ts'

/** What a set-up was asked for. */
export type Wanted = {
  /** Where the platform is. */
  domain: string
  /** One label below which tenants are. */
  tenant_domain: string
  email: string
  /** Of Neon, `aws-us-east-1`. */
  region: string
  /** wrangler's configuration. */
  config: string
  secrets: string
  /** Where /readyz is asked. */
  ready_at: string
}

/** What the steps pass on: each finds or makes its part. */
export type Known = {
  zone?: Zone
  master_url?: string
  kv_id?: string
  /** This run changed the file of secrets, so that the Worker has older ones. */
  are_secrets_new?: boolean
  operator?: Operator
}
export type Operator = { email: string; is_new: boolean; password?: string }

export type Context = { wanted: Wanted; known: Known; options: Globals; api: Cloudflare }

/** The two names that point at the Worker. */
export const hostsOf = ({ domain, tenant_domain }: Wanted) => [domain, `*.${tenant_domain}`]
