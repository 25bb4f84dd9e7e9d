/** `freehold audit verify`, as an operator runs it. */
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStack } from '../../scripts/dev/stack.ts'
import { parseSettings } from '../../src/kernel/config.ts'
import { batch } from '../../src/kernel/db.ts'
import { checkpointAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { freehold } from '../freehold/run.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'

let env: Record<string, string>
let stops: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-verify')
  const stack = await startStack({
    dataDir: folder.path,
    given: { ...LOW_COST, BASE_URL: 'http://freehold.test', ...KEYS },
    operator: { email: 'ada@freehold.test', password: 'Correct-horse-7', must_change_password: false },
    durable: false,
    operationMs: 0,
    log: () => {},
  })
  stops = [stack.stop, folder.remove]
  env = stack.env
})
afterAll(async () => {
  for (const stop of stops) await stop()
})

const verify = (...more: string[]) => {
  const { MASTER_DATABASE_URL = '', ENCRYPTION_KEYS = '', OWNER_KEYS = '', NEON_SQL_URL = '' } = env
  return freehold(['audit', 'verify', ...more], { MASTER_DATABASE_URL, ENCRYPTION_KEYS, OWNER_KEYS, NEON_SQL_URL })
}
const master = (...statements: ReturnType<typeof sql>[]) =>
  batch(env.MASTER_DATABASE_URL ?? '', [sql`set local role freehold_owner`, ...statements])

test('says how far the audit is intact, in words and as JSON, and ends with 0', async () => {
  expect((await verify('platform')).stdout).toMatch(
    /^Intact up to checkpoint 0, 0 entries \(\d+ not under a checkpoint yet, 0 details erased\); the master knows no checkpoint yet\.\n$/,
  )
  expect(await checkpointAudit(parseSettings(env), 'platform')).toBe(1)
  const { code, stdout, stderr } = await verify('platform')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(
    /^Intact up to checkpoint 1, \d+ entries \(0 not under a checkpoint yet, 0 details erased\); the master knows checkpoint 1\.\n$/,
  )
  const json = await verify('platform', '--json')
  expect(JSON.parse(json.stdout)).toMatchObject({
    tenant: 'platform',
    intact: true,
    checkpoint: 1,
    pending: 0,
    erased: 0,
    faults: [],
    head: { no: 1 },
  })
})

test('tells what is wrong, and ends with 1', async () => {
  await master(
    sql`alter table freehold.audit_log disable trigger user`,
    sql`update freehold.audit_log set user_id = gen_random_uuid() where id = (select id from freehold.audit_log order by id limit 1)`,
    sql`alter table freehold.audit_log enable trigger user`,
  )
  const { code, stdout, stderr } = await verify('platform')
  expect(code).toBe(1)
  expect(stdout).toMatch(/^Broken: 1 fault up to checkpoint 1/)
  expect(stderr).toContain('an entry under checkpoint 1, or the checkpoint, was changed')
  const json = await verify('platform', '--json')
  expect(json.code).toBe(1)
  expect(json.stderr).toBe('')
  expect(JSON.parse(json.stdout)).toMatchObject({ intact: false, faults: [{ kind: 'changed', checkpoint: 1 }] })
})

test('of nobody, without settings, or without a name is refused', async () => {
  const nobody = await verify('no-such-tenant')
  expect([nobody.code, nobody.stderr]).toEqual([1, 'error: There is no tenant no-such-tenant with a database.\n'])
  const bare = await freehold(['audit', 'verify', 'acme'], {})
  expect(bare.code).toBe(1)
  expect(bare.stderr).toContain('MASTER_DATABASE_URL')
  expect((await freehold(['audit', 'verify'])).code).toBe(2)
})
