import { sql } from 'drizzle-orm'
import type { TestProject } from 'vitest/node'
import { startMailbox } from '../../../scripts/dev/mailbox.ts'
import { startStack } from '../../../scripts/dev/stack.ts'
import { batch } from '../../../src/kernel/db.ts'
import { LOW_COST } from '../cost.ts'
import { KEYS } from '../keys.ts'
import { BREACHED, startBreached } from './breached.ts'
import { folderWithMaster } from './cluster.ts'
import { startCrossroads } from './crossroads.ts'
import { startPostOffice } from './post-office.ts'
import { startProviders } from './providers.ts'

/** Real Postgres, the local Neon and a mailbox for all tests of the Worker, in a folder of their own; operations take no time. */
export default async function setup(project: TestProject) {
  const folder = await folderWithMaster('freehold-test')
  const operator = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
  // Many files share it, and each looks for its own people's mail.
  const mailbox = await startMailbox({ keep: 5_000 })
  const given = {
    ...LOW_COST,
    // All tenants of all files are made within the hour.
    HOST_AWAKE: '240',
    MAILBOX_URL: mailbox.url,
    // Files that run the scheduled job must not migrate the tenants of the one that is about migrations.
    MIGRATIONS: 'manual',
    BASE_URL: 'http://freehold.test',
    ...KEYS,
  }
  const stack = await startStack({
    dataDir: folder.path,
    given,
    operator: { ...operator, must_change_password: false },
    durable: false,
    operationMs: 0,
    // Hundreds of tenants share a host here: with Neon's own limits nearly each request would open a connection, and take five times as
    // long. test/local-neon and test/faults hold those limits.
    limits: { idlePerEndpoint: 240, connectionsPerEndpoint: 240 },
    log: () => {},
  })
  // All files log in as the one operator, and each keeps its token: with five sessions the first of them would go.
  await batch(String(stack.env.MASTER_DATABASE_URL), [sql`update freehold.tenant set max_sessions = 1000`])
  project.provide('settings', stack.env)
  project.provide('operator', operator)
  const { stop: closePostOffice, ...postOffice } = await startPostOffice()
  project.provide('post_office', postOffice)
  const { stop: closeCrossroads, ...crossroads } = await startCrossroads()
  project.provide('crossroads', crossroads)
  const breached = await startBreached()
  project.provide('breached', { url: breached.url, passwords: BREACHED })
  const providers = await startProviders()
  project.provide('providers', { url: providers.url })
  project.provide('postgres_url', stack.neon.postgresUrl)
  return async () => {
    await stack.stop()
    await mailbox.stop()
    await closePostOffice()
    await closeCrossroads()
    breached.stop()
    providers.stop()
    await folder.remove()
  }
}
