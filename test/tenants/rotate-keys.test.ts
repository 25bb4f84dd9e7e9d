/** Threat: a rotation of keys that two make at once, that stops half-way, or after which the former keys still work. */
import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { decrypt } from '../../src/kernel/keyring.ts'
import { systemKeyOf, tokenHash } from '../../src/kernel/token.ts'
import { reconcile } from '../../src/tenants/lifecycle/reconcile.ts'
import { rotateKeys, rotateStale } from '../../src/tenants/lifecycle/rotating.ts'
import { rotatePlatformKeys } from '../../src/tenants/lifecycle/rotation.ts'
import { type Entry, kvKey, lookUp } from '../../src/tenants/registry/registry.ts'
import { type Database, databaseOf, master, refusalOf, rowsOf, settings } from '../support/databases.ts'
import { addPerson, inside } from '../support/inside.ts'
import { call, login, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectDiscreet, expectProblem } from '../support/refusal.ts'
import { admit, credentialOf, tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

const NAME = 'rotated'
const TRACE = '00000000000000000000000000000003'
let id: string
let before: Database
let operator: string

beforeAll(async () => {
  ;({ id } = await copyTenant(NAME))
  before = await databaseOf(NAME)
  operator = await operatorToken()
})
/** The next test may rotate again: what would be half an hour later. The clock of the databases is not ours. */
afterEach(async () => {
  await master(sql`update platform.tenants set refresh_key_from = refresh_key_from - interval '1 hour' where id = ${id}`)
  await sources()
  before = await databaseOf(NAME)
})

const sources = async () => {
  const all = { env, config: settings(), meter: { master: 0 }, trace_id: TRACE }
  await lookUp(all, NAME, true)
  return all
}
const turn = (whose = id, token = operator) => call('', `/platform/v1/tenants/${whose}/rotate-keys`, { method: 'POST', token })
const rowOf = async () => {
  const [row] = await master(
    sql`select refresh_key_encrypted as newest, former_refresh_key_encrypted as former, next_refresh_key_encrypted as next, rotating_since, refresh_key_from, v, published_v from platform.tenants where id = ${id}`,
  )
  return row as Record<'newest' | 'former' | 'next' | 'rotating_since' | 'refresh_key_from' | 'v' | 'published_v', string | null>
}
const secretsOf = async () => {
  const [row] = await before.asOwner(
    sql`select encode(inner_key, 'hex') as claims, encode(former_inner_key, 'hex') as former_claims, encode(lasting_inner_key, 'hex') as lasting,
          encode(system_hash, 'hex') as system, encode(former_system_hash, 'hex') as former_system, former_system_until::text as until from access.secrets`,
  )
  return row as Record<'claims' | 'former_claims' | 'lasting' | 'system' | 'former_system' | 'until', string>
}
const keyOf = async (sealed: string | null) =>
  systemKeyOf(await decrypt(settings().ENCRYPTION_KEYS, id, 'refresh_key', String(sealed)))
const hashOf = async (sealed: string | null) => (await tokenHash(await keyOf(sealed))).slice(2)
const asked = (key: string) => refusalOf(before.app_url, sql`select access.begin_login(${id}, ${key}, 'nobody')`)

/** Master, KV and database know the same two keys, and the former one ends. */
async function expectWhole() {
  const [row, secrets, entry] = [await rowOf(), await secretsOf(), await env.TENANTS.get<Entry>(kvKey(NAME), 'json')]
  expect([row.next, row.rotating_since, row.v]).toEqual([null, null, row.published_v])
  expect(secrets).toMatchObject({ system: await hashOf(row.newest), former_system: await hashOf(row.former) })
  expect(secrets.until).not.toBe('infinity')
  expect(entry).toMatchObject({ v: Number(row.v), refresh_key: row.newest, former_refresh_key: row.former })
  expect(await asked(await keyOf(row.newest))).toBe('none')
  expect(await asked(await keyOf(row.former))).toBe('none')
  return { row, secrets }
}

describe('a rotation', () => {
  it('makes new keys of all kinds but one, and says when they are used and when the former ones end', async () => {
    const [was, old] = [await secretsOf(), await rowOf()]
    const asleep = Date.now()
    const answer = await turn()
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
    const { row, secrets } = await expectWhole()
    expect(row.former).toBe(old.newest)
    expect(secrets.former_claims).toBe(was.claims)
    expect(secrets.claims).not.toBe(was.claims)
    expect(secrets.lasting).toBe(was.lasting)
    expect(new Set([secrets.claims, secrets.lasting, secrets.former_claims]).size).toBe(3)
    const [from, until] = [answer.body.used_from, answer.body.former_until].map((at) => (Date.parse(at) - asleep) / 1000)
    expect(from).toBeGreaterThan(175)
    expect(from).toBeLessThan(200)
    expect(Math.round((until ?? 0) - (from ?? 0))).toBe(600)
    const [ends] = await before.asOwner(
      sql`select former_system_until = ${answer.body.former_until}::timestamptz as same from access.secrets`,
    )
    expect(ends).toEqual({ same: true })
  })

  it('is in the platform’s audit, with its operator and without a key, and tells nobody one', async () => {
    const answer = await turn()
    const row = await rowOf()
    const entries = await master(
      sql`select d.user_name, d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_id = ${id} order by l.at desc, l.id desc limit 2`,
    )
    expect(entries.map(({ user_name }) => user_name).sort()).toEqual(['ada', null])
    expect(entries.find(({ user_name }) => user_name === 'ada')?.after).toEqual({ rotating_since: expect.any(String) })
    expect(entries.find(({ user_name }) => user_name === null)?.after).toMatchObject({
      refresh_key_encrypted: '***',
      former_refresh_key_encrypted: '***',
      refresh_key_from: expect.any(String),
    })
    expectDiscreet(answer, String(row.newest), String(row.former))
    for (const sealed of [row.newest, row.former]) {
      const key = await decrypt(settings().ENCRYPTION_KEYS, id, 'refresh_key', String(sealed))
      expect(JSON.stringify([answer.body, entries])).not.toContain(key)
    }
  })

  it('is refused again within half an hour, and for a tenant that is not there, is failed, or is being made', async () => {
    expect((await turn()).status).toBe(200)
    const { newest } = await rowOf()
    const again = await turn()
    expectProblem(again, 409, 'illegal_state')
    expect(again.body.detail).toMatch(/^The keys that are used from 2.*Z are new: rotate them again half an hour later\.$/)
    expect((await rowOf()).newest).toBe(newest)
    expectProblem(await turn('0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11'), 404, 'not_found')
    for (const status of ['failed', 'provisioning'] as const)
      expectProblem(await turn(await plantTenant(`rotated-${status}`, status)), 409, 'illegal_state')
    await master(sql`update platform.tenants set status = 'failed' where subdomain = 'rotated-provisioning'`)
  })

  it('of twenty at once is one: the others join it or are told that it was', async () => {
    const [was, old] = [await secretsOf(), await rowOf()]
    const answers = await Promise.all(Array.from({ length: 20 }, () => turn()))
    const done = answers.filter(({ status }) => status === 200)
    expect(done.length).toBeGreaterThan(0)
    for (const answer of answers.filter(({ status }) => status !== 200)) expectProblem(answer, 409, 'illegal_state')
    expect(new Set(done.map(({ body }) => JSON.stringify(body))).size).toBe(1)
    const { row, secrets } = await expectWhole()
    expect([row.former, secrets.former_system, secrets.former_claims]).toEqual([old.newest, was.system, was.claims])
  })
})

describe('a rotation that stopped', () => {
  const begun = sql`rotating_since = now() - interval '2 minutes'`
  const stops: Record<string, () => Promise<unknown>> = {
    'before there was a key': async () => master(sql`update platform.tenants set ${begun} where id = ${id}`),
    'before the database knew the key': async () => {
      await stops['before there was a key']?.()
      // The database does not answer: the owner login that the master knows is not its own.
      const { owner } = (await master(sql`select owner_url_encrypted as owner from platform.tenants where id = ${id}`))[0] as {
        owner: string
      }
      await master(sql`update platform.tenants set owner_url_encrypted = 'o1.AAAAAAAAAAAAAAAA.AAAA' where id = ${id}`)
      await expect(rotateKeys(await sources(), id)).rejects.toThrow()
      await master(sql`update platform.tenants set owner_url_encrypted = ${owner} where id = ${id}`)
    },
    'before the master used the key': async () => {
      await stops['before the database knew the key']?.()
      const { newest, next } = await rowOf()
      const [known, hash] = [await hashOf(newest), await hashOf(next)]
      await before.asOwner(sql`select access.rotate_keys(decode(${known}, 'hex'), decode(${hash}, 'hex'))`)
    },
    'before it was published': async () => {
      await stops['before the master used the key']?.()
      await master(
        sql`update platform.tenants set former_refresh_key_encrypted = refresh_key_encrypted, refresh_key_encrypted = next_refresh_key_encrypted, next_refresh_key_encrypted = null,
              rotating_since = null, refresh_key_from = now() + interval '180 seconds' where id = ${id}`,
      )
    },
  }

  it.each(Object.keys(stops))('%s fails no request, and goes on by itself', async (when) => {
    const was = await secretsOf()
    await stops[when]?.()
    await sources()
    const tokens = await login(NAME)
    expect((await call(NAME, '/api/v1/auth/me', { token: tokens.access_token })).status).toBe(200)
    const { refresh_token } = tokens
    expect((await call(NAME, '/api/v1/auth/refresh', { body: { refresh_token } })).status).toBe(200)
    const { env, config } = await sources()
    await rotateStale(env, config)
    await reconcile(env, config)
    const { secrets } = await expectWhole()
    expect([secrets.former_system, secrets.former_claims]).toEqual([was.system, was.claims])
    expect((await call(NAME, '/api/v1/auth/me', { token: tokens.access_token })).status).toBe(200)
  })

  it('goes on when it is asked for again', async () => {
    await stops['before the master used the key']?.()
    expect((await turn()).status).toBe(200)
    await expectWhole()
  })

  it('is not overwritten by a call of an earlier rotation that comes late', async () => {
    const old = await rowOf()
    await turn()
    const secrets = await secretsOf()
    const [known, stale] = [await hashOf(old.newest), await tokenHash('stale')]
    const late = sql`select access.rotate_keys(decode(${known}, 'hex'), ${stale}::bytea) as known`
    expect(await before.asOwner(late)).toEqual([{ known: false }])
    expect(await secretsOf()).toEqual(secrets)
  })
})

describe('after a rotation', () => {
  it('the former key of the system works until its end, and no longer', async () => {
    const { newest: old } = await rowOf()
    await turn()
    const [former, newest] = [await keyOf(old), await keyOf((await rowOf()).newest)]
    expect([await asked(former), await asked(newest)]).toEqual(['none', 'none'])
    await before.asOwner(sql`update access.secrets set former_system_until = now()`)
    expect([await asked(former), await asked(newest)]).toEqual(['FH403 forbidden', 'none'])
  })

  it('tokens from before it work as long as a token lives, and no longer', async () => {
    const token = await tokenOf(NAME)
    const me = () => call(NAME, '/api/v1/auth/me', { token })
    await turn()
    expect((await me()).status).toBe(200)
    await before.asOwner(sql`update access.secrets set rotated_at = now() - interval '15 minutes'`)
    expect((await me()).status).toBe(200)
    await before.asOwner(sql`update access.secrets set rotated_at = now() - interval '17 minutes'`)
    expectProblem(await me(), 401, 'session_ended')
    expect((await call(NAME, '/api/v1/auth/me', { token: await tokenOf(NAME) })).status).toBe(200)
  })

  it('a transaction that was admitted before it sees its rows, and writes under its actor', async () => {
    const session = await credentialOf(NAME)
    const database = await databaseOf(NAME)
    const count = sql`select (select count(*)::integer from freehold.users) as users, access.actor() ->> 'user_name' as actor`
    const slow = rowsOf(
      database.app_url,
      admit(database, session, 'user:read'),
      sql`select pg_sleep(1)`,
      sql`select count(*)::integer as users from freehold.users`,
    )
    const named = before.asOwner(sql`select access.set_audit_actor(null, 'somebody', '{}')`, sql`select pg_sleep(1)`, count)
    await scheduler.wait(400)
    await turn()
    expect((await slow)[0]?.users).toBeGreaterThan(0)
    expect((await named)[0]).toMatchObject({ actor: 'somebody' })
  })

  it('claims that the former key signs a minute later count for nothing', async () => {
    const keys = sql`select inner_key, outer_key from access.secrets`
    const [former] = await before.asOwner(
      sql`select encode(k.inner_key, 'hex') as i, encode(k.outer_key, 'hex') as o from (${keys}) k`,
    )
    const said = '{"user_id":"0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a11"}'
    const forged = () =>
      before.asOwner(
        sql`select set_config('access.claims', ${said}, true), set_config('access.signature', encode(access.hmac(decode(${former?.i}, 'hex'), decode(${former?.o}, 'hex'), access.bound('claims:' || ${said}::text)), 'hex'), true)`,
        sql`select access.claims() as claims`,
      )
    await turn()
    expect((await forged())[0]?.claims).toEqual(JSON.parse(said))
    await before.asOwner(sql`update access.secrets set rotated_at = rotated_at - interval '1 minute'`)
    expect((await forged())[0]?.claims).toBeNull()
  })

  it('an unknown identifier has the same salt and the same lockout: neither tells who is unknown', async () => {
    const begin = async () => {
      const [row] = await before.asApp(
        sql`select access.begin_login(${id}, ${(await databaseOf(NAME)).system_key}, 'nobody@unknown.test') as answer`,
      )
      const [guard] = await before.asOwner(sql`select access.mac('guard:nobody') as guard`)
      return [row?.answer.hash_parameters, JSON.stringify(guard)]
    }
    const first = await begin()
    await turn()
    expect(await begin()).toEqual(first)
  })

  it('in a database of before there were two keys, the first one stays for what must not change', async () => {
    const { lasting } = await secretsOf()
    const salt = async () => (await before.asOwner(sql`select access.mac('salt:nobody')::text as salt`))[0]?.salt
    await before.asOwner(sql`update access.secrets set lasting_inner_key = null, lasting_outer_key = null`)
    const first = await salt()
    await turn()
    expect(await salt()).toBe(first)
    expect((await secretsOf()).lasting).not.toBe(lasting)
  })
})

describe('the platform’s own realm', () => {
  const refresh = (refresh_token: string) => call('', '/platform/v1/auth/refresh', { body: { refresh_token } })

  it('is rotated once of twenty at once; its operators’ sessions go on, and the audit has it', async () => {
    const person = await addPerson(await inside(''), 'rotating-operator', { roles: ['operator'] })
    const entered = await call('', '/platform/v1/auth/login', { body: { email: person.email, password: person.password } })
    const { system_key } = await inside('')
    const ends = await Promise.all(
      Array.from({ length: 20 }, () => rotatePlatformKeys(settings(), TRACE).catch((error: Error) => error.message)),
    )
    const done = ends.filter((end) => typeof end !== 'string')
    expect(done).toHaveLength(1)
    for (const end of ends.filter((end) => typeof end === 'string'))
      expect(end).toMatch(/^The keys that are used from 2.*Z are new/)
    const realm = await inside('')
    expect(realm.system_key).not.toBe(system_key)
    const url = settings().MASTER_DATABASE_URL
    for (const key of [system_key, realm.system_key])
      expect(await refusalOf(url, sql`select access.begin_login(${realm.id}, ${key}, 'nobody')`)).toBe('none')
    expect((await call('', '/platform/v1/auth/me', { token: entered.body.access_token })).status).toBe(200)
    expect((await refresh(entered.body.refresh_token)).status).toBe(200)
    const entries = await master(
      sql`select d.after from freehold.audit_log l join freehold.audit_detail d on d.log_id = l.id where l.resource_type = 'realm'`,
    )
    expect(entries).toEqual([{ after: { refresh_key_from: expect.any(String) } }])
  })
})
