/** Threat: a migration that waits for one long request stops all others behind it, fails one that waits for it, or hangs for ever. */
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { migrate } from '../../src/tenants/provisioning/migrations.ts'
import { databaseOf } from '../support/databases.ts'
import { hold, waiting } from '../support/faults.ts'
import { call } from '../support/people.ts'
import { tokenOf } from '../support/sessions.ts'
import { copyTenant } from '../support/tenants.ts'

// At once: each of them waits most of the time.
describe.concurrent('a table that others hold', () => {
  const next = { name: 'tenant/9000_next', text: 'alter table freehold.users add column next text' }
  const reading = (seconds: number) => [
    'set local role freehold_owner',
    'lock table freehold.users in access share mode',
    `select pg_sleep(${seconds})`,
  ]
  const has = async (at: string) =>
    (await (await databaseOf(at)).asOwner(sql`select name from freehold.migrations where name = ${next.name}`)).length

  it('is waited for in turns: people are served meanwhile, and it is migrated once it is free', { timeout: 60_000 }, async () => {
    const at = 'migrating-held'
    await copyTenant(at)
    const { owner_url } = await databaseOf(at)
    const token = await tokenOf(at)
    // Longer than a request waits for its database.
    const held = hold(owner_url, ...reading(18))
    await scheduler.wait(300)
    let over = false
    const migrated = migrate(owner_url, [...tenantMigrations, next]).finally(() => {
      over = true
    })
    await waiting(at, 'relation')
    const answers = await Promise.all(
      [1, 2, 3].map(async () => {
        const told: number[] = []
        for (; !over; await scheduler.wait(50)) told.push((await call(at, '/api/v1/auth/me', { token })).status)
        return told
      }),
    )
    expect(await migrated).toBe(next.name)
    expect((await held.answer)?.status, 'it was held all the time').toBe(200)
    expect(new Set(answers.flat())).toEqual(new Set([200]))
    expect(answers.flat().length).toBeGreaterThan(20)
    expect(await has(at)).toBe(1)
  })

  it('and is never free: it fails, says why, and has changed nothing', { timeout: 60_000 }, async () => {
    const at = 'migrating-stuck'
    await copyTenant(at)
    const { owner_url, asOwner } = await databaseOf(at)
    const held = hold(owner_url, ...reading(50))
    await scheduler.wait(300)
    await expect(migrate(owner_url, [...tenantMigrations, next])).rejects.toThrow(
      /^Migration tenant\/9000_next waited 15 times for a lock that others hold/,
    )
    expect([await has(at), await asOwner(sql`select 1 from pg_attribute where attname = 'next'`)]).toEqual([0, []])
    held.letGo()
    await held.answer
    expect(await migrate(owner_url, [...tenantMigrations, next])).toBe(next.name)
  })

  it('and whose holder waits for what the migration holds: the migration gives way', { timeout: 60_000 }, async () => {
    await copyTenant('migrating-crossed')
    const { owner_url } = await databaseOf('migrating-crossed')
    const change = (table: string) => `alter table freehold.${table} add column crossed text`
    const both = [change('sessions'), 'select pg_sleep(0.05)', change('users')].join(';\n--> statement-breakpoint\n')
    const held = hold(
      owner_url,
      'set local role freehold_owner',
      'lock table freehold.users in access share mode',
      `do $$ begin while not exists (select from pg_locks where relation = 'freehold.sessions'::regclass and mode = 'AccessExclusiveLock' and granted) loop perform pg_sleep(0.01); end loop; end $$`,
      'lock table freehold.sessions in access share mode',
    )
    await scheduler.wait(300)
    expect(await migrate(owner_url, [...tenantMigrations, { name: 'tenant/9000_crossed', text: both }])).toBe(
      'tenant/9000_crossed',
    )
    expect((await held.answer)?.status, await (await held.answer)?.text()).toBe(200)
  })

  it('a migration that takes longer than a request may is applied, and by the first of two', { timeout: 60_000 }, async () => {
    await copyTenant('migrating-slow')
    const { owner_url, asOwner } = await databaseOf('migrating-slow')
    const slow = {
      name: 'tenant/9000_slow',
      text: 'select pg_sleep(16);\n--> statement-breakpoint\ncreate table freehold.slow ()',
    }
    const both = [1, 2].map(() => migrate(owner_url, [...tenantMigrations, slow]))
    expect(await Promise.all(both)).toEqual([slow.name, slow.name])
    expect(await asOwner(sql`select name from freehold.migrations where name = ${slow.name}`)).toHaveLength(1)
  })
})
