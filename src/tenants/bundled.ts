import tenant0 from '../../drizzle/tenant/0000_tables.sql'
import tenant1 from '../../drizzle/tenant/0001_access.sql'
import tenant2 from '../../drizzle/tenant/0002_doors.sql'
import tenant3 from '../../drizzle/tenant/0003_people.sql'
import tenant4 from '../../drizzle/tenant/0004_authorization.sql'
import tenant5 from '../../drizzle/tenant/0005_audit.sql'
import tenant6 from '../../drizzle/tenant/0006_questions.sql'
import tenant7 from '../../drizzle/tenant/0007_accounts.sql'
import tenant8 from '../../drizzle/tenant/0008_passwords.sql'
import tenant9 from '../../drizzle/tenant/0009_mail.sql'
import tenant10 from '../../drizzle/tenant/0010_recovery.sql'
import tenant11 from '../../drizzle/tenant/0011_api_keys.sql'
import tenant12 from '../../drizzle/tenant/0012_import.sql'
import tenant13 from '../../drizzle/tenant/0013_lines.sql'
import tenant14 from '../../drizzle/tenant/0014_sweep.sql'
import tenant15 from '../../drizzle/tenant/0015_key_in_audit.sql'
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
  { name: 'tenant/0007_accounts', text: tenant7 },
  { name: 'tenant/0008_passwords', text: tenant8 },
  { name: 'tenant/0009_mail', text: tenant9 },
  { name: 'tenant/0010_recovery', text: tenant10 },
  { name: 'tenant/0011_api_keys', text: tenant11 },
  { name: 'tenant/0012_import', text: tenant12 },
  { name: 'tenant/0013_lines', text: tenant13 },
  { name: 'tenant/0014_sweep', text: tenant14 },
  { name: 'tenant/0015_key_in_audit', text: tenant15 },
]
