/** Threat: what people typed, tokens that are over and mails that were sent lie about for ever; or something goes that is still needed. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { runMaintenance } from '../../src/tenants/maintenance/maintenance.ts'
import { type Database, databaseOf, maintainNext, refusalOf, settings } from '../support/databases.ts'
import { call, login, makeTenant } from '../support/people.ts'

const AT = 'swept'
let tenant: Database

beforeAll(async () => {
  await makeTenant(AT)
  tenant = await databaseOf(AT)
})

const ANA = sql`(select id from freehold.users where username = 'bo')`
/** One row of each kind that was over so long ago; its name is `mark`. */
const plant = (mark: string, age: string) =>
  tenant.asOwner(
    sql`insert into freehold.login_attempts (id, key, identifier, hash_parameters, state, created_at) values (gen_random_uuid(), ${mark}, ${mark}, 'x', 'failed', now() - ${age}::interval)`,
    sql`insert into freehold.lockouts (key, failures, failed_at) values (${`unknown:${mark}`}, 1, now() - ${age}::interval), (${`login:${mark}`}, 1, now() - ${age}::interval)`,
    sql`insert into freehold.lockouts (key, parent, failures, failed_at) values (${`login:${mark}:net`}, ${`login:${mark}`}, 1, now() - ${age}::interval)`,
    sql`insert into freehold.one_time_tokens (token_hash, kind, user_id, target, expires_at) values (sha256(${mark}::bytea), 'reset', ${ANA}, ${mark}, now() - ${age}::interval)`,
    sql`insert into freehold.email_logins (request_hash, link_hash, code_hash, user_id, target, expires_at) values (sha256(${mark}::bytea), sha256(${mark}::bytea), 'x', ${ANA}, ${mark}, now() - ${age}::interval)`,
    sql`insert into freehold.registrations (token_hash, email, password_hash, expires_at) values (sha256(${mark}::bytea), ${mark}, 'x', now() - ${age}::interval)`,
    sql`insert into access.dropped_mails (id, kind, channel, reached, trace_id, created_at) values (gen_random_uuid(), 'register', 'email', 'mail_per_day', ${mark}, now() - ${age}::interval)`,
    sql`insert into access.kept_answers (id, user_id, request_hash, resource, created_at) values (sha256(${mark}::bytea), ${ANA}, 'x', '{}', now() - ${age}::interval)`,
    sql`insert into freehold.refresh_tokens (token_hash, session_id, device, expires_at) select sha256(${mark}::bytea), s.id, ${mark}, now() - ${age}::interval from freehold.sessions s limit 1`,
  )
const planted = async (mark: string) => {
  const [row] = await tenant.asOwner(
    sql`select (select count(*)::integer from freehold.login_attempts where key = ${mark}) as attempts,
      (select count(*)::integer from freehold.lockouts where key = ${`unknown:${mark}`}) as strangers, (select count(*)::integer from freehold.lockouts where key = ${`login:${mark}`}) as people,
      (select count(*)::integer from freehold.lockouts where parent = ${`login:${mark}`}) as networks,
      (select count(*)::integer from freehold.one_time_tokens where target = ${mark}) as tokens, (select count(*)::integer from freehold.email_logins where target = ${mark}) as email_logins, (select count(*)::integer from freehold.registrations where email = ${mark}) as registrations,
      (select count(*)::integer from access.dropped_mails where trace_id = ${mark}) as dropped_mails,
      (select count(*)::integer from access.kept_answers where id = sha256(${mark}::bytea)) as kept_answers,
      (select count(*)::integer from freehold.refresh_tokens where device = ${mark}) as refresh_tokens`,
  )
  return row
}
const mail = (recipient: string, state: string, finished: string | null, age = '1 minute') =>
  tenant.asOwner(
    sql`with m as (insert into freehold.mails (id, kind, recipient, locale, state, created_at, finished_at, next_at) values (gen_random_uuid(), 'password_changed', ${recipient}, 'en', ${state}, now() - ${age}::interval, now() - ${finished}::interval, now() + interval '1 hour') returning id)
      insert into freehold.mail_attempts (id, mail_id) select gen_random_uuid(), id from m`,
  )
