import tenant0 from '../../drizzle/tenant/0000_tables.sql'
import tenant1 from '../../drizzle/tenant/0001_access.sql'
import tenant2 from '../../drizzle/tenant/0002_doors.sql'
import type { Migration } from './migrations.ts'

/** The migrations of a tenant's database, in order, as they are bundled into the Worker. */
export const tenantMigrations: Migration[] = [
  { name: 'tenant/0000_tables', text: tenant0 },
  { name: 'tenant/0001_access', text: tenant1 },
  { name: 'tenant/0002_doors', text: tenant2 },
]
