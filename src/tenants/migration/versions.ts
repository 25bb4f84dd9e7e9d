/** The schema of a tenant's database, as the name of the newest migration that was applied to it. */
import { tenantMigrations } from '../provisioning/bundled.ts'

const names = tenantMigrations.map(({ name }) => name)

/** What this Worker is made for. */
export const NEWEST = names.at(-1) ?? ''

/** The schemas that this Worker takes to the newest. One that it does not know is of a later release, which serves this one, too. */
export const OLDER = names.slice(0, -1)
