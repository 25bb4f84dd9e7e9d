import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { tenantMigrations } from '../../src/tenants/provisioning/bundled.ts'
import { type Migration, migrate } from '../../src/tenants/provisioning/migrations.ts'
import { type Database, databaseOf } from '../support/databases.ts'
import { login, makeTenant } from '../support/people.ts'

let database: Database
beforeAll(async () => {
  await makeTenant('migrated')
  database = await databaseOf('migrated')
})

const applied = async () =>
  (await database.asOwner(sql`select name from freehold.migrations order by applied_at, name`)).map(({ name }) => name)
const there = async (name: string) =>
  (await database.asOwner(sql`select to_regclass(${name}) is not null as is_there`))[0]?.is_there
const planted = (name: string, ...statements: string[]): Migration => ({
  name,
  text: statements.join('\n--> statement-breakpoint\n'),
})

describe('migrations', () => {
  it('of a new tenant are all applied, in order', async () => {
    expect(await applied()).toEqual(tenantMigrations.map(({ name }) => name))
  })

  it('that were applied are not applied again', async () => {
    const before = await database.asOwner(sql`select name, applied_at from freehold.migrations`)
    expect(await migrate(database.owner_url, tenantMigrations)).toBe(tenantMigrations.at(-1)?.name)
    expect(await database.asOwner(sql`select name, applied_at from freehold.migrations`)).toEqual(before)
  })

  it('of two who migrate at once are applied once', async () => {
    const list = [
      planted(
        'twice/0001',
        'create table freehold.planted (id uuid primary key)',
        'select pg_sleep(0.3)',
        'insert into freehold.planted values (gen_random_uuid())',
      ),
      planted(
        'twice/0002',
        'alter table freehold.planted add column note text',
        "insert into freehold.planted values (gen_random_uuid(), 'second')",
      ),
    ]
    const ends = await Promise.allSettled(Array.from({ length: 4 }, () => migrate(database.owner_url, list)))
    expect(ends).toEqual(ends.map(() => ({ status: 'fulfilled', value: 'twice/0002' })))
    expect(await database.asOwner(sql`select note from freehold.planted order by note`)).toEqual([
      { note: 'second' },
      { note: null },
    ])
    expect((await applied()).filter((name) => name.startsWith('twice/'))).toEqual(['twice/0001', 'twice/0002'])
  })

  it('that fail leave nothing behind, and can be mended and run again', async () => {
    const half = 'create table freehold.half_made (id uuid primary key)'
    const failing = [planted('half/0003', half, 'select 1 / 0'), planted('half/0004', 'create table freehold.never (id uuid)')]
    await expect(migrate(database.owner_url, failing)).rejects.toThrow('Migration half/0003 failed.')
    expect([await there('freehold.half_made'), await there('freehold.never'), await applied()]).toEqual([
      false,
      false,
      expect.not.arrayContaining(['half/0003']),
    ])
    await migrate(database.owner_url, [planted('half/0003', half)])
    expect([await there('freehold.half_made'), await applied()]).toEqual([true, expect.arrayContaining(['half/0003'])])
  })

  it('that failed do not stop those before them', async () => {
    const list = [
      planted('first/0005', 'create table freehold.before_it (id uuid primary key)'),
      planted('first/0006', 'create table freehold.before_it (id uuid)'),
    ]
    await expect(migrate(database.owner_url, list)).rejects.toThrow('Migration first/0006 failed.')
    expect(await there('freehold.before_it')).toBe(true)
  })

  it('make what belongs to freehold_owner', async () => {
    const [row] = await database.asOwner(
      sql`select relowner::regrole::text as owner from pg_class where oid = 'freehold.planted'::regclass`,
    )
    expect(row).toEqual({ owner: 'freehold_owner' })
  })

  it('that were edited after they were applied are refused by name, and nothing behind them runs', async () => {
    const list = [planted('edited/0007', 'create table freehold.edited (id uuid primary key)')]
    await migrate(database.owner_url, list)
    const edited = [
      planted('edited/0007', 'create table freehold.edited (id text primary key)'),
      planted('edited/0008', 'select 1'),
    ]
    await expect(migrate(database.owner_url, edited)).rejects.toThrow(
      'Migration edited/0007 was edited after it was applied to this database. Restore its file; a change is a migration of its own.',
    )
    expect(await applied()).not.toContain('edited/0008')
    const [row] = await database.asOwner(sql`select checksum from freehold.migrations where name = 'edited/0007'`)
    expect(row?.checksum).toMatch(/^[0-9a-f]{64}$/)
  })

  it('are not applied to a ledger that has one of another release: nothing is overwritten', async () => {
    await migrate(database.owner_url, [planted('later/0001', 'select 1'), planted('later/0003', 'select 1')])
    const ours = [planted('later/0001', 'select 1'), planted('later/0002', 'create table freehold.older (id uuid primary key)')]
    await expect(migrate(database.owner_url, ours)).rejects.toThrow(
      'The ledger of this database has the migration later/0003, which this release does not have: nothing is applied.',
    )
    expect([await there('freehold.older'), await applied()]).toEqual([false, expect.not.arrayContaining(['later/0002'])])
    // What lacks nothing of this release is served by it: after a rollback.
    expect(await migrate(database.owner_url, ours.slice(0, 1))).toBe('later/0001')
  })

  it('do not touch a database that was made before their baseline', async () => {
    const early = { name: 'early/0000_tables', text: 'select 1' }
    const baseline = { name: 'late/0000_baseline', text: 'create table freehold.never_made (id uuid primary key)' }
    await migrate(database.owner_url, [early])
    await expect(migrate(database.owner_url, [baseline])).rejects.toThrow(/was made before late\/0000_baseline/)
    expect(await there('freehold.never_made')).toBe(false)
  })

  it('are not for the app login', async () => {
    await expect(migrate(database.app_url, [planted('app/0009', 'select 1')])).rejects.toThrow()
    expect(await applied()).not.toContain('app/0009')
  })

  it('left the tenant usable', async () => expect((await login('migrated')).token_type).toBe('Bearer'))

  it('are needed: an empty list is a mistake', async () => {
    await expect(migrate(database.owner_url, [])).rejects.toThrow('There is no migration.')
  })
})
