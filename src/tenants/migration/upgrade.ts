import { type SQLWrapper, sql } from 'drizzle-orm'
import { batch } from '../../kernel/db.ts'
import { presets } from '../../presets/presets.ts'
import { presetVersions } from '../../presets/version.ts'
import type { Job } from '../provisioning/job.ts'
import { CannotMigrate, type Migration, migrate } from '../provisioning/migrations.ts'
import { rolesOf } from '../provisioning/seed.ts'

type Reached = (step: string) => void

/**
 * Takes a tenant's database to the newest schema, and gives it what its preset has gained. Repeatable. Returns the name of the newest
 * migration. One round trip for each migration, and two. `reached` is told what is begun: `ledger`, the name of a migration, `presets`.
 * Fails as `migrate` does.
 */
export async function upgrade(
  tenant: Job['tenant'],
  migrations: Migration[],
  trace_id: string,
  reached: Reached = () => undefined,
): Promise<string> {
  if (!tenant.owner_url) throw new CannotMigrate('The tenant has no owner login.')
  reached('ledger')
  const newest = await migrate(tenant.owner_url, migrations, trace_id, reached)
  await givePreset(tenant, trace_id, reached)
  return newest
}

/**
 * Gives a tenant on the newest schema what its preset has gained; repeatable. A preset that this release does not have gives nothing.
 * One round trip.
 */
export async function givePreset(
  { owner_url, role_preset }: Job['tenant'],
  trace_id: string,
  reached: Reached = () => undefined,
): Promise<void> {
  if (!owner_url) throw new CannotMigrate('The tenant has no owner login.')
  reached('presets')
  const preset = Object.hasOwn(presets, role_preset) ? presets[role_preset] : undefined
  if (preset) await batch(owner_url, [sql`set local role freehold_owner`, ...rolesOf(preset)], trace_id)
}

/** Tenants that have not been given their preset as this release has it, from `platform.tenants t`. */
export const lacksPreset: SQLWrapper = {
  // Computed when it is asked, not when the Worker is loaded.
  getSQL: () =>
    sql`t.presets_version is distinct from coalesce(${JSON.stringify(presetVersions())}::jsonb ->> t.role_preset, t.presets_version)`,
}
