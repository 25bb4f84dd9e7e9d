import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { startStack } from '../../../scripts/dev/stack.ts'

/** Real Postgres and the local Neon for all tests of the Worker, in a folder of their own; operations take no time. */
export default async function setup(project: TestProject) {
  const dataDir = await mkdtemp(join(tmpdir(), 'freehold-test-'))
  const operator = { email: 'ada@freehold.test', password: 'Correct-horse-7' }
  const given = { BASE_URL: 'http://freehold.test', ENCRYPTION_KEYS: `k1:${'Zm9vYmFy'.repeat(5)}Zm8` }
  const stack = await startStack({
    dataDir,
    given,
    operator: { ...operator, must_change_password: false },
    durable: false,
    operationMs: 0,
    log: () => {},
  })
  project.provide('settings', stack.env)
  project.provide('operator', operator)
  project.provide('postgres_url', stack.neon.postgresUrl)
  return async () => {
    await stack.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}
