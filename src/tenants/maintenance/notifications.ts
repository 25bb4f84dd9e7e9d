/**
 * Mails of notifications, and what the job itself tells people of (src/notifications/mailing.sql). Threat: a digest waits for a tenant
 * that is asleep. So a tenant is due when the next one is.
 */
import { type SQL, sql } from 'drizzle-orm'
import { NEWEST } from '../migration/versions.ts'

/** People of one tenant who are mailed in one run. */
const MOST_MAILED = 100

/** What is done with a tenant, and when it is due again. An older schema, and the platform's, tell nobody. */
export const notificationsOf = ({ schema_version }: { schema_version?: string | null }): { statements: SQL[]; due_at: SQL } =>
  schema_version === NEWEST
    ? {
        statements: [sql`select access.tell_of_license()`, sql`select access.mail_notifications(${MOST_MAILED})`],
        due_at: sql`access.notifications_due()`,
      }
    : { statements: [], due_at: sql`null::timestamptz` }
