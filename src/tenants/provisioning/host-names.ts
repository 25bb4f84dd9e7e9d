/**
 * The names of projects at Neon. Threat: two deployments share an account, and one adopts the host of the other, or deletes it as nobody's.
 * So names have the end of the id of this deployment's realm, and the database makes them; a number is never given twice.
 */
import { type SQL, sql } from 'drizzle-orm'

export type SharedKind = 'database' | 'branch'
export type HostKind = SharedKind | 'project'

/** What this deployment is called in the names of its projects. */
export const DEPLOYMENT = sql`(select right(replace(r.id::text, '-', ''), 8) from platform.realm r)`

/** The name of the next host that tenants share. */
export const nextHostName = (kind: SharedKind): SQL =>
  sql`${kind === 'branch' ? 'freehold-branches-' : 'freehold-host-'}::text || ${DEPLOYMENT} || '-' || nextval('platform.host_number')`

/** The name of the host that is for this tenant alone. */
export const ownHostName = (tenant_id: string): SQL => sql`'freehold-tenant-' || ${DEPLOYMENT} || '-' || ${tenant_id}::text`

/** The name of the host that is a database of somebody else's, and of one for a tenant alone that is older than names of deployments. */
export const plainHostName = (tenant_id: string): string => `freehold-tenant-${tenant_id}`

/** The names that the host of this tenant alone may have, in parentheses. */
export const ownHostNames = (tenant_id: string): SQL => sql`(${ownHostName(tenant_id)}, ${plainHostName(tenant_id)})`
