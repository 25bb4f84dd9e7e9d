import { sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import { presets } from '../../presets/presets.ts'
import type { Job } from '../provisioning/job.ts'
import { CannotMigrate, type Migration, migrate } from '../provisioning/migrations.ts'
import { rolesOf } from '../provisioning/seed.ts'

/**
 * Takes a tenant's database to the newest schema, and gives it what its preset has gained. Repeatable. Returns the name of the newest
 * migration. One round trip for each migration, and two. `reached` is told what is begun: `ledger`, the name of a migration, `presets`.
 * Fails as `migrate` does.
 */
export async function upgrade(
  tenant: Job['tenant'],
  migrations: Migration[],
  trace_id: string,
  reached: (step: string) => void = () => undefined,
): Promise<string> {
  const { owner_url, role_preset } = tenant
  if (!owner_url) throw new CannotMigrate('The tenant has no owner login.')
  reached('ledger')
  const newest = await migrate(owner_url, migrations, trace_id, reached)
  reached('presets')
  const preset = Object.hasOwn(presets, role_preset) ? presets[role_preset] : undefined
  if (preset) await batch(owner_url, [sql`set local role freehold_owner`, ...rolesOf(preset)], trace_id)
  return newest
}
