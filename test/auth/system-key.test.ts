/**
 * Threat: somebody who holds the app login calls the functions of a login themselves, in a transaction that they roll back: they guess
 * passwords, codes and the history of passwords, or use a stolen refresh token, and nothing of it is counted or recorded.
 */
import { type SQL, sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { tokenHash } from '../../src/kernel/token.ts'
import { digest } from '../../src/passwords/hash.ts'
import { type Database, databaseOf, refusalOf } from '../support/databases.ts'
import { addPerson, inside, type Person } from '../support/inside.ts'
import { call } from '../support/people.ts'
import { admit, plantSession } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

/** What the Worker alone can call, because it takes the key that only the Worker has. */
const KEYED = [
  'accept_invitation',
  'begin_external_login',
  'begin_factor_change',
  'begin_login',
  'begin_passkey_login',
  'begin_password_change',
  'begin_reset',
  'begin_step_up',
  'begin_totp',
  'begin_verification',
  'cancel_erasure_by_token',
  'checkpoint_soon',
  'claim_mails',
  'claim_webhooks',
  'continue_webhook',
  'count_key_uses',
  'enable_totp',
  'finish_admin_reset',
  'finish_external_login',
  'finish_factor_change',
  'finish_login',
  'finish_login_with_rehash',
  'finish_mails',
  'finish_passkey_login',
  'finish_password_change',
  'finish_reset',
  'finish_step_up',
  'finish_verification',
  'hook_answered',
  'hook_target',
  'introspect',
  'invite',
  'join_by_invitation',
  'link_identity',
  'mail_reset_link',
  'pending_totp',
  'phone_code',
  'preview_invitation',
  'record_refusal',
  'refresh',
  'register_passkey',
  'request_email_change',
  'request_email_login',
  'request_erasure',
  'request_reset',
  'resend_invitation',
  'resend_login_code',
  'resend_verification',
  'revoke_token',
  'start_registration',
  'step_up_by_code',
  'step_up_by_passkey',
  'step_up_secret',
  'take_dropped_mails',
  'token_providers',
  'verify_email_login',
  'verify_mailed_code',
  'verify_passkey',
  'verify_phone',
  'verify_totp',
]

const AT = 'system-keyed'
let mine: Database
let other: Database
let ann: Person
beforeAll(async () => {
  await copyTenant(AT)
  await copyTenant('system-keyed-too')
  mine = await databaseOf(AT)
  other = await databaseOf('system-keyed-too')
  ann = await addPerson(await inside(AT), 'ann')
})

/** What a statement list of the app login may not leave behind. */
const traces = async () => {
  const [row] = await mine.asOwner(
    sql`select (select count(*)::int from freehold.login_attempts) as attempts, (select count(*)::int from freehold.audit_log) as entries`,
  )
  return row
}
const refused = (...statements: SQL[]) => refusalOf(mine.app_url, ...statements)

describe('the functions that take the key of the system', () => {
  it('are all that compare what a caller presents, or send it', async () => {
    const rows = await mine.asOwner(
      sql`select p.proname as name from pg_proc p where p.pronamespace = 'access'::regnamespace
          and has_function_privilege('freehold_app', p.oid, 'execute')
          and (p.proargnames @> '{system_key}'
            or p.prosrc ~ '(begin_attempt|finish_attempt|was_used|code_hash|token_user|current_password|send_token)[(]|freehold[.](refresh_tokens|one_time_tokens|registrations)')
            -- It says whether there is a password, and compares none.
            and p.proname <> 'step_up_methods'
          order by 1`,
    )
    expect(rows.map(({ name }) => name)).toEqual(KEYED)
  })

  it.each(KEYED)('%s is refused without it, with a wrong one, with another tenant’s, admitted or not', async (name) => {
    const [found] = await mine.asOwner(
      sql`select p.proargnames as names, p.pronargs as count from pg_proc p where p.pronamespace = 'access'::regnamespace and p.proname = ${name}`,
    )
    const names = (found?.names ?? []).slice(0, found?.count) as string[]
    const others = names.filter((arg) => arg !== 'tenant_id' && arg !== 'system_key')
    const nulls = sql.raw(others.map((arg) => `, ${arg} => null`).join(''))
    const session = await plantSession(AT, 'ann')
    for (const key of [null, '', 'x'.repeat(43), other.system_key]) {
      const asked = sql`select ${sql.raw(`access.${name}`)}(tenant_id => ${mine.id}, system_key => ${key}${nulls})`
      expect(await refused(asked), String(key)).toBe('FH403 forbidden')
      expect(await refused(admit(mine, session, null), asked), String(key)).toBe('FH403 forbidden')
    }
  })
})

describe('a guess that is rolled back', () => {
  it('is not begun, at a login or with a session of the user, and nothing is left', async () => {
    const session = await plantSession(AT, 'ann')
    const before = await traces()
    expect(await refused(sql`select access.begin_login(${mine.id}, '', 'ann')`)).toBe('FH403 forbidden')
    const change = sql`select access.begin_password_change(${mine.id}, '')`
    expect(await refused(admit(mine, session, null), change)).toBe('FH403 forbidden')
    expect(await traces()).toEqual(before)
  })

  it('is not made at an attempt that the Worker has begun, even with the right password', async () => {
    const [begun] = await mine.asApp(sql`select access.begin_login(${mine.id}, ${mine.system_key}, 'ann') as answer`)
    const { attempt, hash_parameters } = begun?.answer ?? {}
    const right = await digest(ann.password, hash_parameters)
    const finish = (key: string | null) =>
      sql`select access.finish_login(${mine.id}, ${key}, ${attempt}, ${right}, null, sha256('x'), '{}') ->> 'outcome' as outcome`
    expect(await refused(finish('guessed'))).toBe('FH403 forbidden')
    expect(await mine.asApp(finish(mine.system_key))).toEqual([{ outcome: 'ok' }])
  })

  it('of a stolen refresh token is none: it does not learn the proof of the session', async () => {
    const { refresh_token } = await plantSession(AT, 'ann')
    const hash = await tokenHash(refresh_token)
    expect(await refused(sql`select access.refresh(${mine.id}, '', ${hash}::bytea, sha256('next'), '{}')`)).toBe(
      'FH403 forbidden',
    )
    const answer = await call(AT, '/api/v1/auth/refresh', { body: { refresh_token } })
    expect(answer.status).toBe(200)
  })
})
