/** Threat: a job that asks every tenant's database every minute keeps every compute awake; one that asks too few leaves the audit open, and mail unsent. */
import { sql } from 'drizzle-orm'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { runMaintenance } from '../../src/tenants/maintenance/maintenance.ts'
import { claimMaintenance, reportActivity } from '../../src/tenants/maintenance/queue.ts'
import { type Database, databaseOf, maintainNext, master, settings } from '../support/databases.ts'
import { call, login, makeTenant, operatorToken } from '../support/people.ts'

const AT = 'visited'
let tenant: Database

beforeAll(async () => {
  await makeTenant(AT)
  tenant = await databaseOf(AT)
})
afterEach(async () => {
  vi.useRealTimers()
  // Other files' tenants, claimed here.
  await master(
    sql`update platform.maintenance set due_at = now() where due_at > now() and due_at <= now() + interval '10 minutes'`,
  )
})

/** As if nobody had been there since the last visit, and nothing were due. */
const fallAsleep = () =>
  master(
    sql`update platform.maintenance set due_at = now() + interval '1 day', maintained_at = now() - interval '1 minute', active_until = '-infinity' where realm_id = ${tenant.id}`,
  )
const claim = (began: string) => claimMaintenance<{ id: string }>(settings(), began, sql`1 as one`)
const visit = async () =>
  (
    await master(sql`select due_at <= now() as is_due, round(extract(epoch from due_at - now()) / 60)::integer as due_in_minutes,
      maintained_at > now() - interval '30 seconds' as was_visited, active_until > now() as is_awake from platform.maintenance where realm_id = ${tenant.id}`)
  )[0]
/** Past the Worker, which therefore tells nobody. */
const record = () => tenant.asOwner(sql`select access.record('QUIET', 'do', 'thing', null, null, null)`)
const pending = async () =>
  (await tenant.asOwner(sql`select count(*)::integer as n from freehold.audit_log where checkpoint is null`))[0]?.n
/** Again and again: what a transaction of another test on the same server might still see is not sealed yet. */
const isSealed = () =>
  vi.waitUntil(
    async () => {
      await runMaintenance(settings())
      return (await pending()) === 0
    },
    { timeout: 60_000, interval: 50 },
  )

describe('a tenant’s database', () => {
  it('is left alone where nobody was, and looked after once somebody is', async () => {
    await fallAsleep()
    await record()
    await runMaintenance(settings())
    expect(await visit()).toMatchObject({ was_visited: false })
    expect(await pending()).toBeGreaterThan(0)
    await login(AT)
    await vi.waitUntil(async () => (await visit())?.is_awake, 60_000)
    await isSealed()
    expect(await visit()).toMatchObject({ was_visited: true })
  })

  it('is visited again until after the last moment that somebody may have been there, and then a day later', async () => {
    await fallAsleep()
    await master(sql`update platform.maintenance set active_until = now() + interval '30 seconds' where realm_id = ${tenant.id}`)
    await isSealed()
    const seen = () => master(sql`select maintained_at from platform.maintenance where realm_id = ${tenant.id}`)
    const first = await seen()
    await runMaintenance(settings())
    expect(await seen()).not.toEqual(first)
    expect(await visit()).toMatchObject({ due_in_minutes: 24 * 60 })
    await master(sql`update platform.maintenance set active_until = now() - interval '1 second' where realm_id = ${tenant.id}`)
    const last = await seen()
    await runMaintenance(settings())
    expect(await seen()).toEqual(last)
  })

  it('is visited when mail is due', async () => {
    await isSealed()
    await fallAsleep()
    await tenant.asOwner(
      sql`insert into freehold.mails (id, kind, recipient, locale, next_at) values (gen_random_uuid(), 'password_changed', 'later@example.test', 'en', now() + interval '5 minutes')`,
    )
    await maintainNext(tenant.id)
    await runMaintenance(settings())
    // Unless an entry could not be sealed for somebody else's transaction, for which it is due at once.
    expect([5, 0]).toContain((await visit())?.due_in_minutes)
    await isSealed()
    await tenant.asOwner(sql`delete from freehold.mails where recipient = 'later@example.test'`)
  })

  it('is not visited for a mail that there is no way for', async () => {
    await isSealed()
    await fallAsleep()
    await tenant.asOwner(
      sql`insert into freehold.mails (id, kind, recipient, locale, channel) values (gen_random_uuid(), 'phone_code', '+51999888777', 'en', 'sms')`,
    )
    await maintainNext(tenant.id)
    const { MAILBOX_URL: _, ...mute } = settings()
    expect((await runMaintenance(mute)).due).not.toContain(AT)
    expect(await visit()).toMatchObject({ was_visited: true, due_in_minutes: 24 * 60 })
    await tenant.asOwner(sql`delete from freehold.mails where channel = 'sms'`)
  })

  it('is visited when somebody leaves, whom that deactivates, and tells how many are left', async () => {
    const leave = (at: string) => [
      sql`alter table freehold.users disable trigger user`,
      sql`update freehold.users set terminated_at = ${at} where username like 'leaves-%'`,
      sql`alter table freehold.users enable trigger user`,
    ]
    const limited = async () => {
      const token = await operatorToken()
      return (await call('', `/platform/v1/tenants/${tenant.id}`, { token })).body.user_limit_reached
    }
    await master(sql`update platform.tenants set limits = '{"max_users": 3}' where id = ${tenant.id}`)
    await tenant.asOwner(
      sql`insert into freehold.users (id, username, email, role)
        select gen_random_uuid(), 'leaves-' || n, 'leaves-' || n || '@acme.test', 'user' from generate_series(1, 2) n`,
      ...leave(new Date(Date.now() + 300_000).toISOString()),
    )
    await isSealed()
    await fallAsleep()
    await maintainNext(tenant.id)
    await runMaintenance(settings())
    expect([5, 4, 0]).toContain((await visit())?.due_in_minutes)
    expect(await limited()).toBe(true)
    await tenant.asOwner(...leave(new Date(Date.now() - 1000).toISOString()))
    await maintainNext(tenant.id)
    await runMaintenance(settings())
    const left = await tenant.asOwner(sql`select is_active from freehold.users where username like 'leaves-%'`)
    expect(left).toEqual([{ is_active: false }, { is_active: false }])
    expect(await limited()).toBe(false)
    await master(sql`update platform.tenants set limits = '{}' where id = ${tenant.id}`)
  })

  it('that is away is visited again after five minutes', async () => {
    const [row] = await master(sql`select owner_url_encrypted from platform.tenants where id = ${tenant.id}`)
    await master(sql`update platform.tenants set owner_url_encrypted = 'k1.AAAAAAAAAAAAAAAA.AAAA' where id = ${tenant.id}`)
    await maintainNext(tenant.id)
    await runMaintenance(settings())
    const after = await visit()
    await master(sql`update platform.tenants set owner_url_encrypted = ${row?.owner_url_encrypted} where id = ${tenant.id}`)
    expect(after).toMatchObject({ was_visited: true, due_in_minutes: 5 })
  })

  it('is visited after operators changed the tenant', async () => {
    await fallAsleep()
    const { status } = await call('', `/platform/v1/tenants/${tenant.id}`, {
      token: await operatorToken(),
      method: 'PATCH',
      body: { config: { origins: [] } },
    })
    expect(status).toBe(200)
    expect(await visit()).toMatchObject({ is_awake: true })
  })

  it('is visited ten minutes later when the run died that had claimed it', async () => {
    await master(sql`update platform.maintenance set due_at = now(), active_until = '-infinity' where realm_id = ${tenant.id}`)
    const [clock] = await master(sql`select now()::text as now`)
    const claimed = []
    for (let page = await claim(clock?.now); page.length; page = await claim(clock?.now)) claimed.push(...page)
    expect(claimed.map(({ id }) => id)).toContain(tenant.id)
    expect(await visit()).toMatchObject({ due_in_minutes: 10 })
  })
})

