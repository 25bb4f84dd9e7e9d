/**
 * The scheduled job passes by the tenants of files that are over: without it, each file that runs the job has it maintain, for up to a
 * minute, what all files before it have left.
 */
import { sql } from 'drizzle-orm'
import { afterAll } from 'vitest'
import { master } from './databases.ts'
import { copied } from './tenants.ts'

afterAll(async () => {
  const ids = JSON.stringify(copied.splice(0))
  if (ids !== '[]')
    await master(
      sql`update platform.maintenance set due_at = now() + interval '1 day', maintained_at = now(), active_until = now() - interval '1 second'
          where realm_id in (select x::uuid from jsonb_array_elements_text(${ids}::jsonb) x)`,
    )
})
