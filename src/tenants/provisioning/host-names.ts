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

/**
 * The name of the host that is for this tenant alone. One that a move makes has the number of the move: meanwhile the tenant may be in a
 * project of its own already.
 */
export const ownHostName = (tenant_id: string, move_id?: string): SQL =>
  sql`'freehold-tenant-' || ${DEPLOYMENT} || '-' || ${tenant_id}::text || ${move_id === undefined ? '' : `-${move_id.slice(0, 8)}`}`

/** The name of the host that is a database of somebody else's, and of one for a tenant alone that is older than names of deployments. */
export const plainHostName = (tenant_id: string): string => `freehold-tenant-${tenant_id}`

/** The names that a host may have which is opened for this tenant alone, in parentheses. */
export const ownHostNames = (tenant_id: string, move_id?: string): SQL =>
  move_id === undefined
    ? sql`(${ownHostName(tenant_id)}, ${plainHostName(tenant_id)})`
    : sql`(${ownHostName(tenant_id, move_id)})`

/** Whether a host `h` is for one tenant alone, by its name, whoever opened it; `id`: the tenant's, as text in SQL. */
export const isForTenant = (id: SQL): SQL =>
  sql`(h.name in ('freehold-tenant-' || ${id}, 'freehold-tenant-' || ${DEPLOYMENT} || '-' || ${id}) or starts_with(h.name, 'freehold-tenant-' || ${DEPLOYMENT} || '-' || ${id} || '-'))`
