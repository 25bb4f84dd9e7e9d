import { sql } from 'drizzle-orm'
import { bigint, check, doublePrecision, index, integer, text, uuid } from 'drizzle-orm/pg-core'
import { freehold, moment } from '../kernel/schema.ts'
import { users } from '../users/table.ts'

/**
 * Logins and refreshes with their score, which are also what later ones are compared with: from which device, network and place somebody
 * came. A refresh is here when it was unlike its session. Of a foreign token there is only the network: it proves nobody.
 */
export const risk_attempts = freehold.table(
  'risk_attempts',
  {
    id: uuid().primaryKey(),
    user_id: uuid().references(() => users.id),
    kind: text({ enum: ['login', 'refresh', 'foreign_token'] }).notNull(),
    /** The device of its token (src/auth/devices.sql), and the user agent. */
    device: uuid(),
    agent: text(),
    /** An IPv4 address or the /64 of an IPv6 address, and whose it is: the number of its autonomous system. */
    network: text(),
    asn: bigint({ mode: 'number' }),
    /** ISO 3166-1 alpha-2. */
    country: text(),
    /** Of the network, to about a kilometre. */
    latitude: doublePrecision(),
    longitude: doublePrecision(),
    /** How much there is of each sign, from 0 to 100, in the order of access.risk_signs(). */
    strengths: integer().array().notNull().default([]),
    /** Under the weights of then. */
    score: integer().notNull().default(0),
    /** `passed`: challenged, and the second step was taken. Only what was allowed or passed is a past to compare with. */
    outcome: text({ enum: ['allowed', 'challenged', 'passed', 'refused', 'noted'] }).notNull(),
    created_at: moment().notNull().defaultNow(),
    /** When the session that it began was last refreshed from there, to the hour. */
    seen_at: moment().notNull().defaultNow(),
  },
  (t) => [
    index('risk_attempts_user').on(t.user_id, t.created_at),
    index('risk_attempts_foreign').on(t.network, t.created_at).where(sql`${t.kind} = 'foreign_token'`),
    index('risk_attempts_created').on(t.created_at),
    check('risk_attempts_kind', sql`${t.kind} in ('login', 'refresh', 'foreign_token')`),
    check('risk_attempts_outcome', sql`${t.outcome} in ('allowed', 'challenged', 'passed', 'refused', 'noted')`),
    check('risk_attempts_score', sql`${t.score} between 0 and 100 and cardinality(${t.strengths}) <= 32`),
  ],
)
