/**
 * Alerts of competencies that end soon (src/competencies/alerts.sql). They are in days, and each tenant is maintained once a day at
 * least, so that none makes a tenant due.
 */
import { type SQL, sql } from 'drizzle-orm'
import { NEWEST } from '../migration/versions.ts'

/** Most records of which people of one realm are told in one run. What was mailed makes the realm due again. */
const MOST_ALERTED = 100

/** The statement that enqueues them. An older schema, and the platform's, has none. */
export const alertsOf = ({ schema_version }: { schema_version?: string | null }): SQL =>
  schema_version === NEWEST ? sql`select access.alert_expiring_competencies(${MOST_ALERTED})` : sql`select 0`
