import { bigint, integer, pgSchema, text, uuid } from 'drizzle-orm/pg-core'
import { moment } from '../../kernel/schema.ts'

// The same schema as in ../table.ts, which imports of folders do not let this file name.
const platform = pgSchema('platform')

/** The newest audit checkpoint of each realm, where nobody who can write that realm's database can change it. */
export const audit_heads = platform.table('audit_heads', {
  realm_id: uuid().primaryKey(),
  no: integer().notNull(),
  hash: text().notNull(),
  /** Entries under all checkpoints up to this one. */
  entries: bigint({ mode: 'number' }).notNull(),
  checkpointed_at: moment().notNull(),
  updated_at: moment().notNull().defaultNow(),
})
