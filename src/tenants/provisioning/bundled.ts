import tenant0 from '../../../drizzle/tenant/0000_baseline.sql'
import tenant1 from '../../../drizzle/tenant/0001_hash_cost.sql'
import type { Migration } from './migrations.ts'

// Written by `npm run migration`.
/** The migrations of a tenant’s database, in order, as they are bundled into the Worker. */
export const tenantMigrations: Migration[] = [
  // In the order of their numbers.
  { name: 'tenant/0000_baseline', text: tenant0 },
  { name: 'tenant/0001_hash_cost', text: tenant1 },
]
