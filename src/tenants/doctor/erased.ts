import { sql } from 'drizzle-orm'
import type { Config } from '../../kernel/config.ts'
import { batch } from '../../kernel/db.ts'
import { Problem } from '../../kernel/problem.ts'

/**
 * Fails with illegal_state unless the platform's audit says of each of these tenants that this master erased it. One that it never knew
 * is another deployment's with the same key for Neon, or was made after the backup from which the master was restored.
 */
export async function mustBeErased(config: Config, ids: string[]): Promise<void> {
  if (!ids.length) return
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select x.id from jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb) as x (id)
        where not exists (select from freehold.audit_log l where l.resource_type = 'tenant' and l.resource_id = x.id and l.activity_type = 'TENANT_DELETED')`,
  ])
  if (rows[0])
    throw new Problem(
      'illegal_state',
      `It holds the data of the tenant ${rows[0].id}, which this master did not erase. Delete it at Neon, if it is yours.`,
    )
}
