/**
 * Threat: a stranger fills the audit, or what strangers did is in it nowhere; what they typed is kept for ever; and to get rid of it
 * means to get rid of entries.
 */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { verifyChain } from '../../src/audit/verify.ts'
import { newKey } from '../../src/kernel/api-key.ts'
import { newToken, tokenHash } from '../../src/kernel/token.ts'
import { checkpointAudit } from '../../src/tenants/maintenance/checkpoints.ts'
import { runMaintenance } from '../../src/tenants/maintenance/maintenance.ts'
import {
  type Database,
  databaseOf,
  maintainLater,
  maintainNext,
  master,
  refusalOf,
  rowsOf,
  settings,
} from '../support/databases.ts'
import { addPerson, type Inside, inside } from '../support/inside.ts'
import { askWith, limiters, newAddress } from '../support/limiters.ts'
import { call } from '../support/people.ts'
import { plantSession, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'counted-failures'
let realm: Inside
let tenant: Database
let token: string
/** What a login by nobody leaves, without its hash. */
const nobodyFails = (address: string, kind = 'unknown', times = 1) =>
  tenant.asOwner(
    sql`select access.set_audit_actor(null, 'nobody', jsonb_build_object('address', ${address}::text))`,
    sql`select access.record_failure('LOGIN_FAILED', 'login', 'user', null, ${kind}, true, jsonb_build_object('reason', ${kind}::text), 20) from generate_series(1, ${times}::integer)`,
  )
const entriesFrom = async (address: string) =>
  tenant.asOwner(
    sql`select l.activity_type, l.user_id, l.risk_score, d.after, d.address from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where d.address = ${address} order by l.at`,
  )
const countedFrom = async (network: string) =>
  (await tenant.asOwner(sql`select seen, counts from access.counted_failures where network = ${network} order by hour`)) as {
    seen: number
    counts: Record<string, number>
  }[]
const hourIsOver = () => tenant.asOwner(sql`update access.counted_failures set hour = hour - interval '1 hour'`)
const closed = (database = tenant) => database.asOwner(sql`select access.close_counted_failures(1000) as n`)
const address = () => newAddress('198.19')

beforeAll(async () => {
  await copyTenant(AT)
  realm = await inside(AT)
  tenant = await databaseOf(AT)
  token = await tokenOf(AT)
  await maintainLater(tenant.id)
})

const login = (from: string, username: string, password = 'Not-the-one-1') =>
  call(AT, '/api/v1/auth/login', { body: { username, password }, headers: { 'CF-Connecting-IP': from } })

describe('failures of strangers', () => {
  it('are entries up to the twentieth of a network and hour, and counted from there on, by kind', async () => {
    const from = address()
    for (let i = 0; i < 23; i++) expect((await login(from, `stranger-${i}`)).status).toBe(401)
    expect(await entriesFrom(from)).toHaveLength(20)
    expect(await countedFrom(from)).toEqual([{ seen: 23, counts: { unknown: 3 } }])
    const refreshed = await call(AT, '/api/v1/auth/refresh', {
      body: { refresh_token: newToken() },
      headers: { 'CF-Connecting-IP': from },
    })
    expect(refreshed.trips).toBe(1)
    expect(await countedFrom(from)).toEqual([{ seen: 24, counts: { unknown: 3, refresh_invalid: 1 } }])
    // Another network has its own.
    const other = address()
    await login(other, 'stranger-1')
    expect(await entriesFrom(other)).toHaveLength(1)
  })

  it('twenty at once: none is lost, and no more than twenty are entries', async () => {
    const from = address()
    await Promise.all(Array.from({ length: 20 }, () => nobodyFails(from, 'unknown', 3)))
    expect(await entriesFrom(from)).toHaveLength(20)
    expect(await countedFrom(from)).toEqual([{ seen: 60, counts: { unknown: 40 } }])
  })

  it('are of one network within a /64, and within a v4 address that is written as v6', async () => {
    for (const one of ['2001:db8:5:6::1', '2001:db8:5:6:7::9', '2001:db8:5:7::1', '::ffff:192.0.2.77', '192.0.2.77', 'garbage'])
      await nobodyFails(one)
    const seen = await tenant.asOwner(
      sql`select network, seen from access.counted_failures where network ~ '^(2001|192.0.2.77|unknown)' order by network collate "C"`,
    )
    expect(seen).toEqual([
      { network: '192.0.2.77', seen: 2 },
      { network: '2001:db8:5:6::/64', seen: 2 },
      { network: '2001:db8:5:7::/64', seen: 1 },
      { network: 'unknown', seen: 1 },
    ])
  })

  it('do not wait for those of another network', async () => {
    const [one, other] = [address(), address()]
    await nobodyFails(one)
    const slow = tenant.asOwner(
      sql`select access.set_audit_actor(null, 'x', jsonb_build_object('address', ${one}::text))`,
      sql`select access.record_failure('LOGIN_FAILED', 'login', 'user', null, 'unknown', true, '{}', 20)`,
      sql`select pg_sleep(1.5)`,
    )
    await scheduler.wait(200)
    const from = performance.now()
    await nobodyFails(other)
    expect(performance.now() - from).toBeLessThan(1_000)
    await slow
  })

  it('a known person’s wrong password is an entry always; once they are locked it is a stranger’s', async () => {
    const from = address()
    await nobodyFails(from, 'unknown', 30)
    const cy = await addPerson(realm, 'cy')
    for (let i = 0; i < 7; i++) expect((await login(from, 'cy')).status).toBe(401)
    const entries = (await entriesFrom(from)).filter(({ user_id }) => user_id === cy.id)
    expect(entries.map(({ after }) => after.reason)).toEqual(Array(5).fill('wrong_password'))
    expect(await countedFrom(from)).toEqual([{ seen: 32, counts: { unknown: 10, locked: 2 } }])
  })

  it('take their network’s row whoever is meant: waiting for it does not tell who is known', async () => {
    const from = address()
    await nobodyFails(from)
    const held = tenant.asOwner(
      sql`select 1 from access.counted_failures where network = ${from} for update`,
      sql`select pg_sleep(1)`,
    )
    await scheduler.wait(200)
    const start = performance.now()
    await tenant.asOwner(
      sql`select access.set_audit_actor(u.id, u.username, jsonb_build_object('address', ${from}::text)) from freehold.users u where u.username = 'bo'`,
      sql`select access.record_failure('LOGIN_FAILED', 'login', 'user', null, 'wrong_password', false, '{}', 20)`,
    )
    expect(performance.now() - start).toBeGreaterThan(400)
    await held
    expect(await countedFrom(from)).toEqual([{ seen: 1, counts: {} }])
  })

  it('and what is undone counts nothing', async () => {
    const from = address()
    await refusalOf(
      tenant.owner_url,
      sql`set local role freehold_owner`,
      sql`select access.set_audit_actor(null, 'x', jsonb_build_object('address', ${from}::text))`,
      sql`select access.record_failure('LOGIN_FAILED', 'login', 'user', null, 'unknown', true, '{}', 20)`,
      sql`select 1 / 0`,
    )
    expect([await entriesFrom(from), await countedFrom(from)]).toEqual([[], []])
  })
})

describe('when the hour is over', () => {
  it('one entry says how many there were, and the list of activities shows it', async () => {
    const from = address()
    await nobodyFails(from, 'unknown', 25)
    await nobodyFails(from, 'locked', 2)
    await closed()
    expect(await countedFrom(from)).toHaveLength(1)
    await hourIsOver()
    await maintainNext(tenant.id)
    await runMaintenance(settings())
    expect(await countedFrom(from)).toEqual([])
    const found = await call(AT, `/api/v1/activities?activity_type=SUSPICIOUS_ACTIVITY&address=${from}`, { token })
    expect(found.body.data).toHaveLength(1)
    const { after, user_id, action, risk_score, trace_id } = found.body.data[0]
    expect({ user_id, action, risk_score }).toEqual({ user_id: null, action: 'count', risk_score: 50 })
    expect(trace_id).toMatch(/^[0-9a-f]{32}$/)
    expect(after).toEqual({
      reason: 'counted',
      network: from,
      from: expect.stringMatching(/:00:00Z$/),
      until: expect.stringMatching(/:00:00Z$/),
      counts: { unknown: 5, locked: 2 },
    })
    expect(Date.parse(after.until) - Date.parse(after.from)).toBe(3_600_000)
    await closed()
    expect(await entriesFrom(from)).toHaveLength(21)
  })

  it('the tenant is due for it, though nobody asks for anything', async () => {
    const from = address()
    await nobodyFails(from, 'unknown', 21)
    const [row] = await tenant.asOwner(
      sql`select access.counted_failures_due() = date_trunc('hour', now(), 'UTC') + interval '1 hour' as is_next_hour`,
    )
    expect(row).toEqual({ is_next_hour: true })
    // Until nothing is left that has no checkpoint, it is due at once.
    for (let i = 0; i < 20; i++) {
      await maintainNext(tenant.id)
      await runMaintenance(settings())
      const [due] = await master(
        sql`select due_at <= now() as is_now, due_at <= now() + interval '1 hour' as is_soon from platform.maintenance where realm_id = ${tenant.id}`,
      )
      if (due?.is_now) continue
      expect(due?.is_soon).toBe(true)
      break
    }
    await hourIsOver()
    await closed()
    expect((await tenant.asOwner(sql`select access.counted_failures_due() as at`))[0]).toEqual({ at: null })
  })

  it('twenty jobs at once write it once', async () => {
    const from = address()
    await nobodyFails(from, 'unknown', 22)
    await hourIsOver()
    await Promise.all(Array.from({ length: 20 }, () => closed()))
    const written = (await entriesFrom(from)).filter(({ after }) => after.reason === 'counted')
    expect(written.map(({ after }) => after.counts)).toEqual([{ unknown: 2 }])
  })

  it('a job that dies has written nothing, and the next one writes all', async () => {
    const from = address()
    await nobodyFails(from, 'unknown', 22)
    await hourIsOver()
    const job = [sql`set local role freehold_owner`, sql`select access.close_counted_failures(1000)`, sql`select 1 / 0`]
    expect(await refusalOf(tenant.owner_url, ...job)).toMatch(/^22012/)
    expect(await countedFrom(from)).toHaveLength(1)
    await closed()
    expect((await entriesFrom(from)).map(({ after }) => after.counts).filter(Boolean)).toEqual([{ unknown: 2 }])
  })

  it('a failure that comes late, while the job is at work or after, is counted as well', async () => {
    const from = address()
    await nobodyFails(from, 'unknown', 24)
    await hourIsOver()
    const late = (n: number) =>
      tenant.asOwner(
        sql`insert into access.counted_failures as f (hour, network, seen, counts) values (date_trunc('hour', now(), 'UTC') - interval '1 hour', ${from}, 1, '{"late": 1}')
            on conflict (hour, network) do update set seen = f.seen + 1, counts = f.counts || jsonb_build_object(${`late_${n}`}::text, 1)`,
      )
    await Promise.all([closed(), ...Array.from({ length: 10 }, (_, i) => late(i)), closed()])
    await closed()
    await closed()
    expect(await countedFrom(from)).toEqual([])
    const all = (await entriesFrom(from)).flatMap(({ after }) => Object.entries((after.counts ?? {}) as Record<string, number>))
    expect(all.filter(([kind]) => kind === 'unknown')).toEqual([['unknown', 4]])
    expect(all.filter(([kind]) => kind.startsWith('late')).reduce((sum, [, n]) => sum + n, 0)).toBe(10)
  })
})

describe('a refusal is recorded:', () => {
  const bare = { 'User-Agent': 'cy-phone/2' }
  /** The entries of one request, once they are there. */
  async function recorded(from: string, count = 1) {
    for (let i = 0; i < 60 && (await entriesFrom(from)).length < count; i++) await scheduler.wait(50)
    return entriesFrom(from)
  }
  const ask = (from: string, headers: Record<string, string>, path = '/api/v1/auth/whoami', more: object = {}) =>
    call(AT, path, { headers: { 'CF-Connecting-IP': from, ...bare, ...headers }, ...more })
  const forged = () => token.replace(/\.[^.]{6}(?=[^.]*$)/, '.AAAAAA')

  it('a token that another key signed, without the token', async () => {
    const from = address()
    expect((await ask(from, { Authorization: `Bearer ${forged()}` })).body.code).toBe('token_invalid')
    expect(await recorded(from)).toEqual([
      {
        activity_type: 'ACCESS_REFUSED',
        user_id: null,
        risk_score: 10,
        address: from,
        after: { code: 'token_invalid', permission: null },
      },
    ])
  })

  it('a key that nobody has, by its prefix', async () => {
    const [from, { key, prefix }] = [address(), newKey()]
    const answer = await ask(from, { 'X-API-Key': key })
    expect([answer.body.code, answer.trips]).toEqual(['token_invalid', 1])
    expect((await recorded(from))[0]).toMatchObject({
      user_id: null,
      after: { code: 'token_invalid', permission: null, key_prefix: prefix },
    })
  })

  it('a key that was revoked, with its owner', async () => {
    const [from, { key, prefix }] = [address(), newKey()]
    const [row] = await realm.asOwner(
      sql`insert into freehold.api_keys (id, user_id, name, prefix, key_hash, permissions, revoked_at)
          select gen_random_uuid(), u.id, 'gone', ${prefix}, ${await tokenHash(key)}::bytea, '{user:read}', now() from freehold.users u where u.username = 'bo' returning id, user_id`,
    )
    await ask(from, { 'X-API-Key': key })
    expect((await recorded(from))[0]).toMatchObject({
      user_id: row?.user_id,
      after: { code: 'token_invalid', permission: null, api_key_id: row?.id },
    })
  })

  it('a refresh token of nobody, and one of a session that ended, with its user; in the one round trip of the refresh', async () => {
    const [from, session] = [address(), await plantSession(AT)]
    await realm.asOwner(
      sql`update freehold.sessions set ended_at = now(), ended_because = 'logout' where id = ${session.session_id}`,
    )
    for (const refresh_token of [newToken(), session.refresh_token]) {
      const answer = await ask(from, {}, '/api/v1/auth/refresh', { body: { refresh_token } })
      expect([answer.body.code, answer.trips]).toEqual(['refresh_invalid', 1])
    }
    expect((await entriesFrom(from)).map(({ activity_type, user_id, after }) => [activity_type, user_id, after])).toEqual([
      ['ACCESS_REFUSED', null, { code: 'refresh_invalid' }],
      ['ACCESS_REFUSED', session.user_id, { code: 'refresh_invalid' }],
    ])
  })

  it('a page of a foreign origin, by its origin: that logs somebody in, and that sends cookies', async () => {
    const [from, Origin] = [address(), 'https://evil.example']
    const body = { username: 'bo', password: 'x' }
    expect((await ask(from, { Origin }, '/api/v1/auth/login', { body })).body.code).toBe('forbidden')
    const { access_token, user_id } = await plantSession(AT)
    const Cookie = `__Host-fh_a_${user_id}=${access_token}`
    expect((await ask(from, { Origin, Cookie }, '/api/v1/users')).body.code).toBe('forbidden')
    for (const { after, user_id: who } of await recorded(from, 2))
      expect([who, after]).toEqual([null, expect.objectContaining({ code: 'foreign_page', origin: Origin })])
    expect(await entriesFrom(from)).toHaveLength(2)
  })

  it('but no honest failure: an expired token, an ended session, a mistyped key, a preflight of a page', async () => {
    const from = address()
    const session = await plantSession(AT)
    await realm.asOwner(
      sql`update freehold.sessions set ended_at = now(), ended_because = 'logout' where id = ${session.session_id}`,
    )
    await ask(from, { Authorization: `Bearer ${session.access_token}` })
    await ask(from, { 'X-API-Key': `${newKey().key.slice(0, -1)}?` })
    await ask(from, {})
    await ask(from, { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'POST' }, '/api/v1/auth/login', {
      method: 'OPTIONS',
    })
    await ask(from, { Authorization: `Bearer ${forged()}` })
    await recorded(from)
    await scheduler.wait(200)
    expect((await entriesFrom(from)).map(({ after }) => after.code)).toEqual(['token_invalid'])
  })

  it('at most so often in a minute as REFUSALS allows, for a network', async () => {
    const bindings = { ...limiters(), FAILURES: { limit: async () => ({ success: true }) } }
    const own = address()
    for (let i = 0; i < 65; i++)
      await askWith(bindings, `http://${AT}.freehold.test/api/v1/auth/whoami`, {
        headers: { 'CF-Connecting-IP': own, 'X-API-Key': newKey().key },
      })
    expect(await countedFrom(own)).toEqual([{ seen: 60, counts: { key_invalid: 40 } }])
  })

  it('what somebody known may not do, however many tokens their network invents', async () => {
    const bindings = { ...limiters(), FAILURES: { limit: async () => ({ success: true }) } }
    const own = address()
    const one = (headers: Record<string, string>, path = 'auth/whoami') =>
      askWith(bindings, `http://${AT}.freehold.test/api/v1/${path}`, { headers: { 'CF-Connecting-IP': own, ...headers } })
    for (let i = 0; i < 65; i++) await one({ Authorization: `Bearer ${forged()}` })
    await addPerson(realm, 'probing')
    const { access_token } = await plantSession(AT, 'probing')
    expect((await one({ Authorization: `Bearer ${access_token}` }, 'activities')).body.code).toBe('forbidden')
    expect((await entriesFrom(own)).map(({ after }) => after.code).filter((code) => code === 'forbidden')).toHaveLength(1)
  })

  it('nowhere with a secret', async () => {
    const from = address()
    const { key } = newKey()
    const refresh_token = newToken()
    await ask(from, { 'X-API-Key': key })
    await ask(from, { Authorization: `Bearer ${forged()}` })
    await ask(from, {}, '/api/v1/auth/refresh', { body: { refresh_token } })
    await recorded(from, 3)
    const [row] = await tenant.asOwner(
      sql`select string_agg(d::text, '') || (select string_agg(l::text, '') from freehold.audit_log l) as all from freehold.audit_detail d`,
    )
    const hash = (await tokenHash(key)).slice(2)
    for (const secret of [key, key.slice(12), hash, forged(), forged().split('.')[2] ?? '', refresh_token])
      expect(row?.all).not.toContain(secret)
  })
})

describe('after 90 days', () => {
  const OLD = 'counted-long-ago'
  let old: Database
  const asOwner = (...statements: string[]) => old.asOwner(...statements.map((text) => sql.raw(text)))
  const checkpointAll = async () => {
    for (let i = 0; i < 100; i++) {
      await checkpointAudit(settings(), OLD)
      if ((await verdict()).pending === 0) return
      await scheduler.wait(30)
    }
  }
  const verdict = () => verifyChain(old.owner_url, null)
  const PLANTED = 2_500

  beforeAll(async () => {
    await copyTenant(OLD)
    old = await databaseOf(OLD)
    await maintainLater(old.id)
    await asOwner(
      `select access.set_audit_actor(null, 'typed-by-somebody', '{"address": "198.51.100.7", "agent": "x"}')`,
      `select access.write_audit(access.actor(), 'LOGIN_FAILED', 'login', 'user', 20, array_agg(null::text), null, array_agg('{"reason": "unknown"}'::jsonb)) from generate_series(1, ${PLANTED})`,
      `select access.record('ACCESS_REFUSED', 'refuse', 'request', null, null, '{"code": "token_invalid"}')`,
      `select access.record('REGISTRATION_REQUESTED', 'create', 'user', null, null, '{}')`,
    )
    await asOwner(
      `select access.set_audit_actor(u.id, u.username, '{"address": "198.51.100.7"}') from freehold.users u where u.username = 'bo'`,
      `select access.record('LOGIN_FAILED', 'login', 'user', null, null, '{"reason": "locked"}')`,
      `select access.record('LOGIN_FAILED', 'login', 'user', null, null, '{"reason": "wrong_password"}')`,
    )
    // As if all of it had been written then.
    await asOwner(
      'alter table freehold.audit_log disable trigger keep_entries',
      `update freehold.audit_log set at = at - interval '91 days' where checkpoint is null`,
      'alter table freehold.audit_log enable trigger keep_entries',
    )
    await asOwner(
      `select access.set_audit_actor(null, 'typed-of-late', '{"address": "198.51.100.7"}')`,
      `select access.record('LOGIN_FAILED', 'login', 'user', null, null, '{"reason": "unknown"}')`,
    )
    await checkpointAll()
  })

  it('the details of strangers’ failures are erased, in slices, and no others; no entry goes, and the audit is intact', async () => {
    expect(await verdict()).toMatchObject({ intact: true, erased: 0, pending: 0 })
    const count = () =>
      asOwner(
        'select count(*)::integer as entries, (select count(*)::integer from freehold.audit_detail) as details from freehold.audit_log',
      )
    const [before] = await count()
    const purge = async () => (await asOwner('select access.purge(1000) as purged'))[0]?.purged.is_done
    expect([await purge(), await purge(), await purge(), await purge()]).toEqual([false, false, true, true])
    const [after] = await count()
    const erasures = 3
    const erased = PLANTED + 2
    expect(after).toEqual({ entries: before?.entries + erasures, details: before?.details - erased + erasures })
    const left = await asOwner(
      `select l.activity_type, d.after, d.user_name from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where d.address = '198.51.100.7' order by l.at`,
    )
    expect(left).toEqual([
      { activity_type: 'REGISTRATION_REQUESTED', after: {}, user_name: 'typed-by-somebody' },
      { activity_type: 'LOGIN_FAILED', after: { reason: 'wrong_password' }, user_name: 'bo' },
      { activity_type: 'LOGIN_FAILED', after: { reason: 'unknown' }, user_name: 'typed-of-late' },
    ])
    const named = await asOwner(
      `select l.resource_id, jsonb_array_length(d.after -> 'ids') as n from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.activity_type = 'AUDIT_ERASED' order by l.at`,
    )
    expect(named.map(({ n }) => n)).toEqual([1000, 1000, 502])
    // Before the erasures are under a checkpoint, and after.
    expect(await verdict()).toMatchObject({ intact: true, erased })
    await checkpointAll()
    expect(await verdict()).toMatchObject({ intact: true, erased, pending: 0 })
  })

  it('a detail that no entry names is missed, also beside an erasure of the same time', async () => {
    const triggers = (how: string) => `alter table freehold.audit_detail ${how} trigger user`
    const where = `log_id in (select l.id from freehold.audit_log l where l.activity_type = 'REGISTRATION_REQUESTED')`
    const [kept] = await asOwner(`select to_jsonb(d) as row from freehold.audit_detail d where ${where}`)
    await asOwner(triggers('disable'), `delete from freehold.audit_detail where ${where}`, triggers('enable'))
    expect((await verdict()).faults.map(({ kind }) => kind)).toEqual(['removed_detail'])
    // Nor is it excused by an erasure that was told to name it.
    const erasure = `select l.id from freehold.audit_log l where l.activity_type = 'AUDIT_ERASED' order by l.at limit 1`
    await asOwner(
      triggers('disable'),
      `update freehold.audit_detail set after = jsonb_set(after, '{ids,0}', to_jsonb('${kept?.row.log_id}'::text)) where log_id = (${erasure})`,
      triggers('enable'),
    )
    // All that it named is missed: it excuses nothing.
    const kinds = (await verdict()).faults.map(({ kind }) => kind)
    expect(kinds.filter((kind) => kind === 'removed_detail').length).toBeGreaterThan(50)
  })

  it('the app login erases nothing', async () => {
    for (const statement of [
      "select access.erase_failures(10, '-infinity', 'infinity')",
      "select access.erase_detail('{}')",
      'select access.purge(10)',
      'select access.close_counted_failures(10)',
      "select access.record_failure('LOGIN_FAILED', 'login', 'user', null, 'x', true, '{}', 20)",
      'delete from freehold.audit_detail',
      'select * from access.counted_failures',
      'update access.counted_failures set seen = 0',
    ])
      expect(await refusalOf(old.app_url, sql.raw(statement)), statement).toMatch(/^42501 permission denied/)
  })

  it('two purges at once leave nothing behind', async () => {
    await asOwner(
      `select access.set_audit_actor(null, 'again', '{"address": "198.51.100.8"}')`,
      `select access.write_audit(access.actor(), 'LOGIN_FAILED', 'login', 'user', 20, array_agg(null::text), null, array_agg('{"reason": "unknown"}'::jsonb)) from generate_series(1, 40)`,
    )
    await checkpointAll()
    const erase = () =>
      rowsOf(
        old.owner_url,
        sql`set local role freehold_owner`,
        sql`select access.erase_failures(10, '-infinity', 'infinity') as n`,
      )
    const found = (await Promise.all(Array.from({ length: 20 }, erase))).map(([row]) => row?.n as number)
    // Whoever finds less than it may erase is at the end.
    if (found.some((n) => n < 10))
      expect(await asOwner(`select 1 from freehold.audit_detail where address = '198.51.100.8'`)).toEqual([])
    for (let i = 0; i < 10; i++) await erase()
    expect(await asOwner(`select 1 from freehold.audit_detail where address = '198.51.100.8'`)).toEqual([])
  })
})
