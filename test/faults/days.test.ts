/** What tenants say of their days. Threat: a report that is lost, repeated or made twice at once loses a day, or doubles it. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { batch } from '../../src/kernel/db.ts'
import { daysQuery, groupsQuery } from '../../src/tenants/analytics/analytics.ts'
import { runMaintenance } from '../../src/tenants/maintenance/maintenance.ts'
import { type Day, recordDays } from '../../src/tenants/maintenance/report.ts'
import { type Database, databaseOf, maintainNext, master, settings } from '../support/databases.ts'
import { ADMIN, call, login, operatorToken } from '../support/people.ts'
import { copyTenant } from '../support/tenants.ts'

const AT = 'daily'
let tenant: Database
let other: string

const day = (ago: number) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10)

beforeAll(async () => {
  await copyTenant(AT)
  tenant = await databaseOf(AT)
  other = (await copyTenant('daily-other')).id
  await reported()
})

const pending = async () =>
  (await tenant.asOwner(sql`select count(*)::integer as n from freehold.audit_log where checkpoint is null`))[0]?.n

/** Maintains until everything is under a checkpoint: what a transaction on the same server might still see has to wait. */
async function reported(): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    await maintainNext(tenant.id)
    await runMaintenance(settings())
    if ((await pending()) === 0) return
  }
  throw new Error('The audit is not under checkpoints.')
}

const said = async (ago = 0) =>
  (
    await master(
      sql`select people, logins, failures, mails from platform.tenant_days where tenant_id = ${tenant.id} and day = ${day(ago)}`,
    )
  )[0] ?? { people: null, logins: 0, failures: 0, mails: 0 }

/** An entry of so many days ago, as if it had only now come under a checkpoint. */
const entry = (activity_type: string, ago: number) =>
  tenant.asOwner(
    sql`select access.record(${activity_type}, 'planted', 'session', null, null, null)`,
    sql`alter table freehold.audit_log disable trigger user`,
    sql`update freehold.audit_log set at = at - ${ago}::integer * interval '1 day', action = 'do' where action = 'planted'`,
    sql`alter table freehold.audit_log enable trigger user`,
  )

const wrong = () => call(AT, '/api/v1/auth/login', { body: { ...ADMIN, password: 'Wrong-horse-77' } })

describe('a day', () => {
  it('has the logins, failures and mails that its tenant had, and its people', async () => {
    const before = await said()
    for (let i = 0; i < 3; i++) await login(AT)
    for (let i = 0; i < 2; i++) await wrong()
    await tenant.asOwner(
      sql`insert into freehold.mails (id, kind, recipient, locale, next_at)
        select gen_random_uuid(), 'password_changed', n || '@example.test', 'en', now() + interval '1 day' from generate_series(1, 4) n`,
    )
    await reported()
    expect(await said()).toEqual({
      people: 1,
      logins: before.logins + 3,
      failures: before.failures + 2,
      mails: before.mails + 4,
    })
  })

  it('has what strangers failed at, those too that were only counted, in the hour that it was', async () => {
    const before = await said(1)
    await tenant.asOwner(
      sql`insert into access.counted_failures (hour, network, seen, counts)
        values (date_trunc('day', now(), 'UTC') - interval '1 hour', '203.0.113.9', 30, '{"unknown": 7, "key_invalid": 3}')`,
    )
    await reported()
    expect((await said(1)).failures).toBe(before.failures + 10)
  })

  it('is that of the entry, not of the report', async () => {
    const before = await Promise.all([said(3), said(2), said()])
    await entry('LOGIN', 3)
    await entry('ACCESS_REFUSED', 2)
    await entry('QUIET', 2)
    await reported()
    expect((await said(3)).logins).toBe(before[0].logins + 1)
    expect((await said(2)).failures).toBe(before[1].failures + 1)
    expect(await said()).toMatchObject({ logins: before[2].logins, failures: before[2].failures })
  })

  it('costs a login nothing: it is counted with the maintenance', async () => {
    const counts = () => tenant.asOwner(sql`select xmin::text, * from access.daily_counts order by day`)
    const before = await counts()
    await login(AT)
    expect(await counts()).toEqual(before)
    await reported()
    expect(await counts()).not.toEqual(before)
  })
})

