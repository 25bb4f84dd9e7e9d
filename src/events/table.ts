import { bigint, index, integer } from 'drizzle-orm/pg-core'
import { access } from '../kernel/schema.ts'

/**
 * The numbers of the entries under each checkpoint of the audit: from `first_seq` to `last_seq`, in the order in which the checkpoint
 * hashes them. Derived from the chain alone, so that an entry needs no column for it.
 */
export const event_spans = access.table(
  'event_spans',
  {
    checkpoint: integer().primaryKey(),
    /** Grows where the chain was cut, because the tenant was restored to an earlier moment. */
    epoch: integer().notNull(),
    first_seq: bigint({ mode: 'number' }).notNull(),
    /** Of a checkpoint over no entries: one less than `first_seq`. */
    last_seq: bigint({ mode: 'number' }).notNull(),
  },
  (t) => [index('event_spans_first').on(t.first_seq), index('event_spans_last').on(t.last_seq)],
)
