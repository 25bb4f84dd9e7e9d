import tenant0 from '../../../drizzle/tenant/0000_baseline.sql'
import tenant1 from '../../../drizzle/tenant/0001_cost.sql'
import tenant2 from '../../../drizzle/tenant/0002_attacks.sql'
import tenant3 from '../../../drizzle/tenant/0003_what_attackers_found.sql'
import tenant4 from '../../../drizzle/tenant/0004_asvs.sql'
import tenant5 from '../../../drizzle/tenant/0005_fleet.sql'
import type { Migration } from './migrations.ts'

// Written by `npm run migration`.
/** The migrations of a tenant’s database, in order, as they are bundled into the Worker. */
export const tenantMigrations: Migration[] = [
  // In the order of their numbers.
  { name: 'tenant/0000_baseline', text: tenant0 },
  { name: 'tenant/0001_cost', text: tenant1 },
  { name: 'tenant/0002_attacks', text: tenant2 },
  { name: 'tenant/0003_what_attackers_found', text: tenant3 },
  { name: 'tenant/0004_asvs', text: tenant4 },
  { name: 'tenant/0005_fleet', text: tenant5 },
]