describe('a report', () => {
  it('that was lost after the tenant counted is in the next one', async () => {
    const before = await said()
    await login(AT)
    await entry('LOGIN', 5)
    for (let tries = 0; tries < 200 && (await pending()) > 0; tries++)
      await tenant.asOwner(sql`select access.checkpoint_audit(5000)`, sql`select access.count_days(0, null)`)
    expect((await said()).logins).toBe(before.logins)
    const old = await said(5)
    await reported()
    expect((await said()).logins).toBe(before.logins + 1)
    expect((await said(5)).logins).toBe(old.logins + 1)
  })

  it('that is repeated changes nothing, and an older one neither', async () => {
    const numbers = () =>
      master(sql`select d.*, s.logins as all_logins, s.tenants, s.people as all_people from platform.tenant_days d join platform.days s on s.day = d.day
        where d.tenant_id = ${tenant.id} order by d.day`)
    const before = await numbers()
    const [said_] = await tenant.asOwner(sql`select access.count_days(0, '-infinity') as days`)
    const report = { realm_id: tenant.id, users_counted: 1, days: said_?.days as Day[] }
    await master(...recordDays([report]))
    await master(...recordDays([report]))
    await master(...recordDays([{ ...report, days: report.days.map((one) => ({ ...one, logins: 0, failures: 0, mails: 0 })) }]))
    expect(await numbers()).toEqual(before)
  })

  it('of twenty at once counts each entry once', async () => {
    const before = await said()
    for (let i = 0; i < 5; i++) await entry('LOGIN', 0)
    const visit = () =>
      tenant
        .asOwner(sql`select access.checkpoint_audit(5000)`, sql`select access.count_days(0, null) as days`)
        .then(([row]) => row?.days as Day[])
    for (let tries = 0; tries < 20 && (await pending()) > 0; tries++) {
      const reports = await Promise.all(Array.from({ length: 20 }, visit))
      await Promise.all(reports.map((days) => master(...recordDays([{ realm_id: tenant.id, users_counted: 1, days }]))))
    }
    await reported()
    expect((await said()).logins).toBe(before.logins + 5)
  })

  it('is left out by a tenant whose schema cannot make it, which is maintained all the same', async () => {
    const [was] = await master(sql`select schema_version from platform.tenants where id = ${tenant.id}`)
    await master(sql`update platform.tenants set schema_version = 'tenant/0000_baseline' where id = ${tenant.id}`)
    const before = await said()
    await login(AT)
    await reported()
    expect(await said()).toEqual(before)
    await master(sql`update platform.tenants set schema_version = ${was?.schema_version} where id = ${tenant.id}`)
    await reported()
    expect((await said()).logins).toBe(before.logins + 1)
  })
})

describe('the sums', () => {
  const sum = async (ago: number) =>
    (
      await master(
        sql`select tenants, people::integer, logins::integer, failures::integer, mails::integer from platform.days where day = ${day(ago)}`,
      )
    )[0]
  const says = (realm_id: string, ago: number, logins: number, users_counted: number | null = 2) =>
    master(...recordDays([{ realm_id, users_counted, days: [{ day: day(ago), logins, failures: 1, mails: 0 }] }]))

  it('are those of all tenants, move with them, and stay when one is erased', async () => {
    await says(tenant.id, 300, 4)
    await says(other, 300, 5, null)
    expect(await sum(300)).toEqual({ tenants: 2, people: 2, logins: 9, failures: 2, mails: 0 })
    await says(other, 300, 7, 3)
    expect(await sum(300)).toEqual({ tenants: 2, people: 5, logins: 11, failures: 2, mails: 0 })
    await master(sql`delete from platform.tenant_days where tenant_id = ${other}`)
    expect(await sum(300)).toEqual({ tenants: 2, people: 5, logins: 11, failures: 2, mails: 0 })
  })

  it('are right when twenty are reported at once', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, n) => says(n % 2 ? tenant.id : other, 310, n)))
    expect(await sum(310)).toMatchObject({ tenants: 2, logins: 19 + 18 })
  })

  it('and the days are kept for 400 days', async () => {
    await master(
      sql`insert into platform.tenant_days (tenant_id, day, logins, failures, mails)
        select ${tenant.id}, (now() at time zone 'UTC')::date - n, 1, 0, 0 from unnest(array[399, 400, 500]) n`,
    )
    await says(tenant.id, 450, 1)
    await reported()
    const kept = sql`select day::text from platform.tenant_days where tenant_id = ${tenant.id} and day < ${day(390)}`
    expect(await master(kept)).toEqual([{ day: day(399) }])
    expect(await master(sql`select day::text from platform.days where day < ${day(390)}`)).toEqual([{ day: day(399) }])
  })
})

