/**
 * Adopting a database that exists, and giving the connection string of one anew. Threat: the connection string, which opens all that its
 * owner has, is read by somebody later; or two tenants share a database. So it is kept encrypted as owner logins are, in the row of
 * the host alone; and its address is unique there. What the database holds is read first (inspect.ts), and decided here.
 */
import { z } from '@hono/zod-openapi'
import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import type { Ctx } from '../../kernel/context.ts'
import { batch } from '../../kernel/db.ts'
import { invalid, Problem } from '../../kernel/problem.ts'
import { rowsOf } from '../../kernel/wire.ts'
import { plainHostName } from '../provisioning/host-names.ts'
import type { Found } from '../provisioning/job.ts'
import { createTenant, type MadeTenant, NewTenant, type Place } from '../provisioning/new-tenant.ts'
import { openOwnerUrl, sealOwnerUrl } from '../provisioning/owner-url.ts'
import { type TenantWire, tenantColumns, wire } from '../registry/tenants.ts'
import { type Connection, readConnectionString } from './connection-string.ts'
import { type Inhabitant, inspect } from './inspect.ts'

const ConnectionString = z.string().max(2000).openapi({
  description:
    'postgresql://user:password@host/database, of a login that makes roles and owns the database. One that the console of Neon shows is a member of neon_superuser and reads every database of its branch: where there are others, give one that owns this database alone',
  writeOnly: true,
})

export const AdoptedTenant = NewTenant.omit({ isolation: true, region: true })
  .extend({
    connection_string: ConnectionString,
    take_over: z
      .boolean()
      .default(false)
      .openapi({ description: 'Whether a tenant of another deployment, which the database holds, is taken from it' }),
  })
  .openapi('AdoptedTenant')

export const NewConnection = z.object({ connection_string: ConnectionString }).openapi('NewConnection')

/**
 * Reserves a tenant whose database exists, as `createTenant` does otherwise. Two round trips to the master for the caller, two of our own,
 * and at most three to the database; `tenant:create`. Fails also with illegal_state (what was found is not adopted: the statements to run are in
 * `errors`), already_exists, database_unavailable.
 */
export async function adoptTenant(
  ctx: Ctx,
  { connection_string, take_over, ...wanted }: z.infer<typeof AdoptedTenant>,
): Promise<{ tenant: z.infer<typeof MadeTenant>; run_id: string | null }> {
  return createTenant(ctx, wanted, async () => {
    const at = readConnectionString(ctx.config, connection_string)
    await mustBeForeign(ctx.config, at)
    const { found, inhabitant } = await inspect(at, wanted.admin_email)
    if (inhabitant) await mustBeFree(ctx.config, inhabitant, take_over)
    return placeAt(ctx.config, at, inhabitant, found)
  })
}

/** The place of a tenant in a database that was inspected, with the statement that makes its host. */
export async function placeAt(config: Config, at: Connection, inhabitant: Inhabitant | null, found: Found): Promise<Place> {
  const [host_id, tenant_id] = [crypto.randomUUID(), inhabitant?.id ?? crypto.randomUUID()]
  const sealed = await sealOwnerUrl(config, host_id, at.url)
  const host = sql`insert into platform.hosts (id, name, kind, state, region, owner_url_encrypted, address, found, capacity, taken, lease_until)
    values (${host_id}, ${plainHostName(tenant_id)}, 'external', 'open', ${at.region}, ${sealed}, ${at.address}, ${JSON.stringify(found)}::jsonb, 1, 1, now())`
  const { database: database_name, region } = at
  return { tenant_id, host_id, host, database_name, region, has_admin: inhabitant?.has_admin ?? false }
}

/** Fails for an endpoint of this deployment: its databases are the master's, a host's or another tenant's. */
async function mustBeForeign(config: Config, { host }: Connection): Promise<void> {
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select id, owner_url_encrypted as sealed from platform.hosts where kind <> 'external' and owner_url_encrypted is not null`,
  ])
  // One host whose secret no key opens (the doctor names it) must not keep every other database from being adopted.
  const opened = await Promise.allSettled(rows.map(({ id, sealed }) => openOwnerUrl(config, String(id), String(sealed))))
  const own = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const hosts = [config.MASTER_DATABASE_URL, ...own].map((url) => new URL(url).hostname.replace(/^([^.]+?)-pooler\./, '$1.'))
  if (hosts.includes(host))
    throw invalid('connection_string', `names the host ${host}, which is this platform’s own: create a tenant there instead`)
}

/** Fails for a tenant of this platform, and for one of another unless it is meant. */
async function mustBeFree(config: Config, { id, subdomain, users }: Inhabitant, take_over: boolean): Promise<void> {
  const [[known] = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select t.subdomain from platform.tenants t where t.id = ${id}`,
  ])
  if (known) throw new Problem('already_exists', `The database is that of the tenant ${known.subdomain}.`)
  if (!take_over)
    throw new Problem(
      'illegal_state',
      `The database holds the tenant ${subdomain} of another deployment, with ${users} users: send take_over to take it from there, whose keys and sessions end.`,
    )
}

/**
 * Gives the connection string of an adopted database anew, after its owner changed the password or the login. Two round trips to the master,
 * at most three to the database; `tenant:update`. Fails with not_found, illegal_state (the database was not adopted, or is not this tenant's),
 * and as `adoptTenant` does.
 */
export async function reconnect(ctx: Ctx, id: string, { connection_string }: z.infer<typeof NewConnection>): Promise<TenantWire> {
  const [found] = await ctx.run(
    ctx.db.execute(
      sql`select t.status, t.isolation, h.id as host_id, h.address from platform.tenants t left join platform.hosts h on h.id = t.host_id where t.id = ${id}`,
    ),
  )
  const [row] = rowsOf<{ status: string; isolation: string; host_id: string; address: string }>(found)
  if (!row) throw new Problem('not_found')
  if (row.isolation !== 'external') throw new Problem('illegal_state', 'The database of this tenant was not adopted.')
  const at = readConnectionString(ctx.config, connection_string)
  if (at.address !== row.address) throw invalid('connection_string', `must be of the same database, ${row.address}`)
  const { inhabitant } = await inspect(at, '')
  if (inhabitant ? inhabitant.id !== id : !['provisioning', 'failed', 'erasing'].includes(row.status))
    throw new Problem('illegal_state', 'The database does not hold this tenant: it is another, or was restored from before.')
  const sealed = await sealOwnerUrl(ctx.config, row.host_id, at.url)
  const [, , changed] = await ctx.run(
    ctx.db.execute(sql`update platform.hosts set owner_url_encrypted = ${sealed}, refused = null where id = ${row.host_id}`),
    ctx.db.execute(sql`update platform.tenants set connected_at = now() where id = ${id}`),
    ctx.db.execute(sql`select ${tenantColumns} from platform.tenants t where t.id = ${id}`),
  )
  const [tenant] = rowsOf<Record<string, unknown>>(changed)
  if (!tenant) throw new Problem('not_found')
  return wire(ctx.config, tenant)
}
