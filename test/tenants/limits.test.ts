/** Threat: a mistake of ours, a statement without a bound or a connection that is kept, takes the compute of a tenant's database. */
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { unhurried } from '../../src/kernel/db.ts'
import { type Database, databaseOf, master, refusalOf, rowsOf } from '../support/databases.ts'
import { call } from '../support/people.ts'
import { expectProblem } from '../support/refusal.ts'
import { tokenOf } from '../support/sessions.ts'
import { makeIsolated } from '../support/stranger.ts'
import { copyTenant } from '../support/tenants.ts'

const TIMEOUTS = ['idle_in_transaction_session_timeout=10s', 'statement_timeout=15s', 'transaction_timeout=20s']
const nameOf = ({ app_url }: Database) => new URL(app_url).username

describe('the app login of a tenant', () => {
  it.each(['database', 'branch', 'project', 'external'])(
    'has forty connections and limits of time, with isolation %s; its owner’s has neither',
    async (isolation) => {
      await makeIsolated(`limited-${isolation}`, isolation)
      const tenant = await databaseOf(`limited-${isolation}`)
      const logins = await tenant.asOwner(
        sql`select r.rolconnlimit as most, (select array_agg(c order by c) from unnest(r.rolconfig) c) as config
          from pg_roles r where r.rolname in (${nameOf(tenant)}, ${new URL(tenant.owner_url).username}) order by r.rolconnlimit desc`,
      )
      expect(logins).toEqual([
        { most: 40, config: TIMEOUTS },
        { most: -1, config: null },
      ])
      const [row] = await tenant.asApp(
        sql`select current_setting('statement_timeout') as statement, current_setting('transaction_timeout') as transaction`,
      )
      expect(row).toEqual({ statement: '15s', transaction: '20s' })
    },
  )

  it.each([
    ['a statement', 'statement_timeout', '57014'],
    ['a transaction', 'transaction_timeout', '25P04'],
  ])('is stopped when %s takes too long, and the request answered with 503', async (what, setting, state) => {
    const name = `slow-${what.slice(-4)}`
    await copyTenant(name)
    const tenant = await databaseOf(name)
    const token = await tokenOf(name)
    const [role, others] = [
      sql.identifier(nameOf(tenant)),
      ['statement_timeout', 'transaction_timeout'].filter((s) => s !== setting),
    ]
    await rowsOf(
      tenant.host_url,
      sql`alter role ${role} set ${sql.raw(setting)} = '400ms'`,
      ...others.map((other) => sql`alter role ${role} set ${sql.raw(other)} = 0`),
    )
    expect(await refusalOf(tenant.app_url, sql`select pg_sleep(0.3)`, sql`select pg_sleep(3)`)).toContain(state)
    const locked = tenant.asOwner(sql`lock table freehold.users in access exclusive mode`, sql`select pg_sleep(2)`)
    await scheduler.wait(300)
    const answer = await call(name, '/api/v1/auth/me', { token })
    expectProblem(answer, 503, 'database_unavailable')
    expect(answer.body.detail).toBe('The database took too long and was stopped.')
    expect(answer.headers.get('Retry-After')).toBe('2')
    await locked
    expect((await call(name, '/api/v1/auth/me', { token })).status).toBe(200)
  })

  it('that has no connection left is answered with 503, and served when there is one', async () => {
    await copyTenant('unconnected')
    const tenant = await databaseOf('unconnected')
    const token = await tokenOf('unconnected')
    const limit = (most: number) =>
      rowsOf(tenant.host_url, sql`alter role ${sql.identifier(nameOf(tenant))} connection limit ${sql.raw(String(most))}`)
    await limit(0)
    const answer = await call('unconnected', '/api/v1/auth/me', { token })
    expectProblem(answer, 503, 'database_unavailable')
    expect(answer.headers.get('Retry-After')).toBe('2')
    await limit(40)
    expect((await call('unconnected', '/api/v1/auth/me', { token })).status).toBe(200)
  })
})

it('a tenant whose forty connections are in use serves a hundred requests at once: each waits for its turn', async () => {
  await copyTenant('forty')
  const token = await tokenOf('forty')
  const answers = await Promise.all(Array.from({ length: 100 }, () => call('forty', '/api/v1/auth/me', { token })))
  expect(answers.map(({ status, trips }) => [status, trips])).toEqual(Array(100).fill([200, 1]))
})

describe('the login of the master', () => {
  it('has the same limits of time, in its own database', async () => {
    const [row] = await master(
      sql`select (select array_agg(c order by c) from unnest(s.setconfig) c) as config
          from pg_db_role_setting s
          where s.setrole = (select oid from pg_roles where rolname = current_user)
            and s.setdatabase = (select oid from pg_database where datname = current_database())`,
    )
    expect(row?.config).toEqual(TIMEOUTS)
  })

  it('takes its time for a migration or maintenance, which say so', async () => {
    const [row] = await master(
      sql`set local statement_timeout = '15s'`,
      sql`set local transaction_timeout = '20s'`,
      unhurried,
      sql`select current_setting('statement_timeout') as statement, current_setting('transaction_timeout') as transaction`,
    )
    expect(row).toEqual({ statement: '5min', transaction: '5min' })
  })
})
