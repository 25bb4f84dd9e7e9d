import { sql } from 'drizzle-orm'
import { bigint, date, index, integer, jsonb, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import { access, bytea, freehold, moment } from '../kernel/schema.ts'

/** The audit log. Append-only; an entry stays when the details of its user are erased. */
export const audit_log = freehold.table(
  'audit_log',
  {
    id: uuid().primaryKey(),
    user_id: uuid(),
    activity_type: text().notNull(),
    action: text().notNull(),
    resource_type: text().notNull(),
    resource_id: text(),
    risk_score: integer().notNull().default(0),
    trace_id: text(),
    /** When it was written: not when its transaction began, which may be long before. */
    at: moment().notNull().default(sql`clock_timestamp()`),
    detail_hash: bytea().notNull(),
    /** The transaction that wrote it: a checkpoint covers entries older than every running transaction. */
    xid: bigint({ mode: 'number' }).notNull().default(sql`pg_current_xact_id()::text::bigint`),
    /** The checkpoint that covers it; null: none yet. */
    checkpoint: integer(),
  },
  (t) => [
    index('audit_log_at').on(t.at, t.id),
    // The filters besides the time are indexed at the checkpoint, so that the scheduled job pays for it and not the writer.
    index('audit_log_user').on(t.user_id, t.at, t.id).where(sql`${t.checkpoint} is not null`),
    index('audit_log_type').on(t.activity_type, t.at, t.id).where(sql`${t.checkpoint} is not null`),
    index('audit_log_resource').on(t.resource_type, t.resource_id, t.at, t.id).where(sql`${t.checkpoint} is not null`),
    index('audit_log_action').on(t.action, t.at, t.id).where(sql`${t.checkpoint} is not null`),
    index('audit_log_trace').on(t.trace_id, t.at, t.id).where(sql`${t.checkpoint} is not null`),
    index('audit_log_pending').on(t.xid, t.id).where(sql`${t.checkpoint} is null`),
    index('audit_log_checkpoint').on(t.checkpoint, t.xid, t.id).where(sql`${t.checkpoint} is not null`),
  ],
)

/**
 * The personal details of an entry: who, from where, and what exactly changed. Separate from the log, so that they can be erased
 * without breaking its chain. No foreign key: one statement writes both rows and neither is changed, so a check per row would
 * only cost the writer.
 */
export const audit_detail = freehold.table(
  'audit_detail',
  {
    log_id: uuid().primaryKey(),
    salt: bytea().notNull(),
    user_name: text(),
    address: text(),
    agent: text(),
    method: text(),
    path: text(),
    before: jsonb(),
    after: jsonb(),
    /** The API key of the request, and who acted as the user. No foreign keys, as above. */
    api_key_id: uuid(),
    impersonator_id: uuid(),
  },
  (t) => [
    index('audit_detail_address').on(t.address),
    index('audit_detail_api_key').on(t.api_key_id).where(sql`${t.api_key_id} is not null`),
    index('audit_detail_impersonator').on(t.impersonator_id).where(sql`${t.impersonator_id} is not null`),
  ],
)

/**
 * The chain over the log: each checkpoint hashes the one before it, its own columns and the entries that it covers. The master keeps
 * the newest. Checkpoints of before `next_xid` existed hash the one before them and their entries alone.
 */
export const audit_checkpoints = freehold.table('audit_checkpoints', {
  no: integer().primaryKey(),
  entries: integer().notNull(),
  /** No entry under a later checkpoint is of an older transaction. */
  oldest_xid: bigint({ mode: 'number' }),
  /** No transaction with this id, or a greater one, had begun to write at `created_at`. */
  next_xid: bigint({ mode: 'number' }),
  hash: bytea().notNull(),
  created_at: moment().notNull().defaultNow(),
})

/**
 * Failures of strangers, by network and hour (UTC): how many, and of those that are no entries how many of each kind. A row goes once
 * its hour is over (access.close_counted_failures).
 */
export const counted_failures = access.table(
  'counted_failures',
  {
    hour: moment().notNull(),
    network: text().notNull(),
    seen: integer().notNull(),
    counts: jsonb().notNull().default({}),
  },
  (t) => [primaryKey({ columns: [t.hour, t.network] })],
)

/** What a day (UTC) had, as far as it is under checkpoints; each row counts what they cover up to `checkpoint` (access.count_days). */
export const daily_counts = access.table('daily_counts', {
  day: date().primaryKey(),
  logins: integer().notNull(),
  /** Failed logins and refused requests. */
  failures: integer().notNull(),
  checkpoint: integer().notNull(),
})