/** A guard of a stranger whose try nobody came back from, and whether that try is swept. */
const forsaken = (mark: string, age: string | null) =>
  tenant.asOwner(
    sql`insert into freehold.lockouts (key) values (${`unknown:forsaken-${mark}`})`,
    sql`insert into freehold.login_attempts (id, key, identifier, hash_parameters, state, created_at)
      select gen_random_uuid(), ${`unknown:forsaken-${mark}`}, 'x', 'x', 'pending', now() where ${age}::text is null`,
  )
const guards = async () =>
  (await tenant.asOwner(sql`select key from freehold.lockouts where key like 'unknown:forsaken%'`)).map(({ key }) => key)
const mails = async () =>
  Object.fromEntries(
    (await tenant.asOwner(sql`select recipient, state from freehold.mails where recipient like '%@sweep.test'`)).map((row) => [
      row.recipient,
      row.state,
    ]),
  )
const aDayLater = () => tenant.asOwner(sql`update access.purges set last_at = last_at - interval '25 hours'`)
const visit = async () => {
  await maintainNext(tenant.id)
  await runMaintenance(settings())
}

describe('what has outlived its purpose', () => {
  it('goes once a day, and nothing before its time', async () => {
    const { access_token, refresh_token } = await login(AT)
    await visit()
    await plant('over', '25 hours')
    await plant('young', '23 hours')
    await mail('old@sweep.test', 'sent', '91 days')
    await mail('given-up@sweep.test', 'dead', '91 days')
    await mail('young@sweep.test', 'sent', '89 days')
    await mail('waits@sweep.test', 'queued', null, '24 hours')
    await mail('lost@sweep.test', 'queued', null, '26 hours')
    await forsaken('over', '1 hour')
    await forsaken('under-way', null)
    const all = {
      attempts: 1,
      strangers: 1,
      networks: 1,
      people: 1,
      tokens: 1,
      email_logins: 1,
      registrations: 1,
      dropped_mails: 1,
      kept_answers: 1,
      refresh_tokens: 1,
    }
    await visit()
    expect(await planted('over')).toEqual(all)

    await aDayLater()
    await visit()
    // How often a person failed is kept with the person.
    const none = {
      attempts: 0,
      strangers: 0,
      networks: 0,
      people: 1,
      tokens: 0,
      email_logins: 0,
      registrations: 0,
      dropped_mails: 0,
      kept_answers: 0,
      refresh_tokens: 0,
    }
    expect([await planted('over'), await planted('young')]).toEqual([none, all])
    expect(await mails()).toEqual({ 'young@sweep.test': 'sent', 'waits@sweep.test': 'queued', 'lost@sweep.test': 'dead' })
    expect(await guards()).toEqual(['unknown:forsaken-under-way'])
    expect((await call(AT, '/api/v1/auth/me', { token: access_token })).status).toBe(200)
    expect((await call(AT, '/api/v1/auth/refresh-token', { body: { refresh_token } })).status).toBe(200)
  })

  it('goes in parts where it is much, and all of it in the end', async () => {
    await tenant.asOwner(
      sql`insert into freehold.login_attempts (id, key, identifier, hash_parameters, state, created_at)
        select gen_random_uuid(), 'many', 'many', 'x', 'failed', now() - interval '2 days' from generate_series(1, 12000)`,
    )
    const left = async () => (await planted('many'))?.attempts
    const [part] = await tenant.asOwner(sql`select access.purge(20) as swept`)
    expect([part?.swept, await left()]).toEqual([{ is_done: false, given_up: 0 }, 11_980])
    await aDayLater()
    await visit()
    expect(await left()).toBe(0)
  })

  it('is nothing that the app login decides', async () => {
    expect(await refusalOf(tenant.app_url, sql`select access.purge(10)`)).toMatch(/^42501/)
    expect(await refusalOf(tenant.app_url, sql`select * from access.purges`)).toMatch(/^42501/)
  })
})