describe('10,000 tenants', () => {
  type Plan = { 'Node Type': string; 'Relation Name'?: string; 'Actual Rows': number; 'Actual Loops': number; Plans?: Plan[] }
  const scans = (plan: Plan): [string, number][] => [
    ...(plan['Relation Name'] ? [[plan['Relation Name'], plan['Actual Rows'] * plan['Actual Loops']] as [string, number]] : []),
    ...(plan.Plans ?? []).flatMap(scans),
  ]

  it('are read once and grouped six ways, and of their days one row is read for each', async () => {
    const explained = (query: ReturnType<typeof sql>) => sql`explain (analyze, timing off, format json) ${query}`
    const settled = settings()
    // In one transaction, which takes them away again: nobody else sees them.
    const results = await batch(
      settled.MASTER_DATABASE_URL,
      [
        sql`alter table platform.tenants disable trigger user`,
        sql`insert into platform.tenants (id, subdomain, legal_name, tax_id, country, region, plan, admin_email, environment, status, isolation, role_preset, database_name)
          select gen_random_uuid(), 'crowd-' || n, 'Crowd', 'crowd-' || n, 'XX', 'region-' || n % 5, 'plan-' || n % 4, 'a@crowd.test', 'demo', 'inactive', 'database', 'minimal', 'crowd_' || n
          from generate_series(1, 10000) n`,
        sql`insert into platform.tenant_days (tenant_id, day, people, logins, failures, mails)
          select t.id, (now() at time zone 'UTC')::date - 320 - d, 5, 3, 2, 1 from platform.tenants t, generate_series(0, 9) d where t.subdomain like 'crowd-%'`,
        sql`analyze platform.tenants`,
        groupsQuery(undefined),
        explained(groupsQuery(undefined)),
        daysQuery(day(330), day(316), undefined),
        explained(daysQuery(day(330), day(316), undefined)),
        sql`delete from platform.days where day between ${day(330)} and ${day(316)}`,
        sql`delete from platform.tenants where subdomain like 'crowd-%'`,
        sql`alter table platform.tenants enable trigger user`,
      ],
      null,
      60_000,
    )
    const [groups = [], groupsPlan, found = [], daysPlan] = results.slice(4, 8)
    const plan = ([row = {}]: Record<string, unknown>[] = []) => (row['QUERY PLAN'] as [{ Plan: Plan }])[0].Plan
    const all = groups.find(({ grouped }) => grouped === 63)
    expect(all?.tenants).toBeGreaterThanOrEqual(10_000)
    expect(groups.filter(({ grouped, plan }) => grouped === 47 && String(plan).startsWith('plan-'))).toHaveLength(4)
    expect(scans(plan(groupsPlan))).toEqual([['tenants', all?.tenants]])
    expect(found.map(({ tenants, logins }) => [tenants, logins])).toEqual(Array(10).fill([10_000, 30_000]))
    expect(scans(plan(daysPlan))).toEqual([['days', 10]])
  })
})

it('what the operators are shown is that', async () => {
  const token = await operatorToken()
  const shown = await call('', `/platform/v1/analytics?tenant=${tenant.id}`, { token })
  const today = shown.body.days.at(-1)
  expect(today).toEqual({ day: day(0), tenants: 1, ...(await said()) })
  expect(shown.body.totals.logins).toBe(shown.body.days.reduce((sum: number, one: Day) => sum + one.logins, 0))
})
