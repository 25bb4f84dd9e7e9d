/**
 * A tenant's database, for an operator of the platform. Threat: an operator does something inside of a tenant that nobody can be asked
 * about. So the platform's audit has who asked for what, of whom, before the tenant's database is asked for anything.
 */
import { sql } from 'drizzle-orm'
import type { Ctx } from '../../kernel/context.ts'
import { batch } from '../../kernel/db.ts'
import { Problem } from '../../kernel/problem.ts'
import { rowsOf } from '../../kernel/wire.ts'
import { tenantUrl } from '../../names/hosts.ts'
import { openOwnerUrl } from '../provisioning/owner-url.ts'

export type Inside = {
  /** As the owner login, whose transactions begin as freehold_owner. */
  owner_url: string
  /** The operator's username. */
  operator: string
  tenant: { id: string; subdomain: string; legal_name: string; url: string; admin_email: string }
}

/**
 * Records in the platform's audit that the caller resets a password in a tenant, of whom, and opens its database. Two round trips to the
 * master. Fails with not_found, illegal_state (the tenant is not active or inactive).
 */
export async function enterToReset(ctx: Ctx, id: string, whose: string | null): Promise<Inside> {
  const [entered] = await ctx.run(ctx.db.execute(sql`select platform.enter_to_reset(${id}, ${whose}) as tenant`))
  const tenant = rowsOf<{ tenant: (Omit<Inside['tenant'], 'url'> & { status: string; operator: string }) | null }>(entered)[0]
    ?.tenant
  if (!tenant) throw new Problem('not_found')
  const { status, operator, ...about } = tenant
  if (status !== 'active' && status !== 'inactive') throw new Problem('illegal_state', `The tenant is ${status}.`)
  // No operator's login of the master reads this column.
  const [[row] = []] = await batch(ctx.config.MASTER_DATABASE_URL, [
    sql`select owner_url_encrypted as owner from platform.tenants where id = ${id} and owner_url_encrypted is not null`,
  ])
  if (!row) throw new Problem('not_found')
  const owner_url = await openOwnerUrl(ctx.config, id, String(row.owner))
  return { owner_url, operator, tenant: { ...about, url: tenantUrl(ctx.config, about.subdomain) } }
}
