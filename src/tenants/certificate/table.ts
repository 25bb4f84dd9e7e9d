import { pgSchema, text, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'

// The same schema as in ../table.ts, which imports of folders do not let this file name.
const platform = pgSchema('platform')

/** What each erasure ended with. It outlives the tenant, so its id is no foreign key (tenants/certificate/certificate.ts). */
export const erasure_certificates = platform.table('erasure_certificates', {
  tenant_id: uuid().primaryKey(),
  subdomain: text().notNull(),
  /** The signed statement, a JWS in its compact form. */
  certificate: text().notNull(),
  issued_at: moment().notNull().defaultNow(),
})
