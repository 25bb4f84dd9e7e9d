/** Threat: strangers lock the only operator out, and nobody is left to unlock them. */
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Stack, startStack } from '../../scripts/dev/stack.ts'
import { batch } from '../../src/kernel/db.ts'
import { LOW_COST } from '../support/cost.ts'
import { KEYS } from '../support/keys.ts'
import { folderWithMaster } from '../support/node/cluster.ts'
import { freehold } from './run.ts'

const EMAIL = 'ada@freehold.test'
let stack: Stack
let stops: (() => Promise<void>)[] = []

beforeAll(async () => {
  const folder = await folderWithMaster('freehold-operators')
  stops = [folder.remove]
  stack = await startStack({
    dataDir: folder.path,
    log: () => {},
    given: { ...LOW_COST, BASE_URL: 'http://localhost:1', ...KEYS },
    operator: { email: EMAIL, password: 'Correct-horse-7', must_change_password: false },
    durable: false,
    operationMs: 0,
  })
  stops.unshift(stack.stop)
})
afterAll(async () => {
  for (const stop of stops) await stop()
})

const master = () => String(stack.env.MASTER_DATABASE_URL)
const as = async (...statements: Parameters<typeof batch>[1]) =>
  (await batch(master(), [sql`set local role freehold_owner`, ...statements])).at(-1) ?? []
/** Without ENCRYPTION_KEYS, which an unlock does not need. */
const unlock = (args: string[], env: Record<string, string> = {}) =>
  freehold(['operators', 'unlock', ...args], { MASTER_DATABASE_URL: master(), NEON_SQL_URL: stack.neon.sqlUrl, ...env })

/** As strangers in fifty networks leave it, and a device and a session that failed. */
async function lockOut() {
  await as(
    sql`insert into freehold.lockouts (key, failures, failed_at, locked_until)
      select k || u.id, 50, now(), now() + interval '30 minutes' from freehold.users u, unnest(array['login:', 'change:']) k where u.email = ${EMAIL}
      on conflict (key) do update set failures = 50, failed_at = now(), locked_until = excluded.locked_until`,
    sql`insert into freehold.lockouts (key, parent, failures, failed_at, locked_until)
      select k.key, 'login:' || u.id, 5, now(), now() + interval '30 minutes' from freehold.users u,
        lateral (values ('login:' || u.id || ':203.0.113.9'), ('device:' || u.id || ':' || gen_random_uuid())) k (key) where u.email = ${EMAIL}`,
  )
}
const locked = async () => (await as(sql`select count(*)::integer as n from freehold.lockouts where failures > 0`))[0]?.n
const unlockings = () =>
  as(
    sql`select l.user_id, l.resource_id = u.id::text as is_ada, length(l.trace_id) as trace from freehold.audit_log l, freehold.users u
      where l.activity_type = 'USER_UNLOCKED' and u.email = ${EMAIL}`,
  )

describe('operators unlock', () => {
  test('clears all lockouts of an operator, with the secret of the master alone, and the audit says so', async () => {
    await lockOut()
    expect(await locked()).toBe(4)
    expect(await unlock([' Ada@Freehold.test '])).toEqual({ code: 0, stdout: `${EMAIL} can log in again.\n`, stderr: '' })
    expect(await locked()).toBe(0)
    expect(await unlockings()).toEqual([{ user_id: null, is_ada: true, trace: 32 }])
  })

  test('--all clears those of everybody who is locked out, and says when that is nobody', async () => {
    await lockOut()
    const { code, stdout } = await unlock(['--all', '--json'])
    expect({ code, said: JSON.parse(stdout) }).toEqual({ code: 0, said: { unlocked: [EMAIL] } })
    expect(await locked()).toBe(0)
    expect(await unlock(['--all'])).toEqual({ code: 0, stdout: 'No operator is locked out.\n', stderr: '' })
    expect(JSON.parse((await unlock(['--all', '--json'])).stdout)).toEqual({ unlocked: [] })
    expect(await unlockings()).toHaveLength(2)
  })

  test('of nobody says that there is no such operator, and unlocks nobody', async () => {
    await lockOut()
    const sentence = 'There is no operator with the address eve@freehold.test.'
    expect(await unlock(['eve@freehold.test'])).toEqual({ code: 1, stdout: '', stderr: `error: ${sentence}\n` })
    const { code, stdout } = await unlock(['eve@freehold.test', '--json'])
    expect([code, JSON.parse(stdout).detail]).toEqual([1, sentence])
    expect(await locked()).toBe(4)
    expect((await unlock([EMAIL])).code).toBe(0)
  })

  test.for([[], [EMAIL, '--all'], ['nobody'], [EMAIL, 'surplus']])('with %j is wrong usage', async (args) => {
    const { code, stdout, stderr } = await unlock(args)
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(/^error: [^\n]+\n$/) })
  })

  test('of a master that does not let it in, or of none, names the setting and not the password', async () => {
    const MASTER_DATABASE_URL = master().replace(/:[^:@]+@/, ':wrong-password@')
    const refused = await unlock([EMAIL], { MASTER_DATABASE_URL })
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error: MASTER_DATABASE_URL: .*authentication failed/),
    })
    expect(refused.stderr).not.toContain('wrong-password')
    const none = await freehold(['operators', 'unlock', EMAIL])
    expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('--data') })
  })
})

describe('operators reset-mfa', () => {
  const reset = (email: string, ...more: string[]) =>
    freehold(['operators', 'reset-mfa', email, ...more], { MASTER_DATABASE_URL: master(), NEON_SQL_URL: stack.neon.sqlUrl })

  test('takes the app, the codes and the remembered devices of an operator away, with the secret of the master alone', async () => {
    await as(
      sql`update freehold.users set factors = '{totp}' where email = ${EMAIL}`,
      sql`insert into freehold.totp_factors (user_id, secret_encrypted, enabled_at) select u.id, 'x', now() from freehold.users u where u.email = ${EMAIL}`,
      sql`insert into freehold.remembered_devices (user_id, device, expires_at) select u.id, gen_random_uuid(), now() + interval '1 day' from freehold.users u where u.email = ${EMAIL}`,
    )
    const { code, stdout, stderr } = await reset(' Ada@Freehold.test ')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain(EMAIL)
    expect(
      await as(
        sql`select u.factors, (select count(*)::integer from freehold.totp_factors) + (select count(*)::integer from freehold.remembered_devices) as left,
            (select count(*)::integer from freehold.mails m where m.kind = 'mfa_reset') as told,
            (select count(*)::integer from freehold.audit_log l where l.activity_type = 'MFA_DISABLED' and l.user_id is null) as entries
            from freehold.users u where u.email = ${EMAIL}`,
      ),
    ).toEqual([{ factors: [], left: 0, told: 1, entries: 1 }])
  })

  test('of somebody who has none, or of nobody, changes nothing and says so', async () => {
    for (const email of [EMAIL, 'eve@freehold.test']) {
      const { code, stdout, stderr } = await reset(email)
      expect([code, stdout], stderr).toEqual([1, ''])
      expect(stderr).toContain(email)
    }
  })
})
