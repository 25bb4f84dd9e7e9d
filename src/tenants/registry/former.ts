/**
 * Former names of tenants. Threat: whoever gets a name after its tenant gets what is meant for that tenant too: its clients with their
 * tokens, the links in its mails. So a tenant that is renamed keeps its former name for 30 days, as long as sessions, cookies and
 * devices live by default; meanwhile the name says where the tenant is now, and nobody else may take it (subdomains.sql).
 *
 * KV says so under the former name: an entry of its own, without a secret, signed with the name that it is for, so that it says
 * nothing under another one. It changes only when the tenant is renamed again.
 */
import { sql } from 'drizzle-orm'

/** Under a former name in KV and memory: the tenant, and the name that it has now. `v` orders it among all entries of the name. */
export type Former = { v: number; tenant_id: string; former: string; subdomain: string; until: string }

/** A name that a tenant had, in its own entry: until then it is in the `iss` and `tenant` of tokens that count. */
export type FormerName = { name: string; until: string }

/** A Former as JSON, from `platform.subdomains n` and its tenant `t`. */
export const FORMER = sql`jsonb_build_object('v', n.v, 'tenant_id', t.id, 'former', n.name, 'subdomain', t.subdomain, 'until', n.until)`

/** All FormerNames of a tenant, from a row `t`; also those that are over, until the scheduled job ends them. */
export const FORMER_NAMES = sql`coalesce((select jsonb_agg(jsonb_build_object('name', n.name, 'until', n.until) order by n.name)
  from platform.subdomains n where n.tenant_id = t.id and n.until is not null), '[]')`

export const isFormer = (entry: object): entry is Former => 'former' in entry

/** Whether it still holds. */
export const isKept = ({ until }: { until: string }) => Date.parse(until) > Date.now()