describe('visits', () => {
  it('claimed by twenty at once are claimed once', async () => {
    await master(
      sql`update platform.maintenance set due_at = now() where realm_id in (select id from platform.tenants where status = 'active')`,
    )
    const [clock] = await master(sql`select now()::text as now`)
    const claimed = (await Promise.all(Array.from({ length: 20 }, () => claim(clock?.now)))).flat()
    expect(claimed.map(({ id }) => id)).toContain(tenant.id)
    expect(new Set(claimed.map(({ id }) => id)).size).toBe(claimed.length)
  })
})

describe('that somebody is there', () => {
  const ID = '0d9c1a52-7c1e-4b39-9d0d-3c8f3f0b8a77'

  it('the master is told once a minute', async () => {
    expect(reportActivity(settings(), ID)).not.toBeNull()
    expect(reportActivity(settings(), ID)).toBeNull()
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 51_000 })
    expect(reportActivity(settings(), ID)).not.toBeNull()
  })

  it('the master is told again ten seconds later when it was away', async () => {
    const away = { ...settings(), MASTER_DATABASE_URL: 'postgresql://nobody:nothing@away.test/nowhere' }
    const id = ID.replace('77', '78')
    await expect(reportActivity(away, id)).resolves.toBeUndefined()
    expect(reportActivity(settings(), id)).toBeNull()
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11_000 })
    expect(reportActivity(settings(), id)).not.toBeNull()
  })
})

describe('a tenant whose competencies end soon', () => {
  it('has its people alerted', async () => {
    await tenant.asOwner(
      sql`insert into freehold.competency_types (id, name, kind) values (gen_random_uuid(), 'Crane', 'equipment')`,
      sql`insert into freehold.users (id, username, email) values (gen_random_uuid(), 'verifier', 'crane-verifier@people.test')`,
      sql`insert into freehold.competencies (id, user_id, type_id, level, issued_at, expires_at, verified_at, verified_by)
        select gen_random_uuid(), u.id, t.id, 1, now(), now() + interval '5 days', now(), v.id
        from freehold.users u, freehold.users v, freehold.competency_types t where u.role = 'admin' and v.username = 'verifier'`,
    )
    const mails = () => tenant.asOwner(sql`select data from freehold.mails where kind = 'competency_expires'`)
    expect(await mails()).toEqual([])
    await maintainNext(tenant.id)
    await runMaintenance(settings())
    expect((await mails()).map(({ data }) => data.competencies)).toEqual([expect.stringMatching(/^Crane \(\d{4}-\d\d-\d\d\)$/)])
  })
})
