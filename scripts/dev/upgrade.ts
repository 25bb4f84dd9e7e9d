import { sql } from 'drizzle-orm'
import type { Config } from '../../src/kernel/config.ts'
import { batch } from '../../src/kernel/db.ts'
import { presetVersion } from '../../src/presets/version.ts'
import { lacksPreset, upgrade } from '../../src/tenants/migration/upgrade.ts'
import { jobOf, type MasterRow } from '../../src/tenants/provisioning/job.ts'
import type { Migration } from '../../src/tenants/provisioning/migrations.ts'
import { reason } from '../../src/tenants/provisioning/neon.ts'

/**
 * Takes the tenants of an older data folder to the newest schema and preset, one after another, before the Worker starts; not one whose
 * migration was undone. One that cannot be is named, and left to a run. In production a run does that (`freehold migrate run`).
 */
export async function upgradeTenants(config: Config, migrations: Migration[], say: (line: string) => void): Promise<void> {
  const older = JSON.stringify(migrations.slice(0, -1).map(({ name }) => name))
  const [rows = []] = await batch(config.MASTER_DATABASE_URL, [
    sql`select to_jsonb(t) as tenant from platform.tenants t where t.owner_url_encrypted is not null and t.status in ('active', 'inactive', 'deleted')
        and (t.schema_version in (select jsonb_array_elements_text(${older}::jsonb)) or ${lacksPreset})
        and not exists (select from platform.tenant_migrations m where m.tenant_id = t.id and m.target = ${migrations.at(-1)?.name} and m.state in ('undoing', 'undone'))
        order by t.created_at`,
  ])
  const trace_id = crypto.randomUUID().replaceAll('-', '')
  for (const [index, row] of rows.entries()) {
    const { tenant } = await jobOf(config, row.tenant as MasterRow, null, trace_id)
    say(`Upgrading the tenant ${tenant.subdomain} (${index + 1} of ${rows.length}).`)
    try {
      const newest = await upgrade(tenant, migrations, trace_id)
      await batch(
        config.MASTER_DATABASE_URL,
        [
          sql`update platform.tenants set schema_version = ${newest}, presets_version = coalesce(${presetVersion(tenant.role_preset)}, presets_version) where id = ${tenant.id}`,
        ],
        trace_id,
      )
    } catch (error) {
      // One that cannot be migrated keeps nobody else from working; the Worker serves it as its schema allows.
      say(`The tenant ${tenant.subdomain} was not upgraded: ${reason(error)}`)
    }
  }
}
