/** Tenants and their days in numbers. Threat: a range without bounds, or somebody who is no operator. */
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { recordDays } from '../../src/tenants/maintenance/report.ts'
import { master } from '../support/databases.ts'
import { call, operatorToken } from '../support/people.ts'
import { plantTenant } from '../support/planted.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

let token: string
let one: string
let two: string
const ask = (query = '', given: string | undefined = token) => call('', `/platform/v1/analytics${query}`, { token: given })
const day = (ago: number) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10)

beforeAll(async () => {
  token = await operatorToken()
  one = await plantTenant('numbered-one')
  two = await plantTenant('numbered-two')
  await master(
    sql`insert into platform.plans (key, name) values ('numbered', 'Numbered')`,
    sql`update platform.tenants set plan = 'numbered', users_counted = 7, region = 'numbered-region' where id = ${one}`,
    sql`update platform.tenants set plan = 'numbered', users_counted = 4, status = 'deleted' where id = ${two}`,
    ...recordDays([
      { realm_id: one, users_counted: 7, days: [201, 200].map((ago) => ({ day: day(ago), logins: ago, failures: 2, mails: 1 })) },
      { realm_id: two, users_counted: 4, days: [{ day: day(200), logins: 10, failures: 0, mails: 3 }] },
    ]),
  )
})

describe('analytics', () => {
  it('count tenants and people by plan, status, region and the rest, in one round trip', async () => {
    const { status, body, trips } = await ask()
    expect([status, trips]).toEqual([200, 1])
    const of = (group: string, value: string) => body.tenants[group].find((row: { value: string }) => row.value === value)
    expect(of('by_plan', 'numbered')).toEqual({ value: 'numbered', tenants: 2, people: 11 })
    expect(of('by_region', 'numbered-region')).toEqual({ value: 'numbered-region', tenants: 1, people: 7 })
    for (const group of ['by_status', 'by_plan', 'by_region', 'by_schema_version', 'by_environment', 'by_isolation']) {
      const rows: { tenants: number; people: number }[] = body.tenants[group]
      expect(
        rows.reduce((sum, row) => sum + row.tenants, 0),
        group,
      ).toBe(body.tenants.total)
      expect(
        rows.reduce((sum, row) => sum + row.people, 0),
        group,
      ).toBe(body.tenants.people)
    }
    expect([body.from, body.to]).toEqual([day(29), day(0)])
  })

  it('show the days of all tenants, and of one', async () => {
    const range = `from=${day(201)}&to=${day(200)}`
    const all = await ask(`?${range}`)
    expect(all.body.days).toEqual([
      { day: day(201), tenants: 1, people: 0, logins: 201, failures: 2, mails: 1 },
      { day: day(200), tenants: 2, people: 11, logins: 210, failures: 2, mails: 4 },
    ])
    expect(all.body.totals).toEqual({ logins: 411, failures: 4, mails: 5 })
    const mine = await ask(`?${range}&tenant=${two}`)
    expect(mine.body.days).toEqual([{ day: day(200), tenants: 1, people: 4, logins: 10, failures: 0, mails: 3 }])
    expect(mine.body.tenants).toMatchObject({ total: 1, by_status: [{ value: 'deleted', tenants: 1, people: 4 }] })
  })

  it.each([
    ['from=yesterday', '/from', 'must be a date, as 2026-03-31'],
    ['to=2026-02-30', '/to', 'must be a date, as 2026-03-31'],
    ['from=0000-01-01&to=0000-01-02', '/from', 'must lie in the years 1 to 9999'],
    ['from=2026-03-02&to=2026-03-01', '/from', 'is after `to`'],
    ['from=2020-01-01', '/from', 'is more than 400 days before `to`'],
    ['from=0001-01-01&to=9999-12-31', '/from', 'is more than 400 days before `to`'],
    ['tenant=acme', '/tenant', null],
    [`from=${'9'.repeat(5000)}`, '/from', 'must be a date, as 2026-03-31'],
    ['by=plan', '/by', null],
  ])('refuse %s', async (query, pointer, detail) => {
    const answer = await ask(`?${query}`)
    expectProblem(answer, 400, 'invalid_request')
    const [error] = answer.body.errors
    expect(error.pointer).toContain(pointer)
    if (detail) expect(error.detail).toBe(detail)
  })

  it('take a range of 400 days, and the first day there is', async () => {
    expect((await ask(`?from=${day(399)}`)).status).toBe(200)
    expect((await ask('?from=0001-01-01&to=0001-01-01')).body.days).toEqual([])
  })

  it('are for whoever reads tenants, on the platform', async () => {
    expectProblem(await call('', '/platform/v1/analytics'), 401, 'token_missing')
    await copyTenant('numbered-tenant')
    expectProblem(await ask('', await tokenOf('numbered-tenant', 'bo')), 401, 'token_wrong_tenant')
    expectProblem(await call('numbered-tenant', '/platform/v1/analytics', { token }), 404, 'not_found')
    expectProblem(await ask(`?tenant=${crypto.randomUUID()}`), 404, 'not_found')
    await master(
      sql`insert into freehold.roles (id, name) values (gen_random_uuid(), 'numbered-none')`,
      sql`insert into freehold.users (id, username, email, role) values (gen_random_uuid(), 'numbered-auditor', 'numbered-auditor@freehold.test', 'auditor'),
        (gen_random_uuid(), 'numbered-nobody', 'numbered-nobody@freehold.test', 'numbered-none')`,
    )
    expect((await ask('', await tokenOf('', 'numbered-auditor'))).status).toBe(200)
    expectProblem(await ask('', await tokenOf('', 'numbered-nobody')), 403, 'forbidden')
  })

  it('answer twenty at once', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask()))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  })
})
