import tenant0 from '../../drizzle/tenant/0000_tables.sql'
import tenant1 from '../../drizzle/tenant/0001_access.sql'
import tenant2 from '../../drizzle/tenant/0002_doors.sql'
import tenant3 from '../../drizzle/tenant/0003_people.sql'
import tenant4 from '../../drizzle/tenant/0004_authorization.sql'
import tenant5 from '../../drizzle/tenant/0005_audit.sql'
import tenant6 from '../../drizzle/tenant/0006_questions.sql'
import type { Migration } from './migrations.ts'

/** The migrations of a tenant's database, in order, as they are bundled into the Worker. */
export const tenantMigrations: Migration[] = [
  { name: 'tenant/0000_tables', text: tenant0 },
  { name: 'tenant/0001_access', text: tenant1 },
  { name: 'tenant/0002_doors', text: tenant2 },
  { name: 'tenant/0003_people', text: tenant3 },
  { name: 'tenant/0004_authorization', text: tenant4 },
  { name: 'tenant/0005_audit', text: tenant5 },
  { name: 'tenant/0006_questions', text: tenant6 },
]
