import { Failure } from './failure.ts'
import type { settings } from './settings.ts'

/** Creates or updates the master, and the operator if one is given. Returns whether they are new. Fails with Failure. */
export async function setUpMaster(
  config: ReturnType<typeof settings>,
  operator: { email: string; password: string; must_change_password: boolean } | null,
): Promise<boolean> {
  const { dbError } = await import('../../src/kernel/db.ts')
  const { setUp } = await import('../../src/tenants/provisioning/setup.ts')
  const { migrationsIn } = await import('../dev/stack.ts')
  const migrations = { tenant: await migrationsIn('tenant'), master: await migrationsIn('master') }
  return setUp(config, migrations, operator).catch((error: Error) => {
    // The message of a failed query contains its parameters, which may be secrets; only the database's own message is shown.
    const words = [error.message.startsWith('Failed query') ? '' : error.message, dbError(error)?.message ?? '']
    throw new Failure(`MASTER_DATABASE_URL: the master database cannot be set up: ${[...new Set(words)].join(' ').trim()}`)
  })
}
